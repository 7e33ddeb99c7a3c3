"""The bounded cache."""

from __future__ import annotations

from medchain.store.cache import BoundedCache


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
