"""What a case holds beside its claim: the document that is kept with it, and how the node's own processes see it.

Keeps true: a document has one spelling; what is added to it is bounded. Pure. Trusts the store for what it reads.
Source: `docs/spec/claim-case.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from medchain.claims.claim_file import read_policy
from medchain.claims.einvoice import DOUBTED
from medchain.encoding import (
    Json,
    as_list,
    as_object,
    as_objects,
    base64_text,
    canonical,
    members,
    parse_canonical,
    unbase64,
    unhex,
)
from medchain.errors import ConflictError, InputError
from medchain.ledger.claim_question import AskedRow, read_row
from medchain.ledger.evidence.disclosure import checked_reference
from medchain.ledger.evidence.document import Held, InsurancePolicy
from medchain.ledger.kinds.content import count, short_text
from medchain.ledger.transaction import HASH_BYTES
from medchain.store.cases import CaseRow

MAX_DOCUMENT_BYTES: Final = 48 << 20
"""Largest document of a case."""

MAX_NOTES: Final = 200
"""Most notes of a case."""

MAX_NOTE: Final = 2000
"""Longest note, in characters."""

MAX_VERDICTS: Final = 100
"""Most verdicts that are remembered, the newest ones."""

MAX_HELD: Final = 400
"""Most copies of records that are compared."""

GREEN: Final = "green"
"""Colour of a verdict on which is paid without a person's look."""

GATHERING: Final = "gathering"
"""Shown in the place of the status while evidence is being gathered."""

_LISTS: Final = ("asks", "deeds", "notes", "verdicts")
_JUDGED: Final = ("content", "row", "policy", "patients", "held")
_HELD: Final = {"commitment": str, "hospital": str, "reference": str, "version": int}


class Status(StrEnum):
    """What was done with a case."""

    NEW = "new"
    ASKED = "asked"
    """The patient was asked for a permission."""
    PERMITTED = "permitted"
    """The patient has permitted it: the evidence can be gathered."""
    JUDGED = "judged"
    RESERVED = "reserved"
    SETTLED = "settled"
    REFUSED = "refused"
    """This insurer does not pay."""


BEFORE_EVIDENCE: Final = (Status.NEW, Status.ASKED, Status.PERMITTED)
"""States of a case whose evidence is still to come."""


@dataclass(frozen=True, slots=True)
class CaseContent:
    """What a case holds.

    Attributes:
        content: the claim's bytes.
        row: the invoice, as the insurer holds it; None for none.
        policy: what of the policy decides; None where it is not known.
        patients: org_id → id of the patient there, as far as it is known.
        held: copies of records that the insurer holds, in the order of the evidence.
        notes: of the desk: ``by``, ``text``, ``time``.
        asks: sent to the patient: ``cited``, ``hospital``, ``id``, ``time``.
        deeds: done on the ledger: ``action``, ``amount``, ``currency``, ``key``, ``position``, ``time``, ``version``.
        verdicts: of each time that it was judged: ``colour``, ``position``, ``time``.
        einvoice: what a service for electronic invoices said of the invoice when the claim was judged last, beside the
            verdict: ``answer``, ``stand_in``, ``time``; None where none was asked.
        gathered: what others have answered, to judge again without asking them: `medchain.claims.gathering`.
        said: how many questions and answers there were in disputes about the claim when it was judged last.
    """

    content: bytes
    row: AskedRow | None
    policy: InsurancePolicy | None
    patients: Mapping[str, str] = field(default_factory=dict)
    held: tuple[Held, ...] = ()
    notes: tuple[dict[str, Json], ...] = ()
    asks: tuple[dict[str, Json], ...] = ()
    deeds: tuple[dict[str, Json], ...] = ()
    verdicts: tuple[dict[str, Json], ...] = ()
    gathered: Json = None
    einvoice: Json = None
    said: int = 0

    def encode(self) -> bytes:
        """Write it as canonical JSON."""
        lists = {name: [*getattr(self, name)] for name in _LISTS}
        document: dict[str, Json] = {
            "content": base64_text(self.content),
            "einvoice": self.einvoice,
            "gathered": self.gathered,
            "held": [one.to_json() for one in self.held],
            "patients": dict(self.patients),
            "policy": None if self.policy is None else self.policy.to_json(),
            "row": None if self.row is None else self.row.to_json(),
            "said": self.said,
            **lists,
        }
        return canonical(document)

    @classmethod
    def decode(cls, data: bytes) -> CaseContent:
        """Read it; raises `InputError`."""
        top = parse_canonical(data, max_bytes=MAX_DOCUMENT_BYTES)
        if not isinstance(top, dict):
            raise InputError("encoding.members", member="content")
        lists = {name: tuple(as_objects(top.get(name))) for name in _LISTS}
        row = top.get("row")
        return cls(
            content=unbase64(top.get("content"), max_bytes=len(data)),
            row=None if row is None else read_row(row),
            policy=read_policy(top.get("policy")),
            patients={org_id: str(one) for org_id, one in as_object(top.get("patients")).items()},
            held=read_held(top.get("held")),
            gathered=top.get("gathered"),
            einvoice=top.get("einvoice"),
            said=count(top.get("said", 0)),
            **lists,
        )

    def is_judged_as(self, other: CaseContent) -> bool:
        """Tell whether a verdict on one is a verdict on the other: notes, asks and deeds decide nothing."""
        return all(getattr(self, name) == getattr(other, name) for name in _JUDGED)

    @property
    def asked(self) -> frozenset[str]:
        """org_ids of the hospitals whose patient was asked."""
        return frozenset(str(one["hospital"]) for one in self.asks)

    def waits_as(self, held: Collection[str]) -> Status:
        """Tell in which state a case is whose evidence is still to come.

        Args:
            held: org_ids of the hospitals for whose records a permission for exactly this claim is in force.
        """
        if held and self.asked <= set(held):
            return Status.PERMITTED
        return Status.ASKED if self.asks else Status.NEW

    def judged(self, colour: str, position: int, time: int) -> CaseContent:
        """Remember that it was judged, and as of which entry of the ledger."""
        verdict: dict[str, Json] = {"colour": colour, "position": position, "time": time}
        return replace(self, verdicts=(*self.verdicts, verdict)[-MAX_VERDICTS:])

    def noted(self, by: str, text: str, time: int) -> CaseContent:
        """Add a note.

        Raises:
            InputError: ``case.note`` for an empty or too long text; ``content.*`` for who wrote it.
            ConflictError: ``case.notes`` where there are too many.
        """
        if not 0 < len(text.strip()) <= MAX_NOTE:
            raise InputError("case.note", limit=MAX_NOTE)
        if len(self.notes) >= MAX_NOTES:
            raise ConflictError("case.notes", limit=MAX_NOTES)
        note: dict[str, Json] = {"by": short_text(by), "text": text.strip(), "time": time}
        return replace(self, notes=(*self.notes, note))


