"""Proof bundles as zip files: read within the bounds of `docs/spec/proof-bundle.md` 1.

Keeps true: size and number of files are bounded before and after they are unpacked; a name stands once; a link is none.
Trusts nothing that is read.
Source: `docs/spec/proof-bundle.md` 1.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from medchain.errors import InputError
from medchain.ledger.bundle import MAX_BUNDLE_BYTES, MAX_FILES

MAX_ZIP_BYTES: Final = MAX_BUNDLE_BYTES + (1 << 20)
"""Largest zip: files are smaller packed than not, but for names and dates."""

# The mark of a row may be in a file's bytes by chance.
_ZIP_ROW: Final = b"PK\x01\x02"
# The kind of a file in the upper bits of a zip's Unix mode; 0 where the zip tells none.
_REGULAR: Final = 0x8
# Of others zipfile unpacks a whole file before it asks how much of it is wanted.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    zlib.error,
)
"""What zipfile raises for damaged archives: beside its own errors, those of what it calls."""


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
    # zipfile makes an object of each row of the list of files before it can be asked how many there are.
    if packed.count(_ZIP_ROW) > 2 * MAX_FILES:
        raise InputError("bundle.files", limit=MAX_FILES)
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            return bounded(_zip_files(archive))
    except _ZIP_ERRORS as error:
        raise InputError("bundle.format") from error


def _zip_files(archive: zipfile.ZipFile) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """List a zip's files; the declared size is not believed."""
    seen: set[str] = set()
    for item in archive.infolist():
        if item.is_dir():
            continue
        if item.filename in seen:
            raise InputError("bundle.twice", name=item.filename)
        if item.external_attr >> 28 not in (0, _REGULAR):
            raise InputError("bundle.link", name=item.filename)
        if item.compress_type not in _METHODS:
            raise InputError("bundle.format")
        seen.add(item.filename)
        yield item.filename, lambda limit, item=item: _unzipped(archive, item, limit)  # type: ignore[misc]  # the default binds the item


def _unzipped(archive: zipfile.ZipFile, item: zipfile.ZipInfo, limit: int) -> bytes:
    """Unpack so much of a file."""
    with archive.open(item) as file:
        return file.read(limit)


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
