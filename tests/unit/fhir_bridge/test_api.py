"""The REST API, from outside, over real records."""

from __future__ import annotations

import io
import json
import threading
import zipfile

import pytest

from fhir_bridge.references import Resolver
from fhir_bridge.rest.again import MOST
from fhir_bridge.smart.scopes import parse_scopes
from medchain.errors import ConflictError
from medchain.store.steps import finished
from tests.unit.fhir_bridge.conftest import BASE_URL, ORIGIN

PATIENT = {"resourceType": "Patient", "name": [{"family": "测试"}]}
OBSERVATION = (
    b'{"resourceType": "Observation", "status": "final", "code": {"text": "weight"},\n'
    b' "valueQuantity": {"value": 5.60, "unit": "kg"}, "referenceRange": [{"high": {"value": 1.20E+4}}]}'
)


def code_of(response) -> str:
    return json.loads(response.data)["issue"][0]["details"]["coding"][0]["code"]


def created(server, body=PATIENT) -> str:
    kind = body["resourceType"] if isinstance(body, dict) else "Observation"
    response = server.call("POST", f"/fhir/{kind}", body)
    assert response.status_code == 201, response.data
    return response.headers["Location"].split("/_history/")[0].removeprefix(ORIGIN)


def test_what_is_created_can_be_read_with_the_same_bytes(server):
    made = server.call("POST", "/fhir/Patient", PATIENT)
    read = server.call("GET", made.headers["Location"].split("/_history/")[0])
    assert read.status_code == 200
    assert read.data == made.data
    assert read.headers["Content-Type"] == "application/fhir+json"
    assert read.headers["ETag"] == 'W/"1"'
    assert read.headers["Last-Modified"] == "Tue, 01 Dec 2026 00:00:00 GMT"


def test_numbers_are_kept_to_the_letter(server):
    read = server.call("GET", created(server, OBSERVATION))
    assert b'"value":5.60,' in read.data
    assert b'"value":1.20E+4}' in read.data


def test_a_reference_with_the_nodes_own_address_is_to_its_own_record(server):
    # §3.1.1.4.12: an absolute URL below the server's base means the same as the relative reference.
    patient = created(server)
    own = f"{server.core.base_url}{patient.removeprefix('/fhir')}"
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}}
    path = created(server, observation | {"subject": {"reference": own}})
    there = {"reference": own.replace(server.core.base_url, "https://elsewhere.example/fhir")}
    stranger = created(server, observation | {"subject": there})
    assert json.loads(server.call("GET", path).data)["subject"] == {"reference": patient.removeprefix("/fhir/")}
    assert json.loads(server.call("GET", stranger).data)["subject"] == there
    found = json.loads(server.call("GET", f"/fhir/Observation?subject={own}").data)
    assert [row["resource"]["id"] for row in found["entry"]] == [path.rsplit("/", 1)[1]]
    # Whose it is decides which key it is sealed under, and so what consent holds for it and what an erasure destroys.
    held = [server.core.reader.find(*one.split("/")[-2:]).stored.patient for one in (patient, path, stranger)]
    assert held[0] == held[1] != held[2]


def test_id_version_and_time_are_set_and_the_rest_of_meta_is_kept(server):
    body = PATIENT | {"id": "mine", "meta": {"versionId": "99", "profile": ["http://example.org/p"]}}
    made = json.loads(server.call("POST", "/fhir/Patient", body).data)
    assert made["id"] != "mine"
    assert made["meta"] == {
        "versionId": "1",
        "profile": ["http://example.org/p"],
        "lastUpdated": "2026-12-01T00:00:00Z",
    }


def test_an_update_makes_the_next_version_and_the_old_one_stays(server):
    path = created(server)
    record_id = path.rsplit("/", 1)[1]
    changed = PATIENT | {"id": record_id, "active": True}
    made = server.call("PUT", path, changed, If_Match='W/"1"')
    assert (made.status_code, made.headers["ETag"]) == (200, 'W/"2"')
    assert b"active" not in server.call("GET", f"{path}/_history/1").data
    assert b"active" in server.call("GET", path).data


def test_an_update_of_a_version_that_is_not_the_newest_is_refused(server):
    path = created(server)
    response = server.call("PUT", path, PATIENT | {"id": path.rsplit("/", 1)[1]}, If_Match='W/"7"')
    assert (response.status_code, code_of(response)) == (412, "record.version")


def test_an_update_may_create_under_the_id_of_its_sender(server):
    response = server.call("PUT", "/fhir/Patient/p-1", PATIENT | {"id": "p-1"})
    assert (response.status_code, response.headers["Location"]) == (201, f"{BASE_URL}/Patient/p-1/_history/1")


