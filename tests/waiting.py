"""Waiting for what other threads and processes do: no test knows how long that takes on a busy machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PATIENCE_S = 180.0


def eventually(condition: Callable[[], object], timeout_s: float = PATIENCE_S, every_s: float = 0.02) -> bool:
    """Wait until something holds; tells whether it did. It is asked once more when the time is over."""
    never, deadline = threading.Event(), time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        never.wait(every_s)
    return bool(condition())
