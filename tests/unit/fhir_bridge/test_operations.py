"""Operations, patches, batches, formats; and the registry, each entry of which is called (FHIR R4 §3.1.0)."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest

from fhir_bridge.document import parse
from fhir_bridge.rest.routes import INTERACTIONS
from fhir_bridge.validation.check import Mode, check
from fhir_bridge.xml import parse_xml, write_xml
from tests.unit.fhir_bridge.conftest import BASE_URL

PATIENT = {"resourceType": "Patient", "id": "p1", "active": True, "name": [{"family": "测试", "given": ["甲"]}]}
NUMBERS = (
    b'{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"w"},"valueQuantity":{"value":5.60}}'
)
GROUP = {"resourceType": "Group", "id": "g", "type": "person", "actual": True}
ASYNC = {"Prefer": "respond-async"}
PATCH = {"Content_Type": "application/json-patch+json"}


def code_of(response) -> str:
    return json.loads(response.data)["issue"][0]["details"]["coding"][0]["code"]


def issues(response) -> list[tuple[str, str, str]]:
    rows = json.loads(response.data)["issue"]
    return [
        (row["severity"], row["details"].get("coding", [{}])[0].get("code", ""), *row.get("expression", [""]))
        for row in rows
    ]


def path_patch(*operations: tuple[str, str, dict]) -> dict:
    rows = []
    for kind, path, more in operations:
        parts = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
        rows.append({"name": "operation", "part": parts + [{"name": name, **value} for name, value in more.items()]})
    return {"resourceType": "Parameters", "parameter": rows}


def test_validate_tells_everything_and_stores_nothing(server):
    body = {"resourceType": "Observation", "status": "wrong", "x": 1, "meta": {"profile": ["http://example.org/p"]}}
    response = server.call("POST", "/fhir/Observation/$validate", body)
    assert response.status_code == 200
    found = issues(response)
    assert ("error", "resource.code", "Observation.status") in found
    assert ("error", "resource.required", "Observation.code") in found
    assert ("error", "resource.unknown_element", "Observation.x") in found
    assert ("warning", "resource.profile", "Observation.meta.profile[0]") in found
    assert server.store.count() == 0
    assert check(parse(response.data)) == []


def test_validate_takes_parameters_modes_and_stored_resources(server):
    given = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": PATIENT}]}
    good = [("information", "", "")]
    assert issues(server.call("POST", "/fhir/Patient/$validate", given)) != []
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    assert server.call("GET", "/fhir/Patient/p1/$validate").status_code == 200
    assert issues(server.call("POST", "/fhir/Patient/p1/$validate?mode=delete", b"")) == good
    assert code_of(server.call("POST", "/fhir/Patient/none/$validate?mode=delete", b"")) == "record.unknown"
    assert code_of(server.call("POST", "/fhir/Patient/$validate?mode=brew", PATIENT)) == "operation.parameter"
    assert code_of(server.call("POST", "/fhir/Patient/$validate", b"")) == "operation.parameter"
    other = server.call("POST", "/fhir/Observation/$validate", PATIENT)
    assert ("error", "resource.type", "Resource") in issues(other)
    assert json.loads(other.data)["issue"][0]["details"]["text"].startswith("The resourceType is to be Observation")
    for mode in ("update", "delete"):
        of_none = server.call("POST", f"/fhir/Patient/$validate?mode={mode}", PATIENT)
        assert (of_none.status_code, code_of(of_none)) == (400, "operation.parameter")
    renamed = server.call("POST", "/fhir/Patient/p1/$validate?mode=update", PATIENT | {"id": "p2"})
    assert ("error", "resource.value", "Patient.id") in issues(renamed)
    asked = server.call("POST", "/fhir/Patient/$validate?profile=http://example.org/p", PATIENT)
    assert ("error", "resource.profile", "Patient") in issues(asked)
    assert [one["code"] for one in json.loads(asked.data)["issue"] if one["severity"] == "error"] == ["not-supported"]


@pytest.mark.parametrize(
    ("path", "row", "place"),
    [
        ("Patient/p1/$meta-add", {"name": "meta", "valueMeta": {"tag": {"code": "x"}}}, "value.ofType(Meta).tag"),
        (
            "Patient/p1/$meta-add",
            {"name": "meta", "valueMeta": {"tag": [{"code": 7}]}},
            "value.ofType(Meta).tag[0].code",
        ),
        ("Patient/p1/$meta-delete", {"name": "meta", "valueMeta": {}, "foo": 1}, ""),
        ("Patient/p1/$everything", {"name": "_count", "valueInteger": "x"}, "value.ofType(integer)"),
    ],
)
def test_parameters_that_are_malformed_are_refused_and_change_nothing(server, path, row, place):
    """R4 §2.42, Parameters: what is not known was passed over, and a tag that is in no list stored as none."""
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    answer = server.call("POST", f"/fhir/{path}", {"resourceType": "Parameters", "parameter": [row]})
    assert answer.status_code == 422
    assert json.loads(answer.data)["issue"][0]["expression"][0].startswith(
        f"Parameters.parameter[0].{place}".rstrip(".")
    )
    assert json.loads(server.call("GET", "/fhir/Patient/p1").data)["meta"]["versionId"] == "1"


def test_validate_warns_of_references_to_what_is_not_here(server):
    for name in ("p1", "gone"):
        server.call("PUT", f"/fhir/Patient/{name}", PATIENT | {"id": name})
    server.call("DELETE", "/fhir/Patient/gone")
    pointing = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/p1/_history/1"},
        "focus": [{"reference": f"{BASE_URL}/Patient/p1"}, {"reference": "Patient/gone"}],
        "derivedFrom": [{"reference": "Observation/none"}, {"reference": "#inside"}],
        "performer": [{"reference": "http://other.org/Practitioner/1"}, {"reference": "Patient/p1/_history/2"}],
        "contained": [{"resourceType": "Observation", "id": "inside", "status": "final", "code": {"text": "y"}}],
        "extension": [{"url": "http://x.org", "valueReference": {"reference": "Group/none"}}],
    }

    def absent(**headers: str) -> list[str]:
        told = issues(server.call("POST", "/fhir/Observation/$validate", pointing, **headers))
        return sorted(place for severity, code, place in told if (severity, code) == ("warning", "resource.absent"))

    missing = [
        "Observation.derivedFrom[0]",
        "Observation.extension[0].value.ofType(Reference)",
        "Observation.focus[1]",
        "Observation.performer[1]",
    ]
    assert absent() == missing
    # Who may not see a record is not told whether it is here.
    assert absent(scope="system/Observation.cruds") == sorted([*missing, "Observation.focus[0]", "Observation.subject"])


def test_meta_is_read_added_and_taken_away_by_versions(server):
    tag = {"system": "urn:t", "code": "a"}
    given = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [tag]}}]}
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    for _ in range(2):
        added = json.loads(server.call("POST", "/fhir/Patient/p1/$meta-add", given).data)
        assert added["parameter"][0]["valueMeta"]["tag"] == [tag]
    read = json.loads(server.call("GET", "/fhir/Patient/p1/$meta").data)
    assert read["parameter"][0]["valueMeta"]["versionId"] == "3"
    old = json.loads(server.call("GET", "/fhir/Patient/p1/_history/1/$meta").data)
    assert "tag" not in old["parameter"][0]["valueMeta"]
    taken = json.loads(server.call("POST", "/fhir/Patient/p1/$meta-delete", given).data)
    assert "tag" not in taken["parameter"][0]["valueMeta"]
    assert code_of(server.call("POST", "/fhir/Patient/p1/$meta-add", PATIENT)) == "operation.parameter"
    assert server.call("POST", "/fhir/Patient/p1/$meta-add", given, scope="system/*.r").status_code == 403


def labelled(name: str, **about: list) -> dict:
    return PATIENT | {"id": name, "meta": about}


def in_use(response) -> dict:
    told = json.loads(response.data)
    # R4 Parameters, inv-1: a parameter has a value; and no element is empty.
    assert check(told, Mode.STRICT) == []
    (row,) = told.get("parameter", [{"valueMeta": {}}])
    return row["valueMeta"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_meta_of_a_type_and_of_all_tells_what_is_in_use_now(server, method):
    """R4 Resource-meta: at these levels profiles, tags and labels, no versionId and no lastUpdated."""
    ward, study = {"system": "urn:t", "code": "Ward"}, {"system": "urn:s", "code": "Ward"}
    bare, secret = {"code": "b|,$\\"}, {"system": "urn:l", "code": "R"}
    assert in_use(server.call(method, "/fhir/$meta")) == {}
    server.call("PUT", "/fhir/Patient/a", labelled("a", tag=[ward], profile=["http://a.example/p|1"]))
    server.call("PUT", "/fhir/Patient/b", labelled("b", tag=[ward, study, bare], profile=["http://a.example/p"]))
    server.call("PUT", "/fhir/Patient/c", labelled("c", tag=[{"system": "urn:t", "code": "old"}]))
    server.call("PUT", "/fhir/Patient/c", labelled("c"))
    server.call("PUT", "/fhir/Group/g", {**GROUP, "meta": {"security": [secret]}})
    of_type = in_use(server.call(method, "/fhir/Patient/$meta"))
    assert of_type.keys() == {"profile", "tag"}
    assert sorted(of_type["profile"]) == ["http://a.example/p", "http://a.example/p|1"]
    assert all(one in of_type["tag"] for one in (ward, study, bare))
    assert len(of_type["tag"]) == 3
    assert in_use(server.call(method, "/fhir/$meta")) == of_type | {"security": [secret]}
    assert in_use(server.call(method, "/fhir/Observation/$meta")) == {}


def test_meta_of_many_tells_nothing_of_what_the_caller_may_not_see(server):
    server.call("PUT", "/fhir/Patient/a", labelled("a", tag=[{"system": "urn:t", "code": "mine"}]))
    server.call("PUT", "/fhir/Patient/b", labelled("b", tag=[{"system": "urn:t", "code": "theirs"}]))
    server.call("PUT", "/fhir/Group/g", {**GROUP, "meta": {"tag": [{"code": "group"}]}})
    scope = "system/Patient.rs?_tag=urn:t|mine"
    for place in ("Patient/$meta", "$meta"):
        assert in_use(server.call("GET", f"/fhir/{place}", scope=scope)) == {
            "tag": [{"system": "urn:t", "code": "mine"}]
        }
    for place in ("Group/$meta", "Patient/$meta"):
        refused = server.call("GET", f"/fhir/{place}", scope="system/Patient.r")
        assert (refused.status_code, code_of(refused)) == (403, "scope.denied")


def test_meta_of_a_place_with_too_many_labels_says_so_and_its_post_takes_no_parameters(server, monkeypatch):
    monkeypatch.setattr("fhir_bridge.rest.labels.MAX_LABELS", 1)
    server.call("PUT", "/fhir/Patient/a", labelled("a", tag=[{"code": "one"}, {"code": "two"}]))
    refused = server.call("GET", "/fhir/$meta")
    assert (refused.status_code, code_of(refused)) == (400, "operation.too_many")
    for place in ("$meta", "Patient/a/$meta"):
        for body in (PATIENT, {"resourceType": "Parameters", "parameter": [{"name": "x", "valueString": "y"}]}):
            assert code_of(server.call("POST", f"/fhir/{place}", body)) == "operation.parameter"


def test_everything_takes_its_parameters_by_post_too(server):
    """FHIR R4 §3.2.0.4: an operation is invoked by POST with Parameters, or by GET where they are simple."""
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    server.call("PUT", "/fhir/Observation/o1", {**json.loads(NUMBERS), "subject": {"reference": "Patient/p1"}})

    def found(*rows: dict) -> list[str]:
        body = {"resourceType": "Parameters", "parameter": list(rows)} if rows else {"resourceType": "Parameters"}
        bundle = json.loads(server.call("POST", "/fhir/Patient/p1/$everything", body).data)
        return [row["resource"]["resourceType"] for row in bundle.get("entry", ())]

    assert sorted(found()) == ["Observation", "Patient"]
    assert found({"name": "_type", "valueCode": "Observation"}) == ["Observation"]
    assert len(found({"name": "_count", "valueInteger": 1})) == 1
    assert found({"name": "_since", "valueInstant": "2099-01-01T00:00:00Z"}) == []
    for body in (PATIENT, {"resourceType": "Parameters", "parameter": [{"name": "_type"}]}):
        assert code_of(server.call("POST", "/fhir/Patient/p1/$everything", body)) == "operation.parameter"


def test_a_json_patch_changes_what_it_names_and_keeps_numbers(server):
    server.call("PUT", "/fhir/Observation/o1", NUMBERS)
    rows = [
        {"op": "test", "path": "/status", "value": "final"},
        {"op": "replace", "path": "/status", "value": "amended"},
    ]
    done = server.call("PATCH", "/fhir/Observation/o1", rows, **PATCH)
    assert (done.status_code, done.headers["ETag"]) == (200, 'W/"2"')
    assert b'"value":5.60' in done.data
    assert json.loads(done.data)["status"] == "amended"


@pytest.mark.parametrize(
    ("rows", "status", "code"),
    [
        ([{"op": "test", "path": "/active", "value": False}], 422, "patch.test"),
        ([{"op": "remove", "path": "/nothing"}], 422, "patch.path"),
        ([{"op": "replace", "path": "/id", "value": "p2"}], 422, "patch.identity"),
        ([{"op": "replace", "path": "", "value": 1}], 422, "patch.identity"),
        ([{"op": "brew", "path": "/id"}], 400, "patch.document"),
        ([{"op": "add", "path": "/x"}], 400, "patch.document"),
        ({"op": "add"}, 400, "patch.document"),
        ([{"op": "add", "path": "/x", "value": 1}], 422, "resource.unknown_element"),
        ([{"op": "copy", "from": "/name", "path": "/name/0/x"}] * 17, 400, "patch.size"),
        ([{"op": "remove", "path": "/name"}] * 1001, 400, "patch.document"),
    ],
)
def test_a_json_patch_that_is_wrong_changes_nothing(server, rows, status, code):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    response = server.call("PATCH", "/fhir/Patient/p1", rows, **PATCH)
    assert (response.status_code, code_of(response)) == (status, code)
    assert server.store.count() == 1


def test_a_json_patch_without_operations_leaves_everything_as_it_is(server):
    """RFC 6902 §3: a patch is an array of operations, of none too; §3.1.0.6: the answer is that of an update."""
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    response = server.call("PATCH", "/fhir/Patient/p1", [], **PATCH)
    assert response.status_code == 200
    before = json.loads(server.call("GET", "/fhir/Patient/p1/_history/1").data)
    after = json.loads(response.data)
    assert {**after, "meta": None} == {**before, "meta": None}


def test_hostile_patches_are_refused(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    for body in (b'[{"op":"add","op":"test","path":"/x","value":1}]', b'[1],"x":[2', b"[NaN]", b"[" * 100_000):
        assert server.call("PATCH", "/fhir/Patient/p1", body, **PATCH).status_code == 400


def test_a_patch_that_doubles_a_text_with_each_copy_is_refused(server):
    """Attack: copies share a text until they are written; sixteen of 1 MB were 64 GB."""
    nested = [{"url": "http://example.org/u", "extension": [{"url": "v", "valueString": "x" * 1_000_000}]}]
    server.call("PUT", "/fhir/Patient/p1", {**PATIENT, "extension": nested})
    rows = [{"op": "copy", "from": "/extension/0", "path": "/extension/0/extension/-"}] * 16
    response = server.call("PATCH", "/fhir/Patient/p1", rows, **PATCH)
    assert (response.status_code, code_of(response)) == (400, "patch.size")


def test_a_patch_that_nests_deeper_than_is_read_is_refused(server):
    """Attack: a record that was stored so could be neither searched nor changed any more."""
    deep = {"url": "http://example.org/u", "valueCode": "x"}
    for _ in range(20):
        deep = {"url": "http://example.org/u", "extension": [deep]}
    server.call("PUT", "/fhir/Patient/p1", {**PATIENT, "extension": [deep]})
    rows = [{"op": "replace", "path": "/extension/0" * 20, "value": deep}]
    response = server.call("PATCH", "/fhir/Patient/p1", rows, **PATCH)
    assert (response.status_code, code_of(response)) == (400, "document.depth")
    patch = path_patch(("replace", "Patient" + ".extension[0]" * 20, {"value": {"valueExtension": deep}}))
    response = server.call("PATCH", "/fhir/Patient/p1", patch)
    assert (response.status_code, code_of(response)) == (400, "document.depth")


def test_a_fhirpath_patch_in_json_and_xml(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    patch = path_patch(("replace", "Patient.active", {"value": {"valueBoolean": False}}))
    assert json.loads(server.call("PATCH", "/fhir/Patient/p1", patch).data)["active"] is False
    patch = path_patch(("delete", "Patient.active", {}))
    body = write_xml(parse(json.dumps(patch).encode()))
    done = server.call("PATCH", "/fhir/Patient?_id=p1", body, Content_Type="application/fhir+xml")
    assert "active" not in json.loads(done.data)
    assert code_of(server.call("PATCH", "/fhir/Patient/none", patch)) == "record.unknown"
    assert code_of(server.call("PATCH", "/fhir/Patient?_id=none", patch)) == "record.unknown"
    stale = server.call("PATCH", "/fhir/Patient/p1", patch, If_Match='W/"1"')
    assert (stale.status_code, code_of(stale)) == (412, "record.version")


def test_xml_comes_and_goes_and_is_the_same_resource(server):
    body = write_xml(parse(NUMBERS))
    made = server.call(
        "PUT", "/fhir/Observation/o1", body, Content_Type="application/fhir+xml", Accept="application/fhir+xml"
    )
    assert (made.status_code, made.headers["Content-Type"]) == (201, "application/fhir+xml")
    assert b'<value value="5.60"/>' in made.data
    read = server.call("GET", "/fhir/Observation/o1?_format=xml")
    assert parse_xml(read.data) == parse(server.call("GET", "/fhir/Observation/o1").data)
    page = server.call("GET", "/fhir/Observation?_format=application/fhir%2Bxml")
    assert parse_xml(page.data)["type"] == "searchset"
    refused = server.call("GET", "/fhir/Observation/none?_format=xml")
    assert parse_xml(refused.data)["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><Patient xmlns="http://hl7.org/fhir"/>',
        b"<Patient",
        b'<Patient xmlns="urn:x"/>',
        b'<Patient xmlns="http://hl7.org/fhir">' + b"<contact>" * 100 + b"</contact>" * 100 + b"</Patient>",
    ],
)
def test_hostile_xml_is_refused(server, body):
    assert server.call("POST", "/fhir/Patient", body, Content_Type="application/fhir+xml").status_code == 400
    assert server.store.count() == 0


def test_parts_and_pretty_text(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    assert "name" not in json.loads(server.call("GET", "/fhir/Patient/p1?_elements=active").data)
    assert b"SUBSETTED" in server.call("GET", "/fhir/Patient/p1?_summary=true").data
    assert server.call("GET", "/fhir/Patient/p1?_pretty=true").data.count(b"\n") > 5
    assert server.call("GET", "/fhir/Patient/p1?_pretty=true&_format=xml").data.count(b"\n") > 5
    for query in ("_summary=most", "_summary=count", "_summary=true&_elements=name"):
        assert code_of(server.call("GET", f"/fhir/Patient/p1?{query}")) == "search.value"


def test_bodies_may_be_packed_and_answers_are_where_it_pays(server):
    large = PATIENT | {"name": [{"family": "x" * 3000}]}
    packed = gzip.compress(json.dumps(large).encode())
    assert server.call("PUT", "/fhir/Patient/p1", packed, Content_Encoding="gzip").status_code == 201
    read = server.call("GET", "/fhir/Patient/p1", Accept_Encoding="gzip;q=0.5, br")
    assert read.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(read.data) == server.call("GET", "/fhir/Patient/p1").data
    assert "Content-Encoding" not in server.call("GET", "/fhir/Patient/p1", Accept_Encoding="gzip;q=0").headers


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(b" " * (40 << 20)), "gzip", 413),
        (b"no gzip", "gzip", 415),
        (gzip.compress(b"{}")[:-4], "gzip", 415),
        (b"{}", "br", 415),
    ],
    ids=["bomb", "none", "cut", "other"],
)
def test_packed_bodies_are_bounded(server, body, encoding, status):
    assert server.call("POST", "/fhir/Patient", body, Content_Encoding=encoding).status_code == status


def test_browsers_may_ask_from_anywhere_and_are_told_what_they_may(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    asked = server.client.options("/fhir/Patient/p1", headers={"Origin": "https://app.example"})
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert "PUT" in asked.headers["Access-Control-Allow-Methods"]
    read = server.call("GET", "/fhir/Patient/p1", Origin="https://app.example")
    assert "ETag" in read.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in server.call("GET", "/fhir/Patient/p1").headers


def test_head_is_a_read_without_a_body(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    head, read = server.call("HEAD", "/fhir/Patient/p1"), server.call("GET", "/fhir/Patient/p1")
    assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", str(len(read.data)))


def test_conditional_reads(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    for headers in (
        {"If_None_Match": 'W/"7", W/"1"'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": "Tue, 01 Dec 2026 00:00:00 GMT"},
    ):
        assert server.call("GET", "/fhir/Patient/p1", **headers).status_code == 304
    for headers in (
        {"If_None_Match": 'W/"2"'},
        {"If_Modified_Since": "Mon, 30 Nov 2026 00:00:00 GMT"},
        {"If_Modified_Since": "x"},
    ):
        assert server.call("GET", "/fhir/Patient/p1", **headers).status_code == 200
    created = server.call("PUT", "/fhir/Patient/p1", PATIENT, If_None_Match="*")
    assert (created.status_code, code_of(created)) == (412, "record.version")


def test_what_comes_back_of_a_write_is_what_is_preferred(server):
    assert server.call("PUT", "/fhir/Patient/p1", PATIENT, Prefer="return=minimal").data == b""
    told = server.call("PUT", "/fhir/Patient/p1", PATIENT, Prefer="return=OperationOutcome", Accept_Language="zh-CN")
    assert json.loads(told.data)["issue"][0]["details"]["text"] == "已保存。"
    claimed = PATIENT | {"meta": {"profile": ["http://example.org/p"]}}
    warned = server.call("PUT", "/fhir/Patient/p1", claimed, Prefer="return=OperationOutcome")
    assert issues(warned) == [("warning", "resource.profile", "Patient.meta.profile[0]")]


def test_errors_are_in_the_callers_language(server):
    texts = []
    for language in ("zh-CN,zh;q=0.9,en;q=0.8", "en-GB", "fr", "en;q=0.1,zh;q=0.2"):
        response = server.call("GET", "/fhir/Patient/none", Accept_Language=language)
        texts.append(json.loads(response.data)["issue"][0]["details"]["text"])
    assert texts == ["没有这样的资源。", "There is no such resource.", "There is no such resource.", "没有这样的资源。"]


def test_a_type_that_r4_does_not_have_is_told_as_such_with_the_one_that_was_meant(server):
    """§3.1.0.1.5: the outcome says what is wrong; R4 has Patient and Observation, and no Foo."""
    for path, told, diagnostics in (
        ("Foo/1", "FHIR R4 has no resource type", "type=Foo"),
        ("Pationt/1", "FHIR R4 has no resource type", "type=Pationt expected=Patient"),
        ("observation", "FHIR R4 has no resource type", "expected=Observation"),
    ):
        (issue,) = json.loads(server.call("GET", f"/fhir/{path}").data)["issue"]
        assert issue["details"]["text"].startswith(told)
        assert issue["diagnostics"] == diagnostics
    (issue,) = json.loads(server.call("GET", "/fhir/Foo/1", Accept_Language="zh").data)["issue"]
    assert issue["details"]["text"].startswith("FHIR R4 没有地址中的资源类型")


def test_xml_without_the_namespace_is_told_which_one_it_must_have(server):
    """§2.6.1: the namespace of FHIR is http://hl7.org/fhir."""
    response = server.call("POST", "/fhir/Patient", b"<Patient/>", Content_Type="application/fhir+xml")
    assert response.status_code == 400
    assert "http://hl7.org/fhir" in response.get_data(as_text=True)


