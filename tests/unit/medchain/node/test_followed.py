"""What is known of all of a patient's records: each version is opened once, and no patient waits for another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

import pytest

from medchain.errors import VerificationError
from medchain.node.followed import Followed
from medchain.node.records import NewRecord, RecordService
from medchain.store.engine import FileKind
from medchain.store.records import RecordStore, RecordVersion
from tests.unit.medchain.ledger.world import seed
from tests.waiting import PATIENCE_S


@dataclass
class Names:
    """Keeps which records there are."""

    found: set[str] = field(default_factory=set)

    def take(self, row: RecordVersion, content: bytes) -> None:
        (self.found.add if content else self.found.discard)(f"{row.type}/{row.id}")


class Ward:
    """Records of a node, and who follows them."""

    def __init__(self, engine) -> None:
        """Begin with none."""
        self.records = RecordStore(engine)
        self.service = RecordService(self.records, bytes(32), seed("records key"), lambda: 1_796_083_200)
        self.read: list[str] = []
        self.wait: dict[str, Event] = {}
        self.begun = {"slow": Event()}
        self.followed = self.following(most=8)

    def following(self, most: int) -> Followed[Names]:
        def read(row):
            if row.id in self.begun:
                self.begun[row.id].set()
                assert self.wait[row.id].wait(PATIENCE_S)
            self.read.append(row.id)
            return self.service.open(row).content

        return Followed(self.records, self.service, Names, read, most)

    def store(self, patient: str, *ids: str) -> None:
        for name in ids:
            content = b'{"resourceType":"Observation","id":"%b"}' % name.encode()
            self.service.create(NewRecord("Observation", name, content, patient))

    def correct(self, name: str, patient: str) -> None:
        """Have a record be another patient's."""
        self.service.update(NewRecord("Observation", name, b'{"resourceType":"Observation"}', patient))

    def of(self, patient: str) -> set[str]:
        with self.followed.of(self.service.patient_token(patient)) as known:
            return set(known.found)


@pytest.fixture
def ward(store_engine):
    return Ward(store_engine(FileKind.RECORDS))


def test_each_version_is_opened_once_and_what_is_deleted_is_no_more(ward):
    ward.store("p1", "o1", "o2")
    ward.store("p2", "o3")
    assert ward.of("p1") == {"Observation/o1", "Observation/o2"}
    ward.store("p1", "o4")
    ward.service.delete("Observation", "o1")
    assert ward.of("p1") == {"Observation/o2", "Observation/o4"}
    assert ward.read == ["o1", "o2", "o4", "o1"]


def test_of_records_that_are_nobodys_nothing_is_kept(ward):
    ward.store("", "o1")
    assert (ward.of(""), ward.read) == (set(), [])


def test_what_has_become_another_patients_is_no_more_of_the_one_before(ward):
    ward.store("p1", "o1", "o2")
    assert (ward.of("p1"), ward.of("p2")) == ({"Observation/o1", "Observation/o2"}, set())
    ward.correct("o1", "p2")
    assert (ward.of("p1"), ward.of("p2")) == ({"Observation/o2"}, {"Observation/o1"})
    ward.correct("o1", "")
    ward.service.delete("Observation", "o2")
    assert (ward.of("p1"), ward.of("p2")) == (set(), set())


def test_what_comes_back_between_two_looks_is_the_patients_again(ward):
    ward.store("p1", "o1", "o2")
    assert ward.of("p1") == {"Observation/o1", "Observation/o2"}
    for patient in ("p2", "p1", "p2", "p1"):
        ward.correct("o1", patient)
    assert (ward.of("p1"), ward.of("p2")) == ({"Observation/o1", "Observation/o2"}, set())
    ward.correct("o1", "p2")
    assert (ward.of("p1"), ward.of("p2")) == ({"Observation/o2"}, {"Observation/o1"})


def test_a_record_that_comes_back_while_somebody_looks_stays(ward, monkeypatch):
    """It left and came back between finding what left and reading what came, and is known from the latter."""
    ward.store("p1", "o1")
    ward.of("p1")
    plain, moves = type(ward.records).by_patient, iter(["p2", "p1"])

    def read(records, patient, *, after, limit):
        for one in moves:
            ward.correct("o1", one)
        return plain(records, patient, after=after, limit=limit)

    ward.store("p1", "o2")
    with monkeypatch.context() as patched:
        patched.setattr(type(ward.records), "by_patient", read)
        assert ward.of("p1") == {"Observation/o1", "Observation/o2"}
    assert ward.of("p1") == {"Observation/o1", "Observation/o2"}


def test_who_looks_while_nothing_is_stored_asks_for_no_rows(ward, monkeypatch):
    ward.store("p1", "o1")
    ward.of("p1")
    monkeypatch.setattr(type(ward.records), "by_patient", None)
    assert ward.of("p1") == {"Observation/o1"}


def test_who_is_forgotten_is_read_anew(ward):
    ward.followed = ward.following(most=1)
    ward.store("p1", "o1")
    ward.store("p2", "o2")
    assert [ward.of(one) for one in ("p1", "p2", "p1")] == [{"Observation/o1"}, {"Observation/o2"}, {"Observation/o1"}]
    assert ward.read == ["o1", "o2", "o1"]


def test_a_damaged_record_is_told_each_time_and_what_was_read_before_it_is_kept(ward, monkeypatch):
    ward.store("p1", "o1", "o2")
    plain, damaged = RecordService.open, {"o2"}

    def opened(service, row):
        if row.id in damaged:
            raise VerificationError("record.damaged")
        return plain(service, row)

    monkeypatch.setattr(RecordService, "open", opened)
    for _ in range(2):
        with pytest.raises(VerificationError):
            ward.of("p1")
    damaged.clear()
    assert ward.of("p1") == {"Observation/o1", "Observation/o2"}
    assert ward.read.count("o1") == 1


def test_attack_one_patients_slow_reading_has_all_others_wait(ward):
    """A patient of many records, or of large ones, who is asked for again and again."""
    ward.store("p1", "slow")
    ward.store("p2", "o2")
    ward.wait["slow"] = Event()
    with ThreadPoolExecutor(3) as pool:
        try:
            slow = pool.submit(ward.of, "p1")
            assert ward.begun["slow"].wait(PATIENCE_S)
            again = pool.submit(ward.of, "p1")
            # The first of these has not been asked for before.
            assert [pool.submit(ward.of, "p2").result(PATIENCE_S) for _ in range(2)] == [{"Observation/o2"}] * 2
            assert not slow.done()
            assert not again.done()
        finally:
            ward.wait["slow"].set()
        assert slow.result(PATIENCE_S) == again.result(PATIENCE_S) == {"Observation/slow"}
    assert ward.read.count("slow") == 1
