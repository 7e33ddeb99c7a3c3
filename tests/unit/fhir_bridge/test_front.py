"""The web front against clients that are slow, hostile or break off (RFC 9110, PEP 3333)."""

from __future__ import annotations

import io
import json
import threading
from contextlib import ExitStack

import pytest
from werkzeug.test import create_environ

from fhir_bridge.rest import front
from fhir_bridge.rest.front import Arriving, read_body
from fhir_bridge.smart.scopes import parse_scopes
from medchain.errors import InputError, UnavailableError
from medchain.store.steps import ONLY_THREAD, finished
from medchain.web.gateway import REFUSAL
from medchain.web.incoming import Incoming

PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": "1"}]}


def body(stream, length: str | None = None, limit: int = 1000, **fields: str) -> bytes:
    environ = {"wsgi.input": stream} | fields
    return read_body(environ if length is None else environ | {"CONTENT_LENGTH": length}, limit)


def test_a_body_is_read_whole_with_and_without_a_length():
    assert body(io.BytesIO(b"abc"), "3") == b"abc"
    assert body(io.BytesIO(b"abc")) == b"abc"
    assert body(io.BytesIO(b"abcdef"), "3") == b"abc"
    assert body(io.BytesIO(b""), "0") == b""


@pytest.mark.parametrize(
    ("stream", "length", "code"),
    [
        (io.BytesIO(b"x" * 1001), "1001", "request.too_large"),
        (io.BytesIO(b"x" * 1001), None, "request.too_large"),
        (io.BytesIO(b"abc"), "5", "request.length"),
    ],
)
def test_a_body_that_is_too_large_or_breaks_off_is_refused(stream, length, code):
    with pytest.raises(InputError, match=code.replace(".", r"\.")):
        body(stream, length)


def test_slow_bodies_of_all_clients_together_leave_threads_for_who_reads(monkeypatch):
    monkeypatch.setattr(front, "BUSY_S", 0.05)
    arriving = Arriving(4)
    with ExitStack() as stack:
        for client in ("a", "a", "a", "a", "b", "b"):
            stack.enter_context(arriving.one(client))
        with pytest.raises(UnavailableError, match=r"request\.busy"):
            stack.enter_context(arriving.one("c"))
    with arriving.one("c"):
        pass


def test_forms_with_files_of_the_pages_leave_threads_for_who_reads(monkeypatch):
    monkeypatch.setattr(front, "BUSY_S", 0.05)
    told = []

    def page(environ, _start) -> tuple[bytes, ...]:
        told.append(environ.get(REFUSAL))
        if len(told) == 1:
            # While the first still comes.
            door({"PATH_INFO": "/files", "wsgi.input": Incoming(None, None)}, None)
        return (b"",)

    door = front.Front(None, page, bodies=1, takes_files=lambda path: path == "/files")
    door({"PATH_INFO": "/files", "wsgi.input": Incoming(None, None)}, None)
    assert told[0] is None
    assert told[1].code == "request.busy"
    # What is small has come already.
    door({"PATH_INFO": "/files", "wsgi.input": io.BytesIO()}, None)
    assert told[2] is None


def test_no_client_holds_more_threads_with_slow_bodies_than_it_may(monkeypatch):
    monkeypatch.setattr(front, "BUSY_S", 0.05)
    arriving, let, begun = Arriving(2), threading.Event(), threading.Barrier(3)

    def slow() -> None:
        with arriving.one("slow"):
            begun.wait()
            let.wait()

    threads = [threading.Thread(target=slow) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    with pytest.raises(UnavailableError, match=r"request\.busy"), arriving.one("slow"):
        pass
    with arriving.one("other"):
        pass
    let.set()
    for thread in threads:
        thread.join()
    with arriving.one("slow"):
        pass


def test_of_a_stranger_no_body_is_read(server):
    class Never:
        def read(self, _size: int = -1, /) -> bytes:
            raise AssertionError

    told: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/fhir/Patient",
        "CONTENT_TYPE": "application/fhir+json",
        "CONTENT_LENGTH": "10",
        "wsgi.input": Never(),
    }
    answered = b"".join(server.front(environ, lambda status, _headers: told.append(status)))
    assert told == ["401 Unauthorized"]
    assert b"token.missing" in answered


