"""Whose record a resource is: by HL7's compartment of a patient, and by what tells a patient in another way."""

from __future__ import annotations

import pytest

from fhir_bridge.definitions.parameters import compartment
from fhir_bridge.document import parse
from fhir_bridge.references import patient_of, subject_of
from fhir_bridge.search.indexer import VARIANTS
from tests.unit.fhir_bridge.examples import chosen

HER, HIS = {"reference": "Patient/her"}, {"reference": "Patient/his"}


@pytest.mark.parametrize(
    ("type_name", "resource"),
    [
        ("Appointment", {"participant": [{"actor": {"reference": "Practitioner/7"}}, {"actor": HER}]}),
        ("AppointmentResponse", {"actor": HER}),
        ("EnrollmentRequest", {"candidate": HER}),
        ("Group", {"member": [{"entity": HER}]}),
        ("Person", {"link": [{"target": {"reference": "Practitioner/7"}}, {"target": HER}]}),
        ("Provenance", {"target": [{"reference": "Patient/her/_history/2"}]}),
        ("Schedule", {"actor": [HER]}),
        ("SupplyRequest", {"deliverTo": HER}),
        ("Observation", {"subject": {"reference": "Device/3"}, "performer": [HER]}),
        ("Communication", {"subject": {"reference": "Group/3"}, "recipient": [HER, HER]}),
        # One that names her beside whom it is about is still hers, and so is one that names others beside her.
        ("Coverage", {"subscriber": HIS, "beneficiary": HER}),
        ("Account", {"subject": [HER, HIS]}),
    ],
)
def test_a_record_that_tells_one_patient_is_sealed_under_that_patients_key(type_name, resource):
    assert patient_of(type_name, "x", {"resourceType": type_name, **resource}) == "her"


@pytest.mark.parametrize(
    ("type_name", "resource"),
    [
        ("Group", {"member": [{"entity": HER}, {"entity": HIS}]}),
        ("Appointment", {"participant": [{"actor": HER}, {"actor": HIS}]}),
        ("Organization", {"name": "Patient/her"}),
        ("Person", {"link": [{"target": {"reference": "https://elsewhere.example/fhir/Patient/her"}}]}),
        # It outlives an erasure.
        ("AuditEvent", {"entity": [{"what": HER}]}),
        # It is a rule on the records of whom it names as its patient, and of nobody who has signed it.
        ("Consent", {"performer": [HER]}),
        # It refers to its own entries.
        ("Bundle", {"entry": [{"resource": {"subject": HER}}]}),
    ],
)
def test_what_tells_several_patients_or_none_of_this_node_is_nobodys_alone(type_name, resource):
    assert patient_of(type_name, "x", {"resourceType": type_name, **resource}) == ""


def test_every_example_that_is_in_one_patients_compartment_is_that_patients(server):
    """By HL7's definition and examples: what the index finds as a patient's is destroyed with the patient."""
    index, checked = server.core.search.index, set()
    for _, content in chosen(""):
        resource = parse(content)
        name = resource.get("resourceType", "")
        if name in ("AuditEvent", "Binary", "Bundle", "Consent", "Patient"):
            continue
        numbers = {index.number(name, code) for code in compartment("Patient").get(name, ()) if code != "{def}"}
        rows = index.rows(name, resource).rows or ()
        keys = {str(row[2]) for row in rows if row[0] // VARIANTS in numbers}
        inside = {key.removeprefix("Patient/") for key in keys if key.startswith("Patient/")}
        if len(inside) == 1 and not subject_of(name, "x", resource):
            assert patient_of(name, "x", resource) in inside, content[:200]
            checked.add(name)
    assert {"Appointment", "Person"} <= checked
