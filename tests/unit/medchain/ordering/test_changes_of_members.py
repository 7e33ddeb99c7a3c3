"""What is final while the members change: a quorum of every set of members since the last final block.

Sizes of quorums are worked out by hand from (n + f) / 2 < k, f = ⌊(n − 1) / 3⌋: n = 4, 5, 6, 7 have k = 3, 4, 4, 5.
Source: `docs/spec/ordering.md` 4, "What is final".
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace

import pytest

from medchain.errors import AccessDeniedError, VerificationError
from medchain.ledger.members import Members, ProtocolRules
from medchain.ordering.cosign import Awaited
from medchain.ordering.lines import LineName, is_quorum
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.ordering.receipt import Refused
from medchain.ordering.round import Ask
from tests.consortium import Consortium, Link, MemoryReplica, cosign_keys, genesis, log_signer
from tests.roll import COSIGN_USES
from tests.unit.medchain.ledger.world import key


@pytest.fixture
def six():
    """Six members with four blocks' worth of a common ledger that is final."""
    with Consortium(6) as made:
        made.step()
        made.orderer.driver.order([made.anchor("org-1")])
        made.settle(2)
        yield made


def shown(consortium: Consortium, sides: dict[str, MemoryReplica]) -> None:
    """Have the orderer lie: it shows each member its own branch, and lends all of them its lines."""
    liar = consortium.nodes["org-0"]
    consortium.liars = {"org-0"}
    liar.lies = {"blocks": lambda source, first: sides[source].blocks(first, 1 << 20)}
    notary = LedgerNotary(consortium.genesis.origin, cosign_keys("org-0"))
    for branch in {id(branch): branch for branch in sides.values()}.values():
        mine = {name for name, one in sides.items() if one is branch}
        consortium.cut_off = set(consortium.nodes) - mine - {"org-0"}
        for _ in range(4):
            consortium.now += 3
            for name in sorted(mine):
                consortium.nodes[name].step()
                block, size, root = branch.chain[-1]
                line = block.checkpoint.partition("\n\n")[2]
                lent = notary.write(size, root, line, notary.cosign(size, root, consortium.now))
                consortium.nodes[name].driver.cosign(lent)
    consortium.cut_off = set()


def test_a_liar_that_orders_makes_no_two_histories_final_beside_and_behind_a_change_that_lowers_the_quorum(six):
    """Four of six are a quorum, and three of the four that are left: the liar with org-1, -4, -5 or with org-2, -3."""
    liar, voters = six.nodes["org-0"], ["org-0", "org-1", "org-2", "org-3"]
    base = liar.replica.size
    change = six.stand({"org-4": "suspended", "org-5": "suspended"}, liar, voters=voters)
    beside, behind = liar.replica.fork(), liar.replica.fork()
    beside.propose([six.anchor("org-1")], six.now)
    behind.propose([change], six.now)
    behind.propose([six.anchor("org-2")], six.now)
    shown(six, {name: behind if name in {"org-2", "org-3"} else beside for name in sorted(six.nodes)[1:]})
    final = {name: six.nodes[name].driver.cosigner.final_size for name in sorted(six.nodes)[1:]}
    assert final == {"org-1": base + 2, "org-4": base + 2, "org-5": base + 2, "org-2": base, "org-3": base}
    assert not any(six.nodes[name].alarms() for name in final)
    six.check()


def final_sizes(consortium: Consortium, *names: str) -> list[int]:
    """List up to where the ledger is final to some members."""
    return [consortium.nodes[name].driver.cosigner.final_size for name in names]


def started(count: int) -> Consortium:
    """Give so many members a common ledger of one block, which is final."""
    made = Consortium(count)
    made.step()
    made.orderer.driver.order([made.anchor("org-1")])
    made.settle(2)
    return made


def suspended(consortium: Consortium, name: str) -> None:
    """Have a member suspended by all others."""
    voters = [other for other in sorted(consortium.nodes) if other != name]
    consortium.orderer.driver.order([consortium.stand({name: "suspended"}, consortium.orderer, voters=voters)])


def passed(consortium: Consortium, steps: int = 3) -> None:
    """Let time pass."""
    for _ in range(steps):
        consortium.step(35)


