"""Which patient a subject of the ledger is."""

from __future__ import annotations

import pytest

from medchain.errors import ConflictError
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

SUBJECT, OTHER = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
def store(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


def test_a_subject_is_found_by_its_key_and_a_patient_by_its_subjects(store):
    store.link_subject(SUBJECT, "token-1")
    store.link_subject(OTHER, "token-1")
    assert store.patient_of(SUBJECT) == "token-1"
    assert store.subjects_of("token-1") == [SUBJECT, OTHER]


def test_an_unknown_subject_is_nobodys(store):
    assert store.patient_of(SUBJECT) is None
    assert store.subjects_of("token-1") == []


def test_the_same_link_again_changes_nothing(store):
    store.link_subject(SUBJECT, "token-1")
    store.link_subject(SUBJECT, "token-1")
    assert store.subjects_of("token-1") == [SUBJECT]


def test_a_subject_never_becomes_another_patients(store):
    store.link_subject(SUBJECT, "token-1")
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        store.link_subject(SUBJECT, "token-2")
    assert store.patient_of(SUBJECT) == "token-1"


def test_of_two_processes_that_link_at_once_the_first_decides(store, tmp_path, monkeypatch):
    other = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    answers = [None]
    look = store.patient_of

    def late(subject):
        if answers:
            other.link_subject(SUBJECT, "token-1")
            return answers.pop()
        return look(subject)

    monkeypatch.setattr(
        RecordStore, "patient_of", lambda self, subject: late(subject) if self is store else look(subject)
    )
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        store.link_subject(SUBJECT, "token-2")
    other.close()
