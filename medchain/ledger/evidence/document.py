"""``evidence.json``: the insurer's claim to the letter, what it holds itself, and what it was told over signatures.

Keeps true: a document has one spelling and a bounded size; nothing in it is believed by being read. Pure.
Source: `docs/spec/claim-evidence.md` 7 to 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.claim_question import (
    AskedRow,
    ClaimQuestion,
    Known,
    RowAnswer,
    Unanswered,
    answer_json,
    read_answered,
    read_row,
)
from medchain.ledger.evidence.disclosure import SignedDisclosure, checked_reference, read_disclosure
from medchain.ledger.kinds.content import count, short_text
from medchain.ledger.signed_request import SignedRequest, read_request
from medchain.ledger.transaction import HASH_BYTES

EVIDENCE_FILE: Final = "evidence.json"
"""Name of the file in a bundle."""

EVIDENCE_TYPE: Final = "medchain/claim-evidence/v1"
"""Its type member."""

MAX_EVIDENCE_BYTES: Final = 4 * 1024 * 1024
"""Its largest size."""

MAX_CLAIM_BYTES: Final = 1024 * 1024
"""Largest claim, FHIR JSON."""

MAX_WAITING_DAYS: Final = 3650
"""Longest waiting period of a policy."""

_MALFORMED: Final = "evidence.malformed"
_MAX_HELD: Final = 1000
_TOP: Final = {"claim": dict, "disclosures": list, "insurer": str, "ledger": str, "question": dict, "type": str}
_HELD: Final = {"commitment": str, "hospital": str, "reference": str, "version": int}


class Asked(StrEnum):
    """What came of the question whether the invoice is its hospital's, and under which id it is claimed."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    """The hospital has no such invoice, or its check code is another one."""
    OUTSIDE = "outside"
    """It was issued by no member."""
    INACTIVE = "inactive"
    """Who issued it is suspended, or no member any more."""
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    STOPPED = "stopped"
    """Too many questions of that day were in vain."""
    NONE = "none"
    """The insurer has no copy of an invoice to ask for."""


@dataclass(frozen=True, slots=True)
class Held:
    """A copy of a record that the insurer holds, such as one that was released to it.

    Attributes:
        hospital: org_id of whose record it is.
        reference: ``Type/id`` there.
        version: of the copy.
        commitment: recomputed from the copy, 32 bytes.
    """

    hospital: str
    reference: str
    version: int
    commitment: bytes

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "commitment": self.commitment.hex(),
            "hospital": self.hospital,
            "reference": self.reference,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True)
class InsurancePolicy:
    """When the customer is insured.

    Attributes:
        start: first day, ``YYYY-MM-DD``; None where the insurer does not say.
        end: last day; None for no end.
        waiting_days: days from the first on in which nothing is paid.
    """

    start: str | None
    end: str | None
    waiting_days: int

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {"end": self.end, "start": self.start, "waiting_days": self.waiting_days}


