"""The collector of garbage in processes that live long."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from medchain.node.garbage import settle


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the collector of the test process as it was."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


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
