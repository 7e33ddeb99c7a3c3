"""The book of concerns: what patients bring before this organisation, its answers, and what regulators are told.

Each version of a concern is a record version of the patient's, so that it is sealed under the patient's key, anchored,
proven, backed up and erased as all records are. Keeps true: one step follows another as `medchain.node.concern` says; a
patient reaches that patient's own alone; what is answered is told to the patient and every version to each regulator,
over crashes, as often as it takes. Trusts its callers, the node's own pages, for who takes a step.
Source: `docs/spec/concern.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event, Lock
from typing import Final, Protocol

import orjson

from medchain.encoding import Json, canonical, members, parse_canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    VerificationError,
)
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.kinds.emergency import SUPERVISOR
from medchain.ledger.object import map_key
from medchain.ledger.transaction import ID_BYTES
from medchain.node.clock import Clock
from medchain.node.concern import (
    ANSWERS,
    DUE_S,
    ERASED,
    MAX_REPORT_BYTES,
    MAX_REPORTED,
    MEDIA_TYPE,
    About,
    Concern,
    ConcernKind,
    Report,
    Shown,
    Step,
    StepKind,
    about_of,
    checked,
    encode_reports,
    kind_of,
    parse_concern,
    parse_report,
    parse_reports,
    report_of,
    step_of,
)
from medchain.node.emergency import Tells
from medchain.node.log import Log
from medchain.node.notices import Told
from medchain.node.peers import JSON, Limits, PeerClient
from medchain.node.records import NewRecord, RecordService
from medchain.node.refusing import REFUSED
from medchain.node.replica import Replica
from medchain.node.rounds import work_in_rounds
from medchain.store.concerns import ToldRow
from medchain.store.records import CONCERN, RecordStore, RecordVersion

OPEN: Final = "concern.open"
"""Local operation: a patient brings something."""

LIST: Final = "concern.list"
"""Local operation: what a patient has brought."""

STEP: Final = "concern.step"
"""Local operation: a patient reopens or closes."""

WAITING: Final = "concern.waiting"
"""Local operation: what this organisation is to answer."""

ANSWER: Final = "concern.answer"
"""Local operation: this organisation answers."""

REPORTED: Final = "concern.reported"
"""Local operation: what custodians have told this organisation, a regulator."""

ANSWERED: Final = "concern.answered"
"""Kind of the notice."""

MAX_OF_PATIENT: Final = 20
"""Most concerns of one patient that wait, those of the last day counted whatever became of them."""

PERIOD_S: Final = 1.0
"""How often it is looked whether somebody is to be told."""

RETOLD_S: Final = DAY_S
"""After how long all is told again: a regulator may come back from a backup."""

TOLD_S: Final = 365 * DAY_S
"""So long after its last step a concern is told of for which no answer is due any more."""

_RECORD: Final = "record"
_LONGEST_REST_S: Final = 60.0
_LIMITS: Final = Limits(timeout_s=15.0)
_LOG: Final = Log("concerns")


class Regulators(Protocol):
    """The way to regulators."""

    def report(self, org_id: str, document: bytes) -> None:
        """Bring a report; raises `UnavailableError`, or the error of the refusal."""
        ...


class HttpRegulators:
    """The same over HTTP."""

    __slots__ = ("_peers",)

    def __init__(self, peers: PeerClient) -> None:
        """Use the node's calls."""
        self._peers = peers

    def report(self, org_id: str, document: bytes) -> None:
        """Bring a report."""
        self._peers.post(org_id, "/concerns", document, JSON, _LIMITS)


@dataclass(frozen=True, slots=True)
class ConcernParts:
    """What the book is made from.

    Attributes:
        org_id: this organisation.
        replica: this node's ledger: who regulates, and what is entered.
        records: the records file.
        service: seals and opens records.
        notices: tells patients.
        regulators: the way to them.
        clock: gives Unix seconds.
        random: gives as many unpredictable bytes as it is asked for.
    """

    org_id: str
    replica: Replica
    records: RecordStore
    service: RecordService
    notices: Tells
    regulators: Regulators
    clock: Clock
    random: Callable[[int], bytes]


