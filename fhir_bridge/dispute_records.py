"""Disputes about claims as FHIR resources of this node: a Task for each, a Communication for each step.

So what was said is anchored as all records are, is found by who may search them, and goes with its patient's keys.
Keeps true: only what both sides have is written, once, in order; a step and the Task's new version are stored together.
Trusts `medchain.claims.disputes` for what is kept.
Source: `docs/spec/claim-dispute.md` 9; FHIR R4 Task, Communication.
"""

from __future__ import annotations

from threading import Event
from typing import Final

import orjson

from fhir_bridge.audit_events import member_reference
from fhir_bridge.references import instant
from medchain.claims.dispute import Dispute, StepKind, Taken
from medchain.claims.disputes import dispute_of
from medchain.encoding import Json
from medchain.ledger.transaction import ID_BYTES
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.records import NewRecord, RecordService
from medchain.node.rounds import work_in_rounds
from medchain.store.disputes import DisputeRow
from medchain.store.records import RecordStore

DISPUTE: Final = "urn:medchain:claim-dispute"
"""System of ids of disputes, and of codes of their states."""

STEP: Final = "urn:medchain:claim-dispute-step"
"""System by which a step is named: the hash that its sender signed."""

CLAIM: Final = "urn:medchain:insurer-claim"
"""System by which an insurer's claim is named: its digest."""

PERIOD_S: Final = 2.0
"""How often it is looked whether something is to be written."""

_AT_ONCE: Final = 100
_LONGEST_REST_S: Final = 60.0
_STATUS: Final = {StepKind.QUESTION: "requested", StepKind.ANSWER: "in-progress", StepKind.CLOSE: "completed"}
_LOG: Final = Log("disputes")


class DisputeRecords:
    """Writes them. One thread calls it; fills a `medchain.node.daemon.Job`."""

    __slots__ = ("_clock", "_org_id", "_service", "_store")

    def __init__(self, org_id: str, store: RecordStore, service: RecordService, clock: Clock) -> None:
        """Prepare.

        Args:
            org_id: this organisation.
            store: the records file.
            service: stores records.
            clock: gives Unix seconds.
        """
        self._org_id = org_id
        self._store = store
        self._service = service
        self._clock = clock

    def run(self, end: Event) -> None:
        """Work until told to stop."""
        work_in_rounds(
            self.round,
            end,
            period_s=PERIOD_S,
            longest_rest_s=_LONGEST_REST_S,
            delayed=lambda code: _LOG.warning("disputes.unwritten", code=code),
        )

    def round(self) -> int:
        """Write what is not written yet; returns 0, for nothing that could be written is left."""
        for row in self._store.unrecorded_steps(_AT_ONCE):
            rows = self._store.dispute_steps(row.dispute)
            before = [one for one in rows if one.number <= row.number]
            if before and before[-1] == row:
                self._write(row, dispute_of(before))
        return 0

    def _write(self, row: DisputeRow, dispute: Dispute) -> None:
        """Write one step; what a crash has left written already is only noted."""
        name, task = communication_id(dispute.last), task_id(dispute)
        if self._store.newest_version("Communication", name) == 0:
            patients = self._store.by_patient(row.patient, ("Patient",), limit=1) if row.patient else []
            patient = f"Patient/{patients[0].id}" if patients else ""
            version = self._store.newest_version("Task", task) + 1
            now = self._clock()
            made = (
                ("Communication", name, 1, self._communication(dispute, patient, now)),
                ("Task", task, version, self._task(row, dispute, patient, now, version)),
            )
            self._service.create_many(
                [
                    NewRecord(kind, id_, orjson.dumps(one), "", number, token=row.patient)
                    for kind, id_, number, one in made
                ]
            )
        self._store.note_recorded(row)

    def _task(self, row: DisputeRow, dispute: Dispute, patient: str, now: int, version: int) -> dict[str, Json]:
        """Write how a dispute stands."""
        first, last = dispute.first, dispute.last.step
        made: dict[str, Json] = {
            "resourceType": "Task",
            "id": task_id(dispute),
            "meta": {"versionId": str(version), "lastUpdated": instant(now)},
            "identifier": [{"system": DISPUTE, "value": row.dispute.hex()}],
            "status": _STATUS[last.step],
            "businessStatus": {"coding": [{"system": DISPUTE, "code": last.step.value}]},
            "intent": "order",
            "code": {"coding": [{"system": DISPUTE, "code": "dispute"}]},
            "focus": {"identifier": {"system": CLAIM, "value": first.claim.hex()}},
            "authoredOn": instant(first.time),
            "lastModified": instant(last.time),
            "requester": member_reference(first.insurer),
            "owner": member_reference(first.hospital),
        }
        if patient:
            made["for"] = {"reference": patient}
        if dispute.due is not None:
            made["restriction"] = {"period": {"end": instant(dispute.due)}}
        if first.records:
            made["input"] = [
                {"type": {"coding": [{"system": DISPUTE, "code": "record"}]}, "valueString": one}
                for one in first.records
            ]
        return made

    def _communication(self, dispute: Dispute, patient: str, now: int) -> dict[str, Json]:
        """Write what was said."""
        taken = dispute.last
        step, heard = taken.step, taken.heard
        is_own = step.asker == self._org_id
        made: dict[str, Json] = {
            "resourceType": "Communication",
            "id": communication_id(taken),
            "meta": {"versionId": "1", "lastUpdated": instant(now)},
            "identifier": [{"system": STEP, "value": step.hash.hex()}],
            "partOf": [{"reference": f"Task/{task_id(dispute)}"}],
            "status": "completed",
            "category": [{"coding": [{"system": DISPUTE, "code": step.step.value}]}],
            "sent": instant(step.time),
            "received": instant(step.time if heard is None else heard),
            "recipient": [member_reference(step.receiver)],
            "sender": {"reference": taken.by} if is_own and _is_person(taken.by) else member_reference(step.asker),
        }
        if len(dispute.steps) > 1:
            made["inResponseTo"] = [{"reference": f"Communication/{communication_id(dispute.steps[-2])}"}]
        if patient:
            made["subject"] = {"reference": patient}
        if step.text:
            made["payload"] = [{"contentString": step.text}]
        return made


def communication_id(taken: Taken) -> str:
    """Return the id of a step's Communication: it follows from what was signed."""
    return taken.step.hash[:ID_BYTES].hex()


def task_id(dispute: Dispute) -> str:
    """Return the id of a dispute's Task: not the dispute's own, which the insurer chooses, as the id of a Task here."""
    return dispute.first.hash[:ID_BYTES].hex()


def _is_person(user: str) -> bool:
    """Tell whether somebody of the staff is named by a resource that may send a Communication."""
    return user.startswith(("Practitioner/", "PractitionerRole/"))
