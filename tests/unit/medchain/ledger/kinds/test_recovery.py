"""The check of a recovery, and of the version of a subject that carries it out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.ledger.kinds import signing
from medchain.ledger.kinds.capacity import Standing
from medchain.ledger.kinds.recovery import Recovery, check_cancellation, read
from medchain.ledger.object import build_body, stop_hash
from medchain.ledger.policy import default_policy, parse_policy
from medchain.ledger.transaction import Ref
from tests.unit.medchain.ledger.kinds.case import (
    ORIGIN,
    RP_ID,
    STAFF,
    THIEF,
    ConsentCase,
    Person,
    able,
    changed,
    code,
    delegate,
    malformed,
    passkey_of,
)
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, DAY, RENHE, TIME, TONGJI, fresh, seed

NEW = passkey_of(SoftwareAuthenticator(seed("new phone"), RP_ID))
DAY_S = 86400
INCAPABLE = Standing("incapable", "court-order", TIME - 10)
DEAD = Standing("dead", "death-certificate", TIME - 10)


@pytest.fixture
def case():
    return ConsentCase()


@pytest.fixture
def patient(case):
    return Person(case, "phone")


@pytest.fixture
def mother(case):
    return Person(case, "mother")


def recovery_of(case, person=None, **changes: object) -> Recovery:
    """Announce that a person's passkeys are lost."""
    made = Recovery(
        subject=case.subject.key if person is None else person.key,
        version=1,
        operation="replace",
        passkeys=(NEW,),
        delegates=(),
        standing=None,
        enroller=RENHE,
        custodians=(RENHE, TONGJI),
        organisation=TONGJI,
        method="identity-card",
        verified=TIME - 5,
        wait_days=7,
        last_day=DAY + 20,
        nonce=seed("nonce")[:16],
        stop=seed("stop of a recovery"),
    )
    return replace(made, **changes)


def announced(case, recovery, evidence=STAFF, **changes: object):
    body = build_body("recovery", recovery.to_content(), evidence, fresh)
    terms = {"creator": TONGJI, "expires": recovery.last_day, "stop_hash": stop_hash(recovery.stop)}
    return body, case.context("recovery", body, **terms | changes)


def kept(case, recovery, at: int = TIME, **record: object):
    """Put a recovery into the state, accepted at a time."""
    found = case.keep("recovery", recovery.to_content(), STAFF, stop_hash=stop_hash(recovery.stop), **record)
    case.accepted_at[found.key] = at
    return found


def carried_out(case, person, record, **changes: object):
    """Make the version of a subject that carries a recovery out, a week after TIME."""
    given = {"passkeys": (NEW,), "time": TIME + 7 * DAY_S, "refs": (Ref(record.key, 1),), "recovery": record.key}
    body, context = changed(case, person, "recover", signers=[], **given | changes)
    return body, context


def test_a_content_comes_back_as_it_went(case, mother):
    recovery = recovery_of(case)
    assert read(recovery.to_content()) == recovery
    guards = {"operation": "guardianship", "passkeys": (), "delegates": (delegate(mother.key, "guardian"),)}
    other = replace(recovery, standing=INCAPABLE, **guards)
    assert read(other.to_content()) == other


@pytest.mark.parametrize(("own", "role"), [(TONGJI, "creator"), (COMMISSION, "independent"), (RENHE, "holder")])
def test_another_organisation_announces_a_recovery(case, own, role):
    assert code(*announced(case, recovery_of(case), own=own, role=role)) == ""


def test_an_enroller_does_not_recover_alone(case):
    recovery = recovery_of(case, organisation=RENHE)
    assert code(*announced(case, recovery, creator=RENHE)) == "recovery.second"


def test_a_sister_of_the_enroller_is_no_second_organisation(case):
    members = case.world.members
    sister = replace(members.organisations[TONGJI], control=members.organisations[RENHE].control)
    case.world.members = members.with_organisation(sister)
    assert code(*announced(case, recovery_of(case))) == "recovery.second"


