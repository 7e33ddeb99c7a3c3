"""The check of a mandate: a regulator and a drawn organisation together, nothing left open (docs/spec/mandate.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.ledger.kinds.content import Period
from medchain.ledger.kinds.mandate import MAX_DAYS, Basis, Mandate, read
from medchain.ledger.kinds.permission import read as read_permission
from medchain.ledger.kinds.permission import read_any
from medchain.ledger.object import build_body, stop_hash
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.kinds.case import (
    ConsentCase,
    access_row,
    accesses,
    asked_for,
    code,
    malformed,
)
from tests.unit.medchain.ledger.kinds.test_access import access_id
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, DAY, RENHE, TAIPING, TIME, TONGJI, fresh, seed

END = TIME + 30 * 86400
MANDATE = Mandate(
    basis=Basis("court", "District Court", "2026/123", "hospital stay of March 2026"),
    custodian=RENHE,
    patient="p17",
    recipient=ANXIN,
    purpose="HLEGAL",
    resource_types=("Condition", "Observation"),
    period=Period(TIME - 1000, END),
    data_period=Period(TIME - 10**8, TIME),
    stop=seed("mandate stop"),
)


@pytest.fixture
def case():
    return ConsentCase()


def issued(case, mandate: Mandate = MANDATE, **changes: object):
    """Have the regulator enter a mandate that Tongji endorses."""
    body = build_body("mandate", mandate.to_content(), None, fresh)
    terms = {"expires": mandate.period.last_day, "stop_hash": stop_hash(mandate.stop)}
    who = {"creator": COMMISSION, "endorser": TONGJI, "own": TONGJI}
    return body, case.context("mandate", body, **(terms | who | changes))


def test_what_a_regulator_enters_is_endorsed_and_taken_by_its_parties(case):
    assert code(*issued(case)) == ""
    assert code(*issued(case, own=RENHE, role="holder")) == ""
    assert code(*issued(case, replace(MANDATE, data_period=None))) == ""
    assert read(MANDATE.to_content()) == MANDATE


@pytest.mark.parametrize("creator", [TONGJI, TAIPING])
def test_nobody_but_a_regulator_enters_one_whoever_endorses_it(case, creator):
    assert code(*issued(case, creator=creator, endorser=COMMISSION, own=COMMISSION)) == "mandate.issuer"


def test_a_hospital_invents_none_about_its_own_patients(case):
    assert code(*issued(case, creator=RENHE, endorser=COMMISSION, own=COMMISSION)) == "mandate.custodian"


def test_a_regulator_alone_invents_none_whatever_the_policy_says(case):
    assert code(*issued(case, endorser=None, own=COMMISSION, role="creator")) == "mandate.alone"
    assert code(*issued(case, endorser=None, own=RENHE, role="holder")) == "mandate.alone"


@pytest.mark.parametrize("party", [RENHE, ANXIN])
def test_no_party_endorses_it(case, party):
    assert code(*issued(case, endorser=party, own=party)) == "mandate.party"


def test_a_regulator_that_holds_the_records_or_asks_its_own_custodian_is_refused(case):
    assert code(*issued(case, replace(MANDATE, custodian=COMMISSION))) == "mandate.custodian"
    assert code(*issued(case, replace(MANDATE, recipient=RENHE))) == "mandate.custodian"


def test_the_regulator_itself_may_be_the_recipient(case):
    assert code(*issued(case, replace(MANDATE, recipient=COMMISSION))) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"purpose": "HPAYMT"}, "mandate.purpose"),
        ({"purpose": "PUBHLTH"}, "mandate.purpose"),
        ({"resource_types": ("*",)}, "mandate.resource_types"),
        ({"period": Period(TIME, None)}, "mandate.period"),
        ({"period": Period(TIME, TIME + MAX_DAYS * 86400 + 1)}, "mandate.period"),
        ({"basis": replace(MANDATE.basis, kind="research")}, "mandate.basis"),
        ({"basis": replace(MANDATE.basis, reference="")}, "content.text"),
        ({"recipient": ""}, "content.text"),
    ],
)
def test_what_the_law_leaves_open_or_does_not_know_is_malformed(case, changes, reason):
    body, context = issued(case, replace(MANDATE, **changes))
    assert code(body, context) == f"body.malformed {reason}"


def test_a_content_of_another_form_is_malformed(case):
    content = MANDATE.to_content()
    who = {"creator": COMMISSION, "endorser": TONGJI, "own": TONGJI}
    assert malformed({**content, "extra": 1}, "mandate", case, **who) == "body.malformed content.fields"
    assert malformed({**content, "basis": {}}, "mandate", case, **who).startswith("body.malformed encoding.members")


def test_end_and_stop_are_those_of_the_body(case):
    assert code(*issued(case, expires=DAY)) == "mandate.expires"
    assert code(*issued(case, stop_hash=fresh(32))) == "mandate.stop"
    over = replace(MANDATE, period=Period(TIME - 2000, TIME - 1))
    assert code(*issued(case, over)) == "mandate.expired"


def test_an_endorser_has_the_whole_body(case):
    body, context = issued(case)
    assert code(body.redact(set(MANDATE.to_content()) - {"patient"}), context) == "mandate.not_full"


# What stands on it


def kept(case, mandate: Mandate = MANDATE, **record: object):
    return case.keep("mandate", mandate.to_content(), None, stop_hash=stop_hash(mandate.stop), **record)


def granted(case, stands_on, **changes: object):
    """Let Renhe grant under a mandate."""
    terms = {"purpose": "HLEGAL", "period": Period(TIME - 500, END)}
    grant = replace(case.grant(stands_on), **(terms | changes))
    body = build_body("grant", grant.to_content(), None, fresh)
    told = {"expires": grant.period.last_day, "stop_hash": stop_hash(grant.stop)}
    return body, case.context("grant", body, refs=(Ref(stands_on.key, 1),), **told)


def test_a_custodian_grants_within_a_mandate(case):
    assert code(*granted(case, kept(case))) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "HPAYMT"},
        {"recipient": TAIPING},
        {"resource_types": ("Observation", "Procedure")},
        {"resource_types": ("*",)},
        {"period": Period(TIME - 1001, END)},
        {"period": Period(TIME, END + 1)},
    ],
)
def test_no_grant_goes_beyond_its_mandate(case, changes):
    assert code(*granted(case, kept(case), **changes)) == "grant.beyond_consent"


def test_a_mandate_about_another_custodian_grants_nothing(case):
    assert code(*granted(case, kept(case, replace(MANDATE, custodian=TONGJI)))) == "grant.beyond_consent"


@pytest.mark.parametrize("record", [{"status": "stopped"}, {"expires": DAY - 1}])
def test_a_mandate_that_was_stopped_or_is_over_grants_nothing(case, record):
    assert code(*granted(case, kept(case, **record))) == "grant.consent"


def test_accesses_stand_on_grant_and_mandate(case):
    mandate = kept(case)
    grant = replace(case.grant(mandate), purpose="HLEGAL")
    own = case.keep("grant", grant.to_content(), None, refs=(Ref(mandate.key, 1),))
    made, evidence = asked_for(own, access_row(purpose="HLEGAL"))
    body = build_body("access", accesses(own, mandate, *made).to_content(), evidence, fresh)
    refs = tuple(sorted(Ref(row.key, row.version) for row in (mandate, own)))
    terms = {"refs": refs, "endorser": None, "own": ANXIN, "role": "holder", "object_id": access_id(own.key, RENHE)}
    assert code(body, case.context("access", body, **terms)) == ""
    assert case.decision.asked[0][0]["basis"]["reference"] == "2026/123"


def test_a_permission_is_read_as_what_it_is(case):
    consent = case.consent()
    assert read_permission("consent", consent.to_content()) == read_any(consent.to_content()) == consent
    assert read_permission("mandate", MANDATE.to_content()) == read_any(MANDATE.to_content()) == MANDATE
    assert MANDATE.custodians == (RENHE,)
    for kind, content in (("grant", MANDATE), ("consent", MANDATE), ("mandate", consent)):
        with pytest.raises(Exception, match=r"content\.fields"):
            read_permission(kind, content.to_content())
