"""A release between two organisations: the signed request, the answer, and what both hash of it.

Keeps true: a request counts for one ledger, custodian, recipient, grant, purpose and key, and has one spelling, so its
hash names it; an answer is bound to one request and one version of one access object, whose key follows from the
grant, so a grant has one chain of accesses that anybody can find, or prove absent. Pure. Trusts nothing that is parsed.
Source: `docs/spec/release.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from medchain.crypto.es384 import ES384, SIGNATURE_BYTES, Es384Signer, es384_verify
from medchain.crypto.signing import key_id
from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import ANY_TYPE, Period, names, period, period_json, short_text
from medchain.ledger.object import map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.tlog.merkle import Frontier, leaf_hash

MAX_REQUEST_BYTES: Final = 32 * 1024
"""Largest signed request."""

MAX_RECORDS: Final = 1000
"""Most records of one answer."""

MAX_ANSWER_BYTES: Final = 48 << 20
"""Largest answer; records beyond it are for a further request."""

REQUEST_LIFE_S: Final = 120
"""How old a request may be."""

REQUEST_AHEAD_S: Final = 60
"""How far its time may lie ahead of the custodian's clock."""

_REQUEST_TYPE: Final = "medchain/release-request/v1"
_SIGNED_TYPE: Final = "medchain/signed-release-request/v1"
_ANSWER_TYPE: Final = "medchain/release-answer/v1"
_LENGTH_BYTES: Final = 4
_MAX_HEADER_BYTES: Final = 1 << 20
_MAX_CONTENT_TYPE: Final = 100
_REQUEST: Final = {
    "after": int,
    "custodian": str,
    "encryption_key": str,
    "grant": str,
    "ledger": str,
    "nonce": str,
    "purpose": str,
    "recipient": str,
    "resource_types": list,
    "time": int,
    "type": str,
}
_HEADER: Final = {
    "access": int,
    "following": int,
    "oversized": int,
    "records": list,
    "request": str,
    "type": str,
    "wraps": int,
}


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """Who asks whom for what.

    Attributes:
        ledger: ledger id, 32 bytes.
        custodian: org_id of the organisation that holds the records.
        recipient: org_id of the one that asks.
        grant: map key of the grant, 32 bytes.
        purpose: purpose-of-use code.
        resource_types: FHIR types, sorted, or ``("*",)``.
        period: dates of records that are asked for; None for all.
        after: `Answer.following` of the answer before; 0 for the first.
        encryption_key: key id of the recipient's key to which data keys are wrapped.
        nonce: 16 random bytes.
        time: Unix seconds.
    """

    ledger: bytes
    custodian: str
    recipient: str
    grant: bytes
    purpose: str
    resource_types: tuple[str, ...]
    period: Period | None
    after: int
    encryption_key: str
    nonce: bytes
    time: int

    def to_json(self) -> dict[str, Json]:
        """Write the request."""
        return {
            "after": self.after,
            "custodian": self.custodian,
            "encryption_key": self.encryption_key,
            "grant": self.grant.hex(),
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "period": None if self.period is None else period_json(self.period),
            "purpose": self.purpose,
            "recipient": self.recipient,
            "resource_types": list(self.resource_types),
            "time": self.time,
            "type": _REQUEST_TYPE,
        }

    @property
    def hash(self) -> bytes:
        """What is signed and what the access entry names: ``digest(type, canonical(request))``, 32 bytes.

        Not over the signature: ECDSA signatures can be varied, a request must not be.
        """
        return digest(_REQUEST_TYPE, canonical(self.to_json()))


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request with the recipient's signature.

    Attributes:
        request: what is asked.
        key_id: authentication key of the recipient.
        signature: ES384 over `ReleaseRequest.hash`, 96 bytes.
    """

    request: ReleaseRequest
    key_id: str
    signature: bytes

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "key_id": self.key_id,
            "request": self.request.to_json(),
            "signature": base64_text(self.signature),
            "type": _SIGNED_TYPE,
        }

    def encode(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical(self.to_json())

    def is_signed_by(self, public: bytes) -> bool:
        """Tell whether the signature is that of an authentication key (97 bytes)."""
        return es384_verify(public, self.request.hash, self.signature)


@dataclass(frozen=True, slots=True)
class ReleasedRecord:
    """One sealed record of an answer, and what is needed to check it.

    Attributes:
        object_id: id of its object on the ledger, 16 bytes.
        version: of the record.
        content_type: media type of what the envelope holds.
        position: leaf index of its anchor.
        envelope: as the custodian keeps it.
    """

    object_id: bytes
    version: int
    content_type: str
    position: int
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a custodian answers.

    Attributes:
        request_hash: of the request answered, 32 bytes.
        access_version: version of the access object that lists the release.
        wraps: data keys, `medchain.crypto.sealing.wrap_release`.
        records: in the order of the wraps.
        following: where a further request goes on, `ReleaseRequest.after`; None where there is no more.
        oversized: how many records were left out between the last request and this answer's end because each alone is
            larger than an answer may be.
    """

    request_hash: bytes
    access_version: int
    wraps: bytes
    records: tuple[ReleasedRecord, ...]
    following: int | None
    oversized: int = 0

    def encode(self) -> bytes:
        """Write the answer: length of the header (u32) ‖ header ‖ wraps ‖ envelopes."""
        rows: list[Json] = [
            [
                record.object_id.hex(),
                record.version,
                record.content_type,
                record.position,
                len(record.envelope),
            ]
            for record in self.records
        ]
        header = canonical(
            {
                "access": self.access_version,
                "following": 0 if self.following is None else self.following,
                "oversized": self.oversized,
                "records": rows,
                "request": self.request_hash.hex(),
                "type": _ANSWER_TYPE,
                "wraps": len(self.wraps),
            }
        )
        envelopes = (record.envelope for record in self.records)
        return b"".join((len(header).to_bytes(_LENGTH_BYTES, "big"), header, self.wraps, *envelopes))


