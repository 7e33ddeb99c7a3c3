"""Reading the contents of bodies: small typed pieces that several kinds share.

Keeps true: what is read has exactly the members and types that `docs/spec/consent.md` says. Trusts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, unhex
from medchain.errors import InputError
from medchain.ledger.kind import HOLDER, CheckContext, refuse
from medchain.ledger.transaction import CREATOR, HASH_BYTES, INDEPENDENT

DAY_S: Final = 86400
"""Seconds of a day."""

CLOCK_S: Final = 60
"""How far an event's time may lie ahead of the checker's clock, in seconds."""

ANY_TYPE: Final = "*"
"""Stands alone for every FHIR resource type."""

_MAX_TEXT: Final = 200
_MAX_LIST: Final = 256


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time, both ends included.

    Attributes:
        start: Unix seconds.
        end: Unix seconds, or None where it is open.
    """

    start: int
    end: int | None

    def contains(self, other: Period) -> bool:
        """Tell whether another period lies within this one."""
        return self.start <= other.start and (self.end is None or (other.end is not None and other.end <= self.end))

    @property
    def last_day(self) -> int | None:
        """Day of the end, days since 1970-01-01 (UTC)."""
        return None if self.end is None else self.end // DAY_S


def period(value: Json) -> Period:
    """Read ``{"end":N|null,"start":N}``; raises `InputError` ``content.period``."""
    if type(value) is dict and value.keys() == {"end", "start"}:
        start, end = value["start"], value["end"]
        if type(start) is int and start >= 0 and (end is None or (type(end) is int and end >= start)):
            return Period(start, end)
    raise InputError("content.period")


def period_json(span: Period) -> Json:
    """Write a period."""
    return {"end": span.end, "start": span.start}


def names(value: Json, *, at_least: int = 1) -> tuple[str, ...]:
    """Read a sorted array of different short texts; raises `InputError` ``content.names``."""
    if type(value) is not list or not at_least <= len(value) <= _MAX_LIST:
        raise InputError("content.names")
    found = tuple(short_text(item) for item in value)
    if list(found) != sorted(set(found)):
        raise InputError("content.names")
    return found


def short_text(value: Json) -> str:
    """Read a text of 1 to 200 characters; raises `InputError` ``content.text``."""
    if type(value) is not str or not 0 < len(value) <= _MAX_TEXT:
        raise InputError("content.text")
    return value


def count(value: Json) -> int:
    """Read a number that is not negative; raises `InputError` ``content.number``."""
    if type(value) is not int or value < 0:
        raise InputError("content.number")
    return value


def key_or_none(value: Json) -> bytes | None:
    """Read 32 bytes in hexadecimal, or null; raises `InputError` ``encoding.hex``."""
    return None if value is None else unhex(value, HASH_BYTES)


def fields(content: Mapping[str, Json], expected: Iterable[str]) -> None:
    """Check that a content has exactly the fields of its kind; raises `InputError` ``content.fields``."""
    if content.keys() != set(expected):
        raise InputError("content.fields")


def types_within(inner: Iterable[str], outer: Iterable[str]) -> bool:
    """Tell whether resource types are covered by others, of which `ANY_TYPE` covers all."""
    covered = set(outer)
    return ANY_TYPE in covered or set(inner) <= covered


def check_types(types: tuple[str, ...], code: str) -> None:
    """Refuse `ANY_TYPE` beside other types: it would hide how much is given."""
    if ANY_TYPE in types and len(types) > 1:
        refuse(code)


def check_parties(context: CheckContext, parties: Iterable[str], kind: str, *, former: Iterable[str] = ()) -> None:
    """Check that parties are active members, and that those who sign or check are what they claim to be.

    Args:
        context: the checker's state.
        parties: org_ids of custodians, recipient and enroller.
        kind: prefix of the codes.
        former: org_ids of who was a party before: it may have left since, and is not independent either.

    Raises:
        VerificationError: ``KIND.organisation`` for a party that is no active member; ``KIND.party`` for an
            independent endorser that is, or was, a party, or is under one's control; ``KIND.role`` when the checker
            does not hold the role in which it was asked.
    """
    active = {organisation.org_id: organisation for organisation in context.members.active}
    involved = {*parties, context.creator}
    if not involved <= active.keys():
        refuse(f"{kind}.organisation")
    known = context.members.organisations
    controls = {known[org_id].control for org_id in involved.union(former) if org_id in known}
    independent = [context.members.signers.get(row.key_id) for row in context.signers if row.role == INDEPENDENT]
    if any(endorser is None or endorser.control in controls for endorser in independent):
        refuse(f"{kind}.party")
    if context.role == INDEPENDENT:
        holds = any(endorser is not None and endorser.org_id == context.own for endorser in independent)
    else:
        holds = context.role == HOLDER or (context.role == CREATOR and context.own == context.creator)
    if not holds:
        refuse(f"{kind}.role", role=context.role)


def check_full(context: CheckContext, *, is_full: bool, kind: str) -> None:
    """Refuse a redacted body where the checker vouches for the whole: a second value of a field could hide in it."""
    if context.role == INDEPENDENT and not is_full:
        refuse(f"{kind}.not_full")


def check_event_time(context: CheckContext, time: int, code: str) -> None:
    """Refuse an event that is said to lie in the future."""
    if time > context.time + CLOCK_S:
        refuse(code, time=time)
