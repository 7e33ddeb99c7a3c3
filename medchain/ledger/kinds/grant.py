"""Kind grant: a custodian lets a recipient read, within one consent, or one mandate of the law.

Keeps true: a grant never gives more than what it stands on, stands on it by a ref (so its stop reaches the grant) and
is made by the custodian itself. Trusts the consent's own endorsement for the patient's signature.
Source: `docs/spec/consent.md`, `docs/spec/mandate.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, unhex
from medchain.ledger.kind import LIVING, CheckContext, Kind, Place, refuse
from medchain.ledger.kinds import permission
from medchain.ledger.kinds.content import (
    DAY_S,
    Period,
    check_full,
    check_parties,
    check_types,
    fields,
    names,
    period,
    period_json,
    short_text,
    types_within,
)
from medchain.ledger.kinds.permission import PERMITTING, Permission
from medchain.ledger.object import ACTIVE, Body, in_force, stop_hash
from medchain.ledger.transaction import HASH_BYTES

_FIELDS: Final = ("consent", "custodian", "period", "purpose", "recipient", "resource_types", "stop")


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant's content.

    Attributes:
        consent: map key of the consent or mandate, 32 bytes.
        custodian: org_id that releases.
        recipient: org_id that receives.
        purpose: purpose-of-use code.
        resource_types: FHIR types, sorted, or ``*`` alone.
        period: when it is in force.
        stop: 32 random bytes; who knows them can stop it.
    """

    consent: bytes
    custodian: str
    recipient: str
    purpose: str
    resource_types: tuple[str, ...]
    period: Period
    stop: bytes

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "consent": self.consent.hex(),
            "custodian": self.custodian,
            "period": period_json(self.period),
            "purpose": self.purpose,
            "recipient": self.recipient,
            "resource_types": list(self.resource_types),
            "stop": self.stop.hex(),
        }


def read(content: Mapping[str, Json]) -> Grant:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    return Grant(
        consent=unhex(content["consent"], HASH_BYTES),
        custodian=short_text(content["custodian"]),
        recipient=short_text(content["recipient"]),
        purpose=short_text(content["purpose"]),
        resource_types=names(content["resource_types"]),
        period=period(content["period"]),
        stop=unhex(content["stop"], HASH_BYTES),
    )


def check_form(body: Body, place: Place) -> None:
    """Judge a body by itself.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``grant.custodian`` for one that another than its owner gives.
    """
    grant = read(body.content)
    if grant.custodian != place.creator:
        refuse("grant.custodian", org_id=grant.custodian)


def check(body: Body, context: CheckContext) -> None:
    """Judge a grant's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``grant.not_full``, ``.organisation``, ``.party``, ``.role``, ``.custodian``,
            ``.resource_types``, ``.expires``, ``.stop``, ``.consent``, ``.beyond_consent``.
    """
    check_full(context, is_full=body.is_full, kind="grant")
    grant = read(body.content)
    check_parties(context, (grant.custodian, grant.recipient), "grant")
    check_form(body, context.place)
    if context.change.status != ACTIVE:
        return
    check_types(grant.resource_types, "grant.resource_types")
    if context.change.expires != grant.period.last_day:
        refuse("grant.expires")
    if context.change.stop_hash != stop_hash(grant.stop):
        refuse("grant.stop")
    _check_within(grant, _permission(grant, context))


def _permission(grant: Grant, context: CheckContext) -> Permission:
    """Return the consent or mandate that the grant names, which must be the one that it stands on, in force."""
    found = context.bodies.head(grant.consent)
    if found is None or found[0].kind not in PERMITTING or not in_force(found[0], context.time // DAY_S):
        refuse("grant.consent")
    if [(ref.key, ref.version) for ref in context.change.refs] != [(grant.consent, found[0].version)]:
        refuse("grant.consent")
    return permission.read(found[0].kind, found[1].content)


def _check_within(grant: Grant, consent: Permission) -> None:
    """Refuse a grant that gives more than what it stands on."""
    within = {
        "recipient": grant.recipient == consent.recipient,
        "purpose": grant.purpose == consent.purpose,
        "custodian": grant.custodian in consent.custodians,
        "resource_types": types_within(grant.resource_types, consent.resource_types),
        "period": consent.period.contains(grant.period),
    }
    for name, holds in within.items():
        if not holds:
            refuse("grant.beyond_consent", field=name)


KIND: Final = Kind(
    name="grant",
    number=7,
    transitions=LIVING,
    check=check,
    form=check_form,
    max_until_s=60,
    stoppable=True,
    refs=("consent",),
)
"""Stopped by whoever holds its body, or by its consent's stop."""
