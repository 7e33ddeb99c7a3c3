"""What it costs to verify an insurer's evidence offline: time in Python, and size of the bundle.

    python benchmarks/claim.py [--records 50] [--entries 2000] [--runs 20]

A real ledger (`tests/evidence.py`) of so many entries; the claim cites so many records, each registered in a block of
its own; fields of half of them are opened. Verifying is all that `medchain verify` does but reading the files.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from medchain.ledger.bundle import verify_bundle
from medchain.ledger.evidence.disclosure import As
from medchain.ledger.kinds.content import Period
from tests.evidence import Paper, Scene, instant
from tests.evidence_ledger import Ledger, invoicing, ledger_in

BATCH = 100


def grown(ledger: Ledger, entries: int) -> None:
    """Put so many anchors of other patients on the ledger."""
    for _ in range(entries // BATCH):
        ledger.block(*(ledger.author.anchor() for _ in range(BATCH)))


def told(ledger: Ledger, records: int) -> Scene:
    """Have a claim cite so many records, each of a block of its own."""
    s = Scene(ledger).stay()
    for number in range(records - len(s.papers)):
        at = s.began + number * 3600
        body = {"resourceType": "DiagnosticReport", "id": f"r{number}", "effectiveDateTime": instant(at)}
        opened = ("/effectiveDateTime",) if number % 2 else ()
        s.papers.append(Paper(As.CITED, body, Period(at, at), opened))
    for paper in s.papers:
        s.register(paper)
    return s.claimed().permitted().given()


def packed(files: Mapping[str, bytes]) -> int:
    """Return the size of a bundle's zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return len(out.getvalue())


def main() -> None:
    """Measure, and print a table row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=50)
    parser.add_argument("--entries", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=20)
    given = parser.parse_args()
    with invoicing(), tempfile.TemporaryDirectory() as folder, ledger_in(Path(folder)) as ledger:
        grown(ledger, given.entries)
        scene = told(ledger, given.records)
        begun = time.perf_counter()
        files = scene.bundle()
        made_ms = (time.perf_counter() - begun) * 1000
        times = []
        for _ in range(given.runs):
            begun, cpu = time.perf_counter(), time.process_time()
            verdict = verify_bundle(files, ledger.policy, now=scene.now + 10)
            times.append(((time.perf_counter() - begun) * 1000, (time.process_time() - cpu) * 1000))
    wall, used = (statistics.median(column) for column in zip(*times, strict=True))
    size = sum(map(len, files.values()))
    print(f"records {given.records}, entries {verdict.size}, verdict {verdict.claim.colour}")
    print(f"bundle {size / 1000:.0f} kB in {len(files)} files, {packed(files) / 1000:.0f} kB as a zip")
    print(f"exported and judged in {made_ms:.0f} ms")
    print(f"verified in {wall:.1f} ms ({used:.1f} ms of CPU), at first in {times[0][0]:.1f} ms")


if __name__ == "__main__":
    main()
