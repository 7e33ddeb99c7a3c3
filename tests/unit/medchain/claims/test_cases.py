"""An insurer's cases over whole nodes: opened once, noted, asked for, reserved, paid; kept from who is no insurer."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from medchain.claims.case_content import MAX_NOTE, MAX_NOTES, MAX_VERDICTS, CaseContent
from medchain.claims.cases import CaseClient
from medchain.claims.wishes import Fulfilled, Wish
from medchain.encoding import base64_text, canonical, parse_canonical
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.ledger.evidence.document import Held, InsurancePolicy
from medchain.ledger.object import build_body, map_key
from medchain.node.asking import Ask, parse_ask, parse_claim
from medchain.node.erasure import ErasureIntent, forget_told
from medchain.node.records import NewRecord
from tests.unit.medchain.claims.filed import CITED, content
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.questions import issued, row
from tests.unit.medchain.ledger.world import genesis
from tests.unit.medchain.node.federation import ANXIN, COMMISSION, RENHE

GIVEN = {"row": row().to_json()}
POLICY = {"end": None, "start": "2024-03-01", "waiting_days": 90}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("cases")) as made:
        made.registers[RENHE].rows = [issued(), issued("1774778512"), issued("1774778513")]
        yield made


@pytest.fixture
def cases(hospitals):
    return CaseClient(hospitals.local(ANXIN))


def numbered(name: str) -> bytes:
    """A claim of its own."""
    return content(identifier=[{"value": name}])


def test_a_claim_from_elsewhere_is_opened_once_and_told_whole(hospitals, cases):
    case = cases.take(numbered("A1"), GIVEN)
    assert cases.take(numbered("A1")) == case
    told = {name: case[name] for name in ("number", "hospital", "status", "colour", "claim", "patients")}
    assert told == {
        "number": "A1",
        "hospital": RENHE,
        "status": "new",
        "colour": "",
        "claim": "",
        "patients": {RENHE: "p17"},
    }
    assert (case["amount"], case["cited"]) == ({"currency": "CNY", "minor": 842280}, {RENHE: [*CITED]})
    assert (case["content"], case["row"]) == (base64_text(numbered("A1")), row().to_json())
    assert (case["verdict"], case["judged_at"], case["progress"]) == (None, None, None)
    assert case["created"] == hospitals.federation.time


def test_what_is_given_later_takes_the_place_of_what_was_known(cases):
    first = cases.take(numbered("A2"))
    assert (first["row"], first["policy"]) == (None, None)
    later = cases.take(numbered("A2"), {**GIVEN, "policy": POLICY})
    assert (later["id"], later["row"], later["policy"]) == (first["id"], row().to_json(), POLICY)
    assert cases.take(numbered("A2"))["policy"] == POLICY


def test_another_policy_or_invoice_is_kept_with_a_case_or_none(cases):
    case = cases.take(numbered("A5"))
    given = cases.give(case["id"], {"policy": POLICY, "row": row().to_json()})
    assert (given["policy"], given["row"]) == (POLICY, row().to_json())
    # What is not named stays.
    assert cases.give(case["id"], {"policy": None})["row"] == row().to_json()
    assert cases.give(case["id"], {"row": None})["policy"] is None
    assert cases.show(case["id"]) == case


@pytest.mark.parametrize(
    "given", [{"policy": {}}, {"row": {}}, {"row": "x"}, {"more": None}, {"policy": {**POLICY, "waiting_days": 3651}}]
)
def test_what_is_kept_with_a_case_malformed_is_refused(cases, given):
    case = cases.take(numbered("A6"), {**GIVEN, "policy": POLICY})
    with pytest.raises(InputError):
        cases.give(case["id"], given)
    assert cases.show(case["id"]) == case


def test_the_hospital_and_its_patient_follow_from_an_invoice_that_is_given_later(cases):
    case = cases.take(content(identifier=[{"value": "A7"}], provider={"reference": "Organization/1"}))
    assert (case["hospital"], case["patients"]) == (None, {})
    given = cases.give(case["id"], GIVEN)
    assert (given["hospital"], given["patients"]) == (RENHE, {RENHE: "p17"})


def test_the_hospital_follows_from_who_issues_under_the_code_of_the_invoice(cases):
    nameless = content(identifier=[{"value": "A3"}], provider={"reference": "Organization/1"})
    assert cases.take(nameless)["hospital"] is None
    assert cases.take(nameless, GIVEN)["hospital"] == RENHE


def test_a_claim_that_is_not_stored_here_is_not_found(cases):
    for reference in ("Claim/none", "Patient/p17", "x"):
        with pytest.raises(NotFoundError, match=r"record\.unknown"):
            cases.open(reference)


@pytest.mark.parametrize(
    "given",
    [
        {"held": [{"commitment": "00", "hospital": RENHE, "reference": "Condition/d1", "version": 1}]},
        {"held": [{"commitment": "ab" * 32, "hospital": RENHE, "reference": "Condition", "version": 1}]},
        {"policy": {}},
        {"row": {}},
        {"hospital": "nobody"},
        {"more": 1},
    ],
)
def test_what_is_given_malformed_is_refused(cases, given):
    with pytest.raises(InputError):
        cases.take(numbered("A4"), given)
    assert cases.list({"number": "A4"}, 10).total == 0


def test_cases_are_listed_and_found_again(cases):
    made = [cases.take(numbered(name), GIVEN) for name in ("B1", "B2")]
    page = cases.list({"number": "B", "order": "number"}, 1)
    assert ([one["id"] for one in page.cases], page.total) == ([made[0]["id"]], 2)
    assert "content" not in page.cases[0]
    assert cases.list({"number": "B", "statuses": ["settled"]}, 10).total == 0
    assert cases.show(made[1]["id"]) == made[1]


@pytest.mark.parametrize("case_id", ["", "07", "07" * 16])
def test_a_case_that_is_not_there_is_not_found(cases, case_id):
    with pytest.raises(NotFoundError, match=r"case\.unknown"):
        cases.show(case_id)


def test_notes_are_kept_in_order_and_bounded(hospitals, cases):
    case = cases.take(numbered("C1"))
    for text in ("电话核实", "  second  "):
        case = cases.note(case["id"], "王晓梅", text)
    time = hospitals.federation.time
    assert case["notes"] == [{"by": "王晓梅", "text": text, "time": time} for text in ("电话核实", "second")]
    for text in ("", " ", "x" * (MAX_NOTE + 1)):
        with pytest.raises(InputError, match=r"case\.note"):
            cases.note(case["id"], "王晓梅", text)


def test_a_case_has_no_more_notes_than_it_may():
    full = CaseContent(b"{}", None, None, notes=({"by": "a", "text": "b", "time": 1},) * MAX_NOTES)
    with pytest.raises(ConflictError, match=r"case\.notes"):
        full.noted("a", "b", 2)


def test_the_newest_verdicts_are_remembered():
    often = CaseContent(b"{}", None, None)
    for number in range(MAX_VERDICTS + 1):
        often = often.judged("red", number, 1)
    assert [one["position"] for one in often.verdicts] == [*range(1, MAX_VERDICTS + 1)]


def test_what_a_case_holds_reads_back_as_it_was_written():
    made = CaseContent(
        content=b"{}",
        row=row(),
        policy=InsurancePolicy(None, "2026-01-01", 0),
        patients={RENHE: "p17"},
        held=(Held(RENHE, "Condition/d1", 1, b"\xab" * 32),),
        notes=({"by": "a", "text": "b", "time": 1},),
        gathered={"a": [1]},
    )
    assert CaseContent.decode(made.encode()) == made
    before = parse_canonical(made.encode(), max_bytes=1 << 16)
    del before["verdicts"]
    # One that was kept before verdicts were remembered has none.
    assert CaseContent.decode(canonical(before)) == made
    assert CaseContent.decode(replace(made, row=None, policy=None).encode()) == replace(made, row=None, policy=None)


def test_the_patient_is_asked_for_exactly_this_claim(hospitals, cases):
    case = cases.take(numbered("D1"), GIVEN)
    asked = cases.ask(case["id"], 30, "核对 9 月的住院理赔", person="理赔专员")
    assert hospitals.asked[-1] == {
        "claim": {
            "amount": 842280,
            "cited": [*CITED],
            "currency": "CNY",
            "digest": case["digest"],
            "hospital": RENHE,
            "number": "D1",
        },
        "custodian": RENHE,
        "days": 30,
        "patient": "p17",
        "person": "理赔专员",
        "purpose": "HPAYMT",
        "reason": "核对 9 月的住院理赔",
        "resource_types": ["Condition", "Encounter", "Invoice", "Observation", "Procedure"],
    }
    assert (asked["status"], asked["asks"]) == (
        "asked",
        [{"cited": 5, "hospital": RENHE, "id": "07" * 16, "time": hospitals.federation.time}],
    )


def test_what_is_sent_is_an_ask_that_every_node_reads(hospitals, cases):
    case = cases.take(numbered("D4"), GIVEN)
    cases.ask(case["id"], 30, "核对")
    sent = hospitals.asked[-1]
    texts = [str(sent[name]) for name in ("patient", "person", "purpose", "reason")]
    ask = Ask(b"\x07" * 16, *texts, tuple(sent["resource_types"]), sent["days"], claim=parse_claim(sent["claim"]))
    assert parse_ask(ask.encode(genesis().ledger), genesis().ledger) == ask
    assert (ask.claim.digest.hex(), ask.claim.cited) == (case["digest"], CITED)


def test_no_permission_is_asked_for_that_is_longer_than_one_claim_needs(hospitals, cases):
    case, before = cases.take(numbered("D2"), GIVEN), len(hospitals.asked)
    for days in (0, 31):
        with pytest.raises(InputError, match=r"case\.days"):
            cases.ask(case["id"], days, "核对")
    assert len(hospitals.asked) == before


def test_a_patient_whom_the_claim_names_elsewhere_cannot_be_asked(cases):
    for patient in ({"reference": "https://nobody.example/fhir/Patient/p17"}, {"display": "x"}):
        case = cases.take(content(identifier=[{"value": "D3"}], patient=patient), GIVEN)
        with pytest.raises(ConflictError, match=r"case\.patient"):
            cases.ask(case["id"], 30, "核对")


def test_a_claim_is_reserved_and_paid_and_each_deed_is_told_once(hospitals, cases):
    given = {"row": row("1774778512").to_json()}
    case = cases.take(numbered("E1"), given)
    reserved = cases.reserve(case["id"], "8000.00")
    again = cases.reserve(case["id"], "8000.00")
    assert (reserved["status"], again["deeds"]) == ("reserved", reserved["deeds"])
    settled = cases.settle(case["id"], "7500")
    first, second = settled["deeds"]
    assert settled["status"] == "settled"
    assert (first["action"], first["amount"], first["version"]) == ("reserve", 800000, 1)
    assert (second["action"], second["amount"], second["version"]) == ("settle", 750000, 2)
    ledger = hospitals.federation.sites[ANXIN].ledger
    with pytest.raises(ConflictError, match=r"case\.reserved"):
        cases.refuse(case["id"], "王晓梅", "不在保障期内")
    assert cases.show(case["id"])["status"] == "settled"
    record = ledger.record(bytes.fromhex(second["key"]))
    assert (record.since, record.status, record.kind) == (second["position"], "settled", "claim")
    assert record.key == map_key("claim", RENHE, record.id)


def test_without_an_amount_what_is_claimed_is_reserved_and_it_can_be_given_up(cases):
    case = cases.take(numbered("E2"), {"row": row("1774778513").to_json()})
    assert cases.reserve(case["id"])["deeds"][0]["amount"] == 842280
    with pytest.raises(ConflictError, match=r"case\.reserved"):
        cases.refuse(case["id"], "王晓梅", "不在保障期内")
    # What is reserved is a part of that invoice, and would not be found by another.
    for other in (GIVEN, {"row": None}):
        with pytest.raises(ConflictError, match=r"case\.reserved"):
            cases.give(case["id"], other)
    with pytest.raises(ConflictError, match=r"case\.reserved"):
        cases.take(numbered("E2"), GIVEN)
    assert cases.give(case["id"], {"policy": POLICY})["status"] == "reserved"
    assert cases.release(case["id"])["status"] == "judged"
    refused = cases.refuse(case["id"], "王晓梅", "不在保障期内")
    assert (refused["status"], refused["notes"][-1]["text"]) == ("refused", "不在保障期内")


def test_what_is_refused_is_not_reserved_and_its_hospital_is_asked_for_nothing(hospitals, cases):
    hospitals.registers[RENHE].rows.append(issued("1774778516"))
    case = cases.take(numbered("E5"), {"row": row("1774778516").to_json()})
    cases.refuse(case["id"], "王晓梅", "不在保障期内")
    before = len(hospitals.audits[RENHE].rows)
    with pytest.raises(ConflictError, match=r"case\.refused"):
        cases.reserve(case["id"])
    kept = cases.show(case["id"])
    assert (kept["status"], kept["deeds"], len(hospitals.audits[RENHE].rows)) == ("refused", [], before)


def test_a_reservation_that_is_over_by_itself_keeps_its_case_from_nothing(hospitals, cases):
    hospitals.registers[RENHE].rows.append(issued("1774778515"))
    case = cases.take(numbered("E4"), {"row": row("1774778515").to_json()})
    cases.reserve(case["id"], days=1)
    before = hospitals.federation.time
    hospitals.federation.time += 3 * 86400
    try:
        with pytest.raises(VerificationError, match=r"claim\.reservation"):
            cases.settle(case["id"])
        freed = cases.release(case["id"])
        assert (freed["status"], [one["action"] for one in freed["deeds"]]) == ("judged", ["reserve"])
        with pytest.raises(VerificationError, match=r"claim\.reservation"):
            cases.release(case["id"])
        assert cases.refuse(case["id"], "王晓梅", "不在保障期内")["status"] == "refused"
        cases.delete(case["id"])
    finally:
        hospitals.federation.time = before


@contextmanager
def gone(hospitals, number: str) -> Iterator[None]:
    """Have the hospital lose an invoice, such as by an erasure."""
    rows = hospitals.registers[RENHE].rows
    kept = list(rows)
    rows[:] = [one for one in rows if one.invoice.number != number]
    try:
        yield
    finally:
        rows[:] = kept


@pytest.mark.parametrize("action", ["settle", "release"])
def test_what_was_reserved_is_paid_or_given_up_also_where_the_hospital_has_the_invoice_no_more(
    hospitals, cases, action
):
    number = {"settle": "1774778531", "release": "1774778532"}[action]
    hospitals.registers[RENHE].rows.append(issued(number))
    case = cases.take(numbered(f"K{action}"), {"row": row(number).to_json()})
    with gone(hospitals, number), pytest.raises(NotFoundError, match=r"claim\.unknown"):
        cases.reserve(case["id"])
    cases.reserve(case["id"], "8000.00")
    with gone(hospitals, number):
        # No more can be had of it, nor for another claim.
        with pytest.raises(NotFoundError, match=r"claim\.unknown"):
            cases.reserve(case["id"], "8100.00")
        other = cases.take(numbered(f"L{action}"), {"row": row(number).to_json()})
        with pytest.raises(NotFoundError, match=r"claim\.unknown"):
            cases.settle(other["id"], "8000.00")
        done = cases.settle(case["id"], "8000.00") if action == "settle" else cases.release(case["id"])
    assert (done["status"], done["deeds"][-1]["version"]) == ({"settle": "settled", "release": "judged"}[action], 2)


def test_a_case_is_freed_of_a_reservation_that_is_over_also_where_its_hospital_is_gone(hospitals, cases):
    hospitals.registers[RENHE].rows.append(issued("1774778533"))
    case, before = cases.take(numbered("M1"), {"row": row("1774778533").to_json()}), hospitals.federation.time
    cases.reserve(case["id"], days=30)
    hospitals.federation.down.add(RENHE)
    try:
        # On the day after its last one it is over; whether it was renewed the ledger says, a day later than that.
        hospitals.federation.time += 31 * 86400
        with pytest.raises(UnavailableError):
            cases.release(case["id"])
        hospitals.federation.time += 86400
        assert cases.release(case["id"])["status"] == "judged"
        cases.delete(case["id"])
    finally:
        hospitals.federation.time = before
        hospitals.federation.down.clear()


def test_what_is_paid_is_not_released_at_a_hospital_that_is_away(hospitals, cases):
    hospitals.registers[RENHE].rows.append(issued("1774778534"))
    case, before = cases.take(numbered("M2"), {"row": row("1774778534").to_json()}), hospitals.federation.time
    cases.reserve(case["id"])
    cases.settle(case["id"])
    hospitals.federation.down.add(RENHE)
    hospitals.federation.time += 60 * 86400
    try:
        with pytest.raises(UnavailableError):
            cases.release(case["id"])
        assert cases.show(case["id"])["status"] == "settled"
    finally:
        hospitals.federation.time = before
        hospitals.federation.down.clear()


def test_race_of_who_pays_and_who_gives_up_the_case_says_what_the_ledger_says(hospitals, cases, monkeypatch):
    """Or what is free for others to claim would be paid."""
    hospitals.registers[RENHE].rows.append(issued("1774778535"))
    case = cases.take(numbered("N1"), {"row": row("1774778535").to_json()})
    cases.reserve(case["id"])
    desk = hospitals.nodes[ANXIN]._cases  # noqa: SLF001  # as configured
    parts, others = desk._parts, []  # noqa: SLF001  # the same

    def slow(wish: Wish) -> Fulfilled:
        done = parts.fulfil(wish)
        if not others:
            # It is paid on the ledger, and before the case says so somebody else gives it up.
            others.append("release")
            assert cases.release(case["id"])["status"] == "judged"
        return done

    with monkeypatch.context() as patched:
        patched.setattr(desk, "_parts", replace(parts, fulfil=slow))
        told = cases.settle(case["id"])
    assert told["status"] == "judged"
    assert [one["action"] for one in told["deeds"]] == ["reserve", "settle", "release"]


def test_without_an_invoice_nothing_is_reserved(cases):
    case = cases.take(numbered("E3"))
    with pytest.raises(ConflictError, match=r"case\.no_invoice"):
        cases.reserve(case["id"])
    assert cases.show(case["id"])["status"] == "new"


def test_a_case_is_destroyed_when_it_is_no_longer_needed_and_not_while_something_is_reserved(hospitals, cases):
    hospitals.registers[RENHE].rows.append(issued("1774778514"))
    case = cases.take(numbered("F1"), {"row": row("1774778514").to_json()})
    cases.reserve(case["id"], days=0)
    with pytest.raises(ConflictError, match=r"case\.reserved"):
        cases.delete(case["id"])
    cases.release(case["id"])
    cases.delete(case["id"])
    with pytest.raises(NotFoundError, match=r"case\.unknown"):
        cases.show(case["id"])


def test_a_case_of_a_claim_that_is_a_record_here_goes_with_its_patient(hospitals, cases):
    site = hospitals.federation.sites[ANXIN]
    site.service.create(NewRecord("Claim", "c1", numbered("G1"), "own-1"))
    case, other = cases.open("Claim/c1"), cases.take(numbered("G2"))
    token = site.service.patient_token("own-1")
    body = build_body("erasure", {"reason": "test"}, None, secrets.token_bytes)
    forget_told(site.records, ErasureIntent(bytes(16), body, token, (), ()))
    with pytest.raises(NotFoundError, match=r"case\.unknown"):
        cases.show(case["id"])
    assert cases.show(other["id"]) == other


def test_who_is_no_insurer_has_no_cases(hospitals):
    for org_id in (RENHE, COMMISSION):
        with pytest.raises(AccessDeniedError, match=r"case\.role"):
            CaseClient(hospitals.local(org_id)).take(content())
        assert hospitals.federation.sites[org_id].records.case_of(bytes(32)) is None
