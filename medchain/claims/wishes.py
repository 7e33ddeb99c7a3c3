"""The insurer's side of deeds: to reserve, settle and release its part of an invoice.

Keeps true: what is said to be done is final on this node's own ledger, and its own part of the body which that has says
so, whatever else was announced for that version; a wish
that was fulfilled already is not asked for again, whatever became of the answer; who has not seen the newest version
looks again, and asks anew. Trusts this node's own ledger, bodies and keys.
Source: `docs/spec/claim-deed.md`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from medchain.claims.asking import INACTIVE, NO_MEMBER, ClaimAsker
from medchain.claims.claimed import REVERSED
from medchain.claims.deeds import HEAD, MAX_DONE_BYTES, UNKNOWN, encode_deed, read_done
from medchain.crypto.es384 import Es384Signer
from medchain.encoding import parse_canonical
from medchain.errors import ConflictError, NotFoundError, VerificationError
from medchain.ledger.claim_question import STATUS, AskedRow, Known
from medchain.ledger.claim_request import Action, ClaimRequest
from medchain.ledger.invoice import Amount
from medchain.ledger.kinds.claim import CLAIM
from medchain.ledger.kinds.claim_content import read_shown
from medchain.ledger.kinds.shares import Share, State
from medchain.ledger.members import ACTIVE, Organisation
from medchain.ledger.object import StateRecord, map_key
from medchain.ledger.signed_request import sign_request
from medchain.ledger.transaction import ID_BYTES
from medchain.node.clock import Clock
from medchain.node.ledger_node import LedgerNode
from medchain.node.log import Log

RESERVE: Final = "claims.reserve"
"""Local operation: reserve a part of an invoice."""

SETTLE: Final = "claims.settle"
"""Local operation: settle what was reserved, or less."""

RELEASE: Final = "claims.release"
"""Local operation: give a part up."""

ATTEMPTS: Final = 3
"""How often it is asked where somebody else was first."""

WAIT_S: Final = 30.0
"""How long to wait until this node's own ledger has what is said to be done."""

BODY_S: Final = 5.0
"""How long to wait for the body of what is final."""

_LOOK_S: Final = 0.05
_RESULTS: Final = {Action.RESERVE: State.RESERVED, Action.SETTLE: State.SETTLED, Action.RELEASE: State.RELEASED}
_MOVED_ON: Final = frozenset({HEAD, "transaction.version"})
_LOG: Final = Log("claims")


class DeedWays(Protocol):
    """The way to those who issue invoices."""

    def deed(self, org_id: str, document: bytes) -> bytes:
        """Ask for a deed; raises `UnavailableError`, or the error of the refusal."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What an insurer wants.

    Attributes:
        action: to reserve, to settle or to release.
        row: what it holds of the invoice.
        claim: digest of its own claim, 32 bytes.
        amount: how much, in the invoice's currency; 0 to release.
        until: last day of a reservation, days since 1970-01-01; None for the others.
        key: map key of the claims of which this insurer has a part for its claim, as it is known from before, 32 bytes;
            None where it is not. With it the part is settled or given up also where the hospital has the invoice no
            more, such as after an erasure.
    """

    action: Action
    row: AskedRow
    claim: bytes
    amount: Amount
    until: int | None
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Fulfilled:
    """What a wish came to.

    Attributes:
        hospital: org_id of who issued the invoice.
        claim_id: object id of its claims, 16 bytes.
        record: the version that tells it, final.
        share: this insurer's part after it.
        currency: ISO 4217 code of amounts.
        differs: what this insurer's copy says otherwise than the hospital's invoice, sorted; ``status`` where there is
            none any more.
    """

    hospital: str
    claim_id: bytes
    record: StateRecord
    share: Share
    currency: str
    differs: tuple[str, ...]

    @property
    def amount(self) -> Amount:
        """What the part comes to."""
        return Amount(self.share.amount, self.currency)


class _Id(NamedTuple):
    """The object id of an invoice's claims, 16 bytes, and what this insurer's copy of it says otherwise."""

    claim_id: bytes
    differs: tuple[str, ...]


