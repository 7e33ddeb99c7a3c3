"""Transactions: ids, references, all or nothing."""

from __future__ import annotations

import gc
import gzip
import json
import re
import weakref
from pathlib import Path

import pytest

from fhir_bridge import references
from fhir_bridge.bundle import collect, make_record
from fhir_bridge.document import Document, parse, parse_bundle
from fhir_bridge.references import Resolver, identifier_key, instant, with_identity
from fhir_bridge.resources import is_storable
from fhir_bridge.rest import core
from fhir_bridge.validation.check import Mode
from fhir_bridge.xml import parse_xml
from medchain.crypto.commitment import record_field_root, root_of_fields
from medchain.crypto.fields import document_fields
from tests.unit.fhir_bridge.conftest import BASE_URL, NOW
from tests.unit.fhir_bridge.examples import chosen

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


def place_of(response, number: int) -> str:
    return json.loads(response.data)["entry"][number]["response"]["location"].split("/_history")[0]


def locations(response) -> list[str]:
    return [place_of(response, number) for number in range(len(json.loads(response.data)["entry"]))]


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


def test_links_of_a_narrative_to_other_entries_are_replaced(server):
    # §3.1.0.11.2: "... elements of type uri, url, oid, uuid, and <a href="" & <img src="" in the narrative".
    link = DOCTOR["fullUrl"]
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><a title="{0}" href="{0}">a</a><img src=\'{0}\' alt=""/>{0}</div>'
    told = observation(DOCTOR["fullUrl"])
    told["resource"]["text"] = {"status": "generated", "div": div.format(link)}
    doctor, _, place = locations(server.call("POST", "/fhir", transaction(DOCTOR, PATIENT, told)))
    stored = json.loads(server.call("GET", f"/fhir/{place}").data)["text"]["div"]
    assert f'<a title="{link}" href="{doctor}">a</a><img src="{doctor}" alt=""/>{link}</div>' in stored


ELSEWHERE = "http://a.example/fhir"


def at(place: str, entry: dict) -> dict:
    """Give an entry the address that it has elsewhere."""
    return entry | {"fullUrl": place, "resource": entry["resource"] | {"id": place.rpartition("/")[2]}}


def relative() -> dict:
    """Refer to Patient/7 in each way that §3.1.0.11.2 has replaced."""
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><a href="Patient/7">a</a></div>'
    told = observation("Practitioner/9")
    told["resource"]["subject"] = {"reference": "Patient/7"}
    return told | {"resource": told["resource"] | {"text": {"status": "generated", "div": div}}}


@pytest.mark.parametrize("base", [ELSEWHERE, BASE_URL, "https://b.example"])
def test_a_relative_reference_is_read_at_the_base_of_its_entry(server, base):
    """§2.36.4.1: it would point to another patient, who has the same id here."""
    server.call("PUT", "/fhir/Patient/7", {"resourceType": "Patient", "id": "7"})
    entries = [at(f"{base}/Patient/7", PATIENT), at(f"{base}/Observation/8", relative())]
    patient, place = locations(server.call("POST", "/fhir", transaction(*entries)))
    stored = json.loads(server.call("GET", f"/fhir/{place}").data)
    assert patient != "Patient/7"
    assert stored["subject"] == {"reference": patient}
    assert f'href="{patient}"' in stored["text"]["div"]
    # What no entry has stays what it is.
    assert stored["performer"] == [{"reference": "Practitioner/9"}]


@pytest.mark.parametrize("full_url", ["http://b.example/fhir/Observation/8", f"{ELSEWHERE}/Observation", "urn:uuid:8"])
def test_a_relative_reference_from_below_another_base_means_what_is_here(server, full_url):
    server.call("PUT", "/fhir/Patient/7", {"resourceType": "Patient", "id": "7"})
    entries = [at(f"{ELSEWHERE}/Patient/7", PATIENT), relative() | {"fullUrl": full_url}]
    _, place = locations(server.call("POST", "/fhir", transaction(*entries)))
    assert json.loads(server.call("GET", f"/fhir/{place}").data)["subject"] == {"reference": "Patient/7"}


def test_a_relative_reference_to_an_entry_that_keeps_its_id_stays(server):
    put = {"request": {"method": "PUT", "url": "Patient/7"}}
    entries = [at(f"{ELSEWHERE}/Patient/7", PATIENT) | put, at(f"{ELSEWHERE}/Observation/8", relative())]
    _, place = locations(server.call("POST", "/fhir", transaction(*entries)))
    assert json.loads(server.call("GET", f"/fhir/{place}").data)["subject"] == {"reference": "Patient/7"}


