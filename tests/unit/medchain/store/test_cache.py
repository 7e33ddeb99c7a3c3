"""The bounded caches."""

from __future__ import annotations

import pytest

from medchain.store.cache import ROW_COST, BoundedCache, PageCache


def test_the_least_recently_used_entry_goes_first():
    cache: BoundedCache[str, int] = BoundedCache(10)
    for name in "abc":
        cache.put(name, 1, 4)
    assert cache.get("a") is None
    assert cache.get("b") == 1
    cache.put("d", 1, 4)
    assert (cache.get("c"), cache.get("b"), cache.size_bytes) == (None, 1, 8)


def test_replacing_counts_the_new_size():
    cache: BoundedCache[str, int] = BoundedCache(10)
    cache.put("a", 1, 4)
    cache.put("a", 2, 9)
    assert (cache.get("a"), cache.size_bytes) == (2, 9)
    cache.put("a", 3, 11)
    assert (cache.get("a"), cache.size_bytes) == (None, 0)


def test_clearing_forgets_everything():
    cache: BoundedCache[str, int] = BoundedCache(10)
    cache.put("a", 1, 4)
    cache.clear()
    assert (cache.get("a"), cache.size_bytes) == (None, 0)


@pytest.fixture
def pages():
    """Give room for two pages of ten bytes."""
    return PageCache(2 * (10 + ROW_COST))


def test_the_page_that_was_put_in_first_goes_first_whatever_was_read(pages):
    pages.put(b"a", bytes(10))
    pages.put(b"b", bytes(10))
    assert pages.is_full
    assert pages.get(b"a") == bytes(10)
    pages.put(b"c", bytes(10))
    assert (pages.get(b"a"), pages.get(b"b"), pages.get(b"c")) == (None, bytes(10), bytes(10))
    assert pages.size_bytes == 2 * (10 + ROW_COST)


def test_a_page_put_in_again_counts_once_and_goes_last(pages):
    pages.put(b"a", bytes(9))
    pages.put(b"b", bytes(10))
    pages.put(b"a", bytes(10))
    pages.put(b"c", bytes(10))
    assert (pages.get(b"a"), pages.get(b"b")) == (bytes(10), None)


def test_what_is_dropped_gives_its_room_back_and_what_was_not_there_none(pages):
    pages.put(b"a", bytes(10))
    pages.drop([b"a", b"x"])
    assert (pages.get(b"a"), pages.size_bytes, pages.is_full) == (None, 0, False)
    pages.put(b"b", bytes(10))
    pages.clear()
    assert (pages.get(b"b"), pages.size_bytes) == (None, 0)


def test_a_smaller_bound_drops_pages_at_once(pages):
    pages.put(b"a", bytes(10))
    pages.put(b"b", bytes(10))
    pages.limit(10 + ROW_COST)
    assert (pages.get(b"a"), pages.get(b"b")) == (None, bytes(10))
    pages.limit(-1)
    assert pages.size_bytes == 0
