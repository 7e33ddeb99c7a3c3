"""A patient is erased: over crashes at every step, with bodies elsewhere, and against members who ask it of others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from shutil import copyfile
from threading import Event
from types import SimpleNamespace

import pytest

from consent.directive import ConsentDecision
from medchain.encoding import canonical
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.kinds.erasure import read
from medchain.ledger.object import ENDED, STOPPED, map_key
from medchain.node import erasure_job
from medchain.node.attempts import read_attempts
from medchain.node.backup import ask_again
from medchain.node.deliver import deliver_kind
from medchain.node.endorse import Judge
from medchain.node.erasure import Eraser, ErasureIntent, epoch_hash
from medchain.node.erasure_job import RESTORED_TYPE, ErasureJob
from medchain.node.records import NewRecord
from medchain.node.restored import PROMISES_S
from medchain.node.sealed_body import OpenedBody, bodies_document, seal_body
from medchain.node.submit import Draft, Submitted
from medchain.store.accounts import Account, Passkey, Role
from medchain.store.asks import AskRow
from medchain.store.engine import FileKind, open_database
from medchain.store.epochs import Erasure
from medchain.store.keeping import ERASURE, Lock, PatientErasure
from medchain.store.records import RecordStore
from tests.unit.medchain.ledger.world import fresh, genesis, seed
from tests.unit.medchain.ledger.world import key as org_key
from tests.unit.medchain.node.federation import (
    ANXIN,
    NOW,
    RENHE,
    ROLES,
    TONGJI,
    Federation,
    Patient,
    Site,
    access,
    grant,
)
from tests.waiting import eventually

OBSERVATION = b'{"resourceType":"Observation","status":"final"}'
_NUMBERS = count(1)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Federation(tmp_path_factory.mktemp("federation"))
    made.start()
    yield made
    made.stop()


@dataclass
class Story:
    """A patient of the hospital with records, a consent for the insurer and a grant."""

    federation: Federation
    local: str = field(default_factory=lambda: f"erased-{next(_NUMBERS)}")
    patient: Patient = None
    consent: bytes = b""
    grant: bytes = b""
    endorsers: set[str] = field(default_factory=set)

    def tell(self, custodians: tuple[str, ...] = (RENHE,)) -> Story:
        """Enrol, store, consent, grant."""
        self.patient = Patient(self.federation)
        submitter = self.site.node.submitter
        self.site.service.create(NewRecord("Observation", self.local, OBSERVATION, self.local))
        placed = [submitter.submit(self.patient.subject(custodians))]
        self.site.records.link_subject(placed[0].key, self.token)
        self.federation.settled(placed[0].key)
        placed.append(submitter.submit(self.patient.consent(custodians)))
        self.consent = placed[1].key
        placed.append(submitter.submit(grant(self.consent)))
        self.grant = placed[2].key
        self.federation.settled(self.consent)
        self.federation.settled(self.grant)
        assert eventually(self._is_with_the_insurer)
        # Of the grant only its consent is shown to whoever endorses it.
        self.endorsers = {done.endorser for done in placed[:2]}
        return self

    def _is_with_the_insurer(self) -> bool:
        """Offer again what could not be delivered at once."""
        self.site.node.deliveries.round()
        return ANXIN in self.holders(self.consent) & self.holders(self.grant)

    @property
    def site(self) -> Site:
        return self.federation.sites[RENHE]

    @property
    def token(self) -> str:
        return self.site.service.patient_token(self.local)

    def eraser(self) -> Eraser:
        return Eraser(RENHE, self.site.records, self.site.service, self.federation.clock, fresh)

    def job(self, is_past: Callable[[int], bool] | None = None) -> ErasureJob:
        side = self.site.node
        return ErasureJob(
            side.judge,
            self.site.records,
            side.submitter,
            side.stops,
            side.deliveries,
            self.site.service.patient_token,
            is_past or side.driver.cosigner.is_past,
        )

    def restart(self) -> None:
        """End the node as a kill does, and start it from its files."""
        self.federation.crash(RENHE)

    def finish(self) -> None:
        """Let the node do what it does by itself."""
        assert eventually(lambda: self.job().round() == 0)
        self.settle()
        assert eventually(lambda: self.site.node.deliveries.round() == 0)

    def settle(self) -> None:
        """Bring the stops to the ledger."""

        def is_settled() -> bool:
            self.site.node.driver.outbox.step()
            return self.site.node.stops.settle() == 0

        assert eventually(is_settled)

    def holders(self, key: bytes) -> set[str]:
        """Name who still has a body of an object."""
        return {name for name, site in self.federation.sites.items() if site.ledger.body_versions(key)}


@pytest.fixture
def story(shared):
    shared.time = NOW
    return Story(shared).tell()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(MedchainError) as caught:
        call()
    return f"{type(caught.value).__name__} {caught.value.code}"


def test_what_was_erased_cannot_be_opened_by_anybody_from_the_moment_on_at_which_it_is_said(story):
    extent = story.eraser().extent(story.local)
    done = story.eraser().erase(story.local, "asked for")
    assert (extent.records, extent.versions, extent.keys, extent.lock) == (1, 1, 1, None)
    assert code_of(lambda: story.site.service.read("Observation", story.local)) == "NotFoundError record.erased"
    assert done.extent == extent
    assert story.site.records.epoch(done.keys[0]).wrapped_key is None


def test_the_ledger_is_told_which_keys_by_hashes_that_name_nobody(story):
    done = story.eraser().erase(story.local, "asked for")
    story.finish()
    key = map_key("erasure", RENHE, done.object_id)
    record, body = story.site.node.shelf.head(key)
    told = read(body.content)
    assert (record.version, record.status, record.creator) == (1, "active", RENHE)
    assert (told.epochs, told.organisation, told.reason) == ((epoch_hash(done.keys[0]),), RENHE, "asked for")
    rows = {item.epoch_id: item.position for item in story.site.records.erasures()}
    assert rows[done.keys[0]] == record.since
    assert story.site.records.pending(9, kind=ERASURE) == []
    # Nobody else was given it.
    assert story.holders(key) == {RENHE}


def test_the_patients_objects_end_and_their_bodies_go_wherever_they_lie(story):
    objects = (story.patient.key, story.consent, story.grant)
    assert story.holders(story.consent) >= {RENHE, ANXIN}
    assert story.holders(story.patient.key) >= {RENHE, ANXIN} | story.endorsers
    story.eraser().erase(story.local, "asked for")
    story.finish()
    assert [story.holders(key) for key in objects] == [set(), set(), set()]
    states = [story.site.ledger.record(key).status for key in objects]
    assert states == [ENDED, STOPPED, STOPPED]


def test_a_withdrawn_consent_goes_with_the_signature_of_its_withdrawal(story):
    head = story.site.ledger.record(story.consent)
    story.site.node.stops.stop(story.consent, story.patient.withdrawal(story.consent, 2, head.digest))
    story.settle()
    assert story.site.ledger.body_versions(story.consent) == [1, 2]
    story.eraser().erase(story.local, "asked for")
    story.finish()
    assert story.holders(story.consent) == set()


def test_what_others_asked_the_patient_goes_and_what_they_ask_somebody_else_stays(story, shared):
    other = Story(shared).tell()
    for one in (story, other):
        row = AskRow(fresh(16), ANXIN, one.token, b"a name, and why", NOW, NOW + 1000)
        story.site.records.put_ask(row)
    story.eraser().erase(story.local, "asked for")
    story.finish()
    assert story.site.records.asks_of(story.token, NOW) == []
    assert [row.document for row in other.site.records.asks_of(other.token, NOW)] == [b"a name, and why"]


def signed_up(site: Site, patient: str, created: int) -> str:
    """Give a patient an account, and a session; returns the cookie's value."""
    account = Account(
        fresh(16).hex(), f"patient:{patient}", "王芳", Role.PATIENT, f"Patient/{patient}", None, None, created
    )
    site.records.accounts.put_account(account)
    site.records.accounts.put_passkey(Passkey(fresh(16), account.id, b"key", created, None))
    return site.records.accounts.begin_session(account.id, "passkey", created, created + 9000, None)


