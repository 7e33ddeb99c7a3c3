"""Where the next page of a search or a history begins, as a word that tells nobody what is looked for.

A cursor goes into a URL, and URLs are kept in many places: so the search is sealed in it, with the snapshot and the
last resource of the page before. Keeps true: a cursor says nothing to who lacks the node's key, cannot be made or
changed, counts for the client that it was made for, and is refused once the versions that its snapshot needs may be
gone. It is no right: who uses it must be allowed to search. Trusts the key.
Source: FHIR R4 §3.1.1.5.3 (paging); `docs/spec/search-index.md`.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass
from typing import Final

from medchain.crypto.aead import RecordContext, open_record, seal_record
from medchain.crypto.commitment import SALT_BYTES
from medchain.crypto.keywrap import derive, random_key
from medchain.encoding import base64url
from medchain.errors import InputError, MedchainError, NotFoundError
from medchain.node.clock import Clock

PARAMETER: Final = "_cursor"
"""Name of the parameter that holds a cursor."""

LIFE_S: Final = 3600
"""How long the pages of one search may be asked for, in seconds from the first."""

MAX_CHARS: Final = 64 << 10
"""Longest cursor that is looked at."""

_MAX_BYTES: Final = 1 << 20
_NO_OBJECT: Final = bytes(16)
_TYPE: Final = "application/vnd.medchain.cursor"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins.

    Attributes:
        types: resource types that are searched; of a history its path alone.
        pairs: the search as it was understood, `Query.used`.
        snapshot: number of the last version that counts; 0 in a history.
        started: when the first page was asked for, Unix seconds.
        after: values of the order and number of the last resource of the page before.
        client: for whom it was made; empty for the node itself.
    """

    types: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    snapshot: int
    started: int
    after: tuple[float | str, ...]
    client: str = ""


class Cursors:
    """Makes and reads cursors. Threads may share it."""

    __slots__ = ("_clock", "_context", "_key")

    def __init__(self, key: bytes, ledger: bytes, clock: Clock) -> None:
        """Prepare.

        Args:
            key: the node's records key, 32 bytes.
            ledger: ledger id, 32 bytes.
            clock: gives Unix seconds.
        """
        self._key = derive(key, "search-cursor")
        self._context = RecordContext(ledger, _NO_OBJECT, 1, _TYPE)
        self._clock = clock

    def seal(self, position: Position) -> str:
        """Write a cursor: letters, digits, ``-`` and ``_``."""
        rows = [position.types, position.pairs, position.snapshot, position.started, position.after, position.client]
        text = zlib.compress(
            json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        )
        sealed = seal_record(self._key, self._context, text, bytes(random_key())[:SALT_BYTES])
        return base64url(sealed)

    def open(self, cursor: str, client: str = "") -> Position:
        """Read a cursor.

        Args:
            cursor: as it was given out.
            client: who brings it.

        Raises:
            InputError: ``search.cursor`` for what this node did not make, or not for this client.
            NotFoundError: ``search.expired`` for an old one.
        """
        if len(cursor) > MAX_CHARS:
            raise InputError("search.cursor")
        try:
            sealed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
            packed = open_record(self._key, self._context, sealed)[1]
        except (binascii.Error, UnicodeError, MedchainError) as error:
            raise InputError("search.cursor") from error
        # What opens is what was sealed here: it needs no second look.
        types, pairs, snapshot, started, after, owner = json.loads(zlib.decompressobj().decompress(packed, _MAX_BYTES))
        if owner != client:
            raise InputError("search.cursor")
        if self._clock() - started > LIFE_S:
            raise NotFoundError("search.expired")
        return Position(tuple(types), tuple((one[0], one[1]) for one in pairs), snapshot, started, tuple(after), owner)
