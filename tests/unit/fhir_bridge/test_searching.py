"""Searches over HTTP, and what a caller with part of the rights gets of them (FHIR R4 §3.1.1, SMART 2.2 §3.0)."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from fhir_bridge import search
from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import parameters_of
from fhir_bridge.document import parse
from fhir_bridge.rest.words import _WORDS
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.index_job import IndexJob
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from fhir_bridge.validation.check import check
from fhir_bridge.xml import parse_xml
from medchain import store
from tests.unit.fhir_bridge.conftest import BASE_URL


def code_of(response) -> str:
    return json.loads(response.data)["issue"][0]["details"]["coding"][0]["code"]


def observation(number: int, patient: str, code: str = "laboratory") -> dict:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "category": [{"coding": [{"system": system, "code": code}]}],
        "code": {"text": "weight"},
        "subject": {"reference": f"Patient/{patient}"},
        "valueQuantity": {"value": 5, "unit": "kg"},
    }


@pytest.fixture
def ward(server):
    """Two patients with observations, and a doctor."""
    for name in ("p1", "p2"):
        patient = {"resourceType": "Patient", "id": name, "name": [{"family": "测试" + name}], "active": True}
        server.call("PUT", f"/fhir/Patient/{name}", patient | {"identifier": [{"system": "urn:x", "value": name}]})
    server.call("PUT", "/fhir/Practitioner/d1", {"resourceType": "Practitioner", "id": "d1"})
    for number in range(6):
        kind = "laboratory" if number < 4 else "vital-signs"
        body = observation(number, "p1" if number % 2 else "p2", kind)
        server.call("PUT", f"/fhir/Observation/o{number}", body | {"performer": [{"reference": "Practitioner/d1"}]})
    return server


def entries(response) -> list[str]:
    assert response.status_code == 200, response.data
    rows = json.loads(response.data).get("entry", [])
    return [f"{row['resource']['resourceType']}/{row['resource'].get('id')}" for row in rows]


def modes(response) -> list[str]:
    return [row["search"]["mode"] for row in json.loads(response.data).get("entry", [])]


def link(response, relation: str) -> str | None:
    rows = json.loads(response.data)["link"]
    return next((row["url"] for row in rows if row["relation"] == relation), None)


def path_of(url: str) -> str:
    return url.removeprefix("http://127.0.0.1:41000")


def test_a_search_gives_stored_bytes_with_their_addresses(ward):
    response = ward.call("GET", "/fhir/Patient?identifier=urn:x|p1")
    document = json.loads(response.data)
    assert (document["type"], document["total"], entries(response)) == ("searchset", 1, ["Patient/p1"])
    assert document["entry"][0]["fullUrl"] == "http://127.0.0.1:41000/fhir/Patient/p1"
    assert ward.call("GET", "/fhir/Patient/p1").data in response.data
    assert link(response, "self") == "http://127.0.0.1:41000/fhir/Patient?identifier=urn%3Ax%7Cp1"


def test_a_search_by_post_is_the_same_search(ward):
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    by_get = ward.call("GET", "/fhir/Observation?subject=Patient/p1&category=laboratory")
    by_post = ward.call("POST", "/fhir/Observation/_search?subject=Patient/p1", b"category=laboratory", **form)
    assert entries(by_get) == entries(by_post) == ["Observation/o1", "Observation/o3"]
    assert entries(ward.call("POST", "/fhir/_search", b"_type=Patient", **form)) == ["Patient/p1", "Patient/p2"]
    response = ward.call("POST", "/fhir/Observation/_search", {})
    assert (response.status_code, code_of(response)) == (415, "http.415")
    response = ward.call("POST", "/fhir/Observation/_search", b"a=\xff", **form)
    assert (response.status_code, code_of(response)) == (400, "request.query")


def test_the_form_of_a_search_by_post_may_say_the_form_of_the_answer(ward):
    """§3.1.0.9: the parameters of the body count as those of the address, `_format` and `_pretty` (§3.1.0.1.11) too."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    answer = ward.call("POST", "/fhir/Patient/_search?_id=p1", b"_format=xml&_pretty=true", **form)
    assert answer.content_type.startswith("application/fhir+xml")
    assert b"\n  <entry>" in answer.data
    refused = ward.call("POST", "/fhir/Patient/_search?_id=p1", b"_format=turtle", **form)
    assert (refused.status_code, code_of(refused)) == (406, "http.406")


