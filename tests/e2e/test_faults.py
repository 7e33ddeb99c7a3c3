"""What networks and machines do to a node: power cuts, full disks, two writers at once, clients that stand still."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from medchain.node.daemon import BEAT_S
from tests.e2e.running_node import Answer, RunningNode, running_node
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

ENTRIES = 5000
STALLED = 20
# Less than anybody waits for a writer that is silent.
STOPPED_S = 20
TYPES = ("Patient", "Observation")


@pytest.fixture(scope="module")
def victim(tmp_path_factory) -> Iterator[RunningNode]:
    """A node that is killed and started again."""
    with running_node(tmp_path_factory.mktemp("faults"), "web.workers=2") as running:
        yield running


def large(mark: str) -> bytes:
    """Write a transaction of 5,000 entries about one patient."""
    return large_of(mark, ENTRIES)


def large_of(mark: str, entries: int) -> bytes:
    """Write a transaction of so many entries about one patient."""
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": mark}]}
    about = {"reference": "urn:uuid:5b3a1c1e-52a1-4a5e-9a56-0d4f6c1f1a11"}
    rows = [{"fullUrl": about["reference"], "resource": patient, "request": {"method": "POST", "url": "Patient"}}]
    for number in range(entries - 1):
        one = {"resourceType": "Observation", "status": "final", "code": {"text": mark}, "subject": about}
        one["valueInteger"] = number
        rows.append({"resource": one, "request": {"method": "POST", "url": "Observation"}})
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": rows}).encode()


def counts(node: RunningNode, mark: str) -> tuple[int, int]:
    """Count what is there of a transaction: patients, and observations of theirs."""
    chain = f"subject:Patient.identifier=urn:mrn|{mark}"
    asked = (f"Patient?identifier=urn:mrn|{mark}", f"Observation?{chain}")
    return tuple(node.call("GET", f"{one}&_summary=count").document["total"] for one in asked)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_transaction_of_5000_entries_that_is_killed_is_there_whole_or_not_at_all(victim, share):
    """Design §5: all or nothing, also by kill -9 of every process; killed at a share of the time that one takes."""
    began = time.monotonic()
    assert victim.call("POST", "", large(f"whole-{share}")).status == 200
    took = time.monotonic() - began
    told: list[Answer] = []

    def post() -> None:
        with suppress(OSError, HTTPException):
            told.append(victim.call("POST", "", large(f"cut-{share}")))

    poster = threading.Thread(target=post)
    poster.start()
    time.sleep(took * share)
    victim.kill()
    poster.join()
    victim.start()
    assert counts(victim, f"whole-{share}") == (1, ENTRIES - 1)
    there = counts(victim, f"cut-{share}")
    assert there in ((0, 0), (1, ENTRIES - 1))
    if told and told[0].status == 200:
        assert there == (1, ENTRIES - 1)
    # What was cut off can be sent again, and stands there once.
    if there == (0, 0):
        assert victim.call("POST", "", large(f"cut-{share}")).status == 200
        assert counts(victim, f"cut-{share}") == (1, ENTRIES - 1)


def running(node: RunningNode, log: str) -> list[int]:
    """List the processes of a node that have a log open whose name begins so."""
    found = []
    for pid in node.pids():
        with suppress(OSError):
            found += [pid] * any(one.readlink().name.startswith(log) for one in Path(f"/proc/{pid}/fd").iterdir())
    return found


@pytest.mark.parametrize("log", ["writer", "web-"])
def test_who_is_stopped_is_replaced_and_nothing_is_lost_or_there_twice(victim, log):
    """A writer that is stopped held all creates for 25 s, a web worker its clients for ever."""
    mark, answers = f"stopped-{log}", list[Answer]()
    victim.token()

    def post(number: int) -> None:
        name = {"system": f"urn:{mark}", "value": str(number)}
        body = {"resourceType": "Basic", "code": {"text": mark}, "identifier": [name]}
        # Whose worker dies is told nothing, and asks once more, on the condition that it is not there.
        condition = {"If_None_Exist": f"identifier=urn:{mark}|{number}"} if log == "web-" else {}
        for _ in range(9):
            with suppress(OSError, HTTPException):
                answers.append(victim.call("POST", "Basic", body, **condition))
                return

    before = running(victim, log)
    posters = [threading.Thread(target=post, args=(number,)) for number in range(40)]
    for poster in posters[:20]:
        poster.start()
    os.kill(before[0], signal.SIGSTOP)
    began = time.monotonic()
    for poster in posters[20:]:
        poster.start()
    for poster in posters:
        poster.join(60)
    assert time.monotonic() - began < STOPPED_S
    assert len(answers) == len(posters)
    assert {answer.status for answer in answers} <= ({201} if log == "writer" else {200, 201})
    assert eventually(lambda: len(running(victim, log)) == len(before) and before[0] not in running(victim, log))
    found = victim.call("GET", f"Basic?code:text={mark}&_count=1000&_elements=identifier").document["entry"]
    there = [row["resource"]["identifier"][0]["value"] for row in found]
    assert sorted(there, key=int) == [str(number) for number in range(40)]


def test_an_export_goes_on_after_a_kill(victim):
    """Bulk Data Access 2.0 §5: a status address stays good; here over the end of every process."""
    kicked = victim.call("GET", "$export?_type=Patient", Prefer="respond-async", Accept="application/fhir+json")
    assert kicked.status == 202, kicked.body
    place = kicked.headers["content-location"].partition("/fhir/")[2]
    victim.kill()
    victim.start()
    assert eventually(lambda: victim.call("GET", place, Accept="application/json").status == 200)
    told = victim.call("GET", place, Accept="application/json").document
    (row,) = told["output"]
    lines = victim.ask("GET", row["url"].partition(victim.host)[2], None, bearer(victim)).body.splitlines()
    total = victim.call("GET", "Patient?_summary=count").document["total"]
    assert len(lines) == row.get("count", total) == total


def limit_files(node: RunningNode, size: int) -> None:
    """Let no process of a node write behind a place in a file, as a disk that has no room; or let it again."""
    for pid in node.pids():
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def all_count(node: RunningNode) -> bool:
    """Tell whether each web worker, and the daemon, has begun to count what it does."""
    daemon, workers = running(node, "daemon"), running(node, "web-")
    wanted = {f"counter_{pid}.db" for pid in (*daemon, *workers)} | {f"histogram_{pid}.db" for pid in workers}
    return wanted <= {one.name for one in (node.folder / "run" / "metrics").iterdir()}


def test_a_disk_without_room_refuses_what_it_cannot_keep_and_is_done_with_when_there_is_room(victim):
    """All of it, from the write to the audit of a read: 503, nothing lost, nothing half done, and no start anew."""
    mark = "room"
    assert victim.call("POST", "", large_of(mark, 3)).status == 200
    # What they count lies in memory, but for this limit a file as any: each has begun its own.
    assert eventually(lambda: victim.call("GET", "metadata").status == 200 and all_count(victim))
    before = victim.parts()
    limit_files(victim, 0)
    try:
        refused = [
            victim.call("POST", "", large_of(mark, 3)),
            victim.call("POST", "Basic", {"resourceType": "Basic", "code": {"text": mark}}),
            victim.call("POST", "Binary", b"x" * 50_000, Content_Type="application/octet-stream"),
            victim.call("GET", f"Patient?identifier=urn:mrn|{mark}"),
        ]
        # Its jobs, and its heart, find no room either.
        time.sleep(3 * BEAT_S)
    finally:
        limit_files(victim, resource.RLIM_INFINITY)
    assert [answer.status for answer in refused] == [503] * 4, [answer.body for answer in refused]
    assert all("retry-after" in {name.lower() for name in answer.headers} for answer in refused)
    assert eventually(lambda: victim.ask("GET", "/readyz").status == 200)
    assert victim.parts() == before
    assert counts(victim, mark) == (1, 2)
    assert victim.call("GET", f"Basic?code:text={mark}&_summary=count").document["total"] == 0
    assert victim.call("POST", "", large_of(mark, 3)).status == 200
    assert counts(victim, mark) == (2, 4)
    found = victim.call("GET", f"Patient?identifier=urn:mrn|{mark}").document["entry"]
    names = [f"Patient/{row['resource']['id']}" for row in found]
    assert eventually(lambda: all("final" in victim.call("GET", one).headers["medchain-anchored"] for one in names))


def bearer(node: RunningNode) -> dict[str, str]:
    return {"Authorization": f"Bearer {node.token()}"}


def test_of_eight_writers_to_one_resource_no_update_is_lost(node):
    """FHIR R4 §3.1.0.1.2 (contention): each adds one under If-Match, and starts over when told 412."""
    name = "Basic/counter"
    start = {"resourceType": "Basic", "id": "counter", "code": {"text": "0"}}
    assert node.call("PUT", name, start).status in (200, 201)
    each, refused = 6, []

    def add() -> None:
        for _ in range(each):
            while True:
                read = node.call("GET", name)
                changed = read.document | {"code": {"text": str(int(read.document["code"]["text"]) + 1)}}
                status = node.call("PUT", name, changed, If_Match=read.headers["etag"]).status
                if status == 200:
                    break
                assert status == 412
                refused.append(status)

    first = int(node.call("GET", name).document["meta"]["versionId"])
    writers = [threading.Thread(target=add) for _ in range(8)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    last = node.call("GET", name).document
    assert last["code"]["text"] == str(8 * each)
    assert int(last["meta"]["versionId"]) == first + 8 * each
    history = node.call("GET", f"{name}/_history?_count=1000").document["entry"]
    assert [row["resource"]["code"]["text"] for row in history[: 8 * each]] == [str(n) for n in range(8 * each, 0, -1)]


def beginnings(node: RunningNode) -> dict[str, str]:
    """Requests that stand still in the middle of a line, of fields and of bodies, known callers' and strangers'."""
    half = f"POST /fhir/Patient HTTP/1.1\r\nHost: {node.host}\r\nAuthorization: Bearer {node.token()}\r\n"
    half += "Content-Type: application/fhir+json\r\n"
    form = f"POST /token HTTP/1.1\r\nHost: {node.host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    return {
        "silence": "",
        "line": "GET /fhir/meta",
        "fields": half,
        "small body": f"{half}Content-Length: 1000\r\n\r\n{{",
        "large body": f"{half}Content-Length: 1000000\r\n\r\n{{",
        "body without length": f"{half}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n",
        "form": f"{form}Content-Length: 100\r\n\r\ngrant_type",
    }


def rest_of(one: socket.socket) -> bytes:
    """Read until the connection ends, or an answer that says that it does (RFC 9112 §9.6)."""
    read = b""
    while piece := one.recv(4096):
        read += piece
        head, _, body = read.partition(b"\r\n\r\n")
        length = re.search(rb"\ncontent-length: ([0-9]+)", head)
        if length and b"\nconnection: close" in head and len(body) >= int(length[1]):
            break
    return read


def test_clients_that_stand_still_hold_no_worker(node):
    """Others read and write meanwhile, as if they were not there; and all of them are cut off (RFC 9110 §15.5.9)."""
    host, _, port = node.host.partition(":")
    with ExitStack() as stack:
        begun: dict[str, list[socket.socket]] = {}
        for name, beginning in beginnings(node).items():
            for _ in range(STALLED):
                one = stack.enter_context(socket.create_connection((host, int(port)), 60))
                one.sendall(beginning.encode())
                begun.setdefault(name, []).append(one)
        for _ in range(20):
            began = time.monotonic()
            assert node.call("GET", "metadata").status == 200
            assert node.call("POST", "Basic", {"resourceType": "Basic", "code": {"text": "x"}}).status == 201
            assert time.monotonic() - began < 20
        answers = {name: {rest_of(one)[9:12] for one in some} for name, some in begun.items()}
    assert all(answers[name] == {b""} for name in ("silence", "line", "fields"))
    assert (answers["small body"], answers["form"]) == ({b"408"}, {b"400"})
    # Large ones hold a thread each while they come, so that there may be only so many.
    assert {b"408"} <= answers["large body"] | answers["body without length"] <= {b"408", b"503"}


DEEP = b'{"resourceType":"Patient","extension":' + b'[{"url":"u","extension":' * 20_000 + b"[]" + b"}]" * 20_000 + b"}"
HOSTILE = {
    "deep": DEEP,
    "brackets": b"[" * 1_000_000,
    "twice": b'{"resourceType":"Patient","active":true,"active":false}',
    "nan": b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":NaN}}',
    "infinity": b'{"resourceType":"RiskAssessment","status":"final","prediction":[{"probabilityDecimal":1e999999}]}',
    "digits": b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 1_000_000 + b"}",
    "surrogate": b'{"resourceType":"Patient","language":"\\ud800"}',
    "no utf-8": b'{"resourceType":"Patient","language":"\xff\xfe"}',
    "entities": (
        b'<!DOCTYPE P [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
        b'<Patient xmlns="http://hl7.org/fhir"><language value="&c;"/></Patient>'
    ),
    "file": (
        b'<!DOCTYPE P [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        b'<Patient xmlns="http://hl7.org/fhir"><language value="&a;"/></Patient>'
    ),
    "deep xml": b'<Patient xmlns="http://hl7.org/fhir">' + b"<contact>" * 100_000,
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_bodies_are_refused_quickly(node, name):
    body = HOSTILE[name]
    kind = "application/fhir+xml" if body.startswith(b"<") else "application/fhir+json"
    began = time.monotonic()
    answer = node.call("POST", "Patient", body, Content_Type=kind)
    assert 400 <= answer.status < 500, answer.body
    assert answer.document["resourceType"] == "OperationOutcome"
    assert time.monotonic() - began < 15


def test_a_body_without_end_is_cut_off(node):
    """More than the largest body that is read whole: refused by its length, before it is sent."""
    length = {"Content-Length": str(1 << 40), "Content-Type": "application/fhir+json"} | bearer(node)
    host, _, port = node.host.partition(":")
    with socket.create_connection((host, int(port)), 60) as one:
        lines = "".join(f"{name}: {value}\r\n" for name, value in length.items())
        one.sendall(f"POST /fhir/Patient HTTP/1.1\r\nHost: {node.host}\r\n{lines}\r\n".encode())
        assert one.recv(64).startswith(b"HTTP/1.1 413 ")
