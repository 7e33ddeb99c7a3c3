"""Which emergencies a hospital tells an insurer of."""

from __future__ import annotations

import json
import secrets

import pytest

from fhir_bridge.claim_case import NodeRecords
from fhir_bridge.claim_facts import FhirClaimFacts
from medchain.encoding import canonical
from medchain.ledger.citation import citation_of
from medchain.ledger.kinds.content import DAY_S
from medchain.node.emergency import EMERGENCY, EmergencyDesk
from medchain.node.release_ports import ClaimCase
from medchain.store.accesses import Access
from tests.unit.fhir_bridge.conftest import NODE, NOW

SYSTEM, NUMBER = "urn:oid:1.2.3", "990101199702288684"


@pytest.fixture
def patient(server):
    made = {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": NUMBER}]}
    return json.loads(server.call("POST", "/fhir/Patient", made).data)["id"]


@pytest.fixture
def desk(server):
    return EmergencyDesk(NODE, server.store, server.service, server.core.clock, secrets.token_bytes)


@pytest.fixture
def told(server, patient):
    """Tell how many emergency accesses there were around a claim of today, and when the last one was."""

    def tell(day: str = "2026-12-01", created: int = NOW) -> tuple[object, object]:
        cited = citation_of(["Encounter/e"], created, (day, day), bytes(32))
        case = ClaimCase(cited, server.service.patient_token(patient), [], server.time[0], lambda _row: True)
        said = FhirClaimFacts(NodeRecords(server.core.search, server.store, server.service)).tell(case)
        facts = {fact.name: fact.value for fact in said.facts}
        return facts["emergency_accesses"], facts["last_emergency_access"]

    return tell


def test_without_an_emergency_none_is_told(told):
    assert told() == (0, None)


def test_one_that_was_declared_here_is_told(told, desk, patient):
    desk.declare(patient, "Practitioner/d1", "unconscious")
    assert told() == (1, NOW)


@pytest.mark.parametrize("identifier", [NUMBER, f"{SYSTEM}|{NUMBER}"])
def test_one_in_which_people_from_here_asked_another_hospital_is_told(told, desk, identifier):
    desk.declare_elsewhere("binhai-hospital", identifier, "Practitioner/d1", "unconscious")
    assert told() == (1, NOW)


def test_one_about_somebody_else_is_not(told, desk):
    desk.declare_elsewhere("binhai-hospital", "urn:oid:1.2.3|another", "Practitioner/d1", "unconscious")
    assert told() == (0, None)


def test_what_was_given_to_another_hospital_in_its_emergency_is_not_told_of_a_claim_of_this_one(server, told, patient):
    detail = {
        "count": 3,
        "declaration": "07" * 16,
        "reason": "r",
        "recipient": "binhai-hospital",
        "staff": "s",
        "until": NOW,
    }
    row = Access(b"\x07" * 16, server.service.patient_token(patient), EMERGENCY, NOW, canonical(detail))
    server.store.put_accesses([row])
    assert told() == (0, None)


def test_one_that_lies_more_than_a_month_before_claim_and_services_is_not_told(server, told, desk, patient):
    server.time[0] = NOW - 31 * DAY_S
    desk.declare(patient, "Practitioner/d1", "unconscious")
    server.time[0] = NOW
    assert told() == (0, None)
    assert told("2026-11-15") == (1, NOW - 31 * DAY_S)


def test_one_that_came_after_the_claim_is_not_told_however_late_the_hospital_is_asked(server, told, desk, patient):
    """It is an alarm about what was just before a claim: two months later it would be a false one."""
    server.time[0] = NOW + 2
    desk.declare(patient, "Practitioner/d1", "unconscious")
    server.time[0] = NOW + 60 * DAY_S
    assert told(created=NOW + 1) == (0, None)
    assert told(created=NOW + 2) == (1, NOW + 2)


def test_attack_a_claim_that_is_dated_ahead_ends_no_later_than_now(told, desk, patient):
    desk.declare(patient, "Practitioner/d1", "unconscious")
    assert told(created=NOW + DAY_S) == (1, NOW)
