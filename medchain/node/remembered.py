"""What another process knows, remembered for a while and asked for anew beside those who need it.

Keeps true: one who hangs at the other end holds nobody here for longer than their patience, and nothing is asked for
while nobody needs it. Trusts whom it asks.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Ages:
    """How old an answer may be, all in seconds.

    Attributes:
        fresh_s: so old it is given without a question.
        old_s: so old it is given at once, and asked for beside.
        patience_s: what is older is waited for, so long at most.
    """

    fresh_s: float
    old_s: float
    patience_s: float


class Remembered(Generic[_Value]):
    """One such value. Threads may share it; a process that is forked has to make its own.

    Each question has a thread of its own, which ends with the answer: there is nothing to close, and who holds a value
    that nobody needs any more holds nothing that goes on.
    """

    __slots__ = ("_ages", "_ask", "_asking", "_at", "_first", "_value")

    def __init__(self, ask: Callable[[], _Value], value: _Value, ages: Ages) -> None:
        """Know what counts before the first answer.

        Args:
            ask: asks for it; where it raises, what was known counts on.
            value: what counts before.
            ages: how old an answer may be.
        """
        self._ask = ask
        self._ages = ages
        self._asking: Thread | None = None
        self._at = -ages.old_s
        self._first = Event()
        self._value = value

    def __call__(self) -> _Value:
        """Give the value as it was a moment ago; wait a little for it only where it was asked for long ago."""
        age = time.monotonic() - self._at
        if age >= self._ages.fresh_s and (self._asking is None or not self._asking.is_alive()):
            asking = Thread(target=self._learn, name="remembered", daemon=True)
            # Where the system has no room for another thread, what was known counts on.
            with suppress(RuntimeError):
                asking.start()
                self._asking = asking
                if age >= self._ages.old_s:
                    asking.join(self._ages.patience_s)
        return self._value

    def wait_for_first(self, seconds: float) -> None:
        """Wait until the first question has been answered, or has failed.

        Args:
            seconds: so long at most.
        """
        self._first.wait(seconds)

    def _learn(self) -> None:
        """Ask; one who could not tell is not asked again at once."""
        with suppress(Exception):
            self._value = self._ask()
        self._at = time.monotonic()
        self._first.set()
