"""Sets Python's collector of garbage for a process that has made what it keeps, and now works on what dies young.

Requests, blocks and records are made of objects in no cycle, which go as soon as nobody holds them. Looking for cycles
among them, and again and again among what the libraries and definitions are made of, cost a sixth of a transaction's
processor time, in the daemon as in the processes that take records.
Source: Python's `gc` module.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (20_000, 20, 20)
"""How many objects more than went, and how many collections of the younger, before the next collection."""


def settle() -> None:
    """Take what there is now as kept for ever, and look for cycles more seldom; called once, when all is open."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
