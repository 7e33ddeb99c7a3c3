"""Value sets of the node's own, for searches by `:in` and `:not-in`.

Data flow: address or canonical URL → a ValueSet that the caller may see → the codes that it lists. Keeps true: a set
counts whole or not at all, one that its caller may not see looks unknown, and all pages of a search mean the version
that the first page meant, which their links name; what is looked up and read for one search is bounded before it is.
Trusts the gate.
Source: FHIR R4 §3.1.1.4.10 (`:in`), ValueSet (compose, expansion).
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.definitions.codes import CodeSet, listed_set
from fhir_bridge.document import Number, Resource, objects_of
from fhir_bridge.rest.ask import Pairs
from fhir_bridge.rest.canonicals import ReadOnce, found_by
from fhir_bridge.rest.core import Core
from fhir_bridge.search.budget import safe_name
from fhir_bridge.search.conditions import MAX_SETS
from fhir_bridge.search.terms import Sets, split
from fhir_bridge.smart.access import Access
from medchain.errors import InputError

MAX_BYTES: Final = 1 << 20
"""Most bytes of all value sets that are read for one search; more codes than fit into a search take more."""

MAX_ROWS: Final = 1_000
"""Most includes and excludes of a value set that are put together."""

_TYPE: Final = "ValueSet"
_MODIFIERS: Final = (":in", ":not-in")


def pinned(core: Core, access: Access, pairs: Pairs) -> tuple[Pairs, Sets]:
    """Name the versions of the value sets that a search means.

    Args:
        core: of the server.
        access: who searches.
        pairs: the parameters, as they were sent.

    Returns:
        The parameters, with each value set of the node's own by the address of its version; and all value sets.

    Raises:
        InputError: ``search.escape``; ``search.too_many`` for more than `MAX_SETS`, or more than `MAX_BYTES` of them.
    """
    asked = [(name, split(value, ",", name) if name.endswith(_MODIFIERS) else [value]) for name, value in pairs]
    names = [name for name, values in asked if name.endswith(_MODIFIERS) for _ in values]
    if not names:
        return pairs, listed_set
    if len(names) > MAX_SETS:
        raise InputError("search.too_many", parameter=safe_name(names[0]), limit=MAX_SETS)
    read = ReadOnce(core, MAX_BYTES, lambda resource, _address: codes_of(resource))
    own = read.made

    def named(text: str) -> str:
        found = None if listed_set(text) is not None else found_by(core, access, _TYPE, text)
        return text if found is None else read.address_of(found)

    said = [(name, ",".join(map(named, values)) if name.endswith(_MODIFIERS) else values[0]) for name, values in asked]
    return said, lambda text: own[text] if text in own else listed_set(text)


def codes_of(resource: Resource) -> CodeSet | None:
    """List the codes of a value set: those that it is composed of, else those that it was expanded to.

    Args:
        resource: of the right shape.

    Returns:
        System → codes; None where they are not all listed: filters, whole code systems, sets that HL7 does not list, a
        part of an expansion.
    """
    compose, expansion = resource.get("compose"), resource.get("expansion")
    found = _composed(compose) if isinstance(compose, dict) else None
    if found is None and isinstance(expansion, dict):
        found = _expanded(expansion)
    return found or None


def _composed(compose: Resource) -> CodeSet | None:
    """List what a set is composed of."""
    included, excluded = objects_of(compose.get("include")), objects_of(compose.get("exclude"))
    found: dict[str, set[str]] = {}
    if len(included) + len(excluded) > MAX_ROWS:
        return None
    for change, rows in ((set.update, included), (set.difference_update, excluded)):
        for row in rows:
            part = _part(row)
            if part is None:
                return None
            for system, codes in part.items():
                change(found.setdefault(system, set()), codes)
    return {system: frozenset(codes) for system, codes in found.items() if codes}


def _part(row: Resource) -> CodeSet | None:
    """List what one include or exclude means: concepts of a system, or another value set."""
    sets, system = row.get("valueSet"), row.get("system")
    if "filter" in row or (sets and system):
        return None
    if isinstance(sets, list):
        return listed_set(sets[0]) if len(sets) == 1 and isinstance(sets[0], str) else None
    codes = frozenset(str(one["code"]) for one in objects_of(row.get("concept")) if "code" in one)
    return {str(system): codes} if codes else None


def _expanded(expansion: Resource) -> CodeSet | None:
    """List what a set was expanded to; a part of it is none of the set."""
    found: dict[str, set[str]] = {}
    number = _gather(expansion, found)
    total = expansion.get("total")
    if "offset" in expansion or (isinstance(total, Number) and total.text != str(number)):
        return None
    return {system: frozenset(codes) for system, codes in found.items()}


def _gather(row: Resource, into: dict[str, set[str]]) -> int:
    """Gather the codes of an expansion, as deep as it nests; returns how many there are."""
    number = 0
    for one in objects_of(row.get("contains")):
        if "code" in one and one.get("abstract") is not True:
            into.setdefault(str(one.get("system", "")), set()).add(str(one["code"]))
        number += ("code" in one) + _gather(one, into)
    return number
