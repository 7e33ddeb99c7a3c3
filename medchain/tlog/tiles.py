"""C2SP tlog-tiles: paths, the tiles that an append writes, entry bundles, and proofs made from tiles.

Keeps true: a tile has exactly the width that the tree's size gives it. Trusts the tiles' content: who receives a proof
checks it (`medchain.tlog.merkle`).
Source: C2SP tlog-tiles; RFC 6962 §2.1.1, §2.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from medchain.errors import InputError, VerificationError
from medchain.tlog.merkle import HASH_BYTES, MAX_SIZE, node_hash, pair_up

TILE_HEIGHT: Final = 8
"""Levels of the tree that one tile spans."""

TILE_WIDTH: Final = 256
"""Hashes in a full tile, and entries in a full bundle."""

MAX_LEAF_BYTES: Final = 65535
"""Longest entry that a bundle can carry."""

_MAX_LEVEL: Final = 63
_LENGTH_BYTES: Final = 2
_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


class TileSource(Protocol):
    """Where tiles come from: database rows, a folder, another node."""

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return a tile of exactly ``width`` hashes.

        Tiles only grow, so a source that holds a wider one returns its first ``width`` hashes.

        Args:
            level: tile level; 0 holds leaf hashes.
            index: its number within the level.
            width: from 1 to `TILE_WIDTH`.

        Returns:
            ``32 · width`` bytes.
        """
        ...


@dataclass(frozen=True, slots=True)
class TileName:
    """Which tile or entry bundle a path names.

    Attributes:
        level: tile level, or None for an entry bundle.
        index: its number within the level.
        width: from 1 to `TILE_WIDTH`; below that it is partial.
    """

    level: int | None
    index: int
    width: int


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile, ``tile/<L>/<N>[.p/<W>]``; raises `InputError` ``tlog.tile_path``."""
    if not 0 <= level <= _MAX_LEVEL:
        raise InputError("tlog.tile_path", level=level)
    return f"tile/{level}/{_number(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of an entry bundle, ``tile/entries/<N>[.p/<W>]``; raises `InputError` ``tlog.tile_path``."""
    return f"tile/entries/{_number(index, width)}"


def parse_tile_path(path: str) -> TileName:
    """Read a path of a tile or an entry bundle; every other spelling is refused.

    Raises:
        InputError: ``tlog.tile_path``.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise InputError("tlog.tile_path")
    level = None if match["level"] == "entries" else int(match["level"])
    index = int(match["index"].replace("x", "").replace("/", ""))
    width = int(match["width"] or TILE_WIDTH)
    written = entries_path(index, width) if level is None else tile_path(level, index, width)
    if written != path:
        raise InputError("tlog.tile_path")
    return TileName(level, index, width)


def tiles_for_append(
    old_size: int, new_leaf_hashes: Sequence[bytes], source: TileSource
) -> dict[tuple[int, int], bytes]:
    """Compute the tiles that an append creates or extends.

    Args:
        old_size: number of leaves before.
        new_leaf_hashes: `medchain.tlog.merkle.leaf_hash` of each new leaf, in order.
        source: the tiles of the tree before; asked only for the partial one at the right edge of each level.

    Returns:
        (level, index) → tile, full or partial; its width is its size ÷ 32.

    Raises:
        InputError: ``tlog.tile_append`` if a hash has another size or the tree would be too large.
        VerificationError: ``tlog.tile_width`` if the source answers another width.
    """
    if not 0 <= old_size <= MAX_SIZE - len(new_leaf_hashes) or any(len(item) != HASH_BYTES for item in new_leaf_hashes):
        raise InputError("tlog.tile_append", old_size=old_size)
    written: dict[tuple[int, int], bytes] = {}
    level, size, row = 0, old_size, b"".join(new_leaf_hashes)
    while row:
        index, width = divmod(size, TILE_WIDTH)
        if width:
            row = _read(source, level, index, width) + row
        rising = []
        for start in range(0, len(row), TILE_WIDTH * HASH_BYTES):
            tile = row[start : start + TILE_WIDTH * HASH_BYTES]
            written[level, index + start // (TILE_WIDTH * HASH_BYTES)] = tile
            if len(tile) == TILE_WIDTH * HASH_BYTES:
                rising.append(_perfect_root(tile))
        row = b"".join(rising)
        size //= TILE_WIDTH
        level += 1
    return written


def inclusion_proof(index: int, size: int, source: TileSource) -> list[bytes]:
    """Make an inclusion proof (RFC 6962 §2.1.1).

    Args:
        index: index of the leaf.
        size: number of leaves of the tree.
        source: its tiles.

    Returns:
        Hashes from the leaf's sibling up.

    Raises:
        InputError: ``tlog.proof_range`` unless 0 ≤ index < size.
        VerificationError: ``tlog.tile_width`` if the source answers another width.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise InputError("tlog.proof_range", index=index, size=size)
    reader = _Reader(size, source)
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(reader.root(middle, end))
            end = middle
        else:
            proof.append(reader.root(start, middle))
            start = middle
    return proof[::-1]


