"""What a patient hides: a record, and those that refer to it, are given to no other organisation. Pure.

A hiding is a consent object of the ledger that the patient signs like any other. Its only custodian and recipient is
the organisation that has the record, and its FHIR Consent denies that record to all but that organisation. Keeps true:
what has any other form is no hiding; a hiding opens nothing; it binds every permission of the patient, whenever given,
and no mandate of the law. Trusts the caller for whose record it is, and for hidings that are in force.
Source: `docs/spec/consent.md` C13.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from consent.custodian import decide_inside
from consent.decision import Decision, Directive, Request, compile_consent
from consent.vocabulary import ACT_CODE
from medchain.encoding import Json

PURPOSE: Final = "PATRQT"
"""Purpose of use that a hiding names: the patient's own request."""

_START_S: Final = 60
_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
_CATEGORY: Final = "http://loinc.org"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


def hiding_of(reference: str, custodian: str) -> dict[str, Json]:
    """Write the FHIR Consent of a hiding.

    Args:
        reference: of the record, ``TYPE/ID``.
        custodian: org_id of the organisation that has it, whose own people see it as before.
    """
    own: Json = {
        "reference": {"reference": f"Organization/{custodian}"},
        "role": {"coding": [{"code": "IRCP", "system": _PARTICIPATION}]},
    }
    return {
        "category": [{"coding": [{"code": "59284-0", "system": _CATEGORY}]}],
        "policyRule": {"coding": [{"code": "OPTIN", "system": ACT_CODE}]},
        "provision": {
            "data": [{"meaning": "dependents", "reference": {"reference": reference}}],
            "provision": [{"actor": [own], "type": "permit"}],
            "type": "deny",
        },
        "resourceType": "Consent",
        "scope": {"coding": [{"code": "patient-privacy", "system": _SCOPE}]},
        "status": "active",
    }


def hiding_terms(reference: str, custodian: str, subject: str, now: int) -> dict[str, Json]:
    """Write a hiding as terms to sign (local operation ``consent.draft``).

    Args:
        reference: of the record, ``TYPE/ID``.
        custodian: org_id of the organisation that has it.
        subject: map key of the subject that signs, hexadecimal.
        now: Unix seconds.
    """
    return {
        "custodians": [custodian],
        "fhir": hiding_of(reference, custodian),
        "period": {"end": None, "start": now - _START_S},
        "purpose": PURPOSE,
        "recipient": custodian,
        "resource_types": [reference.partition("/")[0]],
        "subject": subject,
    }


def hidden_in(content: Mapping[str, Json]) -> str:
    """Tell which record the content of a consent object hides.

    Args:
        content: of its body.

    Returns:
        The record's reference; empty for an object that is no hiding.
    """
    fhir, custodian = content.get("fhir"), content.get("recipient")
    provision = fhir.get("provision") if isinstance(fhir, dict) else None
    data = provision.get("data") if isinstance(provision, dict) else None
    named = data[0].get("reference") if isinstance(data, list) and data and isinstance(data[0], dict) else None
    reference = named.get("reference") if isinstance(named, dict) else None
    if not isinstance(reference, str) or not isinstance(custodian, str) or content.get("custodians") != [custodian]:
        return ""
    return reference if fhir == hiding_of(reference, custodian) else ""


def decide_hidden(request: Request, references: Collection[str]) -> Decision:
    """Decide what hidings leave to an organisation that asks.

    Args:
        request: who asks, for what, when; its custodian is the one that has the records.
        references: of the records that are hidden.

    Returns:
        The decision: permitted is all that is neither hidden nor refers to what is.
    """
    custodian = (request.custodian or "").removeprefix("Organization/")
    return decide_inside(request, [_compiled(reference, custodian) for reference in sorted(references)])


def _compiled(reference: str, custodian: str) -> Directive:
    """Read a hiding as the decision does."""
    return compile_consent(hiding_of(reference, custodian), consent_id=reference, any_patient=True)
