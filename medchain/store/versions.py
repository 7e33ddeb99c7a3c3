"""Record versions as readers want them: each with the key that wraps its own, in one question, and histories by page.

Keeps true: a version and its key are of one state of the file, so that what was erased is found erased; a page of a
history goes on where the one before ended, whatever is written meanwhile. Trusts the rows.
Source: `docs/spec/store.md`; FHIR R4 §3.1.0.12 (history).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BindParameter, Dialect, Select, bindparam, func, literal_column, or_, select, tuple_
from sqlalchemy.dialects import registry, sqlite

from medchain.store.engine import ONE, ZERO, Statement
from medchain.store.epochs import Epoch
from medchain.store.records import NO_RESOURCES, RecordStore, RecordVersion, anchored_as, version_columns
from medchain.store.tables import anchor, epoch, imported, record

MAX_PAST: Final = 1001
"""Most rows of one page of a history."""

_AT_ONCE: Final = 500
_SIZES: Final = (1, 8, 24, 64, _AT_ONCE)
_NO_NUMBER: Final = -1
_KEY_COLUMNS: Final = 4
_FOREVER: Final = 1 << 62


class Found(NamedTuple):
    """A record version and the key of its patient, which is destroyed after an erasure."""

    stored: RecordVersion
    epoch: Epoch


class Named(NamedTuple):
    """The name of a record version, and the id of its patient, None where no Patient record of that key is here."""

    number: int
    type: str
    id: str
    version: int
    patient: str | None


@dataclass(frozen=True, slots=True)
class Past:
    """Which versions a history is of.

    Attributes:
        types: resource types; empty for all.
        id: of one record; empty for all.
        since: not before this, Unix seconds.
        period: only versions that were the newest at some moment of this, (first, last) Unix seconds; None for all.
        before: number of the last version of the page before.
        limit: most rows.
    """

    types: Collection[str] = ()
    id: str = ""
    since: int = 0
    period: tuple[int, int] | None = None
    before: int = _FOREVER
    limit: int = 100


class _Questions(NamedTuple):
    """What is asked all the time; by numbers for each size of `_SIZES`."""

    by_id: Statement
    by_version: Statement
    by_numbers: Mapping[int, Statement]
    names: Mapping[int, Statement]


class VersionReader:
    """Reads versions with their keys. Threads may share it."""

    __slots__ = ("_database", "_questions", "_store")

    def __init__(self, store: RecordStore) -> None:
        """Use an opened records file."""
        self._store = store
        self._database = store.database
        dialect = store.database.engine.dialect
        self._questions = _questions(dialect.name, dialect.paramstyle)

    def find(self, type_name: str, record_id: str, version: int | None = None) -> Found | None:
        """Return a version of a record, the newest if none is named; None if there is none."""
        with self._database.look("record") as look:
            if version is None:
                row = look.first(self._questions.by_id, type_name, record_id)
            else:
                row = look.first(self._questions.by_version, type_name, record_id, version)
        return None if row is None else _found(row)

    def numbered(self, numbers: Sequence[int]) -> list[Found | None]:
        """Return versions by their numbers, in that order; None for one that is not there."""
        found = {one.stored.seq: one for one in map(_found, self._numbered(self._questions.by_numbers, numbers))}
        return [found.get(number) for number in numbers]

    def named(self, numbers: Sequence[int]) -> list[Named]:
        """Return the names of versions by their numbers, without what they hold."""
        return [Named(*row) for row in self._numbered(self._questions.names, numbers)]

    def past(self, asked: Past) -> list[Found]:
        """Return versions, the newest first: of one record by version, of types by when they were stored."""
        return self._all(self._ordered(_of_past(_with_keys(), asked), asked).limit(min(asked.limit, MAX_PAST)))

    def preceding(self, numbers: Sequence[int], size_bytes: int) -> list[Found]:
        """Return the versions right before some, by their numbers, as far as their envelopes are of a size."""
        after = record.alias("after")
        is_next = (
            (after.c.type == record.c.type) & (after.c.id == record.c.id) & (after.c.version == record.c.version + 1)
        )
        chosen = _with_keys().join(after, is_next)
        return self._all(chosen.where(after.c.seq.in_(numbers), func.length(record.c.envelope) == size_bytes))

    def newest_of_size(
        self, asked: Past, size_bytes: int, after: int, until: int
    ) -> tuple[list[RecordVersion], int | None]:
        """Return newest versions whose envelopes are of a size, among as many versions as are looked at at once.

        Args:
            asked: of which types, and since when; how many versions are looked at, by when they were stored.
            size_bytes: of the envelope.
            after: number of the last version of the part before; 0 for the beginning.
            until: number of the last version that there is for this question.

        Returns:
            The versions, and the number after which the next part begins, None where this is the last.
        """
        place = tuple_(record.c.created, record.c.seq)
        # Of what is stored later, nothing comes between while parts are read.
        there = _of_past(select(record.c.seq), asked).where(record.c.seq <= until)
        looked = there.order_by(record.c.created, record.c.seq).limit(asked.limit)
        later = record.alias("later")
        same = (later.c.type == record.c.type) & (later.c.id == record.c.id)
        replaced = select(later.c.seq).where(same, later.c.version > record.c.version, later.c.seq <= until)
        with self._database.read("record") as connection:
            if after:
                ended = select(record.c.created).where(record.c.seq == after)
                time = connection.execute(ended).scalar_one_or_none()
                looked = looked.where(place > tuple_(time or 0, after))
            numbers = list(connection.execute(looked).scalars())
        if not numbers:
            return [], None
        of_size = _with_keys().where(record.c.seq.in_(looked), func.length(record.c.envelope) == size_bytes)
        found = self._all(of_size.where(~replaced.exists()).order_by(record.c.seq))
        return [one.stored for one in found], numbers[-1] if len(numbers) == asked.limit else None

    def types(self) -> frozenset[str]:
        """List the types of which there is any version, a deletion too: one look into the index for each."""
        first = select(func.min(record.c.type).label("type")).cte("types", recursive=True)
        other = record.alias("other")
        following = select(func.min(other.c.type)).where(other.c.type > first.c.type).scalar_subquery()
        found = first.union_all(select(following).where(first.c.type.is_not(None)))
        with self._database.read("record") as connection:
            return frozenset(connection.execute(select(found.c.type).where(found.c.type.is_not(None))).scalars())

    def past_count(self, asked: Past, limit: int) -> int:
        """Count versions as `past` lists them, on all pages, none of them read; no more than the limit."""
        found = _of_past(select(record.c.seq), asked).limit(limit).subquery()
        with self._database.read("record") as connection:
            return int(connection.execute(select(func.count()).select_from(found)).scalar_one())

    def _ordered(self, chosen: Select[Any], asked: Past) -> Select[Any]:
        """Put versions into an order that an index has, and go on where the page before ended."""
        goes_on = asked.before != _FOREVER
        if asked.id or not asked.types:
            chosen = chosen.where(record.c.seq < asked.before) if goes_on else chosen
            # The order by number would have SQLite look at all of the type to spare itself sorting a few rows.
            return chosen.order_by(record.c.version.desc() if asked.id else record.c.seq.desc())
        if goes_on:
            with self._database.read("record") as connection:
                ended = select(record.c.created).where(record.c.seq == asked.before)
                time = connection.execute(ended).scalar_one_or_none()
            place = tuple_(record.c.created, record.c.seq)
            chosen = chosen.where(place < tuple_(time or 0, asked.before))
        return chosen.order_by(record.c.created.desc(), record.c.seq.desc())

    def newest_unit(self, prefix: str) -> str | None:
        """Return the last name of the import units whose names begin so, None where there is none."""
        of_prefix = imported.c.unit.between(prefix, prefix + "~")
        with self._database.read("imported") as connection:
            chosen = select(imported.c.unit).where(of_prefix).order_by(imported.c.unit.desc()).limit(1)
            found: str | None = connection.execute(chosen).scalar_one_or_none()
        return found

    def forget_units(self, prefix: str) -> None:
        """Forget the import units whose names begin so: what they are of is gone, and cannot come again."""
        with self._database.write("imported") as connection:
            connection.execute(imported.delete().where(imported.c.unit.between(prefix, prefix + "~")))

    def _numbered(self, asked: Mapping[int, Statement], numbers: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Ask by numbers, with a statement for each size of `_SIZES`; Any because columns differ."""
        with self._database.look("record") as look:
            for start in range(0, len(numbers), _AT_ONCE):
                part = numbers[start : start + _AT_ONCE]
                # Of a few sizes, filled up with what is no number, so that each is put into SQL once.
                size = next(one for one in _SIZES if one >= len(part))
                yield from look.all(asked[size], *part, *([_NO_NUMBER] * (size - len(part))))

    def _all(self, chosen: Select[Any]) -> list[Found]:
        """Run a question."""
        with self._database.read("record") as connection:
            return [_found(tuple(row)) for row in connection.execute(chosen)]


