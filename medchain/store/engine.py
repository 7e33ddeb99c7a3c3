"""Opens a database file: encrypted as a whole, durable, of a known schema, and not rolled back behind our back.

Keeps true: a transaction that ended is on the disk (WAL, full sync); a file is never created or read without its key;
connections, and so page caches, are bounded for the process. Each write transaction raises a counter in the file, and
then writes it, authenticated, beside the file: SQLite takes a cut or damaged WAL for the end of the log and silently
serves an older state, and a file that counts less than its mark is refused instead. Trusts SQLCipher for the secrecy
and integrity of pages, and the folder for nothing but availability.
Source: docs/adr/0004-encrypted-sqlite.md; sqlite.org/wal.html; `docs/spec/store.md`.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Integer,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    inspect,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool
from sqlcipher3 import dbapi2

from medchain.errors import ConflictError, InputError, MedchainError, UnavailableError
from medchain.store import tables
from medchain.store.faults import FOREIGN, corrupt, disk_fault, fault, is_busy, ours, translated
from medchain.store.turns import WriteTurns

KEY_BYTES: Final = 32
"""Size of a file's key; it is used as it is, without stretching."""

DEFAULT_CACHE_BYTES: Final = 32 << 20
"""Page cache of one opened file, over all connections of the process."""

DEFAULT_CONNECTIONS: Final = 4
"""Most connections of one opened file in a process."""

BUSY_TIMEOUT_MS: Final = 10_000
"""How long a writer waits for one in another process."""

WAL_PAGES: Final = 4096
"""So many pages of the WAL are moved into the file before it begins anew (`Database.move_wal`)."""

# Where nobody moves them, the writer that finds so many does.
_WAL_PAGES_LEFT: Final = 4 * WAL_PAGES
_WAL_KEPT_BYTES: Final = 64 << 20
_WRITER_SHARES: Final = 2
_COUNT_BYTES: Final = 8
_MARK_BYTES: Final = 24
_MARK_READS: Final = 5
_LOOK_S: Final = 0.005
_MODE: Final = "medchain_mode"
_OVERLAID: Final = "medchain_overlaid"
_PLAIN: Final = "plain"
_SNAPSHOT: Final = "snapshot"
_WRITE: Final = "write"
_REFUSALS: Final = (IntegrityError, dbapi2.IntegrityError)
_BEGIN: Final = {_SNAPSHOT: "BEGIN", _WRITE: "BEGIN IMMEDIATE"}


class FileKind(StrEnum):
    """Which of a node's two files."""

    LEDGER = "ledger"
    RECORDS = "records"


SCHEMA: Final = {FileKind.LEDGER: "ledger_0007", FileKind.RECORDS: "records_0037"}
"""Newest migration of each file."""

_MARKS: Final = {FileKind.LEDGER: tables.ledger_mark, FileKind.RECORDS: tables.records_mark}

# The driver looks for an adapter of every value that is not exactly an int, float, str or bytearray, in four places and
# in vain: a microsecond each, a third of what it takes to insert a row. What these give back is bound as it is.
_AS_IT_IS: Final[dict[None, None]] = {}
dbapi2.register_adapter(bytes, bytearray)
dbapi2.register_adapter(memoryview, bytearray)
dbapi2.register_adapter(type(None), _AS_IT_IS.get)


class _Compilable(Protocol):
    """What SQLAlchemy can turn into text."""

    def compile(self, bind: None = None, dialect: Dialect | None = None) -> Any:  # noqa: ANN401  # SQLAlchemy's own
        """Turn into text."""
        ...


