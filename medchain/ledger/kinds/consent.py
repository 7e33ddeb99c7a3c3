"""Kind consent: a patient allows one recipient one purpose, signed with the patient's own passkey.

Keeps true: what is allowed is what was signed, by a passkey of the subject's head, at a signing origin; a later version
never gives more without a new signature; recipient, purpose and subject of an object never change. Staff may attest a
paper consent, which is marked as such and can only narrow what was signed. Trusts the port above for what the FHIR
Consent means in detail.
Source: `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, unhex
from medchain.errors import InputError
from medchain.ledger.kind import HOLDER, LIVING, CheckContext, Kind, Place, refuse
from medchain.ledger.kinds import alone, capacity, signing
from medchain.ledger.kinds.capacity import CONSENT, Deed
from medchain.ledger.kinds.content import (
    ANY_TYPE,
    Period,
    check_full,
    check_parties,
    check_types,
    count,
    fields,
    key_or_none,
    names,
    period,
    period_json,
    short_text,
    types_within,
)
from medchain.ledger.object import ACTIVE, Body, stop_hash
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

CREATE: Final = "create"
"""Operation of version 1."""

RENEW: Final = "renew"
"""Operation of later versions."""

WITHDRAW: Final = "withdraw"
"""Operation of the body of a stop that the patient signed."""

MAX_JOINED: Final = 15
"""Most delegates who sign beside the first."""

_FIELDS: Final = (
    "acting_for",
    "custodians",
    "data_period",
    "fhir",
    "joined",
    "nonce",
    "operation",
    "period",
    "purpose",
    "recipient",
    "resource_types",
    "signed_at",
    "stop",
    "subject",
)
_EVER: Final = Period(0, None)

_RELEASE: Final = Deed(CONSENT, widens=True, resource_types=(ANY_TYPE,))
"""The end of a hiding, which opens what refers to the hidden record too, of whatever type."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent's content.

    Attributes:
        subject: map key of the subject object of the person who signs, 32 bytes.
        acting_for: map key of the person whose data it is, where a delegate signs.
        custodians: org_ids that may release, sorted.
        recipient: org_id that may receive.
        purpose: purpose-of-use code (HL7 v3 PurposeOfUse).
        resource_types: FHIR types, sorted, or ``*`` alone.
        period: when it is in force.
        data_period: which dates of records it covers; None: all.
        fhir: the FHIR Consent.
        operation: `CREATE` or `RENEW`.
        nonce: 16 random bytes.
        stop: 32 random bytes; who knows them can stop it.
        signed_at: when it was put before the person who signs, Unix seconds.
        joined: map keys of the subject objects of those who sign beside the first, such as a second guardian.
    """

    subject: bytes
    acting_for: bytes | None
    custodians: tuple[str, ...]
    recipient: str
    purpose: str
    resource_types: tuple[str, ...]
    period: Period
    data_period: Period | None
    fhir: Mapping[str, Json]
    operation: str
    nonce: bytes
    stop: bytes
    signed_at: int
    joined: tuple[bytes, ...] = ()

    @property
    def signers(self) -> tuple[bytes, ...]:
        """Map keys of all who sign."""
        return (self.subject, *self.joined)

    @property
    def patient(self) -> bytes:
        """Map key of the person whose data it is."""
        return self.subject if self.acting_for is None else self.acting_for

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "acting_for": None if self.acting_for is None else self.acting_for.hex(),
            "custodians": list(self.custodians),
            "data_period": None if self.data_period is None else period_json(self.data_period),
            "fhir": dict(self.fhir),
            "joined": [key.hex() for key in self.joined],
            "nonce": self.nonce.hex(),
            "operation": self.operation,
            "period": period_json(self.period),
            "purpose": self.purpose,
            "recipient": self.recipient,
            "resource_types": list(self.resource_types),
            "signed_at": self.signed_at,
            "stop": self.stop.hex(),
            "subject": self.subject.hex(),
        }

    def signed(self) -> list[signing.Signed]:
        """Return what each signer's passkey signs, beside object and content root."""
        operation = f"consent/{self.operation}"
        return [signing.Signed(operation, signer, self.acting_for, self.nonce) for signer in self.signers]


