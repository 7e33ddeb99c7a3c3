"""Frames: sealed as the draft says (by OpenSSL over a second HChaCha20), opened in their place only."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from medchain.crypto.frames import open_frame, seal_frame
from medchain.crypto.xchacha import TAG_BYTES

KEY = bytes(range(32))
CONTEXT = b"journal"
CONTENT = b"what was read"
SEALED = seal_frame(KEY, 7, CONTEXT, CONTENT)


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """Derive a subkey (draft-irtf-cfrg-xchacha-03, 2.2)."""
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def add_and_turn(a, b, d, bits):
        state[a] = (state[a] + state[b]) & 0xFFFFFFFF
        mixed = state[d] ^ state[a]
        state[d] = (mixed << bits | mixed >> 32 - bits) & 0xFFFFFFFF

    columns = [(i, 4 + i, 8 + i, 12 + i) for i in range(4)]
    diagonals = [(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)]
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            add_and_turn(a, b, d, 16)
            add_and_turn(c, d, b, 12)
            add_and_turn(a, b, d, 8)
            add_and_turn(c, d, b, 7)
    return struct.pack("<8I", *state[:4], *state[12:])


def test_the_subkey_is_that_of_the_draft():
    """draft-irtf-cfrg-xchacha-03, 2.2.1."""
    nonce = bytes.fromhex("000000090000004a0000000031415927")
    expected = "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    assert hchacha20(KEY, nonce).hex() == expected


def test_a_frame_is_xchacha20_poly1305_with_its_number_for_a_nonce():
    aead = ChaCha20Poly1305(hchacha20(KEY, bytes(16)))
    assert aead.decrypt(bytes(4) + (7).to_bytes(8, "big"), SEALED, CONTEXT) == CONTENT


def test_a_frame_opens():
    assert open_frame(KEY, 7, CONTEXT, SEALED) == CONTENT
    assert len(SEALED) == len(CONTENT) + TAG_BYTES


@pytest.mark.parametrize(("key", "number", "context"), [(bytes(32), 7, CONTEXT), (KEY, 8, CONTEXT), (KEY, 7, b"other")])
def test_a_frame_elsewhere_does_not_open(key, number, context):
    assert open_frame(key, number, context, SEALED) is None


@pytest.mark.parametrize("at", range(len(SEALED)))
def test_a_changed_frame_does_not_open(at):
    changed = bytearray(SEALED)
    changed[at] ^= 1
    assert open_frame(KEY, 7, CONTEXT, bytes(changed)) is None
