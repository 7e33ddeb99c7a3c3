"""What is ended while a version of a subject is being ordered takes the subject from no holder, and binds from then on.

The versions here are endorsed by nobody who looks: to a holder that is the same as an endorsement that is older than
what happened meanwhile. Source: `docs/spec/body.md` 10.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from medchain.crypto.assertion import encode_credential_key
from medchain.crypto.authenticator import SoftwareAuthenticator
from medchain.encoding import Json
from medchain.ledger.kinds import recovery, signing, subject
from medchain.ledger.kinds.passkeys import passkey, passkeys_json, read_passkeys
from medchain.ledger.machine import seed_heights
from medchain.ledger.members import organisation_content
from medchain.ledger.object import Body, StateRecord, build_body
from medchain.ledger.policy import draw_order
from medchain.ledger.transaction import Change, Draw, ObjectRow, Ref, pae, seal
from medchain.node import verdicts
from medchain.node.sealed_body import OpenedBody
from medchain.node.submit import Draft
from medchain.ordering.receipt import Refused
from tests.unit.medchain.ledger.world import ROLES, TAIPING, fresh, genesis, key, ledger_signer, sign
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, DAY_S, RENHE, TONGJI, Federation, Patient
from tests.unit.medchain.node.ledgers import Author
from tests.unit.medchain.node.liar import Liar
from tests.unit.medchain.node.test_verdicts import acted, alarms, by_helper, forced

BOTH = (RENHE, TONGJI)
MINUTE_S = 60


@pytest.fixture
def members():
    """Whose nodes run."""
    return tuple(ROLES)


@pytest.fixture
def federation(tmp_path, members):
    """Nodes of their own for each test: time goes on in it."""
    made = Federation(tmp_path)
    made.start(members)
    yield made
    made.stop()


def next_of(
    patient: Patient, body: Body, record: StateRecord, operation: str, signer: Patient, **changes: Json
) -> Body:
    """Make the next version of a patient's subject, which somebody signs."""
    nonce = fresh(16)
    content = {"nonce": nonce.hex(), "operation": operation, "signers": [signer.key.hex()]} | changes
    made = build_body("subject", body.content | content, None, fresh)
    acting = None if signer.key == patient.key else patient.key
    what = signing.Signed(f"subject/{operation}", signer.key, acting, nonce)
    return signer.sign(made, patient.key, record.version + 1, record.digest, what)


def unlooked(
    federation: Federation, patient: Patient, body: Body, refs: tuple[Ref, ...] = ()
) -> tuple[bytes, OpenedBody]:
    """Make the payload of a subject's next version, for an endorser that signs what it has not judged."""
    replica, liar = federation.sites[RENHE].replica, Liar(federation, RENHE)
    version = replica.store.record(patient.key).version + 1
    number = replica.store.draws(RENHE).number + 1
    height = seed_heights(replica.height + 1)[0]
    root = replica.store.seed(height) if height else genesis().ledger
    draw = Draw(height, number, draw_order(replica.members, RENHE, number, root).index(COMMISSION))
    change = Change("subject", "active", (ObjectRow(patient.object_id, version, body.body_hash),), refs, None, None)
    return liar.payload(change, (COMMISSION,), draw), OpenedBody(patient.key, version, body)


def ordered(federation: Federation, patient: Patient, body: Body, refs: tuple[Ref, ...] = ()) -> int:
    """Have a version ordered that nobody checks; returns its number."""
    liar, (payload, item) = Liar(federation, RENHE), unlooked(federation, patient, body, refs)
    for org_id in BOTH:
        liar.push(org_id, payload, item)
    liar.order(payload, item, (COMMISSION,))
    return item.version


def told_by_helper(federation: Federation, patient: Patient, helper: Patient) -> int:
    """Have a version ordered that a helper has signed."""
    record, body = federation.sites[RENHE].node.shelf.head(patient.key)
    mail = [{"address": f"{fresh(8).hex()}@mail.example", "channel": "email"}]
    return ordered(federation, patient, next_of(patient, body, record, "change-contacts", helper, contacts=mail))


def submitted(federation: Federation, person: Patient, body: Body, status: str = "active") -> None:
    """Submit a version as an honest node does, until all have it."""
    done = federation.sites[RENHE].node.submitter.submit(Draft("subject", person.object_id, body, status))
    for site in federation.sites.values():
        site.node.submitter.wait_final(person.key, done.record.version, 60)


def other_phone(person: Patient) -> Patient:
    """Give the person with another passkey."""
    other = copy(person)
    other.authenticator = SoftwareAuthenticator(fresh(32), genesis().rp_id)
    return other


