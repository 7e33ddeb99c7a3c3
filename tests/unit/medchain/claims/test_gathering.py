"""An insurer gathers evidence over whole nodes, and judges: all as it should be, and whoever does not answer."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import replace

import pytest

from medchain.claims.case_judging import MAX_GATHERED, Judging
from medchain.claims.claimed import Claimed
from medchain.claims.claimed_lines import ClaimedLines
from medchain.claims.einvoice import EInvoiceAnswer, Said
from medchain.claims.gathering import Gathering
from medchain.claims.outlook import known_alone
from medchain.encoding import as_object, as_objects, unbase64
from medchain.errors import ConflictError, NotFoundError, UnavailableError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.evidence.document import InsurancePolicy
from medchain.ledger.genesis import trusted_policy_text
from medchain.ledger.invoice import amount_of
from medchain.node.grant_search import Permission
from medchain.node.packed import unpack_bundle
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.office import GIVEN, POLICY, Office
from tests.unit.medchain.claims.questions import issued, row
from tests.unit.medchain.ledger.world import genesis
from tests.unit.medchain.node.disclosing import TYPES
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE
from tests.waiting import PATIENCE_S, eventually

LATER = {"end": None, "start": "2026-11-20", "waiting_days": 0}
"""A policy that begins after the services."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("gathering")) as made:
        made.federation.time = NOW
        yield Office(made)


@pytest.fixture
def office(opened):
    opened.anew()
    return opened


@pytest.fixture
def cases(opened):
    return opened.cases()


def lines(case: dict) -> dict[str, str]:
    return {str(one["line"]): str(one["colour"]) for one in as_objects(as_object(case["verdict"])["lines"])}


def codes(case: dict) -> set[str]:
    found = [one for line in as_objects(as_object(case["verdict"])["lines"]) for one in as_objects(line["findings"])]
    return {str(one["code"]) for one in found}


def verified(office, bundle: bytes):
    policy = trusted_policy_text(office.hospitals.federation.sites[ANXIN].ledger.final_members(), genesis().origin)
    return verify_bundle(unpack_bundle(bundle), policy, now=office.hospitals.federation.time + 10)


def test_a_claim_is_judged_and_a_stranger_finds_the_same_in_its_bundle(office, cases):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert (case["status"], case["failures"], case["judged_at"]) == ("judged", {}, office.hospitals.federation.time)
    assert set(lines(case)) == {"source", "unaltered", "complete", "consent", "unclaimed", "coverage", "flags"}
    assert {"unaltered.same", "consent.in_force", "unclaimed.absent", "coverage.covered"} <= codes(case)
    assert not [line for line, colour in lines(case).items() if colour == "red"], case["verdict"]
    told = verified(office, cases.bundle(case["id"]))
    assert json.loads(told.claim.encode()) == case["verdict"]
    assert told.claim.claim.hex() == case["digest"]


def test_the_hospital_is_asked_for_the_patients_grants_by_the_id_that_the_claim_has(office, cases):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    claim = bytes.fromhex(case["digest"])
    assert office.asked == [(RENHE, f"Patient/{office.stay.local}", "HPAYMT", sorted(TYPES), claim)]


def test_with_a_permission_for_exactly_this_claim_the_hospital_is_not_asked_for_others(office, cases):
    office.hospitals.for_claim = lambda _claim: [("tongji-hospital", b"\x07" * 32), (RENHE, office.exchange.grant)]
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert (case["failures"], office.asked) == ({}, [])


def test_who_has_answered_is_not_asked_again_and_the_second_bundle_shows_that_the_log_only_grew(office, cases):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    asked, audited = len(office.asked), len(office.hospitals.audits[RENHE].rows)
    again = cases.judge(case["id"])
    assert (len(office.asked), len(office.hospitals.audits[RENHE].rows)) == (asked, audited)
    assert lines(again) == lines(case)
    assert {"checkpoint-old", "consistency.txt"} <= unpack_bundle(cases.bundle(case["id"])).keys()
    verified(office, cases.bundle(case["id"]))


