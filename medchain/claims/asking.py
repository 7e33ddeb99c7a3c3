"""The insurer's side of a question: which hospitals issued the invoices that it holds, and whether they are claimed.

Keeps true: an id is taken only if the proof shows that it follows from the invoice under the key that the ledger lists
for its issuer and date; whether it is claimed is what this node's own ledger says; who does not answer, or lies, makes
a row uncertain, never free. Trusts this node's own ledger, keys and clock.
Source: `docs/spec/claim-question.md` 11 to 14.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from medchain.claims.fishing import FISHING, WRONG
from medchain.crypto.es384 import Es384Signer
from medchain.crypto.vrf import vrf_verify
from medchain.errors import MedchainError, UnavailableError, VerificationError
from medchain.ledger.claim_question import (
    DATE,
    MAX_ANSWER_BYTES,
    MAX_ROWS,
    NUMBER,
    AskedRow,
    ClaimQuestion,
    Known,
    Unanswered,
    named_otherwise,
    parse_answer,
)
from medchain.ledger.evidence.document import Asked, Questioned
from medchain.ledger.invoice import claim_id
from medchain.ledger.kinds.claim import CLAIM
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.members import ACTIVE, Members, Organisation
from medchain.ledger.object import StateRecord, map_key
from medchain.ledger.signed_request import SignedRequest, sign_request
from medchain.ledger.transaction import ID_BYTES
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.peers import JSON, Limits, PeerClient

CHECK: Final = "claims.check"
"""Local operation: ask of which hospitals invoices are, and whether they are claimed."""

MAX_CHECKED: Final = 500
"""Most invoices of one such operation."""

AT_ONCE: Final = 4
"""How many hospitals are asked at once: one that does not answer keeps no other waiting."""

RELEASED: Final = "released"
"""Status of an invoice of which nothing is claimed any more."""

NO_MEMBER: Final = "claim.outside"
"""Reason: no member issues invoices under that code."""

INACTIVE: Final = "claim.inactive"
"""Reason: who issues invoices under it is suspended, or no member any more."""

_ANSWER: Final = Limits(timeout_s=30.0, max_bytes=MAX_ANSWER_BYTES)
_DEED: Final = Limits(timeout_s=75.0, max_bytes=4096)
_REPORT: Final = Limits(timeout_s=15.0)
_LOG: Final = Log("claims")


class Hospitals(Protocol):
    """The way to those who issue invoices."""

    def question(self, org_id: str, document: bytes) -> bytes:
        """Ask for invoices; raises `UnavailableError`, or the error of the refusal."""
        ...


class HttpClaims:
    """The ways of claims between nodes, over HTTP; fills the ports of `.fishing`, `.disputes` and `.wishes`, too."""

    __slots__ = ("_peers",)

    def __init__(self, peers: PeerClient) -> None:
        """Use the node's calls."""
        self._peers = peers

    def question(self, org_id: str, document: bytes) -> bytes:
        """Ask for invoices."""
        return self._peers.post(org_id, "/claims/question", document, JSON, _ANSWER).body

    def deed(self, org_id: str, document: bytes) -> bytes:
        """Ask for a deed."""
        return self._peers.post(org_id, "/claims/deed", document, JSON, _DEED).body

    def dispute(self, org_id: str, document: bytes) -> bytes:
        """Bring a step of a dispute."""
        return self._peers.post(org_id, "/claims/dispute", document, JSON, _REPORT).body

    def fishing(self, org_id: str, document: bytes) -> None:
        """Bring a report."""
        self._peers.post(org_id, "/claims/fishing", document, JSON, _REPORT)


class Finding(StrEnum):
    """What came of a row."""

    FREE = "free"
    """Nothing is claimed of it as far as this node's ledger is final."""
    APART = "apart"
    """It is claimed otherwise: of a whole invoice a line, of a line the whole."""
    RESERVED = "reserved"
    """A part or all of it is reserved."""
    SETTLED = "settled"
    """A part or all of it is paid."""
    REVERSED = "reversed"
    """The hospital has taken the invoice back."""
    UNKNOWN = "unknown"
    """The hospital has no such invoice, or its check code is another one."""
    STOPPED = "stopped"
    """The hospital answers no more questions today: too many were in vain."""
    OUTSIDE = "outside"
    """No member issues invoices under that code: nothing can be checked."""
    UNREACHABLE = "unreachable"
    """The hospital does not answer now."""
    REFUSED = "refused"
    """The hospital refuses to answer, or its answer does not hold."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a row.

    Attributes:
        finding: in one word.
        hospital: org_id of who issued the invoice; empty where no member did.
        known: what it answered; None where it did not tell.
        record: newest state of the invoice's claims on this node's ledger; None where there is none.
        reason: stable code of what went wrong; empty where nothing did.
    """

    finding: Finding
    hospital: str = ""
    known: Known | None = None
    record: StateRecord | None = None
    reason: str = ""


