"""What a claim needs of records, and no more: which fields are opened, who wrote them, when, what counts as surgery.

One file of tables, so that whoever wants to know what leaves a hospital for a claim reads it here. Keeps true: no name,
no code or text of a diagnosis, no result, no check code of an invoice is in the fields opened. Pure. Trusts nothing.
Source: `docs/spec/claim-disclosure.md` 4, 5; FHIR R4 and each type's own page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from fhir_bridge.document import Resource, object_of, objects_of
from fhir_bridge.invoice_register import ISSUER, SYSTEM
from medchain.ledger.evidence.windows import DEATH_CERTIFICATION

_NAMED: Final = ("/resourceType", "/id", "/status")
_PERIOD: Final = ("/period/start", "/period/end")
_BILLED: Final = ("/billablePeriod/start", "/billablePeriod/end", "/created")

OPENED: Final[Mapping[str, tuple[str, ...]]] = {
    "Claim": (*_BILLED, "/use"),
    "Condition": (
        "/clinicalStatus/coding/*/code",
        "/onsetDateTime",
        "/onsetPeriod/start",
        "/onsetPeriod/end",
        "/recordedDate",
        "/verificationStatus/coding/*/code",
    ),
    "Coverage": _PERIOD,
    "DiagnosticReport": ("/effectiveDateTime", "/effectivePeriod/start", "/effectivePeriod/end", "/issued"),
    "Encounter": ("/class/code", "/class/system", *_PERIOD),
    "ExplanationOfBenefit": (*_BILLED, "/outcome", "/use"),
    "Invoice": (
        "/date",
        "/lineItem/*/priceComponent/*/amount/currency",
        "/lineItem/*/priceComponent/*/amount/value",
        "/lineItem/*/priceComponent/*/type",
        "/lineItem/*/sequence",
        "/totalGross/currency",
        "/totalGross/value",
        "/totalNet/currency",
        "/totalNet/value",
        "/totalPriceComponent/*/type",
    ),
    "MedicationRequest": ("/authoredOn", "/intent"),
    "Procedure": ("/performedDateTime", "/performedPeriod/start", "/performedPeriod/end"),
}
"""Type → fields that are opened beside type, id and status; ``*`` stands for any place of an array."""

NUMBERS: Final = frozenset(
    f"{SYSTEM}{form}-{part}" for form in ("e-invoice", "paper-invoice") for part in ("code", "number")
)
"""Identifiers of an Invoice that are opened; its check code, with which a claim can be made, is not among them."""

ENTERED: Final[Mapping[str, str]] = {
    "AllergyIntolerance": "recordedDate",
    "CarePlan": "created",
    "Claim": "created",
    "Condition": "recordedDate",
    "DiagnosticReport": "issued",
    "DocumentReference": "date",
    "ExplanationOfBenefit": "created",
    "Immunization": "recorded",
    "Invoice": "date",
    "MedicationRequest": "authoredOn",
    "MedicationStatement": "dateAsserted",
    "Observation": "issued",
    "ServiceRequest": "authoredOn",
}
"""Type → element that says when the record was written."""

OF_VISIT: Final = frozenset({"AllergyIntolerance", "Condition"})
"""Types whose own dates tell of an illness, not of what was done: they happened when their visit did."""

AUTHORS: Final[Mapping[str, tuple[str, ...]]] = {
    "AllergyIntolerance": ("recorder", "asserter"),
    "CarePlan": ("author", "contributor"),
    "Claim": ("enterer", "provider"),
    "Condition": ("recorder", "asserter"),
    "DiagnosticReport": ("resultsInterpreter", "performer"),
    "DocumentReference": ("author", "authenticator"),
    "Encounter": ("participant.individual",),
    "ExplanationOfBenefit": ("enterer", "provider"),
    "ImagingStudy": ("interpreter", "referrer"),
    "Immunization": ("performer.actor",),
    "Invoice": ("participant.actor", "issuer"),
    "MedicationAdministration": ("performer.actor",),
    "MedicationRequest": ("requester", "recorder"),
    "MedicationStatement": ("informationSource",),
    "Observation": ("performer",),
    "Procedure": ("recorder", "performer.actor", "asserter"),
    "ServiceRequest": ("requester", "performer"),
}
"""Type → elements that say who wrote it, the first one that names somebody here counts."""

STAFF: Final = ("Practitioner", "PractitionerRole", "Organization")
"""Types of who may be named as the author: nobody else, whatever a record refers to."""

COUNTED: Final[Mapping[str, str]] = {
    "CarePlan": "encounter",
    "Composition": "encounter",
    "Condition": "encounter",
    "DiagnosticReport": "encounter",
    "DocumentReference": "encounter",
    "ImagingStudy": "encounter",
    "MedicationAdministration": "context",
    "MedicationDispense": "context",
    "MedicationRequest": "encounter",
    "MedicationStatement": "context",
    "Observation": "encounter",
    "Procedure": "encounter",
    "ServiceRequest": "encounter",
}
"""Types of an encounter's records that are counted → the search parameter that names the encounter."""

