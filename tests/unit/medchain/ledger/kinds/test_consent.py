"""The check of a consent: each lie that an endorser must not sign."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.crypto.assertion import PasskeyAlgorithm, encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import digest
from medchain.ledger.kinds import signing
from medchain.ledger.kinds.capacity import Standing
from medchain.ledger.kinds.consent import check_withdrawal
from medchain.ledger.kinds.content import Period
from medchain.ledger.kinds.passkeys import passkey
from medchain.ledger.kinds.subject import RECIPIENT_FIELDS
from medchain.ledger.object import build_body
from tests.unit.medchain.ledger.kinds.case import (
    ABLE,
    END,
    ORIGIN,
    PHONE,
    RP_ID,
    STAFF,
    SUBJECT,
    THIEF,
    ConsentCase,
    Person,
    able,
    code,
    delegate,
    passkey_of,
)
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, DAY, RENHE, TAIPING, TIME, TONGJI, fresh, seed


@pytest.fixture
def case():
    return ConsentCase()


def test_a_consent_that_the_patient_signed_is_endorsed(case):
    assert code(*case.signed(case.consent())) == ""


@pytest.mark.parametrize(
    ("own", "role"), [(RENHE, "creator"), (RENHE, "holder"), (ANXIN, "holder"), (COMMISSION, "independent")]
)
def test_every_party_reaches_the_same_verdict(case, own, role):
    assert code(*case.signed(case.consent(), own=own, role=role)) == ""


@pytest.mark.parametrize(
    ("own", "role"), [(ANXIN, "creator"), (TAIPING, "creator"), (TONGJI, "independent"), (COMMISSION, "member")]
)
def test_who_does_not_hold_the_role_in_which_it_is_asked_does_not_sign(case, own, role):
    assert code(*case.signed(case.consent(), own=own, role=role)) == "consent.role"


def test_the_challenge_covers_ledger_object_version_operation_and_content():
    signed = signing.Signed("consent/create", b"\x01" * 32, None, b"\x02" * 16)
    expected = (
        '{"acting_for":null,"content_root":"CC","ledger":"LL","nonce":"NN","object":"II","operation":"consent/create",'
        '"previous":null,"subject":"SS","version":1}'
    )
    parts = {"CC": "03" * 32, "II": "04" * 32, "LL": "05" * 32, "NN": "02" * 16, "SS": "01" * 32}
    for mark, value in parts.items():
        expected = expected.replace(mark, value)
    made = signing.challenge(b"\x05" * 32, b"\x04" * 32, 1, None, b"\x03" * 32, signed)
    assert made == digest("medchain/consent-challenge/v1", expected.encode())


@pytest.mark.parametrize(
    ("age_s", "found"), [(600, ""), (601, "consent.stale"), (-60, ""), (-61, "consent.stale"), (10**7, "consent.stale")]
)
@pytest.mark.parametrize(("own", "role"), [(RENHE, "creator"), (COMMISSION, "independent")])
def test_a_signature_that_was_kept_back_cannot_be_used_later(case, own, role, age_s, found):
    consent = case.consent(signed_at=TIME - age_s)
    assert code(*case.signed(consent, own=own, role=role)) == found


def test_a_party_may_get_its_part_of_a_consent_later(case):
    assert code(*case.signed(case.consent(signed_at=TIME - 10**6), own=ANXIN, role="holder")) == ""


def test_a_passkey_of_somebody_else_is_refused(case):
    assert code(*case.signed(case.consent(), pen=THIEF)) == "signing.credential"


def test_a_stolen_credential_id_with_another_key_is_refused(case):
    thief = SoftwareAuthenticator(seed("thief"), RP_ID)
    thief.credential_id = PHONE.credential_id
    assert code(*case.signed(case.consent(), pen=thief)) == "assertion.signature"


ROLES = [(RENHE, "creator"), (RENHE, "holder"), (ANXIN, "holder"), (COMMISSION, "independent")]
"""Custodian as it brings a consent, custodian and recipient as they rely on it, and the drawn endorser."""


@pytest.mark.parametrize(("own", "role"), ROLES)
@pytest.mark.parametrize(
    "origin",
    [
        "https://renhe.consent.example",
        "https://anxin.consent.example",
        "https://sign.consent.example:8443",
        "http://sign.consent.example",
        "https://sign.consent.example.evil.example",
    ],
)
def test_attack_a_signature_at_a_portal_or_at_any_other_address_does_not_count(case, own, role, origin):
    assert code(*case.signed(case.consent(), origin=origin, own=own, role=role)) == "assertion.origin"


@pytest.mark.parametrize(("own", "role"), ROLES)
def test_attack_a_passkey_of_another_relying_party_does_not_count(case, own, role):
    pen = SoftwareAuthenticator(seed("phone"), RP_ID)
    pen.rp_id = "renhe.consent.example"
    assert code(*case.signed(case.consent(), pen=pen, own=own, role=role)) == "assertion.rp_id"


@pytest.mark.parametrize(("own", "role"), ROLES)
def test_attack_a_log_in_at_a_signing_address_is_no_consent(case, own, role):
    draft = build_body("consent", case.consent().to_content(), None, fresh)
    given = PHONE.sign(digest("a portal's log-in", b"1"), ORIGIN)
    evidence = signing.assertion_evidence(
        given.credential_id, given.client_data_json, given.authenticator_data, given.signature
    )
    body = draft.with_evidence(fresh(32), evidence)
    context = case.context("consent", body, own=own, role=role, **case.terms(case.consent()))
    assert code(body, context) == "assertion.challenge"


def test_a_signature_for_another_ledger_does_not_count(case):
    assert code(*case.signed(case.consent(), ledger=fresh(32))) == "assertion.challenge"


def test_a_signature_under_another_content_does_not_count(case):
    body, _ = case.signed(case.consent())
    wider = case.consent(resource_types=("*",))
    forged = build_body("consent", wider.to_content(), body.evidence.value, fresh)
    assert code(forged, case.context("consent", forged, **case.terms(wider))) == "assertion.challenge"


def test_a_stopped_consent_cannot_be_revived_by_another_party_under_the_same_id(case):
    body, context = case.signed(case.consent())
    revived = case.context("consent", body, creator=ANXIN, object_id=context.object_id, **case.terms(case.consent()))
    assert code(body, context) == ""
    assert code(body, revived) == "assertion.challenge"


def test_a_signature_for_another_object_does_not_count(case):
    body, context = case.signed(case.consent())
    other = case.context("consent", body, object_id=fresh(16), **case.terms(case.consent()))
    assert code(body, context) == ""
    assert code(body, other) == "assertion.challenge"


def test_an_expired_or_ended_subject_signs_nothing(case):
    record, body = case.bodies[case.subject.key]
    for spoiled in (replace(record, status="ended"), replace(record, expires=DAY - 1), replace(record, kind="grant")):
        case.bodies[case.subject.key] = (spoiled, body)
        assert code(*case.signed(case.consent())) == "consent.subject"


def test_a_subject_whose_body_is_missing_denies(case):
    del case.bodies[case.subject.key]
    assert code(*case.signed(case.consent())) == "consent.subject"


def test_a_body_with_another_hash_than_the_ledger_has_is_refused(case):
    body, context = case.signed(case.consent())
    assert code(body.with_evidence(fresh(32), None), context) == "body.hash"


def test_a_body_of_another_kind_is_refused(case):
    body = build_body("grant", {"a": 1}, None, fresh)
    assert code(body, case.context("consent", body)) == "body.kind"
    unknown = build_body("rumour", {"a": 1}, None, fresh)
    assert code(unknown, case.context("rumour", unknown)) == "body.kind"


def test_an_endorser_does_not_vouch_for_fields_that_it_cannot_see(case):
    body, context = case.signed(case.consent())
    assert code(body.redact(body.content, keep_evidence=True), context) == "consent.not_full"
    party = replace(context, own=ANXIN, role="holder")
    assert code(body.redact(body.content, keep_evidence=True), party) == ""


@pytest.mark.parametrize("custodians", [("nobody",), ("nobody", RENHE)])
def test_a_custodian_that_is_no_member_is_refused(case, custodians):
    assert code(*case.signed(case.consent(custodians=custodians))) == "consent.organisation"


def test_a_suspended_recipient_is_refused(case):
    members = case.world.members
    suspended = replace(members.organisations[ANXIN], status="suspended")
    case.world.members = members.with_organisation(suspended)
    assert code(*case.signed(case.consent())) == "consent.organisation"


def test_an_endorser_that_is_a_party_is_not_independent(case):
    consent = case.consent(custodians=(RENHE, TONGJI))
    assert code(*case.signed(consent, own=TONGJI, endorser=TONGJI)) == "consent.party"
    assert code(*case.signed(consent, own=ANXIN, role="holder", endorser=TONGJI)) == "consent.party"


def test_an_endorser_under_a_partys_control_is_not_independent(case):
    members = case.world.members
    sister = replace(members.organisations[COMMISSION], control=members.organisations[ANXIN].control)
    case.world.members = members.with_organisation(sister)
    assert code(*case.signed(case.consent())) == "consent.party"


def test_an_endorser_of_whom_nobody_knows_is_not_independent(case):
    members = case.world.members
    case.world.members = members.with_organisation(replace(members.organisations[COMMISSION], status="suspended"))
    assert code(*case.signed(case.consent())) == "consent.party"


def test_a_custodian_that_is_not_the_patients_is_refused(case):
    case.bodies[case.subject.key] = (
        case.subject,
        build_body("subject", replace(SUBJECT, custodians=(TONGJI,)).to_content(), None, fresh),
    )
    assert code(*case.signed(case.consent())) == "consent.custodian"


def test_a_stranger_cannot_submit_a_consent(case):
    assert code(*case.signed(case.consent(), creator=TAIPING, own=COMMISSION)) == "consent.creator"


def test_a_recipient_checks_without_seeing_where_the_patient_is_treated(case):
    record, body = case.bodies[case.subject.key]
    case.bodies[case.subject.key] = (record, body.redact(RECIPIENT_FIELDS))
    assert code(*case.signed(case.consent(), own=ANXIN, role="holder")) == ""
    assert code(*case.signed(case.consent())) == "body.malformed content.names"


def test_a_ledger_expiry_that_is_not_the_consents_is_refused(case):
    assert code(*case.signed(case.consent(), expires=DAY + 3650)) == "consent.expires"
    assert code(*case.signed(case.consent(), expires=None)) == "consent.expires"
    assert code(*case.signed(case.consent(period=Period(TIME, None)))) == ""


def test_a_consent_that_is_over_is_refused(case):
    assert code(*case.signed(case.consent(period=Period(TIME - 10, TIME - 1)))) == "consent.expired"


def test_a_stop_hash_that_the_preimage_in_the_body_does_not_open_is_refused(case):
    assert code(*case.signed(case.consent(), stop_hash=fresh(32))) == "consent.stop"


def test_all_types_stand_alone(case):
    assert code(*case.signed(case.consent(resource_types=("*",)))) == ""
    assert code(*case.signed(case.consent(resource_types=("*", "Condition")))) == "consent.resource_types"


def test_the_first_version_creates(case):
    assert code(*case.signed(case.consent(operation="renew"))) == "consent.operation"


# Staff


def test_two_members_of_staff_can_attest_a_paper_consent(case):
    assert code(*case.attested(case.consent(), STAFF)) == ""


@pytest.mark.parametrize(
    "evidence",
    [None, {}, {"attested_by": ["doctor", "nurse"], "more": 1}],
)
def test_what_nobody_attests_is_refused(case, evidence):
    assert code(*case.attested(case.consent(), evidence)) == "consent.attested"


def test_one_or_three_members_of_staff_do_not_attest(case):
    for staff in (["doctor"], ["a", "b", "c"]):
        assert code(*case.attested(case.consent(), {"attested_by": staff})) == "consent.attested"
    assert code(*case.attested(case.consent(), {"attested_by": ["a", "a"]})) == "body.malformed content.names"


def test_a_recipient_cannot_attest_itself_a_consent_of_a_patient_who_signed_none(case):
    assert code(*case.attested(case.consent(), STAFF, creator=ANXIN)) == "consent.attested"
    assert code(*case.signed(case.consent(), creator=ANXIN)) == ""


def test_evidence_that_is_hidden_attests_nothing(case):
    body, context = case.attested(case.consent(), STAFF, own=ANXIN, role="holder")
    assert code(body.redact(body.content), context) == "consent.attested"


def test_an_assertion_of_another_form_is_malformed(case):
    for evidence in ({"assertion": {}}, {"assertion": 5}):
        assert code(*case.attested(case.consent(), evidence)).startswith("body.malformed encoding.members")


# Later versions


def renewed(case, before, pen=PHONE, **changes: object):
    after = replace(case.consent(), operation="renew", nonce=fresh(16), **changes)
    return case.signed(after, pen=pen, before=before)


@pytest.mark.parametrize(
    "changes",
    [
        {"resource_types": ("*",)},
        {"resource_types": ("Condition", "Observation", "Procedure")},
        {"custodians": (RENHE, TONGJI)},
        {"period": Period(TIME - 1000, END + 86400)},
        {"period": Period(TIME - 1000, None)},
        {"period": Period(TIME - 1001, END)},
        {"data_period": None},
        {"data_period": Period(TIME - 10**8, None)},
        {"fhir": {"resourceType": "Consent", "status": "active", "provision": {}}},
    ],
)
def test_staff_cannot_widen_what_a_patient_signed_and_the_patient_can(case, changes):
    before = case.kept_consent()
    after = replace(case.consent(), operation="renew", **changes)
    assert code(*case.attested(after, STAFF, before=before)) == "consent.widening"
    assert code(*renewed(case, before, **changes)) == ""
    assert code(*renewed(case, before, pen=THIEF, **changes)) == "signing.credential"


@pytest.mark.parametrize("changes", [{}, {"resource_types": ("Condition",)}, {"period": Period(TIME, END - 86400)}])
def test_staff_can_narrow(case, changes):
    before = case.kept_consent()
    after = replace(case.consent(), operation="renew", **changes)
    assert code(*case.attested(after, STAFF, before=before)) == ""


@pytest.mark.parametrize(
    "changes", [{"recipient": TAIPING}, {"purpose": "HMARKT"}, {"subject": b"\x01" * 32}, {"acting_for": b"\x01" * 32}]
)
def test_subject_recipient_and_purpose_never_change(case, changes):
    assert code(*renewed(case, case.kept_consent(), **changes)) == "consent.changed"


def test_a_later_version_renews(case):
    after = replace(case.consent(), operation="create")
    assert code(*case.signed(after, before=case.kept_consent())) == "consent.operation"


def test_ending_a_consent_needs_no_signature(case):
    body = build_body("consent", case.consent().to_content(), None, fresh)
    context = case.context("consent", body, status="ended", before=case.kept_consent())
    assert code(body, context) == ""


# Delegates


def delegated(case, until):
    helper = SoftwareAuthenticator(seed("helper"), RP_ID)
    signer = case.keep("subject", replace(SUBJECT, passkeys=(passkey_of(helper),)).to_content())
    patient = replace(SUBJECT, capacity=replace(ABLE, delegates=(delegate(signer.key, until=until),)))
    represented = case.keep("subject", patient.to_content())
    return helper, case.consent(subject=signer.key, acting_for=represented.key)


def test_a_delegate_signs_for_the_patient(case):
    helper, consent = delegated(case, DAY)
    assert consent.patient == consent.acting_for
    assert code(*case.signed(consent, pen=helper)) == ""


def test_a_delegate_whose_time_is_over_signs_nothing(case):
    helper, consent = delegated(case, DAY - 1)
    assert code(*case.signed(consent, pen=helper)) == "consent.delegate"


def test_who_is_no_delegate_signs_for_nobody(case):
    assert case.consent().patient == case.subject.key
    other = case.keep("subject", SUBJECT.to_content())
    assert code(*case.signed(case.consent(acting_for=other.key))) == "consent.delegate"


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"resource_types": ("Condition", "Observation")}, ""),
        ({"resource_types": ("Condition",)}, "consent.delegate"),
        ({"may": ("consent",)}, ""),
        ({"may": ("read", "stop")}, "consent.delegate"),
        ({"role": "proxy"}, ""),
        ({"role": "guardian", "delegation": None}, "consent.delegate"),
    ],
)
def test_a_delegate_permits_within_its_limits(case, limits, found):
    helper = Person(case, "helper")
    patient = Person(case, "patient", capacity=able(delegates=(replace(delegate(helper.key), **limits),)))
    consent = case.consent(subject=helper.key, acting_for=patient.key)
    assert code(*case.signed(consent, pen=helper.pen)) == found


def test_patient_and_delegate_do_not_sign_in_one(case):
    helper = Person(case, "helper")
    patient = Person(case, "patient", capacity=able(delegates=(delegate(helper.key),)))
    for consent in (
        case.consent(subject=patient.key, acting_for=patient.key),
        case.consent(subject=patient.key, joined=(helper.key,)),
        case.consent(subject=helper.key, acting_for=patient.key, joined=(patient.key,)),
    ):
        pens = [{patient.key: patient.pen, helper.key: helper.pen}[key] for key in consent.signers]
        assert code(*case.signed(consent, pen=pens)) == "consent.delegate"


# Guardians, and those who cannot decide


def family(case, **changes: object):
    mother, father = Person(case, "mother"), Person(case, "father")
    rows = (delegate(mother.key, "guardian"), delegate(father.key, "guardian"))
    values = {"delegates": rows, "of_age": DAY + 3} | changes
    child = Person(case, "child", passkeys=(), capacity=able(**values))
    return child, mother, father


def test_a_guardians_signature_counts_until_the_hand_over(case):
    for of_age, found in ((DAY + 1, ""), (DAY, "consent.delegate"), (DAY - 1, "consent.delegate")):
        child, mother, _ = family(case, of_age=of_age)
        consent = case.consent(subject=mother.key, acting_for=child.key)
        assert code(*case.signed(consent, pen=mother.pen)) == found


def test_guardians_who_disagree_permit_together_only(case):
    child, mother, father = family(case, disputed=True)
    alone = case.consent(subject=mother.key, acting_for=child.key)
    assert code(*case.signed(alone, pen=mother.pen)) == "consent.guardians"
    both = replace(alone, joined=(father.key,))
    assert code(*case.signed(both, pen=[mother.pen, father.pen])) == ""
    assert code(*case.signed(both, pen=[mother.pen, THIEF])) == "signing.credential"
    assert code(*case.attested(both, STAFF)) == "consent.guardians"


@pytest.mark.parametrize(("age_s", "found"), [(3 * 86400, ""), (3 * 86400 + 1, "consent.stale")])
def test_several_who_sign_have_three_days(case, age_s, found):
    child, mother, father = family(case)
    both = case.consent(subject=mother.key, acting_for=child.key, joined=(father.key,), signed_at=TIME - age_s)
    assert code(*case.signed(both, pen=[mother.pen, father.pen])) == found


def test_guardians_who_disagree_narrow_alone(case):
    child, mother, father = family(case, disputed=True)
    both = case.consent(subject=mother.key, acting_for=child.key, joined=(father.key,))
    before = case.kept_consent(both)
    for parent in (mother, father):
        given = withdrawal(case, pen=parent.pen, before=before, signer=parent.key, acting_for=child.key)
        assert code(*given, check_withdrawal) == ""
    narrower = replace(both, joined=(), operation="renew", resource_types=("Condition",))
    assert code(*case.signed(narrower, pen=mother.pen, before=before)) == ""
    assert code(*case.attested(narrower, STAFF, before=before)) == ""


HIDING = {"resourceType": "Consent", "status": "active", "provision": {"type": "deny"}}


@pytest.fixture
def hiding(case):
    """A hiding of the child's, as one of its guardians who disagree signs it."""
    case.decision.hidden = HIDING
    child, mother, father = family(case, disputed=True)
    return case.consent(subject=mother.key, acting_for=child.key, fhir=HIDING), child, mother, father


