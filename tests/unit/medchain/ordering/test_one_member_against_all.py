"""One member against all: what a member that does not order cannot stop, whatever it signs with its own keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.errors import NotFoundError, UnavailableError, VerificationError
from medchain.ledger.members import protocol_content
from medchain.ledger.object import map_key, public_body_hash, public_owner
from medchain.ledger.transaction import Change, ObjectRow
from medchain.ordering.block import Block, accepted_id
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from tests.consortium import DAY_S, Consortium, cosign_keys, log_signer


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


def handed_over(consortium: Consortium) -> None:
    """Have org-0 hand over to org-2, and something ordered after that, twice."""
    consortium.orderer.driver.order([consortium.hand_over("org-2", consortium.orderer)])
    consortium.settle(4)
    for _ in range(2):
        consortium.nodes["org-2"].driver.order([consortium.anchor("org-1")])
        consortium.settle(4)


@pytest.mark.parametrize("distance", [1_000_000_000, 1])
def test_an_orderer_cannot_push_out_what_is_ours_with_sizes_that_no_log_will_have(consortium, distance):
    ordered(consortium)
    base, origin = consortium.orderer.replica.size, consortium.genesis.origin
    honest = [node for name, node in consortium.nodes.items() if name != "org-0"]
    for number in range(0, 140, 2):
        # Blocks here end at even distances from each other.
        note = log_pen(log_signer("org-0"), origin, base + distance + number, bytes(32))
        for node in honest:
            node.driver.cosign(note)
    handed_over(consortium)
    assert {node.driver.cosigner.final_size for node in honest} == {base + 6}
    assert [node.alarms() for node in honest] == [set()] * len(honest)


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_what_a_former_orderer_signed_beyond_its_last_block_is_no_split_view_with_its_successors_blocks(
    consortium, is_taken_over
):
    ordered(consortium)
    base, origin = consortium.orderer.replica.size, consortium.genesis.origin
    honest = [node for name, node in consortium.nodes.items() if name != "org-0"]
    for ahead in (4, 6):
        note = log_pen(log_signer("org-0"), origin, base + ahead, bytes(32))
        for node in honest:
            node.driver.cosign(note)
    if is_taken_over:
        taker = consortium.nodes["org-2"]
        taker.driver.takeover(consortium.hand_over("org-2", taker, voters=list(consortium.nodes)))
        consortium.settle(4)
        taker.driver.order([consortium.anchor("org-1")])
        consortium.settle(4)
    else:
        handed_over(consortium)
    assert [node.alarms() for node in honest] == [set()] * len(honest)
    assert {node.driver.cosigner.final_size for node in honest} == {consortium.nodes["org-2"].replica.size}


def test_two_roots_of_one_size_by_who_orders_are_a_split_view_still(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    node.driver.cosign(log_pen(log_signer("org-0"), consortium.genesis.origin, node.replica.size + 2, bytes(32)))
    ordered(consortium)
    assert node.alarms() == {"checkpoint.split_view"}


def test_of_sizes_beyond_a_ledger_the_nearest_are_remembered_and_no_more_than_sixty_four(consortium):
    ordered(consortium)
    away, origin = consortium.nodes["org-1"], consortium.genesis.origin
    consortium.cut_off = {"org-1"}
    ordered(consortium)
    consortium.cut_off = set()
    base, ahead = away.replica.size, consortium.orderer.driver.checkpoint()
    far = [base + 1_000 + number for number in range(70)]
    for size in far:
        away.driver.cosign(log_pen(log_signer("org-0"), origin, size, bytes(32)))
    away.driver.cosign(ahead)
    cosigner = away.driver.cosigner
    assert cosigner.note(base + 2) == ahead
    assert [size for size in far if cosigner.note(size) is not None] == far[:63]


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

    assert orderer.driver._succession.look_at(Liar()) is False  # noqa: SLF001  # what a look round does with each peer
    assert (orderer.replica.height, orderer.replica.size) == (height, size)


def test_a_lost_orderer_that_denies_what_it_cosigned_cannot_have_a_final_block_dropped(consortium):
    ordered(consortium)
    consortium.settle(2)
    orderer, taker = consortium.orderer, consortium.nodes["org-4"]
    agreed = consortium.hand_over("org-4", orderer, voters=list(consortium.nodes))
    denial = orderer.driver.checkpoint()
    consortium.cut_off = {"org-4"}
    # It takes the lines of three members, which make the block final with its own, and tells nobody that it is.
    orderer.lies["round"] = lambda _source, _ask: ("", 0)
    orderer.driver.order([consortium.anchor("org-1")])
    for name in ("org-1", "org-2", "org-3"):
        node = consortium.nodes[name]
        node.driver.follow_once()
        assert node.driver.cosign_once()
        orderer.driver.cosign(node.driver.cosigner.own_note)
    assert orderer.driver.cosign_once()
    size, note = orderer.driver.cosigner.final_note
    assert [node.driver.cosigner.final_size < size for node in consortium.nodes.values()] == [False, *4 * [True]]
    assert size > taker.replica.size
    orderer.driver.stand_down = lambda _leaf: denial
    consortium.cut_off = set()
    taker.driver.takeover(agreed)
    final = parse_checkpoint(parse_note(note.encode()).text)
    assert taker.replica.root_at(size) == final.root
    consortium.check()


# f that know a block to be final are not reached, and the lost orderer denies what it cosigned: both count.
@pytest.mark.parametrize(("count", "silent"), [(4, 1), (5, 1), (7, 2)])
def test_a_final_block_is_kept_where_a_liar_answers_and_those_who_know_it_to_be_final_do_not(count, silent):
    with Consortium(count) as consortium:
        consortium.step()
        ordered(consortium)
        consortium.settle(2)
        lost, quorum = consortium.orderer, consortium.genesis.members.protocol.quorum
        names, cosigners = list(consortium.nodes), [f"org-{number}" for number in range(1, quorum)]
        taker = consortium.nodes[names[-1]]
        agreed = consortium.hand_over(taker.org_id, lost, voters=names)
        denial = lost.driver.checkpoint()
        lost.lies["round"] = lambda _source, _ask: ("", 0)
        consortium.cut_off = {*names} - {*cosigners, "org-0"}
        lost.driver.order([consortium.anchor("org-1")])
        for name in cosigners:
            node = consortium.nodes[name]
            node.driver.follow_once()
            assert node.driver.cosign_once()
            lost.driver.cosign(node.driver.cosigner.own_note)
        assert lost.driver.cosign_once()
        size, note = lost.driver.cosigner.final_note
        for name in cosigners[:silent]:
            consortium.nodes[name].driver.cosign(note)
            assert consortium.nodes[name].driver.cosigner.final_size == size
        lost.driver.stand_down = lambda _leaf: denial
        consortium.cut_off = {*cosigners[:silent]}
        taker.driver.takeover(agreed)
        assert taker.replica.root_at(size) == parse_checkpoint(parse_note(note.encode()).text).root
        lost.is_up = False
        consortium.cut_off = set()
        for _ in range(4):
            consortium.step(35)
        assert {node.driver.cosigner.final_size for node in consortium.nodes.values() if node.is_up} == {
            taker.replica.size
        }
        consortium.check()


class Answers:
    """A peer that gives one block."""

    def __init__(self, block: Block) -> None:
        """Give it."""
        self._block = block

    def blocks(self, first, _wait_s):
        return [self._block] if first == self._block.height else []

    def entry(self, position, _size):
        raise NotFoundError("store.leaf", position=position)


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
    assert node.driver._succession.look_at(lie) is False  # noqa: SLF001  # what a look round does with each peer
    assert (node.replica.height, node.replica.size) == (height, size)


def test_what_is_dropped_for_a_block_that_does_not_hold_is_put_back(consortium):
    node, agreed, leaf = agreed_and_not_done(consortium)
    note = log_pen(log_signer("org-2"), consortium.genesis.origin, node.replica.size, bytes(32))
    lie = Answers(Block(node.replica.height, consortium.now, (agreed,), note))
    root, vouched = node.replica.root, node.disk.vouched
    assert node.driver._succession.look_at(lie) is False  # noqa: SLF001  # what a look round does with each peer
    assert (node.replica.root, node.disk.vouched) == (root, vouched)
    assert node.replica.transaction_height(accepted_id(leaf)) == node.replica.height


def test_a_member_that_was_shown_a_takeover_cannot_make_the_orderer_order_others_in_place_of_its_blocks(consortium):
    _, agreed, leaf = agreed_and_not_done(consortium)
    orderer = consortium.orderer
    note = log_pen(log_signer("org-2"), consortium.genesis.origin, orderer.replica.size, bytes(32))
    lie = Answers(Block(orderer.replica.height, consortium.now, (agreed,), note))
    assert orderer.driver._succession.look_at(lie) is False  # noqa: SLF001  # what a look round does with each peer
    orderer.driver.order([consortium.anchor("org-4")])
    assert orderer.replica.transaction_height(accepted_id(leaf)) == orderer.replica.height - 1
    consortium.cut_off = set()
    consortium.settle(2)
    assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 5


def test_a_takeover_that_was_done_and_is_shown_with_another_time_drops_nothing(consortium, monkeypatch):
    ordered(consortium)
    consortium.settle(2)
    taker = consortium.nodes["org-2"]
    block = taker.driver.takeover(consortium.hand_over("org-2", taker, voters=list(consortium.nodes)))
    lie = Answers(replace(block, time=block.time + 5))
    monkeypatch.setattr(taker.replica, "rewind", None)
    assert taker.driver._succession.look_at(lie) is False  # noqa: SLF001  # what a look round does with each peer
    assert taker.replica.blocks(block.height, 1) == [block]


def test_a_lost_orderer_cannot_hold_up_its_replacement_with_a_forked_note(consortium):
    ordered(consortium)
    consortium.settle(2)
    lost, taker = consortium.orderer, consortium.nodes["org-2"]
    root = taker.replica.root
    forked = log_pen(log_signer("org-0"), consortium.genesis.origin, taker.replica.size, bytes(32))
    lost.driver.stand_down = lambda _leaf: forked
    block = taker.driver.takeover(consortium.hand_over("org-2", taker, voters=list(consortium.nodes)))
    assert (block.height, taker.replica.chain[1][2]) == (2, root)
    consortium.settle(4)
    assert taker.driver.cosigner.final_size == taker.replica.size
    consortium.check()


def cosigned_by(consortium: Consortium, name: str, size: int, root: bytes) -> str:
    """Sign a note with the first orderer's log key and one member's cosigning keys."""
    origin = consortium.genesis.origin
    log_line = log_pen(log_signer("org-0"), origin, size, root).split("\n\n")[1]
    notary = LedgerNotary(origin, cosign_keys(name))
    return notary.write(size, root, log_line, notary.cosign(size, root, consortium.now))


@pytest.mark.parametrize("has_cosigned", [False, True])
def test_a_lost_orderer_cannot_hold_up_its_replacement_with_a_forked_note_at_too_few(consortium, has_cosigned):
    ordered(consortium)
    consortium.settle(2)
    taker, misled = consortium.nodes["org-2"], consortium.nodes["org-3"]
    size, root = taker.replica.size, taker.replica.root
    forked = log_pen(log_signer("org-0"), consortium.genesis.origin, size, bytes(32))
    if has_cosigned:
        forked = cosigned_by(consortium, "org-3", size, bytes(32))
    misled.driver.stand_down = lambda _leaf: forked
    taker.driver.takeover(consortium.hand_over("org-2", taker, voters=list(consortium.nodes)))
    assert taker.replica.root_at(size) == root


def test_two_roots_of_a_lost_orderer_that_may_both_be_final_are_waited_for():
    with Consortium(7) as consortium:
        consortium.step()
        ordered(consortium)
        taker = consortium.nodes["org-2"]
        size = taker.replica.size + 2
        for number, root in enumerate([bytes(32)] * 3 + [bytes([1]) * 32] * 3, 1):
            note = cosigned_by(consortium, f"org-{number}", size, root)
            consortium.nodes[f"org-{number}"].driver._succession.stand_down = lambda _leaf, note=note: note  # noqa: SLF001  # its own answer, too
        consortium.orderer.is_up = False
        with pytest.raises(VerificationError, match=rf"^takeover\.undecided size={size}"):
            taker.driver.takeover(consortium.hand_over("org-2", taker, voters=list(consortium.nodes)))


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


def by_a_quorum(consortium: Consortium, size: int, root: bytes) -> str:
    """Sign a note with the first orderer's log key and the cosigning keys of a quorum, which then lies."""
    origin, lines = consortium.genesis.origin, {}
    for name in list(consortium.nodes)[: consortium.genesis.members.protocol.quorum]:
        lines.update(LedgerNotary(origin, cosign_keys(name)).cosign(size, root, consortium.now))
    log_line = log_pen(log_signer("org-0"), origin, size, root).split("\n\n")[1]
    return LedgerNotary(origin, cosign_keys("org-0")).write(size, root, log_line, lines)


