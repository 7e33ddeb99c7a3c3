"""Five nodes for the benchmarks: folders, keys, a genesis, daemons in process groups of their own, and signed work.

The daemons are those of the product (`medchain.daemon`), with real HTTP, real files and synced writes; only
the supervisor's part, handing over the key, is done here. With `Consortium(full=True)` it is `medchain node run`.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from medchain.crypto.signing import ED25519, key_id
from medchain.encoding import canonical
from medchain.errors import MedchainError
from medchain.ledger.genesis import Genesis, build_genesis, genesis_signatures
from medchain.ledger.issuers import Invoices, VrfGeneration
from medchain.ledger.members import ACTIVE, Organisation, ProtocolRules, make_key, quorum_floor
from medchain.ledger.policy import default_policy, draw_order
from medchain.ledger.transaction import Change, Draw, ObjectRow, Signer, Transaction, pae, payload_bytes, seal
from medchain.node.addresses import is_unicast
from medchain.node.config import config_text
from medchain.node.keystore import (
    DaemonKeys,
    Layout,
    Unlock,
    WebKeys,
    add_vrf_key,
    create_keys,
    create_root_file,
    genesis_proofs,
    open_daemon_keys,
    open_web_keys,
    public_keys,
    unlock,
    vrf_publics,
)
from medchain.node.local import LocalClient
from medchain.node.peer_auth import PeerSigner
from medchain.node.peers import PeerClient
from medchain.node.supervisor import encode_unlock

ROOT = Path(__file__).resolve().parent.parent
# The first orders: not the only regulator, without whom nobody could take over from it.
ROLES = {
    "anxin-insurance": "insurer",
    "health-commission": "regulator",
    "renhe-hospital": "hospital",
    "binhai-hospital": "hospital",
    "taihe-insurance": "insurer",
}
ORDERER = "anxin-insurance"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
LOOK_S = 0.1
UNTIL_S = 55
_TICKS = os.sysconf("SC_CLK_TCK")
# An installed node finds the bytecode of its modules; where it may not be written each start compiles all of them.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def now() -> int:
    """Return Unix seconds."""
    return int(time.time())  # noqa: TID251  # the roof of a benchmark: the daemons go by this clock too


def commit() -> str:
    """Name the commit that is measured; a star if files differ from it."""
    head = _git("rev-parse", "--short", "HEAD")
    return head + ("*" if _git("status", "--porcelain", "--untracked-files=no", "--", "medchain") else "")


def machine() -> str:
    """Tell on what and beside what it runs."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}"


@dataclass(slots=True)
class Node:
    """One organisation's node.

    Attributes:
        org_id: the organisation.
        layout: of its folder.
        port: of its daemon.
        halves: of its root key.
        web: keys of its web workers.
        daemon: keys of its daemon.
        process: its first process.
    """

    org_id: str
    layout: Layout
    port: int
    halves: Unlock
    web: WebKeys
    daemon: DaemonKeys
    process: subprocess.Popen[bytes] | None = None
    _local: LocalClient | None = None

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.layout.folder / "node.toml"

    @property
    def local(self) -> LocalClient:
        """Calls to its daemon."""
        self._local = self._local or LocalClient(self.layout.folder)
        return self._local

    def status(self) -> dict[str, int]:
        """Return height, size and final size; zeros while it does not answer."""
        with suppress(MedchainError):
            found = self.local.call("status", {})
            if isinstance(found, dict):
                return {name: value for name, value in found.items() if type(value) is int}
        return {"height": 0, "size": 0, "final_size": 0}

    def processes(self) -> list[int]:
        """List its processes: those that name its configuration, and what they started."""
        named = str(self.config).encode()
        parents: dict[int, int] = {}
        found: set[int] = set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if named in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def cpu_s(self) -> float:
        """Return the CPU time of its processes, user and system."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                row = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
                total += int(row[11]) + int(row[12])
        return total / _TICKS

    def memory_mib(self) -> dict[int, tuple[float, float]]:
        """Return each process's resident and proportional memory, MiB."""
        found = {}
        for pid in self.processes():
            with suppress(OSError):
                rows = dict(
                    line.split(":", 1)
                    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
                )
                found[pid] = int(rows["Rss"].split()[0]) / 1024, int(rows["Pss"].split()[0]) / 1024
        return found


