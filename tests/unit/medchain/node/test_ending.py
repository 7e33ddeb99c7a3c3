"""How a consent ended, and who would like it to look otherwise."""

from __future__ import annotations

import pytest

from medchain.errors import ConflictError, VerificationError
from medchain.ledger.object import build_body
from medchain.node.ending import Ended, Ending
from tests.unit.medchain.ledger.world import fresh
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE, TONGJI, Federation, Patient
from tests.waiting import eventually

DAY_S = 86_400


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Federation(tmp_path_factory.mktemp("federation"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def federation(shared):
    shared.time = NOW
    yield shared
    shared.time = NOW


@pytest.fixture
def hospital(federation):
    return federation.sites[RENHE].node


@pytest.fixture
def patient(federation, hospital):
    made = Patient(federation)
    placed = hospital.submitter.submit(made.subject())
    for site in federation.sites.values():
        site.node.submitter.wait_final(placed.key, 1, 60)
    return made


@pytest.fixture
def consent(federation, hospital, patient):
    placed = hospital.submitter.submit(patient.consent())
    for site in federation.sites.values():
        # Who has not heard of it yet hears of no end of it either.
        site.node.submitter.wait_final(placed.key, 1, 60)
    return placed.key


def ordered(node, key: bytes) -> None:
    """Wait until a stop is on a node's ledger."""

    def is_over() -> bool:
        node.driver.outbox.step()
        node.stops.settle()
        return node.replica.store.record(key).status != "active"

    assert eventually(is_over)


def withdrawn(hospital, patient, consent) -> None:
    head = hospital.replica.store.record(consent)
    hospital.stops.stop(consent, patient.withdrawal(consent, 2, head.digest))


def test_a_consent_in_force_has_not_ended_and_an_unknown_one_is_nothing(hospital, consent):
    assert hospital.stops.ending(consent).how is Ending.NOT_ENDED
    assert hospital.stops.ending(b"\x01" * 32) is None


def test_a_withdrawal_with_the_patients_signature_is_hers_heard_or_ordered_here_and_elsewhere(
    federation, hospital, patient, consent
):
    withdrawn(hospital, patient, consent)
    insurer = federation.sites[ANXIN].node
    assert hospital.stops.ending(consent) == Ended(Ending.PATIENT, RENHE, 2, None)
    assert insurer.stops.ending(consent).how is Ending.PATIENT
    ordered(hospital, consent)
    position = hospital.replica.store.record(consent).since
    assert hospital.stops.ending(consent) == Ended(Ending.PATIENT, RENHE, 2, position)
    ordered(insurer, consent)
    assert insurer.stops.ending(consent) == Ended(Ending.PATIENT, RENHE, 2, position)


def attested(hospital, patient, consent, evidence=("nurse-1", "nurse-2")):
    """What two of the staff attest of the patient's wish, as a body without a signature."""
    head = hospital.replica.store.record(consent)
    signed = patient.withdrawal(consent, 2, head.digest)
    return build_body("consent", signed.content, {"attested_by": list(evidence)}, fresh)


def test_what_two_of_the_staff_attest_of_her_wish_is_told_as_that_here_and_elsewhere(
    federation, hospital, patient, consent
):
    insurer = federation.sites[ANXIN].node
    hospital.stops.stop(consent, attested(hospital, patient, consent))
    assert hospital.stops.ending(consent) == Ended(Ending.ATTESTED, RENHE, 2, None)
    assert insurer.stops.ending(consent).how is Ending.ATTESTED
    ordered(hospital, consent)
    position = hospital.replica.store.record(consent).since
    ordered(insurer, consent)
    for node in (hospital, insurer):
        assert node.stops.ending(consent) == Ended(Ending.ATTESTED, RENHE, 2, position)


def test_attack_one_alone_attests_what_the_patient_wishes(hospital, patient, consent):
    with pytest.raises(VerificationError, match=r"consent\.withdrawal"):
        hospital.stops.stop(consent, attested(hospital, patient, consent, ("nurse-1",)))
    assert hospital.stops.ending(consent).how is Ending.NOT_ENDED


def test_a_stop_without_a_signature_is_the_organisations_and_names_it(federation, hospital, consent):
    insurer = federation.sites[ANXIN].node
    insurer.stops.stop(consent)
    ordered(insurer, consent)
    ordered(hospital, consent)
    assert hospital.stops.ending(consent).how is Ending.ORGANISATION
    assert hospital.stops.ending(consent).by == ANXIN


def test_an_organisation_that_makes_up_the_evidence_has_stopped_it_itself(federation, hospital, patient, consent):
    # It binds all the same, and no check of the machine sees the evidence.
    insurer = federation.sites[ANXIN].node
    head = insurer.replica.store.record(consent)
    stranger = Patient(federation, name="stranger")
    stranger.key = patient.key
    forged = stranger.withdrawal(consent, 2, head.digest)
    leaf = insurer.stops._envelope(  # noqa: SLF001  # what an honest node does not sign
        consent, bytes.fromhex(insurer.shelf.head(consent)[1].content["stop"]), forged.body_hash
    ).leaf
    insurer.shelf.keep(consent, 2, forged)
    insurer.stops._accept(consent, leaf)  # noqa: SLF001  # as above
    ordered(insurer, consent)
    ordered(hospital, consent)
    hospital.shelf.keep(consent, 2, forged)
    for node in (insurer, hospital):
        assert (node.stops.ending(consent).how, node.stops.ending(consent).by) == (Ending.ORGANISATION, ANXIN)


def test_evidence_that_is_not_here_proves_nothing_here(federation, hospital, patient, consent):
    withdrawn(hospital, patient, consent)
    ordered(hospital, consent)
    outsider = federation.sites[TONGJI].node
    ordered(outsider, consent)
    outsider.shelf.destroy(consent)
    assert outsider.stops.ending(consent).how is Ending.ORGANISATION


def test_a_withdrawal_stays_hers_when_her_subject_has_ended_since(hospital, patient, consent):
    withdrawn(hospital, patient, consent)
    ordered(hospital, consent)
    body = hospital.shelf.head(patient.key)[1]
    ended = patient.subject()
    hospital.submitter.submit(type(ended)("subject", patient.object_id, body, status="ended"))
    assert hospital.stops.ending(consent).how is Ending.PATIENT


def test_a_consent_whose_time_is_over_has_expired(federation, hospital, consent):
    federation.time = NOW + 31 * DAY_S
    assert hospital.stops.ending(consent).how is Ending.EXPIRED


def test_a_consent_that_its_owner_ended_was_superseded(hospital, patient):
    draft = patient.consent()
    placed = hospital.submitter.submit(draft)
    body = hospital.shelf.head(placed.key)[1]
    hospital.submitter.submit(type(draft)("consent", draft.object_id, body, status="ended"))
    ended = hospital.stops.ending(placed.key)
    assert (ended.how, ended.by, ended.version) == (Ending.SUPERSEDED, RENHE, 2)
    assert ended.to_json()["how"] == "superseded"
    with pytest.raises(ConflictError):
        hospital.stops.stop(placed.key)
