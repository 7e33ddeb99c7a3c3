"""The search index in the records file: rows written with their record version, and searches at a snapshot.

Keeps true: a version and its index rows are kept together or not at all; what replaced a version is noted in the same
transaction, so that a search at a snapshot finds what was the newest then, whatever others write; rows that were made
for another state of the index are refused; no search is answered while a version has no rows yet; of an erased patient
no row is left. Trusts whoever makes the rows. Part of the records file. Longer than most files by its descriptions of
rows and pages.
Source: `docs/spec/search-index.md`, `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import Connection, Select, bindparam, delete, exists, func, insert, literal_column, select, update

from medchain.errors import ConflictError, UnavailableError
from medchain.store.engine import Database, Look, Statement, insert_into
from medchain.store.finding import ANY_STATE, NEVER, NEWEST, Known, Search, Slot
from medchain.store.finding_sql import prepared, prepared_count, prepared_links, prepared_page, prepared_reach
from medchain.store.overlay import OVERLAY
from medchain.store.placing import IndexWriter, Placed, standing
from medchain.store.tables import (
    detail,
    entry,
    epoch,
    index_state,
    parameter,
    record,
    resource,
    unindexed,
    unmerged,
)

_NUMBERS: Final = 500
_FOR_EACH: Final = 64
"""So many rows for each resource of a page are counted before it is walked for, and at most `_COUNTED`."""

_COUNTED: Final = 1 << 14
_GATHERED: Final = 4
"""As few rows for each resource of a page are sooner gathered than a walk is asked for."""
_UNWRITTEN: Final = ("store.busy", "store.full", "store.io", "store.read_only")
_Answer = TypeVar("_Answer")
_Rows: TypeAlias = Callable[[str, Any], list[tuple[Any, ...]]]
"""Asks in SQL, with values as the driver takes them; Any because columns differ."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """A state of the index.

    Attributes:
        generation: which.
        numbers: (type, code) → number of the parameter.
        zone: name of the zone in which rows read dates that name none.
    """

    generation: int
    numbers: Mapping[tuple[str, str], int]
    zone: str


class FoundRow(NamedTuple):
    """A resource that was found.

    Attributes:
        number: of the record version.
        type: FHIR resource type.
        id: FHIR id.
        order: values by which it is sorted.
    """

    number: int
    type: str
    id: str
    order: tuple[float | str, ...]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of a search.

    Attributes:
        rows: what was found.
        snapshot: number of the last version that counted.
        total: how many there are on all pages; None if that was not asked.
    """

    rows: list[FoundRow]
    snapshot: int
    total: int | None