def prepare() -> Iterator[None]:
    """Put what is asked of SQLite's files into SQL, in one step, for processes that will be forked from this one."""
    _questions(sqlite.dialect.name, sqlite.dialect.default_paramstyle)
    yield


def _of_past(chosen: Select[Any], asked: Past) -> Select[Any]:
    """Choose the versions that a history is of."""
    chosen = chosen.where(record.c.type.not_in(NO_RESOURCES))
    if asked.since:
        chosen = chosen.where(record.c.created >= asked.since)
    if asked.types:
        chosen = chosen.where(record.c.type.in_(sorted(asked.types)))
    if asked.id:
        chosen = chosen.where(record.c.id == asked.id)
    if asked.period is not None:
        first, last = asked.period
        later = record.alias("later")
        superseded = select(later.c.seq).where(
            later.c.type == record.c.type,
            later.c.id == record.c.id,
            later.c.version > record.c.version,
            later.c.created <= first,
        )
        chosen = chosen.where(record.c.created <= last, ~superseded.exists())
    return chosen


def _with_keys() -> Select[Any]:
    """Select versions with their keys."""
    columns = (*version_columns(), epoch.c.patient, epoch.c.number, epoch.c.created, epoch.c.wrapped_key)
    joined = record.outerjoin(anchor, anchor.c.record == anchored_as()).join(epoch, epoch.c.id == record.c.epoch_id)
    return select(*columns).select_from(joined)


