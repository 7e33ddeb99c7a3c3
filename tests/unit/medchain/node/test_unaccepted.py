"""Bodies that are never ordered, against members that send them without end."""

from __future__ import annotations

import pytest

from medchain.errors import UnavailableError
from medchain.node.unaccepted import Announced, Unaccepted
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

NOW = 1_796_083_200


class Shelf:
    """Knows what the ledger has, and notes what is destroyed."""

    def __init__(self) -> None:
        """Begin with a ledger that has nothing."""
        self.accepted: set[bytes] = set()
        self.awaited: set[bytes] = set()
        self.destroyed: list[bytes] = []

    def is_accepted(self, key: bytes, _version: int) -> bool:
        return key in self.accepted

    def is_awaited(self, key: bytes, _version: int) -> bool:
        return key in self.awaited

    def destroy_unaccepted(self, key: bytes, _version: int) -> None:
        self.destroyed.append(key)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def records(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


@pytest.fixture
def unaccepted(shelf, records):
    return Unaccepted(shelf, records, lambda: NOW)


def body(number: int, *, until: int | None = NOW, size: int = 1) -> Announced:
    return Announced(number.to_bytes(32, "big"), 1, until, size)


def full(unaccepted: Unaccepted) -> None:
    unaccepted.add("hospital", [body(number) for number in range(10_000)])


def test_a_member_that_announces_without_end_is_told_to_wait_and_others_are_not(unaccepted):
    full(unaccepted)
    with pytest.raises(UnavailableError) as caught:
        unaccepted.add("hospital", [body(10_000)])
    assert (caught.value.code, caught.value.retry_after_s) == ("body.quota", 60)
    unaccepted.add("insurer", [body(10_001)])


def test_large_bodies_fill_the_quota_before_their_number_does(unaccepted):
    unaccepted.add("hospital", [body(number, size=64 << 20) for number in range(4)])
    with pytest.raises(UnavailableError):
        unaccepted.add("hospital", [body(4)])


def test_what_was_accepted_counts_no_more_wherever_it_stands(unaccepted, shelf):
    full(unaccepted)
    shelf.accepted = {body(100).key}
    with pytest.raises(UnavailableError):
        unaccepted.add("hospital", [body(10_000)])
    unaccepted.add("hospital", [body(10_000)])


@pytest.mark.parametrize(("until", "end"), [(NOW, NOW + 600), (None, NOW + 780), (2**53 - 1, NOW + 780)])
def test_a_body_goes_once_the_ledger_is_ten_minutes_past_its_until_however_late_that_claims_to_be(
    unaccepted, shelf, until, end
):
    unaccepted.add("hospital", [body(1, until=until)])
    unaccepted.expire(end)
    assert shelf.destroyed == []
    unaccepted.expire(end + 1)
    unaccepted.expire(end + 1)
    assert shelf.destroyed == [body(1).key]


def test_a_body_announced_anew_lives_by_its_new_announcement(unaccepted, shelf):
    unaccepted.add("hospital", [body(1, until=NOW - 1000)])
    unaccepted.add("hospital", [body(1, until=NOW)])
    unaccepted.expire(NOW + 600)
    assert shelf.destroyed == []


def test_what_waits_for_the_block_of_a_stop_stays_due_until_it_has_come(unaccepted, shelf):
    unaccepted.add("hospital", [body(1, until=NOW), body(2, until=NOW)])
    shelf.awaited.add(body(1).key)
    unaccepted.expire(NOW + 601)
    assert shelf.destroyed == [body(2).key]
    shelf.awaited.clear()
    unaccepted.expire(NOW + 601)
    assert shelf.destroyed == [body(2).key, body(1).key]


def test_expiry_makes_room_and_is_done_in_pieces(unaccepted, shelf):
    full(unaccepted)
    unaccepted.expire(NOW + 601)
    assert len(shelf.destroyed) == 16
    unaccepted.add("hospital", [body(20_000 + number) for number in range(16)])
    with pytest.raises(UnavailableError):
        unaccepted.add("hospital", [body(30_000)])


def test_what_a_member_has_is_not_summed_at_each_delivery(unaccepted, records, monkeypatch):
    """A member with thousands of them waiting pays for it otherwise, and so do all who wait behind it."""
    sums, genuine = [], records.unaccepted_of
    monkeypatch.setattr(records, "unaccepted_of", lambda member: sums.append(member) or genuine(member))
    for number in range(50):
        unaccepted.add("hospital", [body(number)])
    assert sums == ["hospital"]
    unaccepted.add("hospital", [body(number) for number in range(50, 10_000)])
    for number in range(3):
        with pytest.raises(UnavailableError):
            unaccepted.add("hospital", [body(20_000 + number)])
    assert len(sums) == 2


def test_what_is_announced_again_and_again_fills_no_quota(unaccepted, records):
    for _ in range(5):
        unaccepted.add("hospital", [body(number) for number in range(4000)])
    assert records.unaccepted_of("hospital") == (4000, 4000)


def test_what_could_not_be_counted_is_summed_again(unaccepted, records, monkeypatch):
    """It may have been kept all the same."""
    full(unaccepted)
    unaccepted.expire(NOW + 601)
    genuine = records.put_unaccepted

    def fails(rows):
        genuine(rows)
        raise UnavailableError("store.disk_full")

    monkeypatch.setattr(records, "put_unaccepted", fails)
    with pytest.raises(UnavailableError):
        unaccepted.add("hospital", [body(20_000 + number) for number in range(16)])
    monkeypatch.setattr(records, "put_unaccepted", genuine)
    with pytest.raises(UnavailableError, match="quota"):
        unaccepted.add("hospital", [body(30_000)])


def test_a_restart_forgets_nothing_of_the_quota(unaccepted, shelf, records):
    full(unaccepted)
    again = Unaccepted(shelf, records, lambda: NOW)
    with pytest.raises(UnavailableError):
        again.add("hospital", [body(10_000)])
    again.expire(NOW + 601)
    assert len(shelf.destroyed) == 16


def test_what_was_accepted_leaves_the_count_however_much_of_it_there_is(unaccepted, shelf, records):
    unaccepted.add("hospital", [body(number) for number in range(600)])
    shelf.accepted = {body(number).key for number in range(500)}
    unaccepted.expire(NOW + 601)
    # It looks at 512: the 500 that were accepted, and 12 that go.
    assert (records.unaccepted_of("hospital")[0], len(shelf.destroyed)) == (88, 512)
    unaccepted.expire(NOW + 601)
    assert records.unaccepted_of("hospital")[0] == 88 - 16


def test_nothing_announced_is_nothing_written(unaccepted, records):
    before = records.unaccepted_of("hospital")
    unaccepted.add("hospital", [])
    assert records.unaccepted_of("hospital") == before == (0, 0)
