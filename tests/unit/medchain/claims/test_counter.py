"""A claim at the counter: what is asked of the daemon, in which order, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from medchain.claims.counter import Counter, Done, Step, Wanted
from medchain.errors import ConflictError, UnavailableError

CASE_ID, DIGEST, HOSPITAL = "ab" * 16, "0c" * 32, "renhe-hospital"
WANTED = Wanted("to settle your stay", days=5, wait_s=30)


@dataclass
class Daemon:
    """An insurer's daemon, and a patient who taps after so many looks; None never."""

    taps_after: int | None = 3
    colour: str = "green"
    status: str = "new"
    disputed: bool = False
    einvoice: dict[str, Any] | None = None
    asks: list[dict[str, Any]] = field(default_factory=list)
    custodian: str = HOSPITAL
    called: list[str] = field(default_factory=list)
    sent: dict[str, Any] = field(default_factory=dict)
    fails: str = ""
    code: str = "claim.amount"
    gathers: int = 0
    failed: str | None = None
    time: float = 0.0
    looks: int = 0

    def call(self, operation: str, document: dict[str, Any], _limits: object = None) -> dict[str, Any]:
        self.time += 1
        if operation == "exchange.claim":
            self.looks += 1
            is_there = self.taps_after is not None and self.looks > self.taps_after
            return {"grants": [{"custodian": self.custodian, "grant": "01" * 32}] if is_there else []}
        self.called.append(operation)
        self.sent[operation] = document
        if operation == self.fails:
            raise ConflictError(self.code)
        if operation == "case.ask":
            self.asks.append({"hospital": document["hospital"] or HOSPITAL})
        if operation == "case.judge":
            self.status = "reserved" if self.status == "reserved" else "judged"
        if operation in {"case.judge", "case.show"} and "case.judge" in self.called:
            self.gathers -= 1
            if self.gathers >= 0:
                # The verdict before, which was green, is still there.
                progress = {"done": 0, "of": 2, "step": "asked"}
                return self.case() | {"colour": "green", "status": "gathering", "progress": progress}
        made = {"case.ask": "asked", "case.reserve": "reserved", "case.settle": "settled"}
        self.status = made.get(operation, self.status)
        return self.case()

    def case(self) -> dict[str, Any]:
        colour = self.colour if self.status not in ("new", "asked") else ""
        told = {"asks": self.asks, "colour": colour, "digest": DIGEST, "hospital": HOSPITAL}
        told |= {"disputed": self.disputed, "einvoice": self.einvoice, "failed": self.failed}
        return told | {"id": CASE_ID, "status": self.status}

    def rest(self, seconds: float) -> None:
        self.time += seconds


def settled(daemon: Daemon, wanted: Wanted = WANTED, told: list[object] | None = None) -> Done:
    noted = [] if told is None else told
    made = Counter(daemon, lambda: daemon.time, daemon.rest, lambda *step: noted.append(step))
    return made.settle(CASE_ID, wanted)


def test_a_claim_is_asked_for_judged_reserved_and_settled_and_each_step_is_timed():
    daemon, told = Daemon(), []
    done = settled(daemon, told=told)
    assert daemon.called == ["case.show", "case.ask", "case.judge", "case.reserve", "case.settle"]
    assert [step for step, _ in done.steps] == list(Step)
    assert done.is_settled
    assert told == list(done.steps)
    # Each call takes a second here, each look at whether the patient has tapped half a second more.
    assert dict(done.steps) == {
        Step.ASKED: 1.0,
        Step.PERMITTED: 4.0,
        Step.JUDGED: 1.0,
        Step.RESERVED: 1.0,
        Step.SETTLED: 1.0,
    }
    assert done.seconds == 8.0
    asked = {"days": 5, "hospital": "", "id": CASE_ID, "person": "", "reason": "to settle your stay"}
    assert daemon.sent["case.ask"] == asked
    assert daemon.sent["case.judge"]["fresh"] is True


@pytest.mark.parametrize("colour", ["amber", "red"])
def test_on_a_verdict_that_is_not_green_nothing_is_reserved(colour):
    daemon = Daemon(colour=colour)
    done = settled(daemon)
    assert daemon.called[-1] == "case.judge"
    assert (done.is_settled, done.case["colour"]) == (False, colour)


@pytest.mark.parametrize("answer", ["otherwise", "reversed", "unknown"])
def test_what_a_service_for_e_invoices_doubts_is_for_a_person(answer):
    done = settled(Daemon(taps_after=0, einvoice={"answer": answer, "stand_in": False, "time": 1}))
    assert ([step for step, _ in done.steps], done.is_settled) == ([Step.JUDGED], False)


@pytest.mark.parametrize("answer", ["genuine", "not_asked", "unreachable"])
def test_an_e_invoice_that_is_genuine_or_of_which_nothing_is_said_is_paid(answer):
    assert settled(Daemon(taps_after=0, einvoice={"answer": answer, "stand_in": False, "time": 1})).is_settled