def test_conditional_creates_of_one_condition_make_one_record(server):
    again = DOCTOR | {"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}
    response = server.call("POST", "/fhir", transaction(DOCTOR, again, PATIENT, observation(again["fullUrl"])))
    first, second, _, place = locations(response)
    statuses = [row["response"]["status"] for row in json.loads(response.data)["entry"]]
    assert (first, statuses[:2]) == (second, ["201 Created", "200 OK"])
    assert json.loads(server.call("GET", f"/fhir/{place}").data)["performer"] == [{"reference": first}]
    assert json.loads(server.call("GET", "/fhir/Practitioner").data)["total"] == 1


@pytest.mark.parametrize("other", ["POST", "PUT"])
def test_a_conditional_update_of_what_another_entry_makes_of_the_condition_is_refused(server, other):
    condition = "identifier=urn:staff|D1"
    update = {"resource": DOCTOR["resource"], "request": {"method": "PUT", "url": f"Practitioner?{condition}"}}
    create = {"resource": DOCTOR["resource"], "request": {"method": "POST", "url": "Practitioner"}}
    create["request"]["ifNoneExist"] = condition
    response = server.call("POST", "/fhir", transaction(update, create if other == "POST" else update))
    # §3.1.0.11.2: identities of conditional updates overlap, so the transaction fails.
    assert (response.status_code, code_of(response)) == (400, "bundle.id")
    assert json.loads(server.call("GET", "/fhir/Practitioner").data)["total"] == 0


def test_a_response_says_status_place_and_version_of_each_entry(server):
    first = server.call("POST", "/fhir", transaction(DOCTOR))
    second = server.call("POST", "/fhir/", transaction(DOCTOR))
    row = json.loads(first.data)["entry"][0]["response"]
    assert (row["status"], row["etag"]) == ("201 Created", 'W/"1"')
    assert re.fullmatch(r"Practitioner/[0-9a-f]{32}/_history/1", row["location"])
    assert json.loads(second.data)["entry"][0]["response"]["status"] == "200 OK"
    assert locations(first) == locations(second)


def test_outcomes_of_the_entries_of_a_transaction_are_told_where_they_are_asked_for(server):
    """FHIR R4 §3.1.0.1.8, ``return=OperationOutcome``, as in a batch: in Bundle.entry.response.outcome."""
    server.call("PUT", "/fhir/Patient/there", {"resourceType": "Patient", "id": "there"})
    claimed = {"resourceType": "Patient", "meta": {"profile": ["http://example.org/p"]}}
    rows = [
        {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient"}},
        {"request": {"method": "POST", "url": "Patient"}, "resource": claimed},
        {"request": {"method": "POST", "url": "Patient", "ifNoneExist": "_id=there"}, "resource": claimed},
        {"request": {"method": "DELETE", "url": "Patient/gone"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": rows}
    answer = json.loads(server.call("POST", "/fhir", bundle, Prefer="return=OperationOutcome").data)
    told = [row["response"]["outcome"]["issue"][0] for row in answer["entry"]]
    assert [(one["severity"], one["code"]) for one in told] == [
        ("information", "informational"),
        ("warning", "not-supported"),
        ("information", "informational"),
        ("information", "informational"),
    ]
    assert len({one["details"]["text"] for one in told}) == 4
    assert not any("resource" in row for row in answer["entry"])


def test_a_conditional_reference_finds_what_the_node_holds(server):
    doctor = locations(server.call("POST", "/fhir", transaction(DOCTOR)))[0]
    entries = transaction(PATIENT, observation("Practitioner?identifier=urn:staff%7CD1"))
    place = locations(server.call("POST", "/fhir", entries))[1]
    assert json.loads(server.call("GET", f"/fhir/{place}").data)["performer"] == [{"reference": doctor}]


def test_a_conditional_reference_finds_what_was_created_without_a_condition(server):
    server.call("POST", "/fhir/Practitioner", DOCTOR["resource"])
    response = server.call("POST", "/fhir", transaction(PATIENT, observation("Practitioner?identifier=urn:staff|D1")))
    assert response.status_code == 200


NAMED = {"resourceType": "Practitioner", "identifier": [{"system": "urn:staff", "value": "D1"}]}
BY_NAME = "Practitioner?identifier=urn:staff|D1"


@pytest.mark.parametrize(
    ("entry", "status", "code"),
    [
        ({"request": {"method": "DELETE", "url": "Practitioner/d"}}, 400, "reference.not_found"),
        ({"request": {"method": "DELETE", "url": BY_NAME}}, 400, "reference.not_found"),
        (
            {"resource": {"resourceType": "Practitioner"}, "request": {"method": "PUT", "url": "Practitioner/d"}},
            400,
            "reference.not_found",
        ),
        ({"resource": NAMED, "request": {"method": "POST", "url": "Practitioner"}}, 412, "reference.ambiguous"),
        ({"resource": NAMED, "request": {"method": "PUT", "url": "Practitioner/e"}}, 412, "reference.ambiguous"),
    ],
    ids=["deleted", "deleted by the condition", "without it now", "another", "another by its id"],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_conditional_reference_means_what_is_there_once_all_else_is_done(server, entry, status, code, is_first):
    """§3.1.0.11.2: conditional references are resolved last, and more than one match is a failure.

    A reference to what is gone, or to one of two people of one number, is worse than none.
    """
    server.call("PUT", "/fhir/Practitioner/d", NAMED | {"id": "d"})
    rows = [entry, observation(BY_NAME)] if is_first else [observation(BY_NAME), entry]
    before = server.store.count()
    response = server.call("POST", "/fhir", transaction(PATIENT, *rows))
    assert (response.status_code, code_of(response)) == (status, code)
    assert server.store.count() == before


@pytest.mark.parametrize(
    "entry",
    [
        {"resource": NAMED | {"active": True}, "request": {"method": "PUT", "url": "Practitioner/d"}},
        {"resource": NAMED | {"active": True}, "request": {"method": "PUT", "url": BY_NAME}},
        {"resource": NAMED, "request": {"method": "POST", "url": "Practitioner", "ifNoneExist": BY_NAME}},
    ],
    ids=["changed", "changed by the condition", "found"],
)
def test_a_conditional_reference_finds_what_the_bundle_leaves_as_it_is_named(server, entry):
    server.call("PUT", "/fhir/Practitioner/d", NAMED | {"id": "d"})
    place = locations(server.call("POST", "/fhir", transaction(PATIENT, observation(BY_NAME), entry)))[1]
    assert json.loads(server.call("GET", f"/fhir/{place}").data)["performer"] == [{"reference": "Practitioner/d"}]


def test_who_may_not_read_finds_what_its_own_bundle_has_and_learns_of_nothing_else(server):
    server.call("PUT", "/fhir/Practitioner/d", NAMED | {"id": "d"})
    rows = [PATIENT, {"resource": NAMED, "request": {"method": "POST", "url": "Practitioner"}}, observation(BY_NAME)]
    response = server.call("POST", "/fhir", transaction(*rows), scope="system/*.c")
    _, mine, place = locations(response)
    assert json.loads(server.call("GET", f"/fhir/{place}").data)["performer"] == [{"reference": mine}]


def test_each_condition_of_references_is_searched_for_once(server, monkeypatch):
    """Also one that an entry of the Bundle fulfils, and nothing here."""
    found = []
    find = Resolver.find
    monkeypatch.setattr(Resolver, "find", lambda resolver, *asked: found.append(asked[0]) or find(resolver, *asked))
    rows = [{"resource": NAMED, "request": {"method": "POST", "url": "Practitioner"}}, *[observation(BY_NAME)] * 5]
    assert server.call("POST", "/fhir", transaction(PATIENT, *rows)).status_code == 200
    assert len(found) == 1


ZHANG = {"resourceType": "Practitioner", "name": [{"family": "Zhang"}], "gender": "female"}
BY_TWO = "Practitioner?family=zhang&gender=female"


def posted(resource: dict) -> dict:
    return {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}


def performer_of(server, place: str) -> str:
    return json.loads(server.call("GET", f"/fhir/{place}").data)["performer"][0]["reference"]


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0]])
@pytest.mark.parametrize(
    "condition", [BY_TWO, "Practitioner?name:contains=HAN", "Practitioner?identifier=urn:staff|d1,urn:staff|none"]
)
def test_a_conditional_reference_of_any_search_finds_what_the_bundle_has(server, order, condition):
    """§3.1.0.11.2: conditional references are searches, resolved once all other entries are done."""
    rows = [posted(ZHANG | {"identifier": NAMED["identifier"]}), PATIENT, observation(condition)]
    response = server.call("POST", "/fhir", transaction(*(rows[one] for one in order)))
    places = dict(zip(order, locations(response), strict=True))
    assert performer_of(server, places[2]) == places[0]


@pytest.mark.parametrize(
    ("before", "rows", "status", "code"),
    [
        ([], [posted(ZHANG), posted(ZHANG)], 412, "reference.ambiguous"),
        ([ZHANG], [posted(ZHANG)], 412, "reference.ambiguous"),
        ([], [posted(ZHANG | {"gender": "male"})], 400, "reference.not_found"),
        (
            [ZHANG],
            [
                {
                    "resource": ZHANG | {"id": "d0", "gender": "male"},
                    "request": {"method": "PUT", "url": "Practitioner/d0"},
                }
            ],
            400,
            "reference.not_found",
        ),
        ([ZHANG], [{"request": {"method": "DELETE", "url": "Practitioner/d0"}}], 400, "reference.not_found"),
    ],
    ids=["two of the Bundle", "one here and one of the Bundle", "another", "changed", "deleted"],
)
def test_what_the_bundle_has_counts_beside_what_is_here(server, before, rows, status, code):
    for number, resource in enumerate(before):
        server.call("PUT", f"/fhir/Practitioner/d{number}", resource | {"id": f"d{number}"})
    count = server.store.count()
    response = server.call("POST", "/fhir", transaction(PATIENT, observation(BY_TWO), *rows))
    assert (response.status_code, code_of(response)) == (status, code)
    assert server.store.count() == count


GONE = {"request": {"method": "DELETE", "url": "Practitioner/d1"}}
RENAMED = {
    "resource": {"resourceType": "Practitioner", "id": "d1"},
    "request": {"method": "PUT", "url": "Practitioner/d1"},
}


@pytest.mark.parametrize("condition", [BY_NAME, BY_TWO])
@pytest.mark.parametrize("entry", [GONE, RENAMED], ids=["deleted", "without it now"])
def test_of_two_that_fulfil_a_condition_the_one_that_stays_is_meant(server, condition, entry):
    """§3.1.0.11.2: conditional references are resolved last; what the Bundle takes away is no match then."""
    for number in range(3):
        name = ZHANG | {"identifier": NAMED["identifier"] if number else [], "id": f"d{number}"}
        server.call("PUT", f"/fhir/Practitioner/d{number}", name | ({} if number else {"gender": "male"}))
    response = server.call("POST", "/fhir", transaction(PATIENT, observation(condition), entry))
    assert performer_of(server, place_of(response, 1)) == "Practitioner/d2"


def test_of_three_that_fulfil_a_condition_two_may_not_stay(server):
    for name in ("d1", "d2", "d3"):
        server.call("PUT", f"/fhir/Practitioner/{name}", NAMED | {"id": name})
    response = server.call("POST", "/fhir", transaction(PATIENT, GONE, observation(BY_NAME)))
    assert (response.status_code, code_of(response)) == (412, "reference.ambiguous")


def test_what_a_bundle_takes_from_a_condition_has_an_end(server, monkeypatch):
    monkeypatch.setattr(references, "_MAX_APART", 1)
    for name in ("d1", "d2", "d3"):
        server.call("PUT", f"/fhir/Practitioner/{name}", NAMED | {"id": name})
    other = {"request": {"method": "DELETE", "url": "Practitioner/d2"}}
    response = server.call("POST", "/fhir", transaction(PATIENT, GONE, other, observation(BY_NAME)))
    assert (response.status_code, code_of(response)) == (412, "reference.ambiguous")
    monkeypatch.setattr(references, "_MAX_APART", 2)
    response = server.call("POST", "/fhir", transaction(PATIENT, GONE, other, observation(BY_NAME)))
    assert performer_of(server, place_of(response, 3)) == "Practitioner/d3"


def test_two_entries_of_one_identifier_are_told_apart_by_no_reference(server):
    """§3.1.0.11.2: more than one match is a failure; that nothing is there would not be true."""
    response = server.call("POST", "/fhir", transaction(PATIENT, posted(NAMED), posted(NAMED), observation(BY_NAME)))
    assert (response.status_code, code_of(response)) == (412, "reference.ambiguous")


def test_an_identifier_means_to_a_reference_what_it_means_to_a_search(server):
    """§3.1.1.4.10: without case, since leaving out is worse than too much."""
    rows = [PATIENT, posted(NAMED), observation("Practitioner?identifier=urn:staff|d1")]
    _, mine, place = locations(server.call("POST", "/fhir", transaction(*rows)))
    assert performer_of(server, place) == mine


ACT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
VISIT = {"resourceType": "Encounter", "status": "finished", "class": ACT}


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("whom", ["urn:uuid:00000000-0000-4000-8000-000000000009", "Patient?identifier=urn:p|7"])
def test_a_condition_asks_for_references_of_entries_as_they_will_be(server, is_first, whom):
    """Another entry is meant by its full URL, or by a condition of its own."""
    person = {"resourceType": "Patient", "id": "p7", "identifier": [{"system": "urn:p", "value": "7"}]}
    patient = {
        "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000009",
        "resource": person,
        "request": {"method": "PUT", "url": "Patient/p7"},
    }
    visit = posted(VISIT | {"subject": {"reference": whom}})
    report = posted(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "weight"},
            "encounter": {"reference": "Encounter?subject=Patient/p7&status=finished"},
        }
    )
    rows = [patient, visit, report] if is_first else [report, visit, patient]
    places = locations(server.call("POST", "/fhir", transaction(*rows)))
    stored = json.loads(server.call("GET", f"/fhir/{places[2 if is_first else 0]}").data)
    assert stored["encounter"]["reference"] == places[1]


def test_conditions_of_entries_on_one_another_come_to_an_end(server):
    visit = posted(VISIT | {"partOf": {"reference": "Encounter?part-of:missing=true"}})
    whole, part = locations(server.call("POST", "/fhir", transaction(posted(VISIT), visit)))
    assert json.loads(server.call("GET", f"/fhir/{part}").data)["partOf"]["reference"] == whole


def test_judging_entries_is_bounded_as_searches_are(server, monkeypatch):
    monkeypatch.setattr(references, "JUDGED_AT_ONCE", 1)
    monkeypatch.setattr(core, "MAX_CONDITIONS", 10)
    rows = [posted(ZHANG | {"gender": "male"}) for _ in range(6)]
    referring = [observation(f"Practitioner?gender={one}") for one in ("female", "male")]
    response = server.call("POST", "/fhir", transaction(PATIENT, *rows, *referring))
    assert (response.status_code, code_of(response)) == (400, "reference.not_found")
    response = server.call("POST", "/fhir", transaction(PATIENT, *rows, *referring[::-1]))
    assert (response.status_code, code_of(response)) == (412, "reference.ambiguous")
    monkeypatch.setattr(core, "MAX_CONDITIONS", 7)
    response = server.call("POST", "/fhir", transaction(PATIENT, *rows, *referring))
    assert (response.status_code, code_of(response)) == (400, "reference.too_many")


def test_attack_conditions_for_which_all_rows_are_looked_into_are_bounded_together(server, monkeypatch):
    """One such search is within its own limit; ten thousand in one transaction would take hours."""
    server.call("POST", "/fhir/Practitioner", b'{"resourceType":"Practitioner","name":[{"family":"Zhang"}]}')
    monkeypatch.setattr(core, "MAX_CONDITIONS", 3 * references.LOOKED_INTO)
    first, second = (observation(f"Practitioner?name:contains=han,other{one}") for one in range(2))
    assert len(locations(server.call("POST", "/fhir", transaction(PATIENT, first)))) == 2
    response = server.call("POST", "/fhir", transaction(PATIENT, first, second))
    assert (response.status_code, code_of(response)) == (400, "reference.too_many")


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


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"request": {"method": "POST", "url": "Patient", "ifNonExist": "identifier=urn:x|1"}}, ".request.ifNonExist"),
        ({"request": {"method": "POST", "url": "Patient", "ifNoneExist": 7}}, ".request.ifNoneExist"),
        ({"request": {"method": "POST", "url": "Patient", "ifNoneExist": ""}}, ".request.ifNoneExist"),
        ({"request": {"method": "PUT", "url": "Patient/p1", "ifMatch": 1}}, ".request.ifMatch"),
        ({"request": PATIENT["request"], "fullurl": PATIENT["fullUrl"]}, ".fullurl"),
        ({"request": PATIENT["request"], "search": "match"}, ".search"),
    ],
)
def test_what_an_entry_says_beside_its_resource_is_refused_where_it_is_malformed(server, entry, place):
    """R4 §2.36, Bundle.entry: a condition misspelt, or no text, was passed over, and the write done without."""
    bad = {"resource": {"resourceType": "Patient", "id": "p1"}} | entry
    refused = server.call("POST", "/fhir", transaction(DOCTOR, bad))
    assert refused.status_code == 422
    assert json.loads(refused.data)["issue"][0]["expression"] == [f"Bundle.entry[1]{place}"]
    assert server.store.count() == 0
    told = json.loads(server.call("POST", "/fhir", transaction(DOCTOR, bad) | {"type": "batch"}).data)["entry"]
    assert [row["response"]["status"][:3] for row in told] == ["201", "422"]
    assert told[1]["response"]["outcome"]["issue"][0]["expression"] == [f"Bundle.entry[1]{place}"]
    assert server.store.count() == 1


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_a_bundle_that_says_what_r4_does_not_know_is_refused(server, kind):
    refused = server.call("POST", "/fhir", transaction(PATIENT) | {"type": kind, "entries": []})
    assert (refused.status_code, server.store.count()) == (422, 0)


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


