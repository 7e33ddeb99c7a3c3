"""A claim is paid while the patient waits at the counter: the notice on a phone, a tap, and the money's entry."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from medchain.claims.cases import CaseClient
from medchain.claims.counter import Counter, Done, Step, Wanted
from medchain.commands.demo_story import RECIPIENT
from medchain.encoding import Json
from medchain.errors import NotFoundError
from medchain.node.clock import system_clock
from medchain.node.peers import Limits
from tests.e2e.browser import Browser, is_there
from tests.e2e.running_demo import RunningDemo
from tests.waiting import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not is_there(), reason="needs Debian's chromium and chromium-driver (`make browser`)"),
]

HOSPITAL, ISSUER = "renhe-hospital", "99010001"
FORMS = "https://medchain.example/fhir/id/"
CNY = "CNY"
TWO_MINUTES_S = 120
SLOW = Limits(timeout_s=120.0)


def ago(hours: int) -> str:
    """Write a moment of before, as FHIR does."""
    return (datetime.fromtimestamp(system_clock(), UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")


def money(value: float) -> dict[str, Json]:
    return {"currency": CNY, "value": value}


def invoice(**more: Json) -> dict[str, Json]:
    """Write the bill of the stay; as the customer has it, or with whose it is."""
    base = {"amount": money(420.5), "type": "base"}
    named = {"code": "99069926", "number": "7788990011", "check": "q7w2zt"}
    return {
        "date": ago(20),
        "identifier": [{"system": f"{FORMS}e-invoice-{part}", "value": value} for part, value in named.items()],
        "issuer": {"identifier": {"system": f"{FORMS}invoicing-party", "value": ISSUER}},
        "lineItem": [{"chargeItemCodeableConcept": {"text": "诊察费"}, "priceComponent": [base], "sequence": 1}],
        "resourceType": "Invoice",
        "status": "issued",
        "totalGross": money(420.5),
        "totalNet": money(420.5),
        **more,
    }


def visit() -> list[dict[str, Any]]:
    """Write a patient's visit: who it is, the visit, what was found, the bill."""
    about, at = (
        {"reference": "urn:uuid:00000000-0000-4000-8000-000000000001"},
        "urn:uuid:00000000-0000-4000-8000-00000000000",
    )
    doctor = {"reference": f"{at}5"}
    ambulatory = {"code": "AMB", "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"}
    coded = {"coding": [{"code": "J06.901", "system": "http://hl7.org/fhir/sid/icd-10"}], "text": "急性上呼吸道感染"}
    rows = [
        {"resourceType": "Patient", "name": [{"text": "柜台测试"}], "birthDate": "1990-01-02"},
        {
            "resourceType": "Encounter",
            "class": ambulatory,
            "participant": [{"individual": doctor}],
            "period": {"end": ago(21), "start": ago(22)},
            "status": "finished",
            "subject": about,
        },
        {
            "resourceType": "Condition",
            "code": coded,
            "encounter": {"reference": f"{at}2"},
            "recordedDate": ago(22),
            "recorder": doctor,
            "subject": about,
        },
        invoice(subject=about),
        {"resourceType": "Practitioner", "active": True, "name": [{"text": "柜台医生"}]},
    ]
    posted = {"method": "POST"}
    return [
        {"fullUrl": f"{at}{number}", "request": posted | {"url": str(row["resourceType"])}, "resource": row}
        for number, row in enumerate(rows, 1)
    ]