def without_its_passkey(federation: Federation, person: Patient) -> None:
    """Have a person put another passkey in the place of the one that it has."""
    tablet, shelf = other_phone(person), federation.sites[RENHE].node.shelf
    record, body = shelf.head(person.key)
    new = passkey(
        tablet.authenticator.credential_id, encode_credential_key(tablet.authenticator.credential), federation.time
    )
    rows = (*read_passkeys(body.content), new)
    submitted(federation, person, next_of(person, body, record, "add-passkey", person, passkeys=passkeys_json(rows)))
    record, body = shelf.head(person.key)
    gone = next_of(person, body, record, "remove-passkey", tablet, passkeys=passkeys_json((new,)))
    submitted(federation, person, gone)


def ended(federation: Federation, person: Patient) -> None:
    """End a person's own subject, as when the person leaves."""
    _, body = federation.sites[RENHE].node.shelf.head(person.key)
    submitted(
        federation, person, build_body("subject", body.content | {"nonce": fresh(16).hex()}, None, fresh), "ended"
    )


def dead(federation: Federation, person: Patient) -> None:
    """Declare a person's death."""
    _, body = federation.sites[RENHE].node.shelf.head(person.key)
    standing = {"method": "death-certificate", "state": "dead", "time": federation.time}
    content = {"nonce": fresh(16).hex(), "operation": "declare-death", "signers": [], "standing": standing}
    evidence = {"attested_by": ["doctor", "nurse"]}
    submitted(federation, person, build_body("subject", body.content | content, evidence, fresh))


MEANWHILE = {
    "dead": (dead, "subject.delegate"),
    "ended": (ended, "subject.subject"),
    "passkey": (without_its_passkey, "signing.credential"),
}


@pytest.mark.parametrize("happens", [happens for happens, _ in MEANWHILE.values()], ids=MEANWHILE)
def test_what_ends_a_delegates_signature_while_a_version_is_ordered_takes_the_subject_from_no_holder(
    federation, happens
):
    patient, helper, _ = acted(federation, BOTH)
    happens(federation, helper)
    federation.time += 2 * MINUTE_S
    version = told_by_helper(federation, patient, helper)
    assert federation.sites[TONGJI].node.shelf.head(patient.key)[0].version == version
    # Nor later, when it is judged anew, and what follows it.
    federation.time += 5 * MINUTE_S
    federation.crash(TONGJI)
    version = told_by_helper(federation, patient, patient)
    assert federation.sites[TONGJI].node.shelf.head(patient.key)[0].version == version
    assert alarms(federation, TONGJI, patient.key) == []


@pytest.mark.parametrize(("happens", "code"), MEANWHILE.values(), ids=MEANWHILE)
def test_attack_a_version_is_ordered_when_nobody_can_have_endorsed_it_before(federation, happens, code):
    patient, helper, _ = acted(federation, BOTH)
    happens(federation, helper)
    federation.time += 2 * MINUTE_S + 1
    version = told_by_helper(federation, patient, helper)
    assert federation.sites[TONGJI].node.shelf.head(patient.key) is None
    assert alarms(federation, TONGJI, patient.key) == [(RENHE, version, code)]


@pytest.mark.parametrize(("places", "holds"), [(2, False), (3, True)])
def test_each_change_meanwhile_is_another_place_to_look_from_and_there_are_so_many(
    federation, monkeypatch, places, holds
):
    monkeypatch.setattr(verdicts, "MAX_VIEWS", places)
    patient, helper, where = acted(federation, BOTH)
    home = federation.sites[RENHE].node
    without_its_passkey(federation, helper)
    home.stops.stop(where)
    home.driver.outbox.step()
    for site in federation.sites.values():
        site.node.submitter.wait_final(where, 2, 60)
    version = told_by_helper(federation, patient, helper)
    assert (federation.sites[TONGJI].node.shelf.head(patient.key) is not None) == holds
    told = [] if holds else [(RENHE, version, "subject.delegate")]
    assert alarms(federation, TONGJI, patient.key) == told


