"""Records of other organisations as FHIR answers them: what came is judged, named by its own server, and told of.

Keeps true: only what was asked for is shown, whatever a custodian sends; a record keeps its custodian's address, under
which its references mean what they say; who gave it, when, for what and by which entry of the ledger stands in a
Provenance. Pure. Trusts the daemon for a record being what its custodian registered.
Source: `docs/spec/rest.md` 15; FHIR R4 Provenance, §3.1.1 (Bundles).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from fhir_bridge.document import Element, Resource, parse, write
from fhir_bridge.provenance import ANCHORED, ORGANISATION
from fhir_bridge.references import API, instant, subject_of
from medchain.errors import InputError, VerificationError
from medchain.node.exchange_client import ForeignRecord, Given
from medchain.store.records import FHIR_JSON

ACCESS: Final = "urn:medchain:access"
"""System of access entries: map key in hex, a slash and the version."""

EMERGENCY: Final = "urn:medchain:emergency"
"""System of emergencies, likewise."""

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_PATIENT: Final = "Patient"
_LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_PARTICIPANT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A record to be shown.

    Attributes:
        base: base URL of its custodian's API.
        type: resource type.
        id: there.
        version: there.
        position: leaf index of its anchor.
        content: FHIR JSON as it was registered.
        resource: the same, parsed.
    """

    base: str
    type: str
    id: str
    version: int
    position: int
    content: bytes
    resource: Resource

    @property
    def url(self) -> str:
        """Its address at its custodian."""
        return f"{self.base}/{self.type}/{self.id}"

    @property
    def version_url(self) -> str:
        """The address of this version."""
        return f"{self.url}/_history/{self.version}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What may come.

    Attributes:
        types: resource types that were asked for.
        patient: id at the custodian of the patient whose records were asked for; empty where it is not known.
        meets: tells of a type and a resource whether it is what was searched for.
    """

    types: frozenset[str]
    patient: str
    meets: Callable[[str, Resource], bool]


def base_of(custodian: str, origins: Sequence[str]) -> str:
    """Name an organisation's API: by its first origin on the ledger, or by the organisation where it has none."""
    return f"{origins[0]}{API}" if origins else f"{ORGANISATION}:{custodian}"


def judged(record: ForeignRecord, base: str, expected: Expected) -> Foreign | None:
    """See that a record is one that was asked for.

    Args:
        record: as the daemon opened it.
        base: of its custodian's API.
        expected: what was asked for.

    Returns:
        The record; None for one that is no FHIR resource in JSON, such as a scan, which no Bundle can hold.

    Raises:
        VerificationError: ``exchange.asked`` for one that was not asked for; nothing of the answer may be shown then.
    """
    if record.content_type != FHIR_JSON:
        return None
    try:
        resource = parse(record.content)
    except InputError as error:
        raise VerificationError("exchange.asked", reason=error.code) from error
    name, record_id = resource.get("resourceType"), resource.get("id")
    if not isinstance(name, str) or name not in expected.types:
        raise VerificationError("exchange.asked", reason="type")
    if not isinstance(record_id, str) or not _ID.fullmatch(record_id):
        raise VerificationError("exchange.asked", reason="id")
    # What names no patient may be the custodian's to know whose it is; what names another is not for us.
    if expected.patient and subject_of(name, record_id, resource) not in ("", expected.patient):
        raise VerificationError("exchange.asked", reason="patient")
    if not expected.meets(name, resource):
        raise VerificationError("exchange.asked", reason="search")
    return Foreign(base, name, record_id, record.version, record.position, record.content, resource)


def entry(row: Foreign, content: bytes) -> bytes:
    """Write a Bundle's entry of a record, or of the part of it that is wanted."""
    return b"".join(
        (b'{"fullUrl":' + write(row.url) + b',"resource":', content, b',"search":{"mode":"match"}}'),
    )


def provenance_entry(given: Given, rows: Sequence[Foreign], recipient: str, purpose: str, now: int) -> bytes:
    """Write the entry of the Provenance of a release.

    Args:
        given: the release.
        rows: what is shown of it; at least one.
        recipient: org_id of this organisation.
        purpose: purpose-of-use code.
        now: Unix seconds.
    """
    name, system = UUID(bytes=given.request_hash[:16]), EMERGENCY if given.access_position is None else ACCESS
    made: Resource = {
        "resourceType": "Provenance",
        "id": str(name),
        "extension": [{"url": ANCHORED, "valueString": _anchored(given.access_position)}],
        "target": [{"reference": row.version_url, "type": row.type} for row in rows],
        "recorded": instant(now),
        "reason": [{"coding": [{"system": _ACT_REASON, "code": purpose}]}],
        "activity": {"coding": [{"system": _LIFECYCLE, "code": "disclose"}]},
        "agent": [
            _agent(_PARTICIPANT, "custodian", given.custodian),
            _agent(_PARTICIPATION, "IRCP", recipient),
        ],
        "entity": [
            {
                "role": "source",
                "what": {"identifier": {"system": system, "value": f"{given.access}/{given.access_version}"}},
            }
        ],
    }
    return b'{"fullUrl":' + write(f"urn:uuid:{name}") + b',"resource":' + write(made) + b',"search":{"mode":"include"}}'


def _anchored(position: int | None) -> str:
    """Word how far the ledger's entry of a release has come."""
    return "pending" if position is None else f"final; position={position}"


def _agent(system: str, role: str, org_id: str) -> Element:
    """Write an organisation that took part."""
    return {
        "type": {"coding": [{"system": system, "code": role}]},
        "who": {"type": "Organization", "identifier": {"system": ORGANISATION, "value": org_id}},
    }
