"""One invoice of Renhe's and what insurers do with it, seen by those who check it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from medchain.crypto.es384 import Es384Signer
from medchain.crypto.vrf import VrfKey, vrf_output
from medchain.encoding import Json
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.invoice import InvoiceFields, Scope, claim_id, invoice_of
from medchain.ledger.kinds.claim_content import Bill, Claim, on_refund, on_request, on_reversal, shown_to
from medchain.ledger.kinds.shares import Shares
from medchain.ledger.object import Body, StateRecord, build_body
from medchain.ledger.signed_request import SignedRequest, sign_request
from tests.unit.medchain.ledger.kinds.case import Case, code
from tests.unit.medchain.ledger.world import ANXIN, DAY, RENHE, TIME, fresh, genesis, invoices, seed, vrf_key

ISSUER = "12990100MB0001"
TOTAL = 100_000
DIGEST = seed("claim of anxin")
INVOICE = invoice_of(Scope.INVOICE, ISSUER, "99060125", "1774778511", DAY - 60)


def bill(invoice: InvoiceFields = INVOICE, pen: VrfKey | None = None, **changes: object) -> Bill:
    """Make what never changes, with the proof of a key."""
    pen = pen or vrf_key(RENHE)
    return replace(Bill(invoice, pen.public, pen.prove(invoice.alpha), "A1B2C3", "CNY"), **changes)


def id_of(made: Bill) -> bytes:
    """Return the object id that a proof makes."""
    return claim_id(vrf_output(made.proof))


def asked(
    action: str = "reserve", amount: int = 60_000, head: int = 0, pen: str = "", **changes: object
) -> SignedRequest[ClaimRequest]:
    """Have an insurer sign a request about the invoice."""
    wish = Action(action)
    made = ClaimRequest(
        ledger=genesis().ledger,
        action=wish,
        hospital=RENHE,
        insurer=ANXIN,
        claim_id=id_of(bill()),
        head=head,
        claim=DIGEST,
        amount=0 if wish is Action.RELEASE else amount,
        currency="CNY",
        until=DAY + 10 if wish is Action.RESERVE else None,
        nonce=fresh(16),
        time=TIME - 5,
    )
    made = replace(made, **changes)
    return sign_request(Es384Signer(seed(pen or made.insurer, "authentication", 1)), made)


def body_of(claim: Claim, signed: SignedRequest[ClaimRequest] | None) -> Body:
    """Make a body with the request in its evidence."""
    return build_body("claim", claim.to_content(), None if signed is None else {"request": signed.to_json()}, fresh)


def part_of(body: Body, org_id: str) -> Body:
    """Return what an insurer is shown."""
    return body.redact(shown_to(body.content, org_id), keep_evidence=True)


@dataclass
class ClaimCase(Case):
    """Renhe issues invoices; each version is drafted as Renhe does, and checked as asked for."""

    bill: Bill = None

    def __post_init__(self) -> None:
        """Give Renhe its issuer code and the key of its invoices' ids."""
        renhe = self.world.members.organisations[RENHE]
        self.world.members = self.world.members.with_organisation(replace(renhe, invoices=invoices(RENHE, ISSUER)))
        self.bill = bill()

    def shares(self, before: StateRecord | None, total: int = TOTAL) -> Shares:
        """Return the parts as a version has them."""
        if before is None:
            return Shares(total)
        return self.claims[before.key, before.version].shares

    @property
    def claims(self) -> dict[tuple[bytes, int], Claim]:
        """The versions that were kept."""
        return self.__dict__.setdefault("_claims", {})

    def drafted(
        self, deed: SignedRequest[ClaimRequest] | int | None, before: StateRecord | None = None, time: int = TIME
    ) -> Claim:
        """Make the next version: of an insurer's request, a refund of an amount, or a reversal."""
        parts = self.shares(before)
        if isinstance(deed, SignedRequest):
            return on_request(self.bill, parts, deed.request, time)
        return on_reversal(self.bill, parts, time) if deed is None else on_refund(self.bill, parts, deed, time)

    def version(self, claim: Claim, signed=None, before: StateRecord | None = None, **changes: object):
        """Make body and context of a version."""
        body = changes.pop("body", None) or body_of(claim, signed)
        object_id = changes.pop("object_id", None) or id_of(self.bill)
        terms = {"status": claim.status, "expires": claim.last_day, "object_id": object_id, "before": before}
        return body, self.context("claim", body, **(terms | changes))

    def keep_version(self, claim: Claim, body: Body, before: StateRecord | None = None) -> StateRecord:
        """Put a version into the state."""
        kept = self.world.add(
            "claim",
            RENHE,
            claim.status,
            id=id_of(claim.bill),
            version=1 if before is None else before.version + 1,
            body_hash=body.body_hash,
            expires=claim.last_day,
            previous=None if before is None else before.digest,
        )
        self.bodies[kept.key] = (kept, body)
        self.claims[kept.key, kept.version] = claim
        return kept

    def done(self, deed=None, before: StateRecord | None = None, time: int = TIME, **changes: object) -> StateRecord:
        """Have a deed drafted, checked by the drawn endorser and kept."""
        claim = self.drafted(deed, before, time)
        signed = deed if isinstance(deed, SignedRequest) else None
        body, context = self.version(claim, signed, before, time=time, **changes)
        assert code(body, context) == ""
        return self.keep_version(claim, body, before)

    def spoiled(
        self, claim: Claim, signed, changes: dict[str, Json], before: StateRecord | None = None, **more: object
    ):
        """Make a version whose content says something else than its deed makes of the one before."""
        evidence = None if signed is None else {"request": signed.to_json()}
        body = build_body("claim", {**claim.to_content(), **changes}, evidence, fresh)
        return self.version(claim, before=before, body=body, **more)
