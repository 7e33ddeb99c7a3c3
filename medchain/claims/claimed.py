"""What is claimed of a hospital's own invoices, as its ledger has it: of an invoice whole, and of its lines.

Keeps true: a line and the whole invoice are objects of their own, which the ledger cannot see to be one invoice; the
hospital can, and finds each from the other. Trusts the register for which lines there are.
Source: `docs/spec/claim-deed.md` 2; `docs/spec/claim-question.md` 6.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

from medchain.claims.claimed_lines import ClaimedLines, whole_of
from medchain.claims.issuing import Issuing
from medchain.claims.register import Issued
from medchain.errors import UnavailableError
from medchain.ledger.invoice import InvoiceFields, Scope
from medchain.ledger.kinds.claim import CLAIM
from medchain.ledger.kinds.claim_content import Bill, read
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.kinds.shares import Shares
from medchain.ledger.object import map_key
from medchain.node.ledger_node import LedgerNode

REVERSED: Final = "reversed"
"""Status of the claims on an invoice that its hospital took back."""

_KEYS: Final = 16_384


class Standing(NamedTuple):
    """An invoice's claims as they are: id, what never changes, the parts, the newest version; 0 where there is none."""

    claim_id: bytes
    bill: Bill
    shares: Shares
    version: int
    is_reversed: bool = False

    def has(self, insurer: str) -> bool:
        """Tell whether an insurer has a part, or had: it showed the check code then."""
        return self.shares.find(lambda share: share.insurer == insurer) is not None

    def is_live(self, day: int) -> bool:
        """Tell whether anybody has a part on a day; of what was taken back the parts stay told, and take nothing."""
        return not self.is_reversed and bool(self.shares.on(day).live)


class Claimed:
    """Reads what is claimed. Threads may share it."""

    __slots__ = ("_issuing", "_kept_key", "_lines", "_side")

    def __init__(self, issuing: Issuing, side: LedgerNode, lines: ClaimedLines) -> None:
        """Prepare.

        Args:
            issuing: this organisation's invoices.
            side: ledger and bodies of its node.
            lines: of which invoices lines may be claimed.
        """
        self._lines = lines
        self._issuing = issuing
        self._side = side
        # An id never changes, and those of all lines are wanted with each question. It is kept for who has shown that
        # it holds the invoice, and for him alone: else time would tell who guesses whether one is here, and who holds
        # it whether another insurer has asked for it.
        self._kept_key = lru_cache(_KEYS)(lambda invoice, _insurer: self.key(invoice))

    def key(self, invoice: InvoiceFields) -> bytes:
        """Return the map key of the claims on an invoice of this organisation's, or on a line; errors as `Issuing`."""
        return map_key(CLAIM, self._issuing.org_id, self._issuing.claim_id(invoice))

    def held(self, key: bytes) -> Standing | None:
        """Read an invoice's claims; None where there are none.

        Args:
            key: map key, 32 bytes.

        Raises:
            UnavailableError: ``claim.no_body`` while they are not here.
        """
        record = self._side.replica.store.record(key)
        if record is None:
            return None
        found = self._side.shelf.head(key)
        if found is None:
            raise UnavailableError("claim.no_body")
        claim = read(found[1].content)
        return Standing(record.id, claim.bill, claim.shares, record.version, is_reversed=record.status == REVERSED)

    def is_reversed(self, key: bytes) -> bool:
        """Tell whether what lies at a map key was taken back, for which its body need not be here."""
        record = self._side.replica.store.record(key)
        return record is not None and record.status == REVERSED

    def is_apart(self, issued: Issued, insurer: str) -> bool:
        """Tell an insurer whether an invoice is claimed otherwise: of a line the whole, of the whole its lines.

        Only one that holds the invoice: it takes less time for what the same has looked for before. Errors as `key`.
        """
        own = issued.invoice
        if own.scope is Scope.ITEM:
            return self._is_live(self._kept_key(whole_of(own), insurer))
        # To make the ids of all lines takes longer than the rest of a question, and hardly any is claimed by lines.
        lines = self.lines(own, issued) if self._lines.may_have(own) else ()
        return any(self._is_live(self._kept_key(line, insurer)) for line in lines)

    def lines(self, invoice: InvoiceFields, issued: Issued | None) -> list[InvoiceFields]:
        """Name the lines of an invoice: those that it has now, and those of which something was ever claimed.

        Args:
            invoice: whole, or one of them.
            issued: as the register has it; None where it has it no more.
        """
        has = () if issued is None else issued.lines
        numbers = {*has, *self._lines.numbers(whole_of(invoice))}
        return [replace(invoice, scope=Scope.ITEM, line=line) for line in sorted(numbers)]

    def is_taken_back(self, issued: Issued, insurer: str) -> bool:
        """Tell an insurer whether a line is of an invoice that was taken back, as the object of the whole says alone.

        Likewise only one that holds the invoice. Errors as `key`.
        """
        own = issued.invoice
        return own.scope is Scope.ITEM and self.is_reversed(self._kept_key(whole_of(own), insurer))

    def _is_live(self, key: bytes) -> bool:
        """Tell whether anybody has a part; what cannot be told here is taken for claimed."""
        try:
            held = self.held(key)
        except UnavailableError:
            return True
        return held is not None and held.is_live(self._issuing.clock() // DAY_S)
