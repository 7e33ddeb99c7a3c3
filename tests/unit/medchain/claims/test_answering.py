"""What a hospital answers of invoices, to whom, and who learns of it (docs/spec/claim-question.md, 3 to 8)."""

from __future__ import annotations

import datetime as dt
import json
import threading
from dataclasses import replace

import pytest

from medchain.claims import issuing
from medchain.claims.answering import QuestionDesk
from medchain.crypto.vrf import VrfKey, vrf_verify
from medchain.encoding import unbase64
from medchain.errors import AccessDeniedError, UnavailableError
from medchain.ledger.invoice import Amount, Scope, claim_id
from medchain.ledger.members import SUSPENDED
from tests.unit.medchain.claims.questions import (
    ANXIN,
    COMMISSION,
    LATER,
    NOW,
    RENHE,
    TONGJI,
    issued,
    members,
    row,
    signed,
)
from tests.unit.medchain.ledger.world import TAIPING, vrf_key
from tests.waiting import PATIENCE_S


def test_who_holds_an_invoice_is_told_its_id_with_a_proof(case):
    [told] = case.answers()
    beta = vrf_verify(vrf_key(RENHE).public, issued().invoice.alpha, unbase64(told["proof"]))
    assert told["claim_id"] == claim_id(beta).hex()
    assert (told["answer"], told["differs"], told["key"]) == ("known", [], vrf_key(RENHE).public.hex())
    assert told["invoice"] == issued().invoice.to_content()


def test_an_invoice_that_is_not_there_and_a_wrong_check_code_look_alike(case):
    told = case.answers(row("1"), row(check_code="rha0ju"), row(check_code="rha0j"))
    assert told == [{"answer": "unknown"}] * 3


def test_an_invoice_that_is_not_there_takes_a_proof_too(case):
    made = []
    real = vrf_key(RENHE)

    class Counting:
        public = real.public

        def prove(self, alpha):
            made.append(alpha)
            return real.prove(alpha)

    desk = case.desk_of(case.issuing(vrf=lambda _public: Counting()), case.watch())
    desk.answer(signed(case.asked(row(), row("1"), row(check_code="zzzzzz"))), ANXIN)
    assert made == [issued().invoice.alpha, row("1").fields.alpha, issued().invoice.alpha]


def test_however_it_is_written_one_invoice_has_one_id(case):
    told = case.answers(row(), row("1774 778-511", check_code="RHA 0JT", date="20250906"))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("held", "changes", "differs"),
    [
        (row(amount="8422.81"), {}, ["amount"]),
        (row(currency="USD"), {}, ["amount"]),
        (row(amount="", currency=""), {}, []),
        (row(), {"amount": None}, ["amount"]),
        (row(date="2025-09-07"), {}, ["date"]),
        (row(code="99060226"), {}, ["number"]),
        (row(), {"is_issued": False}, ["status"]),
        (
            row(amount="1", code="2", date="2025-09-07"),
            {"is_issued": False},
            ["amount", "date", "number", "status"],
        ),
    ],
)
def test_what_the_insurers_copy_says_otherwise_is_told(case, held, changes, differs):
    case.register.rows = [issued(**changes)]
    assert [one["differs"] for one in case.answers(held)] == [differs]


def test_the_key_is_that_of_the_invoices_own_date_whatever_the_copy_says(case):
    later = replace(issued(), invoice=replace(issued().invoice, day=LATER))
    case.register.rows = [later]
    [told] = case.answers(row())
    assert (told["differs"], told["key"]) == (["date"], vrf_key(RENHE, 2).public.hex())


def test_who_holds_an_invoice_is_told_that_it_is_claimed_otherwise_and_who_does_not_is_told_nothing(case):
    assert case.answers(row())[0]["apart"] is False
    case.apart = [issued()]
    assert case.answers(row())[0]["apart"] is True
    assert case.answers(row(check_code="zzzzzz")) == [{"answer": "unknown"}]


def test_an_item_has_an_id_of_its_own(case):
    invoice = replace(issued().invoice, scope=Scope.ITEM, line=3)
    case.register.rows = [issued(), issued(invoice=invoice, amount=Amount(268000, "CNY"))]
    whole = case.answers(row())[0]
    case.register.rows = case.register.rows[1:]
    item = case.answers(row(scope=Scope.ITEM, line=3, amount="2680.00"))[0]
    assert item["differs"] == []
    assert item["claim_id"] != whole["claim_id"]


def test_an_invoice_under_anothers_issuer_code_is_not_looked_for(case):
    assert case.answers(row(issuer="99010002")) == [{"answer": "unknown"}]
    assert case.register.found == []


def test_each_invoice_that_was_asked_for_is_on_the_audit_with_the_right_code_or_a_wrong_one(case):
    case.register.rows = [issued(), issued("2", number=8), issued("3", number=9)]
    question = case.asked(row(), row("2", check_code="zzzzzz"), row("3"), row("4"))
    case.hospital.answer(signed(question), ANXIN)
    assert case.audit.rows == [(ANXIN, question.hash, [7, 9], True), (ANXIN, question.hash, [8], False)]


def test_where_the_audit_cannot_be_written_nothing_is_answered(case):
    case.audit.is_full = True
    with pytest.raises(UnavailableError, match=r"store\.full"):
        case.answers()


def test_guessing_is_stopped_within_a_question_and_for_the_rest_of_the_day(case):
    rows = [row(str(number)) for number in range(1, 60)]
    assert {one["answer"] for one in case.answers(*rows)} == {"unknown"}
    told = [one["answer"] for one in case.answers(row(), row("98"), row(), row("99"))]
    # The sixtieth in vain ends it: not even an invoice that is held is told of any more.
    assert told == ["known", "unknown", "stopped", "stopped"]
    case.register.found.clear()
    with pytest.raises(UnavailableError) as refused:
        case.answers()
    assert (refused.value.code, case.register.found) == ("claim.fishing", [])
    assert refused.value.retry_after_s == 86_400 - case.time % 86_400
    case.hospital = case.desk()
    with pytest.raises(UnavailableError, match=r"claim\.fishing"):
        case.answers()
    case.time += 86_400
    assert case.answers()[0]["answer"] == "known"


