"""Numbers in two doubles. What is expected is what Python's own fractions say."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import inf, isfinite

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir_bridge.search.exact import Split, bound, bounds, split, within
from medchain.store.finding import Bound

OPERATORS = {">": Fraction.__gt__, ">=": Fraction.__ge__, "<": Fraction.__lt__, "<=": Fraction.__le__}
ROUNDED = {">": float.__gt__, ">=": float.__ge__, "<": float.__lt__, "<=": float.__le__}

# Numbers of up to 30 digits, many of them beside each other.
DIGITS = st.builds(
    lambda head, tail, length, exponent: Decimal(head * 10**length + tail % 10**length).scaleb(exponent),
    st.sampled_from([0, 1, -1, 54, 123456789012345, 999999999999999, -4503599627370497]),
    st.sampled_from([0, 1, 2, 5, 49999999999999, 50000000000000, 99999999999999]),
    st.sampled_from([0, 1, 14]),
    st.integers(-30, 10),
)


def fulfils(row: Split, limits: tuple[Bound, ...]) -> bool:
    ends = {"low": row.near, "high": row.rest}
    return all(ROUNDED[one.operator](ends[one.column], one.value) for one in limits)


@given(DIGITS, DIGITS)
@example(Decimal("0.1"), Decimal("0.1000000000000000000001"))
@example(Decimal(9007199254740993), Decimal(9007199254740992))
def test_numbers_are_compared_to_their_last_digit(one, other):
    row, limit = split(one), split(other)
    for operator, holds in OPERATORS.items():
        expected = holds(Fraction(one), Fraction(other))
        assert any(fulfils(row, each) for each in bounds(operator, limit)) == expected
        if row.rest == 0:
            as_range = Split(row.near, row.near)
            assert all(fulfils(as_range, (bound(end, operator, limit),)) == expected for end in ("low", "high"))


@given(DIGITS, DIGITS, DIGITS)
def test_a_number_lies_between_two_as_they_say(one, other, number):
    least, most = sorted((one, other))
    row = split(number)
    for operator in ("<", "<="):
        expected = least <= number and OPERATORS[operator](Fraction(number), Fraction(most))
        assert any(fulfils(row, each) for each in within(split(least), operator, split(most))) == expected


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-10_000_000_000, max_value=10_000_000_000)
)
def test_a_number_of_fifteen_digits_needs_one_double(number):
    assert split(number) == (float(number), 0.0)


@pytest.mark.parametrize(("text", "near"), [("1e400", inf), ("-1e400", -inf), ("1e-400", 0.0)])
def test_a_number_beyond_doubles_is_beyond_all_of_them(text, near):
    found = split(Fraction(text))
    assert found.near == near
    assert isfinite(found.rest)
