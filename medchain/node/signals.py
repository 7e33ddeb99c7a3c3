"""Tells a process that it shall stop, by signal.

Keeps true: whatever the process is doing when the signal comes, it is told. A handler of Python's runs between two
steps of the main thread, which may hold the lock of the very event that it waits for; setting the event there would
wait for that lock for ever. So a handler only puts a note into a queue whose `put` may interrupt itself, and a thread
sets the event.
Source: Python's library reference, `queue.SimpleQueue` (reentrant `put`) and `signal` (where handlers run).
"""

from __future__ import annotations

import signal
from queue import SimpleQueue
from threading import Event, Thread
from typing import Final

STOPS: Final = (signal.SIGTERM, signal.SIGINT)
"""What tells a process to stop."""


def set_at_signals(stop: Event) -> None:
    """Set an event when this process is told to stop; to be called by its main thread, once.

    Args:
        stop: set soon after any of `STOPS` comes.
    """
    told: SimpleQueue[int] = SimpleQueue()
    for number in STOPS:
        signal.signal(number, lambda number, _frame: told.put(number))

    def wait() -> None:
        told.get()
        stop.set()

    Thread(target=wait, name="signals", daemon=True).start()
