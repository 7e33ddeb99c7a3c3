"""A request for records in an emergency, without consent: what the asking organisation signs, and where it is told.

Keeps true: a request counts for one declared emergency, and names who looks and why, so that neither can be said
otherwise afterwards; which object the custodian makes of it follows from its hash, so one request makes one, and the
asker finds it missing. Pure. Trusts nothing that is parsed.
Source: `docs/spec/emergency-release.md`; HL7 v3 ActReason BTG.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from medchain.encoding import Json, digest, unhex
from medchain.ledger.kinds.content import Period, short_text
from medchain.ledger.object import Body, Evidence, map_key
from medchain.ledger.records_request import RecordsRequest, natural, read_common, request_members
from medchain.ledger.signed_request import SignedRequest, read_request
from medchain.ledger.transaction import ID_BYTES

BREAKING: Final = "BTG"
"""Purpose of who breaks the glass, v3-ActReason: the only one of such a request."""

_OWN: Final = {"declaration": str, "declared": int, "identifier": str, "reason": str, "staff": str}
_OPTIONAL: Final = {"patient": str}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyRequest(RecordsRequest):
    """A request about a patient whom the asker has declared an emergency for.

    Attributes:
        declaration: object id of the recipient's own emergency, in which it says that it asks; 16 bytes.
        declared: when that was declared, Unix seconds.
        identifier: of the patient, ``system|value`` or a value alone, as FHIR's search has it.
        staff: who looks.
        reason: why.
        patient: id that the patient must have at the custodian; empty where the recipient does not know it.
    """

    TYPE: ClassVar[str] = "medchain/emergency-request/v1"
    SIGNED_TYPE: ClassVar[str] = "medchain/signed-emergency-request/v1"

    declaration: bytes
    declared: int
    identifier: str
    staff: str
    reason: str
    patient: str = ""

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read a request strictly; raises `InputError`."""
        top = request_members(cls, value, _OWN, _OPTIONAL)
        return cls(
            **read_common(top),
            declaration=unhex(top["declaration"], ID_BYTES),
            declared=natural(top["declared"]),
            identifier=short_text(top["identifier"]),
            staff=short_text(top["staff"]),
            reason=short_text(top["reason"]),
            patient=short_text(top["patient"]) if "patient" in top else "",
        )

    @property
    def purpose(self) -> str:
        """Purpose-of-use code."""
        return BREAKING

    @property
    def period(self) -> Period | None:
        """Dates of records that are asked for: all."""
        return None

    def own_json(self) -> dict[str, Json]:
        """Write what only this kind of request says."""
        return {
            **({"patient": self.patient} if self.patient else {}),
            "declaration": self.declaration.hex(),
            "declared": self.declared,
            "identifier": self.identifier,
            "reason": self.reason,
            "staff": self.staff,
        }

    @property
    def declaration_key(self) -> bytes:
        """Map key of the recipient's own emergency, 32 bytes."""
        return map_key("emergency", self.recipient, self.declaration)


def request_of(body: Body) -> SignedRequest[EmergencyRequest] | None:
    """Read the request in the evidence of a custodian's emergency.

    Args:
        body: of the emergency.

    Returns:
        The request; None for an emergency of its own staff, and where the evidence is not shown.

    Raises:
        InputError: as `medchain.ledger.signed_request.parse_request`.
    """
    told = body.evidence.value if isinstance(body.evidence, Evidence) else None
    return read_request(EmergencyRequest, told["request"]) if isinstance(told, dict) and "request" in told else None


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
