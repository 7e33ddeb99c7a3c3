"""A request for records in an emergency, without consent: what the asking organisation signs, and where it is told.

Keeps true: a request counts for one ledger, custodian, recipient, key and declared emergency, and names who looks and
why, so that neither can be said otherwise afterwards; which object the custodian makes of it follows from its hash, so
one request makes one, and the asker finds it missing. Pure. Trusts nothing that is parsed.
Source: `docs/spec/emergency-release.md`; HL7 v3 ActReason BTG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.crypto.es384 import ES384, SIGNATURE_BYTES, Es384Signer, es384_verify
from medchain.crypto.signing import key_id
from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import Period, short_text
from medchain.ledger.object import Body, Evidence, map_key
from medchain.ledger.request import MAX_REQUEST_BYTES, OF_EXTENT, extent, extent_json, natural
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

BREAKING: Final = "BTG"
"""Purpose of who breaks the glass, v3-ActReason: the only one of such a request."""

_REQUEST_TYPE: Final = "medchain/emergency-request/v1"
_SIGNED_TYPE: Final = "medchain/signed-emergency-request/v1"
_TEXTS: Final = ("custodian", "identifier", "reason", "recipient", "staff")
_HEX: Final = ("declaration", "encryption_key", "ledger", "nonce")
_REQUEST: Final = {
    **dict.fromkeys((*_TEXTS, *_HEX, "type"), str),
    **dict.fromkeys(("after", "declared", "time"), int),
    "resource_types": list,
}


@dataclass(frozen=True, slots=True)
class EmergencyRequest:
    """Who asks whom for what, about whom and why.

    Attributes:
        ledger: ledger id, 32 bytes.
        custodian: org_id of the organisation that holds the records.
        recipient: org_id of the one that asks.
        declaration: object id of the recipient's own emergency, in which it says that it asks; 16 bytes.
        declared: when that was declared, Unix seconds.
        identifier: of the patient, ``system|value`` or a value alone, as FHIR's search has it.
        staff: who looks.
        reason: why.
        resource_types: FHIR types, sorted, or ``("*",)``.
        after: `medchain.node.release.Answer.following` of the answer before; 0 for the first.
        encryption_key: key id of the recipient's key to which data keys are wrapped.
        nonce: 16 random bytes.
        time: Unix seconds.
        query: search parameters of the one type that is asked for, percent-encoded; empty for all of it.
        count: most records of the answer; None for as many as an answer holds.
        patient: id that the patient must have at the custodian; empty where the recipient does not know it.
    """

    ledger: bytes
    custodian: str
    recipient: str
    declaration: bytes
    declared: int
    identifier: str
    staff: str
    reason: str
    resource_types: tuple[str, ...]
    after: int
    encryption_key: str
    nonce: bytes
    time: int
    query: str = ""
    count: int | None = None
    patient: str = ""

    @property
    def purpose(self) -> str:
        """Purpose-of-use code."""
        return BREAKING

    @property
    def period(self) -> Period | None:
        """Dates of records that are asked for: all."""
        return None

    def to_json(self) -> dict[str, Json]:
        """Write the request."""
        return {
            **extent_json(self.resource_types, self.query, self.count),
            **({"patient": self.patient} if self.patient else {}),
            "after": self.after,
            "custodian": self.custodian,
            "declaration": self.declaration.hex(),
            "declared": self.declared,
            "encryption_key": self.encryption_key,
            "identifier": self.identifier,
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "reason": self.reason,
            "recipient": self.recipient,
            "staff": self.staff,
            "time": self.time,
            "type": _REQUEST_TYPE,
        }

    @property
    def hash(self) -> bytes:
        """What is signed and what the custodian's emergency names: ``digest(type, canonical(request))``, 32 bytes."""
        return digest(_REQUEST_TYPE, canonical(self.to_json()))

    @property
    def declaration_key(self) -> bytes:
        """Map key of the recipient's own emergency, 32 bytes."""
        return map_key("emergency", self.recipient, self.declaration)


