"""Bulk export over HTTP (HL7 Bulk Data Access 2.0)."""

from __future__ import annotations

import json

import pytest

ASYNC = {"Prefer": "respond-async"}
BASE = "http://127.0.0.1:41000"


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
def ward(server):
    """Three patients with observations, one of no patient, a doctor, and a group of two."""
    for name in ("p1", "p2", "p3"):
        server.call("PUT", f"/fhir/Patient/{name}", {"resourceType": "Patient", "id": name, "active": True})
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
    return json.loads(response.data)


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
