"""The state map: what the ledger holds under each key, changed a block at a time, with proofs of presence and absence.

It is a compressed binary Merkle trie (`medchain.tlog.mapnode`) kept in pages (`medchain.tlog.mappage`) that the caller
stores by key. Entries are replaced, never removed.

Keeps true: a value, a proof or a new root comes only from pages that lead up to the given root hash; anything else
raises ``tlog.page_corrupt``. Trusts the `MapRoot` that it is given.
Source: `docs/spec/log.md`; filippo.io/torchwood/prefix for proofs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import orjson

from medchain.encoding import Json, canonical, members, unhex
from medchain.errors import InputError, VerificationError
from medchain.tlog.mapnode import (
    EMPTY_MAP_HASH,
    EMPTY_NODE,
    ENTRY_BYTES,
    HASH_BYTES,
    KEY_BITS,
    MapNode,
    bucket_node,
    bucket_path,
    leaf_node_hash,
    node_hash,
    parent,
    position_label,
)
from medchain.tlog.mappage import (
    ABSENT,
    BLANK,
    CHILD,
    LEVELS,
    SLOTS,
    Fetch,
    PageWriter,
    check_form,
    check_page,
    corrupt_page,
    has_entry,
    heap_hash,
    page_key,
    read_page,
    slot_bucket,
    slot_kind,
    slot_of,
)

MAX_PROOF_BYTES: Final = 1 << 16
"""Largest JSON of a proof; the longest possible, of 256 nodes, is smaller."""


class PageSource(Protocol):
    """Where pages come from: database rows, or a dictionary.

    A source with a cache should give back the very objects that `update` returned: those are not hashed again.
    """

    def page(self, key: bytes) -> bytes | None:
        """Return the page under a key as `update` wrote it last, or None."""
        ...


@dataclass(frozen=True, slots=True)
class MapRoot:
    """The map at one moment.

    Attributes:
        hash: 32 bytes, the root hash; all else is found from it.
    """

    hash: bytes

    @classmethod
    def empty(cls) -> MapRoot:
        """Return the map without entries."""
        return cls(EMPTY_MAP_HASH)


@dataclass(frozen=True, slots=True)
class MapUpdate:
    """What a block does to the map.

    Attributes:
        root: the map after it.
        pages: the pages to write, by key; each replaces the page under its key, none is ever removed.
        replaced: of those that were there before, what they were; with them the map before can still be read.
    """

    root: MapRoot
    pages: dict[bytes, bytes]
    replaced: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MapProof:
    """Proof that the map holds a value under a key, or holds none.

    Attributes:
        key: 32 bytes.
        value: 32 bytes, or None if absence is proven.
        nodes: the siblings from the key's place up to the root's child; for absence, the node at which the key's way
            leaves the trie comes first, with its value. For the map without entries, the empty node alone.
    """

    key: bytes
    value: bytes | None
    nodes: tuple[MapNode, ...]

    def to_json(self) -> bytes:
        """Encode as canonical JSON (`docs/spec/log.md`)."""
        document: dict[str, Json] = {"key": self.key.hex(), "proof": [_node_to_json(node) for node in self.nodes]}
        if self.value is not None:
            document["value"] = self.value.hex()
        return canonical(document)

    @classmethod
    def from_json(cls, data: bytes) -> MapProof:
        """Decode a proof; white space and the order of members are free, all else is exact.

        Raises:
            InputError: ``tlog.map_json``, or the code of the member at fault (``encoding.members``, ``encoding.hex``).
        """
        if len(data) > MAX_PROOF_BYTES:
            raise InputError("tlog.map_json", size=len(data))
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise InputError("tlog.map_json") from error
        fields = members(document, {"key": str, "proof": list}, {"value": str})
        value = unhex(fields["value"], HASH_BYTES) if "value" in fields else None
        proof = cls(unhex(fields["key"], HASH_BYTES), value, tuple(map(_node_from_json, document["proof"])))
        # What is written twice or in another spelling is longer than its only canonical form.
        if len(data.translate(None, b" \t\r\n")) != len(orjson.dumps(document)):
            raise InputError("tlog.map_json")
        return proof


def update(
    root: MapRoot, changes: Mapping[bytes, bytes], source: PageSource, *, is_compared: bool = False
) -> MapUpdate:
    """Set the values of keys, all of a block at once.

    Args:
        root: the map before.
        changes: key → value, 32 bytes each; new keys are added, others get the new value.
        source: the pages of the map before.
        is_compared: whether the caller compares the root that comes out with one that it has from elsewhere, and uses
            nothing if it is another: then the pages are not hashed as they were, which is half of the work where they
            come from the disk. Whether pages are at fault tells `check_ways`.

    Returns:
        The map after, and the pages to write before it counts.

    Raises:
        InputError: ``tlog.map_entry`` for a key or value of another size.
        VerificationError: ``tlog.page_corrupt`` if a page is missing or not as it was written.
    """
    if any(len(key) != HASH_BYTES or len(value) != HASH_BYTES for key, value in changes.items()):
        raise InputError("tlog.map_entry")
    if not changes:
        return MapUpdate(root, {})
    writer = PageWriter(source.page, is_compared=is_compared)
    old = BLANK if root.hash == EMPTY_MAP_HASH else read_page(source.page, 1, root.hash)
    top = writer.write(1, old, sorted(changes.items()))
    return MapUpdate(MapRoot(top), writer.pages, writer.replaced)


def repair(root: MapRoot, changes: Mapping[bytes, bytes], source: PageSource) -> MapUpdate:
    """Finish a writing of pages that was broken off.

    Some of the pages are as `update` made them of the changes, some still as they were. That all pages below a page
    were written before it is what makes this possible: no entry is lost on its way to a page further down.

    Args:
        root: the map before the changes; of it only whether it is empty is used.
        changes: every key whose value was changed since then, with its newest value.
        source: the pages as they are.

    Returns:
        The map after the changes, and all pages on the ways to them. The caller MUST compare the root with what it must
        be: links between pages are not checked here.

    Raises:
        VerificationError: ``tlog.page_corrupt`` if a page is missing or of another form.
    """
    writer = PageWriter(source.page, is_mixed=True)
    is_begun = root.hash != EMPTY_MAP_HASH or source.page(page_key(1)) is not None
    old = read_page(source.page, 1, None) if is_begun else BLANK
    return MapUpdate(MapRoot(writer.write(1, old, sorted(changes.items()))), writer.pages)


def lookup(root: MapRoot, key: bytes, source: PageSource) -> bytes | None:
    """Return the value under a key, or None, checked up to the root hash.

    Args:
        root: the map.
        key: 32 bytes.
        source: its pages.

    Raises:
        InputError: ``tlog.map_entry`` for a key of another size.
        VerificationError: ``tlog.page_corrupt`` if a page is missing or not as it was written.
    """
    return _find(_walk(root, key, source.page)[1], key)


def check_ways(root: MapRoot, keys: Iterable[bytes], source: PageSource) -> None:
    """Check all that lies on the ways to some keys, up to the root hash.

    Raises:
        VerificationError: ``tlog.page_corrupt`` if a page is missing or not as it was written.
    """
    for key in keys:
        _walk(root, key, source.page)


def held(root: MapRoot, keys: Iterable[bytes], source: PageSource) -> list[bytes]:
    """Return those of many keys under which there is a value, each from the one page that can hold it.

    A fraction of the work of `lookup`, for who will go the same ways with `update`, which finds what does not fit. A
    page that was changed since it was written may give a false answer here: nothing is hashed, and no page above it is
    looked at. Pages are never removed, so a page that is there is one that the page above names.

    Args:
        root: the map; of it only whether it is empty is used.
        keys: 32 bytes each.
        source: its pages, and no others.

    Raises:
        VerificationError: ``tlog.page_corrupt`` if a page is missing or of another form.
    """
    if root.hash == EMPTY_MAP_HASH:
        return []
    found = []
    # Entries lie nearly equally deep: a search starts where the shortest one ended, and seldom misses a page there.
    start = 0
    for key in keys:
        page, depth = _deepest(key, start, source.page)
        start = min(start or depth, depth)
        if has_entry(page, key):
            found.append(key)
    return found


def prove(root: MapRoot, key: bytes, source: PageSource) -> MapProof:
    """Prove what the map holds under a key, a value or nothing.

    Args:
        root: the map.
        key: 32 bytes.
        source: its pages.

    Returns:
        A proof that `verify_map` accepts for the root hash.

    Raises:
        InputError: ``tlog.map_entry`` for a key of another size.
        VerificationError: ``tlog.page_corrupt`` if a page is missing or not as it was written.
    """
    path, bucket = _walk(root, key, source.page)
    if not path:
        return MapProof(key, None, (EMPTY_NODE,))
    nodes = bucket_path(bucket, key) if bucket else []
    for position, page in reversed(path):
        nodes += _siblings(source.page, position, page, SLOTS + slot_of(key, position))
    value = _find(bucket, key)
    plain = [MapNode(node.bits, node.label, node.hash) for node in nodes]
    # Only the first node of a proof of absence needs its value.
    return MapProof(key, value, tuple(plain if value is not None else nodes[:1] + plain[1:]))


def verify_map(root_hash: bytes, proof: MapProof, *, allow_unbound: bool = False) -> None:
    """Check a proof of presence or absence against a root hash.

    Args:
        root_hash: the root hash.
        proof: the proof.
        allow_unbound: accept absence also where the first node comes without its value, as torchwood does. Such a proof
            convinces nobody who does not trust the prover: the node's label can be changed at will, and so the absence
            of a key that is present be "proven".

    Raises:
        VerificationError: ``tlog.map_proof`` if it does not hold or is malformed; ``tlog.map_unbound`` if it is a proof
            of absence that only ``allow_unbound`` would accept.
    """
    if not _holds(root_hash, proof):
        raise VerificationError("tlog.map_proof")
    first = proof.nodes[:1]
    if proof.value is None and not allow_unbound and first[0] != EMPTY_NODE and first[0].value is None:
        raise VerificationError("tlog.map_unbound")


def _holds(root_hash: bytes, proof: MapProof) -> bool:
    """Tell whether a proof leads to a root hash."""
    key, nodes = proof.key, proof.nodes
    if len(key) != HASH_BYTES or len(nodes) > KEY_BITS + 1 or not all(map(_is_well_formed, nodes)):
        return False
    if proof.value is None and nodes == (EMPTY_NODE,):
        return root_hash == EMPTY_MAP_HASH
    node = _absence_start(key, nodes) if proof.value is None else _leaf(key, proof.value)
    for sibling in nodes if proof.value is not None else nodes[2:]:
        node = None if node is None else parent(node, sibling)
    return node is not None and node.bits == 0 and node.hash == root_hash


def _leaf(key: bytes, value: bytes) -> MapNode | None:
    """Return the leaf that a proof of presence starts from."""
    return MapNode(KEY_BITS, key, leaf_node_hash(key, value)) if len(value) == HASH_BYTES else None


def _absence_start(key: bytes, nodes: tuple[MapNode, ...]) -> MapNode | None:
    """Return the last node on an absent key's way, if the first two nodes are its children and neither is on the way.

    The first is the one on the key's side; its hash covers its label, and ``value`` shows that.
    """
    pair = nodes[:2]
    node = parent(*pair) if len(pair) == 2 else None  # noqa: PLR2004  # a pair
    if node is None or not node.is_prefix_of(key) or any(child.is_prefix_of(key) for child in pair):
        return None
    first, second = pair
    is_first_on_side = (
        _bit(second.label, node.bits) != _bit(key, node.bits)
        if first == EMPTY_NODE
        else _bit(first.label, node.bits) == _bit(key, node.bits)
    )
    return node if is_first_on_side else None


def _bit(label: bytes, index: int) -> int:
    """Return a bit of a label."""
    return label[index >> 3] >> (7 - (index & 7)) & 1


def _is_well_formed(node: MapNode) -> bool:
    """Tell whether a node can stand in a proof: the empty node, or one with a label of 1 to 256 bits."""
    if node.bits == 0:
        return node == EMPTY_NODE
    if not 0 < node.bits <= KEY_BITS or len(node.label) != HASH_BYTES or len(node.hash) != HASH_BYTES:
        return False
    if int.from_bytes(node.label, "big") & ((1 << KEY_BITS - node.bits) - 1):
        return False
    return node.value is None or (
        len(node.value) == HASH_BYTES and node_hash(node.value, node.bits, node.label) == node.hash
    )


def _walk(root: MapRoot, key: bytes, fetch: Fetch) -> tuple[list[tuple[int, bytes]], bytes]:
    """Go down to the slot of a key, checking every page on the way.

    Returns:
        The positions and pages passed, the root's first, and the entries of the slot; nothing for the empty map.
    """
    if len(key) != HASH_BYTES:
        raise InputError("tlog.map_entry")
    path: list[tuple[int, bytes]] = []
    if root.hash == EMPTY_MAP_HASH:
        return path, b""
    position, top = 1, root.hash
    while True:
        page = read_page(fetch, position, top)
        slot = slot_of(key, position)
        check_page(page, position, [slot])
        path.append((position, page))
        if slot_kind(page, slot) != CHILD:
            return path, slot_bucket(page, slot)
        position, top = position << LEVELS | slot, heap_hash(page, SLOTS + slot)


def _deepest(key: bytes, depth: int, fetch: Fetch) -> tuple[bytes, int]:
    """Return the lowest page on the way to a key, and how many bits its prefix has.

    Args:
        key: 32 bytes.
        depth: where to look first, a multiple of `LEVELS`.
        fetch: returns the page under a key.
    """
    whole = 1 << KEY_BITS | int.from_bytes(key, "big")
    while (page := fetch(page_key(whole >> KEY_BITS - depth))) is None and depth:
        depth -= LEVELS
    while page is not None:
        position = whole >> KEY_BITS - depth
        check_form(page, position)
        if slot_kind(page, slot_of(key, position)) != CHILD:
            return page, depth
        depth += LEVELS
        page = fetch(page_key(whole >> KEY_BITS - depth))
    raise corrupt_page(whole >> KEY_BITS - depth)


def _find(bucket: bytes, key: bytes) -> bytes | None:
    """Return the value of a key in a bucket."""
    for start in range(0, len(bucket), ENTRY_BYTES):
        if bucket[start : start + HASH_BYTES] == key:
            return bucket[start + HASH_BYTES : start + ENTRY_BYTES]
    return None


def _siblings(fetch: Fetch, position: int, page: bytes, place: int) -> list[MapNode]:
    """Return the nodes beside the way from a place of a page's heap up to its top."""
    nodes = []
    while place > 1:
        # Only the root has an empty node for a child that it lacks; elsewhere there is no node without two children.
        is_below_root = position == place >> 1 == 1
        if is_below_root and heap_hash(page, place) == ABSENT:
            nodes.append(EMPTY_NODE)
        if heap_hash(page, place ^ 1) != ABSENT:
            nodes.append(_topmost(fetch, position, page, place ^ 1))
        elif is_below_root:
            nodes.append(EMPTY_NODE)
        place >>= 1
    return nodes


