"""Entries on the wire: a leaf's place in a log, as a tlog-proof behind the leaf's hash.

Keeps true: an entry has one spelling and a bounded size. Structure only: what it proves, `two_blocks` says. Trusts
nothing.
Source: `docs/spec/ordering.md` 5; C2SP tlog-proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from medchain.errors import InputError
from medchain.ordering.block import MAX_CHECKPOINT_BYTES
from medchain.tlog.merkle import HASH_BYTES
from medchain.tlog.proof import format_proof, parse_proof

MAX_ENTRY_BYTES: Final = 2 * MAX_CHECKPOINT_BYTES
"""Longest answer with an entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A leaf's place in a log that somebody has signed; nothing of it is verified.

    Attributes:
        leaf: leaf hash, 32 bytes.
        position: its index.
        hashes: inclusion proof, from the leaf's sibling up, 32 bytes each.
        note: checkpoint of a block that the log ends with.
    """

    leaf: bytes
    position: int
    hashes: Sequence[bytes]
    note: str

    @property
    def proof(self) -> bytes:
        """The tlog-proof."""
        return format_proof(self.position, self.hashes, self.note.encode())


def entry_bytes(entry: Entry) -> bytes:
    """Encode an entry: its leaf hash, then its tlog-proof."""
    return entry.leaf + entry.proof


def parse_entry(data: bytes) -> Entry:
    """Decode an entry strictly.

    Args:
        data: from `entry_bytes`.

    Returns:
        The entry.

    Raises:
        InputError: ``entry.malformed``, ``tlog.*``, ``encoding.*``.
    """
    if len(data) > MAX_ENTRY_BYTES:
        raise InputError("entry.malformed", size=len(data))
    found = parse_proof(data[HASH_BYTES:])
    try:
        entry = Entry(data[:HASH_BYTES], found.index, found.hashes, found.checkpoint.decode())
    except UnicodeDecodeError as error:
        raise InputError("entry.malformed", size=len(data)) from error
    if entry_bytes(entry) != data:
        raise InputError("entry.malformed", size=len(data))
    return entry
