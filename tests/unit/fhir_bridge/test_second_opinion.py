"""The second opinion: asked by `$validate` alone, quiet where the two definitions differ, never the judge."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.document import parse
from fhir_bridge.second_opinion import second_opinion
from tests.unit.fhir_bridge.examples import examples

# What R4B took out of R4 or has another shape of: http://hl7.org/fhir/R4B/history.html.
NOT_IN_R4B = ("MedicinalProduct", "Evidence", "EvidenceVariable", "SubstanceSpecification", "RiskEvidenceSynthesis")
# R4 allows an extension to have a value with extensions only (§2.5.1.0.1); the model does not.
DISPUTED = {
    "resourceType": "CodeSystem",
    "status": "active",
    "content": "complete",
    "concept": [
        {
            "code": "a",
            "extension": [
                {
                    "url": "http://example.org/x",
                    "_valueString": {"extension": [{"url": "http://example.org/y", "valueCode": "b"}]},
                }
            ],
        }
    ],
}


def test_hl7s_own_examples_are_right_to_both():
    asked = [parse(content) for _, content in examples()]
    assert len(asked) > 130
    assert [one["resourceType"] for one in asked if second_opinion(one)] == []


@pytest.mark.parametrize("name", NOT_IN_R4B)
def test_of_types_that_differ_it_says_nothing(name):
    assert name in type_names("resource")
    assert second_opinion({"resourceType": name, "nonsense": True}) is None


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({"resourceType": "Observation", "status": "final"}, "Observation"),
        ({"resourceType": "Patient", "birthDate": "yesterday"}, "Patient.birthDate"),
        ({"resourceType": "Patient", "王小明": 1}, "Patient"),
    ],
)
def test_it_says_where_and_nothing_that_the_sender_wrote(resource, place):
    issue = second_opinion(resource)
    assert issue is not None
    assert (issue.severity, issue.rule.value) == ("warning", "opinion")
    assert issue.expression.startswith(place)
    assert "王" not in issue.expression


def test_validate_tells_what_only_the_second_one_objects_to(server):
    rows = json.loads(server.call("POST", "/fhir/CodeSystem/$validate", DISPUTED).data)["issue"]
    assert "resource.opinion" in {row["details"]["coding"][0]["code"] for row in rows}
    assert {row["severity"] for row in rows} == {"warning"}


def test_what_only_the_second_one_objects_to_is_stored(server):
    assert server.call("POST", "/fhir/CodeSystem", DISPUTED).status_code == 201


def test_where_our_own_validation_objects_nobody_else_is_asked(server, monkeypatch):
    monkeypatch.setattr("fhir_bridge.rest.operations.second_opinion", pytest.fail)
    rows = json.loads(server.call("POST", "/fhir/Observation/$validate", {"resourceType": "Observation"}).data)["issue"]
    assert "error" in {row["severity"] for row in rows}
