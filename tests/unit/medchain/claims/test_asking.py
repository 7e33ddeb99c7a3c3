"""What an insurer takes from an answer, and what it makes of it (docs/spec/claim-question.md, 11 to 14)."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from medchain.claims import asking
from medchain.claims.asking import Finding
from medchain.crypto.vrf import vrf_output, vrf_verify
from medchain.encoding import base64_text, canonical
from medchain.errors import UnavailableError
from medchain.ledger.invoice import Scope, claim_id
from medchain.ledger.members import REMOVED, SUSPENDED
from medchain.ledger.object import StateRecord, map_key
from tests.unit.medchain.claims.questions import ANXIN, CODE, LATER, RENHE, TONGJI, issued, row
from tests.unit.medchain.ledger.world import vrf_key
from tests.waiting import PATIENCE_S

PROOF = vrf_key(RENHE).prove(issued().invoice.alpha)
ID = claim_id(vrf_output(PROOF))
KEY = map_key("claim", RENHE, ID)
TODAY = 1_796_083_200 // 86_400


def state(status: str, version: int = 1, expires: int | None = None) -> StateRecord:
    return StateRecord(
        kind="claim",
        creator=RENHE,
        id=ID,
        version=version,
        status=status,
        body_hash=bytes(32),
        stop_hash=None,
        expires=expires,
        refs=(),
        since=9,
        previous=None if version == 1 else bytes(32),
    )


def changing(**changes: object):
    """Have the first row of an answer say something else."""

    def changed(data: bytes) -> bytes:
        document = json.loads(data)
        document["answers"][0] |= changes
        return canonical(document)

    return changed


@pytest.mark.parametrize(
    ("record", "finding"),
    [
        (None, Finding.FREE),
        (state("reserved", expires=TODAY), Finding.RESERVED),
        (state("reserved", expires=TODAY - 1), Finding.FREE),
        (state("reserved", 3, TODAY - 1), Finding.RESERVED),
        (state("settled", 2), Finding.SETTLED),
        (state("released", 2), Finding.FREE),
        (state("reversed", 2), Finding.REVERSED),
        (state("what else there may be", 2), Finding.SETTLED),
    ],
)
def test_what_is_claimed_says_the_insurers_own_ledger(case, record, finding):
    if record is not None:
        case.states[KEY] = record
    [checked] = case.insurer.check([row()])
    assert (checked.finding, checked.hospital, checked.record) == (finding, RENHE, record)
    assert (checked.known.claim_id, checked.reason) == (ID, "")


@pytest.mark.parametrize(
    ("record", "finding"),
    [
        (None, Finding.APART),
        (state("released", 2), Finding.APART),
        (state("settled", 2), Finding.SETTLED),
        (state("reversed", 2), Finding.REVERSED),
    ],
)
def test_what_is_claimed_otherwise_is_not_free(case, record, finding):
    case.on_answer = changing(apart=True)
    if record is not None:
        case.states[KEY] = record
    [checked] = case.insurer.check([row()])
    assert (checked.finding, checked.record) == (finding, record)


def test_rows_of_several_hospitals_of_none_and_of_a_former_member_each_have_their_own_answer(case):
    found = case.members.organisations
    changed = found | {TONGJI: replace(found[TONGJI], status=REMOVED)}
    case.members = replace(case.members, organisations=changed)
    rows = [row(issuer="12345678"), row(), row(issuer="99010002"), row("404")]
    checked = case.insurer.check(rows)
    assert [(one.finding, one.hospital, one.reason) for one in checked] == [
        (Finding.OUTSIDE, "", "claim.outside"),
        (Finding.FREE, RENHE, ""),
        (Finding.OUTSIDE, TONGJI, "claim.inactive"),
        (Finding.UNKNOWN, RENHE, "claim.unknown"),
    ]


def test_more_rows_than_a_question_holds_are_several_questions(case):
    asked = []
    case.on_answer = lambda data: asked.append(len(json.loads(data)["answers"])) or data
    assert {one.finding for one in case.insurer.check([row()] * 250)} == {Finding.FREE}
    assert asked == [100, 100, 50]


def test_while_an_answer_is_judged_the_hospital_has_the_next_question_and_never_two_at_once(case, monkeypatch):
    second, here = threading.Event(), threading.Lock()
    ask, came = case.question, []

    def question(org_id, document):
        assert here.acquire(blocking=False)
        came.append(org_id)
        if len(came) > 1:
            second.set()
        answer = ask(org_id, document)
        here.release()
        return answer

    def verified(public: bytes, alpha: bytes, proof: bytes):
        assert second.wait(PATIENCE_S)
        return vrf_verify(public, alpha, proof)

    case.question = question
    monkeypatch.setattr(asking, "vrf_verify", verified)
    assert {one.finding for one in case.insurer.check([row()] * 250)} == {Finding.FREE}
    assert came == [RENHE] * 3


def test_a_hospital_that_answers_late_keeps_no_other_waiting(case):
    other, ask = threading.Event(), case.question

    def question(org_id, document):
        if org_id == TONGJI:
            other.set()
            raise UnavailableError("peer.unreachable", peer=org_id)
        assert other.wait(PATIENCE_S)
        return ask(org_id, document)

    case.question = question
    checked = case.insurer.check([row(), row(issuer="99010002")])
    assert [one.finding for one in checked] == [Finding.FREE, Finding.UNREACHABLE]


def test_attack_of_a_hospital_that_has_lied_once_nothing_more_is_taken(case):
    case.on_answer = changing(claim_id="01" * 16)
    checked = case.insurer.check([row()] * 350)
    assert {(one.finding, one.reason, one.known) for one in checked} == {(Finding.REFUSED, "claim.id", None)}
    # The next question was on its way; no further one is asked.
    assert len(case.register.found) == 200


def test_a_hospital_that_does_not_answer_leaves_its_rows_uncertain_and_is_not_asked_again(case):
    case.down.add(RENHE)
    checked = case.insurer.check([row()] * 250)
    assert {(one.finding, one.reason) for one in checked} == {(Finding.UNREACHABLE, "peer.unreachable")}


def test_who_has_used_up_its_day_is_told_so(case):
    rows = [row(str(number)) for number in range(61)]
    assert [one.finding for one in case.insurer.check(rows)][-2:] == [Finding.UNKNOWN, Finding.STOPPED]
    [checked] = case.insurer.check([row()])
    assert (checked.finding, checked.reason) == (Finding.STOPPED, "claim.fishing")


def test_a_refusal_is_told(case):
    found = case.members.organisations
    case.insurer = case.asker()
    case.hospital = case.desk(TONGJI)
    [checked] = case.insurer.check([row()])
    assert (checked.finding, checked.reason) == (Finding.REFUSED, "claim.hospital")
    assert found[ANXIN].role == "insurer"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        # A second id for an invoice: under another key of its own, which holds for later dates; and a made-up one.
        ({"key": vrf_key(RENHE, 2).public.hex()}, "claim.key"),
        ({"claim_id": "01" * 16}, "claim.id"),
        ({"proof": base64_text(vrf_key(RENHE).prove(b"another"))}, "vrf.proof"),
        ({"proof": base64_text(vrf_key(RENHE, 2).prove(issued().invoice.alpha))}, "vrf.proof"),
        ({"differs": ["date"], "invoice": issued().invoice.to_content() | {"date": "2026-02-01"}}, "claim.key"),
        ({"invoice": issued().invoice.to_content() | {"issuer": "99010002"}}, "claim.invoice"),
        ({"invoice": issued().invoice.to_content() | {"line": 1, "scope": "item"}}, "claim.invoice"),
        ({"differs": ["number"], "invoice": issued().invoice.to_content() | {"number": "2"}}, "vrf.proof"),
        # What is not said to differ, or is and does not.
        ({"differs": ["date"]}, "claim.invoice"),
        ({"differs": ["number"]}, "claim.invoice"),
    ],
)
def test_a_hospital_that_answers_what_is_not_so_is_not_believed(case, changes, code):
    case.on_answer = changing(**changes)
    [checked] = case.insurer.check([row()])
    assert (checked.finding, checked.reason, checked.known) == (Finding.REFUSED, code, None)


@pytest.mark.parametrize(
    ("fields", "differs"),
    [
        ({"number": "2"}, ["number"]),
        ({"code": "99060226"}, ["number"]),
        ({"day": issued().invoice.day + 1}, ["date"]),
        ({"number": "2", "day": issued().invoice.day + 1}, ["date", "number"]),
    ],
)
def test_another_invoice_than_the_one_that_is_held_is_shown_as_such_or_not_believed(case, fields, differs):
    """A hospital can prove the ids of all its invoices: two insurers could be shown two for the one that both hold."""
    other = replace(issued().invoice, **fields)
    proof = vrf_key(RENHE).prove(other.alpha)
    told = {
        "claim_id": claim_id(vrf_output(proof)).hex(),
        "invoice": other.to_content(),
        "proof": base64_text(proof),
    }
    case.on_answer = changing(**told, differs=differs)
    [checked] = case.insurer.check([row()])
    assert (checked.finding, checked.known.differs) == (Finding.FREE, tuple(differs))
    for unsaid in ([], differs[1:], ["amount"]):
        case.on_answer = changing(**told, differs=unsaid)
        [checked] = case.insurer.check([row()])
        assert (checked.finding, checked.reason) == (Finding.REFUSED, "claim.invoice")


def test_an_invoice_under_another_code_of_its_hospital_is_another_one(case):
    other = replace(issued().invoice, issuer="99010009")
    found = case.members.organisations[RENHE]
    both = replace(found, invoices=replace(found.invoices, issuers=(CODE, other.issuer)))
    case.members = replace(case.members, organisations=case.members.organisations | {RENHE: both})
    proof = vrf_key(RENHE).prove(other.alpha)
    told = {"claim_id": claim_id(vrf_output(proof)).hex(), "proof": base64_text(proof)}
    case.on_answer = changing(**told, invoice=other.to_content())
    [checked] = case.insurer.check([row()])
    assert (checked.finding, checked.reason) == (Finding.REFUSED, "claim.invoice")


def test_a_later_invoice_has_the_later_key(case):
    later = replace(issued().invoice, day=LATER)
    case.register.rows = [issued(invoice=later)]
    [checked] = case.insurer.check([row(date="2026-01-01")])
    assert (checked.finding, checked.known.key) == (Finding.FREE, vrf_key(RENHE, 2).public)


def test_an_item_is_not_taken_for_its_invoice(case):
    [checked] = case.insurer.check([row(scope=Scope.ITEM, line=1)])
    assert (checked.finding, checked.reason) == (Finding.REFUSED, "claim.invoice")


def test_a_suspended_hospital_is_not_asked(case):
    found = case.members.organisations
    changed = found | {RENHE: replace(found[RENHE], status=SUSPENDED)}
    case.members = replace(case.members, organisations=changed)
    [checked] = case.insurer.check([row()])
    assert (checked.finding, checked.reason, case.register.found) == (Finding.OUTSIDE, "claim.inactive", [])
