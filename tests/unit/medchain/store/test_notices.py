"""Notices in the records file."""

from __future__ import annotations

import pytest

from medchain.store.engine import FileKind, open_database
from medchain.store.notices import NoticeRow
from medchain.store.records import RecordStore


@pytest.fixture
def store(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


def test_unsent_notices_are_read_page_by_page_the_oldest_first(store):
    rows = [NoticeRow(bytes([n]) * 16, b"\x01" * 32, "", 5 + n // 2, b"sealed") for n in range(5)]
    for row in reversed(rows):
        assert store.put_notice(row)
        assert not store.put_notice(row)
    store.mark_notice_sent(rows[1].id, 9)
    store.acknowledge_notice(rows[3].id, [rows[3].subject], [], 9)
    waiting = [rows[0], rows[2], rows[4]]
    assert store.unsent_notices(2) == waiting[:2]
    assert store.unsent_notices(2, after=(rows[2].time, rows[2].id)) == waiting[2:]
    assert store.unsent_notices(2, after=(rows[4].time, rows[4].id)) == []


def test_the_empty_name_is_nobodys(store):
    store.put_notice(NoticeRow(b"\x01" * 16, b"", "token", 5, b"sealed"))
    assert store.notices_of([b""], [""]) == []
    assert [row.patient for row in store.notices_of([], ["token"])] == ["token"]
    assert store.drop_notices([b""], [""]) == 0
