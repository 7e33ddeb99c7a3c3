"""Record commitments: what the ledger holds of a record, binding it without telling it.

Keeps true: the commitment depends on salt and content alone, so it outlives re-encryption; without the salt nothing of
a record can be guessed from it. Trusts the caller for 32 fresh random bytes of salt a version, kept with the content.
Source: `docs/spec/record-envelope.md`.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medchain.crypto.fields import field_root, record_field_leaves, record_fields
from medchain.crypto.keywrap import KEY_BYTES, SecretBytes
from medchain.encoding import digest
from medchain.errors import InputError

SALT_BYTES: Final = 32
"""Size of a record version's salt."""

NO_FIELDS: Final = bytes(32)
"""Field root of a record whose fields are never shown singly."""


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
    return digest("medchain/record-whole/v1", salt, content)


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
    return digest("medchain/record-commitment/v1", whole_digest(salt, content), root)


def record_field_key(salt: bytes) -> SecretBytes:
    """Derive the key of a record's field salts from the record's salt, so that who holds the record can recompute them.

    Args:
        salt: 32 secret random bytes.

    Returns:
        32 bytes: HKDF-SHA256 without salt, info ``medchain/record-fields/v1``.

    Raises:
        InputError: ``commitment.salt``.
    """
    _check_salt(salt)
    return SecretBytes(HKDF(SHA256(), KEY_BYTES, None, b"medchain/record-fields/v1").derive(salt))


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
    return field_root(record_field_leaves(record_field_key(salt), record_fields(content)))


def _check_salt(salt: bytes) -> None:
    """Refuse a salt of another size."""
    if len(salt) != SALT_BYTES:
        raise InputError("commitment.salt", size=len(salt))
