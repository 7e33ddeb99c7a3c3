"""The hospital's side of a question: which of the invoices that an insurer holds are its own, and their claim ids.

Keeps true: an invoice is told of only to who shows its check code; what is not there and what is shown with another
code cost the same and look the same; each invoice that was asked for is on the audit, and what was asked for in vain is
counted, before an answer leaves. Trusts the register for the invoices, and its caller for who calls.
Source: `docs/spec/claim-question.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from medchain.claims.fishing import FishingWatch
from medchain.claims.issuing import Issuing
from medchain.claims.register import Issued, Questions
from medchain.encoding import parse_canonical
from medchain.ledger.claim_question import (
    AMOUNT,
    MAX_QUESTION_BYTES,
    STATUS,
    AskedRow,
    ClaimQuestion,
    Known,
    RowAnswer,
    Unanswered,
    encode_answer,
    named_otherwise,
)
from medchain.ledger.signed_request import read_request
from medchain.node.log import Log

_LOG: Final = Log("claims")


class _Told(NamedTuple):
    """What is answered to a row, and the invoice that it is about; None where there is none."""

    answer: RowAnswer
    issued: Issued | None = None


class QuestionDesk:
    """Answers questions. Threads may share it; one process owns it."""

    __slots__ = ("_fishing", "_is_apart", "_is_taken_back", "_issuing", "_questions")

    def __init__(
        self,
        issuing: Issuing,
        questions: Questions,
        fishing: FishingWatch,
        is_apart: Callable[[Issued, str], bool],
        is_taken_back: Callable[[Issued, str], bool],
    ) -> None:
        """Prepare.

        Args:
            issuing: this organisation's invoices.
            questions: the audit.
            fishing: counts what was asked for in vain.
            is_apart: tells whether an invoice is claimed by its lines, or a line with the whole, to who holds it.
            is_taken_back: tells whether a line is of an invoice that was taken back on the ledger, likewise.
        """
        self._issuing = issuing
        self._is_apart = is_apart
        self._is_taken_back = is_taken_back
        self._questions = questions
        self._fishing = fishing

    def answer(self, document: bytes, peer: str) -> bytes:
        """Answer a question.

        Args:
            document: from `medchain.ledger.signed_request.SignedRequest.encode`.
            peer: org_id of who calls.

        Returns:
            `medchain.ledger.claim_question.encode_answer`.

        Raises:
            InputError: as `ClaimQuestion.read`.
            AccessDeniedError: as `Issuing.check_request`.
            UnavailableError: ``claim.fishing`` for who has used up its day; the disk, or the audit.
        """
        signed = read_request(ClaimQuestion, parse_canonical(document, max_bytes=MAX_QUESTION_BYTES))
        self._issuing.check_request(signed, peer, signed.request.hospital)
        with self._fishing.counting:
            told = self._told(signed.request, self._fishing.check(peer))
            self._note(peer, signed.request, told)
        # Nobody else's question or deed waits while each line of large invoices is looked for.
        rows = zip(signed.request.rows, told, strict=True)
        return encode_answer(signed.request.hash, [self._now(peer, row, one) for row, one in rows])

    def _told(self, question: ClaimQuestion, left: int) -> list[_Told]:
        """Answer row by row, until too many were asked for in vain."""
        told: list[_Told] = []
        for row in question.rows:
            told.append(self._row(row) if left else _Told(Unanswered.STOPPED))
            left -= told[-1].answer is Unanswered.UNKNOWN
        return told

    def _row(self, row: AskedRow) -> _Told:
        """Answer one."""
        issued, proven, is_held = self._issuing.show(row)
        if issued is None or not is_held:
            return _Told(Unanswered.UNKNOWN, issued)
        return _Told(Known(issued.invoice, *proven, ()), issued)

    def _now(self, peer: str, row: AskedRow, told: _Told) -> RowAnswer:
        """Say of what is known how it stands now."""
        answer, issued = told
        if issued is None or not isinstance(answer, Known):
            return answer
        differs = _differences(row, issued, is_taken_back=self._is_taken_back(issued, peer))
        return replace(answer, differs=differs, is_apart=self._is_apart(issued, peer))

    def _note(self, peer: str, question: ClaimQuestion, told: Sequence[_Told]) -> None:
        """Have it on disk who asked for which invoices, and how many in vain, before anything is answered."""
        wrong = sum(one.answer is Unanswered.UNKNOWN for one in told)
        if wrong:
            self._fishing.note(peer, wrong)
            _LOG.warning("question.in_vain", peer=peer, count=wrong)
        for is_known in (True, False):
            found = [
                one.issued.number
                for one in told
                if one.issued is not None and isinstance(one.answer, Known) is is_known
            ]
            if found:
                self._questions.questioned(peer, question.hash, found, is_known=is_known)


def _differences(row: AskedRow, issued: Issued, *, is_taken_back: bool) -> tuple[str, ...]:
    """Say what the insurer's copy says otherwise, sorted."""
    money = row.money
    is_other = {AMOUNT: money is not None and money != issued.amount, STATUS: is_taken_back or not issued.is_issued}
    named = named_otherwise(row, issued.invoice)
    return tuple(sorted({name for name, differs in is_other.items() if differs} | named))
