"""Opening a file: keys, damage, lost writes, full disks, schemas, copies."""

from __future__ import annotations

import ctypes
import errno
import itertools
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Integer, bindparam, event, literal_column, select, text
from sqlcipher3 import _sqlite3, dbapi2

from medchain.errors import ConflictError, InputError, UnavailableError, VerificationError
from medchain.store import engine as module
from medchain.store import tables
from medchain.store.engine import Database, FileKind, Statement, connect, is_current, mark_path, open_database, room
from medchain.store.faults import fault
from tests.new_databases import made_anew
from tests.unit.medchain.store.conftest import KEY
from tests.waiting import eventually

LEDGER, RECORDS = FileKind.LEDGER, FileKind.RECORDS
PAGE = 4096


@pytest.fixture(autouse=True)
def _files_as_a_node_makes_them() -> Iterator[None]:
    with made_anew():
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.db"


def sqlite_bytes() -> int:
    """Return how much memory SQLite has, all connections of this process together."""
    used = ctypes.CDLL(_sqlite3.__file__).sqlite3_memory_used
    used.restype = ctypes.c_int64
    return used()


def leave_wal(database, rows: int = 3, first: int = 0) -> None:
    """Put leaves into a file, each in its own transaction, and leave them in the WAL."""
    for position in range(first, first + rows):
        with database.write("leaf") as connection:
            connection.execute(tables.leaf.insert().values(position=position, data=bytes(3000)))


def count(database) -> int:
    with database.read("leaf") as connection:
        return len(connection.execute(select(tables.leaf.c.position)).all())


@pytest.mark.parametrize("kind", list(FileKind))
def test_migrations_make_exactly_the_tables_that_the_code_uses(store_engine, kind):
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415  # a large import for one test
    from alembic.migration import MigrationContext  # noqa: PLC0415  # as above

    metadata = tables.LEDGER if kind is LEDGER else tables.RECORDS
    with store_engine(kind).read("file") as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_nothing_in_the_file_is_in_clear(path):
    database = open_database(path, KEY, kind=LEDGER)
    with database.write("body") as connection:
        connection.execute(tables.body.insert().values(key=b"k", version=1, data=b"a patient's name" * 20))
    database.close()
    for file in path.parent.iterdir():
        data = file.read_bytes()
        assert b"patient" not in data
        assert b"CREATE TABLE" not in data
        assert b"SQLite format" not in data


