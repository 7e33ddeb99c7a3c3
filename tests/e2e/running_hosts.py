"""Five organisations at five host names under TLS, as `docs/operations.md` tells operators to set them up.

Each node serves its pages and its ledger daemon with a certificate of its own name, and asks the others for theirs; one
relying-party id is the suffix of all names. Nothing is a demo: the genesis takes no address without TLS.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from medchain.commands import access, account, founding
from medchain.commands.command import Command, Context
from medchain.commands.demo_consortium import FOUNDERS, Founder, call
from medchain.encoding import Json
from medchain.errors import MedchainError
from medchain.ledger.genesis import Genesis, parse_genesis
from medchain.node.clock import system_clock
from medchain.node.local import LocalClient
from tests.children import child
from tests.e2e.running_demo import STOP_S
from tests.ports import free_ports
from tests.waiting import eventually

DOMAIN = "consent.example"
START_S = 240
_HERE = Path(__file__).parent
_SETTINGS = ("web.workers=1", "web.threads=8", "database.cache_mib=48", "node.stop_timeout_s=10", "peer.private=yes")


@dataclass
class Authority:
    """A certificate authority of one test."""

    folder: Path
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        """Sign itself."""
        made = self._builder("a test's authority", self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        uses = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        uses |= {"digital_signature": True, "key_cert_sign": True, "crl_sign": True}
        made = made.add_extension(x509.KeyUsage(**uses, encipher_only=False, decipher_only=False), critical=True)
        self.certificate = made.sign(self._key, hashes.SHA256())
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def path(self) -> Path:
        """What nodes and clients trust."""
        return self.folder / "ca.pem"

    @property
    def key_hash(self) -> str:
        """SHA-256 of its public key, as Chromium wants it."""
        public = self._key.public_key()
        told = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(told).digest()).decode()

    def issue(self, host: str) -> tuple[Path, Path]:
        """Make a certificate for one name; returns it, followed by the authority's own, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(host, key.public_key())
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = made.add_extension(own, critical=False).sign(self._key, hashes.SHA256())
        chain, secret = self.folder / f"{host}.pem", self.folder / f"{host}.key"
        pem = serialization.Encoding.PEM
        chain.write_bytes(certificate.public_bytes(pem) + self.certificate.public_bytes(pem))
        form = serialization.PrivateFormat.PKCS8
        secret.touch(mode=0o600)
        secret.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        return chain, secret

    def _builder(self, name: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
        now = datetime.fromtimestamp(system_clock(), UTC)
        made = x509.CertificateBuilder(issuer, named, public, x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        return made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


@dataclass
class Host:
    """One organisation's node at its name."""

    founder: Founder
    folder: Path
    authority: Authority
    web_port: int
    peer_port: int
    sign_port: int
    signs: bool
    local: LocalClient = None
    process: subprocess.Popen = None

    @property
    def name(self) -> str:
        """Its host name."""
        return f"{self.founder.org_id}.{DOMAIN}"

    @property
    def origin(self) -> str:
        """Where its pages are."""
        return f"https://{self.name}:{self.web_port}"

    @property
    def sign_name(self) -> str:
        """Host name at which its patients sign."""
        return f"sign-{self.name}"

    @property
    def sign_origin(self) -> str:
        """Where its patients sign."""
        return f"https://{self.sign_name}:{self.sign_port}"

    @property
    def config(self) -> str:
        """The argument that names its settings."""
        return f"--config={self.folder / 'node.toml'}"

    def start(self, careless: Path) -> None:
        """Start its processes."""
        chain, key = self.authority.issue(self.name)
        files = {"certificate": chain, "key": key}
        named = [f"{side}.{what}={path}" for side in ("peer", "web") for what, path in files.items()]
        settings = [*_SETTINGS, *named, f"peer.ca={self.authority.path}", f"web.origin={self.origin}"]
        if self.signs:
            chain, key = self.authority.issue(self.sign_name)
            settings += [f"sign.listen=127.0.0.1:{self.sign_port}", f"sign.origin={self.sign_origin}"]
            settings += [f"sign.certificate={chain}", f"sign.key={key}"]
        words = ["node", "run", self.config, *(word for one in settings for word in ("--set", one))]
        places = [str(_HERE / "of_hosts"), *filter(None, [os.environ.get("PYTHONPATH")])]
        found = {"MEDCHAIN_TEST_DOMAIN": DOMAIN, "PYTHONPATH": os.pathsep.join(places)}
        found["MEDCHAIN_TEST_CARELESS"] = "" if self.founder.org_id == "anxin-insurance" else str(careless)
        with (self.folder / "console.log").open("wb") as console:
            self.process = child(
                [sys.executable, "-m", "medchain.cli", *words], stdout=console, stderr=console, env=os.environ | found
            )

    def is_ready(self) -> bool:
        """Tell whether it is level with the ledger and shows its pages."""
        assert self.process.poll() is None, (self.folder / "console.log").read_text()
        try:
            status = self.local.call("status", {})
            return status["ready"] is True and self.ask("GET", "/healthz")[0] == 200
        except (MedchainError, OSError):
            return False

    def shown(self, port: int, name: str = "") -> ssl.SSLSocket:
        """Open a TLS connection to a port of it as a client does that knows the authority and a name."""
        context = ssl.create_default_context(cafile=str(self.authority.path))
        made = socket.create_connection(("127.0.0.1", port), timeout=60)
        try:
            return context.wrap_socket(made, server_hostname=name or self.name)
        except BaseException:
            made.close()
            raise

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Ask its web side; returns status, fields and body."""
        connection = http.client.HTTPSConnection(self.name, self.web_port)
        connection.sock = self.shown(self.web_port)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def logged(self, event: str) -> list[dict[str, Json]]:
        """Find what its daemon has written of something; the last line may not be whole yet."""
        lines = (self.folder / "logs" / "daemon.jsonl").read_text().splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return [row for row in rows if row["event"] == event]

    def tell_to_stop(self) -> None:
        """Tell it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Wait for its end."""
        if self.process is not None:
            self.process.wait(STOP_S)
        self.local.close()


@dataclass
class Hosts:
    """All five."""

    folder: Path
    authority: Authority
    of: dict[str, Host] = field(default_factory=dict)
    genesis: Genesis = None

    @property
    def careless(self) -> Path:
        """Names the parts that check nothing, see `of_hosts/sitecustomize.py`."""
        return self.folder / "careless"

    def run(self, words: Sequence[str], commands: Sequence[Command]) -> Json:
        """Run a command in this process; its path is the words before the first option or file."""
        context = Context(
            argparse.Namespace(), "en", as_json=False, out=io.StringIO(), err=io.StringIO(), clock=system_clock
        )
        count = next(one for one in (1, 2) if any(item.path == tuple(words[:one]) for item in commands))
        return call(words[:count], words[count:], context, commands)

    def found(self, sign_at: Sequence[str]) -> None:
        """Make the nodes' folders and have them agree on a genesis."""
        ports = iter(free_ports(3 * len(FOUNDERS), self.folder))
        for founder in FOUNDERS:
            made = Host(
                founder,
                self.folder / founder.org_id,
                self.authority,
                next(ports),
                next(ports),
                next(ports),
                founder.org_id in sign_at,
            )
            names = (f"--name-zh={founder.zh}", f"--name-en={founder.en}", f"--role={founder.role}")
            listens = (f"--peer-listen=127.0.0.1:{made.peer_port}", f"--web-listen=127.0.0.1:{made.web_port}")
            places = (f"--url=https://{made.name}:{made.peer_port}", f"--origin={made.origin}")
            words = ["init", str(made.folder), f"--org-id={founder.org_id}", *names, *places, *listens]
            self.run(words, founding.COMMANDS)
            made.local = LocalClient(made.folder)
            self.of[founder.org_id] = made
        proposal = self.folder / "genesis.json"
        members = [str(host.folder / "member.json") for host in self.of.values()]
        ledger = (f"--name={DOMAIN}/ledger", "--orderer=taihe-insurance", f"--rp-id={DOMAIN}", f"--out={proposal}")
        origins = [f"--sign-origin={self.of[org_id].sign_origin}" for org_id in sign_at]
        proposed = self.run(["join", "propose", *members, *ledger, *origins], founding.COMMANDS)
        proofs = {org_id: str(self.folder / f"proofs.{org_id}.json") for org_id in self.of}
        for org_id, host in self.of.items():
            self.run(["join", "sign", str(proposal), f"--out={proofs[org_id]}", host.config], founding.COMMANDS)
        for host in self.of.values():
            words = ["join", "start", str(proposal), *proofs.values(), f"--ledger={proposed['ledger']}", host.config]
            self.run(words, founding.COMMANDS)
        self.genesis = parse_genesis(proposal.read_bytes())

    def start(self) -> None:
        """Start all nodes; returns when all are ready."""
        self.careless.write_text("")
        for host in self.of.values():
            host.start(self.careless)
        for host in self.of.values():
            assert eventually(host.is_ready, START_S, 0.2), host.name

    def store(self, org_id: str, *resources: dict[str, Json]) -> None:
        """Put records into a hospital's node, over its API."""
        host = self.of[org_id]
        issued = self.run(["token", "issue", host.config, "--scope=system/*.cruds"], access.COMMANDS)
        headers = {"Authorization": f"Bearer {issued['access_token']}", "Content-Type": "application/fhir+json"}
        for resource in resources:
            path = f"/fhir/{resource['resourceType']}/{resource['id']}"
            status, _, said = host.ask("PUT", path, resource, headers)
            assert status == 201, said

    def addresses(self) -> list[SplitResult]:
        """List where members call each other, as their ledger says."""
        return [urlsplit(one.url) for one in self.genesis.members.organisations.values()]

    def invite(self, org_id: str, patient: str) -> str:
        """Have a hospital's desk give a patient an address to enrol at."""
        return str(self.run(["account", "invite", patient, self.of[org_id].config], account.COMMANDS)["url"])


@contextmanager
def running_hosts(folder: Path, sign_at: Sequence[str]) -> Iterator[Hosts]:
    """Run the five in an empty folder; passkeys' signatures count where those named have patients sign."""
    made = Hosts(folder, Authority(folder))
    try:
        made.found(sign_at)
        made.start()
        yield made
    finally:
        for host in made.of.values():
            host.tell_to_stop()
        for host in made.of.values():
            host.stop()