def test_who_wants_it_fresh_has_everybody_asked_anew(office, cases):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    asked, audited = len(office.asked), len(office.hospitals.audits[RENHE].rows)
    cases.judge(case["id"], is_fresh=True)
    assert (len(office.asked), len(office.hospitals.audits[RENHE].rows)) == (asked + 1, audited + 1)


def test_whether_an_invoice_is_still_claimed_otherwise_is_asked_for_again(office, cases, monkeypatch):
    """No ledger tells it: what was kept would stay red after the line was given up."""
    register = office.hospitals.registers[RENHE]
    monkeypatch.setattr(register, "rows", [replace(one, lines=(1,)) for one in register.rows])
    with monkeypatch.context() as patched:
        patched.setattr(ClaimedLines, "may_have", lambda *_asked: True)
        patched.setattr(Claimed, "_is_live", lambda *_asked: True)
        case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
        assert "unclaimed.apart" in codes(cases.judge(case["id"]))
    office.hospitals.federation.down.add(RENHE)
    try:
        assert "unclaimed.apart" in codes(cases.judge(case["id"]))
    finally:
        office.hospitals.federation.down.clear()
    found = codes(cases.judge(case["id"]))
    assert "unclaimed.absent" in found
    assert "unclaimed.apart" not in found


def test_a_record_that_was_altered_since_is_asked_for_again_and_shown_to_be_altered(office, cases):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    office.hospitals.federation.time += 100
    condition = next(one for one in office.stay.records() if one["resourceType"] == "Condition")
    office.stay.store({**condition, "onsetDateTime": "2026-06"})
    again = cases.judge(case["id"])
    assert len(office.asked) == 2
    assert "unaltered.altered" in codes(again)
    assert lines(again)["unaltered"] == "red"


def test_who_alters_a_record_and_is_silent_from_then_on_has_still_said_what_was_there(office, cases):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    office.hospitals.federation.time += 100
    report = next(one for one in office.stay.records() if one["resourceType"] == "DiagnosticReport")
    office.stay.store({**report, "conclusion": f"altered at {office.hospitals.federation.time}"})

    def refuse(_wish: object) -> None:
        raise NotFoundError("release.nothing")

    office.hospitals.disclose = refuse
    again = cases.judge(case["id"], is_fresh=True)
    assert again["failures"] == {RENHE: "release.nothing"}
    assert "unaltered.altered" in codes(again)
    assert "source.missing" not in codes(again)
    assert json.loads(verified(office, cases.bundle(case["id"])).claim.encode()) == again["verdict"]


def test_a_known_claim_id_is_kept_where_its_hospital_does_not_answer_now(office, cases):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    office.hospitals.federation.down.add(RENHE)
    again = cases.judge(case["id"], is_fresh=True)
    assert "unclaimed.absent" in codes(again)
    office.hospitals.federation.down.clear()
    rows, office.hospitals.registers[RENHE].rows = office.hospitals.registers[RENHE].rows, []
    try:
        assert "unclaimed.unknown" in codes(cases.judge(case["id"], is_fresh=True))
    finally:
        office.hospitals.registers[RENHE].rows = rows


def test_without_a_permission_it_is_said_that_there_is_none_and_nothing_is_asked_for(office, cases):
    office.hospitals.grants = lambda *_asked: []
    office.hospitals.disclose = lambda _wish: pytest.fail("asked without a permission")
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["failures"] == {RENHE: "case.no_grant"}
    assert {"consent.none", "source.missing"} <= codes(case)
    assert (case["colour"], lines(case)["unclaimed"]) == ("red", "green")
    # What was known before anybody was asked is among it.
    before = known_alone(unbase64(case["content"]), InsurancePolicy(**POLICY))
    assert {one.code for one in before} == {"coverage.covered"}
    assert {one.code for one in before} <= codes(case)
    assert json.loads(verified(office, cases.bundle(case["id"])).claim.encode()) == case["verdict"]


