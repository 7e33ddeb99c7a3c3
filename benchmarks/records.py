"""Records of one node: sealed, stored and anchored; opened and compared; proven.

    python benchmarks/records.py DATA --records 6000 --prefill 100000

DATA is a folder of FHIR bundles (plain, gz or xz), such as `sample_data/output` or one of Synthea's; its Observations
are taken, again under new ids when they are too few. One node that is its own consortium, in this process: the real
record service, files and anchor, the real orderer with synced writes, its own cosignatures. FHIR is not validated.
`--prefill` first puts that many objects into the ledger without executing anything.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import lzma
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter, process_time

import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import ORDERER, Author, Consortium, commit, machine, now  # the path first
from benchmarks.replica import prefill
from medchain.crypto.aead import RecordContext, open_record, seal_record
from medchain.ledger.object import map_key
from medchain.node.anchor import Anchor
from medchain.node.assembly import read_genesis
from medchain.node.ledger_driver import LedgerDriver, pen_of, vouched_file
from medchain.node.records import FHIR_JSON, NewRecord, RecordService
from medchain.node.replica import Replica
from medchain.node.trace import export_object, record_opening
from medchain.ordering.embedded import EmbeddedDriver
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.store.records import RecordStore

OPENERS = {".gz": gzip.open, ".xz": lzma.open}
STORE_BATCH = 400
PROOFS = 200
WARM_UP = 400


def main() -> None:
    """Run the phases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--records", type=int, default=6000)
    parser.add_argument("--prefill", type=int, default=0)
    options = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}  {vars(options)}")
    records = list(itertools.islice(_records(options.data), options.records + WARM_UP))
    sizes = [len(record.content) for record in records]
    print(f"{len(records)} Observations, median {statistics.median(sizes):.0f} bytes")
    with tempfile.TemporaryDirectory() as folder, Consortium(Path(folder), org_ids=(ORDERER,)) as consortium:
        node = consortium.nodes[ORDERER]
        genesis, proofs = read_genesis(node.layout)
        ledger_file = open_database(node.layout.ledger, node.daemon.ledger_database, kind=FileKind.LEDGER)
        records_file = open_database(node.layout.records, node.web.records_database, kind=FileKind.RECORDS)
        with closing(LedgerStore(ledger_file)) as store, closing(RecordStore(records_file)) as kept:
            replica = Replica.create(store, genesis, proofs, pen=pen_of(node.daemon.log))
            vouched_file(node.layout.folder, replica.height)
            prefill(replica, options.prefill)
            # A real block at the end: what was put in has no signed checkpoints.
            replica.propose(list(Author(consortium, ORDERER).anchors(1)), now())
            given = (ORDERER, node.layout, node.daemon, replica, consortium.client(ORDERER), now)
            driver = LedgerDriver(*given, is_erasing=lambda: False).driver
            driver.prepare()
            driver.follow_once()
            service = RecordService(kept, genesis.ledger, node.web.records, now)
            anchor = Anchor(ORDERER, node.daemon.ledger, replica, kept, driver.submit)
            _store(service, records[:WARM_UP])
            _anchor(anchor, driver)
            _measure(service, kept, anchor, driver, records[WARM_UP:])
            _prove(service, replica, records[WARM_UP:])
            driver.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"this process at most {peak} MiB; {machine()}")


def _measure(
    service: RecordService, kept: RecordStore, anchor: Anchor, driver: EmbeddedDriver, records: list[NewRecord]
) -> None:
    """Seal, store, anchor, open."""
    count = len(records)
    key, context = bytes(32), RecordContext(bytes(32), bytes(16), 1, FHIR_JSON)
    sealed = [seal_record(key, context, record.content, bytes(32)) for record in records]
    _print("floor: one AEAD a record, sealing", count, *_timed(lambda: _seal_bare(key, context, records)))
    _print("floor: one AEAD a record, opening", count, *_timed(lambda: _open_bare(key, context, sealed)))
    stored = _timed(lambda: _store(service, records))
    _print("seal and store", count, *stored)
    anchored = _timed(lambda: _anchor(anchor, driver))
    _print("anchor until final", count, *anchored)
    _print("seal, store, anchor until final", count, *(a + b for a, b in zip(stored, anchored, strict=True)))
    versions = [row for record in records if (row := kept.get(record.type, record.id)) is not None]
    keys = service.data_keys(versions)
    _print(
        "open and compare with the commitment",
        count,
        *_timed(lambda: [service.open_with(row, key) for row, key in zip(versions, keys, strict=True)]),
    )


def _prove(service: RecordService, replica: Replica, records: list[NewRecord]) -> None:
    """Export bundles of records."""
    took = []
    for record in records[:: max(1, len(records) // PROOFS)]:
        opened = service.read(record.type, record.id)
        key = map_key("record", ORDERER, opened.stored.object_id)
        opening = record_opening(opened.content, opened.salt, opened.field_root)
        begin = process_time()
        export_object(replica, key, opening=opening)
        took.append((process_time() - begin) * 1e3)
    took.sort()
    print(
        f"proof bundle of a record at {replica.size:,} entries: median {statistics.median(took):.2f} ms of CPU, "
        f"{took[0]:.2f}-{took[-1]:.2f}, of {len(took)}; {machine()}"
    )


def _store(service: RecordService, records: list[NewRecord]) -> None:
    """Seal and store in batches."""
    for start in range(0, len(records), STORE_BATCH):
        service.create_many(records[start : start + STORE_BATCH])


def _anchor(anchor: Anchor, driver: EmbeddedDriver) -> None:
    """Anchor everything that waits, until it is final and has left the outbox."""
    while True:
        done = anchor.round()
        if done.refused:
            sys.exit(f"refused: {done.refused}")
        if not (done.submitted or done.ordered or done.marked):
            return
        driver.cosign_once()


def _seal_bare(key: bytes, context: RecordContext, records: list[NewRecord]) -> None:
    """Seal under one key, without anything else."""
    for record in records:
        seal_record(key, context, record.content, bytes(32))


def _open_bare(key: bytes, context: RecordContext, sealed: list[bytes]) -> None:
    """Open under one key, without anything else."""
    for envelope in sealed:
        open_record(key, context, envelope)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    begin, begin_cpu = perf_counter(), process_time()
    work()
    return perf_counter() - begin, process_time() - begin_cpu


def _print(name: str, count: int, wall_s: float, cpu_s: float) -> None:
    """Print one phase's line."""
    print(
        f"{name}: {count / wall_s:,.0f}/s, {count / cpu_s:,.0f}/s of CPU ({cpu_s / count * 1e6:.0f} us each); "
        f"{machine()}"
    )


def _records(folder: Path) -> Iterator[NewRecord]:
    """Read Observations, again and again under new ids."""
    found = [
        (orjson.dumps(item), str(item.get("subject", {}).get("reference", "")))
        for path in sorted(folder.rglob("*.json*"))
        for item in _resources(path)
        if item.get("resourceType") == "Observation"
    ]
    if not found:
        sys.exit(f"no Observations in {folder}")
    for number, (content, patient) in enumerate(itertools.cycle(found)):
        yield NewRecord("Observation", f"o{number}", content, patient)


def _resources(path: Path) -> Iterator[dict[str, dict[str, str]]]:
    """Read the resources of one file."""
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        document = orjson.loads(file.read())
    for entry in document.get("entry", []) if isinstance(document, dict) else []:
        yield entry.get("resource", {})


if __name__ == "__main__":
    main()
