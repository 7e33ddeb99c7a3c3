"""Looking up many record versions at once, and what waits for the ledger."""

from __future__ import annotations

import pytest

from medchain.store import records as module
from medchain.store.engine import FileKind, open_database
from medchain.store.records import Epoch, RecordStore, RecordVersion

EPOCH = b"\x01" * 16


@pytest.fixture
def store(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    made.put_versions([], epochs=[Epoch(EPOCH, "token", 1, 7, b"key")])
    yield made
    made.close()


def version(name: int, number: int = 1) -> RecordVersion:
    ids = ("Basic", f"b{name}", number, bytes([name]) * 16, "token", EPOCH)
    return RecordVersion(*ids, 7, bytes([name, number]) * 16, b"dek", b"envelope %d.%d" % (name, number))


def test_many_versions_come_in_the_order_asked_for(store, monkeypatch):
    monkeypatch.setattr(module, "_OBJECTS_AT_ONCE", 2)
    store.put_versions([version(1), version(2), version(3), version(1, 2)])
    wanted = [(bytes([3]) * 16, 1), (bytes([1]) * 16, 1), (bytes([9]) * 16, 1), (bytes([1]) * 16, 2)]
    found = store.by_objects(wanted)
    assert [None if row is None else row.envelope for row in found] == [
        b"envelope 3.1",
        b"envelope 1.1",
        None,
        b"envelope 1.2",
    ]
    assert store.by_objects([]) == []


def test_the_newest_versions_are_told_with_their_numbers(store, monkeypatch):
    monkeypatch.setattr(module, "_OBJECTS_AT_ONCE", 1)
    store.put_versions([version(1), version(2), version(1, 2)])
    ids = [bytes([name]) * 16 for name in (1, 2, 9)]
    assert store.newest_of(ids) == {ids[0]: (2, 3), ids[1]: (1, 2)}


def test_what_a_version_waits_to_become_is_told_until_it_is_ordered(store):
    store.put_versions([version(1), version(2)], payloads=[b"deleted", b""])
    assert [store.waiting_status(seq) for seq in (1, 2, 3)] == ["deleted", "", None]
    store.mark_ordered([row.id for row in store.pending(2)], 5)
    assert store.waiting_status(1) is None
