"""One hospital's node as processes of its own, with clients that get their tokens as SMART Backend Services say."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey

from medchain.encoding import Json
from medchain.node.clock import system_clock
from tests.children import child, ends
from tests.e2e.running_demo import STOP_S, issued_token, run_command
from tests.e2e.test_command_line import START_S
from tests.ports import free_ports
from tests.waiting import eventually

ORG_ID = "renhe-hospital"
ALL = "system/*.cruds"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# A token lives 300 s; whoever works longer gets another one before that.
RENEW_S = 200


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Json]:
        """The JSON in it."""
        return orjson.loads(self.body)


@dataclass
class RunningNode:
    """A node that is a whole consortium of one, reached over HTTP alone.

    Attributes:
        folder: of the node.
        host: and port on which its web workers listen.
    """

    folder: Path
    host: str
    settings: tuple[str, ...] = ()
    process: subprocess.Popen = None
    _keys: dict[str, ECKey] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """Its settings."""
        return self.folder / "node.toml"

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://{self.host}"

    @property
    def fhir(self) -> str:
        """The base of its FHIR API."""
        return f"{self.url}/fhir"

    def start(self) -> None:
        """Start its processes, and wait until it answers."""
        changed = [word for one in ("node.stop_timeout_s=5", *self.settings) for word in ("--set", one)]
        words = ["node", "run", "--config", str(self.config), *changed]
        self.process = child(
            [sys.executable, "-m", "medchain.cli", *words], env=os.environ | {"MEDCHAIN_WEB_ORIGIN": self.url}
        )
        assert eventually(self._is_ready, START_S)

    def stop(self) -> None:
        """End it in order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STOP_S) == 0

    def parts(self) -> list[int]:
        """List the processes that are there all the time: the supervisor's own."""
        return [pid for pid, parent in parents() if parent == self.process.pid]

    def pids(self) -> list[int]:
        """List all of its processes, whoever starts others before those."""
        rows, found = parents(), [self.process.pid]
        for pid in found:
            found += [child for child, parent in rows if parent == pid]
        return found

    def kill(self) -> None:
        """End all its processes at once, as a power cut does; returns when none of them listens any more."""
        pids = self.pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_S)
        assert all(map(ends, pids))

    def _is_ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz").status == 200
        except OSError:
            return False

    def register(self, name: str, *words: str, scope: str = ALL) -> None:
        """Register a client with a key of its own."""
        key = self._keys[name] = ECKey.generate_key("P-384")
        public = self.folder.parent / f"{name}.jwk"
        public.write_text(json.dumps(key.as_dict(private=False)))
        run_command(["client", "add", name, "--jwk", public, "--scope", scope, *words, "--config", self.config])

    def token(self, scope: str = ALL, client: str = "ehr") -> str:
        """Get a token as a client's backend service, or the one that it has."""
        held, until = self._tokens.get((client, scope), ("", 0.0))
        if until < time.monotonic():
            form = {"grant_type": "client_credentials", "scope": scope, "client_assertion": self.assertion(client)}
            answer = self.form("/token", form | {"client_assertion_type": ASSERTION})
            assert answer.status == 200, answer.body
            held = answer.document["access_token"]
            self._tokens[client, scope] = held, time.monotonic() + RENEW_S
        return held

    def lasting_token(self) -> str:
        """Have the operator issue a token for a program of others, which asks for no other one."""
        return issued_token(self.config, ALL)

    def assertion(self, client: str) -> str:
        """Sign with a client's key who it is."""
        claims = {"iss": client, "sub": client, "aud": f"{self.url}/token", "exp": system_clock() + 240}
        key = self._keys[client]
        return jwt.encode({"alg": "ES384"}, claims | {"jti": secrets.token_hex(16)}, key, algorithms=["ES384"])

    def form(self, path: str, fields: dict[str, str]) -> Answer:
        """Post a form without a token."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urllib.parse.urlencode(fields).encode(), headers)

    def call(self, method: str, path: str, body: object = None, *, token: str = "", **headers: str) -> Answer:
        """Call the FHIR API with a token, the one for everything by default."""
        named = {"Authorization": f"Bearer {token or self.token()}"}
        if body is not None:
            named["Content-Type"] = "application/fhir+json"
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else orjson.dumps(body)
        return self.ask(method, f"/fhir/{path}" if path else "/fhir", data, named)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Ask over a connection of its own."""
        with closing(http.client.HTTPConnection(self.host, timeout=300)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())


def parents() -> list[tuple[int, int]]:
    """List all processes, each with that which started it."""
    table = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [(int(pid), int(parent)) for pid, parent in map(str.split, table.splitlines())]


@contextmanager
def running_node(folder: Path, *settings: str) -> Iterator[RunningNode]:
    """Run a node in an empty folder, with a client ``ehr`` that may do everything."""
    peer, web = free_ports(2, folder)
    node = RunningNode(folder / ORG_ID, f"127.0.0.1:{web}", settings)
    _found(node, f"127.0.0.1:{peer}")
    node.start()
    try:
        node.register("ehr", "--right", "launch")
        yield node
    finally:
        if node.process.poll() is None:
            node.stop()


def _found(node: RunningNode, peer: str) -> None:
    """Make the node and the consortium that it is alone."""
    folder = node.folder.parent
    names = ("--name-zh", "仁和医院", "--name-en", "Renhe Hospital", "--url", f"http://{peer}")
    listens = ("--peer-listen", peer, "--web-listen", node.host)
    run_command(["init", node.folder, "--org-id", ORG_ID, "--role", "hospital", *names, *listens])
    genesis, proof = folder / "genesis.json", folder / "renhe.proof"
    ledger = ("--name", "localhost/outside", "--orderer", ORG_ID, "--rp-id", "localhost", "--demo")
    words = ["join", "propose", node.folder / "member.json", *ledger, "--sign-origin", "http://localhost:1"]
    proposed = json.loads(run_command([*words, "--out", genesis, "--json"]))
    run_command(["join", "sign", genesis, "--out", proof, "--config", node.config])
    run_command(["join", "start", genesis, proof, "--ledger", proposed["ledger"], "--config", node.config])
