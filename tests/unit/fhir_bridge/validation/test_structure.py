"""The shape of resources. Expected answers are those of FHIR R4's own pages."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest

from fhir_bridge.document import parse, write
from fhir_bridge.validation.check import Mode, check
from fhir_bridge.validation.issue import MAX_ISSUES, Rule
from fhir_bridge.validation.structure import check_structure
from tests.unit.fhir_bridge.examples import examples

PATIENT = b'{"resourceType":"Patient"%s}'
OBSERVATION = b'{"resourceType":"Observation","status":"final","code":{"text":"x"}%s}'


def found(body: bytes, mode: Mode = Mode.STRICT) -> list[tuple[str, str]]:
    """What is wrong with a resource: rule and place."""
    return [(issue.rule.value, issue.expression) for issue in check(parse(body), mode)]


def patient(more: bytes) -> list[tuple[str, str]]:
    return found(PATIENT % (b"," + more))


def observation(more: bytes) -> list[tuple[str, str]]:
    return found(OBSERVATION % (b"," + more))


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in examples()])
def test_an_official_example_is_right(data):
    assert check(parse(data)) == []


@pytest.mark.parametrize(
    ("more", "rule", "place"),
    [
        # §2.6.2: what JSON may look like.
        (b'"birthday":"1970-01-01"', "unknown_element", "Patient"),
        (b'"name":{"family":"x"}', "shape", "Patient.name"),
        (b'"birthDate":["1970"]', "single", "Patient.birthDate"),
        (b'"name":["x"]', "shape", "Patient.name[0]"),
        (b'"name":[]', "empty", "Patient.name"),
        (b'"name":[{}]', "empty", "Patient.name[0]"),
        (b'"name":[null]', "shape", "Patient.name[0]"),
        (b'"birthDate":""', "empty", "Patient.birthDate"),
        (b'"birthDate":null', "empty", "Patient.birthDate"),
        (b'"name":[{"given":[null]}]', "empty", "Patient.name[0].given[0]"),
        (b'"active":"true"', "value", "Patient.active"),
        (b'"multipleBirthInteger":"2"', "value", "Patient.multipleBirth.ofType(integer)"),
        (b'"multipleBirthInteger":2.0', "value", "Patient.multipleBirth.ofType(integer)"),
        (b'"multipleBirthInteger":2147483648', "value", "Patient.multipleBirth.ofType(integer)"),
        # §2.6.1.8: one type of a choice.
        (b'"deceasedBoolean":true,"deceasedDateTime":"2020"', "choice", "Patient"),
        (b'"deceasedBoolean":true,"_deceasedDateTime":{"id":"a"}', "choice", "Patient"),
        # §2.24.0.1: primitive types.
        (b'"birthDate":"1970-02-30"', "value", "Patient.birthDate"),
        (b'"birthDate":"70-01-01"', "value", "Patient.birthDate"),
        (b'"deceasedDateTime":"2020-01-01T10:00"', "value", "Patient.deceased.ofType(dateTime)"),
        (b'"deceasedDateTime":"2020-01-01T10:00:00"', "value", "Patient.deceased.ofType(dateTime)"),
        (b'"id":"a b"', "value", "Patient.id"),
        (b'"id":"%s"' % (b"a" * 65), "value", "Patient.id"),
        (b'"language":" zh"', "value", "Patient.language"),
        (b'"photo":[{"contentType":"image/png","data":"A==="}]', "value", "Patient.photo[0].data"),
        (b'"photo":[{"url":"a b"}]', "value", "Patient.photo[0].url"),
        # §4.1.5: codes that are bound for certain.
        (b'"gender":"m"', "code", "Patient.gender"),
        (b'"contact":[{"gender":"man","name":{"text":"x"}}]', "code", "Patient.contact[0].gender"),
        # Cardinality, at every depth.
        (b'"link":[{"type":"refer"}]', "required", "Patient.link[0].other"),
        (b'"communication":[{"preferred":true}]', "required", "Patient.communication[0].language"),
        # Types of references.
        (b'"generalPractitioner":[{"reference":"Patient/1"}]', "reference", "Patient.generalPractitioner[0]"),
        (b'"generalPractitioner":[{"type":"Device","display":"x"}]', "reference", "Patient.generalPractitioner[0]"),
        # §2.3.0.1: a literal reference is a URI, relative to the base or not.
        (b'"generalPractitioner":[{"reference":"foo bar"}]', "literal", "Patient.generalPractitioner[0].reference"),
        (b'"managingOrganization":{"reference":"foo"}', "literal", "Patient.managingOrganization.reference"),
        (
            b'"managingOrganization":{"reference":"/Organization/1"}',
            "literal",
            "Patient.managingOrganization.reference",
        ),
        (b'"managingOrganization":{"reference":"Organisation/1"}', "literal", "Patient.managingOrganization.reference"),
        (b'"managingOrganization":{"reference":"Organization/"}', "literal", "Patient.managingOrganization.reference"),
        (
            b'"extension":[{"url":"http://x.org","valueReference":{"reference":"a b:c"}}]',
            "literal",
            "Patient.extension[0].value.ofType(Reference).reference",
        ),
        # Resources inside resources.
        (b'"contained":[{"resourceType":"Patiant"}]', "type", "Patient.contained[0]"),
        (b'"contained":[{"resourceType":"Basic","id":"b"}]', "required", "Patient.contained[0].code"),
    ],
)
def test_what_r4_does_not_allow_is_found_where_it_is(more, rule, place):
    assert patient(more)[0] == (rule, place)


@pytest.mark.parametrize(
    "more",
    [
        b'"_birthDate":{"extension":[{"url":"http://x.org","valueDateTime":"1970-01-01T10:00:00Z"}]}',
        b'"name":[{"given":["a",null],"_given":[null,{"id":"g"}]}]',
        '"name":[{"text":"\u3000欧阳\u3000修"}]'.encode(),
        b'"deceasedBoolean":false,"_deceasedBoolean":{"id":"d"}',
        b'"birthDate":"2000-02-29"',
        b'"deceasedDateTime":"2015-02-07T13:28:17.239+02:00"',
        b'"photo":[{"contentType":"image/png","data":"iVBO Rw0K"}]',
        b'"generalPractitioner":[{"reference":"urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"}]',
        b'"generalPractitioner":[{"reference":"https://other.org/fhir/Practitioner/1/_history/2"}]',
        b'"generalPractitioner":[{"reference":"urn:oid:1.2.3"},{"reference":"Practitioner?identifier=a|b"}]',
        b'"generalPractitioner":[{"reference":"http://other.org/scim/Users/1"},{"display":"foo bar"}]',
        b'"_gender":{"extension":[{"url":"http://x.org","valueCode":"unknown"}]}',
    ],
)
def test_what_r4_allows_is_let_through(more):
    assert patient(more) == []


@pytest.mark.parametrize("year", [1900, 2000, 2023, 2024])
@pytest.mark.parametrize("after", ["", "T00:00:00Z"])
def test_a_day_is_one_of_the_calendar(year, after):
    """Against Python's own calendar, which has every day that there is (ISO 8601)."""
    for month, day in product(range(1, 13), range(1, 32)):
        date_time = b'"deceasedDateTime":"%d-%02d-%02d%s"' % (year, month, day, after.encode())
        try:
            date(year, month, day)
        except ValueError:
            assert patient(date_time) == [("value", "Patient.deceased.ofType(dateTime)")]
        else:
            assert patient(date_time) == []