def test_the_endorser_of_a_recovery_is_a_third(case):
    assert code(*announced(case, recovery_of(case), own=RENHE, endorser=RENHE)) == "recovery.party"
    body, context = announced(case, recovery_of(case))
    assert code(body.redact(body.content, keep_evidence=True), context) == "recovery.not_full"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"wait_days": 6}, "recovery.wait"),
        ({"wait_days": 0}, "recovery.wait"),
        ({"wait_days": 8}, ""),
        ({"last_day": DAY + 6}, "recovery.last_day"),
        ({"last_day": DAY + 7}, ""),
        ({"last_day": DAY + 37}, ""),
        ({"last_day": DAY + 38}, "recovery.last_day"),
        ({"verified": TIME + 61}, "recovery.time"),
        ({"organisation": COMMISSION}, "recovery.verified_by"),
        ({"version": 2}, "recovery.subject"),
        ({"version": 0}, "recovery.subject"),
        ({"subject": bytes(32)}, "recovery.subject"),
        ({"custodians": (RENHE,)}, "recovery.subject"),
        ({"enroller": ANXIN}, "recovery.subject"),
        ({"custodians": ("nobody", RENHE)}, "recovery.organisation"),
    ],
)
def test_a_recovery_that_waits_less_or_hides_from_a_custodian_is_refused(case, change, found):
    assert code(*announced(case, recovery_of(case, **change))) == found


def test_what_the_ledger_shows_is_what_the_content_says(case):
    recovery = recovery_of(case)
    assert code(*announced(case, recovery, expires=DAY + 21)) == "recovery.last_day"
    assert code(*announced(case, recovery, expires=None)) == "recovery.last_day"
    assert code(*announced(case, recovery, stop_hash=fresh(32))) == "recovery.stop"


def test_the_policy_says_how_long_a_recovery_waits(case):
    content = default_policy()
    content["terms"]["recovery_days"] = 8
    case.world.members = case.world.members.with_policy(parse_policy(content))
    assert code(*announced(case, recovery_of(case))) == "recovery.wait"
    del content["terms"]
    case.world.members = case.world.members.with_policy(parse_policy(content))
    assert code(*announced(case, recovery_of(case))) == "recovery.wait"


def test_two_of_the_staff_attest_a_recovery(case):
    assert code(*announced(case, recovery_of(case), None)) == "recovery.attested"
    assert code(*announced(case, recovery_of(case), {"attested_by": ["doctor"]})) == "recovery.attested"
    assert code(*announced(case, recovery_of(case), {**STAFF, "assertion": {}})) == "recovery.attested"


def test_a_dead_persons_passkeys_are_not_replaced(case):
    dead = Person(case, "phone", capacity=able(standing=DEAD))
    assert code(*announced(case, recovery_of(case, dead))) == "recovery.dead"


def test_ending_a_recovery_needs_nobody(case):
    recovery = recovery_of(case)
    body = build_body("recovery", recovery.to_content(), None, fresh)
    record = kept(case, recovery)
    assert code(body, case.context("recovery", body, status="ended", before=record, creator=TONGJI)) == ""


# Guardians


def guardianship(case, person, *rows: object, **changes: object) -> Recovery:
    return recovery_of(case, person, operation="guardianship", passkeys=(), delegates=rows, **changes)


def test_a_guardian_of_who_cannot_decide_is_announced(case, patient, mother):
    guard = delegate(mother.key, "guardian")
    assert code(*announced(case, guardianship(case, patient, guard, standing=INCAPABLE))) == ""
    # Who can decide gets none.
    assert code(*announced(case, guardianship(case, patient, guard))) == "recovery.changed"
    child = Person(case, "child", capacity=able(of_age=DAY + 5))
    assert code(*announced(case, guardianship(case, child, guard))) == ""


def test_nobody_becomes_its_own_guardian(case, patient):
    own = guardianship(case, patient, delegate(patient.key, "guardian"), standing=INCAPABLE)
    assert code(*announced(case, own)) == "recovery.changed"


