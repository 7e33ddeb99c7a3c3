"""Whole lives at random: members lie, fail, are away, exchange keys, are suspended, and hand the orderer's role on.

After every turn the judge looks from outside (`tests/audit.py`, `tests/promises.py`): what any two call final, or could
ever be, is one log, by the members that it had there; nothing that was added is lost; nobody honest is accused. In the
end all faults stop, and all honest members come to the same root.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import pytest

from medchain.errors import MedchainError, VerificationError
from medchain.ledger.members import faulty
from medchain.ledger.transaction import parse_envelope
from medchain.ordering.driver import Alarm
from medchain.ordering.receipt import Receipt, verify_receipt
from medchain.tlog.note import KeyType, VerifierKey, parse_note
from tests.administrators import Administrators, try_to_take_over
from tests.consortium import GENERATIONS, Consortium, Dice, Faults, Killer, Node, is_level, log_signer
from tests.liars import Liars
from tests.roll import COSIGN_USES

TURNS = 40
MOST_ROUNDS = 40
ROUND_S = 35
MOST_WRITES = 5
ROUNDS_BEFORE_A_TAKEOVER = 6
ROUNDS_TO_FINAL = 4
ROUNDS_TO_A_RECORD = 5


class Life:
    """A consortium at random.

    What the ordering promises to go on after is narrower than what it promises to keep safe in: an orderer that forks
    can hold all up until it is caught.
    """

    def __init__(self, start: int, *, goes_on: bool) -> None:
        """Begin with a seed; `goes_on` leaves out what may hold the ledger up for good."""
        self.dice = dice = Dice(start)
        self.goes_on = goes_on
        count = (4, 5, 6, 7)[dice.below(4)]
        self.consortium = Consortium(count, start)
        names = sorted(self.consortium.nodes)
        lying = dice.below(faulty(count) + 1)
        liars: set[str] = {"org-0"} if lying and not goes_on and dice.falls(50) else set()
        while len(liars) < lying:
            liars.add(names[goes_on + dice.below(count - goes_on)])
        # Where a member is suspended, fewer may lie: so many as of those who are left.
        self.may_suspend = lying <= faulty(count - 1)
        self.honest = [node for name, node in self.consortium.nodes.items() if name not in liars]
        self.away: dict[str, int] = {}
        self.administrators = Administrators(self.consortium)
        self.consortium.step()
        self.consortium.orderer.driver.order([self.consortium.anchor("org-1")])
        self.consortium.settle(2)
        self.liars = Liars(self.consortium, dice, sorted(liars)) if liars else None

    @property
    def may_order(self) -> list[Node]:
        """List who may be handed the role."""
        return self.honest if self.goes_on else list(self.consortium.nodes.values())

    def any(self) -> Node:
        """Choose an honest node."""
        return self.honest[self.dice.below(len(self.honest))]

    def turn(self) -> None:
        """Do something, and let some time pass."""
        acts = (
            [self.submit] * 3
            + [self.go_on] * 2
            + [self.part, self.leave, self.spoil, self.crash, self.end_as_orderer, self.restart]
            + [self.take_over] * 3
            + [self.hand_over, self.exchange_keys, self.change_standing, self.lie, self.lie]
        )
        acts[self.dice.below(len(acts))]()
        self.check()
        self.go_on()
        self.check()

    def submit(self) -> None:
        """Have somebody add a record."""
        node = self.any()
        for _ in range(1 + self.dice.below(2)):
            node.submit(self.consortium.anchor(node.org_id))

    def go_on(self) -> None:
        """Let time pass, and most nodes do their work."""
        for _ in range(1 + self.dice.below(3)):
            self.consortium.now += self.dice.below(20)
            self.come_back()
            self.consortium.arrive()
            for node in self.consortium.nodes.values():
                # All or nothing is due: a life must not depend on how fast it is lived.
                self.consortium.hurry(due=0.0 if self.dice.falls(60) else math.inf)
                if self.dice.falls(80):
                    with suppress(MedchainError):
                        node.step()
            if self.liars and self.dice.falls(50):
                self.liars.tell(self.any())

    def come_back(self) -> None:
        """Start who was away long enough, or runs with keys that its ledger lists no more."""
        for node in self.honest:
            left = self.away.get(node.org_id, 0)
            self.away[node.org_id] = max(left - 1, 0)
            if (not node.is_up and not left) or (node.is_up and not node.has_listed_keys and self.dice.falls(50)):
                node.start_anew()

    def part(self) -> None:
        """Cut some off."""
        names, cut = sorted(self.consortium.nodes), self.dice.below(faulty(len(self.consortium.nodes)) + 2)
        self.consortium.cut_off = {names[self.dice.below(len(names))] for _ in range(cut)}

    def leave(self) -> None:
        """Have a node be away for a long time."""
        node = self.any()
        node.is_up, self.away[node.org_id] = False, 10 + self.dice.below(40)

    def spoil(self) -> None:
        """Make the network bad, or good."""
        self.consortium.faults = Faults(*((0, 0, 5, 30)[self.dice.below(4)] for _ in range(4)))

    def crash(self) -> None:
        """End a node in front of one of its writes."""
        node = self.any()
        if node.is_up:
            self.consortium.hurry(due=0.0 if self.dice.falls(60) else math.inf)
            with Killer(node, self.dice.below(MOST_WRITES)), suppress(MedchainError):
                node.step()

    def end_as_orderer(self) -> None:
        """End an orderer when it has made a block, before it answers."""
        node = self.any()
        if node.is_up and node.org_id not in self.consortium.cut_off:
            leaf = self.consortium.anchor(node.org_id)
            node.submit(leaf)
            with suppress(MedchainError):
                node.driver.order([leaf])
            node.is_up = False

    def restart(self) -> None:
        """Restart a node."""
        node = self.any()
        if node.is_up:
            node.start_anew()

    def take_over(self) -> None:
        """Have somebody take over, in one or more tries."""
        agreed = self.administrators.agreed
        target = agreed[1] if agreed is not None and self.dice.falls(50) else self.any()
        if agreed is None or target is not agreed[1]:
            if not self.administrators.agree_on_takeover(target):
                return
            agreed = self.administrators.agreed
        leaf, target = agreed
        if not target.is_up:
            return
        if self.dice.falls(20):
            with Killer(target, self.dice.below(MOST_WRITES)):
                try_to_take_over(leaf, target)
        else:
            try_to_take_over(leaf, target)

    def hand_over(self) -> None:
        """Have the role handed over in time."""
        names, view = [node.org_id for node in self.may_order], self.any()
        leaf = self.administrators.hand_over(names[self.dice.below(len(names))], view)
        if leaf is not None:
            view.submit(leaf)

    def exchange_keys(self) -> None:
        """Have somebody exchange keys; a log key only who does not order."""
        node = self.any()
        organisation = node.replica.members.organisations[node.org_id]
        uses = (COSIGN_USES, ("log",), ("ledger",), (*COSIGN_USES, "ledger"))[self.dice.below(4)]
        if "log" in uses and node.org_id in self.have_ordered():
            return
        if node.is_up and organisation.status == "active" and node.has_listed_keys:
            leaf = self.consortium.exchange(node.org_id, uses, node)
            node.submit(leaf)

    def have_ordered(self) -> set[str]:
        """List whom any ledger has ever named as the orderer, or is about to."""
        named = {members.protocol.orderer for node in self.honest for members in node.replica.snapshots}
        return named | self.administrators.named

    def change_standing(self) -> None:
        """Have a member suspended, or take part again; the regulator stays, or nothing could be agreed on."""
        view = self.any()
        organisations = view.replica.members.organisations.values()
        suspended = [item.org_id for item in organisations if item.status == "suspended"]
        names = suspended or [name for name in sorted(self.consortium.nodes) if name != "org-0"]
        target = names[self.dice.below(len(names))]
        is_orderer = target in {node.replica.members.protocol.orderer for node in self.honest}
        if self.may_suspend and not is_orderer and view.is_up:
            leaf = self.administrators.change_standing(target, "active" if suspended else "suspended", view)
            if leaf is not None:
                view.submit(leaf)

    def lie(self) -> None:
        """Have the liars do something."""
        if self.liars is None:
            return
        match self.dice.below(3):
            case 0:
                name = self.liars.names[self.dice.below(len(self.liars.names))]
                self.liars.order(name, [self.consortium.anchor("org-1") for _ in range(1 + self.dice.below(2))])
            case 1:
                self.liars.mislead(self.any(), self.administrators.takeovers)
            case 2:
                self.liars.withhold(self.any())
        self.acknowledge()

    def acknowledge(self) -> None:
        """Have the operators acknowledge what the liars were caught at."""
        for node in self.honest if self.liars and self.liars.are_lying else self.consortium.nodes.values():
            if node.is_up and node.driver.cosigner.evidence:
                node.acknowledge()
                node.start_anew()

    def check(self) -> None:
        """Judge all."""
        self.consortium.check()
        for node in self.honest:
            for alarm in node.driver.health().alarms:
                assert self.accused(node, alarm) <= self.consortium.liars, f"{node.org_id}: {alarm}"
            if node.is_up:
                lost = [leaf for known, leaf in node.intents.items() if self.is_lost(node, known, leaf)]
                assert not lost, f"{node.org_id} has lost {len(lost)}"

    @staticmethod
    def is_lost(node: Node, known: bytes, leaf: bytes) -> bool:
        """Tell whether what was added is in no block, not under way, and was not refused."""
        outbox = node.driver.outbox
        is_under_way = known in outbox._pending  # noqa: SLF001  # what it holds in memory
        in_block = node.replica.transaction_height(known) is not None
        return not (in_block or is_under_way or leaf in node.driver.refused)

    def accused(self, node: Node, alarm: Alarm) -> set[str]:
        """Tell whom an alarm that holds evidence accuses."""
        match alarm.code:
            case "checkpoint.split_view":
                notes = [parse_note(str(alarm.fields[side]).encode()).signatures[0] for side in ("ours", "theirs")]
                first, second = (self.signers(lambda key, note=note: key.key_id == note.key_id) for note in notes)
                assert first == second, "two notes by two organisations prove nothing"
                return first
            case "ordering.withheld" | "ordering.reordered" | "ordering.denied":
                known, height = bytes.fromhex(str(alarm.fields["id"])), alarm.fields["height_at_most"]
                given = [receipt for receipt in node.disk.receipts if receipt.covers(known)]
                broken = [receipt for receipt in given if receipt.height_at_most == height]
                return self.signers(lambda key: any(is_by(receipt, key.public) for receipt in broken))
            case "ordering.kept_back" | "ordering.two_blocks":
                return {str(alarm.fields["orderer"])}
        assert not alarm.latched, alarm
        return set()

    def signers(self, is_key: Callable[[VerifierKey], bool]) -> set[str]:
        """List who has a log key, of any generation, that something is by."""
        keys = [(name, log_signer(name, number).public) for name in self.consortium.nodes for number in GENERATIONS]
        origin = self.consortium.genesis.origin
        return {name for name, public in keys if is_key(VerifierKey(origin, KeyType.ED25519, public))}

    def rest(self) -> None:
        """Have all faults stop, and the operators do what they are told, until all are one, or long enough."""
        consortium = self.consortium
        consortium.faults, consortium.cut_off, consortium.late, self.away = Faults(), set(), [], {}
        if self.liars:
            self.liars.repair()
        for node in self.honest:
            node.start_anew()
        number = 0
        while not self.is_one():
            assert number < MOST_ROUNDS or not self.goes_on, self.state()
            if number == MOST_ROUNDS:
                break
            number += 1
            self.acknowledge()
            self.come_back()
            self.operate(number)
            consortium.hurry()
            consortium.step(ROUND_S)
            self.check()

    def state(self) -> str:
        """Describe where the nodes stand."""
        rows = [
            f"{name} height {node.replica.height} size {node.replica.size} final {node.driver.cosigner.final_size}"
            f" orderer {node.replica.members.protocol.orderer} waits for {node.disk.vouched.stood_down!r}"
            f" under way {len(node.driver.outbox)} alarms {sorted(node.alarms())} {type(node.driver.orderer.failure)}"
            for name, node in self.consortium.nodes.items()
        ]
        return "\n".join(["", f"liars {self.consortium.liars}", *rows])

    def is_one(self) -> bool:
        """Tell whether all honest members have one root, call it final, and have nothing to submit or to wait for."""
        drivers = [node.driver for node in self.honest]
        sizes = {driver.cosigner.final_size for driver in drivers}
        is_idle = not any(len(driver.outbox) or driver.cosigner.vouched.stood_down for driver in drivers)
        return (
            is_idle and is_level({node.org_id: node for node in self.honest}) and sizes == {self.honest[0].replica.size}
        )

    def operate(self, number: int) -> None:
        """Do what operators do: replace an orderer that does not order; and somebody adds a record now and then.

        Who has cosigned more than there is now, of what a takeover dropped, cosigns only when the log has grown so far.
        """
        if number % ROUNDS_TO_A_RECORD == 0:
            node = self.honest[0]
            node.submit(self.consortium.anchor(node.org_id))
        if number < ROUNDS_BEFORE_A_TAKEOVER:
            return
        if self.administrators.agreed is not None and try_to_take_over(*self.administrators.agreed):
            self.administrators.agreed = None
        else:
            self.administrators.agree_on_takeover(self.honest[number % len(self.honest)])

    def end(self) -> None:
        """See that all work, and that what was added is in the ledger, unless its signer's key is listed no more."""
        for node in self.honest:
            node.start_anew()
            node.submit(self.consortium.anchor(node.org_id))
        for _ in range(ROUNDS_TO_FINAL):
            self.consortium.hurry()
            self.consortium.step(ROUND_S)
            self.check()
        assert self.is_one(), self.state()
        replica = self.honest[0].replica
        for node in self.honest:
            for known, leaf in node.intents.items():
                in_block = replica.transaction_height(known) is not None
                assert in_block or self.is_void(node, leaf), f"{node.org_id} has lost what it added"

    def is_void(self, node: Node, leaf: bytes) -> bool:
        """Tell whether an envelope can be in no block any more: by its key, its version or its end."""
        transaction = parse_envelope(leaf).transaction
        known = node.replica.members.signers
        is_of_the_past = transaction.changes[0].kind != "record"
        return leaf in node.driver.refused and (is_of_the_past or transaction.signers[0].key_id not in known)


