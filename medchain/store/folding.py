"""Writes what changed in heads and map pages into the file, a slice with each block, so that no block waits for all.

The state that is written is that of one block, the *target*; what later blocks change waits for the next fold. Until
the last slice is written the file holds pages of two moments: `map_base` has a second row then, and
`medchain.tlog.statemap.repair` makes one state of them after a crash. For that, pages are written from the deepest up.

Keeps true: a row is counted as written only after its transaction has ended, so one that failed is written again.
Source: `docs/spec/store.md` 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medchain.store.cache import ROW_COST
from medchain.tlog.statemap import MapRoot

BASE_ROW: Final = 1
"""Row of `map_base`: the state that the file holds at least."""

TARGET_ROW: Final = 2
"""Row of `map_base`: the state that is being written, or was last."""


@dataclass(frozen=True, slots=True)
class Base:
    """A state that the file's heads and pages are of.

    Attributes:
        height: of the block; -1 before height 0.
        last_record: number of the last state record in it.
        root: root of the map.
    """

    height: int
    last_record: int
    root: MapRoot

    def row(self, number: int) -> tuple[object, ...]:
        """Return the row of `map_base`."""
        return number, self.height, self.last_record, self.root.hash


class Fold:
    """One state on its way into the file.

    Attributes:
        target: the state.
        heads: heads that differed from the file's when it began.
        pages: pages that are not written yet.
        size_bytes: of those pages.
        rows: how many rows it has in all.
    """

    __slots__ = ("_done", "_head_keys", "_page_keys", "_taken", "heads", "pages", "rows", "size_bytes", "target")

    def __init__(self, target: Base, heads: dict[bytes, int], pages: dict[bytes, bytes], size_bytes: int) -> None:
        """Begin; heads and pages are its own from now on.

        Args:
            target: the state.
            heads: heads that differ from the file's.
            pages: pages that differ from the file's.
            size_bytes: of those pages, `ROW_COST` for each included.
        """
        self.target = target
        self.heads = heads
        self.pages = pages
        self.size_bytes = size_bytes
        self.rows = len(heads) + len(pages)
        self._head_keys = sorted(heads)
        # From the highest position down: the deepest first, and neighbours together.
        self._page_keys = sorted(sorted(pages, reverse=True), key=len, reverse=True)
        self._done = self._taken = 0

    @property
    def is_last(self) -> bool:
        """Whether nothing is left after the rows taken."""
        return self._taken == self.rows

    @property
    def is_done(self) -> bool:
        """Whether all is written."""
        return self._done == self.rows

    def take(self, count: int) -> tuple[list[tuple[bytes, int]], list[tuple[bytes, bytes]]]:
        """Return the next rows, of heads and of pages; the same again until `written`."""
        self._taken = min(self._done + count, self.rows)
        heads = [(key, self.heads[key]) for key in self._head_keys[self._done : self._taken]]
        return heads, [(key, self.pages[key]) for key in self._taken_pages()]

    def written(self) -> list[tuple[bytes, bytes]]:
        """Count the rows taken as written, and give the pages among them away."""
        pages = [(key, self.pages.pop(key)) for key in self._taken_pages()]
        self.size_bytes -= sum(len(data) + ROW_COST for _, data in pages)
        self._done = self._taken
        return pages

    def _taken_pages(self) -> list[bytes]:
        """Return the keys of the pages among the rows taken."""
        shift = len(self._head_keys)
        return self._page_keys[max(self._done - shift, 0) : max(self._taken - shift, 0)]