def test_guardians_who_disagree_hide_alone(case, hiding):
    hides, _, mother, father = hiding
    assert code(*case.signed(hides, pen=mother.pen)) == ""
    assert code(*case.signed(replace(hides, subject=father.key), pen=father.pen)) == ""
    # The case beside it: the same terms, which permit something.
    case.decision.hidden = None
    assert code(*case.signed(hides, pen=mother.pen)) == "consent.guardians"


def test_attack_a_hiding_is_not_turned_into_something_else_by_one_of_the_guardians(case, hiding):
    hides, _, mother, _ = hiding
    before = case.kept_consent(hides)
    other = replace(hides, operation="renew", fhir={"resourceType": "Consent", "status": "active"})
    assert code(*case.signed(other, pen=mother.pen, before=before)) == "consent.guardians"
    other = replace(other, fhir=HIDING, resource_types=("Condition", "Encounter", "Observation"))
    assert code(*case.signed(other, pen=mother.pen, before=before)) == "consent.guardians"


def test_attack_a_hiding_is_not_cut_short_by_one_of_the_guardians_nor_by_the_staff(case, hiding):
    """A shorter period gives less where something is permitted; of a hiding it opens all the sooner."""
    hides, _, mother, father = hiding
    before = case.kept_consent(hides)
    shorter = replace(hides, operation="renew", period=Period(hides.period.start, TIME + 60))
    assert code(*case.signed(shorter, pen=mother.pen, before=before)) == "consent.guardians"
    assert code(*case.attested(shorter, STAFF, before=before)) == "consent.guardians"
    both = replace(shorter, joined=(father.key,))
    assert code(*case.signed(both, pen=[mother.pen, father.pen], before=before)) == ""
    # The case beside it: the same terms, which permit something.
    case.decision.hidden = None
    assert code(*case.signed(shorter, pen=mother.pen, before=before)) == ""


