"""Small things that the daemon does beside its work: numbers for Prometheus, writing what waits in memory, sweeping.

Keeps true: labels come from a fixed set, also where a code was a peer's; the ledger's pages are written only while
nothing happens and everything is final, so that nobody waits for a later checkpoint because of it. Trusts the stores.
Source: `docs/spec/store.md` 6, 7; `docs/operations.md`.
"""

from __future__ import annotations

import time
from threading import Event
from typing import Final

from medchain.errors import MedchainError
from medchain.node import metrics
from medchain.node.log import Log
from medchain.ordering.embedded import EmbeddedDriver
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore

PERIOD_S: Final = 1.0
"""How often it looks."""

IDLE_S: Final = 5.0
"""How long no block must have come before pages are written."""

SWEEP_S: Final = 300.0
"""How often blobs that no record names, or whose key was destroyed, are removed."""

ALARM_CODES: Final = frozenset(
    {
        "block.checkpoint",
        "block.empty",
        "block.height",
        "block.protocol",
        "block.root",
        "block.size",
        "block.time",
        "block.transaction",
        "checkpoint.split_view",
        "ordering.ahead",
        "ordering.clock",
        "ordering.denied",
        "ordering.failed",
        "ordering.kept_back",
        "ordering.not_given",
        "ordering.reordered",
        "ordering.thread",
        "ordering.two_blocks",
        "ordering.withheld",
        "receipt.malformed",
        "receipt.other",
        "receipt.signature",
        "receipt.time",
        "store.corrupt",
    }
)
"""Codes that `metrics.ALARMS` counts by name; any other counts as ``other``."""

_LOG: Final = Log("upkeep")


class Upkeep:
    """Looks after the daemon's numbers and pages. One thread calls it."""

    __slots__ = ("_alarms", "_driver", "_height", "_ledger", "_records", "_since", "_sweep")

    def __init__(self, ledger: LedgerStore, records: RecordStore, driver: EmbeddedDriver) -> None:
        """Use the daemon's stores and driver."""
        self._ledger = ledger
        self._records = records
        self._driver = driver
        self._alarms: frozenset[tuple[str, int]] = frozenset()
        self._height = -1
        self._since = self._sweep = time.monotonic()

    def run(self, stop: Event) -> None:
        """Look until told to stop; what fails is tried again."""
        while not stop.wait(PERIOD_S):
            try:
                self.look(time.monotonic())
            except MedchainError as error:
                _LOG.warning("upkeep.delayed", code=error.code)

    def look(self, now: float) -> None:
        """Look once.

        Args:
            now: of the monotonic clock.

        Raises:
            MedchainError: the disk.
        """
        self._count_alarms()
        metrics.OUTBOX.set(self._records.pending_count())
        if now >= self._sweep:
            self._sweep = now + SWEEP_S
            removed = self._records.sweep_blobs()
            if removed:
                _LOG.info("upkeep.swept", blobs=removed)
        head, final = self._ledger.head, self._ledger.final()
        if head.height != self._height:
            self._height, self._since = head.height, now
        # A height without a final checkpoint could be proven no more, until a later one is final.
        elif now - self._since >= IDLE_S and final is not None and final.size == head.size:
            self._ledger.flush()

    def _count_alarms(self) -> None:
        """Count alarms that were not there at the last look."""
        found = self._driver.health().alarms
        present = frozenset((alarm.code, alarm.height) for alarm in found)
        for code, height in sorted(present - self._alarms):
            metrics.ALARMS.labels(code if code in ALARM_CODES else "other").inc()
            _LOG.error("upkeep.alarm", code=code, height=height)
        self._alarms = present
