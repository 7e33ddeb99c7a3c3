"""The shape of a resource: elements, cardinality, choices, primitive values and codes that are bound.

Keeps true: what passes has the shape that R4 gives its type, element by element, contained resources included; nothing
that R4 does not know passes. A type's definition is turned once into tables, so that a resource costs one walk. What is
malformed (`MALFORMED`) is told apart from what a lenient node may let through. Trusts HL7's definitions, and
`fhir_bridge.document` for JSON as such.
Source: FHIR R4 §2.6.2 (JSON), §5.3, §2.26 (ElementDefinition), §4.1.5 (required bindings).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from fhir_bridge.definitions.elements import (
    UNBOUNDED,
    Member,
    ancestors,
    children,
    is_resource_type,
    members,
    type_names,
)
from fhir_bridge.definitions.elements import (
    Element as Definition,
)
from fhir_bridge.document import Element, Resource
from fhir_bridge.validation.bindings import CodeJudge, code_judge
from fhir_bridge.validation.issue import MAX_ISSUES, Finding, Issue, Rule, locate
from fhir_bridge.validation.primitives import Judge, judges
from fhir_bridge.validation.repeats import REPEATED_TYPES, Repeats

MALFORMED: Final = frozenset(
    {Rule.UNKNOWN_ELEMENT, Rule.SHAPE, Rule.SINGLE, Rule.ORDER, Rule.EMPTY, Rule.CHOICE, Rule.VALUE, Rule.TYPE}
)
"""What every node refuses, strict or lenient."""

_RESOURCE: Final = "Resource"
_REFERENCE: Final = "Reference"
_XHTML: Final = "xhtml"
_SIMILAR: Final = 0.6
_ELEMENT_NAME: Final = re.compile(r"_?[a-z](?:[A-Za-z_]|[0-9]{1,2}(?![0-9])){0,63}")
_LITERAL: Final = re.compile(r"(?:.*/)?([A-Z][A-Za-z]{1,63})/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")
# A fragment, an absolute URI, or an address below the base: of a record, or of a search that finds it (§3.1.0.11.2).
_URI: Final = re.compile(r"#\S*|[A-Za-z][A-Za-z0-9+.\-]*:\S+|([A-Z][A-Za-z]{1,63})[/?]\S+")
_LITERALS: Final = "Type/id | URL | #id"


@dataclass(frozen=True, slots=True)
class _Slot:
    """What may stand under one name of a JSON object.

    Attributes:
        step: the element in FHIRPath.
        type: of its value.
        content: where its members are defined; empty for primitive values.
        is_array: whether it is an array in JSON.
        max: largest number of values.
        judge: of a primitive value, else None.
        codes: of what is bound, else None.
        targets: resource types that a Reference may point to; empty for all.
        is_companion: whether it is the underscored companion of a primitive value.
        choice: name of the choice that it belongs to, mostly empty.
        other: name of the value's companion, or of the companion's value.
        place: where values that stand again and again are known by, mostly empty.
        accepts: tells at once that a value is right, of what is a single primitive value and no choice, else None.
    """

    step: str
    type: str
    content: str
    is_array: bool
    max: int
    judge: Judge | None
    codes: CodeJudge | None
    targets: frozenset[str] = frozenset()
    is_companion: bool = False
    choice: str = ""
    other: str = ""
    place: str = ""
    accepts: Judge | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a JSON object may and must hold.

    Attributes:
        slots: name → slot.
        needed: (element in FHIRPath, least number, names under which it may stand).
    """

    slots: Mapping[str, _Slot]
    needed: tuple[tuple[str, int, tuple[str, ...]], ...]


