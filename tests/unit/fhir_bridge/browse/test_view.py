"""Resources as people read them."""

from __future__ import annotations

import pytest

from fhir_bridge.browse.view import Row, line_of, moment, rows_of, when_of, words_of
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
        ('"birthDate":"1980-01-02"', [Row(0, "birthDate", "1980-01-02")]),
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
    assert [row.whole for row in found] == [shown]


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


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2021-05-25T10:27:00+08:00", "2021-05-25 10:27 +08:00"),
        ("2026-11-26T09:26:28.123Z", "2026-11-26 09:26 UTC"),
        ("2020-01", "2020-01"),
    ],
)
def test_an_instant_is_written_to_the_minute_with_its_zone(given, shown):
    assert moment(given) == shown
