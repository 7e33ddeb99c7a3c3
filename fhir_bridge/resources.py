"""The door to fhir.resources: whether a resource has the shape that FHIR R4 gives it.

Keeps true: the models judge and nothing more; they are never the source of a stored or hashed byte. Beyond them: a
number must be a JSON number and a truth value a JSON one, which the models are lax about. R4B models judge R4 content;
the types in which the two differ are refused until the difference is closed (`docs/adr/0002-dependencies.md`). Trusts
fhir.resources.
Source: FHIR R4 §2.6.2.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import Any, Final

from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.element import Element as ElementModel
from fhir.resources.R4B.fhirresourcemodel import FHIRResourceModel

from fhir_bridge.document import Element, Number, Resource
from medchain.errors import InputError

TYPE_PATTERN: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
"""How a resource type is written."""

ID_PATTERN: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""How a resource's id is written (FHIR R4 §2.24.0.1, `id`)."""

_NOT_STORED: Final = frozenset(
    {
        # Not records, but what carries them.
        "Bundle",
        "DomainResource",
        "Parameters",
        "Resource",
        # R4B has these, R4 has not.
        "AdministrableProductDefinition",
        "Citation",
        "ClinicalUseDefinition",
        "EvidenceReport",
        "Ingredient",
        "ManufacturedItemDefinition",
        "MedicinalProductDefinition",
        "NutritionProduct",
        "PackagedProductDefinition",
        "RegulatedAuthorization",
        "SubscriptionStatus",
        "SubscriptionTopic",
        "SubstanceDefinition",
        # In R4B they have another shape than in R4.
        "Evidence",
        "EvidenceVariable",
    }
)
_SAFE_PATH: Final = re.compile(r"[A-Za-z0-9_.]{1,120}")
_SUFFIX: Final = "_fhir"


@cache
def is_storable(type_name: str) -> bool:
    """Tell whether a type is one that this server stores."""
    return TYPE_PATTERN.fullmatch(type_name) is not None and _model(type_name) is not None


def check_type(resource: Resource, type_name: str) -> None:
    """Check that a resource is of a type that is stored; raises `InputError` ``resource.type``."""
    if not is_storable(type_name) or resource.get("resourceType") != type_name:
        raise InputError("resource.type")


def check(resource: Resource, type_name: str) -> None:
    """Check a resource's shape.

    Args:
        resource: parsed by `fhir_bridge.document.parse`.
        type_name: which type it must be.

    Raises:
        InputError: ``resource.type`` for another or an unknown type, ``resource.invalid`` with the first element that
            does not fit.
    """
    judge = _model(type_name) if TYPE_PATTERN.fullmatch(type_name) else None
    if judge is None or resource.get("resourceType") != type_name:
        raise InputError("resource.type")
    try:
        model = judge.model_validate(resource)
    except (ValueError, TypeError, ArithmeticError) as error:
        path, rule = _first_problem(error)
        raise InputError("resource.invalid", path=path, rule=rule) from error
    _check_object(model, resource, type_name)


@cache
def _model(type_name: str) -> Any:  # noqa: ANN401  # the models come without types
    """Return the model of a resource type, None for what is not stored."""
    if type_name in _NOT_STORED:
        return None
    try:
        model = get_fhir_model_class(type_name)
    except ValueError:
        return None
    return model if issubclass(model, FHIRResourceModel) else None


def _first_problem(error: Exception) -> tuple[str, str]:
    """Tell what the models found first: where, and which rule."""
    listed = getattr(error, "errors", None)
    if listed is None:
        return "", "value"
    first = listed(include_url=False, include_context=False, include_input=False)[0]
    # A name that FHIR does not know is the sender's own and may say anything: only where it stands is told.
    known = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
    return _path(known), str(first["type"])


def _path(location: tuple[int | str, ...]) -> str:
    """Write where an element stands."""
    path = ".".join(str(part) for part in location)
    return path if _SAFE_PATH.fullmatch(path) else ""


def _check_object(model: object, given: Resource, path: str) -> None:
    """Compare the JSON types of an object's members with those of its model."""
    # Not getattr: a model looks long for what it has not.
    held = vars(model)
    for name, value in given.items():
        found = held.get(name)
        if not isinstance(found, str):
            _check_value(held.get(name + _SUFFIX) if found is None else found, value, f"{path}.{name}")


def _check_value(found: Any, given: Element, path: str) -> None:  # noqa: ANN401  # whatever a model holds
    """Compare one value."""
    if isinstance(found, (ElementModel, FHIRResourceModel)) and isinstance(given, dict):
        _check_object(found, given, path)
    elif isinstance(found, list) and isinstance(given, list):
        for one, other in zip(found, given, strict=False):
            _check_value(one, other, path)
    elif isinstance(found, bool):
        if not isinstance(given, bool):
            raise InputError("resource.invalid", path=path, rule="boolean")
    elif isinstance(found, int):
        if not isinstance(given, Number) or not given.text.lstrip("-").isdigit():
            raise InputError("resource.invalid", path=path, rule="integer")
    elif isinstance(found, Decimal) and not isinstance(given, Number):
        raise InputError("resource.invalid", path=path, rule="decimal")
