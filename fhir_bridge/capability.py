"""The CapabilityStatement: what this server does, and nothing that it does not.

Source: FHIR R4 §2.42.
"""

from __future__ import annotations

from fhir_bridge.document import Element, Resource
from fhir_bridge.references import instant


def statement(time: int, token_url: str) -> Resource:
    """Write the CapabilityStatement.

    Args:
        time: Unix seconds.
        token_url: where clients get tokens.

    Returns:
        The resource.
    """
    interactions: list[Element] = [{"code": code} for code in ("create", "read", "vread", "update")]
    conditional: dict[str, Element] = {
        "type": "Resource",
        "documentation": "Every R4 type that fhir.resources knows, but Bundle, Evidence, EvidenceVariable and "
        "Parameters. There is no search; conditions are `identifier=` alone. An update may create. A Binary may be of "
        "any size.",
        "interaction": interactions,
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalUpdate": True,
    }
    security: dict[str, Element] = {
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                    }
                ]
            }
        ],
        "description": f"SMART backend services; access tokens from {token_url}",
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(time),
        "kind": "instance",
        "implementation": {"description": "MedChain node"},
        "software": {"name": "MedChain"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "security": security,
                "resource": [conditional],
                "interaction": [{"code": "transaction"}],
            }
        ],
    }
