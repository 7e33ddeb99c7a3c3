"""The ledger file: blocks, leaves, tiles, state records and what follows from them; a block or more a transaction.

It is the machine's `View`, the tree's `TileSource` and the map's `PageSource` of the newest state. Keeps true: a block
is there with all that belongs to it, or not at all, also when the process dies or a commit's outcome is unknown; leaves
that are served hash to what the tiles say. Trusts the caller of `commit_blocks` to have executed and verified them, and
to be the only process that writes the file.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

import binascii
import hashlib
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, Select, bindparam, delete, func, literal_column, select

from medchain.encoding import Json, canonical, unhex
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, VerificationError
from medchain.ledger.machine import Drawn, DrawState, drawn_of
from medchain.ledger.members import (
    COSIGN_ED25519_KEY,
    COSIGN_MLDSA44_KEY,
    LOG_KEY,
    Members,
    addresses_of,
    organisation_content,
    parse_organisation,
    parse_protocol,
    protocol_content,
)
from medchain.ledger.object import StateRecord
from medchain.ledger.policy import parse_policy
from medchain.ledger.transaction import parse_envelope
from medchain.store import tables
from medchain.store.cache import BoundedCache
from medchain.store.engine import Database, Statement, insert_into, put_into
from medchain.store.faults import corrupt, translated
from medchain.store.folding import Base
from medchain.store.index import Snapshot, StateIndex
from medchain.store.newest import NewestBlock, NewestBlocks
from medchain.store.notes import BodyTable, CheckpointTable
from medchain.tlog.merkle import HASH_BYTES, Frontier, leaf_hash
from medchain.tlog.statemap import MapRoot, MapUpdate
from medchain.tlog.tiles import TILE_HEIGHT, TILE_WIDTH

RECORD_CACHE_BYTES: Final = 12 << 20
"""Cache of state records."""

TILE_CACHE_BYTES: Final = 4 << 20
"""Cache of full tiles."""

MEMBERS_CACHE_BYTES: Final = 2 << 20
"""Cache of the members that were in force once, in bytes of what is kept of them in the file."""

ID_PREFIX_BYTES: Final = 8
"""How much of a transaction id is kept to find it; the leaf has the rest."""

_PAYLOAD: Final = b'{"payload":"'
_RECORD_COST: Final = 1200
_TILE_COST: Final = 8400
_BLOCKS_AT_ONCE: Final = 256
_LEAVES_AT_ONCE: Final = 1024
_FLUSHED_ROWS: Final = 4096
_ASIDE_BYTES: Final = 4 << 20
_DRAWN_BYTES: Final = 4 << 20
_LENGTH_BYTES: Final = 4
_MAX_SEEDS: Final = 8
_MEMBERS_AT_ONCE: Final = 16
_POLICY_USES: Final = (COSIGN_ED25519_KEY, COSIGN_MLDSA44_KEY, LOG_KEY)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block.

    Attributes:
        height: -1 for the empty file.
        time: Unix seconds.
        size: leaves after it.
        root: root of the log after it.
        map_root: root hash of the map after it.
        frontier: right edge of the log after it.
        last_record: number of its last state record.
    """

    height: int
    time: int
    size: int
    root: bytes
    map_root: bytes
    frontier: Frontier
    last_record: int


