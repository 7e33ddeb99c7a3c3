"""What a version is found by, and how it is kept until many are merged into the index together: one row, one text.

Keeps true: what is read is what was written, to the last bit of a number, infinite ones included. Trusts the file: it
is encrypted and authenticated as a whole.
Source: `docs/spec/search-index.md`, `docs/adr/0035-index-rows-merged-in-bulk.md`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

Row: TypeAlias = "tuple[int, int, str, str, int | float | None, int | float | None]"
"""Parameter's number and variant in one, place, key, detail, low, high: `docs/spec/search-index.md`."""

Cell: TypeAlias = "Sequence[Any]"
"""The same with the detail's number where it is known, and 0 in place of no low or high; Any because members differ."""

_LOW: Final = 4


@dataclass(frozen=True, slots=True)
class IndexRows:
    """What a record version is found by.

    Attributes:
        rows: its rows; None if they are to be made later, by who can.
        updated: when it was last changed, microseconds since 1970; None for the moment at which it is stored.
        generation: state of the index for which they were made.
    """

    rows: Sequence[Row] | None
    updated: int | None = None
    generation: int = 0


def cells_of(rows: Sequence[Row], known: Mapping[str, int]) -> list[Cell]:
    """Put rows into the form in which they are kept.

    Args:
        rows: of one version.
        known: numbers of details that are in the file.
    """
    return [
        (number, place, key, known.get(text, text), 0.0 if low is None else low, 0.0 if high is None else high)
        for number, place, key, text, low, high in rows
    ]


def encode(index: IndexRows | None, known: Mapping[str, int]) -> bytes:
    """Write what a version is found by.

    Args:
        index: its rows.
        known: numbers of details that are in the file.

    Returns:
        JSON: (time of the last change, cells); empty where it is found by nothing, or is to get rows later.
    """
    if index is None or index.rows is None:
        return b""
    return orjson.dumps((index.updated, [_finite(cell) for cell in cells_of(index.rows, known)]))


def decode(content: bytes) -> tuple[int | None, list[Cell]] | None:
    """Read what `encode` wrote; None for nothing."""
    if not content:
        return None
    updated, cells = orjson.loads(content)
    return updated, [_infinite(cell) if isinstance(cell[_LOW], str) else cell for cell in cells]


def _finite(cell: Cell) -> Cell:
    """Write infinite numbers as text: JSON has none."""
    low, high = cell[_LOW:]
    if math.isfinite(low) and math.isfinite(high):
        return cell
    return (*cell[:_LOW], *(repr(float(value)) for value in (low, high)))


def _infinite(cell: Cell) -> Cell:
    """Read numbers that were written as text."""
    return (*cell[:_LOW], *map(float, cell[_LOW:]))