def test_a_batch_searches_by_post_with_all_in_the_address(ward):
    """§3.1.0.9, §3.1.0.11: what an entry sends with it is no form."""
    asked = {"method": "POST", "url": "Observation/_search?subject=Patient/p1&category=laboratory"}
    entry = [{"request": asked}, {"request": asked, "resource": {"resourceType": "Parameters"}}]
    answer = ward.call("POST", "/fhir", {"resourceType": "Bundle", "type": "batch", "entry": entry})
    found, refused = json.loads(answer.data)["entry"]
    assert [row["resource"]["id"] for row in found["resource"]["entry"]] == ["o1", "o3"]
    assert refused["response"]["status"].startswith("415")


@pytest.mark.parametrize("path", ["Observation?_count=2", "Observation/_history?_count=2&_summary=true"])
def test_links_to_other_pages_keep_the_form_that_was_asked_for(ward, path):
    """§3.1.0.1.11; §3.1.1.3 (paging): a client follows links as they are, and may ask for another form on each page."""
    following = link(ward.call("GET", f"/fhir/{path}&_format=json&_pretty=true"), "next")
    assert following.endswith("&_format=json&_pretty=true")
    second = ward.call("GET", path_of(following), Accept="application/fhir+xml")
    assert second.content_type.startswith("application/fhir+json")
    assert link(second, "self") == following
    in_xml = ward.call("GET", path_of(following).partition("&_format")[0] + "&_format=xml")
    assert (in_xml.status_code, in_xml.content_type.startswith("application/fhir+xml")) == (200, True)
    plain = link(ward.call("GET", f"/fhir/{path}"), "next")
    assert ("_format" in plain, "_summary=true" in plain) == (False, "_summary" in path)


def test_a_search_by_post_that_has_all_in_its_address_needs_no_body(ward):
    """§3.1.0.9: ``POST [base]/[type]/_search{?[parameters]}``."""
    response = ward.call("POST", "/fhir/Patient/_search?_id=p1")
    assert entries(response) == ["Patient/p1"]
    untyped = ward.call("POST", "/fhir/Patient/_search", b"_id=p1", Content_Type="")
    assert (untyped.status_code, code_of(untyped)) == (415, "http.415")


def test_a_search_by_get_may_have_the_address_of_one_by_post(ward):
    """HAPI's client has such a style (SearchStyleEnum.GET_WITH_SEARCH)."""
    wanted = ward.call("GET", "/fhir/Observation?patient=p1&_sort=_id")
    asked = ward.call("GET", "/fhir/Observation/_search?patient=p1&_sort=_id")
    assert entries(asked) == entries(wanted)
    assert link(asked, "self") == link(wanted, "self")
    assert ward.call("GET", "/fhir/Observation/_search", scope="system/Patient.rs").status_code == 403


def test_pages_follow_a_link_that_says_nothing(ward):
    seen, address, pages = [], "/fhir/Observation?subject=Patient/p1&_count=2", 0
    while address:
        page = ward.call("GET", address)
        seen += entries(page)
        pages += 1
        following = link(page, "next")
        # "p1" alone would stand in one sealed cursor of twenty by chance.
        assert following is None or ("Patient" not in following and "subject" not in following)
        address = following and path_of(following)
    assert (seen, pages) == (["Observation/o1", "Observation/o3", "Observation/o5"], 2)


def test_what_is_included_is_told_apart(ward):
    response = ward.call("GET", "/fhir/Observation?_id=o1&_include=Observation:subject&_include=Observation:performer")
    assert sorted(entries(response)[1:]) == ["Patient/p1", "Practitioner/d1"]
    assert modes(response) == ["match", "include", "include"]


def test_unknown_parameters_are_warned_of_or_refused(ward):
    response = ward.call("GET", "/fhir/Patient?nickname=x&_id=p1")
    assert modes(response) == ["outcome", "match"]
    assert "nickname" not in link(response, "self")
    strict = ward.call("GET", "/fhir/Patient?nickname=x", Prefer="handling=strict")
    assert (strict.status_code, code_of(strict)) == (400, "search.parameter")