def read_held(value: Json) -> tuple[Held, ...]:
    """Read which copies of records an insurer holds; raises `InputError` ``case.held`` and those of their texts."""
    rows = as_list(value)
    read = {(one.hospital, one.reference, one.version): one for one in map(_held, rows)}
    if len(rows) > MAX_HELD or len(read) != len(rows):
        raise InputError("case.held", limit=MAX_HELD)
    return tuple(one for _, one in sorted(read.items()))


def _held(value: Json) -> Held:
    """Read one copy."""
    row = members(value, _HELD)
    version, commitment = count(row["version"]), unhex(row["commitment"], HASH_BYTES)
    return Held(short_text(row["hospital"]), checked_reference(row["reference"]), version, commitment)


def case_json(row: CaseRow, progress: Json, *, is_disputed: bool) -> dict[str, Json]:
    """Write a case for lists.

    Args:
        row: as it is kept.
        progress: how far the gathering of its evidence is; None where none is under way.
        is_disputed: whether a dispute about its claim is open.
    """
    amount: Json = None if row.amount is None else {"currency": row.currency, "minor": row.amount}
    return {
        "amount": amount,
        "claim": row.claim,
        "colour": row.colour,
        "created": row.created,
        "digest": row.digest.hex(),
        "disputed": is_disputed,
        "hospital": row.hospital or None,
        "id": row.id.hex(),
        "judged_at": row.judged,
        "number": row.number,
        "progress": progress,
        "status": row.status if progress is None else GATHERING,
    }


def is_for_a_person(case: Mapping[str, Json]) -> bool:
    """Tell whether a person must look at a case before anything is paid for it.

    Its verdict is not green, or another one is under way or came to nothing; it was refused; a dispute about it is
    open; or a service for electronic invoices doubts its invoice.

    Args:
        case: as it is listed, with its `einvoice` and `stated`.
    """
    is_open = case["disputed"] is True or case.get("failed") is not None
    is_open = is_open or is_doubted(case) or is_unmet(case)
    return case["colour"] != GREEN or is_open or case["status"] in (GATHERING, Status.REFUSED)


def is_doubted(case: Mapping[str, Json]) -> bool:
    """Tell whether a service for electronic invoices says that the invoice of a case is not what it should be."""
    return as_object(case.get("einvoice")).get("answer") in DOUBTED


def is_unmet(case: Mapping[str, Json]) -> bool:
    """Tell whether a hospital says no, or not yes, to what the insurer's policies ask of a claim, or nothing can."""
    rows = [one for stated in as_object(case.get("stated") or {}).values() for one in as_objects(stated)]
    return bool(case.get("unasked")) or any(one["value"] is not True for one in rows)


def full_json(row: CaseRow, content: CaseContent, more: Mapping[str, Json]) -> dict[str, Json]:
    """Write what only a case that is looked at shows beside `case_json`."""
    verdict = parse_canonical(row.verdict, max_bytes=len(row.verdict)) if row.verdict else None
    return {
        **{name: [*getattr(content, name)] for name in _LISTS},
        "content": base64_text(content.content),
        "einvoice": content.einvoice,
        "failures": failures_of(content.gathered),
        "patients": dict(content.patients),
        "policy": None if content.policy is None else content.policy.to_json(),
        "row": None if content.row is None else content.row.to_json(),
        "verdict": verdict,
        **more,
    }


def failures_of(gathered: Json) -> dict[str, Json]:
    """Tell of what is kept of answers why nothing came from a hospital: org_id → stable code."""
    failures = gathered.get("failures") if isinstance(gathered, dict) else None
    return dict(failures) if isinstance(failures, dict) else {}
