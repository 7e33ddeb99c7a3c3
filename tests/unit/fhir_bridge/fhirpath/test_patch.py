"""FHIRPath Patch. Expected answers follow FHIR R4 §3.1.0.9.2 and fhirpatch.html."""

from __future__ import annotations

import copy
import json

import pytest

from fhir_bridge.document import parse, write
from fhir_bridge.fhirpath.patch import MAX_OPERATIONS, MAX_STEPS, apply_fhirpath_patch
from medchain.errors import InputError

PATIENT = parse(
    b'{"resourceType":"Patient","id":"p","birthDate":"1920-01-01","_birthDate":{"id":"b"},"deceasedBoolean":true,'
    b'"identifier":[{"system":"a"},{"system":"b"},{"system":"c"}],"name":[{"given":["x","y"],"_given":[null,{"id":"g"}]}],'
    b'"contact":[{"gender":"male","name":{"text":"n"}}]}'
)


def operation(kind: str, **parts: object) -> dict:
    """One operation; a value is given as its part."""
    rows = [{"name": "type", "valueCode": kind}]
    for name, value in parts.items():
        if isinstance(value, dict):
            rows.append({"name": name, **value})
        elif isinstance(value, int):
            rows.append({"name": name, "valueInteger": value})
        else:
            rows.append({"name": name, "valueString": value})
    return {"name": "operation", "part": rows}


def patched(*operations: dict) -> dict:
    document = {"resourceType": "Parameters", "parameter": list(operations)}
    changed = apply_fhirpath_patch(PATIENT, parse(json.dumps(document).encode()))
    return json.loads(write(changed))


def test_a_value_is_added_where_there_is_none():
    changed = patched(operation("add", path="Patient", name="active", value={"valueBoolean": False}))
    assert changed["active"] is False


def test_a_value_is_appended_to_a_list():
    changed = patched(operation("add", path="Patient", name="identifier", value={"valueIdentifier": {"system": "d"}}))
    assert [one["system"] for one in changed["identifier"]] == ["a", "b", "c", "d"]


def test_a_backbone_element_is_added_part_by_part():
    changed = patched(
        operation(
            "add",
            path="Patient",
            name="contact",
            value={
                "part": [
                    {"name": "name", "valueHumanName": {"text": "a name"}},
                    {"name": "relationship", "valueCodeableConcept": {"text": "a"}},
                    {"name": "relationship", "valueCodeableConcept": {"text": "b"}},
                ]
            },
        )
    )
    assert changed["contact"][1] == {"name": {"text": "a name"}, "relationship": [{"text": "a"}, {"text": "b"}]}


def test_a_choice_is_added_under_the_name_of_its_type():
    extension = {"part": [{"name": "url", "valueUri": "u"}, {"name": "value", "valueCode": "c"}]}
    changed = patched(
        operation("add", path="Patient", name="extension", value=extension),
        operation("add", path="Patient", name="multipleBirth", value={"valueInteger": 2}),
    )
    assert changed["extension"] == [{"url": "u", "valueCode": "c"}]
    assert changed["multipleBirthInteger"] == 2


@pytest.mark.parametrize(("index", "order"), [(0, "dabc"), (2, "abdc"), (3, "abcd")])
def test_a_value_is_inserted_at_a_place(index, order):
    value = {"valueIdentifier": {"system": "d"}}
    changed = patched(operation("insert", path="Patient.identifier", index=index, value=value))
    assert "".join(one["system"] for one in changed["identifier"]) == order


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("Patient.birthDate", {"birthDate", "_birthDate"}),
        ("Patient.deceased", {"deceasedBoolean"}),
        ("Patient.contact[0]", {"contact"}),
        ("Patient.photo", set()),
    ],
)
def test_an_element_is_taken_away_with_its_companion(path, gone):
    assert set(PATIENT) - set(patched(operation("delete", path=path))) == gone


def test_an_item_is_taken_out_of_its_list():
    changed = patched(
        operation("delete", path="Patient.identifier[1]"),
        operation("delete", path="Patient.name.given.where($this='x')"),
    )
    assert [one["system"] for one in changed["identifier"]] == ["a", "c"]
    assert changed["name"] == [{"given": ["y"], "_given": [{"id": "g"}]}]


def test_a_value_is_replaced():
    changed = patched(
        operation("replace", path="Patient.birthDate", value={"valueDate": "1930-01-01"}),
        operation("replace", path="Patient.contact[0].gender", value={"valueCode": "female"}),
        operation("replace", path="Patient.name.given[1]", value={"valueString": "z"}),
        operation("replace", path="Patient.deceased", value={"valueDateTime": "2020"}),
    )
    assert changed["birthDate"] == "1930-01-01"
    assert changed["contact"][0]["gender"] == "female"
    assert changed["name"][0]["given"] == ["x", "z"]
    assert changed["deceasedDateTime"] == "2020"
    assert "deceasedBoolean" not in changed


