"""Who waits for a checkpoint is woken; what is final counts from memory, and is written when there is time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from medchain.errors import UnavailableError
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.store.notes import KEPT_CHECKPOINTS, StoredCheckpoint


@pytest.fixture
def store(store_engine):
    return LedgerStore(store_engine(FileKind.LEDGER))


@contextmanager
def later(work: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread after a moment, as long as which whoever comes first has to wait."""
    timer = threading.Timer(0.2, work)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def final(size: int) -> StoredCheckpoint:
    return StoredCheckpoint(size, 10 + size, final=True, pinned=False, note=f"note {size}\n")


def in_file(store: LedgerStore) -> StoredCheckpoint | None:
    """Ask the file, as the next process will."""
    return LedgerStore(store._database).final()  # noqa: SLF001  # the same file, read anew


def test_who_waits_is_woken_by_the_checkpoint_and_not_by_the_clock(store):
    with later(lambda: store.put_checkpoint("a\n", size=3, time=1, final=True)):
        began = time.monotonic()
        assert store.until(store.final, 600).size == 3
        assert time.monotonic() - began < 300
    with later(lambda: store.hold_checkpoint(final(5))):
        found = store.until(lambda: store.final() if store.final().size == 5 else None, 600)
    assert found == final(5)


def test_what_is_there_is_not_waited_for_and_what_never_comes_not_for_ever(store):
    assert store.until(lambda: 7, 0) == 7
    began = time.monotonic()
    assert store.until(store.final, 0.2) is None
    assert 0.15 < time.monotonic() - began < 60


def test_what_fails_while_one_looks_is_raised(store):
    def look() -> None:
        raise UnavailableError("store.io")

    with pytest.raises(UnavailableError, match=r"store\.io"):
        store.until(look, 30)


def test_what_is_held_counts_at_once_and_is_in_the_file_when_it_was_written(store):
    store.put_checkpoint("a\n", size=3, time=1, final=True)
    store.hold_checkpoint(final(5))
    assert store.final() == store.checkpoint(5) == store.checkpoint() == final(5)
    assert in_file(store).size == 3
    store.write_held()
    assert store.final() == store.checkpoint(5) == in_file(store) == final(5)
    store.write_held()
    assert store.final() == final(5)


def test_a_smaller_final_checkpoint_does_not_take_the_place_of_a_larger_one(store):
    store.put_checkpoint("a\n", size=9, time=1, final=True)
    store.hold_checkpoint(final(5))
    assert store.final().size == store.checkpoint().size == 9
    assert store.checkpoint(5) == final(5)


def test_what_could_not_be_written_is_still_held(store, monkeypatch):
    def full(*_values: object) -> None:
        raise UnavailableError("store.full")

    store.hold_checkpoint(final(5))
    with monkeypatch.context() as patched:
        patched.setattr(type(store._database), "write", full)  # noqa: SLF001  # a disk that is full
        with pytest.raises(UnavailableError, match=r"store\.full"):
            store.write_held()
    assert store.final() == final(5)
    store.write_held()
    assert in_file(store) == final(5)


def test_no_more_is_held_than_would_be_kept(store):
    for size in range(1, KEPT_CHECKPOINTS + 10):
        store.hold_checkpoint(final(size))
    store.write_held()
    assert store.checkpoint(9) is None
    assert store.checkpoint(10) == final(10)


def test_a_newer_version_that_came_while_the_older_was_written_stays(store, monkeypatch):
    store.hold_checkpoint(final(5))
    newer = StoredCheckpoint(5, 99, final=True, pinned=False, note="more lines\n")
    write = type(store)._write  # noqa: SLF001  # in the middle of it

    def slow(self, rows):
        write(self, rows)
        self.hold_checkpoint(newer)

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "_write", slow)
        store.write_held()
    assert store.final() == newer
    assert in_file(store) == final(5)
    store.write_held()
    assert in_file(store) == newer
