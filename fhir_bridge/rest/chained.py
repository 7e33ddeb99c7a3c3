"""Chains into contained resources: a chained condition is evaluated inside them, too (FHIR R4 §3.1.1.5.5).

Contained resources have no rows of their own: those that a chain may lead to are judged when their containers are
opened, and the containers that fulfil the chain so are named to the search beside those that fulfil it by a reference.
Keeps true: what counts is the contained resource that the chain's parameter refers to (``#id``), and only where the
caller may find one of its type by its container; all is of the snapshot of the page; where more containers would have
to be opened than `LOOKED`, the answer says so. Trusts the gate, the judge and the index.
Source: FHIR R4 §3.1.1.4.15 (chains), §3.1.1.5.5 (contained resources), §2.3.0.3 (``#id``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from fhir_bridge.definitions.parameters import ParameterType
from fhir_bridge.document import Element, Resource
from fhir_bridge.rest.ask import Ask
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.pages import content_of
from fhir_bridge.search.cursor import Position
from fhir_bridge.search.index import loaded, updated_of
from fhir_bridge.search.indexer import VARIANTS
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
        targets = tuple(
            (name, self.widened((name,), inner) if isinstance(inner, Chain) else inner) for name, inner in chain.targets
        )
        ways: list[Condition] = [Chain(chain.code, targets)]
        found: dict[str, list[str]] = {}
        for row, resource in self._containers(types, chain, others):
            if Container(self._core, self._ask, self._within, row, resource).fulfils(resource, row.stored.type, chain):
                found.setdefault(row.stored.type, []).append(row.stored.id)
        for name, ids in found.items():
            terms = tuple(TokenTerm(None, one) for one in ids)
            ways.append(ByType(((name, (Criterion("_id", ParameterType.TOKEN, Modifier.NONE, terms),)),)))
        return ways[0] if len(ways) == 1 else Either(tuple(ways))

    def _containers(
        self, types: Sequence[str], chain: Chain, others: Sequence[Condition]
    ) -> list[tuple[Found, Resource]]:
        """Open what contains something that the chain may lead to."""
        asked = Query(tuple(types), [Containing(tuple(name for name, _ in chain.targets)), *others])
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
    """Judges what one record contains.

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
        contained = self.resource.get("contained")
        inside = [one for one in contained if isinstance(one, dict)] if isinstance(contained, list) else []
        names = {
            f"#{one['id']}": f"{one.get('resourceType')}/{_MARK}{place}"
            for place, one in enumerate(inside)
            if isinstance(one.get("id"), str)
        }
        if chain.code not in self.core.search.index.registry(type_name):
            return False
        number = self.core.search.index.number(type_name, chain.code) * VARIANTS
        outside = {name: value for name, value in holder.items() if name != "contained"}
        rows = self.core.search.index.rows(type_name, _renamed(outside, names)).rows or ()
        keys = {row[2] for row in rows if row[0] == number}
        conditions = dict(chain.targets)
        return any(
            f"{name}/{_MARK}{place}" in keys and self._meets(one, name, conditions[name])
            for place, one in enumerate(inside)
            if (name := str(one.get("resourceType"))) in conditions
        )

    def _meets(self, one: Resource, name: str, condition: Condition) -> bool:
        """Tell whether something that is contained fulfils a condition, and may be found by who asks."""
        if not self.core.gate.shown_of(self.ask.who, self.found.stored, name, Action.SEARCH, lambda: one):
            return False
        changed = updated_of(self.resource)
        updated = self.found.stored.created * MICROSECONDS if changed is None else changed
        if self.core.judge.fulfils(name, one, [condition], within=self.within, inside=updated):
            return True
        return isinstance(condition, Chain) and self.fulfils(one, name, condition)


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
