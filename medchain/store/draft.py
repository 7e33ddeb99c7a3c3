"""The state after blocks that are executed and not kept yet, on top of what the ledger file has.

It is the machine's `View`, the tree's `TileSource` and the map's `PageSource` of that state, as `LedgerStore` is of the
newest one in the file. Keeps true: nobody else sees a block before all of them are kept, in one transaction. Trusts its
one user to keep nothing else meanwhile; where somebody did, the store refuses the blocks.
Source: `docs/spec/store.md` 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from medchain.ledger.machine import DrawState
from medchain.ledger.members import Members
from medchain.ledger.object import StateRecord
from medchain.store.ledger import BlockWrite, Head, LedgerStore, head_after
from medchain.tlog.merkle import HASH_BYTES
from medchain.tlog.statemap import MapRoot


class LedgerDraft:
    """Blocks that are to be kept together. One thread uses it.

    Attributes:
        writes: the blocks, in order.
        head: the newest of them, or of the file.
        map_root: root of the map after it.
    """

    __slots__ = ("_draws", "_members", "_pages", "_records", "_seeds", "_store", "_tiles", "head", "map_root", "writes")

    def __init__(self, store: LedgerStore) -> None:
        """Begin with what a file has."""
        self._store = store
        self.writes: list[BlockWrite] = []
        self.head: Head = store.head
        self.map_root: MapRoot = store.map_root
        self._members: Members | None = None
        self._records: dict[bytes, StateRecord] = {}
        self._draws: dict[str, DrawState] = {}
        self._seeds: dict[int, bytes] = {}
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._pages: dict[bytes, bytes] = {}

    @property
    def members(self) -> Members:
        """The members in force; raises `NotFoundError` ``store.empty`` before height 0."""
        if self._members is None:
            self._members = self._store.members
        return self._members

    def record(self, key: bytes) -> StateRecord | None:
        """Return the head of an object, or None; raises as `LedgerStore.record`."""
        return self._records.get(key) or self._store.record(key)

    def heads(self, keys: Sequence[bytes]) -> dict[bytes, StateRecord | None]:
        """Return the heads of many objects, None for each that there is not; raises as `record`."""
        found = self._store.heads([key for key in keys if key not in self._records])
        found.update({key: self._records[key] for key in keys if key in self._records})
        return found

    def draws(self, creator: str) -> DrawState:
        """Return the draws of a creator."""
        return self._draws.get(creator) or self._store.draws(creator)

    def seed(self, height: int) -> bytes | None:
        """Return the map root of the state entry at a height, None if there is none."""
        return self._seeds.get(height) or self._store.seed(height)

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return a tile's first hashes (`medchain.tlog.tiles.TileSource`); raises as `LedgerStore.tile`."""
        data = self._tiles.get((level, index))
        return self._store.tile(level, index, width) if data is None else data[: width * HASH_BYTES]

    def page(self, key: bytes) -> bytes | None:
        """Return a page of the map (`medchain.tlog.statemap.PageSource`)."""
        return self._pages.get(key) or self._store.page(key)

    def add(self, write: BlockWrite) -> None:
        """Put an executed and verified block behind the others."""
        self.writes.append(write)
        self.head, self.map_root = head_after(self.head, write), write.map.root
        self._members = self._members if write.members is None else write.members
        self._records.update({key: record for key, record, _ in write.history})
        self._draws.update(write.draws)
        self._seeds[write.height] = write.map.root.hash
        self._tiles.update(write.tiles)
        self._pages.update(write.map.pages)

    def keep(self) -> None:
        """Keep all blocks; raises as `LedgerStore.commit_blocks`."""
        self._store.commit_blocks(self.writes)
