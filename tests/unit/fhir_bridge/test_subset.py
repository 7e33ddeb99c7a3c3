"""Parts of resources. Expected parts follow R4's pages of Patient and Observation (column Σ) and §3.1.1.5.8."""

from __future__ import annotations

import copy

import pytest

from fhir_bridge.document import parse
from fhir_bridge.subset import SUBSETTED, Summary, parse_elements, parse_summary, summarised, with_elements
from medchain.errors import InputError

OBSERVATION = parse(
    b'{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[{"code":"t"}]},"text":{"status":"empty"},'
    b'"status":"final","_status":{"id":"s"},"category":[{"text":"c"}],"code":{"text":"x"},"valueString":"v",'
    b'"note":[{"text":"n"}],"component":[{"code":{"text":"y"},"valueString":"w","interpretation":[{"text":"i"}]}]}'
)
PATIENT = parse(
    b'{"resourceType":"Patient","active":true,"deceasedBoolean":false,"contact":[{"gender":"male"}],"gender":"male",'
    b'"implicitRules":"u","extension":[{"url":"u","valueCode":"c"}],"modifierExtension":[{"url":"m","valueCode":"c"}]}'
)


def keys(resource):
    return [key for key in resource if key not in ("resourceType", "meta")]


def test_a_summary_has_the_elements_that_r4_marks_and_those_that_must_be_there():
    part = summarised(OBSERVATION, Summary.TRUE)
    assert keys(part) == ["id", "status", "_status", "code", "valueString", "component"]
    assert part["component"] == [{"code": {"text": "y"}, "valueString": "w"}]


def test_a_text_has_the_narrative_and_what_must_be_there():
    assert keys(summarised(OBSERVATION, Summary.TEXT)) == ["id", "text", "status", "_status", "code"]


def test_data_is_everything_but_the_narrative():
    assert set(OBSERVATION) - set(summarised(OBSERVATION, Summary.DATA)) == {"text"}


def test_false_is_everything():
    assert summarised(OBSERVATION, Summary.FALSE) is OBSERVATION


def test_elements_are_those_that_are_named_and_those_that_change_or_complete_their_meaning():
    part = with_elements(PATIENT, parse_elements("gender, Patient.contact,Observation.code"))
    assert set(keys(part)) == {"active", "deceasedBoolean", "contact", "gender", "implicitRules", "modifierExtension"}
    assert set(keys(with_elements(OBSERVATION, {"value"}))) == {"id", "status", "_status", "code", "valueString"}


@pytest.mark.parametrize("name", ["value", "value[x]", "valueString", "Observation.value[x]", "valueQuantity"])
def test_a_choice_is_named_as_an_element_as_r4_writes_it_or_as_json_does(name):
    assert keys(with_elements(OBSERVATION, {name})) == ["id", "status", "_status", "code", "valueString"]


@pytest.mark.parametrize("name", ["values", "[x]", "value[y]", "Patient.value"])
def test_what_no_element_is_called_chooses_none(name):
    assert keys(with_elements(OBSERVATION, {name})) == ["id", "status", "_status", "code"]


@pytest.mark.parametrize("resource", [OBSERVATION, PATIENT])
def test_a_part_says_that_it_is_one_and_the_whole_stays_as_it_is(resource):
    before = copy.deepcopy(resource)
    part = with_elements(resource, {"code"})
    assert part["meta"]["tag"][-1] == SUBSETTED
    assert list(part)[1 if "id" not in part else 2] == "meta"
    assert resource == before


@pytest.mark.parametrize("text", ["", "yes", "count"])
def test_another_summary_is_refused(text):
    with pytest.raises(InputError):
        parse_summary(text)


@pytest.mark.parametrize("text", ["", " , "])
def test_no_element_is_refused(text):
    with pytest.raises(InputError):
        parse_elements(text)


def test_summaries_are_read():
    assert [parse_summary(one.value) for one in Summary] == list(Summary)
