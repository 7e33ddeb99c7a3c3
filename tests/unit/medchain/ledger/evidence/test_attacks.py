"""Attacks on evidence that a deck of bundles does not hold: on the ledger itself, on each byte, on what is read."""

from __future__ import annotations

import json

import pytest

from medchain.errors import InputError, MedchainError
from medchain.ledger.bundle import verify_bundle
from medchain.ledger.evidence.claim_reading import read_claim
from tests.deck import CASES, genuine, made, scene
from tests.evidence_ledger import invoicing, ledger_in

STEP = 509
"""A prime, so that all places of rows that have one length are met."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    with invoicing(), ledger_in(tmp_path_factory.mktemp("attacks")) as made:
        yield made


def flipped(bundle, step: int, first: int = 0) -> list[str]:
    """Flip a bit in every so manieth byte; names those places where another verdict came of it than the bundle's."""
    verdict = verify_bundle(bundle.files, bundle.policy, now=bundle.now).claim
    wrong, place = [], first
    for name, content in sorted(bundle.files.items()):
        while place < len(content):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            try:
                found = verify_bundle(bundle.files | {name: bytes(changed)}, bundle.policy, now=bundle.now)
            except MedchainError:
                pass
            else:
                wrong += [] if found.claim == verdict else [f"{name} {place}"]
            place += step
        place -= len(content)
    return wrong


def test_attack_a_changed_byte_is_refused_or_changes_nothing_that_is_said(ledger):
    assert flipped(CASES["part_that_others_followed"](ledger), STEP) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(8))
def test_attack_each_byte_that_is_changed_is_refused_or_changes_nothing_that_is_said(ledger, first):
    assert flipped(CASES["part_that_others_followed"](ledger), 8, first) == []


def test_attack_an_access_after_the_consent_was_revoked_is_refused_by_the_ledger(ledger):
    s = scene(ledger).stay().register().claimed().permitted().requested()
    permission = s.permission()
    ledger.stop(s.consent_key, s.consent.stop)
    # The grant stood on it, and the machine takes no access that stands on what is stopped.
    with pytest.raises(AssertionError, match=r"transaction\.stopped"):
        s.accessed(permission)


def test_attack_a_record_registered_anew_under_another_object_is_a_late_one(ledger):
    """Who would hide an alteration by a second record has to register that now, long after the event."""
    s = scene(ledger).stay().register()
    paper = s.paper("Condition")
    paper.object_id, paper.contents, paper.salts, paper.told = b"", [], [], []
    s.ledger.block(s.ledger.author.anchor(), at=s.now + 40 * 86_400)
    s.register(paper).claimed().permitted().given()
    verdict = verify_bundle(s.bundle(), ledger.policy, now=s.now).claim
    assert {one.code for one in verdict.findings if one.colour != "green"} == {"source.late"}


def test_attack_names_of_five_thousand_digits_in_a_claim_break_nothing():
    net = {"currency": "CNY", "value": 5}
    claim = {"resourceType": "Claim", "item": {"9" * 5000: {"net": net}, "1": {"net": net}}}
    assert read_claim(json.dumps(claim).encode()).total.minor == 1000


def test_attack_one_long_name_in_a_claim_fills_no_readers_memory():
    inside = {"x" * 20_000: dict.fromkeys(map(str, range(1000)))}
    with pytest.raises(InputError, match=r"fields\.not_json"):
        read_claim(json.dumps({"resourceType": "Claim"} | inside).encode())


def test_attack_a_bundle_without_its_verdict_or_its_members_is_none(ledger):
    bundle = made(genuine(ledger))
    for name in ("askers.json", "verdict.json"):
        files = {one: content for one, content in bundle.files.items() if one != name}
        with pytest.raises(InputError, match=r"bundle\.files"):
            verify_bundle(files, bundle.policy, now=bundle.now)
    # Evidence without items is no bundle of one object either.
    bare = {one: content for one, content in bundle.files.items() if not one.startswith("items/")}
    with pytest.raises(InputError, match=r"bundle\.files"):
        verify_bundle(bare, bundle.policy, now=bundle.now)


def test_attack_the_time_of_the_newest_is_not_told_twice(ledger):
    bundle = made(genuine(ledger))
    twice = bundle.files | {"items/0/newest.json": bundle.files["items/0/block.json"]}
    with pytest.raises(InputError, match=r"bundle\.files"):
        verify_bundle(twice, bundle.policy, now=bundle.now)