@pytest.mark.parametrize("members", [tuple(org_id for org_id in ROLES if org_id != TAIPING)])
def test_a_custodian_that_is_suspended_meanwhile_takes_the_subject_from_no_holder(federation):
    patient, _, _ = acted(federation, (RENHE, TAIPING, TONGJI))
    orderer, voters = federation.sites[COMMISSION], [RENHE, TONGJI, ANXIN]
    author = Author(replica=orderer.replica)
    content = organisation_content(replace(author.members.organisations[TAIPING], status="suspended"))
    change = author.public(COMMISSION, ("organisation", content), signers=voters, until=None)
    orderer.node.driver.order([sign(change).leaf])
    # The members before a version's own block count as well: there is another one between.
    orderer.node.driver.order([author.anchor().leaf])
    version = told_by_helper(federation, patient, patient)
    assert federation.sites[TONGJI].node.shelf.head(patient.key)[0].version == version
    federation.time += 3 * MINUTE_S
    late = told_by_helper(federation, patient, patient)
    assert alarms(federation, TONGJI, patient.key) == [(RENHE, late, "subject.organisation")]


def test_what_a_holder_lacks_of_the_past_makes_nothing_right(federation):
    """Who has it anew, and not as it was, cannot tell whether it was ever signed."""
    patient, helper, _ = acted(federation, BOTH)
    without_its_passkey(federation, helper)
    for version in (1, 2):
        federation.sites[TONGJI].ledger.delete_body(helper.key, version)
    federation.crash(TONGJI)
    version = told_by_helper(federation, patient, helper)
    assert alarms(federation, TONGJI, patient.key) == [(RENHE, version, "signing.credential")]


def test_attack_a_passkey_that_the_person_removed_signs_no_version_after_that_one_at_any_time(federation):
    """Whoever endorses has the version before, which the new one follows on."""
    patient, _, _ = acted(federation, BOTH)
    without_its_passkey(federation, patient)
    version = told_by_helper(federation, patient, patient)
    assert alarms(federation, TONGJI, patient.key) == [(RENHE, version, "signing.credential")]


def test_attack_a_consent_is_judged_where_it_stands_alone_and_what_narrows_binds_at_once(federation):
    patient, helper, _ = acted(federation, BOTH)
    ended(federation, helper)
    forged, _ = forced(federation, by_helper(patient, helper, ANXIN))
    assert alarms(federation, RENHE, forged) == [(ANXIN, 1, "consent.subject")]


def recovered(body: Body, planned: recovery.Recovery, where: bytes, time: int) -> Body:
    """Make the version that carries a recovery out."""
    before = subject.read(body.content)
    passkeys, able = subject.carried_out(before, planned)
    after = replace(
        before,
        passkeys=passkeys,
        capacity=able,
        operation=subject.Operation.RECOVER,
        recovery=where,
        signers=(),
        nonce=fresh(16),
        signed_at=time,
    )
    return build_body("subject", after.to_content(), None, fresh)


def test_attack_a_recovery_that_was_cancelled_a_moment_ago_is_carried_out_by_nobody(federation):
    patient = Patient(federation, "found-it")
    home, other = federation.sites[RENHE].node, federation.sites[TONGJI].node
    thief = other_phone(patient).authenticator
    home.submitter.submit(patient.subject(BOTH))
    other.submitter.wait_final(patient.key, 1, 60)
    wait = genesis().members.policy.terms[recovery.RECOVERY_DAYS]
    last = federation.time // DAY_S + wait
    planned = recovery.Recovery(
        subject=patient.key,
        version=1,
        operation=recovery.REPLACE,
        passkeys=(passkey(thief.credential_id, encode_credential_key(thief.credential), federation.time),),
        delegates=(),
        standing=None,
        enroller=RENHE,
        custodians=BOTH,
        organisation=TONGJI,
        method="identity-card",
        verified=federation.time,
        wait_days=wait,
        last_day=last + 1,
        nonce=fresh(16),
        stop=fresh(32),
    )
    body = build_body("recovery", planned.to_content(), {"attested_by": ["doctor", "nurse"]}, fresh)
    where = other.submitter.submit(Draft("recovery", fresh(16), body)).key
    home.submitter.wait_final(where, 1, 60)
    federation.time += wait * DAY_S
    other.stops.stop(where)
    other.driver.outbox.step()
    home.submitter.wait_final(where, 2, 60)
    _, before = home.shelf.head(patient.key)
    version = recovered(before, planned, where, federation.time)
    # What it stands on has been stopped: the ledger itself refuses it, whoever has endorsed it when.
    payload, _ = unlooked(federation, patient, version, (Ref(where, 1),))
    signed = [(key(o, "ledger").id, ledger_signer(o).sign(pae(payload))) for o in (RENHE, COMMISSION)]
    assert home.driver.submit([seal(payload, signed).leaf]) == [Refused("transaction.stopped")]
    # And whoever leaves out what it stands on has no recovery to carry out.
    number = ordered(federation, patient, version)
    assert alarms(federation, TONGJI, patient.key) == [(RENHE, number, "subject.recovery")]