@pytest.mark.parametrize("kind", ["transaction", "batch"])
@pytest.mark.parametrize("tag", ["*", 'W/"1"'])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_an_entry_changes_nothing_that_it_wants_not_to_be_there(server, kind, tag, method):
    """Who puts with ``*`` has seen nothing there (RFC 9110 §13.1.2): what another made meanwhile is not for it."""
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1", "active": True})
    part = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": "Patient.active"}]
    resource = {"PUT": {"resourceType": "Patient", "id": "p1"}, "DELETE": None}.get(
        method, {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
    )
    row = {"request": {"method": method, "url": "Patient/p1", "ifNoneMatch": tag}}
    response = server.call(
        "POST", "/fhir", transaction(row | ({"resource": resource} if resource else {})) | {"type": kind}
    )
    told = json.loads(response.data)
    assert (response.status_code if kind == "transaction" else int(told["entry"][0]["response"]["status"][:3])) == 412
    stored = json.loads(server.call("GET", "/fhir/Patient/p1").data)
    assert (stored["active"], stored["meta"]["versionId"]) == (True, "1")


@pytest.mark.parametrize("kind", ["transaction", "batch"])
@pytest.mark.parametrize("before", ["nothing", "deleted"])
def test_an_entry_makes_what_it_wants_not_to_be_there(server, kind, before):
    if before == "deleted":
        server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"})
        server.call("DELETE", "/fhir/Patient/p1")
    request = {"method": "PUT", "url": "Patient/p1", "ifNoneMatch": "*"}
    row = {"resource": {"resourceType": "Patient", "id": "p1"}, "request": request}
    told = json.loads(server.call("POST", "/fhir", transaction(row) | {"type": kind}).data)
    assert told["entry"][0]["response"]["status"] == "201 Created"


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_an_entry_may_search_all_types(server, kind):
    """§3.1.1.3 with §3.1.0.11: ``[base]?parameters`` is a search as any other."""
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"})
    server.call("PUT", "/fhir/Basic/b1", {"resourceType": "Basic", "id": "b1", "code": {"text": "x"}})
    rows = [{"request": {"method": "GET", "url": url}} for url in ("?_type=Patient,Basic", f"{BASE_URL}/?_id=b1", "")]
    told = json.loads(server.call("POST", "/fhir", transaction(*rows) | {"type": kind}).data)["entry"]
    assert [row["response"]["status"][:3] for row in told] == ["200", "200", "400"]
    assert [row["resource"]["total"] for row in told[:2]] == [2, 1]


@pytest.mark.parametrize("kind", ["transaction", "batch"])
@pytest.mark.parametrize(
    ("since", "status"),
    [
        (instant(NOW), "304"),
        (f"{instant(NOW)[:-1]}.999Z", "304"),
        (instant(NOW - 1), "200"),
        (instant(NOW)[:-1], "200"),
        ("0001-01-01T00:00:00+14:00", "200"),
        ("yesterday", "200"),
    ],
)
def test_an_entry_is_read_if_it_was_modified_since_an_instant(server, kind, since, status):
    """Bundle.entry.request.ifModifiedSince, as If-Modified-Since of a read (§3.1.0.1.3); what is no time is none."""
    server.call("PUT", "/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"})
    row = {"request": {"method": "GET", "url": "Patient/p1", "ifModifiedSince": since}}
    answer = json.loads(server.call("POST", "/fhir", transaction(row) | {"type": kind}).data)["entry"][0]
    assert answer["response"]["status"][:3] == status
    assert ("resource" in answer) == (status == "200")


