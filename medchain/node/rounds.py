"""Jobs that work in rounds: until told to stop, and the later again the longer something is left.

Keeps true: no error of ours ends a job, and none is tried without a rest. Trusts the round to be safe to do again.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Final

from medchain.errors import MedchainError

_MOST_FAILURES: Final = 8


def work_in_rounds(
    work: Callable[[], int], stop: Event, *, period_s: float, longest_rest_s: float, delayed: Callable[[str], None]
) -> None:
    """Work until told to stop.

    Args:
        work: one round; returns how much is left of what could not be done now.
        stop: ends it.
        period_s: rest before a round, in seconds; doubled with each round that leaves something.
        longest_rest_s: longest rest, in seconds.
        delayed: is told the code of an error that ended a round.
    """
    failures = 0
    while not stop.wait(min(period_s * 2**failures, longest_rest_s)):
        try:
            left = work()
        except MedchainError as error:
            delayed(error.code)
            left = 1
        failures = min(failures + 1, _MOST_FAILURES) if left else 0
