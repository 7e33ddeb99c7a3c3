"""The work list and the page of a claim: found, opened, asked for, reserved, paid, noted, disputed; attacks."""

from __future__ import annotations

import io
import itertools
import json
import re
from dataclasses import replace

import pytest

from fhir_bridge.claims_desk.check import FIELDS
from fhir_bridge.claims_desk.verdict_view import shown_lines
from medchain.claims import checks
from medchain.claims.case_content import CaseContent
from medchain.claims.cases import CaseClient
from medchain.claims.verdict_words import LINES
from medchain.errors import ConflictError, UnavailableError
from medchain.ledger.evidence.document import MAX_CLAIM_BYTES
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
    seen = re.search(r'name="seen" value="([0-9]+)"', browser.get(place).text)
    return browser.post(
        f"{place}/{deed}?lang=en", form_of(browser, place) | ({"seen": seen[1]} if seen else {}) | given
    )


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
    for one in (case["number"], "something is wrong", "judged", "8,422.80 CNY", "3 days", "not judged yet"):
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
    assert browser.get(f"{PAGE}?page=x").status_code == 200


@pytest.mark.parametrize("page", ["3", "99999999999"])
def test_beyond_the_last_page_the_last_one_is_shown(insurance, page):
    for number in range(30):
        filed(insurance, f"BEYOND-{number:02}")
    browser = insurance.desk()
    form = {"csrf": browser.csrf(PAGE), "number": "BEYOND"}
    said = text_of(browser.post(f"{PAGE}/find?page={page}&order=number&lang=en", form))
    assert "26 to 30 of 30" in said
    assert "BEYOND-29" in said
    assert "BEYOND-24" not in said


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


def test_a_claim_that_is_not_stored_here_is_said_beside_what_was_typed(insurance):
    answer = opened(insurance.desk(), reference="Claim/nobody")
    assert answer.status_code == 404
    assert "There is no such resource." in text_of(answer)
    assert 'name="reference" value="Claim/nobody"' in answer.text


@pytest.mark.parametrize(
    "given", [{}, {"reference": "Patient/p1"}, {"content": "{}"}, {"content": "x"}, {"file": (io.BytesIO(b"["), "f")}]
)
def test_what_is_no_claim_is_said(insurance, given):
    answer = opened(insurance.desk(), **given)
    assert answer.status_code == 400
    assert "It was not opened" in text_of(answer)


@pytest.mark.parametrize("size", [MAX_CLAIM_BYTES, 3 << 20])
def test_a_pasted_claim_that_is_too_large_is_said_to_be(insurance, size):
    browser = insurance.desk()
    answer = opened(browser, content=json.dumps({"resourceType": "Claim", "text": {"div": "d" * size}}))
    assert answer.status_code in (400, 413)
    assert "What you sent, or the file with it, is too large." in text_of(answer)
    assert f'href="{PAGE}"' in answer.text


@pytest.mark.parametrize(("deed", "given"), [("ask", {"days": "400", "reason": "x"}), ("note", {"text": " "})])
def test_what_is_refused_leads_back_to_the_claim(insurance, case, deed, given):
    answer = did(insurance.desk(), case, deed, **given)
    assert answer.status_code == 400
    assert f'<a href="{PAGE}/{case["id"]}">Go back</a>' in answer.text


def test_what_is_not_there_leads_back_to_the_list_and_who_may_not_be_here_to_the_account(insurance, case):
    assert f'<a href="{PAGE}">Go back</a>' in insurance.desk().get(f"{PAGE}/{'0' * 32}?lang=en").text
    page = insurance.desk(role=Role.CLINICIAN).get(f"{PAGE}/{case['id']}?lang=en").text
    assert '<a href="/account">Go to the first page</a>' in page


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


def lines_of(page) -> dict[str, str]:
    """The lines of what is known before a claim is judged, with their colours."""
    return {line: colour for colour, line in re.findall(r'data-colour="([a-z]+)" data-line="([a-z]+)"', page.text)}


