"""Pages of the state map: their layout, their check when read, and their rewriting by a block.

A page holds the four levels of the trie below one prefix as a heap of 32-byte hashes: place 1 is the prefix itself, 2
and 3 its halves, 16 to 31 the sixteen *slots*. At a place stands the hash of the topmost trie node below it, or zeros.
A slot is empty, a bucket of up to four entries, or a page of its own; what its hash follows from stands in its stead::

    0   tag, 16 bytes               32   heap, places 1 to 15; place 1 is the page's own hash
    16  kinds of the 16 slots       512  slot by slot: the entries (key ‖ value) of a bucket, or the hash of a page

A kind is the number of entries, or 255 for a page. A page's key is its *position* in the whole trie (the bits of the
prefix behind a leading 1) in as few bytes as hold it.

Keeps true: of a page that is read, everything on the way that is followed is hashed again and must give the hash that
stands in the page above, the root page's being the root hash; or what is written over it is compared with a root hash
from elsewhere, which no other pages give. What lies beside the way is copied, and checked when its turn comes. Trusts
the root hash.
Source: `docs/spec/log.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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

_TAG: Final = b"medchain/map/v2\n"
_KINDS: Final = len(_TAG)
_KINDS_END: Final = _KINDS + SLOTS
_PAIR_BYTES: Final = 2 * HASH_BYTES
_TAIL: Final = SLOTS * HASH_BYTES
_VALID_KINDS: Final = bytes([*range(BUCKET_ENTRIES + 1), CHILD])
# Size of what a slot holds, by its kind, in units of eight bytes; kinds that do not exist are refused beforehand.
_UNIT: Final = 8
_UNITS: Final = bytes(
    HASH_BYTES // _UNIT if kind == CHILD else ENTRY_BYTES // _UNIT * kind if kind <= BUCKET_ENTRIES else 0
    for kind in range(256)
)
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
    if page is None or (top is not None and page[HASH_BYTES:_PAIR_BYTES] != top):
        raise corrupt_page(position)
    check_form(page, position)
    return page


def check_form(page: bytes, position: int) -> None:
    """Check that what was fetched has the form of a page; raises `VerificationError` ``tlog.page_corrupt``."""
    if type(page) is WrittenPage:
        return
    kinds = page[_KINDS:_KINDS_END]
    if page[:_KINDS] != _TAG or kinds.translate(None, _VALID_KINDS):
        raise corrupt_page(position)
    if len(page) != _TAIL + _UNIT * sum(kinds.translate(_UNITS)):
        raise corrupt_page(position)


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
    _climb(expected, position, dict.fromkeys(slots))
    if expected != page:
        raise corrupt_page(position)


def slot_of(key: bytes, position: int) -> int:
    """Return the slot into which a key falls in the page at a position."""
    depth = position.bit_length() - 1
    return key[depth >> 3] & 15 if depth & 4 else key[depth >> 3] >> 4


def slot_kind(page: bytes, slot: int) -> int:
    """Return a slot's kind: its number of entries, or `CHILD`."""
    return page[_KINDS + slot]


def slot_bucket(page: bytes, slot: int) -> bytes:
    """Return the entries of a slot that is no page; `check_page` has checked them if it was told of the slot."""
    start, end = _span(page, slot)
    return page[start:end]


def has_entry(page: bytes, key: bytes) -> bool:
    """Tell whether a page has an entry under a key in one of its slots; nothing is checked."""
    if page.find(key, _TAIL) < 0:
        return False
    # It may be a value, or part of a hash.
    buckets = [_span(page, slot) for slot in range(SLOTS) if page[_KINDS + slot] != CHILD]
    return any(page[at : at + HASH_BYTES] == key for start, end in buckets for at in range(start, end, ENTRY_BYTES))