def check_structure(resource: Resource, repeats: Repeats | None = None) -> list[Issue]:
    """Check a resource's shape.

    Args:
        resource: parsed by `fhir_bridge.document.parse`.
        repeats: values that were found right already, and are not looked at again.

    Returns:
        What is wrong with it, at most `MAX_ISSUES`, in the order of the document; nothing if it is right.
    """
    found: list[Finding] = []
    _resource(resource, found, repeats)
    if not found:
        return []
    name = resource.get("resourceType")
    top = name if isinstance(name, str) and is_resource_type(name) else _RESOURCE
    return [one.issue(top) for one in found[:MAX_ISSUES]]


def is_well_formed(value: Resource, content: str) -> bool:
    """Tell whether an object that is no resource has the shape of what it is to be, and all that it holds.

    Args:
        value: parsed as a resource is.
        content: the type, or an element with children of its own.
    """
    found: list[Finding] = []
    _object(value, _shape(content), found, None)
    return not found


def prepare(content: str) -> Iterator[str]:
    """Turn a type into tables before a resource of it is there, with all that it holds.

    Args:
        content: the type, or an element with children of its own.

    Yields:
        What was turned: the type, and what stands in it.
    """
    seen = {content}
    waiting = [content]
    while waiting:
        one = waiting.pop()
        inside = {slot.content for slot in _shape(one).slots.values()} - seen - {"", _RESOURCE}
        seen |= inside
        waiting += inside
        yield one


def _resource(value: Element, found: list[Finding], repeats: Repeats | None) -> None:
    """Check a resource, the outermost or one inside another."""
    if not isinstance(value, dict):
        found.append(Finding(Rule.SHAPE, "object"))
        return
    name = value.get("resourceType")
    if not isinstance(name, str) or not is_resource_type(name):
        found.append(Finding(Rule.TYPE, _RESOURCE))
        return
    _object(value, _shape(name), found, repeats, is_resource=True)


def _object(
    value: Element, shape: _Shape, found: list[Finding], repeats: Repeats | None, *, is_resource: bool = False
) -> None:
    """Check an object of a known shape."""
    if not isinstance(value, dict):
        found.append(Finding(Rule.SHAPE, "object"))
        return
    if not value:
        found.append(Finding(Rule.EMPTY))
        return
    _check_members(value, shape, found, repeats, is_resource=is_resource)
    if len(found) < MAX_ISSUES:
        _check_needed(value, shape, found)


def _check_members(
    value: Resource, shape: _Shape, found: list[Finding], repeats: Repeats | None, *, is_resource: bool
) -> None:
    """Check what an object holds."""
    slots = shape.slots
    chosen: dict[str, _Slot] = {}
    for name, item in value.items():
        slot = slots.get(name)
        # Most values are primitive and right: those are judged at once.
        if slot is not None and slot.accepts is not None and slot.accepts(item):
            continue
        before = len(found)
        if slot is None:
            if not (is_resource and name == "resourceType"):
                found.append(Finding(Rule.UNKNOWN_ELEMENT, _similar(name, shape), name=_tellable(name)))
        else:
            if slot.choice:
                first = chosen.setdefault(slot.choice, slot)
                if first is not slot and first.other != name:
                    found.append(Finding(Rule.CHOICE, slot.choice))
                    before += 1
            if slot.is_array:
                _array(value, item, slot, found, repeats)
            else:
                _value(item, slot, found, repeats)
                if len(found) > before:
                    locate(found, before, slot.step)
        if len(found) >= MAX_ISSUES:
            return


def _check_needed(value: Resource, shape: _Shape, found: list[Finding]) -> None:
    """See that what must be there is."""
    for step, least, names in shape.needed:
        if least == 1 and names[0] in value:
            continue
        given = [value[name] for name in names if name in value]
        if not given or (least > 1 and max(len(item) if isinstance(item, list) else 1 for item in given) < least):
            found.append(Finding(Rule.REQUIRED, f"{least}.."))
            if locate(found, len(found) - 1, step):
                return


