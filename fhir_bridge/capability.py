"""The CapabilityStatement: what the registry of interactions serves, and nothing that it does not.

Source: FHIR R4 §2.42; SMART App Launch 2.2 (oauth-uris).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.document import Element, Resource
from fhir_bridge.references import instant
from fhir_bridge.resources import is_storable

SYSTEM_CODES: Final = ("transaction", "batch", "search-system", "history-system")
"""Codes of interactions with the whole system."""

_OAUTH: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


class Served(Protocol):
    """An interaction of the registry, as far as it is told here."""

    @property
    def shape(self) -> str:
        """Of its address."""
        ...

    @property
    def code(self) -> str:
        """What FHIR calls it."""
        ...


def statement(time: int, base_url: str, token_url: str, served: Sequence[Served]) -> Resource:
    """Write the CapabilityStatement.

    Args:
        time: Unix seconds.
        base_url: of the API.
        token_url: where clients get tokens.
        served: the registry.

    Returns:
        The resource.
    """
    codes = list(dict.fromkeys(one.code for one in served if one.code))
    of_types: list[Element] = [{"code": code} for code in codes if code not in SYSTEM_CODES]
    of_system: list[Element] = [{"code": code} for code in codes if code in SYSTEM_CODES]
    if "transaction" in codes:
        of_system.append({"code": "batch"})
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(time),
        "kind": "instance",
        "software": {"name": "MedChain"},
        "implementation": {"description": "MedChain node", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ["application/json-patch+json", "application/fhir+json", "application/fhir+xml"],
        "rest": [
            {
                "mode": "server",
                "security": _security(token_url),
                "resource": [_of_type(name, of_types) for name in sorted(type_names("resource")) if is_storable(name)],
                "interaction": of_system,
            }
        ],
    }


def _security(token_url: str) -> Resource:
    """Say how clients show who they are."""
    smart: Element = {
        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
        "code": "SMART-on-FHIR",
    }
    return {
        "extension": [{"url": _OAUTH, "extension": [{"url": "token", "valueUri": token_url}]}],
        "cors": True,
        "service": [{"coding": [smart]}],
    }


def _of_type(name: str, interactions: list[Element]) -> Resource:
    """Say what is served of one type."""
    return {
        "type": name,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{name}",
        "interaction": interactions,
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "referencePolicy": ["literal", "logical"],
    }
