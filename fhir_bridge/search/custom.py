"""Search parameters that a node's own SearchParameter resources define.

Keeps true: what HL7 defines stays as HL7 defines it, whatever a resource says; a definition that cannot be compiled for
a type is none for that type. Trusts nothing.
Source: FHIR R4 §2.44 (SearchParameter).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fhir_bridge.definitions.elements import ancestors, type_names
from fhir_bridge.definitions.parameters import ParameterType, SearchParameter, parameters_of
from fhir_bridge.search.indexer import compiles
from fhir_bridge.search.walk import Resource
from medchain.errors import InputError, NotFoundError

MAX_EXPRESSION_CHARS: Final = 2_000
"""Longest expression that is looked at."""

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9\-]{0,63}")
_KINDS: Final = frozenset(ParameterType) - {ParameterType.COMPOSITE, ParameterType.SPECIAL}


def read_custom(resource: Resource) -> SearchParameter | None:
    """Read a definition.

    Args:
        resource: a SearchParameter, parsed.

    Returns:
        It, with the types for which it can be compiled; None where it is not active, is HL7's own, or is of no use.
    """
    url, code, expression = (_text(resource, name) for name in ("url", "code", "expression"))
    kind = _text(resource, "type")
    if _text(resource, "status") != "active" or not url or _CODE.fullmatch(code) is None or kind not in _KINDS:
        return None
    if not 0 < len(expression) <= MAX_EXPRESSION_CHARS:
        return None
    made = SearchParameter(
        url=url,
        code=code,
        type=ParameterType(kind),
        base=(),
        expression=expression,
        target=tuple(sorted(_texts(resource, "target"))),
        components=(),
        multiple_or=True,
        multiple_and=True,
        comparators=(),
        modifiers=(),
        chain=(),
    )
    able = tuple(one for one in _bases(_texts(resource, "base")) if _can_be(made, one))
    return replace(made, base=able) if able else None


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
        return compiles(made, type_name)
    except (InputError, NotFoundError):
        return False


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
