"""Heads of objects and pages of the state map: computed from the state records, kept in memory, written behind.

A block changes some hundred rows of these two tables, all over the place; its other rows are appended. So what it
changes here stays in memory until tens of thousands of entries have gathered, and is then written sorted, a slice with
each block (`medchain.store.folding`). After a crash it is computed again from the state records since the last state
that was written whole, and the map root must come out as the newest block has it. Whether an object is new is seen in
the one page of the map that can hold it, which the block needs anyway.

Keeps true: memory and file together are the newest state; memory is bounded; what a block replaces is kept for a while,
so that records can be proven at an earlier block. Trusts the file for heads (a state record names its key); every map
page is checked by `medchain.tlog.statemap` when it is used.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, LargeBinary, bindparam, delete, select

from medchain.errors import UnavailableError, VerificationError
from medchain.store.cache import ROW_COST, PageCache
from medchain.store.engine import Database, Statement, put_into
from medchain.store.faults import corrupt, translated
from medchain.store.folding import BASE_ROW, TARGET_ROW, Base, Fold
from medchain.store.tables import head, map_base, map_page, state_record
from medchain.tlog.statemap import MapRoot, MapUpdate, held, repair, update

FOLD_ENTRIES: Final = 65_536
"""How many heads may change before they are written; a crash costs the work to compute twice as many again."""

MEMORY_BYTES: Final = 160 << 20
"""Pages in memory, those that wait to be written included."""

WAITING_LIMIT_BYTES: Final = 64 << 20
"""How many bytes of changed pages may gather before they are written."""

EARLIER_LIMIT_BYTES: Final = 16 << 20
"""How many bytes of replaced pages are kept for proofs at earlier blocks."""

_READ_ROWS: Final = 16_384
_KEYS_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The map after a block.

    Attributes:
        root: root of the map.
    """

    root: MapRoot
    _index: StateIndex
    _replaced: Mapping[bytes, bytes] = field(default_factory=dict)

    def page(self, key: bytes) -> bytes | None:
        """Return a page."""
        return self._replaced.get(key) or self._index.page(key)


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What a block has replaced.

    Attributes:
        before: the state before it.
        pages: the pages of that state that it replaced.
        size_bytes: of those pages.
    """

    before: Base
    pages: Mapping[bytes, bytes]
    size_bytes: int


class StateIndex:
    """Heads and pages of the newest state, and the map of some earlier blocks."""

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
        keys = [bindparam(f"key{at}", type_=LargeBinary) for at in range(_KEYS_AT_ONCE)]
        self._read_heads = Statement(select(head.c.key, head.c.seq).where(head.c.key.in_(keys)), dialect)
        self._read_page = Statement(select(map_page.c.data).where(map_page.c.key == bindparam("key")), dialect)
        self._clean = PageCache(MEMORY_BYTES)
        self._heads: dict[bytes, int] = {}
        self._pages: dict[bytes, bytes] = {}
        self._fold: Fold | None = None
        self._earlier: deque[_Earlier] = deque()
        self._size = self._earlier_size = 0
        self.base = self._newest = Base(-1, 0, MapRoot.empty())
        self._forget(self.base)

    @property
    def root(self) -> MapRoot:
        """Root of the newest map."""
        return self._newest.root

    def load(self, newest: Base, ends: Sequence[tuple[int, int]]) -> None:
        """Read the base, and compute again what is newer.

        Args:
            newest: the newest block's state.
            ends: height and last state record of blocks below the newest, in order, at which records shall be provable.

        Raises:
            VerificationError: ``store.corrupt`` if the file's records, pages and newest block do not agree.
        """
        with translated("map_base"):
            chosen = select(map_base.c.id, map_base.c.height, map_base.c.last_record, map_base.c.root)
            rows = {row[0]: Base(row[1], row[2], MapRoot(row[3])) for row in self._reader.execute(chosen)}
        self._forget(rows.get(BASE_ROW, Base(-1, 0, MapRoot.empty())))
        target = rows.get(TARGET_ROW, self.base)
        if target.height > self.base.height:
            self._repair(target)
        for height, last_record in [*ends, (newest.height, newest.last_record)]:
            if height > self._newest.height:
                self._replay(height, last_record)
        if newest.height >= 0 and self.root != newest.root:
            raise corrupt("map_page", "root")

    def warm(self) -> None:
        """Read pages until memory is full of them or all are there, to spare blocks the reading of one each."""
        with translated("map_page"):
            rows = self._reader.execute(select(map_page.c.key, map_page.c.data))
            for part in rows.partitions(_KEYS_AT_ONCE):
                for key, data in part:
                    if key not in self._pages and (self._fold is None or key not in self._fold.pages):
                        self._clean.put(key, bytes(data))
                if self._clean.is_full:
                    break
            rows.close()

    def head(self, key: bytes) -> int | None:
        """Return the number of an object's newest state record, or None."""
        return self.heads([key]).get(key)

    def heads(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the numbers of the newest state records of those objects of many that there are."""
        found = {key: seq for key in keys if (seq := self._waiting_head(key)) is not None}
        written = self._in_map([key for key in keys if key not in found])
        for start in range(0, len(written), _KEYS_AT_ONCE):
            part = written[start : start + _KEYS_AT_ONCE]
            # One text for any number of keys: building a statement costs more than running it.
            part += part[:1] * (_KEYS_AT_ONCE - len(part))
            with translated("head"):
                found.update(self._read_heads.all(self._reader, *part))
        for key in written:
            if key not in found:
                raise corrupt("head", key)
        return found

    def held_page(self, key: bytes) -> bytes | None:
        """Return a page of the newest map if it is in memory."""
        data = self._pages.get(key)
        if data is None and self._fold is not None:
            data = self._fold.pages.get(key)
        return self._clean.get(key) if data is None else data

    def page(self, key: bytes) -> bytes | None:
        """Return a page of the newest map (`medchain.tlog.statemap.PageSource`)."""
        data = self.held_page(key)
        if data is None:
            with translated("map_page", key.hex()):
                row = self._read_page.first(self._reader, key)
            if row is None:
                return None
            data = bytes(row[0])
            self._clean.put(key, data)
        return data

    def at(self, height: int, map_root: bytes) -> Snapshot:
        """Return the map after a block, to prove from it.

        Args:
            height: of the block.
            map_root: its map root.

        Raises:
            UnavailableError: ``store.map_moved_on`` if what later blocks replaced is not kept any more.
            VerificationError: ``store.corrupt``.
        """
        replaced: dict[bytes, bytes] = {}
        found = Snapshot(self._newest.root, self, replaced)
        if height != self._newest.height:
            later = [earlier for earlier in self._earlier if earlier.before.height >= height]
            if not later or later[0].before.height != height:
                raise UnavailableError("store.map_moved_on", height=height, base=self._newest.height)
            for earlier in reversed(later):
                replaced.update(earlier.pages)
            found = Snapshot(later[0].before.root, self, replaced)
        if found.root.hash != map_root:
            raise corrupt("map_page", "root")
        return found

    @property
    def is_waiting(self) -> bool:
        """Whether anything waits to be written."""
        return self._fold is not None or self.base.height != self._newest.height

    def is_due(self) -> bool:
        """Tell whether the next transaction should write a slice."""
        return self._fold is not None or self._size > WAITING_LIMIT_BYTES or len(self._heads) > FOLD_ENTRIES

    def share(self, records: int) -> int:
        """Return how many rows a block of some records should write, so that a fold ends when the next is due."""
        fold = self._fold
        heads = len(self._heads if fold is None else fold.heads)
        rows = heads + len(self._pages) if fold is None else fold.rows
        return -(-rows * records // max(heads, 1))

    def write(self, connection: Connection, rows: int) -> None:
        """Write a slice of what waits, in the caller's transaction; `written` tells that it was kept.

        Args:
            connection: the transaction.
            rows: how many rows.
        """
        if self._fold is None:
            self._fold = Fold(self._newest, self._heads, self._pages, self._size)
            self._heads, self._pages, self._size = {}, {}, 0
        target = self._fold.target
        # Not known to be in the file before the transaction has ended, but it may be from here on.
        self._target_height = target.height
        heads, pages = self._fold.take(rows)
        self._put_head.many(connection, heads)
        self._put_page.many(connection, pages)
        bases = [target.row(TARGET_ROW), target.row(BASE_ROW)] if self._fold.is_last else [target.row(TARGET_ROW)]
        self._put_base.many(connection, bases)

    def written(self) -> None:
        """Note that the slice is in the file; its pages become the cache's."""
        fold = self._fold
        if fold is None:
            return
        for key, data in fold.written():
            if key not in self._pages:
                self._clean.put(key, data)
        if fold.is_done:
            self.base, self._fold = fold.target, None

    def advance(self, height: int, last_record: int, changed: MapUpdate, heads: Mapping[bytes, int]) -> None:
        """Move the newest state on by a block that was kept."""
        size = sum(map(len, changed.replaced.values())) + ROW_COST * len(changed.replaced)
        self._earlier.append(_Earlier(self._newest, changed.replaced, size))
        self._earlier_size += size
        while self._earlier_size > EARLIER_LIMIT_BYTES:
            self._earlier_size -= self._earlier.popleft().size_bytes
        waiting = self._pages
        again = [key for key in changed.pages if key in waiting]
        self._size -= sum([len(waiting[key]) for key in again]) + ROW_COST * len(again)
        self._size += sum(map(len, changed.pages.values())) + ROW_COST * len(changed.pages)
        self._clean.drop(changed.pages)
        self._pages.update(changed.pages)
        self._clean.limit(MEMORY_BYTES - self._size - (0 if self._fold is None else self._fold.size_bytes))
        self._newest = Base(height, last_record, changed.root)
        self._heads.update(heads)

    def drop_above(self, connection: Connection, height: int) -> None:
        """Forget in the file what is of later blocks: heads and pages have no earlier versions, so all of them go.

        Args:
            connection: the caller's transaction, after which `load` computes everything again.
            height: of the block that becomes the newest.
        """
        if max(self.base.height, self._target_height) > height:
            for table in (head, map_page, map_base):
                connection.execute(delete(table))

    def _forget(self, base: Base) -> None:
        """Go back to what is in the file."""
        self.base = self._newest = base
        self._target_height = base.height
        self._clean.clear()
        self._clean.limit(MEMORY_BYTES)
        self._heads, self._pages, self._size = {}, {}, 0
        self._fold = None
        self._earlier.clear()
        self._earlier_size = 0

    def _waiting_head(self, key: bytes) -> int | None:
        """Return a head that is not in the file yet."""
        seq = self._heads.get(key)
        return self._fold.heads.get(key) if seq is None and self._fold is not None else seq

    def _in_map(self, keys: Sequence[bytes]) -> list[bytes]:
        """Return those of many objects that there are."""
        try:
            return held(self._newest.root, keys, self)
        except VerificationError as error:
            raise _page_corrupt(error) from error

    def _repair(self, target: Base) -> None:
        """Make one state of pages of two moments: a fold was broken off."""
        records = self._records(self.base.last_record, target.last_record)
        changes = {key: hashlib.sha256(data).digest() for _, key, data in records}
        try:
            changed = repair(self.base.root, changes, self)
        except VerificationError as error:
            raise _page_corrupt(error) from error
        if changed.root != target.root:
            raise corrupt("map_page", "root")
        self.advance(target.height, target.last_record, changed, {key: seq for seq, key, _ in records})
        # The state before it is not there any more.
        self._earlier.clear()
        self._earlier_size = 0
        self._target_height = target.height

    def _replay(self, height: int, last_record: int) -> None:
        """Move on to a block, from the state records."""
        before = self._newest
        while True:
            first = self._newest.last_record
            last = min(first + _READ_ROWS, last_record)
            records = self._records(first, last)
            changes = {key: hashlib.sha256(data).digest() for _, key, data in records}
            try:
                changed = update(self.root, changes, self)
            except VerificationError as error:
                raise _page_corrupt(error) from error
            # Between two blocks is no state to prove from: the parts but the last count as of the block before.
            reached = height if last == last_record else before.height
            self.advance(reached, last, changed, {key: seq for seq, key, _ in records})
            if last == last_record:
                return

    def _records(self, after: int, last: int) -> list[tuple[int, bytes, bytes]]:
        """Read state records by number, and check that none is missing."""
        columns = (state_record.c.seq, state_record.c.key, state_record.c.data)
        chosen = select(*columns).where(state_record.c.seq > after, state_record.c.seq <= last)
        with translated("state_record", str(after + 1)):
            rows = self._reader.execute(chosen.order_by(state_record.c.seq)).all()
        if len(rows) != last - after:
            raise corrupt("state_record", after + 1)
        return [(row[0], row[1], row[2]) for row in rows]


def _page_corrupt(error: VerificationError) -> VerificationError:
    """Say which page of the map is not as it was written, in the store's words."""
    return corrupt("map_page", str(error.fields.get("key", "")))
