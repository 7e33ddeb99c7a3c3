"""Claims as insurers get them: from a hospital, with references to its records, and from elsewhere."""

from __future__ import annotations

import json

from tests.unit.medchain.ledger.world import RENHE, TONGJI

SYSTEM = "https://medchain.example/fhir/id/organization"
CITED = ("Condition/d1", "Encounter/e1", "Invoice/i1", "Observation/o1", "Procedure/p1")


def claim(**changes: object) -> dict:
    """A Claim that Renhe provided; what is changed to None is left out."""
    made = {
        "resourceType": "Claim",
        "id": "c1",
        "identifier": [{"system": "https://anxin-insurance.example/fhir/id/claim", "value": "AX202509250016664"}],
        "status": "active",
        "use": "claim",
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/claim-type", "code": "institutional"}]},
        "patient": {"reference": "Patient/p17"},
        "billablePeriod": {"start": "2025-08-31T08:16:00+08:00", "end": "2025-09-06T09:42:00+08:00"},
        "created": "2025-09-25T11:10:00+08:00",
        "insurer": {"identifier": {"system": SYSTEM, "value": "anxin-insurance"}},
        "provider": {"identifier": {"system": SYSTEM, "value": RENHE}},
        "priority": {"coding": [{"code": "normal"}]},
        "supportingInfo": [
            {"sequence": 1, "category": {"text": "info"}, "valueReference": {"reference": "Observation/o1"}},
            {"sequence": 2, "category": {"text": "info"}, "valueReference": {"reference": "Invoice/i1"}},
        ],
        "diagnosis": [{"sequence": 1, "diagnosisReference": {"reference": "Condition/d1"}}],
        "procedure": [{"sequence": 1, "procedureReference": {"reference": "Procedure/p1"}}],
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/v1"}}],
        "item": [
            {
                "sequence": 1,
                "productOrService": {"text": "化验费"},
                "encounter": [{"reference": "Encounter/e1"}],
                "net": {"value": 8422.8, "currency": "CNY"},
            }
        ],
        "total": {"value": 8422.8, "currency": "CNY"},
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def content(**changes: object) -> bytes:
    """The same as it came."""
    return json.dumps(claim(**changes), ensure_ascii=False).encode()


ELSEWHERE = {"reference": f"https://{TONGJI}.example/fhir/Observation/o9"}
"""A record of another member."""
