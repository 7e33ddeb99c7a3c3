"""`attest types`, `make`, `step`, `list`, `show` and `prove`, against a real server with whole nodes' operations."""

from __future__ import annotations

from hashlib import sha256

import pytest

from medchain.commands import attests
from medchain.commands.checking import read_bundle
from medchain.commands.demo_predicates import PRESCRIPTION, TYPES
from medchain.encoding import Json
from medchain.ledger.policy import default_policy
from tests.unit.medchain.commands.test_mandates import served
from tests.unit.medchain.ledger.world import TAIPING
from tests.unit.medchain.node.federation import COMMISSION, NOW, RENHE, TONGJI
from tests.unit.medchain.node.lawful import desks_under
from tests.unit.medchain.node.test_attests import report


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    policy: Json = {**default_policy(), "predicates": TYPES}
    with desks_under(policy, tmp_path_factory.mktemp("attests")) as made:
        # Threads that nodes start at their first submission are there before the first test.
        report(made)
        yield made


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "rx.json"
    path.write_bytes(b'{"resourceType":"MedicationRequest"}')
    return path


WORDS = ("--say", "medication=amoxicillin", "--say", "dosage=1-0-1", "--say", "quantity=20")


def prescribe(run, node, paper, *more: object):
    words = ("attest", "make", PRESCRIPTION, "--name", "Rx 7", "--file", paper, *WORDS, *more)
    return run(*words, "--config", node)


def test_a_prescription_is_made_shown_dispensed_and_listed(run, node, desks, paper, monkeypatch):
    monkeypatch.setattr(attests, "system_clock", lambda: NOW)
    with served(desks, RENHE, node):
        ran = prescribe(run, node, paper, "--days", 30, "--ticket", "--json")
        assert ran.code == 0, ran.err
        key, ticket = ran.document["key"], ran.document["ticket"]
        said = run("attest", "show", key, "--config", node, "--json").document
        assert said["until"] == NOW + 30 * 86400
        assert said["statement"]["subject"] == [
            {"digest": {"sha256": sha256(paper.read_bytes()).hexdigest()}, "name": "Rx 7"}
        ]
        assert said["statement"]["predicate"]["quantity"] == 20
    desks.everywhere(key, 1)
    with served(desks, TAIPING, node):
        refused = run("attest", "show", key, "--config", node, "--lang", "en")
        assert (refused.code, "has not its ticket" in refused.err) == (4, True)
    with served(desks, TONGJI, node):
        seen = run("attest", "show", key, "--ticket", ticket, "--config", node, "--lang", "en").out
        assert "medication: amoxicillin" in seen
        assert "quantity: 20" in seen
        assert f"make by {RENHE} → issued" in seen
        step = ("attest", "step", key, "dispense", "--ticket", ticket, "--config", node, "--lang", "en")
        assert "what this step is to say" in run(*step).err
        done = run(*step, "--say", "batch=A-17")
        assert (done.code, "version 2" in done.out) == (0, True), done.err
        assert "does not follow" in run(*step, "--say", "batch=A-18").err
        rows = run("attest", "list", "--config", node, "--lang", "en").out
        assert f"{key}  {PRESCRIPTION}: Rx 7, by {RENHE}; dispensed (version 2, no further step)" in rows
    desks.everywhere(key, 2)
    with served(desks, RENHE, node):
        assert "已终结" in run("attest", "list", "--config", node, "--lang", "zh").out


def test_without_a_ticket_none_is_told_and_with_one_it_is_shown(run, node, desks, paper):
    with served(desks, RENHE, node):
        assert "ticket" not in prescribe(run, node, paper, "--lang", "en").out
        assert "Its ticket, which is shown this once: " in prescribe(run, node, paper, "--ticket", "--lang", "en").out


def test_the_types_are_told_with_their_steps(run, node, desks, monkeypatch):
    with served(desks, TAIPING, node):
        said = run("attest", "types", "--config", node, "--lang", "en").out
        assert (
            f"{PRESCRIPTION}: made by hospital, saying dosage, medication, quantity; its first state is issued" in said
        )
        assert "  dispense: hospital, owner, issued → dispensed, saying batch" in said
        assert "  publish: owner, verified → published, saying -" in said
        assert run("attest", "types", "--config", node, "--json").document == {"types": TYPES}
        assert "None." in run("attest", "list", "--config", node, "--lang", "en").out
        monkeypatch.setattr(attests, "_call", lambda *_rest: {"types": {}})
        assert "policy register" in run("attest", "types", "--config", node, "--lang", "en").out


def test_a_bundle_shows_the_fields_that_are_named(run, node, desks, tmp_path):
    key = report(desks)
    out = tmp_path / "carbon.zip"
    with served(desks, COMMISSION, node):
        words = ("attest", "prove", key, "--field", "state", "--field", "predicate.emissions_kg", "--out", out)
        ran = run(*words, "--config", node)
        assert ran.code == 0, ran.err
        files = read_bundle(out)
        assert b"8400000" in files["opening.json"]
        assert b"GHG" not in files["opening.json"]
        whole = tmp_path / "whole.zip"
        assert run("attest", "prove", key, "--out", whole, "--config", node).code == 0
        assert b"GHG" in read_bundle(whole)["opening.json"]
        wrong = run("attest", "prove", key, "--field", "x", "--out", tmp_path / "x.zip", "--config", node)
        assert wrong.code == 2


@pytest.mark.parametrize("said", [("batch",), ("=A-17",), ("batch=1", "batch=2")])
def test_what_names_no_field_or_one_twice_is_refused_before_anybody_is_asked(run, node, said):
    words = [part for one in said for part in ("--say", one)]
    ran = run("attest", "step", "00" * 32, "dispense", *words, "--config", node)
    assert (ran.code, "attest.fields" in ran.err) == (2, True)


def test_a_type_that_nobody_registered_is_refused_in_words(run, node, desks, paper):
    with served(desks, RENHE, node):
        words = ("attest", "make", "urn:unheard-of", "--name", "x", "--file", paper, "--config", node, "--lang", "en")
        ran = run(*words)
        assert (ran.code, "have not registered" in ran.err) == (2, True)
