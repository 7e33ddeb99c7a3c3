"""Turns: threads of one process answer requests one after the other, as long as each is short.

A request lets go of the interpreter some twenty times: at each question to the database, each decryption, each write.
With others waiting for it, each time is a change of threads, which costs a fifth of a read. Keeps true: nobody waits
for a turn longer than `PATIENCE_S`, however long another one takes, and whoever did not wait for one ends nobody's.
Trusts nothing.
Source: docs.python.org, `sys.setswitchinterval`, whose default the patience is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_S: Final = 0.005
"""How long a thread waits for its turn, in seconds: as long as the interpreter has it wait for one that computes."""


class _OfThread(threading.local):
    """Whether a thread answers something in turn, and whether it has the turn."""

    answers = has = False


class Turns:
    """Lets threads do something one after the other. Threads share it."""

    __slots__ = ("_of_thread", "_patience_s", "_taken")

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        """Begin with nobody's turn.

        Args:
            patience_s: how long a thread waits for its turn, in seconds; then it goes on without.
        """
        self._taken = threading.Lock()
        self._patience_s = patience_s
        self._of_thread = _OfThread()

    @contextmanager
    def one(self) -> Iterator[bool]:
        """Take a turn, or go on without where it takes too long; gives whether it is one."""
        ours = self._of_thread
        before = ours.answers, ours.has
        ours.answers = True
        self._begin()
        try:
            yield ours.has
        finally:
            self._end()
            ours.answers, ours.has = before

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave the turn to others while the thread waits for what they need not wait for, then take one as before."""
        self._end()
        try:
            yield
        finally:
            if self._of_thread.answers:
                self._begin()

    def _begin(self) -> None:
        """Wait for the turn."""
        self._of_thread.has = self._taken.acquire(timeout=self._patience_s)

    def _end(self) -> None:
        """End the turn of this thread, if it has it."""
        if self._of_thread.has:
            self._of_thread.has = False
            self._taken.release()
