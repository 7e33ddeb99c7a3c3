"""Three real nodes, used as an operator and a hospital's system use them: by commands and over HTTP."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from medchain.crypto.signing import Ed25519Signer
from medchain.tlog.note import KeyType, VerifierKey
from tests.children import child
from tests.e2e.running_demo import STOP_S
from tests.ports import free_ports
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

MEMBERS = {"renhe-hospital": "hospital", "anxin-insurance": "insurer", "health-commission": "regulator"}
START_S = 180


def medchain(*words: object, code: int = 0) -> str:
    """Run a command as a process of its own; returns standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "medchain.cli", *(str(word) for word in words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@dataclass
class Hospital:
    """The node under test."""

    config: Path
    url: str

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = urllib.request.Request(self.url + path, body, named, method=method)  # noqa: S310  # our own node
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  # as above
            return answer.status, dict(answer.headers), answer.read()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("nodes")
    ports = free_ports(2 * len(MEMBERS), folder)
    webs = {}
    for index, (org_id, role) in enumerate(MEMBERS.items()):
        peer, web = ports[2 * index : 2 * index + 2]
        webs[org_id] = f"http://127.0.0.1:{web}"
        words = ("--role", role, "--name-zh", "机构", "--name-en", org_id, "--url", f"http://127.0.0.1:{peer}")
        listens = ("--peer-listen", f"127.0.0.1:{peer}", "--web-listen", f"127.0.0.1:{web}")
        medchain("init", folder / org_id, "--org-id", org_id, *words, *listens)
    names = ("--name", "localhost/e2e", "--orderer", "health-commission", "--rp-id", "localhost", "--demo")
    files = [folder / org_id / "member.json" for org_id in MEMBERS]
    genesis = folder / "genesis.json"
    proposed = medchain(
        "join", "propose", *files, *names, "--sign-origin", "http://localhost:1", "--out", genesis, "--json"
    )
    for org_id in MEMBERS:
        medchain("join", "sign", genesis, "--out", folder / f"{org_id}.p", "--config", folder / org_id / "node.toml")
    running = []
    for org_id in MEMBERS:
        config = folder / org_id / "node.toml"
        proofs = sorted(folder.glob("*.p"))
        medchain("join", "start", genesis, *proofs, "--ledger", json.loads(proposed)["ledger"], "--config", config)
        words = ("node", "run", "--config", config, "--set", "web.workers=1", "--set", "node.stop_timeout_s=5")
        running.append(child([sys.executable, "-m", "medchain.cli", *map(str, words)]))
    try:
        found = Hospital(folder / "renhe-hospital" / "node.toml", webs["renhe-hospital"])
        wait_until_ready(found)
        yield found
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        ended = [process.wait(STOP_S) for process in running]
    assert ended == [0, 0, 0]


def wait_until_ready(node: Hospital) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if node.call("GET", "/readyz")[0] == 200:
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail("the node did not become ready")


@pytest.fixture(scope="module")
def bearer(hospital, tmp_path_factory) -> str:
    """A token that a hospital's system got with its own key."""
    key = ECKey.generate_key("P-384")
    path = tmp_path_factory.mktemp("client") / "his.jwk"
    path.write_text(json.dumps(key.as_dict(private=False)))
    medchain("client", "add", "his", "--jwk", path, "--scope", "system/*.cru", "--config", hospital.config)
    address = json.loads(hospital.call("GET", "/.well-known/smart-configuration")[2])["token_endpoint"]
    claims = {"iss": "his", "sub": "his", "aud": address, "exp": int(time.time()) + 60, "jti": secrets.token_hex()}  # noqa: TID251  # a client's own clock
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.cru",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode({"alg": "ES384"}, claims, key, algorithms=["ES384"]),
    }
    kind = "application/x-www-form-urlencoded"
    _, _, answer = hospital.call("POST", "/token", urllib.parse.urlencode(form).encode(), Content_Type=kind)
    return f"Bearer {json.loads(answer)['access_token']}"


@pytest.fixture(scope="module")
def record(hospital, bearer) -> str:
    """A record that is final."""
    body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":5.60}}'
    status, headers, _ = hospital.call(
        "POST",
        "/fhir/Observation",
        body,
        Authorization=bearer,
        Content_Type="application/fhir+json",
        Prefer="wait=30",
    )
    assert status == 201
    _, _, name = headers["location"].split("/_history")[0].partition("/fhir/")
    place = f"/fhir/{name}"

    def is_final() -> bool:
        said = hospital.call("GET", place, Authorization=bearer)[1]["medchain-anchored"]
        return said.startswith("final; position=")

    # On a slow machine it may not be when the answer comes.
    assert headers["medchain-anchored"].startswith("final; position=") or eventually(is_final)
    return place


