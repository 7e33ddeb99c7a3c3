"""What a version of a claim says: the invoice, its parts after the deed, the deed; whole, or as an insurer is shown it.

Keeps true: a version is made by what its deed does to the parts before, whoever makes it; an insurer is shown its own
parts alone. Pure. Trusts nothing that is read.
Source: `docs/spec/claim.md` 7, 9–13, 17.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.crypto.vrf import VRF_PROOF_BYTES, VRF_PUBLIC_BYTES
from medchain.encoding import Json, base64_text, members, unbase64
from medchain.errors import InputError
from medchain.ledger.claim_request import ASKED, Action, ClaimRequest
from medchain.ledger.invoice import InvoiceFields, checked_minor, exponent_of, read_invoice, spelled
from medchain.ledger.kinds.content import DAY_S, count, fields, key_or_none, short_text
from medchain.ledger.kinds.shares import MAX_SHARES, Share, Shares, asked, read_share

REVERSED: Final = "reversed"
"""Status of the claims on an invoice that its hospital took back."""

_FIXED: Final = (
    "check_code",
    "code",
    "currency",
    "date",
    "issuer",
    "key",
    "line",
    "number",
    "proof",
    "replaces",
    "scope",
)
_CHANGING: Final = ("deed", "open", "time", "total")
_SHARES: Final = tuple(f"share_{place}" for place in range(1, MAX_SHARES + 1))
_SHOWN: Final = frozenset({*_FIXED, *_CHANGING})


@dataclass(frozen=True, slots=True)
class Bill:
    """What never changes of an invoice's claims.

    Attributes:
        invoice: what names it.
        key: public key of its issuer's verifiable random function, 32 bytes.
        proof: that the object's id is the one of the invoice, 80 bytes.
        check_code: of the invoice, spelled as `medchain.ledger.invoice.spelled` does; compared by insurers.
        currency: ISO 4217 code of all amounts.
        replaces: map key of the claims on the reversed invoice in whose place this one was issued, or None.
    """

    invoice: InvoiceFields
    key: bytes
    proof: bytes
    check_code: str
    currency: str
    replaces: bytes | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """What a version tells.

    Attributes:
        action: what was done.
        amount: that was reserved, settled or refunded, in minor units; else 0.
        share: number of the part that was changed, from 1; None for what the hospital does itself.
    """

    action: Action
    amount: int
    share: int | None

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {"action": self.action.value, "amount": self.amount, "share": self.share}


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim's content, whole or as an insurer is shown it.

    Attributes:
        bill: what never changes.
        shares: total and parts after the deed; of a part of the body those that it shows.
        open: what nobody has after it, in minor units, whoever has the rest.
        deed: what was done.
        time: when, Unix seconds.
    """

    bill: Bill
    shares: Shares
    open: int
    deed: Deed
    time: int

    @property
    def status(self) -> str:
        """What the version gives the object, as far as its parts are shown."""
        return REVERSED if self.deed.action is Action.REVERSE else self.shares.state.value

    @property
    def last_day(self) -> int | None:
        """Day until which something is reserved, as far as the parts are shown; None where nothing is."""
        return None if self.deed.action is Action.REVERSE else self.shares.last_day

    @property
    def changed(self) -> Share | None:
        """The part that the deed changed, None where it changed none."""
        return None if self.deed.share is None else self.shares.rows[self.deed.share - 1]

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        bill = self.bill
        rows = zip(_SHARES, self.shares.rows, strict=True)
        return {
            **bill.invoice.to_content(),
            **{name: None if row is None else row.to_json() for name, row in rows},
            "check_code": bill.check_code,
            "currency": bill.currency,
            "deed": self.deed.to_json(),
            "key": base64_text(bill.key),
            "open": self.open,
            "proof": base64_text(bill.proof),
            "replaces": None if bill.replaces is None else bill.replaces.hex(),
            "time": self.time,
            "total": self.shares.total,
        }