@dataclass(frozen=True, slots=True)
class SignedEmergency:
    """A request with the recipient's signature.

    Attributes:
        request: what is asked.
        key_id: authentication key of the recipient.
        signature: ES384 over `EmergencyRequest.hash`, 96 bytes.
    """

    request: EmergencyRequest
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


def sign_emergency(signer: Es384Signer, request: EmergencyRequest) -> SignedEmergency:
    """Sign a request with the organisation's authentication key."""
    return SignedEmergency(request, key_id(ES384, signer.public), signer.sign(request.hash))


def parse_emergency(document: bytes) -> SignedEmergency:
    """Read a signed request strictly; its signature is not checked yet.

    Args:
        document: from `SignedEmergency.encode`.

    Returns:
        The request.

    Raises:
        InputError: ``encoding.*``, ``content.*``, ``release.malformed``.
    """
    return read_emergency(parse_canonical(document, max_bytes=MAX_REQUEST_BYTES))


def read_emergency(value: Json) -> SignedEmergency:
    """Read a signed request that stands in another document, such as the evidence of an emergency; errors as above."""
    top = members(value, {"key_id": str, "request": dict, "signature": str, "type": str})
    signature = unbase64(top["signature"])
    if top["type"] != _SIGNED_TYPE or len(signature) != SIGNATURE_BYTES:
        raise InputError("release.malformed")
    return SignedEmergency(_request(top["request"]), unhex(top["key_id"], ID_BYTES).hex(), signature)


def request_of(body: Body) -> SignedEmergency | None:
    """Read the request in the evidence of a custodian's emergency.

    Args:
        body: of the emergency.

    Returns:
        The request; None for an emergency of its own staff, and where the evidence is not shown.

    Raises:
        InputError: as `parse_emergency`.
    """
    told = body.evidence.value if isinstance(body.evidence, Evidence) else None
    return read_emergency(told["request"]) if isinstance(told, dict) and "request" in told else None


def given_id(request_hash: bytes) -> bytes:
    """Derive the object id of the custodian's emergency for a request, 16 bytes: it makes one, and none twice."""
    return digest("medchain/emergency-id/v1", request_hash)[:ID_BYTES]


def about(declaration: bytes, identifier: str) -> str:
    """Name the patient in the emergency of who asks: nobody reads there who it is, and both sides find it so.

    Args:
        declaration: id of that object, 16 random bytes.
        identifier: as the request has it.

    Returns:
        64 hexadecimal digits.
    """
    return digest("medchain/emergency-about/v1", declaration, identifier.encode()).hex()


def _request(value: Json) -> EmergencyRequest:
    """Read a request."""
    top = members(value, _REQUEST, OF_EXTENT | {"patient": str})
    if top["type"] != _REQUEST_TYPE:
        raise InputError("release.malformed", member="type")
    texts = {name: short_text(top[name]) for name in _TEXTS}
    types, query, count = extent(top)
    return EmergencyRequest(
        ledger=unhex(top["ledger"], HASH_BYTES),
        custodian=texts["custodian"],
        recipient=texts["recipient"],
        declaration=unhex(top["declaration"], ID_BYTES),
        declared=natural(top["declared"]),
        identifier=texts["identifier"],
        staff=texts["staff"],
        reason=texts["reason"],
        resource_types=types,
        after=natural(top["after"]),
        encryption_key=unhex(top["encryption_key"], ID_BYTES).hex(),
        nonce=unhex(top["nonce"], ID_BYTES),
        time=natural(top["time"]),
        query=query,
        count=count,
        patient=_optional(top),
    )


def _optional(top: Mapping[str, Json]) -> str:
    """Read the patient's id, which is absent where nobody says one."""
    return short_text(top["patient"]) if "patient" in top else ""
