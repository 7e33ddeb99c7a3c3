"""A clock in doubt: whose times end the doubt, who is blamed for it, and that no orderer can silence a member with it.

Source: `docs/spec/ordering.md` 4.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from medchain.ordering.block import Block
from medchain.ordering.clock_doubt import ClockDoubt
from medchain.ordering.driver import Alarm
from tests.consortium import Consortium, MemoryReplica, Node, genesis, log_signer

DAY_S = 86_400
MADE = 1_796_083_300
"""When a block was made that comes late."""
LATE_S = 100
BACK = Alarm("ordering.kept_back", 1, {"orderer": "org-0", "time": MADE}, latched=True)
LIAR, OTHERS, AWAY = "org-0", ["org-1", "org-2"], "org-3"


@pytest.fixture
def node():
    """Have one of four, of whom one may lie, with a clock and what it hears."""
    made = SimpleNamespace(now=MADE + LATE_S, heard=[], alarms=[])
    replica = MemoryReplica(genesis(4), log_signer(AWAY))
    made.doubt = ClockDoubt(replica, lambda: made.now, heard=lambda: made.heard, raise_alarm=made.alarms.append)
    return made


def block(time: int) -> Block:
    return Block(1, time, (b"{}",), "")


def test_a_doubt_lasts_while_nobody_else_cosigns_by_the_same_time(node):
    node.doubt.begin(block(MADE), BACK)
    for seconds in (0, 1, 3600):
        node.now += seconds
        node.heard = [node.now - DAY_S] * 3
        assert node.doubt.is_open()
    assert (node.doubt.alarm.code, dict(node.doubt.alarm.fields)) == (
        "ordering.clock",
        {"time": MADE, "now": MADE + LATE_S},
    )
    assert node.alarms == []


def test_one_liar_does_not_end_a_doubt_and_one_more_does(node):
    node.doubt.begin(block(MADE), BACK)
    node.heard = [node.now, node.now - 61, node.now + 61]
    assert node.doubt.is_open()
    node.heard = [node.now, node.now - 60, node.now + 61]
    assert not node.doubt.is_open()
    assert node.doubt.alarm is None


def test_where_the_clock_was_right_the_orderer_has_kept_the_block_back(node):
    node.heard = [node.now, node.now, MADE]
    node.doubt.begin(block(MADE), BACK)
    assert (node.doubt.is_open(), node.alarms) == (False, [BACK])


def test_where_the_clock_was_set_back_nobody_is_blamed(node):
    node.now = MADE + DAY_S
    node.doubt.begin(block(MADE), BACK)
    node.now = MADE + LATE_S
    assert node.doubt.is_open()
    node.now += 1
    node.heard = [node.now, node.now]
    assert (node.doubt.is_open(), node.alarms) == (False, [])


def test_a_block_by_our_time_ends_the_doubt(node):
    node.doubt.begin(block(MADE), None)
    node.doubt.applied(block(node.now - 61))
    assert node.doubt.is_open()
    node.doubt.applied(block(node.now - 60))
    assert (node.doubt.is_open(), node.alarms) == (False, [])


def keeps_back(liar: Node, height: int) -> None:
    """Have an orderer say to one member that there is nothing above a height."""
    liar.lies["round"] = lambda source, _ask: (None, 0) if source == AWAY else None
    liar.lies["blocks"] = lambda source, first: (
        liar.replica.blocks(first, 1 << 20)[: max(0, height + 1 - first)] if source == AWAY else []
    )
    liar.driver.frames = lambda first, *_rest: b"" if first > height else type(liar.driver).frames(liar.driver, first)


def test_an_orderer_that_keeps_each_block_back_from_one_member_does_not_silence_it():
    """Its lines are needed: the orderer itself cosigns nothing."""
    with Consortium(4) as consortium:
        consortium.settle(2)
        liar, away = consortium.nodes[LIAR], consortium.nodes[AWAY]
        for _ in range(3):
            kept_back_once(consortium)
            go_on(consortium, [*OTHERS, AWAY], 4)
            del_lies(liar)
            go_on(consortium, [*OTHERS, AWAY], 6)
            assert away.driver.cosigner.final_size == away.replica.size == liar.replica.size
        assert away.alarms() == {"ordering.kept_back"}
        consortium.check()


def test_a_member_that_hears_no_others_cosigns_again_with_the_next_block_in_time():
    with Consortium(4) as consortium:
        consortium.settle(2)
        liar, away = consortium.nodes[LIAR], consortium.nodes[AWAY]
        kept_back_once(consortium)
        consortium.withheld = {pair for name in OTHERS for pair in ((name, AWAY), (AWAY, name))}
        go_on(consortium, [AWAY], 3)
        assert (away.replica.height, away.alarms()) == (1, {"ordering.clock"})
        assert away.driver.cosigner.vouched.floor == 0
        consortium.now += LATE_S
        del_lies(liar)
        liar.driver.order([consortium.anchor(AWAY)])
        go_on(consortium, [AWAY], 1)
        assert away.driver.cosigner.vouched.floor > 0
        assert away.alarms() == {"ordering.kept_back"}


def kept_back_once(consortium: Consortium) -> None:
    """Have an orderer give the others a block, and say to one member that there is none."""
    liar, away = consortium.nodes[LIAR], consortium.nodes[AWAY]
    del_lies(liar)
    consortium.cut_off = {AWAY}
    liar.driver.order([consortium.anchor(AWAY)])
    go_on(consortium, OTHERS, 3)
    consortium.cut_off = set(OTHERS)
    keeps_back(liar, away.replica.height)
    consortium.now += LATE_S
    away.step()
    consortium.cut_off = set()


def go_on(consortium: Consortium, names: list[str], times: int) -> None:
    for _ in range(times):
        consortium.now += 15
        for name in names:
            consortium.nodes[name].step()


def del_lies(node: Node) -> None:
    node.lies.clear()
    node.driver.__dict__.pop("frames", None)
