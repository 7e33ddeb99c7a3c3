"""A release asks the same decision as every other access."""

from __future__ import annotations

from typing import Any

import pytest

from consent.decision import DENY_NO_CONSENT
from consent.release import ReleaseRules
from medchain.node.release_ports import ConsentInForce, Question, Ruling

START, END = 86_400_000, 95_040_000
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


def ruling(types: tuple[str, ...] = ("Observation",), purpose: str = "CLMATTCH", **changes: object) -> Ruling:
    question = Question("renhe-hospital", "anxin-insurance", purpose, START + 5, types)
    return ReleaseRules().rule(question, [ConsentInForce(b"\x01" * 32, 1, {**BASE, **changes})])


def test_what_is_permitted_passes_whatever_its_date() -> None:
    found = ruling()
    assert (found.denial, found.limits_dates, found.passes("Observation", None)) == (None, False, True)


def test_of_all_types_those_of_the_consent_pass() -> None:
    found = ruling(("*",))
    assert (found.denial, found.limits_dates) == (None, False)
    assert [found.passes(name, None) for name in ("Condition", "Observation", "Claim")] == [True, True, False]


def test_a_data_period_limits_dates() -> None:
    found = ruling(data_period={"end": 20, "start": 10})
    assert (found.denial, found.limits_dates) == (None, True)
    assert [found.passes("Observation", date) for date in (9, 10, 20, 21, None)] == [False, True, True, False, False]


@pytest.mark.parametrize("purpose", ["HMARKT", ""])
def test_a_denial_has_its_reason_and_nothing_passes(purpose: str) -> None:
    found = ruling(purpose=purpose)
    assert (found.denial, found.limits_dates) == (DENY_NO_CONSENT, False)
    assert not found.passes("Observation", START)
