"""How FHIRPath compares values: numbers, texts, dates of every precision, quantities, objects.

Keeps true: what cannot be decided (two dates of different precision, two units) has no answer, which is not false; what
`Values` holds is what `equal` says of each with each, in time that grows with their number only.
Source: FHIRPath 2.0.0 §6.1 (equality), §6.2 (comparison), §6.1.2 (equivalence); FHIR R4 §2.9.8.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

from fhir_bridge.document import Element
from fhir_bridge.fhirpath.node import SYSTEM, Node

_DATE_TYPES: Final = frozenset({"date", "dateTime", "instant", "System.Date", "System.DateTime"})
_TIME_TYPES: Final = frozenset({"time", "System.Time"})
_QUANTITY_TYPES: Final = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "Money"})
_MOMENT: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(\.\d+)?)?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
_CLOCK: Final = re.compile(r"(\d\d)(?::(\d\d)(?::(\d\d)(\.\d+)?)?)?")
_BLANKS: Final = re.compile(r"\s+")
_SIXTY: Final = 60
_EXACT: Final = Context(prec=2_048, rounding=ROUND_HALF_EVEN)
"""Holds every digit of numbers with three digits of exponent."""

_FAR: Final = Decimal((1 << 63) - 1)
_UCUM: Final = "http://unitsofmeasure.org"


def number(node: Node) -> Decimal | None:
    """Return a node's number, None for what is none."""
    return node.value if isinstance(node.value, Decimal) else None


def whole(value: Decimal) -> int:
    """Cut a number to a whole one of 64 bits; to write one with its exponent's digits could take for ever."""
    return int(max(-_FAR, min(_FAR, value)))


def text(node: Node) -> str | None:
    """Return a node's text, None for what is none."""
    return node.value if isinstance(node.value, str) else None


def equal(left: Node, right: Node) -> bool | None:
    """Compare two values by ``=``; None where it cannot be said."""
    if _is_moment(left) and _is_moment(right):
        order = _order_of_moments(left, right)
        return None if order is None else order == 0
    first, second = _quantity(left), _quantity(right)
    if first is not None and second is not None:
        return first[0] == second[0] if first[1:] == second[1:] else None
    if isinstance(left.value, bool) or isinstance(right.value, bool):
        return left.value is right.value
    return left.value == right.value


class Values:
    """The values of a collection by hash, so that many are not compared with many.

    A date or a quantity is alike to others of its kind by what it means, to anything else by how it is written.
    """

    __slots__ = ("_meant", "_written")

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        """List the values of nodes."""
        self._meant: set[tuple[str, Hashable]] = set()
        self._written: dict[Hashable, set[str]] = {}
        for node in nodes:
            self.add(node)

    def __contains__(self, node: Node) -> bool:
        """Tell whether one of them is for certain equal to a node."""
        return self._has(_meaning(node), _frozen(node.value))

    def add(self, node: Node) -> bool:
        """List one more; tells whether none was equal to it."""
        meaning, written = _meaning(node), _frozen(node.value)
        is_new = not self._has(meaning, written)
        if meaning is not None:
            self._meant.add(meaning)
        self._written.setdefault(written, set()).add("" if meaning is None else meaning[0])
        return is_new

    def _has(self, meaning: tuple[str, Hashable] | None, written: Hashable) -> bool:
        """Look for what is alike."""
        if meaning is None:
            return written in self._written
        return meaning in self._meant or bool(self._written.get(written, set()) - {meaning[0]})


def _meaning(node: Node) -> tuple[str, Hashable] | None:
    """Return the kind of a date, time or quantity, and what it means; None for all else."""
    if _is_moment(node):
        parts = _parts(node)
        # One that is none is equal to no other, not even to itself.
        return "moment", object() if parts is None else (node.type in _TIME_TYPES, *map(_frozen, parts))
    quantity = _quantity(node)
    return None if quantity is None else ("quantity", tuple(map(_frozen, quantity)))


def _frozen(value: Element | Decimal) -> Hashable:
    """Turn a value into one with a hash, such that equal ones stay equal."""
    if isinstance(value, dict):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, Decimal):
        # As text, whose hash nobody can foresee: one could write many numbers of one hash.
        sign, digits, exponent = value.as_tuple()
        spelled = "".join(map(str, digits))
        shown = spelled.rstrip("0")
        return (sign, shown, int(exponent) + len(spelled) - len(shown)) if shown else 0
    return (value,) if isinstance(value, bool) else value