class _Answer(NamedTuple):
    """A question, and what came back."""

    signed: SignedRequest[ClaimQuestion]
    document: bytes


@dataclass(frozen=True, slots=True)
class AskingParts:
    """What questions are made from.

    Attributes:
        org_id: this organisation.
        ledger: ledger id, 32 bytes.
        members: gives those of this moment.
        record: gives the newest state of an object on this node's ledger, by its map key; None where there is none.
        authentication: signs questions.
        hospitals: the way to them.
        clock: gives Unix seconds.
    """

    org_id: str
    ledger: bytes
    members: Callable[[], Members]
    record: Callable[[bytes], StateRecord | None]
    authentication: Es384Signer
    hospitals: Hospitals
    clock: Clock


class ClaimAsker:
    """Asks whether invoices are claimed. Threads may share it."""

    __slots__ = ("_parts",)

    def __init__(self, parts: AskingParts) -> None:
        """Use parts."""
        self._parts = parts

    def check(self, rows: Sequence[AskedRow]) -> list[Checked]:
        """Ask of which hospitals invoices are, and whether they are claimed.

        Args:
            rows: what this insurer holds of each.

        Returns:
            What came of each, in order.
        """
        found: dict[int, Checked] = {}
        of_hospital: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            issuer = self.issuer(row)
            if issuer is None:
                found[place] = Checked(Finding.OUTSIDE, reason=NO_MEMBER)
            elif issuer.status != ACTIVE:
                found[place] = Checked(Finding.OUTSIDE, issuer.org_id, reason=INACTIVE)
            else:
                of_hospital.setdefault(issuer.org_id, []).append(place)
        asked = [(org_id, [rows[place] for place in places]) for org_id, places in of_hospital.items()]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for places, came in zip(
                of_hospital.values(), threads.map(lambda part: self._asked(*part), asked), strict=True
            ):
                found |= zip(places, came, strict=True)
        return [found[place] for place in range(len(rows))]

    def ask(self, org_id: str, rows: Sequence[AskedRow]) -> list[Known | Unanswered]:
        """Ask one hospital.

        Args:
            org_id: of the hospital.
            rows: 1 to `MAX_ROWS`.

        Returns:
            Its answers, in order; each id follows from its invoice.

        Raises:
            VerificationError: ``claim.answer``, ``.invoice``, ``.key``, ``.id``, ``vrf.*``: it answered what is not so.
            UnavailableError: the way, or the hospital answers no more today.
            MedchainError: the refusal.
        """
        return self._judged(org_id, self._sent(org_id, rows))

    def inquire(self, row: AskedRow) -> Questioned:
        """Ask for one invoice, and keep the question and its answer as evidence.

        Args:
            row: what this insurer holds of it.

        Returns:
            What came of it; a refusal and a way that is lost are that, too.
        """
        issuer = self.issuer(row)
        if issuer is None:
            return Questioned(Asked.OUTSIDE)
        if issuer.status != ACTIVE:
            return Questioned(Asked.INACTIVE, issuer.org_id)
        try:
            sent = self._sent(issuer.org_id, [row])
            [answer] = self._judged(issuer.org_id, sent)
        except MedchainError as error:
            _LOG.warning("question.failed", code=error.code, peer=issuer.org_id)
            return Questioned(Asked(_failure(error).value), issuer.org_id)
        if answer is Unanswered.STOPPED:
            return Questioned(Asked.STOPPED, issuer.org_id, sent.signed)
        state = Asked.KNOWN if isinstance(answer, Known) else Asked.UNKNOWN
        return Questioned(state, issuer.org_id, sent.signed, answer)

    def issuer(self, row: AskedRow) -> Organisation | None:
        """Return the organisation to which an invoice's issuer code belongs, a removed one too; None for none."""
        code, members = row.fields.issuer, self._parts.members().organisations.values()
        return next((one for one in members if one.invoices is not None and code in one.invoices.issuers), None)

    def _sent(self, org_id: str, rows: Sequence[AskedRow]) -> _Answer:
        """Ask one hospital; nothing of the answer is judged yet; raises as `ask`."""
        parts = self._parts
        question = ClaimQuestion(
            ledger=parts.ledger,
            nonce=secrets.token_bytes(ID_BYTES),
            time=parts.clock(),
            hospital=org_id,
            insurer=parts.org_id,
            rows=tuple(rows),
        )
        signed = sign_request(parts.authentication, question)
        return _Answer(signed, parts.hospitals.question(org_id, signed.encode()))

    def _judged(self, org_id: str, sent: _Answer) -> list[Known | Unanswered]:
        """Take what an answer shows to be so; raises as `ask`."""
        question = sent.signed.request
        answers = parse_answer(sent.document, question)
        hospital = self._parts.members().organisations[org_id]
        for row, answer in zip(question.rows, answers, strict=True):
            if isinstance(answer, Known):
                _check_known(row, answer, hospital)
        return answers

    def _asked(self, org_id: str, rows: Sequence[AskedRow]) -> list[Checked]:
        """Ask one hospital part by part; after one that came to nothing, of the rest it is said so."""
        found: list[Checked] = []
        try:
            for answers in self._answers(org_id, rows):
                found += [self._found(org_id, answer) for answer in answers]
        except MedchainError as error:
            _LOG.warning("question.failed", code=error.code, peer=org_id)
            found += [Checked(_failure(error), org_id, reason=error.code)] * (len(rows) - len(found))
        return found

    def _answers(self, org_id: str, rows: Sequence[AskedRow]) -> Iterator[list[Known | Unanswered]]:
        """Ask part by part: while one answer is judged, the hospital has the next question, and never two at once."""
        parts = [rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS)]
        with ThreadPoolExecutor(1) as sender:
            coming: Future[_Answer] = sender.submit(self._sent, org_id, parts[0])
            for following in [*parts[1:], None]:
                sent = coming.result()
                if following is not None:
                    coming = sender.submit(self._sent, org_id, following)
                yield self._judged(org_id, sent)

    def _found(self, org_id: str, answer: Known | Unanswered) -> Checked:
        """Look on this node's own ledger what is claimed."""
        if answer is Unanswered.STOPPED:
            return Checked(Finding.STOPPED, org_id, reason=FISHING)
        if not isinstance(answer, Known):
            return Checked(Finding.UNKNOWN, org_id, reason=WRONG)
        record = self._parts.record(map_key(CLAIM, org_id, answer.claim_id))
        standing = _standing(record, self._parts.clock() // DAY_S)
        # What is free by itself cannot be reserved where it is claimed otherwise.
        found = Finding.APART if answer.is_apart and standing is Finding.FREE else standing
        return Checked(found, org_id, answer, record)


def _check_known(row: AskedRow, answer: Known, hospital: Organisation) -> None:
    """Check that an id is that of an invoice of a hospital, and of the part of it that was asked for.

    Raises:
        VerificationError: ``claim.invoice``, ``.key``, ``.id``, ``vrf.*``.
    """
    invoice, own = answer.invoice, hospital.invoices
    asked = (row.fields.issuer, row.scope, row.line)
    if own is None or invoice.issuer not in own.issuers or (invoice.issuer, invoice.scope, invoice.line) != asked:
        raise VerificationError("claim.invoice")
    if named_otherwise(row, invoice) != {DATE, NUMBER} & set(answer.differs):
        # Unsaid, a hospital could show each insurer another invoice for one that they both hold.
        raise VerificationError("claim.invoice")
    generation = own.generation(invoice.day)
    if generation is None or generation.public != answer.key:
        raise VerificationError("claim.key")
    if claim_id(vrf_verify(answer.key, invoice.alpha, answer.proof)) != answer.claim_id:
        raise VerificationError("claim.id")


def _standing(record: StateRecord | None, today: int) -> Finding:
    """Say what a state of an invoice's claims means; what nobody outside can tell is taken for claimed.

    A reservation that is over leaves what was paid beside it, which the status does not show: only the first version
    has nothing beside it.
    """
    if record is None or record.status == RELEASED:
        return Finding.FREE
    if record.status == Finding.REVERSED:
        return Finding.REVERSED
    if record.status != Finding.RESERVED:
        return Finding.SETTLED
    is_over = record.version == 1 and record.expires is not None and record.expires < today
    return Finding.FREE if is_over else Finding.RESERVED


def _failure(error: MedchainError) -> Finding:
    """Say what it means that a hospital was asked in vain."""
    if error.code == FISHING:
        return Finding.STOPPED
    return Finding.UNREACHABLE if isinstance(error, UnavailableError) else Finding.REFUSED
