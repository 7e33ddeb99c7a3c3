"""Emergencies that a custodian keeps from those whom it must tell, wholly or in part, on whole nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from medchain.crypto.es384 import Es384Signer
from medchain.encoding import canonical, parse_canonical
from medchain.errors import AccessDeniedError, InputError, NotFoundError, UnavailableError
from medchain.ledger.emergency_request import EmergencyRequest, given_id
from medchain.ledger.kinds.emergency import SUPERVISED_FIELDS, Emergency, Objection, Review
from medchain.ledger.members import organisation_content
from medchain.ledger.object import ACTIVE, ENDED, build_body, map_key
from medchain.ledger.signed_request import sign_request
from medchain.node.emergency import EMERGENCY
from medchain.node.missing import ABSENT, BEHIND, GRACE_S, MISSING, UNREACHABLE, WANTED_TYPE, WITHHELD, MissingBodies
from medchain.node.sealed_body import OpenedBody, bodies_document, seal_body
from medchain.node.submit import Draft
from medchain.node.verdicts import REFUSED
from tests.unit.medchain.ledger.world import ROLES, World, fresh, genesis, key, seed, sign
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, NOW, RENHE, TONGJI, Federation, Patient

NOTHING = bytes(32)
DAY_S = 86_400
_PATIENTS = count(1)


class Glass:
    """An emergency at the hospital, of which what it does not want to tell goes astray."""

    def __init__(self, federation: Federation, recipient: str = RENHE) -> None:
        """Think of one."""
        self.federation = federation
        self.patient = f"patient-{next(_PATIENTS)}"
        self.content = Emergency(
            RENHE, recipient, self.patient, "Dr Li", "curiosity", NOTHING, 0, NOTHING, NOTHING, federation.time
        )
        self.object_id, self.evidence = fresh(16), None
        if recipient != RENHE:
            self._ask(recipient)
        self.key = map_key(EMERGENCY, RENHE, self.object_id)

    def _ask(self, recipient: str) -> None:
        """Have the other hospital ask for what is given."""
        made = EmergencyRequest(
            ledger=genesis().ledger,
            custodian=RENHE,
            recipient=recipient,
            declaration=fresh(16),
            declared=self.federation.time,
            identifier=self.patient,
            staff=self.content.staff,
            reason=self.content.reason,
            resource_types=("*",),
            after=0,
            encryption_key=key(recipient, "encryption").id,
            nonce=fresh(16),
            time=self.federation.time,
        )
        signed = sign_request(Es384Signer(seed(recipient, "authentication", 1)), made)
        self.object_id, self.evidence = given_id(made.hash), {"request": signed.to_json()}
        self.content = replace(self.content, request_hash=made.hash, count=1)

    def told(self, content: Emergency | None = None, status: str = ACTIVE, *, lost: tuple[str, ...] = ()) -> None:
        """Bring the next version to the ledger everywhere; deliveries to some are lost for good."""
        self.content = content or self.content
        body = build_body(EMERGENCY, self.content.to_content(), self.evidence, fresh)
        self.federation.tamper = _losing(lost)
        try:
            done = self.site(RENHE).node.submitter.submit(Draft(EMERGENCY, self.object_id, body, status))
        finally:
            self.federation.tamper = _nothing
        for site in self.federation.sites.values():
            site.node.submitter.wait_final(self.key, done.record.version, 60)

    def objected(self) -> Emergency:
        return replace(self.content, objection=Objection("p", "no", self.federation.time))

    def site(self, org_id: str = COMMISSION):
        return self.federation.sites[org_id]

    def look(self, org_id: str = COMMISSION, after_s: int = 0) -> None:
        """Let a holder look and ask, later."""
        self.federation.time += after_s
        self.site(org_id).node.missing.round()

    def has(self, version: int, org_id: str = COMMISSION) -> bool:
        return self.site(org_id).node.shelf.held_at(self.key, version) is not None

    def missing(self, org_id: str = COMMISSION) -> list[int]:
        """Return the versions that are noted as missing."""
        rows = self.site(org_id).records.missing_of(RENHE, 1000)
        return [row.version for row in rows if row.key == self.key]

    def alarms(self, code: str, org_id: str = COMMISSION) -> list[tuple[str, int, str]]:
        """Return who is named over this emergency, for which version and why."""
        rows = [parse_canonical(row.fields, max_bytes=4096) for row in self.site(org_id).records.alarms(code=code)]
        return [(row["creator"], row["version"], row["reason"]) for row in rows if row["object"] == self.key.hex()]


def _nothing(_what: str, _sender: str, _receiver: str, data: bytes) -> bytes:
    return data


def _losing(lost: tuple[str, ...]):
    def lose(what: str, _sender: str, receiver: str, data: bytes) -> bytes:
        if what == "push" and receiver in lost:
            # No silence: who is silent is left alone for a while.
            raise NotFoundError("test.lost")
        return data

    return lose


def _answering(error: Exception):
    """Have who is asked for a body answer so."""

    def answer(what: str, _sender: str, _receiver: str, data: bytes) -> bytes:
        if what == "fetch":
            raise error
        return data

    return answer


@pytest.fixture
def glass(federation) -> Iterator[Glass]:
    federation.time = NOW
    yield Glass(federation)
    federation.tamper = _nothing
    federation.down.clear()
    federation.time = NOW


def listed(federation: Federation, org_id: str = COMMISSION) -> list[dict]:
    return federation.sites[org_id].node.operations()[MISSING]({})["missing"]


def test_what_was_told_is_missing_nowhere(glass):
    glass.told()
    for org_id in glass.federation.sites:
        glass.look(org_id, GRACE_S)
        assert glass.missing(org_id) == []
        assert (glass.alarms(WITHHELD, org_id), glass.alarms(UNREACHABLE, org_id)) == ([], [])


def test_attack_a_custodian_keeps_the_first_version_back_and_shows_the_second(glass):
    glass.told(lost=(COMMISSION,))
    glass.told(glass.objected())
    glass.federation.tamper = _answering(NotFoundError(ABSENT))
    glass.look()
    assert (glass.has(1), glass.has(2)) == (False, True)
    assert glass.missing() == [1]
    glass.look(after_s=GRACE_S - 1)
    assert glass.alarms(WITHHELD) == []
    assert glass.key.hex() not in [row["key"] for row in listed(glass.federation)]
    glass.look(after_s=1)
    assert glass.alarms(WITHHELD) == [(RENHE, 1, ABSENT)]
    assert glass.alarms(UNREACHABLE) == []
    [row] = [row for row in listed(glass.federation) if row["key"] == glass.key.hex()]
    assert (row["answer"], row["custodian"], row["silent"]) == (ABSENT, RENHE, False)
    assert (row["since"], row["version"]) == (NOW, 1)


def test_attack_a_custodian_tells_no_regulator_of_any_version(glass):
    glass.told(lost=(COMMISSION,))
    glass.told(glass.objected(), lost=(COMMISSION,))
    reviewed = replace(glass.content, review=Review("chief", "justified", NOW))
    glass.told(reviewed, ENDED, lost=(COMMISSION,))
    glass.federation.tamper = _answering(NotFoundError(ABSENT))
    glass.look()
    assert glass.missing() == [1, 2, 3]
    glass.look(after_s=GRACE_S)
    assert [(who, version) for who, version, _ in glass.alarms(WITHHELD)] == [(RENHE, 1), (RENHE, 2), (RENHE, 3)]


def test_an_acknowledged_alarm_does_not_come_back_and_what_is_missing_stays_listed_until_it_comes(glass):
    glass.told(lost=(COMMISSION,))
    glass.federation.tamper = _answering(NotFoundError(ABSENT))
    glass.look()
    glass.look(after_s=GRACE_S)
    records = glass.site().records
    for row in records.alarms(code=WITHHELD):
        records.acknowledge(row.id, "asked by telephone", NOW)
    glass.federation.crash(COMMISSION)
    glass.look(after_s=60)
    assert glass.alarms(WITHHELD) == []
    assert glass.key.hex() in [row["key"] for row in listed(glass.federation)]
    glass.federation.tamper = _nothing
    glass.look(after_s=60)
    assert glass.has(1)
    assert glass.key.hex() not in [row["key"] for row in listed(glass.federation)]


def test_attack_a_custodian_serves_another_body_than_the_ledgers(glass):
    glass.told(lost=(COMMISSION,))
    other = build_body(EMERGENCY, replace(glass.content, staff="Dr Wang").to_content(), None, fresh)
    item = OpenedBody(glass.key, 1, other.redact(SUPERVISED_FIELDS))
    sealed = seal_body(key(COMMISSION, "encryption"), genesis().ledger, item)

    def lie(what: str, _sender: str, _receiver: str, data: bytes) -> bytes:
        return bodies_document(None, [sealed]) if what == "fetched" else data

    glass.federation.tamper = lie
    glass.look()
    assert not glass.has(1)
    glass.look(after_s=GRACE_S)
    assert not glass.has(1)
    assert glass.alarms(WITHHELD) == [(RENHE, 1, "body.hash")]


def test_attack_a_custodian_serves_a_body_that_breaks_a_rule_and_it_is_evidence(glass):
    """It has the ledger's hash, and hides why somebody looked."""
    glass.told(lost=(COMMISSION,))
    whole = glass.site(RENHE).node.shelf.at(glass.key, 1)
    item = OpenedBody(glass.key, 1, whole.redact(SUPERVISED_FIELDS - {"reason"}))
    sealed = seal_body(key(COMMISSION, "encryption"), genesis().ledger, item)
    glass.federation.tamper = lambda what, _sender, _receiver, data: (
        bodies_document(None, [sealed]) if what == "fetched" else data
    )
    glass.look()
    glass.site().node.verdicts.settle()
    assert (glass.missing(), glass.alarms(REFUSED)) == ([], [(RENHE, 1, "body.malformed")])


