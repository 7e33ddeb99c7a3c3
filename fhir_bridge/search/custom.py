"""Search parameters that a node's own SearchParameter resources define.

Keeps true: what HL7 defines stays as HL7 defines it, whatever a resource says; a definition that cannot be compiled for
a type is none for that type, and who sends one that finds nothing is told. Trusts nothing.
Source: FHIR R4 §2.44 (SearchParameter).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fhir_bridge.definitions.elements import ancestors, type_names
from fhir_bridge.definitions.parameters import Component, ParameterType, SearchParameter, parameter, parameters_of
from fhir_bridge.fhirpath import syntax
from fhir_bridge.search import expression as searching
from fhir_bridge.search.indexer import compiles, parts_of
from fhir_bridge.search.walk import Resource
from fhir_bridge.validation.issue import Issue, Rule
from medchain.errors import InputError, NotFoundError

MAX_EXPRESSION_CHARS: Final = 2_000
"""Longest expression that is looked at."""

MAX_COMPONENTS: Final = 8
"""Most parts of a composite."""

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9\-]{0,63}")
_KINDS: Final = frozenset(ParameterType) - {ParameterType.SPECIAL}


def read_custom(resource: Resource) -> SearchParameter | None:
    """Read a definition.

    Args:
        resource: a SearchParameter, parsed.

    Returns:
        It, with the types for which it can be compiled; None where it is not active, is HL7's own, or is of no use.
    """
    url, code, expression = (_text(resource, name) for name in ("url", "code", "expression"))
    kind = _text(resource, "type")
    if not _is_used(resource) or not url or _CODE.fullmatch(code) is None:
        return None
    components = _parts(resource)
    lengths = [len(expression), *(len(_text(one, "expression")) for one in components)]
    if not all(0 < one <= MAX_EXPRESSION_CHARS for one in lengths) or len(components) > MAX_COMPONENTS:
        return None
    made = SearchParameter(
        url=url,
        code=code,
        type=ParameterType(kind),
        base=(),
        expression=expression,
        target=tuple(sorted(_texts(resource, "target"))),
        components=tuple(Component(_text(one, "definition"), _text(one, "expression")) for one in components),
        multiple_or=True,
        multiple_and=True,
        comparators=(),
        modifiers=(),
        chain=(),
    )
    able = tuple(one for one in _bases(_texts(resource, "base")) if _can_be(made, one))
    return replace(made, base=able) if able else None


def check_parameter(resource: Resource) -> list[Issue]:
    """Tell what is wrong with the expressions of a SearchParameter, which its shape does not show.

    Args:
        resource: of the right shape.

    Returns:
        Errors for an active parameter that is no FHIRPath, or leads to nothing in any of its types; warnings for one in
        FHIRPath that searches here do not use, and for what is no FHIRPath in a draft.
    """
    given = [("SearchParameter.expression", _text(resource, "expression"))]
    given += [
        (f"SearchParameter.component[{place}].expression", _text(part, "expression"))
        for place, part in enumerate(_parts(resource))
    ]
    # What no search here would use in any case is kept as it came: FHIR lets a definition be a draft.
    is_used = _is_used(resource)
    severity = "error" if is_used else "warning"
    unread = [
        Issue(Rule.EXPRESSION, place, severity, expected=character)
        for place, text in given
        if (character := _unread(text))
    ]
    return unread or (_check_use(resource) if is_used else [])


def _is_used(resource: Resource) -> bool:
    """Tell whether searches here would use a parameter, as far as its status and type say."""
    return _text(resource, "status") == "active" and _text(resource, "type") in _KINDS


def _unread(text: str) -> str:
    """Tell from which character on an expression is no FHIRPath; empty where it is."""
    try:
        if text:
            syntax.parse(text)
    except InputError as error:
        return str(int(error.fields.get("place") or 0) + 1)
    return ""


def _check_use(resource: Resource) -> list[Issue]:
    """Tell whether a parameter that is used would find anything."""
    place, text, code = "SearchParameter.expression", _text(resource, "expression"), _text(resource, "code")
    if not text:
        return []
    bases = _bases(_texts(resource, "base"))
    if any(code in parameters_of(one) for one in bases) or read_custom(resource) is not None:
        # HL7's own, or one that is used.
        return []
    if _text(resource, "type") == ParameterType.COMPOSITE:
        return [Issue(Rule.UNUSED, place, "warning")]
    try:
        searching.parse(text)
    except InputError:
        return [Issue(Rule.UNUSED, place, "warning")]
    return [Issue(Rule.NOWHERE, place, expected=" | ".join(sorted(_texts(resource, "base"))))]


def _bases(given: list[str]) -> list[str]:
    """List the resource types that are meant; an abstract one stands for all that specialise it."""
    found: dict[str, None] = {}
    for name in sorted(type_names("resource")):
        if name in given or any(one in given for one in ancestors(name)):
            found[name] = None
    return list(found)


def _can_be(made: SearchParameter, type_name: str) -> bool:
    """Tell whether a parameter can be one of a type: its code is free there, and its expression leads somewhere."""
    if made.code in parameters_of(type_name):
        return False
    try:
        return _is_composed(made, type_name) if made.type is ParameterType.COMPOSITE else compiles(made, type_name)
    except (InputError, NotFoundError):
        return False


def _is_composed(made: SearchParameter, type_name: str) -> bool:
    """Tell whether HL7's parameters answer for all parts of a composite, each compared as its definition says."""
    known = parameters_of(type_name)
    kinds = [known[part.code].type for part in parts_of(made, type_name, known)]
    return len(kinds) > 1 and kinds == [parameter(one.definition).type for one in made.components]


def _parts(resource: Resource) -> list[Resource]:
    """Take the components."""
    parts = resource.get("component")
    return [one for one in parts if isinstance(one, dict)] if isinstance(parts, list) else []


def _text(resource: Resource, name: str) -> str:
    """Take a member that is text."""
    value = resource.get(name)
    return value if isinstance(value, str) else ""


def _texts(resource: Resource, name: str) -> list[str]:
    """Take a member that is a list of texts."""
    value = resource.get(name)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def of_type(parameters: Mapping[str, SearchParameter], type_name: str) -> list[SearchParameter]:
    """Choose those of a type; of two with one code there, the first by URL."""
    found: dict[str, SearchParameter] = {}
    for url in sorted(parameters):
        one = parameters[url]
        if type_name in one.base:
            found.setdefault(one.code, one)
    return list(found.values())