def sign_request(signer: Es384Signer, request: ReleaseRequest) -> SignedRequest:
    """Sign a request with the organisation's authentication key."""
    return SignedRequest(request, key_id(ES384, signer.public), signer.sign(request.hash))


def parse_request(document: bytes) -> SignedRequest:
    """Read a signed request strictly; its signature is not checked yet.

    Args:
        document: from `SignedRequest.encode`.

    Returns:
        The request.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``release.malformed``.
    """
    top = members(
        parse_canonical(document, max_bytes=MAX_REQUEST_BYTES),
        {"key_id": str, "request": dict, "signature": str, "type": str},
    )
    signature = unbase64(top["signature"])
    if top["type"] != _SIGNED_TYPE or len(signature) != SIGNATURE_BYTES:
        raise InputError("release.malformed")
    return SignedRequest(_request(top["request"]), unhex(top["key_id"], ID_BYTES).hex(), signature)


def parse_answer(data: bytes) -> Answer:
    """Read an answer strictly; nothing of it is verified yet.

    Args:
        data: from `Answer.encode`.

    Returns:
        The answer.

    Raises:
        InputError: ``encoding.*``, ``release.malformed``.
    """
    size = int.from_bytes(data[:_LENGTH_BYTES], "big")
    at = _LENGTH_BYTES + size
    if len(data) > MAX_ANSWER_BYTES or size > _MAX_HEADER_BYTES or len(data) < at:
        raise InputError("release.malformed", size=len(data))
    top = members(parse_canonical(data[_LENGTH_BYTES:at], max_bytes=_MAX_HEADER_BYTES), _HEADER)
    rows = top["records"]
    if type(rows) is not list or not 0 < len(rows) <= MAX_RECORDS or top["type"] != _ANSWER_TYPE:
        raise InputError("release.malformed", member="records")
    wraps_size = _natural(top["wraps"], least=1)
    wraps = data[at : at + wraps_size]
    at += wraps_size
    records = []
    for row in rows:
        record, length = _record(row)
        records.append((record, data[at : at + length]))
        at += length
    if at != len(data):
        raise InputError("release.malformed", size=len(data))
    return Answer(
        unhex(top["request"], HASH_BYTES),
        _natural(top["access"], least=1),
        wraps,
        tuple(replace(record, envelope=envelope) for record, envelope in records),
        _natural(top["following"]) or None,
        _natural(top["oversized"]),
    )


