"""The job that moves the WAL: when something was written, and again after a failure."""

from __future__ import annotations

from threading import Event

import pytest

from medchain.errors import UnavailableError
from medchain.node import wal
from medchain.node.wal import WalJob
from medchain.store.engine import Database, FileKind
from medchain.store.records import RecordStore


@pytest.fixture
def database(store_engine) -> Database:
    return store_engine(FileKind.RECORDS)


def test_what_was_written_is_moved_into_the_file_once(database, monkeypatch):
    moves = []
    move = Database.move_wal
    monkeypatch.setattr(Database, "move_wal", lambda self: moves.append(move(self)))
    job, before = WalJob(database), database.path.stat().st_size
    RecordStore(database).put_intent("kind", bytes(100_000), 1)
    job.look()
    assert database.path.stat().st_size > before + 90_000
    job.look()
    assert len(moves) == 1
    RecordStore(database).put_intent("kind", b"", 1)
    job.look()
    assert len(moves) == 2


def test_a_move_that_failed_is_made_again_until_it_is_told_to_stop(database, monkeypatch):
    stop, calls = Event(), []

    def fail(_self: Database) -> None:
        calls.append(1)
        if len(calls) == 2:
            stop.set()
            return
        raise UnavailableError("store.full")

    monkeypatch.setattr(Database, "move_wal", fail)
    monkeypatch.setattr(wal, "PERIOD_S", 0.001)
    WalJob(database).run(stop)
    assert len(calls) == 2
