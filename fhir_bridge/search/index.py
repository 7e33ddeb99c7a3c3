"""The index of one node: which parameters it has, their numbers, and the rows of each resource.

Keeps true: the rows of a resource are made by the parameters of one state of the index, and say which; a document that
cannot be read has no rows and stops nobody. Trusts the store for the numbers.
Source: `docs/spec/search-index.md`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from fhir_bridge.definitions.elements import is_resource_type, type_names
from fhir_bridge.definitions.parameters import SearchParameter, parameters_of
from fhir_bridge.document import Resource as Document
from fhir_bridge.document import parse
from fhir_bridge.search.conditions import Registry
from fhir_bridge.search.custom import of_type, read_custom
from fhir_bridge.search.indexer import CONTAINED, Indexer
from fhir_bridge.search.values import Setting
from fhir_bridge.search.walk import Resource
from medchain.dates import span_of
from medchain.errors import InputError
from medchain.node.config import time_zone
from medchain.store.finding import ANY_STATE
from medchain.store.index_rows import IndexRows
from medchain.store.indexing import IndexState
from medchain.store.records import RecordStore

FORM: Final = 7
"""Version of what rows are made of. Raised with each change of parameters, folding or units: all is indexed anew."""

LOOK_S: Final = 1.0
"""How long a change of the index may go unnoticed by who searches, in seconds."""

_LONG_NUMBER: Final = re.compile(rb"\":-?[0-9.]{16,}")


@dataclass(frozen=True, slots=True)
class _View:
    """A state of the index with what was made of it, taken over as a whole.

    Attributes:
        state: numbers, generation and zone.
        setting: that zone, and base URLs.
        custom: the node's own parameters by URL, for which rows are made.
        usable: those of them that every version has rows of.
        indexers: by type, compiled when they are needed.
        registries: by type, likewise.
    """

    state: IndexState
    setting: Setting
    custom: Mapping[str, SearchParameter]
    usable: Mapping[str, SearchParameter]
    indexers: dict[str, Indexer] = field(default_factory=dict)
    registries: dict[str, Mapping[str, SearchParameter]] = field(default_factory=dict)

    def registry(self, type_name: str) -> Mapping[str, SearchParameter]:
        """Return the parameters of a type by their code, those of the node's own that are ready among them."""
        found = self.registries.get(type_name)
        if found is None:
            own = {one.code: one for one in of_type(self.usable, type_name)}
            found = {**own, **parameters_of(type_name)} if own else parameters_of(type_name)
            self.registries[type_name] = found
        return found


def loaded(document: bytes) -> Document:
    """Parse FHIR JSON as an index needs it: quickly, but for numbers of more digits than a double is sure to have.

    Raises:
        ValueError: for what is no JSON object.
        InputError: as `fhir_bridge.document.parse`.
    """
    if _LONG_NUMBER.search(document):
        return parse(document)
    resource: Document = orjson.loads(document)
    if not isinstance(resource, dict):
        raise ValueError  # noqa: TRY004  # as for what is no JSON
    return resource


class SearchIndex:
    """What resources are found by. Threads may share it."""

    __slots__ = ("_bases", "_looked", "_store", "_view")

    def __init__(self, store: RecordStore, *, bases: frozenset[str] = frozenset(), zone: str | None = None) -> None:
        """Open the index; the first time, its parameters get their numbers.

        Args:
            store: the records file.
            bases: base URLs of this server, without a slash at the end.
            zone: name of the zone of dates without one; another than before has all indexed anew. None for that which
                the index has: one process says it, or two that had read different settings would take turns.

        Raises:
            InputError: ``config.invalid`` for a zone that this system does not know.
        """
        self._store = store
        self._bases = bases
        self._looked = time.monotonic()
        self._view = self._open(zone)

    @property
    def generation(self) -> int:
        """Which state of the index this is."""
        return self._view.state.generation

    @property
    def named(self) -> tuple[int, Registry]:
        """A state of the index and what gives its parameters; any state where those are HL7's alone."""
        view = self._view
        return (view.state.generation if view.usable else ANY_STATE), view.registry

    @property
    def setting(self) -> Setting:
        """Zone and base URLs."""
        return self._view.setting

    def number(self, type_name: str, code: str) -> int:
        """Return the number of a parameter."""
        return self._view.state.numbers[type_name, code]

    def registry(self, type_name: str) -> Mapping[str, SearchParameter]:
        """Return the parameters of a type by their code, those of the node's own that are ready among them."""
        return self._view.registry(type_name)

    def refresh(self) -> None:
        """Take over what another process has made of the index."""
        self._looked = time.monotonic()
        if self._store.index_generation() != self._view.state.generation:
            self._view = self._open()

    def look(self) -> None:
        """Take it over, too, but do not look all the time."""
        if time.monotonic() - self._looked > LOOK_S:
            self.refresh()

    def rows(self, type_name: str, resource: Resource) -> IndexRows:
        """Make the rows of a resource.

        Args:
            type_name: its type.
            resource: parsed, as it will be stored.
        """
        # One view: another thread may take over a new one at any moment.
        view = self._view
        if not is_resource_type(type_name):
            return IndexRows((), updated_of(resource), view.state.generation)
        indexer = view.indexers.get(type_name)
        if indexer is None:
            numbers = view.state.numbers
            own = [one for one in of_type(view.custom, type_name) if (type_name, one.code) in numbers]
            indexer = Indexer(
                type_name,
                lambda code: numbers[type_name, code],
                custom=own,
                setting=view.setting,
                contained=numbers[CONTAINED],
            )
            view.indexers[type_name] = indexer
        return IndexRows(indexer.rows(resource), updated_of(resource), view.state.generation)

    def rows_of(self, type_name: str, document: bytes) -> IndexRows:
        """Make the rows of a resource from its FHIR JSON."""
        try:
            return self.rows(type_name, loaded(document))
        except (ValueError, InputError):
            return self.rows(type_name, {})

    def _open(self, zone: str | None = None) -> _View:
        """Read the state of the index."""
        state = self._store.open_index(FORM, _wanted(), zone)
        custom, usable = {}, {}
        for row in self._store.custom_parameters():
            one = read_custom(orjson.loads(row.definition))
            if one is not None:
                custom[row.url] = one
                if row.is_active:
                    usable[row.url] = one
        return _View(state, Setting(time_zone(state.zone), self._bases), custom, usable)


def _wanted() -> list[tuple[str, str]]:
    """List HL7's parameters, and so the order in which they get their numbers; after them, what is no parameter."""
    return [*((name, code) for name in sorted(type_names("resource")) for code in parameters_of(name)), CONTAINED]


def updated_of(resource: Resource) -> int | None:
    """Read when a resource says that it was last changed, microseconds since 1970; None where it does not."""
    meta = resource.get("meta")
    instant = meta.get("lastUpdated") if isinstance(meta, dict) else None
    span = span_of(instant) if isinstance(instant, str) else None
    return None if span is None else span.low
