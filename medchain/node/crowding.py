"""Whether a thread had to wait for a processor: then somebody else wants it, and what can wait had better do so.

Keeps true: nothing but a number is said, and no work depends on it for more than its moment; where the system does not
tell, nobody waits. Trusts the system's scheduler.
Source: Linux Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
"""Where the system tells how long the thread that reads it ran, and how long it waited to run, in nanoseconds."""


class Crowding:
    """The share of its time that a thread waits for a processor. For one thread."""

    __slots__ = ("_path", "_ran", "_waited")

    def __init__(self, path: Path = SCHEDSTAT) -> None:
        """Begin to count.

        Args:
            path: where the system tells.
        """
        self._path = path
        self._ran, self._waited = self._read()

    def share(self) -> float:
        """Return how much of the time in which this thread wanted to run since the last call it waited, 0 to 1."""
        ran, waited = self._read()
        ran_now, waited_now = ran - self._ran, waited - self._waited
        self._ran, self._waited = ran, waited
        return waited_now / max(1, ran_now + waited_now)

    def _read(self) -> tuple[int, int]:
        """Read what the system has counted."""
        try:
            ran, waited, *_ = self._path.read_text(encoding="ascii").split()
            return int(ran), int(waited)
        except (OSError, ValueError):
            return 0, 0
