"""AuditEvents: what happened, as FHIR tells it.

Keeps true: an event is valid R4 and says no more than its frame and the names of the versions that it touched. Trusts
the frame.
Source: FHIR R4 AuditEvent (§6.4); IHE Basic Audit Log Patterns 1.1.3, RESTful activities.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final, NamedTuple

from fhir_bridge.audit import BEGUN, Happening
from fhir_bridge.document import Element, Resource
from fhir_bridge.references import instant

_TERMS: Final = "http://terminology.hl7.org/CodeSystem/"
_RESTFUL: Final = "http://hl7.org/fhir/restful-interaction"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_BALP: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_CLIENT: Final = "urn:medchain:client"
_ROLE: Final = "urn:medchain:role"
_ORGANISATION: Final = "urn:medchain:organisation"
_ACCOUNT: Final = "urn:medchain:account"
_DEED: Final = "urn:medchain:deed"
_DONE: Final = "0"
_REFUSED: Final = "4"
_FAILED: Final = "8"
_FIRST_ERROR: Final = 400
_FIRST_FAILURE: Final = 500
_UNKNOWN: Final = "unknown: ended before the answer; may have been done | 未知：应答之前中断，操作可能已完成"

# Interaction of the registry → code of FHIR's restful-interaction, and action.
_INTERACTIONS: Final = {
    "read": ("read", "R"),
    "vread": ("vread", "R"),
    "proof": ("operation", "R"),
    "create": ("create", "C"),
    "update": ("update", "U"),
    "patch": ("patch", "U"),
    "delete": ("delete", "D"),
    "history": ("history", "R"),
    "search": ("search", "E"),
    "everything": ("operation", "E"),
    "export-file": ("operation", "R"),
    "export-cancel": ("operation", "D"),
    "meta": ("operation", "R"),
    "meta-add": ("operation", "U"),
    "meta-delete": ("operation", "U"),
    "batch": ("batch", "E"),
    "transaction": ("transaction", "E"),
    # One that ended before it was known which of both it is.
    "bundle": ("transaction", "E"),
}


# Deed (`medchain.web.deeds`) → type and subtype (DICOM PS3.16 CID 400, 401), action, and what its subject is.
_DEEDS: Final = {
    "login": ("110114", "110122", "E", _ACCOUNT),
    "logout": ("110114", "110123", "E", _ACCOUNT),
    "token": ("110114", "110122", "E", _CLIENT),
    "revocation": ("110114", "110123", "E", _CLIENT),
    "client-change": ("110113", "110129", "U", _CLIENT),
    "account-change": ("110113", "110137", "U", _ACCOUNT),
}


class _Act(NamedTuple):
    """What an event is one of.

    Attributes:
        type: coding.
        subtypes: codings.
        action: code.
    """

    type: Resource
    subtypes: list[Resource]
    action: str


class Version(NamedTuple):
    """A record version by name.

    Attributes:
        type: resource type.
        id: of the record.
        version: its number.
        patient: id of the patient whom it is about, or empty.
    """

    type: str
    id: str
    version: int
    patient: str


def audit_event(happening: Happening, versions: Iterable[Version], organisation: str) -> Resource:
    """Make the AuditEvent of a frame.

    Args:
        happening: what the frame says.
        versions: what it touched.
        organisation: id of this node's organisation.

    Returns:
        The resource, without an id.
    """
    act = _act(happening.interaction)
    return {
        "resourceType": "AuditEvent",
        "type": act.type,
        "subtype": list(act.subtypes),
        "action": act.action,
        "recorded": instant(happening.time),
        "outcome": _outcome(happening.status),
        "outcomeDesc": _UNKNOWN if happening.status == BEGUN else f"HTTP {happening.status}",
        "agent": list(_agents(happening, organisation)),
        "source": {
            "observer": {"identifier": {"system": _ORGANISATION, "value": organisation}},
            "type": [_coding(f"{_TERMS}security-source-type", "4")],
        },
        "entity": list(_entities(happening, list(versions))),
    }


def _act(interaction: str) -> _Act:
    """Say what was done."""
    deed = _DEEDS.get(interaction)
    if deed is not None:
        kind, subkind, action, _ = deed
        return _Act(_coding(_DICOM, kind), [_coding(_DICOM, subkind), _coding(_DEED, interaction)], action)
    code, action = _INTERACTIONS.get(interaction, ("operation", "E"))
    return _Act(_coding(f"{_TERMS}audit-event-type", "rest"), [_coding(_RESTFUL, code)], action)


def _outcome(status: int) -> str:
    """Say how it ended; what was begun, and ended nobody knows how, is a serious failure."""
    if status == BEGUN:
        return _FAILED
    if status < _FIRST_ERROR:
        return _DONE
    return _REFUSED if status < _FIRST_FAILURE else _FAILED


def _agents(happening: Happening, organisation: str) -> Iterable[Element]:
    """Say who took part: the client, the person where one signed in, this server."""
    client: Resource = {
        "type": {"coding": [_coding(_DICOM, "110153")]},
        "who": {"identifier": {"system": _CLIENT, "value": happening.client}},
        "requestor": not happening.user,
    }
    yield client
    if happening.user:
        who: Resource = (
            {"reference": happening.user}
            if "/" in happening.user
            else {"identifier": {"system": _CLIENT, "value": happening.user}}
        )
        person: Resource = {
            "type": {"coding": [_coding(f"{_TERMS}v3-ParticipationType", "IRCP")]},
            "who": who,
            "requestor": True,
        }
        if happening.role:
            person["role"] = [{"coding": [_coding(_ROLE, happening.role)]}]
        yield person
    yield {
        "type": {"coding": [_coding(_DICOM, "110152")]},
        "who": {"identifier": {"system": _ORGANISATION, "value": organisation}},
        "requestor": False,
    }


def _entities(happening: Happening, versions: list[Version]) -> Iterable[Element]:
    """Say what it was about: versions, their patients, the query, the request."""
    for one in versions:
        yield _entity("2", "4", {"reference": f"{one.type}/{one.id}/_history/{one.version}"})
    if not versions and happening.type and happening.id and _is_done(happening):
        yield _entity("2", "4", {"reference": f"{happening.type}/{happening.id}"})
    patients = dict.fromkeys(one.patient for one in versions if one.patient)
    for patient in patients:
        yield _entity("1", "1", {"reference": f"Patient/{patient}"})
    deed = _DEEDS.get(happening.interaction)
    if deed is not None and happening.id:
        yield {"what": {"identifier": {"system": deed[-1], "value": happening.id}}}
    asked = happening.query or ("" if deed is not None else _address(happening))
    if asked:
        query: Resource = {
            "type": _coding(f"{_TERMS}audit-entity-type", "2"),
            "role": _coding(f"{_TERMS}object-role", "24"),
            "query": base64.b64encode(asked.encode()).decode(),
        }
        yield query
    yield {
        "what": {"identifier": {"value": happening.request}},
        "type": _coding(_BALP, "XrequestId"),
    }


def _address(happening: Happening) -> str:
    """Write what was asked for where it was not shown: an address that a client made up is no reference."""
    if _is_done(happening):
        return ""
    return "/".join(part for part in (happening.type, happening.id, happening.version) if part)


def _is_done(happening: Happening) -> bool:
    """Tell whether what was asked for was done."""
    return BEGUN < happening.status < _FIRST_ERROR


def _entity(kind: str, role: str, what: Resource) -> Resource:
    """Make an entity."""
    return {
        "what": what,
        "type": _coding(f"{_TERMS}audit-entity-type", kind),
        "role": _coding(f"{_TERMS}object-role", role),
    }


def _coding(system: str, code: str) -> Resource:
    """Make a coding."""
    return {"system": system, "code": code}
