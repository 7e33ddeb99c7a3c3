"""Code lists, against the pages of the value sets."""

from __future__ import annotations

from fhir_bridge.definitions.codes import code_set, codes_in, listed_set
from fhir_bridge.definitions.elements import type_definition, type_names

FHIR = "http://hl7.org/fhir"


def test_a_value_set_lists_its_codes_with_their_system():
    assert code_set(f"{FHIR}/ValueSet/administrative-gender|4.0.1") == {
        f"{FHIR}/administrative-gender": frozenset({"male", "female", "other", "unknown"})
    }


def test_codes_below_codes_belong_to_the_set():
    """Corrected stands below amended."""
    assert codes_in(f"{FHIR}/ValueSet/observation-status") == {
        *("registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"),
    }


def test_a_set_of_chosen_codes_holds_no_more():
    assert codes_in(f"{FHIR}/ValueSet/name-use") == {
        *("usual", "official", "temp", "nickname", "anonymous", "old", "maiden")
    }


def test_a_set_of_several_systems_keeps_them_apart():
    found = code_set(f"{FHIR}/ValueSet/all-types")
    assert found is not None
    assert len(found) == 3
    assert {"Patient", "Quantity", "Any"} <= codes_in(f"{FHIR}/ValueSet/all-types")


def test_what_cannot_be_listed_is_not_listed():
    assert code_set(f"{FHIR}/ValueSet/mimetypes") is None
    assert codes_in(f"{FHIR}/ValueSet/currencies") is None
    assert code_set("https://example.org/unknown") is None


def test_a_value_set_that_nothing_is_bound_to_for_certain_is_listed_for_searches():
    """v2 table 0136 (yes or no), v3 ActEncounterCode, and R4's own marital status, of two systems."""
    assert listed_set("http://terminology.hl7.org/ValueSet/v2-0136") == {
        "http://terminology.hl7.org/CodeSystem/v2-0136": frozenset({"Y", "N"})
    }
    classes = listed_set("http://terminology.hl7.org/ValueSet/v3-ActEncounterCode|2014-03-26")
    assert {"AMB", "EMER", "IMP", "VR"} <= classes["http://terminology.hl7.org/CodeSystem/v3-ActCode"]
    assert code_set(f"{FHIR}/ValueSet/marital-status") is None
    assert listed_set(f"{FHIR}/ValueSet/marital-status")["http://terminology.hl7.org/CodeSystem/v3-NullFlavor"] == {
        "UNK"
    }
    assert listed_set(f"{FHIR}/ValueSet/administrative-gender") == code_set(f"{FHIR}/ValueSet/administrative-gender")
    for unknown in (f"{FHIR}/ValueSet/condition-code", "https://example.org/unknown"):
        assert listed_set(unknown) is None


def test_of_all_required_bindings_only_open_sets_are_missing():
    bound = {
        element.binding.value_set
        for kind in ("resource", "complex-type")
        for name in type_names(kind)
        for element in type_definition(name).elements
        if element.binding is not None and element.binding.strength == "required"
    }
    assert {url.rpartition("/")[2] for url in bound if code_set(url) is None} == {
        *("currencies", "mimetypes", "ucum-units", "LL379-9")
    }
