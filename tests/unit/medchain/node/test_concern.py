"""Concerns: which steps may follow which, by when an answer is due, and what a regulator reads of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.encoding import canonical, parse_canonical
from medchain.errors import ConflictError, InputError, MedchainError
from medchain.node.concern import (
    ANSWERS,
    MAX_REPORT_BYTES,
    MAX_REPORTED,
    MAX_TEXT,
    About,
    Concern,
    ConcernKind,
    Step,
    StepKind,
    checked,
    encode_reports,
    parse_concern,
    parse_reports,
    report_of,
)

NOW = 1_796_083_200
DAY_S = 86_400
LEDGER = b"\x11" * 32
ID = b"\x07" * 16
OPENED = Step(StepKind.OPENED, "Patient/p1", NOW, "血型记成了 A 型, it is B")
ASKED = Concern(ConcernKind.CORRECTION, About("Observation/o1", 3), shared=False, steps=(OPENED,))
COMPLAINT = replace(ASKED, kind=ConcernKind.COMPLAINT, about=About("AuditEvent/0a1b.7"))


def taken(kind: StepKind, seconds: int = 10, **changes: object) -> Step:
    text = "" if kind in (StepKind.CLOSED, StepKind.ACCEPTED) else "why"
    return replace(Step(kind, "Practitioner/d1", NOW + seconds, text), **changes)


def after(*kinds: StepKind) -> Concern:
    made = ASKED
    for number, kind in enumerate(kinds, 1):
        made = made.taking(taken(kind, 10 * number))
    return made


def test_what_is_written_reads_back():
    made = after(StepKind.DECLINED, StepKind.REOPENED, StepKind.ACCEPTED, StepKind.CLOSED)
    assert parse_concern(made.encode()) == made
    assert parse_concern(COMPLAINT.encode()) == COMPLAINT


# docs/spec/concern.md 3, as it is written there.
FOLLOWS = {
    StepKind.OPENED: {StepKind.ACCEPTED, StepKind.DECLINED, StepKind.CLOSED},
    StepKind.ACCEPTED: {StepKind.REOPENED, StepKind.CLOSED},
    StepKind.DECLINED: {StepKind.REOPENED, StepKind.CLOSED},
    StepKind.REOPENED: {StepKind.ACCEPTED, StepKind.DECLINED, StepKind.CLOSED},
    StepKind.CLOSED: set(),
}


@given(st.lists(st.sampled_from([*StepKind]), max_size=7))
def test_steps_follow_each_other_as_the_spec_says_and_in_no_other_way(kinds):
    chain = [StepKind.OPENED, *kinds]
    is_right = all(later in FOLLOWS[before] for before, later in pairwise(chain))
    is_right = is_right and chain.count(StepKind.REOPENED) <= 1
    if not is_right:
        with pytest.raises(ConflictError, match=r"concern\.state"):
            after(*kinds)
        return
    assert [step.kind for step in parse_concern(after(*kinds).encode()).steps] == chain


def test_a_forged_state_is_no_concern():
    closed = after(StepKind.CLOSED).to_json()
    closed["steps"].append(taken(StepKind.ACCEPTED).to_json())
    with pytest.raises(ConflictError, match=r"concern\.state"):
        parse_concern(canonical({**closed, "type": "medchain/concern/v1"}))


@pytest.mark.parametrize(("concern", "days"), [(ASKED, 30), (COMPLAINT, 3)])
def test_an_answer_is_due_in_the_time_of_its_kind_and_reopening_starts_the_clock_anew(concern, days):
    assert concern.due == NOW + days * DAY_S
    declined = concern.taking(taken(StepKind.DECLINED, 100))
    assert declined.due is None
    reopened = declined.taking(taken(StepKind.REOPENED, 500))
    assert reopened.due == NOW + 500 + days * DAY_S
    assert reopened.taking(taken(StepKind.CLOSED)).due is None


@pytest.mark.parametrize(
    "changes",
    [
        {"about": About("Observation/o1", 0)},
        {"about": About("Observation", 1)},
        {"about": About("Observation/o1/_history/1", 1)},
        {"about": About("entry/7", 1)},
        {"kind": ConcernKind.COMPLAINT},
        {"kind": ConcernKind.COMPLAINT, "about": About("Observation/o1")},
        {"kind": ConcernKind.COMPLAINT, "about": About("entry/-7")},
        {"kind": ConcernKind.COMPLAINT, "about": About("AuditEvent/../Patient")},
        {"steps": (replace(OPENED, text=""),)},
        {"steps": (replace(OPENED, text="x" * (MAX_TEXT + 1)),)},
        {"steps": (replace(OPENED, by=""),)},
        {"steps": (replace(OPENED, version=4),)},
        {"steps": (taken(StepKind.ACCEPTED),)},
    ],
)
def test_what_says_too_little_too_much_or_of_something_else_is_refused(changes):
    with pytest.raises(InputError):
        checked(replace(ASKED, **changes))
    with pytest.raises(MedchainError):
        parse_concern(replace(ASKED, **changes).encode())


@pytest.mark.parametrize(
    "step",
    [
        taken(StepKind.DECLINED, text=""),
        taken(StepKind.CLOSED, text="and another thing"),
        taken(StepKind.DECLINED, version=4),
        taken(StepKind.DECLINED, text="x" * (MAX_TEXT + 1)),
    ],
)
def test_a_refusal_says_why_and_an_end_says_nothing(step):
    with pytest.raises(InputError, match=r"concern\.malformed"):
        ASKED.taking(step)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "medchain/concern/v2"},
        {"kind": "praise"},
        {"steps": []},
        {"steps": [{"step": "opened"}]},
        {"shared": 1},
        {"more": 1},
        {"about": {"what": "Observation/o1"}},
    ],
)
def test_a_content_of_another_form_is_refused(changes):
    with pytest.raises(InputError):
        parse_concern(canonical(parse_canonical(ASKED.encode(), max_bytes=1 << 16) | changes))


def test_a_regulator_is_told_neither_whose_it_is_nor_what_was_said_unless_the_patient_wants_that():
    made = after(StepKind.DECLINED)
    document = encode_reports(LEDGER, [report_of(ID, 2, made)], [])
    for secret in ("Patient", "Practitioner", "Observation", "血型", "why"):
        assert secret.encode() not in document
    ((report,), erased) = parse_reports(document, LEDGER)
    assert (report.opened, report.since, report.changed, report.state) == (NOW, NOW, NOW + 10, StepKind.DECLINED)
    assert (report.texts, report.due, erased) == ((), None, [])
    shared = report_of(ID, 2, replace(made, shared=True))
    assert shared.texts == (OPENED.text, "why")


def test_the_regulators_clock_is_the_patients():
    for made in (ASKED, COMPLAINT, after(StepKind.DECLINED, StepKind.REOPENED)):
        assert report_of(ID, len(made.steps), made).due == made.due


@pytest.mark.parametrize(
    "changes",
    [
        {"since": NOW - 1},
        {"changed": NOW - 1},
        {"version": 0},
        {"state": "erased"},
        {"kind": "praise"},
        {"id": "07"},
        {"texts": ["one", "two"]},
        {"texts": ["x" * (MAX_TEXT + 1)]},
        {"texts": [7]},
        {"more": 1},
    ],
)
def test_a_report_of_another_form_is_refused(changes):
    row = report_of(ID, 1, ASKED).to_json() | changes
    top = {"concerns": [row], "erased": [], "ledger": LEDGER.hex(), "type": "medchain/concern-report/v1"}
    with pytest.raises(InputError):
        parse_reports(canonical(top), LEDGER)


def test_a_report_for_another_ledger_or_of_too_many_is_refused():
    with pytest.raises(InputError, match=r"concern\.malformed"):
        parse_reports(encode_reports(LEDGER, [], []), bytes(32))
    many = [report_of(bytes([number]) * 16, 1, ASKED) for number in range(MAX_REPORTED + 1)]
    with pytest.raises(InputError, match=r"concern\.malformed"):
        parse_reports(encode_reports(LEDGER, many, []), LEDGER)


def test_the_largest_report_is_one_that_is_taken():
    long = taken(StepKind.DECLINED, text="\x01" * MAX_TEXT)
    made = replace(ASKED, shared=True, steps=(replace(OPENED, text="\x01" * MAX_TEXT),)).taking(long)
    made = made.taking(replace(long, kind=StepKind.REOPENED)).taking(long).taking(taken(StepKind.CLOSED))
    document = encode_reports(LEDGER, [report_of(ID, 5, made)] * MAX_REPORTED, [])
    assert len(document) < MAX_REPORT_BYTES
    assert len(parse_reports(document, LEDGER)[0]) == MAX_REPORTED
    assert ANSWERS.isdisjoint({made.state})
