"""Binary over HTTP: the bytes that come back are the bytes that came."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
from dataclasses import replace

import pytest

from fhir_bridge import binary
from fhir_bridge.smart.scopes import parse_scopes
from fhir_bridge.xml import parse_xml
from tests.unit.fhir_bridge.conftest import BASE_URL

PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"family": "测试"}]}
LARGE = hashlib.shake_128(b"scan").digest(3 * (1 << 20) + 1)
PDF = b"%PDF-1.7 \xff\x00 not text"


def code_of(response) -> str:
    return json.loads(response.data)["issue"][0]["details"]["coding"][0]["code"]


def post(server, body=PDF, content_type="application/pdf", **headers: str):
    return server.call("POST", "/fhir/Binary", body, Content_Type=content_type, **headers)


def path_of(response) -> str:
    assert response.status_code == 201, response.data
    return response.headers["Location"].split("/_history/")[0]


@pytest.mark.parametrize("body", [PDF, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("content_type", ["application/pdf", "image/png", "text/plain; charset=utf-8", "text/xml"])
def test_a_body_comes_back_under_its_own_type_to_the_byte(server, body, content_type):
    made = post(server, body, content_type)
    assert (made.headers["ETag"], made.headers["Medchain-Anchored"]) == ('W/"1"', "pending")
    read = server.call("GET", path_of(made))
    assert (read.data, read.headers["Content-Type"]) == (body, content_type)
    assert read.headers["Content-Length"] == str(len(body))
    assert read.headers["Content-Security-Policy"].startswith("sandbox;")
    assert "X-Security-Context" not in read.headers


@pytest.mark.parametrize("asked", ["", "return=OperationOutcome"])
def test_what_is_stored_is_told_and_not_sent_back(server, asked):
    """FHIR R4 §3.1.0.1.7: without a preference, which of the three answers comes is the server's choice."""
    made = post(server, Prefer=asked)
    assert (made.status_code, made.headers["Content-Type"]) == (201, "application/fhir+json")
    told = json.loads(made.data)
    assert told["resourceType"] == "OperationOutcome"
    assert [issue["severity"] for issue in told["issue"]] == ["information"]
    again = server.call("PUT", path_of(made), PDF, Content_Type="application/pdf", Accept="application/fhir+xml")
    assert (again.status_code, again.headers["Content-Type"]) == (200, "application/fhir+xml")
    assert b"<OperationOutcome " in again.data


def test_with_minimal_there_is_no_content_and_no_type_of_it(server):
    made = post(server, Prefer="return=minimal")
    assert (made.status_code, made.data, made.headers.get("Content-Type")) == (201, b"", None)


@pytest.mark.parametrize("body", [PDF, LARGE, b"x", b"xy", b"xyz"])
def test_the_same_is_a_resource_where_fhir_is_asked_for(server, body):
    path = path_of(post(server, body))
    for read in (
        server.call("GET", path, Accept="application/fhir+json"),
        server.call("GET", f"{path}?_format=json"),
    ):
        assert read.headers["Content-Type"] == "application/fhir+json"
        assert int(read.headers["Content-Length"]) == len(read.data)
        resource = json.loads(read.data)
        assert base64.b64decode(resource.pop("data")) == body
        assert resource == {
            "resourceType": "Binary",
            "id": path.rsplit("/", 1)[1],
            "meta": {"versionId": "1", "lastUpdated": "2026-12-01T00:00:00Z"},
            "contentType": "application/pdf",
        }


