"""A lock on a folder that one process works in.

Keeps true: of several processes one has it; it is given back with the process, however that ends. Trusts who may write
the folder not to take the lock's file away.
Source: flock(2).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from medchain.errors import ConflictError


class FolderLock:
    """Keeps a second process out."""

    __slots__ = ("_descriptor", "_path", "_taken")

    def __init__(self, path: Path, taken: ConflictError) -> None:
        """Name the lock.

        Args:
            path: its file, which is made where it is missing.
            taken: what is raised where another process has it.
        """
        self._path = path
        self._taken = taken
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take it, or raise `ConflictError`."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise self._taken from error
        return self

    def __exit__(self, *_details: object) -> None:
        """Give it back."""
        os.close(self._descriptor)
