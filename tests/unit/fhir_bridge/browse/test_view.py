"""Resources as people read them."""

from __future__ import annotations

import pytest

from fhir_bridge.browse.view import CHINESE, Row, line_of, rows_of, when_of, words_of
from fhir_bridge.document import parse
from tests.unit.fhir_bridge.examples import examples


def rows(text: str) -> list[Row]:
    return rows_of(parse(text.encode()))


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        ('"name":[{"family":"王","given":["芳"]}]', [Row(0, "name", "王芳")]),
        ('"name":[{"family":"Wang","given":["Fang","L."]}]', [Row(0, "name", "Fang L. Wang")]),
        ('"active":true', [Row(0, "active", "true")]),
        ('"birthDate":"1980-01-02"', [Row(0, "birthDate", "1980-01-02", is_date=True)]),
        ('"identifier":[{"system":"urn:mrn","value":"1"}]', [Row(0, "identifier", "1 (urn:mrn)")]),
        ('"telecom":[{"value":"138","use":"home"}]', [Row(0, "telecom", "138 (home)")]),
        ('"address":[{"line":["人民路 1"],"city":"上海"}]', [Row(0, "address", "人民路 1, 上海")]),
        ('"address":[{"text":"上海","city":"x"}]', [Row(0, "address", "上海")]),
        ('"maritalStatus":{"coding":[{"code":"M"}]}', [Row(0, "maritalStatus", "M")]),
        (
            '"managingOrganization":{"reference":"Organization/o1/_history/2"}',
            [Row(0, "managingOrganization", "Organization/o1/_history/2", "Organization/o1")],
        ),
        ('"managingOrganization":{"reference":"https://x/Organization/1"}', [Row(0, "managingOrganization", "https://x/Organization/1")]),
        ('"managingOrganization":{"identifier":{"value":"7"}}', [Row(0, "managingOrganization", "7")]),
        ('"contact":[{"gender":"male"}]', [Row(0, "contact", ""), Row(1, "gender", "male")]),
        ('"photo":[{"url":"Binary/b1","size":3}]', [Row(0, "photo", "Binary/b1, 3 B", "Binary/b1")]),
        ('"contained":[{"resourceType":"Basic","id":"x"}]', [Row(0, "contained", "Basic"), Row(1, "id", "x")]),
        ('"extension":[{"url":"http://x/race","valueCode":"a"}]', [Row(0, "race", "a")]),
        (
            '"extension":[{"url":"http://x/race","extension":[{"url":"omb","valueString":"b"}]}]',
            [Row(0, "race", ""), Row(1, "omb", "b")],
        ),
        ('"text":{"status":"generated","div":"<div/>"},"_active":{"id":"x"}', []),
        ('"unheard":"of"', [Row(0, "unheard", "of")]),
    ],
)  # fmt: skip
def test_a_value_becomes_a_row_that_says_what_it_holds(member, shown):
    assert rows(f'{{"resourceType":"Patient","id":"p1",{member}}}') == shown


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        ('"valueQuantity":{"value":1.50,"comparator":"<","code":"mg"}', "<1.50 mg"),
        ('"valueRange":{"low":{"value":1},"high":{"value":2,"unit":"d"}}', "1 – 2 d"),
        ('"valueRatio":{"numerator":{"value":1},"denominator":{"value":128}}', "1 / 128"),
        ('"valuePeriod":{"start":"2020","end":"2021"}', "2020 – 2021"),
        ('"valueCodeableConcept":{"text":"阳性","coding":[{"code":"POS","display":"x"}]}', "阳性 (POS)"),
        ('"note":[{"text":"ok"}]', "ok"),
        ('"category":[{"coding":[{"display":"Vital","code":"vital-signs"}]}]', "Vital (vital-signs)"),
    ],
)
def test_data_types_are_written_as_one_reads_them(member, shown):
    found = rows(f'{{"resourceType":"Observation",{member}}}')
    assert [row.whole(str) for row in found] == [shown]


@pytest.mark.parametrize(
    ("concept", "words", "codes", "line"),
    [
        ({"text": "血压", "coding": [{"code": "85354-9", "display": "BP"}]}, "血压", "85354-9", "血压: 120 mmHg"),
        ({"coding": [{"code": "a"}, {"code": "b", "display": "BP"}]}, "BP", "a, b", "BP: 120 mmHg"),
        ({"coding": [{"code": "85354-9"}]}, "85354-9", "", "85354-9: 120 mmHg"),
        ({"text": "x", "coding": [{"code": "x"}, "no coding"]}, "x", "", "x: 120 mmHg"),
        ({"coding": "no list"}, "", "", "120 mmHg"),
    ],
)
def test_a_code_stands_apart_from_its_words_and_a_line_may_leave_it_out(concept, words, codes, line):
    resource = {"resourceType": "Observation", "code": concept, "valueQuantity": {"value": 120, "unit": "mmHg"}}
    (row, _) = rows_of(resource)
    assert (row.value, row.codes) == (words, codes)
    assert line_of(resource, has_codes=False) == line
    assert line_of(resource) == (line.replace(words, f"{words} ({codes})", 1) if codes else line)
    assert words_of(concept) == ("" if words == "85354-9" else words)


