"""Secrets that open something: drawn from the system's random source, remembered as a hash only.

Keeps true: who reads what is remembered can open nothing with it. Pure but for the random source.
Source: RFC 6749 §10.10; `docs/spec/smart.md`.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

KEPT_ENDED_S: Final = 2 * 86_400
"""How long what was used up or revoked is remembered beyond its end: one that a clock which was fast by no more than
that took for ended does not count again once the clock is set back."""


def hashed(secret: str) -> bytes:
    """Hash a secret of at least 128 random bits, by which alone it is remembered."""
    return hashlib.sha256(b"medchain/secret/v1\n" + secret.encode("utf-8", "surrogatepass")).digest()


def new_secret() -> str:
    """Draw a secret: 256 random bits in base64url."""
    return secrets.token_urlsafe(32)
