"""A disclosure for a claim: what a hospital says, over its signature, of the records that a claim cites.

Keeps true: a disclosure is for one claim, insurer, release request and grant of one ledger, and has one spelling; what
it says of a record is by version, in order, none left out between the first and the last. Pure. Trusts nothing that is
parsed: signature, access entry and ledger are checked by who judges.
Source: `docs/spec/claim-evidence.md` 1 to 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from medchain.crypto.es384 import ES384, SIGNATURE_BYTES, Es384Signer, es384_verify
from medchain.crypto.signing import key_id
from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.evidence.statements import Fact, read_fact
from medchain.ledger.kinds.content import Period, count, period, period_json, short_text
from medchain.ledger.object import map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

DISCLOSURE_TYPE: Final = "medchain/claim-disclosure/v1"
"""Type of what is signed, and the tag of its hash."""

SIGNED_DISCLOSURE_TYPE: Final = "medchain/signed-claim-disclosure/v1"
"""Type of the document that holds a signed one."""

MAX_DISCLOSURE_BYTES: Final = 2 * 1024 * 1024
"""Largest signed disclosure."""

MAX_ROWS: Final = 480
"""Most records of a disclosure: 400 that are cited, their invoices and encounters."""

MAX_CHANGED: Final = 200
"""Most fields of one version that are named as changed."""

MAX_POINTER_BYTES: Final = 256
"""Longest name of a field in UTF-8: a verdict names some of each record, and must be read itself."""

_MALFORMED: Final = "disclosure.malformed"
_REFERENCE: Final = re.compile(r"[A-Z][A-Za-z]{0,63}/[A-Za-z0-9.-]{1,64}")
_VERSION: Final = frozenset({"author", "changed", "entered", "event", "system", "version"})
_ROW: Final = {"as": str, "object": str, "reference": str, "versions": list}
_DISCLOSURE: Final = {
    **dict.fromkeys(("claim", "grant", "hospital", "insurer", "ledger", "request", "type"), str),
    "facts": list,
    "records": list,
    "time": int,
}
_SIGNED: Final = {"disclosure": dict, "key_id": str, "signature": str, "type": str}
_Read = TypeVar("_Read")


class As(StrEnum):
    """What a record is to the claim."""

    CITED = "cited"
    """Evidence that the claim names."""
    ENCOUNTER = "encounter"
    """The visit or stay that it is about."""
    INVOICE = "invoice"
    """The bill."""


_ROLES: Final = {"Encounter": As.ENCOUNTER, "Invoice": As.INVOICE}


def role_of(reference: str) -> As:
    """Tell what a record (``Type/id``) is to a claim that cites it: its type says that, and nobody else."""
    return _ROLES.get(reference.partition("/")[0], As.CITED)


@dataclass(frozen=True, slots=True)
class Edition:
    """A version of a record, as its hospital tells of it.

    Attributes:
        number: from 1.
        author: who wrote it, a member of staff or an organisation; None where the record does not say.
        system: with what; None likewise.
        entered: when the record says that it was written, Unix seconds; None where it does not say.
        event: when what it tells of happened; None likewise.
        changed: JSON pointers of what differs from the version before, sorted; none of version 1.
    """

    number: int
    author: str | None
    system: str | None
    entered: int | None
    event: Period | None
    changed: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "author": self.author,
            "changed": [*self.changed],
            "entered": self.entered,
            "event": None if self.event is None else period_json(self.event),
            "system": self.system,
            "version": self.number,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A record that is disclosed in part.

    Attributes:
        role: what it is to the claim.
        object_id: of its object on the ledger, 16 bytes.
        reference: ``Type/id`` at its hospital.
        versions: all that there were, from 1.
    """

    role: As
    object_id: bytes
    reference: str
    versions: tuple[Edition, ...]

    @property
    def type(self) -> str:
        """Its FHIR type."""
        return self.reference.partition("/")[0]

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "as": self.role.value,
            "object": self.object_id.hex(),
            "reference": self.reference,
            "versions": [one.to_json() for one in self.versions],
        }


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What a hospital says of the records that a claim cites.

    Attributes:
        claim: digest of the insurer's claim, 32 bytes.
        decision: receipt of the decision that let it, None for none.
        facts: derived statements, sorted.
        grant: map key of the grant, 32 bytes.
        hospital: org_id of who says it.
        insurer: org_id of whom it is said to.
        ledger: ledger id, 32 bytes.
        records: sorted by reference.
        request: hash of the release request, 32 bytes.
        time: Unix seconds.
    """

    claim: bytes
    decision: dict[str, Json] | None
    facts: tuple[Fact, ...]
    grant: bytes
    hospital: str
    insurer: str
    ledger: bytes
    records: tuple[Row, ...]
    request: bytes
    time: int

    @property
    def hash(self) -> bytes:
        """What is signed, 32 bytes."""
        return digest(DISCLOSURE_TYPE, canonical(self.to_json()))

    def key(self, row: Row) -> bytes:
        """Compute the map key of a record, 32 bytes."""
        return map_key("record", self.hospital, row.object_id)

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "claim": self.claim.hex(),
            "decision": self.decision,
            "facts": [one.to_json() for one in self.facts],
            "grant": self.grant.hex(),
            "hospital": self.hospital,
            "insurer": self.insurer,
            "ledger": self.ledger.hex(),
            "records": [one.to_json() for one in self.records],
            "request": self.request.hex(),
            "time": self.time,
            "type": DISCLOSURE_TYPE,
        }


@dataclass(frozen=True, slots=True)
class SignedDisclosure:
    """A disclosure with its hospital's signature.

    Attributes:
        disclosure: what is said.
        key_id: authentication key of the hospital.
        signature: ES384 over `Disclosure.hash`, 96 bytes.
    """

    disclosure: Disclosure
    key_id: str
    signature: bytes

    def is_signed_by(self, public: bytes) -> bool:
        """Tell whether the signature is that of an authentication key (97 bytes)."""
        return es384_verify(public, self.disclosure.hash, self.signature)

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "disclosure": self.disclosure.to_json(),
            "key_id": self.key_id,
            "signature": base64_text(self.signature),
            "type": SIGNED_DISCLOSURE_TYPE,
        }

    def encode(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical(self.to_json())


def sign_disclosure(signer: Es384Signer, disclosure: Disclosure) -> SignedDisclosure:
    """Sign with the hospital's authentication key."""
    return SignedDisclosure(disclosure, key_id(ES384, signer.public), signer.sign(disclosure.hash))