@pytest.mark.parametrize("body", [PDF, LARGE, b"x", b"xy"])
def test_it_is_a_resource_in_xml_of_a_known_size(server, body):
    path = path_of(post(server, body, "application/pdf"))
    read = server.call("GET", f"{path}?_format=xml")
    assert (read.headers["Content-Type"], int(read.headers["Content-Length"])) == (
        "application/fhir+xml",
        len(read.data),
    )
    resource = json.loads(server.call("GET", path, Accept="application/fhir+json").data)
    assert parse_xml(read.data) == resource
    assert base64.b64decode(resource["data"]) == body


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_large_one_is_whole_in_memory_in_neither_format(server, form, monkeypatch):
    """§2.40: it may be of any size; what is sent begins before all of it is open."""
    path, taken = path_of(post(server, bytes(8 << 20))), []
    opened = type(server.service).stream

    def counted(self, stored):
        found = opened(self, stored)
        return replace(found, pieces=(taken.append(len(piece)) or piece for piece in found.pieces))

    monkeypatch.setattr(type(server.service), "stream", counted)
    token = server.tokens.issue("test", parse_scopes("system/*.r"))
    answer = server.client.get(f"{path}?_format={form}", headers={"Authorization": f"Bearer {token}"}, buffered=False)
    next(answer.response)
    next(answer.response)
    assert sum(taken) < 1 << 20
    answer.close()


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/pdf"),
        ("application/pdf", "application/pdf"),
        ("application/pdf, application/fhir+json;q=0.5", "application/pdf"),
        ("application/fhir+json;q=0.5, */*", "application/pdf"),
        ("application/fhir+json;q=0, application/fhir+xml;q=0", "application/pdf"),
        ("application/pdf;q=0.5, application/fhir+xml", "application/fhir+xml"),
        ("application/fhir+json, */*;q=0.1", "application/fhir+json"),
        ("application/fhir+json, application/*;q=0.9, */*", "application/fhir+json"),
        ("application/fhir+xml, application/fhir+json", "application/fhir+xml"),
    ],
)
def test_it_is_a_resource_for_who_names_fhir_and_wants_nothing_else_more(server, accept, content_type):
    """§2.40.2: FHIR where that is asked for explicitly; RFC 9110 §12.5.1: what is wanted more comes first."""
    read = server.call("GET", path_of(post(server)), Accept=accept)
    assert (read.status_code, read.headers["Content-Type"]) == (200, content_type)


@pytest.mark.parametrize(
    ("asked", "status", "content_type"),
    [
        ("application/pdf", 200, "application/pdf"),
        ("application/fhir+json", 200, "application/fhir+json"),
        ("xml", 200, "application/fhir+xml"),
        ("text/plain", 406, "application/fhir+json"),
    ],
)
def test_its_own_type_can_be_named_as_format(server, asked, status, content_type):
    read = server.call("GET", f"{path_of(post(server))}?_format={asked}", Accept="application/fhir+json")
    assert (read.status_code, read.headers["Content-Type"]) == (status, content_type)


def test_that_no_part_of_it_can_be_asked_for_is_told(server):
    """RFC 9110 §14.3: a server without ranges may say so, and §14.2: it then passes a Range over."""
    for path in (path_of(post(server)), f"{path_of(post(server))}?_format=json"):
        read = server.call("GET", path, Range="bytes=0-3")
        assert (read.status_code, read.headers["Accept-Ranges"]) == (200, "none")
        assert len(read.data) == int(read.headers["Content-Length"]) > 4


@pytest.mark.parametrize("way", ["field", "resource"])
def test_a_security_context_with_this_nodes_own_address_is_the_record_here(server, way):
    """§2.3.0.1: an absolute reference below the server's own base is to its own record."""
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"})
    place = f"{BASE_URL}/Patient/p1"
    given = {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}
    made = (
        post(server, X_Security_Context=place)
        if way == "field"
        else post(server, given | {"securityContext": {"reference": place}}, "application/fhir+json")
    )
    assert server.call("GET", path_of(made)).headers["X-Security-Context"] == "Patient/p1"
    stored = server.store.get("Binary", path_of(made).rsplit("/", 1)[1])
    assert stored.patient == server.service.patient_token("p1")


@pytest.mark.parametrize("body", [PDF, LARGE], ids=["small", "large"])
def test_a_binary_that_comes_as_resource_is_kept_as_its_bytes_and_its_elements(server, body):
    given = {
        "resourceType": "Binary",
        "meta": {"tag": [{"system": "urn:x", "code": "t"}]},
        "language": "zh",
        "contentType": "application/pdf",
        "data": base64.b64encode(body).decode(),
    }
    path = path_of(post(server, json.dumps(given).encode(), "application/fhir+json"))
    assert server.call("GET", path).data == body
    resource = json.loads(server.call("GET", path, Accept="application/fhir+json").data)
    assert resource["meta"]["tag"] == given["meta"]["tag"]
    assert {name: resource[name] for name in ("language", "contentType", "data")} == {
        name: given[name] for name in ("language", "contentType", "data")
    }


@pytest.mark.parametrize("content_type", ["application/fhir+json", "application/json"])
@pytest.mark.parametrize("body", [b'{"resourceType":"Patient"}', b'{"a":1,"a":2}', b"[1]", b"no json"])
def test_what_comes_as_fhir_and_is_no_binary_is_content_as_well(server, body, content_type):
    # FHIR R4 §2.40.2: accepted as is, "including when the content type is application/fhir+json".
    read = server.call("GET", path_of(post(server, body, content_type)))
    assert (read.data, read.headers["Content-Type"]) == (body, content_type)


