"""HL7's own profiles are judged where a resource claims them (FHIR R4 §5.1, Meta.profile)."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.definitions.profiles import PREFIX, profile, profile_names
from fhir_bridge.document import parse
from fhir_bridge.resources import unknown_profiles
from fhir_bridge.validation.check import Mode, check
from fhir_bridge.validation.profiles import fits

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
VITAL = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
SYSTOLIC = {
    "code": {"coding": [{"system": LOINC, "code": "8480-6"}]},
    "valueQuantity": {"value": 107, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
}
DIASTOLIC = SYSTOLIC | {"code": {"coding": [{"system": LOINC, "code": "8462-4"}]}}
VS_1 = "if Observation.effective[x] is dateTime and has a value then that value shall be precise to the day"
OTHER_UNIT = {"valueQuantity": SYSTOLIC["valueQuantity"] | {"code": "kPa"}}
PRESSURE = {
    "resourceType": "Observation",
    "meta": {"profile": [f"{PREFIX}bp"]},
    "status": "final",
    "category": [{"coding": [VITAL]}],
    "code": {"coding": [{"system": LOINC, "code": "85354-9"}, {"system": "urn:x", "code": "bp"}]},
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2020-09-17",
    "component": [SYSTOLIC, DIASTOLIC],
}
WEIGHT = {name: value for name, value in PRESSURE.items() if name != "component"} | {
    "meta": {"profile": [f"{PREFIX}bodyweight|4.0.1"]},
    "code": {"coding": [{"system": LOINC, "code": "29463-7"}]},
    "valueQuantity": {"value": 71.5, "unit": "kg", "system": UCUM, "code": "kg"},
}


def told(body: dict, mode: Mode = Mode.STRICT, asked: str = "") -> list[tuple[str, str, str]]:
    return [
        (one.rule, one.expression, one.expected) for one in check(parse(json.dumps(body).encode()), mode, asked=asked)
    ]


def claims(body: dict) -> list[tuple[str, str]]:
    """Place and reason of all that is wrong; nothing else may be."""
    found = told(body)
    assert {rule for rule, _, _ in found} <= {"claim"}
    return [(place, reason) for _, place, reason in found]


@pytest.mark.parametrize(
    ("value", "is_bound"),
    [
        ({"valueInteger": 15}, False),
        ({"valueBoolean": True}, False),
        ({"valueDateTime": "2020-09-17"}, False),
        ({"valueTime": "10:00:00"}, False),
        ({"valueRange": {"low": {"value": 1}}}, False),
        ({"valueString": "sitting"}, True),
        ({"valueCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": "33586001"}]}}, True),
        ({"valueQuantity": {"value": 1, "unit": "stone", "system": UCUM, "code": "[stone_av]"}}, True),
    ],
)
def test_a_binding_of_a_choice_is_of_the_types_that_may_have_one(value, is_bound):
    """StructureDefinition/vitalsigns binds component.value[x]; ElementDefinition eld-11 says of which types that is."""
    body = PRESSURE | {
        "meta": {"profile": [f"{PREFIX}vitalsigns"]},
        "component": [SYSTOLIC, DIASTOLIC, {"code": {"text": "more"}} | value],
    }
    reasons = [reason for _, reason in claims(body)]
    assert reasons == (["vitalsigns: http://hl7.org/fhir/ValueSet/ucum-vitals-common"] if is_bound else [])


def without(body: dict, name: str) -> dict:
    return {key: value for key, value in body.items() if key != name}


def test_what_keeps_its_profile_is_right():
    assert told(PRESSURE) == told(WEIGHT) == []
    absent = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}]}
    no_value = without(DIASTOLIC, "valueQuantity") | {"dataAbsentReason": absent}
    assert told(PRESSURE | {"component": [no_value, SYSTOLIC, SYSTOLIC | {"code": {"text": "mean"}}]}) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # Cardinality (StructureDefinition/vitalsigns): subject, effective[x] 1..1.
        (without(WEIGHT, "subject"), [("Observation.subject", "bodyweight: 1..")]),
        (without(WEIGHT, "effectiveDateTime"), [("Observation.effective", "bodyweight: 1..")]),
        # Types that are left of a choice, and of what is referred to.
        (
            without(WEIGHT, "effectiveDateTime") | {"effectiveInstant": "2020-09-17T10:00:00Z"},
            [("Observation.effective.ofType(instant)", "bodyweight: dateTime | Period")],
        ),
        (WEIGHT | {"subject": {"reference": "Group/g"}}, [("Observation.subject", "bodyweight: Reference(Patient)")]),
        # Slices by value: the category, the code.
        (WEIGHT | {"category": [{"text": "vital"}]}, [("Observation.category", "bodyweight: VSCat 1..1")]),
        (WEIGHT | {"category": [{"coding": [VITAL]}] * 2}, [("Observation.category", "bodyweight: VSCat 1..1")]),
        (WEIGHT | {"code": {"text": "weight"}}, [("Observation.code.coding", "bodyweight: BodyWeightCode 1..1")]),
        (
            WEIGHT | {"code": {"coding": [{"system": "urn:x", "code": "29463-7"}]}},
            [("Observation.code.coding", "bodyweight: BodyWeightCode 1..1")],
        ),
        # A slice by type, closed: no other value.
        (
            without(WEIGHT, "valueQuantity") | {"valueString": "71 kg"},
            [
                ("Observation.value.ofType(string)", "bodyweight: Quantity"),
                ("Observation.value.ofType(string)", "bodyweight: valueQuantity"),
            ],
        ),
        # Within a slice: a fixed value, a required binding, a value that must be there.
        (
            WEIGHT | {"valueQuantity": {"value": 71.5, "system": "urn:x", "code": "stone"}},
            [
                ("Observation.value.ofType(Quantity).unit", "bodyweight: 1.."),
                ("Observation.value.ofType(Quantity).system", f"bodyweight: {UCUM}"),
                ("Observation.value.ofType(Quantity).code", "bodyweight: http://hl7.org/fhir/ValueSet/ucum-bodyweight"),
            ],
        ),
        # A rule of its own (vs-1).
        (
            WEIGHT | {"effectiveDateTime": "2020"},
            [
                (
                    "Observation.effective.ofType(dateTime)",
                    f"bodyweight: vs-1: {VS_1}",
                )
            ],
        ),
        # Slices of a repeated element, two levels deep: each has its own code.
        (PRESSURE | {"component": [SYSTOLIC] * 2}, [
            ("Observation.component", "bp: SystolicBP 1..1"),
            ("Observation.component", "bp: DiastolicBP 1..1"),
        ]),
        (PRESSURE | {"component": [SYSTOLIC]}, [
            ("Observation.component", "bp: 2.."),
            ("Observation.component", "bp: DiastolicBP 1..1"),
        ]),
        (
            PRESSURE | {"component": [SYSTOLIC, DIASTOLIC | OTHER_UNIT]},
            [
                ("Observation.component[1].value.ofType(Quantity).code", "bp: mm[Hg]"),
            ],
        ),
        # A profile of another type.
        (
            {"resourceType": "Basic", "code": {"text": "x"}, "meta": {"profile": [f"{PREFIX}bp"]}},
            [("Basic.meta.profile[0]", "bp: Observation")],
        ),
    ],
)  # fmt: skip
def test_what_a_profile_asks_for_is_missed_where_it_should_be(body, expected):
    found = claims(body)
    # Of a code within no list, the place is told once for each element that binds it.
    assert [one for one in dict.fromkeys(found) if "ucum-vitals-common" not in one[1]] == expected


def test_only_what_is_claimed_or_asked_for_is_judged_and_only_by_strict_nodes():
    plain = without(WEIGHT | {"category": [{"text": "x"}]}, "meta")
    assert told(plain) == []
    assert told(plain, asked=f"{PREFIX}bodyweight") == [("claim", "Observation.category", "bodyweight: VSCat 1..1")]
    assert told(plain | {"meta": {"profile": ["http://x.example/bodyweight", f"{PREFIX}bodyweight|5.0.0"]}}) == []
    assert told(plain | {"meta": {"profile": [f"{PREFIX}bodyweight"]}}, Mode.LENIENT) == []


def test_fixed_values_are_whole_and_patterns_are_contained():
    """ElementDefinition.fixed[x], pattern[x]: triglyceride has a pattern for its code, catalog a fixed type."""
    code = {"system": LOINC, "code": "35217-9", "display": "Triglyceride [Moles/\u200bvolume] in Serum or Plasma"}
    body = {
        "resourceType": "Observation",
        "meta": {"profile": [f"{PREFIX}triglyceride"]},
        "status": "final",
        "code": {"coding": [{"system": "urn:x", "code": "tg"}, code], "text": "TG"},
        "referenceRange": [{"high": {"value": 2.0}}],
    }
    places = [place for place, _ in claims(body)]
    assert "Observation.code" not in places
    assert "Observation.code" in [place for place, _ in claims(body | {"code": {"coding": [code | {"code": "x"}]}})]
    assert fits(parse(b'{"a":4.50}')["a"], 4.5, is_whole=True)
    assert not fits({"text": "Catalog", "id": "x"}, {"text": "Catalog"}, is_whole=True)
    assert fits({"text": "Catalog", "id": "x"}, {"text": "Catalog"}, is_whole=False)
    assert not fits([1], [1, 1], is_whole=True)
    assert fits(["a", "b"], ["a", "b"], is_whole=True)


def test_a_slice_of_an_extension_is_known_by_its_url():
    """StructureDefinition/cdshooksguidanceresponse: extension:cdsHooksEndpoint 1..1."""
    body = {
        "resourceType": "GuidanceResponse",
        "meta": {"profile": [f"{PREFIX}cdshooksguidanceresponse"]},
        "requestIdentifier": {"value": "1"},
        "identifier": [{"value": "1"}],
        "moduleUri": "http://x.example/m",
        "status": "success",
    }
    assert claims(body) == [("GuidanceResponse.extension", "cdshooksguidanceresponse: cdsHooksEndpoint 1..1")]
    endpoint = {"url": f"{PREFIX}cqf-cdsHooksEndpoint", "valueUri": "http://x.example/hook"}
    assert claims(body | {"extension": [{"url": "http://x.example/e", "valueCode": "a"}, endpoint]}) == []


def test_a_profile_claimed_again_and_again_is_judged_once():
    many = WEIGHT | {"meta": {"profile": [f"{PREFIX}bodyweight"] * 5_000}}
    assert len(told(without(many, "subject"))) == 1
    wrong = PRESSURE | {"component": [SYSTOLIC | {"valueQuantity": {"value": 1}} for _ in range(3_000)]}
    assert len(told(wrong)) == 50


def test_what_stands_inside_a_resource_is_judged_by_what_it_claims_itself():
    """Meta.profile is an assertion of the resource that has it, contained ones and those of a Bundle as well."""
    wrong = without(WEIGHT, "subject")
    reason = "bodyweight: 1.."
    held = wrong | {"id": "w"}
    report = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "x"}, "contained": [held]}
    report |= {"result": [{"reference": "#w"}]}
    assert claims(report) == [("DiagnosticReport.contained[0].subject", reason)]
    entries = [
        {"fullUrl": f"http://x.example/{row}", "resource": one} for row, one in enumerate((WEIGHT, report, wrong))
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    assert claims(bundle) == [
        ("Bundle.entry[1].resource.contained[0].subject", reason),
        ("Bundle.entry[2].resource.subject", reason),
    ]
    assert told(bundle, Mode.LENIENT) == []
    unknown = [{"resource": {"resourceType": "Basic", "meta": {"profile": ["http://x.example/p", f"{PREFIX}Basic"]}}}]
    (warned,) = unknown_profiles({"resourceType": "Bundle", "entry": unknown})
    assert (warned.expression, warned.severity) == ("Bundle.entry[0].resource.meta.profile[0]", "warning")


def test_every_profile_that_is_carried_can_be_read():
    assert len(profile_names()) == 42
    for name in profile_names():
        known = profile(PREFIX + name)
        assert (known.name, known.root.name) == (name, "")
    # Its slices are told apart by what references point to.
    assert profile(f"{PREFIX}lipidprofile") is None
