"""Submitting over five whole nodes: draws, endorsers that are down or lie, bodies, stops, finality."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import MAX_BRACKETS, MAX_DEPTH, base64_text, canonical, parse_canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.kinds import subject
from medchain.ledger.kinds.capacity import Capacity
from medchain.ledger.kinds.passkeys import passkey as passkey_row
from medchain.ledger.members import ENCRYPTION_KEY, make_key
from medchain.ledger.object import MAX_BODY_BYTES, STOPPED, build_body, map_key
from medchain.ledger.policy import draw_order
from medchain.ledger.transaction import (
    Change,
    ObjectRow,
    Signer,
    Stop,
    Transaction,
    pae,
    parse_envelope,
    payload_bytes,
    seal,
)
from medchain.node import stops, submit
from medchain.node.attempts import MAX_ATTEMPTS, read_attempts, write_attempts
from medchain.node.deliver import DELIVER_FOR_S, deliver_kind
from medchain.node.ending import Ending
from medchain.node.endorse import Endorser
from medchain.node.local import LocalClient
from medchain.node.peers import Limits
from medchain.node.records import NewRecord
from medchain.node.sealed_body import OpenedBody, bodies_document, seal_body
from medchain.node.stops import notice
from medchain.node.submit import Draft, Submitter
from tests.unit.medchain.ledger.world import (
    ANXIN,
    COMMISSION,
    RENHE,
    TAIPING,
    TONGJI,
    fresh,
    genesis,
    key,
    ledger_signer,
    seed,
)
from tests.unit.medchain.node.federation import NOW, Federation, Patient, access, grant
from tests.unit.medchain.web import test_node as processes
from tests.waiting import eventually

LEDGER = genesis().ledger


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Federation(tmp_path_factory.mktemp("federation"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def federation(shared):
    """Five nodes, all up and honest at the start of each test."""
    yield shared
    shared.down.clear()
    shared.tamper = Federation.tamper


@pytest.fixture
def hospital(federation):
    return federation.sites[RENHE].node


def drawn(federation, creator=RENHE, rank=0):
    """Return who is drawn for a creator's next transaction."""
    store = federation.sites[creator].replica.store
    return draw_order(store.members, creator, store.draws(creator).number + 1, LEDGER)[rank]


def final(federation, org_id, target, version=1):
    """Wait until an object's version is final at a node; returns its state record."""
    return federation.sites[org_id].node.submitter.wait_final(target, version, 60)[0]


def consented(federation, patient):
    """Enrol a patient and let her consent; returns the consent."""
    node = federation.sites[RENHE].node
    enrolled = node.submitter.submit(patient.subject())
    # Who is given a part of the subject with the consent must know the subject.
    federation.settled(enrolled.key)
    return node.submitter.submit(patient.consent())


def test_the_drawn_organisation_endorses_with_rank_0(federation, hospital):
    expected = drawn(federation)
    done = hospital.submitter.submit(Patient(federation).subject())
    assert (done.endorser, done.rank) == (expected, 0)
    assert final(federation, TONGJI, done.key) == done.record


def test_an_endorser_that_is_down_is_passed_over_and_the_rank_shows_it(federation, hospital):
    first, second = drawn(federation), drawn(federation, rank=1)
    refuse = {first}

    def reach(sender, receiver):
        if receiver in refuse and ("endorse", sender, receiver) == federation.seen[-1]:
            raise UnavailableError("peer.unreachable", peer=receiver)
        return original(sender, receiver)

    original, federation.reach = federation.reach, reach
    try:
        done = hospital.submitter.submit(Patient(federation).subject())
    finally:
        del federation.reach
    assert (done.endorser, done.rank) == (second, 1)
    leaf = hospital.replica.store.leaf(done.record.since)
    draw = parse_envelope(leaf).transaction.draw
    assert draw.rank == 1


def test_a_party_is_never_the_endorser_and_the_next_rank_signs(federation, hospital):
    patient = Patient(federation)
    for _ in range(3):
        done = hospital.submitter.submit(Patient(federation).subject((RENHE, TONGJI)))
        assert done.endorser == COMMISSION
    assert patient.key != done.key


def test_without_any_endorser_nothing_is_submitted(federation, hospital):
    federation.down |= {TONGJI, COMMISSION}
    patient = Patient(federation)
    with pytest.raises(UnavailableError) as caught:
        hospital.submitter.submit(patient.subject())
    assert caught.value.code == "submit.no_endorser"
    assert hospital.replica.store.record(patient.key) is None


def test_an_endorser_that_refuses_is_not_shopped_around(federation, hospital):
    federation.tamper = lambda what, *_, data=None: b"{}" if what == "endorse" else data

    def tamper(what, _sender, _receiver, data):
        return b"{}" if what == "endorse" else data

    federation.tamper = tamper
    federation.seen.clear()
    with pytest.raises(InputError):
        hospital.submitter.submit(Patient(federation).subject())
    assert [what for what, _, _ in federation.seen] == ["endorse"]


def test_a_forged_endorsement_is_noticed_before_anything_is_submitted(federation, hospital):
    def tamper(what, _sender, _receiver, data):
        if what != "endorsement":
            return data
        answer = parse_canonical(data, max_bytes=9999)
        return canonical({**answer, "signature": "A" * 86 + "=="})

    federation.tamper = tamper
    patient = Patient(federation)
    with pytest.raises(VerificationError) as caught:
        hospital.submitter.submit(patient.subject())
    assert caught.value.code == "endorse.signature"
    assert hospital.replica.store.record(patient.key) is None


def test_what_this_node_itself_would_refuse_reaches_nobody(federation, hospital):
    federation.seen.clear()
    with pytest.raises(VerificationError) as caught:
        hospital.submitter.submit(Patient(federation).consent())
    assert caught.value.code == "consent.subject"
    assert federation.seen == []


