"""The rules that R4 states in FHIRPath: of each element, and of the type of its value.

Keeps true: every rule of severity error is judged wherever R4 states it. Those that cost most or need more than
FHIRPath are judged by code of their own, and give what their expressions say: `ele-1` by the shape itself, `ext-1`,
`dom-3` and `ref-1` below (the last two would compare each reference with each contained resource), the narrative's in
`narrative`. An object that holds none of the names of a rule is judged once for all. What judging looks at grows with a
resource's size and no faster: `STEPS_A_BYTE` bounds it where it could be felt, so that a rule that multiplies what a
stranger repeats is an error of ours that costs nobody's time.
Trusts that the shape was checked before.
Source: FHIR R4 §2.26.3 (constraints), §2.4.1 (dom-*), HL7's definitions of 4.0.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from fhir_bridge.definitions.elements import members, type_definition
from fhir_bridge.document import Element, Resource, write
from fhir_bridge.fhirpath.engine import Scope, Steps, scope_of
from fhir_bridge.fhirpath.node import Node, resource_node
from fhir_bridge.validation.issue import MAX_ISSUES, Finding, Issue, Rule, locate
from fhir_bridge.validation.laws import Law, holds, laws_for, laws_of
from fhir_bridge.validation.narrative import is_narrative
from fhir_bridge.validation.repeats import Repeats
from medchain.encoding import objects_in
from medchain.errors import InputError

SMALL_BYTES: Final = 16_384
"""Size as JSON up to which nothing takes long, whatever is compared with whatever."""

STEPS_A_BYTE: Final = 16
"""Most nodes that the rules of a larger resource look at, for each byte of JSON: R4's own need fewer than one."""

_JUDGED_HERE: Final = frozenset({"Extension", "Narrative", "Reference"})
_CONTAINED: Final = "contained"
_POINTED: Final = re.compile(rb'"#([A-Za-z0-9.-]+)"')
_BEFORE_VALUES: Final = b":,["
_POINTERS: Final = ("reference", "url", "canonical", "uri")


class _Judging(NamedTuple):
    """What all of a resource is judged with.

    Attributes:
        scope: of the innermost resource.
        warnings: whether rules of that severity are judged as well.
        repeats: values that were found right already.
    """

    scope: Scope
    warnings: bool
    repeats: Repeats | None


def check_invariants(
    resource: Resource,
    *,
    warnings: bool = False,
    content: Callable[[], bytes] | None = None,
    repeats: Repeats | None = None,
) -> list[Issue]:
    """Check the rules of a resource and of all that it holds.

    Args:
        resource: of the right shape.
        warnings: whether rules of that severity are judged as well (`$validate`).
        content: writes the resource as JSON, for its size; None for the ordinary way.
        repeats: as `fhir_bridge.validation.structure.check_structure` has left it; none where warnings are judged.

    Returns:
        What is broken, at most `MAX_ISSUES`; `Rule.COSTLY` alone if it took too much to tell.
    """
    root = resource_node(resource)
    found: list[Finding] = []
    size_bytes = len(write(resource) if content is None else content())
    steps = Steps(STEPS_A_BYTE * size_bytes) if size_bytes > SMALL_BYTES else None
    scope = scope_of(root)._replace(inside=_ids_inside(resource), steps=steps)
    try:
        _resource(root, _Judging(scope, warnings, repeats), found)
    except InputError:
        # Where in the resource it was cannot be told of what was not judged to the end.
        return [Issue(Rule.COSTLY, root.type)]
    return [one.issue(root.type) for one in found[:MAX_ISSUES]]


def prepare(content: str) -> None:
    """Compile the rules of a type, or of an element with children of its own, before a resource of it is there."""
    laws_for(content, "")
    _table(content)


def _resource(node: Node, judging: _Judging, found: list[Finding]) -> None:
    """Check a resource, the outermost or one inside another."""
    if not isinstance(node.value, dict):
        return
    inner = judging._replace(scope=judging.scope._replace(resource=node, context=node))
    if "contained" in node.value:
        _check_contained(node.value, found)
    _object(node.value, _Below("", node.type, node.content, laws_for(node.content, "")), inner, found)


def _object(value: Element, kind: _Below, judging: _Judging, found: list[Finding]) -> None:
    """Check an object and what it holds."""
    if not isinstance(value, dict):
        return
    if kind.laws:
        _judge(kind.laws, Node(value, kind.type, kind.content), value, judging, found)
    if kind.type in _JUDGED_HERE:
        _judge_here(kind.type, value, judging.scope, found)
    table = _table(kind.content)
    # Most small values hold nothing that has rules, and to see that is one call.
    for name, item in () if table.keys().isdisjoint(value) else value.items():
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


