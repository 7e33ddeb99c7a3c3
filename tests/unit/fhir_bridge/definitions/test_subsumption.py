"""What lies below what, against HL7's pages of the code systems."""

from __future__ import annotations

from fhir_bridge.definitions.subsumption import codes_above, codes_below, stem_below

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


def test_a_code_lies_below_itself_and_what_nests_in_it_too():
    """R4 codesystem-condition-clinical.html: recurrence and relapse stand below active, remission below inactive."""
    clinical = f"{TERMINOLOGY}/condition-clinical"
    assert codes_below(clinical, "active") == {"active", "recurrence", "relapse"}
    assert codes_below(clinical, "relapse") == {"relapse"}
    assert codes_above(clinical, "relapse") == {"relapse", "active"}
    assert codes_above(clinical, "active") == {"active"}


def test_what_lies_below_goes_on_as_deep_as_the_system_does():
    """v3 RoleCode: a natural mother is a mother, which is a parent, which is a family member."""
    roles = f"{TERMINOLOGY}/v3-RoleCode"
    assert {"NMTH", "MTH", "PRN", "FAMMEMB"} <= codes_above(roles, "NMTH")
    assert {"NMTH", "MTH", "STPMTH", "SIS", "FAMMEMB"} <= codes_below(roles, "FAMMEMB")
    assert "FTH" not in codes_below(roles, "MTH")


def test_in_a_flat_system_nothing_lies_below_another():
    assert codes_below("http://hl7.org/fhir/administrative-gender", "male") == {"male"}
    assert codes_above("http://hl7.org/fhir/administrative-gender", "no such code") == {"no such code"}


def test_of_a_system_that_hl7_does_not_publish_nothing_is_said():
    for system in ("http://snomed.info/sct", "http://loinc.org", "urn:unknown"):
        assert codes_below(system, "1") is None
        assert codes_above(system, "1") is None
        assert stem_below(system, "E11") is None


def test_codes_of_icd_10_say_where_they_lie():
    """ICD-10 (WHO), E11: type 2 diabetes mellitus; ICD-10-CM, S72.001A: initial encounter of S72.001."""
    who, cm = "http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm"
    assert codes_above(who, "E11") == {"E11"}
    assert codes_above(who, "E11.9") == {"E11.9", "E11"}
    assert codes_above(cm, "S72.001A") == {"S72.001A", "S72.001", "S72.00", "S72.0", "S72"}
    assert [stem_below(who, code) for code in ("E11", "E11.9")] == ["E11", "E11.9"]
    assert stem_below(cm, "C7A.0") == "C7A.0"
    assert stem_below(who, "E11.900x001") == "E11.900x001"


def test_of_blocks_and_chapters_of_icd_10_nothing_is_said():
    for code in ("E10-E14", "IV", "E1", "E11.", "E119", "", f"E11.{'9' * 17}"):
        assert codes_above("http://hl7.org/fhir/sid/icd-10", code) is None
        assert stem_below("http://hl7.org/fhir/sid/icd-10", code) is None
