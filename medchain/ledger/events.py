"""Which elements of a record say when what it tells of happened: a small table over FHIR R4's own.

Source: FHIR R4, each type's own page; `docs/spec/release.md` 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ELEMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "AllergyIntolerance": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "CarePlan": ("period", "created"),
    "Claim": ("billablePeriod", "created"),
    "ClaimResponse": ("created",),
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Coverage": ("period",),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
    "DocumentReference": ("date",),
    "Encounter": ("period",),
    "EpisodeOfCare": ("period",),
    "ExplanationOfBenefit": ("billablePeriod", "created"),
    "ImagingStudy": ("started",),
    "Immunization": ("occurrenceDateTime",),
    "Invoice": ("date",),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
    "MedicationDispense": ("whenHandedOver", "whenPrepared"),
    "MedicationRequest": ("authoredOn",),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod", "dateAsserted"),
    "Observation": ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "QuestionnaireResponse": ("authored",),
    "ServiceRequest": ("occurrenceDateTime", "occurrencePeriod", "authoredOn"),
}
"""Type → elements that say when it happened; the first that is there counts."""
