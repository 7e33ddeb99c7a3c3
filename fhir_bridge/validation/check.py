"""The one door of validation: what is wrong with a resource, as strictly as a node wants it.

Keeps true: what is malformed is refused by every node; a strict one refuses whatever R4 calls an error. Invariants are
judged only of what has the right shape. Trusts the modules beside it.
Source: FHIR R4 §2.7 (validation).
"""

from __future__ import annotations

from enum import StrEnum

from fhir_bridge.document import Resource
from fhir_bridge.validation.invariants import check_invariants
from fhir_bridge.validation.issue import Issue
from fhir_bridge.validation.structure import MALFORMED, check_structure


class Mode(StrEnum):
    """How strictly resources are judged on their way in."""

    STRICT = "strict"
    LENIENT = "lenient"


def check(resource: Resource, mode: Mode = Mode.STRICT, *, warnings: bool = False) -> list[Issue]:
    """Check a resource.

    Args:
        resource: parsed by `fhir_bridge.document.parse`.
        mode: what to look for.
        warnings: whether to tell what is unwise as well (`$validate`).

    Returns:
        What is wrong; in lenient mode only what is malformed.
    """
    issues = check_structure(resource)
    if mode is Mode.LENIENT:
        return [issue for issue in issues if issue.rule in MALFORMED]
    if any(issue.rule in MALFORMED for issue in issues):
        return issues
    return [*issues, *check_invariants(resource, warnings=warnings)]