def test_another_method_and_another_address_are_told_apart(server):
    wrong = server.call("PUT", "/fhir/metadata", PATIENT)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD")
    for path in ("/fhir/Patient/p1/$brew", "/fhir/Patient/p1/x/y/z/a", "/fhir/_brew"):
        assert code_of(server.call("GET", path)) in ("route.unknown", "route.type")
    assert server.call("GET", "/fhirx").status_code == 404


def test_a_batch_does_each_entry_for_itself(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    doing = [
        {"request": {"method": "GET", "url": "Patient/p1"}},
        {"request": {"method": "GET", "url": "Patient/none"}},
        {"request": {"method": "GET", "url": "Patient?_id=p1"}},
        {"resource": {"resourceType": "Patient", "x": 1}, "request": {"method": "POST", "url": "Patient"}},
        {
            "resource": PATIENT | {"active": False},
            "request": {"method": "PUT", "url": "Patient/p1", "ifMatch": 'W/"1"'},
        },
        {"resource": path_patch(("delete", "Patient.active", {})), "request": {"method": "PATCH", "url": "Patient/p1"}},
        {"request": {"method": "DELETE", "url": "Patient/p1"}},
        {"request": {"method": "POST", "url": ""}},
        {},
    ]
    response = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "batch", "entry": doing})
    rows = json.loads(response.data)["entry"]
    assert [row["response"]["status"][:3] for row in rows] == [
        "200",
        "404",
        "200",
        "422",
        "200",
        "200",
        "204",
        "400",
        "400",
    ]
    assert rows[0]["resource"]["id"] == "p1"
    assert rows[2]["resource"]["type"] == "searchset"
    assert rows[4]["response"]["etag"] == 'W/"2"'
    assert rows[3]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert check(parse(response.data)) == []


