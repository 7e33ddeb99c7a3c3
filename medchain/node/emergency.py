"""Breaking the glass: a person of the staff looks at once, the ledger, regulators and the patient are told of it.

The order is the point: note and intent on disk in one write → the staff may look, for an hour → the daemon gives the
body to regulators and brings the entry to the ledger, whenever it can be reached → somebody reviews it, within days.
The same before another organisation is asked for its records (`medchain.node.emergency_asking`), which tells of what it
gave (`medchain.node.emergency_release`). Keeps true: nobody looks without an intent that leaves the outbox only once
the entry is final; who may look is one person for one patient, at one organisation. Trusts whoever calls for who the
person is; the review judges the reason.
Source: `docs/spec/consent.md` 11, `docs/spec/emergency-release.md`; HL7 v3 ActReason BTG.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Event
from typing import Final, Protocol

from medchain.encoding import Json, as_number, canonical, digest, members, parse_canonical, unhex
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
)
from medchain.ledger.emergency_request import about, request_of
from medchain.ledger.kinds.content import short_text
from medchain.ledger.kinds.emergency import EMERGENCY_S, Emergency, Objection, Review, read, read_shown
from medchain.ledger.object import ACTIVE, ENDED, MAX_BODY_BYTES, Body, build_body, map_key
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.clock import Clock
from medchain.node.endorse import Judge
from medchain.node.log import Log
from medchain.node.notices import Told
from medchain.node.records import RecordService
from medchain.node.release import commitments_root, wraps_hash
from medchain.node.rounds import work_in_rounds
from medchain.node.submit import Draft, Submitted
from medchain.store.accesses import Access
from medchain.store.outbox import Intent
from medchain.store.records import RecordStore

EMERGENCY: Final = "emergency"
"""Direction of a noted access, outbox kind of its intent, and kind of its object."""

MAX_ELSEWHERE: Final = 10
"""Emergencies in which one person may ask other organisations at the same time."""

ASKED_ROLE: Final = "hospital"
"""Role of the organisations that ask each other in emergencies."""

MOST_NOTED: Final = 50_000
"""More notes of emergencies than all members together can have made within an hour."""

RATE: Final = "emergency.rate"
"""Code of what is refused to who asks others too often."""

CUSTODIANS: Final = "emergency.custodians"
"""Local operation: which hospitals can be asked."""

PERIOD_S: Final = 0.5
"""How often the daemon looks for emergencies that nobody was told of."""

OVERDUE_S: Final = 3600
"""After how long an emergency that the ledger does not have is an alarm."""

_SUBMIT_S: Final = 3.0
_LONGEST_REST_S: Final = 30.0
_PAGE: Final = 100
_MAX_INTENT_BYTES: Final = 2 * MAX_BODY_BYTES
_MAX_TEXT: Final = 200
_DETAIL: Final = {"reason": str, "recipient": str, "staff": str, "until": int}
_OF_OTHERS: Final = {"count": int, "custodian": str, "declaration": str, "identifier": str}
_LOG: Final = Log("emergency")


@dataclass(frozen=True, slots=True)
class Declared:
    """An emergency that is on disk.

    Attributes:
        object_id: of its object on the ledger, 16 bytes.
        staff: who may look.
        reason: why.
        until: how long, Unix seconds.
        position: leaf index of its entry, None while the ledger does not have it.
    """

    object_id: bytes
    staff: str
    reason: str
    until: int
    position: int | None


@dataclass(frozen=True, slots=True)
class Noted:
    """What is noted of an emergency.

    Attributes:
        object_id: of its object on the ledger, 16 bytes.
        recipient: org_id of who looks.
        staff: who that is there.
        reason: why.
        time: since when, Unix seconds.
        until: how long its staff may look, Unix seconds.
        custodian: org_id of the organisation that is asked; empty where nobody else is.
        identifier: of the patient there.
        declaration: of records that were given to another organisation, id of its own emergency; empty for any other.
        count: how many were given.
    """

    object_id: bytes
    recipient: str
    staff: str
    reason: str
    time: int
    until: int
    custodian: str = ""
    identifier: str = ""
    declaration: bytes = b""
    count: int = 0


class EmergencyDesk:
    """Declares emergencies of one organisation's own staff. Any process that opens the records file may."""

    __slots__ = ("_clock", "_org_id", "_random", "_records", "_service")

    def __init__(
        self, org_id: str, records: RecordStore, service: RecordService, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        """Prepare.

        Args:
            org_id: this organisation, custodian of the records.
            records: the records file.
            service: knows the patients' tokens.
            clock: gives Unix seconds.
            random: gives as many unpredictable bytes as it is asked for.
        """
        self._org_id = org_id
        self._records = records
        self._service = service
        self._clock = clock
        self._random = random

    def declare(self, patient: str, staff: str, reason: str) -> Declared:
        """Let somebody look at a patient's records for an hour; it is on disk when this returns.

        Args:
            patient: local id of the patient.
            staff: who looks.
            reason: why, 1 to 200 characters.

        Returns:
            The emergency; the one that is open already, if the same person declared it for the same patient.

        Raises:
            InputError: ``content.text`` for a staff or reason of another length.
            NotFoundError: ``emergency.patient`` for a patient of whom nothing is here.
            UnavailableError: the disk; nobody may look then.
        """
        short_text(staff)
        short_text(reason)
        found = self.open_for(patient, staff)
        if found is not None:
            return found
        token, now, object_id = self._service.patient_token(patient), self._clock(), self._random(ID_BYTES)
        if not patient or not self._records.living_epochs(token):
            raise NotFoundError("emergency.patient")
        said: dict[str, Json] = {"nonce": self._random(ID_BYTES).hex(), "reason": reason, "staff": staff, "time": now}
        content = self._declared(self._org_id, token, said)
        self._put(object_id, token, content, said)
        return Declared(object_id, staff, reason, now + EMERGENCY_S, None)

    def declare_elsewhere(self, custodian: str, identifier: str, staff: str, reason: str) -> Noted:
        """Let somebody ask another organisation for a patient's records, for an hour; on disk when this returns.

        Args:
            custodian: org_id of that organisation.
            identifier: of the patient there, ``system|value`` or a value alone; 1 to 200 characters.
            staff: who looks.
            reason: why, 1 to 200 characters.

        Returns:
            The emergency; the one that is open already, if the same person declared it for the same patient.

        Raises:
            InputError: ``content.text`` for a text of another length.
            UnavailableError: ``emergency.rate`` beyond `MAX_ELSEWHERE`; the disk. Nobody may ask then.
        """
        for text in (identifier, staff, reason):
            short_text(text)
        opened = open_elsewhere(self._records, staff, self._clock())
        found = next((one for one in opened if (one.custodian, one.identifier) == (custodian, identifier)), None)
        if found is not None:
            return found
        if len(opened) >= MAX_ELSEWHERE:
            raise UnavailableError(RATE, retry_after_s=EMERGENCY_S)
        now, object_id = self._clock(), self._random(ID_BYTES)
        said: dict[str, Json] = {"nonce": self._random(ID_BYTES).hex(), "reason": reason, "staff": staff, "time": now}
        content = self._declared(custodian, about(object_id, identifier), said)
        # No id of a patient here has a blank: this note opens nothing of one.
        token = self._service.patient_token(f"{custodian} {identifier}")
        self._put(object_id, token, content, said, {"custodian": custodian, "identifier": identifier})
        return Noted(object_id, self._org_id, staff, reason, now, now + EMERGENCY_S, custodian, identifier)

    def _put(
        self,
        object_id: bytes,
        token: str,
        content: Emergency,
        said: Mapping[str, Json],
        more: Mapping[str, Json] | None = None,
    ) -> None:
        """Note, in one write, who may look, and what has to be told of it."""
        body = build_body(EMERGENCY, content.to_content(), {"declaration": dict(said)}, self._random)
        named: dict[str, Json] = {"reason": content.reason, "recipient": content.recipient, "staff": content.staff}
        detail = canonical({**named, **(more or {}), "until": content.time + EMERGENCY_S})
        row = Access(object_id, token, EMERGENCY, content.time, detail)
        self._records.put_accesses([row], intents=[(EMERGENCY, intent_of(object_id, body))])
        _LOG.warning("emergency.declared", object_id=object_id.hex())

    def _declared(self, custodian: str, patient: str, said: Mapping[str, Json]) -> Emergency:
        """Write an emergency in which nothing was given yet."""
        return Emergency(
            custodian=custodian,
            recipient=self._org_id,
            patient=patient,
            staff=str(said["staff"]),
            reason=str(said["reason"]),
            request_hash=digest("medchain/emergency-declaration/v1", canonical(dict(said))),
            count=0,
            commitments_root=commitments_root([]),
            wraps_hash=wraps_hash(b""),
            time=as_number(said["time"]),
        )

    def open_for(self, patient: str, staff: str) -> Declared | None:
        """Tell whether somebody may look at a patient's records in an emergency now, and under which.

        Args:
            patient: local id of the patient.
            staff: who would look.

        Returns:
            The newest emergency that counts, None without one.
        """
        return find_open(self._records, self._service.patient_token(patient), staff, self._clock())

    def open_of(self, staff: str) -> list[tuple[str, Declared]]:
        """Return the emergencies in which a person may look now, each with the patient's token, the newest first."""
        now = self._clock()
        rows = self._records.emergencies(now - EMERGENCY_S, limit=MOST_NOTED)
        found = [(row.patient, _declared(row)) for row in rows if not noted_for(row).custodian]
        return [(token, one) for token, one in found if one.staff == staff and now < one.until]

    def elsewhere_of(self, staff: str) -> list[Noted]:
        """Return the emergencies in which a person may ask other organisations now, the newest first."""
        return open_elsewhere(self._records, staff, self._clock())

    def of_patient(self, patient: str, *, after: int = 0) -> list[Declared]:
        """Return the emergencies of a patient from a time on (Unix seconds), the oldest first."""
        token = self._service.patient_token(patient)
        return [_declared(row) for row in self._records.accesses(token, after=after, direction=EMERGENCY)]


class Tells(Protocol):
    """Tells patients; `medchain.node.notices.NoticeBook`."""

    def tell_patient(self, patient: str, told: Told) -> None:
        """Keep a notice for a patient and the guardians; the same one is kept once."""
        ...


class Submits(Protocol):
    """Brings sealed objects to the ledger; `medchain.node.submit.Submitter`."""

    def submit(self, draft: Draft, *, timeout_s: float = ...) -> Submitted:
        """Bring an object's next version to the ledger, and wait until it is final."""
        ...


class EmergencyBook:
    """Brings emergencies to the ledger, and keeps their reviews. One thread calls `round`; any may ask."""

    __slots__ = ("_judge", "_notices", "_random", "_records", "_submitter")

    def __init__(
        self, judge: Judge, records: RecordStore, submitter: Submits, notices: Tells, random: Callable[[int], bytes]
    ) -> None:
        """Prepare.

        Args:
            judge: this node's ledger, bodies and clock.
            records: the records file.
            submitter: brings objects to the ledger.
            notices: tells patients.
            random: gives as many unpredictable bytes as it is asked for.
        """
        self._judge = judge
        self._notices = notices
        self._random = random
        self._records = records
        self._submitter = submitter

    def run(self, stop: Event) -> None:
        """Work until told to stop; what fails is tried again, later each time."""
        work_in_rounds(
            lambda: self.round(stop),
            stop,
            period_s=PERIOD_S,
            longest_rest_s=_LONGEST_REST_S,
            delayed=lambda code: _LOG.warning("emergency.delayed", code=code),
        )

    def round(self, stop: Event | None = None) -> int:
        """Bring to the ledger what is not there, as far as that goes now; returns how many are left.

        Args:
            stop: when it is set, the rest waits.
        """
        left = after = 0
        while page := self._records.pending(_PAGE, after=after, kind=EMERGENCY):
            for intent in page:
                after = intent.id
                if stop is not None and stop.is_set():
                    return left + 1
                left += not self._tried(intent)
        return left

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            CUSTODIANS: self._custodians,
            "emergency.list": self._list,
            "emergency.object": self._object,
            "emergency.review": self._review,
        }

    def review(self, key: bytes, by: str, finding: str) -> Submitted:
        """Record the review of an emergency of this organisation, which closes it.

        Args:
            key: its map key, 32 bytes.
            by: who reviewed it.
            finding: ``justified`` or another code.

        Returns:
            What is final.

        Raises:
            InputError: ``content.*``.
            AccessDeniedError: ``emergency.own`` for who looked.
            NotFoundError: ``emergency.unknown``.
            ConflictError: ``emergency.reviewed``.
            UnavailableError: not final yet; the review is to be given again.
        """
        found, made = self._open(key)
        if by == made.staff:
            raise AccessDeniedError("emergency.own")
        review = Review(short_text(by), short_text(finding), self._judge.clock())
        return self._close(found, replace(made, review=review))

    def take_over(self, object_id: bytes, review: Review) -> None:
        """Close an emergency in which records were given to another organisation with that one's own review.

        Args:
            object_id: of the emergency, 16 bytes.
            review: by who looked, of its own emergency.

        Raises:
            NotFoundError: ``emergency.unknown`` while the ledger does not have it.
            ConflictError: ``emergency.reviewed``.
            UnavailableError: not final yet.
        """
        found, made = self._open(map_key(EMERGENCY, self._judge.org_id, object_id))
        by = f"{made.recipient}: {review.by}"[:_MAX_TEXT]
        self._close(found, replace(made, review=Review(by, review.finding, self._judge.clock())))

    def _close(self, object_id: bytes, reviewed: Emergency) -> Submitted:
        """Bring a review to the ledger, and tell the patient."""
        done = self._next(object_id, reviewed, ENDED)
        self._tell("emergency.reviewed", reviewed, self._named(object_id), done.record.version)
        return done

    def object_to(self, key: bytes, by: str, reason: str) -> Submitted:
        """Record that the patient does not agree; the review is due sooner then.

        Args:
            key: its map key, 32 bytes.
            by: who objects.
            reason: why.

        Returns:
            What is final.

        Raises:
            InputError: ``content.*``.
            NotFoundError: ``emergency.unknown``.
            ConflictError: ``emergency.reviewed``; ``emergency.objected`` for a second one.
            UnavailableError: not final yet; the objection is to be made again.
        """
        found, made = self._open(key)
        if made.objection is not None:
            raise ConflictError("emergency.objected")
        objection = Objection(short_text(by), short_text(reason), self._judge.clock())
        return self._next(found, replace(made, objection=objection), ACTIVE)

    def listed(self) -> list[dict[str, Json]]:
        """Tell all emergencies of which this node holds a body, those first that are due first."""
        found = [self._told(key) for key in self._judge.shelf.index.emergencies()]
        rows = [row for row in found if row is not None]
        return sorted(rows, key=lambda row: (row["review"] is not None, row["due"], row["key"]))

    def _tried(self, intent: Intent) -> bool:
        """Bring one emergency to the ledger; tells whether it is there."""
        try:
            object_id, body = _read_intent(intent.payload)
            # Before the ledger is asked, which may be out of reach.
            self._tell("emergency.declared", read(body.content), _told_as(self._judge.org_id, object_id, body), 1)
            done = self._submitter.submit(Draft(EMERGENCY, object_id, body, version=1), timeout_s=_SUBMIT_S)
        except MedchainError as error:
            _LOG.warning("emergency.delayed", code=error.code, intent=intent.id)
            if intent.created + OVERDUE_S < self._judge.clock():
                self._alarm(intent, error)
            return False
        self._records.mark_access(object_id, done.record.since)
        self._records.drop_intents([intent.id])
        _LOG.info("emergency.entered", position=done.record.since)
        return True

    def _tell(self, kind: str, content: Emergency, key: bytes, version: int) -> None:
        """Tell the patient who looked and why, or what came of it; where another organisation is asked, it tells."""
        if content.is_declared_elsewhere:
            return
        fields: dict[str, Json] = {"by": content.recipient, "reason": content.reason, "staff": content.staff}
        if content.review is not None:
            fields |= {"finding": content.review.finding, "reviewer": content.review.by}
        time = content.time if content.review is None else content.review.time
        self._notices.tell_patient(content.patient, Told(kind, b"", key, version, time, fields))

    def _named(self, object_id: bytes) -> bytes:
        """Return under which map key the patient is told of an emergency."""
        first = self._judge.shelf.at(map_key(EMERGENCY, self._judge.org_id, object_id), 1)
        return (
            map_key(EMERGENCY, self._judge.org_id, object_id)
            if first is None
            else _told_as(self._judge.org_id, object_id, first)
        )

    def _alarm(self, intent: Intent, error: MedchainError) -> None:
        """Have somebody look: what was done in an emergency is on no ledger."""
        fields = canonical({"code": error.code, "intent": intent.id})
        now, height = self._judge.clock(), self._judge.replica.height
        self._records.raise_alarm("emergency.overdue", str(intent.id), height, fields, now)

    def _open(self, key: bytes) -> tuple[bytes, Emergency]:
        """Return object id and content of an emergency of this organisation that nobody has reviewed."""
        found = self._judge.shelf.head(key)
        if found is None or found[0].kind != EMERGENCY or found[0].creator != self._judge.org_id:
            raise NotFoundError("emergency.unknown")
        if found[0].status != ACTIVE:
            raise ConflictError("emergency.reviewed")
        return found[0].id, read(found[1].content)

    def _next(self, object_id: bytes, content: Emergency, status: str) -> Submitted:
        """Submit the next version of an emergency, under the evidence that it began with."""
        first = self._judge.shelf.at(map_key(EMERGENCY, self._judge.org_id, object_id), 1)
        evidence = None if first is None or isinstance(first.evidence, bytes) else first.evidence.value
        body = build_body(EMERGENCY, content.to_content(), evidence, self._random)
        return self._submitter.submit(Draft(EMERGENCY, object_id, body, status))

    def _told(self, key: bytes) -> dict[str, Json] | None:
        """Tell one emergency, as far as it is shown here; None where it is gone."""
        record, body = self._judge.replica.store.record(key), self._judge.shelf.newest(key)
        try:
            made = None if body is None else read_shown(body.content)
        except InputError as error:
            # What an earlier release took unread hides no other.
            _LOG.warning("emergency.unreadable", code=error.code)
            return None
        if body is None or made is None:
            return None
        now = self._judge.clock()
        shown = {name: value for name, value in body.content.items() if not name.endswith(("_hash", "_root"))}
        final = self._judge.replica.store.final()
        declaration = _declaration_of(body)
        return {
            **shown,
            "declaration": None if declaration is None else declaration.hex(),
            "due": made.due,
            "final": record is not None and final is not None and record.since < final.size,
            "key": key.hex(),
            "overdue": made.review is None and made.due < now,
            "owner": made.owner,
            "position": None if record is None else record.since,
        }

    def _list(self, document: Json) -> Json:
        """Tell all emergencies."""
        members(document, {})
        return {"emergencies": [*self.listed()], "time": self._judge.clock()}

    def _custodians(self, document: Json) -> Json:
        """List the hospitals that can be asked in an emergency."""
        members(document, {})
        active = self._judge.replica.members.active
        others = [one for one in active if one.role == ASKED_ROLE and one.org_id != self._judge.org_id]
        return {"custodians": [{"name": dict(one.name), "org_id": one.org_id} for one in others]}

    def _object(self, document: Json) -> Json:
        """Record an objection."""
        top = members(document, {"by": str, "object": str, "reason": str})
        return _placed(self.object_to(unhex(top["object"], HASH_BYTES), str(top["by"]), str(top["reason"])))

    def _review(self, document: Json) -> Json:
        """Record a review."""
        top = members(document, {"by": str, "finding": str, "object": str})
        return _placed(self.review(unhex(top["object"], HASH_BYTES), str(top["by"]), str(top["finding"])))


