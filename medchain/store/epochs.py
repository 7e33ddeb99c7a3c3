"""Keys that wrap the data keys of one patient's records, and that they were destroyed.

Keeps true: a key that was destroyed stays destroyed, also when an older copy of the file is restored and the erasures
are replayed; no version is kept under a key that is not there. Trusts callers for wrapped keys and tokens in place of
patients. Part of the records file.
Source: `docs/spec/keys.md`, `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, select, update

from medchain.errors import ConflictError, NotFoundError
from medchain.store.engine import ONE, ZERO, Database, Statement, insert_into, put_into
from medchain.store.faults import translated
from medchain.store.placing import forget_rows
from medchain.store.tables import epoch, erasure

_MAX_PAGE: Final = 1000


# Not frozen, for the reason that `medchain.ledger.transaction.Change` has.
@dataclass(slots=True, unsafe_hash=True)
class Epoch:
    """A key that wraps data keys of one patient.

    Attributes:
        id: 16 bytes.
        patient: keyed token of the patient.
        number: from 1 for each patient.
        created: Unix seconds.
        wrapped_key: the key under the node's root key; None once it is destroyed.
        destroyed: Unix seconds, or None.
    """

    id: Final[bytes]
    patient: Final[str]
    number: Final[int]
    created: Final[int]
    wrapped_key: Final[bytes | None]
    destroyed: Final[int | None] = None


@dataclass(frozen=True, slots=True)
class Erasure:
    """That a key was destroyed.

    Attributes:
        epoch_id: which.
        time: Unix seconds.
        position: leaf index of its entry, None while it is pending.
    """

    epoch_id: bytes
    time: int
    position: int | None


class EpochTable:
    """The keys of patients."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database
        dialect = database.engine.dialect
        alive = (epoch.c.id == bindparam("id")) & epoch.c.destroyed.is_(None)
        self._find_alive = Statement(select(epoch.c.number).where(alive), dialect)
        of_patient = _epochs().where(epoch.c.patient == bindparam("patient")).order_by(epoch.c.number.desc())
        self._newest_epoch = Statement(of_patient.limit(ONE).offset(ZERO), dialect)
        self._read_epoch = Statement(_epochs().where(epoch.c.id == bindparam("id")), dialect)
        self._insert_epoch = insert_into(epoch, dialect)
        self._put_erasure = put_into(erasure, dialect)

    def epoch(self, epoch_id: bytes) -> Epoch | None:
        """Return a key by its id, destroyed ones included."""
        with self._database.look("epoch") as look:
            row = look.first(self._read_epoch, epoch_id)
        return None if row is None else Epoch(*row)

    def newest_epoch(self, patient: str) -> Epoch | None:
        """Return a patient's newest key, destroyed or not; None if the patient has none."""
        with self._database.look("epoch") as look:
            row = look.first(self._newest_epoch, patient)
        return None if row is None else Epoch(*row)

    def rewrap_epochs(self, keys: Iterable[tuple[bytes, bytes]]) -> None:
        """Replace wrapped keys after a change of the root key, all together.

        Args:
            keys: (id, key wrapped anew).

        Raises:
            NotFoundError: ``store.epoch`` for an unknown or destroyed key; nothing is replaced then.
        """
        with self._database.erase("epoch") as connection:
            for epoch_id, wrapped in keys:
                alive = (epoch.c.id == epoch_id) & epoch.c.destroyed.is_(None)
                if connection.execute(update(epoch).where(alive).values(wrapped_key=wrapped)).rowcount != 1:
                    raise NotFoundError("store.epoch", epoch=epoch_id.hex())

    def epochs(self, *, after: bytes = b"", limit: int = _MAX_PAGE) -> list[Epoch]:
        """Return keys that are not destroyed, by id, page by page."""
        chosen = select(epoch).where(epoch.c.id > after, epoch.c.destroyed.is_(None)).order_by(epoch.c.id).limit(limit)
        with self._database.read("epoch") as connection:
            return [_epoch(row) for row in connection.execute(chosen)]

    def erase(self, epoch_id: bytes, time: int) -> None:
        """Destroy one key for ever, and note the erasure; a second time changes nothing.

        A patient's keys are destroyed by `erase_patient`, which has the ledger told.

        Args:
            epoch_id: which key.
            time: Unix seconds.

        Raises:
            NotFoundError: ``store.epoch``.
        """
        with self._database.erase("epoch", epoch_id.hex()) as connection:
            known = connection.execute(select(epoch.c.destroyed).where(epoch.c.id == epoch_id)).first()
            if known is None:
                raise NotFoundError("store.epoch", epoch=epoch_id.hex())
            if known.destroyed is None:
                _destroy(connection, epoch_id, time)
                self._put_erasure.many(connection, [(epoch_id, time, None)])

    def erasures(self) -> list[Erasure]:
        """Return all erasures, the oldest first; a backup is given them again before it serves."""
        with self._database.read("erasure") as connection:
            rows = connection.execute(select(erasure).order_by(erasure.c.time, erasure.c.epoch_id)).all()
        return [Erasure(row.epoch_id, row.time, row.position) for row in rows]

    def replay_erasures(self, known: Iterable[Erasure]) -> int:
        """Destroy again what was destroyed after a backup was made.

        Args:
            known: erasures from elsewhere; keys that this file never had are noted as well.

        Returns:
            How many keys were destroyed by it.
        """
        destroyed = 0
        with self._database.erase("erasure") as connection:
            for item in known:
                destroyed += _destroy(connection, item.epoch_id, item.time)
                self._put_erasure.many(connection, [(item.epoch_id, item.time, item.position)])
        return destroyed

    def _put_epochs(self, connection: Connection, epochs: Sequence[Epoch]) -> None:
        """Keep new keys."""
        if epochs:
            with translated("epoch"):
                self._insert_epoch.many(connection, [_epoch_columns(one) for one in epochs])

    def _check_epochs(self, connection: Connection, ids: Collection[bytes]) -> None:
        """Refuse keys that are not there or destroyed: what they wrap could not be opened, or not be erased."""
        if any(self._find_alive.first(connection, one) is None for one in ids):
            raise ConflictError("store.conflict", table="epoch")


def _epochs() -> Select[Any]:
    """Select keys with the columns in the order of `Epoch`."""
    return select(epoch.c.id, epoch.c.patient, epoch.c.number, epoch.c.created, epoch.c.wrapped_key, epoch.c.destroyed)


def _epoch_columns(row: Epoch) -> tuple[object, ...]:
    """Return a key's columns in the order of the table."""
    return row.id, row.patient, row.number, row.created, row.destroyed, row.wrapped_key


def _destroy(connection: Connection, epoch_id: bytes, time: int) -> int:
    """Remove a wrapped key, and return whether there was one."""
    alive = (epoch.c.id == epoch_id) & epoch.c.destroyed.is_(None)
    destroyed = int(connection.execute(update(epoch).where(alive).values(wrapped_key=None, destroyed=time)).rowcount)
    if destroyed:
        forget_rows(connection, [epoch_id])
    return destroyed


def _epoch(row: Any) -> Epoch:  # noqa: ANN401  # SQLAlchemy's row
    """Turn a row into a key."""
    return Epoch(row.id, row.patient, row.number, row.created, row.wrapped_key, row.destroyed)