@pytest.mark.parametrize(("again", "place"), [({}, 1), ({"fullUrl": "http://a.example/Patient/1/_history/2"}, 0)])
def test_entries_of_one_full_url_or_of_that_of_a_version_are_refused(server, again, place):
    """R4 Bundle, bdl-7 and bdl-8: what refers to such an entry could mean another."""
    response = server.call("POST", "/fhir", transaction(PATIENT | again, PATIENT))
    assert (response.status_code, code_of(response)) == (400, "bundle.full_url")
    assert json.loads(response.data)["issue"][0]["expression"] == [f"Bundle.entry[{place}].fullUrl"]
    assert server.store.count() == 0
    batch = transaction(PATIENT | again, PATIENT) | {"type": "batch"}
    rows = json.loads(server.call("POST", "/fhir", batch).data)["entry"]
    statuses = [row["response"]["status"] for row in rows]
    assert [one[:3] for one in statuses] == ["400" if number == place else "201" for number in (0, 1)]
    (issue,) = rows[place]["response"]["outcome"]["issue"]
    assert issue["details"]["coding"][0]["code"] == "bundle.full_url"


def test_an_address_may_begin_with_a_slash_as_clients_of_others_write_it(server):
    rows = [
        {"resource": PATIENT["resource"], "request": {"method": "POST", "url": "/Patient"}},
        {"resource": {**PATIENT["resource"], "id": "p9"}, "request": {"method": "PUT", "url": "/Patient/p9"}},
        {"request": {"method": "GET", "url": "/Patient/p9"}},
    ]
    answer = json.loads(server.call("POST", "/fhir", transaction(*rows)).data)
    assert [row["response"]["status"][:3] for row in answer["entry"]] == ["201", "201", "200"]
    gone = transaction({"request": {"method": "DELETE", "url": "/Patient/p9"}})
    assert json.loads(server.call("POST", "/fhir", gone).data)["entry"][0]["response"]["status"] == "204 No Content"
    twice = transaction({"resource": PATIENT["resource"], "request": {"method": "POST", "url": "//Patient"}})
    assert server.call("POST", "/fhir", twice).status_code in (400, 403)


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_an_address_may_have_this_nodes_base_before_it_as_clients_of_others_write_it(server, kind):
    rows = [
        {"resource": PATIENT["resource"], "request": {"method": "POST", "url": f"{BASE_URL}/Patient"}},
        {
            "resource": {**PATIENT["resource"], "id": "p9"},
            "request": {"method": "PUT", "url": f"{BASE_URL}/Patient/p9"},
        },
        {"request": {"method": "GET", "url": f"{BASE_URL}/Patient?_id=none"}},
    ]
    answer = json.loads(server.call("POST", "/fhir", transaction(*rows) | {"type": kind}).data)
    assert [row["response"]["status"][:3] for row in answer["entry"]] == ["201", "201", "200"]
    # Rights are those of the type that it names, and another node's address is none of this one's.
    told = server.call("POST", "/fhir", transaction(rows[0]) | {"type": kind}, scope="system/Observation.c")
    elsewhere = rows[0] | {"request": {"method": "POST", "url": "http://elsewhere.example/fhir/Patient"}}
    other = server.call("POST", "/fhir", transaction(elsewhere) | {"type": kind})
    for response, status in ((told, "403"), (other, "4")):
        body = json.loads(response.data)
        shown = response.status_code if kind == "transaction" else body["entry"][0]["response"]["status"]
        assert str(shown).startswith(status)
    gone = transaction({"request": {"method": "DELETE", "url": f"{BASE_URL}/Patient/p9"}}) | {"type": kind}
    assert json.loads(server.call("POST", "/fhir", gone).data)["entry"][0]["response"]["status"] == "204 No Content"


