"""Searches as they are asked, with the examples and rules of FHIR R4 §3.1.1."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta, timezone
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.definitions.parameters import ParameterType
from fhir_bridge.search.conditions import MAX_LINKS, MAX_VALUES, Context
from fhir_bridge.search.query import MAX_PARAMETERS, parse_query
from fhir_bridge.search.terms import (
    CompositeTerm,
    DateTerm,
    Modifier,
    NearTerm,
    NumberTerm,
    OfTypeTerm,
    Prefix,
    QuantityTerm,
    ReferenceTerm,
    SetTerm,
    StringTerm,
    TokenTerm,
    UriTerm,
)
from fhir_bridge.search.text import MAX_KEY_CHARS
from fhir_bridge.search.tree import (
    Chain,
    Contained,
    ContainedType,
    Criterion,
    Has,
    Include,
    Listed,
    Problem,
    Summary,
    Total,
)
from medchain.dates import span_of
from medchain.errors import InputError

UCUM = "http://unitsofmeasure.org"
CHINA = timezone(timedelta(hours=8))


def asked(text, **options: object):
    """Parse `Type?query`."""
    type_name, _, query = text.partition("?")
    return parse_query(parse_qsl(query, keep_blank_values=True), type_name, Context(**options))


def only(text, **options: object):
    """Parse a query of one condition."""
    (condition,) = asked(text, **options).conditions
    return condition


def terms(text, **options: object):
    return only(text, **options).terms


def refused(text, **options: object):
    with pytest.raises(InputError) as caught:
        asked(text, **options)
    return caught.value.code, caught.value.fields


@pytest.mark.parametrize(
    ("text", "term"),
    [
        # §3.1.1.4.10
        ("Condition?code=ha125", TokenTerm(None, "ha125")),
        ("Condition?code=http://acme.org/codes|ha125", TokenTerm("http://acme.org/codes", "ha125")),
        ("Condition?code=|ha125", TokenTerm("", "ha125")),
        ("Condition?code=http://acme.org/codes|", TokenTerm("http://acme.org/codes", None)),
        ("Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|446053",
         OfTypeTerm("http://terminology.hl7.org/CodeSystem/v2-0203", "MR", "446053")),
        ("Condition?code:text=headache", StringTerm("headache")),
        ("Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender",
         SetTerm((("http://hl7.org/fhir/administrative-gender", ("female", "male", "other", "unknown")),))),
        ("Patient?_id=23", TokenTerm(None, "23")),
        # §3.1.1.4.8
        ("Patient?given=eve", StringTerm("eve")),
        ("Patient?given:exact=Eve", StringTerm("Eve")),
        # §3.1.1.4.9
        ("ValueSet?url:below=http://acme.org/fhir/", UriTerm("http://acme.org/fhir/", "")),
        ("ValueSet?url=urn:oid:1.2.3.4.5", UriTerm("urn:oid:1.2.3.4.5", "")),
        # §3.1.1.4.12, §3.1.1.4.13
        ("Observation?subject=Patient/23", ReferenceTerm(("Patient/23",), "")),
        ("Observation?subject:Patient=23", ReferenceTerm(("Patient/23",), "")),
        ("Observation?patient=23", ReferenceTerm(("Patient/23",), "")),
        ("Observation?subject=23", ReferenceTerm(("Device/23", "Group/23", "Location/23", "Patient/23"), "")),
        ("Observation?subject=http://x.example/Patient/23", ReferenceTerm(("http://x.example/Patient/23",), "")),
        ("Observation?subject=Patient/23/_history/4", ReferenceTerm(("Patient/23",), "4")),
        ("Observation?subject:identifier=http://acme.org/fhir/identifier/mrn|123456",
         TokenTerm("http://acme.org/fhir/identifier/mrn", "123456")),
        ("QuestionnaireResponse?questionnaire=http://x.example/q|1.0", ReferenceTerm(("http://x.example/q",), "1.0")),
        # §3.1.1.4.7
        ("Observation?date=2013-01-14", DateTerm(Prefix.EQ, span_of("2013-01-14"))),
        ("Observation?date=lt2013-01-14T10:00", DateTerm(Prefix.LT, span_of("2013-01-14T10:00"))),
        ("Observation?date=ap2013", DateTerm(Prefix.AP, span_of("2013"))),
        ("Observation?date=sa2013-03-14T01:02:03+08:00", DateTerm(Prefix.SA, span_of("2013-03-14T01:02:03+08:00"))),
        # Location, near
        ("Location?near=42.256500|-83.694810|11.20|km",
         NearTerm(Decimal("42.256500"), Decimal("-83.694810"), Decimal("11200.00"))),
        ("Location?near=1|2", NearTerm(Decimal(1), Decimal(2), None)),
        ("Location?near=1|2|1|[mi_i]", NearTerm(Decimal(1), Decimal(2), Decimal("1609.344"))),
    ],
)  # fmt: skip
def test_a_value_is_read_by_the_type_of_its_parameter(text, term):
    assert terms(text) == (term,)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        # The table of §3.1.1.4.6, and the examples of §3.1.1.4.11
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("1e2", "95", "105"),
        ("1.00e2", "99.5", "100.5"),
        ("5.4", "5.35", "5.45"),
        ("5.40e-3", "0.005395", "0.005405"),
        ("-2.0", "-2.05", "-1.95"),
    ],
)
def test_the_digits_of_a_number_imply_a_range(value, low, high):
    (term,) = terms(f"RiskAssessment?probability={value}")
    assert term == NumberTerm(Prefix.EQ, Decimal(value), Decimal(low), Decimal(high))


@pytest.mark.parametrize("prefix", list(Prefix))
def test_every_prefix_is_known(prefix):
    (term,) = terms(f"RiskAssessment?probability={prefix}0.8")
    assert (term.prefix, term.number) == (prefix, Decimal("0.8"))


@pytest.mark.parametrize(
    ("value", "system", "code"),
    [(f"5.4|{UCUM}|mg", UCUM, "mg"), ("5.4||mg", "", "mg"), ("5.4", "", "")],
)
def test_a_quantity_has_a_unit_or_none(value, system, code):
    (term,) = terms(f"Observation?value-quantity=le{value}")
    assert (term.number.prefix, term.number.number) == (Prefix.LE, Decimal("5.4"))
    assert (term.system, term.code) == (system, code)


def test_a_composite_has_a_value_for_each_part():
    (term,) = terms(f"Observation?code-value-quantity=http://loinc.org|2823-3$gt5.4|{UCUM}|mmol/L")
    assert isinstance(term, CompositeTerm)
    code, quantity = term.parts
    assert code == TokenTerm("http://loinc.org", "2823-3")
    assert isinstance(quantity, QuantityTerm)
    assert (quantity.number.prefix, quantity.code) == (Prefix.GT, "mmol/L")
    assert len(terms("Group?characteristic-value=gender$mixed,owner$Eve")) == 2


def test_a_composite_may_refer():
    (term,) = terms("DocumentReference?relationship=DocumentReference/1$replaces")
    assert term.parts == (ReferenceTerm(("DocumentReference/1",), ""), TokenTerm(None, "replaces"))


def test_or_is_in_a_value_and_and_in_its_repetition():
    """§3.1.1.4.17."""
    query = asked("Patient?language=FR,NL&language=EN")
    assert [one.terms for one in query.conditions] == [
        (TokenTerm(None, "FR"), TokenTerm(None, "NL")),
        (TokenTerm(None, "EN"),),
    ]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (r"a,b", [TokenTerm(None, "a"), TokenTerm(None, "b")]),
        (r"a\,b", [TokenTerm(None, "a,b")]),
        (r"a\|b", [TokenTerm(None, "a|b")]),
        (r"s\|t|b", [TokenTerm("s|t", "b")]),
        (r"a\$b", [TokenTerm(None, "a$b")]),
        (r"a\\,b", [TokenTerm(None, "a\\"), TokenTerm(None, "b")]),
        (r"a$b", [TokenTerm(None, "a$b")]),
        (r"a,,b,", [TokenTerm(None, "a"), TokenTerm(None, "b")]),
    ],
)
def test_separators_may_be_escaped(value, read):
    """§3.1.1.4.19."""
    assert list(terms(f"Observation?code={value}")) == read


@pytest.mark.parametrize("value", [r"xx\xx", "a\\", r"\n"])
def test_a_backslash_before_anything_else_is_illegal(value):
    code, fields = refused(f"Observation?code={value}")
    assert (code, fields["parameter"]) == ("search.escape", "code")


@pytest.mark.parametrize(("value", "missing"), [("true", True), ("false", False)])
def test_missing_asks_for_presence(value, missing):
    condition = only(f"Patient?gender:missing={value}")
    assert condition == Criterion("gender", ParameterType.TOKEN, Modifier.MISSING, (), missing=missing)


def test_a_modifier_is_kept():
    assert only("Patient?gender:not=male").modifier is Modifier.NOT
    assert only("Patient?name:contains=x").modifier is Modifier.CONTAINS
    assert only("Procedure?location:below=42").modifier is Modifier.BELOW


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient?name:not=x", "contains|exact|missing|text"),
        ("Condition?onset-date:text=1995", "missing"),
        ("Observation?code-value-quantity:missing=true", ""),
        ("Observation?code:exact=x", "above|below|in|missing|not|not-in|of-type|text"),
        ("Observation?patient:Group=1", "above|below|identifier|missing"),
        ("Patient?_sort:asc=name", ""),
        ("Patient?_include:recurse=Patient:link", "iterate"),
        ("Patient?_list:not=1", ""),
        ("Patient?_id:text=1", "missing|not"),
    ],
)
def test_an_unknown_modifier_is_refused_whatever_the_client_prefers(text, expected):
    """§3.1.1.4.4."""
    for strict in (True, False):
        code, fields = refused(text, strict=strict)
        assert (code, fields["expected"]) == ("search.modifier", expected)


def test_a_chain_goes_through_a_type():
    """§3.1.1.4.15."""
    name = Criterion("name", ParameterType.STRING, Modifier.NONE, (StringTerm("peter"),))
    assert only("DiagnosticReport?subject:Patient.name=peter") == Chain("subject", (("Patient", name),))


def test_a_chain_without_a_type_goes_through_each_that_has_the_parameter():
    found = only("DiagnosticReport?subject.name=peter")
    assert [name for name, _ in found.targets] == ["Location", "Patient"]


def test_a_chain_leaves_out_types_for_which_its_value_has_no_meaning():
    """A Device's `url` is a URI and a Location has none; `type` is a token for both."""
    found = only("Observation?subject.identifier:of-type=s|c|v")
    assert {name for name, _ in found.targets} == {"Device", "Group", "Location", "Patient"}