class Statement:
    """A statement turned into the dialect's text once, so that many rows cost only what the driver takes."""

    __slots__ = ("_names", "_positional", "text")

    def __init__(self, statement: _Compilable, dialect: Dialect) -> None:
        """Turn into text; parameters are numbered as the statement names them."""
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self._positional = bool(compiled.positional)
        self._names = tuple(compiled.positiontup or compiled.params)

    def many(self, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Run for each row; values in the order of the statement's parameters."""
        if not rows:
            return
        values = rows if self._positional else [dict(zip(self._names, row, strict=True)) for row in rows]
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(self.text, values)
        finally:
            cursor.close()

    def bound(self, values: tuple[object, ...]) -> Any:  # noqa: ANN401  # as the driver takes them
        """Bring values into the form that the driver takes."""
        return values if self._positional else dict(zip(self._names, values, strict=True))

    def first(self, connection: Connection, *values: object) -> tuple[Any, ...] | None:
        """Run a query on the driver's own cursor, four times as fast; Any because columns differ."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self.text, self.bound(values))
            row: tuple[Any, ...] | None = cursor.fetchone()
        finally:
            cursor.close()
        return row

    def all(self, connection: Connection, *values: object) -> list[tuple[Any, ...]]:
        """Run a query as `first` does, for all its rows."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self.text, self.bound(values))
            rows: list[tuple[Any, ...]] = list(cursor.fetchall())
        finally:
            cursor.close()
        return rows


class _Kept:
    """A connection that is kept open, for one thread at a time: one for single questions, one for who writes.

    To take one out of the pool and give it back takes as long as to find a record.
    """

    __slots__ = ("_connection", "_dial", "_turn")

    def __init__(self, dial: Callable[[], Any]) -> None:
        """Open none yet."""
        self._dial = dial
        self._turn = threading.Lock()
        self._connection: Any = None

    def take(self) -> Any:  # noqa: ANN401  # sqlcipher3 has no types
        """Take it, None where another thread has it; raises what the dialling does."""
        if not self._turn.acquire(blocking=False):
            return None
        if self._connection is None:
            try:
                self._connection = self._dial()
            except BaseException:
                self._turn.release()
                raise
        return self._connection

    def give(self, *, is_sound: bool) -> None:
        """Give it back; one that failed is opened anew the next time."""
        try:
            if not is_sound:
                self._drop()
        finally:
            self._turn.release()

    @contextmanager
    def at_rest(self) -> Iterator[Any]:  # sqlcipher3 has no types
        """Take it where it is open and nobody has it; None otherwise."""
        if not self._turn.acquire(blocking=False):
            yield None
            return
        try:
            yield self._connection
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close it, once nobody has it."""
        with self._turn:
            self._drop()

    def _drop(self) -> None:
        """Close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Look:
    """Single questions, each answered by the newest state, below SQLAlchemy's connection, which costs as much as they.

    A context manager: within it a connection is held.
    """

    __slots__ = ("_engine", "_held", "_kept", "_key", "_pooled", "_table")

    def __init__(self, engine: Engine, kept: _Kept, table: str, key: str) -> None:
        """Prepare; `Database.look` tells of the arguments."""
        self._engine = engine
        self._kept = kept
        self._table = table
        self._key = key

    def __enter__(self) -> Self:
        """Take a connection."""
        try:
            self._held = self._kept.take()
            self._pooled = None if self._held is not None else self._engine.raw_connection()
        except FOREIGN as error:
            raise ours(error, self._table, self._key) from error
        if self._pooled is not None:
            self._held = self._pooled
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Give it back; what the driver raised becomes one of our errors."""
        if self._pooled is None:
            self._kept.give(is_sound=error is None or not isinstance(error, FOREIGN))
        else:
            self._pooled.close()
        if isinstance(error, FOREIGN):
            raise ours(error, self._table, self._key) from error

    def first(self, statement: Statement, *values: object) -> tuple[Any, ...] | None:
        """Return the first row of an answer, None where there is none; Any because columns differ."""
        cursor = self._held.cursor()
        try:
            cursor.execute(statement.text, statement.bound(values))
            row: tuple[Any, ...] | None = cursor.fetchone()
        finally:
            cursor.close()
        return row

    def all(self, statement: Statement, *values: object) -> list[tuple[Any, ...]]:
        """Return all rows of an answer."""
        return self.rows(statement.text, statement.bound(values))

    def rows(self, sql: str, values: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401  # as the driver takes them
        """Ask in SQL, with values as the driver takes them."""
        cursor = self._held.cursor()
        try:
            cursor.execute(sql, values)
            return list(cursor.fetchall())
        finally:
            cursor.close()


# As text: SQLAlchemy would bind a number of its own for the offset.
ZERO: Final = literal_column("0", Integer)
"""Offset of a question for the first rows."""

ONE: Final = literal_column("1", Integer)
"""Limit of a question for one row."""


def room(name: str) -> ColumnElement[int]:
    """Bind the number of rows that a question is to have at most.

    A parameter that stands alone behind LIMIT has SQLite (3.47 and later) plan the statement anew each time.
    """
    return bindparam(name, type_=Integer, required=False) + literal_column("0", Integer)


def run(connection: Connection, sql: str) -> None:
    """Run a statement without values, such as one that begins a transaction, on the driver's own cursor."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql)
    finally:
        cursor.close()


def insert_into(table: Table, dialect: Dialect) -> Statement:
    """Make the statement that inserts rows of all columns, in the table's order."""
    return Statement(insert(table), dialect)


def put_into(table: Table, dialect: Dialect) -> Statement:
    """Make the statement that inserts rows of all columns, or replaces those of the same primary key."""
    make: Callable[[Table], Any] = sqlite.insert
    if dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # 2 MiB in each program, of use to none with SQLite

        make = postgresql.insert
    statement = make(table)
    rest = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return Statement(
        statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=rest), dialect
    )


