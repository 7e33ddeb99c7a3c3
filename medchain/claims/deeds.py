"""The hospital's side of deeds: what insurers ask for, and what it does itself, brought to the ledger.

Keeps true: who has no part of an invoice yet shows its check code, since all members read its id on the ledger; each
deed is the version after the one that its insurer had seen, once, however often it is asked for; an invoice is claimed
whole or by its lines, which are objects of their own, and not both; what is answered as done is final; each deed is in
the list of looks of the patient whose invoice it is, before it is done.
Trusts `medchain.ledger.kinds` for the rules, and the register for the invoices.
Source: `docs/spec/claim-deed.md`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

from medchain.claims.claimed import Claimed, Standing
from medchain.claims.claimed_lines import whole_of
from medchain.claims.fishing import FishingWatch
from medchain.claims.issuing import Issuing, Proven
from medchain.claims.register import Issued, Questions
from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError
from medchain.ledger.claim_question import AskedRow, read_row
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.invoice import Amount, InvoiceFields, Scope
from medchain.ledger.kinds.claim import CLAIM, MAX_DELAY_S, request_of
from medchain.ledger.kinds.claim_content import Bill, Claim, on_refund, on_request, on_reversal, read
from medchain.ledger.kinds.content import DAY_S, count
from medchain.ledger.kinds.shares import Shares
from medchain.ledger.object import build_body, map_key
from medchain.ledger.signed_request import SignedRequest, read_request
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.ledger_node import LedgerNode
from medchain.node.submit import FINAL_TIMEOUT_S, Draft

REVERSE: Final = "claims.reverse"
"""Local operation: take an invoice of this organisation's back, for ever."""

REFUND: Final = "claims.refund"
"""Local operation: lower the total of an invoice of this organisation's."""

DEED_TYPE: Final = "medchain/claim-deed/v1"
"""Type of what an insurer sends."""

MAX_DEED_BYTES: Final = 40 * 1024
"""Largest deed."""

MAX_DONE_BYTES: Final = 1024
"""Largest answer to one."""

HEAD: Final = "claim.head"
"""Refusal of a request whose insurer has not seen the newest version."""

APART: Final = "claim.apart"
"""Refusal to reserve a line of an invoice that is claimed whole, or an invoice of which a line is claimed."""

TOTAL: Final = "claim.total"
"""Refusal of a refund whose caller takes the invoice to come to something else: it may be done already."""

LINES: Final = "claim.lines"
"""Refusal to reserve what could come to more than the invoice: its lines, or it beside what was refunded of one."""

CANCELLED: Final = "claim.cancelled"
"""Refusal of an invoice that does not count, or not any more."""

UNKNOWN: Final = "claim.unknown"
"""Refusal of who does not hold an invoice that is here, and know its id."""

_TURNS: Final = 64
# How long after its time a deed may be ordered: as old as it may be endorsed, and as far ahead as it may say.
_ORDERED_S: Final = MAX_DELAY_S + 60


@dataclass(frozen=True, slots=True)
class Done:
    """What a deed came to.

    Attributes:
        key: map key of the invoice's claims, 32 bytes.
        version: that tells the deed.
    """

    key: bytes
    version: int


