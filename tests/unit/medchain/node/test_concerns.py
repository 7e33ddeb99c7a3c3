"""Concerns on whole nodes: anchored, answered once, the regulator told of each step, and the patient of the answer."""

from __future__ import annotations

import json
from itertools import count

import pytest

from medchain.encoding import canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.object import map_key
from medchain.node import concerns
from medchain.node.concern import encode_reports
from medchain.node.erasure import Eraser
from medchain.node.notices import NoticeBook
from medchain.node.records import NewRecord, RecordService
from medchain.store.accesses import Access
from medchain.store.records import CONCERN
from medchain.store.versions import Past, VersionReader
from tests.unit.medchain.ledger.world import fresh, genesis
from tests.unit.medchain.node.desks import Desks, running_desks
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, DAY_S, NOW, RENHE, TONGJI

LEDGER = genesis().ledger
TEXT = "血型记成了 A 型，应为 B 型 <script>alert(1)</script>"
_PATIENTS = count(1)
_LOOKS = count(1)


@pytest.fixture(scope="module")
def desks(tmp_path_factory) -> Desks:
    with running_desks(tmp_path_factory.mktemp("concerns")) as made:
        yield made


class Case:
    """A patient with a record, and what goes on between the pages and the daemon."""

    def __init__(self, desks: Desks) -> None:
        """Store a record of a patient of one's own."""
        self.desks = desks
        self.patient = f"concerned-{next(_PATIENTS)}"
        self.record = f"Observation/{self.patient}"
        self.write(1)

    @property
    def site(self):
        return self.desks.federation.sites[RENHE]

    def write(self, version: int) -> None:
        content = b'{"resourceType":"Observation","id":"%s"}' % self.patient.encode()
        self.site.service.create(NewRecord("Observation", self.patient, content, self.patient, version))

    def call(self, operation: str, **document: object) -> dict:
        return self.desks.local().call(f"concern.{operation}", document)

    def open(self, **changes: object) -> dict:
        given = {
            "about": {"version": 1, "what": self.record},
            "by": f"Patient/{self.patient}",
            "kind": "correction",
            "patient": self.patient,
            "shared": False,
            "text": TEXT,
        }
        return self.call("open", **(given | changes))

    def complain(self, **changes: object) -> dict:
        about = {"version": 0, "what": self.looked(self.patient)}
        return self.open(**({"about": about, "kind": "complaint"} | changes))

    def looked(self, patient: str) -> str:
        """Store that somebody looked at a patient; returns the AuditEvent."""
        name = f"look-{next(_LOOKS)}"
        entity = {"what": {"reference": f"Patient/{patient}"}}
        event = {"resourceType": "AuditEvent", "id": name, "agent": [{"requestor": True}], "entity": [entity]}
        self.site.service.create(NewRecord("AuditEvent", name, json.dumps(event).encode(), ""))
        return f"AuditEvent/{name}"

    def step(self, opened: dict, step: str, text: str = "", patient: str = "") -> dict:
        who = patient or self.patient
        return self.call("step", by=f"Patient/{who}", id=opened["id"], patient=who, step=step, text=text)

    def answer(self, opened: dict, step: str, text: str = "", kinds: tuple[str, ...] = ("correction",)) -> dict:
        return self.call("answer", by="Practitioner/d1", id=opened["id"], kinds=[*kinds], step=step, text=text)

    def listed(self) -> list[dict]:
        return self.call("list", patient=self.patient)["concerns"]

    def waiting(self, *kinds: str) -> list[str]:
        return [row["id"] for row in self.call("waiting", kinds=[*(kinds or ("correction", "complaint"))])["concerns"]]

    def anchor(self, opened: dict) -> bytes:
        """Have the first version final everywhere; returns the map key."""
        key = map_key("record", RENHE, bytes.fromhex(opened["id"]))
        while self.site.records.pending(1, kind="anchor"):
            self.site.node.anchor.round()
            self.desks.federation.wait()
        for org_id in (COMMISSION, ANXIN):
            self.desks.federation.sites[org_id].node.submitter.wait_final(key, 1, 60)
        return key

    def round(self) -> int:
        return self.desks.concerns[RENHE].round()

    def reported(self, opened: dict, org_id: str = COMMISSION) -> dict | None:
        rows = self.desks.local(org_id).call("concern.reported", {})["concerns"]
        return next((row for row in rows if row["id"] == opened["id"]), None)

    def notices(self) -> list[dict]:
        return self.desks.local().call("notices.list", {"patient": self.patient, "subjects": []})["notices"]


