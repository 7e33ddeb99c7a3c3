"""What the demo checks of an evidence bundle that a second insurer was given."""

import base64
import json

import pytest

import sample_data
from medchain.commands.demo_claims import DUPLICATE, EXPECTED, telling
from medchain.commands.demo_load import OPEN, sample_story
from medchain.ledger.evidence.verdict import CODES, Colour

FIRST = "anxin-insurance"
CUSTOMER = sample_story(DUPLICATE)["patient"]["name"]


def evidence(claim: str) -> bytes:
    return json.dumps({"claim": {"content": base64.b64encode(claim.encode()).decode()}}).encode()


def test_what_names_nobody_tells_of_nobody():
    files = {"evidence.json": evidence('{"patient":{"reference":"Patient/1"}}'), "verdict.json": b"{}"}
    assert telling(files, DUPLICATE, FIRST) == []


@pytest.mark.parametrize("word", [FIRST, CUSTOMER])
def test_a_word_in_a_file_is_found_and_so_is_one_in_the_claim_that_evidence_holds(word):
    assert telling({"items/0003/record.json": f'{{"a":"{word}"}}'.encode()}, DUPLICATE, FIRST) != []
    assert telling({"evidence.json": evidence(f'{{"display":"{word}"}}')}, DUPLICATE, FIRST) == ["evidence.json"]


def test_that_an_insurer_is_a_member_and_cosigns_is_no_secret_but_a_customers_name_is_one_there_too():
    members = {"policy.txt": f"witness {FIRST}".encode(), "state.tlog-proof": f"— {FIRST}".encode()}
    assert telling(members, DUPLICATE, FIRST) == []
    assert telling({"policy.txt": CUSTOMER.encode()}, DUPLICATE, FIRST) == ["policy.txt"]


def test_what_is_expected_of_each_story_are_findings_that_a_verdict_knows_and_none_is_green():
    assert EXPECTED.keys() | {OPEN} == {story["name"] for story in sample_data.stories()}
    assert all(CODES[code] is not Colour.GREEN for codes in EXPECTED.values() for code in codes)
    assert all(codes for codes in EXPECTED.values())
