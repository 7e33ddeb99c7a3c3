"""What the decision asks of a record is read from its FHIR JSON, and nothing is assumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consent.facts import facts_of
from medchain.dates import Span

PCF = Path(__file__).parents[2] / "vectors" / "ihe-pcf"
SPAN = Span(1, 2)


def read(**members: Any):  # noqa: ANN401  # FHIR's own
    return facts_of(json.dumps({"resourceType": "Observation", "id": "r"} | members).encode(), "Patient/p", SPAN)


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
    assert found.related == {"Encounter/e"}


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
