"""The work list and the page of a claim: found, opened, asked for, reserved, paid, noted, disputed; attacks."""

from __future__ import annotations

import io
import itertools
import json
import re
from dataclasses import replace

import pytest

from fhir_bridge.claims_desk.verdict_view import shown_lines
from medchain.claims.cases import CaseClient
from medchain.errors import ConflictError, UnavailableError
from medchain.ledger.evidence.verdict import parse_verdict
from medchain.node.packed import unpack_bundle
from medchain.node.records import NewRecord
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.claims_desk.conftest import code_of, form_of, text_of
from tests.unit.fhir_bridge.claims_desk.judged import GREEN, judge
from tests.unit.medchain.claims.filed import content
from tests.unit.medchain.claims.questions import row
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE, ROLES

PAGE = "/claims/cases"
NUMBERS = (f"AX{number:05}" for number in itertools.count(1))
CODE = 'data-code="{}"'


def filed(insurance, number: str = "", **given: object) -> dict:
    """A claim that the insurer's daemon has opened."""
    client = CaseClient(insurance.hospitals.local(ANXIN))
    return client.take(content(identifier=[{"value": number or next(NUMBERS)}]), given)


@pytest.fixture
def case(insurance) -> dict:
    made = filed(insurance, row=row().to_json())
    judge(insurance.insurer.core.store, made)
    return made


def did(browser, case: dict, deed: str, **given: str):
    place = f"{PAGE}/{case['id']}"
    return browser.post(f"{place}/{deed}?lang=en", form_of(browser, place) | given)


def opened(browser, **given: object):
    return browser.post(f"{PAGE}/open?lang=en", form_of(browser, PAGE) | given)


def test_the_list_has_colour_in_words_age_amount_and_state(insurance, case):
    filed(insurance, "UNJUDGED-1")
    insurance.federation.time += 3 * 86400
    try:
        page = insurance.desk().get(f"{PAGE}?lang=en")
    finally:
        insurance.federation.time -= 3 * 86400
    said = text_of(page)
    for one in (case["number"], "something is wrong", "judged", "8422.80 CNY", "3 days", "not judged yet"):
        assert one in said
    assert page.text.count("aria-sort=") == 1


def test_claims_are_found_by_colour_state_and_hospital_and_sorted(insurance, case):
    green = filed(insurance, "GREEN-1")
    judge(insurance.insurer.core.store, green, GREEN)
    browser = insurance.desk()

    def numbers(query: str) -> list[str]:
        page = browser.get(f"{PAGE}?{query}").text
        return [one for one in (case["number"], "GREEN-1") if f">{one}</a>" in page]

    assert numbers("colour=green") == ["GREEN-1"]
    assert numbers("colour=red") == [case["number"]]
    assert numbers("status=settled") == []
    assert numbers(f"hospital={RENHE}&status=judged") == [case["number"], "GREEN-1"]
    # What is not offered narrows nothing.
    assert numbers("colour=blue&status=x&hospital=nobody&order=id") == [case["number"], "GREEN-1"]
    for order in ("number", "-number"):
        page = browser.get(f"{PAGE}?order={order}&status=judged").text
        assert (page.index(case["number"]) < page.index("GREEN-1")) is (order == "number")


def test_the_list_goes_on_page_by_page(insurance):
    for number in range(30):
        filed(insurance, f"PAGED-{number:02}")
    browser = insurance.desk()
    first = browser.get(f"{PAGE}?status=new&order=number&lang=en")
    assert "1 to 25 of" in text_of(first)
    assert '/claims/cases?status=new&amp;order=number&amp;page=2" rel="next"' in first.text
    second = browser.get(f"{PAGE}?status=new&order=number&page=2")
    assert 'rel="prev"' in second.text
    assert browser.get(f"{PAGE}?page=99999999999").status_code == 200
    assert browser.get(f"{PAGE}?page=x").status_code == 200


