"""The decision permits what a consent names, narrows to it, and denies everything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.decision import ConsentDecision, Decision, Deny, Filter, Given, Permit, Request, decide, passes

DAY = 86400
START, END = 1_000 * DAY, 1_100 * DAY - 1
KEY, OTHER_KEY = b"\x01" * 32, b"\x02" * 32
BASE: dict[str, Any] = {
    "acting_for": None,
    "custodians": ["renhe-hospital"],
    "data_period": None,
    "fhir": {"resourceType": "Consent"},
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
REQUEST = Request("renhe-hospital", "anxin-insurance", "CLMATTCH", START + DAY, ("Observation",))


def _given(key: bytes = KEY, **changes: object) -> Given:
    return Given(key, 1, {**BASE, **changes})


def _ask(**changes: Any) -> Request:  # noqa: ANN401  # fields of a frozen dataclass, given by name
    return replace(REQUEST, **changes)


def test_what_the_consent_names_is_permitted_with_its_basis() -> None:
    answer = decide(REQUEST, [_given()])
    assert isinstance(answer, Permit)
    assert (answer.basis, answer.version) == (KEY, 1)
    assert passes(answer, "Observation", None)


@pytest.mark.parametrize(
    "change",
    [
        {"custodian": "binhai-hospital"},
        {"recipient": "taihe-insurance"},
        {"purpose": "HMARKT"},
        {"time": START - 1},
        {"time": END + 1},
        {"resource_types": ("Immunization",)},
    ],
)
def test_anything_that_the_consent_does_not_name_is_denied(change: dict[str, object]) -> None:
    answer = decide(_ask(**change), [_given()])
    assert isinstance(answer, Deny)
    assert answer.reason == "consent.none"
    assert not passes(answer, "Observation", START)


def test_without_a_consent_the_answer_is_no() -> None:
    assert isinstance(decide(REQUEST, []), Deny)


def test_a_malformed_consent_never_permits() -> None:
    assert isinstance(decide(REQUEST, [_given(custodians="renhe-hospital")]), Deny)
    assert isinstance(decide(REQUEST, [Given(KEY, 1, {})]), Deny)


def test_both_ends_of_the_period_belong_to_it() -> None:
    assert isinstance(decide(_ask(time=START), [_given()]), Permit)
    assert isinstance(decide(_ask(time=END), [_given()]), Permit)


def test_asking_for_everything_gives_only_the_types_named() -> None:
    answer = decide(_ask(resource_types=("*",)), [_given()])
    assert isinstance(answer, Filter)
    assert answer.resource_types == {"Condition", "Observation"}
    assert passes(answer, "Condition", None)
    assert not passes(answer, "Procedure", None)


def test_a_consent_to_every_type_permits_everything() -> None:
    assert isinstance(decide(_ask(resource_types=("*",)), [_given(resource_types=["*"])]), Permit)


def test_a_limit_on_dates_lets_only_records_of_those_dates_pass() -> None:
    answer = decide(REQUEST, [_given(data_period={"end": 500 * DAY, "start": 400 * DAY})])
    assert isinstance(answer, Filter)
    assert passes(answer, "Observation", 450 * DAY)
    assert not passes(answer, "Observation", 399 * DAY)
    assert not passes(answer, "Observation", 500 * DAY + 1)
    assert not passes(answer, "Observation", None)


def test_every_type_with_a_limit_on_dates_is_a_filter_on_dates_only() -> None:
    answer = decide(REQUEST, [_given(resource_types=["*"], data_period={"end": None, "start": 400 * DAY})])
    assert isinstance(answer, Filter)
    assert answer.resource_types is None
    assert passes(answer, "Procedure", 400 * DAY)


def test_of_several_consents_the_one_that_permits_most_decides() -> None:
    narrow = _given(resource_types=["Observation"], data_period={"end": None, "start": 400 * DAY})
    assert isinstance(decide(REQUEST, [narrow, _given(OTHER_KEY)]), Permit)


@given(st.permutations([_given(), _given(OTHER_KEY), _given(b"\x03" * 32, resource_types=["*"])]))
def test_the_order_of_consents_does_not_matter(consents: list[Given]) -> None:
    expected: Decision = decide(REQUEST, sorted(consents, key=lambda item: item.key))
    assert decide(REQUEST, consents) == expected


def test_the_receipt_changes_with_the_request_and_with_the_consents() -> None:
    receipts = {
        decide(REQUEST, [_given()]).receipt,
        decide(_ask(time=START + 2), [_given()]).receipt,
        decide(REQUEST, [_given(OTHER_KEY)]).receipt,
        decide(REQUEST, []).receipt,
    }
    assert len(receipts) == 4


def test_the_ledger_check_permits_only_the_purpose_and_period_of_the_consent() -> None:
    port = ConsentDecision()
    assert port.permits(BASE, {"purpose": "CLMATTCH"}, START)
    assert not port.permits(BASE, {"purpose": "TREAT"}, START)
    assert not port.permits(BASE, {}, START)
    assert not port.permits(BASE, {"purpose": "CLMATTCH"}, END + 1)
    assert not port.permits({}, {"purpose": "CLMATTCH"}, START)
