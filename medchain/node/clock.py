"""The node's clock: the one place that asks the system for the time of day.

Everything else is given a clock, so that tests run at a time of their choosing. Trusts the operating system; a wrong
clock shows when a block's time is far from ours (`docs/spec/ordering.md` 1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Gives Unix seconds (UTC)."""


def system_clock() -> int:
    """Return the time of day in Unix seconds."""
    return int(time.time())  # noqa: TID251  # this is the clock that the roof passes in


def steady_timer() -> float:
    """Return seconds that no setting of the clock moves, and that go on while the machine sleeps (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