def is_by(receipt: Receipt, log_key: bytes) -> bool:
    """Tell whether a log key has signed a receipt."""
    with suppress(VerificationError):
        verify_receipt(receipt, receipt.ledger, log_key)
        return True
    return False


def live(start: int, *, goes_on: bool) -> Life:
    """Live a life."""
    life = Life(start, goes_on=goes_on)
    with life.consortium:
        for _ in range(TURNS):
            life.turn()
        life.rest()
        if goes_on:
            life.end()
    return life


@pytest.mark.parametrize("start", range(4))
def test_in_a_life_of_faults_and_lies_one_log_alone_becomes_final_and_nothing_is_lost(start):
    live(start, goes_on=False)


@pytest.mark.parametrize("start", range(4))
def test_after_faults_and_lies_of_members_that_do_not_order_all_come_to_one_log(start):
    live(start, goes_on=True)


def test_a_seed_plays_the_same_life_again():
    first, second = (live(2, goes_on=False) for _ in range(2))
    assert [node.replica.root for node in first.honest] == [node.replica.root for node in second.honest]


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 2000, 100))
@pytest.mark.parametrize("goes_on", [False, True])
def test_hundreds_of_lives(start, goes_on):
    for number in range(start, start + 100):
        live(number, goes_on=goes_on)
