"""The functions of FHIRPath, and those that FHIR adds.

Keeps true: each compiles its arguments once. Regular expressions are those of HL7's invariants; a text that is matched
is bounded, since some of them backtrack.
Source: FHIRPath 2.0.0 §5; FHIR R4 §2.9.8.2 (additional functions).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Final, TypeAlias

from fhir_bridge.fhirpath.engine import (
    CHARS_OF_A_STEP,
    FALSE,
    MAX_NODES,
    TRUE,
    Function,
    Run,
    Scope,
    boolean,
    compile_tree,
    distinct,
    single,
    truth,
    values_of,
    within,
)
from fhir_bridge.fhirpath.node import SYSTEM, Node, Nodes, all_children, has_type
from fhir_bridge.fhirpath.syntax import Tree, type_name
from fhir_bridge.fhirpath.values import Values, number, text, whole
from medchain.errors import InputError

Test: TypeAlias = Callable[[Nodes, Scope], Nodes]

MAX_MATCHED_CHARS: Final = 4096
"""Longest text that a pattern is tried on."""

_INTEGER: Final = re.compile(r"[+-]?\d{1,10}")


def _plain(make: Callable[[Nodes], Nodes]) -> Function:
    """A function without arguments."""
    return lambda source, _arguments: lambda nodes, scope: make(source(nodes, scope))


def _each(source: Run, criterion: Tree) -> Callable[[Nodes, Scope], list[tuple[Node, bool]]]:
    """Judge each item by a criterion."""
    run = compile_tree(criterion)

    def judge(nodes: Nodes, scope: Scope) -> list[tuple[Node, bool]]:
        return [
            (node, truth(run([node], within(scope, node, place))) is True)
            for place, node in enumerate(source(nodes, scope))
        ]

    return judge


def _where(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``where(criterion)``."""
    judge = _each(source, arguments[0])
    return lambda nodes, scope: [node for node, is_wanted in judge(nodes, scope) if is_wanted]


