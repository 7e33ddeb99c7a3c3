"""What every request for another organisation's records has: its common members, how much it asks for, a signature.

Keeps true: a request counts for one ledger, custodian, recipient and key, and has one spelling, so its hash names it;
of which kind it is stands in what is hashed. Pure. Trusts nothing that is parsed.
Source: `docs/spec/release.md`, `docs/spec/emergency-release.md`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, Self, TypedDict, TypeVar

from medchain.crypto.es384 import ES384, SIGNATURE_BYTES, Es384Signer, es384_verify
from medchain.crypto.signing import key_id
from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import ANY_TYPE, names, short_text
from medchain.ledger.members import AUTHENTICATION_KEY, Organisation
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

_COMMON: Final = {
    "after": int,
    "custodian": str,
    "encryption_key": str,
    "ledger": str,
    "nonce": str,
    "recipient": str,
    "resource_types": list,
    "time": int,
    "type": str,
}
_EXTENT: Final = {"count": int, "query": str}


class Common(TypedDict):
    """What every request says, to make one from; members as of `Request`."""

    ledger: bytes
    custodian: str
    recipient: str
    resource_types: tuple[str, ...]
    after: int
    encryption_key: str
    nonce: bytes
    time: int
    query: str
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(ABC):
    """Who asks whom for what; each kind adds why it may.

    Attributes:
        ledger: ledger id, 32 bytes.
        custodian: org_id of the organisation that holds the records.
        recipient: org_id of the one that asks.
        resource_types: FHIR types, sorted, or ``("*",)``.
        after: `medchain.node.release.Answer.following` of the answer before; 0 for the first.
        encryption_key: key id of the recipient's key to which data keys are wrapped.
        nonce: 16 random bytes.
        time: Unix seconds.
        query: search parameters of the one type that is asked for, percent-encoded; empty for all of it.
        count: most records of the answer, 1 to `MAX_COUNT`; None for as many as an answer holds.
    """

    TYPE: ClassVar[str]
    """Name of the kind, which stands in the request and before what is hashed."""

    SIGNED_TYPE: ClassVar[str]
    """Name of the document that holds a signed one."""

    ledger: bytes
    custodian: str
    recipient: str
    resource_types: tuple[str, ...]
    after: int
    encryption_key: str
    nonce: bytes
    time: int
    query: str = ""
    count: int | None = None

    @classmethod
    @abstractmethod
    def read(cls, value: Json) -> Self:
        """Read a request strictly; raises `InputError`."""

    @abstractmethod
    def own_json(self) -> dict[str, Json]:
        """Write what only this kind of request says."""

    def to_json(self) -> dict[str, Json]:
        """Write the request; what is not asked is absent, so that a request has one spelling."""
        return {
            **self.own_json(),
            **({"query": self.query} if self.query else {}),
            **({} if self.count is None else {"count": self.count}),
            "after": self.after,
            "custodian": self.custodian,
            "encryption_key": self.encryption_key,
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "recipient": self.recipient,
            "resource_types": [*self.resource_types],
            "time": self.time,
            "type": self.TYPE,
        }

    @property
    def hash(self) -> bytes:
        """What is signed and what the entry of the release names: ``digest(type, canonical(request))``, 32 bytes.

        Not over the signature: ECDSA signatures can be varied, a request must not be.
        """
        return digest(self.TYPE, canonical(self.to_json()))


Asked = TypeVar("Asked", bound=Request)
Asked_co = TypeVar("Asked_co", bound=Request, covariant=True)


@dataclass(frozen=True, slots=True)
class SignedRequest(Generic[Asked_co]):
    """A request with the recipient's signature.

    Attributes:
        request: what is asked.
        key_id: authentication key of the recipient.
        signature: ES384 over `Request.hash`, 96 bytes.
    """

    request: Asked_co
    key_id: str
    signature: bytes

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "key_id": self.key_id,
            "request": self.request.to_json(),
            "signature": base64_text(self.signature),
            "type": self.request.SIGNED_TYPE,
        }

    def encode(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical(self.to_json())

    def is_signed_by(self, public: bytes) -> bool:
        """Tell whether the signature is that of an authentication key (97 bytes)."""
        return es384_verify(public, self.request.hash, self.signature)

    def is_of(self, member: Organisation, ledger: bytes) -> bool:
        """Tell whether a member asks, for a ledger, and has signed with an authentication key that it has now."""
        if (self.request.recipient, self.request.ledger) != (member.org_id, ledger):
            return False
        own = (key.public for key in member.keys if key.use == AUTHENTICATION_KEY and key.id == self.key_id)
        return any(self.is_signed_by(public) for public in own)


def sign_request(signer: Es384Signer, request: Asked) -> SignedRequest[Asked]:
    """Sign a request with the organisation's authentication key."""
    return SignedRequest(request, key_id(ES384, signer.public), signer.sign(request.hash))


