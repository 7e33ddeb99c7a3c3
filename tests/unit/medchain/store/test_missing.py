"""What is missing: noted once with how far was looked, page by page, over restarts and failed commits."""

from __future__ import annotations

import pytest

from medchain.errors import UnavailableError
from medchain.store.missing import MissingBody
from tests.unit.medchain.store.conftest import set_back
from tests.unit.medchain.store.faults import at_step, commit_kept_but_failed, fail
from tests.unit.medchain.store.test_watching import opened

WATCH = "emergencies"


@pytest.fixture
def store(tmp_path):
    made = opened(tmp_path)
    yield made
    made.close()


def row(number: int, custodian: str = "renhe", since: int = 100) -> MissingBody:
    return MissingBody(custodian, bytes([number]) * 32, 1, since)


def test_what_is_noted_again_keeps_its_time_and_its_answer(store):
    store.put_missing(WATCH, 7, [row(1)])
    store.note_answer(row(1), "peer.unreachable", silent=True)
    store.put_missing(WATCH, 9, [row(1, since=900), row(2, since=900)])
    assert store.missing_of("renhe", 10) == [row(1)._replace(answer="peer.unreachable", silent=1), row(2, since=900)]
    assert store.watched_height(WATCH) == 9


def test_pages_of_one_organisation_go_on_and_leave_out_others(store):
    store.put_missing(WATCH, 1, [row(1), row(2, "tongji"), row(3), row(3)._replace(version=2)])
    first = store.missing_of("renhe", 2)
    assert first == [row(1), row(3)]
    assert store.missing_of("renhe", 2, after=(first[-1].key, 1)) == [row(3)._replace(version=2)]
    store.drop_missing(row(3))
    assert store.missing_of("renhe", 9) == [row(1), row(3)._replace(version=2)]


def test_what_is_late_is_counted_though_not_all_is_listed(store):
    store.put_missing(WATCH, 1, [row(1, since=30), row(2, "tongji", since=10), row(3, since=20)])
    assert store.missing_since(20, 1) == (2, [row(2, "tongji", since=10)])
    assert store.missing_since(9, 5) == (0, [])


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_write_that_failed_and_was_not_kept_leaves_both_as_they_were(store, step):
    with at_step(store.database, step, fail), pytest.raises(UnavailableError):
        store.put_missing(WATCH, 7, [row(1)])
    assert (store.missing_of("renhe", 9), store.watched_height(WATCH)) == ([], 0)


def test_a_write_that_failed_and_was_kept_has_kept_both_and_can_be_done_again(store):
    with commit_kept_but_failed(store.database), pytest.raises(UnavailableError):
        store.put_missing(WATCH, 7, [row(1)])
    store.put_missing(WATCH, 7, [row(1, since=900)])
    assert (store.missing_of("renhe", 9), store.watched_height(WATCH)) == ([row(1)], 7)


def test_a_file_of_before_gets_the_table(store, tmp_path):
    set_back(store.database, 26)
    again = opened(tmp_path)
    again.put_missing(WATCH, 1, [row(1)])
    assert again.missing_of("renhe", 9) == [row(1)]
    again.close()