@pytest.mark.parametrize("record_id", [None, "p-2"])
def test_an_update_whose_id_is_not_that_of_its_path_is_refused(server, record_id):
    body = PATIENT if record_id is None else PATIENT | {"id": record_id}
    response = server.call("PUT", "/fhir/Patient/p-1", body)
    assert (response.status_code, code_of(response)) == (400, "resource.id")


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b'{"resourceType":"Patient","active":true,"active":false}', "document.duplicate", 400),
        (b'{"resourceType":"Patient","x":NaN}', "document.number", 400),
        (b'{"resourceType":"Patient"', "document.not_json", 400),
        (b"[]", "document.not_object", 400),
        (b'{"resourceType":"Patient","x":' + b"[" * 64 + b"]" * 64 + b"}", "document.depth", 400),
        (b'{"resourceType":"Patient","x":' + b"[" * 100_000, "document.depth", 400),
        (b'{"resourceType":"Patient","birthDate":"19"}', "resource.value", 422),
        (b'{"resourceType":"Patient","unknown":1}', "resource.unknown_element", 422),
        (b'{"resourceType":"Patient","active":"true"}', "resource.value", 422),
        (b'{"resourceType":"Observation"}', "resource.type", 400),
    ],
)
def test_what_is_malformed_is_refused_with_its_code(server, body, code, status):
    response = server.call("POST", "/fhir/Patient", body)
    assert (response.status_code, code_of(response)) == (status, code)
    assert server.store.count() == 0


@pytest.mark.parametrize("type_name", ["Nonsense", "HumanName", "Parameters", "DomainResource", "Citation", "patient"])
def test_a_type_that_is_not_stored_is_refused(server, type_name):
    response = server.call("POST", f"/fhir/{type_name}", {"resourceType": type_name})
    assert (response.status_code, code_of(response)) == (404, "route.type")
    assert server.store.count() == 0


def test_an_error_does_not_repeat_names_that_the_sender_made_up(server):
    response = server.call("POST", "/fhir/Patient", {"resourceType": "Patient", "contact": [{"WangFang": 1}]})
    assert code_of(response) == "resource.unknown_element"
    assert b"WangFang" not in response.data
    assert json.loads(response.data)["issue"][0]["expression"] == ["Patient.contact[0]"]


def test_a_conditional_create_that_another_one_overtook_finds_what_that_one_made(server, monkeypatch):
    body = PATIENT | {"identifier": [{"system": "urn:x", "value": "7"}]}
    real = server.service.creating_many

    def overtaken(_self: object, records, **more: object):
        finished(real(records, **more))
        return real(records, **more)

    monkeypatch.setattr(type(server.service), "creating_many", overtaken)
    response = server.call("POST", "/fhir/Patient", body, If_None_Exist="identifier=urn:x|7")
    assert (response.status_code, response.headers["ETag"]) == (200, 'W/"1"')
    assert server.store.count() == 1


KNOWN = PATIENT | {"identifier": [{"system": "urn:x", "value": "7"}, {"value": "bare"}]}


@pytest.mark.parametrize("condition", ["urn:x|7", "7", "|bare", "bare"])
def test_a_record_stored_under_an_id_of_its_sender_is_found_by_its_identifiers(server, condition):
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    changed = server.call("PUT", f"/fhir/Patient?identifier={condition}", KNOWN | {"active": True})
    assert (changed.status_code, changed.headers["Location"]) == (200, f"{BASE_URL}/Patient/mine/_history/2")
    assert json.loads(changed.data)["active"] is True
    again = server.call("POST", "/fhir/Patient", KNOWN, If_None_Exist=f"identifier={condition}")
    assert (again.status_code, again.headers["Location"]) == (200, f"{BASE_URL}/Patient/mine/_history/2")


@pytest.mark.parametrize("condition", ["urn:x|8", "|7", "urn:y|7", "8"])
def test_another_identifier_finds_nothing_and_an_update_creates(server, condition):
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    made = server.call("PUT", f"/fhir/Patient?identifier={condition}", PATIENT)
    assert made.status_code == 201
    assert "/mine/" not in made.headers["Location"]
    named = server.call("PUT", f"/fhir/Patient?identifier={condition}", PATIENT | {"id": "other"})
    assert (named.status_code, named.headers["Location"]) == (201, f"{BASE_URL}/Patient/other/_history/1")


@pytest.mark.parametrize("way", ["PUT", "transaction"])
def test_a_conditional_update_that_finds_nothing_overwrites_no_record_of_its_id(server, way):
    """§3.1.0.4.3 has it be an update as create, which is of an id that nothing has; R5 says that it is 409."""
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    address, other = "Patient?identifier=urn:x|8", {"resourceType": "Patient", "id": "mine", "gender": "male"}

    def update():
        if way == "PUT":
            return server.call("PUT", f"/fhir/{address}", other)
        entry = {"resource": other, "request": {"method": "PUT", "url": address}}
        return server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})

    response = update()
    assert (response.status_code, code_of(response)) == (409, "record.taken")
    assert json.loads(server.call("GET", "/fhir/Patient/mine").data)["meta"]["versionId"] == "1"
    # What is deleted is there no more.
    server.call("DELETE", "/fhir/Patient/mine")
    assert update().status_code == (201 if way == "PUT" else 200)
    assert json.loads(server.call("GET", "/fhir/Patient/mine").data)["gender"] == "male"


