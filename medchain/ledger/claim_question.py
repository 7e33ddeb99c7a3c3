"""The question whether the issuing hospital knows some invoices, and the answer with their claim ids: formats.

Keeps true: a question is for one ledger, hospital and insurer, signed by the latter, and has one spelling; an answer
names the question that it answers; of an invoice that is not there and one whose check code is wrong it says the same.
Pure. Trusts nothing that is parsed.
Source: `docs/spec/claim-question.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Self, TypeAlias

from medchain.crypto.vrf import VRF_PROOF_BYTES, VRF_PUBLIC_BYTES
from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.invoice import Amount, InvoiceFields, Scope, amount_of, day_of, invoice_of, read_invoice, spelled
from medchain.ledger.kinds.content import count, short_text
from medchain.ledger.signed_request import Request
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES

MAX_ROWS: Final = 100
"""Most invoices of one question."""

MAX_QUESTION_BYTES: Final = 64 * 1024
"""Largest signed question."""

MAX_ANSWER_BYTES: Final = 128 * 1024
"""Largest answer."""

MAX_TEXT: Final = 64
"""Longest text of a row."""

AMOUNT: Final = "amount"
"""What may differ: the amount, or its currency."""

DATE: Final = "date"
"""What may differ: the date."""

NUMBER: Final = "number"
"""What may differ: code or number, such as those of a copy on paper."""

STATUS: Final = "status"
"""What may differ: the invoice is there and does not count, such as one that was cancelled."""

ANSWER_TYPE: Final = "medchain/claim-answer/v1"
"""Type of an answer."""

_DIFFERENCES: Final = (AMOUNT, DATE, NUMBER, STATUS)
_KNOWN: Final = "known"
_MALFORMED: Final = "claim.malformed"
_TEXTS: Final = ("amount", "check_code", "code", "currency", "date", "issuer", "number", "scope")
_ROW: Final = {**dict.fromkeys(_TEXTS, str), "line": int}
_INVOICE: Final = {**dict.fromkeys(("code", "date", "issuer", "number", "scope"), str), "line": int}
_QUESTION: Final = {
    "hospital": str,
    "insurer": str,
    "ledger": str,
    "nonce": str,
    "rows": list,
    "time": int,
    "type": str,
}


@dataclass(frozen=True, slots=True)
class AskedRow:
    """What an insurer holds of an invoice, or of one of its lines, as it is written there.

    Attributes:
        scope: ``invoice`` or ``item``.
        issuer: code of who issued it.
        code: invoice code; empty where it has none.
        number: its number.
        date: its date.
        line: of an item its line, else 0.
        check_code: what proves that the insurer holds it.
        amount: decimal digits; empty where none is to be compared.
        currency: ISO 4217 code; empty likewise.
    """

    scope: Scope
    issuer: str
    code: str
    number: str
    date: str
    line: int
    check_code: str
    amount: str
    currency: str

    @property
    def fields(self) -> InvoiceFields:
        """The same, spelled in the one way; raises `InputError` ``invoice.*``."""
        return invoice_of(self.scope, self.issuer, self.code, self.number, day_of(self.date), self.line)

    @property
    def money(self) -> Amount | None:
        """The amount; None where none is compared; raises `InputError` ``invoice.amount``, ``invoice.currency``."""
        return amount_of(self.amount, self.currency) if self.amount else None

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "amount": self.amount,
            "check_code": self.check_code,
            "code": self.code,
            "currency": self.currency,
            "date": self.date,
            "issuer": self.issuer,
            "line": self.line,
            "number": self.number,
            "scope": self.scope.value,
        }


def read_row(value: Json) -> AskedRow:
    """Read a row that can be asked for.

    Raises:
        InputError: ``encoding.members``, ``invoice.*``, ``claim.malformed`` for a text that is too long,
            ``claim.scope`` for a visit, which has no check code.
    """
    top = members(value, _ROW)
    texts = {name: str(top[name]) for name in _TEXTS}
    if any(len(text) > MAX_TEXT for text in texts.values()) or bool(texts["amount"]) != bool(texts["currency"]):
        raise InputError(_MALFORMED)
    scope = texts.pop("scope")
    if scope not in (Scope.INVOICE, Scope.ITEM):
        raise InputError("claim.scope")
    row = AskedRow(scope=Scope(scope), line=count(top["line"]), **texts)
    spelled(row.check_code, "check_code")
    # What cannot be spelled, or is no amount, is refused, not answered.
    _ = row.fields, row.money
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimQuestion(Request):
    """A question.

    Attributes:
        hospital: org_id of who issued the invoices.
        insurer: org_id of who asks.
        rows: 1 to `MAX_ROWS`.
    """

    TYPE: ClassVar[str] = "medchain/claim-question/v1"
    SIGNED_TYPE: ClassVar[str] = "medchain/signed-claim-question/v1"
    MALFORMED: ClassVar[str] = _MALFORMED

    hospital: str
    insurer: str
    rows: tuple[AskedRow, ...]

    @classmethod
    def read(cls, value: Json) -> Self:
        """Read a question strictly; raises `InputError`."""
        top = members(value, _QUESTION)
        rows = top["rows"]
        if top["type"] != cls.TYPE or not isinstance(rows, list) or not 0 < len(rows) <= MAX_ROWS:
            raise InputError(cls.MALFORMED)
        return cls(
            ledger=unhex(top["ledger"], HASH_BYTES),
            nonce=unhex(top["nonce"], ID_BYTES),
            time=count(top["time"]),
            hospital=short_text(top["hospital"]),
            insurer=short_text(top["insurer"]),
            rows=tuple(read_row(row) for row in rows),
        )

    @property
    def asker(self) -> str:
        """org_id of the insurer."""
        return self.insurer

    def to_json(self) -> dict[str, Json]:
        """Write the question."""
        return {
            "hospital": self.hospital,
            "insurer": self.insurer,
            "ledger": self.ledger.hex(),
            "nonce": self.nonce.hex(),
            "rows": [row.to_json() for row in self.rows],
            "time": self.time,
            "type": self.TYPE,
        }


@dataclass(frozen=True, slots=True)
class Known:
    """The invoice is there, and its check code is right.

    Attributes:
        invoice: how its issuer spells it: that of its electronic form, whichever form was asked for.
        claim_id: object id of its claims, 16 bytes.
        key: the issuer's VRF key of its date, 32 bytes.
        proof: that the id follows from invoice and key, 80 bytes.
        differs: what the insurer's copy says otherwise, sorted.
        is_apart: whether it is claimed under another id: of a whole invoice a line, of a line the whole.
    """

    invoice: InvoiceFields
    claim_id: bytes
    key: bytes
    proof: bytes
    differs: tuple[str, ...]
    is_apart: bool = False

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "answer": _KNOWN,
            "apart": self.is_apart,
            "claim_id": self.claim_id.hex(),
            "differs": [*self.differs],
            "invoice": dict(self.invoice.to_content()),
            "key": self.key.hex(),
            "proof": base64_text(self.proof),
        }


class Unanswered(StrEnum):
    """Why a row has no id."""

    UNKNOWN = "unknown"
    """There is no such invoice here, or its check code is another one."""
    STOPPED = "stopped"
    """Too many before it were unknown; it was not looked for."""


RowAnswer: TypeAlias = Known | Unanswered
"""Answer to one row."""


def encode_answer(question: bytes, rows: Sequence[RowAnswer]) -> bytes:
    """Write an answer.

    Args:
        question: hash of the question, 32 bytes.
        rows: an answer for each of its rows, in order.
    """
    answers: list[Json] = [answer_json(row) for row in rows]
    return canonical({"answers": answers, "question": question.hex(), "type": ANSWER_TYPE})


def named_otherwise(row: AskedRow, invoice: InvoiceFields) -> frozenset[str]:
    """Say in what a copy names an invoice otherwise than its hospital, which both of them see: date, number."""
    held = row.fields
    is_other = {DATE: held.day != invoice.day, NUMBER: (held.code, held.number) != (invoice.code, invoice.number)}
    return frozenset(name for name, differs in is_other.items() if differs)


def parse_answer(document: bytes, question: ClaimQuestion) -> list[RowAnswer]:
    """Read an answer strictly; that an id follows from its proof is not checked here.

    Args:
        document: from `encode_answer`.
        question: that was asked.

    Returns:
        An answer for each row, in order.

    Raises:
        InputError: ``encoding.*``, ``invoice.*``, ``claim.malformed``.
        VerificationError: ``claim.answer`` for the answer to another question.
    """
    top = members(
        parse_canonical(document, max_bytes=MAX_ANSWER_BYTES), {"answers": list, "question": str, "type": str}
    )
    answers = top["answers"]
    if top["type"] != ANSWER_TYPE or not isinstance(answers, list):
        raise InputError(_MALFORMED)
    if unhex(top["question"], HASH_BYTES) != question.hash or len(answers) != len(question.rows):
        raise VerificationError("claim.answer")
    return [read_answered(row) for row in answers]


def answer_json(answer: RowAnswer) -> Json:
    """Write the answer to one row."""
    return answer.to_json() if isinstance(answer, Known) else {"answer": answer.value}


def read_answered(value: Json) -> RowAnswer:
    """Read the answer to one row; errors as `parse_answer`."""
    if isinstance(value, dict) and value.get("answer") != _KNOWN:
        said = members(value, {"answer": str})["answer"]
        if said not in {*Unanswered}:
            raise InputError(_MALFORMED)
        return Unanswered(str(said))
    texts = dict.fromkeys(("answer", "claim_id", "key", "proof"), str)
    shape = {**texts, "apart": bool, "differs": list, "invoice": dict}
    top = members(value, shape)
    told, proof = top["differs"], unbase64(top["proof"])
    differs = tuple(one for one in _DIFFERENCES if isinstance(told, list) and one in told)
    if [*differs] != told or len(proof) != VRF_PROOF_BYTES:
        raise InputError(_MALFORMED)
    invoice = read_invoice(members(top["invoice"], _INVOICE))
    claim_id, key = unhex(top["claim_id"], ID_BYTES), unhex(top["key"], VRF_PUBLIC_BYTES)
    return Known(invoice, claim_id, key, proof, differs, top["apart"] is True)
