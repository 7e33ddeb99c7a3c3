"""Releases under way, over a restart and over a damaged file."""

from __future__ import annotations

import pytest

from medchain.encoding import canonical, parse_canonical
from medchain.errors import UnavailableError, VerificationError
from medchain.ledger.object import build_body
from medchain.ledger.transaction import Ref
from medchain.node import pending as module
from medchain.node.pending import AccessEntry, PendingReleases, Release, token_of
from medchain.store.accesses import Access
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import fresh

NOW = 1_796_083_300
ENTRY = AccessEntry(
    b"\x01" * 16, 2, build_body("access", {"grant": "x"}, {"requests": []}, fresh), (Ref(b"\x02" * 32, 1),)
)


def release(number: int, **changes: object) -> Release:
    values = {
        "request_hash": bytes([number]) * 32,
        "time": NOW,
        "grant": b"\x02" * 32,
        "patient": "token",
        "wraps": b"wraps",
        "records": ((b"\x03" * 16, 1), (b"\x04" * 16, 7)),
        "following": None,
    }
    return Release(**(values | changes))


@pytest.fixture
def records(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


def opened(records, now: int = NOW) -> PendingReleases:
    return PendingReleases(records, lambda: now)


def test_what_is_under_way_is_the_same_after_a_restart(records):
    kept = [release(1), release(2, following=9, oversized=1)]
    opened(records).keep(ENTRY, kept)
    again = opened(records)
    assert [again.find(item.request_hash) for item in kept] == [(item, ENTRY) for item in kept]


def test_more_is_under_way_after_a_restart_than_is_read_at_a_time(records, monkeypatch):
    monkeypatch.setattr(module, "_PAGE", 2)
    pending, kept = opened(records), [release(number) for number in range(1, 6)]
    for item in kept:
        pending.keep(ENTRY, [item])
    again = opened(records)
    assert [again.find(item.request_hash) for item in kept] == [(item, ENTRY) for item in kept]
    assert all(again.finish(item.request_hash) for item in kept)
    assert records.pending(10, kind="release") == []


def test_a_batch_stays_on_disk_until_its_last_request_is_answered(records):
    pending = opened(records)
    pending.keep(ENTRY, [release(1), release(2)])
    assert pending.finish(b"\1" * 32)
    assert len(records.pending(10, kind="release")) == 1
    assert pending.finish(b"\2" * 32)
    assert records.pending(10, kind="release") == []


def test_of_two_that_answer_at_once_one_may(records):
    pending = opened(records)
    pending.keep(ENTRY, [release(1)])
    assert [pending.finish(b"\1" * 32), pending.finish(b"\1" * 32)] == [True, False]
    assert pending.find(b"\1" * 32) is None


def note(number: int) -> Access:
    return Access(bytes([number]) * 16, "token", "given", NOW, b"{}", 7)


def test_a_release_is_noted_in_the_write_that_finishes_it(records, monkeypatch):
    pending = opened(records)
    pending.keep(ENTRY, [release(1)])
    writes = []
    database = type(records._database)  # noqa: SLF001  # each call is one synced write
    write = database.write
    monkeypatch.setattr(database, "write", lambda file, *row: writes.append(row) or write(file, *row))
    assert pending.finish(b"\1" * 32, note(1))
    assert writes == [("access",)]
    assert [row.object_id for row in records.accesses("token")] == [note(1).object_id]
    assert records.pending(10, kind="release") == []


def test_a_release_that_was_noted_by_an_attempt_before_is_finished_all_the_same(records):
    pending = opened(records)
    pending.keep(ENTRY, [release(1)])
    records.put_accesses([note(1)])
    assert pending.finish(b"\1" * 32, note(1))
    assert len(records.accesses("token")) == 1
    assert records.pending(10, kind="release") == []


def test_who_may_not_answer_notes_nothing(records):
    pending = opened(records)
    assert not pending.finish(b"\1" * 32, note(1))
    assert records.accesses("token") == []


def test_a_release_that_could_not_be_finished_can_be_asked_for_again(records, monkeypatch):
    pending = opened(records)
    pending.keep(ENTRY, [release(1)])

    def full(*_values: object) -> None:
        raise UnavailableError("store.full")

    with monkeypatch.context() as patched:
        patched.setattr(type(records._database), "write", full)  # noqa: SLF001  # a disk that is full
        with pytest.raises(UnavailableError, match=r"store\.full"):
            pending.finish(b"\1" * 32, note(1))
    assert pending.find(b"\1" * 32) == (release(1), ENTRY)
    assert pending.finish(b"\1" * 32, note(1))
    assert records.pending(10, kind="release") == []


def test_what_is_too_old_is_gone_after_a_restart_and_while_the_node_runs(records):
    pending = opened(records)
    pending.keep(ENTRY, [release(1), release(2, time=NOW - 121)])
    pending.prune()
    assert (pending.find(b"\1" * 32) is None, pending.find(b"\2" * 32) is None) == (False, True)
    assert opened(records, NOW + 121).find(b"\1" * 32) is None
    assert records.pending(10, kind="release") == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("version", "2"),
        ("refs", [[7]]),
        ("refs", [["02" * 32, "1"]]),
        ("releases", [7]),
        ("body", {}),
        ("object_id", ""),
    ],
)
def test_a_damaged_batch_stops_the_node(records, member, value):
    opened(records).keep(ENTRY, [release(1)])
    (intent,) = records.pending(10, kind="release")
    document = parse_canonical(intent.payload, max_bytes=1 << 20)
    records.drop_intents([intent.id])
    records.put_intent("release", canonical({**document, member: value}), NOW)
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        opened(records)


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_was_kept_by_a_write_that_failed_is_under_way_without_a_restart(records, monkeypatch, is_kept):
    """The disk fills up between the commit and the file's mark, or before both (`Database.write`)."""
    pending, database = opened(records), type(records._database)  # noqa: SLF001  # a disk that is full
    # Others lie before it, more than are read at a time.
    monkeypatch.setattr(module, "_PAGE", 1)
    pending.keep(ENTRY, [release(3)])

    def full(*_values: object) -> None:
        raise UnavailableError("store.full")

    with monkeypatch.context() as patched:
        patched.setattr(database, "_write_mark" if is_kept else "_raise_mark", full)
        with pytest.raises(UnavailableError):
            pending.keep(ENTRY, [release(1), release(2)])
    assert records.is_used(token_of(b"\1" * 32)) is is_kept
    with monkeypatch.context() as patched:
        patched.setattr(RecordStore, "pending", lambda *_values, **_more: (_ for _ in ()).throw(UnavailableError("x")))
        with pytest.raises(UnavailableError):
            pending.find(b"\1" * 32)
    assert pending.find(b"\1" * 32) == ((release(1), ENTRY) if is_kept else None)
    assert pending.finish(b"\1" * 32) is is_kept
    # Answered, it is not found again.
    assert pending.find(b"\1" * 32) is None
    assert pending.finish(b"\2" * 32) is is_kept
    assert pending.finish(b"\3" * 32)
    assert records.pending(10, kind="release") == []
    if not is_kept:
        pending.keep(ENTRY, [release(1)])
        assert pending.find(b"\1" * 32) == (release(1), ENTRY)