class SearchTable(IndexWriter):
    """The rows by which records are found."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        super().__init__(database)
        dialect = database.engine.dialect
        self._dialect = dialect
        self._drop_entries = Statement(delete(entry).where(entry.c.resource == bindparam("number")), dialect)
        self._drop_resource = Statement(delete(resource).where(resource.c.number == bindparam("number")), dialect)
        waiting = select(record.c.type).distinct().join(unmerged, unmerged.c.number == record.c.seq)
        self._read_apart = Statement(waiting.where(unmerged.c.number > bindparam("since")), dialect)
        replaced = select(resource.c.replaced).where(resource.c.number == bindparam("number"))
        self._read_replaced = Statement(replaced, dialect)
        newest = select(func.coalesce(func.max(resource.c.number), literal_column("0")))
        self._read_newest = Statement(newest.where(resource.c.type == bindparam("type")), dialect)

    def open_index(self, form: int, wanted: Collection[tuple[str, str]], zone: str | None = None) -> IndexState:
        """Give numbers to the parameters that have none; have everything indexed anew if form or zone have changed.

        Processes may do it at once.

        Args:
            form: version of what rows are made of; another one than before makes all rows anew.
            wanted: type and code of each parameter.
            zone: name of the zone of dates without one; likewise. None for that which the index has.

        Returns:
            The state of the index.
        """
        with self._database.read("parameter") as connection:
            state, known = _known_state(connection)
        if known == form and zone in (None, state.zone) and all(one in state.numbers for one in wanted):
            return state
        with self._database.write("parameter") as connection:
            state, known = _known_state(connection)
            first = 1 + max(state.numbers.values(), default=0)
            missing = [one for one in dict.fromkeys(wanted) if one not in state.numbers]
            if missing:
                rows = [(first + place, *one) for place, one in enumerate(missing)]
                insert_into(parameter, connection.dialect).many(connection, rows)
            chosen = state.zone if zone is None else zone
            if (known, state.zone) != (form, chosen):
                _index_anew(connection)
                changed = {"format": form, "generation": state.generation + 1, "zone": chosen}
                connection.execute(update(index_state).values(changed))
            return _known_state(connection)[0]

    def index_generation(self) -> int:
        """Return which state the index is in."""
        with self._database.look("index_state") as look:
            return standing(look.first(self._read_state)).generation

    def find_page(self, search: Search, *, counted: int = 0) -> FoundPage:
        """Find resources.

        Args:
            search: what is looked for; a snapshot of `NEWEST` stands for this moment.
            counted: how far all matches are counted; 0 for not.

        Returns:
            The page.

        Raises:
            ConflictError: ``store.conflict``, table ``index_state``, for a search of another state of the index.
            UnavailableError: ``search.indexing`` while records have no rows yet.
        """
        page = self._answered(
            lambda state: state.whole.misses(search.snapshot),
            lambda asked, state: self._found(search, state.whole, asked.rows, counted),
        )
        # Behind the answer: states never come back, so that all of it is of this one.
        self.check_generation(search.generation)
        return page

    def check_generation(self, generation: int) -> None:
        """See that the index is still in a state; raises `ConflictError` ``store.conflict``, table ``index_state``."""
        if generation not in (ANY_STATE, self.index_generation()):
            raise ConflictError("store.conflict", table="index_state")

    def linked(self, numbers: Sequence[int], parameters: Sequence[int]) -> list[tuple[str, str]]:
        """List what record versions have for some parameters, such as references.

        Args:
            numbers: of the versions.
            parameters: numbers of the parameters.

        Returns:
            Keys and details of their rows, each pair once.
        """
        found: dict[tuple[str, str], None] = {}
        last = max(numbers, default=0)

        def part(some: Sequence[int]) -> list[tuple[Any, ...]]:
            query = prepared_links(some, parameters, self._dialect)
            # What was found where nothing can be written waits still.
            return self._answered(
                lambda state: state.whole.misses(last), lambda asked, _state: asked.rows(query.sql, query.values)
            )

        for start in range(0, len(numbers), _NUMBERS):
            found |= dict.fromkeys((row[0], row[1]) for row in part(numbers[start : start + _NUMBERS]))
        return list(found)

    def referring_parameters(self, keys: Sequence[str], parameters: Sequence[int]) -> list[int]:
        """List the parameters whose rows have some keys: those by which something refers to a resource."""
        found: dict[int, None] = {}
        for start in range(0, len(keys), _NUMBERS):
            chosen = select(entry.c.number).distinct()
            chosen = chosen.where(entry.c.number.in_(parameters), entry.c.key.in_(keys[start : start + _NUMBERS]))
            found |= dict.fromkeys(row[0] for row in self._told(chosen))
        return sorted(found)

    def distinct_values(self, numbers: Sequence[int], limit: int) -> list[tuple[int, str, str]]:
        """List which values the rows of some parameters have, those of replaced versions among them.

        Args:
            numbers: parameters' numbers and variants.
            limit: most values.

        Returns:
            Number, key and detail, each combination once.
        """
        found: list[tuple[int, str, str]] = []
        for start in range(0, len(numbers), _NUMBERS):
            chosen = select(entry.c.number, entry.c.key, entry.c.detail).distinct()
            chosen = chosen.where(entry.c.number.in_(numbers[start : start + _NUMBERS]))
            each = chosen.limit(limit - len(found)).subquery()
            texts = select(each.c.number, each.c.key, func.coalesce(detail.c.text, ""))
            joined = texts.outerjoin(detail, detail.c.number == each.c.detail)
            found += [(row[0], row[1], row[2]) for row in self._told(joined)]
        return found

    def indexed_types(self) -> list[str]:
        """List the resource types of which there is something to find: one step in an index for each."""
        found: list[str] = []
        following = resource.c.type > bindparam("last")
        # Of a view of two tables the least of each is asked for by itself, so that each takes its index.
        first = select(resource.c.type).where(following).order_by(resource.c.type).limit(1)
        while True:
            rows = self._told(first.params(last=found[-1] if found else ""))
            if not rows:
                return found
            found.append(rows[0][0])

    def unindexed(self, limit: int) -> list[int]:
        """List versions that have no rows yet, the oldest first."""
        with self._database.read("unindexed") as connection:
            chosen = select(unindexed.c.number).order_by(unindexed.c.number).limit(limit)
            return list(connection.execute(chosen).scalars())

    def unindexed_count(self) -> int:
        """Return how many versions have no rows yet."""
        with self._database.read("unindexed") as connection:
            return int(connection.execute(select(func.count()).select_from(unindexed)).scalar_one())

    def put_rows(self, made: Sequence[Placed]) -> None:
        """Give versions the rows that they have not yet; what has got them, or was replaced, since is passed over.

        Raises:
            ConflictError: ``store.conflict``, table ``index_state``, for rows made for another state of the index.
        """
        with self._database.write("unindexed") as connection:
            numbers = [one.number for one in made]
            # First, since it may say that some of them were replaced.
            merged = self._merge_all(connection)
            due = set(connection.execute(select(unindexed.c.number).where(unindexed.c.number.in_(numbers))).scalars())
            connection.execute(delete(unindexed).where(unindexed.c.number.in_(sorted(due))))
            state = standing(self._read_state.first(connection))
            given = self._put_index(connection, state, [one for one in made if one.number in due], None)
        self._keep_details(merged | given)

    def prune_index(self, before: int, limit: int) -> int:
        """Remove the rows of versions that were replaced long ago.

        Args:
            before: Unix seconds; what replaced them was stored no later.
            limit: most versions.

        Returns:
            How many versions it were.
        """
        old = (
            select(resource.c.number)
            .join(record, record.c.seq == resource.c.replaced)
            .where(resource.c.replaced < literal_column(str(NEVER)), record.c.created <= before)
            .order_by(resource.c.replaced)
            .limit(limit)
        )
        with self._database.read("resource") as connection:
            if connection.execute(old.limit(1)).first() is None:
                return 0
        with self._database.write("resource") as connection:
            numbers = list(connection.execute(old).scalars())
            self._drop_entries.many(connection, [(one,) for one in numbers])
            self._drop_resource.many(connection, [(one,) for one in numbers])
        return len(numbers)

    def _told(self, query: Select[Any]) -> list[tuple[Any, ...]]:
        """Answer a question that is no search, of all there is now. Any: of whatever columns."""
        made = prepared(query, self._dialect)
        return self._answered(
            lambda state: state.apart is not None, lambda asked, _state: asked.rows(made.sql, made.values)
        )

    def _answered(self, waits: Callable[[_State], bool], ask: Callable[[Look | _Within, _State], _Answer]) -> _Answer:
        """Answer a question, behind a merge where something of it waits.

        Where others write for long, or nothing can be written, what waits is laid over the index for this question.

        Args:
            waits: tells whether something that the question is of waits.
            ask: asks it.

        Raises:
            UnavailableError: what `waits` and `ask` raise.
        """
        with self._database.look("resource") as look:
            state = self._state(look)
            if not waits(state):
                return ask(look, state)
        try:
            self._merge_until(state.last)
        except UnavailableError as error:
            if error.code not in _UNWRITTEN:
                raise
            with self._database.overlaid("resource", OVERLAY) as connection:
                self._lay_over(connection)
                within = _Within(connection)
                return ask(within, self._state(within)._replace(apart=None))
        with self._database.look("resource") as look:
            return ask(look, self._state(look))

    def _found(self, search: Search, state: _State, rows: _Rows, counted: int) -> FoundPage:
        """Answer a search of which nothing waits to be merged."""
        # Each question sees the newest state; that of one moment is chosen by the snapshot.
        at = search if search.snapshot != NEWEST else replace(search, snapshot=state.snapshot)
        found = self._page(at, rows) if search.limit else []
        total = None
        if counted:
            every = prepared_count(replace(at, order=(), after=(), limit=counted), self._dialect)
            total = int(rows(every.sql, every.values)[0][0])
        snapshot = at.snapshot if isinstance(at.snapshot, int) else state.snapshot
        return FoundPage([FoundRow(row[0], row[1], row[2], tuple(row[3:])) for row in found], snapshot, total)

    def _page(self, search: Search, rows: _Rows) -> list[tuple[Any, ...]]:
        """Answer a page: by a walk, which ends as the page is full, or by the set of all that there are.

        How often a walk comes to what is looked for nobody knows before. So it asks no more resources than the set has
        rows, each at about the cost of one: where the page is not full then, both have cost twice the set.
        """
        limit = search.limit if isinstance(search.limit, int) else 0
        most = min(_FOR_EACH * limit, _COUNTED)
        reach = prepared_reach(replace(search, limit=most), self._dialect)
        if reach is not None:
            ((count, end),) = rows(reach.sql, reach.values)
            if count > _GATHERED * limit:
                walk = prepared_page(replace(search, end=NEVER if end is None else end), self._dialect)
                found = rows(walk.sql, walk.values)
                if end is None or len(found) == limit:
                    return found
        page = prepared_page(search, self._dialect)
        return rows(page.sql, page.values)

    def _state(self, asked: Look | _Within) -> _State:
        """Return which versions there are."""
        state = standing(asked.first(self._read_state))
        return _State(state.generation, state.last, state.unmerged, state.unindexed is None)

    def _check_known(self, connection: Connection, known: Sequence[Known]) -> dict[str, int]:
        """See within a write that searches find what they found, whatever came since they were asked.

        Those of whose types nothing came since are not asked again: a transaction may rest on thousands, and all who
        write wait for it.

        Returns:
            Details that got a number.

        Raises:
            ConflictError: ``store.conflict``, table ``resource``.
            UnavailableError: ``search.indexing`` while records have no rows yet.
        """
        if not known:
            return {}
        within = _Within(connection)
        state = self._state(within).whole
        since = min(one.snapshot for one in known)
        fresh = {row[0] for row in self._read_apart.all(connection, since)}
        due = [one for one in known if self._may_differ(connection, one, state, fresh)]
        given = self._merge_all(connection) if due else {}
        for search, _, _, name in due:
            query = prepared_page(replace(search, snapshot=state.last, limit=2), connection.dialect)
            if [row[2] for row in within.rows(query.sql, query.values)] != ([name] if name else []):
                raise ConflictError("store.conflict", table="resource")
        if any(one.search.generation not in (ANY_STATE, state.generation) for one in known):
            raise ConflictError("store.conflict", table="resource")
        return given

    def _may_differ(self, connection: Connection, known: Known, state: _State, fresh: set[str]) -> bool:
        """Tell whether what was found may be something else now."""
        row = self._read_replaced.first(connection, known.number) if known.number else (NEVER,)
        if row is None or row[0] != NEVER:
            # Replaced, deleted, erased, or not merged still.
            return True
        if state.last == known.snapshot:
            return False
        if known.types is None or not fresh.isdisjoint(known.types):
            return True
        newest = (self._read_newest.first(connection, name) for name in known.types)
        return any(row is not None and row[0] > known.snapshot for row in newest)


class _Within:
    """Questions within a transaction, as `Look` asks them outside."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        """Use the transaction's connection."""
        self._connection = connection

    def first(self, statement: Statement, *values: object) -> tuple[Any, ...] | None:
        """Return the first row of an answer, None where there is none; Any because columns differ."""
        return statement.first(self._connection, *values)

    def rows(self, sql: str, values: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401  # as the driver takes them
        """Ask in SQL, with values as the driver takes them."""
        cursor = self._connection.connection.cursor()
        try:
            cursor.execute(sql, values)
            return list(cursor.fetchall())
        finally:
            cursor.close()


class _State(NamedTuple):
    """Which versions there are.

    Attributes:
        generation: state of the index.
        last: number of the newest.
        apart: number of the oldest that is not merged yet, or None.
        is_whole: whether all have rows that should have some.
    """

    generation: int
    last: int
    apart: int | None
    is_whole: bool

    @property
    def whole(self) -> _State:
        """It, where it can be searched; raises `UnavailableError` ``search.indexing`` while some have no rows yet."""
        if not self.is_whole:
            raise UnavailableError("search.indexing")
        return self

    @property
    def snapshot(self) -> int:
        """The newest snapshot of which all is merged."""
        return self.last if self.apart is None else self.apart - 1

    def misses(self, snapshot: int | Slot) -> bool:
        """Tell whether something of a snapshot is not merged yet."""
        return self.apart is not None and (not isinstance(snapshot, int) or snapshot >= self.apart)


def _known_state(connection: Connection) -> tuple[IndexState, int]:
    """Read the state of the index, and its form."""
    row = connection.execute(select(index_state.c.generation, index_state.c.format, index_state.c.zone)).one()
    numbers = connection.execute(select(parameter.c.type, parameter.c.code, parameter.c.number))
    return IndexState(int(row[0]), {(one[0], one[1]): one[2] for one in numbers}, str(row[2])), int(row[1])


def _index_anew(connection: Connection) -> None:
    """Drop all rows, and have the newest version of every record indexed that can be opened."""
    for table in (unmerged, entry, resource, unindexed):
        connection.execute(delete(table))
    later = record.alias("later")
    is_newest = ~exists().where(
        later.c.type == record.c.type, later.c.id == record.c.id, later.c.version > record.c.version
    )
    alive = select(epoch.c.id).where(epoch.c.destroyed.is_(None))
    newest = select(record.c.seq).where(is_newest, record.c.epoch_id.in_(alive))
    connection.execute(insert(unindexed).from_select(["number"], newest))
