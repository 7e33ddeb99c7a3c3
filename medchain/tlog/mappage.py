"""Pages of the state map: their layout, their check when read, and their rewriting by a block.

A page holds the four levels of the trie below one prefix as a heap of 32-byte hashes: place 1 is the prefix itself, 2
and 3 its halves, 16 to 31 the sixteen *slots*. At a place stands the hash of the topmost trie node below it, or zeros.
A slot is empty, a bucket of up to four entries, or a page of its own::

    0   tag, 16 bytes               32    heap, places 1 to 31; place 1 is the page's own hash
    16  kinds of the 16 slots       1024  tail: the entries (key ‖ value) of each bucket, in order

A kind is the number of entries, or 255 for a page. A page's key is its *position* in the whole trie (the bits of the
prefix behind a leading 1) in as few bytes as hold it.

Keeps true: of a page that is read, everything on the way that is followed is hashed again and must give the hash that
stands in the page above, the root page's being the root hash. What lies beside the way is copied, and checked when its
turn comes. Trusts the root hash.
Source: `docs/spec/log.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final

from medchain.errors import VerificationError
from medchain.tlog.mapnode import ENTRY_BYTES, HASH_BYTES, KEY_BITS, bucket_hash, root_hash

SLOTS: Final = 16
"""Slots of a page."""

LEVELS: Final = 4
"""Levels of the trie in a page."""

BUCKET_ENTRIES: Final = 4
"""Most entries that a slot holds before it becomes a page."""

CHILD: Final = 255
"""Kind of a slot that is a page."""

ABSENT: Final = bytes(HASH_BYTES)
"""Stands in the heap where no node is."""

Fetch = Callable[[bytes], bytes | None]
"""Returns the page under a key, or None."""

Entries = Sequence[tuple[bytes, bytes]]
"""Keys and values, sorted by key, each key once."""

_TAG: Final = b"medchain/map/v1\n"
_KINDS: Final = len(_TAG)
_KINDS_END: Final = _KINDS + SLOTS
_PAIR_BYTES: Final = 2 * HASH_BYTES
_TAIL: Final = SLOTS * _PAIR_BYTES
_VALID_KINDS: Final = bytes([*range(BUCKET_ENTRIES + 1), CHILD])
# Number of entries by kind; kinds that do not exist are refused beforehand.
_ENTRY_COUNTS: Final = bytes(0 if kind == CHILD else kind for kind in range(256))
# Pages whose labels are kept once hashed: those of up to 12 bits, which nearly every block passes.
_CACHED_PAGES: Final = 1 << 13
_KEY_MASK: Final = (1 << KEY_BITS) - 1


def page_key(position: int) -> bytes:
    """Return the key of the page at a position."""
    return position.to_bytes((position.bit_length() + 7) >> 3, "big")


def read_page(fetch: Fetch, position: int, top: bytes | bytearray | None) -> bytes:
    """Fetch a page and check its form and its own hash; `check_page` does the rest for the slots that are followed.

    Args:
        fetch: returns the page under a key, or None.
        position: position of its prefix.
        top: hash of its topmost node, as the page above or the root has it; None to check the form alone.

    Returns:
        The page.

    Raises:
        VerificationError: ``tlog.page_corrupt``.
    """
    page = fetch(page_key(position))
    if type(page) is WrittenPage and page[HASH_BYTES:_PAIR_BYTES] == top:
        return page
    if page is None or page[:_KINDS] != _TAG or (top is not None and page[HASH_BYTES:_PAIR_BYTES] != top):
        raise corrupt_page(position)
    kinds = page[_KINDS:_KINDS_END]
    if kinds.translate(None, _VALID_KINDS) or len(page) != _TAIL + ENTRY_BYTES * sum(kinds.translate(_ENTRY_COUNTS)):
        raise corrupt_page(position)
    return page


def check_page(page: bytes, position: int, slots: Iterable[int]) -> None:
    """Check that the heap above some slots of a page gives its own hash.

    Args:
        page: a page that `read_page` returned.
        position: position of its prefix.
        slots: the slots that will be used. What they hold is checked where it is read.

    Raises:
        VerificationError: ``tlog.page_corrupt``.
    """
    expected = bytearray(page)
    _climb(expected, position, slots)
    if expected != page:
        raise corrupt_page(position)


def slot_of(key: bytes, position: int) -> int:
    """Return the slot into which a key falls in the page at a position."""
    depth = position.bit_length() - 1
    return key[depth >> 3] & 15 if depth & 4 else key[depth >> 3] >> 4


def slot_kind(page: bytes, slot: int) -> int:
    """Return a slot's kind: its number of entries, or `CHILD`."""
    return page[_KINDS + slot]


def slot_bucket(page: bytes, position: int, slot: int) -> bytes:
    """Return the entries of a slot that is no page, checked against its hash; raises as `check_page`."""
    start, end = _span(page, slot)
    bucket = page[start:end]
    if (bucket_hash(bucket) if bucket else ABSENT) != heap_hash(page, SLOTS + slot):
        raise corrupt_page(position)
    return bucket