def test_a_custodian_that_is_down_for_a_day_is_unreachable_and_no_liar(glass):
    glass.told(lost=(COMMISSION,))
    glass.federation.down.add(RENHE)
    glass.look()
    for _ in range(24):
        glass.look(after_s=3600)
    assert glass.alarms(UNREACHABLE) == [(RENHE, 1, "peer.unreachable")]
    [row] = [row for row in listed(glass.federation) if row["key"] == glass.key.hex()]
    assert (row["answer"], row["silent"]) == ("peer.unreachable", True)
    glass.federation.down.clear()
    glass.look()
    assert (glass.has(1), glass.missing(), glass.alarms(WITHHELD)) == (True, [], [])


def test_a_custodian_that_comes_back_and_gives_nothing_is_named_for_that_as_well(glass):
    glass.told(lost=(COMMISSION,))
    glass.federation.down.add(RENHE)
    glass.look()
    glass.look(after_s=GRACE_S)
    glass.federation.down.clear()
    glass.federation.tamper = _answering(NotFoundError(ABSENT))
    glass.look(after_s=30)
    assert (len(glass.alarms(UNREACHABLE)), glass.alarms(WITHHELD)) == (1, [(RENHE, 1, ABSENT)])


def test_a_suspended_custodian_cannot_be_asked_and_is_not_said_to_withhold(glass):
    glass.told(lost=(COMMISSION,))
    glass.federation.tamper = _answering(NotFoundError("peer.unknown"))
    glass.look()
    glass.look(after_s=GRACE_S)
    assert (glass.alarms(UNREACHABLE), glass.alarms(WITHHELD)) == ([(RENHE, 1, "peer.unknown")], [])


