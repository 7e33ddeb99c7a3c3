"""Where a resource points to: its literal references, each with its place.

Keeps true: an element of a choice is named as FHIRPath names it. Trusts that the shape was checked before.
Source: FHIR R4 §2.3.0.1 (literal references); FHIRPath 2.0.0 §6.3.1 (``ofType``).
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_bridge.definitions.elements import is_resource_type, members
from fhir_bridge.document import Element, Resource, member


def pointers(resource: Resource) -> Iterator[tuple[str, str]]:
    """List the literal references of a resource.

    Args:
        resource: of the right shape; a Bundle has none of its own, since what it holds refers to its entries first.

    Yields:
        Place as FHIRPath, such as ``Observation.subject``, and the reference.
    """
    name = member(resource, "resourceType")
    if name != "Bundle":
        yield from _below(resource, name, name)


def _below(value: Resource, content: str, place: str) -> Iterator[tuple[str, str]]:
    """List those below one object."""
    if content == "Reference" and member(value, "reference"):
        yield place, member(value, "reference")
    known = members(content)
    for name, item in value.items():
        found = known.get(name)
        if found is None or not isinstance(item, dict | list):
            continue
        step = f"{found.element.name}.ofType({found.type})" if found.element.choice else name
        if isinstance(item, dict):
            yield from _within(item, found.content, f"{place}.{step}")
            continue
        for number, one in enumerate(item):
            yield from _within(one, found.content, f"{place}.{step}[{number}]")


def _within(value: Element, content: str, place: str) -> Iterator[tuple[str, str]]:
    """List those of one value; a resource is of the type that it names."""
    if not isinstance(value, dict):
        return
    named = member(value, "resourceType")
    if named:
        content = named if is_resource_type(named) else ""
    if content:
        yield from _below(value, content, place)
