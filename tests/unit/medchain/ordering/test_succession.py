"""A takeover, of which any party ends at any of its writes: all go on alike, and none breaks a promise.

The parties: a member that was away and has cosigned a block that the takeover drops; the lost orderer, which comes
back; the one that takes over; a member that is there. Source: `docs/spec/ordering.md` 5.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Thread
from types import MappingProxyType

import pytest

from medchain.errors import UnavailableError, VerificationError
from medchain.ordering.block import Block, accepted_id
from medchain.ordering.driver import Proposal
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.ordering.round import Ask
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from tests.consortium import DAY_S, Consortium, KilledError, Killer, cosign_keys, is_level, log_signer
from tests.unit.medchain.ledger.world import key

NAMES = [f"org-{number}" for number in range(7)]
OTHERS = NAMES[2:]
MEMBER, LOST, TAKER = "org-1", "org-0", "org-2"
MOST_WRITES = 30
MANY = 16
"""So many blocks are void that the second reign begins below their end."""
PROMISED: dict[tuple[str, int], bytes] = {}
COSIGN = LedgerNotary.cosign


@pytest.fixture(autouse=True)
def promises(monkeypatch):
    """See that nobody ever signs two roots of one size, whatever else happens."""
    PROMISED.clear()

    def watched(self, size, root, time):
        assert PROMISED.setdefault((self.org_id, size), root) == root, "two roots of one size"
        return COSIGN(self, size, root, time)

    monkeypatch.setattr(LedgerNotary, "cosign", watched)


def lost_with_a_block(consortium: Consortium) -> bytes:
    """Lose the orderer when one member has its newest block, and has cosigned it; returns the takeover agreed upon."""
    consortium.step()
    consortium.orderer.driver.order([consortium.anchor("org-3")])
    consortium.settle(2)
    agreed = consortium.hand_over(TAKER, consortium.nodes[TAKER], voters=NAMES)
    consortium.cut_off = set(OTHERS)
    consortium.orderer.driver.order([consortium.anchor(MEMBER)])
    consortium.step(60)
    member = consortium.nodes[MEMBER]
    assert member.disk.vouched.size == member.replica.size > consortium.nodes[TAKER].replica.size
    consortium.cut_off = {MEMBER, LOST}
    return agreed


def taken_over(consortium: Consortium) -> bytes:
    """Let the others take over, and the two that were away come back without having done a step."""
    agreed = lost_with_a_block(consortium)
    consortium.nodes[TAKER].driver.takeover(agreed)
    consortium.step()
    consortium.step(60)
    assert consortium.nodes[TAKER].driver.cosigner.final_size == consortium.nodes[TAKER].replica.size
    consortium.cut_off = set()
    return agreed


def go_on(consortium: Consortium, needed: str) -> None:
    """See that all come together under the new orderer, and that one's lines make the next block final."""
    consortium.settle(5)
    assert is_level(consortium.nodes), {n: (v.replica.height, v.alarms()) for n, v in consortium.nodes.items()}
    assert {name: node.alarms() for name, node in consortium.nodes.items()} == {name: set() for name in NAMES}
    assert consortium.orderer.org_id == TAKER
    away = [name for name in ("org-6", "org-5", "org-4") if name != needed][:2]
    consortium.cut_off = set(away)
    taker = consortium.nodes[TAKER]
    taker.driver.order([consortium.anchor("org-3")])
    for _ in range(3):
        consortium.step(60)
    # Five of seven are the quorum: all that are left.
    assert taker.driver.cosigner.final_size == taker.replica.size
    assert consortium.nodes[needed].disk.vouched.stood_down == ""
    consortium.check()


def cut_at_each_write(who: str, begin: Callable[[Consortium], object], work: Callable[[Consortium], object]):
    """Do some work as often as one node writes in it, and once more; each time it ends in front of another write."""
    for number in range(MOST_WRITES):
        PROMISED.clear()
        with Consortium(7) as consortium:
            begin(consortium)
            killer = Killer(consortium.nodes[who], at=number)
            with killer:
                work(consortium)
            if killer.is_done:
                consortium.nodes[who].restart()
            yield consortium
            if not killer.is_done:
                assert number > 3, "the work has writes"
                return
    pytest.fail("there is no end of writes")


def steps(who: str) -> Callable[[Consortium], None]:
    def work(consortium: Consortium) -> None:
        consortium.nodes[LOST].is_up = who == LOST
        node, is_level_before = consortium.nodes[who], False
        while not is_level_before:
            is_level_before = node.replica.root == consortium.nodes[TAKER].replica.root
            consortium.now += 60
            node.step()

    return work


@pytest.mark.parametrize("who", [MEMBER, LOST])
def test_who_comes_back_after_a_takeover_and_ends_at_any_write_goes_on_under_the_new_orderer(who):
    for consortium in cut_at_each_write(who, taken_over, steps(who)):
        go_on(consortium, who)


@pytest.fixture
def agreed() -> list[bytes]:
    """Hold the takeover agreed upon."""
    return []


def test_who_takes_over_and_ends_at_any_write_takes_over_later(agreed):
    def begin(consortium: Consortium) -> None:
        agreed[:] = [lost_with_a_block(consortium)]

    for consortium in cut_at_each_write(TAKER, begin, lambda made: made.nodes[TAKER].driver.takeover(*agreed)):
        taker = consortium.nodes[TAKER]
        if taker.replica.members.protocol.orderer != TAKER:
            taker.driver.takeover(*agreed)
        go_on(consortium, MEMBER)


