"""Numbers of any length in columns of 64 bits: the nearest double, and what is left.

Keeps true: of two numbers the greater one has the greater double, or of equal doubles the greater rest; equal pairs
are equal numbers as far as 30 digits go. A number whose double says it as it is written (any of up to 15 digits) has no
rest, and needs none. Pure.
Source: FHIR R4 §2.24.0.1 (`decimal`: precision is kept), §3.1.1.4.6; IEEE 754.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import inf
from typing import Final, NamedTuple

from medchain.store.finding import Bound, Column, Comparison


class Split(NamedTuple):
    """A number.

    Attributes:
        near: nearest double; infinite beyond all of them.
        rest: what is missing to the number, where the double is read by its shortest decimal; mostly 0.
    """

    near: float
    rest: float


def split(number: Decimal | Fraction) -> Split:
    """Split a number.

    Args:
        number: finite.
    """
    top, bottom = number.as_integer_ratio()
    try:
        near = top / bottom
    except OverflowError:
        return Split(inf if top > 0 else -inf, 0.0)
    shown_top, shown_bottom = Decimal(repr(near)).as_integer_ratio()
    if shown_top * bottom == top * shown_bottom:
        return Split(near, 0.0)
    return Split(near, float(Fraction(top, bottom) - Fraction(shown_top, shown_bottom)))


def bound(column: Column, operator: Comparison, limit: Split) -> Bound:
    """Compare what has no rest with a number.

    Args:
        column: where the double of the row stands.
        operator: how the row is to it.
        limit: the number.
    """
    # What is equal as a double is beyond the limit if the rest points the other way.
    is_beyond = limit.rest < 0 if operator in (">", ">=") else limit.rest > 0
    is_equal = limit.rest == 0 and operator in (">=", "<=")
    return Bound(column, _WITH[operator] if is_beyond or is_equal else _WITHOUT[operator], limit.near)


def bounds(operator: Comparison, limit: Split) -> list[tuple[Bound, ...]]:
    """Compare a row that is a number, double as low and rest as high, with another; each list of bounds an alternative.

    Args:
        operator: how the row is to it.
        limit: the number.
    """
    same = (Bound("low", ">=", limit.near), Bound("low", "<=", limit.near), Bound("high", operator, limit.rest))
    return [(Bound("low", _WITHOUT[operator], limit.near),), same]


def within(least: Split, operator: Comparison, most: Split) -> list[tuple[Bound, ...]]:
    """As `bounds`, for a number that is at least one and less than another.

    Args:
        least: the lower limit, included.
        operator: how it is to the upper one, ``<`` or ``<=``.
        most: the upper limit.
    """
    (over, at_least), (under, at_most) = bounds(">=", least), bounds(operator, most)
    if least.near == most.near:
        return [(*at_least, *at_most)]
    return [(*over, *under), at_least, at_most]


_WITH: Final[dict[Comparison, Comparison]] = {">": ">=", ">=": ">=", "<": "<=", "<=": "<="}
_WITHOUT: Final[dict[Comparison, Comparison]] = {">": ">", ">=": ">", "<": "<", "<=": "<"}
