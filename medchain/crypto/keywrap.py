"""Keys under keys: derivation from the root key, and wrapping of epoch and data keys.

A node's root key wraps one epoch key a patient, an epoch key wraps the data keys of that patient's records; destroying
an epoch key shreds them. Keeps true: a wrapped key opens only under the key that wrapped it (key commitment) and for
the purpose and the ids it was wrapped for; a wrong key, a wrong context and a changed byte are not told apart. Trusts
libsodium and OpenSSL, and the caller for keeping keys to itself.
Source: RFC 5869; draft-irtf-cfrg-xchacha-03; FIPS 186-5 A.2.1; `docs/spec/keys.md`.
"""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from nacl.utils import random

from medchain.crypto.suite import SUITE_1
from medchain.crypto.xchacha import NONCE_BYTES, TAG_BYTES, seal, unseal
from medchain.encoding import digest
from medchain.errors import InputError, VerificationError

KEY_BYTES: Final = 32
"""Size of every symmetric key, seed and root."""

COMMITMENT_BYTES: Final = 32
"""Size of a key commitment."""

WRAPPED_BYTES: Final = 1 + NONCE_BYTES + COMMITMENT_BYTES + KEY_BYTES + TAG_BYTES
"""Size of a wrapped key: suite, nonce, key commitment, ciphertext with tag."""

_NO_SALT: Final = bytes(32)
_FIRST_BLOCK: Final = b"\1"
_HEADER_BYTES: Final = WRAPPED_BYTES - KEY_BYTES - TAG_BYTES


class Purpose(StrEnum):
    """What a wrapped key is for; the domain tag of its additional data."""

    EPOCH = "medchain/wrap/epoch/v1"
    """A patient's epoch key, or a node's private key, under the root key's derivations."""
    DATA = "medchain/wrap/data/v1"
    """A record version's data key under an epoch key."""
    RELEASE = "medchain/wrap/release/v1"
    """A data key in a response to another organisation."""
    PRIVATE = "medchain/wrap/private/v1"
    """The seed of one of the node's own private keys."""


class SecretBytes(bytes):
    """Bytes that do not show themselves in logs, tracebacks and debuggers. Slices and sums are plain bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Tell the size only."""
        return f"SecretBytes({len(self)} bytes)"

    __str__ = __repr__


def random_key() -> SecretBytes:
    """Draw a 32-byte key from the system's random source."""
    return SecretBytes(random(KEY_BYTES))


def derive(root: bytes, purpose: str) -> SecretBytes:
    """Derive a key for one purpose: HKDF-SHA256 without salt, info ``medchain/derive/v1 PURPOSE``.

    Args:
        root: 32 secret bytes.
        purpose: ASCII; equal purposes give equal keys, others unrelated ones.

    Returns:
        32 bytes.

    Raises:
        InputError: ``keys.size`` for a root of another size.
    """
    _check_key(root)
    return SecretBytes(_first_block(_extracted(root), b"medchain/derive/v1 " + purpose.encode("ascii")))


def derive_scalar(seed: bytes, purpose: str, order: int) -> int:
    """Derive a private scalar of an elliptic curve from a seed, with 64 bits more than the order so that no bias shows.

    Args:
        seed: 32 secret bytes.
        purpose: ASCII, as in `derive`.
        order: the order n of the group.

    Returns:
        A number from 1 to n - 1 (FIPS 186-5 A.2.1).

    Raises:
        InputError: ``keys.size`` for a seed of another size.
    """
    size = (order.bit_length() + 64 + 7) // 8
    wide = HKDFExpand(SHA256(), size, b"medchain/scalar/v1").derive(derive(seed, purpose))
    return int.from_bytes(wide, "big") % (order - 1) + 1


