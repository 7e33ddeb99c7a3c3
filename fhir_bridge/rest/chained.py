"""Chains into contained resources (FHIR R4 §3.1.1.5.5), and into the entries of Bundles that are documents or messages.

What lies within a record has no rows of its own: what a chain may lead to is judged when its container is opened, and
the containers that fulfil the chain so are named to the search beside those that fulfil it by a reference. Keeps true:
what counts is the contained resource that the chain's parameter refers to (``#id``), or the first entry of a Bundle,
whose references lead to the other entries and nowhere else; and only where the caller may find one of its type by its
container; all is of the snapshot of the page; where more containers would have to be opened than `LOOKED`, the answer
says so. Trusts the gate, the judge and the index.
Source: FHIR R4 §3.1.1.4.15 (chains), §3.1.1.5.5 (contained resources), §2.3.0.3 (``#id``), §2.36.4.1 (references in
Bundles), SearchParameter Bundle-composition and Bundle-message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from fhir_bridge.definitions.parameters import ParameterType
from fhir_bridge.document import Element, Resource, member, objects_of
from fhir_bridge.resources import ID_PATTERN, TYPE_PATTERN
from fhir_bridge.rest.ask import Ask
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.pages import content_of
from fhir_bridge.search.cursor import Position
from fhir_bridge.search.index import loaded, updated_of
from fhir_bridge.search.indexer import VARIANTS
from fhir_bridge.search.paths import is_nested
from fhir_bridge.search.terms import Modifier, TokenTerm
from fhir_bridge.search.tree import ByType, Chain, Condition, Containing, Criterion, Either, Query
from fhir_bridge.smart.scopes import Action
from medchain.crypto.keywrap import WrappingKey
from medchain.store.finding import NEWEST
from medchain.store.indexing import FoundRow
from medchain.store.placing import MICROSECONDS
from medchain.store.versions import Found

LOOKED: Final = 2_000
"""Most containers that are opened for the chains of one page."""

# Stands for a contained resource in a reference: no id that a client chooses has so little sense.
_MARK: Final = "contained.in.this.resource-"

_BUNDLE: Final = "Bundle"
# Which Bundles have a first entry of a kind (Bundle-composition, Bundle-message).
_KINDS: Final = {"composition": "document", "message": "message"}
_ADDRESS: Final = re.compile(rf"https?:[^?#]+/({TYPE_PATTERN.pattern}/{ID_PATTERN.pattern})")

_Names: TypeAlias = "dict[str, str]"


def into_contained(core: Core, ask: Ask, query: Query, cursor: str | None) -> bool:
    """Have the chains of a search lead into contained resources as well.

    Args:
        core: of the server.
        ask: the request.
        query: the search; its chains are replaced.
        cursor: where the page begins; None for the first.

    Returns:
        Whether more containers would have to be opened.
    """
    if not any(isinstance(one, Chain) for one in query.conditions):
        return False
    position = None if cursor is None else core.search.cursors.open(cursor, ask.who.client)
    chains = _Chains(core, ask, NEWEST if position is None else position.snapshot, query.generation)
    others = [one for one in query.conditions if not isinstance(one, Chain)]
    query.conditions = [
        chains.widened(query.types, one, others) if isinstance(one, Chain) else one for one in query.conditions
    ]
    return chains.is_cut


class _Chains:
    """Finds containers for the chains of one page."""

    def __init__(self, core: Core, ask: Ask, snapshot: int, generation: int) -> None:
        """Begin."""
        self._generation = generation
        self._core = core
        self._ask = ask
        self._snapshot = snapshot
        self._within = core.gate.within(ask.who)
        self._keys: dict[bytes, WrappingKey] = {}
        self._left = LOOKED
        self.is_cut = False

    def widened(self, types: Sequence[str], chain: Chain, others: Sequence[Condition] = ()) -> Condition:
        """Write a chain as itself, or one of the containers that fulfil it.

        Args:
            types: that the chain begins at.
            chain: the chain.
            others: what must hold of containers, too, so that fewer are opened.
        """
        ways = [] if self._is_nested(types, chain) else [self._outside(chain)]
        found: dict[str, list[str]] = {}
        for row, resource in self._containers(types, chain, others):
            if Container(self._core, self._ask, self._within, row, resource).fulfils(resource, row.stored.type, chain):
                found.setdefault(row.stored.type, []).append(row.stored.id)
        for name, ids in found.items():
            terms = tuple(TokenTerm(None, one) for one in ids)
            ways.append(ByType(((name, (Criterion("_id", ParameterType.TOKEN, Modifier.NONE, terms),)),)))
        return ways[0] if len(ways) == 1 else Either(tuple(ways))

    def _outside(self, chain: Chain) -> Condition:
        """Write a chain that leads to records, and from there into what those contain."""
        targets = tuple(
            (name, self.widened((name,), inner) if isinstance(inner, Chain) else inner) for name, inner in chain.targets
        )
        return Chain(chain.code, targets)

    def _is_nested(self, types: Sequence[str], chain: Chain) -> bool:
        """Tell whether a chain leads into the records that it begins at, and nowhere else."""
        registry = self._core.search.index.registry
        return any(is_nested(registry(one)[chain.code], one) for one in types)

    def _holding(self, types: Sequence[str], chain: Chain) -> Condition:
        """Say which records may hold what a chain leads to."""
        if self._is_nested(types, chain):
            return Criterion("type", ParameterType.TOKEN, Modifier.NONE, (TokenTerm(None, _KINDS[chain.code]),))
        return Containing(tuple(name for name, _ in chain.targets))

    def _containers(
        self, types: Sequence[str], chain: Chain, others: Sequence[Condition]
    ) -> list[tuple[Found, Resource]]:
        """Open what contains something that the chain may lead to."""
        asked = Query(tuple(types), [self._holding(types, chain), *others])
        asked.generation = self._generation
        begin = Position(asked.types, (), self._snapshot, self._core.clock(), (), self._ask.who.client)
        rows: list[FoundRow] = self._core.search.page(asked, begin, self._left + 1, within=self._within).rows
        self.is_cut |= len(rows) > self._left
        rows = rows[: self._left]
        self._left -= len(rows)
        opened = []
        for one in self._core.reader.numbered([row.number for row in rows]):
            content = None if one is None else content_of(self._core, one, self._keys)
            if one is not None and content:
                opened.append((one, loaded(content)))
        return opened


@dataclass(slots=True)
class Container:
    """Judges what one record contains, or a Bundle has as entries.

    Attributes:
        core: of the server.
        ask: the request.
        within: what must hold of what is stored.
        found: the record.
        resource: what it holds.
    """

    core: Core
    ask: Ask
    within: Sequence[Condition]
    found: Found
    resource: Resource

    def fulfils(self, holder: Resource, type_name: str, chain: Chain) -> bool:
        """Tell whether the record, or something in it, refers by a chain to something in it that fulfils the rest."""
        conditions = dict(chain.targets)
        return any(
            name in conditions and self._meets(one, name, conditions[name])
            for name, one in self._meant(holder, type_name, chain.code)
        )

    def _meant(self, holder: Resource, type_name: str, code: str) -> Iterator[tuple[str, Resource]]:
        """Give what lies in the record and is meant by a parameter of it, or of something in it, with its type."""
        index = self.core.search.index
        known = index.registry(type_name).get(code)
        if known is None:
            return
        held = _entries_of(self.resource) if self._is_bundle else _contained_in(self.resource)
        if is_nested(known, type_name):
            yield from ((one.type, one.resource) for one in held[:1])
            return
        names = {name: f"{one.type}/{_MARK}{place}" for place, one in enumerate(held) for name in one.names}
        outside = {name: value for name, value in holder.items() if name != "contained"}
        number = index.number(type_name, code) * VARIANTS
        keys = {row[2] for row in index.rows(type_name, _renamed(outside, names)).rows or () if row[0] == number}
        for place, one in enumerate(held):
            if f"{one.type}/{_MARK}{place}" in keys:
                yield one.type, one.resource

    @property
    def _is_bundle(self) -> bool:
        """Whether it is a Bundle: then its entries are what lies in it."""
        return self.resource.get("resourceType") == _BUNDLE

    def _meets(self, one: Resource, name: str, condition: Condition) -> bool:
        """Tell whether something that is contained fulfils a condition, and may be found by who asks."""
        if not self.core.gate.shown_of(self.ask.who, self.found.stored, name, Action.SEARCH, lambda: one):
            return False
        if self._is_bundle and isinstance(condition, Chain):
            # What it refers to by the name of a record here is another record, of whoever made the Bundle.
            return self.fulfils(one, name, condition)
        changed = updated_of(self.resource)
        updated = self.found.stored.created * MICROSECONDS if changed is None else changed
        if self.core.judge.fulfils(name, one, [condition], within=self.within, inside=updated):
            return True
        return isinstance(condition, Chain) and self.fulfils(one, name, condition)


class _Held(NamedTuple):
    """What lies in a record: its type, how others in there refer to it, and itself."""

    type: str
    names: tuple[str, ...]
    resource: Resource


def _contained_in(resource: Resource) -> list[_Held]:
    """List what a record contains."""
    found = filter(_has_id, objects_of(resource.get("contained")))
    return [_Held(str(one.get("resourceType")), (f"#{one['id']}",), one) for one in found]


def _has_id(resource: Resource) -> bool:
    """Tell whether anything can refer to a contained resource."""
    return isinstance(resource.get("id"), str)


def _entries_of(bundle: Resource) -> list[_Held]:
    """List the resources of a Bundle's entries.

    By its full URL, and where that is the address of a resource, by what is relative to the same base.
    """
    rows = bundle.get("entry")
    found = []
    for row in rows if isinstance(rows, list) else []:
        resource = row.get("resource") if isinstance(row, dict) else None
        if isinstance(row, dict) and isinstance(resource, dict):
            url = member(row, "fullUrl")
            match = _ADDRESS.fullmatch(url)
            names = (url, match[1]) if match else (url,) if url else ()
            found.append(_Held(str(resource.get("resourceType")), names, resource))
    return found


def _renamed(value: Element, names: _Names) -> Resource:
    """Copy a resource with references to what is contained written as those to records."""
    made = _copied(value, names)
    return made if isinstance(made, dict) else {}


def _copied(value: Element, names: _Names) -> Element:
    """Copy a value likewise."""
    if isinstance(value, dict):
        return {
            name: names.get(one, one) if name == "reference" and isinstance(one, str) else _copied(one, names)
            for name, one in value.items()
        }
    return [_copied(one, names) for one in value] if isinstance(value, list) else value
