"""What is served of the log: all that is final, nothing beyond."""

from __future__ import annotations

import pytest

from medchain.errors import NotFoundError
from medchain.node.served_log import ServedLog
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.tlog.merkle import leaf_hash
from medchain.tlog.tiles import parse_entry_bundle
from tests.unit.medchain.ledger.world import COMMISSION, ROLES, TIME
from tests.unit.medchain.node.ledgers import Author, block_of, replica_on
from tests.unit.medchain.node.test_replica import cosigned


@pytest.fixture
def replica(store_engine):
    return replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)


def test_before_the_first_final_checkpoint_nothing_is_served(replica):
    log = ServedLog(replica.store)
    for ask in (log.checkpoint, lambda: log.tile(0, 0, 1), lambda: log.entry_bundle(0, 1)):
        with pytest.raises(NotFoundError):
            ask()


def test_all_that_is_final_is_served_and_what_may_still_be_dropped_is_not(replica):
    author, log = Author(replica=replica), ServedLog(replica.store)
    block = block_of(replica, author.anchor())
    replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10))
    final = replica.size
    block_of(replica, author.anchor())
    leaves = parse_entry_bundle(log.entry_bundle(0, final), final)
    assert log.tile(0, 0, final) == b"".join(leaf_hash(leaf) for leaf in leaves)
    assert replica.store.final().note.encode() == log.checkpoint()
    for ask in (
        lambda: log.tile(0, 0, final + 1),
        lambda: log.entry_bundle(0, final + 1),
        lambda: log.tile(1, 0, 1),
        lambda: log.entry_bundle(1, 1),
    ):
        with pytest.raises(NotFoundError, match=r"log\.tile"):
            ask()
