"""Breaking the glass on whole nodes: at once, for one person and an hour, told to regulators, and never unseen."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from itertools import count

import pytest

from medchain.encoding import parse_canonical
from medchain.errors import AccessDeniedError, ConflictError, InputError, NotFoundError, UnavailableError
from medchain.ledger.object import map_key
from medchain.node.emergency import EMERGENCY, OVERDUE_S, EmergencyBook, EmergencyDesk
from medchain.node.notices import NoticeBook
from medchain.node.records import NewRecord, RecordService
from medchain.ordering.embedded import EmbeddedDriver
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TONGJI, fresh, genesis, seed
from tests.unit.medchain.node.exchanges import observation
from tests.unit.medchain.node.federation import COMMISSION, NOW, Federation, Patient

_PATIENTS = count(1)


class Ward:
    """A patient, the desk at which glass is broken, and the daemon's part."""

    def __init__(self, federation: Federation) -> None:
        """Store a record of a patient of one's own."""
        self.federation = federation
        self.patient = f"emergency-{next(_PATIENTS)}"
        self.site.service.create_many([NewRecord("Observation", self.patient, observation(1), self.patient)])

    @property
    def site(self):
        return self.federation.sites[RENHE]

    @property
    def desk(self) -> EmergencyDesk:
        return EmergencyDesk(RENHE, self.site.records, self.site.service, self.federation.clock, fresh)

    def book(self, org_id: str = RENHE) -> EmergencyBook:
        site = self.federation.sites[org_id]
        return EmergencyBook(self.judge(org_id), site.records, site.node.submitter, self.notices(org_id), fresh)

    def judge(self, org_id: str):
        return self.federation.sites[org_id].node.submitter._judge  # noqa: SLF001  # the node's own

    def notices(self, org_id: str = RENHE) -> NoticeBook:
        site = self.federation.sites[org_id]
        return NoticeBook(self.judge(org_id), site.records, site.service)

    def told(self) -> list[dict]:
        return self.notices().operations()["notices.list"]({"patient": self.patient, "subjects": []})["notices"]

    def declare(self, staff: str = "doctor-17"):
        return self.desk.declare(self.patient, staff, "unconscious, no history")

    def key(self, declared) -> bytes:
        return map_key(EMERGENCY, RENHE, declared.object_id)

    def waiting(self) -> int:
        return len(self.site.records.pending(1000, kind=EMERGENCY))


@pytest.fixture
def ward(federation):
    made = Ward(federation)
    yield made
    federation.time = NOW
    federation.down.clear()
    while made.waiting():
        made.book().round()


def placed(ward: Ward, declared) -> bytes:
    """Bring an emergency to the ledger; returns its map key."""
    while ward.book().round():
        ward.federation.wait()
    return ward.key(declared)


def told(ward: Ward, org_id: str, key: bytes) -> dict | None:
    rows = ward.book(org_id).operations()["emergency.list"]({})["emergencies"]
    return next((row for row in rows if row["key"] == key.hex()), None)


def test_who_looked_does_not_review_it(ward):
    key = placed(ward, ward.declare("doctor-19"))
    with pytest.raises(AccessDeniedError, match=r"emergency\.own"):
        ward.book().review(key, "doctor-19", "justified")
    assert told(ward, RENHE, key)["review"] is None
    ward.book().review(key, "officer-2", "justified")
    assert told(ward, RENHE, key)["review"]["by"] == "officer-2"


def test_the_open_emergencies_of_a_person_are_told_and_nobody_elses(ward):
    first, other = ward.declare("doctor-20"), ward.declare("doctor-21")
    token = ward.site.service.patient_token(ward.patient)
    assert ward.desk.open_of("doctor-20") == [(token, first)]
    assert ward.desk.open_of("doctor-21") == [(token, other)]
    ward.federation.time = NOW + 3600
    assert ward.desk.open_of("doctor-20") == []


def test_who_declares_an_emergency_may_look_for_an_hour_and_nobody_else_may(ward):
    assert ward.desk.open_for(ward.patient, "doctor-17") is None
    declared = ward.declare()
    assert ward.desk.open_for(ward.patient, "doctor-17") == declared
    assert ward.desk.open_for(ward.patient, "doctor-18") is None
    assert ward.desk.open_for("somebody-else", "doctor-17") is None
    ward.federation.time = NOW + 3599
    assert ward.desk.open_for(ward.patient, "doctor-17") == declared
    ward.federation.time = NOW + 3600
    assert ward.desk.open_for(ward.patient, "doctor-17") is None