def stopped_by(consortium: Consortium, name: str, note: str) -> None:
    """Check that a note is kept as proof, with all its lines, and that all stop over it."""
    node = consortium.nodes[name]
    node.driver.cosign(note)
    [alarm] = node.driver.health().alarms
    assert (alarm.code, alarm.latched, alarm.fields["theirs"]) == ("checkpoint.split_view", True, note)
    assert alarm.fields["ours"]
    consortium.step()
    up = [other for other in consortium.nodes.values() if other.is_up]
    assert all(other.driver.cosigner.is_stopped for other in up)


@pytest.mark.parametrize("before", [0, 1])
def test_a_quorum_that_vouches_for_another_root_where_ours_is_final_stops_all(consortium, before):
    ordered(consortium)
    consortium.settle(2)
    size = consortium.nodes["org-1"].driver.cosigner.final_size - before
    stopped_by(consortium, "org-1", by_a_quorum(consortium, size, bytes(32)))


def test_a_quorum_that_vouches_for_what_a_takeover_dropped_stops_all(consortium):
    ordered(consortium)
    consortium.settle(2)
    lost, taker = consortium.orderer, consortium.nodes["org-2"]
    agreed = consortium.hand_over("org-2", lost, voters=list(consortium.nodes))
    consortium.cut_off = {"org-0"}
    lost.driver.order([consortium.anchor("org-1")])
    lost.driver.order([consortium.anchor("org-1")])
    taker.driver.takeover(agreed)
    consortium.step()
    lost.is_up = False
    size = lost.replica.size
    assert size > taker.replica.size
    stopped_by(consortium, "org-1", by_a_quorum(consortium, size, lost.replica.root))


