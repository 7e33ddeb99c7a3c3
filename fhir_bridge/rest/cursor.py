"""Where a page goes on, as a text that says nothing: the request itself, sealed for who made it.

A link to the next page must repeat what was searched for, and that is often a patient's identifier; so the link holds
all of it enciphered. Keeps true: only this node reads a cursor, for the client that it was made for, on the path that
it was made for, for a day; nothing else passes for one. Trusts the records key.
Source: FHIR R4 §3.1.0.12.2, §3.1.1.1.3 (paging).
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Final

import orjson

from medchain.crypto.frames import TAG_BYTES, open_frame, seal_frame
from medchain.crypto.keywrap import derive
from medchain.encoding import Json, base64url
from medchain.errors import InputError

PARAMETER: Final = "_cursor"
"""Name of the parameter that holds a cursor."""

LIFETIME_S: Final = 86_400
"""How long a cursor can be used, in seconds."""

_SALT_BYTES: Final = 16
_MAX_CHARS: Final = 8192


class Cursors:
    """Seals and opens cursors. Threads share it."""

    __slots__ = ("_key",)

    def __init__(self, records_key: bytes) -> None:
        """Derive the key."""
        self._key = derive(records_key, "fhir-cursor")

    def seal(self, path: str, client: str, now: int, state: Json) -> str:
        """Seal a state.

        Args:
            path: of the request that goes on.
            client: who may go on.
            now: Unix seconds.
            state: what is needed to go on.

        Returns:
            URL-safe text.
        """
        salt = secrets.token_bytes(_SALT_BYTES)
        content = orjson.dumps([now, state])
        # A key for each: then a number is enough of a nonce.
        key = derive(self._key, f"cursor/{salt.hex()}")
        return base64url(salt + seal_frame(key, 0, _context(path, client), content))

    def open(self, path: str, client: str, now: int, text: str) -> Json:
        """Open a state; arguments as in `seal`. Raises `InputError` ``cursor.invalid``, whatever is wrong."""
        if len(text) > _MAX_CHARS:
            raise InputError("cursor.invalid")
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError("cursor.invalid") from error
        if len(sealed) < _SALT_BYTES + TAG_BYTES:
            raise InputError("cursor.invalid")
        salt, rest = sealed[:_SALT_BYTES], sealed[_SALT_BYTES:]
        content = open_frame(derive(self._key, f"cursor/{salt.hex()}"), 0, _context(path, client), rest)
        if content is None:
            raise InputError("cursor.invalid")
        time, state = orjson.loads(content)
        if not time <= now <= time + LIFETIME_S:
            raise InputError("cursor.invalid")
        kept: Json = state
        return kept


def _context(path: str, client: str) -> bytes:
    """Bind a cursor to where and by whom it is used."""
    return orjson.dumps(["medchain/fhir-cursor/v1", path, client])
