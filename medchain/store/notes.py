"""Checkpoints with their cosignatures, and bodies of sealed objects: what the ledger file holds beside the ledger.

Keeps true: the newest final checkpoint, the newest ones and the pinned ones are kept, others are dropped; a deleted
body is overwritten before its place is given up. Trusts callers to have verified what they put.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Delete, bindparam, delete, func, literal_column, select, tuple_

from medchain.errors import ConflictError
from medchain.store.engine import Database, Statement, insert_into, put_into
from medchain.store.tables import body, checkpoint, destroyed_body

Found = TypeVar("Found")

KEPT_CHECKPOINTS: Final = 64
"""How many of the newest checkpoints are kept beside the newest final one and the pinned ones."""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint with the signature lines known.

    Attributes:
        size: of the tree.
        time: the latest moment such that the cosignatures since then are a quorum, Unix seconds; 0 if there is none.
        final: whether a quorum cosigned it.
        pinned: whether it must be kept, such as the one after a change of members.
        note: the signed note (C2SP signed-note).
    """

    size: int
    time: int
    final: bool
    pinned: bool
    note: str


class CheckpointTable:
    """Checkpoints by size."""

    def __init__(self, database: Database) -> None:
        """Use the ledger file."""
        self._database = database
        dialect = database.engine.dialect
        self._put_checkpoint = put_into(checkpoint, dialect)
        self._prune_checkpoints = Statement(_prune(), dialect)
        ordered = select(checkpoint).order_by(checkpoint.c.size.desc()).offset(literal_column("0"))
        newest = ordered.limit(literal_column("1"))
        self._read_newest = Statement(newest, dialect)
        self._read_final = Statement(newest.where(checkpoint.c.final == literal_column("1")), dialect)
        self._read_kept = Statement(ordered.limit(literal_column(str(KEPT_CHECKPOINTS))), dialect)
        first = select(checkpoint).where(checkpoint.c.size >= bindparam("size")).order_by(checkpoint.c.size)
        first = first.where(checkpoint.c.final == literal_column("1"))
        self._read_first = Statement(first.limit(literal_column("1")).offset(literal_column("0")), dialect)
        pinned = select(checkpoint.c.size).where(checkpoint.c.pinned == literal_column("1"))
        self._read_pinned = Statement(pinned.order_by(checkpoint.c.size), dialect)
        self._read_size = Statement(select(checkpoint).where(checkpoint.c.size == bindparam("size")), dialect)
        # Asked far more often than it changes; whoever changes it takes it out first, and the file is asked again.
        self._final: StoredCheckpoint | None = None
        self._held: dict[int, StoredCheckpoint] = {}
        self._newest_held: StoredCheckpoint | None = None
        self._changes = 0
        self._changes_lock = Lock()
        self._kept = 0
        self._kept_more = Condition()
        self.pins = 0
        """How often a pinned checkpoint was written."""

    def put_checkpoint(self, note: str, *, size: int, time: int, final: bool, pinned: bool = False) -> None:
        """Keep a checkpoint, in the place of the one of the same size; drop those that nobody needs any more.

        Args:
            note: verified note, all known lines merged.
            size: its tree size.
            time: the latest moment such that the cosignatures since then are a quorum; 0 if there is none.
            final: whether the quorum is reached.
            pinned: whether to keep it for ever.

        Raises:
            MedchainError: see `medchain.store.faults.translated`.
        """
        self._write([StoredCheckpoint(size, time, final, pinned, note)])

    def hold_checkpoint(self, stored: StoredCheckpoint) -> None:
        """Keep a final checkpoint in memory, where it counts at once, until `write_held`.

        A crash may forget it: what a quorum has promised durably is final whether this node remembers its lines or not.

        Args:
            stored: final, of a note that is verified.
        """
        with self._changes_lock:
            self._held[stored.size] = stored
            for size in sorted(self._held)[:-KEPT_CHECKPOINTS]:
                del self._held[size]
            self._newest_held = self._held[max(self._held)]
        self._tell()

    def write_held(self) -> None:
        """Write what is only in memory, in one transaction; raises as `put_checkpoint`, and holds it then."""
        with self._changes_lock:
            held = list(self._held.values())
        if not held:
            return
        self._write(held)
        with self._changes_lock:
            for stored in held:
                if self._held.get(stored.size) is stored:
                    del self._held[stored.size]
            self._newest_held = self._held[max(self._held)] if self._held else None

    def checkpoint(self, size: int | None = None) -> StoredCheckpoint | None:
        """Return the checkpoint of a size, or the newest one; None if it is not kept."""
        held = self._newest_held if size is None else self._held.get(size)
        if size is not None:
            return held or self._checkpoint(self._read_size, size)
        return _newer(self._checkpoint(self._read_newest), held)

    def kept_checkpoints(self) -> list[StoredCheckpoint]:
        """Return the newest checkpoints, at most `KEPT_CHECKPOINTS`, the newest first."""
        with self._changes_lock:
            held = dict(self._held)
        with self._database.read("checkpoint") as connection:
            rows = self._read_kept.all(connection)
        found = {stored.size: stored for stored in map(_stored, rows)} | held
        return [found[size] for size in sorted(found, reverse=True)[:KEPT_CHECKPOINTS]]

    def pinned_sizes(self) -> list[int]:
        """Return the sizes of the checkpoints that are kept for ever, in order."""
        with self._database.read("checkpoint") as connection:
            return [int(row[0]) for row in self._read_pinned.all(connection)]

    def final(self) -> StoredCheckpoint | None:
        """Return the newest final checkpoint, None before the first."""
        # Held first: what is written meanwhile is in the file before it is held no more.
        held, found = self._newest_held, self._final
        if found is None:
            with self._changes_lock:
                found = self._checkpoint(self._read_final)
                if not self._changes:
                    self._final = found
        return _newer(found, held)

    def first_final(self, size: int) -> StoredCheckpoint | None:
        """Return the smallest final checkpoint from a size on that is kept, None for none."""
        held = [stored for at, stored in sorted(self._held.items()) if at >= size]
        known = [found for found in (self._checkpoint(self._read_first, size), *held[:1]) if found is not None]
        return min(known, key=lambda stored: stored.size, default=None)

    def _write(self, rows: Sequence[StoredCheckpoint]) -> None:
        """Write checkpoints and drop those that nobody needs any more."""
        values = [(row.size, row.time, int(row.final), int(row.pinned), row.note) for row in rows]
        with self._changing(), self._database.write("checkpoint", str(rows[-1].size)) as connection:
            self._put_checkpoint.many(connection, values)
            connection.exec_driver_sql(self._prune_checkpoints.text)
        self.pins += any(row.pinned for row in rows)

    def until(self, look: Callable[[], Found | None], timeout_s: float) -> Found | None:
        """Look, and again whenever a checkpoint was kept, until something is found or the time is over.

        Args:
            look: returns what it looks for, None while it is not there.
            timeout_s: how long.

        Returns:
            What was found, None if nothing was.

        Raises:
            MedchainError: as ``look``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            kept = self._kept
            found = look()
            if found is not None:
                return found
            if not self._is_more_kept(kept, deadline - time.monotonic()):
                return None

    def _is_more_kept(self, kept: int, timeout_s: float) -> bool:
        """Wait until more checkpoints were kept than so many; tells whether they were."""
        with self._kept_more:
            return self._kept_more.wait_for(lambda: self._kept != kept, timeout_s)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Forget the newest final checkpoint while the table is changed, also where the outcome stays unknown."""
        with self._changes_lock:
            self._changes += 1
            self._final = None
        try:
            yield
        finally:
            with self._changes_lock:
                self._changes -= 1
                self._final = None
            self._tell()

    def _tell(self) -> None:
        """Wake who waits for a checkpoint."""
        with self._kept_more:
            self._kept += 1
            self._kept_more.notify_all()

    def _checkpoint(self, chosen: Statement, *values: int) -> StoredCheckpoint | None:
        """Run a query for one row."""
        with self._database.look("checkpoint") as look:
            row = look.first(chosen, *values)
        return None if row is None else _stored(row)


