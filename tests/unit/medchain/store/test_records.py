"""The records file: versions with their intents, keys and erasures, tokens used once, accesses; under faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from medchain.errors import ConflictError, NotFoundError, UnavailableError
from medchain.store.accesses import Access
from medchain.store.engine import FileKind
from medchain.store.epochs import Epoch, Erasure
from medchain.store.outbox import ANCHOR
from medchain.store.records import RecordStore, RecordVersion, Write
from tests.unit.medchain.store.conftest import KEY
from tests.unit.medchain.store.faults import at_step, commit_kept_but_failed, fail, kill, killed

DAY_S = 86_400
EPOCH = Epoch(b"e" * 16, "patient-token", 1, 100, b"wrapped")


@pytest.fixture
def database(store_engine):
    return store_engine(FileKind.RECORDS)


@pytest.fixture
def store(database):
    made = RecordStore(database)
    made.put_versions([], epochs=[EPOCH])
    return made


def version(number: int, of: int = 1, **changes: object) -> RecordVersion:
    """Make a version of a record."""
    made = RecordVersion(
        type="Observation",
        id=f"id-{number}",
        version=of,
        object_id=number.to_bytes(16, "big"),
        patient="patient-token",
        epoch_id=EPOCH.id,
        created=1000 + number,
        commitment=bytes([number]) * 32,
        wrapped_dek=b"dek",
        envelope=b"sealed %d" % number,
    )
    return replace(made, **changes)


def test_a_version_that_is_stored_has_its_number_and_is_otherwise_as_it_was():
    others = {"position": 3, "content_type": "text/plain", "head": b"head", "blob": b"blob", "blob_size": 4}
    made = version(1, 2, **others, field_root=b"f" * 32, segment=5)
    assert made.numbered(7) == replace(made, seq=7) != made


def test_versions_come_back_as_they_were_put(store):
    first, second = version(1), version(1, 2, envelope=b"sealed anew")
    numbers = store.put_versions([first, second, version(2)])
    assert numbers == [1, 2, 3]
    assert store.get("Observation", "id-1") == replace(second, seq=2)
    assert store.get("Observation", "id-1", 1) == replace(first, seq=1)
    assert [item.version for item in store.history("Observation", "id-1")] == [2, 1]
    assert store.by_object((1).to_bytes(16, "big"), 1).version == 1
    assert store.by_object((1).to_bytes(16, "big")).version == 2
    assert store.by_object(bytes(16)) is None
    assert store.get("Observation", "absent") is None
    assert store.get("Patient", "id-1") is None
    assert store.count() == 3


def test_each_version_waits_to_be_anchored(store):
    store.put_versions([version(1), version(2)], deadline=2000)
    intents = store.pending(10)
    assert [(item.kind, item.object_id, item.version, item.deadline) for item in intents] == [
        (ANCHOR, (1).to_bytes(16, "big"), 1, 2000),
        (ANCHOR, (2).to_bytes(16, "big"), 1, 2000),
    ]
    assert [item.commitment for item in intents] == [bytes([1]) * 32, bytes([2]) * 32]
    assert store.pending(1) == intents[:1]
    assert store.pending(10, after=intents[0].id) == intents[1:]
    assert store.pending(10, kind="access") == []


def test_what_is_ordered_leaves_the_outbox_and_has_a_position(store):
    store.put_versions([version(1), version(2)])
    first = store.pending(1)[0]
    for _ in range(2):
        store.mark_ordered([first.id], 77)
    assert store.get("Observation", "id-1").position == 77
    assert store.get("Observation", "id-2").position is None
    assert store.pending_count() == 1


def test_only_what_is_ordered_leaves_the_outbox_whatever_lies_between(store):
    store.put_versions([version(number) for number in range(1, 5)])
    other = store.put_intent("access", b"payload", 5)
    first, _, third, _ = store.pending(4)
    store.mark_ordered([third.id, first.id, other], 77)
    store.mark_ordered([], 78)
    assert [intent.record for intent in store.pending(9)] == [2, 4]
    assert [store.numbered(number).position for number in range(1, 5)] == [77, None, 77, None]


def test_outbox_numbers_are_never_given_twice(store):
    number = store.put_intent("access", b"payload", 5)
    store.drop_intents([number])
    assert store.pending_count() == 0
    assert store.put_intent("access", b"payload", 5) > number


@pytest.mark.parametrize(
    "rows",
    [
        [version(1)],
        [version(2), version(2)],
        [version(3, 2)],
        [version(2), version(4, epoch_id=b"unknown")],
    ],
    ids=["twice", "twice at once", "without its predecessor", "under an unknown key"],
)
def test_versions_that_do_not_fit_are_refused_together(store, rows):
    store.put_versions([version(1)])
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        store.put_versions(rows)
    assert (store.count(), store.pending_count()) == (1, 1)


@pytest.mark.parametrize("bad", [{"created": 1 << 70}, {"id": "\ud800"}])
def test_a_write_that_cannot_be_bound_fails_none_of_those_that_share_its_transaction(store, bad):
    writes = [Write([version(1)], None, [b""], [None], None)]
    writes.append(Write([version(2), version(3, **bad)], None, [b"", b""], [None, None], None))
    writes.append(Write([version(4)], None, [b""], [None], None))
    first, second, third = store.put_group(lambda: writes)
    assert (first, third) == (None, None)
    assert isinstance(second, Exception)
    assert [number for number in range(1, 5) if store.get("Observation", f"id-{number}")] == [1, 4]
    assert [intent.record for intent in store.pending(9)] == writes[0].numbers + writes[2].numbers


@pytest.mark.parametrize("refused", [None, version(1), version(8, 3), version(8, epoch_id=b"unknown")])
def test_writes_that_share_a_transaction_are_done_at_once_or_where_one_is_refused_each_by_itself(store, refused):
    store.put_versions([version(1)])
    theirs = replace(EPOCH, id=b"t" * 16, patient="theirs")
    rows = [[version(1, 2)], [version(2), version(3)], [version(4, epoch_id=theirs.id)]]
    if refused is not None:
        rows.insert(1, [refused])
    writes = [Write(one, None, [b""] * len(one), [None] * len(one), None, apart=[b""] * len(one)) for one in rows]
    writes[-1].epochs = [theirs]
    with at_step(store.database, 0, fail) as seen:
        errors = store.put_group(lambda: writes)
    assert [error is not None for error in errors] == [one == [refused] for one in rows]
    # One insertion of all of them; where one is refused each has its own.
    inserted = [statement for statement in seen if statement.startswith("INSERT INTO record ")]
    assert len(inserted) == 1 if refused is None else len(inserted) >= 3
    numbers = [number for write, error in zip(writes, errors, strict=True) if error is None for number in write.numbers]
    assert [store.numbered(number).id for number in numbers] == ["id-1", "id-2", "id-3", "id-4"]
    assert [intent.record for intent in store.pending(9)] == [1, *numbers]
    assert store.newest_epoch("theirs") == theirs


def test_nothing_is_stored_under_a_destroyed_key(store):
    store.erase(EPOCH.id, 200)
    with pytest.raises(ConflictError):
        store.put_versions([version(1)])


def test_a_patients_newest_versions_are_found_by_type_and_period(store):
    store.put_versions([version(1), version(2, type="Condition"), version(3), version(4, patient="another")])
    store.put_versions([version(1, 2, created=1010)])
    found = store.by_patient("patient-token")
    assert [(item.id, item.version) for item in found] == [("id-2", 1), ("id-3", 1), ("id-1", 2)]
    assert [item.id for item in store.by_patient("patient-token", {"Condition"})] == ["id-2"]
    assert [item.id for item in store.by_patient("patient-token", None, (1003, 1010))] == ["id-3", "id-1"]
    page = store.by_patient("patient-token", limit=2)
    assert [item.id for item in store.by_patient("patient-token", after=page[-1].seq)] == ["id-1"]
    assert store.by_patient("nobody") == []


def test_keys_are_found_rewrapped_and_counted_by_patient(store):
    second = Epoch(b"f" * 16, "patient-token", 2, 300, b"other")
    store.put_versions([], epochs=[second])
    with pytest.raises(ConflictError):
        store.put_versions([], epochs=[replace(second, id=b"g" * 16)])
    assert store.newest_epoch("patient-token") == second
    assert store.newest_epoch("nobody") is None
    assert store.epochs() == [EPOCH, second]
    assert store.epochs(after=EPOCH.id) == [second]
    store.rewrap_epochs([(EPOCH.id, b"anew"), (second.id, b"anew too")])
    assert store.epoch(EPOCH.id).wrapped_key == b"anew"
    with pytest.raises(NotFoundError):
        store.rewrap_epochs([(EPOCH.id, b"half"), (b"absent", b"done")])
    assert store.epoch(EPOCH.id).wrapped_key == b"anew"


def test_an_erased_key_is_gone_for_ever_and_noted(store):
    for time in (200, 300):
        store.erase(EPOCH.id, time)
    gone = store.epoch(EPOCH.id)
    assert (gone.wrapped_key, gone.destroyed) == (None, 200)
    assert store.erasures() == [Erasure(EPOCH.id, 200, None)]
    assert store.epochs() == []
    with pytest.raises(NotFoundError):
        store.rewrap_epochs([(EPOCH.id, b"back")])
    with pytest.raises(NotFoundError):
        store.erase(b"absent", 200)


def plain_pages(path: Path) -> bytes:
    """Decrypt a file by hand: AES-256-CBC, 80 bytes at a page's end for vector and code (SQLCipher 4's format)."""
    data = path.read_bytes()
    pages = []
    for start in range(0, len(data), 4096):
        vector = data[start + 4016 : start + 4032]
        cipher = Cipher(algorithms.AES256(KEY), modes.CBC(vector)).decryptor()
        pages.append(cipher.update(data[start + (16 if start == 0 else 0) : start + 4016]))
    return b"".join(pages)


def test_an_erased_key_is_in_no_page_any_more(store, database):
    database.checkpoint()
    assert b"wrapped" in plain_pages(database.path).replace(b"wrapped_", b"")
    store.erase(EPOCH.id, 200)
    assert database.path.with_name(database.path.name + "-wal").stat().st_size == 0
    assert b"wrapped" not in plain_pages(database.path).replace(b"wrapped_", b"")


def test_a_restored_backup_destroys_what_was_erased_since(store, database, tmp_path, other_engine):
    store.put_versions([version(1)])
    backup = tmp_path / "other" / "records.db"
    database.backup(backup)
    store.erase(EPOCH.id, 200)
    restored = RecordStore(other_engine(FileKind.RECORDS, adopt=True))
    assert restored.epoch(EPOCH.id).wrapped_key == b"wrapped"
    later = Erasure(b"never here", 300, 9)
    assert restored.replay_erasures([*store.erasures(), later]) == 1
    assert restored.epoch(EPOCH.id).wrapped_key is None
    assert restored.erasures() == [Erasure(EPOCH.id, 200, None), later]
    assert restored.replay_erasures(store.erasures()) == 0


def test_a_token_counts_once(store):
    assert store.use_once("issuer/1", 500)
    assert not store.use_once("issuer/1", 500)
    assert store.use_once("issuer/2", 500)


def test_a_token_counts_once_over_processes(store, store_engine):
    assert killed_after(lambda: RecordStore(store_engine(FileKind.RECORDS)).use_once("issuer/1", 500))
    assert not store.use_once("issuer/1", 500)


def killed_after(work) -> bool:
    """Run in a process that dies when it has done it."""

    def run() -> None:
        if work():
            kill()

    return killed(run)


def test_old_tokens_are_forgotten(store):
    store.use_once("old", 400, now=100)
    again = RecordStore(store._database)  # noqa: SLF001  # another worker
    assert not again.use_once("old", 400, now=399)
    assert again.use_once("new", 900, now=401 + 2 * DAY_S)
    assert again.use_once("old", 400)


def test_attack_a_token_is_used_again_after_a_clock_that_was_a_day_fast_has_taken_it_for_ended(store):
    assert store.use_once("issuer/1", 500, now=400)
    again = RecordStore(store._database)  # noqa: SLF001  # another worker, which forgets with its first token
    assert again.use_once("issuer/2", 500 + DAY_S, now=400 + DAY_S)
    # It is set back, and the first token has not ended.
    assert not again.use_once("issuer/1", 500, now=410)
    # The second one of that day neither counts again when its time has come nor keeps others out until then.
    assert again.use_once("issuer/3", 500, now=410)
    assert not again.use_once("issuer/2", 500 + DAY_S, now=400 + DAY_S)


def test_a_token_that_cannot_be_written_is_not_accepted(store, database):
    with at_step(database, 2, fail), pytest.raises(UnavailableError):
        store.use_once("issuer/1", 500)
    with commit_kept_but_failed(database), pytest.raises(UnavailableError):
        store.use_once("issuer/1", 500)
    assert not store.use_once("issuer/1", 500)


def test_a_token_is_used_with_an_intent_or_neither(store):
    store.put_intent("release", b"first", 100, using=[("request/1", 500), ("request/2", 500)])
    assert [store.is_used(f"request/{n}") for n in (1, 2, 3)] == [True, True, False]
    with pytest.raises(ConflictError):
        store.put_intent("release", b"again", 100, using=[("request/3", 500), ("request/2", 500)])
    assert not store.is_used("request/3")
    assert [item.payload for item in store.pending(5, kind="release")] == [b"first"]
    assert not store.use_once("request/1", 500)


def test_accesses_are_noted_with_their_intent_and_found_by_patient(store):
    rows = [
        Access(bytes([n]) * 16, "patient-token" if n < 3 else "another", "given", 100 + n, b"{}") for n in range(1, 5)
    ]
    store.put_accesses(rows, intents=[("access", b"entry")])
    store.mark_access(rows[0].object_id, 8)
    assert store.accesses("patient-token") == [replace(rows[0], position=8), rows[1]]
    assert store.accesses("patient-token", after=102) == [rows[1]]
    assert [item.payload for item in store.pending(5, kind="access")] == [b"entry"]
    with pytest.raises(ConflictError):
        store.put_accesses([replace(rows[0], object_id=b"new" * 4), rows[1]])
    assert len(store.accesses("patient-token")) == 2


WRITES = {
    "put_versions": lambda s: s.put_versions([version(1), version(2)]),
    "put_intent": lambda s: s.put_intent("access", b"payload", 5),
    "mark_ordered": lambda s: s.mark_ordered([1, 2], 77),
    "drop_intents": lambda s: s.drop_intents([1]),
    "put_accesses": lambda s: s.put_accesses([Access(b"a" * 16, "p", "given", 1, b"{}")], intents=[("access", b"")]),
    "mark_access": lambda s: s.mark_access(b"b" * 16, 9),
    "put_versions of a key": lambda s: s.put_versions([], epochs=[Epoch(b"f" * 16, "p", 1, 1, b"w")]),
    "rewrap_epochs": lambda s: s.rewrap_epochs([(EPOCH.id, b"anew")]),
    "erase": lambda s: s.erase_patient(EPOCH.patient, [EPOCH.id], 200, b"entry"),
    "replay_erasures": lambda s: s.replay_erasures([Erasure(EPOCH.id, 200, 3)]),
}


def everything(store: RecordStore) -> list[object]:
    """Return all rows of all tables but the counter."""
    with store._database.read("file") as connection:  # noqa: SLF001  # beside the store's own reading
        names = ("record", "outbox", "anchor", "access", "epoch", "erasure")
        return [connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in names]  # noqa: S608  # our names


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_fails_at_any_step_keeps_nothing_and_one_that_is_kept_is_whole(database, store, name):
    store.put_versions([version(8), version(9)])
    store.put_accesses([Access(b"b" * 16, "p", "given", 1, b"{}")])
    before = everything(store)
    step = 0
    for step in range(1, 30):
        with at_step(database, step, fail) as seen, pytest.raises(UnavailableError, match=r"store\.full"):
            WRITES[name](store)
        assert everything(store) == before
        if seen[-1] == "COMMIT":
            break
    assert step >= 4
    with commit_kept_but_failed(database), pytest.raises(UnavailableError):
        WRITES[name](store)
    assert everything(store) != before


@pytest.mark.parametrize("name", ["put_versions", "mark_ordered", "erase"])
def test_a_process_killed_at_any_step_leaves_all_of_a_write_or_nothing(database, store, store_engine, name):
    store.put_versions([version(8), version(9)])
    before = everything(store)
    database.engine.dispose()
    for step in range(1, 30):

        def work(step: int = step) -> None:
            own = store_engine(FileKind.RECORDS)
            with at_step(own, step, kill):
                WRITES[name](RecordStore(own))
            kill()

        assert killed(work)
        found = everything(store)
        database.engine.dispose()
        if found != before:
            break
    else:
        pytest.fail("it was never kept")
    assert step >= 4
    again = everything(RecordStore(store_engine(FileKind.RECORDS)))
    assert again == found