@pytest.fixture(scope="module")
def bundle(hospital, bearer, record, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("proof") / "proof.zip"
    path.write_bytes(hospital.call("GET", f"{record}/$proof", Authorization=bearer)[2])
    policy = medchain("policy", "show", "--trusted", "--config", hospital.config)
    path.with_name("policy.txt").write_text(policy)
    return path


def verified(bundle: Path, *words: object, code: int = 0) -> str:
    return medchain("verify", bundle, "--policy", bundle.with_name("policy.txt"), *words, code=code)


def test_a_record_is_created_anchored_and_proven_offline(bundle):
    document = json.loads(verified(bundle, "--json"))
    assert (document["answer"], document["status"], document["version"]) == ("record", "active", 1)
    assert len(document["cosigners"]) >= 4
    assert '"value":5.60' in verified(bundle, "--show")


def test_the_newest_state_can_be_demanded(bundle):
    assert "Verified: it holds now" in verified(bundle, "--current", "--max-age", 3600)
    # Times have whole seconds: a cosignature of two of them before is older than none.
    time.sleep(2)
    verified(bundle, "--current", "--max-age", 0, code=3)


def test_a_changed_record_is_refused(bundle, tmp_path):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "b")
    (tmp_path / "policy.txt").write_bytes(bundle.with_name("policy.txt").read_bytes())
    assert "it holds now" in verified(tmp_path / "b", "--max-age", 3600)
    opening = json.loads((tmp_path / "b" / "opening.json").read_bytes())
    content = base64.b64decode(opening["content"]).replace(b"5.60", b"5.61")
    opening["content"] = base64.b64encode(content).decode()
    text = json.dumps(opening, separators=(",", ":"), sort_keys=True)
    (tmp_path / "b" / "opening.json").write_text(text)
    verified(tmp_path / "b", code=1)


def test_another_consortiums_policy_does_not_verify_it(bundle, tmp_path):
    policy = bundle.with_name("policy.txt").read_text()
    lines = policy.splitlines(keepends=True)
    assert lines[0].startswith("log ")
    lines[0] = f"log {VerifierKey('localhost/e2e', KeyType.ED25519, Ed25519Signer(bytes(32)).public)}\n"
    (tmp_path / "policy.txt").write_text("".join(lines))
    medchain("verify", bundle, "--policy", tmp_path / "policy.txt", code=1)


def test_the_command_line_proves_the_same_record(hospital, record, bundle, tmp_path):
    name = record.removeprefix("/fhir/")
    medchain("record", "prove", name, "--out", tmp_path / "p.zip", "--config", hospital.config)
    (tmp_path / "policy.txt").write_bytes(bundle.with_name("policy.txt").read_bytes())
    assert (
        json.loads(verified(tmp_path / "p.zip", "--json"))["object"] == json.loads(verified(bundle, "--json"))["object"]
    )
    assert "anchored by entry" in medchain("record", "history", name, "--config", hospital.config)


def test_a_running_node_is_well_and_says_so(hospital, record):
    assert record
    assert "renhe-hospital: ready" in medchain("status", "--config", hospital.config)
    # Without --full not all pages are read, no patient signs at this node, and it has no mail server: that is said.
    # It asks the others for seconds, which may be too short for one that has just started on a busy machine.
    others = dict.fromkeys(("mail", "pages", "signing"), "skipped")
    assert eventually(lambda: not_good(hospital) == others), not_good(hospital)


def not_good(node: Hospital) -> dict[str, str]:
    """List what the doctor does not find good."""
    words = [sys.executable, "-m", "medchain.cli", "doctor", "--json", "--config", str(node.config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert "Traceback" not in done.stderr
    return {row["check"]: row["state"] for row in json.loads(done.stdout)["findings"] if row["state"] != "good"}


def test_a_running_node_is_backed_up_and_its_log_mirrored(hospital, record, tmp_path):
    medchain("backup", tmp_path / "b", "--config", hospital.config)
    root = hospital.config.parent / "keys" / "root.key"
    medchain("restore", tmp_path / "b", tmp_path / "r", "--root-key", root)
    name = record.removeprefix("/fhir/")
    assert '"value":5.60' in medchain("record", "show", name, "--config", tmp_path / "r" / "node.toml")
    medchain("log", "mirror", tmp_path / "m", "--config", hospital.config)
    assert (tmp_path / "m" / "checkpoint").read_text().startswith("localhost/e2e\n")


def test_a_node_runs_once_in_its_folder(hospital):
    medchain("node", "run", "--config", hospital.config, code=6)
