"""What is wrong with a resource, and where.

Keeps true: an issue names places and rules of FHIR, never a value that the sender wrote; of names, the one of an
element that R4 does not know, where it is written as FHIR writes names, and only for the sender. Trusts nothing.
Source: FHIR R4 OperationOutcome; http://hl7.org/fhir/R4/valueset-issue-type.html.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_ISSUES: Final = 50
"""Most issues told of one resource: nobody reads more."""


class Rule(StrEnum):
    """What was broken; the last part of our stable code."""

    UNKNOWN_ELEMENT = "unknown_element"
    SHAPE = "shape"
    SINGLE = "single"
    ORDER = "order"
    EMPTY = "empty"
    CHOICE = "choice"
    VALUE = "value"
    CONTENT = "content"
    TYPE = "type"
    DUPLICATE = "duplicate"
    REQUIRED = "required"
    CARDINALITY = "cardinality"
    CODE = "code"
    INVARIANT = "invariant"
    NARRATIVE = "narrative"
    REFERENCE = "reference"
    LITERAL = "literal"
    ABSENT = "absent"
    EXPRESSION = "expression"
    NOWHERE = "nowhere"
    UNUSED = "unused"
    CLAIM = "claim"
    PROFILE = "profile"
    PART = "part"
    OPINION = "opinion"
    COSTLY = "costly"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong.

    Attributes:
        rule: what was broken.
        expression: where, as FHIRPath.
        severity: ``error`` or ``warning``.
        expected: what would be right, in FHIR's own words: a type, a name, a value set's URL, an invariant's key.
        name: of an element that R4 does not know, as it was sent; for the answer to its sender and nothing else.
    """

    rule: Rule
    expression: str
    severity: str = "error"
    expected: str = ""
    name: str = field(default="", repr=False)


class Finding:
    """An issue whose place is still being told, from the inside out: what is right costs nothing for it.

    Attributes:
        rule: what was broken.
        severity: ``error`` or ``warning``.
        expected: what would be right.
        name: of an element that R4 does not know.
    """

    __slots__ = ("_steps", "expected", "name", "rule", "severity")

    def __init__(self, rule: Rule, expected: str = "", severity: str = "error", name: str = "") -> None:
        """Find something here."""
        self.rule = rule
        self.expected = expected
        self.severity = severity
        self.name = name
        self._steps: list[str] = []

    def issue(self, top: str) -> Issue:
        """Tell it, now that its place is known, such as ``Patient.name[0].family``.

        Args:
            top: name of the resource's type.
        """
        return Issue(self.rule, ".".join([top, *reversed(self._steps)]), self.severity, self.expected, self.name)

    def within(self, step: str) -> None:
        """Say in which element it was found."""
        self._steps.append(step)


def locate(found: list[Finding], before: int, step: str) -> bool:
    """Say of what was found last in which element it is.

    Args:
        found: all that was found.
        before: how much of it there was before that element.
        step: the element, with its position if it is one of several.

    Returns:
        Whether enough was found: then nothing more is looked at.
    """
    for one in found[before:]:
        one.within(step)
    return len(found) >= MAX_ISSUES
