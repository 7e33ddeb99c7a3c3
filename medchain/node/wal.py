"""Moves the records file's WAL into the file, so that no request waits until it is done.

The writer whose commit made the WAL long would do it otherwise, with all others behind it: under load several times a
second, since each write changes some dozens of an index's pages.
Keeps true: nothing of durability or order depends on it; where it is not done, writers do it after four times as many
pages. Trusts SQLite's checkpoints.
Source: sqlite.org/wal.html (checkpoint starvation); `docs/spec/store.md` 2.
"""

from __future__ import annotations

from threading import Event
from typing import Final

from medchain.errors import MedchainError
from medchain.node.log import Log
from medchain.store.engine import Database

PERIOD_S: Final = 0.25
"""How often it looks whether anything was written."""

_LOG: Final = Log("wal")


class WalJob:
    """Moves the WAL of one file. One thread calls it."""

    __slots__ = ("_database", "_moved")

    def __init__(self, database: Database) -> None:
        """Use an opened file."""
        self._database = database
        self._moved = b""

    def run(self, stop: Event) -> None:
        """Look until told to stop; what fails is tried again."""
        while not stop.wait(PERIOD_S):
            try:
                self.look()
            except MedchainError as error:
                _LOG.warning("wal.delayed", code=error.code)

    def look(self) -> None:
        """Move what was written since the last look; raises as `Database.move_wal`."""
        state = self._database.state()
        if state != self._moved:
            self._database.move_wal()
            self._moved = state
