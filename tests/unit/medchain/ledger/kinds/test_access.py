"""The checks of access, emergency and erasure, and of kinds without a sealed body."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.ledger.kinds.access import read as read_accesses
from medchain.ledger.kinds.emergency import Emergency, Objection, Review
from medchain.ledger.kinds.emergency import read as read_emergency
from medchain.ledger.kinds.erasure import Erasure, Statement, read_statement, statement_id, statement_key
from medchain.ledger.kinds.erasure import read as read_erasure
from medchain.ledger.kinds.registry import KINDS
from medchain.ledger.object import build_body, map_key
from medchain.ledger.request import CitedClaim, access_id
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.kinds.case import (
    END,
    ConsentCase,
    Decision,
    access_row,
    accesses,
    asked_for,
    code,
    malformed,
    request,
)
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TAIPING, TIME, TONGJI, fresh


@pytest.fixture
def case():
    return ConsentCase()


def released(case, *rows: object, **changes: object):
    consent = changes.pop("consent", None) or case.kept_consent()
    grant = changes.pop("grant", None) or case.kept_grant(consent)
    made, evidence = asked_for(grant, *(rows or (access_row(),)))
    if "signed" in changes:
        made, evidence = rows, {"requests": [changes.pop("signed").to_json()]}
    evidence = changes.pop("evidence", evidence)
    body = build_body("access", accesses(grant, consent, *made).to_content(), evidence, fresh)
    refs = tuple(sorted(Ref(kept.key, kept.version) for kept in (consent, grant)))
    own_id = access_id(grant.key, RENHE)
    terms = {"refs": refs, "endorser": None, "own": ANXIN, "role": "holder", "object_id": own_id} | changes
    return body, case.context("access", body, **terms)


def test_the_recipient_agrees_to_accesses_under_grant_and_consent(case):
    assert code(*released(case, access_row(), access_row())) == ""
    assert [(asked[0]["recipient"], asked[2]) for asked in case.decision.asked] == [(ANXIN, TIME - 5)] * 2


def test_the_decision_is_told_for_which_claim_parts_of_records_were_asked_for(case):
    consent = case.kept_consent()
    grant = case.kept_grant(consent)
    signed = request(grant, claim=CitedClaim(b"\x0c" * 32, fresh(32)))
    row = access_row(request_hash=signed.request.hash)
    assert code(*released(case, row, consent=consent, grant=grant, signed=signed)) == ""
    assert code(*released(case, consent=consent, grant=grant)) == ""
    assert [asked[3] for asked in case.decision.asked] == [b"\x0c" * 32, None]


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


# Attacks by the custodian alone


def test_attack_a_second_chain_of_accesses_beside_the_one_where_everybody_looks(case):
    assert code(*released(case, object_id=fresh(16))) == "access.id"


def test_attack_a_disclosure_without_the_askers_request(case):
    for evidence in (None, {"requests": []}, {"requests": 1}, {"requests": [], "more": 1}):
        wanted = "access.request" if evidence == {"requests": []} else "body.malformed access.requests"
        assert code(*released(case, evidence=evidence)) == wanted


@pytest.mark.parametrize(
    "changes",
    [
        {"pen": TAIPING},
        {"recipient": TAIPING, "pen": TAIPING},
        {"grant": b"\x01" * 32},
        {"custodian": TONGJI},
        {"purpose": "TREAT"},
        {"ledger": b"\x01" * 32},
    ],
)
def test_attack_a_disclosure_made_up_from_another_request_or_signature(case, changes):
    consent = case.kept_consent()
    grant = case.kept_grant(consent)
    signed = request(grant, **changes)
    row = access_row(request_hash=signed.request.hash)
    assert code(*released(case, row, consent=consent, grant=grant, signed=signed)) == "access.request"


def test_attack_a_disclosure_under_a_request_that_says_something_else(case):
    consent = case.kept_consent()
    grant = case.kept_grant(consent)
    evidence = {"requests": [request(grant).to_json()]}
    assert code(*released(case, consent=consent, grant=grant, evidence=evidence)) == "access.request"


def test_attack_a_disclosure_signed_with_a_key_that_its_asker_no_longer_has(case):
    body, context = released(case)
    anxin = context.members.organisations[ANXIN]
    left = replace(anxin, keys=tuple(key for key in anxin.keys if key.use != "authentication"))
    members = replace(context.members, organisations={**context.members.organisations, ANXIN: left})
    assert code(body, replace(context, members=members)) == "access.request"


@pytest.mark.parametrize(
    ("late_s", "expected"), [(-61, "access.request"), (-60, ""), (180, ""), (181, "access.request")]
)
def test_attack_a_disclosure_dated_back_or_put_off(case, late_s, expected):
    consent = case.kept_consent()
    grant = case.kept_grant(consent)
    signed = request(grant, time=TIME - 200)
    row = access_row(request_hash=signed.request.hash, time=TIME - 200 + late_s)
    assert code(*released(case, row, consent=consent, grant=grant, signed=signed)) == expected


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


def test_attack_releases_behind_the_stop_of_their_consent_in_an_entry_that_ends_the_chain(case):
    """What ends something stands on nothing: the ledger's order would not decide between it and the stop."""
    assert code(*released(case, status="ended", refs=())) == "access.refs"
    assert "ended" not in KINDS["access"].statuses


def test_who_is_no_party_does_not_make_accesses(case):
    assert code(*released(case, own=TAIPING, role="creator")) == "access.role"


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
    recipient=RENHE,
    patient="7f3a",
    staff="doctor-17",
    reason="unconscious",
    request_hash=b"\x01" * 32,
    count=0,
    commitments_root=b"\x02" * 32,
    wraps_hash=b"\x03" * 32,
    time=TIME,
)
REVIEWED = replace(EMERGENCY, review=Review("officer-2", "justified", TIME + 5))


