"""The asker's side of an emergency at another organisation: what one's own staff declared is asked for, and opened.

Keeps true: nothing is asked without an emergency of that person that is on disk and open; what is returned was sealed
to us, for this request, and each record is the version that its custodian registered; that it came, and what the
custodian must tell the ledger, is on disk before anybody here is given it. Trusts this node's own ledger and keys.
Source: `docs/spec/emergency-release.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, canonical
from medchain.errors import AccessDeniedError, UnavailableError, VerificationError
from medchain.ledger.emergency_request import EmergencyRequest, SignedEmergency, given_id, sign_emergency
from medchain.ledger.object import StateRecord, map_key
from medchain.ledger.transaction import ID_BYTES, Ref
from medchain.node.emergency import EMERGENCY, RATE, Noted, open_elsewhere
from medchain.node.emergency_watch import WATCH, Expected
from medchain.node.exchange import RECEIVED, REJECTED, AskerParts
from medchain.node.log import Log
from medchain.node.opening import ATTEMPTS, Opener, ReceivedRecord, Wrapped, answer_to, root_of
from medchain.node.release import Answer, access_entry_id, wraps_hash
from medchain.node.release_ports import Disclosure
from medchain.store.records import Access

_LOG: Final = Log("exchange")


@dataclass(frozen=True, slots=True)
class EmergencyWish:
    """What is asked for.

    Attributes:
        declaration: object id of this organisation's own emergency, 16 bytes.
        staff: who looks.
        resource_types: FHIR types, or ``*`` alone.
        after: where to go on, `EmergencyReceived.following`; 0 for the first request.
        query: search parameters of the one type that is asked for; empty for all of it.
        count: most records; None for as many as an answer holds.
        patient: id that the patient must have there; empty where it is not known.
    """

    declaration: bytes
    staff: str
    resource_types: tuple[str, ...]
    after: int = 0
    query: str = ""
    count: int | None = None
    patient: str = ""


@dataclass(frozen=True, slots=True)
class EmergencyReceived:
    """An answer that was opened and agrees with our ledger.

    Attributes:
        request_hash: of our request, 32 bytes.
        entry: map key of the custodian's emergency, which it must bring to the ledger; 32 bytes.
        records: in the custodian's order.
        following: `EmergencyWish.after` of a further request, None where there is no more.
        oversized: how many records the custodian left out because each alone is larger than an answer may be.
    """

    request_hash: bytes
    entry: bytes
    records: tuple[ReceivedRecord, ...]
    following: int | None
    oversized: int


class EmergencyAsker:
    """Asks other organisations in emergencies. Threads may share it."""

    __slots__ = ("_opener", "_parts")

    def __init__(self, parts: AskerParts) -> None:
        """Use parts.

        Args:
            parts: of the asker.
        """
        self._parts = parts
        self._opener = Opener(parts.ledger_id, parts.ledger, parts.encryption)

    def request(self, wish: EmergencyWish) -> EmergencyReceived:
        """Ask for records in an emergency that is open, and open what comes.

        Args:
            wish: what is asked for.

        Returns:
            The records.

        Raises:
            AccessDeniedError: ``emergency.over`` without an open emergency of that person; as the custodian says.
            NotFoundError: ``release.nothing``: not permitted or not there, which is not told apart.
            VerificationError: ``exchange.*``: the answer is not what the ledger says. Nothing of it is returned.
            UnavailableError: the way, our own ledger is behind, or the audit cannot keep it.
        """
        parts = self._parts
        opened = open_elsewhere(parts.records, wish.staff, parts.clock())
        noted = next((one for one in opened if one.object_id == wish.declaration), None)
        if noted is None:
            raise AccessDeniedError("emergency.over")
        signed, data = self._sent(noted, wish)
        try:
            answer, anchors, received = self._opened(signed.request, data)
        except VerificationError as error:
            _LOG.warning("exchange.rejected", code=error.code, peer=signed.request.custodian)
            self._note(REJECTED, signed, {"reason": error.code})
            raise
        listed: list[Json] = [[row.object_id.hex(), row.version] for row in received.records]
        self._note(RECEIVED, signed, {"records": listed}, _expected(signed.request, answer, anchors))
        peer = parts.ledger.members.organisations[signed.request.custodian]
        parts.received(Disclosure(signed.request, Ref(received.entry, 1), (), peer), received.records)
        return received

    def _sent(self, noted: Noted, wish: EmergencyWish) -> tuple[SignedEmergency, bytes]:
        """Sign and send; where the way was lost, another request: the first one may have been answered."""
        for _ in range(ATTEMPTS - 1):
            signed = self._signed(noted, wish)
            try:
                return signed, self._parts.custodians.emergency(noted.custodian, signed.encode())
            except UnavailableError as error:
                if error.code == RATE:
                    raise
                _LOG.info("exchange.again", code=error.code, peer=noted.custodian)
        signed = self._signed(noted, wish)
        return signed, self._parts.custodians.emergency(noted.custodian, signed.encode())

    def _signed(self, noted: Noted, wish: EmergencyWish) -> SignedEmergency:
        """Sign a request."""
        parts = self._parts
        request = EmergencyRequest(
            ledger=parts.ledger_id,
            custodian=noted.custodian,
            recipient=parts.org_id,
            declaration=noted.object_id,
            declared=noted.time,
            identifier=noted.identifier,
            staff=noted.staff,
            reason=noted.reason,
            resource_types=tuple(sorted(set(wish.resource_types))),
            after=wish.after,
            encryption_key=self._opener.key_of(parts.org_id),
            nonce=secrets.token_bytes(ID_BYTES),
            time=parts.clock(),
            query=wish.query,
            count=wish.count,
            patient=wish.patient,
        )
        return sign_emergency(parts.authentication, request)

    def _opened(self, request: EmergencyRequest, data: bytes) -> tuple[Answer, list[StateRecord], EmergencyReceived]:
        """Open an answer, and compare it with our own ledger."""
        answer = answer_to(request.hash, data)
        self._catch_up(max(record.position for record in answer.records))
        anchors = self._opener.anchors(request.custodian, answer)
        entry = map_key(EMERGENCY, request.custodian, given_id(request.hash))
        wrapped = Wrapped(request.hash, access_entry_id(entry, 1), request.encryption_key)
        records = self._opener.records(answer, anchors, wrapped)
        return answer, anchors, EmergencyReceived(request.hash, entry, records, answer.following, answer.oversized)

    def _catch_up(self, position: int) -> None:
        """Wait a while until our own ledger is final as far as the records say; who compares them says what lacks."""
        ledger = self._parts.ledger

        def look() -> bool | None:
            final = ledger.final()
            return True if final is not None and position < final.size else None

        ledger.until(look, self._parts.wait_s)

    def _note(
        self, direction: str, signed: SignedEmergency, more: Mapping[str, Json], expected: Expected | None = None
    ) -> None:
        """Note what came, and in the same write what the custodian must tell of it."""
        request = signed.request
        named: dict[str, Json] = {"custodian": request.custodian, "request_hash": request.hash.hex()}
        name = request.hash[:ID_BYTES] if direction == RECEIVED else request.hash[ID_BYTES:]
        detail = canonical({**named, **more})
        row = Access(name, request.declaration_key.hex(), direction, self._parts.clock(), detail)
        intents = [] if expected is None else [(WATCH, expected.encode())]
        self._parts.records.put_accesses([row], intents=intents)


def _expected(request: EmergencyRequest, answer: Answer, anchors: Sequence[StateRecord]) -> Expected:
    """Say what the custodian's emergency must tell."""
    fields: dict[str, Json] = {
        "commitments_root": root_of(anchors).hex(),
        "count": len(anchors),
        "custodian": request.custodian,
        "reason": request.reason,
        "recipient": request.recipient,
        "request_hash": request.hash.hex(),
        "staff": request.staff,
        "wraps_hash": wraps_hash(answer.wraps).hex(),
    }
    return Expected(request.custodian, map_key(EMERGENCY, request.custodian, given_id(request.hash)), fields)