def test_a_number_is_found_by_its_beginning_and_stands_in_no_address(insurance):
    filed(insurance, "FOUND-77")
    browser = insurance.desk()
    page = browser.post(f"{PAGE}/find", {"csrf": browser.csrf(PAGE), "number": "FOUND"})
    assert ">FOUND-77</a>" in page.text
    assert "number=FOUND" not in page.text
    page = browser.post(f"{PAGE}/find?lang=en", {"csrf": browser.csrf(PAGE), "number": "NOBODY"})
    assert "There is no such claim." in text_of(page)
    assert browser.get(f"{PAGE}/find").headers["Location"] == PAGE


def test_a_claim_is_pasted_or_brought_as_a_file_and_opened_once(insurance):
    browser, claim = insurance.desk(), content(identifier=[{"value": "PASTED-1"}])
    place = opened(browser, content=claim.decode()).headers["Location"]
    assert "PASTED-1" in text_of(browser.get(place))
    assert opened(browser, file=(io.BytesIO(claim), "c.json")).headers["Location"] == place


def test_a_claim_that_is_stored_here_is_opened_by_who_may_read_it(insurance):
    world = insurance.insurer
    made = {**json.loads(content(identifier=[{"value": "STORED-1"}])), "id": "stored-1"}
    world.core.service.create(NewRecord("Claim", "stored-1", json.dumps(made).encode(), ""))
    browser = insurance.desk()
    answer = opened(browser, reference="Claim/stored-1")
    assert answer.status_code == 303
    assert "STORED-1" in text_of(browser.get(answer.headers["Location"]))
    answer = opened(browser, reference="Claim/nobody")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "given", [{}, {"reference": "Patient/p1"}, {"content": "{}"}, {"content": "x"}, {"file": (io.BytesIO(b"["), "f")}]
)
def test_what_is_no_claim_is_said(insurance, given):
    answer = opened(insurance.desk(), **given)
    assert answer.status_code == 400
    assert "It was not opened" in text_of(answer)


def test_the_page_of_a_claim_has_the_seven_lines_the_graph_and_the_same_as_a_table(insurance, case):
    page = insurance.desk().get(f"{PAGE}/{case['id']}?lang=en")
    said = text_of(page)
    for one in ("Source ! look closer", "Unaltered ✕ something is wrong", "Coverage and time ✓ in order"):
        assert one in said
    assert "came late: it is of" in said
    assert "/code" in said
    nodes = {"records-0", "consent-0", "registered-0", "access-0", "invoice", "unclaimed", "claim", "coverage", "flags"}
    for key in nodes | {"verdict"}:
        assert page.text.count(f'href="#node-{key}"') == 1
        assert page.text.count(f'<tr id="node-{key}"') == 1
    assert "item 4 of the bundle" in said
    assert "items 0, 1, 2, 3 of the bundle" in said
    assert "style=" not in page.text


def test_a_claim_that_is_not_judged_says_what_to_do(insurance):
    case = filed(insurance)
    assert "There is no verdict yet" in text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=en"))


def test_a_patient_is_asked_for_exactly_this_claim(insurance):
    case, browser = filed(insurance), insurance.desk()
    answer = did(browser, case, "ask", hospital=RENHE, days="7", reason="for your claim")
    assert answer.headers["Location"] == f"{PAGE}/{case['id']}"
    asked = insurance.hospitals.asked[-1]
    assert (asked["custodian"], asked["patient"], asked["days"]) == (RENHE, "p17", 7)
    assert (asked["person"], asked["reason"]) == ("李医生", "for your claim")
    assert asked["claim"]["digest"] == case["digest"]
    assert "was asked for 5 records" in text_of(browser.get(f"{PAGE}/{case['id']}?lang=en"))
    assert code_of(did(browser, case, "ask", hospital=RENHE, days="400", reason="x")) == "asks.days"
    assert code_of(did(browser, case, "ask", hospital=RENHE, days="7", reason=" ")) == "content.text"
    assert code_of(did(browser, case, "ask", hospital="nobody", days="7", reason="x")) == "case.patient"


