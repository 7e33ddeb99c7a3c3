"""A release request between two organisations: what the asker signs, and where its access entry stands.

Keeps true: a request counts for one grant and purpose; the accesses under a grant are one chain whose key follows from
the grant, so that anybody can find it, or prove it absent. Pure. Trusts nothing that is parsed.
Source: `docs/spec/release.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from medchain.encoding import Json, digest, members, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import ANY_TYPE, Period, period, period_json, short_text
from medchain.ledger.object import map_key
from medchain.ledger.records_request import RecordsRequest, read_common, request_members
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

_OWN: Final = {"grant": str, "purpose": str}
_OPTIONAL: Final = {"claim": dict}


@dataclass(frozen=True, slots=True)
class CitedClaim:
    """For which claim some fields of records are asked for, in the place of the records.

    Attributes:
        digest: of the claim, 32 bytes.
        citation: hash of what it cites (`medchain.ledger.citation.Citation.hash`), 32 bytes.
    """

    digest: bytes
    citation: bytes

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read it strictly; raises `InputError`."""
        top = members(value, {"citation": str, "digest": str})
        return cls(unhex(top["digest"], HASH_BYTES), unhex(top["citation"], HASH_BYTES))

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {"citation": self.citation.hex(), "digest": self.digest.hex()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest(RecordsRequest):
    """A request under a grant.

    Attributes:
        grant: map key of the grant, 32 bytes.
        purpose: purpose-of-use code.
        period: dates of records that are asked for; None for all.
        claim: for which some fields are asked for; None where whole records are.
    """

    TYPE: ClassVar[str] = "medchain/release-request/v1"
    SIGNED_TYPE: ClassVar[str] = "medchain/signed-release-request/v1"

    grant: bytes
    purpose: str
    period: Period | None
    claim: CitedClaim | None = None

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read a request strictly; raises `InputError`."""
        if type(value) is not dict or "period" not in value:
            raise InputError("encoding.members", member="period")
        span = value["period"]
        rest = {name: item for name, item in value.items() if name != "period"}
        top = request_members(cls, rest, _OWN, _OPTIONAL)
        made = cls(
            **read_common(top),
            grant=unhex(top["grant"], HASH_BYTES),
            purpose=short_text(top["purpose"]),
            period=None if span is None else period(span),
            claim=CitedClaim.read(top["claim"]) if "claim" in top else None,
        )
        narrowed = (made.period, made.query, made.count, made.after)
        if made.claim is not None and (narrowed != (None, "", None, 0) or ANY_TYPE in made.resource_types):
            # What is asked for stands in the citation, and there alone.
            raise InputError("release.malformed", member="claim")
        return made

    def own_json(self) -> dict[str, Json]:
        """Write what only this kind of request says."""
        return {
            **({} if self.claim is None else {"claim": self.claim.to_json()}),
            "grant": self.grant.hex(),
            "period": None if self.period is None else period_json(self.period),
            "purpose": self.purpose,
        }


def access_id(grant: bytes, custodian: str) -> bytes:
    """Derive the object id of the accesses under a grant: one chain, which nobody has to be told.

    It may follow from the grant, since the access refs the grant in clear.

    Args:
        grant: map key of the grant, 32 bytes.
        custodian: org_id.

    Returns:
        16 bytes.
    """
    return digest("medchain/access-id/v1", grant, custodian.encode("ascii"))[:ID_BYTES]


def access_key(grant: bytes, custodian: str) -> bytes:
    """Compute the map key of the accesses under a grant, 32 bytes."""
    return map_key("access", custodian, access_id(grant, custodian))
