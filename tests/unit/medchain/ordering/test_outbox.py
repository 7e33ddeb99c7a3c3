"""Outbox and follower: submitted again until seen in a block; refusals are told; errors on the way lose nothing."""

from __future__ import annotations

import threading

import pytest

from medchain.errors import AccessDeniedError, InputError, UnavailableError, VerificationError
from medchain.ordering import outbox as module
from medchain.ordering.block import accepted_id
from medchain.ordering.driver import Proposal
from medchain.ordering.feed import Feed
from medchain.ordering.follower import Follower, Source
from medchain.ordering.notary import LedgerNotary
from medchain.ordering.outbox import Ordered, Outbox
from medchain.ordering.promises import PromiseBook
from medchain.ordering.receipt import Refused, sign_receipt, verify_receipt
from tests.consortium import Consortium, Disk, MemoryReplica, cosign_keys, log_signer

NOW = 1_796_083_300


@pytest.fixture
def consortium():
    with Consortium(2) as made:
        yield made


def notary(replica):
    return LedgerNotary(replica.genesis.origin, cosign_keys("org-0"))


class Wire:
    """An orderer at the end of a wire: says what it is told to say."""

    def __init__(self) -> None:
        """Begin with nothing to say."""
        self.answers: list[object] = []
        self.got: list[list[bytes]] = []

    def submit(self, leaves):
        self.got.append(list(leaves))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def blocks(self, _first, _wait_s):
        return self.submit(())


def see(outbox: Outbox, made: Proposal) -> None:
    """Tell of a block that was made just now."""
    outbox.seen(made.block, made.ids)


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def replica(consortium):
    return MemoryReplica(consortium.genesis, log_signer("org-0"))


@pytest.fixture
def alarms():
    return []


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def promises(replica, alarms, disk):
    return PromiseBook(replica, notary(replica), lambda: NOW, disk, alarms.append)


@pytest.fixture
def outbox(replica, wire, promises):
    return Outbox(replica, wire.submit, promises)


def test_what_could_not_be_sent_is_sent_again_when_the_orderer_said(consortium, outbox, wire):
    leaf = consortium.anchor("org-1")
    known = outbox.add(leaf)
    wire.answers = [UnavailableError("ordering.full", retry_after_s=60)]
    assert outbox.step() == 0
    assert outbox.step() == 0
    assert wire.got == [[leaf]]
    assert outbox.wait(known, 0) is None
    assert len(outbox) == 1


def test_the_same_transaction_added_twice_is_submitted_once(consortium, outbox, wire):
    leaf = consortium.anchor("org-1")
    assert outbox.add(leaf) == outbox.add(leaf)
    wire.answers = [[Refused("transaction.version")]]
    outbox.step()
    assert wire.got == [[leaf]]


def test_stops_are_submitted_before_all_else_and_apart_from_it(consortium, outbox, wire):
    """Nothing but stops is taken of a suspended member, nor a batch in which there is anything else."""
    others = [consortium.anchor("org-1"), consortium.anchor("org-1")]
    stops = [consortium.narrow("org-1"), consortium.narrow("org-1")]
    for leaf in (others[0], stops[0], others[1], stops[1]):
        outbox.add(leaf)
    wire.answers = [[Refused("stop.unknown")] * 2, AccessDeniedError("ordering.stops_only")]
    assert outbox.step() == 2
    assert outbox.step() == 0
    assert wire.got == [stops, others]
    again = consortium.narrow("org-1")
    outbox.add(again)
    wire.answers = [[Refused("stop.unknown")]]
    assert outbox.step() == 1
    assert (wire.got[2:], len(outbox)) == ([[again]], 2)


