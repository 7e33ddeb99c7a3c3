"""Search parameters and compartments, against the specification's tables."""

from __future__ import annotations

import pytest

from fhir_bridge.definitions.elements import is_resource_type, type_names
from fhir_bridge.definitions.parameters import (
    COMPARTMENTS,
    ParameterType,
    all_parameters,
    compartment,
    parameter,
    parameters_of,
)
from medchain.errors import NotFoundError

URL = "http://hl7.org/fhir/SearchParameter/"


def test_all_1375_are_there_and_each_url_stands_once():
    assert len(all_parameters()) == 1375
    assert len({one.url for one in all_parameters()}) == 1375


def test_a_code_means_one_parameter_of_a_type():
    pairs = [(base, one.code) for one in all_parameters() for base in one.base]
    assert len(pairs) == len(set(pairs))


def test_a_parameter_says_all_that_hl7_says():
    found = parameter(URL + "clinical-patient")
    assert found.code == "patient"
    assert found.type is ParameterType.REFERENCE
    assert "Observation" in found.base
    assert "Observation.subject.where(resolve() is Patient)" in found.expression


def test_a_date_names_its_comparators():
    assert parameter(URL + "clinical-date").comparators == ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap")


def test_a_composite_names_its_parts():
    found = parameters_of("Observation")["code-value-quantity"]
    assert found.type is ParameterType.COMPOSITE
    assert [part.expression for part in found.components] == ["code", "value.as(Quantity)"]
    assert parameter(found.components[0].definition).type is ParameterType.TOKEN


def test_a_type_has_the_parameters_of_what_it_specialises():
    assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_text", "_content"} <= set(
        parameters_of("Patient")
    )
    assert "_text" not in parameters_of("Bundle")
    assert set(parameters_of("Resource")) <= set(parameters_of("Bundle"))


def test_patient_has_the_parameters_of_its_page():
    own = {one.code for one in parameters_of("Patient").values() if "Patient" in one.base}
    assert own == {
        *("active", "address", "address-city", "address-country", "address-postalcode", "address-state"),
        *("address-use", "birthdate", "death-date", "deceased", "email", "family", "gender", "general-practitioner"),
        *("given", "identifier", "language", "link", "name", "organization", "phone", "phonetic", "telecom"),
    }


def test_every_resource_type_has_parameters():
    assert all(parameters_of(name) for name in type_names("resource"))


@pytest.mark.parametrize(
    ("code", "type_name", "codes"),
    [
        ("Patient", "Observation", ("subject", "performer")),
        ("Patient", "Patient", ("link",)),
        ("Encounter", "Encounter", ("{def}",)),
        ("Practitioner", "Appointment", ("actor",)),
        ("Device", "Observation", ("subject", "device")),
    ],
)
def test_a_compartment_names_the_parameters_of_a_type(code, type_name, codes):
    assert compartment(code)[type_name] == codes


def test_a_compartment_has_only_types_that_belong_to_it():
    assert "Medication" not in compartment("Patient")
    assert all(is_resource_type(name) for code in COMPARTMENTS for name in compartment(code))


@pytest.mark.parametrize("ask", [parameter, parameters_of, compartment])
def test_what_r4_has_not_is_not_found(ask):
    with pytest.raises(NotFoundError, match=r"definitions\.unknown"):
        ask("Nothing")