@pytest.fixture
def case(desks):
    made = Case(desks)
    yield made
    desks.federation.time = NOW
    desks.federation.down.clear()


def test_a_patient_asks_for_a_correction_and_it_stands_with_text_clock_and_who(case):
    opened = case.open()
    (row,) = case.listed()
    assert row == opened
    assert (row["state"], row["due"], row["overdue"]) == ("opened", NOW + 30 * DAY_S, False)
    assert row["about"] == {"version": 1, "what": case.record}
    said = {"by": f"Patient/{case.patient}", "step": "opened", "text": TEXT, "time": NOW, "version": 0}
    assert row["steps"] == [said]


def test_it_is_anchored_as_a_record_of_the_hospital_so_that_it_can_be_neither_denied_nor_backdated(case):
    opened = case.open()
    state = case.site.ledger.record(case.anchor(opened))
    stored = case.site.records.get(CONCERN, opened["id"])
    assert (state.kind, state.creator, state.body_hash) == ("record", RENHE, stored.commitment)
    assert case.listed()[0]["position"] == state.since


def test_it_lies_sealed_under_the_patients_key_and_no_fhir_way_leads_to_it(case):
    opened = case.open()
    stored = case.site.records.get(CONCERN, opened["id"])
    assert stored.patient == case.site.service.patient_token(case.patient)
    assert TEXT.encode() not in stored.envelope
    other = RecordService(case.site.records, LEDGER, bytes(32), lambda: NOW)
    with pytest.raises(Exception, match=r"keys\.unwrap|record\.erased"):
        other.open(stored)
    past = VersionReader(case.site.records).past(Past(limit=1000))
    assert CONCERN not in {found.stored.type for found in past}
    assert "Observation" in {found.stored.type for found in past}
    # Nobody searches it: it has no rows, and none are to be made.
    assert stored.seq not in case.site.records.unindexed(10_000)


def test_attack_a_page_complains_of_a_look_that_was_at_somebody_else_or_never_was(case):
    """Whoever answers would be shown whom else somebody looked at, and the regulator's clock run for nothing."""
    refused = bytes([next(_LOOKS)]) * 16
    token = case.site.service.patient_token("somebody-else")
    case.site.records.put_accesses([Access(refused, token, "refused", NOW, b"{}")])
    for what in (case.looked("somebody-else"), "AuditEvent/none", f"refusal/{refused.hex()}", f"refusal/{'0' * 32}"):
        with pytest.raises(NotFoundError, match=r"record\.unknown"):
            case.complain(about={"version": 0, "what": what})
    assert case.listed() == []
    own = bytes([next(_LOOKS)]) * 16
    case.site.records.put_accesses([Access(own, case.site.service.patient_token(case.patient), "refused", NOW, b"{}")])
    for what in (f"refusal/{own.hex()}", "entry/7"):
        assert case.complain(about={"version": 0, "what": what})["about"]["what"] == what


def test_the_staff_see_what_waits_what_is_due_first_at_the_top(case):
    slow = case.open()
    quick = case.complain()
    mine = [one for one in case.waiting() if one in (slow["id"], quick["id"])]
    assert mine == [quick["id"], slow["id"]]
    assert quick["id"] not in case.waiting("correction")
    case.answer(slow, "declined", "the laboratory has confirmed it")
    assert slow["id"] not in case.waiting()


