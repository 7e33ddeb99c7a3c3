"""What a FHIRPath expression walks over: values with their types, and the steps from one to its children.

Keeps true: a primitive value and its companion (id and extensions, §2.6.2.1) are one node; a choice is one name; the
type of a node is what HL7's definitions say of its place. Trusts `fhir_bridge.definitions`; a value of another shape
than R4's has no children.
Source: FHIRPath 2.0.0 §2; FHIR R4 §2.9.8 (FHIRPath in FHIR).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from fhir_bridge.definitions.elements import Kind, ancestors, is_resource_type, members, type_names
from fhir_bridge.document import Element, Resource

SYSTEM: Final = "System."
"""Namespace of the types of literals and computed values."""


class Node(NamedTuple):
    """A value.

    Attributes:
        value: JSON value; a Decimal for a computed number; None for a primitive that has only extensions.
        type: FHIR type (``Quantity``, ``string``, ``BackboneElement``) or a type of `SYSTEM`.
        content: where its children are defined; empty for what has none.
        companion: id and extensions of a primitive value.
        name: of the element that it is.
        holder: object in which it stands, or the array's; None for what was computed.
        place: position in its array, -1 for none.
    """

    value: Element | Decimal
    type: str
    content: str = ""
    companion: Resource | None = None
    name: str = ""
    holder: Resource | None = None
    place: int = -1


Nodes: TypeAlias = "list[Node]"
"""A collection."""


class _Way(NamedTuple):
    """One JSON name under which children of a name may stand."""

    json_name: str
    type: str
    content: str
    is_primitive: bool


def resource_node(resource: Resource) -> Node:
    """Make the node of a resource."""
    name = resource.get("resourceType")
    known = name if isinstance(name, str) and is_resource_type(name) else ""
    return Node(resource, known or "Resource", known)


def children(node: Node, name: str) -> Iterator[Node]:
    """Walk through a node's children of a name, in the order of the document."""
    if not node.content:
        return
    for way in _ways(node.content).get(name, ()):
        yield from _under(node, way, name)


def all_children(node: Node) -> Iterator[Node]:
    """Walk through all children of a node."""
    if node.content:
        for name, ways in _ways(node.content).items():
            for way in ways:
                yield from _under(node, way, name)


def has_type(node: Node, name: str) -> bool:
    """Tell whether a node is of a type or of one that specialises it.

    Args:
        node: which.
        name: with or without namespace: ``Patient``, ``FHIR.Quantity``, ``System.String``, ``Boolean``.
    """
    if name.startswith(SYSTEM) or node.type.startswith(SYSTEM):
        return node.type == name or node.type == SYSTEM + name
    wanted = name.removeprefix("FHIR.")
    # FHIRPath's own names begin with a capital: `answer is Boolean` asks for a FHIR boolean as well (que-7).
    lowered = wanted[:1].lower() + wanted[1:]
    lineage = _lineage(node.type)
    return wanted in lineage or (lowered in type_names("primitive-type") and lowered in lineage)


@cache
def _lineage(name: str) -> frozenset[str]:
    """Return a type and all that it specialises."""
    known: tuple[Kind, ...] = ("resource", "complex-type", "primitive-type")
    is_known = any(name in type_names(kind, abstract=True) for kind in known)
    return frozenset(ancestors(name)) if is_known else frozenset({name})


@cache
def _ways(content: str) -> Mapping[str, tuple[_Way, ...]]:
    """List the names of an object's children in FHIRPath, and under which names each stands in JSON."""
    found: dict[str, list[_Way]] = {}
    for json_name, member in members(content).items():
        is_primitive = member.type in type_names("primitive-type")
        is_resource = member.type in type_names("resource", abstract=True)
        way = _Way(
            json_name, member.type, "Element" if is_primitive else "" if is_resource else member.content, is_primitive
        )
        found.setdefault(member.element.name, []).append(way)
    return MappingProxyType({name: tuple(ways) for name, ways in found.items()})


def _under(node: Node, way: _Way, name: str) -> Iterator[Node]:
    """Walk through what stands under one JSON name of a node."""
    holder = node.value
    if not isinstance(holder, dict):
        # A primitive value: its children are in its companion.
        if node.companion is None:
            return
        holder = node.companion
    value = holder.get(way.json_name)
    if not way.is_primitive:
        yield from _objects(value, way, name, holder)
        return
    beside = holder.get("_" + way.json_name)
    if value is None and beside is None:
        return
    if not isinstance(value, list) and not isinstance(beside, list):
        yield _primitive(value, beside, way, name, holder, -1)
        return
    values, companions = value if isinstance(value, list) else [], beside if isinstance(beside, list) else []
    for place in range(max(len(values), len(companions))):
        one = values[place] if place < len(values) else None
        companion = companions[place] if place < len(companions) else None
        if one is not None or companion is not None:
            yield _primitive(one, companion, way, name, holder, place)


def _objects(value: Element, way: _Way, name: str, holder: Resource) -> Iterator[Node]:
    """Make the nodes of an object or of an array of objects."""
    if isinstance(value, dict):
        yield _object(value, way, name, holder, -1)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            if isinstance(one, dict):
                yield _object(one, way, name, holder, place)


def _object(value: Resource, way: _Way, name: str, holder: Resource, place: int) -> Node:
    """Make the node of an object."""
    if way.content:
        return Node(value, way.type, way.content, None, name, holder, place)
    made = resource_node(value)
    return Node(value, made.type, made.content, None, name, holder, place)


def _primitive(value: Element, beside: Element, way: _Way, name: str, holder: Resource, place: int) -> Node:
    """Make the node of a primitive value."""
    companion = beside if isinstance(beside, dict) else None
    return Node(value, way.type, way.content, companion, name, holder, place)