def test_a_transaction_deletes_first_and_reads_last(server):
    server.call("PUT", "/fhir/Patient/p1", PATIENT | {"identifier": [{"system": "urn:x", "value": "1"}]})
    binary = {
        "resourceType": "Binary",
        "contentType": "application/json-patch+json",
        "data": base64.b64encode(b'[{"op":"remove","path":"/active"}]').decode(),
    }
    server.call("PUT", "/fhir/Patient/p2", PATIENT | {"id": "p2"})
    again = {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": "1"}]}
    doing = [
        {"request": {"method": "GET", "url": "Patient?identifier=urn:x|1"}},
        {"resource": again, "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:x|1"}},
        {"resource": binary, "request": {"method": "PATCH", "url": "Patient/p2"}},
        {"request": {"method": "DELETE", "url": "Patient?identifier=urn:x|1"}},
    ]
    response = server.call(
        "POST",
        "/fhir",
        {"resourceType": "Bundle", "type": "transaction", "entry": doing},
        Prefer="return=representation",
    )
    rows = json.loads(response.data)["entry"]
    assert [row["response"]["status"][:3] for row in rows] == ["200", "201", "200", "204"]
    assert rows[0]["resource"]["total"] == 1
    assert rows[0]["resource"]["entry"][0]["resource"]["id"] == rows[1]["resource"]["id"] != "p1"
    assert "active" not in rows[2]["resource"]
    assert server.call("GET", "/fhir/Patient/p1").status_code == 410


