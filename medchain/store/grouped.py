"""Group commit: what several threads want stored at one moment is stored by one of them, in one transaction.

A commit costs a sync of the disk, whatever it holds; threads that wait for one another to sync may as well share it.
Keeps true: each item is done once, by its own thread or another's, and its thread is told how it went; items keep the
order in which they came. Trusts `run` to say of each item how it went, or to raise for all of them.
Source: DeWitt et al., "Implementation Techniques for Main Memory Database Systems" (1984) §5.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from medchain.errors import MedchainError, UnavailableError

MAX_GROUP: Final = 32
"""Most items of one transaction."""

MAX_SIZE: Final = 512
"""Most rows of one transaction, unless a single item has more."""

Item = TypeVar("Item")


class Outcome:
    """How it went with one item.

    Attributes:
        is_done: whether it was tried.
        error: why it failed; None if it did not.
        told: locked until it was tried, or it is for its thread to do what waits: each thread is woken once, by itself.
    """

    __slots__ = ("error", "is_done", "told")

    def __init__(self) -> None:
        """Begin as not tried."""
        self.is_done = False
        self.error: Exception | None = None
        self.told = threading.Lock()
        self.told.acquire()


class Grouped(Generic[Item]):
    """Does items of threads together."""

    __slots__ = ("_is_doing", "_lock", "_run", "_waiting")

    def __init__(self, run: Callable[[Callable[[], Sequence[Item]]], Sequence[Exception | None]]) -> None:
        """Prepare.

        Args:
            run: calls what it is given once it may begin, does the items that this returns in their order, and tells
                for each why it failed, or None; raises what fails all of them.
        """
        self._run = run
        self._lock = threading.Lock()
        self._is_doing = False
        self._waiting: list[tuple[Item, int, Outcome]] = []

    def do(self, item: Item, size: int) -> None:
        """Have an item done.

        Args:
            item: what `run` gets.
            size: its number of rows.

        Raises:
            Exception: why it failed; nearly always a `MedchainError`.
        """
        outcome = Outcome()
        with self._lock:
            self._waiting.append((item, size, outcome))
            waits, self._is_doing = self._is_doing, True
        if waits:
            outcome.told.acquire()
        if not outcome.is_done:
            # The first of those that wait: whoever is to do them takes his own with them.
            try:
                self._do()
            finally:
                self._hand_on()
        if outcome.error is not None:
            raise outcome.error

    def _hand_on(self) -> None:
        """Leave what waits to the first of those who wait."""
        with self._lock:
            self._is_doing = bool(self._waiting)
            if self._is_doing:
                self._waiting[0][2].told.release()

    def _take(self) -> list[tuple[Item, int, Outcome]]:
        """Take the first of those that wait, as many as go together."""
        with self._lock:
            count, rows = 0, 0
            for _, size, _ in self._waiting[:MAX_GROUP]:
                if count and rows + size > MAX_SIZE:
                    break
                count, rows = count + 1, rows + size
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _do(self) -> None:
        """Do items together, and tell each thread how its own went."""
        taken: list[tuple[Item, int, Outcome]] = []

        def take() -> list[Item]:
            # Not before they can be done: whatever comes while a turn is waited for goes with them.
            taken.extend(self._take())
            return [item for item, _, _ in taken]

        raised: MedchainError = UnavailableError("store.io")
        errors: Sequence[Exception | None] | None = None
        try:
            errors = self._run(take)
        except MedchainError as error:
            raised = error
        finally:
            told = taken or self._take()
            # Of what is raised for all, each thread gets an error of its own.
            for (_, _, outcome), one in zip(told, errors or [_again(raised) for _ in told], strict=True):
                outcome.error = one
                outcome.is_done = True
                outcome.told.release()


def _again(error: MedchainError) -> MedchainError:
    """Make the same error once more, for another thread to raise."""
    made = type(error)(error.code, **error.fields)
    made.__cause__ = error
    return made
