"""The log as it is served: the newest final checkpoint, tiles and entry bundles from the node's own store.

Keeps true: nothing is served beyond the newest final checkpoint: what is final never changes, so that whoever has a
tile may keep it. Trusts the store, which compares leaves with their tiles.
Source: C2SP tlog-tiles.
"""

from __future__ import annotations

from medchain.errors import NotFoundError
from medchain.store.ledger import LedgerStore
from medchain.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, entry_bundle


class ServedLog:
    """Fills `medchain.node.services.LogService` from the ledger store."""

    __slots__ = ("_store",)

    def __init__(self, store: LedgerStore) -> None:
        """Use a store."""
        self._store = store

    def checkpoint(self) -> bytes:
        """Give the newest note with a quorum's lines; raises `NotFoundError` ``log.checkpoint`` before the first."""
        final = self._store.final()
        if final is None:
            raise NotFoundError("log.checkpoint")
        return final.note.encode("utf-8")

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Give a tile; raises `NotFoundError` ``log.tile`` for one beyond the final log."""
        if index * TILE_WIDTH + width > self._size() >> TILE_HEIGHT * level:
            raise NotFoundError("log.tile")
        return self._store.tile(level, index, width)

    def entry_bundle(self, index: int, width: int) -> bytes:
        """Give an entry bundle; raises `NotFoundError` ``log.tile`` for one beyond the final log."""
        start = index * TILE_WIDTH
        if start + width > self._size():
            raise NotFoundError("log.tile")
        return entry_bundle(self._store.leaves(start, start + width))

    def _size(self) -> int:
        """Return how many leaves are final."""
        final = self._store.final()
        return 0 if final is None else final.size