@pytest.mark.parametrize("code", ["peer_auth.unknown", "peer_auth.time"])
def test_who_is_not_let_in_cannot_ask_and_accuses_nobody_of_withholding(glass, code):
    """A regulator that is suspended, or whose clock is wrong, is refused by honest custodians."""
    glass.told(lost=(COMMISSION,))
    glass.federation.tamper = _answering(AccessDeniedError(code))
    glass.look()
    glass.look(after_s=GRACE_S)
    assert (glass.alarms(UNREACHABLE), glass.alarms(WITHHELD)) == ([(RENHE, 1, code)], [])


def test_a_body_that_comes_late_within_the_grace_raises_nothing(glass):
    glass.told(lost=(COMMISSION,))
    glass.federation.tamper = _answering(UnavailableError("peer.timeout"))
    glass.look()
    assert glass.missing() == [1]
    glass.federation.tamper = _nothing
    glass.look(after_s=GRACE_S - 1)
    glass.look(after_s=GRACE_S)
    assert (glass.has(1), glass.missing()) == (True, [])
    assert (glass.alarms(WITHHELD), glass.alarms(UNREACHABLE)) == ([], [])


@pytest.mark.usefixtures("glass")
def test_a_regulator_that_asks_is_shown_no_patient_and_a_recipient_all(federation):
    made = Glass(federation, recipient=TONGJI)
    made.told(lost=(COMMISSION, TONGJI))
    made.look()
    made.look(TONGJI)
    assert made.site().node.shelf.at(made.key, 1).content.keys() == SUPERVISED_FIELDS
    # No body names the recipient yet, and no regulator is it: it learns of both with the second version.
    assert (made.has(1, TONGJI), made.missing(TONGJI)) == (False, [])
    made.told(made.objected())
    made.look(TONGJI)
    assert made.site(TONGJI).node.shelf.at(made.key, 1).content["patient"] == made.patient


