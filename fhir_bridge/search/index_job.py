"""Gives rows to versions that have none yet, and takes those away that no search needs any more.

Keeps true: it can be ended anywhere and goes on where it was; a record that cannot be opened is told in the log and
does not keep the others from being found. Trusts the index for the rows. Runs in the daemon, behind those who serve.
Source: `docs/spec/search-index.md`.
"""

from __future__ import annotations

import os
import threading
import time
from threading import Event
from typing import Final

from fhir_bridge.search.cursor import LIFE_S
from fhir_bridge.search.index import SearchIndex
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.records import RecordService
from medchain.store.indexing import IndexRows, Placed
from medchain.store.records import FHIR_JSON, RecordStore
from medchain.store.versions import Found, VersionReader

PERIOD_S: Final = 1.0
"""How often it looks when there is nothing to do."""

BATCH: Final = 200
"""How many versions are done together."""

PRUNE_S: Final = 300.0
"""How often the rows of replaced versions are looked for."""

_MARGIN_S: Final = 300
_NICE: Final = 10
_LOG: Final = Log("search")


class IndexJob:
    """Keeps the index whole and small. One process at a time."""

    def __init__(self, store: RecordStore, service: RecordService, index: SearchIndex, clock: Clock) -> None:
        """Prepare.

        Args:
            store: the records file.
            service: opens records.
            index: the node's index.
            clock: gives Unix seconds.
        """
        self._store = store
        self._reader = VersionReader(store)
        self._service = service
        self._index = index
        self._clock = clock
        self._pruned = -PRUNE_S

    def run(self, end: Event) -> None:
        """Work until told to stop."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not end.is_set():
            try:
                is_busy = self.step() > 0
            except (ConflictError, UnavailableError) as error:
                _LOG.error("search.waits", error)
                is_busy = False
            end.wait(0 if is_busy else PERIOD_S)

    def step(self) -> int:
        """Do one batch; returns how many versions were looked at."""
        self._index.refresh()
        count = self._index_some()
        if not count and time.monotonic() - self._pruned >= PRUNE_S:
            # With a margin, since a cursor that was good a moment ago may be in use.
            count = self._store.prune_index(self._clock() - LIFE_S - _MARGIN_S, BATCH)
            if not count:
                self._pruned = time.monotonic()
        return count

    def _index_some(self) -> int:
        """Give rows to some versions."""
        numbers = self._store.unindexed(BATCH)
        found = self._reader.numbered(numbers)
        self._store.put_rows([self._placed(number, one) for number, one in zip(numbers, found, strict=True)])
        if numbers and len(numbers) < BATCH:
            _LOG.info("search.indexed", last=numbers[-1])
        return len(numbers)

    def _placed(self, number: int, found: Found | None) -> Placed:
        """Make the rows of a version; none for what is found by nothing."""
        if found is None:
            return Placed(number, "", "", 1, 0, None)
        stored = found.stored
        return Placed(number, stored.type, stored.id, stored.version, stored.created, self._rows(found))

    def _rows(self, found: Found) -> IndexRows | None:
        """Open a version and make its rows."""
        stored = found.stored
        try:
            if stored.content_type == FHIR_JSON:
                document = self._service.open_found(found).content
            else:
                document = self._service.head(stored).text
        except NotFoundError:
            return None
        except (InputError, VerificationError) as error:
            _LOG.error("search.damaged", error, record=stored.seq)
            return None
        return self._index.rows_of(stored.type, document) if document else None
