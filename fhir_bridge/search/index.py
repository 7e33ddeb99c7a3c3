"""The index of one node: which parameters it has, their numbers, and the rows of each resource.

Keeps true: the rows of a resource are made by the parameters of one state of the index, and say which; a document that
cannot be read has no rows and stops nobody. Trusts the store for the numbers.
Source: `docs/spec/search-index.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from fhir_bridge.definitions.elements import is_resource_type, type_names
from fhir_bridge.definitions.parameters import SearchParameter, parameters_of
from fhir_bridge.search.dates import span_of
from fhir_bridge.search.indexer import Indexer
from fhir_bridge.search.values import Setting
from fhir_bridge.search.walk import Resource
from medchain.store.indexing import IndexRows, IndexState
from medchain.store.records import RecordStore

FORM: Final = 2
"""Version of what rows are made of. Raised with each change of parameters, folding or units: all is indexed anew."""

_DEFAULT: Final = Setting()


class SearchIndex:
    """What resources are found by. Threads may share it."""

    __slots__ = ("_indexers", "_setting", "_state", "_store")

    def __init__(self, store: RecordStore, setting: Setting = _DEFAULT) -> None:
        """Open the index; the first time, its parameters get their numbers.

        Args:
            store: the records file.
            setting: zone and base URLs.
        """
        self._store = store
        self._setting = setting
        self._state: IndexState = store.open_index(FORM, _wanted())
        self._indexers: dict[str, Indexer] = {}

    @property
    def generation(self) -> int:
        """Which state of the index this is."""
        return self._state.generation

    @property
    def setting(self) -> Setting:
        """Zone and base URLs."""
        return self._setting

    def number(self, type_name: str, code: str) -> int:
        """Return the number of a parameter."""
        return self._state.numbers[type_name, code]

    def registry(self, type_name: str) -> Mapping[str, SearchParameter]:
        """Return the parameters of a type by their code."""
        return parameters_of(type_name)

    def refresh(self) -> None:
        """Take over what another process has made of the index."""
        if self._store.index_generation() != self._state.generation:
            self._state, self._indexers = self._store.open_index(FORM, _wanted()), {}

    def rows(self, type_name: str, resource: Resource) -> IndexRows:
        """Make the rows of a resource.

        Args:
            type_name: its type.
            resource: parsed, as it will be stored.
        """
        # Both from one state: another thread may take over a new one at any moment.
        state, indexers = self._state, self._indexers
        if not is_resource_type(type_name):
            return IndexRows((), _updated(resource), state.generation)
        indexer = indexers.get(type_name)
        if indexer is None:
            numbers = state.numbers
            indexer = Indexer(type_name, lambda code: numbers[type_name, code], setting=self._setting)
            indexers[type_name] = indexer
        return IndexRows(indexer.rows(resource), _updated(resource), state.generation)

    def rows_of(self, type_name: str, document: bytes) -> IndexRows:
        """Make the rows of a resource from its FHIR JSON."""
        try:
            resource = orjson.loads(document)
        except ValueError:
            resource = None
        return self.rows(type_name, resource if isinstance(resource, dict) else {})


def _wanted() -> list[tuple[str, str]]:
    """List HL7's parameters, and so the order in which they get their numbers."""
    return [(name, code) for name in sorted(type_names("resource")) for code in parameters_of(name)]


def _updated(resource: Resource) -> int | None:
    """Read when a resource says that it was last changed."""
    meta = resource.get("meta")
    instant = meta.get("lastUpdated") if isinstance(meta, dict) else None
    span = span_of(instant, 0) if isinstance(instant, str) else None
    return None if span is None else span.low
