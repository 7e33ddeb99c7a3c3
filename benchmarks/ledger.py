"""The ledger with five nodes: throughput, latency and catch-up, beside the floor of the signature checks alone.

    python benchmarks/ledger.py --transactions 6000 --runs 3

Five daemons, each in a process group of its own, with real HTTP, real files and synced writes; all verify, execute and
cosign. Transactions are made and signed before the clock starts; four organisations submit them in batches to the
orderer's `/ordering/submit`, each call with an assertion of its own. A figure's clock stops when all five nodes have
applied everything, and again when all five know it final (four cosignatures). CPU is that of all five daemons.
With `--blocks 3000` it measures one thing alone: how fast a node catches up that was away for so many blocks of one
transaction each, from the moment at which its process answers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import ORDERER, Author, Consortium, Node, commit, machine
from medchain.crypto.signing import Ed25519Signer, ed25519_verify
from medchain.node.peers import Limits, PeerClient
from medchain.ordering.block import submission
from medchain.ordering.receipt import Refused, parse_outcomes

CREATORS = ("renhe-hospital", "binhai-hospital", "anxin-insurance", "taihe-insurance")
LATE = "taihe-insurance"
SUBMIT = Limits(timeout_s=120.0)
FLOOR_CHECKS = 3000


@dataclass(frozen=True, slots=True)
class Run:
    """One run's figures: transactions a second until applied and until final, CPU seconds a transaction."""

    applied: float
    final: float
    orderer_s: float
    follower_s: float
    client_s: float


def main() -> None:
    """Run the phases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--singles", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=0)
    options = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}  {vars(options)}")
    check_us = floor_us()
    print(f"floor    one Ed25519 check {check_us:.1f} us; five nodes with two each {10 * check_us:.0f} us of CPU")
    with tempfile.TemporaryDirectory() as folder, Consortium(Path(folder)) as consortium:
        consortium.start()
        authors = {org_id: Author(consortium, org_id) for org_id in CREATORS}
        clients = {org_id: consortium.client(org_id) for org_id in CREATORS}
        if options.blocks:
            catch_up_blocks(consortium, clients[CREATORS[0]], authors[CREATORS[0]], options.blocks)
            return
        load = Load(consortium, clients, options.batch)
        load.run({org_id: list(author.subjects(50)) for org_id, author in authors.items()})
        each = options.transactions // len(CREATORS)
        for name, make in (("two signatures", Author.subjects), ("one signature", Author.anchors)):
            runs = []
            for _ in range(options.runs):
                runs.append(load.run({org_id: list(make(author, each)) for org_id, author in authors.items()}))
                _print_run(name, runs[-1], check_us)
            print(f"{name}: median {statistics.median(run.final for run in runs):,.0f} tx/s until final")
        latency(clients[CREATORS[0]], authors[CREATORS[0]], options.singles)
        consortium.wait_final(consortium.size())
        catch_up(consortium)


@dataclass(frozen=True, slots=True)
class Load:
    """Submits for several organisations at once."""

    consortium: Consortium
    clients: dict[str, PeerClient]
    batch: int

    def run(self, work: dict[str, list[bytes]]) -> Run:
        """Submit everything, and wait until all nodes have it and know it final."""
        batches = {
            org_id: [(len(leaves), submission(leaves)) for leaves in _cut(leaves, self.batch)]
            for org_id, leaves in work.items()
        }
        count = sum(map(len, work.values()))
        before, client_before = self.consortium.cpu_s(), time.process_time()
        begin = time.perf_counter()
        with ThreadPoolExecutor(len(work)) as pool:
            jobs = [pool.submit(_submit_all, self.clients[org_id], rows) for org_id, rows in batches.items()]
            for job in jobs:
                job.result()
        client_s = time.process_time() - client_before
        applied, final = self.consortium.wait_final(self.consortium.size())
        after = self.consortium.cpu_s()
        spent = {org_id: (after[org_id] - before[org_id]) / count for org_id in after}
        followers = [seconds for org_id, seconds in spent.items() if org_id != ORDERER]
        return Run(
            count / (applied - begin),
            count / (final - begin),
            spent[ORDERER],
            statistics.mean(followers),
            client_s / count,
        )


def floor_us() -> float:
    """Measure one bare signature check over a transaction's size."""
    signer = Ed25519Signer(bytes(32))
    message = bytes(700)
    signature = signer.sign(message)
    begin = time.process_time()
    for _ in range(FLOOR_CHECKS):
        if not ed25519_verify(signer.public, message, signature):
            sys.exit("a signature does not hold")
    return (time.process_time() - begin) / FLOOR_CHECKS * 1e6