def test_attack_the_staff_does_not_cut_short_what_a_patient_hides(case):
    case.decision.hidden = HIDING
    hides = case.consent(fhir=HIDING)
    before = case.kept_consent(hides)
    shorter = replace(hides, operation="renew", period=Period(hides.period.start, TIME + 60))
    assert code(*case.attested(shorter, STAFF, before=before)) == "consent.widening"
    assert code(*case.signed(shorter, before=before)) == ""


def test_attack_one_of_the_guardians_who_disagree_does_not_release_what_the_other_hides(case, hiding):
    hides, child, mother, father = hiding
    before = case.kept_consent(hides)
    for parent in (mother, father):
        given = withdrawal(case, pen=parent.pen, before=before, signer=parent.key, acting_for=child.key)
        assert code(*given, check_withdrawal) == "consent.guardians"


def test_guardians_who_agree_release_alone(case):
    case.decision.hidden = HIDING
    child, mother, father = family(case)
    before = case.kept_consent(case.consent(subject=mother.key, acting_for=child.key, fhir=HIDING))
    given = withdrawal(case, pen=father.pen, before=before, signer=father.key, acting_for=child.key)
    assert code(*given, check_withdrawal) == ""


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({}, ""),
        ({"may": ("stop",)}, "consent.delegate"),
        ({"resource_types": ("Condition",)}, "consent.delegate"),
        # What refers to a hidden record is of other types than the record.
        ({"resource_types": ("Condition", "Encounter", "Observation")}, "consent.delegate"),
    ],
)
def test_attack_who_may_only_stop_releases_nothing_that_is_hidden(case, limits, found):
    case.decision.hidden = HIDING
    helper = Person(case, "helper")
    patient = Person(case, "patient", capacity=able(delegates=(replace(delegate(helper.key), **limits),)))
    before = case.kept_consent(case.consent(subject=patient.key, fhir=HIDING))
    given = withdrawal(case, pen=helper.pen, before=before, signer=helper.key, acting_for=patient.key)
    assert code(*given, check_withdrawal) == found
    # A permission it ends as ever.
    case.decision.hidden = None
    assert code(*given, check_withdrawal) == ("" if "stop" in limits.get("may", ("stop",)) else found)


