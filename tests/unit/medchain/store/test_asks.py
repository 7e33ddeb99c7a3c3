"""What other organisations ask patients: kept once, answered once, bounded."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import String

from medchain.errors import ConflictError, NotFoundError, UnavailableError
from medchain.store import asks
from medchain.store.asks import AskRow, SentAsk
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from medchain.store.tables import consent_ask
from tests.unit.medchain.store.conftest import set_back

NOW = 1_796_083_200
ASK = AskRow(b"\x01" * 16, "anxin-insurance", "token-1", b"{}", NOW, NOW + 100)


@pytest.fixture
def store(tmp_path):
    made = RecordStore(open_database(tmp_path / "records.db", b"\x05" * 32, kind=FileKind.RECORDS))
    yield made
    made.close()


def sent(number: int, **changes: object) -> SentAsk:
    return replace(SentAsk(bytes([number]) * 16, "renhe-hospital", "", b"{}", NOW, NOW + 100), **changes)


def other(number: int, **changes: object) -> AskRow:
    return replace(ASK, id=bytes([number]) * 16, **changes)


def test_an_ask_is_found_by_its_patient_the_newest_first(store):
    store.put_ask(ASK)
    store.put_ask(other(2, created=NOW + 1))
    store.put_ask(other(3, patient="token-2"))
    assert [row.id[0] for row in store.asks_of("token-1", NOW)] == [2, 1]


def test_the_same_ask_again_is_kept_once(store):
    store.put_ask(ASK)
    store.put_ask(replace(ASK, created=NOW + 5))
    assert store.asks_of("token-1", NOW) == [ASK]


def test_another_ask_of_the_same_id_is_refused(store):
    store.put_ask(ASK)
    with pytest.raises(ConflictError, match=r"ask\.exists"):
        store.put_ask(replace(ASK, document=b'{"more":1}'))


def test_an_ask_that_has_ended_is_gone_and_an_answered_one_stays(store):
    store.put_ask(ASK)
    store.put_ask(other(2))
    store.answer_ask(b"\x02" * 16, "token-1", "declined", NOW + 1)
    store.put_ask(other(3, patient="token-2", created=NOW + 200, until=NOW + 300))
    assert [(row.id[0], row.answer, row.answered) for row in store.asks_of("token-1", NOW + 200)] == [
        (2, "declined", NOW + 1)
    ]


def test_who_answered_in_the_patients_stead_stands_beside_the_answer(store):
    store.put_ask(ASK)
    store.answer_ask(ASK.id, "token-1", "given", NOW + 1, by="ab" * 32)
    assert store.asks_of("token-1", NOW) == [replace(ASK, answer="given", answered=NOW + 1, answered_by="ab" * 32)]


def test_no_text_is_longer_than_its_column_allows(store):
    """SQLite keeps texts of any length; other databases refuse them."""
    store.put_ask(replace(ASK, asker="a" * 40, patient="p" * 128))
    store.answer_ask(ASK.id, "p" * 128, "declined", NOW, by="ab" * 32)
    (row,) = store.asks_of("p" * 128, NOW)
    texts = {one.name: one.type.length for one in consent_ask.columns if isinstance(one.type, String)}
    assert texts.keys() == {"answer", "answered_by", "asker", "patient"}
    assert {name: length for name, length in texts.items() if len(getattr(row, name)) > length} == {}


def test_an_answer_of_before_is_taken_apart(tmp_path):
    path, key = tmp_path / "old.db", b"\x05" * 32
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as old:
        for number, answer in enumerate(("given:" + "ab" * 32, "declined", None), 1):
            old.put_ask(other(number, answer=answer))
        set_back(old.database, 22)
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as store:
        found = [(row.id[0], row.answer, row.answered_by) for row in store.asks_of("token-1", NOW)]
    assert found == [(1, "given", "ab" * 32), (2, "declined", None), (3, None, None)]


def test_all_asks_about_a_patient_are_destroyed_and_nobody_elses(store):
    store.put_ask(ASK)
    store.put_ask(other(2))
    store.answer_ask(b"\x02" * 16, "token-1", "declined", NOW + 1)
    store.put_ask(other(3, patient="token-2"))
    assert store.drop_asks("token-1") == 2
    assert store.asks_of("token-1", NOW + 1) == []
    assert [row.id[0] for row in store.asks_of("token-2", NOW + 1)] == [3]
    assert store.drop_asks("token-1") == 0


@pytest.mark.parametrize(("patient", "now"), [("token-2", NOW), ("token-1", NOW + 100)])
def test_only_its_patient_answers_an_ask_and_only_while_it_waits(store, patient, now):
    store.put_ask(ASK)
    with pytest.raises(NotFoundError, match=r"ask\.unknown"):
        store.answer_ask(ASK.id, patient, "given", now)


def test_an_ask_is_answered_once(store):
    store.put_ask(ASK)
    store.answer_ask(ASK.id, "token-1", "given", NOW)
    with pytest.raises(NotFoundError, match=r"ask\.unknown"):
        store.answer_ask(ASK.id, "token-1", "declined", NOW)


@pytest.mark.parametrize("limit", ["MAX_OF_ASKER", "MAX_OF_PATIENT"])
def test_one_organisation_and_one_patient_have_a_bounded_number_waiting(store, monkeypatch, limit):
    monkeypatch.setattr(asks, limit, 2)
    store.put_ask(ASK)
    store.put_ask(other(2))
    with pytest.raises(UnavailableError, match=r"ask\.quota"):
        store.put_ask(other(3))
    store.answer_ask(ASK.id, "token-1", "declined", NOW)
    store.put_ask(other(3))


def test_what_was_sent_is_listed_the_newest_first_and_forgotten_a_while_after_its_end(store):
    rows = [sent(1), sent(2, until=NOW + 200)]
    for row in rows:
        store.put_sent(row)
    assert store.sent_asks() == rows[::-1]
    later = sent(3, created=NOW + 100 + asks.SENT_KEPT_S, until=NOW + 200 + asks.SENT_KEPT_S)
    store.put_sent(later)
    assert store.sent_asks() == [later, rows[1]]


def test_an_erasure_destroys_what_was_sent_about_the_patient_too(store):
    store.put_sent(sent(1, patient="token-1"))
    store.put_sent(sent(2))
    assert store.drop_asks("token-1") == 1
    assert [row.id[0] for row in store.sent_asks()] == [2]


def test_a_file_of_before_gets_the_table_of_what_was_sent(tmp_path):
    path, key = tmp_path / "records.db", b"\x05" * 32
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))):
        pass
    with closing(open_database(path, key, kind=FileKind.RECORDS)) as database:
        set_back(database, 27)
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as store:
        store.put_sent(sent(1))
        assert store.sent_asks() == [sent(1)]