@dataclass(frozen=True, slots=True)
class BlockWrite:
    """All that a block adds.

    Attributes:
        height: one more than the newest block's.
        time: Unix seconds.
        leaves: its transactions, and its state leaf last.
        frontier: right edge of the log after it, which has its size.
        root: root of the log after it.
        tiles: from `medchain.tlog.tiles.tiles_for_append`.
        map: from `medchain.tlog.statemap.update`.
        history: map key and canonical bytes of every state record made, around the record, in order.
        members: the members after it, None if they stay.
        draws: creator → draws that changed.
        checkpoint: its checkpoint with the log's signature line.
        ids: ids of its transactions, in order; the other leaves, those of the genesis and of the state, come last.
        drawn: how its transactions came by independent endorsers, in order.
    """

    height: int
    time: int
    leaves: Sequence[bytes]
    frontier: Frontier
    root: bytes
    tiles: Mapping[tuple[int, int], bytes]
    map: MapUpdate
    history: Sequence[tuple[bytes, StateRecord, bytes]]
    members: Members | None
    draws: Mapping[str, DrawState]
    checkpoint: str
    ids: Sequence[bytes] = ()
    drawn: Sequence[Drawn] = ()


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as it was committed.

    Attributes:
        height: from 0.
        time: Unix seconds.
        first: position of its first leaf.
        size: leaves of the log after it; its state leaf is at ``size`` − 1.
        root: root of the log after it.
        map_root: root hash of the map after it.
        checkpoint: its checkpoint with the log's signature line.
    """

    height: int
    time: int
    first: int
    size: int
    root: bytes
    map_root: bytes
    checkpoint: str


class SignerKeys(NamedTuple):
    """An organisation in a trusted policy: its status, and public keys in base64, empty where it has none."""

    status: str
    cosign_ed25519: str
    cosign_mldsa44: str
    log: str


class PolicyRow(NamedTuple):
    """What a trusted policy is made of, after the block at a height."""

    height: int
    organisations: Mapping[str, SignerKeys]
    orderer: str
    quorum: int


class _Numbered(NamedTuple):
    """A block's place in the file.

    Attributes:
        write: the block.
        first: position of its first leaf.
        head: the newest block once it is kept.
        rows: its state records.
        heads: key → number of its last state record.
    """

    write: BlockWrite
    first: int
    head: Head
    rows: Sequence[tuple[int, int | None, bytes, bytes]]
    heads: Mapping[bytes, int]


_EMPTY: Final = Head(-1, 0, 0, Frontier.empty().root(), MapRoot.empty().hash, Frontier.empty(), 0)


class LedgerStore(CheckpointTable, BodyTable):
    """The ledger file, opened by the one process that writes it. Threads may share it."""

    def __init__(self, database: Database) -> None:
        """Read the newest state.

        Args:
            database: the ledger file.

        Raises:
            VerificationError: ``store.corrupt`` if its parts do not agree.
        """
        CheckpointTable.__init__(self, database)
        BodyTable.__init__(self, database)
        dialect = database.engine.dialect
        self._lock = threading.RLock()
        self._reader = database.reader()
        self._index = StateIndex(database, self._reader)
        self._inserts = {
            name: insert_into(tables.LEDGER.tables[name], dialect)
            for name in ("block", "draw", "dropped_block", "leaf", "members", "state_record", "tile")
        }
        self._put_edge = put_into(tables.edge, dialect)
        record, tile = tables.state_record, tables.tile
        self._read_record = Statement(
            select(record.c.previous, record.c.key, record.c.data).where(record.c.seq == bindparam("seq")), dialect
        )
        self._read_tile = Statement(
            select(tile.c.data).where(tile.c.level == bindparam("level"), tile.c.number == bindparam("number")), dialect
        )
        block = tables.block.c
        at_height, at_size = block.height == bindparam("height"), block.size == bindparam("size")
        following = _blocks().where(block.size > bindparam("position")).order_by(block.size)
        self._read_block = Statement(_blocks().where(at_height), dialect)
        self._read_block_of = Statement(_blocks().where(at_size), dialect)
        self._read_block_at = Statement(following.limit(literal_column("1")).offset(literal_column("0")), dialect)
        leaf = tables.leaf.c
        between = (leaf.position >= bindparam("start"), leaf.position < bindparam("end"))
        chosen = select(leaf.position, leaf.data).where(*between).order_by(leaf.position)
        self._read_leaves = Statement(chosen, dialect)
        of_height = select(tables.members.c.data).where(tables.members.c.height == bindparam("height"))
        self._read_members = Statement(of_height, dialect)
        self._records: BoundedCache[bytes, StateRecord] = BoundedCache(RECORD_CACHE_BYTES)
        self._tiles: BoundedCache[tuple[int, int], bytes] = BoundedCache(TILE_CACHE_BYTES)
        self._seeds: dict[int, bytes] = {}
        self._head = _EMPTY
        self._edge: dict[int, bytes] = {}
        self._members: Members | None = None
        # Where the members changed, and those of then: asked far more often than they change.
        self._member_heights: list[int] = []
        self._past: BoundedCache[int, Members] = BoundedCache(MEMBERS_CACHE_BYTES)
        self._draws: dict[str, DrawState] = {}
        self._newest = NewestBlocks()
        self._is_loaded = False
        with self._fresh():
            pass

    @property
    def head(self) -> Head:
        """The newest block."""
        with self._fresh():
            return self._head

    @property
    def map_root(self) -> MapRoot:
        """Root of the newest map."""
        with self._fresh():
            return self._index.root

    @property
    def members(self) -> Members:
        """The members in force; raises `NotFoundError` ``store.empty`` before height 0."""
        with self._fresh():
            if self._members is None:
                raise NotFoundError("store.empty")
            return self._members

    def record(self, key: bytes) -> StateRecord | None:
        """Return the head of an object, or None.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        # After a commit whose outcome is unknown the cache says nothing.
        found = self._records.get(key) if self._is_loaded else None
        if found is None:
            with self._fresh():
                seq = self._index.head(key)
                if seq is not None:
                    found = self._record_at(seq, key)[1]
                    self._records.put(key, found, _RECORD_COST)
        return found

    def heads(self, keys: Sequence[bytes]) -> dict[bytes, StateRecord | None]:
        """Return the heads of many objects, None for each that there is not; raises as `record`."""
        with self._fresh():
            found = {key: self._records.get(key) for key in keys}
            for key, seq in self._index.heads([key for key, record in found.items() if record is None]).items():
                record = found[key] = self._record_at(seq, key)[1]
                self._records.put(key, record, _RECORD_COST)
        return found

    def draws(self, creator: str) -> DrawState:
        """Return the draws of a creator."""
        with self._fresh():
            return self._draws.get(creator, DrawState())

    def drawn(self, first: int, last: int) -> tuple[list[tuple[int, Drawn]], int]:
        """Tell how the transactions of blocks came by independent endorsers, of as many blocks as are read at once.

        Args:
            first: height of the first block.
            last: height of the last one.

        Returns:
            Of each such transaction its block's time and how, in order; up to which height these are all.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        newest = self._newest_between(first, last)
        if newest is not None:
            return [(block.time, draw) for block in newest for draw in block.drawn], last
        heights = self._drawn_heights(first, last)
        page = self.blocks(heights[0], _DRAWN_BYTES) if heights else []
        seen = min(page[-1][0].height, last) if page and page[-1][0].height < heights[-1] else last
        leaves = [(block.time, leaf) for block, found in page if block.height <= seen for leaf in found]
        return [(time, draw) for time, leaf in leaves for draw in drawn_of(parse_envelope(leaf).transaction)], seen

    def _drawn_heights(self, first: int, last: int) -> list[int]:
        """Return the heights from ``first`` to ``last`` of the blocks with draws, in order."""
        table = tables.draw.c
        with self._fresh():
            creators = list(self._draws)
        # By creator and height, as the table is sorted.
        between = (table.creator.in_(creators), table.height >= first, table.height <= last)
        chosen = select(table.height).where(*between).distinct()
        with self._database.read("draw", str(first)) as connection:
            return [int(height) for height in connection.execute(chosen.order_by(table.height)).scalars()]

    def changed_of(self, kind: str, first: int, last: int) -> list[bytes]:
        """Return the objects of a kind that have new versions in the blocks from one height to another; map keys."""
        newest = self._newest_between(first, last)
        if newest is not None:
            return list(dict.fromkeys(key for block in newest for key in block.changed.get(kind, ())))
        table = tables.state_record.c
        low = self._block_row(first - 1).last_record if first else -1
        chosen = select(table.key, table.data).where(table.seq > low, table.seq <= self._block_row(last).last_record)
        mark = b'"kind":' + canonical(kind)
        with self._database.read("state_record", str(first)) as connection:
            rows = connection.execute(chosen.order_by(table.seq))
            # Nearly all are of other kinds; whoever looks one up has it checked.
            return list(dict.fromkeys(bytes(key) for key, data in rows if mark in data))

    def _newest_between(self, first: int, last: int) -> list[NewestBlock] | None:
        """Return what blocks did that this process has kept since it read the file; None if some are older."""
        with self._fresh():
            return self._newest.between(first, last)

    def seed(self, height: int) -> bytes | None:
        """Return the map root of the state entry at a height, None if there is none."""
        found = self._seeds.get(height)
        if found is None and 0 <= height <= self.head.height:
            if len(self._seeds) >= _MAX_SEEDS:
                self._seeds.clear()
            found = self._seeds[height] = self.block(height).map_root
        return found

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return a tile's first hashes (`medchain.tlog.tiles.TileSource`).

        Raises:
            VerificationError: ``store.corrupt`` if the file has not as many.
        """
        with self._fresh():
            size = self._head.size >> TILE_HEIGHT * level
            data = self._edge.get(level, b"") if index == size // TILE_WIDTH else self._full_tile(level, index)
        if len(data) < width * HASH_BYTES:
            raise corrupt("tile", f"{level}/{index}")
        return data[: width * HASH_BYTES]

    def page(self, key: bytes) -> bytes | None:
        """Return a page of the newest map (`medchain.tlog.statemap.PageSource`)."""
        data = self._index.held_page(key) if self._is_loaded else None
        if data is None:
            with self._fresh():
                data = self._index.page(key)
        return data

    def warm(self) -> None:
        """Read the map's pages into memory, as far as they have room."""
        with self._fresh():
            self._index.warm()

    @contextmanager
    def map_at(self, height: int) -> Iterator[Snapshot]:
        """Give the map after a block, unchanged while the caller proves from it.

        Args:
            height: of the block.

        Raises:
            UnavailableError: ``store.map_moved_on`` if what later blocks replaced is not kept any more.
            VerificationError: ``store.corrupt``.
        """
        with self._fresh():
            row = self._block_row(height)
            yield self._index.at(height, row.map_root)

    def commit_blocks(self, writes: Sequence[BlockWrite]) -> None:
        """Keep blocks, with all that belongs to them, in one transaction.

        Args:
            writes: executed and verified blocks, at least one.

        Raises:
            ConflictError: ``store.height`` unless they follow the newest block and each other.
            UnavailableError: ``store.full`` and others; if the commit itself failed, all may have been kept, and `head`
                tells.
        """
        with self._fresh():
            blocks = self._numbered(writes)
            records = sum([len(block.rows) for block in blocks])
            folded = self._index.share(records) if self._index.is_due() else 0
            self._is_loaded = False
            with self._database.write("block", str(writes[0].height)) as connection:
                self._insert(connection, blocks)
                if folded:
                    self._index.write(connection, folded)
            for block in blocks:
                self._index.advance(block.head.height, block.head.last_record, block.write.map, block.heads)
            if folded:
                self._index.written()
            for block in blocks:
                self._advance(block)
            self._is_loaded = True

    def flush(self) -> None:
        """Write what waits in memory, when there is time; loses nothing if it fails."""
        is_waiting = True
        while is_waiting:
            with self._fresh():
                if self._index.is_waiting:
                    with self._database.write("map_page") as connection:
                        self._index.write(connection, _FLUSHED_ROWS)
                    self._index.written()
                is_waiting = self._index.is_waiting

    def rewind(self, height: int) -> None:
        """Drop all blocks above a height; the caller knows that none of them is final.

        They are kept aside in the same transaction, unless others are: then these are what came in their place.

        Args:
            height: of the block that becomes the newest.

        Raises:
            NotFoundError: ``store.block`` if there is none.
            MedchainError: see `medchain.store.faults.translated`; all is dropped or nothing.
        """
        with self._fresh():
            row = self._block_row(height)
            edge = self._edge_at(row.size)
            with self._changing(), self._database.write("block", str(height)) as connection:
                if connection.execute(select(tables.dropped_block.c.height).limit(1)).first() is None:
                    self._set_aside(connection, height + 1)
                self._is_loaded = False
                _drop_above(connection, row)
                connection.execute(delete(tables.edge))
                self._put_edge.many(connection, edge)
                self._index.drop_above(connection, height)

    def _set_aside(self, connection: Connection, first: int) -> None:
        """Copy the blocks from a height on, in the transaction that drops them."""
        while page := self.blocks(first, _ASIDE_BYTES):
            rows = [(row.height, row.time, _joined(leaves), row.checkpoint) for row, leaves in page]
            self._inserts["dropped_block"].many(connection, rows)
            first = page[-1][0].height + 1

    def dropped(self) -> list[tuple[int, int, list[bytes], str]]:
        """Return what `rewind` has dropped and nobody has forgotten since: height, time, leaves, checkpoint."""
        table = tables.dropped_block
        with self._database.read("dropped_block") as connection:
            rows = connection.execute(select(table).order_by(table.c.height)).all()
        return [(row.height, row.time, _parted(row.leaves), row.checkpoint) for row in rows]

    def forget_dropped(self) -> None:
        """Forget what `rewind` has dropped; raises as it does."""
        with self._database.write("dropped_block") as connection:
            connection.execute(delete(tables.dropped_block))

    def block(self, height: int) -> StoredBlock:
        """Return a block; raises `NotFoundError` ``store.block`` if there is none."""
        return self._one_block(self._read_block, height)

    def block_at(self, position: int) -> StoredBlock:
        """Return the block that holds a leaf; raises `NotFoundError` ``store.block``."""
        return self._one_block(self._read_block_at, position)

    def block_of_size(self, size: int) -> StoredBlock:
        """Return the block after which the log has a size; raises `NotFoundError` ``store.block``."""
        return self._one_block(self._read_block_of, size)

    def blocks(self, first: int, max_bytes: int) -> list[tuple[StoredBlock, list[bytes]]]:
        """Return blocks from a height on, each with its transactions.

        Args:
            first: the first height.
            max_bytes: how many bytes of leaves; at least one block is returned if there is one.

        Returns:
            (block, its leaves without the state leaf), in order.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        chosen = _blocks().where(tables.block.c.height >= first).order_by(tables.block.c.height)
        with self._database.read("block", str(first)) as connection:
            rows = [StoredBlock(*row) for row in connection.execute(chosen.limit(_BLOCKS_AT_ONCE))]
        found: list[tuple[StoredBlock, list[bytes]]] = []
        left = max_bytes
        for row in rows:
            leaves = self.leaves(row.first, row.size - 1)
            left -= sum(map(len, leaves))
            if found and left < 0:
                break
            found.append((row, leaves))
        return found

    def leaf(self, position: int) -> bytes:
        """Return a leaf, compared with its tile.

        Raises:
            NotFoundError: ``store.leaf``.
            VerificationError: ``store.corrupt``.
        """
        if not 0 <= position < self.head.size:
            raise NotFoundError("store.leaf", position=position)
        return self.leaves(position, position + 1)[0]

    def leaves(self, start: int, end: int) -> list[bytes]:
        """Return the leaves from ``start`` to before ``end``, compared with their tiles.

        Raises:
            InputError: ``store.leaf`` for a range that does not exist.
            VerificationError: ``store.corrupt``.
        """
        if not 0 <= start <= end <= self.head.size:
            raise InputError("store.leaf", start=start, end=end)
        with self._database.look("leaf", str(start)) as look:
            rows = look.all(self._read_leaves, start, end)
        found = [row[1] for row in rows]
        for number in range(start // TILE_WIDTH, -(-(start + len(rows)) // TILE_WIDTH)):
            first, last = max(start, number * TILE_WIDTH), min(start + len(rows), (number + 1) * TILE_WIDTH)
            tile = self.tile(0, number, last - number * TILE_WIDTH)
            for position in range(first, last):
                at = position % TILE_WIDTH * HASH_BYTES
                row = rows[position - start]
                if row[0] != position or leaf_hash(row[1]) != tile[at : at + HASH_BYTES]:
                    raise corrupt("leaf", position)
        if len(found) != end - start:
            raise corrupt("leaf", start + len(found))
        return found

    def history(self, key: bytes) -> list[StateRecord]:
        """Return all versions of an object, the newest first, each checked against the next one's ``previous``.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        with self._fresh():
            seq = self._index.head(key)
            found: list[StateRecord] = []
            while seq is not None:
                at = seq
                seq, record = self._record_at(at, key)
                if found and record.digest != found[-1].previous:
                    raise corrupt("state_record", at)
                found.append(record)
        if found and (found[-1].version != 1 or found[-1].previous is not None):
            raise corrupt("state_record", key)
        return found

    def version(self, key: bytes, version: int) -> StateRecord | None:
        """Return a version of an object, None without; only those since are read, each checked as in `history`.

        Args:
            key: map key of the object, 32 bytes.
            version: of the object, from 1.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        with self._fresh():
            head = self.record(key)
            if head is None or not 0 < version <= head.version:
                return None
            if head.version == version:
                return head
            seq, later = self._index.head(key), None
            while seq is not None:
                at = seq
                seq, record = self._record_at(at, key)
                if later is not None and record.digest != later.previous:
                    raise corrupt("state_record", at)
                if record.version == version:
                    return record
                later = record
        raise corrupt("state_record", key)

    def record_at(self, key: bytes, position: int) -> StateRecord | None:
        """Return the version of an object that was the head after a position, or None; raises as `history`."""
        return next((record for record in self.history(key) if record.since <= position), None)

    def transaction_position(self, transaction: bytes, *, first: int = 0) -> int | None:
        """Find a transaction by its id.

        Args:
            transaction: SHA-256 of its payload.
            first: a position that it cannot be before; the search reads every block after it, the newest first.

        Returns:
            Its position, or None.
        """
        table = tables.block.c
        prefix, before = transaction[:ID_PREFIX_BYTES], self.head.height + 1
        while before > 0:
            chosen = select(table.height, table.first, table.ids).where(table.height < before, table.size > first)
            with self._database.read("block") as connection:
                rows = connection.execute(chosen.order_by(table.height.desc()).limit(_BLOCKS_AT_ONCE)).all()
            for row in rows:
                for position in _positions(row.ids, prefix, row.first):
                    if _transaction_id(self.leaf(position)) == transaction:
                        return position
            before = rows[-1].height if rows else 0
        return None

    def members_at(self, height: int) -> Members:
        """Return the members after a block; raises `NotFoundError` ``store.block``."""
        with self._fresh():
            since = bisect_right(self._member_heights, height)
            if not since:
                raise NotFoundError("store.block", height=height)
            return self._members_since(self._member_heights[since - 1])

    def final_members(self) -> Members:
        """Return the members at the newest final block end; the genesis is final."""
        final = self.final()
        return self.members_at(0 if final is None else self.block_of_size(final.size).height)

    def addresses_at(self, height: int) -> dict[str, str]:
        """Tell whose the addresses are that members list after a block, or listed before.

        Args:
            height: of the block.

        Returns:
            Address (scheme, host and port) → org_id of who lists it or was the last to; of several the first by org_id.
        """
        found: dict[str, str] = {}
        for at in self.members_changes():
            if at <= height:
                found |= addresses_of(self.members_at(at).organisations.values())
        return found

    def members_since_final(self) -> list[Members]:
        """Return each set of members since the newest final block, the one after it first; the genesis is final."""
        final = self.final()
        height = 0 if final is None else self.block_of_size(final.size).height
        return [self.members_at(at) for at in (height, *(at for at in self.members_changes() if at > height))]

    def members_changes(self) -> list[int]:
        """Return the heights of the blocks that changed the members, height 0 included, in order."""
        with self._fresh():
            return self._member_heights.copy()

    def policies(self, above: int, last: int) -> Iterator[PolicyRow]:
        """List what a trusted policy is made of, after each block that changed the members, in order.

        Members are not decoded for it: an address that changes often would cost as much as a key.

        Args:
            above: height below the first block.
            last: height of the last one.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        table = tables.members.c
        chosen = select(table.height, table.data).where(table.height > above, table.height <= last)
        with self._database.read("members") as connection:
            for part in connection.execute(chosen.order_by(table.height)).partitions(_MEMBERS_AT_ONCE):
                for height, data in part:
                    yield _policy_row(int(height), data)

    def close(self) -> None:
        """Write what waits, and close the file."""
        with self._lock:
            try:
                self.flush()
            finally:
                self._reader.close()
                self._database.close()

    @contextmanager
    def _fresh(self) -> Iterator[None]:
        """Hold the lock, and read the newest state again after a commit whose outcome is unknown."""
        with self._lock:
            if not self._is_loaded:
                self._load()
            yield

    def _load(self) -> None:
        """Read the newest state and check that its parts agree."""
        newest = select(tables.block).order_by(tables.block.c.height.desc()).limit(1)
        with translated("block"):
            row = self._reader.execute(newest).first()
        if row is not None and (row.height, row.root) == (self._head.height, self._head.root):
            # Nothing was kept: what is in memory is still the newest state.
            self._is_loaded = True
            return
        self._head = _EMPTY
        self._records.clear()
        self._tiles.clear()
        self._seeds.clear()
        with translated("block"):
            edges = self._reader.execute(select(tables.edge)).all()
            draws = self._reader.execute(_newest_draws()).all()
        head = _EMPTY if row is None else _head(row)
        self._index.load(Base(head.height, head.last_record, MapRoot(head.map_root)), self._ends_from_final())
        self._edge = _checked_edge(head.frontier, {level: (number, data) for level, number, data in edges})
        self._draws = {row.creator: DrawState(row.number, row.used, row.given_up) for row in draws}
        self._past.clear()
        self._member_heights = self._read_changes()
        if row is not None and not self._member_heights:
            raise corrupt("members", head.height)
        self._members = self._members_since(self._member_heights[-1]) if self._member_heights else None
        self._head = head
        self._newest.begin(head.height + 1)
        self._is_loaded = True

    def _read_changes(self) -> list[int]:
        """Read the heights of the blocks that changed the members."""
        chosen = select(tables.members.c.height).order_by(tables.members.c.height)
        with translated("members"):
            return [int(height) for height in self._reader.execute(chosen).scalars()]

    def _members_since(self, height: int) -> Members:
        """Return the members after a block that changed them."""
        found = self._past.get(height)
        if found is None:
            with translated("members", str(height)):
                row = self._read_members.first(self._reader, height)
            if row is None:
                raise corrupt("members", height)
            found = _decode_members(row[0])
            self._past.put(height, found, len(row[0]))
        return found

    def _ends_from_final(self) -> list[tuple[int, int]]:
        """Return height and last state record of the newest final block and those after it."""
        final = self.final()
        if final is None:
            return []
        table = tables.block.c
        chosen = select(table.height, table.last_record).where(table.size >= final.size).order_by(table.height)
        with translated("block"):
            return [(row[0], row[1]) for row in self._reader.execute(chosen)]

    def _numbered(self, writes: Sequence[BlockWrite]) -> list[_Numbered]:
        """Give blocks and their state records their places; raises as `commit_blocks`."""
        blocks: list[_Numbered] = []
        head, heads = self._head, dict[bytes, int]()
        for write in writes:
            if write.height != head.height + 1 or write.frontier.size != head.size + len(write.leaves):
                raise ConflictError("store.height", height=write.height, own=head.height)
            rows = self._record_rows(write.history, head.last_record + 1, heads)
            first, head = head.size, head_after(head, write)
            blocks.append(_Numbered(write, first, head, rows, {key: seq for seq, _, key, _ in rows}))
        return blocks

    def _insert(self, connection: Connection, blocks: Sequence[_Numbered]) -> None:
        """Write the rows that blocks append, and the few that they replace."""
        full = TILE_WIDTH * HASH_BYTES
        insert = self._inserts
        leaves = [leaf for block in blocks for leaf in block.write.leaves]
        insert["leaf"].many(connection, list(enumerate(leaves, blocks[0].first)))
        insert["state_record"].many(connection, [row for block in blocks for row in block.rows])
        # Of a tile that several blocks have extended the last one counts.
        tiles = {place: data for block in blocks for place, data in block.write.tiles.items()}
        done = [(level, number, data) for (level, number), data in tiles.items() if len(data) == full]
        grown = [(level, number, data) for (level, number), data in tiles.items() if len(data) != full]
        insert["tile"].many(connection, done)
        self._put_edge.many(connection, grown)
        insert["draw"].many(connection, [row for block in blocks for row in _draw_rows(block.write)])
        changed = [(write.height, write.members) for write, *_ in blocks if write.members is not None]
        insert["members"].many(connection, [(height, _encode_members(members)) for height, members in changed])
        insert["block"].many(connection, [_row_of(block) for block in blocks])

    def _advance(self, block: _Numbered) -> None:
        """Move on in memory to a block that was kept."""
        full = TILE_WIDTH * HASH_BYTES
        write = block.write
        for (level, number), data in write.tiles.items():
            if len(data) == full:
                self._tiles.put((level, number), data, _TILE_COST)
                self._edge.pop(level, None)
        self._edge.update({level: data for (level, _), data in write.tiles.items() if len(data) != full})
        changed: dict[str, list[bytes]] = {}
        for key, record, _ in write.history:
            self._records.put(key, record, _RECORD_COST)
            changed.setdefault(record.kind, []).append(key)
        self._newest.add(NewestBlock(write.height, write.time, write.drawn, changed))
        self._draws.update(write.draws)
        if write.members is not None:
            self._members = write.members
            self._member_heights.append(write.height)
        self._head = block.head

    def _record_rows(
        self, history: Sequence[tuple[bytes, StateRecord, bytes]], first: int, heads: dict[bytes, int]
    ) -> list[tuple[int, int | None, bytes, bytes]]:
        """Number a block's state records, each with the number of its object's previous one.

        Args:
            history: of the block.
            first: number of its first record.
            heads: key → number of the newest record that is not in the file yet; grows.
        """
        rows: list[tuple[int, int | None, bytes, bytes]] = []
        for seq, (key, record, data) in enumerate(history, first):
            previous = None if record.version == 1 else heads.get(key) or self._index.head(key)
            rows.append((seq, previous, key, data))
            heads[key] = seq
        return rows

    def _record_at(self, seq: int, key: bytes) -> tuple[int | None, StateRecord]:
        """Read a state record by number; returns the number of the previous version too."""
        with translated("state_record", str(seq)):
            row = self._read_record.first(self._reader, seq)
        if row is None or row[1] != key:
            raise corrupt("state_record", seq)
        try:
            record = StateRecord.decode(row[2])
        except MedchainError as error:
            raise corrupt("state_record", seq) from error
        if record.key != key:
            raise corrupt("state_record", seq)
        return row[0], record

    def _full_tile(self, level: int, index: int) -> bytes:
        """Return a full tile."""
        data = self._tiles.get((level, index))
        if data is None:
            with translated("tile", f"{level}/{index}"):
                row = self._read_tile.first(self._reader, level, index)
            data = b"" if row is None else bytes(row[0])
            self._tiles.put((level, index), data, _TILE_COST)
        return data

    def _edge_at(self, size: int) -> list[tuple[int, int, bytes]]:
        """Return the partial tiles that the tree had at an earlier size."""
        edge = []
        level = 0
        while size:
            number, width = divmod(size, TILE_WIDTH)
            if width:
                edge.append((level, number, self.tile(level, number, width)))
            size = number
            level += 1
        return edge

    def _block_row(self, height: int) -> Any:  # noqa: ANN401  # SQLAlchemy's row
        """Read a block's row."""
        with self._database.read("block", str(height)) as connection:
            row = connection.execute(select(tables.block).where(tables.block.c.height == height)).first()
        if row is None:
            raise NotFoundError("store.block", height=height)
        return row

    def _one_block(self, chosen: Statement, number: int) -> StoredBlock:
        """Read one block."""
        with self._database.look("block", str(number)) as look:
            row = look.first(chosen, number)
        if row is None:
            raise NotFoundError("store.block", number=number)
        return StoredBlock(*row)


