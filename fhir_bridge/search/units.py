"""Units of measure: a UCUM code as a factor and a product of base units, so that quantities can be compared.

Factors are exact: 5.4 mg/dL and 0.054 g/L become the same number. Keeps true: units get the same canonical unit only if
UCUM's definitions make them the same kind of thing; an arbitrary unit (``[IU]``), a logarithmic one (``[pH]``) and the
mole are kinds of their own. Trusts `ucum.json`.
Source: UCUM 2.2 §§6–45 (grammar and definitions); `docs/adr/0016-units-and-pinyin.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import orjson

SYSTEM: Final = "http://unitsofmeasure.org"
"""The system of UCUM codes in FHIR."""

MAX_CHARS: Final = 64
"""Longest code that is understood."""

_MAX_EXPONENT: Final = 32
_MAX_NESTING: Final = 8
_TOKEN: Final = re.compile(
    r"(?P<note>\{[!-z|~]*\})|(?P<open>\()|(?P<close>\))|(?P<sign>[./])"
    r"|(?P<unit>10[*^]|(?:[^\x00-\x20./(){}\[\]0-9+\-*^\x7f-\U0010ffff]|\[[^\[\]\s]*\])+)(?P<power>[+-]?[0-9]{1,2})?"
    r"|(?P<factor>[0-9]{1,9})"
)
# Units whose zero is elsewhere: value × factor + offset, in kelvin.
_SHIFTED: Final = {
    "Cel": (Fraction(1), Fraction("273.15")),
    "[degF]": (Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
}
# In UCUM a mole is a number. Kept apart here, or a search for cells would find molecules.
_OWN_KIND: Final = frozenset({"mol"})

Powers: TypeAlias = tuple[tuple[str, int], ...]


class Canonical(NamedTuple):
    """A unit in base units.

    Attributes:
        unit: product of base units, such as ``g.m-3``; ``1`` for a pure number.
        factor: what a value is multiplied with.
        offset: what is added then, zero but for temperatures.
    """

    unit: str
    factor: Fraction
    offset: Fraction

    def exact(self, number: Decimal) -> Fraction:
        """Convert a value."""
        return Fraction(number) * self.factor + self.offset


class _Product(NamedTuple):
    """A factor and powers of base units."""

    factor: Fraction
    powers: Powers


class _Atom(NamedTuple):
    """A unit as UCUM defines it: a value in other units; without one it is a base or a kind of its own."""

    metric: bool
    value: str
    unit: str


class _UnitError(ValueError):
    """The code is none of UCUM's."""


def canonical(code: str) -> Canonical | None:
    """Understand a unit.

    Args:
        code: UCUM code, case-sensitive, such as ``mm[Hg]`` or ``10*3/uL``.

    Returns:
        The unit in base units; None for what is no UCUM code.
    """
    return _canonical(code) if 0 < len(code) <= MAX_CHARS else None


@lru_cache(maxsize=4096)
def _canonical(code: str) -> Canonical | None:
    """Understand a unit of no more than the longest code."""
    if code in _SHIFTED:
        return Canonical("K", *_SHIFTED[code])
    try:
        found = _Parser(code).whole()
    except _UnitError:
        return None
    text = ".".join(name if power == 1 else f"{name}{power}" for name, power in found.powers)
    return Canonical(text or "1", found.factor, Fraction(0))


class _Parser:
    """UCUM's grammar, evaluated while it is read."""

    def __init__(self, code: str) -> None:
        """Split a code into tokens."""
        self._tokens = [*_tokens(code), ("end", "", "")]
        self._next = 0
        self._depth = 0

    def whole(self) -> _Product:
        """Read everything."""
        found = self._term()
        if self._tokens[self._next][0] != "end":
            raise _UnitError
        return found

    def _term(self) -> _Product:
        """Read components joined by ``.`` and ``/``, from left to right (UCUM §7)."""
        self._depth += 1
        if self._depth > _MAX_NESTING:
            raise _UnitError
        found = _Product(Fraction(1), ()) if self._tokens[self._next][1] == "/" else self._component()
        while self._tokens[self._next][0] == "sign":
            power = -1 if self._tokens[self._next][1] == "/" else 1
            self._next += 1
            found = _times(found, _raised(self._component(), power))
        self._depth -= 1
        return found

    def _component(self) -> _Product:
        """Read a unit, a number or a term in brackets, and the note behind it."""
        kind, text, power = self._tokens[self._next]
        self._next += 1
        if kind == "note":
            return _Product(Fraction(1), ())
        if kind == "open":
            found = self._term()
            if self._tokens[self._next][0] != "close":
                raise _UnitError
            self._next += 1
        elif kind == "factor":
            if int(text) == 0:
                raise _UnitError
            found = _Product(Fraction(int(text)), ())
        elif kind == "unit":
            found = _raised(_simple(text), int(power or 1))
        else:
            raise _UnitError
        if self._tokens[self._next][0] == "note":
            self._next += 1
        return found


def _tokens(code: str) -> Iterator[tuple[str, str, str]]:
    """Split a code into kind, text and exponent."""
    place = 0
    while place < len(code):
        match = _TOKEN.match(code, place)
        if match is None:
            raise _UnitError
        kind = "unit" if match["unit"] else match.lastgroup or ""
        yield kind, match[kind], match["power"] or ""
        place = match.end()


def _times(left: _Product, right: _Product) -> _Product:
    """Multiply."""
    powers = dict(left.powers)
    for name, power in right.powers:
        powers[name] = powers.get(name, 0) + power
    return _Product(left.factor * right.factor, tuple(sorted((name, power) for name, power in powers.items() if power)))


def _raised(product: _Product, power: int) -> _Product:
    """Raise to a power."""
    if not 0 < abs(power) <= _MAX_EXPONENT:
        raise _UnitError
    return _Product(product.factor**power, tuple((name, one * power) for name, one in product.powers))


@cache
def _definitions() -> tuple[dict[str, Fraction], dict[str, _Atom]]:
    """Read UCUM's prefixes and units."""
    read = orjson.loads(Path(__file__).with_name("ucum.json").read_bytes())
    prefixes = {code: Fraction(value) for code, value in read["prefixes"].items()}
    return prefixes, {code: _Atom(bool(row[0]), row[1], row[2]) for code, row in read["units"].items()}


@lru_cache(maxsize=1024)
def _simple(text: str) -> _Product:
    """Understand a unit, or a metric one after a prefix."""
    prefixes, atoms = _definitions()
    if text in atoms:
        return _atom(text)
    for size in (1, 2):
        prefix, rest = text[:size], text[size:]
        if prefix in prefixes and rest in atoms and atoms[rest].metric and rest not in _SHIFTED:
            unit = _atom(rest)
            return _Product(prefixes[prefix] * unit.factor, unit.powers)
    raise _UnitError


@cache
def _atom(code: str) -> _Product:
    """Resolve UCUM's definition of a unit down to base units."""
    if code in _SHIFTED:
        # Inside a product only differences of temperature make sense, which UCUM does not define.
        raise _UnitError
    atom = _definitions()[1][code]
    if not atom.unit or code in _OWN_KIND:
        return _Product(Fraction(1), ((code, 1),))
    unit = _Parser(atom.unit).whole()
    return _Product(Fraction(atom.value) * unit.factor, unit.powers)
