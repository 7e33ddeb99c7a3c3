"""The check of a subject: who may enrol a person, and who may change what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import base64_text, digest
from medchain.errors import InputError, VerificationError
from medchain.ledger.kinds import capacity, signing
from medchain.ledger.kinds.capacity import Standing
from medchain.ledger.kinds.passkeys import read_passkeys
from medchain.ledger.kinds.registry import check_body, check_form
from medchain.ledger.kinds.subject import RECIPIENT_FIELDS, Contact, Operation, check_joining, read
from medchain.ledger.object import build_body
from medchain.ledger.policy import default_policy, parse_policy
from tests.unit.medchain.ledger.kinds.case import (
    ORIGIN,
    PHONE,
    RP_ID,
    STAFF,
    SUBJECT,
    THIEF,
    ConsentCase,
    Person,
    able,
    changed,
    code,
    delegate,
    malformed,
    named,
    passkey_of,
)
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, DAY, RENHE, TIME, TONGJI, fresh, seed

SECOND = passkey_of(SoftwareAuthenticator(seed("second"), RP_ID))
DEAD = Standing("dead", "death-certificate", TIME - 10)
INCAPABLE = Standing("incapable", "court-order", TIME - 10)
MAIL = Contact("email", "li@mail.example")
MOBILE = Contact("sms", "+8613800000000")
OTHER_MAIL = Contact("email", "zhang@mail.example")
OTHER = b"\x01" * 32


@pytest.fixture
def case():
    return ConsentCase()


def enrol(case, subject=SUBJECT, evidence=None, **changes: object):
    body = build_body("subject", subject.to_content(), evidence, fresh)
    return body, case.context("subject", body, **changes)


@pytest.fixture
def patient(case):
    return Person(case, "phone")


@pytest.fixture
def helper(case):
    return Person(case, "helper")


@pytest.fixture
def mother(case):
    return Person(case, "mother")


@pytest.fixture
def father(case):
    return Person(case, "father")


@pytest.fixture
def child(case, mother, father):
    rows = (delegate(mother.key, "guardian"), delegate(father.key, "guardian"))
    return Person(case, "child", passkeys=(), capacity=able(delegates=rows, of_age=DAY + 30))


def test_a_content_comes_back_as_it_went():
    subject = replace(
        SUBJECT,
        capacity=able(delegates=(delegate(OTHER),), of_age=DAY + 5, standing=INCAPABLE, disputed=True),
        contacts=(MAIL,),
        signers=(OTHER,),
        recovery=OTHER,
    )
    assert read(subject.to_content()) == subject


# Enrolment


def test_a_person_is_enrolled_by_one_organisation_and_endorsed_by_another(case):
    assert code(*enrol(case)) == ""
    assert code(*enrol(case, evidence=STAFF)) == ""


def test_a_hospital_that_invents_a_patient_finds_no_endorser_under_its_own_control(case):
    assert code(*enrol(case, own=TONGJI, endorser=TONGJI)) == "subject.party"
    members = case.world.members
    sister = replace(members.organisations[COMMISSION], control=members.organisations[RENHE].control)
    case.world.members = members.with_organisation(sister)
    assert code(*enrol(case)) == "subject.party"


def test_nobody_enrols_in_anothers_name(case):
    assert code(*enrol(case, replace(SUBJECT, enroller=TONGJI))) == "subject.enroller"


def test_an_endorser_sees_the_whole_body(case):
    body, context = enrol(case)
    assert code(body.redact(["passkeys"]), context) == "subject.not_full"


@pytest.mark.parametrize(
    "change",
    [
        {"verified": TIME + 61},
        {"passkeys": (replace(passkey_of(PHONE), since=TIME + 61),)},
        {"capacity": able(standing=replace(DEAD, time=TIME + 61))},
    ],
)
def test_what_lies_in_the_future_is_refused(case, change):
    assert code(*enrol(case, replace(SUBJECT, **change))) == "subject.time"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"operation": Operation.ADD_PASSKEY}, "subject.operation"),
        ({"signers": (OTHER,)}, "subject.operation"),
        ({"recovery": OTHER}, "subject.operation"),
        ({"capacity": able(standing=DEAD)}, "subject.changed"),
        ({"capacity": able(disputed=True)}, "subject.changed"),
        ({"capacity": able(delegates=(delegate(OTHER),))}, "subject.delegates"),
        ({"capacity": able(delegates=(delegate(OTHER, "proxy"),))}, "subject.delegates"),
        ({"capacity": able(delegates=(delegate(OTHER, "guardian"),))}, "subject.guardian"),
        ({"capacity": able(of_age=DAY)}, "subject.of_age"),
        ({"capacity": able(of_age=DAY + 18 * 366 + 1)}, "subject.of_age"),
        ({"capacity": able(of_age=DAY + 18 * 366)}, ""),
        ({"passkeys": ()}, "subject.attested"),
        ({"passkeys": (), "capacity": able(of_age=DAY + 1)}, "subject.passkeys"),
        ({"passkeys": (), "capacity": able(delegates=(delegate(OTHER, "guardian", DAY - 1),), of_age=DAY + 1)},
         "subject.passkeys"),
    ],
)  # fmt: skip
def test_nobody_is_enrolled_with_more_than_a_person_brings(case, change, found):
    assert code(*enrol(case, replace(SUBJECT, **change))) == found


def test_nobody_is_enrolled_as_its_own_guardian(case):
    _, context = enrol(case)
    own = able(delegates=(delegate(context.key, "guardian"),), of_age=DAY + 5)
    assert code(*enrol(case, replace(SUBJECT, capacity=own))) == "subject.delegates"


def test_a_child_is_enrolled_with_a_guardian_before_two_of_the_staff(case, child):
    assert code(*enrol(case, child.subject, STAFF)) == ""
    assert code(*enrol(case, child.subject)) == "subject.attested"
    assert code(*enrol(case, child.subject, {"attested_by": ["doctor"]})) == "subject.attested"
    assert code(*enrol(case, child.subject, {"attested_by": "x"})) == "body.malformed content.names"


def test_who_has_no_phone_is_enrolled_before_two_of_the_staff(case):
    alone = replace(SUBJECT, passkeys=())
    assert code(*enrol(case, alone, STAFF)) == ""
    assert code(*enrol(case, alone, {"attested_by": ["doctor"]})) == "subject.attested"
    assert code(*enrol(case, replace(alone, capacity=able(of_age=DAY + 1)), STAFF)) == "subject.passkeys"


def test_an_enrolment_that_brings_a_signature_is_refused(case):
    assert code(*enrol(case, evidence={**STAFF, "assertion": {}})) == "subject.unsigned"


def test_without_a_term_in_the_policy_nobody_is_enrolled_as_a_minor(case):
    policy = parse_policy({name: value for name, value in default_policy().items() if name != "terms"})
    case.world.members = case.world.members.with_policy(policy)
    assert code(*enrol(case, replace(SUBJECT, capacity=able(of_age=DAY + 1)))) == "subject.of_age"


# Passkeys


def test_an_existing_passkey_lets_another_in_and_out(case, patient):
    assert code(*changed(case, patient, "add-passkey", passkeys=(*patient.subject.passkeys, SECOND))) == ""
    both = Person(case, "phone", passkeys=(*patient.subject.passkeys, SECOND))
    for left in both.subject.passkeys:
        assert code(*changed(case, both, "remove-passkey", passkeys=(left,))) == ""


def test_the_challenge_names_the_operation(patient):
    subject = replace(patient.subject, operation=Operation.LINK, signers=(patient.key, OTHER))
    assert subject.signed(patient.key) == [
        signing.Signed("subject/link", patient.key, None, subject.nonce),
        signing.Signed("subject/link", OTHER, patient.key, subject.nonce),
    ]


def test_the_last_passkey_is_not_removed(case, patient):
    assert code(*changed(case, patient, "remove-passkey", passkeys=())) == "subject.changed"


@pytest.mark.parametrize("rows", [(), (SECOND,), (passkey_of(PHONE), SECOND, passkey_of(THIEF))])
def test_one_passkey_comes_at_a_time(case, patient, rows):
    assert code(*changed(case, patient, "add-passkey", passkeys=rows)) == "subject.changed"


def test_a_hospital_that_enrols_its_own_key_is_refused(case, patient):
    rows = (*patient.subject.passkeys, passkey_of(THIEF))
    assert code(*changed(case, patient, "add-passkey", signers=[], passkeys=rows)) == "subject.signers"
    subject = replace(patient.subject, operation=Operation.ADD_PASSKEY, signers=(patient.key,), passkeys=rows)
    assert code(*enrol(case, subject, before=patient.record)) == "subject.unsigned"
    assert code(*enrol(case, subject, STAFF, before=patient.record)) == "subject.attested"
    thief = Person(case, "phone")
    thief.pen, thief.record, thief.key = THIEF, patient.record, patient.key
    assert code(*changed(case, thief, "add-passkey", passkeys=rows)) == "signing.credential"


def test_a_log_in_is_no_change_of_passkeys(case, patient):
    rows = (*patient.subject.passkeys, SECOND)
    subject = replace(patient.subject, operation=Operation.ADD_PASSKEY, signers=(patient.key,), passkeys=rows)
    draft = build_body("subject", subject.to_content(), None, fresh)
    login = digest("medchain/some-login/v1", fresh(32))
    given = patient.pen.sign(login, ORIGIN)
    evidence = signing.assertion_evidence(
        given.credential_id, given.client_data_json, given.authenticator_data, given.signature
    )
    body = draft.with_evidence(fresh(32), evidence)
    assert code(body, case.context("subject", body, before=patient.record)) == "assertion.challenge"


def test_a_signature_for_one_operation_is_none_for_another(case, patient):
    rows = (*patient.subject.passkeys, SECOND)
    subject = replace(patient.subject, operation=Operation.ADD_PASSKEY, signers=(patient.key,), passkeys=rows)
    draft = build_body("subject", subject.to_content(), None, fresh)
    other = signing.Signed("consent/create", patient.key, None, subject.nonce)
    assert code(*case.sign_body(draft, other, patient.pen, ORIGIN, before=patient.record)) == "assertion.challenge"


def test_a_change_that_was_signed_is_not_replayed_on_a_later_version(case, patient):
    body, context = changed(case, patient, "change-contacts", contacts=(MAIL,))
    assert code(body, context) == ""
    later = replace(patient.record, version=2, previous=patient.record.digest)
    case.bodies[later.key] = (later, case.bodies[later.key][1])
    assert code(body, case.context("subject", body, before=later)) == "assertion.challenge"


def test_a_body_with_fewer_signatures_than_signers_is_refused(case, child, mother, father):
    disputed = Person(case, "child", passkeys=(), capacity=replace(child.subject.capacity, disputed=True))
    body, context = changed(case, disputed, "settle", [mother, father], disputed=False)
    assert code(body, context) == ""
    evidence = dict(body.evidence.value)
    del evidence["joined"]
    alone = body.with_evidence(fresh(32), evidence)
    assert code(alone, case.context("subject", alone, before=disputed.record)) == "signing.count"
    twice = body.with_evidence(fresh(32), {**evidence, "joined": [evidence["assertion"]]})
    assert code(twice, case.context("subject", twice, before=disputed.record)) == "signing.credential"


@pytest.mark.parametrize(("age_s", "found"), [(600, ""), (601, "subject.stale"), (-60, ""), (-61, "subject.stale")])
def test_a_signature_that_was_kept_back_cannot_be_used_later(case, patient, age_s, found):
    made = changed(case, patient, "change-contacts", contacts=(MAIL,), signed_at=TIME - age_s)
    assert code(*made) == found


@pytest.mark.parametrize(("age_s", "found"), [(3 * 86400, ""), (3 * 86400 + 1, "subject.stale")])
def test_several_who_sign_have_longer(case, child, mother, father, age_s, found):
    signers = [mother, father]
    made = changed(case, child, "change-contacts", signers, contacts=(MAIL,), signed_at=TIME - age_s)
    assert code(*made) == found


# One operation at a time


@pytest.mark.parametrize(
    ("operation", "field", "change"),
    [
        ("change-contacts", "passkeys", {"contacts": (MAIL,), "passkeys": (SECOND,)}),
        ("change-contacts", "of_age", {"contacts": (MAIL,), "of_age": DAY + 5}),
        ("change-contacts", "verified_by", {"contacts": (MAIL,), "method": "other"}),
        ("change-contacts", "contacts", {}),
        ("link", "custodians", {"custodians": (RENHE,)}),
        ("unlink", "custodians", {"custodians": (ANXIN, RENHE, TONGJI)}),
        ("name-delegate", "delegates", {"delegates": (delegate(OTHER, "guardian"),)}),
        ("name-delegate", "delegates", {"delegates": (delegate(OTHER), delegate(b"\x02" * 32))}),
        ("end-delegate", "delegates", {}),
        ("dispute", "disputed", {}),
        ("settle", "disputed", {}),
        ("declare-death", "standing", {}),
        ("restore", "delegates", {}),
    ],
)
def test_an_operation_changes_what_it_says_and_nothing_else(case, patient, operation, field, change):
    body, context = changed(case, patient, operation, **change)
    with pytest.raises(VerificationError, match=r"subject\.changed") as caught:
        check_body(body, context)
    assert caught.value.fields["field"] == field


def test_a_second_enrolment_is_no_operation(case, patient):
    assert code(*changed(case, patient, "enrol")) == "subject.operation"


def test_the_enroller_never_changes(case, patient):
    moved = replace(patient.subject, enroller=TONGJI, operation=Operation.LINK)
    assert code(*enrol(case, moved, before=patient.record, creator=TONGJI)) == "subject.enroller"


def test_ending_a_subject_needs_no_passkey(case, patient):
    gone = replace(patient.subject, passkeys=(passkey_of(THIEF),))
    assert code(*enrol(case, gone, before=patient.record, status="ended")) == ""


def test_a_version_without_recovery_names_none(case, patient):
    assert code(*changed(case, patient, "change-contacts", contacts=(MAIL,), recovery=OTHER)) == "subject.recovery"


# Contacts and custodians


def test_a_hospital_cannot_turn_notices_away(case, patient):
    assert code(*changed(case, patient, "change-contacts", contacts=(MAIL,))) == ""
    assert code(*changed(case, patient, "change-contacts", signers=[], contacts=(MAIL,))) == "subject.unsigned"


def test_two_of_the_staff_attest_a_contact_more_or_one_fewer_of_whom_nobody_can_sign_for(case, patient, child):
    more, attested = {"contacts": (MAIL, MOBILE)}, {"attested_by": ("doctor", "nurse")}
    paper = Person(case, "paper", passkeys=(), contacts=(MAIL,))
    assert code(*changed(case, paper, "change-contacts", [], **more, **attested)) == ""
    assert code(*changed(case, paper, "change-contacts", [], **more)) == "subject.attested"
    # Attack: no notice is turned away so, nor one of who can sign, or in whose stead somebody does.
    for fewer in ((), (MOBILE,), (MAIL,)):
        assert code(*changed(case, paper, "change-contacts", [], contacts=fewer, **attested)) == "subject.changed"
    both = Person(case, "both", passkeys=(), contacts=(MAIL, MOBILE))
    for left in ((MAIL,), (MOBILE,)):
        assert code(*changed(case, both, "change-contacts", [], contacts=left, **attested)) == ""
        assert code(*changed(case, both, "change-contacts", [], contacts=left)) == "subject.attested"
    for left in ((), (MAIL, OTHER_MAIL), (OTHER_MAIL,), (MAIL, MOBILE)):
        assert code(*changed(case, both, "change-contacts", [], contacts=left, **attested)) == "subject.changed"
    dead = Person(case, "dead", passkeys=(), capacity=able(standing=DEAD))
    for person in (patient, child, dead):
        assert code(*changed(case, person, "change-contacts", [], **more, **attested)) == "subject.unsigned"


def test_the_patient_links_and_unlinks_a_custodian(case, patient):
    assert code(*changed(case, patient, "link", custodians=(RENHE, "taiping-insurance", TONGJI))) == ""
    assert code(*changed(case, patient, "unlink", custodians=(RENHE,))) == ""


def test_a_hospital_cannot_link_another_without_the_patient(case, patient):
    rows = (ANXIN, RENHE, TONGJI)
    assert code(*changed(case, patient, "link", signers=[], custodians=rows)) == "subject.unsigned"


def test_a_custodian_that_is_no_member_is_not_linked(case, patient):
    assert code(*changed(case, patient, "link", custodians=("nobody", RENHE, TONGJI))) == "subject.organisation"


def linked_to_a_recipient(case, patient, **changes: object):
    """Link a custodian that was shown a part of the subject before, when it was a recipient; seen by it."""
    record, whole = case.bodies[patient.key]
    case.bodies[patient.key] = (record, whole.redact(RECIPIENT_FIELDS))
    rows = {"custodians": (ANXIN, RENHE, TONGJI)}
    return changed(case, patient, "link", own=ANXIN, role="holder", **{**rows, **changes})


def test_a_custodian_that_was_shown_a_part_before_judges_the_whole_that_comes_after_it(case, patient, helper):
    assert code(*linked_to_a_recipient(case, patient)) == ""
    rows = (named(case, patient, helper),)
    body, context = changed(case, patient, "name-delegate", delegates=rows, role="holder", own=ANXIN)
    assert code(body, context) == ""


def test_attack_a_hospital_puts_its_own_key_behind_a_part_that_a_new_custodian_has(case, patient):
    thief = Person(case, "phone")
    thief.pen, thief.record, thief.key = THIEF, patient.record, patient.key
    assert code(*linked_to_a_recipient(case, thief)) == "signing.credential"
    rows = (*patient.subject.passkeys, passkey_of(THIEF))
    assert code(*linked_to_a_recipient(case, patient, passkeys=rows)) == "subject.changed"
    assert code(*linked_to_a_recipient(case, patient, signers=[])) == "subject.unsigned"
    helped = able(delegates=(delegate(OTHER),))
    assert code(*linked_to_a_recipient(case, patient, capacity=helped)) == "subject.changed"


def test_who_vouches_for_a_version_has_the_whole_of_the_one_before(case, patient):
    record, whole = case.bodies[patient.key]
    case.bodies[patient.key] = (record, whole.redact(RECIPIENT_FIELDS))
    made = changed(case, patient, "change-contacts", contacts=(MAIL,))
    assert code(*made) == "body.malformed content.fields"


# Delegates


def test_a_person_names_and_ends_a_helper_and_a_proxy(case, patient, helper):
    for role in ("helper", "proxy"):
        row = named(case, patient, helper, role)
        assert code(*changed(case, patient, "name-delegate", delegates=(row,))) == ""
        helped = Person(case, "phone", capacity=able(delegates=(row,)))
        assert code(*changed(case, helped, "end-delegate", delegates=())) == ""
        assert code(*changed(case, helped, "end-delegate", [helper], delegates=())) == ""


def test_a_hospital_cannot_add_itself_as_delegate(case, patient, helper):
    rows = (delegate(helper.key),)
    assert code(*changed(case, patient, "name-delegate", signers=[], delegates=rows)) == "subject.signers"
    assert code(*changed(case, patient, "name-delegate", signers=[helper], delegates=rows)) == "subject.signers"


def test_delegates_name_nobody(case, helper):
    helped = Person(case, "phone", capacity=able(delegates=(delegate(helper.key),)))
    more = (*helped.subject.capacity.delegates, delegate(OTHER))
    assert code(*changed(case, helped, "name-delegate", [helper], delegates=more)) == "subject.signers"


def test_a_delegate_ends_no_other(case, helper, mother):
    rows = (delegate(helper.key), delegate(mother.key))
    helped = Person(case, "phone", capacity=able(delegates=rows))
    assert code(*changed(case, helped, "end-delegate", [helper], delegates=(rows[0],))) == "subject.signers"


def test_nobody_but_itself_ends_a_guardian(case, child, mother, father):
    left = (child.subject.capacity.delegates[1],)
    assert code(*changed(case, child, "end-delegate", [mother], delegates=left)) == ""
    assert code(*changed(case, child, "end-delegate", [father], delegates=left)) == "subject.guardian"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({}, ""),
        ({"until": DAY}, ""),
        ({"until": DAY - 1}, "subject.delegate"),
        ({"may": ("read", "stop")}, "subject.delegate"),
        ({"role": "guardian", "delegation": None}, "subject.delegate"),
        ({"role": "proxy"}, ""),
    ],
)
def test_a_delegate_signs_within_its_limits(case, helper, row, found):
    helped = Person(case, "phone", capacity=able(delegates=(replace(delegate(helper.key), **row),)))
    assert code(*changed(case, helped, "change-contacts", [helper], contacts=(MAIL,))) == found


@pytest.mark.parametrize("state", [able(standing=DEAD), able(standing=INCAPABLE), able(of_age=DAY + 1)])
def test_a_delegate_who_cannot_decide_for_itself_signs_for_nobody(case, state):
    weak = Person(case, "weak", capacity=state)
    helped = Person(case, "phone", capacity=able(delegates=(delegate(weak.key),)))
    assert code(*changed(case, helped, "change-contacts", [weak], contacts=(MAIL,))) == "subject.delegate"


def test_a_delegate_whose_subject_is_not_here_signs_for_nobody(case, helper):
    helped = Person(case, "phone", capacity=able(delegates=(delegate(helper.key),)))
    del case.bodies[helper.key]
    assert code(*changed(case, helped, "change-contacts", [helper], contacts=(MAIL,))) == "subject.subject"


# Guardians


def test_a_guardian_signs_for_a_child_until_it_is_of_age(case, child, mother):
    assert code(*changed(case, child, "change-contacts", [mother], contacts=(MAIL,))) == ""
    for days, found in ((29, ""), (30, "subject.delegate"), (31, "subject.delegate")):
        made = changed(case, child, "change-contacts", [mother], contacts=(MAIL,), time=TIME + days * 86400)
        assert code(*made) == found


def test_a_guardian_adds_no_passkey_that_would_outlive_the_hand_over(case, child, mother):
    assert code(*changed(case, child, "add-passkey", [mother], passkeys=(SECOND,))) == "subject.signers"


def test_a_minors_own_passkey_permits_nothing(case):
    young = Person(case, "young", capacity=able(of_age=DAY + 30))
    assert code(*changed(case, young, "change-contacts", contacts=(MAIL,))) == "subject.minor"
    assert code(*changed(case, young, "unlink", custodians=(RENHE,))) == ""
    grown = changed(case, young, "change-contacts", contacts=(MAIL,), time=TIME + 30 * 86400)
    assert code(*grown) == ""


def test_one_guardian_disputes_and_both_settle(case, child, mother, father, helper):
    assert code(*changed(case, child, "dispute", [father], disputed=True)) == ""
    assert code(*changed(case, child, "dispute", [helper], disputed=True)) == "subject.guardian"
    assert code(*changed(case, child, "dispute", [], disputed=True)) == "subject.attested"
    disputed = Person(case, "child", passkeys=(), capacity=replace(child.subject.capacity, disputed=True))
    assert code(*changed(case, disputed, "settle", [mother], disputed=False)) == "subject.guardians"
    assert code(*changed(case, disputed, "settle", [father, mother], disputed=False)) == ""


def test_guardians_who_disagree_widen_together_and_narrow_alone(case, child, mother, father):
    disputed = Person(case, "child", passkeys=(), capacity=replace(child.subject.capacity, disputed=True))
    wider = (ANXIN, RENHE, TONGJI)
    assert code(*changed(case, disputed, "link", [mother], custodians=wider)) == "subject.guardians"
    contacts = {"contacts": (MAIL,)}
    assert code(*changed(case, disputed, "change-contacts", [mother], **contacts)) == "subject.guardians"
    assert code(*changed(case, disputed, "change-contacts", [mother, father], **contacts)) == ""
    assert code(*changed(case, disputed, "unlink", [father], custodians=(RENHE,))) == ""


# Death and incapacity


def test_two_of_the_staff_attest_a_dispute_that_no_guardian_signs_and_no_settlement(
    case, child, patient, mother, father
):
    attested = ("doctor", "nurse")
    assert code(*changed(case, child, "dispute", [], disputed=True, attested_by=attested)) == ""
    for staff in ((), ("doctor",)):
        assert code(*changed(case, child, "dispute", [], disputed=True, attested_by=staff)) == "subject.attested"
    # Beside a guardian's signature nobody attests anything, and of who has no guardian there is nothing to dispute.
    assert code(*changed(case, child, "dispute", [father], disputed=True, attested_by=attested)) == "subject.attested"
    assert code(*changed(case, patient, "dispute", [], disputed=True, attested_by=attested)) == "subject.guardian"
    disputed = Person(case, "child", passkeys=(), capacity=replace(child.subject.capacity, disputed=True))
    assert code(*changed(case, disputed, "settle", [], disputed=False, attested_by=attested)) == "subject.guardians"
    made = changed(case, disputed, "settle", [father, mother], disputed=False, attested_by=attested)
    assert code(*made) == "subject.attested"


def declared(case, person, **changes: object):
    return changed(case, person, "declare-death", [], standing=DEAD, attested_by=("doctor", "nurse"), **changes)


def test_two_of_the_staff_declare_a_death(case, patient):
    assert code(*declared(case, patient)) == ""
    assert code(*changed(case, patient, "declare-death", [], standing=DEAD)) == "subject.attested"
    signed = changed(case, patient, "declare-death", standing=DEAD, attested_by=("doctor", "nurse"))
    assert code(*signed) == "subject.signers"


def test_incapacity_is_not_declared_by_the_enroller_alone(case, patient):
    made = changed(case, patient, "declare-death", [], standing=INCAPABLE, attested_by=("doctor", "nurse"))
    assert code(*made) == "subject.changed"


def test_staff_attest_only_what_they_are_asked_for(case, patient):
    made = changed(case, patient, "change-contacts", contacts=(MAIL,), attested_by=("doctor", "nurse"))
    assert code(*made) == "subject.attested"


def test_a_signature_that_nobody_asked_for_is_refused(case, patient):
    body, _ = declared(case, patient)
    spoiled = body.with_evidence(fresh(32), {**body.evidence.value, "assertion": {}})
    assert code(spoiled, case.context("subject", spoiled, before=patient.record)) == "subject.unsigned"


def test_a_dead_persons_passkey_does_nothing(case, helper):
    dead = Person(case, "phone", capacity=able(standing=DEAD, delegates=(delegate(helper.key, "proxy"),)))
    assert code(*changed(case, dead, "change-contacts", contacts=(MAIL,))) == "subject.dead"
    assert code(*changed(case, dead, "unlink", custodians=(RENHE,))) == "subject.dead"
    assert code(*changed(case, dead, "change-contacts", [helper], contacts=(MAIL,))) == "subject.dead"
    assert code(*changed(case, dead, "unlink", [helper], custodians=(RENHE,))) == ""


def test_an_incapable_persons_passkey_narrows_only(case, helper):
    rows = (delegate(helper.key, "guardian"),)
    weak = Person(case, "phone", capacity=able(standing=INCAPABLE, delegates=rows))
    assert code(*changed(case, weak, "change-contacts", contacts=(MAIL,))) == "subject.incapable"
    assert code(*changed(case, weak, "unlink", custodians=(RENHE,))) == ""
    assert code(*changed(case, weak, "change-contacts", [helper], contacts=(MAIL,))) == ""


def test_a_helper_does_not_act_for_who_cannot_decide_and_a_proxy_does(case, helper):
    for role, found in (("helper", "subject.delegate"), ("proxy", "")):
        rows = (delegate(helper.key, role),)
        weak = Person(case, "phone", capacity=able(standing=INCAPABLE, delegates=rows))
        assert code(*changed(case, weak, "change-contacts", [helper], contacts=(MAIL,))) == found


def test_a_mistake_is_put_right_by_the_person_before_two_of_the_staff(case, helper):
    for standing in (DEAD, INCAPABLE):
        rows = (delegate(helper.key, "guardian"), delegate(OTHER, "proxy"))
        wronged = Person(case, "phone", capacity=able(standing=standing, delegates=rows))
        right = {"standing": None, "delegates": rows[1:]}
        staff = ("doctor", "nurse")
        assert code(*changed(case, wronged, "restore", attested_by=staff, **right)) == ""
        assert code(*changed(case, wronged, "restore", **right)) == "subject.attested"
        assert code(*changed(case, wronged, "restore", [], attested_by=staff, **right)) == "subject.guardians"
        kept = {"standing": None, "delegates": rows}
        assert code(*changed(case, wronged, "restore", attested_by=staff, **kept)) == "subject.changed"


def test_a_child_declared_dead_by_mistake_is_restored_by_all_guardians(case, child, mother, father):
    wronged = Person(case, "child", passkeys=(), capacity=replace(child.subject.capacity, standing=DEAD))
    staff = ("doctor", "nurse")
    assert code(*changed(case, wronged, "restore", [mother, father], standing=None, attested_by=staff)) == ""
    assert code(*changed(case, wronged, "restore", [mother], standing=None, attested_by=staff)) == "subject.guardians"


# Joining a patient


def joining(case, person, signer=None, own=TONGJI, **changes: object):
    signer = signer or person
    nonce = b"\x07" * 16
    content = {
        "nonce": nonce.hex(),
        "object": person.key.hex(),
        "operation": "join",
        "organisation": TONGJI,
        "patient": "keyed token",
        "subject": signer.key.hex(),
    } | changes
    what = signing.Signed("subject/join", signer.key, None if signer is person else person.key, nonce)
    body = build_body("subject", content, None, fresh)
    return case.sign_body(body, what, signer.pen, ORIGIN, before=person.record, own=own, role="creator")


def test_a_person_joins_its_subject_to_a_patient_of_a_custodian(case, patient, child, mother):
    assert code(*joining(case, patient), check_joining) == ""
    assert code(*joining(case, child, mother), check_joining) == ""


def test_nobody_else_joins_a_subject_to_its_own_patient(case, patient, mother):
    assert code(*joining(case, patient, mother), check_joining) == "subject.delegate"
    patient.pen = THIEF
    assert code(*joining(case, patient), check_joining) == "signing.credential"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"organisation": RENHE}, "subject.joining"),
        ({"operation": "link"}, "subject.joining"),
        ({"object": "00" * 32}, "subject.joining"),
        ({"own": ANXIN, "organisation": ANXIN}, "subject.custodian"),
    ],
)
def test_a_joining_elsewhere_or_of_something_else_is_none(case, patient, change, found):
    assert code(*joining(case, patient, **change), check_joining) == found
    body, context = joining(case, patient)
    assert code(body, replace(context, previous=None), check_joining) == "subject.joining"


# Form


def test_a_custodian_sees_the_passkeys_of_a_redacted_body(case):
    body, _ = enrol(case)
    assert read_passkeys(body.redact(["passkeys"]).content) == SUBJECT.passkeys
    with pytest.raises(InputError, match=r"subject\.passkeys"):
        read_passkeys(body.redact([]).content)
    with pytest.raises(InputError, match=r"subject\.capacity"):
        capacity.read(body.redact(["delegates", "of_age", "standing"]).content)


def test_who_is_shown_a_part_judges_who_may_sign_and_who_enrolled(case):
    body, context = enrol(case, own=ANXIN, role="holder")
    part = body.redact(RECIPIENT_FIELDS)
    assert (code(part, context), code(part, context.place, check_form)) == ("", "")
    no_passkeys, no_capacity = body.redact(capacity.FIELDS), body.redact(["passkeys"])
    assert code(no_passkeys, context.place, check_form) == "body.malformed subject.passkeys"
    assert code(no_capacity, context.place, check_form) == "body.malformed subject.capacity"
    forged, context = enrol(case, replace(SUBJECT, enroller=TONGJI), own=ANXIN, role="holder")
    assert code(forged.redact({*RECIPIENT_FIELDS, "enroller"}), context) == "subject.enroller"


ROW = SUBJECT.to_content()["passkeys"][0]
LIMITS = {
    "delegation": "00" * 32,
    "may": ["read"],
    "resource_types": ["*"],
    "role": "helper",
    "subject": "00" * 32,
    "until": 1,
}


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("passkeys", None, "subject.passkeys"),
        ("passkeys", [ROW, ROW], "subject.passkeys"),
        ("passkeys", [ROW] * 17, "subject.passkeys"),
        ("passkeys", [ROW | {"alg": "ed25519"}], "subject.passkeys"),
        ("passkeys", [ROW | {"credential_id": ""}], "subject.passkeys"),
        ("passkeys", [ROW | {"credential_id": base64_text(bytes(1024))}], "subject.passkeys"),
        ("passkeys", [ROW | {"public_key": ""}], "assertion.credential_key"),
        ("passkeys", [ROW | {"since": -1}], "content.number"),
        ("passkeys", [ROW | {"since": "1"}], "encoding.members"),
        ("delegates", None, "subject.delegates"),
        ("delegates", [LIMITS] * 2, "subject.delegates"),
        ("delegates", [LIMITS | {"subject": f"{n:064x}"} for n in range(17)], "subject.delegates"),
        ("delegates", [5], "encoding.members"),
        ("delegates", [LIMITS | {"role": "friend"}], "subject.delegates"),
        ("delegates", [LIMITS | {"may": ["sell"]}], "subject.delegates"),
        ("delegates", [LIMITS | {"delegation": None}], "subject.delegates"),
        ("delegates", [LIMITS | {"role": "guardian"}], "subject.delegates"),
        ("delegates", [LIMITS | {"delegation": 5}], "encoding.hex"),
        ("delegates", [LIMITS | {"may": []}], "content.names"),
        ("disputed", 0, "subject.capacity"),
        ("of_age", "1", "content.number"),
        ("standing", {"method": "x", "state": "asleep", "time": 1}, "subject.standing"),
        ("standing", {}, "encoding.members"),
        ("operation", "update", "subject.operation"),
        ("operation", ["enrol"], "subject.operation"),
        ("operation", {}, "subject.operation"),
        ("signers", None, "subject.signers"),
        ("signers", ["00" * 32] * 2, "subject.signers"),
        ("signers", [f"{n:064x}" for n in range(17)], "subject.signers"),
        ("recovery", "", "encoding.hex"),
        ("contacts", None, "subject.contacts"),
        ("contacts", [{"address": "x", "channel": "email"}] * 2, "subject.contacts"),
        ("contacts", [{"address": str(n), "channel": "email"} for n in range(9)], "subject.contacts"),
        ("contacts", [{"address": "x", "channel": "pigeon"}], "subject.contacts"),
        ("contacts", [{"address": "", "channel": "sms"}], "content.text"),
        ("enroller", "other", "subject.verified_by"),
        ("verified_by", {}, "encoding.members"),
        ("custodians", [], "content.names"),
        ("nonce", "", "encoding.hex"),
        ("more", 1, "content.fields"),
    ],
)
def test_a_content_of_another_form_is_malformed(case, member, value, reason):
    content = SUBJECT.to_content() | {member: value}
    assert malformed(content, "subject", case) == f"body.malformed {reason}"


def test_the_endorser_of_a_subject_must_be_asked_as_one(case):
    assert code(*enrol(case, own=COMMISSION, role="creator")) == "subject.role"
