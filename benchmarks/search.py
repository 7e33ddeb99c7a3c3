"""The search index of one node: what rows cost, and how fast reads and searches are, by CPU time of this process.

    python benchmarks/search.py DATA --sizes 10000 100000 1000000

DATA is a folder of FHIR transaction bundles (plain, gz or xz), one a patient, such as Synthea's; when they are too few,
they are taken again under new ids. The real records file, sealing and index; no HTTP, no validation, no anchoring.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import lzma
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import process_time
from urllib.parse import parse_qsl

import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import commit, machine, now  # the path first
from fhir_bridge.search.index import SearchIndex
from fhir_bridge.search.indexer import Indexer
from fhir_bridge.search.query import parse_query
from fhir_bridge.search.service import SearchService
from medchain.node.records import NewRecord, RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.records import RecordStore

OPENERS = {".gz": gzip.open, ".xz": lzma.open}
KEY, LEDGER, FILE_KEY = (sha256(name).digest() for name in (b"records", b"ledger", b"file"))
URN = re.compile(rb"urn:uuid:([0-9a-f\-]{36})")
CONDITIONAL = re.compile(rb'"reference":"([A-Z][A-Za-z]+\?identifier=[^"]+)"')
SEARCHES = 300
READS = 2_000
STEP = 7919
MOST = 5_000
MICROSECONDS = 1e6

Resource = dict[str, object]


def main() -> None:
    """Fill a node step by step, and search at each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}  {vars(options)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.db"
        database = open_database(path, FILE_KEY, kind=FileKind.RECORDS, cache_bytes=32 << 20)
        with closing(RecordStore(database)) as store:
            shelf = Shelf(store, options.data)
            for size in sorted(options.sizes):
                shelf.fill(size)
                database.checkpoint()
                print(f"{shelf.count:,} resources, {path.stat().st_size / shelf.count:,.0f} bytes each on disk in all")
                shelf.measure()


class Shelf:
    """A node's records, as many as are asked for."""

    def __init__(self, store: RecordStore, data: Path) -> None:
        """Open it, empty."""
        self._index = SearchIndex(store)
        self._service = RecordService(store, LEDGER, KEY, now, index=self._index)
        self._searches = SearchService(store, self._index, KEY, LEDGER, now)
        self._bundles = _bundles(data)
        self._samples: dict[str, list[str]] = {}
        self._names: list[tuple[str, str]] = []
        self.count = 0

    def fill(self, size: int) -> None:
        """Store bundles until there are so many resources."""
        first, stored_s, rows_s, rows = self.count, 0.0, 0.0, 0
        indexers: dict[str, Indexer] = {}
        while self.count < size:
            resources = next(self._bundles)
            records = [_record(one) for one in resources]
            begin = process_time()
            for one in resources:
                name = str(one["resourceType"])
                if name not in indexers:
                    indexers[name] = Indexer(name, lambda code, name=name: self._index.number(name, code))
                rows += len(indexers[name].rows(one))
            middle = process_time()
            self._service.create_many(records)
            rows_s, stored_s = rows_s + middle - begin, stored_s + process_time() - middle
            self.count += len(resources)
            self._names += [(str(one["resourceType"]), str(one["id"])) for one in resources]
            self._sample(resources)
        made = self.count - first
        print(
            f"seal, index and store: {stored_s / made * MICROSECONDS:.0f} us of CPU a resource; of that "
            f"{rows_s / made * MICROSECONDS:.0f} us to make {rows / made:.1f} rows; {machine()}"
        )

    def measure(self) -> None:
        """Read, and search in each way."""
        chosen = [self._names[place * STEP % len(self._names)] for place in range(READS)]
        begin = process_time()
        for name, record_id in chosen:
            self._service.read(name, record_id)
        cpu_s = process_time() - begin
        print(f"  read and open by id: {cpu_s / READS * MICROSECONDS:.0f} us each; {machine()}")
        for name, texts in sorted(self._samples.items()):
            chosen = [texts[place * STEP % len(texts)] for place in range(SEARCHES)]
            self._run(chosen[:20])
            begin = process_time()
            found = self._run(chosen)
            cpu_s = process_time() - begin
            print(
                f"  {name}: {SEARCHES / cpu_s:,.0f}/s of CPU, {cpu_s / SEARCHES * MICROSECONDS:.0f} us each, "
                f"{found / SEARCHES:.1f} found; {machine()}"
            )

    def _run(self, texts: list[str]) -> int:
        """Search; returns how much was found."""
        count = 0
        for text in texts:
            name, _, rest = text.partition("?")
            query = parse_query(parse_qsl(rest), name, self._searches.context())
            found = self._searches.search(query)
            count += len(found.matches) + len(found.included)
        return count

    def _sample(self, resources: list[Resource]) -> None:
        """Write searches that find something of a bundle."""
        patient = next((one for one in resources if one["resourceType"] == "Patient"), None)
        if patient is None:
            return
        name, identifier = patient["id"], patient["identifier"][1]
        value = f"{identifier['system']}|{identifier['value']}"
        self._add("Patient?identifier", f"Patient?identifier={value}")
        self._add("chain by identifier", f"Observation?subject:Patient.identifier={value}&_count=20")
        self._add("Claim with _include", f"Claim?patient={name}&_include=Claim:provider&_count=20")
        self._add("ExplanationOfBenefit page of 20", f"ExplanationOfBenefit?patient={name}&_count=20")
        for one in resources:
            if one["resourceType"] == "Observation" and "effectiveDateTime" in one:
                code = one["code"]["coding"][0]
                coded, since = f"{code['system']}|{code['code']}", one["effectiveDateTime"][:10]
                self._add("patient, code and date", f"Observation?patient={name}&code={coded}&date=ge{since}")
            if one["resourceType"] == "Condition":
                self._add("_has by code", f"Patient?_has:Condition:patient:code={one['code']['coding'][0]['code']}")

    def _add(self, name: str, text: str) -> None:
        """Keep a search, some of each kind."""
        listed = self._samples.setdefault(name, [])
        if len(listed) < MOST:
            listed.append(text)


def _bundles(folder: Path) -> Iterator[list[Resource]]:
    """Read bundles, again and again under new ids; what all share comes once."""
    files = sorted(folder.rglob("*.json*"))
    names: dict[bytes, bytes] = {}
    shared, own = [], []
    for path in files:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            data = file.read()
        (own if b'"resourceType":"Patient"' in orjson.dumps(orjson.loads(data)) else shared).append(path)
    for path in shared:
        resources = _resources(path, b"", names)
        for one in resources:
            for identifier in one.get("identifier", []):
                place = f"{one['resourceType']}/{one['id']}"
                names[f"{one['resourceType']}?identifier={identifier['system']}|{identifier['value']}".encode()] = (
                    place.encode()
                )
        yield resources
    for turn in itertools.count():
        for path in own:
            yield _resources(path, b"-%d" % turn, names)


def _resources(path: Path, suffix: bytes, names: dict[bytes, bytes]) -> list[Resource]:
    """Read the resources of a bundle under new ids, their references replaced."""
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        entries = orjson.loads(file.read())["entry"]
    places = {
        one["fullUrl"]
        .removeprefix("urn:uuid:")
        .encode(): f"{one['resource']['resourceType']}/{one['resource']['id']}".encode() + suffix
        for one in entries
    }
    text = orjson.dumps([one["resource"] for one in entries])
    text = URN.sub(lambda match: places.get(match[1], match[0]), text)
    text = CONDITIONAL.sub(lambda match: b'"reference":"' + names.get(match[1], match[1]) + b'"', text)
    found: list[Resource] = orjson.loads(text)
    for one in found:
        one["id"] = f"{one['id']}{suffix.decode()}"
        for identifier in one.get("identifier", []) if one["resourceType"] == "Patient" else []:
            identifier["value"] = f"{identifier['value']}{suffix.decode()}"
    return found


def _record(resource: Resource) -> NewRecord:
    """Make what is stored of a resource."""
    about = resource.get("subject") or resource.get("patient") or {}
    patient = about.get("reference", "") if isinstance(about, dict) else ""
    return NewRecord(str(resource["resourceType"]), str(resource["id"]), orjson.dumps(resource), patient)


if __name__ == "__main__":
    main()
