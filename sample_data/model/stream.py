"""A seeded stream of choices, the same on every machine and in every Python version.

Keeps true: equal paths give equal choices; a child's choices do not depend on how much its parent or its siblings
drew, so a new patient or a new visit changes nobody else's data. It is for test data only and protects nothing.
Source: SHA-256 in counter mode; the bounded draw is by rejection.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, TypeVar

T = TypeVar("T")

_NAMESPACE: Final = uuid.UUID("6d656463-6861-5e69-8e00-73616d706c65")
_WORD_BITS: Final = 64


class Stream:
    """Deterministic choices under a path of labels.

    Args:
        path: seed first, then any labels; `Stream(1, "a")` and `Stream(1, "b")` are unrelated.
    """

    __slots__ = ("_counter", "_key", "_path")

    def __init__(self, *path: int | str) -> None:
        """Derive the key of this stream from its path."""
        self._path = path
        self._key = hashlib.sha256("\x1f".join(str(part) for part in path).encode()).digest()
        self._counter = 0

    def child(self, *labels: int | str) -> Stream:
        """Return the stream of a longer path, untouched by what this one has drawn."""
        return Stream(*self._path, *labels)

    def uuid(self, *labels: int | str) -> str:
        """Return the UUID (RFC 9562 version 5) that belongs to this path and these labels; draws nothing."""
        return str(uuid.uuid5(_NAMESPACE, "\x1f".join(str(part) for part in (*self._path, *labels))))

    def below(self, limit: int) -> int:
        """Draw an integer from 0 to ``limit`` - 1, each equally likely; ``limit`` is from 1 to 2^32."""
        # A word in the incomplete last multiple of the limit is drawn again, or small numbers would be likelier.
        usable = (1 << _WORD_BITS) // limit * limit
        while True:
            word = int.from_bytes(hashlib.sha256(self._key + self._counter.to_bytes(8, "big")).digest()[:8], "big")
            self._counter += 1
            if word < usable:
                return word % limit

    def between(self, low: int, high: int) -> int:
        """Draw an integer from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """Draw true in ``percent`` of 100 cases."""
        return self.below(100) < percent

    def choice(self, items: Sequence[T]) -> T:
        """Draw one of the items."""
        return items[self.below(len(items))]

    def decimal(self, low: str, high: str) -> Decimal:
        """Draw a number between two others, with the decimal places of ``low``; trailing zeros stay (``5.60``).

        Args:
            low: lower bound as it is to be written, such as ``3.90``, or with an exponent, such as ``1.20E+4``.
            high: upper bound with the same number of places and the same exponent.

        Returns:
            A number of exactly those places.
        """
        first, last = Decimal(low), Decimal(high)
        _, _, exponent = first.as_tuple()
        places = int(exponent)
        steps = self.between(int(first.scaleb(-places)), int(last.scaleb(-places)))
        return Decimal(steps).scaleb(places)
