"""Signatures checked by several threads: the same answers as one after the other, and no block that differs by it."""

from __future__ import annotations

import pytest

from medchain.encoding import base64_text
from medchain.errors import VerificationError
from medchain.ledger.machine import is_signed
from medchain.ledger.transaction import Envelope, parse_envelope
from medchain.node import checking
from medchain.node.checking import WORTH_SHARING, SignatureChecks
from medchain.node.replica import Replica
from medchain.ordering.block import Block
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from tests.unit.medchain.ledger.world import COMMISSION
from tests.unit.medchain.node.ledgers import Author, pen, replica_on

COUNT = WORTH_SHARING + 5
FORGED = (0, 17, COUNT - 1)


@pytest.fixture
def orderer(store_engine):
    return replica_on(LedgerStore(store_engine(FileKind.LEDGER)), COMMISSION)


@pytest.fixture
def envelopes(orderer):
    author = Author(replica=orderer)
    made = [author.anchor(1) for _ in range(COUNT)]
    return [forged(envelope) if at in FORGED else envelope for at, envelope in enumerate(made)]


def forged(envelope: Envelope) -> Envelope:
    """Write zeros in the place of an envelope's signature."""
    signature = envelope.signatures[0][1]
    return parse_envelope(envelope.leaf.replace(base64_text(signature).encode(), base64_text(bytes(64)).encode()))


@pytest.mark.parametrize("threads", [2, 4])
def test_of_many_envelopes_each_gets_its_own_answer(orderer, envelopes, threads):
    holds = SignatureChecks(threads)(orderer.members, envelopes)
    assert [at for at, held in enumerate(holds) if not held] == list(FORGED)


@pytest.mark.parametrize(("threads", "count"), [(1, COUNT), (2, WORTH_SHARING - 1), (2, 0)])
def test_where_sharing_is_not_worth_it_nothing_is_said(orderer, envelopes, threads, count):
    assert SignatureChecks(threads)(orderer.members, envelopes[1 : count + 1]) == [False] * len(
        envelopes[1 : count + 1]
    )


def test_each_envelope_is_checked_once(orderer, envelopes, monkeypatch):
    checked = []
    monkeypatch.setattr(checking, "is_signed", lambda members, item: checked.append(item) or is_signed(members, item))
    SignatureChecks(3)(orderer.members, envelopes)
    assert sorted(item.leaf for item in checked) == sorted(item.leaf for item in envelopes)


def test_what_goes_wrong_in_another_thread_is_not_taken_for_an_answer(orderer, envelopes, monkeypatch):
    def broken(_members, _envelope):
        raise OSError("broken")

    monkeypatch.setattr(checking, "is_signed", broken)
    with pytest.raises(OSError, match="broken"):
        SignatureChecks(2)(orderer.members, envelopes)


def test_an_orderer_and_a_follower_that_share_the_work_refuse_what_one_thread_refuses(orderer, envelopes, other_engine):
    leaves = [envelope.leaf for envelope in envelopes]
    sharing = Replica(orderer.store, pen=pen(), checks=SignatureChecks(2))
    proposal = sharing.propose(leaves, sharing.time + 1)
    assert proposal.refusals == dict.fromkeys(FORGED, "transaction.signature")
    made = proposal.block
    follower = replica_on(LedgerStore(other_engine(FileKind.LEDGER)))
    follower = Replica(follower.store, checks=SignatureChecks(2))
    with pytest.raises(VerificationError, match=r"block\.transaction") as caught:
        follower.apply(Block(made.height, made.time, (*made.transactions, leaves[0]), made.checkpoint))
    assert caught.value.fields["reason"] == "transaction.signature"
    follower.apply(made)
    assert follower.root == sharing.root