def test_who_stands_down_and_ends_at_any_write_goes_on_under_the_new_orderer(agreed):
    def begin(consortium: Consortium) -> None:
        agreed[:] = [lost_with_a_block(consortium)]

    def work(consortium: Consortium) -> None:
        # The lost orderer answers, so that one of the others may end meanwhile.
        consortium.cut_off = {MEMBER}
        consortium.nodes[TAKER].driver.takeover(*agreed)
        consortium.nodes["org-3"].step()

    for consortium in cut_at_each_write("org-3", begin, work):
        go_on(consortium, "org-3")


def test_a_member_that_stood_down_for_the_next_takeover_keeps_its_word_when_it_learns_of_the_one_before():
    """It has told the next orderer what it cosigned last; a line for the one before could make more final than that."""
    PROMISED.clear()
    with Consortium(7) as consortium:
        first = taken_over(consortium)
        member, taker = consortium.nodes[MEMBER], consortium.nodes[TAKER]
        second = consortium.hand_over("org-4", consortium.nodes["org-4"], voters=NAMES)
        # As long as it lacks the one before it promises nothing, and answers nothing.
        with pytest.raises(VerificationError, match=r"^takeover\.behind version=3 own=1"):
            member.driver.stand_down(second)
        assert member.disk.vouched.stood_down == ""
        consortium.settle(6)
        member.driver.stand_down(second)
        # Its ledger comes from a backup, and what it remembers does not.
        member.replica.lose(taker.replica.transaction_height(accepted_id(first)) - 1)
        member.restart()
        promised = dict(PROMISED)
        consortium.cut_off = {LOST}
        for _ in range(6):
            consortium.step(60)
        assert member.replica.root == taker.replica.root, "it has the blocks"
        taker.driver.order([consortium.anchor("org-3")])
        for _ in range(3):
            consortium.step(60)
        assert member.replica.root == taker.replica.root
        assert member.disk.vouched.stood_down == "org-4"
        assert not [name for name in PROMISED.keys() - promised.keys() if name[0] == MEMBER]
        # Nor does the one before, shown once more, take the place of the promise.
        with pytest.raises(VerificationError, match=r"^takeover\.transaction reason=(version|orderer)"):
            member.driver.stand_down(first)
        consortium.nodes["org-4"].driver.takeover(second)
        consortium.settle(5)
        assert is_level(consortium.nodes)
        assert consortium.orderer.org_id == "org-4"
        assert member.disk.vouched.stood_down == ""
        consortium.check()


def test_who_has_a_hand_over_to_the_one_that_takes_over_drops_it_for_the_takeover():
    """The orderer was lost just when it had handed over, and nobody else has its last block."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        consortium.step()
        consortium.orderer.driver.order([consortium.anchor("org-3")])
        consortium.settle(2)
        taker, member = consortium.nodes[TAKER], consortium.nodes[MEMBER]
        handed, agreed = (consortium.hand_over(TAKER, taker, voters=NAMES) for _ in range(2))
        consortium.cut_off = set(OTHERS)
        consortium.orderer.driver.order([handed])
        member.step()
        assert (member.replica.members.protocol.orderer, taker.replica.members.protocol.orderer) == (TAKER, LOST)
        consortium.cut_off = {MEMBER, LOST}
        taker.driver.takeover(agreed)
        consortium.step()
        consortium.cut_off = set()
        go_on(consortium, MEMBER)
        assert member.replica.transaction_height(accepted_id(handed)) is None


def test_who_polls_an_orderer_that_was_replaced_hears_that_it_is_none():
    """It has nothing more, and its word for that would leave the one that asks on blocks that were dropped."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        taken_over(consortium)
        steps(LOST)(consortium)
        lost, member = consortium.nodes[LOST], consortium.nodes[MEMBER]
        # What was dropped is ordered again; for once it is not, so that there is no newer block.
        lost.driver.outbox._pending.clear()  # noqa: SLF001  # as a restart does
        with pytest.raises(UnavailableError, match=r"ordering\.not_orderer"):
            lost.driver.round(Ask(lost.replica.height + 1, 0, 0, 0, None))
        member.driver.outbox._pending.clear()  # noqa: SLF001  # the same
        for _ in range(6):
            member.step()
        assert member.replica.root == consortium.nodes[TAKER].replica.root


def test_who_ended_in_a_takeover_goes_on_also_where_the_lost_orderer_has_other_keys_since(monkeypatch):
    with Consortium(7) as consortium:
        PROMISED.clear()
        taken_over(consortium)
        member = consortium.nodes[MEMBER]
        monkeypatch.setattr(member.driver.cosigner, "resume", killed)
        with pytest.raises(KilledError):
            steps(MEMBER)(consortium)
        member.restart()
        # A line under a key that is in use no more.
        read = LedgerNotary.read

        def withdrawn(self, note, members, known=MappingProxyType({}), earlier=()):
            reading = read(self, note, members, known, earlier)
            if reading.log_org == LOST:
                raise VerificationError("checkpoint.log_line", size=reading.size)
            return reading

        monkeypatch.setattr(LedgerNotary, "read", withdrawn)
        assert member.disk.vouched.stood_down == TAKER
        member.driver.follow_once()
        assert (member.disk.vouched.stood_down, member.disk.vouched.replaced) == ("", LOST)
        go_on(consortium, MEMBER)


def killed(*_args: object, **_named: object) -> None:
    raise KilledError


