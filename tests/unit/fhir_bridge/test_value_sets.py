"""Searches by value sets of the node's own (FHIR R4 §3.1.1.4.10, `:in` and `:not-in`)."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.document import parse
from fhir_bridge.rest.value_sets import MAX_BYTES, MAX_ROWS, codes_of
from fhir_bridge.search.conditions import MAX_SETS

SYSTEM = "urn:codes"
URL = "http://x.example/ValueSet/own"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"


def of(*codes: str, system: str = SYSTEM) -> dict:
    return {"system": system, "concept": [{"code": code} for code in codes]}


def composed(*included: dict, **more: object) -> dict:
    return {"resourceType": "ValueSet", "status": "active", "compose": {"include": list(included), **more}}


def expanded(*contained: dict, **more: object) -> dict:
    listed = {"timestamp": "2020-01-01", "contains": list(contained), **more}
    return {"resourceType": "ValueSet", "status": "active", "expansion": listed}


@pytest.mark.parametrize(
    ("resource", "codes"),
    [
        (composed(of("a", "b")), {SYSTEM: {"a", "b"}}),
        (composed(of("a"), of("b"), of("c", system="urn:other")), {SYSTEM: {"a", "b"}, "urn:other": {"c"}}),
        (composed(of("a", "b"), exclude=[of("b")]), {SYSTEM: {"a"}}),
        (
            composed({"valueSet": [GENDERS]}, of("a")),
            {"http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}, SYSTEM: {"a"}},
        ),
        (
            expanded({"abstract": True, "code": "x", "contains": [{"system": SYSTEM, "code": "a"}]}, total=2),
            {SYSTEM: {"a"}},
        ),
        # What it is composed of is open, but somebody has listed it.
        (composed({"system": SYSTEM}) | expanded({"system": SYSTEM, "code": "a"}), {SYSTEM: {"a"}}),
    ],
)
def test_a_set_that_lists_its_codes_has_them(resource, codes):
    """R4 ValueSet: compose (include, exclude, imported sets), expansion."""
    assert codes_of(parse(json.dumps(resource).encode())) == codes


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "ValueSet", "status": "draft"},
        composed({"system": SYSTEM}),
        composed({"system": SYSTEM, "filter": [{"property": "concept", "op": "is-a", "value": "a"}]}),
        composed(of("a"), {"valueSet": ["http://x.example/unknown"]}),
        composed({"system": SYSTEM, "valueSet": [GENDERS]}),
        composed({"valueSet": [GENDERS, GENDERS]}),
        composed(of("a"), exclude=[{"system": SYSTEM}]),
        composed(of("a"), exclude=[of("a")]),
        expanded({"system": SYSTEM, "code": "a"}, total=9),
        expanded({"system": SYSTEM, "code": "a"}, offset=0),
        # Each import is read: a small set that names a large one over and over must hold nobody up.
        composed(*[{"valueSet": [GENDERS]}] * (MAX_ROWS + 1)),
        composed(of("a"), exclude=[of("b")] * MAX_ROWS),
    ],
)
def test_a_set_of_which_a_part_is_open_has_none(resource):
    assert codes_of(parse(json.dumps(resource).encode())) is None


@pytest.fixture
def ward(server):
    """Observations of five codes, and a set of three of them."""
    for code in "abcde":
        coding = {"coding": [{"system": SYSTEM, "code": code}]}
        body = {"resourceType": "Observation", "id": code, "status": "final", "code": coding}
        assert server.call("PUT", f"/fhir/Observation/{code}", body).status_code == 201
    kept(server, "a", "b", "C")
    return server


def kept(server, *codes: str, **more: object) -> None:
    body = composed(of(*codes)) | {"id": "own", "url": URL, "version": "1"} | more
    assert server.call("PUT", "/fhir/ValueSet/own", body).status_code in (200, 201)


def found(answer) -> list[str]:
    assert answer.status_code == 200, answer.data
    return [row["resource"]["id"] for row in json.loads(answer.data).get("entry", [])]


def code_of(answer) -> str:
    return json.loads(answer.data)["issue"][0]["details"]["coding"][0]["code"]


def next_of(answer) -> str:
    rows = json.loads(answer.data)["link"]
    return next((row["url"].partition("41000")[2] for row in rows if row["relation"] == "next"), "")


ADDRESS = "http://127.0.0.1:41000/fhir/ValueSet/own"


@pytest.mark.parametrize("name", [URL, f"{URL}|1", "ValueSet/own", ADDRESS, "ValueSet/own/_history/1"])
def test_a_set_is_named_by_its_url_or_its_address(ward, name):
    assert sorted(found(ward.call("GET", f"/fhir/Observation?code:in={name}"))) == ["a", "b", "c"]
    assert sorted(found(ward.call("GET", f"/fhir/Observation?code:not-in={name}"))) == ["d", "e"]


def test_all_pages_mean_the_version_that_the_first_one_meant(ward):
    """§3.1.1.3 (paging), §3.1.1.6: the self link tells which version was used."""
    path, seen = f"/fhir/Observation?code:in={URL}&_count=1", []
    first = ward.call("GET", path)
    assert "ValueSet%2Fown%2F_history%2F1" in json.loads(first.data)["link"][0]["url"]
    while path:
        answer = ward.call("GET", path)
        seen += found(answer)
        kept(ward, "d")
        path = next_of(answer)
    assert sorted(seen) == ["a", "b", "c"]
    assert found(ward.call("GET", f"/fhir/Observation?code:in={URL}")) == ["d"]


def test_several_sets_and_sets_at_the_end_of_a_chain(ward):
    patient = {"resourceType": "Patient", "id": "p", "gender": "male"}
    ward.call("PUT", "/fhir/Patient/p", patient)
    about = {"resourceType": "Observation", "id": "f", "status": "final", "code": {"text": "x"}}
    ward.call("PUT", "/fhir/Observation/f", about | {"subject": {"reference": "Patient/p"}})
    assert sorted(found(ward.call("GET", f"/fhir/Observation?code:in={URL},ValueSet/own"))) == ["a", "b", "c"]
    assert found(ward.call("GET", f"/fhir/Observation?patient.gender:in={GENDERS}")) == ["f"]
    assert found(ward.call("GET", f"/fhir/Observation?patient.gender:in={URL}")) == []


@pytest.mark.parametrize(
    "name", [f"{URL}|2", "ValueSet/none", "ValueSet/own/_history/9", "ValueSet/own/_history/x", "x", "urn:none"]
)
def test_a_set_that_is_not_here_is_refused(ward, name):
    """§3.1.1.3: it is not answered as if the set were empty, or not asked for."""
    answer = ward.call("GET", f"/fhir/Observation?code:in={name}")
    assert (answer.status_code, code_of(answer)) == (400, "search.unsupported")


def test_a_set_that_is_deleted_or_hidden_looks_as_one_that_is_not_here(ward):
    hidden = ward.call("GET", f"/fhir/Observation?code:in={URL}", scope="system/Observation.rs")
    by_id = ward.call("GET", "/fhir/Observation?code:in=ValueSet/own", scope="system/Observation.rs")
    unknown = ward.call("GET", "/fhir/Observation?code:in=urn:none", scope="system/Observation.rs")
    assert hidden.data == by_id.data == unknown.data
    ward.call("DELETE", "/fhir/ValueSet/own")
    for name in (URL, "ValueSet/own"):
        answer = ward.call("GET", f"/fhir/Observation?code:in={name}")
        assert (answer.status_code, code_of(answer)) == (400, "search.unsupported")


def test_a_set_of_more_codes_than_a_search_may_have_is_refused(ward):
    kept(ward, *(f"c{number}" for number in range(10_001)))
    answer = ward.call("GET", f"/fhir/Observation?code:in={URL}")
    assert (answer.status_code, code_of(answer)) == (400, "search.too_many")


@pytest.mark.parametrize("name", ["code:in", "code:not-in", "patient.gender:in", "no-such:in"])
def test_a_search_names_some_value_sets_at_most(ward, name):
    """Each is looked up, before anything else of the search is weighed: a form of megabytes would hold a thread."""
    many = ",".join(["x"] * (MAX_SETS + 1))
    assert code_of(ward.call("GET", f"/fhir/Observation?{name}={many}")) == "search.too_many"
    apart = "&".join([f"{name}=x"] * (MAX_SETS + 1))
    assert code_of(ward.call("GET", f"/fhir/Observation?{apart}")) == "search.too_many"
    assert code_of(ward.call("GET", f"/fhir/Observation?code:in={','.join(['x'] * MAX_SETS)}")) == "search.unsupported"


def test_value_sets_of_a_search_are_read_up_to_a_size(ward):
    """All of them together; the same one twice is read once."""
    kept(ward, "a", description="x" * (MAX_BYTES * 2 // 3))
    assert found(ward.call("GET", f"/fhir/Observation?code:in={URL},ValueSet/own")) == ["a"]
    other = composed(of("b")) | {"id": "other", "description": "x" * (MAX_BYTES * 2 // 3)}
    assert ward.call("PUT", "/fhir/ValueSet/other", other).status_code == 201
    answer = ward.call("GET", "/fhir/Observation?code:in=ValueSet/own,ValueSet/other")
    assert (answer.status_code, code_of(answer)) == (400, "search.too_many")
    assert found(ward.call("GET", "/fhir/Observation?code:in=ValueSet/other")) == ["b"]


def test_a_condition_names_some_value_sets_at_most(ward):
    """Of a conditional create: one of HL7's sets, over and over, was listed for each time before it was counted."""
    large = "http://hl7.org/fhir/ValueSet/c80-doc-typecodes"
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    answers = [
        ward.call("POST", "/fhir/Observation", body, if_none_exist="code:in=" + ",".join(f"{large}|{n}" for n in many))
        for many in (range(MAX_SETS), range(MAX_SETS + 1))
    ]
    assert [one.status_code for one in answers] == [201, 400]
    assert code_of(answers[1]) == "search.too_many"
