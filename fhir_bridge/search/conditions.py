"""Conditions of a search: names with modifiers, chains and reverse chains, and their values.

Keeps true: every link of a chain is a reference that R4 or a custom parameter defines, and its end a parameter of the
type it leads to. Trusts nothing.
Source: FHIR R4 §3.1.1.4.4, §3.1.1.4.12 to 17, §3.1.1.4.22.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from difflib import get_close_matches
from typing import Final, TypeAlias

from fhir_bridge.definitions.codes import listed_set
from fhir_bridge.definitions.elements import is_resource_type
from fhir_bridge.definitions.parameters import ParameterType, SearchParameter, parameters_of
from fhir_bridge.search.budget import ALTERNATIVE, CONDITION, Budget, safe_name
from fhir_bridge.search.current import BY_STATUS, KEPT
from fhir_bridge.search.indexer import UNINDEXED
from fhir_bridge.search.paths import Targets, targets_of
from fhir_bridge.search.terms import NOWHERE, Modifier, Sets, Systems, no_systems, own_system, read_term, split
from fhir_bridge.search.tree import Chain, Condition, Criterion, Has, Listed
from medchain.errors import InputError
from medchain.store.finding import ANY_STATE

MAX_VALUES: Final = 1_000
"""Most values of one parameter, joined by commas."""

MAX_SETS: Final = 32
"""Most value sets of one parameter: each is looked up or listed, with all its codes."""

MAX_LINKS: Final = 8
"""Most links of a chain, ``_has`` among them."""

Registry: TypeAlias = Callable[[str], Mapping[str, SearchParameter]]
"""Gives the parameters of a resource type by their code, custom ones among them."""

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Context:
    """What a search is understood with.

    Attributes:
        registry: the parameters of each type.
        strict: whether unknown parameters are refused (``Prefer: handling=strict``).
        passed: parameters that others understand, such as ``_format``.
        zone: of dates without one.
        bases: base URLs of this server, without a slash at the end.
        generation: the state of the index of which the registry is; any where it has HL7's parameters alone.
        sets: value sets, for ``:in``; HL7's where nobody says others.
        systems: code systems beside HL7's and ICD-10, for ``:above`` and ``:below``.
    """

    registry: Registry = parameters_of
    strict: bool = False
    passed: frozenset[str] = frozenset({"_format", "_pretty"})
    zone: tzinfo = UTC
    bases: frozenset[str] = frozenset()
    generation: int = ANY_STATE
    sets: Sets = listed_set
    systems: Systems = no_systems


class UnknownParameterError(Exception):
    """No searched type has the parameter."""

    def __init__(self, code: str, alike: str) -> None:
        """Keep the name, if it is no more than that, and what it may have meant."""
        super().__init__("search.parameter")
        self.name = safe_name(code)
        self.alike = alike


class Conditions:
    """Reads one condition, links and all, for `query`."""

    def __init__(self, context: Context, value: str, budget: Budget) -> None:
        """Keep the value, which belongs to the last link, and what all conditions of the search share."""
        self._context = context
        self._value = value
        self._budget = budget
        self.said = value
        """The value, with the versions of the code systems that it means."""

    def read(self, name: str, types: tuple[str, ...], links: int) -> Condition:
        """Read a condition on resources of some types."""
        self._budget.take(name, CONDITION)
        if links == 0:
            raise InputError("search.chain", parameter=safe_name(name), expected=f"at most {MAX_LINKS} links")
        if name.startswith("_has:"):
            return self._has(name, types, links)
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        if code == "_list":
            return self._list(modifier, dot, types)
        kind = self._kind(code, types)
        if dot:
            return self._chain(code, modifier, rest, types, links)
        return self._criterion(code, kind, modifier, types)

    def _kind(self, code: str, types: tuple[str, ...]) -> ParameterType:
        """Find the type of a parameter, which all searched types must have alike (§3.1.1.4.24)."""
        if code in UNINDEXED:
            # Nothing is kept by which it could be answered: it would find nothing, and seem to have looked.
            raise InputError("search.unsupported", parameter=code)
        kinds = set()
        for one in types:
            found = self._context.registry(one).get(code)
            if found is None:
                raise UnknownParameterError(code, nearest(code, common_codes(self._context.registry, types)))
            kinds.add(found.type)
        if len(kinds) != 1:
            raise InputError("search.type", parameter=code)
        return kinds.pop()

    def _has(self, name: str, types: tuple[str, ...], links: int) -> Has:
        """Read a reverse chain (§3.1.1.4.16)."""
        parts = name.split(":", 3)
        if len(parts) < 4 or not is_resource_type(parts[1]):  # noqa: PLR2004  # _has:type:reference:rest
            raise InputError("search.has", parameter="_has", expected="_has:Type:reference:parameter")
        _, source, code, rest = parts
        found = self._context.registry(source).get(code)
        if found is None or found.type is not ParameterType.REFERENCE:
            references = [one.code for one in self._context.registry(source).values() if is_reference(one)]
            raise InputError("search.has", parameter="_has", expected=nearest(code, references))
        targets = targets_of(found, source)
        if not targets.urls and not set(targets.types) & set(types):
            raise InputError("search.has", parameter="_has", expected="|".join(targets.types))
        return Has(source, code, self._linked(rest, source, links, "search.has"))

    def _linked(self, rest: str, type_name: str, links: int, code: str) -> Condition:
        """Read what a link leads to; a parameter that is unknown there makes the whole meaningless."""
        try:
            return self.read(rest, (type_name,), links - 1)
        except UnknownParameterError as error:
            raise InputError(code, parameter=error.name, expected=error.alike) from error

    def _chain(self, code: str, modifier: str, rest: str, types: tuple[str, ...], links: int) -> Chain:
        """Read a chain (§3.1.1.4.15): with a type, or with all types that have the parameter."""
        if any(not is_reference(self._context.registry(one)[code]) for one in types):
            raise InputError("search.chain", parameter=code, expected="a reference before the dot")
        possible = self._targets(code, types).types
        if modifier and modifier not in possible:
            raise InputError("search.chain", parameter=code, expected="|".join(possible))
        if modifier:
            return Chain(code, ((modifier, self._linked(rest, modifier, links, "search.chain")),))
        first = re.split(r"[:.]", rest, maxsplit=1)[0]
        able = [one for one in possible if first in ("_has", "_list") or first in self._context.registry(one)]
        if not able:
            alike = nearest(first, sorted({other for one in possible for other in self._context.registry(one)}))
            raise InputError("search.chain", parameter=safe_name(first), expected=alike)
        return Chain(code, self._able(able, rest, links))

    def _able(self, able: list[str], rest: str, links: int) -> tuple[tuple[str, Condition], ...]:
        """Read the rest of a chain for each type; those for which it has no meaning are left out, but not all."""
        found: list[tuple[str, Condition]] = []
        refused: InputError | None = None
        for one in able:
            try:
                found.append((one, self._linked(rest, one, links, "search.chain")))
            except InputError as error:
                if error.code == "search.too_many":
                    # Not of this type alone: what is left out for it would be missing from the answer.
                    raise
                refused = error
        if not found and refused is not None:
            raise refused
        return tuple(found)

    def _targets(self, code: str, types: tuple[str, ...]) -> Targets:
        """Tell what a reference may point to, in any of some types."""
        found = [targets_of(self._context.registry(one)[code], one) for one in types]
        names = dict.fromkeys(name for one in found for name in one.types)
        return Targets(tuple(names), any(one.urls for one in found))

    def _list(self, modifier: str, dot: str, types: tuple[str, ...]) -> Listed:
        """Read ``_list`` (§3.1.1.4.22)."""
        if modifier or dot:
            raise InputError("search.modifier", parameter="_list", expected="")
        # Each once: a list by what it is for is planned with all that R4 says of it.
        lists = tuple(dict.fromkeys(split(self._value, ",", "_list")))
        self._budget.take("_list", len(lists))
        for one in lists:
            if one.startswith("$") and one not in KEPT:
                raise InputError("search.value", parameter="_list", expected="|".join(sorted(KEPT)))
            named = BY_STATUS.get(one, {})
            self._budget.take("_list", ALTERNATIVE * sum(1 + len(named[each]) for each in types if each in named))
            if _ID.fullmatch(one.removeprefix("$").removeprefix("List/")) is None:
                raise InputError("search.value", parameter="_list", expected="id")
        return Listed(tuple(one.removeprefix("List/") for one in lists))

    def _criterion(self, code: str, kind: ParameterType, text: str, types: tuple[str, ...]) -> Criterion:
        """Read a parameter, its modifier and its values."""
        modifier, targets = self._modifier(code, kind, text, types)
        if modifier is Modifier.MISSING:
            if self._value not in ("true", "false"):
                raise InputError("search.value", parameter=code, expected="true|false")
            self._budget.take(code, (len(types) - 1) * ALTERNATIVE)
            return Criterion(code, kind, modifier, (), missing=self._value == "true")
        pieces = split(self._value, ",", code)
        limit = MAX_SETS if modifier in (Modifier.IN, Modifier.NOT_IN) else MAX_VALUES
        if len(pieces) > limit:
            raise InputError("search.too_many", parameter=code, limit=limit)
        self._budget.take(code, len(pieces))
        if kind is ParameterType.STRING and modifier in (Modifier.CONTAINS, Modifier.TEXT):
            self._budget.take_anywhere(code, len(set(pieces)))
        if kind is ParameterType.TOKEN and modifier in (Modifier.ABOVE, Modifier.BELOW):
            self.said = ",".join(self._pinned(piece, code, modifier) for piece in pieces)
        known = self._context
        definition = known.registry(types[0])[code]
        terms = (
            read_term(piece, definition, modifier, targets, known.zone, known.bases, known.sets, known.systems)
            for piece in dict.fromkeys(pieces)
            if piece
        )
        return Criterion(code, kind, modifier, self._budget.take_terms(code, terms, modifier, len(types)))

    def _pinned(self, text: str, code: str, modifier: Modifier) -> str:
        """Name the version of the code system that a value means, if it is one of the node's own."""
        own = own_system(text, code, modifier, self._context.systems)
        return text if own is None else f"{own.address}|{split(text, '|', code)[-1]}"

    def _modifier(self, code: str, kind: ParameterType, text: str, types: tuple[str, ...]) -> tuple[Modifier, Targets]:
        """Read a modifier (§3.1.1.4.4); for a reference it may be a type. Returns it and the types that are meant."""
        allowed = _OF_ID if code == "_id" else _MODIFIERS[kind]
        targets = self._targets(code, types) if kind is ParameterType.REFERENCE else NOWHERE
        if not text:
            return Modifier.NONE, targets
        if kind is ParameterType.REFERENCE and text in targets.types:
            return Modifier.TYPE, Targets((text,), urls=False)
        if text not in allowed:
            raise InputError("search.modifier", parameter=code, expected="|".join(sorted(allowed)))
        return Modifier(text), targets


