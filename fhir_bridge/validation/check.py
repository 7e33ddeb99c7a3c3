"""The one door of validation: what is wrong with a resource, as strictly as a node wants it.

Keeps true: what is malformed is refused by every node; a strict one refuses whatever R4 calls an error. Invariants are
judged only of what has the right shape, and so is what the profiles that a resource claims ask for. Trusts the modules
beside it.
Source: FHIR R4 §2.7 (validation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.document import Resource
from fhir_bridge.validation import invariants, structure
from fhir_bridge.validation.invariants import check_invariants
from fhir_bridge.validation.issue import Issue
from fhir_bridge.validation.profiles import check_profiles
from fhir_bridge.validation.repeats import Repeats
from fhir_bridge.validation.structure import MALFORMED, check_structure


class Mode(StrEnum):
    """How strictly resources are judged on their way in."""

    STRICT = "strict"
    LENIENT = "lenient"


def prepare() -> Iterator[None]:
    """Make all that judging any resource needs, type after type, for processes that will be forked from this one."""
    for name in sorted(type_names("resource")):
        for content in structure.prepare(name):
            invariants.prepare(content)
        yield


def check(
    resource: Resource,
    mode: Mode = Mode.STRICT,
    *,
    warnings: bool = False,
    content: Callable[[], bytes] | None = None,
    repeats: Repeats | None = None,
    asked: str = "",
) -> list[Issue]:
    """Check a resource.

    Args:
        resource: parsed by `fhir_bridge.document.parse`.
        mode: what to look for.
        warnings: whether to tell what is unwise as well (`$validate`).
        content: writes the resource as JSON, for its size; None for the ordinary way.
        repeats: what is kept between the resources of one request; not used where warnings are told, nor if lenient.
        asked: URL of a profile by which to judge beside those that the resource claims; empty for none.

    Returns:
        What is wrong; in lenient mode only what is malformed.
    """
    kept = None if warnings or mode is Mode.LENIENT else repeats
    if kept is not None:
        kept.begin()
    issues = check_structure(resource, kept)
    if mode is Mode.LENIENT:
        return [issue for issue in issues if issue.rule in MALFORMED]
    if any(issue.rule in MALFORMED for issue in issues):
        return issues
    issues += check_invariants(resource, warnings=warnings, content=content, repeats=kept)
    issues += check_profiles(resource, asked)
    if kept is not None and not issues:
        kept.found_right()
    return issues
