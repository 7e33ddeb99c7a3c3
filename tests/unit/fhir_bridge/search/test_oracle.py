"""What the compiled expressions find, against an interpreter of FHIRPath that others wrote."""

from __future__ import annotations

import json
from functools import cache

from fhir_bridge.definitions.parameters import parameters_of
from fhir_bridge.search.paths import routes
from fhir_bridge.search.walk import compile_walk
from tests.unit.fhir_bridge.search.interpreted import found_by_others


@cache
def ours(type_name):
    """Compile all parameters of a type into one walk that lists (code, value)."""

    def collector(code):
        return lambda value, _resource, _place, out: out.append((code, value))

    return compile_walk(
        (route, collector(code))
        for code, one in parameters_of(type_name).items()
        if one.expression
        for route in routes(one.expression, type_name)
    )


def plain(values):
    return sorted(json.dumps(value, sort_keys=True, default=float) for value in values)


def test_every_parameter_finds_in_every_example_what_the_interpreter_finds(examples):
    values = 0
    for resource in examples:
        type_name = resource["resourceType"]
        found = []
        ours(type_name)(resource, found)
        for code, expected in found_by_others(resource).items():
            assert plain(value for name, value in found if name == code) == plain(expected), (type_name, code)
            values += len(expected)
    assert values > 3000
