"""The lines of a bulk export's files: records opened some at a time, each once more through the gate.

Keeps true: what a caller may not have now is left out, and what was erased; a record is a line as it is stored, but for
the addresses of its attachments and for elements that were not asked for; of a file only a few records are in memory.
Trusts the gate, and the web server to break off what is not taken, or what fails under way.
Source: HL7 Bulk Data Access 2.0 (Output File Request, Attachments); ndjson.org.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from fhir_bridge import binary
from fhir_bridge.document import Element, Resource, member, parse, write
from fhir_bridge.rest.core import Core
from fhir_bridge.smart.access import Access
from fhir_bridge.subset import with_elements
from medchain.crypto.keywrap import WrappingKey
from medchain.encoding import objects_in
from medchain.errors import NotFoundError
from medchain.store.versions import Found

EACH: Final = 200
"""Most deletions of one Bundle."""

_AT_ONCE: Final = 200
_GZIP: Final = 31
_LEVEL: Final = 1
_RELATIVE: Final = b'"url":"Binary/'


def permitted(core: Core, access: Access, numbers: Sequence[int]) -> list[int]:
    """Leave out what a caller may not have any more, so that the audit names what is sent and nothing else.

    Args:
        core: of the server.
        access: who asks.
        numbers: of record versions.
    """
    kept: list[int] = []
    for start in range(0, len(numbers), _AT_ONCE):
        rows = [one.stored for one in core.reader.numbered(numbers[start : start + _AT_ONCE]) if one is not None]
        kept += [row.seq for row, shown in zip(rows, core.gate.exported_rows(access, rows), strict=True) if shown]
    return kept


def lines(core: Core, access: Access, numbers: Sequence[int], elements: frozenset[str]) -> Iterator[bytes]:
    """Open records, some at a time, and give them line by line.

    Args:
        core: of the server.
        access: who asks.
        numbers: of record versions.
        elements: as `subset.with_elements` takes them; none for all.
    """
    known: dict[bytes, WrappingKey] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        rows = [one for one in core.reader.numbered(numbers[start : start + _AT_ONCE]) if one is not None]
        shown = core.gate.exported_rows(access, [one.stored for one in rows])
        made: list[bytes] = []
        for one in [one for one, is_shown in zip(rows, shown, strict=True) if is_shown]:
            if one.stored.head is None:
                made.append(_line(core, one, elements, known))
                continue
            yield b"".join(made)
            made.clear()
            yield from _binary_line(core, one)
        yield b"".join(made)


def deletions(core: Core, access: Access, numbers: Sequence[int]) -> Iterator[bytes]:
    """List what record versions delete, as Bundles of type ``transaction`` with a ``DELETE`` for each, one a line.

    Args:
        core: of the server.
        access: who asks.
        numbers: of the versions.
    """
    for start in range(0, len(numbers), EACH):
        rows = [one.stored for one in core.reader.numbered(numbers[start : start + EACH]) if one is not None]
        shown = core.gate.exported_rows(access, rows)
        entries: list[Element] = [
            {"request": {"method": "DELETE", "url": f"{row.type}/{row.id}"}}
            for row, is_shown in zip(rows, shown, strict=True)
            if is_shown
        ]
        if entries:
            yield write({"resourceType": "Bundle", "type": "transaction", "entry": entries}) + b"\n"


def _line(core: Core, one: Found, elements: frozenset[str], known: dict[bytes, WrappingKey]) -> bytes:
    """Open a record; nothing for one whose key was destroyed meanwhile."""
    try:
        content = core.service.open_found(one, known).content
    except NotFoundError:
        return b""
    if elements:
        content = write(with_elements(parse(content), elements))
    if _RELATIVE in content:
        content = _absolute(core.base_url, parse(content))
    return content + b"\n"


def _absolute(base_url: str, resource: Resource) -> bytes:
    """Write a resource with whole addresses of its attachments, as who reads a file needs them (Attachments)."""
    for item in objects_in(resource):
        url = member(item, "url")
        if url.startswith("Binary/"):
            item["url"] = f"{base_url}/{url}"
    return write(resource)


def _binary_line(core: Core, one: Found) -> Iterator[bytes]:
    """Open a Binary piece by piece."""
    try:
        head, opened = core.service.head(one.stored), core.service.stream(one.stored)
    except NotFoundError:
        return
    yield from binary.in_json(head).around(opened.pieces)
    yield b"\n"


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compress pieces with gzip."""
    engine = zlib.compressobj(_LEVEL, wbits=_GZIP)
    for piece in pieces:
        if made := engine.compress(piece):
            yield made
    yield engine.flush()
