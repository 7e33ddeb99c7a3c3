"""What a patient hides is given to no other organisation: a record with those that refer to it, or a kind. Pure.

A hiding is a consent object of the ledger that the patient signs like any other. Its only custodian and recipient is
the organisation that has the records, and its FHIR Consent denies them to all but that organisation. Keeps true: what
has any other form is no hiding; a hiding opens nothing; it binds every permission of the patient, whenever given, and
no mandate of the law. Trusts the caller for whose records they are, and for hidings that are in force.
Source: `docs/spec/consent.md` C13.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
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
_TYPES: Final = "http://hl7.org/fhir/resource-types"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


@dataclass(frozen=True, slots=True, order=True)
class Hidden:
    """What one hiding keeps back.

    Attributes:
        types: FHIR types of the records, sorted.
        reference: of the one record, ``TYPE/ID``, with which those that refer to it are hidden; empty for all records
            of these types.
    """

    types: tuple[str, ...]
    reference: str = ""

    @classmethod
    def of_record(cls, reference: str) -> Hidden:
        """Name a record (``TYPE/ID``) with what refers to it."""
        return cls((reference.partition("/")[0],), reference)

    @classmethod
    def of_types(cls, types: Iterable[str]) -> Hidden:
        """Name all records of some FHIR types."""
        return cls(tuple(sorted(set(types))))


def hiding_of(hidden: Hidden, custodian: str) -> dict[str, Json]:
    """Write the FHIR Consent of a hiding.

    Args:
        hidden: what it keeps back.
        custodian: org_id of the organisation that has it, whose own people see it as before.
    """
    own: Json = {
        "reference": {"reference": f"Organization/{custodian}"},
        "role": {"coding": [{"code": "IRCP", "system": _PARTICIPATION}]},
    }
    what: dict[str, Json] = {"class": [{"code": name, "system": _TYPES} for name in hidden.types]}
    if hidden.reference:
        what = {"data": [{"meaning": "dependents", "reference": {"reference": hidden.reference}}]}
    return {
        "category": [{"coding": [{"code": "59284-0", "system": _CATEGORY}]}],
        "policyRule": {"coding": [{"code": "OPTIN", "system": ACT_CODE}]},
        "provision": {**what, "provision": [{"actor": [own], "type": "permit"}], "type": "deny"},
        "resourceType": "Consent",
        "scope": {"coding": [{"code": "patient-privacy", "system": _SCOPE}]},
        "status": "active",
    }


def hiding_terms(hidden: Hidden, custodian: str, subject: str, now: int) -> dict[str, Json]:
    """Write a hiding as terms to sign (local operation ``consent.draft``).

    Args:
        hidden: what it keeps back.
        custodian: org_id of the organisation that has it.
        subject: map key of the subject that signs, hexadecimal.
        now: Unix seconds.
    """
    return {
        "custodians": [custodian],
        "fhir": hiding_of(hidden, custodian),
        "period": {"end": None, "start": now - _START_S},
        "purpose": PURPOSE,
        "recipient": custodian,
        "resource_types": list(hidden.types),
        "subject": subject,
    }


def hidden_in(content: Mapping[str, Json]) -> Hidden | None:
    """Tell what the content of a consent object hides.

    Args:
        content: of its body.

    Returns:
        What it keeps back; None for an object that is no hiding.
    """
    fhir, custodian = content.get("fhir"), content.get("recipient")
    provision = fhir.get("provision") if isinstance(fhir, dict) else None
    hidden = _named(provision) if isinstance(provision, dict) else None
    if hidden is None or not isinstance(custodian, str) or content.get("custodians") != [custodian]:
        return None
    return hidden if fhir == hiding_of(hidden, custodian) else None


def _named(provision: Mapping[str, Json]) -> Hidden | None:
    """Read what a provision names; its form is compared whole afterwards."""
    data, types = provision.get("data"), provision.get("class")
    if isinstance(data, list) and data and isinstance(data[0], dict):
        named = data[0].get("reference")
        reference = named.get("reference") if isinstance(named, dict) else None
        return Hidden.of_record(reference) if isinstance(reference, str) and reference else None
    codes = [one.get("code") for one in types if isinstance(one, dict)] if isinstance(types, list) else []
    found = [one for one in codes if isinstance(one, str)]
    return Hidden.of_types(found) if found else None


def decide_hidden(request: Request, hidden: Collection[Hidden]) -> Decision:
    """Decide what hidings leave to an organisation that asks.

    Args:
        request: who asks, for what, when; its custodian is the one that has the records.
        hidden: what is hidden.

    Returns:
        The decision: permitted is all that is neither hidden nor refers to a record that is.
    """
    custodian = (request.custodian or "").removeprefix("Organization/")
    return decide_inside(request, directives_of(hidden, custodian))


def directives_of(hidden: Iterable[Hidden], custodian: str) -> list[Directive]:
    """Read hidings as the decision does, to stand beside other consents.

    Args:
        hidden: what is hidden.
        custodian: org_id of the organisation that has it.
    """
    return [_compiled(one, custodian) for one in sorted(hidden)]


def hidden_by(contents: Iterable[Mapping[str, Json]]) -> set[Hidden]:
    """List what the contents of consent objects hide."""
    return {found for content in contents if (found := hidden_in(content)) is not None}


def _compiled(hidden: Hidden, custodian: str) -> Directive:
    """Read a hiding as the decision does."""
    name = hidden.reference or ",".join(hidden.types)
    return compile_consent(hiding_of(hidden, custodian), consent_id=name, any_patient=True)