def parse_disclosure(document: bytes) -> SignedDisclosure:
    """Read a signed disclosure strictly, from `SignedDisclosure.encode`; its signature is not checked.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``disclosure.malformed``, ``disclosure.fact``.
    """
    return read_disclosure(parse_canonical(document, max_bytes=MAX_DISCLOSURE_BYTES))


def read_disclosure(value: Json) -> SignedDisclosure:
    """Read a signed disclosure that stands in another document; errors as `parse_disclosure`."""
    top = members(value, _SIGNED)
    signature = unbase64(top["signature"])
    if top["type"] != SIGNED_DISCLOSURE_TYPE or len(signature) != SIGNATURE_BYTES:
        raise InputError(_MALFORMED)
    return SignedDisclosure(_disclosure(top["disclosure"]), unhex(top["key_id"], ID_BYTES).hex(), signature)


def checked_reference(value: Json) -> str:
    """Take ``Type/id``; raises `InputError` ``disclosure.malformed`` for what is none."""
    if type(value) is not str or _REFERENCE.fullmatch(value) is None:
        raise InputError(_MALFORMED, member="reference")
    return value


def _disclosure(value: Json) -> Disclosure:
    """Read what is said."""
    if type(value) is not dict or "decision" not in value:
        raise InputError("encoding.members", member="decision")
    decision = value["decision"]
    top = members({name: item for name, item in value.items() if name != "decision"}, _DISCLOSURE)
    facts, records = _listed(top["facts"], read_fact), _listed(top["records"], _row)
    orders, references = [one.order for one in facts], [one.reference for one in records]
    valid = (
        top["type"] == DISCLOSURE_TYPE
        and (decision is None or type(decision) is dict)
        and len(records) <= MAX_ROWS
        and references == sorted(set(references))
        and len({one.object_id for one in records}) == len(records)
        and orders == sorted(set(orders))
    )
    if not valid:
        raise InputError(_MALFORMED)
    return Disclosure(
        claim=unhex(top["claim"], HASH_BYTES),
        decision=decision if type(decision) is dict else None,
        facts=facts,
        grant=unhex(top["grant"], HASH_BYTES),
        hospital=short_text(top["hospital"]),
        insurer=short_text(top["insurer"]),
        ledger=unhex(top["ledger"], HASH_BYTES),
        records=records,
        request=unhex(top["request"], HASH_BYTES),
        time=count(top["time"]),
    )


def _row(value: Json) -> Row:
    """Read what is said of a record."""
    top = members(value, _ROW)
    versions = _listed(top["versions"], _edition)
    if [one.number for one in versions] != list(range(1, 1 + len(versions))) or not versions:
        raise InputError(_MALFORMED, member="versions")
    reference = checked_reference(top["reference"])
    if top["as"] != role_of(reference):
        raise InputError(_MALFORMED, member="as")
    return Row(role_of(reference), unhex(top["object"], ID_BYTES), reference, versions)


def _edition(value: Json) -> Edition:
    """Read what is said of a version."""
    if type(value) is not dict or value.keys() != _VERSION:
        raise InputError("encoding.members", member="versions")
    changed = _listed(value["changed"], _pointer)
    number, entered, event = count(value["version"]), value["entered"], value["event"]
    if list(changed) != sorted(set(changed)) or len(changed) > (0 if number == 1 else MAX_CHANGED):
        raise InputError(_MALFORMED, member="changed")
    return Edition(
        number=number,
        author=_text_or_none(value["author"]),
        system=_text_or_none(value["system"]),
        entered=None if entered is None else count(entered),
        event=None if event is None else period(event),
        changed=changed,
    )


def _pointer(value: Json) -> str:
    """Read a JSON pointer."""
    if type(value) is not str or not value.startswith("/") or len(value.encode()) > MAX_POINTER_BYTES:
        raise InputError(_MALFORMED, member="changed")
    return value


def _text_or_none(value: Json) -> str | None:
    """Read a short text, or null."""
    return None if value is None else short_text(value)


def _listed(value: Json, read: Callable[[Json], _Read]) -> tuple[_Read, ...]:
    """Read each of a list."""
    if type(value) is not list:
        raise InputError(_MALFORMED)
    return tuple(read(one) for one in value)
