"""How long verify.html takes in Chromium for the evidence of a claim with fifty records, opened from a file.

    python benchmarks/verify_page.py --runs 9

Each run is a page opened anew, in one browser: reading the zip, unpacking, all proofs and the seven lines, until the
verdict is there to be shown. The first run of a browser compiles the script.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.consortium import commit, machine  # the path first
from medchain.web.verify_page import verify_page
from tests.deck import deck
from tests.e2e.browser import Browser
from tests.verifier import pack

CASE = "fifty_records"


def main() -> None:
    """Make the bundle, then have it judged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    print(f"commit {commit()}  {machine()}  {vars(options)}")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        ((_, made),) = deck(folder, iter([CASE]))
        zipped = pack(folder / "bundle.zip", made.files).stat().st_size
        (folder / "policy.txt").write_text(made.policy)
        (folder / "verify.html").write_bytes(verify_page())
        browser = Browser(folder)
        try:
            took = [_judged(browser, folder) for _ in range(options.runs)]
        finally:
            browser.close()
    size = sum(map(len, made.files.values()))
    print(f"files {len(made.files)}, {size} bytes, zipped {zipped}")
    print(f"ms: first {took[0]}, median of the others {statistics.median(took[1:])}, all {took}")


def _judged(browser: Browser, folder: Path) -> int:
    """Have the page judge the bundle; returns milliseconds."""
    browser.open("about:blank")
    browser.open(f"file://{folder}/verify.html")
    browser.type("#policy", str(folder / "policy.txt"))
    browser.type("#bundle", str(folder / "bundle.zip"))
    browser.wait_for("#result[data-state=green]")
    return int(browser.script("return document.querySelector('#result').dataset.took"))


if __name__ == "__main__":
    main()