def head_after(head: Head, write: BlockWrite) -> Head:
    """Return what is the newest block once one more is kept."""
    last_record, map_root = head.last_record + len(write.history), write.map.root.hash
    return Head(write.height, write.time, write.frontier.size, write.root, map_root, write.frontier, last_record)


def _draw_rows(write: BlockWrite) -> list[tuple[object, ...]]:
    """Write the draws that a block changes, in the order of the table's columns."""
    return [(creator, write.height, *draw) for creator, draw in write.draws.items()]


def _row_of(block: _Numbered) -> tuple[object, ...]:
    """Write a block's row, in the order of the table's columns."""
    write, head = block.write, block.head
    ids = b"".join([name[:ID_PREFIX_BYTES] for name in write.ids]).ljust(ID_PREFIX_BYTES * len(write.leaves), b"\0")
    place = (head.height, head.time, block.first, head.size, head.last_record, head.root, head.map_root)
    return (*place, head.frontier.to_bytes(), ids, write.checkpoint)


def _head(row: Any) -> Head:  # noqa: ANN401  # SQLAlchemy's row
    """Check the newest block's row in itself."""
    try:
        frontier = Frontier.from_bytes(row.frontier)
    except MedchainError as error:
        raise corrupt("block", row.height) from error
    if frontier.size != row.size or frontier.root() != row.root:
        raise corrupt("block", row.height)
    return Head(row.height, row.time, row.size, row.root, row.map_root, frontier, row.last_record)


