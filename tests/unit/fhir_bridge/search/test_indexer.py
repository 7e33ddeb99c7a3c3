"""Index rows of resources, reckoned by hand from the specification's tables."""

from __future__ import annotations

import hashlib
from datetime import timedelta, timezone
from decimal import Decimal
from math import inf, nextafter

import pytest

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import ParameterType, SearchParameter, parameters_of
from fhir_bridge.search.cells import Variant
from fhir_bridge.search.indexer import VARIANTS, Indexer, Part, composite_parts, parts_of, prepare
from fhir_bridge.search.owner import SEVERAL, owner_of
from fhir_bridge.search.paths import routes
from fhir_bridge.search.values import Setting
from medchain.dates import END, span_of
from medchain.errors import InputError

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
CHINA = timezone(timedelta(hours=8))
HERE = Setting(CHINA, bases=frozenset({"https://node.example/fhir"}))


def rows(resource, *codes: str, variant=0, setting=HERE, custom=()):
    """Index a resource; the rows of some parameters without their number, and without saying whose they are."""
    names = sorted(parameters_of(resource["resourceType"])) + [one.code for one in custom]
    indexer = Indexer(resource["resourceType"], names.index, custom=custom, setting=setting)
    wanted = {names.index(code) * VARIANTS + variant for code in codes}
    found = [row[1:] for row in indexer.rows(resource) if row[0] in wanted]
    return [row if row[4] is not None else (*row[:3], None, None) for row in found]


def owners(resource):
    """Tell whose rows the rows of a resource are that have no numbers of their own."""
    names = sorted(parameters_of(resource["resourceType"]))
    return {row[4] for row in Indexer(resource["resourceType"], names.index).rows(resource) if row[5] is None}


def patient(**members: object):
    return {"resourceType": "Patient", **members}


def observation(**members: object):
    return {"resourceType": "Observation", **members}


def test_a_concept_is_found_by_each_coding_and_by_its_words():
    code = {
        "coding": [{"system": LOINC, "code": "8480-6", "display": "Systolic"}, {"code": "Local"}, {"system": "urn:s"}],
        "text": "Systolic BP!",
    }
    assert rows(observation(code=code), "code") == [
        (0, "8480-6", LOINC, None, None),
        (0, "local", "", None, None),
        (0, "", "urn:s", None, None),
    ]
    assert {row[1] for row in rows(observation(code=code), "code", variant=1)} == {"systolic", "systolic bp"}


def test_a_code_has_the_system_of_its_binding():
    assert rows(patient(gender="male"), "gender") == [
        (0, "male", "http://hl7.org/fhir/administrative-gender", None, None)
    ]


def test_a_truth_value_is_a_code():
    assert rows(patient(active=False), "active") == [(0, "false", "", None, None)]
    assert rows(patient(deceasedDateTime="2020"), "deceased") == [(0, "true", "", None, None)]


def test_an_identifier_is_found_by_system_by_type_and_by_the_words_of_its_type():
    kind = {"coding": [{"system": "urn:t", "code": "MR"}], "text": "Medical record"}
    one = patient(identifier=[{"system": "urn:s", "value": "A1", "type": kind}])
    assert rows(one, "identifier") == [(1, "a1", "urn:s", None, None)]
    assert rows(one, "identifier", variant=2) == [(1, "a1", "urn:t|MR", None, None)]
    assert rows(one, "identifier", variant=1) == [(1, "medical record", "", None, None)]


def test_a_telephone_number_is_found_with_and_without_its_signs():
    one = patient(telecom=[{"system": "phone", "value": "+86 (10) 5555-1234"}, {"system": "email", "value": "A@b.cn"}])
    signed, plain, address = ("+86 (10) 5555-1234", "phone"), ("+861055551234", "phone"), ("a@b.cn", "email")
    assert {row[1:3] for row in rows(one, "telecom")} == {signed, plain, address}
    assert {row[1:3] for row in rows(one, "phone")} == {signed, plain}
    assert {row[1:3] for row in rows(one, "email")} == {address}


def test_a_name_is_found_by_every_part_and_by_the_words_of_its_family_name():
    one = patient(name=[{"family": "Carreno Quinones", "given": ["María"], "prefix": ["Dr."], "use": "official"}])
    assert {row[1].partition("\x01")[0] for row in rows(one, "name")} == {"carreno quinones", "quinones", "maria", "dr"}
    assert {row[1].partition("\x01")[0] for row in rows(one, "family")} == {"carreno quinones", "quinones"}
    assert {row[1].partition("\x01")[0] for row in rows(one, "given")} == {"maria"}


