"""Checkpoints with their cosignatures, and bodies of sealed objects: what the ledger file holds beside the ledger.

Keeps true: the newest final checkpoint, the newest ones and the pinned ones are kept, others are dropped; a deleted
body is overwritten before its place is given up. Trusts callers to have verified what they put.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, delete, func, select, tuple_

from medchain.errors import ConflictError
from medchain.store.engine import Database, put_into
from medchain.store.tables import body, checkpoint, vouched

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
    """Checkpoints by size, and what this node has cosigned."""

    def __init__(self, database: Database) -> None:
        """Use the ledger file."""
        self._database = database
        self._put_checkpoint = put_into(checkpoint, database.engine.dialect)
        self._put_vouched = put_into(vouched, database.engine.dialect)

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
        with self._database.write("checkpoint", str(size)) as connection:
            self._put_checkpoint.many(connection, [(size, time, int(final), int(pinned), note)])
            newest_final = select(func.max(checkpoint.c.size)).where(checkpoint.c.final == 1)
            kept = connection.execute(newest_final).scalar_one()
            newest = select(checkpoint.c.size).order_by(checkpoint.c.size.desc())
            floor = connection.execute(newest.limit(1).offset(KEPT_CHECKPOINTS - 1)).scalar_one_or_none()
            if floor is not None:
                old = (checkpoint.c.size < floor) & (checkpoint.c.pinned == 0)
                connection.execute(
                    delete(checkpoint).where(old, checkpoint.c.size != (kept if kept is not None else -1))
                )

    def checkpoint(self, size: int | None = None) -> StoredCheckpoint | None:
        """Return the checkpoint of a size, or the newest one; None if it is not kept."""
        chosen = select(checkpoint).order_by(checkpoint.c.size.desc()).limit(1)
        return self._checkpoint(chosen if size is None else chosen.where(checkpoint.c.size == size))

    def final(self) -> StoredCheckpoint | None:
        """Return the newest final checkpoint, None before the first."""
        return self._checkpoint(
            select(checkpoint).where(checkpoint.c.final == 1).order_by(checkpoint.c.size.desc()).limit(1)
        )

    def put_vouched(self, data: bytes) -> None:
        """Keep what this node has cosigned, in the place of what was kept before; durable when this returns."""
        with self._database.write("vouched") as connection:
            self._put_vouched.many(connection, [(1, data)])

    def vouched(self) -> bytes | None:
        """Return what `put_vouched` kept last, None at first."""
        with self._database.read("vouched") as connection:
            found: bytes | None = connection.execute(select(vouched.c.data)).scalar_one_or_none()
            return found

    def _checkpoint(self, chosen: Select[tuple[int, int, int, int, str]]) -> StoredCheckpoint | None:
        """Run a query for one row."""
        with self._database.read("checkpoint") as connection:
            row = connection.execute(chosen).first()
        return (
            None if row is None else StoredCheckpoint(row.size, row.time, bool(row.final), bool(row.pinned), row.note)
        )


class BodyTable:
    """Bodies, or the parts of them that this organisation holds, by map key and version."""

    def __init__(self, database: Database) -> None:
        """Use the ledger file."""
        self._database = database

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
            chosen = select(body.c.data).where(body.c.key == key, body.c.version == version)
            known = connection.execute(chosen).scalar_one_or_none()
            if known is None:
                connection.execute(body.insert().values(key=key, version=version, data=data))
            elif known != data:
                raise ConflictError("store.conflict", table="body", key=key.hex())

    def body(self, key: bytes, version: int) -> bytes | None:
        """Return a body, or None: then the answer is deny."""
        with self._database.read("body", key.hex()) as connection:
            chosen = select(body.c.data).where(body.c.key == key, body.c.version == version)
            found: bytes | None = connection.execute(chosen).scalar_one_or_none()
            return found

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
        chosen = delete(body).where(body.c.key == key)
        if version is not None:
            chosen = chosen.where(body.c.version == version)
        with self._database.erase("body", key.hex()) as connection:
            return int(connection.execute(chosen).rowcount)