def _newest_draws() -> Select[Any]:
    """Select each creator's newest draws."""
    table = tables.draw
    newest = select(table.c.creator, func.max(table.c.height).label("height")).group_by(table.c.creator).subquery()
    return select(table).join(newest, (table.c.creator == newest.c.creator) & (table.c.height == newest.c.height))


def _drop_above(connection: Connection, row: Any) -> None:  # noqa: ANN401  # SQLAlchemy's row
    """Delete what the blocks above one added."""
    size = row.size
    for table, is_above in (
        (tables.leaf, tables.leaf.c.position >= size),
        (tables.state_record, tables.state_record.c.seq > row.last_record),
        (tables.members, tables.members.c.height > row.height),
        (tables.draw, tables.draw.c.height > row.height),
        (tables.checkpoint, tables.checkpoint.c.size > size),
        (tables.block, tables.block.c.height > row.height),
    ):
        connection.execute(delete(table).where(is_above))
    level = 0
    while size:
        size //= TILE_WIDTH
        is_beyond = (tables.tile.c.level == level) & (tables.tile.c.number >= size)
        connection.execute(delete(tables.tile).where(is_beyond))
        level += 1
    connection.execute(delete(tables.tile).where(tables.tile.c.level >= level))


def _joined(leaves: Sequence[bytes]) -> bytes:
    """Put leaves one after the other, each behind its length."""
    return b"".join(len(leaf).to_bytes(_LENGTH_BYTES, "big") + leaf for leaf in leaves)


