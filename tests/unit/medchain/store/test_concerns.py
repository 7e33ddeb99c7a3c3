"""What custodians tell a regulator of concerns: the newest version, bounded, and nothing of who was erased."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import String

from medchain.errors import UnavailableError
from medchain.store import concerns
from medchain.store.concerns import KEPT_S, ToldRow
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from medchain.store.tables import told_concern
from tests.unit.medchain.store.conftest import set_back

NOW = 1_796_083_200
RENHE, TONGJI = "renhe-hospital", "tongji-hospital"
ROW = ToldRow(RENHE, b"\x01" * 16, 1, NOW + 100, NOW, b'{"first":1}')


@pytest.fixture
def store(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


def test_what_is_due_first_comes_first_and_what_is_not_due_last(store):
    rows = [replace(ROW, id=bytes([number]) * 16, due=due) for number, due in ((2, None), (3, NOW + 9), (4, NOW + 5))]
    store.put_told(RENHE, rows, (), NOW)
    assert [row.id[0] for row in store.told()] == [4, 3, 2]


def test_a_later_version_takes_the_place_and_an_earlier_or_another_of_the_same_does_not(store):
    store.put_told(RENHE, [replace(ROW, version=2)], (), NOW)
    store.put_told(RENHE, [replace(ROW, due=None), replace(ROW, version=2, due=None, document=b"{}")], (), NOW + 1)
    assert store.told() == [replace(ROW, version=2)]
    later = replace(ROW, version=3, due=None, heard=NOW + 2)
    store.put_told(RENHE, [later], (), NOW + 2)
    assert store.told() == [later]


def test_a_custodian_says_nothing_of_anothers(store):
    store.put_told(RENHE, [ROW], (), NOW)
    other = replace(ROW, custodian=TONGJI, version=7, due=None)
    store.put_told(TONGJI, [other], (ROW.id,), NOW)
    store.put_told(TONGJI, (), (ROW.id,), NOW)
    assert [row for row in store.told() if row.custodian == RENHE] == [ROW]


def test_of_who_was_erased_nothing_stays_but_that_it_was_there_for_good(store):
    store.put_told(RENHE, [ROW], (), NOW)
    store.put_told(RENHE, (), (ROW.id, b"\x09" * 16), NOW + 1)
    gone = [replace(ROW, due=None, heard=NOW + 1, document=b"")]
    assert store.told() == gone
    store.put_told(RENHE, [replace(ROW, version=9)], (), NOW + 2)
    assert store.told() == gone


def test_what_is_due_stays_and_what_is_not_is_forgotten_after_a_year(store):
    store.put_told(RENHE, [ROW, replace(ROW, id=b"\x02" * 16, due=None)], (), NOW)
    store.put_told(TONGJI, (), (), NOW + KEPT_S - 1)
    assert len(store.told()) == 2
    store.put_told(TONGJI, (), (), NOW + KEPT_S)
    assert store.told() == [ROW]


def test_a_custodian_keeps_a_bounded_number(store, monkeypatch):
    monkeypatch.setattr(concerns, "MAX_OF_CUSTODIAN", 1)
    store.put_told(RENHE, [ROW], (), NOW)
    with pytest.raises(UnavailableError, match=r"concern\.quota"):
        store.put_told(RENHE, [replace(ROW, id=b"\x02" * 16)], (), NOW)
    assert store.told() == [ROW]
    store.put_told(RENHE, [replace(ROW, version=2)], (), NOW)
    store.put_told(TONGJI, [replace(ROW, custodian=TONGJI)], (), NOW)


def test_no_text_is_longer_than_its_column_allows():
    """SQLite keeps texts of any length; other databases refuse them."""
    texts = {one.name: one.type.length for one in told_concern.columns if isinstance(one.type, String)}
    assert texts == {"custodian": 40}


def test_a_file_of_before_gets_the_table(tmp_path):
    path, key = tmp_path / "old.db", b"\x05" * 32
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as old:
        set_back(old.database, 25)
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as store:
        store.put_told(RENHE, [ROW], (), NOW)
        assert store.told() == [ROW]
