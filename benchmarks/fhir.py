"""One hospital's node as it runs in earnest, for a load script of any kind; and what it costs to run.

    python benchmarks/fhir.py [--workers 2] [--consortium] [-- COMMAND {base} {token} {pid} …]

The node is `medchain node run` with its own defaults: strict validation, encryption, anchoring, audit, authentication.
It is a consortium of its own, or with `--consortium` one of five on this machine. In the command, {base} is the address
of the API, {token} an access token, {pid} the process id of the node's supervisor and {pids} those of all its
processes; without a command it runs until it is interrupted. Memory is that of all processes of the node, sampled.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Collection
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.consortium import ROLES, ROOT, Consortium, Node, commit, machine, wait_for
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

HOSPITAL = "renhe-hospital"
TOKEN_SECONDS = 3600
SAMPLE_S = 0.5
SETTLE_S = 120.0
# Processes that do one thing cannot be told apart from outside: all were forked from the web workers' parent.
GENERATIONS = ("supervisor", "daemon and web workers' parent", "web workers, fork server and writer", "jobs")
MIB = 1 << 20


def base_of(node: Node) -> str:
    """Return the address of a node's API."""
    settings = tomllib.loads(node.config.read_text(encoding="utf-8"))
    return f"http://{settings['web']['listen']}/fhir"


def answers(base: str) -> bool:
    """Tell whether the API answers."""
    with suppress(OSError), closing(http.client.HTTPConnection(urlsplit(base).netloc, timeout=5)) as connection:
        connection.request("GET", "/fhir/metadata")
        return connection.getresponse().status == HTTPStatus.OK
    return False


def token_of(node: Node) -> str:
    """Get a token as an operator does."""
    words = ["token", "issue", "--config", str(node.config), "--scope", "system/*.cruds"]
    words += ["--seconds", str(TOKEN_SECONDS)]
    ran = subprocess.run(
        [sys.executable, "-m", "medchain.cli", *words], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return ran.stdout.strip()


def generation(pid: int, pids: Collection[int]) -> int:
    """Tell how many of a node's processes are above one of them."""
    count = 0
    with suppress(OSError):
        while (pid := int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])) in pids:
            count += 1
    return count


class Memory:
    """The largest memory of a node's processes, resident and proportional, in MiB.

    Attributes:
        resident: pages counted in each process that maps them.
        proportional: shared pages counted once.
        processes: how many there were at most.
        most_s: when `proportional` was reached, seconds after the first look.
        shares: proportional memory of each process then, those above each other in order.
    """

    def __init__(self, node: Node) -> None:
        """Begin to look."""
        self.resident = self.proportional = self.most_s = 0.0
        self.processes = 0
        self.shares: list[list[float]] = []
        self._node = node
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        """Look until told to stop."""
        while not self._ended.wait(SAMPLE_S):
            found = self._node.memory_mib()
            self.resident = max(self.resident, sum(one for one, _ in found.values()))
            self.processes = max(self.processes, len(found))
            proportional = sum(one for _, one in found.values())
            if proportional > self.proportional:
                self.proportional, self.most_s = proportional, time.monotonic() - self._began
                self.shares = [[] for _ in GENERATIONS]
                for pid, (_, share) in found.items():
                    self.shares[min(generation(pid, found), len(GENERATIONS) - 1)].append(share)

    def told(self) -> str:
        """Say who had how much when it was most."""
        shares = (", ".join(f"{share:.0f}" for share in sorted(group, reverse=True)) for group in self.shares)
        return "; ".join(f"{name} {mib or '-'}" for name, mib in zip(GENERATIONS, shares, strict=False))


def started(nodes: Consortium, node: Node) -> float:
    """Start all nodes, the one to measure last; returns the seconds until its API answers."""
    others = [org_id for org_id in nodes.nodes if org_id != node.org_id]
    if others:
        nodes.start(*others)
    began = time.monotonic()
    nodes.start(node.org_id)
    wait_for(lambda: answers(base_of(node)), f"{node.org_id} does not answer", SETTLE_S)
    return time.monotonic() - began


def run(words: list[str], node: Node, token: str) -> int:
    """Run the command, or wait to be interrupted."""
    pids = node.processes()
    supervisor = node.process.pid if node.process is not None else 0
    named = {"base": base_of(node), "token": token, "pid": str(supervisor), "pids": ",".join(map(str, pids))}
    print(json.dumps({"base": named["base"], "pid": supervisor, "pids": pids}), flush=True)
    if words:
        return subprocess.run(
            [word.format_map(named) if "{" in word else word for word in words], check=False
        ).returncode
    print(f"token {token}\npoint a load script at {named['base']}; Ctrl-C ends the node", flush=True)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0


def disk(node: Node) -> None:
    """Print how much lies in the node's folder for each record version, the audit's events among them."""
    sizes = {path: path.stat().st_size for path in node.layout.folder.rglob("*") if path.is_file()}
    total, records = sum(sizes.values()), sum(size for path, size in sizes.items() if "records" in path.name)
    database = open_database(node.layout.records, node.web.records_database, kind=FileKind.RECORDS, migrate=False)
    store = RecordStore(database)
    count, events = store.count(), store.count("AuditEvent") + store.count("Segment") + store.count("Looks")
    store.close()
    kept = max(1, count - events)
    print(
        f"disk: {total / MIB:.1f} MiB, records {records / MIB:.1f} MiB; {kept:,} versions and {events:,} audit events"
    )
    print(f"      {total / kept / 1000:.2f} kB a version that is no event, all files counted")


def main() -> int:
    """Measure; the exit status is that of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="web workers")
    parser.add_argument("--consortium", action="store_true", help="five nodes in place of one")
    parser.add_argument("--folder", type=Path, help="where the nodes live; a temporary folder by default")
    parser.add_argument("command", nargs="*", help="what to run, after --")
    given = parser.parse_args()
    print(f"commit {commit()}; {machine()}; {given.workers} web workers")
    org_ids = tuple(ROLES) if given.consortium else (HOSPITAL,)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        with Consortium(folder, full=True, org_ids=org_ids, settings={"web.workers": given.workers}) as nodes:
            node = nodes.nodes[HOSPITAL]
            print(f"start to first /metadata: {started(nodes, node):.2f} s", flush=True)
            token, memory, before = token_of(node), Memory(node), node.cpu_s()
            status = run(given.command, node, token)
            print(f"CPU of the node: {node.cpu_s() - before:.1f} s")
            memory.end()
            print(
                f"memory: resident {memory.resident:.0f} MiB, shared pages counted once {memory.proportional:.0f} MiB,"
                f" {memory.processes} processes"
            )
            print(f"        after {memory.most_s:.0f} s: {memory.told()}")
        disk(node)
    return status


if __name__ == "__main__":
    sys.exit(main())
