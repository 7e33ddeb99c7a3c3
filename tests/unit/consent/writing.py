"""Short ways to write consents, requests and records for tests of the decision."""

from __future__ import annotations

from typing import Any

REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SCOPE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
IRCP = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}

Json = Any

REQUEST: dict[str, Json] = {
    "now": "2026-05-03T10:00:00Z",
    "implicitPolicy": "Policy-deny",
    "patient": "Patient/p",
    "actor": "Practitioner/d",
    "organization": "Organization/o",
    "groups": [],
    "role": None,
    "purpose": "TREAT",
    "action": "access",
}
RESOURCE: dict[str, Json] = {
    "reference": "Observation/r",
    "type": "Observation",
    "patient": "Patient/p",
    "codes": [{"system": "http://loinc.org", "code": "1-1"}],
    "securityLabels": ["N"],
    "authors": ["Practitioner/a"],
    "date": "2026-02-11",
    "encounter": "Encounter/e",
}


def _label(code: str) -> Json:
    return {"system": CONFIDENTIALITY if code in set("ULMNRV") else ACT, "code": code}


def _coding(text: str) -> Json:
    system, _, code = text.rpartition("|")
    return {"coding": [{"system": system, "code": code}]}


def _named(text: str) -> Json:
    meaning, reference = text.split()
    return {"meaning": meaning, "reference": {"reference": reference}}


_WAYS = {
    "actor": lambda text: {"role": IRCP, "reference": {"reference": text}},
    "action": lambda text: {"coding": [{"code": text}]},
    "purpose": lambda text: {"system": REASON, "code": text},
    "securityLabel": _label,
    "class": lambda text: {"system": "http://hl7.org/fhir/resource-types", "code": text},
    "code": _coding,
    "data": _named,
}


def provision(short: Json) -> Json:
    """Write a provision: each text in an array as what it stands for."""
    if not isinstance(short, dict):
        return short
    found = dict(short)
    for name, way in _WAYS.items():
        if isinstance(found.get(name), list):
            found[name] = [way(item) if isinstance(item, str) else item for item in found[name]]
    if isinstance(found.get("provision"), list):
        found["provision"] = [provision(item) for item in found["provision"]]
    return found


def consent(rules: Json = None, **changes: Json) -> Json:
    """Write an active consent of the patient."""
    whole = {"resourceType": "Consent", "id": "c", "status": "active", "scope": SCOPE}
    whole["patient"] = {"reference": "Patient/p"}
    if rules is not None:
        whole["provision"] = provision(rules)
    return whole | changes


def case(consents: list[Json], request: Json = None, resource: Json = None) -> Json:
    """Write a case about the record, unless that is false."""
    asked = REQUEST | (request or {})
    if resource is not False:
        asked["resource"] = RESOURCE | (resource or {})
    return {"id": "x", "consents": consents, "request": asked}
