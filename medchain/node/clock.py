"""The node's clock: the one place that asks the system for the time of day; and what others' clocks show beside it.

Everything else is given a clock, so that tests run at a time of their choosing. Trusts the operating system; a wrong
clock shows when a block's time is far from ours, and when others answer (`docs/spec/ordering.md` 1, 4).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Final, TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Gives Unix seconds (UTC)."""

_DATE: Final = re.compile("[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [12][0-9]{3} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")


def system_clock() -> int:
    """Return the time of day in Unix seconds."""
    return int(time.time())  # noqa: TID251  # this is the clock that the roof passes in


def steady_timer() -> float:
    """Return seconds that no setting of the clock moves, and that go on while the machine sleeps (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class PeerClocks:
    """Other organisations' clocks beside a timer (`medchain.ordering.agreed_clock.Clocks`).

    Each by the Date of the newest answer: with TLS nobody but who answers has written it. Safe for many threads.
    """

    __slots__ = ("_ahead", "_lock", "_timer")

    def __init__(self, timer: Callable[[], float] = steady_timer) -> None:
        """Know none; `timer` gives seconds that no setting of the clock moves."""
        self._timer = timer
        self._ahead: dict[str, float] = {}
        self._lock = Lock()

    def timer(self) -> float:
        """Return seconds that no setting of the clock moves."""
        return self._timer()

    def ahead(self) -> dict[str, float]:
        """Return, for each organisation that has answered, how many seconds its clock is ahead of the timer."""
        with self._lock:
            return dict(self._ahead)

    def heard(self, org_id: str, date: str) -> None:
        """Take note of an answer that has just come; a Date that is none says nothing.

        Args:
            org_id: who answered.
            date: its field (RFC 9110 §5.6.7, IMF-fixdate), empty for none.
        """
        if _DATE.fullmatch(date) is None:
            return
        try:
            ahead = parsedate_to_datetime(date).timestamp() - self._timer()
        except ValueError:
            return
        with self._lock:
            self._ahead[org_id] = ahead
