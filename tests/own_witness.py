"""Witnesses of our own that tests run, each as the program that an operator starts."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from medchain.crypto.keywrap import derive
from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.node.clock import system_clock
from medchain.node.keystore import open_root_file
from medchain.node.witnessing import (
    Seen,
    WitnessLayout,
    create_witness,
    read_identity,
    read_logs,
    read_seen,
    trust_logs,
)
from medchain.tlog.checkpoint import Checkpoint, cosign
from medchain.tlog.note import parse_vkey
from tests.children import child
from tests.ports import free_ports
from tests.waiting import PATIENCE_S

_TRIES = 5


@dataclass
class OwnWitness:
    """A running witness of ours; as `tests.interop.tools.LiteWitness`.

    Attributes:
        folder: of the witness.
        port: where it listens.
    """

    folder: Path
    port: int
    process: subprocess.Popen

    @property
    def url(self) -> str:
        """Its submission prefix."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def vkeys(self) -> tuple[str, ...]:
        """Its verifier keys."""
        return tuple(str(key) for key in read_identity(self.folder).keys)

    def size(self, origin: str) -> int:
        """Tell how much of a log it has cosigned."""
        return read_seen(self.folder, origin, read_identity(self.folder).keys).checkpoint.size

    def trust(self, origin: str, *vkeys: str) -> None:
        """Tell it of a log, of which it has seen nothing."""
        assert {vkey.partition("+")[0] for vkey in vkeys} == {origin}
        trust_logs(self.folder, [*read_logs(self.folder), *map(parse_vkey, vkeys)])

    def believe(self, origin: str, size: int, root: bytes) -> None:
        """Have it start with having seen a tree."""
        self.stop()
        layout, checkpoint, now = WitnessLayout(self.folder), Checkpoint(origin, size, root), system_clock()
        secret, name = open_root_file(layout.root_key, None), read_identity(self.folder).name
        signers = (Ed25519Signer(derive(secret, "witness/ed25519")), MlDsa44Signer(derive(secret, "witness/mldsa44")))
        lines = tuple(cosign(checkpoint, name, signer, now) for signer in signers)
        layout.seen(origin).write_bytes(Seen(checkpoint, now, (), lines).to_bytes())
        self.process = _started(self.folder, self.port)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0
        self.process.stdout.close()


def ask(port: int, body: bytes, context: ssl.SSLContext | None = None) -> tuple[int, str, bytes]:
    """Show a witness on this machine a checkpoint; returns status, type and body.

    Its server lets go of a stranger who says nothing for five seconds, which a busy machine makes of anybody.
    """
    for _ in range(_TRIES):
        with suppress(ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            return _ask(port, body, context)
    return _ask(port, body, context)


def _ask(port: int, body: bytes, context: ssl.SSLContext | None) -> tuple[int, str, bytes]:
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_S, context=context)
    with closing(connection):
        connection.request("POST", "/add-checkpoint", body)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()


@contextmanager
def own_witness(folder: Path, name: str) -> Iterator[OwnWitness]:
    """Run a witness with new keys, which knows no log."""
    (port,) = free_ports(1, folder)
    create_witness(folder / "witness", f"http://127.0.0.1:{port}", name, [], None)
    witness = OwnWitness(folder / "witness", port, _started(folder / "witness", port))
    try:
        yield witness
    finally:
        witness.stop()


def _started(folder: Path, port: int) -> subprocess.Popen:
    """Start the program; it is up when it says where it listens."""
    words = ["witness", "serve", str(folder), "--listen", f"127.0.0.1:{port}", "--json"]
    process = child([sys.executable, "-m", "medchain.cli", *words], stdout=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline())["address"] == f"127.0.0.1:{port}"
    return process
