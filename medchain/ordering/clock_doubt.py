"""A doubt about this node's clock: while it lasts the node follows, and cosigns nothing.

A cosignature says when it was made. A block that seems too old and that enough others took in time was kept from this
node, or this node's clock is fast: which of the two, the times tell at which others cosign now. Keeps true: no f
members that lie begin or end a doubt about a right clock for longer than the others' lines need to come. Trusts that
not more than f members lie, and that the clocks of the others are right.
Source: `docs/spec/ordering.md` 4; C2SP tlog-cosignature.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from medchain.ledger.members import faulty
from medchain.ordering.block import Block
from medchain.ordering.driver import Alarm, Clock, Replica
from medchain.ordering.follower import MAX_CLOCK_DIFFERENCE_S

CLOCK: Final = "ordering.clock"
"""Alarm: this node's clock seems fast, and it cosigns nothing."""


class ClockDoubt:
    """Whether this node's clock may be fast. Safe for many threads."""

    def __init__(
        self,
        replica: Replica,
        clock: Clock,
        *,
        heard: Callable[[], Sequence[int]],
        raise_alarm: Callable[[Alarm], None],
    ) -> None:
        """Doubt nothing.

        Args:
            replica: tells who the members are.
            clock: gives Unix seconds.
            heard: gives, for each other member, the time of its newest cosignature.
            raise_alarm: told of who kept a block back, once the clock is known to be right.
        """
        self._replica = replica
        self._clock = clock
        self._heard = heard
        self._raise_alarm = raise_alarm
        self._lock = threading.Lock()
        self._alarm: Alarm | None = None
        self._kept_back: Alarm | None = None
        self._seen = 0

    @property
    def alarm(self) -> Alarm | None:
        """The doubt, with the time of the block and that of the clock when it came; None while there is none."""
        return self._alarm

    def begin(self, block: Block, kept_back: Alarm | None) -> None:
        """Doubt the clock, unless others cosign by the same time.

        Args:
            block: seems too old, and enough others have it.
            kept_back: what to raise if it was kept from us; None where nobody is to blame.
        """
        now = self._clock()
        with self._lock:
            if self._alarm is None:
                self._alarm, self._kept_back, self._seen = _alarm(block, now), kept_back, now
        self.is_open()

    def is_open(self) -> bool:
        """Tell whether the clock is in doubt still; ask before each cosignature."""
        if self._alarm is None:
            return False
        now = self._clock()
        with self._lock:
            if now < self._seen:
                # It was set back: it was fast, and nobody kept anything from us.
                self._kept_back = None
            self._seen = now
        if sum(abs(now - time) <= MAX_CLOCK_DIFFERENCE_S for time in self._heard()) > self._faulty:
            self._end()
        return self._alarm is not None

    def applied(self, block: Block) -> None:
        """End the doubt where a block was made by our time: its orderer has it so, and others would refuse it else."""
        if self._alarm is not None and block.time >= self._clock() - MAX_CLOCK_DIFFERENCE_S:
            self._end()

    def _end(self) -> None:
        with self._lock:
            kept_back, self._alarm, self._kept_back = self._kept_back, None, None
        if kept_back is not None:
            self._raise_alarm(kept_back)

    @property
    def _faulty(self) -> int:
        return faulty(len(self._replica.members.active))


def _alarm(block: Block, now: int) -> Alarm:
    return Alarm(CLOCK, block.height, {"time": block.time, "now": now})