def test_a_new_file_that_another_is_just_making_is_waited_for(path):
    # SQLite calls no busy handler here: both would wait for the lock that the other one has.
    maker = dbapi2.connect(str(path), isolation_level=None)
    maker.set_key(f"x'{KEY.hex()}'")
    maker.execute("PRAGMA cipher_hmac_algorithm = HMAC_SHA256")
    maker.execute("BEGIN IMMEDIATE")
    opened = []
    thread = threading.Thread(target=lambda: opened.append(connect(path, KEY, 1 << 20)))
    thread.start()
    thread.join(0.2)
    waits = thread.is_alive()
    maker.execute("ROLLBACK")
    maker.close()
    thread.join()
    assert waits
    assert opened[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
    opened[0].close()


def test_a_new_file_that_another_holds_for_too_long_is_busy(path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_TIMEOUT_MS", 50)
    maker = dbapi2.connect(str(path), isolation_level=None)
    maker.set_key(f"x'{KEY.hex()}'")
    maker.execute("BEGIN IMMEDIATE")
    with closing(maker), pytest.raises(UnavailableError) as caught:
        open_database(path, KEY, kind=LEDGER)
    assert caught.value.code == "store.busy"


@pytest.mark.parametrize(
    "value", [b"", b"\0", b"abc", memoryview(b"abc")[1:], memoryview(b""), None, "", "text", 0, 1.5]
)
def test_values_are_bound_as_they_are(path, value):
    connection = connect(path, KEY, 1 << 20)
    kind = {bytes: "blob", memoryview: "blob", type(None): "null", str: "text", int: "integer", float: "real"}
    expected = bytes(value) if isinstance(value, memoryview) else value
    found = connection.execute("SELECT ?1, typeof(?1)", (value,)).fetchone()
    connection.close()
    assert found == (expected, kind[type(value)])


def test_files_are_for_their_owner_alone(path):
    open_database(path, KEY, kind=LEDGER).close()
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_another_key_is_refused(path):
    open_database(path, KEY, kind=LEDGER).close()
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        open_database(path, bytes(32), kind=LEDGER)


def test_a_short_key_is_refused(path):
    with pytest.raises(InputError, match=r"store\.key"):
        open_database(path, b"short", kind=LEDGER)
    assert not path.exists()


def test_who_writes_has_room_for_twice_as_many_pages_as_who_reads(path):
    database = open_database(path, KEY, kind=RECORDS, cache_bytes=32 << 20, connections=4)
    with closing(database), database.read("file") as reading, database.write("file") as writing:
        rooms = [one.exec_driver_sql("PRAGMA cache_size").scalar_one() for one in (reading, writing)]
    # In KiB, as SQLite has it where the number is negative (sqlite.org/pragma.html#pragma_cache_size).
    assert rooms == [-8 << 10, -16 << 10]


def test_page_caches_are_given_back_and_filled_again_by_who_is_next(path):
    with closing(open_database(path, KEY, kind=LEDGER)) as database:
        with database.write("leaf") as connection:
            rows = [{"position": position, "data": bytes(3000)} for position in range(500)]
            connection.execute(tables.leaf.insert(), rows)
        with database.look("leaf") as look:
            assert len(look.rows("SELECT position FROM leaf", ())) == 500
        assert count(database) == 500
        before = sqlite_bytes()
        database.forget_pages()
        # Three connections had read or written all pages, one row in each.
        assert before - sqlite_bytes() > 3 * 500 * 3000
        assert count(database) == 500
        with database.write("leaf") as connection:
            connection.execute(tables.leaf.insert().values(position=500, data=b""))


def test_a_connection_that_somebody_has_is_left_to_him(path):
    with closing(open_database(path, KEY, kind=LEDGER)) as database, database.look("leaf") as look:
        with database.write("leaf") as connection:
            connection.execute(tables.leaf.insert().values(position=0, data=b""))
            database.forget_pages()
            assert connection.execute(select(tables.leaf.c.position)).scalar_one() == 0
        assert look.rows("SELECT position FROM leaf", ()) == [(0,)]


def test_a_file_of_which_no_connection_is_open_has_no_pages_to_give_back(path):
    with closing(open_database(path, KEY, kind=LEDGER)) as database:
        database.engine.dispose()
        database.forget_pages()
        assert database.engine.pool.checkedin() == 0


def test_a_file_that_is_absent_or_behind_is_to_be_migrated_and_none_is_made_by_asking(path):
    assert not is_current(path, KEY, LEDGER)
    assert not path.exists()
    open_database(path, KEY, kind=LEDGER).close()
    assert is_current(path, KEY, LEDGER)
    assert not is_current(path, KEY, RECORDS)


def test_whoever_asks_whether_a_damaged_file_is_behind_leaves_it_to_who_opens_it(path):
    path.write_bytes(bytes(8192))
    assert is_current(path, KEY, LEDGER)
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        open_database(path, KEY, kind=LEDGER)


def test_a_folder_that_is_not_there_is_an_error_of_the_disk(tmp_path):
    with pytest.raises(UnavailableError, match=r"store\.io"):
        open_database(tmp_path / "absent" / "file.db", KEY, kind=LEDGER)


@pytest.mark.parametrize("kind", FileKind)
def test_the_newest_migration_is_what_a_file_is_opened_with(path, kind):
    open_database(path, KEY, kind=kind).close()
    # Who opens a file without bringing it up to date must find it so: commands do, beside a running node.
    open_database(path, KEY, kind=kind, migrate=False).close()


def test_another_files_schema_is_refused(path):
    open_database(path, KEY, kind=LEDGER).close()
    with pytest.raises(ConflictError, match=r"store\.schema"):
        open_database(path, KEY, kind=RECORDS)


def test_a_new_file_is_refused_where_migration_is_not_allowed(path):
    with pytest.raises(ConflictError, match=r"store\.schema"):
        open_database(path, KEY, kind=LEDGER, migrate=False)


def test_a_flipped_byte_anywhere_is_found(path):
    database = open_database(path, KEY, kind=LEDGER)
    leave_wal(database, 40)
    database.checkpoint()
    database.close()
    sound = path.read_bytes()
    for page in range(len(sound) // PAGE):
        # Ciphertext, initialisation vector, authentication code.
        for offset in (700, PAGE - 40, PAGE - 10):
            damaged = bytearray(sound)
            damaged[page * PAGE + offset] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(VerificationError, match=r"store\.corrupt"):
                check(path)
    path.write_bytes(sound)
    check(path)


def check(path: Path) -> None:
    """Open a file and read all of it."""
    database = open_database(path, KEY, kind=LEDGER)
    try:
        database.check()
    finally:
        database.close()


def copy_of(path: Path, target: Path) -> Path:
    """Copy a file that is open with what stands beside it, as a killed process leaves it."""
    target.mkdir()
    for suffix in ("", "-wal", "-mark"):
        shutil.copy(path.with_name(path.name + suffix), target)
    return target / path.name


@pytest.mark.parametrize("cut", ["last frame", "half", "all", "a flipped byte", "the file"])
def test_a_cut_wal_is_found_where_sqlite_would_serve_an_older_state(path, tmp_path, cut):
    database = open_database(path, KEY, kind=LEDGER)
    with database.write("leaf"):
        pass
    database.checkpoint()
    leave_wal(database)
    left = copy_of(path, tmp_path / "left")
    wal = left.with_name(left.name + "-wal")
    data = wal.read_bytes()
    match cut:
        case "last frame":
            wal.write_bytes(data[: -(PAGE + 24)])
        case "half":
            wal.write_bytes(data[: len(data) // 2])
        case "all":
            wal.write_bytes(b"")
        case "the file":
            wal.unlink()
        case _:
            wal.write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
    with pytest.raises(VerificationError) as caught:
        open_database(left, KEY, kind=LEDGER)
    assert caught.value.fields == {"table": "commit_mark", "key": "rolled_back"}
    # Only who says so accepts what is left.
    mark_path(left).unlink()
    with pytest.raises(VerificationError):
        open_database(left, KEY, kind=LEDGER)
    open_database(left, KEY, kind=LEDGER, adopt=True).close()
    open_database(left, KEY, kind=LEDGER).close()


def test_a_mark_that_this_key_did_not_make_is_refused(path):
    database = open_database(path, KEY, kind=LEDGER)
    leave_wal(database)
    database.close()
    mark = bytearray(mark_path(path).read_bytes())
    mark[7] -= 1
    mark_path(path).write_bytes(mark)
    with pytest.raises(VerificationError) as caught:
        open_database(path, KEY, kind=LEDGER)
    assert caught.value.fields == {"table": "commit_mark", "key": "mark"}


def test_zeros_are_no_mark(path):
    fresh = open_database(path, KEY, kind=FileKind.LEDGER)
    fresh.close()
    # What a power cut leaves of a new file: its length without its content.
    mark_path(path).write_bytes(bytes(24))
    database = open_database(path, KEY, kind=FileKind.LEDGER)
    with database.write("vouched"):
        pass
    database.close()
    mark_path(path).write_bytes(bytes(24))
    with pytest.raises(VerificationError, match="absent"):
        open_database(path, KEY, kind=FileKind.LEDGER)


def test_opening_while_another_process_writes_is_no_rollback(path, monkeypatch):
    writer = open_database(path, KEY, kind=LEDGER)
    leave_wal(writer, 1)
    honest = Database.promised

    def late(self, *, adopt: bool):
        promised = honest(self, adopt=adopt)
        with writer.write("leaf"):
            pass
        return promised

    monkeypatch.setattr(Database, "promised", late)
    open_database(path, KEY, kind=LEDGER).close()


def test_opening_while_another_process_makes_the_file_is_no_rollback(path, monkeypatch):
    honest = Database.promised
    others = []

    def late(self, *, adopt: bool):
        promised = honest(self, adopt=adopt)
        monkeypatch.setattr(Database, "promised", honest)
        others.append(open_database(path, KEY, kind=LEDGER))
        leave_wal(others[0], 1)
        return promised

    monkeypatch.setattr(Database, "promised", late)
    opened = open_database(path, KEY, kind=LEDGER)
    assert count(opened) == 1
    for database in (opened, *others):
        database.close()


def test_a_process_killed_before_the_mark_was_written_leaves_a_good_file(path, tmp_path):
    database = open_database(path, KEY, kind=LEDGER)
    mark = mark_path(path).read_bytes()
    leave_wal(database, 1)
    left = copy_of(path, tmp_path / "left")
    mark_path(left).write_bytes(mark)
    reopened = open_database(left, KEY, kind=LEDGER)
    assert count(reopened) == 1
    reopened.close()


def test_a_whole_wal_is_used(path, tmp_path):
    database = open_database(path, KEY, kind=LEDGER)
    leave_wal(database)
    left = open_database(copy_of(path, tmp_path / "left"), KEY, kind=LEDGER)
    assert count(left) == 3
    left.close()


def test_a_full_disk_refuses_the_write_and_keeps_what_was(path):
    database = open_database(path, KEY, kind=LEDGER, connections=1)
    leave_wal(database, 1)
    with database.attempt("file") as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}").all()
    rows = [{"position": position, "data": bytes(3000)} for position in range(1, 50)]
    with pytest.raises(UnavailableError, match=r"store\.full"), database.write("leaf") as connection:
        connection.execute(tables.leaf.insert(), rows)
    assert count(database) == 1
    with database.attempt("file") as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000").all()
    with database.write("leaf") as connection:
        connection.execute(tables.leaf.insert().values(position=1, data=b""))
    assert count(database) == 2
    database.close()


def test_a_transaction_that_fails_half_way_keeps_nothing(store_engine):
    database = store_engine(LEDGER)
    rows = [{"position": position, "data": b""} for position in (0, 1, 0)]
    with pytest.raises(ConflictError), database.write("leaf") as connection:
        connection.execute(tables.leaf.insert(), rows)
    assert count(database) == 0


def test_a_commit_that_fails_but_is_kept_is_not_called_rolled_back(path):
    database = open_database(path, KEY, kind=LEDGER)

    def kept(connection) -> None:
        connection.connection.commit()
        raise dbapi2.OperationalError

    event.listen(database.engine, "commit", kept)
    with pytest.raises(UnavailableError, match=r"store\.io"):
        leave_wal(database, 1)
    event.remove(database.engine, "commit", kept)
    assert count(database) == 1
    database.close()
    reopened = open_database(path, KEY, kind=LEDGER)
    assert count(reopened) == 1
    reopened.close()


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "store.full"), (errno.EDQUOT, "store.full"), (errno.EIO, "store.io")]
)
def test_a_mark_that_cannot_be_written_is_an_error_of_the_disk_and_the_write_is_kept(path, monkeypatch, number, code):
    database = open_database(path, KEY, kind=LEDGER)

    def refuse(*_: object) -> int:
        raise OSError(number, "disk")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "pwrite", refuse)
        with pytest.raises(UnavailableError, match=rf"{code} table=commit_mark"):
            leave_wal(database, 1)
    assert count(database) == 1
    database.close()
    reopened = open_database(path, KEY, kind=LEDGER)
    assert count(reopened) == 1
    reopened.close()