def test_attack_who_was_erased_is_still_signed_in_under_the_own_name(story):
    """The account stayed, with name, passkeys and whatever applications it had let in."""
    accounts, now = story.site.records.accounts, story.federation.clock()
    other = f"{story.local}-other"
    sessions = [signed_up(story.site, one, now) for one in (story.local, other)]
    story.eraser().erase(story.local, "asked for it")
    story.finish()
    assert accounts.account_named(f"patient:{story.local}") is None
    assert [accounts.session(one, now, 9000) is None for one in sessions] == [True, False]


def test_who_comes_back_after_an_erasure_keeps_the_new_account(story):
    """As where a restored node carries an erasure out again."""
    story.eraser().erase(story.local, "asked for it")
    signed_up(story.site, story.local, story.federation.clock() + 1)
    story.finish()
    assert story.site.records.accounts.account_named(f"patient:{story.local}") is not None


def test_bodies_of_other_patients_stay(story, shared):
    other = Story(shared).tell()
    story.eraser().erase(story.local, "asked for")
    story.finish()
    for key in (other.patient.key, other.consent, other.grant):
        assert other.holders(key) >= {RENHE}
        assert other.site.ledger.record(key).status == "active"
    assert other.site.service.read("Observation", other.local).content == OBSERVATION


def test_what_another_custodian_stands_on_stays_with_who_alone_can_renew_it(shared):
    story = Story(shared).tell((RENHE, TONGJI))
    story.eraser().erase(story.local, "asked for")
    story.finish()
    for key in (story.patient.key, story.consent):
        assert story.holders(key) >= {RENHE, TONGJI}
        assert story.site.ledger.record(key).status == "active"
    assert story.holders(story.grant) == set()
    assert story.site.ledger.record(story.grant).status == STOPPED


