"""A sealed release of 100 records to another node, with its final access entry; and a revocation, until all refuse.

    python benchmarks/release.py --records 100 --runs 30 --revocations 100

Five daemons as in `ledger.py`. A hospital holds the records of one patient, who is enrolled with a passkey and has
signed a consent; the insurer has a grant. The insurer's node asks again and again: each time the hospital brings an
access entry to the ledger and waits until it is final, then seals; the insurer's node opens all records and compares
them with its ledger. The clock runs around the insurer's own local call.

A revocation is a withdrawal that the patient's passkey signed. The clock runs from the call that submits it until each
of the five nodes says, asked without rest, that the consent is stopped, by its own ledger or by what it heard; then the
insurer asks for records, which must be refused. Each revocation is of a consent and a grant of its own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import Consortium, Node, commit, machine, now, wait_for  # the path first
from medchain.commands.demo_story import Phone
from medchain.encoding import Json
from medchain.errors import NotFoundError
from medchain.node.local import LocalClient
from medchain.node.peers import Limits
from medchain.node.records import NewRecord, RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.outbox import ANCHOR
from medchain.store.records import RecordStore

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
    parser.add_argument("--revocations", type=int, default=100)
    options = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}  {vars(options)}")
    with tempfile.TemporaryDirectory() as folder, Consortium(Path(folder)) as consortium:
        consortium.start()
        _store(consortium, options.records)
        patient = _enrol(consortium)
        _, grant = patient.agree()
        asked = _wish(grant)
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
        _revoke(consortium, patient, options.revocations)


def _wish(grant: str) -> Json:
    """Write what the insurer asks for."""
    return {"custodian": CUSTODIAN, "grant": grant, "purpose": PURPOSE, "resource_types": ["Observation"]}


def _revoke(consortium: Consortium, patient: Patient, count: int) -> None:
    """Withdraw consents, each until every node refuses."""
    home, insurer = consortium.nodes[CUSTODIAN].local, consortium.nodes[RECIPIENT].local
    took = []
    with ThreadPoolExecutor(len(consortium.nodes)) as watchers:
        for _ in range(count):
            consent, grant = patient.agree()
            signed = patient.phone.sign(home.call("withdrawal.draft", {"consent": consent}, SLOW))
            begin = time.perf_counter()
            watched = [watchers.submit(_until_stopped, node, consent) for node in consortium.nodes.values()]
            home.call("withdrawal.give", signed, SLOW)
            took.append((max(one.result() for one in watched) - begin) * 1e3)
            try:
                insurer.call("request", _wish(grant), SLOW)
            except NotFoundError:
                continue
            sys.exit("a record left after the withdrawal")
    if took:
        took.sort()
        p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
        print(
            f"revocation until all {len(consortium.nodes)} nodes refuse: p50 {statistics.median(took):.1f} ms, "
            f"p99 {p99:.1f} ms, longest {took[-1]:.1f}, of {len(took)}; {machine()}"
        )


def _until_stopped(node: Node, consent: str) -> float:
    """Ask a node until it says that a consent is stopped; returns when it did."""
    with closing(LocalClient(node.layout.folder)) as local:
        while True:
            answer = local.call("object", {"object": consent}, SLOW)
            if isinstance(answer, dict) and answer["stopped"]:
                return time.perf_counter()


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


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient with a passkey, enrolled at the hospital."""

    home: LocalClient
    phone: Phone
    subject: str

    def agree(self) -> tuple[str, str]:
        """Have her sign a consent, and give a grant; returns their map keys."""
        terms: Json = {
            "custodians": [CUSTODIAN],
            "fhir": {"resourceType": "Consent", "status": "active"},
            "period": {"end": now() + 30 * DAY_S, "start": now()},
            "purpose": PURPOSE,
            "recipient": RECIPIENT,
            "resource_types": ["Observation"],
            "subject": self.subject,
        }
        draft = self.home.call("consent.draft", terms, SLOW)
        consent = _key(self.home.call("consent.give", self.phone.sign(draft), SLOW))
        return consent, _key(self.home.call("grant.give", {"consent": consent}, SLOW))


def _enrol(consortium: Consortium) -> Patient:
    """Enrol the patient."""
    home = consortium.nodes[CUSTODIAN].local
    phone = Phone(consortium.folder / "phone", "http://localhost:1", "localhost")
    wish: Json = {
        "credentials": [phone.credential()],
        "custodians": [CUSTODIAN],
        "method": "identity-card",
        "patient": PATIENT,
    }
    return Patient(home, phone, _key(home.call("subject.enrol", wish, SLOW)))


def _key(answer: Json) -> str:
    """Read the map key of an object that was placed."""
    return str(answer["key"]) if isinstance(answer, dict) else ""


if __name__ == "__main__":
    main()
