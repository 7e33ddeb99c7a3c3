"""The check of a grant: never more than its consent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.ledger.kinds.content import Period
from medchain.ledger.object import build_body, stop_hash
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.kinds.case import END, ConsentCase, code, malformed
from tests.unit.medchain.ledger.world import DAY, RENHE, TAIPING, TIME, TONGJI, fresh


@pytest.fixture
def case():
    return ConsentCase()


def granted(case, consent=None, grant=None, **changes: object):
    kept = consent or case.kept_consent()
    made = grant or case.grant(kept)
    body = build_body("grant", made.to_content(), None, fresh)
    terms = {
        "expires": made.period.last_day,
        "stop_hash": stop_hash(made.stop),
        "refs": (Ref(kept.key, kept.version),),
    } | changes
    return body, case.context("grant", body, **terms)


def test_a_grant_within_its_consent_is_endorsed(case):
    assert code(*granted(case)) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": TAIPING},
        {"purpose": "HMARKT"},
        {"resource_types": ("Observation", "Procedure")},
        {"resource_types": ("*",)},
        {"period": Period(TIME - 1001, END)},
        {"period": Period(TIME, END + 1)},
        {"period": Period(TIME, None)},
    ],
)
def test_a_grant_beyond_its_consent_is_refused(case, changes):
    kept = case.kept_consent()
    grant = case.grant(kept, **changes)
    assert code(*granted(case, kept, grant)) == "grant.beyond_consent"


def test_a_custodian_that_the_consent_does_not_name_is_refused(case):
    kept = case.kept_consent()
    grant = case.grant(kept, custodian=TONGJI)
    assert code(*granted(case, kept, grant, creator=TONGJI)) == "grant.beyond_consent"


def test_a_consent_to_all_types_covers_each(case):
    kept = case.kept_consent(case.consent(resource_types=("*",)))
    assert code(*granted(case, kept)) == ""


def test_nobody_grants_in_anothers_name(case):
    assert code(*granted(case, creator=TONGJI)) == "grant.custodian"


def test_a_grant_stands_on_the_consent_that_it_names(case):
    kept, other = case.kept_consent(), case.kept_consent()
    assert code(*granted(case, kept, refs=(Ref(other.key, 1),))) == "grant.consent"
    assert code(*granted(case, kept, refs=(Ref(kept.key, 2),))) == "grant.consent"


def test_a_consent_that_is_not_in_force_grants_nothing(case):
    assert code(*granted(case, case.kept_consent(status="stopped"))) == "grant.consent"
    assert code(*granted(case, case.kept_consent(expires=DAY - 1))) == "grant.consent"


def test_a_consent_whose_body_is_missing_grants_nothing(case):
    kept = case.kept_consent()
    del case.bodies[kept.key]
    assert code(*granted(case, kept)) == "grant.consent"


def test_something_else_than_a_consent_grants_nothing(case):
    assert code(*granted(case, case.subject)) == "grant.consent"


def test_what_the_ledger_shows_is_what_the_grant_says(case):
    assert code(*granted(case, expires=None)) == "grant.expires"
    assert code(*granted(case, stop_hash=fresh(32))) == "grant.stop"


def test_all_types_stand_alone(case):
    kept = case.kept_consent(case.consent(resource_types=("*",)))
    assert code(*granted(case, kept, case.grant(kept, resource_types=("*", "Condition")))) == "grant.resource_types"


def test_an_endorser_sees_the_whole_grant(case):
    body, context = granted(case)
    assert code(body.redact(body.content, keep_evidence=True), context) == "grant.not_full"


def test_a_party_that_is_no_member_is_refused(case):
    kept = case.kept_consent()
    assert code(*granted(case, kept, case.grant(kept, recipient="nobody"))) == "grant.organisation"


def test_ending_a_grant_needs_no_consent(case):
    assert code(*granted(case, case.kept_consent(status="stopped"), status="ended", refs=())) == ""


def test_the_custodian_itself_checks_as_creator(case):
    assert code(*granted(case, own=RENHE, role="creator")) == ""


def test_a_content_of_another_form_is_malformed(case):
    content = case.grant(case.kept_consent()).to_content()
    assert malformed(content | {"more": 1}, "grant", case) == "body.malformed content.fields"
    assert malformed(content | {"consent": ""}, "grant", case) == "body.malformed encoding.hex"


def test_a_consent_of_another_form_grants_nothing(case):
    kept = case.kept_consent()
    record, body = case.bodies[kept.key]
    case.bodies[kept.key] = (record, body.redact(["recipient"]))
    assert code(*granted(case, kept)) == "body.malformed content.fields"
    assert replace(record, version=1) == record