@pytest.mark.parametrize(
    ("given", "code", "status"),
    [
        ({"contentType": "application/pdf", "data": "!!!!"}, "resource.value", 422),
        ({"contentType": "application/pdf"}, "binary.data", 400),
        ({"contentType": "application/pdf", "data": "abc"}, "resource.value", 422),
        ({"contentType": "no type", "data": "YWJj"}, "resource.code", 422),
        ({"data": "YWJj"}, "resource.required", 422),
    ],
)
def test_a_binary_resource_that_is_malformed_is_refused(server, given, code, status):
    response = post(server, json.dumps({"resourceType": "Binary", **given}).encode(), "application/fhir+json")
    assert (response.status_code, code_of(response)) == (status, code)
    assert server.store.count() == 0


@pytest.mark.parametrize("content_type", ["pdf", "a/b/c", "text/plain; x", "text/plain\x00", "a/" + "b" * 100])
def test_a_type_that_is_none_is_refused(server, content_type):
    response = server.client.post(
        "/fhir/Binary",
        data=PDF,
        headers={"Authorization": f"Bearer {token(server)}"},
        environ_overrides={"CONTENT_TYPE": content_type},
    )
    assert (response.status_code, code_of(response)) == (400, "binary.content_type")


def token(server) -> str:
    return server.tokens.issue("test", parse_scopes("system/*.cru"))


def test_a_body_that_comes_packed_is_kept_as_what_it_is(server):
    """RFC 9110 §8.4: the coding is one of the message, and the type is that of what is packed."""
    read = server.call("GET", path_of(post(server, gzip.compress(LARGE), Content_Encoding="gzip")))
    assert (read.data, read.headers["Content-Type"]) == (LARGE, "application/pdf")
    assert server.call("GET", path_of(post(server, LARGE, Content_Encoding="identity"))).data == LARGE


def test_a_body_that_is_packed_in_another_way_or_unpacks_without_end_is_refused(server, monkeypatch):
    count = server.store.count()
    for body, encoding in ((LARGE, "br"), (LARGE, "gzip"), (gzip.compress(LARGE)[:-9], "gzip")):
        refused = post(server, body, Content_Encoding=encoding)
        assert (refused.status_code, code_of(refused)) == (415, "request.encoding")
    monkeypatch.setattr(server.front, "max_bytes", 1 << 20)
    refused = post(server, gzip.compress(bytes(1 << 21)), Content_Encoding="gzip")
    assert (refused.status_code, code_of(refused)) == (413, "request.too_large")
    assert server.store.count() == count


def test_a_body_that_says_nothing_of_its_type_is_octets(server):
    response = server.client.post("/fhir/Binary", data=PDF, headers={"Authorization": f"Bearer {token(server)}"})
    assert server.call("GET", path_of(response)).headers["Content-Type"] == "application/octet-stream"


def test_an_empty_body_is_refused(server):
    assert code_of(post(server, b"")) == "record.content"


