"""Closures that walk a parsed resource once and hand its values to whoever wants them.

All routes of a type share one tree of steps; a walk follows the members that the resource has. Keeps true: a walk costs
what the resource holds, never what the expressions say; a value of another shape than R4's is passed over. Trusts
`paths`.
Source: FHIR R4 §3.1.1.9, §2.6.2 (JSON).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_bridge.definitions.elements import Element, type_names

Resource: TypeAlias = Mapping[str, object]
"""A parsed resource; its numbers are whatever the parser made of them."""

Out: TypeAlias = "list[Any]"
"""Where a walk leaves what it finds; the collectors decide what that is."""

Collect: TypeAlias = Callable[[object, Resource, int, Out], None]
"""Takes a value: the value, its resource, its place, and where to put what comes of it.

The place is 0 outside arrays at the top of the resource, and 1, 2, … for what lies in their items, so that parts of one
item can be told to belong together.
"""

Truth: TypeAlias = Callable[[object, Resource], "bool | None"]
"""A condition on a value; None where FHIRPath's answer is empty."""


class Get(NamedTuple):
    """A step to a member of a JSON object, or to one item of it."""

    name: str
    item: int | None


class Check(NamedTuple):
    """A condition on the way.

    Attributes:
        key: says when two are the same.
        holds: the condition.
        target: the type that it wants a reference to point to, empty for other conditions.
    """

    key: str
    holds: Truth
    target: str = ""


class Compute(NamedTuple):
    """A value that is not a member: the answer of a condition, or the resource again."""

    key: str
    answer: Answer


Op: TypeAlias = Get | Check | Compute


class Route(NamedTuple):
    """A way from a resource to values of one type.

    Attributes:
        ops: the steps.
        type: the type of the values, such as ``CodeableConcept`` or ``date``.
        content: where their members are defined, for `definitions.elements.members`.
        element: the element, None for the resource itself and for answers.
    """

    ops: tuple[Op, ...]
    type: str
    content: str
    element: Element | None


_REFERENCE: Final = re.compile(r"(?:.*/)?([A-Z][A-Za-z]{1,63})/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")

Answer: TypeAlias = Callable[[object, Resource], object]
"""What is computed of a value; None where there is nothing. A `Truth` is one."""


def compile_walk(entries: Iterable[tuple[Route, Collect]]) -> Callable[[Resource, Out], None]:
    """Make one walk of many routes.

    Args:
        entries: routes from the same type, each with what takes its values.

    Returns:
        A function of a resource and a list that the collectors fill.
    """
    root = _Node()
    for route, collect in entries:
        root.descend(route.ops).leaves.append(collect)
    tops = {name: _visit(node) for name, node in root.gets.items()}
    indexed = _indexed(root)
    plain = _Node(leaves=root.leaves, checks=root.checks, computed=root.computed)
    at_root = _item(plain) if plain.leaves or plain.checks or plain.computed else None

    def walk(resource: Resource, out: Out) -> None:
        if at_root is not None:
            at_root(resource, resource, 0, out)
        for name, value in resource.items():
            visit = tops.get(name)
            if visit is None:
                continue
            if isinstance(value, list):
                for place, one in enumerate(value, 1):
                    visit(one, resource, place, out)
            else:
                visit(value, resource, 0, out)
        for get, visit in indexed:
            visit(resource.get(get.name), resource, 0, out)

    return walk


def compile_values(found: Iterable[Route]) -> Callable[[object, Resource], list[object]]:
    """Make a function that lists the values at the end of some routes, from any item.

    Args:
        found: routes from the same kind of item.

    Returns:
        A function of the item and its resource.
    """
    root = _Node()
    for route in found:
        root.descend(route.ops).leaves.append(_append)
    item = _item(root)

    def values(value: object, resource: Resource) -> list[object]:
        out: list[object] = []
        item(value, resource, 0, out)
        return out

    return values


def reference_type(value: object, resource: Resource) -> str:
    """Tell to which type a reference points, empty where it does not say.

    Args:
        value: a Reference, or the text of one.
        resource: what holds it; a reference to a contained resource is looked up there.
    """
    stated = ""
    if isinstance(value, dict):
        given = value.get("type")
        stated = given if isinstance(given, str) else ""
        value = value.get("reference")
    if not isinstance(value, str):
        return stated
    if value.startswith("#"):
        return _contained_type(value[1:], resource) or stated
    match = _REFERENCE.fullmatch(value)
    return match[1] if match is not None and match[1] in type_names("resource") else stated


def _contained_type(name: str, resource: Resource) -> str:
    """Tell the type of a contained resource."""
    contained = resource.get("contained")
    for one in contained if isinstance(contained, list) else ():
        if isinstance(one, dict) and one.get("id") == name:
            found = one.get("resourceType")
            return found if isinstance(found, str) else ""
    return ""