def _array(holder: Resource, item: Element, slot: _Slot, found: list[Finding], repeats: Repeats | None) -> None:
    """Check an array of values."""
    before = len(found)
    if not isinstance(item, list):
        found.append(Finding(Rule.SHAPE, "array"))
    elif not item:
        found.append(Finding(Rule.EMPTY))
    elif slot.max != UNBOUNDED and len(item) > slot.max:
        found.append(Finding(Rule.CARDINALITY, f"..{slot.max}"))
    if len(found) != before and locate(found, before, slot.step):
        return
    other = holder.get(slot.other) if slot.other else None
    for index, one in enumerate(item if isinstance(item, list) else ()):
        if one is None and _has(other, index):
            # A primitive value without its extensions or the other way round (§2.6.2.1).
            continue
        before = len(found)
        _value(one, slot, found, repeats)
        if len(found) != before and locate(found, before, f"{slot.step}[{index}]"):
            return


def _has(other: Element, index: int) -> bool:
    """Tell whether a companion array has something at a position."""
    return isinstance(other, list) and index < len(other) and other[index] is not None


def _value(value: Element, slot: _Slot, found: list[Finding], repeats: Repeats | None) -> None:
    """Check one value."""
    if slot.judge is not None:
        if not slot.judge(value):
            found.append(Finding(_misfit(value), slot.type))
        elif slot.codes is not None and not slot.codes.judge(value):
            found.append(Finding(Rule.CODE, slot.codes.value_set))
        return
    if slot.content == _RESOURCE:
        _resource(value, found, repeats)
        return
    if not isinstance(value, dict):
        found.append(Finding(Rule.SINGLE, slot.type) if isinstance(value, list) else Finding(Rule.SHAPE, "object"))
        return
    if repeats is not None and slot.place and repeats.is_right(slot.place, value):
        return
    _object(value, _shape(slot.content), found, repeats)
    if slot.codes is not None and not slot.codes.judge(value):
        found.append(Finding(Rule.CODE, slot.codes.value_set))
    if slot.type == _REFERENCE:
        _check_reference(value, slot.targets, found)


def _misfit(value: Element) -> Rule:
    """Tell what is wrong with what is no value of its primitive type."""
    match value:
        case "" | None:
            return Rule.EMPTY
        case list():
            return Rule.SINGLE
        case _:
            return Rule.VALUE


def _check_reference(value: Resource, targets: frozenset[str], found: list[Finding]) -> None:
    """Check where a Reference points to: to something that has an address (§2.3.0.1), of a type that may stand here."""
    reference = value.get("reference")
    if not isinstance(reference, str):
        reference = ""
    match = _LITERAL.fullmatch(reference) if reference else None
    if targets and not _may_point(value.get("type"), match, targets):
        found.append(Finding(Rule.REFERENCE, " | ".join(sorted(targets))))
    # Most are relative: those are seen to be right at once.
    is_own = match is not None and match.start(1) == 0 and is_resource_type(match[1])
    if reference and not is_own and not _is_uri(reference):
        found.append(Finding(Rule.LITERAL, _LITERALS))
        found[-1].within("reference")


def _is_uri(reference: str) -> bool:
    """Tell whether a literal reference is a URI, and below this server's address one of a type of R4."""
    match = _URI.fullmatch(reference)
    return match is not None and (match[1] is None or is_resource_type(match[1]))


def points_to(value: Resource, targets: frozenset[str]) -> bool:
    """Tell whether a Reference may be one to some types; what does not show its type may be."""
    reference = value.get("reference")
    match = _LITERAL.fullmatch(reference) if isinstance(reference, str) else None
    return _may_point(value.get("type"), match, targets)


def _may_point(stated: Element, match: re.Match[str] | None, targets: frozenset[str]) -> bool:
    """Tell whether a type that is stated, and one that an address has, are of some types."""
    if isinstance(stated, str) and is_resource_type(stated) and stated not in targets:
        return False
    return match is None or not is_resource_type(match[1]) or match[1] in targets


