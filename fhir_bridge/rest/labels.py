"""`$meta` of a type and of all: which profiles, tags and security labels are in use.

The index says which values there are; of each, one record that the caller may see is opened, since the index has codes
folded. Keeps true: a value that stands only in records which the caller may not see is not told; versions and times
are none of it. Trusts the gate and the index.
Source: FHIR R4 OperationDefinition/Resource-meta.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from fhir_bridge.definitions.parameters import ParameterType
from fhir_bridge.document import Element, Resource, parse, write
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.pages import content_of
from fhir_bridge.search.indexer import VARIANTS
from fhir_bridge.search.terms import Modifier, TokenTerm, UriTerm
from fhir_bridge.search.tree import Condition, Criterion, Query
from fhir_bridge.search.values import token_key
from medchain.crypto.keywrap import WrappingKey
from medchain.errors import AccessDeniedError, InputError
from medchain.store.finding import NEWEST

MAX_LABELS: Final = 1_000
"""Most values that are told: the operation is there for people and programs that choose among them."""

_PARAMETERS: Final = {"_profile": "profile", "_security": "security", "_tag": "tag"}
_META: Final = "meta"


class _Label(NamedTuple):
    """A value as the index has it: parameter, key, and system or version."""

    code: str
    key: str
    detail: str


def of_type(core: Core, ask: Ask) -> Reply:
    """Answer what is in use in a type; raises `AccessDeniedError` ``scope.denied``, `InputError` ``operation.*``."""
    if not core.gate.may_export(ask.who, ask.type):
        raise AccessDeniedError("scope.denied")
    return _answer(core, ask, [ask.type])


def of_system(core: Core, ask: Ask) -> Reply:
    """Answer what is in use in all types that the caller may find and read; errors as in `of_type`."""
    if not ask.who.scopes:
        raise AccessDeniedError("scope.denied")
    return _answer(core, ask, [name for name in core.store.indexed_types() if core.gate.may_export(ask.who, name)])


def check_empty(ask: Ask) -> None:
    """See that nothing is asked of an operation that takes no parameters; raises `InputError`."""
    if ask.method == "POST" and ask.has_body():
        given = ask.parameters()
        if given.get("resourceType") != "Parameters" or "parameter" in given:
            raise InputError("operation.parameter", parameter="")


def _answer(core: Core, ask: Ask, types: Iterable[str]) -> Reply:
    """Answer what is in use in some types."""
    check_empty(ask)
    found: dict[str, dict[_Label, Element]] = {code: {} for code in _PARAMETERS}
    keys: dict[bytes, WrappingKey] = {}
    for type_name, label in _listed(core, types):
        if label in found[label.code]:
            continue
        query = Query((type_name,), [_condition(label)])
        within = core.gate.within(ask.who)
        numbers = core.search.numbers(query, NEWEST, 0, 1, within=within, now=core.clock())
        for one in core.reader.numbered(numbers):
            content = None if one is None else content_of(core, one, keys)
            for other, value in _labels(parse(content)) if content else ():
                found[other.code].setdefault(other, value)
        ask.trail.numbers.extend(numbers)
    about: Resource = {
        name: [rows[label] for label in sorted(rows)] for code, name in _PARAMETERS.items() if (rows := found[code])
    }
    # A parameter without a value is none of R4's (inv-1), nor is an empty Meta.
    told: Resource = {"parameter": [{"name": "return", "valueMeta": about}]} if about else {}
    return Reply(200, write({"resourceType": "Parameters", **told}))


def _listed(core: Core, types: Iterable[str]) -> Iterator[tuple[str, _Label]]:
    """List what the index has of some types; raises `InputError` ``operation.too_many``."""
    core.search.index.look()
    named = {core.search.index.number(name, code) * VARIANTS: (name, code) for name in types for code in _PARAMETERS}
    rows = core.store.distinct_values(list(named), MAX_LABELS + 1)
    if len(rows) > MAX_LABELS:
        raise InputError("operation.too_many", limit=MAX_LABELS)
    for number, key, detail in rows:
        type_name, code = named[number]
        yield type_name, _Label(code, key, detail)


def _condition(label: _Label) -> Condition:
    """Say that a resource has a value."""
    if label.code == "_profile":
        return Criterion(label.code, ParameterType.URI, Modifier.NONE, (UriTerm(label.key, label.detail),))
    return Criterion(label.code, ParameterType.TOKEN, Modifier.NONE, (TokenTerm(label.detail, label.key or None),))


def _labels(resource: Resource) -> Iterator[tuple[_Label, Element]]:
    """List what a resource has, each under the name that the index has for it."""
    about = resource.get(_META)
    for code, name in _PARAMETERS.items():
        rows = about.get(name) if isinstance(about, dict) else None
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict):
                yield _Label(code, token_key(_text(row, "code")), _text(row, "system")), row
            elif isinstance(row, str):
                url, _, version = row.partition("|")
                yield _Label(code, url, version), row


def _text(row: Resource, name: str) -> str:
    """Read a text, empty for none."""
    value = row.get(name)
    return value if isinstance(value, str) else ""
