"""Single values of a search, read by the type of their parameter.

Keeps true: a term is complete: a number brings its implied range, a date its span, a reference the types that it may
mean. Trusts nothing.
Source: FHIR R4 §3.1.1.4.5 to §3.1.1.4.13, §3.1.1.4.17, §3.1.1.4.19; Location, ``near``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from fhir_bridge.definitions.codes import CodeSet, listed_set
from fhir_bridge.definitions.elements import is_resource_type
from fhir_bridge.definitions.parameters import ParameterType, SearchParameter, parameter
from fhir_bridge.definitions.subsumption import codes_above, codes_below, stem_below
from fhir_bridge.search.hierarchy import Hierarchy
from fhir_bridge.search.paths import Targets, targets_of
from fhir_bridge.search.text import searched
from fhir_bridge.search.values import canonical_key, reference_key
from medchain.dates import Span, span_of
from medchain.errors import InputError

_PREFIXED: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,64}(\.[0-9]{1,64})?([eE][+-]?[0-9]{1,3})?")
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPABLE: Final = frozenset(",|$\\")
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TYPED: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})")
_MAX_LATITUDE: Final = 90
_MAX_LONGITUDE: Final = 180
_NEAR_UNITS: Final = frozenset({"km", "m", "[mi_i]", "mi"})


class Modifier(StrEnum):
    """What changes the meaning of a parameter (§3.1.1.4.4)."""

    NONE = ""
    MISSING = "missing"
    EXACT = "exact"
    CONTAINS = "contains"
    TEXT = "text"
    NOT = "not"
    ABOVE = "above"
    BELOW = "below"
    IN = "in"
    NOT_IN = "not-in"
    OF_TYPE = "of-type"
    IDENTIFIER = "identifier"
    TYPE = "[type]"


class Prefix(StrEnum):
    """How an ordered value is compared (§3.1.1.4.5)."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"
    SA = "sa"
    EB = "eb"
    AP = "ap"


@dataclass(frozen=True, slots=True)
class TokenTerm:
    """A code (§3.1.1.4.10).

    Attributes:
        system: URI; empty for no system; None for any.
        code: as it was sent; None for any code of the system.
    """

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class OfTypeTerm:
    """An identifier by its type (§3.1.1.4.10, ``:of-type``)."""

    system: str
    code: str
    value: str


@dataclass(frozen=True, slots=True)
class SetTerm:
    """The codes of a value set (§3.1.1.4.10, ``:in``), or those above or below a code of a system of the node's own.

    Attributes:
        codes: system → codes.
    """

    codes: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class StringTerm:
    """Text, as it was sent (§3.1.1.4.8)."""

    text: str


@dataclass(frozen=True, slots=True)
class UriTerm:
    """A URI (§3.1.1.4.9).

    Attributes:
        url: without version.
        version: business version behind a bar, mostly empty.
    """

    url: str
    version: str


@dataclass(frozen=True, slots=True)
class DateTerm:
    """A time (§3.1.1.4.7)."""

    prefix: Prefix
    span: Span


@dataclass(frozen=True, slots=True)
class NumberTerm:
    """A number (§3.1.1.4.6).

    Attributes:
        prefix: how it is compared.
        number: as it was sent.
        low: low end of the range that its digits imply, included.
        high: high end, not included.
    """

    prefix: Prefix
    number: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class QuantityTerm:
    """A quantity (§3.1.1.4.11): a number, and a unit if one was given.

    Attributes:
        number: the number.
        system: URI; empty for none given.
        code: code, or with an empty system code or word of the unit; empty for any unit.
    """

    number: NumberTerm
    system: str
    code: str


@dataclass(frozen=True, slots=True)
class ReferenceTerm:
    """What a reference points to (§3.1.1.4.12, §3.1.1.4.13).

    Attributes:
        keys: the texts that a reference to it may have: ``Type/id`` for each possible type, or a URL.
        version: version, of the resource or the business one, mostly empty.
    """

    keys: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class NearTerm:
    """A distance from a place on earth.

    Attributes:
        latitude: degrees.
        longitude: degrees.
        distance_m: metres; None where the client leaves it to the server.
    """

    latitude: Decimal
    longitude: Decimal
    distance_m: Decimal | None


