"""What a bulk export costs: CPU of kick-off, look at the status, and each record fetched, by number of records.

    python benchmarks/export.py [--sizes 5000 50000] [--note-bytes 1700]

In-process, everything but the web server and the token's signature is in it: gate, index, snapshot, opening and
comparing each record with its commitment, audit journal. CPU of one thread; the wall time disturbs nobody's figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.rest import ACCESS, OBSERVATION, KnownToken, seed
from fhir_bridge.audit import JournalAudit
from fhir_bridge.bundle import make_record
from fhir_bridge.document import Resource, parse
from fhir_bridge.references import with_identity
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.routes import answer
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.service import SearchService
from medchain.node.clock import system_clock
from medchain.node.records import RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

BASE_URL = "http://127.0.0.1/fhir"
PATIENTS = 200
AT_ONCE = 1000


@contextmanager
def node(folder: Path) -> Iterator[Core]:
    """Open a node's records."""
    key = seed("records")
    database = open_database(folder / "records.db", seed("file"), kind=FileKind.RECORDS)
    audit = JournalAudit(folder, key, system_clock)
    with closing(RecordStore(database)) as store, closing(audit):
        search = SearchService(store, SearchIndex(store), key, seed("ledger"), system_clock)
        yield Core(
            service=RecordService(store, seed("ledger"), key, system_clock, index=search.index),
            search=search,
            store=store,
            records_key=key,
            tokens=KnownToken(),
            base_url=BASE_URL,
            token_url="http://127.0.0.1/token",  # noqa: S106  # an address
            clock=system_clock,
            final_size=lambda: 0,
            prove=lambda _stored: {},
            audit=audit,
            majority_years=lambda: 18,
        )


def fill(core: Core, first: int, last: int, note: str) -> None:
    """Store Observations with numbers as ids."""
    for start in range(first, last, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, last))
        now = system_clock()
        made = [(f"o{one}", with_identity(observation(one, note), f"o{one}", 1, now)) for one in numbers]
        records = [make_record("Observation", name, 1, resource) for name, resource in made]
        core.service.create_many(records)


def observation(number: int, note: str) -> Resource:
    """Make the Observation of a number."""
    more = {"subject": {"reference": f"Patient/p{number % PATIENTS}"}, "note": [{"text": note}]}
    return parse(json.dumps(OBSERVATION | more).encode())


def ask(core: Core, address: str, **fields: str) -> Reply:
    """Send one request."""
    path, _, query = address.removeprefix(f"{BASE_URL}/").partition("?")
    return answer(core, Ask("GET", path, query, fields=fields, access=ACCESS, request_id="0" * 16))


def timed(work: Callable[[], Reply]) -> tuple[Reply, float]:
    """Do something; returns its answer and the CPU that it took, in seconds."""
    began = time.process_time()
    return work(), time.process_time() - began


def measure(core: Core, size: int, path: str) -> None:
    """Export everything."""
    begun, kick_off = timed(lambda: ask(core, path, HTTP_PREFER="respond-async"))
    status = begun.headers["Content-Location"]
    looks, look = 0, 0.0
    while True:
        told, took = timed(lambda: ask(core, status))
        looks, look = looks + 1, look + took
        if told.status == 200:  # noqa: PLR2004  # done
            break
    files = json.loads(told.body)["output"]
    for name, fields in (("plain", {}), ("gzip", {"HTTP_ACCEPT_ENCODING": "gzip"})):
        began, sent = time.process_time(), 0
        for row in files:
            sent += sum(map(len, ask(core, row["url"], **fields).body))
        took = time.process_time() - began
        print(
            f"{size:>9,}  {path:<16} {kick_off * 1e3:8.0f} ms kick-off {looks:3} looks {look * 1e3:5.0f} ms"
            f"  {name:<5} {took / size * 1e6:6.0f} µs a record {size / took:9,.0f} records/s {sent / size:6.0f} bytes"
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--note-bytes", type=int, default=1_700)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}; CPU of one thread")
    with tempfile.TemporaryDirectory() as name, node(Path(name)) as core:
        filled = 0
        note = ("Patient reports no pain. " * 200)[: options.note_bytes]
        for size in sorted(options.sizes):
            fill(core, filled, size, note)
            filled = size
            for path in ("$export", "Patient/$export"):
                measure(core, size, path)


if __name__ == "__main__":
    main()