# An id has no system and no words.
_OF_ID: Final = frozenset({"missing", "not"})
# Which modifiers a type has (§3.1.1.4.4, §3.1.1.4.10, §3.1.1.4.12 to 14); a reference also takes the name of a type.
_MODIFIERS: Final[Mapping[ParameterType, frozenset[str]]] = {
    ParameterType.STRING: frozenset({"missing", "exact", "contains", "text"}),
    ParameterType.TOKEN: frozenset({"missing", "text", "not", "above", "below", "in", "not-in", "of-type"}),
    ParameterType.REFERENCE: frozenset({"missing", "identifier", "above", "below"}),
    ParameterType.URI: frozenset({"missing", "above", "below"}),
    ParameterType.DATE: frozenset({"missing"}),
    ParameterType.NUMBER: frozenset({"missing"}),
    ParameterType.QUANTITY: frozenset({"missing"}),
    ParameterType.COMPOSITE: frozenset(),
    ParameterType.SPECIAL: frozenset(),
}


def is_reference(one: SearchParameter) -> bool:
    """Tell whether a parameter is a reference."""
    return one.type is ParameterType.REFERENCE


def common_codes(registry: Registry, types: Sequence[str]) -> list[str]:
    """List the codes that all types have."""
    found = set(registry(types[0]))
    for one in types[1:]:
        found &= set(registry(one))
    return sorted(found)


def nearest(code: str, known: Sequence[str]) -> str:
    """Find the known code that looks most like one."""
    return next(iter(get_close_matches(code[:64], known, 1)), "")
