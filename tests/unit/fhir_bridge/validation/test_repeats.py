"""Values that stand again and again: judged once, and never instead of what differs."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.definitions.elements import members, type_definition, type_names
from fhir_bridge.document import parse
from fhir_bridge.validation import repeats as kept
from fhir_bridge.validation.check import Mode, check
from fhir_bridge.validation.repeats import REPEATED_TYPES, Repeats
from medchain.encoding import objects_in
from tests.unit.fhir_bridge.examples import examples

AROUND = ("%resource", "%rootResource", "%context", "resolve(")
CODE = {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]}
RIGHT = {"resourceType": "Observation", "status": "final", "code": CODE, "subject": {"reference": "Patient/1"}}


def judged(resource: dict, repeats: Repeats | None = None) -> list[tuple[str, str]]:
    issues = check(parse(json.dumps(resource).encode()), repeats=repeats)
    return [(issue.expression, issue.expected) for issue in issues]


def seen(*resources: dict) -> Repeats:
    repeats = Repeats()
    for resource in resources:
        assert judged(resource, repeats) == []
    return repeats


def test_a_value_that_was_right_is_passed_over():
    repeats = seen(RIGHT)
    value = parse(json.dumps(CODE).encode())
    repeats.begin()
    assert repeats.is_right("Observation.code", value)
    assert repeats.was_passed(value)
    repeats.begin()
    assert not repeats.was_passed(value)


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"code": {"coding": [{"system": "http://loinc.org", "code": ""}]}}, "Observation.code.coding[0].code"),
        ({"code": {"coding": [{"system": "http://loinc.org", "codes": "1"}]}}, "Observation.code.coding[0]"),
        ({"subject": {"reference": "Claim/1"}}, "Observation.subject"),
        ({"subject": {"reference": "#1"}}, "Observation.subject"),
    ],
)
def test_a_value_that_differs_is_judged_beside_one_that_was_right(changed, place):
    found = judged(RIGHT | changed, seen(RIGHT))
    assert [expression for expression, _ in found if expression.startswith(place)]
    assert found == judged(RIGHT | changed)


def test_a_value_that_is_right_elsewhere_is_judged_where_it_is_not():
    # `Observation.subject` may point to a Location, `Observation.encounter` to an Encounter only.
    place = {"reference": "Location/1"}
    repeats = seen(RIGHT | {"subject": place})
    assert judged(RIGHT | {"encounter": place}, repeats) == [("Observation.encounter", "Encounter")]


def test_nothing_is_learnt_from_a_resource_with_a_fault():
    repeats = Repeats()
    wrong = RIGHT | {"code": {"coding": [{"system": "relative", "code": " x"}]}}
    first = judged(wrong, repeats)
    assert first != []
    assert judged(wrong, repeats) == first


def test_what_points_into_its_own_resource_is_judged_in_each():
    """`ref-1`: what is contained in one resource is not in another."""
    pointing = {"subject": {"reference": "#p"}}
    repeats = seen(RIGHT | pointing | {"contained": [{"resourceType": "Patient", "id": "p"}]})
    assert judged(RIGHT | pointing, repeats) == [("Observation.subject", "ref-1")]


def test_rules_of_repeated_types_look_at_nothing_but_the_value():
    """Of HL7's rules of these types and of the elements that have them, only `ref-1` looks at what is around."""
    found, waiting = set(), list(type_names("complex-type") | type_names("resource"))
    known = set(waiting)
    while waiting:
        for member in members(waiting.pop()).values():
            if member.type in REPEATED_TYPES:
                rules = (*member.element.invariants, *type_definition(member.type).elements[0].invariants)
                found |= {rule.key for rule in rules if any(word in rule.expression for word in AROUND)}
            elif member.content not in known and "." in member.content:
                known.add(member.content)
                waiting.append(member.content)
    assert found == {"ref-1"}


def test_whatever_was_seen_before_the_same_is_found():
    """HL7's examples one after the other, and each with a leaf changed."""
    repeats, count = Repeats(), 0
    for number, (_, content) in enumerate(examples()):
        resource = parse(content)
        if "resourceType" in resource:
            assert check(resource, repeats=repeats) == check(resource)
            changed = parse(content)
            _spoil(changed, number)
            count += check(changed, repeats=repeats) != []
            assert check(changed, repeats=repeats) == check(changed)
    assert count > 100


def _spoil(resource: dict, number: int) -> None:
    """Change one member of an object of a resource: its value, its shape or its name."""
    inside = list(objects_in(resource))
    value = inside[number * 7 % len(inside)]
    name = sorted(value)[number % len(value)]
    match number % 4:
        case 0:
            value[name] = [value[name]]
        case 1:
            value[name] = "#"
        case 2:
            value[f"{name}s"] = value.pop(name)
        case _:
            del value[name]


def test_a_lenient_node_keeps_nothing():
    repeats = Repeats()
    assert check(parse(json.dumps(RIGHT).encode()), Mode.LENIENT, repeats=repeats) == []
    assert not repeats.is_right("Observation.code", parse(json.dumps(CODE).encode()))


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(kept, "MAX_VALUES", 1)
    repeats = seen(RIGHT)
    assert not repeats.is_right("Observation.code", parse(json.dumps(CODE).encode()))
    monkeypatch.setattr(kept, "MAX_VALUES", 100)
    monkeypatch.setattr(kept, "MAX_VALUE_BYTES", 16)
    assert not seen(RIGHT).is_right("Observation.code", parse(json.dumps(CODE).encode()))