def test_kinds_without_a_sealed_body_are_refused(hospital):
    body = build_body("record", {"a": 1}, None, fresh)
    with pytest.raises(InputError) as caught:
        hospital.submitter.submit(Draft("record", fresh(16), body))
    assert caught.value.code == "submit.kind"


def test_a_subject_is_renewed_under_the_passkey_and_its_next_version_endorsed(federation, hospital):
    patient = Patient(federation)
    hospital.submitter.submit(patient.subject())
    renewed = hospital.submitter.submit(patient.linked((RENHE, TAIPING), *hospital.shelf.head(patient.key)))
    assert renewed.record.version == 2
    final(federation, TAIPING, patient.key, 2)
    body = federation.sites[TAIPING].node.shelf.head(patient.key)[1]
    assert body.content["custodians"] == [RENHE, TAIPING]


def test_a_body_reaches_exactly_its_parties(federation, hospital):
    patient = Patient(federation)
    allowed = consented(federation, patient)
    endorser = federation.sites[allowed.endorser]
    for org_id in (RENHE, ANXIN):
        assert federation.sites[org_id].node.shelf.at(allowed.key, 1).is_full
    assert endorser.node.shelf.at(allowed.key, 1).is_full
    others = {RENHE, ANXIN, TAIPING, TONGJI, COMMISSION} - {RENHE, ANXIN, allowed.endorser}
    assert all(federation.sites[org_id].node.shelf.at(allowed.key, 1) is None for org_id in others)
    assert hospital.shelf.head(allowed.key)[0].version == 1


def test_a_party_that_is_down_gets_its_body_later(federation, hospital):
    patient = Patient(federation)
    hospital.submitter.submit(patient.subject())
    federation.down.add(ANXIN)
    allowed = hospital.submitter.submit(patient.consent())
    assert hospital.deliveries.round() == 2
    federation.down.clear()
    final(federation, ANXIN, allowed.key)
    assert eventually(lambda: hospital.deliveries.round() == 0)
    insurer = federation.sites[ANXIN].node
    assert insurer.shelf.head(allowed.key)[1].is_full
    assert set(insurer.shelf.head(patient.key)[1].content) == subject.RECIPIENT_FIELDS
    assert federation.sites[RENHE].records.pending(9, kind=deliver_kind(ANXIN)) == []


def test_what_was_never_ordered_is_not_offered_for_ever(federation, hospital):
    patient = Patient(federation)
    draft = patient.subject()
    site = federation.sites[RENHE]
    hospital.shelf.keep(patient.key, 1, draft.body)
    document = {"fields": ["passkeys"], "key": patient.key.hex(), "org_id": ANXIN, "version": 1}
    site.records.put_intent(deliver_kind(ANXIN), canonical(document), NOW - 600)
    site.records.put_intent(deliver_kind(ANXIN), canonical({**document, "key": "00" * 32}), NOW)
    assert hospital.deliveries.round() == 1
    site.records.drop_intents([intent.id for intent in site.records.pending(9, kind=deliver_kind(ANXIN))])
    site.records.put_intent(deliver_kind(ANXIN), canonical(document), NOW - 601)
    assert hospital.deliveries.round() == 0
    assert site.records.pending(9, kind=deliver_kind(ANXIN)) == []


def test_an_answer_that_was_lost_is_asked_for_again(federation, hospital):
    lost = []

    def lose(leaves):
        outcomes = hospital.driver.submit(leaves)
        if not lost:
            lost.append(outcomes)
            raise UnavailableError("peer.broken")
        return outcomes

    patient = Patient(federation)
    submitter = hospital.submitter
    original, submitter._submit = submitter._submit, lose  # noqa: SLF001  # the network loses an answer
    try:
        done = submitter.submit(patient.subject())
    finally:
        submitter._submit = original  # noqa: SLF001  # and is whole again
    assert len(lost) == 1
    assert done.record.version == 1
    assert len(hospital.replica.store.history(patient.key)) == 1


def test_without_a_quorum_nothing_is_reported_as_final(federation, hospital):
    patient = Patient(federation)
    federation.down |= {ANXIN, TAIPING}
    with pytest.raises(UnavailableError) as caught:
        hospital.submitter.submit(patient.subject(), timeout_s=0.5)
    assert caught.value.code == "submit.not_final"
    federation.down.clear()
    assert final(federation, RENHE, patient.key).version == 1


def test_many_at_once_get_numbers_of_their_own(federation, hospital):
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(hospital.submitter.submit(Patient(federation).subject())))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = {parse_envelope(hospital.replica.store.leaf(item.record.since)).transaction.draw.number for item in done}
    assert len(numbers) == len(done) == 6


def test_an_access_entry_goes_to_the_recipient_and_is_placed_once(federation, hospital):
    allowed = consented(federation, Patient(federation))
    granted = hospital.submitter.submit(grant(allowed.key))
    draft = access(allowed.key, granted.key)
    first = hospital.submitter.submit(draft)
    size = hospital.replica.size
    again = hospital.submitter.submit(draft)
    assert (first.endorser, again.record) == (None, first.record)
    assert hospital.replica.size == size
    assert federation.sites[ANXIN].node.shelf.at(first.key, 1).is_full
    with pytest.raises(ConflictError) as caught:
        hospital.submitter.submit(access(allowed.key, granted.key))
    assert caught.value.code == "transaction.version"


def test_an_access_after_its_consent_was_stopped_is_refused_by_order(federation, hospital):
    allowed = consented(federation, Patient(federation))
    granted = hospital.submitter.submit(grant(allowed.key))
    hospital.stops.stop(allowed.key)
    hospital.driver.outbox.step()
    assert eventually(lambda: hospital.replica.store.record(allowed.key).status == STOPPED)
    draft = access(allowed.key, granted.key)
    with pytest.raises(ConflictError) as caught:
        hospital.submitter.submit(draft)
    assert caught.value.code == "transaction.stopped"


