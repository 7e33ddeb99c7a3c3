"""The independent tools that tests run: a checker made of x/mod and torchwood, and torchwood's litewitness."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from medchain.encoding import Json
from tests.children import child
from tests.ports import free_ports
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "var" / "interop"
BUILD_S = 600


@cache
def built() -> Path:
    """Build the tools, or find that they are; the script says what is missing."""
    done = subprocess.run(
        ["bash", str(ROOT / "tests" / "interop" / "build.sh")],
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return BUILT


def checked(*words: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the checker."""
    return subprocess.run(
        [str(built() / "interop"), *(str(word) for word in words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | (environment or {}),
    )


def accepted(*words: object, environment: Mapping[str, str] | None = None) -> dict[str, Json]:
    """Run the checker, which must accept; returns what it checked."""
    done = checked(*words, environment=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(*words: object) -> str:
    """Run the checker, which must refuse; returns why."""
    done = checked(*words)
    assert done.returncode == 1, done.stdout
    return done.stderr


@dataclass
class LiteWitness:
    """A running litewitness that knows one log.

    Attributes:
        url: its submission prefix.
        vkey: its verifier key.
        log: what it has said.
    """

    url: str
    vkey: str
    database: Path
    log: list[str] = field(default_factory=list)

    @property
    def vkeys(self) -> tuple[str, ...]:
        """All of its verifier keys: one."""
        return (self.vkey,)

    def size(self, origin: str) -> int:
        """Ask its database how much of a log it has cosigned."""
        with self._opened() as database:
            return database.execute("SELECT tree_size FROM log WHERE origin = ?", (origin,)).fetchone()[0]

    def believe(self, origin: str, size: int, root: bytes) -> None:
        """Make it believe that it has seen a tree."""
        with self._opened() as database:
            row = (size, base64.b64encode(root).decode(), origin)
            database.execute("UPDATE log SET tree_size = ?, tree_hash = ? WHERE origin = ?", row)

    def trust(self, origin: str, *vkeys: str) -> None:
        """Tell it of a log, of which it has seen nothing."""
        with self._opened() as database:
            nothing = base64.b64encode(hashlib.sha256(b"").digest()).decode()
            database.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (origin, nothing))
            database.executemany("INSERT INTO key (origin, key) VALUES (?, ?)", [(origin, vkey) for vkey in vkeys])

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Open its database for one transaction; it may be writing itself."""
        with closing(sqlite3.connect(self.database, timeout=60)) as database, database:
            yield database


@contextmanager
def lite_witness(folder: Path, name: str) -> Iterator[LiteWitness]:
    """Run litewitness with a new key in an ssh-agent of its own."""
    tools, (port,) = built(), free_ports(1, folder)
    # A path of a socket has at most 107 bytes.
    agent_socket = Path(os.path.relpath(folder / "agent"))
    with ExitStack() as stack:
        agent = stack.enter_context(
            subprocess.Popen(
                [str(tools / "interop"), "agent", str(agent_socket)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(agent.stdin.close)
        fingerprint = agent.stdout.readline().strip()
        words = ["-name", name, "-db", str(folder / "witness.db"), "-ssh-agent", str(agent_socket), "-key", fingerprint]
        process = stack.enter_context(
            child(
                [str(tools / "litewitness"), *words, "-listen", f"127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True
            )
        )
        stack.callback(process.terminate)
        witness = LiteWitness(f"http://127.0.0.1:{port}", "", folder / "witness.db")
        reader = threading.Thread(target=lambda: witness.log.extend(process.stderr), daemon=True)
        reader.start()
        assert eventually(lambda: any("msg=listening" in line for line in witness.log)), "".join(witness.log)
        found = re.search(r'vkey="?(\S+?)"?\n', "".join(witness.log))
        witness.vkey = found.group(1)
        assert eventually(lambda: answers(port))
        yield witness


def answers(port: int) -> bool:
    """Tell whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
