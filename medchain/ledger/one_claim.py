"""A consent for one claim: the claim's records may be disclosed in part, for that claim, and nothing else. Pure.

It is a consent object of the ledger like any other; its FHIR Consent permits an action that nothing but a disclosure
for this one claim is, so a node that does not know the action gives nothing. Keeps true: what has any other form is no
such consent; it names one claim, one custodian, and each record; it ends within a month. Trusts the caller for a
content that was compared with the ledger.
Source: `docs/spec/consent.md` D21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from medchain.encoding import Json, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import DAY_S, Period, period
from medchain.ledger.transaction import HASH_BYTES

ACTION: Final = "urn:medchain:claim-disclosure"
"""Code system of the action; its code is the claim's digest in hexadecimal."""

PURPOSE: Final = "HPAYMT"
"""Purpose of use for which an insurer asks."""

MAX_CITED: Final = 400
"""Most records that a claim cites at one custodian."""

MAX_DAYS: Final = 30
"""Longest that such a consent is in force, in days."""

_REFERENCE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}")
# A permission begins a little before it is signed, since clocks differ.
_SLACK_S: Final = 60
_ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
_CATEGORY: Final = "http://loinc.org"


@dataclass(frozen=True, slots=True)
class OneClaim:
    """What such a consent is for.

    Attributes:
        digest: of the insurer's claim, 32 bytes (`docs/spec/claim.md` 5, ``claim``).
        cited: records that the claim cites, ``Type/id`` at the custodian, sorted.
        kept: sensitivity labels (v3-ActCode) of records that are kept back though they are cited, sorted.
    """

    digest: bytes
    cited: tuple[str, ...]
    kept: tuple[str, ...] = ()

    @property
    def resource_types(self) -> tuple[str, ...]:
        """FHIR types of the records, sorted."""
        return types_of(self.cited)

    def fhir(self) -> dict[str, Json]:
        """Write the FHIR Consent; one that names no record is for `countable` alone."""
        provision: dict[str, Json] = {
            "action": [{"coding": [{"code": self.digest.hex(), "system": ACTION}]}],
            "type": "permit",
        }
        if self.cited:
            provision["data"] = [{"meaning": "instance", "reference": {"reference": one}} for one in self.cited]
        if self.kept:
            labels: list[Json] = [{"code": code, "system": _ACT_CODE} for code in self.kept]
            provision["provision"] = [{"securityLabel": labels, "type": "deny"}]
        return {
            "category": [{"coding": [{"code": "59284-0", "system": _CATEGORY}]}],
            "provision": provision,
            "resourceType": "Consent",
            "scope": {"coding": [{"code": "patient-privacy", "system": _SCOPE}]},
            "status": "active",
        }


def read_cited(value: Json) -> tuple[str, ...]:
    """Read the records that a claim cites: sorted, none twice, at most `MAX_CITED`.

    Raises:
        InputError: ``claim.cited``.
    """
    if type(value) is not list or not 0 < len(value) <= MAX_CITED:
        raise InputError("claim.cited")
    found = tuple(one for one in value if type(one) is str and _REFERENCE.fullmatch(one))
    if list(found) != value or list(found) != sorted(set(found)):
        raise InputError("claim.cited")
    return found


def types_of(cited: Sequence[str]) -> tuple[str, ...]:
    """List the FHIR types of records that are cited, sorted."""
    return tuple(sorted({one.partition("/")[0] for one in cited}))


def one_claim_in(content: Mapping[str, Json]) -> OneClaim | None:
    """Tell for which claim the content of a consent object is.

    Args:
        content: of its body.

    Returns:
        What it is for; None for an object that is no consent for one claim.
    """
    fhir = content.get("fhir")
    provision = fhir.get("provision") if type(fhir) is dict else None
    try:
        found = _named(provision) if type(provision) is dict else None
        span = period(content.get("period")) if found is not None else Period(0, None)
    except InputError:
        return None
    custodians = content.get("custodians")
    is_one = (
        found is not None
        and fhir == found.fhir()
        and span.end is not None
        and span.end - span.start <= MAX_DAYS * DAY_S + _SLACK_S
        and content.get("purpose") == PURPOSE
        and content.get("data_period") is None
        and content.get("resource_types") == list(found.resource_types)
        and type(custodians) is list
        and len(custodians) == 1
    )
    return found if is_one else None


def countable(content: Mapping[str, Json], one: OneClaim) -> dict[str, Json]:
    """Write what a consent for one claim lets be counted: records of any type, cited or not, but those kept back.

    Args:
        content: of its body.
        one: from `one_claim_in`.

    Returns:
        A content for the decision alone; it is on no ledger.
    """
    return {**content, "fhir": replace(one, cited=()).fhir(), "resource_types": ["*"]}


def _named(provision: Mapping[str, Json]) -> OneClaim | None:
    """Read what a provision names; its form is compared whole afterwards. Raises `InputError` for no digest."""
    action, data, below = provision.get("action"), provision.get("data"), provision.get("provision")
    codes = [coding.get("code") for one in _rows(action) for coding in _rows(one.get("coding"))]
    named = [one.get("reference") for one in _rows(data)]
    labels = [label.get("code") for one in _rows(below) for label in _rows(one.get("securityLabel"))]
    if len(codes) != 1:
        return None
    cited = read_cited([one.get("reference") if type(one) is dict else None for one in named])
    kept = [label for label in labels if type(label) is str]
    if len(kept) != len(labels) or kept != sorted(set(kept)) or (below is not None and not kept):
        return None
    return OneClaim(unhex(codes[0], HASH_BYTES), cited, tuple(kept))


def _rows(value: Json) -> list[dict[str, Json]]:
    """List the objects of a list."""
    return [one for one in value if type(one) is dict] if type(value) is list else []
