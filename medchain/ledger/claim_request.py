"""What an insurer signs when it has a hospital reserve, settle or release a part of an invoice.

Keeps true: a request counts for one claim id at one version, one hospital, one insurer and one amount, so nobody can
use it for another deed, or again. Pure. Trusts nothing that is parsed.
Source: `docs/spec/claim.md` 5, 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Self

from medchain.encoding import Json, members, unhex
from medchain.errors import InputError
from medchain.ledger.invoice import checked_minor, exponent_of
from medchain.ledger.kinds.content import count, short_text
from medchain.ledger.signed_request import Request
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

_MEMBERS: Final = {
    "action": str,
    "amount": int,
    "claim": str,
    "claim_id": str,
    "currency": str,
    "head": int,
    "hospital": str,
    "insurer": str,
    "ledger": str,
    "nonce": str,
    "time": int,
    "type": str,
}


class Action(StrEnum):
    """What is done with a claim."""

    RESERVE = "reserve"
    """An insurer keeps a part of the invoice for itself, for a time."""
    SETTLE = "settle"
    """It has paid, or will, what it reserved."""
    RELEASE = "release"
    """It does not claim its part any more."""
    REFUND = "refund"
    """The hospital lowers the invoice's total."""
    REVERSE = "reverse"
    """The hospital takes the invoice back, for ever."""


ASKED: Final = frozenset({Action.RESERVE, Action.SETTLE, Action.RELEASE})
"""What an insurer asks for; the rest a hospital does itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest(Request):
    """A request of an insurer.

    Attributes:
        action: one of `ASKED`.
        hospital: org_id of the organisation that issued the invoice.
        insurer: org_id of the one that asks.
        claim_id: object id of the invoice's claims, 16 bytes.
        head: version that the insurer has seen; 0 where there was none.
        claim: digest of the insurer's own claim, 32 bytes: what its part is for.
        amount: in minor units; above 0 but for a release, which is of all and has 0.
        currency: ISO 4217 code, that of the invoice.
        until: last day of the reservation, days since 1970-01-01; None but to reserve.
    """

    TYPE: ClassVar[str] = "medchain/claim-request/v1"
    SIGNED_TYPE: ClassVar[str] = "medchain/signed-claim-request/v1"
    MALFORMED: ClassVar[str] = "claim.malformed"

    action: Action
    hospital: str
    insurer: str
    claim_id: bytes
    head: int
    claim: bytes
    amount: int
    currency: str
    until: int | None

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read a request strictly; raises `InputError`."""
        if type(value) is not dict or "until" not in value:
            raise InputError("encoding.members", member="until")
        until = value["until"]
        top = members({name: item for name, item in value.items() if name != "until"}, _MEMBERS)
        if top["type"] != cls.TYPE or top["action"] not in ASKED:
            raise InputError(cls.MALFORMED, member="action")
        made = cls(
            ledger=unhex(top["ledger"], HASH_BYTES),
            nonce=unhex(top["nonce"], ID_BYTES),
            time=count(top["time"]),
            action=Action(str(top["action"])),
            hospital=short_text(top["hospital"]),
            insurer=short_text(top["insurer"]),
            claim_id=unhex(top["claim_id"], ID_BYTES),
            head=count(top["head"]),
            claim=unhex(top["claim"], HASH_BYTES),
            amount=checked_minor(top["amount"]),
            currency=short_text(top["currency"]),
            until=None if until is None else count(until),
        )
        exponent_of(made.currency)
        if (made.amount == 0) != (made.action is Action.RELEASE) or (made.until is None) == made.is_reservation:
            raise InputError(cls.MALFORMED, member="amount")
        return made

    @property
    def asker(self) -> str:
        """org_id of the insurer."""
        return self.insurer

    @property
    def is_reservation(self) -> bool:
        """Whether it reserves."""
        return self.action is Action.RESERVE

    def to_json(self) -> dict[str, Json]:
        """Write the request."""
        return {
            "action": self.action.value,
            "amount": self.amount,
            "claim": self.claim.hex(),
            "claim_id": self.claim_id.hex(),
            "currency": self.currency,
            "head": self.head,
            "hospital": self.hospital,
            "insurer": self.insurer,
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "time": self.time,
            "type": self.TYPE,
            "until": self.until,
        }