@dataclass(frozen=True, slots=True)
class Questioned:
    """The question for the invoice's claim id.

    Attributes:
        state: what came of it.
        hospital: org_id of who was asked; None where nobody was.
        signed: the question; None likewise.
        answer: to the one row that is the claim's; None where there is none.
    """

    state: Asked
    hospital: str | None = None
    signed: SignedRequest[ClaimQuestion] | None = None
    answer: RowAnswer | None = None

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "answer": None if self.answer is None else answer_json(self.answer),
            "hospital": self.hospital,
            "signed": None if self.signed is None else self.signed.to_json(),
            "state": self.state.value,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an insurer gathered for a claim.

    Attributes:
        ledger: ledger id, 32 bytes.
        insurer: org_id.
        content: exact bytes of the claim, FHIR JSON.
        held: copies of records, sorted by hospital, reference and version.
        policy: when the customer is insured; None where the insurer does not say.
        row: what stands on its copy of the invoice; None where it has none.
        disclosures: one for each hospital, sorted by it.
        question: for the invoice's claim id.
    """

    ledger: bytes
    insurer: str
    content: bytes
    held: tuple[Held, ...]
    policy: InsurancePolicy | None
    row: AskedRow | None
    disclosures: tuple[SignedDisclosure, ...]
    question: Questioned

    @property
    def claim(self) -> bytes:
        """Digest of the claim, 32 bytes."""
        return claim_digest(self.content)

    def encode(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical(
            {
                "claim": {
                    "content": base64_text(self.content),
                    "held": [one.to_json() for one in self.held],
                    "policy": None if self.policy is None else self.policy.to_json(),
                    "row": None if self.row is None else self.row.to_json(),
                },
                "disclosures": [one.to_json() for one in self.disclosures],
                "insurer": self.insurer,
                "ledger": self.ledger.hex(),
                "question": self.question.to_json(),
                "type": EVIDENCE_TYPE,
            }
        )


def claim_digest(content: bytes) -> bytes:
    """Hash a claim as requests, disclosures and the ledger's bodies name it, 32 bytes.

    Args:
        content: exact bytes of its FHIR JSON.
    """
    return digest("medchain/insurer-claim/v1", content)


def parse_evidence(document: bytes) -> Evidence:
    """Read ``evidence.json`` strictly; no signature in it is checked.

    Raises:
        InputError: ``evidence.malformed``, ``encoding.*``, ``content.*``, ``claim.*``, ``disclosure.*``, ``invoice.*``.
    """
    top = members(parse_canonical(document, max_bytes=MAX_EVIDENCE_BYTES), _TOP)
    claim = _exactly(top["claim"], {"content", "held", "policy", "row"})
    rows, held = top["disclosures"], claim["held"]
    if top["type"] != EVIDENCE_TYPE or type(rows) is not list or type(held) is not list or len(held) > _MAX_HELD:
        raise InputError(_MALFORMED)
    evidence = Evidence(
        ledger=unhex(top["ledger"], HASH_BYTES),
        insurer=short_text(top["insurer"]),
        content=unbase64(claim["content"], max_bytes=MAX_CLAIM_BYTES),
        held=tuple(_held(one) for one in held),
        policy=None if claim["policy"] is None else _policy(claim["policy"]),
        row=None if claim["row"] is None else read_row(claim["row"]),
        disclosures=tuple(read_disclosure(one) for one in rows),
        question=_question(top["question"]),
    )
    hospitals = [one.disclosure.hospital for one in evidence.disclosures]
    copies = [(one.hospital, one.reference, one.version) for one in evidence.held]
    if hospitals != sorted(set(hospitals)) or copies != sorted(set(copies)):
        raise InputError(_MALFORMED)
    return evidence


def _held(value: Json) -> Held:
    """Read what the insurer holds of a record."""
    top = members(value, _HELD)
    reference, version = checked_reference(top["reference"]), count(top["version"])
    return Held(short_text(top["hospital"]), reference, version, unhex(top["commitment"], HASH_BYTES))


def _policy(value: Json) -> InsurancePolicy:
    """Read when the customer is insured."""
    top = _exactly(value, {"end", "start", "waiting_days"})
    policy = InsurancePolicy(_day(top["start"]), _day(top["end"]), count(top["waiting_days"]))
    if policy.waiting_days > MAX_WAITING_DAYS:
        raise InputError(_MALFORMED, member="waiting_days")
    return policy


def _question(value: Json) -> Questioned:
    """Read the question for the claim id: what was answered is there exactly where that is its state."""
    top = _exactly(value, {"answer", "hospital", "signed", "state"})
    if top["state"] not in [*Asked]:
        raise InputError(_MALFORMED, member="state")
    asked = Questioned(
        state=Asked(str(top["state"])),
        hospital=None if top["hospital"] is None else short_text(top["hospital"]),
        signed=None if top["signed"] is None else read_request(ClaimQuestion, top["signed"]),
        answer=None if top["answer"] is None else read_answered(top["answer"]),
    )
    expected = {Asked.KNOWN: isinstance(asked.answer, Known), Asked.UNKNOWN: asked.answer is Unanswered.UNKNOWN}
    answered = asked.state in expected
    if not expected.get(asked.state, asked.answer is None) or (answered and asked.signed is None):
        raise InputError(_MALFORMED, member="question")
    return asked


def _day(value: Json) -> str | None:
    """Read a day as FHIR writes it, or null."""
    if value is None:
        return None
    try:
        if type(value) is str and date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise InputError(_MALFORMED, member="policy")


def _exactly(value: Json, names: set[str]) -> dict[str, Json]:
    """Take an object with exactly these members."""
    if type(value) is not dict or value.keys() != names:
        raise InputError("encoding.members", member=min(names))
    return value
