"""AuditEvents: what happened, as FHIR tells it.

Keeps true: an event is valid R4 and says no more than its frame and the names of the versions that it touched. Trusts
the frame.
Source: FHIR R4 AuditEvent (§6.4); IHE Basic Audit Log Patterns 1.1.3, RESTful activities.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from fhir_bridge.audit import BEGUN, COUNT, QUESTION, RECEIVE, RELEASE, Happening
from fhir_bridge.document import Element, Resource
from fhir_bridge.references import instant
from medchain.store.records import CONCERN

_TERMS: Final = "http://terminology.hl7.org/CodeSystem/"
REST_TYPE: Final = f"{_TERMS}audit-event-type|rest"
"""Type of the events of requests to the FHIR API, as a search names it."""

ORGANISATION: Final = "urn:medchain:organisation"
"""System by which organisations are named."""

_RESTFUL: Final = "http://hl7.org/fhir/restful-interaction"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_BALP: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_CLIENT: Final = "urn:medchain:client"
_ROLE: Final = "urn:medchain:role"
_ACCOUNT: Final = "urn:medchain:account"
_ATTESTATION: Final = "urn:medchain:attestation"
_OBJECT: Final = "urn:medchain:object"
_DEED: Final = "urn:medchain:deed"
_CONCERN: Final = "urn:medchain:concern"
_CLAIM: Final = "urn:medchain:claim-handling"
_RECEIPT: Final = "urn:medchain:decision-receipts"
_ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_LIFECYCLE: Final = f"{_TERMS}iso-21089-lifecycle"
_IP_ADDRESS: Final = "2"
_URI: Final = "5"
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


# Deed (`medchain.web.deeds`) → type, subtype and action (DICOM PS3.15 §A.5.3.11, §A.5.3.12), and what its subject is.
_DEEDS: Final = {
    "login": ("110114", "110122", "E", _ACCOUNT),
    "logout": ("110114", "110123", "E", _ACCOUNT),
    "token": ("110114", "110122", "E", _CLIENT),
    "revocation": ("110114", "110123", "E", _CLIENT),
    "client-change": ("110113", "110129", "E", _CLIENT),
    "account-change": ("110113", "110137", "E", _ACCOUNT),
    "attestation-proposed": ("110113", "110137", "E", _ATTESTATION),
    "attestation-confirmed": ("110113", "110137", "E", _ATTESTATION),
    "attestation-dropped": ("110113", "110137", "E", _ATTESTATION),
    "mandate-entered": ("110113", "110135", "E", _OBJECT),
    "mandate-granted": ("110113", "110135", "E", _OBJECT),
    "mandate-stopped": ("110113", "110135", "E", _OBJECT),
    "permission-asked": ("110113", "110135", "E", _OBJECT),
    "permission-stopped": ("110113", "110135", "E", _OBJECT),
    "claim-handled": ("110110", "110132", "U", _CLAIM),
    "claim-viewed": ("110110", "110132", "R", _CLAIM),
    "recovery-announced": ("110113", "110137", "E", _OBJECT),
    "recovery-carried-out": ("110113", "110137", "E", _OBJECT),
}


# What goes from one organisation to another → type (DICOM's Export and Import) and action, as BALP's Privacy Disclosure
# has them at its source and at its recipient.
_BETWEEN: Final = {RELEASE: ("110106", "R"), RECEIVE: ("110107", "C")}


# Action → what client, server and person are to the data: BALP's Read, Create, Update and
# Delete; in its Query the client is the source, as the query flows.
_SOURCE: Final = (_DICOM, "110153")
_DESTINATION: Final = (_DICOM, "110152")
_APPLICATION: Final = (_DICOM, "110150")
_CUSTODIAN: Final = (f"{_TERMS}provenance-participant-type", "custodian")
_PARTS: Final = {
    "R": (_DESTINATION, _SOURCE, "IRCP"),
    "E": (_SOURCE, _DESTINATION, "IRCP"),
    "C": (_SOURCE, _DESTINATION, "AUT"),
    "U": (_SOURCE, _DESTINATION, "AUT"),
    "D": (_APPLICATION, _CUSTODIAN, "AUT"),
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
    purpose: Resource = (
        {"purposeOfEvent": [{"coding": [_coding(_ACT_REASON, happening.purpose)]}]} if happening.purpose else {}
    )
    return {
        "resourceType": "AuditEvent",
        "type": act.type,
        "subtype": list(act.subtypes),
        "action": act.action,
        "recorded": instant(happening.time),
        "outcome": _outcome(happening.status),
        "outcomeDesc": _UNKNOWN if happening.status == BEGUN else f"HTTP {happening.status}",
        **purpose,
        "agent": list(_agents_of(happening, act.action, organisation)),
        "source": {
            "observer": member_reference(organisation),
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
    if interaction in _BETWEEN:
        kind, action = _BETWEEN[interaction]
        return _Act(_coding(_DICOM, kind), [_coding(_LIFECYCLE, "disclose")], action)
    code, action = _INTERACTIONS.get(interaction, ("operation", "E"))
    return _Act(_coding(*REST_TYPE.split("|")), [_coding(_RESTFUL, code)], action)


def _outcome(status: int) -> str:
    """Say how it ended; what was begun, and ended nobody knows how, is a serious failure."""
    if status == BEGUN:
        return _FAILED
    if status < _FIRST_ERROR:
        return _DONE
    return _REFUSED if status < _FIRST_FAILURE else _FAILED


def _agents_of(happening: Happening, action: str, organisation: str) -> Iterable[Element]:
    """Say who took part."""
    if happening.interaction not in _BETWEEN:
        return _agents(happening, action, organisation)
    own, other = (organisation, happening.place), (happening.client, happening.peer)
    source, destination = (own, other) if happening.interaction == RELEASE else (other, own)
    return _member(_SOURCE, source, is_asker=False), _member(_DESTINATION, destination, is_asker=True)


def member_reference(org_id: str) -> dict[str, Any]:  # Any: in documents of either kind of JSON
    """Refer to a member of the consortium, which need not be a record here."""
    return {"identifier": {"system": ORGANISATION, "value": org_id}}


def _member(part: tuple[str, str], member: tuple[str, str], *, is_asker: bool) -> Resource:
    """Make the agent of an organisation, from its id and where its node answers."""
    org_id, url = member
    return {
        "type": {"coding": [_coding(*part)]},
        "who": member_reference(org_id),
        "requestor": is_asker,
        "network": {"address": url, "type": _URI},
    }


def _agents(happening: Happening, action: str, organisation: str) -> Iterable[Element]:
    """Say who took part: the client, the person where one signed in, this server."""
    client_part, server_part, person_part = _PARTS[action]
    client: Resource = {
        "type": {"coding": [_coding(*client_part)]},
        "who": {"identifier": {"system": _system_of(happening.interaction), "value": happening.client}},
        "requestor": not happening.user,
    }
    if happening.address:
        client["network"] = {"address": happening.address, "type": _IP_ADDRESS}
    yield client
    if happening.user:
        who: Resource = (
            {"reference": happening.user}
            if "/" in happening.user
            else {"identifier": {"system": _CLIENT, "value": happening.user}}
        )
        person: Resource = {
            "type": {"coding": [_coding(f"{_TERMS}v3-ParticipationType", person_part)]},
            "who": who,
            "requestor": True,
        }
        if happening.role:
            person["role"] = [{"coding": [_coding(_ROLE, happening.role)]}]
        yield person
    yield {
        "type": {"coding": [_coding(*server_part)]},
        "who": member_reference(organisation),
        "requestor": False,
    }


def _system_of(interaction: str) -> str:
    """Say what names a client: an id of this node's, or, of another organisation's node, the organisation."""
    return ORGANISATION if interaction == QUESTION else _CLIENT


def _entities(happening: Happening, versions: list[Version]) -> Iterable[Element]:
    """Say what it was about: versions, their patients, the query, the request."""
    for one in versions:
        yield _entity_of(one)
    yield from _entities_elsewhere(happening)
    if not versions and not happening.elsewhere and happening.type and happening.id and _is_done(happening):
        yield _entity("2", "4", {"reference": f"{happening.type}/{happening.id}"})
    patients = dict.fromkeys(one.patient for one in versions if one.patient)
    for patient in patients:
        yield _entity("1", "1", {"reference": f"Patient/{patient}"})
    deed = _DEEDS.get(happening.interaction)
    if deed is not None:
        yield from _entities_of_deed(happening, deed[-1])
    asked = "" if deed is not None else happening.query or _address(happening)
    if asked:
        query: Resource = {
            "type": _coding(f"{_TERMS}audit-entity-type", "2"),
            "role": _coding(f"{_TERMS}object-role", "24"),
            "query": base64.b64encode(asked.encode()).decode(),
        }
        yield query
    for basis in happening.basis:
        system, _, value = basis.partition("|")
        yield {"what": {"identifier": {"system": system, "value": value}}}
    if happening.receipt:
        yield {"what": {"identifier": {"system": _RECEIPT, "value": happening.receipt}}}
    yield {
        "what": {"identifier": {"value": happening.request}},
        "type": _coding(_BALP, "XrequestId"),
    }


def _entity_of(one: Version) -> Resource:
    """Name a version: by its address, or, of what is no resource, by an identifier."""
    if one.type != CONCERN:
        return _entity("2", "4", {"reference": f"{one.type}/{one.id}/_history/{one.version}"})
    named: Element = {"type": "version", "valueString": str(one.version)}
    return {**_entity("2", "4", {"identifier": {"system": _CONCERN, "value": one.id}}), "detail": [named]}


def _entities_elsewhere(happening: Happening) -> Iterable[Element]:
    """Name what was shown of other organisations' records by addresses there: versions, and patients."""
    for url in happening.elsewhere:
        is_version = "/_history/" in url
        yield _entity("2" if is_version else "1", "4" if is_version else "1", {"reference": url})


def _entities_of_deed(happening: Happening, system: str) -> Iterable[Element]:
    """Say whom a deed was done to, and how many times where it tells of several."""
    if happening.id:
        yield {"what": {"identifier": {"system": system, "value": happening.id}}}
    if happening.query.startswith(COUNT):
        number: Element = {"type": "count", "valueString": happening.query.removeprefix(COUNT)}
        yield {"what": {"identifier": {"system": _DEED, "value": happening.interaction}}, "detail": [number]}


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
