"""HL7's own examples, one a resource type."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

_ARCHIVE = Path(__file__).parents[2] / "vectors" / "fhir-r4" / "examples.tar.xz"


def examples() -> Iterator[tuple[str, bytes]]:
    """Walk through the examples: file name, and bytes as HL7 published them."""
    with tarfile.open(_ARCHIVE) as archive:
        for member in archive:
            opened = archive.extractfile(member)
            assert opened is not None
            yield member.name, opened.read()
