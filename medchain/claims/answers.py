"""What others have answered about a claim, as a case keeps it: to be judged again without asking them again.

Keeps true: it reads back as it was written; what cannot be read is as if nobody had answered. Pure. Trusts the store.
Source: `docs/spec/claim-case.md` 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from medchain.encoding import Json, as_list, as_number, as_object, base64_text, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.claim_question import AskedRow
from medchain.ledger.evidence.disclosure import SignedDisclosure
from medchain.ledger.evidence.document import MAX_EVIDENCE_BYTES, Asked, Evidence, Questioned, parse_evidence
from medchain.ledger.transaction import ID_BYTES
from medchain.node.disclosed import RecordOpening

_MAX_OPENING_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Told:
    """What one hospital has disclosed.

    Attributes:
        signed: what it says.
        openings: one for each of its records, in their order.
        version: of the access entry that lists the request.
    """

    signed: SignedDisclosure
    openings: tuple[RecordOpening, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of asking.

    Attributes:
        row: the invoice that was asked for; None for none.
        question: what came of the question for it.
        told: org_id → what that hospital has disclosed.
        failures: org_id → stable code of why nothing came from there.
        checkpoint: newest final one when it was judged, a signed note; empty before the first time.
    """

    row: AskedRow | None = None
    question: Questioned = field(default_factory=lambda: Questioned(Asked.NONE))
    told: Mapping[str, Told] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    checkpoint: bytes = b""


def kept_json(answers: Answers, evidence: Evidence) -> Json:
    """Write what is kept.

    Args:
        answers: what came of asking.
        evidence: as it was judged; it holds what was signed.
    """
    told: dict[str, Json] = {}
    for org_id, one in answers.told.items():
        rows: list[Json] = [
            [row.object_id.hex(), row.version, None if row.opening is None else base64_text(row.opening)]
            for row in one.openings
        ]
        told[org_id] = {"openings": rows, "version": one.version}
    return {
        "checkpoint": base64_text(answers.checkpoint),
        "evidence": base64_text(evidence.encode()),
        "failures": dict(answers.failures),
        "told": told,
    }


def read_kept(value: Json) -> Answers:
    """Read what is kept; nothing for null, and for what another release of this software has written otherwise."""
    try:
        return Answers() if value is None else _read(as_object(value))
    except InputError:
        return Answers()


def _read(kept: Mapping[str, Json]) -> Answers:
    """Read it; raises `InputError`."""
    evidence = parse_evidence(unbase64(kept.get("evidence"), max_bytes=MAX_EVIDENCE_BYTES))
    signed = {one.disclosure.hospital: one for one in evidence.disclosures}
    told = {
        org_id: Told(signed[org_id], tuple(map(_opening, as_list(row["openings"]))), as_number(row["version"]))
        for org_id, row in ((name, as_object(one)) for name, one in as_object(kept.get("told")).items())
        if org_id in signed
    }
    failures = {org_id: str(code) for org_id, code in as_object(kept.get("failures")).items()}
    checkpoint = unbase64(kept.get("checkpoint"))
    return Answers(evidence.row, evidence.question, told, failures, checkpoint)


def _opening(value: Json) -> RecordOpening:
    """Read what is opened of a record."""
    object_id, version, opening = as_list(value)
    shown = None if opening is None else unbase64(opening, max_bytes=_MAX_OPENING_BYTES)
    return RecordOpening(unhex(object_id, ID_BYTES), as_number(version), shown)
