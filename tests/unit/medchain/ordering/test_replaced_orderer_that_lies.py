"""A replaced orderer that lies: whoever takes it for the orderer still finds out, and one liar drops nothing.

Source: `docs/spec/ordering.md` 1 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from medchain.errors import UnavailableError, VerificationError
from medchain.ledger.members import ProtocolRules, organisation_content, protocol_content, quorum_floor
from medchain.ledger.object import map_key, public_body_hash, public_owner
from medchain.ledger.transaction import Change, ObjectRow
from medchain.ordering.block import Block, accepted_id
from medchain.ordering.follower import LOOK_ANSWERS
from medchain.ordering.notary import LedgerNotary, log_pen
from tests.consortium import DAY_S, Consortium, Killer, Node, cosign_keys, is_level, log_signer
from tests.unit.medchain.ledger.world import key

LOST, TAKER, OTHER, AWAY = "org-0", "org-1", "org-2", "org-3"


@pytest.fixture
def consortium():
    """Have four of whom three are a quorum, with one block that is final."""
    with Consortium(4) as made:
        made.step()
        made.orderer.driver.order([made.anchor(OTHER)])
        made.settle(2)
        yield made


def says_nothing(node: Node) -> None:
    """Have a node answer each poll, at its old ledger, that there is nothing newer."""
    height = node.replica.height
    node.lies["round"] = lambda _source, _ask: (None, 0)
    node.lies["blocks"] = lambda _source, first: node.replica.blocks(first, 1 << 20) if first <= height else []


def agreed_on(consortium: Consortium, name: str) -> bytes:
    return consortium.hand_over(name, consortium.nodes[name], voters=list(consortium.nodes))


def go_on(consortium: Consortium, names: Sequence[str], times: int = 8, seconds: int = 20) -> None:
    """Let time pass; the liar does nothing of its own."""
    for _ in range(times):
        consortium.now += seconds
        for name in names:
            consortium.nodes[name].step()


def replaced_while_one_was_away(consortium: Consortium) -> None:
    agreed = agreed_on(consortium, TAKER)
    consortium.cut_off = {AWAY}
    consortium.nodes[TAKER].driver.takeover(agreed)
    says_nothing(consortium.nodes[LOST])
    go_on(consortium, [TAKER, OTHER])


@pytest.mark.parametrize("seconds", [0, 3600])
def test_a_replaced_orderer_that_says_that_there_is_nothing_newer_keeps_nobody_at_its_ledger(consortium, seconds):
    """All three are needed for anything new to be final, and the one that was away asks the liar."""
    replaced_while_one_was_away(consortium)
    away, taker = consortium.nodes[AWAY], consortium.nodes[TAKER]
    consortium.cut_off = {TAKER, OTHER}
    away.step()
    consortium.now += seconds
    away.step()
    assert away.driver.is_caught_up, "as far as it knows"
    consortium.cut_off = set()
    taker.driver.order([consortium.anchor(OTHER)])
    go_on(consortium, [TAKER, OTHER, AWAY])
    assert away.replica.root == taker.replica.root
    assert taker.driver.cosigner.final_size == taker.replica.size
    assert away.alarms() == set()


@pytest.mark.parametrize("restored", [False, True])
def test_a_replaced_orderer_that_gives_one_block_after_the_other_keeps_who_starts_from_no_other(consortium, restored):
    """It is asked first, and orders as fast as it is asked; all three others are needed for anything to be final."""
    replaced_while_one_was_away(consortium)
    lost, away, taker = (consortium.nodes[name] for name in (LOST, AWAY, TAKER))
    branch, given = lost.replica.fork(), list[int]()

    def one_more(source: str, first: int) -> Sequence[Block]:
        given.append(first)
        if len(given) > 50:
            pytest.fail("it is asked for ever")
        while source == AWAY and branch.height < first:
            branch.propose([consortium.anchor(LOST)], consortium.now)
        return branch.blocks(first, 1 << 20)

    lost.lies["blocks"] = one_more
    consortium.cut_off = set()
    away.restart(restored=restored)
    for _ in range(8):
        given.clear()
        go_on(consortium, [TAKER, OTHER, AWAY], 1)
    assert away.replica.root == taker.replica.root
    assert taker.driver.cosigner.final_size == taker.replica.size
    assert away.alarms() == set()


def test_who_starts_with_little_of_the_ledger_orders_nothing_before_it_has_been_given_the_rest(consortium):
    """It may be in the middle of one reign of many, its own perhaps."""
    consortium.cut_off = {AWAY}
    for _ in range(3 * LOOK_ANSWERS + 1):
        consortium.orderer.driver.order([consortium.anchor(OTHER)])
    go_on(consortium, [TAKER, OTHER, LOST], 3)
    consortium.cut_off = set()
    away = consortium.nodes[AWAY]
    away.restart()
    for node in consortium.nodes.values():
        # As where each block is as large as an answer may be.
        node.lies["blocks"] = lambda _source, first, own=node.replica: own.blocks(first, 1)[:1]
    assert away.driver.look_round() is False
    assert away.driver.look_round() is True
    assert away.replica.root == consortium.nodes[LOST].replica.root


def test_a_block_that_the_takeover_kept_and_the_liar_keeps_back_is_taken_from_others(consortium):
    """It seems to be dated back, by who says that it is not there: enough others have it, and that is an alarm."""
    lost, away = consortium.nodes[LOST], consortium.nodes[AWAY]
    agreed = agreed_on(consortium, TAKER)
    consortium.cut_off = {AWAY}
    hidden = consortium.anchor(OTHER)
    lost.driver.order([hidden])
    go_on(consortium, [TAKER, OTHER, LOST], 2)
    consortium.nodes[TAKER].driver.takeover(agreed)
    height = lost.replica.transaction_height(accepted_id(hidden))
    lost.lies["round"] = lambda _source, _ask: (None, 0)
    lost.lies["blocks"] = lambda _source, first: lost.replica.blocks(first, 1 << 20)[: max(0, height - first)]
    lost.driver.frames = lambda *_rest: b""
    go_on(consortium, [TAKER, OTHER])
    consortium.now += 3600
    consortium.cut_off = {TAKER, OTHER}
    away.step()
    consortium.cut_off = set()
    consortium.nodes[TAKER].driver.order([consortium.anchor(OTHER)])
    go_on(consortium, [TAKER, OTHER, AWAY], 12)
    assert away.replica.transaction_height(accepted_id(hidden)) == height
    assert away.replica.root == consortium.nodes[TAKER].replica.root
    assert away.driver.cosigner.final_size == away.replica.size
    assert away.alarms() == {"ordering.kept_back"}


def test_what_others_have_final_and_the_orderer_does_not_give_is_an_alarm_until_it_comes(consortium):
    replaced_while_one_was_away(consortium)
    away, taker = consortium.nodes[AWAY], consortium.nodes[TAKER]
    consortium.cut_off = set()
    notary, members = LedgerNotary(consortium.genesis.origin, cosign_keys(OTHER)), taker.replica.members
    size, root = taker.replica.size, taker.replica.root
    line = notary.read(taker.replica.blocks(taker.replica.height, 1)[0].checkpoint, members).log_line

    def note(names: Sequence[str]) -> str:
        lines = {}
        for name in names:
            lines.update(LedgerNotary(consortium.genesis.origin, cosign_keys(name)).cosign(size, root, consortium.now))
        return notary.write(size, root, line, lines)

    for name in (TAKER, OTHER):
        # The notes come through, and the blocks do not.
        consortium.nodes[name].lies["blocks"] = unreachable
    away.driver.cosign(note([TAKER, OTHER]))
    go_on(consortium, [AWAY])
    assert (away.alarms(), away.driver.is_caught_up) == (set(), True), "what fewer than a quorum say is nothing"
    away.driver.cosign(note([TAKER, OTHER, LOST]))
    go_on(consortium, [AWAY], 2)
    assert away.alarms() == set()
    go_on(consortium, [AWAY], 4)
    assert (away.alarms(), away.driver.is_caught_up) == ({"ordering.not_given"}, False)
    for name in (TAKER, OTHER):
        consortium.nodes[name].lies.clear()
    go_on(consortium, [TAKER, OTHER, AWAY], 4)
    assert away.replica.root == taker.replica.root
    assert (away.alarms(), away.driver.is_caught_up) == (set(), True)


def unreachable(*_about: object) -> None:
    raise UnavailableError("peer.unreachable")


def unfinal_block(consortium: Consortium) -> bytes:
    """Have the orderer give a receipt for a transaction of a block that nobody else has yet."""
    leaf = consortium.anchor(LOST)
    consortium.cut_off = {LOST}
    consortium.nodes[LOST].driver.order([leaf])
    consortium.cut_off = set()
    return leaf


def wrong_block(consortium: Consortium, agreed: bytes, name: str) -> Block:
    """Make what can be told only by executing it: the change agreed upon, its taker's line, and a made-up root."""
    ours = consortium.nodes[name].replica
    note = log_pen(log_signer(TAKER), consortium.genesis.origin, ours.size, bytes(32))
    return Block(ours.height, consortium.now, (agreed,), note)