def test_a_promise_to_wait_ends_where_another_change_has_taken_its_version_for_good():
    """The takeover ran out of time, the members agreed on another one, and this member was away meanwhile."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        agreed = lost_with_a_block(consortium)
        member = consortium.nodes[MEMBER]
        vain = consortium.hand_over("org-5", member, voters=NAMES)
        member.driver.stand_down(vain)
        consortium.nodes[TAKER].driver.takeover(agreed)
        consortium.step(60)
        consortium.cut_off = {LOST}
        consortium.nodes[LOST].is_up = False
        # Not before it is final: the takeover that it waits for could still be.
        final = member.driver.cosigner.final_size
        while member.driver.cosigner.final_size == final:
            assert member.disk.vouched.stood_down == "org-5"
            consortium.now += 60
            member.step()
        go_on(consortium, MEMBER)


def test_a_takeover_that_does_not_hold_leaves_no_promise_behind():
    with Consortium(7) as consortium:
        PROMISED.clear()
        agreed = lost_with_a_block(consortium)
        member = consortium.nodes[MEMBER]
        note = log_pen(log_signer(TAKER), consortium.genesis.origin, member.replica.size, bytes(32))
        lie = Block(member.replica.height, consortium.now, (agreed,), note)

        class Liar:
            def blocks(self, first, _wait_s):
                return [lie] if first == lie.height else []

        before = member.disk.vouched
        assert member.driver._succession.look_at(Liar()) is False  # noqa: SLF001  # what a look round does with each peer
        assert member.disk.vouched == before


def test_a_size_at_which_a_dropped_block_was_cosigned_stays_forbidden_also_where_the_next_takeover_builds_on_it():
    """The first takeover's block ends where the dropped one did, and the second takes over from just there."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        taken_over(consortium)
        member = consortium.nodes[MEMBER]
        dropped = member.disk.vouched
        consortium.cut_off = {MEMBER, LOST}
        second = consortium.nodes["org-4"]
        second.driver.takeover(consortium.hand_over("org-4", second, voters=NAMES))
        consortium.step(60)
        consortium.cut_off = {LOST}
        while member.replica.height < 3:
            member.driver.follow_once()
        assert member.replica.root_at(dropped.size) not in {None, dropped.root}
        # What it vouched for last is known again at each start, with its own lines.
        member.restart()
        consortium.settle(3)
        assert is_level(consortium.nodes)
        assert member.disk.vouched.size == member.disk.vouched.floor == member.replica.size
        consortium.check()


def test_who_was_restored_learns_from_others_what_it_had_signed_and_signs_no_other_root_there():
    with Consortium(7) as consortium:
        PROMISED.clear()
        taken_over(consortium)
        member, taker = consortium.nodes[MEMBER], consortium.nodes[TAKER]
        before = member.disk.vouched
        assert taker.replica.root_at(before.size) not in {None, before.root}
        member.restore(member.replica.height - 1)
        assert member.disk.vouched.floor == 0
        member.step()
        assert member.disk.vouched.floor >= before.size
        go_on(consortium, MEMBER)


def test_who_was_restored_cosigns_anew_what_it_had_cosigned():
    PROMISED.clear()
    with Consortium(5) as consortium:
        consortium.step()
        consortium.orderer.driver.order([consortium.anchor("org-3")])
        consortium.settle(2)
        member = consortium.nodes[MEMBER]
        before = member.disk.vouched
        member.restore(member.replica.height - 1)
        member.step()
        after = member.disk.vouched
        assert (after.floor, after.size, after.root) == (before.floor, before.size, before.root)
        consortium.now += 35
        assert member.driver.cosign_once()


def test_who_wanted_to_take_over_in_vain_follows_those_who_went_on_without_it():
    with Consortium() as consortium:
        PROMISED.clear()
        consortium.step()
        names = list(consortium.nodes)
        taker = consortium.nodes[TAKER]
        consortium.cut_off = {TAKER}
        with pytest.raises(VerificationError, match=r"^takeover\.quorum"):
            taker.driver.takeover(consortium.hand_over(TAKER, taker, voters=names))
        consortium.orderer.driver.order([consortium.hand_over("org-3", taker, voters=names)])
        consortium.step()
        consortium.settle(3)
        assert is_level(consortium.nodes)
        assert taker.disk.vouched.stood_down == ""


@pytest.fixture
def handed_by_the_lost_orderer():
    """Show a takeover to a lost orderer that lies: it orders the change itself, behind a block that nobody has.

    All others have stood down.
    """
    with Consortium() as consortium:
        PROMISED.clear()
        consortium.step()
        consortium.settle(2)
        lost = consortium.orderer
        agreed = consortium.hand_over(TAKER, lost, voters=list(consortium.nodes))
        for name in ("org-1", "org-2", "org-3", "org-4"):
            consortium.nodes[name].driver.stand_down(agreed)
        lost.driver.order([consortium.anchor(LOST)])
        consortium.now += 60
        assert lost.driver.cosign_once()
        yield consortium, agreed, lost.driver.cosigner.own_note, lost.driver.order([agreed])


def test_a_lost_orderer_that_hands_over_itself_frees_nobody_from_the_promise(handed_by_the_lost_orderer):
    """With their lines its block would be final, beside that of who takes over."""
    consortium, agreed, note, _ = handed_by_the_lost_orderer
    others = [consortium.nodes[name] for name in ("org-1", "org-3", "org-4")]
    consortium.cut_off = {LOST}
    taken = consortium.nodes[TAKER].driver.takeover(agreed)
    consortium.cut_off = {TAKER}
    while any(node.replica.height < taken.height + 1 for node in others):
        consortium.step(10)
    for node in others:
        node.driver.cosign(note)
    consortium.step(35)
    assert [node.driver.cosigner.final_size < node.replica.size for node in others] == [True] * 3
    assert [node.disk.vouched.stood_down for node in others] == [TAKER] * 3
    consortium.settle(5)
    assert is_level(consortium.nodes)
    assert consortium.nodes[LOST].replica.blocks(taken.height, 1)[0] == taken
    assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 5
    consortium.check()


def test_who_is_handed_over_to_by_a_lost_orderer_waits_for_itself_no_more(handed_by_the_lost_orderer):
    consortium, _, _, _ = handed_by_the_lost_orderer
    taker = consortium.nodes[TAKER]
    taker.step()
    assert taker.driver.is_orderer
    assert taker.disk.vouched.stood_down == ""
    taker.driver.order([consortium.anchor("org-3")])
    consortium.settle(3)
    assert is_level(consortium.nodes)
    assert {node.disk.vouched.stood_down for node in consortium.nodes.values()} == {""}
    assert taker.driver.cosigner.final_size == taker.replica.size
    consortium.check()


