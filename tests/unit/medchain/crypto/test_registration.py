"""The WebAuthn registration check: each lie is refused by its own code."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

import pytest

from medchain.crypto.assertion import AssertionRequest, PasskeyAlgorithm, encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.crypto.registration import check_registration
from medchain.errors import InputError, VerificationError

ORIGIN = "https://fhir.renhe.example"
CHALLENGE = b"begun here"
REQUEST = AssertionRequest(CHALLENGE, "fhir.renhe.example", frozenset({ORIGIN}))
PASSKEY = SoftwareAuthenticator(bytes(32), "fhir.renhe.example")
UP, UV, AT, ED = 0x01, 0x04, 0x40, 0x80


def client(**changes: object) -> bytes:
    challenge = base64.urlsafe_b64encode(CHALLENGE).rstrip(b"=").decode()
    data = {"type": "webauthn.create", "challenge": challenge, "origin": ORIGIN, "crossOrigin": False, **changes}
    return json.dumps(data).encode()


def made(
    passkey: SoftwareAuthenticator = PASSKEY,
    flags: int = UP | UV | AT,
    *,
    credential_id: bytes | None = None,
    size: int | None = None,
    key: bytes | None = None,
    rest: bytes = b"",
    rp_id: str = "fhir.renhe.example",
) -> bytes:
    name = passkey.credential_id if credential_id is None else credential_id
    cose = encode_credential_key(passkey.credential) if key is None else key
    length = (len(name) if size is None else size).to_bytes(2, "big")
    return sha256(rp_id.encode()).digest() + bytes((flags,)) + bytes(4) + bytes(16) + length + name + cose + rest


@pytest.mark.parametrize("algorithm", list(PasskeyAlgorithm))
@pytest.mark.parametrize("rest", [b"", b"\xa1\x6bcredProtect\x02"])
def test_a_new_passkey_is_read_with_either_algorithm_and_with_extensions(algorithm, rest):
    passkey = SoftwareAuthenticator(bytes(32), "fhir.renhe.example", algorithm)
    found = check_registration(REQUEST, client(), made(passkey, UP | UV | AT | (ED if rest else 0), rest=rest))
    assert (found.credential_id, found.key) == (passkey.credential_id, passkey.credential)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "webauthn.get"}, "assertion.type"),
        ({"challenge": "AAAA"}, "assertion.challenge"),
        ({"origin": "https://evil.example"}, "assertion.origin"),
        ({"crossOrigin": True}, "assertion.cross_origin"),
        ({"topOrigin": ORIGIN}, "assertion.top_origin"),
    ],
)
def test_what_the_browser_says_must_be_what_was_asked(changes, code):
    with pytest.raises(VerificationError) as caught:
        check_registration(REQUEST, client(**changes), made())
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (made(rp_id="evil.example"), "assertion.rp_id"),
        (made(flags=UV | AT), "assertion.user_present"),
        (made(flags=UP | AT), "assertion.user_verified"),
        (made(flags=UP | UV), "registration.authenticator_data"),
        (made()[:54], "registration.authenticator_data"),
        (made(credential_id=b""), "registration.authenticator_data"),
        (made(size=1024), "registration.authenticator_data"),
        (made(credential_id=b"c" * 1024), "registration.authenticator_data"),
        (made(rest=bytes(5000)), "registration.authenticator_data"),
    ],
)
def test_what_the_authenticator_says_must_hold(data, code):
    with pytest.raises(VerificationError) as caught:
        check_registration(REQUEST, client(), data)
    assert caught.value.code == code


@pytest.mark.parametrize("key", [b"", bytes(77), encode_credential_key(PASSKEY.credential)[:-1]])
def test_a_key_of_another_kind_is_refused(key):
    with pytest.raises(InputError, match=r"assertion\.credential_key"):
        check_registration(REQUEST, client(), made(key=key))
