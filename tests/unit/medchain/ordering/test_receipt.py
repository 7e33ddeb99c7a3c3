"""Receipts: bound to ledger, transaction and log key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.crypto.signing import Ed25519Signer
from medchain.encoding import canonical
from medchain.errors import InputError, VerificationError
from medchain.ordering.receipt import (
    Refused,
    outcomes_bytes,
    parse_outcomes,
    parse_receipt,
    receipt_json,
    sign_receipt,
    verify_receipt,
)

SIGNER = Ed25519Signer(b"\1" * 32)
LEDGER, ID = b"\2" * 32, b"\3" * 32
RECEIPT = sign_receipt(SIGNER, LEDGER, ID, 9, 1_796_083_200)


def test_a_receipt_verifies_under_the_log_key_that_signed_it():
    verify_receipt(RECEIPT, LEDGER, ID, SIGNER.public)
    with pytest.raises(VerificationError, match=r"receipt\.signature"):
        verify_receipt(RECEIPT, LEDGER, ID, Ed25519Signer(b"\4" * 32).public)


@pytest.mark.parametrize("change", [{"height_at_most": 10}, {"time": 1}, {"signature": bytes(64)}])
def test_a_changed_receipt_does_not_verify(change):
    with pytest.raises(VerificationError, match=r"receipt\.signature"):
        verify_receipt(replace(RECEIPT, **change), LEDGER, ID, SIGNER.public)


@pytest.mark.parametrize(("ledger", "name"), [(ID, ID), (LEDGER, LEDGER)])
def test_a_receipt_for_something_else_is_none(ledger, name):
    with pytest.raises(VerificationError, match=r"receipt\.other"):
        verify_receipt(RECEIPT, ledger, name, SIGNER.public)


def test_outcomes_are_read_back_as_written():
    outcomes = [RECEIPT, Refused("transaction.version")]
    assert parse_outcomes(outcomes_bytes(outcomes), 2) == outcomes


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (outcomes_bytes([RECEIPT]), 2),
        (canonical({"outcomes": [{"code": ""}], "type": "medchain/outcomes/v1"}), 1),
        (canonical({"outcomes": [{"code": "x" * 65}], "type": "medchain/outcomes/v1"}), 1),
        (canonical({"outcomes": [{"code": "x", "more": 1}], "type": "medchain/outcomes/v1"}), 1),
        (canonical({"outcomes": [7], "type": "medchain/outcomes/v1"}), 1),
        (canonical({"outcomes": [], "type": "medchain/outcomes/v2"}), 0),
        (b"[]", 0),
    ],
)
def test_outcomes_in_another_form_are_refused(data, count):
    with pytest.raises(InputError):
        parse_outcomes(data, count)


def test_a_receipt_of_another_type_or_range_is_refused():
    good = receipt_json(RECEIPT)
    for change in ({"type": "medchain/receipt/v2"}, {"time": -1}, {"height_at_most": -1}):
        with pytest.raises(InputError):
            parse_receipt({**good, "receipt": {**good["receipt"], **change}})
