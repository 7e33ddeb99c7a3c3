"""A search as it is asked: the parameters of a request, understood and checked, as a tree.

Keeps true: what the tree says is what was asked, whole; a value that its parameter cannot have, and a modifier that its
type has not, are refused whatever the client prefers (§3.1.1.3, §3.1.1.4.4). Unknown parameters are refused or passed
over as the client prefers. Errors name the parameter and what would be right, never a value. Trusts nothing.
Source: FHIR R4 §3.1.1 (search), whose clauses stand at the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeVar

from fhir_bridge.definitions.elements import is_resource_type, type_names
from fhir_bridge.definitions.parameters import ParameterType
from fhir_bridge.search.budget import Budget, check_lengths
from fhir_bridge.search.conditions import (
    MAX_LINKS,
    Conditions,
    Context,
    UnknownParameterError,
    common_codes,
    is_reference,
    nearest,
)
from fhir_bridge.search.paths import targets_of
from fhir_bridge.search.tree import Contained, ContainedType, Include, Problem, Query, SortKey, Summary, Total
from medchain.errors import InputError

MAX_PARAMETERS: Final = 256
"""Most parameters of one search."""

MAX_INCLUDES: Final = 32
"""Most rules of ``_include`` and ``_revinclude``, each counted once."""

MAX_SORT: Final = 10
"""Most rules of ``_sort``."""

MAX_COUNT: Final = 1_000_000
"""Largest ``_count`` that is understood; the server gives less."""

UNSUPPORTED: Final = frozenset({"_filter", "_query"})
"""Refused, not passed over: without them the answer would be another one (§3.1.1.4.23, §3.1.1.7)."""

_Choice = TypeVar("_Choice", bound=StrEnum)
_DEFAULT: Final = Context()


def parse_query(pairs: Sequence[tuple[str, str]], type_name: str = "", context: Context = _DEFAULT) -> Query:
    """Understand a search.

    Args:
        pairs: names and values, percent decoding done, in their order.
        type_name: resource type of the address; empty for a search of all types (§3.1.1.4.24).
        context: parameters, preference, zone and base URLs.

    Returns:
        The search.

    Raises:
        InputError: ``search.…`` with the fields ``parameter`` and, where there is such a thing, ``expected``.
    """
    if len(pairs) > MAX_PARAMETERS:
        raise InputError("search.too_many", limit=MAX_PARAMETERS)
    check_lengths(pairs)
    reader = _Reader(context, Query(_types(pairs, type_name), generation=context.generation))
    for name, value in pairs:
        reader.read(name, value)
    reader.finish()
    return reader.query


def _types(pairs: Sequence[tuple[str, str]], type_name: str) -> tuple[str, ...]:
    """Find the types that are searched (§3.1.1.4.24)."""
    if type_name:
        if not is_resource_type(type_name):
            raise InputError("search.type", parameter="_type")
        return (type_name,)
    asked = [one for name, value in pairs if name == "_type" for one in value.split(",") if one]
    if not asked:
        return tuple(sorted(type_names("resource")))
    for one in asked:
        if not is_resource_type(one):
            raise InputError("search.type", parameter="_type")
    return tuple(dict.fromkeys(asked))


class _Reader:
    """Reads the parameters of one search, one after the other."""

    def __init__(self, context: Context, query: Query) -> None:
        """Prepare."""
        self.query = query
        self._context = context
        self._once: set[str] = set()
        self._budget = Budget()
        self._results: Mapping[str, Callable[[str], None]] = {
            "_sort": self._sort,
            "_count": self._count,
            "_total": self._total,
            "_summary": self._summary,
            "_elements": self._elements,
            "_contained": self._contained,
            "_containedType": self._contained_type,
            "_type": lambda _value: None,
        }

    def read(self, name: str, value: str) -> None:
        """Read one parameter; an empty one is passed over (§3.1.1.3)."""
        bare = name.partition(":")[0].partition(".")[0]
        if name in self._context.passed:
            self.query.used.append((name, value))
            return
        if value == "":
            return
        if bare in UNSUPPORTED:
            raise InputError("search.unsupported", parameter=bare)
        if bare in ("_include", "_revinclude"):
            self._include(name, value)
        elif bare in self._results:
            self._result(name, bare, value)
        else:
            understood = self._condition(name, value)
            if understood is None:
                return
            value = understood
        self.query.used.append((name, value))

    def finish(self) -> None:
        """Check what belongs together (§3.1.1.5.8, §3.1.1.5.3)."""
        if self.query.summary is Summary.TEXT and self.query.includes:
            raise InputError("search.summary", parameter="_summary", expected="no _include with text")
        if self.query.count == 0:
            self.query.summary = Summary.COUNT
        self.query.anywhere = self._budget.anywhere

    def _condition(self, name: str, value: str) -> str | None:
        """Read a condition; returns its value as it is meant on all pages, None where it was not understood."""
        maker = Conditions(self._context, value, self._budget)
        try:
            self.query.conditions.append(maker.read(name, self.query.types, MAX_LINKS))
        except UnknownParameterError as error:
            if self._context.strict:
                raise InputError("search.parameter", parameter=error.name, expected=error.alike) from error
            self.query.problems.append(Problem(error.name, error.alike))
            return None
        return maker.said

    def _result(self, name: str, bare: str, value: str) -> None:
        """Read a parameter that shapes the answer: without a modifier, and once, but for lists."""
        if name != bare:
            raise InputError("search.modifier", parameter=bare, expected="")
        if bare in self._once and bare not in ("_sort", "_elements", "_type"):
            raise InputError("search.repeated", parameter=bare)
        self._once.add(bare)
        self._results[bare](value)

    def _sort(self, value: str) -> None:
        """Read the order (§3.1.1.5.1)."""
        for rule in value.split(","):
            code = rule.removeprefix("-")
            known = [self._context.registry(one).get(code) for one in self.query.types]
            for one in known:
                if one is None or one.type in (ParameterType.COMPOSITE, ParameterType.SPECIAL):
                    raise InputError("search.sort", parameter="_sort", expected=nearest(code, self._codes()))
            self.query.sort.append(SortKey(code, rule.startswith("-")))
            if len(self.query.sort) > MAX_SORT:
                raise InputError("search.too_many", parameter="_sort", limit=MAX_SORT)

    def _codes(self) -> list[str]:
        """List the parameters that all searched types have."""
        return common_codes(self._context.registry, self.query.types)

    def _count(self, value: str) -> None:
        """Read the size of a page (§3.1.1.5.3)."""
        if not value.isdecimal() or not value.isascii() or len(value) > len(str(MAX_COUNT)):
            raise InputError("search.count", parameter="_count", expected="a whole number")
        self.query.count = min(int(value), MAX_COUNT)

    def _total(self, value: str) -> None:
        """Read ``_total`` (§3.1.1.5.2)."""
        self.query.total = _one_of(Total, "_total", value)

    def _summary(self, value: str) -> None:
        """Read ``_summary`` (§3.1.1.5.8)."""
        self.query.summary = _one_of(Summary, "_summary", value)

    def _contained(self, value: str) -> None:
        """Read ``_contained`` (§3.1.1.5.5)."""
        self.query.contained = _one_of(Contained, "_contained", value)

    def _contained_type(self, value: str) -> None:
        """Read ``_containedType`` (§3.1.1.5.5)."""
        self.query.contained_type = _one_of(ContainedType, "_containedType", value)

    def _elements(self, value: str) -> None:
        """Read ``_elements`` (§3.1.1.5.9)."""
        for one in value.split(","):
            name = one.rpartition(".")[2]
            if not name.isascii() or not name.isalnum():
                raise InputError("search.elements", parameter="_elements", expected="names of elements")
            self.query.elements.append(name)

    def _include(self, name: str, value: str) -> None:
        """Read ``_include`` and ``_revinclude`` (§3.1.1.5.4)."""
        bare, colon, modifier = name.partition(":")
        if colon and modifier != "iterate":
            raise InputError("search.modifier", parameter=bare, expected="iterate")
        source, code, target = _include_parts(value, bare)
        self._check_include(bare, source, code, target)
        rule = Include(source, code, target, bare == "_revinclude", bool(colon))
        if rule not in self.query.includes:
            self.query.includes.append(rule)
        if len(self.query.includes) > MAX_INCLUDES:
            raise InputError("search.too_many", parameter=bare, limit=MAX_INCLUDES)

    def _check_include(self, bare: str, source: str, code: str, target: str) -> None:
        """Refuse types that R4 has not, and parameters that are no references."""
        for one in (source, target):
            if one and not is_resource_type(one):
                raise InputError("search.include", parameter=bare, expected="Type:parameter")
        if code:
            known = self._context.registry(source)
            found = known.get(code)
            if found is None or not is_reference(found):
                references = [one.code for one in known.values() if is_reference(one)]
                raise InputError("search.include", parameter=bare, expected=nearest(code, references))
            targets = targets_of(found, source)
            if target and not targets.urls and target not in targets.types:
                raise InputError("search.include", parameter=bare, expected="|".join(targets.types))


def _include_parts(value: str, bare: str) -> tuple[str, str, str]:
    """Split the value of an include into source, code and target; the wild card becomes empty."""
    parts = value.split(":")
    if value == "*":
        return "", "", ""
    if len(parts) not in (2, 3) or "" in parts:
        raise InputError("search.include", parameter=bare, expected="Type:parameter")
    source, code = parts[0], "" if parts[1] == "*" else parts[1]
    if source == "*":
        if code:
            raise InputError("search.include", parameter=bare, expected="Type:parameter")
        source = ""
    return source, code, parts[2] if len(parts) > 2 else ""  # noqa: PLR2004  # source:code:target


def _one_of(kind: type[_Choice], name: str, value: str) -> _Choice:
    """Read one of a few words."""
    try:
        return kind(value)
    except ValueError as error:
        raise InputError("search.value", parameter=name, expected="|".join(kind)) from error
