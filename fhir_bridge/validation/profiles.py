"""Whether a resource is what the profiles say that it claims, as far as they are HL7's own.

Keeps true: what a profile asks for is judged whole: cardinality, types, targets of references, fixed values, patterns,
required bindings, rules and slices; a resource that claims none of them costs a look at its `meta`, and those of what
stands inside it (contained resources, entries of a Bundle), which is judged by what it claims itself. Trusts that the
shape was checked before.
Source: FHIR R4 §5.1.0.14 (slicing), ElementDefinition; Meta.profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import orjson

from fhir_bridge.definitions.codes import code_set
from fhir_bridge.definitions.profiles import NO_LIMIT, PREFIX, Constraint, Profile, profile
from fhir_bridge.document import Number, Resource, member
from fhir_bridge.fhirpath.engine import Scope, scope_of
from fhir_bridge.fhirpath.node import Node, children, resource_node
from fhir_bridge.validation.issue import MAX_ISSUES, Issue, Rule
from fhir_bridge.validation.laws import holds, laws_of
from fhir_bridge.validation.structure import points_to

_CHOICE: Final = "[x]"
# Where resources stand in others, and below which element of a row; nothing for the row itself.
_HOLDING: Final = {"contained": "", "entry": "resource", "parameter": "resource"}
_THIS: Final = "$this"
# Of a choice, a binding is of those types alone that may have one (ElementDefinition, eld-11), as primitive ones.
_CODED: Final = frozenset({"canonical", "code", "string", "uri", "url"})
_MAX_TOLD_CHARS: Final = 200


def check_profiles(resource: Resource, asked: str = "") -> list[Issue]:
    """Judge a resource, and those inside it, by the profiles that they claim.

    Args:
        resource: of the right shape.
        asked: URL of one more for the resource itself; empty for none.

    Returns:
        What is wrong, at most `MAX_ISSUES`; nothing is said of profiles that are not known.
    """
    found: dict[Issue, None] = {}
    for place, one in inside(resource):
        for issue in _claimed(one, asked if one is resource else ""):
            below = issue.expression.removeprefix(member(one, "resourceType"))
            found[replace(issue, expression=f"{place}{below}")] = None
        if len(found) >= MAX_ISSUES:
            break
    return list(found)[:MAX_ISSUES]


def inside(resource: Resource, place: str = "") -> Iterator[tuple[str, Resource]]:
    """List a resource and all that stand inside it, each with its place in FHIRPath, from the resource's type on.

    Args:
        resource: of the right shape.
        place: its own; empty for the name of its type.
    """
    here = place or member(resource, "resourceType")
    yield here, resource
    for name, below in _HOLDING.items():
        rows = resource.get(name)
        for number, row in enumerate(rows if isinstance(rows, list) else ()):
            held = row.get(below) if below and isinstance(row, dict) else row
            if isinstance(held, dict) and "resourceType" in held:
                yield from inside(held, f"{here}.{name}[{number}]" + (f".{below}" if below else ""))


def _claimed(resource: Resource, asked: str) -> list[Issue]:
    """Judge a resource by what it claims, and by what it is asked to fulfil."""
    meta = resource.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    urls = {
        url: place for place, url in enumerate(claimed if isinstance(claimed, list) else ()) if isinstance(url, str)
    }
    if not urls and not asked:
        return []
    name = member(resource, "resourceType")
    found: dict[Issue, None] = {}
    for url in dict.fromkeys([*urls, *([asked] if asked else [])]):
        known = profile(url)
        if known is not None and known.type != name:
            place = f"{name}.meta.profile[{urls[url]}]" if url in urls else name
            found[Issue(Rule.CLAIM, place, expected=f"{known.name}: {known.type}")] = None
        elif known is not None:
            found |= dict.fromkeys(_judged(known, resource))
    return list(found)


def _judged(known: Profile, resource: Resource) -> list[Issue]:
    """Judge a resource by one profile."""
    root = resource_node(resource)
    judge = _Judge(known, scope_of(root), [])
    judge.value(known.root, root, root.type)
    return judge.found


@dataclass(frozen=True, slots=True)
class _Judge:
    """Judges by one profile."""

    profile: Profile
    scope: Scope
    found: list[Issue]

    def value(self, one: Constraint, node: Node, place: str) -> None:
        """Judge a value, and what it holds."""
        if len(self.found) >= MAX_ISSUES:
            return
        for problem in self._problems(one, node):
            self._tell(place, problem)
        for below in one.children:
            name = below.name.removesuffix(_CHOICE)
            nodes = [(each, f"{place}.{_step(each, below)}") for each in children(node, name)]
            self._count(below, len(nodes), f"{place}.{name}")
            for each, inside in nodes:
                self.value(below, each, inside)
            if below.slicing is not None:
                self._slices(below, nodes, f"{place}.{name}")

    def _problems(self, one: Constraint, node: Node) -> Iterator[str]:
        """Say what a value itself is not."""
        value = node.value
        if one.types and node.type not in one.types:
            yield " | ".join(one.types)
        if one.targets and isinstance(value, dict) and node.type == "Reference" and not _may_point(value, one.targets):
            yield "Reference(" + " | ".join(one.targets) + ")"
        for wanted, is_whole in ((one.fixed, True), (one.pattern, False)):
            if wanted is not None and not fits(value, wanted, is_whole=is_whole):
                yield _told(wanted)
        if one.binding and (isinstance(value, dict) or node.type in _CODED) and not _is_bound(value, one.binding):
            yield one.binding
        inside = value if isinstance(value, dict) else {}
        for law, rule in zip(laws_of(one.rules, node.content or "Element"), one.rules, strict=True):
            if not holds(law, node, inside, self.scope):
                yield f"{rule.key}: {rule.human}"

    def _slices(self, one: Constraint, nodes: Sequence[tuple[Node, str]], place: str) -> None:
        """Judge the slices of an element's values."""
        slicing, counts, last = one.slicing, [0] * len(one.slices), 0
        if slicing is None:
            return
        for node, inside in nodes:
            number = next((at for at, each in enumerate(one.slices) if _is_of(each, slicing.ways, node)), None)
            if number is None:
                if not slicing.is_open:
                    self._tell(inside, " | ".join(each.slice for each in one.slices))
                continue
            if slicing.is_ordered and number < last:
                self._tell(inside, one.slices[number].slice)
            counts[number], last = counts[number] + 1, number
            self.value(one.slices[number], node, inside)
        for each, count in zip(one.slices, counts, strict=True):
            self._count(each, count, place)

    def _count(self, one: Constraint, count: int, place: str) -> None:
        """Judge a number of values."""
        if count < one.min or (one.max != NO_LIMIT and count > one.max):
            most = "" if one.max == NO_LIMIT else one.max
            self._tell(place, f"{one.slice} {one.min}..{most}".strip())

    def _tell(self, place: str, problem: str) -> None:
        """Note a problem."""
        self.found.append(Issue(Rule.CLAIM, place, expected=f"{self.profile.name}: {problem}"))


