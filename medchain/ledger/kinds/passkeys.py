"""Passkeys as they stand in the contents of subjects and recoveries.

Keeps true: what is read is a key of one of our algorithms under an id that occurs once. Trusts nothing.
Source: `docs/spec/subject.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.crypto.assertion import CredentialKey, parse_credential_key
from medchain.encoding import Json, base64_text, members, unbase64
from medchain.errors import InputError
from medchain.ledger.kinds.content import count

MAX_PASSKEYS: Final = 16
"""Most passkeys of a subject."""

_MAX_CREDENTIAL_ID: Final = 1023


@dataclass(frozen=True, slots=True)
class Passkey:
    """A credential of the person.

    Attributes:
        credential_id: as the authenticator named it.
        key: its public key.
        public_key: the same as COSE_Key.
        since: Unix seconds when it was registered.
    """

    credential_id: bytes
    key: CredentialKey
    public_key: bytes
    since: int


def passkey(credential_id: bytes, public_key: bytes, since: int) -> Passkey:
    """Make a passkey row from a COSE_Key; raises `InputError` ``assertion.credential_key``."""
    return Passkey(credential_id, parse_credential_key(public_key), public_key, since)


def read_passkeys(content: Mapping[str, Json]) -> tuple[Passkey, ...]:
    """Read the field ``passkeys`` of a whole or redacted content.

    Raises:
        InputError: ``subject.passkeys`` if it is absent, too long or names a credential twice.
    """
    rows = content.get("passkeys")
    if type(rows) is not list or len(rows) > MAX_PASSKEYS:
        raise InputError("subject.passkeys")
    found = tuple(_passkey(row) for row in rows)
    if len({row.credential_id for row in found}) != len(found):
        raise InputError("subject.passkeys")
    return found


def passkeys_json(rows: Sequence[Passkey]) -> list[Json]:
    """Write passkeys."""
    return [
        {
            "alg": row.key.algorithm.value,
            "credential_id": base64_text(row.credential_id),
            "public_key": base64_text(row.public_key),
            "since": row.since,
        }
        for row in rows
    ]


def _passkey(row: Json) -> Passkey:
    """Read one passkey."""
    top = members(row, {"alg": str, "credential_id": str, "public_key": str, "since": int})
    made = passkey(unbase64(top["credential_id"]), unbase64(top["public_key"]), count(top["since"]))
    if not 0 < len(made.credential_id) <= _MAX_CREDENTIAL_ID or top["alg"] != made.key.algorithm.value:
        raise InputError("subject.passkeys")
    return made
