"""How long a thread waits for a processor, as the system counts it."""

from __future__ import annotations

import pytest

from medchain.node.crowding import SCHEDSTAT, Crowding


def test_the_share_is_of_the_time_since_the_last_look(tmp_path):
    # sched-stats.rst: time on the processor, time in the queue, both nanoseconds, and how often it got one.
    path = tmp_path / "schedstat"
    path.write_text("1000 500 7\n")
    crowding = Crowding(path)
    path.write_text("4000 1500 9\n")
    assert crowding.share() == pytest.approx(0.25)
    path.write_text("5000 1500 9\n")
    assert crowding.share() == 0
    # It did nothing since: nothing is known.
    assert crowding.share() == 0


@pytest.mark.parametrize("content", [None, "", "x y z\n", "5\n"])
def test_a_system_that_does_not_tell_keeps_nobody_waiting(tmp_path, content):
    path = tmp_path / "schedstat"
    if content is not None:
        path.write_text(content)
    assert Crowding(path).share() == 0


@pytest.mark.skipif(not SCHEDSTAT.exists(), reason="the system does not tell")
def test_this_system_counts_so():
    crowding = Crowding()
    sum(range(100_000))
    assert 0 <= crowding.share() <= 1