def test_where_a_permission_for_the_claim_has_ended_that_is_said_and_not_that_there_was_none(office, cases):
    office.hospitals.grants = lambda *_asked: []
    office.hospitals.permissions = lambda _claim: [Permission(RENHE, 7, NOW - 100, NOW - 10)]
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["failures"] == {RENHE: "case.permission_ended"}


def test_what_was_told_before_the_permission_ended_stays_and_it_is_said_that_it_has(office, cases):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["failures"] == {}
    office.hospitals.grants = lambda *_asked: []
    again = cases.judge(case["id"], is_fresh=True)
    assert again["failures"] == {RENHE: "case.permission_ended"}
    assert codes(again) == codes(case)


def test_each_verdict_is_remembered_and_what_was_permitted_is_told(office, cases):
    office.hospitals.permissions = lambda _claim: [Permission(RENHE, 7, NOW - 100, None)]
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["permissions"] == [{"custodian": RENHE, "ended": None, "position": 7, "time": NOW - 100}]
    office.hospitals.permissions = lambda _claim: []
    again = cases.judge(case["id"], is_fresh=True)
    assert again["permissions"] == []
    assert [one["colour"] for one in again["verdicts"]] == [case["colour"], again["colour"]]
    assert again["verdicts"][0]["position"] == case["verdict"]["as_of"]["position"]
    assert again["verdicts"][1]["position"] == again["verdict"]["as_of"]["position"]


def test_a_hospital_that_refuses_is_said_to(office, cases):
    def refuse(_wish: object) -> None:
        raise NotFoundError("release.nothing")

    office.hospitals.disclose = refuse
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["failures"] == {RENHE: "release.nothing"}
    assert case["colour"] == "red"


def test_a_dead_hospital_leaves_its_lines_uncertain_and_nothing_hangs(office, cases):
    def find(*_asked: object) -> list[bytes]:
        raise UnavailableError("peer.unreachable")

    office.hospitals.grants = find
    office.hospitals.federation.down.add(RENHE)
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["failures"] == {RENHE: "peer.unreachable"}
    assert "unclaimed.unreachable" in codes(case)
    # Once it is back, it is asked: what was not answered is not kept as an answer.
    office.hospitals.federation.down.clear()
    office.hospitals.grants = office.finds
    assert cases.judge(case["id"])["failures"] == {}


def test_without_an_invoice_nobody_is_asked_for_one(office, cases):
    before = len(office.hospitals.audits[RENHE].rows)
    case = cases.judge(cases.take(office.claim())["id"])
    assert "unclaimed.no_copy" in codes(case)
    assert len(office.hospitals.audits[RENHE].rows) == before


def test_what_this_insurer_has_reserved_for_the_claim_is_its_own(office, cases):
    office.hospitals.registers[RENHE].rows.append(
        replace(issued("55", amount=amount_of("4200.50", "CNY")), invoice=row("55", date="2026-11-14").fields)
    )
    given = {**GIVEN, "row": row("55", date="2026-11-14", amount="4200.50").to_json()}
    case = cases.take(office.claim(), given)
    cases.reserve(case["id"])
    judged = cases.judge(case["id"])
    assert judged["status"] == "reserved"
    assert "unclaimed.own" in codes(judged)


def test_who_waits_too_short_a_time_sees_that_it_is_gathered_and_finds_it_later(office, cases):
    gate = threading.Event()
    real = office.hospitals.disclose

    def slow(wish: object) -> object:
        gate.wait(30)
        return real(wish)

    office.hospitals.disclose = slow
    case = cases.take(office.claim(), GIVEN)
    try:
        waiting = cases.judge(case["id"], wait_s=0)
        assert (waiting["status"], waiting["verdict"]) == ("gathering", None)
        assert waiting["progress"]["step"] in ("begun", "asked")
        others = [cases.take(office.claim(), GIVEN)["id"] for _ in range(MAX_GATHERED)]
        for one in others[:-1]:
            cases.judge(one, wait_s=0)
        with pytest.raises(UnavailableError, match=r"case\.busy"):
            cases.judge(others[-1], wait_s=0)
    finally:
        gate.set()
    done = cases.judge(case["id"])
    assert (done["status"], done["progress"]) == ("judged", None)
    for one in others:
        cases.judge(one)


