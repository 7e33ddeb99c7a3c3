"""Merges what single writes are found by into the index, many versions together, before anybody has to search for it.

Keeps true: nothing of what is found depends on it; where it does not work, who searches or writes merges. It has the
priority of those who serve: one that has the turn at writing has them wait for it. Trusts the store.
Source: `docs/spec/search-index.md`, `docs/adr/0035-index-rows-merged-in-bulk.md`.
"""

from __future__ import annotations

from threading import Event
from typing import Final

from medchain.errors import MedchainError
from medchain.node.log import Log
from medchain.store.records import RecordStore

PERIOD_S: Final = 0.5
"""How often it looks whether anything waits."""

PER_TURN: Final = 128
"""Most versions of one transaction: between two, those who write have their turn.

Of half as many, twice as many transactions change three quarters as many pages each.
"""

_LOG: Final = Log("merging")


class MergeJob:
    """Merges rows of one file. One thread calls it."""

    __slots__ = ("_store",)

    def __init__(self, store: RecordStore) -> None:
        """Use the records file."""
        self._store = store

    def run(self, stop: Event) -> None:
        """Look until told to stop; what fails is tried again."""
        while not stop.wait(PERIOD_S):
            try:
                # The few that came meanwhile would change as many pages as all that come until the next look.
                while self._store.merge_rows(PER_TURN) == PER_TURN and not stop.is_set():
                    """More wait."""
            except MedchainError as error:
                _LOG.warning("merging.delayed", code=error.code)