class ConcernBook:
    """Keeps concerns; fills `medchain.node.services.ConcernService`. Threads of one daemon may share it."""

    __slots__ = ("_has_news", "_lock", "_over", "_parts", "_retold", "_told")

    def __init__(self, parts: ConcernParts) -> None:
        """Use parts."""
        self._parts = parts
        # Two answers at once are one after the other.
        self._lock = Lock()
        # Whom which version was told: lost in a crash, and then all is told again.
        self._told: dict[tuple[str, str], int] = {}
        self._retold = parts.clock()
        self._has_news = True
        # Numbers of versions after which no answer is due: not opened again by who only asks what is.
        self._over: set[int] = set()

    def operations(self) -> dict[str, Callable[[Json], Json]]:
        """Return the local operations."""
        return {
            ANSWER: self._answer,
            LIST: self._list,
            OPEN: self._open,
            REPORTED: self._reported,
            STEP: self._step,
            WAITING: self._waiting,
        }

    def run(self, stop: Event) -> None:
        """Tell until told to stop; whom nobody reaches is tried again, later each time."""
        work_in_rounds(
            self.round,
            stop,
            period_s=PERIOD_S,
            longest_rest_s=_LONGEST_REST_S,
            delayed=lambda code: _LOG.warning("concerns.delayed", code=code),
        )

    def round(self) -> int:
        """Tell patients what was answered, and regulators of each version; returns how many are still to be told."""
        now = self._parts.clock()
        if now - self._retold >= RETOLD_S:
            self._told, self._retold, self._has_news = {}, now, True
        if not self._has_news:
            return 0
        # Whatever is stored from here on is news again.
        self._has_news = False
        try:
            left = self._tell_all(now)
        except MedchainError:
            self._has_news = True
            raise
        if left:
            self._has_news = True
        return left

    def _tell_all(self, now: int) -> int:
        """Tell whoever was not told; returns how many are left."""
        rows = self._parts.records.newest_records(CONCERN)
        for row, concern in self._opened(self._untold("", rows)):
            self._tell_patient(row, concern)
        told = [row for row in rows if row.seq not in self._over or row.created >= now - TOLD_S]
        regulators = {one.org_id for one in self._parts.replica.members.active if one.role == SUPERVISOR}
        return sum(self._tell(org_id, told) for org_id in sorted(regulators - {self._parts.org_id}))

    def receive(self, document: bytes, peer: str) -> Json:
        """Take a report.

        Args:
            document: from `encode_reports`.
            peer: org_id of who calls, the custodian.

        Returns:
            How many concerns it told of.

        Raises:
            InputError: as `parse_reports`.
            AccessDeniedError: ``concern.regulator`` where this organisation is none.
            UnavailableError: ``concern.quota``.
        """
        own = self._parts.replica.members.organisations.get(self._parts.org_id)
        if own is None or own.role != SUPERVISOR:
            raise AccessDeniedError("concern.regulator")
        now = self._parts.clock()
        reports, erased = parse_reports(document, self._parts.replica.ledger)
        rows = [ToldRow(peer, one.id, one.version, _due(one, now), now, canonical(one.to_json())) for one in reports]
        self._parts.records.put_told(peer, rows, erased, now)
        return {"taken": len(reports) + len(erased)}

    def _open(self, document: Json) -> Json:
        """Keep what a patient brings."""
        shape = {"about": dict, "by": str, "kind": str, "patient": str, "shared": bool, "text": str}
        top = members(document, shape)
        token, now = self._parts.service.patient_token(str(top["patient"])), self._parts.clock()
        first = Step(StepKind.OPENED, str(top["by"]), now, str(top["text"]))
        concern = checked(Concern(kind_of(top["kind"]), about_of(top["about"]), top["shared"] is True, (first,)))
        with self._lock:
            self._check_may_open(str(top["patient"]), token, concern, now)
            object_id = self._parts.random(ID_BYTES)
            return self._shown(self._stored(object_id, 1, token, concern), concern)

    def _check_may_open(self, patient: str, token: str, concern: Concern, now: int) -> None:
        """See that a concern is about the patient's own record, or a look at one, and one of not too many."""
        if not self._parts.records.living_epochs(token):
            raise NotFoundError("concern.patient")
        is_own = self._is_own_record if concern.kind is ConcernKind.CORRECTION else self._is_own_look
        if not is_own(patient, token, concern.about):
            raise NotFoundError("record.unknown")
        opened = [one for _, one in self._of(token)]
        if sum(one.due is not None or one.steps[0].time > now - DAY_S for one in opened) >= MAX_OF_PATIENT:
            raise ConflictError("concern.many", most=MAX_OF_PATIENT)

    def _is_own_record(self, _patient: str, token: str, about: About) -> bool:
        """Tell whether a correction is asked for a version of a record of the patient's."""
        stored = self._parts.records.get(*about.record, about.version)
        return stored is not None and stored.patient == token

    def _is_own_look(self, patient: str, token: str, about: About) -> bool:
        """Tell whether a complaint is about a look at the patient; an entry of the ledger by itself names nobody."""
        kind, name = about.record
        match kind:
            case "AuditEvent":
                stored = self._parts.records.get(kind, name)
                return stored is not None and _is_of(self._parts.service.open(stored).content, f"Patient/{patient}")
            case "refusal":
                noted = self._parts.records.accesses(token, direction=REFUSED)
                return any(row.object_id.hex() == name for row in noted)
            case _:
                return True

    def _list(self, document: Json) -> Json:
        """List what a patient has brought, the newest first."""
        token = self._parts.service.patient_token(str(members(document, {"patient": str})["patient"]))
        found = sorted(self._of(token), key=lambda one: -one[0].seq)
        return {"concerns": [self._shown(*one) for one in found]}

    def _step(self, document: Json) -> Json:
        """Have a patient reopen or close."""
        top = members(document, {"by": str, "id": str, "patient": str, "step": str, "text": str})
        token, kind = self._parts.service.patient_token(str(top["patient"])), step_of(top["step"])
        if kind in ANSWERS:
            raise InputError("concern.malformed")
        with self._lock:
            row, concern = self._find(str(top["id"]))
            if row.patient != token:
                raise NotFoundError("concern.unknown")
            return self._follow(row, concern, Step(kind, str(top["by"]), self._parts.clock(), str(top["text"])))

    def _waiting(self, document: Json) -> Json:
        """List what is to be answered, of some kinds, what is due first at the top."""
        kinds = _kinds(members(document, {"kinds": list})["kinds"])
        now = self._parts.clock()
        rows = [row for row in self._parts.records.newest_records(CONCERN) if row.seq not in self._over]
        living = [(row, one) for row, one in self._opened(rows) if one is not None]
        shown = [self._shown(row, one) for row, one in living if one.kind in kinds and one.due is not None]
        return {"concerns": [*sorted(shown, key=lambda one: (one["due"], one["id"]))], "time": now}

    def _answer(self, document: Json) -> Json:
        """Answer, by somebody who may answer some kinds."""
        top = members(document, {"by": str, "id": str, "kinds": list, "step": str, "text": str})
        kinds, kind, now = _kinds(top["kinds"]), step_of(top["step"]), self._parts.clock()
        if kind not in ANSWERS:
            raise InputError("concern.malformed")
        with self._lock:
            row, concern = self._find(str(top["id"]))
            if concern.kind not in kinds:
                raise NotFoundError("concern.unknown")
            version = self._correcting(concern) if kind is StepKind.ACCEPTED else 0
            return self._follow(row, concern, Step(kind, str(top["by"]), now, str(top["text"]), version))

    def _correcting(self, concern: Concern) -> int:
        """Return the version that corrects a record; 0 for a complaint. To promise one is no answer."""
        if concern.kind is not ConcernKind.CORRECTION:
            return 0
        newest = self._parts.records.get(*concern.about.record)
        if newest is None or newest.version <= concern.about.version:
            raise ConflictError("concern.uncorrected")
        return newest.version

    def _follow(self, row: RecordVersion, concern: Concern, step: Step) -> dict[str, Json]:
        """Store the version with one more step."""
        taken = concern.taking(step)
        return self._shown(self._stored(row.object_id, row.version + 1, row.patient, taken), taken)

    def _stored(self, object_id: bytes, version: int, token: str, concern: Concern) -> RecordVersion:
        """Store a version."""
        name, content = object_id.hex(), concern.encode()
        made = NewRecord(CONCERN, name, content, "", version, content_type=MEDIA_TYPE, token=token, object_id=object_id)
        stored = self._parts.service.create(made)
        self._has_news = True
        return stored

    def _find(self, name: str) -> tuple[RecordVersion, Concern]:
        """Find a concern; raises `NotFoundError` ``concern.unknown``, also for one that was erased."""
        row = self._parts.records.get(CONCERN, name)
        found = None if row is None else self._read(row)
        if row is None or found is None:
            raise NotFoundError("concern.unknown")
        return row, found

    def _of(self, token: str) -> Iterator[tuple[RecordVersion, Concern]]:
        """Open a patient's concerns."""
        after = 0
        while page := self._parts.records.by_patient(token, (CONCERN,), after=after):
            after = page[-1].seq
            yield from ((row, one) for row, one in self._opened(page) if one is not None)

    def _opened(self, rows: Sequence[RecordVersion]) -> Iterator[tuple[RecordVersion, Concern | None]]:
        """Open concerns as `_read` does; one that is damaged is reported, and hides no other."""
        for row in rows:
            try:
                found = self._read(row)
            except (ConflictError, InputError, VerificationError) as error:
                _LOG.error("concern.unreadable", error, number=row.seq)
            else:
                yield row, found

    def _read(self, row: RecordVersion) -> Concern | None:
        """Open one; None where its patient was erased."""
        try:
            concern = parse_concern(self._parts.service.open(row).content)
        except NotFoundError:
            return None
        if concern.due is None:
            self._over.add(row.seq)
        return concern

    def _untold(self, org_id: str, rows: Sequence[RecordVersion]) -> list[RecordVersion]:
        """List the versions of which somebody was not told."""
        return [row for row in rows if self._told.get((org_id, row.id)) != row.version]

    def _tell_patient(self, row: RecordVersion, concern: Concern | None) -> None:
        """Tell the patient of an answer; the same one is kept once."""
        if concern is not None and concern.state in ANSWERS:
            own, step = self._parts.org_id, concern.steps[-1]
            fields: dict[str, Json] = {"by": own, "kind": concern.kind.value, "state": step.kind.value}
            told = Told(ANSWERED, b"", map_key(_RECORD, own, row.object_id), row.version, step.time, fields)
            self._parts.notices.tell_patient(row.patient, told)
        self._told["", row.id] = row.version

    def _tell(self, org_id: str, rows: Sequence[RecordVersion]) -> int:
        """Tell a regulator of what it was not told; returns how many are left."""
        untold = self._untold(org_id, rows)
        for done in range(0, len(untold), MAX_REPORTED):
            found = [*self._opened(untold[done : done + MAX_REPORTED])]
            reports = [report_of(row.object_id, row.version, one) for row, one in found if one is not None]
            erased = [row.object_id for row, one in found if one is None]
            try:
                self._parts.regulators.report(org_id, encode_reports(self._parts.replica.ledger, reports, erased))
            except MedchainError as error:
                _LOG.warning("concerns.delayed", code=error.code, org_id=org_id)
                return len(untold) - done
            self._told.update({(org_id, row.id): row.version for row, _ in found})
        return 0

    def _shown(self, row: RecordVersion, concern: Concern) -> dict[str, Json]:
        """Show a concern."""
        due = concern.due
        is_overdue = due is not None and due < self._parts.clock()
        return Shown(row.id, row.seq, row.position, due, is_overdue, concern).to_json()

    def _reported(self, document: Json) -> Json:
        """List what custodians have told, what is due first at the top."""
        members(document, {})
        return {"concerns": [self._told_row(row) for row in self._parts.records.told()], "time": self._parts.clock()}

    def _told_row(self, row: ToldRow) -> dict[str, Json]:
        """Show what was told of a concern, and since when the ledger has it: it cannot be younger than that."""
        first = self._parts.replica.store.version(map_key(_RECORD, row.custodian, row.id), 1)
        known: dict[str, Json] = {
            "custodian": row.custodian,
            "due": row.due,
            "heard": row.heard,
            "id": row.id.hex(),
            "overdue": row.due is not None and row.due < self._parts.clock(),
            "position": None if first is None else first.since,
        }
        if not row.document:
            return {**known, "state": ERASED}
        report = parse_report(parse_canonical(row.document, max_bytes=MAX_REPORT_BYTES))
        return {**report.to_json(), **known}


def _due(report: Report, now: int) -> int | None:
    """Say by when an answer is due: from when this was heard at the latest, whatever the custodian's clock says."""
    return None if report.due is None else min(report.due, now + DUE_S[report.kind])


def _is_of(event: bytes, patient: str) -> bool:
    """Tell whether an AuditEvent names a patient, as what it is about or as who acts; nothing for a deletion."""
    told = orjson.loads(event) if event else {}
    named = [one.get("what") for one in told.get("entity", ())] + [one.get("who") for one in told.get("agent", ())]
    return any(isinstance(one, dict) and one.get("reference") == patient for one in named)


def _kinds(value: Json) -> frozenset[ConcernKind]:
    """Read kinds; raises `InputError`."""
    return frozenset(map(kind_of, value)) if isinstance(value, list) else frozenset()
