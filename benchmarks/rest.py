"""What a request to the REST server costs, in-process: microseconds of CPU of read, write, search page and transaction.

    python benchmarks/rest.py [--count N]

Everything but the web server and the token's signature (checked once in a while, not each time) is in it: WSGI front,
gate, index, sealing, synced commits, audit journal. Wall time depends on the disk and on what else runs; CPU does less.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fhir_bridge.audit import JournalAudit
from fhir_bridge.rest.ask import Ask
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.front import Front
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.service import SearchService
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import parse_scopes
from medchain.node.clock import system_clock
from medchain.node.records import RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "category": [
        {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                    "code": "vital-signs",
                    "display": "vital-signs",
                }
            ]
        }
    ],
    "code": {
        "coding": [{"system": "http://loinc.org", "code": "8302-2", "display": "Body Height"}],
        "text": "Body Height",
    },
    "subject": {"reference": "Patient/p1"},
    "encounter": {"reference": "Encounter/e1"},
    "effectiveDateTime": "2012-09-17T17:36:21+08:00",
    "issued": "2012-09-17T17:36:21.123+08:00",
    "valueQuantity": {"value": 172.2, "unit": "cm", "system": "http://unitsofmeasure.org", "code": "cm"},
}
ACCESS = Access("bench", parse_scopes("system/*.cruds"))


class KnownToken:
    """Knows the one caller: what remembering a token that was checked comes to."""

    def check(self, _token: str) -> Access:
        """Return who calls."""
        return ACCESS


def seed(name: str) -> bytes:
    """Make a key."""
    return sha256(name.encode()).digest()


def call(front: Front, method: str, path: str, body: bytes = b"") -> bytes:
    """Send one request; returns the body of the answer."""
    place, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": place,
        "QUERY_STRING": query,
        "HTTP_AUTHORIZATION": "Bearer x",
        "HTTP_ACCEPT": "application/fhir+json",
        "CONTENT_TYPE": "application/fhir+json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    told: list[str] = []
    answer = b"".join(front(environ, lambda status, _headers: told.append(status)))
    if not told[0].startswith("2"):
        print(method, path, told[0], answer[:300])
        raise SystemExit(1)
    return answer


def measure(name: str, count: int, work: Callable[[], object]) -> None:
    """Print what a piece of work costs."""
    for _ in range(min(20, count)):
        work()
    began, wall = os.times(), time.monotonic()
    for _ in range(count):
        work()
    ended, wall = os.times(), time.monotonic() - wall
    user, system = ended.user - began.user, ended.system - began.system
    print(f"{name:<42}{user / count * 1e6:9.0f} user {system / count * 1e6:7.0f} system {wall / count * 1e6:9.0f} wall")


def transaction(count: int) -> bytes:
    """Write a transaction of so many Observations."""
    row = {"resource": OBSERVATION, "request": {"method": "POST", "url": "Observation"}}
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [row] * count}).encode()


def parts(core: Core, front: Front, record_id: str, count: int) -> None:
    """Print what the parts of a read cost."""
    found = core.reader.find("Observation", record_id)
    ask = Ask("GET", f"Observation/{record_id}", fields={}, access=ACCESS, request_id="0" * 16)
    ask.trail.numbers.append(found.stored.seq)
    measure("  look up, with the key", count, lambda: core.reader.find("Observation", record_id))
    measure("  gate", count, lambda: core.gate.require_shown(ACCESS, found.stored))
    measure("  unwrap, open, compare with commitment", count, lambda: core.service.open_found(found))
    measure("  audit frame, written", count, lambda: core.audit.note(ask, 200))
    measure("  whole read", count, lambda: call(front, "GET", f"/fhir/Observation/{record_id}"))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args().count
    print(f"load average {os.getloadavg()[0]:.1f}; microseconds a request")
    with tempfile.TemporaryDirectory() as name:
        folder, key = Path(name), seed("records")
        database = open_database(folder / "records.db", seed("file"), kind=FileKind.RECORDS)
        audit = JournalAudit(folder, key, system_clock)
        with closing(RecordStore(database)) as store, closing(audit):
            search = SearchService(store, SearchIndex(store), key, seed("ledger"), system_clock)
            core = Core(
                service=RecordService(store, seed("ledger"), key, system_clock, index=search.index),
                search=search,
                store=store,
                records_key=key,
                tokens=KnownToken(),
                base_url="http://127.0.0.1/fhir",
                token_url="http://127.0.0.1/token",  # noqa: S106  # an address
                clock=system_clock,
                final_size=lambda: 0,
                majority_years=lambda: 18,
                prove=lambda _stored: {},
                audit=audit,
            )
            front = Front(core, lambda _environ, _start: ())
            body = json.dumps(OBSERVATION).encode()
            record_id = json.loads(call(front, "POST", "/fhir/Observation", body))["id"]
            parts(core, front, record_id, count)
            measure("create an Observation", count // 4, lambda: call(front, "POST", "/fhir/Observation", body))
            page = "/fhir/Observation?subject=Patient/p1&code=8302-2&date=ge2012&_count=20"
            measure("search, a page of 20", count // 4, lambda: call(front, "GET", page))
            whole = transaction(1000)
            measure("transaction of 1,000 Observations", 3, lambda: call(front, "POST", "/fhir", whole))


if __name__ == "__main__":
    main()