def test_a_quorum_that_vouches_for_more_than_a_node_has_yet_stops_nobody(consortium):
    ordered(consortium)
    node = consortium.nodes["org-1"]
    node.driver.cosign(by_a_quorum(consortium, node.replica.size + 2, bytes(32)))
    assert not node.driver.cosigner.is_stopped


@pytest.mark.parametrize("count", [4, 5])
def test_a_member_that_was_given_another_block_goes_over_to_the_takeover_and_keeps_the_proof(count):
    with Consortium(count) as consortium:
        consortium.step()
        ordered(consortium)
        consortium.settle(2)
        lost, taker, names = consortium.orderer, consortium.nodes["org-1"], list(consortium.nodes)
        misled = consortium.nodes[names[-1]]
        agreed = consortium.hand_over("org-1", lost, voters=names)
        forked = lost.replica.fork().propose([consortium.anchor("org-1")], consortium.now).block
        consortium.cut_off = {misled.org_id}
        lost.driver.order([consortium.anchor("org-1")])
        for name in names[1:-1]:
            consortium.nodes[name].driver.follow_once()
            consortium.nodes[name].driver.cosign_once()
        misled.driver.follower.apply([forked])
        misled.driver.cosigner.vouch(is_caught_up=lambda: True)
        assert misled.disk.vouched.root == misled.replica.root != taker.replica.root
        lost.is_up, consortium.cut_off = False, set()
        taker.driver.takeover(agreed)
        for _ in range(3):
            consortium.step(35)
        assert misled.replica.root == taker.replica.root
        proof = {note for node in consortium.nodes.values() for note in node.driver.cosigner.evidence}
        assert {note.partition("\n\n")[0] for note in proof} == {
            note.partition("\n\n")[0] for note in (forked.checkpoint, taker.replica.chain[2][0].checkpoint)
        }
        assert misled.driver.cosigner.evidence
        # The operators have acknowledged it, and every line counts again, that of who was misled as well.
        for name in names[1:]:
            consortium.nodes[name].restart()
        consortium.step()
        taker.driver.order([consortium.anchor("org-2")])
        for _ in range(4):
            consortium.step(35)
        finals = {consortium.nodes[name].driver.cosigner.final_size for name in names[1:]}
        assert finals == {taker.replica.size}
        consortium.check()


