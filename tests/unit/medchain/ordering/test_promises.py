"""The book of promises: each receipt is judged, once, also after a restart, and by the word of who gave it."""

from __future__ import annotations

import pytest

from medchain.errors import VerificationError
from medchain.ordering import promises
from medchain.ordering.block import accepted_id
from medchain.ordering.driver import Alarm
from medchain.ordering.notary import LedgerNotary
from medchain.ordering.promises import DENIED_S, Broken, PromiseBook
from medchain.ordering.receipt import Refused, sign_receipt
from tests.consortium import DAY_S, Consortium, Disk, MemoryReplica, cosign_keys, is_level, log_signer

NOW = 1_796_083_300
ORDERER, VICTIM, TAKER = "org-0", "org-1", "org-2"


@pytest.fixture
def consortium():
    with Consortium() as made:
        made.step()
        yield made


class Desk:
    """A member's replica and its book, with what is on its disk."""

    def __init__(self, consortium: Consortium) -> None:
        """Begin with nothing promised."""
        self.consortium = consortium
        self.replica = MemoryReplica(consortium.genesis, log_signer(ORDERER))
        self.disk = Disk()
        self.now = NOW
        self.start()

    def start(self) -> None:
        """Forget what is in memory only."""
        self.alarms: list[Alarm] = []
        notary = LedgerNotary(self.consortium.genesis.origin, cosign_keys(VICTIM))
        self.book = PromiseBook(self.replica, notary, lambda: self.now, self.disk, self.alarms.append)
        self.book.recall()

    def promised(self, height: int) -> bytes:
        """Be promised a transaction; returns its envelope."""
        leaf = self.consortium.anchor(VICTIM)
        receipt = sign_receipt(log_signer(ORDERER), self.replica.ledger, [accepted_id(leaf)], height, self.now)
        self.book.take([(accepted_id(leaf), receipt)], self.replica.members, self.book.voided)
        return leaf

    def ordered(self, *leaves: bytes, is_seen: bool = True) -> None:
        """Apply a block, and have it judged unless the node ends before."""
        given = leaves or (self.consortium.anchor(TAKER),)
        block = self.replica.propose(given, max(self.now, self.replica.time)).block
        if is_seen:
            self.book.seen(block, frozenset(map(accepted_id, block.transactions)))

    @property
    def codes(self) -> list[str]:
        return [alarm.code for alarm in self.alarms]


@pytest.fixture
def desk(consortium):
    return Desk(consortium)


def test_a_promise_of_before_a_restart_is_known_again_and_its_breach_is_an_alarm(desk):
    leaf = desk.promised(1)
    desk.start()
    assert desk.book.receipt(accepted_id(leaf)).height_at_most == 1
    desk.ordered()
    fields = {"id": accepted_id(leaf).hex(), "height_at_most": 1}
    assert desk.alarms == [Alarm("ordering.withheld", 1, fields, latched=True)]


def test_a_promise_of_before_a_restart_that_is_kept_is_none_any_more(desk):
    leaf = desk.promised(1)
    desk.start()
    desk.ordered(leaf)
    desk.ordered()
    assert (desk.codes, len(desk.book)) == ([], 0)


def test_a_breach_in_a_block_that_was_applied_and_not_judged_is_found_at_the_start(desk):
    desk.promised(1)
    desk.ordered(is_seen=False)
    desk.start()
    assert desk.codes == ["ordering.withheld"]


@pytest.mark.parametrize(("late", "code"), [(False, "ordering.withheld"), (True, "ordering.reordered")])
def test_a_breach_in_blocks_that_were_kept_together_and_not_judged_is_found_at_the_start(desk, late, code):
    """A node that was away keeps several blocks in one write, and is killed before it has told of them."""
    kept, broken = desk.promised(1), desk.promised(1)
    desk.ordered(kept, is_seen=False)
    desk.ordered(*([broken] if late else []), is_seen=False)
    desk.ordered(is_seen=False)
    desk.start()
    assert [(alarm.code, alarm.fields["id"]) for alarm in desk.alarms] == [(code, accepted_id(broken).hex())]
    desk.start()
    assert desk.codes == []


def test_what_was_kept_in_a_write_before_the_newest_was_judged_then_and_is_not_again(desk, monkeypatch):
    monkeypatch.setattr(promises, "MAX_WRITE_ENTRIES", 2)
    desk.promised(1)
    for _ in range(3):
        desk.ordered(is_seen=False)
    desk.start()
    assert (desk.codes, len(desk.book)) == ([], 0)


