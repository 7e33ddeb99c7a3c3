"""A release asks the same decision as every other access."""

from __future__ import annotations

from typing import Any

import pytest

from consent.decision import Reason
from consent.release import ReleaseRules
from medchain.ledger.kinds.content import Period
from medchain.node.release_ports import ConsentInForce, Question, Ruling
from tests.unit.consent.writing import SCOPE

START, END = 86_400_000, 95_040_000
BASE: dict[str, Any] = {
    "acting_for": None,
    "custodians": ["renhe-hospital"],
    "data_period": None,
    "fhir": {"resourceType": "Consent"},
    "joined": [],
    "nonce": "00" * 16,
    "operation": "create",
    "period": {"end": END, "start": START},
    "purpose": "CLMATTCH",
    "recipient": "anxin-insurance",
    "resource_types": ["Condition", "Observation"],
    "signed_at": START,
    "stop": "11" * 32,
    "subject": "22" * 32,
}


def ruling(types: tuple[str, ...] = ("Observation",), purpose: str = "CLMATTCH", **changes: object) -> Ruling:
    question = Question("renhe-hospital", "anxin-insurance", purpose, START + 5, types)
    return ReleaseRules().rule(question, [ConsentInForce(b"\x01" * 32, 1, {**BASE, **changes})])


def test_what_is_permitted_passes_unopened() -> None:
    found = ruling()
    assert (found.denial, found.needs_content, found.passes("Observation", None, None)) == (None, False, True)


def test_of_all_types_those_of_the_consent_pass() -> None:
    found = ruling(("*",))
    assert (found.denial, found.needs_content) == (None, False)
    assert [found.passes(name, None, None) for name in ("Condition", "Observation", "Claim")] == [True, True, False]


def test_a_data_period_limits_dates() -> None:
    found = ruling(data_period={"end": 20, "start": 10})
    assert (found.denial, found.needs_content) == (None, True)
    spans = [Period(9, 9), Period(10, 10), Period(20, 20), Period(21, 21), Period(9, 15), Period(15, None), None]
    assert [found.passes("Observation", span, None) for span in spans] == [
        False,
        True,
        True,
        False,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("purpose", ["HMARKT", ""])
def test_a_denial_has_its_reason_and_nothing_passes(purpose: str) -> None:
    found = ruling(purpose=purpose)
    assert (found.denial, found.needs_content) == (Reason.NOT_PERMITTED.value, False)
    assert not found.passes("Observation", Period(START, START), None)


def test_types_that_the_consent_does_not_name_are_denied_at_once() -> None:
    assert ruling(("Immunization",)).denial == Reason.NOT_PERMITTED.value
    assert ruling(("Immunization", "Observation")).denial is None


def test_without_a_consent_the_answer_is_no() -> None:
    question = Question("renhe-hospital", "anxin-insurance", "CLMATTCH", START + 5, ("*",))
    assert ReleaseRules().rule(question, []).denial == Reason.NONE.value
    assert ReleaseRules().rule(question, [ConsentInForce(b"\x01" * 32, 1, {})]).denial == Reason.UNREADABLE.value


RECORD = b'{"resourceType":"Observation","id":"r","meta":{"security":[{"code":"%s"}]}}'


def test_the_labels_of_a_record_count_and_are_read_from_it() -> None:
    rules = {"type": "permit", "securityLabel": [{"code": "N"}]}
    fhir = {"resourceType": "Consent", "status": "active", "scope": SCOPE, "provision": rules}
    found = ruling(fhir=fhir)
    assert (found.denial, found.needs_content) == (None, True)
    assert found.passes("Observation", None, RECORD % b"N")
    assert not found.passes("Observation", None, RECORD % b"R")
    assert not found.passes("Observation", None, RECORD % b"HIV")
    assert not found.passes("Observation", None, None)


def test_a_content_of_another_type_than_it_is_kept_under_never_passes() -> None:
    assert not ruling(data_period=None).passes("Condition", None, RECORD % b"N")
