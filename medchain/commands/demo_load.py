"""The demo's data: FHIR bundles are posted to their owner's own API, with a token.

Keeps true: what is loaded goes the way that any other system's data goes; a bundle that a node refuses is told by
name and reason, and is not counted; nor is what was there already. What an insurer holds cites hospitals' records by
the address that they have in the hospital's bundle, and is posted with the address that the hospital's node gave them.
What a story tells of an emergency is posted as of today: the demo breaks the glass when it runs, and not in a year that
the sample data have.
Trusts the folder: whoever runs the demo chose it.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from medchain.commands.demo_consortium import HOSPITALS, INSURERS, Consortium
from medchain.encoding import Json
from medchain.errors import ConflictError, InputError, NotFoundError
from medchain.node.peer_auth import PeerRequest
from medchain.node.peers import HttpPool, Limits

_SUFFIXES: Final = (".json", ".json.gz", ".json.xz")
OPEN: Final = "open-claim"
"""Story of a claim with nothing wrong, which is left to who tries the demo."""

_STORIES: Final = "stories"
_NAMED: Final = ("Claim/", "Patient/")
_STORY: Final = 2
_CLAIMS: Final = 3
_CITED: Final = re.compile(rb"https://([a-z-]+)\.example/fhir/([A-Za-z]+)/([0-9a-f-]{36})")
_DATE: Final = re.compile(r'"(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}:\d{2}\+08:00)?"')
_ACCESSED: Final = "accessedAt"
_CREATED: Final = "201"
FHIR_JSON: Final = "application/fhir+json"
"""What nodes take and give."""

_LIMITS: Final = Limits(timeout_s=300.0, max_bytes=32 << 20)
# Synthea writes organisations and practitioners into files of their own, to which the others refer.
_SHARED: Final = ("hospitalinformation", "practitionerinformation", "0_hospital", "0_practitioner", "hospital")


@dataclass(frozen=True, slots=True)
class Source:
    """A file and whose it is.

    Attributes:
        path: the file.
        custodian: org_id of the hospital or insurer.
        rank: the lower are posted first.
    """

    path: Path
    custodian: str
    rank: int


@dataclass(slots=True)
class Loaded:
    """What one organisation took.

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
    """Say which organisation gets which file.

    Args:
        folder: with ``*.json``, ``*.json.gz`` and ``*.json.xz``. A name that begins with the id of a hospital or an
            insurer and a dot says whose it is; files that others refer to go to both hospitals; the rest is shared out
            among the hospitals in turn.

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
        elif owner in INSURERS:
            found.append(Source(path, owner, _CLAIMS))
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
    found = sources(bundles)
    for path in sorted((bundles.parent / _STORIES).glob("*.json")):
        owner = _owner(path)
        found.append(Source(path, owner, _STORY if owner in HOSPITALS else _CLAIMS))
    return sorted(found, key=lambda item: item.rank)


def _owner(path: Path) -> str:
    """Say whose a story is: the insurer that its name ends with, or the hospital whose identifiers it has most of."""
    named = path.name.split(".")[1]
    if named in INSURERS:
        return named
    content = path.read_bytes()
    return max(HOSPITALS, key=lambda hospital: content.count(f"https://{hospital}.example/".encode()))


class Loader:
    """Posts bundles: each hospital's in a thread of its own, then each insurer's."""

    def __init__(
        self,
        consortium: Consortium,
        token: Callable[[str], str],
        tell: Callable[[int, int, int], None],
        now: int,
    ) -> None:
        """Prepare.

        Args:
            consortium: its nodes run.
            token: org_id → a fresh access token of that node.
            tell: told of files done, files in all, and records taken.
            now: Unix seconds.
        """
        self._consortium = consortium
        self._now = now
        self._token = token
        self._tell = tell
        self._lock = threading.Lock()
        self._done = 0
        self._failure: Exception | None = None
        self._cancelled = threading.Event()
        self._places: dict[tuple[str, str], str] = {}
        self._named: dict[tuple[str, str, str], str] = {}
        self.loaded = {org_id: Loaded() for org_id in HOSPITALS + INSURERS}

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
        for holders in (HOSPITALS, INSURERS):
            self._load(holders, files)
        return time.monotonic() - began

    def _load(self, holders: Sequence[str], files: Sequence[Source]) -> None:
        """Post what some organisations hold, side by side."""
        threads = [
            threading.Thread(target=self._guarded, args=(org_id, files), name=f"load-{org_id}", daemon=True)
            for org_id in holders
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                self._consortium.check_running()
                next(thread for thread in threads if thread.is_alive()).join(0.2)
                self._tell(self._done, len(files), self.records)
        except BaseException:
            self._cancelled.set()
            raise
        if self._failure is not None:
            raise self._failure

    @property
    def records(self) -> int:
        """How many records were taken."""
        return sum(item.records for item in self.loaded.values())

    def _guarded(self, org_id: str, files: Sequence[Source]) -> None:
        """Run a thread; what it raises is raised by `load`."""
        try:
            self._run(org_id, [item for item in files if item.custodian == org_id])
        except Exception as error:  # noqa: BLE001  # handed to the thread that waits
            self._failure = error

    def _run(self, org_id: str, files: Sequence[Source]) -> None:
        """Post one organisation's files."""
        pool = self._pool(org_id)
        try:
            for item in files:
                if self._cancelled.is_set():
                    return
                self._post(pool, org_id, item.path)
                with self._lock:
                    self._done += 1
        finally:
            pool.close()

    def _pool(self, org_id: str) -> HttpPool:
        """Make connections to an organisation's API."""
        return HttpPool(f"http://127.0.0.1:{self._consortium.nodes[org_id].web_port}", org_id, None)

    def _post(self, pool: HttpPool, org_id: str, path: Path) -> None:
        """Post one bundle."""
        item = self.loaded[org_id]
        headers = {"Authorization": f"Bearer {self._token(org_id)}", "Content-Type": FHIR_JSON}
        bundle = as_posted(path, self._now)
        try:
            request = PeerRequest("POST", "/fhir", cited(bundle, self._places) if org_id in INSURERS else bundle)
            answer = json.loads(pool.request(request, headers, _LIMITS).body)
        except (InputError, ConflictError) as error:
            item.refused.append((path.name, error.code))
            return
        rows = [row["response"] for row in answer["entry"]]
        made = [str(row["location"]) for row in rows if str(row["status"]).startswith(_CREATED)]
        item.files += 1
        item.records += len(made)
        item.patients += [place.split("/")[1] for place in made if place.startswith("Patient/")]
        if path.name.startswith(HOSPITALS + INSURERS) or path.parent.name == _STORIES:
            self._keep_places(org_id, bundle, rows)

    def _keep_places(self, org_id: str, bundle: bytes, rows: Sequence[dict[str, Any]]) -> None:
        """Keep where a node has what its bundle holds, and what its claims and patients are called there."""
        base = f"{self._consortium.nodes[org_id].web_url}/fhir"
        entries = json.loads(bundle)["entry"]
        with self._lock:
            for entry, row in zip(entries, rows, strict=True):
                place = "/".join(str(row["location"]).split("/")[:2])
                self._places[org_id, str(entry["fullUrl"]).removeprefix("urn:uuid:")] = f"{base}/{place}"
                if place.startswith(_NAMED):
                    rows_of = entry["resource"].get("identifier", ())
                    self._named |= {(org_id, str(one["system"]), str(one["value"])): place for one in rows_of}

    def planted(self) -> list[dict[str, Json]]:
        """Tell where the nodes have the planted stories of the sample data: each claim of each story, in order.

        Returns:
            ``name`` of the story; ``claim`` at ``insurer``; ``patient`` at ``hospital``, whose records it cites.
            References alone: what else the story tells is in `sample_story`. Without the claim that is left open.
        """
        return [row for story in _stories() if story["name"] != OPEN for row in self._claims(story)]

    def left_open(self) -> dict[str, Json] | None:
        """Tell where the nodes have the claim that is left open, as `planted` does; None for data without it."""
        try:
            [row] = self._claims(sample_story(OPEN))
        except KeyError:
            return None
        return row

    def _claims(self, story: Mapping[str, Any]) -> list[dict[str, Json]]:
        """Tell where the nodes have the claims of a story; raises `KeyError` where they do not."""
        at = story.get("reader", {}).get("organization", story["hospital"])
        patient = story.get("patientAtReader", story["patient"]["mrn"])
        numbers = [one["identifier"] for one in story["resources"] if one["type"] == "Claim"]
        return [
            {
                "claim": self._named[insurer, number["system"], number["value"]],
                "hospital": at,
                "insurer": insurer,
                "name": story["name"],
                "patient": self._named[at, patient["system"], patient["value"]].partition("/")[2],
            }
            for insurer, number in zip(story["insurers"], numbers, strict=True)
        ]


