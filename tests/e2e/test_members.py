"""Members change their consortium as their administrators do: by commands, with real nodes, some of them down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.children import child
from tests.e2e.running_demo import STOP_S, run_command
from tests.ports import free_ports

pytestmark = pytest.mark.e2e

RENHE, BINHAI = "renhe-hospital", "binhai-hospital"
ANXIN, COMMISSION = "anxin-insurance", "health-commission"
NEWCOMER = "tongji-hospital"
FOUNDERS = {RENHE: "hospital", BINHAI: "hospital", ANXIN: "insurer", COMMISSION: "regulator"}
WAIT_S = 240


@dataclass
class Town:
    """The nodes of some organisations."""

    folder: Path
    ledger: str = ""
    running: dict[str, subprocess.Popen] = field(default_factory=dict)
    webs: dict[str, int] = field(default_factory=dict)

    def run(self, *words: object, code: int = 0) -> str:
        """Run a command as a process of its own; returns standard output."""
        return run_command(words, code, WAIT_S + 60)

    def at(self, org_id: str, *words: object, code: int = 0):
        """Run a command of an organisation's administrator; returns the document that it answers."""
        out = self.run(*words, "--json", "--config", self.config(org_id), code=code)
        return json.loads(out) if out else None

    def config(self, org_id: str) -> Path:
        return self.folder / org_id / "node.toml"

    def init(self, org_id: str, role: str) -> None:
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
        self.run("init", self.folder / org_id, "--org-id", org_id, *words, *listens)

    def start(self, org_id: str) -> None:
        words = ("node", "run", "--config", self.config(org_id), "--set", "web.workers=1", "--end-with-stdin")
        more = ("--set", "node.stop_timeout_s=5", "--set", "web.threads=1")
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


@pytest.fixture
def town(tmp_path) -> Iterator[Town]:
    town = Town(tmp_path)
    for org_id, role in FOUNDERS.items():
        town.init(org_id, role)
    files = [tmp_path / org_id / "member.json" for org_id in FOUNDERS]
    names = ("--name", "localhost/e2e", "--orderer", COMMISSION, "--rp-id", "localhost", "--demo", "--json")
    genesis = tmp_path / "genesis.json"
    proposed = town.run("join", "propose", *files, *names, "--sign-origin", "http://localhost:1", "--out", genesis)
    town.ledger = json.loads(proposed)["ledger"]
    for org_id in FOUNDERS:
        town.run("join", "sign", genesis, "--out", tmp_path / f"{org_id}.p", "--config", town.config(org_id))
    proofs = sorted(tmp_path.glob("*.p"))
    for org_id in FOUNDERS:
        town.run("join", "start", genesis, *proofs, "--ledger", town.ledger, "--config", town.config(org_id))
    try:
        for org_id in FOUNDERS:
            town.start(org_id)
        for org_id in FOUNDERS:
            town.ready(org_id)
        yield town
    finally:
        for process in town.running.values():
            process.send_signal(signal.SIGTERM)
        for process in town.running.values():
            process.wait(STOP_S)
            process.stdin.close()


def test_members_suspend_reinstate_change_their_policy_hand_over_take_over_and_admit(town):
    # One is suspended. A person reads what is proposed, in words.
    made = town.at(RENHE, "org", "suspend", ANXIN, "--reason", "三次未答复")
    town.eventually(lambda: town.knows(COMMISSION, made["id"]))
    listed = town.run("proposals", "--lang", "zh", "--config", town.config(COMMISSION))
    assert f"{ANXIN}：状态：有效 → 已暂停" in listed
    assert "签名 1/3" in listed
    assert "三次未答复" in listed
    # Without a yes nothing is approved.
    town.run("proposals", "approve", made["id"], "--config", town.config(COMMISSION), code=2)
    town.agree(made, BINHAI, COMMISSION)
    town.eventually(lambda: town.member(RENHE, ANXIN)["status"] == "suspended")
    # It comes back, though a proposal of the same was withdrawn before.
    other = town.at(COMMISSION, "org", "reinstate", ANXIN)
    assert town.at(COMMISSION, "proposals", "withdraw", other["id"][:12])["state"] == "withdrawn"
    town.agree(town.at(BINHAI, "org", "reinstate", ANXIN), RENHE, COMMISSION)
    town.eventually(lambda: town.member(RENHE, ANXIN)["status"] == "active")
    town.ready(ANXIN)

    # The policy changes while a member is down.
    town.stop(ANXIN)
    policy = town.at(RENHE, "policy", "show")
    policy["rules"]["policy/active"] = {"majority": "member"}
    (town.folder / "policy.json").write_text(json.dumps(policy, indent=1))
    town.agree(town.at(RENHE, "policy", "propose", town.folder / "policy.json"), BINHAI, COMMISSION)
    town.start(ANXIN)
    town.ready(ANXIN)
    town.eventually(lambda: town.at(ANXIN, "policy", "show") == policy)

    # The orderer hands over, and the new one burns down.
    town.agree(town.at(RENHE, "orderer", "hand-over", BINHAI), BINHAI, COMMISSION)
    town.eventually(lambda: town.orderer(RENHE) == BINHAI)
    # Nothing is ordered since, and what is there holds all the same: the new orderer has signed that end, too.
    town.eventually(lambda: town.is_mirrored(COMMISSION))
    town.kill(BINHAI)
    stuck = town.at(ANXIN, "policy", "propose", town.folder / "policy.json", code=2)
    assert stuck is None, "it is so already"
    takeover = town.at(RENHE, "orderer", "take-over", "--reason", "机房失火")
    assert takeover["way"] == "take-over"
    town.agree(takeover, ANXIN, COMMISSION)
    town.eventually(lambda: town.orderer(ANXIN) == RENHE)

    # An organisation joins while one is down.
    town.init(NEWCOMER, "hospital")
    genesis, request = town.folder / "genesis.json", town.folder / "admission.json"
    newcomer = ("--ledger", town.ledger, "--config", town.config(NEWCOMER))
    town.run("join", "request", genesis, "--out", request, *newcomer)
    # Of five, four must cosign: with one lost, it is final once the newcomer is there.
    town.agree(town.at(ANXIN, "org", "admit", request), RENHE, COMMISSION, final=False)
    town.run("join", "enter", genesis, town.folder / RENHE / "genesis.signatures.json", *newcomer)
    town.start(NEWCOMER)
    town.ready(NEWCOMER)
    # It is a member like any other; and who was lost finds its way back.
    town.start(BINHAI)
    town.ready(BINHAI)
    town.agree(town.at(NEWCOMER, "protocol", "propose", "--quorum", 5), BINHAI, ANXIN, COMMISSION)
    assert {row["org_id"] for row in town.at(BINHAI, "org", "list")["organisations"]} == {*FOUNDERS, NEWCOMER}
