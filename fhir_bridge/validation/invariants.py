"""The rules that R4 states in FHIRPath: of each element, and of the type of its value.

Keeps true: every rule of severity error is judged wherever R4 states it. Those that cost most or need more than
FHIRPath are judged by code of their own, and give what their expressions say: `ele-1` by the shape itself, `ext-1`,
`dom-3` and `ref-1` below (the last two would compare each reference with each contained resource), the narrative's in
`narrative`. An object that holds none of the names of a rule is judged once for all.
Trusts that the shape was checked before.
Source: FHIR R4 §2.26.3 (constraints), §2.4.1 (dom-*), HL7's definitions of 4.0.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final, NamedTuple

from fhir_bridge.definitions.elements import Element as Definition
from fhir_bridge.definitions.elements import Invariant, members, type_definition
from fhir_bridge.document import Element, Resource, objects
from fhir_bridge.fhirpath import syntax
from fhir_bridge.fhirpath.engine import Run, Scope, compile_tree, scope_of, truth
from fhir_bridge.fhirpath.node import Node, resource_node
from fhir_bridge.fhirpath.syntax import Binary, Call, Dot, Index, Name, Tree, TypeTest, Unary, Variable
from fhir_bridge.validation.issue import MAX_ISSUES, Finding, Issue, Rule, locate
from fhir_bridge.validation.narrative import is_narrative
from medchain.errors import InputError

_JUDGED_ELSEWHERE: Final = frozenset({"ele-1", "ext-1", "dom-3", "ref-1", "txt-1", "txt-2"})
_LOOKS_FURTHER: Final = frozenset({"children", "descendants", "hasValue", "resolve", "getValue", "extension"})
_OF_EACH: Final = frozenset({"all", "exists", "select", "where"})
_POINTERS: Final = ("reference", "url", "canonical", "uri")


class _Law(NamedTuple):
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


class _Judging(NamedTuple):
    """What all of a resource is judged with.

    Attributes:
        scope: of the innermost resource.
        warnings: whether rules of that severity are judged as well.
    """

    scope: Scope
    warnings: bool


def check_invariants(resource: Resource, *, warnings: bool = False) -> list[Issue]:
    """Check the rules of a resource and of all that it holds.

    Args:
        resource: of the right shape.
        warnings: whether rules of that severity are judged as well (`$validate`).

    Returns:
        What is broken, at most `MAX_ISSUES`.
    """
    root = resource_node(resource)
    found: list[Finding] = []
    _resource(root, _Judging(replace(scope_of(root), inside=_ids_inside(resource)), warnings), found)
    return [one.issue(root.type) for one in found[:MAX_ISSUES]]


def _resource(node: Node, judging: _Judging, found: list[Finding]) -> None:
    """Check a resource, the outermost or one inside another."""
    inner = judging._replace(scope=replace(judging.scope, resource=node, context=node))
    if isinstance(node.value, dict) and "contained" in node.value:
        _check_contained(node.value, found)
    _object(node, _laws(node.content, ""), inner, found)


def _object(node: Node, laws: tuple[_Law, ...], judging: _Judging, found: list[Finding]) -> None:
    """Check an object and what it holds."""
    value = node.value
    if not isinstance(value, dict):
        return
    _judge(laws, node, value, judging, found)
    if node.type == "Extension" and ("extension" in value) == any(
        name.startswith(("value", "_value")) for name in value
    ):
        found.append(Finding(Rule.INVARIANT, "ext-1"))
    if node.type == "Reference" and not _is_inside(value.get("reference"), judging.scope):
        found.append(Finding(Rule.INVARIANT, "ref-1"))
    if node.type == "Narrative" and not is_narrative(str(value.get("div", ""))):
        found.append(Finding(Rule.NARRATIVE, "txt-1, txt-2"))
        found[-1].within("div")
    table = _table(node.content)
    for name, item in value.items():
        below = table.get(name)
        if below is None or len(found) >= MAX_ISSUES:
            continue
        if isinstance(item, list):
            for place, one in enumerate(item):
                before = len(found)
                _below(one, below, judging, found)
                if len(found) != before and locate(found, before, f"{below.step}[{place}]"):
                    break
        else:
            before = len(found)
            _below(item, below, judging, found)
            if len(found) != before:
                locate(found, before, below.step)


def _below(value: Element, below: _Below, judging: _Judging, found: list[Finding]) -> None:
    """Check one value of an element."""
    if below.content:
        _object(Node(value, below.type, below.content), below.laws, judging, found)
    elif below.type and isinstance(value, dict):
        _resource(resource_node(value), judging, found)
    else:
        # A primitive value with rules of its own, such as ElementDefinition.max.
        _judge(below.laws, Node(value, "string", "Element"), {}, judging, found)


def _judge(laws: tuple[_Law, ...], node: Node, value: Resource, judging: _Judging, found: list[Finding]) -> None:
    """Judge the rules of one object."""
    for law in laws:
        if (judging.warnings or law.severity == "error") and not _holds(law, node, value, judging.scope):
            found.append(Finding(Rule.INVARIANT, law.key, law.severity))


def _holds(law: _Law, node: Node, value: Resource, scope: Scope) -> bool:
    """Judge one rule of one object."""
    if law.names and law.names.isdisjoint(value):
        return law.unmentioned
    for names in law.enough:
        if names.isdisjoint(value):
            return True
    seen = _AT_A_GLANCE.get(law.key)
    if seen is not None and seen(value):
        return True
    try:
        return truth(law.run([node], replace(scope, context=node))) is not False
    except InputError:
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


class _Below(NamedTuple):
    """What is checked below one JSON name.

    Attributes:
        step: the element in FHIRPath.
        type: of its value; empty for a primitive one.
        content: where the value's own members are; empty for a resource of whichever type and for a primitive value.
        laws: of the element and of its value's type.
    """

    step: str
    type: str
    content: str
    laws: tuple[_Law, ...]


@cache
def _table(content: str) -> dict[str, _Below]:
    """List the members of an object that have rules, or hold something that may."""
    found: dict[str, _Below] = {}
    for name, member in members(content).items():
        kind = type_definition(member.type).kind
        step = f"{member.element.name}.ofType({member.type})" if member.element.choice else name
        if kind == "primitive-type":
            laws = tuple(law for law in _laws_of(member.element.invariants, member.element.path) if law.key)
            if laws:
                found[name] = _Below(step, "", "", laws)
            if "Element" not in content:
                found["_" + name] = _Below(step, "Element", "Element", ())
        elif kind == "resource":
            found[name] = _Below(step, "Resource", "", ())
        else:
            found[name] = _Below(step, member.type, member.content, _laws(member.content, member.element.path))
    return found


@cache
def _laws(content: str, path: str) -> tuple[_Law, ...]:
    """Collect the rules of an element and of its value's type."""
    stated: dict[str, Invariant] = {}
    for definition in (_definition(content), _definition(path)):
        for invariant in () if definition is None else definition.invariants:
            stated.setdefault(invariant.key, invariant)
    return _laws_of(tuple(stated.values()), content)


