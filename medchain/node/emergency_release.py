"""The custodian's side of an emergency at another organisation: records go out at once, and the ledger is told after.

The order is the point: request verified → asker a hospital in good standing, its emergency not over, its rate kept →
patient found → decision, as for a clinician here who breaks the glass → records chosen, keys wrapped → note, intent to
tell the ledger and what the asker must tell, in one write → audit → records. Keeps true: no byte leaves before all of
that is on disk; a request is answered once, over restarts, since the object it makes follows from its hash; who may not
ask learns nothing of patients; no wrapped key is kept. Trusts this node's stores, the decision that the roof passes in,
and the server for which organisation calls.
Source: `docs/spec/emergency-release.md`; HL7 v3 ActReason BTG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from medchain.encoding import Json, canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
)
from medchain.ledger.emergency_request import EmergencyRequest, about, given_id
from medchain.ledger.kinds.emergency import EMERGENCY_S, Emergency
from medchain.ledger.members import Key
from medchain.ledger.object import build_body, map_key
from medchain.ledger.signed_request import REQUEST_AHEAD_S, SignedRequest, parse_request
from medchain.ledger.transaction import Ref
from medchain.node.emergency import ASKED_ROLE, EMERGENCY, MOST_NOTED, RATE, intent_of, noted_for
from medchain.node.emergency_watch import WATCH, Expected
from medchain.node.log import Log
from medchain.node.refusing import note_refusal
from medchain.node.release import Answer, ReleasedRecord, access_entry_id, wraps_hash
from medchain.node.release_ports import CustodianParts, Disclosure, Emergencies, Refused
from medchain.node.requests import verified
from medchain.node.standing import TOO_LARGE, Choice, Holdings, root_of, versions_of
from medchain.store.accesses import Access

MAX_OF_PERSON: Final = 10
"""Emergencies of one clinician of another organisation that are answered within an hour."""

MAX_OF_ORGANISATION: Final = 100
"""Emergencies of one organisation that are answered within an hour."""

MAX_RELEASES: Final = 200
"""Releases in one emergency."""

MAX_RELEASES_OF_ORGANISATION: Final = 500
"""Releases to one organisation within an hour, in all its emergencies: what one asks leaves room for the others."""

MAX_UNKNOWN: Final = 100
"""Requests of one organisation that are answered with nothing, on one day: who guesses identifiers is stopped.

Whatever the reason: who is stopped for one and not for another would learn who is here, and whose consent denies.
"""

UNKNOWN: Final = "emergency.patient"
"""Reason that is noted where an identifier names nobody here, or several."""

OTHER_PATIENT: Final = "emergency.other_patient"
"""Reason that is noted where records of another patient were given in the same emergency: each is one patient's."""

NOTHING_GIVEN: Final = "emergency.nothing"
"""Reason under which all are counted that get the one answer of who is told nothing."""

_NOTHING: Final = "release.nothing"
# The first depends on the request alone; the second is told to who may have the records.
_TOLD: Final = frozenset({"release.replayed", TOO_LARGE})
_RATE_S: Final = 600
_DAY_S: Final = 86_400
_LOG: Final = Log("emergency")


@dataclass(frozen=True, slots=True)
class _Made:
    """What is about to leave: the emergency that says so, its answer, and whose records they are."""

    content: Emergency
    answer: Answer
    versions: Sequence[tuple[bytes, int]]


