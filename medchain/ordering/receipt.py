"""Receipts: the orderer's signed promise of the height by which transactions are in a block.

One receipt speaks of all transactions that one submission brought into a block: a signature each would cost the orderer
as much as it spends on checking. Keeps true: a receipt is bound to one ledger, to the transactions that it lists and to
one orderer's log key; for each of them, a broken one is proof against that orderer for anybody who has the ledger.
Trusts nothing but the log key, which the ledger names.
Source: `docs/spec/ordering.md` 2.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import ge
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
_RECEIPT: Final = {"height_at_most": int, "ids": list, "ledger": str, "time": int, "type": str}


@dataclass(frozen=True, slots=True)
class Receipt:
    """A promise.

    Attributes:
        ledger: ledger id, 32 bytes.
        ids: transaction ids, 32 bytes each, sorted.
        height_at_most: the block of this height, or an earlier one, holds each of the transactions.
        time: Unix seconds at which it was given.
        signature: Ed25519 by the orderer's log key, 64 bytes.
    """

    ledger: bytes
    ids: tuple[bytes, ...]
    height_at_most: int
    time: int
    signature: bytes

    def covers(self, transaction_id: bytes) -> bool:
        """Tell whether it promises something of a transaction."""
        at = bisect_left(self.ids, transaction_id)
        return at < len(self.ids) and self.ids[at] == transaction_id


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
    signer: Ed25519Signer, ledger: bytes, transaction_ids: Collection[bytes], height_at_most: int, time: int
) -> Receipt:
    """Promise that transactions are in a block by a height.

    Args:
        signer: the log key of the orderer.
        ledger: ledger id, 32 bytes.
        transaction_ids: 32 bytes each, one at least, in any order.
        height_at_most: the height.
        time: Unix seconds.

    Returns:
        The signed receipt.
    """
    ids = tuple(sorted(set(transaction_ids)))
    return Receipt(ledger, ids, height_at_most, time, signer.sign(_message(ledger, ids, height_at_most, time)))


def verify_receipt(receipt: Receipt, ledger: bytes, log_key: bytes, transaction_id: bytes | None = None) -> None:
    """Check that a receipt is the orderer's promise.

    Args:
        receipt: as it came.
        ledger: ledger id, 32 bytes.
        log_key: public log key of the orderer, 32 bytes.
        transaction_id: what it must speak of, 32 bytes; None where `Receipt.covers` is asked.

    Raises:
        VerificationError: ``receipt.other`` if it speaks of something else, ``receipt.signature``.
    """
    if receipt.ledger != ledger or (transaction_id is not None and not receipt.covers(transaction_id)):
        raise VerificationError("receipt.other", height=receipt.height_at_most)
    message = _message(receipt.ledger, receipt.ids, receipt.height_at_most, receipt.time)
    if not ed25519_verify(log_key, message, receipt.signature):
        raise VerificationError("receipt.signature", height=receipt.height_at_most)


def receipt_json(receipt: Receipt) -> Json:
    """Write a receipt with its signature."""
    return {
        "receipt": _document(receipt.ledger, receipt.ids, receipt.height_at_most, receipt.time),
        "signature": base64_text(receipt.signature),
    }


def parse_receipt(value: Json) -> Receipt:
    """Read what `receipt_json` wrote; raises `InputError` ``receipt.malformed`` or ``encoding.*``."""
    top = members(value, {"receipt": dict, "signature": str})
    row = members(top["receipt"], _RECEIPT)
    height, time, signature = row["height_at_most"], row["time"], unbase64(top["signature"], max_bytes=96)
    if row["type"] != RECEIPT_TYPE or type(height) is not int or type(time) is not int or height < 0 or time < 0:
        raise InputError("receipt.malformed")
    return Receipt(unhex(row["ledger"], HASH_BYTES), _ids(row["ids"]), height, time, signature)


def outcomes_bytes(outcomes: Sequence[Outcome]) -> bytes:
    """Write the answer to a submission: for each envelope, in order, a refusal's code or which receipt lists it."""
    receipts: dict[bytes, tuple[int, Receipt]] = {}
    rows: list[Json] = [
        outcome.code
        if isinstance(outcome, Refused)
        else receipts.setdefault(outcome.signature, (len(receipts), outcome))[0]
        for outcome in outcomes
    ]
    given: list[Json] = [receipt_json(receipt) for _, receipt in receipts.values()]
    return canonical({"outcomes": rows, "receipts": given, "type": OUTCOMES_TYPE})


def parse_outcomes(data: bytes, count: int) -> list[Outcome]:
    """Read the answer to a submission.

    Args:
        data: from `outcomes_bytes`.
        count: how many envelopes were submitted.

    Returns:
        An outcome for each; receipts not verified, and one object for all envelopes that name the same.

    Raises:
        InputError: ``receipt.malformed`` or ``encoding.*``.
    """
    required = {"outcomes": list, "receipts": list, "type": str}
    top = members(parse_canonical(data, max_bytes=MAX_OUTCOMES_BYTES), required)
    rows, given = top["outcomes"], top["receipts"]
    if top["type"] != OUTCOMES_TYPE or type(rows) is not list or type(given) is not list:
        raise InputError("receipt.malformed")
    if len(rows) != count or count > MAX_BLOCK_TRANSACTIONS or len(given) > count:
        raise InputError("receipt.malformed")
    receipts = [parse_receipt(item) for item in given]
    return [_outcome(row, receipts) for row in rows]


def _outcome(row: Json, receipts: Sequence[Receipt]) -> Outcome:
    """Read one outcome."""
    if type(row) is str and 0 < len(row) <= _MAX_CODE and row.isascii():
        return Refused(row)
    if type(row) is int and 0 <= row < len(receipts):
        return receipts[row]
    raise InputError("receipt.malformed")


def _ids(rows: Json) -> tuple[bytes, ...]:
    """Read transaction ids: one at least, sorted, none twice."""
    if type(rows) is not list or not 0 < len(rows) <= MAX_BLOCK_TRANSACTIONS:
        raise InputError("receipt.malformed")
    ids = tuple(unhex(row, HASH_BYTES) for row in rows)
    if any(map(ge, ids, ids[1:])):
        raise InputError("receipt.malformed")
    return ids


def _document(ledger: bytes, ids: Sequence[bytes], height_at_most: int, time: int) -> Json:
    """Build what is signed, as JSON."""
    return {
        "height_at_most": height_at_most,
        "ids": [name.hex() for name in ids],
        "ledger": ledger.hex(),
        "time": time,
        "type": RECEIPT_TYPE,
    }


def _message(ledger: bytes, ids: Sequence[bytes], height_at_most: int, time: int) -> bytes:
    """Build the bytes that are signed."""
    return digest(RECEIPT_TYPE, canonical(_document(ledger, ids, height_at_most, time)))