def test_an_invoice_is_reserved_paid_and_released_and_the_ledger_has_it(insurance, case):
    browser, place = insurance.desk(), f"{PAGE}/{case['id']}?lang=en"
    assert did(browser, case, "reserve", amount="8,000.00", days="7").status_code == 303
    page = browser.get(place)
    assert "reserved 8000.00 CNY, entry" in text_of(page)
    assert f"{PAGE}/{case['id']}/refuse" not in page.text
    assert code_of(did(browser, case, "refuse", text="no")) == "case.reserved"
    assert did(browser, case, "settle", amount="7000").status_code == 303
    assert "settled 7000.00 CNY, entry" in text_of(browser.get(place))
    assert did(browser, case, "release").status_code == 303
    assert "released 7000.00 CNY" in text_of(browser.get(place)) or "released 0.00 CNY" in text_of(browser.get(place))
    for amount in ("much", "9,50", "84,22.80"):
        assert code_of(did(browser, case, "reserve", amount=amount, days="7")) == "invoice.amount"
    assert code_of(did(browser, case, "reserve", amount="", days="400")) == "asks.days"
    assert code_of(did(browser, case, "reserve", amount="9999999", days="7")) == "claim.amount"


def test_notes_and_a_refusal_are_kept_with_who_wrote_them(insurance):
    case, browser = filed(insurance, row=row().to_json()), insurance.desk()
    did(browser, case, "note", text="called\r\n<b>twice</b>")
    did(browser, case, "refuse", text="not covered")
    page = browser.get(f"{PAGE}/{case['id']}?lang=en")
    assert "called\n&lt;b&gt;twice" in page.text
    assert "not covered" in page.text
    assert page.text.count("Practitioner/") == 2
    assert "State refused" in text_of(page)
    assert "/reserve" not in page.text
    for text in (" ", "x" * 2001):
        assert code_of(did(browser, case, "note", text=text)) == "case.note"


def test_the_hospital_is_asked_about_a_claim_on_the_record(insurance, case):
    browser = insurance.desk()
    answer = did(browser, case, "dispute", hospital=RENHE, days="7", text="why so late?")
    place = answer.headers["Location"]
    assert place.startswith("/claims/disputes/")
    shown = insurance.hospitals.local(RENHE).call("dispute.show", {"id": place[-32:]})
    assert (shown["claim"], shown["records"]) == (case["digest"], case["cited"][RENHE])
    page = text_of(browser.get(f"{PAGE}/{case['id']}?lang=en"))
    assert "why so late?" in page
    assert "judged · ! disputed" in page
    listed = browser.post(f"{PAGE}/find?lang=en", {"csrf": browser.csrf(PAGE), "number": case["number"]})
    assert f"{case['number']} ✕ something is wrong judged ! disputed" in text_of(listed)
    browser.post(place, form_of(browser, place) | {"step": "close", "text": ""})
    assert "! disputed" not in text_of(browser.get(f"{PAGE}/{case['id']}?lang=en"))
    assert code_of(did(browser, case, "dispute", hospital="nobody", days="7", text="x")) == "dispute.hospital"
    assert code_of(did(browser, case, "dispute", hospital=RENHE, days="5000", text="x")) == "asks.days"


def test_a_dispute_about_a_patients_claim_goes_with_that_patient(insurance):
    world = insurance.insurer
    patient = world.patient("disputed-patient")
    made = {**json.loads(content(identifier=[{"value": "OF-PATIENT"}])), "id": "of-patient"}
    made["patient"] = {"reference": f"Patient/{patient}"}
    world.core.service.create(NewRecord("Claim", "of-patient", json.dumps(made).encode(), patient))
    case = CaseClient(insurance.hospitals.local(ANXIN)).open("Claim/of-patient")
    did(insurance.desk(), case, "dispute", hospital=RENHE, days="7", text="?")
    [rows] = world.core.store.disputes(bytes.fromhex(case["digest"]))
    assert rows[0].patient == world.core.service.patient_token(patient)


