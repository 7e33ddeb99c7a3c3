"""A request for a step in the life of a statement: what the organisation that takes the step signs for its owner.

Keeps true: a request counts for one statement, one version of it and one step, and says all that the step says, so that
the owner can neither vary nor repeat it; who is no party shows the ticket that came with the statement. Pure. Trusts
nothing that is parsed.
Source: `docs/spec/attest.md` 5.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from medchain.encoding import Json, digest, members, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import count, short_text
from medchain.ledger.signed_request import Request
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

_SHAPE: Mapping[str, type] = {
    "by": str,
    "ledger": str,
    "nonce": str,
    "owner": str,
    "statement": str,
    "step": str,
    "ticket": str,
    "time": int,
    "type": str,
    "values": dict,
    "version": int,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest(Request):
    """A request for a step.

    Attributes:
        owner: org_id of the organisation that made the statement.
        by: org_id of the one that takes the step.
        statement: map key of the statement, 32 bytes.
        version: that the step follows.
        step: its name.
        values: field → what the step says.
        ticket: 16 bytes; empty for a party, which needs none.
    """

    TYPE: ClassVar[str] = "medchain/attest-request/v1"
    SIGNED_TYPE: ClassVar[str] = "medchain/signed-attest-request/v1"
    MALFORMED: ClassVar[str] = "attest.malformed"

    owner: str
    by: str
    statement: bytes
    version: int
    step: str
    values: Mapping[str, Json]
    ticket: bytes

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read a request strictly; raises `InputError`."""
        top = members(value, _SHAPE)
        values = top["values"]
        if top["type"] != cls.TYPE or not isinstance(values, dict):
            raise InputError(cls.MALFORMED, member="type")
        return cls(
            ledger=unhex(top["ledger"], HASH_BYTES),
            owner=short_text(top["owner"]),
            by=short_text(top["by"]),
            statement=unhex(top["statement"], HASH_BYTES),
            version=count(top["version"]),
            step=short_text(top["step"]),
            values=values,
            ticket=ticket_of(top["ticket"]),
            nonce=unhex(top["nonce"], ID_BYTES),
            time=count(top["time"]),
        )

    @property
    def asker(self) -> str:
        """org_id of who takes the step."""
        return self.by

    def to_json(self) -> dict[str, Json]:
        """Write the request."""
        return {
            "by": self.by,
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "owner": self.owner,
            "statement": self.statement.hex(),
            "step": self.step,
            "ticket": self.ticket.hex(),
            "time": self.time,
            "type": self.TYPE,
            "values": dict(self.values),
            "version": self.version,
        }


def ticket_of(value: Json) -> bytes:
    """Read a ticket, 16 bytes in hexadecimal, or none, the empty text; raises `InputError` ``encoding.hex``."""
    return b"" if value == "" else unhex(value, ID_BYTES)


def ticket_hash(ticket: bytes) -> bytes:
    """Hash a ticket, 32 bytes: what the statement says of it, so that who holds the statement cannot use it."""
    return digest("medchain/attest-ticket/v1", ticket)


def opens(ticket: bytes, expected: bytes | None) -> bool:
    """Tell whether a ticket is a statement's.

    Args:
        ticket: that was shown; empty for none.
        expected: its hash in the statement, None for a statement without a ticket.
    """
    return expected is not None and hmac.compare_digest(ticket_hash(ticket), expected)
