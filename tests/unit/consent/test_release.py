"""A release asks the same decision as every other access."""

from __future__ import annotations

from typing import Any

import pytest

from consent.decision import Reason
from consent.release import ReleaseRules
from medchain.ledger.kinds.content import Period
from medchain.ledger.one_claim import OneClaim
from medchain.node.release_ports import ConsentInForce, ConsentRuling, Question, Ruling
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


CLAIM = b"\x0c" * 32
KEPT = OneClaim(CLAIM, ("Encounter/e1", "Observation/o1"), ("HIV",))
FOR_ONE = BASE | {
    "fhir": KEPT.fhir(),
    "purpose": "HPAYMT",
    "resource_types": ["Encounter", "Observation"],
    "period": {"end": START + 30 * 86_400, "start": START},
}
TYPES = ("Encounter", "Observation")


def claim_ruling(
    claim: bytes | None = CLAIM, recipient: str = "anxin-insurance", time: int = START + 5, **changes: object
) -> ConsentRuling:
    question = Question("renhe-hospital", recipient, "HPAYMT", time, TYPES, claim=claim)
    return ReleaseRules().rule(question, [ConsentInForce(b"\x01" * 32, 3, {**FOR_ONE, **changes})])


def written(reference: str, label: str = "N") -> bytes:
    kind, _, name = reference.partition("/")
    return b'{"resourceType":"%s","id":"%s","meta":{"security":[{"code":"%s"}]}}' % (
        kind.encode(),
        name.encode(),
        label.encode(),
    )


def test_under_a_consent_for_one_claim_the_cited_records_are_disclosed_for_it() -> None:
    found = claim_ruling()
    assert (found.denial, found.needs_content) == (None, True)
    assert found.passes("Encounter", None, written("Encounter/e1"))
    assert found.passes("Observation", None, written("Observation/o1"))
    assert not found.passes("Observation", None, written("Observation/o2"))
    assert not found.passes("Observation", None, written("Observation/o1", "HIV"))
    assert not found.passes("Observation", None, None)


def test_attack_a_record_is_wanted_whole_under_a_consent_for_one_claim() -> None:
    found = claim_ruling(None)
    assert found.denial == Reason.CLAIM.value
    assert not found.passes("Encounter", None, written("Encounter/e1"))


def test_attack_a_consent_for_one_claim_is_used_for_another() -> None:
    found = claim_ruling(b"\x0d" * 32)
    assert found.denial == Reason.CLAIM.value
    assert not found.counts("Encounter", None, written("Encounter/e1"))


def test_attack_another_insurer_uses_a_consent_for_one_claim() -> None:
    assert claim_ruling(recipient="taihe-insurance").denial == Reason.NOT_PERMITTED.value


def test_attack_a_consent_for_one_claim_is_used_after_its_end() -> None:
    end = START + 30 * 86_400
    assert claim_ruling(time=end).denial is None
    assert claim_ruling(time=end + 1).denial == Reason.NONE.value


@pytest.mark.parametrize(
    "changes",
    [
        {"period": {"end": START + 31 * 86_400, "start": START}},
        {"period": {"end": None, "start": START}},
        {"custodians": ["renhe-hospital", "tongji-hospital"]},
        {"resource_types": ["*"]},
        {"fhir": {**KEPT.fhir(), "implicitRules": "x"}},
        {"fhir": {**KEPT.fhir(), "dateTime": "2026-01-01"}},
    ],
)
def test_what_is_nearly_a_consent_for_one_claim_permits_nothing(changes: dict[str, object]) -> None:
    for claim in (CLAIM, None):
        found = claim_ruling(claim, **changes)
        assert not found.passes("Encounter", None, written("Encounter/e1"))
        assert not found.counts("Encounter", None, written("Encounter/e1"))


def test_for_statements_all_records_count_but_those_that_are_kept_back() -> None:
    found = claim_ruling()
    assert found.counts("Observation", None, written("Observation/o2"))
    assert found.counts("MedicationRequest", None, written("MedicationRequest/m1"))
    assert not found.counts("Observation", None, written("Observation/o2", "HIV"))
    assert not found.counts("Observation", None, None)


def test_what_a_general_consent_permits_whole_it_permits_to_be_told_in_part() -> None:
    question = Question("renhe-hospital", "anxin-insurance", "CLMATTCH", START + 5, ("Observation",), claim=CLAIM)
    found = ReleaseRules().rule(question, [ConsentInForce(b"\x01" * 32, 1, BASE)])
    assert found.denial is None
    assert found.passes("Observation", None, RECORD % b"N")
    assert found.counts("Observation", None, RECORD % b"N")
    assert not found.counts("Claim", None, b'{"resourceType":"Claim","id":"c"}')


def test_a_general_consent_that_denies_an_action_denies_it_in_part_as_well() -> None:
    inside = {"type": "deny", "action": [{"coding": [{"code": "access"}]}]}
    fhir = {"resourceType": "Consent", "status": "active", "scope": SCOPE}
    denying = fhir | {"provision": {"type": "permit", "provision": [inside]}}
    for claim in (CLAIM, None):
        question = Question("renhe-hospital", "anxin-insurance", "CLMATTCH", START + 5, ("Observation",), claim=claim)
        found = ReleaseRules().rule(question, [ConsentInForce(b"\x01" * 32, 1, {**BASE, "fhir": denying})])
        assert not found.passes("Observation", None, RECORD % b"N")


def test_the_receipt_names_the_consent_and_the_rule() -> None:
    found = claim_ruling().receipt()
    assert found is not None
    assert {name: found[name] for name in ("consent", "rule", "time", "version")} == {
        "consent": "01" * 32,
        "rule": "one-claim",
        "time": START + 5,
        "version": 3,
    }
    other = OneClaim(b"\x0d" * 32, KEPT.cited, KEPT.kept)
    again = claim_ruling(other.digest, fhir=other.fhir()).receipt()
    assert again is not None
    assert again["receipt"] != found["receipt"]
    assert claim_ruling(b"\x0d" * 32).receipt() is None
    general = ReleaseRules().rule(
        Question("renhe-hospital", "anxin-insurance", "CLMATTCH", START + 5, ("Observation",), claim=CLAIM),
        [ConsentInForce(b"\x01" * 32, 1, BASE)],
    )
    assert (general.receipt() or {})["rule"] == "general"


def test_the_receipt_of_what_the_law_demands_names_no_consent_as_its_rule() -> None:
    basis = {"authority": "District Court", "kind": "court", "reference": "2026/123", "scope": "a stay"}
    law = {name: BASE[name] for name in ("data_period", "period", "recipient", "resource_types", "stop")}
    mandate = law | {"basis": basis, "custodian": "renhe-hospital", "patient": "p17", "purpose": "HLEGAL"}
    question = Question("renhe-hospital", "anxin-insurance", "HLEGAL", START + 5, ("Observation",), claim=CLAIM)
    found = ReleaseRules().rule(question, [ConsentInForce(b"\x01" * 32, 1, mandate)])
    assert (found.receipt() or {})["rule"] == "mandate"