# n = 4, k = 3: the three that are left have to be there, of whom two are a quorum afterwards.
def test_a_dead_member_is_suspended_as_soon_as_the_others_reach_the_quorum_before():
    with started(4) as four:
        before = four.orderer.replica.size
        four.nodes["org-3"].is_up = four.nodes["org-2"].is_up = False
        suspended(four, "org-3")
        four.orderer.driver.order([four.anchor("org-1")])
        passed(four)
        assert final_sizes(four, "org-0", "org-1") == [before, before]
        four.nodes["org-2"].is_up = True
        passed(four)
        assert final_sizes(four, "org-0", "org-1", "org-2") == [four.orderer.replica.size] * 3
        four.nodes["org-2"].is_up = False
        four.orderer.driver.order([four.anchor("org-1")])
        passed(four)
        assert final_sizes(four, "org-0", "org-1") == [four.orderer.replica.size] * 2
        four.check()


# n, k: 5, 4, then 4, 3. The newest lines are those of three, which were no quorum of the five.
@pytest.mark.parametrize("is_orderer_there", [True, False])
def test_who_was_not_there_is_shown_how_each_change_became_final(is_orderer_there):
    with started(5) as five:
        suspended(five, "org-4")
        passed(five)
        change = five.orderer.driver.cosigner.final_size
        assert change == five.orderer.replica.size
        five.nodes["org-2"].is_up = five.nodes["org-4"].is_up = False
        five.orderer.driver.order([five.anchor("org-1")])
        passed(five)
        newest = five.orderer.replica.size
        assert final_sizes(five, "org-0", "org-1", "org-3") == [newest] * 3
        late = five.nodes["org-1"]
        late.restore(0)
        assert late.driver.cosigner.final_size == 0
        if not is_orderer_there:
            # It gets blocks, and hears from the other member alone what is final.
            five.withheld = {("org-0", "org-1")}

            def blocks_alone(source, first, wait_s):
                return source.client.blocks(first, wait_s)

            late.driver.follower._ask = blocks_alone  # noqa: SLF001  # its polls bring no notes
        passed(five, 6)
        assert late.driver.cosigner.final_size == newest
        assert late.disk.notes[change][1]
        five.check()


def test_a_change_is_shown_to_who_was_away_also_under_a_log_key_that_was_exchanged_since():
    with started(5) as five:
        suspended(five, "org-4")
        passed(five)
        change = five.orderer.driver.cosigner.final_size
        names = ["org-0", "org-1", "org-2", "org-3"]
        over = five.hand_over("org-3", five.orderer, voters=names, creator="org-1")
        five.orderer.driver.order([over])
        passed(five)
        five.orderer.driver.order([five.rotate("org-0", five.orderer)])
        passed(five)
        five.nodes["org-0"].restart()
        five.nodes["org-2"].is_up = five.nodes["org-4"].is_up = False
        five.orderer.driver.order([five.anchor("org-1")])
        passed(five)
        newest, late = five.orderer.replica.size, five.nodes["org-1"]
        assert final_sizes(five, "org-0", "org-1", "org-3") == [newest] * 3
        late.restore(0)
        for block in five.orderer.replica.blocks(1, 1 << 20):
            late.replica.apply(block)
        # Of another root than ours, under a key that is in force no more, nothing is a note.
        other = log_pen(log_signer("org-0"), five.genesis.origin, change, bytes(32))
        with pytest.raises(VerificationError, match=r"^checkpoint\.log_line"):
            late.driver.cosigner.learn(other)
        assert (late.driver.cosigner.final_size, late.alarms()) == (0, set())
        passed(five, 8)
        assert late.driver.cosigner.final_size == newest
        assert late.disk.notes[change][1]
        five.check()


def test_who_knows_of_a_change_is_shown_what_is_newest():
    with started(5) as five:
        start = five.orderer.driver.cosigner.final_size
        suspended(five, "org-4")
        passed(five)
        change = five.orderer.driver.cosigner.final_size
        five.orderer.driver.order([five.anchor("org-1")])
        passed(five)
        driver = five.orderer.driver
        newest, cosigner = driver.cosigner.final_size, driver.cosigner
        # The last one is of another history, perhaps.
        assert [cosigner.change_after(size).size for size in (0, start, start + 1)] == [change] * 3
        assert [cosigner.change_after(size) for size in (change, newest, newest + 9)] == [None] * 3
        assert driver.checkpoint(start) == cosigner.change_after(start).text
        assert driver.checkpoint(change) == driver.checkpoint() == driver.cosigner.note()


