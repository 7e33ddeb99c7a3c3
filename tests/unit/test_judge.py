"""The simulator's judge: each thing that it must see it sees, and nothing that is right troubles it."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from cryptography.exceptions import InvalidSignature

from medchain.errors import VerificationError
from medchain.ordering.notary import LedgerNotary
from tests.audit import Auditor
from tests.consortium import Consortium, MemoryReplica, Node, cosign_keys, log_signer
from tests.promises import Promises
from tests.roll import COSIGN_USES, Roll, taker


@pytest.fixture
def consortium():
    with Consortium(4) as made:
        made.step()
        made.orderer.driver.order([made.anchor("org-1")])
        made.settle(2)
        yield made


def ordered(consortium: Consortium, leaf: bytes) -> None:
    """Have a transaction ordered and become final; who exchanged keys starts anew."""
    consortium.orderer.driver.order([leaf])
    for _ in range(3):
        consortium.step(35)
        for node in consortium.nodes.values():
            if not node.has_listed_keys:
                node.restart()
    assert consortium.orderer.driver.cosigner.final_size == consortium.orderer.replica.size


def called_final(node: Node, *signers: tuple[str, int]) -> None:
    """Have a node call its newest block end final, with the lines of some, each of a generation of their keys."""
    replica, origin = node.replica, node.replica.genesis.origin
    size, root, log_line = replica.size, replica.root, replica.chain[-1][0].checkpoint.partition("\n\n")[2]
    lines = {}
    for name, generation in signers:
        lines |= LedgerNotary(origin, cosign_keys(name, generation)).cosign(size, root, replica.time)
    note = LedgerNotary(origin, cosign_keys("org-0")).write(size, root, log_line, lines)
    node.disk.notes[size] = (note, True)


def judged_anew(consortium: Consortium) -> None:
    """Have somebody judge who has seen nothing yet."""
    consortium.auditor = Auditor(consortium.genesis)
    consortium.check()


def test_a_note_is_judged_by_the_members_that_there_were_whatever_they_are_now(consortium):
    for name in ("org-1", "org-2", "org-3"):
        ordered(consortium, consortium.exchange(name, COSIGN_USES, consortium.nodes[name]))
    ordered(
        consortium, consortium.stand({"org-3": "suspended"}, consortium.orderer, voters=["org-0", "org-1", "org-2"])
    )
    ordered(consortium, consortium.anchor("org-1"))
    judged_anew(consortium)


def test_a_line_under_a_key_of_the_past_counts_no_more(consortium):
    ordered(consortium, consortium.exchange("org-1", COSIGN_USES, consortium.orderer))
    consortium.orderer.driver.order([consortium.anchor("org-2")])
    node = consortium.orderer
    called_final(node, ("org-1", 2), ("org-2", 1), ("org-3", 1))
    judged_anew(consortium)
    called_final(node, ("org-1", 1), ("org-2", 1), ("org-3", 1))
    with pytest.raises(AssertionError, match="org-0 calls 8 final with"):
        judged_anew(consortium)


def test_a_member_that_is_suspended_counts_no_more(consortium):
    voters = ["org-0", "org-1", "org-2"]
    ordered(consortium, consortium.stand({"org-3": "suspended"}, consortium.orderer, voters=voters))
    consortium.orderer.driver.order([consortium.anchor("org-2")])
    called_final(consortium.orderer, ("org-1", 1), ("org-2", 1))
    judged_anew(consortium)
    called_final(consortium.orderer, ("org-1", 1), ("org-3", 1))
    with pytest.raises(AssertionError, match="org-0 calls 8 final with"):
        judged_anew(consortium)


def test_too_few_are_no_quorum_and_a_false_line_condemns_all(consortium):
    node = consortium.nodes["org-2"]
    consortium.orderer.driver.order([consortium.anchor("org-1")])
    node.driver.follow_once()
    called_final(node, ("org-0", 1), ("org-1", 1))
    with pytest.raises(AssertionError, match="org-2 calls 6 final with"):
        judged_anew(consortium)
    called_final(node, ("org-0", 1), ("org-1", 1), ("org-3", 1))
    judged_anew(consortium)
    note, _ = node.disk.notes[6]
    at = note.rindex("cosigner/ed25519") + 60
    node.disk.notes[6] = (note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :], True)
    with pytest.raises(InvalidSignature):
        judged_anew(consortium)


def test_a_final_note_needs_the_line_of_who_orders(consortium):
    node = consortium.orderer
    note, _ = node.disk.notes[4]
    line = note.partition("\n\n")[2].splitlines(keepends=True)[0]
    assert line.startswith("— medchain.example/simulated ")
    node.disk.notes[4] = (note.replace(line, ""), True)
    with pytest.raises(AssertionError, match="no line of who orders"):
        judged_anew(consortium)


def branches(consortium: Consortium) -> tuple[MemoryReplica, MemoryReplica]:
    """Fork behind the first block."""
    made = tuple(consortium.orderer.replica.fork() for _ in range(2))
    for branch in made:
        branch.propose([consortium.anchor("org-1")], consortium.now)
    return made


def promised(branch: MemoryReplica, promises: Promises, *names: str) -> None:
    """Have members cosign the newest end of a branch."""
    for name in names:
        promises.signed(name, branch.chain, branch.size, branch.root)


# n, f, k: 4, 1, 3. Worked by hand: two and the liar are a quorum, of either branch; one and the liar are none.
def test_two_histories_that_liars_could_make_final_are_seen_before_they_do(consortium):
    one, other = branches(consortium)
    promises = Promises()
    promised(one, promises, "org-1", "org-2")
    promised(other, promises, "org-3")
    promises.judge({"org-0"})
    promises.judge(set())
    one.propose([consortium.anchor("org-2")], consortium.now)
    promised(one, promises, "org-1")
    promises.judge({"org-0"})
    promised(other, promises, "org-4")
    promises.judge({"org-0"})
    with pytest.raises(AssertionError, match="may both be final"):
        promises.judge({"org-0", "org-2"})


def test_who_cosigns_what_follows_on_a_block_end_backs_it_too(consortium):
    """Who goes over to another branch, as after a takeover, has promised both."""
    one, other = branches(consortium)
    promises = Promises()
    promised(one, promises, "org-1")
    promised(other, promises, "org-2", "org-3")
    promises.judge({"org-0"})
    one.propose([consortium.anchor("org-2")], consortium.now)
    promised(one, promises, "org-2")
    with pytest.raises(AssertionError, match="6 and 6 may both be final"):
        promises.judge({"org-0"})


def test_a_change_of_members_needs_both_quorums(consortium):
    """Of the three that are left two are a quorum, which of the four before they are not."""
    one, _ = branches(consortium)
    changing = consortium.orderer.replica.fork()
    voters = ["org-0", "org-1", "org-2"]
    leaf = consortium.stand({"org-3": "suspended"}, consortium.orderer, voters=voters)
    changing.propose([leaf], consortium.now)
    promises = Promises()
    promised(one, promises, "org-1", "org-3")
    promised(changing, promises, "org-2")
    promises.judge({"org-0"})


def test_behind_a_change_of_members_those_before_it_are_needed_until_it_may_be_final(consortium):
    """Of the three that are left two are a quorum, which with org-3 is one of the four before as well."""
    one, behind = branches(consortium)
    voters = ["org-0", "org-1", "org-2"]
    promises = Promises()
    promised(one, promises, "org-1", "org-3")
    behind.propose([consortium.stand({"org-3": "suspended"}, consortium.orderer, voters=voters)], consortium.now)
    behind.propose([consortium.anchor("org-2")], consortium.now)
    promised(behind, promises, "org-2")
    promises.judge({"org-0"})
    with pytest.raises(AssertionError, match="6 and 6 may both be final"):
        promises.judge({"org-0", "org-1"})


def test_a_member_that_signs_two_roots_of_one_size_is_seen(consortium):
    one, other = branches(consortium)
    promises = Promises()
    promised(one, promises, "org-1")
    promised(one, promises, "org-1")
    with pytest.raises(AssertionError, match="org-1 signs two roots of 6"):
        promised(other, promises, "org-1")


def test_a_member_that_cosigns_what_it_does_not_have_is_seen(consortium):
    one, other = branches(consortium)
    with pytest.raises(AssertionError, match="org-1 cosigns what it does not have"):
        Promises().signed("org-1", one.chain, other.size, other.root)


def test_the_judge_of_a_running_consortium_sees_what_its_nodes_promise(consortium):
    node = consortium.nodes["org-1"]
    assert consortium.promises.by("org-1") == {node.replica.size: node.replica.root}
    with pytest.raises(AssertionError, match="org-1 signs two roots of 4"):
        node.driver.cosigner._notary.cosign(4, bytes(32), consortium.now)  # noqa: SLF001  # as it does itself


@pytest.mark.parametrize("creator", ["org-1", "org-2"])
def test_who_is_to_order_signs_the_block_that_says_so_in_a_takeover_only(consortium, creator):
    """A hand-over is the orderer's to order: else whoever is shown one could end its reign."""
    leaf = consortium.hand_over("org-1", consortium.orderer, voters=list(consortium.nodes), creator=creator)
    liar = consortium.nodes["org-1"].replica.fork()
    block = liar.propose([leaf], consortium.now, takeover=True).block
    follower = consortium.nodes["org-3"].replica
    notes = [known.checkpoint for known, _, _ in liar.chain]
    if creator == "org-1":
        follower.apply(block)
        Auditor(consortium.genesis).audit("org-3", liar.leaves, notes)
    else:
        with pytest.raises(VerificationError, match=r"^block\.checkpoint"):
            follower.apply(block)
        with pytest.raises(AssertionError, match="nobody who may"):
            Auditor(consortium.genesis).audit("org-3", liar.leaves, notes)


