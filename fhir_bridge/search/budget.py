"""What one search may come to: how long it may be before it is read, and counted while it is, before it is planned.

Keeps true: no text of a search is decoded or split before its length is known, wherever it comes from; a search within
the budget is within the limits of the database's own language (500 selects of one union, expressions 1,000 deep,
250,000 values), so that none fails there, and its plan costs tenths of a second at most. Counts no less than `plan`
makes. Pure. Trusts nothing.
Source: sqlite.org/limits.html; `docs/spec/rest.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, assert_never
from urllib.parse import unquote_plus

from fhir_bridge.search.terms import (
    CompositeTerm,
    DateTerm,
    Modifier,
    NearTerm,
    NumberTerm,
    OfTypeTerm,
    Prefix,
    QuantityTerm,
    ReferenceTerm,
    SetTerm,
    StringTerm,
    Term,
    TokenTerm,
    UriTerm,
    related,
)
from medchain.errors import InputError

MAX_CHARS: Final = 1 << 18
"""Most characters of one search or condition, as it is sent: decoded, each may take some eighty bytes for a moment."""

MAX_PARTS: Final = 10_000
"""Most parts of one search: one for each value, `CONDITION` and `ALTERNATIVE` for what costs more."""

CONDITION: Final = 5
"""Parts of a condition, for each type of each link of a chain."""

ALTERNATIVE: Final = 20
"""Parts of what is looked for apart from the others of its condition: a range, a beginning, another system."""

ANYWHERE: Final = 290
"""Parts of a text that may stand anywhere in another: no order of rows helps, so each row is looked into for each."""

_LONG_CHARS: Final = 1_024
"""So many characters of a URI count as one more of what lies above it: each of these is written out."""

_NAME: Final = re.compile(r"[A-Za-z0-9_\-]{1,64}")
# So many characters have a name of 64 and its equals sign, percent-encoded.
_NAME_CHARS: Final = 3 * 65
# Of a number: ranges, and what no double says (`plan._Ends`).
_NUMBERS: Final = {Prefix.EQ: 4, Prefix.AP: 4, Prefix.NE: 6}
_OTHER_NUMBERS: Final = 3


class Budget:
    """Counts what one search comes to: a chain without types branches into all types at each link.

    Attributes:
        anywhere: how many texts of it may stand anywhere in others.
    """

    __slots__ = ("_left", "anywhere")

    def __init__(self) -> None:
        """Begin with none."""
        self._left = MAX_PARTS
        self.anywhere = 0

    def take(self, name: str, parts: int) -> None:
        """Count some more of a parameter; raises `InputError` ``search.too_many``."""
        self._left -= parts
        if self._left < 0:
            raise InputError("search.too_many", parameter=safe_name(name), limit=MAX_PARTS)

    def take_anywhere(self, name: str, texts: int) -> None:
        """Count texts that may stand anywhere in others; errors as of `take`."""
        self.take(name, ANYWHERE * texts)
        self.anywhere += texts

    def take_terms(self, name: str, terms: Iterable[Term], modifier: Modifier, types: int) -> tuple[Term, ...]:
        """Count the values of a parameter of so many types beside one for each: all but the first alternative.

        Returns:
            Each value once. Each is counted as soon as it is read, before the next: it may be all that lies below a
            code.
        """
        apart, keyed = 0, set()
        different = dict[Term, None]()
        for term in terms:
            group, alternatives, values = _weight(term, modifier)
            is_again = term in different
            # A value set under another version: few may be named, and its codes are looked for once.
            if not (is_again and modifier in (Modifier.IN, Modifier.NOT_IN)):
                self.take(name, values)
            if is_again:
                continue
            different[term] = None
            if group is None:
                # What belongs together is planned for each type, all else for all at once.
                apart += alternatives * types if isinstance(term, CompositeTerm) else alternatives
            else:
                keyed.add(group)
        self.take(name, max(0, apart + len(keyed) - 1) * ALTERNATIVE)
        return tuple(different)


def check_length(query: str) -> None:
    """See that a search is not too long to be read.

    Args:
        query: percent-encoded parameters.

    Raises:
        InputError: ``search.too_long`` with the parameter that goes beyond `MAX_CHARS`.
    """
    if len(query) > MAX_CHARS:
        begin = query.rfind("&", 0, MAX_CHARS) + 1
        name = query[begin : begin + _NAME_CHARS].partition("=")[0]
        raise InputError("search.too_long", parameter=safe_name(unquote_plus(name)), limit=MAX_CHARS)


def check_lengths(pairs: Iterable[tuple[str, str]]) -> None:
    """See the same of parameters that came decoded; errors as in `check_length`."""
    left = MAX_CHARS
    for name, value in pairs:
        left -= len(name) + len(value)
        if left < 0:
            raise InputError("search.too_long", parameter=safe_name(name), limit=MAX_CHARS)


def safe_name(name: str) -> str:
    """Keep a name only if it is no more than that."""
    return name if _NAME.fullmatch(name) else ""


def _weight(  # noqa: C901, PLR0911  # one for each kind of term
    term: Term, modifier: Modifier
) -> tuple[object, int, int]:
    """Weigh a term.

    Returns:
        What it shares with those that are one alternative with it, None for nothing; how many it is by itself; how many
        values it has beyond one.
    """
    match term:
        case TokenTerm():
            return _token(term, modifier)
        case OfTypeTerm(system, code):
            return (system, code), 0, 0
        case SetTerm(codes):
            return None, len(codes), sum(len(listed) for _, listed in codes)
        case StringTerm():
            # What a text begins with may also be meant without its blanks.
            return ((), 0, 0) if modifier is Modifier.EXACT else (None, 2 if modifier is Modifier.NONE else 1, 0)
        case UriTerm():
            return _uri(term, modifier)
        case ReferenceTerm(keys, version):
            return (version,), 0, max(0, len(keys) - 1)
        case DateTerm(prefix):
            # Short ranges and long ones are apart.
            return None, 4 if prefix is Prefix.NE else 2, 0
        case NumberTerm(prefix):
            return None, _NUMBERS.get(prefix, _OTHER_NUMBERS), 0
        case QuantityTerm(number):
            return None, _NUMBERS.get(number.prefix, _OTHER_NUMBERS), 0
        case NearTerm():
            return None, 1, 0
        case CompositeTerm(parts):
            weights = [_weight(part, Modifier.NONE) for part in parts]
            return None, sum(max(1, each[1]) for each in weights), sum(each[2] for each in weights)
    assert_never(term)


def _token(term: TokenTerm, modifier: Modifier) -> tuple[object, int, int]:
    """Weigh a code, or one with all above or below it."""
    if term.code is None:
        return None, 1, 0
    if modifier in (Modifier.ABOVE, Modifier.BELOW):
        return None, 1, len(related(term.system or "", term.code, modifier) or ())
    return (term.system,), 0, 0


def _uri(term: UriTerm, modifier: Modifier) -> tuple[object, int, int]:
    """Weigh a URI."""
    match modifier:
        case Modifier.BELOW:
            return None, 1, 0
        case Modifier.ABOVE:
            return (), 0, 2 * term.url.count("/") * (1 + len(term.url) // _LONG_CHARS)
        case _:
            return (term.version,), 0, 0
