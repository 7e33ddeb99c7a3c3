"""A request that one organisation signs and another answers: what it is signed over, how it is written and read.

Keeps true: a request counts for one ledger, asker and key, and has one spelling, so its hash names it; of which kind it
is stands in what is hashed. Pure. Trusts nothing that is parsed.
Source: `docs/spec/release.md`, `docs/spec/emergency-release.md`, `docs/spec/claim.md`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, Self, TypeVar

from medchain.crypto.es384 import ES384, SIGNATURE_BYTES, Es384Signer, es384_verify
from medchain.crypto.signing import key_id
from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.members import AUTHENTICATION_KEY, Organisation
from medchain.ledger.transaction import ID_BYTES

MAX_REQUEST_BYTES: Final = 32 * 1024
"""Largest signed request."""

REQUEST_LIFE_S: Final = 120
"""How old a request may be."""

REQUEST_AHEAD_S: Final = 60
"""How far its time may lie ahead of the clock of who answers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(ABC):
    """Who asks, on which ledger and when; each kind adds whom and for what.

    Attributes:
        ledger: ledger id, 32 bytes.
        nonce: 16 random bytes.
        time: Unix seconds.
    """

    TYPE: ClassVar[str]
    """Name of the kind, which stands in the request and before what is hashed."""

    SIGNED_TYPE: ClassVar[str]
    """Name of the document that holds a signed one."""

    MALFORMED: ClassVar[str]
    """Code of a document that is none of this kind."""

    ledger: bytes
    nonce: bytes
    time: int

    @classmethod
    @abstractmethod
    def read(cls, value: Json) -> Self:
        """Read a request strictly; raises `InputError`."""

    @property
    @abstractmethod
    def asker(self) -> str:
        """org_id of who signs it."""

    @abstractmethod
    def to_json(self) -> dict[str, Json]:
        """Write the request, its type with it; it has one spelling."""

    @property
    def hash(self) -> bytes:
        """What is signed and what an entry of the ledger names: ``digest(type, canonical(request))``, 32 bytes.

        Not over the signature: ECDSA signatures can be varied, a request must not be.
        """
        return digest(self.TYPE, canonical(self.to_json()))


Asked = TypeVar("Asked", bound=Request)
Asked_co = TypeVar("Asked_co", bound=Request, covariant=True)


@dataclass(frozen=True, slots=True)
class SignedRequest(Generic[Asked_co]):
    """A request with its asker's signature.

    Attributes:
        request: what is asked.
        key_id: authentication key of the asker.
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
        if (self.request.asker, self.request.ledger) != (member.org_id, ledger):
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
        InputError: ``encoding.*``, ``content.*``, `Request.MALFORMED`.
    """
    return read_request(kind, parse_canonical(document, max_bytes=MAX_REQUEST_BYTES))


def read_request(kind: type[Asked], value: Json) -> SignedRequest[Asked]:
    """Read a signed request that stands in another document, such as the evidence of a release; errors as above."""
    top = members(value, {"key_id": str, "request": dict, "signature": str, "type": str})
    signature = unbase64(top["signature"])
    if top["type"] != kind.SIGNED_TYPE or len(signature) != SIGNATURE_BYTES:
        raise InputError(kind.MALFORMED)
    return SignedRequest(kind.read(top["request"]), unhex(top["key_id"], ID_BYTES).hex(), signature)