@pytest.mark.parametrize(
    "change",
    [
        {"passkeys": ()},
        {"delegates": (delegate(b"\x01" * 32, "guardian"),)},
        {"standing": INCAPABLE},
        {"operation": "guardianship"},
        {"operation": "guardianship", "passkeys": ()},
        {"operation": "guardianship", "passkeys": (), "delegates": (delegate(b"\x01" * 32),)},
        {
            "operation": "guardianship",
            "passkeys": (),
            "delegates": (delegate(b"\x01" * 32, "guardian"),),
            "standing": DEAD,
        },
        {"operation": "other"},
    ],
)
def test_a_recovery_is_one_change(case, change):
    body = build_body("recovery", recovery_of(case, **change).to_content(), STAFF, fresh)
    assert code(body, case.context("recovery", body, creator=TONGJI)) == "body.malformed recovery.operation"


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("version", -1, "content.number"),
        ("last_day", None, "content.number"),
        ("wait_days", True, "content.number"),
        ("stop", "", "encoding.hex"),
        ("verified_by", {}, "encoding.members"),
        ("custodians", [], "content.names"),
        ("more", 1, "content.fields"),
    ],
)
def test_a_content_of_another_form_is_malformed(case, member, value, reason):
    content = recovery_of(case).to_content() | {member: value}
    assert malformed(content, "recovery", case, creator=TONGJI) == f"body.malformed {reason}"


# Carrying out


def test_after_the_wait_the_enroller_carries_it_out(case, patient):
    record = kept(case, recovery_of(case, patient))
    assert code(*carried_out(case, patient, record)) == ""


@pytest.mark.parametrize(("seconds", "found"), [(7 * DAY_S - 1, "subject.waiting"), (7 * DAY_S, "")])
def test_a_hospital_cannot_shorten_the_waiting_time(case, patient, seconds, found):
    record = kept(case, recovery_of(case, patient))
    assert code(*carried_out(case, patient, record, time=TIME + seconds)) == found


def test_a_recovery_that_is_said_to_be_old_waits_from_its_block(case, patient):
    backdated = recovery_of(case, patient, verified=TIME - 30 * DAY_S)
    record = kept(case, backdated, at=TIME + 5 * DAY_S)
    assert code(*carried_out(case, patient, record)) == "subject.waiting"


def test_a_later_policy_does_not_shorten_a_wait_that_was_announced(case, patient):
    record = kept(case, recovery_of(case, patient, wait_days=10))
    content = default_policy()
    content["terms"]["recovery_days"] = 1
    case.world.members = case.world.members.with_policy(parse_policy(content))
    assert code(*carried_out(case, patient, record)) == "subject.waiting"


def test_a_hospital_puts_in_no_other_passkey_than_was_announced(case, patient):
    record = kept(case, recovery_of(case, patient))
    assert code(*carried_out(case, patient, record, passkeys=(passkey_of(THIEF),))) == "subject.recovery"
    assert code(*carried_out(case, patient, record, passkeys=(NEW, passkey_of(THIEF)))) == "subject.recovery"
    rows = (delegate(b"\x01" * 32, "guardian"),)
    assert code(*carried_out(case, patient, record, delegates=rows)) == "subject.recovery"


def test_a_recovery_of_somebody_else_is_none(case, patient, mother):
    record = kept(case, recovery_of(case, mother))
    assert code(*carried_out(case, patient, record)) == "subject.recovery"


def test_a_recovery_is_carried_out_once(case, patient):
    record = kept(case, recovery_of(case, patient))
    later = replace(patient.record, version=2, previous=patient.record.digest)
    case.bodies[later.key] = (later, case.bodies[later.key][1])
    patient.record = later
    assert code(*carried_out(case, patient, record)) == "subject.recovery"


@pytest.mark.parametrize("change", [{"status": "stopped"}, {"status": "ended"}, {"kind": "grant"}])
def test_a_recovery_that_was_cancelled_is_not_carried_out(case, patient, change):
    record = kept(case, recovery_of(case, patient))
    case.bodies[record.key] = (replace(record, **change), case.bodies[record.key][1])
    assert code(*carried_out(case, patient, record)) == "subject.recovery"