def test_a_stop_binds_its_parties_before_it_is_ordered(federation, hospital):
    allowed = consented(federation, Patient(federation))
    final(federation, ANXIN, allowed.key)
    insurer = federation.sites[ANXIN].node
    insurer.stops.stop(allowed.key)
    assert insurer.stops.is_stopped(allowed.key)
    assert hospital.stops.is_stopped(allowed.key)
    assert hospital.replica.store.record(allowed.key).status == "active"


def test_a_stop_outlives_a_crash_and_comes_to_the_ledger(federation):
    allowed = consented(federation, Patient(federation))
    federation.sites[RENHE].node.stops.stop(allowed.key)
    site = federation.crash(RENHE)
    assert site.node.stops.is_stopped(allowed.key)
    site.node.stops.settle()
    site.node.driver.outbox.step()
    assert eventually(lambda: site.replica.store.record(allowed.key).status == STOPPED)
    final(federation, RENHE, allowed.key, 2)
    assert eventually(lambda: site.node.stops.settle() == 0)
    assert site.records.pending(9, kind="stop") == []
    assert site.node.stops.is_stopped(allowed.key)


@pytest.mark.parametrize("refusal", [VerificationError("body.hash"), AccessDeniedError("x.y"), InputError("x.z")])
def test_a_party_that_refuses_a_body_has_no_veto_over_a_consent(federation, hospital, monkeypatch, refusal):
    patient = Patient(federation)
    hospital.submitter.submit(patient.subject())

    def refuse(what, _sender, receiver, document):
        if (what, receiver) == ("push", ANXIN):
            raise refusal
        return document

    monkeypatch.setattr(federation, "tamper", refuse)
    made = hospital.submitter.submit(patient.consent())
    assert made.record.status == "active"
    assert hospital.deliveries.round() == 2
    monkeypatch.undo()
    assert eventually(lambda: hospital.deliveries.round() == 0)
    assert federation.sites[ANXIN].node.shelf.at(made.key, 1).is_full


def test_an_endorser_with_a_key_that_seals_nothing_is_passed_over_as_if_it_were_down():
    # Every coefficient of the lattice key is out of range; the ledger takes it, since only its size is judged there.
    broken = make_key(COMMISSION, ENCRYPTION_KEY, base64_text(b"\xff" * 1184 + bytes(32)))
    body = build_body("subject", {"nonce": "x"}, None, fresh)
    with pytest.raises(UnavailableError, match=r"body\.unsealable"):
        seal_body(broken, LEDGER, OpenedBody(bytes(32), 1, body))


def test_an_object_that_its_creator_ends_before_a_stop_is_ordered_holds_up_no_other_stop(federation, hospital):
    first, second = (consented(federation, Patient(federation, name)) for name in ("first", "second"))
    final(federation, ANXIN, second.key)
    insurer = federation.sites[ANXIN].node
    insurer.stops.stop(first.key)
    insurer.stops.stop(second.key)
    body = hospital.shelf.at(first.key, 1)
    hospital.submitter.submit(Draft("consent", first.record.id, body, status="ended"))
    final(federation, ANXIN, first.key, 2)
    insurer.stops.settle()
    insurer.driver.outbox.step()
    assert eventually(lambda: insurer.replica.store.record(second.key).status == STOPPED)
    final(federation, ANXIN, second.key, 2)
    assert eventually(lambda: insurer.stops.settle() == 0)
    assert insurer.replica.store.record(first.key).status == "ended"


def test_a_withdrawal_carries_the_patients_signature_to_every_party(federation, hospital):
    patient = Patient(federation)
    allowed = consented(federation, patient)
    final(federation, ANXIN, allowed.key)
    evidence = patient.withdrawal(allowed.key, 2, allowed.record.digest)
    leaf = hospital.stops.stop(allowed.key, evidence)
    assert parse_envelope(leaf).transaction.evidence == evidence.body_hash
    assert federation.sites[ANXIN].node.shelf.at(allowed.key, 2) == evidence
    hospital.driver.outbox.step()
    assert final(federation, RENHE, allowed.key, 2).body_hash == evidence.body_hash


def deepest(body):
    """Give a body evidence in which there are as many lists in each other as may be read."""
    value = 0
    for _ in range(MAX_DEPTH - len(("body", "evidence"))):
        value = [value]
    return body.with_evidence(fresh(32), value)


@pytest.mark.parametrize("changed", [lambda body: body, deepest], ids=["usual", "deep"])
def test_an_attempt_at_the_version_that_a_withdrawal_makes_keeps_nobody_from_it(federation, hospital, changed):
    patient = Patient(federation)
    allowed = consented(federation, patient)
    final(federation, ANXIN, allowed.key)
    for org_id in (RENHE, ANXIN):
        federation.sites[org_id].node.shelf.keep(allowed.key, 2, changed(patient.consent().body))
    evidence = patient.withdrawal(allowed.key, 2, allowed.record.digest)
    hospital.stops.stop(allowed.key, evidence)
    assert hospital.stops.is_stopped(allowed.key)
    hospital.driver.outbox.step()
    for org_id in (RENHE, ANXIN):
        final(federation, org_id, allowed.key, 2)
        node = federation.sites[org_id].node
        assert node.shelf.head(allowed.key)[1] == evidence
        assert node.stops.ending(allowed.key).how is Ending.PATIENT


def test_attack_announced_bodies_do_not_push_out_the_patients_signature_that_waits_for_its_block(federation, hospital):
    patient = Patient(federation)
    allowed = consented(federation, patient)
    final(federation, ANXIN, allowed.key)
    insurer = federation.sites[ANXIN].node
    evidence = patient.withdrawal(allowed.key, 2, allowed.record.digest)
    hospital.stops.stop(allowed.key, evidence)
    for _ in range(MAX_ATTEMPTS):
        body = patient.consent().body
        payload = announced(body, allowed.record.id, version=2)
        with pytest.raises(VerificationError, match=r"body\.unknown"):
            insurer.bodies.receive(delivery(payload, allowed.key, body, ANXIN, 2), RENHE)
    assert insurer.stops.ending(allowed.key).how is Ending.PATIENT
    hospital.driver.outbox.step()
    final(federation, ANXIN, allowed.key, 2)
    assert insurer.stops.ending(allowed.key).how is Ending.PATIENT


