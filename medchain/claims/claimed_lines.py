"""Which invoices of a hospital have had lines claimed by themselves, so that of all others no line must be looked for.

Keeps true: of an invoice that is not listed no line was ever claimed, as far as this node's ledger goes; what cannot be
told is taken for listed. Listed is more than is claimed now: a part may be given up, or its block be rewound.
Trusts this node's ledger and bodies.
Source: `docs/spec/claim-question.md` 6.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Event, Lock
from typing import Final

from medchain.errors import MedchainError
from medchain.ledger.invoice import InvoiceFields, Scope
from medchain.ledger.kinds.claim import CLAIM
from medchain.ledger.kinds.claim_content import read
from medchain.node.ledger_node import LedgerNode
from medchain.node.log import Log

PERIOD_S: Final = 5.0
"""How often what is new is read while nobody asks."""

_AT_ONCE: Final = 256
_LOG: Final = Log("claims")


class ClaimedLines:
    """Reads the ledger from its beginning, and lists. Threads may share it; `run` is for one."""

    __slots__ = ("_is_blind", "_listed", "_lock", "_org_id", "_seen", "_side")

    def __init__(self, org_id: str, side: LedgerNode) -> None:
        """Prepare; nothing is read yet.

        Args:
            org_id: this organisation.
            side: ledger and bodies of its node.
        """
        self._org_id = org_id
        self._side = side
        self._lock = Lock()
        # Height up to which blocks were read and are final.
        self._seen = 0
        self._listed: dict[InvoiceFields, set[int]] = {}
        self._is_blind = False

    def run(self, stop: Event) -> None:
        """Read until told to stop; what fails is tried again."""
        while True:
            try:
                while not stop.is_set() and not self._read():
                    pass
            except MedchainError as error:
                _LOG.warning("lines.delayed", code=error.code)
            if stop.wait(PERIOD_S):
                return

    def may_have(self, invoice: InvoiceFields) -> bool:
        """Tell whether lines of an invoice may be claimed.

        Args:
            invoice: a whole one of this organisation's.

        Returns:
            True also where this node has not read so far, or lacks the body of a claim.
        """
        return not self._read() or self._is_blind or invoice in self._listed

    def numbers(self, invoice: InvoiceFields) -> frozenset[int]:
        """Return the numbers of its lines of which something was ever claimed, also of such as it has no more.

        Args:
            invoice: a whole one of this organisation's.
        """
        while not self._read():
            pass
        return frozenset(self._listed.get(invoice, ()))

    def _read(self) -> bool:
        """Read the next blocks; tells whether those were all."""
        store = self._side.replica.store
        with self._lock:
            head, final = store.head.height, store.final()
            last = min(self._seen + _AT_ONCE, head)
            for key in store.changed_of(CLAIM, self._seen + 1, last) if self._seen < last else ():
                self._list(key)
            # What is not final may come otherwise, and is read again.
            settled = 0 if final is None else store.block_of_size(final.size).height
            self._seen = min(last, settled)
            return last == head

    def _list(self, key: bytes) -> None:
        """List the invoice of a line that is claimed."""
        record = self._side.replica.store.record(key)
        if record is None or record.creator != self._org_id:
            return
        body = self._side.shelf.newest(key)
        if body is None:
            # Such as after a restored backup. What was destroyed went with its patient's records, the invoice too.
            self._is_blind |= self._side.replica.store.destroyed_upto(key) < record.version
            return
        invoice = read(body.content).bill.invoice
        if invoice.scope is Scope.ITEM:
            self._listed.setdefault(whole_of(invoice), set()).add(invoice.line)


def whole_of(invoice: InvoiceFields) -> InvoiceFields:
    """Name the invoice of a line."""
    return replace(invoice, scope=Scope.INVOICE, line=0)
