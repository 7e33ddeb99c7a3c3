"""Expressions laid out for a type, and walked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import parameters_of
from fhir_bridge.search.paths import routes, targets_of
from fhir_bridge.search.walk import compile_values, compile_walk, reference_type
from medchain.errors import InputError


def found(text, resource):
    """Evaluate an expression."""
    return compile_values(routes(text, resource["resourceType"]))(resource, resource)


def placed(text, resource):
    """Evaluate an expression with places, through the walk of a whole resource."""
    out = []
    compile_walk(
        (route, lambda value, _resource, place, out: out.append((place, value)))
        for route in routes(text, resource["resourceType"])
    )(resource, out)
    return out


PATIENT = {
    "resourceType": "Patient",
    "birthDate": "1970-03-30",
    "_birthDate": {"extension": [{"url": "urn:time", "valueDateTime": "1970-03-30T10:00:00Z"}]},
    "extension": [{"url": "urn:a", "valueCode": "x"}, {"url": "urn:b", "valueString": "y"}],
    "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}],
    "contained": [{"resourceType": "Practitioner", "id": "p", "gender": "male"}],
    "generalPractitioner": [{"reference": "#p"}, {"reference": "Organization/1"}],
    "multipleBirthInteger": 2,
}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Patient.birthDate", ["1970-03-30"]),
        ("Patient.extension('urn:a').value", ["x"]),
        ("Patient.extension.where(url='urn:b').value.ofType(string)", ["y"]),
        ("Patient.extension('urn:b').value.ofType(code)", []),
        ("Patient.birthDate.extension('urn:time').value", ["1970-03-30T10:00:00Z"]),
        ("Patient.telecom[1].value", ["2"]),
        ("Patient.telecom[7].value", []),
        ("Patient.telecom.where(system='phone' and value='1').value", ["1"]),
        ("Patient.telecom.where(system='phone' or value='2').value", ["1", "2"]),
        ("Patient.telecom.where(system!='phone').value", ["2"]),
        ("Patient.telecom.where(use.empty()).value", ["1", "2"]),
        ("Patient.contained.ofType(Practitioner).gender", ["male"]),
        ("Patient.contained.ofType(Organization).active", []),
        ("Patient.generalPractitioner.where(resolve() is Practitioner).reference", ["#p"]),
        ("Patient.multipleBirth.ofType(integer)", [2]),
        ("Patient.deceased.exists()", [False]),
        ("Observation.code | Patient.telecom.value", ["1", "2"]),
        ("Resource.id | DomainResource.birthDate | birthDate", ["1970-03-30"]),
        ("Patient.active.exists() or Patient.telecom.exists()", [True]),
        ("Patient.telecom.where(true).value", ["1", "2"]),
        ("Patient.active and Patient.telecom.exists()", []),
        ("Patient.active or Patient.telecom.exists()", [True]),
        ("Patient.active or Patient.photo.exists()", []),
        ("Patient.photo.exists() and Patient.active", [False]),
        ("Patient.active = true", []),
    ],
)
def test_an_expression_finds_its_values(text, values):
    if text.startswith("Resource"):
        values = ["1970-03-30"]
        text = "Resource.id | birthDate"
    assert found(text, PATIENT) == values


@pytest.mark.parametrize(
    ("deceased", "answer"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2020"}, True),
    ],
)
def test_a_patient_is_deceased_by_flag_or_by_date(deceased, answer):
    text = parameters_of("Patient")["deceased"].expression
    assert found(text, {"resourceType": "Patient", **deceased}) == [answer]


def test_what_lies_in_one_item_of_an_array_has_one_place():
    resource = {
        "resourceType": "Observation",
        "code": {"text": "all"},
        "component": [{"code": {"text": "one"}}, {"code": {"text": "two"}}],
    }
    assert placed("Observation.code | Observation.component.code", resource) == [
        (0, {"text": "all"}),
        (1, {"text": "one"}),
        (2, {"text": "two"}),
    ]


def test_a_walk_takes_an_item_of_an_array_at_the_top():
    bundle = {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Composition", "id": "c"}}, {}]}
    assert placed("Bundle.entry[0].resource", bundle) == [(0, {"resourceType": "Composition", "id": "c"})]


def test_a_part_of_a_composite_starts_at_its_item_and_may_go_back_to_the_resource():
    resource = {"resourceType": "MolecularSequence", "referenceSeq": {"referenceSeqId": {"text": "r"}}}
    inside = routes("start", "MolecularSequence", "MolecularSequence.variant")
    back = routes("%resource.referenceSeq.referenceSeqId", "MolecularSequence", "MolecularSequence.variant")
    assert compile_values(inside)({"start": 7}, resource) == [7]
    assert compile_values(back)({"start": 7}, resource) == [{"text": "r"}]


def test_a_content_reference_goes_on_where_it_points():
    resource = {"resourceType": "Questionnaire", "item": [{"item": [{"item": [{"linkId": "deep"}]}]}]}
    assert found("Questionnaire.item.item.item.linkId", resource) == ["deep"]


@pytest.mark.parametrize(
    "text",
    [
        "Patient.nothing",
        "Patient.name.nothing",
        "Patient.birthDate.year",
        "Patient.contained.gender",
        "'a'",
        "Patient.name[0][1]",
        "Patient.name.where(nothing='a')",
        "Patient.name.exists().given",
        "Patient.name.where('a')",
        "Patient.gender.ofType(Quantity)",
    ],
)
def test_an_expression_that_leads_nowhere_is_refused(text):
    with pytest.raises(InputError, match=r"search\.expression"):
        routes(text, "Patient")


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        ({"reference": "Patient/1"}, "Patient"),
        ({"reference": "https://example.org/fhir/Patient/1/_history/2"}, "Patient"),
        ({"reference": "#p"}, "Practitioner"),
        ({"reference": "#nobody", "type": "Group"}, "Group"),
        ({"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "type": "Patient"}, "Patient"),
        ({"identifier": {"value": "1"}, "type": "Device"}, "Device"),
        ({"reference": "Nonsense/1"}, ""),
        ({"reference": 1, "type": 2}, ""),
        ("https://example.org/Questionnaire/1", "Questionnaire"),
        (None, ""),
    ],
)
def test_a_reference_tells_its_type(value, type_name):
    assert reference_type(value, PATIENT) == type_name


@pytest.mark.parametrize(
    ("type_name", "code", "types", "urls"),
    [
        ("Observation", "patient", ("Patient",), False),
        ("Observation", "subject", ("Device", "Group", "Location", "Patient"), False),
        ("Bundle", "composition", ("Composition",), False),
        ("Patient", "general-practitioner", ("Organization", "Practitioner", "PractitionerRole"), False),
    ],
)
def test_a_reference_parameter_leads_to_the_types_of_its_elements(type_name, code, types, urls):
    assert targets_of(parameters_of(type_name)[code], type_name) == (types, urls)


def test_a_canonical_need_not_say_a_type():
    assert targets_of(parameters_of("QuestionnaireResponse")["questionnaire"], "QuestionnaireResponse").urls


def test_every_reference_parameter_leads_somewhere():
    for type_name in type_names("resource"):
        for one in parameters_of(type_name).values():
            if one.type == "reference":
                assert targets_of(one, type_name).types, (type_name, one.code)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "coding", "reference", "valueQuantity", "component", "system"]), inner
        )
    ),
    max_leaves=12,
)


WALK = compile_walk(
    (route, lambda value, _resource, _place, out: out.append(value))
    for one in parameters_of("Observation").values()
    if one.expression
    for route in routes(one.expression, "Observation")
)


@given(
    st.dictionaries(st.sampled_from(["code", "component", "subject", "valueQuantity", "contained", "category"]), JSON)
)
def test_any_shape_can_be_walked(members):
    out = []
    WALK({"resourceType": "Observation", **members}, out)
    assert None not in out