def gives(node: Node, *blocks: Block) -> None:
    node.lies["blocks"] = lambda _source, first: [block for block in blocks if block.height >= first]


def drops_nothing(consortium: Consortium, leaf: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """See that the orderer, shown something at each poll, neither drops its block nor gives up its log key."""
    lost = consortium.nodes[LOST]
    before = lost.disk.vouched

    def rewind(_height: int) -> None:
        pytest.fail("it drops its block")

    with monkeypatch.context() as patch:
        patch.setattr(lost.replica, "rewind", rewind)
        go_on(consortium, [LOST], 4)
    assert replace(lost.disk.vouched, floor=0, size=0, root=b"") == replace(before, floor=0, size=0, root=b"")
    assert lost.driver.may_order(LOST)
    assert lost.replica.transaction_height(accepted_id(leaf)) == lost.replica.height
    consortium.nodes[TAKER].lies.clear()
    lost.driver.order([consortium.anchor(OTHER)])
    consortium.settle(3)
    assert is_level(consortium.nodes)
    assert lost.driver.cosigner.final_size == lost.replica.size
    assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 4
    consortium.check()


def test_a_liar_with_a_takeover_agreed_upon_has_the_orderer_drop_nothing_that_it_gave_receipts_for(
    consortium, monkeypatch
):
    agreed = agreed_on(consortium, TAKER)
    leaf = unfinal_block(consortium)
    gives(consortium.nodes[TAKER], wrong_block(consortium, agreed, LOST))
    drops_nothing(consortium, leaf, monkeypatch)


def test_a_liar_with_a_takeover_of_long_ago_that_was_never_made_has_the_orderer_drop_nothing(consortium, monkeypatch):
    """The block holds in all, and is dated back to when it could have been made; nobody else has it."""
    agreed = agreed_on(consortium, TAKER)
    made = consortium.nodes[TAKER].replica.fork().propose([agreed], consortium.now, takeover=True).block
    consortium.now += 2 * DAY_S
    leaf = unfinal_block(consortium)
    gives(consortium.nodes[TAKER], made)
    drops_nothing(consortium, leaf, monkeypatch)


def test_a_liar_that_shows_other_blocks_before_a_takeover_that_was_made_has_nobody_drop_any(consortium, monkeypatch):
    """Others have the takeover, and not those blocks."""
    agreed = agreed_on(consortium, TAKER)
    leaf = unfinal_block(consortium)
    taker, lost = consortium.nodes[TAKER], consortium.nodes[LOST]
    branch = taker.replica.fork()
    kept = branch.fork()
    kept.signer = log_signer(LOST)
    first = kept.propose([consortium.anchor(OTHER)], consortium.now).block
    kept.signer = log_signer(TAKER)
    last = kept.propose([agreed], consortium.now, takeover=True).block
    wrong = replace(first, transactions=(consortium.anchor(OTHER),))
    for name in (OTHER, AWAY):
        gives(consortium.nodes[name], first, last)
    gives(taker, wrong, last)
    monkeypatch.setattr(lost.replica, "rewind", None)
    succession = lost.driver._succession  # noqa: SLF001  # what a look round does with each peer
    assert succession.look_at(lost.driver._ports.connect(TAKER), TAKER) is False  # noqa: SLF001  # likewise
    assert lost.replica.transaction_height(accepted_id(leaf)) == lost.replica.height


def test_a_liar_with_a_takeover_of_long_ago_that_was_never_made_leads_no_member_away(consortium):
    """All have heard since that there is nothing newer, and one has a block that is not final yet."""
    agreed = agreed_on(consortium, TAKER)
    made = consortium.nodes[TAKER].replica.fork().propose([agreed], consortium.now, takeover=True).block
    consortium.now += 2 * DAY_S
    go_on(consortium, [LOST, OTHER, AWAY], 2)
    consortium.cut_off = {AWAY}
    leaf, member = consortium.anchor(OTHER), consortium.nodes[OTHER]
    consortium.nodes[LOST].driver.order([leaf])
    member.driver.follow_once()
    gives(consortium.nodes[TAKER], made)
    go_on(consortium, [OTHER], 3)
    assert member.replica.transaction_height(accepted_id(leaf)) == made.height
    assert member.disk.vouched.stood_down == ""
    consortium.cut_off = set()
    go_on(consortium, [LOST, OTHER, AWAY])
    assert consortium.nodes[LOST].driver.cosigner.final_size == member.replica.size


def until_over(consortium: Consortium) -> None:
    lost, taker = consortium.nodes[LOST], consortium.nodes[TAKER]
    for _ in range(12):
        consortium.now += 20
        lost.step()
        if lost.replica.blocks(2, 1)[0] == taker.replica.blocks(2, 1)[0]:
            return
    pytest.fail("it does not go over")


def test_an_orderer_that_goes_over_and_ends_at_any_write_loses_no_transaction_that_it_gave_a_receipt_for():
    """It was away, and nobody else has its block."""
    for number in range(30):
        with Consortium(4) as consortium:
            consortium.step()
            consortium.orderer.driver.order([consortium.anchor(OTHER)])
            consortium.settle(2)
            agreed = agreed_on(consortium, TAKER)
            for name in (TAKER, OTHER, AWAY):
                consortium.nodes[name].driver.stand_down(agreed)
            leaf = unfinal_block(consortium)
            lost = consortium.nodes[LOST]
            consortium.cut_off = {LOST}
            consortium.nodes[TAKER].driver.takeover(agreed)
            go_on(consortium, [TAKER, OTHER, AWAY], 2)
            consortium.cut_off = set()
            killer = Killer(lost, at=number)
            with killer:
                until_over(consortium)
            if killer.is_done:
                waiting = [row.leaf for row in lost.driver.outbox._pending.values()]  # noqa: SLF001  # durable in a node
                lost.restart()
                for item in waiting:
                    lost.driver.outbox.add(item)
            consortium.settle(6)
            assert is_level(consortium.nodes)
            assert consortium.nodes[TAKER].replica.transaction_height(accepted_id(leaf)) is not None
            assert lost.disk.vouched.spent == {key(LOST, "log").id}
            assert lost.replica.dropped() == []
            assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 4
            consortium.check()
            if not killer.is_done:
                assert number > 4, "the work has writes"
                return
    pytest.fail("there is no end of writes")


def has_others_block(consortium: Consortium) -> tuple[Node, bytes]:
    """Have a member, which has stood down, hold a block that nobody else has."""
    agreed = agreed_on(consortium, TAKER)
    member = consortium.nodes[OTHER]
    consortium.cut_off = {TAKER, AWAY}
    consortium.nodes[LOST].driver.order([consortium.anchor(AWAY)])
    member.driver.follow_once()
    consortium.cut_off = {LOST}
    member.driver.stand_down(agreed)
    return member, agreed


def test_who_was_asked_to_wait_and_is_given_a_wrong_block_has_its_own_back_wherever_it_ends():
    for number in range(12):
        with Consortium(4) as consortium:
            consortium.step()
            consortium.orderer.driver.order([consortium.anchor(OTHER)])
            consortium.settle(2)
            member, agreed = has_others_block(consortium)
            lie = wrong_block(consortium, agreed, OTHER)
            root, vouched = member.replica.root, member.disk.vouched
            gives(consortium.nodes[TAKER], lie)
            killer = Killer(member, at=number)
            with killer:
                member.driver.follow_once()
            if killer.is_done:
                member.restart()
            assert (member.replica.root, member.replica.dropped()) == (root, [])
            assert (member.disk.vouched.stood_down, member.disk.vouched.spent) == (TAKER, vouched.spent)
            if not killer.is_done:
                assert number > 2, "the work has writes"
                # Once is enough: from now on it asks others what they have.
                member.replica.rewind = None
                member.driver.follow_once()
                assert member.replica.root == root
                return
    pytest.fail("there is no end of writes")


def test_who_takes_over_while_it_looks_at_another_takeover_does_not_drop_its_own_for_it(consortium, monkeypatch):
    """What was judged before is judged again when it is done: meanwhile it has given a receipt."""
    member, agreed = has_others_block(consortium)
    consortium.cut_off = {LOST}
    taken = consortium.nodes[TAKER].driver.takeover(agreed)
    consortium.now += DAY_S + 121
    again = agreed_on(consortium, OTHER)
    succession, leaf = member.driver._succession, consortium.anchor(OTHER)  # noqa: SLF001  # to be between its steps

    def meanwhile(_theirs: object, _giver: str) -> bool:
        # It is asked again while it goes over, and makes it.
        consortium.cut_off = {TAKER}
        member.driver.takeover(again)
        member.driver.order([leaf])
        consortium.cut_off = {LOST}
        return True

    monkeypatch.setattr(succession, "_is_witnessed", meanwhile)
    assert succession.look_at(member.driver._ports.connect(TAKER), TAKER) is False  # noqa: SLF001  # as a poll does
    assert member.replica.transaction_height(accepted_id(leaf)) is not None
    assert member.replica.blocks(taken.height, 1)[0].transactions != taken.transactions


def test_who_promised_another_takeover_while_it_asked_for_its_own_does_not_make_that(consortium, monkeypatch):
    """It has told the other one what it cosigned last, and may sign nothing more that could come before."""
    taker = consortium.nodes[TAKER]
    agreed, other = agreed_on(consortium, TAKER), agreed_on(consortium, OTHER)
    succession, root = taker.driver._succession, taker.replica.root  # noqa: SLF001  # to be between its steps
    monkeypatch.setattr(succession, "_fetch", lambda *_rest: succession.stand_down(other))
    with pytest.raises(VerificationError, match=r"^takeover\.transaction reason=promise"):
        taker.driver.takeover(agreed)
    assert (taker.replica.root, taker.disk.vouched.stood_down) == (root, OTHER)


def test_every_log_key_that_signed_in_vain_is_remembered(consortium):
    taker = consortium.nodes[TAKER]
    first, second = (key(TAKER, "log", generation).id for generation in (1, 2))
    taker.driver.cosigner.spend(frozenset({first}))
    taker.driver.cosigner.spend(frozenset({second}))
    assert taker.disk.vouched.spent == {first, second}
    taker.restart()
    assert not taker.driver.may_order(TAKER)


def test_who_has_a_forked_block_goes_over_to_a_ledger_in_which_log_keys_are_exchanged_before_the_takeover(consortium):
    """That of who orders is not, the machine refuses it; that of who did, and of who takes over, may be."""
    lost, other, taker, away = (consortium.nodes[name] for name in (LOST, OTHER, TAKER, AWAY))
    consortium.cut_off = {AWAY}
    away.driver.follower.apply([lost.replica.fork().propose([consortium.anchor(OTHER)], consortium.now).block])
    refused = lost.driver.order([consortium.rotate(LOST, lost)])
    assert [outcome.code for outcome in refused] == ["transaction.log_key"]
    there = [LOST, OTHER, TAKER]
    lost.driver.order([consortium.hand_over(OTHER, lost, voters=list(consortium.nodes))])
    go_on(consortium, there, 2)
    for name in (LOST, TAKER):
        other.driver.order([consortium.rotate(name, other)])
        go_on(consortium, there, 2)
        consortium.nodes[name].restart()
        go_on(consortium, there, 2)
    agreed = consortium.hand_over(TAKER, taker, voters=list(consortium.nodes))
    taker.driver.takeover(agreed)
    go_on(consortium, there, 4)
    assert taker.driver.cosigner.final_size == taker.replica.size
    assert away.replica.height == 2
    consortium.cut_off = set()
    go_on(consortium, [*there, AWAY])
    assert away.replica.root == taker.replica.root
    assert away.driver.cosigner.final_size == taker.replica.size
    assert away.alarms() == {"ordering.two_blocks"}
    consortium.check()


def test_who_orders_leaves_with_the_block_by_which_it_hands_over_and_all_go_on():
    """It has signed the end of that block, and is no active member any more where it is cosigned."""
    with Consortium(5) as consortium:
        consortium.step()
        consortium.orderer.driver.order([consortium.anchor(OTHER)])
        consortium.settle(2)
        view, names = consortium.nodes[TAKER], [TAKER, OTHER, AWAY, "org-4"]
        members = view.replica.members
        contents = [
            ("organisation", organisation_content(replace(members.organisations[LOST], status="suspended"), {})),
            ("protocol", protocol_content(ProtocolRules(TAKER, quorum_floor(4), 1))),
        ]
        changes = []
        for kind, content in contents:
            owner, object_id = public_owner(kind, content)
            version = view.replica.record(map_key(kind, owner, object_id)).version + 1
            changes.append(Change(kind, "active", (ObjectRow(object_id, version, public_body_hash(kind, content)),)))
        bodies, others = tuple(content for _, content in contents), [LOST, *names[1:]]
        payload = consortium._payload(TAKER, tuple(changes), bodies, others, view)  # noqa: SLF001  # as its own changes
        consortium.orderer.driver.order([consortium.sign(payload)])
        go_on(consortium, names, 4)
        assert consortium.nodes[LOST].driver.orderer.failure is None
        # The end of that very block is final: whoever trusts the members of before can go on from there.
        assert {consortium.nodes[name].driver.cosigner.final_size for name in names} == {view.replica.size}
        consortium.nodes[OTHER].restart()
        view.driver.order([consortium.anchor(OTHER)])
        go_on(consortium, names, 4)
        assert {consortium.nodes[name].driver.cosigner.final_size for name in names} == {view.replica.size}
        assert {name: consortium.nodes[name].alarms() for name in names} == {name: set() for name in names}


def test_that_a_block_is_final_is_told_by_members_also_where_a_newer_one_is_not(consortium):
    """A lost orderer kept it from one, who could else not sign that it is replaced."""
    lost, other, away = (consortium.nodes[name] for name in (LOST, OTHER, AWAY))
    lost.driver.order([consortium.anchor(OTHER)])
    away.driver.follow_once()
    consortium.cut_off = {AWAY}
    go_on(consortium, [LOST, OTHER, TAKER], 2)
    size = other.replica.size
    assert other.driver.cosigner.final_size == size > away.driver.cosigner.final_size
    # Two of four have cosigned the next one when it is lost.
    lost.driver.order([consortium.anchor(OTHER)])
    consortium.now += 35
    other.driver.follow_once()
    assert other.driver.cosigner.vouch(lambda: True) is not None
    consortium.cut_off, lost.is_up = {TAKER}, False
    assert other.driver.cosigner.vouched.floor > size
    for _ in range(3):
        consortium.now += 35
        other.driver.cosign_once()
    assert away.driver.cosigner.final_size == size


@pytest.mark.parametrize("is_cosigned", [False, True])
def test_a_long_branch_that_a_takeover_dropped_binds_who_cosigned_it_and_not_who_has_only_had_it(
    consortium, is_cosigned
):
    """Three of four are left, and all of them are needed."""
    lost, taker, other, away = (consortium.nodes[name] for name in (LOST, TAKER, OTHER, AWAY))
    consortium.liars, branch = {LOST}, lost.replica.fork()
    for _ in range(6):
        branch.propose([consortium.anchor(LOST)], consortium.now)
    lost.lies["blocks"] = lambda source, first: branch.blocks(first, 1 << 20) if source == AWAY else []
    lost.driver.order([consortium.anchor(OTHER)])
    for node in (taker, other, away):
        node.driver.follow_once()
    assert (taker.replica.size, away.replica.size) == (lost.replica.size, branch.size)
    assert lost.replica.size + 2 < branch.size
    if is_cosigned:
        assert away.driver.cosigner.vouch(lambda: True) is not None
    agreed = agreed_on(consortium, TAKER)
    consortium.cut_off = {LOST}
    taker.driver.takeover(agreed)
    # Two blocks of one height, each under the lost orderer's log line: its lie is proven, to both.
    assert "ordering.two_blocks" in taker.alarms() | away.alarms()
    go_on(consortium, [TAKER, OTHER, AWAY])
    assert away.replica.root == taker.replica.root
    assert away.driver.cosigner.vouched.floor >= (branch.size if is_cosigned else 0)
    assert (taker.driver.cosigner.final_size == taker.replica.size) == (not is_cosigned)
    while taker.replica.size <= branch.size:
        taker.driver.order([consortium.anchor(OTHER)])
    go_on(consortium, [TAKER, OTHER, AWAY])
    assert taker.driver.cosigner.final_size == taker.replica.size
    consortium.check()


def test_blocks_that_one_takeover_dropped_hold_up_no_later_one():
    """Two of seven cosigned them, and the liar, which shows that to the next who takes over; one is silent."""
    with Consortium(7) as consortium:
        consortium.settle(2)
        lost, base = consortium.nodes[LOST], consortium.nodes[LOST].driver.cosigner.final_note.text
        misled, others = (OTHER, AWAY), sorted(consortium.nodes.keys() - {LOST})
        consortium.cut_off = set(others) - set(misled)
        consortium.withheld = {(LOST, name) for name in others}
        for _ in range(8):
            lost.driver.order([consortium.anchor(LOST)])
        go_on(consortium, [LOST, *misled], 2)
        void = lost.driver.cosigner.note()
        assert all(f"— {name}." in void for name in (LOST, *misled))
        consortium.cut_off, consortium.withheld = set(), set()
        lost.driver.stand_down = lambda _leaf: base
        consortium.nodes[TAKER].driver.takeover(agreed_on(consortium, TAKER))
        go_on(consortium, others, 4)
        # Those two cosign nothing at such sizes again: the liar makes the takeover final, as if it knew nothing.
        taken = consortium.nodes[TAKER].replica
        signer = LedgerNotary(consortium.genesis.origin, cosign_keys(LOST))
        line = signer.read(taken.blocks(taken.height, 1)[0].checkpoint, taken.members).log_line
        made = signer.write(taken.size, taken.root, line, signer.cosign(taken.size, taken.root, consortium.now))
        for name in others:
            consortium.nodes[name].driver.cosign(made)
        go_on(consortium, others, 2)
        size = int(void.split("\n")[1])
        assert 0 < consortium.nodes["org-4"].driver.cosigner.final_size == taken.size < size
        consortium.nodes[TAKER].is_up = False
        lost.driver.stand_down = lambda _leaf: void
        consortium.nodes["org-4"].driver.takeover(agreed_on(consortium, "org-4"))
        assert consortium.nodes["org-4"].driver.is_orderer


def test_who_takes_over_has_no_alarm_left_about_what_the_one_before_gave(consortium):
    """It follows nobody: no right block would ever come and end it."""
    lost, taker = consortium.nodes[LOST], consortium.nodes[TAKER]
    agreed = agreed_on(consortium, TAKER)
    gives(lost, Block(lost.replica.height + 1, consortium.now - 3600, (consortium.anchor(LOST),), "none"))
    go_on(consortium, [TAKER], 2)
    assert taker.alarms() == {"block.time"}
    lost.is_up = False
    taker.driver.takeover(agreed)
    go_on(consortium, [TAKER, OTHER, AWAY], 2)
    assert taker.driver.cosigner.final_size == taker.replica.size
    assert taker.alarms() == set()