@pytest.mark.parametrize("way", ["PUT", "condition", "transaction", "batch", "patch"])
def test_a_part_that_is_sent_back_does_not_take_the_place_of_the_whole(server, way):
    """§3.1.1.5.8: "that the incomplete resource is not accidentally used to overwrite a complete resource"."""
    whole = KNOWN | {"id": "mine", "gender": "female"}
    server.call("PUT", "/fhir/Patient/mine", whole)
    part = json.loads(server.call("GET", "/fhir/Patient/mine?_elements=identifier").data)
    row = {"resource": part, "request": {"method": "PUT", "url": "Patient/mine"}}
    bundle = {"resourceType": "Bundle", "type": way, "entry": [row]}
    tag = json.dumps([{"op": "replace", "path": "/meta", "value": part["meta"]}]).encode()
    response = {
        "PUT": lambda: server.call("PUT", "/fhir/Patient/mine", part),
        "condition": lambda: server.call("PUT", "/fhir/Patient?identifier=urn:x|7", part),
        "patch": lambda: server.call("PATCH", "/fhir/Patient/mine", tag, Content_Type="application/json-patch+json"),
    }.get(way, lambda: server.call("POST", "/fhir", bundle))()
    told = json.loads(response.data)
    if way == "batch":
        told = told["entry"][0]["response"]["outcome"]
    else:
        assert response.status_code == 422
    (issue,) = told["issue"]
    assert (issue["code"], issue["details"]["coding"][0]["code"]) == ("business-rule", "resource.part")
    assert issue["expression"][0].endswith("meta.tag")
    assert json.loads(server.call("GET", "/fhir/Patient/mine").data)["gender"] == "female"


def test_a_part_is_stored_where_there_is_no_whole(server):
    """It may be all that a client has; the next version of it may be one as well, and the whole takes its place."""
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    part = json.loads(server.call("GET", "/fhir/Patient/mine?_summary=true").data) | {"id": "copy"}
    assert [server.call("PUT", "/fhir/Patient/copy", part).status_code for _ in range(2)] == [201, 200]
    assert server.call("PUT", "/fhir/Patient/copy", KNOWN | {"id": "copy"}).status_code == 200
    server.call("DELETE", "/fhir/Patient/mine")
    assert server.call("PUT", "/fhir/Patient/mine", part | {"id": "mine"}).status_code == 201


def test_a_record_is_found_by_the_identifiers_of_its_newest_version_only(server):
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    moved = KNOWN | {"id": "mine", "identifier": [{"system": "urn:x", "value": "8"}]}
    server.call("PUT", "/fhir/Patient/mine", moved)
    assert server.call("PUT", "/fhir/Patient?identifier=urn:x|8", moved).headers["ETag"] == 'W/"3"'
    assert server.call("POST", "/fhir/Patient", PATIENT, If_None_Exist="identifier=urn:x|7").status_code == 201
    server.service.delete("Patient", "mine")
    assert server.core.search.ids("Patient", "identifier=urn:x|8") == []


@pytest.mark.parametrize("condition", ["family=Zhang&birthdate=1970-03-30", "name=zh&gender=female", "_id=mine"])
def test_a_condition_may_be_any_search(server, condition):
    """FHIR R4 §3.1.0.8.1."""
    known = KNOWN | {"id": "mine", "name": [{"family": "Zhang"}], "birthDate": "1970-03-30", "gender": "female"}
    server.call("PUT", "/fhir/Patient/mine", known)
    changed = server.call("PUT", f"/fhir/Patient?{condition}", known)
    assert (changed.status_code, changed.headers["Location"]) == (200, f"{BASE_URL}/Patient/mine/_history/2")
    again = server.call("POST", "/fhir/Patient", KNOWN, If_None_Exist=condition)
    assert (again.status_code, again.headers["Location"]) == (200, f"{BASE_URL}/Patient/mine/_history/2")


@pytest.mark.parametrize("before", ["", "?", "Patient?", "http://127.0.0.1:41000/fhir/Patient?"])
def test_a_condition_of_a_create_comes_as_clients_write_it(server, before):
    """HAPI's client sends an address, fhirpy has the condition in that of the create."""
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    condition = f"{before}identifier=urn:x|7"
    found = [server.call("POST", "/fhir/Patient", KNOWN, If_None_Exist=condition)]
    found.append(server.call("POST", "/fhir/Patient?identifier=urn:x|7&_format=json", KNOWN))
    assert [(one.status_code, one.headers["Location"]) for one in found] == [
        (200, f"{BASE_URL}/Patient/mine/_history/1")
    ] * 2
    entry = {"resource": KNOWN, "request": {"method": "POST", "url": "Patient", "ifNoneExist": condition}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    told = json.loads(server.call("POST", "/fhir", bundle).data)
    assert told["entry"][0]["response"]["status"].startswith("200")
    assert server.call("POST", "/fhir/Patient?_format=json", PATIENT).status_code == 201
    assert server.call("POST", "/fhir/Patient", KNOWN, If_None_Exist="Group?identifier=urn:x|7").status_code == 400


def test_a_condition_that_more_than_one_record_fulfils_is_refused(server):
    for record_id in ("a", "b"):
        server.call("PUT", f"/fhir/Patient/{record_id}", KNOWN | {"id": record_id})
    for response in (
        server.call("PUT", "/fhir/Patient?identifier=urn:x|7", PATIENT),
        server.call("POST", "/fhir/Patient", PATIENT, If_None_Exist="identifier=urn:x|7"),
    ):
        assert (response.status_code, code_of(response)) == (412, "reference.ambiguous")
    assert server.store.count() == 2


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/fhir/Patient?identifier=urn:x|7", KNOWN | {"id": "other"}, {}, 400, "resource.id"),
        ("/fhir/Patient?identifier=urn:x|7", KNOWN, {"If_Match": 'W/"4"'}, 412, "record.version"),
        ("/fhir/Patient?colour=x", KNOWN, {}, 400, "search.parameter"),
        ("/fhir/Patient?identifier=|", KNOWN, {}, 400, "search.value"),
        ("/fhir/Patient?identifier=", KNOWN, {}, 400, "search.condition"),
        ("/fhir/Patient", KNOWN, {}, 400, "search.condition"),
        ("/fhir/Observation?identifier=urn:x|7", KNOWN, {}, 400, "resource.type"),
    ],
)
def test_a_conditional_update_that_is_wrong_is_refused(server, path, body, headers, status, code):
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    response = server.call("PUT", path, body, **headers)
    assert (response.status_code, code_of(response)) == (status, code)
    assert server.store.count() == 1


