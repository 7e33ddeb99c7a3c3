"""One member against all: what a member that does not order cannot stop, whatever it signs with its own keys."""

from __future__ import annotations

import pytest

from medchain.errors import VerificationError
from medchain.ordering.block import Block, accepted_id
from medchain.ordering.notary import log_pen
from tests.consortium import Consortium, log_signer


@pytest.fixture
def consortium():
    with Consortium() as made:
        made.step()
        yield made


def ordered(consortium: Consortium) -> None:
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    consortium.step()


def own_note(consortium: Consortium, size: int, root: bytes) -> str:
    """Sign a note as org-4, which does not order."""
    return log_pen(log_signer("org-4"), consortium.genesis.origin, size, root)


def test_a_member_that_does_not_order_cannot_feign_a_split_view(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    node.driver.cosign(own_note(consortium, node.replica.size, bytes(32)))
    node.driver.cosign(own_note(consortium, node.replica.size + 1_000, bytes(32)))
    assert node.alarms() == set()
    before = node.disk.vouched.floor
    ordered(consortium)
    assert node.disk.vouched.floor > before


def test_a_member_that_does_not_order_cannot_push_out_the_notes_of_the_orderer(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    for ahead in range(1, 70):
        note = own_note(consortium, node.replica.size + 1_000 * ahead, bytes(32))
        for other in consortium.nodes.values():
            other.driver.cosign(note)
    before = node.driver.cosigner.final_size
    ordered(consortium)
    ordered(consortium)
    assert node.driver.cosigner.final_size > before


def test_a_final_note_bears_the_line_of_the_orderer_even_if_another_member_was_first(consortium):
    ordered(consortium)
    node, other = consortium.nodes["org-1"], consortium.nodes["org-2"]
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    other.driver.follow_once()
    size, root = other.replica.size, other.replica.root
    assert node.replica.size < size
    node.driver.cosign(own_note(consortium, size, root))
    consortium.step()
    consortium.step()
    expected = log_pen(log_signer("org-0"), consortium.genesis.origin, size, root)
    note, final = node.disk.notes[size]
    assert final
    assert expected.splitlines()[-1] in note.splitlines()


def test_a_takeover_of_the_past_cannot_be_shown_again_to_make_members_stand_down(consortium):
    there = consortium.hand_over("org-2", consortium.orderer)
    consortium.orderer.driver.order([there])
    consortium.settle()
    back = consortium.hand_over("org-0", consortium.orderer)
    consortium.orderer.driver.order([back])
    consortium.settle()
    node = consortium.nodes["org-1"]
    assert node.replica.members.protocol.orderer == "org-0"
    with pytest.raises(VerificationError, match=r"^takeover\.transaction"):
        node.driver.stand_down(there)
    assert node.disk.vouched.stood_down == ""


def test_a_takeover_of_the_past_cannot_make_the_orderer_drop_its_blocks(consortium):
    there = consortium.hand_over("org-2", consortium.orderer)
    consortium.orderer.driver.order([there])
    consortium.settle()
    consortium.orderer.driver.order([consortium.hand_over("org-0", consortium.orderer)])
    consortium.settle()
    orderer = consortium.orderer
    consortium.cut_off = {"org-0"}
    orderer.driver.order([consortium.anchor("org-1")])
    height, size = orderer.replica.height, orderer.replica.size
    note = log_pen(log_signer("org-2"), consortium.genesis.origin, size, bytes(32))

    class Liar:
        """Answers a block that holds nothing but the takeover of the past."""

        def blocks(self, first, _wait_s):
            return [Block(first, consortium.now, (there,), note)] if first == height else []

    assert orderer.driver._look_at(Liar()) is False  # noqa: SLF001  # what a look round does with each peer
    assert (orderer.replica.height, orderer.replica.size) == (height, size)


class Answers:
    """A peer that gives one block."""

    def __init__(self, block: Block) -> None:
        """Give it."""
        self._block = block

    def blocks(self, first, _wait_s):
        return [self._block] if first == self._block.height else []


def agreed_and_not_done(consortium):
    """Have a block that is not final at one member, while a takeover is agreed upon."""
    ordered(consortium)
    consortium.settle(2)
    node = consortium.nodes["org-1"]
    agreed = consortium.hand_over("org-2", node, voters=list(consortium.nodes))
    consortium.cut_off = {"org-2", "org-3", "org-4"}
    leaf = consortium.anchor("org-3")
    consortium.orderer.driver.order([leaf])
    consortium.step()
    assert node.replica.height == node.replica.height_of(node.driver.cosigner.final_size) + 1
    return node, agreed, leaf


@pytest.mark.parametrize("liar", ["org-0", "org-4", ""])
def test_a_member_that_was_shown_a_takeover_cannot_make_others_drop_blocks_with_it(consortium, liar):
    node, agreed, _ = agreed_and_not_done(consortium)
    height, size = node.replica.height, node.replica.size
    note = log_pen(log_signer(liar), consortium.genesis.origin, size, bytes(32)) if liar else "no note"
    lie = Answers(Block(height, consortium.now, (agreed,), note))
    assert node.driver._look_at(lie) is False  # noqa: SLF001  # what a look round does with each peer
    assert (node.replica.height, node.replica.size) == (height, size)


def test_what_is_dropped_for_a_block_that_does_not_hold_is_ordered_again(consortium):
    node, agreed, leaf = agreed_and_not_done(consortium)
    note = log_pen(log_signer("org-2"), consortium.genesis.origin, node.replica.size, bytes(32))
    lie = Answers(Block(node.replica.height, consortium.now, (agreed,), note))
    assert node.driver._look_at(lie) is False  # noqa: SLF001  # what a look round does with each peer
    known = accepted_id(leaf)
    assert node.replica.transaction_height(known) is None
    assert len(node.driver.outbox) == 1
    consortium.cut_off = set()
    consortium.settle(4)
    assert node.replica.transaction_height(known) is not None
    assert len(node.driver.outbox) == 0


def test_a_member_cannot_hold_up_a_takeover_with_a_note_of_its_own_making(consortium):
    ordered(consortium)
    consortium.settle(2)
    liar, taker = consortium.nodes["org-4"], consortium.nodes["org-2"]
    lie = own_note(consortium, taker.replica.size, bytes(32))
    liar.driver.stand_down = lambda _leaf: lie
    consortium.orderer.is_up = False
    block = taker.driver.takeover(consortium.hand_over("org-2", taker, voters=list(consortium.nodes)))
    assert taker.replica.height == block.height == 2
    assert taker.replica.members.protocol.orderer == "org-2"
