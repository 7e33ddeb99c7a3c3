"""Line 3, complete: how much of the encounter is shown, and is the claim about what the hospital's invoice says?

Pure. Source: `docs/spec/claim-verdict.md`, rows ``complete``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from medchain.ledger.evidence.checked import Checked, ShownRecord
from medchain.ledger.evidence.claim_reading import money_of, text_of
from medchain.ledger.evidence.disclosure import As
from medchain.ledger.evidence.verdict import Finding, listed
from medchain.ledger.invoice import Amount

_LINE: Final = re.compile(r"/lineItem/([0-9]+)/.+")
_PRICE: Final = re.compile(r"(/lineItem/([0-9]+)/priceComponent/[0-9]+)/amount/value")
_COMPONENT: Final = re.compile(r"/(?:lineItem/[0-9]+/priceComponent|totalPriceComponent)/[0-9]+/type")
# Types of price components that change no total (FHIR R4 invoice-priceComponentType).
_UNCHANGING: Final = frozenset({"base", "informational"})
TOTALS: Final = ("/totalGross", "/totalNet")
"""Where an invoice says what it is about; the first that is shown counts."""


def complete(case: Checked) -> Iterator[Finding]:
    """Find how much is shown, and whether sums agree."""
    if not case.claim.cited:
        yield Finding("complete.nothing_cited", {})
    yield from _counts(case)
    yield from _amounts(case)


def _counts(case: Checked) -> Iterator[Finding]:
    """Compare how many records there are with those that are shown."""
    facts = [fact for given in case.given for fact in given.facts("record_count")]
    counts: Counter[str] = Counter()
    for fact in facts:
        if isinstance(fact.value, int):
            counts[str(fact.arguments["type"])] += fact.value
    if not facts or any(fact.value is None for fact in facts):
        yield Finding("complete.unknown", {})
    if not facts:
        return
    cited = [one for given in case.given for one in given.of(As.CITED)]
    numbers = tuple(sorted(number for one in cited for number in one.items))
    encounters = sum(len({one.arguments["encounter"] for one in given.facts("record_count")}) for given in case.given)
    told = {"all": counts.total(), "cited": len(cited), "encounters": encounters}
    yield Finding("complete.counts", told, numbers)
    shown = Counter(one.row.type for one in case.records)
    others = [f"{name} {count - shown[name]}" for name, count in counts.items() if count > shown[name]]
    if others:
        yield Finding("complete.others", {"types": listed(others)})


def _amounts(case: Checked) -> Iterator[Finding]:
    """Compare the claim with its items, and with the invoices of hospitals."""
    total, items = case.claim.total, case.claim.items
    if total is None or case.claim.is_unread:
        yield Finding("complete.unknown", {})
    if total is not None and items is not None and not _is_total(items, total, is_whole=case.claim.is_whole):
        yield _differs("complete.items_differ", items.minor, total)
    bills = [(one, bill) for one in _invoices(case) if (bill := _bill(one.fields)) is not None]
    for record, bill in bills:
        came = _lines(record.fields)
        is_total = came in [money_of(record.fields, name) for name in TOTALS]
        if came is None or (not is_total and _is_changed(record.fields)):
            # Not silent: who leaves a price out could hide that the lines do not make the total.
            yield Finding("complete.lines", record.name, record.items)
        elif not is_total:
            yield _differs("complete.items_differ", came.minor, bill, record.items)
    if not bills:
        yield Finding("complete.no_invoice", {})
    elif total is not None:
        yield _compared(total, bills)


def _is_total(items: Amount, total: Amount, *, is_whole: bool) -> bool:
    """Tell whether items come to a total; of items that do not all have a net, nobody knows what they come to.

    That those which have one come to no more says nothing: what has none may be taken off.
    """
    return items.currency == total.currency and (not is_whole or items.minor == total.minor)


def _compared(total: Amount, bills: list[tuple[ShownRecord, Amount]]) -> Finding:
    """Compare the claim with invoices."""
    numbers = tuple(sorted(number for one, _ in bills for number in one.items))
    billed = Amount(sum(bill.minor for _, bill in bills), bills[0][1].currency)
    if {bill.currency for _, bill in bills} != {total.currency} or total.minor > billed.minor:
        return _differs("complete.total_differs", total.minor, billed, numbers)
    if total.minor < billed.minor:
        return _differs("complete.part", total.minor, billed, numbers)
    return Finding("complete.total", {"amount": total.minor, "currency": total.currency}, numbers)


def _differs(code: str, amount: int, total: Amount, numbers: tuple[int, ...] = ()) -> Finding:
    """Say that an amount is not a total."""
    return Finding(code, {"amount": amount, "currency": total.currency, "total": total.minor}, numbers)


def _invoices(case: Checked) -> list[ShownRecord]:
    """List the invoices that are shown."""
    return [one for given in case.given for one in given.of(As.INVOICE) if one.head is not None]


def _bill(told: Mapping[str, str]) -> Amount | None:
    """Return what an invoice is about."""
    return next((one for one in (money_of(told, name) for name in TOTALS) if one is not None), None)


def _is_changed(told: Mapping[str, str]) -> bool:
    """Tell whether a discount, a tax or the like stands beside the base prices: none says whether it is taken off."""
    return any(_COMPONENT.fullmatch(name) and text_of(told, name) not in _UNCHANGING for name in told)


def _lines(told: Mapping[str, str]) -> Amount | None:
    """Add the base prices of an invoice's lines; None where not every line has exactly one, or currencies differ."""
    numbers = {match[1] for match in map(_LINE.fullmatch, told) if match is not None}
    prices: dict[str, list[Amount | None]] = {number: [] for number in numbers}
    for match in map(_PRICE.fullmatch, told):
        if match is not None and text_of(told, f"{match[1]}/type") == "base":
            prices[match[2]].append(money_of(told, f"{match[1]}/amount"))
    found = [one for rows in prices.values() for one in rows if one is not None and len(rows) == 1]
    if not numbers or len(found) != len(numbers) or len({one.currency for one in found}) != 1:
        return None
    return Amount(sum(one.minor for one in found), found[0].currency)
