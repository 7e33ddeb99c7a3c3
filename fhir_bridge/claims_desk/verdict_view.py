"""A verdict as a page shows it: seven lines, each with its colour, one sentence, and all that was found. Pure.

Keeps true: what is shown follows from the verdict alone, so that the page says what the command and the file say;
colours are told in words as well; organisations are named as the reader knows them.
Source: `docs/spec/claim-verdict.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo

from medchain.claims.verdict_words import COLOURS, LINES, sentence
from medchain.ledger.evidence.verdict import Finding, Line, worst


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """One thing that was found.

    Attributes:
        code: of the finding.
        colour: how good it is.
        sentence: in the reader's language.
        items: numbers of the items of the bundle that show it.
    """

    code: str
    colour: str
    sentence: str
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShownLine:
    """One line of a verdict.

    Attributes:
        line: which.
        name: in the reader's language.
        colour: how good it is.
        word: the colour in words.
        sentence: of the worst finding; empty where nothing was found.
        findings: all of them, the worst first.
    """

    line: str
    name: str
    colour: str
    word: str
    sentence: str
    findings: tuple[ShownFinding, ...]


def shown_lines(
    findings: Iterable[Finding], language: str, name: Callable[[str], str], zone: tzinfo = UTC
) -> list[ShownLine]:
    """Show the lines of a verdict.

    Args:
        findings: of the verdict, in its order.
        language: ``zh``; anything else is English.
        name: names an organisation by its org_id.
        zone: in which hours are shown.
    """
    at = 0 if language == "zh" else 1
    lines, listed = [], tuple(findings)
    for line in Line:
        own = [one for one in listed if one.line is line]
        found = tuple(shown_finding(one, language, name, zone) for one in own)
        colour = worst(own).value
        said = found[0].sentence if found else ""
        lines.append(ShownLine(line.value, LINES[line.value][at], colour, COLOURS[colour][at], said, found))
    return lines


def shown_finding(finding: Finding, language: str, name: Callable[[str], str], zone: tzinfo = UTC) -> ShownFinding:
    """Show one thing that was found; arguments as of `shown_lines`."""
    return ShownFinding(finding.code, finding.colour.value, sentence(finding, language, name, zone), finding.items)
