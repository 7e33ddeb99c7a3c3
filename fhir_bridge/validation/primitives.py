"""Values of FHIR's primitive types, as they stand in JSON.

Keeps true: a value is of its type only if HL7's pattern for it matches whole and what a pattern cannot say holds as
well: days that exist, numbers of 32 bits, base64 that decodes. Trusts `fhir_bridge.document` for the spelling of
numbers.
Source: FHIR R4 §2.24.0.1 (primitive types), §2.6.2 (JSON).
"""

from __future__ import annotations

import binascii
import calendar
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from fhir_bridge.definitions.elements import primitive_pattern, type_names
from fhir_bridge.document import Element, Number

Judge = Callable[[Element], bool]
"""Tells whether a JSON value is one of a primitive type."""

MAX_TEXT_CHARS: Final = 1 << 20
"""Longest string, markdown and the like (FHIR R4 §2.24.0.1, `string`: 1 MB)."""

_MAX_INTEGER: Final = (1 << 31) - 1
_MONTH_CHARS: Final = len("2026-11")
_DAY_CHARS: Final = len("2026-11-25")
_EVERY_MONTH: Final = "28"
_INTEGERS: Final = ("integer", "unsignedInt", "positiveInt")
_LONG_TEXTS: Final = ("string", "markdown")
_DATES: Final = ("date", "dateTime", "instant")
_SPACES: Final = b" \t\r\n"


@cache
def judges() -> Mapping[str, Judge]:
    """Make the judges of all primitive types.

    Returns:
        Type → judge.
    """
    return MappingProxyType({name: _judge(name) for name in sorted(type_names("primitive-type"))})


def _judge(name: str) -> Judge:
    """Make the judge of one type."""
    if name in _OWN:
        return _OWN[name]
    # HL7's patterns mean the blanks of ASCII by \s: an ideographic space is text like any other.
    matches = re.compile(primitive_pattern(name) or r"[\s\S]+", re.ASCII).fullmatch
    if name in _INTEGERS:
        return lambda value: isinstance(value, Number) and matches(value.text) is not None and _is_small(value.text)
    if name == "decimal":
        return lambda value: isinstance(value, Number) and matches(value.text) is not None
    if name in _DATES:
        return lambda value: isinstance(value, str) and matches(value) is not None and _is_day(value)
    if name in _LONG_TEXTS:
        return lambda value: isinstance(value, str) and _is_text(value) and matches(value) is not None
    # The patterns of uri, url and canonical match nothing at all; an empty value is none (§2.6.2.2).
    return lambda value: isinstance(value, str) and bool(value) and matches(value) is not None


def _is_small(text: str) -> bool:
    """Tell whether an integer has at most 32 bits."""
    return -_MAX_INTEGER - 1 <= int(text) <= _MAX_INTEGER


def _is_text(value: str) -> bool:
    """Tell whether a text says something, and not too much."""
    return len(value) <= MAX_TEXT_CHARS and not value.isspace()


def _is_boolean(value: Element) -> bool:
    """Judge a boolean."""
    return isinstance(value, bool)


def _is_base64(value: Element) -> bool:
    """Judge base64: the alphabet of RFC 4648 §4, padded; blanks may stand anywhere."""
    if not isinstance(value, str) or not value.isascii():
        return False
    try:
        # Not empty: an element without a value is left out.
        return bool(binascii.a2b_base64(value.encode("ascii").translate(None, _SPACES), strict_mode=True))
    except binascii.Error:
        return False


def _is_day(value: str) -> bool:
    """Tell whether the day of a date that matched its pattern exists; a month or year alone always does."""
    day = value[8:_DAY_CHARS]
    # Most days are in every month, and a date without one sorts before them.
    return day <= _EVERY_MONTH or int(day) <= calendar.monthrange(int(value[:4]), int(value[5:_MONTH_CHARS]))[1]


_OWN: Final[Mapping[str, Judge]] = {"boolean": _is_boolean, "base64Binary": _is_base64}
"""Types whose values HL7's patterns do not decide."""
