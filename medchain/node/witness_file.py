"""The file in which a node names outside witnesses, and the one in which a witness names logs.

Keeps true: what is read is whole and unambiguous, or refused with its line. Trusts whoever may write the file.
Source: C2SP tlog-policy for the form of a line; `docs/operations.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from medchain.errors import InputError, NotFoundError
from medchain.tlog.note import KeyType, VerifierKey, parse_vkey

MAX_FILE_BYTES: Final = 64 * 1024
"""Largest file of witnesses, or of logs, that is looked at."""

MAX_WITNESSES: Final = 16
"""Most keys in it: a note has room for 100 lines, and the members' come first."""

MAX_LOG_KEYS: Final = 256
"""Most keys of logs that a witness is given: those of all members of a few consortia."""


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
    found: dict[str, OutsideWitness] = {}
    names: set[str] = set()
    publics: set[bytes] = set()
    for number, words in _lines(data, "witnesses.malformed"):
        if len(words) != 4 or words[0] != "witness" or not is_url(words[3]):  # noqa: PLR2004  # witness NAME VKEY URL
            raise InputError("witnesses.malformed", line=number)
        name, key, url = words[1], parse_vkey(words[2]), words[3].rstrip("/")
        if key.type is KeyType.ED25519 or name in names or key.public in publics:
            raise InputError("witnesses.malformed", line=number)
        names.add(name)
        publics.add(key.public)
        known = found.get(url, OutsideWitness(name, url, ()))
        found[url] = OutsideWitness(known.name, url, (*known.keys, key))
    if len(names) > MAX_WITNESSES:
        raise InputError("witnesses.malformed", line=0)
    return tuple(found.values())


def parse_logs(data: bytes) -> tuple[VerifierKey, ...]:
    """Read ``log VKEY`` lines as in a C2SP tlog-policy; lines that begin with # are comments.

    Args:
        data: UTF-8 text. Several keys of one name are of one log: who orders it changes.

    Returns:
        The keys, in their order.

    Raises:
        InputError: ``logs.malformed`` with the line, or with 0 for the whole; ``tlog.*`` for a key that is none.
    """
    keys: dict[bytes, VerifierKey] = {}
    for number, words in _lines(data, "logs.malformed"):
        if len(words) != 2 or words[0] != "log":  # noqa: PLR2004  # log VKEY
            raise InputError("logs.malformed", line=number)
        key = parse_vkey(words[1])
        if key.type is not KeyType.ED25519 or key.public in keys:
            raise InputError("logs.malformed", line=number)
        keys[key.public] = key
    if len(keys) > MAX_LOG_KEYS:
        raise InputError("logs.malformed", line=0)
    return tuple(keys.values())


def log_lines(keys: Iterable[VerifierKey]) -> str:
    """Write what `parse_logs` reads."""
    return "".join(f"log {key}\n" for key in keys)


def _lines(data: bytes, code: str) -> Iterator[tuple[int, list[str]]]:
    """Number the lines that are no comments, each as its words; raises ``code`` for what is too large, or no text."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(code, line=0) from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(code, line=0)
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def is_url(text: str) -> bool:
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
