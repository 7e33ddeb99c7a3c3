"""A consortium of five whole nodes in one process: the first complete ways through the product."""

from __future__ import annotations

import pytest

from medchain.ledger.kinds.subject import RECIPIENT_FIELDS
from medchain.ledger.object import map_key
from medchain.node.records import NewRecord
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE, TONGJI, Federation, Patient, grant

OBSERVATION = b'{"resourceType":"Observation","id":"o1","status":"final","valueInteger":42}'


@pytest.fixture
def federation(tmp_path):
    made = Federation(tmp_path)
    made.start()
    yield made
    made.stop()


def anchor_all(federation, org_id):
    """Anchor until the outbox is empty."""
    site = federation.sites[org_id]
    for _ in range(6000):
        site.node.anchor.round()
        if not site.records.pending(1, kind="anchor"):
            return
        federation.wait()
    raise AssertionError("never final")


def test_a_record_is_sealed_anchored_final_and_proven(federation):
    site = federation.sites[RENHE]
    stored = site.service.create(NewRecord("Observation", "o1", OBSERVATION, "p1"))
    assert site.records.get("Observation", "o1").position is None
    anchor_all(federation, RENHE)
    found = site.records.get("Observation", "o1")
    final = site.ledger.final()
    assert found.position is not None
    assert final.size > found.position
    key = map_key("record", RENHE, stored.object_id)
    for org_id in (RENHE, TONGJI, ANXIN, COMMISSION):
        proof = federation.sites[org_id].replica.prove_record(key)
        assert (proof.record.version, proof.record.status, proof.record.body_hash) == (1, "active", stored.commitment)
        assert proof.record.since == found.position
    opened = site.service.read("Observation", "o1")
    assert opened.content == OBSERVATION


def test_subject_consent_and_grant_become_final_at_every_node(federation):
    hospital = federation.sites[RENHE].node
    patient = Patient(federation)
    enrolled = hospital.submitter.submit(patient.subject())
    assert (enrolled.key, enrolled.record.version) == (patient.key, 1)
    assert enrolled.endorser in {TONGJI, COMMISSION}
    insurer = federation.sites[ANXIN]
    # Who is given a part of the subject with the consent must know the subject.
    insurer.node.submitter.wait_final(enrolled.key, 1, 60)
    allowed = hospital.submitter.submit(patient.consent())
    given = hospital.submitter.submit(grant(allowed.key))
    assert given.record.refs == ((allowed.key, 1),)
    insurer.node.submitter.wait_final(given.key, 1, 60)
    assert insurer.node.shelf.head(given.key)[1].content["recipient"] == ANXIN
    assert insurer.node.shelf.head(allowed.key)[1].is_full
    shown = insurer.node.shelf.head(patient.key)[1]
    assert set(shown.content) == RECIPIENT_FIELDS
