"""Kind subject: a patient's passkeys, delegates and custodians, sealed; the ledger shows none of it.

Keeps true: a passkey joins or leaves only with the signature of one that was there before; the organisation that
enrolled the person is named and cannot be swapped; an independent one saw the whole body. Trusts the enroller for the
person's identity: two organisations vouch for that, no signature can.
Source: `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.crypto.assertion import CredentialKey, parse_credential_key
from medchain.encoding import Json, base64_text, members, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.kind import LIVING, CheckContext, Kind, refuse
from medchain.ledger.kinds import signing
from medchain.ledger.kinds.content import (
    check_event_time,
    check_full,
    check_parties,
    count,
    fields,
    names,
    short_text,
)
from medchain.ledger.object import ACTIVE, Body
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

MAX_PASSKEYS: Final = 16
"""Most passkeys of a subject."""

MAX_DELEGATES: Final = 16
"""Most delegates of a subject."""

RECIPIENT_FIELDS: Final = frozenset({"delegates", "passkeys"})
"""Fields that a recipient gets: enough to check signatures, nothing of where the patient is treated."""

_MAX_CREDENTIAL_ID: Final = 1023
_FIELDS: Final = ("custodians", "delegates", "enroller", "nonce", "passkeys", "verified_by")


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


@dataclass(frozen=True, slots=True)
class Delegate:
    """A person who may sign for this one.

    Attributes:
        subject: map key of the delegate's own subject object, 32 bytes.
        until: last day, days since 1970-01-01 (UTC).
    """

    subject: bytes
    until: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject's content.

    Attributes:
        passkeys: at least one.
        delegates: who else may sign, with end dates.
        custodians: org_ids that hold records of the person, sorted.
        enroller: org_id of the organisation that checked who the person is.
        method: how it did so, such as ``identity-card``.
        verified: Unix seconds when it did so.
        nonce: 16 random bytes.
    """

    passkeys: tuple[Passkey, ...]
    delegates: tuple[Delegate, ...]
    custodians: tuple[str, ...]
    enroller: str
    method: str
    verified: int
    nonce: bytes

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "custodians": list(self.custodians),
            "delegates": [{"subject": row.subject.hex(), "until": row.until} for row in self.delegates],
            "enroller": self.enroller,
            "nonce": self.nonce.hex(),
            "passkeys": [_passkey_json(passkey) for passkey in self.passkeys],
            "verified_by": {"method": self.method, "organisation": self.enroller, "time": self.verified},
        }


def passkey(credential_id: bytes, public_key: bytes, since: int) -> Passkey:
    """Make a passkey row from a COSE_Key; raises `InputError` ``assertion.credential_key``."""
    return Passkey(credential_id, parse_credential_key(public_key), public_key, since)


def read_passkeys(content: Mapping[str, Json]) -> tuple[Passkey, ...]:
    """Read the field ``passkeys`` of a whole or redacted content.

    Raises:
        InputError: ``subject.passkeys`` if it is absent, empty, too long or names a credential twice.
    """
    rows = content.get("passkeys")
    if type(rows) is not list or not 0 < len(rows) <= MAX_PASSKEYS:
        raise InputError("subject.passkeys")
    found = tuple(_passkey(row) for row in rows)
    if len({row.credential_id for row in found}) != len(found):
        raise InputError("subject.passkeys")
    return found


def read_delegates(content: Mapping[str, Json]) -> tuple[Delegate, ...]:
    """Read the field ``delegates`` of a whole or redacted content; raises `InputError` ``subject.delegates``."""
    rows = content.get("delegates")
    if type(rows) is not list or len(rows) > MAX_DELEGATES:
        raise InputError("subject.delegates")
    found = [members(row, {"subject": str, "until": int}) for row in rows]
    return tuple(Delegate(unhex(row["subject"], HASH_BYTES), count(row["until"])) for row in found)


def read(content: Mapping[str, Json]) -> Subject:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    verified = members(content["verified_by"], {"method": str, "organisation": str, "time": int})
    if verified["organisation"] != content["enroller"]:
        raise InputError("subject.verified_by")
    return Subject(
        passkeys=read_passkeys(content),
        delegates=read_delegates(content),
        custodians=names(content["custodians"]),
        enroller=short_text(content["enroller"]),
        method=short_text(verified["method"]),
        verified=count(verified["time"]),
        nonce=unhex(content["nonce"], ID_BYTES),
    )


def check(body: Body, context: CheckContext) -> None:
    """Judge a subject's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``subject.not_full``, ``subject.organisation``, ``subject.party``, ``subject.role``,
            ``subject.enroller``, ``subject.time``, ``subject.unsigned``, or ``assertion.*``.
    """
    check_full(context, is_full=body.is_full, kind="subject")
    subject = read(body.content)
    check_parties(context, (*subject.custodians, subject.enroller), "subject")
    if subject.enroller != context.creator:
        refuse("subject.enroller", org_id=subject.enroller)
    for time in (subject.verified, *(row.since for row in subject.passkeys)):
        check_event_time(context, time, "subject.time")
    if context.previous is not None and context.change.status == ACTIVE:
        _check_successor(body, subject, context, context.previous[1])


def _check_successor(body: Body, subject: Subject, context: CheckContext, before: Body) -> None:
    """Judge a later version: who changes passkeys or delegates shows a passkey that was there before."""
    known = read_passkeys(before.content)
    if before.content.get("enroller", subject.enroller) != subject.enroller:
        refuse("subject.enroller", org_id=subject.enroller)
    same = subject.passkeys == known and subject.delegates == read_delegates(before.content)
    if same:
        return
    if not signing.has_assertion(body):
        refuse("subject.unsigned")
    signed = signing.Signed("subject/update", context.key, None, subject.nonce)
    signing.check_signature(body, context, signed, known)


def _passkey(row: Json) -> Passkey:
    """Read one passkey."""
    top = members(row, {"alg": str, "credential_id": str, "public_key": str, "since": int})
    made = passkey(unbase64(top["credential_id"]), unbase64(top["public_key"]), count(top["since"]))
    if not 0 < len(made.credential_id) <= _MAX_CREDENTIAL_ID or top["alg"] != made.key.algorithm.value:
        raise InputError("subject.passkeys")
    return made


def _passkey_json(row: Passkey) -> Json:
    """Write one passkey."""
    return {
        "alg": row.key.algorithm.value,
        "credential_id": base64_text(row.credential_id),
        "public_key": base64_text(row.public_key),
        "since": row.since,
    }


KIND: Final = Kind(name="subject", number=5, transitions=LIVING, check=check, max_until_s=60)
"""Renewed by its enroller; ended when the person leaves."""