def test_the_roll_is_what_the_entries_say():
    keys = {use: b64encode(use.encode()).decode() for use in ("ledger", "log", *COSIGN_USES)}
    founder = {"keys": {**keys, "encryption": "AAAA"}, "org_id": "a"}
    roll = Roll.of_genesis(json.dumps({"members": [founder], "orderer": "a", "quorum": 1}).encode())
    assert (roll.active, roll.orderer, roll.quorum, roll.listed("a", "log")) == (["a"], "a", 1, {b"log"})
    rows = [{"public": b64encode(b"new").decode(), "use": "log"}, {"public": "AAAA", "use": "encryption"}]
    joining = {"keys": rows, "org_id": "b", "status": "active"}
    changes = [{"kind": "record"}, {"kind": "organisation"}, {"kind": "protocol"}]
    bodies = [joining, {"orderer": "b", "quorum": 2}]
    after = roll.after(leaf({"bodies": bodies, "changes": changes, "creator": "b"}))
    assert (after.active, after.orderer, after.quorum, after.listed("b", "log")) == (["a", "b"], "b", 2, {b"new"})
    gone = after.after(leaf({"bodies": [{**joining, "status": "suspended"}], "changes": changes[1:2], "creator": "b"}))
    assert (gone.active, gone.listed("b", "log")) == (["a"], {b"new"})
    assert roll.after(leaf({"bodies": [], "changes": changes[:1], "creator": "a"})) is roll
    assert roll.after(leaf({"object": "a stop"})) is roll


