"""How records are told apart for a patient: by what they are about, not by the names of FHIR's types.

A data table. What a type is called stands in `consent.web.words`, ``kind.…``.
Source: `docs/spec/patient-pages.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "visits": ("Appointment", "Encounter", "EpisodeOfCare"),
    "diagnoses": ("ClinicalImpression", "Condition", "FamilyMemberHistory", "RiskAssessment"),
    "tests": ("DiagnosticReport", "ImagingStudy", "Observation", "Specimen"),
    "medicines": (
        "Medication",
        "MedicationAdministration",
        "MedicationDispense",
        "MedicationRequest",
        "MedicationStatement",
    ),
    "treatments": ("DeviceRequest", "DeviceUseStatement", "NutritionOrder", "Procedure", "ServiceRequest"),
    "allergies": ("AdverseEvent", "AllergyIntolerance", "DetectedIssue", "Flag"),
    "vaccinations": ("Immunization", "ImmunizationRecommendation"),
    "plans": ("CarePlan", "CareTeam", "Goal"),
    "documents": ("Binary", "Composition", "DocumentReference", "Media", "QuestionnaireResponse"),
    "claims": (
        "Account",
        "ChargeItem",
        "Claim",
        "ClaimResponse",
        "Coverage",
        "ExplanationOfBenefit",
        "Invoice",
        "PaymentReconciliation",
    ),
    "person": ("Patient", "RelatedPerson"),
}
"""Kind → the FHIR types that it holds."""

OTHER: Final = "other"
"""Kind of every other type."""

SENSITIVE: Final[Mapping[str, tuple[str, ...]]] = {
    "mental": ("MH", "PSY", "PSYTHPN", "BH"),
    "substance": ("SUD", "ETH"),
    "hiv": ("HIV",),
    "sexual": ("SEX", "STD"),
    "genetic": ("GDIS",),
    "violence": ("SDV", "VIO"),
    "minor": ("ADOL",),
}
"""What is asked for separately: kind → labels of v3-ActCode; each covers what lies below it (`consent.vocabulary`)."""

_KIND_OF: Final = {name: kind for kind, names in KINDS.items() for name in names}


def kind_of(type_name: str) -> str:
    """Tell which kind a FHIR type belongs to."""
    return _KIND_OF.get(type_name, OTHER)


def kinds_of(types: Iterable[str]) -> list[str]:
    """List the kinds of some types, in the order in which they are shown."""
    found = {kind_of(name) for name in types}
    return [kind for kind in (*KINDS, OTHER) if kind in found]