class DeedDesk:
    """Does deeds. Threads may share it; one process owns it."""

    __slots__ = ("_claimed", "_fishing", "_issuing", "_questions", "_random", "_side", "_turns")

    def __init__(
        self,
        issuing: Issuing,
        questions: Questions,
        fishing: FishingWatch,
        claimed: Claimed,
        side: LedgerNode,
        random: Callable[[int], bytes],
    ) -> None:
        """Prepare.

        Args:
            issuing: this organisation's invoices.
            questions: the audit.
            fishing: counts what was asked for in vain.
            claimed: what is claimed of them.
            side: ledger, bodies and submitter of its node.
            random: gives as many unpredictable bytes as it is asked for.
        """
        self._issuing = issuing
        self._questions = questions
        self._fishing = fishing
        self._claimed = claimed
        self._side = side
        self._random = random
        # Of one invoice one deed after the other: of two at once one would be refused after it was endorsed, and a line
        # and the whole both be found free. Invoices share these: to have one each would let anybody make as many as
        # there are ids.
        self._turns = tuple(Lock() for _ in range(_TURNS))

    def ask(self, document: bytes, peer: str) -> Done:
        """Do what an insurer asks for.

        Args:
            document: from `encode_deed`.
            peer: org_id of who calls.

        Returns:
            The deed, final; the same for a request that was done before.

        Raises:
            InputError: ``encoding.*``, ``claim.malformed``, ``invoice.*``.
            AccessDeniedError: as `Issuing.check_request`.
            NotFoundError: ``claim.unknown`` where the request's id is not that of an invoice here, or its check code is
                not shown by who has no part of it.
            ConflictError: `HEAD` with the newest version; ``claim.cancelled`` for an invoice that does not count;
                `APART` for a line of an invoice that is claimed whole, or the other way round; `LINES` for what could
                come to more than the invoice;
                ``claim.replaced`` for one in the place of another that was not reversed; others of
                `medchain.node.submit.Submitter.submit`.
            VerificationError: ``claim.*``: the rule that the deed would break.
            UnavailableError: ``claim.fishing``, as of a question; ``claim.no_body``; no endorser, no quorum;
                ``submit.promised`` while a deed of before on the invoice, or on what is claimed apart from it, may
                still be ordered; the disk, or the audit.
        """
        signed, row = parse_deed(document)
        request = signed.request
        self._issuing.check_request(signed, peer, request.hospital)
        key = map_key(CLAIM, request.hospital, request.claim_id)
        self._fishing.check(peer)
        turn = self._turn(self._family(key, row))
        with turn:
            version = self._before(key, request)
            if version is not None:
                return Done(key, version)
            if self._turn(self._family(key, row)) is not turn:
                # What it showed was of another invoice, and claims of its id began meanwhile: others have their turn.
                raise ConflictError(HEAD)
            return Done(key, self._asked(key, signed, row))

    def reverse(self, row: AskedRow) -> Done:
        """Take an invoice back, for ever, with its lines that are claimed; its check code is not looked at.

        Returns:
            The reversal, final; that of before where it was reversed already.

        Raises:
            NotFoundError: ``claim.unknown`` for an invoice that is not here.
            VerificationError: ``claim.*``.
            ConflictError, UnavailableError: as `ask`.
        """
        with self._own(row) as standing:
            if standing.bill.invoice.scope is Scope.INVOICE:
                # First: what is issued in its place could else be paid beside a line of it.
                issued = self._issuing.find(_row_of(standing.bill))
                lines = self._claimed.lines(standing.bill.invoice, issued)
                for line in map(self._claimed.held, map(self._claimed.key, lines)):
                    if line is not None and not line.is_reversed:
                        self._taken_back(line)
            return self._taken_back(standing)

    def refund(self, row: AskedRow, minor: int) -> Done:
        """Lower an invoice's total by an amount in minor units; errors as of `reverse`.

        Raises:
            ConflictError: ``claim.none`` where nothing was ever claimed of it: the invoice itself says its total;
                `TOTAL` where the row has an amount, and it does not come to that now: an answer may have been lost.
        """
        with self._own(row) as standing:
            if not standing.version:
                raise ConflictError("claim.none")
            now = Amount(standing.shares.total, standing.bill.currency)
            if row.money is not None and row.money != now:
                raise ConflictError(TOTAL)
            made = on_refund(standing.bill, standing.shares, minor, self._issuing.clock())
            return self._submitted(standing, made, None)

    def _taken_back(self, standing: Standing) -> Done:
        """Reverse the claims on an invoice, or on a line; whoever has a part is told."""
        if standing.is_reversed:
            key = map_key(CLAIM, self._issuing.org_id, standing.claim_id)
            self._side.submitter.wait_final(key, standing.version, FINAL_TIMEOUT_S)
            return Done(key, standing.version)
        return self._submitted(standing, on_reversal(standing.bill, standing.shares, self._issuing.clock()), None)

    def _before(self, key: bytes, request: ClaimRequest) -> int | None:
        """Return the version that a request has made already, once it is final; None where it has made none."""
        for record in self._side.replica.store.history(key):
            body = self._side.shelf.ordered(record)
            signed = None if body is None else request_of(body)
            if signed is not None and signed.request.hash == request.hash:
                self._side.submitter.wait_final(key, record.version, FINAL_TIMEOUT_S)
                return record.version
        return None

    def _asked(self, key: bytes, signed: SignedRequest[ClaimRequest], row: AskedRow) -> int:
        """Do it for the first time; returns the version."""
        request = signed.request
        standing = self._claimed.held(key)
        if standing is not None and standing.has(request.insurer):
            self._tell_of(standing, request)
        else:
            standing = self._joined(standing, row, request)
        if request.head != standing.version:
            raise ConflictError(HEAD, version=standing.version)
        if request.action is Action.RESERVE:
            self._check_apart(standing)
        elif request.action is Action.SETTLE:
            self._check_whole(standing.bill)
        made = on_request(standing.bill, standing.shares, request, self._issuing.clock())
        return self._submitted(standing, made, {"request": signed.to_json()}).version

    def _turn(self, key: bytes) -> Lock:
        """Return the lock under which the deeds of an invoice and of its lines are done, by `_family`."""
        return self._turns[key[0] % _TURNS]

    def _family(self, key: bytes, row: AskedRow) -> bytes:
        """Return the map key of the whole invoice's claims, of an invoice or a line that the ledger has or is shown."""
        held = self._side.shelf.head(key)
        if held is not None:
            invoice = read(held[1].content).bill.invoice
        else:
            # Of a line that is not there the same is computed, so that time does not tell it from one that is.
            issued = self._issuing.find(row) if row.scope is Scope.ITEM else None
            invoice = row.fields if issued is None else issued.invoice
        if invoice.scope is not Scope.ITEM:
            return key
        return self._claimed.key(replace(whole_of(invoice), day=min(invoice.day, self._issuing.last_day)))

    def _check_apart(self, standing: Standing) -> None:
        """Refuse to reserve what is claimed otherwise: of two objects the ledger cannot see that they are one invoice.

        Raises:
            ConflictError: `APART`; `LINES`; `CANCELLED` for a line of an invoice that was taken back, and where the
                invoice is gone, so that nobody can tell what else is claimed of it.
            UnavailableError: ``submit.promised``.
        """
        bill, today = standing.bill, self._issuing.clock() // DAY_S
        self._check_whole(bill)
        whole = self._issuing.find(_row_of(replace(bill, invoice=whole_of(bill.invoice))))
        if whole is None:
            raise ConflictError(CANCELLED)
        lines = self._claimed.lines(bill.invoice, whole)
        named = [whole_of(bill.invoice)] if bill.invoice.scope is Scope.ITEM else lines
        keys = {one.line: self._claimed.key(one) for one in named}
        others = {line: self._claimed.held(key) for line, key in keys.items()}
        if any(held is not None and held.is_live(today) for held in others.values()):
            raise ConflictError(APART)
        if any(self._may_come(keys[line], held, today) for line, held in others.items()):
            raise UnavailableError("submit.promised", retry_after_s=_ORDERED_S)
        if bill.invoice.scope is Scope.ITEM:
            # What was claimed of another line before the hospital priced them otherwise.
            beside = [one for one in lines if one.line != bill.invoice.line]
            found = {one.line: self._claimed.held(self._claimed.key(one)) for one in beside}
            others |= {line: held for line, held in found.items() if held is not None and held.is_live(today)}
        _check_sum(standing, whole, others)

    def _check_whole(self, bill: Bill) -> None:
        """Refuse a line of an invoice that was taken back: what is issued in its place would be paid beside it."""
        if bill.invoice.scope is Scope.ITEM and self._claimed.is_reversed(self._claimed.key(whole_of(bill.invoice))):
            raise ConflictError(CANCELLED)

    def _attempt(self, key: bytes, version: int) -> Claim | None:
        """Return a version that failed here and may still be ordered, by others; None for none."""
        body = self._side.attempt(key, version, lambda one: read(one.content).time + _ORDERED_S)
        return None if body is None else read(body.content)

    def _may_come(self, key: bytes, held: Standing | None, today: int) -> bool:
        """Tell whether a deed that takes something may still be ordered."""
        attempt = self._attempt(key, 1 if held is None else held.version + 1)
        return attempt is not None and bool(attempt.shares.on(today).live)

    @contextmanager
    def _own(self, row: AskedRow) -> Iterator[Standing]:
        """Find an invoice of this organisation's, and its claims; no other deed of it is done meanwhile."""
        issued = self._issuing.find(row)
        if issued is None:
            raise NotFoundError(UNKNOWN)
        proven = self._issuing.prove(issued.invoice)
        key = map_key(CLAIM, self._issuing.org_id, proven.claim_id)
        with self._turn(self._family(key, row)):
            yield self._claimed.held(key) or self._begun(issued, proven)

    def _joined(self, standing: Standing | None, row: AskedRow, request: ClaimRequest) -> Standing:
        """Return the claims of an invoice, or begin them, for who shows that it holds the invoice."""
        with self._fishing.counting:
            self._fishing.check(request.insurer)
            issued, proven, is_held = self._issuing.show(row)
            is_shown = issued is not None and hmac.compare_digest(proven.claim_id, request.claim_id) and is_held
            if issued is not None:
                # The patient is told, whether it was right or not, before anything is answered.
                self._questions.questioned(request.insurer, request.hash, [issued.number], is_known=is_shown)
            try:
                return self._shown(standing, issued if is_shown else None, proven)
            except NotFoundError:
                # Whoever tries ids, or times how long it takes, is stopped as one who asks.
                self._fishing.note(request.insurer, 1)
                raise

    def _shown(self, standing: Standing | None, issued: Issued | None, proven: Proven) -> Standing:
        """Return the claims of an invoice that was shown, or begin them."""
        if issued is None:
            raise NotFoundError(UNKNOWN)
        if not issued.is_issued:
            raise ConflictError(CANCELLED)
        return standing or self._begun(issued, proven)

    def _begun(self, issued: Issued, proven: Proven) -> Standing:
        """Begin the claims of an invoice.

        Raises:
            NotFoundError: for one that says no total, or has no check code.
            ConflictError: ``claim.replaced`` for one in the place of another that was not reversed.
        """
        if issued.amount is None or not issued.check_codes:
            raise NotFoundError(UNKNOWN)
        replaced = None if issued.replaced is None else self._reversed(issued.replaced)
        if issued.invoice.scope is not Scope.INVOICE:
            # An item stands in the place of no item: of the invoices it is said.
            replaced = None
        code, currency = issued.check_codes[0], issued.amount.currency
        bill = Bill(issued.invoice, proven.key, proven.proof, code, currency, replaced)
        return Standing(proven.claim_id, bill, Shares(issued.amount.minor), 0)

    def _reversed(self, invoice: InvoiceFields) -> bytes:
        """Return the map key of a reversed invoice's claims; of one that is not, both would be claimed."""
        key = self._claimed.key(invoice)
        if not self._claimed.is_reversed(key):
            raise ConflictError("claim.replaced")
        return key

    def _tell_of(self, standing: Standing, request: ClaimRequest) -> None:
        """Tell the patient of a deed of who has a part already, whatever invoice it shows beside its request."""
        issued = self._issuing.find(_row_of(standing.bill))
        if issued is not None:
            self._questions.questioned(request.insurer, request.hash, [issued.number], is_known=True)

    def _submitted(self, standing: Standing, made: Claim, evidence: Json) -> Done:
        """Bring the next version to the ledger, and wait until it is final.

        Raises:
            UnavailableError: ``submit.promised`` while another attempt at it may still be ordered: what that takes
                counts.
        """
        if self._attempt(map_key(CLAIM, self._issuing.org_id, standing.claim_id), standing.version + 1) is not None:
            raise UnavailableError("submit.promised", retry_after_s=_ORDERED_S)
        body = build_body(CLAIM, made.to_content(), evidence, self._random)
        draft = Draft(CLAIM, standing.claim_id, body, made.status, version=standing.version + 1)
        submitted = self._side.submitter.submit(draft)
        return Done(submitted.key, submitted.record.version)