def test_a_patch_of_nothing_refuses_the_transaction(server):
    doing = [
        {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p1"}},
        {
            "resource": path_patch(("delete", "Patient.active", {})),
            "request": {"method": "PATCH", "url": "Patient/none"},
        },
    ]
    response = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": doing})
    assert (response.status_code, code_of(response)) == (404, "record.unknown")
    assert server.store.count() == 0


# One request for each shape of the registry, on a server that holds Patient/p1 in two versions.
CALLS = {
    "GET metadata": ("metadata", None, {}),
    "GET openapi.json": ("openapi.json", None, {}),
    "GET Type/id": ("Patient/p1", None, {}),
    "GET Type/id/_history/vid": ("Patient/p1/_history/1", None, {}),
    "GET Type/id/_history": ("Patient/p1/_history", None, {}),
    "GET Type/_history": ("Patient/_history", None, {}),
    "GET _history": ("_history", None, {}),
    "GET Type": ("Patient?active=true", None, {}),
    "GET ": ("?_type=Patient", None, {}),
    "GET Type/_search": ("Patient/_search?active=true", None, {}),
    "POST Type/_search": ("Patient/_search", b"active=true", {"Content_Type": "application/x-www-form-urlencoded"}),
    "POST _search": ("_search", b"_type=Patient", {"Content_Type": "application/x-www-form-urlencoded"}),
    "GET Type/id/Type": ("Patient/p1/Observation", None, {}),
    "POST Type/id/Type/_search": (
        "Patient/p1/Observation/_search",
        b"status=final",
        {"Content_Type": "application/x-www-form-urlencoded"},
    ),
    "POST Type/id/_search": ("Patient/p1/_search", b"", {"Content_Type": "application/x-www-form-urlencoded"}),
    "GET Type/id/$everything": ("Patient/p1/$everything", None, {}),
    "POST Type/id/$everything": ("Patient/p1/$everything", {"resourceType": "Parameters"}, {}),
    "GET Type/$everything": ("Patient/$everything", None, {}),
    "POST Type/$everything": ("Patient/$everything", {"resourceType": "Parameters"}, {}),
    "POST Type/$validate": ("Patient/$validate", PATIENT, {}),
    "POST Type/id/$validate": ("Patient/p1/$validate", PATIENT, {}),
    "GET Type/id/$validate": ("Patient/p1/$validate", None, {}),
    "GET Type/id/$meta": ("Patient/p1/$meta", None, {}),
    "GET Type/id/_history/vid/$meta": ("Patient/p1/_history/1/$meta", None, {}),
    "POST Type/id/$meta": ("Patient/p1/$meta", b"", {}),
    "POST Type/id/_history/vid/$meta": ("Patient/p1/_history/1/$meta", {"resourceType": "Parameters"}, {}),
    "GET Type/$meta": ("Patient/$meta", None, {}),
    "POST Type/$meta": ("Patient/$meta", {"resourceType": "Parameters"}, {}),
    "GET $meta": ("$meta", None, {}),
    "POST $meta": ("$meta", {"resourceType": "Parameters"}, {}),
    "POST Type/id/$meta-add": (
        "Patient/p1/$meta-add",
        {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]},
        {},
    ),
    "POST Type/id/$meta-delete": (
        "Patient/p1/$meta-delete",
        {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]},
        {},
    ),
    "GET Type/id/$proof": ("Patient/p1/$proof", None, {}),
    "GET Type/id/_history/vid/$proof": ("Patient/p1/_history/1/$proof", None, {}),
    "POST Type": ("Patient", PATIENT, {}),
    "PUT Type/id": ("Patient/p9", PATIENT | {"id": "p9"}, {}),
    "PUT Type": ("Patient?_id=p1", PATIENT, {}),
    "PATCH Type/id": ("Patient/p1", [{"op": "remove", "path": "/active"}], PATCH),
    "PATCH Type": ("Patient?_id=p1", [{"op": "remove", "path": "/active"}], PATCH),
    "DELETE Type/id": ("Patient/p1", None, {}),
    "DELETE Type": ("Patient?_id=p1", None, {}),
    "POST ": ("", {"resourceType": "Bundle", "type": "transaction"}, {}),
    "GET $export": ("$export", None, ASYNC),
    "POST $export": ("$export", {"resourceType": "Parameters"}, ASYNC),
    "GET Type/$export": ("Patient/$export", None, ASYNC),
    "POST Type/$export": ("Patient/$export", {"resourceType": "Parameters"}, ASYNC),
    "GET Type/id/$export": ("Group/g1/$export", None, ASYNC),
    "POST Type/id/$export": ("Group/g1/$export", {"resourceType": "Parameters"}, ASYNC),
    "POST $claim-provenance": ("$claim-provenance", {"resourceType": "Claim"}, {}),
    "POST $verify-claim-evidence": ("$verify-claim-evidence", b"no zip", {"Content_Type": "application/zip"}),
    "GET $export-status/id": ("STATUS", None, {}),
    "DELETE $export-status/id": ("STATUS", None, {}),
    "GET $export-file/id": ("FILE", None, {}),
}


