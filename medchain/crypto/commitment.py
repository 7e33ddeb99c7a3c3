"""Record commitments: what the ledger holds of a record, binding it without telling it.

Keeps true: the commitment depends on salt and content alone, so it outlives re-encryption; without the salt nothing of
a record can be guessed from it. A content above 1 MiB is committed to by its size and its SHA-256, so that it can be
hashed as it streams by, and shown as a file beside its proof. Trusts the caller for 32 fresh random bytes of salt a
version, kept with the content.
Source: `docs/spec/record-envelope.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from medchain.crypto.fields import field_root, record_field_leaves, record_fields
from medchain.encoding import digest
from medchain.errors import InputError

SALT_BYTES: Final = 32
"""Size of a record version's salt."""

NO_FIELDS: Final = bytes(32)
"""Field root of a record whose fields are never shown singly."""

MAX_SMALL_BYTES: Final = 1 << 20
"""Largest content that is committed to as it is; of a larger one, size and SHA-256 are."""

_MAX_SIZE: Final = (1 << 63) - 1


class ContentHash:
    """Hashes a content that comes in pieces, whatever its size, in constant memory."""

    __slots__ = ("_hash", "_kept", "size")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._hash = sha256()
        self._kept = bytearray()
        self.size = 0

    def update(self, piece: bytes) -> None:
        """Take the next piece."""
        self._hash.update(piece)
        self.size += len(piece)
        if self.size > MAX_SMALL_BYTES:
            self._kept.clear()
        else:
            self._kept += piece

    @property
    def sha256(self) -> bytes:
        """SHA-256 of what was taken, 32 bytes."""
        return self._hash.digest()

    def whole(self, salt: bytes) -> bytes:
        """Digest what was taken, as `whole_digest` does; raises `InputError` ``commitment.salt``."""
        if self.size > MAX_SMALL_BYTES:
            return large_digest(salt, self.size, self.sha256)
        return whole_digest(salt, bytes(self._kept))


def whole_digest(salt: bytes, content: bytes) -> bytes:
    """Digest the whole content under its salt.

    Args:
        salt: 32 secret random bytes.
        content: the record's bytes as received.

    Returns:
        32 bytes.

    Raises:
        InputError: ``commitment.salt`` for a salt of another size.
    """
    _check_salt(salt)
    if len(content) > MAX_SMALL_BYTES:
        return large_digest(salt, len(content), sha256(content).digest())
    return digest("medchain/record-whole/v1", salt, content)


def large_digest(salt: bytes, size: int, content_sha256: bytes) -> bytes:
    """Digest a content of more than `MAX_SMALL_BYTES` by its size and SHA-256.

    Args:
        salt: 32 secret random bytes.
        size: of the content, in bytes.
        content_sha256: SHA-256 of the content, 32 bytes.

    Returns:
        32 bytes.

    Raises:
        InputError: ``commitment.salt``; ``commitment.large`` for a size that is not of a large content, or a hash of
            another size.
    """
    _check_salt(salt)
    if not MAX_SMALL_BYTES < size <= _MAX_SIZE or len(content_sha256) != sha256().digest_size:
        raise InputError("commitment.large", size=size)
    return digest("medchain/record-large/v1", salt, size.to_bytes(8, "big"), content_sha256)


def record_commitment(salt: bytes, content: bytes, root: bytes) -> bytes:
    """Compute a record version's commitment.

    Args:
        salt: 32 secret random bytes.
        content: the record's bytes as received.
        root: `record_field_root` of the same, or `NO_FIELDS`.

    Returns:
        32 bytes.

    Raises:
        InputError: ``commitment.salt``.
    """
    return commitment_of(whole_digest(salt, content), root)


def commitment_of(whole: bytes, root: bytes) -> bytes:
    """Compute a commitment from `whole_digest` and field root; returns 32 bytes."""
    return digest("medchain/record-commitment/v1", whole, root)


def record_field_root(salt: bytes, content: bytes) -> bytes:
    """Compute the field root of a FHIR JSON record.

    Args:
        salt: 32 secret random bytes.
        content: the record's bytes as received.

    Returns:
        32 bytes.

    Raises:
        InputError: ``commitment.salt``, or the ``fields.*`` of `record_fields`.
    """
    return root_of_fields(salt, record_fields(content))


def root_of_fields(salt: bytes, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Compute the field root of a record that is taken apart already.

    Args:
        salt: 32 secret random bytes.
        fields: from `medchain.crypto.fields.record_fields`, or named and told likewise.

    Returns:
        32 bytes.

    Raises:
        InputError: ``commitment.salt``.
    """
    _check_salt(salt)
    return field_root(record_field_leaves(salt, fields))


def _check_salt(salt: bytes) -> None:
    """Refuse a salt of another size."""
    if len(salt) != SALT_BYTES:
        raise InputError("commitment.salt", size=len(salt))
