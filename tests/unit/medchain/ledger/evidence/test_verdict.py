"""Verdicts: as bad as the worst finding, and one spelling for the same findings."""

from __future__ import annotations

import pytest

from medchain.encoding import canonical, parse_canonical
from medchain.errors import InputError
from medchain.ledger.evidence.verdict import (
    CODES,
    Colour,
    Finding,
    Line,
    listed,
    made_verdict,
    parse_verdict,
    worst,
)

GOOD = Finding("source.registered", {"count": 2, "first": 1, "hospital": "renhe", "last": 2}, (0, 1))
LATE = Finding("source.late", {"days": 40, "entered": 9, "event": 1, "hospital": "renhe", "reference": "A/1"}, (2,))
GONE = Finding("source.missing", {"hospital": "renhe", "reference": "A/2"})
FLAG = Finding("flags.none", {})


def verdict(*found: Finding):
    return made_verdict(b"\1" * 32, "anxin", 8, 1_796_083_500, found)


def test_a_line_is_as_bad_as_its_worst_finding_and_the_verdict_as_its_worst_line():
    each = [
        Finding(next(code for code in sorted(CODES) if code.startswith(f"{line}.") and CODES[code] is Colour.GREEN), {})
        for line in Line
    ]
    assert [verdict(*each).colour, verdict(*each, LATE).colour] == [Colour.GREEN, Colour.AMBER]
    document = verdict(FLAG, GOOD, GONE, LATE).to_json()
    assert document["colour"] == "red"
    assert [row["line"] for row in document["lines"]] == [line.value for line in Line]
    assert [one["code"] for one in document["lines"][0]["findings"]] == [
        "source.missing",
        "source.late",
        "source.registered",
    ]
    assert document["lines"][6]["colour"] == "green"


def test_of_what_nothing_was_found_nothing_is_vouched_for():
    assert worst(()) is Colour.AMBER
    # Nor of the whole, where a line is empty.
    assert verdict(GOOD).colour is Colour.AMBER


def test_the_order_in_which_things_are_found_does_not_matter():
    assert verdict(GOOD, LATE, LATE).encode() == verdict(LATE, GOOD).encode()


def test_a_verdict_is_read_again():
    made = verdict(GOOD, LATE, GONE, FLAG)
    assert parse_verdict(made.encode()) == made


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(colour="green"),
        lambda d: d.update(more=1),
        lambda d: d["lines"].pop(),
        lambda d: d["lines"].reverse(),
        lambda d: d.update(lines=7),
        lambda d: d["lines"][0].update(findings=7),
        lambda d: d["lines"][0].update(colour="green"),
        lambda d: d["lines"][0]["findings"].reverse(),
        lambda d: d["lines"][0]["findings"][0].update(colour="green"),
        lambda d: d["lines"][0]["findings"][0].update(code="source.fine"),
        lambda d: d["lines"][0]["findings"][0].update(items=[2, 1]),
        lambda d: d["lines"][0]["findings"][0].update(arguments={"reference": ["A/1"]}),
        lambda d: d["lines"][0]["findings"][0].update(arguments={"reference": "x" * 40_000}),
        lambda d: d.update(type="medchain/claim-verdict/v2"),
    ],
)
def test_what_is_no_verdict_is_refused(spoil):
    document = parse_canonical(verdict(GOOD, LATE, GONE, FLAG).encode(), max_bytes=1 << 20)
    spoil(document)
    with pytest.raises(InputError):
        parse_verdict(canonical(document))


def test_names_in_one_argument_are_sorted_and_bounded():
    assert listed(["b", "a", "b"]) == "a, b"
    assert listed(f"{n:02}" for n in range(21)).endswith("18, 19, …")


def test_every_code_is_of_a_line():
    assert {code.partition(".")[0] for code in CODES} == {line.value for line in Line}
