"""Bulk export over HTTP, and attacks on it (HL7 Bulk Data Access 2.0, clauses of its export page by name)."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from urllib.parse import quote

import pytest
from sqlalchemy import delete, insert, update

from fhir_bridge.bulk import deletions, finding
from fhir_bridge.rest import export, export_lines
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.clients import client_document, make_client
from fhir_bridge.smart.scopes import parse_scopes
from medchain.crypto.es384 import Es384Signer, public_jwk
from medchain.store import exports
from medchain.store.tables import export_file, export_job, unindexed

ASYNC = {"Prefer": "respond-async"}
BASE = "http://127.0.0.1:41000"
PATIENT = {"resourceType": "Patient", "name": [{"family": "测试"}], "active": True}
OF_P1 = ["Group/g1", "Observation/o0", "Observation/o3", "Patient/p1"]
OF_GROUP = sorted([*OF_P1, "Observation/o1", "Observation/o4", "Patient/p2"])


def observation(number: int, patient: str, status: str = "final") -> dict:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": status,
        "code": {"text": "weight"},
        "subject": {"reference": f"Patient/{patient}"},
        "valueQuantity": {"value": 5, "unit": "kg"},
    }


@pytest.fixture
def ward(server, monkeypatch):
    """Three patients with observations, one of no patient, a doctor, and a group of two; all is found at once."""
    for name in ("KICK_OFF_S", "LOOK_S"):
        monkeypatch.setattr(export, name, 600.0)
    for name in ("p1", "p2", "p3"):
        server.call("PUT", f"/fhir/Patient/{name}", PATIENT | {"id": name})
    for number in range(6):
        status = "final" if number < 3 else "preliminary"
        server.call("PUT", f"/fhir/Observation/o{number}", observation(number, f"p{1 + number % 3}", status))
    free = observation(9, "p1") | {"subject": {"reference": "Location/l1"}}
    server.call("PUT", "/fhir/Location/l1", {"resourceType": "Location", "id": "l1"})
    server.call("PUT", "/fhir/Observation/o9", free)
    server.call("PUT", "/fhir/Practitioner/d1", {"resourceType": "Practitioner", "id": "d1"})
    members = [{"entity": {"reference": "Patient/p1"}}, {"entity": {"reference": "Patient/p2"}}]
    members.append({"entity": {"reference": "Patient/p3"}, "inactive": True})
    group = {"resourceType": "Group", "id": "g1", "type": "person", "actual": True, "member": members}
    server.call("PUT", "/fhir/Group/g1", group)
    return server


def code_of(response) -> str:
    return json.loads(response.data)["issue"][0]["details"]["coding"][0]["code"]


def path_of(url: str) -> str:
    assert url.startswith(BASE)
    return url.removeprefix(BASE)


def begin(server, path: str = "$export", body=None, *, method: str = "GET", **given: str) -> str:
    response = server.call(method, f"/fhir/{path}", body, **(ASYNC | given))
    assert (response.status_code, response.data) == (202, b""), response.data
    return path_of(response.headers["Content-Location"])


def manifest(server, status: str, **given: str) -> dict:
    response = server.call("GET", status, **given)
    assert (response.status_code, response.content_type) == (200, "application/json"), response.data
    document = json.loads(response.data)
    # What these tests themselves leave on the audit is not what they are about.
    document["output"] = [row for row in document["output"] if row["type"] != "AuditEvent"]
    return document


def names(server, status: str, **given: str) -> list[str]:
    found = []
    for row in manifest(server, status, **given)["output"]:
        response = server.call("GET", path_of(row["url"]), **given)
        assert (response.status_code, response.content_type) == (200, "application/fhir+ndjson")
        lines = [json.loads(line) for line in response.data.splitlines()]
        assert {line["resourceType"] for line in lines} <= {row["type"]}
        found += [f"{line['resourceType']}/{line['id']}" for line in lines]
    return sorted(found)


def test_an_export_of_the_system_is_ready_at_the_first_poll_with_all_that_is_stored(ward):
    status = begin(ward)
    document = manifest(ward, status)
    assert document["transactionTime"] == "2026-12-01T00:00:00Z"
    assert (document["request"], document["requiresAccessToken"]) == (f"{BASE}/fhir/$export", True)
    assert document["error"] == []
    assert {row["type"]: row["count"] for row in document["output"]} == {
        "Group": 1,
        "Location": 1,
        "Observation": 7,
        "Patient": 3,
        "Practitioner": 1,
    }
    assert len(names(ward, status)) == 13


def test_each_line_is_the_resource_as_it_is_stored(ward):
    (row,) = manifest(ward, begin(ward, "$export?_type=Practitioner"))["output"]
    assert ward.call("GET", path_of(row["url"])).data == ward.call("GET", "/fhir/Practitioner/d1").data + b"\n"


def parameters(*pairs: tuple[str, object]) -> dict:
    """Write Parameters; a reference where the value is an object, else a string."""
    kinds = {dict: "valueReference", str: "valueString", int: "valueInteger"}
    rows = [{"name": name, kinds[type(value)]: value} for name, value in pairs]
    return {"resourceType": "Parameters", "parameter": rows}


def patient(name: str) -> tuple[str, object]:
    return "patient", {"reference": f"Patient/{name}"}


def first_file(server, status: str, type_name: str = "Observation", **given: str) -> str:
    rows = manifest(server, status, **given)["output"]
    return next(path_of(row["url"]) for row in rows if row["type"] == type_name)


def lines(response) -> list[dict]:
    assert response.status_code == 200, response.data
    return [json.loads(line) for line in response.data.splitlines()]


# Endpoints: all patients, group of patients.


def test_an_export_of_patients_has_their_compartments_and_nothing_else(ward):
    found = names(ward, begin(ward, "Patient/$export"))
    assert found == [
        "Group/g1",
        *(f"Observation/o{number}" for number in range(6)),
        "Patient/p1",
        "Patient/p2",
        "Patient/p3",
    ]


def test_an_export_of_a_group_has_what_is_its_active_members(ward):
    assert names(ward, begin(ward, "Group/g1/$export")) == OF_GROUP


def test_patients_can_be_chosen_by_post(ward):
    status = begin(ward, "Patient/$export", parameters(patient("p1")), method="POST")
    assert names(ward, status) == OF_P1
    status = begin(ward, "Group/g1/$export", parameters(patient("p1"), ("_type", "Patient")), method="POST")
    assert names(ward, status) == ["Patient/p1"]


@pytest.mark.parametrize("path", ["Group/g1/$export", "Patient/$export"])
def test_a_patient_who_is_no_member_or_not_here_is_refused_or_passed_over(ward, path):
    body = parameters(patient("p1"), patient("p9"))
    response = ward.call("POST", f"/fhir/{path}", body, **ASYNC)
    assert (response.status_code, code_of(response)) == (400, "export.patient")
    status = begin(ward, path, body, method="POST", Prefer="respond-async, handling=lenient")
    assert names(ward, status) == OF_P1


def test_a_group_that_is_not_there_or_is_no_group_is_unknown(ward):
    for path in ("Group/none/$export", "Patient/p1/$export", "Observation/$export"):
        assert ward.call("GET", f"/fhir/{path}", **ASYNC).status_code == 404
    ward.call("DELETE", "/fhir/Group/g1")
    assert ward.call("GET", "/fhir/Group/g1/$export", **ASYNC).status_code == 410


# Query parameters.


def test_types_and_filters_narrow_an_export_and_filters_of_one_type_are_alternatives(ward):
    assert names(ward, begin(ward, "$export?_type=Patient&_type=Practitioner,Location")) == [
        "Location/l1",
        "Patient/p1",
        "Patient/p2",
        "Patient/p3",
        "Practitioner/d1",
    ]
    filters = quote("Observation?status=final&subject=Patient/p1,Observation?status=preliminary", safe=",")
    found = names(ward, begin(ward, f"$export?_type=Observation,Practitioner&_typeFilter={filters}"))
    assert found == ["Observation/o0", "Observation/o3", "Observation/o4", "Observation/o5", "Practitioner/d1"]
    body = parameters(("_type", "Observation"), ("_typeFilter", "Observation?subject=Patient/p2"))
    assert names(ward, begin(ward, "$export", body, method="POST")) == ["Observation/o1", "Observation/o4"]


def test_since_counts_from_its_own_second_on(ward):
    ward.time[0] += 100
    ward.call("PUT", "/fhir/Observation/o0", observation(0, "p1"))
    for since, found in (
        ("2026-12-01T00:01:40Z", ["Observation/o0"]),
        ("2026-12-01T08:01:40%2B08:00", ["Observation/o0"]),
        ("2026-12-01T08:01:40+08:00", ["Observation/o0"]),
        ("2026-12-01T00:01:41Z", []),
    ):
        assert names(ward, begin(ward, f"$export?_type=Observation&_since={since}")) == found


SINCE = "_since=2026-12-01T00:01:40Z"


def deleted(server, status: str, **given: str) -> list[str]:
    """List what an export says was deleted (Response - Complete Status, ``deleted``)."""
    found = []
    for row in manifest(server, status, **given)["deleted"]:
        assert row["type"] == "Bundle"
        bundles = lines(server.call("GET", path_of(row["url"]), **given))
        assert len(bundles) == row["count"]
        for bundle in bundles:
            checked = server.call("POST", "/fhir/Bundle/$validate", bundle)
            assert all(issue["severity"] != "error" for issue in json.loads(checked.data)["issue"])
            assert bundle["type"] == "transaction"
            assert {row["request"]["method"] for row in bundle["entry"]} == {"DELETE"}
            found += [row["request"]["url"] for row in bundle["entry"]]
    return found


def test_what_was_deleted_since_is_listed_and_is_in_no_file_of_records(ward):
    """Response - Complete Status: those that match the request and were deleted since, as Bundles with DELETE."""
    ward.call("DELETE", "/fhir/Observation/o5")
    ward.time[0] += 100
    for name in ("Observation/o0", "Observation/o4", "Practitioner/d1"):
        ward.call("DELETE", f"/fhir/{name}")
    ward.call("PUT", "/fhir/Observation/o4", observation(4, "p2"))
    status = begin(ward, f"$export?{SINCE}")
    ward.call("DELETE", "/fhir/Patient/p3")
    assert deleted(ward, status) == ["Observation/o0", "Practitioner/d1"]
    assert names(ward, status) == ["Observation/o4"]
    assert deleted(ward, begin(ward, f"$export?_type=Location&{SINCE}")) == []
    assert "deleted" not in manifest(ward, begin(ward, "$export?_type=Observation"))


def test_what_was_deleted_must_have_been_what_the_export_is_of(ward):
    """Group, patients and `_typeFilter` hold of it as it last was."""
    ward.time[0] += 100
    for name in ("o0", "o3", "o5", "o9"):
        ward.call("DELETE", f"/fhir/Observation/{name}")
    assert deleted(ward, begin(ward, f"Patient/$export?{SINCE}")) == [f"Observation/o{number}" for number in (0, 3, 5)]
    assert deleted(ward, begin(ward, f"Group/g1/$export?{SINCE}")) == ["Observation/o0", "Observation/o3"]
    filters = "_typeFilter=Observation?status=final"
    assert deleted(ward, begin(ward, f"$export?{SINCE}&_type=Observation&{filters}")) == [
        "Observation/o0",
        "Observation/o9",
    ]
    both = f"{filters}%26subject=Patient/p1,Observation?status=preliminary"
    assert deleted(ward, begin(ward, f"Patient/$export?{SINCE}&{both}")) == [
        f"Observation/o{number}" for number in (0, 3, 5)
    ]
    ward.call("DELETE", "/fhir/Patient/p1")
    assert deleted(ward, begin(ward, f"Group/g1/$export?_type=Patient&{SINCE}")) == ["Patient/p1"]
    nobody = {"resourceType": "Group", "id": "g2", "type": "person", "actual": True}
    ward.call("PUT", "/fhir/Group/g2", nobody)
    assert deleted(ward, begin(ward, f"Group/g2/$export?{SINCE}")) == []


def test_of_deletions_nobody_hears_who_may_not_have_all_of_a_type(ward):
    ward.time[0] += 100
    status = begin(ward, f"$export?{SINCE}")
    ward.call("DELETE", "/fhir/Observation/o0")
    ward.call("DELETE", "/fhir/Location/l1")
    assert deleted(ward, status) == []
    for scope, found in (
        ("system/*.rs", ["Location/l1", "Observation/o0"]),
        ("system/Location.rs", ["Location/l1"]),
        ("system/Observation.rs?status=final system/Location.rs", ["Location/l1"]),
    ):
        assert deleted(ward, begin(ward, f"$export?{SINCE}", scope=scope), scope=scope) == found
    # A later token of less is told of less; one of more does not get what could not be asked for.
    assert deleted(ward, begin(ward, f"$export?{SINCE}"), scope="system/Location.rs") == ["Location/l1"]
    narrow = begin(ward, f"$export?{SINCE}", scope="system/Observation.rs?status=final system/Location.rs")
    assert deleted(ward, narrow) == ["Location/l1"]
    (row,) = manifest(ward, begin(ward, f"$export?_type=Observation&{SINCE}"))["deleted"]
    only = "system/Observation.rs?status=final"
    assert lines(ward.call("GET", path_of(row["url"]), scope=only)) == []
    assert ward.call("GET", path_of(row["url"]), scope="system/Location.rs").status_code == 403


@pytest.mark.parametrize("chain", ["subject:Patient.family=测试", "_has:Provenance:target:_id=pr1"])
def test_attack_a_filter_asks_of_deletions_what_is_said_of_records_that_the_caller_may_not_have(ward, chain):
    """R4 §3.1.1.4.15 (chains), in `_typeFilter`: as of what is there, where such a filter finds nothing."""
    target = [{"reference": "Observation/o0"}]
    provenance = {"resourceType": "Provenance", "id": "pr1", "target": target, "recorded": "2026-12-01T00:00:00Z"}
    provenance["agent"] = [{"who": {"display": "x"}}]
    assert ward.call("PUT", "/fhir/Provenance/pr1", provenance).status_code == 201
    filters = f"_type=Observation&_typeFilter={quote(f'Observation?{chain}')}"
    path, narrow = f"$export?{SINCE}&{filters}", "system/Observation.rs"
    assert names(ward, begin(ward, f"$export?{filters}", scope=narrow), scope=narrow) == []
    assert "Observation/o0" in names(ward, begin(ward, f"$export?{filters}"))
    ward.time[0] += 100
    ward.call("DELETE", "/fhir/Observation/o0")
    assert deleted(ward, begin(ward, path)) == ["Observation/o0"]
    assert deleted(ward, begin(ward, path, scope=narrow), scope=narrow) == []


def test_deletions_are_found_in_parts_and_those_of_whom_all_was_erased_are_left_out(ward, monkeypatch):
    monkeypatch.setattr(deletions, "PART", 2)
    monkeypatch.setattr(export_lines, "EACH", 1)
    monkeypatch.setattr(export, "EACH", 1)
    monkeypatch.setattr(finding, "FILE_RECORDS", 2)
    ward.time[0] += 100
    for number in range(5):
        ward.call("DELETE", f"/fhir/Observation/o{number}")
    status = begin(ward, f"$export?_type=Observation&{SINCE}")
    assert [row["count"] for row in manifest(ward, status)["deleted"]] == [2, 2, 1]
    assert deleted(ward, status) == [f"Observation/o{number}" for number in range(5)]
    ward.store.erase(ward.store.get("Observation", "o0").epoch_id, 1)
    assert deleted(ward, begin(ward, f"$export?_type=Observation&{SINCE}")) == [f"Observation/o{n}" for n in (1, 2, 4)]


def test_a_fetch_of_deletions_leaves_events_of_them(ward):
    ward.time[0] += 100
    ward.call("DELETE", "/fhir/Practitioner/d1")
    (row,) = manifest(ward, begin(ward, f"$export?_type=Practitioner&{SINCE}"))["deleted"]
    ward.call("GET", path_of(row["url"]))
    assert events(ward)[-1]["entity"][0]["what"]["reference"] == "Practitioner/d1/_history/2"


def test_elements_leave_out_what_is_not_mandatory_and_say_so(ward):
    status = begin(ward, "$export?_type=Observation,Patient&_elements=Patient.active,subject")
    (row, *_) = lines(ward.call("GET", first_file(ward, status)))
    assert set(row) == {"resourceType", "id", "meta", "status", "code", "subject"}
    assert row["meta"]["tag"][0]["code"] == "SUBSETTED"
    (row, *_) = lines(ward.call("GET", first_file(ward, status, "Patient")))
    assert set(row) == {"resourceType", "id", "meta", "active"}


@pytest.mark.parametrize("name", ["application/fhir%2Bndjson", "application/fhir+ndjson", "ndjson"])
def test_the_format_has_several_names(ward, name):
    begin(ward, f"$export?_outputFormat={name}")


REFUSED = {
    "$export?_outputFormat=text/csv": "export.parameter",
    "$export?_since=yesterday": "export.parameter",
    "$export?_since=2026&_since=2025": "export.parameter",
    "$export?_type=Nonsense": "export.parameter",
    "$export?_type=Parameters": "export.parameter",
    "Patient/$export?_type=Practitioner": "export.parameter",
    "$export?_elements=a.b.c": "export.parameter",
    "$export?_typeFilter=Observation": "export.parameter",
    "$export?_type=Patient&_typeFilter=Observation%3Fstatus=final": "export.parameter",
    "$export?_typeFilter=Observation%3Fnonsense%3D1": "search.parameter",
    "$export?_typeFilter=Observation%3Fstatus%3Dfinal%26_sort%3Ddate": "export.parameter",
    "$export?_typeFilter=Observation%3Fstatus%3Dfinal%26_include%3DObservation:subject": "export.parameter",
    "$export?_typeFilter=" + "%2C".join(f"Observation%3Fstatus%3Da{n}" for n in range(65)): "export.parameter",
    "$export?includeAssociatedData=LatestProvenanceResources": "export.parameter",
    "$export?patient=Patient/p1": "export.parameter",
    "Patient/$export?patient=Patient/p1": "export.parameter",
    "$export?nonsense=1": "export.parameter",
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_not_supported_or_not_valid_is_refused_and_said(ward, path):
    response = ward.call("GET", f"/fhir/{path}", **ASYNC)
    assert (response.status_code, code_of(response)) == (400, REFUSED[path])
    assert ("nonsense" in response.text) == (REFUSED[path] == "search.parameter")


BODIES = [
    (PATIENT, "export.body"),
    ({"resourceType": "Parameters", "parameter": "x"}, "export.body"),
    ({"resourceType": "Parameters", "parameter": ["x"]}, "export.body"),
    (parameters(("_type", 7)), "export.parameter"),
    (parameters(("patient", {"reference": "Practitioner/d1"})), "export.parameter"),
    (parameters(("patient", {"display": "somebody"})), "export.parameter"),
    ({"resourceType": "Parameters", "parameter": [{"name": "_type"}]}, "export.parameter"),
]


@pytest.mark.parametrize(("body", "code"), BODIES)
def test_a_body_that_says_nothing_that_is_supported_is_refused(ward, body, code):
    response = ward.call("POST", "/fhir/Patient/$export", body, **ASYNC)
    assert (response.status_code, code_of(response)) == (400, code)


def test_a_list_of_patients_of_the_whole_system_is_refused(ward):
    response = ward.call("POST", "/fhir/$export", parameters(patient("p1")), **ASYNC)
    assert (response.status_code, code_of(response)) == (400, "export.parameter")


def test_asking_for_the_head_begins_nothing(ward):
    refused = ward.call("HEAD", "/fhir/$export", **ASYNC)
    # RFC 9110 §15.5.6: Allow has the methods that the address does have.
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_an_entry_of_a_bundle_begins_nothing(ward, kind, monkeypatch):
    """Its answer would not say where the status is (FHIR R4 §2.36: an entry has no Content-Location)."""
    monkeypatch.setattr(exports, "MAX_EACH", 1)
    entry = {"request": {"method": "GET", "url": "Patient/$export"}}
    bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
    (answer,) = json.loads(ward.call("POST", "/fhir", bundle, **ASYNC).data)["entry"]
    assert answer["response"]["status"] == "400 Bad Request"
    assert answer["response"]["outcome"]["issue"][0]["details"]["coding"][0]["code"] == "export.prefer"
    begin(ward, "Patient/$export")


def test_who_wants_an_answer_at_once_is_refused(ward):
    for given in ({}, {"Prefer": "handling=lenient"}):
        response = ward.call("GET", "/fhir/$export", **given)
        assert (response.status_code, code_of(response)) == (400, "export.prefer")


def test_what_a_lenient_client_asks_for_in_vain_widens_nothing(ward):
    lenient = {"Prefer": "respond-async, handling=lenient"}
    assert names(ward, begin(ward, "$export?_type=Nonsense,Location&includeAssociatedData=x&y=z", **lenient)) == [
        "Location/l1"
    ]
    assert names(ward, begin(ward, "$export?_type=Nonsense", **lenient)) == []
    assert names(ward, begin(ward, "Patient/$export?_type=Practitioner", **lenient)) == []
    status = begin(ward, "$export?_type=Location,Patient", scope="system/Location.rs", **lenient)
    assert names(ward, status, scope="system/Location.rs") == ["Location/l1"]


def test_what_was_passed_over_is_told_in_a_file_of_its_own(ward):
    lenient = {"Prefer": "respond-async, handling=lenient"}
    status = begin(ward, "$export?_type=Nonsense,Location&includeAssociatedData=x&y=z&w=z", **lenient)
    (row,) = manifest(ward, status)["error"]
    response = ward.call("GET", path_of(row["url"]), Accept_Language="zh")
    told = [json.loads(line)["issue"][0] for line in response.data.splitlines()]
    assert (row["type"], row["count"], response.content_type) == ("OperationOutcome", 3, "application/fhir+ndjson")
    assert [one.get("diagnostics") for one in told] == ["parameter=_type", "parameter=includeAssociatedData", None]
    assert {(one["severity"], one["details"]["text"]) for one in told} == {("warning", "导出参数不受支持或不合法。")}
    body = parameters(patient("p1"), patient("p9"))
    for path in ("Patient/$export", "Group/g1/$export"):
        assert len(manifest(ward, begin(ward, path, body, method="POST", **lenient))["error"]) == 1


# Snapshot, files, formats.


def test_attachments_have_whole_addresses(ward):
    content = [{"attachment": {"url": "Binary/b1"}}, {"attachment": {"url": "https://elsewhere.example/b2"}}]
    document = {"resourceType": "DocumentReference", "id": "r1", "status": "current", "content": content}
    assert ward.call("PUT", "/fhir/DocumentReference/r1", document).status_code == 201
    (row,) = lines(ward.call("GET", first_file(ward, begin(ward), "DocumentReference")))
    urls = [one["attachment"]["url"] for one in row["content"]]
    assert urls == [f"{BASE}/fhir/Binary/b1", "https://elsewhere.example/b2"]


def test_an_export_is_of_the_moment_of_its_kick_off(ward):
    status = begin(ward, "$export?_type=Observation")
    ward.call("PUT", "/fhir/Observation/o0", observation(0, "p2", "amended"))
    ward.call("PUT", "/fhir/Observation/o10", observation(10, "p1"))
    ward.call("DELETE", "/fhir/Observation/o1")
    rows = {row["id"]: row for row in lines(ward.call("GET", first_file(ward, status)))}
    assert sorted(rows) == ["o0", "o1", "o2", "o3", "o4", "o5", "o9"]
    assert (rows["o0"]["meta"]["versionId"], rows["o0"]["status"]) == ("1", "final")


def test_large_exports_come_in_files_and_are_found_in_parts(ward, monkeypatch):
    monkeypatch.setattr(finding, "FILE_RECORDS", 2)
    monkeypatch.setattr(finding, "PART", 4)
    monkeypatch.setattr(finding, "_PATIENTS_AT_ONCE", 1)
    status = begin(ward, "$export?_type=Observation")
    assert [row["count"] for row in manifest(ward, status)["output"]] == [2, 2, 2, 1]
    assert names(ward, status) == [f"Observation/o{number}" for number in (0, 1, 2, 3, 4, 5, 9)]
    monkeypatch.setattr(finding, "PART", 1)
    assert names(ward, begin(ward, "Group/g1/$export")) == OF_GROUP


def test_a_file_is_compressed_for_who_takes_it_so(ward):
    path = first_file(ward, begin(ward))
    plain, packed = ward.call("GET", path), ward.call("GET", path, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert ward.call("GET", path, Accept="application/fhir+ndjson").data == plain.data


def test_a_binary_is_a_line_with_its_bytes_and_nothing_once_its_key_is_gone(ward):
    made = ward.call("POST", "/fhir/Binary", b"%PDF \n\xff", Content_Type="application/pdf")
    path = first_file(ward, begin(ward), "Binary")
    (row,) = lines(ward.call("GET", path))
    assert base64.b64decode(row["data"]) == b"%PDF \n\xff"
    record_id = made.headers["Location"].split("/")[-3]
    ward.store.erase(ward.store.get("Binary", record_id).epoch_id, 1)
    assert lines(ward.call("GET", path)) == []


def test_what_was_erased_meanwhile_is_left_out(ward):
    path = first_file(ward, begin(ward))
    ward.store.erase(ward.store.get("Observation", "o0").epoch_id, 1)
    assert [row["id"] for row in lines(ward.call("GET", path))] == ["o1", "o2", "o4", "o5", "o9"]


# Status, delete, restart.


def test_a_deleted_export_is_gone_with_its_files(ward):
    status = begin(ward)
    path = first_file(ward, status)
    assert ward.call("DELETE", status).status_code == 202
    for method, gone in (("GET", status), ("DELETE", status), ("GET", path)):
        response = ward.call(method, gone)
        assert (response.status_code, code_of(response)) == (404, "export.unknown")


def test_an_export_tells_how_far_it_is_and_goes_on_at_each_look(ward, monkeypatch):
    monkeypatch.setattr(export, "KICK_OFF_S", -1.0)
    monkeypatch.setattr(export, "LOOK_S", -1.0)
    status = begin(ward, "$export?_type=Group,Location,Observation,Patient")
    told = []
    while (response := ward.call("GET", status)).status_code == 202:
        told.append((response.headers["X-Progress"], response.headers["Retry-After"]))
    assert told == [("50% of the types searched", "1"), ("75% of the types searched", "1")]
    assert response.headers["Expires"] == "Tue, 01 Dec 2026 01:00:00 GMT"
    assert len(names(ward, status)) == 12


def test_an_export_survives_a_process_that_is_killed_after_its_kick_off(ward):
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom fhir_bridge.rest import export\n"
        "from tests.unit.fhir_bridge.conftest import opened\nexport.KICK_OFF_S = -1.0\n"
        "opening = opened(Path(sys.argv[1]))\nserver = next(opening)\n"
        "answer = server.call('GET', '/fhir/$export', Prefer='respond-async')\n"
        "print(answer.headers['Content-Location'], flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(ward.folder)], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert len(names(ward, path_of(done.stdout.strip()))) == 13


def test_of_two_looks_at_once_one_goes_on_and_both_are_told_the_same(ward, monkeypatch):
    monkeypatch.setattr(export, "KICK_OFF_S", -1.0)
    name = begin(ward, "$export?_type=Group,Observation").rsplit("/", 1)[1]
    row = ward.store.export(name, finding.owner_of(Access("test", ())), ward.time[0])
    order = ward.core.exports.order(row)
    rights = finding.Rights((), lambda rows: [True] * len(rows))
    first, second = (ward.core.exports.advance(row, order, rights, 600.0) for _ in range(2))
    assert first == second
    assert [one.number for one in ward.store.export_files(name)] == [1, 2]


def test_an_export_that_nobody_goes_on_with_ends(ward, monkeypatch):
    monkeypatch.setattr(export, "KICK_OFF_S", -1.0)
    status = begin(ward)
    ward.time[0] += export.STALE_S + 1
    response = ward.call("GET", status)
    assert (response.status_code, code_of(response)) == (410, "export.expired")
    ward.time[0] += exports.KEPT_S
    assert ward.call("GET", status).status_code == 404
    begin(ward)
    with ward.store.database.read("export_job") as connection:
        assert len(connection.execute(export_job.select()).all()) == 1


def test_an_export_waits_while_records_are_being_indexed(ward):
    with ward.store.database.write("unindexed") as connection:
        connection.execute(insert(unindexed).values(number=999_999))
    status = begin(ward)
    assert ward.call("GET", status).status_code == 202
    with ward.store.database.write("unindexed") as connection:
        connection.execute(delete(unindexed))
    assert len(names(ward, status)) == 13


def test_a_client_has_a_bounded_number_of_exports(ward, monkeypatch):
    monkeypatch.setattr(exports, "MAX_EACH", 2)
    first, _ = begin(ward), begin(ward)
    response = ward.call("GET", "/fhir/$export", **ASYNC)
    assert (response.status_code, code_of(response)) == (429, "export.too_many")
    assert response.headers["Retry-After"] == "60"
    ward.call("DELETE", first)
    begin(ward)


# Rights, and attacks.


def test_nobody_gets_in_bulk_what_it_may_not_find_and_read(ward):
    only = {"scope": "system/Patient.rs system/Observation.r system/Group.s system/Location.cud"}
    assert names(ward, begin(ward, **only), **only) == ["Patient/p1", "Patient/p2", "Patient/p3"]
    response = ward.call("GET", "/fhir/$export?_type=Observation", **ASYNC, **only)
    assert (response.status_code, code_of(response)) == (403, "scope.denied")
    response = ward.call("GET", "/fhir/$export", **ASYNC, scope="system/*.r")
    assert (response.status_code, code_of(response)) == (403, "scope.denied")
    assert ward.call("GET", "/fhir/Group/g1/$export", **ASYNC, scope="system/Patient.rs").status_code == 404
    assert ward.client.get("/fhir/$export", headers=ASYNC).status_code == 401


def test_a_constraint_of_a_scope_holds_of_an_export(ward):
    only = {"scope": "system/Observation.rs?status=preliminary"}
    assert names(ward, begin(ward, **only), **only) == ["Observation/o3", "Observation/o4", "Observation/o5"]


def test_a_token_of_one_patient_exports_that_patient(ward, monkeypatch):
    access = Access("app", parse_scopes("patient/*.rs"), patient="p1")
    monkeypatch.setattr(type(ward.tokens), "check", lambda _self, _token: access)
    of_p1 = ["Observation/o0", "Observation/o3", "Patient/p1"]
    for path in ("Patient/$export", "$export"):
        found = [name for name in names(ward, begin(ward, path)) if name.split("/")[0] in ("Observation", "Patient")]
        assert found == of_p1


def test_a_narrower_token_gets_less_of_a_file_that_is_there_already(ward):
    path = first_file(ward, begin(ward))
    only = "system/Observation.rs?status=preliminary"
    assert [row["id"] for row in lines(ward.call("GET", path, scope=only))] == ["o3", "o4", "o5"]
    told = [row["what"]["reference"] for row in events(ward)[-1]["entity"] if "reference" in row.get("what", {})]
    assert told[:3] == [f"Observation/o{number}/_history/1" for number in (3, 4, 5)]
    assert ward.call("GET", path, scope="system/Patient.rs").status_code == 403
    assert ward.call("GET", path, scope="system/Observation.r").status_code == 403
    assert ward.client.get(path).status_code == 401


def test_a_token_that_could_not_have_begun_an_export_neither_looks_at_it_nor_ends_it(ward):
    """Bulk Data Access 2.0, security: scopes of the token that asks count for status, files and deletion."""
    status = begin(ward, "$export?_type=Patient")
    (file,) = [path_of(row["url"]) for row in manifest(ward, status)["output"]]
    for scope in ("system/Observation.rs", "system/Patient.r", "system/Patient.s"):
        for method, path in (("GET", status), ("GET", file), ("DELETE", status)):
            refused = ward.call(method, path, scope=scope)
            assert (refused.status_code, code_of(refused)) == (403, "scope.denied"), (scope, method, path)
    assert ward.call("DELETE", status, scope="system/Patient.rs").status_code == 202


def test_another_clients_export_is_as_good_as_not_there(ward, monkeypatch):
    status = begin(ward)
    path = first_file(ward, status)
    for access in (
        Access("other", parse_scopes("system/*.cruds")),
        Access("test", parse_scopes("user/*.cruds"), user="Practitioner/d1"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(type(ward.tokens), "check", lambda _self, _token, access=access: access)
            for method, tried in (("GET", status), ("DELETE", status), ("GET", path)):
                response = ward.call(method, tried)
                assert (response.status_code, code_of(response)) == (404, "export.unknown")
    assert ward.call("GET", path).status_code == 200


def test_a_link_that_was_altered_moved_or_is_too_old_leads_nowhere(ward):
    status, other = begin(ward), begin(ward)
    path = first_file(ward, status)
    cursor = path.partition("=")[2]
    flipped = cursor[:30] + ("A" if cursor[30] != "A" else "B") + cursor[31:]
    moved = other.replace(export.STATUS, export.FILE)
    bare = path.partition("?")[0]
    for cursor_of, place in ((cursor, moved), (flipped, bare), ("", bare), ("%FF", bare), (cursor[:20], bare)):
        assert ward.call("GET", f"{place}?_cursor={cursor_of}").status_code in (400, 404)
    assert ward.call("GET", bare).status_code == 404
    ward.time[0] += export.LINK_S + 1
    response = ward.call("GET", path)
    assert (response.status_code, code_of(response)) == (404, "export.link")
    assert ward.call("GET", first_file(ward, status)).status_code == 200


def test_a_file_that_has_begun_goes_on_when_the_time_of_its_link_is_over(ward, monkeypatch):
    monkeypatch.setattr(export_lines, "_AT_ONCE", 1)
    outputs = manifest(ward, begin(ward))["output"]
    path = path_of(next(row["url"] for row in outputs if row["type"] == "Observation"))
    pieces = ward.call("GET", path).iter_encoded()
    taken = [next(pieces)]
    ward.time[0] += export.LINK_S + 1
    assert ward.call("GET", path).status_code == 404
    taken += pieces
    assert len(b"".join(taken).splitlines()) == 7


def test_a_client_whose_registration_ended_fetches_nothing(ward):
    made = make_client("his", public_jwk(Es384Signer(b"c" * 32).public), "system/*.rs")
    ward.store.accounts.put_client("his", client_document(made), ward.time[0])
    token = ward.tokens.issue("his", parse_scopes("system/*.rs"), registered=True)
    headers = {"Authorization": f"Bearer {token}"}
    begun = ward.client.get("/fhir/$export", headers=headers | ASYNC)
    told = ward.client.get(path_of(begun.headers["Content-Location"]), headers=headers)
    path = path_of(json.loads(told.data)["output"][0]["url"])
    assert ward.client.get(path, headers=headers).status_code == 200
    ward.store.accounts.disable_client("his", ward.time[0])
    ward.tokens.forget()
    ward.parts.clients.find("his")
    assert ward.client.get(path, headers=headers).status_code == 401


@pytest.mark.parametrize("table", [export_file, export_job])
def test_a_list_or_an_order_that_was_changed_on_disk_is_not_followed(ward, table):
    path = first_file(ward, begin(ward))
    column = {"content": b"x" * 40} if table is export_file else {"request": b"x" * 40}
    with ward.store.database.write(table.name) as connection:
        connection.execute(update(table).values(**column))
    response = ward.call("GET", path)
    assert (response.status_code, code_of(response)) == (500, "store.corrupt")


# What is left behind.


def events(server) -> list[dict]:
    server.drain()
    rows = server.store.by_patient(server.service.patient_token(""), ["AuditEvent"])
    return [json.loads(server.service.open(row).content) for row in rows]


def test_each_step_of_an_export_leaves_an_event_and_a_fetch_one_for_each_record(ward):
    before = len(events(ward))
    status = begin(ward, "$export?_type=Practitioner")
    ward.call("GET", first_file(ward, status, "Practitioner"))
    ward.call("DELETE", status)
    found = events(ward)[before:]
    assert [(one["subtype"][0]["code"], one["action"], one["outcomeDesc"]) for one in found] == [
        ("operation", "E", "HTTP 202"),
        ("operation", "E", "HTTP 200"),
        ("operation", "R", "HTTP 200"),
        ("operation", "D", "HTTP 202"),
    ]
    assert base64.b64decode(found[0]["entity"][0]["query"]) == b"_type=Practitioner"
    assert found[2]["entity"][0]["what"]["reference"] == "Practitioner/d1/_history/1"


def test_nothing_of_an_export_is_in_clear_on_disk_or_in_its_links(ward):
    status = begin(ward, "$export?_typeFilter=" + quote(f"Patient?name={quote('测试')}"))
    path = first_file(ward, status, "Patient")
    assert "测试" in ward.call("GET", path).data.decode()
    with ward.store.database.read("export_job") as connection:
        kept = repr(connection.execute(export_job.select()).all() + connection.execute(export_file.select()).all())
    told = [quote("测试"), "测试", "Patient/p1"]
    assert not any(text in status + path + kept for text in told)
    disk = b"".join(file.read_bytes() for file in ward.folder.rglob("*") if file.is_file())
    assert not any(text.encode() in disk for text in (quote("测试"), "测试", "Patient/p1"))
