"""Which requests have shown that they are answered at once, so that the event loop may answer them itself.

A change of threads costs a third of a read. Keeps true: what is not known to be quick holds nobody up but its own
thread; of its time the loop spends at most a tenth with what turned out not to be. Trusts who calls to name alike what
takes about the same time.
Source: `docs/adr/0030-web-workers-speak-asgi.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

QUICK_S: Final = 0.003
"""Most time of the processor that answers of a quick kind take on the average, in seconds."""

HELD_S: Final = 0.02
"""Who holds the loop for longer, in seconds of the processor, has it answer nothing itself for a while."""

REST: Final = 10
"""How long that while is: so many times as long as the loop was held."""

_WEIGHT: Final = 8
_MAX_KINDS: Final = 4096


class Pace:
    """Remembers what answers took. For one thread."""

    __slots__ = ("_averages", "_clock", "_free_at")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Know of none.

        Args:
            clock: gives seconds.
        """
        self._clock = clock
        self._averages: dict[Hashable, float] = {}
        self._free_at = 0.0

    def is_quick(self, kind: Hashable) -> bool:
        """Tell whether the loop may answer a request of that kind itself."""
        average = self._averages.get(kind)
        return average is not None and average <= QUICK_S and self._free_at <= self._clock()

    def note(self, kind: Hashable, took_s: float, *, by_loop: bool) -> None:
        """Note what an answer took.

        Args:
            kind: of the request.
            took_s: seconds of the processor: what other programs take is nobody's fault.
            by_loop: whether the loop was held by it.
        """
        if by_loop and took_s > HELD_S:
            self._free_at = self._clock() + REST * took_s
        average = self._averages.get(kind)
        if average is None and len(self._averages) >= _MAX_KINDS:
            # Who asks names the kinds.
            self._averages.clear()
        self._averages[kind] = took_s if average is None else average + (took_s - average) / _WEIGHT
