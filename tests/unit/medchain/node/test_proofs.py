"""The daemon's operations that export bundles: what may be asked, and growth since a checkpoint of the asker's."""

from __future__ import annotations

import pytest

from medchain.encoding import base64_text, unbase64
from medchain.errors import InputError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.genesis import trusted_policy_text
from medchain.node.proofs import prove_entry, prove_object
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from medchain.tlog.checkpoint import parse_checkpoint
from medchain.tlog.note import parse_note
from tests.unit.medchain.ledger.world import COMMISSION, ROLES, TIME, genesis
from tests.unit.medchain.node.ledgers import Author, block_of, replica_on
from tests.unit.medchain.node.test_replica import cosigned


@pytest.fixture
def grown(store_engine):
    """Give a ledger with two final blocks, and the checkpoint of the first."""
    replica = replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)
    author = Author(replica=replica)
    notes = []
    for _ in range(2):
        block = block_of(replica, author.anchor())
        notes.append(replica.put_note(cosigned(block.checkpoint, *ROLES, time=TIME + 10)).note.encode())
    return replica, notes[0]


def files_of(answer):
    return {name: unbase64(text) for name, text in answer["files"].items()}


def test_a_bundle_proves_that_the_log_only_grew_since_the_askers_checkpoint(grown):
    replica, old = grown
    policy = trusted_policy_text(replica.members, genesis().origin)
    for files in (
        files_of(prove_object(replica, {"checkpoint": base64_text(old), "key": "00" * 32})),
        files_of(prove_entry(replica, {"checkpoint": base64_text(old), "position": 0})),
    ):
        assert files["checkpoint-old"] == old
        before = parse_checkpoint(parse_note(old).text).size
        assert files["consistency.txt"].startswith(b"old %d\n" % before)
        assert verify_bundle(files, policy, now=TIME + 20).size == replica.size > before


def test_without_a_checkpoint_there_is_no_proof_of_growth(grown):
    assert "consistency.txt" not in files_of(prove_entry(grown[0], {"position": 0}))


@pytest.mark.parametrize("document", [{"position": -1}, {"position": True}, {}, {"position": 0, "opening": "AA=="}])
def test_what_is_no_question_is_refused(grown, document):
    with pytest.raises(InputError):
        prove_entry(grown[0], document)
