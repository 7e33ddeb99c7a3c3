"""Notices: what patients are to be told, until they have seen it.

Keeps true: one event makes one notice for one person, however often it is looked at; an unsent one stays until it was
sent or acknowledged. Trusts callers for sealed contents and for the clock. Part of the records file.
Source: `docs/spec/notice.md`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, delete, insert, or_, select, tuple_, update

from medchain.errors import NotFoundError
from medchain.store.engine import Database
from medchain.store.tables import notice

MAX_LISTED: Final = 500
"""Most notices of one answer."""


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A notice.

    Attributes:
        id: 16 bytes, of event and addressee.
        subject: map key of the subject object of who is told, 32 bytes; empty for a patient without one.
        patient: keyed token of a patient of this node who is told; empty for others.
        time: of the event, Unix seconds.
        sealed: what is told.
        sent: when it was sent to all contacts that can be reached, Unix seconds; None before.
        acknowledged: when the person said to have seen it; None before.
    """

    id: bytes
    subject: bytes
    patient: str
    time: int
    sealed: bytes
    sent: int | None = None
    acknowledged: int | None = None


class NoticeTable:
    """Notices by addressee."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_notice(self, row: NoticeRow) -> bool:
        """Keep a notice; tells whether it is new."""
        with self._database.write("notice", row.id.hex()) as connection:
            if connection.execute(select(notice.c.id).where(notice.c.id == row.id)).first() is not None:
                return False
            values = {name: getattr(row, name) for name in NoticeRow.__slots__}
            connection.execute(insert(notice).values(**values))
        return True

    def notices_of(self, subjects: Collection[bytes], patients: Collection[str] = ()) -> list[NoticeRow]:
        """Return the newest notices for some subjects and patients, the newest first."""
        chosen = select(notice).where(_of(subjects, patients)).order_by(notice.c.time.desc(), notice.c.id)
        with self._database.read("notice") as connection:
            return [_row(row) for row in connection.execute(chosen.limit(MAX_LISTED))]

    def unsent_notices(self, limit: int, *, after: tuple[int, bytes] = (-1, b"")) -> list[NoticeRow]:
        """Return notices that were neither sent nor acknowledged, the oldest first.

        Args:
            limit: most of them.
            after: time and id of the last one already seen.
        """
        waits = notice.c.sent.is_(None) & notice.c.acknowledged.is_(None)
        waits &= tuple_(notice.c.time, notice.c.id) > after
        chosen = select(notice).where(waits).order_by(notice.c.time, notice.c.id).limit(limit)
        with self._database.read("notice") as connection:
            return [_row(row) for row in connection.execute(chosen)]

    def mark_notice_sent(self, notice_id: bytes, now: int) -> None:
        """Note that a notice was sent."""
        with self._database.write("notice", notice_id.hex()) as connection:
            connection.execute(update(notice).where(notice.c.id == notice_id).values(sent=now))

    def acknowledge_notice(
        self, notice_id: bytes, subjects: Collection[bytes], patients: Collection[str], now: int
    ) -> None:
        """Note that a person has seen a notice; again changes nothing.

        Raises:
            NotFoundError: ``notice.unknown`` for one of somebody else.
        """
        mine = (notice.c.id == notice_id) & _of(subjects, patients)
        with self._database.write("notice", notice_id.hex()) as connection:
            if connection.execute(select(notice.c.id).where(mine)).first() is None:
                raise NotFoundError("notice.unknown")
            unseen = mine & notice.c.acknowledged.is_(None)
            connection.execute(update(notice).where(unseen).values(acknowledged=now))

    def drop_notices(self, subjects: Collection[bytes], patients: Collection[str]) -> int:
        """Destroy all notices for some subjects and patients; returns how many there were."""
        with self._database.erase("notice") as connection:
            return int(connection.execute(delete(notice).where(_of(subjects, patients))).rowcount)


def _of(subjects: Collection[bytes], patients: Collection[str]) -> Any:  # noqa: ANN401  # SQLAlchemy's expression
    """Choose the notices for some subjects and patients; the empty name is nobody's."""
    keys, tokens = [key for key in subjects if key], [token for token in patients if token]
    return or_(notice.c.subject.in_(keys), notice.c.patient.in_(tokens))


def _row(row: Row[Any]) -> NoticeRow:  # Any: SQLAlchemy's own
    """Read a row."""
    return NoticeRow(
        bytes(row.id), bytes(row.subject), row.patient, row.time, bytes(row.sealed), row.sent, row.acknowledged
    )
