"""Searches by the hierarchies of code systems of the node's own (FHIR R4 §3.1.1.4.10, `:above` and `:below`)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pytest

from fhir_bridge.definitions.subsumption import reached
from fhir_bridge.document import parse
from fhir_bridge.rest.canonicals import ReadOnce
from fhir_bridge.rest.code_systems import MAX_BYTES, MAX_SYSTEMS
from fhir_bridge.search import hierarchy
from fhir_bridge.search.budget import MAX_PARTS
from fhir_bridge.search.conditions import Context
from fhir_bridge.search.hierarchy import Hierarchy, hierarchy_of
from fhir_bridge.search.query import parse_query
from medchain.errors import InputError

URL = "http://x.example/CodeSystem/wards"
ADDRESS = "CodeSystem/wards/_history/1"
PARENT = "http://hl7.org/fhir/concept-properties#parent"
CHILD = "http://hl7.org/fhir/concept-properties#child"


def concept(code: str, *below: dict, **properties: str) -> dict:
    stated = [{"code": name, "valueCode": value} for name, value in properties.items()]
    return {"code": code} | ({"concept": list(below)} if below else {}) | ({"property": stated} if stated else {})


def system(*concepts: dict, **more: object) -> dict:
    head = {"resourceType": "CodeSystem", "id": "wards", "url": URL, "status": "active", "content": "complete"}
    return head | {"concept": list(concepts)} | more


def read(resource: dict):
    return hierarchy_of(parse(json.dumps(resource).encode()), ADDRESS)


# Surgery has two parts, one of which has one; a day ward lies below two.
NESTED = (concept("surgery", concept("heart", concept("valves")), concept("day")), concept("medicine"))
BY_PARENT = (
    concept("surgery"),
    concept("heart", parent="surgery"),
    concept("valves", parent="heart"),
    concept("day", parent="surgery"),
    concept("medicine"),
)
BY_CHILD = (
    {"code": "surgery", "property": [{"code": "child", "valueCode": one} for one in ("heart", "day")]},
    concept("heart", child="valves"),
    concept("valves"),
    concept("day"),
    concept("medicine"),
)


@pytest.mark.parametrize("concepts", [NESTED, BY_PARENT, BY_CHILD])
@pytest.mark.parametrize(
    "meaning", [{}, *({"hierarchyMeaning": one} for one in ("is-a", "part-of", "classified-with"))]
)
def test_a_hierarchy_is_read_however_it_is_written(concepts, meaning):
    """R4 CodeSystem: nested concepts; the concept properties that it defines."""
    found = read(system(*concepts, **meaning))
    assert found.below("surgery") == {"surgery", "heart", "valves", "day"}
    assert found.below("heart") == {"heart", "valves"}
    assert found.above("valves") == {"valves", "heart", "surgery"}
    assert found.above("medicine") == found.below("medicine") == {"medicine"}
    assert found.below("no such code") == {"no such code"}


def test_a_property_may_have_another_name_and_a_name_another_meaning():
    """R4 CodeSystem.property: what it means is said by its URI."""
    concepts = (concept("a"), concept("b", oben="a", parent="c"), concept("c"))
    declared = [{"code": "oben", "uri": PARENT, "type": "code"}, {"code": "parent", "uri": "urn:kin", "type": "code"}]
    found = read(system(*concepts, property=declared))
    assert (found.below("a"), found.below("c")) == ({"a", "b"}, {"c"})
    known = [{"code": "child", "uri": CHILD, "type": "code"}, {"code": "parent", "type": "code"}]
    found = read(system(concept("a", child="b"), concept("b"), concept("c", parent="b"), property=known))
    assert found.below("a") == {"a", "b", "c"}


def test_a_concept_may_lie_below_two():
    found = read(system(concept("a", concept("x")), concept("b"), concept("x", parent="b")))
    assert found.above("x") == {"x", "a", "b"}


def test_attack_concepts_in_a_ring_end():
    found = read(system(concept("a", parent="c"), concept("b", parent="a"), concept("c", parent="b")))
    assert found.below("a") == found.above("b") == {"a", "b", "c"}


@pytest.mark.parametrize(
    "more",
    [
        *({"content": one} for one in ("not-present", "example", "fragment", "supplement")),
        # No relationship can be assumed (http://hl7.org/fhir/codesystem-hierarchy-meaning).
        {"hierarchyMeaning": "grouped-by"},
        {"url": ""},
    ],
)
def test_of_a_system_that_does_not_say_all_nothing_is_said(more):
    assert read(system(*NESTED) | more) is None


@pytest.fixture
def ward(server):
    """Observations of five codes, and the hierarchy of their system."""
    for code in ("surgery", "heart", "valves", "day", "medicine"):
        coding = {"coding": [{"system": URL, "code": code}]}
        body = {"resourceType": "Observation", "id": code, "status": "final", "code": coding}
        body["subject"] = {"reference": f"Patient/{code}"}
        assert server.call("PUT", f"/fhir/Patient/{code}", {"resourceType": "Patient", "id": code}).status_code == 201
        assert server.call("PUT", f"/fhir/Observation/{code}", body).status_code == 201
    other = {"coding": [{"system": "urn:other", "code": "heart"}]}
    body = {"resourceType": "Observation", "id": "other", "status": "final", "code": other}
    assert server.call("PUT", "/fhir/Observation/other", body).status_code == 201
    kept(server, *NESTED)
    return server


def kept(server, *concepts: dict, **more: object) -> None:
    body = system(*concepts, **({"version": "1"} | more))
    assert server.call("PUT", f"/fhir/CodeSystem/{body['id']}", body).status_code in (200, 201)


def asked(server, query: str, **fields: str):
    return server.call("GET", f"/fhir/{quote(query, safe='?&=:/,')}", **fields)


def found(answer) -> list[str]:
    assert answer.status_code == 200, answer.data
    return [row["resource"]["id"] for row in json.loads(answer.data).get("entry", [])]


def refused(answer) -> tuple[int, str]:
    return answer.status_code, json.loads(answer.data)["issue"][0]["details"]["coding"][0]["code"]


def link(answer, relation: str) -> str:
    rows = json.loads(answer.data)["link"]
    return next((row["url"].partition("41000")[2] for row in rows if row["relation"] == relation), "")


@pytest.mark.parametrize(
    "name", [URL, f"{URL}|1", "CodeSystem/wards", "http://127.0.0.1:41000/fhir/CodeSystem/wards", ADDRESS]
)
def test_codes_are_found_by_what_lies_above_and_below_them(ward, name):
    """§3.1.1.4.10: what is subsumed by the code, and what subsumes it; each with the code itself."""
    below = found(asked(ward, f"Observation?code:below={name}|surgery"))
    assert below == ["surgery", "heart", "valves", "day"]
    assert found(asked(ward, f"Observation?code:above={name}|heart")) == ["surgery", "heart"]
    assert found(asked(ward, f"Observation?code:below={name}|valves,{name}|medicine")) == ["valves", "medicine"]


def test_they_are_found_at_the_end_of_chains(ward):
    assert found(asked(ward, f"Patient?_has:Observation:patient:code:below={URL}|heart")) == ["heart", "valves"]
    body = {"resourceType": "Observation", "id": "part", "status": "final", "code": {"text": "x"}}
    ward.call("PUT", "/fhir/Observation/part", body | {"hasMember": [{"reference": "Observation/valves"}]})
    assert found(asked(ward, f"Observation?has-member:Observation.code:below={URL}|heart")) == ["part"]


def test_all_pages_mean_the_version_that_the_first_one_meant(ward):
    """§3.1.1.3 (paging), §3.1.1.6: the self link tells which version was used."""
    answer, seen = asked(ward, f"Observation?code:below={URL}|surgery&_count=1"), []
    assert urlencode({"code:below": f"{ADDRESS}|surgery"}) in link(answer, "self")
    # The self link asks for the same again, whatever was stored since.
    again = link(answer, "self").replace("_count=1", "_count=9")
    while True:
        seen += found(answer)
        kept(ward, concept("surgery"), concept("heart"))
        if not (path := link(answer, "next")):
            break
        answer = ward.call("GET", path)
    assert seen == ["surgery", "heart", "valves", "day"] == found(ward.call("GET", again))
    assert found(asked(ward, f"Observation?code:below={URL}|surgery")) == ["surgery"]


def test_what_hl7_and_icd_10_say_is_not_said_otherwise(ward):
    clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    kept(ward, concept("active"), concept("recurrence"), url=clinical, id="claimed")
    coded = {"clinicalStatus": {"coding": [{"system": clinical, "code": "recurrence"}]}}
    body = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/day"}} | coded
    assert ward.call("PUT", "/fhir/Condition/c", body).status_code == 201
    answer = asked(ward, f"Condition?clinical-status:below={clinical}|active")
    assert found(answer) == ["c"]
    assert "CodeSystem%2Fclaimed" not in link(answer, "self")


@pytest.mark.parametrize("name", [f"{URL}|2", "CodeSystem/none", f"{ADDRESS[:-1]}9", "urn:none", "http://loinc.org"])
@pytest.mark.parametrize("handling", ["strict", "lenient"])
def test_a_system_that_is_not_here_is_refused(ward, name, handling):
    """§3.1.1.4.4: a server rejects a modifier that it does not support, whatever the client prefers."""
    answer = asked(ward, f"Observation?code:below={name}|surgery", Prefer=f"handling={handling}")
    assert refused(answer) == (400, "search.unsupported")


def test_a_system_that_is_deleted_or_hidden_looks_as_one_that_is_not_here(ward):
    names = (URL, "CodeSystem/wards", "urn:none")
    narrow = [asked(ward, f"Observation?code:below={one}|surgery", scope="system/Observation.rs") for one in names]
    assert {one.data for one in narrow} == {narrow[-1].data}
    assert refused(narrow[0]) == (400, "search.unsupported")
    ward.call("DELETE", "/fhir/CodeSystem/wards")
    for name in names:
        assert refused(asked(ward, f"Observation?code:below={name}|surgery")) == (400, "search.unsupported")


def test_a_condition_knows_no_code_systems_of_the_nodes_own(ward):
    """`docs/spec/rest.md` 8: what a condition means does not hang on what is stored beside."""
    body = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    answer = ward.call("POST", "/fhir/Observation", body, if_none_exist=f"code:below={URL}|surgery")
    assert refused(answer) == (400, "search.unsupported")


def test_more_codes_than_a_search_may_have_are_refused(ward):
    kept(ward, concept("all", *(concept(f"c{number}") for number in range(10_001))))
    assert refused(asked(ward, f"Observation?code:below={URL}|all")) == (400, "search.too_many")
    assert found(asked(ward, f"Observation?code:above={URL}|c1")) == []


@pytest.mark.parametrize("modifier", ["above", "below"])
@pytest.mark.parametrize("branches", [1, 5])
def test_attack_what_lies_above_or_below_many_codes_is_not_listed_before_it_is_counted(monkeypatch, branches, modifier):
    """A thousand values of a system with a hundred thousand codes took minutes and gigabytes until it was refused."""
    size, listed = 3_000, []
    # Rings of codes, all of them above and below each other: all values may mean the same, or each something else.
    rings = [[f"c{ring}-{number}" for number in range(size)] for ring in range(branches)]
    steps = {code: ring[(at + 1) % size] for ring in rings for at, code in enumerate(ring)}
    own = Hierarchy(URL, ADDRESS, [*steps], [*steps.values()])

    def counted(code: str, above_or_below: Mapping[str, list[str]]) -> frozenset[str]:
        listed.append(code)
        return reached(code, above_or_below)

    monkeypatch.setattr(hierarchy, "reached", counted)
    context = Context(systems=lambda name: own if name == URL else None)
    codes = [code for at in range(size) for code in (ring[at] for ring in rings)][:1_000]
    text = ",".join(f"{URL}|{code}" for code in codes)
    with pytest.raises(InputError, match=r"search\.too_many"):
        parse_query([(f"code:{modifier}", text)], "Observation", context)
    assert 0 < len(listed) <= MAX_PARTS // size + 1
    listed.clear()
    # What is written twice is one value.
    query = parse_query([(f"code:{modifier}", ",".join([f"{URL}|{codes[0]}"] * 1_000))], "Observation", context)
    assert [len(term.codes[0][1]) for term in query.conditions[0].terms] == [size]
    assert len(listed) == 1


def test_code_systems_of_a_search_are_read_up_to_a_size(ward):
    long = "x" * 1_000_000
    kept(ward, *NESTED, *({"code": str(one), "definition": long} for one in range(MAX_BYTES // len(long) + 1)))
    assert refused(asked(ward, f"Observation?code:below={URL}|surgery")) == (400, "search.too_many")


def test_attack_of_code_systems_that_searches_read_at_once_one_is_in_memory_at_a_time(ward):
    """Each of the largest takes some eighty megabytes for a moment, and every thread may be asked for one."""
    found = ward.core.reader.find("CodeSystem", "wards", None)
    under_way, seen = [], []

    def made(_resource: dict, address: str) -> str:
        under_way.append(address)
        seen.append(len(under_way))
        time.sleep(0.02)
        return under_way.pop()

    with ThreadPoolExecutor(4) as pool:
        readers = [ReadOnce(ward.core, MAX_BYTES, made) for _ in range(8)]
        assert list(pool.map(lambda one: one.address_of(found), readers)) == [ADDRESS] * 8
    assert seen == [1] * 8


def test_attack_a_search_of_many_code_systems_looks_up_few(ward, monkeypatch):
    from fhir_bridge.rest import code_systems  # noqa: PLC0415  # replaced below

    looked = []
    real = code_systems.found_by
    monkeypatch.setattr(code_systems, "found_by", lambda *given: looked.append(given[-1]) or real(*given[:-1], URL))
    many = ",".join(f"urn:s{number}|day" for number in range(MAX_SYSTEMS + 1))
    assert refused(asked(ward, f"Observation?code:below={many}")) == (400, "search.too_many")
    assert len(looked) == MAX_SYSTEMS
