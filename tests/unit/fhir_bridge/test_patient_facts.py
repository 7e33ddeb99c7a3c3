"""What previews count: a patient's records as they are now, whosever they were before."""

from __future__ import annotations

from datetime import UTC

import orjson
import pytest

from fhir_bridge.patient_facts import PatientFacts
from medchain.node.records import NewRecord
from tests.unit.fhir_bridge.consent_oracle import CALLERS, deny, label
from tests.unit.fhir_bridge.test_bundles_kept_back import statuses, stored
from tests.unit.fhir_bridge.test_enforcement import Ward, condition, of_targets, scanned

VISIT = {"system": "urn:visits", "value": "v-1"}


@pytest.fixture
def node(server):
    """Two patients."""
    for name in ("p1", "p2"):
        stored(server, {"resourceType": "Patient", "id": name})
    return server


def counted(facts: PatientFacts) -> dict[str, int]:
    """Count the Conditions of each."""
    access = CALLERS["d1"].access
    return {one: sum(fact.type == "Condition" for fact in facts.of(access, one)) for one in ("p1", "p2")}


def test_a_record_whose_patient_was_corrected_counts_for_the_right_one_at_once(node):
    facts = PatientFacts(node.store, node.service, node.core.enforcement, {"Condition"}, UTC)
    for name in ("c1", "c2"):
        stored(node, condition(name, "J06.9", "2024-01-01"))
    assert counted(facts) == {"p1": 2, "p2": 0}
    stored(node, condition("c1", "J06.9", "2024-01-01", "p2"))
    assert counted(facts) == {"p1": 1, "p2": 1}
    stored(node, condition("c1", "J06.9", "2024-01-01"))
    assert counted(facts) == {"p1": 2, "p2": 0}


def test_an_identifier_means_no_record_that_has_become_another_patients(node):
    visit = {
        "resourceType": "Encounter",
        "id": "e1",
        "identifier": [VISIT],
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    }
    stored(node, visit | {"subject": {"reference": "Patient/p1"}})
    stored(node, condition("c1", "J06.9", "2024-01-01") | {"encounter": {"identifier": VISIT}})
    token = node.service.patient_token("p1")
    assert node.core.enforcement.meant_by(token) == {("Condition", "c1"): frozenset({"Encounter/e1"})}
    stored(node, visit | {"subject": {"reference": "Patient/p2"}})
    assert node.core.enforcement.meant_by(token) == {("Condition", "c1"): frozenset()}


def test_what_is_of_a_record_is_judged_anew_once_that_is_another_patients(node):
    """An attachment is free of what kept it back; a Provenance is as the record that it tells of is now."""
    scanned(node, "scan", "Patient/p1")
    report = {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "type": condition("x", "B20", "2024-01-01")["code"],
        "content": [{"attachment": {"contentType": "application/pdf", "url": "Binary/scan"}}],
    }
    stored(node, report | {"subject": {"reference": "Patient/p1"}})
    stored(node, condition("c1", "J06.9", "2024-01-01"))
    stored(node, of_targets("v1", "Condition/c1"))
    ward = Ward(node, CALLERS["d1"], [deny(securityLabel=label("HIV"))])
    assert statuses(ward, "Binary/scan", "Provenance/v1") == [404, 200]
    ill = condition("c1", "B20", "2024-01-01", "p2") | {"meta": {"security": label("HIV")}}
    for one in (report | {"subject": {"reference": "Patient/p2"}}, ill):
        # As somebody does from whom it is not kept back.
        node.service.update(NewRecord(one["resourceType"], one["id"], orjson.dumps(one), "p2"))
    assert statuses(ward, "Binary/scan", "Provenance/v1") == [200, 404]
