"""The CapabilityStatement: what the registry of interactions serves, and nothing that it does not.

Source: FHIR R4 §2.42; SMART App Launch 2.2 (oauth-uris).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final, Protocol

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import COMPARTMENTS, SearchParameter, parameters_of
from fhir_bridge.definitions.profiles import PREFIX, profiles_of
from fhir_bridge.document import Element, Resource
from fhir_bridge.references import instant
from fhir_bridge.resources import is_storable
from fhir_bridge.search.conditions import Registry, is_reference
from fhir_bridge.search.indexer import UNINDEXED
from fhir_bridge.search.paths import targets_of
from fhir_bridge.search.query import UNSUPPORTED
from fhir_bridge.smart.discovery import AUTHORIZE, INTROSPECT, REVOKE, TOKEN

SYSTEM_CODES: Final = ("transaction", "batch", "search-system", "history-system")
"""Codes of interactions with the whole system."""

HAVE_EVERYTHING: Final = ("Encounter", "Patient")
"""Types that have the operation $everything."""

LACKED: Final[Mapping[str, frozenset[str]]] = {"Binary": frozenset({"meta-add", "meta-delete", "patch"})}
"""Type → names of interactions and operations that it lacks: a Binary is bytes, and is replaced as a whole (§2.40)."""

_EXPORT: Final = "export"
_BULK_DATA: Final = "http://hl7.org/fhir/uv/bulkdata"
# Operations that are not of every type: operation → the types whose it is.
_ONLY_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "claim-provenance": (),
    "everything": HAVE_EVERYTHING,
    _EXPORT: ("Patient", "Group"),
    "verify-claim-evidence": (),
}
# Operations of our own, which HL7 does not define.
_OURS: Final = frozenset({"claim-provenance", "verify-claim-evidence"})
_DEFINITIONS: Final = "https://medchain.example/fhir/OperationDefinition"
_DOCUMENTED: Final = {
    "Provenance": "Of every version of every record there is one that the ledger tells, with its proof as signature: "
    "found by target, patient and _id, and beside the target by _revinclude. What clients write is found as well.",
}
_SEARCHES: Final = (
    "Searches have the modifiers, prefixes and chains of R4. `:above` and `:below` of codes need a code system that "
    "HL7 publishes whole with R4, ICD-10 or a CodeSystem of this node, `:in` and `:not-in` a value set that HL7 lists "
    "or a ValueSet of this node; `:above` of references, `:below` of those that are no canonical URLs, `_text`, "
    "`_content`, `_query` and `_filter` are refused."
)
_ANY: Final = "Resource"
_EVERYWHERE: Final[tuple[Resource, ...]] = (
    {
        "name": "_has",
        "type": "string",
        "documentation": "Reverse chains (R4 §3.1.1.4.16) of any depth: _has:Observation:patient:code=718-7.",
    },
    {
        "name": "_list",
        "type": "string",
        "documentation": "Ids of Lists, and $current-problems, $current-medications, $current-allergies, "
        "$current-drug-allergies (R4 §3.1.1.4.22).",
    },
)
_CUSTODIAN: Final[Resource] = {
    "name": "_custodian",
    "type": "string",
    "documentation": "Id of another organisation of the consortium: the read, search or Patient/$everything is of its "
    "records, under what the patient permits for the request's Purpose-Of-Use; `*` asks all that permit it about a "
    "patient of this node.",
}
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

    @property
    def operation(self) -> str:
        """Name of the operation that it is, or empty."""
        ...

    @property
    def goes_elsewhere(self) -> bool:
        """Whether it may name another organisation whose records are meant."""
        ...


def statement(
    time: int, base_url: str, token_url: str, served: Sequence[Served], registry: Registry = parameters_of
) -> Resource:
    """Write the CapabilityStatement.

    Args:
        time: Unix seconds.
        base_url: of the API.
        token_url: where clients get tokens.
        served: the registry.
        registry: gives the search parameters of a type, those of the node's own among them.

    Returns:
        The resource.
    """
    referring = _referring(registry)
    codes = list(dict.fromkeys(one.code for one in served if one.code))
    operations = list(dict.fromkeys(one.operation for one in served if one.operation))
    of_all = list(dict.fromkeys(one.operation for one in served if one.operation and one.shape.startswith("$")))
    of_types = [code for code in codes if code not in SYSTEM_CODES]
    of_system: list[Element] = [{"code": code} for code in codes if code in SYSTEM_CODES]
    if "transaction" in codes:
        of_system.append({"code": "batch"})
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(time),
        "kind": "instance",
        **({"instantiates": [f"{_BULK_DATA}/CapabilityStatement/bulk-data"]} if _EXPORT in operations else {}),
        "software": {"name": "MedChain", "version": version("medchain")},
        "implementation": {"description": "MedChain node", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ["application/json-patch+json", "application/fhir+json", "application/fhir+xml"],
        "rest": [
            {
                "mode": "server",
                "documentation": _SEARCHES,
                "security": _security(token_url),
                "resource": [
                    _of_type(name, of_types, operations, registry(name), referring) for name in served_types()
                ],
                "interaction": of_system,
                "searchParam": [*_parameters(_served(registry(_ANY))), *_of_any_type(served)],
                "operation": [_operation(one, "") for one in of_all],
                "compartment": _compartments(served),
            }
        ],
    }


def served_types() -> list[str]:
    """List the types that are stored."""
    return [name for name in sorted(type_names("resource")) if is_storable(name)]


def searched(known: Mapping[str, SearchParameter]) -> list[str]:
    """List the codes of the search parameters that are served, of all those of a type."""
    return sorted(one.code for one in _served(known))


def _served(known: Mapping[str, SearchParameter]) -> list[SearchParameter]:
    """List the search parameters that are served, of all those of a type."""
    return [one for one in known.values() if one.code not in UNINDEXED and one.code not in UNSUPPORTED]


def _parameters(known: Sequence[SearchParameter]) -> list[Element]:
    """Name search parameters."""
    return [
        {"name": one.code, "definition": one.url, "type": one.type.value}
        for one in sorted(known, key=lambda one: one.code)
    ]


def _of_any_type(served: Sequence[Served]) -> list[Element]:
    """Name what is searched by without a definition of HL7's, whatever the type."""
    return [dict(one) for one in (*_EVERYWHERE, *((_CUSTODIAN,) if any(one.goes_elsewhere for one in served) else ()))]