def _topmost(fetch: Fetch, position: int, page: bytes, place: int) -> MapNode:
    """Return the topmost trie node, with its value, at a place of a page's heap whose hash has been checked."""
    top = heap_hash(page, place)
    while place < SLOTS:
        left, right = heap_hash(page, 2 * place), heap_hash(page, 2 * place + 1)
        if ABSENT not in (left, right):
            bits, label = position_label((position - 1 << place.bit_length() - 1) + place)
            value = hashlib.sha256(left + right).digest()
            if node_hash(value, bits, label) != top:
                raise corrupt_page(position)
            return MapNode(bits, label, top, value)
        place = 2 * place + (left == ABSENT)
        if heap_hash(page, place) != top:
            raise corrupt_page(position)
    slot = place - SLOTS
    if slot_kind(page, slot) != CHILD:
        return bucket_node(slot_bucket(page, slot))
    below = position << LEVELS | slot
    return _topmost(fetch, below, read_page(fetch, below, top), 1)


def _node_to_json(node: MapNode) -> Json:
    """Encode a node of a proof."""
    fields: dict[str, Json] = {"bits": node.bits, "hash": node.hash.hex(), "label": node.label.hex()}
    if node.value is not None:
        fields["value"] = node.value.hex()
    return fields


def _node_from_json(document: Json) -> MapNode:
    """Decode a node of a proof."""
    fields = members(document, {"bits": int, "label": str, "hash": str}, {"value": str})
    value = unhex(fields["value"], HASH_BYTES) if "value" in fields else None
    bits = fields["bits"]
    node = MapNode(bits, unhex(fields["label"], HASH_BYTES), unhex(fields["hash"], HASH_BYTES), value)  # type: ignore[arg-type]  # members() has checked it
    if not _is_well_formed(node):
        raise InputError("tlog.map_json")
    return node