def test_it_is_on_disk_with_its_intent_before_anybody_looks_and_over_a_crash(ward):
    declared = ward.declare()
    assert ward.waiting() == 1
    ward.federation.crash(RENHE)
    assert ward.desk.open_for(ward.patient, "doctor-17").object_id == declared.object_id
    key = placed(ward, declared)
    assert ward.site.ledger.record(key).version == 1
    assert ward.desk.open_for(ward.patient, "doctor-17").position == ward.site.ledger.record(key).since


def test_asking_twice_is_one_emergency(ward):
    assert ward.declare() == ward.declare()
    assert ward.waiting() == 1


def test_the_patients_page_has_it_in_the_same_write(ward):
    declared = ward.declare()
    (row,) = ward.desk.of_patient(ward.patient)
    assert (row.staff, row.reason, row.position) == ("doctor-17", "unconscious, no history", None)
    assert row == declared


def test_a_disk_that_fails_lets_nobody_look(ward, monkeypatch):
    def fails(*_arguments: object, **_named: object) -> None:
        raise UnavailableError("store.full")

    monkeypatch.setattr(RecordStore, "put_accesses", fails)
    with pytest.raises(UnavailableError):
        ward.declare()
    monkeypatch.undo()
    assert ward.desk.open_for(ward.patient, "doctor-17") is None
    assert ward.waiting() == 0


def test_of_a_patient_who_is_not_here_nothing_is_declared(ward):
    with pytest.raises(NotFoundError, match=r"emergency\.patient"):
        ward.desk.declare("nobody", "doctor-17", "x")
    with pytest.raises(InputError):
        ward.desk.declare(ward.patient, "doctor-17", "")
    with pytest.raises(InputError):
        ward.desk.declare(ward.patient, "", "x")
    assert ward.waiting() == 0


def test_with_the_ledger_out_of_reach_staff_look_and_the_regulator_is_told_at_once(ward, monkeypatch):
    def unreachable(*_arguments: object) -> None:
        raise UnavailableError("ordering.unreachable")

    with monkeypatch.context() as changed:
        changed.setattr(EmbeddedDriver, "order", unreachable)
        declared = ward.declare()
        assert ward.book().round() == 1
        assert ward.desk.open_for(ward.patient, "doctor-17") == declared
        row = told(ward, COMMISSION, ward.key(declared))
        assert (row["staff"], row["position"], row["final"]) == ("doctor-17", None, False)
        assert ward.waiting() == 1
    key = placed(ward, declared)
    assert ward.site.ledger.record(key) is not None
    assert ward.waiting() == 0


def test_the_regulator_learns_who_why_and_when_and_not_whose_records(ward):
    declared = ward.declare()
    key = placed(ward, declared)
    body = ward.federation.sites[COMMISSION].node.shelf.at(key, 1)
    assert "patient" not in body.content
    assert isinstance(body.evidence, bytes)
    row = told(ward, COMMISSION, key)
    assert (row["custodian"], row["staff"], row["reason"]) == (RENHE, "doctor-17", "unconscious, no history")
    assert row["due"] == NOW + 7 * 86400
    for org_id in (ANXIN, TONGJI):
        assert told(ward, org_id, key) is None


def test_the_patient_is_told_at_once_and_of_the_review_each_once(ward, monkeypatch):
    def unreachable(*_arguments: object) -> None:
        raise UnavailableError("ordering.unreachable")

    with monkeypatch.context() as changed:
        changed.setattr(EmbeddedDriver, "order", unreachable)
        declared = ward.declare()
        ward.book().round()
        (notice,) = ward.told()
        assert (notice["kind"], notice["object"]) == ("emergency.declared", ward.key(declared).hex())
        assert notice["fields"] == {"by": RENHE, "reason": "unconscious, no history", "staff": "doctor-17"}
    key = placed(ward, declared)
    assert len(ward.told()) == 1
    ward.book().review(key, "officer-2", "justified")
    assert {row["kind"] for row in ward.told()} == {"emergency.declared", "emergency.reviewed"}
    (review,) = [row for row in ward.told() if row["kind"] == "emergency.reviewed"]
    assert (review["fields"]["finding"], review["fields"]["reviewer"]) == ("justified", "officer-2")


def test_a_patient_with_a_subject_is_told_there(ward):
    person = Patient(ward.federation, f"person of {ward.patient}")
    enrolled = ward.site.node.submitter.submit(person.subject()).key
    ward.site.records.link_subject(enrolled, ward.site.service.patient_token(ward.patient))
    placed(ward, ward.declare())
    listed = ward.notices().operations()["notices.list"]({"subjects": [enrolled.hex()]})["notices"]
    assert [(row["kind"], row["about"]) for row in listed] == [("emergency.declared", enrolled.hex())]
    assert ward.told() == []


