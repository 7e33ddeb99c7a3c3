"""The functional lists: what a patient's current problems, medications and allergies are (``_list=$current-problems``).

A resource is on such a list if a current List of that kind names it; where no current List of that kind is about its
patient, if its own status says so. Keeps true: a list that somebody keeps is believed as it is. Pure.
Source: FHIR R4 §3.1.1.4.22 (`_list`), "Current Resource Lists"; List example use codes; LOINC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_bridge.definitions.parameters import ParameterType
from fhir_bridge.search.terms import Modifier, TokenTerm
from fhir_bridge.search.tree import Condition, Criterion

_USE: Final = "http://terminology.hl7.org/CodeSystem/list-example-use-codes"
_LOINC: Final = "http://loinc.org"


def _code(code: str, *values: str, modifier: Modifier = Modifier.NONE) -> Criterion:
    """Ask for one of some codes of any system."""
    return Criterion(code, ParameterType.TOKEN, modifier, tuple(TokenTerm(None, one) for one in values))


def _list(*codings: tuple[str, str]) -> tuple[Condition, ...]:
    """Ask for a current List of a kind."""
    kinds = tuple(TokenTerm(system, code) for system, code in codings)
    return (Criterion("code", ParameterType.TOKEN, Modifier.NONE, kinds), _code("status", "current"))


_PROBLEMS: Final = (
    _code("category", "problem-list-item"),
    _code("clinical-status", "active", "recurrence", "relapse"),
    _code("verification-status", "refuted", "entered-in-error", modifier=Modifier.NOT),
)
_ALLERGIES: Final = (
    _code("clinical-status", "inactive", "resolved", modifier=Modifier.NOT),
    _code("verification-status", "refuted", "entered-in-error", modifier=Modifier.NOT),
)
_ALLERGY_LIST: Final = _list((_USE, "allergies"), (_LOINC, "48765-2"), (_LOINC, "52472-8"))

KEPT: Final[Mapping[str, tuple[Condition, ...]]] = {
    "$current-allergies": _ALLERGY_LIST,
    "$current-drug-allergies": _ALLERGY_LIST,
    "$current-medications": _list((_USE, "medications"), (_LOINC, "10160-0"), (_LOINC, "19009-0")),
    "$current-problems": _list((_USE, "problems"), (_LOINC, "11450-4")),
}
"""What a List must fulfil to be such a list, by name."""

BY_STATUS: Final[Mapping[str, Mapping[str, tuple[Condition, ...]]]] = {
    "$current-allergies": {"AllergyIntolerance": _ALLERGIES},
    "$current-drug-allergies": {"AllergyIntolerance": (*_ALLERGIES, _code("category", "medication"))},
    "$current-medications": {
        "MedicationRequest": (_code("status", "active"),),
        "MedicationStatement": (_code("status", "active", "intended"),),
    },
    "$current-problems": {"Condition": _PROBLEMS},
}
"""What a resource must fulfil where nobody keeps a list, by name and type."""

LIMITS: Final[Mapping[str, Mapping[str, tuple[Condition, ...]]]] = {
    "$current-drug-allergies": {"AllergyIntolerance": (_code("category", "medication"),)},
}
"""What a resource must fulfil on a list that somebody keeps of more than is asked for."""