def lost_with_blocks(consortium: Consortium) -> tuple[bytes, list[str]]:
    """Lose the orderer with blocks that one member alone has; returns the takeover agreed upon and their notes."""
    agreed = lost_with_a_block(consortium)
    consortium.cut_off = set(OTHERS)
    for _ in range(MANY):
        consortium.orderer.driver.order([consortium.anchor(MEMBER)])
        consortium.nodes[MEMBER].driver.follow_once()
    member = consortium.nodes[MEMBER].replica
    first = consortium.nodes[TAKER].replica.height + 1
    consortium.cut_off = {MEMBER, LOST}
    return agreed, [block.checkpoint for block in member.blocks(first, 1 << 20)]


def size_of(note: str) -> int:
    return parse_checkpoint(parse_note(note.encode()).text).size


def show(consortium: Consortium, notes: list[str]) -> None:
    """Show notes to everybody, as any member can who has kept them; where the key is gone they are none."""
    for node in consortium.nodes.values():
        for note in notes:
            with suppress(VerificationError):
                node.driver.cosign(note)


def exchange_log_key(consortium: Consortium, name: str) -> None:
    """Give an organisation its next log key, as `medchain key rotate log` does."""
    consortium.orderer.driver.order([consortium.rotate(name, consortium.orderer)])
    consortium.settle(2)
    consortium.nodes[name].restart()
    consortium.settle(1)


def hand_over_to(consortium: Consortium, name: str) -> None:
    consortium.orderer.driver.order([consortium.hand_over(name, consortium.orderer, voters=NAMES)])
    consortium.settle(2)
    assert consortium.orderer.org_id == name


def reigns_again(consortium: Consortium, name: str, void: list[str]) -> None:
    """Have one order again under a new key, over the sizes of notes that are void, which are shown all along."""
    show(consortium, void)
    exchange_log_key(consortium, name)
    show(consortium, void)
    hand_over_to(consortium, name)
    sizes = {size_of(note) for note in void}
    own = set()
    while consortium.orderer.replica.size <= max(sizes):
        show(consortium, void)
        # What was dropped is ordered anew, in one block: sizes of the other parity come as well.
        consortium.orderer.driver.order([consortium.anchor("org-3") for _ in range(1 + len(own) % 2)])
        own.add(consortium.orderer.replica.size)
        consortium.settle(1)
        show(consortium, void)
    assert own & sizes, "it signs again at a size at which it signed what is void"
    consortium.settle(2)
    assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 7
    assert consortium.orderer.driver.cosigner.final_size == consortium.orderer.replica.size
    consortium.check()


@pytest.fixture
def replaced():
    """Have an orderer replaced, with blocks that the takeover made void; gives their notes."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        agreed, void = lost_with_blocks(consortium)
        consortium.nodes[TAKER].driver.takeover(agreed)
        consortium.step(60)
        consortium.settle(6)
        assert is_level(consortium.nodes)
        yield consortium, void


def test_a_note_that_a_takeover_made_void_stops_nobody_when_its_signer_orders_again(replaced):
    """Whoever has it could else feign a split view, and stop all, as often as it likes."""
    reigns_again(replaced[0], LOST, replaced[1])


def test_who_was_replaced_does_not_order_under_the_log_key_of_its_former_reign(replaced):
    consortium, void = replaced
    lost = consortium.nodes[LOST]
    assert [node.driver.health().is_log_key_spent for node in consortium.nodes.values()] == [True] + [False] * 6
    assert all(node.driver.health().has_heir for node in consortium.nodes.values())
    hand_over_to(consortium, LOST)
    with pytest.raises(UnavailableError, match=r"^ordering\.log_key"):
        lost.driver.order([consortium.anchor("org-3")])
    # Nor what waits in its queue.
    with pytest.raises(UnavailableError, match=r"^ordering\.not_orderer"):
        lost.driver.orderer.submit([consortium.anchor("org-3")])
    assert lost.alarms() == {"ordering.log_key"}
    # The members go on under another.
    consortium.nodes["org-4"].driver.takeover(consortium.hand_over("org-4", lost, voters=NAMES))
    consortium.settle(4)
    reigns_again(consortium, LOST, void)


def test_who_came_back_from_a_backup_of_before_knows_by_the_ledger_that_its_log_key_is_spent(replaced):
    """It has forgotten what it signed, and dropped nothing."""
    consortium, _ = replaced
    lost = consortium.nodes[LOST]
    lost.restore(1)
    assert lost.driver.may_order(LOST)
    consortium.settle(3)
    assert lost.disk.vouched.spent == frozenset()
    assert not lost.driver.may_order(LOST)


def test_who_was_replaced_takes_over_from_nobody_under_the_same_log_key_and_nobody_stands_down_for_it(replaced):
    consortium, _ = replaced
    agreed = consortium.hand_over(LOST, consortium.nodes[LOST], voters=NAMES)
    for name in (LOST, "org-3"):
        with pytest.raises(VerificationError, match=r"^takeover\.log_key org_id=org-0"):
            consortium.nodes[name].driver.stand_down(agreed)
    before = [node.disk.vouched for node in consortium.nodes.values()]
    with pytest.raises(VerificationError, match=r"^takeover\.log_key"):
        consortium.nodes[LOST].driver.takeover(agreed)
    assert [node.disk.vouched for node in consortium.nodes.values()] == before
    exchange_log_key(consortium, LOST)
    consortium.cut_off = {TAKER}
    consortium.nodes[LOST].driver.takeover(consortium.hand_over(LOST, consortium.nodes[LOST], voters=NAMES))
    level_and_final(consortium, LOST)


def test_who_has_exchanged_its_log_key_in_a_block_that_may_be_dropped_takes_not_over_under_the_old_one(replaced):
    """It runs with the old key still, which has signed what is void."""
    consortium, _ = replaced
    lost = consortium.nodes[LOST]
    consortium.orderer.driver.order([consortium.rotate(LOST, consortium.orderer)])
    for node in consortium.nodes.values():
        node.driver.follow_once()
    agreed, height = consortium.hand_over(LOST, lost, voters=NAMES), lost.replica.height
    with pytest.raises(VerificationError, match=r"^takeover\.log_key"):
        lost.driver.takeover(agreed)
    assert lost.replica.height == height
    # With the new one it keeps the block that lists it.
    lost.start_anew()
    lost.driver.takeover(agreed)
    level_and_final(consortium, LOST)


def test_who_hands_over_in_time_may_order_again_under_the_same_log_key():
    """All that it signed is kept."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        consortium.step()
        for name in (TAKER, LOST):
            hand_over_to(consortium, name)
        level_and_final(consortium, LOST)
        assert not any(node.driver.health().is_log_key_spent for node in consortium.nodes.values())