def test_attack_who_is_limited_to_types_does_not_cut_short_what_it_hid(case):
    case.decision.hidden = HIDING
    helper = Person(case, "helper")
    limited = replace(delegate(helper.key), resource_types=("Condition", "Observation"))
    patient = Person(case, "patient", capacity=able(delegates=(limited,)))
    hides = case.consent(subject=helper.key, acting_for=patient.key, fhir=HIDING)
    assert code(*case.signed(hides, pen=helper.pen)) == ""
    before = case.kept_consent(hides)
    shorter = replace(hides, operation="renew", period=Period(hides.period.start, TIME + 60))
    assert code(*case.signed(shorter, pen=helper.pen, before=before)) == "consent.delegate"


def test_who_signs_may_change_between_guardians_but_not_between_people(case):
    child, mother, father = family(case)
    before = case.kept_consent(case.consent(subject=mother.key, acting_for=child.key))
    after = case.consent(subject=father.key, acting_for=child.key, operation="renew", nonce=fresh(16))
    assert code(*case.signed(after, pen=father.pen, before=before)) == "consent.changed"


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"standing": Standing("dead", "certificate", TIME)}, "consent.dead"),
        ({"standing": Standing("incapable", "court-order", TIME)}, "consent.incapable"),
        ({"of_age": DAY + 1}, "consent.minor"),
        ({"of_age": DAY}, ""),
    ],
)
def test_the_passkey_of_who_is_dead_incapable_or_a_minor_permits_nothing(case, state, found):
    person = Person(case, "phone", capacity=able(**state))
    assert code(*case.signed(case.consent(subject=person.key))) == found
    assert code(*case.attested(case.consent(subject=person.key), STAFF)) == found