def read(content: Mapping[str, Json]) -> Consent:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    fhir, data_period = content["fhir"], content["data_period"]
    if type(fhir) is not dict or fhir.get("resourceType") != "Consent":
        raise InputError("consent.fhir")
    return Consent(
        subject=unhex(content["subject"], HASH_BYTES),
        acting_for=key_or_none(content["acting_for"]),
        custodians=names(content["custodians"]),
        recipient=short_text(content["recipient"]),
        purpose=short_text(content["purpose"]),
        resource_types=names(content["resource_types"]),
        period=period(content["period"]),
        data_period=None if data_period is None else period(data_period),
        fhir=fhir,
        operation=short_text(content["operation"]),
        nonce=unhex(content["nonce"], ID_BYTES),
        stop=unhex(content["stop"], HASH_BYTES),
        signed_at=count(content["signed_at"]),
        joined=_joined(content),
    )


def check_form(body: Body, _place: Place) -> None:
    """Judge a body by itself; raises `InputError` for a malformed content."""
    read(body.content)


def check(body: Body, context: CheckContext) -> None:
    """Judge a consent's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``consent.not_full``, ``.organisation``, ``.party``, ``.role``, ``.creator``,
            ``.resource_types``, ``.expires``, ``.expired``, ``.stale``, ``.stop``, ``.operation``, ``.changed``,
            ``.widening``, ``.subject``, ``.custodian``, ``.delegate``, ``.guardians``, ``.minor``, ``.incapable``,
            ``.dead``, ``.attested``, or ``signing.*``, ``assertion.*``.
    """
    check_full(context, is_full=body.is_full, kind="consent")
    consent = read(body.content)
    check_parties(context, (*consent.custodians, consent.recipient), "consent")
    if context.change.status != ACTIVE:
        return
    _check_terms(consent, context)
    signing.check_age(context, consent.signed_at, len(consent.signers), "consent.stale")
    before = None if context.previous is None else read(context.previous[1].content)
    if consent.operation != (CREATE if before is None else RENEW):
        refuse("consent.operation", operation=consent.operation)
    wider = before is None or _check_successor(before, consent) or _hid(context)
    # What is hidden is given to nobody: no guardian waits for the other to hide it.
    waits = wider and not (before is None and context.decision.hides(body.content))
    disputed = _check_subject(consent, context, wider=wider, waits=waits)
    if signing.has_assertion(body):
        if "attested_by" in signing.shown_evidence(body):
            refuse("consent.attested")
        keys = capacity.signing_keys(context, "consent", consent.patient, consent.signers)
        signing.check_signatures(body, context, consent.signed(), keys)
    elif waits and disputed:
        refuse("consent.guardians")
    elif wider and before is not None:
        refuse("consent.widening")
    else:
        _check_attested(body, consent, context)


def check_withdrawal(body: Body, context: CheckContext) -> None:
    """Judge the body of a stop: whether it is the patient's (else the stop is the organisation's own).

    Args:
        body: content ``{"nonce","object","operation":"withdraw","subject"}`` with an assertion as evidence, or with two
            members of staff who attest that the patient wishes it.
        context: as for the consent's next version: its creator, ``previous`` its head.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``consent.withdrawal``, ``.subject``, ``.dead``, ``.delegate``, ``signing.*``,
            ``assertion.*``; of a hiding, whose end opens, also ``.guardians``, ``.minor``, ``.incapable``.
    """
    operation, code = f"consent/{WITHDRAW}", "consent.withdrawal"

    def deed_of(content: Mapping[str, Json]) -> Deed:
        """Say what it is to end a consent."""
        return _RELEASE if context.decision.hides(content) else alone.NARROWING

    alone.check_stop(
        body, context, operation, code, lambda content: read(content).patient, deed_of, may_be_attested=True
    )


