"""The embedded driver passes the suite of all drivers, with a replica in memory and with one on an encrypted file."""

from __future__ import annotations

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.errors import UnavailableError
from medchain.ledger.genesis import genesis_signatures
from medchain.node.replica import Replica
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.tlog.checkpoint import sign_checkpoint
from tests.consortium import Consortium, MemoryReplica, log_signer
from tests.unit.medchain.ledger.world import prove
from tests.unit.medchain.ordering.driver_suite import DriverSuite
from tests.waiting import eventually


class Members:
    """Three members on threads, as the suite wants them."""

    def __init__(self, consortium: Consortium) -> None:
        """Show the consortium's drivers and replicas."""
        self.consortium = consortium
        self.anchor = consortium.anchor
        self.drivers = {name: node.driver for name, node in consortium.nodes.items()}
        self.replicas = {name: node.replica for name, node in consortium.nodes.items()}

    def fresh_replica(self) -> MemoryReplica:
        return MemoryReplica(self.consortium.genesis, log_signer("org-1"))


def running(consortium: Consortium):
    """Run until the test is over; every node has looked round before it begins."""
    consortium.start()
    try:
        assert eventually(lambda: all(node.driver.is_caught_up for node in consortium.nodes.values()))
        yield Members(consortium)
    finally:
        consortium.stop()


class TestEmbeddedInMemory(DriverSuite):
    @pytest.fixture
    def cluster(self):
        yield from running(Consortium(3))

    def test_an_orderer_with_a_full_queue_says_when_to_come_again(self, cluster):
        orderer = cluster.drivers["org-0"].orderer
        orderer._limits = type(orderer._limits)(max_waiting=2)  # noqa: SLF001  # made small for the test
        with pytest.raises(UnavailableError, match=r"ordering\.full") as error:
            orderer.submit([cluster.anchor("org-1") for _ in range(3)])
        assert error.value.retry_after_s == 1

    def test_the_outbox_thread_submits_and_learns_the_fate(self, cluster):
        outbox = cluster.drivers["org-2"].outbox
        known = outbox.add(cluster.anchor("org-2"))
        assert outbox.wait(known, 60).height == 1
        assert outbox.wait(known, 0).height == 1


def file_replica(folder, consortium: Consortium, org_id: str) -> Replica:
    """Make a replica on an encrypted file."""
    folder.mkdir()
    store = LedgerStore(open_database(folder / "ledger.db", bytes(32), kind=FileKind.LEDGER))
    signer: Ed25519Signer = log_signer(org_id)
    # The proofs of possession are the genesis' own tests' business.
    memory = MemoryReplica(consortium.genesis, signer)
    return Replica.create(store, consortium.genesis, proofs(memory), pen=lambda head: sign_checkpoint(head, signer))


def proofs(memory: MemoryReplica):
    """Prove possession of every key of the genesis."""
    organisations = memory.genesis.members.organisations.values()
    return genesis_signatures({o.org_id: {key.use: prove(memory.ledger, key) for key in o.keys} for o in organisations})


class TestEmbeddedOnDisk(DriverSuite):
    @pytest.fixture
    def cluster(self, tmp_path):
        with Consortium(3) as consortium:
            for org_id, node in consortium.nodes.items():
                node.driver.orderer.stop()
                node.replica = file_replica(tmp_path / org_id, consortium, org_id)
                node.restart()
            yield from running(consortium)
            for node in consortium.nodes.values():
                node.replica.store.close()