@dataclass(slots=True)
class Consortium:
    """The nodes of one ledger.

    Attributes:
        folder: holds a folder a node.
        full: whether whole nodes run, with web workers.
        org_ids: who takes part; the first orders.
        settings: further settings of all nodes.
        issuers: org_id → the code under which it issues invoices, of those that do.
        nodes: org_id → node; the orderer is the first.
        genesis: of their ledger.
    """

    folder: Path
    full: bool = False
    org_ids: Sequence[str] = tuple(ROLES)
    settings: dict[str, int] = field(default_factory=dict)
    issuers: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    genesis: Genesis | None = None
    _clients: list[PeerClient] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Make the folders and the genesis; nothing runs yet."""
        self.nodes = {org_id: self._node(org_id) for org_id in self.org_ids}
        genesis = build_genesis(
            [_organisation(node, self.issuers.get(node.org_id)) for node in self.nodes.values()],
            origin="medchain.example/benchmark",
            policy=default_policy(),
            protocol=ProtocolRules(self.org_ids[0], quorum_floor(len(self.org_ids)), 1),
            rp_id="localhost",
            sign_origins=["http://localhost:1"],
            time=now() - 60,
            demo=True,
        )
        proofs = {
            node.org_id: genesis_proofs(
                node.org_id,
                genesis.ledger,
                node.web,
                node.daemon,
                genesis.members.organisations[node.org_id].invoices,
            )
            for node in self.nodes.values()
        }
        for node in self.nodes.values():
            node.layout.genesis.write_bytes(genesis.encoded)
            node.layout.genesis_signatures.write_bytes(canonical(genesis_signatures(proofs)))
        self.genesis = genesis
        return self

    def __exit__(self, *_details: object) -> None:
        """Stop what runs."""
        for client in self._clients:
            client.close()
        running = [node.process for node in self.nodes.values() if node.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def start(self, *org_ids: str) -> None:
        """Start nodes, each in a session and process group of its own, and wait until they answer."""
        for org_id in org_ids or tuple(self.nodes):
            self._start(self.nodes[org_id])
        for org_id in org_ids or tuple(self.nodes):
            node = self.nodes[org_id]
            wait_for(lambda node=node: node.status()["size"] > 0, f"{org_id} does not start", START_TIMEOUT_S)

    def client(self, org_id: str) -> PeerClient:
        """Make one organisation's calls to the others, with its authentication key."""
        signer = PeerSigner(org_id, self.ledger, self.nodes[org_id].web.authentication, now)
        made = PeerClient(signer, lambda name: f"http://127.0.0.1:{self.nodes[name].port}", may_call=is_unicast)
        self._clients.append(made)
        return made

    @property
    def ledger(self) -> bytes:
        """Ledger id."""
        return self.genesis.ledger if self.genesis is not None else b""

    def wait_final(self, size: int, org_ids: Sequence[str] = (), timeout_s: float = 300) -> tuple[float, float]:
        """Wait until nodes have applied a size and hold it as final.

        Returns:
            When all had applied it, and when all knew it final; `time.perf_counter`.
        """
        nodes = [self.nodes[org_id] for org_id in org_ids or tuple(self.nodes)]
        wait_for(lambda: all(node.status()["size"] >= size for node in nodes), "not applied", timeout_s)
        applied = time.perf_counter()
        wait_for(lambda: all(node.status()["final_size"] >= size for node in nodes), "not final", timeout_s)
        return applied, time.perf_counter()

    def size(self) -> int:
        """Return the orderer's log size."""
        return self.nodes[ORDERER].status()["size"]

    def cpu_s(self) -> dict[str, float]:
        """Return each node's CPU time."""
        return {org_id: node.cpu_s() for org_id, node in self.nodes.items()}

    def _node(self, org_id: str) -> Node:
        """Make one node's folder."""
        folder = self.folder / org_id
        halves = unlock(create_root_file(folder / "keys" / "root.key", None))
        create_keys(folder, org_id, halves)
        if org_id in self.issuers:
            add_vrf_key(folder, halves)
        port = _free_port()
        settings = {
            "organisation.id": org_id,
            "peer.listen": f"127.0.0.1:{port}",
            "web.listen": f"127.0.0.1:{_free_port()}",
            **self.settings,
        }
        (folder / "node.toml").write_text(config_text(settings), encoding="utf-8")
        return Node(
            org_id, Layout(folder), port, halves, open_web_keys(folder, halves), open_daemon_keys(folder, halves)
        )

    def _start(self, node: Node) -> None:
        """Start one node."""
        words = [sys.executable, "-m", "medchain.node.start", "medchain.daemon", str(node.config)]
        if self.full:
            words = [sys.executable, "-m", "medchain.cli", "node", "run", "--config", str(node.config)]
        with (node.layout.folder / "console.log").open("ab") as console:
            node.process = subprocess.Popen(  # our own program, no shell
                words,
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,
                cwd=ROOT,
                env=_ENVIRONMENT,
            )
        if node.process.stdin is not None and not self.full:
            node.process.stdin.write(encode_unlock(node.halves))
            node.process.stdin.flush()