def test_a_value_that_must_be_there_may_be_an_extension_only():
    body = b'{"resourceType":"Observation","_status":{"extension":[{"url":"http://x.org","valueCode":"final"}]},"code":{"text":"x"}}'
    assert found(body) == []


def test_an_element_that_must_be_there_is_missed():
    assert found(b'{"resourceType":"Observation","status":"final"}') == [("required", "Observation.code")]


def test_a_reference_of_content_is_followed():
    assert observation(b'"component":[{"code":{"text":"x"},"referenceRange":[{"lowe":1}]}]') == [
        ("unknown_element", "Observation.component[0].referenceRange[0]")
    ]


def test_an_unknown_type_is_none():
    assert found(b'{"resourceType":"Pationt"}') == [("type", "Resource")]
    assert found(b'{"a":1}') == [("type", "Resource")]


def test_what_was_meant_by_an_unknown_name_is_said_and_a_name_of_a_person_is_not():
    (issue,) = check(parse(PATIENT % b',"birthdate":"1970"'))
    assert issue.expected == "birthDate"
    (secret,) = check(parse(PATIENT % ',"王小明":"1970"'.encode()))
    assert "王小明" not in repr(secret)


def test_a_lenient_node_refuses_what_is_malformed_and_nothing_else():
    assert found(PATIENT % b',"gender":"m"', Mode.LENIENT) == []
    assert found(b'{"resourceType":"Observation"}', Mode.LENIENT) == []
    assert found(PATIENT % b',"managingOrganization":{"reference":"foo bar"}', Mode.LENIENT) == []
    assert found(PATIENT % b',"gander":"male"', Mode.LENIENT) == [("unknown_element", "Patient")]


def test_a_hopeless_resource_is_given_up():
    body = write({"resourceType": "Patient", "name": [{"family": ""} for _ in range(200)]})
    assert len(check(parse(body))) == MAX_ISSUES


def test_a_binding_without_a_list_is_judged_by_its_grammar():
    attachment = b'"photo":[{"contentType":"%s","data":"AAAA"}]'
    assert patient(attachment % b"application/fhir+json; fhirVersion=4.0") == []
    assert patient(attachment % b"png") == [("code", "Patient.photo[0].contentType")]


def test_one_coding_of_a_concept_must_be_of_a_set_that_binds():
    body = b'{"resourceType":"Condition","subject":{"display":"x"},"clinicalStatus":%s}'
    system = b'"system":"http://terminology.hl7.org/CodeSystem/condition-clinical"'
    good = b'{"coding":[{%s,"code":"active"},{"system":"urn:x","code":"y"}]}' % system
    assert found(body % good) == []
    bad = b'{"coding":[{%s,"code":"alive"}]}' % system
    assert found(body % bad) == [(Rule.CODE.value, "Condition.clinicalStatus")]
    assert found(body % b'{"text":"active"}') == [(Rule.CODE.value, "Condition.clinicalStatus")]


@pytest.mark.parametrize(
    ("given", "place", "kind"),
    [
        ({"gender": ["male"]}, "Patient.gender", "code"),
        ({"maritalStatus": [{"text": "x"}]}, "Patient.maritalStatus", "CodeableConcept"),
        ({"name": [{"period": [{"start": "1980"}]}]}, "Patient.name[0].period", "Period"),
        ({"_birthDate": [{"id": "a"}]}, "Patient.birthDate", "Element"),
    ],
)
def test_an_array_in_the_place_of_one_value_is_told_as_such(given, place, kind):
    """FHIR R4 §2.6.2.1: only what may repeat is an array."""
    found = check_structure({"resourceType": "Patient", **given})
    assert [(one.rule, one.expression, one.expected) for one in found] == [(Rule.SINGLE, place, kind)]