def latency(client: PeerClient, author: Author, count: int) -> None:
    """Submit one at a time, with pauses."""
    for name, make in (("two signatures", author.subjects), ("one signature", author.anchors)):
        took = []
        for leaf in make(count):
            time.sleep(0.03)
            begin = time.perf_counter()
            _submit(client, 1, submission([leaf]))
            took.append((time.perf_counter() - begin) * 1e3)
        took.sort()
        p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        print(f"single submit, {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {count}; {machine()}")


def catch_up(consortium: Consortium) -> None:
    """Let one node begin anew with nothing, and follow to the end."""
    node = _end(consortium, LATE)
    for path in node.layout.folder.glob("ledger.db*"):
        path.unlink()
    size = consortium.size()
    begin = time.perf_counter()
    consortium.start(LATE)
    started = time.perf_counter()
    applied, _ = consortium.wait_final(size, (LATE,))
    print(
        f"catch-up: {size:,} entries in {applied - begin:.2f} s with the start of the process, "
        f"{size / (applied - begin):,.0f} entries/s; the process answered after {started - begin:.2f} s; "
        f"{node.cpu_s() / size * 1e6:.0f} us of CPU an entry; {machine()}"
    )


def catch_up_blocks(consortium: Consortium, client: PeerClient, author: Author, count: int) -> None:
    """Let one node be away for blocks of one transaction each, and follow to the end."""
    node = _end(consortium, LATE)
    for leaf in author.anchors(count):
        _submit(client, 1, submission([leaf]))
    size = consortium.size()
    consortium.start(LATE)
    begin, first, before = time.perf_counter(), node.status()["size"], node.cpu_s()
    applied, _ = consortium.wait_final(size, (LATE,))
    # A block of one transaction has two leaves.
    blocks, spent = (size - first) // 2, node.cpu_s() - before
    print(
        f"catch-up: {blocks:,} blocks of one transaction in {applied - begin:.2f} s, {blocks / (applied - begin):,.0f} "
        f"blocks/s; {spent / blocks * 1e6:.0f} us of CPU a block; {machine()}"
    )


def _end(consortium: Consortium, org_id: str) -> Node:
    """End a node's process."""
    node = consortium.nodes[org_id]
    if node.process is None:
        sys.exit(f"{org_id} does not run")
    node.process.terminate()
    node.process.wait()
    return node


def _print_run(name: str, run: Run, check_us: float) -> None:
    """Print one run's line."""
    total = run.orderer_s + 4 * run.follower_s
    checks = 2 if name == "two signatures" else 1
    print(
        f"{name}: {run.applied:,.0f} tx/s applied by five, {run.final:,.0f} until final; CPU us/tx: "
        f"orderer {run.orderer_s * 1e6:.0f}, follower {run.follower_s * 1e6:.0f}, all five {total * 1e6:.0f} "
        f"(floor {5 * checks * check_us:.0f}), client {run.client_s * 1e6:.0f}; {machine()}"
    )


def _submit_all(client: PeerClient, rows: Sequence[tuple[int, bytes]]) -> None:
    """Submit batches one after the other."""
    for count, body in rows:
        _submit(client, count, body)


def _submit(client: PeerClient, count: int, body: bytes) -> None:
    """Submit a batch; every envelope must get a receipt."""
    outcomes = parse_outcomes(client.post(ORDERER, "/ordering/submit", body, limits=SUBMIT).body, count)
    refused = [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    if refused:
        sys.exit(f"refused: {refused[:3]}")


def _cut(leaves: Sequence[bytes], size: int) -> Iterator[list[bytes]]:
    """Cut work into batches."""
    rest = iter(leaves)
    while part := list(islice(rest, size)):
        yield part


if __name__ == "__main__":
    main()