def test_stops_that_are_refused_together_are_tried_each_alone(consortium, outbox, wire, monkeypatch):
    """A suspended member has heard of another's stop, which is not taken of it, and holds up none of its own."""
    # However long a step takes, none is due again by the clock.
    monkeypatch.setattr(module, "backoff_s", lambda _failures: 60.0)
    others, own, later = (consortium.narrow(name) for name in ("org-0", "org-1", "org-1"))
    for leaf in (others, own):
        outbox.add(leaf)
    wire.answers = [AccessDeniedError("ordering.stops_only"), AccessDeniedError("ordering.stops_only")]
    wire.answers += [[Refused("stop.unknown")], [Refused("stop.unknown")]]
    assert outbox.step() == 0
    for pending in outbox._pending.values():  # noqa: SLF001  # it has no other clock to move
        pending.due = 0.0
    outbox.add(later)
    assert [outbox.step() for _ in range(3)] == [0, 1, 1]
    assert wire.got == [[others, own], [others], [own], [later]]
    assert len(outbox) == 1


def test_stops_of_a_suspended_member_all_come_to_be_answered_however_few_are_taken_in_a_minute(
    consortium, outbox, wire, replica, monkeypatch
):
    """It sees no block that has them: were the oldest submitted again first, they would use up what it may bring."""
    monkeypatch.setattr(module, "_BATCH", 1)
    leaves = [consortium.narrow("org-1") for _ in range(3)]
    names = [outbox.add(leaf) for leaf in leaves]
    promises = [[sign_receipt(log_signer("org-0"), replica.ledger, [known], 1, NOW)] for known in names]
    full = UnavailableError("ordering.quota", retry_after_s=60)

    def minute(*answers: object) -> list[bytes]:
        """What is submitted while the quota takes what is answered."""
        wire.got.clear()
        wire.answers = list(answers)
        for pending in outbox._pending.values():  # noqa: SLF001  # it has no other clock to move
            pending.due = 0.0
        for _ in range(4):
            outbox.step()
        return [leaf for (leaf,) in wire.got]

    first, second, third = leaves
    assert minute(promises[0], full, full) == [first, second, third]
    # As one that is due again while the others wait for the next minute.
    assert minute(promises[1], full) == [second, third]
    assert minute(promises[2], *promises[:2]) == [third, first, second]
    # Then again, those first that were answered the longest ago.
    assert minute(full, full, full) == [third, first, second]


def test_a_refusal_is_told_to_who_waits(consortium, outbox, wire):
    known = outbox.add(consortium.anchor("org-1"))
    found, waits, done = [], threading.Event(), outbox._pending[known].done  # noqa: SLF001  # to see that somebody waits
    wait = done.wait
    done.wait = lambda timeout_s: waits.set() or wait(timeout_s)
    waiting = threading.Thread(target=lambda: found.append(outbox.wait(known, 60)))
    waiting.start()
    # Who asks for a fate that was told already is told of none.
    assert waits.wait(60)
    wire.answers = [[Refused("transaction.policy")]]
    outbox.step()
    waiting.join(60)
    assert found == [Refused("transaction.policy")]
    assert len(outbox) == 0


def test_a_transaction_that_is_in_our_ledger_already_needs_no_orderer(consortium, outbox, wire, replica):
    leaf = consortium.anchor("org-1")
    replica.propose([leaf], NOW)
    known = outbox.add(leaf)
    assert outbox.wait(known, 0) == Ordered(known, 1)
    assert outbox.step() == 0
    assert wire.got == []


def test_a_refusal_of_what_our_ledger_holds_is_no_refusal(consortium, outbox, wire, replica):
    leaf = consortium.anchor("org-1")
    known = outbox.add(leaf)
    replica.propose([leaf], NOW)
    wire.answers = [[Refused("transaction.version")]]
    outbox.step()
    assert outbox.wait(known, 0) == Ordered(known, 1)


def test_a_receipt_binds_before_its_block_and_counts_as_ordered_only_with_it(
    consortium, outbox, promises, wire, replica, alarms
):
    leaf = consortium.anchor("org-1")
    known = outbox.add(leaf)
    assert promises.receipt(known) is None
    wire.answers = [[sign_receipt(log_signer("org-0"), replica.ledger, [known], 1, NOW)]]
    outbox.step()
    assert promises.receipt(known).height_at_most == 1
    assert outbox.wait(known, 0) is None
    see(outbox, replica.propose([leaf], NOW))
    assert outbox.wait(known, 0) == Ordered(known, 1)
    assert alarms == []


