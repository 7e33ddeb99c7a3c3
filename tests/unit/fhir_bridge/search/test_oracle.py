"""What the compiled expressions find, against an interpreter of FHIRPath that others wrote."""

from __future__ import annotations

import json
import re
from functools import cache

import fhirpathpy
from fhirpathpy.models import models

from fhir_bridge.definitions.parameters import parameters_of
from fhir_bridge.search.paths import routes
from fhir_bridge.search.walk import compile_walk

RESOLVES = re.compile(r"\.where\(resolve\(\) is (\w+)\)")


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


@cache
def theirs(expression, type_name):
    """Compile the parts of an expression; `resolve`, and `as` for several values, which it has not, are rewritten."""
    parts = []
    for part in expression.split(" | "):
        wanted = RESOLVES.search(part)
        text = re.sub(r"^\((.*) as (\w+)\)", r"\1.ofType(\2)", RESOLVES.sub("", part).strip())
        text = re.sub(r"^(Domain)?Resource\.", f"{type_name}.", text.replace(".as(", ".ofType("))
        parts.append((fhirpathpy.compile(text, model=models["r4"]), wanted and wanted[1]))
    return parts


def type_of_reference(value, resource):
    text = value.get("reference", "")
    if text.startswith("#"):
        return next((one["resourceType"] for one in resource.get("contained", []) if one.get("id") == text[1:]), None)
    steps = text.partition("/_history/")[0].split("/")
    return steps[-2] if len(steps) > 1 else value.get("type")


def plain(values):
    return sorted(json.dumps(value, sort_keys=True, default=float) for value in values)


def test_every_parameter_finds_in_every_example_what_the_interpreter_finds(examples):
    values = 0
    for resource in examples:
        type_name = resource["resourceType"]
        found = []
        ours(type_name)(resource, found)
        for code, one in parameters_of(type_name).items():
            expected = [
                value
                for evaluate, wanted in (theirs(one.expression, type_name) if one.expression else ())
                for value in evaluate(resource)
                if value is not None and (wanted is None or type_of_reference(value, resource) == wanted)
            ]
            assert plain(value for name, value in found if name == code) == plain(expected), (type_name, code)
            values += len(expected)
    assert values > 3000
