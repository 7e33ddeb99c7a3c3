"""Claims among a node's records, and the invoice and policy beside them (docs/spec/claim-case.md, 2)."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.claim_shelf import WAITING, FhirClaims
from medchain.claims.case_ports import Beside
from medchain.claims.claim_file import read_claim
from medchain.errors import NotFoundError
from medchain.ledger.evidence.document import InsurancePolicy
from medchain.ledger.invoice import Amount
from tests.unit.fhir_bridge.test_invoice_register import PAPER, invoice
from tests.unit.medchain.claims.filed import SYSTEM, claim
from tests.unit.medchain.claims.questions import members, row
from tests.unit.medchain.ledger.world import TONGJI

PERIOD = {"start": "2024-03-01", "end": "2027-02-28T23:59:59+08:00"}


def coverage(**changes: object) -> dict:
    made = {
        "resourceType": "Coverage",
        "id": "v1",
        "status": "active",
        "beneficiary": {"reference": "Patient/p17"},
        "payor": [{"display": "安心健康保险"}],
        "period": PERIOD,
    }
    return made | changes


@pytest.fixture
def shelf(server):
    """What finds the claims of a server; gives it and what stores a resource."""
    core = server.core

    def store(*resources: dict) -> FhirClaims:
        for one in resources:
            answer = server.call("PUT", f"/fhir/{one['resourceType']}/{one['id']}", one)
            assert answer.status_code in (200, 201), answer.data
        return FhirClaims(core.store, core.service)

    return store


def beside(claims: FhirClaims, resource: dict, *, is_stored: bool = True) -> Beside:
    return claims.beside(read_claim(json.dumps(resource).encode(), members()), is_stored=is_stored)


def test_a_stored_claim_is_given_to_the_letter_with_its_patients_token(server, shelf):
    claims = shelf(claim())
    found = claims.stored("Claim/c1")
    assert found.content == server.call("GET", "/fhir/Claim/c1").data
    assert found.patient == server.core.service.patient_token("p17")


@pytest.mark.parametrize("reference", ["Claim/c2", "Coverage/v1", "Claim/c1/x", "", "claim/c1"])
def test_what_is_no_claim_here_is_not_there(shelf, reference):
    with pytest.raises(NotFoundError, match=r"record\.unknown"):
        shelf(claim(), coverage()).stored(reference)


def test_a_deleted_claim_is_not_there(server, shelf):
    claims = shelf(claim())
    assert server.call("DELETE", "/fhir/Claim/c1").status_code in (200, 204)
    with pytest.raises(NotFoundError):
        claims.stored("Claim/c1")


def test_a_stored_claim_finds_its_policy_invoice_and_hospital_here(shelf):
    organisation = {
        "resourceType": "Organization",
        "id": "o1",
        "name": "同济医院",
        "identifier": [{"system": SYSTEM, "value": TONGJI}],
    }
    made = claim(provider={"reference": "Organization/o1"})
    found = beside(shelf(coverage(), invoice(), organisation), made)
    assert (found.hospital, found.policy) == (TONGJI, InsurancePolicy("2024-03-01", "2027-02-28", 0))
    assert found.row.fields == row().fields
    assert (found.row.check_code, found.row.money) == ("rha0jt", Amount(842280, "CNY"))


def test_a_stored_claim_finds_who_its_patient_is_at_hospitals(shelf):
    reference = f"https://{TONGJI}.example/fhir/Patient/b"
    patient = {
        "resourceType": "Patient",
        "id": "p17",
        "link": [{"other": {"reference": reference}, "type": "seealso"}],
    }
    assert beside(shelf(patient), claim()).patients == (reference,)
    assert beside(shelf(patient), claim(), is_stored=False).patients == ()


def test_relative_references_of_a_claim_from_elsewhere_are_not_followed_here(shelf):
    found = beside(shelf(coverage(), invoice()), claim(), is_stored=False)
    assert found == Beside()


def test_what_a_claim_contains_is_found_wherever_it_came_from(shelf):
    inside = [coverage(extension=[{"url": WAITING, "valueUnsignedInt": 90}]), invoice()]
    made = claim(contained=inside, insurance=[{"sequence": 1, "focal": True, "coverage": {"reference": "#v1"}}])
    found = beside(shelf(), made, is_stored=False)
    assert (found.policy, found.row.fields) == (InsurancePolicy("2024-03-01", "2027-02-28", 90), row().fields)


def test_of_an_invoice_without_an_electronic_form_the_copy_on_paper_is_held(shelf):
    forms = [one for one in invoice()["identifier"] if "paper" in one["system"]]
    found = beside(shelf(invoice(identifier=forms)), claim())
    assert found.row.fields == row(**PAPER).fields
    assert found.row.check_code == "77"


def test_of_two_invoices_none_is_the_one_that_is_meant(shelf):
    other = [
        {**one, "value": "1774778512"} if one["system"].endswith("e-invoice-number") else one
        for one in invoice()["identifier"]
    ]
    info = [{"valueReference": {"reference": f"Invoice/{name}"}} for name in ("i1", "i2")]
    assert beside(shelf(invoice(), invoice("i2", identifier=other)), claim(supportingInfo=info)).row is None


@pytest.mark.parametrize("changes", [{"identifier": None}, {"issuer": None}, {"date": None}])
def test_an_invoice_that_names_itself_unreadably_is_none(shelf, changes):
    assert beside(shelf(invoice(**changes)), claim()).row is None


@pytest.mark.parametrize("period", [{"start": "2024-03"}, {"end": "2024"}])
def test_a_policy_whose_days_are_not_known_is_none(shelf, period):
    assert beside(shelf(coverage(period=period)), claim()).policy is None
