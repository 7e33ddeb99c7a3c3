"""An orderer that is started with a wrong clock, or whose clock is moved: it dates nothing before others agree.

Source: `docs/spec/ordering.md` 4.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from medchain.errors import UnavailableError
from medchain.ordering.agreed_clock import AgreedClock
from tests.consortium import MemoryReplica, genesis, log_signer

DAY_S = 86_400
BEGAN = 1_796_083_300
TIMER = 500.0


class Node:
    """The clock of one of some members, a timer beside it, and what the others' answers have told of theirs."""

    def __init__(self, members: int = 4, *, by_s: int = 0) -> None:
        """Start it with a clock that is so far from the right time, which nobody has told yet."""
        self.time, self.seconds, self.heard = BEGAN + by_s, TIMER, dict[str, float]()
        self.replica = SimpleNamespace(members=MemoryReplica(genesis(members), log_signer("org-0")).members)
        self.replica.height, self.replica.time = 7, BEGAN - 5
        self.clock = AgreedClock("org-0", self.replica, lambda: self.time, self)

    def timer(self) -> float:
        return self.seconds

    def ahead(self) -> dict[str, float]:
        return self.heard

    def pass_by(self, seconds: int) -> None:
        """Let time go by that nobody has set."""
        self.time += seconds
        self.seconds += seconds

    def answer(self, **by_s: int) -> None:
        """Have others answer, each with a clock that is so far from the right time."""
        self.heard |= {f"org-{name[1:]}": BEGAN - TIMER + wrong for name, wrong in by_s.items()}

    def refused(self) -> str:
        """Tell why nothing is dated, empty if it is."""
        try:
            assert self.clock.now() == self.time
        except UnavailableError as error:
            return error.code
        return ""

    def alarm(self) -> tuple[str, dict[str, object]] | None:
        found = self.clock.alarm
        return None if found is None else (found.code, dict(found.fields))


def agreed(members: int = 4) -> Node:
    """Start a node whose clock the others' agree with."""
    node = Node(members)
    node.answer(_1=0, _2=0, _3=0)
    assert node.refused() == ""
    return node


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S, 61, -61])
def test_attack_a_node_that_is_started_with_a_wrong_clock_dates_nothing_and_says_so(by_s):
    node = Node(by_s=by_s)
    assert node.refused() == "ordering.clock"
    # It may be that the others have not answered yet.
    assert node.alarm() is None
    node.answer(_1=0, _2=0, _3=0)
    node.pass_by(60)
    assert node.refused() == "ordering.clock"
    assert node.alarm() == ("ordering.clock", {"expected": BEGAN + 60, "now": BEGAN + 60 + by_s})
    assert not node.clock.is_right
    node.time -= by_s
    assert node.refused() == ""
    assert node.alarm() is None


def test_a_right_clock_dates_at_once_when_more_than_those_who_may_lie_have_answered():
    node = Node()
    node.answer(_1=0)
    assert node.refused() == "ordering.clock"
    node.answer(_2=60)
    assert node.refused() == ""
    # What is agreed on stays so without further answers.
    node.heard = {}
    node.pass_by(DAY_S)
    assert node.refused() == ""


def test_who_reaches_nobody_dates_nothing_however_long_and_says_so_after_a_minute():
    """Nothing could be final without more than f others, so nobody waits for that."""
    node = Node()
    node.pass_by(59)
    assert node.alarm() is None
    node.pass_by(DAY_S)
    assert node.refused() == "ordering.clock"
    assert node.alarm() == ("ordering.clock", {"now": node.time})


def test_one_that_lies_neither_keeps_a_right_clock_from_dating_nor_has_a_wrong_one_date():
    node = Node()
    node.answer(_1=DAY_S, _2=0, _3=0)
    assert node.refused() == ""
    node = Node(by_s=DAY_S)
    node.answer(_1=DAY_S, _2=0, _3=0)
    assert node.refused() == "ordering.clock"


def test_what_no_member_says_of_the_time_counts_nothing_nor_what_one_says_of_itself():
    node = Node(by_s=DAY_S)
    node.answer(_0=DAY_S, _1=DAY_S, _8=DAY_S, _9=DAY_S)
    assert node.refused() == "ordering.clock"


def test_a_clock_that_nobody_moves_is_gone_by():
    node = agreed()
    for seconds in (1, DAY_S, 60):
        node.pass_by(seconds)
        assert node.refused() == ""
    node.time += 60
    assert node.refused() == ""
    assert node.alarm() is None


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S, 61, -61])
def test_a_clock_that_was_moved_dates_nothing_until_it_is_back(by_s):
    node = agreed()
    node.replica.time -= DAY_S
    node.pass_by(100)
    node.time += by_s
    assert node.refused() == "ordering.clock"
    assert node.alarm() == ("ordering.clock", {"expected": BEGAN + 100, "now": BEGAN + 100 + by_s})
    node.pass_by(3600)
    assert node.refused() == "ordering.clock"
    node.time -= by_s
    assert node.refused() == ""
    assert node.alarm() is None


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_a_clock_that_was_put_right_counts_once_more_than_those_who_may_lie_go_by_it(by_s):
    node = agreed()
    node.replica.time -= DAY_S
    node.time += by_s
    node.answer(_1=by_s)
    assert node.refused() == "ordering.clock"
    node.answer(_2=10 * DAY_S)
    assert node.refused() == "ordering.clock"
    node.answer(_3=by_s - 60)
    assert node.refused() == ""
    node.pass_by(DAY_S)
    assert node.refused() == ""


def test_where_all_clocks_were_set_back_it_dates_again_as_soon_as_the_others_say_so():
    """They had been a day fast for a while, in which nothing was ordered."""
    node = agreed()
    node.replica.time -= 2 * DAY_S
    node.time -= DAY_S
    assert node.refused() == "ordering.clock"
    node.answer(_1=-DAY_S, _2=-DAY_S)
    assert node.refused() == ""


def test_what_would_be_dated_later_than_the_clocks_say_is_not_made_until_that_time():
    node = agreed()
    node.replica.time = BEGAN + 3600
    assert node.refused() == "ordering.ahead"
    assert node.alarm() == ("ordering.ahead", {"time": BEGAN + 3600})
    assert node.clock.is_right
    node.pass_by(3539)
    assert node.refused() == "ordering.ahead"
    node.pass_by(1)
    assert node.refused() == ""
    assert node.alarm() is None


def test_a_slow_clock_is_not_taken_for_a_ledger_that_is_ahead():
    node = Node(by_s=-DAY_S)
    node.answer(_1=0, _2=0, _3=0)
    node.pass_by(60)
    assert node.refused() == "ordering.clock"
    assert node.alarm() == ("ordering.clock", {"expected": BEGAN + 60, "now": BEGAN + 60 - DAY_S})


def test_who_is_alone_goes_by_its_own_clock():
    node = Node(1)
    assert node.refused() == ""
    node.time += DAY_S
    assert node.refused() == ""


def test_where_nobody_sets_the_clock_it_is_compared_with_none():
    replica = MemoryReplica(genesis(4), log_signer("org-0"))
    assert AgreedClock("org-0", replica, lambda: BEGAN, None).now() == BEGAN
