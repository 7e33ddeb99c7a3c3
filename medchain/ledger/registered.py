"""When an entry was accepted: the end of its block and that of the one before, in the tree of the answer.

Keeps true: a time is believed only of the very block that holds the entry, since the two ends have consecutive heights
and nothing but that block's entries lies between them; no later end can make an entry look late, and no earlier one
early. Trusts the caller for the tree, and the quorum under it for the times of blocks.
Source: `docs/spec/proof-bundle.md` 13; RFC 6962 §2.1.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, as_list, as_number, base64_text, canonical, members, parse_canonical, unbase64
from medchain.errors import InputError, VerificationError
from medchain.ledger.machine import StateLeaf, parse_state_leaf
from medchain.tlog.checkpoint import Checkpoint
from medchain.tlog.merkle import leaf_hash, verify_inclusion

BLOCK_FILE: Final = "block.json"
"""Name of the file in a bundle."""

NEWEST_FILE: Final = "newest.json"
"""Name of the same file about the newest version, where an earlier one is proven."""

BLOCK_TYPE: Final = "medchain/block/v1"
"""Its type member."""

_MAX_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class BlockEnd:
    """The state leaf that ends a block, and the proof that a tree holds it.

    Attributes:
        leaf: its bytes.
        position: its index.
        hashes: inclusion proof, from the leaf's sibling up.
    """

    leaf: bytes
    position: int
    hashes: tuple[bytes, ...]

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "hashes": [base64_text(one) for one in self.hashes],
            "leaf": base64_text(self.leaf),
            "position": self.position,
        }


def write_block(before: BlockEnd | None, after: BlockEnd) -> bytes:
    """Write ``block.json``.

    Args:
        before: the end of the block before; None for the genesis, which has none.
        after: the end of the block that holds the entry.

    Returns:
        Canonical JSON.
    """
    document: dict[str, Json] = {
        "after": after.to_json(),
        "before": None if before is None else before.to_json(),
        "type": BLOCK_TYPE,
    }
    return canonical(document)


def accepted_at(data: bytes, position: int, tree: Checkpoint) -> int:
    """Tell when the entry at a position was accepted.

    Args:
        data: ``block.json``.
        position: index of the entry.
        tree: the checkpoint that the answer is as of, verified.

    Returns:
        Unix seconds, the time of its block.

    Raises:
        InputError: ``encoding.*``, ``bundle.block`` for what is no such file.
        VerificationError: ``bundle.block`` for ends of other blocks, or that the tree does not hold.
    """
    value = parse_canonical(data, max_bytes=_MAX_BYTES)
    if type(value) is not dict or value.keys() != {"after", "before", "type"} or value["type"] != BLOCK_TYPE:
        raise InputError("bundle.block")
    after, end = _end(value["after"], tree)
    if value["before"] is None:
        is_its_block = position == 0 and end.height == 0
    else:
        before, start = _end(value["before"], tree)
        is_its_block = before.position < position < after.position and end.height == start.height + 1
    if not is_its_block:
        raise VerificationError("bundle.block", position=position)
    return end.time


def _end(value: Json, tree: Checkpoint) -> tuple[BlockEnd, StateLeaf]:
    """Read the end of a block, which the tree must hold."""
    row = members(value, {"hashes": list, "leaf": str, "position": int})
    hashes = tuple(unbase64(one) for one in as_list(row["hashes"]))
    end = BlockEnd(unbase64(row["leaf"]), as_number(row["position"]), hashes)
    verify_inclusion(leaf_hash(end.leaf), end.position, tree.size, end.hashes, tree.root)
    return end, parse_state_leaf(end.leaf)
