"""All index rows of a resource in one walk.

Keeps true: the rows depend on the resource, the parameters and the setting, on nothing else, and none stands twice.
Composite parameters have no rows of their own: the rows of their parts say by their place which belong together. Trusts
the parameters' numbers, which the store gives out.
Source: FHIR R4 §3.1.1.4, §3.1.1.4.17; `docs/spec/search-index.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple, TypeAlias

from fhir_bridge.definitions.elements import is_resource_type, members, type_names
from fhir_bridge.definitions.parameters import ParameterType, SearchParameter, parameters_of
from fhir_bridge.search.cells import Emit, Variant, list_of
from fhir_bridge.search.owner import NOBODY, SEVERAL, owner_of
from fhir_bridge.search.paths import routes
from fhir_bridge.search.values import Setting, emitter
from fhir_bridge.search.walk import Collect, Get, Op, Out, Resource, Route, compile_walk
from medchain.errors import InputError

Row: TypeAlias = "tuple[int, int, str, str, int | float | None, int | float | None]"
"""Parameter's number and variant in one, place, key, detail, low, high."""

VARIANTS: Final = 8
"""A row's first number is that of its parameter times this, plus the variant."""

IN_COLUMNS: Final = frozenset({"_id", "_lastUpdated"})
"""Parameters that are columns of the resource itself."""

UNINDEXED: Final = frozenset({"_text", "_content", "_query"})
"""Parameters without an expression."""

CONTAINED: Final = ("", "_contained")
"""Type and code of what says of which types a resource's contained ones are; no parameter that a search can name."""

PATIENT: Final = "Patient"
"""The type of those by whom rows are kept together."""

LIST_ITEM: Final = ("List", "item")
"""Type and code of the parameter by which a List is asked for its members."""

_OF_PATIENT: Final = "Patient/"
# What is marked as deleted is "no longer in the list" (List.entry.deleted). A flag says it by no code that R4 fixes:
# "if the flag means that the entry has actually been deleted from the list, the deleted element SHALL be true".
_LISTED: Final = "List.entry.where(deleted.empty() or deleted = false).item"
_DEFAULT: Final = Setting()


class Part(NamedTuple):
    """A part of a composite parameter.

    Attributes:
        code: the parameter of the same type whose rows answer for it.
        in_place: whether its rows must have the place of the other parts'; not so for what belongs to the resource.
    """

    code: str
    in_place: bool


class Indexer:
    """The compiled parameters of one resource type."""

    __slots__ = ("_contained", "_patients", "_walk", "type_name")

    def __init__(
        self,
        type_name: str,
        number: Callable[[str], int],
        *,
        custom: Iterable[SearchParameter] = (),
        setting: Setting = _DEFAULT,
        contained: int | None = None,
    ) -> None:
        """Compile.

        Args:
            type_name: resource type.
            number: gives each parameter of the type, by its code, a number that never changes.
            custom: parameters beside HL7's; one with the code of another takes its place.
            setting: zone and base URLs.
            contained: number of `CONTAINED`; None for no such rows.

        Raises:
            InputError: ``search.expression`` for a custom parameter that cannot be compiled.
        """
        self.type_name = type_name
        self._contained = contained
        chosen = {**parameters_of(type_name), **{one.code: one for one in custom}}
        self._walk = compile_walk(_entries(type_name, chosen, number, setting))
        self._patients = frozenset(
            number(code) * VARIANTS for code, one in chosen.items() if one.type is ParameterType.REFERENCE
        )

    def rows(self, resource: Resource) -> list[Row]:
        """Make the rows of a resource.

        Args:
            resource: parsed; of this type.

        Returns:
            Its rows, each once.
        """
        out: list[Row] = []
        self._walk(resource, out)
        if self._contained is not None and "contained" in resource:
            number = self._contained * VARIANTS
            out += [(number, 0, name, "", None, None) for name in _held(resource)]
        owner = self._owner(out)
        # A row without numbers of its own says whose it is.
        return list(
            dict.fromkeys(
                [row if row[4] is not None else (row[0], row[1], row[2], row[3], owner, None) for row in out]
                if owner
                else out
            )
        )

    def _owner(self, rows: Iterable[Row]) -> int:
        """Tell which patient a resource refers to."""
        if self.type_name == PATIENT:
            return SEVERAL
        patients = self._patients
        found = {row[2] for row in rows if row[0] in patients and row[2].startswith(_OF_PATIENT)}
        if not found:
            return NOBODY
        return owner_of(found.pop()) if len(found) == 1 else SEVERAL


def _held(resource: Resource) -> list[str]:
    """List the types of the contained resources."""
    found = (one.get("resourceType") for one in list_of(resource["contained"]) if isinstance(one, dict))
    return [one for one in found if isinstance(one, str) and is_resource_type(one)]


def prepare() -> Iterator[None]:
    """Lay out HL7's parameters, type after type, for processes that will be forked from this one."""
    for name in sorted(type_names("resource")):
        _entries(name, parameters_of(name), lambda _code: 1, _DEFAULT)
        yield