def test_a_conditional_update_needs_the_right_to_read_and_to_update(server):
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    for scope in ("system/*.r", "system/*.cu"):
        response = server.call("PUT", "/fhir/Patient?identifier=urn:x|7", KNOWN, scope=scope)
        assert (response.status_code, code_of(response)) == (403, "scope.denied")


@pytest.mark.parametrize("kind", ["text/plain", "application/pdf", "", "application/fhir+json; fhirVersion=5.0"])
def test_another_content_type_is_refused(server, kind):
    response = server.call("POST", "/fhir/Patient", PATIENT, Content_Type=kind)
    assert (response.status_code, code_of(response)) == (415, "http.415")


@pytest.mark.parametrize("accept", ["text/html", "application/fhir+json; fhirVersion=3.0", "application/json;q=0"])
def test_a_client_that_takes_no_fhir_is_told_so(server, accept):
    response = server.call("GET", created(server), Accept=accept)
    assert (response.status_code, code_of(response)) == (406, "http.406")


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("application/fhir+json;q=0, */*", "xml"),
        ("application/fhir+xml;q=0, application/*", "json"),
        ("application/fhir+json;q=0.1, */*", "xml"),
        ("*/*, application/fhir+json;q=0.5, application/fhir+xml;q=0.6", "xml"),
        ("application/*;q=0, text/xml", "xml"),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", "xml"),
        ("*/*", "json"),
        ("application/fhir+xml, application/fhir+json", "xml"),
        ("application/fhir+json, application/fhir+xml", "json"),
    ],
)
def test_what_names_a_format_closest_says_how_much_it_is_wanted(server, accept, answered):
    """RFC 9110 §12.5.1: the most specific range has precedence, and a weight of 0 means not acceptable."""
    response = server.call("GET", created(server), Accept=accept)
    assert (response.status_code, response.headers["Content-Type"]) == (200, f"application/fhir+{answered}")


@pytest.mark.parametrize("accept", ["*/*;q=0", "application/fhir+json;q=0, application/fhir+xml;q=0, */*"])
def test_a_client_that_excludes_both_formats_is_told_so(server, accept):
    response = server.call("GET", created(server), Accept=accept)
    assert (response.status_code, code_of(response)) == (406, "http.406")


def test_without_a_token_nothing_is_answered(server):
    path = created(server)
    for response in (server.client.get(path), server.client.get(path, headers={"Authorization": "Basic eDp5"})):
        assert (response.status_code, code_of(response)) == (401, "token.missing")
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_what_is_wrong_with_a_token_is_told_as_oauth_tells_it(server):
    """RFC 6750 §3.1: clients get a new token by it, or ask the person for more."""
    path = created(server)
    response = server.client.get(path, headers={"Authorization": "Bearer x", "Origin": "https://app.example"})
    assert (response.status_code, code_of(response)) == (401, "token.invalid")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "WWW-Authenticate" in response.headers["Access-Control-Expose-Headers"]
    response = server.call("DELETE", path, scope="system/Observation.d")
    assert (response.status_code, response.headers.get("WWW-Authenticate")) == (
        403,
        'Bearer error="insufficient_scope"',
    )
    # What is hidden looks like what is not there.
    response = server.call("GET", f"{path}x")
    assert (response.status_code, "WWW-Authenticate" in response.headers) == (404, False)


def test_absent_and_forbidden_look_alike(server):
    path = created(server)
    forbidden = server.call("GET", path, scope="system/Observation.r")
    absent = server.call("GET", "/fhir/Patient/none", scope="system/Patient.r")
    assert (forbidden.status_code, forbidden.data) == (404, absent.data)
    assert absent.status_code == 404
    names = {"X-Request-Id"}
    assert {k: v for k, v in forbidden.headers if k not in names} == {k: v for k, v in absent.headers if k not in names}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/fhir/Patient", "system/Patient.ru"),
        ("POST", "/fhir/Patient", "system/Observation.cru"),
        ("PUT", "/fhir/Patient/p-1", "system/Patient.cr"),
    ],
)
def test_a_write_beyond_the_scope_is_refused_and_stores_nothing(server, method, path, scope):
    response = server.call(method, path, PATIENT | {"id": "p-1"}, scope=scope)
    assert (response.status_code, code_of(response)) == (403, "scope.denied")
    assert server.store.count() == 0