def test_a_row_that_is_there_is_a_conflict(store_engine):
    database = store_engine(LEDGER)
    leave_wal(database, 1)
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        leave_wal(database, 1)


def test_statements_and_their_values_stay_out_of_errors(store_engine):
    database = store_engine(LEDGER)
    with pytest.raises(UnavailableError) as caught, database.write("body", "k") as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "a patient's name"})
    assert "patient" not in str(caught.value)
    assert "patient" not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("number", "code"),
    # sqlite.org/rescode.html
    [
        (13, "store.full"),
        (5, "store.busy"),
        (6, "store.busy"),
        (517, "store.busy"),
        (8, "store.read_only"),
        (10, "store.io"),
        (778, "store.io"),
        (14, "store.io"),
        (1, "store.io"),
        (11, "store.corrupt"),
        (26, "store.corrupt"),
        (267, "store.corrupt"),
        (522, "store.corrupt"),
    ],
)
def test_the_drivers_errors_become_ours(number, code):
    error = dbapi2.OperationalError()
    error.sqlite_errorcode = number
    made = fault(error, "leaf", "7")
    assert made.code == code
    assert made.fields == {"table": "leaf", "key": "7"}
    assert isinstance(made, VerificationError if code == "store.corrupt" else UnavailableError)


def test_a_backup_is_one_state_made_while_others_write(path, tmp_path):
    database = open_database(path, KEY, kind=LEDGER)
    leave_wal(database)
    target = tmp_path / "backup.db"
    (tmp_path / "backup.db.partial").write_bytes(b"what a killed attempt left")
    database.backup(target)
    with database.write("leaf") as connection:
        connection.execute(tables.leaf.insert().values(position=9, data=b""))
    restored = open_database(target, KEY, kind=LEDGER, adopt=True)
    restored.check()
    assert count(restored) == 3
    restored.close()
    database.close()
    assert b"SQLite format" not in target.read_bytes()
    assert not (tmp_path / "backup.db.partial").exists()
    with pytest.raises(VerificationError):
        open_database(target, bytes(32), kind=LEDGER)


