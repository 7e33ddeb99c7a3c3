"""Heads of objects and pages of the state map: computed from the state records, kept in memory, written behind.

A block changes some hundred rows of these two tables, all over the place; its other rows are appended. So a block's
transaction holds the appended rows only, and what it changes here stays in memory until so much has gathered that one
transaction can write it sorted. After a crash it is computed again from the state records since the last such write,
and the map root must come out as the newest block has it.

Keeps true: memory and file together are the newest state; memory is bounded. Trusts the file for heads (a state record
names its key); every map page is checked by `medchain.tlog.statemap` when it is read.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, LargeBinary, bindparam, delete, select

from medchain.errors import UnavailableError, VerificationError
from medchain.store.cache import BoundedCache
from medchain.store.engine import Database, Statement, put_into
from medchain.store.faults import corrupt, translated
from medchain.store.tables import head, map_base, map_page, state_record
from medchain.tlog.statemap import MapRoot, MapUpdate, PageSource, update

DIRTY_LIMIT_BYTES: Final = 12 << 20
"""How many bytes of changed pages may wait in memory before a block's transaction writes them."""

DIRTY_LIMIT_HEADS: Final = 40_000
"""How many changed heads may wait in memory; about 6 MiB."""

CLEAN_LIMIT_BYTES: Final = 16 << 20
"""Cache of pages as they are in the file."""

_ROW_COST: Final = 150
_READ_ROWS: Final = 5000
_KEYS_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Base:
    """The state that the file's heads and pages are of.

    Attributes:
        height: of the block; -1 before height 0.
        last_record: number of the last state record in them.
        root: root of the map.
    """

    height: int
    last_record: int
    root: MapRoot


@dataclass(slots=True)
class Snapshot:
    """The map after an earlier block: pages that differ from the file's, on top of the file's.

    Attributes:
        height: of the block.
        last_record: number of the last state record in it.
        root: root of the map.
        pages: pages that differ from the file's.
        size_bytes: of those pages.
    """

    height: int
    last_record: int
    root: MapRoot
    _below: PageSource
    pages: dict[bytes, bytes] = field(default_factory=dict)
    size_bytes: int = 0

    def page(self, key: bytes) -> bytes | None:
        """Return a page."""
        return self.pages.get(key) or self._below.page(key)

    def advance(self, height: int, last_record: int, changed: MapUpdate) -> None:
        """Move on to a later block."""
        for key, data in changed.pages.items():
            old = self.pages.get(key)
            self.size_bytes += len(data) - len(old) if old else len(data) + _ROW_COST
        self.pages.update(changed.pages)
        self.height, self.last_record, self.root = height, last_record, changed.root


