"""Retention locks, erasure of a patient, stops by object, bodies not accepted yet."""

from __future__ import annotations

from contextlib import closing
from hashlib import sha256

import pytest
from sqlalchemy import delete, insert, select

from medchain.encoding import canonical
from medchain.errors import ConflictError, NotFoundError
from medchain.store import engine
from medchain.store.engine import FileKind, open_database
from medchain.store.epochs import Epoch, Erasure
from medchain.store.finding import Search
from medchain.store.index_rows import IndexRows
from medchain.store.keeping import ERASURE, Lock, PatientErasure, UnacceptedRow
from medchain.store.records import RecordStore, RecordVersion
from medchain.store.tables import entry, record, unmerged
from tests.unit.medchain.store.conftest import plain, set_back

KEY = b"\x05" * 32
HER, HIS = "token-1", "token-2"


def opened(folder) -> RecordStore:
    return RecordStore(open_database(folder / "records.db", KEY, kind=FileKind.RECORDS))


@pytest.fixture
def store(tmp_path):
    made = opened(tmp_path)
    for at, (patient, number) in enumerate([(HER, 1), (HER, 2), (HIS, 1)], 1):
        made.put_versions([], epochs=[Epoch(bytes([at]) * 16, patient, number, 100, bytes([at]) * 105)])
    yield made
    made.close()


def test_all_keys_of_a_patient_go_together_and_with_the_intent_to_say_so(store):
    epochs = store.living_epochs(HER)
    number = store.erase_patient(HER, epochs, 500, b"entry")
    assert epochs == [b"\x01" * 16, b"\x02" * 16]
    assert store.living_epochs(HER) == []
    assert [(item.epoch_id, item.time, item.position) for item in store.erasures()] == [
        (b"\x01" * 16, 500, None),
        (b"\x02" * 16, 500, None),
    ]
    assert [(item.id, item.payload) for item in store.pending(9, kind=ERASURE)] == [(number, b"entry")]
    assert store.living_epochs(HIS) == [b"\x03" * 16]


def test_what_waits_to_be_done_about_a_patient_goes_with_the_keys_and_what_is_about_others_stays(store):
    hers = [{"patient": "p1"}, {"who": {"user": "Patient/p1"}}, {"guardians": ["p2", "p1"]}]
    others = [{"patient": "p11"}, {"text": 'he said "p1"'}]
    kept = [store.accounts.put_ticket("case", canonical(document), 900, 100) for document in (*hers, *others)]
    with pytest.raises(ConflictError):
        store.erase_patient(HER, [b"\x09" * 16], 500, b"entry", ("p1", "Patient/p1"))
    assert len(store.accounts.tickets("case", 100)) == 5
    store.erase_patient(HER, store.living_epochs(HER), 500, b"entry", ("p1", "Patient/p1"))
    left = [at for at, secret in enumerate(kept) if store.accounts.see_ticket("case", secret, 100) is not None]
    assert left == [3, 4]


def sealed(patient: str, epoch_id: bytes, name: str, version: int = 1) -> RecordVersion:
    return RecordVersion(
        type="Patient",
        id=name,
        version=version,
        object_id=name.encode().ljust(16, b"-"),
        patient=patient,
        epoch_id=epoch_id,
        created=100,
        commitment=b"\x07" * 32,
        wrapped_dek=b"\x08" * 105,
        envelope=b"sealed",
    )


def found(store):
    return [row.id for row in store.find_page(Search((), ())).rows]


def keys(store):
    with store._database.read("entry") as connection:  # noqa: SLF001  # rows that no search shows
        return sorted(connection.execute(select(entry.c.key)).scalars())


def rows_of(key):
    return [IndexRows([(8, 0, key, "", None, None)], 0, 0)]


def waiting(store):
    """Return what of rows waits to be merged."""
    with store.database.read("unmerged") as connection:
        return b"".join(connection.execute(select(unmerged.c.rows)).scalars())


