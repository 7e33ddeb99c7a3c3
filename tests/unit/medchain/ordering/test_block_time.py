"""How old a block may be: answers of an orderer that was replaced, or restored, keep no one from what others have."""

from __future__ import annotations

import pytest

from tests.consortium import Consortium, is_level

OLD_ORDERER, TAKER, BEHIND = "org-0", "org-2", "org-6"


def anchored(consortium: Consortium) -> None:
    """Have one anchor ordered and made final."""
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    consortium.settle(2)


def left_behind(consortium: Consortium) -> None:
    """Replace the orderer while one member reaches nobody else; the two then meet alone, an hour later."""
    names = set(consortium.nodes)
    consortium.cut_off = {OLD_ORDERER, BEHIND}
    taker = consortium.nodes[TAKER]
    taker.driver.takeover(consortium.hand_over(TAKER, taker, voters=sorted(names)))
    consortium.step()
    taker.driver.order([consortium.anchor("org-1")])
    consortium.step()
    consortium.cut_off = names - {OLD_ORDERER, BEHIND}
    consortium.step(3600)


@pytest.fixture
def consortium():
    with Consortium(7) as made:
        made.step()
        anchored(made)
        yield made


def test_who_was_alone_with_a_replaced_orderer_that_said_there_was_nothing_follows_the_new_one(consortium):
    left_behind(consortium)
    behind = consortium.nodes[BEHIND]
    assert (behind.replica.height, behind.driver.is_caught_up) == (1, True)
    consortium.settle(6)
    assert behind.alarms() == set()
    assert is_level(consortium.nodes)
    assert behind.driver.cosigner.final_size == behind.replica.size
    consortium.check()


def test_it_follows_also_while_as_many_are_away_as_a_quorum_can_miss(consortium):
    left_behind(consortium)
    consortium.cut_off = {OLD_ORDERER, "org-5"}
    for _ in range(12):
        consortium.step(35)
    behind = consortium.nodes[BEHIND]
    assert behind.replica.height == consortium.nodes[TAKER].replica.height == 3
    assert behind.driver.cosigner.final_size == behind.replica.size


def test_who_asked_an_orderer_that_was_restored_from_a_backup_takes_the_blocks_that_it_had_lost(consortium):
    behind, orderer = consortium.nodes[BEHIND], consortium.nodes[OLD_ORDERER]
    consortium.cut_off = {BEHIND}
    orderer.driver.order([consortium.anchor("org-1")])
    consortium.step()
    consortium.cut_off = set(consortium.nodes) - {OLD_ORDERER, BEHIND}
    orderer.restore(1)
    consortium.step(3600)
    assert behind.replica.height == orderer.replica.height == 1
    consortium.settle(6)
    assert behind.alarms() == set()
    assert is_level(consortium.nodes)
    assert behind.replica.height == 2


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_word_of_who_gives_a_block_that_is_too_old_counts_nothing(count):
    with Consortium(count) as consortium:
        consortium.step()
        anchored(consortium)
        consortium.step(3600)
        orderer, member = consortium.nodes["org-0"], consortium.nodes["org-1"]
        block = orderer.replica.fork().propose([consortium.anchor("org-1")], consortium.now - 61).block
        orderer.lies["blocks"] = lambda _source, first: [block] if first <= block.height else []
        consortium.step(0)
        assert (member.alarms(), member.replica.height) == ({"block.time"}, 1)


def test_one_accomplice_of_an_orderer_that_lies_about_the_time_is_too_few(consortium):
    consortium.step(3600)
    orderer = consortium.orderer
    block = orderer.replica.fork().propose([consortium.anchor("org-1")], consortium.now - 61).block
    liars = {"blocks": lambda _source, first: [block] if first <= block.height else []}
    orderer.lies, consortium.nodes["org-3"].lies = liars, liars
    consortium.step(0)
    honest = [node for name, node in consortium.nodes.items() if name not in {orderer.org_id, "org-3"}]
    assert [(node.alarms(), node.replica.height) for node in honest] == [({"block.time"}, 1)] * 5
