"""A consent object of the ledger as a FHIR Consent that anybody's system can read. Pure.

Keeps true: read by the decision, what is written permits nothing that the object does not; what it cannot say is left
out of what is permitted. Trusts the caller for whose it is and whether it is in force.
Source: FHIR R4 Consent; `docs/spec/consent.md` C12.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from consent.vocabulary import ACT_CODE, ACT_REASON
from medchain.encoding import Json
from medchain.ledger.kinds.consent import Consent
from medchain.ledger.kinds.content import ANY_TYPE, Period

IDENTIFIER: Final = "urn:medchain:consent"
"""System of the identifier of a consent object: its map key in hex."""

SUBJECT: Final = "urn:medchain:subject"
"""System of the identifier by which a subject of the ledger is named where no Patient is here: its map key in hex."""

ORGANISATION: Final = "urn:medchain:organisation"
"""System of the identifiers of organisations."""

RELEASES: Final = "releases"
"""Tag, in the system `IDENTIFIER`, of what is about releases and says nothing of the custodian's own staff."""

_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_TYPES: Final = "http://hl7.org/fhir/resource-types"
_SCOPE_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
_PRIVACY: Final = "patient-privacy"
_LOINC: Final = "http://loinc.org"
_LAST: Final = 253_402_300_799
_RULES: Final = frozenset({"policy", "policyRule", "provision"})
# What has a member beside these may mean something else than its rules say.
_KNOWN: Final = frozenset(
    {
        "category",
        "dateTime",
        "id",
        "identifier",
        "language",
        "meta",
        "organization",
        "patient",
        "performer",
        "policyRule",
        "provision",
        "resourceType",
        "scope",
        "status",
        "text",
        "verification",
    }
)
_OPTS: Final = {"OPTIN": "permit", "OPTOUT": "deny"}


def written(content: Consent, key: bytes, patient: str, *, is_in_force: bool) -> dict[str, object]:
    """Write a consent object.

    The root has what a search looks for: recipient, purpose and period. Whose records, of which types and dates, stands
    in the provision inside it, which bounds what the object's own FHIR Consent says in turn.

    Args:
        content: of its body.
        key: map key, 32 bytes.
        patient: reference of the Patient; empty where none is here: then it names the ledger's subject.
        is_in_force: whether it counts now.

    Returns:
        The resource, without an id and `meta`.
    """
    subject = {"type": "Patient", "identifier": {"system": SUBJECT, "value": content.patient.hex()}}
    named: dict[str, object] = {"patient": {"reference": patient} if patient else subject}
    if patient and content.acting_for is None:
        named["performer"] = [{"reference": patient}]
    return {
        "resourceType": "Consent",
        "identifier": [{"system": IDENTIFIER, "value": key.hex()}],
        "status": "active" if is_in_force else "inactive",
        "scope": {"coding": [{"system": _SCOPE_SYSTEM, "code": _PRIVACY}]},
        "category": [{"coding": [{"system": _LOINC, "code": "59284-0"}]}],
        **named,
        "dateTime": _instant(content.signed_at),
        "organization": [_organisation(one) for one in content.custodians],
        "policyRule": {"coding": [{"system": ACT_CODE, "code": "OPTOUT"}]},
        "provision": {
            "period": _period(content.period),
            "actor": [_actor("IRCP", content.recipient)],
            "purpose": [{"system": ACT_REASON, "code": content.purpose}],
            "provision": [_bounds(content)],
        },
    }


def _bounds(content: Consent) -> dict[str, object]:
    """Write whose records of which types and dates, and what is said of them in detail."""
    bounds: dict[str, object] = {"actor": [_actor("CST", one) for one in content.custodians]}
    if ANY_TYPE not in content.resource_types:
        bounds["class"] = [{"system": _TYPES, "code": name} for name in content.resource_types]
    if content.data_period is not None:
        bounds["dataPeriod"] = _period(content.data_period)
    return bounds | _details(content.fhir)


def _details(fhir: Mapping[str, Json]) -> dict[str, object]:
    """Write the rules of the object's own FHIR Consent as they hold inside its bounds; what is not known denies."""
    if fhir.keys().isdisjoint(_RULES):
        return {"type": "permit"}
    provision, scope = fhir.get("provision", {}), fhir.get("scope")
    is_privacy = _code(scope, {_SCOPE_SYSTEM, None}) == _PRIVACY
    base = _OPTS.get(_code(fhir.get("policyRule"), {ACT_CODE})) if "policyRule" in fhir else "deny"
    if fhir.get("status") != "active" or not is_privacy or not isinstance(provision, dict) or base is None:
        return {"type": "deny"}
    kind = provision.get("type", base)
    if not fhir.keys() <= _KNOWN or kind not in {"permit", "deny"}:
        return {"type": "deny"}
    # A consent with a root permit wants no more than that, whatever stands beside it (D7).
    outside = "permit" if (base, provision.get("type")) == ("permit", "deny") else "deny"
    return {"type": outside, "provision": [{**provision, "type": kind}]}


def _code(concept: Json, systems: Collection[str | None]) -> str:
    """Read the code of a concept with a single coding of one of some systems; empty for any other."""
    codings = concept.get("coding") if isinstance(concept, dict) else None
    one = codings[0] if isinstance(codings, list) and len(codings) == 1 else None
    return str(one.get("code")) if isinstance(one, dict) and one.get("system") in systems else ""


def _actor(role: str, org_id: str) -> dict[str, object]:
    """Write an organisation that takes part."""
    return {"role": {"coding": [{"system": _PARTICIPATION, "code": role}]}, "reference": _organisation(org_id)}


def _organisation(org_id: str) -> dict[str, object]:
    """Refer to an organisation."""
    return {"reference": f"Organization/{org_id}", "identifier": {"system": ORGANISATION, "value": org_id}}


def _period(period: Period) -> dict[str, object]:
    """Write a period of seconds, both ends included; an end after the last year is none."""
    end = {} if period.end is None or period.end > _LAST else {"end": _instant(period.end)}
    return {"start": _instant(min(period.start, _LAST)), **end}


def _instant(seconds: int) -> str:
    """Write a second."""
    return datetime.fromtimestamp(min(seconds, _LAST), UTC).isoformat()
