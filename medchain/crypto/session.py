"""A key that two organisations agree on for a while, and codes under it in the place of signatures.

Keeps true: a key is bound to the context that both sides give; a share of small order is refused, since whoever sends
one knows the key without having agreed on it; codes are compared in constant time. Trusts libsodium, and the caller for
a context that names both sides and both shares.
Source: RFC 7748 §5 and §6.1, RFC 5869, RFC 2104.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.utils import random

from medchain.crypto.keywrap import SecretBytes
from medchain.errors import InputError, VerificationError

SHARE_BYTES: Final = 32
"""Size of a share: an X25519 public key."""

CODE_BYTES: Final = 32
"""Size of a code: HMAC-SHA-256."""


class Share(NamedTuple):
    """One side's part of an agreement, used once: what it keeps, and what the other side gets."""

    secret: SecretBytes
    public: bytes


def new_share() -> Share:
    """Draw a share."""
    secret = SecretBytes(random(SHARE_BYTES))
    return Share(secret, bindings.crypto_scalarmult_base(secret))


def agreed_key(share: Share, theirs: bytes, context: bytes) -> SecretBytes:
    """Compute the key that both sides have: HKDF-SHA-256 of the X25519 secret, without salt.

    Args:
        share: our own.
        theirs: the other side's, 32 bytes.
        context: the information string, the same on both sides.

    Returns:
        32 bytes.

    Raises:
        InputError: ``session.share`` for a share of another size.
        VerificationError: ``session.share`` for one of small order.
    """
    if len(theirs) != SHARE_BYTES:
        raise InputError("session.share", size=len(theirs))
    try:
        secret = bindings.crypto_scalarmult(share.secret, theirs)
    except (CryptoError, RuntimeError) as error:
        raise VerificationError("session.share") from error
    return SecretBytes(HKDF(SHA256(), CODE_BYTES, None, context).derive(secret))


def code_of(key: bytes, message: bytes) -> bytes:
    """Return the code of a message: HMAC-SHA-256."""
    return hmac.digest(key, message, "sha256")


def is_code(key: bytes, message: bytes, code: bytes) -> bool:
    """Tell whether a code is that of a message."""
    return hmac.compare_digest(code_of(key, message), code)