def test_a_chinese_name_is_found_whole_and_by_pinyin():
    one = patient(name=[{"family": "王", "given": ["小明"]}])
    assert {row[1] for row in rows(one, "name")} == {
        "王",
        "wang",
        "小明",
        "xiaoming",
        "xm",
        "王小明",
        "wangxiaoming",
        "wxm",
    }
    assert {row[1] for row in rows(one, "family")} == {"王", "wang"}


def test_an_address_is_found_by_every_text():
    one = patient(address=[{"line": ["1 Main St."], "city": "Lyon", "use": "home", "text": "Lyon"}])
    assert {row[1].partition("\x01")[0] for row in rows(one, "address")} == {"1 main st", "lyon"}
    assert {row[1].partition("\x01")[0] for row in rows(one, "address-city")} == {"lyon"}


def test_a_date_is_a_range_in_the_zone_of_the_node():
    assert rows(patient(birthDate="1970-03-30"), "birthdate") == [(0, "", "", *span_of("1970-03-30", CHINA))]


def test_a_long_range_of_time_has_a_key_of_its_own():
    one = observation(effectivePeriod={"start": "2013-01-01T00:00:00Z"})
    assert rows(one, "date") == [(0, "~", "", span_of("2013-01-01T00:00:00Z").low, END)]
    assert rows(patient(birthDate="1970-03"), "birthdate")[0][1] == "~"


def test_a_text_in_the_place_of_a_date_has_no_row():
    assert rows({"resourceType": "Immunization", "occurrenceString": "last year"}, "date") == []


def test_a_number_is_a_point_and_a_range_is_one():
    one = {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": Decimal("0.02")}]}
    assert rows(one, "probability") == [(1, "", "", 0.02, 0.02)]
    one["prediction"] = [{"probabilityRange": {"low": {"value": 0.1}}}]
    assert rows(one, "probability") == [(1, "", "", 0.1, inf)]


def test_a_number_that_no_double_says_has_what_is_left_beside_it():
    """Its double, 0.1, is 1e-22 too small."""
    one = observation(valueQuantity={"value": Decimal("0.1000000000000000000001"), "system": UCUM, "code": "m"})
    assert rows(one, "value-quantity") == rows(one, "value-quantity", variant=4) == []
    assert rows(one, "value-quantity", variant=5) == [(0, "m", UCUM, 0.1, 1e-22)]
    assert rows(one, "value-quantity", variant=6) == [(0, "m", "", 0.1, 1e-22)]


def test_a_quantity_is_found_by_its_unit_by_its_word_and_in_base_units():
    one = observation(valueQuantity={"value": Decimal("5.4"), "unit": "mg per dL", "system": UCUM, "code": "mg/dL"})
    assert rows(one, "value-quantity") == [(0, "mg/dL", UCUM, 5.4, 5.4), (0, "mg per dL", "", 5.4, 5.4)]
    assert rows(one, "value-quantity", variant=4) == [(0, "g.m-3", "", 54.0, 54.0)]


@pytest.mark.parametrize(
    ("comparator", "low", "high"),
    [("<", -inf, nextafter(5.0, 0)), ("<=", -inf, 5.0), (">", nextafter(5.0, 9), inf), (">=", 5.0, inf)],
)
def test_a_quantity_with_a_comparator_is_open_on_one_side(comparator, low, high):
    one = observation(valueQuantity={"value": 5, "comparator": comparator, "system": UCUM, "code": "m"})
    assert rows(one, "value-quantity") == [(0, "m", UCUM, low, high)]
    assert rows(one, "value-quantity", variant=4) == [(0, "m", "", low, high)]


def test_an_unknown_unit_keeps_its_words():
    one = observation(valueQuantity={"value": 2, "unit": "tablets"})
    assert rows(one, "value-quantity") == [(0, "tablets", "", 2.0, 2.0)]
    assert rows(one, "value-quantity", variant=4) == []


def test_sampled_data_is_the_range_of_its_limits():
    data = {"origin": {"value": 1, "system": UCUM, "code": "mV"}, "lowerLimit": -3, "upperLimit": 3}
    assert rows(observation(valueSampledData=data), "value-quantity")[0][3:] == (-3.0, 3.0)
    del data["lowerLimit"]
    assert rows(observation(valueSampledData=data), "value-quantity")[0][3:] == (1.0, 3.0)


def test_money_has_its_currency_for_a_unit():
    one = {"resourceType": "Invoice", "totalNet": {"value": Decimal("40.22"), "currency": "CNY"}}
    assert rows(one, "totalnet") == [(0, "CNY", "urn:iso:std:iso:4217", 40.22, 40.22)]


def test_a_range_of_quantities_has_the_unit_of_its_ends():
    one = {"resourceType": "Condition", "onsetRange": {"high": {"value": 50, "system": UCUM, "code": "a"}}}
    assert rows(one, "onset-age") == [(0, "a", UCUM, -inf, 50.0)]


@pytest.mark.parametrize(
    ("reference", "row"),
    [
        ("Patient/23", ("Patient/23", "")),
        ("Patient/23/_history/2", ("Patient/23", "2")),
        ("https://node.example/fhir/Patient/23", ("Patient/23", "")),
        ("https://other.example/fhir/Patient/23/_history/4", ("https://other.example/fhir/Patient/23", "4")),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "")),
    ],
)
def test_a_reference_is_found_by_where_it_points(reference, row):
    assert rows(observation(subject={"reference": reference}), "subject") == [(0, *row, None, None)]


