"""Blocks on the wire: frames of bounded size, a head in canonical JSON and the leaves as they are.

Keeps true: a block has one spelling; nothing is decoded before its size was checked; what is read back is what was
written. Structure only: whether a block is right is the replica's business. Trusts nothing.
Source: `docs/spec/ordering.md` 1–3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical, unbase64
from medchain.errors import InputError
from medchain.ledger.transaction import MAX_LEAF_BYTES

BLOCK_TYPE: Final = "medchain/block/v1"
"""Type member of a block."""

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Most bytes of frames in one answer or request, the lengths included."""

MAX_BLOCK_TRANSACTIONS: Final = 4096
"""Most transactions of one block; the bytes of all are bounded by `medchain.ledger.machine.MAX_BLOCK_BYTES`."""

MAX_CHECKPOINT_BYTES: Final = 64 * 1024
"""Longest checkpoint note; 64 members with two lines each fit only with ML-DSA-44 lines kept out of blocks."""

MAX_NOTE_BYTES: Final = 512 * 1024
"""Longest note with all cosignature lines: 64 members with an Ed25519 and an ML-DSA-44 line each."""

_LENGTH: Final = struct.Struct(">I")
_HEAD: Final = {"checkpoint": str, "height": int, "time": int, "type": str}
_MAX_HEAD_BYTES: Final = 2 * MAX_CHECKPOINT_BYTES
_PAYLOAD_START: Final = b'{"payload":"'


@dataclass(frozen=True, slots=True)
class Block:
    """A block as it travels.

    Attributes:
        height: one more than that of the block before.
        time: Unix seconds.
        transactions: leaves in order, without the state leaf, which execution makes.
        checkpoint: origin, size and root of the log after it, with the log's signature line (C2SP signed-note).
    """

    height: int
    time: int
    transactions: tuple[bytes, ...]
    checkpoint: str


def block_bytes(block: Block) -> bytes:
    """Encode a block: its head as canonical JSON, then its leaves as they are, each behind its length."""
    head: Json = {"checkpoint": block.checkpoint, "height": block.height, "time": block.time, "type": BLOCK_TYPE}
    return frames((canonical(head), *block.transactions))


def parse_block(data: bytes) -> Block:
    """Decode a block strictly.

    Args:
        data: from `block_bytes`.

    Returns:
        The block.

    Raises:
        InputError: ``block.malformed`` with the reason.
    """
    try:
        head, *leaves = parse_frames(data, max_count=1 + MAX_BLOCK_TRANSACTIONS) or (b"",)
        return _block(parse_canonical(head, max_bytes=_MAX_HEAD_BYTES), tuple(leaves))
    except InputError as error:
        if error.code == "block.malformed":
            raise
        raise InputError("block.malformed", reason=error.code, member=error.fields.get("member")) from error


def frame(data: bytes) -> bytes:
    """Put a length before a document."""
    return _LENGTH.pack(len(data)) + data


def frames(documents: Iterable[bytes]) -> bytes:
    """Put documents one after the other, each behind its length."""
    return b"".join(map(frame, documents))


def parse_frames(
    data: bytes, *, max_bytes: int = MAX_ANSWER_BYTES, max_count: int = MAX_BLOCK_TRANSACTIONS
) -> list[bytes]:
    """Take documents out of their frames.

    Args:
        data: frames and nothing else.
        max_bytes: most bytes in all; checked first.
        max_count: most documents.

    Returns:
        The documents, not decoded; none for no bytes.

    Raises:
        InputError: ``block.frame`` for too many bytes or documents, or a frame that is empty or cut off.
    """
    if len(data) > max_bytes:
        raise InputError("block.frame", size=len(data), limit=max_bytes)
    found: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data) or len(found) == max_count:
            raise InputError("block.frame", size=len(data), limit=max_bytes)
        at = start + int(_LENGTH.unpack_from(data, at)[0])
        if at == start or at > len(data):
            raise InputError("block.frame", size=len(data), limit=max_bytes)
        found.append(data[start:at])
    return found


def blocks_answer(blocks: Iterable[Block], *, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    """Frame blocks for an answer, as many as fit, at least the first."""
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        part = frame(block_bytes(block))
        size += len(part)
        if parts and size > max_bytes:
            break
        parts.append(part)
    return b"".join(parts)


def parse_blocks(data: bytes) -> list[Block]:
    """Decode an answer of `blocks_answer`; raises `InputError` ``block.frame`` or ``block.malformed``."""
    return [parse_block(document) for document in parse_frames(data)]


def submission(leaves: Sequence[bytes]) -> bytes:
    """Frame the envelopes of a submission."""
    return frames(leaves)


def parse_submission(data: bytes) -> list[bytes]:
    """Take the envelopes out of a submission, none of them decoded; raises `InputError` ``block.frame``."""
    leaves = parse_frames(data)
    if not leaves:
        raise InputError("block.frame", size=0, limit=MAX_ANSWER_BYTES)
    return leaves


def accepted_id(leaf: bytes) -> bytes:
    """Name the transaction of an envelope that a machine has accepted: SHA-256 of its payload.

    The machine has checked that the envelope is canonical, and ``payload`` is its first member. Of bytes that no
    machine has accepted, this says nothing.
    """
    if not leaf.startswith(_PAYLOAD_START):
        raise InputError("block.malformed", reason="payload", member="transactions")
    end = leaf.find(b'"', len(_PAYLOAD_START))
    payload = unbase64(leaf[len(_PAYLOAD_START) : end].decode("ascii", "replace"), max_bytes=MAX_LEAF_BYTES)
    return sha256(payload).digest()


def accepted_ids(block: Block) -> list[bytes]:
    """Name the transactions of a block that a replica has applied, as `accepted_id` does."""
    return [accepted_id(leaf) for leaf in block.transactions]


def _block(value: Json, leaves: tuple[bytes, ...]) -> Block:
    """Read the members of a block's head."""
    top = members(value, _HEAD)
    height, time, checkpoint = top["height"], top["time"], str(top["checkpoint"])
    if top["type"] != BLOCK_TYPE or type(height) is not int or type(time) is not int:
        raise InputError("block.malformed", reason="type", member="type")
    if height < 0 or time < 0:
        raise InputError("block.malformed", reason="range", member="height")
    if len(checkpoint.encode()) > MAX_CHECKPOINT_BYTES:
        raise InputError("block.malformed", reason="size", member="checkpoint")
    if any(len(leaf) > MAX_LEAF_BYTES for leaf in leaves):
        raise InputError("block.malformed", reason="size", member="transactions")
    return Block(height, time, leaves, checkpoint)