def on_request(bill: Bill, before: Shares, request: ClaimRequest, time: int) -> Claim:
    """Make the version that does what an insurer asks.

    Args:
        bill: what never changes.
        before: the parts as the version before has them; without one ``Shares(total)``.
        request: of the insurer.
        time: when it is done, Unix seconds.

    Returns:
        The version.

    Raises:
        VerificationError: as `medchain.ledger.kinds.shares.asked`.
    """
    after, place = asked(before, request, time // DAY_S)
    return Claim(bill, after, after.open, Deed(request.action, request.amount, place + 1), time)


def on_refund(bill: Bill, before: Shares, amount: int, time: int) -> Claim:
    """Make the version by which the hospital lowers the invoice's total; arguments as for `on_request`.

    Raises:
        VerificationError: ``claim.amount`` for more than the total, or nothing.
    """
    after = before.on(time // DAY_S).less(amount)
    return Claim(bill, after, after.open, Deed(Action.REFUND, amount, None), time)


def on_reversal(bill: Bill, before: Shares, time: int) -> Claim:
    """Make the version by which the hospital takes the invoice back; arguments as for `on_request`."""
    after = before.on(time // DAY_S)
    return Claim(bill, after, after.open, Deed(Action.REVERSE, 0, None), time)


def read(content: Mapping[str, Json]) -> Claim:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, (*_SHOWN, *_SHARES))
    made = _read(content)
    if made.open != made.shares.open:
        raise InputError("claim.malformed", member="open")
    return made


def read_shown(content: Mapping[str, Json]) -> Claim:
    """Read a whole content, or the part that an insurer is shown; raises `InputError`."""
    if content.keys() >= {*_SHARES}:
        return read(content)
    fields({name: value for name, value in content.items() if name not in _SHARES}, _SHOWN)
    return _read(content)


def insurers(content: Mapping[str, Json]) -> frozenset[str]:
    """Name who has, or had, a part by a whole content; raises `InputError`."""
    return frozenset(row.insurer for row in read(content).shares.rows if row is not None)


def shown_to(content: Mapping[str, Json], org_id: str) -> frozenset[str]:
    """Tell which fields of a version an insurer is shown: its own parts, and nobody else's.

    Args:
        content: whole.
        org_id: of the insurer.

    Returns:
        Names of fields; none where the version does not concern it: what another insurer does is not told.

    Raises:
        InputError: for a malformed content.
    """
    claim = read(content)
    rows = [(name, row) for name, row in zip(_SHARES, claim.shares.rows, strict=True) if row is not None]
    own = {name: row for name, row in rows if row.insurer == org_id}
    mine = [claim.changed] if claim.changed is not None else [row for row in own.values() if row.is_live]
    if not any(row.insurer == org_id for row in mine):
        return frozenset()
    return _SHOWN | own.keys()


def _read(content: Mapping[str, Json]) -> Claim:
    """Read a content that has all fields but, maybe, parts of others."""
    bill = Bill(
        invoice=read_invoice(content),
        key=_octets(content["key"], VRF_PUBLIC_BYTES),
        proof=_octets(content["proof"], VRF_PROOF_BYTES),
        check_code=_check_code(content["check_code"]),
        currency=short_text(content["currency"]),
        replaces=key_or_none(content["replaces"]),
    )
    exponent_of(bill.currency)
    left = content["open"]
    if type(left) is not int:
        raise InputError("claim.malformed", member="open")
    rows = tuple(read_share(content.get(name)) for name in _SHARES)
    shares = Shares(checked_minor(content["total"]), rows)
    return Claim(bill, shares, left, _deed(content["deed"]), count(content["time"]))


def _deed(value: Json) -> Deed:
    """Read what was done."""
    if type(value) is not dict or "share" not in value:
        raise InputError("claim.malformed", member="share")
    share = value["share"]
    row = members({name: item for name, item in value.items() if name != "share"}, {"action": str, "amount": int})
    if row["action"] not in [*Action]:
        raise InputError("claim.malformed", member="action")
    action = Action(str(row["action"]))
    if share is not None and (type(share) is not int or not 1 <= share <= MAX_SHARES):
        raise InputError("claim.malformed", member="share")
    if (share is None) == (action in ASKED):
        raise InputError("claim.malformed", member="share")
    return Deed(action, checked_minor(row["amount"]), share)


def _check_code(value: Json) -> str:
    """Read a check code, which has the one spelling."""
    text = short_text(value)
    if spelled(text, "check_code") != text:
        raise InputError("invoice.spelling")
    return text


def _octets(value: Json, size: int) -> bytes:
    """Read so many bytes in base64."""
    data = unbase64(value)
    if len(data) != size:
        raise InputError("claim.malformed", member="size")
    return data