def test_what_is_wrong_with_a_search_is_told_with_the_parameters_place(ward):
    """R4 OperationOutcome.issue.location: for HTTP errors ``http.`` and the parameter's name."""
    for query, place in (
        ("birthdate=soon", "http.birthdate"),
        ("name:brew=x", "http.name"),
        ("_sort=nickname", "http._sort"),
        ("_filter=x", "http._filter"),
        ("nickname=x", "http.nickname"),
    ):
        for form in ("application/fhir+json", "application/fhir+xml"):
            response = ward.call("GET", f"/fhir/Patient?{query}", Accept=form, Prefer="handling=strict")
            told = parse(response.data) if form.endswith("json") else parse_xml(response.data)
            assert (response.status_code, told["issue"][0]["location"], check(told)) == (400, [place], [])
    lenient = json.loads(ward.call("GET", "/fhir/Patient?nickname=x").data)["entry"][0]["resource"]
    assert lenient["issue"][0]["location"] == ["http.nickname"]
    assert "location" not in json.loads(ward.call("GET", "/fhir/Patient/none").data)["issue"][0]


def test_parts_of_matches(ward):
    response = ward.call("GET", "/fhir/Patient?_id=p1&_elements=active")
    resource = json.loads(response.data)["entry"][0]["resource"]
    assert "name" not in resource
    assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"
    counted = json.loads(ward.call("GET", "/fhir/Patient?_summary=count").data)
    assert (counted["total"], "entry" in counted) == (2, False)


def test_a_search_in_a_compartment(ward):
    assert entries(ward.call("GET", "/fhir/Patient/p1/Observation?category=laboratory")) == [
        "Observation/o1",
        "Observation/o3",
    ]
    care = [one for one in entries(ward.call("GET", "/fhir/Patient/p1/*")) if not one.startswith("AuditEvent")]
    assert len(care) == 4
    assert len(entries(ward.call("GET", "/fhir/Practitioner/d1/Observation"))) == 6
    # §2.45: the compartment is of the matches; what they refer to may lie outside it.
    chained = "/fhir/Patient/p1/Observation?performer:Practitioner._id=d1&category=laboratory"
    assert entries(ward.call("GET", chained)) == ["Observation/o1", "Observation/o3"]
    with_doctor = "/fhir/Patient/p1/Observation?_id=o1&_include=Observation:performer"
    assert entries(ward.call("GET", with_doctor)) == ["Observation/o1", "Practitioner/d1"]
    for path in ("/fhir/Basic/x/Observation", "/fhir/Patient/p1/Nonsense"):
        assert ward.call("GET", path).status_code == 404


def test_everything_of_a_patient_comes_in_pages(ward):
    seen, address = [], "/fhir/Patient/p1/$everything?_count=3"
    while address:
        page = ward.call("GET", address)
        seen += entries(page)
        following = link(page, "next")
        address = following and path_of(following)
    assert sorted(set(seen)) == ["Observation/o1", "Observation/o3", "Observation/o5", "Patient/p1", "Practitioner/d1"]
    assert [seen.count(one) for one in ("Observation/o1", "Patient/p1")] == [1, 1]
    assert entries(ward.call("GET", "/fhir/Patient/p1/$everything?_type=Patient")) == ["Patient/p1"]
    assert entries(ward.call("GET", "/fhir/Patient/p1/$everything?_since=2030-01-01")) == []
    assert entries(ward.call("GET", "/fhir/Patient/p1/$everything?_type=Organization")) == []
    for path in ("/fhir/Patient/none/$everything", "/fhir/Observation/o1/$everything"):
        assert ward.call("GET", path).status_code == 404
    assert ward.call("GET", "/fhir/Patient/p1/$everything?start=soon").status_code == 400