def parse_request(kind: type[Asked], document: bytes) -> SignedRequest[Asked]:
    """Read a signed request strictly; its signature is not checked yet.

    Args:
        kind: of request.
        document: from `SignedRequest.encode`.

    Returns:
        The request.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``release.malformed``.
    """
    return read_request(kind, parse_canonical(document, max_bytes=MAX_REQUEST_BYTES))


def read_request(kind: type[Asked], value: Json) -> SignedRequest[Asked]:
    """Read a signed request that stands in another document, such as the evidence of a release; errors as above."""
    top = members(value, {"key_id": str, "request": dict, "signature": str, "type": str})
    signature = unbase64(top["signature"])
    if top["type"] != kind.SIGNED_TYPE or len(signature) != SIGNATURE_BYTES:
        raise InputError("release.malformed")
    return SignedRequest(kind.read(top["request"]), unhex(top["key_id"], ID_BYTES).hex(), signature)


def request_members(
    kind: type[Request], value: Json, own: Mapping[str, type], optional: Mapping[str, type] | None = None
) -> dict[str, Json]:
    """Check that a value has exactly the members of a kind of request.

    Args:
        kind: of request.
        value: a decoded document.
        own: members of this kind alone, as of `medchain.encoding.members`.
        optional: those of them that may be absent.

    Returns:
        The object.

    Raises:
        InputError: ``encoding.members``, ``release.malformed``.
    """
    top = members(value, {**_COMMON, **own}, {**_EXTENT, **(optional or {})})
    if top["type"] != kind.TYPE:
        raise InputError("release.malformed", member="type")
    return top


def read_common(top: Mapping[str, Json]) -> Common:
    """Read what every request says, from `request_members`; raises `InputError`."""
    types = names(top["resource_types"])
    if ANY_TYPE in types and len(types) > 1:
        raise InputError("release.malformed", member="resource_types")
    return {
        "ledger": unhex(top["ledger"], HASH_BYTES),
        "custodian": short_text(top["custodian"]),
        "recipient": short_text(top["recipient"]),
        "resource_types": types,
        "after": natural(top["after"]),
        "encryption_key": unhex(top["encryption_key"], ID_BYTES).hex(),
        "nonce": unhex(top["nonce"], ID_BYTES),
        "time": natural(top["time"]),
        "query": _query(top["query"], types) if "query" in top else "",
        "count": _count(top["count"]) if "count" in top else None,
    }


def natural(value: Json) -> int:
    """Read a number that is not negative; raises `InputError` ``release.malformed``."""
    if type(value) is not int or value < 0:
        raise InputError("release.malformed", member="number")
    return value


def _query(value: Json, types: tuple[str, ...]) -> str:
    """Read a search: of one type, since a parameter means another thing for another; what it says is not read here."""
    is_one = len(types) == 1 and ANY_TYPE not in types
    if type(value) is not str or not 0 < len(value) <= MAX_QUERY_CHARS or not value.isascii() or not is_one:
        raise InputError("release.malformed", member="query")
    return value


def _count(value: Json) -> int:
    """Read how many records are asked for at most."""
    count = natural(value)
    if not 0 < count <= MAX_COUNT:
        raise InputError("release.malformed", member="count")
    return count
