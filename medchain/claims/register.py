"""What the hospital's side needs of the floors above: its register of invoices, and who is told that one was asked for.

Keeps true: each port is small and named for what it gives; the roof passes them in.
Source: `docs/spec/claim-question.md` 5, 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from medchain.ledger.claim_question import AskedRow
from medchain.ledger.invoice import Amount, InvoiceFields


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice that this organisation has issued, or one of its lines.

    Attributes:
        invoice: how it is spelled, in its electronic form.
        check_codes: of its forms, spelled in the one way.
        amount: of all of it, or of the line; None where that cannot be told.
        is_issued: whether it counts; not so for one that was cancelled.
        number: of the record version, for the audit.
        replaced: the whole invoice in whose place this one was issued, in its electronic form; None for none.
        lines: numbers of all lines of the whole invoice, sorted.
        prices: what each line of it comes to that has one price, by its number.
    """

    invoice: InvoiceFields
    check_codes: tuple[str, ...]
    amount: Amount | None
    is_issued: bool
    number: int
    replaced: InvoiceFields | None = None
    lines: tuple[int, ...] = ()
    prices: Mapping[int, Amount] = field(default_factory=dict)


class InvoiceRegister(Protocol):
    """The invoices of this organisation."""

    def find(self, asked: AskedRow) -> Issued | None:
        """Find an invoice by any of its forms.

        Args:
            asked: what is held of it; check code, date and amount are not looked at.

        Returns:
            The one invoice that has issuer, code and number; None where there is none, where several have them, or the
            line is not there.

        Raises:
            UnavailableError: the records file cannot be read.
        """
        ...


class Questions(Protocol):
    """Has the audit keep who asked for invoices, which is then told to their patients."""

    def questioned(self, peer: str, question: bytes, numbers: Sequence[int], *, is_known: bool) -> None:
        """Keep that invoices were asked for.

        Args:
            peer: org_id of who asked.
            question: its hash, 32 bytes.
            numbers: of the invoices' record versions.
            is_known: whether their check codes were right, and they were told of.

        Raises:
            UnavailableError: it cannot be kept; nothing may be answered then.
        """
        ...