def compiles(one: SearchParameter, type_name: str, setting: Setting = _DEFAULT) -> bool:
    """Tell whether a parameter has values for a type; raises `InputError` ``search.expression`` as `Indexer`."""
    return bool(_entries(type_name, {one.code: one}, lambda _code: 1, setting))


def _entries(
    type_name: str, chosen: Mapping[str, SearchParameter], number: Callable[[str], int], setting: Setting
) -> list[tuple[Route, Collect]]:
    """Group the parameters that take the same values of the same element, so that these are made once."""
    groups: dict[tuple[Route, ParameterType], list[int]] = {}
    for code in sorted(chosen):
        one = chosen[code]
        if code in IN_COLUMNS or not one.expression or one.type is ParameterType.COMPOSITE:
            continue
        for route in routes(one.expression, type_name):
            groups.setdefault((route, one.type), []).append(number(code) * VARIANTS)
    entries = []
    for (route, kind), numbers in groups.items():
        emit = emitter(kind, route.type, route.element, setting)
        if emit is not None:
            entries.append((route, _collector(emit, tuple(numbers))))
    if LIST_ITEM[0] == type_name and LIST_ITEM[1] in chosen:
        item = chosen[LIST_ITEM[1]]
        for route in routes(_LISTED, type_name):
            emit = emitter(item.type, route.type, route.element, setting)
            if emit is not None:
                entries.append((route, _collector(_listed(emit), (number(item.code) * VARIANTS,))))
    return entries


def _listed(emit: Emit) -> Emit:
    """Make the cells of where a reference points such of what is on a List."""
    return lambda value: [
        (Variant.LISTED, key, detail, low, high)
        for variant, key, detail, low, high in emit(value)
        if variant is Variant.MAIN
    ]


def _collector(emit: Emit, numbers: tuple[int, ...]) -> Collect:
    """Write the cells of a value as rows of one or several parameters."""
    if len(numbers) == 1:
        (only,) = numbers

        def collect_one(value: object, _resource: Resource, place: int, out: Out) -> None:
            for variant, key, detail, low, high in emit(value):
                out.append((only + variant, place, key, detail, low, high))

        return collect_one

    def collect(value: object, _resource: Resource, place: int, out: Out) -> None:
        for variant, key, detail, low, high in emit(value):
            for number in numbers:
                out.append((number + variant, place, key, detail, low, high))

    return collect


@cache
def composite_parts(type_name: str, code: str) -> tuple[Part, ...]:
    """Tell whose rows answer for the parts of one of HL7's composite parameters.

    Args:
        type_name: resource type.
        code: the composite's code.

    Returns:
        The parts, in the order of the values in a query.

    Raises:
        InputError: ``search.composite`` where no parameter has the values of a part.
    """
    return parts_of(parameters_of(type_name)[code], type_name, parameters_of(type_name))


def parts_of(composite: SearchParameter, type_name: str, known: Mapping[str, SearchParameter]) -> tuple[Part, ...]:
    """Tell whose rows answer for the parts of a composite parameter; as `composite_parts`, custom ones included."""
    bases = routes(composite.expression, type_name)
    is_of_whole = not any(base.ops for base in bases)
    found = []
    for component in composite.components:
        # Who may write a definition chooses how many bases it has; what lies below depends on what they hold alone.
        below = {one: routes(component.expression, type_name, one) for one in {base.content for base in bases}}
        wanted = {(*base.ops, *route.ops) for base in bases for route in below[base.content]}
        # What is the resource's own belongs together wherever in it it lies.
        in_place = not (is_of_whole and any(_lies_in_array(ops, type_name) for ops in wanted))
        if component.expression.lstrip("( ").startswith("%"):
            in_place = False
            wanted = {route.ops for route in routes(component.expression.replace("%resource", type_name), type_name)}
        found.append(Part(_answering(wanted, component.definition, type_name, known), in_place))
    return tuple(found)


def _lies_in_array(ops: tuple[Op, ...], type_name: str) -> bool:
    """Tell whether steps from a resource lead into an array at its top, whose items are the places of rows."""
    first = ops[0] if ops else None
    known = members(type_name).get(first.name) if isinstance(first, Get) else None
    return known is not None and known.element.is_array


def _answering(wanted: set[tuple[Op, ...]], url: str, type_name: str, known: Mapping[str, SearchParameter]) -> str:
    """Find the parameter with exactly the values of a part, otherwise the one that HL7 names, if it shares some."""
    named = [one for one in known.values() if one.url == url]
    covering = ""
    for one in (*named, *known.values()):
        if not one.expression or one.type is ParameterType.COMPOSITE:
            continue
        ways = {route.ops for route in routes(one.expression, type_name)}
        if ways == wanted:
            return one.code
        if not covering and one.url == url and ways & wanted:
            covering = one.code
    if not covering:
        raise InputError("search.composite", type=type_name)
    return covering
