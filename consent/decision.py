"""The decision: may this organisation read records of this patient, for this purpose, now? Pure.

Keeps true: nothing is permitted that the patient's consent does not name (custodian, recipient, purpose, period); what
is permitted is narrowed to the resource types and the dates of records that the consent names; an absent, malformed or
ended consent denies. The answer is a value with its reason, never an exception. Trusts the caller for contents that
were compared with the ledger's body hash, and for the ledger's time.
Source: `docs/spec/consent.md`; FHIR R4 Consent for the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from medchain.encoding import Json, canonical, digest
from medchain.errors import InputError
from medchain.ledger.kinds import consent as consents
from medchain.ledger.kinds.content import ANY_TYPE, Period

DENY_NO_CONSENT: Final = "consent.none"
"""No consent of the patient applies."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for what.

    Attributes:
        custodian: org_id of the organisation that holds the records.
        recipient: org_id of the organisation that asks.
        purpose: purpose-of-use code (HL7 v3 PurposeOfUse).
        time: the ledger's time, Unix seconds.
        resource_types: FHIR types asked for, or ``("*",)``.
    """

    custodian: str
    recipient: str
    purpose: str
    time: int
    resource_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """A consent that was compared with the ledger.

    Attributes:
        key: its map key, 32 bytes.
        version: version of the head.
        content: content of its body.
    """

    key: bytes
    version: int
    content: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Permit:
    """Everything that was asked for may be read.

    Attributes:
        basis: map key of the deciding consent, 32 bytes.
        version: its version.
        receipt: hash of everything that the decision looked at, 32 bytes.
    """

    basis: bytes
    version: int
    receipt: bytes


@dataclass(frozen=True, slots=True)
class Filter:
    """A part of what was asked for may be read.

    Attributes:
        basis: map key of the deciding consent, 32 bytes.
        version: its version.
        receipt: hash of everything that the decision looked at, 32 bytes.
        resource_types: FHIR types that pass; None: all.
        data_period: dates of records that pass; None: all.
    """

    basis: bytes
    version: int
    receipt: bytes
    resource_types: frozenset[str] | None
    data_period: Period | None


@dataclass(frozen=True, slots=True)
class Deny:
    """Nothing may be read.

    Attributes:
        reason: stable code.
        receipt: hash of everything that the decision looked at, 32 bytes.
    """

    reason: str
    receipt: bytes


Decision: TypeAlias = Permit | Filter | Deny
"""What `decide` answers."""


def decide(request: Request, given: Sequence[Given]) -> Decision:
    """Decide a request under the consents that are in force.

    Args:
        request: who asks for what.
        given: consents whose heads are active on the ledger's final state; their order does not matter.

    Returns:
        The decision under the consent that permits most; among equals the smallest map key, so that every node
        answers the same.
    """
    receipt = _receipt(request, given)
    found = [answer for item in given if (answer := _apply(request, item, receipt)) is not None]
    if not found:
        return Deny(DENY_NO_CONSENT, receipt)
    return min(found, key=_rank)


def passes(decision: Decision, resource_type: str, date: int | None) -> bool:
    """Tell whether one record may be read under a decision.

    Args:
        decision: from `decide`.
        resource_type: its FHIR type.
        date: when what it tells of happened, Unix seconds; None where it does not say: then a limit on dates denies.

    Returns:
        True if it may.
    """
    match decision:
        case Permit():
            return True
        case Deny():
            return False
        case Filter(resource_types=types, data_period=period):
            if types is not None and resource_type not in types:
                return False
            return period is None or (date is not None and period.contains(Period(date, date)))


class ConsentDecision:
    """Fills the port of the ledger's checks (`medchain.ledger.kind.DecisionPort`)."""

    def permits(self, consent: Mapping[str, Json], access: Mapping[str, Json], time: int) -> bool:
        """Tell whether a consent's content permits an access's content at a time.

        Args:
            consent: content of a consent's body.
            access: row of an access object's content.
            time: Unix seconds.

        Returns:
            True if its purpose is the consent's and the consent is in force; false for anything malformed.
        """
        try:
            content = consents.read(consent)
        except InputError:
            return False
        return access.get("purpose") == content.purpose and content.period.contains(Period(time, time))


def _apply(request: Request, item: Given, receipt: bytes) -> Permit | Filter | None:
    """Judge one consent; None where it does not apply. A malformed one never does."""
    try:
        content = consents.read(item.content)
    except InputError:
        return None
    applies = (
        request.custodian in content.custodians
        and request.recipient == content.recipient
        and request.purpose == content.purpose
        and content.period.contains(Period(request.time, request.time))
    )
    if not applies:
        return None
    every = ANY_TYPE in content.resource_types
    asked = frozenset(request.resource_types)
    allowed = frozenset(content.resource_types)
    types = allowed if ANY_TYPE in asked else asked & allowed
    if not every and not types:
        return None
    if content.data_period is None and (every or types == asked):
        return Permit(item.key, item.version, receipt)
    return Filter(item.key, item.version, receipt, None if every else types, content.data_period)


def _rank(answer: Permit | Filter) -> tuple[bool, bool, int, bytes]:
    """Order answers: whole before part, all types before some, more types before fewer, then by map key."""
    if isinstance(answer, Permit):
        return (False, False, 0, answer.basis)
    types = answer.resource_types
    return (True, types is not None, -len(types or ()), answer.basis)


def _receipt(request: Request, given: Sequence[Given]) -> bytes:
    """Hash request and consents, so that a decision can be repeated and compared."""
    types: list[Json] = [*sorted(set(request.resource_types))]
    document: Json = {
        "consents": [[item.key.hex(), item.version] for item in sorted(given, key=lambda item: item.key)],
        "custodian": request.custodian,
        "purpose": request.purpose,
        "recipient": request.recipient,
        "resource_types": types,
        "time": request.time,
    }
    return digest("medchain/decision-receipt/v1", canonical(document))
