"""Kind claim: what insurers have of one invoice; one object for each invoice, of the hospital that issued it.

Keeps true: an invoice has one object, whose id nobody but its issuer can make and everybody who is shown the proof can
check; no part of it is reserved, settled or released that its insurer has not signed for, at the very version that it
had seen; together no more is taken than the invoice's total; what was reversed is never claimed again. Each version
tells one deed, and follows from the one before. Trusts the hospital and a drawn organisation for what the invoice says.
Source: `docs/spec/claim.md`.
"""

from __future__ import annotations

from typing import Final

from medchain.crypto.vrf import vrf_verify
from medchain.encoding import members
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.invoice import claim_id
from medchain.ledger.kind import HOLDER, CheckContext, Kind, Place, refuse
from medchain.ledger.kinds.claim_content import (
    REVERSED,
    Bill,
    Claim,
    on_refund,
    on_request,
    on_reversal,
    read,
    read_shown,
)
from medchain.ledger.kinds.content import DAY_S, check_event_time, check_full, check_parties
from medchain.ledger.kinds.shares import Shares, State
from medchain.ledger.object import Body, Evidence
from medchain.ledger.signed_request import REQUEST_AHEAD_S, REQUEST_LIFE_S, SignedRequest, read_request
from medchain.ledger.transaction import INDEPENDENT

CLAIM: Final = "claim"
"""Kind of the objects that say what is claimed of an invoice."""

PAYING: Final = frozenset({"insurer", "authority"})
"""Roles of who may have a part of an invoice."""

MAX_DELAY_S: Final = REQUEST_LIFE_S + 60
"""How long after its request a deed may be dated, and after that be endorsed, in seconds."""

_RESULTS: Final = {
    Action.RESERVE: State.RESERVED,
    Action.SETTLE: State.SETTLED,
    Action.RELEASE: State.RELEASED,
}


def request_of(body: Body) -> SignedRequest[ClaimRequest] | None:
    """Read the insurer's request in the evidence; None for what the hospital does itself; raises `InputError`."""
    value = body.evidence.value if isinstance(body.evidence, Evidence) else None
    if value is None:
        return None
    return read_request(ClaimRequest, members(value, {"request": dict})["request"])


def check_form(body: Body, place: Place) -> None:
    """Judge a body, or an insurer's part of it, by itself: the proof makes the id, and the request bears the deed.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``vrf.key``, ``vrf.proof``; ``claim.id``, ``.status``, ``.request``.
    """
    claim = read_shown(body.content)
    bill = claim.bill
    if claim_id(vrf_verify(bill.key, bill.invoice.alpha, bill.proof)) != place.object_id:
        # One invoice, one object, where everybody looks: a second one would not be missed.
        refuse("claim.id")
    if place.status not in _statuses(claim, is_full=body.is_full):
        refuse("claim.status", status=place.status)
    _check_request(claim, request_of(body), place)


def check(body: Body, context: CheckContext) -> None:
    """Judge a claim's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``claim.not_full``, ``.organisation``, ``.party``, ``.role``, ``.alone``, ``.insurer``,
            ``.issuer``, ``.key``, ``.time``, ``.date``, ``.expires``, ``.refs``, ``.head``, ``.request``, ``.changed``,
            ``.amount``, ``.reservation``, ``.repeated``, ``.until``, ``.full``; what `check_form` raises.
    """
    check_full(context, is_full=body.is_full, kind=CLAIM)
    claim = (read_shown if context.role == HOLDER else read)(body.content)
    _check_signers(claim, context)
    check_form(body, context.place)
    _check_issuer(claim.bill, context)
    _check_refs(claim.bill, context)
    _check_time(claim, context)
    signed = request_of(body)
    if signed is not None:
        _check_insurer(signed, context)
    before = None if context.previous is None else context.previous[1]
    is_whole = body.is_full and (context.version == 1 or (before is not None and before.is_full))
    if is_whole:
        _check_whole(claim, signed, before, context)
    elif context.role == HOLDER:
        _check_part(claim, before, context)
    else:
        refuse("claim.not_full")


def _check_signers(claim: Claim, context: CheckContext) -> None:
    """Check who acts and who endorses; whatever the policy says, a hospital does not vouch alone."""
    acting = claim.changed
    known = {row.insurer for row in claim.shares.rows if row is not None}
    check_parties(context, () if acting is None else (acting.insurer,), CLAIM, former=known)
    if not any(row.role == INDEPENDENT for row in context.signers):
        refuse("claim.alone")


def _check_time(claim: Claim, context: CheckContext) -> None:
    """Refuse a deed that is not of now, and an invoice dated later than anywhere in the world."""
    check_event_time(context, claim.time, "claim.time")
    if claim.time < context.time - MAX_DELAY_S:
        # Which reservations are over follows from it.
        refuse("claim.time", time=claim.time)
    if claim.bill.invoice.day > claim.time // DAY_S + 1:
        # A key that begins later could be listed meanwhile, and give the invoice a second id.
        refuse("claim.date", day=claim.bill.invoice.day)