def test_a_security_context_says_under_whose_key_it_falls_and_is_told_again(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    observation = {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
    }
    server.call("PUT", "/fhir/Observation/o1", observation)
    token_of = server.service.patient_token("p1")
    for about in ("Patient/p1", "Observation/o1", "Patient/p1/_history/1"):
        path = path_of(post(server, X_Security_Context=about))
        stored = server.store.get("Binary", path.rsplit("/", 1)[1])
        assert stored.patient == token_of
        assert server.call("GET", path).headers["X-Security-Context"] == about
        resource = json.loads(server.call("GET", path, Accept="application/fhir+json").data)
        assert resource["securityContext"] == {"reference": about}
    assert server.store.get("Binary", path_of(post(server)).rsplit("/", 1)[1]).patient != token_of


@pytest.mark.parametrize("about", ["Patient/other", "http://example.org/Patient/p1", "p1", "patient/p1"])
def test_a_security_context_that_is_not_here_is_refused(server, about):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    response = post(server, X_Security_Context=about)
    assert (response.status_code, code_of(response)) == (400, "binary.security_context")


def test_a_create_with_a_condition_stores_nothing_where_it_finds_one(server):
    """FHIR R4 §3.1.0.8.1 (conditional create) holds for Binary as for any type."""
    made = server.call("POST", "/fhir/Binary", b"one", Content_Type="text/plain")
    name = made.headers["Location"].split("/")[-3]
    again = server.call("POST", "/fhir/Binary", b"two", Content_Type="text/plain", If_None_Exist=f"_id={name}")
    assert (again.status_code, again.headers["Location"], again.data) == (200, made.headers["Location"], b"one")
    fresh = server.call("POST", "/fhir/Binary", b"two", Content_Type="text/plain", If_None_Exist="_id=none")
    assert fresh.status_code == 201
    assert server.store.count() == 2


def test_an_update_by_a_condition_changes_the_one_it_finds_or_stores_a_new_one(server):
    """FHIR R4 §3.1.0.4.3 (conditional update), as bytes and as a resource; what comes back says what it is."""
    made = server.call("PUT", "/fhir/Binary?_id=none", b"one", Content_Type="text/plain")
    path = path_of(made)
    name = path.rsplit("/", 1)[1]
    assert json.loads(made.data)["resourceType"] == "OperationOutcome"
    again = server.call("PUT", f"/fhir/Binary?_id={name}", b"two", Content_Type="text/plain", If_Match='W/"1"')
    assert (again.status_code, again.headers["ETag"], server.call("GET", path).data) == (200, 'W/"2"', b"two")
    given = {"resourceType": "Binary", "contentType": "text/plain", "data": base64.b64encode(b"three").decode()}
    asked = f"/fhir/Binary?_id={name}"
    whole = server.call("PUT", asked, given, Prefer="return=representation", Accept="application/fhir+json")
    assert (whole.status_code, json.loads(whole.data)["data"]) == (200, given["data"])
    assert server.call("GET", path).data == b"three"
    assert server.call("PUT", asked, b"four", Content_Type="text/plain", If_Match='W/"1"').status_code == 412
    assert code_of(server.call("PUT", asked, given | {"id": "other"})) == "resource.id"
    assert code_of(server.call("PUT", "/fhir/Binary", b"four", Content_Type="text/plain")) == "search.condition"


def test_attack_an_update_by_a_condition_puts_a_binary_beside_its_patients_key(server):
    """Or an erasure would miss it."""
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    subject = {"subject": {"reference": "Patient/p1"}}
    observation = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}} | subject
    server.call("PUT", "/fhir/Observation/o1", observation)
    given = {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}
    about = {"securityContext": {"reference": "Observation/o1"}}
    made = server.call("PUT", "/fhir/Binary?_id=none", given | about)
    stored = server.store.get("Binary", path_of(made).rsplit("/", 1)[1])
    assert stored.patient == server.service.patient_token("p1")
    about = {"securityContext": {"reference": "Observation/none"}}
    assert code_of(server.call("PUT", "/fhir/Binary?_id=none", given | about)) == "binary.security_context"


def test_versions_follow_one_another_and_each_can_be_read(server):
    path = path_of(post(server))
    record_id = path.rsplit("/", 1)[1]
    changed = server.call("PUT", path, LARGE, Content_Type="image/tiff", If_Match='W/"1"')
    assert (changed.status_code, changed.headers["ETag"]) == (200, 'W/"2"')
    assert server.call("PUT", path, PDF, Content_Type="image/tiff", If_Match='W/"1"').status_code == 412
    assert server.call("GET", path).data == LARGE
    assert server.call("GET", f"{path}/_history/1").data == PDF
    assert server.call("GET", path, If_None_Match='W/"2"').status_code == 304
    given = {"resourceType": "Binary", "id": "other", "contentType": "a/b", "data": "YWJj"}
    body = json.dumps(given).encode()
    assert code_of(server.call("PUT", path, body, Content_Type="application/fhir+json")) == "resource.id"
    body = json.dumps(given | {"id": record_id}).encode()
    assert server.call("PUT", path, body, Content_Type="application/fhir+json").status_code == 200
    assert server.call("PUT", "/fhir/Binary/mine", PDF, Content_Type="a/b").status_code == 201
    assert code_of(server.call("PUT", "/fhir/Binary/_x", PDF, Content_Type="a/b")) == "resource.id"


def test_two_updates_at_once_do_not_both_win(server, monkeypatch):
    path = path_of(post(server))
    real = server.store.get("Binary", path.rsplit("/", 1)[1])
    server.call("PUT", path, PDF, Content_Type="a/b")
    monkeypatch.setattr(type(server.store), "get", lambda *_arguments: real)
    assert server.call("PUT", path, PDF, Content_Type="a/b").status_code == 412