def heap_hash(page: bytes | bytearray, place: int) -> bytes:
    """Return the hash at a place of the heap, 1 to 31; `ABSENT` where no node is."""
    if place < SLOTS:
        return bytes(page[place * HASH_BYTES : (place + 1) * HASH_BYTES])
    kind = page[_KINDS + place - SLOTS]
    if not kind:
        return ABSENT
    start, end = _span(page, place - SLOTS)
    content = bytes(page[start:end])
    return content if kind == CHILD else bucket_hash(content)


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

    __slots__ = ("_fetch", "_is_compared", "_is_mixed", "pages", "replaced")

    def __init__(self, fetch: Fetch, *, is_compared: bool = False, is_mixed: bool = False) -> None:
        """Start with nothing written.

        Args:
            fetch: returns the page under a key as it was before.
            is_compared: whether the caller compares the root that comes out: then pages are not hashed as they were.
            is_mixed: whether pages may be of different moments (`medchain.tlog.statemap.repair`): then only their form
                is checked, and the caller compares the root that comes out.
        """
        self._fetch = fetch
        self._is_mixed = is_mixed
        self._is_compared = is_compared or is_mixed
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
        is_known = type(old) is WrittenPage or self._is_compared
        if len(entries) == 1 and position != 1:
            # Most pages see one entry of a block. Check and climb are then one pass.
            slot = slot_of(entries[0][0], position)
            before = None if is_known else heap_hash(old, SLOTS + slot)
            top = _climb_one(page, position, slot, before, self._write_slot(page, position, slot, entries))
        else:
            slots = _by_slot(entries, position)
            if not is_known:
                check_page(old, position, slots)
            tops = {slot: self._write_slot(page, position, slot, part) for slot, part in slots.items()}
            top = _climb(page, position, tops)
        key = page_key(position)
        self.pages[key] = WrittenPage(page)
        if old is not BLANK:
            self.replaced[key] = old
        return top

    def _write_slot(self, page: bytearray, position: int, slot: int, entries: Entries) -> bytes:
        """Set entries below one slot; returns the slot's new hash.

        Args:
            page: the page, changed in place.
            position: position of its prefix.
            slot: the slot.
            entries: what to set.
        """
        below = position << LEVELS | slot
        kind = page[_KINDS + slot]
        start, end = _span(page, slot)
        if kind == CHILD:
            old = read_page(self._fetch, below, None if self._is_mixed else page[start:end])
            page[start:end] = top = self.write(below, old, entries)
            return top
        merged = _merged(bytes(page[start:end]), entries) if kind else entries
        if len(merged) <= BUCKET_ENTRIES:
            bucket = b"".join([part for entry in merged for part in entry])
            page[start:end] = bucket
            page[_KINDS + slot] = len(merged)
            return bucket_hash(bucket)
        page[start:end] = top = self.write(below, BLANK, merged)
        page[_KINDS + slot] = CHILD
        return top


def corrupt_page(position: int) -> VerificationError:
    """Say which page is not as it was written."""
    return VerificationError("tlog.page_corrupt", key=page_key(position).hex())


def _span(page: bytes | bytearray, slot: int) -> tuple[int, int]:
    """Return where what a slot holds begins and ends."""
    start = _TAIL + _UNIT * sum(page[_KINDS : _KINDS + slot].translate(_UNITS))
    return start, start + _UNIT * _UNITS[page[_KINDS + slot]]


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
    prefix, ends = _label_parts(position)
    return (b"", *(hashlib.sha256(start + prefix + end).digest() for start, end in ends[1:]))


def _label_parts(position: int) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Return what the labels of a page's places share, and for each place what stands before and behind that."""
    depth = position.bit_length() - 1
    prefix = (position >> (depth & LEVELS)).to_bytes((depth >> 3) + 1, "big")[1:]
    return prefix, _label_ends(depth, position & 15 if depth & LEVELS else 0)


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
    prefix, ends = (b"", ()) if labels else _label_parts(position)
    place = SLOTS + slot
    sibling = heap_hash(page, place ^ 1)
    while True:
        is_right = place & 1
        place >>= 1
        if sibling != ABSENT:
            if labels:
                label = labels[place]
            else:
                start, end = ends[place]
                label = sha256(start + prefix + end).digest()
            if before == ABSENT:
                before = sibling
            elif before is not None:
                before = sha256(sha256(sibling + before if is_right else before + sibling).digest() + label).digest()
            top = sha256(sha256(sibling + top if is_right else top + sibling).digest() + label).digest()
        at = place * HASH_BYTES
        if before is not None and page[at : at + HASH_BYTES] != before:
            raise corrupt_page(position)
        page[at : at + HASH_BYTES] = top
        if place == 1:
            return top
        at = (place ^ 1) * HASH_BYTES
        sibling = bytes(page[at : at + HASH_BYTES])


def _lone(position: int, place: int, left: bytes, right: bytes) -> bytes:
    """Return what stands above a pair that has not two nodes, or above the root's; nothing for every other."""
    if position == place == 1:
        return root_hash(left, right)
    if ABSENT in (left, right):
        return left if right == ABSENT else right
    return b""


def _climb(page: bytearray, position: int, tops: Mapping[int, bytes | None]) -> bytes:
    """Compute anew what lies above some slots; returns the page's topmost hash.

    Args:
        page: the page, changed in place.
        position: position of its prefix.
        tops: slot → its hash; None where it is not known yet.
    """
    sha256 = hashlib.sha256
    labels = _cached_labels(position) if position < _CACHED_PAGES else None
    prefix, ends = (b"", ()) if labels else _label_parts(position)
    known = {SLOTS + slot: top for slot, top in tops.items()}
    # Where no slot is empty no node is absent.
    is_full = 0 not in page[_KINDS:_KINDS_END] and position != 1
    for _ in range(LEVELS):
        above: dict[int, bytes | None] = {}
        for place in {below >> 1 for below in known}:
            left = known.get(2 * place) or heap_hash(page, 2 * place)
            right = known.get(2 * place + 1) or heap_hash(page, 2 * place + 1)
            top = b"" if is_full else _lone(position, place, left, right)
            if not top:
                label = labels[place] if labels else sha256(ends[place][0] + prefix + ends[place][1]).digest()
                top = sha256(sha256(left + right).digest() + label).digest()
            above[place] = top
            page[place * HASH_BYTES : (place + 1) * HASH_BYTES] = top
        known = above
    return bytes(page[HASH_BYTES:_PAIR_BYTES])
