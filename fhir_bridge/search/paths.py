"""Lays out the expressions of search parameters as routes through HL7's element tables.

A choice becomes the JSON names of its types, a type test is decided before any resource is seen, and what is left are
steps from member to member, with a condition here and there. Keeps true: a route leads to elements that R4 has, or the
expression is refused. Trusts `definitions`.
Source: FHIR R4 §3.1.1.9, FHIRPath 2.0.0 §4–§6, FHIR R4 §2.9.8 (FHIRPath in FHIR).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final, NamedTuple

from fhir_bridge.definitions.elements import ancestors, members, type_names
from fhir_bridge.definitions.parameters import SearchParameter
from fhir_bridge.search.expression import (
    Binary,
    Exists,
    Expression,
    Index,
    Member,
    OfType,
    Operator,
    Path,
    ResolvesTo,
    Step,
    Text,
    Union,
    Where,
    parse,
)
from fhir_bridge.search.walk import Check, Compute, Get, Op, Resource, Route, Truth, compile_values, reference_type
from medchain.errors import InputError, NotFoundError

_RESOURCE: Final = "Resource"
_REMEMBERED: Final = 4096


@lru_cache(_REMEMBERED)  # HL7's, some 2,200; who writes definitions may have any number of others
def routes(text: str, type_name: str, content: str = "") -> tuple[Route, ...]:
    """Lay out an expression for a resource type.

    Args:
        text: FHIRPath, as in a SearchParameter.
        type_name: the resource type; parts of the expression that begin with another type are left out.
        content: for the part of a composite: where the members of its items are defined; the routes then start there.

    Returns:
        The ways, in no particular order.

    Raises:
        InputError: ``search.expression`` for what is not understood or leads to no element of R4.
    """
    start = Route((), content or type_name, content or type_name, None)
    return tuple(dict.fromkeys(_Layout(type_name, text).expand(parse(text), start)))


@cache
def is_nested(definition: SearchParameter, type_name: str) -> bool:
    """Tell whether the values of a reference parameter are resources themselves, as Bundle's ``composition`` has.

    What such a one is called is no name of a record here, so that it refers to none.
    """
    found = routes(definition.expression, type_name) if definition.expression else ()
    return any(route.type == _RESOURCE for route in found)


class Targets(NamedTuple):
    """What the references of a parameter may point to.

    Attributes:
        types: resource types.
        urls: whether some are canonicals or other URLs, which need not say a type.
    """

    types: tuple[str, ...]
    urls: bool


@cache
def targets_of(definition: SearchParameter, type_name: str) -> Targets:
    """Tell what a reference parameter may point to: what its elements, its expression and its definition allow.

    Args:
        definition: the parameter.
        type_name: the resource type that is searched.

    Returns:
        The types in alphabetical order.
    """
    found: set[str] = set()
    urls = False
    for route in routes(definition.expression, type_name):
        asked = {op.target for op in route.ops if isinstance(op, Check) and op.target}
        allowed = {one for use in (route.element.types if route.element else ()) for one in use.targets}
        urls = urls or route.type not in ("Reference", _RESOURCE)
        if _RESOURCE in allowed or not allowed:
            allowed = set(type_names("resource"))
        found |= allowed & asked if asked else allowed
    kept = found & set(definition.target) if definition.target else found
    return Targets(tuple(sorted((kept or found) & type_names("resource"))), urls)


def _resolution(condition: Expression) -> str:
    """Name the type, where a condition asks for nothing but the type that a reference points to."""
    match condition:
        case Path((ResolvesTo(type_name),)):
            return type_name
        case _:
            return ""


class _Layout:
    """Lays out one expression for one resource type."""

    def __init__(self, type_name: str, text: str) -> None:
        """Keep what the expression is for, and its text for errors."""
        self._type = type_name
        self._text = text

    def expand(self, expression: Expression, start: Route) -> list[Route]:
        """List the routes of an expression from a start."""
        match expression:
            case Path(steps):
                return self._path(steps, start)
            case Union(parts):
                return [route for part in parts for route in self.expand(part, start)]
            case Binary():
                return [self._answer(expression, start)]
            case Text():
                raise self._error()

    def _answer(self, expression: Expression, start: Route) -> Route:
        """Make a route that ends with the answer of a condition."""
        key = f"{expression!r}@{start.content}"
        return Route((*start.ops, Compute(key, self._truth(expression, start.content))), "boolean", "boolean", None)

    def _path(self, steps: tuple[Step, ...], start: Route) -> list[Route]:
        """Follow the steps of a path."""
        if steps and isinstance(steps[-1], Exists | ResolvesTo):
            return [self._answer(Path(steps), start)] if self._is_ours(steps[0]) else []
        found = [start]
        if steps and isinstance(steps[0], Member):
            root = self._root(steps[0].name, start)
            if root is not None:
                found, steps = root, steps[1:]
        for step in steps:
            if found:
                found = self._step(step, found)
        return found

    def _is_ours(self, step: Step) -> bool:
        """Tell whether a path that begins with a step is about our type."""
        return not isinstance(step, Member) or not step.name[:1].isupper() or step.name in ancestors(self._type)

    def _root(self, name: str, start: Route) -> list[Route] | None:
        """Understand the first name of a path as a type or as the resource; None where it is a member."""
        if name == "%resource":
            return (
                [Route((_from_resource(),), self._type, self._type, None)] if start.content != self._type else [start]
            )
        if not name[:1].isupper():
            return None
        return [start] if name in ancestors(self._type) else []

    def _step(self, step: Step, found: list[Route]) -> list[Route]:
        """Take one step from each route."""
        match step:
            case Member(name):
                further = [route for one in found for route in _to_member(one, name)]
            case Index(number):
                further = [_to_item(one, number) for one in found]
            case OfType(type_name):
                further = [route for one in found for route in _of_type(one, type_name)]
            case Where(condition):
                further = [self._where(one, condition) for one in found]
            case _:
                further = []
        if not further:
            raise self._error()
        return further

    def _where(self, route: Route, condition: Expression) -> Route:
        """Add a condition to a route."""
        target = _resolution(condition)
        check = Check(f"{condition!r}@{route.content}", self._truth(condition, route.content), target)
        return route._replace(ops=(*route.ops, check))

    def _truth(self, expression: Expression, content: str) -> Truth:
        """Compile a condition on items with given members."""
        match expression:
            case Text(bool() as value):
                return lambda _value, _resource: value
            case Binary(operator, left, right):
                return self._combined(operator, left, right, content)
            case Path((*before, Exists(wanted))):
                return _exists(self._values(Path(tuple(before)), content), wanted=wanted)
            case Path((*before, ResolvesTo(type_name))):
                return _resolves(self._values(Path(tuple(before)), content), type_name)
            case Path():
                return _is_true(self._values(expression, content))
        raise self._error()

    def _combined(self, operator: Operator, left: Expression, right: Expression, content: str) -> Truth:
        """Compile two expressions and what stands between them."""
        if operator == "and":
            return _both(self._truth(left, content), self._truth(right, content))
        if operator == "or":
            return _either(self._truth(left, content), self._truth(right, content))
        return _equal(self._values(left, content), self._values(right, content), wanted=operator == "=")

    def _values(self, expression: Expression, content: str) -> Callable[[object, Resource], list[object]]:
        """Compile an expression into a list of its values."""
        if isinstance(expression, Text):
            literal = expression.value
            return lambda _value, _resource: [literal]
        return compile_values(self.expand(expression, Route((), content, content, None)))

    def _error(self) -> InputError:
        """Refuse the expression."""
        return InputError("search.expression", type=self._type)


def _from_resource() -> Op:
    """Begin again at the resource."""
    return Compute("%resource", lambda _value, resource: resource)


def _to_member(route: Route, name: str) -> list[Route]:
    """Step to a member: one route for each type of a choice."""
    content = route.content
    ops = route.ops
    if content in type_names("primitive-type") and ops and isinstance(ops[-1], Get):
        # What a primitive value has beside its value stands in its companion (FHIR R4 §2.6.2.3).
        ops = (*ops[:-1], Get(f"_{ops[-1].name}", ops[-1].item))
    try:
        below = members(content)
    except NotFoundError:
        return []
    return [
        Route((*ops, Get(json_name, None)), member.type, member.content, member.element)
        for json_name, member in below.items()
        if member.element.name == name
    ]


def _to_item(route: Route, number: int) -> Route:
    """Step to one item of the array that a route ends with."""
    if not route.ops or not isinstance(route.ops[-1], Get) or route.ops[-1].item is not None:
        raise InputError("search.expression")
    return route._replace(ops=(*route.ops[:-1], Get(route.ops[-1].name, number)))


def _of_type(route: Route, type_name: str) -> list[Route]:
    """Keep a route whose values have exactly a type, as HL7's parameters mean it; for a resource within, ask it."""
    # HL7 writes DateTime in one composite where it means dateTime.
    wanted = type_name if type_name in type_names("complex-type") else type_name[:1].lower() + type_name[1:]
    if type_name in type_names("resource"):
        if route.type != "Resource":
            return [route] if route.type == type_name else []
        check = Check(f"resource {type_name}", lambda value, _resource: _named(value) == type_name)
        return [Route((*route.ops, check), type_name, type_name, route.element)]
    return [route] if route.type == wanted else []


