"""The door to validation: whether a resource is one that this server stores, and what is wrong with it.

Keeps true: what passes has the shape that FHIR R4 gives its type; a strict node also has R4's rules and codes kept.
Trusts `fhir_bridge.validation`.
Source: FHIR R4 §2.6.2, §2.7, §3.1.0.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Self

from fhir_bridge.definitions.elements import is_resource_type
from fhir_bridge.definitions.profiles import PREFIX, profile
from fhir_bridge.document import Element, Resource
from fhir_bridge.search.custom import check_parameter
from fhir_bridge.validation.check import Mode
from fhir_bridge.validation.check import check as judge
from fhir_bridge.validation.issue import Issue, Rule
from fhir_bridge.validation.profiles import inside
from fhir_bridge.validation.repeats import Repeats
from medchain.errors import InputError

TYPE_PATTERN: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
"""How a resource type is written."""

ID_PATTERN: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""How a resource's id is written (FHIR R4 §2.24.0.1, `id`)."""

INVALID: Final = "resource.invalid"
"""Code of a resource that validation refuses."""

_PARAMETERS: Final = "Parameters"
_NOT_STORED: Final = frozenset({_PARAMETERS})
_META: Final = "meta"
_ERRORS: Final = frozenset({"error", "fatal"})


class InvalidResourceError(InputError):
    """A resource that validation refuses; its fields tell the first issue.

    Attributes:
        issues: all that was found.
    """

    def __init__(self, issues: Sequence[Issue], **fields: int | str | None) -> None:
        """Keep what was found."""
        self.issues = tuple(issues)
        first = self.issues[0]
        super().__init__(INVALID, path=first.expression, rule=first.rule.value, **fields)

    def within(self, place: str, index: int) -> Self:
        """Say in which entry of a Bundle it is.

        Args:
            place: FHIRPath of the resource in the Bundle.
            index: of the entry.

        Returns:
            The same issues, in their new places.
        """
        moved = [replace(one, expression=f"{place}{_below(one.expression)}") for one in self.issues]
        return type(self)(moved, entry=index)


def is_storable(type_name: str) -> bool:
    """Tell whether a type is one that this server stores: all of R4 but Parameters, which is none (§2.42)."""
    return is_resource_type(type_name) and type_name not in _NOT_STORED


def check_type(resource: Resource, type_name: str) -> None:
    """Check that a resource is of a type that is stored; raises `InputError` ``resource.type``."""
    if resource.get("resourceType") != type_name or not is_storable(type_name):
        raise InputError("resource.type")


def check(
    resource: Resource,
    type_name: str,
    mode: Mode = Mode.STRICT,
    *,
    content: Callable[[], bytes] | None = None,
    repeats: Repeats | None = None,
) -> None:
    """Check a resource.

    Args:
        resource: parsed by `fhir_bridge.document.parse`.
        type_name: which type it must be.
        mode: how strictly.
        content: writes the resource as JSON, for its size; None for the ordinary way.
        repeats: what is kept between the resources of one request.

    Raises:
        InputError: ``resource.type`` for another or an unknown type.
        InvalidResourceError: with all that is wrong.
    """
    check_type(resource, type_name)
    issues = judge(resource, mode, content=content, repeats=repeats)
    if mode is Mode.STRICT and not issues:
        issues = check_definition(resource)
    errors = [issue for issue in issues if issue.severity in _ERRORS]
    if errors:
        raise InvalidResourceError(errors)


def check_parameters(given: Resource) -> Resource:
    """Check that what an operation is called with is well formed, whatever its parameters are.

    Args:
        given: Parameters; another resource is for who asked for Parameters to refuse.

    Returns:
        What was given.

    Raises:
        InvalidResourceError: with all that is malformed: it would be passed over where nobody looks for it.
    """
    if given.get("resourceType") == _PARAMETERS:
        check_form(given)
    return given


def check_form(given: Resource) -> None:
    """Check that something is well formed, and nothing else; raises `InvalidResourceError` with all that is not."""
    errors = [issue for issue in judge(given, Mode.LENIENT) if issue.severity in _ERRORS]
    if errors:
        raise InvalidResourceError(errors)


def check_definition(resource: Resource) -> list[Issue]:
    """Tell what is wrong with a resource that says how this node is to search, beyond its shape and R4's rules."""
    return check_parameter(resource) if resource.get("resourceType") == "SearchParameter" else []


def warnings(resource: Resource) -> list[Issue]:
    """Warn of what was stored all the same: profiles that were not checked, definitions that are not used."""
    return [*unknown_profiles(resource), *(one for one in check_definition(resource) if one.severity == "warning")]


def is_judged(url: str, type_name: str) -> bool:
    """Tell whether a resource of a type is judged by a profile: HL7's own of R4, or the type itself."""
    return profile(url) is not None or url.partition("|")[0] == PREFIX + type_name


def unknown_profiles(resource: Resource) -> list[Issue]:
    """Warn of the profiles that a resource, or one inside it, claims and that it was not judged by."""
    return [
        Issue(Rule.PROFILE, f"{place}.meta.profile[{number}]", "warning")
        for place, one in inside(resource)
        for number, url in enumerate(_claimed(one))
        if not (isinstance(url, str) and is_judged(url, str(one.get("resourceType"))))
    ]


def _claimed(resource: Resource) -> list[Element]:
    """List the profiles that a resource claims."""
    meta = resource.get(_META)
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    return claimed if isinstance(claimed, list) else []


def _below(expression: str) -> str:
    """Return what follows the type in an expression."""
    _, dot, rest = expression.partition(".")
    return f"{dot}{rest}"