@pytest.mark.parametrize("helper", [None, MEMBER])
def test_two_roots_by_one_orderer_in_its_second_reign_are_a_split_view(replaced, helper):
    """Under the new key, that is; also where another member passes the second one on, with its own lines."""
    consortium, void = replaced
    reigns_again(consortium, LOST, void)
    size, signer = consortium.orderer.replica.size, consortium.nodes[LOST].replica.signer
    notary = LedgerNotary(consortium.genesis.origin, cosign_keys(helper or LOST))
    reading = notary.read(
        log_pen(signer, consortium.genesis.origin, size, bytes(32)), consortium.nodes["org-3"].replica.members
    )
    # Not by the watched way: this one lies.
    lines = COSIGN(notary, size, bytes(32), consortium.now) if helper else {}
    honest = [node for name, node in consortium.nodes.items() if name not in {LOST, helper}]
    for node in honest:
        node.driver.cosign(notary.write(size, bytes(32), reading.log_line, lines))
        assert node.alarms() == {"checkpoint.split_view"}
        assert len(node.driver.cosigner.evidence) == 2


def test_what_is_signed_under_the_key_of_a_former_reign_says_nothing_whoever_shows_it(replaced):
    """Also what its signer makes up afterwards, over any history."""
    consortium, void = replaced
    reigns_again(consortium, LOST, void)
    member, origin = consortium.nodes["org-3"], consortium.genesis.origin
    for size in (size_of(void[0]), member.replica.size, member.replica.size + 2):
        with pytest.raises(VerificationError, match=r"^checkpoint\.log_line"):
            member.driver.cosign(log_pen(log_signer(LOST), origin, size, bytes(32)))
    old = replace(
        member.replica.blocks(member.replica.height, 1)[0],
        height=member.replica.height + 1,
        time=consortium.now,
        transactions=(consortium.anchor("org-3"),),
        checkpoint=log_pen(log_signer(LOST), origin, member.replica.size + 2, bytes(32)),
    )
    with pytest.raises(VerificationError, match=r"^block\.checkpoint"):
        member.driver.follower.apply([old])
    level_and_final(consortium, LOST)


def late_and_replaced(consortium: Consortium) -> list[str]:
    """Have a takeover that nobody else knows, with blocks after it, given up for the next; returns their notes."""
    agreed = lost_with_a_block(consortium)
    taker = consortium.nodes[TAKER]
    first = taker.replica.height + 1
    taker.driver.takeover(agreed)
    for _ in range(MANY):
        taker.driver.order([consortium.anchor("org-3")])
    again = agreed_again(consortium, MEMBER)
    consortium.cut_off = {TAKER, LOST}
    consortium.nodes[MEMBER].driver.takeover(again)
    return [block.checkpoint for block in taker.replica.blocks(first, 1 << 20)]


def test_that_nobody_could_replace_the_orderer_is_told_before_it_is_lost():
    with Consortium(4) as consortium:
        PROMISED.clear()
        names = list(consortium.nodes)
        consortium.step()
        for taker in names[1:]:
            before = consortium.orderer
            assert all(node.driver.health().has_heir for node in consortium.nodes.values())
            consortium.cut_off = {before.org_id}
            consortium.nodes[taker].driver.takeover(consortium.hand_over(taker, consortium.nodes[taker], voters=names))
            consortium.cut_off = set()
            consortium.step(60)
            consortium.settle(4)
            assert is_level(consortium.nodes)
        assert not any(node.driver.health().has_heir for node in consortium.nodes.values())
        # One that has exchanged its log key may.
        view = consortium.nodes[names[1]]
        consortium.orderer.driver.order([consortium.rotate(names[1], view)])
        consortium.step()
        consortium.settle(4)
        assert all(node.driver.health().has_heir for node in consortium.nodes.values())


def test_who_took_over_in_vain_and_ends_at_any_write_orders_again_under_another_log_key_alone():
    """The ledger says nothing of its reign; it alone knows what it signed, and must not forget it."""
    void: list[str] = []

    def begin(consortium: Consortium) -> None:
        void[:] = late_and_replaced(consortium)
        # It gives up its own blocks only for what more have than may lie.
        for name in OTHERS[1:]:
            consortium.nodes[name].step()
        consortium.cut_off = set()

    def work(consortium: Consortium) -> None:
        node = consortium.nodes[TAKER]
        while node.replica.root != consortium.nodes[MEMBER].replica.root:
            consortium.now += 60
            node.step()

    for consortium in cut_at_each_write(TAKER, begin, work):
        taker = consortium.nodes[TAKER]
        consortium.settle(6)
        assert is_level(consortium.nodes)
        assert taker.replica.members.protocol.orderer == MEMBER
        assert taker.disk.vouched.spent == {key(TAKER, "log").id}
        assert taker.driver.health().is_log_key_spent
        with pytest.raises(VerificationError, match=r"^takeover\.log_key"):
            taker.driver.takeover(consortium.hand_over(TAKER, taker, voters=NAMES))


