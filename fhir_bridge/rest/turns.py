"""Turns: threads of one process answer reads one after the other, as long as each is short.

A read lets go of the interpreter some twenty times: at each question to the database, each decryption, each write. With
other reads waiting for it, each time is a change of threads, which costs a fifth of the read. Keeps true: nobody waits
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


class Turns:
    """Lets threads do something one after the other. Threads share it."""

    __slots__ = ("_patience_s", "_taken")

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        """Begin with nobody's turn.

        Args:
            patience_s: how long a thread waits for its turn, in seconds; then it goes on without.
        """
        self._taken = threading.Lock()
        self._patience_s = patience_s

    @contextmanager
    def one(self) -> Iterator[bool]:
        """Take a turn, or go on without where it takes too long; gives whether it is one."""
        is_ours = self._taken.acquire(timeout=self._patience_s)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._taken.release()
