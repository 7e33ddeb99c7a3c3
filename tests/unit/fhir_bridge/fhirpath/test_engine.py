"""FHIRPath. The answers are those of the specification's own pages (FHIRPath 2.0.0 §4–§6)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fhir_bridge.document import parse
from fhir_bridge.fhirpath.engine import Steps, compiled, scope_of
from fhir_bridge.fhirpath.node import resource_node
from fhir_bridge.fhirpath.syntax import MAX_DEPTH
from medchain.errors import InputError

PATIENT = parse(
    b'{"resourceType":"Patient","id":"p","active":true,"birthDate":"1974-12-25","_birthDate":{"id":"b"},'
    b'"name":[{"use":"official","family":"Chalmers","given":["Peter","James"]},{"use":"usual","given":["Jim"]}],'
    b'"multipleBirthInteger":2,"managingOrganization":{"reference":"#o"},'
    b'"contained":[{"resourceType":"Organization","id":"o","name":"ACME"}],'
    b'"extension":[{"url":"u","valueDecimal":1.50},{"url":"v","valueQuantity":{"value":5,"unit":"kg"}}]}'
)


def run(expression: str) -> list[object]:
    node = resource_node(PATIENT)
    return [found.value for found in compiled(expression)([node], scope_of(node))]


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        # §3 paths
        ("Patient.name.given", ["Peter", "James", "Jim"]),
        ("name.given", ["Peter", "James", "Jim"]),
        ("Observation.name", []),
        ("name[1].given[0]", ["Jim"]),
        ("name[7]", []),
        ("Patient.`name`.family", ["Chalmers"]),
        ("multipleBirth", [Decimal(2)]),
        ("multipleBirth.ofType(integer)", [Decimal(2)]),
        ("multipleBirth.ofType(boolean)", []),
        ("birthDate.id", ["b"]),
        # §4.5 empty collections and truth
        ("{}", []),
        ("{} and true", []),
        ("{} and false", [False]),
        ("{} or true", [True]),
        ("{} or false", []),
        ("{} xor true", []),
        ("false implies {}", [True]),
        ("{} implies true", [True]),
        ("true implies {}", []),
        ("true xor true", [False]),
        ("name.family and true", [True]),
        # §5.1 existence
        ("name.exists()", [True]),
        ("name.exists(use = 'old')", [False]),
        ("name.empty()", [False]),
        ("photo.empty()", [True]),
        ("name.all(given.exists())", [True]),
        ("name.all(family.exists())", [False]),
        ("name.given.count()", [Decimal(3)]),
        ("(1 | 1 | 2).count()", [Decimal(2)]),
        ("name.use.isDistinct()", [True]),
        ("name.given.combine(name.given).isDistinct()", [False]),
        ("name.given.subsetOf(name.given | 'x')", [True]),
        ("name.given.supersetOf('Jim' | 'x')", [False]),
        ("active.not()", [False]),
        # §5.2 filtering and projection
        ("name.where(use = 'usual').given", ["Jim"]),
        ("name.select(given.first())", ["Peter", "Jim"]),
        ("name.given.where($this.startsWith('J'))", ["James", "Jim"]),
        ("name.given.where($index = 1)", ["James"]),
        ("Patient.repeat(contained).name", ["ACME"]),
        # §5.3 subsetting
        ("name.given.first()", ["Peter"]),
        ("name.given.last()", ["Jim"]),
        ("name.given.tail()", ["James", "Jim"]),
        ("name.given.skip(1).take(1)", ["James"]),
        ("name.family.single()", ["Chalmers"]),
        ("name.given.intersect('Jim' | 'x')", ["Jim"]),
        ("name.given.exclude('Jim')", ["Peter", "James"]),
        ("('a' | 'b').union('b' | 'c')", ["a", "b", "c"]),
        # §5.5 conversion
        ("'12'.toInteger()", [Decimal(12)]),
        ("'x'.toInteger()", []),
        ("true.toInteger()", [Decimal(1)]),
        ("'1.5'.toDecimal()", [Decimal("1.5")]),
        ("'x'.toDecimal()", []),
        ("extension.value.ofType(decimal).toString()", ["1.50"]),
        ("active.toString()", ["true"]),
        ("iif(active, 'yes', 'no')", ["yes"]),
        ("iif(photo.exists(), 'yes')", []),
        # §5.6 strings
        ("'abc'.substring(1)", ["bc"]),
        ("'abc'.substring(1, 1)", ["b"]),
        ("'abc'.substring(3)", []),
        ("'abc'.contains('b')", [True]),
        ("'abc'.startsWith('ab')", [True]),
        ("'abc'.endsWith('ab')", [False]),
        ("'abc'.indexOf('c')", [Decimal(2)]),
        ("'abc'.length()", [Decimal(3)]),
        ("'aBc'.upper() & 'aBc'.lower()", ["ABCabc"]),
        ("'abcabc'.replace('b', 'x')", ["axcaxc"]),
        ("'a.b'.replaceMatches('\\\\..*', '')", ["a"]),
        ("'abc'.matches('[a-c]+')", [True]),
        ("'abcd'.matches('[a-c]+')", [False]),
        ("name.family.startsWith({})", []),
        # §6.1 equality
        ("1 = 1.0", [True]),
        ("'a' = 'A'", [False]),
        ("'a b' ~ 'A  B'", [True]),
        ("1.11 ~ 1.1", [True]),
        ("(1 | 2) = (1 | 2)", [True]),
        ("(1 | 2) = (2 | 1)", [False]),
        ("(1 | 2) ~ (2 | 1)", [True]),
        ("(1 | 2) !~ (2 | 3)", [True]),
        ("{} = 1", []),
        ("1 != 2", [True]),
        ("@2012 = @2012-01", []),
        ("@2012 = @2013-01", [False]),
        ("@2012-01-01T10:30:00Z = @2012-01-01T12:30:00+02:00", [True]),
        ("@T10:30 < @T10:31", [True]),
        ("true = true", [True]),
        # §6.2 comparison
        ("2 > 1.5", [True]),
        ("'b' <= 'a'", [False]),
        ("birthDate < @1975", [True]),
        ("birthDate >= @1974", []),
        ("4 'kg' < 5 'kg'", [True]),
        ("4 'kg' < 5 'g'", []),
        ("extension.value.ofType(Quantity) > 4 'kg'", []),
        ("1 < 'a'", []),
        # §6.3 types
        ("active is boolean", [True]),
        ("active is Boolean", [True]),
        ("active is System.Boolean", [False]),
        ("true is System.Boolean", [True]),
        ("Patient is DomainResource", [True]),
        ("Patient is FHIR.Patient", [True]),
        ("Patient.is(Observation)", [False]),
        ("(extension.value as decimal)", [Decimal("1.50")]),
        # §6.4 collections
        ("'Jim' in name.given", [True]),
        ("name.given contains 'Jim'", [True]),
        ("{} in name.given", []),
        # §6.6 math
        ("1 + 2 * 3", [Decimal(7)]),
        ("(1 + 2) * 3", [Decimal(9)]),
        ("7 div 2", [Decimal(3)]),
        ("7 mod 2", [Decimal(1)]),
        ("7 / 2", [Decimal("3.5")]),
        ("1 / 0", []),
        ("-2 + 1", [Decimal(-1)]),
        ("+2", [Decimal(2)]),
        ("'a' + 'b'", ["ab"]),
        ("'a' + {}", []),
        ("'a' & {}", ["a"]),
        # variables, FHIR's own functions
        ("%resource.id", ["p"]),
        ("%ucum", ["http://unitsofmeasure.org"]),
        ("%vs-name-use", ["http://hl7.org/fhir/ValueSet/name-use"]),
        ("managingOrganization.resolve().name", ["ACME"]),
        ("extension('u').value", [Decimal("1.50")]),
        ("active.hasValue()", [True]),
        ("name.hasValue()", [False]),
        ("active.getValue()", [True]),
        ("name.first().children().count()", [Decimal(4)]),
        ("name.trace('x').count()", [Decimal(2)]),
        ("// a comment\n 1 /* and another */", [Decimal(1)]),
        ("'\\u0041\\n\\''", ["A\n'"]),
    ],
)
def test_an_expression_gives_what_the_specification_says(expression, answer):
    assert run(expression) == answer


def test_all_that_lies_below_is_found():
    assert "ACME" in run("Patient.descendants()")


def test_a_reference_is_followed_inside_a_bundle():
    bundle = parse(
        b'{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":'
        b'"Patient","id":"p"}},{"resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"}}},'
        b'{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/p"}}},'
        b'{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/q"}}}]}'
    )
    node = resource_node(bundle)
    expression = compiled("Bundle.entry.resource.ofType(Observation).subject.resolve().id")
    assert [found.value for found in expression([node], scope_of(node))] == ["p", "p"]


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("", "fhirpath.syntax"),
        ("name.", "fhirpath.syntax"),
        ("name given", "fhirpath.syntax"),
        ("(name", "fhirpath.syntax"),
        ("name[0", "fhirpath.syntax"),
        ("a # b", "fhirpath.syntax"),
        ("f(a,", "fhirpath.syntax"),
        ("a is 3", "fhirpath.syntax"),
        ("a" * 9000, "fhirpath.syntax"),
        ("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1), "fhirpath.depth"),
        ("name.explode()", "fhirpath.function"),
        ("name.where()", "fhirpath.arguments"),
        ("name.ofType(3)", "fhirpath.type"),
        ("%unknown", "fhirpath.variable"),
        ("name.given.single()", "fhirpath.singleton"),
        ("name.given and true", "fhirpath.singleton"),
        ("'a'.matches('(')", "fhirpath.pattern"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_code(expression, code):
    with pytest.raises(InputError) as refused:
        run(expression)
    assert refused.value.code == code


def test_a_path_from_the_resource_is_walked_once_a_resource_and_not_at_each_item():
    """Attack: a small StructureDefinition held a worker by `sdf-8`, which asks for all elements at each of them."""
    outer = resource_node({"resourceType": "Patient", "name": [{"given": ["a", "b"]}] * 1000})
    inner = resource_node({"resourceType": "Patient", "name": [{"given": ["c"]}]})
    scope = replace(scope_of(outer), steps=Steps(50_000))
    inside = replace(scope, resource=inner, context=inner)
    told = []
    for variable in ("resource", "rootResource", "context"):
        rule = compiled(f"name.all(%{variable}.name.given.count() > 1)")
        told.append([rule([one], around)[0].value for one, around in ((outer, scope), (inner, inside))])
    assert told == [[True, False], [True, True], [True, False]]
