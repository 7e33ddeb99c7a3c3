"""Every finding has a sentence in both languages, and all who read it read the same."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from medchain.claims.verdict_words import COLOURS, LINES, OF_NOBODY, SENTENCES, names_in, sentence
from medchain.ledger.evidence.lines.consent import NOBODY
from medchain.ledger.evidence.verdict import CODES, Colour, Finding, Line

COUNTS = ("all", "cited", "count", "days", "encounters", "versions")
NAMED = {"event": 0, "entered": 0, "first": 0, "hospital": "H", "last": 0, "reference": "Condition/d1"}
COUNTED = {
    "complete.counts": (
        "There is 1 record of 1 encounter; 1 is shown.",
        "There are 2 records of 2 encounters; 2 are shown.",
    ),
    "flags.altered": ("1 record was altered after the claim.", "2 records were altered after the claim."),
    "flags.emergency": (
        "H has 1 emergency access without consent of shortly before the claim, the last at a time that is not shown.",
        "H has 2 emergency accesses without consent of shortly before the claim, the last at a time that is not shown.",
    ),
    "flags.overlap": ("1 other stay at H overlaps these days.", "2 other stays at H overlap these days."),
    "source.before_joining": (
        "1 record of H tells of what was before it joined: when it was entered only the hospital says.",
        "2 records of H tell of what was before it joined: when they were entered only the hospital says.",
    ),
    "source.late": ("registered 1 day later", "registered 2 days later"),
    "source.registered": ("1 record of H is registered", "2 records of H are registered"),
    "source.taken": (
        "1 record that the claim cites without an address is taken for that of H with the same name",
        "2 records that the claim cites without an address are taken for those of H with the same names",
    ),
    "unaltered.corrected": ("it has 1 version.", "it has 2 versions."),
    "unaltered.same": (
        "1 record has had one version since it was registered.",
        "2 records have had one version since they were registered.",
    ),
}
SPEC = (Path(__file__).parents[4] / "docs/spec/claim-verdict.md").read_text()


def test_every_code_line_and_colour_has_words():
    assert SENTENCES.keys() == CODES.keys()
    assert COLOURS.keys() == {*Colour}
    assert LINES.keys() == {*Line}


@pytest.mark.parametrize("code", sorted(CODES))
def test_both_languages_name_the_same_arguments(code):
    chinese, english = (set(re.findall(r"{([a-z]+)[:}]", text)) for text in SENTENCES[code])
    assert chinese == english


def test_every_sentence_that_counts_is_looked_at_here():
    counting = {code for code, (_, said) in SENTENCES.items() if any(f"{{{one}}}" in said for one in COUNTS)}
    assert counting == COUNTED.keys()


@pytest.mark.parametrize("code", sorted(COUNTED))
def test_one_is_told_from_many(code):
    for number, said in zip((1, 2), COUNTED[code], strict=True):
        assert said in sentence(Finding(code, NAMED | dict.fromkeys(COUNTS, number)), "en")


def test_organisations_are_called_by_their_names():
    late = Finding("source.standing", {"hospital": "renhe-hospital"})
    names = {"renhe-hospital": {"en": "Renhe Hospital", "zh": "仁和医院"}, "x": {"de": "X-Klinik"}}
    assert sentence(late, "zh", names_in(names, "zh")) == "仁和医院现已被暂停或除名。"
    assert sentence(late, "en", names_in(names, "en")) == "Renhe Hospital is suspended or removed now."
    assert [names_in(names, "en")(one) for one in ("x", "y")] == ["X-Klinik", "y"]


def test_records_are_called_as_the_field_calls_them():
    missing = Finding("source.missing", {"hospital": "h", "reference": "DiagnosticReport/r1"})
    assert sentence(missing, "zh") == "索赔引用的诊断报告 r1（h）没有出示，或不在账本上。"
    assert "DiagnosticReport/r1 of h is cited" in sentence(missing, "en")
    away = Finding("source.outside", {"reference": "https://a.example/fhir/Encounter/e1"})
    assert "https://a.example/fhir/Encounter/e1" in sentence(away, "zh")
    others = Finding("complete.others", {"types": "Encounter 1, Observation 12, …"})
    assert sentence(others, "zh") == "未出示的另有：就诊 1 份、检验与观察 12 份、…。"
    assert sentence(others, "en") == "Not shown are: Encounter 1, Observation 12, …."


@pytest.mark.parametrize("code", sorted(OF_NOBODY))
def test_where_no_hospital_discloses_none_is_named(code):
    finding = Finding(code, {"hospital": NOBODY, "names": "emergency_accesses"})
    assert "–" not in sentence(finding, "zh", {}.__getitem__) + sentence(finding, "en", {}.__getitem__)


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_stands_in_the_specification_with_its_colour(code):
    line, _, name = code.partition(".")
    table = SPEC[SPEC.index("| line | code |") :]
    rows = table[table.index(f"\n| {line} |") :].split("\n")[1:]
    own = [rows[0], *takewhile(lambda row: row.startswith("| |"), rows[1:])]
    (row,) = (row for row in own if f"`{name}`" in row.split("|")[2])
    assert row.split("|")[3].strip() == CODES[code]


def test_a_sentence_has_instants_with_their_zone_and_amounts_with_their_digits():
    late = Finding(
        "source.late", {"days": 320, "entered": 1_733_215_260, "event": 0, "hospital": "h", "reference": "A/1"}
    )
    said = sentence(late, "en")
    assert "it is of a time that is not shown, and was entered" in said
    assert said.endswith("320 days later, at 3 Dec 2024, 08:41 UTC.")
    assert "320 天后（2024年12月3日 08:41 UTC）才录入" in sentence(late, "zh")
    # Shanghai is eight hours ahead (IANA).
    assert "320 天后（2024年12月3日 16:41 UTC+8）才录入" in sentence(late, "zh", zone=ZoneInfo("Asia/Shanghai"))
    total = Finding("complete.total", {"amount": 842_280, "currency": "CNY"})
    assert sentence(total, "zh") == "索赔金额 8,422.80 元 与医院票据一致。"
    assert sentence(total, "en") == "The claim of 8,422.80 CNY is what the hospital's invoices say."
    odd = Finding("complete.total", {"amount": 5, "currency": "?"})
    assert "5 ?" in sentence(odd, "en")
    far = Finding("consent.ended", {"hospital": "h", "when": 2**53 - 1})
    assert str(2**53 - 1) in sentence(far, "en")


def test_what_no_hospital_says_is_named():
    unsaid = Finding("flags.unknown", {"hospital": NOBODY, "names": "emergency_accesses"})
    assert sentence(unsaid, "en") == "Of these no hospital says anything: emergency accesses."


def test_days_are_written_as_people_write_them():
    covered = Finding("coverage.covered", {"first": "2025-08-31", "last": "2025-09-06"})
    assert sentence(covered, "zh") == "服务日期 2025年8月31日 至 2025年9月6日 在保障期内，且已过等待期。"
    assert "The services of 31 Aug 2025 to 6 Sep 2025 are" in sentence(covered, "en")
    assert "2025-13-01" in sentence(Finding("flags.after_death", {"day": "2025-13-01"}), "en")


def test_names_of_ours_have_words():
    consent = Finding("consent.in_force", {"hospital": "h", "rule": "one-claim", "signed": "passkey", "version": 1})
    signed = "患者本人通行密钥签署，由背书成员核验"
    assert sentence(consent, "zh") == f"h依据有效授权（第 1 版，仅限本次索赔，{signed}）提供。"
    unknown = Finding("flags.unknown", {"hospital": "h", "names": "emergency_accesses, overlapping_stays"})
    assert sentence(unknown, "en") == "h does not say of these days: emergency accesses, overlapping stays."