@pytest.mark.usefixtures("glass")
def test_attack_a_recipient_is_given_the_second_version_long_after_it_was_ordered_and_not_the_first(federation):
    made = Glass(federation, recipient=TONGJI)
    made.told(lost=(COMMISSION, TONGJI))
    made.told(made.objected(), lost=(COMMISSION, TONGJI))
    made.look(TONGJI, GRACE_S)
    assert made.missing(TONGJI) == []
    shelf = made.site(RENHE).node.shelf
    made.site(TONGJI).node.shelf.keep(made.key, 2, shelf.at(made.key, 2))
    federation.tamper = _answering(NotFoundError(ABSENT))
    made.look(TONGJI)
    made.look(TONGJI, GRACE_S)
    assert made.alarms(WITHHELD, TONGJI) == [(RENHE, 1, ABSENT)]


def test_what_is_missing_is_remembered_over_a_crash_and_the_grace_does_not_begin_anew(glass):
    glass.told(lost=(COMMISSION,))
    glass.federation.tamper = _answering(NotFoundError(ABSENT))
    glass.look()
    glass.federation.time += GRACE_S
    glass.federation.crash(COMMISSION)
    glass.look()
    assert glass.alarms(WITHHELD) == [(RENHE, 1, ABSENT)]


def test_a_disk_that_keeps_nothing_accuses_nobody(glass, monkeypatch):
    glass.told(lost=(COMMISSION,))
    glass.federation.tamper = _answering(UnavailableError("peer.timeout"))
    glass.look()
    glass.federation.tamper = _nothing
    store = type(glass.site().ledger)

    def fails(*_arguments: object) -> None:
        raise UnavailableError("store.full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put_body", fails)
        with pytest.raises(UnavailableError, match=r"store\.full"):
            glass.look(after_s=GRACE_S)
    assert (glass.alarms(WITHHELD), glass.alarms(UNREACHABLE)) == ([], [])
    glass.look()
    assert glass.has(1)