# n = 4, k = 3, of whom one is away: each of the others is needed under the keys of before, and of after.
def test_a_cosigning_key_is_exchanged_while_another_member_is_away():
    with started(4) as four:
        node, before = four.nodes["org-1"], four.orderer.replica.size
        four.nodes["org-2"].is_up = False
        node.submit(four.exchange("org-1", COSIGN_USES, node))
        passed(four, 1)
        four.orderer.driver.order([four.anchor("org-3")])
        passed(four)
        # It signs with a key that is listed no more: that counts nowhere, not even at home.
        assert not node.has_listed_keys
        assert final_sizes(four, "org-0", "org-1", "org-3") == [before] * 3
        node.restart()
        passed(four)
        assert final_sizes(four, "org-0", "org-1", "org-3") == [four.orderer.replica.size] * 3
        four.check()


def test_a_suspended_member_cosigns_until_its_suspension_is_final_and_then_no_more():
    with started(4) as four:
        node = four.nodes["org-3"]
        suspended(four, "org-3")
        node.driver.follow_once()
        change = node.replica.size
        assert node.driver.cosigner.vouch(lambda: True) is not None
        passed(four)
        assert node.driver.cosigner.final_size == change
        four.orderer.driver.order([four.anchor("org-1")])
        passed(four)
        assert node.replica.size > change
        assert node.disk.vouched.floor == change


def parted(count: int, *silent: str) -> Consortium:
    """Give so many members a ledger, at the doors of real nodes, some of whom are silent from now on."""
    made = started(count)
    made.guarded = True
    for name in silent:
        made.nodes[name].is_up = False
    return made


# n = 4, k = 3, f = 1: org-2 is silent, so the suspended one's lines are the third.
def test_the_suspension_of_a_member_that_is_alive_is_final_by_its_own_lines_where_f_others_are_silent():
    with parted(4, "org-2") as four:
        suspended(four, "org-3")
        change = four.orderer.replica.size
        passed(four)
        assert final_sizes(four, "org-0", "org-1") == [change] * 2
        four.orderer.driver.order([four.anchor("org-1")])
        newest = four.orderer.replica.size
        passed(four)
        # Two of the three that are left are a quorum now.
        assert final_sizes(four, "org-0", "org-1") == [newest] * 2
        four.nodes["org-2"].is_up = True
        passed(four)
        assert final_sizes(four, "org-2") == [newest]
        four.check()


# n = 7, k = 5, f = 2: four are left that answer, and the suspended one.
def test_so_it_is_among_seven_of_whom_two_are_silent():
    with parted(7, "org-4", "org-5") as seven:
        suspended(seven, "org-6")
        passed(seven)
        up = ("org-0", "org-1", "org-2", "org-3")
        assert final_sizes(seven, *up) == [seven.orderer.replica.size] * 4
        seven.check()


def test_a_member_whose_suspension_is_final_is_let_in_no_more_and_learns_nothing_newer():
    with parted(4) as four:
        node = four.nodes["org-3"]
        suspended(four, "org-3")
        change = four.orderer.replica.size
        passed(four)
        assert final_sizes(four, "org-0", "org-1", "org-2") == [change] * 3
        four.orderer.driver.order([four.anchor("org-1")])
        passed(four)
        assert node.replica.size <= change
        assert node.disk.vouched.floor <= change
        link = Link(four, "org-3", "org-1")
        for call in (
            lambda: link.blocks(0, 0),
            lambda: link.round(Ask(0, 0, 0, 0, None)),
            link.checkpoint,
            lambda: link.cosign("note"),
            lambda: link.entry(0, 1),
            lambda: link.stand_down(b"leaf"),
        ):
            with pytest.raises(AccessDeniedError):
                call()


@pytest.mark.parametrize("silent", [(), ("org-2",)])
def test_a_suspended_member_that_is_silent_holds_up_its_suspension_only_where_f_others_are(silent):
    """Without its lines, its suspension waits for the quorum of before among the others."""
    with parted(4, *silent) as four:
        before = four.orderer.replica.size
        suspended(four, "org-3")
        four.nodes["org-3"].is_up = False
        passed(four)
        assert final_sizes(four, "org-0") == [before if silent else four.orderer.replica.size]
        four.check()


