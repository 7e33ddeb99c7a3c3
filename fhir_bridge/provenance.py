"""Provenance of a record version, made of what the ledger says of it when it is asked for; nothing of it is stored.

Keeps true: what it says follows from the version's row and from the ledger, so that the same version always gives the
same, but for its proof, which is against the newest final checkpoint; what is not final yet has no signature and says
so. Pure. Trusts its caller for having asked the gate.
Source: FHIR R4 Provenance, §6.3; `docs/spec/provenance.md`.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from fhir_bridge.document import Element, Resource
from fhir_bridge.references import instant
from medchain.node.proofs import Traced
from medchain.store.records import RecordVersion

TYPE: Final = "Provenance"
"""The type of these resources."""

ANCHORED: Final = "urn:medchain:anchored"
"""Extension that says how far a version is anchored, in the words of the header ``Medchain-Anchored``."""

COMMITMENT: Final = "https://medchain.example/fhir/StructureDefinition/commitment"
"""Extension of a Provenance's target: digest of the record version on the ledger, hexadecimal, `valueString`."""

SIGNATURE_FORMAT: Final = "application/vnd.medchain.proof-bundle+zip"
"""Format of the signature's data: a proof bundle (`docs/spec/proof-bundle.md`)."""

ORGANISATION: Final = "urn:medchain:organisation"
"""System of members' ids."""

LEDGER: Final = "urn:medchain:ledger"
"""System of ids of ledgers."""

_ID: Final = re.compile(r"ledger-([0-9a-f]{32})-([1-9][0-9]{0,8})")
_OPERATION: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_OF_SIGNER: Final = {"creator": "attester"}
# ASTM E1762: time stamp signature.
_SIGNATURE_TYPE: Final = {"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.18"}
_DEFAULT_FORMAT: Final = "application/fhir+json"


def id_of(stored: RecordVersion) -> str:
    """Name the Provenance of a version: by its object on the ledger, which says nothing of what it is about."""
    return f"ledger-{stored.object_id.hex()}-{stored.version}"


def named(resource_id: str) -> tuple[bytes, int] | None:
    """Read such a name as object id and version; None for any other."""
    match = _ID.fullmatch(resource_id)
    return None if match is None else (bytes.fromhex(match[1]), int(match[2]))


PENDING: Final = "1"
"""Version of a Provenance while what it tells is not final."""

FINAL: Final = "2"
"""Version of a Provenance from then on: it has the ledger's signature, and does not change any more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a version is kept.

    Attributes:
        org_id: the custodian.
        ledger: ledger id, 32 bytes.
        anchored: how far the version is anchored, as ``Medchain-Anchored`` says it.
        traced: where it stands on the ledger; None while it is not final.
    """

    org_id: str
    ledger: bytes
    anchored: str
    traced: Traced | None


def provenance(stored: RecordVersion, kept: Place, language: str, *, gone: bool) -> Resource:
    """Write the Provenance of a version, without its signature's data.

    Args:
        stored: the version.
        kept: where.
        language: of names, ``zh`` or ``en``.
        gone: whether the version is a deletion.
    """
    place, traced = f"{stored.type}/{stored.id}/_history/", kept.traced
    recorded = instant(stored.created if traced is None else traced.time)
    names = {} if traced is None else traced.names
    made: Resource = {
        "resourceType": TYPE,
        "id": id_of(stored),
        "meta": {"versionId": PENDING if traced is None else FINAL, "lastUpdated": recorded},
        "extension": [{"url": ANCHORED, "valueString": kept.anchored}],
        "target": [committed(f"{place}{stored.version}", stored.commitment) | {"type": stored.type}],
        "occurredDateTime": instant(stored.created),
        "recorded": recorded,
        "activity": {"coding": [{"system": _OPERATION, "code": _activity(stored, gone=gone)}]},
        "agent": [
            _agent(role, one, names.get(one, {}).get(language, ""))
            for role, one in (("author", kept.org_id), ("custodian", kept.org_id), *_signers(traced))
        ],
    }
    if stored.version > 1:
        role = "removal" if gone else "revision"
        made["entity"] = [{"role": role, "what": {"reference": f"{place}{stored.version - 1}", "type": stored.type}}]
    if traced is not None:
        made["signature"] = [_signature(stored, kept.ledger, traced)]
    return made


def committed(reference: str, commitment: bytes) -> Resource:
    """Refer to a record version with its digest on the ledger (`docs/spec/record-envelope.md`), 32 bytes."""
    return {"extension": [{"url": COMMITMENT, "valueString": commitment.hex()}], "reference": reference}


def signed(resource: Resource, bundle: bytes) -> Resource:
    """Put the proof bundle into the signature of a Provenance."""
    rows = resource["signature"]
    first = rows[0] if isinstance(rows, list) else {}
    whole: Element = {**(first if isinstance(first, dict) else {}), "data": base64.b64encode(bundle).decode()}
    return {**resource, "signature": [whole]}


def _activity(stored: RecordVersion, *, gone: bool) -> str:
    """Tell what was done (v3-DataOperation)."""
    if gone:
        return "DELETE"
    return "CREATE" if stored.version == 1 else "UPDATE"


def _signers(traced: Traced | None) -> list[tuple[str, str]]:
    """List who anchored a version, and who endorsed that."""
    if traced is None:
        return []
    rows = [(_OF_SIGNER.get(role, "verifier"), org_id) for org_id, role in traced.signers]
    return list(dict.fromkeys(rows))


def _agent(role: str, org_id: str, name: str) -> Resource:
    """Write an agent."""
    return {
        "type": {"coding": [{"system": _PARTICIPANT, "code": role}]},
        "who": _organisation(ORGANISATION, org_id, name),
    }


def _organisation(system: str, value: str, name: str) -> Resource:
    """Refer to an organisation that need not be a record here."""
    who: Resource = {"type": "Organization", "identifier": {"system": system, "value": value}}
    return who | {"display": name} if name else who


def _signature(stored: RecordVersion, ledger: bytes, traced: Traced) -> Resource:
    """Write the signature of the ledger's quorum; its data is put in where it is sent."""
    return {
        "type": [dict(_SIGNATURE_TYPE)],
        "when": instant(traced.signed or traced.time),
        "who": _organisation(LEDGER, ledger.hex(), ""),
        "targetFormat": stored.content_type or _DEFAULT_FORMAT,
        "sigFormat": SIGNATURE_FORMAT,
    }