def committing_keys(key: bytes, commit_info: bytes, encrypt_info: bytes) -> tuple[bytes, SecretBytes]:
    """Split a key into a public commitment to it and the key that encrypts, so that neither tells of the other.

    XChaCha20-Poly1305 does not commit to its key: one ciphertext can be made to open under two keys to two texts.

    Args:
        key: 32 secret bytes.
        commit_info: HKDF info of the commitment.
        encrypt_info: HKDF info of the encryption key.

    Returns:
        Commitment and encryption key, 32 bytes each (RFC 5869 without salt).

    Raises:
        InputError: ``keys.size`` for a key of another size.
    """
    _check_key(key)
    prk = _extracted(key)
    return _first_block(prk, commit_info), SecretBytes(_first_block(prk, encrypt_info))


def wrap_aad(purpose: Purpose, *ids: bytes) -> bytes:
    """Bind a wrapped key to its purpose and to the ids of what it belongs to; returns 32 bytes."""
    return digest(purpose, *ids)


class WrappingKey:
    """A key that wraps keys, split once: who wraps many does one AEAD each."""

    __slots__ = ("_commitment", "_key")

    def __init__(self, key: bytes) -> None:
        """Split the key.

        Args:
            key: 32 secret bytes.

        Raises:
            InputError: ``keys.size`` for another size.
        """
        self._commitment, self._key = committing_keys(key, b"medchain/wrap/commit/v1", b"medchain/wrap/encrypt/v1")

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "WrappingKey(secret)"

    def wrap(self, key: bytes, aad: bytes) -> bytes:
        """Wrap a key.

        Args:
            key: 32 secret bytes.
            aad: what the key is for, made by `wrap_aad`.

        Returns:
            `WRAPPED_BYTES` bytes: suite ‖ nonce ‖ key commitment ‖ ciphertext.

        Raises:
            InputError: ``keys.size``.
        """
        _check_key(key)
        nonce = random(NONCE_BYTES)
        header = bytes((SUITE_1.number,)) + nonce + self._commitment
        # The header is of fixed size, so header ‖ aad has one reading.
        return header + seal(self._key, nonce, header + aad, key)

    def unwrap(self, wrapped: bytes, aad: bytes) -> SecretBytes:
        """Open a wrapped key.

        Args:
            wrapped: what `wrap` returned.
            aad: the same as then.

        Returns:
            32 bytes.

        Raises:
            VerificationError: ``keys.unwrap`` for a wrong key, wrong context or changed bytes, all alike.
        """
        if len(wrapped) != WRAPPED_BYTES or wrapped[0] != SUITE_1.number:
            raise VerificationError("keys.unwrap")
        header = wrapped[:_HEADER_BYTES]
        if not hmac.compare_digest(header[1 + NONCE_BYTES :], self._commitment):
            raise VerificationError("keys.unwrap")
        key = unseal(self._key, header[1 : 1 + NONCE_BYTES], header + aad, wrapped[_HEADER_BYTES:])
        if key is None:
            raise VerificationError("keys.unwrap")
        return SecretBytes(key)


def wrap_key(wrapping_key: bytes, key: bytes, aad: bytes) -> bytes:
    """Wrap one key; who wraps many under one key keeps a `WrappingKey`. Raises `InputError` ``keys.size``."""
    return WrappingKey(wrapping_key).wrap(key, aad)


def unwrap_key(wrapping_key: bytes, wrapped: bytes, aad: bytes) -> SecretBytes:
    """Open one wrapped key, as `WrappingKey.unwrap`. Raises `InputError` ``keys.size``, `VerificationError`."""
    return WrappingKey(wrapping_key).unwrap(wrapped, aad)


def _extracted(key: bytes) -> bytes:
    """Extract as RFC 5869 §2.2 does, without salt.

    Written out: every record that is opened or sealed passes by here, and the library's objects take four times as long
    as the hashes.
    """
    return hmac.digest(_NO_SALT, key, "sha256")


def _first_block(prk: bytes, info: bytes) -> bytes:
    """Expand as RFC 5869 §2.3 does, to the size of one hash."""
    return hmac.digest(prk, info + _FIRST_BLOCK, "sha256")


def _check_key(key: bytes) -> None:
    """Refuse a key of another size."""
    if len(key) != KEY_BYTES:
        raise InputError("keys.size", size=len(key))
