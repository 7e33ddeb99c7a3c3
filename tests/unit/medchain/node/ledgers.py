"""Replicas of the consortium of the ledger's tests, with the orderer's real log key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.ledger.genesis import cosigner_name, genesis_signatures
from medchain.ledger.issuers import VRF_KEY, vrf_proof_input
from medchain.ledger.members import protocol_content
from medchain.ledger.object import map_key
from medchain.ledger.policy import draw_order
from medchain.ledger.transaction import Change, Draw, Envelope, Payload
from medchain.node.replica import Replica
from medchain.ordering.block import Block
from medchain.store.ledger import LedgerStore
from medchain.tlog.checkpoint import cosign, parse_checkpoint, sign_checkpoint
from medchain.tlog.note import parse_note
from tests.unit.medchain.ledger import world as consortium
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, ROLES, World, genesis, key, rows, sign

USES = ("authentication", "cosign-ed25519", "cosign-mldsa44", "encryption", "ledger", "log")


def pen(org_id: str = COMMISSION):
    """Return what signs checkpoints with an organisation's log key."""
    return partial(sign_checkpoint, signer=Ed25519Signer(consortium.seed(org_id, "log", 1)))


def proofs():
    """Return the file of proofs of possession."""
    ledger = genesis().ledger
    signed = {org_id: {use: consortium.prove(ledger, key(org_id, use)) for use in USES} for org_id in ROLES}
    for org_id, member in genesis().members.organisations.items():
        if member.invoices is not None:
            signed[org_id][VRF_KEY] = consortium.vrf_key(org_id).prove(vrf_proof_input(ledger, org_id))
    return genesis_signatures(signed)


def replica_on(store: LedgerStore, org_id: str | None = None) -> Replica:
    """Start a replica; with the log key of an organisation it can order."""
    return Replica.create(store, genesis(), proofs(), pen=None if org_id is None else pen(org_id))


@dataclass
class Author(World):
    """Writes transactions that fit a replica's state."""

    replica: Replica = None

    def __post_init__(self) -> None:
        """Keep no state of its own."""

    @property
    def members(self):
        return self.replica.members

    @members.setter
    def members(self, value):
        """The replica has them."""

    def record(self, key: bytes):
        return self.replica.store.record(key)

    def draws(self, creator: str):
        return self.replica.store.draws(creator)

    def anchor(self, count: int = 3, creator: str = RENHE, **other: object) -> Envelope:
        """Make a transaction that anchors new records; one signature."""
        return sign(self.transaction(creator, Change("record", "active", rows(count)), until=None, **other))

    def subject(self, number: int, creator: str = RENHE, until: int | None = None) -> Envelope:
        """Make a transaction with two signatures: a subject, endorsed by the drawn organisation."""
        change = Change("subject", "active", rows(1))
        draw = Draw(self.seed_height, number, 0)
        return sign(self.transaction(creator, change, draw=draw, until=until or self.replica.time + 60))

    @property
    def seed_height(self) -> int:
        """Height of the newest state entry that may seed a draw (`docs/spec/endorsement.md` 3)."""
        return self.replica.height // 256 * 256

    def drawn(self, creator: str, number: int, rank: int = 0) -> str:
        """Return who is drawn at the newest seed."""
        height = self.seed_height
        seed = self.replica.store.seed(height) if height else self.replica.ledger
        return draw_order(self.members, creator, number, seed)[rank]


def block_of(replica: Replica, *envelopes: Envelope | Payload, time: int | None = None) -> Block:
    """Let an ordering replica make a block in which everything is accepted."""
    leaves = [(item if isinstance(item, Envelope) else sign(item)).leaf for item in envelopes]
    proposal = replica.propose(leaves, replica.time + 1 if time is None else time)
    assert proposal.refusals == {}, proposal.refusals
    assert proposal.block is not None
    return proposal.block


def anchored(envelope: Envelope, creator: str = RENHE) -> list[bytes]:
    """Return the map keys of a transaction's objects."""
    return [map_key(change.kind, creator, row.id) for change in envelope.transaction.changes for row in change.objects]


def cosigned(checkpoint: str, *organisations: str, time: int) -> bytes:
    """Add both cosignature lines of organisations."""
    note = parse_note(checkpoint.encode())
    head = parse_checkpoint(note.text)
    lines = []
    for org_id in organisations:
        for use, make in (("cosign-ed25519", Ed25519Signer), ("cosign-mldsa44", MlDsa44Signer)):
            name = cosigner_name(org_id, genesis().origin, use)
            lines.append(cosign(head, name, make(consortium.seed(org_id, use, 1)), time))
    return note.add(lines).to_bytes()


def protocol_change(author: Author, orderer_id: str, creator: str = RENHE):
    """Write a vote of the members for another orderer; a takeover where that one is the creator."""
    rules = replace(author.members.protocol, orderer=orderer_id)
    voters = [org_id for org_id in ROLES if org_id != creator]
    return sign(author.public(creator, ("protocol", protocol_content(rules)), signers=voters, until=None))
