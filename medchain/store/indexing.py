"""The search index in the records file: rows written with their record version, and searches at a snapshot.

Keeps true: a version and its index rows are kept together or not at all; what replaced a version is noted in the same
transaction, so that a search at a snapshot finds what was the newest then, whatever others write; rows that were made
for another state of the index are refused; no search is answered while a version has no rows yet; of an erased patient
no row is left. Trusts whoever makes the rows. Part of the records file. Longer than most files by its descriptions of
rows and pages.
Source: `docs/spec/search-index.md`, `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from medchain.errors import ConflictError, UnavailableError
from medchain.store.engine import Database, Look, Statement, insert_into
from medchain.store.finding import NEVER, NEWEST, Search
from medchain.store.finding_sql import Prepared, prepared_count, prepared_links, prepared_page
from medchain.store.tables import detail, entry, epoch, index_state, parameter, record, resource, unindexed

Row: TypeAlias = "tuple[int, int, str, str, int | float | None, int | float | None]"
"""Parameter's number and variant in one, place, key, detail, low, high: `docs/spec/search-index.md`."""

MICROSECONDS: Final = 1_000_000
"""A second in the unit of the index."""

_KEPT_DETAILS: Final = 50_000
_AT_ONCE: Final = 500
_NO_DETAIL: Final = {"": 0}


@dataclass(frozen=True, slots=True)
class IndexRows:
    """What a record version is found by.

    Attributes:
        rows: its rows; None if they are to be made later, by who can.
        updated: when it was last changed, microseconds since 1970; None for the moment at which it is stored.
        generation: state of the index for which they were made.
    """

    rows: Sequence[Row] | None
    updated: int | None = None
    generation: int = 0


class Placed(NamedTuple):
    """A record version that is being stored.

    Attributes:
        number: of its row.
        type: FHIR resource type.
        id: FHIR id.
        version: from 1.
        created: Unix seconds.
        rows: what it is found by; None for what is found by nothing, such as a deletion.
    """

    number: int
    type: str
    id: str
    version: int
    created: int
    rows: IndexRows | None


@dataclass(frozen=True, slots=True)
class IndexState:
    """A state of the index.

    Attributes:
        generation: which.
        numbers: (type, code) → number of the parameter.
    """

    generation: int
    numbers: Mapping[tuple[str, str], int]


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


