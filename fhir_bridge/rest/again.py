"""Doing a write again where another writer came first: on what is there then.

Of many at once that write one record, one comes first each time; so each of the others waits a little, not as long as
the next one, and none gives up while the others go on. Keeps true: what is done again ends, after `PATIENCE_S` or
`MOST` times, but not before `LEAST`, however long each takes. Trusts nothing.
Source: FHIR R4 §3.1.0.4.1: a conflict is for who says which version it has seen; who does not has nothing to decide.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from itertools import count
from typing import Final

LEAST: Final = 4
"""How many times something is tried, however long it takes."""

MOST: Final = 50
"""How many times something is tried that takes no time."""

PATIENCE_S: Final = 5.0
"""How long something is tried again, in seconds."""

_LONGEST_MS: Final = 64


def rounds() -> Iterator[bool]:
    """Give the times that something is tried, after a pause but for the first: whether it is the last one."""
    until = time.monotonic() + PATIENCE_S
    for tried in count(1):
        is_last = tried >= LEAST and (tried >= MOST or time.monotonic() >= until)
        yield is_last
        if is_last:
            return
        time.sleep(secrets.randbelow(min(1 << tried, _LONGEST_MS)) / 1000)
