"""Attacks on the gate: what a token of one patient must not learn or change, and what no client may write."""

from __future__ import annotations

import base64
import gzip
import json
import time
from dataclasses import replace

import pytest

from fhir_bridge.gate import Gate
from fhir_bridge.rest import batch, core
from fhir_bridge.rest.core import WAITING
from fhir_bridge.rest.front import Front
from fhir_bridge.rest.routes import attempt
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action, parse_scopes
from fhir_bridge.validation.check import Mode
from medchain.errors import ConflictError
from medchain.node.jobs import JobResult

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
        assert alone == inside == none_alone == none_inside == (404, "record.unknown")


@pytest.mark.parametrize("body", ["hers", "of another", "invalid"])
def test_a_put_tells_nobody_with_limited_rights_whether_an_id_is_taken(hers, body):
    told = []
    for name in ("of-p2", "none"):
        made = observation(name, "p2" if body == "of another" else "p1", **({"x": 1} if body == "invalid" else {}))
        told.append(hers("PUT", f"/fhir/Observation/{name}", made))
        request = {"method": "PUT", "url": f"Observation/{name}"}
        if body != "invalid":
            told.append(hers("POST", "/fhir", transaction({"resource": made, "request": request})))
    assert {(one.status_code, code_of(one)) for one in told} == {(404, "record.unknown")}
    binaries = [hers("PUT", f"/fhir/Binary/{name}", b"x", scopes="patient/Binary.cruds") for name in ("b1", "b2")]
    assert binaries[0].status_code == binaries[1].status_code == 403


def test_a_security_context_tells_nobody_who_is_a_patient_here(hers):
    scopes = "user/Binary.cruds patient/Patient.r"
    told = [
        hers("POST", "/fhir/Binary", b"x", scopes, X_Security_Context=f"Patient/{name}")
        for name in ("p2", "none", "p1")
    ]
    assert [one.status_code for one in told] == [400, 400, 201]
    assert code_of(told[0]) == code_of(told[1]) == "binary.security_context"


@pytest.fixture
def scan(ward):
    """Store a scan under an id, with what its security context is to name."""

    def stored(name: str, about: str = "", **headers: str) -> str:
        context = {"X-Security-Context": about} if about else {}
        made = ward.call("PUT", f"/fhir/Binary/{name}", b"scan", Content_Type="image/png", **context, **headers)
        assert made.status_code in (200, 201), made.data
        return f"/fhir/Binary/{name}"

    return stored


@pytest.mark.parametrize("about", ["Patient/p1", "Patient/p1/_history/1", "Observation/of-p1"])
def test_an_application_of_a_patient_reads_what_was_scanned_of_the_patient(hers, scan, about):
    """FHIR R4 Binary.securityContext: who may have access to what it names may have it to the Binary."""
    path = scan("b1", about)
    assert hers("GET", path, scopes="patient/*.rs").data == b"scan"
    assert hers("GET", f"{path}/_history/1", scopes="patient/*.rs").data == b"scan"
    entries = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Binary/b1"}}]}
    told = json.loads(hers("POST", "/fhir", entries, "patient/*.rs").data)["entry"][0]
    assert told["resource"]["securityContext"] == {"reference": about}


