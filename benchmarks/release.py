"""A sealed release of 100 records to another node, with its final access entry.

    python benchmarks/release.py --records 100 --runs 30

Five daemons as in `ledger.py`. A hospital holds the records of one patient, who is enrolled with a passkey and has
signed a consent; the insurer has a grant. The insurer's node asks again and again: each time the hospital brings an
access entry to the ledger and waits until it is final, then seals; the insurer's node opens all records and compares
them with its ledger. The clock runs around the insurer's own local call.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import Consortium, commit, machine, now, wait_for  # the path first
from medchain.commands.demo_story import Phone
from medchain.encoding import Json
from medchain.node.peers import Limits
from medchain.node.records import NewRecord, RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.records import ANCHOR, RecordStore

CUSTODIAN = "renhe-hospital"
RECIPIENT = "anxin-insurance"
PURPOSE = "HPAYMT"
PATIENT = "p1"
DAY_S = 86400
ANCHOR_TIMEOUT_S = 60.0
SLOW = Limits(timeout_s=60.0, max_bytes=64 << 20)


def main() -> None:
    """Prepare, then ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}  {vars(options)}")
    with tempfile.TemporaryDirectory() as folder, Consortium(Path(folder)) as consortium:
        consortium.start()
        _store(consortium, options.records)
        grant = _agree(consortium)
        asked: Json = {
            "custodian": CUSTODIAN,
            "grant": grant,
            "purpose": PURPOSE,
            "resource_types": ["Observation"],
        }
        took = []
        before = consortium.cpu_s()
        for _ in range(options.runs + 1):
            begin = time.perf_counter()
            answer = consortium.nodes[RECIPIENT].local.call("request", asked, SLOW)
            took.append((time.perf_counter() - begin) * 1e3)
            rows = answer.get("records") if isinstance(answer, dict) else None
            if not isinstance(rows, list) or len(rows) != options.records:
                sys.exit("not all records came")
        after = consortium.cpu_s()
        cpu_ms = {org_id: (after[org_id] - before[org_id]) / len(took) * 1e3 for org_id in after}
        took = sorted(took[1:])
        print(
            f"release of {options.records} records: p50 {statistics.median(took):.1f} ms, "
            f"{took[0]:.1f}-{took[-1]:.1f}, of {len(took)}; CPU of all five {sum(cpu_ms.values()):.0f} ms each "
            f"({', '.join(f'{org_id} {spent:.0f}' for org_id, spent in cpu_ms.items())}); {machine()}"
        )


def _store(consortium: Consortium, count: int) -> None:
    """Store records as a web worker would, and wait until the daemon has anchored them."""
    node = consortium.nodes[CUSTODIAN]
    file = open_database(node.layout.records, node.web.records_database, kind=FileKind.RECORDS)
    with closing(RecordStore(file)) as kept:
        service = RecordService(kept, consortium.ledger, node.web.records, now)
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now() - DAY_S))
        template = '{"resourceType":"Observation","id":"o%d","status":"final","effectiveDateTime":"%s","note":"%s"}'
        contents = [(template % (number, made, "x" * 700)).encode() for number in range(count)]
        service.create_many(
            [NewRecord("Observation", f"o{number}", content, PATIENT) for number, content in enumerate(contents)]
        )
        wait_for(lambda: not kept.pending(1, kind=ANCHOR), "not anchored", ANCHOR_TIMEOUT_S)


def _agree(consortium: Consortium) -> str:
    """Enrol the patient, have her sign a consent, give the grant; returns its map key."""
    home = consortium.nodes[CUSTODIAN].local
    phone = Phone(consortium.folder / "phone", "http://localhost:1", "localhost")
    subject = _key(
        home.call(
            "subject.enrol",
            {
                "credentials": [phone.credential()],
                "custodians": [CUSTODIAN],
                "method": "identity-card",
                "patient": PATIENT,
            },
            SLOW,
        )
    )
    terms: Json = {
        "custodians": [CUSTODIAN],
        "fhir": {"resourceType": "Consent", "status": "active"},
        "period": {"end": now() + 30 * DAY_S, "start": now()},
        "purpose": PURPOSE,
        "recipient": RECIPIENT,
        "resource_types": ["Observation"],
        "subject": subject,
    }
    consent = _key(home.call("consent.give", phone.sign(home.call("consent.draft", terms, SLOW)), SLOW))
    return _key(home.call("grant.give", {"consent": consent}, SLOW))


def _key(answer: Json) -> str:
    """Read the map key of an object that was placed."""
    return str(answer["key"]) if isinstance(answer, dict) else ""


if __name__ == "__main__":
    main()
