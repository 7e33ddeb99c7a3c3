"""One node's side of claims, put together: questions, deeds, and who fishes.

What runs in the daemon beside `medchain.node.exchange_node`, with the local operations that the command line asks for.
Keeps true: while a restore is under way nothing is answered. Trusts the local channel for who calls.
Source: `docs/spec/claim-question.md`, `claim-deed.md`, `claim-dispute.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from medchain.claims.answering import QuestionDesk
from medchain.claims.asking import CHECK, MAX_CHECKED, AskingParts, Checked, ClaimAsker, Hospitals, HttpClaims
from medchain.claims.batch import CURRENCY
from medchain.claims.case_book import CaseBook
from medchain.claims.case_desk import CaseDesk, for_insurers
from medchain.claims.case_judging import Judging
from medchain.claims.case_permissions import PermissionWatch
from medchain.claims.case_ports import CaseParts, ClaimShelf
from medchain.claims.checks import CheckBook, Reached
from medchain.claims.claimed import Claimed
from medchain.claims.claimed_lines import ClaimedLines
from medchain.claims.deeds import REFUND, REVERSE, DeedDesk, done_json
from medchain.claims.disputes import DisputeDesk, DisputeParts, DisputeWays
from medchain.claims.einvoice import EINVOICE, EInvoiceAnswer, EInvoices, HttpEInvoices, Said
from medchain.claims.fishing import FishingParts, FishingWatch, Supervisors
from medchain.claims.gathering import ClaimGrants, Gathering, GatheringParts
from medchain.claims.issuing import Issuing
from medchain.claims.register import InvoiceRegister, Questions
from medchain.claims.wishes import RELEASE, RESERVE, SETTLE, ClaimHand, DeedWays, Fulfilled, Wish
from medchain.crypto.es384 import Es384Signer
from medchain.crypto.vrf import VrfKey
from medchain.encoding import Json, as_list, members, unhex
from medchain.errors import InputError
from medchain.ledger.claim_question import NUMBER, AskedRow, read_row
from medchain.ledger.claim_request import Action
from medchain.ledger.invoice import Amount, amount_of
from medchain.ledger.kinds.content import DAY_S, count
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.alarms import AlarmBook
from medchain.node.assembly import DaemonNode, Ground
from medchain.node.clock import Clock
from medchain.node.config import NO_RULES, PolicyRules
from medchain.node.daemon import Job
from medchain.node.exchange import ClaimWish, ReceivedDisclosure
from medchain.node.ledger_node import LedgerNode
from medchain.store.records import RecordStore


class Ways(DeedWays, DisputeWays, Hospitals, Supervisors, Protocol):
    """The ways of claims to other nodes."""


@dataclass(frozen=True, slots=True)
class ClaimSurroundings:
    """What a node's side of claims is made from.

    Attributes:
        org_id: this organisation.
        side: the node's ledger side.
        records: the records file.
        authentication: signs questions.
        vrf: this organisation's keys for invoices, by their public keys.
        alarms: keeps alarms.
        register: this organisation's invoices.
        questions: the audit.
        ways: to other nodes.
        check_restored: raises `UnavailableError` while a restore is under way.
        clock: gives Unix seconds.
        shelf: finds claims among the records.
        ask: asks a patient; the local operation ``ask.send``.
        finder: finds grants for a claim.
        disclose: asks for a disclosure.
        einvoices: tells whether electronic invoices are genuine; None where nobody is asked.
        rules: what an insurer's policies ask of each claim.
    """

    org_id: str
    side: LedgerNode
    records: RecordStore
    authentication: Es384Signer
    vrf: Mapping[bytes, VrfKey]
    alarms: AlarmBook
    register: InvoiceRegister
    questions: Questions
    ways: Ways
    check_restored: Callable[[], None]
    clock: Clock
    shelf: ClaimShelf
    ask: Callable[[Json], Json]
    finder: ClaimGrants
    disclose: Callable[[ClaimWish], ReceivedDisclosure]
    einvoices: EInvoices | None = None
    rules: PolicyRules = NO_RULES


class ClaimNode:
    """The side of claims of one node; fills `medchain.node.services.ClaimService`.

    Attributes:
        watch: counts who fishes, and tells.
        asker: asks others.
        disputes: what is said about claims.
        checks: batches that are checked while nobody waits.
        permissions: sees which cases the patient has permitted.
        lines: knows which invoices have had lines claimed.
    """

    def __init__(self, around: ClaimSurroundings) -> None:
        """Put the parts together; nothing runs yet."""
        self._around = around
        replica = around.side.replica
        ledger = replica.store
        self.watch = FishingWatch(
            FishingParts(around.org_id, replica, around.records, around.alarms, around.ways, around.clock)
        )
        issuing = Issuing(
            org_id=around.org_id,
            ledger=replica.ledger,
            members=lambda: ledger.members,
            vrf=around.vrf.get,
            register=around.register,
            clock=around.clock,
        )
        self.lines = ClaimedLines(around.org_id, around.side)
        claimed = Claimed(issuing, around.side, self.lines)
        self._desk = QuestionDesk(issuing, around.questions, self.watch, claimed.is_apart, claimed.is_taken_back)
        self._deeds = DeedDesk(issuing, around.questions, self.watch, claimed, around.side, secrets.token_bytes)
        self.asker = ClaimAsker(
            AskingParts(
                org_id=around.org_id,
                ledger=replica.ledger,
                members=lambda: ledger.members,
                record=ledger.record,
                authentication=around.authentication,
                hospitals=around.ways,
                clock=around.clock,
            )
        )
        self._hand = ClaimHand(around.org_id, around.side, self.asker, around.authentication, around.ways, around.clock)
        permissions = around.finder.permissions
        book = CaseBook(around.records, lambda: ledger.members, permissions, self._earlier, around.rules)
        self._judging = Judging(book, around.records, self._gathering(), around.clock)
        self._cases = CaseDesk(self._case_parts(), book)
        self.permissions = PermissionWatch(book, around.records, self._permitting, around.finder.moment)
        self.checks = CheckBook(self._checked, self._reached, around.clock)
        self.disputes = DisputeDesk(
            DisputeParts(
                org_id=around.org_id,
                ledger=replica.ledger,
                members=lambda: ledger.members,
                records=around.records,
                about=book.about,
                authentication=around.authentication,
                ways=around.ways,
                clock=around.clock,
                random=secrets.token_bytes,
            )
        )

    def jobs(self) -> tuple[Job, ...]:
        """Return what runs for as long as the daemon."""
        return (
            Job("fishing", self.watch.run),
            Job("disputes", self.disputes.run),
            Job("checks", self.checks.run),
            Job("permissions", self.permissions.run),
            Job("lines", self.lines.run),
        )

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            **self.checks.operations(),
            **self.disputes.operations(),
            CHECK: self._check,
            REFUND: self._refund,
            RELEASE: self._release,
            RESERVE: self._reserve,
            REVERSE: self._reverse,
            SETTLE: self._settle,
            **self._of_insurers(),
        }

    def _case_parts(self) -> CaseParts:
        """Say what cases are made from."""
        around, ledger = self._around, self._around.side.replica.store
        return CaseParts(
            org_id=around.org_id,
            members=lambda: ledger.members,
            earlier=self._earlier,
            records=around.records,
            shelf=around.shelf,
            fulfil=self._hand.fulfil,
            ask=around.ask,
            holds=self._judging.holds,
            clock=around.clock,
            random=secrets.token_bytes,
        )

    def _earlier(self) -> dict[str, str]:
        """Tell whose the addresses are that members list, or listed before."""
        ledger = self._around.side.replica.store
        return ledger.addresses_at(ledger.head.height)

    def _permitting(self, claim: bytes) -> set[str]:
        """Tell at which hospitals a permission for exactly a claim is in force."""
        return {custodian for custodian, _ in self._around.finder.for_claim(claim)}

    def _gathering(self) -> Gathering:
        """Put together what gathers evidence."""
        around = self._around
        ways = around.finder, around.disclose, around.clock, secrets.token_bytes
        return Gathering(GatheringParts(around.org_id, around.side, self.asker, *ways, around.einvoices, around.rules))

    def _of_insurers(self) -> dict[str, Callable[[Json], Json]]:
        """Return the operations on cases."""
        ledger = self._around.side.replica.store
        operations = self._cases.operations() | self._judging.operations()
        return for_insurers(operations, self._around.org_id, lambda: ledger.members)

    def question(self, document: bytes, peer: str) -> bytes:
        """Answer another organisation's question as `QuestionDesk.answer`; raises `UnavailableError` ``restore.*``."""
        self._around.check_restored()
        return self._desk.answer(document, peer)

    def deed(self, document: bytes, peer: str) -> Json:
        """Do what another organisation asks for; see `DeedDesk.ask`; raises `UnavailableError` ``restore.*``."""
        self._around.check_restored()
        return done_json(self._deeds.ask(document, peer))

    def fishing(self, document: bytes, peer: str) -> Json:
        """Take another organisation's report; see `FishingWatch.receive`."""
        return self.watch.receive(document, peer)

    def dispute(self, document: bytes, peer: str) -> Json:
        """Take a step of a dispute; see `DisputeDesk.receive`; raises `UnavailableError` ``restore.*``."""
        self._around.check_restored()
        return self.disputes.receive(document, peer)

    def _check(self, document: Json) -> Json:
        """Ask whether invoices are claimed."""
        given = as_list(members(document, {"rows": list})["rows"])
        if not 0 < len(given) <= MAX_CHECKED:
            raise InputError("claim.malformed")
        checked = self._checked([read_row(row) for row in given])
        reached = self._reached()
        return {"checked": checked, "final_size": reached.size, "time": reached.time}

    def _checked(self, rows: Sequence[AskedRow]) -> list[Json]:
        """Ask for invoices, and write what came of each; what a service for electronic ones says stands beside it."""
        checked, einvoices = [checked_json(one) for one in self.asker.check(rows)], self._around.einvoices
        if einvoices is not None:
            # Of a copy on paper, with numbers of its own, the service knows nothing: its word would accuse the holder.
            copies = [NUMBER in as_list(one["differs"]) for one in checked]
            answers = iter(einvoices.check([row for row, is_copy in zip(rows, copies, strict=True) if not is_copy]))
            for one, is_copy in zip(checked, copies, strict=True):
                one[EINVOICE] = (EInvoiceAnswer(Said.NOT_ASKED) if is_copy else next(answers)).to_json()
        return [*checked]

    def _reached(self) -> Reached:
        """Tell how far the ledger is final."""
        store = self._around.side.replica.store
        final = store.final()
        return Reached(0, 0) if final is None else Reached(final.size, store.block_of_size(final.size).time)

    def _reserve(self, document: Json) -> Json:
        """Reserve a part of an invoice."""
        top = members(document, {"amount": str, "claim": str, "days": int, "row": dict})
        until = self._around.clock() // DAY_S + count(top["days"])
        return self._fulfilled(Action.RESERVE, top, until)

    def _settle(self, document: Json) -> Json:
        """Settle what was reserved, or less."""
        return self._fulfilled(Action.SETTLE, members(document, {"amount": str, "claim": str, "row": dict}))

    def _release(self, document: Json) -> Json:
        """Give a part up."""
        return self._fulfilled(Action.RELEASE, members(document, {"claim": str, "row": dict}))

    def _fulfilled(self, action: Action, top: Mapping[str, Json], until: int | None = None) -> Json:
        """Have a hospital do it; without an amount it is all that the row says."""
        row = read_row(top["row"])
        currency = row.currency or CURRENCY
        is_all = action is Action.RELEASE
        amount = Amount(0, currency) if is_all else amount_of(str(top.get("amount") or row.amount), currency)
        wish = Wish(action, row, unhex(top["claim"], HASH_BYTES), amount, until)
        return fulfilled_json(self._hand.fulfil(wish))

    def _reverse(self, document: Json) -> Json:
        """Take an invoice of this organisation's back."""
        return done_json(self._deeds.reverse(read_row(members(document, {"row": dict})["row"])))

    def _refund(self, document: Json) -> Json:
        """Lower the total of an invoice of this organisation's."""
        top = members(document, {"amount": str, "row": dict})
        row = read_row(top["row"])
        return done_json(self._deeds.refund(row, amount_of(str(top["amount"]), row.currency or CURRENCY).minor))


