"""What a hiding is, and what it keeps from whom (`docs/spec/consent.md` C13)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
import pytest

from consent.decision import Permit, Request, passes
from consent.directive import SUBJECT
from consent.facts import facts_of
from consent.hiding import Hidden, decide_hidden, hidden_in, hiding_terms
from consent.release import ReleaseRules
from medchain.node.release_ports import ConsentInForce, Question
from tests.unit.consent.test_release import BASE, START

VISIT = "Encounter/e1"
HIDDEN = Hidden.of_record(VISIT)
KIND = Hidden.of_types(["Observation", "DiagnosticReport", "Observation"])
TYPES = "http://hl7.org/fhir/resource-types"
OF_IT = {"reference": "Observation/o1"}
KEY = b"\x02" * 32
HIDING: dict[str, Any] = {**BASE, **hiding_terms(HIDDEN, "renhe-hospital", "22" * 32, START)}
HIDING_OF_KIND: dict[str, Any] = {**BASE, **hiding_terms(KIND, "renhe-hospital", "22" * 32, START)}
RECORDS = {
    "visit": {"resourceType": "Encounter", "id": "e1"},
    "of it": {"resourceType": "Observation", "id": "o1", "encounter": {"reference": VISIT}},
    "other": {"resourceType": "Observation", "id": "o2", "encounter": {"reference": "Encounter/e2"}},
}


def asked(organization: str, purpose: str = "HPAYMT") -> Request:
    return Request(
        now=START * 1_000_000,
        patient=SUBJECT,
        organization=f"Organization/{organization}",
        groups=None,
        purpose=purpose,
        custodian="Organization/renhe-hospital",
    )


def through(organization: str, purpose: str = "HPAYMT") -> list[str]:
    decision = decide_hidden(asked(organization, purpose), {HIDDEN})
    return [name for name, row in RECORDS.items() if passes(decision, facts_of(orjson.dumps(row), SUBJECT, None))]


@pytest.mark.parametrize("purpose", ["HPAYMT", "TREAT", "BTG", "HRESCH"])
def test_the_record_and_what_refers_to_it_are_kept_from_every_other_organisation(purpose):
    assert through("anxin-insurance", purpose) == ["other"]


def test_the_custodians_own_people_are_kept_from_nothing():
    assert through("renhe-hospital") == list(RECORDS)
    assert isinstance(decide_hidden(asked("renhe-hospital"), {HIDDEN}), Permit)


def test_without_a_hiding_nothing_is_kept_back():
    assert isinstance(decide_hidden(asked("anxin-insurance"), ()), Permit)


def test_a_hiding_is_known_by_its_whole_form():
    assert hidden_in(HIDING) == HIDDEN
    assert hidden_in(HIDING_OF_KIND) == KIND


def provision(**changes: object) -> dict[str, Any]:
    fhir = deepcopy(HIDING["fhir"])
    fhir["provision"] |= changes
    return {"fhir": fhir}


@pytest.mark.parametrize(
    "changes",
    [
        {"custodians": ["renhe-hospital", "tongji-hospital"]},
        {"custodians": "renhe-hospital"},
        {"recipient": "anxin-insurance"},
        {"recipient": None},
        {"fhir": None},
        {"fhir": {"resourceType": "Consent"}},
        provision(type="permit"),
        provision(data=[]),
        provision(data=["Encounter/e1"]),
        provision(data=[{"meaning": "dependents", "reference": VISIT}]),
        provision(data=[{"meaning": "instance", "reference": {"reference": VISIT}}]),
        provision(data=[{"meaning": "dependents", "reference": {"reference": VISIT}}] * 2),
        provision(provision=[]),
        provision(period={"start": "2026"}),
        provision(data=[{"meaning": "dependents", "reference": {"reference": ""}}]),
        # A record and a kind in one would deny what has both alone.
        provision(**{"class": [{"code": "Observation", "system": TYPES}]}),
    ],
)
def test_what_has_any_other_form_is_no_hiding(changes):
    assert hidden_in({**HIDING, **changes}) is None


@pytest.mark.parametrize(
    "classes",
    [
        None,
        [],
        ["Observation"],
        [{"code": "Observation"}],
        [{"code": "Observation", "system": "http://hl7.org/fhir/fhir-types"}],
        [{"code": "Observation", "system": TYPES}, {"code": "DiagnosticReport", "system": TYPES}],
        [{"code": "Observation", "system": TYPES}, {"code": "Observation", "system": TYPES}],
        [{"code": "Observation", "system": TYPES, "display": "Tests"}],
        [{"code": 1, "system": TYPES}],
    ],
)
def test_what_names_kinds_in_any_other_form_is_no_hiding(classes):
    fhir = deepcopy(HIDING_OF_KIND["fhir"])
    fhir["provision"]["class"] = classes
    assert hidden_in({**HIDING_OF_KIND, "fhir": fhir}) is None


def test_all_records_of_a_kind_are_kept_from_every_other_organisation_and_of_no_other_kind():
    rows = {**RECORDS, "mentions": {"resourceType": "Condition", "id": "c1", "evidence": [{"detail": [OF_IT]}]}}
    for organization, left in (("anxin-insurance", ["visit", "mentions"]), ("renhe-hospital", list(rows))):
        decision = decide_hidden(asked(organization), {KIND})
        told = {name: facts_of(orjson.dumps(row), SUBJECT, None) for name, row in rows.items()}
        assert [name for name, facts in told.items() if passes(decision, facts)] == left


def test_of_what_type_a_record_is_unknown_a_hidden_kind_may_be():
    decision = decide_hidden(asked("anxin-insurance"), {KIND})
    assert not passes(decision, facts_of(b"no FHIR JSON", SUBJECT, None))


def released(types: tuple[str, ...], inside: list[dict[str, Any]]) -> list[str]:
    question = Question("renhe-hospital", "anxin-insurance", "CLMATTCH", START + 5, types)
    given = ConsentInForce(b"\x01" * 32, 1, {**BASE, "resource_types": ["Binary", "Encounter", "Observation"]})
    ruling = ReleaseRules().rule(question, [given], [ConsentInForce(KEY, 1, one) for one in inside])
    return [name for name, row in RECORDS.items() if ruling.passes(str(row["resourceType"]), None, orjson.dumps(row))]


def test_a_release_leaves_out_what_is_hidden_whatever_is_permitted():
    types = ("Encounter", "Observation")
    assert released(types, []) == list(RECORDS)
    assert released(types, [HIDING]) == ["other"]
    assert released(types, [HIDING_OF_KIND]) == ["visit"]
    # What denies something to the custodian's own staff says nothing of releases.
    assert released(types, [{**HIDING, **provision(provision=[])}]) == list(RECORDS)


def test_beside_a_hiding_each_record_is_opened_and_a_binary_that_stands_beside_what_is_hidden_stays():
    question = Question("renhe-hospital", "anxin-insurance", "CLMATTCH", START + 5, ("Binary", "Observation"))
    given = ConsentInForce(b"\x01" * 32, 1, {**BASE, "resource_types": ["Binary", "Observation"]})
    scan = {"resourceType": "Binary", "id": "b1"}
    beside, other = (orjson.dumps({**scan, "securityContext": {"reference": name}}) for name in (VISIT, "Encounter/e2"))
    free = ReleaseRules().rule(question, [given])
    assert (free.needs_content, free.passes("Binary", None, beside)) == (False, True)
    kept = ReleaseRules().rule(question, [given], [ConsentInForce(KEY, 1, HIDING)])
    assert (kept.denial, kept.needs_content) == (None, True)
    assert [kept.passes("Binary", None, one) for one in (beside, other)] == [False, True]
    # Of what was not opened nobody knows whether it is what is hidden.
    assert not kept.passes("Observation", None, None)
