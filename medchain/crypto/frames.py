"""Frames: short messages under a key of their own file, numbered so that none can be moved, repeated or changed.

Keeps true: a frame opens only under its file's key, its number and its context; a wrong one of them and a changed byte
are not told apart. Trusts libsodium, and the caller for sealing no two contents with one key and one number.
Source: draft-irtf-cfrg-xchacha-03; `docs/spec/journal.md`.
"""

from __future__ import annotations

from typing import Final

from medchain.crypto.xchacha import NONCE_BYTES, seal, unseal

_NUMBER_BYTES: Final = 8


def seal_frame(key: bytes, number: int, context: bytes, content: bytes) -> bytes:
    """Seal a frame.

    Args:
        key: 32 bytes, the file's own, so that a number is enough of a nonce.
        number: of the frame in its file, from 0; below 2^64.
        context: bound, not contained.
        content: of any size.

    Returns:
        The content enciphered and 16 bytes of tag.
    """
    return seal(key, _nonce(number), context, content)


def open_frame(key: bytes, number: int, context: bytes, sealed: bytes) -> bytes | None:
    """Open a frame; None where it is not the frame of this key, number and context."""
    return unseal(key, _nonce(number), context, sealed)


def _nonce(number: int) -> bytes:
    """Number a frame."""
    return number.to_bytes(_NUMBER_BYTES, "big").rjust(NONCE_BYTES, b"\0")