def test_attack_a_body_announced_before_a_stop_does_not_take_the_patients_signature_with_it(federation, hospital):
    patient = Patient(federation)
    allowed = consented(federation, patient)
    final(federation, ANXIN, allowed.key)
    insurer = federation.sites[ANXIN].node
    body, evidence = patient.consent().body, patient.withdrawal(allowed.key, 2, allowed.record.digest)
    payload = announced(body, allowed.record.id, until=NOW - 10_000, version=2)
    insurer.bodies.receive(delivery(payload, allowed.key, body, ANXIN, 2), RENHE)
    hospital.stops.stop(allowed.key, evidence)
    insurer.bodies.expire()
    assert insurer.stops.ending(allowed.key).how is Ending.PATIENT
    hospital.driver.outbox.step()
    final(federation, ANXIN, allowed.key, 2)
    insurer.bodies.expire()
    assert insurer.stops.ending(allowed.key).how is Ending.PATIENT
    assert read_attempts(federation.sites[ANXIN].ledger.body(allowed.key, 2)) == [evidence]


def test_a_party_that_was_down_is_brought_the_patients_signature_once_the_ledger_has_the_withdrawal(federation):
    """Also where the node is killed before it has told anybody: else it alone could show who ended the consent."""
    patient, site = Patient(federation), federation.sites[RENHE]
    allowed = consented(federation, patient)
    final(federation, ANXIN, allowed.key)
    evidence = patient.withdrawal(allowed.key, 2, allowed.record.digest)

    def killed(*_: object) -> None:
        raise Killed

    site.node.stops._tell = killed  # noqa: SLF001  # what comes after the stop binds
    with pytest.raises(Killed):
        site.node.stops.stop(allowed.key, evidence)
    federation.crash(RENHE)
    assert eventually(lambda: site.node.stops.settle() + site.node.driver.outbox.step() == 0)
    final(federation, ANXIN, allowed.key, 2)
    assert eventually(lambda: site.node.deliveries.round() == 0)
    insurer = federation.sites[ANXIN].node
    assert insurer.shelf.at(allowed.key, 2) == evidence
    assert insurer.stops.ending(allowed.key).how is Ending.PATIENT


def test_a_withdrawal_that_the_patient_did_not_sign_is_refused(federation, hospital):
    patient = Patient(federation)
    allowed = consented(federation, patient)
    stranger = Patient(federation, "stranger")
    stranger.key = patient.key
    with pytest.raises(VerificationError) as caught:
        hospital.stops.stop(allowed.key, stranger.withdrawal(allowed.key, 2, allowed.record.digest))
    assert caught.value.code == "signing.credential"
    assert not hospital.stops.is_stopped(allowed.key)


def test_what_cannot_be_stopped_or_is_unknown_says_so(federation, hospital):
    with pytest.raises(NotFoundError) as caught:
        hospital.stops.stop(fresh(32))
    assert caught.value.code == "stop.unknown"
    patient = Patient(federation)
    hospital.submitter.submit(patient.subject())
    with pytest.raises(ConflictError) as caught:
        hospital.stops.stop(patient.key)
    assert caught.value.code == "stop.not_stoppable"
    allowed = hospital.submitter.submit(patient.consent())
    hospital.stops.stop(allowed.key)
    with pytest.raises(ConflictError) as caught:
        hospital.stops.stop(allowed.key)
    assert caught.value.code == "stop.repeated"


def stop_leaf(target, preimage, creator=ANXIN, signer=ANXIN, evidence=None):
    """Sign a stop."""
    key_id = key(creator, "ledger").id
    made = Stop(creator, target, preimage, evidence, (Signer(key_id, "submitter"),), LEDGER, fresh(16), None, 1)
    payload = payload_bytes(made)
    return seal(payload, [(key_id, ledger_signer(signer).sign(pae(payload)))]).leaf


def test_a_notice_without_the_preimage_or_with_a_forged_signature_binds_nobody(federation, hospital):
    allowed = consented(federation, Patient(federation))
    preimage = bytes.fromhex(hospital.shelf.head(allowed.key)[1].content["stop"])
    for leaf, code in (
        (stop_leaf(allowed.key, fresh(32)), "stop.preimage"),
        (stop_leaf(allowed.key, preimage, signer=TONGJI), "transaction.signature"),
        (stop_leaf(fresh(32), preimage), "stop.unknown"),
    ):
        with pytest.raises(VerificationError) as caught:
            hospital.bodies.receive(notice(leaf, []), ANXIN)
        assert caught.value.code == code
    assert not hospital.stops.is_stopped(allowed.key)
    hospital.bodies.receive(notice(stop_leaf(allowed.key, preimage), []), TONGJI)
    assert hospital.stops.is_stopped(allowed.key)


def test_evidence_that_the_stop_does_not_name_is_refused(federation, hospital):
    patient = Patient(federation)
    allowed = consented(federation, patient)
    preimage = bytes.fromhex(hospital.shelf.head(allowed.key)[1].content["stop"])
    evidence = patient.withdrawal(allowed.key, 2, allowed.record.digest)
    sealed = seal_body(key(RENHE, ENCRYPTION_KEY), LEDGER, OpenedBody(allowed.key, 2, evidence))
    with pytest.raises(VerificationError) as caught:
        hospital.bodies.receive(notice(stop_leaf(allowed.key, preimage), [sealed]), ANXIN)
    assert caught.value.code == "body.unknown"
    assert not hospital.stops.is_stopped(allowed.key)


