"""The verifier in JavaScript, run by Node.js on bundles: that of verify.html, as the patient's page has it."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medchain.web.pages import read_asset

IS_THERE = shutil.which("node") is not None
"""Whether this machine has Node.js."""

JUDGE_S = 600
HARNESS = """import { ProofError, unzip, verifyBundle } from "./proof.mjs";
import { readFileSync } from "node:fs";
const told = [];
for (const { zip, policy, now } of JSON.parse(readFileSync("asked.json", "utf8"))) {
  try {
    const { answer, claim, current } = verifyBundle(await unzip(new Uint8Array(readFileSync(zip)), 4096), policy, now);
    told.push({ answer, claim, current });
  } catch (error) {
    const fault = { fault: String(error.stack) };
    told.push(error instanceof ProofError ? { code: error.code, refused: error.isRefused } : fault);
  }
}
console.log(JSON.stringify(told));
"""


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a bundle as a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def judged(folder: Path, bundles: Sequence[tuple[Path, str, int]]) -> list[dict[str, Any]]:
    """Have the script judge bundles.

    Args:
        folder: for its own files.
        bundles: zip, trusted policy and clock of each.

    Returns:
        Of each ``answer``, ``claim`` and ``current``; or ``code`` and whether it is refused, rather than no bundle.
    """
    (folder / "proof.mjs").write_bytes(read_asset("consent.web", "proof.js").content)
    (folder / "harness.mjs").write_text(HARNESS)
    asked = [{"now": now, "policy": policy, "zip": str(path)} for path, policy, now in bundles]
    (folder / "asked.json").write_text(json.dumps(asked))
    words = ["node", "harness.mjs"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=JUDGE_S)
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
