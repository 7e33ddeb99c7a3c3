"""Gives rows to versions that have none yet, and takes those away that no search needs any more.

Keeps true: it can be ended anywhere and goes on where it was; a record that cannot be opened is told in the log and
does not keep the others from being found. Trusts the index for the rows. Runs in the daemon, behind those who serve.
Source: `docs/spec/search-index.md`.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from threading import Event
from typing import Final

import orjson

from fhir_bridge.definitions.parameters import SearchParameter
from fhir_bridge.search.cursor import LIFE_S
from fhir_bridge.search.custom import read_custom
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.indexer import VARIANTS
from fhir_bridge.search.walk import Resource
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.records import RecordService
from medchain.store.index_rows import IndexRows
from medchain.store.placing import Placed
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
        self._known: list[int] = []
        self._seen = -1

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
        count = self._index_some() or self._custom_step()
        if not count and time.monotonic() - self._pruned >= PRUNE_S:
            # With a margin, since a cursor that was good a moment ago may be in use.
            count = self._store.prune_index(self._clock() - LIFE_S - _MARGIN_S, BATCH)
            if not count:
                self._pruned = time.monotonic()
        return count

    def _custom_step(self) -> int:
        """Look at the node's own parameters; give rows of one to some versions."""
        came = self._store.last_of_type("SearchParameter")
        if came != self._seen:
            # Mostly none came, and to look at those that there are would merge all that waits.
            newest = self._store.newest_of_type("SearchParameter")
            if newest != self._known:
                self._take_over(newest)
                self._known = newest
            self._seen = came
        row = next((one for one in self._store.custom_parameters() if not one.is_active), None)
        if row is None:
            return 0
        made = read_custom(orjson.loads(row.definition))
        types = () if made is None else made.base
        numbers = self._store.without_custom(types, row, BATCH)
        if not numbers or made is None:
            self._store.activate_custom(row.url)
            _LOG.info("search.parameter_ready", target=row.target)
            return 1
        own = [self._index.number(name, made.code) for name in types]
        found = self._reader.numbered(numbers)
        placed = [self._placed(number, one) for number, one in zip(numbers, found, strict=True)]
        self._store.put_custom_rows(row.url, own, [_only(one, own) for one in placed], numbers[-1])
        return len(numbers)

    def _take_over(self, newest: list[int]) -> None:
        """Compare the parameters with the SearchParameters that are stored now."""
        wanted: dict[str, tuple[str, SearchParameter]] = {}
        taken: set[tuple[str, str]] = set()
        for one in self._reader.numbered(newest):
            resource = self._resource(one)
            made = None if resource is None else read_custom(resource)
            # Of two with one name for one type, the first that was stored counts.
            if made is not None and made.url not in wanted and taken.isdisjoint(_names(made)):
                wanted[made.url] = (orjson.dumps(resource, option=orjson.OPT_SORT_KEYS).decode(), made)
                taken.update(_names(made))
        known = {row.url: row.definition for row in self._store.custom_parameters()}
        for url, text in known.items():
            if url not in wanted:
                self._store.drop_custom(url, _names(read_custom(orjson.loads(text))))
        for url, (text, made) in sorted(wanted.items()):
            if known.get(url) != text:
                before = _names(read_custom(orjson.loads(known[url]))) if url in known else []
                if before:
                    self._store.drop_custom(url, before)
                self._store.put_custom(url, text, _names(made))
        self._index.refresh()

    def _resource(self, found: Found | None) -> Resource | None:
        """Open a version and parse it."""
        if found is None:
            return None
        try:
            resource = orjson.loads(self._service.open_found(found).content)
        except (InputError, NotFoundError, VerificationError, ValueError):
            return None
        return resource if isinstance(resource, dict) else None

    def _index_some(self) -> int:
        """Give rows to some versions."""
        numbers = self._store.unindexed(BATCH)
        if not numbers:
            # Nor a write: it would cost all who write a sync of the disk each second.
            return 0
        found = self._reader.numbered(numbers)
        self._store.put_rows([self._placed(number, one) for number, one in zip(numbers, found, strict=True)])
        if len(numbers) < BATCH:
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


def _names(one: SearchParameter | None) -> list[tuple[str, str]]:
    """List type and code of each parameter that a definition comes to."""
    return [] if one is None else [(name, one.code) for name in one.base]


def _only(placed: Placed, numbers: list[int]) -> Placed:
    """Keep the rows of some parameters."""
    if placed.rows is None or placed.rows.rows is None:
        return placed
    kept = [row for row in placed.rows.rows if row[0] // VARIANTS in numbers]
    return placed._replace(rows=replace(placed.rows, rows=kept))