class StateIndex:
    """Heads and pages of the newest state, and the map of earlier blocks back to the last write of pages."""

    def __init__(self, database: Database, reader: Connection) -> None:
        """Prepare the statements; `load` reads the state.

        Args:
            database: the ledger file.
            reader: connection for single queries, used by one thread at a time.
        """
        dialect = database.engine.dialect
        self._reader = reader
        self._put_head = put_into(head, dialect)
        self._put_page = put_into(map_page, dialect)
        self._put_base = put_into(map_base, dialect)
        self._read_head = Statement(select(head.c.seq).where(head.c.key == bindparam("key")), dialect)
        keys = [bindparam(f"key{at}", type_=LargeBinary) for at in range(_KEYS_AT_ONCE)]
        self._read_heads = Statement(select(head.c.key, head.c.seq).where(head.c.key.in_(keys)), dialect)
        self._read_page = Statement(select(map_page.c.data).where(map_page.c.key == bindparam("key")), dialect)
        self._clean: BoundedCache[bytes, bytes] = BoundedCache(CLEAN_LIMIT_BYTES)
        self._heads: dict[bytes, int] = {}
        self.base = Base(-1, 0, MapRoot.empty())
        self._file = _FilePages(self)
        self._newest = Snapshot(-1, 0, MapRoot.empty(), self._file)
        self._earlier: Snapshot | None = None

    @property
    def root(self) -> MapRoot:
        """Root of the newest map."""
        return self._newest.root

    def load(self, height: int, last_record: int, map_root: bytes) -> None:
        """Read the base, and compute again what is newer.

        Args:
            height: of the newest block.
            last_record: number of its last state record.
            map_root: its map root.

        Raises:
            VerificationError: ``store.corrupt`` if the file's records, pages and newest block do not agree.
        """
        with translated("map_base"):
            row = self._reader.execute(select(map_base.c.height, map_base.c.last_record, map_base.c.root)).first()
        self.base = Base(-1, 0, MapRoot.empty()) if row is None else Base(row[0], row[1], MapRoot(row[2]))
        self._clean.clear()
        self._heads = {}
        self._earlier = None
        self._newest = self._at_base()
        self._replay(self._newest, height, last_record, heads=self._heads)
        if height >= 0 and self.root.hash != map_root:
            raise corrupt("map_page", "root")

    def head(self, key: bytes) -> int | None:
        """Return the number of an object's newest state record, or None."""
        seq = self._heads.get(key)
        if seq is None:
            with translated("head", key.hex()):
                row = self._read_head.first(self._reader, key)
            seq = None if row is None else int(row[0])
        return seq

    def heads(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the numbers of the newest state records of those objects of many that there are."""
        found = {key: self._heads[key] for key in keys if key in self._heads}
        unknown = [key for key in keys if key not in found]
        for start in range(0, len(unknown), _KEYS_AT_ONCE):
            part = unknown[start : start + _KEYS_AT_ONCE]
            # One text for any number of keys: building a statement costs more than running it.
            part += part[:1] * (_KEYS_AT_ONCE - len(part))
            with translated("head"):
                found.update(self._read_heads.all(self._reader, *part))
        return found

    def page(self, key: bytes) -> bytes | None:
        """Return a page of the newest map (`medchain.tlog.statemap.PageSource`)."""
        return self._newest.page(key)

    def at(self, height: int, last_record: int, map_root: bytes) -> Snapshot:
        """Return the map after a block, to prove from it.

        Args:
            height: of the block.
            last_record: number of its last state record.
            map_root: its map root.

        Raises:
            UnavailableError: ``store.map_moved_on`` if the file already holds a later map.
            VerificationError: ``store.corrupt``.
        """
        if height == self._newest.height:
            return self._newest
        if height < self.base.height:
            raise UnavailableError("store.map_moved_on", height=height, base=self.base.height)
        if self._earlier is None or self._earlier.height > height:
            self._earlier = self._at_base()
        self._replay(self._earlier, height, last_record)
        if self._earlier.root.hash != map_root:
            self._earlier = None
            raise corrupt("map_page", "root")
        return self._earlier

    def is_full(self) -> bool:
        """Tell whether so much waits that the next transaction should write it."""
        return self._newest.size_bytes > DIRTY_LIMIT_BYTES or len(self._heads) > DIRTY_LIMIT_HEADS

    def write(
        self, connection: Connection, height: int, last_record: int, changed: MapUpdate, heads: Mapping[bytes, int]
    ) -> None:
        """Write all that waits, and one block's changes, in the caller's transaction; `written` tells that it was kept.

        Args:
            connection: the transaction.
            height: of the block.
            last_record: number of its last state record.
            changed: its changes of the map.
            heads: its changes of heads.
        """
        self._put_head.many(connection, sorted({**self._heads, **heads}.items()))
        self._put_page.many(connection, sorted({**self._newest.pages, **changed.pages}.items()))
        self._put_base.many(connection, [(1, height, last_record, changed.root.hash)])

    def written(self) -> None:
        """Note that the newest state is in the file: what waited becomes the cache's."""
        for key, data in self._newest.pages.items():
            self._clean.put(key, data, len(data) + _ROW_COST)
        self.base = Base(self._newest.height, self._newest.last_record, self._newest.root)
        self._heads = {}
        self._earlier = None
        self._newest = self._at_base()

    def advance(self, height: int, last_record: int, changed: MapUpdate, heads: Mapping[bytes, int]) -> None:
        """Move the newest state on by a block that was kept."""
        self._newest.advance(height, last_record, changed)
        self._heads.update(heads)

    def drop_above(self, connection: Connection, height: int) -> None:
        """Forget in the file what is of later blocks: heads and pages have no earlier versions, so all of them go.

        Args:
            connection: the caller's transaction, after which `load` computes everything again.
            height: of the block that becomes the newest.
        """
        if self.base.height > height:
            for table in (head, map_page, map_base):
                connection.execute(delete(table))

    def file_page(self, key: bytes) -> bytes | None:
        """Return a page as it is in the file."""
        data = self._clean.get(key)
        if data is None:
            with translated("map_page", key.hex()):
                row = self._read_page.first(self._reader, key)
            if row is None:
                return None
            data = bytes(row[0])
            self._clean.put(key, data, len(data) + _ROW_COST)
        return data

    def _at_base(self) -> Snapshot:
        """Return the state that is in the file."""
        return Snapshot(self.base.height, self.base.last_record, self.base.root, self._file)

    def _replay(self, snapshot: Snapshot, height: int, last_record: int, heads: dict[bytes, int] | None = None) -> None:
        """Move a snapshot on to a block, from the state records."""
        first = snapshot.last_record
        while first < last_record:
            rows = self._records(first, min(first + _READ_ROWS, last_record))
            changes = {key: hashlib.sha256(data).digest() for _, key, data in rows}
            try:
                changed = update(snapshot.root, changes, snapshot)
            except VerificationError as error:
                raise corrupt("map_page", str(error.fields.get("key", ""))) from error
            first = min(first + _READ_ROWS, last_record)
            snapshot.advance(height, first, changed)
            if heads is not None:
                heads.update({key: seq for seq, key, _ in rows})
        snapshot.height = height

    def _records(self, after: int, last: int) -> list[tuple[int, bytes, bytes]]:
        """Read state records by number, and check that none is missing."""
        columns = (state_record.c.seq, state_record.c.key, state_record.c.data)
        chosen = select(*columns).where(state_record.c.seq > after, state_record.c.seq <= last)
        with translated("state_record", str(after + 1)):
            rows = self._reader.execute(chosen.order_by(state_record.c.seq)).all()
        if len(rows) != last - after:
            raise corrupt("state_record", after + 1)
        return [(row[0], row[1], row[2]) for row in rows]


class _FilePages:
    """The file's pages as a `PageSource`."""

    __slots__ = ("_index",)

    def __init__(self, index: StateIndex) -> None:
        """Read through an index's cache."""
        self._index = index

    def page(self, key: bytes) -> bytes | None:
        """Return a page as it is in the file."""
        return self._index.file_page(key)
