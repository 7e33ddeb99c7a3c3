"""The answer to a release request, and what both sides hash of it; the request itself is `medchain.ledger.request`.

Keeps true: an answer is bound to one request and one version of one access object. Pure. Trusts nothing that is parsed.
Source: `docs/spec/release.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from medchain.encoding import Json, canonical, digest, members, parse_canonical, unhex
from medchain.errors import InputError
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.tlog.merkle import Frontier, leaf_hash

MAX_RECORDS: Final = 1000
"""Most records of one answer."""

MAX_ANSWER_BYTES: Final = 48 << 20
"""Largest answer; records beyond it are for a further request."""

MAX_DISCLOSURE_BYTES: Final = 16 << 20
"""Largest answer to a request for a claim."""

_ANSWER_TYPE: Final = "medchain/release-answer/v1"
_CLAIM_ANSWER_TYPE: Final = "medchain/claim-release-answer/v1"
_LENGTH_BYTES: Final = 4
_MAX_HEADER_BYTES: Final = 1 << 20
_MAX_CONTENT_TYPE: Final = 100
_HEADER: Final = {
    "access": int,
    "following": int,
    "oversized": int,
    "records": list,
    "request": str,
    "type": str,
    "wraps": int,
}
_CLAIM_HEADER: Final = {"access": int, "request": str, "sealed": int, "type": str}


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


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """What a custodian answers to a request for a claim.

    Attributes:
        request_hash: of the request answered, 32 bytes.
        access_version: version of the access object that lists it.
        sealed: what is disclosed, sealed (`medchain.crypto.sealing.seal_disclosure`).
    """

    request_hash: bytes
    access_version: int
    sealed: bytes

    def encode(self) -> bytes:
        """Write the answer: length of the header (u32) ‖ header ‖ what is sealed."""
        header = canonical(
            {
                "access": self.access_version,
                "request": self.request_hash.hex(),
                "sealed": len(self.sealed),
                "type": _CLAIM_ANSWER_TYPE,
            }
        )
        return b"".join((len(header).to_bytes(_LENGTH_BYTES, "big"), header, self.sealed))


def parse_claim_answer(data: bytes) -> ClaimAnswer:
    """Read an answer to a request for a claim strictly; errors as in `parse_answer`."""
    size = int.from_bytes(data[:_LENGTH_BYTES], "big")
    at = _LENGTH_BYTES + size
    if len(data) > MAX_DISCLOSURE_BYTES or size > _MAX_HEADER_BYTES or len(data) < at:
        raise InputError("release.malformed", size=len(data))
    top = members(parse_canonical(data[_LENGTH_BYTES:at], max_bytes=_MAX_HEADER_BYTES), _CLAIM_HEADER)
    if top["type"] != _CLAIM_ANSWER_TYPE or _natural(top["sealed"], least=1) != len(data) - at:
        raise InputError("release.malformed", size=len(data))
    return ClaimAnswer(unhex(top["request"], HASH_BYTES), _natural(top["access"], least=1), data[at:])


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
