"""The feed: gives blocks to whoever asks, and wakes those who wait for the next one.

Keeps true: nobody waits for a block that is there; an answer is of bounded size; a slow reader holds up nobody, since
it reads from the replica, not from a queue. Trusts the replica.
Source: `docs/spec/ordering.md` 3.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from medchain.ledger.machine import MAX_BLOCK_BYTES
from medchain.ordering.block import MAX_ANSWER_BYTES, Block, block_bytes, frame
from medchain.ordering.driver import Replica

MAX_WAIT_S: Final = 60
"""Longest wait that an asker may ask for."""

_CACHED_BYTES: Final = 8 * 1024 * 1024


class Feed:
    """Blocks of one replica, for many readers."""

    def __init__(self, replica: Replica) -> None:
        """Read from a replica."""
        self._replica = replica
        self._changed = threading.Condition()
        self._is_closed = False
        self._frames: OrderedDict[tuple[int, str], bytes] = OrderedDict()
        self._cached = 0

    def publish(self) -> None:
        """Wake those who wait: the replica has moved on."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def wait(self, height: int, wait_s: float, news: Callable[[], bool] = lambda: False) -> bool:
        """Wait until a height is there, or there is other news; tells whether so.

        Args:
            height: of the block.
            wait_s: how long.
            news: whether there is something else to tell; asked again whenever somebody publishes.
        """
        deadline = time.monotonic() + min(wait_s, MAX_WAIT_S)
        with self._changed:
            while self._replica.height < height and not news():
                left = deadline - time.monotonic()
                if left <= 0 or self._is_closed:
                    return False
                self._changed.wait(left)
        return True

    def blocks(self, first: int, wait_s: float = 0, max_bytes: int = MAX_BLOCK_BYTES) -> list[Block]:
        """Return blocks from a height on, none if none came in time."""
        if not self.wait(first, wait_s):
            return []
        return self._replica.blocks(first, max_bytes)

    def frames(self, first: int, wait_s: float = 0, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """Return blocks from a height on as frames, encoded once for all who ask.

        Args:
            first: the first height.
            wait_s: how long to wait for it.
            max_bytes: most bytes; the first block is always given.

        Returns:
            Frames, none if no block came in time.
        """
        parts: list[bytes] = []
        size = 0
        for block in self.blocks(first, wait_s, max_bytes // 2):
            part = self._frame(block)
            size += len(part)
            if parts and size > max_bytes:
                break
            parts.append(part)
        return b"".join(parts)

    def _frame(self, block: Block) -> bytes:
        """Encode a block, or remember that one did; the checkpoint tells apart blocks of one height after a rewind."""
        name = (block.height, block.checkpoint)
        with self._changed:
            known = self._frames.get(name)
        if known is not None:
            return known
        made = frame(block_bytes(block))
        with self._changed:
            if name not in self._frames:
                self._frames[name] = made
                self._cached += len(made)
            while self._cached > _CACHED_BYTES and len(self._frames) > 1:
                self._cached -= len(self._frames.popitem(last=False)[1])
        return made
