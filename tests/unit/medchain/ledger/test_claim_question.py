"""Questions and answers, as they are written (docs/spec/claim-question.md, 1 to 4)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from medchain.encoding import canonical, parse_canonical
from medchain.errors import InputError, VerificationError
from medchain.ledger.claim_question import (
    MAX_ROWS,
    ClaimQuestion,
    Known,
    Unanswered,
    encode_answer,
    parse_answer,
    read_row,
)
from medchain.ledger.invoice import Amount, Scope
from medchain.ledger.signed_request import parse_request
from tests.unit.medchain.claims.questions import Case, issued, row, signed

KNOWN = Known(issued().invoice, b"\x01" * 16, b"\x02" * 32, b"\x03" * 80, ("amount", "status"))


@pytest.fixture
def case():
    """Give who asks; nobody answers."""
    return Case(None)


def test_a_question_reads_back_as_it_was_written(case):
    question = case.asked(row(), row("2", scope=Scope.ITEM, line=3, amount="", currency=""))
    assert parse_request(ClaimQuestion, signed(question)).request == question
    assert question.asker == "anxin-insurance"


def test_a_row_is_spelled_in_one_way_and_its_amount_exact():
    held = row("\uff11\uff17\uff17\uff14-778 511", date="2025年9月6日", code="99060225 ", amount="8422.8")
    assert held.fields == row().fields
    assert held.money == Amount(842280, "CNY")
    assert row(amount="", currency="").money is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scope": "encounter"}, "claim.scope"),
        ({"scope": "patient"}, "claim.scope"),
        ({"line": 1}, "invoice.line"),
        ({"line": -1}, "content.number"),
        ({"scope": "item", "line": 0}, "invoice.line"),
        ({"number": ""}, "invoice.number"),
        ({"number": "沪A1"}, "invoice.number"),
        ({"check_code": "-"}, "invoice.check_code"),
        ({"date": "yesterday"}, "invoice.date"),
        ({"amount": "1e3"}, "invoice.amount"),
        ({"amount": "1.005"}, "invoice.amount"),
        ({"currency": "yuan"}, "invoice.currency"),
        ({"currency": ""}, "claim.malformed"),
        ({"amount": ""}, "claim.malformed"),
        ({"number": "1" * 65}, "claim.malformed"),
        ({"more": 1}, "encoding.members"),
    ],
)
def test_a_row_that_cannot_be_asked_for_is_refused(changes, code):
    with pytest.raises(InputError) as refused:
        read_row(row().to_json() | changes)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "changes", [{"type": "medchain/claim-question/v2"}, {"rows": []}, {"rows": [row().to_json()] * (MAX_ROWS + 1)}]
)
def test_a_malformed_question_is_refused(case, changes):
    document = parse_canonical(signed(case.asked()), max_bytes=1 << 16)
    with pytest.raises(InputError, match=r"claim\.malformed"):
        parse_request(ClaimQuestion, canonical(document | {"request": document["request"] | changes}))


def test_an_answer_reads_back_as_it_was_written(case):
    question = case.asked(row(), row("2"), row("3"), row("4"))
    told = [replace(KNOWN, is_apart=True), Unanswered.UNKNOWN, Unanswered.STOPPED, KNOWN]
    assert parse_answer(encode_answer(question.hash, told), question) == told


def test_an_answer_to_another_question_is_refused(case):
    question, other = case.asked(), case.asked()
    with pytest.raises(VerificationError, match=r"claim\.answer"):
        parse_answer(encode_answer(other.hash, [KNOWN]), question)
    with pytest.raises(VerificationError, match=r"claim\.answer"):
        parse_answer(encode_answer(question.hash, [KNOWN, KNOWN]), question)


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": "perhaps"},
        {"apart": "true"},
        {"apart": 1},
        {"differs": ["status", "amount"]},
        {"differs": ["name"]},
        {"proof": "AAAA"},
        {"claim_id": "01"},
        {"invoice": KNOWN.invoice.to_content() | {"number": "a-1"}},
        {"invoice": KNOWN.invoice.to_content() | {"more": 1}},
        {"more": 1},
    ],
)
def test_a_malformed_answer_is_refused(case, changes):
    question = case.asked()
    document = json.loads(encode_answer(question.hash, [KNOWN]))
    document["answers"] = [KNOWN.to_json() | changes]
    with pytest.raises(InputError):
        parse_answer(canonical(document), question)


@pytest.mark.parametrize("changes", [{"type": "medchain/claim-answer/v2"}, {"answers": {}}, {"answers": [7]}])
def test_what_is_no_answer_is_refused(case, changes):
    question = case.asked()
    document = json.loads(encode_answer(question.hash, [KNOWN]))
    with pytest.raises(InputError):
        parse_answer(canonical(document | changes), question)
