"""Who has what part of an invoice, and what a deed makes of it.

Keeps true: what is reserved and settled together is never more than the invoice's total when a part is added to it; an
insurer has one reservation, and settles no more than it reserved; a reservation that is over keeps nothing from others.
Whoever drafts a version and whoever judges it compute it here. Pure. Trusts its caller for who asked.
Source: `docs/spec/claim.md` 9–12.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.invoice import checked_minor
from medchain.ledger.kind import refuse
from medchain.ledger.kinds.content import count, short_text
from medchain.ledger.transaction import HASH_BYTES

MAX_SHARES: Final = 8
"""Most parts of one invoice."""

MAX_RESERVED_DAYS: Final = 30
"""How many days ahead a reservation may end; it can be renewed."""

_SHARE: Final = {"amount": int, "claim": str, "insurer": str, "request": str, "state": str}


class State(StrEnum):
    """What became of a part."""

    RESERVED = "reserved"
    """It is kept for its insurer until its last day."""
    SETTLED = "settled"
    """Its insurer pays it."""
    RELEASED = "released"
    """It was given up, or is over."""


@dataclass(frozen=True, slots=True)
class Share:
    """An insurer's part of an invoice.

    Attributes:
        insurer: org_id.
        claim: digest of the insurer's own claim, 32 bytes.
        amount: in minor units.
        state: what became of it.
        until: last day of a reservation, days since 1970-01-01; None for the others.
        request: hash of the request by which it was last changed, 32 bytes.
    """

    insurer: str
    claim: bytes
    amount: int
    state: State
    until: int | None
    request: bytes

    @property
    def is_live(self) -> bool:
        """Whether it takes something of the invoice."""
        return self.state is not State.RELEASED

    def on(self, day: int) -> Share:
        """Return it as it is on a day: a reservation that is over is released."""
        is_over = self.until is not None and self.until < day
        return replace(self, state=State.RELEASED, until=None) if is_over else self

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "amount": self.amount,
            "claim": self.claim.hex(),
            "insurer": self.insurer,
            "request": self.request.hex(),
            "state": self.state.value,
            "until": self.until,
        }


def read_share(value: Json) -> Share | None:
    """Read a part, or null where there is none; raises `InputError`."""
    if value is None:
        return None
    if type(value) is not dict or "until" not in value:
        raise InputError("claim.malformed", member="until")
    until = value["until"]
    row = members({name: item for name, item in value.items() if name != "until"}, _SHARE)
    if row["state"] not in [*State] or (until is None) == (row["state"] == State.RESERVED):
        raise InputError("claim.malformed", member="state")
    return Share(
        insurer=short_text(row["insurer"]),
        claim=unhex(row["claim"], HASH_BYTES),
        amount=checked_minor(row["amount"]),
        state=State(str(row["state"])),
        until=None if until is None else count(until),
        request=unhex(row["request"], HASH_BYTES),
    )


@dataclass(frozen=True, slots=True)
class Shares:
    """All parts of an invoice.

    Attributes:
        total: of the invoice, in minor units.
        rows: its parts, each at its place; None where there is none.
    """

    total: int
    rows: tuple[Share | None, ...] = (None,) * MAX_SHARES

    @property
    def live(self) -> list[Share]:
        """Those that take something of the invoice."""
        return [row for row in self.rows if row is not None and row.is_live]

    @property
    def open(self) -> int:
        """What nobody has, in minor units; below 0 where a refund took what somebody has."""
        return self.total - sum(row.amount for row in self.live)

    @property
    def last_day(self) -> int | None:
        """Last day of the reservation that lasts longest; None where nothing is reserved."""
        return max((row.until for row in self.live if row.until is not None), default=None)

    @property
    def state(self) -> State:
        """What they come to together."""
        found = {row.state for row in self.live}
        return next((state for state in (State.RESERVED, State.SETTLED) if state in found), State.RELEASED)

    def on(self, day: int) -> Shares:
        """Return them as they are on a day."""
        return Shares(self.total, tuple(None if row is None else row.on(day) for row in self.rows))

    def less(self, amount: int) -> Shares:
        """Return them after a refund; raises `VerificationError` ``claim.amount`` for more than the total."""
        if not 0 < amount <= self.total:
            refuse("claim.amount", amount=amount)
        return Shares(self.total - amount, self.rows)

    def put(self, place: int, row: Share) -> Shares:
        """Return them with a part at its place, counted from 0."""
        return Shares(self.total, (*self.rows[:place], row, *self.rows[place + 1 :]))

    def find(self, fits: Callable[[Share], bool]) -> int | None:
        """Return the place of the first part that fits, None where none does."""
        return next((place for place, row in enumerate(self.rows) if row is not None and fits(row)), None)


def asked(before: Shares, request: ClaimRequest, day: int) -> tuple[Shares, int]:
    """Do what an insurer asks.

    Args:
        before: the parts of the invoice.
        request: of the insurer.
        day: on which, days since 1970-01-01.

    Returns:
        The parts after it, and the place of the one that was changed, counted from 0.

    Raises:
        VerificationError: ``claim.repeated`` for what changes nothing, or is settled already; ``claim.reservation`` for
            what the insurer has not; ``claim.amount`` for more than is open, or was reserved; ``claim.until``;
            ``claim.full`` where all places are taken.
    """
    now = before.on(day)
    match request.action:
        case Action.RESERVE:
            return _reserved(now, request, day)
        case Action.SETTLE:
            return _settled(now, request)
        case _:
            return _released(now, request)


def _reserved(now: Shares, request: ClaimRequest, day: int) -> tuple[Shares, int]:
    """Keep a part for its insurer, in the place of a reservation that it has."""
    if request.until is None or not day <= request.until <= day + MAX_RESERVED_DAYS:
        refuse("claim.until", until=request.until)
    if now.find(lambda row: row.state is State.SETTLED and _is_same(row, request)) is not None:
        refuse("claim.repeated")
    place = now.find(lambda row: row.state is State.RESERVED and row.insurer == request.insurer)
    if place is None:
        place = _free_place(now)
    else:
        own = now.rows[place]
        if own is not None and (own.claim, own.amount, own.until) == (request.claim, request.amount, request.until):
            refuse("claim.repeated")
    return _taken(now, place, request, State.RESERVED), place


def _settled(now: Shares, request: ClaimRequest) -> tuple[Shares, int]:
    """Have an insurer pay what it reserved, or less."""
    place, own = _own(now, request, lambda row: row.state is State.RESERVED)
    if request.amount > own.amount:
        refuse("claim.amount", amount=request.amount)
    return _taken(now, place, request, State.SETTLED), place


def _released(now: Shares, request: ClaimRequest) -> tuple[Shares, int]:
    """Have an insurer give up a part; what it was stays told."""
    place, own = _own(now, request, lambda row: row.is_live)
    return now.put(place, replace(own, state=State.RELEASED, until=None, request=request.hash)), place


def _taken(now: Shares, place: int, request: ClaimRequest, state: State) -> Shares:
    """Put what was asked for at a place; together no more is taken than the invoice's total."""
    row = Share(request.insurer, request.claim, request.amount, state, request.until, request.hash)
    after = now.put(place, row)
    if after.open < 0:
        refuse("claim.amount", amount=request.amount)
    return after


def _own(now: Shares, request: ClaimRequest, fits: Callable[[Share], bool]) -> tuple[int, Share]:
    """Find the insurer's part for its claim."""
    place = now.find(lambda row: _is_same(row, request) and fits(row))
    row = None if place is None else now.rows[place]
    if place is None or row is None:
        refuse("claim.reservation")
    return place, row


def _is_same(row: Share, request: ClaimRequest) -> bool:
    """Tell whether a part is the insurer's for its claim."""
    return (row.insurer, row.claim) == (request.insurer, request.claim)


def _free_place(now: Shares) -> int:
    """Find where nothing is, else where something was."""
    if None in now.rows:
        return now.rows.index(None)
    place = now.find(lambda row: not row.is_live)
    if place is None:
        refuse("claim.full")
    return place