def test_a_block_that_is_damaged_keeps_no_node_from_starting(desk, monkeypatch):
    desk.promised(2)
    for _ in range(3):
        desk.ordered(is_seen=False)
    blocks = desk.replica.blocks

    def damaged(first, max_bytes):
        if first == 1:
            raise VerificationError("store.corrupt")
        return blocks(first, max_bytes)

    monkeypatch.setattr(desk.replica, "blocks", damaged)
    desk.start()
    assert desk.codes == ["ordering.withheld"]


def test_what_was_kept_in_a_block_that_was_not_judged_is_no_breach(desk):
    leaf = desk.promised(1)
    desk.ordered(leaf, is_seen=False)
    desk.start()
    assert (desk.codes, len(desk.book)) == ([], 0)


def test_what_was_ordered_before_the_height_that_was_promised_is_not_withheld(desk):
    leaf = desk.promised(4)
    desk.ordered(leaf, is_seen=False)
    desk.ordered(is_seen=False)
    desk.start()
    desk.ordered()
    desk.ordered()
    assert (desk.codes, len(desk.book)) == ([], 0)


def test_a_broken_promise_is_told_of_once_whatever_restarts_there_are(desk):
    desk.promised(1)
    desk.ordered()
    assert desk.codes == ["ordering.withheld"]
    for _ in range(2):
        desk.start()
        assert (desk.codes, len(desk.book)) == ([], 0)


def test_a_promise_outlives_the_refusal_of_its_transaction(consortium):
    """An orderer could else promise, refuse what it has promised, and be held to nothing."""
    victim = consortium.nodes[VICTIM]
    given = iter([None, Refused("transaction.version")])

    def promise_then_refuse(leaves):
        refusal = next(given)
        ids, height = [accepted_id(leaf) for leaf in leaves], consortium.orderer.replica.height + 1
        receipt = sign_receipt(log_signer(ORDERER), consortium.genesis.ledger, ids, height, consortium.now)
        return [refusal or receipt] * len(leaves)

    consortium.orderer.lies["submit"] = promise_then_refuse
    known = victim.driver.outbox.add(consortium.anchor(VICTIM))
    victim.driver.outbox.step()
    consortium.hurry()
    victim.driver.outbox.step()
    assert victim.driver.outbox.wait(known, 0) is None
    assert len(victim.driver.outbox) == 0
    consortium.orderer.driver.order([consortium.anchor(TAKER)])
    consortium.step()
    assert victim.alarms() == {"ordering.withheld"}


def test_what_was_in_our_ledger_later_than_promised_before_the_receipt_came_is_reordered(desk):
    leaf = desk.consortium.anchor(VICTIM)
    desk.ordered()
    desk.ordered(leaf)
    receipt = sign_receipt(log_signer(ORDERER), desk.replica.ledger, [accepted_id(leaf)], 1, NOW)
    found = desk.book.take([(accepted_id(leaf), receipt)], desk.replica.members, desk.book.voided)
    assert (found, desk.codes) == ({accepted_id(leaf): 2}, ["ordering.reordered"])


def test_a_receipt_on_the_disk_that_no_orderer_signed_is_no_promise(desk):
    ids = [accepted_id(desk.consortium.anchor(VICTIM))]
    desk.disk.put(sign_receipt(log_signer("org-4"), desk.replica.ledger, ids, 1, NOW))
    desk.disk.put(sign_receipt(log_signer(ORDERER), bytes(32), ids, 1, NOW))
    desk.start()
    desk.ordered()
    assert (desk.codes, len(desk.book)) == ([], 0)


def test_a_promise_of_who_has_handed_over_since_binds_after_a_restart(desk):
    leaf = desk.promised(2)
    view = desk.consortium.nodes[ORDERER]
    desk.ordered(desk.consortium.hand_over(TAKER, view, creator=ORDERER))
    desk.start()
    assert desk.book.receipt(accepted_id(leaf)).height_at_most == 2
    # Who orders now has not promised it, and denies nothing.
    for _ in range(2):
        desk.book.denied(2, desk.book.taken)
        desk.now += DENIED_S
    assert desk.codes == []


def test_who_denies_the_block_that_it_has_promised_is_caught_without_any_block(desk):
    desk.promised(1)
    desk.book.denied(1, desk.book.taken)
    desk.now += DENIED_S - 1
    desk.book.denied(1, desk.book.taken)
    assert desk.codes == []
    desk.now += 1
    desk.book.denied(1, desk.book.taken)
    desk.book.denied(1, desk.book.taken)
    assert desk.codes == ["ordering.denied"]


