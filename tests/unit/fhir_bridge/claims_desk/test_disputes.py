"""The pages of disputes: what an insurer's desk asks and a hospital's answers; attacks."""

from __future__ import annotations

import json
import re

import pytest

from medchain.claims import dispute as dispute_format
from medchain.claims.cases import CaseClient
from medchain.encoding import canonical
from medchain.errors import AccessDeniedError, UnavailableError
from medchain.node.records import NewRecord
from medchain.store.accesses import Access
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.claims_desk.conftest import code_of, form_of, text_of
from tests.unit.medchain.claims.disputing import signed, step
from tests.unit.medchain.claims.filed import content
from tests.unit.medchain.node.federation import ANXIN, RENHE

PAGE = "/claims/disputes"
DAY = 86400


@pytest.fixture
def dispute(insurance) -> str:
    """A question that an insurer's daemon has brought."""
    return opened(insurance)


def opened(insurance, **changes: object) -> str:
    case = CaseClient(insurance.hospitals.local(ANXIN)).take(content())
    asked = {"by": "Practitioner/w1", "claim": case["digest"], "days": 7, "hospital": RENHE}
    asked |= {"text": "住院天数<b>不符</b>"}
    name = insurance.hospitals.local(ANXIN).call("dispute.open", asked | changes)["id"]
    insurance.hospitals.nodes[ANXIN].disputes.round()
    return f"{PAGE}/{name}"


def said(browser, place: str, step: str, **more: str):
    return browser.post(f"{place}?lang=en", form_of(browser, place) | {"step": step} | more)


def test_a_hospitals_desk_answers_and_both_see_it(insurance, dispute):
    hospital, insurer = insurance.desk("hospital"), insurance.desk()
    page = hospital.get(f"{dispute}?lang=en")
    assert "Waiting for the hospital's answer" in text_of(page)
    assert "&lt;b&gt;" in page.text
    assert 'value="answer"' in page.text
    assert 'value="close"' not in page.text
    answer = said(hospital, dispute, "answer", text="出院日\r\n更正过")
    assert answer.headers["Location"] == dispute
    for browser in (hospital, insurer):
        page = browser.get(f"{dispute}?lang=en")
        assert "Answered by the hospital" in text_of(page)
        assert "出院日\n更正过" in page.text
    assert 'value="answer"' not in hospital.get(dispute).text
    assert "Practitioner/" not in hospital.get(dispute).text
    said(insurer, dispute, "question", text="哪一天？", days="1")
    assert " 1 day ·" in text_of(insurer.get(f"{dispute}?lang=en"))
    said(hospital, dispute, "answer", text="9 月 6 日")
    said(insurer, dispute, "close", text="")
    for browser in (hospital, insurer):
        page = browser.get(f"{dispute}?lang=en")
        assert "Closed" in text_of(page)
        assert "<textarea" not in page.text


def test_a_hospitals_desk_is_led_to_the_records_that_it_has_told_of(insurance):
    world = insurance.hospital
    patient = world.patient("asked-about")
    encounter = {"resourceType": "Encounter", "id": "asked-about", "status": "finished"}
    world.core.service.create(NewRecord("Encounter", "asked-about", json.dumps(encounter).encode(), patient))
    row = world.core.store.get("Encounter", "asked-about")
    detail = canonical({"recipient": ANXIN, "records": [[row.object_id.hex(), 1]]})
    world.core.store.put_accesses([Access(b"\x77" * 16, row.patient, "given", 1, detail)])
    question = step(records=("Encounter/asked-about",), time=insurance.federation.time)
    insurance.hospitals.nodes[RENHE].dispute(signed(question), ANXIN)
    page = insurance.desk("hospital").get(f"{PAGE}/{question.dispute.hex()}")
    assert '<a href="/browse/Encounter/asked-about">' in page.text