def test_the_log_key_that_signed_is_given_up_also_where_its_exchange_is_dropped_with_the_blocks():
    """And so is that of whoever was handed over to in them: the ledger names it nowhere."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        agreed = lost_with_a_block(consortium)
        lost, member = consortium.nodes[LOST], consortium.nodes[MEMBER]
        consortium.cut_off = set(OTHERS)
        lost.driver.order([consortium.hand_over(MEMBER, lost, voters=NAMES)])
        member.driver.follow_once()
        member.driver.order([consortium.rotate(LOST, member)])
        lost.driver.follow_once()
        first, second = (key(LOST, "log", generation).id for generation in (1, 2))
        assert lost.replica.members.organisations[LOST].key("log").id == second
        consortium.cut_off = {MEMBER, LOST}
        consortium.nodes[TAKER].driver.takeover(agreed)
        consortium.step(60)
        consortium.settle(6)
        assert is_level(consortium.nodes)
        assert (lost.disk.vouched.spent, member.disk.vouched.spent) == ({first}, {key(MEMBER, "log").id})
        assert not member.driver.may_order(MEMBER)
        # What was dropped is ordered again, the exchange too.
        assert lost.replica.members.organisations[LOST].key("log").id == second
        assert lost.driver.may_order(LOST)
        consortium.check()


def test_a_note_of_a_takeover_that_was_given_up_stops_nobody_when_its_signer_orders_again():
    """No member's ledger has anything of it."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        void = late_and_replaced(consortium)
        consortium.settle(6)
        reigns_again(consortium, TAKER, void)


def agreed_again(consortium: Consortium, name: str) -> bytes:
    """Agree on the same version once more, when the time of the takeover before is over."""
    consortium.now += DAY_S + 121
    return consortium.hand_over(name, consortium.nodes[name], voters=NAMES)


def level_and_final(consortium: Consortium, orderer: str) -> None:
    """See that all come together, none waits or is alarmed, and what is ordered next is final."""
    consortium.settle(8)
    consortium.orderer.driver.order([consortium.anchor("org-3")])
    consortium.settle(3)
    assert is_level(consortium.nodes), {n: (v.replica.height, v.disk.vouched) for n, v in consortium.nodes.items()}
    assert consortium.orderer.org_id == orderer
    assert [node.disk.vouched.stood_down for node in consortium.nodes.values()] == [""] * 7
    assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 7
    assert consortium.orderer.driver.cosigner.final_size == consortium.orderer.replica.size
    consortium.check()


def test_what_a_late_takeover_has_made_final_is_not_dropped_by_one_agreed_on_since():
    """All are honest; four of seven cosign the late block, and only who made it gets their lines."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        agreed = lost_with_a_block(consortium)
        taker, member = consortium.nodes[TAKER], consortium.nodes[MEMBER]
        late = taker.driver.takeover(agreed)
        again = agreed_again(consortium, MEMBER)
        for name in ("org-3", "org-4", "org-5", "org-6"):
            assert consortium.nodes[name].driver.follow_once() == 1
        consortium.cut_off = set(NAMES)
        four = [consortium.nodes[name].driver.cosigner for name in ("org-3", "org-4", "org-5", "org-6")]
        lines = [cosigner.vouch(lambda: True) for cosigner in four]
        assert taker.driver.cosign_once()
        consortium.cut_off = {LOST, TAKER}
        # Its own note is of the same size, under the lost orderer's line.
        with pytest.raises(VerificationError, match=r"^takeover\.quorum"):
            member.driver.takeover(again)
        for line in lines:
            taker.driver.cosign(line)
        assert taker.driver.cosigner.final_size == taker.replica.size
        level_and_final(consortium, TAKER)
        assert member.replica.blocks(late.height, 1)[0] == late


def in_vain(consortium: Consortium) -> None:
    """Have four promise to wait for a second takeover, which is none, since one more knows that the first was made."""
    agreed = lost_with_a_block(consortium)
    consortium.nodes[TAKER].driver.takeover(agreed)
    again = agreed_again(consortium, MEMBER)
    assert consortium.nodes["org-3"].driver.follow_once() == 1
    consortium.cut_off = {LOST, TAKER}
    with pytest.raises(VerificationError, match=r"^takeover\.quorum"):
        consortium.nodes[MEMBER].driver.takeover(again)
    waiting = {name for name, node in consortium.nodes.items() if node.disk.vouched.stood_down == MEMBER}
    assert waiting == {MEMBER, "org-4", "org-5", "org-6"}
    with pytest.raises(VerificationError, match=r"^takeover\.transaction reason=version"):
        consortium.nodes["org-3"].driver.stand_down(again)


def until_free(name: str) -> Callable[[Consortium], None]:
    def work(consortium: Consortium) -> None:
        consortium.cut_off = {LOST}
        for other in (MEMBER, name):
            node = consortium.nodes[other]
            while node.disk.vouched.stood_down:
                consortium.now += 60
                node.step()

    return work


@pytest.mark.parametrize("who", [MEMBER, "org-4"])
def test_who_promised_to_wait_for_a_second_takeover_helps_the_first_when_the_second_is_given_up(who):
    for consortium in cut_at_each_write(who, in_vain, until_free(who)):
        level_and_final(consortium, TAKER)


def test_who_promised_waits_as_long_as_the_one_that_takes_over_does_not_have_the_block_before():
    """It could still make its own, without it."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        in_vain(consortium)
        consortium.cut_off = {LOST, MEMBER}
        promised = dict(PROMISED)
        for _ in range(8):
            consortium.step(60)
        waiting = [consortium.nodes[name] for name in ("org-4", "org-5", "org-6")]
        assert {node.replica.root for node in waiting} == {consortium.nodes[TAKER].replica.root}
        assert [node.disk.vouched.stood_down for node in waiting] == [MEMBER] * 3
        assert {org_id for org_id, _ in PROMISED.keys() - promised.keys()} <= {TAKER, "org-3"}
        level_and_final(consortium, TAKER)


