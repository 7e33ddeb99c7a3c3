"""What a node has seen and somebody must look at: alarms, refused requests by number, draws of endorsers by number.

Keeps true: an alarm stays until it is acknowledged, over restarts; what others can cause without end is counted, not
listed, so that no table grows with their attempts. Trusts callers for fields without patient data. Part of the records
file.
Source: `docs/spec/store.md`, `docs/operations.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from medchain.errors import NotFoundError
from medchain.store.engine import Database
from medchain.store.tables import alarm, draw_span, endorsed, refusal, watched

MAX_OPEN_ALARMS: Final = 1000
"""Most alarms of one code that wait for somebody; the first ones matter most."""

KEPT_DAYS: Final = 400
"""For how many days refusals and endorsements are counted."""

MAX_REASONS: Final = 64
"""Most reasons of one requester and day that are told apart."""

OTHER: Final = "other"
"""Reason of those that are not."""

KEPT_SPANS: Final = 2
"""How many spans of draws of one creator are kept."""


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm that was raised.

    Attributes:
        id: number.
        code: stable code.
        subject: whom or what it is about, such as an org_id; one alarm of a code and subject is open at a time.
        height: of the ledger when it was seen first.
        fields: canonical JSON of what explains it, as it was seen first.
        first: when it was seen first, Unix seconds.
        last: when it was seen last.
        count: how often.
        acknowledged: when somebody acknowledged it, None while nobody has.
        note: what that person wrote.
    """

    id: int
    code: str
    subject: str
    height: int
    fields: bytes
    first: int
    last: int
    count: int
    acknowledged: int | None
    note: str