def _parted(data: bytes) -> list[bytes]:
    """Take apart what `_joined` made."""
    leaves, at = [], 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        leaves.append(data[start:at])
    return leaves


def _blocks() -> Select[Any]:
    """Select blocks with the columns in the order of `StoredBlock`."""
    block = tables.block.c
    return select(block.height, block.time, block.first, block.size, block.root, block.map_root, block.checkpoint)


def _checked_edge(frontier: Frontier, rows: Mapping[int, tuple[int, bytes]]) -> dict[int, bytes]:
    """Return the partial tiles that a tree has, each checked against the frontier.

    Raises:
        VerificationError: ``store.corrupt`` if one is missing or other than it must be.
    """
    edge = {}
    roots = list(frontier.hashes)
    size, level = frontier.size, 0
    while size:
        size, width = divmod(size, TILE_WIDTH)
        number, data = rows.get(level, (-1, b""))
        if width:
            expected = [roots.pop() for _ in range(width.bit_count())][::-1]
            if number != size or len(data) != width * HASH_BYTES or _subtree_roots(data) != expected:
                raise corrupt("edge", level)
            edge[level] = data
        level += 1
    return edge


def _subtree_roots(data: bytes) -> list[bytes]:
    """Return the roots of the perfect subtrees that make up a partial tile, the largest first."""
    hashes = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
    return list(Frontier.empty().append(hashes).hashes)