def _names() -> Select[Any]:
    """Select names of versions in the order of `Named`."""
    person = record.alias("person")
    of_patient = (person.c.patient == record.c.patient) & (person.c.type == literal_column("'Patient'"))
    patient = select(person.c.id).where(of_patient).limit(ONE).offset(ZERO).scalar_subquery()
    return select(record.c.seq, record.c.type, record.c.id, record.c.version, patient)


@cache
def _questions(name: str, style: str) -> _Questions:
    """Put the questions into SQL, once for all databases of a kind: the large ones take a tenth of a second.

    Args:
        name: of SQLAlchemy's dialect.
        style: how its parameters are written.
    """
    # By its name, so that only one that is used is loaded.
    dialect: Dialect = registry.load(name)(paramstyle=style)
    of_record = _with_keys().where(record.c.type == bindparam("type"), record.c.id == bindparam("id"))
    newest = of_record.order_by(record.c.version.desc()).limit(ONE).offset(ZERO)
    return _Questions(
        by_id=Statement(newest, dialect),
        by_version=Statement(of_record.where(record.c.version == bindparam("version")), dialect),
        by_numbers={size: _by_numbers(_with_keys(), size, dialect) for size in _SIZES},
        names={size: _by_numbers(_names(), size, dialect) for size in _SIZES},
    )


def _by_numbers(chosen: Select[Any], size: int, dialect: Dialect) -> Statement:
    """Select versions by so many numbers."""
    names: list[BindParameter[int]] = [bindparam(f"number_{place}") for place in range(size)]
    return Statement(chosen.where(or_(*(record.c.seq == name for name in names))), dialect)


def _found(row: tuple[Any, ...]) -> Found:
    """Turn a row into a version and its key; Any because columns differ."""
    stored = RecordVersion(*row[:-_KEY_COLUMNS])
    return Found(stored, Epoch(stored.epoch_id, *row[-_KEY_COLUMNS:]))