def _statuses(claim: Claim, *, is_full: bool) -> frozenset[str]:
    """Tell which statuses a version may have; where parts are hidden, also those to which these would lead."""
    if is_full or claim.deed.action is Action.REVERSE:
        return frozenset({claim.status})
    order = [State.RELEASED, State.SETTLED, State.RESERVED]
    return frozenset(state.value for state in order[order.index(claim.shares.state) :])


def _check_request(claim: Claim, signed: SignedRequest[ClaimRequest] | None, place: Place) -> None:
    """Refuse a deed that its insurer's request does not bear; signatures are not looked at."""
    row, deed = claim.changed, claim.deed
    if signed is None and deed.share is None:
        return
    if signed is None or row is None:
        refuse("claim.request")
    request = signed.request
    bears = {
        "action": (request.action, _RESULTS[request.action]) == (deed.action, row.state),
        "amount": request.amount == deed.amount and (row.amount == deed.amount or row.state is State.RELEASED),
        "claim": (request.claim, request.claim_id) == (row.claim, place.object_id),
        "currency": request.currency == claim.bill.currency,
        "request": (request.hash, request.until) == (row.request, row.until),
        "who": (request.insurer, request.hospital) == (row.insurer, place.creator),
        "time": -REQUEST_AHEAD_S <= claim.time - request.time <= MAX_DELAY_S,
    }
    for name, holds in bears.items():
        if not holds:
            refuse("claim.request", field=name)


def _check_issuer(bill: Bill, context: CheckContext) -> None:
    """Refuse another organisation's invoice, and a key that is not the creator's for the invoice's day."""
    invoices = context.members.organisations[context.creator].invoices
    if invoices is None or bill.invoice.issuer not in invoices.issuers:
        refuse("claim.issuer")
    generation = invoices.generation(bill.invoice.day)
    if generation is None or generation.public != bill.key:
        # With a key of its choice a hospital would give one invoice as many ids as it has keys.
        refuse("claim.key")


def _check_refs(bill: Bill, context: CheckContext) -> None:
    """Check that the first version stands on the reversed claims that it replaces, and no later one on anything."""
    replaced = bill.replaces if context.version == 1 else None
    if [ref.key for ref in context.change.refs] != ([] if replaced is None else [replaced]):
        refuse("claim.refs")
    if replaced is not None:
        head = context.bodies.state(replaced)
        if head is None or (head.kind, head.creator, head.status) != (CLAIM, context.creator, REVERSED):
            refuse("claim.refs")


def _check_insurer(signed: SignedRequest[ClaimRequest], context: CheckContext) -> None:
    """Refuse a request that a paying member has not signed for this ledger and for the version before this one."""
    insurer = context.members.organisations[signed.request.insurer]
    if insurer.role not in PAYING or insurer.org_id == context.creator:
        refuse("claim.insurer", org_id=insurer.org_id)
    if not signed.is_of(insurer, context.genesis.ledger):
        refuse("claim.request", field="signature")
    if signed.request.head != context.version - 1:
        refuse("claim.head", head=signed.request.head)


def _check_whole(
    claim: Claim, signed: SignedRequest[ClaimRequest] | None, before: Body | None, context: CheckContext
) -> None:
    """Check that a version is what its deed makes of the version before."""
    bill, shares = claim.bill, Shares(claim.shares.total)
    if before is not None:
        known = read(before.content)
        bill, shares = known.bill, known.shares
    if signed is not None:
        expected = on_request(bill, shares, signed.request, claim.time)
    elif claim.deed.action is Action.REFUND:
        expected = on_refund(bill, shares, claim.deed.amount, claim.time)
    else:
        expected = on_reversal(bill, shares, claim.time)
    if claim != expected:
        refuse("claim.changed")
    if context.change.expires != claim.last_day:
        refuse("claim.expires")


def _check_part(claim: Claim, before: Body | None, context: CheckContext) -> None:
    """Check what an insurer can see by its own part; for the parts of others the drawn endorser vouches."""
    row, total = claim.changed, claim.shares.total
    if row is not None and row.is_live and not 0 <= claim.open <= total - row.amount:
        refuse("claim.amount", amount=row.amount)
    last, expires = claim.last_day, context.change.expires
    if last is not None and (expires is None or expires < last):
        refuse("claim.expires")
    if before is not None:
        known = read_shown(before.content)
        less = claim.deed.amount if claim.deed.action is Action.REFUND else 0
        if (claim.bill, total) != (known.bill, known.shares.total - less):
            refuse("claim.changed")


_ALL: Final = frozenset({State.RESERVED.value, State.SETTLED.value, State.RELEASED.value, REVERSED})
KIND: Final = Kind(
    name=CLAIM,
    number=11,
    transitions={
        None: frozenset({State.RESERVED.value, REVERSED}),
        State.RESERVED.value: _ALL,
        State.SETTLED.value: _ALL,
        State.RELEASED.value: _ALL - {State.SETTLED.value},
    },
    check=check,
    form=check_form,
    stands_alone=True,
    max_until_s=60,
    refs=(CLAIM,),
    refs_optional=True,
    refs_in=frozenset({State.RESERVED.value, REVERSED}),
    refs_status=REVERSED,
)
"""One object for an invoice, each version a deed; what was reversed stays so. An insurer holds some versions alone."""
