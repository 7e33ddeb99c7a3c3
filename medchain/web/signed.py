"""Documents that go through a browser and come back unchanged: requests under way, challenges, log-ins begun.

Nothing is stored for them, so that nobody who is not signed in makes the node write. Keeps true: what is opened was
signed here, for the same purpose, and has not ended; what must count once is used up by whoever opens it. Trusts the
key, which all workers derive alike.
Source: RFC 2104; `docs/spec/smart.md`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

from medchain.crypto.keywrap import derive
from medchain.encoding import Json, base64url, canonical, members, parse_canonical
from medchain.errors import AccessDeniedError, InputError

MAX_CHARS: Final = 24 * 1024
"""Longest document, signed."""

_PURPOSE: Final = "web-signed"
_TAG_BYTES: Final = 32


class Signed:
    """Signs and opens. Threads and processes share it."""

    __slots__ = ("_key",)

    def __init__(self, records_key: bytes) -> None:
        """Derive the key from the node's records key, 32 bytes."""
        self._key = derive(records_key, _PURPOSE)

    def sign(self, purpose: str, document: dict[str, Json], until: int) -> str:
        """Sign a document.

        Args:
            purpose: what for; it opens for nothing else.
            document: what it says.
            until: when it ends, Unix seconds.

        Returns:
            Text of letters, digits, ``-`` and ``_``; two of the same differ.
        """
        content = canonical({"document": document, "once": secrets.token_hex(16), "until": until})
        return base64url(self._tag(purpose, content) + content)

    def open(self, purpose: str, text: str, now: int) -> dict[str, Json]:
        """Open what was signed; raises `AccessDeniedError` ``page.ended`` for anything else, or too late."""
        try:
            if len(text) > MAX_CHARS:
                raise AccessDeniedError("page.ended")
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            tag, content = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
            if not hmac.compare_digest(tag, self._tag(purpose, content)):
                raise AccessDeniedError("page.ended")
            given = members(
                parse_canonical(content, max_bytes=MAX_CHARS), {"document": dict, "once": str, "until": int}
            )
        except (InputError, ValueError) as error:
            raise AccessDeniedError("page.ended") from error
        until, document = given["until"], given["document"]
        if not isinstance(until, int) or not now < until or not isinstance(document, dict):
            raise AccessDeniedError("page.ended")
        return document

    def _tag(self, purpose: str, content: bytes) -> bytes:
        """Authenticate."""
        return hmac.digest(self._key, f"medchain/{_PURPOSE}/v1 {purpose}\n".encode() + content, hashlib.sha256)
