"""Profiles that HL7 publishes with R4: what a resource that claims one must fulfil beyond its type.

Keeps true: a profile is here whole or not at all. Trusts `r4.zip`.
Source: FHIR R4 §5.1 (profiling), ElementDefinition; HL7's StructureDefinitions of 4.0.1 with a resource type as base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from fhir_bridge.definitions.archive import read
from fhir_bridge.definitions.elements import Invariant

PREFIX: Final = "http://hl7.org/fhir/StructureDefinition/"
"""How the canonical URLs of HL7's definitions begin."""

NO_LIMIT: Final = -1
"""Largest number of values where the profile says none."""


@dataclass(frozen=True, slots=True)
class Slicing:
    """How the values of an element are told apart.

    Attributes:
        ways: (``value`` or ``type``, path from the value) of each discriminator.
        is_open: whether there may be values of no slice.
        is_ordered: whether slices stand in the profile's order.
    """

    ways: tuple[tuple[str, str], ...]
    is_open: bool
    is_ordered: bool


@dataclass(frozen=True, slots=True)
class Constraint:
    """An element of a profile, or a slice of one.

    Attributes:
        name: of the element, with ``[x]`` for a choice; empty for a slice and the top.
        slice: name of the slice, mostly empty.
        min: least number of values.
        max: largest number, or `NO_LIMIT`.
        types: of its values; empty for those of the base.
        targets: what a Reference may point to, types and profiles; empty for those of the base.
        fixed: what a value must be, as JSON; None for anything.
        pattern: what a value must contain, likewise.
        binding: value set that is bound for certain, or empty.
        extension: canonical URL of the extension that a slice is of, or empty.
        rules: in FHIRPath.
        slicing: how its values are told apart, None where they are not.
        slices: of its values.
        children: elements below.
    """

    name: str
    slice: str
    min: int
    max: int
    types: tuple[str, ...]
    targets: tuple[str, ...]
    fixed: object
    pattern: object
    binding: str
    extension: str
    rules: tuple[Invariant, ...]
    slicing: Slicing | None
    slices: tuple[Constraint, ...]
    children: tuple[Constraint, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile.

    Attributes:
        name: last part of its URL, such as ``bp``.
        type: resource type that it constrains.
        root: what it asks for.
    """

    name: str
    type: str
    root: Constraint


@cache
def _all() -> Mapping[str, Any]:  # Any: JSON of the archive
    """Read the profiles."""
    found: Mapping[str, Any] = read("profiles.json")
    return found


@cache
def profile_names() -> frozenset[str]:
    """List the names of all that are known."""
    return frozenset(_all())


def profiles_of(type_name: str) -> list[str]:
    """List the canonical URLs of the profiles of a resource type."""
    return [PREFIX + name for name, row in sorted(_all().items()) if row["type"] == type_name]


def profile(url: str) -> Profile | None:
    """Return a profile by its canonical URL, with or without R4's version; None for one that is not known."""
    canonical, _, version = url.partition("|")
    name = canonical.removeprefix(PREFIX)
    if name == canonical or version not in ("", "4.0.1") or name not in profile_names():
        return None
    return _profile(name)


@cache
def _profile(name: str) -> Profile:
    """Make a profile."""
    row = _all()[name]
    return Profile(name, row["type"], _constraint(row["root"]))


def _constraint(row: Mapping[str, Any]) -> Constraint:  # Any: a row of the archive
    """Make an element of its row, as `build_profiles.py` writes it."""
    slicing = row.get("slicing")
    return Constraint(
        name=row.get("name", ""),
        slice=row.get("slice", ""),
        min=row.get("min", 0),
        max=row.get("max", NO_LIMIT),
        types=tuple(row.get("types", ())),
        targets=tuple(row.get("targets", ())),
        fixed=row.get("fixed"),
        pattern=row.get("pattern"),
        binding=row.get("binding", ""),
        extension=row.get("extension", ""),
        rules=tuple(Invariant(*one) for one in row.get("rules", ())),
        slicing=None if slicing is None else Slicing(tuple((kind, path) for kind, path in slicing[0]), *slicing[1:]),
        slices=tuple(_constraint(one) for one in row.get("slices", ())),
        children=tuple(_constraint(one) for one in row.get("children", ())),
    )
