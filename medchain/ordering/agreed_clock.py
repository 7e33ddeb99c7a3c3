"""The clock by which an orderer dates blocks and receipts: one that was moved dates nothing until others go by it too.

What an orderer has dated it cannot take back. Others refuse a block that is dated more than a minute from their clocks,
and everything after it: one moment of a wrong clock would stop the consortium until that time has come, or until every
node is started anew. Keeps true: a clock that was moved while the node runs dates nothing before it is back, or more
than f other members have cosigned by its time since. Trusts a timer that nobody sets, and that not more than f members
lie; a clock that was wrong already when the node was started is not found here.
Source: `docs/spec/ordering.md` 4.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from medchain.errors import UnavailableError
from medchain.ledger.members import faulty
from medchain.ordering.clock_doubt import CLOCK
from medchain.ordering.driver import Alarm, Clock, Replica
from medchain.ordering.follower import MAX_CLOCK_DIFFERENCE_S


class AgreedClock:
    """Whether this node's clock was moved, by a timer beside it. Safe for many threads."""

    def __init__(
        self, replica: Replica, clock: Clock, timer: Callable[[], float] | None, *, heard: Callable[[], Sequence[int]]
    ) -> None:
        """Take the clock for right.

        Args:
            replica: tells who the members are.
            clock: gives Unix seconds.
            timer: gives seconds that no setting of the clock moves; None where nobody sets it.
            heard: gives, for each other member, the time of its newest cosignature.
        """
        self._replica = replica
        self._clock = clock
        self._timer = timer
        self._heard = heard
        self._lock = threading.Lock()
        self._ahead = 0.0 if timer is None else clock() - timer()
        self._alarm: Alarm | None = None
        self._known: frozenset[int] = frozenset()

    def now(self) -> int:
        """Return Unix seconds.

        Raises:
            UnavailableError: ``ordering.clock`` while the clock may be wrong.
        """
        now = self._clock()
        if self._doubt(now) is not None:
            raise UnavailableError(CLOCK, now=now)
        return now

    @property
    def alarm(self) -> Alarm | None:
        """The doubt, with the time of the clock and that of the timer as it began; None while there is none."""
        return self._doubt(self._clock())

    def _doubt(self, now: int) -> Alarm | None:
        """Judge the clock, which shows a time now."""
        if self._timer is None:
            return None
        with self._lock:
            expected = int(self._timer() + self._ahead)
            if abs(now - expected) <= MAX_CLOCK_DIFFERENCE_S:
                self._alarm = None
            elif self._alarm is None:
                self._alarm = Alarm(CLOCK, self._replica.height, {"expected": expected, "now": now})
                # Lines of before say nothing of a clock that was set back a little.
                self._known = frozenset(self._heard())
            if self._alarm is not None and self._is_agreed(now):
                self._ahead, self._alarm = now - self._timer(), None
            return self._alarm

    def _is_agreed(self, now: int) -> bool:
        """Tell whether more than f others, or nobody where nobody else is, have cosigned by this time since."""
        active = len(self._replica.members.active)
        news = [time for time in self._heard() if time not in self._known]
        near = sum(abs(now - time) <= MAX_CLOCK_DIFFERENCE_S for time in news)
        return active == 1 or near > faulty(active)
