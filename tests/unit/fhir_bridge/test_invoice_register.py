"""A hospital's invoices by any of their forms (docs/spec/claim-question.md, 5, 6)."""

from __future__ import annotations

import json

import pytest

import sample_data
from fhir_bridge.invoice_register import ISSUER, REPLACED, SYSTEM, FhirInvoices
from medchain.ledger.invoice import Amount, Scope, day_of
from tests.unit.medchain.claims.questions import CODE, row


def invoice(name: str = "i1", **changes: object) -> dict:
    """An invoice as a hospital stores it, with a copy on paper."""
    forms = {
        "e-invoice-code": "99060225",
        "e-invoice-number": "1774778511",
        "e-invoice-check": "rha0jt",
        "paper-invoice-code": "123456789012",
        "paper-invoice-number": "00042a",
        "paper-invoice-check": "77",
    }
    made = {
        "resourceType": "Invoice",
        "id": name,
        "status": "issued",
        "identifier": [{"system": f"{SYSTEM}{form}", "value": value} for form, value in forms.items()],
        "date": "2025-09-06T09:42:00+08:00",
        "issuer": {"identifier": {"system": ISSUER, "value": CODE}},
        "lineItem": [
            {"sequence": 1, "chargeItemCodeableConcept": {"text": "化验费"}, "priceComponent": [price("336.00")]},
            {"sequence": 2, "chargeItemCodeableConcept": {"text": "x"}, "priceComponent": [price("1"), price("2")]},
        ],
        "totalGross": {"value": 8422.80, "currency": "CNY"},
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


def price(value: str) -> dict:
    return {"type": "base", "amount": {"value": float(value), "currency": "CNY"}}


def item(line: int, value: str) -> dict:
    return {"sequence": line, "chargeItemCodeableConcept": {"text": "x"}, "priceComponent": [price(value)]}


@pytest.fixture
def register(server):
    """The invoices of a server; gives what stores one."""
    core = server.core
    found = FhirInvoices(core.search, core.store, core.service)

    def store(**changes: object):
        made = invoice(**changes)
        answer = server.call("PUT", f"/fhir/Invoice/{made['id']}", made)
        assert answer.status_code in (200, 201), answer.data
        return found

    return store


PAPER = {"code": "123456789012", "number": "00042A"}


def test_an_invoice_is_found_by_its_electronic_form_and_by_its_copy_on_paper_as_one(register):
    invoices = register()
    found = [invoices.find(held) for held in (row(), row(**PAPER), row("00 042-a", code=PAPER["code"]))]
    assert found[0] == found[1] == found[2]
    assert found[0].invoice == row().fields
    assert (found[0].check_codes, found[0].amount) == (("RHA0JT", "77"), Amount(842280, "CNY"))
    assert found[0].is_issued


@pytest.mark.parametrize(
    "held",
    [row("1774778512"), row(code="99060125"), row(issuer="99010002"), row(code=""), row(code=PAPER["code"])],
)
def test_an_invoice_of_another_number_code_or_issuer_is_not_there(register, held):
    assert register().find(held) is None


def test_a_number_is_no_list_of_numbers(register):
    invoices = register()
    assert [invoices.find(row(number)) for number in ("1,1774778511", "1\\,1774778511")] == [None] * 2


def test_a_number_that_is_stored_with_what_stands_between_is_found_as_it_is_written(register):
    named = [
        {"system": f"{SYSTEM}e-invoice-{part}", "value": value} for part, value in (("number", "A 1-2"), ("check", "x"))
    ]
    invoices = register(identifier=named)
    assert invoices.find(row("A 1-2", code="")).invoice.number == "A12"
    assert invoices.find(row("a12", code="")) is None


def test_a_line_is_found_with_its_price_and_none_that_is_not_there_or_has_two(register):
    invoices = register()
    found = invoices.find(row(scope=Scope.ITEM, line=1))
    assert (found.invoice.scope, found.invoice.line, found.amount) == (Scope.ITEM, 1, Amount(33600, "CNY"))
    # Which lines there are says the whole, also of those that have no one price.
    assert found.lines == invoices.find(row()).lines == (1, 2)
    assert found.prices == invoices.find(row()).prices == {1: Amount(33600, "CNY")}
    assert [invoices.find(row(scope=Scope.ITEM, line=line)) for line in (2, 3)] == [None, None]


def test_a_line_whose_price_is_no_amount_hides_neither_its_invoice_nor_the_others(register):
    lines = [item(line, value) for line, value in ((1, "60"), (2, "-5"), (3, "1.005"))]
    found = register(lineItem=lines).find(row())
    assert (found.lines, found.prices) == ((1, 2, 3), {1: Amount(6000, "CNY")})


def test_of_a_price_that_two_systems_say_otherwise_the_greater_one_counts(register):
    for name, value in (("i1", "60"), ("i2", "70")):
        invoices = register(id=name, lineItem=[item(1, value)])
    assert invoices.find(row()).prices == {1: Amount(7000, "CNY")}


@pytest.mark.parametrize(("status", "is_issued"), [("cancelled", False), ("balanced", True)])
def test_a_cancelled_invoice_is_there_and_does_not_count(register, status, is_issued):
    assert register(status=status).find(row()).is_issued is is_issued


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "draft"},
        {"status": "entered-in-error"},
        {"date": None},
        {"date": "2025"},
        {"issuer": None},
        {"issuer": {"identifier": {"system": "urn:other", "value": CODE}}},
        {"identifier": [{"system": f"{SYSTEM}paper-invoice-number", "value": "1774778511"}]},
    ],
)
def test_what_is_no_invoice_that_somebody_can_claim_is_not_there(register, changes):
    assert register(**changes).find(row()) is None


