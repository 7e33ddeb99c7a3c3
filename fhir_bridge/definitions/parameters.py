"""The search parameters and compartments that FHIR R4 defines.

Keeps true: a parameter stands once; each type has its own and those of what it specialises. Trusts `r4.zip`.
Source: FHIR R4 §3.1.1 (search), §2.44 (SearchParameter), §2.45 (CompartmentDefinition); HL7's files of 4.0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Final

from fhir_bridge.definitions.archive import read
from fhir_bridge.definitions.elements import ancestors
from medchain.errors import NotFoundError


class ParameterType(StrEnum):
    """How the values of a parameter are compared (FHIR R4 §3.1.1.4)."""

    NUMBER = "number"
    DATE = "date"
    STRING = "string"
    TOKEN = "token"  # noqa: S105  # FHIR's word for a code
    REFERENCE = "reference"
    COMPOSITE = "composite"
    QUANTITY = "quantity"
    URI = "uri"
    SPECIAL = "special"


COMPARTMENTS: Final = ("Patient", "Encounter", "RelatedPerson", "Practitioner", "Device")
"""The compartments that R4 defines."""


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a composite parameter.

    Attributes:
        definition: canonical URL of the parameter that says how the part is compared.
        expression: FHIRPath from a value of the composite to the part's value.
    """

    definition: str
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter.

    Attributes:
        url: canonical URL.
        code: name in a query.
        type: how its values are compared.
        base: types that have it.
        expression: FHIRPath; empty for parameters that are answered otherwise (``_text``, ``_content``, ``_query``).
        target: types that a reference may point to.
        components: parts of a composite.
        multiple_or: whether several values may be joined by commas.
        multiple_and: whether it may be repeated.
        comparators: prefixes that it names; empty where it names none, which leaves those of its type.
        modifiers: modifiers that it names, likewise.
        chain: parameters that a chain may go on with; empty for any.
    """

    url: str
    code: str
    type: ParameterType
    base: tuple[str, ...]
    expression: str
    target: tuple[str, ...]
    components: tuple[Component, ...]
    multiple_or: bool
    multiple_and: bool
    comparators: tuple[str, ...]
    modifiers: tuple[str, ...]
    chain: tuple[str, ...]


@cache
def all_parameters() -> tuple[SearchParameter, ...]:
    """List all 1,375, in HL7's order."""
    return tuple(
        SearchParameter(
            url=url,
            code=code,
            type=ParameterType(kind),
            base=tuple(base),
            expression=expression,
            target=tuple(target),
            components=tuple(Component(*part) for part in components),
            multiple_or=bool(flags & 1),
            multiple_and=bool(flags & 2),
            comparators=tuple(comparators),
            modifiers=tuple(modifiers),
            chain=tuple(chain),
        )
        for url, code, kind, base, expression, target, components, flags, comparators, modifiers, chain in read(
            "search.json"
        )
    )


@cache
def _by_url() -> Mapping[str, SearchParameter]:
    """Index by canonical URL."""
    return {one.url: one for one in all_parameters()}


@cache
def _by_base() -> Mapping[str, Mapping[str, SearchParameter]]:
    """Index by base and code."""
    found: dict[str, dict[str, SearchParameter]] = {}
    for one in all_parameters():
        for base in one.base:
            found.setdefault(base, {})[one.code] = one
    return found


def parameter(url: str) -> SearchParameter:
    """Return the parameter with a canonical URL; raises `NotFoundError` ``definitions.unknown``."""
    found = _by_url().get(url)
    if found is None:
        raise NotFoundError("definitions.unknown")
    return found


@cache
def parameters_of(type_name: str) -> Mapping[str, SearchParameter]:
    """List the parameters of a type by their code, those of DomainResource and Resource among them.

    Args:
        type_name: a resource type, or ``Resource`` for those that every type has.

    Raises:
        NotFoundError: ``definitions.unknown``.
    """
    found: dict[str, SearchParameter] = {}
    for name in reversed(ancestors(type_name)):
        found.update(_by_base().get(name, {}))
    return MappingProxyType(found)


@cache
def compartment(code: str) -> Mapping[str, tuple[str, ...]]:
    """Tell by which parameters each type belongs to a compartment.

    Args:
        code: one of `COMPARTMENTS`.

    Returns:
        Resource type → codes of its parameters; a type that is not there never belongs to it. ``{def}`` stands for the
        resource itself.

    Raises:
        NotFoundError: ``definitions.unknown``.
    """
    found = read("compartments.json").get(code)
    if found is None:
        raise NotFoundError("definitions.unknown")
    return MappingProxyType({type_name: tuple(codes) for type_name, codes in found.items()})
