"""verify.html words every finding as the command does, run by Node.js."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from medchain.claims.verdict_words import INSTANTS, MONEY, SENTENCES, names_in, sentence
from medchain.commands.command import visible
from medchain.ledger.evidence.lines.consent import NOBODY
from medchain.ledger.evidence.verdict import Finding
from tests.verify.assemble import words

HARNESS = """import { Wording } from "./wording.mjs";
import { readFileSync } from "node:fs";
const { findings, names, words } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const amountText = ({ currency, minor }) => {
  if (currency === "JPY") return String(minor);
  if (currency !== "CNY") throw new Error();
  return `${Math.floor(minor / 100)}.${String(minor % 100).padStart(2, "0")}`;
};
const told = ["zh", "en"].map((language) => {
  const wording = new Wording(words, language, new Map(Object.entries(names)), amountText);
  return findings.map(([code, values]) => wording.sentence(code, values));
});
console.log(JSON.stringify(told));
"""
NAMES = {"h": {"en": "Renhe Hospital", "zh": "仁和医院"}, "x": {"de": "X-Klinik"}}
TEXTS = {
    "day": "2025-09-06",
    "end": "2025-13-01",
    "fields": "/code, /status",
    "first": "2025-08-31",
    "hospital": "h",
    "last": "2025-09-06",
    "names": "emergency_accesses, overlapping_stays",
    "reference": "DiagnosticReport/r1",
    "rule": "one-claim",
    "signed": "passkey",
    "start": "soon",
    "types": "Encounter 1, Observation 12, Unheard 3, …",
    "until": "2025-10-01",
}
ODD = [
    Finding("complete.total", {"amount": 5, "currency": "?"}),
    Finding("complete.total", {"amount": 5, "currency": "constructor"}),
    *(Finding("complete.total", {"amount": one, "currency": "CNY"}) for one in (0, 5, 99_999, 100_000, 10**15)),
    *(Finding("complete.total", {"amount": one, "currency": "JPY"}) for one in (0, 999, 1_000, 10**15)),
    Finding("consent.ended", {"hospital": "x", "when": 0}),
    Finding("consent.ended", {"hospital": "y", "when": 2**53 - 1}),
    Finding("consent.none", {"hospital": NOBODY}),
    Finding("flags.unknown", {"hospital": NOBODY, "names": "alive_on"}),
    Finding("source.outside", {"reference": "https://a.example/fhir/Encounter/{hospital}"}),
    Finding("source.outside", {"reference": "constructor/toString"}),
]

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


def findings() -> list[Finding]:
    """Give each code with arguments of which one, and then several, are counted."""
    made = []
    for number in (1, 2, 1_796_083_200):
        for code, (said, _) in SENTENCES.items():
            names = set(re.findall(r"{([a-z]+)[:}]", said))
            values = {name: TEXTS.get(name, number) for name in names}
            if names & MONEY:
                values["currency"] = "CNY"
            if code == "source.registered" or names & INSTANTS:
                values |= dict.fromkeys(names & {"first", "last"}, number)
            made.append(Finding(code, values))
    return [*made, *ODD]


def run(tmp_path: Path, harness: str, given: object) -> Any:  # noqa: ANN401  # as JSON comes
    """Run a harness beside the page's words."""
    (tmp_path / "harness.mjs").write_text(harness)
    script = files("medchain.web") / "static" / "verify" / "wording.js"
    (tmp_path / "wording.mjs").write_text(script.read_text("utf-8"), "utf-8")
    (tmp_path / "given.json").write_text(json.dumps(given))
    done = subprocess.run(
        ["node", str(tmp_path / "harness.mjs"), str(tmp_path / "given.json")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_words_every_finding_as_the_command_does(tmp_path):
    given = {"findings": [[one.code, dict(one.arguments)] for one in findings()], "names": NAMES, "words": words()}
    for language, told in zip(("zh", "en"), run(tmp_path, HARNESS, given), strict=True):
        assert told == [sentence(one, language, names_in(NAMES, language)) for one in findings()]


def test_attack_characters_that_a_page_would_obey_are_shown_as_the_command_shows_them(tmp_path):
    harness = """import { visible } from "./wording.mjs";
import { readFileSync } from "node:fs";
console.log(JSON.stringify(JSON.parse(readFileSync(process.argv[2], "utf8")).map(visible)));
"""
    # Those that UAX #9 and Unicode's general categories name: what reverses, isolates, hides, moves and ends lines.
    obeyed = [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F)]
    obeyed += [*range(0x2060, 0x2065), *range(0x2066, 0x2070), 0xE000, 0xFEFF, *range(0xFFF9, 0xFFFC), 0xE0001, 0xE007F]
    texts = [f"a{chr(one)}b" for one in obeyed]
    plain = ["血压 120/80\u00a0mmHg", "naïve – “x” … ①", "שלום", "", "😀", "a\u3000b"]
    told = run(tmp_path, harness, [*texts, *plain])
    assert told == [*(f"a\\u{one:04x}b" for one in obeyed), *plain]
    assert told[: len(texts)] == [visible(one) for one in texts]