def test_an_answer_says_how_far_it_is_anchored(server):
    path = created(server)
    assert server.call("GET", path).headers["Medchain-Anchored"] == "pending"
    server.anchor_all(41)
    server.final[0] = 41
    assert server.call("GET", path).headers["Medchain-Anchored"] == "pending; position=41"
    server.final[0] = 42
    assert server.call("GET", path).headers["Medchain-Anchored"] == "final; position=41"


def test_a_client_that_waits_gets_its_answer_when_the_time_is_over(server):
    response = server.call("POST", "/fhir/Patient", PATIENT, Prefer="wait=0")
    assert (response.status_code, response.headers["Medchain-Anchored"]) == (201, "pending")


def test_a_client_may_ask_for_no_content(server):
    response = server.call("POST", "/fhir/Patient", PATIENT, Prefer="return=minimal")
    assert (response.status_code, response.data) == (201, b"")


def test_an_unchanged_record_is_not_sent_again(server):
    assert server.call("GET", created(server), If_None_Match='W/"1"').status_code == 304


def test_a_record_whose_key_was_destroyed_is_gone(server):
    path = created(server)
    stored = server.store.get("Patient", path.rsplit("/", 1)[1])
    server.store.erase(stored.epoch_id, server.time[0])
    response = server.call("GET", path)
    assert (response.status_code, code_of(response)) == (410, "record.erased")


def test_a_record_lies_under_the_key_of_its_patient(server):
    path = created(server)
    patient = path.removeprefix("/fhir/")
    body = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": patient}}
    made = server.call("POST", "/fhir/Basic", body)
    stored = server.store.get("Basic", json.loads(made.data)["id"])
    assert stored.patient == server.service.patient_token(patient.split("/")[1])


def test_a_conditional_create_makes_a_record_once(server):
    body = PATIENT | {"identifier": [{"system": "urn:x", "value": "7"}]}
    first = server.call("POST", "/fhir/Patient", body, If_None_Exist="identifier=urn:x|7")
    second = server.call("POST", "/fhir/Patient", body, If_None_Exist="identifier=urn:x|7")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["Location"] == second.headers["Location"]
    assert server.store.count() == 1


def test_who_may_only_create_cannot_ask_by_identifier_who_is_here(server):
    body = PATIENT | {"identifier": [{"system": "urn:x", "value": "7"}]}
    server.call("POST", "/fhir/Patient", body)
    for value in ("7", "8"):
        response = server.call(
            "POST", "/fhir/Patient", body, scope="system/*.c", If_None_Exist=f"identifier=urn:x|{value}"
        )
        assert (response.status_code, code_of(response)) == (403, "scope.denied")


def test_the_proof_of_a_record_is_a_zip_file(server):
    response = server.call("GET", created(server) + "/$proof")
    assert response.headers["Content-Type"] == "application/zip"
    assert zipfile.ZipFile(io.BytesIO(response.data)).namelist() == ["entry.bin", "version"]


def test_the_proof_of_any_version_can_be_had(server):
    path = created(server)
    server.call("PUT", path, PATIENT | {"id": path.rsplit("/", 1)[1], "active": True})
    for route, version in (("", b"2"), ("/_history/1", b"1"), ("/_history/2", b"2")):
        answer = server.call("GET", f"{path}{route}/$proof")
        assert zipfile.ZipFile(io.BytesIO(answer.data)).read("version") == version
    for version in ("3", "0", "x", "1" * 10):
        assert server.call("GET", f"{path}/_history/{version}/$proof").status_code == 404


def test_a_proof_needs_the_right_to_read(server):
    assert server.call("GET", created(server) + "/$proof", scope="system/*.c").status_code == 404


def test_a_body_beyond_the_limit_is_refused(server):
    server.front.max_bytes = 100
    response = server.call("POST", "/fhir/Patient", PATIENT | {"language": "x" * 200})
    assert (response.status_code, code_of(response)) == (413, "request.too_large")


@pytest.fixture
def faster(monkeypatch):
    """Let another client come between the moment at which a condition finds nothing and that at which it is stored."""
    plain = Resolver.find

    def prepare(other) -> None:
        def find(self, *wanted: object):
            found = plain(self, *wanted)
            monkeypatch.setattr(Resolver, "find", plain)
            other()
            return found

        monkeypatch.setattr(Resolver, "find", find)

    return prepare


def _count(server) -> int:
    return json.loads(server.call("GET", "/fhir/Patient?family=races&_summary=count").data)["total"]


RACER = {"resourceType": "Patient", "name": [{"family": "races"}]}


