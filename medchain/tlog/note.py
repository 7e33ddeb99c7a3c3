"""C2SP signed notes: text with signature lines, and the keys (vkeys) that they name.

Keeps true: a note or key has one spelling; what is parsed and written again is the same bytes. Trusts nothing: a parsed
note's signatures are not checked here but in `medchain.tlog.checkpoint` and `medchain.tlog.policy`.
Source: C2SP signed-note; C2SP tlog-cosignature for the key types.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Final

from medchain.encoding import base64_text, unbase64
from medchain.errors import InputError

MAX_NOTE_BYTES: Final = 1_000_000
"""Largest note, as in the reference implementation."""

MAX_SIGNATURES: Final = 100
"""Most signatures on a note, as in the reference implementation; the format asks for at least 16."""

MAX_NAME_BYTES: Final = 255
"""Longest key name: what an ML-DSA-44 cosignature can name (C2SP tlog-cosignature)."""

KEY_ID_BYTES: Final = 4
"""Size of a key id."""

_KEPT_BYTES: Final = 1 << 16
_KEPT: Final = 16
_MARK: Final = "\N{EM DASH} "


class KeyType(IntEnum):
    """Signature types of C2SP signed-note that we use."""

    ED25519 = 1
    """Ed25519 over the text: a log's own line."""
    COSIGNATURE_ED25519 = 4
    """Timestamped Ed25519 cosignature, ``cosignature/v1``."""
    COSIGNATURE_MLDSA44 = 6
    """Timestamped ML-DSA-44 cosignature, ``subtree/v1``."""


_PUBLIC_BYTES: Final = {KeyType.ED25519: 32, KeyType.COSIGNATURE_ED25519: 32, KeyType.COSIGNATURE_MLDSA44: 1312}


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name under which it signs.

    Attributes:
        name: key name; not empty, at most 255 bytes of UTF-8, no white space, no plus sign.
        type: what its signatures mean.
        public: public key, raw.
        key_id: first 4 bytes of SHA-256(name ‖ LF ‖ type ‖ public).
    """

    name: str
    type: KeyType
    public: bytes = field(repr=False)
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Check and compute the key id; raises `InputError` ``tlog.key_name`` or ``tlog.key``."""
        if not is_key_name(self.name):
            raise InputError("tlog.key_name")
        if len(self.public) != _PUBLIC_BYTES[self.type]:
            raise InputError("tlog.key", size=len(self.public))
        hashed = self.name.encode() + b"\n" + bytes([self.type]) + self.public
        object.__setattr__(self, "key_id", hashlib.sha256(hashed).digest()[:KEY_ID_BYTES])

    def __str__(self) -> str:
        """Return the vkey: name, key id and typed key, joined by plus signs."""
        return f"{self.name}+{self.key_id.hex()}+{base64_text(bytes([self.type]) + self.public)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature line.

    Attributes:
        name: key name.
        key_id: 4 bytes.
        data: the signature; for cosignatures the timestamp comes first.
    """

    name: str
    key_id: bytes
    data: bytes = field(repr=False)

    def line(self) -> str:
        """Return the line, with its newline."""
        return f"{_MARK}{self.name} {base64_text(self.key_id + self.data)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, none of them checked.

    Attributes:
        text: the text that is signed, newline at its end.
        signatures: in the order of their lines.
    """

    text: str
    signatures: tuple[Signature, ...]

    def to_bytes(self) -> bytes:
        """Write the note."""
        return f"{self.text}\n{''.join(signature.line() for signature in self.signatures)}".encode()

    def add(self, signatures: Iterable[Signature]) -> Note:
        """Add signatures; one of a key that has signed already takes the place of the older one.

        Args:
            signatures: in the order in which they are added.

        Returns:
            The note with them.
        """
        merged = {(old.name, old.key_id): old for old in self.signatures}
        merged.update({(new.name, new.key_id): new for new in signatures})
        return Note(self.text, tuple(merged.values()))

    def merge(self, other: Note) -> Note:
        """Add the signatures of another copy of the same text, which win where both have one of the same key.

        Raises:
            InputError: ``tlog.note_text`` if the texts differ.
        """
        if other.text != self.text:
            raise InputError("tlog.note_text")
        return self.add(other.signatures)


_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")
_NO_NAME: Final = re.compile(r"[\x00-\x20+]|\s")


def is_key_name(name: str) -> bool:
    """Tell whether a text can be a key name (C2SP signed-note), and a log's origin."""
    if _NO_NAME.search(name):
        return False
    try:
        return 1 <= len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def parse_vkey(text: str) -> VerifierKey:
    """Read a vkey.

    Raises:
        InputError: ``tlog.key`` for another form, a wrong key id or an unknown type; ``tlog.key_name``.
    """
    parts = text.split("+", 2)
    if len(parts) != 3:  # noqa: PLR2004  # name, key id, key
        raise InputError("tlog.key")
    typed = unbase64(parts[2])
    if not typed or typed[0] not in list(KeyType):
        raise InputError("tlog.key")
    key = VerifierKey(parts[0], KeyType(typed[0]), typed[1:])
    if str(key) != text:
        raise InputError("tlog.key")
    return key


def parse_note(data: bytes) -> Note:
    """Read a note.

    Args:
        data: UTF-8 without control characters but newline; text, an empty line, signature lines.

    Raises:
        InputError: ``tlog.note``, or ``encoding.base64`` for a signature.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise InputError("tlog.note", size=len(data))
    return _parse_again(data) if len(data) <= _KEPT_BYTES else _parse(data)


def _parse(data: bytes) -> Note:
    """Read a note of at most `MAX_NOTE_BYTES`."""
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise InputError("tlog.note") from error
    text, separator, block = whole.rpartition("\n\n")
    lines = block.split("\n")
    if not separator or lines.pop() or _CONTROL.search(whole):
        raise InputError("tlog.note")
    return Note(text + "\n", parse_signatures(lines))


# Members send each other the same few notes again and again. What is large is not kept: strangers may send notes too.
_parse_again: Final = lru_cache(_KEPT)(_parse)


def parse_signatures(lines: list[str]) -> tuple[Signature, ...]:
    """Read signature lines, without their newlines; raises `InputError` as `parse_note`."""
    if not 1 <= len(lines) <= MAX_SIGNATURES:
        raise InputError("tlog.note", signatures=len(lines))
    return tuple(_parse_signature(line) for line in lines)


def _parse_signature(line: str) -> Signature:
    """Read one signature line."""
    name, separator, encoded = line.removeprefix(_MARK).partition(" ")
    if not line.startswith(_MARK) or not separator or not is_key_name(name):
        raise InputError("tlog.note")
    raw = unbase64(encoded)
    if len(raw) <= KEY_ID_BYTES:
        raise InputError("tlog.note")
    return Signature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])
