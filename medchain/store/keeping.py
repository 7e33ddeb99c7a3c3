"""What a node must remember beside its records: retention locks, stops heard of, bodies that wait to be accepted.

Keeps true: a patient's keys are destroyed together and with the intent to say so on the ledger, or not at all, and
never while a lock is in force; a stop is found by its object however many there are. Trusts callers to give tokens in
place of patients. Part of the records file.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Dialect,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)

from medchain.encoding import canonical
from medchain.errors import ConflictError, NotFoundError
from medchain.store.account_tables import ticket
from medchain.store.engine import Database, Statement, put_into
from medchain.store.placing import forget_rows
from medchain.store.tables import (
    body_request,
    epoch,
    erasure,
    heard_stop,
    outbox,
    patient_erasure,
    record,
    retention,
    unaccepted,
)

ERASURE: Final = "erasure"
"""Kind of the outbox intents that `RetentionTable.erase_patient` writes."""


@dataclass(frozen=True, slots=True)
class Lock:
    """That a patient's records must be kept.

    Attributes:
        patient: keyed token.
        until: Unix seconds, None for as long as nobody takes the lock away.
        reason: the law or proceeding that asks for it.
        since: Unix seconds.
    """

    patient: str
    until: int | None
    reason: str
    since: int

    def is_in_force(self, now: int) -> bool:
        """Tell whether it still holds."""
        return self.until is None or self.until > now


@dataclass(frozen=True, slots=True)
class PatientErasure:
    """That a patient was erased, kept for a backup that has the patient still.

    Attributes:
        intent: payload of the outbox row; it tells whom it is about, by tokens.
        time: Unix seconds.
        settled: when it had been carried out, Unix seconds; None before.
    """

    intent: bytes
    time: int
    settled: int | None = None


class RetentionTable:
    """Locks against erasure, and the erasure of all that a patient has."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_lock(self, lock: Lock) -> None:
        """Lock a patient's records, in the place of an earlier lock."""
        with self._database.write("retention") as connection:
            connection.execute(delete(retention).where(retention.c.patient == lock.patient))
            connection.execute(
                insert(retention).values(patient=lock.patient, until=lock.until, reason=lock.reason, since=lock.since)
            )

    def lift_lock(self, patient: str) -> None:
        """Take a lock away; raises `NotFoundError` ``retention.none``."""
        with self._database.write("retention") as connection:
            if not connection.execute(delete(retention).where(retention.c.patient == patient)).rowcount:
                raise NotFoundError("retention.none")

    def lock(self, patient: str) -> Lock | None:
        """Return a patient's lock, in force or over; None without."""
        with self._database.read("retention") as connection:
            row = connection.execute(select(retention).where(retention.c.patient == patient)).first()
        return None if row is None else Lock(row.patient, row.until, row.reason, row.since)

    def locks(self) -> list[Lock]:
        """Return all locks by patient."""
        with self._database.read("retention") as connection:
            rows = connection.execute(select(retention).order_by(retention.c.patient))
            return [Lock(row.patient, row.until, row.reason, row.since) for row in rows]

    def replace_locks(self, locks: Iterable[Lock]) -> None:
        """Put locks in the place of all that are there: those of a newer file, after a restore."""
        with self._database.write("retention") as connection:
            connection.execute(delete(retention))
            for lock in locks:
                values = {name: getattr(lock, name) for name in Lock.__slots__}
                connection.execute(insert(retention).values(**values))

    def living_epochs(self, patient: str) -> list[bytes]:
        """Return the ids of a patient's keys that are not destroyed, sorted."""
        chosen = select(epoch.c.id).where(epoch.c.patient == patient, epoch.c.destroyed.is_(None)).order_by(epoch.c.id)
        with self._database.read("epoch") as connection:
            return list(connection.execute(chosen).scalars())

    def count_of(self, patient: str) -> tuple[int, int]:
        """Return how many records, and versions of records, are under keys of a patient that are not destroyed."""
        alive = select(epoch.c.id).where(epoch.c.patient == patient, epoch.c.destroyed.is_(None))
        chosen = select(func.count(func.distinct(record.c.object_id)), func.count()).where(record.c.epoch_id.in_(alive))
        with self._database.read("record") as connection:
            records, versions = connection.execute(chosen).one()
        return int(records), int(versions)

    def erase_patient(
        self, patient: str, epochs: Sequence[bytes], time: int, intent: bytes, names: Iterable[str] = ()
    ) -> int:
        """Destroy all keys of a patient for ever, and note the erasure with the intent to say so on the ledger.

        Args:
            patient: keyed token.
            epochs: ids of the keys, exactly those of `living_epochs`: the intent names them.
            time: Unix seconds.
            intent: payload of the outbox row (kind `ERASURE`).
            names: by which what waits to be done once (`ticket`) may name the patient: it goes too.

        Returns:
            The number of the intent.

        Raises:
            ConflictError: ``erasure.locked`` while a lock is in force; ``erasure.moved_on`` if there are other keys
                than those named: one was drawn, or destroyed, meanwhile. Nothing is destroyed then.
        """
        with self._database.erase("epoch") as connection:
            found = connection.execute(select(retention).where(retention.c.patient == patient)).first()
            if found is not None and (found.until is None or found.until > time):
                raise ConflictError("erasure.locked", until=found.until, reason=found.reason)
            alive = (epoch.c.patient == patient) & epoch.c.destroyed.is_(None)
            if sorted(connection.execute(select(epoch.c.id).where(alive)).scalars()) != sorted(epochs) or not epochs:
                raise ConflictError("erasure.moved_on")
            connection.execute(update(epoch).where(alive).values(wrapped_key=None, destroyed=time))
            forget_rows(connection, epochs)
            for name in names:
                # Canonical JSON has a text in one form, wherever it stands.
                connection.execute(delete(ticket).where(func.instr(ticket.c.document, canonical(name)) > 0))
            connection.execute(insert(erasure), [{"epoch_id": name, "time": time, "position": None} for name in epochs])
            connection.execute(insert(patient_erasure).values(_kept(PatientErasure(intent, time))))
            return _put_erasure(connection, intent, time)

    def settle_erasure(self, intent: int, epochs: Sequence[bytes], position: int, time: int) -> None:
        """Note that an erasure was carried out, and take its intent out of the outbox; again changes nothing.

        Args:
            intent: its number in the outbox.
            epochs: ids of the keys.
            position: leaf index of its entry.
            time: Unix seconds.
        """
        with self._database.write("erasure") as connection:
            connection.execute(update(erasure).where(erasure.c.epoch_id.in_(epochs)).values(position=position))
            taken = delete(outbox).where(outbox.c.id == intent).returning(outbox.c.payload)
            for payload in connection.execute(taken).scalars().all():
                mine = patient_erasure.c.id == _id_of(payload)
                connection.execute(update(patient_erasure).where(mine).values(settled=time))

    def patient_erasures(self) -> list[PatientErasure]:
        """Return all erasures of patients, the oldest first; a restored backup carries them out again."""
        with self._database.read("patient_erasure") as connection:
            rows = connection.execute(select(patient_erasure).order_by(patient_erasure.c.time, patient_erasure.c.id))
            return [PatientErasure(bytes(row.intent), row.time, row.settled) for row in rows]

    def reopen_erasures(self, known: Iterable[PatientErasure], since: int) -> list[PatientErasure]:
        """Have erasures carried out again, those that a backup does not have or was made during.

        Args:
            known: erasures from elsewhere.
            since: when the backup was begun, Unix seconds: what was carried out later may be undone in its other file.

        Returns:
            Those that are to be carried out again; their intents are in the outbox.
        """
        with self._database.write("patient_erasure") as connection:
            own = {bytes(row.id): row for row in connection.execute(select(patient_erasure))}
            undone = [row for row in own.values() if row.settled is not None and row.settled >= since]
            strange = {_id_of(item.intent): item for item in known if _id_of(item.intent) not in own}
            again = [PatientErasure(bytes(row.intent), row.time) for row in undone]
            again += [PatientErasure(item.intent, item.time) for item in strange.values()]
            for item in again:
                connection.execute(delete(patient_erasure).where(patient_erasure.c.id == _id_of(item.intent)))
                connection.execute(insert(patient_erasure).values(_kept(item)))
                _put_erasure(connection, item.intent, item.time)
        return again

    def put_body_request(self, org_id: str, key: bytes, entry: bytes) -> None:
        """Keep that an organisation is asked to destroy the bodies of an object; again changes nothing.

        Args:
            org_id: whom.
            key: map key of the object, 32 bytes.
            entry: map key of the erasure, 32 bytes.
        """
        with self._database.write("body_request") as connection:
            mine = (body_request.c.org_id == org_id) & (body_request.c.object == key)
            connection.execute(delete(body_request).where(mine))
            connection.execute(insert(body_request).values(org_id=org_id, object=key, erasure=entry))

    def body_requests(self, org_id: str) -> list[tuple[bytes, bytes]]:
        """Return what an organisation was ever asked to destroy: map keys of object and erasure, sorted."""
        chosen = select(body_request.c.object, body_request.c.erasure).where(body_request.c.org_id == org_id)
        with self._database.read("body_request") as connection:
            rows = connection.execute(chosen.order_by(body_request.c.object))
            return [(bytes(row.object), bytes(row.erasure)) for row in rows]

    def overwrite(self) -> bool:
        """Move what was destroyed out of the write-ahead log; tells whether nothing of it is left there."""
        return self._database.checkpoint()

    def has_remains(self) -> bool:
        """Tell whether copies of what erased patients were found by may lie in the file beside its rows."""
        return self._database.has_remains()

    def rewrite(self) -> bool:
        """Write the file anew without them; as `medchain.store.engine.Database.rewrite`."""
        return self._database.rewrite()

    def extent(self) -> tuple[bytes, int]:
        """Return what is another once anything was written, and how many bytes the file has."""
        return self._database.state(), self._database.path.stat().st_size


