"""Memory of one whole node's processes, as `medchain node run` starts them.

    python benchmarks/memory.py --entries 1000000 --records 200000

The ledger is filled without executing anything, the records are sealed and stored; then the node starts, anchors all
records, and its processes are looked at. Proportional memory counts what processes share once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import ORDERER, Author, Consortium, Node, commit, machine, now, wait_for
from benchmarks.replica import prefill
from medchain.node.assembly import read_genesis
from medchain.node.ledger_driver import pen_of, vouched_file
from medchain.node.records import NewRecord, RecordService
from medchain.node.replica import Replica
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from medchain.store.outbox import ANCHOR
from medchain.store.records import RecordStore

BATCH = 400
ANCHOR_TIMEOUT_S = 600.0
CONTENT = b'{"resourceType":"Observation","id":"o%d","status":"final","note":"%s"}'


def main() -> None:
    """Fill, start, look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=20_000)
    options = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}  {vars(options)}")
    with tempfile.TemporaryDirectory() as folder, Consortium(Path(folder), full=True, org_ids=(ORDERER,)) as consortium:
        node = consortium.nodes[ORDERER]
        _fill(consortium, node, options.entries)
        file = open_database(node.layout.records, node.web.records_database, kind=FileKind.RECORDS)
        with closing(RecordStore(file)) as kept:
            service = RecordService(kept, consortium.ledger, node.web.records, now)
            for start in range(0, options.records, BATCH):
                numbers = range(start, min(start + BATCH, options.records))
                contents = [(number, CONTENT % (number, b"x" * 700)) for number in numbers]
                service.create_many(
                    [
                        NewRecord("Observation", f"o{number}", content, f"p{number % 997}")
                        for number, content in contents
                    ]
                )
            consortium.start()
            wait_for(lambda: not kept.pending(1, kind=ANCHOR), "not anchored", ANCHOR_TIMEOUT_S)
        rows = node.memory_mib()
        for pid, (resident, proportional) in rows.items():
            print(f"process {pid}: {resident:.0f} MiB resident, {proportional:.0f} MiB proportional")
        total, shared = (sum(row[at] for row in rows.values()) for at in (0, 1))
        print(
            f"a node with {consortium.size():,} entries and {options.records:,} records: {shared:.0f} MiB proportional "
            f"({total:.0f} MiB if what is shared is counted in each of {len(rows)} processes); {machine()}"
        )


def _record(number: int) -> NewRecord:
    """Make a record, of one of 997 patients."""
    return NewRecord("Observation", f"o{number}", CONTENT % (number, b"x" * 700), f"p{number % 997}")


def _fill(consortium: Consortium, node: Node, entries: int) -> None:
    """Fill the ledger, and end it with a real block."""
    genesis, proofs = read_genesis(node.layout)
    file = open_database(node.layout.ledger, node.daemon.ledger_database, kind=FileKind.LEDGER)
    with closing(LedgerStore(file)) as store:
        replica = Replica.create(store, genesis, proofs, pen=pen_of(node.daemon.log))
        vouched_file(node.layout.folder, replica.height)
        prefill(replica, entries)
        replica.propose(list(Author(consortium, ORDERER).anchors(1)), now())


if __name__ == "__main__":
    main()