def test_who_promised_to_wait_for_one_that_is_suspended_since_goes_on_when_that_one_has_the_block_before():
    with Consortium(7) as consortium:
        PROMISED.clear()
        in_vain(consortium)
        consortium.cut_off = {LOST, MEMBER}
        taker = consortium.nodes[TAKER]
        voters = [name for name in consortium.nodes if name != LOST]
        taker.driver.order([consortium.stand({MEMBER: "suspended"}, taker, voters=voters)])
        for _ in range(4):
            consortium.step(60)
        waiting = [consortium.nodes[name] for name in ("org-4", "org-5", "org-6")]
        assert [(node.replica.root, node.disk.vouched.stood_down) for node in waiting] == [
            (taker.replica.root, MEMBER)
        ] * 3
        consortium.cut_off = {LOST}
        for _ in range(4):
            consortium.step(60)
        assert [node.disk.vouched.stood_down for node in waiting] == [""] * 3
        assert taker.driver.cosigner.final_size == taker.replica.size
        consortium.check()


def test_a_takeover_that_too_few_know_is_dropped_for_the_one_agreed_on_since():
    with Consortium(7) as consortium:
        PROMISED.clear()
        agreed = lost_with_a_block(consortium)
        late = consortium.nodes[TAKER].driver.takeover(agreed)
        again = agreed_again(consortium, MEMBER)
        assert consortium.nodes["org-3"].driver.follow_once() == 1
        consortium.cut_off = {TAKER, "org-3"}
        made = consortium.nodes[MEMBER].driver.takeover(again)
        for name in ("org-4", "org-5"):
            consortium.nodes[name].step()
        # Whoever has gone over does not go back to what was agreed on before.
        consortium.cut_off = {MEMBER}
        for _ in range(8):
            for name in ("org-4", "org-5", TAKER):
                consortium.now += 60
                consortium.nodes[name].step()
        for name in ("org-4", "org-5"):
            assert consortium.nodes[name].replica.blocks(made.height, 1)[0] == made
        level_and_final(consortium, MEMBER)
        assert consortium.nodes[TAKER].replica.transaction_height(accepted_id(late.transactions[0])) is None


@pytest.fixture
def dropped_what_others_kept():
    """Have one take over that drops a block, and then, unknown to it, another that keeps it."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        consortium.step()
        consortium.settle(2)
        first = consortium.hand_over("org-6", consortium.nodes["org-6"], voters=NAMES)
        consortium.cut_off = {"org-2", "org-5", "org-6"}
        consortium.orderer.driver.order([consortium.anchor(MEMBER)])
        # Two that have cosigned it, of whom nobody answers the first one: with f liars no quorum.
        consortium.nodes["org-4"].driver.follow_once()
        consortium.now += 60
        consortium.nodes["org-4"].driver.cosigner.vouch(lambda: True)
        consortium.cut_off = {LOST, "org-4"}
        mine = consortium.nodes["org-6"].driver.takeover(first)
        consortium.cut_off = {LOST, "org-6"}
        second = agreed_again(consortium, TAKER)
        theirs = consortium.nodes[TAKER].driver.takeover(second)
        assert theirs.height == mine.height + 1, "one keeps the block, the other has dropped it"
        yield consortium, second, theirs


def test_who_took_over_and_dropped_what_a_later_takeover_has_kept_goes_over_to_it(dropped_what_others_kept):
    consortium, _, theirs = dropped_what_others_kept
    level_and_final(consortium, TAKER)
    assert consortium.nodes["org-6"].replica.blocks(theirs.height, 1)[0] == theirs


def test_a_later_takeover_that_does_not_hold_leaves_what_it_seems_to_replace(dropped_what_others_kept):
    consortium, second, theirs = dropped_what_others_kept
    node, kept = consortium.nodes["org-6"], consortium.nodes[TAKER].replica.blocks(theirs.height - 1, 1)[0]
    size = consortium.nodes[TAKER].replica.size
    lie = replace(theirs, checkpoint=log_pen(log_signer(TAKER), consortium.genesis.origin, size, bytes(32)))
    before = node.replica.root, node.disk.vouched

    class Liar:
        def blocks(self, first, _wait_s):
            return [block for block in (kept, lie) if block.height >= first]

    assert second in lie.transactions
    assert node.driver._succession.look_at(Liar()) is False  # noqa: SLF001  # what a look round does with each peer
    assert (node.replica.root, node.disk.vouched) == before
    level_and_final(consortium, TAKER)


def test_a_promise_given_while_a_takeover_turns_out_not_to_hold_stays(monkeypatch):
    """It waits until all is as before, and is not taken back with what was promised for the one that is none."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        agreed = lost_with_a_block(consortium)
        member = consortium.nodes[MEMBER]
        note = log_pen(log_signer(TAKER), consortium.genesis.origin, member.replica.size, bytes(32))
        lie = Block(member.replica.height, consortium.now, (agreed,), note)
        other = consortium.hand_over("org-4", consortium.nodes["org-4"], voters=NAMES)
        member.driver.stand_down(agreed)
        asking = Thread(target=member.driver.stand_down, args=(other,))
        apply, root = member.replica.apply, member.replica.root

        def asked_meanwhile(block):
            if block == lie:
                asking.start()
            return apply(block)

        class Liar:
            def blocks(self, first, _wait_s):
                return [lie] if first == lie.height else []

        monkeypatch.setattr(member.replica, "apply", asked_meanwhile)
        assert member.driver._succession.look_at(Liar(), TAKER) is False  # noqa: SLF001  # what a poll does
        asking.join()
        assert (member.replica.root, member.disk.vouched.stood_down) == (root, "org-4")