def test_a_reference_to_a_contained_resource_or_of_another_type_is_not_found():
    assert rows(observation(subject={"reference": "#p"}), "subject") == []
    assert rows(observation(subject={"reference": "Group/1"}), "patient") == []


def test_a_reference_is_found_by_its_identifier():
    one = observation(subject={"identifier": {"system": "urn:mrn", "value": "X9"}})
    assert rows(one, "subject", variant=3) == [(0, "x9", "urn:mrn", None, None)]


def test_a_canonical_stands_apart_from_its_version():
    one = {"resourceType": "QuestionnaireResponse", "questionnaire": "http://x.example/Questionnaire/q|1.2#part"}
    assert rows(one, "questionnaire") == [(0, "http://x.example/Questionnaire/q", "1.2", None, None)]


def test_a_uri_is_to_the_letter():
    one = {"resourceType": "ValueSet", "url": "http://Acme.example/VS/123"}
    assert rows(one, "url") == [(0, "http://Acme.example/VS/123", "", None, None)]


def test_an_attachment_is_found_as_a_reference_by_its_address():
    one = {"resourceType": "Consent", "sourceAttachment": {"url": "https://x.example/doc"}}
    assert rows(one, "source-reference") == [(0, "https://x.example/doc", "", None, None)]


def test_the_first_entry_of_a_document_is_its_composition():
    one = {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Composition", "id": "c"}}]}
    assert rows(one, "composition") == [(0, "Composition/c", "", None, None)]


def test_a_place_is_latitude_and_longitude():
    one = {"resourceType": "Location", "position": {"latitude": Decimal("39.9"), "longitude": Decimal("116.4")}}
    assert rows(one, "near") == [(0, "", "", 39.9, 116.4)]


def test_what_stands_in_columns_of_the_resource_has_no_row():
    assert rows({"resourceType": "Patient", "id": "1", "meta": {"lastUpdated": "2020-01-01T00:00:00Z"}}, "_id") == []


def test_no_row_stands_twice():
    coding = {"system": LOINC, "code": "1"}
    assert len(rows(observation(code={"coding": [coding, coding]}), "code")) == 1


def test_a_custom_parameter_is_indexed_and_may_take_the_place_of_another():
    custom = SearchParameter(
        *("urn:p", "race", ParameterType.TOKEN, ("Patient",), "Patient.extension('urn:race').value.ofType(Coding)"),
        *((), (), True, True, (), (), ()),
    )
    one = patient(extension=[{"url": "urn:race", "valueCoding": {"code": "X"}}])
    assert rows(one, "race", custom=[custom]) == [(1, "x", "", None, None)]


@pytest.mark.parametrize(
    "value",
    [None, 1, "x", [], {}, {"coding": 3}, {"coding": [None, {"code": 4}]}, {"value": "x"}, {"value": True}, [[{}]]],
)
def test_an_element_of_another_shape_has_no_row_and_no_error(value):
    for type_name in ("Observation", "Patient", "Invoice", "Location", "Condition", "CarePlan", "RiskAssessment"):
        names = sorted(parameters_of(type_name))
        indexer = Indexer(type_name, names.index)
        members = {
            *(
                "code",
                "valueQuantity",
                "valueSampledData",
                "subject",
                "identifier",
                "telecom",
                "name",
                "address",
                "totalNet",
            ),
            *(
                "position",
                "onsetRange",
                "effectivePeriod",
                "effectiveTiming",
                "birthDate",
                "gender",
                "active",
                "component",
            ),
        }
        indexer.rows({"resourceType": type_name, **dict.fromkeys(members, value)})


def test_the_examples_give_rows_of_plain_values(examples):
    indexers = {}
    for resource in examples:
        type_name = resource["resourceType"]
        if type_name not in indexers:
            indexers[type_name] = Indexer(type_name, sorted(parameters_of(type_name)).index)
        for number, place, key, detail, low, high in indexers[type_name].rows(resource):
            assert number >= 0
            assert place >= 0
            assert isinstance(key, str)
            assert isinstance(detail, str)
            assert high is None or low is not None
            # Of a place these are latitude and longitude, of a long number its double and the rest.
            is_range = type_name != "Location" and number % VARIANTS not in (Variant.LONG, Variant.LONG_CANONICAL)
            assert high is None or low <= high or not is_range


@pytest.mark.parametrize(
    ("type_name", "code", "parts"),
    [
        ("Observation", "code-value-quantity", (Part("code", in_place=True), Part("value-quantity", in_place=True))),
        ("Group", "characteristic-value", (Part("characteristic", in_place=True), Part("value", in_place=True))),
        ("DocumentReference", "relationship", (Part("relatesto", in_place=True), Part("relation", in_place=True))),
        (
            "MolecularSequence",
            "referenceseqid-variant-coordinate",
            (
                Part("referenceseqid", in_place=False),
                Part("variant-start", in_place=True),
                Part("variant-end", in_place=True),
            ),
        ),
    ],
)
def test_the_parts_of_a_composite_are_answered_by_other_parameters(type_name, code, parts):
    assert composite_parts(type_name, code) == parts


def test_every_composite_of_r4_is_answered():
    for type_name in type_names("resource"):
        for code, one in parameters_of(type_name).items():
            if one.type is ParameterType.COMPOSITE:
                assert len(composite_parts(type_name, code)) == len(one.components)


def test_a_composite_whose_part_no_parameter_has_is_refused():
    known = dict(parameters_of("Observation"))
    composite = known["code-value-quantity"]
    del known["value-quantity"]
    with pytest.raises(InputError, match=r"search\.composite"):
        parts_of(composite, "Observation", known)


def test_rows_say_to_which_patient_their_resource_refers():
    about = {"subject": {"reference": "Patient/a"}, "status": "final"}
    assert owners(observation(**about)) == {owner_of("Patient/a")}
    assert owners(observation(**about, performer=[{"reference": "Patient/a"}])) == {owner_of("Patient/a")}
    assert owners(observation(**about, performer=[{"reference": "Patient/b"}])) == {SEVERAL}
    assert owners(observation(status="final", subject={"reference": "Group/a"})) == {None}
    assert owners(patient(id="a", gender="male")) == {SEVERAL}
    assert owners(patient(id="a", gender="male", link=[{"other": {"reference": "Patient/b"}}])) == {SEVERAL}


def test_an_owner_is_a_number_of_24_bits_from_one():
    """BLAKE2b with a digest of three bytes, RFC 7693."""
    assert owner_of("Patient/23") == 1 + int(hashlib.blake2b(b"Patient/23", digest_size=3).hexdigest(), 16)


def test_a_resource_says_of_which_types_it_contains_some():
    """FHIR R4 §3.1.1.5.5; what is contained has no rows of its own."""
    indexer = Indexer("MedicationRequest", lambda _code: 1, contained=9)
    held = [
        {"resourceType": "Medication", "id": "m"},
        {"resourceType": "Medication", "id": "n"},
        {"resourceType": "No"},
    ]
    resource = {"resourceType": "MedicationRequest", "contained": [*held, 5, {"id": "x"}]}
    assert indexer.rows(resource) == [(9 * VARIANTS, 0, "Medication", "", None, None)]
    assert indexer.rows(resource | {"contained": "x"}) == []


def test_all_of_hl7s_parameters_are_laid_out_before_a_resource_is_there():
    """In processes that are forked from the one that has prepared, nothing of it is laid out again."""
    routes.cache_clear()
    assert sum(1 for _ in prepare()) == len(type_names("resource"))
    made = routes.cache_info()
    for name in type_names("resource"):
        Indexer(name, lambda _code: 1)
    assert routes.cache_info().misses == made.misses == made.currsize
