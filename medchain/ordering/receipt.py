"""Receipts: the orderer's signed promise of the height by which a transaction is in a block.

Keeps true: a receipt is bound to one ledger, one transaction and one orderer's log key; a broken one is proof against
that orderer for anybody who has the ledger. Trusts nothing but the log key, which the ledger names.
Source: `docs/spec/ordering.md` 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from medchain.crypto.signing import Ed25519Signer, ed25519_verify
from medchain.encoding import Json, base64_text, canonical, digest, members, parse_canonical, unbase64, unhex
from medchain.errors import InputError, VerificationError
from medchain.ledger.transaction import HASH_BYTES
from medchain.ordering.block import MAX_BLOCK_TRANSACTIONS

RECEIPT_TYPE: Final = "medchain/receipt/v1"
"""Type member and signing tag of a receipt."""

OUTCOMES_TYPE: Final = "medchain/outcomes/v1"
"""Type member of the answer to a submission."""

MAX_OUTCOMES_BYTES: Final = 4 * 1024 * 1024
"""Most bytes of the answer to a submission."""

_MAX_CODE: Final = 64
_RECEIPT: Final = {"height_at_most": int, "id": str, "ledger": str, "time": int, "type": str}


@dataclass(frozen=True, slots=True)
class Receipt:
    """A promise.

    Attributes:
        ledger: ledger id, 32 bytes.
        id: transaction id, 32 bytes.
        height_at_most: the block of this height, or an earlier one, holds the transaction.
        time: Unix seconds at which it was given.
        signature: Ed25519 by the orderer's log key, 64 bytes.
    """

    ledger: bytes
    id: bytes
    height_at_most: int
    time: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A transaction that the orderer did not accept.

    Attributes:
        code: stable code, `docs/spec/transaction.md`.
    """

    code: str


Outcome: TypeAlias = Receipt | Refused
"""What becomes of a submitted envelope."""


def sign_receipt(
    signer: Ed25519Signer, ledger: bytes, transaction_id: bytes, height_at_most: int, time: int
) -> Receipt:
    """Promise that a transaction is in a block by a height.

    Args:
        signer: the log key of the orderer.
        ledger: ledger id, 32 bytes.
        transaction_id: 32 bytes.
        height_at_most: the height.
        time: Unix seconds.

    Returns:
        The signed receipt.
    """
    message = _message(ledger, transaction_id, height_at_most, time)
    return Receipt(ledger, transaction_id, height_at_most, time, signer.sign(message))


def verify_receipt(receipt: Receipt, ledger: bytes, transaction_id: bytes, log_key: bytes) -> None:
    """Check that a receipt is the orderer's promise for a transaction.

    Args:
        receipt: as it came.
        ledger: ledger id, 32 bytes.
        transaction_id: what was submitted, 32 bytes.
        log_key: public log key of the orderer, 32 bytes.

    Raises:
        VerificationError: ``receipt.other`` if it speaks of something else, ``receipt.signature``.
    """
    if receipt.ledger != ledger or receipt.id != transaction_id:
        raise VerificationError("receipt.other", id=transaction_id.hex())
    message = _message(receipt.ledger, receipt.id, receipt.height_at_most, receipt.time)
    if not ed25519_verify(log_key, message, receipt.signature):
        raise VerificationError("receipt.signature", id=transaction_id.hex())


def receipt_json(receipt: Receipt) -> Json:
    """Write a receipt with its signature."""
    return {
        "receipt": _document(receipt.ledger, receipt.id, receipt.height_at_most, receipt.time),
        "signature": base64_text(receipt.signature),
    }


def parse_receipt(value: Json) -> Receipt:
    """Read what `receipt_json` wrote; raises `InputError` ``receipt.malformed`` or ``encoding.*``."""
    top = members(value, {"receipt": dict, "signature": str})
    row = members(top["receipt"], _RECEIPT)
    height, time, signature = row["height_at_most"], row["time"], unbase64(top["signature"], max_bytes=96)
    if row["type"] != RECEIPT_TYPE or type(height) is not int or type(time) is not int or height < 0 or time < 0:
        raise InputError("receipt.malformed")
    return Receipt(unhex(row["ledger"], HASH_BYTES), unhex(row["id"], HASH_BYTES), height, time, signature)


def outcomes_bytes(outcomes: Sequence[Outcome]) -> bytes:
    """Write the answer to a submission, one row an envelope, in order."""
    rows: list[Json] = [
        {"code": outcome.code} if isinstance(outcome, Refused) else receipt_json(outcome) for outcome in outcomes
    ]
    return canonical({"outcomes": rows, "type": OUTCOMES_TYPE})


def parse_outcomes(data: bytes, count: int) -> list[Outcome]:
    """Read the answer to a submission.

    Args:
        data: from `outcomes_bytes`.
        count: how many envelopes were submitted.

    Returns:
        An outcome for each; receipts not verified.

    Raises:
        InputError: ``receipt.malformed`` or ``encoding.*``.
    """
    top = members(parse_canonical(data, max_bytes=MAX_OUTCOMES_BYTES), {"outcomes": list, "type": str})
    rows = top["outcomes"]
    if top["type"] != OUTCOMES_TYPE or type(rows) is not list or len(rows) != count or count > MAX_BLOCK_TRANSACTIONS:
        raise InputError("receipt.malformed")
    return [_outcome(row) for row in rows]


def _outcome(row: Json) -> Outcome:
    """Read one outcome."""
    if type(row) is dict and "code" in row:
        code = str(members(row, {"code": str})["code"])
        if not code or len(code) > _MAX_CODE or not code.isascii():
            raise InputError("receipt.malformed")
        return Refused(code)
    return parse_receipt(row)


def _document(ledger: bytes, transaction_id: bytes, height_at_most: int, time: int) -> Json:
    """Build what is signed, as JSON."""
    return {
        "height_at_most": height_at_most,
        "id": transaction_id.hex(),
        "ledger": ledger.hex(),
        "time": time,
        "type": RECEIPT_TYPE,
    }


def _message(ledger: bytes, transaction_id: bytes, height_at_most: int, time: int) -> bytes:
    """Build the bytes that are signed."""
    return digest(RECEIPT_TYPE, canonical(_document(ledger, transaction_id, height_at_most, time)))
