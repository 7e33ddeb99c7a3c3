"""Steps of disputes in the records file."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import String

from medchain.errors import ConflictError, UnavailableError
from medchain.store import disputes
from medchain.store.disputes import OPENED_S, DisputeRow
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from medchain.store.tables import claim_dispute
from tests.unit.medchain.store.conftest import set_back

NOW = 1_796_083_200
STEP = DisputeRow(b"\x01" * 16, 1, "renhe", b"\xc1" * 32, "token-1", b"{}", "Practitioner/a", NOW, None)


@pytest.fixture
def store(store_engine):
    with closing(RecordStore(store_engine(FileKind.RECORDS))) as made:
        yield made


def other(number: int, **changes: object) -> DisputeRow:
    return replace(STEP, dispute=bytes([number]) * 16, **changes)


def test_steps_follow_each_other(store):
    store.put_dispute_step(STEP)
    store.put_dispute_step(replace(STEP, number=2, heard=NOW))
    assert store.dispute_steps(STEP.dispute) == [STEP, replace(STEP, number=2, heard=NOW)]
    assert store.dispute_steps(b"\x09" * 16) == []
    for number in (1, 2, 4):
        with pytest.raises(ConflictError, match=r"dispute\.head"):
            store.put_dispute_step(replace(STEP, number=number))


def test_what_nobody_heard_gives_way_and_what_was_heard_does_not(store):
    store.put_dispute_step(replace(STEP, heard=NOW))
    store.put_dispute_step(replace(STEP, number=2))
    store.put_dispute_step(replace(STEP, number=2, document=b"[]", heard=NOW), displaces=True)
    assert [row.document for row in store.dispute_steps(STEP.dispute)] == [b"{}", b"[]"]
    with pytest.raises(ConflictError):
        store.put_dispute_step(replace(STEP, number=2, document=b"{}", heard=NOW), displaces=True)


def test_disputes_are_listed_the_newest_first_and_by_claim(store, monkeypatch):
    for number in (1, 2, 3):
        store.put_dispute_step(other(number, created=NOW + number, claim=bytes([number % 2]) * 32))
    assert [steps[0].dispute[0] for steps in store.disputes()] == [3, 2, 1]
    assert [steps[0].dispute[0] for steps in store.disputes(b"\x01" * 32)] == [3, 1]
    monkeypatch.setattr(disputes, "MAX_LISTED", 1)
    assert [steps[0].dispute[0] for steps in store.disputes()] == [3]


def test_the_newest_step_of_each_dispute_is_found_however_many_there_are(store, monkeypatch):
    monkeypatch.setattr(disputes, "MAX_LISTED", 1)
    second = replace(STEP, number=2, document=b"[]")
    for row in (STEP, other(2, claim=b"\xc2" * 32), second):
        store.put_dispute_step(row)
    assert sorted((row.dispute[0], row.number) for row in store.newest_dispute_steps()) == [(1, 2), (2, 1)]
    assert store.newest_dispute_steps(STEP.claim) == [second]
    assert store.disputes_named([b"\x09" * 16, STEP.dispute]) == [[STEP, second]]


def test_what_is_to_be_brought_and_to_be_written_is_found(store):
    store.put_dispute_step(STEP)
    store.put_dispute_step(other(2, created=NOW - 1))
    assert [row.dispute[0] for row in store.unheard_steps(9, given_up_s=1)] == [2, 1]
    store.put_dispute_step(other(3, created=NOW + 1, peer="tongji"))
    # So many of each other side's.
    assert [row.dispute[0] for row in store.unheard_steps(1, given_up_s=1)] == [2, 3]
    assert store.unrecorded_steps(9) == []
    store.note_heard(STEP, NOW + 5)
    assert [row.heard for row in store.unrecorded_steps(9)] == [NOW + 5]
    store.note_recorded(STEP)
    assert store.unrecorded_steps(9) == []
    assert store.dispute_steps(STEP.dispute)[0].is_recorded


def test_what_the_other_side_refuses_on_end_counts_from_the_first_time_and_is_left_out_with_what_follows_it(store):
    store.put_dispute_step(STEP)
    store.put_dispute_step(replace(STEP, number=2))
    store.note_refused(STEP, "dispute.time", NOW + 10, on_end_s=10)
    store.note_refused(STEP, "dispute.head", NOW + 20, on_end_s=10)
    [row, _] = store.dispute_steps(STEP.dispute)
    assert (row.refusal, row.refused, row.refused_last) == ("dispute.head", NOW + 10, NOW + 20)
    assert [one.number for one in store.unheard_steps(9, given_up_s=11)] == [1, 2]
    assert store.unheard_steps(9, given_up_s=10) == []
    # A second longer than what is on end.
    store.note_refused(STEP, "dispute.head", NOW + 31, on_end_s=10)
    assert store.dispute_steps(STEP.dispute)[0].refused == NOW + 31
    assert [one.number for one in store.unheard_steps(9, given_up_s=10)] == [1, 2]
    store.note_heard(row, NOW + 30)
    assert store.dispute_steps(STEP.dispute)[0] == replace(STEP, heard=NOW + 30)
    store.note_refused(row, "dispute.head", NOW + 40, on_end_s=10)
    assert store.dispute_steps(STEP.dispute)[0].refused is None


def test_a_file_of_before_learns_of_refusals(tmp_path):
    path, key = tmp_path / "records.db", b"\x05" * 32
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as store:
        store.put_dispute_step(STEP)
    with closing(open_database(path, key, kind=FileKind.RECORDS)) as database:
        set_back(database, 35)
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as store:
        assert store.dispute_steps(STEP.dispute) == [STEP]


def test_one_organisation_opens_a_bounded_number_in_a_year(store, monkeypatch):
    monkeypatch.setattr(disputes, "MAX_OF_PEER", 1)
    store.put_dispute_step(STEP)
    with pytest.raises(UnavailableError, match=r"dispute\.quota"):
        store.put_dispute_step(other(2))
    store.put_dispute_step(other(3, peer="tongji"))
    store.put_dispute_step(replace(STEP, number=2))
    store.put_dispute_step(other(4, created=NOW + OPENED_S))


def test_an_erasure_destroys_what_is_about_the_patient_and_nothing_else(store):
    store.put_dispute_step(STEP)
    store.put_dispute_step(replace(STEP, number=2))
    store.put_dispute_step(other(2, patient="token-2"))
    assert store.drop_disputes("token-1") == 2
    assert [steps[0].dispute[0] for steps in store.disputes()] == [2]
    assert store.drop_disputes("token-1") == 0


def test_no_text_is_longer_than_its_column_allows():
    """SQLite keeps texts of any length; other databases refuse them."""
    texts = {one.name: one.type.length for one in claim_dispute.columns if isinstance(one.type, String)}
    assert texts == {"author": 128, "patient": 128, "peer": 40, "refusal": 64}


def test_a_file_of_before_gets_the_table(tmp_path):
    path, key = tmp_path / "records.db", b"\x05" * 32
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))):
        pass
    with closing(open_database(path, key, kind=FileKind.RECORDS)) as database:
        set_back(database, 31)
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as store:
        store.put_dispute_step(STEP)
        assert store.dispute_steps(STEP.dispute) == [STEP]
