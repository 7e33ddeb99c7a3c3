"""axe-core, the accessibility checker of others, from the npm registry, run in a page.

Source: axe-core 4.14.1 (MPL 2.0), rules tagged WCAG 2.0 to 2.2, A and AA, and best practices.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.browser import Browser

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "axe-core@4.14.1"
LIBRARY_SHA512 = (
    "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73"
    "4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5"
)


@cache
def library() -> str:
    """Get the library, checked against its hash."""
    kept = ROOT / "var" / "npm"
    kept.mkdir(parents=True, exist_ok=True)
    packed = kept / (LIBRARY.replace("@", "-") + ".tgz")
    if not packed.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm for axe-core")
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([npm, "pack", LIBRARY, "--pack-destination", folder], check=True, capture_output=True)
            shutil.move(Path(folder) / packed.name, packed)
    assert hashlib.sha512(packed.read_bytes()).hexdigest() == LIBRARY_SHA512
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode("utf-8")


def violations(browser: Browser) -> list[str]:
    """Tell what is wrong with the page that the browser shows: rule, and where."""
    source = (
        library()
        + "; const done = arguments[arguments.length - 1];"
        + "axe.run(document).then((found) => done(found.violations.flatMap((one) =>"
        + " one.nodes.map((node) => `${one.id}: ${node.target.join(' ')}`))), (error) => done([String(error)]));"
    )
    return browser.promise(source)
