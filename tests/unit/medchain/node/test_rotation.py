"""Exchanging keys: what the ledger lists and what the node holds go together at every step."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from dataclasses import replace

import pytest

from medchain.encoding import base64_text
from medchain.errors import AccessDeniedError, ConflictError, InputError, UnavailableError, VerificationError
from medchain.ledger.issuers import MAX_GENERATIONS
from medchain.ledger.members import key_ids, organisation_content, proof_message
from medchain.ledger.policy import default_policy
from medchain.ledger.transaction import parse_envelope
from medchain.node import rotation as rotation_module
from medchain.node.administrator import AdministratorDoor, with_proof
from medchain.node.clock import system_clock
from medchain.node.endorse import Identity
from medchain.node.keystore import (
    KeyUse,
    Layout,
    admit_encryption_candidates,
    adopt_candidates,
    candidate_keys,
    candidate_uses,
    create_keys,
    draw_candidates,
    open_daemon_keys,
    open_web_keys,
    public_keys,
    unlock,
)
from medchain.node.local import LocalClient
from medchain.node.rotation import ROTATE, USES, KeyRotation
from medchain.ordering.outbox import Ordered
from medchain.ordering.receipt import Refused
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from tests.unit.medchain.commands.conftest import medchain
from tests.unit.medchain.ledger import world as consortium
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, TONGJI, key, ledger_signer, sign
from tests.unit.medchain.node.ledgers import Author, replica_on
from tests.unit.medchain.node.test_backup import create, is_final_at, status
from tests.unit.medchain.web.test_node import Node, ending, found
from tests.waiting import eventually

HALVES = unlock(bytes(32))
OLD = key(RENHE, "authentication").public
NOW = 1_796_083_200
ADMINISTRATOR = b"a" * 32
DAY = NOW // 86_400


def clock():
    return NOW


DOOR = AdministratorDoor(ADMINISTRATOR, clock, "rotation.administrator")


class Outbox:
    """Orders at once."""

    def __init__(self, replica) -> None:
        """Order with a replica."""
        self.replica, self.fate, self.leaves = replica, None, []

    def add(self, leaf):
        self.leaves.append(leaf)
        proposal = self.replica.propose([leaf], self.replica.time + 1)
        self.fate = Refused(proposal.refusals[0]) if proposal.refusals else Ordered(b"", self.replica.height)
        return b""

    def wait(self, _known, _timeout_s):
        return self.fate


@pytest.fixture
def replica(store_engine):
    return replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)


@pytest.fixture
def outbox(replica):
    return Outbox(replica)


@pytest.fixture
def rotation(replica, outbox):
    return KeyRotation(Identity(RENHE, ledger_signer(RENHE, 1), {}), OLD, replica, outbox, DOOR, clock)


@pytest.fixture
def folder(tmp_path):
    create_keys(tmp_path, RENHE, HALVES)
    return tmp_path


def listed(replica, org_id=RENHE):
    return key_ids(replica.members.organisations[org_id])


@pytest.mark.parametrize("use", ["cosign", "ledger", "log"])
def test_new_keys_take_the_place_of_the_old_ones_on_the_ledger_and_then_in_the_node(rotation, replica, folder, use):
    old = {item.use: item.id for item in replica.members.organisations[RENHE].keys}
    before = public_keys(folder)
    draw_candidates(folder, USES[use], HALVES)
    assert not adopt_candidates(folder, listed(replica)), "the ledger does not list them yet"
    assert public_keys(folder) == before
    answer = rotation.exchange({"keys": candidate_keys(folder, replica.ledger, HALVES)})
    assert answer == {"version": 2}
    now = {item.use: item.id for item in replica.members.organisations[RENHE].keys}
    assert {name for name in old if old[name] != now[name]} == {item.value for item in USES[use]}
    assert adopt_candidates(folder, listed(replica))
    assert candidate_uses(folder) == ()
    after = public_keys(folder)
    assert {name for name in before if before[name] != after[name]} == {item.value for item in USES[use]}
    # Both halves still open what they hold.
    open_web_keys(folder, HALVES)
    open_daemon_keys(folder, HALVES)


def test_an_encryption_key_is_the_ledger_keys_to_vouch_for_and_both_open_from_then_on(replica, folder):
    # The ledger knows another ledger key than this keystore: what the node's own key vouches for is refused.
    identity = Identity(RENHE, ledger_signer(RENHE, 1), {})
    draw_candidates(folder, USES["encryption"], HALVES)
    assert admit_encryption_candidates(folder)
    assert not admit_encryption_candidates(folder)
    keys = candidate_keys(folder, replica.ledger, HALVES)
    with pytest.raises(VerificationError):
        KeyRotation(identity, OLD, replica, Outbox(replica), DOOR, clock).exchange({"keys": keys})
    made = rotation_module.make_key(RENHE, "encryption", keys[0]["public"])
    keys[0]["proof"] = base64_text(ledger_signer(RENHE, 1).sign(proof_message(replica.ledger, made)))
    KeyRotation(identity, OLD, replica, Outbox(replica), DOOR, clock).exchange({"keys": keys})
    assert adopt_candidates(folder, listed(replica))
    held = open_daemon_keys(folder, HALVES)
    assert held.encryption_id == made.id
    assert len(held.encryption) == 2


def authentication_keys(replica):
    return {item.public for item in replica.members.organisations[RENHE].keys if item.use == "authentication"}


def test_an_authentication_key_stands_beside_the_old_one_until_the_node_calls_with_it(replica, outbox, folder):
    identity = Identity(RENHE, ledger_signer(RENHE, 1), {})
    draw_candidates(folder, USES["authentication"], HALVES)
    keys = {"keys": candidate_keys(folder, replica.ledger, HALVES)}
    assert KeyRotation(identity, OLD, replica, outbox, DOOR, clock).exchange(keys) == {"version": 2}
    assert adopt_candidates(folder, listed(replica))
    new = open_web_keys(folder, HALVES).authentication.public
    assert authentication_keys(replica) == {OLD, new}
    assert KeyRotation(identity, new, replica, outbox, DOOR, clock).exchange(keys) == {"version": 3}
    assert authentication_keys(replica) == {new}
    assert KeyRotation(identity, new, replica, outbox, DOOR, clock).exchange(keys) == {"version": 3}


def test_asking_again_submits_nothing_again(rotation, outbox, replica, folder):
    draw_candidates(folder, USES["ledger"], HALVES)
    keys = candidate_keys(folder, replica.ledger, HALVES)
    rotation.exchange({"keys": keys})
    assert rotation.exchange({"keys": keys}) == {"version": 2}
    assert len(outbox.leaves) == 1
    assert parse_envelope(outbox.leaves[0]).transaction.creator == RENHE


def test_drawing_again_keeps_the_first_keys_and_one_exchange_is_finished_before_the_next(folder):
    draw_candidates(folder, USES["cosign"], HALVES)
    first = candidate_keys(folder, bytes(32), HALVES)
    draw_candidates(folder, USES["cosign"], HALVES)
    assert [row["public"] for row in candidate_keys(folder, bytes(32), HALVES)] == [row["public"] for row in first]
    with pytest.raises(ConflictError) as caught:
        draw_candidates(folder, USES["ledger"], HALVES)
    assert caught.value.code == "keystore.candidates"


def test_a_crash_after_the_keystore_was_written_changes_nothing_more(replica, rotation, folder):
    draw_candidates(folder, USES["log"], HALVES)
    rotation.exchange({"keys": candidate_keys(folder, replica.ledger, HALVES)})
    waiting = Layout(folder).candidates.read_bytes()
    adopt_candidates(folder, listed(replica))
    kept = Layout(folder).keystore.read_bytes()
    Layout(folder).candidates.write_bytes(waiting)
    assert adopt_candidates(folder, listed(replica))
    assert Layout(folder).keystore.read_bytes() == kept


def test_the_orderers_log_key_is_not_exchanged(replica, outbox, tmp_path):
    create_keys(tmp_path, COMMISSION, HALVES)
    draw_candidates(tmp_path, USES["log"], HALVES)
    orderer = KeyRotation(Identity(COMMISSION, ledger_signer(COMMISSION, 1), {}), OLD, replica, outbox, DOOR, clock)
    with pytest.raises(ConflictError) as caught:
        orderer.exchange({"keys": candidate_keys(tmp_path, replica.ledger, HALVES)})
    assert caught.value.code == "rotation.orderer"
    assert outbox.leaves == []


def test_a_key_without_its_proof_is_refused(rotation, replica, folder):
    draw_candidates(folder, USES["ledger"], HALVES)
    keys = candidate_keys(folder, bytes(32), HALVES)
    with pytest.raises(VerificationError):
        rotation.exchange({"keys": keys})
    assert listed(replica) == {key(RENHE, use).id for use in consortium.USES}


def issuing(replica, *days: int):
    """Have the members list an issuer code of Renhe, with keys for ids from these days on."""
    member = replica.members.organisations[RENHE]
    issued = consortium.invoices(RENHE, "31010500123", days=(0, *days))
    proofs: dict[str, str] = {}
    for generation in range(1, len(days) + 2):
        proofs |= consortium.prove_vrf(replica.ledger, RENHE, generation)
    content = organisation_content(replace(member, invoices=issued), proofs)
    payload = Author(replica=replica).public(RENHE, ("organisation", content), signers=[COMMISSION, TONGJI], until=None)
    assert replica.propose([sign(payload).leaf], replica.time + 1).refusals == {}


def generations(replica):
    return replica.members.organisations[RENHE].invoices.generations


# The fourth day, since midnight may come before the block; or the day after the newest key's.
@pytest.mark.parametrize(("days", "first"), [((), DAY + 4), ((DAY + 3,), DAY + 4), ((DAY + 4,), DAY + 5)])
def test_a_key_for_ids_of_invoices_begins_after_all_that_there_are(rotation, outbox, replica, folder, days, first):
    issuing(replica, *days)
    before = generations(replica)
    draw_candidates(folder, USES["vrf"], HALVES)
    keys = {"keys": candidate_keys(folder, replica.ledger, HALVES)}
    assert rotation.exchange(keys) == {"from": first, "version": 3}
    assert rotation.exchange(keys) == {"from": first, "version": 3}
    assert len(outbox.leaves) == 1
    *kept, new = generations(replica)
    assert (tuple(kept), new.from_day) == (before, first)
    assert adopt_candidates(folder, listed(replica))
    assert new.public in open_daemon_keys(folder, HALVES).vrf


def test_a_key_for_ids_of_invoices_is_none_of_who_issues_none(rotation, outbox, replica, folder):
    draw_candidates(folder, USES["vrf"], HALVES)
    with pytest.raises(ConflictError, match=r"rotation\.no_invoices"):
        rotation.exchange({"keys": candidate_keys(folder, replica.ledger, HALVES)})
    assert outbox.leaves == []


def test_a_key_for_ids_of_invoices_that_finds_no_room_is_refused_before_it_is_ordered(
    rotation, outbox, replica, folder
):
    issuing(replica, *range(DAY + 3, DAY + 2 + MAX_GENERATIONS))
    assert len(generations(replica)) == MAX_GENERATIONS
    draw_candidates(folder, USES["vrf"], HALVES)
    with pytest.raises(ConflictError, match=r"rotation\.full"):
        rotation.exchange({"keys": candidate_keys(folder, replica.ledger, HALVES)})
    assert outbox.leaves == []


def test_what_has_no_fate_yet_is_told(rotation, outbox, replica, folder, monkeypatch):
    draw_candidates(folder, USES["ledger"], HALVES)
    monkeypatch.setattr(outbox, "wait", lambda _known, _timeout_s: None)
    with pytest.raises(UnavailableError) as caught:
        rotation.exchange({"keys": candidate_keys(folder, replica.ledger, HALVES)})
    assert caught.value.code == "rotation.not_ordered"


def test_an_attacker_in_a_web_worker_puts_no_keys_of_his_own_in_the_organisations_place(
    rotation, replica, outbox, tmp_path
):
    """He holds the secret of local calls; with a ledger key of his own on the ledger he would be the organisation."""
    create_keys(tmp_path / "his", RENHE, HALVES)
    draw_candidates(tmp_path / "his", USES["ledger"], HALVES)
    document = {"keys": candidate_keys(tmp_path / "his", replica.ledger, HALVES)}
    ask = rotation.operations()[ROTATE]
    web = open_web_keys(tmp_path / "his", HALVES)
    before = listed(replica)
    for attempt in (
        document,
        with_proof(bytes(web.records), ROTATE, document, NOW),
        with_proof(ADMINISTRATOR, "proposals.decide", document, NOW),
        with_proof(ADMINISTRATOR, ROTATE, {"keys": []}, NOW) | document,
        with_proof(ADMINISTRATOR, ROTATE, document, NOW - 61),
    ):
        with pytest.raises(AccessDeniedError, match=r"rotation\.administrator"):
            ask(attempt)
    assert (listed(replica), outbox.leaves) == (before, [])
    asked = with_proof(ADMINISTRATOR, ROTATE, document, NOW)
    assert ask(asked) == {"version": 2}
    with pytest.raises(AccessDeniedError, match=r"rotation\.administrator"):
        ask(asked)


@pytest.mark.parametrize("document", [{}, {"keys": []}, {"keys": [1]}, {"keys": [{"use": "ledger"}]}])
def test_what_names_no_keys_is_refused(rotation, document):
    with pytest.raises(InputError):
        rotation.exchange(document)


@pytest.mark.e2e
def test_a_running_node_exchanges_each_key_and_goes_on(tmp_path):
    orderer = Node(tmp_path / "a", "health-commission")
    hospital = Node(tmp_path / "b", "renhe-hospital", "31010500123")
    ledger = found(orderer, hospital, policy=default_policy()).ledger
    with ending(orderer, hospital):
        orderer.start()
        hospital.start()
        assert eventually(lambda: status(hospital)["ready"])
        # An authentication key takes two versions: beside the old one, and then alone.
        for use, count in (("cosign", 2), ("authentication", 4), ("encryption", 5), ("ledger", 6), ("vrf", 7)):
            ran = medchain("key", "rotate", use, "--config", hospital.config, "--json")
            assert ran.code == 0, ran.err
            assert ran.document["version"] == count
        create(hospital, ledger, "o1")
        # Genesis, six versions and an anchor, with a state leaf each; a quorum of two needs both cosignatures.
        assert eventually(lambda: is_final_at(hospital, 16) and is_final_at(orderer, 16))

        # Killed before the node took over what the ledger lists: the daemon does so at its start.
        draw_candidates(hospital.layout.folder, USES["ledger"], hospital.halves)
        keys = candidate_keys(hospital.layout.folder, ledger, hospital.halves)
        with closing(LocalClient(hospital.layout.folder)) as local:
            with pytest.raises(AccessDeniedError, match=r"rotation\.administrator"):
                local.call(ROTATE, {"keys": keys})
            own = bytes(open_daemon_keys(hospital.layout.folder, hospital.halves).administrator)
            local.call(ROTATE, with_proof(own, ROTATE, {"keys": keys}, system_clock()))
        assert candidate_uses(hospital.layout.folder) == (KeyUse.LEDGER,)
        os.kill(hospital.pids()["daemon"], signal.SIGKILL)
        create(hospital, ledger, "o2")
        assert eventually(lambda: is_final_at(hospital, 20))
        assert candidate_uses(hospital.layout.folder) == ()
