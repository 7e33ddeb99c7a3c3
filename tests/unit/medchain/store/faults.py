"""Faults on purpose: a database that fails at one step, with what it did kept or not; a process killed at one step."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event
from sqlalchemy.pool.base import _ConnectionFairy
from sqlcipher3 import dbapi2

from medchain.store.engine import Database

FULL = 13


def full() -> dbapi2.Error:
    """Make the error of a full disk."""
    error = dbapi2.OperationalError("database or disk is full")
    error.sqlite_errorcode = FULL
    return error


@contextmanager
def watched(engine: Engine, tell: Callable[[str], None]) -> Iterator[None]:
    """Tell of each statement of a file before it runs.

    Below SQLAlchemy's own events: statements that pass its compiler by are statements too.
    """
    plain = _ConnectionFairy.cursor

    def cursor(fairy):
        made = plain(fairy)
        return _Told(made, tell) if fairy._pool is engine.pool else made  # noqa: SLF001  # which file it is of

    _ConnectionFairy.cursor = cursor
    try:
        yield
    finally:
        _ConnectionFairy.cursor = plain


@contextmanager
def at_step(database: Database, step: int, act: Callable[[], None]) -> Iterator[list[str]]:
    """Act before the n-th statement from now on, counted from 1; the commit is a statement too.

    Yields:
        The statements so far.
    """
    seen: list[str] = []

    def count(statement: str) -> None:
        seen.append(statement)
        if len(seen) == step:
            act()

    def commit(_connection) -> None:
        count("COMMIT")

    event.listen(database.engine, "commit", commit)
    try:
        with watched(database.engine, count):
            yield seen
    finally:
        event.remove(database.engine, "commit", commit)


class _Told:
    """A cursor that tells of its statements before they run."""

    def __init__(self, cursor, tell: Callable[[str], None]) -> None:
        self._cursor = cursor
        self._tell = tell

    def __getattr__(self, name: str) -> object:
        return getattr(self._cursor, name)

    def execute(self, statement: str, values: object = ()) -> object:
        """Run one statement."""
        self._tell(statement)
        return self._cursor.execute(statement, values)

    def executemany(self, statement: str, values: object) -> object:
        """Run a statement for each row."""
        self._tell(statement)
        return self._cursor.executemany(statement, values)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let this process write no file behind a place, as a disk that has no room."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def fail() -> None:
    """Fail as a full disk does: nothing of the statement is kept."""
    raise full()


@contextmanager
def commit_kept_but_failed(database: Database) -> Iterator[None]:
    """Let the next commit happen and then say that it failed."""

    def commit(connection) -> None:
        connection.connection.commit()
        fail()

    event.listen(database.engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(database.engine, "commit", commit)


def killed(work: Callable[[], None]) -> bool:
    """Run in a process of its own, which may kill itself; tell whether it did."""
    child = os.fork()
    if child == 0:
        status = 1
        # Another thread may have held what measures coverage at the fork: this copy would wait for it for ever.
        sys.settrace(None)
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL


def kill() -> None:
    """Die at once."""
    os.kill(os.getpid(), signal.SIGKILL)
