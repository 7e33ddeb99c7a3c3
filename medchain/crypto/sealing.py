"""Sealing to an organisation: HPKE with X-Wing, so that what is recorded today cannot be read by a quantum computer.

Keeps true: a sealed message opens only with the private key, for the info and additional data it was sealed for; a
released data key opens only for the party, request and access entry named. HPKE in base mode does not tell who sealed:
whoever must know takes it from a signature. Trusts OpenSSL (through cryptography).
Source: RFC 9180 (base mode), draft-ietf-hpke-pq (KEM 0x647a), draft-connolly-cfrg-xwing-kem; `docs/spec/keys.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import shake_256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from medchain.crypto.keywrap import (
    KEY_BYTES,
    WRAPPED_BYTES,
    Purpose,
    SecretBytes,
    WrappingKey,
    random_key,
    wrap_aad,
)
from medchain.crypto.signing import key_id
from medchain.crypto.suite import SUITE_1
from medchain.encoding import digest
from medchain.errors import InputError, VerificationError

XWING: Final = "x-wing"
"""Algorithm name of encryption keys, as it enters a key id."""

PUBLIC_BYTES: Final = 1216
"""Size of a public key: ML-KEM-768 (1,184) ‖ X25519 (32)."""

OVERHEAD_BYTES: Final = 1120 + 16
"""What sealing adds: the encapsulation and a tag."""

MAX_DEKS: Final = 0xFFFF
"""Most data keys in one release."""

_MLKEM_PUBLIC_BYTES: Final = 1184
_MLKEM_SEED_BYTES: Final = 64
_HPKE: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_MAGIC: Final = b"MR1" + bytes((SUITE_1.number,))
_HEADER_BYTES: Final = len(_MAGIC) + 2
_SEALED_KEY_BYTES: Final = OVERHEAD_BYTES + KEY_BYTES


class SealingPrivateKey:
    """An X-Wing private key.

    Attributes:
        public: 1,216 bytes.
        key_id: name of the public key.
    """

    __slots__ = ("_key", "key_id", "public")

    def __init__(self, seed: bytes) -> None:
        """Expand the key.

        Args:
            seed: 32 secret bytes, X-Wing's decapsulation key (draft-connolly-cfrg-xwing-kem §5.2).

        Raises:
            InputError: ``sealing.seed`` for another size.
        """
        if len(seed) != KEY_BYTES:
            raise InputError("sealing.seed", size=len(seed))
        expanded = shake_256(seed).digest(_MLKEM_SEED_BYTES + KEY_BYTES)
        lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        curve = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        self._key = hpke.MLKEM768X25519PrivateKey(lattice, curve)
        self.public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        self.key_id = key_id(XWING, self.public)

    def __repr__(self) -> str:
        """Name the key without showing it."""
        return f"SealingPrivateKey(key_id={self.key_id})"

    def open(self, info: bytes, ciphertext: bytes) -> SecretBytes:
        """Open a plain HPKE ciphertext (encapsulation ‖ AEAD), without additional data.

        Raises:
            VerificationError: ``sealing.authentication`` for whatever does not open, all alike.
        """
        try:
            return SecretBytes(_HPKE.decrypt(ciphertext, self._key, info))
        except (InvalidTag, ValueError):
            # ValueError: the X25519 half of the encapsulation is of small order.
            raise VerificationError("sealing.authentication") from None


def seal_to(public: bytes, info: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """Seal a message to a public key.

    Args:
        public: 1,216 bytes.
        info: what the message is for.
        aad: what else it is bound to; HPKE's info is ``digest("medchain/hpke-info/v1", info, aad)``.
        plaintext: the message; its size is not hidden.

    Returns:
        `OVERHEAD_BYTES` more than the message: encapsulation ‖ ciphertext ‖ tag.

    Raises:
        InputError: ``sealing.public`` for bytes that are no such key.
    """
    if len(public) != PUBLIC_BYTES:
        raise InputError("sealing.public", size=len(public))
    try:
        lattice = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES])
        curve = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:])
        return _HPKE.encrypt(plaintext, hpke.MLKEM768X25519PublicKey(lattice, curve), _info(info, aad))
    except ValueError:
        # A coefficient out of range, or a point of small order.
        raise InputError("sealing.public") from None


def open_sealed(private: SealingPrivateKey, info: bytes, aad: bytes, ciphertext: bytes) -> SecretBytes:
    """Open a sealed message.

    Args:
        private: the key that it was sealed to.
        info: as when it was sealed.
        aad: as when it was sealed.
        ciphertext: what `seal_to` returned.

    Returns:
        The message.

    Raises:
        VerificationError: ``sealing.authentication`` for a wrong key, wrong context or changed bytes, all alike.
    """
    return private.open(_info(info, aad), ciphertext)


def wrap_release(
    public: bytes, request_hash: bytes, access_entry_id: bytes, recipient_key_id: str, deks: Sequence[bytes]
) -> bytes:
    """Wrap the data keys of a response for the party that asked.

    Args:
        public: its encryption key, 1,216 bytes.
        request_hash: digest of its signed request.
        access_entry_id: id of the access transaction on the ledger.
        recipient_key_id: key id of ``public``, as the ledger has it.
        deks: 1 to `MAX_DEKS` data keys, in the order of the response's records.

    Returns:
        ``MR1`` ‖ suite ‖ number of keys (u16) ‖ sealed response key ‖ each data key wrapped under it.

    Raises:
        InputError: ``sealing.count``, ``sealing.public``, ``keys.size``.
    """
    if not 0 < len(deks) <= MAX_DEKS:
        raise InputError("sealing.count", count=len(deks))
    header = _MAGIC + len(deks).to_bytes(2, "big")
    response_key = random_key()
    binding = _release_info(request_hash, access_entry_id, recipient_key_id)
    sealed = seal_to(public, binding, header, response_key)
    wrapper = WrappingKey(response_key)
    wraps = (wrapper.wrap(dek, _dek_aad(binding, header, index)) for index, dek in enumerate(deks))
    return b"".join((header, sealed, *wraps))


def open_release(
    private: SealingPrivateKey, request_hash: bytes, access_entry_id: bytes, recipient_key_id: str, wrapped: bytes
) -> list[SecretBytes]:
    """Open the data keys of a response.

    Args:
        private: the asker's encryption key.
        request_hash: digest of the request that it signed.
        access_entry_id: id of the access transaction, seen final on the ledger.
        recipient_key_id: key id of the encryption key, as the ledger has it.
        wrapped: what `wrap_release` returned.

    Returns:
        The data keys, 32 bytes each, in order.

    Raises:
        VerificationError: ``sealing.format`` for another form or size; ``sealing.authentication`` or ``keys.unwrap``
            for a wrong key, wrong context, changed or reordered bytes.
    """
    header = wrapped[:_HEADER_BYTES]
    count = int.from_bytes(header[len(_MAGIC) :], "big")
    size = _HEADER_BYTES + _SEALED_KEY_BYTES + count * WRAPPED_BYTES
    if not header.startswith(_MAGIC) or not count or len(wrapped) != size:
        raise VerificationError("sealing.format")
    binding = _release_info(request_hash, access_entry_id, recipient_key_id)
    wraps_at = _HEADER_BYTES + _SEALED_KEY_BYTES
    response_key = open_sealed(private, binding, header, wrapped[_HEADER_BYTES:wraps_at])
    wrapper = WrappingKey(response_key)
    return [
        wrapper.unwrap(wrapped[at : at + WRAPPED_BYTES], _dek_aad(binding, header, index))
        for index, at in enumerate(range(wraps_at, size, WRAPPED_BYTES))
    ]


def seal_disclosure(
    public: bytes, request_hash: bytes, access_entry_id: bytes, recipient_key_id: str, document: bytes
) -> bytes:
    """Seal what is disclosed for a claim to the party that asked; arguments as in `wrap_release`.

    Args:
        public: its encryption key, 1,216 bytes.
        request_hash: digest of its signed request.
        access_entry_id: id of the access transaction on the ledger.
        recipient_key_id: key id of ``public``, as the ledger has it.
        document: what is disclosed.

    Returns:
        The sealed document.

    Raises:
        InputError: ``sealing.public``.
    """
    return seal_to(public, _disclosure_info(request_hash, access_entry_id, recipient_key_id), b"", document)


def open_disclosure(
    private: SealingPrivateKey, request_hash: bytes, access_entry_id: bytes, recipient_key_id: str, sealed: bytes
) -> bytes:
    """Open what was disclosed for a claim; arguments as in `open_release`.

    Raises:
        VerificationError: ``sealing.authentication`` for a wrong key, wrong context or changed bytes.
    """
    return bytes(open_sealed(private, _disclosure_info(request_hash, access_entry_id, recipient_key_id), b"", sealed))


def _info(info: bytes, aad: bytes) -> bytes:
    """Put info and additional data into HPKE's info: the library's public API takes no additional data."""
    return digest("medchain/hpke-info/v1", info, aad)


def _release_info(request_hash: bytes, access_entry_id: bytes, recipient_key_id: str) -> bytes:
    """Bind a release to request, access entry and key."""
    return digest("medchain/release/v1", request_hash, access_entry_id, recipient_key_id.encode("ascii"))


def _disclosure_info(request_hash: bytes, access_entry_id: bytes, recipient_key_id: str) -> bytes:
    """Bind a disclosure likewise, under a tag of its own."""
    tag = "medchain/claim-disclosure-sealed/v1"
    return digest(tag, request_hash, access_entry_id, recipient_key_id.encode("ascii"))


def _dek_aad(binding: bytes, header: bytes, index: int) -> bytes:
    """Bind a data key to its release and place."""
    return wrap_aad(Purpose.RELEASE, binding, header, index.to_bytes(4, "big"))
