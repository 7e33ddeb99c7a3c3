"""The rules of FHIR R4, compiled, with what can be told of each before its expression is run.

Keeps true: what is told early is what the expression would say. Most objects hold nothing of what a rule speaks of, so
most rules cost a look at names. Trusts `fhir_bridge.fhirpath`.
Source: FHIR R4 §2.26.3 (constraints); FHIRPath 2.0.0 §5.1, §5.2 (functions that look at each item), §6.5 (``or``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, NamedTuple

from fhir_bridge.definitions.elements import Element as Definition
from fhir_bridge.definitions.elements import Invariant, members, type_definition
from fhir_bridge.document import Resource
from fhir_bridge.fhirpath import syntax
from fhir_bridge.fhirpath.engine import Run, Scope, compile_tree, scope_of, truth
from fhir_bridge.fhirpath.node import Node
from fhir_bridge.fhirpath.syntax import Binary, Call, Dot, Index, Name, Tree, TypeTest, Unary, Variable
from medchain.errors import InputError

JUDGED_ELSEWHERE: Final = frozenset({"ele-1", "ext-1", "dom-3", "ref-1", "txt-1", "txt-2"})
"""Rules that `fhir_bridge.validation.invariants` judges by code of its own."""

_LOOKS_FURTHER: Final = frozenset({"children", "descendants", "hasValue", "resolve", "getValue", "extension"})
_OF_EACH: Final = frozenset({"all", "exists", "select", "where"})


class Law(NamedTuple):
    """A rule, compiled.

    Attributes:
        key: such as ``obs-6``.
        severity: ``error`` or ``warning``.
        run: the closure.
        names: JSON names that decide about it; empty if more does.
        unmentioned: what it says of an object that holds none of them.
        enough: sets of JSON names; an object that holds none of one of them keeps the rule.
    """

    key: str
    severity: str
    run: Run
    names: frozenset[str]
    unmentioned: bool
    enough: tuple[frozenset[str], ...] = ()


def holds(law: Law, node: Node, value: Resource, scope: Scope) -> bool:
    """Judge one rule of one object.

    Args:
        law: the rule.
        node: the object, or a primitive value.
        value: the object's members; none of a primitive value.
        scope: of the resource that holds it.

    Returns:
        Whether it is kept.

    Raises:
        InputError: ``fhirpath.size`` if the scope's steps are used up: then nothing is known of the rule.
    """
    if law.names and law.names.isdisjoint(value):
        return law.unmentioned
    for names in law.enough:
        if names.isdisjoint(value):
            return True
    seen = _AT_A_GLANCE.get(law.key)
    if seen is not None and seen(value):
        return True
    try:
        return truth(law.run([node], scope._replace(context=node))) is not False
    except InputError:
        if scope.steps is not None and scope.steps.left < 0:
            raise
        # A rule that this resource makes meaningless: several values where it speaks of one.
        return False


def _is_in_order(period: Resource) -> bool:
    """See that a period ends after it starts (`per-1`), where both are written alike; others are for FHIRPath."""
    start, end = period.get("start"), period.get("end")
    if not (isinstance(start, str) and isinstance(end, str) and len(start) == len(end)):
        return False
    # As precise as one another and of one zone: what comes first in the alphabet comes first.
    return _zone(start) == _zone(end) and start <= end


def _zone(moment: str) -> str:
    """Return the zone of a date with a time; empty for a date alone."""
    if len(moment) <= _DAY_CHARS:
        return ""
    return "Z" if moment.endswith("Z") else moment[-_ZONE_CHARS:]


_DAY_CHARS: Final = len("2026-11-26")
_ZONE_CHARS: Final = len("+08:00")
_AT_A_GLANCE: Final[Mapping[str, Callable[[Resource], bool]]] = {"per-1": _is_in_order}
"""Rules of which one can tell for less than their expression costs that they are kept."""


@cache
def laws_for(content: str, path: str) -> tuple[Law, ...]:
    """Collect the rules of an element and of its value's type.

    Args:
        content: where the value's members are defined.
        path: of the element; empty for a resource.
    """
    stated: dict[str, Invariant] = {}
    for definition in (_definition(content), _definition(path)):
        for invariant in () if definition is None else definition.invariants:
            stated.setdefault(invariant.key, invariant)
    return laws_of(tuple(stated.values()), content)


@cache
def laws_of(invariants: tuple[Invariant, ...], content: str) -> tuple[Law, ...]:
    """Compile rules of what has its members defined at ``content``, without those that are judged by other means."""
    return tuple(
        _law(invariant, content)
        for invariant in invariants
        if invariant.expression and invariant.key not in JUDGED_ELSEWHERE
    )


def _law(invariant: Invariant, content: str) -> Law:
    """Compile one rule, and find out what it says where nothing of it is mentioned."""
    tree = syntax.parse(invariant.expression)
    run = compile_tree(tree)
    names = _named(tree, content)
    unmentioned = not names or _blank_truth(run, content) is not False
    return Law(invariant.key, invariant.severity, run, names, unmentioned, _enough(tree, content))


def _named(tree: Tree, content: str) -> frozenset[str]:
    """List the JSON names on which an expression depends; empty if it depends on more than them."""
    mentioned = _mentioned(tree)
    return frozenset(
        prefix + name
        for name, member in members(content).items()
        if member.element.name in mentioned
        for prefix in ("", "_")
    )


def _blank_truth(run: Run, content: str) -> bool | None:
    """Tell what an expression says of an object that holds nothing."""
    blank = Node({}, content, content)
    return truth(run([blank], scope_of(blank)))


def _enough(tree: Tree, content: str) -> tuple[frozenset[str], ...]:
    """Find what an object need not hold to keep a rule: an alternative that is true of nothing, after harmless ones."""
    found: list[frozenset[str]] = []
    for part in _alternatives(tree):
        names = _named(part, content)
        if names and _blank_truth(compile_tree(part), content) is True:
            found.append(names)
        if not _is_harmless(part):
            # It may make the rule meaningless, whatever those after it say.
            break
    return tuple(found)


def _alternatives(tree: Tree) -> list[Tree]:
    """List what stands between the ``or`` of an expression."""
    if isinstance(tree, Binary) and tree.operator == "or":
        return [*_alternatives(tree.left), *_alternatives(tree.right)]
    return [tree]


def _is_harmless(tree: Tree) -> bool:
    """Tell whether an expression only asks whether a child is there, which has an answer of every object."""
    if not (isinstance(tree, Dot) and isinstance(tree.left, Name) and isinstance(tree.right, Call)):
        return False
    return not tree.right.arguments and tree.right.name in ("empty", "exists")


def _mentioned(tree: Tree) -> frozenset[str]:
    """List the children on which an expression depends; empty if it depends on more than them."""
    found: set[str] = set()
    # What is left to look at, and whether it begins at the object itself.
    waiting: list[tuple[Tree, bool]] = [(tree, True)]
    while waiting:
        part, is_first = waiting.pop()
        if isinstance(part, Name):
            found.update([part.name] if is_first else ())
            continue
        inside = _parts(part, is_first=is_first)
        if inside is None:
            return frozenset()
        waiting += inside
    return frozenset(found)


def _parts(part: Tree, *, is_first: bool) -> list[tuple[Tree, bool]] | None:
    """Take a part of an expression apart; None if it looks at more than children."""
    match part:
        case Variable():
            return [] if part.name == "ucum" or part.name.startswith("vs-") else None
        case Call():
            # Names in arguments are children of something else, or of the same: to name too many does no harm.
            return None if part.name in _LOOKS_FURTHER else [(one, True) for one in part.arguments]
        case Dot():
            is_inside = is_first and _asks_inside(part)
            return [(part.left, is_first)] if is_inside else [(part.left, is_first), (part.right, False)]
        case Binary():
            return [(part.left, True), (part.right, True)]
        case TypeTest(left=inside) | Index(left=inside) | Unary(operand=inside):
            return [(inside, is_first)]
        case _:
            return []


def _asks_inside(part: Dot) -> bool:
    """Tell whether a call looks at each of what a child leads to: where there is none, its argument is not asked."""
    if not (isinstance(part.right, Call) and part.right.name in _OF_EACH):
        return False
    first = part.left
    while isinstance(first, Dot):
        first = first.left
    return isinstance(first, Name)


def _definition(path: str) -> Definition | None:
    """Find an element by its path, or a type's own; None for none."""
    if not path:
        return None
    return next((one for one in type_definition(path.partition(".")[0]).elements if one.path == path), None)