@pytest.mark.parametrize(("state", "found"), [("dead", "consent.dead"), ("incapable", "")])
def test_a_dead_persons_passkey_takes_nothing_back(case, state, found):
    person = Person(case, "phone", capacity=able(standing=Standing(state, "certificate", TIME)))
    before = case.kept_consent(case.consent(subject=person.key))
    assert code(*withdrawal(case, before=before, signer=person.key), check_withdrawal) == found


def test_a_signature_and_an_attestation_are_not_mixed(case):
    assert code(*case.signed(case.consent(), attested_by=("doctor", "nurse"))) == "consent.attested"


# Withdrawal


def withdrawal(case, pen=PHONE, before=None, **changes: object):
    kept = before or case.kept_consent()
    subject = changes.pop("signer", case.subject.key)
    acting_for = changes.pop("acting_for", None)
    content = {
        "nonce": "07" * 16,
        "object": kept.key.hex(),
        "operation": "withdraw",
        "subject": subject.hex(),
    } | changes
    what = signing.Signed("consent/withdraw", subject, acting_for, b"\x07" * 16)
    return case.sign_body(build_body("consent", content, None, fresh), what, pen, ORIGIN, before=kept)


def test_a_withdrawal_is_signed_by_the_patient(case):
    assert code(*withdrawal(case), check_withdrawal) == ""
    assert code(*withdrawal(case, pen=THIEF), check_withdrawal) == "signing.credential"