def begun(server, path: str) -> str:
    """Begin an export, and name its status or a file of it."""
    status = server.call("GET", "/fhir/$export", **ASYNC).headers["Content-Location"].removeprefix(f"{BASE_URL}/")
    if path == "STATUS":
        return status
    output = json.loads(server.call("GET", f"/fhir/{status}").data)["output"]
    return output[0]["url"].removeprefix(f"{BASE_URL}/")


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=lambda one: f"{one.method} {one.shape}")
def test_each_interaction_of_the_registry_is_served_to_who_may_and_to_nobody_else(server, interaction):
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    server.call("PUT", "/fhir/Patient/p1", PATIENT)
    server.call("PUT", "/fhir/Group/g1", {"resourceType": "Group", "id": "g1", "type": "person", "actual": True})
    path, body, headers = CALLS[f"{interaction.method} {interaction.shape}"]
    if path in ("STATUS", "FILE"):
        path = begun(server, path)
    done = server.call(interaction.method, f"/fhir/{path}", body, **headers)
    assert done.status_code < 300, done.data
    if interaction.name not in ("metadata", "openapi"):
        assert server.client.open(f"/fhir/{path}", method=interaction.method).status_code == 401
    if interaction.action is not None:
        denied = server.call(interaction.method, f"/fhir/{path}", body, scope="system/Group.cruds", **headers)
        assert denied.status_code in (403, 404)


