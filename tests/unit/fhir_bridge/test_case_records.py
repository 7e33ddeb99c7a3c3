"""What came of a claim as ClaimResponse, an ask for evidence as Task (docs/spec/claim-case.md, 9)."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.case_records import POSITION, CaseRecords
from fhir_bridge.document import parse
from fhir_bridge.validation.check import check
from medchain.node.records import NewRecord
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.office import GIVEN, Office
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("case-records")) as made:
        made.federation.time = NOW
        yield Office(made)


@pytest.fixture
def office(opened):
    opened.anew()
    return opened


class Desk:
    """An insurer's node with a claim of a customer of its own."""

    def __init__(self, office: Office) -> None:
        """Store the customer and the claim, and open its case."""
        self.office = office
        self.site = office.hospitals.federation.sites[ANXIN]
        self.cases = office.cases()
        self.job = CaseRecords(ANXIN, self.site.records, self.site.service, office.hospitals.federation.clock)
        name = f"own-{office.number}"
        links = [
            {"other": {"reference": f"https://{RENHE}.example/fhir/Patient/{office.stay.local}"}, "type": "seealso"}
        ]
        self.store("Patient", {"resourceType": "Patient", "id": name, "link": links}, name)
        kind = {"type": {"coding": [{"code": "institutional"}]}, "use": "claim"}
        claim = json.loads(office.claim(patient={"reference": f"Patient/{name}"}, **kind))
        self.claim = f"Claim/{claim['id']}"
        self.store("Claim", claim, name)
        self.case = self.cases.open(self.claim, GIVEN)

    def store(self, type_name: str, resource: dict, patient: str) -> None:
        self.site.service.create(NewRecord(type_name, resource["id"], json.dumps(resource).encode(), patient))

    def told(self, type_name: str, name: str):
        """Let the job work; returns version and content of a resource, None for none."""
        self.job.round()
        stored = self.site.records.get(type_name, name)
        if stored is None:
            return None
        content = self.site.service.open(stored).content
        assert check(parse(content)) == []
        assert stored.patient == self.site.records.get("Claim", self.claim.partition("/")[2]).patient
        return stored.version, json.loads(content)


def test_before_a_claim_is_judged_there_is_no_response(office):
    desk = Desk(office)
    assert desk.told("ClaimResponse", desk.case["id"]) is None


def test_a_judged_claim_has_a_response_that_says_so_once(office):
    desk = Desk(office)
    case = desk.cases.judge(desk.case["id"])
    version, response = desk.told("ClaimResponse", case["id"])
    assert (version, response["outcome"], response["disposition"]) == (1, "partial", f"{case['colour']}; judged")
    assert (response["request"], response["use"]) == ({"reference": desk.claim}, "claim")
    assert response["patient"]["reference"].startswith("Patient/own-")
    [total] = response["total"]
    assert total["amount"] == {"value": 4200.5, "currency": "CNY"}
    desk.cases.note(case["id"], "王晓梅", "电话核实")
    assert desk.told("ClaimResponse", case["id"])[0] == 1


def test_what_is_reserved_and_paid_is_told_with_the_ledgers_positions(office):
    desk = Desk(office)
    case = desk.cases.judge(desk.case["id"])
    desk.told("ClaimResponse", case["id"])
    desk.cases.reserve(case["id"], "4000.00")
    version, reserved = desk.told("ClaimResponse", case["id"])
    assert (version, reserved["outcome"], "payment" in reserved) == (2, "partial", False)
    settled_case = desk.cases.settle(case["id"], "3999.99")
    version, settled = desk.told("ClaimResponse", case["id"])
    assert (version, settled["outcome"]) == (3, "complete")
    assert settled["payment"]["amount"] == {"value": 3999.99, "currency": "CNY"}
    positions = [one["value"] for one in settled["identifier"] if one["system"] == POSITION]
    assert positions == [str(one["position"]) for one in settled_case["deeds"]]
    desk.cases.delete(case["id"])


def test_an_open_dispute_is_told_and_so_is_its_end(office):
    desk = Desk(office)
    case = desk.cases.judge(desk.case["id"])
    assert desk.told("ClaimResponse", case["id"])[1]["disposition"] == f"{case['colour']}; judged"
    local = office.hospitals.local(ANXIN)
    about = {"by": "Practitioner/w1", "claim": case["digest"], "days": 7, "hospital": RENHE}
    dispute = local.call("dispute.open", about | {"text": "why?"})["id"]
    version, response = desk.told("ClaimResponse", case["id"])
    assert (version, response["disposition"]) == (2, f"{case['colour']}; judged; disputed")
    step = {"by": "Practitioner/w1", "days": 0, "id": dispute, "step": "close", "text": ""}
    local.call("dispute.step", step)
    version, response = desk.told("ClaimResponse", case["id"])
    assert (version, response["disposition"]) == (3, f"{case['colour']}; judged")


def test_an_ask_for_evidence_is_a_task_that_is_done_when_the_hospital_has_told(office):
    desk = Desk(office)
    desk.cases.ask(desk.case["id"], 30, "核对")
    _, task = desk.told("Task", "07" * 16)
    assert (task["status"], task["focus"]["reference"]) == ("requested", desk.claim)
    assert task["owner"]["identifier"]["value"] == RENHE
    desk.cases.judge(desk.case["id"])
    version, done = desk.told("Task", "07" * 16)
    assert (version, done["status"]) == (2, "completed")


def test_an_ask_after_a_verdict_is_told_as_well(office):
    desk = Desk(office)
    case = desk.cases.judge(desk.case["id"])
    desk.told("ClaimResponse", case["id"])
    desk.cases.ask(case["id"], 30, "核对")
    version, response = desk.told("ClaimResponse", case["id"])
    assert (version, response["disposition"]) == (2, f"{case['colour']}; asked")


def test_of_a_claim_that_is_no_record_here_nothing_is_written(office):
    desk = Desk(office)
    case = desk.cases.judge(desk.cases.take(office.claim(), GIVEN)["id"])
    assert desk.told("ClaimResponse", case["id"]) is None
    assert desk.site.records.unrecorded_cases(10) == []


def test_what_a_crash_has_left_unnoted_is_not_written_twice(office):
    desk = Desk(office)
    case = desk.cases.judge(desk.case["id"])
    desk.told("ClaimResponse", case["id"])
    again = CaseRecords(ANXIN, desk.site.records, desk.site.service, office.hospitals.federation.clock)
    desk.site.records.change_case(bytes.fromhex(case["id"]), lambda row: row)
    again.round()
    assert desk.told("ClaimResponse", case["id"])[0] == 1
