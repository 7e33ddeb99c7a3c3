"""Claims in the simulator: a hospital that drafts them, drawn endorsers that judge them by the kind's own check.

Bodies never are on the ledger: the desk keeps them by their hashes, and shows an endorser what a node would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from medchain.crypto.es384 import Es384Signer
from medchain.crypto.vrf import VrfKey, vrf_output
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.invoice import InvoiceFields, Scope, claim_id, invoice_of
from medchain.ledger.issuers import Invoices, VrfGeneration
from medchain.ledger.kind import CheckContext
from medchain.ledger.kinds.claim_content import Bill, Claim, on_refund, on_request, on_reversal, read
from medchain.ledger.kinds.registry import check_body
from medchain.ledger.kinds.shares import Shares
from medchain.ledger.members import LEDGER_KEY, Members
from medchain.ledger.object import Body, StateRecord, build_body, map_key
from medchain.ledger.policy import draw_order
from medchain.ledger.signed_request import SignedRequest, sign_request
from medchain.ledger.transaction import (
    CREATOR,
    INDEPENDENT,
    Change,
    Draw,
    ObjectRow,
    Ref,
    Signer,
    Transaction,
)
from tests.consortium import DAY_S, START, Consortium, Node
from tests.unit.medchain.ledger.world import seed

HOSPITAL, FIRST, SECOND = "org-1", "org-2", "org-4"
"""The hospital whose invoices they are, and two insurers."""
ISSUER = "12990100MB0001"
TOTAL = 100_000
UNTIL_S = 55
SECRET = VrfKey(seed(HOSPITAL, "vrf", 1))

Deed = SignedRequest[ClaimRequest] | int | None
"""An insurer's request, a refund of an amount, or a reversal."""


