"""What an insurer and a hospital say to each other about a claim, on the record: steps of a dispute, and their order.

Keeps true: a step counts for one ledger, dispute and sender, has one spelling, and names the step before it, so that
neither side can leave one out, change one or put one between; who may take which step follows from those before it; by
when an answer is due follows from when the hospital was asked. Pure. Trusts nothing that is parsed.
Source: `docs/spec/claim-dispute.md`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Self

from medchain.encoding import Json, members, unhex
from medchain.errors import ConflictError, InputError
from medchain.ledger.kinds.content import DAY_S, count, short_text
from medchain.ledger.signed_request import Request
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

MAX_STEPS: Final = 20
"""Most steps of a dispute."""

MAX_DAYS: Final = 60
"""Longest time to answer."""

MAX_TEXT: Final = 1000
"""Longest text of a step, in characters."""

MAX_RECORDS: Final = 50
"""Most records that a dispute names."""

MAX_DISPUTE_BYTES: Final = 32 * 1024
"""Largest signed step."""

GIVE_UP_S: Final = DAY_S
"""How long a step is brought to who refuses it on end, in seconds: a ledger may be behind there, or a clock."""

ON_END_S: Final = 3600
"""Refusals that lie further apart than this, in seconds, are not on end: a side was away between them."""

ANSWER_GIVE_UP_S: Final = 30 * DAY_S
"""How long an answer is: nobody can give it anew, and who is suspended for some days is refused as long."""

_SHAPE: Final = {
    **dict.fromkeys(("claim", "dispute", "hospital", "insurer", "ledger", "nonce"), str),
    **dict.fromkeys(("previous", "step", "text", "type"), str),
    **dict.fromkeys(("days", "number", "time"), int),
    "records": list,
}
_RECORD: Final = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}")


class StepKind(StrEnum):
    """What somebody says."""

    QUESTION = "question"
    """The insurer asks, and says in how many days it wants an answer."""
    ANSWER = "answer"
    """The hospital answers."""
    CLOSE = "close"
    """The insurer says that it is over."""


_AFTER: Final = {
    None: frozenset({StepKind.QUESTION}),
    StepKind.QUESTION: frozenset({StepKind.ANSWER, StepKind.CLOSE}),
    StepKind.ANSWER: frozenset({StepKind.QUESTION, StepKind.CLOSE}),
    StepKind.CLOSE: frozenset[StepKind](),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeStep(Request):
    """A step of a dispute.

    Attributes:
        dispute: of which, 16 random bytes.
        number: from 1.
        previous: hash of the step before, 32 bytes; None for the first.
        step: what is said.
        hospital: org_id of who is asked.
        insurer: org_id of who asks.
        claim: digest of the insurer's claim, 32 bytes.
        records: what it is about at the hospital, ``Type/id``, sorted; only in the first step.
        days: of a question, in how many days an answer is due; 0 otherwise.
        text: in words; empty only to close.
    """

    TYPE: ClassVar[str] = "medchain/claim-dispute/v1"
    SIGNED_TYPE: ClassVar[str] = "medchain/signed-claim-dispute/v1"
    MALFORMED: ClassVar[str] = "dispute.malformed"

    dispute: bytes
    number: int
    previous: bytes | None
    step: StepKind
    hospital: str
    insurer: str
    claim: bytes
    records: tuple[str, ...]
    days: int
    text: str

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read a step strictly; raises `InputError`."""
        top = members(value, _SHAPE)
        previous, rows = top["previous"], top["records"]
        if top["type"] != cls.TYPE or top["step"] not in {one.value for one in StepKind} or not isinstance(rows, list):
            raise InputError(cls.MALFORMED)
        read = cls(
            ledger=unhex(top["ledger"], HASH_BYTES),
            nonce=unhex(top["nonce"], ID_BYTES),
            time=count(top["time"]),
            dispute=unhex(top["dispute"], ID_BYTES),
            number=count(top["number"]),
            previous=unhex(previous, HASH_BYTES) if previous else None,
            step=StepKind(str(top["step"])),
            hospital=short_text(top["hospital"]),
            insurer=short_text(top["insurer"]),
            claim=unhex(top["claim"], HASH_BYTES),
            records=tuple(str(one) for one in rows),
            days=count(top["days"]),
            text=str(top["text"]),
        )
        if not read.is_well_formed:
            raise InputError(cls.MALFORMED)
        return read

    @property
    def asker(self) -> str:
        """org_id of who takes the step: the hospital answers, all else is the insurer's."""
        return self.hospital if self.step is StepKind.ANSWER else self.insurer

    @property
    def receiver(self) -> str:
        """org_id of who is told."""
        return self.insurer if self.step is StepKind.ANSWER else self.hospital

    @property
    def is_well_formed(self) -> bool:
        """Tell whether a step can stand by itself."""
        is_first, is_question = self.number == 1, self.step is StepKind.QUESTION
        # The last step but one asks nothing any more, so that each question can be answered, and each answer closed.
        most = MAX_STEPS - 2 if is_question else MAX_STEPS
        records = self.records if is_first else ()
        return (
            1 <= self.number <= most
            and (self.previous is None) is is_first
            and (is_question or not is_first)
            and (1 <= self.days <= MAX_DAYS if is_question else self.days == 0)
            and len(self.text) <= MAX_TEXT
            and (bool(self.text.strip()) or self.step is StepKind.CLOSE)
            and self.records == records
            and len(records) <= MAX_RECORDS
            and list(records) == sorted(set(records))
            and all(_RECORD.fullmatch(one) for one in records)
            and self.hospital != self.insurer
        )

    def to_json(self) -> dict[str, Json]:
        """Write the step."""
        return {
            "claim": self.claim.hex(),
            "days": self.days,
            "dispute": self.dispute.hex(),
            "hospital": self.hospital,
            "insurer": self.insurer,
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "number": self.number,
            "previous": "" if self.previous is None else self.previous.hex(),
            "records": [*self.records],
            "step": self.step.value,
            "text": self.text,
            "time": self.time,
            "type": self.TYPE,
        }