@pytest.mark.parametrize("about", ["", "Patient/p2", "Observation/of-p2", "Binary/of-p1", "Group/g1"])
def test_attack_an_application_of_a_patient_reads_what_was_scanned_of_others(ward, hers, scan, about):
    member = [{"entity": {"reference": "Patient/p1"}}]
    group = {"resourceType": "Group", "id": "g1", "type": "person", "actual": True, "member": member}
    assert ward.call("PUT", "/fhir/Group/g1", group).status_code == 201
    scan("of-p1", "Patient/p1")
    path = scan("b1", about)
    for way in (path, f"{path}/_history/1", f"{path}/_history"):
        assert hers("GET", way, scopes="patient/*.cruds").status_code == 404


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        ("patient/Binary.r", 404),
        ("patient/Binary.s patient/Observation.r", 404),
        ("patient/Observation.rs", 404),
        ("patient/Binary.r patient/Observation.s", 404),
        ("patient/Binary.r patient/Observation.r?status=amended", 404),
        ("patient/Binary.r?_tag=x patient/Observation.r", 404),
        ("patient/Binary.r patient/Observation.r?status=final", 200),
        ("patient/Binary.r patient/Observation.r", 200),
    ],
)
def test_a_scan_is_read_with_the_right_to_it_and_to_what_stands_for_it(hers, scan, scopes, status):
    assert hers("GET", scan("b1", "Observation/of-p1"), scopes=scopes).status_code == status


def test_a_scan_of_which_the_patient_alone_is_named_needs_no_other_right(hers, scan):
    assert hers("GET", scan("b1", "Patient/p1"), scopes="patient/Binary.r").status_code == 200


def test_an_application_of_a_patient_finds_writes_and_exports_no_scan(hers, scan):
    path = scan("b1", "Patient/p1")
    assert hers("GET", "/fhir/Binary?_id=b1").status_code == 403
    assert hers("PUT", path, b"other").status_code == 403
    assert hers("DELETE", path).status_code == 403
    assert hers("GET", path).data == b"scan"


def test_attack_a_scan_whose_context_moves_to_another_patient_takes_its_versions_along(ward, hers, scan):
    """Neither what was another patient's before, nor what is another's now, is hers."""
    path = scan("b1", "Observation/of-p2")
    assert ward.call("PUT", "/fhir/Observation/of-p2", observation("of-p2", "p1")).status_code == 200
    assert hers("GET", path).status_code == 404
    scan("b1", "Patient/p1")
    assert [hers("GET", f"{path}/_history/{number}").status_code for number in (1, 2)] == [404, 200]
    scan("b1", "Patient/p2")
    assert [hers("GET", f"{path}/_history/{number}").status_code for number in (1, 2, 3)] == [404, 404, 404]


def test_a_scan_that_is_gone_or_whose_context_is_gone_is_not_there(ward, hers, scan):
    path = scan("b1", "Observation/of-p1")
    assert ward.call("DELETE", "/fhir/Observation/of-p1").status_code == 204
    assert hers("GET", path).status_code == 404
    other = scan("b2", "Patient/p1")
    assert ward.call("DELETE", other).status_code == 204
    assert [hers("GET", way).status_code for way in (other, f"{other}/_history/1")] == [404, 404]


def test_an_older_scan_under_a_constraint_is_judged_by_what_is_told_of_it(ward, scan):
    """What a scan is made of is no FHIR, and is not read as such."""
    path = scan("b1", "Patient/p1")
    scan("b1", "Patient/p1")
    for scope, status in (("user/Binary.r?_id=b1", 200), ("user/Binary.r?_tag=x", 404)):
        assert ward.call("GET", f"{path}/_history/1", scope=scope).status_code == status


def test_a_constraint_holds_of_what_is_written_before_and_after(hers):
    def labelled(code: str) -> dict:
        system = "http://terminology.hl7.org/CodeSystem/observation-category"
        return observation("one", "p1", category=[{"coding": [{"system": system, "code": code}]}])

    scopes = "patient/Observation.cruds?category=laboratory"
    made = hers("POST", "/fhir/Observation", labelled("laboratory"), scopes)
    assert made.status_code == 201
    refused = hers("POST", "/fhir/Observation", labelled("imaging"), scopes)
    assert (refused.status_code, code_of(refused)) == (403, "scope.denied")
    place = made.headers["Location"].partition("/_history")[0]
    name = place.rpartition("/")[2]
    assert hers("PUT", place, labelled("laboratory") | {"id": name}, scopes).status_code == 200
    assert hers("PUT", place, labelled("imaging") | {"id": name}, scopes).status_code == 403
    assert hers("PUT", "/fhir/Observation/of-p1", labelled("laboratory") | {"id": "of-p1"}, scopes).status_code == 404
    row = {"resource": labelled("imaging"), "request": {"method": "POST", "url": "Observation"}}
    assert hers("POST", "/fhir", transaction(row), scopes).status_code == 403
    row["resource"] = labelled("laboratory")
    assert hers("POST", "/fhir", transaction(row), scopes).status_code == 200


