"""Faults on purpose: a database that fails at one step, with what it did kept or not; a process killed at one step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import event
from sqlcipher3 import dbapi2

from medchain.store.engine import Database

FULL = 13


def full() -> dbapi2.Error:
    """Make the error of a full disk."""
    error = dbapi2.OperationalError("database or disk is full")
    error.sqlite_errorcode = FULL
    return error


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

    def before(_connection, _cursor, statement, _parameters, _context, _many) -> None:
        count(statement)

    def commit(_connection) -> None:
        count("COMMIT")

    event.listen(database.engine, "before_cursor_execute", before)
    event.listen(database.engine, "commit", commit)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", before)
        event.remove(database.engine, "commit", commit)


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