def _positions(ids: bytes, prefix: bytes, first: int) -> Iterator[int]:
    """Return where a prefix stands in a block's ids."""
    at = ids.find(prefix)
    while at >= 0:
        if at % ID_PREFIX_BYTES == 0:
            yield first + at // ID_PREFIX_BYTES
        at = ids.find(prefix, at + 1)


def _transaction_id(leaf: bytes) -> bytes:
    """Return the transaction id of an envelope that was parsed before it was accepted; nothing for other leaves."""
    # Its payload is the first member of a canonical envelope; genesis and state leaves have no such member.
    if not leaf.startswith(_PAYLOAD):
        return b""
    payload = leaf[len(_PAYLOAD) : leaf.index(b'"', len(_PAYLOAD))]
    return hashlib.sha256(binascii.a2b_base64(payload)).digest()


def _encode_members(snapshot: Members) -> bytes:
    """Encode members as their objects' contents, their lineage, and the key ids that there were."""
    organisations = snapshot.organisations.values()
    return canonical(
        {
            "line_ids": list[Json](sorted(snapshot.line_ids)),
            "lineage": snapshot.lineage.hex(),
            "organisations": [organisation_content(organisation) for organisation in organisations],
            "policy": dict(snapshot.policy.content),
            "protocol": protocol_content(snapshot.protocol),
        }
    )


