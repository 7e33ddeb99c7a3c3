"""Functional lists (FHIR R4 §3.1.1.4.22, Current Resource Lists): what somebody keeps, and what a status says."""

from __future__ import annotations

import pytest

from fhir_bridge.search.tree import InCompartment
from medchain.errors import InputError

CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ALLERGIC = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
USE = "http://terminology.hl7.org/CodeSystem/list-example-use-codes"


def coded(system: str, code: str) -> dict:
    return {"coding": [{"system": system, "code": code}]}


def condition(name: str, patient: str, status: str, category: str = "problem-list-item", **more: object) -> dict:
    return {
        "resourceType": "Condition",
        "id": name,
        "subject": {"reference": f"Patient/{patient}"},
        "clinicalStatus": coded(CLINICAL, status),
        "category": [coded("http://terminology.hl7.org/CodeSystem/condition-category", category)],
        **more,
    }


def kept(name: str, patient: str, code: str, *items: str, status: str = "current") -> dict:
    return {
        "resourceType": "List",
        "id": name,
        "status": status,
        "mode": "working",
        "code": coded(USE, code),
        "subject": {"reference": f"Patient/{patient}"},
        "entry": [{"item": {"reference": one}} for one in items],
    }


def taken(kind: str, name: str, status: str, patient: str) -> dict:
    return {"resourceType": kind, "id": name, "status": status, "subject": {"reference": f"Patient/{patient}"}}


@pytest.fixture
def ward(node):
    node.put(
        *({"resourceType": "Patient", "id": name} for name in ("a", "b")),
        condition("a1", "a", "active"),
        condition("a2", "a", "resolved"),
        condition("a3", "a", "active", "encounter-diagnosis"),
        condition("a4", "a", "active", verificationStatus=coded(VERIFIED, "refuted")),
        condition("a5", "a", "relapse"),
        condition("b1", "b", "active"),
        condition("b2", "b", "resolved"),
        kept("l1", "b", "problems", "Condition/b2"),
        kept("l2", "a", "problems", "Condition/a2", status="retired"),
        {
            "resourceType": "AllergyIntolerance",
            "id": "i1",
            "patient": {"reference": "Patient/a"},
            "category": ["food"],
            "clinicalStatus": coded(ALLERGIC, "active"),
        },
        {
            "resourceType": "AllergyIntolerance",
            "id": "i2",
            "patient": {"reference": "Patient/a"},
            "category": ["medication"],
        },
        {
            "resourceType": "AllergyIntolerance",
            "id": "i3",
            "patient": {"reference": "Patient/b"},
            "category": ["medication"],
            "clinicalStatus": coded(ALLERGIC, "resolved"),
        },
        taken("MedicationStatement", "s1", "active", "a"),
        {
            "resourceType": "MedicationStatement",
            "id": "s2",
            "status": "completed",
            "subject": {"reference": "Patient/a"},
        },
        taken("MedicationRequest", "r1", "active", "b"),
    )
    return node


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Condition?patient=a&_list=$current-problems", ["a1", "a5"]),
        # Somebody keeps a list for b: what it names counts, whatever the status of the rest.
        ("Condition?patient=b&_list=$current-problems", ["b2"]),
        ("Condition?_list=$current-problems", ["a1", "a5", "b2"]),
        ("Condition?_list=$current-problems,l2", ["a1", "a2", "a5", "b2"]),
        ("AllergyIntolerance?_list=$current-allergies", ["i1", "i2"]),
        ("AllergyIntolerance?patient=a&_list=$current-drug-allergies", ["i2"]),
        ("MedicationStatement?_list=$current-medications", ["s1"]),
        ("MedicationRequest?_list=$current-medications", ["r1"]),
        ("Observation?_list=$current-medications", []),
    ],
)
def test_a_functional_list_is_what_a_list_names_or_what_a_status_says(ward, text, names):
    assert sorted(name.partition("/")[2] for name in ward.found(text)) == names


def test_a_list_of_drug_allergies_may_be_kept_with_all_others(ward):
    ward.put(kept("l3", "a", "allergies", "AllergyIntolerance/i1", "AllergyIntolerance/i2"))
    assert ward.found("AllergyIntolerance?_list=$current-drug-allergies") == ["AllergyIntolerance/i2"]


def test_a_list_that_may_not_be_seen_counts_for_nothing(ward):
    within = (InCompartment("Patient", "b"),)
    assert ward.found("Condition?_list=$current-problems", within=within) == ["Condition/b2"]
    ward.put(kept("l1", "a", "problems", "Condition/b2"))
    assert ward.found("Condition?_list=$current-problems", within=within) == ["Condition/b1"]


def test_an_unknown_functional_list_is_refused_with_those_that_there_are(node):
    with pytest.raises(InputError, match=r"search\.value") as refused:
        node.found("Condition?_list=$current-worries")
    assert "$current-problems" in str(refused.value.fields["expected"])
