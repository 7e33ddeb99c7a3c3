"""The consortium as a whole: random faults end in the same roots everywhere, and each lie of an orderer is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from medchain.errors import UnavailableError, VerificationError
from medchain.ledger.genesis import policy_digest, trusted_policy_text
from medchain.ledger.machine import state_leaf
from medchain.ledger.members import Members
from medchain.ledger.object import map_key, public_owner
from medchain.ordering.block import Block, accepted_id
from medchain.ordering.embedded import MAX_ALARMS
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.ordering.outbox import Ordered
from medchain.ordering.receipt import Refused, sign_receipt, verify_receipt
from medchain.tlog.checkpoint import parse_checkpoint, sign_checkpoint
from medchain.tlog.note import parse_note
from tests.audit import map_root, merkle_root
from tests.consortium import (
    Consortium,
    Dice,
    Faults,
    KilledError,
    MemoryReplica,
    Node,
    cosign_keys,
    is_level,
    log_signer,
)
from tests.tries import tries
from tests.unit.medchain.ledger.world import key

NAMES = [f"org-{number}" for number in range(5)]
FOLLOWERS = NAMES[1:]


@pytest.fixture
def consortium():
    with Consortium() as made:
        made.step()
        yield made


def ordered(consortium: Consortium, org_id: str) -> bytes:
    """Have one anchor ordered by the true orderer; every node applies it."""
    leaf = consortium.anchor(org_id)
    consortium.orderer.driver.order([leaf])
    consortium.step()
    return leaf


def serve(orderer: Node, *blocks: Block) -> None:
    """Make the orderer serve these blocks and no others."""
    orderer.lies["blocks"] = lambda _source, first: [block for block in blocks if block.height >= first]


def alarms(consortium: Consortium, names=FOLLOWERS) -> list[set[str]]:
    return [consortium.nodes[name].alarms() for name in names]


def forged(consortium: Consortium, leaf: bytes, *closing: bytes) -> tuple[MemoryReplica, Block]:
    """Make a block with any closing leaves, signed by the true log key."""
    liar = consortium.orderer.replica.fork()
    liar.append([leaf], consortium.now, *closing, None)
    return liar, liar.chain[-1][0]


def closing_leaf(consortium: Consortium, root: bytes, members: Members | None = None) -> bytes:
    """Make the state leaf of the next block over a map root, which names the policy of some members."""
    replica = consortium.orderer.replica
    named = policy_digest(replica.members if members is None else members, consortium.genesis.origin)
    return state_leaf(replica.height + 1, consortium.now, root, named)


# --- an orderer that lies, one test a lie ---------------------------------------------------------------------------


def test_an_invalid_transaction_in_a_block_is_refused_by_every_follower(consortium):
    leaf = ordered(consortium, "org-1")
    height = consortium.orderer.replica.height
    closing = closing_leaf(consortium, consortium.orderer.replica.map_root.hash)
    serve(consortium.orderer, forged(consortium, leaf, closing)[1])
    consortium.step()
    assert alarms(consortium) == [{"block.transaction"}] * 4
    assert [consortium.nodes[name].replica.height for name in FOLLOWERS] == [height] * 4


def test_a_block_over_a_wrong_map_root_is_refused(consortium):
    ordered(consortium, "org-1")
    closing = closing_leaf(consortium, bytes(32))
    serve(consortium.orderer, forged(consortium, consortium.anchor("org-2"), closing)[1])
    consortium.step()
    assert alarms(consortium) == [{"block.root"}] * 4


def test_an_orderer_that_names_another_policy_at_a_blocks_end_is_refused(consortium):
    # A quorum that cosigned it would have said that other members, or fewer, are enough.
    ordered(consortium, "org-1")
    honest, leaf = consortium.orderer.replica, consortium.anchor("org-2")
    true = honest.fork()
    block = true.propose([leaf], consortium.now).block
    rules = replace(honest.members.protocol, quorum=honest.members.protocol.quorum + 1)
    same, other = (
        forged(consortium, leaf, closing_leaf(consortium, true.map_root.hash, members))[1]
        for members in (honest.members, honest.members.with_protocol(rules))
    )
    # The policy's name is all that sets them apart.
    assert same.checkpoint.splitlines()[:3] == block.checkpoint.splitlines()[:3]
    serve(consortium.orderer, other)
    consortium.step()
    assert alarms(consortium) == [{"block.root"}] * 4


def test_a_block_without_its_state_leaf_is_refused(consortium):
    ordered(consortium, "org-1")
    serve(consortium.orderer, forged(consortium, consortium.anchor("org-2"))[1])
    consortium.step()
    assert alarms(consortium) == [{"block.size"}] * 4


@pytest.mark.parametrize("seconds", [3600, -61])
def test_an_orderer_that_lies_about_the_time_is_refused(consortium, seconds):
    ordered(consortium, "org-1")
    consortium.step(3600)
    liar = consortium.orderer.replica.fork()
    serve(consortium.orderer, liar.propose([consortium.anchor("org-2")], consortium.now + seconds).block)
    consortium.step(0)
    assert alarms(consortium) == [{"block.time"}] * 4


def test_an_orderer_that_rewrites_history_is_refused(consortium):
    for name in FOLLOWERS:
        ordered(consortium, name)
    liar = consortium.orderer.replica.fork()
    liar.rewind(3)
    liar.propose([consortium.anchor("org-2")], consortium.now)
    serve(consortium.orderer, liar.propose([consortium.anchor("org-3")], consortium.now).block)
    consortium.step()
    assert alarms(consortium) == [{"block.root"}] * 4


def test_a_fork_is_seen_by_both_sides_and_no_side_becomes_final(consortium):
    ordered(consortium, "org-1")
    consortium.settle(2)
    final = [node.driver.cosigner.final_size for node in consortium.nodes.values()]
    blocks = {}
    for name in FOLLOWERS:
        side = "org-1" if name in FOLLOWERS[:2] else "org-3"
        if side not in blocks:
            blocks[side] = consortium.orderer.replica.fork().propose([consortium.anchor(side)], consortium.now).block
        blocks[name] = blocks[side]
    consortium.orderer.lies["blocks"] = lambda source, first: [blocks[source]] if first <= blocks[source].height else []
    for _ in range(3):
        consortium.step()
    assert alarms(consortium) == [{"checkpoint.split_view"}] * 4
    assert [consortium.nodes[name].replica.height for name in FOLLOWERS] == [2] * 4
    assert [node.driver.cosigner.final_size for node in consortium.nodes.values()] == final
    assert consortium.nodes["org-1"].driver.cosigner.is_stopped


def promise(consortium: Consortium, submitted: list[bytes]) -> None:
    """Make the orderer promise the next height, and order nothing."""
    orderer = consortium.orderer

    def lie(leaves):
        submitted.extend(leaves)
        height, now = orderer.replica.height + 1, consortium.now
        return [sign_receipt(log_signer("org-0"), orderer.replica.ledger, [_id(leaf)], height, now) for leaf in leaves]

    orderer.lies["submit"] = lie


def _id(leaf: bytes) -> bytes:
    return accepted_id(leaf)


def test_an_orderer_that_withholds_what_it_gave_a_receipt_for_is_caught(consortium):
    victim, submitted = consortium.nodes["org-1"], []
    promise(consortium, submitted)
    leaf = consortium.anchor("org-1")
    victim.driver.outbox.add(leaf)
    consortium.step()
    assert submitted == [leaf]
    assert victim.alarms() == set()
    ordered(consortium, "org-2")
    assert victim.alarms() == {"ordering.withheld"}
    [receipt] = victim.disk.receipts
    public = consortium.genesis.members.organisations["org-0"].key("log").public
    verify_receipt(receipt, consortium.genesis.ledger, public, _id(leaf))


def test_an_orderer_that_breaks_many_promises_cannot_hide_a_fork_behind_their_alarms(consortium):
    """Each is an alarm of its own, and only so many are kept."""
    victim = consortium.nodes["org-1"]
    promise(consortium, [])
    for _ in range(MAX_ALARMS + 1):
        victim.driver.outbox.add(consortium.anchor("org-1"))
    consortium.step()
    ordered(consortium, "org-2")
    assert [alarm.code for alarm in victim.driver.health().alarms] == ["ordering.withheld"] * MAX_ALARMS
    for root in (bytes(32), b"\1" * 32):
        victim.driver.cosign(log_pen(log_signer("org-0"), consortium.genesis.origin, victim.replica.size + 9, root))
    assert victim.alarms() == {"ordering.withheld", "checkpoint.split_view"}


def test_an_orderer_that_reorders_against_its_receipts_is_caught(consortium):
    victim, submitted = consortium.nodes["org-1"], []
    promise(consortium, submitted)
    leaf = consortium.anchor("org-1")
    victim.driver.outbox.add(leaf)
    consortium.step()
    ordered(consortium, "org-2")
    consortium.orderer.driver.order(submitted)
    consortium.step()
    assert victim.alarms() == {"ordering.withheld", "ordering.reordered"}
    assert victim.driver.outbox.wait(_id(leaf), 0) == Ordered(_id(leaf), 2)


def test_a_receipt_under_another_key_is_no_promise(consortium):
    victim = consortium.nodes["org-1"]
    ledger = consortium.genesis.ledger
    consortium.orderer.lies["submit"] = lambda leaves: [
        sign_receipt(log_signer("org-4"), ledger, [_id(leaf)], 1, consortium.now) for leaf in leaves
    ]
    victim.driver.outbox.add(consortium.anchor("org-1"))
    consortium.step()
    assert victim.alarms() == {"receipt.signature"}
    assert victim.disk.receipts == []


def test_a_refused_block_is_not_skipped_and_the_right_one_ends_the_alarm(consortium):
    ordered(consortium, "org-1")
    bad = forged(consortium, consortium.anchor("org-2"))[1]
    good = consortium.orderer.driver.order([consortium.anchor("org-3")])[0].height_at_most
    serve(consortium.orderer, bad, *consortium.orderer.replica.blocks(good + 1, 1))
    consortium.step()
    assert consortium.nodes["org-1"].replica.height == good - 1
    consortium.orderer.lies.clear()
    consortium.settle(3)
    assert alarms(consortium) == [set()] * 4
    assert is_level(consortium.nodes)


# --- roles ----------------------------------------------------------------------------------------------------------


def test_a_planned_hand_over_moves_the_role_at_its_block(consortium):
    ordered(consortium, "org-1")
    leaf = consortium.hand_over("org-3", consortium.orderer, creator="org-1")
    consortium.nodes["org-1"].driver.outbox.add(leaf)
    consortium.settle(3)
    assert consortium.orderer.org_id == "org-3"
    with pytest.raises(UnavailableError, match=r"ordering\.not_orderer"):
        consortium.nodes["org-0"].driver.order([consortium.anchor("org-0")])
    consortium.nodes["org-0"].driver.outbox.add(consortium.anchor("org-0"))
    consortium.settle(3)
    assert consortium.nodes["org-0"].replica.height == 3
    assert is_level(consortium.nodes)
    assert all(node.alarms() == set() for node in consortium.nodes.values())
    consortium.check()


def test_after_the_orderer_is_lost_another_takes_over_and_no_final_block_goes(consortium):
    for name in FOLLOWERS:
        ordered(consortium, name)
    consortium.settle(2)
    final = consortium.nodes["org-2"].driver.cosigner.final_size
    # Two more blocks reach one follower only, then the orderer is gone.
    consortium.cut_off = {"org-2", "org-3", "org-4"}
    lost = [consortium.anchor("org-1"), consortium.anchor("org-1")]
    for leaf in lost:
        consortium.nodes["org-1"].driver.outbox.add(leaf)
        consortium.step()
        consortium.step()
    assert consortium.nodes["org-1"].replica.height == 6
    consortium.nodes["org-0"].is_up = False
    consortium.nodes["org-1"].is_up = False
    consortium.cut_off = set()
    taker = consortium.nodes["org-2"]
    with pytest.raises(VerificationError, match=r"takeover\.(quorum|policy)"):
        taker.driver.takeover(consortium.hand_over("org-2", taker))
    consortium.nodes["org-1"].is_up = True
    agreed = consortium.hand_over("org-2", taker, voters=["org-1", "org-3", "org-4", "org-2", "org-0"])
    block = taker.driver.takeover(agreed)
    assert block.transactions == (agreed,)
    assert taker.replica.root_at(final) is not None
    consortium.settle(6)
    assert all(taker.replica.transaction_height(_id(leaf)) is not None for leaf in lost)
    assert is_level(consortium.nodes), {n: (v.replica.height, v.alarms()) for n, v in consortium.nodes.items()}
    assert taker.replica.members.protocol.orderer == "org-2"
    assert taker.driver.cosigner.final_size == taker.replica.size
    consortium.check()


def test_who_was_away_during_a_takeover_drops_the_blocks_that_never_were_final(consortium):
    ordered(consortium, "org-1")
    consortium.settle(2)
    consortium.cut_off = {"org-1", "org-2", "org-3", "org-4"}
    consortium.orderer.driver.order([consortium.anchor("org-0")])
    old = consortium.nodes["org-0"]
    assert old.replica.height == 2
    old.is_up = False
    consortium.cut_off = set()
    taker = consortium.nodes["org-4"]
    taker.driver.takeover(consortium.hand_over("org-4", taker, voters=NAMES))
    consortium.step()
    consortium.settle(4)
    assert old.replica.members.protocol.orderer == "org-4"
    assert is_level(consortium.nodes)
    consortium.check()


def test_an_orderer_that_was_replaced_while_cut_off_goes_on_alone_and_nothing_of_it_becomes_final(consortium):
    ordered(consortium, "org-1")
    consortium.settle(2)
    old, taker = consortium.nodes["org-0"], consortium.nodes["org-4"]
    consortium.cut_off = {"org-0"}
    taker.driver.takeover(consortium.hand_over("org-4", taker, voters=NAMES))
    consortium.step()
    consortium.step()
    leaf = consortium.anchor("org-0")
    known = old.driver.outbox.add(leaf)
    consortium.step()
    # Two blocks of one height: one is final, the other is only its maker's.
    assert (old.replica.height, old.replica.transaction_height(known)) == (2, 2)
    assert taker.driver.cosigner.final_size == taker.replica.size > old.driver.cosigner.final_size
    consortium.check()
    consortium.settle(6)
    assert is_level(consortium.nodes)
    assert old.replica.transaction_height(known) == 3
    consortium.check()


def test_a_takeover_after_every_node_was_restarted_keeps_what_was_final(consortium):
    leaf = ordered(consortium, "org-1")
    consortium.settle(2)
    for node in consortium.nodes.values():
        node.restart()
    consortium.nodes["org-0"].is_up = False
    taker = consortium.nodes["org-2"]
    taker.driver.takeover(consortium.hand_over("org-2", taker, voters=NAMES))
    assert taker.replica.transaction_height(_id(leaf)) == 1
    assert taker.replica.height == 2
    consortium.settle(4)
    consortium.check()


def test_a_receipt_of_an_orderer_that_was_lost_accuses_nobody_and_its_transaction_is_ordered_by_the_new_one(consortium):
    ordered(consortium, "org-1")
    consortium.settle(2)
    node, taker = consortium.nodes["org-3"], consortium.nodes["org-2"]
    leaf = consortium.anchor("org-3")
    known = node.driver.outbox.add(leaf)
    node.driver.outbox.step()
    assert node.driver.promises.receipt(known).height_at_most == consortium.orderer.replica.height == 2
    consortium.nodes["org-0"].is_up = False
    taker.driver.takeover(consortium.hand_over("org-2", taker, voters=NAMES))
    # Nothing has to be dropped here: the takeover's block comes like any other.
    assert node.replica.height == 1
    consortium.settle(6)
    assert node.alarms() == set()
    assert node.replica.transaction_height(known) is not None
    consortium.check()


def test_an_answer_of_an_orderer_that_is_replaced_meanwhile_binds_nobody(consortium, monkeypatch):
    ordered(consortium, "org-1")
    consortium.settle(2)
    node, taker = consortium.nodes["org-3"], consortium.nodes["org-2"]
    known = node.driver.outbox.add(consortium.anchor("org-3"))
    submit = node.driver.outbox._submit  # noqa: SLF001  # the way to the orderer

    def slowly(leaves):
        outcomes = submit(leaves)
        consortium.nodes["org-0"].is_up = False
        node.driver.follower.apply([taker.driver.takeover(consortium.hand_over("org-2", taker, voters=NAMES))])
        return outcomes

    with monkeypatch.context() as patch:
        patch.setattr(node.driver.outbox, "_submit", slowly)
        node.driver.outbox.step()
    assert node.alarms() == set()
    consortium.settle(6)
    assert node.alarms() == set()
    assert node.replica.transaction_height(known) is not None


def killed(*_args: object, **_named: object) -> None:
    raise KilledError


@pytest.mark.parametrize("is_restarted", [True, False])
def test_who_takes_over_and_ends_before_it_has_gone_on_goes_on_later(consortium, monkeypatch, is_restarted):
    ordered(consortium, "org-1")
    consortium.settle(2)
    consortium.nodes["org-0"].is_up = False
    taker = consortium.nodes["org-2"]
    with monkeypatch.context() as patch:
        patch.setattr(taker.driver.cosigner, "resume", killed)
        with pytest.raises(KilledError):
            taker.driver.takeover(consortium.hand_over("org-2", taker, voters=NAMES))
    if is_restarted:
        taker.restart()
    assert (taker.replica.height, taker.disk.vouched.stood_down) == (2, "org-2")
    consortium.settle(6)
    assert (taker.disk.vouched.stood_down, taker.disk.vouched.replaced) == ("", "org-0")
    taker.driver.order([consortium.anchor("org-1")])
    consortium.settle(4)
    assert taker.driver.cosigner.final_size == taker.replica.size
    consortium.check()


def test_a_follower_that_ends_before_it_has_gone_on_after_a_takeover_goes_on_later(consortium, monkeypatch):
    ordered(consortium, "org-1")
    consortium.settle(2)
    consortium.nodes["org-0"].is_up = False
    taker, node = consortium.nodes["org-2"], consortium.nodes["org-3"]
    block = taker.driver.takeover(consortium.hand_over("org-2", taker, voters=NAMES))
    monkeypatch.setattr(node.driver.cosigner, "resume", killed)
    with pytest.raises(KilledError):
        node.driver.follower.apply([block])
    node.restart()
    assert (node.replica.height, node.disk.vouched.stood_down) == (2, "org-2")
    # Four of five are a quorum, so that its lines are missed until it goes on.
    consortium.settle(6)
    assert (node.disk.vouched.stood_down, node.disk.vouched.replaced) == ("", "org-0")
    assert node.driver.cosigner.final_size == taker.replica.size == node.replica.size
    consortium.check()


def test_who_stood_down_cosigns_nothing_for_the_lost_orderer_also_after_a_restart(consortium):
    ordered(consortium, "org-1")
    node = consortium.nodes["org-3"]
    node.driver.stand_down(consortium.hand_over("org-4", node, voters=NAMES))
    node.restart()
    before = node.disk.vouched
    consortium.orderer.driver.order([consortium.anchor("org-0")])
    consortium.step(60)
    assert node.driver.cosigner.is_stopped
    assert (node.disk.vouched.floor, node.disk.vouched.size) == (before.floor, before.size)


def test_an_orderer_that_stood_down_orders_nothing_that_was_in_its_queue_either(consortium):
    ordered(consortium, "org-1")
    orderer = consortium.orderer
    leaf, height = consortium.anchor("org-2"), orderer.replica.height
    orderer.driver.stand_down(consortium.hand_over("org-4", orderer, voters=NAMES))
    # What it had let in before comes to its thread now.
    with pytest.raises(UnavailableError, match=r"ordering\.not_orderer"):
        orderer.driver.orderer.submit([leaf])
    assert orderer.replica.height == height


def test_a_stranger_cannot_make_a_member_stand_down(consortium):
    node = consortium.nodes["org-3"]
    with pytest.raises(VerificationError, match=r"takeover\.policy"):
        node.driver.stand_down(consortium.hand_over("org-4", node, voters=["org-1"]))
    with pytest.raises(VerificationError, match=r"takeover\.transaction"):
        node.driver.stand_down(consortium.anchor("org-1"))
    assert not node.driver.cosigner.is_stopped


def test_an_orderer_restored_from_a_backup_orders_nothing_before_it_has_caught_up(consortium):
    for name in FOLLOWERS:
        ordered(consortium, name)
    orderer = consortium.nodes["org-0"]
    consortium.cut_off = {"org-0"}
    orderer.restore(2)
    consortium.step()
    with pytest.raises(UnavailableError, match=r"ordering\.not_ready"):
        orderer.driver.order([consortium.anchor("org-0")])
    assert orderer.disk.vouched.floor == 0
    consortium.settle(2)
    assert orderer.replica.height == 4
    assert isinstance(orderer.driver.order([consortium.anchor("org-0")])[0].height_at_most, int)
    consortium.settle(2)
    assert is_level(consortium.nodes)
    consortium.check()


def test_a_node_restored_from_a_backup_cosigns_nothing_before_it_has_caught_up(consortium):
    for name in FOLLOWERS:
        ordered(consortium, name)
    node = consortium.nodes["org-2"]
    consortium.cut_off = {"org-2"}
    node.restore(1)
    consortium.step(60)
    assert node.disk.vouched.floor == 0
    consortium.settle(3)
    assert node.disk.vouched.floor == consortium.orderer.replica.size


def test_a_change_of_address_issues_nothing_again(consortium):
    leaf = ordered(consortium, "org-1")
    receipt = consortium.orderer.driver.order([leaf])[0]
    consortium.settle(2)
    node = consortium.nodes["org-2"]
    before = list(node.replica.leaves)
    members = node.replica.members
    policy = trusted_policy_text(members, consortium.genesis.origin)
    notes = dict(node.disk.notes)
    move = consortium.move("org-2", "https://elsewhere.example:8443", node)
    node.driver.outbox.add(move)
    consortium.settle(3)
    after = node.replica
    assert after.members.organisations["org-2"].url == "https://elsewhere.example:8443"
    assert replace(after.members.organisations["org-2"], url="") == replace(members.organisations["org-2"], url="")
    # One transaction and its state leaf: no key, anchor, receipt or cosignature is made again.
    assert after.leaves[: len(before)] == before
    assert after.leaves[len(before)] == move
    assert len(after.leaves) == len(before) + 2
    assert trusted_policy_text(after.members, consortium.genesis.origin) == policy
    heads = {size: note.partition("\n\n")[0] for size, (note, _) in notes.items()}
    assert {size: node.disk.notes[size][0].partition("\n\n")[0] for size in notes} == heads
    public = after.members.organisations["org-0"].key("log").public
    verify_receipt(receipt, consortium.genesis.ledger, public, _id(leaf))


def test_the_same_envelope_again_gets_a_receipt_for_the_block_that_holds_it(consortium):
    leaf = ordered(consortium, "org-1")
    ordered(consortium, "org-2")
    again = consortium.orderer.driver.order([leaf, leaf])
    assert [receipt.height_at_most for receipt in again] == [1, 1]
    assert consortium.orderer.replica.height == 2


def test_a_refusal_tells_its_code_and_leaves_the_rest_of_the_batch(consortium):
    good = consortium.anchor("org-1")
    bad = good[:-10] + b'AAAA"}]}'[:8] + b"xx"
    outcomes = consortium.orderer.driver.order([bad, good])
    assert outcomes[0] == Refused("transaction.malformed")
    assert outcomes[1].height_at_most == 1


# --- the judge itself -----------------------------------------------------------------------------------------------


def test_the_naive_roots_are_those_of_published_vectors():
    # RFC 6962: root of the empty tree and of one empty leaf; certificate-transparency's test vectors.
    leaves = [b"", b"\x00", b"\x10", b"\x20\x21"]
    hashes = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    assert merkle_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle_root(hashes[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root(hashes[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert merkle_root(hashes[:4]).hex() == "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"


def test_the_judge_sees_a_leaf_changed_a_block_dropped_and_a_checkpoint_unsigned(consortium):
    for name in FOLLOWERS:
        ordered(consortium, name)
    replica = consortium.nodes["org-1"].replica
    notes = [block.checkpoint for block, _, _ in replica.chain]
    consortium.auditor.audit("x", replica.leaves, notes)
    changed = [*replica.leaves]
    changed[3] = changed[3].replace(b"1", b"2", 1)
    with pytest.raises((AssertionError, VerificationError)):
        consortium.auditor.audit("a", changed, notes)
    with pytest.raises((AssertionError, VerificationError)):
        consortium.auditor.audit("b", replica.leaves[:4] + replica.leaves[6:], notes[:2] + notes[3:])
    with pytest.raises(AssertionError):
        consortium.auditor.audit("c", replica.leaves, [*notes[:-1], notes[-2]])


def test_the_judge_sees_a_node_leave_what_it_has_called_final(consortium):
    ordered(consortium, "org-1")
    consortium.settle(2)
    consortium.check()
    replica = consortium.orderer.replica
    replica.rewind(replica.height - 1)
    replica.propose([consortium.anchor("org-2")], consortium.now)
    with pytest.raises(AssertionError, match="left a final block"):
        consortium.check()


def final_alone(consortium: Consortium, name: str, blocks: int) -> None:
    """Have a node call its own chain final, which a quorum that lies has cosigned, after so many blocks of its own."""
    node = consortium.nodes[name]
    replica = node.replica
    replica.signer = log_signer("org-0")
    for _ in range(blocks):
        replica.propose([consortium.anchor("org-1")], consortium.now)
    notary = LedgerNotary(consortium.genesis.origin, cosign_keys(name))
    reading = notary.read(replica.chain[-1][0].checkpoint, replica.members)
    pens = [LedgerNotary(consortium.genesis.origin, cosign_keys(liar)) for liar in NAMES[:4]]
    lines = {
        name: line for pen in pens for name, line in pen.cosign(reading.size, reading.root, consortium.now).items()
    }
    note = notary.write(reading.size, reading.root, reading.log_line, lines)
    node.disk.put(note, reading.size, final=True)


@pytest.mark.parametrize("lengths", [(1, 2), (2, 1), (1, 1)])
def test_the_judge_sees_two_final_histories_of_whatever_sizes(consortium, lengths):
    for name, length in zip(("org-1", "org-2"), lengths, strict=True):
        final_alone(consortium, name, length)
    with pytest.raises(AssertionError, match="two final histories"):
        consortium.check()


def test_the_naive_map_root_of_one_entry_follows_from_the_definition():
    def node(value: bytes, bits: int, label: bytes) -> bytes:
        return sha256(value + sha256(bits.to_bytes(4, "big") + label).digest()).digest()

    name, value = b"\x80" + bytes(31), b"\x07" * 32
    no_child = node(node(sha256(b"\x00").digest(), 0, b"\x01" * 32), 0, b"\x01" * 32)
    expected = node(sha256(no_child + node(value, 256, name)).digest(), 0, bytes(32))
    assert map_root({name: value}) == expected


# --- random faults and lies -----------------------------------------------------------------------------------------

LIES = ("later", "shorter", "twice", "higher", "another's", "elsewhere", "nothing is final")


def lie_of(node: Node, name: str) -> dict[str, Callable[..., object]]:
    """Make what a node says in place of the truth: blocks that do not hold, and what a poll cannot believe."""

    def blocks(change: Callable[[Block], Block]) -> dict[str, Callable[..., object]]:
        return {"blocks": lambda _source, first: [change(block) for block in node.driver.blocks(first)]}

    def signed(block: Block) -> Block:
        text = parse_note(block.checkpoint.encode()).text
        made = sign_checkpoint(parse_checkpoint(text), log_signer(node.org_id))
        return replace(block, time=block.time + 1, checkpoint=made.to_bytes().decode())

    made = {
        "later": blocks(lambda block: replace(block, time=block.time + 5)),
        "shorter": blocks(lambda block: replace(block, transactions=block.transactions[:-1])),
        "twice": blocks(lambda block: replace(block, transactions=(*block.transactions, block.transactions[-1]))),
        "higher": blocks(lambda block: replace(block, height=block.height + 1)),
        "another's": blocks(signed),
        "elsewhere": {"round": lambda _source, ask: (None, ask.met + 7)},
        "nothing is final": {"round": lambda _source, _ask: (None, 0)},
    }
    return made[name]


class Life(RuleBasedStateMachine):
    """Anything may happen, in any order, among liars; then all have the same ledger, and nothing added is missing."""

    def __init__(self) -> None:
        """Start without a consortium."""
        super().__init__()
        self.consortium: Consortium = None
        self.added: list[bytes] = []
        self.last: Exception | None = None
        self.agreed: tuple[bytes, Node | None] | None = None

    @initialize(count=st.sampled_from([2, 4, 5]), start=st.integers(0, 10_000))
    def begin(self, count, start):
        self.consortium = Consortium(count, start)

    def pick(self, number: int) -> Node:
        names = sorted(self.consortium.nodes)
        return self.consortium.nodes[names[number % len(names)]]

    @rule(number=st.integers(0, 4), objects=st.integers(1, 4), copies=st.integers(1, 2))
    def submit(self, number, objects, copies):
        node = self.pick(number)
        leaf = self.consortium.anchor(node.org_id, objects)
        for _ in range(copies):
            self.added.append(node.submit(leaf))

    @rule(seconds=st.integers(0, 40), times=st.integers(1, 4))
    def step(self, seconds, times):
        for _ in range(times):
            self.consortium.hurry()
            self.consortium.step(seconds)

    @rule(percent=st.tuples(*[st.sampled_from([0, 0, 5, 30])] * 4))
    def spoil(self, percent):
        self.consortium.faults = Faults(*percent)

    @rule(number=st.integers(0, 4))
    def cut_off(self, number):
        self.consortium.cut_off ^= {self.pick(number).org_id}

    @rule(number=st.integers(0, 4))
    def restart(self, number):
        self.pick(number).start_anew()

    # Members sign one next version of the protocol object at a time (docs/spec/endorsement.md 4).
    @precondition(lambda self: self.agreed is None)
    @rule(number=st.integers(0, 4))
    def hand_over(self, number):
        target = self.pick(number)
        if self.may_agree(target):
            names = list(self.consortium.nodes)
            other = next(name for name in names if name != target.org_id)
            leaf = self.consortium.hand_over(target.org_id, target, voters=names, creator=other)
            target.submit(leaf)
            self.agreed = (leaf, None)

    @precondition(lambda self: self.agreed is None)
    @rule(number=st.integers(0, 4))
    def take_over(self, number):
        target = self.pick(number)
        if self.may_agree(target):
            leaf = self.consortium.hand_over(target.org_id, target, voters=list(self.consortium.nodes))
            self.agreed = (leaf, target)
            self.try_to_take_over()

    @staticmethod
    def may_agree(target: Node) -> bool:
        """Members agree on a change of the orderer only when the one before it is final."""
        head = target.replica.record(map_key("protocol", *public_owner("protocol", {})))
        is_final = head.since == 0 or head.since < target.driver.cosigner.final_size
        may_order = target.driver.may_order(target.org_id)
        return is_final and may_order and target.org_id != target.replica.members.protocol.orderer

    def try_to_take_over(self) -> None:
        leaf, target = self.agreed
        try:
            target.driver.takeover(leaf)
        except (VerificationError, UnavailableError) as error:
            self.last = error
        else:
            self.agreed = (leaf, None)

    @rule(number=st.integers(0, 4), name=st.sampled_from(LIES))
    def lie(self, number, name):
        """Make a node lie, or let a liar tell the truth again."""
        node = self.pick(number)
        node.lies = lie_of(node, name) if not node.lies else {}

    @rule()
    def settle(self):
        for node in self.consortium.nodes.values():
            node.lies = {}
        self.consortium.settle(1)
        if self.agreed is not None and self.agreed[1] is not None:
            self.try_to_take_over()
            assert self.agreed[1] is None, self.last
        self.consortium.settle(10)
        assert is_level(self.consortium.nodes)
        self.agreed = None
        self.exchange_log_keys()

    def exchange_log_keys(self) -> None:
        """Do what an operator does who has been told."""
        spent = [node for node in self.consortium.nodes.values() if node.driver.health().is_log_key_spent]
        for node in spent:
            node.submit(self.consortium.rotate(node.org_id, node))
        if spent:
            self.consortium.settle(4)
            assert is_level(self.consortium.nodes)
        for node in spent:
            node.start_anew()
            assert not node.driver.health().is_log_key_spent

    @invariant()
    def the_judge_is_content(self):
        if self.consortium is not None:
            self.consortium.check()

    def teardown(self):
        if self.consortium is None:
            return
        with self.consortium:
            self.settle()
            self.consortium.check()
            self.judge_the_end()

    def judge_the_end(self) -> None:
        nodes = self.consortium.nodes
        assert is_level(nodes), {
            n: (v.replica.height, v.replica.members.protocol.orderer, v.alarms()) for n, v in nodes.items()
        }
        for node in nodes.values():
            assert not {code for code in node.alarms() if code.startswith(("checkpoint.", "ordering."))}
        one = next(iter(nodes.values())).replica
        assert all(one.transaction_height(name) is not None for name in self.added)


# 1,000 steps by default (20 examples of 50), 50,000 in `make soak`.
TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=tries(20),
    stateful_step_count=50,
    deadline=None,
    # It counts seconds, which say how busy the machine is.
    suppress_health_check=[HealthCheck.too_slow],
)


def walk(start: int, steps: int) -> bytes:
    """Live one ledger of five for so many steps, as the seed says; returns the root of all.

    Hypothesis ends an example when it has drawn so much, long before a thousand steps.
    """
    dice, life = Dice(start), Life()
    life.begin(len(NAMES), start)
    for _ in range(steps):
        number, more = dice.below(len(NAMES)), dice.below(4)
        match dice.below(10):
            case 0 | 1:
                life.submit(number, 1 + more, 1 + dice.below(2))
            case 2 | 3:
                life.step(dice.below(41), 1 + more)
            case 4:
                life.spoil(tuple((0, 0, 5, 30)[dice.below(4)] for _ in range(4)))
            case 5:
                life.cut_off(number)
            case 6:
                life.restart(number)
            case 7 if life.agreed is None:
                (life.hand_over, life.take_over)[dice.below(2)](number)
            case 8:
                life.lie(number, LIES[dice.below(len(LIES))])
            case 9 if more == 0:
                life.settle()
        life.the_judge_is_content()
    life.teardown()
    return life.consortium.nodes["org-0"].replica.root


def test_five_nodes_end_alike_after_a_thousand_steps_of_faults_and_lies_and_a_seed_plays_the_same_again():
    assert walk(1, 1000)
    assert walk(2, 150) == walk(2, 150)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 110))
def test_five_nodes_end_alike_after_thousands_of_steps(start):
    assert walk(start, 2000)


def test_the_simulator_has_the_keys_that_its_ledger_names():
    with Consortium(2) as consortium:
        named = consortium.genesis.members.organisations["org-1"].key("log")
        assert named == key("org-1", "log")
        assert named.public == log_signer("org-1").public