def consistency_proof(old_size: int, size: int, source: TileSource) -> list[bytes]:
    """Make a consistency proof (RFC 6962 §2.1.2).

    Args:
        old_size: number of leaves of the earlier tree; the proof from the empty tree and from the same size is empty.
        size: number of leaves of the later tree.
        source: its tiles.

    Returns:
        The hashes, in the order of the RFC.

    Raises:
        InputError: ``tlog.proof_range`` unless 0 ≤ old_size ≤ size.
        VerificationError: ``tlog.tile_width`` if the source answers another width.
    """
    if not 0 <= old_size <= size <= MAX_SIZE:
        raise InputError("tlog.proof_range", old_size=old_size, size=size)
    if old_size in (0, size):
        return []
    reader = _Reader(size, source)
    proof = []
    start, end = 0, size
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append(reader.root(middle, end))
            end = middle
        else:
            proof.append(reader.root(start, middle))
            start = middle
    if start:
        # The old tree ends inside the later one's right part: the verifier cannot know this subtree's root.
        proof.append(reader.root(start, end))
    return proof[::-1]


def entry_bundle(leaves: Sequence[bytes]) -> bytes:
    """Encode an entry bundle: each entry behind its length as a big-endian uint16.

    Args:
        leaves: from 1 to `TILE_WIDTH` entries of at most `MAX_LEAF_BYTES`.

    Raises:
        InputError: ``tlog.entry_bundle`` for another number, ``tlog.leaf_too_large``.
    """
    if not 1 <= len(leaves) <= TILE_WIDTH:
        raise InputError("tlog.entry_bundle", width=len(leaves))
    parts = []
    for leaf in leaves:
        if len(leaf) > MAX_LEAF_BYTES:
            raise InputError("tlog.leaf_too_large", size=len(leaf))
        parts += [len(leaf).to_bytes(_LENGTH_BYTES, "big"), leaf]
    return b"".join(parts)


def parse_entry_bundle(data: bytes, width: int | None = None) -> list[bytes]:
    """Decode an entry bundle.

    Args:
        data: the bundle.
        width: how many entries its path promises, if the caller knows.

    Returns:
        Its entries.

    Raises:
        InputError: ``tlog.entry_bundle`` for a cut or empty bundle, or another number of entries.
    """
    leaves: list[bytes] = []
    position = 0
    while position < len(data) and len(leaves) <= TILE_WIDTH:
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(data[position:start], "big")
        leaves.append(data[start:position])
    if position != len(data) or not 1 <= len(leaves) <= TILE_WIDTH or width not in (None, len(leaves)):
        raise InputError("tlog.entry_bundle", width=len(leaves))
    return leaves


class _Reader:
    """Subtree roots of one tree, each tile fetched once."""

    __slots__ = ("_size", "_source", "_tiles")

    def __init__(self, size: int, source: TileSource) -> None:
        self._size = size
        self._source = source
        self._tiles: dict[tuple[int, int], bytes] = {}

    def root(self, start: int, end: int) -> bytes:
        """Return the root of leaves ``start`` to ``end``, where ``start`` is aligned as in any RFC 6962 subtree."""
        parts = []
        while start < end:
            height = (end - start).bit_length() - 1
            parts.append(self._perfect(height, start >> height))
            start += 1 << height
        root = parts.pop()
        while parts:
            root = node_hash(parts.pop(), root)
        return root

    def _perfect(self, height: int, index: int) -> bytes:
        """Return the root of the ``index``-th perfect subtree of 2^height leaves."""
        level, rest = divmod(height, TILE_HEIGHT)
        number, offset = divmod(index << rest, TILE_WIDTH)
        if (level, number) not in self._tiles:
            width = min(TILE_WIDTH, (self._size >> TILE_HEIGHT * level) - number * TILE_WIDTH)
            self._tiles[level, number] = _read(self._source, level, number, width)
        tile = self._tiles[level, number]
        return _perfect_root(tile[offset * HASH_BYTES : (offset + (1 << rest)) * HASH_BYTES])


def _read(source: TileSource, level: int, index: int, width: int) -> bytes:
    """Fetch a tile and check its width."""
    tile = source.tile(level, index, width)
    if len(tile) != width * HASH_BYTES:
        raise VerificationError("tlog.tile_width", level=level, index=index, width=width)
    return tile


def _perfect_root(row: bytes) -> bytes:
    """Return the root over a power of two of hashes."""
    hashes = [row[start : start + HASH_BYTES] for start in range(0, len(row), HASH_BYTES)]
    while len(hashes) > 1:
        hashes = pair_up(hashes)
    return hashes[0]


def _split(count: int) -> int:
    """Return the largest power of two below a count of at least two (RFC 6962 §2.1)."""
    return 1 << (count - 1).bit_length() - 1


def _number(index: int, width: int) -> str:
    """Write a tile's number in groups of three digits, and its width if it is partial."""
    if not 0 <= index <= MAX_SIZE // TILE_WIDTH or not 1 <= width <= TILE_WIDTH:
        raise InputError("tlog.tile_path", index=index, width=width)
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
    path = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return path if width == TILE_WIDTH else f"{path}.p/{width}"
