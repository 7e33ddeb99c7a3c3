"""Files of FHIR content as units that are stored at once: a Bundle, or so many lines of NDJSON.

Keeps true: each entry of a file is in exactly one unit, or refused with its reason, those before a place that cannot
be read as well; a file's digest is over its bytes as they lie on the disk. Trusts nothing: what cannot be read is
refused, not skipped.
Source: FHIR R4 §3.1.0.11; Bulk Data Access (NDJSON).
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import IO, Final, TypeAlias

from fhir_bridge.document import Document, Element, Resource, parse, parse_bundle
from medchain.errors import InputError, MedchainError, NotFoundError

MAX_BUNDLE_BYTES: Final = 512 << 20
"""Largest Bundle, unpacked."""

MAX_LINE_BYTES: Final = 64 << 20
"""Longest line of NDJSON."""

LINES_PER_UNIT: Final = 500
"""How many lines of NDJSON are stored together."""

_SUFFIXES: Final = (".json", ".ndjson")
_PACKED: Final = (".gz", ".xz")
_DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_SKIP_BYTES: Final = 1 << 20
_Readable: TypeAlias = "IO[bytes] | gzip.GzipFile | lzma.LZMAFile"


@dataclass(frozen=True, slots=True)
class Unit:
    """What is stored at once.

    Attributes:
        name: digest of the file and number of the unit in it.
        bundle: a Bundle, or a collection of lines; entries are parsed when they are looked at.
        numbers: for each entry of it, its number in the file, from 1.
        refused: entries that could not be read: their number in the file, 0 for the rest of it, and why.
    """

    name: str
    bundle: Document
    numbers: Sequence[int]
    refused: Sequence[tuple[int, MedchainError]]


def find_files(paths: Sequence[Path]) -> list[Path]:
    """List the files to import: those named, and those below the folders named, in order; raises `NotFoundError`."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(item for item in path.rglob("*") if item.is_file() and _is_content(item))
        elif path.is_file():
            found.append(path)
        else:
            raise NotFoundError("file.missing", path=str(path))
    return list(dict.fromkeys(found))


def units(path: Path) -> Iterator[Unit]:
    """Split a file into units.

    Args:
        path: the file.

    Yields:
        The units, in the order of the file.

    Raises:
        InputError: ``import.unreadable`` for a Bundle that cannot be unpacked, ``document.*`` for one that is no JSON.
    """
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    plain = path.with_suffix("") if path.suffix in _PACKED else path
    try:
        with _opened(path) as file:
            if plain.suffix == ".ndjson":
                yield from _line_units(digest, file)
            else:
                yield _bundle_unit(
                    f"{digest}/0", parse_bundle(_bounded(file.read(MAX_BUNDLE_BYTES + 1), MAX_BUNDLE_BYTES))
                )
    except _DAMAGED as error:
        raise InputError("import.unreadable") from error


def _is_content(path: Path) -> bool:
    """Tell whether a file in a folder is FHIR content by its name."""
    plain = path.with_suffix("") if path.suffix in _PACKED else path
    return plain.suffix in _SUFFIXES and not path.name.startswith(".")


def _opened(path: Path) -> _Readable:
    """Open a file, unpacking it."""
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    return lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb")


def _bounded(data: bytes, limit: int) -> bytes:
    """Refuse what is too large."""
    if len(data) > limit:
        raise InputError("import.too_large", limit=limit)
    return data


def _bundle_unit(name: str, document: Document, number: int = 0) -> Unit:
    """Make a unit of a Bundle or of one resource; ``number`` is its line in NDJSON."""
    count = len(document.rows) if _is_bundle(document.resource) else 1
    return Unit(name, document, [number] * count if number else range(1, count + 1), ())


def _line_units(digest: str, file: _Readable) -> Iterator[Unit]:
    """Make units of lines; a Bundle on a line is a unit of its own."""
    made = 0
    entries: list[Element] = []
    numbers: list[int] = []
    refused: list[tuple[int, MedchainError]] = []
    for number, line in _lines(file):
        if isinstance(line, InputError):
            refused.append((number, line))
            continue
        try:
            resource = parse(line)
            unit = _bundle_unit(f"{digest}/line-{number}", parse_bundle(line), number) if _is_bundle(resource) else None
        except InputError as error:
            refused.append((number, error))
            continue
        if unit is not None:
            yield unit
            continue
        entries.append({"resource": resource})
        numbers.append(number)
        if len(entries) == LINES_PER_UNIT:
            yield Unit(f"{digest}/{made}", Document({"resourceType": "Bundle"}, entries), numbers, refused)
            made, entries, numbers, refused = made + 1, [], [], []
    if entries or refused:
        yield Unit(f"{digest}/{made}", Document({"resourceType": "Bundle"}, entries), numbers, refused)


def _is_bundle(resource: Resource) -> bool:
    """Tell whether a resource is a Bundle."""
    return resource.get("resourceType") == "Bundle"


def _lines(file: _Readable) -> Iterator[tuple[int, bytes | InputError]]:
    """Number the lines that hold something; one that is too long is an error, and the last one where reading ends.

    An error is given, not raised: what was read before it is still to be stored.
    """
    number = 0
    try:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                yield number, InputError("import.too_large", limit=MAX_LINE_BYTES)
                while line and not line.endswith(b"\n"):
                    line = file.readline(_SKIP_BYTES)
            elif line.strip():
                yield number, line
    except _DAMAGED:
        # 0: it is not this line alone that is missing.
        yield 0, InputError("import.unreadable", line=number + 1)