@dataclass(frozen=True, slots=True)
class CompositeTerm:
    """Values that must belong together (§3.1.1.4.17), one for each part of the parameter."""

    parts: tuple[Term, ...]


Sets: TypeAlias = Callable[[str], CodeSet | None]
"""Gives the codes of a value set that is named as searches name it; None where nobody lists them here."""

Systems: TypeAlias = Callable[[str], Hierarchy | None]
"""Gives a code system of the node's own by how searches name it; None for one that is not here."""


def no_systems(_name: str) -> Hierarchy | None:
    """Know no code system beside those of `definitions.subsumption`."""
    return None


NOWHERE: Final = Targets((), urls=False)
"""Targets of what is no reference."""

Term: TypeAlias = (
    TokenTerm
    | OfTypeTerm
    | SetTerm
    | StringTerm
    | UriTerm
    | DateTerm
    | NumberTerm
    | QuantityTerm
    | ReferenceTerm
    | NearTerm
    | CompositeTerm
)


def split(text: str, separator: str, code: str) -> list[str]:
    r"""Split at a separator that is not escaped; the escapes stay (§3.1.1.4.19).

    Args:
        text: value or part of one.
        separator: ``,``, ``$`` or ``|``.
        code: the parameter, for the error.

    Raises:
        InputError: ``search.escape`` for a backslash before anything but ``,``, ``|``, ``$`` and ``\``.
    """
    if "\\" not in text:
        return text.split(separator)
    parts: list[str] = []
    start = place = 0
    while place < len(text):
        if text[place] == "\\":
            if text[place + 1 : place + 2] not in _ESCAPABLE or place + 1 == len(text):
                raise InputError("search.escape", parameter=code, expected="\\, \\| \\$ \\\\")
            place += 2
            continue
        if text[place] == separator:
            parts.append(text[start:place])
            start = place + 1
        place += 1
    parts.append(text[start:])
    return parts


def _plain(text: str) -> str:
    """Take the escapes off."""
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def read_term(  # noqa: PLR0911  # one for each type; what a value is read with
    text: str,
    definition: SearchParameter,
    modifier: Modifier,
    targets: Targets,
    zone: tzinfo,
    bases: frozenset[str],
    sets: Sets = listed_set,
    systems: Systems = no_systems,
) -> Term:
    """Read one value.

    Args:
        text: escapes still there.
        definition: its parameter.
        modifier: the parameter's modifier.
        targets: types that a reference may point to.
        zone: of dates without one.
        bases: base URLs of this server.
        sets: value sets.
        systems: code systems.

    Raises:
        InputError: ``search.value``, ``search.escape``; ``search.unsupported`` for a value set that nobody lists here.
    """
    code = definition.code
    match definition.type:
        case ParameterType.TOKEN:
            return _token(text, code, modifier, sets, systems)
        case ParameterType.STRING:
            return _string(text, code, modifier)
        case ParameterType.DATE:
            return _date(text, code, zone)
        case ParameterType.NUMBER:
            return _number(_plain(text), code)
        case ParameterType.QUANTITY:
            return _quantity(text, code)
        case ParameterType.REFERENCE:
            return _reference(text, code, modifier, targets, bases)
        case ParameterType.URI:
            return UriTerm(*_bar(text, code))
        case ParameterType.SPECIAL:
            return _near(text, code)
        case ParameterType.COMPOSITE:
            return _composite(text, definition, zone, bases)


def related(system: str, code: str, modifier: Modifier) -> frozenset[str] | None:
    """List a code and what lies above or below it, as the modifier says; None for a system that is not known here."""
    return (codes_below if modifier is Modifier.BELOW else codes_above)(system, code)


def own_system(text: str, code: str, modifier: Modifier, systems: Systems) -> Hierarchy | None:
    """Tell whether a value of ``:above`` or ``:below`` is of a code system of the node's own, and of which.

    Args:
        text: the value, escapes still there.
        code: of the parameter, for the error.
        modifier: one of the two.
        systems: code systems.

    Raises:
        InputError: ``search.value``, ``search.escape``.
    """
    term = _coded(text, code)
    if not term.system or not term.code or stem_below(term.system, term.code) is not None:
        return None
    return systems(term.system) if related(term.system, term.code, modifier) is None else None