def test_a_claim_that_is_opened_is_not_judged_and_nobody_is_asked_for_it(insurance):
    browser, before = insurance.desk(), len(insurance.hospitals.audits[RENHE].rows)
    claim, held = content(identifier=[{"value": "UNASKED-1"}]), row()
    typed = {f"invoice_{name}": getattr(held, name) for name in FIELDS}
    place = opened(browser, content=claim.decode(), **typed).headers["Location"]
    page = browser.get(f"{place}?lang=en")
    said = text_of(page)
    assert "State patient not asked yet" in said
    assert "Next step Ask the patient to permit this claim." in said
    assert f'action="{place}/ask"' in page.text.partition("What is known so far")[0]
    # Nothing is held against it for want of a permission that nobody has asked for.
    assert lines_of(page) == dict.fromkeys(LINES, "amber")
    assert said.count("! not known yet") == len(LINES) - 1
    assert len(insurance.hospitals.audits[RENHE].rows) == before
    assert CaseClient(insurance.hospitals.local(ANXIN)).show(place.rpartition("/")[2])["judged_at"] is None


@pytest.mark.parametrize(
    ("start", "said", "waiting", "colour", "code"),
    [
        ("2025-01-01", "1 Jan 2025", "", "green", "coverage.covered"),
        ("2025-08-01", "1 Aug 2025", "60", "red", "coverage.waiting"),
    ],
)
def test_what_the_policy_says_of_a_claim_is_known_before_the_patient_is_asked(
    insurance, start, said, waiting, colour, code
):
    browser = insurance.desk()
    typed = {"policy_start": start, "policy_waiting": waiting}
    claim = content(identifier=[{"value": f"INSURED-{waiting}"}]).decode()
    page = browser.get(f"{opened(browser, content=claim, **typed).headers['Location']}?lang=en")
    assert (lines_of(page)["coverage"], CODE.format(code) in page.text) == (colour, True)
    assert f"Policy from {said}{f', {waiting} waiting days' if waiting else ''}" in text_of(page)


def test_a_case_goes_from_the_ask_to_the_permission_to_the_verdict(insurance, monkeypatch):
    case, browser = filed(insurance, "ZZ-ONWARD"), insurance.desk()
    place = f"{PAGE}/{case['id']}"

    def listed(status: str) -> bool:
        return ">ZZ-ONWARD</a>" in browser.get(f"{PAGE}?status={status}&order=-number").text

    assert listed("new")
    did(browser, case, "ask", hospital=RENHE, days="7", reason="for your claim")
    page = browser.get(f"{place}?lang=en")
    assert "Next step Wait for the patient." in text_of(page)
    assert "can be answered until" in text_of(page)
    assert listed("asked")
    grants = [(RENHE, b"\x07" * 32)]
    monkeypatch.setattr(insurance.hospitals, "for_claim", lambda claim: grants if claim.hex() == case["digest"] else [])
    insurance.hospitals.nodes[ANXIN].permissions.round()
    page = browser.get(f"{place}?lang=en")
    assert "Next step The patient has permitted this claim" in text_of(page)
    assert f'action="{place}/judge"' in page.text.partition("What is known so far")[0]
    assert listed("permitted")


def test_a_verdict_from_before_the_permission_says_so(insurance):
    case, browser = filed(insurance, "ZZ-EARLY"), insurance.desk()
    did(browser, case, "judge")
    assert "It was made before any hospital had shown anything" in text_of(browser.get(f"{PAGE}/{case['id']}?lang=en"))
    did(browser, case, "ask", hospital=RENHE, days="7", reason="for your claim")
    assert ">ZZ-EARLY</a>" in browser.get(f"{PAGE}?status=asked&order=-number").text


