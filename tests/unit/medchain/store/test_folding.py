"""Heads and map pages on their way into the file: broken off anywhere, damaged, dropped, and read while they wait."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import text

from medchain.errors import UnavailableError, VerificationError
from medchain.node.replica import Replica
from medchain.store import index
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.tlog.mapnode import bucket_hash
from tests.power import Promise, cuts
from tests.unit.medchain.ledger.world import COMMISSION
from tests.unit.medchain.node.ledgers import Author, anchored, block_of, replica_on
from tests.unit.medchain.store.conftest import KEY
from tests.unit.medchain.store.faults import at_step, fail
from tests.unit.medchain.store.folds import bases_in, fold_by, pages_in

LEDGER = FileKind.LEDGER


@pytest.fixture
def database(store_engine):
    return store_engine(LEDGER)


@pytest.fixture
def orderer(other_engine):
    return replica_on(LedgerStore(other_engine(LEDGER)), COMMISSION)


@pytest.fixture
def author(orderer):
    return Author(replica=orderer)


@pytest.fixture
def replica(database):
    return replica_on(LedgerStore(database))


@pytest.fixture
def many(replica, orderer, author):
    """Blocks of so many objects that the map has pages at several depths."""
    keys = []

    def grow(blocks=1, count=90):
        for _ in range(blocks):
            envelope = author.anchor(count)
            keys.extend(anchored(envelope))
            replica.apply(block_of(orderer, envelope))
        return keys

    return grow


@contextmanager
def started_again(database):
    """Open the file a second time, as after a crash."""
    again = Replica(LedgerStore(database))
    try:
        yield again
    finally:
        again.store._reader.close()  # noqa: SLF001  # the file stays open


def test_a_fold_broken_off_after_any_slice_is_finished_at_the_next_start(database, replica, many, monkeypatch):
    many(blocks=2)
    replica.store.flush()
    many()
    fold_by(4, monkeypatch)
    for _ in range(12):
        keys = many(count=3)
        bases = bases_in(database)
        assert bases[2] > bases[1]
        with started_again(database) as again:
            assert again.store.map_root == replica.store.map_root
            for key in keys[::37]:
                assert again.prove_record(key).record == replica.store.record(key)
            # What was computed again is written again, and that is broken off, too.
            with database.write("map_page") as connection:
                again.store._index.write(connection, 3)  # noqa: SLF001  # a slice, as a block would
        with started_again(database) as again:
            assert again.store.map_root == replica.store.map_root
            assert again.prove_record(keys[-1]).record == replica.store.record(keys[-1])
    replica.store.flush()
    assert bases_in(database) == {1: replica.height, 2: replica.height}
    with started_again(database) as again:
        assert again.store.map_root == replica.store.map_root


def test_a_fold_ends_by_itself_and_what_came_meanwhile_waits_for_the_next(database, replica, many, monkeypatch):
    many()
    monkeypatch.setattr(index, "WAITING_LIMIT_BYTES", -1)
    first = replica.height
    while bases_in(database).get(1, -1) < first:
        many(count=30)
    assert replica.height - first in range(2, 6)
    assert bases_in(database)[1] == first
    assert replica.store._index.is_waiting  # noqa: SLF001  # what came meanwhile


@pytest.mark.parametrize(
    "damage", ["DELETE FROM map_page WHERE key = :key", "UPDATE map_page SET data = zeroblob(1024) WHERE key = :key"]
)
def test_damage_to_a_fold_that_was_broken_off_is_found(database, replica, many, monkeypatch, damage):
    many(blocks=2)
    replica.store.flush()
    fold_by(4, monkeypatch)
    many(count=30)
    many(count=1)
    deepest = max(pages_in(database), key=lambda key: int.from_bytes(key, "big"))
    for key in {b"\x01", deepest}:
        before = pages_in(database)[key]
        with database.write("file") as connection:
            connection.execute(text(damage), {"key": key})
        with pytest.raises(VerificationError, match=r"store\.corrupt"):
            walk(LedgerStore(database))
        with database.write("file") as connection:
            connection.execute(
                text("REPLACE INTO map_page (key, data) VALUES (:key, :data)"), {"key": key, "data": before}
            )


def walk(store):
    """Prove all records: every page is looked at, those too that hold the ways to a few alone."""
    replica = Replica(store)
    with store._database.read("state_record") as connection:  # noqa: SLF001  # the same file
        keys = list(connection.execute(text("SELECT DISTINCT key FROM state_record")).scalars())
    for key in keys:
        replica.prove_record(key)


def test_a_false_target_of_a_fold_is_found(database, replica, many, monkeypatch):
    many()
    replica.store.flush()
    fold_by(4, monkeypatch)
    many(count=30)
    many(count=1)
    with database.write("file") as connection:
        connection.execute(text("UPDATE map_base SET root = zeroblob(32) WHERE id = 2"))
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        LedgerStore(database)


def test_blocks_dropped_while_they_are_being_written_leave_nothing(database, replica, orderer, many, monkeypatch):
    many(blocks=2)
    replica.store.flush()
    kept, root = replica.height, replica.store.map_root
    fold_by(4, monkeypatch)
    many(blocks=3, count=30)
    assert bases_in(database)[2] > kept
    replica.rewind(kept)
    assert replica.store.map_root == root
    assert Replica(LedgerStore(database)).store.map_root == root
    for block in orderer.blocks(kept + 1, 1 << 20):
        replica.apply(block)
    assert replica.store.map_root == orderer.store.map_root


def test_blocks_from_the_newest_final_one_on_are_provable_after_a_start(database, replica, orderer, many):
    many()
    size = orderer.size
    replica.store.put_checkpoint("final", size=size, time=7, final=True)
    keys = many(blocks=3, count=2)
    again = Replica(LedgerStore(database))
    for height in range(1, 5):
        end = again.store.block(height).size
        for key in (keys[0], keys[-1]):
            expected = orderer.prove_record(key, end)
            assert again.prove_record(key, end) == expected
    assert again.prove_record(keys[-1], size).record is None


def test_a_failed_commit_that_kept_nothing_costs_no_new_start(database, replica, orderer, many, monkeypatch):
    many()
    monkeypatch.setattr(index.StateIndex, "load", None)
    with at_step(database, 4, fail), pytest.raises(UnavailableError):
        many(count=1)
    assert replica.height == 1
    replica.apply(orderer.blocks(2, 1)[0])
    assert replica.store.map_root == orderer.store.map_root


def absent(row):
    assert row is None


def test_what_is_warm_is_not_read_again(database, replica, orderer, many, monkeypatch):
    many(blocks=2)
    replica.store.flush()
    again = Replica(LedgerStore(database))
    again.store.warm()
    held = again.store._index  # noqa: SLF001  # what is on disk must not be needed; for what is not there, it looks
    read = held._read_page  # noqa: SLF001  # as above
    monkeypatch.setattr(held, "_read_page", Mock(first=lambda *asked: absent(read.first(*asked))))
    envelope = Author(replica=orderer).anchor(40)
    again.apply(block_of(orderer, envelope))
    # What waits is newer than the file.
    again.store.warm()
    assert again.prove_record(anchored(envelope)[0]).record is not None


def test_memory_for_pages_is_bounded(database, replica, orderer, many, monkeypatch):
    keys = many(blocks=2)
    replica.store.flush()
    monkeypatch.setattr(index, "MEMORY_BYTES", 20_000)
    again = Replica(LedgerStore(database))
    again.store.warm()
    assert 0 < again.store._index._clean.size_bytes <= 20_000  # noqa: SLF001  # its bound is the point
    for key in keys:
        assert again.prove_record(key) == orderer.prove_record(key)
    assert again.store._index._clean.size_bytes <= 20_000  # noqa: SLF001  # as above


def larger(page):
    """Lay a page out as schema ledger_0001 had it: all 31 places of the heap, then the entries."""
    heap, tail, at = b"", b"", 512
    for kind in page[16:32]:
        size = 32 if kind == 255 else 64 * kind
        content, at = page[at : at + size], at + size
        heap += content if kind == 255 else bucket_hash(content) if kind else bytes(32)
        tail += b"" if kind == 255 else content
    return b"medchain/map/v1\n" + page[16:512] + heap + tail


def test_pages_of_the_first_schema_are_laid_out_anew(store_engine, database, replica, many):
    keys = many(blocks=2)
    replica.store.flush()
    expected = [replica.prove_record(key) for key in keys[::5]]
    pages = pages_in(database)
    with database.write("map_page") as connection:
        for key, page in pages.items():
            connection.execute(text("UPDATE map_page SET data = :d WHERE key = :k"), {"k": key, "d": larger(page)})
        connection.execute(text("INSERT INTO map_page (key, data) VALUES (x'02', x'00')"))
        for later in ("dropped_block", "destroyed_body"):
            connection.execute(text(f"DROP TABLE {later}"))
        connection.execute(text("UPDATE alembic_version SET version_num = 'ledger_0001'"))
    again = Replica(LedgerStore(store_engine(LEDGER)))
    assert pages_in(database) == {**pages, b"\x02": b"\0"}
    assert [again.prove_record(key) for key in keys[::5]] == expected


def test_a_power_cut_in_a_fold_loses_no_block_that_was_answered(tmp_path, orderer, author, monkeypatch):
    (tmp_path / "cuts").mkdir()
    fold_by(5, monkeypatch)
    blocks = [block_of(orderer, author.anchor(count)) for count in (90, 40, 3, 3)]
    roots = [orderer.root_at(orderer.store.block(height).size) for height in range(5)]

    def work(folder: Path, promise: Promise) -> None:
        replica = replica_on(LedgerStore(open_database(folder / "ledger.db", KEY, kind=LEDGER)))
        promise("0")
        for block in blocks:
            replica.apply(block)
            promise(str(block.height))
        replica.store.flush()

    folded = set()
    for cut in cuts(tmp_path / "cuts", work, step=7, torn=1):
        database = open_database(cut.folder / "ledger.db", KEY, kind=LEDGER)
        database.check()
        replica = replica_on(LedgerStore(database))
        assert len(cut.promised) - 1 <= replica.height <= len(cut.promised), cut.name
        assert replica.root == roots[replica.height], cut.name
        folded.add(tuple(bases_in(database).values()))
        walk(replica.store)
        for block in blocks[replica.height :]:
            replica.apply(block)
        assert replica.store.map_root == orderer.store.map_root
        replica.store.close()
    assert any(len(pair) == 2 and pair[0] != pair[1] for pair in folded)
