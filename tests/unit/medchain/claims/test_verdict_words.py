"""Every finding has a sentence in both languages, and all who read it read the same."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import pytest

from medchain.claims.verdict_words import COLOURS, LINES, SENTENCES, sentence
from medchain.ledger.evidence.verdict import CODES, Colour, Finding, Line

SPEC = (Path(__file__).parents[4] / "docs/spec/claim-verdict.md").read_text()


def test_every_code_line_and_colour_has_words():
    assert SENTENCES.keys() == CODES.keys()
    assert COLOURS.keys() == {*Colour}
    assert LINES.keys() == {*Line}


@pytest.mark.parametrize("code", sorted(CODES))
def test_both_languages_name_the_same_arguments(code):
    chinese, english = (set(re.findall(r"{([a-z]+)}", text)) for text in SENTENCES[code])
    assert chinese == english


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_stands_in_the_specification_with_its_colour(code):
    line, _, name = code.partition(".")
    table = SPEC[SPEC.index("| line | code |") :]
    rows = table[table.index(f"\n| {line} |") :].split("\n")[1:]
    own = [rows[0], *takewhile(lambda row: row.startswith("| |"), rows[1:])]
    (row,) = (row for row in own if f"`{name}`" in row.split("|")[2])
    assert row.split("|")[3].strip() == CODES[code]


def test_a_sentence_has_instants_in_utc_and_amounts_with_their_digits():
    late = Finding(
        "source.late", {"days": 320, "entered": 1_733_215_260, "event": 0, "hospital": "h", "reference": "A/1"}
    )
    said = sentence(late, "en")
    assert "of at a time that is not shown, entered" in said
    assert said.endswith("320 days later, at 2024-12-03 08:41 UTC.")
    total = Finding("complete.total", {"amount": 842_280, "currency": "CNY"})
    assert sentence(total, "zh") == "索赔金额 8422.80 CNY 与医院票据一致。"
    odd = Finding("complete.total", {"amount": 5, "currency": "?"})
    assert "5 ?" in sentence(odd, "en")
    far = Finding("consent.ended", {"hospital": "h", "when": 2**53 - 1})
    assert str(2**53 - 1) in sentence(far, "en")


def test_names_of_ours_have_words():
    consent = Finding("consent.in_force", {"hospital": "h", "rule": "one-claim", "signed": "passkey", "version": 1})
    assert sentence(consent, "zh") == "h 依据有效授权（第 1 版，仅限本次索赔，患者本人通行密钥签署）提供。"
    unknown = Finding("flags.unknown", {"hospital": "h", "names": "emergency_accesses, overlapping_stays"})
    assert sentence(unknown, "en") == "h does not say: emergency accesses, overlapping stays."
