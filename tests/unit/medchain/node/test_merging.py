"""The job that merges what single writes are found by."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from medchain.errors import UnavailableError
from medchain.node import merging
from medchain.node.merging import MergeJob
from medchain.store.engine import FileKind, open_database
from medchain.store.index_rows import IndexRows
from medchain.store.records import RecordStore
from tests.unit.medchain.store.conftest import KEY
from tests.unit.medchain.store.test_records import EPOCH, version


@pytest.fixture
def store(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", KEY, kind=FileKind.RECORDS))
    made.put_versions([version(1)], index=[IndexRows([(8, 0, "k", "", None, None)])], epochs=[EPOCH])
    yield made
    made.close()


def test_it_merges_goes_on_after_a_failure_and_ends_when_told(store, monkeypatch, caplog):
    monkeypatch.setattr(merging, "PERIOD_S", 0.01)
    merge, steps, stop = store.merge_rows, [], Event()

    def merged(limit: int) -> int:
        steps.append(0)
        if len(steps) == 1:
            raise UnavailableError("store.busy")
        steps[-1] = merge(limit)
        if len(steps) == 3:
            stop.set()
        return steps[-1]

    monkeypatch.setattr(store, "merge_rows", merged)
    working = Thread(target=MergeJob(store).run, args=(stop,))
    working.start()
    working.join(60)
    assert not working.is_alive()
    assert steps == [0, 1, 0]
    assert [record.message for record in caplog.records] == ["merging.delayed"]


class Looks(Event):
    """Lets a job look once."""

    def __init__(self) -> None:
        """Begin before the first look."""
        super().__init__()
        self.looks = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.looks += timeout is not None
        return self.looks > 1


def test_what_is_less_than_a_whole_batch_is_left_to_the_next_look_together_with_what_comes(store, monkeypatch):
    monkeypatch.setattr(merging, "PER_TURN", 2)
    rows = [version(number) for number in range(2, 6)]
    store.put_versions(rows, index=[IndexRows([(8, 0, "k", "", None, None)])] * len(rows))
    merge, steps = store.merge_rows, []

    def merged(limit: int) -> int:
        steps.append(merge(limit))
        return steps[-1]

    monkeypatch.setattr(store, "merge_rows", merged)
    MergeJob(store).run(Looks())
    assert steps == [2, 2, 1]
