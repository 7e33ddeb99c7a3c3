"""The audit: who did what is kept before an answer leaves, and becomes one valid AuditEvent (FHIR R4 §6.4)."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from fhir_bridge.audit import MAX_NUMBERS, JournalAudit, frames, journal_key, journals, read_frame
from fhir_bridge.audit_events import Version, audit_event
from fhir_bridge.audit_job import AuditDrain
from fhir_bridge.document import parse
from fhir_bridge.rest.ask import Ask
from fhir_bridge.smart.access import Access
from fhir_bridge.validation.check import check
from medchain.errors import InputError, UnavailableError
from medchain.node.records import NewRecord
from medchain.store.journal import Journal, Place, names, read
from tests.unit.fhir_bridge.conftest import NODE, seed

PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"family": "测试"}]}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"text": "weight"},
    "subject": {"reference": "Patient/p1"},
}


def events(server) -> list[dict]:
    """Return all AuditEvents, in the order in which they were made."""
    server.drain()
    rows = server.store.by_patient(server.service.patient_token(""), ["AuditEvent"])
    return [json.loads(server.service.open(row).content) for row in rows]


def test_every_access_becomes_one_valid_event(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT, X_Request_Id="first-1")
    server.call("PUT", "/fhir/Observation/o1", OBSERVATION)
    server.call("GET", "/fhir/Observation/o1")
    server.call("GET", "/fhir/Observation/none")
    found = events(server)
    assert [(one["action"], one["subtype"][0]["code"], one["outcome"]) for one in found] == [
        ("U", "update", "0"),
        ("U", "update", "0"),
        ("R", "read", "0"),
        ("R", "read", "4"),
    ]
    assert [check(parse(json.dumps(one).encode()), warnings=False) for one in found] == [[], [], [], []]
    told = [row["what"]["reference"] for row in found[2]["entity"] if "reference" in row.get("what", {})]
    assert told == ["Observation/o1/_history/1", "Patient/p1"]
    assert found[0]["entity"][-1]["what"]["identifier"]["value"] == "first-1"
    assert [row["who"]["identifier"]["value"] for row in found[0]["agent"]] == ["test", NODE]
    assert found[3]["entity"][0]["query"] == base64.b64encode(b"Observation/none").decode()
    assert server.drain() == 0


def test_a_transaction_is_one_event_with_all_its_versions(server):
    row = {"resource": {"resourceType": "Basic", "code": {"text": "x"}}, "request": {"method": "POST", "url": "Basic"}}
    read_row = {"request": {"method": "GET", "url": "Patient/p1"}}
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [row, row, read_row]}
    assert server.call("POST", "/fhir", bundle).status_code == 200
    last = events(server)[-1]
    assert (last["subtype"][0]["code"], last["action"]) == ("transaction", "E")
    told = [row["what"]["reference"] for row in last["entity"] if "reference" in row.get("what", {})]
    assert [one.split("/")[0] for one in told] == ["Basic", "Basic", "Patient", "Patient"]


def test_a_refused_request_is_kept_and_one_of_nobody_is_not(server):
    server.call("DELETE", "/fhir/Patient/p1", scope="system/*.r")
    server.client.get("/fhir/Patient/p1")
    server.client.get("/fhir/metadata")
    assert [(one["action"], one["outcome"], one["outcomeDesc"]) for one in events(server)] == [("D", "4", "HTTP 403")]


def test_nothing_is_answered_that_cannot_be_kept(server, monkeypatch):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)

    def full(_self, _content: bytes) -> None:
        raise UnavailableError("journal.io", errno=28)

    monkeypatch.setattr(Journal, "append", full)
    response = server.call("GET", "/fhir/Patient/p1")
    assert response.status_code == 503
    assert "测试".encode() not in response.data


def test_frames_and_journals_hold_nothing_in_clear(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    server.call("GET", "/fhir/Patient/secret-name")
    folder = journals(server.folder)
    assert b"secret-name" not in b"".join((folder / name).read_bytes() for name in names(folder))


def test_what_a_dead_process_has_written_is_taken_once(server):
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom fhir_bridge.audit import JournalAudit, frames\n"
        "from fhir_bridge.rest.ask import Ask\nfrom fhir_bridge.smart.access import Access\n"
        "audit = JournalAudit(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), lambda: 7)\n"
        "for number in range(250):\n"
        "    ask = Ask('GET', 'Patient/x', fields={}, access=Access('dead', ()), request_id=str(number))\n"
        "    ask.trail.interaction = 'read'\n    audit.note(ask, 404)\nos.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, str(server.folder), seed("records").hex()]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=env, check=False).returncode == -9
    assert server.drain() == 250
    assert server.drain() == 0
    ids = {one["entity"][-1]["what"]["identifier"]["value"] for one in events(server)}
    assert ids == {str(number) for number in range(250)}
    # Only the journal of the living process is left.
    assert len(names(journals(server.folder))) == 1


def test_a_drain_that_ends_between_batches_goes_on_where_it_was(server):
    for _ in range(150):
        server.call("GET", "/fhir/Patient/none")
    first = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    assert first.step() == 100
    assert server.drain() == 50
    assert len(events(server)) == 150


def test_a_journal_that_was_changed_is_told_and_kept(server):
    for _ in range(3):
        server.call("GET", "/fhir/Patient/none")
    folder = journals(server.folder)
    (name,) = names(folder)
    data = bytearray((folder / name).read_bytes())
    data[40] ^= 1
    (folder / name).write_bytes(data)
    assert server.drain() == 0
    assert events(server) == []
    assert names(folder) == [name]


def test_a_request_that_touched_much_has_several_frames(tmp_path):
    ask = Ask("GET", "Patient", fields={}, access=Access("c", ()), request_id="r")
    ask.trail.numbers.extend(range(MAX_NUMBERS + 1))
    made = [read_frame(frame) for frame in frames(ask, 200, 7)]
    assert [len(one.numbers) for one in made] == [MAX_NUMBERS, 1]
    with closing(JournalAudit(tmp_path, b"k" * 32, lambda: 7)) as audit:
        audit.note(ask, 200)
    folder = journals(tmp_path)
    (name,) = names(folder)
    assert len(read(folder, name, journal_key(b"k" * 32), Place(), 10).frames) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"[1,2]", b'[2,7,200,"","","","","","","","","","",[]]', b"{}"])
def test_a_frame_of_another_form_is_refused(content):
    with pytest.raises(InputError, match=r"audit\.frame"):
        read_frame(content)


def test_a_person_who_signed_in_is_the_one_who_asked():
    access = Access("app", (), user="Practitioner/17", role="clinician", patient="p1")
    ask = Ask("GET", "Patient/p1", fields={}, access=access, request_id="r")
    ask.trail.interaction = "read"
    (frame,) = frames(ask, 200, 1_796_083_200)
    event = audit_event(read_frame(frame), [Version("Patient", "p1", 3, "p1")], "org")
    assert [row["requestor"] for row in event["agent"]] == [False, True, False]
    assert event["agent"][1]["who"] == {"reference": "Practitioner/17"}
    assert check(parse(json.dumps(event).encode())) == []


def test_a_journal_that_must_wait_keeps_no_other_waiting(server):
    (mine,) = names(server.folder / "audit")
    server.call("GET", "/fhir/Patient/none")
    # What no client can do any more: a record stands where an event belongs.
    content = b'{"resourceType":"AuditEvent"}'
    server.service.create(NewRecord("AuditEvent", f"{mine.removesuffix('.journal')}.0", content, ""))
    ask = Ask("GET", "", fields={}, access=Access("x", ()), request_id="other-1")
    with closing(Journal(journals(server.folder), journal_key(seed("records")))) as other:
        other.append(next(frames(ask, 200, 1)))
        assert server.drain() == 1


def test_the_audit_goes_on_after_what_nobody_expected(server, monkeypatch):
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    end = threading.Event()
    told = iter([ValueError("x"), 0, 0])

    def step() -> int:
        one = next(told)
        if isinstance(one, ValueError):
            end.set()
            raise one
        return one

    monkeypatch.setattr(drain, "step", step)
    # In a thread of its own, whose priority it lowers.
    working = threading.Thread(target=drain.run, args=(end,))
    working.start()
    working.join(10)
    assert not working.is_alive()
    assert list(told) == [0]


def test_what_the_entries_of_a_batch_searched_for_is_kept(server):
    urls = ("Patient?identifier=urn:x|1", "Patient/none", "Observation?status=final")
    rows = [{"request": {"method": "GET", "url": url}} for url in urls]
    for kind in ("batch", "transaction"):
        bundle = {"resourceType": "Bundle", "type": kind, "entry": rows}
        assert server.call("POST", "/fhir", bundle).status_code == 200
        queries = [base64.b64decode(row["query"]) for row in events(server)[-1]["entity"] if "query" in row]
        assert queries == [b"Patient?identifier=urn%3Ax%7C1 Observation?status=final"]
