"""The collector of garbage in processes that live long."""

from __future__ import annotations

import gc
import resource
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from medchain.node import garbage
from medchain.node.garbage import give_back, keep_trimmed, settle
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the collector of the test process as it was."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def resident_bytes() -> int:
    """Memory that the system counts for this process, bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


class Ring:
    """Holds itself."""

    def __init__(self) -> None:
        """Close the ring."""
        self.next = self


def test_what_is_there_is_looked_at_no_more_and_what_comes_is() -> None:
    """What is frozen is in no generation; a cycle that is made later is still found."""
    gc.set_threshold(700, 10, 10)
    before = gc.get_threshold()
    settle()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] > before[0]
    gc.disable()
    try:
        for _ in range(10):
            Ring()
        assert gc.collect() >= 10
    finally:
        gc.enable()


def test_memory_below_what_is_still_held_is_given_back() -> None:
    """Pieces are too large for Python's own arenas, and too small for the system to be asked for each."""
    held = [bytearray(2000) for _ in range(40_000)]
    last = bytearray(2000)
    full = resident_bytes()
    held.clear()
    give_back()
    assert full - resident_bytes() > 40_000 * 2000 // 2
    assert len(last) == 2000


def test_memory_below_what_is_still_held_is_given_back_while_the_process_serves(monkeypatch) -> None:
    monkeypatch.setattr(garbage, "TRIM_S", 0.01)
    held = [bytearray(2000) for _ in range(40_000)]
    last = bytearray(2000)
    full = resident_bytes()
    held.clear()
    stop = Event()
    thread = Thread(target=keep_trimmed, args=(stop,))
    thread.start()
    assert eventually(lambda: full - resident_bytes() > 40_000 * 2000 // 2)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert len(last) == 2000


def test_what_a_work_leaves_is_looked_at_no_more_and_its_cycles_go() -> None:
    """A cycle that nobody holds goes before that, and a later one after the next work."""
    settle()
    for _ in range(2):
        gone = weakref.ref(Ring())
        kept = [Ring() for _ in range(10)]
        assert sum(type(one) is Ring for one in gc.get_objects()) >= len(kept)
        give_back()
        assert gone() is None
        assert not any(type(one) is Ring for one in gc.get_objects())
