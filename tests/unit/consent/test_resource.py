"""A consent object as a FHIR Consent: read by the decision, it says what the object does, and never more."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import orjson
import pytest

from consent.decision import Request, Resource, compile_consent, decide, passes
from consent.directive import SUBJECT, compile_content, span_of_seconds
from consent.resource import written
from fhir_bridge import resources
from fhir_bridge.document import parse
from fhir_bridge.validation.check import Mode
from medchain.ledger.kinds.consent import read
from medchain.ledger.kinds.content import Period
from medchain.ledger.one_claim import OneClaim, one_claim_in
from tests.unit.consent.test_directive import BASE, DAY, END, REQUEST, START
from tests.unit.consent.writing import ACT, SCOPE, provision

KEY = bytes(range(32))
OPTIN = {"coding": [{"system": ACT, "code": "OPTIN"}]}
OPTOUT = {"coding": [{"system": ACT, "code": "OPTOUT"}]}


def fhir(rules: object = None, **changes: object) -> dict[str, Any]:
    inside = {} if rules is None else {"provision": provision(rules)}
    return {"resourceType": "Consent", "status": "active", "scope": SCOPE, **inside, **changes}


EXACT = [
    {"resourceType": "Consent"},
    fhir({"type": "permit"}),
    fhir({"type": "permit", "provision": [{"type": "deny", "securityLabel": ["PSY"]}]}),
    fhir({"type": "permit", "class": ["Observation"]}),
    fhir({"type": "deny"}),
    fhir({"type": "deny", "class": ["Observation"]}, policyRule=OPTIN),
    fhir({"type": "deny", "class": ["Observation"]}, policyRule=OPTOUT),
    fhir({"class": ["Observation"]}, policyRule=OPTIN),
    fhir(policyRule=OPTIN),
    fhir(policyRule=OPTOUT),
    fhir({"type": "permit"}, status="inactive"),
    fhir({"type": "permit"}, scope={}),
    fhir({"type": "permit"}, modifierExtension=[{"url": "urn:x"}]),
]
NARROWER = [
    # Rules beside a root permit's data hold inside the bounds only.
    fhir({"type": "permit", "class": ["Observation"], "provision": [{"type": "permit", "class": ["Condition"]}]}),
    fhir(policyRule={"coding": [{"system": ACT, "code": "EMRGONLY"}]}),
    fhir({"type": "permit"}, policy=[{"uri": "urn:ihe:iti:pcf:Policy-all-normal"}]),
]
FIELDS: list[dict[str, Any]] = [
    {},
    {"resource_types": ["*"]},
    {"data_period": {"end": 500 * DAY, "start": 400 * DAY}},
    {"period": {"end": None, "start": START}},
]
REQUESTS = [
    REQUEST,
    replace(REQUEST, custodian="Organization/binhai-hospital"),
    replace(REQUEST, organization="Organization/renhe-hospital"),
    replace(REQUEST, purpose="HMARKT"),
    replace(REQUEST, purpose="CLMATTCH"),
    replace(REQUEST, now=START * 1_000_000 - 1),
    replace(REQUEST, now=END * 1_000_000),
    replace(REQUEST, now=(END + 1) * 1_000_000),
    replace(REQUEST, purpose=None),
]
RECORDS = [
    Resource("Observation/r", name, SUBJECT, codes=(), labels=labels, authors=(), span=span_of_seconds(Period(at, at)))
    for name, labels, at in product(
        ("Observation", "Condition", "Procedure"), (frozenset(), frozenset({"PSY"})), (450 * DAY, 600 * DAY)
    )
]


def both(content: dict[str, Any], request: Request, record: Resource) -> tuple[bool, bool]:
    """Tell what the object lets pass, and what the resource does."""
    made = written(read(content), KEY, "Patient/p1", is_in_force=True)
    directive = compile_consent(made, consent_id="k", version="1", any_patient=True)
    return compile_content(content, "k", "1").decide(request).passes(record), passes(
        decide(request, [directive]), record
    )


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("given", EXACT)
def test_what_is_written_permits_what_the_object_permits(fields: dict[str, Any], given: dict[str, Any]) -> None:
    found = [both({**BASE, **fields, "fhir": given}, one, record) for one, record in product(REQUESTS, RECORDS)]
    assert [resource for _, resource in found] == [ledger for ledger, _ in found]


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("given", NARROWER)
def test_what_cannot_be_written_exactly_permits_less(fields: dict[str, Any], given: dict[str, Any]) -> None:
    found = [both({**BASE, **fields, "fhir": given}, one, record) for one, record in product(REQUESTS, RECORDS)]
    assert (True, False) in found or not any(ledger for ledger, _ in found)
    assert (False, True) not in found


def test_something_passes_and_something_does_not() -> None:
    found = {both(BASE, one, record) for one, record in product(REQUESTS, RECORDS)}
    assert found == {(True, True), (False, False)}


@pytest.mark.parametrize("given", [*EXACT, *NARROWER])
def test_it_is_a_valid_consent_with_what_searches_look_for_at_its_root(given: dict[str, Any]) -> None:
    made = written(read({**BASE, "fhir": given}), KEY, "Patient/p1", is_in_force=False)
    resources.check(parse(orjson.dumps({**made, "id": KEY.hex()})), "Consent", Mode.LENIENT)
    root = made["provision"]
    assert isinstance(root, dict)
    assert (made["status"], made["patient"], made["performer"]) == (
        "inactive",
        {"reference": "Patient/p1"},
        [{"reference": "Patient/p1"}],
    )
    assert made["identifier"] == [{"system": "urn:medchain:consent", "value": KEY.hex()}]
    assert root["actor"][0]["reference"]["reference"] == "Organization/anxin-insurance"
    assert root["purpose"] == [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HPAYMT"}]
    assert root["period"] == {"start": "1972-09-27T00:00:00+00:00", "end": "1973-01-04T23:59:59+00:00"}


ONE = OneClaim(b"\x0c" * 32, ("Condition/r", "Observation/r"), ("PSY",))
FOR_ONE_CLAIM = {
    "custodians": ["renhe-hospital"],
    "fhir": ONE.fhir(),
    "period": {"end": START + 30 * DAY, "start": START},
    "resource_types": ["Condition", "Observation"],
}


def test_a_consent_for_one_claim_is_written_as_it_is_and_read_again_permits_nothing_without_its_action() -> None:
    content = {**BASE, **FOR_ONE_CLAIM}
    assert one_claim_in(content) == ONE
    for_claim = replace(REQUEST, action=ONE.digest.hex(), now=(START + 5) * 1_000_000)
    others = [replace(for_claim, action=None), replace(for_claim, action="0d" * 32)]
    others.append(replace(for_claim, now=(START + 30 * DAY + 1) * 1_000_000))
    assert {both(content, for_claim, record) for record in RECORDS} == {(True, True), (False, False)}
    assert {both(content, one, record) for one, record in product(others, RECORDS)} == {(False, False)}
    made = written(read(content), KEY, "Patient/p1", is_in_force=True)
    resources.check(parse(orjson.dumps({**made, "id": KEY.hex()})), "Consent", Mode.LENIENT)


def test_who_signs_for_another_is_not_named_and_a_patient_who_is_not_here_neither() -> None:
    for_another = written(read({**BASE, "acting_for": "33" * 32}), KEY, "Patient/p1", is_in_force=True)
    assert "performer" not in for_another
    unknown = written(read(BASE), KEY, "", is_in_force=True)
    subject = {"system": "urn:medchain:subject", "value": BASE["subject"]}
    assert (unknown["patient"], "performer" in unknown) == ({"type": "Patient", "identifier": subject}, False)