def fulfilled_json(fulfilled: Fulfilled) -> Json:
    """Write what an insurer's wish came to."""
    record, share = fulfilled.record, fulfilled.share
    return {
        "amount": fulfilled.amount.text,
        "claim_id": fulfilled.claim_id.hex(),
        "currency": fulfilled.currency,
        "differs": [*fulfilled.differs],
        "hospital": fulfilled.hospital,
        "key": record.key.hex(),
        "position": record.since,
        "state": share.state.value,
        "status": record.status,
        "until": share.until,
        "version": record.version,
    }


@dataclass(frozen=True, slots=True)
class Above:
    """What the floors above give a daemon's side of claims.

    Attributes:
        register: its invoices.
        questions: its audit.
        shelf: finds claims among the records.
    """

    register: InvoiceRegister
    questions: Questions
    shelf: ClaimShelf


def claim_node(node: DaemonNode, ground: Ground, above: Above) -> ClaimNode:
    """Put a daemon's side of claims together.

    Args:
        node: the opened node.
        ground: of its other parts.
        above: from the floors above.
    """
    service = node.config.einvoice
    return ClaimNode(
        ClaimSurroundings(
            org_id=node.config.org_id,
            side=ground.side,
            records=node.records,
            authentication=node.web_keys.authentication,
            vrf=node.daemon_keys.vrf,
            alarms=ground.alarms,
            register=above.register,
            questions=above.questions,
            ways=HttpClaims(node.peers),
            check_restored=ground.check_restored,
            clock=node.clock,
            shelf=above.shelf,
            ask=ground.asks.send,
            finder=ground.exchange.finder,
            disclose=ground.exchange.asker.request_disclosure,
            einvoices=None if service is None else HttpEInvoices(service, may_stand_in=node.replica.genesis.demo),
            rules=node.config.rules,
        )
    )


def checked_json(checked: Checked) -> dict[str, Json]:
    """Write what came of a row, for the node's own workers and the command line."""
    known, record = checked.known, checked.record
    return {
        "claim_id": None if known is None else known.claim_id.hex(),
        "differs": [] if known is None else [*known.differs],
        "finding": checked.finding.value,
        "hospital": checked.hospital,
        "invoice": None if known is None else dict(known.invoice.to_content()),
        "key": None if record is None else record.key.hex(),
        "reason": checked.reason,
        "version": None if record is None else record.version,
    }
