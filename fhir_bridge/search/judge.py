"""Conditions judged of one resource that is not in the index: of new content, and of what is made when it is asked for.

Keeps true: a condition means here what it means for a stored resource, since the same plan is compared with rows that
the same indexer makes; what stands at the other end of a reference is looked up in the index, and must fulfil what
holds of all that takes part. Trusts the planner and the indexer.
Source: `docs/spec/search-index.md`; FHIR R4 §3.1.1.4; SMART App Launch 2.2 §3.0.2 (constraints of scopes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, assert_never

import orjson

from fhir_bridge.document import Resource
from fhir_bridge.search.by_url import named_by_url, of_url
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.plan import Planner
from fhir_bridge.search.tree import Condition as Asked
from medchain.errors import InputError
from medchain.node.clock import Clock
from medchain.store.finding import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Ids,
    Linked,
    Match,
    Naming,
    Not,
    OfType,
    Referred,
    Search,
    Sighted,
    Slot,
    Together,
    Updated,
)
from medchain.store.finding import Row as AnyRow
from medchain.store.index_rows import Row
from medchain.store.indexing import FoundPage
from medchain.store.placing import MICROSECONDS

_Number = int | float | None
_COMPARED: Final[Mapping[Comparison, Callable[[float, float], bool]]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged.

    Attributes:
        type: of the resource.
        id: of the resource.
        key: what others refer to it by; empty for a contained one: nothing stored refers to that.
        updated: when it was last changed, microseconds since 1970.
        rows: its rows.
    """

    type: str
    id: str
    key: str
    updated: int
    rows: Sequence[Row]


class Judge:
    """Judges resources that are not in the index. Threads share it."""

    __slots__ = ("_clock", "_find", "_index")

    def __init__(self, index: SearchIndex, find: Callable[[Search], FoundPage], clock: Clock) -> None:
        """Prepare.

        Args:
            index: makes rows.
            find: finds stored resources, for what stands at the other end of a reference.
            clock: gives Unix seconds.
        """
        self._index = index
        self._find = find
        self._clock = clock

    def fulfils(
        self,
        type_name: str,
        resource: Resource,
        asked: Sequence[Asked],
        *,
        within: Sequence[Asked] = (),
        inside: int | None = None,
    ) -> bool:
        """Tell whether a resource fulfils conditions.

        Args:
            type_name: its type.
            resource: as in `subject`.
            asked: all must hold.
            within: what must hold of what stands at the other end of references.
            inside: as in `subject`.

        Raises:
            InputError: ``search.unsupported`` for what the index cannot answer.
            UnavailableError: as `RecordStore.find_page`.
        """
        return self.test(type_name, asked, within=within)(self.subject(type_name, resource, inside=inside))

    def subject(self, type_name: str, resource: Resource, *, inside: int | None = None) -> Subject:
        """Prepare a resource to be judged, by whatever conditions.

        Args:
            type_name: its type.
            resource: with its id; without a time of change, it is changed now.
            inside: of a contained resource, when its container was last changed, microseconds since 1970.
        """
        made = self._index.rows(type_name, resource)
        name, rows = str(resource.get("id", "")), made.rows or ()
        if inside is not None:
            return Subject(type_name, name, "", inside, rows)
        updated = self._clock() * MICROSECONDS if made.updated is None else made.updated
        return Subject(type_name, name, f"{type_name}/{name}", updated, rows)

    def test(
        self, type_name: str, asked: Sequence[Asked], *, within: Sequence[Asked] = ()
    ) -> Callable[[Subject], bool]:
        """Prepare conditions, to be asked of whatever resources of a type; arguments and errors as in `fulfils`."""
        planner = Planner(self._index.number, self._index.registry, self._clock() * MICROSECONDS, tuple(within))
        # The limits that a plan ends with are for what is stored; whoever asks has judged this resource by itself.
        planned = planner.conditions(asked, (type_name,))[: len(asked)]
        return lambda subject: all(self._holds(one, subject) for one in planned)

    def _holds(self, condition: Condition, one: Subject) -> bool:  # noqa: C901, PLR0911  # one for each kind
        """Judge one planned condition."""
        match condition:
            case AnyRow(alternatives):
                return any(_is(match, row) for row in one.rows for match in alternatives)
            case Together(rows, in_place):
                return _together(rows, in_place, one.rows)
            case Linked():
                return self._is_linked(condition, one)
            case Referred(number, _, inner, url, version):
                urls = tuple(row[2] for row in one.rows if url and row[0] == url)
                versions = [row[2] for row in one.rows if version and row[0] == version]
                refers = AnyRow((Match(number, keys=(one.key,)), *named_by_url(number, urls, versions)))
                return bool(one.key) and bool(self._find(Search((), (refers, inner), limit=1)).rows)
            case OfType(types):
                return one.type in types
            case Ids(ids):
                return one.id in ids
            case Updated(alternatives):
                return any(
                    all(_COMPARED[by](one.updated, _plain(time)) for by, time in bounds) for bounds in alternatives
                )
            case AnyOf(conditions):
                return any(self._holds(inner, one) for inner in conditions)
            case AllOf(conditions):
                return all(self._holds(inner, one) for inner in conditions)
            case Not(inner):
                return not self._holds(inner, one)
            case Sighted():
                # What is not stored was kept back from nobody.
                return True
            case Naming(numbers, names, _):
                return any(row[0] in numbers and row[2] in _array(_text(names)) for row in one.rows)
        assert_never(condition)

    def _is_linked(self, condition: Linked, one: Subject) -> bool:
        """Tell whether what a resource refers to fulfils a condition."""
        chosen, name = set(condition.numbers), condition.type
        keys = sorted({(row[2], row[3]) for row in one.rows if row[0] in chosen})
        ids = tuple(key.partition("/")[2] for key, _ in keys if key.startswith(f"{name}/"))
        named: list[Condition] = [Ids(ids)] if ids else []
        if condition.url:
            named += [of_url(condition.url, condition.version, key, version) for key, version in keys if ":" in key]
        return any(self._find(Search((name,), (way, condition.condition), limit=1)).rows for way in named)