def _token(text: str, code: str, modifier: Modifier, sets: Sets, systems: Systems) -> Term:
    """Read a token, or what its modifier makes of it."""
    match modifier:
        case Modifier.TEXT:
            return _string(text, code, modifier)
        case Modifier.IN | Modifier.NOT_IN:
            return _member(text, code, sets)
        case Modifier.OF_TYPE:
            parts = [_plain(part) for part in split(text, "|", code)]
            if len(parts) != 3 or "" in parts:  # noqa: PLR2004 # year to second  # all three must be there (§3.1.1.4.10)
                raise InputError("search.value", parameter=code, expected="system|code|value")
            return OfTypeTerm(*parts)
        case Modifier.ABOVE | Modifier.BELOW if own := own_system(text, code, modifier, systems):
            place = _coded(text, code).code or ""
            return SetTerm(((own.url, tuple(sorted((own.below if modifier is Modifier.BELOW else own.above)(place)))),))
        case _:
            return _coded(text, code)


def _member(text: str, code: str, sets: Sets) -> SetTerm:
    """Read a value set; one that is not listed here is refused, not taken for an empty one."""
    found = sets(_plain(text))
    if found is None:
        raise InputError("search.unsupported", parameter=code, expected="a value set that is known here")
    return SetTerm(tuple((system, tuple(sorted(codes))) for system, codes in sorted(found.items())))


def _string(text: str, code: str, modifier: Modifier) -> StringTerm:
    """Read a text; one that is nothing but punctuation says nothing (§3.1.1.4.8), and would find all that have any."""
    plain = _plain(text)
    # Cut before it is folded: a sign may fold to 18, and what was folded is kept.
    if modifier is not Modifier.EXACT and not searched(plain):
        raise InputError("search.value", parameter=code, expected="letters or digits")
    return StringTerm(plain)


def _coded(text: str, code: str) -> TokenTerm:
    """Read ``code``, ``system|code``, ``|code`` or ``system|``."""
    parts = [_plain(part) for part in split(text, "|", code)]
    if len(parts) == 1:
        return TokenTerm(None, parts[0])
    # A system may contain bars that nobody escapes; the code is what stands behind the last.
    system, value = "|".join(parts[:-1]), parts[-1]
    if not system and not value:
        raise InputError("search.value", parameter=code, expected="system|code")
    return TokenTerm(system, value or None)


def _bar(text: str, code: str) -> tuple[str, str]:
    """Split a URL from the version behind a bar."""
    parts = [_plain(part) for part in split(text, "|", code)]
    return ("|".join(parts[:-1]), parts[-1]) if len(parts) > 1 else (parts[0], "")


def _prefixed(text: str) -> tuple[Prefix, str]:
    """Split a prefix from the value."""
    match = _PREFIXED.fullmatch(text)
    return (Prefix(match[1] or "eq"), match[2]) if match else (Prefix.EQ, text)


def _date(text: str, code: str, zone: tzinfo) -> DateTerm:
    """Read a date of any precision; a plus that a client forgot to encode came as a blank."""
    prefix, rest = _prefixed(_plain(text))
    span = span_of(rest.replace(" ", "+"), zone)
    if span is None:
        raise InputError("search.value", parameter=code, expected="yyyy-mm-ddThh:mm:ss+zz:zz")
    return DateTerm(prefix, span)


def _number(text: str, code: str) -> NumberTerm:
    """Read a number and the range that its digits imply."""
    prefix, rest = _prefixed(text)
    match = _NUMBER.fullmatch(rest)
    if match is None:
        raise InputError("search.value", parameter=code, expected="number")
    number = Decimal(rest)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise InputError("search.value", parameter=code, expected="number")
    if match[2] and not match[1]:
        # The table of §3.1.1.4.6 reads 1e2 as [95, 105): an exponent alone makes no number vaguer than two digits.
        exponent -= 1 if len(number.as_tuple().digits) == 1 else 0
    half = Decimal((0, (5,), exponent - 1))
    return NumberTerm(prefix, number, number - half, number + half)