def test_false_evidence_for_a_stop_that_was_heard_replaces_nothing(federation, hospital):
    patient = Patient(federation)
    allowed = consented(federation, patient)
    preimage = bytes.fromhex(hospital.shelf.head(allowed.key)[1].content["stop"])
    evidence = patient.withdrawal(allowed.key, 2, allowed.record.digest)
    hospital.stops.stop(allowed.key, evidence)
    false = patient.withdrawal(allowed.key, 2, allowed.record.digest)
    sealed = seal_body(key(RENHE, ENCRYPTION_KEY), LEDGER, OpenedBody(allowed.key, 2, false))
    for digest in (None, false.body_hash):
        hospital.bodies.receive(notice(stop_leaf(allowed.key, preimage, evidence=digest), [sealed]), ANXIN)
        assert hospital.shelf.at(allowed.key, 2) == evidence


def test_the_same_notice_again_changes_nothing(federation, hospital):
    allowed = consented(federation, Patient(federation))
    preimage = bytes.fromhex(hospital.shelf.head(allowed.key)[1].content["stop"])
    document = notice(stop_leaf(allowed.key, preimage), [])
    for _ in range(2):
        assert hospital.bodies.receive(document, ANXIN)["stopped"] == allowed.key.hex()
    intents = federation.sites[RENHE].records.pending(99, kind="stop")
    assert sum(parse_envelope(intent.payload).transaction.object == allowed.key for intent in intents) == 1


def test_a_notice_of_another_form_is_refused(hospital):
    leaf = stop_leaf(fresh(32), fresh(32))
    with pytest.raises(InputError):
        hospital.bodies.receive(notice(leaf, []).replace(b'"bodies":[]', b'"bodies":{}'), ANXIN)


def announced(body, object_id, creator=RENHE, until=NOW, version=1):
    """Write a payload that announces a body."""
    change = Change(body.kind, "active", (ObjectRow(object_id, version, body.body_hash),))
    signers = (Signer(key(creator, "ledger").id, "creator"),)
    return payload_bytes(Transaction(creator, (change,), (), signers, None, LEDGER, fresh(16), until, 1))


def delivery(payload, target, body, receiver=TONGJI, version=1):
    """Write a delivery of one body."""
    return bodies_document(
        payload, [seal_body(key(receiver, ENCRYPTION_KEY), LEDGER, OpenedBody(target, version, body))]
    )


def test_a_body_with_another_hash_than_announced_is_refused(federation):
    patient = Patient(federation)
    draft, other = patient.subject(), patient.subject()
    receiver = federation.sites[TONGJI].node
    with pytest.raises(VerificationError) as caught:
        receiver.bodies.receive(delivery(announced(draft.body, draft.object_id), patient.key, other.body), RENHE)
    assert caught.value.code == "body.hash"
    assert receiver.shelf.at(patient.key, 1) is None


def test_a_body_is_taken_only_from_the_owner_and_only_for_what_is_announced(federation):
    patient = Patient(federation)
    draft = patient.subject()
    receiver = federation.sites[TONGJI].node
    payload = announced(draft.body, draft.object_id)
    for document, peer, code in (
        (delivery(payload, patient.key, draft.body), ANXIN, "body.creator"),
        (delivery(payload, fresh(32), draft.body), RENHE, "body.unknown"),
        (delivery(payload, patient.key, draft.body, version=2), RENHE, "body.unknown"),
        (delivery(None, patient.key, draft.body), RENHE, "body.unknown"),
        (delivery(payload, patient.key, draft.body, receiver=ANXIN), RENHE, "body.key"),
    ):
        with pytest.raises(VerificationError) as caught:
            receiver.bodies.receive(document, peer)
        assert caught.value.code == code
    receiver.bodies.receive(delivery(payload, patient.key, draft.body), RENHE)
    assert receiver.shelf.at(patient.key, 1) == draft.body


def test_the_ledgers_hash_counts_before_a_payloads(federation, hospital):
    patient = Patient(federation)
    done = hospital.submitter.submit(patient.subject((RENHE, TAIPING)))
    final(federation, TAIPING, done.key)
    other = patient.subject()
    with pytest.raises(VerificationError) as caught:
        federation.sites[TAIPING].node.bodies.receive(
            delivery(announced(other.body, other.object_id), patient.key, other.body, TAIPING), RENHE
        )
    assert caught.value.code == "body.hash"


def test_the_newest_attempts_stay_count_against_the_quota_and_go_when_they_can_be_accepted_no_more(federation):
    patient = Patient(federation)
    site = federation.sites[TONGJI]
    drafts = [patient.subject() for _ in range(MAX_ATTEMPTS + 1)]
    before = site.records.unaccepted_of(RENHE)
    for draft in drafts:
        sent = delivery(announced(draft.body, draft.object_id, until=NOW - 10_000), patient.key, draft.body)
        site.node.bodies.receive(sent, RENHE)
        assert site.node.shelf.at(patient.key, 1) == draft.body
    kept = site.ledger.body(patient.key, 1)
    assert read_attempts(kept) == [draft.body for draft in drafts[1:]]
    # One version, and all that lies at it.
    count, size = site.records.unaccepted_of(RENHE)
    assert (count - before[0], size - before[1] >= len(kept)) == (1, True)
    site.node.bodies.expire()
    assert site.ledger.body(patient.key, 1) is None
    assert site.node.shelf.at(patient.key, 1) is None