def _check_terms(consent: Consent, context: CheckContext) -> None:
    """Check that what the ledger shows is what the content says."""
    check_types(consent.resource_types, "consent.resource_types")
    if context.change.expires != consent.period.last_day:
        refuse("consent.expires")
    if consent.period.end is not None and consent.period.end < context.time:
        refuse("consent.expired")
    if context.change.stop_hash != stop_hash(consent.stop):
        refuse("consent.stop")


def _check_successor(before: Consent, after: Consent) -> bool:
    """Refuse another subject, recipient or purpose; tell whether more is given than before."""
    fixed = (before.subject, before.acting_for, before.recipient, before.purpose)
    if fixed != (after.subject, after.acting_for, after.recipient, after.purpose):
        refuse("consent.changed")
    return not (
        set(after.custodians) <= set(before.custodians)
        and types_within(after.resource_types, before.resource_types)
        and before.period.contains(after.period)
        and (before.data_period or _EVER).contains(after.data_period or _EVER)
        # What the FHIR Consent permits in detail is judged above this floor; here any change of it counts as more.
        and before.fhir == after.fhir
    )


def _hid(context: CheckContext) -> bool:
    """Tell whether the version before is a hiding: whatever takes its place opens, however little it gives itself."""
    return context.previous is not None and context.decision.hides(context.previous[1].content)


def _check_subject(consent: Consent, context: CheckContext, *, wider: bool, waits: bool) -> bool:
    """Check who signs, for whom, and that the custodians are that person's; tell whether its guardians disagree."""
    patient = capacity.shown(consent.patient, context, "consent")
    able = capacity.read(patient)
    if consent.patient in consent.signers and (consent.joined or consent.acting_for is not None):
        refuse("consent.delegate")
    deed = _RELEASE if _hid(context) else Deed(CONSENT, wider, consent.resource_types, waits)
    capacity.check_signers(context, "consent", (consent.patient, able), consent.signers, deed)
    # A recipient is not shown where the patient is treated; those who sign are.
    if context.role == HOLDER and "custodians" not in patient:
        return able.disputed
    custodians = names(patient.get("custodians"))
    if not set(consent.custodians) <= set(custodians):
        refuse("consent.custodian")
    if context.creator not in (*consent.custodians, consent.recipient, patient.get("enroller")):
        refuse("consent.creator", org_id=context.creator)
    return able.disputed


def _check_attested(body: Body, consent: Consent, context: CheckContext) -> None:
    """Check that two members of staff attest what no passkey signed, and not those of the one who would receive."""
    if context.creator == consent.recipient:
        # Two names are no proof: nobody may write himself a patient's permission.
        refuse("consent.attested")
    if signing.shown_evidence(body).keys() != {"attested_by"}:
        refuse("consent.attested")
    signing.check_attested(body, "consent.attested")
    # Who signs a paper in somebody's stead must be able to decide, as who signs with a passkey.
    capacity.signing_keys(context, "consent", consent.patient, consent.signers)


def _joined(content: Mapping[str, Json]) -> tuple[bytes, ...]:
    """Read those who sign beside the first; raises `InputError` ``consent.joined``."""
    rows = content["joined"]
    keys = [unhex(key, HASH_BYTES) for key in rows] if type(rows) is list else None
    if keys is None or len(keys) > MAX_JOINED or keys != sorted(set(keys)):
        raise InputError("consent.joined")
    if unhex(content["subject"], HASH_BYTES) in keys:
        # One who signs twice is one.
        raise InputError("consent.joined")
    return tuple(keys)


KIND: Final = Kind(
    name="consent", number=6, transitions=LIVING, check=check, form=check_form, max_until_s=60, stoppable=True
)
"""Stopped by whoever holds its body."""