def test_what_is_seen_beside_a_backup_is_of_the_state_that_is_copied(path, tmp_path):
    database, other = (open_database(path, KEY, kind=LEDGER) for _ in range(2))
    ended, seen = threading.Event(), []

    def write() -> None:
        for position in itertools.count():
            if ended.is_set():
                return
            with other.write("leaf") as connection:
                connection.execute(tables.leaf.insert().values(position=position, data=b""))

    def look() -> None:
        seen.append(count(database))
        # Long enough for many writes, if any could be made.
        time.sleep(0.2)
        seen.append(count(database))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert eventually(lambda: count(database) > 0)
        database.backup(tmp_path / "copy.db", beside=look)
        # Nobody is kept from writing after it.
        assert eventually(lambda: count(database) > seen[0])
    finally:
        ended.set()
        writer.join()
    with closing(open_database(tmp_path / "copy.db", KEY, kind=LEDGER, adopt=True)) as copy:
        assert seen == [count(copy)] * 2
    database.close()
    other.close()


def test_a_backup_that_cannot_be_written_leaves_nothing(store_engine, tmp_path):
    with pytest.raises(UnavailableError, match=r"store\.io"):
        store_engine(LEDGER).backup(tmp_path / "absent" / "backup.db")


def test_a_reader_sees_one_state_throughout(store_engine):
    database = store_engine(LEDGER)
    with database.read("leaf") as connection:
        assert connection.execute(select(tables.leaf)).all() == []
        leave_wal(database, 1)
        assert connection.execute(select(tables.leaf)).all() == []
    assert count(database) == 1