@dataclass(slots=True)
class Author:
    """Writes one organisation's transactions for a consortium, in the order in which they are to be submitted."""

    consortium: Consortium
    org_id: str
    number: int = 0

    def subjects(self, count: int) -> Iterator[bytes]:
        """Make transactions with two signatures: a subject, endorsed by the drawn organisation."""
        members = self.consortium.genesis.members if self.consortium.genesis is not None else None
        if members is None:
            return
        until = now() + UNTIL_S
        for _ in range(count):
            self.number += 1
            drawn = draw_order(members, self.org_id, self.number, self.consortium.ledger)[0]
            draw = Draw(0, self.number, 0)
            change = Change("subject", "active", (_row(),), stop_hash=None)
            yield self._signed(change, draw, until, {self.org_id: "creator", drawn: "independent"})

    def anchors(self, count: int, objects: int = 1) -> Iterator[bytes]:
        """Make transactions with one signature: an anchor of new records."""
        for _ in range(count):
            change = Change("record", "active", tuple(sorted(_row() for _ in range(objects))))
            yield self._signed(change, None, None, {self.org_id: "creator"})

    def _signed(self, change: Change, draw: Draw | None, until: int | None, roles: dict[str, str]) -> bytes:
        """Write and sign a transaction."""
        pens = {org_id: self.consortium.nodes[org_id].daemon.ledger for org_id in roles}
        names = {org_id: key_id(ED25519, pen.public) for org_id, pen in pens.items()}
        payload = payload_bytes(
            Transaction(
                creator=self.org_id,
                changes=(change,),
                bodies=(),
                signers=tuple(sorted(Signer(names[org_id], role) for org_id, role in roles.items())),
                draw=draw,
                ledger=self.consortium.ledger,
                nonce=secrets.token_bytes(16),
                until=until,
                protocol=1,
            )
        )
        message = pae(payload)
        return seal(payload, [(names[org_id], pen.sign(message)) for org_id, pen in pens.items()]).leaf


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait until something holds, or end the benchmark."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"{what} after {timeout_s:.0f} s")
        time.sleep(LOOK_S)


def _row() -> ObjectRow:
    """Make a new object's row."""
    return ObjectRow(secrets.token_bytes(16), 1, secrets.token_bytes(32))


def _organisation(node: Node, issuer: str | None) -> Organisation:
    """Describe a node's organisation."""
    public = public_keys(node.layout.folder).items()
    keys = sorted((make_key(node.org_id, use, text) for use, text in public), key=lambda key: key.id)
    name = {"en": node.org_id, "zh": node.org_id}
    url = f"http://127.0.0.1:{node.port}"
    newest = [] if issuer is None else vrf_publics(node.layout.folder)[-1:]
    invoices = Invoices((issuer,), (VrfGeneration(0, newest[0]),)) if issuer and newest else None
    return Organisation(node.org_id, ROLES[node.org_id], node.org_id, name, url, (), ACTIVE, tuple(keys), invoices)


def _free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _git(*words: str) -> str:
    """Ask git."""
    ran = subprocess.run(["git", *words], check=False, cwd=ROOT, capture_output=True, text=True)
    return ran.stdout.strip()
