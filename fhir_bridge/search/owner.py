"""Whose a row is: a number for the patient to whom the resource refers, by whichever parameter.

Rows of one parameter and key lie beside each other by it, so that a search within one patient finds them at once. Keeps
true: nothing is found by it alone: two patients may have one number, so it narrows what is looked at and decides
nothing. Pure.
Source: `docs/spec/search-index.md`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

NOBODY: Final = 0
"""Owner of what refers to no patient."""

SEVERAL: Final = -1
"""Owner of what refers to several, and of patients themselves.

Who looks for a patient by a number of his own has him by his id; new patients' rows lie one behind the other for it.
"""

_BYTES: Final = 3


@lru_cache(maxsize=4096)
def owner_of(key: str) -> int:
    """Make the number of a patient, from 1 to 2²⁴.

    Args:
        key: ``Patient/id``.
    """
    return 1 + int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest(), "big")
