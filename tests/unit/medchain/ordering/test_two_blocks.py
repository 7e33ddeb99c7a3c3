"""An orderer that signs two blocks for one height and is silent then: it is proven, and replaced.

Source: `docs/spec/ordering.md` 5, "Two blocks for one height".
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.errors import InputError, NotFoundError, VerificationError
from medchain.ordering.block import MAX_CHECKPOINT_BYTES, Block
from medchain.ordering.entry import Entry, entry_bytes, parse_entry
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.ordering.two_blocks import parting, signed_both
from medchain.tlog.merkle import verify_inclusion
from medchain.tlog.proof import parse_proof
from tests.consortium import Consortium, cosign_keys, is_level, log_signer

LIAR, TAKER, LIKE_TAKER, OTHER = "org-0", "org-1", "org-2", "org-3"
HONEST = (TAKER, LIKE_TAKER, OTHER)


@pytest.fixture
def forked():
    """Have four of whom three are a quorum; two have one block, and the third a larger one in its place."""
    with Consortium(4) as made:
        made.liars = {LIAR}
        made.step()
        made.orderer.driver.order([made.anchor(OTHER)])
        made.settle(2)
        show(made, {TAKER: 1, LIKE_TAKER: 1, OTHER: 2})
        yield made


def show(consortium: Consortium, counts: dict[str, int]) -> None:
    """Have the orderer give each a block of so many records, and be silent; all cosign what they have."""
    liar, branches = consortium.nodes[LIAR], {}
    for count in set(counts.values()):
        branches[count] = liar.replica.fork()
        branches[count].propose([consortium.anchor(OTHER) for _ in range(count)], consortium.now)
    for name, count in counts.items():
        liar.lies["blocks"] = lambda _source, first, count=count: branches[count].blocks(first, 1 << 20)
        consortium.nodes[name].driver.follow_once()
    liar.is_up = False
    for name in counts:
        assert consortium.nodes[name].driver.cosign_once()


def look(consortium: Consortium, name: str, at: str) -> None:
    node = consortium.nodes[name]
    node.driver._succession.look_at(node.driver._peers()[at], at)  # noqa: SLF001  # as its thread does in turn


def takes_over(consortium: Consortium, name: str) -> None:
    taker = consortium.nodes[name]
    taker.driver.takeover(consortium.hand_over(name, taker, voters=list(consortium.nodes)))


def accusations(consortium: Consortium, name: str) -> list[dict[str, object]]:
    alarms = consortium.nodes[name].driver.health().alarms
    return [dict(alarm.fields) for alarm in alarms if alarm.code == "ordering.two_blocks" and alarm.latched]


@pytest.mark.parametrize("name", HONEST)
def test_each_member_that_sees_both_blocks_raises_the_alarm(forked, name):
    look(forked, name, OTHER if name != OTHER else TAKER)
    [found] = accusations(forked, name)
    assert found["orderer"] == LIAR
    look(forked, name, OTHER if name != OTHER else TAKER)
    assert len(accusations(forked, name)) == 1


def test_the_evidence_convinces_who_knows_the_log_key_alone(forked):
    look(forked, TAKER, OTHER)
    [found] = accusations(forked, TAKER)
    members, leaves, sizes = forked.genesis.members, set(), set()
    for side in ("our", "their"):
        proof = parse_proof(str(found[f"{side}s"]).encode())
        reading = LedgerNotary(forked.genesis.origin, cosign_keys(OTHER)).read(proof.checkpoint.decode(), members)
        leaf = bytes.fromhex(str(found[f"{side}_leaf"]))
        verify_inclusion(leaf, proof.index, reading.size, proof.hashes, reading.root)
        assert (reading.log_org, proof.index) == (LIAR, found["position"])
        leaves.add(leaf)
        sizes.add(reading.size)
    assert (len(leaves), len(sizes)) == (2, 2)


@pytest.mark.parametrize("name", [TAKER, LIKE_TAKER])
def test_who_has_the_smaller_block_takes_over_and_all_go_on(forked, name):
    kept = forked.nodes[name].replica.blocks(2, 1)[0]
    takes_over(forked, name)
    assert accusations(forked, name)
    for _ in range(8):
        forked.now += 20
        for honest in HONEST:
            forked.nodes[honest].step()
    nodes = {honest: forked.nodes[honest] for honest in HONEST}
    assert is_level(nodes)
    assert {node.replica.blocks(2, 1)[0] for node in nodes.values()} == {kept}
    forked.nodes[name].submit(forked.anchor(name))
    for _ in range(4):
        forked.now += 20
        for honest in HONEST:
            forked.nodes[honest].step()
    assert {node.driver.cosigner.final_size for node in nodes.values()} == {forked.nodes[name].replica.size}
    forked.check()


def test_who_has_none_of_both_finds_the_other_block_once_it_has_fetched_the_one():
    """Of seven five are a quorum: more have cosigned the smaller block, which is fetched first."""
    with Consortium(7) as consortium:
        consortium.liars = {LIAR}
        consortium.step()
        show(consortium, {"org-1": 1, "org-2": 1, "org-3": 1, "org-4": 2, "org-5": 2})
        takes_over(consortium, "org-6")
        taker = consortium.nodes["org-6"]
        assert taker.replica.blocks(1, 1)[0] == consortium.nodes["org-1"].replica.blocks(1, 1)[0]
        assert (taker.replica.height, taker.replica.members.protocol.orderer) == (2, "org-6")


def test_who_lacks_the_proof_takes_over_as_little_as_before(forked):
    forked.nodes[OTHER].lies["entry"] = lambda _position, _size: b"none"
    with pytest.raises(VerificationError, match=r"takeover\.undecided"):
        takes_over(forked, TAKER)
    assert accusations(forked, TAKER) == []


def entry_of(consortium: Consortium, name: str, position: int, size: int) -> Entry:
    return parse_entry(consortium.nodes[name].driver.entry(position, size))


def test_a_member_that_shows_what_is_in_no_signed_log_accuses_nobody(forked):
    other = forked.nodes[OTHER]

    def made_up(position, size):
        true = entry_of(forked, OTHER, position, size)
        return entry_bytes(replace(true, leaf=bytes(32)))

    other.lies["entry"] = made_up
    look(forked, TAKER, OTHER)
    assert accusations(forked, TAKER) == []


def test_a_member_that_shows_another_position_accuses_nobody(forked):
    other = forked.nodes[OTHER]
    other.lies["entry"] = lambda position, size: other.driver.entry(position + 1, size)
    look(forked, TAKER, OTHER)
    assert accusations(forked, TAKER) == []


def test_a_member_that_shows_a_log_that_it_has_signed_itself_accuses_nobody_else(forked):
    other, origin = forked.nodes[OTHER], forked.genesis.origin
    size, root = other.replica.size, other.replica.root
    note = log_pen(log_signer(OTHER), origin, size, root)
    other.lies["entry"] = lambda position, size: entry_bytes(
        replace(entry_of(forked, OTHER, position, size), note=note)
    )
    look(forked, TAKER, OTHER)
    assert accusations(forked, TAKER) == []


def test_a_true_note_of_a_later_block_under_made_up_transactions_accuses_nobody():
    """The orderer is honest; the member shows the note of its next block for one that it has made up."""
    with Consortium(4) as consortium:
        consortium.step()
        orderer = consortium.orderer
        for _ in range(2):
            orderer.driver.order([consortium.anchor(OTHER)])
        other = consortium.nodes[OTHER]
        other.driver.follow_once()
        consortium.nodes[TAKER].replica.apply(orderer.replica.blocks(1, 1)[0])
        later = orderer.replica.blocks(2, 1)[0]
        made_up = Block(1, later.time, (consortium.anchor(OTHER), consortium.anchor(OTHER)), later.checkpoint)
        other.lies["blocks"] = lambda _source, first: [made_up] if first == 1 else []
        look(consortium, TAKER, OTHER)
        assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 4


def test_a_log_that_follows_on_the_other_proves_nothing():
    with Consortium(4) as consortium:
        consortium.step()
        sizes = []
        for _ in range(2):
            consortium.orderer.driver.order([consortium.anchor(OTHER)])
            sizes.append(consortium.orderer.replica.size)
        notary = LedgerNotary(consortium.genesis.origin, cosign_keys(OTHER))
        first, second = (entry_of(consortium, LIAR, sizes[0] - 1, size) for size in sizes)
        assert first.leaf == second.leaf
        assert signed_both(first, second, notary, consortium.genesis.members) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "position"),
    [
        ((b"a",), (b"b",), 10),
        ((b"a",), (b"a", b"b"), 11),
        ((b"a", b"b"), (b"a",), 11),
        ((b"a", b"b"), (b"a", b"c"), 11),
    ],
)
def test_logs_part_where_the_first_leaf_differs(ours, theirs, position):
    def block(leaves):
        return Block(3, 0, leaves, log_pen(log_signer(LIAR), "origin.example/log", 10 + len(leaves) + 1, bytes(32)))

    assert parting(block(ours), block(theirs)) == position


def test_an_entry_has_one_spelling_and_a_bounded_size():
    note = log_pen(log_signer(LIAR), "origin.example/log", 9, bytes(32))
    entry = Entry(bytes(range(32)), 7, (bytes(32), bytes(range(32))), note)
    data = entry_bytes(entry)
    assert parse_entry(data) == entry
    spoiled = [data[:31], data[:40], b"", data + b"\xff", data.replace(b"index 7", b"extra \nindex 7")]
    for other in [*spoiled, data + bytes(3 * MAX_CHECKPOINT_BYTES)]:
        with pytest.raises(InputError):
            parse_entry(other)


def test_what_is_no_block_end_or_beyond_it_is_not_there(forked):
    driver, size = forked.nodes[TAKER].driver, forked.nodes[TAKER].replica.size
    for position, end in ((0, size - 1), (size, size), (0, size + 1), (0, 0)):
        with pytest.raises(NotFoundError, match=r"store\.leaf"):
            driver.entry(position, end)