def _stored(row: Sequence[Any]) -> StoredCheckpoint:
    """Read a row of the table; Any because columns differ."""
    size, moment, final, pinned, note = row
    return StoredCheckpoint(size, moment, bool(final), bool(pinned), note)


def _newer(stored: StoredCheckpoint | None, held: StoredCheckpoint | None) -> StoredCheckpoint | None:
    """Choose the larger of two; of one size, the one in memory."""
    if stored is None or held is None:
        return held or stored
    return held if held.size >= stored.size else stored


def _prune() -> Delete:
    """Drop what is neither among the newest, nor the newest final one, nor pinned."""
    other = checkpoint.alias("other")
    sizes = select(other.c.size).order_by(other.c.size.desc())
    floor = sizes.limit(literal_column("1")).offset(literal_column(str(KEPT_CHECKPOINTS - 1))).scalar_subquery()
    newest = select(func.max(other.c.size)).where(other.c.final == literal_column("1"))
    kept = func.coalesce(newest.scalar_subquery(), literal_column("-1"))
    is_old = (checkpoint.c.size < floor) & (checkpoint.c.pinned == literal_column("0"))
    return delete(checkpoint).where(is_old, checkpoint.c.size != kept)


class BodyTable:
    """Bodies, or the parts of them that this organisation holds, by map key and version."""

    def __init__(self, database: Database) -> None:
        """Use the ledger file."""
        self._database = database
        chosen = select(body.c.data).where(body.c.key == bindparam("key"), body.c.version == bindparam("version"))
        self._read_body = Statement(chosen, database.engine.dialect)
        self._insert_body = insert_into(body, database.engine.dialect)
        upto = select(destroyed_body.c.version).where(destroyed_body.c.key == bindparam("key"))
        self._read_destroyed = Statement(upto, database.engine.dialect)
        self._put_destroyed = put_into(destroyed_body, database.engine.dialect)

    def put_body(self, key: bytes, version: int, data: bytes) -> None:
        """Store a body; the same bytes again change nothing.

        Args:
            key: map key of its object, 32 bytes.
            version: version of its object.
            data: canonical JSON; the file is encrypted as a whole.

        Raises:
            ConflictError: ``store.conflict`` if another body is there.
        """
        with self._database.write("body", key.hex()) as connection:
            known = self._read_body.first(connection, key, version)
            if known is None:
                self._insert_body.many(connection, [(key, version, data)])
            elif known[0] != data:
                raise ConflictError("store.conflict", table="body", key=key.hex())

    def replace_body(self, key: bytes, version: int, data: bytes) -> None:
        """Store a body in the place of what is there, all at once: whoever ends in between has either of them.

        Args:
            key: map key of its object, 32 bytes.
            version: version of its object.
            data: canonical JSON.

        Raises:
            MedchainError: see `medchain.store.faults.translated`.
        """
        with self._database.erase("body", key.hex()) as connection:
            _delete_body(connection, key, version)
            self._insert_body.many(connection, [(key, version, data)])

    def body(self, key: bytes, version: int) -> bytes | None:
        """Return a body, or None: then the answer is deny."""
        with self._database.look("body", key.hex()) as look:
            row = look.first(self._read_body, key, version)
        return None if row is None else row[0]

    def body_versions(self, key: bytes) -> list[int]:
        """Return the versions of an object whose bodies are here, in order."""
        with self._database.read("body", key.hex()) as connection:
            chosen = select(body.c.version).where(body.c.key == key).order_by(body.c.version)
            return [int(version) for version in connection.execute(chosen).scalars()]

    def bodies(self, limit: int, *, after: tuple[bytes, int] = (b"", 0)) -> list[tuple[bytes, int, bytes]]:
        """Return (map key, version, body) of all bodies that are here, page by page.

        Args:
            limit: most bodies.
            after: map key and version of the last one already seen.
        """
        chosen = select(body.c.key, body.c.version, body.c.data).where(tuple_(body.c.key, body.c.version) > after)
        with self._database.read("body") as connection:
            rows = connection.execute(chosen.order_by(body.c.key, body.c.version).limit(limit)).all()
        return [(row[0], int(row[1]), row[2]) for row in rows]

    def delete_body(self, key: bytes, version: int | None = None) -> int:
        """Destroy a body, or all of an object's, and return how many there were.

        Args:
            key: map key of its object.
            version: version of its object; None for all.

        Raises:
            MedchainError: see `medchain.store.faults.translated`.
        """
        with self._database.erase("body", key.hex()) as connection:
            return _delete_body(connection, key, version)

    def destroy_bodies(self, key: bytes, version: int) -> int:
        """Destroy all bodies of an object for ever, and return how many there were.

        Args:
            key: map key of the object.
            version: `destroyed_upto` from then on, unless it is higher already; at least that of its last body here.

        Raises:
            MedchainError: see `medchain.store.faults.translated`.
        """
        with self._database.erase("body", key.hex()) as connection:
            known = self._read_destroyed.first(connection, key)
            held = connection.execute(select(func.max(body.c.version)).where(body.c.key == key)).scalar_one()
            upto = max(version, 0 if known is None else known[0], held or 0)
            self._put_destroyed.many(connection, [(key, upto)])
            return _delete_body(connection, key, None)

    def destroyed_upto(self, key: bytes) -> int:
        """Return up to which version an object's bodies were destroyed for ever; 0 for none."""
        with self._database.look("destroyed_body", key.hex()) as look:
            row = look.first(self._read_destroyed, key)
        return 0 if row is None else int(row[0])


def _delete_body(connection: Connection, key: bytes, version: int | None) -> int:
    """Delete a body, or all of an object's; returns how many there were."""
    chosen = delete(body).where(body.c.key == key)
    if version is not None:
        chosen = chosen.where(body.c.version == version)
    return int(connection.execute(chosen).rowcount)
