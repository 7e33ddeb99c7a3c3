"""Disputes about claims are FHIR resources of the node, found by search, proven and erased as all records are."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import orjson
import pytest

from fhir_bridge import resources
from fhir_bridge.dispute_records import DISPUTE, STEP, DisputeRecords
from fhir_bridge.document import parse
from medchain.claims.dispute import StepKind
from medchain.errors import ConflictError
from medchain.store.disputes import DisputeRow
from tests.unit.fhir_bridge.conftest import NOW
from tests.unit.medchain.claims.disputing import signed, step
from tests.unit.medchain.ledger.world import ANXIN, RENHE

FIRST = step(time=NOW - 50, records=("Encounter/e1",))
ANSWER = step(time=NOW - 20, number=2, previous=FIRST.hash, step=StepKind.ANSWER, days=0, records=(), text="because")
CLOSE = step(time=NOW - 10, number=3, previous=ANSWER.hash, step=StepKind.CLOSE, days=0, records=(), text="")
TASK_ID = FIRST.hash[:16].hex()
TASK = f"/fhir/Task/{TASK_ID}"


@pytest.fixture
def hospital(server):
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"})
    return server


def kept(server, said, author: str = "", heard: int | None = NOW, patient: str = "p1") -> DisputeRow:
    token = server.service.patient_token(patient) if patient else ""
    row = DisputeRow(said.dispute, said.number, ANXIN, said.claim, token, signed(said), author, said.time, heard)
    server.store.put_dispute_step(row)
    return row


def job(server) -> DisputeRecords:
    return DisputeRecords(RENHE, server.store, server.service, server.core.clock)


def read(server, path: str) -> dict:
    answer = server.call("GET", path)
    assert answer.status_code == 200, answer.data
    return orjson.loads(answer.data)


def communications(server) -> list[dict]:
    """What was said, in order, found by the Task that it is part of."""
    found = read(server, f"/fhir/Communication?part-of=Task/{TASK_ID}&_sort=sent")
    return [one["resource"] for one in found["entry"] if one["search"]["mode"] == "match"]


def test_a_question_is_a_task_with_its_deadline_and_a_communication(hospital):
    kept(hospital, FIRST)
    assert job(hospital).round() == 0
    task = read(hospital, TASK)
    assert (task["status"], task["businessStatus"]["coding"][0]["code"]) == ("requested", "question")
    assert task["restriction"]["period"]["end"] == "2026-12-08T00:00:00Z"
    assert task["identifier"] == [{"system": DISPUTE, "value": FIRST.dispute.hex()}]
    assert task["focus"]["identifier"]["value"] == FIRST.claim.hex()
    assert task["for"] == {"reference": "Patient/p1"}
    assert (task["requester"]["identifier"]["value"], task["owner"]["identifier"]["value"]) == (ANXIN, RENHE)
    assert [one["valueString"] for one in task["input"]] == ["Encounter/e1"]
    [said] = communications(hospital)
    assert (said["payload"], said["subject"]) == ([{"contentString": "why?"}], {"reference": "Patient/p1"})
    assert said["identifier"] == [{"system": STEP, "value": FIRST.hash.hex()}]
    assert said["sender"]["identifier"]["value"] == ANXIN


def test_each_step_is_a_communication_and_a_version_of_the_task(hospital):
    kept(hospital, FIRST)
    kept(hospital, ANSWER, "Practitioner/d1")
    kept(hospital, CLOSE)
    keeper = job(hospital)
    keeper.round()
    keeper.round()
    said = communications(hospital)
    assert [one["category"][0]["coding"][0]["code"] for one in said] == ["question", "answer", "close"]
    assert said[1]["sender"] == {"reference": "Practitioner/d1"}
    assert said[1]["inResponseTo"] == [{"reference": f"Communication/{said[0]['id']}"}]
    assert "payload" not in said[2]
    versions = [read(hospital, f"{TASK}/_history/{number}") for number in (1, 2, 3)]
    assert [one["status"] for one in versions] == ["requested", "in-progress", "completed"]
    assert "restriction" not in versions[2]
    for resource in (*said, *versions):
        resources.check(parse(orjson.dumps(resource)), resource["resourceType"])


def test_attack_an_insurer_names_a_dispute_after_a_task_that_is_here(hospital):
    """Ids that a server draws and those of disputes look alike, and an insurer knows those of what it was given."""
    own = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/p1"}}
    before = orjson.loads(hospital.call("POST", "/fhir/Task", own).data)
    kept(hospital, step(time=NOW - 50, dispute=bytes.fromhex(before["id"])), patient="")
    job(hospital).round()
    assert hospital.store.unrecorded_steps(9) == []
    assert read(hospital, f"/fhir/Task/{before['id']}") == before


def test_what_the_other_side_has_not_heard_is_not_written(hospital):
    kept(hospital, FIRST)
    answer = kept(hospital, ANSWER, "Practitioner/d1", heard=None)
    job(hospital).round()
    assert len(communications(hospital)) == 1
    hospital.store.note_heard(answer, NOW)
    job(hospital).round()
    assert len(communications(hospital)) == 2


def test_what_nobody_here_is_the_patient_of_names_none_and_an_account_is_no_sender(hospital):
    kept(hospital, FIRST, patient="")
    kept(hospital, ANSWER, "account-9", patient="")
    job(hospital).round()
    assert "for" not in read(hospital, TASK)
    said = communications(hospital)
    assert ["subject" in one for one in said] == [False, False]
    assert said[1]["sender"]["identifier"]["value"] == RENHE


def test_fault_what_was_stored_before_a_crash_is_not_stored_twice(hospital):
    row = kept(hospital, FIRST)
    job(hospital).round()
    hospital.store.drop_disputes(row.patient)
    kept(hospital, FIRST)
    job(hospital).round()
    assert hospital.store.newest_version("Task", TASK_ID) == 1
    assert hospital.store.unrecorded_steps(9) == []


def test_fault_what_could_not_be_stored_is_stored_in_the_next_round(hospital, monkeypatch):
    kept(hospital, FIRST)
    keeper = job(hospital)

    def full(_self, _records):
        raise ConflictError("store.conflict")

    with monkeypatch.context() as failing:
        failing.setattr(type(hospital.service), "create_many", full)
        with pytest.raises(ConflictError):
            keeper.round()
    assert hospital.store.newest_version("Task", TASK_ID) == 0
    assert keeper.round() == 0
    assert len(communications(hospital)) == 1


def test_the_job_ends_when_it_is_told_to(hospital):
    stop = Event()
    stop.set()
    job(hospital).run(stop)
    assert hospital.store.newest_version("Task", TASK_ID) == 0


def test_a_step_that_gave_way_meanwhile_is_left_to_the_next_round(hospital, monkeypatch):
    row = kept(hospital, FIRST)
    monkeypatch.setattr(hospital.store, "unrecorded_steps", lambda _limit: [replace(row, document=b"other")])
    job(hospital).round()
    assert hospital.store.newest_version("Task", TASK_ID) == 0