def test_an_older_version_is_shown_where_the_constraint_holds_of_it_as_it_was(hers):
    """Attack: whoever may see no restricted records reads one as it was before its label came off."""
    system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    place = "/fhir/Observation/of-p1"
    labelled = observation("of-p1", "p1", meta={"security": [{"system": system, "code": "R"}]})
    everything = "user/Observation.cruds"
    assert hers("PUT", place, labelled, everything).status_code == 200
    assert hers("DELETE", place, None, everything).status_code == 204
    assert hers("PUT", place, observation("of-p1", "p1", note=[{"text": "plain"}]), everything).status_code == 201
    for scopes in ("user/Observation.rs?_security:not=R", "patient/Observation.rs?_security:not=R"):
        told = [hers("GET", f"{place}/_history/{number}", scopes=scopes).status_code for number in (1, 2, 3, 4)]
        assert told == [200, 404, 410, 200]
        for path in (f"{place}/_history", "/fhir/Observation/_history", "/fhir/_history"):
            found = json.loads(hers("GET", path, scopes=scopes).data)["entry"]
            versions = [one["response"]["etag"] for one in found if "of-p1" in one["fullUrl"]]
            assert versions == ['W/"4"', 'W/"3"', 'W/"1"']


def test_a_conditional_update_of_what_is_hidden_tells_nothing_of_its_version(hers):
    told = []
    for name, match in (("of-p2", 'W/"1"'), ("of-p2", 'W/"7"'), ("none", 'W/"1"')):
        request = {"method": "PUT", "url": "Observation?identifier=urn:x|none", "ifMatch": match}
        told.append(hers("POST", "/fhir", transaction({"resource": observation(name, "p1"), "request": request})))
    assert [(one.status_code, code_of(one)) for one in told] == [(412, "bundle.version")] * 3


def test_conditions_in_transactions_find_what_is_hers(hers):
    named = observation("of-p1", "p1", identifier=[{"system": "http://x/y", "value": "1"}])
    assert hers("PUT", "/fhir/Observation/of-p1", named).status_code == 200
    url = "Observation?identifier=http://x/y|1"
    row = {"op": "replace", "path": "/status", "value": "amended"}
    assert hers("POST", "/fhir", transaction(patched(url, row))).status_code == 200
    assert hers("POST", "/fhir", transaction({"request": {"method": "DELETE", "url": url}})).status_code == 200
    assert hers("GET", "/fhir/Observation/of-p1").status_code in (404, 410)


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
    assert hers("POST", "/fhir/Observation", crossed).status_code == 403
    foreign = {"reference": "https://elsewhere.example/fhir/Patient/p2"}
    assert hers("POST", "/fhir/Observation", crossed | {"subject": foreign}).status_code == 403
    group = {"reference": "Group/g1"}
    assert hers("POST", "/fhir/Observation", crossed | {"subject": group}).status_code == 403
    entry = {"resource": crossed, "request": {"method": "POST", "url": "Observation"}}
    assert hers("POST", "/fhir", transaction(entry)).status_code == 403
    own = observation("x", "p1", performer=[{"reference": "Patient/p1"}])
    assert hers("POST", "/fhir/Observation", own).status_code == 201
    # What others wrote of both is hers to see, and not hers to change or take away.
    ward.call("PUT", "/fhir/Observation/both", crossed | {"id": "both"})
    assert hers("GET", "/fhir/Observation/both").status_code == 200
    assert hers("DELETE", "/fhir/Observation/both").status_code == 404
    assert hers("PUT", "/fhir/Observation/both", own | {"id": "both"}).status_code == 404


