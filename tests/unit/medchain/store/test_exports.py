"""Bulk exports in the records file: bounded, moved on by one at a time, kept whole or not at all; under faults."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from medchain.errors import ConflictError, UnavailableError
from medchain.store.engine import FileKind
from medchain.store.exports import KEPT_S, MAX_EACH, ExportRow, FileRow, Progress
from medchain.store.records import RecordStore
from tests.unit.medchain.store.faults import at_step, commit_kept_but_failed, fail

FILES = [FileRow(1, "Patient", 2, b"one"), FileRow(2, "Patient", 1, b"two")]


@pytest.fixture
def store(store_engine):
    with closing(RecordStore(store_engine(FileKind.RECORDS))) as made:
        yield made


def row(number: int = 1, owner: str = "me", created: int = 1000) -> ExportRow:
    return ExportRow(f"{number:032x}", owner, created, b"sealed", 0)


def test_an_export_is_its_owners_for_a_day(store):
    kept = store.put_export(row())
    assert store.export(kept.id, "me", 1000 + KEPT_S) == kept
    assert store.export(kept.id, "me", 1001 + KEPT_S) is None
    assert store.export(kept.id, "you", 1000) is None
    store.put_export(row(2, created=1001 + KEPT_S))
    assert store.export(kept.id, "me", 1000) is None


def test_an_owner_has_a_bounded_number(store):
    for number in range(MAX_EACH):
        store.put_export(row(number))
    with pytest.raises(UnavailableError, match=r"export\.too_many"):
        store.put_export(row(99))
    store.put_export(row(99, "you"))
    store.drop_export(row(0).id)
    store.put_export(row(98))


def test_of_two_who_go_on_with_one_export_one_wins(store):
    kept = store.put_export(row())
    store.advance_export(kept, Progress(0, 7, 2), FILES)
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        store.advance_export(kept, Progress(1, 0, 2), FILES)
    again = store.export(kept.id, "me", 1000)
    assert again == replace(kept, progress=Progress(0, 7, 2))
    store.advance_export(again, Progress(1, 0, 2), [])
    assert store.export_files(kept.id) == [one._replace(content=b"") for one in FILES]
    assert store.export_file(kept.id, 2) == FILES[1]
    assert store.export_file(kept.id, 3) is None


def test_a_deleted_export_leaves_nothing(store):
    kept = store.put_export(row())
    store.advance_export(kept, Progress(1, 0, 2), FILES)
    store.drop_export(kept.id)
    assert (store.export(kept.id, "me", 1000), store.export_files(kept.id)) == (None, [])


def test_what_fails_on_the_way_is_not_kept(store):
    kept = store.put_export(row())
    with at_step(store.database, 3, fail), pytest.raises(UnavailableError):
        store.advance_export(kept, Progress(1, 0, 2), FILES)
    assert store.export(kept.id, "me", 1000) == kept
    assert store.export_files(kept.id) == []


def test_what_was_kept_though_it_failed_is_found_by_who_goes_on(store):
    kept = store.put_export(row())
    with commit_kept_but_failed(store.database), pytest.raises(UnavailableError):
        store.advance_export(kept, Progress(1, 0, 2), FILES)
    assert store.export(kept.id, "me", 1000).progress == Progress(1, 0, 2)
    with pytest.raises(ConflictError):
        store.advance_export(kept, Progress(1, 0, 2), FILES)