def test_the_driver_alone_gives_nothing_without_the_key(path):
    open_database(path, KEY, kind=LEDGER).close()
    with pytest.raises(dbapi2.DatabaseError):
        connect(path, bytes(32), 1 << 20)


def planned(database, statement: Statement, *values: object) -> int:
    """Count the accesses that are judged for one question: SQLite judges them when it plans, not when it runs."""
    judged = []
    raw = database.engine.raw_connection()
    raw.set_authorizer(lambda *about: judged.append(about) or dbapi2.SQLITE_OK)
    cursor = raw.cursor()
    # An authorizer that was just set has everything planned anew once.
    cursor.execute(statement.text, values).fetchall()
    judged.clear()
    cursor.execute(statement.text, values).fetchall()
    cursor.close()
    raw.set_authorizer(None)
    raw.close()
    return len(judged)


def test_a_question_with_a_limit_is_planned_once_and_not_with_each_value(store_engine):
    database = store_engine(LEDGER)
    chosen, dialect = select(tables.leaf.c.position), database.engine.dialect
    alone = Statement(chosen.limit(bindparam("limit", type_=Integer)).offset(literal_column("0")), dialect)
    ours = Statement(chosen.limit(room("limit")).offset(literal_column("0")), dialect)
    # If SQLite ever plans the first one once as well, `room` may go.
    assert planned(database, alone, 1) > 0
    assert planned(database, ours, 1) == 0