def test_a_correction_is_accepted_by_a_version_that_corrects_and_not_by_a_promise(case):
    opened = case.open()
    with pytest.raises(ConflictError, match=r"concern\.uncorrected"):
        case.answer(opened, "accepted")
    case.write(2)
    answered = case.answer(opened, "accepted", "corrected")
    assert (answered["state"], answered["due"], answered["version"]) == ("accepted", None, 2)
    last = answered["steps"][-1]
    assert (last["by"], last["text"], last["version"]) == ("Practitioner/d1", "corrected", 2)
    assert case.answer(case.complain(), "accepted", kinds=("complaint",))["steps"][-1]["version"] == 0


def test_a_refusal_says_why(case):
    opened = case.open()
    with pytest.raises(InputError, match=r"concern\.malformed"):
        case.answer(opened, "declined")
    assert case.answer(opened, "declined", "why")["steps"][-1]["text"] == "why"


def test_a_patient_reopens_once_and_ends_it(case):
    opened = case.open()
    with pytest.raises(ConflictError, match=r"concern\.state"):
        case.step(opened, "reopened", "no")
    case.answer(opened, "declined", "why")
    case.desks.federation.time += 5 * DAY_S
    assert case.step(opened, "reopened", "still wrong")["due"] == NOW + 35 * DAY_S
    assert opened["id"] in case.waiting()
    case.answer(opened, "declined", "still not")
    with pytest.raises(ConflictError, match=r"concern\.state"):
        case.step(opened, "reopened", "again")
    assert case.step(opened, "closed")["state"] == "closed"
    with pytest.raises(ConflictError, match=r"concern\.state"):
        case.answer(opened, "declined", "late")


def test_another_patients_record_is_not_there_to_be_corrected(case, desks):
    other = Case(desks)
    for about in ({"version": 1, "what": other.record}, {"version": 9, "what": case.record}):
        with pytest.raises(NotFoundError, match=r"record\.unknown"):
            case.open(about=about)
    assert case.listed() == []


def test_another_patients_concern_is_not_there(case, desks):
    opened, other = case.open(), Case(desks)
    assert other.listed() == []
    with pytest.raises(NotFoundError, match=r"concern\.unknown"):
        case.step(opened, "closed", patient=other.patient)
    assert case.listed()[0]["state"] == "opened"
    for name in ("ff" * 16, "no such", ""):
        with pytest.raises(NotFoundError, match=r"concern\.unknown"):
            case.step({"id": name}, "closed")


def test_who_is_no_patient_here_opens_none_and_no_key_is_made(case):
    with pytest.raises(NotFoundError, match=r"concern\.patient"):
        case.complain(patient="nobody")
    assert case.site.records.living_epochs(case.site.service.patient_token("nobody")) == []


def test_a_state_is_not_forged_by_who_may_not_take_the_step(case):
    opened = case.open()
    with pytest.raises(InputError, match=r"concern\.malformed"):
        case.step(opened, "accepted")
    for step in ("closed", "reopened", "opened"):
        with pytest.raises(InputError, match=r"concern\.malformed"):
            case.answer(opened, step, "x")
    with pytest.raises(NotFoundError, match=r"concern\.unknown"):
        case.answer(opened, "declined", "why", kinds=("complaint",))
    with pytest.raises(NotFoundError, match=r"concern\.unknown"):
        case.answer(opened, "declined", "why", kinds=())
    assert case.listed()[0]["state"] == "opened"


def test_one_who_asks_and_asks_is_held_back_also_when_taking_it_back(case, monkeypatch):
    monkeypatch.setattr(concerns, "MAX_OF_PATIENT", 2)
    case.step(case.open(), "closed")
    case.open()
    with pytest.raises(ConflictError, match=r"concern\.many"):
        case.open()
    case.desks.federation.time += DAY_S
    case.open()
    with pytest.raises(ConflictError, match=r"concern\.many"):
        case.open()


def test_a_regulator_is_told_how_old_it_is_and_not_whose_or_what_unless_the_patient_shares_it(case):
    silent, shared = case.open(), case.complain(shared=True)
    assert case.round() == 0
    row = case.reported(silent)
    assert (row["custodian"], row["kind"], row["state"]) == (RENHE, "correction", "opened")
    assert (row["opened"], row["due"], row["overdue"], row["texts"]) == (NOW, NOW + 30 * DAY_S, False, [])
    assert case.reported(shared)["texts"] == [TEXT]
    assert case.patient not in str(row)
    for org_id in (ANXIN, TONGJI):
        assert case.reported(silent, org_id) is None


