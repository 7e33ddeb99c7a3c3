"""Index values with an order: dates, numbers, quantities, places on earth.

Keeps true: a number is the point that it says to its last digit, as other servers take it; its implied precision counts
on the side of the query. Trusts nothing.
Source: FHIR R4 §3.1.1.4.6, §3.1.1.4.7, §3.1.1.4.11, §2.24.0.6 (Quantity); Location, ``near``.
"""

from __future__ import annotations

from datetime import tzinfo
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import inf, isfinite, nextafter
from typing import Final

from fhir_bridge.search import units
from fhir_bridge.search.cells import Cell, Cells, Emit, Variant, string_of
from fhir_bridge.search.exact import split
from medchain.dates import Span, span_of, span_of_period, span_of_timing

CURRENCIES: Final = "urn:iso:std:iso:4217"
"""The system of the codes of money."""

LONG: Final = "~"
"""Key of a range of time of more than a day; others have an empty key, so that an index can bound their beginning."""

LONG_US: Final = 86_400_000_000
"""Longest range that is not `LONG`, in microseconds."""


def date_cell(span: Span) -> Cell:
    """Make the cell of a range of time."""
    return (Variant.MAIN, LONG if span.high - span.low > LONG_US else "", "", span.low, span.high)


def decimal_of(value: object) -> Decimal | None:
    """Read a JSON number; None for what is none, or none of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and isfinite(_float(number)) else None


def _float(number: Decimal) -> float:
    """Round to 64 bits; too much is infinite."""
    try:
        return float(number)
    except OverflowError:
        return inf


def date_emitter(type_name: str, zone: tzinfo) -> Emit | None:
    """Choose for a date."""
    match type_name:
        case "date" | "dateTime" | "instant":
            return lambda value: _dated(span_of(value, zone) if isinstance(value, str) else None)
        case "Period":
            return lambda value: _dated(span_of_period(value, zone))
        case "Timing":
            return lambda value: _dated(span_of_timing(value, zone))
        case _:
            return None


def _dated(span: Span | None) -> Cells:
    """A range of time, if there is one."""
    return () if span is None else (date_cell(span),)


def _number(value: object) -> Cells:
    """A number, as the point that it says."""
    number = decimal_of(value)
    return () if number is None else (_point(number, "", ""),)


def _point(number: Decimal | Fraction, key: str, detail: str, *, canonical: bool = False) -> Cell:
    """Make the cell of a number."""
    near, rest = split(number)
    if rest == 0:
        return (Variant.CANONICAL if canonical else Variant.MAIN, key, detail, near, near)
    return (Variant.LONG_CANONICAL if canonical else Variant.LONG, key, detail, near, rest)


def _number_range(value: object) -> Cells:
    """A Range of numbers."""
    low, high = _bound(value, "low"), _bound(value, "high")
    if low is None and high is None:
        return ()
    return ((Variant.MAIN, "", "", -inf if low is None else float(low), inf if high is None else float(high)),)


def _bound(value: object, name: str) -> Decimal | None:
    """Read one end of a Range."""
    end = value.get(name) if isinstance(value, dict) else None
    return decimal_of(end.get("value")) if isinstance(end, dict) else None


def _quantity(value: object) -> Cells:
    """A quantity; with a comparator it is a range without an end on one side.

    What is less than 5 is not 5: such a range ends with the next double, or who asks for 5 and more is given it.
    """
    if not isinstance(value, dict):
        return ()
    number = decimal_of(value.get("value"))
    if number is None:
        return ()
    comparator = string_of(value.get("comparator"))
    low = None if comparator in ("<", "<=") else number
    high = None if comparator in (">", ">=") else number
    return _quantity_cells(value, low, high, without_end=comparator in ("<", ">"))


def _quantity_cells(
    unit: dict[str, object], low: Decimal | None, high: Decimal | None, *, without_end: bool = False
) -> list[Cell]:
    """Make the cells of a range of quantities: by code, by the unit's own word, and in base units."""
    code, system, word = string_of(unit.get("code")), string_of(unit.get("system")), string_of(unit.get("unit"))
    named = [(code or word, system if code else "")]
    if code and word and word != code:
        named.append((word, ""))
    known = units.canonical(code) if system == units.SYSTEM else None
    found: list[Cell]
    if low is not None and low == high:
        found = [_point(low, key, detail) for key, detail in named]
        if known is not None:
            found.append(_point(known.exact(low), known.unit, "", canonical=True))
    else:
        first, last = -inf if low is None else float(low), inf if high is None else float(high)
        found = [(Variant.MAIN, key, detail, *_ends(first, last, without=without_end)) for key, detail in named]
        if known is not None:
            least = -inf if low is None else split(known.exact(low)).near
            most = inf if high is None else split(known.exact(high)).near
            found.append((Variant.CANONICAL, known.unit, "", *_ends(least, most, without=without_end)))
    return found


def _ends(first: float, last: float, *, without: bool) -> tuple[float, float]:
    """Move the ends of a range inwards by a double where they are no part of it; what is infinite is no end."""
    if without:
        first = first if first == -inf else nextafter(first, inf)
        last = last if last == inf else nextafter(last, -inf)
    return first, last


def _money(value: object) -> Cells:
    """An amount of money."""
    number = decimal_of(value.get("value")) if isinstance(value, dict) else None
    if number is None or not isinstance(value, dict):
        return ()
    currency = string_of(value.get("currency"))
    return _quantity_cells({"code": currency, "system": CURRENCIES if currency else ""}, number, number)


def _quantity_range(value: object) -> Cells:
    """A Range of quantities, in the unit of the end that is there."""
    low, high = _bound(value, "low"), _bound(value, "high")
    if not isinstance(value, dict) or (low is None and high is None):
        return ()
    unit = value.get("low") if low is not None else value.get("high")
    return _quantity_cells(unit, low, high) if isinstance(unit, dict) else ()


def _sampled(value: object) -> Cells:
    """Sampled data: what its limits say, otherwise its origin."""
    origin = value.get("origin") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(origin, dict):
        return ()
    middle = decimal_of(origin.get("value"))
    low, high = decimal_of(value.get("lowerLimit")), decimal_of(value.get("upperLimit"))
    low, high = middle if low is None else low, middle if high is None else high
    return () if low is None or high is None else _quantity_cells(origin, low, high)


QUANTITIES: Final[dict[str, Emit]] = {
    "Quantity": _quantity,
    "Age": _quantity,
    "Count": _quantity,
    "Distance": _quantity,
    "Duration": _quantity,
    "Money": _money,
    "Range": _quantity_range,
    "SampledData": _sampled,
}
"""What makes the cells of a quantity, by the type of the element."""


def position(value: object) -> Cells:
    """A place on earth: latitude as low, longitude as high (Location, ``near``)."""
    if not isinstance(value, dict):
        return ()
    latitude, longitude = decimal_of(value.get("latitude")), decimal_of(value.get("longitude"))
    if latitude is None or longitude is None:
        return ()
    return ((Variant.MAIN, "", "", float(latitude), float(longitude)),)


NUMBERS: Final[dict[str, Emit]] = {
    "decimal": _number,
    "integer": _number,
    "positiveInt": _number,
    "unsignedInt": _number,
    "Range": _number_range,
}
"""What makes the cells of a number, by the type of the element."""
