"""The asker's side of an emergency at another organisation: what one's own staff declared is asked for, and opened.

Keeps true: nothing is asked without an emergency of that person that is on disk and open; what is returned was sealed
to us, for this request, and each record is the version that its custodian registered; that it came, and what the
custodian must tell the ledger, is on disk before anybody here is given it. Trusts this node's own ledger and keys.
Source: `docs/spec/emergency-release.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from medchain.encoding import Json
from medchain.errors import AccessDeniedError
from medchain.ledger.emergency_request import EmergencyRequest, given_id
from medchain.ledger.object import StateRecord, map_key
from medchain.ledger.signed_request import sign_request
from medchain.ledger.transaction import Ref
from medchain.node.asker import RECEIVED, AskerParts, Extent, access_of, again, common_of, listed, noting_rejected
from medchain.node.emergency import EMERGENCY, RATE, Noted, open_elsewhere
from medchain.node.emergency_watch import WATCH, Expected
from medchain.node.opening import ReceivedRecord, Wrapped, answer_to, root_of
from medchain.node.release import Answer, access_entry_id, wraps_hash
from medchain.node.release_ports import Disclosure


@dataclass(frozen=True, slots=True)
class EmergencyWish:
    """What is asked for.

    Attributes:
        declaration: object id of this organisation's own emergency, 16 bytes.
        staff: who looks.
        extent: how much.
        patient: id that the patient must have there; empty where it is not known.
    """

    declaration: bytes
    staff: str
    extent: Extent
    patient: str = ""


@dataclass(frozen=True, slots=True)
class EmergencyReceived:
    """An answer that was opened and agrees with our ledger.

    Attributes:
        request_hash: of our request, 32 bytes.
        entry: map key of the custodian's emergency, which it must bring to the ledger; 32 bytes.
        records: in the custodian's order.
        following: `Extent.after` of a further request, None where there is no more.
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
        self._opener = parts.opener()

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
        # Another request each time: where the way was lost, the one before may have been answered.
        request, data = again(lambda: self._sent(noted, wish), noted.custodian, final=RATE)
        with noting_rejected(noted.custodian, partial(self._note, request, None)):
            answer, anchors, received = self._opened(request, data)
        self._note(request, _expected(request, answer, anchors), RECEIVED, listed(received.records))
        peer = parts.ledger.members.organisations[noted.custodian]
        parts.received(Disclosure(request, Ref(received.entry, 1), (), peer), received.records)
        return received

    def _sent(self, noted: Noted, wish: EmergencyWish) -> tuple[EmergencyRequest, bytes]:
        """Sign a request and send it."""
        parts = self._parts
        request = EmergencyRequest(
            **common_of(parts, noted.custodian, self._opener.key_of(parts.org_id), wish.extent),
            declaration=noted.object_id,
            declared=noted.time,
            identifier=noted.identifier,
            staff=noted.staff,
            reason=noted.reason,
            patient=wish.patient,
        )
        signed = sign_request(parts.authentication, request)
        return request, parts.custodians.emergency(noted.custodian, signed.encode())

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
        self, request: EmergencyRequest, expected: Expected | None, direction: str, detail: Mapping[str, Json]
    ) -> None:
        """Note what came, and in the same write what the custodian must tell of it."""
        row = access_of(request, direction, request.declaration_key.hex(), self._parts.clock(), detail)
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
