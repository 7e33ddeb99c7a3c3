"""The demo's proof bundles: written to folders, and verified by processes that know nothing but the trusted policy.

Keeps true: a bundle is only called verified when a separate `medchain verify`, given its folder and `policy.txt`,
says so; a tampered copy that is not refused fails the demo. Trusts the exit code of that process.
Source: `docs/spec/proof-bundle.md`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medchain.commands.command import Exit
from medchain.commands.demo_consortium import Node
from medchain.encoding import Json, as_object, base64_text, unbase64
from medchain.errors import VerificationError
from medchain.node.peers import Limits
from medchain.node.proofs import PROVE, PROVE_ENTRY

BUNDLES_NAME: Final = "bundles"
"""Name of the folder with the bundles."""

_LIMITS: Final = Limits(timeout_s=30.0, max_bytes=64 << 20)
_MAX_FILE_BYTES: Final = 64 << 20
_VERIFY_TIMEOUT_S: Final = 60
_ENTRY_NAME: Final = "entry.bin"


@dataclass(frozen=True, slots=True)
class Judged:
    """What a separate `medchain verify` said.

    Attributes:
        name: of the bundle.
        code: its exit code.
        verdict: its answer, empty for a refusal.
        reason: code of the refusal, or empty.
    """

    name: str
    code: int
    verdict: Mapping[str, Json]
    reason: str

    @property
    def is_verified(self) -> bool:
        """Whether it was verified."""
        return self.code == Exit.DONE


def object_files(node: Node, key: bytes, opening: bytes | None = None) -> dict[str, bytes]:
    """Have a node prove what the final state holds under a key: its head, or that there is none."""
    shown: Json = {"key": key.hex()} if opening is None else {"key": key.hex(), "opening": base64_text(opening)}
    return files_of(node.local.call(PROVE, shown, _LIMITS))


def entry_files(node: Node, position: int) -> dict[str, bytes]:
    """Have a node prove that the log holds an entry."""
    return files_of(node.local.call(PROVE_ENTRY, {"position": position}, _LIMITS))


def zip_files(content: bytes) -> dict[str, bytes]:
    """Unpack a bundle that a proof route answered."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {item.filename: archive.read(item) for item in archive.infolist()}


def write_bundle(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a bundle, in place of an earlier one of its name."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in sorted(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def judge(folder: Path, policy: Path) -> Judged:
    """Have a process of its own verify a bundle.

    Args:
        folder: of the bundle.
        policy: the trusted policy; with the folder all that the process is given.

    Returns:
        What it said.

    Raises:
        VerificationError: ``demo.verify`` if it said nothing of use.
    """
    words = [sys.executable, "-m", "medchain.cli", "verify", str(folder.resolve()), "--policy", str(policy.resolve())]
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(  # noqa: S603  # our own command, no shell
            [*words, "--json"],
            cwd=elsewhere,
            capture_output=True,
            check=False,
            timeout=_VERIFY_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    said = done.stdout if done.returncode == Exit.DONE else done.stderr
    try:
        document = json.loads(said)
    except ValueError as error:
        raise VerificationError("demo.verify", bundle=folder.name, status=done.returncode) from error
    if done.returncode == Exit.DONE:
        return Judged(folder.name, done.returncode, document, "")
    return Judged(folder.name, done.returncode, {}, str(document.get("code", "")))


def judge_tampered(folder: Path, policy: Path) -> Judged:
    """Flip one bit in the middle of a copy's entry, and have the copy verified."""
    with tempfile.TemporaryDirectory() as elsewhere:
        copy = Path(elsewhere) / f"{folder.name}-tampered"
        shutil.copytree(folder, copy)
        content = bytearray((copy / _ENTRY_NAME).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / _ENTRY_NAME).write_bytes(content)
        return judge(copy, policy)


def files_of(answer: Json) -> dict[str, bytes]:
    """Read the files that a node answered."""
    files = as_object(answer).get("files")
    if not isinstance(files, dict):
        raise VerificationError("demo.answer", step="prove")
    return {name: unbase64(content, max_bytes=_MAX_FILE_BYTES) for name, content in files.items()}
