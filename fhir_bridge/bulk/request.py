"""What a bulk export is asked for: the parameters of a kick-off, read and checked.

Keeps true: what is not supported, or not understood, is refused, unless the client says that it may be passed over;
nothing that is passed over widens what is exported. Pure.
Source: HL7 Bulk Data Access 2.0, Bulk Data Kick-off Request (query parameters).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fhir_bridge.document import Resource, member
from fhir_bridge.resources import is_storable
from medchain.dates import span_of
from medchain.encoding import Json, as_list, members
from medchain.errors import InputError

FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
"""What `_outputFormat` may be."""

NDJSON: Final = "application/fhir+ndjson"
"""Media type of the files."""

MAX_PATIENTS: Final = 10_000
"""Most patients of one group, or of one list."""

MAX_FILTERS: Final = 64
"""Most queries of `_typeFilter`."""

KNOWN: Final = frozenset({"_elements", "_outputFormat", "_since", "_type", "_typeFilter", "patient"})
"""Names of the parameters that are supported."""

_PASSED: Final = frozenset({"_format", "_pretty"})
_BETWEEN: Final = re.compile(r",(?=[A-Z][A-Za-z]*\?)")
_REFERENCE: Final = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})")
_ELEMENT: Final = re.compile(r"(?:[A-Z][A-Za-z]*\.)?[a-z][A-Za-z]*")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for.

    Attributes:
        types: resource types; None for all.
        since: an instant, or empty.
        filters: (type, search) of each query of `_typeFilter`.
        elements: names of elements as `_elements` has them; empty for all.
        patients: ids; None for no list.
        passed: names of parameters that were passed over, wholly or in part.
    """

    types: tuple[str, ...] | None = None
    since: str = ""
    filters: tuple[tuple[str, str], ...] = ()
    elements: tuple[str, ...] = ()
    patients: tuple[str, ...] | None = None
    passed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be exported, decided when it was asked for.

    Attributes:
        url: of the kick-off.
        access: who asked, as `smart.access.access_document` has it.
        types: one after the other.
        since: an instant, or empty.
        filters: (type, search), as in `Asked`.
        elements: as in `Asked`.
        of_patients: whether only what is in a patient's compartment is meant.
        patients: whose; None for anybody's.
        passed: as in `Asked`.
    """

    url: str
    access: Json
    types: tuple[str, ...]
    since: str = ""
    filters: tuple[tuple[str, str], ...] = ()
    elements: tuple[str, ...] = ()
    of_patients: bool = False
    patients: tuple[str, ...] | None = None
    passed: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[tuple[str, bool], ...]:
        """Of what it is found, one after the other: types, and then, with `since`, of which types what was deleted."""
        there = tuple((name, False) for name in self.types)
        return there + tuple((name, True) for name in self.types) if self.since else there


class Reader:
    """Reads the parameters of one kick-off."""

    __slots__ = ("_by_post", "_lenient", "_passed")

    def __init__(self, *, by_post: bool, lenient: bool) -> None:
        """Prepare.

        Args:
            by_post: whether they came as Parameters.
            lenient: whether what is not supported is passed over.
        """
        self._by_post = by_post
        self._lenient = lenient
        self._passed: dict[str, None] = {}

    def read(self, pairs: Sequence[tuple[str, str]]) -> Asked:
        """Read them; raises `InputError` ``export.parameter`` with the name of what is not supported or not valid."""
        given: dict[str, list[str]] = {}
        for name, value in pairs:
            if value:
                given.setdefault(name, []).append(value)
        for name in _PASSED & given.keys():
            del given[name]
        formats = given.pop("_outputFormat", [])
        # A plus sign that was not percent-encoded has become a blank.
        if not all(one.replace(" ", "+").lower() in FORMATS for one in formats):
            raise refused("_outputFormat")
        types = self._types(given.pop("_type", None))
        since = _since(given.pop("_since", []))
        filters = self._filters(given.pop("_typeFilter", []), types)
        elements = self._elements(given.pop("_elements", []))
        patients = self._patients(given.pop("patient", None))
        for name in given:
            self._pass(name if name == "includeAssociatedData" else "")
        return Asked(types, since, filters, elements, patients, tuple(self._passed))

    def _pass(self, name: str) -> None:
        """Pass something over, or refuse it."""
        if not self._lenient:
            raise refused(name)
        self._passed[name] = None

    def _types(self, values: list[str] | None) -> tuple[str, ...] | None:
        """Read `_type`; one that is not stored is not supported."""
        if values is None:
            return None
        found = list(dict.fromkeys(name for name in _listed(values)))
        for name in found:
            if not is_storable(name):
                self._pass("_type")
        return tuple(name for name in found if is_storable(name))

    def _filters(self, values: list[str], types: tuple[str, ...] | None) -> tuple[tuple[str, str], ...]:
        """Read `_typeFilter`: searches of types, parted by commas."""
        found = []
        for text in [one for value in values for one in _BETWEEN.split(value)]:
            name, mark, query = text.partition("?")
            if not (mark and query and is_storable(name) and (types is None or name in types)):
                self._pass("_typeFilter")
                continue
            found.append((name, query))
        if len(found) > MAX_FILTERS:
            raise refused("_typeFilter")
        return tuple(dict.fromkeys(found))

    def _elements(self, values: list[str]) -> tuple[str, ...]:
        """Read `_elements`."""
        found = tuple(dict.fromkeys(_listed(values)))
        if not all(_ELEMENT.fullmatch(one) for one in found):
            raise refused("_elements")
        return found

    def _patients(self, values: list[str] | None) -> tuple[str, ...] | None:
        """Read `patient`, which only a POST may have: it would stand in an address."""
        if values is None:
            return None
        if not self._by_post:
            raise refused("patient")
        found = [_REFERENCE.fullmatch(one) for one in values]
        if not all(found) or len(found) > MAX_PATIENTS:
            raise refused("patient")
        return tuple(dict.fromkeys(one[1] for one in found if one is not None))


def refused(name: str) -> InputError:
    """Make the error that says which parameter is not supported or not valid; a client's own name is not repeated."""
    return InputError("export.parameter", parameter=name)