def invoice(number: str, day: int = START // DAY_S - 30) -> InvoiceFields:
    """Name an invoice."""
    return invoice_of(Scope.INVOICE, ISSUER, "99060125", number, day)


@dataclass
class Shown:
    """What an endorser is shown (`BodySource`): bodies beside the records of its own replica."""

    node: Node
    bodies: Mapping[bytes, Body]

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        record = self.node.replica.record(key)
        body = None if record is None else self.bodies.get(record.body_hash)
        return None if record is None or body is None else (record, body)

    def state(self, key: bytes) -> StateRecord | None:
        return self.node.replica.record(key)


@dataclass
class Desk:
    """The hospital's desk for the claims on one invoice."""

    consortium: Consortium
    invoice: InvoiceFields
    replaces: bytes | None = None
    secret: VrfKey = SECRET
    bodies: dict[bytes, Body] = field(default_factory=dict)

    @property
    def node(self) -> Node:
        return self.consortium.nodes[HOSPITAL]

    @property
    def bill(self) -> Bill:
        proof = self.secret.prove(self.invoice.alpha)
        return Bill(self.invoice, self.secret.public, proof, "A1B2C3", "CNY", self.replaces)

    @property
    def id(self) -> bytes:
        return claim_id(vrf_output(self.secret.prove(self.invoice.alpha)))

    @property
    def key(self) -> bytes:
        return map_key("claim", HOSPITAL, self.id)

    @property
    def head(self) -> StateRecord | None:
        """The newest version on the hospital's own ledger."""
        return self.node.replica.record(self.key)

    @property
    def claim(self) -> Claim:
        """What the newest version says."""
        return read(self.bodies[self.head.body_hash].content)

    def asked(self, insurer: str, action: str, amount: int = 0, **changes: object) -> SignedRequest[ClaimRequest]:
        """Have an insurer sign a request on what its own node's ledger has."""
        seen, now = self.consortium.nodes[insurer].replica.record(self.key), self.consortium.now
        request = ClaimRequest(
            ledger=self.consortium.genesis.ledger,
            action=Action(action),
            hospital=HOSPITAL,
            insurer=insurer,
            claim_id=self.id,
            head=0 if seen is None else seen.version,
            claim=seed("claim of", insurer),
            amount=amount,
            currency="CNY",
            until=now // DAY_S + 10 if action == "reserve" else None,
            nonce=self.consortium.dice.bytes(16),
            time=now,
        )
        return sign_request(Es384Signer(seed(insurer, "authentication", 1)), replace(request, **changes))

    def drafted(self, deed: Deed) -> Claim:
        """Make the next version; raises `VerificationError` for what the state does not let be done."""
        parts = Shares(TOTAL) if self.head is None else self.claim.shares
        if isinstance(deed, SignedRequest):
            return on_request(self.bill, parts, deed.request, self.consortium.now)
        now = self.consortium.now
        return on_reversal(self.bill, parts, now) if deed is None else on_refund(self.bill, parts, deed, now)

    def endorsed(self, deed: Deed, number: int = 1, object_id: bytes | None = None) -> bytes:
        """Have a deed drafted, judged by who is drawn, and signed by both; returns the envelope.

        Args:
            deed: what is done.
            number: how many draws ahead of those that are used; of two that are under way at once each has its own.
            object_id: another one than the invoice's.
        """
        claim = self.drafted(deed)
        evidence = {"request": deed.to_json()} if isinstance(deed, SignedRequest) else None
        body = build_body("claim", claim.to_content(), evidence, self.consortium.dice.bytes)
        version = 1 if self.head is None else self.head.version + 1
        refs = () if self.replaces is None or version > 1 else (Ref(self.replaces, self._version_of(self.replaces)),)
        row = ObjectRow(object_id or self.id, version, body.body_hash)
        change = Change("claim", claim.status, (row,), refs, None, claim.last_day)
        transaction = self._transaction(change, number)
        self._judge(transaction, body)
        self.bodies[body.body_hash] = body
        return self.consortium.sign(transaction)

    def done(self, deed: Deed) -> None:
        """Have a deed done, ordered and known to all."""
        self.node.submit(self.endorsed(deed))
        self.spread()

    def spread(self, seconds: int = 6) -> None:
        """Let everybody catch up, within the life of what is under way."""
        for _ in range(seconds):
            self.consortium.hurry()
            self.consortium.step()

    def _version_of(self, key: bytes) -> int:
        head = self.node.replica.record(key)
        return 1 if head is None else head.version

    def _transaction(self, change: Change, number: int) -> Transaction:
        """Put a payload together, with the draw that a node would make."""
        replica, genesis = self.node.replica, self.consortium.genesis
        place = replica.draws(HOSPITAL).number + number
        drawn = replica.members.organisations[draw_order(replica.members, HOSPITAL, place, genesis.ledger)[0]]
        own = replica.members.organisations[HOSPITAL]
        signers = (Signer(own.key(LEDGER_KEY).id, CREATOR), Signer(drawn.key(LEDGER_KEY).id, INDEPENDENT))
        return Transaction(
            creator=HOSPITAL,
            changes=(change,),
            bodies=(),
            signers=tuple(sorted(signers)),
            draw=Draw(0, place, 0),
            ledger=genesis.ledger,
            nonce=self.consortium.dice.bytes(16),
            until=self.consortium.now + UNTIL_S,
            protocol=1,
        )

    def _judge(self, transaction: Transaction, body: Body) -> None:
        """Judge as the drawn endorser does; raises `VerificationError` with the code of the rule broken."""
        (endorser,) = (
            self.node.replica.members.signers[row.key_id] for row in transaction.signers if row.role == INDEPENDENT
        )
        shown = Shown(self.consortium.nodes[endorser.org_id], self.bodies)
        (change,) = transaction.changes
        context = CheckContext(
            genesis=self.consortium.genesis,
            members=issuing(shown.node.replica.members),
            time=self.consortium.now,
            own=endorser.org_id,
            role=INDEPENDENT,
            creator=HOSPITAL,
            signers=transaction.signers,
            change=change,
            row=0,
            previous=shown.head(map_key("claim", HOSPITAL, change.objects[0].id)),
            bodies=shown,
            decision=None,
        )
        check_body(body, context)


def issuing(members: Members) -> Members:
    """Return members of which the hospital issues invoices, which the simulator's genesis does not say."""
    hospital = members.organisations[HOSPITAL]
    issued = Invoices((ISSUER,), (VrfGeneration(0, SECRET.public),))
    return members.with_organisation(replace(hospital, invoices=issued))
