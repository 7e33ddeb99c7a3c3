"""Whose record a resource is: by HL7's compartment of a patient, and by what tells a patient in another way."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.definitions.parameters import compartment
from fhir_bridge.document import parse
from fhir_bridge.references import patient_of, subject_of
from fhir_bridge.search.indexer import VARIANTS
from tests.unit.fhir_bridge.examples import chosen

_UUID = "c757873d-ec9a-4326-a141-556f43239520"
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


MRN = {"system": "urn:mrn", "value": "7,1"}
ASKED = "identifier=urn:mrn|7\\,1"


def put_patient(server, name: str, *identifiers: dict) -> dict:
    patient = {"resourceType": "Patient", "id": name, "identifier": list(identifiers)}
    assert server.call("PUT", f"/fhir/Patient/{name}", patient).status_code == 201
    return patient


def basic(**subject: object) -> dict:
    return {"resourceType": "Basic", "code": {"text": "x"}, "subject": subject}


def key_of(server, type_name: str, record_id: str) -> str:
    """The token of the patient under whose key a record lies."""
    return server.store.get(type_name, record_id).patient


def test_a_subject_that_an_identifier_alone_tells_is_the_patient_of_this_node_who_has_it(server):
    put_patient(server, "her", MRN)
    put_patient(server, "his", MRN | {"value": "7"})
    made = json.loads(server.call("POST", "/fhir/Basic", basic(identifier=MRN)).data)
    assert key_of(server, "Basic", made["id"]) == server.core.service.patient_token("her")
    # Whom it is about goes before whom else it refers to.
    both = basic(identifier=MRN) | {"author": HIS}
    made = json.loads(server.call("POST", "/fhir/Basic", both).data)
    assert key_of(server, "Basic", made["id"]) == server.core.service.patient_token("her")


def test_a_subject_that_an_identifier_tells_may_come_in_the_same_transaction(server):
    patient = {"resourceType": "Patient", "identifier": [MRN]}
    entries = [
        {"request": {"method": "POST", "url": row["resourceType"]}, "resource": row}
        for row in (basic(identifier=MRN), patient)
    ]
    answer = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    first, second = (row["response"]["location"].split("/")[-3] for row in json.loads(answer.data)["entry"])
    assert key_of(server, "Basic", first) == server.core.service.patient_token(second)


@pytest.mark.parametrize(
    "reference",
    [
        f"https://elsewhere.example/fhir/Patient?{ASKED}",
        "https://elsewhere.example/Patient?identifier=urn%3Amrn%7C7%5C%2C1",
    ],
)
def test_attack_a_record_of_whom_a_condition_at_another_server_asks_for_is_nobodys(server, reference):
    """What the patient denies or hides would not hold for it."""
    put_patient(server, "her", MRN)
    made = json.loads(server.call("POST", "/fhir/Basic", basic(reference=reference)).data)
    assert made["subject"] == {"reference": reference}
    assert key_of(server, "Basic", made["id"]) == server.core.service.patient_token("her")


def test_a_condition_with_this_nodes_address_is_resolved(server):
    """As one without it (FHIR R4 §3.1.0.11.2)."""
    put_patient(server, "her", MRN)
    condition = f"{server.core.base_url}/Patient?{ASKED}"
    made = json.loads(server.call("POST", "/fhir/Basic", basic(reference=condition)).data)
    assert made["subject"] == {"reference": "Patient/her"}
    answer = server.call("POST", "/fhir/Basic", basic(reference=condition + "9"))
    assert answer.status_code == 400
    assert "reference.not_found" in answer.text


@pytest.mark.parametrize(
    "subject",
    [
        # Two have it.
        {"identifier": MRN | {"value": "8"}},
        # Nobody has it.
        {"identifier": MRN | {"value": "9"}},
        {"identifier": {"value": "7,1"}},
        {"identifier": MRN, "type": "Device"},
        {"reference": "https://elsewhere.example/fhir/Patient/her", "identifier": MRN},
        {"reference": "https://elsewhere.example/fhir/Patient?identifier=7\\,1"},
        {"reference": f"https://elsewhere.example/fhir/Device?{ASKED}"},
        {"reference": f"https://elsewhere.example/Patient?{ASKED}&active=true"},
    ],
)
def test_an_identifier_that_tells_no_one_patient_makes_a_record_nobodys(server, subject):
    put_patient(server, "her", MRN, MRN | {"value": "8"})
    put_patient(server, "his", MRN | {"value": "8"})
    made = json.loads(server.call("POST", "/fhir/Basic", basic(**subject)).data)
    assert key_of(server, "Basic", made["id"]) == server.core.service.patient_token("")


def test_attack_a_record_of_a_contained_patient_is_nobodys(server):
    """What the patient denies or hides would not hold for it."""
    put_patient(server, "her", MRN)
    put_patient(server, "his", MRN | {"value": "7"})
    inside = {"resourceType": "Patient", "id": "p", "identifier": [MRN | {"value": "9"}, MRN]}
    made = json.loads(server.call("POST", "/fhir/Basic", basic(reference="#p") | {"contained": [inside]}).data)
    assert key_of(server, "Basic", made["id"]) == server.core.service.patient_token("her")


@pytest.mark.parametrize(
    "contained",
    [
        # Of two patients.
        [{"resourceType": "Patient", "id": "p", "identifier": [MRN, MRN | {"value": "7"}]}],
        [{"resourceType": "Patient", "id": "p", "identifier": [{"value": MRN["value"]}]}],
        [{"resourceType": "Patient", "id": "p"}],
        [{"resourceType": "Group", "id": "p", "identifier": [MRN], "type": "person", "actual": True}],
    ],
)
def test_a_contained_subject_that_tells_no_one_patient_makes_a_record_nobodys(server, contained):
    put_patient(server, "her", MRN)
    put_patient(server, "his", MRN | {"value": "7"})
    made = json.loads(server.call("POST", "/fhir/Basic", basic(reference="#p") | {"contained": contained}).data)
    assert key_of(server, "Basic", made["id"]) == server.core.service.patient_token("")


def observation(name: str, patient: str) -> dict:
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": "x"}, "subject": subject}


def provenance(*targets: str, who: str = "Organization/o") -> dict:
    return {
        "resourceType": "Provenance",
        "recorded": "2026-01-01T00:00:00Z",
        "target": [{"reference": target} for target in targets],
        "agent": [{"who": {"reference": who}}],
    }


@pytest.mark.parametrize(
    ("targets", "who", "patient"),
    [
        (["Observation/hers"], "Organization/o", "her"),
        # Who made it is not whose it is.
        (["Observation/hers/_history/1", "Patient/her"], "Patient/his", "her"),
        (["Observation/hers", "Observation/his"], "Organization/o", ""),
        (["Observation/hers", "Organization/o"], "Organization/o", ""),
        (["Observation/none"], "Organization/o", ""),
        (["https://elsewhere.example/fhir/Observation/hers"], "Organization/o", ""),
    ],
)
def test_a_provenance_goes_with_the_one_patient_whose_records_it_is_about(server, targets, who, patient):
    for name, whose in (("her", "hers"), ("his", "his")):
        put_patient(server, name, MRN | {"value": name})
        server.call("PUT", f"/fhir/Observation/{whose}", observation(whose, name))
    made = server.call("POST", "/fhir/Provenance", provenance(*targets, who=who))
    assert made.status_code == 201, made.data
    name = json.loads(made.data)["id"]
    assert key_of(server, "Provenance", name) == server.core.service.patient_token(patient)


def test_a_provenance_may_come_with_what_it_is_about(server):
    put_patient(server, "her", MRN)
    entries = [
        {"request": {"method": "POST", "url": "Provenance"}, "resource": provenance("urn:uuid:" + _UUID)},
        {
            "fullUrl": "urn:uuid:" + _UUID,
            "request": {"method": "POST", "url": "Observation"},
            "resource": observation("x", "her"),
        },
    ]
    answer = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    name = json.loads(answer.data)["entry"][0]["response"]["location"].split("/")[-3]
    assert key_of(server, "Provenance", name) == server.core.service.patient_token("her")


def test_a_provenance_of_what_is_deleted_with_it_goes_with_whose_it_was(server):
    put_patient(server, "her", MRN)
    for name in ("hers", "more"):
        server.call("PUT", f"/fhir/Observation/{name}", observation(name, "her"))
    entries = [
        {
            "request": {"method": "POST", "url": "Provenance"},
            "resource": provenance("Observation/hers", "Observation/more"),
        },
        {"request": {"method": "DELETE", "url": "Observation/hers"}},
    ]
    answer = server.call("POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    name = json.loads(answer.data)["entry"][0]["response"]["location"].split("/")[-3]
    assert key_of(server, "Provenance", name) == server.core.service.patient_token("her")
