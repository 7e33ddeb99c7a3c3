"""What a patient's page is shown of the ledger, over whole nodes."""

from __future__ import annotations

import pytest

from medchain.ledger.request import access_key
from medchain.ledger.transaction import HASH_BYTES
from medchain.node.records import NewRecord
from medchain.node.subject_index import SubjectIndex
from medchain.store.ledger import LedgerStore
from tests.unit.medchain.node.desks import Desks, phone_of, running_desks
from tests.unit.medchain.node.federation import ANXIN, RENHE, TONGJI

PHONE, OTHER = phone_of("phone of the view"), phone_of("another phone of the view")


@pytest.fixture(scope="module")
def desks(tmp_path_factory) -> Desks:
    with running_desks(tmp_path_factory.mktemp("view")) as made:
        yield made


@pytest.fixture(scope="module")
def subject(desks) -> str:
    return desks.enrol(PHONE, "pat-1")


def shown(desks, subject, org_id=RENHE):
    return desks.local(org_id).call("patient.consents", {"subjects": [subject]})


def anchored(desks, patient: str) -> None:
    site = desks.federation.sites[RENHE]
    site.service.create(NewRecord("Observation", f"o-{patient}", b'{"resourceType":"Observation","id":"o1"}', patient))
    while site.records.pending(1, kind="anchor"):
        site.node.anchor.round()
        desks.federation.wait()


def test_a_consent_is_shown_with_its_terms_and_how_it_was_signed_but_not_what_stops_it(desks, subject):
    key = desks.consent(PHONE, subject)
    answer = shown(desks, subject)
    (row,) = [row for row in answer["consents"] if row["key"] == key]
    assert (row["signed"], row["status"], row["in_force"], row["final"]) == ("passkey", "active", True, True)
    assert row["content"]["recipient"] == ANXIN
    assert "stop" not in row["content"]
    assert answer["organisations"][ANXIN]["role"] == "insurer"
    assert row["since"] < answer["final_size"] <= answer["size"]


def test_another_patients_consents_are_not_shown(desks, subject):
    other = desks.enrol(OTHER, "pat-2")
    key = desks.consent(OTHER, other)
    assert key not in {row["key"] for row in shown(desks, subject)["consents"]}
    assert {row["key"] for row in shown(desks, other)["consents"]} == {key}


def test_what_was_released_stands_under_its_grant(desks, subject):
    consent = desks.consent(PHONE, subject)
    anchored(desks, "pat-1")
    grant = desks.local().call("grant.give", {"consent": consent})["key"]
    desks.federation.sites[ANXIN].node.submitter.wait_final(bytes.fromhex(grant), 1, 60)
    asked = {"custodian": RENHE, "grant": grant, "purpose": "HPAYMT", "resource_types": ["Observation"]}
    received = desks.local(ANXIN).call("request", asked)
    (row,) = [row for row in shown(desks, subject)["consents"] if row["key"] == consent]
    (told,) = row["grants"]
    assert (told["key"], told["recipient"], told["missing"]) == (grant, ANXIN, [])
    assert told["broken"] is None
    (release,) = told["accesses"]
    assert release["request_hash"] == received["request_hash"]
    assert (release["count"], release["final"], release["position"]) == (1, True, received["access"]["position"])
    mine = desks.local(ANXIN).call("grants.received", {})["grants"]
    assert grant in {row["key"] for row in mine}
    assert desks.local(TONGJI).call("grants.received", {})["grants"] == []


def test_an_access_entry_whose_body_is_gone_is_missed(desks, subject):
    (row,) = [one for one in shown(desks, subject)["consents"] if one["grants"]]
    chain = bytes.fromhex(row["grants"][0]["chain"])
    desks.federation.sites[RENHE].node.shelf.destroy(chain)
    (row,) = [one for one in shown(desks, subject)["consents"] if one["grants"]]
    assert (row["grants"][0]["accesses"], row["grants"][0]["missing"]) == ([], [1])


def test_a_withdrawn_consent_keeps_its_terms_and_says_that_the_patient_ended_it(desks, subject):
    key = desks.consent(PHONE, subject)
    desks.withdraw(PHONE, key)
    (row,) = [row for row in shown(desks, subject)["consents"] if row["key"] == key]
    assert (row["in_force"], row["content"]["recipient"]) == (False, ANXIN)
    desks.settle(key, 2)
    (row,) = [row for row in shown(desks, subject)["consents"] if row["key"] == key]
    assert (row["status"], row["in_force"], row["ending"]["how"]) == ("stopped", False, "patient")
    assert row["content"]["recipient"] == ANXIN


def test_a_consent_whose_body_was_destroyed_is_not_shown(desks, subject):
    key = desks.consent(PHONE, subject)
    desks.federation.sites[RENHE].node.shelf.destroy(bytes.fromhex(key))
    assert key not in {row["key"] for row in shown(desks, subject)["consents"]}


def test_an_index_made_after_a_start_finds_what_was_kept_before(desks, subject):
    site = desks.federation.sites[RENHE]
    anew = SubjectIndex(site.ledger)
    above = bytes.fromhex(subject)
    assert len(above) == HASH_BYTES
    kept = [key for key in site.node.shelf.index.of(above) if site.ledger.body_versions(key)]
    assert anew.of(above) == kept != []
    assert set(anew.grants()) <= set(site.node.shelf.index.grants())


def test_attack_a_chain_of_accesses_with_an_entry_taken_out_is_called_broken(desks, subject, monkeypatch):
    consent = desks.consent(PHONE, subject)
    grant = desks.local().call("grant.give", {"consent": consent})["key"]
    desks.federation.sites[ANXIN].node.submitter.wait_final(bytes.fromhex(grant), 1, 60)
    asked = {"custodian": RENHE, "grant": grant, "purpose": "HPAYMT", "resource_types": ["Observation"]}
    for _ in range(2):
        desks.local(ANXIN).call("request", asked)
    chain, whole = access_key(bytes.fromhex(grant), RENHE), LedgerStore.version

    def without(self, key: bytes, number: int):
        return None if (key, number) == (chain, 1) else whole(self, key, number)

    monkeypatch.setattr(LedgerStore, "version", without)
    (row,) = [row for row in shown(desks, subject)["consents"] if row["key"] == consent]
    assert (row["grants"][0]["broken"], row["grants"][0]["missing"]) == ("disclosures.history", [1])
