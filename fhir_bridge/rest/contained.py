"""Searches of contained resources: `_contained` and `_containedType`.

Contained resources have no rows of their own, since they are few and nobody can read one by itself: the index says of
which types a record contains some, and those that a search asks for are judged when their containers are opened. Keeps
true: a contained resource is found by who may see its container, and what its scopes say of the contained type holds,
too; all pages are of one snapshot; a page opens at most `LOOKED` containers, so that it may be short and yet have a
next one. A chain leads to what lies beside in the same container (``#id``), too. What cannot be answered so is
refused. Trusts the gate, the judge and the index.
Source: FHIR R4 §3.1.1.5.5 (contained resources), §2.29 (what contained resources are); `docs/spec/search-index.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.document import Element, Resource, parse, write
from fhir_bridge.provenance import TYPE as PROVENANCE
from fhir_bridge.rest.ask import Ask
from fhir_bridge.rest.chained import Container
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.pages import content_of
from fhir_bridge.search.cursor import Position
from fhir_bridge.search.index import loaded, updated_of
from fhir_bridge.search.service import DEFAULT_COUNT, MAX_COUNT
from fhir_bridge.search.service import Found as Page
from fhir_bridge.search.tree import (
    Chain,
    Condition,
    Contained,
    ContainedType,
    Containing,
    Has,
    InCompartment,
    Query,
    Summary,
    Total,
)
from fhir_bridge.smart.scopes import Action
from medchain.crypto.keywrap import WrappingKey
from medchain.errors import InputError
from medchain.store.finding import NEWEST
from medchain.store.placing import MICROSECONDS
from medchain.store.versions import Found

LOOKED: Final = 2_000
"""Most containers that are opened for a page."""

COUNTED: Final = 10_000
"""Most containers that are opened to count what they contain."""

_AT_ONCE: Final = 200
_MARK: Final = "#"
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")


class Hit(NamedTuple):
    """What a search found in a container.

    Attributes:
        found: the container.
        content: what is answered, FHIR JSON: the container, or what it contains.
        fragment: what follows the container's address, ``#id`` of a contained resource.
    """

    found: Found
    content: bytes
    fragment: str = ""


class _Looked(NamedTuple):
    """A container that was opened: where a search goes on after it, and what was found."""

    after: tuple[float | str, ...]
    hits: list[Hit]


def with_contained(
    core: Core, ask: Ask, query: Query, cursor: str | None, ordinary: Callable[[Query, str | None], Page]
) -> tuple[Page, list[Hit]]:
    """Answer a search of contained resources, or of both; first come those that are not contained.

    Args:
        core: of the server.
        ask: the request.
        query: the search, with what its address states.
        cursor: where the page begins; None for the first.
        ordinary: answers for what is not contained.

    Returns:
        The page, with what is not contained; and what was found in containers.

    Raises:
        InputError: ``search.unsupported`` for what cannot be asked of contained resources, ``search.cursor``,
            ``search.too_many`` for a number that would take too long to count.
    """
    _check(query)
    size = 0 if query.summary is Summary.COUNT else min(query.count or DEFAULT_COUNT, MAX_COUNT)
    start, page = _begin(core, ask, query, cursor), Page([], [], 0, None, NEWEST)
    if start.types != _marked(query):
        page = ordinary(replace(query, contained=Contained.FALSE), cursor)
        start = Position(_marked(query), start.pairs, page.snapshot, start.started, (0,), start.client)
    is_first = cursor is None
    hits: list[Hit] = []
    following = None
    if page.next is None and size:
        hits, following, start = _page(core, ask, query, start, size - len(page.matches))
    total = None
    if not size or query.total in (Total.ACCURATE, Total.ESTIMATE):
        total = _counted(core, ask, query, start, page)
    elif is_first and page.next is None and following is None:
        total = len(page.matches) + len(hits)
    ask.trail.numbers.extend(dict.fromkeys(hit.found.stored.seq for hit in hits))
    return replace(page, next=page.next or following, total=total), hits


def _check(query: Query) -> None:
    """Refuse what has no answer without rows."""
    if any(isinstance(one, Has) for one in query.conditions):
        raise InputError("search.unsupported", parameter="_has")
    if query.includes:
        raise InputError("search.unsupported", parameter="_include")
    if any(one.code != "_lastUpdated" for one in query.sort):
        raise InputError("search.unsupported", parameter="_sort", expected="_lastUpdated")
    if query.contained is Contained.BOTH and PROVENANCE in query.types:
        # What the ledger tells of records comes before what is stored, on pages of its own.
        raise InputError("search.unsupported", parameter="_contained", expected="true")


def _marked(query: Query) -> tuple[str, ...]:
    """Tell the cursor of what is contained from that of what is not."""
    return (_MARK, *query.types)


def _begin(core: Core, ask: Ask, query: Query, cursor: str | None) -> Position:
    """Say where a page begins: marked among what is contained, not marked before it."""
    client, pairs = ask.who.client, tuple(query.used)
    if cursor is not None:
        position = core.search.cursors.open(cursor, client)
        if position.pairs != pairs or position.types not in (_marked(query), query.types):
            raise InputError("search.cursor")
        return position
    types = query.types if query.contained is Contained.BOTH else _marked(query)
    return Position(types, pairs, NEWEST, core.clock(), (0,), client)


def _page(core: Core, ask: Ask, query: Query, start: Position, room: int) -> tuple[list[Hit], str | None, Position]:
    """Find what a page has room for; returns it, the cursor of the next page, and the place with its snapshot."""
    start = _settled(core, query, start)
    hits: list[Hit] = []
    *before, skip = start.after
    skipped, looked = int(skip), 0
    following: tuple[float | str, ...] | None = None
    for looked, one in enumerate(_opened(core, ask, query, start, LOOKED + 1)):
        if looked == LOOKED:
            following = (*before, 0)
            break
        found = one.hits[skipped:]
        fitting = room - len(hits)
        hits += found[:fitting]
        if len(found) > fitting:
            # The next page begins with this container once more, behind those of it that are shown here.
            following = (*before, skipped + fitting)
            break
        before, skipped = list(one.after), 0
    cursor = None if following is None else core.search.cursors.seal(replace(start, after=following))
    return hits, cursor, start


def _settled(core: Core, query: Query, start: Position) -> Position:
    """Take the snapshot of this moment where there is none yet, so that all pages and numbers are of one."""
    if start.snapshot != NEWEST:
        return start
    return replace(start, snapshot=core.search.page(_containers(query), replace(start, after=()), 1).snapshot)


def _counted(core: Core, ask: Ask, query: Query, start: Position, page: Page) -> int | None:
    """Count what there is on all pages; an estimate may be missing, a number may not."""
    begin = replace(_settled(core, query, start), after=(0,))
    count = 0
    for looked, one in enumerate(_opened(core, ask, query, begin, COUNTED + 1)):
        if looked == COUNTED:
            if query.total is Total.ESTIMATE and query.summary is not Summary.COUNT:
                return None
            raise InputError("search.too_many", parameter="_total", limit=COUNTED)
        count += len(one.hits)
    return count + _ordinary_total(core, ask, query, page)


def _ordinary_total(core: Core, ask: Ask, query: Query, page: Page) -> int:
    """Return how many match that are not contained; on a page among the contained ones they are counted anew."""
    if query.contained is Contained.TRUE:
        return 0
    if page.snapshot == NEWEST or page.total is None:
        asked = replace(query, contained=Contained.FALSE, summary=Summary.COUNT)
        page = core.search.search(asked, within=core.gate.within(ask.who), client=ask.who.client)
    return page.total or 0


def _containers(query: Query) -> Query:
    """Say which records contain something of the types that are searched; an address states where these lie."""
    stated = [one for one in query.conditions if isinstance(one, InCompartment)]
    return Query(tuple(sorted(type_names("resource"))), [Containing(query.types), *stated], query.sort)


def _opened(core: Core, ask: Ask, query: Query, start: Position, limit: int) -> Iterator[_Looked]:
    """Open containers one after the other, and judge what they contain."""
    asked, within, after = _containers(query), core.gate.within(ask.who), start.after[:-1]
    search = _Search(core, ask, query)
    left = limit
    while left:
        size = min(left, _AT_ONCE)
        rows = core.search.page(asked, replace(start, after=after), size, within=within).rows
        for row, found in zip(rows, core.reader.numbered([row.number for row in rows]), strict=True):
            after = (*row.order, row.number)
            yield _Looked(after, [] if found is None else search.hits(found))
        left -= len(rows)
        if len(rows) < size:
            return


@dataclass(frozen=True, slots=True)
class _Search:
    """Judges what containers contain."""

    core: Core
    ask: Ask
    query: Query

    def hits(self, found: Found) -> list[Hit]:
        """Find in a container what a search asks for."""
        keys: dict[bytes, WrappingKey] = {}
        content = content_of(self.core, found, keys)
        if not content:
            return []
        resource = loaded(content)
        places = self._matching(found, resource)
        if not places:
            return []
        if self.query.contained_type is ContainedType.CONTAINER:
            return [] if self._is_ordinary(found, resource) else [Hit(found, content)]
        # Parsed once more, to the letter: what is answered has its digits as they were sent.
        contained = _contained(parse(content))
        return [Hit(found, write(contained[place]), name) for place, name in places]

    def _matching(self, found: Found, resource: Resource) -> list[tuple[int, str]]:
        """List the contained resources that match: place and fragment."""
        changed = updated_of(resource)
        updated = found.stored.created * MICROSECONDS if changed is None else changed
        return [
            (place, f"#{name}" if isinstance(name := one.get("id"), str) and _ID.fullmatch(name) else "")
            for place, one in enumerate(_contained(resource))
            if isinstance(one, dict) and self._fulfils(found, resource, one, updated) and self._is_shown(found, one)
        ]

    def _fulfils(self, found: Found, holder: Resource, resource: Resource, updated: int) -> bool:
        """Tell whether a contained resource fulfils what is asked; its chains may lead to others beside it."""
        name, within = str(resource.get("resourceType")), self.core.gate.within(self.ask.who)
        if name not in self.query.types:
            return False
        beside = Container(self.core, self.ask, within, found, holder)

        def fulfils(condition: Condition) -> bool:
            if self.core.judge.fulfils(name, resource, [condition], within=within, inside=updated):
                return True
            return isinstance(condition, Chain) and beside.fulfils(resource, name, condition)

        return all(fulfils(one) for one in self.query.conditions if not isinstance(one, InCompartment))

    def _is_shown(self, found: Found, resource: Resource) -> bool:
        """Tell whether the caller may find a contained resource: by its container, and by its own type's scopes."""
        name = str(resource["resourceType"])
        return self.core.gate.shown_of(self.ask.who, found.stored, name, Action.SEARCH, lambda: resource)

    def _is_ordinary(self, found: Found, resource: Resource) -> bool:
        """Tell whether a container was found already, since it matches by itself."""
        if self.query.contained is not Contained.BOTH or found.stored.type not in self.query.types:
            return False
        asked = [one for one in self.query.conditions if not isinstance(one, InCompartment)]
        within = self.core.gate.within(self.ask.who)
        return self.core.judge.fulfils(found.stored.type, resource, asked, within=within)


def _contained(resource: Resource) -> list[Element]:
    """Take what a resource contains."""
    found = resource.get("contained")
    return found if isinstance(found, list) else []