def access_id(grant: bytes, custodian: str) -> bytes:
    """Derive the object id of the accesses under a grant: one chain, which nobody has to be told.

    It may follow from the grant, since the access refs the grant in clear.

    Args:
        grant: map key of the grant, 32 bytes.
        custodian: org_id.

    Returns:
        16 bytes.
    """
    return digest("medchain/access-id/v1", grant, custodian.encode("ascii"))[:ID_BYTES]


def access_key(grant: bytes, custodian: str) -> bytes:
    """Compute the map key of the accesses under a grant, 32 bytes."""
    return map_key("access", custodian, access_id(grant, custodian))


def access_entry_id(key: bytes, version: int) -> bytes:
    """Name an access entry before it is made: the wraps are bound to it, and their hash is in it.

    A transaction id would contain the wraps' hash, and so could not be in the wraps; a version is accepted once only.

    Args:
        key: map key of the access object, 32 bytes.
        version: of the access object.

    Returns:
        32 bytes.
    """
    return digest("medchain/access-entry/v1", key, version.to_bytes(8, "big"))


def wraps_hash(wraps: bytes) -> bytes:
    """Hash the wrapped data keys for the access entry; returns 32 bytes."""
    return digest("medchain/release-wraps/v1", wraps)


def commitments_root(rows: Sequence[tuple[bytes, int, bytes]]) -> bytes:
    """Compute the root over what is released, so that one record can be shown to be in it.

    Args:
        rows: map key of each record, its version and its commitment, in the order of the answer.

    Returns:
        Root of the RFC 6962 tree whose leaves are ``digest("medchain/released-record/v1", key, version, commitment)``.
    """
    leaves = (
        digest("medchain/released-record/v1", key, version.to_bytes(8, "big"), commitment)
        for key, version, commitment in rows
    )
    return Frontier.empty().append([leaf_hash(leaf) for leaf in leaves]).root()


def _request(value: Json) -> ReleaseRequest:
    """Read a request."""
    if type(value) is not dict or "period" not in value:
        raise InputError("encoding.members", member="period")
    span = value["period"]
    top = members({name: item for name, item in value.items() if name != "period"}, _REQUEST)
    types = names(top["resource_types"])
    if top["type"] != _REQUEST_TYPE or (ANY_TYPE in types and len(types) > 1):
        raise InputError("release.malformed", member="resource_types")
    return ReleaseRequest(
        ledger=unhex(top["ledger"], HASH_BYTES),
        custodian=short_text(top["custodian"]),
        recipient=short_text(top["recipient"]),
        grant=unhex(top["grant"], HASH_BYTES),
        purpose=short_text(top["purpose"]),
        resource_types=types,
        period=None if span is None else period(span),
        after=_natural(top["after"]),
        encryption_key=unhex(top["encryption_key"], ID_BYTES).hex(),
        nonce=unhex(top["nonce"], ID_BYTES),
        time=_natural(top["time"]),
    )


def _record(row: Json) -> tuple[ReleasedRecord, int]:
    """Read a record's row; returns it without its envelope, and the envelope's size."""
    if type(row) is not list or len(row) != 5:  # noqa: PLR2004  # the row's five columns
        raise InputError("release.malformed", member="records")
    content_type = row[2]
    if type(content_type) is not str or not 0 < len(content_type) <= _MAX_CONTENT_TYPE or not content_type.isascii():
        raise InputError("release.malformed", member="content_type")
    made = ReleasedRecord(unhex(row[0], ID_BYTES), _natural(row[1], least=1), content_type, _natural(row[3]), b"")
    return made, _natural(row[4], least=1)


def _natural(value: Json, *, least: int = 0) -> int:
    """Read a number that is not below the least."""
    if type(value) is not int or value < least:
        raise InputError("release.malformed", member="number")
    return value