def pairs_of(parameters: Resource) -> list[tuple[str, str]]:
    """Read Parameters as names and values; raises `InputError` ``export.body``, ``export.parameter``."""
    if member(parameters, "resourceType") != "Parameters":
        raise InputError("export.body")
    pairs = []
    rows = parameters.get("parameter", [])
    for row in rows if isinstance(rows, list) else [None]:
        if not isinstance(row, dict):
            raise InputError("export.body")
        name = member(row, "name")
        value = next((value for key, value in row.items() if key.startswith("value")), None)
        text = member(value, "reference") if isinstance(value, dict) else value
        if not isinstance(text, str) or not text:
            raise refused(name if name in KNOWN else "")
        pairs.append((name, text))
    return pairs


def order_document(order: Order) -> Json:
    """Write an order; the inverse of `parse_order`."""
    document: dict[str, Json] = {
        "access": order.access,
        "elements": list(order.elements),
        "filters": [list(one) for one in order.filters],
        "of_patients": order.of_patients,
        "passed": list(order.passed),
        "since": order.since,
        "types": list(order.types),
        "url": order.url,
    }
    return document if order.patients is None else {**document, "patients": list(order.patients)}


def parse_order(document: Json) -> Order:
    """Read what `order_document` wrote; raises `InputError`."""
    lists = dict.fromkeys(("elements", "filters", "passed", "types"), list)
    shape = {"access": dict, "of_patients": bool, "since": str, "url": str, **lists}
    found = members(document, shape, {"patients": list})
    patients = found.get("patients")
    filters = found["filters"]
    return Order(
        str(found["url"]),
        found["access"],
        _texts(found["types"]),
        str(found["since"]),
        tuple((one[0], one[1]) for row in as_list(filters) if len(one := _texts(row)) == 2),  # noqa: PLR2004  # a pair
        _texts(found["elements"]),
        found["of_patients"] is True,
        None if patients is None else _texts(patients),
        _texts(found["passed"]),
    )


def _since(values: list[str]) -> str:
    """Read `_since`."""
    if not values:
        return ""
    text = values[-1].replace(" ", "+")
    if len(values) > 1 or span_of(text) is None:
        raise refused("_since")
    return text


def _listed(values: Iterable[str]) -> list[str]:
    """Read lists with commas, which may come several times as well."""
    return [one.strip() for value in values for one in value.split(",") if one.strip()]


def _texts(value: Json) -> tuple[str, ...]:
    """Narrow a list of texts."""
    return tuple(str(one) for one in as_list(value))
