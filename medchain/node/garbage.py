"""Sets Python's collector of garbage for a process that has made what it keeps, and now works on what dies young.

Requests, blocks and records are made of objects in no cycle, which go as soon as nobody holds them. Looking for cycles
among them, and again and again among what the libraries and definitions are made of, cost a sixth of a transaction's
processor time, in the daemon as in the processes that take records.
Source: Python's `gc` module; malloc_trim(3) of glibc.
"""

from __future__ import annotations

import ctypes
import gc
from threading import Event
from typing import Final

THRESHOLDS: Final = (20_000, 20, 20)
"""How many objects more than went, and how many collections of the younger, before the next collection."""

TRIM_S: Final = 5.0
"""How often what is free goes back to the system: a call takes a third of a millisecond with 80 MiB in small pieces."""

_TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Of glibc; other C libraries have none."""


def settle() -> None:
    """Take what there is now as kept for ever, and look for cycles more seldom; called once, when all is open."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def give_back() -> None:
    """Collect all that is garbage, and give the system what memory is free of it; called between works that are large.

    What a work leaves, such as what it has compiled, is taken as kept for ever, too: it was looked through again after
    each. glibc keeps what lies below something that is still held, which after a large transaction is a fifth of the
    process.
    """
    gc.collect()
    gc.freeze()
    if _TRIM is not None:
        _TRIM(0)


def keep_trimmed(stop: Event) -> None:
    """Give the system what memory is free, now and then, until told to stop; for a thread of a process that serves.

    What came and went leaves holes between what stays, a tenth of such a process after a while, and glibc gives back by
    itself only what lies above all that is held.
    """
    while not stop.wait(TRIM_S):
        if _TRIM is not None:
            _TRIM(0)
