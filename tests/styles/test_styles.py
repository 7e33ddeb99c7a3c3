"""The committed look of the pages is what its source compiles to, and nothing that was edited by hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from medchain.web.pages import read_asset

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm for sass (`make browser`)"),
]

ROOT = Path(__file__).resolve().parents[2]
BUILD_S = 600


def test_the_look_is_what_its_source_compiles_to():
    done = subprocess.run(
        ["bash", str(ROOT / "tests" / "styles" / "build.sh")],
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = (ROOT / "var" / "styles" / "pages.css").read_bytes()
    assert built == read_asset("medchain.web", "pages.css").content, "run `make styles`"
