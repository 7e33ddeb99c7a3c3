"""Batches of invoices that the daemon checks while nobody waits for the answer: begun, looked at, fetched when done.

Keeps true: what somebody brings is shown to nobody else; batches take turns, part by part, so that a large one keeps no
small one waiting; a bounded number of them is in memory, for a day at most, and none on disk: they name invoices and
what proves that one holds them. A restart ends them. Trusts its callers, the node's own pages, for who asks.
Source: `docs/spec/claim-question.md` 15.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Final, NamedTuple

from medchain.claims.asking import MAX_CHECKED
from medchain.claims.batch import Table, read_table
from medchain.encoding import Json, base64_text, members, unbase64
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError
from medchain.ledger.claim_question import AskedRow
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.transaction import ID_BYTES
from medchain.node.clock import Clock
from medchain.node.log import Log

BEGIN: Final = "checks.begin"
"""Local operation: bring a table."""

SHOW: Final = "checks.show"
"""Local operation: how far one is, and what was found so far."""

LIST: Final = "checks.list"
"""Local operation: those that somebody brought."""

REPORT: Final = "checks.report"
"""Local operation: the table again, and what came of each row."""

MALFORMED: Final = "malformed"
"""Finding of a row that cannot be asked for."""

MAX_TABLE_BYTES: Final = 4 << 20
"""Largest table."""

MAX_BATCHES: Final = 50
"""Most batches that are kept."""

MAX_OF_ONE: Final = 5
"""Most batches that one person has waiting."""

KEPT_S: Final = DAY_S
"""So long a batch can be fetched after it was brought."""

_IDLE_S: Final = 0.2
_LOG: Final = Log("claims")


class Reached(NamedTuple):
    """How far the ledger was final when something was found: entries, and the time of the last block."""

    size: int
    time: int


@dataclass(slots=True)
class _Batch:
    """A table that is being checked.

    Attributes:
        id: 32 hexadecimal digits.
        by: who brought it.
        created: when, Unix seconds.
        data: the table, to the letter.
        table: the same, read.
        places: of the rows that are asked for.
        done: how many of these were.
        found: what came of each row so far, by its place.
        final: how far the ledger was final at the end.
        failed: code of what ended it; empty where nothing did.
    """

    id: str
    by: str
    created: int
    data: bytes
    table: Table
    places: Sequence[int]
    done: int = 0
    found: dict[int, Json] = field(default_factory=dict)
    final: Reached = field(default_factory=lambda: Reached(0, 0))
    failed: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether there is something left to be asked."""
        return self.done < len(self.places) and not self.failed


class CheckBook:
    """Batches of one node. Threads may share it; one of them asks."""

    __slots__ = ("_batches", "_check", "_clock", "_final", "_lock")

    def __init__(
        self,
        check: Callable[[Sequence[AskedRow]], Sequence[Json]],
        final: Callable[[], Reached],
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            check: asks for rows, at most `MAX_CHECKED`, and writes what came of each.
            final: tells how far the ledger is final.
            clock: gives Unix seconds.
        """
        self._check = check
        self._final = final
        self._clock = clock
        self._lock = Lock()
        self._batches: dict[str, _Batch] = {}

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {BEGIN: self._begin, LIST: self._list, REPORT: self._report, SHOW: self._show}

    def run(self, stop: Event) -> None:
        """Ask until told to stop."""
        while not stop.is_set():
            if not self.round():
                stop.wait(_IDLE_S)

    def round(self) -> int:
        """Ask for one part of each batch that waits; returns how many batches that were."""
        with self._lock:
            waiting = [one for one in self._batches.values() if one.is_waiting]
        for batch in waiting:
            self._ask(batch)
        return len(waiting)

    def _ask(self, batch: _Batch) -> None:
        """Ask for the next part of a batch."""
        places = batch.places[batch.done : batch.done + MAX_CHECKED]
        rows = [row for place in places if isinstance(row := batch.table.rows[place], AskedRow)]
        try:
            found, final = self._check(rows), self._final()
        except MedchainError as error:
            _LOG.warning("check.failed", code=error.code)
            batch.failed = error.code
            return
        with self._lock:
            batch.found.update(zip(places, found, strict=True))
            batch.final = final
            batch.done += len(places)

    def _begin(self, document: Json) -> Json:
        """Take a table."""
        top = members(document, {"by": str, "csv": str})
        data, by = unbase64(top["csv"]), str(top["by"])
        if len(data) > MAX_TABLE_BYTES:
            raise InputError("claim.csv")
        table = read_table(data)
        places = [place for place, row in enumerate(table.rows) if isinstance(row, AskedRow)]
        batch = _Batch(secrets.token_hex(ID_BYTES), by, self._clock(), data, table, places)
        unread = {place: row for place, row in enumerate(table.rows) if isinstance(row, str)}
        batch.found.update((place, {"finding": MALFORMED, "reason": code}) for place, code in unread.items())
        with self._lock:
            self._make_room(by)
            self._batches[batch.id] = batch
        return {"id": batch.id, "rows": len(table.rows)}

    def _make_room(self, by: str) -> None:
        """Drop what is old; raises `ConflictError` ``claim.checks`` where too many wait."""
        now = self._clock()
        kept = {name: one for name, one in self._batches.items() if one.created > now - KEPT_S}
        if sum(one.is_waiting for one in kept.values() if one.by == by) >= MAX_OF_ONE:
            raise ConflictError("claim.checks")
        while len(kept) >= MAX_BATCHES:
            done = next((name for name, one in kept.items() if not one.is_waiting), None)
            if done is None:
                raise ConflictError("claim.checks")
            del kept[done]
        self._batches = kept

    def _list(self, document: Json) -> Json:
        """List the batches of somebody, the newest first."""
        by, now = str(members(document, {"by": str})["by"]), self._clock()
        with self._lock:
            mine = [one for one in self._batches.values() if one.by == by and one.created > now - KEPT_S]
            return {"batches": [self._shown(one) for one in reversed(mine)]}

    def _show(self, document: Json) -> Json:
        """Tell how far one is."""
        batch = self._find(document)
        with self._lock:
            return self._shown(batch)

    def _report(self, document: Json) -> Json:
        """Give a batch that is done, whole."""
        batch = self._find(document)
        with self._lock:
            if batch.is_waiting:
                raise ConflictError("claim.checking")
            # What was not asked for because it ended before is said to be so.
            missing: Json = {"finding": "unreachable", "reason": batch.failed}
            found = [batch.found.get(place, missing) for place in range(len(batch.table.rows))]
            return {"batch": self._shown(batch), "csv": base64_text(batch.data), "found": found}

    def _find(self, document: Json) -> _Batch:
        """Find a batch of who asks; raises `NotFoundError` ``claim.no_check``, also for somebody else's."""
        top = members(document, {"by": str, "id": str})
        with self._lock:
            batch = self._batches.get(str(top["id"]))
        if batch is None or batch.by != top["by"] or batch.created <= self._clock() - KEPT_S:
            raise NotFoundError("claim.no_check")
        return batch

    def _shown(self, batch: _Batch) -> Json:
        """Write how far a batch is."""
        counted = Counter(str(one["finding"]) for one in batch.found.values() if isinstance(one, dict))
        return {
            "all": len(batch.table.rows),
            "counts": dict[str, Json](counted),
            "created": batch.created,
            "done": len(batch.table.rows) - len(batch.places) + batch.done,
            "failed": batch.failed,
            "final_size": batch.final.size,
            "id": batch.id,
            "is_waiting": batch.is_waiting,
            "time": batch.final.time,
        }
