"""HL7's own examples: one a resource type, a choice that has every element, or all of them."""

from __future__ import annotations

import json
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

_VECTORS = Path(__file__).parents[2] / "vectors" / "fhir-r4"


def examples() -> Iterator[tuple[str, bytes]]:
    """Walk through one example a type: file name, and bytes as HL7 published them."""
    return _archived(_VECTORS / "examples.tar.xz")


def by_type() -> dict[str, dict]:
    """Read one example of each type that HL7 has one of."""
    return {resource["resourceType"]: resource for resource in (json.loads(content) for _, content in examples())}


def chosen(place: str) -> Iterator[tuple[str, bytes]]:
    """Walk through more of them.

    Args:
        place: a folder or archive with HL7's package (``--fhir-examples``); empty for the choice that is carried.

    Yields:
        File name, or number in the choice, and JSON.
    """
    if not place:
        lines = lzma.decompress((_VECTORS / "examples.ndjson.xz").read_bytes()).splitlines()
        yield from ((str(number), line) for number, line in enumerate(lines))
    elif Path(place).is_dir():
        yield from ((path.name, path.read_bytes()) for path in sorted(Path(place).rglob("*.json")))
    else:
        yield from _archived(Path(place))


def _archived(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.name.endswith(".json") else None
            if opened is not None:
                yield Path(member.name).name, opened.read()
