"""The REST API, from outside, over real records."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from fhir_bridge.references import Resolver

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
    return response.headers["Location"].split("/_history/")[0]


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
    assert (response.status_code, response.headers["Location"]) == (201, "/fhir/Patient/p-1/_history/1")


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
    real = server.service.create_many

    def overtaken(records, **more: object):
        real(records, **more)
        return real(records, **more)

    monkeypatch.setattr(type(server.service), "create_many", lambda _self, records, **more: overtaken(records, **more))
    response = server.call("POST", "/fhir/Patient", body, If_None_Exist="identifier=urn:x|7")
    assert (response.status_code, response.headers["ETag"]) == (200, 'W/"1"')
    assert server.store.count() == 1


KNOWN = PATIENT | {"identifier": [{"system": "urn:x", "value": "7"}, {"value": "bare"}]}


@pytest.mark.parametrize("condition", ["urn:x|7", "7", "|bare", "bare"])
def test_a_record_stored_under_an_id_of_its_sender_is_found_by_its_identifiers(server, condition):
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    changed = server.call("PUT", f"/fhir/Patient?identifier={condition}", KNOWN | {"active": True})
    assert (changed.status_code, changed.headers["Location"]) == (200, "/fhir/Patient/mine/_history/2")
    assert json.loads(changed.data)["active"] is True
    again = server.call("POST", "/fhir/Patient", KNOWN, If_None_Exist=f"identifier={condition}")
    assert (again.status_code, again.headers["Location"]) == (200, "/fhir/Patient/mine/_history/2")


@pytest.mark.parametrize("condition", ["urn:x|8", "|7", "urn:y|7", "8"])
def test_another_identifier_finds_nothing_and_an_update_creates(server, condition):
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    made = server.call("PUT", f"/fhir/Patient?identifier={condition}", PATIENT)
    assert made.status_code == 201
    assert "/mine/" not in made.headers["Location"]
    named = server.call("PUT", f"/fhir/Patient?identifier={condition}", PATIENT | {"id": "other"})
    assert (named.status_code, named.headers["Location"]) == (201, "/fhir/Patient/other/_history/1")


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
    assert (changed.status_code, changed.headers["Location"]) == (200, "/fhir/Patient/mine/_history/2")
    again = server.call("POST", "/fhir/Patient", KNOWN, If_None_Exist=condition)
    assert (again.status_code, again.headers["Location"]) == (200, "/fhir/Patient/mine/_history/2")


@pytest.mark.parametrize("before", ["", "?", "Patient?", "http://127.0.0.1:41000/fhir/Patient?"])
def test_a_condition_of_a_create_comes_as_clients_write_it(server, before):
    """HAPI's client sends an address, fhirpy has the condition in that of the create."""
    server.call("PUT", "/fhir/Patient/mine", KNOWN | {"id": "mine"})
    condition = f"{before}identifier=urn:x|7"
    found = [server.call("POST", "/fhir/Patient", KNOWN, If_None_Exist=condition)]
    found.append(server.call("POST", "/fhir/Patient?identifier=urn:x|7&_format=json", KNOWN))
    assert [(one.status_code, one.headers["Location"]) for one in found] == [(200, "/fhir/Patient/mine/_history/1")] * 2
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


def test_without_a_token_nothing_is_answered(server):
    path = created(server)
    for response in (server.client.get(path), server.client.get(path, headers={"Authorization": "Basic eDp5"})):
        assert (response.status_code, code_of(response)) == (401, "token.missing")
        assert response.headers["WWW-Authenticate"] == "Bearer"


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
        def find(self, wanted):
            found = plain(self, wanted)
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


def test_a_transaction_that_finds_its_condition_fulfilled_as_it_writes_stores_nothing(server, faster):
    condition = {"method": "POST", "url": "Patient", "ifNoneExist": "family=races"}
    rows = [{"resource": RACER, "request": condition}]
    rows.append({"resource": PATIENT | {"gender": "other"}, "request": {"method": "POST", "url": "Patient"}})
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": rows}
    faster(lambda: server.call("POST", "/fhir/Patient", RACER))
    assert server.call("POST", "/fhir", bundle).status_code == 409
    assert _count(server) == 1
    assert json.loads(server.call("GET", "/fhir/Patient?gender=other&_summary=count").data)["total"] == 0
    assert server.call("POST", "/fhir", bundle).status_code == 200
    assert _count(server) == 1


def test_two_creates_with_one_identifier_and_no_condition_are_both_stored(server):
    body = PATIENT | {"identifier": [{"system": "urn:mrn", "value": "7"}]}
    assert created(server, body) != created(server, body)
