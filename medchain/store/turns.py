"""Turns at writing: which process writes a file next, in the order in which they came.

SQLite has a writer that finds another at work sleep, up to 100 ms at a time, and look again; a process that writes all
the time is back before the other one looks, which then waits for a second while the disk is idle.
Keeps true: one process has the turn; whoever waits for it comes before who had it last; a process that ends, however it
does, ends its turn; nobody waits for another thread, or for another process, longer than he said. Trusts it with
nothing but the order: what keeps a file whole is SQLite's own lock.
Source: flock(2), unix(7); `docs/spec/store.md` 2.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from medchain.errors import UnavailableError

_LOOK_S: Final = 0.0005
# Who is killed rings nobody.
_UNRUNG_S: Final = 0.01
_NAME_BYTES: Final = 32
_NOBODY: Final = bytes(_NAME_BYTES)
_ADDRESS: Final = b"\0medchain-turn-"
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class _Bell:
    """What a process is told by that the turn which it waits for has ended: the system has no wait for it that ends.

    Who rings it without cause has a process look once more.
    """

    __slots__ = ("_file", "_listening", "name")

    def __init__(self) -> None:
        """Choose a name that nobody else has or guesses, of `_NAME_BYTES` bytes, and listen to it."""
        self.name = secrets.token_hex(_NAME_BYTES // 2).encode("ascii")
        with _datagrams() as made:
            made.bind(_ADDRESS + self.name)
            # A descriptor like those of the lock files, which last as long as they are not closed.
            self._file = made.detach()
        self._listening = select.poll()
        self._listening.register(self._file, select.POLLIN)

    def wait(self, patience_s: float) -> None:
        """Wait until it rings, or for so long."""
        if self._listening.poll(max(1, int(patience_s * 1000))):
            with suppress(BlockingIOError):
                os.read(self._file, 1)

    def close(self) -> None:
        """Listen no more."""
        os.close(self._file)


def _datagrams() -> socket.socket:
    """Make a socket that waits for nobody."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


def _ring(name: bytes) -> None:
    """Ring a bell; who cannot be told looks by himself."""
    with suppress(OSError), _datagrams() as caller:
        caller.sendto(b"", _ADDRESS + name)


class WriteTurns:
    """Turns at one file. The threads of a process share it; each process, or opened file, has its own."""

    __slots__ = ("_bell", "_next", "_patience_s", "_taken", "_thread")

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
        self._bell: _Bell | None = None
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
            UnavailableError: ``store.busy`` if it does not come; ``store.io`` where the process has no descriptor left.
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
                self._tell()
        finally:
            self._thread.release()

    def close(self) -> None:
        """Close the lock files."""
        os.close(self._taken)
        os.close(self._next)
        if self._bell is not None:
            self._bell.close()

    def _wait(self, deadline: float) -> None:
        """Wait for a turn, in line: who has just had one comes in behind."""
        while not _try(self._next):
            _check(deadline)
            time.sleep(_LOOK_S)
        try:
            if not _try(self._taken):
                self._listen(deadline)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)

    def _listen(self, deadline: float) -> None:
        """Wait for the turn as the first of those who do."""
        bell = self._opened_bell()
        os.pwrite(self._next, bell.name, 0)
        try:
            # Whoever lets go of it from here on finds the name; that it was let go of before shows at the first look.
            while not _try(self._taken):
                bell.wait(min(_check(deadline), _UNRUNG_S))
        finally:
            os.pwrite(self._next, _NOBODY, 0)

    def _tell(self) -> None:
        """Tell whoever waits that the turn has ended."""
        name = os.pread(self._next, _NAME_BYTES, 0)
        if name not in (b"", _NOBODY):
            _ring(name)

    def _opened_bell(self) -> _Bell:
        """Return the bell of this process, made when it is first needed: a file may have one writer alone."""
        if self._bell is None:
            try:
                self._bell = _Bell()
            except OSError as error:
                raise UnavailableError("store.io", table="file") from error
        return self._bell


def _try(descriptor: int) -> bool:
    """Take a lock if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check(deadline: float) -> float:
    """Return the seconds that are left; raises `UnavailableError` ``store.busy`` where none are."""
    left = deadline - time.monotonic()
    if left < 0:
        raise UnavailableError("store.busy", table="file")
    return left
