"""Claims are read to the letter: amounts by their digits, days as written, and evidence only where it is evidence."""

from __future__ import annotations

import json

import pytest

from medchain.errors import InputError
from medchain.ledger.evidence.claim_reading import Cited, day_written, read_claim
from medchain.ledger.invoice import Amount


def read(**claim: object):
    return read_claim(json.dumps({"resourceType": "Claim", **claim}).encode())


def test_a_claim_says_when_it_was_made_for_what_days_and_how_much():
    content = (
        b'{"resourceType":"Claim","created":"2026-09-25","billablePeriod":{"start":"2026-08-31T08:16:00+08:00",'
        b'"end":"2026-09-06T09:42:00+08:00"},"total":{"value":8422.80,"currency":"CNY"},"item":[{"net":{"value":422.80,'
        b'"currency":"CNY"}},{"net":{"value":8000,"currency":"CNY"}}],"provider":{"identifier":{"system":'
        b'"https://medchain.example/fhir/id/organization","value":"renhe-hospital"}}}'
    )
    claim = read_claim(content)
    # 2026-09-25T23:59:59Z.
    assert claim.created == 1_790_380_799
    assert claim.services == ("2026-08-31", "2026-09-06")
    assert claim.total == Amount(842_280, "CNY")
    assert (claim.items, claim.is_whole, claim.is_unread) == (Amount(842_280, "CNY"), True, False)
    assert claim.provider == "renhe-hospital"


def test_days_of_items_count_before_the_period_of_the_whole():
    whole = {"billablePeriod": {"start": "2026-01-01", "end": "2026-12-31"}}
    items = [{"servicedDate": "2026-03-02"}, {"servicedPeriod": {"start": "2026-03-01", "end": "2026-03"}}]
    claim = read(**whole, item=items)
    assert (claim.services, claim.billed) == (("2026-03-01", "2026-03-02"), ("2026-03-01", "2026-03-02"))
    assert (read(**whole).services, read(**whole).billed) == (("2026-01-01", "2026-12-31"), ())
    assert read().services == ()


def test_evidence_is_what_stands_where_evidence_stands():
    reference = "https://renhe.example/fhir/Condition/c1/_history/2"
    claim = read(
        patient={"reference": "Patient/p1"},
        insurer={"reference": "Organization/o1"},
        supportingInfo=[{"valueReference": {"reference": "#invoice"}}, {"valueReference": {"reference": "Invoice/i1"}}],
        diagnosis=[{"diagnosisReference": {"reference": reference}}],
        procedure=[{"procedureReference": {"reference": "Procedure/p1"}}],
        item=[{"encounter": [{"reference": "Encounter/e1"}]}, {"encounter": [{"reference": "Encounter/e1"}]}],
        prescription={"reference": "urn:uuid:5d03a78f-f042-525d-a024-3fd3128ff473"},
        originalPrescription={"reference": 7},
        referral={"reference": "ServiceRequest/s1"},
    )
    assert claim.cited == (
        Cited("https://renhe.example/fhir", "Condition/c1"),
        Cited("", "Encounter/e1"),
        Cited("", "Invoice/i1"),
        Cited("", "Procedure/p1"),
        Cited("", "ServiceRequest/s1"),
    )


def test_of_an_explanation_what_was_submitted_counts():
    def total(code, value):
        return {"category": {"coding": [{"code": code}]}, "amount": {"value": value, "currency": "USD"}}

    claim = read(resourceType="ExplanationOfBenefit", total=[total("eligible", 3), total("submitted", 12.5)])
    assert claim.total == Amount(1250, "USD")


def test_items_come_to_what_those_have_that_have_an_amount():
    cny = {"value": 5, "currency": "CNY"}
    some, every = read(item=[{"net": cny}, {"sequence": 2}]), read(item=[{"net": cny}, {"net": cny}])
    assert (some.items, some.is_whole, some.is_unread, some.total) == (Amount(500, "CNY"), False, False, None)
    assert (every.items, every.is_whole, every.total) == (Amount(1000, "CNY"), True, Amount(1000, "CNY"))
    none = read(item=[{"sequence": 1}])
    assert (none.items, none.is_unread) == (None, False)


@pytest.mark.parametrize("net", [{"value": 5, "currency": "USD"}, {"value": 5}, "5", {"extension": [{"url": "x"}]}])
def test_of_items_of_which_one_cannot_be_read_or_is_of_another_currency_nothing_is_known(net):
    claim = read(item=[{"net": {"value": 5, "currency": "CNY"}}, {"sequence": 2, "net": net}])
    assert (claim.items, claim.is_unread, claim.total) == (None, True, None)


@pytest.mark.parametrize("money", [{"value": -1, "currency": "CNY"}, {"value": 1}, {"value": 1.234, "currency": "CNY"}])
def test_what_is_no_amount_is_none(money):
    assert read(total=money).total is None


def test_another_system_names_no_member():
    assert read(provider={"identifier": {"system": "urn:other", "value": "renhe-hospital"}}).provider is None


@pytest.mark.parametrize("text", [None, "", "2026", "2026-03", "2026-13-01", "yesterday of"])
def test_what_names_no_day_is_none(text):
    assert day_written(text) is None


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"resourceType":"Claim","a":1,"a":2}', b'{"a":1}'])
def test_what_is_no_claim_is_refused(content):
    with pytest.raises(InputError):
        read_claim(content)
