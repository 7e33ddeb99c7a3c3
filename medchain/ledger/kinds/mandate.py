"""Kind mandate: a legal basis other than consent on which a custodian may release to one recipient.

A court's order, a statute, public health. Keeps true: a regulator enters it, and a drawn organisation that is no party
endorses it, so that neither a hospital nor anybody else alone makes one; it names whose records, which types, for what
and until when, and nothing is open in it; its recipient and custodian are two; it opens nothing by itself, since the
custodian grants under it. Trusts the regulator for what the paper says: no key signs a statute.
Source: `docs/spec/mandate.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError
from medchain.ledger.kind import CheckContext, Kind, Place, refuse
from medchain.ledger.kinds.content import (
    ANY_TYPE,
    DAY_S,
    Period,
    check_full,
    check_parties,
    fields,
    names,
    period,
    period_json,
    short_text,
)
from medchain.ledger.object import ACTIVE, Body, stop_hash
from medchain.ledger.transaction import HASH_BYTES, INDEPENDENT

PURPOSES: Final[Mapping[str, frozenset[str]]] = {
    "court": frozenset({"HLEGAL"}),
    "public-health": frozenset({"DISASTER", "PUBHLTH", "THREAT"}),
    "statute": frozenset({"HCOMPL", "PUBHLTH"}),
}
"""Sort of the basis → purposes of use (v3-ActReason) for which it may be."""

MAX_DAYS: Final = 366
"""Longest period: what is needed for longer is looked at again."""

ISSUER: Final = "regulator"
"""Role of who enters them."""

_FIELDS: Final = (
    "basis",
    "custodian",
    "data_period",
    "patient",
    "period",
    "purpose",
    "recipient",
    "resource_types",
    "stop",
)
_BASIS: Final = ("authority", "kind", "reference", "scope")


@dataclass(frozen=True, slots=True)
class Basis:
    """What the law says.

    Attributes:
        kind: one of `PURPOSES`.
        authority: who ordered it, or whose law it is.
        reference: file number, or article.
        scope: what it covers, in words that the patient is shown.
    """

    kind: str
    authority: str
    reference: str
    scope: str


@dataclass(frozen=True, slots=True)
class Mandate:
    """A mandate's content.

    Attributes:
        basis: what the law says.
        custodian: org_id that may release.
        patient: id of the Patient there.
        recipient: org_id that may receive.
        purpose: purpose-of-use code.
        resource_types: FHIR types, sorted; never all.
        period: when it is in force; it has an end.
        data_period: which dates of records it covers; None: all.
        stop: 32 random bytes; who knows them can stop it.
    """

    basis: Basis
    custodian: str
    patient: str
    recipient: str
    purpose: str
    resource_types: tuple[str, ...]
    period: Period
    data_period: Period | None
    stop: bytes

    @property
    def custodians(self) -> tuple[str, ...]:
        """The custodian, as a consent names its own."""
        return (self.custodian,)

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        basis = self.basis
        return {
            "basis": {
                "authority": basis.authority,
                "kind": basis.kind,
                "reference": basis.reference,
                "scope": basis.scope,
            },
            "custodian": self.custodian,
            "data_period": None if self.data_period is None else period_json(self.data_period),
            "patient": self.patient,
            "period": period_json(self.period),
            "purpose": self.purpose,
            "recipient": self.recipient,
            "resource_types": list(self.resource_types),
            "stop": self.stop.hex(),
        }


def read(content: Mapping[str, Json]) -> Mandate:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    data_period = content["data_period"]
    made = Mandate(
        basis=_basis(content["basis"]),
        custodian=short_text(content["custodian"]),
        patient=short_text(content["patient"]),
        recipient=short_text(content["recipient"]),
        purpose=short_text(content["purpose"]),
        resource_types=names(content["resource_types"]),
        period=period(content["period"]),
        data_period=None if data_period is None else period(data_period),
        stop=unhex(content["stop"], HASH_BYTES),
    )
    if made.purpose not in PURPOSES[made.basis.kind]:
        raise InputError("mandate.purpose")
    if ANY_TYPE in made.resource_types:
        # No more than the law asks for.
        raise InputError("mandate.resource_types")
    end = made.period.end
    if end is None or end - made.period.start > MAX_DAYS * DAY_S:
        raise InputError("mandate.period")
    return made


def check_form(body: Body, place: Place) -> None:
    """Judge a body by itself.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``mandate.custodian`` where the custodian asks itself, or who enters it holds the records.
    """
    mandate = read(body.content)
    if mandate.custodian in (mandate.recipient, place.creator):
        refuse("mandate.custodian", org_id=mandate.custodian)


def check(body: Body, context: CheckContext) -> None:
    """Judge a mandate's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``mandate.not_full``, ``.organisation``, ``.party``, ``.role``, ``.custodian``, ``.issuer``,
            ``.alone``, ``.expires``, ``.expired``, ``.stop``.
    """
    check_full(context, is_full=body.is_full, kind="mandate")
    mandate = read(body.content)
    check_parties(context, (mandate.custodian, mandate.recipient), "mandate")
    check_form(body, context.place)
    if context.members.organisations[context.creator].role != ISSUER:
        refuse("mandate.issuer", org_id=context.creator)
    if not any(row.role == INDEPENDENT for row in context.signers):
        # Whatever the policy says: who enters it does not vouch for it alone.
        refuse("mandate.alone")
    if context.change.expires != mandate.period.last_day:
        refuse("mandate.expires")
    if (mandate.period.end or 0) < context.time:
        refuse("mandate.expired")
    if context.change.stop_hash != stop_hash(mandate.stop):
        refuse("mandate.stop")


def _basis(value: Json) -> Basis:
    """Read what the law says."""
    row = members(value, dict.fromkeys(_BASIS, str))
    made = Basis(**{name: short_text(row[name]) for name in _BASIS})
    if made.kind not in PURPOSES:
        raise InputError("mandate.basis")
    return made


KIND: Final = Kind(
    name="mandate",
    number=16,
    transitions={None: frozenset({ACTIVE})},
    check=check,
    form=check_form,
    max_until_s=60,
    stoppable=True,
    counts_as="consent",
)
"""One version, until it is over or stopped; other terms are another mandate."""