def test_every_entry_is_looked_at_where_not_all_of_its_type_may_be_written(hers):
    """Also where others of the type come before it, which are the caller's to write."""
    rows = [observation("x", "p1"), observation("y", "p1"), observation("z", "p2")]
    entries = [{"resource": row, "request": {"method": "POST", "url": "Observation"}} for row in rows]
    assert hers("POST", "/fhir", transaction(*entries)).status_code == 403
    assert hers("POST", "/fhir", transaction(*entries[:2])).status_code == 200


def test_whether_all_of_a_type_may_be_written_is_asked_once_in_a_transaction(ward, monkeypatch):
    asked = []
    judged = Gate.is_written_freely
    monkeypatch.setattr(Gate, "is_written_freely", lambda gate, *of: asked.append(of[1:]) or judged(gate, *of))
    posts = [
        {"resource": observation(str(row), "p1"), "request": {"method": "POST", "url": "Observation"}}
        for row in range(3)
    ]
    puts = [
        {"resource": observation(name, "p1"), "request": {"method": "PUT", "url": f"Observation/{name}"}}
        for name in "ab"
    ]
    assert ward.call("POST", "/fhir", transaction(*posts, *puts)).status_code == 200
    assert asked == [("Observation", Action.CREATE), ("Observation", Action.UPDATE)]


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


def test_a_group_tells_of_others(ward, hers):
    member = [{"entity": {"reference": f"Patient/{name}"}} for name in ("p1", "p2")]
    body = {"resourceType": "Group", "id": "g1", "type": "person", "actual": True, "member": member}
    assert ward.call("PUT", "/fhir/Group/g1", body).status_code == 201
    assert hers("GET", "/fhir/Group/g1").status_code == 404
    assert b"g1" not in hers("GET", "/fhir/Patient?_revinclude=Group:member").data


def batched(server, *urls: str, **headers: str) -> list[dict]:
    rows = [{"request": {"method": "GET", "url": url}} for url in urls]
    answer = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "batch", "entry": rows}, **headers)
    return json.loads(answer.data)["entry"]


def test_the_answers_of_a_batch_have_an_end(ward, monkeypatch):
    monkeypatch.setattr(batch, "MAX_ANSWER_BYTES", 300)
    rows = batched(ward, *["Patient/p1"] * 5)
    assert [row["response"]["status"][:3] for row in rows] == ["200", "200", "413", "413", "413"]
    assert rows[-1]["response"]["outcome"]["issue"][0]["code"] == "too-costly"


def test_a_large_binary_in_a_batch_is_never_whole_in_memory(ward, monkeypatch):
    monkeypatch.setattr(batch, "MAX_SHOWN_BYTES", 100_000)
    sent = {"Authorization": f"Bearer {ward.tokens.issue('test', parse_scopes('system/*.cruds'))}"}
    data = bytes(8 << 20)
    made = ward.client.post("/fhir/Binary", data=data, headers=sent | {"Content-Type": "application/pdf"})
    name = made.headers["Location"].split("/")[-3]
    taken = []
    kept = type(ward.service).stream

    def counted(self, stored):
        opened = kept(self, stored)
        return replace(opened, pieces=(taken.append(len(piece)) or piece for piece in opened.pieces))

    monkeypatch.setattr(type(ward.service), "stream", counted)
    (row,) = batched(ward, f"Binary/{name}?_format=json")
    assert row["response"]["status"] == "200 OK"
    assert "resource" not in row
    assert sum(taken) < len(data) // 2
    assert batched(ward, f"Binary/{name}")[0]["response"]["status"] == "200 OK"


