"""A release request between two organisations: what the asker signs, and where its access entry stands.

Keeps true: a request counts for one ledger, custodian, recipient, grant, purpose and key, and has one spelling, so its
hash names it; the accesses under a grant are one chain whose key follows from the grant, so that anybody can find it,
or prove it absent. Pure. Trusts nothing that is parsed.
Source: `docs/spec/release.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.crypto.es384 import ES384, SIGNATURE_BYTES, Es384Signer, es384_verify
from medchain.crypto.signing import key_id
from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import ANY_TYPE, Period, names, period, period_json, short_text
from medchain.ledger.object import map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

MAX_REQUEST_BYTES: Final = 32 * 1024
"""Largest signed request."""

REQUEST_LIFE_S: Final = 120
"""How old a request may be."""

REQUEST_AHEAD_S: Final = 60
"""How far its time may lie ahead of the custodian's clock."""

MAX_COUNT: Final = 1000
"""Most records that a request can ask for at once."""

MAX_QUERY_CHARS: Final = 4096
"""Longest search of a request."""

_REQUEST_TYPE: Final = "medchain/release-request/v1"
_SIGNED_TYPE: Final = "medchain/signed-release-request/v1"
_REQUEST: Final = {
    "after": int,
    "custodian": str,
    "encryption_key": str,
    "grant": str,
    "ledger": str,
    "nonce": str,
    "purpose": str,
    "recipient": str,
    "resource_types": list,
    "time": int,
    "type": str,
}

OF_EXTENT: Final = {"count": int, "query": str}
"""Members that are absent where nothing is asked of their kind, so that a request has one spelling."""


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """Who asks whom for what.

    Attributes:
        ledger: ledger id, 32 bytes.
        custodian: org_id of the organisation that holds the records.
        recipient: org_id of the one that asks.
        grant: map key of the grant, 32 bytes.
        purpose: purpose-of-use code.
        resource_types: FHIR types, sorted, or ``("*",)``.
        period: dates of records that are asked for; None for all.
        after: `medchain.node.release.Answer.following` of the answer before; 0 for the first.
        encryption_key: key id of the recipient's key to which data keys are wrapped.
        nonce: 16 random bytes.
        time: Unix seconds.
        query: search parameters of the one type that is asked for, percent-encoded; empty for all of it.
        count: most records of the answer, 1 to `MAX_COUNT`; None for as many as an answer holds.
    """

    ledger: bytes
    custodian: str
    recipient: str
    grant: bytes
    purpose: str
    resource_types: tuple[str, ...]
    period: Period | None
    after: int
    encryption_key: str
    nonce: bytes
    time: int
    query: str = ""
    count: int | None = None

    def to_json(self) -> dict[str, Json]:
        """Write the request."""
        return {
            **extent_json(self.resource_types, self.query, self.count),
            "after": self.after,
            "custodian": self.custodian,
            "encryption_key": self.encryption_key,
            "grant": self.grant.hex(),
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "period": None if self.period is None else period_json(self.period),
            "purpose": self.purpose,
            "recipient": self.recipient,
            "time": self.time,
            "type": _REQUEST_TYPE,
        }

    @property
    def hash(self) -> bytes:
        """What is signed and what the access entry names: ``digest(type, canonical(request))``, 32 bytes.

        Not over the signature: ECDSA signatures can be varied, a request must not be.
        """
        return digest(_REQUEST_TYPE, canonical(self.to_json()))


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request with the recipient's signature.

    Attributes:
        request: what is asked.
        key_id: authentication key of the recipient.
        signature: ES384 over `ReleaseRequest.hash`, 96 bytes.
    """

    request: ReleaseRequest
    key_id: str
    signature: bytes

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "key_id": self.key_id,
            "request": self.request.to_json(),
            "signature": base64_text(self.signature),
            "type": _SIGNED_TYPE,
        }

    def encode(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical(self.to_json())

    def is_signed_by(self, public: bytes) -> bool:
        """Tell whether the signature is that of an authentication key (97 bytes)."""
        return es384_verify(public, self.request.hash, self.signature)


def sign_request(signer: Es384Signer, request: ReleaseRequest) -> SignedRequest:
    """Sign a request with the organisation's authentication key."""
    return SignedRequest(request, key_id(ES384, signer.public), signer.sign(request.hash))


def parse_request(document: bytes) -> SignedRequest:
    """Read a signed request strictly; its signature is not checked yet.

    Args:
        document: from `SignedRequest.encode`.

    Returns:
        The request.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``release.malformed``.
    """
    return read_request(parse_canonical(document, max_bytes=MAX_REQUEST_BYTES))


def read_request(value: Json) -> SignedRequest:
    """Read a signed request that stands in another document, such as the evidence of an access; errors as above."""
    top = members(value, {"key_id": str, "request": dict, "signature": str, "type": str})
    signature = unbase64(top["signature"])
    if top["type"] != _SIGNED_TYPE or len(signature) != SIGNATURE_BYTES:
        raise InputError("release.malformed")
    return SignedRequest(_request(top["request"]), unhex(top["key_id"], ID_BYTES).hex(), signature)


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


def _request(value: Json) -> ReleaseRequest:
    """Read a request."""
    if type(value) is not dict or "period" not in value:
        raise InputError("encoding.members", member="period")
    span = value["period"]
    top = members({name: item for name, item in value.items() if name != "period"}, _REQUEST, OF_EXTENT)
    if top["type"] != _REQUEST_TYPE:
        raise InputError("release.malformed", member="type")
    types, query, count = extent(top)
    return ReleaseRequest(
        ledger=unhex(top["ledger"], HASH_BYTES),
        custodian=short_text(top["custodian"]),
        recipient=short_text(top["recipient"]),
        grant=unhex(top["grant"], HASH_BYTES),
        purpose=short_text(top["purpose"]),
        resource_types=types,
        period=None if span is None else period(span),
        after=natural(top["after"]),
        encryption_key=unhex(top["encryption_key"], ID_BYTES).hex(),
        nonce=unhex(top["nonce"], ID_BYTES),
        time=natural(top["time"]),
        query=query,
        count=count,
    )


def extent(top: Mapping[str, Json]) -> tuple[tuple[str, ...], str, int | None]:
    """Read how much a request asks for: types, search and most records; raises `InputError` ``release.malformed``."""
    types = names(top["resource_types"])
    if ANY_TYPE in types and len(types) > 1:
        raise InputError("release.malformed", member="resource_types")
    count = natural(top["count"]) if "count" in top else None
    if count is not None and not 0 < count <= MAX_COUNT:
        raise InputError("release.malformed", member="count")
    return types, _query(top["query"], types) if "query" in top else "", count


def extent_json(resource_types: Sequence[str], query: str, count: int | None) -> dict[str, Json]:
    """Write the same; what is not asked is absent, so that a request has one spelling."""
    told: dict[str, Json] = {"resource_types": [*resource_types]}
    if query:
        told["query"] = query
    if count is not None:
        told["count"] = count
    return told


def _query(value: Json, types: tuple[str, ...]) -> str:
    """Read a search: of one type, since a parameter means another thing for another; what it says is not read here."""
    is_one = len(types) == 1 and ANY_TYPE not in types
    if type(value) is not str or not 0 < len(value) <= MAX_QUERY_CHARS or not value.isascii() or not is_one:
        raise InputError("release.malformed", member="query")
    return value


def natural(value: Json) -> int:
    """Read a number that is not negative; raises `InputError` ``release.malformed``."""
    if type(value) is not int or value < 0:
        raise InputError("release.malformed", member="number")
    return value
