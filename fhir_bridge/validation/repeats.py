"""Values that stand again and again in the resources of one request, each judged once.

A patient's Bundle says the same code, reference or period dozens of times; two thirds of all that its resources hold
stand in such values. Keeps true: a value is passed over only where one of the same bytes was found right at the same
place of a resource without any fault, under every rule of its element; what points into its own resource, and so is
right in one and wrong in another, is judged each time. It is bounded, and forgotten with its request, so that nobody's
values are kept, and no request's time tells of another's. Trusts that the rules of the types here look at nothing
outside of the value but what it points to (a test looks at HL7's).
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.document import Element, write

REPEATED_TYPES: Final = frozenset(
    {"CodeableConcept", "Coding", "Extension", "Identifier", "Meta", "Period", "Quantity", "Reference"}
)
"""Types of small values that mostly stand in more than one resource of a Bundle."""

MAX_VALUES: Final = 20_000
"""Most values that are kept."""

MAX_VALUE_BYTES: Final = 1_024
"""Largest value that is kept, as JSON."""

_INWARD: Final = b'"#'


class Repeats:
    """The values of one request. One thread uses it."""

    __slots__ = ("_known", "_new", "_passed")

    def __init__(self) -> None:
        """Begin with none."""
        self._known: set[tuple[str, bytes]] = set()
        self._new: list[tuple[str, bytes]] = []
        self._passed: set[int] = set()

    def begin(self) -> None:
        """Turn to the next resource."""
        self._new.clear()
        self._passed.clear()

    def is_right(self, place: str, value: Element) -> bool:
        """Tell whether a value was found right at a place; if not, note it until the resource is judged.

        Args:
            place: of the element, its type's rules included.
            value: an object of the resource at hand.
        """
        text = write(value)
        named = (place, text)
        if named in self._known:
            self._passed.add(id(value))
            return True
        if len(text) <= MAX_VALUE_BYTES and _INWARD not in text:
            self._new.append(named)
        return False

    def was_passed(self, value: Element) -> bool:
        """Tell whether an object of the resource at hand was found right before."""
        return id(value) in self._passed

    def found_right(self) -> None:
        """Keep the values of the resource at hand, which has no fault."""
        if len(self._known) + len(self._new) <= MAX_VALUES:
            self._known.update(self._new)