@pytest.mark.parametrize("is_merged", [True, False])
def test_of_an_erased_patient_no_index_row_is_left(store, is_merged):
    store.put_versions([sealed(HER, b"\x01" * 16, "her")], index=rows_of("hers"))
    store.put_versions([sealed(HER, b"\x02" * 16, "her", 2)], index=rows_of("hers again"))
    store.put_versions([sealed(HER, b"\x02" * 16, "later")])
    store.put_versions([sealed(HIS, b"\x03" * 16, "his")], index=rows_of("his"))
    if is_merged:
        store.merge_rows()
    assert (keys(store), store.unindexed_count()) == (["hers", "hers again", "his"] if is_merged else [], 1)
    assert (b"hers again" in waiting(store)) is not is_merged
    store.erase_patient(HER, store.living_epochs(HER), 500, b"entry")
    assert b"hers" not in waiting(store)
    assert (found(store), keys(store), store.unindexed_count()) == (["his"], ["his"], 0)


def scattered(store, number: int, times: int, others: int) -> None:
    """Index a version among others, in single writes: SQLite moves the rows from page to page.

    As in files of before, where what was deleted was overwritten by erasures alone: a row is deleted where it is moved.
    """
    for at in range(times):
        names = [sha256(f"{at} {of}".encode()).hexdigest()[:20] for of in range(others + 1)]
        rows = [(number, f"{names[0]}-conspicuous"), *((1000 + at * others + of, names[of]) for of in range(others))]
        values = {"number": 8, "place": at, "detail": 1, "low": 0.0, "high": 0.0}
        with store.database.write("entry") as connection:
            connection.exec_driver_sql("PRAGMA secure_delete = OFF").all()
            connection.execute(insert(entry), [values | {"resource": one, "key": key} for one, key in rows])
            connection.exec_driver_sql("PRAGMA secure_delete = ON").all()


def test_no_copy_of_an_erased_patients_rows_stays_in_gaps_of_pages_once_the_file_is_written_anew(store, tmp_path):
    store.put_versions([sealed(HER, b"\x01" * 16, "her")], index=rows_of("hers"))
    store.put_versions([sealed(HIS, b"\x03" * 16, "his")], index=rows_of("his"))
    store.merge_rows()
    (number,) = (row.number for row in store.find_page(Search((), ())).rows if row.id == "her")
    scattered(store, number, 120, 60)
    assert not store.has_remains()
    store.erase_patient(HER, store.living_epochs(HER), 500, b"entry")
    assert [key for key in keys(store) if "conspicuous" in key] == []
    # The rows are gone and overwritten, but not what SQLite left where it moved them from.
    assert b"-conspicuous" in plain(tmp_path / "records.db", KEY)
    assert store.has_remains()
    assert store.rewrite()
    assert b"-conspicuous" not in plain(tmp_path / "records.db", KEY)
    assert not store.has_remains()
    assert (found(store), len(keys(store))) == (["his"], 120 * 60 + 1)
    store.database.check()


def test_what_is_deleted_is_overwritten_after_an_erasure_too(store, tmp_path):
    """An erasure had what any other write deleted left in the file from then on."""
    store.erase_patient(HER, store.living_epochs(HER), 500, b"entry")
    for is_there in (True, False):
        with store.database.write("entry") as connection:
            if is_there:
                values = {"number": 8, "place": 0, "key": "conspicuous", "detail": 1, "low": 0.0, "high": 0.0}
                connection.execute(insert(entry), [values | {"resource": 900}])
            else:
                connection.execute(delete(entry))
        store.database.checkpoint()
        assert (b"conspicuous" in plain(tmp_path / "records.db", KEY)) is is_there


def test_a_file_is_written_anew_again_where_a_reader_kept_what_was_before(store, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 50)
    store.put_versions([sealed(HER, b"\x01" * 16, "her")], index=rows_of("hers"))
    store.erase_patient(HER, store.living_epochs(HER), 500, b"entry")
    with store.database.read("record") as connection:
        connection.execute(select(record.c.seq)).all()
        assert not store.rewrite()
        assert store.has_remains()
    assert store.rewrite()
    assert not store.has_remains()


