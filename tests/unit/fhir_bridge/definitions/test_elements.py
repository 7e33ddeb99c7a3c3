"""The types of R4, against what the specification's pages say of them."""

from __future__ import annotations

import re

import pytest

from fhir_bridge.definitions.elements import (
    UNBOUNDED,
    ancestors,
    children,
    is_resource_type,
    members,
    primitive_pattern,
    type_definition,
    type_names,
)
from medchain.errors import NotFoundError


def element(path):
    return next(one for one in type_definition(path.partition(".")[0]).elements if one.path == path)


def test_r4_has_146_resource_types_with_instances_and_two_abstract_ones():
    assert len(type_names("resource")) == 146
    assert type_names("resource", abstract=True) - type_names("resource") == {"Resource", "DomainResource"}
    assert {"SubstanceSpecification", "MedicinalProduct", "EffectEvidenceSynthesis"} <= type_names("resource")
    assert not {"SubstanceDefinition", "Citation", "SubscriptionTopic"} & type_names("resource")


def test_r4_has_20_primitive_types():
    assert type_names("primitive-type") == {
        *("base64Binary", "boolean", "canonical", "code", "date", "dateTime", "decimal", "id", "instant", "integer"),
        *("markdown", "oid", "positiveInt", "string", "time", "unsignedInt", "uri", "url", "uuid", "xhtml"),
    }


def test_names_of_data_types_and_of_other_releases_are_no_resource_types():
    assert is_resource_type("Patient")
    assert not is_resource_type("HumanName")
    assert not is_resource_type("DomainResource")
    assert not is_resource_type("Citation")


def test_every_type_can_be_read_and_every_member_leads_somewhere():
    seen = set()
    waiting = sorted(type_names("resource") | type_names("complex-type"))
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [member.content for member in members(path).values()]
    assert {"Observation.component", "ElementDefinition.slicing.discriminator", "Parameters.parameter"} <= seen
    assert "Parameters.parameter.part" not in seen


def test_a_status_is_one_required_code_of_the_summary_that_modifies():
    status = element("Observation.status")
    assert (status.min, status.max, status.is_array) == (1, 1, False)
    assert [use.code for use in status.types] == ["code"]
    assert status.binding is not None
    assert (status.binding.strength, status.binding.value_set) == (
        "required",
        "http://hl7.org/fhir/ValueSet/observation-status",
    )
    assert status.is_summary
    assert status.is_modifier


def test_a_reference_names_its_targets():
    (use,) = element("Observation.subject").types
    assert (use.code, use.targets) == ("Reference", ("Patient", "Group", "Device", "Location"))


def test_a_profile_of_a_type_is_told():
    (use,) = element("Observation.referenceRange.low").types
    assert (use.code, use.profiles) == ("Quantity", ("SimpleQuantity",))


def test_a_largest_value_set_is_told():
    binding = element("Patient.communication.language").binding
    assert binding is not None
    assert binding.strength == "preferred"
    assert binding.max_value_set == "http://hl7.org/fhir/ValueSet/all-languages"


def test_a_choice_has_a_json_name_for_each_of_its_types():
    found = members("Observation")
    values = {name: found[name].type for name in found if found[name].element.path == "Observation.value[x]"}
    assert values == {
        "valueQuantity": "Quantity",
        "valueCodeableConcept": "CodeableConcept",
        "valueString": "string",
        "valueBoolean": "boolean",
        "valueInteger": "integer",
        "valueRange": "Range",
        "valueRatio": "Ratio",
        "valueSampledData": "SampledData",
        "valueTime": "time",
        "valueDateTime": "dateTime",
        "valuePeriod": "Period",
    }


def test_an_extension_takes_fifty_types():
    assert len([name for name in members("Extension") if name.startswith("value")]) == 50


def test_a_content_reference_leads_to_the_element_that_it_names():
    item = members("Questionnaire.item")["item"]
    assert (item.element.content_reference, item.content) == ("Questionnaire.item", "Questionnaire.item")
    assert members("Observation.component")["referenceRange"].content == "Observation.referenceRange"


def test_a_backbone_leads_to_its_own_children_and_a_data_type_to_its_definition():
    assert members("Patient")["contact"].content == "Patient.contact"
    assert members("Patient")["name"].content == "HumanName"
    assert members("Timing")["repeat"].content == "Timing.repeat"


def test_the_id_of_a_resource_is_an_id_and_that_of_an_element_a_string():
    assert members("Patient")["id"].type == "id"
    assert members("HumanName")["id"].type == "string"
    assert members("Extension")["url"].type == "uri"


def test_elements_come_in_the_order_of_the_specification():
    assert [one.name for one in children("Period")] == ["id", "extension", "start", "end"]


def test_an_invariant_has_its_words_and_its_expression():
    rule = next(one for one in element("Patient.contact").invariants if one.key == "pat-1")
    assert rule.severity == "error"
    assert "contact's details" in rule.human
    assert rule.expression == "name.exists() or telecom.exists() or address.exists() or organization.exists()"


def test_a_repeating_element_has_no_limit():
    assert element("Patient.name").max == UNBOUNDED
    assert element("Patient.name").is_array


def test_a_type_lists_what_it_specialises():
    assert ancestors("Patient") == ("Patient", "DomainResource", "Resource")
    assert ancestors("Bundle") == ("Bundle", "Resource")
    assert ancestors("Age")[:2] == ("Age", "Quantity")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("id", "a-1.B", "a_1"),
        ("date", "2020-02", "2020-13"),
        ("positiveInt", "7", "0"),
        ("code", "a b", " a"),
    ],
)
def test_a_primitive_type_has_hl7s_pattern(name, good, bad):
    pattern = re.compile(primitive_pattern(name))
    assert pattern.fullmatch(good)
    assert not pattern.fullmatch(bad)


def test_xhtml_has_no_pattern():
    assert primitive_pattern("xhtml") == ""


@pytest.mark.parametrize("ask", [type_definition, members, ancestors])
def test_an_unknown_type_is_not_found(ask):
    with pytest.raises(NotFoundError, match=r"definitions\.unknown"):
        ask("Nothing")
