"""What judging costs: twice as much of whatever a resource repeats takes twice as long, for every rule of R4.

Calls are counted, not seconds: their number is the same in every run.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter

import pytest

from fhir_bridge.definitions.elements import ancestors, children, type_definition, type_names
from fhir_bridge.document import Number
from fhir_bridge.fhirpath import syntax
from fhir_bridge.fhirpath.engine import compile_tree
from fhir_bridge.validation import invariants, laws
from fhir_bridge.validation.check import check
from fhir_bridge.validation.invariants import check_invariants
from fhir_bridge.validation.issue import Rule
from fhir_bridge.validation.wording import rows
from medchain.errors import InputError

COUNT = 30
# Twice as much takes twice as long, and a little more where steps begin to be counted; its square, four times.
MOST_GROWTH = 3
# A Binary has no rules.
TYPES = sorted(type_names("resource") - {"Binary"})
LOGIC = ("and", "or", "xor", "implies")
# Never walked by the rules themselves: judged by code of its own, or without members.
LEFT_OUT = {"text", "contained", "implicitRules"}


class Repeated:
    """Makes resources whose arrays are all long, each in the first of its siblings, so that the sum stays small."""

    def __init__(self, count: int, spelling: str) -> None:
        """Repeat so often, and spell texts so."""
        self.count = count
        self.spelling = spelling
        self.numbers = itertools.count()

    def resource(self, name: str) -> dict:
        made = {"resourceType": name, **self.members(name, 0, is_first=True)}
        if "DomainResource" in ancestors(name):
            made["contained"] = [{"resourceType": "Basic", "id": f"c{one}"} for one in range(self.count)]
        return made

    def members(self, content: str, depth: int, *, is_first: bool) -> dict:
        made = {}
        for one in children(content):
            if one.name in LEFT_OUT or depth > 4 or (depth > 2 and not is_first) or one.name.endswith("xtension"):
                continue
            for use in one.types[:1] or [None]:
                code = use.code if use else "BackboneElement"
                name = one.name + (code[0].upper() + code[1:] if one.choice else "")
                below = one.content_reference or (code if code not in ("BackboneElement", "Element") else one.path)
                values = [
                    self.value(code, below, depth, is_first=is_first and place == 0)
                    for place in range(self.count if one.is_array and is_first else 1)
                ]
                made[name] = values if one.is_array else values[0]
        return made

    def value(self, code: str, content: str, depth: int, *, is_first: bool):
        if code in type_names("primitive-type") or "System.String" in code:
            return self.primitive(code)
        if code == "Resource":
            return {"resourceType": "Basic", "id": f"b{next(self.numbers)}"}
        if code == "Reference":
            return {"reference": f"#c{next(self.numbers) % self.count}"}
        return self.members(content, depth + 1, is_first=is_first)

    def primitive(self, code: str):
        if code == "boolean":
            return True
        if code in ("decimal", "integer", "positiveInt", "unsignedInt"):
            return Number(str(next(self.numbers)))
        if code in ("date", "dateTime", "instant"):
            return f"2024-01-01T00:00:00.{next(self.numbers)}Z"
        return self.spelling.format(next(self.numbers))


def operands(tree) -> list:
    """Take an expression apart where a truth value may decide without the rest."""
    if isinstance(tree, syntax.Binary) and tree.operator in LOGIC:
        return [*operands(tree.left), *operands(tree.right)]
    return [tree]


def runs() -> dict[str, list]:
    """Every part of every rule, by key."""
    found: dict[str, dict] = {}
    for kind in ("resource", "complex-type", "primitive-type"):
        for name in type_names(kind, abstract=True):
            for element in type_definition(name).elements:
                for rule in element.invariants:
                    if rule.expression and rule.key not in laws.JUDGED_ELSEWHERE:
                        parts = {repr(one): one for one in operands(syntax.parse(rule.expression))}
                        found.setdefault(rule.key, {}).update(parts)
    return {key: [compile_tree(one) for one in parts.values()] for key, parts in found.items()}


@pytest.fixture(scope="module")
def parts() -> dict[str, list]:
    return runs()


def calls_by_rule(resource: dict, parts: dict[str, list], monkeypatch) -> Counter:
    """Judge a resource by every part of its rules; returns how many calls each rule took."""
    counted: Counter = Counter()
    key = ""

    def count(_frame, event, _argument) -> None:
        if event in ("call", "c_call"):
            counted[key] += 1

    def holds(law, node, _value, scope) -> bool:
        nonlocal key
        key = law.key
        inner = scope._replace(context=node)
        sys.setprofile(count)
        for run in parts[law.key]:
            try:
                run([node], inner)
            except InputError:
                # Several values where a rule speaks of one.
                assert inner.steps is None or inner.steps.left > 0
        sys.setprofile(None)
        return True

    with monkeypatch.context() as changed:
        changed.setattr(invariants, "holds", holds)
        check_invariants(resource, warnings=True)
    return counted


@pytest.mark.parametrize("spelling", ["v{}", pytest.param("same", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TYPES)
def test_no_rule_takes_the_square_of_what_is_repeated(name, spelling, parts, monkeypatch):
    once = calls_by_rule(Repeated(COUNT, spelling).resource(name), parts, monkeypatch)
    twice = calls_by_rule(Repeated(2 * COUNT, spelling).resource(name), parts, monkeypatch)
    assert once
    grown = {key: twice[key] / calls for key, calls in once.items() if twice[key] > MOST_GROWTH * calls}
    assert grown == {}


def test_a_resource_that_takes_too_much_to_judge_is_refused_for_that(monkeypatch):
    monkeypatch.setattr(invariants, "STEPS_A_BYTE", 0)
    resource = {"resourceType": "Patient", "contact": [{"gender": "male", "name": {"text": "x" * 20_000}}]}
    (issue,) = check(resource)
    assert (issue.rule, issue.expression) == (Rule.COSTLY, "Patient")
    (row,) = rows([issue], "en")
    # FHIR R4 valueset-issue-type: "The operation was stopped to protect server resources".
    assert row["code"] == "too-costly"


def test_a_long_text_is_not_copied_for_each_element():
    """`sdf-8`: each path of a snapshot begins with the first one, which may be as long as FHIR lets a string be."""

    def seconds(length: int) -> float:
        rest = [{"id": f"b{n}", "path": f"b{n}"} for n in range(1_000)]
        elements = [{"id": "a", "path": "A" * length}, *rest]
        resource = {"resourceType": "StructureDefinition", "kind": "resource", "snapshot": {"element": elements}}
        began = time.thread_time()
        assert "sdf-8" in {one.expected for one in check_invariants(resource)}
        return time.thread_time() - began

    # As copies the long one would be 20 GB: seconds, where all the rest is a fraction of one.
    assert seconds(20_000_000) < 3 * seconds(10) + 1