def test_attempts_that_can_be_read_one_by_one_can_be_read_together():
    """Else one member could have what reads all bodies, an erasure first of all, fail at each other one."""
    # As many brackets as a body has room for, in lists that are not too deep.
    value = parse_canonical(b"[" + b",".join([b"[" * 20 + b"]" * 20] * 12_600) + b"]", max_bytes=MAX_BODY_BYTES)
    bodies = [build_body("consent", {"note": "one\ntwo"}, value, fresh) for _ in range(MAX_ATTEMPTS)]
    written = write_attempts(bodies)
    assert written.count(b"[") > MAX_BRACKETS
    assert read_attempts(written) == bodies
    deep = deepest(bodies[0])
    assert read_attempts(write_attempts([deep, bodies[0]])) == [deep, bodies[0]]
    assert read_attempts(canonical(deep.to_json())) == [deep]
    for wrong in (b"", b"\n", canonical(deep.to_json()) + b"\n", canonical([row.to_json() for row in [bodies[0]]])):
        with pytest.raises(InputError):
            read_attempts(wrong)


def test_the_same_attempt_again_is_the_newest_once_more(federation):
    patient, shelf = Patient(federation), federation.sites[TONGJI].node.shelf
    first, second = patient.subject().body, patient.subject().body
    for body, expected in ((first, [first]), (second, [first, second]), (first, [second, first])):
        shelf.keep(patient.key, 1, body)
        assert read_attempts(federation.sites[TONGJI].ledger.body(patient.key, 1)) == expected
    shelf.destroy(patient.key)
    assert federation.sites[TONGJI].ledger.body(patient.key, 1) is None


def held_back(federation, monkeypatch) -> list[bytes]:
    """Have what Renhe submits come to nobody; gives the transactions."""
    waiting: list[bytes] = []

    def stalled(leaves):
        waiting.extend(one for one in leaves if one not in waiting)
        raise UnavailableError("ordering.no_quorum")

    monkeypatch.setattr(federation.sites[RENHE].node.submitter, "_submit", stalled)
    # How long it is tried.
    monkeypatch.setattr(submit, "UNTIL_S", 1)
    return waiting


@pytest.mark.parametrize("is_restarted", [False, True])
def test_whichever_of_two_attempts_is_ordered_its_body_is_here_and_at_the_parties(
    federation, monkeypatch, is_restarted
):
    """Or nothing could be built on the subject any more: no passkey, no consent."""
    patient = Patient(federation)
    hospital, party = federation.sites[RENHE], federation.sites[TAIPING]
    hospital.node.submitter.submit(patient.subject())
    drafts = [patient.linked((RENHE, TAIPING), *hospital.node.shelf.head(patient.key)) for _ in range(2)]
    assert drafts[0].body.body_hash != drafts[1].body.body_hash
    with monkeypatch.context() as patch:
        # An endorser that has forgotten what it promised, or another one that is drawn.
        patch.setattr(Endorser, "_promise", lambda *_asked: None)
        waiting = held_back(federation, patch)
        for draft in drafts:
            with pytest.raises(UnavailableError, match="no_quorum"):
                hospital.node.submitter.submit(draft)
    if is_restarted:
        federation.crash(RENHE)
        federation.crash(TAIPING)
    # Found by either of them, read from the file.
    assert hospital.node.shelf.index.holders(patient.authenticator.credential_id).count(patient.key) == 1
    hospital.node.driver.submit([waiting[0]])
    final(federation, RENHE, patient.key, 2)
    final(federation, TAIPING, patient.key, 2)
    for site in (hospital, party):
        assert site.node.shelf.head(patient.key)[1] == drafts[0].body
        site.node.shelf.keep(patient.key, 2, drafts[0].body)
        assert site.node.shelf.ordered(site.ledger.version(patient.key, 2)) == drafts[0].body
        with pytest.raises(ConflictError, match=r"body\.conflict"):
            site.node.shelf.keep(patient.key, 2, drafts[1].body)
        site.node.verdicts.note(patient.key, 2)
        site.node.verdicts.settle()
        assert read_attempts(site.ledger.body(patient.key, 2)) == [drafts[0].body]
    consent = hospital.node.submitter.submit(patient.consent())
    renewed = patient.linked((ANXIN, RENHE, TAIPING), *hospital.node.shelf.head(patient.key))
    assert hospital.node.submitter.submit(renewed).record.version == 3
    assert consent.record.version == 1


def test_other_attempts_stay_until_what_was_ordered_is_final(federation, hospital, monkeypatch):
    patient = Patient(federation)
    done = hospital.submitter.submit(patient.subject())
    store = federation.sites[RENHE].ledger
    accepted, other = hospital.shelf.held_at(done.key, 1), patient.subject().body
    store.replace_body(done.key, 1, write_attempts([accepted, other]))
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "final", lambda _store: None)
        hospital.verdicts.note(done.key, 1)
        hospital.verdicts.settle()
        assert read_attempts(store.body(done.key, 1)) == [accepted, other]
    hospital.verdicts.settle()
    assert read_attempts(store.body(done.key, 1)) == [accepted]


def test_a_body_that_can_be_accepted_no_more_is_destroyed_and_an_accepted_one_is_not(federation, hospital):
    patient, stray = Patient(federation), Patient(federation)
    done = hospital.submitter.submit(patient.subject((RENHE, TONGJI)))
    final(federation, TONGJI, done.key)
    receiver, draft = federation.sites[TONGJI].node, stray.subject()
    payload = announced(draft.body, draft.object_id, until=NOW - 10_000)
    receiver.bodies.receive(delivery(payload, stray.key, draft.body), RENHE)
    assert receiver.shelf.at(stray.key, 1) == draft.body
    receiver.bodies.expire()
    assert receiver.shelf.at(stray.key, 1) is None
    assert receiver.shelf.at(done.key, 1) is not None
    receiver.shelf.destroy_unaccepted(done.key, 1)
    assert receiver.shelf.at(done.key, 1) is not None


