"""What the tests of cryptography share: published vectors, and a second implementation of XChaCha20-Poly1305."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_VECTORS = Path(__file__).resolve().parents[3] / "vectors"


@pytest.fixture
def vectors() -> Callable[[str], Any]:
    """Load a file below tests/vectors."""
    return lambda name: json.loads((_VECTORS / name).read_text(encoding="utf-8"))


@pytest.fixture
def xchacha_open() -> Callable[[bytes, bytes, bytes, bytes], bytes]:
    """Open XChaCha20-Poly1305 without libsodium: draft-irtf-cfrg-xchacha-03 §2 over OpenSSL's ChaCha20-Poly1305."""

    def opened(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        return ChaCha20Poly1305(_hchacha20(key, nonce[:16])).decrypt(bytes(4) + nonce[16:], ciphertext, aad)

    return opened


@pytest.fixture
def collide() -> Callable[[bytes, int, bytes, bytes, list[bytes]], bytes]:
    """Change two blocks of an XChaCha20-Poly1305 ciphertext so that one tag fits under two keys; append that tag.

    The tag is linear in the blocks: choose it, solve two equations for two blocks, try again until both are 128 bits.
    """

    def collided(sealed: bytes, free: int, aad: bytes, nonce: bytes, keys: list[bytes]) -> bytes:
        text = aad.ljust(-len(aad) % 16 + len(aad), b"\0") + sealed
        text += len(aad).to_bytes(8, "little") + len(sealed).to_bytes(8, "little")
        blocks = [int.from_bytes(text[at : at + 16], "little") + 2**128 for at in range(0, len(text), 16)]
        first = -(-len(aad) // 16) + free
        for tag in range(10_000):
            rows = [_equation(blocks, first, tag, *_poly1305_key(key, nonce)) for key in keys]
            (a, b, t), (c, d, u) = rows
            inverse = pow(a * d - b * c, -1, _PRIME)
            x, y = (t * d - b * u) * inverse % _PRIME, (a * u - t * c) * inverse % _PRIME
            if x >> 128 == y >> 128 == 1:
                found = b"".join((block - 2**128).to_bytes(16, "little") for block in (x, y))
                return sealed[: 16 * free] + found + sealed[16 * free + 32 :] + tag.to_bytes(16, "little")
        raise AssertionError

    return collided


_PRIME = 2**130 - 5


def _poly1305_key(key: bytes, nonce: bytes) -> tuple[int, int]:
    """Derive r and s of the one-time authenticator behind XChaCha20-Poly1305 (RFC 8439 §2.5, §2.6)."""
    cipher = Cipher(algorithms.ChaCha20(_hchacha20(key, nonce[:16]), bytes(8) + nonce[16:]), mode=None)
    block = cipher.encryptor().update(bytes(32))
    r = int.from_bytes(block[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    return r, int.from_bytes(block[16:], "little")


def _equation(blocks: list[int], free: int, tag: int, r: int, s: int) -> tuple[int, int, int]:
    """Say under which condition on blocks `free` and `free + 1` a tag fits: a * x + b * y = c."""
    weights = [pow(r, len(blocks) - at, _PRIME) for at in range(len(blocks))]
    rest = sum(weights[at] * block for at, block in enumerate(blocks) if at not in (free, free + 1))
    return weights[free], weights[free + 1], ((tag - s) % 2**128 - rest) % _PRIME


def _hchacha20(key: bytes, nonce: bytes) -> bytes:
    """Derive the subkey (draft-irtf-cfrg-xchacha-03 §2.2)."""
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))
    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for target, addend, mixed, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                state[target] = (state[target] + state[addend]) & 0xFFFFFFFF
                word = state[mixed] ^ state[target]
                state[mixed] = (word << turn | word >> (32 - turn)) & 0xFFFFFFFF
    return struct.pack("<8I", *state[:4], *state[12:])
