"""Who may sign for a person: the person, and delegates within their limits.

Keeps true: a delegate counts until its day and within its limits, a helper or proxy only while its delegation is in
force on the ledger; a guardian only as long as the person is a minor or incapable; the person's own
passkeys permit nothing while others must protect it, and narrow as long as it lives.
Consents and subjects ask here, so that they cannot differ. Trusts the subject's endorsers for what it says.
Source: `docs/spec/subject.md` 3-7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError
from medchain.ledger.kind import BodySource, CheckContext, refuse
from medchain.ledger.kinds.content import DAY_S, count, key_or_none, names, short_text, types_within
from medchain.ledger.kinds.passkeys import Passkey, read_passkeys
from medchain.ledger.object import in_force
from medchain.ledger.transaction import HASH_BYTES

GUARDIAN: Final = "guardian"
"""Role of who cares for a minor or an incapable person."""

HELPER: Final = "helper"
"""Role of whom a person lets help, as long as the person is capable."""

PROXY: Final = "proxy"
"""Role of whom a person trusts beyond that."""

CONSENT: Final = "consent"
"""What a delegate may do: permit."""

READ: Final = "read"
"""What a delegate may do: see what the person sees."""

STOP: Final = "stop"
"""What a delegate may do: narrow."""

DEAD: Final = "dead"
"""State of a person who has died."""

INCAPABLE: Final = "incapable"
"""State of a person who cannot decide."""

MAX_DELEGATES: Final = 16
"""Most delegates of a subject."""

FIELDS: Final = frozenset({"delegates", "disputed", "of_age", "standing"})
"""Fields of a subject that say who may sign for it."""

ROLES: Final = frozenset({GUARDIAN, HELPER, PROXY})
"""All roles."""

_DEEDS: Final = frozenset({CONSENT, READ, STOP})
_DELEGATE: Final = {"may": list, "resource_types": list, "role": str, "subject": str, "until": int}


@dataclass(frozen=True, slots=True)
class Delegate:
    """A person who may sign for this one.

    Attributes:
        subject: map key of the delegate's own subject object, 32 bytes.
        role: `GUARDIAN`, `HELPER` or `PROXY`.
        until: last day, days since 1970-01-01 (UTC).
        may: of `CONSENT`, `READ`, `STOP`, sorted.
        resource_types: FHIR types of which it may permit, sorted, or ``*`` alone.
        delegation: map key of the delegation object without which the row does not count, 32 bytes; None for a
            guardian, which has none.
    """

    subject: bytes
    role: str
    until: int
    may: tuple[str, ...]
    resource_types: tuple[str, ...]
    delegation: bytes | None = None

    def to_json(self) -> Json:
        """Write the row."""
        return {
            "delegation": None if self.delegation is None else self.delegation.hex(),
            "may": list(self.may),
            "resource_types": list(self.resource_types),
            "role": self.role,
            "subject": self.subject.hex(),
            "until": self.until,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """What was declared of a person.

    Attributes:
        state: `DEAD` or `INCAPABLE`.
        method: what shows it, such as ``death-certificate``.
        time: Unix seconds of the declaration.
    """

    state: str
    method: str
    time: int

    def to_json(self) -> Json:
        """Write it."""
        return {"method": self.method, "state": self.state, "time": self.time}


@dataclass(frozen=True, slots=True)
class Capacity:
    """Who may sign for a person.

    Attributes:
        delegates: at most one row a subject.
        of_age: day on which the person becomes of age; None if it was at enrolment.
        standing: what was declared; None for nothing.
        disputed: whether the guardians do not agree, so that all must sign what permits.
    """

    delegates: tuple[Delegate, ...]
    of_age: int | None
    standing: Standing | None
    disputed: bool

    @property
    def state(self) -> str | None:
        """`DEAD`, `INCAPABLE` or None."""
        return None if self.standing is None else self.standing.state

    def is_minor(self, day: int) -> bool:
        """Tell whether the person is under age on a day."""
        return self.of_age is not None and day < self.of_age

    def in_force(self, day: int) -> dict[bytes, Delegate]:
        """Return the delegates that count on a day where their delegations do (`is_running`), by their subject."""
        is_guarded = self.is_minor(day) or self.state == INCAPABLE
        counts = {GUARDIAN: is_guarded, HELPER: self.state is None, PROXY: True}
        return {row.subject: row for row in self.delegates if row.until >= day and counts[row.role]}

    def guardians(self, day: int) -> frozenset[bytes]:
        """Return the subjects of the guardians that count on a day."""
        return frozenset(key for key, row in self.in_force(day).items() if row.role == GUARDIAN)


class Deed(NamedTuple):
    """What is to be signed.

    Attributes:
        may: what a delegate must be allowed to do.
        widens: whether it permits more than before.
        resource_types: FHIR types that it permits.
        waits: whether it waits for all guardians where they disagree, if it widens; what gives nobody anything does
            not.
    """

    may: str
    widens: bool
    resource_types: Sequence[str] = ()
    waits: bool = True


def read_delegates(content: Mapping[str, Json]) -> tuple[Delegate, ...]:
    """Read the field ``delegates`` of a whole or redacted content; raises `InputError` ``subject.delegates``."""
    rows = content.get("delegates")
    if type(rows) is not list or len(rows) > MAX_DELEGATES:
        raise InputError("subject.delegates")
    found = tuple(_delegate(row) for row in rows)
    if len({row.subject for row in found}) != len(found):
        raise InputError("subject.delegates")
    return found


def read_standing(value: Json) -> Standing | None:
    """Read the field ``standing``; raises `InputError` ``subject.standing``."""
    if value is None:
        return None
    row = members(value, {"method": str, "state": str, "time": int})
    if row["state"] not in {DEAD, INCAPABLE}:
        raise InputError("subject.standing")
    return Standing(str(row["state"]), short_text(row["method"]), count(row["time"]))


def read(content: Mapping[str, Json]) -> Capacity:
    """Read who may sign from a whole or redacted content.

    Raises:
        InputError: ``subject.capacity`` if a field of `FIELDS` is absent, ``subject.delegates``,
            ``subject.standing``, ``content.*``.
    """
    if not content.keys() >= FIELDS or type(content["disputed"]) is not bool:
        raise InputError("subject.capacity")
    of_age = content["of_age"]
    return Capacity(
        read_delegates(content),
        None if of_age is None else count(of_age),
        read_standing(content["standing"]),
        content["disputed"],
    )


def shown(key: bytes, context: CheckContext, kind: str) -> Mapping[str, Json]:
    """Return what is shown of a subject that is in force; raises `VerificationError` ``KIND.subject`` without."""
    found = context.bodies.head(key)
    if found is None or found[0].kind != "subject" or not in_force(found[0], context.time // DAY_S):
        refuse(f"{kind}.subject")
    return found[1].content


def check_signers(
    context: CheckContext, kind: str, person: tuple[bytes, Capacity], signers: Sequence[bytes], deed: Deed
) -> None:
    """Check that these subjects may together do something for a person.

    Args:
        context: the checker's state.
        kind: prefix of the codes.
        person: map key of its subject object, and who may sign for it.
        signers: map keys of those who sign.
        deed: what they sign.

    Raises:
        VerificationError: ``KIND.dead``, ``.incapable`` or ``.minor`` where the person's own passkeys do not count,
            ``.delegate`` for a signer who is none or beyond its limits, ``.guardians`` if one of them does not sign.
    """
    key, capacity = person
    day = context.time // DAY_S
    if tuple(signers) == (key,):
        _check_own(capacity, day, kind, deed)
        return
    if capacity.state == DEAD and deed.widens:
        refuse(f"{kind}.{DEAD}")
    rows = capacity.in_force(day)
    for signer in signers:
        row = rows.get(signer)
        if (
            row is None
            or not is_running(row, context.bodies, day)
            or deed.may not in row.may
            or not types_within(deed.resource_types, row.resource_types)
        ):
            refuse(f"{kind}.delegate")
    if deed.widens and deed.waits and capacity.disputed and not capacity.guardians(day) <= set(signers):
        refuse(f"{kind}.guardians")


def is_running(row: Delegate, bodies: BodySource, day: int) -> bool:
    """Tell whether a delegate's delegation is in force at the place of the ledger that is looked at.

    Args:
        row: of a subject.
        bodies: knows the objects' heads of that place.
        day: days since 1970-01-01 (UTC).

    Returns:
        Whether it is; always for a guardian, which has none.
    """
    if row.delegation is None:
        return True
    record = bodies.state(row.delegation)
    # What is not there does not count: the row alone gives nobody anything.
    return record is not None and record.kind == "delegation" and in_force(record, day)


def signing_keys(
    context: CheckContext, kind: str, person: bytes, signers: Iterable[bytes]
) -> list[tuple[Passkey, ...]]:
    """Return the passkeys of each signer; a delegate must be able to decide for itself.

    Raises:
        InputError: ``subject.*`` for a subject whose part here is too small.
        VerificationError: ``KIND.subject`` for one that is not here or not in force, ``KIND.delegate``.
    """
    found = []
    for signer in signers:
        content = shown(signer, context, kind)
        if signer != person:
            capacity = read(content)
            if capacity.state is not None or capacity.is_minor(context.time // DAY_S):
                refuse(f"{kind}.delegate")
        found.append(read_passkeys(content))
    return found


def _check_own(capacity: Capacity, day: int, kind: str, deed: Deed) -> None:
    """Judge the person's own passkeys."""
    if capacity.state == DEAD or (capacity.state == INCAPABLE and deed.widens):
        # A dead person's passkey may be in anybody's hands: it does not even stop. Who holds the body still can.
        refuse(f"{kind}.{capacity.state}")
    if deed.widens and capacity.is_minor(day):
        refuse(f"{kind}.minor")


def read_limits(value: Json) -> Delegate:
    """Read who is to act and within what, without the delegation; raises `InputError` ``subject.delegates``."""
    top = members(value, _DELEGATE)
    made = Delegate(
        subject=unhex(top["subject"], HASH_BYTES),
        role=short_text(top["role"]),
        until=count(top["until"]),
        may=names(top["may"]),
        resource_types=names(top["resource_types"]),
    )
    if made.role not in ROLES or not set(made.may) <= _DEEDS:
        raise InputError("subject.delegates")
    return made


def _delegate(row: Json) -> Delegate:
    """Read one delegate."""
    if type(row) is not dict or "delegation" not in row:
        raise InputError("encoding.members", member="delegation")
    limits = read_limits({name: value for name, value in row.items() if name != "delegation"})
    made = replace(limits, delegation=key_or_none(row["delegation"]))
    if (made.delegation is None) != (made.role == GUARDIAN):
        raise InputError("subject.delegates")
    return made