def stop_all(consortium: Consortium, note: str) -> list[bool]:
    """Show a note to all who run; tells who has stopped."""
    up = [node for node in consortium.nodes.values() if node.is_up]
    for node in up:
        node.driver.cosign(note)
    return [node.driver.cosigner.is_stopped for node in up]


@pytest.fixture
def forked_long_ago(consortium):
    """Have an orderer replaced, all be final, and its other root for an old size be shown."""
    ordered(consortium)
    consortium.settle(2)
    old = consortium.nodes["org-1"].replica.size
    consortium.nodes["org-2"].driver.takeover(
        consortium.hand_over("org-2", consortium.orderer, voters=list(consortium.nodes))
    )
    consortium.settle(3)
    return old, log_pen(log_signer("org-0"), consortium.genesis.origin, old, bytes(32))


def test_what_an_operator_has_acknowledged_stops_nobody_again_nor_does_more_by_who_orders_no_more(
    consortium, forked_long_ago
):
    old, forked = forked_long_ago
    assert stop_all(consortium, forked) == [True] * 5
    for node in consortium.nodes.values():
        node.acknowledge()
    consortium.settle(2)
    another = log_pen(log_signer("org-0"), consortium.genesis.origin, old, bytes([1]) * 32)
    earlier = log_pen(log_signer("org-0"), consortium.genesis.origin, old - 1, bytes(32))
    for note in (forked, another, earlier):
        assert stop_all(consortium, note) == [False] * 5
    consortium.orderer.driver.order([consortium.anchor("org-3")])
    consortium.settle(3)
    assert {node.driver.cosigner.final_size for node in consortium.nodes.values()} == {consortium.orderer.replica.size}
    consortium.check()