def test_what_was_deleted_is_created_by_an_update(server):
    """FHIR R4 §3.1.0.4: 201 if the resource was created; §3.1.0.7: a deleted one may be brought back by an update."""
    row = {"resource": {**PATIENT["resource"], "id": "p9"}, "request": {"method": "PUT", "url": "Patient/p9"}}
    seen = []
    for before in (None, None, "DELETE"):
        if before:
            server.call(before, "/fhir/Patient/p9")
        answer = json.loads(server.call("POST", "/fhir", transaction(row)).data)
        seen.append(answer["entry"][0]["response"]["status"])
    assert seen == ["201 Created", "200 OK", "201 Created"]


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_a_create_without_an_address_is_of_the_resources_type(server, kind):
    """R4's own example of a transaction (§3.1.0.11.3) has none, and HAPI's `withResources` writes none."""
    row = {"resource": PATIENT["resource"], "request": {"method": "POST"}}
    answer = json.loads(server.call("POST", "/fhir", transaction(row) | {"type": kind}).data)
    assert answer["entry"][0]["response"]["location"].startswith("Patient/")
    # What may be created is said by the same type.
    refused = server.call("POST", "/fhir", transaction(row) | {"type": kind}, scope="system/Observation.c")
    told = refused.status_code if kind == "transaction" else json.loads(refused.data)["entry"][0]["response"]["status"]
    assert str(told)[:3] == "403"
    for wrong in (
        {"resource": PATIENT["resource"] | {"id": "p9"}, "request": {"method": "PUT"}},
        {"request": {"method": "POST"}},
        {"resource": PATIENT["resource"], "request": {"method": "POST", "url": ""}},
    ):
        refused = server.call("POST", "/fhir", transaction(wrong) | {"type": kind})
        told = (
            refused.status_code if kind == "transaction" else json.loads(refused.data)["entry"][0]["response"]["status"]
        )
        assert str(told)[:2] == "40"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_condition_that_is_no_entity_tag_is_refused_in_bundles_too(server, method):
    """RFC 9110 §13.1.1; R4 §3.1.0.5: ``If-Match: W/"23"``; what is no tag is no condition that could hold."""
    server.call("PUT", "/fhir/Patient/p9", {**PATIENT["resource"], "id": "p9"})
    row = {"request": {"method": method, "url": "Patient/p9", "ifMatch": "foo"}}
    row |= {"resource": {**PATIENT["resource"], "id": "p9"}} if method == "PUT" else {}
    whole = server.call("POST", "/fhir", transaction(row))
    assert (whole.status_code, code_of(whole)) == (400, "request.etag")
    each = json.loads(server.call("POST", "/fhir", transaction(row) | {"type": "batch"}).data)["entry"][0]["response"]
    assert (each["status"][:3], each["outcome"]["issue"][0]["details"]["coding"][0]["code"]) == ("400", "request.etag")
    row["request"]["ifMatch"] = "*"
    assert server.call("POST", "/fhir", transaction(row)).status_code == 200


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("other", ["PUT", "DELETE"])
def test_a_transaction_whose_identities_overlap_fails(server, is_there, other):
    """FHIR R4 §3.1.0.11.2: a record that is deleted and written, or deleted twice, whether it is there or not."""
    if is_there:
        server.call("PUT", "/fhir/Patient/1", PATIENT["resource"] | {"id": "1"})
    put = {"resource": PATIENT["resource"], "request": {"method": other, "url": "Patient/1"}}
    response = server.call("POST", "/fhir", transaction(put, {"request": {"method": "DELETE", "url": "Patient/1"}}))
    assert (response.status_code, code_of(response)) == (400, "bundle.id")
    assert server.store.count() == int(is_there)


