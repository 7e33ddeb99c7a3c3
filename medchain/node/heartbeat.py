"""The sign by which a process shows its supervisor that it works: a file with the time of its last beat.

It stands by itself, so that a supervisor, which does nothing but look, holds none of what a daemon is made of.
Source: `docs/operations.md`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, Self

STALL_S: Final = 30.0
"""How long a watched part may stand still, and how old a heartbeat may be."""

HEARTBEAT_NAME: Final = "heartbeat"
"""Name of the file in the folder `run`."""

_HEARTBEAT_BYTES: Final = 32


class Heartbeat:
    """A file with the time of the last beat on the system's monotonic clock, which all processes share."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Open it and beat once."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.beat()
        return self

    def __exit__(self, *_details: object) -> None:
        """Close and remove it."""
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)

    def beat(self) -> None:
        """Show life."""
        os.pwrite(self._descriptor, f"{time.monotonic():.3f}".ljust(_HEARTBEAT_BYTES).encode(), 0)


def heartbeat_age_s(path: Path) -> float | None:
    """Tell how old the last beat is, in seconds; None where there is none that can be read."""
    try:
        return time.monotonic() - float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
