"""Nodes of the state map, a compressed binary Merkle trie: labels, hashes, and small subtrees given by their entries.

A label is a bit string of 0 to 256 bits. A node's hash is SHA-256(value ‖ SHA-256(bit length as uint32 ‖ label)), where
the value is the entry's value for a leaf and SHA-256(left hash ‖ right hash) for an inner node. The root always has the
label of no bits; where it lacks a child, the empty node stands in. These are the hashes of torchwood's ``prefix`` with
SHA-256; they carry no domain tag of ours, but every node hash covers its label hash.

Keeps true: a set of entries has one root hash. Trusts that entries given as a bucket are sorted by key, each key once.
Source: `docs/spec/log.md`; filippo.io/torchwood/prefix.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
"""Size of keys, values and hashes."""

KEY_BITS: Final = 256
"""Bits of a leaf's label, which is its key."""

ENTRY_BYTES: Final = 64
"""Size of an entry in a bucket: key ‖ value."""

_KEY_MASK: Final = (1 << KEY_BITS) - 1
_LEAF_LENGTH: Final = KEY_BITS.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class MapNode:
    """A node as it stands in a proof.

    Attributes:
        bits: length of its label, 0 to 256.
        label: 32 bytes, the bits beyond ``bits`` zero; 32 × 0x01 for the empty node.
        hash: its node hash.
        value: what was hashed with the label into ``hash``, where that matters: a node hash alone does not show which
            label is in it, so a proof of absence gives the value of the node at which the key's way leaves the trie.
    """

    bits: int
    label: bytes
    hash: bytes
    value: bytes | None = None

    def is_prefix_of(self, key: bytes) -> bool:
        """Tell whether the label starts a key; the empty node's starts none."""
        if self == EMPTY_NODE:
            return False
        return (int.from_bytes(self.label, "big") ^ int.from_bytes(key, "big")) >> (KEY_BITS - self.bits) == 0


def node_hash(value: bytes, bits: int, label: bytes) -> bytes:
    """Hash a node from its value, the length of its label in bits and its label in 32 bytes."""
    sha256 = hashlib.sha256
    return sha256(value + sha256(bits.to_bytes(4, "big") + label).digest()).digest()


def leaf_node_hash(key: bytes, value: bytes) -> bytes:
    """Hash a leaf."""
    sha256 = hashlib.sha256
    return sha256(value + sha256(_LEAF_LENGTH + key).digest()).digest()


_NO_VALUE: Final = hashlib.sha256(b"\x00").digest()
_EMPTY_LABEL: Final = b"\x01" * HASH_BYTES

EMPTY_NODE: Final = MapNode(0, _EMPTY_LABEL, node_hash(node_hash(_NO_VALUE, 0, _EMPTY_LABEL), 0, _EMPTY_LABEL))
"""Stands for the child that the root lacks. Its hash is nested twice, as akd does it."""

EMPTY_MAP_HASH: Final = node_hash(_NO_VALUE, 0, bytes(HASH_BYTES))
"""Root hash of the map without entries."""


def position_label(position: int) -> tuple[int, bytes]:
    """Return label length and label of a position.

    Args:
        position: the label's bits behind a leading 1, as an integer: 1 is the root, 2 and 3 its sides, and so on.

    Returns:
        Number of bits and 32 bytes.
    """
    bits = position.bit_length() - 1
    return bits, (position << (KEY_BITS - bits) & _KEY_MASK).to_bytes(HASH_BYTES, "big")


def root_hash(left: bytes, right: bytes) -> bytes:
    """Hash the root from its children's hashes; an empty one is given as 32 zero bytes."""
    absent = bytes(HASH_BYTES)
    left = EMPTY_NODE.hash if left == absent else left
    right = EMPTY_NODE.hash if right == absent else right
    return node_hash(hashlib.sha256(left + right).digest(), 0, absent)


