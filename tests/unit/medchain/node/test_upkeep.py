"""What the daemon counts, and when it writes pages."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from threading import Event

import pytest

from medchain.errors import UnavailableError
from medchain.node import metrics
from medchain.node import upkeep as upkeep_module
from medchain.node.upkeep import Upkeep
from medchain.ordering.driver import Alarm, Health
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import COMMISSION, TIME
from tests.unit.medchain.node.ledgers import Author, block_of, replica_on


@dataclass
class Driver:
    """Has alarms."""

    alarms: tuple[Alarm, ...] = ()
    asked: int = 0
    stop: Event = field(default_factory=Event)

    def health(self) -> Health:
        self.asked += 1
        if self.asked > 2:
            self.stop.set()
        return Health("follower", 0, COMMISSION, caught_up=True, waiting=0, alarms=self.alarms)


@pytest.fixture
def replica(store_engine):
    return replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)


@pytest.fixture
def records(other_engine):
    with closing(RecordStore(other_engine(FileKind.RECORDS))) as found:
        yield found


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture
def upkeep(replica, records, driver):
    return Upkeep(replica.store, records, driver)


def alarms(code: str) -> float:
    return metrics.ALARMS.labels(code)._value.get()  # noqa: SLF001  # prometheus_client shows it nowhere else


def test_what_waits_in_the_outbox_is_counted(upkeep, records):
    upkeep.look(0)
    assert metrics.OUTBOX._value.get() == 0  # noqa: SLF001  # as above
    records.put_intent("deliver", b"x", TIME)
    records.put_intent("deliver", b"y", TIME)
    upkeep.look(1)
    assert metrics.OUTBOX._value.get() == 2  # noqa: SLF001  # as above


def test_an_alarm_counts_once_for_as_long_as_it_stands(upkeep, driver):
    before = alarms("block.root")
    driver.alarms = (Alarm("block.root", 7),)
    upkeep.look(0)
    upkeep.look(1)
    assert alarms("block.root") == before + 1
    driver.alarms = ()
    upkeep.look(2)
    driver.alarms = (Alarm("block.root", 7), Alarm("block.root", 8))
    upkeep.look(3)
    assert alarms("block.root") == before + 3


def test_a_code_that_a_peer_made_up_is_no_label_of_its_own(upkeep, driver):
    before = alarms("other")
    driver.alarms = (Alarm("made.up", 1),)
    upkeep.look(0)
    assert alarms("other") == before + 1


class Ledger:
    """A ledger store whose flushes are counted."""

    def __init__(self, store: LedgerStore) -> None:
        """Wrap one."""
        self.store, self.flushes, self.final_size = store, 0, 0

    @property
    def head(self):
        return self.store.head

    def final(self):
        return type("Final", (), {"size": self.final_size})() if self.final_size else None

    def flush(self) -> None:
        self.flushes += 1


def test_pages_are_written_when_nothing_has_come_for_a_while_and_all_is_final(replica, records, driver):
    ledger = Ledger(replica.store)
    found = Upkeep(ledger, records, driver)
    block_of(replica, Author(replica=replica).anchor())
    found.look(100)
    found.look(106)
    assert ledger.flushes == 0, "nothing is final"
    ledger.final_size = replica.size - 1
    found.look(107)
    assert ledger.flushes == 0, "the newest block is not final"
    ledger.final_size = replica.size
    found.look(108)
    assert ledger.flushes == 1
    block_of(replica, Author(replica=replica).anchor())
    ledger.final_size = replica.size
    found.look(200)
    found.look(204)
    assert ledger.flushes == 1, "a block has just come"
    found.look(205)
    assert ledger.flushes == 2


def test_a_disk_that_fails_does_not_end_it(upkeep, driver, monkeypatch):
    monkeypatch.setattr(upkeep_module, "PERIOD_S", 0.001)

    def fail() -> int:
        raise UnavailableError("store.io")

    monkeypatch.setattr(RecordStore, "pending_count", lambda _self: fail())
    upkeep.run(driver.stop)
    assert driver.asked == 3
