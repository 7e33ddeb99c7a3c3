"""A sealed release of 100 records to another node; a revocation, until all refuse; an emergency, until it is told of.

    python benchmarks/release.py --records 100 --runs 30 --revocations 100 --emergencies 100

Five daemons as in `ledger.py`. A hospital holds the records of one patient, who is enrolled with a passkey and has
signed a consent; the insurer has a grant. The insurer's node asks again and again: each time the hospital brings an
access entry to the ledger and waits until it is final, then seals; the insurer's node opens all records and compares
them with its ledger. The clock runs around the insurer's own local call.

A revocation is a withdrawal that the patient's passkey signed. The clock runs from the call that submits it until each
of the five nodes says, asked without rest, that the consent is stopped, by its own ledger or by what it heard; then the
insurer asks for records, which must be refused. Each revocation is of a consent and a grant of its own.

An emergency is declared as a web worker of the hospital does it. The clock runs from that call until the hospital's
node, asked without rest, lists the patient's notice, and until the regulator's own node, asked likewise, shows the
emergency as final on its ledger.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import Consortium, Node, commit, machine, now, wait_for  # the path first
from medchain.commands.demo_story import Phone
from medchain.encoding import Json
from medchain.errors import NotFoundError
from medchain.ledger.object import map_key
from medchain.node.emergency import EMERGENCY, PERIOD_S, EmergencyDesk
from medchain.node.local import LocalClient
from medchain.node.peers import Limits
from medchain.node.records import NewRecord, RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.outbox import ANCHOR
from medchain.store.records import RecordStore

CUSTODIAN = "renhe-hospital"
RECIPIENT = "anxin-insurance"
REGULATOR = "health-commission"
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
    parser.add_argument("--emergencies", type=int, default=100)
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
        _break_glass(consortium, patient, options.emergencies)


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
            asked: Json = {"object": consent}
            watched = [
                watchers.submit(_until, node, "object", asked, lambda answer: bool(answer["stopped"]))
                for node in consortium.nodes.values()
            ]
            home.call("withdrawal.give", signed, SLOW)
            took.append((max(one.result() for one in watched) - begin) * 1e3)
            try:
                insurer.call("request", _wish(grant), SLOW)
            except NotFoundError:
                continue
            sys.exit("a record left after the withdrawal")
    _tell(f"revocation until all {len(consortium.nodes)} nodes refuse", took)


def _break_glass(consortium: Consortium, patient: Patient, count: int) -> None:
    """Declare emergencies, each until the patient and the regulator are told."""
    # Each is a warning in the log of who declares it: here this process.
    logging.disable(logging.WARNING)
    asked: Json = {"patient": PATIENT, "subjects": [patient.subject]}
    told, overseen = [], []
    with _records(consortium) as (kept, service), ThreadPoolExecutor(2) as watchers:
        desk = EmergencyDesk(CUSTODIAN, kept, service, now, secrets.token_bytes)
        for number in range(count):
            # The daemon looks every half second: emergencies come at any moment between two looks.
            time.sleep(PERIOD_S * (number % 10) / 10)
            begin = time.perf_counter()
            # Who has declared one already would be given that.
            declared = desk.declare(PATIENT, f"Practitioner/d{number}", "found unconscious")
            key = map_key(EMERGENCY, CUSTODIAN, declared.object_id).hex()
            notice = watchers.submit(_until, consortium.nodes[CUSTODIAN], "notices.list", asked, partial(_has, key))
            shown = watchers.submit(_until, consortium.nodes[REGULATOR], "emergency.list", {}, partial(_shows, key))
            told.append((notice.result() - begin) * 1e3)
            overseen.append((shown.result() - begin) * 1e3)
    _tell("emergency until the patient's notice is there", told)
    _tell("emergency until the regulator's node shows it as final", overseen)


def _has(key: str, answer: dict[str, Json]) -> bool:
    """Tell whether an emergency is among notices."""
    rows = answer["notices"]
    return isinstance(rows, list) and any(isinstance(row, dict) and row["object"] == key for row in rows)


def _shows(key: str, answer: dict[str, Json]) -> bool:
    """Tell whether an emergency is among those that a node shows, and final."""
    rows = answer["emergencies"]
    return isinstance(rows, list) and any(
        isinstance(row, dict) and row["key"] == key and row["final"] is True for row in rows
    )


def _tell(what: str, took: list[float]) -> None:
    """Print how long something took, in milliseconds."""
    if took:
        took.sort()
        p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
        print(
            f"{what}: p50 {statistics.median(took):.1f} ms, p99 {p99:.1f} ms, longest {took[-1]:.1f}, "
            f"of {len(took)}; {machine()}"
        )


def _until(node: Node, operation: str, asked: Json, holds: Callable[[dict[str, Json]], bool]) -> float:
    """Ask a node until its answer is so; returns when it was."""
    with closing(LocalClient(node.layout.folder)) as local:
        while True:
            answer = local.call(operation, asked, SLOW)
            if isinstance(answer, dict) and holds(answer):
                return time.perf_counter()


@contextmanager
def _records(consortium: Consortium) -> Iterator[tuple[RecordStore, RecordService]]:
    """Open the hospital's records as a web worker does."""
    node = consortium.nodes[CUSTODIAN]
    file = open_database(node.layout.records, node.web.records_database, kind=FileKind.RECORDS)
    with closing(RecordStore(file)) as kept:
        yield kept, RecordService(kept, consortium.ledger, node.web.records, now)


def _store(consortium: Consortium, count: int) -> None:
    """Store records as a web worker would, and wait until the daemon has anchored them."""
    with _records(consortium) as (kept, service):
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