def parent(one: MapNode, other: MapNode) -> MapNode | None:
    """Join two nodes under the longest prefix that their labels share.

    Args:
        one: a node, in either order.
        other: its sibling.

    Returns:
        Their parent; None if no trie holds them as siblings (one label is a prefix of the other, or both are empty).
    """
    if one == EMPTY_NODE:
        one, other = other, one
    if other == EMPTY_NODE:
        shared = 0
    else:
        differing = int.from_bytes(one.label, "big") ^ int.from_bytes(other.label, "big")
        shared = min(KEY_BITS - differing.bit_length(), one.bits, other.bits)
        if shared == other.bits:
            return None
    if shared >= one.bits:
        return None
    bits = int.from_bytes(one.label, "big")
    label = (bits >> (KEY_BITS - shared) << (KEY_BITS - shared)).to_bytes(HASH_BYTES, "big")
    left, right = (other, one) if bits >> (KEY_BITS - 1 - shared) & 1 else (one, other)
    return MapNode(shared, label, node_hash(hashlib.sha256(left.hash + right.hash).digest(), shared, label))


def bucket_hash(bucket: bytes) -> bytes:
    """Return the hash of the topmost node over a bucket.

    Args:
        bucket: at least one entry of `ENTRY_BYTES`, sorted.
    """
    sha256 = hashlib.sha256
    if len(bucket) == ENTRY_BYTES:
        return sha256(bucket[HASH_BYTES:] + sha256(_LEAF_LENGTH + bucket[:HASH_BYTES]).digest()).digest()
    bits, label, middle = _split(bucket)
    value = sha256(bucket_hash(bucket[:middle]) + bucket_hash(bucket[middle:])).digest()
    return sha256(value + sha256(bits.to_bytes(4, "big") + label).digest()).digest()


def bucket_node(bucket: bytes) -> MapNode:
    """Return the topmost node, with its value, over a bucket of at least one entry."""
    if len(bucket) == ENTRY_BYTES:
        bits, label, value = KEY_BITS, bucket[:HASH_BYTES], bucket[HASH_BYTES:]
    else:
        bits, label, middle = _split(bucket)
        value = hashlib.sha256(bucket_hash(bucket[:middle]) + bucket_hash(bucket[middle:])).digest()
    return MapNode(bits, label, node_hash(value, bits, label), value)


def bucket_path(bucket: bytes, key: bytes) -> list[MapNode]:
    """Prove a key's presence or absence within a bucket of at least one entry.

    Returns:
        The siblings on the way to the key, the deepest first; if the key is absent, before them the node at which its
        way leaves the trie.
    """
    above: list[MapNode] = []
    while bucket[:HASH_BYTES] != key or len(bucket) > ENTRY_BYTES:
        top = bucket_node(bucket)
        if not top.is_prefix_of(key):
            above.append(top)
            break
        _, _, middle = _split(bucket)
        sides = bucket[:middle], bucket[middle:]
        side = int.from_bytes(key, "big") >> (KEY_BITS - 1 - top.bits) & 1
        above.append(bucket_node(sides[1 - side]))
        bucket = sides[side]
    return above[::-1]


def _split(bucket: bytes) -> tuple[int, bytes, int]:
    """Find the label over two or more entries, and where its right side starts in the bucket."""
    first = int.from_bytes(bucket[:HASH_BYTES], "big")
    last = int.from_bytes(bucket[-ENTRY_BYTES:-HASH_BYTES], "big")
    unshared = (first ^ last).bit_length()
    label = (last >> unshared << unshared).to_bytes(HASH_BYTES, "big")
    middle = ENTRY_BYTES
    if len(bucket) > 2 * ENTRY_BYTES:
        # The right side's keys are those from label ‖ 1 ‖ 0…0 on.
        right = (last >> (unshared - 1) << (unshared - 1)).to_bytes(HASH_BYTES, "big")
        while bucket[middle : middle + HASH_BYTES] < right:
            middle += ENTRY_BYTES
    return KEY_BITS - unshared, label, middle