def test_a_promise_that_came_after_the_question_is_not_denied_by_the_answer(desk):
    asked = desk.book.taken
    desk.promised(1)
    for _ in range(2):
        desk.book.denied(1, asked)
        desk.now += DENIED_S
    assert desk.codes == []


def test_a_promise_for_a_block_that_is_here_is_not_denied_by_who_has_no_further_one(desk):
    desk.ordered(desk.promised(1), is_seen=False)
    for _ in range(2):
        desk.book.denied(2, desk.book.taken)
        desk.now += DENIED_S
    assert desk.codes == []


def test_a_promise_that_came_while_its_orderer_was_replaced_binds_nobody(desk):
    leaf = desk.consortium.anchor(VICTIM)
    receipt = sign_receipt(log_signer(ORDERER), desk.replica.ledger, [accepted_id(leaf)], 1, NOW)
    before = desk.book.voided
    desk.book.void()
    desk.book.take([(accepted_id(leaf), receipt)], desk.replica.members, before)
    desk.ordered()
    assert (desk.codes, len(desk.book)) == ([], 0)


def test_more_promises_than_there_is_room_for_push_out_none(desk, monkeypatch):
    monkeypatch.setattr("medchain.ordering.promises.MAX_PROMISES", 2)
    first, second, third = (desk.promised(1) for _ in range(3))
    held = [desk.book.receipt(accepted_id(leaf)) is not None for leaf in (first, second, third)]
    assert held == [True, True, False]


def test_a_receipt_that_comes_while_its_block_is_dropped_and_put_back_accuses_nobody(desk, monkeypatch):
    """Another thread looks whether a takeover holds; it does not."""
    leaf = desk.consortium.anchor(VICTIM)
    desk.ordered(leaf)
    with monkeypatch.context() as dropped:
        dropped.setattr(desk.replica, "transaction_height", lambda _: None)
        receipt = sign_receipt(log_signer(ORDERER), desk.replica.ledger, [accepted_id(leaf)], 1, desk.now)
        desk.book.take([(accepted_id(leaf), receipt)], desk.replica.members, desk.book.voided)
    desk.ordered()
    assert (desk.codes, len(desk.book)) == ([], 0)


def test_a_receipt_that_comes_between_a_takeovers_block_and_the_notice_of_it_accuses_nobody(consortium, monkeypatch):
    """One thread applies the block, and has not voided the promises yet; another one takes the answer of before."""
    victim, taker = consortium.nodes[VICTIM], consortium.nodes[TAKER]
    victim.driver.outbox.add(consortium.anchor(VICTIM))
    submit, notice = victim.driver.submit, victim.driver.follower._on_blocks  # noqa: SLF001  # the two threads' steps
    unnoticed = []

    def answered_late(leaves):
        outcomes = submit(leaves)
        consortium.cut_off = {ORDERER}
        taker.driver.takeover(consortium.hand_over(TAKER, taker, voters=sorted(consortium.nodes)))
        victim.driver.follow_once()
        return outcomes

    with monkeypatch.context() as between:
        between.setattr(victim.driver.outbox, "_submit", answered_late)
        between.setattr(victim.driver.follower, "_on_blocks", lambda *given: unnoticed.append(given))
        victim.driver.outbox.step()
    [(block, applied)] = unnoticed
    assert victim.replica.members.protocol.orderer == TAKER
    notice(block, applied)
    for _ in range(3):
        consortium.step(DENIED_S)
    assert victim.alarms() == set()


def promise_and_order_nothing(consortium: Consortium, ahead: int) -> bytes:
    """Have the orderer promise a member a block so far ahead, and the member end; returns the transaction's id."""
    orderer, victim = consortium.orderer, consortium.nodes[VICTIM]

    def lie(leaves):
        ids, height = [accepted_id(leaf) for leaf in leaves], orderer.replica.height + ahead
        return [sign_receipt(log_signer(ORDERER), consortium.genesis.ledger, ids, height, consortium.now)] * len(leaves)

    orderer.lies["submit"] = lie
    known = victim.driver.outbox.add(consortium.anchor(VICTIM))
    victim.driver.outbox.step()
    victim.restart()
    return known


def test_a_member_that_was_restarted_between_receipt_and_breach_raises_the_alarm(consortium):
    known = promise_and_order_nothing(consortium, 1)
    victim = consortium.nodes[VICTIM]
    assert len(victim.driver.outbox) == 0
    consortium.orderer.driver.order([consortium.anchor(TAKER)])
    consortium.step()
    [alarm] = victim.driver.health().alarms
    assert (alarm.code, alarm.fields["id"]) == ("ordering.withheld", known.hex())
    victim.restart()
    for _ in range(3):
        consortium.step()
    assert victim.alarms() == set()


