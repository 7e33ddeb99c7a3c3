"""A demo consortium as a process of its own, and the ways in which tests look at it from outside."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from medchain.commands.command import Context
from medchain.commands.demo_consortium import FOUNDERS, Consortium, open_consortium
from medchain.encoding import Json
from medchain.node.clock import system_clock
from tests.children import child

ORG_IDS = tuple(founder.org_id for founder in FOUNDERS)
START_S = 300
STOP_S = 180
START_BYTES = 6


def run_command(words: Iterable[object], code: int = 0, timeout_s: int = 300) -> str:
    """Run a command as a process of its own, which must end with a code; returns standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "medchain.cli", *(str(word) for word in words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def issued_token(config: Path, scope: str) -> str:
    """Issue a token by hand, which lives for an hour: longer than whoever is given it needs it on a busy machine."""
    return run_command(["token", "issue", "--config", config, "--scope", scope, "--seconds", 3600]).strip()


@dataclass
class RunningDemo:
    """`medchain demo`, running until it is told to stop; without data of its own it has the sample data's stories."""

    folder: Path
    data: Path | None
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen = None
    said: dict[str, Json] = field(default_factory=dict)
    _errors: list[str] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)

    @property
    def temporary(self) -> Path:
        """Where its processes have their temporary files."""
        return self.folder.parent / "temporary"

    def start(self) -> None:
        """Start it and wait for its summary."""
        self.launch()
        reader = threading.Thread(target=self._read, daemon=True)
        self._readers.append(reader)
        reader.start()
        reader.join(START_S)
        assert self.said, "".join(self._errors)[-4000:]

    def launch(self) -> None:
        """Start it and wait for nothing."""
        words = ["demo", "--json", "--folder", str(self.folder)]
        words += [] if self.data is None else ["--data", str(self.data)]
        self.said, self._errors = {}, []
        self.temporary.mkdir(exist_ok=True)
        self.process = child(
            [sys.executable, "-m", "medchain.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TMPDIR": str(self.temporary)} | self.environment,
        )
        self._readers = [threading.Thread(target=self._keep_errors, args=(self.process,), daemon=True)]
        self._readers[0].start()

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it by a signal; returns its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        try:
            return self.process.wait(STOP_S)
        finally:
            self.process.kill()
            for thread in self._readers:
                thread.join(10)
            for stream in (self.process.stdout, self.process.stderr):
                stream.close()

    def consortium(self) -> Consortium:
        """Look at its nodes through their own local interfaces."""
        context = Context(
            argparse.Namespace(), "en", as_json=False, out=io.StringIO(), err=io.StringIO(), clock=system_clock
        )
        return open_consortium(self.folder, context)[0]

    def told(self, text: str) -> list[str]:
        """Find lines of what it told beside its answer."""
        return [line.strip() for line in self._errors if text in line]

    def node_state(self, org_id: str) -> dict[str, Json]:
        """Read who runs of a node."""
        return json.loads((self.folder / org_id / "run" / "node.json").read_bytes())

    def daemon_pid(self, org_id: str) -> int:
        """Read the process id of a node's daemon."""
        return json.loads((self.folder / org_id / "run" / "daemon.json").read_bytes())["pid"]

    def kill_daemon(self, org_id: str) -> int:
        """Kill a node's daemon; returns who it was."""
        pid = self.daemon_pid(org_id)
        os.kill(pid, signal.SIGKILL)
        return pid

    def run(self, *words: object, code: int = 0) -> str:
        """Run another command; returns standard output."""
        return run_command(words, code)

    def token(self, org_id: str, scope: str) -> str:
        """Have an organisation's operator issue a token."""
        return issued_token(self.folder / org_id / "node.toml", scope)

    def post(self, org_id: str, bundle: bytes) -> list[str]:
        """Post a transaction to a hospital's FHIR API; returns the records made, ``Type/id``."""
        token = self.token(org_id, "system/*.crus")
        url = f"http://127.0.0.1:{self.said['nodes'][org_id]['web'].rpartition(':')[2]}/fhir"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
        request = urllib.request.Request(url, bundle, headers)  # a loopback address of ours
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310  # as above
            entries = json.load(answer)["entry"]
        made = [row["response"]["location"] for row in entries if row["response"]["status"].startswith("201")]
        return ["/".join(place.split("/")[:2]) for place in made]

    def anchoring(self, org_id: str, records: Sequence[str]) -> list[str]:
        """Ask a hospital's FHIR API for records, ``Type/id``; returns what it says of their places on the ledger."""
        token = self.token(org_id, "system/*.crus")
        url = f"http://127.0.0.1:{self.said['nodes'][org_id]['web'].rpartition(':')[2]}/fhir"
        told = []
        for record in records:
            headers = {"Authorization": f"Bearer {token}"}
            request = urllib.request.Request(f"{url}/{record}", headers=headers)  # noqa: S310  # a loopback address of ours
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310  # as above
                told.append(answer.headers["Medchain-Anchored"])
        return told

    def _read(self) -> None:
        line = self.process.stdout.readline()
        if line:
            self.said = json.loads(line)

    def _keep_errors(self, process: subprocess.Popen) -> None:
        self._errors.extend(process.stderr)


