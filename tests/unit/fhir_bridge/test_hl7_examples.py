"""HL7's own examples are right, and come back from JSON and XML as they were; `--fhir-examples PLACE` for all 5,298."""

from __future__ import annotations

import pytest

from fhir_bridge.document import parse, write
from fhir_bridge.validation.check import check
from fhir_bridge.xml import parse_xml, write_xml
from tests.unit.fhir_bridge.examples import chosen
from tests.unit.fhir_bridge.test_xml import spelled

# What HL7's package has that R4 forbids, by resource.
WRONG = {
    # Narratives without content: txt-2.
    "ActivityDefinition/blood-tubes-supply": "narrative",
    "ActivityDefinition/heart-valve-replacement": "narrative",
    "EventDefinition/example": "narrative",
    "Questionnaire/zika-virus-exposure-assessment": "narrative",
    # References to types that the element does not take.
    "DeviceMetric/example": "reference",
    "DeviceUseStatement/example": "reference",
    "MedicationRequest/medrx0301": "reference",
    "Observation/clinical-gender": "reference",
    # sdf-4: a structure that is not abstract has a baseDefinition.
    "StructureDefinition/Definition": "invariant",
    "StructureDefinition/Event": "invariant",
    "StructureDefinition/FiveWs": "invariant",
    "StructureDefinition/Request": "invariant",
    # Media types whose parameters have blanks and slashes without quotes: RFC 2045 §5.1.
    "Bundle/b0a5e4277-83c4-4adb-87e2-e3efe3369b6f": "code",
}
# Kinds that lack what their type requires: Questionnaires without linkId, SearchParameters of extensions without a base
# and with an id of more than 64 characters, the package's ImplementationGuide.
UNFINISHED = {"Questionnaire", "SearchParameter", "ImplementationGuide"}


@pytest.fixture(scope="module")
def examples(request) -> list[tuple[str, dict]]:
    """All that are resources: what each is called, and the resource."""
    parsed = [parse(content) for _, content in chosen(request.config.getoption("--fhir-examples"))]
    return [(f"{one['resourceType']}/{one.get('id', '')}", one) for one in parsed if "resourceType" in one]


def test_every_example_is_right(examples):
    found, expected = {}, {}
    for name, resource in examples:
        issues = check(resource)
        told = {issue.rule.value for issue in issues}
        is_unfinished = resource["resourceType"] in UNFINISHED and told <= {"required", "value"}
        if told and not is_unfinished:
            found[name] = told
        if name in WRONG:
            expected[name] = {WRONG[name]}
    assert found == expected
    assert len(examples) >= 280


def test_every_example_comes_back_from_json_and_xml(examples):
    for name, resource in examples:
        assert spelled(parse(write(resource))) == spelled(resource), name
        assert spelled(parse_xml(write_xml(resource))) == spelled(resource), name