def _put_erasure(connection: Connection, intent: bytes, time: int) -> int:
    """Put the intent to tell the ledger of an erasure into the outbox; returns its number."""
    values = {"kind": ERASURE, "record": None, "payload": intent, "created": time, "deadline": None}
    return int(connection.execute(insert(outbox).returning(outbox.c.id), values).scalar_one())


def _kept(item: PatientErasure) -> dict[str, object]:
    """Return an erasure's columns."""
    return {"id": _id_of(item.intent), "intent": item.intent, "time": item.time, "settled": item.settled}


def _id_of(intent: bytes) -> bytes:
    """Name an erasure; its intent holds random numbers, so that no other is like it."""
    return sha256(intent).digest()


@cache
def _stop_of(dialect: Dialect) -> Statement:
    """Make the question for an object's stop, which each release asks several times."""
    chosen = select(outbox.c.payload).join(heard_stop, heard_stop.c.intent == outbox.c.id)
    return Statement(chosen.where(heard_stop.c.object == bindparam("object")), dialect)


class StopTable:
    """Stops that this node has made or heard of and that are not final yet, by their object."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_stop(self, key: bytes, kind: str, payload: bytes, time: int) -> bool:
        """Keep a stop with the intent to bring it to the ledger.

        Args:
            key: map key of the object, 32 bytes.
            kind: kind of the intent.
            payload: of the intent.
            time: Unix seconds.

        Returns:
            Whether it is new: of an object, the first stop counts.
        """
        with self._database.write("heard_stop", key.hex()) as connection:
            if connection.execute(select(heard_stop.c.intent).where(heard_stop.c.object == key)).first() is not None:
                return False
            values = {"kind": kind, "record": None, "payload": payload, "created": time, "deadline": None}
            number = connection.execute(insert(outbox).returning(outbox.c.id), values).scalar_one()
            connection.execute(insert(heard_stop).values(object=key, intent=number))
        return True

    def stop_of(self, key: bytes) -> bytes | None:
        """Return the payload of an object's stop that is not final yet; None without."""
        with self._database.look("heard_stop", key.hex()) as look:
            row = look.first(_stop_of(self._database.engine.dialect), key)
        return None if row is None else row[0]

    def drop_stop(self, key: bytes) -> None:
        """Forget a stop that is final."""
        with self._database.write("heard_stop", key.hex()) as connection:
            chosen = select(heard_stop.c.intent).where(heard_stop.c.object == key)
            connection.execute(delete(outbox).where(outbox.c.id.in_(chosen)))
            connection.execute(delete(heard_stop).where(heard_stop.c.object == key))

    def stops(self, limit: int, *, after: int = 0) -> list[tuple[int, bytes, bytes]]:
        """Return (number, map key of the object, payload) of stops that are not final yet, page by page.

        Args:
            limit: most of them.
            after: number of the last one already seen.
        """
        chosen = select(outbox.c.id, heard_stop.c.object, outbox.c.payload)
        chosen = chosen.join(heard_stop, heard_stop.c.intent == outbox.c.id).where(outbox.c.id > after)
        with self._database.read("heard_stop") as connection:
            rows = connection.execute(chosen.order_by(outbox.c.id).limit(limit)).all()
        return [(int(row[0]), row[1], row[2]) for row in rows]

    def count_stops(self) -> int:
        """Return how many stops are not final yet."""
        with self._database.read("heard_stop") as connection:
            return int(connection.execute(select(func.count()).select_from(heard_stop)).scalar_one())


