"""XChaCha20-Poly1305, asked of libsodium itself.

Each record that is sealed or opened passes by here twice. PyNaCl's functions look at the type of each argument and hold
the size of what comes out, which costs twice what the cipher does. Keeps true: what libsodium does not know, the sizes
of key and nonce, is checked. Trusts libsodium, and the caller for never using a nonce twice under one key.
Source: draft-irtf-cfrg-xchacha-03.
"""

from __future__ import annotations

from typing import Final

from nacl._sodium import ffi, lib  # type: ignore[import-not-found]  # PyNaCl's compiled part has no types

from medchain.errors import InputError

NONCE_BYTES: Final = 24
"""Size of a nonce: random ones never meet."""

TAG_BYTES: Final = 16
"""By how much a sealed text is longer: a Poly1305 tag."""

_NULL: Final = ffi.NULL
_KEY_BYTES: Final = 32
_OUT: Final = ffi.typeof("unsigned char[]")


def seal(key: bytes, nonce: bytes, aad: bytes, content: bytes) -> bytes:
    """Encipher and authenticate.

    Args:
        key: 32 secret bytes.
        nonce: 24 bytes, never used before under this key.
        aad: authenticated too, not contained; may be empty.
        content: of any size.

    Returns:
        The content enciphered, and `TAG_BYTES` of tag.

    Raises:
        InputError: ``keys.size`` for a key or nonce of another size.
    """
    _check(key, nonce)
    out = ffi.new(_OUT, len(content) + TAG_BYTES)
    lib.crypto_aead_xchacha20poly1305_ietf_encrypt(out, _NULL, content, len(content), aad, len(aad), _NULL, nonce, key)
    return bytes(ffi.buffer(out))


def unseal(key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes | None:
    """Open what `seal` made of the same key, nonce and additional data; None for anything else.

    Raises:
        InputError: ``keys.size`` for a key or nonce of another size.
    """
    _check(key, nonce)
    if len(sealed) < TAG_BYTES:
        return None
    out = ffi.new(_OUT, len(sealed) - TAG_BYTES)
    result = lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
        out, _NULL, _NULL, sealed, len(sealed), aad, len(aad), nonce, key
    )
    return bytes(ffi.buffer(out)) if result == 0 else None


def _check(key: bytes, nonce: bytes) -> None:
    """Refuse sizes beyond whose end libsodium would read."""
    if len(key) != _KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise InputError("keys.size", size=len(key))