def find_open(records: RecordStore, patient: str, staff: str, now: int) -> Declared | None:
    """Find the newest emergency in which somebody may look at a patient's records.

    Args:
        records: the records file.
        patient: the patient's token.
        staff: who would look.
        now: Unix seconds.
    """
    noted = map(_declared, records.accesses(patient, after=now - EMERGENCY_S, direction=EMERGENCY))
    return next((row for row in reversed([*noted]) if row.staff == staff and now < row.until), None)


def open_elsewhere(records: RecordStore, staff: str, now: int) -> list[Noted]:
    """Find the emergencies in which somebody may ask other organisations.

    Args:
        records: the records file.
        staff: who would look.
        now: Unix seconds.

    Returns:
        Those that are open, the newest first.
    """
    found = map(noted_for, records.emergencies(now - EMERGENCY_S, limit=MOST_NOTED))
    return [one for one in found if one.custodian and one.staff == staff and now < one.until]


def noted_for(row: Access) -> Noted:
    """Read what is noted of an emergency; raises `InputError` for what is none."""
    told: Mapping[str, Json] = members(parse_canonical(row.detail, max_bytes=4096), _DETAIL, _OF_OTHERS)
    return Noted(
        object_id=row.object_id,
        recipient=str(told["recipient"]),
        staff=str(told["staff"]),
        reason=str(told["reason"]),
        time=row.time,
        until=as_number(told["until"]),
        custodian=str(told.get("custodian", "")),
        identifier=str(told.get("identifier", "")),
        declaration=unhex(told["declaration"], ID_BYTES) if "declaration" in told else b"",
        count=as_number(told.get("count", 0)),
    )