def _together(parts: Sequence[AnyRow], in_place: Sequence[bool], rows: Sequence[Row]) -> bool:
    """Tell whether rows fulfil the parts of a composite in one place."""
    places: list[set[int]] = []
    for part, is_placed in zip(parts, in_place, strict=True):
        found = {row[1] for row in rows for match in part.alternatives if _is(match, row)}
        if not found:
            return False
        if is_placed:
            places.append(found)
    return not places or bool(set.intersection(*places))


def _is(match: Match, row: Row) -> bool:
    """Tell whether a row is what it must be; whose row it is, is known."""
    number, _, key, detail, low, high = row
    return (
        (match.number <= number < match.number + match.width or number in match.others)
        and (not match.keys or key in match.keys)
        and (not match.prefix or key.startswith(_text(match.prefix)))
        and (not match.contains or any(_text(one) in key for one in match.contains))
        and (match.detail is None or detail == match.detail)
        and all(_bounded(bound.operator, low if bound.column == "low" else high, bound.value) for bound in match.bounds)
    )


def _bounded(operator: Comparison, value: _Number, bound: float | Slot) -> bool:
    """Compare a row's number; a row without one is within no bound."""
    return value is not None and _COMPARED[operator](value, _plain(bound))


def _plain(value: float | Slot) -> float:
    """Take a value of a plan that was not prepared."""
    if isinstance(value, Slot):
        raise InputError("search.unsupported")
    return value


def _text(value: str | Slot) -> str:
    """Take a text of a plan that was not prepared."""
    if isinstance(value, Slot):
        raise InputError("search.unsupported")
    return value


@lru_cache(maxsize=8)
def _array(values: str) -> frozenset[str]:
    """Read a JSON array, which may be long, and is asked for with each of many resources."""
    return frozenset(orjson.loads(values))
