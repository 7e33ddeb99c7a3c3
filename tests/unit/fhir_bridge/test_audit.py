"""The audit: who did what is kept before an answer leaves, and becomes one valid AuditEvent (FHIR R4 §6.4)."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from fhir_bridge import audit_job
from fhir_bridge.audit import (
    MAX_ELSEWHERE,
    MAX_NUMBERS,
    JournalAudit,
    address_of,
    frames,
    journal_key,
    journals,
    read_frame,
)
from fhir_bridge.audit_events import Version, audit_event
from fhir_bridge.audit_job import BATCH, AuditDrain
from fhir_bridge.document import parse
from fhir_bridge.references import instant
from fhir_bridge.rest.ask import Ask
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from fhir_bridge.validation.check import check
from medchain.errors import ConflictError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.node import records
from medchain.node.crowding import Crowding
from medchain.node.proofs import opening_of
from medchain.node.records import NewRecord, RecordService
from medchain.store import journal
from medchain.store.journal import Journal, Place, names, read
from medchain.store.records import Waiting
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


def test_attack_a_transaction_asks_by_conditions_of_creates_who_is_here(server):
    """FHIR R4 §3.1.0.8.1: each answer says where the one is that is there already, so that the event names it."""
    identifier = [{"system": "urn:mrn", "value": "7"}]
    server.call("PUT", "/fhir/Patient/p1", PATIENT | {"identifier": identifier})
    rows = [
        {
            "resource": {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": value}]},
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier=urn:mrn|{value}"},
        }
        for value in ("7", "8", "8")
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": rows}
    answers = json.loads(server.call("POST", "/fhir", bundle).data)["entry"]
    assert [answer["response"]["status"][:3] for answer in answers] == ["200", "201", "200"]
    named = [row["what"].get("reference", "") for row in events(server)[-1]["entity"] if "what" in row]
    versions = sorted(name for name in named if "/_history/" in name)
    assert versions == sorted({"Patient/p1/_history/1", answers[1]["response"]["location"]})


def test_a_refused_request_is_kept_and_one_of_nobody_is_not(server):
    server.call("DELETE", "/fhir/Patient/p1", scope="system/*.r")
    server.client.get("/fhir/Patient/p1")
    server.client.get("/fhir/metadata")
    assert [(one["action"], one["outcome"], one["outcomeDesc"]) for one in events(server)] == [("D", "4", "HTTP 403")]


def test_nothing_is_answered_that_cannot_be_kept(server, monkeypatch):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)

    def full(_self, _content: bytes, _begun: object = None) -> None:
        raise UnavailableError("store.full", table="journal")

    monkeypatch.setattr(Journal, "append", full)
    response = server.call("GET", "/fhir/Patient/p1")
    assert response.status_code == 503
    assert "测试".encode() not in response.data


def test_frames_and_journals_hold_nothing_in_clear(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    server.call("GET", "/fhir/Patient/secret-name")
    folder = journals(server.folder)
    assert b"secret-name" not in b"".join((folder / name).read_bytes() for name in names(folder))


def test_the_journals_folder_has_its_name_on_the_disk_whoever_has_made_it(tmp_path, monkeypatch):
    """A frame is synced before its answer; in a folder that a power cut takes away it would be gone all the same."""
    synced = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    # Another process may have made it just now, and not come to sync it.
    for _ in range(2):
        assert journals(tmp_path).is_dir()
    assert synced == [tmp_path] * 2


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
    ask = Ask("GET", "", fields={}, access=Access("x", ()), request_id="r")
    for _ in range(BATCH + 50):
        server.core.audit.note(ask, 404)
    first = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    assert first.take() == BATCH
    assert server.drain() == 50
    assert len(events(server)) == BATCH + 50


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


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[1,2]",
        b'[2,7,200,"","","","","","","","","","",[]]',
        b'[3,7,200,"","","","","","","","","","",[]]',
        b'[4,7,200,"","","","","","","","","","","",[]]',
        b'[5,7,200,"","","","","","","","","","","",[]]',
        b'[7,7,200,"","","","","","","","","","","","","",[]]',
        b"[[],2]",
        b"[2]",
        b"{}",
    ],
)
def test_a_frame_of_another_form_is_refused(content):
    with pytest.raises(InputError, match=r"audit\.frame"):
        read_frame(content)


def test_a_frame_of_a_node_that_kept_no_addresses_is_read():
    made = read_frame(b'[2,7,200,"r","update","c","","","","Basic","b","","",[9],17]')
    assert (made.request, made.id, made.address, made.numbers, made.begun) == ("r", "b", "", (9,), 17)
    event = audit_event(made, [], "org")
    assert "network" not in event["agent"][0]


def test_records_of_other_organisations_are_told_by_their_addresses_in_frames_of_at_most_so_many():
    ask = Ask("GET", "Patient/p1/$everything", fields={}, access=Access("c", ()), request_id="r")
    ask.trail.interaction, urls = "everything", [f"https://b.example/fhir/Basic/b{n}/_history/1" for n in range(600)]
    ask.trail.elsewhere += ["https://b.example/fhir/Patient/p1", *urls]
    made = [read_frame(frame) for frame in frames(ask, 200, 7)]
    assert [len(one.elsewhere) for one in made] == [MAX_ELSEWHERE] * 4 + [1]
    assert [url for one in made for url in one.elsewhere] == ask.trail.elsewhere
    event = audit_event(made[0], [], "org")
    rows = [(row["type"]["code"], row["what"]["reference"]) for row in event["entity"] if "reference" in row["what"]]
    assert rows[:2] == [("1", "https://b.example/fhir/Patient/p1"), ("2", urls[0])]
    assert check(parse(json.dumps(event).encode()), warnings=False) == []


def test_an_event_says_from_which_address_the_client_asked(server):
    """R4 AuditEvent.agent.network; what a client writes of itself counts for nothing where no proxy is known."""
    server.call("GET", "/fhir/Basic/none", X_Forwarded_For="203.0.113.9")
    (event,) = events(server)
    assert [row.get("network") for row in event["agent"]] == [{"address": "127.0.0.1", "type": "2"}, None]
    assert check(parse(json.dumps(event).encode()), warnings=False) == []


@pytest.mark.parametrize(
    ("forwarded", "is_proxied", "address"),
    [
        ("203.0.113.9", False, "198.51.100.1"),
        # The proxy appends what it saw to what the client claimed.
        ("203.0.113.9, 192.0.2.7", True, "192.0.2.7"),
        ("2001:DB8:0:0::1", True, "2001:db8::1"),
        # With the port of the client, as in RFC 7239 §6.
        ("203.0.113.9, 192.0.2.7:49152", True, "192.0.2.7"),
        ("[2001:db8::1]:49152", True, "2001:db8::1"),
        ("192.0.2.7:49152:1", True, ""),
        ("<script>", True, ""),
        (None, True, "198.51.100.1"),
    ],
)
def test_an_address_is_what_the_nearest_party_that_we_trust_saw(forwarded, is_proxied, address):
    fields = {"REMOTE_ADDR": "198.51.100.1"} | ({} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded})
    assert address_of(fields, is_proxied=is_proxied) == address
    assert address_of({}, is_proxied=is_proxied) == ""


def test_a_person_who_signed_in_is_the_one_who_asked():
    access = Access("app", (), user="Practitioner/17", role="clinician", patient="p1")
    ask = Ask("GET", "Patient/p1", fields={}, access=access, request_id="r")
    ask.trail.interaction = "read"
    (frame,) = frames(ask, 200, 1_796_083_200)
    event = audit_event(read_frame(frame), [Version("Patient", "p1", 3, "p1")], "org")
    assert [row["requestor"] for row in event["agent"]] == [False, True, False]
    assert event["agent"][1]["who"] == {"reference": "Practitioner/17"}
    assert check(parse(json.dumps(event).encode())) == []


@pytest.mark.parametrize(
    ("interaction", "parts"),
    [
        ("read", ["110152", "IRCP", "110153"]),
        ("vread", ["110152", "IRCP", "110153"]),
        ("search", ["110153", "IRCP", "110152"]),
        ("create", ["110153", "AUT", "110152"]),
        ("update", ["110153", "AUT", "110152"]),
        ("patch", ["110153", "AUT", "110152"]),
        ("delete", ["110150", "AUT", "custodian"]),
    ],
)
def test_each_agent_is_to_the_data_what_the_profile_of_the_interaction_says(interaction, parts):
    """IHE BALP 1.1.3: Read, Query, Create, Update, Delete: agent[client].type, agent[user].type, agent[server].type."""
    access = Access("app", (), user="Practitioner/17", role="clinician")
    ask = Ask("GET", "Patient/p1", fields={}, access=access, request_id="r")
    ask.trail.interaction = interaction
    (frame,) = frames(ask, 200, 1_796_083_200)
    event = audit_event(read_frame(frame), [Version("Patient", "p1", 3, "p1")], "org")
    assert [row["type"]["coding"][0]["code"] for row in event["agent"]] == parts
    assert check(parse(json.dumps(event).encode()), warnings=False) == []


def test_a_journal_that_must_wait_keeps_no_other_waiting(server):
    (mine,) = names(server.folder / "audit")
    server.call("GET", "/fhir/Patient/none")
    # What no client can do any more: a record stands where an event belongs.
    content = b'{"resourceType":"AuditEvent"}'
    server.service.create(NewRecord("AuditEvent", f"{mine.removesuffix('.journal')}.0", content, ""))
    ask = Ask("GET", "", fields={}, access=Access("x", ()), request_id="other-1")
    with closing(Journal(journals(server.folder), journal_key(seed("records")))) as other:
        other.append(next(frames(ask, 200, 1)))
        assert server.drain() == 2
    assert [one["entity"][-1]["what"]["identifier"]["value"] for one in events(server) if "entity" in one] == [
        "other-1"
    ]


def test_the_audit_goes_on_after_what_nobody_expected(server, monkeypatch):
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    server.call("GET", "/fhir/Patient/none")
    end, fails = threading.Event(), [ValueError("x")]
    waiting_parts = server.store.waiting_parts

    def counted() -> int:
        if fails:
            raise fails.pop()
        end.set()
        return waiting_parts()

    # In its first round after what it has taken, in the second not.
    monkeypatch.setattr(server.store, "waiting_parts", counted)
    monkeypatch.setattr(audit_job, "QUIET", -1)
    working = threading.Thread(target=drain.run, args=(end,))
    working.start()
    working.join(60)
    assert not working.is_alive()
    assert fails == []
    assert end.is_set()


def test_what_the_entries_of_a_batch_searched_for_is_kept(server):
    urls = ("Patient?identifier=urn:x|1", "Patient/none", "Observation?status=final")
    rows = [{"request": {"method": "GET", "url": url}} for url in urls]
    for kind in ("batch", "transaction"):
        bundle = {"resourceType": "Bundle", "type": kind, "entry": rows}
        assert server.call("POST", "/fhir", bundle).status_code == 200
        queries = [base64.b64decode(row["query"]) for row in events(server)[-1]["entity"] if "query" in row]
        assert queries == [b"Patient?identifier=urn%3Ax%7C1 Observation?status=final"]


def found(server, query: str) -> list[str]:
    """Search for events; returns the ids of the requests that they are of."""
    response = server.call("GET", f"/fhir/AuditEvent?{query}")
    assert response.status_code == 200
    entries = response.get_json().get("entry", [])
    return [one["resource"]["entity"][-1]["what"]["identifier"]["value"] for one in entries]


def test_who_asks_for_events_finds_all_that_happened_until_then(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT, X_Request_Id="put-p1")
    server.call("PUT", "/fhir/Observation/o1", OBSERVATION, X_Request_Id="put-o1")
    server.call("GET", "/fhir/Observation/o1", X_Request_Id="get-o1")
    server.call("GET", "/fhir/Observation/none", X_Request_Id="get-none")
    assert found(server, "patient=Patient/p1&_sort=_id&action=R") == ["get-o1"]
    assert set(found(server, "entity=Observation/o1")) == {"put-o1", "get-o1"}
    assert found(server, "outcome=4") == ["get-none"]
    assert set(found(server, "agent:identifier=urn:medchain:client|test&subtype=update")) == {"put-p1", "put-o1"}
    assert found(server, "date=lt2001-01-01") == []
    # Those of the five searches are there as well.
    assert len(found(server, "type=rest&_count=50")) == 9
    form = {"data": b"outcome=4", "content_type": "application/x-www-form-urlencoded"}
    token = server.tokens.issue("test", parse_scopes("system/AuditEvent.rs"))
    server.call("GET", "/fhir/Patient/none")
    posted = server.client.post("/fhir/AuditEvent/_search", headers={"Authorization": f"Bearer {token}"}, **form)
    assert len(posted.get_json()["entry"]) == 2
    server.call("GET", "/fhir/Patient/none")
    form["data"] = b"_type=AuditEvent&_count=50"
    posted = server.client.post("/fhir/_search", headers={"Authorization": f"Bearer {token}"}, **form)
    assert len([one for one in posted.get_json()["entry"] if one["resource"]["outcome"] == "4"]) == 3


def seen(server, path: str, scope: str = "system/*.rs") -> list[str]:
    """Ask for something; returns the ids of the requests of which there are events in the answer."""
    response = server.call("GET", f"/fhir{path}", scope=scope)
    assert response.status_code == 200, response.data
    shown = [row["resource"] for row in response.get_json().get("entry", []) if "resource" in row]
    return [one["entity"][-1]["what"]["identifier"]["value"] for one in shown if one["resourceType"] == "AuditEvent"]


ALONG = (
    "/_history?_count=99",
    "/AuditEvent/_history?_count=99",
    "?_count=99",
    "?_type=AuditEvent,Patient&_count=99",
    "/Patient/p1/*?_count=99",
    "/Patient/p1/AuditEvent",
    "/Patient?_id=p1&_revinclude=*",
    "/Patient?_id=p1&_revinclude=AuditEvent:patient",
    "/Patient?_id=p1&_revinclude:iterate=*",
    "/Patient/p1/$everything?_type=AuditEvent",
)


@pytest.mark.parametrize("path", ALONG)
def test_no_event_of_what_happened_is_missing_from_an_answer_that_may_have_some(server, path):
    server.call("PUT", "/fhir/Patient/p1", PATIENT, X_Request_Id="put-p1")
    server.call("GET", "/fhir/Patient/p1", X_Request_Id="first-look")
    assert {"put-p1", "first-look"} <= set(seen(server, path))
    server.call("GET", "/fhir/Patient/p1", X_Request_Id="second-look")
    assert "second-look" in seen(server, path)


@pytest.mark.parametrize("path", ["/$export", "/Patient/$export", "/$export?_type=AuditEvent"])
def test_an_export_has_the_events_of_all_that_happened_before_it_began(server, path):
    server.call("PUT", "/fhir/Patient/p1", PATIENT, X_Request_Id="put-p1")
    begun = server.call("GET", f"/fhir{path}", scope="system/*.rs", Prefer="respond-async")
    place = begun.headers["Content-Location"].partition("/fhir")[2]
    told = server.call("GET", f"/fhir{place}", scope="system/*.rs").get_json()
    assert [one["count"] for one in told["output"] if one["type"] == "AuditEvent"] == [1]


def test_a_look_at_what_is_new_since_the_last_look_has_each_event_once(server):
    """What is found since a time must not grow afterwards (FHIR R4 §3.1.0.12, `_since`)."""
    known: list[str] = []
    for number in range(4):
        since = instant(server.time[0])
        server.time[0] += 1
        server.call("GET", "/fhir/Patient/none", X_Request_Id=f"look-{number}")
        known += [one for one in seen(server, f"/_history?_count=99&_since={since}") if one.startswith("look")]
        server.time[0] += 1
    assert known == [f"look-{number}" for number in range(4)]


def test_what_can_have_no_events_waits_for_none(server, monkeypatch):
    monkeypatch.setattr(audit_job, "MAX_AT_ONCE", 0)
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    for path in (
        "/Patient/p1",
        "/Patient",
        "/Patient/_history",
        "/Patient/p1/_history",
        "?_type=Patient",
        "/Patient/p1/Observation",
        "/Patient/p1/*?_type=Patient,Observation",
        "/Patient?_revinclude=Observation:patient&_include=*",
        "/Patient/p1/$everything",
    ):
        assert server.call("GET", f"/fhir{path}").status_code == 200, path
    # Nor does who may see none: an application of one patient, a system of some types.
    for path in ("/_history", "?_count=9", "/Patient/p1/*", "/Patient?_id=p1&_revinclude=*"):
        assert seen(server, path, "system/Patient.rs system/Observation.rs") == []
        assert server.call("GET", f"/fhir{path}").status_code == 503


def test_a_page_that_goes_on_waits_for_nothing_newer(server, monkeypatch):
    for _ in range(4):
        server.call("GET", "/fhir/Patient/none")
    links = []
    for path in ("/fhir/AuditEvent?_count=2", "/fhir/_history?_count=2", "/fhir?_count=2"):
        (link,) = [one["url"] for one in server.call("GET", path).get_json()["link"] if one["relation"] == "next"]
        links.append(link.partition("/fhir")[2])
    monkeypatch.setattr(audit_job, "MAX_AT_ONCE", 0)
    for link in links:
        answer = server.call("GET", f"/fhir{link}")
        assert answer.status_code == 200
        assert len(answer.get_json()["entry"]) == 2


def test_an_event_is_read_by_its_id_version_and_history(server):
    server.call("GET", "/fhir/Patient/none")
    (entry,) = server.call("GET", "/fhir/AuditEvent?outcome=4").get_json()["entry"]
    address = f"/fhir/AuditEvent/{entry['resource']['id']}"
    read_one = server.call("GET", address)
    assert read_one.get_json() == entry["resource"]
    assert server.call("GET", f"{address}/_history/1").data == read_one.data
    assert server.call("GET", f"{address}/_history").get_json()["entry"][0]["resource"] == entry["resource"]
    of_type = server.call("GET", "/fhir/AuditEvent/_history?_count=50").get_json()["entry"]
    assert entry["resource"] in [one["resource"] for one in of_type]


def test_segments_are_no_resources(server):
    server.call("GET", "/fhir/Patient/none")
    server.drain()
    assert {one["resource"]["resourceType"] for one in server.call("GET", "/fhir/_history").get_json()["entry"]} == {
        "AuditEvent"
    }
    (segment, *_) = server.store.by_patient(server.service.patient_token(""), ["Segment"])
    assert server.call("GET", f"/fhir/Segment/{segment.id}").status_code == 404


def test_events_of_many_frames_have_one_anchor(server):
    for _ in range(30):
        server.call("GET", "/fhir/Patient/none")
    server.drain()
    assert len(server.store.pending(100)) == 1
    server.anchor_all(17)
    rows = server.store.by_patient(server.service.patient_token(""), ["AuditEvent"])
    assert [row.position for row in rows] == [17] * 30


def test_each_event_is_proven_alone_under_the_anchor_of_its_segment(server):
    for _ in range(3):
        server.call("GET", "/fhir/Patient/none")
    server.drain()
    _, row, _ = server.store.by_patient(server.service.patient_token(""), ["AuditEvent"])
    shown = json.loads(opening_of(server.service, row))
    content = base64.b64decode(shown["content"])
    assert json.loads(content)["id"] == row.id
    # RFC 6962 §2.1.1: from the leaf to the root, computed here in the plainest way.
    node = _tagged(b"medchain/field/v1", bytes.fromhex(shown["salt"]), shown["name"].encode(), content)
    for height, sibling in enumerate(map(bytes.fromhex, shown["siblings"])):
        pair = (sibling, node) if shown["position"] >> height & 1 else (node, sibling)
        node = _tagged(b"medchain/field-node/v1", *pair)
    assert node.hex() == shown["field_root"]
    (intent,) = server.store.pending(10)
    assert _tagged(b"medchain/record-commitment/v1", bytes.fromhex(shown["whole"]), node) == intent.commitment
    assert server.call("GET", f"/fhir/AuditEvent/{row.id}/$proof").status_code == 200
    assert server.call("GET", f"/fhir/Provenance/ledger-{row.object_id.hex()}-1").status_code == 404


def _tagged(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def test_an_event_that_was_moved_or_changed_on_the_disk_is_not_served(server):
    for _ in range(2):
        server.call("GET", "/fhir/Patient/none")
    server.drain()
    with server.store.database.write("record") as connection:
        connection.execute(text("UPDATE record SET envelope = x'00000009' WHERE type = 'AuditEvent'"))
    row, *_ = server.store.by_patient(server.service.patient_token(""), ["AuditEvent"])
    with pytest.raises(VerificationError, match=r"segment\.content"):
        server.service.open(row)
    # Rows that name no segment are not there.
    with pytest.raises(NotFoundError, match=r"record\.unknown"):
        server.service.open(replace(row, segment=1 << 40))


def test_events_are_placed_once_whoever_does_it_and_when(server):
    server.call("GET", "/fhir/Patient/none")
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    assert drain.take() == 1
    (segment,) = server.store.waiting_segments()
    assert server.store.waiting_parts() == 1
    assert drain.place() == 1
    assert (drain.place(), server.store.waiting_parts()) == (0, 0)
    with pytest.raises(ConflictError):
        server.service.place_parts(segment, lambda _event: ("AuditEvent", "another"))
    assert len(events(server)) == 1


def test_events_of_a_segment_are_placed_some_at_a_time_and_each_once_wherever_that_breaks_off(server, monkeypatch):
    monkeypatch.setattr(records, "PLACED_AT_ONCE", 4)
    for _ in range(10):
        server.call("GET", "/fhir/Patient/none")

    def drain():
        """Begin anew, as after a crash."""
        return AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)

    assert drain().take() == 10
    (segment,) = server.store.waiting_segments()
    assert (drain().place(), server.store.waiting_parts()) == (4, 6)
    # Who saw what waited before, and comes later.
    with pytest.raises(ConflictError) as refused:
        server.store.put_versions([], waiting=Waiting(segment.seq, 10))
    assert refused.value.fields["table"] == "segment"
    assert [drain().place() for _ in range(3)] == [4, 2, 0]
    assert server.store.waiting_parts() == 0
    rows = server.store.by_patient(server.service.patient_token(""), ["AuditEvent"])
    assert sorted(int.from_bytes(row.envelope, "big") for row in rows) == list(range(10))
    assert all(json.loads(server.service.open(row).content)["id"] == row.id for row in rows)


def test_the_daemon_hurries_until_who_was_told_to_wait_comes_again(server, monkeypatch):
    """Or it stops before, and he is told to wait as long once more."""
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    monkeypatch.setattr(audit_job, "QUIET", -1)
    server.call("GET", "/fhir/Patient/none")
    with monkeypatch.context() as much:
        much.setattr(server.store, "waiting_parts", lambda: audit_job.MAX_WAITING - 1)
        answer = server.call("GET", "/fhir/AuditEvent")
    assert answer.status_code == 503
    server.time[0] += int(answer.headers["Retry-After"])
    drain.round(threading.Event(), math.inf)
    assert server.store.waiting_parts() == 0


def test_who_asks_while_much_waits_is_told_when_to_come_again_and_the_daemon_hurries(server, monkeypatch):
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    monkeypatch.setattr(audit_job, "MAX_AT_ONCE", 20)
    monkeypatch.setattr(audit_job, "PLACED_A_SECOND", 10)
    monkeypatch.setattr(audit_job, "QUIET", 0)
    end = threading.Event()
    for _ in range(30):
        server.call("GET", "/fhir/Patient/none")
    drain.round(end, math.inf)
    # Nobody has asked, and it is not quiet: they wait.
    assert server.store.waiting_parts() == 30
    first = server.call("GET", "/fhir/AuditEvent")
    assert (first.status_code, first.get_json()["issue"][0]["code"]) == (503, "transient")
    # RFC 9110 §10.2.3. Thirty events at ten a second; and nothing was placed at the asker's cost.
    assert first.headers["Retry-After"] == "4"
    assert server.store.waiting_parts() == 30
    drain.round(end, math.inf)
    assert server.store.waiting_parts() == 0
    answer = server.call("GET", "/fhir/AuditEvent?_total=accurate").get_json()
    assert answer["total"] == 31
    # A minute after the last question the daemon yields to others again.
    server.time[0] += audit_job.WANTED_S
    server.call("GET", "/fhir/Patient/none")
    drain.round(end, math.inf)
    assert server.store.waiting_parts() > 0


def test_frames_that_nobody_took_for_long_are_taken_a_part_at_a_time(server, monkeypatch):
    monkeypatch.setattr(audit_job, "MAX_AT_ONCE", 20)
    monkeypatch.setattr(audit_job, "BATCH", 10)
    for _ in range(50):
        server.call("GET", "/fhir/Patient/none")
    assert server.call("GET", "/fhir/AuditEvent").status_code == 503
    assert server.store.waiting_parts() == 20


def test_what_happens_while_somebody_waits_is_waited_for_no_longer(server, monkeypatch):
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    monkeypatch.setattr(audit_job, "BATCH", 1)
    for _ in range(3):
        server.call("GET", "/fhir/Patient/none")

    def busy(*asked: object) -> object:
        server.call("GET", "/fhir/Patient/none")
        return read(*asked)

    monkeypatch.setattr(audit_job, "read", busy)
    drain.catch_up()
    assert len(server.store.by_patient(server.service.patient_token(""), ["AuditEvent"])) == 3


def test_what_happens_during_a_round_is_sealed_with_more_in_the_next(server, monkeypatch):
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    create, sealed = RecordService.create_segment, []

    def seal(service, record_id, parts, *, unit, looks):
        sealed.append(len(parts))
        if len(sealed) < 5:
            server.call("GET", "/fhir/Patient/none")
        return create(service, record_id, parts, unit=unit, looks=looks)

    monkeypatch.setattr(RecordService, "create_segment", seal)
    monkeypatch.setattr(audit_job, "QUIET", 0)
    server.call("GET", "/fhir/Patient/none")
    drain.round(threading.Event(), time.monotonic())
    assert sealed == [1]
    server.call("GET", "/fhir/Patient/none")
    drain.round(threading.Event(), time.monotonic())
    assert sealed == [1, 2]


def test_what_another_process_took_meanwhile_is_no_error(server, monkeypatch, caplog):
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    server.call("GET", "/fhir/Patient/none")
    monkeypatch.setattr(audit_job, "sizes", lambda _folder: {"0" * 32 + ".journal": 500})
    drain.catch_up()
    assert [one for one in caplog.records if one.name == "medchain.audit"] == []
    # Nor one that is removed between the list and the look at it.
    monkeypatch.setattr(journal, "names", lambda _folder: ["0" * 32 + ".journal"])
    assert journal.sizes(server.folder / "audit") == {}


@pytest.mark.parametrize(("share", "waiting"), [(0.0, 0), (audit_job.CROWDED + 0.1, 3)])
def test_more_than_a_few_events_are_placed_only_while_processors_are_free(server, monkeypatch, share, waiting):
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    monkeypatch.setattr(audit_job, "CALM", 2)
    monkeypatch.setattr(Crowding, "share", lambda _crowding: share)
    for _ in range(3):
        server.call("GET", "/fhir/Patient/none")
    drain.round(threading.Event(), math.inf)
    assert server.store.waiting_parts() == waiting
    # A few cost nobody much, and would wait for ever on a machine that always does something else.
    server.call("GET", "/fhir/Patient/none")
    drain.round(threading.Event(), math.inf)
    assert server.store.waiting_parts() == 0


def test_an_event_that_tells_of_many_versions_counts_as_several(server, monkeypatch):
    """To place it takes as long; a transaction of hundreds comes once a second while its sender has two processors."""
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    monkeypatch.setattr(audit_job, "CALM", 2)
    monkeypatch.setattr(Crowding, "share", lambda _crowding: audit_job.CROWDED + 0.1)
    row = {"resource": {"resourceType": "Basic", "code": {"text": "x"}}, "request": {"method": "POST", "url": "Basic"}}
    for many, waiting in ((audit_job.VERSIONS, 0), (2 * audit_job.VERSIONS, 1)):
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [row] * many}
        assert server.call("POST", "/fhir", bundle).status_code == 200
        drain.round(threading.Event(), math.inf)
        assert server.store.waiting_parts() == waiting


def test_placing_waits_for_a_quieter_moment_until_much_has_gathered(server, monkeypatch):
    drain = AuditDrain(server.folder, seed("records"), server.store, server.service, server.core.clock, NODE)
    end = threading.Event()
    monkeypatch.setattr(audit_job, "QUIET", 0)
    server.call("GET", "/fhir/Patient/none")
    drain.round(end, math.inf)
    assert server.store.waiting_parts() == 1
    drain.round(end, math.inf)
    assert server.store.waiting_parts() == 0
    monkeypatch.setattr(audit_job, "MAX_WAITING", 1)
    server.call("GET", "/fhir/Patient/none")
    drain.round(end, math.inf)
    assert server.store.waiting_parts() == 0
