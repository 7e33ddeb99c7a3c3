"""A quorum meets at one size though blocks keep coming, and a node that starts soon knows whether it is level."""

from __future__ import annotations

import pytest

from medchain.ordering.cosign import PATIENCE_S
from medchain.ordering.follower import Source
from medchain.ordering.round import Round
from tests.consortium import Consortium


@pytest.fixture
def consortium():
    with Consortium() as made:
        made.step()
        yield made


def test_while_blocks_keep_coming_each_node_at_another_time_some_size_becomes_final(consortium):
    nodes = list(consortium.nodes.values())
    # One block between any two cosignatures: if each cosigned the newest that it has, no two would meet.
    for turn in range(4 * len(nodes)):
        consortium.orderer.driver.order([consortium.anchor("org-1")])
        node = nodes[turn % len(nodes)]
        for follower in nodes:
            follower.driver.follow_once()
        node.driver.cosign_once()
    sizes = [node.driver.cosigner.final_size for node in nodes]
    assert min(sizes) > 0


def test_who_waits_for_others_in_vain_goes_on_to_the_newest(consortium):
    node = consortium.nodes["org-1"]
    for _ in range(2):
        consortium.orderer.driver.order([consortium.anchor("org-1")])
        node.driver.follow_once()
        node.driver.cosigner.vouch(lambda: True)
    waited_at = node.disk.vouched.size
    assert waited_at < node.replica.size
    consortium.now += PATIENCE_S
    node.driver.cosigner.vouch(lambda: True)
    assert node.disk.vouched.size == node.replica.size


def test_a_follower_that_does_not_know_whether_it_is_level_asks_without_waiting(consortium, monkeypatch):
    follower = consortium.nodes["org-1"].driver.follower
    waits = []

    class Listening:
        def round(self, ask):
            waits.append(ask.wait_s)
            return Round(consortium.orderer.driver.blocks(ask.first, 0))

    monkeypatch.setattr(follower, "_source", lambda _failures: Source("org-0", Listening(), is_orderer=True))
    follower.forget_level()
    follower.step(7)
    follower.step(7)
    assert waits == [0, 7]
