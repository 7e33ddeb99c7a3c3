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


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {**row, "foo": 1},
        lambda row: {**row, "part": [*row["part"], row["part"][0]]},
        lambda row: {**row, "part": [*row["part"], "value"]},
        lambda row: {**row, "part": [*row["part"], {"valueString": "x"}]},
        lambda row: {**row, "part": [{**one, "valueInteger": 1} for one in row["part"]]},
        lambda row: {**row, "part": [{**one, "valu": 1} for one in row["part"]]},
    ],
)
def test_an_operation_with_what_r4_does_not_know_there_is_refused(change):
    """It would be passed over: two values, or one part twice, and whichever came last would count."""
    with pytest.raises(InputError, match=r"patch\.parameters"):
        patched(change(operation("delete", path="Patient.name")))


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


def test_what_is_left_without_an_element_goes_as_well():
    """HL7's "Delete Nested Primitive #2": FHIR has no empty element, so a name without its text is none."""
    left = patched(operation("delete", path="Patient.contact[0].name.text"))
    assert left["contact"] == [{"gender": "male"}]
    both = [operation("delete", path=f"Patient.contact[0].{one}") for one in ("name.text", "gender")]
    assert "contact" not in patched(*both)
    # The places in a list are those that it had until all is done.
    gender = {"part": [{"name": "gender", "valueCode": "x"}]}
    both.append(operation("insert", path="Patient.contact", index=1, value=gender))
    assert patched(*both)["contact"] == [{"gender": "x"}]


def test_what_was_emptied_can_be_filled_again():
    fill = operation("add", path="Patient.contact[0].name", name="family", value={"valueString": "f"})
    changed = patched(operation("delete", path="Patient.contact[0].name.text"), fill)
    assert changed["contact"] == [{"gender": "male", "name": {"family": "f"}}]


def test_what_held_nothing_but_an_extension_goes_with_it():
    fill = operation("add", path="Patient.contact[0].name.text", name="id", value={"valueString": "i"})
    paths = ("Patient.contact[0].name.text", "Patient.contact.gender")
    assert "contact" not in patched(fill, *(operation("delete", path=one) for one in paths))
    family = {"part": [{"name": "family", "_valueString": {"id": "i"}}]}
    name = operation("replace", path="Patient.contact[0].name", value=family)
    assert patched(name)["contact"][0]["name"] == {"_family": {"id": "i"}}
    assert patched(name, operation("delete", path="Patient.contact[0].name.family.id"))["contact"] == [
        {"gender": "male"}
    ]


def test_what_was_given_as_empty_stays_for_validation_to_refuse():
    name = operation("add", path="Patient", name="name", value={"valueHumanName": {}})
    assert patched(name)["name"][1] == {}
    period = operation("add", path="Patient.identifier[0]", name="period", value={"valuePeriod": {}})
    assert patched(period)["identifier"][0] == {"system": "a", "period": {}}


def test_a_patch_of_no_operations_changes_nothing():
    """HL7's "No Difference": Parameters without any."""
    assert apply_fhirpath_patch(PATIENT, {"resourceType": "Parameters", "id": "x"}) == PATIENT


@pytest.mark.parametrize("change", [{"parameters": []}, {"parameter": None}, {"parameter": []}, {"parameter": {}}])
def test_what_is_no_list_of_operations_is_not_taken_for_a_patch_of_none(change):
    with pytest.raises(InputError, match=r"patch\.parameters"):
        apply_fhirpath_patch(PATIENT, {"resourceType": "Parameters"} | change)


def test_an_empty_list_of_operations_and_too_many_are_refused():
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


GIVEN = "Patient.name.given"
FIRST, LAST = {"id": "first"}, {"id": "last"}
NEW = {"valueString": "n"}