def test_a_representation_is_sent_where_it_is_asked_for(server):
    assert post(server, Prefer="return=representation").data == PDF


def test_who_may_not_is_told_before_a_byte_is_read(server):
    for method, path, scope, status in (
        ("POST", "/fhir/Binary", "system/Patient.c", 403),
        ("PUT", "/fhir/Binary/x", "system/*.c", 403),
        ("GET", path_of(post(server)), "system/Patient.r", 404),
    ):
        assert server.call(method, path, PDF, scope=scope, Content_Type="a/b").status_code == status
    assert server.client.post("/fhir/Binary", data=PDF).status_code == 401


def test_a_body_above_the_limit_is_refused_and_nothing_stays(server, monkeypatch):
    monkeypatch.setattr(binary, "MAX_BYTES", 1 << 20)
    assert post(server, LARGE).status_code == 413
    assert (server.store.count(), server.store.sweep_blobs()) == (0, 0)


def test_a_body_of_unknown_length_is_taken_and_one_that_breaks_off_is_not(server):
    headers = {"Authorization": f"Bearer {token(server)}", "Content-Type": "image/png", "Transfer-Encoding": "chunked"}
    made = server.client.post(
        "/fhir/Binary",
        input_stream=io.BytesIO(LARGE),
        headers=headers,
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert server.call("GET", path_of(made)).data == LARGE
    count = server.store.count()
    headers = {"Authorization": f"Bearer {token(server)}", "Content-Type": "image/png"}
    broken = server.client.post(
        "/fhir/Binary",
        input_stream=io.BytesIO(LARGE),
        headers=headers,
        environ_overrides={"CONTENT_LENGTH": str(len(LARGE) + 1)},
    )
    assert broken.status_code == 400
    assert server.store.count() == count


def test_a_binary_in_a_transaction_is_stored_as_its_bytes(server):
    given = {"resourceType": "Binary", "contentType": "image/png", "data": base64.b64encode(LARGE).decode()}
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": "urn:uuid:1", "resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p1"}},
            {
                "resource": given | {"securityContext": {"reference": "Patient/p1"}},
                "request": {"method": "POST", "url": "Binary"},
            },
        ],
    }
    answer = json.loads(server.call("POST", "/fhir", bundle).data)
    path = "/fhir/" + answer["entry"][1]["response"]["location"].split("/_history/")[0]
    read = server.call("GET", path)
    assert (read.data, read.headers["X-Security-Context"]) == (LARGE, "Patient/p1")
    assert server.store.get("Binary", path.rsplit("/", 1)[1]).patient == server.service.patient_token("p1")


def test_a_deleted_binary_is_created_by_an_update(server):
    """FHIR R4 §3.1.0.4, §3.1.0.7."""

    def put(**more: str) -> int:
        return server.call("PUT", "/fhir/Binary/mine", b"bytes", Content_Type="text/plain", **more).status_code

    assert (put(), put()) == (201, 200)
    server.call("DELETE", "/fhir/Binary/mine")
    assert put(If_None_Match="*") == 201
    assert put(If_None_Match="*") == 412


def test_an_erased_or_deleted_binary_is_gone(server):
    path = path_of(post(server, LARGE))
    record_id = path.rsplit("/", 1)[1]
    stored = server.service.delete("Binary", record_id)
    assert code_of(server.call("GET", path)) == "record.deleted"
    server.store.erase(stored.epoch_id, 1)
    assert server.call("GET", f"{path}/_history/1").status_code == 410


@pytest.mark.parametrize(("method", "name"), [("POST", "Binary"), ("PUT", "Binary/mine")])
def test_an_entry_of_a_batch_is_a_binary_as_a_request_of_its_own_is(server, method, name):
    """FHIR R4 §3.1.0.11.2; what is told of a write is the entry's response.outcome (Bundle.entry.response.outcome)."""
    given = {"resourceType": "Binary", "id": "mine", "contentType": "text/plain", "data": "YWJj"}
    row = {"resource": given, "request": {"method": method, "url": name}}
    answer = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "batch", "entry": [row]})
    (entry,) = json.loads(answer.data)["entry"]
    assert (entry["response"]["status"], "resource" in entry) == ("201 Created", False)
    assert [issue["severity"] for issue in entry["response"]["outcome"]["issue"]] == ["information"]
    stored = server.call("GET", "/fhir/" + entry["response"]["location"])
    assert (stored.data, stored.headers["Content-Type"]) == (b"abc", "text/plain")
