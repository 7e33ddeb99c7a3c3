"""The register of this hospital's invoices, out of its Invoice resources: fills `medchain.claims.register`'s port.

An Invoice names its forms by identifiers: code, number and check code of the electronic one, and of its paper copy.
Keeps true: whichever form is asked for, the electronic one is answered, so that both have one claim id; what is
ambiguous, erased or entered in error is not there. Trusts the index to find what it holds.
Source: FHIR R4 Invoice (§13.11); `docs/spec/claim-question.md` 5, 6.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from fhir_bridge.document import Element, Number, Resource, objects_of, parse
from fhir_bridge.search.service import SearchService
from medchain.claims.register import Issued
from medchain.errors import InputError, NotFoundError
from medchain.ledger.claim_question import AskedRow
from medchain.ledger.invoice import MAX_LINE, Amount, InvoiceFields, Scope, amount_of, day_of, invoice_of, spelled
from medchain.node.records import RecordService
from medchain.store.records import RecordStore
from medchain.store.versions import Found, VersionReader

SYSTEM: Final = "https://medchain.example/fhir/id/"
"""How the identifier systems begin by which an Invoice names its forms."""

ISSUER: Final = f"{SYSTEM}invoicing-party"
"""System of issuer codes, in `Invoice.issuer.identifier`."""

ELECTRONIC: Final = "e-invoice"
"""Form of which code, number and date make the claim id."""

PAPER: Final = "paper-invoice"
"""Form of a copy on paper."""

REPLACED: Final = "https://medchain.example/fhir/StructureDefinition/invoice-replaced"
"""Extension of an Invoice that names, by code, number and date, the one of the same issuer that it replaces."""

_FORMS: Final = (ELECTRONIC, PAPER)
_COUNTING: Final = frozenset({"issued", "balanced"})
_NOT_THERE: Final = frozenset({"draft", "entered-in-error"})
_BASE: Final = "base"
_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class _Form:
    """A form of an invoice, spelled in the one way; a text that it does not have is empty."""

    code: str
    number: str
    check_code: str


class FhirInvoices:
    """Finds invoices. Threads may share it."""

    __slots__ = ("_reader", "_searches", "_service")

    def __init__(self, searches: SearchService, records: RecordStore, service: RecordService) -> None:
        """Use a node's records.

        Args:
            searches: finds them.
            records: the records file.
            service: opens them.
        """
        self._searches = searches
        self._reader = VersionReader(records)
        self._service = service

    def find(self, asked: AskedRow) -> Issued | None:
        """Find an invoice; arguments, result and errors as the port says."""
        fields = asked.fields
        found = [
            issued
            for one in self._reader.numbered(self._numbers(asked.number, fields.number))
            if one is not None and (issued := self._issued(one, fields)) is not None
        ]
        # What two systems have stored is one invoice, as long as they agree on which, how much it comes to and what it
        # replaces; it counts as long as none of them says otherwise.
        named = {(one.invoice, one.check_codes, one.amount, one.replaced) for one in found}
        if len(named) != 1:
            return None
        lines = tuple(sorted({line for one in found for line in one.lines}))
        prices: dict[int, Amount] = {}
        for line, price in (pair for one in found for pair in one.prices.items()):
            # Of two that say otherwise the greater one: less would let lines come to more than the invoice.
            prices[line] = max(price, prices.get(line, price), key=lambda amount: amount.minor)
        is_issued = all(one.is_issued for one in found)
        return replace(found[0], is_issued=is_issued, lines=lines, prices=prices)

    def _numbers(self, *written: str) -> list[int]:
        """List the record versions of invoices with a number, as it was written or in its one spelling."""
        systems = [f"{SYSTEM}{form}-number" for form in _FORMS]
        tokens = [f"{system}|{_escaped(text)}" for system in systems for text in dict.fromkeys(written)]
        query = urlencode({"identifier": ",".join(tokens)})
        return [row.number for row in self._searches.rows("Invoice", query, _MOST)]

    def _issued(self, one: Found, fields: InvoiceFields) -> Issued | None:
        """Read a record version; None for what is not the invoice that is meant."""
        try:
            return _issued(parse(self._service.open_found(one).content), fields, one.stored.seq)
        except (InputError, NotFoundError):
            # What was erased, or names itself as no invoice does, is none that anybody can claim.
            return None


def _issued(invoice: Resource, fields: InvoiceFields, number: int) -> Issued | None:
    """Say what an Invoice is; None for another one than is meant; raises `InputError` for what has no id."""
    forms = {form: _form(invoice, form) for form in _FORMS}
    is_meant = any((form.code, form.number) == (fields.code, fields.number) for form in forms.values() if form.number)
    if not is_meant or _issuer(invoice) != fields.issuer or invoice.get("status") in _NOT_THERE:
        return None
    own, day = forms[ELECTRONIC], day_of(str(invoice.get("date", "")))
    spelling = invoice_of(fields.scope, fields.issuer, own.code, own.number, day, fields.line)
    prices = _prices(invoice)
    amount = _total(invoice) if fields.scope is Scope.INVOICE else prices.get(fields.line)
    if amount is None and fields.scope is Scope.ITEM:
        return None
    codes = tuple(form.check_code for form in forms.values() if form.check_code)
    replaced = _replaced(invoice, fields.issuer)
    is_issued = invoice.get("status") in _COUNTING
    return Issued(spelling, codes, amount, is_issued, number, replaced, _lines(invoice), prices)


def _replaced(invoice: Resource, issuer: str) -> InvoiceFields | None:
    """Read in whose place it was issued; None for none; raises `InputError` for what names no invoice."""
    found = [one for one in objects_of(invoice.get("extension")) if one.get("url") == REPLACED]
    if not found:
        return None
    told = {str(one.get("url")): one for one in objects_of(found[0].get("extension"))}
    code, number = (str(told.get(part, {}).get("valueString", "")) for part in ("code", "number"))
    day = day_of(str(told.get("date", {}).get("valueDate", "")))
    return invoice_of(Scope.INVOICE, issuer, spelled(code, "code") if code else "", number, day)


def _form(invoice: Resource, form: str) -> _Form:
    """Read a form; raises `InputError` for a text that cannot be spelled."""
    told = {str(one.get("system")): str(one.get("value")) for one in objects_of(invoice.get("identifier"))}
    texts = {part: told.get(f"{SYSTEM}{form}-{part}", "") for part in ("code", "number", "check")}
    return _Form(*(spelled(text, part) if text else "" for part, text in texts.items()))


def _issuer(invoice: Resource) -> str:
    """Read who issued an invoice; empty where it does not say."""
    issuers = objects_of([invoice.get("issuer")])
    named = objects_of([one.get("identifier") for one in issuers])
    codes = [str(one.get("value")) for one in named if one.get("system") == ISSUER]
    return spelled(codes[0], "issuer") if codes else ""


def _total(invoice: Resource) -> Amount | None:
    """Read what all of it comes to."""
    return _money(invoice.get("totalGross")) or _money(invoice.get("totalNet"))


def _prices(invoice: Resource) -> dict[int, Amount]:
    """Read what each line comes to; without those of no price, of several, or of one that is no amount."""
    told: dict[int, list[Element]] = {}
    for one in objects_of(invoice.get("lineItem")):
        line = one.get("sequence")
        if isinstance(line, Number) and 1 <= line <= MAX_LINE:
            prices = objects_of(one.get("priceComponent"))
            told.setdefault(int(line), []).extend(price.get("amount") for price in prices if price.get("type") == _BASE)
    found: dict[int, Amount] = {}
    for place, amounts in told.items():
        with suppress(InputError):
            amount = _money(amounts[0]) if len(amounts) == 1 else None
            if amount is not None:
                found[place] = amount
    return found


def _lines(invoice: Resource) -> tuple[int, ...]:
    """Number the lines that can be named one by one."""
    told = [one.get("sequence") for one in objects_of(invoice.get("lineItem"))]
    return tuple(sorted({int(one) for one in told if isinstance(one, Number) and 1 <= one <= MAX_LINE}))


def _money(value: Element) -> Amount | None:
    """Read an amount to the letter; None for none."""
    number = value.get("value") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(number, Number):
        return None
    return amount_of(number.text, str(value.get("currency", "CNY")))


def _escaped(value: str) -> str:
    """Write a value that a search takes as it is (FHIR R4 §3.1.1.4.3)."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$").replace("|", "\\|")
