"""A command line without a process, and a node that has joined a ledger."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from medchain.cli import main

INIT = ("--role", "hospital", "--name-zh", "仁和医院", "--name-en", "Renhe Hospital")


@dataclass
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


def medchain(*words: object, **environment: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    code = main([str(word) for word in words], environment, out, err)
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture
def run():
    return medchain


@pytest.fixture(scope="session")
def founded(tmp_path_factory) -> Path:
    """Found a ledger of three; returns the folder with theirs."""
    folder = tmp_path_factory.mktemp("consortium")
    members = {"renhe-hospital": "hospital", "anxin-insurance": "insurer", "health-commission": "regulator"}
    for org_id, role in members.items():
        words = ("--role", role, "--name-zh", "名", "--name-en", "Name", "--origin", f"http://{org_id}.example")
        words += ("--issuer", "31010500123") if role == "hospital" else ()
        assert medchain("init", folder / org_id, "--org-id", org_id, *words).code == 0
    proposed = medchain(
        *("join", "propose", *(folder / org_id / "member.json" for org_id in members), "--json", "--demo"),
        *("--name", "localhost/test", "--orderer", "health-commission", "--rp-id", "localhost"),
        *("--sign-origin", "http://localhost:41000", "--out", folder / "genesis.json"),
    )
    assert proposed.code == 0, proposed.err
    (folder / "ledger").write_text(proposed.document["ledger"])
    for org_id in members:
        config = ("--config", folder / org_id / "node.toml")
        signed = medchain("join", "sign", folder / "genesis.json", "--out", folder / f"{org_id}.proofs", *config)
        assert signed.code == 0, signed.err
    return folder


@pytest.fixture
def node(founded, tmp_path) -> Path:
    """Give a copy of the hospital's node that has joined; returns its configuration."""
    folder = tmp_path / "node"
    folder.mkdir(mode=0o700)
    (folder / "keys").mkdir(mode=0o700)
    for name in ("node.toml", "keys/root.key", "keys/keystore.json", "member.json"):
        (folder / name).write_bytes((founded / "renhe-hospital" / name).read_bytes())
        (folder / name).chmod(0o600)
    proofs = sorted(founded.glob("*.proofs"))
    words = ("join", "start", founded / "genesis.json", *proofs, "--ledger", (founded / "ledger").read_text())
    joined = medchain(*words, "--config", folder / "node.toml")
    assert joined.code == 0, joined.err
    return folder / "node.toml"


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= before