def _similar(name: str, shape: _Shape) -> str:
    """Name the element that was meant by a name that R4 does not know: one of R4's, so it tells nothing."""
    found = difflib.get_close_matches(name, shape.slots, 1, _SIMILAR)
    return found[0] if found else ""


def _tellable(name: str) -> str:
    """Return a name that R4 does not know where it may be told, else nothing.

    FHIR's names begin with a small letter and have no long numbers; names and numbers of people, which wrong programs
    write as keys, mostly look otherwise.
    """
    return name if _ELEMENT_NAME.fullmatch(name) else ""


@cache
def _shape(content: str) -> _Shape:
    """Turn a type, or an element with children of its own, into tables."""
    slots: dict[str, _Slot] = {}
    for name, member in members(content).items():
        slots[name] = _made(content, name, member)
        if slots[name].judge is not None and slots[name].type != _XHTML and not _is_attribute(member):
            slots["_" + name] = _companion(name, slots[name])
    return _Shape(slots, tuple(_needed(element, slots) for element in children(content) if element.min > 0))


def _made(content: str, name: str, member: Member) -> _Slot:
    """Make the slot of a member."""
    element = member.element
    # In FHIRPath a choice is one element, and its type is asked for.
    step = f"{element.name}.ofType({member.type})" if element.choice else name
    judge = judges().get(member.type)
    codes = code_judge(element.binding, member.type)
    is_plain = not element.is_array and not element.choice
    return _Slot(
        step=step,
        type=member.type,
        content="" if judge is not None else _RESOURCE if _is_any_resource(member.type) else member.content,
        is_array=element.is_array,
        max=element.max,
        judge=judge,
        codes=codes,
        targets=_targets(member),
        choice=f"{element.name}[x]" if element.choice else "",
        other="" if judge is None else "_" + name,
        place=f"{content}.{name}" if member.type in REPEATED_TYPES else "",
        accepts=None if judge is None or not is_plain else _accepting(judge, codes),
    )


def _accepting(judge: Judge, codes: CodeJudge | None) -> Judge:
    """Make the judge of a primitive value and of the set that its code is bound to."""
    if codes is None:
        return judge
    is_in = codes.judge
    return lambda value: judge(value) and is_in(value)


def _targets(member: Member) -> frozenset[str]:
    """List the types that a Reference may point to; empty for all, as where HL7 names a profile."""
    if member.type != _REFERENCE:
        return frozenset()
    named = frozenset(target for use in member.element.types if use.code == _REFERENCE for target in use.targets)
    return named if all(is_resource_type(target) for target in named) else frozenset()


def _companion(name: str, slot: _Slot) -> _Slot:
    """Make the slot of a primitive value's id and extensions."""
    return _Slot(
        step=slot.step,
        type="Element",
        content="Element",
        is_array=slot.is_array,
        max=slot.max,
        judge=None,
        codes=None,
        is_companion=True,
        choice=slot.choice,
        other=name,
    )


def _needed(element: Definition, slots: Mapping[str, _Slot]) -> tuple[str, int, tuple[str, ...]]:
    """List the names under which an element that must be there may stand."""
    wanted = {f"{element.name}[x]"} if element.choice else set()
    names = tuple(
        name
        for name, slot in slots.items()
        if (slot.choice in wanted if element.choice else name.removeprefix("_") == element.name)
    )
    return element.name, element.min, names


def _is_attribute(member: Member) -> bool:
    """Tell whether a member is an attribute in XML, which has neither id nor extensions: an element's id, a url."""
    return member.element.path.endswith((".id", "Extension.url")) and not _is_resource_id(member.element)


def _is_resource_id(element: Definition) -> bool:
    """Tell whether an element is the id of a resource, which is an element like others."""
    top = element.path.partition(".")[0]
    return element.path == f"{top}.id" and _RESOURCE in ancestors(top)


def _is_any_resource(type_name: str) -> bool:
    """Tell whether an element holds a resource of whichever type."""
    return type_name in type_names("resource", abstract=True)