@dataclass(frozen=True, slots=True)
class Taken:
    """A step as one side has it.

    Attributes:
        step: what is said.
        by: who of this organisation's staff said it; empty for the other side's.
        heard: when the other side had it, Unix seconds; None while it has not.
        refusal: code with which the other side refuses it; empty where it does not.
        refused: since when it does on end, Unix seconds; None where it does not.
        refused_last: when it did last, Unix seconds; None where it does not.
    """

    step: DisputeStep
    by: str
    heard: int | None
    refusal: str = ""
    refused: int | None = None
    refused_last: int | None = None

    @property
    def is_given_up(self) -> bool:
        """Whether it is brought no more, because the other side went on to refuse it; who is away refuses nothing."""
        if self.heard is not None or self.refused is None or self.refused_last is None:
            return False
        most = ANSWER_GIVE_UP_S if self.step.step is StepKind.ANSWER else GIVE_UP_S
        return self.refused_last - self.refused >= most


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as one side has it.

    Attributes:
        steps: in order; never none.
    """

    steps: tuple[Taken, ...]

    @property
    def first(self) -> DisputeStep:
        """The first question."""
        return self.steps[0].step

    @property
    def last(self) -> Taken:
        """The newest step."""
        return self.steps[-1]

    @property
    def is_open(self) -> bool:
        """Whether the insurer has not said that it is over."""
        return self.last.step.step is not StepKind.CLOSE

    @property
    def due(self) -> int | None:
        """By when the hospital is to answer, Unix seconds; None where it is not, or has not been asked yet.

        From when it was asked: an insurer's clock, or a way that was broken, shortens no deadline.
        """
        if self.last.step.step is not StepKind.QUESTION or self.last.heard is None:
            return None
        return self.last.heard + self.last.step.days * DAY_S

    def is_overdue(self, now: int) -> bool:
        """Tell whether an answer is due and has not come; `now` in Unix seconds."""
        return self.due is not None and self.due < now

    def waits_for(self, org_id: str) -> bool:
        """Tell whether it waits for an organisation to say something.

        That is the hospital after a question, the insurer after an answer, and whose step the other side refused for
        too long.
        """
        if self.last.is_given_up:
            return self.is_open and self.last.step.asker == org_id
        return self.is_open and self.last.step.receiver == org_id


def check_follows(step: DisputeStep, before: Sequence[DisputeStep]) -> None:
    """Check that a step follows those before it.

    Args:
        step: well formed.
        before: all that came before it, in order.

    Raises:
        ConflictError: ``dispute.head`` for one that follows other steps; ``dispute.state`` for one that may not follow.
    """
    newest = before[-1] if before else None
    names = (step.number, step.previous) == (len(before) + 1, None if newest is None else newest.hash)
    if not names:
        raise ConflictError("dispute.head")
    if step.step not in _AFTER[None if newest is None else newest.step]:
        raise ConflictError("dispute.state")
    if newest is not None and _parties(step) != _parties(newest):
        raise ConflictError("dispute.head")


def _parties(step: DisputeStep) -> tuple[str, str, bytes]:
    """Tell between whom it is, and about what."""
    return step.hospital, step.insurer, step.claim
