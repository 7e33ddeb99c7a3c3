"""The form of index values, and what is shared by those who make them.

Keeps true: a cell is a plain tuple, ready to be written. Trusts nothing.
Source: `docs/spec/search-index.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TypeAlias

Cell: TypeAlias = "tuple[int, str, str, int | float | None, int | float | None]"
"""Variant, key, detail, low, high."""

Cells: TypeAlias = "Iterable[Cell]"

Emit: TypeAlias = Callable[[object], Cells]
"""Makes the cells of a value."""


class Variant(IntEnum):
    """Which of its sides a parameter shows in a cell; added to the parameter's number."""

    MAIN = 0
    TEXT = 1
    """Token: words of a concept, for ``:text``."""
    OF_TYPE = 2
    """Token: identifier by its type, for ``:of-type``."""
    IDENTIFIER = 3
    """Reference: identifier of the target, for ``:identifier``."""
    CANONICAL = 4
    """Quantity: in UCUM's base units."""
    LONG = 5
    """Number, quantity: one that no double says to the last digit, as `fhir_bridge.search.exact` splits it."""
    LONG_CANONICAL = 6
    """Quantity: such a one in UCUM's base units."""
    LISTED = 7
    """Reference: what a List has and does not mark as deleted, for ``_list``."""


def string_of(value: object) -> str:
    """Take a text; empty for anything else."""
    return value if isinstance(value, str) else ""


def list_of(value: object) -> list[object]:
    """Take a list; empty for anything else."""
    return value if isinstance(value, list) else []