def test_of_two_parts_of_a_body_the_one_that_shows_more_stays(federation, hospital):
    patient = Patient(federation)
    done = hospital.submitter.submit(patient.subject())
    body = hospital.shelf.at(done.key, 1)
    part = body.redact(subject.RECIPIENT_FIELDS)
    receiver = federation.sites[ANXIN].node
    final(federation, ANXIN, done.key)
    for shown, kept in ((part, part), (body, body), (part, body)):
        receiver.bodies.receive(delivery(None, done.key, shown, ANXIN), RENHE)
        assert receiver.shelf.at(done.key, 1) == kept


def test_a_delivery_of_another_form_is_refused(hospital):
    for document in (canonical([]), canonical({"bodies": [], "payload": None, "type": "x"}), bodies_document(None, [])):
        with pytest.raises(InputError):
            hospital.bodies.receive(document, ANXIN)


def test_a_crash_of_the_whole_node_between_submission_and_mark_loses_and_doubles_nothing(federation):
    site = federation.sites[TONGJI]
    rows = site.service.create_many(
        [NewRecord("Observation", f"crash-{n}", b'{"resourceType":"Observation"}', f"p{n}") for n in range(5)]
    )
    site.node.anchor.round()
    site = federation.crash(TONGJI)
    assert eventually(lambda: site.node.anchor.round() is not None and not site.records.pending(1, kind="anchor"))
    for row in rows:
        history = site.replica.store.history(map_key("record", TONGJI, row.object_id))
        assert [record.version for record in history] == [1]
        assert site.records.by_object(row.object_id).position == history[0].since


def test_an_attempt_that_was_lost_after_its_endorsement_may_come_later_and_is_no_refusal(federation, monkeypatch):
    """The endorser has promised the version to it, for as long as it could still be ordered."""
    allowed = consented(federation, Patient(federation))
    draft = grant(allowed.key)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Submitter, "_order", killed)
        with pytest.raises(Killed):
            federation.sites[RENHE].node.submitter.submit(draft)
    federation.crash(RENHE)
    submitter = federation.sites[RENHE].node.submitter
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"submit\.promised") as caught:
            submitter.submit(draft)
        assert caught.value.retry_after_s == 105
    # A minute and three quarters, and what is left of a slot of time.
    federation.time += 105 + 32
    assert submitter.submit(draft).record.version == 1


def test_local_operations_submit_show_and_stop(federation, hospital):
    operations = hospital.operations()
    patient = Patient(federation)
    for draft in (patient.subject(), patient.consent()):
        document = {"body": draft.body.to_json(), "id": draft.object_id.hex(), "kind": draft.kind, "status": "active"}
        done = operations["submit"](document)
    assert done["version"] == 1
    shown = operations["object"]({"object": done["key"]})
    assert (shown["final"], shown["stopped"], shown["record"]["kind"]) == (True, False, "consent")
    assert operations["body"]({"object": done["key"]})["body"] == draft.body.to_json()
    assert operations["stop"]({"object": done["key"]}) == {"object": done["key"], "stopped": True}
    assert operations["object"]({"object": done["key"]})["stopped"]
    unknown = {"ending": None, "final": False, "record": None, "stopped": False}
    assert operations["object"]({"object": "00" * 32}) == unknown
    assert operations["body"]({"object": "00" * 32}) == {"body": None}


def test_a_stop_whose_signer_is_gone_is_signed_anew(federation, hospital):
    allowed = consented(federation, Patient(federation))
    preimage = bytes.fromhex(hospital.shelf.head(allowed.key)[1].content["stop"])
    gone = stop_leaf(allowed.key, preimage, signer=TONGJI)
    fresh_leaf = hospital.stops._current(gone)  # noqa: SLF001  # a key that was rotated since
    stop = parse_envelope(fresh_leaf).transaction
    assert (stop.creator, stop.object, stop.preimage) == (RENHE, allowed.key, preimage)


@pytest.mark.e2e
def test_a_subject_is_endorsed_and_final_on_three_nodes_as_processes(tmp_path, monkeypatch):
    nodes = [processes.Node(tmp_path / org_id, org_id) for org_id in ("a-hospital", "b-hospital", "c-hospital")]
    rules = {**processes.POLICY["rules"], "subject/active": {"and": ["creator", "independent"]}}
    monkeypatch.setitem(processes.POLICY, "rules", rules)
    processes.found(*nodes)
    passkey = SoftwareAuthenticator(seed("passkey"), "localhost")
    now = int(time.time())  # noqa: TID251  # real nodes run at the real time
    row = passkey_row(passkey.credential_id, encode_credential_key(passkey.credential), now)
    able = Capacity((), None, None, disputed=False)
    made = subject.Subject((row,), able, ("b-hospital",), "b-hospital", "identity-card", now, fresh(16), now)
    body = build_body("subject", made.to_content(), None, fresh)
    document = {"body": body.to_json(), "id": fresh(16).hex(), "kind": "subject", "status": "active"}
    with processes.ending(*nodes):
        for node in nodes:
            node.start()
        with closing(LocalClient(nodes[1].layout.folder)) as local:
            done = local.call("submit", document, Limits(timeout_s=60))
        with closing(LocalClient(nodes[2].layout.folder)) as local:
            assert eventually(lambda: local.call("object", {"object": done["key"]})["final"])
            shown = local.call("object", {"object": done["key"]})["record"]
    assert (done["rank"], done["endorser"] in {"a-hospital", "c-hospital"}) == (0, True)
    assert (shown["creator"], shown["body_hash"]) == ("b-hospital", body.body_hash.hex())


def test_an_endorser_that_is_behind_for_a_moment_is_asked_again_and_keeps_its_rank(federation, hospital, monkeypatch):
    asked = []

    def behind(what, _sender, receiver, document):
        if what == "endorse":
            asked.append(receiver)
            if len(asked) == 1:
                raise UnavailableError("endorse.behind", height=0)
        return document

    monkeypatch.setattr(federation, "tamper", behind)
    expected = drawn(federation)
    done = hospital.submitter.submit(Patient(federation).subject())
    assert (done.endorser, done.rank, asked) == (expected, 0, [expected, expected])