def _exists(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``exists([criterion])``."""
    if not arguments:
        return lambda nodes, scope: TRUE if source(nodes, scope) else FALSE
    judge = _each(source, arguments[0])
    return lambda nodes, scope: boolean(any(is_wanted for _, is_wanted in judge(nodes, scope)))


def _all(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``all(criterion)``."""
    judge = _each(source, arguments[0])
    return lambda nodes, scope: boolean(all(is_wanted for _, is_wanted in judge(nodes, scope)))


def _select(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``select(projection)``."""
    run = compile_tree(arguments[0])
    return lambda nodes, scope: [
        found for place, node in enumerate(source(nodes, scope)) for found in run([node], within(scope, node, place))
    ]


def _repeat(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``repeat(projection)``."""
    run = compile_tree(arguments[0])

    def walk(nodes: Nodes, scope: Scope) -> Nodes:
        found: Nodes = []
        seen = Values()
        waiting = source(nodes, scope)
        while waiting:
            waiting = [child for node in waiting for child in run([node], within(scope, node, 0)) if seen.add(child)]
            found.extend(waiting)
            if len(found) > MAX_NODES:
                raise InputError("fhirpath.size", limit=MAX_NODES)
        return found

    return walk


def _descendants(nodes: Nodes) -> Nodes:
    """All that lies below."""
    found: Nodes = []
    waiting = nodes
    while waiting:
        waiting = [child for node in waiting for child in all_children(node)]
        found.extend(waiting)
        if len(found) > MAX_NODES:
            raise InputError("fhirpath.size", limit=MAX_NODES)
    return found


def _of_type(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``ofType(type)`` and ``as(type)``."""
    name = type_name(arguments[0])
    return lambda nodes, scope: [node for node in source(nodes, scope) if has_type(node, name)]


def _is(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``is(type)``."""
    name = type_name(arguments[0])

    def test(nodes: Nodes, scope: Scope) -> Nodes:
        found = single(source(nodes, scope))
        return [] if found is None else boolean(has_type(found, name))

    return test


def _iif(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``iif(criterion, then [, otherwise])``."""
    criterion, *rest = (compile_tree(argument) for argument in arguments)

    def choose(nodes: Nodes, scope: Scope) -> Nodes:
        found = source(nodes, scope)
        if truth(criterion(found, scope)):
            return rest[0](found, scope)
        return rest[1](found, scope) if len(rest) > 1 else []

    return choose


def _with_other(combine: Callable[[Nodes, Nodes], Nodes]) -> Function:
    """A function of two collections; the argument starts from the context, not from what the function is called on."""

    def make(source: Run, arguments: tuple[Tree, ...]) -> Run:
        other = compile_tree(arguments[0])
        return lambda nodes, scope: combine(
            source(nodes, scope), other(nodes if scope.this is None else [scope.this], scope)
        )

    return make


def _counted(source: Run, arguments: tuple[Tree, ...], choose: Callable[[Nodes, int], Nodes]) -> Run:
    """A function with a number."""
    run = compile_tree(arguments[0])

    def take(nodes: Nodes, scope: Scope) -> Nodes:
        found = single(run(nodes, scope))
        count = None if found is None else number(found)
        return [] if count is None else choose(source(nodes, scope), whole(count))

    return take


def _of_text(compute: Callable[..., bool | str | int | None], *, by_number: bool = False) -> Function:
    """A function of a text and of texts, or numbers, as arguments; empty where any of them is missing."""

    def make(source: Run, arguments: tuple[Tree, ...]) -> Run:
        runs = [compile_tree(argument) for argument in arguments]

        def apply(nodes: Nodes, scope: Scope) -> Nodes:
            found = single(source(nodes, scope))
            value = None if found is None else text(found)
            if value is None:
                return []
            if scope.steps is not None:
                scope.steps.spend(len(value) // CHARS_OF_A_STEP)
            outside = nodes if scope.this is None else [scope.this]
            given: list[str | int] = []
            for run in runs:
                one = single(run(outside, scope))
                if one is None or one.value is None:
                    return []
                if not isinstance(one.value, Decimal if by_number else str):
                    raise InputError("fhirpath.type")
                given.append(whole(one.value) if isinstance(one.value, Decimal) else one.value)
            return _value(compute(value, *given))

        return apply

    return make


def _value(value: bool | str | int | None) -> Nodes:  # noqa: FBT001  # a value
    """Make a collection of a computed value."""
    if value is None or isinstance(value, bool):
        return boolean(value)
    if isinstance(value, int):
        return [Node(Decimal(value), SYSTEM + "Integer")]
    return [Node(value, SYSTEM + "String")]


@cache
def _pattern(expression: str) -> re.Pattern[str]:
    """Compile a regular expression; raises `InputError` ``fhirpath.pattern``."""
    try:
        return re.compile(expression, re.DOTALL)
    except re.error as error:
        raise InputError("fhirpath.pattern") from error


def _matches(value: str, expression: str) -> bool:
    """``matches(regex)``: whole, as HL7's validator reads R4's invariants."""
    if len(value) > MAX_MATCHED_CHARS:
        return False
    return _pattern(expression).fullmatch(value) is not None


def _replace_matches(value: str, expression: str, by: str) -> str:
    """``replaceMatches(regex, substitution)``."""
    if len(value) > MAX_MATCHED_CHARS:
        raise InputError("fhirpath.size", limit=MAX_MATCHED_CHARS)
    return _pattern(expression).sub(lambda _match: by, value)


def _substring(value: str, start: int, length: int | None = None) -> str | None:
    """``substring(start [, length])``."""
    if not 0 <= start < len(value):
        return None
    return value[start:] if length is None else value[start : start + max(length, 0)]


def _to_integer(nodes: Nodes) -> Nodes:
    """``toInteger()``."""
    found = single(nodes)
    if found is None:
        return []
    if isinstance(found.value, bool):
        return _value(int(found.value))
    if isinstance(found.value, Decimal):
        count = whole(found.value)
        return _value(count) if found.value == count else []
    return _value(int(found.value)) if isinstance(found.value, str) and _INTEGER.fullmatch(found.value) else []


def _to_decimal(nodes: Nodes) -> Nodes:
    """``toDecimal()``."""
    found = single(nodes)
    if found is None or not isinstance(found.value, (str, Decimal)):
        return []
    try:
        return [Node(Decimal(found.value), SYSTEM + "Decimal")]
    except InvalidOperation:
        return []


def _to_string(nodes: Nodes) -> Nodes:
    """``toString()``: a number as it was sent."""
    found = single(nodes)
    if found is None or isinstance(found.value, (dict, list)) or found.value is None:
        return []
    if isinstance(found.value, bool):
        return _value("true" if found.value else "false")
    return _value(getattr(found.value, "text", None) or str(found.value))


def _has_value(nodes: Nodes) -> Nodes:
    """``hasValue()``: exactly one primitive value that is there."""
    return boolean(len(nodes) == 1 and nodes[0].value is not None and not isinstance(nodes[0].value, dict))


def _get_value(nodes: Nodes) -> Nodes:
    """``getValue()``."""
    return nodes if _has_value(nodes) is TRUE else []


def _resolve(source: Run, _arguments: tuple[Tree, ...]) -> Run:
    """``resolve()``: what references point to, as far as it can be found."""

    def follow(nodes: Nodes, scope: Scope) -> Nodes:
        found: Nodes = []
        for node in source(nodes, scope):
            reference = node.value.get("reference") if isinstance(node.value, dict) else node.value
            target = scope.resolve(reference) if isinstance(reference, str) else None
            if target is not None:
                found.append(target)
        return found

    return follow


def _extension(source: Run, arguments: tuple[Tree, ...]) -> Run:
    """``extension(url)``."""
    run = compile_tree(arguments[0])

    def choose(nodes: Nodes, scope: Scope) -> Nodes:
        wanted = single(run(nodes, scope))
        url = None if wanted is None else text(wanted)
        return [
            child
            for node in source(nodes, scope)
            for child in all_children(node)
            if child.name == "extension" and isinstance(child.value, dict) and child.value.get("url") == url
        ]

    return choose


def _shared(left: Nodes, right: Nodes) -> Nodes:
    """``intersect(other)``."""
    held = values_of(right)
    return distinct([node for node in left if node in held])


def _without(left: Nodes, right: Nodes) -> Nodes:
    """``exclude(other)``."""
    held = values_of(right)
    return [node for node in left if node not in held]


def _sub_set(left: Nodes, right: Nodes) -> Nodes:
    """``subsetOf(other)``."""
    held = values_of(right)
    return boolean(all(node in held for node in left))


def _trace(source: Run, _arguments: tuple[Tree, ...]) -> Run:
    """``trace(name)``: the collection itself; nothing is logged, since it would be patient data."""
    return source


def _not(nodes: Nodes) -> Nodes:
    """``not()``."""
    found = truth(nodes)
    return boolean(None if found is None else not found)


FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    "all": (1, 1, _all),
    "as": (1, 1, _of_type),
    "children": (0, 0, _plain(lambda nodes: [child for node in nodes for child in all_children(node)])),
    "combine": (1, 1, _with_other(lambda left, right: [*left, *right])),
    "contains": (1, 1, _of_text(lambda value, other: other in value)),
    "count": (0, 0, _plain(lambda nodes: _value(len(nodes)))),
    "descendants": (0, 0, _plain(_descendants)),
    "distinct": (0, 0, _plain(distinct)),
    "empty": (0, 0, _plain(lambda nodes: boolean(not nodes))),
    "endsWith": (1, 1, _of_text(lambda value, other: value.endswith(other))),
    "exclude": (1, 1, _with_other(_without)),
    "exists": (0, 1, _exists),
    "extension": (1, 1, _extension),
    "first": (0, 0, _plain(lambda nodes: nodes[:1])),
    "getValue": (0, 0, _plain(_get_value)),
    "hasValue": (0, 0, _plain(_has_value)),
    "iif": (2, 3, _iif),
    "indexOf": (1, 1, _of_text(lambda value, other: value.find(other))),
    "intersect": (1, 1, _with_other(_shared)),
    "is": (1, 1, _is),
    "isDistinct": (0, 0, _plain(lambda nodes: boolean(len(distinct(nodes)) == len(nodes)))),
    "last": (0, 0, _plain(lambda nodes: nodes[-1:])),
    "length": (0, 0, _of_text(len)),
    "lower": (0, 0, _of_text(lambda value: value.lower())),
    "matches": (1, 1, _of_text(_matches)),
    "not": (0, 0, _plain(_not)),
    "ofType": (1, 1, _of_type),
    "repeat": (1, 1, _repeat),
    "replace": (2, 2, _of_text(lambda value, old, new: value.replace(old, new))),
    "replaceMatches": (2, 2, _of_text(_replace_matches)),
    "resolve": (0, 0, _resolve),
    "select": (1, 1, _select),
    "single": (0, 0, _plain(lambda nodes: [node for node in [single(nodes)] if node is not None])),
    "skip": (1, 1, lambda source, given: _counted(source, given, lambda nodes, count: nodes[max(count, 0) :])),
    "startsWith": (1, 1, _of_text(lambda value, other: value.startswith(other))),
    "subsetOf": (1, 1, _with_other(_sub_set)),
    "substring": (1, 2, _of_text(_substring, by_number=True)),
    "supersetOf": (1, 1, _with_other(lambda left, right: _sub_set(right, left))),
    "tail": (0, 0, _plain(lambda nodes: nodes[1:])),
    "take": (1, 1, lambda source, given: _counted(source, given, lambda nodes, count: nodes[: max(count, 0)])),
    "toDecimal": (0, 0, _plain(_to_decimal)),
    "toInteger": (0, 0, _plain(_to_integer)),
    "toString": (0, 0, _plain(_to_string)),
    "trace": (1, 2, _trace),
    "union": (1, 1, _with_other(lambda left, right: distinct([*left, *right]))),
    "upper": (0, 0, _of_text(lambda value: value.upper())),
    "where": (1, 1, _where),
}
"""Name → (least number of arguments, most, how it is compiled)."""
