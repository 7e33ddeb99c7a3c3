"""Alarms, refusals by number, draws by number."""

from __future__ import annotations

import pytest

from medchain.errors import NotFoundError
from medchain.store import watching
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

DAY = 86_400


def opened(folder) -> RecordStore:
    return RecordStore(open_database(folder / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))


@pytest.fixture
def store(tmp_path):
    made = opened(tmp_path)
    yield made
    made.close()


def test_an_alarm_is_there_after_a_restart_until_it_is_acknowledged(store, tmp_path):
    assert store.raise_alarm("draw.given_up", "renhe", 7, b"{}", 100)
    again = opened(tmp_path)
    [found] = again.alarms()
    assert (found.code, found.subject, found.height, found.count, found.acknowledged) == (
        *("draw.given_up", "renhe", 7, 1),
        None,
    )
    again.acknowledge(found.id, "asked them", 200)
    assert store.alarms() == []
    [seen] = store.alarms(acknowledged=True)
    assert (seen.note, seen.acknowledged) == ("asked them", 200)
    again.close()


def test_the_same_alarm_is_counted_not_listed_again_and_is_new_once_acknowledged(store):
    store.raise_alarm("a.b", "x", 1, b"first", 10)
    assert not store.raise_alarm("a.b", "x", 2, b"second", 20)
    assert store.raise_alarm("a.b", "y", 3, b"{}", 30)
    [one, other] = store.alarms()
    assert (one.count, one.first, one.last, one.fields, other.subject) == (2, 10, 20, b"first", "y")
    store.acknowledge(one.id, "", 40)
    assert store.raise_alarm("a.b", "x", 4, b"{}", 50)


def test_an_unknown_alarm_or_an_acknowledged_one_is_not_acknowledged(store):
    store.raise_alarm("a.b", "x", 1, b"{}", 10)
    [one] = store.alarms()
    store.acknowledge(one.id, "", 40)
    for number in (one.id, 99):
        with pytest.raises(NotFoundError, match=r"alarm\.unknown"):
            store.acknowledge(number, "", 41)


def test_alarms_of_others_making_do_not_fill_the_disk(store, monkeypatch):
    monkeypatch.setattr(watching, "MAX_OPEN_ALARMS", 3)
    assert [store.raise_alarm("a.b", str(at), 1, b"{}", 10) for at in range(5)] == [True, True, True, False, False]
    assert [row.subject for row in store.alarms()] == ["0", "1", "2"]


def test_many_alarms_of_one_code_hide_none_of_another(store, monkeypatch):
    monkeypatch.setattr(watching, "MAX_OPEN_ALARMS", 2)
    for at in range(3):
        store.raise_alarm("a.b", str(at), 1, b"{}", 10)
    assert not store.is_alarm_open("c.d")
    assert store.raise_alarm("c.d", "", 1, b"{}", 10)
    assert store.is_alarm_open("c.d")
    store.acknowledge(store.alarms(limit=3)[-1].id, "seen", 11)
    assert not store.is_alarm_open("c.d")


def test_refusals_are_one_row_a_day_requester_and_reason(store):
    counts = [store.count_refusal("anxin", "release.time", 10 + at) for at in range(1000)]
    assert counts[-1] == 1000
    assert store.count_refusal("anxin", "release.key", 2000) == 1001
    assert store.count_refusal("other", "release.key", 2000) == 1
    assert store.count_refusal("anxin", "release.key", DAY) == 1
    rows = store.refusals()
    assert [(row.day, row.requester, row.reason, row.count) for row in rows] == [
        (0, "anxin", "release.key", 1),
        (0, "anxin", "release.time", 1000),
        (0, "other", "release.key", 1),
        (1, "anxin", "release.key", 1),
    ]
    assert (rows[1].first, rows[1].last) == (10, 1009)
    assert len(store.refusals(since_day=1)) == 1


def test_several_refusals_alike_are_counted_at_once(store):
    assert store.count_refusal("anxin", "a.b", 10, number=3) == 3
    assert store.count_refusal("anxin", "a.b", 20, number=2) == 5
    assert [(row.count, row.first, row.last) for row in store.refusals()] == [(5, 10, 20)]


def test_old_refusals_go(store):
    store.count_refusal("anxin", "a.b", 0)
    store.count_refusal("anxin", "a.b", (watching.KEPT_DAYS + 1) * DAY)
    assert [row.day for row in store.refusals()] == [watching.KEPT_DAYS + 1]


def test_draws_are_added_up_with_the_height_and_old_spans_go(store, tmp_path):
    assert store.watched_height("draws") == 0
    store.put_draws("draws", 5, {("renhe", 0): (3, 1)}, {})
    store.put_draws("draws", 6, {("renhe", 0): (2, 2), ("renhe", 1): (1, 0)}, {})
    store.put_draws("draws", 9, {("renhe", 2): (4, 0)}, {})
    again = opened(tmp_path)
    assert again.watched_height("draws") == 9
    assert [(row.span, row.draws, row.passed) for row in again.draw_spans()] == [(1, 1, 0), (2, 4, 0)]
    again.close()


def test_endorsements_are_added_up_by_day_and_old_days_go(store, tmp_path):
    first = watching.Endorsed(7, "tongji", "renhe", "consent")
    other = watching.Endorsed(7, "tongji", "renhe", "grant")
    store.put_draws("draws", 5, {}, {first: 3, other: 1})
    store.put_draws("draws", 6, {}, {first: 2})
    again = opened(tmp_path)
    assert again.endorsements() == {first: 5, other: 1}
    later = first._replace(day=7 + watching.KEPT_DAYS)
    again.put_draws("draws", 7, {}, {later: 1})
    assert again.endorsements() == {later: 1, first: 5, other: 1}
    assert again.endorsements(since_day=8) == {later: 1}
    again.put_draws("draws", 8, {}, {later._replace(day=later.day + 1): 1})
    assert again.endorsements() == {later._replace(day=later.day + 1): 1, later: 1}
    again.close()


def test_reasons_that_somebody_makes_up_are_not_told_apart_for_ever(store):
    for number in range(100):
        store.count_refusal("anxin", f"made.up_{number}", 10)
    rows = store.refusals()
    assert len(rows) == watching.MAX_REASONS + 1
    assert [row.count for row in rows if row.reason == "other"] == [100 - watching.MAX_REASONS]


def test_a_reason_that_ends_a_day_is_told_apart_however_many_there_are(store):
    for number in range(watching.MAX_REASONS + 1):
        store.count_refusal("anxin", f"made.up_{number}", 10)
    store.count_refusal("anxin", "claim.unknown", 10, number=3, is_apart=True)
    store.count_refusal("anxin", "claim.unknown", 10)
    assert {row.reason: row.count for row in store.refusals() if row.count > 1} == {"claim.unknown": 4}