@pytest.mark.parametrize("is_by_word", [True, False])
def test_a_receipt_for_a_height_that_we_have_without_its_transaction_is_withholding(
    consortium, outbox, promises, wire, replica, alarms, is_by_word
):
    """Whoever follows the orderer finds it: by its word that there is nothing newer, or by the next block."""
    replica.propose([consortium.anchor("org-1")], NOW)
    known = outbox.add(consortium.anchor("org-1"))
    wire.answers = [[sign_receipt(log_signer("org-0"), replica.ledger, [known], 1, NOW)]]
    outbox.step()
    assert alarms == []
    for _ in range(2):
        if is_by_word:
            promises.denied(2, promises.taken)
        else:
            see(outbox, replica.propose([consortium.anchor("org-1")], NOW))
    assert [alarm.code for alarm in alarms] == ["ordering.withheld"]


def test_a_promise_for_a_height_that_never_comes_is_broken_by_time(consortium, outbox, wire, replica, alarms):
    known = outbox.add(consortium.anchor("org-1"))
    wire.answers = [[sign_receipt(log_signer("org-0"), replica.ledger, [known], 2**53 - 1, NOW)]]
    outbox.step()
    see(outbox, replica.propose([consortium.anchor("org-1")], NOW + 60))
    assert alarms == []
    see(outbox, replica.propose([consortium.anchor("org-1")], NOW + 61))
    assert [alarm.code for alarm in alarms] == ["ordering.withheld"]


def test_a_receipt_from_another_time_is_no_promise(consortium, outbox, promises, wire, replica, alarms):
    known = outbox.add(consortium.anchor("org-1"))
    wire.answers = [[sign_receipt(log_signer("org-0"), replica.ledger, [known], 5, NOW + 61)]]
    outbox.step()
    assert [alarm.code for alarm in alarms] == ["receipt.time"]
    assert promises.receipt(known) is None


def test_one_receipt_for_many_is_verified_and_kept_once_and_binds_for_each(
    consortium, outbox, wire, replica, alarms, disk
):
    leaves = [consortium.anchor("org-1") for _ in range(3)]
    names = [outbox.add(leaf) for leaf in leaves]
    promise = sign_receipt(log_signer("org-0"), replica.ledger, [*names, bytes(32)], 1, NOW)
    wire.answers = [[promise] * 3]
    outbox.step()
    assert disk.receipts == [promise]
    see(outbox, replica.propose(leaves[:2], NOW))
    assert [(alarm.code, alarm.fields["id"]) for alarm in alarms] == [("ordering.withheld", names[2].hex())]
    verify_receipt(promise, replica.ledger, log_signer("org-0").public, names[2])


def test_a_receipt_that_leaves_one_out_is_no_promise_for_that_one(
    consortium, outbox, promises, wire, replica, alarms, disk
):
    named, left_out = outbox.add(consortium.anchor("org-1")), outbox.add(consortium.anchor("org-1"))
    wire.answers = [[sign_receipt(log_signer("org-0"), replica.ledger, [named], 1, NOW)] * 2]
    outbox.step()
    assert [(alarm.code, alarm.fields["id"]) for alarm in alarms] == [("receipt.other", left_out.hex())]
    assert promises.receipt(named) is not None
    assert promises.receipt(left_out) is None
    assert len(disk.receipts) == 1


def test_a_later_promise_is_not_kept_beside_an_earlier_one(
    consortium, outbox, promises, wire, replica, disk, monkeypatch
):
    monkeypatch.setattr(module, "RESEND_S", 0.0)
    known = outbox.add(consortium.anchor("org-1"))
    first, second, sooner = (
        sign_receipt(log_signer("org-0"), replica.ledger, [known], height, NOW) for height in (8, 9, 7)
    )
    wire.answers = [[first], [second], [sooner]]
    for expected in (first, first, sooner):
        outbox.step()
        assert promises.receipt(known) == expected
    assert disk.receipts == [first, sooner]


