"""The check of a subject: who may enrol a person and who may change the passkeys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.encoding import base64_text
from medchain.errors import InputError
from medchain.ledger.kinds import signing
from medchain.ledger.kinds.subject import Delegate, read, read_passkeys
from medchain.ledger.object import build_body
from tests.unit.medchain.ledger.kinds.case import (
    ORIGIN,
    PHONE,
    SUBJECT,
    THIEF,
    ConsentCase,
    code,
    malformed,
    passkey_of,
)
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, TIME, TONGJI, fresh


@pytest.fixture
def case():
    return ConsentCase()


def enrol(case, subject=SUBJECT, evidence=None, **changes: object):
    body = build_body("subject", subject.to_content(), evidence, fresh)
    return body, case.context("subject", body, **changes)


def signed_update(case, subject, pen=PHONE, **changes: object):
    draft = build_body("subject", subject.to_content(), None, fresh)
    what = signing.Signed("subject/update", case.subject.key, None, subject.nonce)
    return case.sign_body(draft, what, pen, ORIGIN, before=case.subject, **changes)


def test_a_content_comes_back_as_it_went():
    subject = replace(SUBJECT, delegates=(Delegate(b"\x01" * 32, 5),))
    assert read(subject.to_content()) == subject


def test_a_person_is_enrolled_by_one_organisation_and_endorsed_by_another(case):
    assert code(*enrol(case)) == ""


def test_an_endorser_that_is_a_custodian_is_not_independent(case):
    assert code(*enrol(case, own=TONGJI, endorser=TONGJI)) == "subject.party"


def test_nobody_enrols_in_anothers_name(case):
    assert code(*enrol(case, replace(SUBJECT, enroller=TONGJI))) == "subject.enroller"


def test_an_endorser_sees_the_whole_body(case):
    body, context = enrol(case)
    assert code(body.redact(["passkeys"]), context) == "subject.not_full"


@pytest.mark.parametrize(
    "change", [{"verified": TIME + 61}, {"passkeys": (replace(passkey_of(PHONE), since=TIME + 61),)}]
)
def test_a_passkey_of_the_future_is_refused(case, change):
    assert code(*enrol(case, replace(SUBJECT, **change))) == "subject.time"


def test_custodians_change_without_a_signature(case):
    assert code(*enrol(case, replace(SUBJECT, custodians=(RENHE,)), before=case.subject)) == ""


def with_second_passkey():
    return replace(SUBJECT, passkeys=(passkey_of(PHONE), passkey_of(THIEF)), nonce=fresh(16))


@pytest.mark.parametrize("change", [{"passkeys": (passkey_of(THIEF),)}, {"delegates": (Delegate(b"\x01" * 32, 5),)}])
def test_the_enroller_cannot_put_in_a_passkey_or_delegate_of_its_own(case, change):
    assert code(*enrol(case, replace(SUBJECT, **change), before=case.subject)) == "subject.unsigned"


def test_an_existing_passkey_lets_another_in(case):
    assert code(*signed_update(case, with_second_passkey())) == ""


def test_a_new_passkey_does_not_let_itself_in(case):
    assert code(*signed_update(case, with_second_passkey(), pen=THIEF)) == "signing.credential"


def test_the_enroller_never_changes(case):
    assert code(*signed_update(case, with_second_passkey(), creator=RENHE)) == ""
    moved = replace(SUBJECT, enroller=TONGJI)
    assert code(*enrol(case, moved, before=case.subject, creator=TONGJI)) == "subject.enroller"


def test_ending_a_subject_needs_no_passkey(case):
    gone = replace(SUBJECT, passkeys=(passkey_of(THIEF),))
    assert code(*enrol(case, gone, before=case.subject, status="ended")) == ""


def test_a_custodian_sees_the_passkeys_of_a_redacted_body(case):
    body, _ = enrol(case)
    assert read_passkeys(body.redact(["passkeys"]).content) == SUBJECT.passkeys
    with pytest.raises(InputError, match=r"subject\.passkeys"):
        read_passkeys(body.redact([]).content)


ROW = SUBJECT.to_content()["passkeys"][0]


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("passkeys", [], "subject.passkeys"),
        ("passkeys", [ROW, ROW], "subject.passkeys"),
        ("passkeys", [ROW] * 17, "subject.passkeys"),
        ("passkeys", [ROW | {"alg": "ed25519"}], "subject.passkeys"),
        ("passkeys", [ROW | {"credential_id": ""}], "subject.passkeys"),
        ("passkeys", [ROW | {"credential_id": base64_text(bytes(1024))}], "subject.passkeys"),
        ("passkeys", [ROW | {"public_key": ""}], "assertion.credential_key"),
        ("passkeys", [ROW | {"since": -1}], "content.number"),
        ("passkeys", [ROW | {"since": "1"}], "encoding.members"),
        ("delegates", None, "subject.delegates"),
        ("delegates", [{"subject": "00" * 32, "until": 1}] * 17, "subject.delegates"),
        ("delegates", [5], "encoding.members"),
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
