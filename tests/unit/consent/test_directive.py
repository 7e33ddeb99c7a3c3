"""A consent object of the ledger permits what its fields and its FHIR Consent both permit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consent.decision import Reason, Request, Resource
from consent.directive import SUBJECT, ConsentDecision, LedgerDecision, compile_content, span_of_seconds
from medchain.dates import END as NEVER
from medchain.ledger.kinds.content import Period
from tests.unit.consent.writing import SCOPE, provision

DAY = 86400
START, END = 1_000 * DAY, 1_100 * DAY - 1
BASE: dict[str, Any] = {
    "acting_for": None,
    "custodians": ["renhe-hospital", "tongji-hospital"],
    "data_period": None,
    "fhir": {"resourceType": "Consent"},
    "joined": [],
    "nonce": "00" * 16,
    "operation": "create",
    "period": {"end": END, "start": START},
    "purpose": "HPAYMT",
    "recipient": "anxin-insurance",
    "resource_types": ["Condition", "Observation"],
    "signed_at": START,
    "stop": "11" * 32,
    "subject": "22" * 32,
}
REQUEST = Request(
    now=(START + DAY) * 1_000_000,
    patient=SUBJECT,
    organization="Organization/anxin-insurance",
    custodian="Organization/renhe-hospital",
    purpose="HPAYMT",
)


def decided(request: Request = REQUEST, **changes: object) -> LedgerDecision:
    return compile_content({**BASE, **changes}, "k", "3").decide(request)


def may(type_name: str, second: int | None = None, found: LedgerDecision | None = None, **changes: object) -> bool:
    span = None if second is None else span_of_seconds(Period(second, second))
    return (found or decided(**changes)).passes(Resource("Observation/r", type_name, SUBJECT, span=span))  # type: ignore[arg-type]  # by name


def fhir(rules: object, **changes: object) -> dict[str, object]:
    return {"resourceType": "Consent", "status": "active", "scope": SCOPE, "provision": provision(rules), **changes}


def test_what_the_fields_name_is_permitted() -> None:
    assert may("Observation")
    assert may("Condition")
    assert not may("Procedure")


@pytest.mark.parametrize(
    "change",
    [
        {"custodian": "Organization/binhai-hospital"},
        {"organization": "Organization/taihe-insurance"},
        {"purpose": "HMARKT"},
        {"purpose": "COVERAGE x"},
        {"now": START * 1_000_000 - 1},
        {"now": (END + 1) * 1_000_000},
    ],
)
def test_anything_that_the_fields_do_not_name_is_denied(change: dict[str, Any]) -> None:
    found = decided(replace(REQUEST, **change))
    assert found.denial is not None
    assert found.denial.reason is not Reason.UNREADABLE
    assert not may("Observation", found=found)


@pytest.mark.parametrize("unknown", ["custodian", "organization", "purpose"])
def test_what_is_not_known_of_a_request_lets_nothing_pass(unknown: str) -> None:
    assert not may("Observation", found=decided(replace(REQUEST, **{unknown: None})))


@pytest.mark.parametrize("second", [START, END])
def test_both_ends_of_the_period_belong_to_it(second: int) -> None:
    assert decided(replace(REQUEST, now=second * 1_000_000)).denial is None


def test_a_purpose_below_the_one_named_is_permitted() -> None:
    assert decided(replace(REQUEST, purpose="CLMATTCH")).denial is None


def test_every_type_is_every_type() -> None:
    assert may("Procedure", resource_types=["*"])


def test_a_limit_on_dates_lets_only_records_of_those_dates_pass() -> None:
    limits = {"data_period": {"end": 500 * DAY, "start": 400 * DAY}}
    assert decided(**limits).needs_content
    assert not decided().needs_content
    dates = (400 * DAY - 1, 400 * DAY, 500 * DAY, 500 * DAY + 1, None)
    assert [may("Observation", date, **limits) for date in dates] == [False, True, True, False, False]


def test_a_period_without_end_covers_all_that_follows() -> None:
    assert span_of_seconds(Period(3, None)) == (3_000_000, NEVER)


def test_an_end_after_all_dates_is_no_end_and_a_start_there_cannot_be_read() -> None:
    assert decided(period={"end": 10**15, "start": START}).denial is None
    unreadable = decided(period={"end": None, "start": 10**15}).denial
    assert unreadable is not None
    assert unreadable.reason is Reason.UNREADABLE


def test_a_malformed_content_denies() -> None:
    for content in ({}, {**BASE, "custodians": "renhe-hospital"}):
        found = compile_content(content, "k", "1").decide(REQUEST).denial
        assert found is not None
        assert (found.basis, found.reason) == ("k", Reason.UNREADABLE)


def test_the_fhir_consent_narrows_what_the_fields_permit() -> None:
    narrow = fhir({"type": "permit", "class": ["Observation"]})
    assert may("Observation", fhir=narrow)
    assert not may("Condition", fhir=narrow)


def test_the_fhir_consent_never_widens_it() -> None:
    wide = fhir({"type": "permit"})
    assert not may("Procedure", fhir=wide)
    assert decided(replace(REQUEST, purpose="HMARKT"), fhir=wide).denial is not None


@pytest.mark.parametrize("change", [{"status": "inactive"}, {"scope": {}}, {"modifierExtension": [{"url": "urn:x"}]}])
def test_a_fhir_consent_with_rules_that_does_not_apply_permits_nothing(change: dict[str, object]) -> None:
    assert decided(fhir=fhir({"type": "permit"}, **change)).denial is not None


def test_a_fhir_consent_without_rules_leaves_it_to_the_fields() -> None:
    assert may("Observation", fhir={"resourceType": "Consent", "status": "active"})


# The ledger's check


def test_the_ledger_check_permits_only_the_purpose_and_period_of_the_consent() -> None:
    port = ConsentDecision()
    assert port.permits(BASE, {"purpose": "HPAYMT"}, START)
    assert port.permits(BASE, {"purpose": "HPAYMT"}, END)
    assert not port.permits(BASE, {"purpose": "TREAT"}, START)
    assert not port.permits(BASE, {}, START)
    assert not port.permits(BASE, {"purpose": 3}, START)
    assert not port.permits(BASE, {"purpose": "HPAYMT"}, END + 1)
    assert not port.permits({}, {"purpose": "HPAYMT"}, START)


def test_the_ledger_check_leaves_to_the_custodian_what_only_it_knows() -> None:
    port = ConsentDecision()
    named = fhir({"type": "permit", "actor": ["Practitioner/d"], "securityLabel": ["N"]})
    assert port.permits({**BASE, "fhir": named}, {"purpose": "HPAYMT"}, START)
    other = fhir({"type": "permit", "purpose": ["TREAT"]})
    assert not port.permits({**BASE, "fhir": other}, {"purpose": "HPAYMT"}, START)
    assert not port.permits({**BASE, "fhir": fhir({"type": "deny"})}, {"purpose": "HPAYMT"}, START)


# Mandates of the law

LAW: dict[str, Any] = {
    "basis": {"authority": "District Court", "kind": "court", "reference": "2026/123", "scope": "a stay"},
    "custodian": "renhe-hospital",
    "data_period": None,
    "patient": "p17",
    "period": {"end": END, "start": START},
    "purpose": "HLEGAL",
    "recipient": "anxin-insurance",
    "resource_types": ["Condition", "Observation"],
    "stop": "11" * 32,
}


def lawful(request: Request = REQUEST, **changes: object) -> LedgerDecision:
    return compile_content({**LAW, **changes}, "k", "1").decide(replace(request, purpose=request.purpose and "HLEGAL"))


def test_what_a_mandate_names_is_permitted_and_nothing_else() -> None:
    assert may("Observation", found=lawful())
    assert not may("Procedure", found=lawful())
    changes: tuple[dict[str, Any], ...] = (
        {"custodian": "Organization/tongji-hospital"},
        {"organization": "Organization/taihe-insurance"},
        {"now": START * 1_000_000 - 1},
        {"now": (END + 1) * 1_000_000},
        {"purpose": None},
    )
    for change in changes:
        assert not may("Observation", found=lawful(replace(REQUEST, **change)))
    assert compile_content(LAW, "k", "1").decide(REQUEST).denial is not None


def test_a_mandates_dates_bound_it() -> None:
    limits = {"data_period": {"end": 500 * DAY, "start": 400 * DAY}}
    dates = (400 * DAY - 1, 400 * DAY, None)
    assert [may("Observation", date, lawful(**limits)) for date in dates] == [False, True, False]


def test_the_ledger_check_of_a_mandate_permits_its_purpose_and_period_alone() -> None:
    port = ConsentDecision()
    assert port.permits(LAW, {"purpose": "HLEGAL"}, START)
    assert not port.permits(LAW, {"purpose": "HPAYMT"}, START)
    assert not port.permits(LAW, {"purpose": "HLEGAL"}, END + 1)
    assert not port.permits({**LAW, "purpose": "HPAYMT"}, {"purpose": "HPAYMT"}, START)