@pytest.mark.parametrize(
    ("change", "given", "beside"),
    [
        (operation("insert", path=GIVEN, index=0, value=NEW), ["n", "x", "y"], [None, None, LAST]),
        (operation("insert", path=GIVEN, index=2, value=NEW), ["x", "y", "n"], [None, LAST, None]),
        (operation("move", path=GIVEN, source=1, destination=0), ["y", "x"], [LAST, None]),
        (operation("add", path="Patient.name", name="given", value=NEW), ["x", "y", "n"], [None, LAST]),
        (operation("replace", path=f"{GIVEN}[1]", value=NEW), ["x", "n"], None),
        (operation("replace", path=f"{GIVEN}[0]", value=NEW), ["n", "y"], [None, LAST]),
        (operation("delete", path=f"{GIVEN}[0]"), ["y"], [LAST]),
        (
            operation("insert", path=GIVEN, index=0, value={"valueString": "n", "_valueString": FIRST}),
            ["n", "x", "y"],
            [FIRST, None, LAST],
        ),
        (operation("insert", path=GIVEN, index=1, value={"_valueString": FIRST}), ["x", None, "y"],
         [None, FIRST, LAST]),
        (operation("add", path="Patient.name", name="given", value={"_valueString": FIRST}), ["x", "y", None],
         [None, LAST, FIRST]),
        (operation("add", path=f"{GIVEN}[0]", name="id", value={"valueString": "first"}), ["x", "y"], [FIRST, LAST]),
    ],
)  # fmt: skip
def test_what_stands_beside_a_value_stays_with_it(change, given, beside):
    """§2.6.2.1: ``_given`` at a place belongs to ``given`` there; else it tells something of another name."""
    patient = {"resourceType": "Patient", "name": [{"given": ["x", "y"], "_given": [None, LAST]}]}
    parameters = {"resourceType": "Parameters", "parameter": [change]}
    (name,) = apply_fhirpath_patch(patient, parse(json.dumps(parameters).encode()))["name"]
    trimmed = [*name.get("_given", [])]
    while trimmed and trimmed[-1] is None:
        trimmed.pop()
    wanted = [*(beside or [])]
    while wanted and wanted[-1] is None:
        wanted.pop()
    assert (name["given"], trimmed) == (given, wanted)


def test_an_extension_is_added_to_a_primitive_value_and_taken_away_again():
    told = {"url": "http://x.example/reason", "valueString": "told by phone"}
    add = operation("add", path="Patient.birthDate", name="extension", value={"valueExtension": told})
    once = patched(add, operation("delete", path="Patient.birthDate.id"))
    assert (once["birthDate"], once["_birthDate"]) == ("1920-01-01", {"extension": [told]})
    gone = patched(
        add, operation("delete", path="Patient.birthDate.id"), operation("delete", path="Patient.birthDate.extension")
    )
    assert gone["birthDate"] == "1920-01-01"
    # FHIR has nothing empty (ele-1).
    assert "_birthDate" not in gone


def test_a_value_is_given_with_what_stands_beside_it():
    beside = {"extension": [{"url": "u", "valueCode": "c"}]}
    changed = patched(
        operation("add", path="Patient", name="gender", value={"valueCode": "male", "_valueCode": beside}),
        operation("replace", path="Patient.deceased", value={"_valueDateTime": beside}),
        operation("add", path="Patient", name="contact", value={"part": [{"name": "gender", "_valueCode": beside}]}),
    )
    assert (changed["gender"], changed["_gender"]) == ("male", beside)
    assert (changed["_deceasedDateTime"], [name for name in changed if name.startswith("deceased")]) == (beside, [])
    assert changed["contact"][1] == {"_gender": beside}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (operation("add", path="Patient.birthDate", name="nothing", value={"valueString": "x"}), "patch.name"),
        (operation("add", path="Patient", name="gender", value={"valueCode": None}), "patch.part"),
    ],
)
def test_what_no_primitive_value_has_beside_it_is_refused(change, code):
    with pytest.raises(InputError, match=code.replace(".", r"\.")):
        patched(change)


def test_an_element_that_has_only_extensions_is_there_already():
    patient = {"resourceType": "Patient", "_active": FIRST}
    add = operation("add", path="Patient", name="active", value={"valueBoolean": True})
    with pytest.raises(InputError, match=r"patch\.path"):
        apply_fhirpath_patch(patient, parse(json.dumps({"resourceType": "Parameters", "parameter": [add]}).encode()))
