"""Transactions: ids, references, all or nothing."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from fhir_bridge.bundle import collect
from fhir_bridge.document import parse_bundle
from fhir_bridge.references import Resolver

SAMPLES = Path(__file__).resolve().parents[3] / "sample_data" / "bundles"
DOCTOR = {
    "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001",
    "resource": {"resourceType": "Practitioner", "identifier": [{"system": "urn:staff", "value": "D1"}]},
    "request": {"method": "POST", "url": "Practitioner", "ifNoneExist": "identifier=urn:staff|D1"},
}
PATIENT = {
    "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000002",
    "resource": {"resourceType": "Patient", "birthDate": "1980-01-02"},
    "request": {"method": "POST", "url": "Patient"},
}


def observation(performer: str) -> dict:
    return {
        "resource": {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "weight"},
            "subject": {"reference": PATIENT["fullUrl"]},
            "performer": [{"reference": performer}],
        },
        "request": {"method": "POST", "url": "Observation"},
    }


def transaction(*entries: dict) -> dict:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def locations(response) -> list[str]:
    return [row["response"]["location"].split("/_history")[0] for row in json.loads(response.data)["entry"]]


def code_of(response) -> str:
    return json.loads(response.data)["issue"][0]["details"]["coding"][0]["code"]


def test_a_conditional_update_in_a_transaction_alters_what_was_stored_before(server):
    server.call("PUT", "/fhir/Practitioner/d", DOCTOR["resource"] | {"id": "d"})
    changed = {
        "resource": DOCTOR["resource"] | {"active": True},
        "request": {"method": "PUT", "url": "Practitioner?identifier=urn:staff|D1"},
    }
    response = server.call("POST", "/fhir", transaction(changed, PATIENT))
    rows = [row["response"] for row in json.loads(response.data)["entry"]]
    assert (rows[0]["location"], rows[0]["status"]) == ("Practitioner/d/_history/2", "200 OK")


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_entries_may_point_to_one_another_in_any_order(server, order):
    entries = [DOCTOR, PATIENT, observation(DOCTOR["fullUrl"])]
    response = server.call("POST", "/fhir", transaction(*(entries[index] for index in order)))
    assert response.status_code == 200, response.data
    places = dict(zip(order, locations(response), strict=True))
    stored = json.loads(server.call("GET", f"/fhir/{places[2]}").data)
    assert stored["performer"] == [{"reference": places[0]}]
    assert stored["subject"] == {"reference": places[1]}


def test_a_response_says_status_place_and_version_of_each_entry(server):
    first = server.call("POST", "/fhir", transaction(DOCTOR))
    second = server.call("POST", "/fhir/", transaction(DOCTOR))
    row = json.loads(first.data)["entry"][0]["response"]
    assert (row["status"], row["etag"]) == ("201 Created", 'W/"1"')
    assert re.fullmatch(r"Practitioner/[0-9a-f]{32}/_history/1", row["location"])
    assert json.loads(second.data)["entry"][0]["response"]["status"] == "200 OK"
    assert locations(first) == locations(second)


def test_a_conditional_reference_finds_what_the_node_holds(server):
    doctor = locations(server.call("POST", "/fhir", transaction(DOCTOR)))[0]
    entries = transaction(PATIENT, observation("Practitioner?identifier=urn:staff%7CD1"))
    place = locations(server.call("POST", "/fhir", entries))[1]
    assert json.loads(server.call("GET", f"/fhir/{place}").data)["performer"] == [{"reference": doctor}]


def test_a_conditional_reference_finds_what_was_created_without_a_condition(server):
    server.call("POST", "/fhir/Practitioner", DOCTOR["resource"])
    response = server.call("POST", "/fhir", transaction(PATIENT, observation("Practitioner?identifier=urn:staff|D1")))
    assert response.status_code == 200


def test_a_record_that_lost_its_identifier_is_not_found_by_it(server):
    place = locations(server.call("POST", "/fhir", transaction(DOCTOR)))[0]
    without = {"resourceType": "Practitioner", "id": place.split("/")[1]}
    assert server.call("PUT", f"/fhir/{place}", without).status_code == 200
    response = server.call("POST", "/fhir", transaction(PATIENT, observation("Practitioner?identifier=urn:staff|D1")))
    assert code_of(response) == "reference.not_found"


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (observation("Practitioner?identifier=urn:staff|none"), "reference.not_found"),
        (observation("Practitioner?name=x"), "reference.not_found"),
        (observation("Practitioner?colour=x"), "search.parameter"),
        (observation("Practitioner?"), "search.condition"),
        (observation("urn:uuid:00000000-0000-4000-8000-00000000dead"), "reference.unresolved"),
        (
            {"resource": {"resourceType": "Patient", "birthDate": "x"}, "request": PATIENT["request"]},
            "resource.value",
        ),
        ({"request": {"method": "DELETE", "url": "Patient"}}, "bundle.method"),
        ({"request": {"method": "DELETE", "url": "Patient/no/id"}}, "bundle.method"),
        ({"request": {"method": "BREW", "url": "Patient/1"}}, "bundle.method"),
        ({"resource": PATIENT["resource"], "request": {"method": "POST", "url": "Group"}}, "bundle.method"),
        ({"resource": PATIENT["resource"]}, "bundle.request"),
        ({"request": {"method": "POST", "url": "Patient"}}, "bundle.resource"),
        (
            {
                "resource": PATIENT["resource"],
                "request": {"method": "PUT", "url": "Patient/1", "ifMatch": 'W/"4"'},
            },
            "bundle.version",
        ),
    ],
)
def test_one_bad_entry_refuses_the_whole_and_stores_nothing(server, entry, code):
    response = server.call("POST", "/fhir", transaction(PATIENT, DOCTOR, entry))
    assert response.status_code >= 400
    assert code_of(response) == code
    assert server.store.count() == 0


def test_an_error_names_its_entry_and_all_that_is_wrong_is_told(server):
    bad = {"resource": {"resourceType": "Patient", "birthDate": "x"}, "request": PATIENT["request"]}
    issues = json.loads(server.call("POST", "/fhir", transaction(DOCTOR, bad, bad)).data)["issue"]
    assert [issue["expression"] for issue in issues] == [
        ["Bundle.entry[1].resource.birthDate"],
        ["Bundle.entry[2].resource.birthDate"],
    ]


@pytest.mark.parametrize("kind", ["collection", "history", "", None, 7])
def test_a_bundle_of_another_type_is_refused(server, kind):
    response = server.call("POST", "/fhir", transaction(PATIENT) | {"type": kind})
    assert (response.status_code, code_of(response)) == (400, "bundle.type")


def test_each_type_of_a_transaction_must_be_allowed(server):
    response = server.call("POST", "/fhir", transaction(PATIENT, DOCTOR), scope="system/Patient.cru")
    assert (response.status_code, code_of(response)) == (403, "scope.denied")
    assert server.store.count() == 0


def test_two_updates_of_one_record_are_refused(server):
    put = {"resource": PATIENT["resource"], "request": {"method": "PUT", "url": "Patient/1"}}
    response = server.call("POST", "/fhir", transaction(put, put))
    assert (response.status_code, code_of(response)) == (400, "bundle.id")


def test_two_patients_with_one_identifier_stay_two(server):
    twin = {
        "resource": {"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": "1"}]},
        "request": {"method": "POST", "url": "Patient"},
    }
    assert len(set(locations(server.call("POST", "/fhir", transaction(twin, twin))))) == 2
    assert server.store.count() == 2


def test_an_import_leaves_out_what_is_wrong_and_says_so(server):
    bad = {"resource": {"resourceType": "Patient", "birthDate": "x"}, "request": PATIENT["request"]}
    bundle = parse_bundle(json.dumps(transaction(PATIENT, bad, DOCTOR)).encode())
    plan = collect(bundle, Resolver(server.core.search, server.store, b"k" * 32), server.time[0])
    assert [record.type for record in plan.records] == ["Patient", "Practitioner"]
    assert [(item.index, item.error.code) for item in plan.refused] == [(1, "resource.invalid")]


def test_an_import_keeps_the_ids_of_a_collection(server):
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": PATIENT["resource"] | {"id": "p9"}}],
    }
    resolver = Resolver(server.core.search, server.store, b"k" * 32)
    plan = collect(parse_bundle(json.dumps(bundle).encode()), resolver, server.time[0])
    assert [(record.type, record.id, record.version) for record in plan.records] == [("Patient", "p9", 1)]


def test_the_sample_data_of_a_hospital_is_taken_whole_and_to_the_letter(server):
    number = re.compile(rb'"value": ?(-?[0-9][0-9.eE+-]*)[,}]')
    for path in sorted(SAMPLES.glob("binhai-hospital.*"))[:2]:
        raw = gzip.decompress(path.read_bytes())
        response = server.call("POST", "/fhir", raw)
        assert response.status_code == 200, response.data
        stored = b"".join(server.call("GET", f"/fhir/{place}").data for place in locations(response))
        assert sorted(number.findall(stored)) == sorted(number.findall(raw))
        assert number.findall(raw) or "directory" in path.name
        assert b"urn:uuid:" not in stored
        assert b"?identifier=" not in stored


def test_a_stored_bundle_keeps_references_among_its_own_entries(server):
    inner = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": PATIENT["fullUrl"], "resource": PATIENT["resource"]},
            {"fullUrl": "urn:uuid:1", "resource": observation("Practitioner?identifier=urn:staff|D1")["resource"]},
        ],
    }
    place = server.call("POST", "/fhir/Bundle", inner).headers["Location"].partition("/_history")[0]
    entries = transaction(PATIENT, {"resource": inner, "request": {"method": "POST", "url": "Bundle"}})
    other = locations(server.call("POST", "/fhir", entries))[1]
    for path in (place.removeprefix("http://127.0.0.1:41000"), f"/fhir/{other}"):
        assert json.loads(server.call("GET", path).data)["entry"] == inner["entry"]
