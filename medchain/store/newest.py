"""What the newest blocks did, in memory: whoever looks at blocks once they are final reads none of them again.

Keeps true: what is given is all that the blocks asked for did; memory is bounded. Trusts the caller to tell of every
block that it keeps, in order, and when others are in their place.
Source: `docs/spec/store.md` 2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from medchain.ledger.machine import Drawn

MAX_CHANGES: Final = 65_536
"""Most new versions of objects in the blocks that are remembered: as many as a busy ledger has in half a minute."""


class NewestBlock(NamedTuple):
    """What a block did.

    Attributes:
        height: of the block.
        time: of the block, Unix seconds.
        drawn: how its transactions came by independent endorsers, in order.
        changed: kind → map keys of the objects that have new versions, in order.
    """

    height: int
    time: int
    drawn: Sequence[Drawn]
    changed: Mapping[str, Sequence[bytes]]


class NewestBlocks:
    """The blocks from a height on. One thread at a time uses it."""

    __slots__ = ("_blocks", "_changes", "_first")

    def __init__(self) -> None:
        """Know of no block."""
        self._blocks: deque[NewestBlock] = deque()
        self._changes = 0
        self._first = 0

    def begin(self, first: int) -> None:
        """Forget all; the next block has this height."""
        self._blocks.clear()
        self._changes, self._first = 0, first

    def add(self, block: NewestBlock) -> None:
        """Take the next block; the oldest go where they have too many changes."""
        self._blocks.append(block)
        self._changes += _changes(block)
        while self._changes > MAX_CHANGES:
            oldest = self._blocks.popleft()
            self._changes -= _changes(oldest)
            self._first = oldest.height + 1

    def between(self, first: int, last: int) -> list[NewestBlock] | None:
        """Return the blocks from one height to another; None if some are not remembered."""
        if first < self._first:
            return None
        return [block for block in self._blocks if first <= block.height <= last]


def _changes(block: NewestBlock) -> int:
    """Count the new versions of objects in a block."""
    return sum(map(len, block.changed.values()))
