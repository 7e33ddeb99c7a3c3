"""What the decision asks of a record is read from its FHIR JSON, and nothing is assumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consent.facts import facts_of
from medchain.dates import Span
from medchain.node.naming import PERHAPS

PCF = Path(__file__).parents[2] / "vectors" / "ihe-pcf"
SPAN = Span(1, 2)


def read(**members: Any):  # noqa: ANN401  # FHIR's own
    return facts_of(json.dumps({"resourceType": "Observation", "id": "r"} | members).encode(), "Patient/p", SPAN)


def perhaps(name: str) -> str:
    return f"{PERHAPS}{name}"


def test_an_observation_of_ihe_pcf_tells_all_of_it() -> None:
    found = facts_of((PCF / "Observation-ex-alcoholUse.json").read_bytes(), "Patient/ex-patient", SPAN)
    assert (found.reference, found.type, found.patient) == (
        "Observation/ex-alcoholUse",
        "Observation",
        "Patient/ex-patient",
    )
    assert found.labels == {"HTEST", "ETHUD", "R"}
    assert found.codes is not None
    assert "http://loinc.org|74013-4" in found.codes
    assert found.authors == {"Practitioner/ex-author"}
    assert {"Encounter/ex-encounter", "Patient/ex-patient"} <= found.related
    assert found.span == SPAN


def test_codes_and_references_are_found_however_deep() -> None:
    found = read(
        component=[{"code": {"coding": [{"system": "s", "code": "deep"}, {"code": "bare"}]}}],
        contained=[{"resourceType": "Condition", "id": "c", "encounter": {"reference": "Encounter/e/_history/2"}}],
        hasMember=[{"reference": "#c"}],
    )
    assert found.codes == {"s|deep", "|bare"}
    assert found.related == {"Encounter/e", perhaps("Condition/c")}


@pytest.mark.parametrize(
    "written",
    [
        "Encounter/e#part",
        "Encounter/e/_history/2#part",
        "Encounter/e?_format=json",
        "Encounter/e/",
        "Encounter/e/_history/2",
    ],
)
def test_a_reference_means_the_same_record_whatever_it_names_of_it(written: str) -> None:
    assert read(encounter={"reference": written}).related == {"Encounter/e"}


def test_a_condition_in_place_of_a_reference_is_no_record() -> None:
    assert read(encounter={"reference": "Encounter?identifier=a|b"}).related == {"Encounter?identifier=a|b"}


VISIT = {"reference": "Encounter/e"}


@pytest.mark.parametrize(
    "members",
    [
        {"extension": [{"url": "urn:x", "valueReference": VISIT}]},
        {"extension": [{"url": "urn:x", "extension": [{"url": "urn:y", "valueReference": VISIT}]}]},
        {"_status": {"extension": [{"url": "urn:x", "valueReference": VISIT}]}},
        {"meta": {"extension": [{"url": "urn:x", "valueReference": VISIT}]}},
        {"text": {"status": "generated", "extension": [{"url": "urn:x", "valueReference": VISIT}]}},
        {"subject": {"reference": "Patient/p", "extension": [{"url": "urn:x", "valueReference": VISIT}]}},
        {"section": [{"section": [{"entry": [VISIT]}]}]},
        {"parameter": [{"name": "visit", "part": [{"name": "at", "valueReference": VISIT}]}]},
        {"contained": [{"resourceType": "Encounter", "partOf": VISIT}]},
    ],
)
def test_a_reference_counts_wherever_it_stands(members: dict[str, object]) -> None:
    assert "Encounter/e" in read(**members).related


def links(*addresses: str) -> dict[str, str]:
    marks = "".join(f'<a href="{one}">x</a>' for one in addresses)
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{marks}</div>'}


@pytest.mark.parametrize(
    "members",
    [
        {"contained": [{"resourceType": "Encounter", "id": "e"}]},
        {"parameter": [{"name": "visit", "resource": {"resourceType": "Encounter", "id": "e"}}]},
        {"extension": [{"url": "urn:x", "valueUrl": "https://node.example/fhir/Encounter/e/_history/2"}]},
        {"extension": [{"url": "urn:x", "valueUri": "Encounter/e#part"}]},
        {"extension": [{"url": "urn:x", "valueCanonical": "http://node.example/Encounter/e|2"}]},
        {"content": [{"attachment": {"url": "Encounter/e?_format=json"}}]},
        {"meta": {"source": "https://node.example/fhir/Encounter/e"}},
        {"text": links("https://else.example", "Encounter/e")},
        {"text": links("Encounter&#47;e")},
        {"encounter": {"identifier": {"system": "urn:ietf:rfc3986", "value": "https://node.example/fhir/Encounter/e"}}},
        {"identifier": [{"system": "urn:ietf:rfc3986", "value": "https://node.example/fhir/Encounter/e"}]},
        {"encounter": {"reference": "Encounter/%65"}},
        {"encounter": {"reference": "Encounter%2Fe"}},
    ],
)
def test_what_names_a_record_without_a_reference_may_name_it(members: dict[str, object]) -> None:
    assert read(**members).related >= {perhaps("Encounter/e")}
    assert "Encounter/e" not in read(**members).related


@pytest.mark.parametrize(
    "members",
    [
        {"note": [{"text": "see Encounter/e"}]},
        {"extension": [{"url": "urn:x", "valueUri": "Encounter/e2"}]},
        {"extension": [{"url": "urn:x", "valueUri": "Encounter/e.x"}]},
        {"extension": [{"url": "urn:x", "valueUri": "PastEncounter/e"}]},
        {"extension": [{"url": "urn:x", "valueUri": 3}]},
        {"encounter": {"identifier": {"system": "urn:visits", "value": "Encounter/e"}}},
        {"encounter": {"identifier": {"system": "urn:ietf:rfc3986", "value": 3}}},
        {"contained": [{"resourceType": "Encounter", "id": 3}, {"id": "e"}]},
    ],
)
def test_free_text_and_longer_names_name_no_record(members: dict[str, object]) -> None:
    assert read(**members).related & {"Encounter/e", perhaps("Encounter/e")} == set()


def test_a_record_does_not_name_itself() -> None:
    assert read().related == frozenset()


def test_what_is_meant_by_identifiers_is_told_beside_the_references() -> None:
    content = json.dumps({"resourceType": "Observation", "id": "r", "encounter": {"reference": "Encounter/e"}}).encode()
    assert facts_of(content, "Patient/p", SPAN, {"Encounter/f"}).related == {"Encounter/e", "Encounter/f"}


def test_labels_and_narrative_are_no_codes() -> None:
    found = read(
        meta={"security": [{"system": "s", "code": "R"}], "tag": [{"system": "t", "code": "x"}]}, text={"code": "y"}
    )
    assert (found.codes, found.labels) == (frozenset(), {"R"})


def test_authors_of_each_kind_count_and_without_any_nobody_knows() -> None:
    assert read().authors is None
    assert read(performer=[{"actor": {"reference": "Practitioner/a"}}]).authors == {"Practitioner/a"}
    assert read(author={"reference": "Organization/o"}, recorder={"display": "x"}).authors == {"Organization/o"}


def test_without_labels_there_are_none_and_those_that_cannot_be_read_are_not_known() -> None:
    assert read().labels == frozenset()
    for security in ({}, "R", [3], [{"display": "R"}], [{"code": "N"}, {"code": 3}]):
        assert read(meta={"security": security}).labels is None
    assert read(meta=[]).labels is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"3", b"<Observation/>"])
def test_of_what_is_no_fhir_json_nothing_is_known(content: bytes) -> None:
    found = facts_of(content, "Patient/p", None)
    assert (found.reference, found.type, found.codes, found.labels, found.authors) == (None, None, None, None, None)


def test_a_record_without_id_or_type_has_no_reference() -> None:
    assert read(id=3).reference is None
    assert read(resourceType=None).type is None