def _check_sum(standing: Standing, whole: Issued, others: Mapping[int, Standing | None]) -> None:
    """Refuse to reserve what could come to more than the invoice: a discount, or a refund, is not of each line.

    Args:
        standing: what is to be reserved of.
        whole: the invoice, as it is now.
        others: what is claimed apart from it, and beside a line, by the number of the line, 0 for the whole.

    Raises:
        ConflictError: `LINES`.
    """
    if whole.amount is None:
        # Nothing can be claimed of the whole, then.
        return
    total, prices = whole.amount, whole.prices
    if standing.bill.invoice.scope is Scope.ITEM:
        held_whole = others.get(0)
        limit = total.minor if held_whole is None else min(total.minor, held_whole.shares.total)
        is_one = {one.currency for one in prices.values()} <= {total.currency}
        come = {line: price.minor for line, price in prices.items()}
        for line, held in {**others, standing.bill.invoice.line: standing}.items():
            if line and held is not None:
                come[line] = max(come.get(line, 0), held.shares.total)
        if not is_one or sum(come.values()) > limit:
            raise ConflictError(LINES)
        return
    told = [(prices[line].minor, held) for line, held in others.items() if held is not None and line in prices]
    refunded = sum(max(0, price - (0 if held.is_reversed else held.shares.total)) for price, held in told)
    if refunded and standing.shares.total + refunded > total.minor:
        raise ConflictError(LINES)