def _quantity(text: str, code: str) -> QuantityTerm:
    """Read ``number``, ``number|system|code`` or ``number||code``."""
    parts = [_plain(part) for part in split(text, "|", code)]
    if len(parts) not in (1, 3):
        raise InputError("search.value", parameter=code, expected="number|system|code")
    system, unit = (parts[1], parts[2]) if len(parts) > 1 else ("", "")
    return QuantityTerm(_number(parts[0], code), system, unit)


def _reference(
    text: str, code: str, modifier: Modifier, targets: Targets, bases: frozenset[str]
) -> ReferenceTerm | TokenTerm:
    """Read an id, ``Type/id``, a URL, or with ``:identifier`` a token."""
    if modifier is Modifier.IDENTIFIER:
        return _coded(text, code)
    value, bar, version = _plain(text).partition("|")
    if bar or ":" in value:
        key, edition = reference_key(value, bases)
        if bar:
            key, edition = canonical_key(f"{value}|{version}")
        return ReferenceTerm((key,), edition)
    if _ID.fullmatch(value):
        # Every type that the reference may point to is meant (§3.1.1.4.12); a canonical may also be such a word.
        local = tuple(f"{one}/{value}" for one in targets.types)
        return ReferenceTerm((*local, value) if targets.urls else local, "")
    key, edition = reference_key(value, bases)
    match = _TYPED.fullmatch(key)
    if match is None or not is_resource_type(match[1]):
        raise InputError("search.value", parameter=code, expected="Type/id")
    if modifier is Modifier.TYPE and match[1] not in targets.types:
        raise InputError("search.value", parameter=code, expected="/".join((*targets.types, "id")))
    return ReferenceTerm((key,), edition)


def _near(text: str, code: str) -> NearTerm:
    """Read ``latitude|longitude|distance|units`` (Location, ``near``)."""
    parts = [_plain(part) for part in split(text, "|", code)]
    if len(parts) not in {2, 3, 4} or any(_NUMBER.fullmatch(part) is None for part in parts[:3] if part):
        raise InputError("search.value", parameter=code, expected="latitude|longitude|distance|units")
    unit = parts[3] if len(parts) > 3 and parts[3] else "km"  # noqa: PLR2004  # the last part
    if not parts[0] or not parts[1] or unit not in _NEAR_UNITS:
        raise InputError("search.value", parameter=code, expected="latitude|longitude|distance|units")
    latitude, longitude = Decimal(parts[0]), Decimal(parts[1])
    if abs(latitude) > _MAX_LATITUDE or abs(longitude) > _MAX_LONGITUDE:
        raise InputError("search.value", parameter=code, expected="latitude|longitude|distance|units")
    metres = {"km": Decimal(1000), "m": Decimal(1)}.get(unit, Decimal("1609.344"))
    distance = Decimal(parts[2]) * metres if len(parts) > 2 and parts[2] else None  # noqa: PLR2004 # year to second  # the third part
    return NearTerm(latitude, longitude, distance)


def _targets_anywhere(definition: SearchParameter) -> Targets:
    """Tell what a part of a composite may point to."""
    if definition.type is not ParameterType.REFERENCE:
        return NOWHERE
    return targets_of(definition, definition.base[0])


def _composite(text: str, definition: SearchParameter, zone: tzinfo, bases: frozenset[str]) -> CompositeTerm:
    """Read the parts of a composite, each by its own parameter."""
    pieces = split(text, "$", definition.code)
    if len(pieces) != len(definition.components) or "" in pieces:
        raise InputError(
            "search.value", parameter=definition.code, expected="$".join(["value"] * len(definition.components))
        )
    parts = []
    for piece, component in zip(pieces, definition.components, strict=True):
        one = parameter(component.definition)
        parts.append(read_term(piece, one, Modifier.NONE, _targets_anywhere(one), zone, bases))
    return CompositeTerm(tuple(parts))