def test_a_full_outbox_refuses_and_what_is_no_envelope_is_not_taken(consortium, outbox, monkeypatch):
    monkeypatch.setattr(module, "MAX_PENDING", 1)
    outbox.add(consortium.anchor("org-1"))
    with pytest.raises(UnavailableError, match=r"outbox\.full"):
        outbox.add(consortium.anchor("org-1"))
    with pytest.raises(InputError, match=r"transaction\.malformed"):
        outbox.add(b"{}")


def test_many_are_sent_in_batches(consortium, outbox, wire):
    for _ in range(300):
        outbox.add(consortium.anchor("org-1"))
    wire.answers = [[Refused("transaction.policy")] * 256, [Refused("transaction.policy")] * 44]
    assert (outbox.step(), outbox.step(), outbox.step()) == (256, 44, 0)


@pytest.fixture
def follower(replica, wire):
    made = Follower(
        replica,
        lambda _failures: Source("org-0", wire, is_orderer=True),
        lambda: NOW,
        pen=threading.Lock(),
        feed=Feed(replica),
        on_blocks=lambda _blocks, _applied: None,
        reroute=lambda _source: False,
        is_held=lambda _block: False,
    )
    made.backoff_s()
    return made


def test_a_follower_that_gets_no_answer_waits_longer_each_time_and_is_not_alarmed(follower, wire):
    wire.answers = [UnavailableError("peer.unreachable")] * 3
    for _ in range(3):
        follower.step()
    assert follower.failures == 3
    assert follower.alarm is None
    assert 0.2 <= follower.backoff_s() <= 0.4


def test_an_answer_that_is_no_block_is_an_alarm(follower, wire):
    wire.answers = [InputError("block.malformed"), []]
    follower.step()
    assert follower.alarm.code == "block.malformed"
    assert not follower.is_caught_up


def test_a_disk_that_fails_while_applying_is_tried_again(consortium, follower, wire, replica):
    block = replica.fork().propose([consortium.anchor("org-1")], NOW).block
    wire.answers = [[block], [block]]
    apply, calls = replica.apply_all, []

    def fail_once(given):
        calls.append(given)
        if len(calls) == 1:
            raise UnavailableError("store.full")
        return apply(given)

    replica.apply_all = fail_once
    assert follower.step() == 0
    assert follower.alarm is None
    assert follower.step() == 1
    assert replica.transaction_height(accepted_id(block.transactions[0])) == 1


def test_a_block_of_another_height_is_an_alarm(consortium, follower, wire, replica):
    ahead = replica.fork()
    ahead.propose([consortium.anchor("org-1")], NOW)
    wire.answers = [[ahead.propose([consortium.anchor("org-1")], NOW).block]]
    assert follower.step() == 0
    assert follower.alarm.code == "block.height"
    with pytest.raises(VerificationError):
        replica.apply(ahead.chain[-1][0])


def test_the_receipt_of_the_block_that_hands_over_is_its_orderers_though_another_orders_by_now(
    consortium, replica, alarms, disk
):
    first = consortium.nodes["org-0"]
    first.driver.look_round()
    leaf = consortium.hand_over("org-1", first)

    def submit(leaves):
        outcomes = first.driver.order(leaves)
        # The block is here before the answer is.
        replica.apply(first.driver.blocks(1)[0])
        return outcomes

    promises = PromiseBook(replica, notary(replica), lambda: consortium.now, disk, alarms.append)
    outbox = Outbox(replica, submit, promises)
    known = outbox.add(leaf)
    outbox.step()
    assert replica.members.protocol.orderer == "org-1"
    assert outbox.wait(known, 0) == Ordered(known, 1)
    assert alarms == []