def test_a_claim_that_names_no_patient_of_a_member_says_that_nobody_can_be_asked(insurance):
    client = CaseClient(insurance.hospitals.local(ANXIN))
    case = client.take(content(identifier=[{"value": "UNNAMED-1"}], patient={"display": "x"}))
    page = insurance.desk().get(f"{PAGE}/{case['id']}?lang=en")
    assert "nobody can be asked" in text_of(page)
    assert f"{PAGE}/{case['id']}/ask" not in page.text


def test_the_invoice_can_be_checked_before_the_patient_is_asked(insurance):
    case, browser = filed(insurance, row=row().to_json()), insurance.desk()
    page = browser.get(f"{PAGE}/{case['id']}?lang=en").text
    form = page.partition('action="/claims/check/one"')[2].partition("</form>")[0]
    typed = dict(re.findall(r'name="([a-z_]+)" value="([^"]*)"', form))
    assert "genuine, not claimed" in text_of(browser.post("/claims/check/one?lang=en", typed))


def test_policy_and_invoice_are_kept_with_a_case_and_judged(insurance):
    case, browser = filed(insurance, "TERMS-1"), insurance.desk()
    held = row()
    typed = {f"invoice_{name}": getattr(held, name) for name in FIELDS} | {"policy_start": "2025-12-01"}
    assert did(browser, case, "terms", **typed).headers["Location"] == f"{PAGE}/{case['id']}"
    page = browser.get(f"{PAGE}/{case['id']}?lang=en")
    assert f"Invoice {held.number} · 6 Sep 2025" in text_of(page)
    for value in ("2025-12-01", held.number, held.check_code):
        assert f'value="{value}"' in page.text
    did(browser, case, "judge")
    case = CaseClient(insurance.hospitals.local(ANXIN)).show(case["id"])
    assert (case["row"], case["policy"]) == (held.to_json(), {"end": None, "start": "2025-12-01", "waiting_days": 0})
    assert "was before the policy began" in text_of(browser.get(f"{PAGE}/{case['id']}?lang=en"))
    did(browser, case, "terms", policy_end="2025-12-31")
    assert "Policy until 31 Dec 2025 Invoice not given" in text_of(browser.get(f"{PAGE}/{case['id']}?lang=en"))
    # What is emptied is given up.
    did(browser, case, "terms")
    emptied = CaseClient(insurance.hospitals.local(ANXIN)).show(case["id"])
    assert (emptied["row"], emptied["policy"], emptied["verdict"]) == (None, None, None)


def test_an_invoice_that_is_left_as_it_was_keeps_what_the_form_does_not_show(insurance):
    held = row(amount="84.20").to_json() | {"currency": "USD"}
    case, browser = filed(insurance, "TERMS-2", row=held), insurance.desk()
    typed = {f"invoice_{name}": str(held[name]) for name in FIELDS}
    did(browser, case, "terms", policy_end="2026-01-01", **typed)
    kept = CaseClient(insurance.hospitals.local(ANXIN)).show(case["id"])
    assert (kept["row"], kept["policy"]["end"]) == (held, "2026-01-01")


def table_of(*numbers: str) -> tuple[io.BytesIO, str]:
    """A table of invoices, as a browser sends it."""
    held = row()
    rows = [f"{held.issuer},{held.code},{one},{held.date},{held.check_code}" for one in numbers]
    return io.BytesIO("\n".join(["issuer,code,number,date,check_code", *rows]).encode()), "t.csv"