@pytest.mark.parametrize("concept", [None, "x", [], {"text": 1}, {"coding": [{"display": None}]}])
def test_what_is_no_concept_has_no_words(concept):
    assert words_of(concept) in ("", "1")


def test_every_example_of_hl7_has_rows():
    for name, content in examples():
        resource = parse(content)
        found = rows_of(resource)
        assert found or set(resource) <= {"resourceType", "id", "text"}, name
        assert all(row.depth <= 4 for row in found), name
        assert isinstance(line_of(resource), str), name


def test_a_resource_says_when_it_happened_and_else_when_it_was_stored():
    stored = {"lastUpdated": "2026-01-01T00:00:00Z"}
    assert when_of({"resourceType": "Encounter", "period": {"start": "2020"}, "meta": stored}) == "2020"
    assert when_of({"resourceType": "Basic", "meta": stored}) == stored["lastUpdated"]
    assert when_of({"resourceType": "Basic"}) == ""


def component(code: str, **value: object) -> dict:
    """Give a part of an observation, named by a code of LOINC or, where it has a space, in words."""
    name = {"text": code} if " " in code else {"coding": [{"system": "http://loinc.org", "code": code}], "text": code}
    return {"code": name, **value}


def measured(value: object, unit: str = "mmHg", **more: str) -> dict:
    return {"valueQuantity": {"value": value, "unit": unit, **more}}


def panel(code: str, *components: object, **more: object) -> dict:
    coding = [{"system": "http://loinc.org", "code": code}]
    return {"resourceType": "Observation", "code": {"text": "x", "coding": coding}, "component": [*components], **more}


# LOINC 85354-9 "Blood pressure panel with all children optional", 55284-4 "Blood pressure systolic and diastolic";
# 8480-6 systolic, 8462-4 diastolic (HL7 vital signs profile, FHIR R4 §10.1.9).
def high(value: object = 120, unit: str = "mmHg", **more: str) -> dict:
    return component("8480-6", **measured(value, unit, **more))


def low(value: object = 80, unit: str = "mmHg") -> dict:
    return component("8462-4", **measured(value, unit))


PARTS = [component(f"Part {number}", valueInteger=number) for number in range(5)]
ABSENT = component("Skin colour", dataAbsentReason={"text": "no"})


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (panel("85354-9", high(), low()), "120/80 mmHg"),
        (panel("55284-4", low(), high()), "120/80 mmHg"),
        (panel("85354-9", high(unit="mm[Hg]"), low(unit="mm[Hg]")), "120/80 mmHg"),
        (panel("85354-9", high(unit=""), low(unit="")), "120/80"),
        # No panel of a blood pressure, half of one, and parts that cannot stand in one number.
        (panel("9279-1", high(), low()), "8480-6 120 mmHg, 8462-4 80 mmHg"),
        (panel("85354-9", high()), "8480-6 120 mmHg"),
        (panel("85354-9", high(), low(10.6, "kPa")), "8480-6 120 mmHg, 8462-4 10.6 kPa"),
        (panel("85354-9", high(250, comparator=">"), low()), "8480-6 >250 mmHg, 8462-4 80 mmHg"),
        (panel("85354-9", component("8480-6", valueQuantity={"unit": "mmHg"}), low()), "8480-6 mmHg, 8462-4 80 mmHg"),
        (panel("85354-9", component("8480-6", valueString="high"), low()), "8480-6 high, 8462-4 80 mmHg"),
        (panel("9272-6", component("Heart rate", valueInteger=2), ABSENT), "Heart rate 2"),
        (panel("9272-6", *PARTS), "Part 0 0, Part 1 1, Part 2 2, Part 3 3 …"),
        # A value of its own says it already.
        (panel("9272-6", high(), valueInteger=7), "7"),
        (panel("9272-6", "no component", {"valueInteger": 1}), "1"),
        ({**panel("9272-6"), "component": "no list"}, ""),
    ],
)
def test_what_is_measured_in_parts_is_said_in_a_line(resource, said):
    assert line_of(resource, has_codes=False) == (f"x: {said}" if said else "x")


def test_a_line_has_the_marks_of_the_readers_language():
    resource = panel("9272-6", component("心 率", valueInteger=2), component("呼 吸", valueInteger=1))
    assert line_of(resource, CHINESE) == "x（9272-6）：心 率 2，呼 吸 1"
    assert line_of({**resource, "resourceType": "Basic"}, CHINESE) == "x（9272-6）"


def test_dates_alone_are_written_as_the_reader_has_them():
    resource = {
        "resourceType": "Encounter",
        "identifier": [{"value": "2020-01-02"}],
        "period": {"start": "2020", "end": "2021"},
        "statusHistory": [{"status": "planned", "period": {"start": "2020"}}],
    }
    shown = [row.words(lambda text: f"<{text}>" if text else "") for row in rows_of(resource)]
    assert shown == ["2020-01-02", "<2020> – <2021>", "", "planned", "<2020> – "]