class AlarmTable:
    """Alarms."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def raise_alarm(self, code: str, subject: str, height: int, fields: bytes, time: int) -> bool:
        """Keep an alarm; one of its code and subject that is open already is counted once more.

        Returns:
            Whether it is new; not so where there are too many of its code, which hide none of another.
        """
        is_open = (alarm.c.code == code) & (alarm.c.subject == subject) & alarm.c.acknowledged.is_(None)
        with self._database.write("alarm") as connection:
            again = update(alarm).where(is_open).values(last=time, count=alarm.c.count + 1)
            if connection.execute(again).rowcount:
                return False
            same = (alarm.c.code == code) & alarm.c.acknowledged.is_(None)
            waiting = select(func.count()).select_from(alarm).where(same)
            if connection.execute(waiting).scalar_one() >= MAX_OPEN_ALARMS:
                return False
            values = {"code": code, "subject": subject, "height": height, "fields": fields, "first": time, "last": time}
            connection.execute(insert(alarm).values(**values, count=1, acknowledged=None, note=""))
        return True

    def is_alarm_open(self, code: str) -> bool:
        """Tell whether an alarm of a code waits for somebody, however many others do."""
        chosen = select(alarm.c.id).where((alarm.c.code == code) & alarm.c.acknowledged.is_(None))
        with self._database.read("alarm") as connection:
            return connection.execute(chosen.limit(1)).first() is not None

    def alarms(
        self, *, acknowledged: bool = False, code: str | None = None, limit: int = MAX_OPEN_ALARMS
    ) -> list[AlarmRow]:
        """Return alarms, of one code if it is given.

        Those that wait for somebody come the oldest first, those acknowledged the newest first.
        """
        chosen = select(alarm) if code is None else select(alarm).where(alarm.c.code == code)
        if acknowledged:
            chosen = chosen.where(alarm.c.acknowledged.is_not(None)).order_by(alarm.c.id.desc())
        else:
            chosen = chosen.where(alarm.c.acknowledged.is_(None)).order_by(alarm.c.id)
        with self._database.read("alarm") as connection:
            return [AlarmRow(*row) for row in connection.execute(chosen.limit(limit))]

    def acknowledge(self, number: int, note: str, time: int) -> None:
        """Acknowledge an open alarm; raises `NotFoundError` ``alarm.unknown`` where there is none of that number."""
        is_open = (alarm.c.id == number) & alarm.c.acknowledged.is_(None)
        with self._database.write("alarm") as connection:
            if not connection.execute(update(alarm).where(is_open).values(acknowledged=time, note=note)).rowcount:
                raise NotFoundError("alarm.unknown", id=number)


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """Requests that were refused on one day.

    Attributes:
        day: days since 1970-01-01 (UTC).
        requester: org_id of who asked.
        reason: stable code.
        count: how many.
        first: Unix seconds of the first.
        last: of the last.
    """

    day: int
    requester: str
    reason: str
    count: int
    first: int
    last: int


class RefusalTable:
    """Refusals, by day, requester and reason."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def count_refusal(self, requester: str, reason: str, time: int, *, number: int = 1, is_apart: bool = False) -> int:
        """Count a refusal, or several alike.

        Args:
            requester: org_id of who asked.
            reason: a code of ours.
            time: Unix seconds.
            number: how many, at least one.
            is_apart: whether it is always told apart, one of the few reasons that end a requester's day.

        Returns:
            How many of that requester were refused on that day, these included.
        """
        day = time // 86_400
        same = (refusal.c.day == day) & (refusal.c.requester == requester)
        with self._database.write("refusal") as connection:
            reasons = set(connection.execute(select(refusal.c.reason).where(same)).scalars())
            if not is_apart and reason not in reasons and len(reasons) >= MAX_REASONS:
                # A code may come from an orderer, which could make up any number of them.
                reason = OTHER
            one = same & (refusal.c.reason == reason)
            more = {"count": refusal.c.count + number, "last": time}
            if not connection.execute(update(refusal).where(one).values(more)).rowcount:
                values = {"day": day, "requester": requester, "reason": reason}
                connection.execute(insert(refusal).values(**values, count=number, first=time, last=time))
                connection.execute(delete(refusal).where(refusal.c.day < day - KEPT_DAYS))
            return int(connection.execute(select(func.sum(refusal.c.count)).where(same)).scalar_one())

    def refusals(self, *, since_day: int = 0) -> list[RefusalCount]:
        """Return what was refused from a day on, the oldest first."""
        chosen = select(refusal).where(refusal.c.day >= since_day)
        with self._database.read("refusal") as connection:
            rows = connection.execute(chosen.order_by(refusal.c.day, refusal.c.requester, refusal.c.reason))
            return [RefusalCount(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class DrawSpan:
    """Draws of one creator whose numbers lie in one span.

    Attributes:
        creator: org_id.
        span: number of the span.
        draws: how many transactions.
        passed: how many of them passed over the organisation that was drawn first.
    """

    creator: str
    span: int
    draws: int
    passed: int


class Endorsed(NamedTuple):
    """Of what endorsements are counted together.

    Attributes:
        day: of the block, in days since 1970 (UTC).
        endorser: org_id of who was drawn and signed; empty where its key was nobody's any more as it was counted.
        creator: org_id.
        kind: of the object; a transaction with several kinds counts for each.
    """

    day: int
    endorser: str
    creator: str
    kind: str


class DrawTable:
    """Draws on the ledger, counted up to a height, and who endorsed."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def watched_height(self, name: str) -> int:
        """Return up to which height a watcher has looked, 0 at first."""
        with self._database.read("watched") as connection:
            chosen = select(watched.c.height).where(watched.c.name == name)
            return int(connection.execute(chosen).scalar_one_or_none() or 0)

    def put_draws(
        self,
        name: str,
        height: int,
        counted: Mapping[tuple[str, int], tuple[int, int]],
        endorsements: Mapping[Endorsed, int],
    ) -> None:
        """Add draws and endorsements, and note up to which height a watcher has looked, together.

        Args:
            name: of the watcher.
            height: of the last block that was looked at.
            counted: (creator, span) → (draws, passed).
            endorsements: how many more of each; those from `KEPT_DAYS` before the newest are forgotten.
        """
        newest: dict[str, int] = {}
        for creator, span in counted:
            newest[creator] = max(newest.get(creator, 0), span)
        with self._database.write("draw_span") as connection:
            for (creator, span), (draws, passed) in counted.items():
                if span <= newest[creator] - KEPT_SPANS:
                    # It would be deleted at once.
                    continue
                one = (draw_span.c.creator == creator) & (draw_span.c.span == span)
                more = {"draws": draw_span.c.draws + draws, "passed": draw_span.c.passed + passed}
                if not connection.execute(update(draw_span).where(one).values(**more)).rowcount:
                    values = {"creator": creator, "span": span, "draws": draws, "passed": passed}
                    connection.execute(insert(draw_span).values(**values))
                old = (draw_span.c.creator == creator) & (draw_span.c.span <= span - KEPT_SPANS)
                connection.execute(delete(draw_span).where(old))
            _add_endorsements(connection, endorsements)
            note_height(connection, name, height)

    def draw_spans(self) -> list[DrawSpan]:
        """Return what was counted, by creator and span."""
        with self._database.read("draw_span") as connection:
            rows = connection.execute(select(draw_span).order_by(draw_span.c.creator, draw_span.c.span))
            return [DrawSpan(*row) for row in rows]

    def endorsements(self, *, since_day: int = 0) -> dict[Endorsed, int]:
        """Return how many endorsements were counted from a day on, the newest first."""
        table = endorsed.c
        chosen = select(table.day, table.endorser, table.creator, table.kind, table.count).where(table.day >= since_day)
        with self._database.read("endorsed") as connection:
            rows = connection.execute(chosen.order_by(table.day.desc(), table.endorser, table.creator, table.kind))
            return {Endorsed(*place): count for *place, count in rows}


def note_height(connection: Connection, name: str, height: int) -> None:
    """Note up to which height a watcher has looked, in the transaction that keeps what it found."""
    if not connection.execute(update(watched).where(watched.c.name == name).values(height=height)).rowcount:
        connection.execute(insert(watched).values(name=name, height=height))


def _add_endorsements(connection: Connection, endorsements: Mapping[Endorsed, int]) -> None:
    """Add what was counted, and forget what is old."""
    table = endorsed.c
    for place, count in endorsements.items():
        one = [table[name] == value for name, value in place._asdict().items()]
        if not connection.execute(update(endorsed).where(*one).values(count=table.count + count)).rowcount:
            connection.execute(insert(endorsed).values(**place._asdict(), count=count))
    if endorsements:
        newest = max(place.day for place in endorsements)
        connection.execute(delete(endorsed).where(table.day < newest - KEPT_DAYS))