def test_what_nobody_answers_is_past_its_clock_at_the_regulator(case):
    opened = case.complain()
    case.round()
    case.desks.federation.time += 3 * DAY_S + 1
    assert case.reported(opened)["overdue"] is True
    case.answer(opened, "declined", "why", kinds=("complaint",))
    case.round()
    row = case.reported(opened)
    assert (row["state"], row["overdue"], row["version"]) == ("declined", False, 2)


def test_a_custodian_whose_clock_is_ahead_sets_the_regulators_clock_no_later(case):
    case.desks.federation.time += 400 * DAY_S
    opened = case.open()
    case.desks.federation.time = NOW
    case.round()
    row = case.reported(opened)
    assert (row["opened"], row["due"]) == (NOW + 400 * DAY_S, NOW + 30 * DAY_S)


def test_a_regulator_sees_since_when_the_ledger_has_it(case):
    opened = case.open()
    case.round()
    assert case.reported(opened)["position"] is None
    state = case.site.ledger.record(case.anchor(opened))
    assert case.reported(opened)["position"] == state.since


def test_a_regulator_who_cannot_be_reached_is_told_later_and_over_a_restart_of_the_daemon(case):
    opened = case.open()
    case.desks.federation.down.add(COMMISSION)
    assert case.round() >= 1
    assert case.reported(opened) is None
    # A daemon that starts anew knows of nothing that it told.
    case.desks.concerns[RENHE] = concerns.ConcernBook(case.desks.concerns[RENHE]._parts)  # noqa: SLF001  # a restart
    case.desks.federation.down.clear()
    assert case.round() == 0
    assert case.reported(opened)["state"] == "opened"


def test_all_is_told_again_each_day_since_a_regulator_may_come_back_from_a_backup(case, monkeypatch):
    opened, told = case.open(), []
    case.round()
    monkeypatch.setattr(concerns.ConcernBook, "receive", lambda _self, document, _peer: told.append(document))
    case.round()
    assert told == []
    case.desks.federation.time += DAY_S
    case.round()
    assert opened["id"].encode() in b"".join(told)


def test_what_nobody_answered_stays_with_who_is_to_answer_however_old_it_is(case):
    opened, ended = case.open(), case.open()
    case.answer(ended, "declined", "why")
    case.round()
    case.desks.federation.time += 400 * DAY_S
    assert opened["id"] in case.waiting()
    assert ended["id"] not in case.waiting()
    told = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(concerns.ConcernBook, "receive", lambda _self, document, _peer: told.append(document))
        case.round()
    assert opened["id"].encode() in b"".join(told)
    assert ended["id"].encode() not in b"".join(told)


def test_a_round_without_news_reads_nothing(case, monkeypatch):
    case.open()
    case.round()
    monkeypatch.setattr(type(case.site.records), "newest_records", lambda *_: pytest.fail("nothing has happened"))
    assert case.round() == 0


def test_a_disk_that_fails_in_a_round_loses_no_news(case, monkeypatch):
    def fails(*_arguments: object) -> None:
        raise UnavailableError("store.io")

    opened = case.open()
    with monkeypatch.context() as patched:
        patched.setattr(type(case.site.records), "newest_records", fails)
        with pytest.raises(UnavailableError):
            case.round()
    case.round()
    assert case.reported(opened)["state"] == "opened"


def test_only_a_regulator_takes_reports(desks):
    for org_id in (RENHE, ANXIN):
        with pytest.raises(AccessDeniedError, match=r"concern\.regulator"):
            desks.concerns[org_id].receive(encode_reports(LEDGER, [], []), TONGJI)


def test_who_tells_is_who_called(case):
    opened = case.open()
    case.round()
    document = encode_reports(LEDGER, [], [bytes.fromhex(opened["id"])])
    case.desks.concerns[COMMISSION].receive(document, TONGJI)
    assert case.reported(opened)["state"] == "opened"