@pytest.mark.parametrize("other", ["POST", "PUT", "transaction"])
def test_of_two_conditional_creates_at_once_one_finds_the_other(server, faster, other):
    """The condition is on no identifier, so no id that both would have keeps them apart (FHIR R4 §3.1.0.8.1)."""
    entry = {"resource": RACER, "request": {"method": "POST", "url": "Patient", "ifNoneExist": "family=races"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    ways = {
        "POST": lambda: server.call("POST", "/fhir/Patient", RACER, If_None_Exist="family=races"),
        "PUT": lambda: server.call("PUT", "/fhir/Patient?family=races", RACER),
        "transaction": lambda: server.call("POST", "/fhir", bundle),
    }
    faster(ways[other])
    made = ways["POST"]()
    assert made.status_code == 200
    assert json.loads(made.data)["meta"]["versionId"] == "1"
    assert _count(server) == 1


@pytest.mark.parametrize("headers", [{}, {"If_Match": 'W/"1"'}])
def test_a_conditional_update_that_another_writer_overtook_changes_what_that_one_made(server, faster, headers):
    """Both clients want the record to be as they say; neither made a mistake (FHIR R4 §3.1.0.4.3)."""
    faster(lambda: created(server, RACER))
    response = server.call("PUT", "/fhir/Patient?family=races", RACER | {"active": True}, **headers)
    # Who says which version it has seen has seen none that is found: that is told at once.
    assert response.status_code == (412 if headers else 200)
    assert _count(server) == 1
    (found,) = json.loads(server.call("GET", "/fhir/Patient?family=races").data)["entry"]
    assert found["resource"]["meta"]["versionId"] == ("1" if headers else "2")


@pytest.mark.parametrize("way", ["PUT", "transaction"])
def test_a_conditional_update_with_an_id_that_another_writer_overtook_changes_what_that_one_made(server, faster, way):
    racer = RACER | {"id": "racer"}
    entry = {"resource": racer, "request": {"method": "PUT", "url": "Patient?family=races"}}
    faster(lambda: server.call("PUT", "/fhir/Patient/racer", racer))
    if way == "PUT":
        response = server.call("PUT", "/fhir/Patient?family=races", racer)
    else:
        response = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert response.status_code == 200
    assert json.loads(server.call("GET", "/fhir/Patient/racer").data)["meta"]["versionId"] == "2"


def test_a_transaction_whose_condition_is_fulfilled_as_it_writes_takes_what_is_there(server, faster):
    """Also what refers to the entry is made anew: of the first plan nothing is left."""
    condition = {"method": "POST", "url": "Patient", "ifNoneExist": "family=races"}
    rows = [{"fullUrl": "urn:uuid:racer", "resource": RACER, "request": condition}]
    flag = {"resourceType": "Basic", "code": {"text": "flag"}, "subject": {"reference": "urn:uuid:racer"}}
    rows.append({"resource": flag, "request": {"method": "POST", "url": "Basic"}})
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": rows}
    first = []
    faster(lambda: first.append(created(server, RACER)))
    response = server.call("POST", "/fhir", bundle)
    assert response.status_code == 200
    assert [row["response"]["status"] for row in json.loads(response.data)["entry"]] == ["200 OK", "201 Created"]
    assert _count(server) == 1
    (found,) = json.loads(server.call("GET", "/fhir/Basic").data)["entry"]
    assert found["resource"]["subject"]["reference"] == first[0].removeprefix("/fhir/")


def _referring(condition: str) -> dict:
    """Make a resource that refers to whoever fulfils a condition."""
    return {"resourceType": "Basic", "code": {"text": "flag"}, "subject": {"reference": f"Patient?{condition}"}}


@pytest.mark.parametrize("way", ["POST", "transaction", "PUT"])
def test_what_a_conditional_reference_means_is_looked_up_again_as_it_is_stored(server, faster, way):
    """FHIR R4 §3.1.0.11.3: it must be one record; what it was before another writer came is not."""
    path = created(server, RACER)
    body = _referring("family=races")
    entry = {"resource": body, "request": {"method": "POST", "url": "Basic"}}
    ways = {
        "POST": lambda: server.call("POST", "/fhir/Basic", body),
        "PUT": lambda: server.call("PUT", "/fhir/Basic/b", body | {"id": "b"}),
        "transaction": lambda: server.call("POST", "/fhir", _transaction(entry)),
    }

    def another() -> None:
        server.call("DELETE", path)
        second.append(created(server, RACER))

    second: list[str] = []
    faster(another)
    assert ways[way]().status_code in (200, 201)
    (found,) = json.loads(server.call("GET", "/fhir/Basic").data)["entry"]
    assert found["resource"]["subject"]["reference"] == second[0].removeprefix("/fhir/")
    # And where there are two of them by then, it is refused.
    faster(lambda: created(server, RACER))
    response = ways[way]()
    assert (response.status_code, code_of(response)) == (412, "reference.ambiguous")
    assert server.store.newest_version("Basic", found["resource"]["id"]) == 1


def _transaction(*rows: dict) -> dict:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(rows)}


def test_a_match_that_is_gone_as_a_transaction_is_stored_is_made_anew(server, faster):
    path = created(server, RACER)
    condition = {"method": "POST", "url": "Patient", "ifNoneExist": "family=races"}
    about = {"resourceType": "Basic", "code": {"text": "flag"}, "subject": {"reference": "urn:uuid:racer"}}
    rows = [{"fullUrl": "urn:uuid:racer", "resource": RACER, "request": condition}]
    rows.append({"resource": about, "request": {"method": "POST", "url": "Basic"}})
    faster(lambda: server.call("DELETE", path))
    response = server.call("POST", "/fhir", _transaction(*rows))
    assert [row["response"]["status"] for row in json.loads(response.data)["entry"]] == ["201 Created", "201 Created"]
    assert _count(server) == 1


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_what_a_condition_no_longer_finds_is_neither_deleted_nor_patched(server, faster, method):
    path = created(server, RACER)
    patch = [{"op": "add", "path": "/active", "value": True}]
    body = None if method == "DELETE" else json.dumps(patch).encode()
    more = {} if method == "DELETE" else {"Content_Type": "application/json-patch+json"}
    other = {"id": path.rsplit("/", 1)[1], "name": [{"family": "walks"}]}
    faster(lambda: server.call("PUT", path, RACER | other))
    response = server.call(method, "/fhir/Patient?family=races", body, **more)
    assert response.status_code == (204 if method == "DELETE" else 404)
    kept = json.loads(server.call("GET", path).data)
    assert (kept["name"], kept["meta"]["versionId"], "active" in kept) == ([{"family": "walks"}], "2", False)


def test_a_transaction_that_always_comes_second_is_refused_and_stores_nothing(server, monkeypatch):
    """Others could keep it busy for ever otherwise."""
    tried = []

    def losing(*_arguments: object, **_options: object) -> None:
        tried.append(1)
        raise ConflictError("store.conflict", table="record")

    monkeypatch.setattr(type(server.store), "store", losing)
    rows = [{"resource": RACER, "request": {"method": "POST", "url": "Patient"}}]
    response = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": rows})
    assert (response.status_code, code_of(response)) == (409, "store.conflict")
    assert 1 < len(tried) <= MOST


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_write_that_always_comes_second_is_a_conflict_and_no_condition_that_does_not_hold(
    server, monkeypatch, method
):
    """412 is for who said a version (§3.1.0.4.1); who did not is told that others were faster, and has lost nothing."""
    monkeypatch.setattr("fhir_bridge.rest.again.PATIENCE_S", 600)
    server.call("PUT", "/fhir/Patient/p1", RACER | {"id": "p1"})
    tried = []

    def losing(*_arguments: object, **_options: object) -> None:
        tried.append(1)
        raise ConflictError("store.conflict", table="record")

    monkeypatch.setattr(type(server.store), "store", losing)
    patch = json.dumps([{"op": "add", "path": "/active", "value": True}]).encode()
    body = {"PUT": RACER | {"id": "p1"}, "PATCH": patch}.get(method)
    kind = {"Content_Type": "application/json-patch+json"} if method == "PATCH" else {}
    for condition, status, code in (
        ({}, 409, "store.conflict"),
        ({"If_Match": 'W/"1"'}, 412, "record.version"),
    ):
        tried.clear()
        response = server.call(method, "/fhir/Patient/p1", body, **kind, **condition)
        assert (response.status_code, code_of(response)) == (status, code)
        assert len(tried) == (1 if condition else MOST)


def test_who_wants_nothing_to_be_there_is_told_at_once_that_something_is(server, monkeypatch):
    server.call("PUT", "/fhir/Patient/p1", RACER | {"id": "p1"})
    looked = []
    get = server.store.get
    monkeypatch.setattr(server.store, "get", lambda *place: looked.append(place) or get(*place))
    response = server.call("PUT", "/fhir/Patient/p1", RACER | {"id": "p1"}, If_None_Match="*")
    assert (response.status_code, code_of(response)) == (412, "record.version")
    assert len(looked) == 1


def test_of_many_writers_of_one_record_at_once_all_are_stored(server, monkeypatch):
    """One comes first each time; the last of twelve would have to come second eleven times."""
    monkeypatch.setattr("fhir_bridge.rest.again.PATIENCE_S", 600)
    token = server.tokens.issue("test", parse_scopes("system/*.cruds"))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    answers: list[int] = []

    def put(number: int) -> None:
        body = json.dumps({"resourceType": "Basic", "id": "b", "code": {"text": f"writer {number}"}})
        answers.append(server.app.test_client().put("/fhir/Basic/b", data=body, headers=headers).status_code)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(answers) == [200] * 11 + [201]
    told = json.loads(server.call("GET", "/fhir/Basic/b/_history").data)["entry"]
    assert len({row["resource"]["code"]["text"] for row in told}) == 12


@pytest.mark.parametrize("is_matched", [False, True])
def test_of_transactions_at_once_on_the_same_records_no_update_is_lost_and_none_waits_for_another(server, is_matched):
    """Each in another order, so that locks taken one by one would stand against each other (FHIR R4 §3.1.0.11.2)."""
    ids = ["t1", "t2", "t3"]
    matched = {"ifMatch": 'W/"1"'} if is_matched else {}
    token = server.tokens.issue("test", parse_scopes("system/*.cruds"))

    def put(number: int, order: list[str], request: dict) -> int:
        rows = [
            {
                "resource": {"resourceType": "Basic", "id": one, "code": {"text": f"writer {number}"}},
                "request": {"method": "PUT", "url": f"Basic/{one}", **request},
            }
            for one in order
        ]
        shared = {"method": "POST", "url": "Patient", "ifNoneExist": "family=races"}
        rows.append({"resource": RACER, "request": shared})
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": rows}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
        return server.app.test_client().post("/fhir", data=json.dumps(bundle), headers=headers).status_code

    assert put(0, ids, {}) == 200
    orders = [ids, ids[::-1], ids[1:] + ids[:1], ids[::-1]]
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda number=number, order=order: answers.append(put(number, order, matched)))
        for number, order in enumerate(orders, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    done = answers.count(200)
    assert done == 1 if is_matched else done >= 1
    assert set(answers) <= {200, 409, 412}
    texts = []
    for one in ids:
        versions = server.store.history("Basic", one)
        assert len(versions) == 1 + done
        page = json.loads(server.call("GET", f"/fhir/Basic/{one}/_history").data)["entry"]
        texts.append([row["resource"]["code"]["text"] for row in page])
    # All or nothing: the writers of the three records came in one order.
    assert texts[0] == texts[1] == texts[2]
    assert _count(server) == 1


def test_two_creates_with_one_identifier_and_no_condition_are_both_stored(server):
    body = PATIENT | {"identifier": [{"system": "urn:mrn", "value": "7"}]}
    assert created(server, body) != created(server, body)


def test_an_update_whose_id_is_not_that_of_the_address_is_refused_where_it_is(server):
    """FHIR R4 §3.1.0.4: without an id, or with another one, 400."""
    for body in (PATIENT, PATIENT | {"id": "other"}):
        (issue,) = json.loads(server.call("PUT", "/fhir/Patient/one", body).data)["issue"]
        assert (issue["expression"], issue.get("diagnostics")) == (["Patient.id"], None)


def test_a_conditional_create_that_finds_its_resource_answers_as_it_is_preferred(server):
    """FHIR R4 §3.1.0.1.8: return=OperationOutcome."""
    server.call("PUT", "/fhir/Patient/one", PATIENT | {"id": "one"})
    found = server.call("POST", "/fhir/Patient", PATIENT, If_None_Exist="_id=one", Prefer="return=OperationOutcome")
    assert (found.status_code, found.headers["ETag"]) == (200, 'W/"1"')
    assert json.loads(found.data)["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"id": None}, "Patient.id"),
        ({"id": ""}, "Patient.id"),
        ({"id": 7}, "Patient.id"),
        ({"meta": None}, "Patient.meta"),
        ({"meta": {"versionId": None}}, "Patient.meta.versionId"),
        ({"meta": {"lastUpdated": None}}, "Patient.meta.lastUpdated"),
        ({"active": None}, "Patient.active"),
        ({"name": None}, "Patient.name"),
        ({"name": [{"given": ["a", None]}]}, "Patient.name[0].given[1]"),
    ],
)
def test_null_stands_only_beside_the_extensions_of_an_array(server, given, place):
    """FHIR R4 §2.6.2.1 and §2.6.2.2, also in what the server sets itself."""
    entry = {"resource": PATIENT | given, "request": {"method": "POST", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    for path, body, before in (("Patient", PATIENT | given, "Patient"), ("", bundle, "Bundle.entry[0].resource")):
        refused = server.call("POST", f"/fhir/{path}", body)
        assert refused.status_code == 422
        assert json.loads(refused.data)["issue"][0]["expression"] == [place.replace("Patient", before, 1)]
    assert server.store.count() == 0


def test_a_search_parameter_that_cannot_be_read_is_refused_with_its_place_and_reason(server):
    body = {
        "resourceType": "SearchParameter",
        "id": "nick",
        "url": "http://x.example/nick",
        "name": "Nick",
        "status": "active",
        "description": "Nickname",
        "code": "nick",
        "base": ["Patient"],
        "type": "string",
        "expression": "Patient.name.where(",
    }
    entry = {"resource": body, "request": {"method": "PUT", "url": "SearchParameter/nick"}}
    answers = [
        (server.call("POST", "/fhir/SearchParameter", body), "SearchParameter.expression"),
        (server.call("PUT", "/fhir/SearchParameter/nick", body), "SearchParameter.expression"),
        (
            server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}),
            "Bundle.entry[0].resource.expression",
        ),
    ]
    for answer, place in answers:
        (issue,) = json.loads(answer.data)["issue"]
        assert (answer.status_code, issue["expression"]) == (422, [place])
        assert issue["details"]["coding"][0]["code"] == "resource.expression"
        assert "20" in issue["details"]["text"]
    judged = json.loads(server.call("POST", "/fhir/SearchParameter/$validate", body).data)["issue"]
    assert "SearchParameter.expression" in [place for one in judged for place in one.get("expression", [])]
    unused = body | {"expression": "Patient.name.where(use.hasValue()).text"}
    told = server.call("PUT", "/fhir/SearchParameter/nick", unused, Prefer="return=OperationOutcome")
    (warning,) = json.loads(told.data)["issue"]
    assert (told.status_code, warning["severity"], warning["code"]) == (201, "warning", "not-supported")
