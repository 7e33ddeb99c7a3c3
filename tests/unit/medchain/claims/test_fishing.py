"""Who guesses invoices is counted over restarts, and told of once (docs/spec/claim-question.md, 8 to 10)."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Event

import pytest

from medchain.claims import fishing
from medchain.claims.fishing import FISHING, MAX_WRONG, TOLD_DAYS, WRONG
from medchain.encoding import canonical
from medchain.errors import AccessDeniedError, InputError, UnavailableError
from medchain.ledger.members import SUSPENDED
from medchain.store.watching import MAX_REASONS
from tests.unit.medchain.claims.questions import ANXIN, COMMISSION, NOW, RENHE, TONGJI
from tests.unit.medchain.ledger.world import genesis

DAY_S = 86_400
TODAY = NOW // DAY_S
REPORT = {
    "count": MAX_WRONG,
    "day": TODAY,
    "insurer": ANXIN,
    "ledger": genesis().ledger.hex(),
    "type": "medchain/claim-fishing/v1",
}


def alarms(case) -> list[tuple[str, str]]:
    return [(one.code, one.subject) for one in case.records.alarms()]


def test_what_was_asked_for_in_vain_counts_over_restarts_until_the_day_ends(case):
    case.watch().note(ANXIN, 59)
    assert case.watch().left(ANXIN) == 1
    assert case.watch().left(TONGJI) == MAX_WRONG
    case.watch().note(ANXIN, 3)
    assert case.watch().left(ANXIN) == 0
    case.time += DAY_S
    assert case.watch().left(ANXIN) == MAX_WRONG


def test_refusals_of_other_sorts_do_not_count(case):
    case.records.count_refusal(ANXIN, "release.time", NOW, number=100)
    assert case.watch().left(ANXIN) == MAX_WRONG
    case.watch().note(ANXIN, 1)
    assert case.watch().left(ANXIN) == MAX_WRONG - 1


def test_attack_who_is_refused_for_many_reasons_first_is_stopped_and_told_of_all_the_same(case):
    for number in range(MAX_REASONS + MAX_WRONG):
        case.records.count_refusal(ANXIN, f"release.reason_{number}", NOW)
    assert case.watch().left(ANXIN) == MAX_WRONG
    case.watch().note(ANXIN, MAX_WRONG)
    assert case.watch().left(ANXIN) == 0
    assert (case.watch().round(), [org_id for org_id, _ in case.told]) == (0, [COMMISSION])


def test_a_day_that_is_used_up_is_an_alarm_at_the_hospital_once(case):
    case.watch().note(ANXIN, 59)
    assert alarms(case) == []
    case.watch().note(ANXIN, 1)
    assert alarms(case) == [(FISHING, f"{RENHE} {ANXIN} {TODAY}")]
    case.records.acknowledge(case.records.alarms()[0].id, "asked the insurer", NOW)
    case.watch().note(ANXIN, 1)
    assert alarms(case) == []


def test_regulators_are_told_of_it_until_they_have_taken_it(case):
    case.watch().note(ANXIN, MAX_WRONG)
    watch = case.watch()
    case.down.add(COMMISSION)
    assert (watch.round(), case.told) == (1, [])
    case.down.clear()
    assert (watch.round(), watch.round()) == (0, 0)
    [(org_id, document)] = case.told
    assert (org_id, json.loads(document)) == (COMMISSION, REPORT)


def test_less_than_a_whole_day_is_told_to_nobody_and_a_whole_one_for_a_week(case):
    case.watch().note(TONGJI, MAX_WRONG - 1)
    assert (case.watch().round(), case.told) == (0, [])
    case.watch().note(ANXIN, MAX_WRONG)
    case.time += TOLD_DAYS * DAY_S
    case.watch().round()
    assert len(case.told) == 1
    case.time += DAY_S
    case.watch().round()
    assert len(case.told) == 1


def test_a_regulator_has_the_alarm_once_however_often_it_is_told(case):
    watch = case.watch(COMMISSION)
    for _ in range(2):
        assert watch.receive(canonical(REPORT), RENHE) == {"taken": True}
    [row] = case.records.alarms()
    assert json.loads(row.fields) == {"count": MAX_WRONG, "day": TODAY, "hospital": RENHE, "insurer": ANXIN}
    case.records.acknowledge(row.id, "both were asked", NOW)
    watch.receive(canonical(REPORT), RENHE)
    assert alarms(case) == []
    watch.receive(canonical(REPORT), TONGJI)
    assert alarms(case) == [(FISHING, f"{TONGJI} {ANXIN} {TODAY}")]


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "medchain/claim-fishing/v2"},
        {"ledger": bytes(32).hex()},
        {"day": TODAY + 2},
        {"day": TODAY - TOLD_DAYS - 1},
        {"day": -1},
        {"insurer": "nobody"},
        {"more": 1},
    ],
)
def test_a_report_that_cannot_be_is_refused(case, changes):
    with pytest.raises(InputError):
        case.watch(COMMISSION).receive(canonical(REPORT | changes), RENHE)
    assert alarms(case) == []


def test_who_is_no_regulator_takes_no_report(case):
    with pytest.raises(AccessDeniedError, match=r"claim\.regulator"):
        case.watch(TONGJI).receive(canonical(REPORT), RENHE)


def test_a_suspended_regulator_is_not_told(case):
    found = case.members.organisations
    changed = replace(found[COMMISSION], status=SUSPENDED)
    case.members = replace(case.members, organisations=found | {COMMISSION: changed})
    case.watch().note(ANXIN, MAX_WRONG)
    assert (case.watch().round(), case.told) == (0, [])


def test_the_job_tells_and_goes_on_after_a_fault(case, monkeypatch):
    monkeypatch.setattr(fishing, "PERIOD_S", 0.001)
    case.watch().note(ANXIN, MAX_WRONG)
    watch, stop, faults = case.watch(), Event(), [UnavailableError("store.io")]
    real = case.records.refusals

    def refusals(*, since_day):
        if faults:
            raise faults.pop()
        if case.told:
            stop.set()
        return real(since_day=since_day)

    monkeypatch.setattr(case.records, "refusals", refusals)
    watch.run(stop)
    assert [org_id for org_id, _ in case.told] == [COMMISSION]


def test_nothing_is_told_of_what_is_counted_under_another_reason(case):
    case.records.count_refusal(ANXIN, "release.time", NOW, number=MAX_WRONG)
    assert (case.watch().round(), case.told, WRONG) == (0, [], "claim.unknown")