class ClaimHand:
    """Asks hospitals for deeds. Threads may share it."""

    __slots__ = ("_asker", "_authentication", "_clock", "_org_id", "_side", "_ways")

    def __init__(
        self,
        org_id: str,
        side: LedgerNode,
        asker: ClaimAsker,
        authentication: Es384Signer,
        ways: DeedWays,
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            org_id: this organisation.
            side: ledger, bodies and submitter of its node.
            asker: asks for the ids of invoices.
            authentication: signs requests.
            ways: to hospitals.
            clock: gives Unix seconds.
        """
        self._org_id = org_id
        self._side = side
        self._asker = asker
        self._authentication = authentication
        self._ways = ways
        self._clock = clock

    def fulfil(self, wish: Wish) -> Fulfilled:
        """Have a hospital do what is wanted, or find that it is done.

        Args:
            wish: what is wanted.

        Returns:
            What is final.

        Raises:
            NotFoundError: ``claim.outside`` for an invoice of no member, ``claim.inactive`` for one of a former or
                suspended member, ``claim.unknown`` for one that its hospital does not know, or with a wrong check code.
            ConflictError: `HEAD` where others were first each time; as the hospital says.
            VerificationError: ``claim.*``: the rule that the deed would break, or what it came to is not so.
            UnavailableError: the way, or not final yet: the same may be wanted again.
        """
        hospital = self._asker.issuer(wish.row)
        if hospital is None:
            raise NotFoundError(NO_MEMBER)
        if hospital.status != ACTIVE:
            raise NotFoundError(INACTIVE)
        [answer] = self._asker.ask(hospital.org_id, [wish.row])
        known = _Id(answer.claim_id, answer.differs) if isinstance(answer, Known) else self._remembered(hospital, wish)
        for _ in range(ATTEMPTS - 1):
            try:
                return self._asked(hospital.org_id, known, wish)
            except ConflictError as error:
                if error.code not in _MOVED_ON:
                    raise
                _LOG.info("deed.again", peer=hospital.org_id, code=error.code)
        return self._asked(hospital.org_id, known, wish)

    def _remembered(self, hospital: Organisation, wish: Wish) -> _Id:
        """Tell the id of claims of which a live part for the wish's claim is here: who has one goes by the ledger.

        Raises:
            NotFoundError: `UNKNOWN` where there is none.
        """
        record = None if wish.key is None else self._side.replica.store.record(wish.key)
        if record is not None and (record.kind, record.creator) == (CLAIM, hospital.org_id):
            part = self._found(record.key, lambda share: share.claim == wish.claim and share.is_live)
            if part is not None and wish.action is not Action.RESERVE:
                return _Id(record.id, (STATUS,))
        raise NotFoundError(UNKNOWN)

    def _asked(self, org_id: str, known: _Id, wish: Wish) -> Fulfilled:
        """Ask once, against what this node's ledger has now."""
        key = map_key(CLAIM, org_id, known.claim_id)
        done = self._found(key, lambda share: _is_fulfilled(share, wish))
        if done is None or (wish.action is Action.RESERVE and done[0].status == REVERSED):
            # Of an invoice that was taken back a reservation stays told, and is none.
            done = self._new(org_id, key, known, wish)
        else:
            # Ordered, perhaps not final yet: asked for again it would be refused as done already.
            self._side.submitter.wait_final(key, done[0].version, WAIT_S)
        return Fulfilled(org_id, known.claim_id, *done, wish.amount.currency, known.differs)

    def _new(self, org_id: str, key: bytes, known: _Id, wish: Wish) -> tuple[StateRecord, Share]:
        """Ask for what is not done yet, and see that it is done."""
        head = self._side.replica.store.record(key)
        request = ClaimRequest(
            ledger=self._side.replica.ledger,
            nonce=secrets.token_bytes(ID_BYTES),
            time=self._clock(),
            action=wish.action,
            hospital=org_id,
            insurer=self._org_id,
            claim_id=known.claim_id,
            head=0 if head is None else head.version,
            claim=wish.claim,
            amount=wish.amount.minor,
            currency=wish.amount.currency,
            until=wish.until,
        )
        signed = sign_request(self._authentication, request)
        try:
            answer = self._ways.deed(org_id, encode_deed(signed, wish.row))
        except ConflictError as error:
            if error.code in _MOVED_ON:
                # Somebody was first: the next attempt is against that version.
                self._side.submitter.wait_final(key, request.head + 1, WAIT_S)
            raise
        done = read_done(parse_canonical(answer, max_bytes=MAX_DONE_BYTES))
        if done.key != key or done.version <= request.head:
            raise VerificationError("claim.done")
        self._side.submitter.wait_final(key, done.version, WAIT_S)
        deadline = time.monotonic() + BODY_S
        while (found := self._found(key, lambda share: share.request == request.hash)) is None:
            if time.monotonic() >= deadline:
                raise VerificationError("claim.done")
            # A body that this node did not take at once is offered again, and may come after the version is final.
            time.sleep(_LOOK_S)
        return found

    def _found(self, key: bytes, fits: Callable[[Share], bool]) -> tuple[StateRecord, Share] | None:
        """Find the newest version whose part for this insurer is here, and a part in it that fits."""
        for record in self._side.replica.store.history(key):
            body = self._side.shelf.ordered(record)
            if body is None:
                continue
            shares = read_shown(body.content).shares.rows
            mine = (share for share in shares if share is not None and share.insurer == self._org_id)
            share = next((one for one in mine if fits(one)), None)
            return None if share is None else (record, share)
        return None


def _is_fulfilled(share: Share, wish: Wish) -> bool:
    """Tell whether a part is what is wanted already."""
    told = (share.claim, share.state)
    amount = wish.amount.minor if wish.action is not Action.RELEASE else share.amount
    return told == (wish.claim, _RESULTS[wish.action]) and (share.amount, share.until) == (amount, wish.until)
