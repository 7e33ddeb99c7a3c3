"""What insurers and hospitals say to each other about claims, step by step, each side's own copy.

Keeps true: one step follows another, and none is kept twice; a step of this organisation's that the other side has not
heard gives way to one that the other side took in its place; one organisation opens a bounded number. Trusts callers
for what a step says and for the clock. Part of the records file.
Source: `docs/spec/claim-dispute.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, insert, select, update

from medchain.errors import ConflictError, UnavailableError
from medchain.ledger.kinds.content import DAY_S
from medchain.store.cases import note_claim_changed
from medchain.store.engine import Database
from medchain.store.tables import claim_dispute

MAX_OF_PEER: Final = 10_000
"""Most disputes with one organisation that were opened within `OPENED_S`."""

OPENED_S: Final = 365 * DAY_S
"""A year, in seconds."""

MAX_LISTED: Final = 500
"""Most disputes that are listed."""


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """A step of a dispute.

    Attributes:
        dispute: 16 bytes.
        number: of the step, from 1.
        peer: org_id of the other side.
        claim: digest of the insurer's claim, 32 bytes.
        patient: keyed token of the patient whom it is about; empty where that is nobody known here.
        document: the signed step, canonical JSON.
        author: who of this organisation's staff took it, as the audit names people; empty for the other side's.
        created: when it was kept, Unix seconds.
        heard: when the side that is told had it, Unix seconds; None while it has not.
        is_recorded: whether the node has written it as FHIR resources.
        refusal: code with which the other side refused it last; empty where it did not.
        refused: since when it does on end, Unix seconds; None where it did not.
        refused_last: when it did last, Unix seconds; None where it did not.
    """

    dispute: bytes
    number: int
    peer: str
    claim: bytes
    patient: str
    document: bytes
    author: str
    created: int
    heard: int | None
    is_recorded: bool = False
    refusal: str = ""
    refused: int | None = None
    refused_last: int | None = None


class DisputeTable:
    """Steps by dispute."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_dispute_step(self, row: DisputeRow, *, displaces: bool = False) -> None:
        """Keep a step, the next one of its dispute.

        Args:
            row: the step.
            displaces: whether one of this organisation's that nobody has heard gives way.

        Raises:
            ConflictError: ``dispute.head`` where it is not the next one.
            UnavailableError: ``dispute.quota`` where too many were opened with the other side.
        """
        table = claim_dispute.c
        with self._database.write("claim_dispute") as connection:
            if displaces:
                unheard = (table.dispute == row.dispute) & (table.number == row.number) & table.heard.is_(None)
                connection.execute(delete(claim_dispute).where(unheard))
            newest = select(func.max(table.number)).where(table.dispute == row.dispute)
            if (connection.execute(newest).scalar_one() or 0) != row.number - 1:
                raise ConflictError("dispute.head")
            if row.number == 1:
                _check_quota(connection, row)
            values = {name: getattr(row, name) for name in DisputeRow.__slots__}
            connection.execute(insert(claim_dispute).values(**values | {"is_recorded": int(row.is_recorded)}))
            note_claim_changed(connection, row.claim)

    def dispute_steps(self, dispute: bytes) -> list[DisputeRow]:
        """Return the steps of a dispute, in order; none for one that is not here."""
        return self._steps(claim_dispute.c.dispute == dispute)

    def disputes(self, claim: bytes | None = None) -> list[list[DisputeRow]]:
        """Return disputes with their steps, those opened last at the top, at most `MAX_LISTED`.

        Args:
            claim: digest of a claim, of which alone; None for all.
        """
        table = claim_dispute.c
        opened = select(table.dispute, table.created).where(table.number == 1)
        if claim is not None:
            opened = opened.where(table.claim == claim)
        with self._database.read("claim_dispute") as connection:
            chosen = opened.order_by(table.created.desc(), table.dispute).limit(MAX_LISTED)
            ids = [bytes(row.dispute) for row in connection.execute(chosen)]
        return self.disputes_named(ids)

    def disputes_named(self, ids: Sequence[bytes]) -> list[list[DisputeRow]]:
        """Return the steps of disputes, at most `MAX_LISTED`, in their order; nothing of one that is not here."""
        found: dict[bytes, list[DisputeRow]] = {one: [] for one in ids}
        for row in self._steps(claim_dispute.c.dispute.in_(ids)):
            found[row.dispute].append(row)
        return [steps for steps in found.values() if steps]

    def newest_dispute_steps(self, claim: bytes | None = None) -> list[DisputeRow]:
        """Return the newest step of each dispute, however many there are; `claim` as of `disputes`."""
        table = claim_dispute.c
        last = select(table.dispute, func.max(table.number).label("number")).group_by(table.dispute)
        if claim is not None:
            last = last.where(table.claim == claim)
        newest = last.subquery()
        is_last = (table.dispute == newest.c.dispute) & (table.number == newest.c.number)
        with self._database.read("claim_dispute") as connection:
            return [_row(row) for row in connection.execute(select(claim_dispute).join(newest, is_last))]

    def unheard_steps(self, limit: int, *, given_up_s: int) -> list[DisputeRow]:
        """Return this organisation's steps that the other side has not heard, the oldest first.

        Args:
            limit: most of each other side's, so that one who is away keeps nobody else waiting.
            given_up_s: what it refused for so many seconds on end is left out, and what follows that.
        """
        table = claim_dispute.c
        unheard = table.heard.is_(None)
        given_up = select(table.dispute).where(unheard & (table.refused_last - table.refused >= given_up_s))
        chosen = sorted(
            self._steps(unheard & table.dispute.not_in(given_up)), key=lambda one: (one.created, one.dispute)
        )
        taken = Counter[str]()
        found: list[DisputeRow] = []
        for row in chosen:
            taken[row.peer] += 1
            if taken[row.peer] <= limit:
                found.append(row)
        return found

    def note_heard(self, row: DisputeRow, heard: int) -> None:
        """Note when the other side had a step."""
        with self._database.write("claim_dispute") as connection:
            told = {"heard": heard, "refusal": "", "refused": None, "refused_last": None}
            connection.execute(update(claim_dispute).where(_one(row)).values(**told))

    def note_refused(self, row: DisputeRow, code: str, time: int, *, on_end_s: int) -> None:
        """Note that the other side refuses a step that it has not heard.

        Args:
            row: the step.
            code: why, at most 64 characters.
            time: Unix seconds.
            on_end_s: refusals that lie further apart than so many seconds are not on end: it counts anew from this one.
        """
        table = claim_dispute.c
        since = case((table.refused_last >= time - on_end_s, table.refused), else_=time)
        with self._database.write("claim_dispute") as connection:
            unheard = _one(row) & claim_dispute.c.heard.is_(None)
            connection.execute(
                update(claim_dispute).where(unheard).values(refusal=code, refused=since, refused_last=time)
            )

    def unrecorded_steps(self, limit: int) -> list[DisputeRow]:
        """Return steps that both sides have, and that are not written as FHIR resources yet; in order."""
        table = claim_dispute.c
        return self._steps(table.heard.is_not(None) & (table.is_recorded == 0))[:limit]

    def note_recorded(self, row: DisputeRow) -> None:
        """Note that a step is written as FHIR resources."""
        with self._database.write("claim_dispute") as connection:
            connection.execute(update(claim_dispute).where(_one(row)).values(is_recorded=1))

    def drop_disputes(self, patient: str) -> int:
        """Destroy what is kept of disputes about a patient; returns how many steps there were.

        Args:
            patient: keyed token.
        """
        with self._database.erase("claim_dispute") as connection:
            return connection.execute(delete(claim_dispute).where(claim_dispute.c.patient == patient)).rowcount

    def _steps(self, chosen: ColumnElement[bool]) -> list[DisputeRow]:
        """Return steps, in order."""
        table = claim_dispute.c
        with self._database.read("claim_dispute") as connection:
            rows = connection.execute(select(claim_dispute).where(chosen).order_by(table.dispute, table.number))
            return [_row(row) for row in rows]


def _check_quota(connection: Connection, row: DisputeRow) -> None:
    """See that not too many were opened with one organisation."""
    table = claim_dispute.c
    lately = (table.peer == row.peer) & (table.number == 1) & (table.created > row.created - OPENED_S)
    if connection.execute(select(func.count()).select_from(claim_dispute).where(lately)).scalar_one() >= MAX_OF_PEER:
        raise UnavailableError("dispute.quota")


def _one(row: DisputeRow) -> ColumnElement[bool]:
    """Choose one row."""
    return (claim_dispute.c.dispute == row.dispute) & (claim_dispute.c.number == row.number)


def _row(row: Row[Any]) -> DisputeRow:  # Any: SQLAlchemy's own
    """Read a row."""
    ids, told = (bytes(row.dispute), row.number), (row.peer, bytes(row.claim), row.patient, bytes(row.document))
    refused = row.refusal, row.refused, row.refused_last
    return DisputeRow(*ids, *told, row.author, row.created, row.heard, bool(row.is_recorded), *refused)