def test_a_withdrawal_of_something_else_is_none(case):
    assert code(*withdrawal(case, object="00" * 32), check_withdrawal) == "consent.withdrawal"
    assert code(*withdrawal(case, operation="create"), check_withdrawal) == "consent.withdrawal"
    assert code(*withdrawal(case, subject="00" * 32), check_withdrawal) == "consent.delegate"
    body, context = withdrawal(case)
    assert code(body, replace(context, previous=None), check_withdrawal) == "consent.withdrawal"


def wished(case, evidence, before=None, **changes: object):
    """A withdrawal that no passkey signs."""
    body, context = withdrawal(case, before=before, **changes)
    return build_body("consent", body.content, evidence, fresh), context


def test_two_of_the_staff_attest_that_the_patient_withdraws(case):
    assert code(*wished(case, {"attested_by": ["doctor", "nurse"]}), check_withdrawal) == ""


@pytest.mark.parametrize("evidence", [None, {}, {"attested_by": ["doctor"]}, {"attested_by": ["a", "b", "c"]}])
def test_attack_a_withdrawal_that_nobody_or_one_alone_attests_is_no_patients(case, evidence):
    assert code(*wished(case, evidence), check_withdrawal) == "consent.withdrawal"


def test_an_attested_withdrawal_is_that_of_the_patient_or_of_who_may_stop_for_it(case):
    attested = {"attested_by": ["doctor", "nurse"]}
    helper, consent = delegated(case, DAY)
    assert helper is not None
    before = case.kept_consent(consent)
    for signer in (consent.patient, consent.subject):
        assert code(*wished(case, attested, before=before, signer=signer), check_withdrawal) == ""
    assert code(*wished(case, attested, subject="00" * 32), check_withdrawal) == "consent.delegate"
    person = Person(case, "phone", capacity=able(standing=Standing("dead", "certificate", TIME)))
    before = case.kept_consent(case.consent(subject=person.key))
    assert code(*wished(case, attested, before=before, signer=person.key), check_withdrawal) == "consent.dead"


