"""Reading folders of FHIR bundles, ours or Synthea's: plain, gzip or xz, one at a time, what others refer to first.

Keeps true: numbers stay to the letter (a fraction becomes a `Decimal`, ``5.60`` is not ``5.6``).
Trusts the folder: files are of our own making or chosen by whoever runs the demonstration; they are read whole.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson

BUNDLES: Final = Path(__file__).parent / "bundles"
"""The committed bundles; a file is named ``<organisation>.<what>.json.gz``."""

STORIES: Final = Path(__file__).parent / "stories"
"""Bundles that are posted after all the others; see ``stories.json``."""

# Synthea names its files hospitalInformation….json and practitionerInformation….json; some copies begin with 0_.
_FIRST: Final = (re.compile(r"^(0_)?hospital(s|Information)|\.0-directory\."), re.compile(r"^(0_)?practitioner"))
# What insurers hold cites what hospitals hold.
_LAST: Final = re.compile(r"-insurance\.(p\d|json)")
_SUFFIXES: Final = (".json", ".json.gz", ".json.xz")


def read(folder: Path | None = None) -> Iterator[tuple[str, bytes]]:
    """Read the files of a folder, unpacked but not parsed.

    Args:
        folder: where ``*.json``, ``*.json.gz`` and ``*.json.xz`` lie; our own bundles if none is given.

    Yields:
        File name and JSON text: organisations, practitioners, patients, and what insurers hold; each by name.

    Raises:
        OSError: a file cannot be read or unpacked.
        lzma.LZMAError: an xz file is damaged.
    """
    paths = [path for path in (folder or BUNDLES).iterdir() if path.name.endswith(_SUFFIXES)]
    for path in sorted(paths, key=lambda path: (_rank(path.name), path.name)):
        yield path.name, _unpacked(path)


def load(folder: Path | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the bundles of a folder, one at a time; JSON files that are no FHIR Bundle are left out.

    Args:
        folder: as in `read`.

    Yields:
        File name and Bundle, in the order of `read`. Fractions are `Decimal`; write them back with `dump`.

    Raises:
        OSError: a file cannot be read or unpacked.
        lzma.LZMAError: an xz file is damaged.
        ValueError: a file is no JSON.
    """
    for name, text in read(folder):
        bundle = json.loads(text, parse_float=Decimal)
        if isinstance(bundle, dict) and bundle.get("resourceType") == "Bundle":
            yield name, bundle


def dump(value: object) -> bytes:
    """Write a bundle or a resource as JSON with its numbers to the letter.

    Args:
        value: what `load` gave, or a part of it.

    Returns:
        Compact JSON in UTF-8.
    """
    return orjson.dumps(value, default=_number)


def stories() -> list[dict[str, Any]]:
    """Return the planted stories as they stand in ``stories.json``."""
    text = (STORIES.parent / "stories.json").read_bytes()
    return list(orjson.loads(text))


def _unpacked(path: Path) -> bytes:
    match path.suffix:
        case ".gz":
            return gzip.decompress(path.read_bytes())
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case _:
            return path.read_bytes()


def _rank(name: str) -> int:
    middle = len(_FIRST) + bool(_LAST.search(name))
    return next((rank for rank, pattern in enumerate(_FIRST) if pattern.search(name)), middle)


def _number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)
