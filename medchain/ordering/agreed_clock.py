"""The clock by which an orderer dates blocks and receipts: it dates nothing that others would not date so, too.

What an orderer has dated it cannot take back. Others refuse a block that is dated more than a minute from their clocks,
and everything after it: one moment of a wrong clock would stop the consortium until that time has come, or until every
node is started anew. Keeps true: from its start on, and again once it was moved, a clock dates nothing before those of
more than f other members agree with it; nothing is dated later than the clock says. Nobody who could make a block final
waits for that: it takes more than f others. Trusts a timer that nobody sets, and that not more than f members lie.
Source: `docs/spec/ordering.md` 4.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final, Protocol

from medchain.errors import UnavailableError
from medchain.ledger.members import faulty
from medchain.ordering.clock_doubt import CLOCK
from medchain.ordering.driver import Alarm, Clock, Replica
from medchain.ordering.follower import MAX_CLOCK_DIFFERENCE_S

AHEAD: Final = "ordering.ahead"
"""Alarm: the newest block is dated later than the members' clocks say; nothing is ordered before that time."""

PATIENCE_S: Final = 60
"""How long after its start a node waits for others' clocks before it says that they are not known."""


class Clocks(Protocol):
    """A timer that nobody sets, and the others' clocks beside it: so they tell the time though ours was moved."""

    def timer(self) -> float:
        """Return seconds that no setting of the clock moves."""
        ...

    def ahead(self) -> Mapping[str, float]:
        """Return, for each organisation that has answered, how many seconds its clock is ahead of the timer."""
        ...


class AgreedClock:
    """Whether this node's clock agrees with the others'. Safe for many threads."""

    def __init__(self, org_id: str, replica: Replica, clock: Clock, clocks: Clocks | None) -> None:
        """Know nothing of the clock yet.

        Args:
            org_id: the node's organisation.
            replica: tells who the members are, and when the newest block was made.
            clock: gives Unix seconds.
            clocks: what it is compared with; None where nobody sets it.
        """
        self._org_id = org_id
        self._replica = replica
        self._clock = clock
        self._clocks = clocks
        self._lock = threading.Lock()
        self._ahead: float | None = None
        self._alarm: Alarm | None = None
        self._began = 0.0 if clocks is None else clocks.timer()

    def now(self) -> int:
        """Return Unix seconds.

        Raises:
            UnavailableError: ``ordering.clock`` while the clock may be wrong, ``ordering.ahead`` while all others would
                refuse what is made now, since it cannot be dated before the newest block.
        """
        now = self._clock()
        if not self._is_right(now):
            raise UnavailableError(CLOCK, now=now)
        if self._is_ahead(now):
            raise UnavailableError(AHEAD, now=now, time=self._replica.time)
        return now

    @property
    def is_right(self) -> bool:
        """Whether the clock is known to agree with others'."""
        return self._is_right(self._clock())

    @property
    def alarm(self) -> Alarm | None:
        """Why nothing can be dated, with the time of the clock as that began; None while it can.

        Nor is anything amiss while a node that has just started is still waiting for the first answers.
        """
        now = self._clock()
        if not self._is_right(now):
            return self._alarm
        return Alarm(AHEAD, self._replica.height, {"time": self._replica.time}) if self._is_ahead(now) else None

    def _is_ahead(self, now: int) -> bool:
        """Tell whether the newest block is dated so late that all whose clocks are as ours would refuse the next."""
        return self._replica.time > now + MAX_CLOCK_DIFFERENCE_S

    def _is_right(self, now: int) -> bool:
        """Judge the clock, which shows a time now."""
        if self._clocks is None:
            return True
        with self._lock:
            timer = self._clocks.timer()
            if not _is_near(now, timer, self._ahead):
                ahead = self._clocks.ahead()
                if not self._is_agreed(now, timer, ahead):
                    self._alarm = self._alarm or self._doubt(now, timer, ahead)
                    return False
                self._ahead = now - timer
            self._alarm = None
            return True

    def _is_agreed(self, now: int, timer: float, ahead: Mapping[str, float]) -> bool:
        """Tell whether the clocks of more than f others, or nobody's where nobody else is, show this time."""
        others = self._others
        near = sum(_is_near(now, timer, ahead.get(org_id)) for org_id in others)
        return not others or near > faulty(len(others) + 1)

    def _doubt(self, now: int, timer: float, ahead: Mapping[str, float]) -> Alarm | None:
        """Say what is known of a clock that is not known to be right; nothing yet where the node has just started."""
        if self._ahead is None and timer - self._began < PATIENCE_S:
            return None
        others = sorted(ahead[org_id] for org_id in self._others & ahead.keys())
        known = others if self._ahead is None else [self._ahead]
        expected = {"expected": int(timer + known[len(known) // 2])} if known else {}
        return Alarm(CLOCK, self._replica.height, {**expected, "now": now})

    @property
    def _others(self) -> set[str]:
        """Name the other active members."""
        return {item.org_id for item in self._replica.members.active} - {self._org_id}


def _is_near(now: int, timer: float, ahead: float | None) -> bool:
    """Tell whether a clock that is so far ahead of the timer, if that is known, shows this time."""
    return ahead is not None and abs(now - timer - ahead) <= MAX_CLOCK_DIFFERENCE_S
