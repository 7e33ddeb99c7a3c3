"""The verdict of a claim over five nodes: the first time, when hospitals are asked, and again, from what is kept.

    python benchmarks/case.py --records 50 --runs 20

Five daemons as in `ledger.py`. A hospital holds the records of a stay, one patient's, who is enrolled with a passkey
and has signed a consent; the insurer has a grant, and a claim that cites all of them, with its invoice. *First*: each
time another claim, so that the hospital is asked for the claim id, brings an access entry to the ledger, waits until it
is final, and discloses; the insurer makes the evidence and judges it. *Again*: the same claim is judged anew from the
answers that are kept, with all proofs made anew. The clock runs around the insurer's own local call.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import Consortium, commit, machine, now, wait_for  # the path first
from fhir_bridge.invoice_register import ISSUER, SYSTEM
from fhir_bridge.search.index import SearchIndex
from medchain.claims.cases import Case, CaseClient
from medchain.commands.demo_story import Phone
from medchain.encoding import Json, as_object, as_objects
from medchain.node.peers import Limits
from medchain.node.records import NewRecord, RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.outbox import ANCHOR
from medchain.store.records import RecordStore

HOSPITAL = "renhe-hospital"
INSURER = "anxin-insurance"
CODE = "99010001"
PATIENT = "p1"
DAY_S = 86400
ORGANISATION = "https://medchain.example/fhir/id/organization"
TYPES = ("Condition", "DiagnosticReport", "Procedure")
TOTAL = {"value": 8422.8, "currency": "CNY"}
SLOW = Limits(timeout_s=60.0, max_bytes=64 << 20)
POLICY: Json = {"end": None, "start": "2024-03-01", "waiting_days": 90}


def main() -> None:
    """Prepare, then judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=50)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}  {vars(options)}")
    issuers = {HOSPITAL: CODE}
    with tempfile.TemporaryDirectory() as folder, Consortium(Path(folder), issuers=issuers) as consortium:
        consortium.start()
        resources = _stay(options.records)
        _store(consortium, resources)
        _permit(consortium)
        cited = [f"{one['resourceType']}/{one['id']}" for one in resources]
        cases = CaseClient(consortium.nodes[INSURER].local)
        first = []
        before = consortium.cpu_s()
        for number in range(options.runs + 1):
            case_id = str(cases.take(_claim(number, cited), {"policy": POLICY, "row": _row()})["id"])
            first.append(_judged(cases, case_id))
        between = consortium.cpu_s()
        again = [_judged(cases, case_id) for _ in range(options.runs + 1)]
        after = consortium.cpu_s()
        size = len(cases.bundle(case_id))
        asked = {org_id: (between[org_id] - before[org_id]) / len(first) * 1e3 for org_id in after}
        kept = (after[INSURER] - between[INSURER]) / len(again) * 1e3
        _tell(f"verdict of a claim that cites {len(cited)} records, all asked", first[1:])
        print(f"  CPU ms each: {', '.join(f'{org_id} {spent:.0f}' for org_id, spent in asked.items())}")
        _tell("the same again, from what was answered", again[1:])
        print(f"  CPU of the insurer {kept:.0f} ms each; bundle {size / 1000:.0f} kB zipped")


def _judged(cases: CaseClient, case_id: str) -> float:
    """Have a case judged; returns how long it took, in milliseconds."""
    begin = time.perf_counter()
    case = cases.judge(case_id)
    took = (time.perf_counter() - begin) * 1e3
    _check(case)
    return took


def _check(case: Case) -> None:
    """See that all was told, and nothing is red."""
    lines = as_objects(as_object(case["verdict"])["lines"])
    red = [one for one in lines if one["colour"] == "red"]
    if case["failures"] or red:
        sys.exit(f"not as it should be: {case['failures']} {red}")


def _tell(what: str, took: list[float]) -> None:
    """Print how long something took."""
    took.sort()
    print(f"{what}: p50 {statistics.median(took):.0f} ms, {took[0]:.0f}-{took[-1]:.0f}, of {len(took)}; {machine()}")


def _day(days: int, clock: str = "") -> str:
    """Write a day, so many before now."""
    return time.strftime(f"%Y-%m-%d{clock}", time.gmtime(now() - days * DAY_S))