def test_an_endorser_that_stays_behind_is_passed_over_and_the_rank_shows_it(federation, hospital, monkeypatch):
    monkeypatch.setattr(submit, "BEHIND_S", 0.3)
    first, second = drawn(federation), drawn(federation, rank=1)

    def behind(what, _sender, receiver, document):
        if (what, receiver) == ("endorse", first):
            raise UnavailableError("endorse.behind", height=0)
        return document

    monkeypatch.setattr(federation, "tamper", behind)
    done = hospital.submitter.submit(Patient(federation).subject())
    assert (done.endorser, done.rank) == (second, 1)


def test_the_same_draft_again_makes_no_second_version(federation, hospital):
    patient = Patient(federation)
    hospital.submitter.submit(patient.subject())
    allowed = hospital.submitter.submit(patient.consent())
    draft = grant(allowed.key)
    first = hospital.submitter.submit(draft)
    again = hospital.submitter.submit(draft)
    assert (again.key, again.record) == (first.key, first.record)
    assert hospital.replica.store.record(first.key).version == 1


def test_an_attempt_that_is_ordered_while_the_next_is_made_gets_no_second_version(federation, hospital, monkeypatch):
    patient = Patient(federation)
    hospital.submitter.submit(patient.subject())
    allowed = hospital.submitter.submit(patient.consent())
    draft = replace(grant(allowed.key), version=1)
    landed = []
    original = Submitter._change  # noqa: SLF001  # the step in which the fault happens

    def change(self, given):
        # The first attempt, of before a crash, lands between the look at the ledger and the making of the second.
        if not landed:
            landed.append(None)
            landed[0] = self._submitted(map_key("grant", RENHE, given.object_id), given, 30.0, None)
        return original(self, given)

    monkeypatch.setattr(Submitter, "_change", change)
    with pytest.raises(ConflictError) as caught:
        hospital.submitter.submit(draft)
    assert caught.value.code == "transaction.version"
    assert hospital.replica.store.record(landed[0].key).version == 1
    assert hospital.submitter.submit(draft).record == landed[0].record


def test_one_version_of_an_object_is_under_way_at_a_time_and_others_go_on_meanwhile(federation, hospital, monkeypatch):
    """The body of the second would take the place of the first one's, which may be ordered."""
    first, second, other = (Patient(federation) for _ in range(3))
    under_way, may_go_on = threading.Event(), threading.Event()
    original = Submitter._submitted  # noqa: SLF001  # the step that takes its time

    def slow(self, key_, draft, timeout_s, keep):
        if key_ == first.key:
            under_way.set()
            may_go_on.wait(60)
        return original(self, key_, draft, timeout_s, keep)

    monkeypatch.setattr(Submitter, "_submitted", slow)
    results = []
    thread = threading.Thread(target=lambda: results.append(hospital.submitter.submit(first.subject())))
    thread.start()
    try:
        assert under_way.wait(60)
        with pytest.raises(UnavailableError) as caught:
            hospital.submitter.submit(replace(second.subject(), object_id=first.object_id), timeout_s=0.01)
        assert caught.value.code == "submit.busy"
        hospital.submitter.submit(other.subject())
    finally:
        may_go_on.set()
        thread.join()
    assert results[0].record.version == 1
    assert hospital.shelf.head(first.key)[1].body_hash == results[0].record.body_hash


def test_every_stop_binds_after_a_restart_and_is_settled_however_many_there_are(federation, hospital, monkeypatch):
    monkeypatch.setattr(stops, "_PAGE", 2)
    patient = Patient(federation)
    allowed = consented(federation, patient)
    grants = [hospital.submitter.submit(grant(allowed.key)).key for _ in range(5)]
    for key_ in grants:
        hospital.stops.stop(key_)
    again = federation.crash(RENHE).node
    assert all(again.stops.is_stopped(key_) for key_ in grants)

    def is_settled():
        again.driver.outbox.step()
        return again.stops.settle() == 0

    assert eventually(is_settled)
    assert all(again.replica.store.record(key_).status == STOPPED for key_ in grants)


def test_a_stop_that_cannot_be_queued_does_not_keep_the_next_one_from_it(federation, hospital, monkeypatch):
    site, queued = federation.sites[RENHE], []
    keys = [hospital.submitter.submit(Patient(federation).subject()).key for _ in range(2)]
    for key_ in keys:
        site.records.put_stop(key_, "stop", key_, NOW)

    def queue(leaf):
        queued.append(leaf)
        if leaf == keys[0]:
            raise UnavailableError("outbox.full")
        return leaf

    monkeypatch.setattr(hospital.stops, "_queue", queue)
    monkeypatch.setattr(hospital.stops, "_current", lambda leaf: leaf)
    hospital.stops.settle()
    assert [leaf for leaf in queued if leaf in keys] == keys
    for key_ in keys:
        site.records.drop_stop(key_)


def test_the_patients_signature_reaches_the_parties_of_a_node_that_was_cut_off_for_long(federation, monkeypatch):
    patient, site = Patient(federation), federation.sites[RENHE]
    allowed = consented(federation, patient)
    final(federation, ANXIN, allowed.key)
    evidence = patient.withdrawal(allowed.key, 2, allowed.record.digest)
    monkeypatch.setattr(site.node.stops, "_tell", lambda *_: None)
    site.node.stops.stop(allowed.key, evidence)
    federation.time += DELIVER_FOR_S + 1
    assert site.node.deliveries.round() > 0
    assert eventually(lambda: site.node.stops.settle() + site.node.driver.outbox.step() == 0)
    final(federation, ANXIN, allowed.key, 2)
    assert eventually(lambda: site.node.deliveries.round() == 0)
    insurer = federation.sites[ANXIN].node
    assert insurer.shelf.at(allowed.key, 2) == evidence
    assert insurer.stops.ending(allowed.key).how is Ending.PATIENT