def test_a_chain_has_many_links():
    found = only("Observation?patient.organization.partof.name:exact=x")
    assert found.targets[0][1].targets[0][1].targets[0][1].modifier is Modifier.EXACT


def test_a_reverse_chain_asks_for_what_refers():
    """§3.1.1.4.16."""
    found = only("Patient?_has:Observation:patient:code=1234-5,6")
    code = Criterion("code", ParameterType.TOKEN, Modifier.NONE, (TokenTerm(None, "1234-5"), TokenTerm(None, "6")))
    assert found == Has("Observation", "patient", code)


def test_reverse_chains_nest_and_mix_with_chains():
    found = only("Patient?_has:Observation:patient:_has:AuditEvent:entity:agent-name=MyUserId")
    assert isinstance(found.condition, Has)
    found = only("Encounter?patient._has:Group:member:_id=102")
    assert isinstance(found.targets[0][1], Has)
    found = only("Patient?_has:Observation:patient:performer:Practitioner.name=x")
    assert isinstance(found.condition, Chain)


@pytest.mark.parametrize(
    ("text", "code", "parameter", "expected"),
    [
        ("Patient?general-practitioner.nmae=x", "search.chain", "nmae", "name"),
        ("Patient?general-practitioner:Practitioner.nmae=x", "search.chain", "nmae", "name"),
        ("Patient?name.given=x", "search.chain", "name", "a reference before the dot"),
        ("Observation?patient:Group.name=x", "search.chain", "patient", "Patient"),
        ("Patient?_has:Nothing:patient:code=x", "search.has", "_has", "_has:Type:reference:parameter"),
        ("Patient?_has:Observation:patient=x", "search.has", "_has", "_has:Type:reference:parameter"),
        ("Patient?_has:Observation:patnt:code=x", "search.has", "_has", "patient"),
        ("Patient?_has:Observation:patient:coed=x", "search.has", "coed", "code"),
        ("Patient?_has:Observation:encounter:code=x", "search.has", "_has", "Encounter"),
        ("Patient?_include=Patient:nothing", "search.include", "_include", ""),
        ("Patient?_include=Nothing:link", "search.include", "_include", "Type:parameter"),
        ("Patient?_include=Patient", "search.include", "_include", "Type:parameter"),
        ("Patient?_include=*:link", "search.include", "_include", "Type:parameter"),
        ("Observation?_include=Observation:subjct", "search.include", "_include", "subject"),
        ("Patient?_sort=brithdate", "search.sort", "_sort", "birthdate"),
        ("Observation?_sort=code-value-quantity", "search.sort", "_sort", "code-value-quantity"),
        ("Patient?_count=-1", "search.count", "_count", "a whole number"),
        ("Patient?_count=ten", "search.count", "_count", "a whole number"),
        ("Patient?_total=all", "search.value", "_total", "none|estimate|accurate"),
        ("Patient?_summary=yes", "search.value", "_summary", "true|text|data|count|false"),
        ("Patient?_contained=yes", "search.value", "_contained", "false|true|both"),
        ("Patient?_elements=na me", "search.elements", "_elements", "names of elements"),
        ("Patient?birthdate=23%20May%202009", "search.value", "birthdate", "yyyy-mm-ddThh:mm:ss+zz:zz"),
        ("RiskAssessment?probability=high", "search.value", "probability", "number"),
        ("Observation?value-quantity=5|mg", "search.value", "value-quantity", "number|system|code"),
        ("Observation?subject=Nothing/1", "search.value", "subject", "Type/id"),
        ("Observation?subject:Patient=Group/1", "search.value", "subject", "Patient/id"),
        ("Observation?subject=a b", "search.value", "subject", "Type/id"),
        ("Observation?code=|", "search.value", "code", "system|code"),
        ("Patient?identifier:of-type=a|b", "search.value", "identifier", "system|code|value"),
        ("Patient?gender:missing=yes", "search.value", "gender", "true|false"),
        ("Observation?code-value-quantity=x", "search.value", "code-value-quantity", "value$value"),
        ("Location?near=91|0", "search.value", "near", "latitude|longitude|distance|units"),
        ("Location?near=1|x", "search.value", "near", "latitude|longitude|distance|units"),
        ("Location?near=1||5", "search.value", "near", "latitude|longitude|distance|units"),
        ("Location?near=1|2|3|parsec", "search.value", "near", "latitude|longitude|distance|units"),
        ("Patient?_list=a b", "search.value", "_list", "id"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_would_be_right(text, code, parameter, expected):
    found, fields = refused(text)
    assert (found, fields["parameter"], fields["expected"]) == (code, parameter, expected)


@pytest.mark.parametrize(
    "text",
    [
        "Patient?_filter=name co x",
        "Patient?_query=name",
        "Patient?_text=a",
        "Patient?_content=a",
        "Observation?subject:Patient._text=a",
        "Patient?_has:Observation:patient:_content=a",
    ],
)
def test_what_would_change_the_answer_is_refused_even_leniently(text):
    assert refused(text)[0] == "search.unsupported"


@pytest.mark.parametrize("text", ["Patient?_count=1&_count=2", "Patient?_summary=true&_summary=data"])
def test_a_result_parameter_stands_once(text):
    assert refused(text)[0] == "search.repeated"


def test_an_unknown_parameter_is_passed_over_or_refused_as_the_client_prefers():
    """§3.1.1.3."""
    query = asked("Patient?nmae=peter&gender=male")
    assert query.problems == [Problem("nmae", "name")]
    assert query.used == [("gender", "male")]
    assert refused("Patient?nmae=peter", strict=True) == ("search.parameter", {"parameter": "nmae", "expected": "name"})


def test_a_name_that_may_say_more_than_a_name_is_not_repeated():
    assert asked("Patient?王小明 1970=x").problems == [Problem("", "")]
    assert refused("Patient?王小明=x", strict=True)[1]["parameter"] == ""


def test_an_empty_parameter_is_passed_over():
    """§3.1.1.3."""
    assert asked("Patient?name=&nothing=&_count=", strict=True).conditions == []


def test_what_others_understand_is_passed_on():
    assert asked("Patient?_format=json&_pretty=true", strict=True).used == [("_format", "json"), ("_pretty", "true")]


def test_the_answer_is_shaped():
    query = asked(
        "Patient?_sort=family,-birthdate,_lastUpdated&_count=20&_total=accurate&_summary=data&_elements=id,Patient.name"
        "&_contained=both&_containedType=contained"
    )
    assert [(key.code, key.descending) for key in query.sort] == [
        ("family", False),
        ("birthdate", True),
        ("_lastUpdated", False),
    ]
    assert (query.count, query.total, query.summary) == (20, Total.ACCURATE, Summary.DATA)
    assert query.elements == ["id", "name"]
    assert (query.contained, query.contained_type) == (Contained.BOTH, ContainedType.CONTAINED)


def test_a_count_of_nothing_asks_for_the_number_alone():
    """§3.1.1.5.3."""
    assert asked("Patient?_count=0").summary is Summary.COUNT


def test_a_summary_of_text_has_no_includes():
    """§3.1.1.5.8."""
    assert refused("Patient?_summary=text&_include=Patient:link")[0] == "search.summary"


@pytest.mark.parametrize(
    ("text", "include"),
    [
        ("_include=MedicationRequest:subject",
         Include("MedicationRequest", "subject", "", reverse=False, iterate=False)),
        ("_include=MedicationRequest:subject:Patient",
         Include("MedicationRequest", "subject", "Patient", reverse=False, iterate=False)),
        ("_include:iterate=MedicationRequest:requester",
         Include("MedicationRequest", "requester", "", reverse=False, iterate=True)),
        ("_revinclude=Provenance:target", Include("Provenance", "target", "", reverse=True, iterate=False)),
        ("_include=*", Include("", "", "", reverse=False, iterate=False)),
        ("_include=*:*", Include("", "", "", reverse=False, iterate=False)),
        ("_revinclude:iterate=Observation:*", Include("Observation", "", "", reverse=True, iterate=True)),
    ],
)  # fmt: skip
def test_an_include_names_a_join(text, include):
    """§3.1.1.5.4."""
    assert asked(f"MedicationRequest?{text}").includes == [include]


def test_an_include_of_a_type_that_the_reference_never_has_is_refused():
    assert refused("Observation?_include=Observation:subject:Medication")[0] == "search.include"


def test_a_list_is_named_by_id_or_by_what_it_is_for():
    """§3.1.1.4.22."""
    assert only("Patient?_list=42") == Listed(("42",))
    assert only("AllergyIntolerance?_list=$current-allergies,List/2") == Listed(("$current-allergies", "2"))


def test_a_search_of_several_types_has_the_parameters_that_all_of_them_have():
    """§3.1.1.4.24."""
    query = asked("?_type=Observation,Condition&code=x&_id=4")
    assert query.types == ("Observation", "Condition")
    assert [one.code for one in query.conditions] == ["code", "_id"]
    assert asked("?_type=Observation,Patient&code=x").problems == [Problem("code", "")]
    assert len(asked("?_lastUpdated=gt2020").types) == 146


@pytest.mark.parametrize("text", ["?_type=Nothing&_id=1", "Nothing?_id=1"])
def test_an_unknown_type_is_refused(text):
    assert refused(text)[0] == "search.type"


def test_a_parameter_that_differs_between_types_is_refused():
    """`type` is a token of Account and a URI of StructureDefinition."""
    assert refused("?_type=Account,StructureDefinition&type=x") == ("search.type", {"parameter": "type"})


def test_dates_and_references_depend_on_the_node():
    assert terms("Observation?date=2020", zone=CHINA) == (DateTerm(Prefix.EQ, span_of("2020", CHINA)),)
    bases = frozenset({"https://node.example/fhir"})
    assert terms("Observation?subject=https://node.example/fhir/Patient/1", bases=bases) == (
        ReferenceTerm(("Patient/1",), ""),
    )


def test_a_plus_that_came_as_a_blank_is_a_plus():
    assert terms("Observation?date=2013-03-14T01:02:03+08:00") == terms("Observation?date=2013-03-14T01:02:03%2B08:00")


def test_size_and_depth_are_bounded():
    assert refused("Patient?" + "&".join(["name=a"] * (MAX_PARAMETERS + 1)))[0] == "search.too_many"
    assert refused("Patient?name=" + ",".join("a" for _ in range(MAX_VALUES + 1)))[0] == "search.too_many"
    link = "part-of."
    assert refused(f"Procedure?{'part-of:Procedure.' * MAX_LINKS}code=x")[0] == "search.chain"
    assert isinstance(only(f"Observation?{'part-of:Procedure.'}{(link[:-1] + ':Procedure.') * 5}code=x"), Chain)


def test_an_error_never_repeats_a_value():
    for text in (
        "Patient?birthdate=SECRET",
        "Observation?value-quantity=SECRET",
        "Patient?_count=SECRET",
        "Patient?_sort=SECRET",
    ):
        assert "SECRET" not in str(refused(text))


NAMES = st.sampled_from(
    [
        "code",
        "subject",
        "date",
        "value-quantity",
        "_has",
        "_sort",
        "_include",
        "near",
        "_id",
        "patient",
        "name",
        "Observation",
    ]
)


@given(
    st.lists(
        st.tuples(
            st.lists(NAMES, min_size=1, max_size=5).flatmap(
                lambda parts: st.sampled_from([":", "."]).map(lambda by: by.join(parts))
            ),
            st.text(alphabet="a1|,$\\:*.-e /Patient", max_size=12),
        ),
        max_size=4,
    )
)
def test_any_query_is_understood_or_refused(pairs):
    try:
        query = parse_query(pairs, "Observation")
    except InputError as error:
        code = error.code
    else:
        code = "search."
        assert query.types == ("Observation",)
    assert code.startswith("search.")


@pytest.mark.parametrize("text", ["name=-", "name=%", "name=%20.", "name:contains=·", "name=Ann,-", "gender:text=!"])
def test_a_text_of_nothing_but_punctuation_is_refused(text):
    """§3.1.1.4.8 has punctuation be passed over: what is left would be true of everybody who has a name."""
    with pytest.raises(InputError, match=r"search\.value"):
        asked(f"Patient?{text}")


def test_attack_a_text_begins_with_so_much_punctuation_that_nothing_else_is_compared():
    """Of long text the beginning is searched: what stands behind it does not make it say something."""
    with pytest.raises(InputError, match=r"search\.value"):
        asked(f"Patient?name={'-' * MAX_KEY_CHARS}a")


@pytest.mark.parametrize("name", ["name", "name:contains", "name:exact", "gender:text"])
def test_attack_a_long_text_of_signs_that_fold_to_many_takes_no_memory(name):
    """U+FDFA is 18 letters in NFKD (Unicode UAX #15)."""
    # Another text each time: what was folded before is kept, and would cost nothing.
    pairs = [(name, "\ufdfa" * (200_000 + len(name)))]
    tracemalloc.start()
    try:
        parse_query(pairs, "Patient")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("text", ["name:exact=-", "name=O'Brien", "name=王", "name=😀", "gender:text=a"])
def test_a_text_that_says_something_is_read(text):
    only(f"Patient?{text}")
