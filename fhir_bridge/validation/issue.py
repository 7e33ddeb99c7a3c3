"""What is wrong with a resource, and where.

Keeps true: an issue names places and rules of FHIR, never a value or a name that the sender wrote. Trusts nothing.
Source: FHIR R4 OperationOutcome; http://hl7.org/fhir/R4/valueset-issue-type.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

MAX_ISSUES: Final = 50
"""Most issues told of one resource: nobody reads more."""


class Rule(StrEnum):
    """What was broken; the last part of our stable code."""

    UNKNOWN_ELEMENT = "unknown_element"
    SHAPE = "shape"
    EMPTY = "empty"
    CHOICE = "choice"
    VALUE = "value"
    TYPE = "type"
    REQUIRED = "required"
    CARDINALITY = "cardinality"
    CODE = "code"
    INVARIANT = "invariant"
    NARRATIVE = "narrative"
    REFERENCE = "reference"
    PROFILE = "profile"
    OPINION = "opinion"


class Step(NamedTuple):
    """A place in a resource, as a chain from the inside out: cheap to make for every element, written for few.

    Attributes:
        parent: of it, None for the resource itself.
        name: of the element, or of the resource's type.
        place: position in its array, -1 for none.
    """

    parent: Step | None
    name: str
    place: int = -1

    def expression(self) -> str:
        """Write the place as FHIRPath, such as ``Patient.name[0].family``."""
        parts: list[str] = []
        step: Step | None = self
        while step is not None:
            parts.append(step.name if step.place < 0 else f"{step.name}[{step.place}]")
            step = step.parent
        return ".".join(reversed(parts))


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong.

    Attributes:
        rule: what was broken.
        expression: where, as FHIRPath.
        severity: ``error`` or ``warning``.
        expected: what would be right, in FHIR's own words: a type, a name, a value set's URL, an invariant's key.
    """

    rule: Rule
    expression: str
    severity: str = "error"
    expected: str = ""
