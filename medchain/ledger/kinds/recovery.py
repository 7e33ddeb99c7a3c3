"""Kind recovery: an announced change of a subject that no passkey of the person signs.

Keeps true: another organisation than the enroller, under other control, announces it; it names the subject's very head
and everybody who holds it; it waits, and a passkey of the person cancels it through whoever holds its body. Trusts two
organisations together for who the person is: no signature can say that where the passkeys are lost.
Source: `docs/spec/subject.md` 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError
from medchain.ledger.kind import CheckContext, Kind, Place, refuse
from medchain.ledger.kinds import alone, capacity, signing
from medchain.ledger.kinds.capacity import DEAD, GUARDIAN, Delegate, Standing
from medchain.ledger.kinds.content import (
    DAY_S,
    check_event_time,
    check_full,
    check_parties,
    count,
    fields,
    names,
    short_text,
)
from medchain.ledger.kinds.passkeys import Passkey, passkeys_json, read_passkeys
from medchain.ledger.object import ACTIVE, ENDED, Body, stop_hash
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

REPLACE: Final = "replace"
"""Operation: other passkeys."""

GUARDIANSHIP: Final = "guardianship"
"""Operation: other guardians, and whether the person is incapable."""

CANCEL: Final = "cancel"
"""Operation of the body of a stop that the person signed."""

RECOVERY_DAYS: Final = "recovery_days"
"""Term of the policy: how long a recovery waits at least."""

OPEN_DAYS: Final = 30
"""For how many days after its wait a recovery may still be carried out."""

_FIELDS: Final = (
    "custodians",
    "delegates",
    "enroller",
    "last_day",
    "nonce",
    "operation",
    "passkeys",
    "standing",
    "stop",
    "subject",
    "verified_by",
    "version",
    "wait_days",
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """A recovery's content.

    Attributes:
        subject: map key of the subject object, 32 bytes.
        version: of the subject's head when it was announced.
        operation: `REPLACE` or `GUARDIANSHIP`.
        passkeys: those that take the place of all before.
        delegates: guardians that take the place of all before.
        standing: of the person from then on.
        enroller: org_id of who carries it out.
        custodians: org_ids of those who hold the subject, sorted.
        organisation: org_id of who announces it.
        method: how it knows who the person is, or that the guardians are.
        verified: Unix seconds when it did so.
        wait_days: how long it waits.
        last_day: day after which it is void.
        nonce: 16 random bytes.
        stop: 32 random bytes; who knows them can stop it.
    """

    subject: bytes
    version: int
    operation: str
    passkeys: tuple[Passkey, ...]
    delegates: tuple[Delegate, ...]
    standing: Standing | None
    enroller: str
    custodians: tuple[str, ...]
    organisation: str
    method: str
    verified: int
    wait_days: int
    last_day: int
    nonce: bytes
    stop: bytes

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "custodians": list(self.custodians),
            "delegates": [row.to_json() for row in self.delegates],
            "enroller": self.enroller,
            "last_day": self.last_day,
            "nonce": self.nonce.hex(),
            "operation": self.operation,
            "passkeys": list(passkeys_json(self.passkeys)),
            "standing": None if self.standing is None else self.standing.to_json(),
            "stop": self.stop.hex(),
            "subject": self.subject.hex(),
            "verified_by": {"method": self.method, "organisation": self.organisation, "time": self.verified},
            "version": self.version,
            "wait_days": self.wait_days,
        }


def read(content: Mapping[str, Json]) -> Recovery:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    verified = members(content["verified_by"], {"method": str, "organisation": str, "time": int})
    made = Recovery(
        subject=unhex(content["subject"], HASH_BYTES),
        version=count(content["version"]),
        operation=short_text(content["operation"]),
        passkeys=read_passkeys(content),
        delegates=capacity.read_delegates(content),
        standing=capacity.read_standing(content["standing"]),
        enroller=short_text(content["enroller"]),
        custodians=names(content["custodians"]),
        organisation=short_text(verified["organisation"]),
        method=short_text(verified["method"]),
        verified=count(verified["time"]),
        wait_days=count(content["wait_days"]),
        last_day=count(content["last_day"]),
        nonce=unhex(content["nonce"], ID_BYTES),
        stop=unhex(content["stop"], HASH_BYTES),
    )
    _check_form(made)
    return made


def check_form(body: Body, place: Place) -> None:
    """Judge a body by itself.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``recovery.verified_by`` for one that another than its owner announces.
    """
    recovery = read(body.content)
    if place.status == ACTIVE and recovery.organisation != place.creator:
        refuse("recovery.verified_by", org_id=recovery.organisation)


def check(body: Body, context: CheckContext) -> None:
    """Judge a recovery's body.

    Raises:
        InputError: for a malformed content, ``recovery.operation`` for one that changes nothing or too much.
        VerificationError: ``recovery.not_full``, ``.organisation``, ``.party``, ``.role``, ``.verified_by``,
            ``.second``, ``.time``, ``.wait``, ``.last_day``, ``.stop``, ``.attested``, ``.subject``, ``.dead``,
            ``.changed``.
    """
    check_full(context, is_full=body.is_full, kind="recovery")
    recovery = read(body.content)
    check_parties(context, (*recovery.custodians, recovery.enroller), "recovery")
    if context.change.status != ACTIVE:
        return
    check_form(body, context.place)
    check_event_time(context, recovery.verified, "recovery.time")
    _check_second(recovery, context)
    _check_terms(recovery, context)
    signing.check_attested(body, "recovery.attested")
    if signing.has_assertion(body):
        # A signature that nobody has checked must not be found there later.
        refuse("recovery.attested")
    _check_subject(recovery, context)


def check_cancellation(body: Body, context: CheckContext) -> None:
    """Judge the body of a stop: whether the person signed it (else the stop is the organisation's own).

    Args:
        body: content ``{"nonce","object","operation":"cancel","subject"}`` with an assertion as evidence.
        context: as for the recovery's next version: its creator, ``previous`` its head.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``recovery.cancellation``, ``.subject``, ``.dead``, ``.delegate``, ``signing.*``,
            ``assertion.*``.
    """
    alone.check_stop(
        body, context, f"recovery/{CANCEL}", "recovery.cancellation", lambda content: read(content).subject
    )


def _check_form(recovery: Recovery) -> None:
    """Refuse what is no change, or more than one."""
    if recovery.operation == REPLACE:
        is_one = bool(recovery.passkeys) and not recovery.delegates and recovery.standing is None
    else:
        guards = all(row.role == GUARDIAN for row in recovery.delegates) and bool(recovery.delegates)
        is_alive = recovery.standing is None or recovery.standing.state != DEAD
        is_one = recovery.operation == GUARDIANSHIP and not recovery.passkeys and guards and is_alive
    if not is_one:
        raise InputError("recovery.operation")


def _check_second(recovery: Recovery, context: CheckContext) -> None:
    """Refuse a recovery by the enroller itself, or by one under its control."""
    controls = {item.org_id: item.control for item in context.members.active}
    if controls[context.creator] == controls[recovery.enroller]:
        refuse("recovery.second", org_id=context.creator)


def _check_terms(recovery: Recovery, context: CheckContext) -> None:
    """Check how long it waits, and that what the ledger shows is what the content says."""
    least = context.members.policy.terms.get(RECOVERY_DAYS)
    if least is None or recovery.wait_days < least:
        refuse("recovery.wait", days=least)
    over = context.time // DAY_S + recovery.wait_days
    if not over <= recovery.last_day <= over + OPEN_DAYS or context.change.expires != recovery.last_day:
        refuse("recovery.last_day")
    if context.change.stop_hash != stop_hash(recovery.stop):
        refuse("recovery.stop")


def _check_subject(recovery: Recovery, context: CheckContext) -> None:
    """Check that it is of the subject's very head, and that everybody who holds it hears of it."""
    content = capacity.shown(recovery.subject, context, "recovery")
    found = context.bodies.head(recovery.subject)
    version = None if found is None else found[0].version
    told = (list(recovery.custodians), recovery.enroller)
    if version != recovery.version or told != (content.get("custodians"), content.get("enroller")):
        refuse("recovery.subject")
    able = capacity.read(content)
    if able.state == DEAD:
        refuse("recovery.dead")
    if any(row.subject == recovery.subject for row in recovery.delegates):
        refuse("recovery.changed")
    is_minor = able.is_minor(context.time // DAY_S)
    if recovery.operation == GUARDIANSHIP and recovery.standing is None and not is_minor:
        # Who can decide has no guardian.
        refuse("recovery.changed")


KIND: Final = Kind(
    name="recovery",
    number=14,
    transitions={None: frozenset({ACTIVE}), ACTIVE: frozenset({ENDED})},
    check=check,
    form=check_form,
    max_until_s=60,
    stoppable=True,
)
"""One version, which waits; stopped by whoever holds its body."""