def test_who_is_named_by_an_attempt_that_was_not_ordered_is_no_other_custodian(story):
    """Else what the patient could not be linked to keeps subject and consent in force, and here, for ever."""
    shelf, key = story.site.node.shelf, story.patient.key
    shelf.keep(key, 2, story.patient.linked((RENHE, TONGJI), *shelf.head(key)).body)
    story.eraser().erase(story.local, "asked for")
    story.finish()
    assert RENHE not in story.holders(key) | story.holders(story.consent)
    assert story.site.ledger.record(key).status == ENDED


def test_who_is_not_named_by_an_attempt_that_was_not_ordered_stays_the_other_custodian(shared):
    story = Story(shared).tell((RENHE, TONGJI))
    shelf, key = story.site.node.shelf, story.patient.key
    shelf.keep(key, 2, story.patient.linked((RENHE,), *shelf.head(key)).body)
    story.eraser().erase(story.local, "asked for")
    story.finish()
    assert story.holders(key) >= {RENHE, TONGJI}
    assert story.site.ledger.record(key).status == "active"


def test_who_is_enrolled_anew_after_the_erasure_is_not_meant_by_it(story):
    story.eraser().erase(story.local, "asked for")
    again = Patient(story.federation)
    placed = story.site.node.submitter.submit(again.subject())
    story.site.records.link_subject(placed.key, story.token)
    story.finish()
    assert story.site.ledger.record(placed.key).status == "active"
    assert RENHE in story.holders(placed.key)


def put_back(site: Site, backup: Path, known: list[PatientErasure]) -> None:
    """Have a node come back from copies of its files, with a list of the erasures since."""
    for name in ("ledger.db", "records.db"):
        copyfile(backup / name, site.folder / name)
        for rest in ("-wal", "-shm", "-mark"):
            (site.folder / (name + rest)).unlink(missing_ok=True)
    file_key = seed(site.org_id, "file")
    with closing(open_database(site.folder / "ledger.db", file_key, kind=FileKind.LEDGER, adopt=True)):
        pass
    opened = open_database(site.folder / "records.db", file_key, kind=FileKind.RECORDS, adopt=True)
    with closing(RecordStore(opened)) as records:
        records.replay_erasures([Erasure(name, item.time, None) for item in known for name in keys_in(item)])
        records.reopen_erasures(known, NOW)
        ask_again(records, [org_id for org_id in ROLES if org_id != site.org_id], NOW)


def copied(site: Site, folder: Path) -> None:
    """Copy a node's files."""
    for kind in FileKind:
        opened = open_database(site.folder / f"{kind}.db", seed(site.org_id, "file"), kind=kind, migrate=False)
        with closing(opened) as database:
            database.backup(folder / f"{kind}.db")


def keys_in(item: PatientErasure) -> tuple[bytes, ...]:
    return ErasureIntent.decode(item.intent).keys


@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_restored_node_has_no_body_of_who_was_erased_since_and_one_entry(shared, tmp_path, is_ordered):
    shared.time = NOW
    story = Story(shared).tell()
    site = story.site
    objects = (story.patient.key, story.consent, story.grant)
    copied(site, tmp_path)
    done = story.eraser().erase(story.local, "asked for")
    if is_ordered:
        story.finish()
    [known] = [item for item in site.records.patient_erasures() if keys_in(item) == done.keys]
    shared.restore(RENHE, lambda: put_back(site, tmp_path, [known]))
    # The backup has the patient back: the consent says who, and for what.
    assert RENHE in story.holders(story.consent)
    assert code_of(lambda: site.service.read("Observation", story.local)) == "NotFoundError record.erased"
    story.finish()
    assert [story.holders(key) for key in objects] == [set(), set(), set()]
    entry = map_key("erasure", RENHE, done.object_id)
    site.node.submitter.wait_final(entry, 1, 60)
    assert [record.version for record in site.ledger.history(entry)] == [1]
    assert site.records.pending(9, kind=ERASURE) == []


