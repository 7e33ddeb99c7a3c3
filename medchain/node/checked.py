"""Small documents that a node must not read wrongly: canonical JSON with a check of its own.

A disk that gives back another byte than was written is noticed in the databases, page by page. A number in a small file
beside them would only be another number: a promise of another size, say. Keeps true: a document that was changed in any
byte is refused. Trusts who can write the files: this is no signature.
Source: `docs/spec/node-protocol.md`, Inside a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.encoding import Json, canonical, digest, members, parse_canonical
from medchain.errors import InputError

_CHECK: Final = "check"
_CHECK_BYTES: Final = 16


def checked(document: Mapping[str, Json]) -> bytes:
    """Write a document with its check."""
    return canonical({**document, _CHECK: _check_of(document)})


def read_checked(
    content: bytes, required: Mapping[str, type], optional: Mapping[str, type], *, name: str, max_bytes: int
) -> dict[str, Json]:
    """Read what `checked` wrote, or a file of before there was a check.

    Args:
        content: all of it.
        required: as for `medchain.encoding.members`.
        optional: likewise.
        name: of the file.
        max_bytes: largest document.

    Returns:
        Its members, without the check.

    Raises:
        InputError: ``encoding.*``; ``file.changed`` for a document that is not the one that was written.
    """
    document = parse_canonical(content, max_bytes=max_bytes)
    found = dict(members(document, required, {**optional, _CHECK: str}))
    if _CHECK in found and found.pop(_CHECK) != _check_of(found):
        raise InputError("file.changed", file=name)
    return found


def _check_of(document: Mapping[str, Json]) -> str:
    """Compute the check of a document that has none."""
    return digest("medchain/checked/v1", canonical(dict(document)))[:_CHECK_BYTES].hex()