def _policy_row(height: int, data: bytes) -> PolicyRow:
    """Read what a trusted policy is made of off what `_encode_members` wrote."""
    try:
        top = orjson.loads(data)
        found = {}
        for content in top["organisations"]:
            keys = {row["use"]: row["public"] for row in content["keys"] if row["use"] in _POLICY_USES}
            found[content["org_id"]] = SignerKeys(content["status"], *(keys.get(use, "") for use in _POLICY_USES))
        return PolicyRow(height, found, top["protocol"]["orderer"], top["protocol"]["quorum"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise corrupt("members", height) from error


def _decode_members(data: bytes) -> Members:
    """Decode what `_encode_members` wrote; ``policy.unnamed`` for a ledger of before members had a lineage."""
    try:
        top = orjson.loads(data)
        organisations = [parse_organisation(content)[0] for content in top["organisations"]]
        rules, protocol = parse_policy(top["policy"]), parse_protocol(top["protocol"])
        line_ids = frozenset(map(str, top["line_ids"]))
        lineage = unhex(top["lineage"], HASH_BYTES) if "lineage" in top else None
    except (MedchainError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise corrupt("members") from error
    if lineage is None:
        # What is appended would name another policy than any other node does.
        raise VerificationError("policy.unnamed")
    known = {organisation.org_id: organisation for organisation in organisations}
    return Members(known, rules, protocol, line_ids, lineage)