def _compartments(served: Sequence[Served]) -> list[Element]:
    """Name HL7's definitions of the compartments that are searched (§2.45)."""
    if not any(one.shape == "Type/id/Type" for one in served):
        return []
    return [f"http://hl7.org/fhir/CompartmentDefinition/{name[0].lower()}{name[1:]}" for name in COMPARTMENTS]


def _security(token_url: str) -> Resource:
    """Say how clients show who they are."""
    smart: Element = {
        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
        "code": "SMART-on-FHIR",
    }
    origin = token_url.removesuffix(TOKEN)
    places = (("token", TOKEN), ("authorize", AUTHORIZE), ("introspect", INTROSPECT), ("revoke", REVOKE))
    uris: list[Element] = [{"url": name, "valueUri": origin + path} for name, path in places]
    return {"extension": [{"url": _OAUTH, "extension": uris}], "cors": True, "service": [{"coding": [smart]}]}


def _of_type(
    name: str,
    interactions: Sequence[str],
    operations: Sequence[str],
    registered: Mapping[str, SearchParameter],
    referring: Mapping[str, list[Element]],
) -> Resource:
    """Say what is served of one type."""
    known = _served(registered)
    includes: list[Element] = [f"{name}:{one.code}" for one in known if is_reference(one)]
    judged = profiles_of(name)
    lacked = LACKED.get(name, frozenset())
    served = [one for one in operations if name in _ONLY_OF.get(one, (name,)) and one not in lacked]
    listed: list[Element] = [_operation(one, name) for one in served]
    return {
        "type": name,
        "profile": PREFIX + name,
        **({"supportedProfile": [*judged]} if judged else {}),
        "interaction": [{"code": code} for code in interactions if code not in lacked],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "referencePolicy": ["literal", "logical"],
        "searchInclude": ["*", *includes],
        "searchRevInclude": ["*", *referring.get(name, ())],
        "searchParam": _parameters(known),
        "operation": listed,
        **({"documentation": _DOCUMENTED[name]} if name in _DOCUMENTED else {}),
    }


def _operation(operation: str, type_name: str) -> Resource:
    """Name an operation, and HL7's definition of it."""
    if operation == _EXPORT:
        prefix = f"{type_name.lower()}-" if type_name else ""
        return {"name": operation, "definition": f"{_BULK_DATA}/OperationDefinition/{prefix}{operation}"}
    if operation in _OURS:
        return {"name": operation, "definition": f"{_DEFINITIONS}/{operation}"}
    base = type_name if operation in _ONLY_OF else "Resource"
    return {"name": operation, "definition": f"http://hl7.org/fhir/OperationDefinition/{base}-{operation}"}


def _referring(registry: Registry) -> Mapping[str, list[Element]]:
    """List by type the parameters of others that may refer to it."""
    found: dict[str, list[Element]] = {}
    for name in sorted(type_names("resource")):
        for one in registry(name).values():
            if is_reference(one):
                for target in targets_of(one, name).types:
                    found.setdefault(target, []).append(f"{name}:{one.code}")
    return found
