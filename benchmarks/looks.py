"""What it costs to keep who looked at whose records provable: nothing per answer, some in the daemon.

    python benchmarks/looks.py [--looks 20000] [--patients 2000] [--before 50000]

CPU of one thread in one process, on a file of its own. `left` is what the making of AuditEvents takes longer for each
frame; `entered` is one root after the other, each of as many looks as one root takes in, over a map
that holds as many entries before. The file's growth is that of the tables, pages of the map included.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import commit, machine
from fhir_bridge.audit import Happening
from fhir_bridge.audit_events import Version
from fhir_bridge.looks import looks_of
from medchain.node.look_book import LookBook
from medchain.node.looks import pack_looks
from medchain.node.records import RecordService
from medchain.store.engine import FileKind, open_database
from medchain.store.records import LOOKS, RecordStore

BATCH, ROUND = 500, 10_000
NOW = 1_796_083_200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looks", type=int, default=20_000)
    parser.add_argument("--patients", type=int, default=2_000)
    parser.add_argument("--before", type=int, default=50_000)
    given = parser.parse_args()
    print(f"commit {commit()}  python {sys.version.split()[0]}  {machine()}")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "records.db"
        store = RecordStore(open_database(path, bytes(32), kind=FileKind.RECORDS))
        service = RecordService(store, bytes(32), bytes(32), lambda: NOW)
        roots = [0]
        book = LookBook("hospital", store, service, lambda: NOW, lambda: roots[0])
        number = 0

        def enter(count: int, patients: int) -> tuple[float, float, int]:
            nonlocal number
            left = entered = 0.0
            made = 0
            for start in range(0, count, ROUND):
                for _ in range(start, min(start + ROUND, count), BATCH):
                    seen = range(number * BATCH, (number + 1) * BATCH)
                    frames = [_seen(one, one * 7919 % patients) for one in seen]
                    spent, looks = _timed(lambda frames=frames: _left(frames))
                    left += spent
                    number += 1
                    service.create_segment(f"s{number}", [b"{}"], unit=f"u{number}", looks=looks)
                spent, entries = _timed(book.round)
                entered += spent
                made += entries
                # What the anchor does once the ledger has it.
                roots[0] += 1
                store.mark_ordered([one.id for one in store.pending(1000)], roots[0])
            return left, entered, made

        enter(given.before, given.before)
        before = _size(store, path)
        left, entered, made = enter(given.looks, given.patients)
        print(f"left to be entered: {left / given.looks * 1e6:.1f} us a frame of one patient")
        print(
            f"entered: {entered / given.looks * 1e6:.1f} us a look, {entered / made * 1e6:.0f} us an entry "
            f"({given.looks / made:.1f} looks), {store.newest_version(LOOKS, 'roots')} roots so far"
        )
        print(f"file: {(_size(store, path) - before) / given.looks:.0f} bytes a look")
        store.close()


def _seen(number: int, patient: int) -> tuple[str, Happening, list[Version]]:
    """Make a read of one record."""
    happening = Happening(
        time=NOW,
        status=200,
        request=f"{number:032x}",
        interaction="read",
        client="ehr-1",
        user=f"Practitioner/d{number % 97}",
        role="clinician",
        launch="",
        type="Observation",
        id=f"o{number}",
        version="",
        query="",
        numbers=(number,),
        purpose="TREAT",
    )
    return f"{'5f' * 16}.{number}", happening, [Version("Observation", f"o{number}", 1, f"p{patient}")]


def _left(frames: list[tuple[str, Happening, list[Version]]]) -> bytes:
    """Do what the making of events does for looks."""
    return pack_looks([look for name, happening, versions in frames for look in looks_of(name, happening, versions)])


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Run something; returns its CPU seconds and what it gave."""
    began = time.thread_time()
    found = work()
    return time.thread_time() - began, found


def _size(store: RecordStore, path: Path) -> int:
    """Return how large the file is, with what lay beside it."""
    store.database.checkpoint()
    return path.stat().st_size


if __name__ == "__main__":
    main()