def test_a_takeover_that_is_over_when_it_would_be_made_drops_nothing(monkeypatch):
    """It is a few seconds too late: members still stood down for it."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        lost_with_a_block(consortium)
        member = consortium.nodes[MEMBER]
        consortium.cut_off = {LOST}
        late = consortium.hand_over(MEMBER, member, voters=NAMES)
        consortium.now += DAY_S + 30
        monkeypatch.setattr(member.replica, "rewind", None)
        with pytest.raises(VerificationError, match=r"^transaction\.until"):
            member.driver.takeover(late)
        monkeypatch.undo()
        level_without_the_takeover(consortium)


def level_without_the_takeover(consortium: Consortium) -> None:
    """See that all come together under the one that was not replaced."""
    consortium.settle(6)
    assert is_level(consortium.nodes)
    assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 7
    consortium.check()


@pytest.mark.parametrize("is_full", [False, True])
def test_who_drops_a_block_for_a_takeover_that_the_ledger_refuses_in_the_end_has_it_back(monkeypatch, is_full):
    """Where the disk is full, as soon as there is room."""
    with Consortium(7) as consortium:
        PROMISED.clear()
        lost_with_a_block(consortium)
        member = consortium.nodes[MEMBER]
        consortium.cut_off = {LOST}
        agreed = consortium.hand_over(MEMBER, member, voters=NAMES)
        root, newest = member.replica.root, member.replica.blocks(member.replica.height, 1)[0]
        (leaf,) = newest.transactions
        apply = member.replica.apply

        def applied(block: Block) -> object:
            if is_full and block == newest:
                raise UnavailableError("store.full", table="block")
            return apply(block)

        monkeypatch.setattr(member.replica, "apply", applied)
        refused = Proposal(None, {0: "transaction.policy"})
        monkeypatch.setattr(member.replica, "propose", lambda *_rest, **_named: refused)
        with pytest.raises(VerificationError, match=r"^transaction\.policy"):
            member.driver.takeover(agreed)
        assert (member.replica.root == root, member.replica.dropped()) == (not is_full, [newest] if is_full else [])
        if is_full:
            with pytest.raises(UnavailableError, match=r"^ordering\.not_orderer"):
                member.driver.orderer.submit([consortium.anchor(MEMBER)])
        monkeypatch.undo()
        member.driver.follow_once()
        assert (member.replica.root, member.replica.dropped()) == (root, [])
        consortium.now += DAY_S + 121
        consortium.nodes["org-3"].driver.takeover(consortium.hand_over("org-3", member, voters=NAMES))
        level_without_the_takeover(consortium)
        assert all(node.replica.transaction_height(accepted_id(leaf)) for node in consortium.nodes.values())


@pytest.mark.parametrize("has_first", [False, True])
def test_a_promise_is_not_ended_by_an_earlier_takeover_of_the_same_member(has_first):
    """A member that promised has its ledger from a backup, and its own memory; it learns of that takeover once more."""
    PROMISED.clear()
    with Consortium(7) as consortium:
        first = taken_over(consortium)
        consortium.settle(6)
        member, taker, other = (consortium.nodes[name] for name in (MEMBER, TAKER, "org-3"))
        height = taker.replica.transaction_height(accepted_id(first))
        hand_over_to(consortium, "org-3")
        second = consortium.hand_over(TAKER, taker, voters=NAMES)
        member.driver.stand_down(second)
        member.replica.lose(height if has_first else height - 1)
        member.restart()
        promised = dict(PROMISED)
        other.driver.order([consortium.anchor("org-3")])
        for _ in range(6):
            consortium.step(60)
            assert (member.disk.vouched.stood_down, member.disk.vouched.version) == (TAKER, 4)
        assert member.replica.root == other.replica.root
        assert not [name for name in PROMISED.keys() - promised.keys() if name[0] == MEMBER]
        taker.driver.takeover(second)
        consortium.settle(5)
        assert is_level(consortium.nodes)
        assert (consortium.orderer.org_id, member.disk.vouched.stood_down) == (TAKER, "")
        consortium.check()


def test_a_member_that_cosigned_a_block_of_an_orderer_whose_log_key_was_exchanged_since_can_start():
    """It learned the block's line anew at its start, by keys that are in force no longer, and ended at each attempt."""
    with Consortium(4) as consortium:
        consortium.step()
        consortium.orderer.driver.order([consortium.anchor("org-1")])
        consortium.settle(2)
        consortium.nodes["org-3"].is_up = False
        taker = consortium.nodes["org-1"]
        taker.driver.takeover(consortium.hand_over("org-1", taker, voters=NAMES[:3]))
        for _ in range(3):
            consortium.step(35)
        consortium.nodes[LOST].driver.outbox.add(consortium.rotate(LOST, consortium.nodes[LOST]))
        for _ in range(3):
            consortium.hurry()
            consortium.step(35)
        member = consortium.nodes["org-3"]
        member.is_up = True
        consortium.now += 5
        member.driver.follow_once()
        member.driver.follow_once()
        assert member.replica.height_of(member.disk.vouched.size) not in (None, member.replica.height)
        member.restart()
        for _ in range(4):
            consortium.hurry()
            consortium.step(35)
        assert is_level(consortium.nodes)
        assert member.replica.root == taker.replica.root