def test_a_backup_destroyed_again_is_written_anew_as_well(store):
    store.put_versions([sealed(HER, b"\x01" * 16, "her")], index=rows_of("hers"))
    store.replay_erasures([Erasure(b"\x01" * 16, 501, None)])
    assert store.has_remains()


@pytest.mark.parametrize("is_merged", [True, False])
def test_a_record_that_was_stored_again_under_a_new_key_is_still_found(store, is_merged):
    store.put_versions([sealed(HER, b"\x01" * 16, "her")], index=rows_of("old"))
    store.put_versions([sealed(HER, b"\x02" * 16, "her", 2)], index=rows_of("new"))
    if is_merged:
        store.merge_rows()
    store.erase(b"\x01" * 16, 500)
    assert (found(store), keys(store)) == (["her"], ["new"])
    assert store.replay_erasures([Erasure(b"\x02" * 16, 501, None)]) == 1
    assert (found(store), keys(store)) == ([], [])


def test_what_an_erased_version_had_replaced_does_not_come_back(store):
    # The first under his key, the second under hers: an Observation that was given another subject.
    store.put_versions([sealed(HIS, b"\x03" * 16, "it")], index=rows_of("his"))
    store.put_versions([sealed(HER, b"\x02" * 16, "it", 2)], index=rows_of("hers"))
    store.erase_patient(HER, store.living_epochs(HER), 500, b"entry")
    assert found(store) == []


def test_nothing_is_erased_where_a_key_was_drawn_since_the_intent_was_written(store):
    epochs = store.living_epochs(HER)
    store.put_versions([], epochs=[Epoch(b"\x09" * 16, HER, 3, 100, b"\x09" * 105)])
    with pytest.raises(ConflictError, match=r"erasure\.moved_on"):
        store.erase_patient(HER, epochs, 500, b"entry")
    assert len(store.living_epochs(HER)) == 3
    assert store.pending(9, kind=ERASURE) == []


def test_a_patient_is_not_erased_twice(store):
    epochs = store.living_epochs(HER)
    store.erase_patient(HER, epochs, 500, b"entry")
    for again in (epochs, []):
        with pytest.raises(ConflictError, match=r"erasure\.moved_on"):
            store.erase_patient(HER, again, 501, b"entry")
    assert len(store.pending(9, kind=ERASURE)) == 1


@pytest.mark.parametrize("until", [None, 501])
def test_a_lock_in_force_keeps_the_keys(store, until):
    store.put_lock(Lock(HER, until, "medical records act", 10))
    with pytest.raises(ConflictError, match=r"erasure\.locked") as caught:
        store.erase_patient(HER, store.living_epochs(HER), 500, b"entry")
    assert caught.value.fields == {"until": until, "reason": "medical records act"}
    assert len(store.living_epochs(HER)) == 2


def test_a_lock_that_is_over_or_lifted_keeps_nothing(store):
    store.put_lock(Lock(HER, 500, "act", 10))
    assert store.lock(HER).is_in_force(499)
    assert not store.lock(HER).is_in_force(500)
    store.erase_patient(HER, store.living_epochs(HER), 500, b"entry")
    store.put_lock(Lock(HIS, 400, "act", 10))
    store.put_lock(Lock(HIS, None, "court", 11))
    assert store.lock(HIS) == Lock(HIS, None, "court", 11)
    store.lift_lock(HIS)
    assert store.lock(HIS) is None
    with pytest.raises(NotFoundError, match=r"retention\.none"):
        store.lift_lock(HIS)


def test_a_settled_erasure_has_its_place_and_leaves_the_outbox(store):
    epochs = store.living_epochs(HER)
    number = store.erase_patient(HER, epochs, 500, b"entry")
    store.settle_erasure(number, epochs, 77, 600)
    store.settle_erasure(number, epochs, 77, 600)
    assert [item.position for item in store.erasures()] == [77, 77]
    assert store.pending(9, kind=ERASURE) == []


