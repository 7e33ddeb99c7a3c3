"""Worker processes over a real node: large transactions and imports."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest

from fhir_bridge.smart.access import Access, access_document
from fhir_bridge.smart.scopes import parse_scopes
from medchain.crypto.keywrap import derive
from medchain.errors import UnavailableError
from medchain.node.fork_server import ForkServer
from medchain.node.jobs import JobPool
from medchain.node.keystore import open_root_file, unlock
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from medchain.web.workers import JOBS
from tests.waiting import eventually

OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}}


def web_half(node) -> bytes:
    return unlock(open_root_file(node.parent / "keys" / "root.key", None)).web


def opened(node) -> RecordStore:
    path, key = node.parent / "records.db", derive(web_half(node), "database/records")
    return RecordStore(open_database(path, key, kind=FileKind.RECORDS))


def count(node) -> int:
    with closing(opened(node)) as store:
        return store.count()


def transaction(size: int, kind: str = "transaction") -> bytes:
    rows = [{"resource": OBSERVATION, "request": {"method": "POST", "url": "Observation"}}] * size
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": rows}).encode()


@pytest.fixture
def jobs(node, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    secret = bytes(web_half(node)).hex().encode()
    with closing(ForkServer.spawned(JOBS, str(node))) as server:
        yield JobPool(server, secret, 1, node.parent)


def processes_of(jobs: JobPool) -> list[int]:
    """Return the pids of a pool's processes: one, or none between the end of one and the beginning of the next."""
    server = jobs._server.pid  # noqa: SLF001  # nobody else needs to know
    return [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]


def asked(scopes: str = "system/*.cru") -> dict:
    return {
        "access": access_document(Access("test", parse_scopes(scopes))),
        "fields": {"CONTENT_TYPE": "application/fhir+json"},
        "request": "r1",
    }


ASK = asked()


def test_a_transaction_is_done_by_a_process_of_its_own(node, jobs):
    done = jobs.run(ASK, [transaction(300)])
    answer = json.loads(done.content)
    assert (answer["type"], len(answer["entry"])) == ("transaction-response", 300)
    assert done.document["last"] - done.document["first"] == 299
    assert count(node) == 300


def test_it_is_refused_there_as_it_would_be_here(node, jobs):
    for ask, kind, status, code in (
        (ASK, "history", 400, b'"bundle.type"'),
        (asked("system/*.r"), "transaction", 403, b'"scope.denied"'),
    ):
        done = jobs.run(ask, [transaction(3, kind)])
        assert done.document["status"] == status
        assert code in done.content
    assert count(node) == 0


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.5, 1.0])
def test_a_process_killed_in_a_transaction_leaves_all_of_it_or_nothing(node, jobs, seconds):
    jobs.run(ASK, [transaction(1)])
    caught = []

    def run() -> None:
        try:
            jobs.run(ASK, [transaction(5000)])
        except UnavailableError as error:
            caught.append(error.code)

    thread = Thread(target=run)
    thread.start()
    sleep(seconds)
    # Not before: the first may have ended after its job, for another that shares more; and this one, after its own.
    assert eventually(lambda: processes_of(jobs) or not thread.is_alive())
    for pid in processes_of(jobs):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    thread.join()
    # The last of the three: killed after its commit and before its answer.
    assert (caught, count(node)) in ((["job.died"], 1), ([], 5001), (["job.died"], 5001))


def test_an_import_by_worker_processes_stores_everything_once(run, node, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    folder = tmp_path / "in"
    folder.mkdir()
    doctor = {"resourceType": "Practitioner", "identifier": [{"system": "urn:staff", "value": "D1"}]}
    treated = {
        "resourceType": "Basic",
        "code": {"text": "x"},
        "author": {"reference": "Practitioner?identifier=urn:staff|D1"},
    }
    for number in range(5):
        row = {"resource": treated | {"id": f"b{number}"}, "request": {"method": "PUT", "url": f"Basic/b{number}"}}
        document = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [row] if number else [row, {"resource": {}}],
        }
        (folder / f"a{number}.json").write_text(json.dumps(document))
    row = {"resource": doctor, "request": {"method": "POST", "url": "Practitioner"}}
    (folder / "z.json").write_text(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [row]}))
    ran = run("import", folder, "--workers", "2", "--json", "--config", node)
    assert (ran.code, ran.document) == (1, {"entries": 7, "present": 0, "rejected": 1, "skipped": 0, "stored": 6})
    assert "resource.type" in ran.err
    again = run("import", folder, "--workers", "2", "--json", "--config", node)
    # What was refused is told at each run, or an interrupted one would have lost it.
    assert again.document == {"entries": 1, "present": 0, "rejected": 1, "skipped": 6, "stored": 0}
    deadline = monotonic() + 60
    while count(node) != 6 and monotonic() < deadline:
        sleep(0.1)
    assert count(node) == 6