def test_what_is_not_there_is_deleted_without_a_version_and_by_no_condition(server):
    """R4 Bundle.entry.response.etag is of the resource; ifMatch names a version that there must be (§3.1.0.5.3)."""
    request = {"method": "DELETE", "url": "Patient/none"}
    row = json.loads(server.call("POST", "/fhir", transaction({"request": request})).data)["entry"][0]["response"]
    assert row == {"status": "204 No Content"}
    refused = server.call("POST", "/fhir", transaction({"request": request | {"ifMatch": 'W/"3"'}}))
    assert (refused.status_code, code_of(refused)) == (412, "bundle.version")


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_bundle_of_nothing_is_answered_without_an_empty_array(server, kind, form):
    """FHIR R4 §2.6.2.1: an array has an item at least."""
    answer = server.call("POST", f"/fhir?_format={form}", {"resourceType": "Bundle", "type": kind})
    assert answer.status_code == 200
    told = parse_xml(answer.data) if form == "xml" else json.loads(answer.data)
    assert told == {"resourceType": "Bundle", "type": f"{kind}-response"}


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
    plan = collect(bundle, Resolver(server.core.search, server.store, identifier_key(b"k" * 32)), server.time[0])
    assert [record.type for record in plan.records] == ["Patient", "Practitioner"]
    assert [(item.index, item.error.code) for item in plan.refused] == [(1, "resource.invalid")]