@dataclass(frozen=True, slots=True)
class UnacceptedRow:
    """A body that the ledger does not have yet.

    Attributes:
        key: map key of its object, 32 bytes.
        version: version of its object.
        member: org_id of who brought it.
        size: bytes.
        due: ledger time after which it goes, Unix seconds.
    """

    key: bytes
    version: int
    member: str
    size: int
    due: int


class UnacceptedTable:
    """Bodies that members announced and the ledger has not accepted, counted over restarts."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database
        dialect = database.engine.dialect
        counted = select(func.count(), func.coalesce(func.sum(unaccepted.c.size), literal_column("0")))
        self._count_unaccepted = Statement(counted.where(unaccepted.c.member == bindparam("member")), dialect)
        self._put_unaccepted = put_into(unaccepted, dialect)

    def unaccepted_of(self, member: str) -> tuple[int, int]:
        """Return number and bytes of a member's bodies."""
        with self._database.look("unaccepted") as look:
            row = look.first(self._count_unaccepted, member)
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def put_unaccepted(self, rows: Sequence[UnacceptedRow]) -> None:
        """Count bodies, each in the place of an earlier count of the same."""
        with self._database.write("unaccepted") as connection:
            values = [(row.key, row.version, row.member, row.size, row.due) for row in rows]
            self._put_unaccepted.many(connection, values)

    def oldest_unaccepted(self, member: str, limit: int, *, after: UnacceptedRow | None = None) -> list[UnacceptedRow]:
        """Return a member's bodies, those first that are due first.

        Args:
            member: org_id.
            limit: most rows.
            after: the last one already seen.
        """
        chosen = select(unaccepted).where(unaccepted.c.member == member)
        order = tuple_(unaccepted.c.due, unaccepted.c.key, unaccepted.c.version)
        if after is not None:
            chosen = chosen.where(order > (after.due, after.key, after.version))
        return self._rows(chosen.order_by(unaccepted.c.due, unaccepted.c.key, unaccepted.c.version).limit(limit))

    def due_unaccepted(self, ledger_time: int, limit: int) -> list[UnacceptedRow]:
        """Return bodies that can be accepted no more."""
        return self._rows(
            select(unaccepted).where(unaccepted.c.due < ledger_time).order_by(unaccepted.c.due).limit(limit)
        )

    def drop_unaccepted(self, places: Sequence[tuple[bytes, int]]) -> None:
        """Count bodies no more."""
        with self._database.write("unaccepted") as connection:
            for key, version in places:
                same = (unaccepted.c.key == key) & (unaccepted.c.version == version)
                connection.execute(delete(unaccepted).where(same))

    def _rows(self, chosen: Select[Any]) -> list[UnacceptedRow]:
        """Run a query."""
        with self._database.read("unaccepted") as connection:
            found = connection.execute(chosen).all()
        return [UnacceptedRow(row.key, row.version, row.member, row.size, row.due) for row in found]