def _declared(row: Access) -> Declared:
    """Read a noted emergency of this organisation's staff."""
    noted = noted_for(row)
    return Declared(row.object_id, noted.staff, noted.reason, noted.until, row.position)


def intent_of(object_id: bytes, body: Body) -> bytes:
    """Write what is to be brought to the ledger."""
    return canonical({"body": body.to_json(), "id": object_id.hex()})


def _declaration_of(body: Body) -> bytes | None:
    """Return the map key of the emergency in which another organisation says that it asked; None for any other."""
    signed = request_of(body)
    return None if signed is None else signed.request.declaration_key


def _told_as(org_id: str, object_id: bytes, body: Body) -> bytes:
    """Return under which map key the patient is told: once, however often records are given in one emergency."""
    return _declaration_of(body) or map_key(EMERGENCY, org_id, object_id)


def _read_intent(payload: bytes) -> tuple[bytes, Body]:
    """Read what is to be brought to the ledger: object id and body."""
    top = members(parse_canonical(payload, max_bytes=_MAX_INTENT_BYTES), {"body": dict, "id": str})
    return unhex(top["id"], ID_BYTES), Body.from_json(top["body"])


def _placed(done: Submitted) -> Json:
    """Write what is final."""
    return {"key": done.key.hex(), "position": done.record.since, "version": done.record.version}
