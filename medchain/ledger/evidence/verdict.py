"""The verdict of a claim: seven lines, each with findings and the items of the bundle that they stand on. Data alone.

Keeps true: a line is as bad as its worst finding, the verdict as its worst line; the same findings are the same bytes.
Pure. Trusts nothing that is parsed.
Source: `docs/spec/claim-verdict.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medchain.encoding import Json, canonical, members, parse_canonical, unhex
from medchain.errors import InputError
from medchain.ledger.kinds.content import count, short_text
from medchain.ledger.transaction import HASH_BYTES

VERDICT_FILE: Final = "verdict.json"
"""Name of the file in a bundle."""

VERDICT_TYPE: Final = "medchain/claim-verdict/v1"
"""Its type member, whose number is that of the rules (ADR 0090)."""

MAX_VERDICT_BYTES: Final = 8 * 1024 * 1024
"""Its largest size."""

MAX_LISTED: Final = 20
"""Most names in one argument; that there are more is said by `MORE`."""

MORE: Final = "…"
"""Stands in the place of what is not listed."""

_MALFORMED: Final = "verdict.malformed"
_MAX_TEXT: Final = 32_768
# The last member in canonical JSON; nothing else of a document of other rules can be read.
_RULES: Final = re.compile(rb'"type":"(medchain/claim-verdict/v[1-9][0-9]{0,8})"}\Z')


class Colour(StrEnum):
    """How good a finding is."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


_WORSE: Final = {Colour.GREEN: 0, Colour.AMBER: 1, Colour.RED: 2}


class Line(StrEnum):
    """What is asked of a claim, in the order of the verdict."""

    SOURCE = "source"
    UNALTERED = "unaltered"
    COMPLETE = "complete"
    CONSENT = "consent"
    UNCLAIMED = "unclaimed"
    COVERAGE = "coverage"
    FLAGS = "flags"


_GREEN, _AMBER, _RED = Colour.GREEN, Colour.AMBER, Colour.RED

