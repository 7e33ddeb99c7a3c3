"""Proof bundles as zip files: read within the bounds of `docs/spec/proof-bundle.md` 1, as the page in a browser reads.

Python's own reader finds the list of files by other numbers than other readers do: one zip could hold two bundles, one
for each. Keeps true: of the several ways in which a zip says where its files are all agree, or it is none; size and
number of files are bounded before and after they are unpacked; a name stands once; a link is none. Whatever changes
here changes in `medchain/web/static/verify/zip.js`. Trusts nothing that is read.
Source: `docs/spec/proof-bundle.md` 1; PKWARE APPNOTE 6.3.10, 4.3.7, 4.3.12, 4.3.16, 4.4.4.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from medchain.errors import InputError
from medchain.ledger.bundle import MAX_BUNDLE_BYTES, MAX_FILES

MAX_ZIP_BYTES: Final = MAX_BUNDLE_BYTES + (1 << 20)
"""Largest zip: files are smaller packed than not, but for names and dates."""

_END: Final = struct.Struct("<4s6xH2IH")
_ROW: Final = struct.Struct("<4s4x2H4x3I3H4x2I")
_HEAD: Final = struct.Struct("<4s22x2H")
_END_MARK: Final = b"PK\x05\x06"
_ROW_MARK: Final = b"PK\x01\x02"
_HEAD_MARK: Final = b"PK\x03\x04"
# How well it was packed, sizes behind the content, a name in UTF-8; of all others, such as encryption, this knows none.
_FLAGS: Final = 0x080E
_STORED: Final = 0
_DEFLATED: Final = 8
# The kind of a file in the upper bits of a zip's Unix mode; 0 where the zip tells none.
_REGULAR: Final = 0x8


class _Row(NamedTuple):
    """A file of a zip, by its list: name, packed content, how it is packed, size, checksum, where the next row is."""

    name: str
    packed: bytes
    method: int
    size: int
    crc: int
    next: int


def unpack_bundle(packed: bytes) -> dict[str, bytes]:
    """Read a bundle's files from a zip.

    Args:
        packed: the zip.

    Returns:
        Relative name, with ``/`` → content.

    Raises:
        InputError: ``bundle.size``, ``bundle.files``, ``bundle.link``, ``bundle.twice``, ``bundle.format``.
    """
    if len(packed) > MAX_ZIP_BYTES:
        raise InputError("bundle.size", limit=MAX_BUNDLE_BYTES)
    end = len(packed) - _END.size
    mark, (count, size, at, comment) = _read(_END, packed, end)
    # Nothing stands between the list and its end, nor behind that: it is found in one way alone.
    if mark != _END_MARK or comment or at + size != end:
        raise InputError("bundle.format")
    if count > 2 * MAX_FILES:
        raise InputError("bundle.files", limit=MAX_FILES)
    files, left = dict[str, bytes](), MAX_BUNDLE_BYTES
    for _ in range(count):
        row = _row(packed, at)
        at = row.next
        if row.name.endswith("/"):
            continue
        left -= row.size
        if left < 0:
            raise InputError("bundle.size", limit=MAX_BUNDLE_BYTES)
        if row.name in files:
            raise InputError("bundle.twice", name=row.name)
        if len(files) == MAX_FILES:
            raise InputError("bundle.files", limit=MAX_FILES)
        files[row.name] = _unpacked(row)
    if at != end:
        raise InputError("bundle.format")
    return files


def _row(packed: bytes, at: int) -> _Row:
    """Read a row of the list, and find what it is of; its name stands there once more."""
    mark, (flags, method, crc, length, size, *sizes, attributes, start) = _read(_ROW, packed, at)
    ends = at + _ROW.size
    name = packed[ends : ends + sizes[0]]
    head, spaces = _read(_HEAD, packed, start)
    again = start + _HEAD.size
    body = again + sum(spaces)
    # No copy of all that follows, for each row.
    is_same = (mark, head) == (_ROW_MARK, _HEAD_MARK) and packed[again : again + spaces[0]] == name
    if not is_same or flags & ~_FLAGS or method not in (_STORED, _DEFLATED) or not name:
        raise InputError("bundle.format")
    if not name.endswith(b"/") and attributes >> 28 not in (0, _REGULAR):
        raise InputError("bundle.link")
    content = packed[body : body + length]
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise InputError("bundle.format") from error
    if len(content) != length:
        raise InputError("bundle.format")
    return _Row(text, content, method, size, crc, ends + sum(sizes))


def _unpacked(row: _Row) -> bytes:
    """Unpack a file; what it is said to be is not believed, and no more is unpacked than that."""
    content = row.packed
    if row.method == _DEFLATED:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = stream.decompress(row.packed, row.size + 1)
        except zlib.error as error:
            raise InputError("bundle.format") from error
        if not stream.eof or stream.unused_data:
            raise InputError("bundle.format")
    if len(content) != row.size or zlib.crc32(content) != row.crc:
        raise InputError("bundle.format")
    return content


def _read(form: struct.Struct, packed: bytes, at: int) -> tuple[bytes, list[int]]:
    """Read mark and numbers of a piece; raises `InputError` ``bundle.format`` where there is no room for it."""
    if not 0 <= at <= len(packed) - form.size:
        raise InputError("bundle.format")
    mark, *numbers = form.unpack_from(packed, at)
    return mark, numbers


def bounded(files: Iterator[tuple[str, Callable[[int], bytes]]]) -> dict[str, bytes]:
    """Read files until a bound is passed; each is given how much may be read of it.

    Raises:
        InputError: ``bundle.size``, ``bundle.files``.
    """
    found: dict[str, bytes] = {}
    left = MAX_BUNDLE_BYTES
    for name, read in files:
        if len(found) == MAX_FILES:
            raise InputError("bundle.files", limit=MAX_FILES)
        content = read(left + 1)
        left -= len(content)
        if left < 0:
            raise InputError("bundle.size", limit=MAX_BUNDLE_BYTES)
        found[name] = content
    return found