@pytest.mark.parametrize("ahead", [1, 2**53 - 1])
def test_an_orderer_that_promises_a_block_however_far_ahead_and_makes_none_is_caught(consortium, ahead):
    known = promise_and_order_nothing(consortium, ahead)
    victim = consortium.nodes[VICTIM]
    for _ in range(4):
        consortium.step(DENIED_S)
    [alarm] = victim.driver.health().alarms
    assert (alarm.code, alarm.fields["id"]) == ("ordering.denied", known.hex())
    assert [node.alarms() for name, node in consortium.nodes.items() if name != VICTIM] == [set()] * 4


def test_after_a_takeover_the_lost_orderers_promises_bind_nobody_also_after_a_restart(consortium):
    known = promise_and_order_nothing(consortium, 1)
    victim, taker = consortium.nodes[VICTIM], consortium.nodes[TAKER]
    consortium.cut_off = {ORDERER}
    taker.driver.takeover(consortium.hand_over(TAKER, taker, voters=sorted(consortium.nodes)))
    for _ in range(3):
        consortium.step()
    assert victim.replica.members.protocol.orderer == TAKER
    victim.restart()
    assert victim.driver.promises.receipt(known) is None
    for _ in range(3):
        consortium.step(DENIED_S)
    assert victim.alarms() == set()


def test_what_was_promised_in_a_takeover_that_was_given_up_binds_nobody_also_after_a_restart():
    """Who made it has ordered before, and handed over in time: no ledger shows that its later reign is void."""
    with Consortium(7) as consortium:
        names = list(consortium.nodes)
        first, taker, victim = (consortium.nodes[name] for name in (ORDERER, TAKER, VICTIM))
        consortium.step()
        for before, after in ((first, TAKER), (taker, ORDERER)):
            before.driver.order([consortium.hand_over(after, before, creator=before.org_id)])
            consortium.step()
            consortium.settle(3)
        agreed = consortium.hand_over(TAKER, taker, voters=names)
        consortium.cut_off = {ORDERER}
        taker.driver.takeover(agreed)
        victim.driver.follow_once()
        for _ in range(3):
            taker.driver.order([consortium.anchor(TAKER)])
        known = victim.driver.outbox.add(consortium.anchor(VICTIM))
        victim.driver.outbox.step()
        consortium.cut_off = {TAKER}
        victim.restart()
        assert victim.driver.promises.receipt(known) is not None
        consortium.now += DAY_S + 121
        again = consortium.hand_over("org-3", consortium.nodes["org-3"], voters=names)
        consortium.nodes["org-3"].driver.takeover(again)
        consortium.step(60)
        assert victim.replica.members.protocol.orderer == "org-3"
        assert victim.driver.promises.receipt(known) is None
        victim.restart()
        for _ in range(6):
            consortium.orderer.driver.order([consortium.anchor("org-4")])
            consortium.step(DENIED_S)
        assert victim.alarms() == set()


def test_an_honest_orderer_is_accused_of_nothing_whoever_restarts(consortium):
    for number in range(6):
        name = f"org-{1 + number % 4}"
        node = consortium.nodes[name]
        node.driver.outbox.add(consortium.anchor(name))
        node.driver.outbox.step()
        node.restart()
        consortium.step(DENIED_S)
        consortium.nodes[ORDERER].restart()
        consortium.step(DENIED_S)
    assert is_level(consortium.nodes)
    assert [node.alarms() for node in consortium.nodes.values()] == [set()] * 5


def test_an_orderer_that_has_dropped_blocks_and_has_nothing_in_their_place_says_that_it_is_not_ready(consortium):
    """Its "nothing" would deny what it promised in good faith."""
    orderer, victim = consortium.nodes[ORDERER], consortium.nodes[VICTIM]
    victim.driver.outbox.add(consortium.anchor(VICTIM))
    victim.driver.outbox.step()
    orderer.replica.rewind(0)
    orderer.driver._succession.is_between = True  # noqa: SLF001  # as while it goes over to a takeover
    for _ in range(3):
        consortium.now += DENIED_S
        victim.driver.follow_once()
    assert victim.alarms() == set()


def test_what_was_told_of_is_kept_with_the_receipts(desk):
    leaf = desk.promised(1)
    desk.ordered()
    assert desk.disk.broken == [Broken(accepted_id(leaf), 1)]