def equivalent(left: Node, right: Node) -> bool:
    """Compare two values by ``~``: texts without case and blanks, numbers to the lesser precision."""
    first, second = number(left), number(right)
    if first is not None and second is not None:
        places = Decimal((0, (1,), max(int(first.as_tuple().exponent), int(second.as_tuple().exponent))))
        try:
            return first.quantize(places, context=_EXACT) == second.quantize(places, context=_EXACT)
        except InvalidOperation:
            # One has more digits than any that the other could be rounded to.
            return False
    one, other = text(left), text(right)
    if one is not None and other is not None and not _is_moment(left):
        return _BLANKS.sub(" ", one.casefold()) == _BLANKS.sub(" ", other.casefold())
    return bool(equal(left, right))


def order(left: Node, right: Node) -> int | None:
    """Compare two values by ``<`` and its like.

    Returns:
        -1, 0 or 1; None where it cannot be said, or the two cannot be compared.
    """
    if _is_moment(left) and _is_moment(right):
        return _order_of_moments(left, right)
    first, second = _quantity(left), _quantity(right)
    if first is not None and second is not None:
        return _sign(first[0], second[0]) if first[1:] == second[1:] else None
    one, other = number(left), number(right)
    if one is not None and other is not None:
        return _sign(one, other)
    words = text(left), text(right)
    if words[0] is None or words[1] is None:
        return None
    return (words[0] > words[1]) - (words[0] < words[1])


def _sign(left: Decimal, right: Decimal) -> int:
    """Compare two numbers."""
    return (left > right) - (left < right)


def _is_moment(node: Node) -> bool:
    """Tell whether a node is a date or a time, or a text that is compared with one."""
    return isinstance(node.value, str) and (node.type in _DATE_TYPES or node.type in _TIME_TYPES)


def _order_of_moments(left: Node, right: Node) -> int | None:
    """Compare two dates or times part by part, as far as both go (§6.2)."""
    first, second = _parts(left), _parts(right)
    if first is None or second is None or (left.type in _TIME_TYPES) != (right.type in _TIME_TYPES):
        return None
    for one, other in zip(first, second, strict=False):
        if one != other:
            return (one > other) - (one < other)
    return 0 if len(first) == len(second) else None


def _parts(node: Node) -> list[Decimal] | None:
    """Return the parts of a date or time that are there; with a time zone, in UTC."""
    value = text(node) or ""
    if node.type in _TIME_TYPES:
        clock = _CLOCK.fullmatch(value)
        return None if clock is None else _with_seconds(clock.groups()[:2], clock[3], clock[4])
    match = _MOMENT.fullmatch(value)
    if match is None:
        return None
    groups = match.groups()
    if groups[7] is not None and groups[4] is not None:
        return _in_utc(value, groups)
    return _with_seconds(groups[:5], groups[5], groups[6])


def _with_seconds(whole: tuple[str | None, ...], seconds: str | None, fraction: str | None) -> list[Decimal]:
    """Turn parts into numbers; seconds and their fraction are one."""
    parts = [Decimal(part) for part in whole if part is not None]
    return parts if seconds is None else [*parts, Decimal(seconds + (fraction or ""))]


def _in_utc(value: str, groups: tuple[str | None, ...]) -> list[Decimal] | None:
    """Turn a moment with a zone into the parts of UTC; a leap second counts as the one before."""
    zone = value[-6:] if value[-1] != "Z" else "+00:00"
    try:
        local = datetime(  # noqa: DTZ001  # the zone is taken off below
            int(groups[0] or 0), int(groups[1] or 0), int(groups[2] or 0), int(groups[3] or 0), int(groups[4] or 0)
        )
        moment = local - (1 if zone[0] == "+" else -1) * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    except (ValueError, OverflowError):
        return None
    moment = moment.replace(tzinfo=UTC)
    whole = tuple(str(part) for part in (moment.year, moment.month, moment.day, moment.hour, moment.minute))
    seconds = groups[5] if groups[5] is None or int(groups[5]) < _SIXTY else str(_SIXTY - 1)
    return _with_seconds(whole, seconds, groups[6])


def _quantity(node: Node) -> tuple[Decimal, Element, Element] | None:
    """Return a quantity's number, system and code (or unit); None for what is none."""
    if node.type == f"{SYSTEM}Quantity" and isinstance(node.value, str):
        value, _, unit = node.value.partition(" ")
        return Decimal(value), _UCUM, unit
    if node.type not in _QUANTITY_TYPES or not isinstance(node.value, dict):
        return None
    amount = node.value.get("value")
    if not isinstance(amount, Decimal):
        return None
    code = node.value.get("code") or node.value.get("currency")
    return amount, node.value.get("system") if code else "", code or node.value.get("unit")