@cache
def _laws_of(invariants: tuple[Invariant, ...], content: str) -> tuple[_Law, ...]:
    """Compile rules."""
    return tuple(
        _law(invariant, content)
        for invariant in invariants
        if invariant.expression and invariant.key not in _JUDGED_ELSEWHERE
    )


def _law(invariant: Invariant, content: str) -> _Law:
    """Compile one rule, and find out what it says where nothing of it is mentioned."""
    tree = syntax.parse(invariant.expression)
    run = compile_tree(tree)
    names = _named(tree, content)
    unmentioned = not names or _blank_truth(run, content) is not False
    return _Law(invariant.key, invariant.severity, run, names, unmentioned, _enough(tree, content))


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
    is_question = isinstance(tree, Dot) and isinstance(tree.right, Call) and not tree.right.arguments
    return is_question and isinstance(tree.left, Name) and tree.right.name in ("empty", "exists")


def _mentioned(tree: Tree) -> frozenset[str]:
    """List the children on which an expression depends; empty if it depends on more than them."""
    found: set[str] = set()
    # What is left to look at, and whether it begins at the object itself.
    waiting: list[tuple[Tree, bool]] = [(tree, True)]
    while waiting:
        part, is_first = waiting.pop()
        if isinstance(part, Name):
            found.update([part.name] if is_first else ())
        elif isinstance(part, Variable):
            if part.name != "ucum" and not part.name.startswith("vs-"):
                return frozenset()
        elif isinstance(part, Call):
            if part.name in _LOOKS_FURTHER:
                return frozenset()
            # Names in arguments are children of something else, or of the same: to name too many does no harm.
            waiting.extend((one, True) for one in part.arguments)
        elif isinstance(part, Dot) and is_first and _asks_inside(part):
            waiting.append((part.left, True))
        elif isinstance(part, (Dot, Binary)):
            is_both = isinstance(part, Binary)
            waiting.extend([(part.left, is_first or is_both), (part.right, is_both)])
        elif isinstance(part, (TypeTest, Index)):
            waiting.append((part.left, is_first))
        elif isinstance(part, Unary):
            waiting.append((part.operand, is_first))
    return frozenset(found)


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


def _ids_inside(resource: Resource) -> frozenset[str]:
    """List the ids of what a resource contains."""
    contained = resource.get("contained")
    rows = contained if isinstance(contained, list) else []
    return frozenset(str(one["id"]) for one in rows if isinstance(one, dict) and isinstance(one.get("id"), str))


def _is_inside(reference: Element, scope: Scope) -> bool:
    """Judge `ref-1`: what a reference names inside the resource is contained in it; ``#`` is the resource itself."""
    return not isinstance(reference, str) or reference[:1] != "#" or reference == "#" or reference[1:] in scope.inside


def _check_contained(resource: Resource, found: list[Finding]) -> None:
    """Judge `dom-3`: each contained resource is referred to from the rest, or refers to what holds it."""
    contained = resource["contained"]
    pointed = {
        item[1:]
        for inner in objects(resource)
        for value in inner.values()
        for item in (value if isinstance(value, list) else (value,))
        if isinstance(item, str) and item.startswith("#")
    }
    for place, one in enumerate(contained if isinstance(contained, list) else []):
        if not isinstance(one, dict) or one.get("id") in pointed:
            continue
        if not any(inner.get(name) == "#" for inner in objects(one) for name in _POINTERS):
            found.append(Finding(Rule.INVARIANT, "dom-3"))
            found[-1].within(f"contained[{place}]")