def has_entry(page: bytes, key: bytes) -> bool:
    """Tell whether a page has an entry under a key in one of its slots; nothing is checked."""
    at = page.find(key, _TAIL)
    while at >= 0 and (at - _TAIL) % ENTRY_BYTES:
        at = page.find(key, at + 1)
    return at >= 0


def heap_hash(page: bytes, place: int) -> bytes:
    """Return the hash at a place of the heap, 1 to 31; `ABSENT` where no node is."""
    return page[place * HASH_BYTES : (place + 1) * HASH_BYTES]


class WrittenPage(bytes):
    """A page as this process has written it and still holds it: it was sound then and cannot have changed since.

    `PageWriter` does not hash such a page again, only compares its own hash, so a cache in front of the database saves
    about a quarter of the time. A page that comes from the disk is plain bytes and is checked.
    """

    __slots__ = ()


BLANK: Final = WrittenPage(_TAG + bytes(_TAIL - len(_TAG)))
"""A page without entries, from which new ones start."""


class PageWriter:
    """Rewrites the pages that a block touches, each once, so that what its keys share is hashed once.

    Attributes:
        pages: the pages written, by key.
        replaced: of those that were there before, what they were.
    """

    __slots__ = ("_fetch", "_is_mixed", "pages", "replaced")

    def __init__(self, fetch: Fetch, *, is_mixed: bool = False) -> None:
        """Start with nothing written.

        Args:
            fetch: returns the page under a key as it was before.
            is_mixed: whether pages may be of different moments (`medchain.tlog.statemap.repair`): then only their form
                is checked, and the caller compares the root that comes out.
        """
        self._fetch = fetch
        self._is_mixed = is_mixed
        self.pages: dict[bytes, bytes] = {}
        self.replaced: dict[bytes, bytes] = {}

    def write(self, position: int, old: bytes, entries: Entries) -> bytes:
        """Write a page and those below it.

        Args:
            position: position of the page's prefix.
            old: the page before, as `read_page` returned it, or `BLANK`.
            entries: what is set below the prefix, at least one.

        Returns:
            The hash of its topmost node.

        Raises:
            VerificationError: ``tlog.page_corrupt`` if a page is not as it was written.
        """
        page = bytearray(old)
        is_known = type(old) is WrittenPage or self._is_mixed
        if len(entries) == 1 and position != 1:
            # Most pages see one entry of a block. Check and climb are then one pass.
            slot = slot_of(entries[0][0], position)
            before = heap_hash(old, SLOTS + slot)
            top = self._write_slot(page, position, slot, None if is_known else before, entries)
            top = _climb_one(page, position, slot, None if is_known else before, top)
        else:
            slots = _by_slot(entries, position)
            if not is_known:
                check_page(old, position, slots)
            for slot, part in slots.items():
                before = heap_hash(old, SLOTS + slot)
                self._write_slot(page, position, slot, None if is_known else before, part)
            top = _climb(page, position, slots)
        key = page_key(position)
        self.pages[key] = WrittenPage(page)
        if old is not BLANK:
            self.replaced[key] = old
        return top

    def _write_slot(self, page: bytearray, position: int, slot: int, before: bytes | None, entries: Entries) -> bytes:
        """Set entries below one slot and put its new hash, which is returned, into the heap.

        Args:
            page: the page, changed in place.
            position: position of its prefix.
            slot: the slot.
            before: the hash that its entries must have, or None if they need no check.
            entries: what to set.
        """
        below = position << LEVELS | slot
        place = (SLOTS + slot) * HASH_BYTES
        if page[_KINDS + slot] == CHILD:
            old = read_page(self._fetch, below, None if self._is_mixed else page[place : place + HASH_BYTES])
            top = self.write(below, old, entries)
        else:
            start, end = _span(page, slot)
            bucket = bytes(page[start:end])
            if before is not None and (bucket_hash(bucket) if bucket else ABSENT) != before:
                raise corrupt_page(position)
            merged = _merged(bucket, entries) if bucket else entries
            if len(merged) <= BUCKET_ENTRIES:
                page[start:end] = bucket = b"".join([part for entry in merged for part in entry])
                page[_KINDS + slot] = len(merged)
                top = bucket_hash(bucket)
            else:
                del page[start:end]
                page[_KINDS + slot] = CHILD
                top = self.write(below, BLANK, merged)
        page[place : place + HASH_BYTES] = top
        return top


def corrupt_page(position: int) -> VerificationError:
    """Say which page is not as it was written."""
    return VerificationError("tlog.page_corrupt", key=page_key(position).hex())


def _span(page: bytes | bytearray, slot: int) -> tuple[int, int]:
    """Return where the entries of a slot that is no page begin and end."""
    start = _TAIL + ENTRY_BYTES * sum(page[_KINDS : _KINDS + slot].translate(_ENTRY_COUNTS))
    return start, start + ENTRY_BYTES * page[_KINDS + slot]


