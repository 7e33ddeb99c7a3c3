"""The end of the block that hands the log over: signed by who ordered, and, once it is final, by who orders from it on.

It names the members after it, whose policy counts the new orderer's log key alone. Source: `docs/spec/ordering.md` 5,
"The end of a hand-over"; C2SP tlog-policy, by `medchain.tlog.policy`.
"""

from __future__ import annotations

from itertools import count

import pytest

from medchain.errors import VerificationError
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.members import LOG_KEY, Members
from medchain.ordering.lines import Line, LineName
from medchain.ordering.notary import LedgerNotary, log_pen
from medchain.tlog.note import MAX_SIGNATURES, parse_note
from medchain.tlog.policy import Policy
from tests.consortium import Consortium, Killer, Node, cosign_keys, genesis, log_signer
from tests.unit.medchain.ledger.world import key

BEFORE, AFTER, THIRD = "org-0", "org-3", "org-2"
NAMES = [f"org-{number}" for number in range(5)]


@pytest.fixture
def five():
    """Five members with a ledger that is final."""
    with Consortium(5) as made:
        made.step()
        made.orderer.driver.order([made.anchor("org-1")])
        made.settle(2)
        yield made


def handed_over(consortium: Consortium) -> int:
    """Have the orderer hand over; returns the size of the log after that block."""
    change = consortium.hand_over(AFTER, consortium.orderer, voters=NAMES, creator="org-1")
    consortium.orderer.driver.order([change])
    return consortium.nodes[BEFORE].replica.size


def refusal(node: Node, members: Members) -> str:
    """Return why what a node keeps as its newest final note is none under some members' policy; empty if it is one."""
    node.driver.cosigner.tidy()
    policy = Policy.parse(trusted_policy_text(members, genesis(5).origin).encode())
    try:
        policy.check(node.disk.final().text.encode())
    except VerificationError as error:
        return error.code
    return ""


def logs_of(note: str) -> int:
    """Count the log lines of a note."""
    return sum(line.name == genesis(5).origin for line in parse_note(note.encode()).signatures)


def log_lines(consortium: Consortium) -> list[int]:
    """Count the log lines of each node's newest final note."""
    return [logs_of(node.driver.cosigner.final_note.text) for node in consortium.nodes.values()]


def is_taken_up(consortium: Consortium, size: int) -> list[bool]:
    """Tell of each node whether the end of the hand-over is final there and holds under the members after it."""
    members = consortium.orderer.replica.members
    nodes = [node for node in consortium.nodes.values() if node.is_up]
    return [node.driver.cosigner.final_size == size and not refusal(node, members) for node in nodes]


def test_the_end_of_a_hand_over_holds_at_all_nodes_under_the_policy_before_and_under_the_one_that_it_names(five):
    former = five.orderer.replica.members
    size = handed_over(five)
    for _ in range(3):
        five.step()
    assert is_taken_up(five, size) == [True] * 5
    assert [refusal(node, former) for node in five.nodes.values()] == [""] * 5
    # Who asks in a takeover may not know that log key.
    assert [logs_of(node.driver.cosigner.testimony()) for node in five.nodes.values()] == [1] * 5
    assert log_lines(five) == [2] * 5
    # What comes later needs no second line.
    five.orderer.driver.order([five.anchor("org-1")])
    five.settle(2)
    assert log_lines(five) == [1] * 5
    assert [node.alarms() for node in five.nodes.values()] == [set()] * 5
    five.check()


def test_a_takeovers_end_holds_under_the_policy_that_it_names_by_the_one_line_that_it_has(five):
    five.nodes[BEFORE].is_up = False
    taker = five.nodes[THIRD]
    taker.driver.takeover(five.hand_over(THIRD, taker, voters=NAMES))
    for _ in range(3):
        five.step(35)
    assert is_taken_up(five, taker.replica.size) == [True] * 4
    assert logs_of(taker.driver.cosigner.final_note.text) == 1


def test_who_is_to_order_signs_no_end_that_is_not_final(five):
    """A takeover may drop it, and the line would contradict what its signer orders later."""
    five.cut_off = {"org-1", "org-2", "org-4"}
    size, successor = handed_over(five), five.nodes[AFTER]
    for _ in range(4):
        five.step(35)
    assert successor.disk.vouched.size == size > successor.driver.cosigner.final_size
    assert logs_of(successor.driver.cosigner.note(size)) == 1


def test_nor_one_that_it_has_not_cosigned_itself_until_it_has(five):
    size, successor, former = handed_over(five), five.nodes[AFTER], five.nodes[BEFORE].replica
    # It was restored: before it has looked round it cosigns nothing, and hears that the others have.
    successor.restore(0)
    for block in former.blocks(1, 1 << 20):
        successor.replica.apply(block)
    lines = {}
    for name in set(NAMES) - {AFTER}:
        lines.update(LedgerNotary(five.genesis.origin, cosign_keys(name)).cosign(size, former.root, five.now))
    line = former.blocks(2, 1)[0].checkpoint.partition("\n\n")[2]
    notary = LedgerNotary(five.genesis.origin, cosign_keys(BEFORE))
    successor.driver.cosign(notary.write(size, former.root, line, lines))
    assert successor.driver.cosigner.final_size == size
    assert logs_of(successor.driver.cosigner.final_note.text) == 1
    for _ in range(3):
        five.step(35)
    assert is_taken_up(five, size) == [True] * 5


