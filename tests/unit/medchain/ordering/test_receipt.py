"""Receipts: bound to ledger, transactions and log key; one for many, and proof for each of them."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from nacl.signing import SigningKey

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import canonical
from medchain.errors import InputError, VerificationError
from medchain.ordering.receipt import (
    Receipt,
    Refused,
    outcomes_bytes,
    parse_outcomes,
    parse_receipt,
    receipt_json,
    sign_receipt,
    verify_receipt,
)

SIGNER = Ed25519Signer(b"\1" * 32)
LEDGER, ID, OTHER = b"\2" * 32, b"\3" * 32, b"\1" * 32
RECEIPT = sign_receipt(SIGNER, LEDGER, [ID, OTHER], 9, 1_796_083_200)


def answer(rows: list, *receipts: Receipt) -> bytes:
    """Write an answer that `outcomes_bytes` would not."""
    given = [receipt_json(receipt) for receipt in receipts]
    return canonical({"outcomes": rows, "receipts": given, "type": "medchain/outcomes/v1"})


def test_a_receipt_verifies_under_the_log_key_that_signed_it():
    for name in (ID, OTHER, None):
        verify_receipt(RECEIPT, LEDGER, SIGNER.public, name)
    with pytest.raises(VerificationError, match=r"receipt\.signature"):
        verify_receipt(RECEIPT, LEDGER, Ed25519Signer(b"\4" * 32).public, ID)


@pytest.mark.parametrize("change", [{"height_at_most": 10}, {"time": 1}, {"signature": bytes(64)}, {"ids": (ID,)}])
def test_a_changed_receipt_does_not_verify(change):
    with pytest.raises(VerificationError, match=r"receipt\.signature"):
        verify_receipt(replace(RECEIPT, **change), LEDGER, SIGNER.public, ID)


@pytest.mark.parametrize(("ledger", "name"), [(ID, ID), (LEDGER, LEDGER), (LEDGER, bytes(32)), (LEDGER, b"\xff" * 32)])
def test_a_receipt_for_something_else_is_none(ledger, name):
    with pytest.raises(VerificationError, match=r"receipt\.other"):
        verify_receipt(RECEIPT, ledger, SIGNER.public, name)


def test_a_receipt_is_the_signed_literal_form_of_the_specification():
    document = (
        b'{"height_at_most":9,"ids":["%b","%b"],"ledger":"%b","time":1796083200,"type":"medchain/receipt/v1"}'
        % (b"01" * 32, b"03" * 32, b"02" * 32)
    )
    message = sha256(
        len(b"medchain/receipt/v1").to_bytes(8, "big")
        + b"medchain/receipt/v1"
        + len(document).to_bytes(8, "big")
        + document
    ).digest()
    SigningKey(b"\1" * 32).verify_key.verify(message, RECEIPT.signature)


def test_outcomes_are_read_back_as_written():
    later = sign_receipt(SIGNER, LEDGER, [b"\5" * 32], 10, 1_796_083_200)
    outcomes = [RECEIPT, Refused("transaction.version"), later, RECEIPT]
    data = outcomes_bytes(outcomes)
    assert parse_outcomes(data, 4) == outcomes
    assert json.loads(data)["outcomes"] == [0, "transaction.version", 1, 0]
    assert data.count(b'"signature"') == 2


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (outcomes_bytes([RECEIPT]), 2),
        (answer([""]), 1),
        (answer(["x" * 65]), 1),
        (answer(["é"]), 1),
        (answer([{"code": "x"}]), 1),
        (answer([None]), 1),
        (answer([True], RECEIPT), 1),
        (answer([0]), 1),
        (answer([1], RECEIPT), 1),
        (answer([-1], RECEIPT), 1),
        (answer([0], RECEIPT, RECEIPT), 1),
        (canonical({"outcomes": [], "receipts": [], "type": "medchain/outcomes/v2"}), 0),
        (b"[]", 0),
    ],
)
def test_outcomes_in_another_form_are_refused(data, count):
    with pytest.raises(InputError):
        parse_outcomes(data, count)


def test_a_receipt_of_another_type_or_range_is_refused():
    good = receipt_json(RECEIPT)
    one, other = good["receipt"]["ids"]
    lists = [], [other, one], [one, one], [one, "00"], [f"{at:064x}" for at in range(4097)]
    for change in ({"type": "medchain/receipt/v2"}, {"time": -1}, {"height_at_most": -1}, *({"ids": i} for i in lists)):
        with pytest.raises(InputError):
            parse_receipt({**good, "receipt": {**good["receipt"], **change}})