def test_what_is_looked_up_is_the_newest_state(store_engine):
    database = store_engine(LEDGER)
    read = Statement(select(tables.leaf.c.position), database.engine.dialect)
    with database.look("leaf") as look:
        assert look.first(read) is None
        leave_wal(database)
        assert look.first(read) == (0,)
        assert look.all(read) == [(0,), (1,), (2,)]


def test_a_look_up_in_a_damaged_file_is_found(path):
    database = open_database(path, KEY, kind=LEDGER)
    leave_wal(database)
    database.checkpoint()
    read = Statement(select(tables.leaf.c.data), database.engine.dialect)
    data = bytearray(path.read_bytes())
    for start in range(PAGE, len(data), PAGE):
        data[start + 100] ^= 1
    path.write_bytes(data)
    database.engine.dispose()
    with pytest.raises(VerificationError, match=r"store\.corrupt"), database.look("leaf") as look:
        look.all(read)
    database.close()


def test_a_look_up_without_a_free_connection_is_refused(path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_TIMEOUT_MS", 20)
    database = open_database(path, KEY, kind=LEDGER, connections=1)
    # One has a connection of its own, as has who writes, one that of the pool.
    refused = pytest.raises(UnavailableError, match=r"store\.io")
    with database.look("leaf"), database.look("leaf"), database.write("leaf"), refused, database.look("leaf"):
        pass
    database.close()


def test_who_reads_holds_nobody_up_who_writes(path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_TIMEOUT_MS", 20)
    database = open_database(path, KEY, kind=LEDGER, connections=1)
    for position in range(2):
        with database.write("leaf") as connection:
            connection.execute(tables.leaf.insert().values(position=position, data=b""))
        with database.read("leaf") as reading, database.write("leaf"):
            assert len(reading.execute(select(tables.leaf.c.position)).all()) == position + 1
    database.close()


def test_a_write_that_failed_or_was_refused_leaves_the_next_one_a_sound_connection(path):
    database = open_database(path, KEY, kind=LEDGER)
    row = tables.leaf.insert().values(position=1, data=b"")

    def broken(connection, error) -> None:
        connection.execute(row)
        raise error

    for raised, error in ((dbapi2.OperationalError("broken"), UnavailableError), (KeyError(), KeyError)):
        with pytest.raises(error), database.write("leaf") as connection:
            broken(connection, raised)
    with database.write("leaf") as connection:
        connection.execute(row)
    with pytest.raises(ConflictError, match=r"store\.conflict"), database.write("leaf") as connection:
        connection.execute(row)
    with database.write("leaf") as connection:
        connection.execute(row, {"position": 2})
    assert count(database) == 2
    database.close()


def test_nobody_writes_a_file_that_is_being_closed(path):
    database = open_database(path, KEY, kind=LEDGER)
    database._writer.take()  # noqa: SLF001  # as one that closes the file has it
    with pytest.raises(UnavailableError, match=r"store\.io"), database.write("leaf"):
        pass
    database._writer.give(is_sound=True)  # noqa: SLF001  # as above
    with database.write("leaf"):
        pass
    database.close()


def test_who_looks_up_holds_nobody_up_who_reads(path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_TIMEOUT_MS", 20)
    database = open_database(path, KEY, kind=LEDGER, connections=1)
    read = select(tables.leaf.c.position)
    with database.look("leaf") as look, database.read("leaf") as connection:
        assert connection.execute(read).all() == look.all(Statement(read, database.engine.dialect)) == []
    database.close()


def test_a_look_up_that_failed_leaves_the_next_one_a_sound_connection(path):
    database = open_database(path, KEY, kind=LEDGER)
    read = Statement(select(tables.leaf.c.position), database.engine.dialect)
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"store\.io"), database.look("leaf") as look:
            look.rows("SELECT nothing FROM nowhere", ())
        with database.look("leaf") as look:
            assert look.all(read) == []
    database.close()


def test_a_look_up_that_finds_no_file_is_told_and_holds_nobody_up(path):
    database = open_database(path, KEY, kind=LEDGER)
    database.engine.dispose()
    hidden = path.with_name("hidden")
    path.rename(hidden)
    path.mkdir()
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"store\.io"), database.look("leaf"):
            pass
    path.rmdir()
    hidden.rename(path)
    with database.look("leaf") as look:
        assert look.all(Statement(select(tables.leaf.c.position), database.engine.dialect)) == []
    database.close()


@contextmanager
def opened_twice(path: Path) -> Iterator[tuple[Database, Database]]:
    """Open a file as two processes do."""
    with closing(open_database(path, KEY, kind=LEDGER)) as one, closing(open_database(path, KEY, kind=LEDGER)) as two:
        yield one, two


def test_a_long_wal_is_moved_into_the_file_and_begins_anew(path: Path):
    with closing(open_database(path, KEY, kind=LEDGER)) as database:
        leave_wal(database, 50)
        wal = path.with_name(path.name + "-wal")
        before = wal.stat().st_size
        database.move_wal(10)
        leave_wal(database, 40, first=50)
        assert count(database) == 90
        # What was written since stands at its beginning again.
        assert wal.stat().st_size == before


def test_a_short_wal_is_moved_and_goes_on(path: Path):
    with closing(open_database(path, KEY, kind=LEDGER)) as database:
        leave_wal(database, 5)
        wal = path.with_name(path.name + "-wal")
        before = wal.stat().st_size
        with closing(open_database(path, KEY, kind=LEDGER)) as other, other.write("leaf"):
            # It needs no turn for that.
            database.move_wal(1000)
        leave_wal(database, 5, first=5)
        assert wal.stat().st_size > before


def test_a_wal_is_moved_while_another_process_has_its_turn_at_writing(path: Path):
    with opened_twice(path) as (database, other):
        leave_wal(database, 5)
        size = path.stat().st_size
        with other.write("leaf") as connection:
            connection.execute(tables.leaf.insert().values(position=9, data=b""))
            database.move_wal(1000)
            assert path.stat().st_size > size
        assert count(database) == 6


# The lock of who moves a WAL is the byte 121 of its index (sqlite.org/walformat.html §2.3); SQLite's are of processes.
MOVES = "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX, 1, 121)\n"


def test_what_was_erased_is_cut_out_of_the_wal_though_another_process_moves_it_just_now(path: Path):
    with closing(open_database(path, KEY, kind=LEDGER)) as database:
        leave_wal(database)
        index = str(path.with_name(path.name + "-shm"))
        moving = subprocess.Popen(
            [sys.executable, "-c", MOVES + "print('moves', flush=True); sys.stdin.read()", index],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with moving:
            assert moving.stdout is not None
            assert moving.stdout.readline() == b"moves\n"
            # Not before it moves: a loaded machine takes longer to start it than that moment lasts.
            with ended_later(moving), database.erase("leaf") as connection:
                connection.execute(tables.leaf.delete())
            assert path.with_name(path.name + "-wal").stat().st_size == 0


@contextmanager
def ended_later(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process after a moment."""
    timer = threading.Timer(0.3, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        process.kill()


def test_the_state_tells_that_another_process_has_written(path: Path, monkeypatch):
    with opened_twice(path) as (database, other):
        before = database.state()
        assert database.state() == before
        leave_wal(other, 1)
        assert database.state() != before

        def fail(*_asked: object) -> bytes:
            raise OSError(errno.EIO, "no")

        monkeypatch.setattr(module.os, "pread", fail)
        with pytest.raises(UnavailableError, match=r"store\.io"):
            database.state()
