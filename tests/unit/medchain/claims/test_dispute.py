"""Steps of a dispute: their form, and which may follow which."""

from __future__ import annotations

import json

import pytest

from medchain.claims.dispute import MAX_RECORDS, MAX_STEPS, Dispute, DisputeStep, StepKind, Taken, check_follows
from medchain.encoding import canonical, digest
from medchain.errors import ConflictError, InputError
from tests.unit.medchain.claims.disputing import NOW, step
from tests.unit.medchain.ledger.world import ANXIN, RENHE, TONGJI

DAY = 86400


def answer(before: DisputeStep, **changes: object) -> DisputeStep:
    said = {"number": before.number + 1, "previous": before.hash, "step": StepKind.ANSWER, "days": 0, "records": ()}
    return step(**(said | changes))


def question(before: DisputeStep, **changes: object) -> DisputeStep:
    return answer(before, **({"step": StepKind.QUESTION, "days": 3} | changes))


def close(before: DisputeStep, **changes: object) -> DisputeStep:
    return answer(before, **({"step": StepKind.CLOSE, "text": ""} | changes))


def test_a_step_is_hashed_over_its_one_spelling():
    said = step()
    assert said.hash == digest("medchain/claim-dispute/v1", canonical(said.to_json()))
    assert DisputeStep.read(said.to_json()) == said
    later = answer(said)
    assert DisputeStep.read(later.to_json()) == later


def test_the_hospital_answers_and_all_else_is_the_insurers():
    said = step()
    assert [(one.asker, one.receiver) for one in (said, answer(said), close(said))] == [
        (ANXIN, RENHE),
        (RENHE, ANXIN),
        (ANXIN, RENHE),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"number": 2},
        {"number": MAX_STEPS - 1, "previous": b"\x01" * 32, "records": ()},
        {"previous": b"\x01" * 32},
        {"step": StepKind.ANSWER, "days": 0},
        {"step": StepKind.CLOSE, "days": 0},
        {"days": 0},
        {"days": 61},
        {"text": ""},
        {"text": "  \n"},
        {"text": "长" * 1001},
        {"records": ("Invoice/i1", "Encounter/e1")},
        {"records": ("Invoice/i1", "Invoice/i1")},
        {"records": tuple(f"Invoice/i{number:03}" for number in range(MAX_RECORDS + 1))},
        {"records": ("Invoice/../x",)},
        {"records": ("i1",)},
        {"insurer": RENHE},
        {"number": 2, "previous": b"\x01" * 32, "step": StepKind.ANSWER},
        {"number": 2, "previous": b"\x01" * 32, "step": StepKind.ANSWER, "days": 0, "records": ("Invoice/i1",)},
    ],
)
def test_attack_a_step_that_is_not_well_formed_is_refused(changes):
    with pytest.raises(InputError, match=r"dispute\.malformed"):
        DisputeStep.read(step(**changes).to_json())


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "medchain/claim-dispute/v2"},
        {"step": "threat"},
        {"records": "Invoice/i1"},
        {"number": True},
        {"extra": 1},
        {"claim": "c1"},
        {"previous": "00"},
        {"ledger": 5},
        {"time": -1},
        {"hospital": ""},
    ],
)
def test_attack_what_is_none_is_refused(changes):
    with pytest.raises(InputError):
        DisputeStep.read(step().to_json() | changes)


def test_a_text_has_a_thousand_characters_of_any_script():
    said = step(text="长" * 1000)
    assert DisputeStep.read(json.loads(canonical(said.to_json()))).text == said.text


def test_questions_and_answers_follow_each_other_until_it_is_closed():
    steps = [step()]
    check_follows(steps[0], [])
    for make in (answer, question, answer, close):
        steps.append(make(steps[-1]))
        check_follows(steps[-1], steps[:-1])
    for make in (answer, question, close):
        with pytest.raises(ConflictError, match=r"dispute\.state"):
            check_follows(make(steps[-1]), steps)


@pytest.mark.parametrize("make", [question, close])
def test_the_insurer_may_close_but_not_ask_twice_while_an_answer_is_due(make):
    first = step()
    if make is close:
        check_follows(make(first), [first])
    else:
        with pytest.raises(ConflictError, match=r"dispute\.state"):
            check_follows(make(first), [first])


def test_the_hospital_does_not_answer_twice():
    first = step()
    second = answer(first)
    with pytest.raises(ConflictError, match=r"dispute\.state"):
        check_follows(answer(second), [first, second])


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 3},
        {"previous": b"\x09" * 32},
        {"hospital": TONGJI},
        {"insurer": TONGJI},
        {"claim": b"\x02" * 32},
    ],
)
def test_attack_a_step_that_follows_another_one_or_changes_what_it_is_about_is_refused(changes):
    first = step()
    with pytest.raises(ConflictError, match=r"dispute\.head"):
        check_follows(answer(first, **changes), [first])


def test_an_answer_is_due_so_long_after_the_question_was_heard():
    first = step(days=7)
    unheard = Dispute((Taken(first, "", None),))
    assert (unheard.due, unheard.is_overdue(NOW + 90 * DAY)) == (None, False)
    heard = Dispute((Taken(first, "", NOW + 100),))
    assert heard.due == NOW + 100 + 7 * DAY
    assert [heard.is_overdue(heard.due + more) for more in (0, 1)] == [False, True]
    answered = Dispute((Taken(first, "", NOW + 100), Taken(answer(first), "", NOW + 200)))
    assert (answered.due, answered.first) == (None, first)