@dataclass(slots=True)
class _Node:
    """A point of the tree: what to do with a value there."""

    gets: dict[str, _Node] = field(default_factory=dict)
    indexed: dict[Get, _Node] = field(default_factory=dict)
    checks: dict[str, tuple[Truth, _Node]] = field(default_factory=dict)
    computed: dict[str, tuple[Answer, _Node]] = field(default_factory=dict)
    leaves: list[Collect] = field(default_factory=list)

    def descend(self, ops: Iterable[Op]) -> _Node:
        """Follow steps, making what is not there yet."""
        node = self
        for op in ops:
            match op:
                case Get(name, None):
                    node = node.gets.setdefault(name, _Node())
                case Get():
                    node = node.indexed.setdefault(op, _Node())
                case Check(key, holds, _):
                    node = node.checks.setdefault(key, (holds, _Node()))[1]
                case Compute(key, answer):
                    node = node.computed.setdefault(key, (answer, _Node()))[1]
        return node


def _visit(node: _Node) -> Collect:
    """Compile a point of the tree for a value that may be an array."""
    item = _item(node)

    def visit(value: object, resource: Resource, place: int, out: Out) -> None:
        if isinstance(value, list):
            for one in value:
                if one is not None:
                    item(one, resource, place, out)
        elif value is not None:
            item(value, resource, place, out)

    return visit


def _item(node: _Node) -> Collect:
    """Compile a point of the tree for a single value."""
    leaves = tuple(node.leaves)
    gets = _members(node)
    if not gets and not node.checks and not node.computed:
        return leaves[0] if len(leaves) == 1 else _all(leaves)
    if not leaves and not node.checks and not node.computed:
        return gets[0] if len(gets) == 1 else _all(gets)
    parts = [*leaves, *gets]
    parts += [_checked(holds, _item(below)) for holds, below in node.checks.values()]
    parts += [_answered(answer, _item(below)) for answer, below in node.computed.values()]
    return _all(tuple(parts))


def _all(parts: tuple[Collect, ...]) -> Collect:
    """Do several things with a value."""

    def each(value: object, resource: Resource, place: int, out: Out) -> None:
        for part in parts:
            part(value, resource, place, out)

    return each


def _members(node: _Node) -> tuple[Collect, ...]:
    """Compile the steps from an object to its members."""
    found: list[Collect] = []
    if len(node.gets) == 1:
        ((name, below),) = node.gets.items()
        found.append(_one_member(name, _visit(below)))
    elif node.gets:
        found.append(_some_members({name: _visit(below) for name, below in node.gets.items()}))
    found += [_one_member(get.name, visit) for get, visit in _indexed(node)]
    return tuple(found)


def _one_member(name: str, visit: Collect) -> Collect:
    """Step to the only member that matters."""

    def step(value: object, resource: Resource, place: int, out: Out) -> None:
        if isinstance(value, dict) and (found := value.get(name)) is not None:
            visit(found, resource, place, out)

    return step


def _some_members(visits: Mapping[str, Collect]) -> Collect:
    """Step to the members that matter: by what is there, or by what matters, whichever is less."""
    pairs = tuple(visits.items())
    many = len(pairs)

    def step(value: object, resource: Resource, place: int, out: Out) -> None:
        if not isinstance(value, dict):
            return
        if len(value) < many:
            for name, found in value.items():
                visit = visits.get(name)
                if visit is not None:
                    visit(found, resource, place, out)
        else:
            for name, visit in pairs:
                found = value.get(name)
                if found is not None:
                    visit(found, resource, place, out)

    return step


def _indexed(node: _Node) -> list[tuple[Get, Collect]]:
    """Compile the steps to one item of an array."""
    return [(get, _nth(get.item or 0, _item(below))) for get, below in node.indexed.items()]


def _nth(index: int, item: Collect) -> Collect:
    """Take one item of an array."""

    def visit(value: object, resource: Resource, place: int, out: Out) -> None:
        if isinstance(value, list) and index < len(value) and value[index] is not None:
            item(value[index], resource, place, out)

    return visit


def _checked(holds: Truth, item: Collect) -> Collect:
    """Go on where a condition holds."""

    def check(value: object, resource: Resource, place: int, out: Out) -> None:
        if holds(value, resource):
            item(value, resource, place, out)

    return check


def _answered(answer: Answer, item: Collect) -> Collect:
    """Go on with the answer of a condition."""

    def compute(value: object, resource: Resource, place: int, out: Out) -> None:
        found = answer(value, resource)
        if found is not None:
            item(found, resource, place, out)

    return compute


def _append(value: object, _resource: Resource, _place: int, out: Out) -> None:
    """Keep a value as it is."""
    out.append(value)
