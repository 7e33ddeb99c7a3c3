"""Notices: what patients are to be told, until they have seen it, and the ways on which it goes to them.

Keeps true: one event makes one notice for one person, however often it is looked at; a notice and its dispatches are
kept together, and destroyed together with what the person chose of them; a dispatch waits until it was sent, given up,
or the person has seen the notice. Trusts callers for sealed contents and for the clock. Part of the records file.
Source: `docs/spec/notice.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, delete, func, insert, or_, select, update

from medchain.errors import NotFoundError
from medchain.store.engine import Database
from medchain.store.tables import dispatch, notice, notice_choice

MAX_LISTED: Final = 500
"""Most notices of one answer, and most dispatches that one message covers."""


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A notice.

    Attributes:
        id: 16 bytes, of event and addressee.
        subject: map key of the subject object of who is told, 32 bytes; empty for a patient without one.
        patient: keyed token of a patient of this node who is told; empty for others.
        time: of the event, Unix seconds.
        sealed: what is told.
        sent: when a contact was sent word of it first, Unix seconds; None before.
        acknowledged: when the person said to have seen it; None before.
    """

    id: bytes
    subject: bytes
    patient: str
    time: int
    sealed: bytes
    sent: int | None = None
    acknowledged: int | None = None


class Dispatch(NamedTuple):
    """That word of a notice goes to one contact.

    Attributes:
        notice: its id, 16 bytes.
        place: keyed name of the contact, 16 bytes: equal for equal addresses.
        channel: that reaches it.
        urgent: whether it waits for no other, 0 or 1.
        created: since when it waits, Unix seconds.
        due: when it is tried next; None where it is not.
        sent: when it was sent; None where it was not.
        code: why it was not, so far or for good; empty for one that was or was not tried.
    """

    notice: bytes
    place: bytes
    channel: str
    urgent: int
    created: int
    due: int | None
    sent: int | None = None
    code: str = ""


