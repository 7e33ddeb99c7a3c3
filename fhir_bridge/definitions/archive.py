"""Reads the files of `r4.zip`, one at a time.

Keeps true: nothing is unpacked before it is asked for; the list of its hundreds of files is read once. Trusts the
archive, which is part of the program.
Source: `docs/adr/0015-carried-definitions.md`.
"""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from medchain.errors import NotFoundError

_ARCHIVE: Final = Path(__file__).with_name("r4.zip")


def read(name: str) -> Any:  # noqa: ANN401  # JSON; the callers give it types
    """Read a file of the archive.

    Args:
        name: such as ``types/Patient.json``.

    Returns:
        Its JSON.

    Raises:
        NotFoundError: ``definitions.unknown``.
    """
    try:
        data = _archive().read(name)
    except KeyError as error:
        raise NotFoundError("definitions.unknown") from error
    return orjson.loads(data)


@cache
def _archive() -> zipfile.ZipFile:
    """Hold the archive in memory, packed: processes that fork later would share the place in an open file."""
    return zipfile.ZipFile(io.BytesIO(_ARCHIVE.read_bytes()))