def test_another_fork_of_who_orders_stops_all_again_and_so_does_one_of_somebody_else(consortium, forked_long_ago):
    _, forked = forked_long_ago
    stop_all(consortium, forked)
    for node in consortium.nodes.values():
        node.acknowledge()
    consortium.settle(2)
    size = consortium.orderer.replica.size
    by_orderer = log_pen(log_signer("org-2"), consortium.genesis.origin, size, bytes(32))
    assert stop_all(consortium, by_orderer) == [True] * 5
    for node in consortium.nodes.values():
        node.acknowledge()
    consortium.settle(2)
    assert stop_all(consortium, by_orderer) == [False] * 5
    consortium.orderer.driver.order([consortium.anchor("org-3")])
    consortium.settle(2)
    size = consortium.orderer.replica.size
    assert stop_all(consortium, log_pen(log_signer("org-2"), consortium.genesis.origin, size, bytes(32))) == [True] * 5


def test_a_change_by_who_orders_frees_no_member_that_takes_it_for_a_takeover(consortium):
    """A member that lacks the hand-over to the one who orders cannot tell: it stands down for nobody yet."""
    ordered(consortium)
    consortium.settle(2)
    before, member, orderer = consortium.orderer, consortium.nodes["org-3"], consortium.nodes["org-1"]

    def change(creator, target, quorum=4):
        rules = replace(orderer.replica.members.protocol, orderer=target, quorum=quorum)
        content = protocol_content(rules)
        owner, object_id = public_owner("protocol", content)
        version = orderer.replica.record(map_key("protocol", owner, object_id)).version + 1
        row = ObjectRow(object_id, version, public_body_hash("protocol", content))
        others = [name for name in consortium.nodes if name != creator]
        payload = consortium._payload(creator, (Change("protocol", "active", (row,)),), (content,), others, orderer)  # noqa: SLF001  # as its own changes
        return consortium.sign(replace(payload, until=consortium.now + DAY_S))

    consortium.cut_off = {"org-3"}
    before.driver.order([change(before.org_id, "org-1")])
    for _ in range(3):
        consortium.step(40)
    own = change("org-1", "org-1", quorum=5)
    for name in ("org-2", "org-4"):
        with pytest.raises(VerificationError, match=r"^takeover\.transaction reason=orderer"):
            consortium.nodes[name].driver.stand_down(own)
    with pytest.raises(VerificationError, match=r"^takeover\.behind version=3 own=1"):
        member.driver.stand_down(own)
    assert member.disk.vouched.stood_down == ""
    # It refuses as the others do once it has caught up, and promises the one that is a takeover.
    consortium.settle(3)
    assert member.replica.members.protocol.orderer == "org-1"
    with pytest.raises(VerificationError, match=r"^takeover\.transaction reason=orderer"):
        member.driver.stand_down(own)
    member.driver.stand_down(change("org-2", "org-2"))
    assert (member.disk.vouched.stood_down, member.disk.vouched.version) == ("org-2", 3)


