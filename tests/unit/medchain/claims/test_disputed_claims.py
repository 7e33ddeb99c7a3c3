"""A claim about which a dispute is open is paid by nobody who does not look: real disputes, over whole nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.claims.case_content import CaseContent
from medchain.claims.counter import Step
from medchain.claims.disputes import SHOW
from medchain.errors import ConflictError
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.office import GIVEN, Office, Signed, asked, paid, said, stepped
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("disputed")) as made:
        made.federation.time = NOW
        yield Office(made, Signed)


@pytest.fixture
def office(opened):
    with opened.paying() as made:
        yield made


def test_without_a_dispute_the_counter_pays_it(office):
    case = office.cases().take(office.claim(), GIVEN)
    assert case["disputed"] is False
    done = paid(office, case)
    assert (done.case["colour"], done.is_settled) == ("green", True)


def test_a_disputed_claim_is_not_paid_until_the_insurer_closes_it(office):
    case = office.cases().take(office.claim(), GIVEN)
    dispute = asked(office, case)
    assert paid(office, case).steps == ()
    stepped(office, RENHE, dispute, "answer", "a mistake of ours")
    assert (paid(office, case).is_settled, office.cases().show(case["id"])["disputed"]) == (False, True)
    stepped(office, ANXIN, dispute, "close")
    assert paid(office, case).is_settled
    assert office.cases().show(case["id"])["disputed"] is False


def test_a_dispute_about_another_claim_keeps_nothing_from_being_paid(office):
    other, case = (office.cases().take(office.claim(), GIVEN) for _ in range(2))
    asked(office, other)
    listed = {one["id"]: one["disputed"] for one in office.cases().list({}, 200).cases}
    assert (listed[other["id"]], listed[case["id"]]) == (True, False)
    assert paid(office, case).is_settled


@pytest.mark.parametrize(("after", "status"), [(Step.JUDGED, "judged"), (Step.RESERVED, "reserved")])
def test_attack_a_dispute_that_is_opened_between_the_verdict_and_the_payment_counts(office, after, status):
    case = office.cases().take(office.claim(), GIVEN)

    def meanwhile(step: Step, _seconds: float) -> None:
        if step is after:
            asked(office, case)

    done = paid(office, case, meanwhile)
    assert [step for step, _ in done.steps][-1] is after
    assert (done.case["status"], done.case["disputed"]) == (status, True)
    assert not done.is_settled


def test_a_question_is_about_what_was_told_for_the_claim_and_its_patients_at_the_hospital(office):
    cases = office.cases()
    case = cases.take(office.claim(), GIVEN)
    before = said(office, RENHE, SHOW, id=asked(office, case))
    cases.judge(case["id"])
    shown = said(office, RENHE, SHOW, id=asked(office, case))
    # Before anything was told the hospital is not led to any record by it.
    assert (before["records"], shown["records"]) == ([], sorted(office.stay.cited))
    whose = {
        tuple(said(office, RENHE, SHOW, id=rows[0].dispute.hex())["records"]): rows[0].patient
        for rows in office.hospitals.federation.sites[RENHE].records.disputes(bytes.fromhex(case["digest"]))
    }
    token = office.hospitals.federation.sites[RENHE].service.patient_token(office.stay.local)
    assert whose == {(): "", tuple(shown["records"]): token}


def test_a_question_that_the_hospital_has_not_heard_counts_already(office):
    case = office.cases().take(office.claim(), GIVEN)
    office.hospitals.federation.down.add(RENHE)
    asked(office, case)
    office.hospitals.federation.down.clear()
    assert paid(office, case).steps == ()


def only_a_person_pays(cases, case_id):
    """Reserve and settle, each first unseen, which is refused."""
    with pytest.raises(ConflictError, match=r"case\.person"):
        cases.reserve(case_id, is_unseen=True)
    assert cases.reserve(case_id)["status"] == "reserved"
    with pytest.raises(ConflictError, match=r"case\.person"):
        cases.settle(case_id, is_unseen=True)
    assert cases.settle(case_id)["status"] == "settled"


def test_a_person_who_looks_may_pay_it_all_the_same(office):
    cases = office.cases()
    case = cases.take(office.claim(), GIVEN)
    asked(office, case)
    cases.judge(case["id"])
    only_a_person_pays(cases, case["id"])


def test_what_a_person_refused_is_not_reserved_unseen(office):
    cases = office.cases()
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])
    cases.refuse(case["id"], "Practitioner/w1", "no")
    with pytest.raises(ConflictError, match=r"case\.person"):
        cases.reserve(case["id"], is_unseen=True)


def test_what_a_service_for_e_invoices_doubts_is_not_paid_unseen(office):
    cases = office.cases()
    case = cases.judge(cases.take(office.claim(), GIVEN)["id"])

    def change(kept):
        doubted = {"answer": "reversed", "stand_in": False, "time": NOW}
        return replace(kept, document=replace(CaseContent.decode(kept.document), einvoice=doubted).encode())

    office.hospitals.federation.sites[ANXIN].records.change_case(bytes.fromhex(case["id"]), change)
    only_a_person_pays(cases, case["id"])


def test_attack_what_a_person_refuses_while_it_is_being_reserved_stays_refused_and_is_not_paid(office, monkeypatch):
    cases = office.cases()
    case = cases.take(office.claim(), GIVEN)

    def meanwhile() -> None:
        monkeypatch.setattr(office.hospitals, "before_deed", lambda: None)
        cases.refuse(case["id"], "Practitioner/w1", "no")

    monkeypatch.setattr(office.hospitals, "before_deed", meanwhile)
    done = paid(office, case)
    assert [step for step, _ in done.steps][-1] is Step.RESERVED
    assert (done.case["status"], done.is_settled) == ("refused", False)
    # Nor does a person pay it by mistake; what the ledger has reserved can be given up, and it stays refused.
    with pytest.raises(ConflictError, match=r"case\.refused"):
        cases.settle(case["id"])
    released = cases.release(case["id"])
    assert (released["status"], [one["action"] for one in released["deeds"]]) == ("refused", ["reserve", "release"])