def test_a_recipient_that_comes_back_from_a_backup_destroys_again_what_others_erased_since(story, shared, tmp_path):
    insurer = shared.sites[ANXIN]
    copied(insurer, tmp_path)
    story.eraser().erase(story.local, "asked for")
    story.finish()
    assert ANXIN not in story.holders(story.consent) | story.holders(story.grant)
    shared.restore(ANXIN, lambda: put_back(insurer, tmp_path, []))
    # It has the names of who signed again, and nobody else knows.
    assert ANXIN in story.holders(story.consent) & story.holders(story.grant)
    assert eventually(lambda: insurer.node.deliveries.round() == 0)
    assert eventually(lambda: story.site.node.deliveries.round() == 0)
    assert ANXIN not in story.holders(story.consent) | story.holders(story.grant)


def test_who_asks_to_be_asked_again_is_told_what_it_was_told_before_once_and_nothing_of_others(story):
    story.eraser().erase(story.local, "asked for")
    story.finish()
    desk, records = story.site.node.bodies, story.site.records
    asked = {org_id: len(records.body_requests(org_id)) for org_id in ROLES}
    assert asked[ANXIN] >= 2
    assert asked[RENHE] == 0
    document = canonical({"type": RESTORED_TYPE})
    for org_id in (ANXIN, TONGJI):
        assert desk.receive(document, org_id) == {"type": RESTORED_TYPE, "waiting": asked[org_id]}
        # A member that asks without end fills no disk.
        assert desk.receive(document, org_id) == {"type": RESTORED_TYPE, "waiting": 0}
        assert len(records.pending(99, kind=deliver_kind(org_id))) == asked[org_id]
    with pytest.raises(InputError):
        desk.receive(canonical({"more": 1, "type": RESTORED_TYPE}), ANXIN)
    assert eventually(lambda: story.site.node.deliveries.round() == 0)


def failed_to_submit(story: Story, monkeypatch) -> tuple[bytes, bytes]:
    """Try to submit a further consent, whose body everybody is given before the orderer is away; returns key, leaf."""
    node, leaves, draft = story.site.node, [], story.patient.consent()

    def away(leaf: bytes, _timeout_s: float) -> None:
        leaves.append(leaf)
        raise UnavailableError("ordering.away")

    with monkeypatch.context() as patch:
        patch.setattr(node.submitter, "_order", away)
        with pytest.raises(UnavailableError):
            node.submitter.submit(draft)
    key = map_key("consent", RENHE, draft.object_id)
    assert story.holders(key) >= {RENHE, ANXIN}
    return key, leaves[0]


def test_a_body_that_was_never_ordered_goes_with_the_patient_once_no_block_can_accept_it(story, monkeypatch):
    key, _ = failed_to_submit(story, monkeypatch)
    story.eraser().erase(story.local, "asked for")
    # How far the ledger is, as the others' lines would tell, and how late it is by the node's own clock.
    ordered, later, side = [NOW], [0], story.site.node
    job = story.job(lambda time: time < ordered[0])
    # Of the job alone: a whole consortium whose clocks are set back afterwards orders nothing.
    job._judge = Judge(RENHE, side.replica, side.shelf, ConsentDecision(), lambda: NOW + later[0])  # noqa: SLF001  # its clock
    # A round may end before: somebody may just be reading what the log must be rid of.
    assert eventually(lambda: job.round() == 1 and key in job._unordered)  # noqa: SLF001  # when it was first seen
    # A clock that is set ahead, or a node that hears of no blocks, says nothing of what the others have ordered.
    later[0] = 10 * PROMISES_S
    ordered[0] = NOW + PROMISES_S
    assert job.round() == 1
    # Nothing of the patient is forgotten before it is known what there is to end.
    assert RENHE in story.holders(key) & story.holders(story.consent)
    ordered[0] = NOW + PROMISES_S + 1
    assert eventually(lambda: job.round() == 0)
    story.finish()
    assert RENHE not in story.holders(key)
    assert story.holders(story.consent) == set()


