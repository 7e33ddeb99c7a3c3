"""The software authenticator: stable from its seed, and found in no product code but the demonstration's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from medchain.crypto.assertion import AssertionRequest, PasskeyAlgorithm, check_assertion
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.errors import InputError, VerificationError

ROOT = Path(__file__).resolve().parents[4]
SEED = bytes(range(32))
ORIGIN = "http://localhost:41000"


@pytest.mark.parametrize("algorithm", list(PasskeyAlgorithm))
def test_the_same_seed_gives_the_same_passkey_and_signature(algorithm):
    one, two = (SoftwareAuthenticator(SEED, "localhost", algorithm) for _ in range(2))
    assert (one.credential_id, one.credential) == (two.credential_id, two.credential)
    assert one.sign(b"challenge", ORIGIN) == two.sign(b"challenge", ORIGIN)


def test_another_seed_relying_party_or_algorithm_gives_another_passkey():
    passkeys = [
        SoftwareAuthenticator(SEED, "localhost"),
        SoftwareAuthenticator(SEED[::-1], "localhost"),
        SoftwareAuthenticator(SEED, "consortium.example"),
        SoftwareAuthenticator(SEED, "localhost", PasskeyAlgorithm.ED25519),
    ]
    assert len({passkey.credential_id for passkey in passkeys}) == 4
    assert len({passkey.credential.public for passkey in passkeys}) == 4


def test_it_can_lack_presence_or_verification():
    passkey = SoftwareAuthenticator(SEED, "localhost")
    request = AssertionRequest(b"challenge", "localhost", frozenset({ORIGIN}))
    for lacking, code in (("user_present", "assertion.user_present"), ("user_verified", "assertion.user_verified")):
        made = passkey.sign(b"challenge", ORIGIN, **{lacking: False})
        with pytest.raises(VerificationError) as caught:
            check_assertion(request, passkey.credential, made.client_data_json, made.authenticator_data, made.signature)
        assert caught.value.code == code


def test_client_data_has_the_members_in_the_order_of_the_specification():
    made = SoftwareAuthenticator(SEED, "localhost").sign(b"\xff\xfe", ORIGIN)
    # WebAuthn Level 3 §5.8.1.1: type, challenge, origin, crossOrigin, without white space.
    assert made.client_data_json == (
        b'{"type":"webauthn.get","challenge":"__4","origin":"http://localhost:41000","crossOrigin":false}'
    )
    assert list(json.loads(made.client_data_json)) == ["type", "challenge", "origin", "crossOrigin"]


def test_a_passkey_does_not_show_itself_and_needs_a_whole_seed():
    passkey = SoftwareAuthenticator(SEED, "localhost")
    assert repr(passkey) == f"SoftwareAuthenticator(credential_id={passkey.credential_id.hex()})"
    with pytest.raises(InputError) as caught:
        SoftwareAuthenticator(SEED[1:], "localhost")
    assert caught.value.code == "keys.size"


def test_no_product_code_but_the_demonstration_imports_it():
    importing = re.compile(r"^\s*(?:from|import) medchain\.crypto(?:\.| import .*)authenticator", re.MULTILINE)
    files = [path for name in ("medchain", "consent", "fhir_bridge") for path in sorted((ROOT / name).rglob("*.py"))]
    found = [path.relative_to(ROOT).as_posix() for path in files if importing.search(path.read_text(encoding="utf-8"))]
    assert ROOT / "medchain" / "crypto" / "authenticator.py" in files
    assert [path for path in found if "demo" not in path] == []
