"""Received proofs in the records file."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import String

from medchain.errors import NotFoundError, UnavailableError
from medchain.store import received
from medchain.store.engine import FileKind, open_database
from medchain.store.received import KEPT_S, ReceivedProof
from medchain.store.records import RecordStore
from medchain.store.tables import received_proof
from tests.unit.medchain.store.conftest import set_back

NOW = 1_796_083_200
PROOF = ReceivedProof(b"\x01" * 32, "Practitioner/a", NOW, "claim", "red", "", b"zip")


@pytest.fixture
def store(store_engine):
    with closing(RecordStore(store_engine(FileKind.RECORDS))) as made:
        yield made


def other(number: int, **changes: object) -> ReceivedProof:
    return replace(PROOF, id=bytes([number]) * 32, **changes)


def test_a_proof_is_kept_once_and_listed_without_its_file(store):
    store.put_proof(PROOF)
    store.put_proof(replace(PROOF, author="somebody else", created=NOW + 1))
    assert store.proof(PROOF.id, NOW) == PROOF
    assert store.proofs(NOW) == [replace(PROOF, bundle=b"")]


def test_proofs_are_listed_the_newest_first_and_go_after_a_while(store):
    store.put_proof(PROOF)
    store.put_proof(other(2, created=NOW + 5))
    assert [one.id[0] for one in store.proofs(NOW + 5)] == [2, 1]
    assert [one.id[0] for one in store.proofs(NOW + KEPT_S)] == [2]
    with pytest.raises(NotFoundError, match=r"proofs\.unknown"):
        store.proof(PROOF.id, NOW + KEPT_S)
    store.put_proof(other(3, created=NOW + KEPT_S))
    # What is too old is destroyed with the next one, whatever the clock says later.
    assert [one.id[0] for one in store.proofs(NOW)] == [3, 2]


def test_one_is_destroyed(store):
    store.put_proof(PROOF)
    store.drop_proof(PROOF.id)
    store.drop_proof(PROOF.id)
    with pytest.raises(NotFoundError, match=r"proofs\.unknown"):
        store.proof(PROOF.id, NOW)


def test_a_bounded_number_is_kept(store, monkeypatch):
    monkeypatch.setattr(received, "MAX_PROOFS", 1)
    store.put_proof(PROOF)
    with pytest.raises(UnavailableError, match=r"proofs\.quota"):
        store.put_proof(other(2))
    store.put_proof(PROOF)


def test_no_text_is_longer_than_its_column_allows():
    """SQLite keeps texts of any length; other databases refuse them."""
    texts = {one.name: one.type.length for one in received_proof.columns if isinstance(one.type, String)}
    assert texts == {"answer": 16, "author": 128, "colour": 8, "failed": 64}


def test_a_file_of_before_gets_the_table(tmp_path):
    path, key = tmp_path / "records.db", b"\x05" * 32
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))):
        pass
    with closing(open_database(path, key, kind=FileKind.RECORDS)) as database:
        set_back(database, 33)
    with closing(RecordStore(open_database(path, key, kind=FileKind.RECORDS))) as store:
        store.put_proof(PROOF)
        assert store.proofs(NOW) == [replace(PROOF, bundle=b"")]
