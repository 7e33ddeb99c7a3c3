"""Turns the database's errors into ours; the only place that knows SQLite's numbers.

Keeps true: damage is a `VerificationError` that names the table and the key, and is never retried; a full disk, a busy
file or a failed read is an `UnavailableError`; nothing of a statement or its parameters goes into a message.
Source: sqlite.org/rescode.html; `docs/spec/store.md`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlcipher3 import dbapi2

from medchain.errors import ConflictError, InputError, MedchainError, UnavailableError, VerificationError

FOREIGN: Final = (dbapi2.Error, SQLAlchemyError)
"""What the driver and SQLAlchemy raise."""

FULL: Final = "store.full"
"""Code of what finds no room on the disk."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_CORRUPT: Final = frozenset({11, 26})
_CORRUPT_READS: Final = frozenset({10 | 2 << 8, 10 | 32 << 8, 10 | 33 << 8})
_REFUSED: Final = 1
_BUSY: Final = 5
_TOO_BIG: Final = 18
# Only a search is as large as somebody asks (sqlite.org/limits.html); another try would be refused again.
_TOO_LARGE: Final = re.compile(r"too many|too large|at most \d+ tables|stack overflow")
_RETRIED: Final = {
    _BUSY: "store.busy",
    6: "store.busy",
    8: "store.read_only",
    10: "store.io",
    13: FULL,
    14: "store.io",
}


@contextmanager
def translated(table: str, key: str = "") -> Iterator[None]:
    """Raise our errors for the database's.

    Args:
        table: what is being read or written, for the message.
        key: which row, for the message; never patient data.

    Raises:
        VerificationError: ``store.corrupt`` for a damaged file, a wrong file key included.
        UnavailableError: ``store.full``, ``store.busy``, ``store.read_only``, ``store.io``.
        ConflictError: ``store.conflict`` for a row that is already there.
        InputError: ``search.too_many`` for a question that is beyond the limits of SQL.
    """
    try:
        yield
    except FOREIGN as error:
        raise ours(error, table, key) from error


def ours(error: BaseException, table: str, key: str = "") -> MedchainError:
    """Choose our error for one of `FOREIGN`; arguments as in `fault`."""
    match error:
        case IntegrityError():
            return ConflictError("store.conflict", table=table, key=key)
        case DBAPIError():
            return fault(error.orig, table, key)
        case dbapi2.Error():
            return fault(error, table, key)
        case _:
            # A pool without a free connection, above all.
            return UnavailableError("store.io", table=table, key=key)


def fault(original: BaseException | None, table: str, key: str = "") -> MedchainError:
    """Choose our error for one of the driver.

    Args:
        original: the driver's exception.
        table: what was read or written.
        key: which row.

    Returns:
        The error to raise.
    """
    if isinstance(original, dbapi2.IntegrityError):
        return ConflictError("store.conflict", table=table, key=key)
    number = getattr(original, "sqlite_errorcode", 0)
    if number & 0xFF in _CORRUPT or number in _CORRUPT_READS:
        return corrupt(table, key)
    if number & 0xFF == _TOO_BIG or (number == _REFUSED and _TOO_LARGE.search(str(original))):
        return InputError("search.too_many")
    return UnavailableError(_RETRIED.get(number & 0xFF, "store.io"), table=table, key=key)


def is_busy(error: dbapi2.Error) -> bool:
    """Tell whether another connection had a lock that was needed."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == _BUSY


def disk_fault(error: OSError, table: str) -> UnavailableError:
    """Choose our error for one of a file that is no database: ``store.full`` or ``store.io``."""
    return UnavailableError(FULL if error.errno in _NO_ROOM else "store.io", table=table)


def corrupt(table: str, key: int | str | bytes = "") -> VerificationError:
    """Name what is damaged; the caller raises it."""
    return VerificationError("store.corrupt", table=table, key=key.hex() if isinstance(key, bytes) else key)