def emergency(case, content, **changes: object):
    body = build_body("emergency", content.to_content(), None, fresh)
    return body, case.context("emergency", body, **({"endorser": None, "own": TONGJI, "role": "holder"} | changes))


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


OBJECTED = replace(EMERGENCY, objection=Objection("the patient", "I was awake", TIME + 9))


def test_an_objection_is_added_once_and_stays(case):
    assert read_emergency(OBJECTED.to_content()) == OBJECTED
    before = case.keep("emergency", EMERGENCY.to_content())
    assert code(*emergency(case, OBJECTED, before=before)) == ""
    after = case.keep("emergency", OBJECTED.to_content())
    again = replace(OBJECTED, objection=Objection("the patient", "something else", TIME + 10))
    assert code(*emergency(case, again, before=after)) == "emergency.objection"
    assert code(*emergency(case, replace(OBJECTED, review=REVIEWED.review), status="ended", before=after)) == ""
    assert code(*emergency(case, REVIEWED, status="ended", before=after)) == "emergency.changed"


def test_attack_an_objection_slipped_in_at_the_start_with_the_review_or_with_another_story(case):
    assert code(*emergency(case, OBJECTED)) == "emergency.objection"
    before = case.keep("emergency", EMERGENCY.to_content())
    assert code(*emergency(case, EMERGENCY, before=before)) == "emergency.objection"
    both = replace(OBJECTED, review=REVIEWED.review)
    assert code(*emergency(case, both, status="ended", before=before)) == "emergency.changed"
    story = replace(OBJECTED, reason="another")
    assert code(*emergency(case, story, before=before)) == "emergency.changed"


def test_a_review_is_due_in_a_week_and_three_days_after_an_objection():
    assert EMERGENCY.due == TIME + 7 * 86400
    assert OBJECTED.due == TIME + 9 + 3 * 86400
    late = replace(OBJECTED, objection=replace(OBJECTED.objection, time=TIME + 6 * 86400))
    assert late.due == EMERGENCY.due


@pytest.mark.parametrize(
    ("member", "value"),
    [("reason", ""), ("review", {}), ("review", 5), ("objection", {}), ("objection", 5), ("more", 1)],
)
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


def stated(case, grant, **changes: object):
    """The insurer's statement on a grant; changes of the content by name, of the context otherwise."""
    values = {name: changes.pop(name) for name in ("organisation", "custodian", "time") if name in changes}
    made = replace(Statement(ANXIN, RENHE, grant.key, "deleted from the claims system", TIME), **values)
    body = build_body("erasure", made.to_content(), None, fresh)
    terms = {"status": "stated", "creator": ANXIN, "own": ANXIN, "role": "creator", "endorser": None}
    terms["object_id"] = statement_id(grant.key, ANXIN)
    return body, case.context("erasure", body, **(terms | changes))


@pytest.fixture
def over(case):
    """A grant that was stopped."""
    return case.kept_grant(case.kept_consent(), status="stopped")


def test_a_recipient_states_that_it_erased_what_it_was_given(case, over):
    assert code(*stated(case, over)) == ""
    content = Statement(ANXIN, RENHE, over.key, "x", TIME).to_content()
    assert read_statement(content).to_content() == content


def test_a_consent_that_is_over_ends_its_grants_too(case):
    assert code(*stated(case, case.kept_grant(case.kept_consent(status="stopped")))) == ""


def test_nothing_is_stated_of_a_grant_that_is_in_force(case):
    consent = case.kept_consent()
    grant = case.kept_grant(consent)
    assert code(*stated(case, grant)) == "erasure.in_force"
    del case.bodies[consent.key]
    assert code(*stated(case, grant)) == "erasure.in_force"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"organisation": TAIPING}, "erasure.owner"),
        ({"object_id": fresh(16)}, "erasure.id"),
        ({"time": TIME + 61}, "erasure.time"),
        ({"custodian": TONGJI}, "erasure.grant"),
    ],
)
def test_attack_a_statement_in_anothers_name_elsewhere_or_of_another_grant(case, over, changes, expected):
    assert code(*stated(case, over, **changes)) == expected


def test_attack_a_statement_on_a_grant_to_somebody_else(case, over):
    taiping = {"organisation": TAIPING, "creator": TAIPING, "own": TAIPING}
    assert code(*stated(case, over, **taiping, object_id=statement_id(over.key, TAIPING))) == "erasure.grant"


def test_a_statement_on_what_is_no_grant_or_is_not_here_is_refused(case):
    assert code(*stated(case, case.subject)) == "erasure.grant"
    unknown = case.kept_grant(case.kept_consent(), status="stopped")
    del case.bodies[unknown.key]
    assert code(*stated(case, unknown)) == "erasure.grant"


def test_an_erasure_of_keys_is_no_statement_nor_the_reverse(case, over):
    assert code(*erasure(case, ERASURE, status="stated")).startswith("body.malformed")
    body, context = stated(case, over, status="active")
    assert code(body, context).startswith("body.malformed")


def test_a_statement_stands_where_grant_and_organisation_say():
    assert statement_key(b"\x01" * 32, ANXIN) == map_key("erasure", ANXIN, statement_id(b"\x01" * 32, ANXIN))
    assert statement_id(b"\x01" * 32, ANXIN) != statement_id(b"\x01" * 32, TAIPING)


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
        "claim": 11,
        "attest": 12,
        "state": 13,
        "recovery": 14,
        "delegation": 15,
        "mandate": 16,
    }
    assert all(name == kind.name for name, kind in KINDS.items())
