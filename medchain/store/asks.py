"""What patients are asked to permit: here, until they have answered or it has ended; by this organisation, for a while.

Keeps true: an ask is answered once; one organisation, and all of them together about one patient, keep a bounded number
waiting. Trusts callers for who asks and for the clock. Part of the records file.
Source: `docs/spec/ask.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, delete, func, insert, select, update

from medchain.errors import ConflictError, NotFoundError, UnavailableError
from medchain.store.engine import Database
from medchain.store.tables import consent_ask, sent_ask

MAX_OF_ASKER: Final = 10_000
"""Most asks of one organisation that wait."""

MAX_OF_PATIENT: Final = 50
"""Most asks about one patient that wait: more would hide one among others."""


MAX_SENT: Final = 500
"""Most of those that were sent that are listed."""

SENT_KEPT_S: Final = 60 * 86400
"""How long an ask that was sent is kept after its end, in seconds."""


@dataclass(frozen=True, slots=True)
class AskRow:
    """An ask.

    Attributes:
        id: 16 bytes.
        asker: org_id of who asks.
        patient: keyed token of the patient who is asked; nobody's where this node has no such patient.
        document: canonical JSON (`docs/spec/ask.md`).
        created: Unix seconds.
        until: when it ends, Unix seconds.
        answer: ``given`` or ``declined``; None while it waits.
        answered: when, Unix seconds.
        answered_by: map key of the subject that answered in the patient's stead, hexadecimal; None otherwise.
    """

    id: bytes
    asker: str
    patient: str
    document: bytes
    created: int
    until: int
    answer: str | None = None
    answered: int | None = None
    answered_by: str | None = None


@dataclass(frozen=True, slots=True)
class SentAsk:
    """An ask that this organisation has sent.

    Attributes:
        id: 16 bytes.
        custodian: org_id of whose patient is asked.
        patient: keyed token of a patient of this node; empty for another organisation's.
        document: canonical JSON (`docs/spec/ask.md`).
        created: Unix seconds.
        until: when it ends, Unix seconds.
    """

    id: bytes
    custodian: str
    patient: str
    document: bytes
    created: int
    until: int


class AskTable:
    """Asks by patient, and those that were sent."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_ask(self, row: AskRow) -> None:
        """Keep an ask; the same again changes nothing. What ended before is forgotten.

        Raises:
            ConflictError: ``ask.exists`` for another one of that id.
            UnavailableError: ``ask.quota`` where too many wait.
        """
        table, now = consent_ask.c, row.created
        waits = table.answer.is_(None) & (table.until > now)
        with self._database.write("consent_ask") as connection:
            connection.execute(delete(consent_ask).where(table.until <= now, table.answer.is_(None)))
            known = connection.execute(select(consent_ask).where(table.id == row.id)).first()
            if known is not None:
                if (known.asker, known.patient, bytes(known.document)) != (row.asker, row.patient, row.document):
                    raise ConflictError("ask.exists")
                return
            for column, value, most in (
                (table.asker, row.asker, MAX_OF_ASKER),
                (table.patient, row.patient, MAX_OF_PATIENT),
            ):
                counted = select(func.count()).select_from(consent_ask).where(column == value, waits)
                if connection.execute(counted).scalar_one() >= most:
                    raise UnavailableError("ask.quota")
            connection.execute(insert(consent_ask).values(**{name: getattr(row, name) for name in AskRow.__slots__}))

    def asks_of(self, patient: str, now: int) -> list[AskRow]:
        """Return the asks about a patient that wait, and those that were answered, the newest first."""
        table = consent_ask.c
        chosen = select(consent_ask).where(table.patient == patient, (table.until > now) | table.answer.is_not(None))
        with self._database.read("consent_ask") as connection:
            return [_row(row) for row in connection.execute(chosen.order_by(table.created.desc(), table.id))]

    def answer_ask(self, ask_id: bytes, patient: str, answer: str, now: int, *, by: str | None = None) -> None:
        """Note a patient's answer.

        Args:
            ask_id: 16 bytes.
            patient: keyed token of who answers.
            answer: as in `AskRow`.
            now: Unix seconds.
            by: as `AskRow.answered_by`.

        Raises:
            NotFoundError: ``ask.unknown`` for one that is not this patient's, has ended or was answered.
        """
        table = consent_ask.c
        mine = (table.id == ask_id) & (table.patient == patient) & table.answer.is_(None) & (table.until > now)
        with self._database.write("consent_ask") as connection:
            values = {"answer": answer, "answered": now, "answered_by": by}
            changed = connection.execute(update(consent_ask).where(mine).values(values))
            if not changed.rowcount:
                raise NotFoundError("ask.unknown")

    def drop_asks(self, patient: str) -> int:
        """Destroy all asks about a patient, answered or not, and those that were sent; returns how many there were.

        Args:
            patient: keyed token.
        """
        with self._database.erase("consent_ask") as connection:
            tables = (consent_ask, sent_ask)
            return sum(connection.execute(delete(one).where(one.c.patient == patient)).rowcount for one in tables)

    def put_sent(self, row: SentAsk) -> None:
        """Keep an ask that was sent; what ended more than `SENT_KEPT_S` ago is forgotten."""
        with self._database.write("sent_ask") as connection:
            connection.execute(delete(sent_ask).where(sent_ask.c.until <= row.created - SENT_KEPT_S))
            connection.execute(insert(sent_ask).values(**{name: getattr(row, name) for name in SentAsk.__slots__}))

    def sent_asks(self) -> list[SentAsk]:
        """Return the newest asks that were sent, at most `MAX_SENT`, the newest first."""
        chosen = select(sent_ask).order_by(sent_ask.c.until.desc(), sent_ask.c.id).limit(MAX_SENT)
        with self._database.read("sent_ask") as connection:
            return [
                SentAsk(bytes(row.id), row.custodian, row.patient, bytes(row.document), row.created, row.until)
                for row in connection.execute(chosen)
            ]


def _row(row: Row[Any]) -> AskRow:  # Any: SQLAlchemy's own
    """Read a row."""
    document, ended = bytes(row.document), (row.answer, row.answered, row.answered_by)
    return AskRow(bytes(row.id), row.asker, row.patient, document, row.created, row.until, *ended)
