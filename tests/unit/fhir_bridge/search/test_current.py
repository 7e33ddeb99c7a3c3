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


def marked(name: str, patient: str, code: str, **entries: dict) -> dict:
    """A List of changes, which alone may mark entries as deleted (`lst-2`)."""
    made = kept(name, patient, code) | {"mode": "changes"}
    return made | {"entry": [{"item": {"reference": f"Condition/{one}"}, **more} for one, more in entries.items()]}


def test_what_a_list_marks_as_deleted_is_in_it_no_more(ward):
    """List.entry.deleted: "an item is (to be) no longer in the list"; a flag says so by no code that R4 fixes."""
    flagged = {"flag": coded("urn:oid:1.2.36.1.2001.1001.101.104.16592", "05")}
    entries = {"a1": {"deleted": True}, "a2": {"deleted": False}, "a4": flagged, "a5": {"_deleted": {"id": "x"}}}
    ward.put(marked("l4", "a", "problems", **entries))
    assert sorted(ward.found("Condition?_list=l4")) == ["Condition/a2", "Condition/a4", "Condition/a5"]
    assert sorted(ward.found("Condition?patient=a&_list=$current-problems")) == [
        "Condition/a2",
        "Condition/a4",
        "Condition/a5",
    ]
    # The parameter of List is HL7's own: `List.entry.item`.
    assert ward.found("Condition?_has:List:item:_id=l4&_id=a1") == ["Condition/a1"]
    assert ward.found("List?item=Condition/a1") == ["List/l4"]


def test_an_item_that_a_list_has_twice_is_in_it_as_long_as_one_is_not_deleted(ward):
    twice = marked("l5", "a", "other", a1={"deleted": True})
    twice["entry"].append({"item": {"reference": "Condition/a1"}})
    ward.put(twice)
    assert ward.found("Condition?_list=l5") == ["Condition/a1"]


def test_a_list_that_may_not_be_seen_counts_for_nothing(ward):
    within = (InCompartment("Patient", "b"),)
    assert ward.found("Condition?_list=$current-problems", within=within) == ["Condition/b2"]
    ward.put(kept("l1", "a", "problems", "Condition/b2"))
    assert ward.found("Condition?_list=$current-problems", within=within) == ["Condition/b1"]


def test_an_unknown_functional_list_is_refused_with_those_that_there_are(node):
    with pytest.raises(InputError, match=r"search\.value") as refused:
        node.found("Condition?_list=$current-worries")
    assert "$current-problems" in str(refused.value.fields["expected"])
