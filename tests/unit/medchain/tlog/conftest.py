"""The vectors of the transparency log, a map's pages and a tree's tiles in memory, and reference implementations."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import pytest

from medchain.tlog.policy import Policy

VECTORS = Path(__file__).parents[3] / "vectors" / "tlog"


class Vectors:
    """Reads the files of `tests/vectors/tlog`."""

    def read(self, name):
        return (VECTORS / name).read_bytes()

    def policy(self):
        return Policy.parse(self.read("policy.txt"))

    def map_root(self):
        return bytes.fromhex(json.loads(self.read("entry-1000.bin"))["map_root"])


class Pages(dict):
    """Pages of a map in a dictionary."""

    def page(self, key):
        return self.get(key)


class Tiles(dict):
    """Tiles of a tree in a dictionary, the widest of each kept."""

    def tile(self, level, index, width):
        return self[level, index][: 32 * width]


class Rfc6962:
    """The definitions of RFC 6962 §2.1, word for word, over leaves named by their index."""

    def __init__(self) -> None:
        """Name the leaves."""
        self.leaves = [b"leaf %d" % index for index in range(1100)]
        self.mth = lru_cache(maxsize=None)(self._mth)

    def _mth(self, start, end):
        count = end - start
        if count == 0:
            return hashlib.sha256(b"").digest()
        if count == 1:
            return hashlib.sha256(b"\x00" + self.leaves[start]).digest()
        k = self.split(count)
        return hashlib.sha256(b"\x01" + self.mth(start, start + k) + self.mth(start + k, end)).digest()

    @staticmethod
    def split(count) -> int:
        k = 1
        while 2 * k < count:
            k *= 2
        return k

    def path(self, index, start, end):
        if end - start == 1:
            return []
        k = self.split(end - start)
        if index < k:
            return [*self.path(index, start, start + k), self.mth(start + k, end)]
        return [*self.path(index - k, start + k, end), self.mth(start, start + k)]

    def subproof(self, old, start, end, *, whole):
        count = end - start
        if old == count:
            return [] if whole else [self.mth(start, end)]
        k = self.split(count)
        if old <= k:
            return [*self.subproof(old, start, start + k, whole=whole), self.mth(start + k, end)]
        return [*self.subproof(old - k, start + k, end, whole=False), self.mth(start, start + k)]

    def consistency(self, old, size):
        return [] if old in (0, size) else self.subproof(old, 0, size, whole=True)


class NaiveMap:
    """The trie's root computed from all entries, bit by bit, from the definition in `docs/spec/log.md`."""

    EMPTY_LABEL = bytes(4) + b"\x01" * 32

    def root(self, entries):
        bits = {"".join(f"{byte:08b}" for byte in key): value for key, value in entries.items()}
        if not bits:
            return self.node(self.sha(b"\x00"), "")
        halves = [self.subtree({key: value for key, value in bits.items() if key[0] == side}) for side in "01"]
        empty = self.sha(self.sha(self.sha(b"\x00") + self.sha(self.EMPTY_LABEL)) + self.sha(self.EMPTY_LABEL))
        return self.node(self.sha(b"".join(half or empty for half in halves)), "")

    def subtree(self, bits):
        if not bits:
            return b""
        if len(bits) == 1:
            [(key, value)] = bits.items()
            return self.node(value, key)
        length = 0
        while len({key[length] for key in bits}) == 1:
            length += 1
        halves = [self.subtree({key: value for key, value in bits.items() if key[length] == side}) for side in "01"]
        return self.node(self.sha(b"".join(halves)), next(iter(bits))[:length])

    def node(self, value, label):
        packed = int(label.ljust(256, "0"), 2).to_bytes(32, "big")
        return self.sha(value + self.sha(len(label).to_bytes(4, "big") + packed))

    @staticmethod
    def sha(data) -> bytes:
        return hashlib.sha256(data).digest()


@pytest.fixture(scope="session")
def vectors():
    return Vectors()


@pytest.fixture
def pages():
    return Pages()


@pytest.fixture
def tiles():
    return Tiles()


@pytest.fixture(scope="session")
def rfc6962():
    return Rfc6962()


@pytest.fixture(scope="session")
def naive_map():
    return NaiveMap()