@pytest.mark.parametrize("document", [b"", b"{}", canonical({"concerns": [], "erased": [], "ledger": "", "type": ""})])
def test_a_malformed_report_is_refused(desks, document):
    with pytest.raises(InputError):
        desks.concerns[COMMISSION].receive(document, RENHE)


def test_the_patient_is_told_of_the_answer_once_also_over_a_restart(case):
    opened = case.open()
    case.round()
    assert case.notices() == []
    case.answer(opened, "declined", "why")
    case.round()
    case.desks.concerns[RENHE] = concerns.ConcernBook(case.desks.concerns[RENHE]._parts)  # noqa: SLF001  # a restart
    case.round()
    (notice,) = case.notices()
    assert notice["kind"] == "concern.answered"
    assert notice["fields"] == {"by": RENHE, "kind": "correction", "state": "declined"}


def test_an_erasure_takes_it_along_and_the_regulator_keeps_that_it_was_there(case):
    opened = case.complain(shared=True)
    case.round()
    Eraser(RENHE, case.site.records, case.site.service, case.desks.federation.clock, fresh).erase(case.patient, "asked")
    assert case.listed() == []
    assert opened["id"] not in case.waiting()
    with pytest.raises(NotFoundError, match=r"concern\.unknown"):
        case.answer(opened, "declined", "why", kinds=("complaint",))
    case.desks.federation.time += DAY_S
    assert case.round() == 0
    row = case.reported(opened)
    assert (row["state"], row["overdue"]) == ("erased", False)
    assert "texts" not in row


def test_one_that_is_damaged_hides_no_other_and_is_not_told_as_erased(case, monkeypatch):
    damaged, whole = case.open(), case.open()
    before = RecordService.open

    def opened(service: RecordService, stored):
        if stored.id == damaged["id"]:
            raise VerificationError("record.commitment")
        return before(service, stored)

    monkeypatch.setattr(RecordService, "open", opened)
    assert [row["id"] for row in case.listed()] == [whole["id"]]
    assert whole["id"] in case.waiting()
    assert case.round() == 0
    assert (case.reported(damaged), case.reported(whole)["state"]) == (None, "opened")


def test_two_answers_at_once_are_one(case, monkeypatch):
    opened = case.open()
    found = case.desks.concerns[RENHE]._find(opened["id"])  # noqa: SLF001  # what a second process would have read
    case.answer(opened, "declined", "first")
    monkeypatch.setattr(concerns.ConcernBook, "_find", lambda *_arguments: found)
    with pytest.raises(ConflictError, match=r"store\.conflict"):
        case.answer(opened, "declined", "second")
    monkeypatch.undo()
    assert [step["text"] for step in case.listed()[0]["steps"]] == [TEXT, "first"]


def test_a_disk_that_fails_keeps_nothing(case, monkeypatch):
    def fails(*_arguments: object, **_named: object) -> None:
        raise UnavailableError("store.full")

    monkeypatch.setattr(RecordService, "create", fails)
    with pytest.raises(UnavailableError):
        case.open()
    monkeypatch.undo()
    assert case.listed() == []


def test_every_step_outlives_a_kill_of_the_node(tmp_path):
    with running_desks(tmp_path) as desks:
        case = Case(desks)
        opened = case.open()

        def killed() -> None:
            site = desks.federation.crash(RENHE)
            judge, clock = site.node.submitter._judge, desks.federation.clock  # noqa: SLF001  # the node's own
            kept = site.records, site.service, NoticeBook(judge, site.records, site.service)
            way = desks.concerns[RENHE]._parts.regulators  # noqa: SLF001  # likewise
            parts = concerns.ConcernParts(RENHE, site.node.replica, *kept, way, clock, fresh)
            desks.concerns[RENHE] = concerns.ConcernBook(parts)

        killed()
        assert opened["id"] in case.waiting()
        case.answer(opened, "declined", "why")
        killed()
        case.step(opened, "reopened", "still wrong")
        killed()
        case.round()
        assert [step["step"] for step in case.listed()[0]["steps"]] == ["opened", "declined", "reopened"]
        assert case.reported(opened)["state"] == "reopened"