def test_an_invoice_is_taken_from_a_table_the_row_that_is_said(insurance):
    case, browser = filed(insurance, "TERMS-3"), insurance.desk()
    client = CaseClient(insurance.hospitals.local(ANXIN))
    did(browser, case, "terms", invoice_table=table_of("1774778511"))
    assert client.show(case["id"])["row"]["number"] == "1774778511"
    did(browser, case, "terms", invoice_table=table_of("1", "22"), invoice_row="2")
    assert client.show(case["id"])["row"]["number"] == "22"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"policy_start": "1.3.2025"}, "The first day of the policy is not right"),
        ({"policy_end": "2025-02-30"}, "The last day of the policy is not right"),
        ({"policy_start": "2025-03-01", "policy_end": "2025-02-28"}, "before its first"),
        ({"policy_start": "2025-03-01", "policy_waiting": "3651"}, "a whole number from 0 to 3650"),
        ({"policy_start": "2025-03-01", "policy_waiting": "-1"}, "a whole number from 0 to 3650"),
        ({"policy_end": "2025-03-01", "policy_waiting": "90"}, "Waiting days run from the first day"),
        ({"invoice_issuer": "99010001"}, "not right"),
        ({"invoice_number": "1", "invoice_check_code": "abc"}, "The issuer code is not right"),
        ({"invoice_table": ("1", "2")}, "Say which row"),
        ({"invoice_table": ("1",), "invoice_row": "2"}, "Say which row"),
        ({"invoice_table": ("-",)}, "The invoice number is not right"),
        ({"invoice_table": ("1",), "invoice_number": "1"}, "not both"),
        ({"invoice_table": ()}, "There is no row"),
    ],
)
def test_what_is_wrong_with_policy_or_invoice_is_said_and_nothing_is_kept(insurance, typed, said):
    case, browser = filed(insurance, policy={"end": None, "start": "2024-03-01", "waiting_days": 90}), insurance.desk()

    def form() -> dict:
        table = {"invoice_table": table_of(*typed["invoice_table"])} if "invoice_table" in typed else {}
        return typed | table

    answer = did(browser, case, "terms", **form())
    assert answer.status_code == 400
    assert said in text_of(answer)
    assert CaseClient(insurance.hospitals.local(ANXIN)).show(case["id"]) == case
    number = next(NUMBERS)
    answer = opened(browser, content=content(identifier=[{"value": number}]).decode(), **form())
    assert answer.status_code == 400
    assert said in text_of(answer)
    assert f">{number}</a>" not in browser.get(PAGE).text
    # What was typed is there again, in the fields that it was typed into.
    assert number in answer.text
    assert all(f'value="{value}"' in answer.text for name, value in typed.items() if name != "invoice_table")


def test_a_table_without_a_column_is_told_which_by_the_name_that_its_header_needs(insurance):
    case, browser = filed(insurance), insurance.desk()

    def table() -> tuple[io.BytesIO, str]:
        return io.BytesIO(b"issuer,code,number,date\n1,2,3,4\n"), "t.csv"

    for answer in (
        did(browser, case, "terms", invoice_table=table()),
        opened(browser, content=content().decode(), invoice_table=table()),
    ):
        assert answer.status_code == 400
        assert "The table has no column check_code, or has it twice." in text_of(answer)
    place = f"{PAGE}/{case['id']}"
    answer = browser.post(f"{place}/terms?lang=zh", form_of(browser, place) | {"invoice_table": table()})
    assert "表格缺少列“校验码”，或该列重复。" in text_of(answer)


def test_a_table_that_is_too_large_is_refused(insurance, monkeypatch):
    monkeypatch.setattr(checks, "MAX_TABLE_BYTES", 50)
    answer = did(insurance.desk(), filed(insurance), "terms", invoice_table=table_of("1"))
    assert (answer.status_code, "larger than 4 MiB" in text_of(answer)) == (400, True)


