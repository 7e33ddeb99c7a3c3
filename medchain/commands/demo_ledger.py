"""The demo reads its ledger as anybody could: the log's entries, counted by kind and organisation, and who cosigned.

Keeps true: numbers come from entries whose hashes make the checkpoint's root, not from what a node says of itself.
Trusts nothing that a node serves beyond that checkpoint, which the caller has compared over all nodes.
Source: C2SP tlog-tiles; `docs/spec/transaction.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from medchain.commands.demo_consortium import Node
from medchain.errors import VerificationError
from medchain.ledger.transaction import Stop, parse_envelope
from medchain.node.peers import Limits
from medchain.tlog.checkpoint import Checkpoint, parse_checkpoint
from medchain.tlog.merkle import Frontier, leaf_hash
from medchain.tlog.note import parse_note
from medchain.tlog.policy import Policy
from medchain.tlog.tiles import TILE_WIDTH, entries_path, parse_entry_bundle

STOP: Final = "stop"
"""Counted as a kind beside those of objects."""

_LIMITS: Final = Limits(timeout_s=30.0, max_bytes=64 << 20)
_STATE_LEAF: Final = b'{"height":'


@dataclass(frozen=True, slots=True)
class Count:
    """What a log holds.

    Attributes:
        checkpoint: newest final one of the node that was asked.
        objects: (kind, org_id of the creator) → versions of objects on the log.
        transactions: how many.
        blocks: how many.
    """

    checkpoint: Checkpoint
    objects: Counter[tuple[str, str]]
    transactions: int
    blocks: int


def newest_note(node: Node) -> bytes:
    """Fetch a node's newest final checkpoint, with its lines of signatures."""
    return node.local.get("/log/checkpoint", _LIMITS)


def count_entries(node: Node, note: bytes | None = None) -> Count:
    """Read a node's log up to a final checkpoint.

    Args:
        node: whose log.
        note: from `newest_note`; the newest by default.

    Returns:
        What it holds.

    Raises:
        VerificationError: ``demo.root`` if the entries do not make the checkpoint's root.
    """
    checkpoint = parse_checkpoint(parse_note(newest_note(node) if note is None else note).text)
    frontier, objects = Frontier.empty(), Counter[tuple[str, str]]()
    transactions = blocks = 0
    for number, leaves in enumerate(_bundles(node, checkpoint.size)):
        frontier = frontier.append([leaf_hash(leaf) for leaf in leaves])
        for place, leaf in enumerate(leaves):
            if leaf.startswith(_STATE_LEAF):
                blocks += 1
            elif number or place:
                transactions += 1
                objects.update(_names(leaf))
    if frontier.root() != checkpoint.root:
        raise VerificationError("demo.root", size=checkpoint.size)
    return Count(checkpoint, objects, transactions, blocks)


def cosigners(note: bytes, policy: bytes) -> list[str]:
    """Name the organisations whose cosignatures a final checkpoint carries, checked under a trusted policy.

    Raises:
        VerificationError: ``tlog.*`` if the checkpoint does not satisfy the policy.
    """
    names = Policy.parse(policy).check(note).cosigners
    classical = {name.removesuffix("-ed") for name in names if name.endswith("-ed")}
    return sorted(classical & {name.removesuffix("-pq") for name in names if name.endswith("-pq")})


def _bundles(node: Node, size: int) -> Iterator[list[bytes]]:
    """Fetch a log's entries, tile by tile."""
    full, rest = divmod(size, TILE_WIDTH)
    for index in range(full + bool(rest)):
        width = TILE_WIDTH if index < full else rest
        yield parse_entry_bundle(node.local.get(f"/log/{entries_path(index, width)}", _LIMITS), width)


def _names(leaf: bytes) -> Iterator[tuple[str, str]]:
    """Name the objects of a transaction."""
    transaction = parse_envelope(leaf).transaction
    if isinstance(transaction, Stop):
        yield STOP, transaction.creator
        return
    for change in transaction.changes:
        for _ in change.objects:
            yield change.kind, transaction.creator