def test_a_body_of_another_attempt_goes_with_the_patient_whatever_it_says(story):
    """The older one alone says whose it is: what lies beside it must not hide it."""
    shelf, other = story.site.node.shelf, Patient(story.federation, "somebody else")
    stray = Patient(story.federation).consent()
    key = map_key("consent", RENHE, stray.object_id)
    shelf.keep(key, 1, story.patient.consent().body)
    shelf.keep(key, 1, other.consent().body)
    assert len(read_attempts(story.site.ledger.body(key, 1))) == 2
    story.eraser().erase(story.local, "asked for")
    job = story.job(lambda _time: True)
    assert eventually(lambda: job.round() == 0)
    story.finish()
    assert story.site.ledger.body_versions(key) == []


def test_what_is_ordered_after_the_patient_was_erased_is_ended_and_destroyed_everywhere(story, shared, monkeypatch):
    key, leaf = failed_to_submit(story, monkeypatch)
    story.eraser().erase(story.local, "asked for")
    assert story.job().round() == 1
    story.site.node.driver.submit([leaf])
    shared.settled(key)
    story.finish()
    assert story.holders(key) == set()
    assert story.site.ledger.record(key).status == STOPPED


STEPS = {
    "after the keys are gone": ("medchain.store.records.RecordStore.overwrite", "before"),
    "before the entry": ("medchain.node.submit.Submitter.submit", "before"),
    "after the entry": ("medchain.node.submit.Submitter.submit", "after"),
    "before a stop": ("medchain.node.stops.StopBook.stop", "before"),
    "after a stop": ("medchain.node.stops.StopBook.stop", "after"),
    "after telling one": ("medchain.node.deliver.Deliveries.tell", "after"),
    "before the first body": ("medchain.node.bodies.BodyShelf.destroy", "before"),
    "after the first body": ("medchain.node.bodies.BodyShelf.destroy", "after"),
    "before it is settled": ("medchain.store.records.RecordStore.settle_erasure", "before"),
    "after it is settled": ("medchain.store.records.RecordStore.settle_erasure", "after"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_node_killed_at_any_step_loses_nothing_and_erases_nothing_twice(story, monkeypatch, step):
    done = story.eraser().erase(story.local, "asked for")
    name, when = STEPS[step]
    place, _, method = name.rpartition(".")
    module, _, owner = place.rpartition(".")
    target = getattr(__import__(module, fromlist=[owner]), owner)
    original = getattr(target, method)

    def killed(self, *given: object, **named: object) -> None:
        if when == "after":
            original(self, *given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, method, killed)
        with pytest.raises(Killed):
            story.job().round()
    story.restart()
    story.finish()
    key = map_key("erasure", RENHE, done.object_id)
    assert [record.version for record in story.site.ledger.history(key)] == [1]
    assert [item.epoch_id for item in story.site.records.erasures()].count(done.keys[0]) == 1
    assert story.site.records.pending(9, kind=ERASURE) == []
    assert [story.holders(name) for name in (story.patient.key, story.consent, story.grant)] == [set(), set(), set()]
    assert code_of(lambda: story.site.service.read("Observation", story.local)) == "NotFoundError record.erased"


def test_without_a_quorum_the_keys_are_gone_and_the_entry_comes_later(story):
    story.federation.down |= set(ROLES) - {RENHE}
    try:
        story.eraser().erase(story.local, "asked for")
        assert code_of(lambda: story.site.service.read("Observation", story.local)) == "NotFoundError record.erased"
        story.site.node.submitter.submit, original = _not_now, story.site.node.submitter.submit
        assert story.job().round() == 1
        story.site.node.submitter.submit = original
    finally:
        story.federation.down.clear()
    story.finish()
    assert story.site.records.pending(9, kind=ERASURE) == []


def _not_now(*_given: object) -> None:
    raise UnavailableError("submit.not_final")


def test_an_erasure_that_the_ledger_does_not_have_after_an_hour_is_an_alarm(story, monkeypatch):
    story.eraser().erase(story.local, "asked for")
    with monkeypatch.context() as patch:
        patch.setattr(story.site.node.submitter, "submit", _not_now)
        story.job().round()
        assert [row.code for row in story.site.records.alarms()] == []
        story.federation.time = NOW + erasure_job.OVERDUE_S + 1
        story.job().round()
    story.federation.time = NOW
    [alarm] = story.site.records.alarms()
    assert (alarm.code, b"submit.not_final" in alarm.fields) == ("erasure.overdue", True)
    story.site.records.acknowledge(alarm.id, "", NOW)
    story.finish()


def test_erasures_that_must_wait_hide_none_behind_them(story, shared, monkeypatch):
    other = Story(shared).tell()
    monkeypatch.setattr(erasure_job, "_PAGE", 1)
    delayed = story.eraser().erase(story.local, "asked for")
    other.eraser().erase(other.local, "asked for")
    submitter = story.site.node.submitter

    def not_the_first(draft: Draft) -> Submitted:
        return _not_now() if draft.object_id == delayed.object_id else submitter.submit(draft)

    job = story.job()
    with monkeypatch.context() as patch:
        patch.setattr(job, "_submitter", SimpleNamespace(submit=not_the_first))
        assert eventually(lambda: job.round() == 1)
    assert [intent.id for intent in story.site.records.pending(9, kind=ERASURE)] == [delayed.intent]
    story.finish()


def test_a_node_that_stops_begins_no_further_erasure(story, shared, monkeypatch):
    other = Story(shared).tell()
    for one in (story, other):
        one.eraser().erase(one.local, "asked for")
    stop, asked, job = Event(), [], story.job()

    def stopped_meanwhile(draft: Draft) -> Submitted:
        asked.append(draft)
        stop.set()
        return _not_now()

    with monkeypatch.context() as patch:
        patch.setattr(job, "_submitter", SimpleNamespace(submit=stopped_meanwhile))
        assert job.round(stop) == 1
    assert len(asked) == 1
    assert len(story.site.records.pending(9, kind=ERASURE)) == 2
    story.finish()


def test_nobody_is_told_while_the_keys_may_still_lie_in_the_log(story, monkeypatch):
    story.eraser().erase(story.local, "asked for")
    with monkeypatch.context() as patch:
        patch.setattr(type(story.site.records), "overwrite", lambda _self: False)
        assert story.job().round() == 1
    assert len(story.site.records.pending(9, kind=ERASURE)) == 1
    story.finish()


def test_a_locked_patient_or_an_unknown_one_is_not_erased(story):
    story.site.records.put_lock(Lock(story.token, None, "medical records act", NOW))
    assert story.eraser().extent(story.local).lock.reason == "medical records act"
    assert code_of(lambda: story.eraser().erase(story.local, "asked for")) == "ConflictError erasure.locked"
    assert story.site.service.read("Observation", story.local).content == OBSERVATION
    for patient in ("nobody", ""):
        assert code_of(lambda patient=patient: story.eraser().extent(patient)) == "NotFoundError erasure.nothing"


def test_a_reason_of_another_length_destroys_nothing(story):
    for reason in ("", "x" * 201):
        with pytest.raises(InputError):
            story.eraser().erase(story.local, reason)
    assert story.site.service.read("Observation", story.local).content == OBSERVATION


def request(erasure: bytes, *keys: bytes, **changes: object) -> bytes:
    document = {"erasure": erasure.hex(), "objects": [key.hex() for key in keys], "type": "medchain/body-erasure/v1"}
    return canonical(document | changes)


def test_a_member_has_nobody_destroy_a_body_of_what_is_not_its_own_or_still_in_force(story, shared):
    other = Story(shared).tell()
    done = story.eraser().erase(story.local, "asked for")
    story.finish()
    entry = map_key("erasure", RENHE, done.object_id)
    insurer = shared.sites[ANXIN].node
    insurer.submitter.wait_final(entry, 1, 60)
    attacks = [
        (request(entry, other.consent), RENHE, ConflictError, "body.in_force"),
        (request(entry, other.consent), TONGJI, ConflictError, "body.erasure"),
        (request(other.consent, other.consent), RENHE, ConflictError, "body.erasure"),
        (request(b"\x00" * 32, other.consent), RENHE, ConflictError, "body.erasure"),
        (request(entry), RENHE, InputError, "encoding.members"),
        (request(entry, *[other.consent] * 201), RENHE, InputError, "encoding.members"),
        (request(entry, other.consent, more=1), RENHE, InputError, "encoding.members"),
    ]
    for document, peer, kind, code in attacks:
        with pytest.raises(kind) as caught:
            insurer.bodies.receive(document, peer)
        assert caught.value.code == code
    # With an erasure of its own, a member still has nothing to say of others' objects.
    foreign = request(erased_elsewhere(shared), other.consent)
    with pytest.raises(VerificationError) as caught:
        insurer.bodies.receive(foreign, TONGJI)
    assert caught.value.code == "body.creator"
    assert ANXIN in other.holders(other.consent)


def test_who_still_has_a_body_brings_it_back_to_nobody_who_destroyed_it(story, shared):
    """Nor does a delivery that was late: it counts as taken, so that its sender does not offer it for days."""
    insurer = shared.sites[ANXIN].node
    bodies = {key: insurer.shelf.held_at(key, 1) for key in (story.consent, story.grant)}
    story.eraser().erase(story.local, "asked for")
    story.finish()
    for key, body in bodies.items():
        sealed = seal_body(org_key(RENHE, "encryption"), genesis().ledger, OpenedBody(key, 1, body))
        for _ in range(2):
            assert story.site.node.bodies.receive(bodies_document(None, [sealed]), ANXIN)["stored"] == 1
            story.restart()
    assert [story.holders(key) for key in bodies] == [set(), set()]


def test_a_custodian_has_no_list_of_what_it_released_destroyed_while_the_grant_is_in_force(story, shared):
    """The recipient's copy of the list is what the custodian's own is compared with."""
    other = Story(shared).tell()
    listed = other.site.node.submitter.submit(access(other.consent, other.grant)).key
    done = story.eraser().erase(story.local, "asked for")
    story.finish()
    entry = map_key("erasure", RENHE, done.object_id)
    insurer = shared.sites[ANXIN].node
    insurer.submitter.wait_final(entry, 1, 60)
    insurer.submitter.wait_final(listed, 1, 60)
    assert ANXIN in other.holders(listed)
    with pytest.raises(ConflictError, match=r"body\.in_force"):
        insurer.bodies.receive(request(entry, listed), RENHE)
    assert ANXIN in other.holders(listed)
    # Once the grant is over, it goes with the patient.
    other.eraser().erase(other.local, "asked for")
    other.finish()
    assert other.holders(listed) == set()


@pytest.mark.parametrize("is_large", [False, True])
def test_what_an_erasure_left_in_gaps_of_pages_goes_at_a_moment_when_nobody_writes(story, monkeypatch, is_large):
    """A large file takes a while, and who writes meanwhile would wait."""
    monkeypatch.setattr(erasure_job, "SMALL_BYTES", 0 if is_large else 1 << 40)
    story.eraser().erase(story.local, "asked for")
    job, records, federation = story.job(), story.site.records, story.federation
    assert eventually(lambda: job.round() == 0)
    assert records.has_remains()
    began = federation.time
    try:
        if is_large:
            for _ in range(3):
                assert not job.tidy()
                federation.time += erasure_job.STILL_S - 1
                records.put_intent("x", b"", 1)
            assert not job.tidy()
            federation.time += erasure_job.STILL_S
        assert job.tidy()
    finally:
        federation.time = began
    assert not records.has_remains()
    assert not job.tidy()


def test_a_file_that_cannot_be_written_anew_is_tried_again_an_hour_later(story, monkeypatch):
    story.eraser().erase(story.local, "asked for")
    job, federation, tries = story.job(), story.federation, []
    assert eventually(lambda: job.round() == 0)

    def full() -> bool:
        tries.append(federation.time)
        raise UnavailableError("store.full")

    monkeypatch.setattr(story.site.records, "rewrite", full)
    with pytest.raises(UnavailableError):
        job.tidy()
    began = federation.time
    try:
        assert not job.tidy()
        federation.time += erasure_job.AGAIN_S
        with pytest.raises(UnavailableError):
            job.tidy()
    finally:
        federation.time = began
    assert len(tries) == 2


def erased_elsewhere(federation: Federation) -> bytes:
    """Have another hospital erase a patient; returns the entry's key, final at the insurer."""
    site = federation.sites[TONGJI]
    local = f"elsewhere-{next(_NUMBERS)}"
    site.service.create(NewRecord("Observation", local, OBSERVATION, local))
    done = Eraser(TONGJI, site.records, site.service, federation.clock, fresh).erase(local, "asked for")
    job = ErasureJob(
        site.node.judge,
        site.records,
        site.node.submitter,
        site.node.stops,
        site.node.deliveries,
        site.service.patient_token,
        site.node.driver.cosigner.is_past,
    )
    assert eventually(lambda: job.round() == 0)
    key = map_key("erasure", TONGJI, done.object_id)
    federation.sites[ANXIN].node.submitter.wait_final(key, 1, 60)
    return key


def test_a_member_that_asks_again_makes_nobody_write_again(story, shared, monkeypatch):
    done = story.eraser().erase(story.local, "asked for")
    story.finish()
    entry = map_key("erasure", RENHE, done.object_id)
    insurer = shared.sites[ANXIN]
    insurer.node.submitter.wait_final(entry, 1, 60)
    written, destroy = [], insurer.ledger.destroy_bodies
    monkeypatch.setattr(insurer.ledger, "destroy_bodies", lambda *words: written.append(words) or destroy(*words))
    body = insurer.node.bodies
    assert body.receive(request(entry, story.consent), RENHE)["destroyed"] == 0
    assert (written, ANXIN in story.holders(story.consent)) == ([], False)


def test_an_object_that_is_not_ordered_yet_is_not_said_to_be_destroyed(story, shared):
    done = story.eraser().erase(story.local, "asked for")
    story.finish()
    entry = map_key("erasure", RENHE, done.object_id)
    insurer = shared.sites[ANXIN].node
    insurer.submitter.wait_final(entry, 1, 60)
    with pytest.raises(ConflictError, match=r"body\.not_ordered"):
        insurer.bodies.receive(request(entry, b"\x07" * 32), RENHE)


def test_a_body_that_came_ahead_of_its_block_is_destroyed_where_the_block_comes_after_the_request(shared, monkeypatch):
    """A grant is ordered behind the erasure's entry; who holds its body has the entry, and nothing to destroy yet."""
    shared.time = NOW
    # Of several custodians', so that the grants alone go, and nobody has to wait for an endorser that is held back.
    story, late, find = Story(shared).tell((RENHE, TONGJI)), [], ErasureJob._find  # noqa: SLF001  # the step before which it happens
    done = story.eraser().erase(story.local, "asked for")
    entry, insurer = map_key("erasure", RENHE, done.object_id), shared.sites[ANXIN].node

    def find_after_another_grant(job, erasure):
        if not late and erasure.object_id == done.object_id:
            insurer.submitter.wait_final(entry, 1, 60)
            shared.held.add(ANXIN)
            late.append(story.site.node.submitter.submit(grant(story.consent)).key)
        return find(job, erasure)

    monkeypatch.setattr(ErasureJob, "_find", find_after_another_grant)
    try:
        assert eventually(lambda: story.job().round() == 0)
        story.settle()
        assert insurer.shelf.state(late[0]) is None
        for _ in range(3):
            assert story.site.node.deliveries.round() > 0
        assert ANXIN in story.holders(late[0])
    finally:
        shared.held.clear()
    story.finish()
    assert story.holders(late[0]) | story.holders(story.grant) == set()


def test_a_holder_that_is_down_destroys_when_it_is_there_again(story):
    story.federation.down.add(ANXIN)
    try:
        story.eraser().erase(story.local, "asked for")
        assert eventually(lambda: story.job().round() == 0)
        story.settle()
        story.site.node.deliveries.round()
        assert ANXIN in story.holders(story.consent)
        assert story.site.records.pending(9, kind=deliver_kind(ANXIN)) != []
    finally:
        story.federation.down.clear()
    story.restart()
    story.finish()
    assert story.holders(story.consent) == set()


def test_a_holder_that_is_killed_at_any_write_destroys_all_when_it_is_there_again(shared):
    step, is_killed = 0, True
    while is_killed:
        step += 1
        for is_kept in (False, True):
            shared.time = NOW
            story = Story(shared).tell()
            done = story.eraser().erase(story.local, "asked for")
            with shared.killed_at(ANXIN, step, is_kept=is_kept) as seen:
                assert eventually(lambda story=story: ANXIN in shared.down or story.job().round() == 0)
                story.settle()
                assert eventually(lambda story=story: ANXIN in shared.down or story.site.node.deliveries.round() == 0)
            is_killed = len(seen) >= step
            shared.down.clear()
            shared.crash(ANXIN)
            story.restart()
            story.finish()
            assert [story.holders(name) for name in (story.patient.key, story.consent, story.grant)] == [set()] * 3
            key = map_key("erasure", RENHE, done.object_id)
            assert [record.version for record in story.site.ledger.history(key)] == [1]
    assert step > 1


def test_a_new_record_of_an_erased_patient_has_a_key_of_its_own(story):
    old = story.eraser().erase(story.local, "asked for")
    story.site.service.create(NewRecord("Observation", f"{story.local}-new", OBSERVATION, story.local))
    assert story.site.service.read("Observation", f"{story.local}-new").content == OBSERVATION
    again = story.eraser().erase(story.local, "asked for again")
    assert set(again.keys).isdisjoint(old.keys)
    story.finish()
    with pytest.raises(NotFoundError):
        story.site.service.read("Observation", f"{story.local}-new")