def claim_of(records: dict[str, str], base: str) -> bytes:
    """Write the insurer's claim on the visit, as its system would post it."""
    absolute = {kind: {"reference": f"{base}/{place}"} for kind, place in records.items()}
    fee = {"coding": [{"code": "01", "system": "https://medchain.example/fhir/CodeSystem/fee-category"}]}
    coverage = {
        "resourceType": "Coverage",
        "id": "policy",
        "beneficiary": absolute["Patient"],
        "payor": [{"display": "Anxin"}],
        "period": {"start": "2024-01-01"},
        "status": "active",
    }
    claim = {
        "resourceType": "Claim",
        "billablePeriod": {"end": ago(21), "start": ago(22)},
        "contained": [invoice(id="invoice"), coverage],
        "created": ago(1),
        "diagnosis": [{"diagnosisReference": absolute["Condition"], "sequence": 1}],
        "identifier": [{"system": "https://anxin-insurance.example/fhir/id/claim", "value": "AX-COUNTER-1"}],
        "insurance": [{"coverage": {"reference": "#policy"}, "focal": True, "sequence": 1}],
        "item": [
            {"encounter": [absolute["Encounter"]], "net": money(420.5), "productOrService": fee, "sequence": 1},
        ],
        "patient": absolute["Patient"],
        "priority": {"coding": [{"code": "normal"}]},
        "provider": {"identifier": {"system": f"{FORMS}organization", "value": HOSPITAL}},
        "status": "active",
        "supportingInfo": [
            {
                "category": {"coding": [{"code": "attachment"}]},
                "sequence": 1,
                "valueReference": {"reference": "#invoice"},
            },
            {"category": {"coding": [{"code": "attachment"}]}, "sequence": 2, "valueReference": absolute["Invoice"]},
        ],
        "total": money(420.5),
        "type": {"coding": [{"code": "institutional"}]},
        "use": "claim",
    }
    return json.dumps(claim, ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def records(demo: RunningDemo) -> dict[str, str]:
    """Store the visit at the hospital, and wait until the ledger has it."""
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": visit()}
    made = demo.post(HOSPITAL, json.dumps(bundle).encode())
    assert eventually(lambda: all(one.startswith("final") for one in demo.anchoring(HOSPITAL, made)))
    return {place.partition("/")[0]: place for place in made}


@pytest.fixture(scope="module")
def home(demo: RunningDemo) -> str:
    return demo.said["person"]["sign_in"]


@pytest.fixture(scope="module")
def phone(demo: RunningDemo, records: dict[str, str], tmp_path_factory) -> Iterator[Browser]:
    """The patient's phone, with a passkey."""
    config = demo.folder / HOSPITAL / "node.toml"
    patient = records["Patient"].partition("/")[2]
    invited = json.loads(demo.run("account", "invite", patient, "--config", config, "--json"))
    made = Browser(tmp_path_factory.mktemp("phone"), language="zh-CN")
    try:
        made.resize(390, 844)
        made.own = made.add_authenticator()
        made.open(invited["url"])
        made.click("[data-passkey=enrol] button")
        made.wait_until("您好")
        yield made
    finally:
        made.close()


def tap(phone: Browser, home: str) -> None:
    """Open what waits, allow it, and confirm: three taps and the passkey."""
    phone.open(f"{home}?lang=zh")
    phone.click("a[href^='/my/asks/']")
    assert "只为这一笔理赔，不给出任何一份完整记录" in phone.wait_until("AX-COUNTER-1，420.50 元")
    phone.click("button[name=step][value=sign]")
    phone.click("[data-passkey=sign] button")
    phone.wait_until("许可已生效，只为这一笔理赔")


def at_counter(consortium, phone: Browser, home: str, case: str) -> Done:
    """Settle a claim; while the insurer waits, the patient taps."""
    waited: list[float] = []

    def rest(seconds: float) -> None:
        if not waited:
            tap(phone, home)
        waited.append(seconds)
        time.sleep(seconds)

    return Counter(consortium.nodes[RECIPIENT].local, time.monotonic, rest).settle(case, Wanted("核对这次门诊的费用"))


def test_a_claim_is_paid_while_the_patient_is_at_the_counter(demo, consortium, phone, home, records):
    insurer = consortium.nodes[RECIPIENT].local
    cases = CaseClient(insurer)
    case = cases.take(claim_of(records, f"{demo.said['nodes'][HOSPITAL]['web']}/fhir"))
    assert (case["hospital"], case["number"], case["status"]) == (HOSPITAL, "AX-COUNTER-1", "new")
    done = at_counter(consortium, phone, home, str(case["id"]))
    assert done.case["colour"] == "green", done.case["verdict"]
    assert done.is_settled
    assert [step for step, _ in done.steps] == list(Step)
    assert done.seconds < TWO_MINUTES_S
    assert [one["action"] for one in done.case["deeds"]] == ["reserve", "settle"]
    phone.open(f"{home}/access?lang=zh")
    key = re.search(r"/my/access/([0-9a-f]{64})", phone.script("return document.querySelector('.mc-card a').href"))[1]
    assert eventually(lambda: told(phone, home, key))
    grant = insurer.call("exchange.claim", {"claim": case["digest"]}, SLOW)["grants"][0]["grant"]
    asked = {"custodian": HOSPITAL, "grant": grant, "purpose": "HPAYMT", "resource_types": ["Encounter"]}
    with pytest.raises(NotFoundError, match=r"release\.nothing"):
        insurer.call("request", asked, SLOW)
    # Paid is paid: who tries again asks, reserves and pays nothing more.
    assert at_counter(consortium, phone, home, str(case["id"])).steps == ()


def told(phone: Browser, home: str, key: str) -> bool:
    """Tell whether the page of a permission says that parts of records were told under it, and no record given."""
    phone.open(f"{home}/access/{key}?lang=zh")
    return "为理赔告知 3 条记录的部分内容" in phone.text and "条记录</p>" not in phone.text