@dataclass(frozen=True, slots=True)
class Database:
    """An opened file.

    Attributes:
        engine: SQLAlchemy's engine.
        kind: which file.
        path: where it is.
    """

    engine: Engine
    kind: FileKind
    path: Path
    _connect: Callable[[Path], Any]
    _mark_file: int
    _mark: Callable[[int], bytes]
    _turns: WriteTurns
    _kept: _Kept
    _aside: Engine
    _writer: _Kept

    @contextmanager
    def read(self, table: str, key: str = "") -> Iterator[Connection]:
        """Give a connection that sees one state of the file throughout.

        Args:
            table: what is read, for error messages.
            key: which row, for error messages.

        Raises:
            MedchainError: see `medchain.store.faults.translated`.
        """
        with translated(table, key), self.engine.connect() as connection:
            yield connection.execution_options(**{_MODE: _SNAPSHOT})

    def look(self, table: str, key: str = "") -> Look:
        """Give single questions on the newest state; arguments and errors as in `read`."""
        return Look(self.engine, self._kept, table, key)

    @contextmanager
    def write(self, table: str, key: str = "") -> Iterator[Connection]:
        """Give a connection whose changes are kept together when the block ends, or not at all if it raises.

        Args:
            table: what is written, for error messages.
            key: which row, for error messages.

        Raises:
            MedchainError: see `medchain.store.faults.translated`. The changes may have been kept all the same, if it
                was the commit that failed, and have been if table ``commit_mark`` is named.
        """
        with self._writing(table, key) as connection:
            with connection.begin():
                yield connection
                mark = self._raise_mark(connection)
            self._write_mark(mark)

    @contextmanager
    def derive(self, table: str, patience_s: float | None = None) -> Iterator[Connection]:
        """Give a connection as `write` does for changes that follow from what is in the file and can be made again.

        They are there for everybody once the block has ended, but survive a power loss only with the next `write`, and
        are not counted: the mark would promise what is not synced.

        Args:
            table: as in `write`.
            patience_s: longest wait for the turn at writing; None for as long as `write` waits.

        Raises:
            MedchainError: as in `write`.
        """
        with self._writing(table, patience_s=patience_s) as connection:
            run(connection, "PRAGMA synchronous = NORMAL")
            try:
                with connection.begin():
                    yield connection
            finally:
                self._synced_again(connection)

    @contextmanager
    def attempt(self, table: str) -> Iterator[Connection]:
        """Give a connection whose changes are taken back at the end; nobody writes meanwhile.

        Arguments and errors as in `write`.
        """
        with self._writing(table) as connection:
            transaction = connection.begin()
            try:
                yield connection
            finally:
                transaction.rollback()

    @contextmanager
    def overlaid(self, table: str, overlay: str) -> Iterator[Connection]:
        """Give a connection that sees one state of the file throughout, and over it what it writes into an overlay.

        It needs memory, but no turn at writing and no disk; all is taken back at the end. One thread has it at a time.

        Args:
            table: as in `read`.
            overlay: statements that make views and tables in the TEMP schema; the same each time.

        Raises:
            MedchainError: as in `read`.
        """
        with translated(table), self._aside.connect() as connection:
            made = connection.connection.info
            if _OVERLAID not in made:
                connection.connection.driver_connection.executescript(overlay)  # type: ignore[union-attr]  # its own
                made[_OVERLAID] = True
            transaction = connection.execution_options(**{_MODE: _SNAPSHOT}).begin()
            try:
                yield connection
            finally:
                transaction.rollback()

    @contextmanager
    def erase(self, table: str, key: str = "") -> Iterator[Connection]:
        """Give a connection as `write` does; what it deletes is gone from the WAL as well once it ends."""
        with self.write(table, key) as connection:
            yield connection
        self.checkpoint()

    def reader(self) -> Connection:
        """Return a connection for single queries on the newest state, for the caller to keep and close."""
        with translated("file"):
            return self.engine.connect().execution_options(**{_MODE: _PLAIN})

    def forget_pages(self) -> None:
        """Give back the memory of page caches that nobody uses just now, after large work, which fills them.

        Most of it is void by then: SQLite drops a connection's cache when another one has written.
        """
        with translated("file"):
            with self._kept.at_rest() as looking:
                if looking is not None:
                    _shrink(looking)
            with self._writer.at_rest() as writing:
                if writing is not None:
                    _shrink(writing.connection)
            if isinstance(self.engine.pool, QueuePool) and self.engine.pool.checkedin():
                with closing(self.engine.raw_connection()) as pooled:
                    _shrink(pooled)

    def checkpoint(self) -> bool:
        """Move the WAL's content into the file and cut the WAL, as far as readers let it.

        Returns:
            Whether all of it was moved and cut; not so while a reader still looks at an earlier state.
        """
        with self._turns.one(), translated("file"), self.engine.connect() as connection:
            connection.execution_options(**{_MODE: _PLAIN})
            return _cut_wal(connection)

    def has_remains(self) -> bool:
        """Tell whether copies of rows that `note_remains` was told of may lie in the file."""
        if self.engine.dialect.name != "sqlite":
            return False
        with translated("file"), self.engine.connect() as connection:
            connection.execution_options(**{_MODE: _PLAIN})
            return bool(connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def rewrite(self) -> bool:
        """Write the whole file anew, so that nothing lies in it beside its rows; nobody else writes meanwhile.

        SQLite moves rows between pages and leaves copies where they were, which it does not know of when it overwrites
        a row. It needs as much room as the file, twice, for as long as it takes.

        Returns:
            Whether no copy is left, in the WAL either; not so while a reader still looks at an earlier state.

        Raises:
            MedchainError: see `medchain.store.faults.translated`; the file is as it was then.
        """
        with self._turns.one(), translated("file"), self.engine.connect() as connection:
            connection.execution_options(**{_MODE: _PLAIN})
            # Not in memory, which has no room for a file. SQLCipher writes it under the file's key.
            run(connection, "PRAGMA temp_store = FILE")
            try:
                run(connection, "VACUUM")
            finally:
                run(connection, "PRAGMA temp_store = MEMORY")
            is_gone = _cut_wal(connection)
            if is_gone:
                run(connection, "PRAGMA user_version = 0")
        return is_gone

    def move_wal(self, pages: int = WAL_PAGES) -> None:
        """Move the WAL's content into the file beside those who write, and have it begin anew where it is long.

        Args:
            pages: beyond so many pages it begins anew with the next write, unless a reader still looks at it.

        Raises:
            MedchainError: see `medchain.store.faults.translated`; nothing is lost, another call does it.
        """
        if self._move_wal() > pages:
            # It can begin anew only when all of it was moved, which those who write keep from coming to an end; what
            # they wrote during the first move is little.
            with self._turns.one():
                self._move_wal()

    def state(self) -> bytes:
        """Return what is another once anything was written, by whichever process; errors as in `write`."""
        try:
            return os.pread(self._mark_file, _MARK_BYTES, 0)
        except OSError as error:
            raise disk_fault(error, "commit_mark") from error

    def backup(self, target: Path, beside: Callable[[], None] = lambda: None) -> None:
        """Copy the file while others read and write it; the copy has the same key and one consistent state.

        Args:
            target: new file; it appears whole or not at all.
            beside: called once, while no process can write: what it sees elsewhere is of the state that is copied.
                Everybody who writes waits for it.

        Raises:
            MedchainError: see `medchain.store.faults.translated`.
        """
        partial = target.with_name(target.name + ".partial")
        try:
            for leftover in (partial, _sibling(partial, "-wal"), _sibling(partial, "-shm")):
                leftover.unlink(missing_ok=True)
            os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self._copy_into(partial, beside)
            _sync(partial)
            partial.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise UnavailableError("store.io", table="file") from error

    def check(self) -> None:
        """Read all of the file and verify it: every page's authentication code, every table and index.

        Raises:
            VerificationError: ``store.corrupt``.
        """
        # Pages that were torn when the power failed lie in the file until the WAL, which has them, is moved there.
        self._move_wal()
        with self.read("file") as connection:
            damaged = connection.exec_driver_sql("PRAGMA cipher_integrity_check").first()
            sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
        if damaged is not None or sound != "ok":
            raise corrupt("file")

    def promised(self, *, adopt: bool) -> int | None:
        """Return the number that stands beside the file.

        Args:
            adopt: whether to do without it.

        Returns:
            How many write transactions the file must count; None if there is no mark yet.

        Raises:
            VerificationError: ``store.corrupt``, table ``commit_mark``, for a mark that this key did not make.
        """
        if adopt:
            return None
        # A second look, because another process may be writing it just now.
        for _ in range(_MARK_READS):
            mark = os.pread(self._mark_file, _MARK_BYTES, 0)
            # A power cut may have kept the new file's length without its content; whoever removes a mark gains as much.
            if not mark.strip(b"\0"):
                return None
            number = int.from_bytes(mark[:_COUNT_BYTES], "big")
            if hmac.compare_digest(mark, self._mark(number)):
                return number
        raise corrupt("commit_mark", "mark")

    def compare(self, promised: int | None, counted: int, *, adopt: bool) -> None:
        """Refuse a file that has lost write transactions; a new or adopted one gets its mark.

        Args:
            promised: from `promised`.
            counted: what the file counts.
            adopt: whether to accept a file that counts writes without a mark.

        Raises:
            VerificationError: ``store.corrupt``, table ``commit_mark``.
        """
        if promised is not None and counted < promised:
            raise corrupt("commit_mark", "rolled_back")
        # Another process may have made the file and its mark just now.
        if promised is None and counted > 0 and not adopt and self.promised(adopt=False) is None:
            raise corrupt("commit_mark", "absent")
        if promised is None and (adopt or counted == 0):
            # Synced this once, with its name: a mark that a power cut had emptied would look like one that was removed.
            # Later ones may be lost: an older one promises less.
            os.pwrite(self._mark_file, self._mark(counted), 0)
            os.fsync(self._mark_file)
            _sync(self.path.parent)

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._kept.close()
        self._aside.dispose()
        self._writer.close()
        self.engine.dispose()
        os.close(self._mark_file)
        self._turns.close()

    @contextmanager
    def _writing(self, table: str, key: str = "", patience_s: float | None = None) -> Iterator[Connection]:
        """Give the connection by which this process writes, and the turn to do so."""
        with self._turns.one(patience_s), translated(table, key):
            connection = self._writer.take()
            if connection is None:
                # The file is being closed.
                raise UnavailableError("store.io", table=table, key=key)
            is_sound = False
            try:
                yield connection
                is_sound = True
            except (MedchainError, *_REFUSALS):
                # What was refused was taken back, and is nothing that a new connection would do better.
                is_sound = True
                raise
            finally:
                self._writer.give(is_sound=is_sound)

    def _copy_into(self, partial: Path, beside: Callable[[], None]) -> None:
        """Copy all pages in one step, so that writers cannot change the source meanwhile."""
        with self.read("file") as connection:
            with self.attempt("file"):
                # What is copied is the state that the source's open transaction sees (sqlite.org/c3ref/backup_finish).
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").one()
                beside()
            try:
                copy = self._connect(partial)
                try:
                    connection.connection.driver_connection.backup(copy)  # type: ignore[union-attr]  # the driver's own
                finally:
                    copy.close()
            except dbapi2.Error as error:
                raise fault(error, "file") from error

    def _move_wal(self) -> int:
        """Move what of the WAL can be moved without waiting for anybody; returns how many pages it has."""
        with translated("file"), self.engine.connect() as connection:
            connection.execution_options(**{_MODE: _PLAIN})
            _, pages, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
        return int(pages)

    def _synced_again(self, connection: Connection) -> None:
        """Have the writes of a connection synced again; where that fails nobody gets it any more."""
        try:
            # A commit that failed leaves its transaction open, in which the setting cannot be changed.
            connection.connection.rollback()
            run(connection, "PRAGMA synchronous = FULL")
        except BaseException:
            connection.invalidate()
            raise

    def _write_mark(self, mark: int) -> None:
        """Write what the file counts beside it; one that is behind is no harm."""
        try:
            os.pwrite(self._mark_file, self._mark(mark), 0)
        except OSError as error:
            raise disk_fault(error, "commit_mark") from error

    def _raise_mark(self, connection: Connection) -> int:
        """Count this write transaction."""
        row = _mark_statement(self.kind, connection.dialect).first(connection)
        if row is None:
            raise corrupt("commit_mark", "absent")
        return int(row[0])


@cache
def _mark_statement(kind: FileKind, dialect: Dialect) -> Statement:
    """Make the statement that counts a write transaction and tells the count; each of them runs it."""
    table = _MARKS[kind]
    return Statement(table.update().values(value=table.c.value + literal_column("1")).returning(table.c.value), dialect)


def open_database(
    path: Path,
    key: bytes,
    *,
    kind: FileKind,
    migrate: bool = True,
    adopt: bool = False,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    connections: int = DEFAULT_CONNECTIONS,
) -> Database:
    """Open or create a file.

    Args:
        path: the file; its folder exists.
        key: `KEY_BYTES` secret bytes.
        kind: which of the two files.
        migrate: whether to create or upgrade the tables; otherwise another schema is refused.
        adopt: whether to accept a file that is older than its mark or has none, such as a restored backup.
        cache_bytes: page cache over all connections; beside it, who writes has another share.
        connections: most connections, beside those that single questions and writes have to themselves, and the one
            that is opened where an overlay is needed.

    Returns:
        The opened file.

    Raises:
        InputError: ``store.key`` for a key of another size.
        VerificationError: ``store.corrupt`` for a damaged file, another key, or a file older than its mark.
        ConflictError: ``store.schema`` for a schema that this version does not know.
        UnavailableError: ``store.io`` and others.
    """
    if len(key) != KEY_BYTES:
        raise InputError("store.key", size=len(key))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        mark_file = os.open(mark_path(path), os.O_RDWR | os.O_CREAT, 0o600)
        turns = WriteTurns(path, BUSY_TIMEOUT_MS / 1000)
    except OSError as error:
        raise UnavailableError("store.io", table="file") from error

    share_bytes = cache_bytes // connections

    def dial(file: Path) -> Any:  # noqa: ANN401  # sqlcipher3 has no types
        return connect(file, key, share_bytes)

    # And one for who writes.
    engine, aside = _engine(path, dial, connections + 1), _engine(path, dial, 1)

    def writer() -> Connection:
        connection = engine.connect().execution_options(**{_MODE: _WRITE})
        # A transaction of hundreds of records changes some 2,000 pages; what has no room is deciphered once more.
        run(connection, f"PRAGMA {_cache_size(_WRITER_SHARES * share_bytes)}")
        return connection

    def mark(count: int) -> bytes:
        counted = count.to_bytes(_COUNT_BYTES, "big")
        return counted + hmac.digest(key, b"medchain/store-mark/v1" + counted, "sha256")[: _MARK_BYTES - _COUNT_BYTES]

    kept, writing = _Kept(lambda: dial(path)), _Kept(writer)
    database = Database(engine, kind, path, dial, mark_file, mark, turns, kept, aside, writing)
    try:
        _prepare(database, migrate=migrate, adopt=adopt)
    except BaseException:
        database.close()
        raise
    return database


def is_current(path: Path, key: bytes, kind: FileKind) -> bool:
    """Tell whether a file is there and needs no migration; also of one that cannot be read, which opening it tells.

    Args:
        path: the file.
        key: its key.
        kind: which of the two files.
    """
    if not path.exists():
        return False
    try:
        open_database(path, key, kind=kind, migrate=False).close()
    except ConflictError:
        return False
    except MedchainError:
        return True
    return True


def mark_path(path: Path) -> Path:
    """Return where the counter of a file's write transactions stands."""
    return _sibling(path, "-mark")


def _engine(path: Path, dial: Callable[[Path], Any], connections: int) -> Engine:
    """Make an engine whose connections are all keyed and durable."""
    engine = create_engine(
        "sqlite://",
        module=dbapi2,
        creator=lambda: dial(path),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        # The one that was used last: its page cache is warm.
        pool_use_lifo=True,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        hide_parameters=True,
    )
    event.listen(engine, "begin", _begin)
    return engine


def connect(path: Path, key: bytes, cache_bytes: int) -> Any:  # noqa: ANN401  # sqlcipher3 has no types
    """Open one connection of the driver.

    Args:
        path: the file.
        key: its key.
        cache_bytes: page cache.

    Returns:
        The driver's connection, without transactions of its own.

    Raises:
        Error: the driver's errors.
    """
    connection = dbapi2.connect(str(path), isolation_level=None, check_same_thread=False)
    try:
        # The library's own log goes to stderr and says no more than the errors that we raise.
        connection.execute("PRAGMA cipher_log_level = NONE")
        connection.set_key(f"x'{key.hex()}'")
        # Before the file is read. SQLCipher's default is SHA-512, which processors have no instructions for.
        connection.execute("PRAGMA cipher_hmac_algorithm = HMAC_SHA256")
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}").fetchall()
        _log_writes(connection)
        for setting in (
            "synchronous = FULL",
            _cache_size(cache_bytes),
            f"wal_autocheckpoint = {_WAL_PAGES_LEFT}",
            f"journal_size_limit = {_WAL_KEPT_BYTES}",
            "foreign_keys = ON",
            # Always: a row that is moved to another page is deleted from its own.
            "secure_delete = ON",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()
    except dbapi2.Error:
        connection.close()
        raise
    return connection


def _shrink(connection: Any) -> None:  # noqa: ANN401  # sqlcipher3 has no types
    """Give back what a connection of the driver has no need of."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA shrink_memory")


def _cache_size(cache_bytes: int) -> str:
    """Write the setting of a connection's page cache."""
    return f"cache_size = -{max(cache_bytes >> 10, 256)}"


def _log_writes(connection: Any) -> None:  # noqa: ANN401  # sqlcipher3 has no types
    """Have the file written through a WAL.

    Who opens a new file when another is just making it is refused at once: SQLite sees that the two might wait for each
    other, and calls no busy handler (sqlite.org/c3ref/busy_handler.html). So it is asked again.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except dbapi2.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def note_remains(connection: Connection) -> None:
    """Note with what is erased that copies of it may be left until `Database.rewrite`."""
    if connection.dialect.name == "sqlite":
        run(connection, "PRAGMA user_version = 1")


def _cut_wal(connection: Connection) -> bool:
    """Move the WAL's content into the file and cut the WAL; tells whether readers let all of it be."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    busy, pages, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    # SQLite waits for readers, but not for another process that moves the WAL just now (`move_wal`): it says at once
    # that it is busy, and nothing of the WAL.
    while busy and pages < 0 and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        busy, pages, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not busy


def _begin(connection: Connection) -> None:
    """Start the kind of transaction that was asked for; a writer takes its lock at once, so as not to fail later."""
    statement = _BEGIN.get(connection.get_execution_options().get(_MODE, _SNAPSHOT))
    if statement is not None:
        run(connection, statement)


def _prepare(database: Database, *, migrate: bool, adopt: bool) -> None:
    """Bring the schema up to date, then compare the file with its mark."""
    current = _schema(database)
    if current != SCHEMA[database.kind]:
        if not migrate:
            raise ConflictError("store.schema", schema=current)
        _migrate(database)
    # First the mark: another process may write between the two, and the file then counts more.
    promised = database.promised(adopt=adopt)
    with database.read("commit_mark") as connection:
        counted = int(connection.execute(select(_MARKS[database.kind].c.value)).scalar_one())
    database.compare(promised, counted, adopt=adopt)


def _schema(database: Database) -> str | None:
    """Return the migration that the file is at, None for a new file."""
    with database.read("alembic_version") as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return version


def _migrate(database: Database) -> None:
    """Run the migrations in one transaction."""
    from alembic import command  # noqa: PLC0415  # large, and a file is migrated once
    from alembic.config import Config  # noqa: PLC0415  # as above
    from alembic.util.exc import CommandError  # noqa: PLC0415  # as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations" / database.kind))
    with translated("alembic_version"), database.engine.connect() as connection:
        connection.execution_options(**{_MODE: _WRITE})
        with connection.begin():
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise ConflictError("store.schema") from error


def _sibling(path: Path, suffix: str) -> Path:
    """Return the file beside another."""
    return path.with_name(path.name + suffix)


def _sync(path: Path) -> None:
    """Make a file's content, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