PAPERS: Final = frozenset({"Claim", "Coverage", "DocumentReference", "ExplanationOfBenefit", "Invoice"})
"""Types of what is written about services, often after them: nothing is done to a patient by these."""

INPATIENT: Final = frozenset({"ACUTE", "IMP", "NONAC"})
"""Classes of an Encounter (v3-ActCode) that are stays."""

_SNOMED: Final = "http://snomed.info/sct"
_SURGICAL: Final = "387713003"
_ICD_10: Final = re.compile(
    r"icd-?10|2\.16\.156\.10011\.2\.3\.3\.11|2\.16\.840\.1\.113883\.6\.(?:3|90)\b", re.IGNORECASE
)
_ICD_9_CM: Final = re.compile(r"icd-?9|2\.16\.156\.10011\.2\.3\.3\.12|2\.16\.840\.1\.113883\.6\.104\b", re.IGNORECASE)
_CATEGORY: Final = re.compile(r"([A-Z][0-9][0-9A-Z])(?:\.?[0-9A-Zx+*]{1,5})?")
_OPERATION: Final = re.compile(r"([0-9]{2})(?:\.([0-9])[0-9A-Zx]{0,8})?")
# ICD-9-CM volume 3: chapters of operations; "diagnostic procedures on …" within them; help at birth (72, 73, 75) is
# neither for certain.
_FIRST_OPERATION, _LAST_OPERATION = 1, 86
_AT_BIRTH: Final = frozenset({"72", "73", "75"})
_DIAGNOSTIC: Final = re.compile(
    r"(?:15|25|63)\.0|(?:0[1456789]|14|18|2[24689]|40|4[45]|5[012]|6[012]|6[45678]|71|76|8[56])\.1"
    r"|(?:1[0126]|2[17]|3[3478]|4[2589]|5[4589]|70|8[03])\.2|(?:03|20|41|5[67]|80)\.3|(?:31|77)\.4|78\.8"
)


@lru_cache(maxsize=64)
def pattern_of(type_name: str) -> re.Pattern[str]:
    """Make what tells whether a field of a type is opened, by its JSON pointer."""
    rows = (*_NAMED, *OPENED.get(type_name, ()))
    return re.compile("|".join(re.escape(row).replace(r"/\*", "/[0-9]+") for row in rows))


def opened_numbers(invoice: Resource) -> frozenset[str]:
    """List the pointers of what an Invoice is numbered by: code and number of its forms, and its issuer's code."""
    found: list[str] = []
    rows = invoice.get("identifier")
    for place, row in enumerate(rows if isinstance(rows, list) else []):
        if object_of(row).get("system") in NUMBERS:
            found += (f"/identifier/{place}/system", f"/identifier/{place}/value")
    if object_of(object_of(invoice.get("issuer")).get("identifier")).get("system") == ISSUER:
        found += ("/issuer/identifier/system", "/issuer/identifier/value")
    return frozenset(found)


def opened_kind(encounter: Resource) -> frozenset[str]:
    """List the pointers of what says that a death was certified at an Encounter; of no other kind is anything said."""
    kinds = encounter.get("type") if encounter.get("resourceType") == "Encounter" else None
    found: list[str] = []
    for place, kind in enumerate(kinds if isinstance(kinds, list) else []):
        codings = object_of(kind).get("coding")
        for at, coding in enumerate(codings if isinstance(codings, list) else []):
            if object_of(coding).get("code") == DEATH_CERTIFICATION:
                found.append(f"/type/{place}/coding/{at}/code")
    return frozenset(found)


def category_of(resource: Resource) -> str | None:
    """Read the three-character category (ICD-10) of what a record is of; None where it has none."""
    for coding in objects_of(object_of(resource.get("code")).get("coding")):
        match = _CATEGORY.fullmatch(str(coding.get("code", "")))
        if match and _ICD_10.search(str(coding.get("system", ""))):
            return match[1]
    return None


def is_in(category: str, ranges: str) -> bool:
    """Tell whether a category lies in a list such as ``E10-E14,I10``."""
    return any(row[:3] <= category <= row[-3:] for row in ranges.split(","))


def is_surgery(procedure: Resource) -> bool | None:
    """Tell whether a Procedure is surgery; None where what it says leaves that open."""
    categories = objects_of(object_of(procedure.get("category")).get("coding"))
    if any((one.get("system"), one.get("code")) == (_SNOMED, _SURGICAL) for one in categories):
        return True
    for coding in objects_of(object_of(procedure.get("code")).get("coding")):
        match = _OPERATION.fullmatch(str(coding.get("code", "")))
        if match is None or not _ICD_9_CM.search(str(coding.get("system", ""))):
            continue
        chapter, part = match[1], match[2]
        if not _FIRST_OPERATION <= int(chapter) <= _LAST_OPERATION or _DIAGNOSTIC.fullmatch(f"{chapter}.{part}"):
            return False
        return None if chapter in _AT_BIRTH or part is None else True
    return None