class NoticeTable:
    """Notices by addressee, and their dispatches."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_notice(self, row: NoticeRow, dispatches: Sequence[Dispatch] = ()) -> bool:
        """Keep a notice and where it goes; tells whether it is new, and keeps nothing of one that is not."""
        with self._database.write("notice", row.id.hex()) as connection:
            if connection.execute(select(notice.c.id).where(notice.c.id == row.id)).first() is not None:
                return False
            values = {name: getattr(row, name) for name in NoticeRow.__slots__}
            connection.execute(insert(notice).values(**values))
            for one in dispatches:
                connection.execute(insert(dispatch).values(one))
        return True

    def notice(self, notice_id: bytes) -> NoticeRow:
        """Return a notice; raises `NotFoundError` ``notice.unknown``."""
        with self._database.read("notice", notice_id.hex()) as connection:
            row = connection.execute(select(notice).where(notice.c.id == notice_id)).first()
        if row is None:
            raise NotFoundError("notice.unknown")
        return _row(row)

    def notices_of(self, subjects: Collection[bytes], patients: Collection[str] = ()) -> list[NoticeRow]:
        """Return the newest notices for some subjects and patients, the newest first."""
        chosen = select(notice).where(_of(subjects, patients)).order_by(notice.c.time.desc(), notice.c.id)
        with self._database.read("notice") as connection:
            return [_row(row) for row in connection.execute(chosen.limit(MAX_LISTED))]

    def acknowledge_notice(
        self, notice_id: bytes, subjects: Collection[bytes], patients: Collection[str], now: int
    ) -> None:
        """Note that a person has seen a notice, which then goes nowhere any more; again changes nothing.

        Raises:
            NotFoundError: ``notice.unknown`` for one of somebody else.
        """
        mine = (notice.c.id == notice_id) & _of(subjects, patients)
        with self._database.write("notice", notice_id.hex()) as connection:
            if connection.execute(select(notice.c.id).where(mine)).first() is None:
                raise NotFoundError("notice.unknown")
            unseen = mine & notice.c.acknowledged.is_(None)
            connection.execute(update(notice).where(unseen).values(acknowledged=now))
            waiting = (dispatch.c.notice == notice_id) & dispatch.c.due.is_not(None)
            connection.execute(update(dispatch).where(waiting).values(due=None, code=""))

    def drop_notices(self, subjects: Collection[bytes], patients: Collection[str]) -> int:
        """Destroy all notices for some subjects and patients, where they went and what those chose of them.

        Returns:
            How many notices there were.
        """
        mine = _of(subjects, patients)
        with self._database.erase("notice") as connection:
            connection.execute(delete(notice_choice).where(notice_choice.c.subject.in_(subjects)))
            connection.execute(delete(dispatch).where(dispatch.c.notice.in_(select(notice.c.id).where(mine))))
            return int(connection.execute(delete(notice).where(mine)).rowcount)

    def quiet_topics(self, subject: bytes) -> set[str]:
        """Return of which topics a person (map key of the subject object) wants no word sent."""
        chosen = select(notice_choice.c.topic).where(notice_choice.c.subject == subject)
        with self._database.read("notice_choice") as connection:
            return set(connection.execute(chosen).scalars())

    def choose_topics(self, subject: bytes, quiet: Collection[str]) -> None:
        """Keep of which topics a person wants no word sent, in place of what was chosen before."""
        with self._database.write("notice_choice") as connection:
            connection.execute(delete(notice_choice).where(notice_choice.c.subject == subject))
            for topic in sorted(set(quiet)):
                connection.execute(insert(notice_choice).values(subject=subject, topic=topic))

    def next_dispatch(self, channel: str, now: int, latest: int) -> Dispatch | None:
        """Return what a channel is to send next: what is urgent, then what has been due for longest.

        What is due after the latest time to which anything is put off was noted by a clock that was ahead: it is due.
        """
        due = (dispatch.c.channel == channel) & ((dispatch.c.due <= now) | (dispatch.c.due > latest))
        chosen = select(dispatch).where(due).order_by(dispatch.c.urgent.desc(), dispatch.c.due)
        with self._database.read("dispatch") as connection:
            row = connection.execute(chosen.limit(1)).first()
        return None if row is None else Dispatch(*row)

    def dispatches_to(self, place: bytes) -> list[Dispatch]:
        """Return what waits for one contact, the oldest first."""
        waiting = (dispatch.c.place == place) & dispatch.c.due.is_not(None)
        chosen = select(dispatch).where(waiting).order_by(dispatch.c.created, dispatch.c.notice)
        with self._database.read("dispatch") as connection:
            return [Dispatch(*row) for row in connection.execute(chosen.limit(MAX_LISTED))]

    def sent_to(self, place: bytes, since: int, until: int) -> list[int]:
        """Return at which times from one to another a contact was sent a message, in their order."""
        chosen = select(dispatch.c.sent).where((dispatch.c.place == place) & dispatch.c.sent.between(since, until))
        with self._database.read("dispatch") as connection:
            return list(connection.execute(chosen.distinct().order_by(dispatch.c.sent)).scalars())

    def mark_sent(self, dispatches: Sequence[Dispatch], now: int) -> None:
        """Note that one message was sent for some dispatches to one contact."""
        notices = [one.notice for one in dispatches]
        with self._database.write("dispatch") as connection:
            for one in dispatches:
                connection.execute(update(dispatch).where(_one(one)).values(due=None, sent=now, code=""))
            first = notice.c.id.in_(notices) & notice.c.sent.is_(None)
            connection.execute(update(notice).where(first).values(sent=now))

    def put_off(self, dispatches: Sequence[Dispatch], due: int | None, code: str) -> None:
        """Note why some dispatches were not sent, and when they are tried again; None gives them up."""
        with self._database.write("dispatch") as connection:
            for one in dispatches:
                connection.execute(update(dispatch).where(_one(one)).values(due=due, code=code))

    def waiting_dispatches(self, channel: str, beside: Collection[str]) -> tuple[int, int | None]:
        """Tell how many dispatches of a channel wait, and since when the oldest one does.

        Args:
            channel: which.
            beside: codes of those that are not counted.

        Returns:
            The number, and Unix seconds, None where none waits.
        """
        waiting = (dispatch.c.channel == channel) & dispatch.c.due.is_not(None) & dispatch.c.code.not_in(beside)
        with self._database.read("dispatch") as connection:
            count, oldest = connection.execute(select(func.count(), func.min(dispatch.c.created)).where(waiting)).one()
        return int(count), oldest

    def is_given_up(self, place: bytes) -> bool:
        """Tell whether what a contact was to be sent last was given up."""
        ended = (dispatch.c.place == place) & dispatch.c.due.is_(None)
        ended &= dispatch.c.sent.is_not(None) | (dispatch.c.code != "")
        chosen = select(dispatch.c.sent).where(ended).order_by(dispatch.c.created.desc())
        with self._database.read("dispatch") as connection:
            row = connection.execute(chosen.limit(1)).first()
        return row is not None and row.sent is None

    def undelivered(self, notices: Collection[bytes]) -> set[bytes]:
        """Tell of which of some notices (their ids) a contact was not reached, and is tried no more."""
        given_up = dispatch.c.due.is_(None) & dispatch.c.sent.is_(None) & (dispatch.c.code != "")
        chosen = select(dispatch.c.notice).where(dispatch.c.notice.in_(notices) & given_up)
        with self._database.read("dispatch") as connection:
            return {bytes(found) for found in connection.execute(chosen).scalars()}


def _of(subjects: Collection[bytes], patients: Collection[str]) -> Any:  # noqa: ANN401  # SQLAlchemy's expression
    """Choose the notices for some subjects and patients; the empty name is nobody's."""
    keys, tokens = [key for key in subjects if key], [token for token in patients if token]
    return or_(notice.c.subject.in_(keys), notice.c.patient.in_(tokens))


def _one(row: Dispatch) -> Any:  # noqa: ANN401  # SQLAlchemy's expression
    """Choose a dispatch as it was read: one that was closed since then stays so."""
    return (dispatch.c.notice == row.notice) & (dispatch.c.place == row.place) & dispatch.c.due.is_not(None)


def _row(row: Row[Any]) -> NoticeRow:  # Any: SQLAlchemy's own
    """Read a row."""
    return NoticeRow(
        bytes(row.id), bytes(row.subject), row.patient, row.time, bytes(row.sealed), row.sent, row.acknowledged
    )