def test_everything_of_all_patients_is_of_those_whom_the_caller_may_see(ward):
    """OperationDefinition/Patient-everything at the type: all patients that the requester has access to."""
    seen, address = [], "/fhir/Patient/$everything?_count=3"
    while address:
        page = ward.call("GET", address)
        seen += entries(page)
        following = link(page, "next")
        address = following and path_of(following)
    of_both = ["Patient/p1", "Patient/p2", *(f"Observation/o{number}" for number in range(6))]
    assert sorted(one for one in seen if one != "Practitioner/d1") == sorted(of_both)
    assert "Practitioner/d1" in seen
    alone = ward.call("GET", "/fhir/Patient/$everything", scope="system/Patient.rs?_id=p1")
    assert entries(alone) == ["Patient/p1"]
    posted = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueString": "Patient"}]}
    assert entries(ward.call("POST", "/fhir/Patient/$everything", posted)) == ["Patient/p1", "Patient/p2"]
    assert ward.call("GET", "/fhir/Patient/$everything", scope="system/Observation.rs").status_code == 403
    # The operation has no such form for an encounter.
    assert ward.call("GET", "/fhir/Encounter/$everything").status_code == 404
    posted["parameter"] = [{"name": "_custodian", "valueString": "renhe-hospital"}]
    refused = ward.call("POST", "/fhir/Patient/$everything", posted)
    assert (refused.status_code, code_of(refused)) == (400, "exchange.interaction")


def test_everything_takes_what_is_referred_to_outside_the_compartment(ward):
    """OperationDefinition/Patient-everything: whatever is needed to support the records, e.g. linked practitioners."""
    whole = ward.call("GET", "/fhir/Patient/p1/$everything")
    assert dict(zip(entries(whole), modes(whole), strict=True)) == {
        "Patient/p1": "match",
        **{f"Observation/o{number}": "match" for number in (1, 3, 5)},
        "Practitioner/d1": "include",
    }
    assert json.loads(whole.data)["total"] == 4
    named = ward.call("GET", "/fhir/Patient/p1/$everything?_type=Observation,Practitioner")
    assert sorted(entries(named)) == [*(f"Observation/o{number}" for number in (1, 3, 5)), "Practitioner/d1"]
    alone = ward.call("GET", "/fhir/Patient/p1/$everything?_type=Observation")
    assert sorted(entries(alone)) == [f"Observation/o{number}" for number in (1, 3, 5)]
    limited = ward.call("GET", "/fhir/Patient/p1/$everything", scope="system/Patient.rs system/Observation.rs")
    assert "Practitioner/d1" not in entries(limited)
    unknown = ward.call("GET", "/fhir/Patient/p1/$everything?_type=Observaton")
    assert (unknown.status_code, code_of(unknown)) == (400, "search.type")
    assert json.loads(unknown.data)["issue"][0]["diagnostics"] == "parameter=_type expected=Observation"