def test_an_import_keeps_the_ids_of_a_collection(server):
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": PATIENT["resource"] | {"id": "p9"}}],
    }
    resolver = Resolver(server.core.search, server.store, identifier_key(b"k" * 32))
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


def test_what_a_record_is_found_by_and_committed_to_is_the_same_from_its_content_and_as_it_was_parsed(server):
    """Where it is at hand parsed, its bytes are not read again: what they say must be what it says."""
    salt, index = bytes(range(32)), server.core.search.index
    for _, content in chosen(""):
        resource = parse(content)
        name = resource.get("resourceType", "")
        if not is_storable(name) or name == "Binary":
            continue
        record = make_record(name, "x1", 1, with_identity(resource, "x1", 1, server.time[0]), Mode.LENIENT)
        assert record.tree is not None
        assert index.rows(name, record.tree) == index.rows_of(name, record.content), content[:80]
        fields = document_fields(record.tree, lambda number: number.text)
        assert root_of_fields(salt, fields) == record_field_root(salt, record.content), content[:80]


def test_records_of_a_large_bundle_do_not_hold_what_was_parsed(server):
    resolver = Resolver(server.core.search, server.store, identifier_key(b"k" * 32))
    bundle = parse_bundle(json.dumps(transaction(PATIENT, DOCTOR)).encode())
    kept = Document(bundle.resource, list(bundle.rows))
    assert [record.tree for record in collect(bundle, resolver, server.time[0]).records] == [None, None]
    assert None not in [record.tree for record in collect(kept, resolver, server.time[0]).records]


def test_a_bundle_goes_as_soon_as_nobody_holds_it(server):
    """What holds itself would stay until garbage is looked for, which takes longer than letting go of it at once."""

    class Row(dict):
        """An entry that tells when it has gone."""

    resolver = Resolver(server.core.search, server.store, identifier_key(b"k" * 32))
    bundle = parse_bundle(json.dumps(transaction(PATIENT, DOCTOR, observation(DOCTOR["fullUrl"]))).encode())
    kept = Document(bundle.resource, [Row(one) for one in bundle.rows])
    alive = [weakref.ref(one) for one in kept.rows]
    gc.disable()
    try:
        plan = collect(kept, resolver, server.time[0])
        assert len(plan.records) == 3
        del plan, kept
        assert [one() for one in alive] == [None] * 3
    finally:
        gc.enable()


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
