"""What a resource holds of each search parameter, as an interpreter of FHIRPath that others wrote finds it."""

from __future__ import annotations

import re
from functools import cache

import fhirpathpy
from fhirpathpy.models import models

from fhir_bridge.definitions.parameters import parameters_of

RESOLVES = re.compile(r"\.where\(resolve\(\) is (\w+)\)")


def found_by_others(resource: dict) -> dict[str, list]:
    """List the values of each parameter that the resource's type has.

    Args:
        resource: as `json.loads` gives it.

    Returns:
        Code of the parameter → its values; none for those without an expression.
    """
    type_name = resource["resourceType"]
    return {
        code: [
            value
            for evaluate, wanted in (theirs(one.expression, type_name) if one.expression else ())
            for value in evaluate(resource)
            if value is not None and (wanted is None or type_of_reference(value, resource) == wanted)
        ]
        for code, one in parameters_of(type_name).items()
    }


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