def test_everything_of_an_encounter_is_its_compartment_and_what_that_refers_to(ward):
    """OperationDefinition/Encounter-everything; Encounter.diagnosis need not name the encounter."""
    code, plan = {"text": "cough"}, {"subject": {"reference": "Patient/p1"}}
    ward.call("PUT", "/fhir/Condition/c1", {"resourceType": "Condition", "id": "c1", "code": code, **plan})
    ward.call("PUT", "/fhir/Condition/c2", {"resourceType": "Condition", "id": "c2", "code": code, **plan})
    act = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    visit = {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": act, **plan}
    ward.call("PUT", "/fhir/Encounter/e1", visit | {"diagnosis": [{"condition": {"reference": "Condition/c1"}}]})
    seen = {"encounter": {"reference": "Encounter/e1"}, "performer": [{"reference": "Practitioner/d1"}]}
    ward.call("PUT", "/fhir/Observation/o1", observation(1, "p1") | seen)
    whole = ward.call("GET", "/fhir/Encounter/e1/$everything")
    assert dict(zip(entries(whole), modes(whole), strict=True)) == {
        "Encounter/e1": "match",
        "Observation/o1": "match",
        "Condition/c1": "include",
        "Patient/p1": "include",
        "Practitioner/d1": "include",
    }
    named = ward.call("GET", "/fhir/Encounter/e1/$everything?_type=Observation")
    assert entries(named) == ["Observation/o1"]
    since = ward.call("GET", "/fhir/Encounter/e1/$everything?_since=2099-01-01")
    assert entries(since) == []
    # What the caller may not see comes on no way.
    limited = ward.call("GET", "/fhir/Encounter/e1/$everything", scope="system/Encounter.rs system/Observation.rs")
    assert sorted(entries(limited)) == ["Encounter/e1", "Observation/o1"]
    for path in ("Encounter/none", "Practitioner/d1"):
        assert ward.call("GET", f"/fhir/{path}/$everything").status_code == 404
    refused = ward.call("GET", "/fhir/Encounter/e1/$everything?start=2020-01-01")
    assert (refused.status_code, code_of(refused)) == (400, "operation.parameter")
    told = json.loads(ward.call("GET", "/fhir/metadata").data)["rest"][0]["resource"]
    (encounter,) = [row for row in told if row["type"] == "Encounter"]
    named = {one["name"]: one["definition"] for one in encounter["operation"]}
    assert named["everything"] == "http://hl7.org/fhir/OperationDefinition/Encounter-everything"


@pytest.mark.parametrize("asked", ["", "_since=2020-01-01&_count=50", "_type=Observation&start=2020-01-01"])
def test_the_self_link_of_everything_has_what_was_asked_for_and_no_types_that_are_implied(ward, asked):
    """§3.1.1.6: the parameters as they were processed, here those of the operation."""
    answer = ward.call("GET", f"/fhir/Patient/p1/$everything?{asked}")
    expected = f"{BASE_URL}/Patient/p1/$everything"
    assert link(answer, "self") == (f"{expected}?{asked}" if asked else expected)
    assert link(ward.call("GET", "/fhir/Patient/p1/*"), "self") == f"{BASE_URL}/Patient/p1/*"


def test_a_search_in_a_compartment_by_post(ward):
    """R5 §3.2.0.10 (search-compartment): by POST as by GET, with a type in the address or for all."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    posted = ward.call("POST", "/fhir/Patient/p1/Observation/_search?_count=9", b"category=laboratory", **form)
    assert entries(posted) == ["Observation/o1", "Observation/o3"]
    assert link(posted, "self") == f"{BASE_URL}/Patient/p1/Observation?_count=9&category=laboratory"
    of_all = entries(ward.call("POST", "/fhir/Patient/p1/_search", b"_type=Patient,Observation", **form))
    assert sorted(of_all) == ["Observation/o1", "Observation/o3", "Observation/o5", "Patient/p1"]
    assert ward.call("POST", "/fhir/Patient/p1/Observation/_search", b"x").status_code == 415
    assert ward.call("POST", "/fhir/Basic/x/_search", b"", **form).status_code == 404
    assert ward.call("POST", "/fhir/Patient/p1/_search", b"", scope="system/Observation.rs", **form).status_code == 404


def test_who_has_looked_at_a_patient_is_in_everything_where_it_is_named(ward):
    for _ in range(3):
        ward.call("GET", "/fhir/Patient/p1")
    ward.drain()
    named = entries(ward.call("GET", "/fhir/Patient/p1/$everything?_type=AuditEvent"))
    # Each once: the patient and three observations as they were stored, and three looks.
    assert len(named) == 4 + 3
    assert all(one.startswith("AuditEvent/") for one in named)
    whole = ward.call("GET", "/fhir/Patient/p1/$everything")
    assert sorted(entries(whole)) == [*(f"Observation/o{n}" for n in (1, 3, 5)), "Patient/p1", "Practitioner/d1"]


def test_everything_of_a_range_of_dates_is_what_was_done_then(ward):
    """OperationDefinition/Patient-everything: start and end relate to care dates, not record currency dates."""
    for number, date in ((1, "2020-01-15"), (3, "2021-06-01T08:00:00Z")):
        body = observation(number, "p1") | {"effectiveDateTime": date}
        assert ward.call("PUT", f"/fhir/Observation/o{number}", body).status_code == 200

    def found(query: str) -> list[str]:
        seen, address = [], f"/fhir/Patient/p1/$everything?_type=Observation,Patient&{query}"
        while address:
            page = ward.call("GET", address)
            seen += entries(page)
            following = link(page, "next")
            address = following and path_of(following)
        return sorted(seen)

    assert found("start=2020-01-01&end=2020-12-31") == ["Observation/o1", "Patient/p1"]
    assert found("start=2020-06-01") == ["Observation/o3", "Patient/p1"]
    assert found("end=2021&_count=1") == ["Observation/o1", "Observation/o3", "Patient/p1"]
    assert found("") == ["Observation/o1", "Observation/o3", "Observation/o5", "Patient/p1"]


def asked_by(server, access: Access, monkeypatch, method: str, path: str, body=None):
    """Call with rights that a token of the test cannot carry."""
    monkeypatch.setattr(type(server.tokens), "check", lambda _self, _token: access)
    return server.call(method, path, body)


def of_patient(scopes: str, patient: str = "p1") -> Access:
    return Access("app", parse_scopes(scopes), user="Patient/p1", patient=patient)


def test_a_patients_application_sees_what_is_hers_on_every_way(ward, monkeypatch):
    mine = of_patient("patient/*.rs")

    def asked(path: str):
        return asked_by(ward, mine, monkeypatch, "GET", path)

    assert entries(asked("/fhir/Observation")) == ["Observation/o1", "Observation/o3", "Observation/o5"]
    assert entries(asked("/fhir/Patient?_total=accurate")) == ["Patient/p1"]
    assert entries(asked("/fhir/Observation?_include=Observation:subject&_id=o1,o2")) == [
        "Observation/o1",
        "Patient/p1",
    ]
    assert entries(asked("/fhir/Practitioner?_revinclude=Observation:performer")) == [
        "Practitioner/d1",
        "Observation/o1",
        "Observation/o3",
        "Observation/o5",
    ]
    assert asked("/fhir/Observation/o1").status_code == 200
    for path in ("o2", "o2/_history", "o2/_history/1", "o2/$proof", "none"):
        assert asked(f"/fhir/Observation/{path}").status_code == 404, path
    assert asked("/fhir/Patient/p2/$everything").status_code == 404
    assert entries(asked("/fhir/Observation/o1/_history")) == ["Observation/o1"]
    assert "Observation/o2" not in entries(asked("/fhir/_history"))
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": f"Observation/o{number}"}} for number in (1, 2)],
    }
    rows = json.loads(asked_by(ward, mine, monkeypatch, "POST", "/fhir", batch).data)["entry"]
    assert [row["response"]["status"] for row in rows] == ["200 OK", "404 Not Found"]


def test_a_constraint_of_a_scope_holds_on_every_way(ward, monkeypatch):
    access = of_patient("patient/Observation.rs?category=laboratory")
    assert entries(asked_by(ward, access, monkeypatch, "GET", "/fhir/Observation")) == [
        "Observation/o1",
        "Observation/o3",
    ]
    assert asked_by(ward, access, monkeypatch, "GET", "/fhir/Observation/o5").status_code == 404
    assert asked_by(ward, access, monkeypatch, "GET", "/fhir/Observation/o3").status_code == 200
    assert asked_by(ward, access, monkeypatch, "GET", "/fhir/Patient").status_code == 403


def test_a_patients_application_writes_what_is_hers_only(ward, monkeypatch):
    access = of_patient("patient/Observation.cruds")

    def asked(method: str, path: str, body=None):
        return asked_by(ward, access, monkeypatch, method, path, body).status_code

    assert asked("PUT", "/fhir/Observation/o1", observation(1, "p1")) == 200
    assert asked("PUT", "/fhir/Observation/o1", observation(1, "p2")) == 403
    assert asked("PUT", "/fhir/Observation/o2", observation(2, "p1")) == 404
    assert asked("POST", "/fhir/Observation", observation(9, "p2")) == 403
    assert asked("POST", "/fhir/Observation", observation(9, "p1")) == 201
    assert asked("DELETE", "/fhir/Observation/o2") == 404
    assert asked("DELETE", "/fhir/Observation/o1") == 204
    row = {"resource": observation(8, "p2"), "request": {"method": "POST", "url": "Observation"}}
    assert asked("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [row]}) == 403
    limited = of_patient("patient/Observation.c?category=imaging")
    assert asked_by(ward, limited, monkeypatch, "POST", "/fhir/Observation", observation(9, "p1")).status_code == 403


def test_a_search_needs_the_right_to_search(ward):
    assert ward.call("GET", "/fhir/Observation", scope="system/Observation.r").status_code == 403
    assert ward.call("GET", "/fhir/Observation", scope="system/Observation.s").status_code == 200
    assert entries(ward.call("GET", "/fhir?_type=Patient,Observation&_count=50", scope="system/Patient.s")) == [
        "Patient/p1",
        "Patient/p2",
    ]


def test_what_is_wrong_with_a_search_is_told_in_both_languages():
    """Every code that a search may be refused with has its words."""
    code = re.compile(r'"(search\.[a-z_]+)"')
    sources = [*Path(search.__file__).parent.glob("*.py"), *Path(store.__file__).parent.glob("*.py")]
    told = {one for path in sources for one in code.findall(path.read_text("utf-8"))}
    # These stand in logs alone.
    told -= {"search.damaged", "search.indexed", "search.parameter_ready", "search.waits"}
    assert {one for one in told if one not in _WORDS} == set()


def test_a_cursor_that_is_too_old_is_gone(ward):
    """RFC 9110 §15.5.11."""
    following = path_of(link(ward.call("GET", "/fhir/Observation?_count=2"), "next"))
    ward.time[0] += 3_601
    assert ward.call("GET", following).status_code == 410


def test_a_cursor_counts_for_the_client_that_it_was_given_to(ward, monkeypatch):
    following = path_of(link(ward.call("GET", "/fhir/Observation?_count=2"), "next"))
    assert len(entries(ward.call("GET", following))) == 2
    other = Access("other", parse_scopes("system/*.cruds"))
    refused = asked_by(ward, other, monkeypatch, "GET", following)
    assert (refused.status_code, code_of(refused)) == (400, "search.cursor")


def test_a_chain_that_branches_into_everything_is_refused_at_once(ward):
    began = time.thread_time()
    for path in ("Basic?" + "subject." * 7 + "_id=x", "Provenance?target." + "subject." * 6 + "patient=x"):
        refused = ward.call("GET", f"/fhir/{path}")
        assert (refused.status_code, code_of(refused)) == (400, "search.too_many")
    assert time.thread_time() - began < 10
    assert entries(ward.call("GET", "/fhir/Provenance?target._id=x")) == []


def test_an_order_and_includes_without_end_are_refused(ward):
    for query in (
        "_sort=" + ",".join(["_lastUpdated"] * 11),
        "&".join(f"_revinclude={name}:patient" for name in sorted(of_patients())[:33]),
    ):
        refused = ward.call("GET", f"/fhir/Patient?{query}")
        assert (refused.status_code, code_of(refused)) == (400, "search.too_many")
    again = "&".join(["_revinclude=Observation:patient"] * 100)
    assert "Observation/o1" in entries(ward.call("GET", f"/fhir/Patient?_id=p1&{again}"))


def of_patients() -> list[str]:
    """List the types that have a parameter `patient`."""
    return [name for name in type_names("resource") if "patient" in parameters_of(name)]


def test_a_search_by_a_parameter_that_becomes_another_meanwhile_is_asked_again(ward):
    """FHIR R4 §3.1.1.4.2: what is not known is passed over and told; a part of the matches would look like all."""

    def defined(expression: str) -> dict:
        about = {"url": "urn:x:seen", "status": "active", "code": "seen", "base": ["Patient"], "type": "string"}
        told = {"name": "Seen", "description": "A name"}
        return {"resourceType": "SearchParameter", "id": "seen", **about, **told, "expression": expression}

    other = SearchIndex(ward.store)
    job = IndexJob(ward.store, ward.service, other, ward.core.clock)
    assert ward.call("PUT", "/fhir/SearchParameter/seen", defined("Patient.name.family")).status_code == 201
    while job.step():
        """Until it is ready."""
    ward.core.search.index.refresh()
    asked = f"/fhir/Patient?seen={quote('测试p1')}"
    assert entries(ward.call("GET", asked)) == ["Patient/p1"]
    ward.call("PUT", "/fhir/SearchParameter/seen", defined("Patient.identifier.value"))
    job.step()
    assert modes(ward.call("GET", asked)) == ["outcome", "match", "match"]
    while job.step():
        """Until it is ready again."""
    ward.core.search.index.refresh()
    assert entries(ward.call("GET", asked.replace(quote("测试"), ""))) == ["Patient/p1"]
