"""What the page for integrators says is done, block by block in its order, against a running node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running_node import running_node

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "clients"
PROGRAMS = ("curl", "jq", "node", "openssl")
BLOCK = re.compile(r"^```([a-z]+)(?: ([a-z.]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str) -> list[tuple[str, str, str]]:
    """Read the blocks of a page: language, file name or nothing, text."""
    return [(kind, file, text) for kind, file, text in BLOCK.findall((ROOT / "docs" / name).read_text("utf-8"))]


@pytest.mark.skipif(
    not all(shutil.which(name) for name in PROGRAMS), reason="needs curl, jq, Node.js and openssl (`make clients`)"
)
def test_every_block_of_the_page_does_what_the_page_says(tmp_path):
    built = subprocess.run([CLIENTS / "build.sh"], capture_output=True, text=True, timeout=600, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    place, bin_folder = tmp_path / "integrator", tmp_path / "bin"
    place.mkdir()
    bin_folder.mkdir()
    # Two programs as an integrator has them: the command of the node's machine, and Python with both packages.
    libraries = ROOT / "var" / "clients" / "python"
    site = next((libraries / "lib").glob("python3*/site-packages"))
    _program(bin_folder / "medchain", f'PYTHONPATH={ROOT} exec {sys.executable} -m medchain.cli "$@"')
    _program(bin_folder / "python3", f'PYTHONPATH={site} exec {sys.executable} "$@"')
    script = ["set -euo pipefail"]
    for kind, file, text in blocks("integrating.md"):
        if file:
            (place / file).write_text(text, encoding="utf-8")
        elif kind == "sh":
            script.append(text)
    with running_node(tmp_path / "node", "web.workers=2") as node:
        done = subprocess.run(
            ["bash", "-x", "-c", "\n".join(script)],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            env=os.environ
            | {"FHIR": node.fhir, "MEDCHAIN_CONFIG": str(node.config), "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_both_languages_of_the_page_have_the_same_blocks():
    assert blocks("integrating.md") == blocks("integrating.zh.md")
    assert {kind for kind, _, _ in blocks("integrating.md")} == {"html", "java", "js", "python", "sh"}


def _program(path: Path, line: str) -> None:
    """Write a program of one line."""
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o700)