def _judge_here(type_name: str, value: Resource, scope: Scope, found: list[Finding]) -> None:
    """Judge the rules of an object that have code of their own."""
    if type_name == "Extension" and ("extension" in value) == any(
        name.startswith(("value", "_value")) for name in value
    ):
        found.append(Finding(Rule.INVARIANT, "ext-1"))
    if type_name == "Reference" and not _is_inside(value.get("reference"), scope):
        found.append(Finding(Rule.INVARIANT, "ref-1"))
    if type_name == "Narrative" and not is_narrative(str(value.get("div", ""))):
        found.append(Finding(Rule.NARRATIVE, "txt-1, txt-2"))
        found[-1].within("div")


def _below(value: Element, below: _Below, judging: _Judging, found: list[Finding]) -> None:
    """Check one value of an element."""
    if below.content:
        if judging.repeats is None or not judging.repeats.was_passed(value):
            _object(value, below, judging, found)
    elif below.type and isinstance(value, dict):
        node = resource_node(value)
        if below.step != _CONTAINED:
            # What an entry of a Bundle contains is its own (FHIR R4 fhirpath.html, %rootResource).
            judging = judging._replace(scope=judging.scope._replace(root=node, inside=_ids_inside(value)))
        _resource(node, judging, found)
    else:
        # A primitive value with rules of its own, such as ElementDefinition.max.
        _judge(below.laws, Node(value, "string", "Element"), {}, judging, found)


def _judge(laws: tuple[Law, ...], node: Node, value: Resource, judging: _Judging, found: list[Finding]) -> None:
    """Judge the rules of one object."""
    found += [
        Finding(Rule.INVARIANT, law.key, law.severity)
        for law in laws
        if (judging.warnings or law.severity == "error") and not holds(law, node, value, judging.scope)
    ]


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
    laws: tuple[Law, ...]


@cache
def _table(content: str) -> dict[str, _Below]:
    """List the members of an object that have rules, or hold something that may."""
    found: dict[str, _Below] = {}
    for name, member in members(content).items():
        kind = type_definition(member.type).kind
        step = f"{member.element.name}.ofType({member.type})" if member.element.choice else name
        if kind == "primitive-type":
            laws = tuple(law for law in laws_of(member.element.invariants, member.element.path) if law.key)
            if laws:
                found[name] = _Below(step, "", "", laws)
            if "Element" not in content:
                found["_" + name] = _Below(step, "Element", "Element", ())
        elif kind == "resource":
            found[name] = _Below(step, "Resource", "", ())
        else:
            found[name] = _Below(step, member.type, member.content, laws_for(member.content, member.element.path))
    return found


def _ids_inside(resource: Resource) -> frozenset[str]:
    """List the ids of what a resource contains."""
    contained = resource.get("contained")
    rows = contained if isinstance(contained, list) else []
    return frozenset(str(one["id"]) for one in rows if isinstance(one, dict) and isinstance(one.get("id"), str))


def _is_inside(reference: Element, scope: Scope) -> bool:
    """Judge `ref-1`: what a reference names inside the resource is contained in it; ``#`` is the resource itself."""
    return not isinstance(reference, str) or reference[:1] != "#" or reference == "#" or reference[1:] in scope.inside


def _check_contained(resource: Resource, found: list[Finding]) -> None:
    """Judge `dom-3`: each contained resource is referred to from the rest, or refers to what holds it.

    By an id of its own: of two with one id nobody can tell which a reference means (FHIR R4, Element.id: "unique id
    for the element within a resource").
    """
    contained = resource["contained"]
    # An id needs no escapes, and a quote within a text has one: what is found so are whole texts. What comes before is
    # looked at afterwards: a pattern that begins with it is tried at every byte.
    text = write(resource)
    found_here = _POINTED.finditer(text)
    pointed = {match[1].decode() for match in found_here if text[match.start() - 1] in _BEFORE_VALUES}
    known: set[Element] = set()
    for place, one in enumerate(contained if isinstance(contained, list) else []):
        if not isinstance(one, dict):
            continue
        named = one.get("id")
        if named is not None and named in known:
            found.append(Finding(Rule.DUPLICATE))
            found[-1].within(f"contained[{place}].id")
        known.add(named)
        if named in pointed:
            continue
        if not any(inner.get(name) == "#" for inner in objects_in(one) for name in _POINTERS):
            found.append(Finding(Rule.INVARIANT, "dom-3"))
            found[-1].within(f"contained[{place}]")