@pytest.mark.parametrize("told", [{"status": "refused"}, {"disputed": True}, {"disputed": True, "status": "reserved"}])
def test_what_a_person_refused_or_asks_the_hospital_about_is_not_paid_by_itself(told):
    daemon = Daemon(taps_after=0, **told)
    done = settled(daemon)
    assert (done.is_settled, done.steps, daemon.called) == (False, (), ["case.show"])


def test_what_a_person_refuses_while_it_is_judged_is_not_paid():
    class Refusing(Daemon):
        def call(self, operation: str, document: dict[str, Any], _limits: object = None) -> dict[str, Any]:
            answer = super().call(operation, document)
            return answer | {"status": "refused"} if operation == "case.judge" else answer

    daemon = Refusing()
    assert not settled(daemon).is_settled
    assert daemon.called[-1] == "case.judge"


@pytest.mark.parametrize("colour", ["amber", "red"])
def test_what_a_person_reserved_on_another_verdict_a_person_pays(colour):
    daemon = Daemon(status="reserved", colour=colour)
    assert not settled(daemon).is_settled
    assert daemon.called == ["case.show"]


def test_attack_nothing_is_paid_on_the_verdict_before_while_a_hospital_delays_the_next():
    daemon = Daemon(colour="red", gathers=2)
    done = settled(daemon)
    assert daemon.called == ["case.show", "case.ask", "case.judge", *["case.show"] * 2]
    assert (done.is_settled, done.case["colour"]) == (False, "red")
    assert daemon.sent["case.judge"]["fresh"] is True
    slow = Daemon(gathers=1000)
    with pytest.raises(UnavailableError, match=r"case\.busy"):
        settled(slow)
    assert "case.reserve" not in slow.called
    assert slow.time < 80


def test_attack_nothing_is_paid_on_the_verdict_before_where_the_next_one_failed_while_nobody_waited():
    daemon = Daemon(gathers=2, failed="case.failed")
    with pytest.raises(UnavailableError, match=r"case\.failed"):
        settled(daemon)
    assert daemon.called == ["case.show", "case.ask", "case.judge", *["case.show"] * 2]


@pytest.mark.parametrize("fails", ["case.reserve", "case.settle"])
def test_what_the_daemon_says_a_person_must_look_at_ends_it_without_an_error(fails):
    daemon = Daemon(taps_after=0, fails=fails, code="case.person")
    done = settled(daemon)
    assert daemon.called[-2:] == [fails, "case.show"]
    assert (done.is_settled, done.steps[-1][0]) == (False, Step.JUDGED if fails == "case.reserve" else Step.RESERVED)
    assert daemon.sent[fails]["unseen"] is True


def test_who_wants_a_verdict_alone_has_nothing_reserved_and_leaves_what_is_paid():
    daemon = Daemon()
    made = Counter(daemon, lambda: daemon.time, daemon.rest).judge(CASE_ID, WANTED)
    assert (made.case["status"], made.case["colour"]) == ("judged", "green")
    assert daemon.called == ["case.show", "case.ask", "case.judge"]
    paid = Daemon(status="settled")
    assert Counter(paid, lambda: paid.time, paid.rest).judge(CASE_ID, WANTED).is_settled
    assert paid.called == ["case.show"]


def test_a_patient_who_does_not_tap_is_waited_for_no_longer_than_was_said():
    daemon = Daemon(taps_after=None)
    with pytest.raises(UnavailableError, match=r"case\.waits"):
        settled(daemon)
    assert daemon.called == ["case.show", "case.ask"]
    assert daemon.time < 40


def test_a_permission_of_another_hospital_is_none_of_this_one():
    daemon = Daemon(custodian="tongji-hospital")
    with pytest.raises(UnavailableError, match=r"case\.waits"):
        settled(daemon)
    other = Daemon(custodian="tongji-hospital")
    assert settled(other, Wanted("why", hospital="tongji-hospital")).is_settled
    assert other.sent["case.ask"]["hospital"] == "tongji-hospital"


def test_a_later_try_goes_on_where_the_first_ended():
    asked = Daemon(status="asked", asks=[{"hospital": HOSPITAL}])
    assert [step for step, _ in settled(asked).steps] == [*Step][1:]
    permitted = Daemon(status="asked", taps_after=0)
    assert [step for step, _ in settled(permitted).steps] == [*Step][2:]
    reserved = Daemon(status="reserved")
    assert settled(reserved).is_settled
    # What is reserved is judged anew before it is paid.
    assert reserved.called == ["case.show", "case.judge", "case.settle"]
    done = settled(Daemon(status="settled"))
    assert (done.is_settled, done.steps) == (True, ())


def test_a_patient_is_asked_once_more_if_that_is_wanted():
    daemon = Daemon(status="asked", asks=[{"hospital": HOSPITAL}])
    settled(daemon, Wanted("why", is_again=True))
    assert "case.ask" in daemon.called


def test_what_the_ledger_refuses_ends_it():
    daemon = Daemon(fails="case.reserve")
    with pytest.raises(ConflictError, match=r"claim\.amount"):
        settled(daemon)
    assert "case.settle" not in daemon.called
