"""Nodes of some organisations, founded and run as their administrators do it: by commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.children import child
from tests.e2e.running_demo import STOP_S, run_command
from tests.ports import free_ports

WAIT_S = 240


@dataclass
class Town:
    """The nodes of some organisations."""

    folder: Path
    ledger: str = ""
    running: dict[str, subprocess.Popen] = field(default_factory=dict)
    webs: dict[str, int] = field(default_factory=dict)
    settings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def run(self, *words: object, code: int = 0) -> str:
        """Run a command as a process of its own; returns standard output."""
        return run_command(words, code, WAIT_S + 60)

    def at(self, org_id: str, *words: object, code: int = 0):
        """Run a command of an organisation's administrator; returns the document that it answers."""
        out = self.run(*words, "--json", "--config", self.config(org_id), code=code)
        return json.loads(out) if out else None

    def config(self, org_id: str) -> Path:
        return self.folder / org_id / "node.toml"

    def init(self, org_id: str, role: str, *more: object) -> None:
        peer, web = free_ports(2, self.folder / org_id)
        self.webs[org_id] = web
        words = (
            "--role",
            role,
            "--name-zh",
            f"机构 {org_id}",
            "--name-en",
            org_id,
            "--url",
            f"http://127.0.0.1:{peer}",
        )
        listens = ("--peer-listen", f"127.0.0.1:{peer}", "--web-listen", f"127.0.0.1:{web}")
        self.run("init", self.folder / org_id, "--org-id", org_id, *words, *listens, *more)

    def start(self, org_id: str) -> None:
        words = ("node", "run", "--config", self.config(org_id), "--set", "web.workers=1", "--end-with-stdin")
        settings = ("node.stop_timeout_s=5", "web.threads=1", *self.settings.get(org_id, ()))
        more = [word for one in settings for word in ("--set", one)]
        command = [sys.executable, "-m", "medchain.cli", *map(str, (*words, *more))]
        self.running[org_id] = child(command, stdin=subprocess.PIPE)

    def ready(self, org_id: str) -> None:
        """Wait until a node serves."""
        self.eventually(lambda: self.is_ready(org_id))

    def is_ready(self, org_id: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.webs[org_id]}/readyz", timeout=60) as answer:
                return answer.status == 200
        except OSError:
            return False

    def status(self, org_id: str):
        words = [sys.executable, "-m", "medchain.cli", "status", "--json", "--config", str(self.config(org_id))]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
        return json.loads(done.stdout).get("health") or {} if done.stdout else {}

    def is_mirrored(self, org_id: str) -> bool:
        """Tell whether the log of a node holds under the policy of its members."""
        trusted, config = self.folder / "trusted.txt", self.config(org_id)
        trusted.write_text(self.run("policy", "show", "--trusted", "--config", config))
        words = ("log", "mirror", self.folder / "mirror", "--policy", trusted, "--config", config)
        command = [sys.executable, "-m", "medchain.cli", *map(str, words)]
        return subprocess.run(command, capture_output=True, check=False, timeout=300).returncode == 0

    def kill(self, org_id: str) -> None:
        """Let a machine burn down."""
        state = json.loads((self.folder / org_id / "run" / "node.json").read_bytes())
        process = self.running.pop(org_id)
        process.kill()
        for row in state["processes"].values():
            try:
                os.kill(row["pid"], signal.SIGKILL)
            except OSError:
                continue
        process.wait(STOP_S)
        process.stdin.close()

    def stop(self, org_id: str) -> None:
        process = self.running.pop(org_id)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0
        process.stdin.close()

    def agree(self, proposal, *org_ids: str, final: bool = True) -> None:
        """Have administrators approve, and wait until the ledger has it, for good or at all."""
        for org_id in org_ids:
            self.eventually(lambda org_id=org_id: self.knows(org_id, proposal["id"]))
            self.at(org_id, "proposals", "approve", proposal["id"], "--yes")
        last = org_ids[-1]
        try:
            self.eventually(lambda: is_there(self.at(last, "proposals", "show", proposal["id"]), final=final))
        except pytest.fail.Exception:
            shown = {org_id: self.status(org_id) for org_id in self.running}
            pytest.fail(f"{self.at(last, 'proposals', 'show', proposal['id'])} {shown}")

    def knows(self, org_id: str, name: str) -> bool:
        return name in {row["id"] for row in self.at(org_id, "proposals", "list", "--all")["proposals"]}

    def eventually(self, condition) -> None:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(1)
        pytest.fail("it did not come to be")

    def member(self, org_id: str, about: str):
        """Ask a node of a member: what is final at one node, another one may not have heard of."""
        return self.at(org_id, "org", "show", about)

    def orderer(self, org_id: str) -> str:
        """Ask a node who orders; likewise."""
        return self.at(org_id, "log", "witnesses")["log"]["orderer"]


def is_there(shown, *, final: bool) -> bool:
    return shown["state"] == "accepted" and (shown["final"] or not final)


@contextmanager
def running_town(
    folder: Path,
    roles: Mapping[str, tuple[str, ...]],
    orderer: str,
    settings: Mapping[str, tuple[str, ...]] | None = None,
) -> Iterator[Town]:
    """Found a consortium and run its nodes.

    Args:
        folder: where their folders are made.
        roles: org_id → its role, and further words of `medchain init`.
        orderer: who orders first.
        settings: org_id → further settings of its node, ``name=value``.
    """
    town = Town(folder, settings=dict(settings or {}))
    for org_id, (role, *more) in roles.items():
        town.init(org_id, role, *more)
    files = [folder / org_id / "member.json" for org_id in roles]
    names = ("--name", "localhost/e2e", "--orderer", orderer, "--rp-id", "localhost", "--demo", "--json")
    genesis = folder / "genesis.json"
    proposed = town.run("join", "propose", *files, *names, "--sign-origin", "http://localhost:1", "--out", genesis)
    town.ledger = json.loads(proposed)["ledger"]
    for org_id in roles:
        town.run("join", "sign", genesis, "--out", folder / f"{org_id}.p", "--config", town.config(org_id))
    proofs = sorted(folder.glob("*.p"))
    for org_id in roles:
        town.run("join", "start", genesis, *proofs, "--ledger", town.ledger, "--config", town.config(org_id))
    try:
        for org_id in roles:
            town.start(org_id)
        for org_id in roles:
            town.ready(org_id)
        yield town
    finally:
        for process in town.running.values():
            process.send_signal(signal.SIGTERM)
        for process in town.running.values():
            process.wait(STOP_S)
            process.stdin.close()