def test_the_entries_of_a_batch_wait_together_as_long_as_one(ward):
    rows = [
        {"resource": {"resourceType": "Basic", "code": {"text": "x"}}, "request": {"method": "POST", "url": "Basic"}}
    ]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": rows * 16}
    began = time.monotonic()
    assert ward.call("POST", "/fhir", bundle, Prefer="return=minimal, wait=2").status_code == 200
    # One after the other they would wait for 32 s.
    assert time.monotonic() - began < 25


@pytest.mark.parametrize("about", ["Patient/p1\r\nSet-Cookie: a=b", "Patient/\u6d4b", "Patient/p1\n"])
def test_no_stored_text_becomes_a_header_field_of_its_own(ward, about):
    binary = {"resourceType": "Binary", "contentType": "text/plain", "securityContext": {"reference": about}}
    entry = {"resource": binary | {"data": "eA=="}, "request": {"method": "POST", "url": "Binary"}}
    ward.app.wsgi_app = Front(replace(ward.core, mode=Mode.LENIENT), ward.app.wsgi_app)
    name = json.loads(ward.call("POST", "/fhir", transaction(entry)).data)["entry"][0]["response"]["location"]
    answer = ward.call("GET", f"/fhir/Binary/{name.split('/')[1]}")
    assert (answer.status_code, answer.data) == (200, b"x")
    assert not {"X-Security-Context", "Set-Cookie"} & set(answer.headers.keys())


def test_a_media_type_has_one_line(ward):
    binary = {"resourceType": "Binary", "contentType": "text/plain\n;a=b", "data": "eA=="}
    assert ward.call("POST", "/fhir/Binary", binary).status_code in (400, 422)
    entry = {"resource": binary, "request": {"method": "POST", "url": "Binary"}}
    assert ward.call("POST", "/fhir", transaction(entry)).status_code in (400, 422)


@pytest.mark.parametrize("about", ["Observation/of-p2", "Observation/new", "Patient/p2"])
def test_a_binary_in_a_transaction_falls_under_its_patients_key(ward, about):
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}
    binary |= {"securityContext": {"reference": about}}
    rows = [
        {"resource": binary, "request": {"method": "POST", "url": "Binary"}},
        {"resource": observation("new", "p2"), "request": {"method": "PUT", "url": "Observation/new"}},
    ]
    told = json.loads(ward.call("POST", "/fhir", transaction(*rows)).data)["entry"]
    stored = ward.store.get("Binary", told[0]["response"]["location"].split("/")[1])
    assert stored.patient == ward.service.patient_token("p2")


def test_who_waits_for_anchors_leaves_threads_for_others(ward):
    held = [ward.core.waiting.acquire(blocking=False) for _ in range(WAITING)]
    assert all(held)
    began = time.monotonic()
    answer = ward.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"}, Prefer="wait=20")
    assert (answer.status_code, answer.headers["Medchain-Anchored"]) == (200, "pending")
    row = {"resource": {"resourceType": "Basic", "code": {"text": "x"}}, "request": {"method": "POST", "url": "Basic"}}
    answer = ward.call("POST", "/fhir", transaction(row), Prefer="wait=20")
    assert (answer.status_code, answer.headers["Medchain-Anchored"]) == (200, "pending")
    assert time.monotonic() - began < 18


def test_a_create_that_loses_a_race_is_stored_under_another_id(ward, monkeypatch):
    kept, left = type(ward.service).creating_many, [1]

    def late(self, records, **more: object):
        if left and records[0].type == "Basic":
            left.pop()
            raise ConflictError("store.conflict")
        return kept(self, records, **more)

    monkeypatch.setattr(type(ward.service), "creating_many", late)
    body = {"resourceType": "Basic", "code": {"text": "x"}, "identifier": [{"system": "urn:x", "value": "1"}]}
    assert ward.call("POST", "/fhir/Basic", body).status_code == 201
    left.append(1)
    # With a condition, that is asked again: what came first may be what it looks for.
    assert ward.call("POST", "/fhir/Basic", body, If_None_Exist="identifier=urn:x|2").status_code == 201
    assert left == []