@pytest.mark.parametrize(
    ("path", "said"), [("/fhir/Patient/p", b"OperationOutcome"), ("/token", b'"code":"request.busy"')]
)
def test_what_the_door_refuses_is_told_in_the_words_of_the_place(server, path, said):
    told: list[str] = []
    environ = create_environ(path) | {REFUSAL: UnavailableError("request.busy")}
    answered = b"".join(
        server.front(environ, lambda status, headers: told.extend((status, dict(headers)["Retry-After"])))
    )
    assert [word.lower() for word in told] == ["503 service unavailable", "1"]
    assert said in answered


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Patient/a", ""), ("Patient/b", "")),
        (("Observation", "code=a&date=ge1"), ("Observation", "code=b&date=2")),
        (("Patient/a/_history/1", ""), ("Patient/b/_history/2", "")),
    ],
)
def test_reads_of_one_kind_differ_in_values_only(server, one, other):
    def kind(address: tuple[str, str], method: str = "GET"):
        return server.front.kind_of(
            {"REQUEST_METHOD": method, "PATH_INFO": f"/fhir/{address[0]}", "QUERY_STRING": address[1]}
        )

    assert kind(one) == kind(other)
    assert kind(one) != kind((one[0], "_summary=true"))
    assert kind(one, "POST") is None
    assert server.front.kind_of({"REQUEST_METHOD": "GET", "PATH_INFO": "/token", "QUERY_STRING": ""}) is None


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("Provenance", "target=Patient/a"),
        ("Provenance/a", ""),
        ("Patient/a/Provenance", ""),
        ("Patient", "_id=a&_revinclude=Provenance:target"),
        ("Patient", "_id=a&_revinclude:iterate=Provenance:target"),
        ("Patient", "_id=a&_rev%69nclude=Provenance:target"),
        ("Patient/a/$proof", ""),
        ("Patient/a/$everything", ""),
        ("$export-status/a", ""),
        ("Patient", "_custodian=other"),
    ],
)
def test_no_event_loop_waits_for_another_process(server, path, query):
    """A daemon that hangs would hold all requests of a web worker, for a moment that costs no time of its processor."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/fhir/{path}", "QUERY_STRING": query}
    assert server.front.kind_of(environ) is None


def created(server, **fields: str) -> dict:
    """Make the environment of a create."""
    content = json.dumps(PATIENT).encode()
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/fhir/Patient",
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/fhir+json",
        "CONTENT_LENGTH": str(len(content)),
        "HTTP_AUTHORIZATION": f"Bearer {server.tokens.issue('test', parse_scopes('system/*.cruds'))}",
        "wsgi.input": io.BytesIO(content),
        **fields,
    }


def test_creates_of_one_kind_are_of_a_type_and_about_a_size(server):
    def kind(**fields: str):
        return server.front.kind_of(created(server, **fields))

    assert kind() is not None
    assert kind(CONTENT_LENGTH="1025") == kind(CONTENT_LENGTH="2000") != kind(CONTENT_LENGTH="8000")
    assert kind(PATH_INFO="/fhir/Observation") != kind()


@pytest.mark.parametrize(
    "fields",
    [
        {"PATH_INFO": "/fhir/Binary"},
        {"PATH_INFO": "/fhir/DocumentReference"},
        {"PATH_INFO": "/fhir"},
        {"PATH_INFO": "/fhir/Patient/_search"},
        {"HTTP_IF_NONE_EXIST": "identifier=1"},
        {"HTTP_PREFER": "wait=5"},
        # A packed body of 7 kB held the loop for nine seconds.
        {"HTTP_CONTENT_ENCODING": "gzip"},
        # What is large may cost ten times as much as others of its size; what says no length may be large.
        {"CONTENT_LENGTH": "8193"},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "٣"},
        {"QUERY_STRING": "identifier=1"},
        {"REQUEST_METHOD": "PUT", "PATH_INFO": "/fhir/Patient/a"},
    ],
)
def test_what_looks_up_or_waits_for_more_than_it_is_stored_is_of_no_kind(server, fields):
    assert server.front.kind_of(created(server, **fields)) is None


def test_a_create_holds_nothing_while_it_waits_and_is_kept_by_the_audit_once_it_is_stored(server):
    told: list[tuple] = []
    steps = server.front.in_steps(created(server), lambda *head: told.append(head))
    wait = next(steps)
    # All that others do meanwhile goes on; so does what wants the same id, which comes first.
    first = server.call("POST", "/fhir/Patient", PATIENT)
    assert (first.status_code, server.store.count("Patient"), told) == (201, 1, [])
    # Its key and its id are taken: another attempt comes after a pause, for which no event loop stands still.
    while wait is not ONLY_THREAD:
        wait.now()
        wait = next(steps)
    body = b"".join(finished(steps))
    ((status, headers),) = told
    assert (status, server.store.count("Patient")) == ("201 Created", 2)
    assert json.loads(body)["id"] != first.get_json()["id"]
    assert dict(headers)["ETag"] == 'W/"1"'
    assert server.drain() == 2


def test_what_is_refused_waits_for_nothing(server):
    told: list[tuple] = []
    steps = server.front.in_steps(created(server, HTTP_AUTHORIZATION=""), lambda *head: told.append(head))
    with pytest.raises(StopIteration):
        next(steps)
    assert [status for status, _ in told] == ["401 Unauthorized"]


def test_a_request_id_is_taken_if_it_is_one(server):
    assert server.call("GET", "/fhir/Patient/p", X_Request_Id="abc-1").headers["X-Request-Id"] == "abc-1"
    for given in ("x" * 65, "a b", "<script>", "0123456789abcdef"):
        assert server.call("GET", "/fhir/Patient/p", X_Request_Id=given).headers["X-Request-Id"] != given


def test_a_request_id_that_a_client_chose_is_in_no_log(server, caplog):
    # It may be a patient's number; one of 16 digits would look like an id of the node's own.
    caplog.set_level("INFO", "medchain")
    for given in ("BH100074", "6222020200112233", ""):
        assert server.call("GET", "/fhir/Patient/none", X_Request_Id=given).status_code == 404
    named = [record.fields["request"] for record in caplog.records if record.message == "request.refused"]
    assert [len(one) for one in named] == [0, 16, 16]
    assert not {"BH100074", "6222020200112233"} & set(named)


def test_what_must_not_happen_is_answered_without_its_text(server, monkeypatch):
    def broken(*_arguments: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(type(server.core.reader), "find", broken)
    response = server.call("GET", "/fhir/Patient/p1")
    assert (response.status_code, b"secret" in response.data) == (500, False)
    assert b'"internal"' in response.data


def put(server, token: str, number: int, **fields: str) -> str:
    """Send one update through the front, as a thread of the server would; returns its status."""
    told: list[str] = []
    content = b'{"resourceType":"Basic","id":"b1","code":{"text":"%d"}}' % number
    environ = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/fhir/Basic/b1",
        "CONTENT_TYPE": "application/fhir+json",
        "CONTENT_LENGTH": str(len(content)),
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "wsgi.input": io.BytesIO(content),
    }
    server.front(environ | fields, lambda status, _headers: told.append(status[:3]))
    return told[0]


@pytest.mark.parametrize("fields", [{}, {"HTTP_IF_MATCH": 'W/"1"'}])
def test_of_writers_at_once_no_update_is_lost_unsaid(server, monkeypatch, fields):
    """Each update that was answered as done is a version; with If-Match one is, and the others are told."""
    monkeypatch.setattr("fhir_bridge.rest.again.PATIENCE_S", 600)
    token = server.tokens.issue("test", parse_scopes("system/*.cruds"))
    assert put(server, token, 0) == "201"
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda number=number: answers.append(put(server, token, number, **fields)))
        for number in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {"200", "412"}
    assert len(server.store.history("Basic", "b1")) == 1 + answers.count("200")
    assert answers.count("200") == 1 if fields else answers.count("200") >= 1
