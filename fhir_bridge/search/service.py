"""Searches answered: a page of what fulfils a query, what it includes, and where the next page begins.

Keeps true: all pages of a search are of one snapshot, so that none skips or repeats a resource while others write;
what must hold of each resource that takes part (`within`, the gate) holds of matches, of what is included, and of what
stands at the other end of chains, ``_has`` and ``_list``, or nothing is told of it, not even a number. Trusts the
index.
Source: FHIR R4 §3.1.1; `docs/spec/search-index.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from fhir_bridge.definitions.codes import listed_set
from fhir_bridge.search.budget import check_length
from fhir_bridge.search.conditions import Context
from fhir_bridge.search.cursor import Cursors, Position
from fhir_bridge.search.include import Includer
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.judge import Judge
from fhir_bridge.search.plan import Planner
from fhir_bridge.search.query import MAX_PARAMETERS, parse_query
from fhir_bridge.search.terms import Sets, Systems, no_systems
from fhir_bridge.search.tree import Chain, Condition, Contained, Has, Listed, Query, Summary, Total
from medchain.errors import ConflictError, InputError
from medchain.node.assembly import WebNode
from medchain.node.clock import Clock
from medchain.store.finding import ANY_STATE, NEWEST, Search
from medchain.store.indexing import FoundPage, FoundRow
from medchain.store.placing import MICROSECONDS
from medchain.store.records import RecordStore

DEFAULT_COUNT: Final = 50
"""Size of a page where the client says nothing."""

MAX_COUNT: Final = 1_000
"""Largest page."""

Gate: TypeAlias = Callable[[Sequence[int]], Sequence[bool]]
"""Tells for each of some record versions, by their numbers, whether the caller may see it."""

_ALL: Final = (1 << 31) - 1
_ATTEMPTS: Final = 4
_Answer = TypeVar("_Answer")


def open_search(node: WebNode, ledger: bytes, bases: Iterable[str]) -> SearchService:
    """Open the index and the searches of a node; arguments as for `SearchService`.

    Args:
        node: opened records, keys and clock.
        ledger: ledger id, 32 bytes.
        bases: base URLs of the node's API, without a slash at the end: references with them are to its own records.
    """
    index = SearchIndex(node.records, bases=frozenset(bases))
    return SearchService(node.records, index, node.keys.records, ledger, node.clock)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search comes to.

    Attributes:
        matches: numbers of the record versions that match, in order.
        included: numbers of those that come with them.
        total: how many match on all pages; None where that is not known.
        next: where the next page begins; None at the end.
        snapshot: number of the last version that counted.
        is_cut: whether more would be included than one answer holds.
    """

    matches: list[int]
    included: list[int]
    total: int | None
    next: str | None
    snapshot: int
    is_cut: bool = False


