"""Attacks on the gate: what a token of one patient must not learn or change, and what no client may write."""

from __future__ import annotations

import base64
import json

import pytest

from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes

OBSERVER = {"source": {"observer": {"identifier": {"system": "urn:medchain:organisation", "value": "renhe-hospital"}}}}
EVENT = {
    "resourceType": "AuditEvent",
    "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
    "recorded": "2026-12-01T00:00:00Z",
    "agent": [{"requestor": True}],
    "source": {"observer": {"display": "the viewer"}},
}


def observation(name: str, patient: str, **more: object) -> dict:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"text": "weight"},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


@pytest.fixture
def ward(server):
    """Two patients, each with an observation."""
    for name in ("p1", "p2"):
        patient = {"resourceType": "Patient", "id": name, "name": [{"family": name}]}
        assert server.call("PUT", f"/fhir/Patient/{name}", patient).status_code == 201
        assert server.call("PUT", f"/fhir/Observation/of-{name}", observation(f"of-{name}", name)).status_code == 201
    return server


@pytest.fixture
def hers(ward, monkeypatch):
    """Call as an application of patient p1."""

    def asked(method: str, path: str, body=None, scopes: str = "patient/*.cruds", **headers: str):
        access = Access("app", parse_scopes(scopes), user="Patient/p1", patient="p1")
        with monkeypatch.context() as patched:
            patched.setattr(type(ward.tokens), "check", lambda _self, _token: access)
            return ward.call(method, path, body, **headers)

    return asked


def code_of(response) -> str:
    return json.loads(response.data)["issue"][0]["details"]["coding"][0]["code"]


def transaction(*requests: dict) -> dict:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(requests)}


def patched(url: str, *rows: dict, **request: str) -> dict:
    data = base64.b64encode(json.dumps(rows).encode()).decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    return {"resource": binary, "request": {"method": "PATCH", "url": url} | request}


def test_a_patch_in_a_transaction_asks_nothing_of_what_is_hidden(hers):
    told = []
    for value in ("final", "amended"):
        row = {"op": "test", "path": "/status", "value": value}
        told.append(hers("POST", "/fhir", transaction(patched("Observation/of-p2", row))))
    told.append(hers("POST", "/fhir", transaction(patched("Observation/none", {"op": "test", "path": "/id"}))))
    told.append(hers("POST", "/fhir", transaction(patched("Observation/of-p2", ifMatch='W/"7"'))))
    assert [(one.status_code, code_of(one)) for one in told] == [
        *[(404, "record.unknown")] * 3,
        (412, "bundle.version"),
    ]


def test_a_patch_in_a_transaction_needs_the_right_to_read(ward):
    bundle = transaction(patched("Observation/of-p2", {"op": "test", "path": "/status", "value": "final"}))
    refused = ward.call("POST", "/fhir", bundle, scope="system/Observation.u")
    assert (refused.status_code, code_of(refused)) == (404, "record.unknown")
    assert ward.call("POST", "/fhir", bundle, scope="system/Observation.ru").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("match", ['W/"1"', 'W/"7"', "*", None])
def test_a_condition_on_the_version_tells_nothing_of_what_is_hidden(hers, method, match):
    told = []
    for name in ("of-p2", "none"):
        body = None if method == "DELETE" else observation(name, "p2")
        headers = {} if match is None else {"If_Match": match}
        told.append(hers(method, f"/fhir/Observation/{name}", body, **headers))
        entry = {"request": {"method": method, "url": f"Observation/{name}"} | ({"ifMatch": match} if match else {})}
        told.append(hers("POST", "/fhir", transaction(entry | ({"resource": body} if body else {}))))
    alone, inside, none_alone, none_inside = [(one.status_code, code_of(one)) for one in told]
    if match is not None:
        assert alone == none_alone == (412, "record.version")
        assert inside == none_inside == (412, "bundle.version")
    else:
        # A PUT makes what is not there: only then can the two be told apart, and nothing of the record is told.
        assert alone == inside == (404, "record.unknown")
        assert none_alone == none_inside == (alone if method == "DELETE" else (403, "scope.denied"))


def test_versions_from_when_a_record_was_another_patients_are_not_hers(ward, hers):
    ward.call("PUT", "/fhir/Observation/moved", observation("moved", "p2", valueString="secret of p2"))
    ward.call("PUT", "/fhir/Observation/moved", observation("moved", "p1"))
    assert hers("GET", "/fhir/Observation/moved").status_code == 200
    assert hers("GET", "/fhir/Observation/moved/_history/2").status_code == 200
    for path in ("1", "1/$proof", "1/$meta"):
        assert hers("GET", f"/fhir/Observation/moved/_history/{path}").status_code == 404, path
    for path in ("Observation/moved/_history", "Observation/_history", "_history"):
        assert b"secret of p2" not in hers("GET", f"/fhir/{path}").data, path
    assert ward.call("GET", "/fhir/Observation/moved/_history/1").status_code == 200