def test_what_a_change_waits_for_is_told_of_each_set_of_members():
    with parted(4, "org-2") as four:
        assert four.orderer.driver.cosigner.awaited() == []
        suspended(four, "org-3")
        four.nodes["org-3"].is_up = False
        passed(four)
        # The three that are left have two of three; those before it lack the third of four.
        everybody = frozenset(four.nodes)
        for name in ("org-0", "org-1"):
            assert four.nodes[name].driver.cosigner.awaited() == [Awaited(everybody, frozenset({"org-2", "org-3"}), 1)]
        four.nodes["org-3"].is_up = True
        passed(four)
        assert four.nodes["org-1"].driver.cosigner.awaited() == []


def test_a_suspended_member_brings_its_own_stops_and_nothing_else():
    with parted(4) as four:
        suspended(four, "org-3")
        passed(four)
        link = Link(four, "org-3", "org-0")
        stop = four.narrow("org-3")
        # It is judged: the object is not there.
        assert link.submit([stop]) == [Refused("stop.unknown")]
        for leaves in ([four.anchor("org-3")], [stop, four.anchor("org-3")], [four.narrow("org-1")]):
            with pytest.raises(AccessDeniedError, match=r"ordering\.stops_only"):
                link.submit(leaves)


def test_in_a_takeover_a_member_shows_lines_of_present_members_alone():
    """Who asks may have the suspension as final, and cannot read lines of members of before."""
    with started(4) as four:
        four.nodes["org-2"].is_up = False
        suspended(four, "org-3")
        passed(four, 1)
        node = four.nodes["org-1"]
        passed(four, 1)
        assert "org-3.medchain" in node.driver.cosigner.note(node.replica.size)
        shown = node.driver.cosigner.testimony()
        assert "org-1.medchain" in shown
        assert "org-0.medchain" in shown
        assert "org-3.medchain" not in shown


# n, k: 6, 4, then 4, 3. Signed by who does not order, so that only a quorum would make it worth anything.
def test_a_quorum_of_members_that_are_not_final_proves_nothing_against_what_is(six):
    node, origin = six.nodes["org-1"], six.genesis.origin
    size, voters = node.replica.size, ["org-0", "org-1", "org-2", "org-3"]
    change = six.stand({"org-4": "suspended", "org-5": "suspended"}, six.orderer, voters=voters)
    six.orderer.driver.order([change])
    node.driver.follow_once()
    line = log_pen(log_signer("org-2"), origin, size, bytes(32)).partition("\n\n")[2]

    def told(*names: str) -> set[str]:
        made = [LedgerNotary(origin, cosign_keys(name)).cosign(size, bytes(32), six.now) for name in names]
        note = LedgerNotary(origin, cosign_keys("org-2")).write(size, bytes(32), line, dict(ChainMap(*made)))
        node.driver.cosigner.learn(note)
        return node.alarms()

    assert told("org-0", "org-2", "org-3") == set()
    assert told("org-0", "org-2", "org-4", "org-5") == set()
    assert told("org-0", "org-2", "org-3", "org-4") == {"checkpoint.split_view"}


# n, k: 6, 4, then 4, 3.
def test_a_quorum_of_members_that_are_not_final_is_not_ahead_of_a_node(six):
    node, origin = six.nodes["org-1"], six.genesis.origin
    voters = ["org-0", "org-1", "org-2", "org-3"]
    six.orderer.driver.order([six.stand({"org-4": "suspended", "org-5": "suspended"}, six.orderer, voters=voters)])
    node.driver.follow_once()
    size, root = node.replica.size + 2, bytes(32)
    line = log_pen(log_signer("org-2"), origin, size, root).partition("\n\n")[2]

    def since(*names: str) -> int | None:
        made = [LedgerNotary(origin, cosign_keys(name)).cosign(size, root, six.now) for name in names]
        node.driver.cosign(LedgerNotary(origin, cosign_keys("org-2")).write(size, root, line, dict(ChainMap(*made))))
        return node.driver.cosigner.behind_since

    assert since("org-0", "org-2", "org-3") is None
    assert since("org-0", "org-2", "org-4", "org-5") is None
    assert since("org-0", "org-2", "org-3", "org-4") == six.now
    assert node.alarms() == set()


