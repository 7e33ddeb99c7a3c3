"""Looking up many record versions at once, and what waits for the ledger."""

from __future__ import annotations

import pytest

from medchain.store import versions
from medchain.store.engine import FileKind, open_database
from medchain.store.epochs import Epoch
from medchain.store.records import RecordStore, RecordVersion
from medchain.store.versions import VersionReader, prepare

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


# More objects than are asked for at once, none of which is there.
UNKNOWN = [number.to_bytes(16, "big") for number in range(1, 301)]


def test_many_versions_come_in_the_order_asked_for(store):
    store.put_versions([version(1), version(2), version(3), version(1, 2)])
    wanted = [(bytes([3]) * 16, 1), (bytes([1]) * 16, 1), (bytes([9]) * 16, 1), (bytes([1]) * 16, 2)]
    found = store.by_objects(wanted)
    assert [None if row is None else row.envelope for row in found] == [
        b"envelope 3.1",
        b"envelope 1.1",
        None,
        b"envelope 1.2",
    ]
    others = [(name, 1) for name in UNKNOWN]
    mixed = store.by_objects([*wanted[:1], *others[:150], *wanted[1:3], *others[150:], *wanted[3:]])
    assert [row for row in mixed if row is not None] == [row for row in found if row is not None]
    assert [at for at, row in enumerate(mixed) if row is not None] == [0, 151, 303]
    assert store.by_objects([]) == []


def test_the_newest_versions_are_told_with_their_numbers(store):
    store.put_versions([version(1), version(2), version(1, 2)])
    ids = [bytes([name]) * 16 for name in (1, 2, 9)]
    assert store.newest_of([ids[0], *UNKNOWN, *ids[1:]]) == {ids[0]: (2, 3), ids[1]: (1, 2)}


def test_versions_are_named_by_their_numbers_however_many(store):
    """Asked in questions of several sizes; a number that nobody has is passed over."""
    rows = [version(name, number) for number in range(1, 11) for name in range(1, 71)]
    store.put_versions(rows)
    reader, wanted = VersionReader(store), [*range(700, 0, -1), 701]
    named = {row.number: (row.type, row.id, row.version, row.patient) for row in reader.named(wanted)}
    assert named == {number: ("Basic", row.id, row.version, None) for number, row in enumerate(rows, 1)}
    found = reader.numbered(wanted)
    assert [None if one is None else one.stored.seq for one in found] == [*wanted[:-1], None]


def test_what_is_asked_of_versions_is_put_into_sql_before_a_file_is_open(store):
    """In processes that are forked from the one that has prepared, nothing of it is made again."""
    versions._questions.cache_clear()  # noqa: SLF001  # what is made
    assert sum(1 for _ in prepare()) == 1
    VersionReader(store)
    assert versions._questions.cache_info().misses == 1  # noqa: SLF001  # as above


def test_what_a_version_waits_to_become_is_told_until_it_is_ordered(store):
    store.put_versions([version(1), version(2)], payloads=[b"deleted", b""])
    assert [store.waiting_status(seq) for seq in (1, 2, 3)] == ["deleted", "", None]
    store.mark_ordered([row.id for row in store.pending(2)], 5)
    assert store.waiting_status(1) is None
