"""The checks of access, emergency and erasure, and of kinds without a sealed body."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.ledger.kinds.access import read as read_accesses
from medchain.ledger.kinds.emergency import Emergency, Review
from medchain.ledger.kinds.emergency import read as read_emergency
from medchain.ledger.kinds.erasure import Erasure
from medchain.ledger.kinds.erasure import read as read_erasure
from medchain.ledger.kinds.registry import KINDS
from medchain.ledger.object import build_body
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.kinds.case import (
    END,
    ConsentCase,
    Decision,
    access_row,
    accesses,
    code,
    malformed,
)
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TAIPING, TIME, TONGJI, fresh


@pytest.fixture
def case():
    return ConsentCase()


def released(case, *rows: object, **changes: object):
    consent = changes.pop("consent", None) or case.kept_consent()
    grant = changes.pop("grant", None) or case.kept_grant(consent)
    body = build_body("access", accesses(grant, consent, *rows).to_content(), None, fresh)
    refs = tuple(sorted(Ref(kept.key, kept.version) for kept in (consent, grant)))
    terms = {"refs": refs, "endorser": None, "own": ANXIN, "role": "party"} | changes
    return body, case.context("access", body, **terms)


def test_the_recipient_agrees_to_accesses_under_grant_and_consent(case):
    assert code(*released(case, access_row(), access_row())) == ""
    assert [(asked[0]["recipient"], asked[2]) for asked in case.decision.asked] == [(ANXIN, TIME - 5)] * 2


def test_a_decision_that_denies_refuses_the_access(case):
    case.decision = Decision(answer=False)
    assert code(*released(case)) == "access.denied"


def test_an_access_under_another_grant_than_it_stands_on_is_refused(case):
    consent = case.kept_consent()
    refs = (Ref(consent.key, 1), Ref(case.kept_grant(consent).key, 1))
    assert code(*released(case, consent=consent, refs=refs)) == "access.refs"


def test_an_access_under_a_consent_that_is_not_its_grants_is_refused(case):
    grant = case.kept_grant(case.kept_consent())
    assert code(*released(case, consent=case.kept_consent(), grant=grant)) == "access.refs"


def test_an_access_whose_grant_or_consent_body_is_missing_is_refused(case):
    consent = case.kept_consent()
    body, context = released(case, consent=consent)
    del case.bodies[consent.key]
    assert code(body, context) == "access.consent"
    case = ConsentCase()
    consent = case.kept_consent()
    grant = case.kept_grant(consent)
    body, context = released(case, consent=consent, grant=grant)
    del case.bodies[grant.key]
    assert code(body, context) == "access.grant"


def test_an_access_under_something_else_than_a_grant_is_refused(case):
    assert code(*released(case, grant=case.subject)) == "access.grant"


def test_nobody_but_the_custodian_says_what_it_released(case):
    assert code(*released(case, creator=TONGJI)) == "access.custodian"


def test_one_signed_request_is_one_release(case):
    row = access_row()
    assert code(*released(case, row, replace(row, count=9))) == "access.repeated"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"purpose": "HMARKT"}, "access.purpose"),
        ({"time": TIME + 61}, "access.time"),
        ({"time": TIME - 501}, "access.period"),
        ({"time": TIME + 60}, ""),
    ],
)
def test_an_access_outside_its_grant_is_refused(case, changes, expected):
    assert code(*released(case, access_row(**changes))) == expected


def test_an_access_after_the_end_of_its_grant_is_refused(case):
    body, context = released(case, access_row(time=END + 1))
    assert code(body, replace(context, time=END + 10)) == "access.period"


def test_an_access_under_a_grant_without_end_is_endorsed(case):
    consent = case.kept_consent()
    content = case.grant(consent, period=replace(case.consent().period, end=None)).to_content()
    grant = case.keep("grant", content, None, refs=(Ref(consent.key, 1),))
    assert code(*released(case, consent=consent, grant=grant)) == ""


def test_ending_a_chain_of_accesses_needs_no_refs(case):
    assert code(*released(case, status="ended", refs=())) == ""


def test_who_is_no_party_does_not_check_accesses(case):
    assert code(*released(case, own=TAIPING)) == "access.role"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("accesses", []),
        ("accesses", {}),
        ("accesses", [access_row().to_json()] * 1001),
        ("accesses", [access_row().to_json() | {"count": -1}]),
        ("accesses", [5]),
        ("consents", []),
        ("consents", "00"),
        ("consents", ["00" * 32, "00" * 32]),
        ("grant", ""),
        ("more", 1),
    ],
)
def test_accesses_of_another_form_are_malformed(case, member, value):
    consent = case.kept_consent()
    content = accesses(case.kept_grant(consent), consent).to_content()
    assert read_accesses(content).to_content() == content
    assert malformed(content | {member: value}, "access", case).startswith("body.malformed ")


# Emergency

EMERGENCY = Emergency(
    custodian=RENHE,
    recipient=TONGJI,
    patient="7f3a",
    staff="doctor-17",
    reason="unconscious",
    request_hash=b"\x01" * 32,
    count=2,
    commitments_root=b"\x02" * 32,
    wraps_hash=b"\x03" * 32,
    time=TIME,
    review=None,
)
REVIEWED = replace(EMERGENCY, review=Review("officer-2", "justified", TIME + 5))


def emergency(case, content, **changes: object):
    body = build_body("emergency", content.to_content(), None, fresh)
    return body, case.context("emergency", body, **({"endorser": None, "own": TONGJI, "role": "party"} | changes))


def test_an_emergency_comes_back_as_it_went():
    assert read_emergency(EMERGENCY.to_content()) == EMERGENCY
    assert read_emergency(REVIEWED.to_content()) == REVIEWED


def test_an_emergency_needs_no_consent_and_stays_open_until_its_review(case):
    assert code(*emergency(case, EMERGENCY)) == ""
    before = case.keep("emergency", EMERGENCY.to_content())
    assert code(*emergency(case, REVIEWED, status="ended", before=before)) == ""


def test_an_emergency_is_not_closed_without_review_nor_born_with_one(case):
    assert code(*emergency(case, EMERGENCY, status="ended")) == "emergency.review"
    assert code(*emergency(case, REVIEWED)) == "emergency.review"


def test_a_review_does_not_change_what_happened(case):
    before = case.keep("emergency", EMERGENCY.to_content())
    changed = replace(REVIEWED, count=1)
    assert code(*emergency(case, changed, status="ended", before=before)) == "emergency.changed"


def test_an_emergency_is_the_custodians_and_not_of_the_future(case):
    assert code(*emergency(case, EMERGENCY, creator=ANXIN)) == "emergency.custodian"
    assert code(*emergency(case, replace(EMERGENCY, time=TIME + 61))) == "emergency.time"


@pytest.mark.parametrize(("member", "value"), [("reason", ""), ("review", {}), ("review", 5), ("more", 1)])
def test_an_emergency_of_another_form_is_malformed(case, member, value):
    content = EMERGENCY.to_content() | {member: value}
    assert malformed(content, "emergency", case).startswith("body.malformed ")


# Erasure

ERASURE = Erasure(RENHE, (b"\x01" * 32, b"\x02" * 32), "request of the patient", TIME)


def erasure(case, content, **changes: object):
    body = build_body("erasure", content.to_content(), None, fresh)
    return body, case.context("erasure", body, **({"endorser": None, "own": RENHE, "role": "creator"} | changes))


def test_an_organisation_erases_its_own_keys(case):
    assert read_erasure(ERASURE.to_content()) == ERASURE
    assert code(*erasure(case, ERASURE)) == ""


def test_nobody_erases_for_another(case):
    assert code(*erasure(case, replace(ERASURE, organisation=TONGJI))) == "erasure.owner"


def test_an_erasure_of_the_future_is_refused(case):
    assert code(*erasure(case, replace(ERASURE, time=TIME + 61))) == "erasure.time"


@pytest.mark.parametrize(("member", "value"), [("epochs", []), ("epochs", ["00"]), ("time", -1), ("more", 1)])
def test_an_erasure_of_another_form_is_malformed(case, member, value):
    content = ERASURE.to_content() | {member: value}
    assert malformed(content, "erasure", case).startswith("body.malformed ")


# The registry


@pytest.mark.parametrize("kind", ["organisation", "policy", "protocol", "record", "state"])
def test_a_kind_without_sealed_body_has_none(case, kind):
    body = build_body(kind, {"a": 1}, None, fresh)
    assert code(body, case.context(kind, body)) == "body.superfluous"


def test_each_kind_has_its_name_and_a_number_of_its_own():
    numbers = {kind.name: kind.number for kind in KINDS.values()}
    assert numbers == {
        "organisation": 1,
        "policy": 2,
        "protocol": 3,
        "record": 4,
        "subject": 5,
        "consent": 6,
        "grant": 7,
        "access": 8,
        "emergency": 9,
        "erasure": 10,
        "state": 13,
    }
    assert all(name == kind.name for name, kind in KINDS.items())