def test_a_claim_is_judged_and_its_evidence_is_a_file_that_says_the_same(insurance):
    case, browser = filed(insurance, row=row().to_json()), insurance.desk()
    place = f"{PAGE}/{case['id']}"
    assert code_of(browser.get(f"{place}/bundle")) == "case.unjudged"
    assert did(browser, case, "judge").headers["Location"] == place
    page = browser.get(f"{place}?lang=en")
    said = text_of(page)
    # Nobody has permitted anything yet: what is not shown is said so.
    assert "Gather the evidence anew and judge" in said
    assert "Hospitals that told nothing" in said
    assert "the patient has permitted nothing yet" in said
    packed = browser.get(f"{place}/bundle")
    assert packed.headers["Content-Disposition"] == f'attachment; filename="claim-{case["id"][:8]}.proof.zip"'
    verdict = parse_verdict(unpack_bundle(packed.get_data())["verdict.json"])
    assert verdict.colour.value == "red"
    for line in shown_lines(verdict, "en", str):
        assert f"{line.name} {'✓!✕'[['green', 'amber', 'red'].index(line.colour)]} {line.word}" in said
    assert code_of(insurance.desk(role=Role.AUDITOR).get(f"{place}/bundle")) == "session.role"


def test_who_did_not_answer_is_told_from_who_told_nothing_and_when_it_is_asked_again_is_said(insurance, monkeypatch):
    case = filed(insurance)
    show = insurance.insurer.local.operations["case.show"]
    failures = {RENHE: "peer.unreachable", "tongji-hospital": "case.permission_ended", "x": "peer.busy"}
    told = {"failures": failures, "judged_at": NOW}
    monkeypatch.setitem(insurance.insurer.local.operations, "case.show", lambda document: {**show(document), **told})
    said = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=en"))
    nothing, unheard = said.index("Hospitals that told nothing"), said.index("Hospitals that did not answer")
    assert "permission was withdrawn, or has ended" in said[nothing:unheard]
    assert "it cannot be reached" in said[unheard:]
    assert "it cannot answer at the moment" in said[unheard:]
    assert "Asked in vain 1 Dec 2026" in said[unheard:]
    assert "asked again each time that the evidence is gathered" in said[unheard:]
    monkeypatch.setitem(told, "failures", {RENHE: "peer.unreachable"})
    said = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=en"))
    assert "Hospitals that told nothing" not in said


def test_claims_are_narrowed_by_hospitals_and_by_nobody_else(insurance):
    page = insurance.desk().get(PAGE).text
    offered = re.findall(r'value="([^"]+)"', page[page.index('id="hospital"') : page.index('name="order"')])
    assert RENHE in offered
    assert {one for one in offered if ROLES[one] != "hospital"} == set()


def test_in_chinese_records_are_called_as_people_call_them(insurance, case):
    said = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=zh"))
    assert "病情与诊断 d1 · 就诊 e1" in said
    assert "Condition/d1" not in said


def test_who_pastes_a_claim_sees_its_verdict_at_once(insurance):
    browser = insurance.desk()
    claim = content(identifier=[{"value": "AT-ONCE"}])
    page = browser.get(f"{opened(browser, content=claim.decode()).headers['Location']}?lang=en")
    assert "mc-seven" in page.text


def test_while_evidence_is_gathered_the_page_says_how_far_it_is(insurance, monkeypatch):
    case = filed(insurance)
    show = insurance.insurer.local.operations["case.show"]
    progress = {"done": 2, "of": 5, "step": "asked"}

    def gathering(document):
        return {**show(document), "progress": progress, "status": "gathering"}

    monkeypatch.setitem(insurance.insurer.local.operations, "case.show", gathering)
    page = insurance.desk().get(f"{PAGE}/{case['id']}?lang=en")
    assert 'max="5" value="2"' in page.text
    assert 'data-again="2"' in page.text
    assert f"{PAGE}/{case['id']}/judge" not in page.text


