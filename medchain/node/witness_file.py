"""The file that names outside witnesses.

Keeps true: what is read is whole and unambiguous, or refused with its line. Trusts whoever may write the file.
Source: C2SP tlog-policy for the form of a line; `docs/operations.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from medchain.errors import InputError, NotFoundError
from medchain.tlog.note import KeyType, VerifierKey, parse_vkey

MAX_FILE_BYTES: Final = 64 * 1024
"""Largest file of witnesses that is looked at."""

MAX_WITNESSES: Final = 16
"""Most keys in it: a note has room for 100 lines, and the members' come first."""


@dataclass(frozen=True, slots=True)
class OutsideWitness:
    """A service, as configured.

    Attributes:
        name: the first of its names in the file.
        url: submission prefix, without a slash at its end.
        keys: with which it cosigns; C2SP tlog-cosignature, Ed25519 or ML-DSA-44.
    """

    name: str
    url: str
    keys: tuple[VerifierKey, ...]


def read_witnesses(path: Path | None) -> tuple[OutsideWitness, ...]:
    """Read the file of outside witnesses.

    Args:
        path: the file; None where none is configured.

    Returns:
        The services.

    Raises:
        NotFoundError: ``witnesses.missing``.
        InputError: as `parse_witnesses`.
    """
    if path is None:
        return ()
    try:
        with path.open("rb") as file:
            return parse_witnesses(file.read(MAX_FILE_BYTES + 1))
    except OSError as error:
        raise NotFoundError("witnesses.missing", path=str(path)) from error


def parse_witnesses(data: bytes) -> tuple[OutsideWitness, ...]:
    """Read ``witness NAME VKEY URL`` lines as in a C2SP tlog-policy; lines that begin with # are comments.

    Args:
        data: UTF-8 text. Two lines with one URL are two keys of one service.

    Returns:
        The services, in their order.

    Raises:
        InputError: ``witnesses.malformed`` with the line, or with 0 for the whole; ``tlog.*`` for a key that is none.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("witnesses.malformed", line=0) from error
    found: dict[str, OutsideWitness] = {}
    names: set[str] = set()
    publics: set[bytes] = set()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 4 or words[0] != "witness" or not _is_url(words[3]):  # noqa: PLR2004  # witness NAME VKEY URL
            raise InputError("witnesses.malformed", line=number)
        name, key, url = words[1], parse_vkey(words[2]), words[3].rstrip("/")
        if key.type is KeyType.ED25519 or name in names or key.public in publics:
            raise InputError("witnesses.malformed", line=number)
        names.add(name)
        publics.add(key.public)
        known = found.get(url, OutsideWitness(name, url, ()))
        found[url] = OutsideWitness(known.name, url, (*known.keys, key))
    if len(names) > MAX_WITNESSES or len(data) > MAX_FILE_BYTES:
        raise InputError("witnesses.malformed", line=0)
    return tuple(found.values())


def _is_url(text: str) -> bool:
    """Tell whether a text can be a submission prefix."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    is_plain = not (parts.query or parts.fragment or parts.username or parts.password)
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and is_plain
        and text.isascii()
        and text.isprintable()
    )
