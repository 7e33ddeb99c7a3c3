"""When no block of a time can come any more: by what others ordered and cosigned, not by a node's own clock."""

from __future__ import annotations

import pytest

from medchain.ordering.follower import MAX_CLOCK_DIFFERENCE_S
from tests.consortium import Consortium


@pytest.fixture
def consortium():
    with Consortium(4) as made:
        made.step()
        made.orderer.driver.order([made.anchor("org-1")])
        made.settle()
        yield made


def past(consortium: Consortium, time: int) -> dict[str, bool]:
    return {name: node.driver.cosigner.is_past(time) for name, node in consortium.nodes.items()}


def test_a_final_block_says_that_what_was_before_it_is_past(consortium):
    consortium.now += 600
    time = consortium.now
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    # It is there, and not final.
    assert set(past(consortium, time - 1).values()) == {False}
    for _ in range(3):
        consortium.step(0)
    assert {node.replica.time for node in consortium.nodes.values()} == {time}
    assert set(past(consortium, time - 1).values()) == {True}
    # Another one of the same time may come.
    assert set(past(consortium, time).values()) == {False}


def test_on_a_ledger_at_rest_a_quorum_says_so_and_its_clocks_may_differ(consortium):
    time, height = consortium.now, consortium.orderer.replica.height
    consortium.step(MAX_CLOCK_DIFFERENCE_S)
    consortium.step(0)
    assert set(past(consortium, time).values()) == {False}
    for _ in range(3):
        consortium.step(35)
    assert set(past(consortium, time).values()) == {True}
    assert consortium.orderer.replica.height == height


def test_attack_a_clock_that_goes_ahead_says_nothing(consortium):
    time, node = consortium.now, consortium.nodes["org-1"]
    consortium.cut_off = {"org-1"}
    for _ in range(12):
        consortium.step(35)
    assert past(consortium, time) == {"org-0": True, "org-1": False, "org-2": True, "org-3": True}
    # What the others have ordered meanwhile is not known to who was cut off.
    consortium.orderer.driver.order([consortium.anchor("org-2")])
    consortium.step(35)
    assert node.replica.height < consortium.orderer.replica.height
    assert not node.driver.cosigner.is_past(time)
    consortium.settle()
    assert node.driver.cosigner.is_past(time)
    assert node.replica.height == consortium.orderer.replica.height


def test_fewer_than_a_quorum_say_nothing(consortium):
    time = consortium.now
    consortium.cut_off = {"org-2", "org-3"}
    for _ in range(12):
        consortium.step(35)
    assert set(past(consortium, time).values()) == {False}


def test_before_the_first_block_nothing_is_past():
    with Consortium(4) as made:
        for _ in range(4):
            made.step(35)
        assert set(past(made, made.now - 3_600).values()) == {False}
