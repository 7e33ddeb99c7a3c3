"""What a claim says, as an insurer's desk needs it: how much, which records it cites at which hospital, whose.

Read as a verdict reads it (`medchain.ledger.evidence.claim_reading`). Keeps true: a reference is to a hospital's
records only if it lies under an address that the ledger lists, or listed, for that hospital, or is relative, and then
it is to those of who provided the services; what cannot be told is nobody's. Pure. Trusts nothing that is parsed.
Source: FHIR R4 Claim (§13.1), ExplanationOfBenefit (§13.10), Reference (§2.3.0); `docs/spec/claim-case.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from medchain.crypto.fields import record_fields
from medchain.encoding import Json
from medchain.errors import InputError
from medchain.ledger.evidence.claim_reading import read_claim as read_document
from medchain.ledger.evidence.claim_reading import text_of
from medchain.ledger.evidence.document import MAX_CLAIM_BYTES, MAX_WAITING_DAYS, InsurancePolicy, claim_digest
from medchain.ledger.invoice import Amount
from medchain.ledger.kinds.content import count
from medchain.ledger.members import Members, addresses_of

MAX_CITED: Final = 400
"""Most records that a claim cites at one hospital."""

MAX_NUMBER: Final = 200
"""Longest name of a claim."""

CLAIM_TYPES: Final = ("Claim", "ExplanationOfBenefit")
"""Resource types of a claim."""

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ORIGIN: Final = re.compile(r"(https?://[^/?#]+)(?:/.*)?")
_PATIENT: Final = re.compile(r"(?:(.+)/)?Patient/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")


@dataclass(frozen=True, slots=True)
class ClaimFile:
    """A claim, read.

    Attributes:
        content: its bytes.
        number: how its insurer names it; empty where it does not say.
        patient: its patient's reference, as it is written; empty for none.
        hospital: org_id of who provided the services; empty for no member.
        amount: what is claimed; None where it does not say.
        created: last second of when it says that it was made, Unix seconds; None where it does not say.
        services: days of the services, sorted.
        cited: org_id → ``Type/id`` of the records there, sorted.
        outside: references to records that are no member's, sorted.
    """

    content: bytes = field(repr=False)
    number: str
    patient: str
    hospital: str
    amount: Amount | None
    created: int | None
    services: tuple[str, ...]
    cited: Mapping[str, tuple[str, ...]]
    outside: tuple[str, ...]

    @property
    def digest(self) -> bytes:
        """By which requests, consents and the ledger name the claim, 32 bytes."""
        return claim_digest(self.content)


def read_claim(
    content: bytes, known: Members, hospital: str = "", *, earlier: Callable[[], Mapping[str, str]] = dict
) -> ClaimFile:
    """Read a claim.

    Args:
        content: its FHIR JSON, as it came.
        known: the members of this moment.
        hospital: org_id of who provided the services, as the caller knows it; empty for what the claim says.
        earlier: gives address (scheme, host and port) → org_id of who lists it or listed it last; asked where the claim
            cites one that nobody lists.

    Returns:
        What it says.

    Raises:
        InputError: ``case.claim`` for what is no claim, is too large, cites too many records or a hospital that is no
            member.
    """
    if len(content) > MAX_CLAIM_BYTES:
        raise InputError("case.claim")
    try:
        read = read_document(content)
    except InputError as error:
        raise InputError("case.claim") from error
    told = {name.decode(): text.decode() for name, text in record_fields(content)}
    of_origin: Mapping[str, str] = addresses_of(known.organisations.values())
    if not {one.address for one in read.cited if one.address} <= of_origin.keys():
        of_origin = {**earlier(), **of_origin}
    named = hospital or (read.provider if read.provider in known.organisations else "") or ""
    if named and named not in known.organisations:
        raise InputError("case.claim")
    found: dict[str, set[str]] = {}
    outside: set[str] = set()
    for base, reference in read.cited:
        org_id = _member_of(base, of_origin, named)
        if org_id:
            found.setdefault(org_id, set()).add(reference)
        else:
            outside.add(f"{base}/{reference}" if base else reference)
    if any(len(rows) > MAX_CITED for rows in found.values()):
        raise InputError("case.claim")
    return ClaimFile(
        content=content,
        number=(text_of(told, "/identifier/0/value") or "")[:MAX_NUMBER],
        patient=text_of(told, "/patient/reference") or "",
        hospital=named or (next(iter(found)) if len(found) == 1 else ""),
        amount=read.total,
        created=read.created,
        services=read.services,
        cited={org_id: tuple(sorted(rows)) for org_id, rows in sorted(found.items())},
        outside=tuple(sorted(outside)),
    )


def patients_of(references: Iterable[str], known: Members, hospital: str = "") -> dict[str, str]:
    """Tell which Patient references name at which member.

    Args:
        references: as they are written.
        known: the members of this moment.
        hospital: org_id of whose records relative ones are; empty for nobody's.

    Returns:
        org_id → id of the Patient there; the first that is named of each.
    """
    of_origin, found = addresses_of(known.organisations.values()), dict[str, str]()
    for one in references:
        match = _PATIENT.fullmatch(one)
        org_id = "" if match is None else _member_of(match[1] or "", of_origin, hospital)
        if match is not None and org_id:
            found.setdefault(org_id, match[2])
    return found


def read_policy(value: Json) -> InsurancePolicy | None:
    """Read when a customer is insured; None for null; raises `InputError` ``case.policy``, ``content.number``."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {"end", "start", "waiting_days"}:
        raise InputError("case.policy")
    waiting = count(value["waiting_days"])
    if waiting > MAX_WAITING_DAYS:
        raise InputError("case.policy")
    return InsurancePolicy(_day(value["start"]), _day(value["end"]), waiting)


def _member_of(base: str, of_origin: Mapping[str, str], hospital: str) -> str:
    """Tell whose records a reference is to: those of its address, or of who provided the services; empty for nobody."""
    match = _ORIGIN.fullmatch(base)
    if match is None:
        return "" if base else hospital
    return of_origin.get(match[1], "")


def _day(value: Json) -> str | None:
    """Read a day, ``YYYY-MM-DD``, or null."""
    if value is None:
        return None
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        raise InputError("case.policy")
    try:
        date.fromisoformat(value)
    except ValueError as error:
        raise InputError("case.policy") from error
    return value
