"""What was found of a claim is looked at once more before anything is paid on it, over whole nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.claims.case_content import CaseContent
from medchain.claims.case_ports import Gathered
from medchain.claims.claim_file import ClaimFile
from medchain.claims.counter import Step
from medchain.claims.gathering import Gathering
from medchain.encoding import as_object, as_objects
from medchain.errors import ConflictError, VerificationError
from medchain.ledger.object import map_key
from medchain.store.cases import CaseRow
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.office import GIVEN, POLICY, Office, Signed, asked, paid, stepped
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("holds")) as made:
        made.federation.time = NOW
        yield Office(made, Signed)


@pytest.fixture
def office(opened):
    with opened.paying() as made:
        yield made


@pytest.fixture
def cases(opened):
    return opened.cases()


def reserved(office) -> dict:
    """A claim of which the verdict was green when it was reserved."""
    cases = office.cases()
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    assert case["colour"] == "green"
    return cases.reserve(case["id"], is_unseen=True)


def codes(case: dict) -> set[str]:
    found = [one for line in as_objects(as_object(case["verdict"])["lines"]) for one in as_objects(line["findings"])]
    return {str(one["code"]) for one in found}


def withdraw(office, _case: dict) -> None:
    """Have the hospital stop the grant under which it told, a while after it did."""
    office.hospitals.federation.time += 10
    hospital = office.hospitals.federation.sites[RENHE]
    hospital.node.stops.stop(office.exchange.grant)
    hospital.node.driver.outbox.step()
    office.hospitals.everywhere(office.exchange.grant, 2)
    office.hospitals.grants = lambda *_asked: []


def alter(office) -> None:
    """Have the hospital alter a record that the claim cites."""
    office.hospitals.federation.time += 100
    report = next(one for one in office.stay.records() if one["resourceType"] == "DiagnosticReport")
    office.stay.store({**report, "conclusion": f"altered at {office.hospitals.federation.time}"})
    kept = office.hospitals.federation.sites[RENHE].records.get("DiagnosticReport", report["id"])
    office.hospitals.everywhere(map_key("record", RENHE, kept.object_id), kept.version)


def dispute(office, case: dict) -> None:
    """Have another person of the desk ask the hospital about it."""
    asked(office, case)


def test_what_was_reserved_on_a_green_verdict_that_still_holds_is_settled(office, cases):
    case = reserved(office)
    assert cases.settle(case["id"], is_unseen=True)["status"] == "settled"
    # To look once more is no judgement of its own.
    assert len(cases.show(case["id"])["verdicts"]) == 1


def test_nobody_is_asked_when_a_verdict_is_looked_at_once_more(office, cases):
    case = reserved(office)
    office.asked.clear()
    office.hospitals.disclose = lambda _wish: pytest.fail("asked")
    cases.settle(case["id"])
    assert office.asked == []


@pytest.mark.parametrize(("meanwhile", "found"), [(withdraw, {"consent.ended"}), (dispute, set())])
def test_attack_a_person_is_shown_what_came_between_before_anything_is_paid(office, cases, meanwhile, found):
    case = reserved(office)
    meanwhile(office, case)
    with pytest.raises(ConflictError, match=r"case\.changed"):
        cases.settle(case["id"])
    looked_at = cases.show(case["id"])
    assert (looked_at["status"], len(looked_at["verdicts"])) == ("reserved", 2)
    assert codes(looked_at) - codes(case) - {"unclaimed.own"} == found
    # Who looks at what is found now may decide otherwise.
    assert cases.settle(case["id"])["status"] == "settled"


@pytest.mark.parametrize("meanwhile", [withdraw, dispute])
def test_attack_what_came_between_is_paid_by_nobody_who_does_not_look(office, cases, meanwhile):
    case = reserved(office)
    meanwhile(office, case)
    for _ in range(2):
        with pytest.raises(ConflictError, match=r"case\.person"):
            cases.settle(case["id"], is_unseen=True)
    assert [one["action"] for one in cases.show(case["id"])["deeds"]] == ["reserve"]


def test_an_answer_in_a_dispute_is_looked_at_also_once_it_is_closed(office, cases):
    case = cases.take(office.claim(), GIVEN)
    opened = asked(office, case)
    cases.judge(case["id"])
    cases.reserve(case["id"])
    stepped(office, ANXIN, opened, "close")
    # To close it is the desk's own, and says nothing new.
    assert cases.settle(case["id"])["status"] == "settled"
    cases.release(case["id"])
    again = reserved(office)
    other = asked(office, again)
    stepped(office, RENHE, other, "answer", "the second bed was not his")
    stepped(office, ANXIN, other, "close")
    with pytest.raises(ConflictError, match=r"case\.changed"):
        cases.settle(again["id"])
    assert cases.settle(again["id"])["status"] == "settled"


def test_the_counter_judges_anew_what_was_reserved_before(office, cases):
    case = reserved(office)
    done = paid(office, case)
    assert ([step for step, _ in done.steps], done.is_settled) == ([Step.JUDGED, Step.SETTLED], True)
    cases.release(case["id"])
    other = reserved(office)
    withdraw(office, other)
    done = paid(office, other)
    assert ([step for step, _ in done.steps], done.is_settled) == ([Step.JUDGED], False)
    assert (done.case["status"], done.case["colour"]) == ("reserved", "amber")


def test_attack_nobody_pays_on_a_verdict_that_another_one_has_replaced_meanwhile(office, cases):
    case = reserved(office)
    office.hospitals.federation.time += 5
    cases.judge(case["id"], is_fresh=True)
    with pytest.raises(ConflictError, match=r"case\.changed"):
        cases.settle(case["id"], seen=case["judged_at"])
    now = cases.show(case["id"])["judged_at"]
    assert cases.settle(case["id"], seen=now)["status"] == "settled"


def test_what_has_lost_its_verdict_to_another_policy_is_judged_before_it_is_paid(office, cases):
    case = reserved(office)
    cases.give(case["id"], {"policy": {**POLICY, "waiting_days": 0}})
    for how in ({}, {"is_unseen": True}):
        with pytest.raises(ConflictError, match=r"case\.(changed|person)"):
            cases.settle(case["id"], **how)
    cases.judge(case["id"])
    assert cases.settle(case["id"])["status"] == "settled"


def test_a_person_may_pay_what_nobody_has_judged(office, cases):
    case = cases.take(office.claim(), GIVEN)
    assert cases.reserve(case["id"], seen=0)["status"] == "reserved"
    assert cases.settle(case["id"], seen=0)["status"] == "settled"


def test_attack_a_verdict_that_is_made_while_the_one_before_is_looked_at_is_not_paid_on_unseen(
    office, cases, monkeypatch
):
    case, desk = reserved(office), office.hospitals.nodes[ANXIN]._cases  # noqa: SLF001  # as configured
    holds = desk._parts.holds  # noqa: SLF001  # the same

    def judged_meanwhile(row: CaseRow) -> bool:
        answer = holds(row)
        office.hospitals.federation.time += 1
        cases.judge(case["id"])
        return answer

    with monkeypatch.context() as slow:
        slow.setattr(desk, "_parts", replace(desk._parts, holds=judged_meanwhile))  # noqa: SLF001  # the same
        with pytest.raises(ConflictError, match=r"case\.changed"):
            cases.settle(case["id"], seen=case["judged_at"])
    assert cases.settle(case["id"], seen=cases.show(case["id"])["judged_at"])["status"] == "settled"


def test_what_is_found_without_asking_takes_no_place_of_what_was_answered_meanwhile(office, cases, monkeypatch):
    case, meanwhile = reserved(office), []
    withdraw(office, case)
    again = Gathering.again

    def answered_meanwhile(gathering: Gathering, claim: ClaimFile, content: CaseContent) -> Gathered:
        made = again(gathering, claim, content)
        office.hospitals.federation.time += 1
        meanwhile.append(cases.judge(case["id"], is_fresh=True))
        return made

    with monkeypatch.context() as slow:
        slow.setattr(Gathering, "again", answered_meanwhile)
        with pytest.raises(ConflictError, match=r"case\.changed"):
            cases.settle(case["id"])
    shown = cases.show(case["id"])
    assert (shown["verdicts"], shown["failures"]) == (meanwhile[0]["verdicts"], {RENHE: "case.permission_ended"})


def test_fault_where_the_verdict_cannot_be_looked_at_nothing_is_paid(office, cases, monkeypatch):
    case = reserved(office)
    office.hospitals.before_deed = lambda: pytest.fail("the hospital was asked")

    def damaged(*_asked: object, **_more: object) -> None:
        raise VerificationError("store.damaged")

    try:
        with monkeypatch.context() as broken:
            broken.setattr("medchain.claims.gathering.export_claim", damaged)
            for how in ({}, {"is_unseen": True}):
                with pytest.raises(VerificationError, match=r"store\.damaged"):
                    cases.settle(case["id"], **how)
    finally:
        office.hospitals.before_deed = lambda: None
    assert cases.settle(case["id"])["status"] == "settled"


# It comes last: the records are altered for every claim after it.
def test_attack_a_record_that_is_altered_after_the_reservation_is_seen_before_it_is_paid(office, cases):
    case = reserved(office)
    alter(office)
    with pytest.raises(ConflictError, match=r"case\.person"):
        cases.settle(case["id"], is_unseen=True)
    looked_at = cases.show(case["id"])
    assert (looked_at["status"], looked_at["colour"]) == ("reserved", "red")
    assert {"unaltered.altered", "flags.altered"} <= codes(looked_at)
    alter(office)
    with pytest.raises(ConflictError, match=r"case\.changed"):
        cases.settle(case["id"])
    assert cases.settle(case["id"])["status"] == "settled"