def test_who_has_dropped_what_it_cosigned_answers_no_takeover_until_it_is_back(consortium):
    """It ended between dropping its block and putting it back: any note that it has left would deny its lines."""
    node, agreed, _ = agreed_and_not_done(consortium)
    size, height = node.replica.size, node.replica.height
    assert node.driver.cosign_once() or node.disk.vouched.size == size
    assert node.disk.vouched.size == size > node.driver.cosigner.final_size
    block = node.replica.blocks(height, 1)[0]
    node.replica.rewind(height - 1)
    node.restart()
    with pytest.raises(UnavailableError, match=r"^takeover\.note"):
        node.driver.stand_down(agreed)
    assert node.disk.vouched.stood_down == "org-2"
    node.replica.apply(block)
    node.restart()
    note = node.driver.stand_down(agreed)
    reading = LedgerNotary(consortium.genesis.origin, cosign_keys("org-2")).read(note, node.replica.members)
    assert (reading.size, {name.org_id for name in reading.lines} >= {"org-1"}) == (size, True)


@pytest.mark.parametrize(
    ("size", "seconds", "is_behind_another"),
    [(1, 0, False), (3, 0, False), (2, -DAY_S, False), (2, 2 * DAY_S, False), (1, 0, True)],
)
def test_no_block_is_dropped_for_one_that_cannot_follow(consortium, size, seconds, is_behind_another):
    """It has a change agreed upon, and a note that its taker has once signed, for what is of another size."""
    node, agreed, _ = agreed_and_not_done(consortium)
    height, base = node.replica.height, node.replica.height_of(node.driver.cosigner.final_size)
    assert base == height - 1
    start, members = node.driver.cosigner.final_size, node.replica.members
    assert members.protocol.orderer == "org-0"
    branch, first = consortium.nodes["org-2"].replica.fork(), []
    assert branch.height == base
    if is_behind_another:
        branch.signer = log_signer("org-0")
        first = [branch.propose([consortium.anchor("org-4")], consortium.now).block]
        start = branch.size
    note = log_pen(log_signer("org-2"), consortium.genesis.origin, start + size, bytes(32))
    time = node.replica.time + seconds
    theirs = [*first, Block(height + len(first), time, (agreed,), note)]

    class Liar:
        def blocks(self, number, _wait_s):
            return [block for block in theirs if block.height >= number]

        def entry(self, position, _size):
            raise NotFoundError("store.leaf", position=position)

    def rewind(_height):
        pytest.fail("it drops blocks")

    node.replica.rewind = rewind
    assert node.driver._succession.look_at(Liar()) is False  # noqa: SLF001  # what a look round does with each peer
    assert (node.replica.height, node.disk.vouched.stood_down) == (height, "")


def test_a_lost_orderer_that_goes_on_for_ever_does_not_hold_up_its_replacement(consortium):
    """It shows an end far away, and gives a valid block each time it is asked."""
    ordered(consortium)
    consortium.settle(2)
    lost, taker = consortium.orderer, consortium.nodes["org-2"]
    agreed = consortium.hand_over("org-2", taker, voters=list(consortium.nodes))
    notary = LedgerNotary(consortium.genesis.origin, cosign_keys("org-0"))
    size, root = 10**9, bytes(32)
    text = log_pen(log_signer("org-0"), consortium.genesis.origin, size, root)
    line = notary.read(text, taker.replica.members).log_line
    far = notary.write(size, root, line, notary.cosign(size, root, consortium.now))
    lost.driver.stand_down = lambda _leaf: far
    branch, start, given = lost.replica.fork(), lost.replica.height, []

    def more(source, first):
        if source != "org-2" or first <= start:
            return []
        given.append(first)
        assert len(given) <= 100, "it is asked for ever"
        while branch.height < first:
            branch.propose([consortium.anchor("org-0")], consortium.now)
        return [block for block, _, _ in branch.chain[first : first + 1]]

    lost.lies["blocks"] = more
    taker.driver.takeover(agreed)
    assert given
    lost.is_up = False
    for _ in range(4):
        consortium.step(40)
    assert consortium.orderer.org_id == "org-2"
    assert taker.driver.cosigner.final_size == taker.replica.size
    consortium.check()
