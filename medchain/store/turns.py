"""Turns at writing: which process writes a file next, in the order in which they came.

SQLite has a writer that finds another at work sleep, up to 100 ms at a time, and look again; a process that writes all
the time is back before the other one looks, which then waits for a second while the disk is idle.
Keeps true: one process has the turn; whoever waits for it comes before who had it last; a process that ends, however it
does, ends its turn; nobody waits for another thread, or for another process, longer than he said. Trusts it with
nothing but the order: what keeps a file whole is SQLite's own lock.
Source: flock(2); `docs/spec/store.md` 2.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from medchain.errors import UnavailableError

_LOOK_S: Final = 0.0005
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class WriteTurns:
    """Turns at one file. The threads of a process share it; each process, or opened file, has its own."""

    __slots__ = ("_next", "_patience_s", "_taken", "_thread")

    def __init__(self, path: Path, patience_s: float) -> None:
        """Open, or make, the two lock files.

        Args:
            path: of the file; theirs are made of it.
            patience_s: longest wait for other threads, and after it for other processes, in seconds.

        Raises:
            OSError: they cannot be opened.
        """
        self._thread = threading.Lock()
        self._patience_s = patience_s
        self._taken = os.open(path.with_name(path.name + "-turn"), _FLAGS, 0o600)
        try:
            self._next = os.open(path.with_name(path.name + "-next"), _FLAGS, 0o600)
        except OSError:
            os.close(self._taken)
            raise

    @contextmanager
    def one(self, patience_s: float | None = None) -> Iterator[None]:
        """Wait for a turn and have it.

        Args:
            patience_s: longest wait, for threads and processes in all; None for the file's own, for each of the two.

        Raises:
            UnavailableError: ``store.busy`` if it does not come.
        """
        deadline = None if patience_s is None else time.monotonic() + patience_s
        if not self._thread.acquire(timeout=self._patience_s if patience_s is None else patience_s):
            raise UnavailableError("store.busy", table="file")
        try:
            self._wait(time.monotonic() + self._patience_s if deadline is None else deadline)
            try:
                yield
            finally:
                fcntl.flock(self._taken, fcntl.LOCK_UN)
        finally:
            self._thread.release()

    def close(self) -> None:
        """Close the lock files."""
        os.close(self._taken)
        os.close(self._next)

    def _wait(self, deadline: float) -> None:
        """Wait for a turn, in line: who has just had one comes in behind."""
        _take(self._next, deadline)
        try:
            _take(self._taken, deadline)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)


def _take(descriptor: int, deadline: float) -> None:
    """Take a lock, looking often: the system has no wait for it that ends."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UnavailableError("store.busy", table="file") from None
            time.sleep(_LOOK_S)
        else:
            return