def test_while_who_is_to_order_is_away_nothing_holds_and_all_get_its_line_as_soon_as_it_is_back(five):
    size, successor = handed_over(five), five.nodes[AFTER]
    successor.is_up = False
    for _ in range(3):
        five.step(35)
    others = [node for node in five.nodes.values() if node.is_up]
    members = others[0].replica.members
    assert [node.driver.cosigner.final_size for node in others] == [size] * 4
    assert [refusal(node, members) for node in others] == ["tlog.log_signature"] * 4
    successor.start_anew()
    successor.driver.follow_once()
    successor.driver.cosign(others[0].driver.cosigner.final_note.text)
    # It tells all at once, and nobody has to ask.
    assert successor.driver.cosign_once()
    assert is_taken_up(five, size) == [True] * 5


def test_who_is_to_order_with_a_log_key_that_is_not_in_use_yet_signs_with_no_other(five):
    five.orderer.driver.order([five.rotate(AFTER, five.orderer)])
    size = handed_over(five)
    for _ in range(3):
        five.step(35)
    assert log_lines(five) == [1] * 5
    five.nodes[AFTER].start_anew()
    for _ in range(3):
        five.step(35)
    assert is_taken_up(five, size) == [True] * 5


def test_who_took_over_from_a_successor_that_never_came_leaves_no_end_without_a_policy(five):
    size = handed_over(five)
    five.nodes[AFTER].is_up = False
    for _ in range(3):
        five.step(35)
    taker = five.nodes[THIRD]
    assert taker.driver.cosigner.final_size == size
    taker.driver.takeover(five.hand_over(THIRD, taker, voters=NAMES))
    for _ in range(3):
        five.step(35)
    assert is_taken_up(five, taker.replica.size) == [True] * 4
    five.nodes[AFTER].start_anew()
    five.settle(4)
    assert [node.alarms() for node in five.nodes.values()] == [set()] * 5
    five.check()


def test_who_is_to_order_ends_at_any_of_its_writes_and_takes_the_end_up_all_the_same():
    for number in count():
        with Consortium(5) as five:
            five.step()
            size = handed_over(five)
            killer = Killer(five.nodes[AFTER], at=number)
            with killer:
                for _ in range(3):
                    five.step(35)
            if killer.is_done:
                five.nodes[AFTER].restart()
            for _ in range(3):
                five.step(35)
            assert is_taken_up(five, size) == [True] * 5
            five.check()
            if not killer.is_done:
                assert number > 2, "it has writes"
                return


def test_no_end_is_taken_up_under_a_log_key_of_a_former_reign(five):
    """It may have signed another root of that size."""
    five.nodes[BEFORE].is_up = False
    taker = five.nodes[AFTER]
    taker.driver.takeover(five.hand_over(AFTER, taker, voters=NAMES))
    five.settle(4)
    change = five.hand_over(BEFORE, taker, voters=NAMES, creator="org-1")
    taker.driver.order([change])
    size = taker.replica.size
    for _ in range(3):
        five.step(35)
    assert [node.driver.cosigner.final_size for node in five.nodes.values()] == [size] * 5
    assert five.nodes[BEFORE].alarms() == {"ordering.log_key"}
    assert log_lines(five) == [1] * 5


def test_nor_by_who_has_seen_a_split_view(five):
    size, successor = handed_over(five), five.nodes[AFTER]
    successor.driver.follow_once()
    successor.driver.cosign_once()
    assert successor.disk.vouched.size == size
    # The others do not hear of it, or they would stop as well.
    five.withheld = {(AFTER, name) for name in NAMES}
    successor.driver.cosign(log_pen(log_signer(BEFORE), five.genesis.origin, size, bytes(32)))
    assert successor.alarms() == {"checkpoint.split_view"}
    for _ in range(3):
        five.step(35)
    assert [node.driver.cosigner.final_size for node in five.nodes.values()] == [size] * 5
    assert log_lines(five) == [1] * 5


def test_a_members_own_log_line_beside_the_orderers_is_handed_on_by_nobody(five):
    """Whoever put one on each note would fill it; and beside the line of who is to order it is left out as well."""
    size, origin = handed_over(five), five.genesis.origin
    for _ in range(3):
        five.step()
    node = five.nodes["org-1"]
    for end in (size, five.nodes[BEFORE].replica.chain[1][1]):
        known = node.disk.notes[end][0]
        stranger = log_pen(log_signer("org-4"), origin, end, node.replica.root_at(end)).partition("\n\n")[2]
        node.driver.cosign(known + stranger)
        assert stranger not in node.driver.cosigner.note(end)
        assert logs_of(node.driver.cosigner.note(end)) == 1 + (end == size)


def test_beside_the_lines_of_forty_nine_members_there_is_room_for_both_logs():
    origin, root = genesis(4).origin, bytes(32)
    lines = {}
    for generation in range(1, 50):
        lines.update(LedgerNotary(origin, cosign_keys("org-0", generation)).cosign(4, root, 1_000))
    taken_up = LedgerNotary(origin, cosign_keys("org-1")).sign_log(4, root, log_signer("org-1"))
    (name, line), *_ = taken_up.items()
    assert name == LineName("org-1", LOG_KEY, key("org-1", LOG_KEY).id)
    bare = log_pen(log_signer("org-1"), origin, 4, root).partition("\n\n")[2]
    assert line == Line(0, bare)
    first = log_pen(log_signer("org-0"), origin, 4, root).partition("\n\n")[2]
    note = LedgerNotary(origin, cosign_keys("org-0")).write(4, root, first, lines | taken_up)
    rows = note.partition("\n\n")[2].splitlines(keepends=True)
    assert rows[:2] == [first, bare]
    assert {*rows[2:]} == {line.text for line in lines.values()}
    assert len(rows) == MAX_SIGNATURES