def test_a_deleted_invoice_is_not_there(server, register):
    invoices = register()
    server.call("DELETE", "/fhir/Invoice/i1")
    assert invoices.find(row()) is None


def test_an_invoice_that_two_systems_have_stored_is_one_unless_they_disagree(register):
    register()
    assert register(id="i2").find(row()).invoice == row().fields
    assert register(id="i3", date="2025-09-07").find(row()) is None


def test_attack_an_invoice_that_is_there_with_two_amounts_is_not_there(register):
    register()
    assert register(id="i2", totalGross={"value": 9999, "currency": "CNY"}).find(row()) is None


def test_an_invoice_of_two_systems_counts_only_if_it_does_in_both(register):
    register()
    assert register(id="i2").find(row()).is_issued
    assert not register(id="i2", status="cancelled").find(row()).is_issued


def replaced(**parts: object) -> list[dict]:
    """The extension by which an Invoice names the one in whose place it was issued."""
    return [{"url": REPLACED, "extension": [{"url": name, **value} for name, value in parts.items()]}]


def test_an_invoice_says_in_whose_place_it_was_issued(register):
    parts = {"code": {"valueString": "99060225"}, "number": {"valueString": "1774-778510"}}
    found = register(extension=replaced(**parts, date={"valueDate": "2025-09-01"})).find(row())
    assert found.replaced == row("1774778510", date="2025-09-01").fields
    assert register(extension=None).find(row()).replaced is None


@pytest.mark.parametrize("parts", [{"number": {"valueString": "1"}}, {"date": {"valueDate": "2025-09-01"}}])
def test_an_invoice_that_does_not_say_rightly_in_whose_place_is_not_there(register, parts):
    assert register(extension=replaced(**parts)).find(row()) is None


def test_the_day_is_the_one_that_is_written(register):
    assert register(date="2025-09-05T23:30:00Z").find(row()).invoice.day == day_of("2025-09-05")


def test_without_a_total_no_amount_is_told(register):
    assert register(totalGross=None).find(row()).amount is None
    net = register(totalGross=None, totalNet={"value": 5, "currency": "CNY"})
    assert net.find(row()).amount == Amount(500, "CNY")


def test_all_invoices_of_the_sample_data_are_found(server):
    core, held = server.core, []
    for _, bundle in sample_data.load():
        for entry in bundle["entry"]:
            found = entry["resource"]
            if found["resourceType"] != "Invoice" or len(held) == 20:
                continue
            told = {one["system"].removeprefix(SYSTEM): one["value"] for one in found["identifier"]}
            name = f"sample-{len(held)}"
            plain, issuer = {"subject", "recipient", "account"}, {"identifier": found["issuer"]["identifier"]}
            stored = {key: value for key, value in found.items() if key not in plain} | {"id": name, "issuer": issuer}
            answer = server.call("PUT", f"/fhir/Invoice/{name}", json.loads(sample_data.dump(stored)))
            assert answer.status_code == 201, answer.data
            held.append(
                row(
                    told["e-invoice-number"],
                    code=told["e-invoice-code"],
                    issuer=found["issuer"]["identifier"]["value"],
                    date=found["date"][:10],
                    check_code=told["e-invoice-check"],
                    amount=str(found["totalGross"]["value"]),
                )
            )
    register = FhirInvoices(core.search, core.store, core.service)
    for one in held:
        issued = register.find(one)
        assert (issued.invoice, issued.amount) == (one.fields, one.money)
