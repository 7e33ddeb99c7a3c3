"""Accesses to patients' records, as this node saw them: given, received, in emergencies.

Keeps true: an access is noted once, in one write with what is left to do for it. Part of the records file.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, insert, literal_column, select, update

from medchain.store.engine import Database, Statement
from medchain.store.outbox import OutboxTable
from medchain.store.tables import access

MAX_PAGE: Final = 1000
"""Most accesses of one answer."""

_COLUMNS: Final = ("object_id", "patient", "direction", "time", "position", "detail")


@dataclass(frozen=True, slots=True)
class Access:
    """One access to a patient's records, as this node saw it.

    Attributes:
        object_id: id of its object on the ledger, 16 bytes; unique.
        patient: keyed token of the patient.
        direction: ``given`` or ``received``, or what the node calls it.
        time: Unix seconds.
        detail: canonical JSON.
        position: leaf index of its entry, None while it is pending.
    """

    object_id: bytes
    patient: str
    direction: str
    time: int
    detail: bytes
    position: int | None = None


class AccessTable(OutboxTable):
    """Accesses, and the outbox that they leave something in."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        super().__init__(database)
        noted = insert(access).values({name: bindparam(name) for name in _COLUMNS})
        self._insert_access = Statement(noted, database.engine.dialect)

    def put_accesses(
        self, rows: Sequence[Access], *, intents: Sequence[tuple[str, bytes]] = (), done: Sequence[int] = ()
    ) -> None:
        """Note accesses, and with them what it does to the outbox.

        Args:
            rows: with unique object ids.
            intents: kind and payload of what is left to do.
            done: intents that are done with it, and leave the outbox.

        Raises:
            ConflictError: ``store.conflict`` if one is noted already; none is noted then.
        """
        with self._database.write("access") as connection:
            values = [(row.object_id, row.patient, row.direction, row.time, row.position, row.detail) for row in rows]
            self._insert_access.many(connection, values)
            if intents:
                waiting = [(kind, None, payload, rows[0].time, None) for kind, payload in intents]
                self._insert_intent.many(connection, waiting)
            if done:
                self._drop_intent.many(connection, [(number,) for number in done])

    def mark_access(self, object_id: bytes, position: int) -> None:
        """Note at which leaf an access stands."""
        with self._database.write("access", object_id.hex()) as connection:
            connection.execute(update(access).where(access.c.object_id == object_id).values(position=position))

    def accesses(
        self, patient: str, *, after: int = 0, limit: int = MAX_PAGE, direction: str | None = None
    ) -> list[Access]:
        """Return a patient's accesses from a time on, the oldest first; of one direction where one is given."""
        chosen = select(access).where(access.c.patient == patient, access.c.time >= after)
        if direction is not None:
            chosen = chosen.where(access.c.direction == direction)
        with self._database.read("access") as connection:
            rows = connection.execute(chosen.order_by(access.c.time, access.c.seq).limit(min(limit, MAX_PAGE))).all()
        return [Access(row.object_id, row.patient, row.direction, row.time, row.detail, row.position) for row in rows]

    def access_details(self, patient: str, direction: str, limit: int) -> list[bytes]:
        """Return what was noted of a patient's newest accesses of one direction, the newest first.

        Args:
            patient: keyed token.
            direction: ``given``, ``received``, or what else the node calls it.
            limit: most rows.
        """
        chosen = select(access.c.detail).where(access.c.patient == patient, access.c.direction == direction)
        with self._database.read("access") as connection:
            newest = chosen.order_by(access.c.time.desc(), access.c.seq.desc()).limit(limit)
            return [bytes(detail) for detail in connection.execute(newest).scalars()]

    def emergencies(self, after: int, *, limit: int = MAX_PAGE) -> list[Access]:
        """Return what was noted of emergencies from a time on (Unix seconds), of all patients, the newest first."""
        # Written out, not bound: only so the index of these few rows is used.
        chosen = select(access).where(access.c.direction == literal_column("'emergency'"), access.c.time >= after)
        with self._database.read("access") as connection:
            newest = chosen.order_by(access.c.time.desc(), access.c.seq.desc()).limit(limit)
            rows = connection.execute(newest).all()
        return [Access(row.object_id, row.patient, row.direction, row.time, row.detail, row.position) for row in rows]