def _row_of(bill: Bill) -> AskedRow:
    """Write what finds an invoice, or a line of it, in the register."""
    return read_row({**bill.invoice.to_content(), "amount": "", "check_code": bill.check_code, "currency": ""})


def encode_deed(signed: SignedRequest[ClaimRequest], row: AskedRow) -> bytes:
    """Write what an insurer sends: its request, and what it holds of the invoice."""
    return canonical({"request": signed.to_json(), "row": row.to_json(), "type": DEED_TYPE})


def parse_deed(document: bytes) -> tuple[SignedRequest[ClaimRequest], AskedRow]:
    """Read it strictly; raises `InputError` ``encoding.*``, ``content.*``, ``claim.*``, ``invoice.*``."""
    shape = {"request": dict, "row": dict, "type": str}
    top = members(parse_canonical(document, max_bytes=MAX_DEED_BYTES), shape)
    if top["type"] != DEED_TYPE:
        raise InputError("claim.malformed", member="type")
    return read_request(ClaimRequest, top["request"]), read_row(top["row"])


def done_json(done: Done) -> Json:
    """Write what a deed came to."""
    return {"key": done.key.hex(), "version": done.version}


def read_done(value: Json) -> Done:
    """Read it strictly; raises `InputError`."""
    top = members(value, {"key": str, "version": int})
    return Done(unhex(top["key"], HASH_BYTES), count(top["version"]))
