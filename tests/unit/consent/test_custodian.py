"""The custodian's own policy beside consents (`docs/spec/consent.md` C2), and when a decision can become another."""

from __future__ import annotations

from datetime import UTC

import pytest

from consent.custodian import POLICY, decide_inside, edges
from consent.decision import Deny, Filter, Permit, Request, compile_consent

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
