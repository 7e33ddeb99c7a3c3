"""Caches with a bound in bytes.

Keeps true: the sum of the sizes never exceeds the bound. Trusts the sizes that callers give.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

ROW_COST: Final = 150
"""What a page costs in memory beside its bytes."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Least recently used entries go first; threads may share it."""

    __slots__ = ("_entries", "_limit_bytes", "_lock", "_size_bytes")

    def __init__(self, limit_bytes: int) -> None:
        """Start empty, with a bound on the sum of sizes."""
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of all entries."""
        return self._size_bytes

    @property
    def is_full(self) -> bool:
        """Whether the next entry may be one too many."""
        return self._size_bytes * 100 > self._limit_bytes * 99

    def get(self, key: Key) -> Value | None:
        """Return an entry and count it as used, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: Key, value: Value, size_bytes: int) -> None:
        """Add or replace an entry, and drop the oldest ones beyond the bound."""
        with self._lock:
            old = self._entries.pop(key, None)
            self._size_bytes += size_bytes - (old[1] if old else 0)
            self._entries[key] = (value, size_bytes)
            self._shrink()

    def drop(self, key: Key) -> None:
        """Forget an entry, if it is there."""
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._size_bytes -= old[1]

    def limit(self, limit_bytes: int) -> None:
        """Set another bound, and drop the oldest entries beyond it."""
        with self._lock:
            self._limit_bytes = limit_bytes
            self._shrink()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._size_bytes = 0

    def _shrink(self) -> None:
        """Drop the oldest entries beyond the bound."""
        while self._entries and self._size_bytes > self._limit_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self._size_bytes -= freed


class PageCache:
    """Pages, of which those put in first go first: to read one costs a look into a dictionary and no more.

    What every block passes is also what every block changes, and so was put in last; the order of use would tell no
    more than that. One thread at a time may change it; others may read.
    """

    __slots__ = ("_limit_bytes", "_pages", "_size_bytes", "get")

    def __init__(self, limit_bytes: int) -> None:
        """Start empty, with a bound on the sum of sizes, `ROW_COST` for each page included."""
        self._pages: OrderedDict[bytes, bytes] = OrderedDict()
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self.get = self._pages.get

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of all pages."""
        return self._size_bytes

    @property
    def is_full(self) -> bool:
        """Whether the next page may be one too many."""
        return self._size_bytes * 100 > self._limit_bytes * 99

    def put(self, key: bytes, page: bytes) -> None:
        """Add or replace a page, and drop the oldest ones beyond the bound."""
        self.drop((key,))
        self._pages[key] = page
        self._size_bytes += len(page) + ROW_COST
        self._shrink()

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget those of some pages that are there."""
        take = self._pages.pop
        for key in keys:
            page = take(key, None)
            if page is not None:
                self._size_bytes -= len(page) + ROW_COST

    def limit(self, limit_bytes: int) -> None:
        """Set another bound, and drop the oldest pages beyond it."""
        self._limit_bytes = limit_bytes
        self._shrink()

    def clear(self) -> None:
        """Forget everything."""
        self._pages.clear()
        self._size_bytes = 0

    def _shrink(self) -> None:
        """Drop the oldest pages beyond the bound."""
        while self._size_bytes > self._limit_bytes and self._pages:
            _, page = self._pages.popitem(last=False)
            self._size_bytes -= len(page) + ROW_COST