def test_another_invoice_is_not_given_while_a_part_is_reserved(insurance):
    case, browser = filed(insurance, row=row().to_json()), insurance.desk()
    insurance.insurer.core.store.change_case(bytes.fromhex(case["id"]), lambda one: replace(one, status="reserved"))
    assert code_of(did(browser, case, "terms", invoice_table=table_of("22"))) == "case.reserved"


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
    # Nobody has told anything of it by now, and the verdict does not follow any more: who decides sees that first.
    changed = did(browser, case, "reserve", amount="8,000.00", days="7")
    assert (changed.status_code, code_of(changed)) == (409, "case.changed")
    assert "Something has come to light" in text_of(changed)
    assert did(browser, case, "reserve", amount="8,000.00", days="7").status_code == 303
    page = browser.get(place)
    assert "reserved 8,000.00 CNY, entry" in text_of(page)
    assert f"{PAGE}/{case['id']}/refuse" not in page.text
    assert code_of(did(browser, case, "refuse", text="no")) == "case.reserved"
    assert did(browser, case, "settle", amount="7000").status_code == 303
    said = text_of(browser.get(place))
    assert "settled 7,000.00 CNY, entry" in said
    # That it is paid in part is said at the head.
    assert "Paid 7,000.00 CNY of 8,422.80 CNY" in said
    assert said.index("Paid 7,000.00") < said.index("Verdict ✕")
    assert did(browser, case, "release").status_code == 303
    assert re.search(r"released, entry [0-9]+ of the ledger", text_of(browser.get(place)))
    for seen in ("", "-1", "x", "9" * 16):
        assert code_of(did(browser, case, "settle", amount="7000", seen=seen)) == "case.seen"
    assert code_of(did(browser, case, "settle", amount="7000", seen="1")) == "case.changed"
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
    [shown] = {one.display for one in insurance.insurer.site.accounts.accounts() if one.role is Role.DESK}
    assert text_of(page).count(f"{shown} ·") == 2
    assert "Practitioner/" not in page.text
    assert "State refused" in text_of(page)
    assert "/reserve" not in page.text
    for text in (" ", "x" * 2001):
        assert code_of(did(browser, case, "note", text=text)) == "case.note"


@pytest.mark.parametrize("is_stand_in", [False, True])
def test_what_a_service_for_e_invoices_said_stands_beside_the_verdict_with_who_said_it(insurance, case, is_stand_in):
    told = {"answer": "otherwise", "stand_in": is_stand_in, "time": insurance.federation.time}

    def change(row):
        return replace(row, document=replace(CaseContent.decode(row.document), einvoice=told).encode())

    browser = insurance.desk()
    assert "Check of the e-invoice" not in text_of(browser.get(f"{PAGE}/{case['id']}?lang=en"))
    insurance.insurer.core.store.change_case(bytes.fromhex(case["id"]), change)
    page = text_of(browser.get(f"{PAGE}/{case['id']}?lang=en"))
    assert "Check of the e-invoice (no part of the verdict)" in page
    assert "there is one, with another check code, date or amount" in page
    assert ("stand-in, not the ministry" in page) is is_stand_in


def test_the_hospital_is_asked_about_a_claim_on_the_record(insurance, case):
    browser = insurance.desk()
    answer = did(browser, case, "dispute", hospital=RENHE, days="7", text="why so late?")
    place = answer.headers["Location"]
    assert place.startswith("/claims/disputes/")
    shown = insurance.hospitals.local(RENHE).call("dispute.show", {"id": place[-32:]})
    # The hospital has told nothing for this claim: it is led to no record.
    assert (shown["claim"], shown["records"]) == (case["digest"], [])
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
    for line in shown_lines(verdict.findings, "en", str):
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


def test_what_happened_is_told_in_order_with_the_patients_answer_and_each_verdict(insurance, monkeypatch):
    case = filed(insurance)
    show, day = insurance.insurer.local.operations["case.show"], 86400
    told = {
        "asks": [{"cited": 1, "hospital": RENHE, "id": "07" * 16, "time": NOW - 9 * day}],
        "permissions": [{"custodian": RENHE, "ended": NOW - 2 * day, "position": 77, "time": NOW - 8 * day}],
        "verdicts": [
            {"colour": "red", "position": 80, "time": NOW - 7 * day},
            {"colour": "green", "position": 90, "time": NOW - 5 * day},
        ],
        "deeds": [
            {"action": "reserve", "amount": 842280, "currency": "CNY", "position": 95, "time": NOW - 4 * day},
        ],
    }
    monkeypatch.setitem(insurance.insurer.local.operations, "case.show", lambda document: {**show(document), **told})
    did(insurance.desk(), case, "dispute", hospital=RENHE, days="7", text="why so late?")
    said = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=en"))
    done = said[said.index("What was done") : said.index("Notes")]
    parts = [
        "was asked for 1 record",
        "permitted this claim, entry 77",
        "as of entry 80 of the ledger ✕ something is wrong",
        "as of entry 90 of the ledger ✓ in order",
        "reserved 8,422.80 CNY, entry 95",
        "was withdrawn, or ended",
        "why so late?",
    ]
    assert [done.count(one) for one in parts] == [1] * len(parts)
    assert sorted(parts, key=done.index) == parts


