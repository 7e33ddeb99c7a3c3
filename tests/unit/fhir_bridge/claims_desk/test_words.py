"""Every word of the pages of claims is there in both languages, and each page finds those that it says."""

from __future__ import annotations

import re
from pathlib import Path

from consent.web.words import PATIENT_WORDS
from fhir_bridge import claims_desk
from fhir_bridge.browse.words import BROWSE_WORDS
from fhir_bridge.claims_desk.before import STEPS
from fhir_bridge.claims_desk.cases import STATUSES
from fhir_bridge.claims_desk.check import FIELDS
from fhir_bridge.claims_desk.graph import KINDS, LANES
from fhir_bridge.claims_desk.ground import INSURER_TABS
from fhir_bridge.claims_desk.proofs import ANSWERS
from fhir_bridge.claims_desk.words import CLAIM_WORDS
from fhir_bridge.smart.words import SMART_WORDS
from fhir_bridge.staff.words import STAFF_WORDS
from medchain.claims.case_content import Status
from medchain.claims.dispute import StepKind
from medchain.ledger.claim_request import Action
from medchain.web.words import WORDS

FOLDER = Path(claims_desk.__file__).parent
OTHERS = BROWSE_WORDS.keys() | SMART_WORDS.keys() | PATIENT_WORDS.keys() | WORDS.keys() | STAFF_WORDS.keys()


def test_every_word_is_there_in_both_languages():
    assert all(zh and en for zh, en in CLAIM_WORDS.values())
    assert not CLAIM_WORDS.keys() & OTHERS
    fields = re.compile(r"\{([a-z]+)\}")
    for key, (chinese, said) in CLAIM_WORDS.items():
        if not key.endswith(".one"):
            assert set(fields.findall(chinese)) == set(fields.findall(said)), key


def test_whatever_is_counted_tells_one_from_many():
    counted = re.compile(r"\{(count|days|number|size|times|total)\}(?: [a-z]+)? [a-z]+s\b")
    words = {**PATIENT_WORDS, **CLAIM_WORDS}
    found = {key for key, (_, said) in words.items() if counted.search(said) and not key.endswith(".one")}
    assert "claims.age" in found
    assert {key for key in found if f"{key}.one" not in words} == set()


def test_every_page_finds_its_words():
    said = set()
    for file in (*FOLDER.glob("*.py"), *FOLDER.glob("templates/claims/*.html")):
        if file.name != "words.py":
            said |= set(re.findall(r"\b(?:t|say)\('?\"?([a-z_]+\.[a-z_.]+)'?\"?", file.read_text(encoding="utf-8")))
    assert said
    assert {one for one in said if not one.endswith(".")} <= CLAIM_WORDS.keys() | OTHERS
    for prefix, ends in {
        "claims.tab.": INSURER_TABS,
        "claims.colour.": ("green", "amber", "red"),
        "claims.dispute.state.": StepKind,
        "claims.dispute.step.": StepKind,
        "claims.dispute.problem.": ("text", "step"),
        "claims.check.field.": FIELDS,
        "claims.node.": KINDS,
        "claims.known.": KINDS,
        "claims.lane.": LANES,
        "claims.status.": {*STATUSES, *Status, "gathering"},
        "claims.next.": STEPS,
        "claims.outlook.": (*STEPS, "invoice", "no_invoice", "unknown"),
        "claims.policy.": ("days", "from", "until"),
        "claims.deed.": (Action.RESERVE, Action.SETTLE, Action.RELEASE),
        "claims.proof.": ANSWERS,
        "claims.proof.fact.": ("answer", "current", "time", "position", "cosigners", "items", "object", "status"),
    }.items():
        assert {f"{prefix}{one}" for one in ends} <= CLAIM_WORDS.keys()