def test_a_custodian_that_gives_nothing_keeps_nobody_elses_from_being_asked_for(federation, glass, monkeypatch):
    monkeypatch.setattr("medchain.node.missing.PER_ROUND", 2)
    made = [Glass(federation) for _ in range(5)]
    for one in made:
        one.told(lost=(COMMISSION,))
    kept_back, asked = {one.key.hex() for one in made[1:]}, []

    def some(what: str, _sender: str, _receiver: str, data: bytes) -> bytes:
        if what == "fetch":
            asked.append(parse_canonical(data, max_bytes=4096)["object"])
            if asked[-1] in kept_back:
                raise NotFoundError(ABSENT)
        return data

    federation.tamper = some
    for _ in range(4):
        glass.look()
    assert {one.key.hex() for one in made} <= set(asked)
    assert made[0].has(1)


def asked(glass: Glass, peer: str, **changes: object):
    document = {"object": glass.key.hex(), "type": WANTED_TYPE, "version": 1} | changes
    return glass.site(RENHE).node.bodies.receive(canonical(document), peer)


def test_attack_who_need_not_be_told_asks_for_a_body_and_learns_nothing(glass):
    glass.told()
    assert asked(glass, COMMISSION)["payload"] is None
    for peer in (ANXIN, TONGJI):
        with pytest.raises(NotFoundError, match=r"body\.absent"):
            asked(glass, peer)
    with pytest.raises(UnavailableError, match=BEHIND):
        asked(glass, COMMISSION, version=2)
    with pytest.raises(UnavailableError, match=BEHIND):
        asked(glass, ANXIN, object="00" * 32)
    # Nobody but its custodian gives it.
    with pytest.raises(NotFoundError, match=r"body\.absent"):
        glass.site(TONGJI).node.bodies.receive(
            canonical({"object": glass.key.hex(), "type": WANTED_TYPE, "version": 1}), COMMISSION
        )


@pytest.mark.parametrize("changes", [{"version": "1"}, {"version": True}, {"object": "00"}, {"more": 1}])
def test_a_malformed_question_is_refused(glass, changes):
    glass.told()
    with pytest.raises(InputError):
        asked(glass, COMMISSION, **changes)


def test_attack_a_regulator_asks_for_a_patients_subject(glass):
    """A question is about emergencies alone, though a regulator was one when others were made."""
    done = glass.site(RENHE).node.submitter.submit(Patient(glass.federation).subject())
    with pytest.raises(NotFoundError, match=r"body\.absent"):
        asked(glass, COMMISSION, object=done.key.hex())


def test_who_became_a_regulator_later_misses_nothing_of_before_and_all_from_then_on(tmp_path):
    federation = Federation(tmp_path)
    federation.start()
    try:
        before = Glass(federation)
        before.told()
        _promote(federation, TONGJI)
        after = Glass(federation)
        after.told(lost=(TONGJI,))
        federation.tamper = _answering(NotFoundError(ABSENT))
        after.look(TONGJI)
        assert (before.missing(TONGJI), after.missing(TONGJI)) == ([], [1])
        federation.tamper = _nothing
        with pytest.raises(NotFoundError, match=r"body\.absent"):
            asked(before, TONGJI)
        after.look(TONGJI)
        assert after.has(1, TONGJI)
        # Also who watches from the start of the ledger on, as after an upgrade.
        site = federation.sites[TONGJI]
        site.records.put_missing("emergencies", 0, [])
        MissingBodies(site.node.judge, site.records, site.node.bodies, _answering(NotFoundError(ABSENT))).round()
        assert before.missing(TONGJI) == []
    finally:
        federation.stop()


def _promote(federation: Federation, org_id: str) -> None:
    """Have the members make an organisation a regulator."""
    site = federation.sites[org_id]
    changed = replace(site.ledger.members.organisations[org_id], role="regulator")
    world = World(members=site.ledger.members, height=site.replica.height + 1, time=federation.time)
    voters = [name for name in ROLES if name != org_id]
    leaf = sign(world.public(org_id, ("organisation", organisation_content(changed)), signers=voters)).leaf
    [outcome] = site.node.driver.submit([leaf])
    for one in federation.sites.values():
        while one.ledger.members.organisations[org_id].role != "regulator":
            federation.wait()
    assert outcome is not None
