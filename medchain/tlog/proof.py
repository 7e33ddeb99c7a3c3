"""C2SP tlog-proof@v1: a leaf's inclusion proof together with the signed checkpoint that it leads to, as one text.

Keeps true: a proof is accepted only with a checkpoint that satisfies the policy. Trusts the policy.
Source: C2SP tlog-proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import base64_text, unbase64
from medchain.errors import InputError
from medchain.tlog.checkpoint import parse_decimal
from medchain.tlog.merkle import HASH_BYTES, MAX_PROOF_HASHES, MAX_SIZE, leaf_hash, verify_inclusion
from medchain.tlog.note import MAX_NOTE_BYTES
from medchain.tlog.policy import Policy, VerifiedCheckpoint

HEADER: Final = "c2sp.org/tlog-proof@v1"
"""First line of a proof."""

MAX_EXTRA_BYTES: Final = 1 << 16
"""Largest ``extra`` data that is read over."""

_EXTRA: Final = "extra "
_INDEX: Final = "index "
_MAX_BYTES: Final = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof's parts, not verified.

    Attributes:
        index: index of the leaf.
        hashes: inclusion proof, from the leaf's sibling up.
        checkpoint: the signed checkpoint, as it was received.
        has_extra: whether there was an ``extra`` line, which nothing signs and we never write; its data is dropped.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    has_extra: bool = False


def parse_hash_lines(lines: Sequence[str]) -> tuple[bytes, ...]:
    """Read the hashes of a proof, one a line.

    Raises:
        InputError: ``tlog.proof_hashes`` for more than 63 or another size; ``encoding.base64``.
    """
    if len(lines) > MAX_PROOF_HASHES:
        raise InputError("tlog.proof_hashes", count=len(lines))
    hashes = tuple(unbase64(line) for line in lines)
    if any(len(item) != HASH_BYTES for item in hashes):
        raise InputError("tlog.proof_hashes")
    return hashes


def split_proof(data: bytes, max_bytes: int) -> tuple[list[str], bytes]:
    """Divide a text at its first empty line, as tlog-proof and tlog-witness bodies are built.

    Args:
        data: the text.
        max_bytes: largest size accepted.

    Returns:
        The lines before it, at least one, and the bytes after it.

    Raises:
        InputError: ``tlog.proof``.
    """
    head, separator, rest = data.partition(b"\n\n")
    if len(data) > max_bytes or not separator or not head.isascii():
        raise InputError("tlog.proof", size=len(data))
    return head.decode().split("\n"), rest


def parse_proof(data: bytes) -> TlogProof:
    """Read a proof.

    Raises:
        InputError: ``tlog.proof``, ``tlog.proof_hashes``, ``tlog.decimal`` or ``encoding.base64``.
    """
    lines, checkpoint = split_proof(data, _MAX_BYTES)
    if lines.pop(0) != HEADER:
        raise InputError("tlog.proof")
    has_extra = bool(lines) and lines[0].startswith(_EXTRA)
    if has_extra:
        unbase64(lines.pop(0).removeprefix(_EXTRA), max_bytes=MAX_EXTRA_BYTES)
    if not lines or not lines[0].startswith(_INDEX):
        raise InputError("tlog.proof")
    index = parse_decimal(lines.pop(0).removeprefix(_INDEX))
    return TlogProof(index, parse_hash_lines(lines), checkpoint, has_extra)


def format_proof(index: int, hashes: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Write a proof.

    Args:
        index: index of the leaf.
        hashes: inclusion proof, from the leaf's sibling up.
        checkpoint: the signed checkpoint.

    Raises:
        InputError: ``tlog.proof`` for an impossible index, ``tlog.proof_hashes``.
    """
    if not 0 <= index < MAX_SIZE:
        raise InputError("tlog.proof", index=index)
    lines = [base64_text(item) for item in hashes]
    parse_hash_lines(lines)
    return "\n".join([HEADER, f"{_INDEX}{index}", *lines, "", ""]).encode() + checkpoint


def verify_tlog_proof(
    data: bytes, leaf: bytes, policy: Policy, *, now: int | None = None, max_age_s: int | None = None
) -> tuple[int, VerifiedCheckpoint]:
    """Check that a leaf is in a log under a checkpoint that satisfies a policy.

    Args:
        data: the proof; an ``extra`` line is read over.
        leaf: exact bytes of the leaf.
        policy: a trusted policy, from outside the proof.
        now: as in `Policy.check`.
        max_age_s: as in `Policy.check`.

    Returns:
        The leaf's index, and the checkpoint with its signers.

    Raises:
        InputError: if the proof is malformed.
        VerificationError: if checkpoint or inclusion do not hold.
    """
    proof = parse_proof(data)
    verified = policy.check(proof.checkpoint, now=now, max_age_s=max_age_s)
    checkpoint = verified.checkpoint
    verify_inclusion(leaf_hash(leaf), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return proof.index, verified
