"""The door to fhir.resources: a second opinion about a resource, by a library that knows nothing of our own validation.

Keeps true: it is asked only where a client wants to know (`$validate`), never decides what is stored, and is never the
source of a stored byte. Its models are those of R4B: of the types in which R4B differs from R4 it says nothing. They
take seconds and memory to load, so nothing loads them before the first question.
Source: `docs/adr/0002-dependencies.md`, `docs/adr/0020-rest-server-without-framework.md`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from fhir_bridge.document import Resource, member, write
from fhir_bridge.validation.issue import Issue, Rule

DIFFERENT: Final = frozenset({"Evidence", "EvidenceVariable"})
"""Types that R4B has in another shape than R4; those that it lacks are found by asking."""

_SAFE_PATH: Final = re.compile(r"[A-Za-z0-9_.]{1,120}")


def second_opinion(resource: Resource) -> Issue | None:
    """Ask fhir.resources about a resource that our own validation finds right.

    Args:
        resource: parsed by `fhir_bridge.document.parse`.

    Returns:
        A warning with the place that it finds wrong first; None where it agrees, or has nothing to say.
    """
    type_name = member(resource, "resourceType")
    model = _model(type_name)
    if model is None:
        return None
    try:
        model.model_validate_json(write(resource))
    except (ValueError, TypeError, ArithmeticError) as error:
        return Issue(Rule.OPINION, _place(type_name, error), "warning")
    return None


@cache
def _model(type_name: str) -> Any:  # noqa: ANN401  # the models come without types
    """Load the model of a resource type; None for what it does not know as R4 does."""
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415  # seconds and memory

    if type_name in DIFFERENT:
        return None
    try:
        return get_fhir_model_class(type_name)
    except (LookupError, ValueError):
        return None


def _place(type_name: str, error: Exception) -> str:
    """Say where the first thing is that it finds wrong; a name that a sender made up is left out."""
    listed = getattr(error, "errors", None)
    if listed is None:
        return type_name
    first = listed(include_url=False, include_context=False, include_input=False)[0]
    known = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
    path = ".".join(str(part) for part in known)
    return f"{type_name}.{path}" if _SAFE_PATH.fullmatch(path) else type_name
