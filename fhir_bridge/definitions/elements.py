"""The types of FHIR R4 and the elements that they are made of.

Keeps true: what is handed out is never changed and is the same object for the same type. A type is read when it is
first asked for. Trusts `r4.zip`.
Source: FHIR R4 §5.3 (StructureDefinition), §2.26 (ElementDefinition), HL7's snapshots of 4.0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from sys import intern
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from fhir_bridge.definitions.archive import read
from medchain.errors import NotFoundError

Kind: TypeAlias = Literal["resource", "complex-type", "primitive-type"]

UNBOUNDED: Final = -1
"""`Element.max` where there is no limit."""

_CHOICE: Final = "[x]"
_INLINE: Final = frozenset({"BackboneElement", "Element"})


@dataclass(frozen=True, slots=True)
class TypeUse:
    """A type that an element may have.

    Attributes:
        code: name of the type, such as ``Quantity``.
        targets: resource types (or profiles' URLs) that a Reference or canonical may point to, ``Resource`` for any.
        profiles: profiles that the value must have, such as ``SimpleQuantity``.
        regex: pattern that the value of a primitive type must match, empty where HL7 gives none.
    """

    code: str
    targets: tuple[str, ...]
    profiles: tuple[str, ...]
    regex: str


@dataclass(frozen=True, slots=True)
class Binding:
    """The codes that an element takes.

    Attributes:
        strength: ``required``, ``extensible``, ``preferred`` or ``example``.
        value_set: canonical URL without version; empty where HL7 only describes it.
        max_value_set: canonical URL of the set that nothing may leave, mostly empty.
    """

    strength: str
    value_set: str
    max_value_set: str


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule about an element.

    Attributes:
        key: such as ``obs-6``.
        severity: ``error`` or ``warning``.
        human: what it says.
        expression: the same in FHIRPath; empty where HL7 gives none.
    """

    key: str
    severity: str
    human: str
    expression: str


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type.

    Attributes:
        path: such as ``Observation.component.value[x]``.
        name: last step of the path without ``[x]``.
        min: least number of values.
        max: largest number of values, `UNBOUNDED` where there is no limit.
        types: what its value may be; empty where `content_reference` says it.
        choice: whether the type is part of the name in JSON and XML (``value[x]``).
        binding: the codes that it takes, None where it is no coded element.
        content_reference: path of the element whose children it has, mostly empty.
        is_summary: whether it belongs to ``_summary=true``.
        is_modifier: whether it changes the meaning of what holds it.
        invariants: its rules.
        inline: whether its children are defined in the same type, below `path`.
    """

    path: str
    name: str
    min: int
    max: int
    types: tuple[TypeUse, ...]
    choice: bool
    binding: Binding | None
    content_reference: str
    is_summary: bool
    is_modifier: bool
    invariants: tuple[Invariant, ...]
    inline: bool

    @property
    def is_array(self) -> bool:
        """Whether it is an array in JSON."""
        return self.max != 1

    def content(self, type_code: str) -> str:
        """Tell where the children of its value are defined: a path for `members`."""
        if self.content_reference:
            return self.content_reference
        return self.path if self.inline else type_code


class Member(NamedTuple):
    """A member of a JSON object.

    Attributes:
        element: its element.
        type: the type that its value has, ``BackboneElement`` for a content reference.
        content: where the value's own members are found, an argument for `members`.
    """

    element: Element
    type: str
    content: str


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A resource or data type.

    Attributes:
        name: such as ``Patient`` or ``HumanName``.
        kind: which kind of type.
        abstract: whether only its descendants have instances.
        base: the type that it specialises, empty for the roots.
        elements: all elements with the inherited ones, the type itself first, in HL7's order.
    """

    name: str
    kind: Kind
    abstract: bool
    base: str
    elements: tuple[Element, ...]


class _KindRow(NamedTuple):
    """What is known of every type without reading it."""

    kind: Kind
    abstract: bool
    base: str


@cache
def _kinds() -> Mapping[str, _KindRow]:
    """Read the list of types."""
    return {intern(name): _KindRow(row[0], bool(row[1]), row[2]) for name, row in read("kinds.json").items()}


@cache
def type_names(kind: Kind, *, abstract: bool = False) -> frozenset[str]:
    """List the types of a kind: 146 resource types, 39 complex and 20 primitive types; the abstract ones on demand."""
    return frozenset(name for name, row in _kinds().items() if row.kind == kind and (abstract or not row.abstract))


def is_resource_type(name: str) -> bool:
    """Tell whether a name is that of a resource type with instances."""
    return name in type_names("resource")


@cache
def ancestors(name: str) -> tuple[str, ...]:
    """List a type and what it specialises, nearest first: ``Patient``, ``DomainResource``, ``Resource``.

    Raises:
        NotFoundError: ``definitions.unknown``.
    """
    row = _kinds().get(name)
    if row is None:
        raise NotFoundError("definitions.unknown")
    return (name, *ancestors(row.base)) if row.base else (name,)


@cache
def type_definition(name: str) -> TypeDefinition:
    """Return a type.

    Args:
        name: of a resource or data type, such as ``Observation``, ``Quantity``, ``dateTime``.

    Raises:
        NotFoundError: ``definitions.unknown``.
    """
    if name not in _kinds():
        raise NotFoundError("definitions.unknown")
    row = read(f"types/{name}.json")
    rules = {key: _invariant(key, *rule) for key, rule in row["rules"].items()}
    paths = {element[0] for element in row["elements"]}
    above = {path.rpartition(".")[0] for path in paths}
    elements = tuple(_element(element, rules, above) for element in row["elements"])
    return TypeDefinition(name, row["kind"], row["abstract"], row["base"], elements)


def primitive_pattern(name: str) -> str:
    """Return the regular expression of a primitive type's value, empty where HL7 gives none."""
    for element in type_definition(name).elements:
        if element.path == f"{name}.value":
            return element.types[0].regex
    return ""


@cache
def members(path: str) -> Mapping[str, Member]:
    """List what a JSON object may hold, `resourceType` and the underscored companions of primitive values apart.

    Args:
        path: a type (``Observation``), or an element with children of its own (``Observation.component``).

    Returns:
        Name in JSON (``valueQuantity``) → element, type and where to go on.

    Raises:
        NotFoundError: ``definitions.unknown`` for a type that R4 has not.
    """
    found: dict[str, Member] = {}
    for element in children(path):
        if element.content_reference:
            found[element.name] = Member(element, "BackboneElement", element.content_reference)
        for use in element.types:
            suffix = use.code[0].upper() + use.code[1:] if element.choice else ""
            found[intern(element.name + suffix)] = Member(element, use.code, element.content(use.code))
    return MappingProxyType(found)


@cache
def children(path: str) -> tuple[Element, ...]:
    """List the elements directly below a type or an element; arguments and errors as `members`."""
    name = path.partition(".")[0]
    return tuple(one for one in type_definition(name).elements if one.path.rpartition(".")[0] == path)


@cache
def _invariant(key: str, severity: str, human: str, expression: str) -> Invariant:
    """Make an invariant, once for all types that have it."""
    return Invariant(key, severity, human, expression)


@cache
def _binding(strength: str, value_set: str, max_value_set: str) -> Binding:
    """Make a binding, once."""
    return Binding(strength, value_set, max_value_set)


@cache
def _type_use(code: str, targets: tuple[str, ...], profiles: tuple[str, ...], regex: str) -> TypeUse:
    """Make a use of a type, once."""
    return TypeUse(intern(code), targets, profiles, regex)


def _element(row: list[Any], rules: Mapping[str, Invariant], above: set[str]) -> Element:  # Any: a row of the archive
    """Make an element of its row, as `build.py` writes it."""
    path, least, most, types, binding, reference, flags, keys = row
    last = path.rpartition(".")[2]
    uses = tuple(_use(one) for one in types)
    return Element(
        path=intern(path),
        name=intern(last.removesuffix(_CHOICE)),
        min=least,
        max=most,
        types=uses,
        choice=last.endswith(_CHOICE),
        binding=_binding(*binding) if binding else None,
        content_reference=reference,
        is_summary=bool(flags & 1),
        is_modifier=bool(flags & 2),
        invariants=tuple(rules[key] for key in keys),
        inline=path in above and any(use.code in _INLINE for use in uses),
    )


def _use(row: list[Any]) -> TypeUse:  # Any: a row of the archive
    """Make a use of a type of its row, whose empty end was cut off."""
    code, targets, profiles, regex = row + [[], [], ""][len(row) - 1 :]
    return _type_use(code, tuple(targets), tuple(profiles), regex)