def test_a_new_dispute_is_told_on_the_desks_first_page_until_it_is_answered(insurance):
    def told() -> str:
        return text_of(insurance.desk("hospital").get("/desk?lang=en"))

    def count() -> int:
        found = re.search(r"Disputes about claims that wait for you: (\d+)", told())
        return int(found[1]) if found else 0

    before = count()
    place = opened(insurance)
    assert count() == before + 1
    insurance.federation.time += 8 * DAY
    try:
        assert "overdue" in told()
    finally:
        insurance.federation.time -= 8 * DAY
    said(insurance.desk("hospital"), place, "answer", text="so")
    assert count() == before
    assert "Disputes about claims that wait for you: 1" in text_of(insurance.desk().get("/desk?lang=en"))


def test_fault_a_daemon_that_is_away_keeps_nobody_from_the_desk(insurance, monkeypatch):
    def away(_document):
        raise UnavailableError("daemon.not_running")

    monkeypatch.setitem(insurance.hospital.local.operations, "dispute.waiting", away)
    page = insurance.desk("hospital").get("/desk?lang=en")
    assert (page.status_code, "Disputes about claims" in text_of(page)) == (200, False)


def test_what_the_hospital_refuses_says_why_and_in_the_end_that_it_is_brought_no_more(insurance, monkeypatch):
    def refuses(_document, _peer):
        raise AccessDeniedError("dispute.signature")

    monkeypatch.setattr(insurance.hospitals.nodes[RENHE], "dispute", refuses)
    place = opened(insurance)
    for path in (place, PAGE):
        page = text_of(insurance.desk().get(f"{path}?lang=en"))
        assert "does not take it (its ledger does not have the key under which you signed)" in page
    monkeypatch.setattr(dispute_format, "GIVE_UP_S", 3600)
    insurance.federation.time += 3600
    try:
        insurance.hospitals.nodes[ANXIN].disputes.round()
        page = text_of(insurance.desk().get(f"{place}?lang=en"))
        assert "and it is brought no more" in page
        assert said(insurance.desk(), place, "close", text="").status_code == 303
        assert "Closed" in text_of(insurance.desk().get(f"{place}?lang=en"))
    finally:
        insurance.federation.time -= 3600


def test_an_answer_that_the_insurer_refuses_is_brought_for_longer_and_asks_nobody_to_ask_anew(insurance, monkeypatch):
    def refuses(_document, _peer):
        raise AccessDeniedError("dispute.sender")

    place = opened(insurance)
    monkeypatch.setattr(insurance.hospitals.nodes[ANXIN], "dispute", refuses)
    said(insurance.desk("hospital"), place, "answer", text="so")
    # For as long as a question is brought, and for longer than an answer is.
    monkeypatch.setattr(dispute_format, "GIVE_UP_S", 3600)
    for most, words in ((2 * 3600, "it is brought again for 30 days"), (3600, "tell the insurer in another way")):
        monkeypatch.setattr(dispute_format, "ANSWER_GIVE_UP_S", most)
        insurance.federation.time += 3600
        try:
            insurance.hospitals.nodes[RENHE].disputes.round()
            for path in (place, PAGE):
                page = text_of(insurance.desk("hospital").get(f"{path}?lang=en"))
                assert words in page
                assert "ask anew" not in page
        finally:
            insurance.federation.time -= 3600


def test_what_is_overdue_says_so_at_both_and_comes_first(insurance):
    late, later = opened(insurance, days=1), opened(insurance, days=30)
    insurance.federation.time += 2 * DAY
    try:
        for who in ("insurer", "hospital"):
            page = insurance.desk(who).get(f"{PAGE}?lang=en")
            assert "overdue since" in text_of(page)
            assert page.text.index(late) < page.text.index(later)
            assert "left" in text_of(insurance.desk(who).get(f"{later}?lang=en"))
        # It stays answerable.
        assert said(insurance.desk("hospital"), late, "answer", text="so").status_code == 303
    finally:
        insurance.federation.time -= 2 * DAY