def processes_of(folder: Path) -> dict[int, str]:
    """Find all processes whose command line names a folder: pid → command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in words:
                found[int(entry.name)] = words
    return found


def files_of(pid: int) -> Iterator[Path]:
    """List what a process has open, as long as it lives."""
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield link.readlink()


def under(folder: Path) -> list[Path]:
    """List all that is under a folder; whoever works in it may remove some of it meanwhile, and since."""
    return sorted(Path(place, name) for place, *names in os.walk(folder) for name in chain(*names))


def files_under(folder: Path) -> Iterator[Path]:
    """List all regular files under a folder."""
    yield from (path for path in under(folder) if path.is_file() and not path.is_symlink())


def rights_under(folder: Path) -> Iterator[tuple[Path, int]]:
    """Tell who may do what with all that is under a folder."""
    for path in under(folder):
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode):
                yield path, mode


def shortest(needles: set[str]) -> list[bytes]:
    """Leave out what contains another: where it is found, the other is found too."""
    kept: list[bytes] = []
    for needle in sorted({text.encode() for text in needles}, key=len):
        if not any(other in needle for other in kept):
            kept.append(needle)
    return kept


def found_in(content: bytes, needles: list[bytes]) -> list[str]:
    """Search raw bytes for texts, as UTF-8 and as JSON and addresses escape them."""
    pattern, by_start = search_of(tuple(needles))
    found: set[bytes] = set()
    at = pattern.search(content)
    while at is not None:
        found.update(needle for needle in by_start[at.group()] if content.startswith(needle, at.start()))
        at = pattern.search(content, at.start() + 1)
    return sorted(needle.decode() for needle in found)


@cache
def search_of(needles: tuple[bytes, ...]) -> tuple[re.Pattern[bytes], dict[bytes, list[bytes]]]:
    """Make one pattern of the beginnings of many texts: reading a file once for each would take minutes."""
    escaped = [json.dumps(needle.decode())[1:-1].encode() for needle in needles]
    escaped += [quote(needle).encode() for needle in needles]
    by_start: dict[bytes, list[bytes]] = {}
    for needle in {*needles, *escaped}:
        by_start.setdefault(needle[:START_BYTES], []).append(needle)
    trie: dict[int | None, object] = {}
    for start in by_start:
        node = trie
        for byte in start:
            node = node.setdefault(byte, {})
        node[None] = {}
    return re.compile(pattern_of(trie), re.DOTALL), by_start


def pattern_of(trie: dict) -> bytes:
    """Write a trie as a pattern; a text ends where the shortest does, for none begins with another."""
    if None in trie:
        return b""
    tails: dict[bytes, list[int]] = {}
    for byte, below in trie.items():
        tails.setdefault(pattern_of(below), []).append(byte)
    choices = [
        b"[" + b"".join(re.escape(bytes([byte])) for byte in first) + b"]" + tail for tail, first in tails.items()
    ]
    return choices[0] if len(choices) == 1 else b"(?:" + b"|".join(choices) + b")"
