"""Segments: many small records under one seal, one commitment and one anchor.

Keeps true: the commitment of a segment covers its whole content and a root over its parts, so that each part can be
shown and proven without the others; a part that was left out, changed or put in fits no commitment. Trusts whoever
seals the content to commit to the root.
Source: `docs/spec/segment.md`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medchain.crypto.commitment import root_of_fields
from medchain.crypto.fields import FieldProof, prove_field, record_field_leaves, record_field_salt
from medchain.errors import InputError, VerificationError

MEDIA_TYPE: Final = "application/vnd.medchain.segment"
"""Content type of a segment."""

MAX_PARTS: Final = 1000
"""Most parts of a segment."""

MAX_PACKED_BYTES: Final = 64 << 20
"""Largest content, unpacked: it is opened into memory."""

_LEVEL: Final = 1
_BREAK: Final = b"\n"


@dataclass(frozen=True, slots=True)
class PartProof:
    """That a part is under the root of its segment.

    Attributes:
        name: of the part among the others.
        salt: of the part, 32 bytes, derived from that of the segment.
        path: from its leaf to the root.
    """

    name: str
    salt: bytes
    path: FieldProof


def pack(parts: Sequence[bytes]) -> bytes:
    """Write the content of a segment.

    Args:
        parts: 1 to `MAX_PARTS`, each JSON without a line break, 64 MiB together.

    Returns:
        The lines, compressed: lengths of records do not show in it.

    Raises:
        InputError: ``segment.parts`` for anything else.
    """
    lines = _BREAK.join(parts)
    is_small = 0 < len(parts) <= MAX_PARTS and len(lines) <= MAX_PACKED_BYTES
    if not is_small or lines.count(_BREAK) != len(parts) - 1:
        raise InputError("segment.parts", count=len(parts))
    return zlib.compress(lines, _LEVEL)


def unpack(content: bytes) -> tuple[bytes, ...]:
    """Read the content of a segment; raises `VerificationError` ``segment.content``."""
    unpacking = zlib.decompressobj()
    try:
        lines = unpacking.decompress(content, MAX_PACKED_BYTES)
    except zlib.error as error:
        raise VerificationError("segment.content") from error
    if not unpacking.eof or unpacking.unused_data:
        raise VerificationError("segment.content")
    return tuple(lines.split(_BREAK))


def parts_root(salt: bytes, parts: Sequence[bytes]) -> bytes:
    """Compute the root over the parts of a segment.

    Args:
        salt: of the segment, 32 secret bytes.
        parts: as for `pack`.

    Returns:
        32 bytes, the field root of the segment's commitment.
    """
    return root_of_fields(salt, _named(parts))


def prove_part(salt: bytes, parts: Sequence[bytes], place: int) -> PartProof:
    """Prove one part of a segment.

    Args:
        salt: of the segment, 32 secret bytes.
        parts: all of them.
        place: of the part, from 0.

    Returns:
        What shows that it is one of them, and nothing of the others.
    """
    leaves = record_field_leaves(salt, _named(parts))
    return PartProof(_name(place), record_field_salt(salt, place), prove_field(leaves, leaves[place]))


def _named(parts: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Take a segment apart: its parts are named by their places."""
    return [(_name(place).encode(), part) for place, part in enumerate(parts)]


def _name(place: int) -> str:
    """Name a part, as a JSON pointer into a list would."""
    return f"/{place}"
