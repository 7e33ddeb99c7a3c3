"""Parts of a resource: `_summary` and `_elements`.

Keeps true: what is left out is whole elements; what is mandatory stays, and what changes the meaning of the rest stays;
a part says that it is one (tag SUBSETTED), so that nobody takes it for the whole, and none is stored in place of the
whole. The stored resource stays as it is.
Trusts HL7's definitions.
Source: FHIR R4 §3.1.1.5.8 (_summary), §3.1.1.5.9 (_elements).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum
from functools import cache
from typing import Final

from fhir_bridge.definitions.elements import Element as Definition
from fhir_bridge.definitions.elements import children, members
from fhir_bridge.document import Element, Resource, member
from fhir_bridge.resources import InvalidResourceError
from fhir_bridge.validation.issue import Issue, Rule
from medchain.errors import InputError


class Summary(StrEnum):
    """Values of `_summary` that choose parts of a resource; ``count`` is for searches only."""

    TRUE = "true"
    TEXT = "text"
    DATA = "data"
    FALSE = "false"


_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
_CODE: Final = "SUBSETTED"
SUBSETTED: Final[Element] = {
    "system": _SYSTEM,
    "code": _CODE,
    "display": "Resource encoded in summary mode",
}
"""Tag of a part (§3.1.1.5.8)."""

_ALWAYS: Final = frozenset({"id", "meta", "implicitRules"})
_BASE_OF_RESOURCE: Final = "text"


def check_whole(resource: Resource, before: Resource | None) -> None:
    """See that no part takes the place of the whole: a client that reads a part and sends it back would lose the rest.

    Args:
        resource: about to be stored, whatever its shape.
        before: the newest version; None for none and for a deletion.

    Raises:
        InvalidResourceError: ``resource.part`` (§3.1.1.5.8: "to ensure that the incomplete resource is not accidentally
            used to overwrite a complete resource").
    """
    if before is not None and _is_part(resource) and not _is_part(before):
        raise InvalidResourceError([Issue(Rule.PART, f"{before['resourceType']}.meta.tag", expected="SUBSETTED")])


def _is_part(resource: Resource) -> bool:
    """Tell whether a resource says that it is a part."""
    about = resource.get("meta")
    tags = about.get("tag") if isinstance(about, dict) else None
    rows = [row for row in tags if isinstance(row, dict)] if isinstance(tags, list) else []
    return any((row.get("system"), row.get("code")) == (_SYSTEM, _CODE) for row in rows)


def parse_summary(text: str) -> Summary:
    """Read `_summary`; raises `InputError` ``search.value``."""
    try:
        return Summary(text)
    except ValueError as error:
        raise InputError("search.value", parameter="_summary") from error


def parse_elements(text: str) -> frozenset[str]:
    """Read `_elements`: names of top elements, ``name`` or ``Patient.name``; raises `InputError` ``search.value``."""
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise InputError("search.value", parameter="_elements")
    return names


def summarised(resource: Resource, summary: Summary) -> Resource:
    """Choose the part that `_summary` asks for.

    Args:
        resource: whole; it stays as it is.
        summary: which part.

    Returns:
        The part, or the resource itself for ``false``.
    """
    name = member(resource, "resourceType")
    if summary is Summary.FALSE:
        return resource
    if summary is Summary.DATA:
        return _marked({key: value for key, value in resource.items() if key != _BASE_OF_RESOURCE})
    if summary is Summary.TEXT:
        kept = _ALWAYS | {_BASE_OF_RESOURCE} | _mandatory(name)
        return _marked(_chosen(resource, name, kept))
    return _marked(_summary_of(resource, name))


def with_elements(resource: Resource, wanted: Collection[str]) -> Resource:
    """Choose the elements that `_elements` names, and those that must not be left out.

    Args:
        resource: whole; it stays as it is.
        wanted: as `parse_elements` read them.

    Returns:
        The part.
    """
    name = member(resource, "resourceType")
    prefix = f"{name}."
    mine = (one.removeprefix(prefix) for one in wanted if "." not in one or one.startswith(prefix))
    known = members(name)
    # A choice is an element by one name; who writes it as R4's pages or as JSON do must not be given nothing of it.
    named = {known[one].element.name if one in known else one.removesuffix("[x]") for one in mine}
    return _marked(_chosen(resource, name, _ALWAYS | _mandatory(name) | _modifying(name) | named))


def _chosen(resource: Resource, content: str, kept: Collection[str]) -> Resource:
    """Keep the members of some elements; a choice is named without its type."""
    known = members(content)
    found: Resource = {}
    for key, value in resource.items():
        of = known.get(key.removeprefix("_"))
        if key == "resourceType" or (of is not None and of.element.name in kept):
            found[key] = value
    return found


def _summary_of(value: Resource, content: str) -> Resource:
    """Keep what belongs to a summary, inside backbone elements too."""
    known = members(content)
    found: Resource = {}
    for key, item in value.items():
        of = known.get(key.removeprefix("_"))
        if key == "resourceType":
            found[key] = item
        elif of is not None and (of.element.is_summary or of.element.min > 0):
            found[key] = _inside(item, of.content) if of.element.inline else item
    return found


def _inside(item: Element, content: str) -> Element:
    """Keep what belongs to a summary of one backbone element or of several."""
    if isinstance(item, list):
        return [_inside(one, content) for one in item]
    return _summary_of(item, content) if isinstance(item, dict) else item


def _marked(part: Resource) -> Resource:
    """Say of a part that it is one."""
    meta = part.get("meta")
    known = dict(meta) if isinstance(meta, dict) else {}
    tags = known.get("tag")
    known["tag"] = [*(tags if isinstance(tags, list) else []), SUBSETTED]
    marked: Resource = {}
    for key, value in part.items():
        if key != "meta":
            marked[key] = value
        if key in ("id", "resourceType") and (key == "id" or "id" not in part):
            # Where it stands in R4's order: after the id.
            marked["meta"] = known
    return marked


@cache
def _mandatory(content: str) -> frozenset[str]:
    """List the elements that a resource must have."""
    return _names(content, lambda element: element.min > 0)


@cache
def _modifying(content: str) -> frozenset[str]:
    """List the elements that change the meaning of others."""
    return _names(content, lambda element: element.is_modifier)


def _names(content: str, judge: Callable[[Definition], bool]) -> frozenset[str]:
    """List the top elements of a type that a judge chooses."""
    return frozenset(element.name for element in children(content) if judge(element))
