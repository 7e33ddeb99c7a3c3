"""The custodian's own policy beside consents (`docs/spec/consent.md` C2), and when a decision can become another."""

from __future__ import annotations

from datetime import UTC

import pytest

from consent.custodian import POLICY, decide_inside, decide_own, edges
from consent.decision import Deny, Filter, Permit, Request, compile_consent, passes
from consent.facts import facts_of
from consent.receipt import receipt

NOW = 1_796_083_200_000_000
SCOPE = {"coding": [{"code": "patient-privacy"}]}


def compiled(provision: dict):
    consent = {"resourceType": "Consent", "status": "active", "scope": SCOPE, "provision": provision}
    return compile_consent(consent, consent_id="c", any_patient=True)


def request(**more: object) -> Request:
    return Request(now=NOW, patient="Patient/p", actor="Practitioner/d1", **more)


def test_without_consents_the_custodians_policy_permits():
    found = decide_inside(request(), [])
    assert isinstance(found, Permit)
    assert found.basis == POLICY


def test_a_permission_for_somebody_else_takes_nothing_from_the_custodians_own():
    insurer = [{"reference": {"reference": "Organization/insurer"}}]
    assert isinstance(decide_inside(request(), [compiled({"type": "permit", "actor": insurer})]), Permit)


@pytest.mark.parametrize(
    ("provision", "expected"),
    [
        ({"type": "deny"}, Deny),
        ({"type": "deny", "actor": [{"reference": {"reference": "Practitioner/d1"}}]}, Deny),
        ({"type": "deny", "actor": [{"reference": {"reference": "Practitioner/d2"}}]}, Permit),
        ({"type": "deny", "securityLabel": [{"code": "HIV"}]}, Filter),
        ({"type": "permit", "securityLabel": [{"code": "N"}]}, Filter),
    ],
)
def test_what_a_consent_denies_is_denied(provision, expected):
    assert isinstance(decide_inside(request(), [compiled(provision)]), expected)


def test_a_system_of_which_nobody_knows_for_whom_it_asks_gets_nothing_that_is_denied_to_one_person():
    denied = compiled({"type": "deny", "actor": [{"reference": {"reference": "Practitioner/d2"}}]})
    unknown = Request(now=NOW, patient="Patient/p", groups=None)
    assert isinstance(decide_inside(unknown, [denied]), Deny)


def test_an_organisation_is_meant_by_any_of_its_references():
    denied = compiled({"type": "deny", "actor": [{"reference": {"reference": "Organization/7"}}]})
    aliases = frozenset({"Organization/7"})
    assert isinstance(decide_inside(request(organization="Organization/renhe", aliases=aliases), [denied]), Deny)
    assert isinstance(decide_inside(request(organization="Organization/renhe"), [denied]), Permit)


def itself(**more: object) -> Request:
    """The patient, or who acts for it, asks."""
    asked = {"actor": "Patient/p", "organization": "", "custodian": "", "action": "access"}
    return Request(now=NOW, patient="Patient/p", **asked | more)


def named(reference: str) -> list[dict]:
    return [{"reference": {"reference": reference}}]


NAMED = named("Patient/p")
PERMIT_N = {"type": "permit", "securityLabel": [{"code": "N"}]}