def test_attack_another_policy_that_is_given_takes_the_verdict_on_the_one_before_away(office, cases):
    claim = office.claim()
    case = cases.judge(cases.take(claim, GIVEN)["id"])
    assert lines(case)["coverage"] == "green"
    # The same again changes nothing.
    assert cases.take(claim, GIVEN)["verdict"] == case["verdict"]
    changed = cases.take(claim, {"policy": LATER})
    told = (changed["status"], changed["colour"], changed["judged_at"], changed["verdict"])
    assert told == ("new", "", None, None)
    with pytest.raises(NotFoundError, match=r"case\.unjudged"):
        cases.bundle(case["id"])
    assert lines(cases.judge(case["id"]))["coverage"] == "red"
    verified(office, cases.bundle(case["id"]))


def test_what_is_given_while_evidence_is_gathered_is_judged_and_nothing_else(office, cases):
    gate, asked = threading.Event(), threading.Event()
    real = office.hospitals.disclose

    def slow(wish: object) -> object:
        asked.set()
        gate.wait(30)
        return real(wish)

    office.hospitals.disclose = slow
    claim = office.claim()
    case = cases.take(claim, GIVEN)
    try:
        cases.judge(case["id"], wait_s=0)
        assert asked.wait(30)
        cases.take(claim, {"policy": LATER})
    finally:
        gate.set()
    judged = cases.judge(case["id"])
    assert (judged["policy"], lines(judged)["coverage"]) == (LATER, "red")
    # Who has answered was not asked again for it.
    assert len(office.asked) == 1


def test_a_case_that_was_never_judged_has_no_bundle(office, cases):
    with pytest.raises(NotFoundError, match=r"case\.unjudged"):
        cases.bundle(cases.take(office.claim())["id"])


class Slow:
    """A hospital that answers when it is let, with how often it was asked."""

    def __init__(self, office) -> None:
        """Stand before the hospital."""
        self.gate, self.asked, self.times = threading.Event(), threading.Event(), 0
        self._real = office.hospitals.disclose
        office.hospitals.disclose = self.disclose

    def disclose(self, wish: object) -> object:
        self.times += 1
        self.asked.set()
        assert self.gate.wait(PATIENCE_S)
        return self._real(wish)


def test_who_wants_it_fresh_is_not_answered_by_a_gathering_that_began_before(office, cases, monkeypatch):
    slow, come, begun = Slow(office), [], Judging._begun  # noqa: SLF001  # to see who has come

    def counted(judging, *asked: object, **more: object):
        found = begun(judging, *asked, **more)
        come.append(found)
        return found

    monkeypatch.setattr(Judging, "_begun", counted)
    case = cases.take(office.claim(), GIVEN)
    cases.judge(case["id"], wait_s=0)
    assert slow.asked.wait(30)
    found: list[dict] = []
    later = [threading.Thread(target=lambda: found.append(cases.judge(case["id"], is_fresh=True))) for _ in range(2)]
    try:
        for one in later:
            one.start()
        assert cases.judge(case["id"], wait_s=0, is_fresh=True)["status"] == "gathering"
        assert eventually(lambda: len(come) == 4)
    finally:
        slow.gate.set()
        for one in later:
            one.join(60)
    # All who came while the first was under way share the next one.
    assert slow.times == 2
    assert [one["status"] for one in found] == ["judged", "judged"]