def test_claims_are_narrowed_by_hospitals_and_by_nobody_else(insurance):
    page = insurance.desk().get(PAGE).text
    offered = re.findall(r'value="([^"]+)"', page[page.index('id="hospital"') : page.index('name="order"')])
    assert RENHE in offered
    assert {one for one in offered if ROLES[one] != "hospital"} == set()


def test_in_chinese_records_are_called_as_people_call_them(insurance, case):
    said = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=zh"))
    assert "病情与诊断 d1 · 就诊 e1" in said
    assert "Condition/d1" not in said


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


def test_fault_a_claim_that_cannot_be_judged_now_says_so(insurance, monkeypatch):
    def busy(_document):
        raise UnavailableError("case.busy")

    monkeypatch.setitem(insurance.insurer.local.operations, "case.judge", busy)
    answer = did(insurance.desk(), filed(insurance), "judge")
    assert (answer.status_code, code_of(answer)) == (503, "case.busy")


@pytest.mark.parametrize(
    "deed", ["judge", "ask", "terms", "reserve", "settle", "release", "refuse", "note", "dispute", "drop"]
)
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


def test_what_a_hospital_says_of_what_the_policies_ask_is_in_words(insurance, case, monkeypatch):
    shown = insurance.insurer.local.operations["case.show"]
    said = [
        {"arguments": {"day": "2025-08-31", "years": 18}, "name": "age_at_least", "value": True},
        {"arguments": {"list": "E10-E14", "reference": "Condition/d1"}, "name": "code_in", "value": None},
        {"arguments": {"days": 3, "encounter": "Encounter/e1"}, "name": "stay_at_most", "value": False},
    ]
    monkeypatch.setitem(
        insurance.insurer.local.operations, "case.show", lambda document: shown(document) | {"stated": {RENHE: said}}
    )
    page = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=en")).partition("What the policies ask")[2][:400]
    assert re.search(r"At least 18 years old on 31 Aug 2025 ?: ?yes · renhe-hospital", page)
    assert re.search(r"A diagnosis within E10-E14 \([^)]*d1\): not said by the hospital", page)
    assert re.search(r"A stay of at most 3 days \([^)]*e1\): no", page)
    page = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=zh")).partition("保单条款的核实")[2][:400]
    assert re.search(r"年满 18 周岁： ?是", page)


def test_that_a_claim_cites_nothing_to_ask_about_is_in_words(insurance, case, monkeypatch):
    shown, operations = insurance.insurer.local.operations["case.show"], insurance.insurer.local.operations
    monkeypatch.setitem(operations, "case.show", lambda document: shown(document) | {"unasked": ["code_in"]})
    page = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=en")).partition("What the policies ask")[2][:200]
    assert "The policies ask about the diagnosis, and the claim cites none" in page
    monkeypatch.setitem(operations, "case.show", lambda document: shown(document) | {"unasked": ["stay_at_most"]})
    assert "没有引用任何就诊记录" in text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=zh"))


def test_fault_where_a_judgement_came_to_nothing_the_page_says_so(insurance, case, monkeypatch):
    shown = insurance.insurer.local.operations["case.show"]
    monkeypatch.setitem(
        insurance.insurer.local.operations, "case.show", lambda document: shown(document) | {"failed": "case.failed"}
    )
    said = text_of(insurance.desk().get(f"{PAGE}/{case['id']}?lang=en"))
    assert "nothing came of it; what stands below is from before. This node went wrong" in said


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
