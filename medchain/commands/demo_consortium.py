"""The demo's consortium: five organisations, each a node in a folder of its own, run as processes of their own.

Everything is done with the commands that an operator would use (`medchain init`, `join`, `node run`). Keeps true:
what another program made is never removed; what was cut short before all records were loaded begins anew, so that no
record is loaded twice; whatever is started is stopped, in order, also when one of the nodes fails; its ports are no
other demo's (`medchain.commands.demo_ports`). Trusts the operating system for process groups.
Source: `docs/spec/genesis.md`, `docs/adr/0005-node-processes.md`.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple, Self

from medchain.commands import demo_texts as texts
from medchain.commands import founding
from medchain.commands.command import Command, Context
from medchain.commands.demo_ports import Ports, is_free, row_of, take_again, take_ports
from medchain.commands.demo_predicates import TYPES
from medchain.encoding import Json, as_object, canonical, members, parse_canonical
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.genesis import Genesis, parse_genesis, trusted_policy_text
from medchain.ledger.policy import default_policy
from medchain.node.keystore import Layout, write_private_file
from medchain.node.local import LocalClient
from medchain.node.peers import Limits
from medchain.node.proofs import TRUSTED_POLICY, read_trusted_policy
from medchain.node.supervisor import read_node_state
from medchain.node.witnesses import WITNESSES
from medchain.tlog.checkpoint import Checkpoint, parse_checkpoint
from medchain.tlog.note import parse_note

ORDERER: Final = "taihe-insurance"
"""Who orders in the demo: not the one regulator, who must sign for another to take over from a lost orderer."""

REGULATOR: Final = "health-commission"
"""Whom the demo asks for proofs from outside, and who takes over from the orderer if need be."""

POLICY_NAME: Final = "policy.txt"
"""Name of the file with the trusted policy."""

ZONE: Final = "Asia/Shanghai"
"""Zone of all nodes, as of the sample data; nodes keep it, whoever starts them again."""

START_TIMEOUT_S: Final = 90.0
"""How long the nodes may take to start and to agree."""

STOP_TIMEOUT_S: Final = 30.0
"""How long a node may take to stop."""

_STATE_NAME: Final = "demo.json"
_UNFINISHED_NAME: Final = "unfinished"
_RULES_NAME: Final = "rules.json"
_FILES: Final = ("genesis.json", POLICY_NAME, _RULES_NAME, _STATE_NAME)
_STATE_TYPE: Final = "medchain/demo/v3"
_MAX_STATE_BYTES: Final = 64 * 1024
_LOOK_S: Final = 0.05
_QUICK: Final = Limits(timeout_s=5.0)
# One web process a node, since five nodes share this machine; two where clients come for records.
_SETTINGS: Final = ("web.workers=1", "web.threads=8", "database.cache_mib=48", "node.stop_timeout_s=10")
_HOSPITAL_SETTINGS: Final = ("web.workers=2", "database.cache_mib=96")
_EINVOICE_SETTING: Final = "einvoice.url={}"


class Founder(NamedTuple):
    """An organisation of the demo; the issuer code of its invoices, if it issues some, is that of the sample data."""

    org_id: str
    role: str
    zh: str
    en: str
    issuer: str = ""


FOUNDERS: Final = (
    Founder("renhe-hospital", "hospital", "仁和医院", "Renhe Hospital", "99010001"),
    Founder("binhai-hospital", "hospital", "滨海第二医院", "Binhai Second Hospital", "99010002"),
    Founder("anxin-insurance", "insurer", "安心健康保险", "Anxin Health Insurance"),
    Founder(ORDERER, "insurer", "泰和保险", "Taihe Insurance"),
    Founder(REGULATOR, "regulator", "市卫生健康委员会", "Municipal Health Commission"),
)
"""The five, as in the sample data."""

HOSPITALS: Final = tuple(founder.org_id for founder in FOUNDERS if founder.role == "hospital")
"""Who holds records."""

INSURERS: Final = tuple(founder.org_id for founder in FOUNDERS if founder.role == "insurer")
"""Who holds claims."""


@dataclass(slots=True)
class Node:
    """One organisation's node.

    Attributes:
        founder: the organisation.
        folder: its folder.
        web_port: of its web workers.
        peer_port: of its daemon.
        sign_port: of the page on which patients sign; 0 where none does.
        local: calls to its daemon.
        process: its supervisor while it runs.
    """

    founder: Founder
    folder: Path
    web_port: int
    peer_port: int
    sign_port: int
    local: LocalClient
    process: subprocess.Popen[bytes] | None = None

    @property
    def config_path(self) -> Path:
        """Its configuration."""
        return self.folder / "node.toml"

    @property
    def web_url(self) -> str:
        """Where its web workers are."""
        return f"http://localhost:{self.web_port}"

    @property
    def sign_url(self) -> str:
        """Where its patients sign."""
        return f"http://localhost:{self.sign_port}"

    @property
    def ports(self) -> tuple[int, ...]:
        """All on which it listens."""
        return tuple(filter(None, (self.web_port, self.peer_port, self.sign_port)))


@dataclass(slots=True)
class Consortium:
    """The five nodes of a folder.

    Attributes:
        folder: of the demo.
        genesis: of their ledger.
        nodes: org_id → node, in the order of `FOUNDERS`.
        facts: what the demo keeps of its earlier runs.
        ports: what keeps others from its nodes' ports, once they were chosen or the nodes are to start.
        einvoice_url: where the insurers' nodes ask for electronic invoices; empty where nobody is asked.
    """

    folder: Path
    genesis: Genesis
    nodes: dict[str, Node]
    facts: dict[str, Json] = field(default_factory=dict)
    ports: Ports | None = None
    einvoice_url: str = ""

    @property
    def einvoice_port(self) -> int:
        """For the stand-in that answers for electronic invoices: the last of the row that the nodes' ports are from."""
        return row_of(self.nodes[ORDERER].web_port)[-1]

    @property
    def policy_path(self) -> Path:
        """The trusted policy."""
        return self.folder / POLICY_NAME

    def __enter__(self) -> Self:
        """Begin; nothing runs yet."""
        return self

    def __exit__(self, *_details: object) -> None:
        """Stop what runs."""
        self.stop()

    def start(self) -> None:
        """Start all nodes; returns at once.

        Raises:
            ConflictError: ``demo.port`` if another program has taken a port, or another demo is about to;
                ``node.running`` if a node runs already.
        """
        for node in self.nodes.values():
            if _runs(node.folder):
                raise ConflictError("node.running", folder=str(node.folder))
            self.ports = self.ports or take_again(node.web_port)
            for port in node.ports:
                if self.ports is None or not is_free(port):
                    raise ConflictError("demo.port", port=port, org_id=node.founder.org_id)
        for org_id in self.nodes:
            self.start_node(org_id)

    def start_node(self, org_id: str) -> None:
        """Start one node, in a session and process group of its own."""
        node = self.nodes[org_id]
        words = [sys.executable, "-m", "medchain.cli", "node", "run", "--config", str(node.config_path)]
        # A demo that is killed takes its nodes with it: the pipe closes, whatever ends it.
        words.append("--end-with-stdin")
        settings = (*_SETTINGS, *(_HOSPITAL_SETTINGS if node.founder.org_id in HOSPITALS else ()))
        if self.einvoice_url and org_id in INSURERS:
            # Not in its file: once the demo has ended nobody answers there.
            settings += (_EINVOICE_SETTING.format(self.einvoice_url),)
        words += [word for setting in settings for word in ("--set", setting)]
        node.folder.joinpath("logs").mkdir(mode=0o700, exist_ok=True)
        with node.folder.joinpath("logs", "console.log").open("ab") as console:
            node.process = subprocess.Popen(  # noqa: S603  # our own command, no shell
                words,
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def check_running(self) -> None:
        """See that all nodes run; raises `UnavailableError` ``demo.node_ended``."""
        for org_id, node in self.nodes.items():
            status = None if node.process is None else node.process.poll()
            if node.process is None or status is not None:
                log = str(node.folder / "logs")
                raise UnavailableError("demo.node_ended", org_id=org_id, status=str(status), logs=log)

    def ended(self) -> set[str]:
        """Name the nodes that were started and have ended, unless somebody has started them again."""
        return {
            org_id
            for org_id, node in self.nodes.items()
            if node.process is not None and node.process.poll() is not None and not _runs(node.folder)
        }

    def wait_for(self, condition: Callable[[], bool], code: str, timeout_s: float = START_TIMEOUT_S) -> float:
        """Wait until something holds while all nodes run.

        Args:
            condition: tells whether it holds; a node that cannot be asked yet counts as no.
            code: of the error.
            timeout_s: how long.

        Returns:
            Seconds that it took.

        Raises:
            UnavailableError: the code, or ``demo.node_ended``.
        """
        began = time.monotonic()
        while True:
            self.check_running()
            with suppress(UnavailableError, NotFoundError):
                if condition():
                    return time.monotonic() - began
            if time.monotonic() - began > timeout_s:
                raise UnavailableError(code, seconds=int(timeout_s))
            time.sleep(_LOOK_S)

    def wait_serving(self) -> float:
        """Wait until every node is ready and its web workers answer; returns the seconds."""
        return self.wait_for(lambda: all(_serves(node) for node in self.nodes.values()), "demo.not_started")

    def wait_agreed(self, size: int = 1) -> float:
        """Wait until all nodes hold the same final checkpoint of at least a size.

        Args:
            size: leaves that it covers at least.

        Returns:
            Seconds that it took.

        Raises:
            UnavailableError: ``demo.not_agreed``.
            VerificationError: ``demo.split`` if two nodes hold different roots for one size.
        """

        def agreed() -> bool:
            found = [parse_checkpoint(parse_note(note).text) for note in self.checkpoints().values()]
            roots: dict[int, bytes] = {}
            for checkpoint in found:
                if roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
                    raise VerificationError("demo.split", size=checkpoint.size)
            return len(roots) == 1 and found[0].size >= size

        return self.wait_for(agreed, "demo.not_agreed")

    def checkpoints(self) -> dict[str, bytes]:
        """Fetch each node's newest final checkpoint; raises `UnavailableError` while one has none."""
        notes = {}
        for org_id, node in self.nodes.items():
            try:
                notes[org_id] = node.local.get("/log/checkpoint", _QUICK)
            except UnavailableError:
                raise
            except MedchainError as error:
                raise UnavailableError("demo.no_checkpoint", org_id=org_id) from error
        return notes

    def checkpoint(self, org_id: str = ORDERER) -> Checkpoint:
        """Read one node's newest final checkpoint."""
        return parse_checkpoint(parse_note(self.nodes[org_id].local.get("/log/checkpoint", _QUICK)).text)

    def orderer(self) -> str:
        """Ask who orders now: after a takeover it is another than at first."""
        answer = self.nodes[REGULATOR].local.call(WITNESSES, {}, _QUICK)
        log = as_object(answer).get("log")
        return str(log.get("orderer")) if isinstance(log, dict) else ORDERER

    def policy(self) -> bytes:
        """Ask for the policy under which the newest final checkpoint stands."""
        return read_trusted_policy(self.nodes[REGULATOR].local.call(TRUSTED_POLICY, {}, _QUICK)).encode()

    def status(self, org_id: str) -> dict[str, Json]:
        """Ask a daemon how it is."""
        answer = self.nodes[org_id].local.call("status", {}, _QUICK)
        return as_object(answer)

    def remember(self, **facts: Json) -> None:
        """Keep facts for the next run."""
        self.facts |= facts
        _write_state(self.folder, self.nodes, self.facts)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Have the next run begin anew unless the block ends well: which bundle came last is known to nobody."""
        unfinished = self.folder / _UNFINISHED_NAME
        unfinished.write_bytes(b"")
        yield
        unfinished.unlink()

    def stop(self) -> None:
        """Stop all nodes: the orderer last, so that the others can still hand in what they have."""
        running = [node for node in self.nodes.values() if node.process is not None]
        ordered = sorted(running, key=lambda node: node.founder.org_id == ORDERER)
        for node in ordered:
            _signal(node, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for node in ordered:
            _await_end(node, deadline)
        for node in self.nodes.values():
            node.local.close()
        if self.ports is not None:
            self.ports.close()
            self.ports = None


def open_consortium(folder: Path, context: Context) -> tuple[Consortium, bool]:
    """Find the demo's consortium in a folder, or found it.

    Args:
        folder: of the demo.
        context: of the command.

    Returns:
        The consortium, nothing of which runs, and whether it is new.

    Raises:
        ConflictError: ``demo.folder`` if the folder holds something else; ``node.running`` if a node of it runs that
            has not been loaded.
    """
    folder = folder.resolve()
    is_unfinished = (folder / _UNFINISHED_NAME).exists()
    is_new = is_unfinished or not (folder / _STATE_NAME).exists()
    taken = None
    if is_new:
        _clear(folder)
        if is_unfinished:
            context.tell(texts.BEGUN_ANEW, folder=folder)
        taken = _found(folder, context)
    ports, facts = _read_state(folder)
    nodes = {}
    for founder in FOUNDERS:
        home = folder / founder.org_id
        nodes[founder.org_id] = Node(founder, home, *ports[founder.org_id], LocalClient(home))
    genesis = parse_genesis(Layout(nodes[ORDERER].folder).genesis.read_bytes())
    return Consortium(folder, genesis, nodes, facts, taken), is_new


def call(command: Sequence[str], words: Sequence[str], context: Context, commands: Sequence[Command]) -> Json:
    """Run another command in this process and return its answer.

    Args:
        command: its path, such as ``("join", "sign")``.
        words: its arguments.
        context: of the command that calls.
        commands: where to look for it.

    Returns:
        The document that it answers with `--json`.

    Raises:
        MedchainError: what the command raises.
    """
    found = next(item for item in commands if item.path == tuple(command))
    parser = argparse.ArgumentParser(" ".join(command), add_help=False)
    parser.add_argument("--config")
    found.arguments(parser, lambda text: text.in_language(context.language))
    out = io.StringIO()
    arguments = parser.parse_args(list(words))
    inner = replace(context, arguments=arguments, as_json=True, out=out, err=io.StringIO())
    if found.run(inner):
        raise InputError("demo.command", command=" ".join(command))
    return parse_canonical(out.getvalue().rstrip("\n").encode(), max_bytes=_MAX_STATE_BYTES)


def _found(folder: Path, context: Context) -> Ports:
    """Make five nodes and have them agree on a genesis, as five operators would; returns the ports that it took."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _UNFINISHED_NAME).write_bytes(b"")
    taken = take_ports(2 * len(FOUNDERS) + len(HOSPITALS), str(folder))
    with ExitStack() as stack:
        stack.callback(taken.close)
        _agree(folder, taken, context)
        stack.pop_all()
    return taken


def _agree(folder: Path, taken: Ports, context: Context) -> None:
    """Make the nodes' folders, the genesis, and what the next run needs."""
    free = iter(taken.row)
    ports = {
        founder.org_id: (next(free), next(free), next(free) if founder.org_id in HOSPITALS else 0)
        for founder in FOUNDERS
    }
    for founder in FOUNDERS:
        _init(folder, founder, ports[founder.org_id], context)
    proposal, rules = folder / "genesis.json", folder / _RULES_NAME
    rules.write_bytes(canonical({**default_policy(), "predicates": TYPES}))
    origins = [f"--sign-origin=http://localhost:{ports[org_id][2]}" for org_id in HOSPITALS]
    proposed = call(
        ("join", "propose"),
        [
            *(str(folder / founder.org_id / "member.json") for founder in FOUNDERS),
            "--name=medchain.example/demo",
            f"--orderer={ORDERER}",
            "--rp-id=localhost",
            *origins,
            "--demo",
            f"--policy={rules}",
            f"--out={proposal}",
        ],
        context,
        founding.COMMANDS,
    )
    ledger = str(proposed["ledger"]) if isinstance(proposed, dict) else ""
    proofs = [str(folder / f"proofs.{founder.org_id}.json") for founder in FOUNDERS]
    for founder, proof in zip(FOUNDERS, proofs, strict=True):
        own = f"--config={folder / founder.org_id / 'node.toml'}"
        call(("join", "sign"), [str(proposal), f"--out={proof}", own], context, founding.COMMANDS)
    for founder in FOUNDERS:
        own = f"--config={folder / founder.org_id / 'node.toml'}"
        words = [str(proposal), *proofs, f"--ledger={ledger}", own]
        call(("join", "start"), words, context, founding.COMMANDS)
    genesis = parse_genesis(proposal.read_bytes())
    (folder / POLICY_NAME).write_text(trusted_policy_text(genesis.members, genesis.origin), encoding="utf-8")
    _write_state(folder, ports, {})
    (folder / _UNFINISHED_NAME).unlink()


def _init(folder: Path, founder: Founder, ports: tuple[int, int, int], context: Context) -> None:
    """Make one node's folder."""
    web_port, peer_port, sign_port = ports
    words = [
        str(folder / founder.org_id),
        f"--org-id={founder.org_id}",
        f"--role={founder.role}",
        f"--name-zh={founder.zh}",
        f"--name-en={founder.en}",
        f"--url=http://127.0.0.1:{peer_port}",
        f"--origin=http://localhost:{web_port}",
        f"--peer-listen=127.0.0.1:{peer_port}",
        f"--web-listen=127.0.0.1:{web_port}",
        f"--time-zone={ZONE}",
    ]
    if founder.issuer:
        words.append(f"--issuer={founder.issuer}")
    if sign_port:
        words += [f"--sign-listen=127.0.0.1:{sign_port}", f"--sign-origin=http://localhost:{sign_port}"]
    call(("init",), words, context, founding.COMMANDS)


def _clear(folder: Path) -> None:
    """Remove what was cut short; raises `ConflictError` ``demo.folder`` for anything else, ``node.running``."""
    if not folder.exists():
        return
    if (folder / _UNFINISHED_NAME).exists():
        homes = [folder / founder.org_id for founder in FOUNDERS]
        for home in homes:
            if _runs(home):
                raise ConflictError("node.running", folder=str(home))
        for home in homes:
            shutil.rmtree(home, ignore_errors=True)
        for path in (*folder.glob("proofs.*.json"), *(folder / name for name in _FILES)):
            path.unlink(missing_ok=True)
    elif any(folder.iterdir()):
        raise ConflictError("demo.folder", folder=str(folder))


def _write_state(folder: Path, ports: Mapping[str, tuple[int, int, int] | Node], facts: Mapping[str, Json]) -> None:
    """Write what the next run needs."""
    rows: dict[str, Json] = {}
    for org_id, row in ports.items():
        web, peer, sign = (row.web_port, row.peer_port, row.sign_port) if isinstance(row, Node) else row
        rows[org_id] = {"peer": peer, "sign": sign, "web": web}
    document: Json = {"facts": dict(facts), "ports": rows, "type": _STATE_TYPE}
    write_private_file(folder / _STATE_NAME, canonical(document))


def _read_state(folder: Path) -> tuple[dict[str, tuple[int, int, int]], dict[str, Json]]:
    """Read what an earlier run kept."""
    content = (folder / _STATE_NAME).read_bytes()
    top = members(parse_canonical(content, max_bytes=_MAX_STATE_BYTES), {"facts": dict, "ports": dict, "type": str})
    facts, rows = top["facts"], top["ports"]
    if top["type"] != _STATE_TYPE or not isinstance(rows, dict) or not isinstance(facts, dict):
        raise ConflictError("demo.folder", folder=str(folder))
    ports = {}
    for founder in FOUNDERS:
        row = members(rows.get(founder.org_id), {"peer": int, "sign": int, "web": int})
        ports[founder.org_id] = (int(str(row["web"])), int(str(row["peer"])), int(str(row["sign"])))
    return ports, facts


def _runs(folder: Path) -> bool:
    """Tell whether a node of an earlier run still lives."""
    try:
        read_node_state(Layout(folder))
    except MedchainError:
        return False
    return True


def _serves(node: Node) -> bool:
    """Tell whether a node's daemon is level with the ledger, and all of its servers listen."""
    status = node.local.call("status", {}, _QUICK)
    if not isinstance(status, dict) or status.get("ready") is not True:
        return False
    with ExitStack() as stack:
        try:
            for port in node.ports:
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=1))
        except OSError:
            return False
    return True


def _signal(node: Node, number: int) -> None:
    """Signal a node's supervisor, which stops the rest of the node."""
    if node.process is not None and node.process.poll() is None:
        node.process.send_signal(number)


def _await_end(node: Node, deadline: float) -> None:
    """Wait for a node's end; one that does not end in time is killed, and its children end with it."""
    if node.process is None:
        return
    try:
        node.process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(node.process.pid, signal.SIGKILL)
        node.process.wait()
    node.process = None
