"""Exponential back-off with jitter, so that members who lost the orderer together do not come back together."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

FIRST_S: Final = 0.1
"""Longest wait after the first failure."""

LAST_S: Final = 10.0
"""Longest wait after any."""

_STEPS: Final = 1000


def backoff_s(failures: int, draw: Callable[[int], int] = secrets.randbelow) -> float:
    """Choose how long to wait.

    Args:
        failures: how many in a row, from 1; 0 waits for nothing.
        draw: gives an integer below its argument.

    Returns:
        Seconds: between half and all of what the number of failures allows.
    """
    if failures <= 0:
        return 0.0
    longest = min(LAST_S, FIRST_S * 2.0 ** min(failures - 1, 32))
    return longest * (0.5 + draw(_STEPS) / (2 * _STEPS))
