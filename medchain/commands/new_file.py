"""Files that commands write for somebody.

Keeps true: a file has its name only once it is whole and on the disk, whatever ends the command, and takes nobody
else's place. What a command that was killed has left beside it, the next one for the same name takes away. Trusts the
folder: who may write there may put anything in the file's place.
"""

from __future__ import annotations

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
        ConflictError: ``file.exists``.
        OSError: no room, say; nothing is left then.
    """
    if os.path.lexists(path):
        raise ConflictError("file.exists", path=str(path))
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_new(path: Path, content: bytes) -> None:
    """Write a whole new file; as `new_file`."""
    with new_file(path) as file:
        file.write(content)
