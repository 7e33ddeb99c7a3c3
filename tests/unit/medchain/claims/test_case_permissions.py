"""In which state a case is whose evidence is still to come: new, asked, permitted; and what moves it on."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from medchain.claims.case_content import CaseContent, Status
from medchain.claims.case_permissions import ALL_AFTER
from medchain.claims.cases import CaseClient
from medchain.errors import NotFoundError, UnavailableError
from tests.unit.medchain.claims.filed import content
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.questions import issued, row
from tests.unit.medchain.node.federation import ANXIN, RENHE, TONGJI
from tests.waiting import eventually

GRANT = b"\x07" * 32
POLICY = {"end": None, "start": "2024-03-01", "waiting_days": 90}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("permissions")) as made:
        made.registers[RENHE].rows = [issued()]
        yield made


@pytest.fixture
def hospitals(opened):
    opened.for_claim = lambda _claim: []
    opened.disclose = refuse
    return opened


@pytest.fixture
def cases(hospitals):
    return CaseClient(hospitals.local(ANXIN))


def refuse(_wish: object) -> None:
    raise NotFoundError("release.nothing")


def permit(hospitals, case: dict, *custodians: str) -> None:
    """Have patients permit the insurer to be told of one claim, or of none any more."""
    hospitals.for_claim = lambda claim: [(one, GRANT) for one in custodians if claim.hex() == case["digest"]]
    hospitals.nodes[ANXIN].permissions.round()


def status(cases, case: dict) -> str:
    return str(cases.show(case["id"])["status"])


def numbered(name: str, **changes: object) -> bytes:
    return content(identifier=[{"value": name}], **changes)


@pytest.mark.parametrize(
    ("asked", "held", "expected"),
    [
        ((), (), Status.NEW),
        ((RENHE,), (), Status.ASKED),
        ((RENHE,), (RENHE,), Status.PERMITTED),
        ((RENHE,), (TONGJI,), Status.ASKED),
        ((RENHE, TONGJI), (RENHE,), Status.ASKED),
        ((RENHE, TONGJI), (RENHE, TONGJI), Status.PERMITTED),
        # Where it was permitted without being asked for here.
        ((), (RENHE,), Status.PERMITTED),
    ],
)
def test_a_case_waits_until_all_are_permitted_that_were_asked(asked, held, expected):
    asks = tuple({"cited": 1, "hospital": one, "id": "07", "time": 1} for one in asked)
    assert CaseContent(b"{}", None, None, asks=asks).waits_as(held) is expected


def test_a_case_is_new_asked_permitted_and_back_where_the_permission_ends(hospitals, cases):
    case = cases.take(numbered("P1"))
    permit(hospitals, case)
    assert status(cases, case) == "new"
    assert cases.ask(case["id"], 7, "核对")["status"] == "asked"
    permit(hospitals, case)
    assert status(cases, case) == "asked"
    permit(hospitals, case, RENHE)
    assert status(cases, case) == "permitted"
    permit(hospitals, case)
    assert status(cases, case) == "asked"


def test_a_case_that_was_judged_before_is_asked_and_permitted_as_well(hospitals, cases):
    case = cases.judge(cases.take(numbered("P2"), {"row": row().to_json()})["id"])
    assert (case["status"], case["colour"]) == ("judged", "red")
    asked = cases.ask(case["id"], 7, "核对")
    # What was found stays until it is judged anew.
    assert (asked["status"], asked["verdict"]) == ("asked", case["verdict"])
    assert cases.list({"number": "P2", "statuses": ["asked"]}, 1).total == 1
    permit(hospitals, case, RENHE)
    assert status(cases, case) == "permitted"


def test_who_judges_before_the_patient_has_answered_still_waits_for_the_answer(cases):
    case = cases.take(numbered("P3"))
    cases.ask(case["id"], 7, "核对")
    judged = cases.judge(case["id"], is_fresh=True)
    assert (judged["status"], judged["failures"]) == ("asked", {RENHE: "case.no_grant"})
    assert judged["verdict"] is not None


def test_a_hospital_that_does_not_answer_is_no_evidence(hospitals, cases):
    case = cases.take(numbered("P4"))
    cases.ask(case["id"], 7, "核对")
    permit(hospitals, case, RENHE)

    def silent(_wish: object) -> None:
        raise UnavailableError("peer.unreachable")

    hospitals.disclose = silent
    judged = cases.judge(case["id"], is_fresh=True)
    assert (judged["status"], judged["failures"]) == ("permitted", {RENHE: "peer.unreachable"})


def test_another_policy_takes_a_verdict_and_what_waits_still_waits(hospitals, cases):
    case = cases.judge(cases.take(numbered("P5"))["id"])
    given = cases.give(case["id"], {"policy": POLICY})
    assert (given["status"], given["verdict"], given["colour"]) == ("new", None, "")
    cases.ask(case["id"], 7, "核对")
    permit(hospitals, case, RENHE)
    assert cases.give(case["id"], {"policy": None})["status"] == "permitted"


def test_what_a_person_has_refused_no_permission_brings_back(hospitals, cases):
    case = cases.take(numbered("P6"))
    cases.refuse(case["id"], "王晓梅", "不在保障期内")
    assert cases.ask(case["id"], 7, "核对")["status"] == "refused"
    permit(hospitals, case, RENHE)
    assert status(cases, case) == "refused"


def test_fault_a_case_that_is_dropped_while_it_is_looked_at_stops_no_other(hospitals, cases):
    dropped, other = (cases.take(numbered(name)) for name in ("P7", "P8"))

    def held(claim: bytes) -> list[tuple[str, bytes]]:
        if claim.hex() == dropped["digest"]:
            cases.delete(dropped["id"])
        return [(RENHE, GRANT)]

    hospitals.for_claim = held
    hospitals.nodes[ANXIN].permissions.round()
    assert status(cases, other) == "permitted"


def test_fault_what_could_not_be_kept_is_looked_at_again(hospitals, cases, monkeypatch):
    case, store = cases.take(numbered("P9")), hospitals.federation.sites[ANXIN].records
    with monkeypatch.context() as broken:
        broken.setattr(store, "change_case", full)
        with pytest.raises(UnavailableError):
            permit(hospitals, case, RENHE)
    assert status(cases, case) == "new"
    permit(hospitals, case, RENHE)
    assert status(cases, case) == "permitted"


def test_while_nothing_comes_to_the_ledger_no_case_is_looked_at_twice(hospitals, cases, monkeypatch):
    case, asked, now = cases.take(numbered("P11")), [], [7]
    watch = hospitals.nodes[ANXIN].permissions
    hospitals.for_claim = lambda claim: asked.append(claim.hex()) or []
    monkeypatch.setattr(hospitals, "moment", lambda: now[0])

    def looks(rounds: int) -> int:
        asked.clear()
        for _ in range(rounds):
            watch.round()
        return asked.count(case["digest"])

    assert looks(5) == 1
    now[0] = 8
    assert looks(1) == 1
    # What waits for something else by now is looked at without anything new.
    cases.ask(case["id"], 7, "核对")
    assert looks(1) == 1
    # All are looked at now and then all the same.
    assert looks(ALL_AFTER + 1) == 1
    now[0] = 9
    hospitals.for_claim = lambda claim: [(RENHE, GRANT)] if claim.hex() == case["digest"] else []
    watch.round()
    assert status(cases, case) == "permitted"


def test_fault_a_round_that_failed_has_seen_nothing(hospitals, cases, monkeypatch):
    case = cases.take(numbered("P12"))
    monkeypatch.setattr(hospitals, "moment", lambda: 1)
    permit(hospitals, case)
    monkeypatch.setattr(hospitals, "moment", lambda: 2)
    store = hospitals.federation.sites[ANXIN].records
    with monkeypatch.context() as broken:
        broken.setattr(store, "change_case", full)
        with pytest.raises(UnavailableError):
            permit(hospitals, case, RENHE)
    hospitals.nodes[ANXIN].permissions.round()
    assert status(cases, case) == "permitted"


def full(*_asked: object) -> None:
    raise UnavailableError("store.full")


def test_a_daemon_looks_by_itself(hospitals, cases):
    case = cases.take(numbered("P10"))
    hospitals.for_claim = lambda claim: [(RENHE, GRANT)] if claim.hex() == case["digest"] else []
    with running(hospitals.nodes[ANXIN].permissions.run):
        assert eventually(lambda: status(cases, case) == "permitted")


@contextmanager
def running(work):
    end = threading.Event()
    thread = threading.Thread(target=work, args=(end,))
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