class SearchService:
    """Answers searches. Threads may share it."""

    __slots__ = ("_clock", "_cursors", "_index", "_judge", "_store")

    def __init__(self, store: RecordStore, index: SearchIndex, key: bytes, ledger: bytes, clock: Clock) -> None:
        """Prepare.

        Args:
            store: the records file.
            index: the node's index.
            key: the node's records key, 32 bytes.
            ledger: ledger id, 32 bytes.
            clock: gives Unix seconds.
        """
        self._store = store
        self._index = index
        self._cursors = Cursors(key, ledger, clock)
        self._clock = clock
        self._judge = Judge(index, store.find_page, clock)

    @property
    def judge(self) -> Judge:
        """What tells what conditions say of a resource that is not in the index."""
        return self._judge

    @property
    def index(self) -> SearchIndex:
        """The node's index."""
        return self._index

    @property
    def cursors(self) -> Cursors:
        """What seals where a page begins."""
        return self._cursors

    def context(
        self,
        *,
        strict: bool = False,
        passed: frozenset[str] = frozenset(),
        sets: Sets = listed_set,
        systems: Systems = no_systems,
    ) -> Context:
        """Make what a query is understood with (`query.parse_query`).

        Args:
            strict: whether unknown parameters are refused.
            passed: parameters that others understand.
            sets: value sets.
            systems: code systems beside HL7's and ICD-10.
        """
        self._index.look()
        setting, (generation, registry) = self._index.setting, self._index.named
        passed |= Context().passed
        return Context(registry, strict, passed, setting.zone, setting.bases, generation, sets, systems)

    def anew(self, ask: Callable[[], _Answer]) -> _Answer:
        """Ask something, and again where a parameter of the node's own that it names has become another meanwhile.

        Args:
            ask: understands and answers it, from the parameters' names on.

        Raises:
            ConflictError: ``store.conflict``, table ``index_state``, where parameters change all the time.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return ask()
            except ConflictError as error:
                if error.fields.get("table") != "index_state":
                    raise
                self._index.refresh()
        return ask()

    def pairs_of(self, cursor: str, client: str = "") -> list[tuple[str, str]]:
        """Return the search that a client's cursor goes on with, to be parsed again; errors as in `Cursors.open`."""
        return list(self._cursors.open(cursor, client).pairs)

    def search(
        self,
        query: Query,
        *,
        within: Sequence[Condition] = (),
        cursor: str | None = None,
        gate: Gate | None = None,
        client: str = "",
    ) -> Found:
        """Answer a search.

        Args:
            query: as it was asked.
            within: what must hold of each resource that takes part, for the caller's rights.
            cursor: where the page begins, from the page before; its query must be the same.
            gate: looks at each record that would be shown.
            client: who searches; the cursor of the next page counts for no other.

        Returns:
            The page.

        Raises:
            InputError: ``search.cursor``; ``search.unsupported`` for what the index cannot answer.
            NotFoundError: ``search.expired`` for a cursor that is too old.
            ConflictError: ``store.conflict``, table ``index_state``, for a query that names parameters that have become
                others (`anew`).
            UnavailableError: ``search.indexing`` while older records are being indexed.
        """
        if query.contained is not Contained.FALSE:
            # Contained resources have no rows: whoever looks for them opens their containers (`rest/contained.py`).
            raise InputError("search.unsupported", parameter="_contained")
        if gate is not None and any(isinstance(one, Chain | Has | Listed) for one in query.conditions):
            # Whether what stands at the other end may be seen, no gate was asked.
            raise InputError("search.unsupported", parameter="_has")
        begin = self._begin(query, cursor, client)
        planner = self._planner(within, begin.started, query.generation)
        count = 0 if query.summary is Summary.COUNT else min(query.count or DEFAULT_COUNT, MAX_COUNT)
        asked = planner.plan(query, begin.after, count + 1 if count else 0, begin.snapshot)
        wants_total = count == 0 or query.total in (Total.ACCURATE, Total.ESTIMATE)
        rows, snapshot, total = self._rows(asked, wants_total=wants_total, gate=gate)
        following = None
        if len(rows) > count:
            rows = rows[:count]
            following = self._cursors.seal(replace(begin, snapshot=snapshot, after=(*rows[-1].order, rows[-1].number)))
        elif total is None and not begin.after:
            total = len(rows)
        includer = Includer(self._store, self._index, planner, snapshot, gate)
        included, is_cut = includer.include(query.includes, rows) if query.includes and rows else ([], False)
        self._store.check_generation(query.generation if included else ANY_STATE)
        return Found([row.number for row in rows], included, total, following, snapshot, is_cut)

    def ids(self, type_name: str, condition: str, limit: int = 2, *, within: Sequence[Condition] = ()) -> list[str]:
        """Find records by the condition of a conditional interaction or reference (FHIR R4 §3.1.0.8.1).

        Args:
            type_name: FHIR resource type.
            condition: percent-encoded parameters.
            limit: most ids.
            within: as in `search`.

        Returns:
            Ids of records that fulfil it.

        Raises:
            InputError: ``search.condition`` for one that says nothing or is no list of parameters, ``search.*``.
            UnavailableError: as in `search`.
        """
        return [row.id for row in self.rows(type_name, condition, limit, within=within)]

    def rows(
        self, type_name: str, condition: str, limit: int = 2, *, within: Sequence[Condition] = ()
    ) -> list[FoundRow]:
        """Find records as `ids` does, with the numbers of their newest versions; arguments and errors as there."""
        return self.anew(lambda: self._store.find_page(self.planned(type_name, condition, limit, within=within))).rows

    def planned(
        self,
        type_name: str,
        condition: str,
        limit: int = 2,
        *,
        within: Sequence[Condition] = (),
        spend: Callable[[Query], None] = lambda _query: None,
    ) -> Search:
        """Plan what `rows` does, for the store to do it once more while it writes; arguments and errors as there.

        Args:
            type_name: as of `ids`.
            condition: the same.
            limit: the same.
            within: the same.
            spend: told what was understood before it is planned; what it raises is raised.
        """
        query = self.condition(type_name, condition)
        spend(query)
        return self._planner(within, self._clock(), query.generation).plan(query, limit=limit)

    def numbers(
        self, query: Query, snapshot: int, after: int, limit: int, *, within: Sequence[Condition], now: int
    ) -> list[int]:
        """List what fulfils a query at a snapshot by the numbers of the record versions, without opening any.

        Args:
            query: what is looked for, without an order of its own.
            snapshot: number of the last version that counts.
            after: number of the last version of the part before, 0 for none.
            limit: most numbers.
            within: as in `search`.
            now: time of the search, Unix seconds.

        Returns:
            Numbers, rising.

        Raises:
            ConflictError, UnavailableError: as in `search`.
        """
        planner = self._planner(within, now, query.generation)
        asked = planner.plan(query, (after,) if after else (), limit, snapshot)
        return [row.number for row in self._store.find_page(asked).rows]

    def page(self, query: Query, begin: Position, limit: int, *, within: Sequence[Condition] = ()) -> FoundPage:
        """Find the records that follow a place in a search, without opening any.

        Args:
            query: what is looked for.
            begin: the place; its time and snapshot count, too.
            limit: most records.
            within: as in `search`.

        Raises:
            ConflictError, UnavailableError: as in `search`.
        """
        planner = self._planner(within, begin.started, query.generation)
        asked = planner.plan(query, begin.after, limit, begin.snapshot)
        return self._store.find_page(asked)

    def condition(self, type_name: str, condition: str) -> Query:
        """Understand such a condition; arguments and errors as in `ids`. An unknown parameter would widen it."""
        check_length(condition)
        try:
            pairs = parse_qsl(condition, keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_PARAMETERS)
        except ValueError as error:
            raise InputError("search.condition") from error
        query = parse_query(pairs, type_name, self.context(strict=True))
        if not query.conditions:
            raise InputError("search.condition")
        if query.contained is not Contained.FALSE:
            # What is contained cannot be read, changed or referred to by itself (FHIR R4 §2.29).
            raise InputError("search.unsupported", parameter="_contained")
        return query

    def _planner(self, within: Sequence[Condition], now: int, generation: int) -> Planner:
        """Prepare to plan a query of a state of the index, with what that state names."""
        current, registry = self._index.named
        if generation not in (ANY_STATE, current):
            raise ConflictError("store.conflict", table="index_state")
        return Planner(self._index.number, registry, now * MICROSECONDS, tuple(within))

    def _begin(self, query: Query, cursor: str | None, client: str) -> Position:
        """Say where a page begins."""
        pairs = tuple(query.used)
        if cursor is None:
            return Position(query.types, pairs, NEWEST, self._clock(), (), client)
        position = self._cursors.open(cursor, client)
        if position.types != query.types or position.pairs != pairs:
            raise InputError("search.cursor")
        return position

    def _rows(self, asked: Search, *, wants_total: bool, gate: Gate | None) -> tuple[list[FoundRow], int, int | None]:
        """Run a search, through the gate if there is one; returns rows, snapshot and total."""
        if gate is None:
            page = self._store.find_page(asked, counted=_ALL if wants_total else 0)
            return page.rows, page.snapshot, page.total
        limit = asked.limit if isinstance(asked.limit, int) else MAX_COUNT
        rows, snapshot = self._gated(asked, gate, limit)
        total = None
        if wants_total:
            total = len(self._gated(replace(asked, snapshot=snapshot, after=()), gate, _ALL)[0])
        return rows, snapshot, total

    def _gated(self, asked: Search, gate: Gate, limit: int) -> tuple[list[FoundRow], int]:
        """Gather so many rows that the gate lets pass."""
        kept: list[FoundRow] = []
        after, snapshot = asked.after, asked.snapshot
        while True:
            page = self._store.find_page(replace(asked, after=after, snapshot=snapshot, limit=MAX_COUNT))
            snapshot = page.snapshot
            allowed = gate([row.number for row in page.rows])
            kept += [row for row, shown in zip(page.rows, allowed, strict=True) if shown]
            if len(kept) >= limit or len(page.rows) < MAX_COUNT:
                return kept[:limit], page.snapshot
            after = (*page.rows[-1].order, page.rows[-1].number)