def test_without_the_ref_a_cancellation_could_come_too_late(case, patient):
    record = kept(case, recovery_of(case, patient))
    assert code(*carried_out(case, patient, record, refs=())) == "subject.recovery"


def test_a_recovery_whose_body_is_missing_is_not_carried_out(case, patient):
    record = kept(case, recovery_of(case, patient))
    del case.bodies[record.key]
    assert code(*carried_out(case, patient, record)) == "subject.recovery"


def test_a_version_that_names_no_recovery_carries_none_out(case, patient):
    record = kept(case, recovery_of(case, patient))
    assert code(*carried_out(case, patient, record, recovery=None)) == "subject.recovery"


def test_guardians_take_the_place_of_those_before_and_proxies_stay(case, mother):
    proxy, old = delegate(b"\x01" * 32, "proxy"), delegate(b"\x02" * 32, "guardian")
    weak = Person(case, "phone", capacity=able(delegates=(old, proxy), disputed=True))
    guard = delegate(mother.key, "guardian")
    record = kept(case, guardianship(case, weak, guard, standing=INCAPABLE))
    after = able(delegates=(proxy, guard), standing=INCAPABLE)
    given = {"passkeys": weak.subject.passkeys}
    assert code(*carried_out(case, weak, record, capacity=after, **given)) == ""
    wrong = replace(after, delegates=(guard,))
    assert code(*carried_out(case, weak, record, capacity=wrong, **given)) == "subject.recovery"


@pytest.mark.parametrize("role", ["helper", "proxy"])
def test_who_has_helped_becomes_guardian(case, mother, role):
    weak = Person(case, "phone", capacity=able(delegates=(delegate(mother.key, role),)))
    guard = delegate(mother.key, "guardian")
    record = kept(case, guardianship(case, weak, guard, standing=INCAPABLE))
    after = able(delegates=(guard,), standing=INCAPABLE)
    given = {"passkeys": weak.subject.passkeys}
    assert code(*carried_out(case, weak, record, capacity=after, **given)) == ""


# Cancelling


def cancellation(case, person, record, signer=None, **changes: object):
    signer = signer or person
    nonce = b"\x07" * 16
    content = {
        "nonce": nonce.hex(),
        "object": record.key.hex(),
        "operation": "cancel",
        "subject": signer.key.hex(),
    } | changes
    acting_for = None if signer is person else person.key
    what = signing.Signed("recovery/cancel", signer.key, acting_for, nonce)
    body = build_body("recovery", content, None, fresh)
    return case.sign_body(body, what, signer.pen, ORIGIN, before=record, creator=TONGJI)


def test_an_existing_passkey_cancels_a_recovery(case, patient):
    record = kept(case, recovery_of(case, patient))
    assert code(*cancellation(case, patient, record), check_cancellation) == ""


def test_a_strangers_passkey_cancels_nothing(case, patient):
    record = kept(case, recovery_of(case, patient))
    thief = Person(case, "stranger")
    assert code(*cancellation(case, patient, record, thief), check_cancellation) == "recovery.delegate"
    patient.pen = THIEF
    assert code(*cancellation(case, patient, record), check_cancellation) == "signing.credential"


def test_a_proxy_cancels_a_recovery(case, mother):
    helped = Person(case, "phone", capacity=able(delegates=(delegate(mother.key, "proxy"),)))
    record = kept(case, recovery_of(case, helped))
    assert code(*cancellation(case, helped, record, mother), check_cancellation) == ""


@pytest.mark.parametrize("change", [{"object": "00" * 32}, {"operation": "withdraw"}])
def test_a_cancellation_of_something_else_is_none(case, patient, change):
    record = kept(case, recovery_of(case, patient))
    assert code(*cancellation(case, patient, record, **change), check_cancellation) == "recovery.cancellation"
    body, context = cancellation(case, patient, record)
    assert code(body, replace(context, previous=None), check_cancellation) == "recovery.cancellation"
