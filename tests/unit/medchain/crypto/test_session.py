"""Agreed keys and codes: against the RFCs' vectors, and shares that must not be agreed on."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from medchain.crypto.keywrap import SecretBytes
from medchain.crypto.session import CODE_BYTES, Share, agreed_key, code_of, is_code, new_share
from medchain.errors import InputError, VerificationError

# RFC 8037 A.6, which is RFC 7748 §6.1.
SECRET = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
THEIRS = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
AGREED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
OWN = Share(SecretBytes(SECRET), PUBLIC)
# RFC 7748 §6.1: points of small order give a secret that anybody knows.
SMALL = (
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)


def hkdf(secret: bytes, context: bytes) -> bytes:
    """Do RFC 5869 without salt, for one block, by hand."""
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, context + b"\1", hashlib.sha256).digest()


def test_the_key_is_hkdf_of_the_secret_of_the_rfc():
    assert agreed_key(OWN, THEIRS, b"context") == hkdf(AGREED, b"context")


def test_both_sides_have_the_same_key_and_no_two_agreements_do():
    one, other = new_share(), new_share()
    key = agreed_key(one, other.public, b"x")
    assert key == agreed_key(other, one.public, b"x")
    assert key != agreed_key(new_share(), other.public, b"x")
    assert key != agreed_key(one, other.public, b"y")
    assert repr(key) == "SecretBytes(32 bytes)"


@pytest.mark.parametrize("theirs", SMALL)
def test_a_share_of_small_order_is_refused(theirs):
    with pytest.raises(VerificationError) as caught:
        agreed_key(OWN, theirs, b"")
    assert caught.value.code == "session.share"


@pytest.mark.parametrize("theirs", [b"", THEIRS[:31], THEIRS + b"\0"])
def test_a_share_of_another_size_is_refused(theirs):
    with pytest.raises(InputError):
        agreed_key(OWN, theirs, b"")


def test_a_code_is_hmac_sha_256():
    # RFC 4231, test case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert code_of(b"Jefe", b"what do ya want for nothing?").hex() == expected


def test_a_code_counts_for_its_key_and_message_only():
    code = code_of(bytes(32), b"message")
    assert len(code) == CODE_BYTES
    assert is_code(bytes(32), b"message", code)
    assert not is_code(b"\1" * 32, b"message", code)
    assert not is_code(bytes(32), b"messagf", code)
    assert not is_code(bytes(32), b"message", code[:-1])
