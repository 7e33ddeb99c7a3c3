"""The RFC 6962 Merkle tree: hashes, the compact range that grows it, and the checks of both kinds of proof.

Keeps true: a proof is accepted only if it has exactly the hashes that the sizes ask for. Trusts nothing.
Source: RFC 6962 §2.1; the checks are those of RFC 9162 §2.1.3.2 and §2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medchain.errors import InputError, VerificationError

HASH_BYTES: Final = 32
"""Size of every hash in the tree."""

MAX_SIZE: Final = 2**63 - 1
"""Largest size of a tree (C2SP tlog-tiles; other implementations count in signed 64-bit integers)."""

MAX_PROOF_HASHES: Final = 63
"""Longest proof of either kind that a tree up to `MAX_SIZE` can need, and that tlog-witness allows."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the tree without leaves (RFC 6962 §2.1)."""

_SIZE_BYTES: Final = 8


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf: SHA-256(0x00 ‖ data) (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees: SHA-256(0x01 ‖ left ‖ right) (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def pair_up(hashes: Sequence[bytes]) -> list[bytes]:
    """Hash neighbours two by two, one level up; an odd last hash is left out.

    Args:
        hashes: the hashes of one level, from an even index on.

    Returns:
        ⌊n / 2⌋ hashes.
    """
    sha256 = hashlib.sha256
    lefts = iter(hashes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(lefts, lefts, strict=False)]


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree (compact range): all that is needed to append to it and to know its root.

    Attributes:
        size: number of leaves.
        hashes: roots of the perfect subtrees that make up the tree, the largest (leftmost) first; one for each bit that
            is set in ``size``.
    """

    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Refuse a shape that no tree has; raises `InputError` ``tlog.frontier``."""
        if not 0 <= self.size <= MAX_SIZE or len(self.hashes) != self.size.bit_count():
            raise InputError("tlog.frontier", size=self.size)
        if any(len(item) != HASH_BYTES for item in self.hashes):
            raise InputError("tlog.frontier", size=self.size)

    @classmethod
    def empty(cls) -> Frontier:
        """Return the frontier of the tree without leaves."""
        return cls(0, ())

    def append(self, leaf_hashes: Sequence[bytes]) -> Frontier:
        """Append leaves.

        Args:
            leaf_hashes: their `leaf_hash`, in order; may be none.

        Returns:
            The frontier of the larger tree.

        Raises:
            InputError: ``tlog.frontier`` if a hash has another size or the tree would be too large.
        """
        if any(len(item) != HASH_BYTES for item in leaf_hashes):
            raise InputError("tlog.frontier", size=self.size)
        size = self.size + len(leaf_hashes)
        left = list(self.hashes)
        kept: list[bytes] = []
        rising: list[bytes] = list(leaf_hashes)
        level = 0
        while rising:
            # A perfect subtree that ends the old tree at this level is the left neighbour of the first rising hash.
            if self.size >> level & 1:
                rising.insert(0, left.pop())
            if len(rising) & 1:
                kept.append(rising[-1])
            rising = pair_up(rising)
            level += 1
        return Frontier(size, (*left, *reversed(kept)))

    def root(self) -> bytes:
        """Return the root hash of the tree (RFC 6962 §2.1)."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        """Encode as the size in 8 bytes, big-endian, and the hashes."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """Decode what `to_bytes` wrote; raises `InputError` ``tlog.frontier`` for anything else."""
        body = data[_SIZE_BYTES:]
        if len(data) < _SIZE_BYTES or len(body) % HASH_BYTES:
            raise InputError("tlog.frontier", size=len(data))
        hashes = tuple(body[start : start + HASH_BYTES] for start in range(0, len(body), HASH_BYTES))
        return cls(int.from_bytes(data[:_SIZE_BYTES], "big"), hashes)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a tree holds a leaf (RFC 9162 §2.1.3.2).

    Args:
        leaf: the `leaf_hash` of the entry.
        index: its index, from 0.
        size: number of leaves of the tree.
        proof: hashes from the leaf's sibling up.
        root: root of the tree.

    Raises:
        VerificationError: ``tlog.inclusion`` if the proof does not hold or is malformed.
    """
    if not 0 <= index < size <= MAX_SIZE or not _are_hashes(leaf, root, *proof):
        raise VerificationError("tlog.inclusion", index=index, size=size)
    position, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError("tlog.inclusion", index=index, size=size)
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            position, last = _skip_missing(position, last)
        else:
            computed = node_hash(computed, sibling)
        position >>= 1
        last >>= 1
    if last != 0 or computed != root:
        raise VerificationError("tlog.inclusion", index=index, size=size)


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that a tree only grew (RFC 9162 §2.1.4.2).

    Args:
        old_size: number of leaves of the earlier tree; for 0 the proof is empty and the root `EMPTY_ROOT`.
        old_root: root of the earlier tree.
        size: number of leaves of the later tree; if it is the same, the proof is empty and the roots are equal.
        root: root of the later tree.
        proof: the hashes, in the order of RFC 6962 §2.1.2.

    Raises:
        VerificationError: ``tlog.consistency`` if the proof does not hold or is malformed.
    """
    error = VerificationError("tlog.consistency", old_size=old_size, size=size)
    if not 0 <= old_size <= size <= MAX_SIZE or not _are_hashes(old_root, root, *proof):
        raise error
    if (old_size == 0 and old_root != EMPTY_ROOT) or (old_size == size and old_root != root):
        raise error
    if old_size in (0, size):
        if proof:
            raise error
        return
    if _roots_of_consistency(old_size, size, old_root, proof) != (old_root, root):
        raise error


def _roots_of_consistency(
    old_size: int, size: int, old_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes] | None:
    """Compute both roots from a consistency proof for 0 < old_size < size; None if it has the wrong length."""
    # When the earlier tree is perfect, its root is the first hash, and the prover leaves it out.
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        return None
    position, last = old_size - 1, size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            position, last = _skip_missing(position, last)
        else:
            new = node_hash(new, sibling)
        position >>= 1
        last >>= 1
    return (old, new) if last == 0 else None


def _skip_missing(position: int, last: int) -> tuple[int, int]:
    """Climb the levels at which a node at the right edge has no sibling and is carried up unchanged."""
    while not position & 1 and position != 0:
        position >>= 1
        last >>= 1
    return position, last


def _are_hashes(*items: bytes) -> bool:
    """Tell whether every item has the size of a hash and their number is possible."""
    return len(items) <= MAX_PROOF_HASHES + 2 and all(len(item) == HASH_BYTES for item in items)
