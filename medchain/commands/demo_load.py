"""The demo's data: FHIR bundles are posted to their hospital's own API, with a token.

Keeps true: what is loaded goes the way that any other system's data goes; a bundle that a hospital refuses is told by
name and reason, and is not counted; nor is what was there already. Trusts the folder: whoever runs the demo chose it.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import gzip
import json
import lzma
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from medchain.commands.demo_consortium import HOSPITALS, Consortium
from medchain.errors import ConflictError, InputError, NotFoundError
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import HttpPool, Limits

_SUFFIXES: Final = (".json", ".json.gz", ".json.xz")
_LAST: Final = 2
_CREATED: Final = "201"
_FHIR_JSON: Final = "application/fhir+json"
_LIMITS: Final = Limits(timeout_s=300.0, max_bytes=32 << 20)
# Synthea writes organisations and practitioners into files of their own, to which the others refer.
_SHARED: Final = ("hospitalinformation", "practitionerinformation", "0_hospital", "0_practitioner", "hospital")


@dataclass(frozen=True, slots=True)
class Source:
    """A file and whose it is.

    Attributes:
        path: the file.
        custodian: org_id of the hospital.
        rank: the lower are posted first.
    """

    path: Path
    custodian: str
    rank: int


@dataclass(slots=True)
class Loaded:
    """What one hospital took.

    Attributes:
        files: bundles taken.
        records: records that they made.
        patients: ids of patients, in the order in which they came.
        refused: file name and reason of what was refused.
    """

    files: int = 0
    records: int = 0
    patients: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def sample_folder() -> Path:
    """Find the sample data beside the packages, as in a checkout; raises `NotFoundError` ``demo.no_data``."""
    folder = Path(__file__).resolve().parents[2] / "sample_data" / "bundles"
    if not folder.is_dir():
        raise NotFoundError("demo.no_data", folder=str(folder))
    return folder


def sources(folder: Path) -> list[Source]:
    """Say which hospital gets which file.

    Args:
        folder: with ``*.json``, ``*.json.gz`` and ``*.json.xz``. A name that begins with a hospital's id and a dot says
            whose it is; files that others refer to go to both hospitals; the rest is shared out in turn.

    Returns:
        Files in the order in which they are posted.

    Raises:
        NotFoundError: ``demo.no_data`` for a folder without such files.
    """
    if not folder.is_dir():
        raise NotFoundError("demo.no_data", folder=str(folder))
    found: list[Source] = []
    turn = 0
    for path in sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIXES)):
        owner, name = path.name.split(".", 1)[0], path.name.lower()
        if owner in HOSPITALS:
            found.append(Source(path, owner, 0 if ".0-" in name else 1))
        elif name.startswith(_SHARED):
            found += [Source(path, hospital, 0) for hospital in HOSPITALS]
        else:
            found.append(Source(path, HOSPITALS[turn % len(HOSPITALS)], 1))
            turn += 1
    if not found:
        raise NotFoundError("demo.no_data", folder=str(folder))
    return sorted(found, key=lambda item: (item.rank, item.path.name))


def sample_sources() -> list[Source]:
    """List the sample data, its stories last: they alter what the others brought, or come late.

    Raises:
        NotFoundError: ``demo.no_data``.
    """
    bundles = sample_folder()
    stories = sorted((bundles.parent / "stories").glob("*.json"))
    return [*sources(bundles), *(Source(path, _owner(path), _LAST) for path in stories)]


def _owner(path: Path) -> str:
    """Say whose a story is: the hospital whose identifiers it has most of."""
    content = path.read_bytes()
    return max(HOSPITALS, key=lambda hospital: content.count(f"https://{hospital}.example/".encode()))


class Loader:
    """Posts bundles to the hospitals, each hospital's in a thread of its own."""

    def __init__(
        self, consortium: Consortium, token: Callable[[str], str], tell: Callable[[int, int, int], None]
    ) -> None:
        """Prepare.

        Args:
            consortium: its nodes run.
            token: org_id → a fresh access token of that node.
            tell: told of files done, files in all, and records taken.
        """
        self._consortium = consortium
        self._token = token
        self._tell = tell
        self._lock = threading.Lock()
        self._done = 0
        self._failure: Exception | None = None
        self._cancelled = threading.Event()
        self.loaded = {hospital: Loaded() for hospital in HOSPITALS}

    def load(self, files: Sequence[Source]) -> float:
        """Post all files.

        Args:
            files: from `sources`.

        Returns:
            Seconds that it took.

        Raises:
            MedchainError: a node ended or does not answer.
        """
        began = time.monotonic()
        threads = [
            threading.Thread(target=self._guarded, args=(hospital, files), name=f"load-{hospital}", daemon=True)
            for hospital in HOSPITALS
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                self._consortium.check_running()
                threads[0].join(0.2)
                self._tell(self._done, len(files), self.records)
        finally:
            self._cancelled.set()
        if self._failure is not None:
            raise self._failure
        return time.monotonic() - began

    @property
    def records(self) -> int:
        """How many records were taken."""
        return sum(item.records for item in self.loaded.values())

    def _guarded(self, hospital: str, files: Sequence[Source]) -> None:
        """Run a thread; what it raises is raised by `load`."""
        try:
            self._run(hospital, [item for item in files if item.custodian == hospital])
        except Exception as error:  # noqa: BLE001  # handed to the thread that waits
            self._failure = error

    def _run(self, hospital: str, files: Sequence[Source]) -> None:
        """Post one hospital's files."""
        pool = self._pool(hospital)
        try:
            for item in files:
                if self._cancelled.is_set():
                    return
                self._post(pool, hospital, item.path)
                with self._lock:
                    self._done += 1
        finally:
            pool.close()

    def _pool(self, hospital: str) -> HttpPool:
        """Make connections to a hospital's API."""
        return HttpPool(f"http://127.0.0.1:{self._consortium.nodes[hospital].web_port}", hospital, None)

    def _post(self, pool: HttpPool, hospital: str, path: Path) -> None:
        """Post one bundle."""
        item = self.loaded[hospital]
        headers = {"Authorization": f"Bearer {self._token(hospital)}", "Content-Type": _FHIR_JSON}
        try:
            request = PeerRequest("POST", "/fhir", as_transaction(unpack(path)))
            answer = json.loads(pool.request(request, headers, _LIMITS).body)
        except (InputError, ConflictError) as error:
            item.refused.append((path.name, error.code))
            return
        rows = [row["response"] for row in answer["entry"]]
        places = [str(row["location"]) for row in rows if str(row["status"]).startswith(_CREATED)]
        item.files += 1
        item.records += len(places)
        item.patients += [place.split("/")[1] for place in places if place.startswith("Patient/")]


def unpack(path: Path) -> bytes:
    """Read a file, unpacked; raises `InputError` ``demo.file`` for a damaged one."""
    content = path.read_bytes()
    try:
        if path.suffix == ".gz":
            return gzip.decompress(content)
        return lzma.decompress(content) if path.suffix == ".xz" else content
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError("demo.file", name=path.name) from error


def as_transaction(content: bytes) -> bytes:
    """Return a bundle as a transaction: Synthea writes collections too. Bytes that are one already stay as they are."""
    if b'"transaction"' in content[:2000]:
        return content
    try:
        bundle: Any = json.loads(content)
        for entry in bundle["entry"]:
            kind = entry["resource"]["resourceType"]
            entry.setdefault("request", {"method": "POST", "url": kind})
        return json.dumps(bundle | {"type": "transaction"}, ensure_ascii=False).encode()
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("demo.file") from error