@pytest.mark.parametrize(
    ("provision", "expected"),
    [
        ({"type": "deny"}, Permit),
        (PERMIT_N, Permit),
        ({"type": "deny", "actor": named("Practitioner/d1")}, Permit),
        ({"type": "deny", "actor": NAMED}, Deny),
        ({"type": "deny", "actor": named("Practitioner/d1") + NAMED}, Deny),
        ({"type": "deny", "actor": named("http://here.example/fhir/Patient/p")}, Deny),
        (PERMIT_N | {"actor": NAMED}, Filter),
        ({"type": "deny", "provision": [{"type": "permit", "actor": NAMED}]}, Permit),
        (PERMIT_N | {"provision": [{"type": "deny", "actor": NAMED}]}, Deny),
        ({"type": "deny", "actor": NAMED, "provision": [{"type": "permit", "code": [{"text": "x"}]}]}, Filter),
        ({"type": "permit", "provision": [{"type": "deny", "provision": [{"type": "deny", "actor": NAMED}]}]}, Deny),
        ({"type": "permit", "provision": [{"type": "deny", "securityLabel": [{"code": "HIV"}]}]}, Permit),
        ({"type": "deny", "securityLabel": [{"code": "HIV"}], "provision": [{"type": "deny", "actor": NAMED}]}, Filter),
        ({"type": "deny", "purpose": [{"code": "HRESCH"}], "provision": [{"type": "deny", "actor": NAMED}]}, Deny),
        ({"type": "deny", "actor": NAMED, "purpose": [{"code": "HRESCH"}]}, Deny),
        ({"type": "deny", "actor": [{"reference": {"identifier": {"value": "17"}}}]}, Deny),
        ({"type": "deny", "actor": named("RelatedPerson/r")}, Permit),
        ({"type": "deny", "unheard": 1}, Deny),
    ],
)
def test_of_a_consent_what_names_the_patient_counts_for_the_patient(provision, expected):
    assert isinstance(decide_own(itself(), [compiled(provision)]), expected)


@pytest.mark.parametrize("code", ["OPTIN", "OPTOUT", "OPTOUTE", "EMRGONLY"])
def test_a_base_policy_names_nobody_but_counts_where_a_root_without_type_names_the_patient(code):
    rule = {"policyRule": {"coding": [{"code": code}]}}
    head = {"resourceType": "Consent", "status": "active", "scope": SCOPE, **rule}
    assert isinstance(decide_own(itself(), [compile_consent(head, any_patient=True)]), Permit)
    given = compile_consent(head | {"provision": {"actor": NAMED}}, any_patient=True)
    assert isinstance(decide_own(itself(), [given]), Permit if code == "OPTIN" else Deny)


def test_the_data_of_a_denying_rule_bound_what_it_says_of_the_patient_and_those_of_a_permitting_root_do_not():
    """D5, of rules that are silent themselves."""
    inner = [{"type": "deny", "actor": NAMED, "class": [{"code": "Observation"}]}]
    record = facts_of(b'{"resourceType":"Observation","id":"o"}', "Patient/p", None)
    bounded = decide_own(
        itself(), [compiled({"type": "deny", "code": [{"coding": [{"code": "x"}]}], "provision": inner})]
    )
    free = decide_own(itself(), [compiled({"type": "permit", "class": [{"code": "Condition"}], "provision": inner})])
    assert (passes(bounded, record), passes(free, record)) == (True, False)


def test_as_which_relative_somebody_acts_is_not_known_and_is_in_the_receipt():
    denied = compiled({"type": "deny", "actor": named("RelatedPerson/r")})
    unsure = frozenset({"RelatedPerson"})
    decisions = [decide_own(itself(**more), [denied]) for more in ({}, {"unsure": unsure})]
    assert [type(one) for one in decisions] == [Permit, Deny]
    plain = [decide_own(itself(**more), []) for more in ({}, {"unsure": unsure})]
    assert receipt(plain[0]) != receipt(plain[1])


def test_a_decision_may_change_at_the_ends_of_periods_however_deep():
    inner = {"type": "permit", "period": {"start": "2026-05"}}
    consent = {"provision": {"period": {"end": "2026-12-31"}, "provision": [inner]}}
    day = 86_400_000_000
    first, last = 1_777_593_600_000_000, 1_798_675_200_000_000
    # Either end of what each date covers: one day, and the month of May.
    assert edges(consent, UTC) == {last, last + day, first, first + 31 * day}


@pytest.mark.parametrize("consent", [None, [], {}, {"provision": None}, {"provision": {"period": [], "provision": {}}}])
def test_what_is_no_consent_has_no_such_moments(consent):
    assert edges(consent, UTC) == frozenset()
