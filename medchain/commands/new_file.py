"""Files that commands write for somebody.

Keeps true: a file has its name only once it is whole and on the disk, whatever ends the command, and takes nobody
else's place; of commands that write one at the same moment one does, the others are told. What a command that was
killed has left beside it, the next one for the same name takes over. Trusts the folder: who may write there may put
anything in the file's place.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medchain.errors import ConflictError


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file of mode 0600 to be written, which gets its name when the block ends, and only if it ends well.

    Args:
        path: its name; the folder exists.

    Raises:
        ConflictError: ``file.exists``; ``file.busy`` where another command is writing it.
        OSError: no room, say; nothing is left then.
    """
    beside = path.with_name(f".{path.name}.part")
    with os.fdopen(_taken(beside, path), "wb") as file:
        try:
            file.truncate()
            yield file
            file.flush()
            os.fsync(file.fileno())
            _check_free(path)
            beside.rename(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _taken(beside: Path, path: Path) -> int:
    """Open the file beside; nobody else has it until it is closed, which it is with the process, however that ends."""
    while True:
        _check_free(path)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ConflictError("file.busy", path=str(path)) from None
        if _is_named(descriptor, beside):
            return descriptor
        # Who had it has given it its name, or taken it away, between the opening and the lock.
        os.close(descriptor)


def _is_named(descriptor: int, path: Path) -> bool:
    """Tell whether an open file still has a name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _check_free(path: Path) -> None:
    """Raise `ConflictError` ``file.exists`` for a name that is taken."""
    if os.path.lexists(path):
        raise ConflictError("file.exists", path=str(path))


def write_new(path: Path, content: bytes) -> None:
    """Write a whole new file; as `new_file`."""
    with new_file(path) as file:
        file.write(content)