def test_nothing_is_written_into_the_record_of_another_patient(ward, hers):
    crossed = observation("x", "p2", performer=[{"reference": "Patient/p1"}])
    assert hers("PUT", "/fhir/Observation/x", crossed).status_code == 403
    foreign = {"reference": "https://elsewhere.example/fhir/Patient/p2"}
    assert hers("PUT", "/fhir/Observation/x", crossed | {"subject": foreign}).status_code == 403
    group = {"reference": "Group/g1"}
    assert hers("PUT", "/fhir/Observation/x", crossed | {"subject": group}).status_code == 403
    entry = {"resource": crossed, "request": {"method": "PUT", "url": "Observation/x"}}
    assert hers("POST", "/fhir", transaction(entry)).status_code == 403
    own = observation("x", "p1", performer=[{"reference": "Patient/p1"}])
    assert hers("PUT", "/fhir/Observation/x", own).status_code == 201
    # What others wrote of both is hers to see, and not hers to change or take away.
    ward.call("PUT", "/fhir/Observation/both", crossed | {"id": "both"})
    assert hers("GET", "/fhir/Observation/both").status_code == 200
    assert hers("DELETE", "/fhir/Observation/both").status_code == 404
    assert hers("PUT", "/fhir/Observation/both", own | {"id": "both"}).status_code == 404


def test_no_client_takes_the_place_of_the_audit(ward):
    ward.drain()
    made = json.loads(ward.call("GET", "/fhir/AuditEvent?_count=1").data)["entry"][0]["resource"]
    journal = made["id"].partition(".")[0]
    # A record in the place of an event that is still to come would stop the audit for good.
    coming = f"{journal}.{ward.drain() + 40}"
    for name in (coming, made["id"]):
        refused = ward.call("PUT", f"/fhir/AuditEvent/{name}", EVENT | {"id": name})
        assert (refused.status_code, code_of(refused)) == (403, "audit.kept"), name
        row = {"resource": EVENT | {"id": name}, "request": {"method": "PUT", "url": f"AuditEvent/{name}"}}
        assert ward.call("POST", "/fhir", transaction(row)).status_code == 403
    assert ward.call("DELETE", f"/fhir/AuditEvent/{made['id']}").status_code == 403
    assert ward.call("DELETE", f"/fhir/AuditEvent?_id={made['id']}").status_code == 403
    row = {"request": {"method": "DELETE", "url": f"AuditEvent/{made['id']}"}}
    assert ward.call("POST", "/fhir", transaction(row)).status_code == 403
    row = patched(f"AuditEvent/{made['id']}", {"op": "replace", "path": "/action", "value": "R"})
    assert ward.call("POST", "/fhir", transaction(row)).status_code == 403
    meta = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
    assert ward.call("POST", f"/fhir/AuditEvent/{made['id']}/$meta-add", meta).status_code == 403
    assert ward.call("GET", f"/fhir/AuditEvent/{made['id']}/_history/2").status_code == 404
    for _ in range(60):
        ward.call("GET", "/fhir/Patient/p1")
    assert ward.drain() > 60


def test_clients_store_audit_events_of_their_own_and_none_in_this_nodes_name(ward):
    assert ward.call("POST", "/fhir/AuditEvent", EVENT).status_code == 201
    assert ward.call("PUT", "/fhir/AuditEvent/viewer-1", EVENT | {"id": "viewer-1"}).status_code == 201
    assert ward.call("POST", "/fhir/AuditEvent", EVENT | OBSERVER).status_code == 403
    row = {"resource": EVENT | OBSERVER, "request": {"method": "POST", "url": "AuditEvent"}}
    assert ward.call("POST", "/fhir", transaction(row)).status_code == 403


def test_what_an_event_says_of_other_patients_is_not_hers(ward, hers):
    ward.call("GET", "/fhir/Patient")
    ward.drain()
    found = json.loads(ward.call("GET", "/fhir/AuditEvent?patient=p1").data)["entry"]
    assert any("Patient/p2" in json.dumps(row) for row in found)
    paths = ("AuditEvent", "AuditEvent/_history", "Patient/p1/AuditEvent", f"AuditEvent/{found[0]['resource']['id']}")
    for path in paths:
        assert hers("GET", f"/fhir/{path}").status_code in (403, 404), path
    for path in ("Patient/p1/*", "Patient/p1/$everything", "Patient?_revinclude=AuditEvent:patient", "_history"):
        rows = json.loads(hers("GET", f"/fhir/{path}").data)["entry"]
        assert rows, path
        assert "AuditEvent" not in [row["resource"]["resourceType"] for row in rows], path