def _stay(count: int) -> list[dict[str, Json]]:
    """Write the records of a stay: an encounter, an invoice, and what was found and done."""
    about: Json = {"reference": f"Patient/{PATIENT}"}
    at = _day(2, "T10:00:00Z")
    encounter: dict[str, Json] = {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": about,
        "period": {"start": _day(3, "T08:00:00Z"), "end": _day(1, "T09:00:00Z")},
    }
    forms = {"code": "99060225", "number": "1774778511", "check": "RHA0JT"}
    invoice: dict[str, Json] = {
        "resourceType": "Invoice",
        "id": "i1",
        "status": "issued",
        "identifier": [{"system": f"{SYSTEM}e-invoice-{form}", "value": value} for form, value in forms.items()],
        "date": _day(1),
        "subject": about,
        "issuer": {"identifier": {"system": ISSUER, "value": CODE}},
        "totalGross": dict(TOTAL),  # type: ignore[arg-type]  # a number of FHIR's, not of ours
    }
    more: list[dict[str, Json]] = []
    for number in range(count - 2):
        name = TYPES[number % len(TYPES)]
        when = {
            "Condition": {"recordedDate": at},
            "DiagnosticReport": {"effectiveDateTime": at, "status": "final"},
            "Procedure": {"performedDateTime": at, "status": "completed"},
        }[name]
        row: dict[str, Json] = {
            "resourceType": name,
            "id": f"r{number}",
            "subject": about,
            "encounter": {"reference": "Encounter/e1"},
            "code": {"text": "x" * 200},
            **when,
        }
        more.append(row)
    return [encounter, invoice, *more]


def _claim(number: int, cited: list[str]) -> bytes:
    """Write a claim on the stay."""
    claim = {
        "resourceType": "Claim",
        "id": f"c{number}",
        "identifier": [{"value": f"AX{number:06}"}],
        "patient": {"reference": f"Patient/{PATIENT}"},
        "provider": {"identifier": {"system": ORGANISATION, "value": HOSPITAL}},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "supportingInfo": [{"valueReference": {"reference": one}} for one in cited if not one.startswith("Encounter")],
        "item": [{"sequence": 1, "net": TOTAL, "encounter": [{"reference": "Encounter/e1"}]}],
        "total": TOTAL,
    }
    return json.dumps(claim).encode()


def _row() -> Json:
    """Write what the insurer holds of the invoice."""
    return {
        "amount": "8422.80",
        "check_code": "RHA0JT",
        "code": "99060225",
        "currency": "CNY",
        "date": _day(1),
        "issuer": CODE,
        "line": 0,
        "number": "1774778511",
        "scope": "invoice",
    }


def _store(consortium: Consortium, resources: list[dict[str, Json]]) -> None:
    """Store the records as a web worker would, and wait until the daemon has anchored them."""
    node = consortium.nodes[HOSPITAL]
    file = open_database(node.layout.records, node.web.records_database, kind=FileKind.RECORDS)
    with closing(RecordStore(file)) as kept:
        index = SearchIndex(kept)
        service = RecordService(kept, consortium.ledger, node.web.records, now, index=index)
        rows = [
            NewRecord(str(one["resourceType"]), str(one["id"]), json.dumps(one).encode(), PATIENT) for one in resources
        ]
        service.create_many(rows)
        wait_for(lambda: not kept.pending(1, kind=ANCHOR), "not anchored", 60.0)


def _permit(consortium: Consortium) -> None:
    """Enrol the patient with a passkey, have her sign a consent, and give a grant."""
    home = consortium.nodes[HOSPITAL].local
    phone = Phone(consortium.folder / "phone", "http://localhost:1", "localhost")
    wish: Json = {
        "credentials": [phone.credential()],
        "custodians": [HOSPITAL],
        "method": "identity-card",
        "patient": PATIENT,
    }
    enrolled = home.call("subject.enrol", wish, SLOW)
    terms: Json = {
        "custodians": [HOSPITAL],
        "fhir": {"resourceType": "Consent", "status": "active"},
        "period": {"end": now() + 30 * DAY_S, "start": now()},
        "purpose": "HPAYMT",
        "recipient": INSURER,
        "resource_types": sorted({*TYPES, "Encounter", "Invoice"}),
        "subject": as_object(enrolled)["key"],
    }
    consent = as_object(home.call("consent.give", phone.sign(home.call("consent.draft", terms, SLOW)), SLOW))["key"]
    home.call("grant.give", {"consent": consent}, SLOW)


if __name__ == "__main__":
    main()
