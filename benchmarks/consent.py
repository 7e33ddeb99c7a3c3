"""The decision on one core: requests a second with and without receipts, and the filter of a large answer.

    python benchmarks/consent.py

The patient has 10 consents of 5 provisions each (purpose, actor, label, code, dates, named records), compiled once a
version. Half of the requests are permitted, half not; all consents apply to the patient. CPU time is counted, the best
of some rounds. The floor is what this machine does with a loop of as many set look-ups as there are rules.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import commit, machine
from consent.decision import (
    Decision,
    Directive,
    Filter,
    Request,
    Resource,
    coding_key,
    compile_consent,
    decide,
    judge,
    passes,
)
from consent.receipt import receipt
from medchain.dates import span_of

REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
LABEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ROLE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
PATIENT = "Patient/p1"
CONSENTS, RESOURCES, ROUNDS = 10, 1_000, 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=20_000)
    count = parser.parse_args().decisions
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}")
    consents = [_consent(number) for number in range(CONSENTS)]
    directives = [compile_consent(consent) for consent in consents]
    requests, records = [_request(number) for number in range(64)], [_record(number) for number in range(RESOURCES)]
    asked = list(islice(zip(cycle(requests), cycle(records), strict=False), count))

    print(f"floor: {_rate(lambda: _floor(count), count):,.0f} loops of {CONSENTS * 5} set look-ups a second")
    print(f"compiled: {_rate(lambda: [compile_consent(one) for one in consents], CONSENTS):,.0f} consents a second")
    works: list[tuple[str, Callable[[Request, Resource], object]]] = [
        ("of a request", lambda request, _: decide(request, directives)),
        (
            "of a request and a record, with the rule",
            lambda request, record: judge(decide(request, directives), record),
        ),
        ("the same with a receipt", lambda request, record: _kept(request, directives, record)),
    ]
    for name, work in works:
        print(f"decided, {name}: {_rate(partial(_each, work, asked), count):,.0f} a second")
    _filtered(requests, directives, records)


def _filtered(requests: list[Request], directives: list[Directive], records: list[Resource]) -> None:
    """Filter a large answer, for those requests whose answer depends on the record."""
    filters = [found for one in requests if isinstance(found := decide(one, directives), Filter)]
    spent = [
        1_000 / _rate(lambda found=found: [passes(found, record) for record in records], 1) for found in filters[:8]
    ]
    passed = _passing(filters[0], records)
    print(f"filter of {RESOURCES:,} records: {max(spent):.1f} ms at most, {min(spent):.1f} ms at least ({passed} pass)")


def _passing(decision: Decision, records: list[Resource]) -> int:
    """Count the records that pass."""
    return sum(passes(decision, record) for record in records)


def _each(work: Callable[[Request, Resource], object], asked: list[tuple[Request, Resource]]) -> None:
    """Do it for each, keeping nothing."""
    for request, record in asked:
        work(request, record)


def _kept(request: Request, directives: list[Directive], record: Resource) -> bytes:
    """Decide and make the receipt."""
    return receipt(judge(decide(request, directives), record), record)


def _floor(count: int) -> None:
    """Do what no evaluation of so many rules can do without."""
    purposes = [frozenset({"TREAT", "ETREAT", "BTG"})] * (CONSENTS * 5)
    for _ in range(count):
        for purpose in purposes:
            if "HPAYMT" in purpose:
                return


def _rate(work: Callable[[], object], count: int) -> float:
    """Return how many a second of CPU time, in the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return count / best


def _consent(number: int) -> dict[str, object]:
    """Write a consent: who treats may read what is normal, with four exceptions."""
    actor = [{"role": ROLE, "reference": {"reference": f"Practitioner/d{number}"}}]
    exceptions = [
        {"type": "permit", "actor": actor, "securityLabel": [{"system": LABEL, "code": "R"}]},
        {"type": "deny", "securityLabel": [{"system": CODE, "code": "PSY"}, {"system": CODE, "code": "HIV"}]},
        {"type": "deny", "dataPeriod": {"start": f"20{number:02}-01-01", "end": f"20{number:02}-03"}},
        {"type": "deny", "code": [{"coding": [{"system": "http://loinc.org", "code": f"{number}-1"}]}]},
    ]
    return {
        "resourceType": "Consent",
        "id": f"c{number}",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "patient": {"reference": PATIENT},
        "provision": {
            "type": "permit",
            "period": {"start": "2020-01-01"},
            "purpose": [{"system": REASON, "code": "TREAT"}, {"system": REASON, "code": "HPAYMT"}],
            "provision": exceptions,
        },
    }


def _request(number: int) -> Request:
    """Write a request; every second one for a purpose that no consent names."""
    now = span_of("2026-05-03T10:00:00Z")
    if now is None:
        raise SystemExit("no date")
    return Request(
        now=now.low,
        patient=PATIENT,
        actor=f"Practitioner/d{number % 20}",
        organization="Organization/o1",
        groups=frozenset({"Group/g1", f"CareTeam/t{number}"}),
        purpose="TREAT" if number % 2 else "HMARKT",
        action="access",
    )


def _record(number: int) -> Resource:
    """Write a record."""
    return Resource(
        reference=f"Observation/o{number}",
        type="Observation",
        patient=PATIENT,
        codes=frozenset({coding_key("http://loinc.org", f"{number % 50}-1")}),
        labels=frozenset(("N", "R", "N", "N PSY")[number % 4].split()),
        authors=frozenset({f"Practitioner/d{number % 7}"}),
        span=span_of(f"20{number % 26:02}-02-11"),
        related=frozenset({f"Encounter/e{number % 9}"}),
    )


if __name__ == "__main__":
    main()
