"""The committed verify.html and the patient's script are what their source builds to, and not edited by hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from medchain.web.pages import read_asset
from medchain.web.verify_page import verify_page

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm for esbuild (`make browser`)"),
]

ROOT = Path(__file__).resolve().parents[2]
BUILD_S = 600


def test_page_and_script_are_what_their_source_builds_to():
    done = subprocess.run(
        ["bash", str(ROOT / "tests" / "verify" / "build.sh")],
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = ROOT / "var" / "verify"
    assert (built / "verify.html").read_bytes() == verify_page(), "run `make verify-page`"
    assert (built / "proof.js").read_bytes() == read_asset("consent.web", "proof.js").content, "run `make verify-page`"
