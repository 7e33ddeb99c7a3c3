"""The page of the duplicate check: one invoice, a table of them, its progress and its report; attacks."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from fhir_bridge.claims_desk.check import FIELDS
from medchain.claims import checks
from medchain.claims.einvoice import EInvoiceAnswer, Said
from medchain.errors import UnavailableError
from medchain.store.accounts import Role
from tests.unit.fhir_bridge.claims_desk.conftest import code_of, form_of, text_of
from tests.unit.medchain.claims.questions import CODE, row
from tests.unit.medchain.node.federation import ANXIN, RENHE

PAGE = "/claims/check"
HELD = {name: str(row().to_json()[name]) for name in FIELDS}
HEADER = "issuer,code,number,date,check_code,amount"


def asked(browser, **changes: str):
    return browser.post(f"{PAGE}/one?lang=en", form_of(browser, PAGE) | HELD | changes)


def line(**changes: str) -> str:
    return ",".join((HELD | changes).values())


def brought(browser, *lines: str, header: str = HEADER):
    table = io.BytesIO("\n".join((header, *lines)).encode())
    return browser.post(f"{PAGE}/table?lang=en", form_of(browser, PAGE) | {"table": (table, "t.csv")})


def test_an_insurers_desk_begins_at_its_pages_and_a_hospitals_at_its_disputes(insurance):
    assert insurance.desk().get("/claims").headers["Location"].startswith("/claims/c")
    assert insurance.desk("hospital").get("/claims").headers["Location"] == "/claims/disputes"


def test_an_invoice_is_checked_by_a_form(insurance):
    page = asked(insurance.desk())
    assert page.status_code == 200
    said = text_of(page)
    assert "genuine, not claimed" in said
    assert "with a verifiable random function" in said
    assert "unknown" not in said
    page = asked(insurance.desk(), amount="8000.00")
    assert "other than on the invoice: amount" in text_of(page)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"check_code": "zzzzzz"}, "the hospital has no such invoice, or the check code is wrong"),
        ({"issuer": "12345678"}, "issued by no member"),
    ],
)
def test_what_is_not_known_says_so(insurance, changes, said):
    assert said in text_of(asked(insurance.desk(), **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"date": "yesterday"}, "The date is not right"),
        ({"number": ""}, "The invoice number is not right"),
        ({"amount": "much"}, "The amount is not right"),
        ({"issuer": "x" * 80}, "too long, or not right"),
    ],
)
def test_what_cannot_be_asked_for_is_said_and_what_was_typed_stays(insurance, changes, said):
    page = asked(insurance.desk(), **changes)
    assert page.status_code == 400
    assert said in text_of(page)
    assert f'value="{HELD["code"]}"' in page.text


def test_a_table_is_worked_through_while_its_page_shows_how_far_and_its_report_has_every_row(insurance):
    browser = insurance.desk()
    place = brought(browser, line(), line(number="404"), line(issuer="12345678"), line(date="never")).headers[
        "Location"
    ]
    page = browser.get(f"{place}?lang=en")
    assert "1 of 4 done" in text_of(page)
    assert 'data-again="2"' in page.text
    assert code_of(browser.get(f"{place}/report")) == "claim.checking"
    insurance.check_all()
    page = browser.get(f"{place}?lang=en")
    assert "data-again" not in page.text
    said = text_of(page)
    for one in ("genuine, not claimed 1", "no such invoice, or the check code is wrong 1", "The date is not right"):
        assert one in said
    # What is as it should be is only counted.
    assert [f"<tr><td>{place}</td>" in page.text for place in (1, 2, 3, 4)] == [False, True, True, True]
    report = browser.get(f"{place}/report?lang=en")
    assert report.headers["Content-Disposition"].startswith('attachment; filename="claims-')
    rows = [*csv.reader(io.StringIO(report.get_data().decode("utf-8-sig")))]
    assert rows[0] == [*HEADER.split(","), "meaning", "finding", "hospital", "claim_id", "differs", "reason"]
    assert [one[7] for one in rows[1:]] == ["free", "unknown", "outside", "malformed"]
    assert rows[1][8] == RENHE
    assert place.rpartition("/")[2] in browser.get(PAGE).text


class Service:
    """Says of each invoice what its amount tells it to say."""

    def check(self, rows):
        said = {"8422.80": Said.GENUINE, "8000.00": Said.OTHERWISE, "": Said.NOT_ASKED}
        return [EInvoiceAnswer(said[row.amount], is_stand_in=True) for row in rows]


def test_what_a_service_says_of_an_electronic_invoice_stands_beside_and_is_looked_at(insurance, monkeypatch):
    node = insurance.hospitals.nodes[ANXIN]
    monkeypatch.setattr(node, "_around", replace(node._around, einvoices=Service()))  # noqa: SLF001  # as configured
    said = text_of(asked(insurance.desk()))
    assert "genuine, not claimed stand-in, not the ministry: the e-invoice is genuine" in said
    # What it says is of no colour of the ledger's, and what it doubts has a mark of its own.
    said = text_of(asked(insurance.desk(), amount="8000.00"))
    assert "! stand-in, not the ministry: there is one, with another check code, date or amount" in said
    browser = insurance.desk()
    place = brought(browser, line(), line(amount="8000.00"), line(amount="")).headers["Location"]
    insurance.check_all()
    page = browser.get(f"{place}?lang=en")
    assert [f"<tr><td>{place}</td>" in page.text for place in (1, 2, 3)] == [False, True, False]
    assert "another check code, date or amount" in text_of(page)
    report = browser.get(f"{place}/report?lang=zh").get_data().decode("utf-8-sig")
    rows = [*csv.reader(io.StringIO(report))]
    assert (rows[0][-1], rows[1][-1]) == ("einvoice", "演示替身（非财政部门）：电子票据属实")


def test_a_report_is_in_the_readers_language(insurance):
    browser = insurance.desk()
    place = brought(browser, line()).headers["Location"]
    insurance.check_all()
    assert "真实，未理赔" in browser.get(f"{place}/report?lang=zh").get_data().decode("utf-8-sig")


@pytest.mark.parametrize(
    ("header", "lines", "said"),
    [
        (HEADER, (), "There is no row"),
        (HEADER, ("a,b",), "This is no table"),
        ("issuer,code,number,date", ("1,2,3,4",), "The table has no column check_code, or has it twice"),
        (f"{HEADER},currency,currency", ("1,2,3,4,5,6,7,8",), "no column currency, or has it twice"),
    ],
)
def test_what_is_no_table_is_said(insurance, header, lines, said):
    page = brought(insurance.desk(), *lines, header=header)
    assert page.status_code == 400
    assert said in text_of(page)


def test_a_table_that_is_too_large_is_said(insurance, monkeypatch):
    monkeypatch.setattr(checks, "MAX_TABLE_BYTES", 100)
    assert "larger than 4 MiB" in text_of(brought(insurance.desk(), *[line()] * 3))


def test_a_form_without_a_table_is_said(insurance):
    browser = insurance.desk()
    assert browser.post(f"{PAGE}/table?lang=en", form_of(browser, PAGE)).status_code == 400


def test_attack_a_table_is_nobody_elses(insurance):
    browser, other = insurance.desk(), insurance.desk()
    place = brought(browser, line(number="404")).headers["Location"]
    insurance.check_all()
    for path in (place, f"{place}/report"):
        assert code_of(other.get(path)) == "claim.no_check"
    assert place not in other.get(PAGE).text
    assert code_of(browser.get(f"{PAGE}/{'0' * 32}")) == "claim.no_check"


def test_attack_what_stands_in_a_table_is_no_markup_and_no_formula(insurance):
    browser = insurance.desk()
    place = brought(browser, line(number="<b>404</b>", check_code="=1+1")).headers["Location"]
    insurance.check_all()
    assert "<b>404" not in browser.get(place).text
    assert ",'=1+1," in browser.get(f"{place}/report").text


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.ADMINISTRATOR])
def test_attack_other_roles_see_nothing(insurance, role):
    assert code_of(insurance.desk(role=role).get(PAGE)) == "session.role"


def test_attack_a_hospitals_desk_asks_for_no_invoices(insurance):
    for who in ("hospital", "regulator"):
        assert code_of(insurance.desk(who).get(PAGE)) == "claims.role"
    browser = insurance.desk("hospital")
    form = form_of(browser, "/asks") | HELD
    assert code_of(browser.post(f"{PAGE}/one", form)) == "claims.role"
    assert code_of(insurance.desk("regulator").get("/claims")) == "claims.role"


def test_an_auditor_sees_the_page_and_asks_nothing(insurance):
    auditor = insurance.desk(role=Role.AUDITOR)
    page = auditor.get(f"{PAGE}?lang=en")
    assert page.status_code == 200
    assert "<form" not in page.text.partition("<main")[2]
    form = form_of(insurance.desk(), PAGE) | HELD | {"csrf": auditor.csrf("/account")}
    assert code_of(auditor.post(f"{PAGE}/one", form)) == "session.role"


def test_attack_a_form_that_is_sent_again_asks_nothing(insurance):
    browser = insurance.desk()
    form = form_of(browser, PAGE) | HELD
    before = len(insurance.hospitals.audits[RENHE].rows)
    assert browser.post(f"{PAGE}/one", form).status_code == 200
    assert code_of(browser.post(f"{PAGE}/one", form)) == "desk.repeated"
    assert len(insurance.hospitals.audits[RENHE].rows) == before + 1


def test_who_reads_an_answer_in_another_language_begins_anew(insurance):
    for path in ("one", "table"):
        assert insurance.desk().get(f"{PAGE}/{path}?lang=zh").headers["Location"] == PAGE


def test_where_the_questions_fail_the_page_and_the_report_say_so(insurance, monkeypatch):
    browser, book = insurance.desk(), insurance.hospitals.nodes[ANXIN].checks
    place = brought(browser, line(), line(number="404")).headers["Location"]

    def failing(_rows):
        raise UnavailableError("store.io")

    monkeypatch.setattr(book, "_check", failing)
    insurance.check_all()
    assert "This ended before all was asked" in text_of(browser.get(f"{place}?lang=en"))
    assert browser.get(f"{place}/report").text.count("unreachable,") == 2


def test_what_is_asked_is_on_the_audit_without_what_was_asked(insurance):
    browser = insurance.desk()
    asked(browser)
    insurance.insurer.core.catch_up()
    found = insurance.insurer.core.store.newest_records("AuditEvent")
    texts = [insurance.insurer.core.service.open(one).content.decode() for one in found]
    assert any("claim-handled" in one for one in texts)
    assert not any(CODE in one or HELD["number"] in one for one in texts)
