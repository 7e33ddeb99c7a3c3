"""The audit of changes whose process dies, or whose disk is full, before it is told how they ended."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from contextlib import contextmanager

from fhir_bridge.audit import BEGUN, frames, journal_key, journals
from fhir_bridge.audit_job import BATCH, AuditDrain
from fhir_bridge.document import parse
from fhir_bridge.rest.ask import Ask
from fhir_bridge.smart.access import Access
from fhir_bridge.validation.check import check
from medchain.errors import UnavailableError
from medchain.store.journal import Journal, names
from tests.unit.fhir_bridge.conftest import NODE, opened, seed
from tests.unit.fhir_bridge.test_audit import PATIENT, events

KILLED = """
import os, sys
from pathlib import Path
from fhir_bridge import audit
from medchain.store.journal import Journal
from tests.unit.fhir_bridge.conftest import opened
def killed(*_):
    os.kill(os.getpid(), 9)
opening = opened(Path(sys.argv[1]))
server = next(opening)
audit.MAX_NUMBERS = 1
append, left = Journal.append, [int(sys.argv[2])]
def some(self, content, begun=None):
    if begun is not None and not left[0]:
        killed()
    left[0] -= 1
    append(self, content, begun)
Journal.append = some
row = {"resource": {"resourceType": "Basic", "code": {"text": "x"}}, "request": {"method": "POST", "url": "Basic"}}
bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [row, row, row]}
patient = {"resourceType": "Patient", "id": "p1"}
call = ("POST", "/fhir", bundle) if sys.argv[3] == "bundle" else ("PUT", "/fhir/Patient/p1", patient)
server.call(*call, X_Request_Id="cut-off")
"""


def killed_in_a_write(server, frames_left: int, what: str) -> None:
    """Let another process of the same node write, and die after some of the frames that tell of it."""
    command = [sys.executable, "-c", KILLED, str(server.folder), str(frames_left), what]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=env, check=False, timeout=600).returncode == -9


def test_a_write_whose_process_was_killed_before_it_told_of_it_has_an_event(server):
    killed_in_a_write(server, 0, "patient")
    # The write counts: it was committed before the process died.
    assert len(server.store.by_patient(server.service.patient_token("p1"), ["Patient"])) == 1
    (event,) = events(server)
    # FHIR R4 AuditEvent.outcome (required binding): 8 is a serious failure.
    assert (event["outcome"], event["outcomeDesc"].split(":")[0]) == ("8", "unknown")
    assert (event["subtype"][0]["code"], event["action"]) == ("update", "U")
    assert event["entity"][0]["query"] == base64.b64encode(b"Patient/p1").decode()
    assert event["entity"][-1]["what"]["identifier"]["value"] == "cut-off"
    assert check(parse(json.dumps(event).encode()), warnings=False) == []
    assert len(events(server)) == 1
    assert len(names(journals(server.folder))) == 1


def test_a_write_of_which_a_killed_process_told_a_part_has_an_event_of_the_rest(server):
    killed_in_a_write(server, 2, "bundle")
    found = events(server)
    assert sorted(one["outcome"] for one in found) == ["0", "0", "8"]
    assert {one["entity"][-1]["what"]["identifier"]["value"] for one in found} == {"cut-off"}
    assert len({one["id"] for one in found}) == 3


def test_nothing_is_changed_that_cannot_be_kept(server, monkeypatch):
    def full(_self, _content: bytes, _begun: object = None) -> None:
        raise UnavailableError("store.full", table="journal")

    monkeypatch.setattr(Journal, "append", full)
    monkeypatch.setattr(Journal, "begin", full)
    assert server.call("PUT", "/fhir/Patient/p1", PATIENT).status_code == 503
    assert server.store.by_patient(server.service.patient_token("p1"), ["Patient"]) == []


def test_a_write_that_was_done_and_could_not_be_told_has_an_event_when_its_journal_ends(tmp_path, monkeypatch):
    def full(_self, _content: bytes, _begun: object = None) -> None:
        raise UnavailableError("store.full", table="journal")

    with contextmanager(opened)(tmp_path) as server:
        monkeypatch.setattr(Journal, "append", full)
        assert server.call("PUT", "/fhir/Patient/p1", PATIENT).status_code == 503
        monkeypatch.undo()
        assert events(server) == []
    with contextmanager(opened)(tmp_path) as server:
        assert [one["outcome"] for one in events(server)] == ["8"]


def test_what_was_left_open_is_told_once_whoever_does_it_and_when(server):
    ask = Ask("PUT", "Patient/x", fields={}, access=Access("x", ()), request_id="r")
    journal = Journal(journals(server.folder), journal_key(seed("records")))
    for _ in range(BATCH + 1):
        journal.begin(next(frames(ask, BEGUN, 1)))
    told = journal.begin(next(frames(ask, BEGUN, 1)))
    ask.trail.begun = told
    journal.append(next(frames(ask, 200, 1)), told)
    journal.done(told, told=True)
    journal.close()
    # One event of what was told, one batch of the rest at a time, each by a reader of its own.
    taken = []
    for _ in range(4):
        drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
        taken.append(drain.take())
    assert taken == [1, BATCH, 1, 0]
    assert len({one["id"] for one in events(server)}) == BATCH + 2
