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
    """

    __slots__ = ("error", "is_done")

    def __init__(self) -> None:
        """Begin as not tried."""
        self.is_done = False
        self.error: Exception | None = None


class Grouped(Generic[Item]):
    """Does items of threads together."""

    __slots__ = ("_doing", "_guard", "_run", "_waiting")

    def __init__(self, run: Callable[[Sequence[Item]], Sequence[Exception | None]]) -> None:
        """Prepare.

        Args:
            run: does items in their order, and tells for each why it failed, or None; raises what fails all of them.
        """
        self._run = run
        self._guard = threading.Lock()
        self._doing = threading.Lock()
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
        with self._guard:
            self._waiting.append((item, size, outcome))
        while not outcome.is_done:
            with self._doing:
                if not outcome.is_done:
                    self._do(self._take())
        if outcome.error is not None:
            raise outcome.error

    def _take(self) -> list[tuple[Item, int, Outcome]]:
        """Take the first of those that wait, as many as go together."""
        with self._guard:
            count, rows = 0, 0
            for _, size, _ in self._waiting[:MAX_GROUP]:
                if count and rows + size > MAX_SIZE:
                    break
                count, rows = count + 1, rows + size
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _do(self, taken: Sequence[tuple[Item, int, Outcome]]) -> None:
        """Do items together, and tell each thread how its own went."""
        errors: Sequence[Exception | None]
        # Of what is raised for all, each thread gets an error of its own.
        errors = [UnavailableError("store.io") for _ in taken]
        try:
            errors = self._run([item for item, _, _ in taken])
        except MedchainError as error:
            errors = [_again(error) for _ in taken]
        finally:
            for (_, _, outcome), one in zip(taken, errors, strict=True):
                outcome.error = one
                outcome.is_done = True


def _again(error: MedchainError) -> MedchainError:
    """Make the same error once more, for another thread to raise."""
    made = type(error)(error.code, **error.fields)
    made.__cause__ = error
    return made