class EmergencyCustodian:
    """Answers emergencies of other organisations. Threads may share it; one process owns it."""

    __slots__ = ("_holdings", "_lock", "_parts")

    def __init__(self, parts: CustodianParts) -> None:
        """Use parts.

        Args:
            parts: of the custodian.
        """
        self._parts = parts
        self._holdings = Holdings(parts)
        self._lock = Lock()

    def release(self, document: bytes, peer: str) -> bytes:
        """Answer a request for records in an emergency, once it is on disk that they were given.

        Args:
            document: from `medchain.ledger.signed_request.SignedRequest.encode`.
            peer: org_id of who calls.

        Returns:
            `medchain.node.release.Answer.encode`.

        Raises:
            InputError: ``encoding.*``, ``content.*``, ``release.malformed``; `TOO_LARGE`.
            AccessDeniedError: as `verified`; ``emergency.refused`` where this organisation answers none,
                ``emergency.role`` for who is no hospital, ``emergency.over`` more than an hour after the declaration.
            ConflictError: ``release.replayed``.
            NotFoundError: ``release.nothing`` for whatever may not be released or does not exist, all alike.
            UnavailableError: ``emergency.rate`` for who asks too often; the disk or the audit.
        """
        try:
            signed = parse_request(EmergencyRequest, document)
            key = verified(signed, peer, self._parts)
            emergencies = self._allowed(signed.request)
        except (InputError, AccessDeniedError) as error:
            note_refusal(self._parts, Refused(document, peer, "", error.code))
            raise
        # One at a time: two at once would each be within the rate.
        with self._lock:
            self._check_rate(signed.request, document)
            patient = self._patient(signed.request, emergencies)
            try:
                return self._released(signed, key, patient, emergencies)
            except UnavailableError:
                raise
            except MedchainError as error:
                is_told = error.code in _TOLD
                # Who was given the patient's records guesses nothing with another question about them.
                guesses = not is_told and patient not in self._given(signed.request)
                request = signed.request
                refused = Refused(document, peer, patient, error.code, request.purpose, request.resource_types)
                note_refusal(self._parts, refused, NOTHING_GIVEN if guesses else "")
                if is_told:
                    raise
                raise NotFoundError(_NOTHING) from None

    def _allowed(self, request: EmergencyRequest) -> Emergencies:
        """Check whether an organisation may ask at all, which depends on nothing about a patient."""
        if self._parts.emergencies is None:
            raise AccessDeniedError("emergency.refused")
        if self._parts.ledger.members.organisations[request.recipient].role != ASKED_ROLE:
            raise AccessDeniedError("emergency.role")
        now = self._parts.clock()
        if not now - EMERGENCY_S < request.declared <= now + REQUEST_AHEAD_S:
            raise AccessDeniedError("emergency.over")
        return self._parts.emergencies

    def _check_rate(self, request: EmergencyRequest, document: bytes) -> None:
        """Refuse who asks too often, whoever the patients are."""
        now, noted = self._parts.clock(), self._noted()
        given = [one for one in map(noted_for, noted) if one.recipient == request.recipient]
        of_person = {one.declaration for one in given if one.staff == request.staff} | {request.declaration}
        of_all = {one.declaration for one in given} | {request.declaration}
        releases = sum(one.declaration == request.declaration for one in given)
        today = self._parts.records.refusals(since_day=now // _DAY_S)
        unknown = sum(row.count for row in today if (row.requester, row.reason) == (request.recipient, NOTHING_GIVEN))
        if (
            len(noted) >= MOST_NOTED
            or len(of_person) > MAX_OF_PERSON
            or len(of_all) > MAX_OF_ORGANISATION
            or releases >= MAX_RELEASES
            or len(given) >= MAX_RELEASES_OF_ORGANISATION
            or unknown >= MAX_UNKNOWN
        ):
            note_refusal(self._parts, Refused(document, request.recipient, "", RATE))
            raise UnavailableError(RATE, retry_after_s=_RATE_S)

    def _noted(self) -> list[Access]:
        """Return all that was noted of emergencies within the hour, however much other members have asked for."""
        # A declaration may lie ahead of this clock: it counts so much longer, and so does whose it is.
        since = self._parts.clock() - EMERGENCY_S - REQUEST_AHEAD_S
        return self._parts.records.emergencies(since, limit=MOST_NOTED)

    def _patient(self, request: EmergencyRequest, emergencies: Emergencies) -> str:
        """Find whose records are asked for; returns the keyed token, empty for nobody who is here alone."""
        found = emergencies.patients(request.identifier)
        if len(found) != 1 or (request.patient and found[0] != request.patient):
            return ""
        token = self._parts.service.patient_token(found[0])
        return token if self._parts.records.living_epochs(token) else ""

    def _released(
        self, signed: SignedRequest[EmergencyRequest], key: Key, patient: str, emergencies: Emergencies
    ) -> bytes:
        """Choose, note, and give."""
        if not patient:
            raise NotFoundError(UNKNOWN)
        request = signed.request
        self._check_same(request, patient)
        ruling = emergencies.rule(request.recipient, patient, self._parts.inside(patient))
        choice = self._holdings.pick(request, request.resource_types, patient, ruling)
        made = self._made(request, key, patient, choice)
        self._note(signed, made)
        peer = self._parts.ledger.members.organisations[request.recipient]
        entry = Ref(map_key(EMERGENCY, self._parts.org_id, given_id(request.hash)), 1)
        self._parts.released(Disclosure(request, entry, (), peer), self._holdings.numbers(made.versions))
        _LOG.warning("emergency.given", peer=request.recipient, records=made.content.count)
        return made.answer.encode()

    def _check_same(self, request: EmergencyRequest, patient: str) -> None:
        """Refuse another patient in an emergency in which records were given: it would be a way around the rate.

        Raises:
            AccessDeniedError: `OTHER_PATIENT`.
        """
        if self._given(request) - {patient}:
            raise AccessDeniedError(OTHER_PATIENT)

    def _given(self, request: EmergencyRequest) -> set[str]:
        """Return whose records were given in the same emergency."""
        rows = [(row.patient, noted_for(row)) for row in self._noted()]
        same = (request.recipient, request.declaration)
        return {patient for patient, noted in rows if (noted.recipient, noted.declaration) == same}

    def _made(self, request: EmergencyRequest, key: Key, patient: str, choice: Choice) -> _Made:
        """Write the answer, and the emergency that says what is in it."""
        entry = map_key(EMERGENCY, self._parts.org_id, given_id(request.hash))
        wraps = self._holdings.wrapped(choice, request.hash, access_entry_id(entry, 1), key)
        versions = versions_of(choice.records)
        records: tuple[ReleasedRecord, ...] = self._holdings.sealed(versions)
        content = Emergency(
            custodian=self._parts.org_id,
            recipient=request.recipient,
            patient=patient,
            staff=request.staff,
            reason=request.reason,
            request_hash=request.hash,
            count=len(records),
            commitments_root=root_of(choice.records),
            wraps_hash=wraps_hash(wraps),
            time=self._parts.clock(),
        )
        answer = Answer(request.hash, 1, wraps, records, choice.following, choice.oversized)
        return _Made(content, answer, versions)

    def _note(self, signed: SignedRequest[EmergencyRequest], made: _Made) -> None:
        """Have on disk, in one write, that records leave, what the ledger is to be told, and what the asker must tell.

        Raises:
            ConflictError: ``release.replayed`` for a request that was answered before.
        """
        request, content = signed.request, made.content
        object_id = given_id(request.hash)
        body = build_body(EMERGENCY, content.to_content(), {"request": signed.to_json()}, self._parts.random)
        detail: dict[str, Json] = {
            "count": content.count,
            "declaration": request.declaration.hex(),
            "reason": content.reason,
            "recipient": content.recipient,
            "staff": content.staff,
            # Nobody looks here by it: a person of this organisation may have the same name.
            "until": content.time,
        }
        row = Access(object_id, content.patient, EMERGENCY, content.time, canonical(detail))
        expected = Expected(request.recipient, request.declaration_key, _declared(request), object_id)
        intents = [(EMERGENCY, intent_of(object_id, body)), (WATCH, expected.encode())]
        try:
            self._parts.records.put_accesses([row], intents=intents)
        except ConflictError:
            raise ConflictError("release.replayed") from None


def _declared(request: EmergencyRequest) -> dict[str, Json]:
    """Say what the asker's own emergency must tell."""
    return {
        "count": 0,
        "custodian": request.custodian,
        "patient": about(request.declaration, request.identifier),
        "reason": request.reason,
        "recipient": request.recipient,
        "staff": request.staff,
        "time": request.declared,
    }