def test_who_is_stopped_stops_no_other_insurer(case):
    case.answers(*[row(str(number)) for number in range(60)])
    other = TAIPING
    assert case.answers(insurer=other)[0]["answer"] == "known"


def test_attack_a_question_beside_a_deed_in_vain_is_not_within_what_was_left_before_it(case):
    watch = case.watch()
    desk = case.desk_of(case.issuing(), watch)
    answers: list[bytes] = []
    question = signed(case.asked(row("98"), row()))
    thread = threading.Thread(target=lambda: answers.append(desk.answer(question, ANXIN)))
    with watch.counting:
        # What a deed does: it has looked what is left, and comes to nothing.
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        watch.note(ANXIN, 59)
    thread.join(PATIENCE_S)
    assert [one["answer"] for one in json.loads(answers[0])["answers"]] == ["unknown", "stopped"]


def test_nobody_waits_while_it_is_looked_what_is_claimed_of_each_line(case):
    """A question may be about a hundred invoices of thousands of lines each."""
    watch, held = case.watch(), []

    def is_apart(*_asked: object) -> bool:
        held.append(watch.counting.locked())
        # And on the audit by then.
        assert len(case.audit.rows) == 1
        return True

    desk = QuestionDesk(case.issuing(), case.audit, watch, is_apart, lambda *_asked: True)
    [told, unknown] = json.loads(desk.answer(signed(case.asked(row(), row("98"))), ANXIN))["answers"]
    assert (told["apart"], told["differs"], unknown["answer"]) == (True, ["status"], "unknown")
    assert held == [False]


def test_right_questions_are_not_counted(case):
    for _ in range(2):
        assert {one["answer"] for one in case.answers(*[row()] * 100)} == {"known"}
    assert case.records.refusals() == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"insurer": TONGJI}, "claim.insurer"),
        ({"hospital": TONGJI}, "claim.hospital"),
        ({"ledger": bytes(32)}, "claim.signature"),
        ({"time": -121}, "claim.time"),
        ({"time": 61}, "claim.time"),
    ],
)
def test_a_question_that_is_not_the_callers_for_this_hospital_and_of_now_is_refused(case, changes, code):
    if "time" in changes:
        changes = {"time": case.time + changes["time"]}
    with pytest.raises(AccessDeniedError) as refused:
        case.hospital.answer(signed(case.asked(**changes)), ANXIN)
    assert refused.value.code == code
    assert case.register.found == []


def test_a_question_that_another_has_signed_is_refused(case):
    with pytest.raises(AccessDeniedError, match=r"claim\.signature"):
        case.hospital.answer(signed(case.asked(), TONGJI), ANXIN)


@pytest.mark.parametrize("org_id", [TONGJI, COMMISSION])
def test_who_pays_no_claims_is_refused(case, org_id):
    with pytest.raises(AccessDeniedError, match=r"claim\.role"):
        case.hospital.answer(signed(case.asked(insurer=org_id), org_id), org_id)


def test_a_public_payer_may_ask(case):
    found = case.members.organisations
    case.members = replace(case.members, organisations=found | {ANXIN: replace(found[ANXIN], role="authority")})
    assert case.answers()[0]["answer"] == "known"


def test_a_suspended_insurer_is_refused(case):
    found = case.members.organisations
    case.members = replace(case.members, organisations=found | {ANXIN: replace(found[ANXIN], status=SUSPENDED)})
    with pytest.raises(AccessDeniedError, match=r"claim\.insurer"):
        case.answers()


def test_who_issues_no_invoices_says_so(case):
    case.members = members(issuing=False)
    with pytest.raises(AccessDeniedError, match=r"claim\.issuer"):
        case.answers()


def test_without_the_key_of_a_day_nothing_is_answered(case):
    desk = case.desk_of(case.issuing(vrf=lambda _public: None), case.watch())
    with pytest.raises(UnavailableError, match=r"claim\.no_key"):
        desk.answer(signed(case.asked()), ANXIN)


def test_check_codes_are_compared_in_constant_time(case, monkeypatch):
    compared = []
    monkeypatch.setattr(issuing.hmac, "compare_digest", lambda one, other: compared.append((one, other)) or False)
    assert case.answers(row(), row("1")) == [{"answer": "unknown"}] * 2
    assert compared == [(b"RHA0JT", b"RHA0JT"), (b"RHA0JT", b"")]


def test_attack_an_invoice_of_a_day_to_come_is_not_there_and_no_id_of_such_a_day_is_made(case, monkeypatch):
    """Until its day the hospital could list another key for it, and give it a second id."""
    made = []
    prove = VrfKey.prove
    monkeypatch.setattr(VrfKey, "prove", lambda key, alpha: made.append(alpha) or prove(key, alpha))
    today = NOW // 86_400
    case.register.rows = [issued(invoice=replace(issued().invoice, day=today + 2))]
    ahead = row(date=date_of(today + 2))
    assert case.answers(ahead) == [{"answer": "unknown"}]
    assert made == [replace(issued().invoice, day=today + 1).alpha]
    case.register.rows = [issued(invoice=replace(issued().invoice, day=today + 1))]
    assert case.answers(row(date=date_of(today + 1)))[0]["answer"] == "known"


def date_of(day: int) -> str:
    return dt.date.fromordinal(719_163 + day).isoformat()
