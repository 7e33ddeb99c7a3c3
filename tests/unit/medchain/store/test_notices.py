"""Notices in the records file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.errors import NotFoundError
from medchain.store.engine import FileKind, open_database
from medchain.store.notices import Dispatch, NoticeRow
from medchain.store.records import RecordStore


@pytest.fixture
def store(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


def row(number: int, **changes: object) -> NoticeRow:
    return replace(NoticeRow(bytes([number]) * 16, b"\x01" * 32, "", 5, b"sealed"), **changes)


def way(number: int, place: bytes = b"\x07" * 16, **changes: object) -> Dispatch:
    return Dispatch(bytes([number]) * 16, place, "email", 0, 10 + number, 10 + number)._replace(**changes)


def test_a_notice_is_kept_once_with_where_it_goes(store):
    assert store.put_notice(row(1), [way(1)])
    assert not store.put_notice(row(1), [way(1, b"\x08" * 16)])
    assert store.notice(row(1).id) == row(1)
    assert store.dispatches_to(b"\x07" * 16) == [way(1)]
    assert store.dispatches_to(b"\x08" * 16) == []
    with pytest.raises(NotFoundError, match=r"notice\.unknown"):
        store.notice(b"\x02" * 16)


def test_what_is_urgent_comes_first_then_what_has_been_due_for_longest(store):
    ways = [way(2), way(1), way(3, urgent=1), way(4, channel="sms")]
    for one in ways:
        store.put_notice(row(one.notice[0]), [one])
    assert store.next_dispatch("email", 9, 100) is None
    assert store.next_dispatch("email", 11, 100) == way(1)
    assert store.next_dispatch("email", 13, 100) == way(3, urgent=1)
    store.mark_sent([way(3, urgent=1)], 13)
    assert store.next_dispatch("email", 13, 100) == way(1)
    assert store.next_dispatch("sms", 20, 100) == way(4, channel="sms")


def test_a_message_sends_all_that_it_covers_and_nothing_that_came_since(store):
    for number in (1, 2, 3):
        store.put_notice(row(number), [way(number)])
    store.mark_sent([way(1), way(2)], 20)
    assert store.dispatches_to(way(3).place) == [way(3)]
    assert [one.sent for one in sorted(store.notices_of([row(1).subject]), key=lambda one: one.id)] == [20, 20, None]
    store.mark_sent([way(3)], 30)
    assert store.sent_to(way(1).place, 20, 30) == [20, 30]
    assert store.sent_to(way(1).place, 21, 30) == [30]
    assert store.sent_to(way(1).place, 20, 29) == [20]
    assert store.sent_to(b"\x08" * 16, 0, 30) == []


def test_who_has_seen_a_notice_is_sent_nothing_of_it_any_more(store):
    store.put_notice(row(1), [way(1)])
    store.put_off([way(1)], 50, "dispatch.refused")
    store.acknowledge_notice(row(1).id, [row(1).subject], [], 20)
    assert store.next_dispatch("email", 99, 100) is None
    assert store.undelivered([row(1).id]) == set()
    store.put_off([way(1)], 60, "mail.unreachable")
    assert store.next_dispatch("email", 99, 100) is None


def test_what_is_given_up_is_told_and_what_waits_is_counted(store):
    for number in (1, 2, 3):
        store.put_notice(row(number), [way(number)])
    store.put_off([way(1)], None, "dispatch.refused")
    store.put_off([way(2)], 90, "dispatch.digest")
    assert store.undelivered([row(number).id for number in (1, 2, 3)]) == {row(1).id}
    assert store.waiting_dispatches("email", ["dispatch.digest"]) == (1, 13)
    assert store.waiting_dispatches("email", []) == (2, 12)
    assert store.waiting_dispatches("sms", []) == (0, None)


def test_where_notices_went_is_destroyed_with_them(store):
    store.put_notice(row(1), [way(1)])
    store.put_notice(row(2, subject=b"\x02" * 32), [way(2)])
    assert store.drop_notices([row(1).subject], []) == 1
    assert store.dispatches_to(way(1).place) == [way(2)]


def test_the_empty_name_is_nobodys(store):
    store.put_notice(NoticeRow(b"\x01" * 16, b"", "token", 5, b"sealed"))
    assert store.notices_of([b""], [""]) == []
    assert [row.patient for row in store.notices_of([], ["token"])] == ["token"]
    assert store.drop_notices([b""], [""]) == 0


def test_of_what_no_word_is_sent_is_kept_for_each_person_in_place_of_what_was_before(store):
    mine, other = row(1).subject, b"\x02" * 32
    store.choose_topics(mine, ["law", "concerns", "law"])
    store.choose_topics(other, ["permissions"])
    assert (store.quiet_topics(mine), store.quiet_topics(other)) == ({"concerns", "law"}, {"permissions"})
    store.choose_topics(mine, ["permissions"])
    assert store.quiet_topics(mine) == {"permissions"}
    store.choose_topics(mine, [])
    assert (store.quiet_topics(mine), store.quiet_topics(other)) == (set(), {"permissions"})
    # It says something of the person, and is destroyed with the notices.
    store.drop_notices([other], [])
    assert store.quiet_topics(other) == set()