def sample_story(name: str) -> dict[str, Any]:
    """Read a planted story of the sample data, as `sample_data/stories.json` has it."""
    return next(story for story in _stories() if story["name"] == name)


def _stories() -> list[dict[str, Any]]:
    """Read all planted stories."""
    found: list[dict[str, Any]] = json.loads((sample_folder().parent / f"{_STORIES}.json").read_bytes())
    return found


def as_posted(path: Path, now: int) -> bytes:
    """Read a file as a transaction; what a story tells of an emergency is moved to today.

    Args:
        path: the file.
        now: when the data are loaded, Unix seconds.

    Raises:
        InputError: ``demo.file``.
    """
    bundle = as_transaction(unpack(path))
    if path.parent.name != _STORIES:
        return bundle
    story = next((one for one in _stories() if path.name.startswith(f"{one['name']}.") and _ACCESSED in one), None)
    return bundle if story is None else moved(bundle, story[_ACCESSED], now)


def moved(bundle: bytes, began: str, now: int) -> bytes:
    """Move what a bundle tells of a day, and of later ones, to the last whole day before now, to the same time of day.

    Args:
        bundle: FHIR JSON, whose times are those of China.
        began: the day, or a time on it, as it is written there.
        now: Unix seconds; what would lie after it is now.

    Returns:
        The bundle, otherwise to the letter: what was before that day stays.
    """
    first, zone = datetime.fromisoformat(began), datetime.fromisoformat(began).tzinfo
    here = datetime.fromtimestamp(now, UTC).astimezone(zone)
    days = here.date() - first.date() - timedelta(days=1)

    def place(match: re.Match[str]) -> str:
        if match[1] < began[: len(match[1])]:
            return match[0]
        if match[2] is None:
            return f'"{min(datetime.fromisoformat(match[1]).date() + days, here.date()).isoformat()}"'
        then = datetime.fromisoformat(match[1] + match[2]) + days
        return f'"{min(then, here).isoformat(timespec="seconds")}"'

    return _DATE.sub(place, bundle.decode()).encode()


def cited(bundle: bytes, places: Mapping[tuple[str, str], str]) -> bytes:
    """Give hospitals' records that a bundle cites the address that their hospitals' nodes have them under.

    Args:
        bundle: FHIR JSON; records are cited as ``https://<hospital>.example/fhir/<type>/<id in its bundle>``.
        places: org_id of a hospital and id → address.

    Returns:
        The bundle, otherwise to the letter.

    Raises:
        InputError: ``demo.file`` for a record of which no hospital has taken the bundle.
    """

    def place(match: re.Match[bytes]) -> bytes:
        found = places.get((match[1].decode(), match[3].decode()))
        if found is None:
            raise InputError("demo.file", name=match[0].decode())
        return found.encode()

    return _CITED.sub(place, bundle)


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