def _by_slot(entries: Entries, position: int) -> dict[int, list[tuple[bytes, bytes]]]:
    """Sort entries by the slot of the page at a position into which `slot_of` puts each."""
    slots: dict[int, list[tuple[bytes, bytes]]] = {}
    at, shift = divmod(position.bit_length() - 1, 8)
    shift = LEVELS - shift
    for entry in entries:
        slots.setdefault(entry[0][at] >> shift & SLOTS - 1, []).append(entry)
    return slots


def _merged(bucket: bytes, entries: Entries) -> Entries:
    """Set entries in a bucket; returns all of them, sorted by key."""
    merged = {
        bucket[start : start + HASH_BYTES]: bucket[start + HASH_BYTES : start + ENTRY_BYTES]
        for start in range(0, len(bucket), ENTRY_BYTES)
    }
    merged.update(entries)
    return sorted(merged.items())


@cache
def _cached_labels(position: int) -> tuple[bytes, ...]:
    """Hash the labels of the places 1 to 15 of a page near the root; index 0 is unused."""
    return (b"", *(_label_hash(position, place) for place in range(1, SLOTS)))


@cache
def _label_ends(depth: int, nibble: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return what stands before and behind the whole bytes of a prefix in the labels of the places 1 to 15 of a page.

    Args:
        depth: bits of the page's prefix.
        nibble: the prefix's last four bits if they fill half a byte, else 0.
    """
    ends = [(b"", b"")]
    for place in range(1, SLOTS):
        level = place.bit_length() - 1
        below = (place << LEVELS - level) - SLOTS
        last = nibble << LEVELS | below if depth & LEVELS else below << LEVELS
        ends.append(((depth + level).to_bytes(4, "big"), bytes([last]).ljust(HASH_BYTES - (depth >> 3), b"\0")))
    return tuple(ends)


def _label_hash(position: int, place: int) -> bytes:
    """Hash the label of a place in a page's heap: the prefix, then the bits of the place behind its leading 1."""
    depth = position.bit_length() - 1
    whole = depth >> 3
    nibble = position & 15 if depth & LEVELS else 0
    prefix = (position >> (depth & LEVELS)).to_bytes(whole + 1, "big")[1:]
    start, end = _label_ends(depth, nibble)[place]
    return hashlib.sha256(start + prefix + end).digest()


def _climb_one(page: bytearray, position: int, slot: int, before: bytes | None, top: bytes) -> bytes:
    """Compute anew what lies above one slot, and check what lay there before; returns the page's topmost hash.

    Args:
        page: the page, changed in place; not the root's, which always has a node at place 1.
        position: position of its prefix.
        slot: the slot that changed.
        before: its hash before, or None if the page needs no check.
        top: its hash now.
    """
    sha256 = hashlib.sha256
    labels = _cached_labels(position) if position < _CACHED_PAGES else None
    place = SLOTS + slot
    while place > 1:
        is_right = place & 1
        place >>= 1
        start = place * _PAIR_BYTES
        sibling = page[start : start + HASH_BYTES] if is_right else page[start + HASH_BYTES : start + _PAIR_BYTES]
        if sibling != ABSENT:
            label = labels[place] if labels else _label_hash(position, place)
            if before == ABSENT:
                before = bytes(sibling)
            elif before is not None:
                before = sha256(sha256(sibling + before if is_right else before + sibling).digest() + label).digest()
            top = sha256(sha256(sibling + top if is_right else top + sibling).digest() + label).digest()
        start >>= 1
        if before is not None and page[start : start + HASH_BYTES] != before:
            raise corrupt_page(position)
        page[start : start + HASH_BYTES] = top
    return top


def _lone(position: int, place: int, pair: bytes) -> bytes:
    """Return what stands above a pair that has not two nodes, or above the root's; nothing for every other."""
    left, right = pair[:HASH_BYTES], pair[HASH_BYTES:]
    if position == place == 1:
        return root_hash(left, right)
    if ABSENT in (left, right):
        return left if right == ABSENT else right
    return b""


def _climb(page: bytearray, position: int, slots: Iterable[int]) -> bytes:
    """Compute anew what lies above some slots; returns the page's topmost hash."""
    sha256 = hashlib.sha256
    labels = _cached_labels(position) if position < _CACHED_PAGES else None
    places = {SLOTS + slot for slot in slots}
    # Where no slot is empty no node is absent.
    is_full = 0 not in page[_KINDS:_KINDS_END] and position != 1
    for _ in range(LEVELS):
        places = {place >> 1 for place in places}
        for place in places:
            start = place * _PAIR_BYTES
            pair = page[start : start + _PAIR_BYTES]
            top = b"" if is_full else _lone(position, place, bytes(pair))
            if not top:
                label = labels[place] if labels else _label_hash(position, place)
                top = sha256(sha256(pair).digest() + label).digest()
            page[place * HASH_BYTES : (place + 1) * HASH_BYTES] = top
    return bytes(page[HASH_BYTES:_PAIR_BYTES])
