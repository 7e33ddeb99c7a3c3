"""What is told of a rule before its expression is run is what the expression says."""

from __future__ import annotations

import itertools

import pytest

from fhir_bridge.document import parse
from fhir_bridge.fhirpath.engine import scope_of, truth
from fhir_bridge.fhirpath.node import Node
from fhir_bridge.validation.laws import holds, laws_for
from medchain.errors import InputError
from tests.unit.fhir_bridge.examples import examples

MOMENTS = (
    "2026",
    "2026-11",
    "2026-11-25",
    "2026-11-26",
    "2026-11-26T08:00:00Z",
    "2026-11-26T08:00:01Z",
    "2026-11-26T08:00:00.5Z",
    "2026-11-26T08:00:00.4Z",
    "2026-11-26T09:00:00+08:00",
    "2026-11-26T08:00:00+08:00",
    "2026-11-25T23:00:00-05:00",
    "2026-11-26T08:00:00-05:00",
)


def _said(law, node):
    """Run the expression, as a rule is judged where nothing is told early."""
    try:
        return truth(law.run([node], scope_of(node))) is not False
    except InputError:
        return False


@pytest.mark.parametrize("start", [None, *MOMENTS])
@pytest.mark.parametrize("end", [None, *MOMENTS])
def test_the_order_of_a_period_is_what_its_expression_says(start, end):
    value = {name: moment for name, moment in (("start", start), ("end", end)) if moment is not None}
    node = Node(value, "Period", "Period")
    (law,) = (one for one in laws_for("Period", "") if one.key == "per-1")
    assert holds(law, node, value, scope_of(node)) == _said(law, node)


@pytest.fixture(scope="module")
def merged():
    """Make one resource of each type of all that its published examples hold."""
    found = {}
    for _, data in examples():
        resource = parse(data)
        found.setdefault(resource["resourceType"], {}).update(resource)
    return found


def test_what_an_object_does_not_hold_decides_as_the_expression_does(merged):
    for type_name, whole in merged.items():
        names = [name for name in whole if name != "resourceType"]
        some = [names[::2], names[1::2], [], names, *([name] for name in names), *itertools.islice(_pairs(names), 50)]
        for chosen in some:
            value = {"resourceType": type_name, **{name: whole[name] for name in chosen}}
            node = Node(value, type_name, type_name)
            for law in laws_for(type_name, ""):
                assert holds(law, node, value, scope_of(node)) == _said(law, node), (law.key, chosen)


def _pairs(names):
    """List pairs of names."""
    return (list(pair) for pair in itertools.combinations(names, 2))
