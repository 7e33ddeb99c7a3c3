"""Disputes between an insurer's desk and a hospital's: what both have, over broken ways, crossings and attacks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from threading import Event, Thread

import pytest

from medchain.claims import dispute as dispute_format
from medchain.claims import disputes
from medchain.claims.dispute import StepKind
from medchain.claims.disputes import OPEN, About, DisputeDesk
from medchain.encoding import Json, canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.transaction import ID_BYTES
from medchain.store import disputes as store_disputes
from medchain.store.accesses import Access
from medchain.store.epochs import Epoch
from medchain.store.records import RecordVersion
from tests.unit.medchain.claims.disputing import CLAIM, NOW, QUESTION, Dispute, signed, step
from tests.unit.medchain.ledger.world import ANXIN, COMMISSION, RENHE, TAIPING, TONGJI
from tests.waiting import PATIENCE_S

DAY = 86400
E1, I1 = b"\xe1" * 16, b"\x11" * 16
NAMES = itertools.count(1)


def bring(case, org_id: str, seconds: int) -> None:
    """Let time pass in which a node brings what is not heard every hour; at the end it has not tried yet."""
    until = case.time + seconds
    while until - case.time > 3600:
        case.time += 3600
        case.desks[org_id].round()
    case.time = until


@pytest.fixture
def case(tmp_path):
    made = Dispute(tmp_path)
    yield made
    made.close()


def texts(case: Dispute, org_id: str, name: str) -> list[str]:
    return [one["text"] for one in case.shown(org_id, name)["steps"]]


def test_a_question_an_answer_another_question_and_the_end_are_the_same_at_both(case):
    name = case.open()
    case.time += 100
    case.say(RENHE, name, "answer", "because")
    case.say(ANXIN, name, "question", "and this?", 3)
    case.say(RENHE, name, "answer", "a mistake")
    case.say(ANXIN, name, "close", "")
    for org_id in (ANXIN, RENHE):
        assert texts(case, org_id, name) == ["why?", "because", "and this?", "a mistake", ""]
        shown = case.shown(org_id, name)
        assert (shown["state"], shown["due"], shown["overdue"]) == ("close", None, False)
        assert (shown["claim"], shown["hospital"], shown["insurer"]) == (CLAIM, RENHE, ANXIN)
        assert shown["records"] == []
    ours, theirs = (case.shown(org_id, name)["steps"] for org_id in (ANXIN, RENHE))
    assert [one["hash"] for one in ours] == [one["hash"] for one in theirs]
    # Who of the staff spoke is each side's own.
    assert [one["by"] for one in theirs] == ["", "Practitioner/x", "", "Practitioner/x", ""]
    assert [one["by"] for one in ours] == ["Practitioner/w1", "", "Practitioner/x", "", "Practitioner/x"]


def test_both_see_by_when_an_answer_is_due_and_that_it_is_overdue(case):
    name = case.open(days=2)
    for org_id in (ANXIN, RENHE):
        assert (case.shown(org_id, name)["due"], case.shown(org_id, name)["overdue"]) == (NOW + 2 * DAY, False)
    case.time += 2 * DAY + 1
    for org_id in (ANXIN, RENHE):
        assert [one["overdue"] for one in case.listed(org_id)] == [True]
    case.say(RENHE, name, "answer")
    assert [case.shown(org_id, name)["overdue"] for org_id in (ANXIN, RENHE)] == [False, False]


def test_a_question_to_who_is_not_there_is_brought_later_and_its_days_run_from_then(case):
    case.down.add(RENHE)
    name = case.open(days=2)
    assert (case.shown(ANXIN, name)["due"], case.listed(RENHE)) == (None, [])
    case.time += 5 * DAY
    assert case.desks[ANXIN].round() == 1
    case.down.clear()
    assert case.desk(ANXIN).round() == 0
    for org_id in (ANXIN, RENHE):
        assert (case.shown(org_id, name)["due"], case.shown(org_id, name)["overdue"]) == (NOW + 7 * DAY, False)
    assert case.desks[ANXIN].round() == 0


def test_a_hospital_that_is_away_keeps_no_other_waiting_and_is_tried_once_a_round(case, monkeypatch):
    monkeypatch.setattr(disputes, "_AT_ONCE", 3)
    case.down |= {RENHE, TONGJI}
    for _ in range(5):
        case.open(hospital=TONGJI)
    name = case.open()
    case.down.remove(RENHE)
    case.tried.clear()
    assert case.desks[ANXIN].round() == 3
    assert case.tried == [TONGJI, RENHE]
    assert case.shown(RENHE, name)["state"] == "question"


def test_where_the_answer_is_lost_on_the_way_the_same_is_brought_again_and_kept_once(case):
    case.lost.add(RENHE)
    name = case.open()
    assert case.shown(ANXIN, name)["steps"][0]["heard"] is None
    case.lost.clear()
    case.time += 50
    assert case.desks[ANXIN].round() == 0
    assert [case.shown(org_id, name)["steps"][0]["heard"] for org_id in (ANXIN, RENHE)] == [NOW, NOW]
    assert texts(case, RENHE, name) == ["why?"]


def test_an_answer_to_what_was_not_heard_says_that_it_was(case):
    case.lost.add(RENHE)
    name = case.open()
    case.say(RENHE, name, "answer", "because")
    assert texts(case, ANXIN, name) == ["why?", "because"]
    assert None not in [one["heard"] for one in case.shown(ANXIN, name)["steps"]]
    assert case.desks[ANXIN].round() == 0


def test_a_close_that_crosses_an_answer_gives_way_to_it(case):
    name = case.open()
    case.down |= {RENHE, ANXIN}
    case.say(ANXIN, name, "close", "too late")
    case.say(RENHE, name, "answer", "here it is")
    case.down.clear()
    # The hospital has taken its own answer first.
    assert case.desks[ANXIN].round() == 1
    assert case.desks[RENHE].round() == 0
    for org_id in (ANXIN, RENHE):
        assert texts(case, org_id, name) == ["why?", "here it is"]
    assert case.desks[ANXIN].round() == 0
    case.say(ANXIN, name, "close", "thanks")
    assert case.shown(RENHE, name)["state"] == "close"


def put(case: Dispute, org_id: str, name: str, patient: str, object_id: bytes) -> None:
    """Store a record at a node, of which only the place and the patient are looked at."""
    kind, _, record_id = name.partition("/")
    number = next(NAMES)
    epoch = Epoch(number.to_bytes(16, "big"), patient, number, NOW, b"key")
    row = RecordVersion(kind, record_id, 1, object_id, patient, epoch.id, NOW, object_id * 2, b"dek", b"sealed")
    case.records[org_id].put_versions([row], epochs=[epoch])


def given(case: Dispute, recipient: str, patient: str, *objects: bytes) -> None:
    """Have the hospital note, as its releases do, that it gave records to somebody."""
    rows: Json = [[one.hex(), 1] for one in objects]
    detail = canonical({"recipient": recipient, "records": rows})
    case.records[RENHE].put_accesses([Access(next(NAMES).to_bytes(16, "big"), patient, "given", NOW, detail)])


def test_a_question_names_what_the_hospital_has_told_for_the_claim_and_is_its_patients_there(case):
    put(case, RENHE, "Encounter/e1", "token-1", E1)
    put(case, RENHE, "Invoice/i1", "token-1", I1)
    given(case, ANXIN, "token-1", I1)
    given(case, ANXIN, "token-1", E1)
    case.about[CLAIM] = About(("Invoice/i1", "Encounter/e1"), "token-of-ours")
    name = case.open()
    for org_id, patient in ((RENHE, "token-1"), (ANXIN, "token-of-ours")):
        assert case.shown(org_id, name)["records"] == ["Encounter/e1", "Invoice/i1"]
        [row] = case.records[org_id].dispute_steps(bytes.fromhex(name))
        assert row.patient == patient


@pytest.mark.parametrize(
    "named",
    [
        ("Encounter/e1", "Encounter/other"),
        ("Encounter/untold",),
        ("Encounter/told-another",),
        ("Encounter/none",),
        ("Practitioner/d1",),
    ],
)
def test_attack_a_record_that_was_not_told_to_that_insurer_is_not_named_nor_seen_to_be_there(case, named):
    put(case, RENHE, "Encounter/e1", "token-1", E1)
    put(case, RENHE, "Encounter/untold", "token-1", b"\x02" * 16)
    put(case, RENHE, "Encounter/told-another", "token-1", b"\x03" * 16)
    put(case, RENHE, "Encounter/other", "token-2", b"\x04" * 16)
    put(case, RENHE, "Practitioner/d1", "", b"\x05" * 16)
    given(case, ANXIN, "token-1", E1)
    given(case, TAIPING, "token-1", b"\x03" * 16)
    given(case, ANXIN, "token-2", b"\x04" * 16)
    with pytest.raises(AccessDeniedError) as caught:
        case.desks[RENHE].receive(signed(step(records=named)), ANXIN)
    assert (caught.value.code, case.listed(RENHE)) == ("dispute.records", [])
    case.desks[RENHE].receive(signed(step(records=("Encounter/e1",))), ANXIN)


def test_attack_who_guesses_what_to_name_is_stopped_for_the_day_and_no_other_is(case, monkeypatch):
    monkeypatch.setattr(disputes, "MAX_REFUSED", 2)
    put(case, RENHE, "Encounter/e1", "token-1", E1)
    given(case, ANXIN, "token-1", E1)
    given(case, TAIPING, "token-1", E1)

    def ask(number: int, named: str, insurer: str = ANXIN) -> None:
        said = step(dispute=bytes([number]) * 16, records=(named,), insurer=insurer)
        case.desks[RENHE].receive(signed(said), insurer)

    for number in (1, 2, 1, 2):
        # An honest node brings the same question again and again: it counts once.
        with pytest.raises(AccessDeniedError, match=r"dispute\.records"):
            ask(number, "Encounter/none")
    case.desks[RENHE] = case.desk(RENHE)
    for named in ("Encounter/none", "Encounter/e1"):
        with pytest.raises(UnavailableError, match=r"dispute\.quota") as caught:
            ask(3, named)
    assert caught.value.retry_after_s == DAY - NOW % DAY
    ask(4, "Encounter/e1", TAIPING)
    case.desks[RENHE].receive(signed(step(dispute=b"\x05" * 16)), ANXIN)
    case.time += DAY
    ask(3, "Encounter/e1")
    assert len(case.listed(RENHE)) == 3


def test_what_was_refused_for_what_it_names_is_looked_at_again_after_a_while_and_not_each_time(case, monkeypatch):
    put(case, RENHE, "Encounter/e1", "token-1", E1)
    said, looked = signed(step(records=("Encounter/e1",))), []
    details = case.records[RENHE].access_details
    monkeypatch.setattr(case.records[RENHE], "access_details", lambda *asked: looked.append(asked) or details(*asked))
    for seconds in (0, 1, 598):
        case.time += seconds
        with pytest.raises(AccessDeniedError, match=r"dispute\.records"):
            case.desks[RENHE].receive(said, ANXIN)
    assert len(looked) == 1
    given(case, ANXIN, "token-1", E1)
    case.time += 1
    case.desks[RENHE].receive(said, ANXIN)
    assert (len(looked), len(case.listed(RENHE))) == (2, 1)


def test_who_is_remembered_to_have_been_refused_is_bounded(case, monkeypatch):
    monkeypatch.setattr(disputes, "_MAX_KEPT", 2)
    for number in range(4):
        with pytest.raises(AccessDeniedError):
            case.desks[RENHE].receive(signed(step(dispute=bytes([number]) * 16, records=("Encounter/none",))), ANXIN)
    assert len(case.desks[RENHE]._refused) == 2  # noqa: SLF001  # what stays in memory


def test_attack_what_a_question_names_is_looked_for_while_others_go_on(case, monkeypatch):
    put(case, RENHE, "Encounter/e1", "token-1", E1)
    given(case, ANXIN, "token-1", E1)
    case.desks[RENHE].receive(signed(step(dispute=b"\x02" * 16)), ANXIN)
    come, gate, details = Event(), Event(), case.records[RENHE].access_details

    def slow(*asked: object):
        come.set()
        assert gate.wait(PATIENCE_S)
        return details(*asked)

    monkeypatch.setattr(case.records[RENHE], "access_details", slow)
    asking = Thread(target=lambda: case.desks[RENHE].receive(signed(step(records=("Encounter/e1",))), ANXIN))
    asking.start()
    try:
        assert come.wait(PATIENCE_S)
        case.say(RENHE, "02" * 16, "answer")
    finally:
        gate.set()
        asking.join()
    assert len(case.listed(RENHE)) == 2


def test_about_a_claim_that_this_insurer_does_not_look_into_nobody_is_asked(case):
    def unknown(_claim, _hospital):
        raise NotFoundError("case.unknown")

    case.finds = unknown
    case.desks[ANXIN] = case.desk(ANXIN)
    with pytest.raises(NotFoundError, match=r"case\.unknown"):
        case.open()
    assert case.listed(ANXIN) == []


def test_what_the_other_side_refuses_for_a_day_is_brought_no_more_and_waits_for_who_said_it(case):
    case.refusals[RENHE] = AccessDeniedError("dispute.signature")
    name = case.open()
    [one] = case.shown(ANXIN, name)["steps"]
    assert (one["refusal"], one["given_up"], one["heard"]) == ("dispute.signature", False, None)
    bring(case, ANXIN, DAY - 1)
    assert (case.desks[ANXIN].round(), case.waiting(ANXIN)) == (1, (0, 0))
    case.time += 1
    case.desks[ANXIN].round()
    case.tried.clear()
    assert (case.desks[ANXIN].round(), case.tried) == (0, [])
    assert case.shown(ANXIN, name)["steps"][0]["given_up"] is True
    assert case.waiting(ANXIN) == (1, 0)
    # What is closed is over, and is not brought either: it would follow what the hospital never took.
    case.say(ANXIN, name, "close", "")
    assert (case.desks[ANXIN].round(), case.tried, case.waiting(ANXIN)) == (0, [], (0, 0))
    assert case.shown(ANXIN, name)["state"] == "close"


@pytest.mark.parametrize("away", ["hospital", "insurer"])
def test_a_question_that_was_refused_once_outlasts_a_week_in_which_one_side_is_away(case, away):
    case.refusals[RENHE] = AccessDeniedError("dispute.signature")
    name = case.open()
    case.refusals.clear()
    if away == "hospital":
        case.down.add(RENHE)
        bring(case, ANXIN, 7 * DAY)
        case.down.clear()
    else:
        case.time += 7 * DAY
    # Its ledger is behind when it comes back.
    case.refusals[RENHE] = AccessDeniedError("dispute.signature")
    assert (case.desks[ANXIN].round(), case.shown(ANXIN, name)["steps"][0]["given_up"]) == (1, False)
    bring(case, ANXIN, DAY - 1)
    case.refusals.clear()
    assert (case.desks[ANXIN].round(), texts(case, RENHE, name)) == (0, ["why?"])


def test_an_answer_that_nobody_can_give_anew_outlasts_some_days_of_a_suspension(case):
    name = case.open(days=7)
    case.refusals[ANXIN] = AccessDeniedError("dispute.sender")
    case.say(RENHE, name, "answer")
    bring(case, RENHE, 30 * DAY - 1)
    assert (case.desks[RENHE].round(), case.shown(RENHE, name)["steps"][1]["given_up"]) == (1, False)
    case.refusals.clear()
    assert (case.desks[RENHE].round(), case.shown(ANXIN, name)["state"]) == (0, "answer")


def test_a_node_that_is_no_member_yet_has_nothing_to_bring(case):
    newcomer = replace(case.desks[RENHE]._parts, org_id="newcomer")  # noqa: SLF001  # as before it joined
    assert DisputeDesk(newcomer).round() == 0


def test_an_answer_that_is_refused_for_longer_is_given_up(case):
    name = case.open()
    case.refusals[ANXIN] = AccessDeniedError("dispute.sender")
    case.say(RENHE, name, "answer")
    bring(case, RENHE, 30 * DAY)
    case.desks[RENHE].round()
    case.tried.clear()
    assert (case.desks[RENHE].round(), case.tried) == (0, [])
    assert (case.shown(RENHE, name)["steps"][1]["given_up"], case.waiting(RENHE)) == (True, (1, 0))


def test_what_was_refused_while_a_ledger_was_behind_is_taken_the_next_time(case):
    case.refusals[RENHE] = AccessDeniedError("dispute.signature")
    name = case.open()
    case.refusals.clear()
    assert case.desks[ANXIN].round() == 0
    [one] = case.shown(ANXIN, name)["steps"]
    assert (one["refusal"], one["given_up"], one["heard"]) == ("", False, NOW)


@pytest.mark.parametrize("code", ["peer.unreachable", "dispute.quota", "restore.catching_up"])
def test_who_is_away_or_busy_is_tried_for_as_long_as_it_takes(case, code):
    case.refusals[RENHE] = UnavailableError(code)
    name = case.open()
    case.time += 40 * DAY
    assert case.desks[ANXIN].round() == 1
    assert case.shown(ANXIN, name)["steps"][0]["given_up"] is False
    case.refusals.clear()
    assert case.desks[ANXIN].round() == 0


def test_no_step_is_brought_before_the_one_that_it_follows(case):
    case.refusals[RENHE] = UnavailableError("dispute.quota")
    name = case.open()
    case.tried.clear()
    case.say(ANXIN, name, "close", "")
    assert (case.desks[ANXIN].round(), case.tried) == (2, [RENHE])
    case.refusals.clear()
    assert case.desks[ANXIN].round() == 0
    assert texts(case, RENHE, name) == ["why?", ""]


def test_the_side_whose_turn_it_is_has_it_waiting(case):
    name = case.open(days=2)
    assert (case.waiting(RENHE), case.waiting(ANXIN)) == ((1, 0), (0, 0))
    case.time += 2 * DAY + 1
    assert (case.waiting(RENHE), case.waiting(ANXIN)) == ((1, 1), (0, 0))
    case.say(RENHE, name, "answer")
    assert (case.waiting(RENHE), case.waiting(ANXIN)) == ((0, 0), (1, 0))
    case.say(ANXIN, name, "close", "")
    assert (case.waiting(RENHE), case.waiting(ANXIN)) == ((0, 0), (0, 0))


def test_attack_who_opens_many_keeps_no_older_question_out_of_sight_and_out_of_count(case, monkeypatch):
    monkeypatch.setattr(disputes, "MAX_LISTED", 2)
    first = case.open(days=1)
    later = []
    for _ in range(3):
        case.time += 1
        later.append(case.open(days=60))
    case.say(RENHE, later[0], "answer")
    case.time += 2 * DAY
    # Of what waits for the hospital the longest, the newest first; the answered one waits for the insurer.
    assert [one["id"] for one in case.listed(RENHE)] == [later[1], first]
    assert [one["id"] for one in case.listed(ANXIN)] == [later[2], later[0]]
    told = case.call(RENHE, "dispute.list")
    assert (told["all"], told["overdue"], case.waiting(RENHE)) == (4, 1, (3, 1))
    case.say(ANXIN, later[2], "close", "")
    assert [one["id"] for one in case.listed(ANXIN)] == [later[1], later[0]]


def test_disputes_are_listed_by_claim(case):
    first, second = case.open(), case.open(claim="c2" * 32)
    assert {one["id"] for one in case.listed(ANXIN)} == {first, second}
    assert [one["id"] for one in case.listed(RENHE, claim="c2" * 32)] == [second]


def test_the_side_that_is_not_there_keeps_no_job_from_going_on(case):
    stop = Event()
    stop.set()
    case.desks[ANXIN].run(stop)
    assert case.listed(ANXIN) == []


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"hospital": ANXIN}, InputError, "dispute.hospital"),
        ({"hospital": "nobody"}, InputError, "dispute.hospital"),
        ({"hospital": TAIPING}, InputError, "dispute.hospital"),
        ({"hospital": COMMISSION}, InputError, "dispute.hospital"),
        ({"days": 0}, InputError, "dispute.malformed"),
        ({"text": " "}, InputError, "dispute.malformed"),
        ({"claim": "c1"}, InputError, "encoding.hex"),
    ],
)
def test_what_cannot_be_asked_is_kept_by_nobody(case, changes, error, code):
    with pytest.raises(error) as caught:
        case.open(**changes)
    assert caught.value.code == code
    assert [case.listed(org_id) for org_id in (ANXIN, RENHE)] == [[], []]


def test_only_an_insurer_asks(case):
    with pytest.raises(AccessDeniedError, match=r"dispute\.role"):
        case.call(RENHE, OPEN, **(QUESTION | {"hospital": TONGJI}))


@pytest.mark.parametrize(("org_id", "kind"), [(ANXIN, "answer"), (RENHE, "close"), (RENHE, "question")])
def test_nobody_speaks_for_the_other_side(case, org_id, kind):
    name = case.open()
    case.time += 1
    with pytest.raises((AccessDeniedError, ConflictError)):
        case.say(org_id, name, kind, days=3 if kind == "question" else 0)
    assert len(case.shown(org_id, name)["steps"]) == 1


def test_what_is_no_step_of_what_is_there_is_refused(case):
    name = case.open()
    with pytest.raises(InputError, match=r"dispute\.malformed"):
        case.say(RENHE, name, "threat")
    with pytest.raises(NotFoundError, match=r"dispute\.unknown"):
        case.say(RENHE, "00" * ID_BYTES, "answer")
    case.say(RENHE, name, "answer")
    with pytest.raises(ConflictError, match=r"dispute\.state"):
        case.say(RENHE, name, "answer")


@pytest.mark.parametrize(
    ("said", "by", "peer", "code"),
    [
        (step(), ANXIN, TONGJI, "dispute.sender"),
        (step(hospital=TONGJI), ANXIN, ANXIN, "dispute.sender"),
        (step(), TONGJI, ANXIN, "dispute.signature"),
        (step(ledger=b"\x09" * 32), ANXIN, ANXIN, "dispute.signature"),
        (step(insurer=TONGJI), TONGJI, TONGJI, "dispute.role"),
        (step(insurer=COMMISSION), COMMISSION, COMMISSION, "dispute.role"),
        (step(time=NOW + 61), ANXIN, ANXIN, "dispute.time"),
        (step(insurer="nobody"), ANXIN, "nobody", "dispute.sender"),
    ],
)
def test_attack_a_question_of_who_may_not_ask_or_did_not_sign_it_is_refused(case, said, by, peer, code):
    with pytest.raises(AccessDeniedError) as caught:
        case.desks[RENHE].receive(signed(said, by), peer)
    assert caught.value.code == code
    assert case.listed(RENHE) == []


def test_attack_an_insurer_is_asked_by_nobody(case):
    with pytest.raises(AccessDeniedError, match=r"dispute\.role"):
        case.desks[ANXIN].receive(signed(step(hospital=ANXIN, insurer=TAIPING)), TAIPING)
    assert case.listed(ANXIN) == []


def test_attack_an_insurer_that_dates_its_question_back_shortens_no_deadline(case):
    case.desks[RENHE].receive(signed(step(time=NOW - 300 * DAY, days=7)), ANXIN)
    [shown] = case.listed(RENHE)
    assert (shown["due"], shown["overdue"]) == (NOW + 7 * DAY, False)


def test_attack_a_hospital_that_says_that_it_heard_later_gets_no_more_time_at_the_insurer(case):
    heard = case.desks[RENHE].receive

    def lies(document, peer):
        return {"heard": heard(document, peer)["heard"] + 30 * DAY}

    case.desks[RENHE] = type("Liar", (), {"receive": staticmethod(lies)})()
    name = case.open(days=7)
    assert case.shown(ANXIN, name)["due"] == NOW + 7 * DAY


def test_attack_a_step_is_neither_left_out_nor_put_between_nor_changed(case):
    first = step()
    case.desks[RENHE].receive(signed(first), ANXIN)
    later = {"number": 2, "step": StepKind.CLOSE, "days": 0, "records": (), "text": ""}
    for changes in (
        {"previous": b"\x09" * 32},
        {"number": 3, "previous": first.hash},
        {"previous": first.hash, "claim": b"\x02" * 32},
    ):
        with pytest.raises(ConflictError, match=r"dispute\.head"):
            case.desks[RENHE].receive(signed(step(**(later | changes))), ANXIN)
    with pytest.raises(ConflictError, match=r"dispute\.head"):
        case.desks[RENHE].receive(signed(step(text="something else")), ANXIN)
    assert len(case.listed(RENHE)[0]["steps"]) == 1


def test_attack_one_organisation_opens_a_bounded_number(case, monkeypatch):
    monkeypatch.setattr(store_disputes, "MAX_OF_PEER", 2)
    for number in range(2):
        case.desks[RENHE].receive(signed(step(dispute=bytes([number]) * 16)), ANXIN)
    with pytest.raises(UnavailableError, match=r"dispute\.quota"):
        case.desks[RENHE].receive(signed(step(dispute=b"\x09" * 16)), ANXIN)


def test_what_is_damaged_on_disk_is_said_so(case, monkeypatch):
    name = case.open()
    monkeypatch.setattr(dispute_format, "MAX_TEXT", 1)
    with pytest.raises(VerificationError, match=r"dispute\.kept"):
        case.shown(RENHE, name)
