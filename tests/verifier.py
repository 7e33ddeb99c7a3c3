"""The verifier in JavaScript, run by Node.js on bundles: that of verify.html, as the patient's page has it."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medchain.errors import InputError, MedchainError
from medchain.ledger.bundle import Verdict, verify_bundle
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


def told(files: Mapping[str, bytes], policy: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401  # as it is called
    """Say of a bundle what the node's verifier says, in the form of `judged`."""
    try:
        verdict = verify_bundle(files, policy, **given)
    except MedchainError as error:
        return {"code": error.code, "refused": not isinstance(error, InputError)}
    claim = None if verdict.claim is None else verdict.claim.to_json()
    return {"answer": verdict.answer, "claim": claim, "current": verdict.current}


class SecondOpinion:
    """Notes what the node's verifier is asked, to ask the script the same."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.asked: list[tuple[dict[str, bytes], str, int]] = []

    def verify(self, files: Mapping[str, bytes], policy: str, **given: Any) -> Verdict:  # noqa: ANN401  # as above
        """Verify a bundle, and note it; what the page is not asked for, another ledger or limit, is not noted."""
        if given.keys() == {"now"}:
            self.asked.append((dict(files), policy, given["now"]))
        return verify_bundle(files, policy, **given)

    def differing(self, folder: Path) -> list[tuple[object, object]]:
        """Ask the script; returns both answers where they differ."""
        bundles = [
            (pack(folder / f"{number}.zip", files), policy, now)
            for number, (files, policy, now) in enumerate(self.asked)
        ]
        rows = zip(judged(folder, bundles), self.asked, strict=True)
        return [
            (found, said) for found, (files, policy, now) in rows if found != (said := told(files, policy, now=now))
        ]