def _step(node: Node, one: Constraint) -> str:
    """Write the step to a value."""
    step = f"{node.name}.ofType({node.type})" if one.name.endswith(_CHOICE) else node.name
    return step if node.place < 0 else f"{step}[{node.place}]"


def _is_of(one: Constraint, ways: Sequence[tuple[str, str]], node: Node) -> bool:
    """Tell whether a value is of a slice, by all discriminators."""
    for kind, path in ways:
        if kind == "type":
            if node.type not in one.types:
                return False
        elif one.extension:
            if not isinstance(node.value, dict) or node.value.get(path) != one.extension:
                return False
        else:
            steps = [] if path == _THIS else path.split(".")
            wanted, given = list(_wanted(one, steps)), list(_given(node.value, steps))
            if not any(fits(value, each, is_whole=is_whole) for value in given for each, is_whole in wanted):
                return False
    return True


def _wanted(one: Constraint, steps: Sequence[str]) -> Iterator[tuple[object, bool]]:
    """List the values that a slice has at a path, and whether each is the whole value."""
    if not steps:
        if one.fixed is not None:
            yield one.fixed, True
        if one.pattern is not None:
            yield one.pattern, False
        return
    for below in one.children:
        if below.name == steps[0]:
            yield from _wanted(below, steps[1:])
            for each in below.slices:
                yield from _wanted(each, steps[1:])


def _given(value: object, steps: Sequence[str]) -> Iterator[object]:
    """List the values that there are at a path."""
    if isinstance(value, list):
        for one in value:
            yield from _given(one, steps)
    elif not steps:
        yield value
    elif isinstance(value, dict) and steps[0] in value:
        yield from _given(value[steps[0]], steps[1:])


def fits(value: object, wanted: object, *, is_whole: bool) -> bool:
    """Compare a value with one that is fixed, or with what it must contain (ElementDefinition.fixed[x], pattern[x]).

    Args:
        value: of a resource, numbers as they were sent.
        wanted: by a profile.
        is_whole: whether nothing else may be in it.
    """
    if isinstance(wanted, dict):
        return (
            isinstance(value, dict)
            and (not is_whole or value.keys() == wanted.keys())
            and all(fits(value.get(name), one, is_whole=is_whole) for name, one in wanted.items())
        )
    if isinstance(wanted, list):
        if not isinstance(value, list) or (is_whole and len(value) != len(wanted)):
            return False
        if is_whole:
            return all(fits(one, other, is_whole=True) for one, other in zip(value, wanted, strict=True))
        return all(any(fits(one, other, is_whole=False) for one in value) for other in wanted)
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return isinstance(value, Number) and Decimal(value.text) == Decimal(str(wanted))
    return value == wanted and type(value) is type(wanted)


def _is_bound(value: object, value_set: str) -> bool:
    """Judge what has codes by a value set; one that cannot be listed refuses nothing."""
    listed = code_set(value_set)
    if listed is None or value is None:
        return True
    if not isinstance(value, dict):
        return any(value in codes for codes in listed.values())
    codings = value.get("coding", [value])
    given = [one for one in codings if isinstance(one, dict) and "code" in one] if isinstance(codings, list) else []
    # Nothing in it but text, or why there is no code, says nothing that could be outside the set.
    return not given or any(one["code"] in listed.get(str(one.get("system")), ()) for one in given)


def _may_point(value: Resource, targets: Sequence[str]) -> bool:
    """Tell whether a Reference may be one to these types, or to resources of these profiles."""
    types = frozenset(target if (known := profile(PREFIX + target)) is None else known.type for target in targets)
    return points_to(value, types)


def _told(wanted: object) -> str:
    """Write what a profile fixes."""
    return wanted if isinstance(wanted, str) else orjson.dumps(wanted).decode()[:_MAX_TOLD_CHARS]