def test_fault_a_fresh_gathering_follows_one_that_failed(office, cases, monkeypatch):
    gate, begun, real = threading.Event(), threading.Event(), Gathering.gather

    def failing(gathering, *given: object, **more: object):
        if begun.is_set():
            return real(gathering, *given, **more)
        begun.set()
        assert gate.wait(30)
        raise UnavailableError("trace.no_final")

    monkeypatch.setattr(Gathering, "gather", failing)
    case = cases.take(office.claim(), GIVEN)
    cases.judge(case["id"], wait_s=0)
    assert begun.wait(30)
    assert cases.judge(case["id"], wait_s=0, is_fresh=True)["status"] == "gathering"
    gate.set()
    # Whoever comes now finds the first, which fails, or the one after it.
    with contextlib.suppress(UnavailableError):
        cases.judge(case["id"])
    assert cases.judge(case["id"])["status"] == "judged"


def test_fault_an_error_of_no_kind_of_ours_is_no_success_and_is_told(office, cases, monkeypatch):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["failed"] is None

    def broken(*_given: object, **_more: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Gathering, "gather", broken)
        with pytest.raises(UnavailableError, match=r"case\.failed"):
            cases.judge(case["id"], is_fresh=True)
        # It may have ended before anybody could wait.
        with contextlib.suppress(UnavailableError):
            cases.judge(case["id"], wait_s=0)
        assert eventually(lambda: cases.show(case["id"])["progress"] is None)
    # Nobody waited for the last one: the verdict of before stands there, and that it is not one of now.
    found = cases.show(case["id"])
    assert (found["failed"], found["verdict"]) == ("case.failed", case["verdict"])
    with pytest.raises(ConflictError, match=r"case\.person"):
        cases.reserve(case["id"], is_unseen=True)
    assert cases.judge(case["id"])["failed"] is None


def test_fault_without_a_thread_to_gather_nothing_waits_for_ever(office, cases, monkeypatch):
    case = cases.take(office.claim(), GIVEN)

    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("medchain.claims.case_judging.threading.Thread.start", none_left)
        with pytest.raises(UnavailableError, match=r"case\.failed"):
            cases.judge(case["id"])
    assert cases.judge(case["id"])["status"] == "judged"


class EInvoiceService:
    """A service for electronic invoices that knows some numbers."""

    def __init__(self, *known: str) -> None:
        """Know these."""
        self.known = known
        self.asked: list[str] = []

    def check(self, rows):
        self.asked += [one.number for one in rows]
        return [EInvoiceAnswer(Said.GENUINE if one.number in self.known else Said.UNKNOWN) for one in rows]


@pytest.fixture
def einvoices(office, monkeypatch):
    """The insurer's node, put together with a service."""
    service = EInvoiceService(GIVEN["row"]["number"])
    node = office.hospitals.nodes[ANXIN]
    parts = node._judging._gatherer._parts  # noqa: SLF001  # as configured
    monkeypatch.setattr(node._judging._gatherer, "_parts", replace(parts, einvoices=service))  # noqa: SLF001  # the same
    return service


def test_what_a_service_for_e_invoices_says_stands_beside_the_verdict_and_not_in_it(office, cases, einvoices):
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["einvoice"] == {"answer": "genuine", "stand_in": False, "time": office.hospitals.federation.time}
    assert einvoices.asked == [GIVEN["row"]["number"]]
    told = verified(office, cases.bundle(case["id"]))
    assert json.loads(told.claim.encode()) == case["verdict"]
    files = unpack_bundle(cases.bundle(case["id"]))
    assert not any(b"einvoice" in content or b"genuine" in content for content in files.values())


def test_another_invoice_takes_away_what_was_said_of_the_one_before(office, cases, einvoices):
    claim = office.claim()
    case = cases.judge(cases.take(claim, GIVEN)["id"])
    other = cases.take(claim, {"row": {**GIVEN["row"], "number": "2798577179"}})
    assert (other["id"], other["einvoice"]) == (case["id"], None)
    assert cases.judge(case["id"])["einvoice"]["answer"] == "unknown"
    assert einvoices.asked == [GIVEN["row"]["number"], "2798577179"]


def test_without_a_service_nothing_is_said_of_an_e_invoice(office, cases):
    assert cases.judge(cases.take(office.claim(), GIVEN)["id"])["einvoice"] is None