def test_fault_a_claim_is_opened_also_where_it_cannot_be_judged_now(insurance, monkeypatch):
    def busy(_document):
        raise UnavailableError("case.busy")

    monkeypatch.setitem(insurance.insurer.local.operations, "case.judge", busy)
    browser = insurance.desk()
    claim = content(identifier=[{"value": "BUSY-1"}])
    place = opened(browser, content=claim.decode()).headers["Location"]
    assert "There is no verdict yet" in text_of(browser.get(f"{place}?lang=en"))
    answer = did(browser, {"id": place.rpartition("/")[2]}, "judge")
    assert (answer.status_code, code_of(answer)) == (503, "case.busy")


@pytest.mark.parametrize("deed", ["judge", "ask", "reserve", "settle", "release", "refuse", "note", "dispute", "drop"])
def test_attack_an_auditor_reads_and_does_nothing_and_a_form_counts_once(insurance, case, deed):
    auditor = insurance.desk(role=Role.AUDITOR)
    place = f"{PAGE}/{case['id']}"
    page = auditor.get(place)
    assert page.status_code == 200
    assert "<form" not in page.text.partition("<main")[2]
    form = form_of(insurance.desk(), place)
    assert code_of(auditor.post(f"{place}/{deed}", form | {"csrf": auditor.csrf("/account")})) == "session.role"
    assert code_of(insurance.desk().post(f"{place}/{deed}", form)) == "session.form"


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.ADMINISTRATOR])
def test_attack_other_roles_see_nothing(insurance, case, role):
    for path in (PAGE, f"{PAGE}/{case['id']}"):
        assert code_of(insurance.desk(role=role).get(path)) == "session.role"


def test_attack_a_hospitals_desk_sees_no_claim(insurance, case):
    for who in ("hospital", "regulator"):
        for path in (PAGE, f"{PAGE}/{case['id']}"):
            assert code_of(insurance.desk(who).get(path)) == "claims.role"


def test_what_is_not_there_says_so(insurance):
    assert code_of(insurance.desk().get(f"{PAGE}/{'0' * 32}")) == "case.unknown"
    assert code_of(insurance.desk().get(f"{PAGE}/x")) == "case.unknown"


def test_fault_where_the_daemon_refuses_the_page_says_why(insurance, case, monkeypatch):
    def refusing(_document):
        raise ConflictError("claim.head")

    monkeypatch.setitem(insurance.insurer.local.operations, "case.reserve", refusing)
    answer = did(insurance.desk(), case, "reserve", amount="", days="7")
    assert (answer.status_code, code_of(answer)) == (409, "claim.head")
    assert "Others were first" in text_of(answer)


def test_the_script_of_the_list_is_a_file_of_ours(insurance):
    page = insurance.desk().get(PAGE).text
    place = page.partition('<script type="module" src="')[2].partition('"')[0]
    assert insurance.desk().get(place).headers["Content-Type"] == "text/javascript; charset=utf-8"


def test_a_claim_that_is_kept_no_longer_is_destroyed_unless_a_part_is_reserved(insurance):
    case, browser = filed(insurance), insurance.desk()
    store, case_id = insurance.insurer.core.store, bytes.fromhex(case["id"])
    store.change_case(case_id, lambda one: replace(one, status="reserved"))
    assert "/drop" not in browser.get(f"{PAGE}/{case['id']}").text
    assert code_of(did(browser, case, "drop")) == "case.reserved"
    store.change_case(case_id, lambda one: replace(one, status="settled"))
    assert "/drop" in browser.get(f"{PAGE}/{case['id']}").text
    answer = did(browser, case, "drop")
    assert (answer.status_code, answer.headers["Location"]) == (303, PAGE)
    assert code_of(browser.get(f"{PAGE}/{case['id']}")) == "case.unknown"
