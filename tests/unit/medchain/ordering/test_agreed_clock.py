"""An orderer whose clock is moved while it runs: it dates nothing by it before others go by the same time.

Source: `docs/spec/ordering.md` 4.
"""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import pytest

from medchain.errors import UnavailableError
from medchain.ordering.agreed_clock import AgreedClock
from tests.consortium import MemoryReplica, genesis, log_signer

DAY_S = 86_400
BEGAN = 1_796_083_300


def orderer(members: int = 4) -> SimpleNamespace:
    """Have the clock of one of some members, a timer beside it, and what it hears of the others."""
    made = SimpleNamespace(time=BEGAN, timer=500.0, heard=[BEGAN] * (members - 1))
    replica = MemoryReplica(genesis(members), log_signer("org-0"))
    made.clock = AgreedClock(replica, lambda: made.time, lambda: made.timer, heard=lambda: made.heard)
    return made


def pass_by(node: SimpleNamespace, seconds: int) -> None:
    """Let time go by that nobody has set."""
    node.time += seconds
    node.timer += seconds


def is_refused(node: SimpleNamespace) -> bool:
    with suppress(UnavailableError):
        node.clock.now()
        return False
    return node.clock.alarm is not None and node.clock.alarm.code == "ordering.clock"


def test_a_clock_that_nobody_moves_is_gone_by_whatever_is_heard():
    node = orderer()
    node.heard = []
    for seconds in (1, DAY_S, 60):
        pass_by(node, seconds)
        assert node.clock.now() == node.time
    node.time += 60
    assert node.clock.now() == node.time
    assert node.clock.alarm is None


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S, 61, -61])
def test_a_clock_that_was_moved_dates_nothing_until_it_is_back(by_s):
    node = orderer()
    pass_by(node, 100)
    node.time += by_s
    # What was heard before says nothing, not even where it is near.
    node.heard = [BEGAN + 90] * 3
    assert is_refused(node)
    assert dict(node.clock.alarm.fields) == {"expected": BEGAN + 100, "now": BEGAN + 100 + by_s}
    pass_by(node, 3600)
    node.heard = [BEGAN + 3700] * 3
    assert is_refused(node)
    node.time -= by_s
    assert node.clock.now() == BEGAN + 3700
    assert node.clock.alarm is None


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_a_clock_that_was_put_right_counts_once_more_than_those_who_may_lie_go_by_it(by_s):
    node = orderer()
    node.time += by_s
    assert is_refused(node)
    pass_by(node, 10)
    right = node.time
    node.heard = [right, right - by_s, right - by_s]
    # One of four may lie, and go by a wrong clock with us, or by one that is far ahead of all.
    assert is_refused(node)
    node.heard = [right, right + 10 * DAY_S, right - by_s]
    assert is_refused(node)
    node.heard = [right - 60, right + 60, right - by_s]
    assert node.clock.now() == right
    pass_by(node, DAY_S)
    assert node.clock.now() == right + DAY_S


def test_who_is_alone_goes_by_its_own_clock():
    node = orderer(1)
    node.time += DAY_S
    assert node.clock.now() == node.time


def test_where_nobody_sets_the_clock_no_timer_is_needed():
    replica = MemoryReplica(genesis(4), log_signer("org-0"))
    assert AgreedClock(replica, lambda: BEGAN, None, heard=list).now() == BEGAN