CODES: Final[Mapping[str, Colour]] = {
    "source.registered": _GREEN,
    "source.before_joining": _GREEN,
    "source.late": _AMBER,
    "source.unsigned": _AMBER,
    "source.undated": _AMBER,
    "source.taken": _AMBER,
    "source.outside": _AMBER,
    "source.missing": _RED,
    "source.standing": _RED,
    "source.contradicted": _RED,
    "unaltered.same": _GREEN,
    "unaltered.corrected": _GREEN,
    "unaltered.none": _AMBER,
    "unaltered.uncompared": _AMBER,
    "unaltered.altered": _RED,
    "unaltered.deleted": _RED,
    "unaltered.held": _RED,
    "complete.counts": _GREEN,
    "complete.others": _GREEN,
    "complete.total": _GREEN,
    "complete.part": _GREEN,
    "complete.no_invoice": _AMBER,
    "complete.nothing_cited": _AMBER,
    "complete.lines": _AMBER,
    "complete.unknown": _AMBER,
    "complete.items_differ": _RED,
    "complete.total_differs": _RED,
    "consent.in_force": _GREEN,
    "consent.mandate": _GREEN,
    "consent.attested": _GREEN,
    "consent.ended": _AMBER,
    "consent.unshown": _AMBER,
    "consent.none": _RED,
    "consent.beyond": _RED,
    "consent.not_in_force": _RED,
    "consent.other_claim": _RED,
    "unclaimed.absent": _GREEN,
    "unclaimed.own": _GREEN,
    "unclaimed.enough": _AMBER,
    "unclaimed.own_before": _AMBER,
    "unclaimed.line": _AMBER,
    "unclaimed.unshown": _AMBER,
    "unclaimed.outside": _AMBER,
    "unclaimed.inactive": _AMBER,
    "unclaimed.unreachable": _AMBER,
    "unclaimed.stopped": _AMBER,
    "unclaimed.refused": _AMBER,
    "unclaimed.no_copy": _AMBER,
    "unclaimed.apart": _RED,
    "unclaimed.claimed": _RED,
    "unclaimed.missing": _RED,
    "unclaimed.refunded": _RED,
    "unclaimed.reversed": _RED,
    "unclaimed.unknown": _RED,
    "unclaimed.other_invoice": _RED,
    "coverage.covered": _GREEN,
    "coverage.unknown": _AMBER,
    "coverage.before": _RED,
    "coverage.after": _RED,
    "coverage.waiting": _RED,
    "coverage.standing": _RED,
    "flags.none": _GREEN,
    "flags.overlap": _AMBER,
    "flags.after_discharge": _AMBER,
    "flags.emergency": _AMBER,
    "flags.clock": _AMBER,
    "flags.inactive": _AMBER,
    "flags.unknown": _AMBER,
    "flags.after_death": _RED,
    "flags.altered": _RED,
    "flags.credential": _RED,
    "flags.other_amount": _RED,
}
"""Code of a finding → its colour. The part before the dot is its line."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: one of `CODES`.
        arguments: numbers and names that its sentence needs; instants are Unix seconds, amounts in smallest units.
        items: numbers of the items of the bundle that show it, sorted.
    """

    code: str
    arguments: Mapping[str, str | int]
    items: tuple[int, ...] = ()

    @property
    def colour(self) -> Colour:
        """How good it is."""
        return CODES[self.code]

    @property
    def line(self) -> Line:
        """Which line it is of."""
        return Line(self.code.partition(".")[0])

    @property
    def order(self) -> tuple[int, str, bytes, tuple[int, ...]]:
        """By what findings of a line are sorted: the worst first."""
        return -_WORSE[self.colour], self.code, canonical(dict(self.arguments)), self.items

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        return {
            "arguments": dict(self.arguments),
            "code": self.code,
            "colour": self.colour.value,
            "items": [*self.items],
        }


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """What was found of a claim.

    Attributes:
        claim: its digest, 32 bytes.
        insurer: org_id.
        position: of the state leaf that it is as of.
        time: of that state, Unix seconds.
        findings: in the order of the lines, and within a line in that of `Finding.order`.
    """

    claim: bytes
    insurer: str
    position: int
    time: int
    findings: tuple[Finding, ...]

    @property
    def colour(self) -> Colour:
        """The colour of the worst line; one of which nothing was found is amber."""
        return max((worst(self.of(line)) for line in Line), key=_WORSE.__getitem__)

    def of(self, line: Line) -> tuple[Finding, ...]:
        """Return the findings of a line."""
        return tuple(one for one in self.findings if one.line is line)

    def to_json(self) -> dict[str, Json]:
        """Write it."""
        lines: list[Json] = [
            {
                "colour": worst(self.of(line)).value,
                "findings": [one.to_json() for one in self.of(line)],
                "line": line.value,
            }
            for line in Line
        ]
        return {
            "as_of": {"position": self.position, "time": self.time},
            "claim": self.claim.hex(),
            "colour": self.colour.value,
            "insurer": self.insurer,
            "lines": lines,
            "type": VERDICT_TYPE,
        }

    def encode(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical(self.to_json())


def is_of_other_rules(document: bytes) -> bool:
    """Tell whether ``verdict.json``, as it came, says that it follows from rules of another number than ours."""
    found = _RULES.search(document)
    return found is not None and found[1].decode() != VERDICT_TYPE


def made_verdict(claim: bytes, insurer: str, position: int, time: int, found: Iterable[Finding]) -> ClaimVerdict:
    """Make a verdict of findings in any order; the same finding twice is one."""
    listed = {one.order: one for one in found}
    places = [*Line]
    ordered = sorted(listed.values(), key=lambda one: (places.index(one.line), one.order))
    return ClaimVerdict(claim, insurer, position, time, tuple(ordered))


def worst(findings: Iterable[Finding]) -> Colour:
    """Return the colour of the worst finding; of none it is amber: of what nothing is known nothing is vouched for."""
    return max((one.colour for one in findings), key=_WORSE.__getitem__, default=Colour.AMBER)


def listed(names: Iterable[str]) -> str:
    """Write names in one argument: sorted, each once, at most `MAX_LISTED`."""
    known = sorted(set(names))
    return ", ".join([*known[:MAX_LISTED], *([MORE] if len(known) > MAX_LISTED else [])])


def parse_verdict(document: bytes) -> ClaimVerdict:
    """Read a verdict strictly; whether it is that of a bundle says only who judges anew.

    Raises:
        InputError: ``verdict.malformed``, ``encoding.*``, ``content.*``.
    """
    value = parse_canonical(document, max_bytes=MAX_VERDICT_BYTES)
    top = members(value, {**dict.fromkeys(("claim", "colour", "insurer", "type"), str), "as_of": dict, "lines": list})
    as_of = members(top["as_of"], {"position": int, "time": int})
    rows = top["lines"] if isinstance(top["lines"], list) else []
    found = [_finding(one) for row in rows for one in _findings(row)]
    position, time = count(as_of["position"]), count(as_of["time"])
    verdict = made_verdict(unhex(top["claim"], HASH_BYTES), short_text(top["insurer"]), position, time, found)
    if verdict.encode() != document:
        # Colours, order and lines all follow from the findings.
        raise InputError(_MALFORMED)
    return verdict


def _findings(row: Json) -> list[Json]:
    """Take the findings of a line."""
    found = members(row, {"colour": str, "findings": list, "line": str})["findings"]
    return found if isinstance(found, list) else []


def _finding(value: Json) -> Finding:
    """Read a finding."""
    top = members(value, {"arguments": dict, "code": str, "colour": str, "items": list})
    arguments, items, code = top["arguments"], top["items"], str(top["code"])
    told = {} if not isinstance(arguments, dict) else {name: _argument(one) for name, one in arguments.items()}
    numbers = tuple(count(one) for one in items) if isinstance(items, list) else ()
    if code not in CODES or list(numbers) != sorted(set(numbers)):
        raise InputError(_MALFORMED, member="code")
    return Finding(code, told, numbers)


def _argument(value: Json) -> str | int:
    """Read an argument."""
    if type(value) is int or (type(value) is str and len(value) <= _MAX_TEXT):
        return value
    raise InputError(_MALFORMED, member="arguments")