def test_the_capability_statement_is_valid_and_says_what_the_registry_has(server):
    document = json.loads(server.client.get("/fhir/metadata").data)
    assert check(parse(json.dumps(document).encode())) == []
    (rest,) = document["rest"]
    told = {row["code"] for row in rest["resource"][0]["interaction"]} | {row["code"] for row in rest["interaction"]}
    assert told == {one.code for one in INTERACTIONS if one.code} | {"batch"}
    types = {row["type"]: row for row in rest["resource"]}
    assert len(types) == 145
    assert "Parameters" not in types
    operations = {row["name"] for row in types["Patient"]["operation"]}
    ours = {"claim-provenance", "verify-claim-evidence"}
    assert operations | ours == {one.operation for one in INTERACTIONS if one.operation}
    assert not operations & ours
    assert not {"everything", "export"} & {row["name"] for row in types["Observation"]["operation"]}
    told = [*rest["operation"], *types["Patient"]["operation"], *types["Group"]["operation"]]
    assert [row["definition"].rsplit("/", 1)[1] for row in told if row["name"] == "export"] == [
        "export",
        "patient-export",
        "group-export",
    ]
    assert [row["name"] for row in rest["operation"]] == ["meta", "export", *sorted(ours)]
    assert {row["definition"] for row in rest["operation"] if row["name"] in ours} == {
        f"https://medchain.example/fhir/OperationDefinition/{name}" for name in ours
    }
    # HL7 spells its ids so (profiles-resources.xml).
    assert {url.rsplit("/", 1)[1] for url in rest["compartment"]} == {
        "device",
        "encounter",
        "patient",
        "practitioner",
        "relatedPerson",
    }
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+.*", document["software"]["version"])
    assert document["instantiates"] == ["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"]
    uris = {row["url"]: row["valueUri"] for row in rest["security"]["extension"][0]["extension"]}
    assert uris["token"] == "http://127.0.0.1:41000/token"