def _named(value: object) -> object:
    """Return the type of a resource."""
    return value.get("resourceType") if isinstance(value, dict) else None


def _both(left: Truth, right: Truth) -> Truth:
    """Combine by ``and`` (FHIRPath §6.5.1)."""

    def holds(value: object, resource: Resource) -> bool | None:
        first = left(value, resource)
        if first is False:
            return False
        second = right(value, resource)
        return second if first else (False if second is False else None)

    return holds


def _either(left: Truth, right: Truth) -> Truth:
    """Combine by ``or`` (FHIRPath §6.5.2)."""

    def holds(value: object, resource: Resource) -> bool | None:
        first = left(value, resource)
        if first:
            return True
        second = right(value, resource)
        return second if first is False else (True if second else None)

    return holds


def _equal(
    left: Callable[[object, Resource], list[object]], right: Callable[[object, Resource], list[object]], *, wanted: bool
) -> Truth:
    """Compare by ``=`` or ``!=`` (FHIRPath §6.1): empty where a side is, and a text is never a truth value."""

    def holds(value: object, resource: Resource) -> bool | None:
        first, second = left(value, resource), right(value, resource)
        if not first or not second:
            return None
        same = len(first) == len(second) and all(
            isinstance(one, bool) == isinstance(other, bool) and one == other
            for one, other in zip(first, second, strict=True)
        )
        return same == wanted

    return holds


def _exists(values: Callable[[object, Resource], list[object]], *, wanted: bool) -> Truth:
    """Ask whether there is a value."""
    return lambda value, resource: bool(values(value, resource)) == wanted


def _is_true(values: Callable[[object, Resource], list[object]]) -> Truth:
    """Take a single value as a condition (FHIRPath §4.5)."""

    def holds(value: object, resource: Resource) -> bool | None:
        found = values(value, resource)
        return (found[0] is not False) if len(found) == 1 else None

    return holds


def _resolves(values: Callable[[object, Resource], list[object]], type_name: str) -> Truth:
    """Ask whether a reference points to a type."""
    return lambda value, resource: any(reference_type(one, resource) == type_name for one in values(value, resource))