def test_an_erasure_is_carried_out_again_where_a_backup_has_it_not_or_was_made_meanwhile(store):
    number = store.erase_patient(HER, store.living_epochs(HER), 500, b"hers")
    store.settle_erasure(number, [], 77, 600)
    store.erase_patient(HIS, store.living_epochs(HIS), 501, b"his")
    done = PatientErasure(b"hers", 500, 600)
    assert store.patient_erasures() == [done, PatientErasure(b"his", 501)]
    # What is known here, and was carried out before, and what waits anyway, is not done twice.
    known = [done, PatientErasure(b"his", 501, 700)]
    assert store.reopen_erasures(known, 601) == []
    assert [item.payload for item in store.pending(9, kind=ERASURE)] == [b"his"]
    assert store.reopen_erasures(known, 600) == [PatientErasure(b"hers", 500)]
    strange = PatientErasure(b"another", 499, 650)
    assert store.reopen_erasures([strange, strange], 601) == [PatientErasure(b"another", 499)]
    assert [(item.payload, item.created) for item in store.pending(9, kind=ERASURE)] == [
        (b"his", 501),
        (b"hers", 500),
        (b"another", 499),
    ]
    assert [item.settled for item in store.patient_erasures()] == [None, None, None]


def test_an_older_file_knows_the_erasures_that_wait(store, tmp_path):
    store.erase_patient(HER, store.living_epochs(HER), 500, b"hers")
    set_back(store.database, 21)
    with closing(opened(tmp_path)) as newer:
        assert newer.patient_erasures() == [PatientErasure(b"hers", 500)]


def test_what_was_destroyed_is_said_to_be_overwritten_only_when_it_is(store, tmp_path):
    with (
        closing(open_database(tmp_path / "records.db", KEY, kind=FileKind.RECORDS)) as other,
        other.read("epoch") as connection,
    ):
        connection.exec_driver_sql("SELECT * FROM epoch").all()
        store.erase_patient(HER, store.living_epochs(HER), 500, b"entry")
        # A reader that looks at the state before keeps the log from being cut.
        assert not store.overwrite()
    assert store.overwrite()
    assert (tmp_path / "records.db-wal").stat().st_size == 0


def test_a_stop_is_found_by_its_object_over_a_restart_and_the_first_counts(store, tmp_path):
    assert store.put_stop(b"o" * 32, "stop", b"first", 1)
    assert not store.put_stop(b"o" * 32, "stop", b"second", 2)
    again = opened(tmp_path)
    assert again.stop_of(b"o" * 32) == b"first"
    assert again.stop_of(b"p" * 32) is None
    assert [(key, payload) for _, key, payload in again.stops(9)] == [(b"o" * 32, b"first")]
    assert again.count_stops() == 1
    again.drop_stop(b"o" * 32)
    assert (again.stop_of(b"o" * 32), again.count_stops(), again.pending(9, kind="stop")) == (None, 0, [])
    again.close()


def test_stops_are_listed_page_by_page(store):
    for at in range(5):
        store.put_stop(bytes([at]) * 32, "stop", b"s", 1)
    first = store.stops(3)
    rest = store.stops(3, after=first[-1][0])
    assert [key[0] for _, key, _ in first + rest] == [0, 1, 2, 3, 4]


def test_bodies_that_wait_are_counted_for_each_member_over_a_restart(store, tmp_path):
    rows = [UnacceptedRow(bytes([at]) * 32, 1, "a" if at else "b", 10, 100 + at) for at in range(3)]
    store.put_unaccepted(rows)
    store.put_unaccepted([UnacceptedRow(b"\x01" * 32, 1, "a", 30, 400)])
    again = opened(tmp_path)
    assert (again.unaccepted_of("a"), again.unaccepted_of("b"), again.unaccepted_of("c")) == ((2, 40), (1, 10), (0, 0))
    assert [row.due for row in again.oldest_unaccepted("a", 9)] == [102, 400]
    assert [row.due for row in again.oldest_unaccepted("a", 9, after=rows[2])] == [400]
    assert [row.due for row in again.due_unaccepted(102, 9)] == [100]
    again.drop_unaccepted([(b"\x00" * 32, 1), (b"\x02" * 32, 1)])
    assert (again.unaccepted_of("a"), again.unaccepted_of("b")) == ((1, 30), (0, 0))
    again.close()