def test_a_takeover_is_what_its_creator_alone_makes_of_itself():
    bodies, changes = [{"orderer": "a", "quorum": 1}], [{"kind": "protocol"}]
    assert taker(leaf({"bodies": bodies, "changes": changes, "creator": "a"})) == "a"
    assert taker(leaf({"bodies": bodies, "changes": changes, "creator": "b"})) is None
    assert taker(leaf({"bodies": bodies, "changes": [*changes, {"kind": "record"}], "creator": "a"})) is None
    assert taker(leaf({"object": "a stop"})) is None


def leaf(payload: dict) -> bytes:
    return json.dumps({"payload": b64encode(json.dumps(payload).encode()).decode()}).encode()


def test_a_node_starts_anew_with_the_keys_that_its_ledger_lists_and_with_what_it_was_to_submit(consortium):
    node = consortium.nodes["org-1"]
    node.submit(consortium.exchange("org-1", (*COSIGN_USES, "log"), node))
    consortium.cut_off = {"org-1"}
    node.start_anew()
    assert len(node.driver.outbox) == 1
    consortium.cut_off = set()
    consortium.settle(2)
    assert not node.has_listed_keys
    node.start_anew()
    assert node.has_listed_keys
    assert node.replica.signer is log_signer("org-1", 2)
    assert len(node.driver.outbox) == 0


def test_a_line_under_a_key_that_only_a_later_block_lists_does_not_count(consortium):
    node = consortium.orderer
    node.driver.order([consortium.anchor("org-2")])
    called_final(node, ("org-1", 2), ("org-2", 1), ("org-3", 1))
    with pytest.raises(AssertionError, match="org-0 calls 6 final with"):
        judged_anew(consortium)


def test_who_exchanges_keys_counts_before_the_exchange_with_the_new_ones_and_after_it_with_no_old_ones(consortium):
    node = consortium.orderer
    node.driver.order([consortium.exchange("org-1", COSIGN_USES, node)])
    called_final(node, ("org-1", 2), ("org-2", 1), ("org-3", 1))
    judged_anew(consortium)
    called_final(node, ("org-1", 1), ("org-2", 1), ("org-3", 1))
    with pytest.raises(AssertionError, match=r"org-0 calls 6 final with \['org-2', 'org-3'\]"):
        judged_anew(consortium)


# n, f, k: 4, 1, 3, and 3, 0, 2 without org-3. Two of the three that are left are none of the four before.
def test_behind_a_change_of_members_that_is_not_final_those_before_count_as_well(consortium):
    node, voters = consortium.orderer, ["org-0", "org-1", "org-2"]
    node.driver.order([consortium.stand({"org-3": "suspended"}, node, voters=voters)])
    node.driver.order([consortium.anchor("org-1")])
    node.disk.notes = {size: kept for size, kept in node.disk.notes.items() if size <= 4}
    called_final(node, ("org-0", 1), ("org-1", 1))
    with pytest.raises(AssertionError, match=r"org-0 calls 8 final with \['org-0', 'org-1'\]"):
        judged_anew(consortium)
    called_final(node, ("org-0", 1), ("org-1", 1), ("org-3", 1))
    judged_anew(consortium)