def test_of_two_conditional_creates_at_once_the_second_is_answered_what_the_first_stored(ward, monkeypatch):
    """FHIR R4 §3.1.0.8.1: one match: the server ignores the post and returns 200."""
    kept, others = type(ward.service).creating_many, []
    body = {"resourceType": "Basic", "code": {"text": "x"}, "identifier": [{"system": "urn:x", "value": "7"}]}

    def late(self, records, **more: object):
        if records[0].type == "Basic" and not others:
            others.extend(self.create_many(records))
        return kept(self, records, **more)

    monkeypatch.setattr(type(ward.service), "creating_many", late)
    second = ward.call("POST", "/fhir/Basic", body, If_None_Exist="identifier=urn:x|7")
    assert second.status_code == 200
    assert second.headers["Location"].endswith(f"/Basic/{others[0].id}/_history/1")


def test_a_packed_bundle_is_never_taken_for_a_small_one(ward, monkeypatch):
    asked = []
    monkeypatch.setattr(batch, "_do_elsewhere", lambda _core, ask: asked.append(ask) or batch.Done(200, b"{}"))
    with monkeypatch.context() as patched_core:
        patched_core.setattr(batch, "_do", None)
        object.__setattr__(ward.core, "jobs", object())
        body = gzip.compress(json.dumps(transaction()).encode())
        assert ward.call("POST", "/fhir", body, Content_Encoding="gzip").status_code == 200
    assert len(asked) == 1


def test_conditional_references_have_an_end(ward, monkeypatch):
    monkeypatch.setattr(core, "MAX_CONDITIONS", 2)
    rows = [
        {
            "resource": observation(f"c{n}", f"p1?identifier={n}"),
            "request": {"method": "PUT", "url": f"Observation/c{n}"},
        }
        for n in range(4)
    ]
    for number, row in enumerate(rows):
        row["resource"]["subject"]["reference"] = f"Patient?identifier={number}"
    refused = ward.call("POST", "/fhir", transaction(rows[3], rows[2], rows[1]))
    assert (refused.status_code, code_of(refused)) == (400, "reference.not_found")
    one = rows[0]["resource"]["subject"]["reference"] = "Patient?_id=p1"
    rows[1]["resource"]["subject"]["reference"] = one
    assert ward.call("POST", "/fhir", transaction(rows[0], rows[1])).status_code == 200
    for name, row in zip("pqr", rows, strict=False):
        row["resource"]["subject"]["reference"] = f"Patient?_id=p1&_lastUpdated=ge2000-01-0{ord(name) - 111}"
    refused = ward.call("POST", "/fhir", transaction(*rows[:3]))
    assert (refused.status_code, code_of(refused)) == (400, "reference.too_many")


class Elsewhere:
    """Does jobs as a worker process does, in this one."""

    def __init__(self, core) -> None:
        """Work on what the web worker works on."""
        self.core = core

    def run(self, document, content):
        return JobResult(*batch.done_in_job(self.core, attempt, document, b"".join(content)))


def test_what_is_done_in_a_worker_process_is_answered_and_kept_alike(ward):
    rows = [{"request": {"method": "GET", "url": url}} for url in ("Patient/p1", "Patient?name=p2", "Patient/none")]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": rows}
    here = ward.call("POST", "/fhir", bundle)
    object.__setattr__(ward.core, "jobs", Elsewhere(ward.core))
    packed = gzip.compress(json.dumps(bundle).encode())
    there = ward.call("POST", "/fhir", packed, Content_Encoding="gzip")
    assert (there.status_code, there.data) == (200, here.data)
    ward.drain()
    made = ward.store.by_patient(ward.service.patient_token(""), ["AuditEvent"])[-2:]
    told = [json.loads(ward.service.open(row).content) for row in made]
    queries = [[row["query"] for row in one["entity"] if "query" in row] for one in told]
    assert queries[0] == queries[1] == [base64.b64encode(b"Patient?name=p2").decode()]