def test_what_was_not_received_says_so(insurance):
    insurance.federation.down.add(RENHE)
    try:
        place = opened(insurance)
        page = text_of(insurance.desk().get(f"{place}?lang=en"))
        assert "not received by the other side yet" in page
        assert "days left" not in page
    finally:
        insurance.federation.down.discard(RENHE)
    insurance.hospitals.nodes[ANXIN].disputes.round()
    assert "not received" not in text_of(insurance.desk().get(f"{place}?lang=en"))


def test_an_auditor_reads_and_says_nothing(insurance, dispute):
    for who in ("insurer", "hospital"):
        auditor = insurance.desk(who, Role.AUDITOR)
        page = auditor.get(f"{dispute}?lang=en")
        assert page.status_code == 200
        assert "<textarea" not in page.text
        form = form_of(insurance.desk(who), dispute) | {"csrf": auditor.csrf("/account"), "step": "answer", "text": "x"}
        assert code_of(auditor.post(dispute, form)) == "session.role"


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.ADMINISTRATOR])
def test_attack_other_roles_see_nothing(insurance, dispute, role):
    for path in (PAGE, dispute):
        assert code_of(insurance.desk("hospital", role).get(path)) == "session.role"


def test_attack_a_regulator_has_no_disputes(insurance):
    assert code_of(insurance.desk("regulator").get(PAGE)) == "claims.role"


@pytest.mark.parametrize(("who", "step"), [("insurer", "answer"), ("hospital", "close"), ("hospital", "threat")])
def test_attack_nobody_takes_a_step_of_the_other_side(insurance, dispute, who, step):
    answer = said(insurance.desk(who), dispute, step, text="x")
    assert answer.status_code == 400
    assert "The other side has answered or closed meanwhile" in text_of(answer)
    assert len(insurance.hospitals.local(RENHE).call("dispute.show", {"id": dispute[-32:]})["steps"]) == 1


def test_an_answer_without_words_is_none(insurance, dispute):
    answer = said(insurance.desk("hospital"), dispute, "answer", text=" \r\n ")
    assert answer.status_code == 400
    assert "Write 1 to 1,000 characters" in text_of(answer)


def test_attack_days_that_are_not_offered_are_refused(insurance, dispute):
    said(insurance.desk("hospital"), dispute, "answer", text="x")
    assert code_of(said(insurance.desk(), dispute, "question", text="x", days="5000")) == "asks.days"


def test_attack_a_form_that_is_sent_again_says_nothing(insurance, dispute):
    browser = insurance.desk("hospital")
    form = form_of(browser, dispute) | {"step": "answer", "text": "x"}
    assert browser.post(dispute, form).status_code == 303
    assert code_of(browser.post(dispute, form)) == "desk.repeated"
    assert code_of(browser.post(dispute, form | {"csrf": "x"})) == "session.form"


def test_what_is_not_there_says_so(insurance):
    browser = insurance.desk()
    assert code_of(browser.get(f"{PAGE}/{'0' * 32}")) == "dispute.unknown"
    assert browser.get(f"{PAGE}/x").status_code == 400


def test_who_looks_and_answers_is_on_the_audit_and_no_word_of_it(insurance, dispute):
    said(insurance.desk("hospital"), dispute, "answer", text="a very particular answer")
    insurance.hospital.core.catch_up()
    found = insurance.hospital.core.store.newest_records("AuditEvent")
    texts = [insurance.hospital.core.service.open(one).content.decode() for one in found]
    mine = [one for one in texts if dispute[-32:] in one]
    assert {kind for kind in ("claim-handled", "claim-viewed") for one in mine if kind in one} == {
        "claim-handled",
        "claim-viewed",
    }
    assert not any("particular" in one for one in texts)


def test_where_there_is_none_the_page_says_so(insurance, monkeypatch):
    monkeypatch.setitem(insurance.insurer.local.operations, "dispute.list", lambda _: {"disputes": [], "time": 0})
    assert "There is no dispute." in text_of(insurance.desk().get(f"{PAGE}?lang=en"))
