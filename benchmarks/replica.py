"""How fast a replica applies blocks on one core, beside the floor of the signature checks alone.

    python benchmarks/replica.py --transactions 2000 --block 100 --prefill 0 --signatures 2 --threads 1

Each transaction has two signatures (a subject, endorsed by the drawn organisation) or one (a record's anchor).
`--prefill` first puts that many objects into the ledger without executing anything, so that the cost at a size can be
seen; `--threads` is how many check a block's signatures; `--together` how many blocks come at once, as to a node that
was away. Prints one line a phase, the configuration and the commit; of what else runs, CPU tells less than time.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from medchain.crypto.signing import ed25519_verify
from medchain.ledger.genesis import policy_digest
from medchain.ledger.machine import BlockEffects
from medchain.ledger.object import StateRecord
from medchain.ledger.transaction import pae
from medchain.node import replica as replicas
from medchain.node.checking import SignatureChecks
from medchain.node.replica import Replica
from medchain.ordering.block import Block
from medchain.store.draft import LedgerDraft
from medchain.store.engine import FileKind, open_database
from medchain.store.ledger import LedgerStore
from tests.unit.medchain.ledger.world import COMMISSION, RENHE
from tests.unit.medchain.node.ledgers import Author, anchored, replica_on

LEAF_BYTES = 900
PREFILL_BLOCK = 2000


def main() -> None:
    """Run the phases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=2000)
    parser.add_argument("--block", type=int, default=100)
    parser.add_argument("--prefill", type=int, default=0)
    parser.add_argument("--signatures", type=int, choices=(1, 2), default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--together", type=int, default=1)
    options = parser.parse_args()
    revision = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(revision, check=False, cwd=ROOT, capture_output=True, text=True).stdout  # ours
    print(f"commit {commit.strip()}  python {sys.version.split()[0]}  {options}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        first = open_database(Path(folder) / "orderer.db", bytes(32), kind=FileKind.LEDGER)
        orderer = replica_on(LedgerStore(first), COMMISSION)
        prefill(orderer, options.prefill)
        orderer.store.flush()
        first.backup(Path(folder) / "follower.db")
        second = open_database(Path(folder) / "follower.db", bytes(32), kind=FileKind.LEDGER, adopt=True)
        follower = Replica(LedgerStore(second), checks=SignatureChecks(options.threads))
        start = process_time()
        follower.store.warm()
        print(f"pages read into memory in {(process_time() - start) * 1e3:,.0f} ms of CPU")
        orderer.store.warm()
        # As `medchain.daemon` does: what is there stays, and what blocks are made of is in no cycle.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        _measure(orderer, follower, options)
        size = sum(file.stat().st_size for file in Path(folder).glob("follower.db*"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"follower's file {size >> 20} MiB at {follower.size} entries; this process at most {peak} MiB")


def _measure(orderer: Replica, follower: Replica, options: argparse.Namespace) -> None:
    """Order, apply, and verify the same signatures bare."""
    author, transactions = Author(replica=orderer), options.transactions
    blocks: list[Block] = []
    spent = dict.fromkeys(("propose", "apply"), 0.0)
    cpu, proofs, floor, floor_cpu = 0.0, 0.0, 0.0, 0.0
    worst, proven = 0.0, 0
    for batch in _batches(transactions, options.block):
        envelopes = [author.subject(number + 1) if options.signatures > 1 else author.anchor(1) for number in batch]
        start = perf_counter()
        proposal = orderer.propose([envelope.leaf for envelope in envelopes], orderer.time + 1)
        spent["propose"] += perf_counter() - start
        if proposal.block is None or proposal.refusals:
            sys.exit(f"refused: {proposal.refusals}")
        blocks.append(Block(*(getattr(proposal.block, name) for name in Block.__slots__)))
        start, start_cpu = perf_counter(), process_time()
        for envelope in envelopes:
            message = pae(envelope.payload)
            for key_id, signature in envelope.signatures:
                if not ed25519_verify(orderer.members.keys[key_id].public, message, signature):
                    sys.exit("a signature does not hold")
        floor += perf_counter() - start
        floor_cpu += process_time() - start_cpu
        if len(blocks) < options.together and batch.stop < transactions:
            continue
        start, start_cpu = perf_counter(), process_time()
        while blocks:
            blocks = blocks[len(follower.apply_all(blocks)) :]
        took = perf_counter() - start
        spent["apply"] += took
        worst = max(worst, took)
        cpu += process_time() - start_cpu
        proven += 1
        key = anchored(envelopes[0])[0]
        start = perf_counter()
        follower.prove_record(key)
        proofs += perf_counter() - start
    if orderer.root != follower.root:
        sys.exit("the roots differ")
    for name, seconds in (*spent.items(), ("floor", floor)):
        print(f"{name:8} {transactions / seconds:10,.0f} tx/s {seconds / transactions * 1e6:8.1f} us/tx")
    each, least = cpu / transactions * 1e6, floor_cpu / transactions * 1e6
    print(f"apply: {each:.1f} us/tx of CPU (floor {least:.1f}); slowest {worst * 1e3:.1f} ms")
    print(f"proof of a record: {proofs / proven * 1e3:.2f} ms")


def _batches(count: int, block: int) -> Iterator[range]:
    """Cut a range into blocks."""
    for start in range(0, count, block):
        yield range(start, min(start + block, count))


def prefill(replica: Replica, count: int) -> None:
    """Put objects into the ledger without executing anything; both replicas get the same ones."""
    start = perf_counter()
    named = policy_digest(replica.members, replica.genesis.origin)
    numbers = iter(range(count))
    while chunk := [number for _, number in zip(range(PREFILL_BLOCK), numbers, strict=False)]:
        first = replica.size
        records = [
            StateRecord(
                "record", RENHE, number.to_bytes(16, "big"), 1, "active", bytes(32), None, None, (), first + at, None
            )
            for at, number in enumerate(chunk)
        ]
        leaves = tuple(b'{"n":%d,"pad":"%s"}' % (number, b"x" * LEAF_BYTES) for number in chunk)
        effects = BlockEffects(leaves, {r.key: r for r in records}, replica.members, {}, (), tuple(records))
        draft = LedgerDraft(replica.store)
        draft.add(replicas._write(draft, replica.time, effects, named))  # noqa: SLF001  # on purpose
        draft.keep()
    if count:
        print(f"prefill  {count / (perf_counter() - start):10,.0f} entries/s")


if __name__ == "__main__":
    main()
