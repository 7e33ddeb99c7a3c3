"""Writing the search index: rows kept apart with their version, and merged many together; or written at once.

Keeps true: a version and what it is found by are kept together or not at all; what is merged was kept before, in the
order of the versions, and is overwritten where it lay; what replaced a version is noted with that; of an erased patient
no row is left. Trusts whoever makes the rows. Part of the records file.
Source: `docs/spec/search-index.md`, `docs/adr/0035-index-rows-merged-in-bulk.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import Connection, Integer, bindparam, delete, func, insert, literal_column, or_, select, update

from medchain.errors import ConflictError
from medchain.store.engine import Database, Statement, insert_into, note_remains, room
from medchain.store.faults import corrupt
from medchain.store.finding import NEVER
from medchain.store.index_rows import IndexRows, cells_of, decode, encode
from medchain.store.tables import detail, entry, epoch, index_state, record, resource, unindexed, unmerged

MICROSECONDS: Final = 1_000_000
"""A second in the unit of the index."""

MAX_APART: Final = 15
"""Most versions of one write whose rows are kept apart; more share pages of the index by themselves."""

AT_ONCE: Final = 128
"""Most versions that one transaction merges, so that nobody who writes waits long for it."""

MAX_WAITING: Final = 2048
"""So many numbers may lie between the oldest version that waits and the newest before who writes merges some."""

PATIENCE_S: Final = 0.02
"""How long who searches waits for the turn at writing, to merge what waits for whoever comes after, too."""

BESIDE: Final = ("Bundle",)
"""Types of records that may lie under the key of a patient whose records they are not, and go with it."""

_EVERY: Final = -1
_KEPT_DETAILS: Final = 50_000
_NO_DETAIL: Final = {"": 0}

_Entry: TypeAlias = "tuple[Any, ...]"
"""A row of `entry`, its detail a text where that has no number yet; Any because columns differ."""

_DETAIL: Final = 4

# In the order of the other index: its pages are far apart, those of the table lie at its end.
_index_order = itemgetter(1, 3, 5, 0)


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


class Standing(NamedTuple):
    """Where the file stands.

    Attributes:
        generation: state of the index.
        last: number of the newest version, 0 where there is none.
        unindexed: number of the oldest version that has no rows yet; None for none.
        unmerged: number of the oldest version whose rows wait to be merged; None for none.
    """

    generation: int
    last: int
    unindexed: int | None
    unmerged: int | None


class IndexWriter:
    """Writes what versions are found by."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database
        dialect = database.engine.dialect
        self._details: dict[str, int] = dict(_NO_DETAIL)
        self._insert_resource = insert_into(resource, dialect)
        self._insert_entry = insert_into(entry, dialect)
        self._insert_unindexed = insert_into(unindexed, dialect)
        self._insert_detail = Statement(insert(detail).values(text=bindparam("text")), dialect)
        self._read_detail = Statement(select(detail.c.number).where(detail.c.text == bindparam("text")), dialect)
        last = select(func.max(record.c.seq)).scalar_subquery()
        waiting = select(func.min(unindexed.c.number)).scalar_subquery()
        apart = select(func.min(unmerged.c.number)).scalar_subquery()
        self._read_state = Statement(select(index_state.c.generation, last, waiting, apart), dialect)
        self._insert_unmerged = insert_into(unmerged, dialect)
        of_version = (record.c.type, record.c.id, record.c.version, record.c.created)
        first = select(unmerged.c.number, *of_version, unmerged.c.rows).join(record, record.c.seq == unmerged.c.number)
        self._read_unmerged = Statement(
            first.order_by(unmerged.c.number).limit(room("limit")).offset(literal_column("0", Integer)), dialect
        )
        self._drop_unmerged = Statement(delete(unmerged).where(unmerged.c.number <= bindparam("last")), dialect)
        of_record = (resource.c.type == bindparam("of_type"), resource.c.id == bindparam("of_id"))
        older = (resource.c.number < bindparam("before"), resource.c.replaced == literal_column(str(NEVER)))
        self._replace = Statement(
            update(resource).where(*of_record, *older).values(replaced=bindparam("by")),
            dialect,
        )

    def merge_rows(self, limit: int = AT_ONCE, patience_s: float | None = None) -> int:
        """Bring rows that are kept apart into the index; what is merged is found as before, at less cost.

        Args:
            limit: most versions.
            patience_s: longest wait for the turn at writing; None for as long as whoever writes waits.

        Returns:
            How many it were.

        Raises:
            UnavailableError: ``store.busy`` where the turn does not come, ``store.full`` and others.
        """
        with self._database.look("unmerged") as look:
            if look.first(self._read_unmerged, 1) is None:
                # Nor a write: all who write would wait for it.
                return 0
        with self._database.derive("unmerged", patience_s) as connection:
            count, given = self._merge(connection, limit)
        self._keep_details(given)
        return count

    def _encoded(self, index: IndexRows | None) -> bytes:
        """Write what a version is found by, as it is kept until it is merged."""
        if index is None or not index.rows:
            return encode(index, {})
        unknown = {row[3] for row in index.rows} - self._details.keys()
        if unknown:
            # By whoever merged them first.
            with self._database.look("detail") as look:
                rows = {text: look.first(self._read_detail, text) for text in unknown}
            self._keep_details({text: int(row[0]) for text, row in rows.items() if row is not None})
        return encode(index, self._details)

    def _merge_until(self, last: int) -> None:
        """Merge what waits of the versions up to a number; raises `UnavailableError` where that cannot be done soon."""
        while True:
            with self._database.look("unmerged") as look:
                row = look.first(self._read_unmerged, 1)
            if row is None or row[0] > last or not self.merge_rows(patience_s=PATIENCE_S):
                return

    def _merge_all(self, connection: Connection) -> dict[str, int]:
        """Merge what waits in a transaction that needs all rows; returns details that got a number."""
        given: dict[str, int] = {}
        while True:
            count, more = self._merge(connection, AT_ONCE)
            given |= more
            if count < AT_ONCE:
                return given

    def _merge(self, connection: Connection, limit: int) -> tuple[int, dict[str, int]]:
        """Merge the oldest versions that wait; returns how many, and details that got a number."""
        waiting = self._read_unmerged.all(connection, limit)
        if not waiting:
            return 0, {}
        given = self._place_waiting(connection, waiting)
        self._drop_unmerged.many(connection, [(waiting[-1][0],)])
        return len(waiting), given

    def _lay_over(self, connection: Connection) -> None:
        """Place all that waits on a connection with an overlay; the details' numbers are its own."""
        self._place_waiting(connection, self._read_unmerged.all(connection, _EVERY))

    def _place_waiting(self, connection: Connection, waiting: Sequence[tuple[Any, ...]]) -> dict[str, int]:
        """Place versions as they waited; returns details that got a number. Any because columns differ."""
        placed, entries = list[Placed](), list[_Entry]()
        for number, type_name, record_id, version, created, content in waiting:
            kept = decode(content)
            rows = None if kept is None else IndexRows((), kept[0])
            placed.append(Placed(number, type_name, record_id, version, created, rows))
            entries += [(number, *cell) for cell in (() if kept is None else kept[1])]
        return self._place(connection, placed, entries)

    def _put_index(
        self, connection: Connection, state: Standing, placed: Sequence[Placed], apart: Sequence[bytes] | None
    ) -> dict[str, int]:
        """Write what versions are found by in the transaction that stores them.

        Args:
            connection: the transaction.
            state: where the file stood before them.
            placed: the versions.
            apart: what is kept of each until it is merged; None to write all rows at once.

        Returns:
            Details that got a number.

        Raises:
            ConflictError: ``store.conflict``, table ``index_state``, for rows made for another state of the index.
        """
        found = [(one, one.rows) for one in placed if one.rows is not None]
        if any(index.rows is not None and index.generation != state.generation for _, index in found):
            raise ConflictError("store.conflict", table="index_state")
        self._insert_unindexed.many(connection, [(one.number,) for one, index in found if index.rows is None])
        if apart is None:
            given = self._merge_all(connection) if state.unmerged is not None else {}
            return given | self._place_rows(connection, placed)
        # What has no rows and is no later version changes nothing of the index.
        self._insert_unmerged.many(
            connection,
            [(one.number, content) for one, content in zip(placed, apart, strict=True) if content or one.version > 1],
        )
        if state.unmerged is not None and placed and placed[-1].number - state.unmerged > MAX_WAITING:
            return self._merge(connection, AT_ONCE)[1]
        return {}

    def _place_rows(self, connection: Connection, placed: Sequence[Placed]) -> dict[str, int]:
        """Write versions with their rows; returns details that got a number."""
        return self._place(connection, placed, self._entries(placed))

    def _entries(self, placed: Iterable[Placed]) -> list[_Entry]:
        """List the rows of versions, each with the number of its version."""
        # Others may begin to remember anew at any moment.
        known = self._details
        return [
            (one.number, *cell)
            for one in placed
            if one.rows is not None
            for cell in cells_of(one.rows.rows or (), known)
        ]

    def _place(self, connection: Connection, placed: Sequence[Placed], entries: Sequence[_Entry]) -> dict[str, int]:
        """Write versions, those with rows as what is found, and their rows; returns details that got a number."""
        whole = [(one, one.rows) for one in placed if one.rows is not None and one.rows.rows is not None]
        times = [one.created * MICROSECONDS if index.updated is None else index.updated for one, index in whole]
        self._insert_resource.many(
            connection,
            [(one.number, one.type, one.id, time, NEVER) for (one, _), time in zip(whole, times, strict=True)],
        )
        given = self._put_entries(connection, entries)
        self._replace_older(connection, [one for one in placed if one.version > 1])
        return given

    def _put_entries(self, connection: Connection, entries: Sequence[_Entry]) -> dict[str, int]:
        """Write rows, each with the number of its version; returns details that got a number."""
        texts = {one[_DETAIL] for one in entries if isinstance(one[_DETAIL], str)}
        given = self._number_details(connection, texts)
        if given:
            entries = [(*one[:_DETAIL], given.get(one[_DETAIL], one[_DETAIL]), *one[_DETAIL + 1 :]) for one in entries]
        self._insert_entry.many(connection, sorted(entries, key=_index_order))
        return given

    def _replace_older(self, connection: Connection, placed: Sequence[Placed]) -> None:
        """Note what replaced the versions before; what was to be indexed of them need not be any more."""
        if not placed:
            return
        self._replace.many(connection, [(one.number, one.type, one.id, one.number) for one in placed])
        if standing(self._read_state.first(connection)).unindexed is not None:
            for one in placed:
                older = (record.c.type == one.type, record.c.id == one.id, record.c.version < one.version)
                connection.execute(delete(unindexed).where(unindexed.c.number.in_(select(record.c.seq).where(*older))))

    def _number_details(self, connection: Connection, texts: Iterable[str]) -> dict[str, int]:
        """Find or give the numbers of details that were not remembered."""
        given: dict[str, int] = {}
        for text in texts:
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


def standing(row: Sequence[Any] | None) -> Standing:
    """Read where the file stands; Any because columns differ. Raises `VerificationError` ``store.corrupt``."""
    if row is None:
        raise corrupt("index_state", "absent")
    generation, last, without, waiting = row
    return Standing(int(generation), int(last or 0), without, waiting)


def forget_rows(connection: Connection, epochs: Sequence[bytes]) -> None:
    """Remove the index rows of all versions whose key was destroyed: they say what nobody may read any more."""
    patients = select(epoch.c.patient).where(epoch.c.id.in_(epochs))
    # By what the table has an index for.
    near = or_(record.c.patient.in_(patients), record.c.type.in_(BESIDE))
    doomed = select(record.c.seq).where(near, record.c.epoch_id.in_(epochs))
    connection.execute(delete(entry).where(entry.c.resource.in_(doomed)))
    connection.execute(delete(resource).where(resource.c.number.in_(doomed)))
    connection.execute(delete(unindexed).where(unindexed.c.number.in_(doomed)))
    # Not the row: what it replaces stays replaced.
    connection.execute(update(unmerged).where(unmerged.c.number.in_(doomed)).values(rows=b""))
    note_remains(connection)