class SearchTable:
    """The rows by which records are found."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database
        dialect = database.engine.dialect
        self._dialect = dialect
        self._details: dict[str, int] = dict(_NO_DETAIL)
        self._insert_resource = insert_into(resource, dialect)
        self._insert_entry = insert_into(entry, dialect)
        self._insert_unindexed = insert_into(unindexed, dialect)
        self._insert_detail = Statement(insert(detail).values(text=bindparam("text")), dialect)
        self._read_detail = Statement(select(detail.c.number).where(detail.c.text == bindparam("text")), dialect)
        last = select(func.max(record.c.seq)).scalar_subquery()
        waiting = select(func.min(unindexed.c.number)).scalar_subquery()
        self._read_state = Statement(select(index_state.c.generation, last, waiting), dialect)
        of_record = (resource.c.type == bindparam("of_type"), resource.c.id == bindparam("of_id"))
        older = (resource.c.number < bindparam("before"), resource.c.replaced == literal_column(str(NEVER)))
        self._replace = Statement(
            update(resource).where(*of_record, *older).values(replaced=bindparam("by")),
            dialect,
        )
        self._drop_entries = Statement(delete(entry).where(entry.c.resource == bindparam("number")), dialect)
        self._drop_resource = Statement(delete(resource).where(resource.c.number == bindparam("number")), dialect)

    def open_index(self, form: int, wanted: Collection[tuple[str, str]]) -> IndexState:
        """Give numbers to the parameters that have none, and have everything indexed anew if the form has changed.

        Processes may do it at once.

        Args:
            form: version of what rows are made of; another one than before makes all rows anew.
            wanted: type and code of each parameter.

        Returns:
            The state of the index.
        """
        with self._database.read("parameter") as connection:
            state, known = _known_state(connection)
        if known == form and all(one in state.numbers for one in wanted):
            return state
        with self._database.write("parameter") as connection:
            state, known = _known_state(connection)
            first = 1 + max(state.numbers.values(), default=0)
            missing = [one for one in dict.fromkeys(wanted) if one not in state.numbers]
            if missing:
                rows = [{"number": first + place, "type": one[0], "code": one[1]} for place, one in enumerate(missing)]
                connection.execute(insert(parameter), rows)
            if known != form:
                _index_anew(connection)
                connection.execute(update(index_state).values(format=form, generation=state.generation + 1))
            return _known_state(connection)[0]

    def index_generation(self) -> int:
        """Return which state the index is in."""
        with self._database.look("index_state") as look:
            row = look.first(self._read_state)
        return 0 if row is None else int(row[0])

    def find_page(self, search: Search, *, counted: int = 0) -> FoundPage:
        """Find resources.

        Args:
            search: what is looked for; a snapshot of `NEWEST` stands for this moment.
            counted: how far all matches are counted; 0 for not.

        Returns:
            The page.

        Raises:
            UnavailableError: ``search.indexing`` while records have no rows yet.
        """
        # Each question sees the newest state; that of one moment is chosen by the snapshot.
        with self._database.look("resource") as look:
            newest = self._snapshot(look)
            at = search if search.snapshot != NEWEST else replace(search, snapshot=newest)
            found = _run(look, prepared_page(at, self._dialect)) if search.limit else []
            total = None
            if counted:
                every = replace(at, order=(), after=(), limit=counted)
                total = int(_run(look, prepared_count(every, self._dialect))[0][0])
        snapshot = at.snapshot if isinstance(at.snapshot, int) else newest
        return FoundPage([FoundRow(row[0], row[1], row[2], tuple(row[3:])) for row in found], snapshot, total)

    def linked_keys(self, numbers: Sequence[int], parameters: Sequence[int]) -> list[str]:
        """List what record versions refer to.

        Args:
            numbers: of the versions.
            parameters: numbers of the reference parameters.

        Returns:
            The keys of their rows, each once.
        """
        found: dict[str, None] = {}
        with self._database.look("entry") as look:
            for start in range(0, len(numbers), _AT_ONCE):
                query = prepared_links(numbers[start : start + _AT_ONCE], parameters, self._dialect)
                found |= dict.fromkeys(row[0] for row in _run(look, query))
        return list(found)

    def referring_parameters(self, keys: Sequence[str], parameters: Sequence[int]) -> list[int]:
        """List the parameters whose rows have some keys: those by which something refers to a resource."""
        found: dict[int, None] = {}
        with self._database.read("entry") as connection:
            for start in range(0, len(keys), _AT_ONCE):
                chosen = select(entry.c.number).distinct()
                chosen = chosen.where(entry.c.number.in_(parameters), entry.c.key.in_(keys[start : start + _AT_ONCE]))
                found |= dict.fromkeys(connection.execute(chosen).scalars())
        return sorted(found)

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
            due = set(connection.execute(select(unindexed.c.number).where(unindexed.c.number.in_(numbers))).scalars())
            connection.execute(delete(unindexed).where(unindexed.c.number.in_(sorted(due))))
            given = self._put_index(connection, [one for one in made if one.number in due])
        self._keep_details(given)

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

    def _snapshot(self, look: Look) -> int:
        """Return the number of the last version; refuse to answer while some have no rows."""
        row = look.first(self._read_state)
        if row is None or row[2] is not None:
            raise UnavailableError("search.indexing")
        return int(row[1] or 0)

    def _check_absent(self, connection: Connection, absent: Sequence[Search]) -> None:
        """See within a write that searches find nothing, whatever came since they were asked first.

        Raises:
            ConflictError: ``store.conflict``, table ``resource``.
            UnavailableError: ``search.indexing`` while records have no rows yet.
        """
        if not absent:
            return
        row = self._read_state.first(connection)
        if row is None or row[2] is not None:
            raise UnavailableError("search.indexing")
        for search in absent:
            query = prepared_page(replace(search, snapshot=int(row[1] or 0), limit=1), connection.dialect)
            cursor = connection.connection.cursor()
            try:
                cursor.execute(query.sql, query.values)
                found = cursor.fetchone()
            finally:
                cursor.close()
            if found is not None:
                raise ConflictError("store.conflict", table="resource")

    def _put_index(self, connection: Connection, placed: Sequence[Placed]) -> dict[str, int]:
        """Write the rows of versions in the transaction that stores them; returns details that got a number."""
        row = self._read_state.first(connection)
        generation = -1 if row is None else row[0]
        found = [(one, one.rows) for one in placed if one.rows is not None]
        if any(index.rows is not None and index.generation != generation for _, index in found):
            raise ConflictError("store.conflict", table="index_state")
        later = [(one.number,) for one, index in found if index.rows is None]
        self._insert_unindexed.many(connection, later)
        whole = [(one, index, index.rows) for one, index in found if index.rows is not None]
        times = [one.created * MICROSECONDS if index.updated is None else index.updated for one, index, _ in whole]
        self._insert_resource.many(
            connection,
            [(one.number, one.type, one.id, time, NEVER) for (one, _, _), time in zip(whole, times, strict=True)],
        )
        given = self._put_entries(connection, [one for one, _, _ in whole])
        self._replace_older(connection, [one for one in placed if one.version > 1])
        return given

    def _put_entries(self, connection: Connection, placed: Sequence[Placed]) -> dict[str, int]:
        """Write rows; returns details that got a number."""
        whole = [(one, one.rows.rows) for one in placed if one.rows is not None and one.rows.rows is not None]
        # Others may begin to remember anew at any moment.
        known = self._details
        given = self._number_details(connection, known, (row[3] for _, rows in whole for row in rows))
        entries = [
            (
                one.number,
                number,
                place,
                key,
                known[text] if text in known else given[text],
                0.0 if low is None else low,
                0.0 if high is None else high,
            )
            for one, rows in whole
            for number, place, key, text, low, high in rows
        ]
        # In the order of the other index: its pages are far apart, those of the table lie at its end.
        entries.sort(key=_in_index_order)
        self._insert_entry.many(connection, entries)
        return given

    def _replace_older(self, connection: Connection, placed: Sequence[Placed]) -> None:
        """Note what replaced the versions before; what was to be indexed of them need not be any more."""
        if not placed:
            return
        self._replace.many(connection, [(one.number, one.type, one.id, one.number) for one in placed])
        row = self._read_state.first(connection)
        if row is not None and row[2] is not None:
            for one in placed:
                older = (record.c.type == one.type, record.c.id == one.id, record.c.version < one.version)
                connection.execute(delete(unindexed).where(unindexed.c.number.in_(select(record.c.seq).where(*older))))

    def _number_details(self, connection: Connection, known: Mapping[str, int], texts: Iterable[str]) -> dict[str, int]:
        """Find or give the numbers of details that are not remembered."""
        given: dict[str, int] = {}
        for text in {text for text in texts if text not in known}:
            row = self._read_detail.first(connection, text)
            if row is None:
                self._insert_detail.many(connection, [(text,)])
                row = self._read_detail.first(connection, text)
            given[text] = 0 if row is None else int(row[0])
        return given

    def _keep_details(self, given: Mapping[str, int]) -> None:
        """Remember numbers that are in the file now."""
        if len(self._details) + len(given) > _KEPT_DETAILS:
            self._details = dict(_NO_DETAIL)
        self._details.update(given)


def forget_rows(connection: Connection, epochs: Sequence[bytes]) -> None:
    """Remove the index rows of all versions whose key was destroyed: they say what nobody may read any more."""
    patients = select(epoch.c.patient).where(epoch.c.id.in_(epochs))
    doomed = select(record.c.seq).where(record.c.patient.in_(patients), record.c.epoch_id.in_(epochs))
    connection.execute(delete(entry).where(entry.c.resource.in_(doomed)))
    connection.execute(delete(resource).where(resource.c.number.in_(doomed)))
    connection.execute(delete(unindexed).where(unindexed.c.number.in_(doomed)))


def _run(look: Look, query: Prepared) -> list[tuple[Any, ...]]:
    """Run a query; Any because columns differ."""
    return look.rows(query.sql, query.values)


def _in_index_order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Tell where a row stands in `entry_by_key`."""
    return row[1], row[3], row[5], row[0]


def _known_state(connection: Connection) -> tuple[IndexState, int]:
    """Read the state of the index, and its form."""
    row = connection.execute(select(index_state.c.generation, index_state.c.format)).one()
    numbers = connection.execute(select(parameter.c.type, parameter.c.code, parameter.c.number))
    return IndexState(int(row[0]), {(one[0], one[1]): one[2] for one in numbers}), int(row[1])


def _index_anew(connection: Connection) -> None:
    """Drop all rows, and have the newest version of every record indexed that can be opened."""
    for table in (entry, resource, unindexed):
        connection.execute(delete(table))
    later = record.alias("later")
    is_newest = ~exists().where(
        later.c.type == record.c.type, later.c.id == record.c.id, later.c.version > record.c.version
    )
    alive = select(epoch.c.id).where(epoch.c.destroyed.is_(None))
    newest = select(record.c.seq).where(is_newest, record.c.epoch_id.in_(alive))
    connection.execute(insert(unindexed).from_select(["number"], newest))
