"""The check of a delegation: who makes it, who ends it, and what a delegate's signature is worth after that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.ledger.kinds import signing
from medchain.ledger.kinds.capacity import Standing
from medchain.ledger.kinds.consent import check_withdrawal
from medchain.ledger.kinds.delegation import check_ending, delegation_id, read
from medchain.ledger.kinds.subject import Contact, check_joining
from medchain.ledger.object import build_body, stop_hash
from tests.unit.medchain.ledger.kinds.case import (
    ABLE,
    ORIGIN,
    STAFF,
    SUBJECT,
    THIEF,
    ConsentCase,
    Person,
    able,
    changed,
    code,
    delegate,
    delegation_of,
    malformed,
    named,
)
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, DAY, RENHE, TIME, TONGJI, fresh

DEAD = Standing("dead", "death-certificate", TIME - 10)
INCAPABLE = Standing("incapable", "court-order", TIME - 10)
MAIL = Contact("email", "li@mail.example")


@pytest.fixture
def case():
    return ConsentCase()


@pytest.fixture
def patient(case):
    return Person(case, "phone")


@pytest.fixture
def helper(case):
    return Person(case, "helper")


def made(case, delegation, evidence=None, **changes: object):
    body = build_body("delegation", delegation.to_content(), evidence, fresh)
    terms = {"expires": delegation.last_day, "stop_hash": stop_hash(delegation.stop)}
    return body, case.context("delegation", body, **terms | changes)


def helped(case, helper, role: str = "helper", status: str = "active", **capacity: object):
    """Enrol somebody for whom a helper acts, under a delegation of its own; returns both."""
    patient = Person(case, "phone")
    row = named(case, patient, helper, role, status=status)
    subject = replace(SUBJECT, passkeys=patient.subject.passkeys, capacity=able(delegates=(row,), **capacity))
    body = build_body("subject", subject.to_content(), None, fresh)
    patient.subject, patient.record = subject, replace(patient.record, body_hash=body.body_hash)
    case.bodies[patient.key] = (patient.record, body)
    case.world.records[patient.key] = patient.record
    return patient, case.bodies[row.delegation][0]


def stopped(case, record):
    """End a delegation, as a stop does."""
    case.world.records[record.key] = replace(record, status="stopped", version=2, previous=record.digest)


# Making one


def test_a_content_comes_back_as_it_went(patient, helper):
    delegation = delegation_of(patient, helper)
    assert read(delegation.to_content()) == delegation


def test_the_id_follows_from_what_only_who_has_the_body_knows():
    assert delegation_id(bytes(16)) != delegation_id(b"\x01" * 16)
    assert len(delegation_id(bytes(16))) == 16


@pytest.mark.parametrize(("own", "role"), [(RENHE, "creator"), (COMMISSION, "independent"), (TONGJI, "holder")])
def test_the_enroller_makes_a_delegation_and_another_endorses_it(case, patient, helper, own, role):
    assert code(*made(case, delegation_of(patient, helper), own=own, role=role)) == ""


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"role": "proxy"}, ""),
        ({"role": "guardian"}, "body.malformed delegation.who"),
        ({"role": "friend"}, "body.malformed delegation.who"),
        ({"last_day": DAY - 1}, "delegation.last_day"),
        ({"last_day": DAY}, ""),
        ({"custodians": (RENHE,)}, "delegation.subject"),
        ({"custodians": ("nobody", RENHE)}, "delegation.organisation"),
        ({"enroller": TONGJI}, "delegation.enroller"),
        ({"subject": bytes(32)}, "delegation.subject"),
    ],
)
def test_a_delegation_that_hides_from_a_custodian_or_is_anothers_is_refused(case, patient, helper, change, found):
    assert code(*made(case, delegation_of(patient, helper, **change))) == found


def test_nobody_acts_for_itself(case, patient):
    assert code(*made(case, delegation_of(patient, patient))) == "body.malformed delegation.who"


def test_what_the_ledger_shows_is_what_the_content_says(case, patient, helper):
    delegation = delegation_of(patient, helper)
    assert code(*made(case, delegation, expires=None)) == "delegation.last_day"
    assert code(*made(case, delegation, expires=DAY + 99)) == "delegation.last_day"
    assert code(*made(case, delegation, stop_hash=fresh(32))) == "delegation.stop"


def test_a_signature_that_nobody_has_checked_is_not_found_there_later(case, patient, helper):
    assert code(*made(case, delegation_of(patient, helper), {"assertion": {}})) == "delegation.evidence"
    assert code(*made(case, delegation_of(patient, helper), STAFF)) == "delegation.evidence"


def test_an_endorser_sees_the_whole_and_is_no_party(case, patient, helper):
    body, context = made(case, delegation_of(patient, helper))
    assert code(body.redact(body.content, keep_evidence=True), context) == "delegation.not_full"
    assert code(*made(case, delegation_of(patient, helper), own=TONGJI, endorser=TONGJI)) == "delegation.party"


def test_a_custodian_that_was_shown_less_of_the_subject_then_accuses_nobody(case, patient, helper):
    record, whole = case.bodies[patient.key]
    case.bodies[patient.key] = (record, whole.redact(["passkeys", "delegates", "disputed", "of_age", "standing"]))
    delegation = delegation_of(patient, helper)
    assert code(*made(case, delegation, own=TONGJI, role="holder")) == ""
    assert code(*made(case, delegation)) == "delegation.subject"


def test_ending_one_needs_nobody(case, patient, helper):
    row = named(case, patient, helper)
    record, body = case.bodies[row.delegation]
    assert code(body, case.context("delegation", body, status="ended", before=record)) == ""


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("custodians", [], "content.names"),
        ("delegate", "", "encoding.hex"),
        ("last_day", -1, "content.number"),
        ("role", ["helper"], "content.text"),
        ("stop", None, "encoding.hex"),
        ("subject", 5, "encoding.hex"),
        ("more", 1, "content.fields"),
    ],
)
def test_a_content_of_another_form_is_malformed(case, patient, helper, member, value, reason):
    content = delegation_of(patient, helper).to_content() | {member: value}
    assert malformed(content, "delegation", case) == f"body.malformed {reason}"


# Naming somebody under one


def test_a_row_needs_its_own_delegation(case, patient, helper):
    other = Person(case, "other")
    right = named(case, patient, helper)
    assert code(*changed(case, patient, "name-delegate", delegates=(right,))) == ""
    for row in (
        delegate(helper.key, delegation=fresh(32)),
        delegate(helper.key, delegation=patient.key),
        named(case, other, helper),
        replace(named(case, patient, other), subject=helper.key),
        replace(right, role="proxy"),
        replace(right, until=DAY + 99),
        named(case, patient, helper, status="stopped"),
    ):
        assert code(*changed(case, patient, "name-delegate", delegates=(row,))) == "subject.delegation"


def test_attack_another_organisations_object_is_no_delegation_of_the_enrollers(case, patient, helper):
    row = named(case, patient, helper)
    record, body = case.bodies.pop(row.delegation)
    foreign = replace(record, creator=TONGJI)
    case.world.records[foreign.key], case.bodies[foreign.key] = foreign, (foreign, body)
    row = replace(row, delegation=foreign.key)
    assert code(*changed(case, patient, "name-delegate", delegates=(row,))) == "subject.delegation"


def test_who_is_none_any_more_makes_room_and_nobody_else_goes(case, helper):
    patient, record = helped(case, helper)
    (old,) = patient.subject.capacity.delegates
    new = named(case, patient, helper)
    assert code(*changed(case, patient, "name-delegate", delegates=(new,))) == "subject.changed"
    stopped(case, record)
    assert code(*changed(case, patient, "name-delegate", delegates=(new,))) == ""
    assert code(*changed(case, patient, "name-delegate", delegates=(old,))) == "subject.changed"
    assert code(*changed(case, patient, "name-delegate", delegates=())) == "subject.changed"


def test_attack_a_delegation_that_has_ended_is_not_named_again(case, helper):
    patient, record = helped(case, helper)
    stopped(case, record)
    (old,) = patient.subject.capacity.delegates
    again = replace(old, until=DAY + 50)
    assert code(*changed(case, patient, "name-delegate", delegates=(again,))) == "subject.delegation"


# What a delegate's signature is worth


def consent_of(case, patient, helper, **changes: object):
    consent = case.consent(subject=helper.key, acting_for=patient.key)
    return case.signed(consent, pen=helper.pen, **changes)


@pytest.mark.parametrize(
    ("own", "role"), [(RENHE, "creator"), (COMMISSION, "independent"), (RENHE, "holder"), (ANXIN, "holder")]
)
def test_attack_a_delegate_permits_after_its_end_and_custodian_endorser_and_recipient_refuse(case, helper, own, role):
    patient, record = helped(case, helper)
    assert code(*consent_of(case, patient, helper, own=own, role=role)) == ""
    stopped(case, record)
    assert code(*consent_of(case, patient, helper, own=own, role=role)) == "consent.delegate"


def test_attack_a_delegate_withdraws_joins_and_changes_after_its_end(case, helper):
    patient, record = helped(case, helper)
    given = case.kept_consent(case.consent(subject=patient.key))

    def done():
        withdrawn = signed_alone(case, patient, helper, given, "consent/withdraw")
        change = changed(case, patient, "change-contacts", [helper], contacts=(MAIL,))
        more = {"organisation": RENHE, "patient": "token"}
        joined = signed_alone(case, patient, helper, patient.record, "subject/join", **more)
        joined = (joined[0], replace(joined[1], own=RENHE))
        return code(*withdrawn, check_withdrawal), code(*change), code(*joined, check_joining)

    assert done() == ("", "", "")
    stopped(case, record)
    assert done() == ("consent.delegate", "subject.delegate", "subject.delegate")


def test_a_stop_that_is_ordered_after_the_version_that_heeds_it_takes_the_subject_from_no_holder(case, helper):
    patient, _ = helped(case, helper)
    new = named(case, patient, helper)
    assert code(*changed(case, patient, "name-delegate", delegates=(new,))) == "subject.changed"
    assert code(*changed(case, patient, "name-delegate", delegates=(new,), role="holder")) == ""


def test_a_row_without_a_delegation_on_the_ledger_gives_nobody_anything(case, helper):
    patient, record = helped(case, helper)
    del case.world.records[record.key]
    assert code(*consent_of(case, patient, helper)) == "consent.delegate"


def test_an_object_of_another_kind_is_no_delegation(case, helper):
    patient, record = helped(case, helper)
    case.world.records[record.key] = replace(record, kind="consent")
    assert code(*consent_of(case, patient, helper)) == "consent.delegate"


def test_a_delegation_ends_with_its_last_day(case, helper):
    patient, record = helped(case, helper)
    case.world.records[record.key] = replace(record, expires=DAY - 1)
    assert code(*consent_of(case, patient, helper)) == "consent.delegate"


# Ending one


def signed_alone(case, patient, signer, record, operation: str, /, **changes: object):
    """Sign a body that makes no version."""
    nonce = b"\x07" * 16
    kind, _, verb = operation.partition("/")
    content = {"nonce": nonce.hex(), "object": record.key.hex(), "operation": verb, "subject": signer.key.hex()}
    acting_for = None if signer is patient else patient.key
    what = signing.Signed(operation, signer.key, acting_for, nonce)
    return case.sign_body(build_body(kind, content | changes, None, fresh), what, signer.pen, ORIGIN, before=record)


def ended(case, patient, signer, record, /, **changes: object) -> str:
    return code(*signed_alone(case, patient, signer, record, "delegation/end", **changes), check_ending)


@pytest.mark.parametrize("role", ["helper", "proxy"])
def test_the_person_ends_it_and_who_acts_gives_it_up(case, helper, role):
    patient, record = helped(case, helper, role)
    assert ended(case, patient, patient, record) == ""
    assert ended(case, patient, helper, record) == ""


def test_who_may_only_read_may_give_it_up(case, helper):
    patient, record = helped(case, helper)
    (row,) = patient.subject.capacity.delegates
    subject = replace(patient.subject, capacity=replace(ABLE, delegates=(replace(row, may=("read",)),)))
    case.bodies[patient.key] = (patient.record, build_body("subject", subject.to_content(), None, fresh))
    assert ended(case, patient, helper, record) == ""


def test_attack_another_delegate_or_a_stranger_ends_it(case, helper):
    patient, record = helped(case, helper)
    other = Person(case, "other")
    rows = (*patient.subject.capacity.delegates, delegate(other.key, "proxy"))
    subject = replace(patient.subject, capacity=able(delegates=rows))
    case.bodies[patient.key] = (patient.record, build_body("subject", subject.to_content(), None, fresh))
    assert ended(case, patient, other, record) == "delegation.ending"
    for person in (patient, helper):
        person.pen = THIEF
        assert ended(case, patient, person, record) == "signing.credential"


@pytest.mark.parametrize("change", [{"object": "00" * 32}, {"operation": "withdraw"}])
def test_an_end_of_something_else_is_none(case, helper, change):
    patient, record = helped(case, helper)
    assert ended(case, patient, patient, record, **change) == "delegation.ending"
    body, context = signed_alone(case, patient, patient, record, "delegation/end")
    assert code(body, replace(context, previous=None), check_ending) == "delegation.ending"


def test_attack_a_signature_for_another_end_is_replayed(case, helper):
    patient, record = helped(case, helper)
    other = case.bodies[named(case, patient, helper).delegation][0]
    body, _ = signed_alone(case, patient, patient, other, "delegation/end", object=record.key.hex())
    context = case.context("delegation", body, before=record)
    assert code(body, context, check_ending) == "assertion.challenge"


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"standing": DEAD}, "delegation.dead"),
        ({"standing": INCAPABLE}, "delegation.incapable"),
        ({"of_age": DAY + 1}, "delegation.minor"),
    ],
)
def test_who_cannot_decide_takes_no_proxy_away(case, helper, state, found):
    patient, record = helped(case, helper, "proxy", **state)
    assert ended(case, patient, patient, record) == found
    assert ended(case, patient, helper, record) == ""


def test_a_delegate_who_cannot_decide_for_itself_gives_nothing_up(case, helper):
    patient, record = helped(case, helper)
    weak = replace(helper.subject, capacity=able(standing=INCAPABLE))
    case.bodies[helper.key] = (helper.record, build_body("subject", weak.to_content(), None, fresh))
    assert ended(case, patient, helper, record) == "delegation.delegate"
