"""Derived statements: what a hospital says of records that it does not show. A closed vocabulary.

Keeps true: a statement has a name that is known, the arguments of that name and a value of its sort, or null for what
the hospital does not know; so a reader never guesses what one means. Pure. Trusts nothing that is read.
Source: `docs/spec/claim-evidence.md` 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, canonical
from medchain.errors import InputError

VALID: Final = "valid"
"""A credential that was in force."""

REVOKED: Final = "revoked"
"""A credential that was not, or not any more."""

UNKNOWN: Final = "unknown"
"""A credential of which the hospital has no record."""

_TEXT: Final = frozenset({str})
_NUMBER: Final = frozenset({int})
_TRUTH: Final = frozenset({bool})

VOCABULARY: Final[Mapping[str, tuple[Mapping[str, type], frozenset[type]]]] = {
    "age_at_least": ({"day": str, "years": int}, _TRUTH),
    "alive_on": ({"day": str}, _TRUTH),
    "category": ({"reference": str}, _TEXT),
    "code_in": ({"list": str, "reference": str}, _TRUTH),
    "credential": ({"day": str, "reference": str}, _TEXT),
    "emergency_accesses": ({"from": int, "to": int}, _NUMBER),
    "last_emergency_access": ({"from": int, "to": int}, _NUMBER),
    "overlapping_stays": ({"end": str, "start": str}, _NUMBER),
    "record_count": ({"encounter": str, "type": str}, _NUMBER),
    "stay_at_most": ({"days": int, "encounter": str}, _TRUTH),
    "surgery": ({"encounter": str}, _TRUTH),
}
"""Name → its arguments, and of which sort its value is; null, which is "not known", every one may be."""

_MAX_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Fact:
    """A derived statement.

    Attributes:
        name: one of `VOCABULARY`.
        arguments: what it is about.
        value: what holds; None for what is not known.
    """

    name: str
    arguments: Mapping[str, str | int]
    value: bool | int | str | None

    @property
    def order(self) -> tuple[str, bytes]:
        """By what statements are sorted."""
        return self.name, canonical(dict(self.arguments))

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {"arguments": dict(self.arguments), "name": self.name, "value": self.value}


def read_fact(value: Json) -> Fact:
    """Read a statement strictly; raises `InputError` ``disclosure.fact`` for one that is not of the vocabulary."""
    if type(value) is not dict or value.keys() != {"arguments", "name", "value"}:
        raise InputError("disclosure.fact")
    name, arguments, said = value["name"], value["arguments"], value["value"]
    if type(name) is not str or name not in VOCABULARY or type(arguments) is not dict:
        raise InputError("disclosure.fact")
    wanted, sorts = VOCABULARY[name]
    if {one: type(item) for one, item in arguments.items()} != wanted:
        raise InputError("disclosure.fact", name=name)
    told = {one: item for one, item in arguments.items() if isinstance(item, str | int)}
    if isinstance(said, list | dict) or (said is not None and type(said) not in sorts):
        raise InputError("disclosure.fact", name=name)
    if not all(_is_bounded(item) for item in (*told.values(), said)):
        raise InputError("disclosure.fact", name=name)
    return Fact(name, told, said)


def _is_bounded(value: Json) -> bool:
    """Tell whether a text is short and not empty, and a number not negative."""
    if isinstance(value, str):
        return 0 < len(value) <= _MAX_TEXT
    return not isinstance(value, int) or value >= 0
