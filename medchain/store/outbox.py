"""The outbox: what must come to the ledger, and does not stand there yet.

Keeps true: an intent leaves it with what it leads to, in one write, or when it can never be ordered; numbers rise, and
none is given twice. Part of the records file.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, select, update

from medchain.store.engine import ZERO, Database, Statement, put_into, room
from medchain.store.faults import corrupt
from medchain.store.tables import anchor, outbox, record
from medchain.store.used_tokens import UsedTokenTable

ANCHOR: Final = "anchor"
"""Kind of the outbox intents that `medchain.store.records.RecordStore.put_versions` writes."""

ASIDE: Final = "anchor-aside"
"""Kind of those intents among them that cannot be ordered as things stand (`OutboxTable.put_aside`)."""

_COLUMNS: Final = ("kind", "record", "payload", "created", "deadline")


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that must come to the ledger.

    Attributes:
        id: number in the outbox; rising, never given twice.
        kind: `ANCHOR` or what the node calls it.
        payload: what is needed to make the transaction; for `ANCHOR` the status, empty for active.
        created: Unix seconds.
        deadline: Unix seconds by which it should be ordered, or None.
        record: number of the record version to anchor, or None.
        object_id: of that record version, or None.
        version: of that record version, or None.
        commitment: of that record version, or None.
    """

    id: int
    kind: str
    payload: bytes
    created: int
    deadline: int | None
    record: int | None = None
    object_id: bytes | None = None
    version: int | None = None
    commitment: bytes | None = None


class OutboxTable(UsedTokenTable):
    """What waits for the ledger."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        super().__init__(database)
        dialect = database.engine.dialect
        intent = insert(outbox).values({name: bindparam(name) for name in _COLUMNS})
        self._insert_intent = Statement(intent, dialect)
        self._add_intent = Statement(intent.returning(outbox.c.id), dialect)
        # Jobs ask for these all the time, mostly in vain: compiled once, a question costs a twentieth.
        self._read_pending = Statement(_pending(), dialect)
        self._read_pending_kind = Statement(_pending().where(outbox.c.kind == bindparam("kind")), dialect)
        between = outbox.c.id.between(bindparam("first"), bindparam("last"))
        self._read_between = Statement(select(outbox.c.id, outbox.c.record).where(between), dialect)
        self._drop_intent = Statement(delete(outbox).where(outbox.c.id == bindparam("number")), dialect)
        count = select(func.count()).select_from(outbox)
        self._count_pending = Statement(count, dialect)
        self._count_pending_kind = Statement(count.where(outbox.c.kind == bindparam("kind")), dialect)
        self._put_anchor = put_into(anchor, dialect)

    def put_intent(
        self,
        kind: str,
        payload: bytes,
        time: int,
        *,
        deadline: int | None = None,
        using: Sequence[tuple[str, int]] = (),
    ) -> int:
        """Put an intent into the outbox and return its number.

        Args:
            kind: of the intent.
            payload: what is to be done.
            time: Unix seconds.
            deadline: by when, Unix seconds.
            using: tokens that are used with it, in the same write: see `use_once`.

        Raises:
            ConflictError: ``store.conflict`` if one of them was used before; nothing is kept then.
        """
        with self._database.write("outbox") as connection:
            self._use_up(connection, using, time)
            row = self._add_intent.first(connection, kind, None, payload, time, deadline)
        if row is None:
            raise corrupt("outbox")
        return int(row[0])

    def pending(self, limit: int, *, after: int = 0, kind: str | None = None) -> list[Intent]:
        """Return what waits in the outbox, the oldest first.

        Args:
            limit: most intents.
            after: number of the last one already seen.
            kind: only this kind.
        """
        chosen, values = (self._read_pending, ()) if kind is None else (self._read_pending_kind, (kind,))
        with self._database.look("outbox") as look:
            return [Intent(*row) for row in look.all(chosen, after, *values, limit)]

    def waiting_status(self, seq: int) -> str | None:
        """Return the status that a record version is to get on the ledger, None if it waits no more.

        Args:
            seq: number of the record version.

        Returns:
            The status; empty for active.
        """
        with self._database.read("outbox") as connection:
            chosen = select(outbox.c.payload).where(outbox.c.kind == ANCHOR, outbox.c.record == seq)
            payload: bytes | None = connection.execute(chosen).scalar_one_or_none()
        return None if payload is None else payload.decode("ascii")

    def pending_count(self, kind: str | None = None) -> int:
        """Return how much waits in the outbox; of one kind, where it is given."""
        chosen, values = (self._count_pending, ()) if kind is None else (self._count_pending_kind, (kind,))
        with self._database.look("outbox") as look:
            row = look.first(chosen, *values)
        return 0 if row is None else int(row[0])

    def mark_ordered(self, ids: Sequence[int], position: int) -> None:
        """Take intents out of the outbox once a block holds their transaction; again changes nothing.

        Args:
            ids: their numbers.
            position: leaf index of the transaction.
        """
        if not ids:
            return
        with self._database.write("outbox") as connection:
            # Hundreds of ids, each time as many others: to compile a list of them took longer than all else.
            wanted = set(ids)
            waiting = self._read_between.all(connection, min(ids), max(ids))
            anchored = [seq for number, seq in waiting if number in wanted and seq is not None]
            self._put_anchor.many(connection, [(seq, position) for seq in anchored])
            self._drop_intent.many(connection, [(number,) for number in ids])

    def put_aside(self, ids: Sequence[int]) -> None:
        """Have intents to anchor wait apart from the others, which they would hold up."""
        if ids:
            self._rename_intents(ASIDE, (outbox.c.id.in_(ids)) & (outbox.c.kind == ANCHOR))

    def take_back(self) -> None:
        """Have the intents that were put aside wait with the others again: what held them up may be over."""
        self._rename_intents(ANCHOR, outbox.c.kind == ASIDE)

    def _rename_intents(self, kind: str, chosen: ColumnElement[bool]) -> None:
        """Give intents another kind."""
        with self._database.write("outbox") as connection:
            connection.execute(update(outbox).where(chosen).values(kind=kind))

    def drop_intents(self, ids: Sequence[int]) -> None:
        """Take intents out of the outbox that can never be ordered; the caller has told whoever must know."""
        with self._database.write("outbox") as connection:
            connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))


def _pending() -> Select[Any]:
    """Select what waits with the columns in the order of `Intent`; its parameters are in the order of the text."""
    of_intent = (outbox.c[name] for name in ("id", "kind", "payload", "created", "deadline", "record"))
    of_record = (record.c.object_id, record.c.version, record.c.commitment)
    chosen = select(*of_intent, *of_record).outerjoin(record, record.c.seq == outbox.c.record)
    chosen = chosen.where(outbox.c.id > bindparam("after")).order_by(outbox.c.id)
    return chosen.limit(room("limit")).offset(ZERO)