def test_a_review_closes_it_and_the_regulator_sees_that(ward):
    key = placed(ward, ward.declare())
    ward.federation.time = NOW + 7 * 86400 + 1
    assert told(ward, RENHE, key)["overdue"]
    # Nothing is ordered meanwhile: the ledger's time does not go back.
    ward.federation.time = NOW
    ward.book().operations()["emergency.review"]({"by": "officer-2", "finding": "justified", "object": key.hex()})
    row = told(ward, RENHE, key)
    assert (row["review"]["by"], row["review"]["finding"], row["overdue"]) == ("officer-2", "justified", False)
    assert ward.site.ledger.record(key).status == "ended"
    ward.federation.sites[COMMISSION].node.submitter.wait_final(key, 2, 60)
    assert told(ward, COMMISSION, key)["review"]["finding"] == "justified"
    with pytest.raises(ConflictError, match=r"emergency\.reviewed"):
        ward.book().review(key, "officer-3", "other")


def test_an_objection_makes_the_review_due_sooner_and_is_made_once(ward):
    key = placed(ward, ward.declare())
    wish = {"by": "the patient", "object": key.hex(), "reason": "I was awake"}
    ward.book().operations()["emergency.object"](wish)
    row = told(ward, RENHE, key)
    assert (row["objection"]["reason"], row["due"]) == ("I was awake", NOW + 3 * 86400)
    with pytest.raises(ConflictError, match=r"emergency\.objected"):
        ward.book().object_to(key, "the patient", "again")
    ward.book().review(key, "officer-2", "unjustified")
    assert told(ward, RENHE, key)["objection"]["reason"] == "I was awake"


def test_attack_another_member_reviews_or_objects_in_the_custodians_place(ward):
    key = placed(ward, ward.declare())
    ward.federation.sites[COMMISSION].node.submitter.wait_final(key, 1, 60)
    with pytest.raises(NotFoundError, match=r"emergency\.unknown"):
        ward.book(COMMISSION).review(key, "x", "justified")
    with pytest.raises(NotFoundError, match=r"emergency\.unknown"):
        ward.book().review(b"\x01" * 32, "x", "justified")


def test_one_that_the_ledger_does_not_take_for_an_hour_is_an_alarm(ward, monkeypatch):
    def unreachable(*_arguments: object) -> None:
        raise UnavailableError("ordering.unreachable")

    ward.declare()
    with monkeypatch.context() as changed:
        changed.setattr(EmbeddedDriver, "order", unreachable)
        changed.setattr("medchain.node.emergency._SUBMIT_S", 0.0)
        ward.federation.time = NOW + OVERDUE_S + 1
        assert ward.book().round() == 1
    assert "emergency.overdue" in {alarm.code for alarm in ward.site.records.alarms()}


@pytest.mark.parametrize("attempts", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_nobody_looks_without_an_entry_in_the_outbox_whatever_the_disk_does(tmp_path, monkeypatch, attempts):
    real, met = RecordStore.put_accesses, Counter()
    with closing(RecordStore(open_database(tmp_path / "records.db", bytes(32), kind=FileKind.RECORDS))) as records:
        service = RecordService(records, genesis().ledger, bytes(32), lambda: NOW)
        desk = EmergencyDesk(RENHE, records, service, lambda: NOW, fresh)
        for number in range(attempts):
            patient, luck = f"p{number // 20}", seed("emergency", number)[0] % 4
            if number % 20 == 0:
                service.create(NewRecord("Observation", patient, observation(1), patient))

            def write(self, *arguments: object, luck: int = luck, **named: object) -> None:
                # 1: it failed and was not kept. 2: it failed but was kept.
                if luck != 1:
                    real(self, *arguments, **named)
                if luck in (1, 2):
                    raise UnavailableError("store.io")

            with monkeypatch.context() as changed:
                changed.setattr(RecordStore, "put_accesses", write)
                try:
                    desk.declare(patient, f"doctor-{number}", "unconscious")
                except UnavailableError:
                    met["failed"] += 1
            found = desk.open_for(patient, f"doctor-{number}")
            intents = records.pending(2, kind=EMERGENCY)
            entered = [parse_canonical(row.payload, max_bytes=1 << 20)["id"] for row in intents]
            assert entered == ([] if found is None else [found.object_id.hex()])
            met["may look" if found else "may not"] += 1
            records.drop_intents([row.id for row in intents])
    assert met.keys() == {"failed", "may look", "may not"}