HONEST = ("org-1", "org-2", "org-3")


def dropped_by_a_takeover(five: Consortium) -> str:
    """Have org-3 take over from org-0 after three of five, of whom k = 4 are a quorum, cosigned what it has not.

    The liar, org-0, denies its own line. Org-4 is suspended afterwards: then three of four are a quorum.

    Returns:
        The note of what was dropped, with the three members' lines.
    """
    lost, taker, names = five.orderer, five.nodes["org-3"], sorted(five.nodes)
    before = lost.driver.checkpoint()
    five.cut_off = {"org-3", "org-4"}
    lost.driver.order([five.anchor("org-1")])
    for name in ("org-0", "org-1", "org-2"):
        five.nodes[name].driver.follow_once()
        five.nodes[name].driver.cosign_once()
    for name in ("org-1", "org-2"):
        lost.driver.cosign(five.nodes[name].driver.cosigner.own_note)
    note = lost.driver.checkpoint()
    five.liars, five.cut_off = {"org-0"}, set()
    lost.driver.stand_down = lambda _leaf: before
    taker.driver.takeover(five.hand_over("org-3", taker, voters=names))
    five.settle(4)
    taker.driver.order([five.stand({"org-4": "suspended"}, taker, voters=["org-0", "org-1", "org-2", "org-3"])])
    five.settle(4)
    assert not any(five.nodes[name].alarms() for name in HONEST)
    return note


# At once, after another takeover, and to those who take it for settled, since somebody showed it them before.
@pytest.mark.parametrize("is_settled", [False, True])
@pytest.mark.parametrize("is_replaced_again", [False, True])
def test_lines_too_few_when_a_takeover_dropped_their_block_prove_nothing_when_the_quorum_is_smaller(
    is_replaced_again, is_settled
):
    with started(5) as five:
        note = dropped_by_a_takeover(five)
        if is_replaced_again:
            taker = five.nodes["org-2"]
            taker.driver.takeover(five.hand_over("org-2", taker, voters=["org-0", "org-1", "org-2", "org-3"]))
            five.settle(4)
        for name in HONEST if is_settled else ():
            five.nodes[name].disk.settled.append(note)
            five.nodes[name].restart()
        for _ in range(2):
            for name in HONEST:
                five.nodes[name].driver.cosign(note)
            passed(five)
        assert [five.nodes[name].alarms() for name in HONEST] == [set()] * 3
        assert all(five.nodes[name].driver.is_caught_up for name in HONEST)
        orderer = five.nodes["org-2" if is_replaced_again else "org-3"]
        orderer.driver.order([five.anchor("org-1")])
        passed(five)
        assert final_sizes(five, *HONEST) == [orderer.replica.size] * 3


def lines(*names: str, generation: int = 1) -> set[LineName]:
    """Name the lines of some members under a generation of their keys."""
    return {LineName(name, use, key(name, use, generation).id) for name in names for use in COSIGN_USES}


def with_new_keys(members: Members, name: str) -> Members:
    """Exchange a member's cosigning keys."""
    before = members.organisations[name]
    keys = tuple(key(name, item.use, 2) if item.use in COSIGN_USES else item for item in before.keys)
    return members.with_organisation(replace(before, keys=keys))


def test_a_quorum_of_each_set_of_members_is_needed_not_of_the_first_and_the_last_alone():
    first = genesis(6).members
    between = first.with_protocol(ProtocolRules("org-0", 5, 1))
    four = lines("org-0", "org-1", "org-2", "org-3")
    assert is_quorum(four, [first])
    assert not is_quorum(four, [first, between, first])
    assert is_quorum(four | lines("org-4"), [first, between, first])


def test_a_key_counts_for_the_members_that_list_it_and_those_before_them():
    before = genesis(4).members
    after = with_new_keys(before, "org-1")
    others, old, new = lines("org-0", "org-2"), lines("org-1"), lines("org-1", generation=2)
    assert is_quorum(others | old, [before])
    assert not is_quorum(others | old, [before, after])
    assert is_quorum(others | new, [before, after])
    assert not is_quorum(others | new, [before])
    assert not is_quorum(others | {name for name in new if name.use == COSIGN_USES[0]}, [before, after])