def test_patient_and_delegate_can_each_withdraw_what_the_delegate_signed(case):
    helper, consent = delegated(case, DAY)
    before = case.kept_consent(consent)
    by_patient = withdrawal(case, before=before, signer=consent.patient)
    by_helper = withdrawal(case, pen=helper, before=before, signer=consent.subject, acting_for=consent.patient)
    assert code(*by_patient, check_withdrawal) == ""
    assert code(*by_helper, check_withdrawal) == ""


@pytest.mark.parametrize("limits", [{"until": DAY - 1}, {"may": ("consent", "read")}])
def test_a_delegate_whose_time_or_limits_are_over_takes_nothing_back(case, limits):
    helper = Person(case, "helper")
    patient = Person(case, "patient", capacity=able(delegates=(replace(delegate(helper.key), **limits),)))
    before = case.kept_consent(case.consent(subject=helper.key, acting_for=patient.key))
    given = withdrawal(case, pen=helper.pen, before=before, signer=helper.key, acting_for=patient.key)
    assert code(*given, check_withdrawal) == "consent.delegate"


# Form


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("subject", "00", "encoding.hex"),
        ("acting_for", "", "encoding.hex"),
        ("custodians", [], "content.names"),
        ("custodians", [TONGJI, RENHE], "content.names"),
        ("custodians", [5], "content.text"),
        ("recipient", "", "content.text"),
        ("purpose", "x" * 201, "content.text"),
        ("resource_types", "*", "content.names"),
        ("period", {"start": 5}, "content.period"),
        ("period", {"start": 5, "end": 4}, "content.period"),
        ("period", {"start": -1, "end": None}, "content.period"),
        ("period", {"start": True, "end": None}, "content.period"),
        ("period", {"start": 1, "end": "2"}, "content.period"),
        ("period", None, "content.period"),
        ("data_period", [], "content.period"),
        ("fhir", {"resourceType": "Patient"}, "consent.fhir"),
        ("fhir", [], "consent.fhir"),
        ("operation", None, "content.text"),
        ("nonce", "00", "encoding.hex"),
        ("joined", None, "consent.joined"),
        ("joined", ["00" * 32] * 2, "consent.joined"),
        ("joined", ["01" * 32, "00" * 32], "consent.joined"),
        ("joined", [f"{n:064x}" for n in range(16)], "consent.joined"),
        ("joined", [""], "encoding.hex"),
        ("stop", None, "encoding.hex"),
        ("more", 1, "content.fields"),
    ],
)
def test_a_content_of_another_form_is_malformed(case, member, value, reason):
    body = build_body("consent", case.consent().to_content() | {member: value}, STAFF, fresh)
    assert code(body, case.context("consent", body)) == f"body.malformed {reason}"


def test_one_who_signs_twice_is_one(case):
    content = case.consent().to_content()
    body = build_body("consent", content | {"joined": [content["subject"]]}, STAFF, fresh)
    assert code(body, case.context("consent", body)) == "body.malformed consent.joined"


def test_a_passkey_may_be_of_ed25519(case):

    pen = SoftwareAuthenticator(seed("ed"), RP_ID, PasskeyAlgorithm.ED25519)
    row = passkey(pen.credential_id, encode_credential_key(pen.credential), TIME)
    signer = case.keep("subject", replace(SUBJECT, passkeys=(row,)).to_content())
    assert code(*case.signed(case.consent(subject=signer.key), pen=pen)) == ""
