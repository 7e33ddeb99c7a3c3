"""Signatures checked by several threads: the same answers as one after the other, and no block that differs by it."""

from __future__ import annotations

from hashlib import sha512

import pytest
from nacl import bindings

from medchain.crypto.signing import Ed25519Signer, ed25519_verify
from medchain.encoding import base64_text
from medchain.errors import VerificationError
from medchain.ledger.machine import is_signed
from medchain.ledger.transaction import Envelope, pae, parse_envelope
from medchain.node import checking
from medchain.node.checking import WORTH_SHARING, SignatureChecks
from medchain.node.replica import Replica
from medchain.ordering.block import Block
from medchain.store.engine import FileKind
from medchain.store.ledger import LedgerStore
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, seed
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
    return with_signature(envelope, bytes(64))


def with_signature(envelope: Envelope, other: bytes) -> Envelope:
    """Write another signature in the place of an envelope's first."""
    signature = envelope.signatures[0][1]
    return parse_envelope(envelope.leaf.replace(base64_text(signature).encode(), base64_text(other).encode()))


class Pen(Ed25519Signer):
    """An organisation's ledger key that counts what it is asked to sign."""

    def __init__(self, org_id: str) -> None:
        """Take an organisation's key."""
        super().__init__(seed(org_id, "ledger", 1))
        self.signed: list[bytes] = []

    def sign(self, message: bytes) -> bytes:
        """Sign, and remember it."""
        self.signed.append(message)
        return super().sign(message)


def signed_with_another_nonce(org_id: str, message: bytes) -> bytes:
    """Sign as RFC 8032 5.1.6 does, but for the nonce: as valid, and not what the key itself makes."""
    secret = sha512(seed(org_id, "ledger", 1)).digest()[:32]
    scalar = bytes([secret[0] & 248, *secret[1:31], secret[31] & 127 | 64])
    nonce = bindings.crypto_core_ed25519_scalar_reduce(sha512(b"another nonce" + message).digest())
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    public = Ed25519Signer(seed(org_id, "ledger", 1)).public
    challenge = bindings.crypto_core_ed25519_scalar_reduce(sha512(point + public + message).digest())
    product = bindings.crypto_core_ed25519_scalar_mul(challenge, scalar)
    return point + bindings.crypto_core_ed25519_scalar_add(nonce, product)


@pytest.mark.parametrize("own", [None, RENHE, COMMISSION])
@pytest.mark.parametrize("threads", [2, 4])
def test_of_many_envelopes_each_gets_its_own_answer(orderer, envelopes, threads, own):
    holds = SignatureChecks(threads, own=None if own is None else Pen(own))(orderer.members, envelopes)
    assert [at for at, held in enumerate(holds) if not held] == list(FORGED)


def test_what_a_node_signed_itself_is_signed_again_and_not_checked(orderer, envelopes, monkeypatch):
    checked = []
    monkeypatch.setattr(checking, "ed25519_verify", lambda *asked: checked.append(asked) or ed25519_verify(*asked))
    pen = Pen(RENHE)
    SignatureChecks(2, own=pen)(orderer.members, envelopes)
    assert sorted(pen.signed) == sorted(pae(envelope.payload) for envelope in envelopes)
    assert sorted(asked[1] for asked in checked) == sorted(pae(envelopes[at].payload) for at in FORGED)


def test_a_key_signs_nothing_that_names_another_one(orderer, envelopes):
    pen = Pen(COMMISSION)
    SignatureChecks(2, own=pen)(orderer.members, envelopes)
    assert pen.signed == []


def test_another_valid_signature_of_the_own_key_holds_as_it_does_at_every_other_node(orderer, envelopes):
    others = [with_signature(item, signed_with_another_nonce(RENHE, pae(item.payload))) for item in envelopes]
    assert all(other.leaf != envelope.leaf for other, envelope in zip(others, envelopes, strict=True))
    for own in (None, Pen(RENHE), Pen(COMMISSION)):
        assert all(SignatureChecks(2, own=own)(orderer.members, others))


@pytest.mark.parametrize(("threads", "count"), [(1, COUNT), (2, WORTH_SHARING - 1), (2, 0)])
def test_where_sharing_is_not_worth_it_nothing_is_said(orderer, envelopes, threads, count):
    assert SignatureChecks(threads)(orderer.members, envelopes[1 : count + 1]) == [False] * len(
        envelopes[1 : count + 1]
    )


def test_each_envelope_is_checked_once(orderer, envelopes, monkeypatch):
    checked = []
    monkeypatch.setattr(
        checking, "is_signed", lambda members, item, _: checked.append(item) or is_signed(members, item)
    )
    SignatureChecks(3)(orderer.members, envelopes)
    assert sorted(item.leaf for item in checked) == sorted(item.leaf for item in envelopes)


def test_what_goes_wrong_in_another_thread_is_not_taken_for_an_answer(orderer, envelopes, monkeypatch):
    def broken(_members, _envelope, _verify):
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