@pytest.mark.parametrize(("source", "destination", "order"), [(0, 2, "bca"), (2, 0, "cab"), (1, 1, "abc")])
def test_an_item_is_moved(source, destination, order):
    changed = patched(operation("move", path="Patient.identifier", source=source, destination=destination))
    assert "".join(one["system"] for one in changed["identifier"]) == order


def test_the_resource_that_was_given_stays_as_it_is():
    before = copy.deepcopy(PATIENT)
    patched(operation("delete", path="Patient.name"))
    assert before == PATIENT


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"name": "other"}, "patch.parameters"),
        (operation("explode", path="Patient"), "patch.operation"),
        (operation("add", path="Patient", name="active"), "patch.part"),
        (operation("add", path="Patient", name="actife", value={"valueBoolean": True}), "patch.name"),
        (operation("add", path="Patient", name="multipleBirth", value={"valueCode": "x"}), "patch.name"),
        (operation("add", path="Patient", name="birthDate", value={"valueDate": "1930"}), "patch.path"),
        (operation("add", path="Patient.identifier", name="value", value={"valueString": "x"}), "patch.path"),
        (operation("add", path="Patient.id", name="value", value={"valueString": "x"}), "patch.name"),
        (operation("replace", path="Patient.photo", value={"valueString": "x"}), "patch.path"),
        (operation("replace", path="Patient.photo.count()", value={"valueString": "x"}), "patch.path"),
        (operation("delete", path="Patient.identifier"), "patch.path"),
        (operation("insert", path="Patient.identifier", index=4, value={"valueIdentifier": {}}), "patch.index"),
        (operation("insert", path="Patient.identifier", index="1", value={"valueIdentifier": {}}), "patch.part"),
        (operation("insert", path="Patient.photo", index=0, value={"valueString": "x"}), "patch.path"),
        (operation("insert", path="Patient.identifier.skip(1)", index=0, value={"valueString": "x"}), "patch.path"),
        (operation("move", path="Patient.identifier", source=0, destination=3), "patch.index"),
        (operation("replace", path="Patient.id", value={"valueId": "q"}), "patch.identity"),
        (operation("delete", path="Patient."), "fhirpath.syntax"),
        (operation("add", path="Patient", name="contact", value={"part": []}), "patch.part"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_code(row, code):
    with pytest.raises(InputError) as refused:
        patched(operation("delete", path="Patient.name"), row)
    assert refused.value.code == code


def test_an_error_names_the_operation():
    with pytest.raises(InputError) as refused:
        patched(operation("delete", path="Patient.name"), operation("delete", path="Patient.identifier"))
    assert refused.value.fields["operation"] == 1


def test_no_operation_and_too_many_are_refused():
    for rows in ([], [operation("delete", path="Patient.name")] * (MAX_OPERATIONS + 1)):
        with pytest.raises(InputError) as refused:
            patched(*rows)
        assert refused.value.code == "patch.parameters"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("Patient.name.where(family.matches('(a+)+b'))", "fhirpath.function"),
        ("Patient.name[0].where(iif(true, given.replaceMatches('(a|a)*c', '').exists()))", "fhirpath.function"),
        ("Patient.descendants().where($this = 'x')", "fhirpath.function"),
        ("Patient.repeat(contact)", "fhirpath.function"),
        ("Patient.name.where((given | family).exists())", "fhirpath.function"),
        ("Patient.name.where('x' in given)", "fhirpath.function"),
        ("Patient.name.where(-%resource.name.count() < 1)", "fhirpath.variable"),
        ("Patient.name[%rootResource.name.count()]", "fhirpath.variable"),
        ("Patient.name.where((%context as Patient).exists())", "fhirpath.variable"),
    ],
)
def test_a_path_of_a_stranger_has_nothing_that_takes_for_ever(path, code):
    with pytest.raises(InputError) as refused:
        patched(operation("delete", path=path))
    assert (refused.value.code, refused.value.fields["operation"]) == (code, 0)


def test_the_paths_of_a_patch_look_at_so_much_and_no_more():
    many = PATIENT | {"name": [{"given": ["x"]}] * 2000}
    row = operation("delete", path="Patient.name.where(given.exists().not())")
    document = parse(json.dumps({"resourceType": "Parameters", "parameter": [row] * MAX_OPERATIONS}).encode())
    with pytest.raises(InputError) as refused:
        apply_fhirpath_patch(many, document)
    assert refused.value.code == "fhirpath.size"
    assert 0 < refused.value.fields["operation"] < MAX_STEPS // 2000
