"""What an insurer's policies ask of a claim: of which records, how many at most, and what a hospital's no comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medchain.claims.case_content import is_unmet
from medchain.claims.policy_rules import answered, asks_of, unasked
from medchain.errors import ConflictError
from medchain.ledger.citation import MAX_ASKS, Ask, citation_of
from medchain.ledger.evidence.statements import Fact
from medchain.node.config import PolicyRules
from tests.unit.medchain.claims.hospitals import running_hospitals
from tests.unit.medchain.claims.office import GIVEN, Office, Signed
from tests.unit.medchain.node.federation import ANXIN, NOW, RENHE

DAY = "2026-11-10"


def test_each_rule_is_asked_of_the_records_that_it_is_about():
    cited = ("Condition/c1", "Encounter/e1", "Encounter/e2", "Invoice/i1")
    assert asks_of(PolicyRules(), cited, DAY) == []
    assert asks_of(PolicyRules(18, 3, "E10-E14"), cited, DAY) == [
        Ask.age(DAY, 18),
        Ask.code("Condition/c1", "E10-E14"),
        Ask.stay("Encounter/e1", 3),
        Ask.stay("Encounter/e2", 3),
    ]


def test_no_more_is_asked_than_a_hospital_answers():
    cited = [f"Encounter/e{number:02}" for number in range(60)]
    asks = asks_of(PolicyRules(18, 3, "I10"), cited, DAY)
    assert len(asks) == MAX_ASKS
    assert citation_of(cited, NOW, (DAY, DAY), b"\x07" * 32, asks).asks == tuple(asks)


@pytest.mark.parametrize(("value", "unmet"), [(True, False), (False, True), (None, True)])
def test_what_a_hospital_does_not_say_yes_to_is_not_met(value, unmet):
    fact = {"arguments": {"day": DAY, "years": 18}, "name": "age_at_least", "value": value}
    assert is_unmet({"stated": {RENHE: [fact]}}) is unmet
    assert is_unmet({"stated": {}}) is False


def yes(ask: Ask) -> Fact:
    return Fact(ask.name, dict(ask.arguments), value=True)


def test_attack_what_is_more_than_a_hospital_answers_is_not_known():
    # Whoever cites so many diagnoses that no stay is asked for any more would be asked for none.
    cited = [*(f"Condition/c{number:02}" for number in range(MAX_ASKS)), "Encounter/e1"]
    rules = PolicyRules(stay_days=3, codes="I10")
    facts = [yes(one) for one in asks_of(rules, cited, DAY)]
    assert len(facts) == MAX_ASKS
    assert answered(rules, cited, DAY, facts) == [
        *facts,
        Fact("stay_at_most", {"days": 3, "encounter": "Encounter/e1"}, None),
    ]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([], id="nothing"),
        pytest.param([yes(Ask.stay("Encounter/e1", 365))], id="of another number"),
        pytest.param([yes(Ask.stay("Encounter/e2", 3))], id="of another stay"),
    ],
)
def test_attack_what_is_not_answered_as_it_is_asked_is_not_known(said):
    found = answered(PolicyRules(stay_days=3), ["Encounter/e1"], DAY, said)
    assert found == [Fact("stay_at_most", {"days": 3, "encounter": "Encounter/e1"}, None)]


def test_attack_a_claim_that_cites_nothing_to_ask_about_is_for_a_person():
    rules, cited = PolicyRules(18, 3, "I10"), ["Encounter/e1", "Condition/c1"]
    assert unasked(rules, cited) == []
    assert unasked(rules, cited[:1]) == ["code_in"]
    assert unasked(rules, ["Invoice/i1"]) == ["code_in", "stay_at_most"]
    assert unasked(PolicyRules(18), []) == []
    assert is_unmet({"stated": {}, "unasked": ["code_in"]}) is True
    assert is_unmet({"stated": {}, "unasked": []}) is False


def test_an_age_is_of_the_first_day_or_of_a_claim_without_days_of_the_day_that_was_asked_for():
    rules, other = PolicyRules(age=18), yes(Ask.age("2030-01-01", 18))
    assert answered(rules, ["Encounter/e1"], DAY, [other]) == [Fact("age_at_least", {"day": DAY, "years": 18}, None)]
    assert answered(rules, ["Encounter/e1"], "", [other]) == [other]
    assert answered(PolicyRules(), ["Encounter/e1"], DAY, [other]) == []


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with running_hospitals(tmp_path_factory.mktemp("rules")) as made:
        made.federation.time = NOW
        yield Office(made, Signed)


def set_in_book(office, monkeypatch, rules: PolicyRules) -> None:
    book = office.hospitals.nodes[ANXIN]._judging._book  # noqa: SLF001  # as configured
    monkeypatch.setattr(book, "_rules", rules)


def ruled(office, monkeypatch, rules: PolicyRules) -> dict:
    """A claim that is judged by an insurer with such rules."""
    office.anew()
    gatherer = office.hospitals.nodes[ANXIN]._judging._gatherer  # noqa: SLF001  # as configured
    monkeypatch.setattr(gatherer, "_parts", replace(gatherer._parts, rules=rules))  # noqa: SLF001  # the same
    set_in_book(office, monkeypatch, rules)
    cases = office.cases()
    return cases.judge(cases.take(office.claim(), GIVEN)["id"])


def test_what_was_judged_before_a_rule_was_set_is_for_a_person_until_it_was_asked(opened, monkeypatch):
    case = ruled(opened, monkeypatch, PolicyRules())
    assert (case["colour"], case["stated"]) == ("green", {RENHE: []})
    set_in_book(opened, monkeypatch, PolicyRules(stay_days=30))
    assert [one["value"] for one in opened.cases().show(case["id"])["stated"][RENHE]] == [None]
    with pytest.raises(ConflictError, match=r"case\.person"):
        opened.cases().reserve(case["id"], is_unseen=True)


def test_a_hospital_says_yes_or_no_and_what_is_not_yes_is_paid_by_nobody_who_does_not_look(opened, monkeypatch):
    # She stayed from the 10th to the 14th for a gallstone (K80).
    met = ruled(opened, monkeypatch, PolicyRules(stay_days=30, codes="K80-K87"))
    assert [(one["name"], one["value"]) for one in met["stated"][RENHE]] == [("code_in", True), ("stay_at_most", True)]
    assert met["colour"] == "green"
    # Her own record is not among what the consent opens, and so nothing is said of her age.
    unknown = ruled(opened, monkeypatch, PolicyRules(age=18))
    assert [one["value"] for one in unknown["stated"][RENHE]] == [None]
    unmet = ruled(opened, monkeypatch, PolicyRules(stay_days=3))
    assert [one["value"] for one in unmet["stated"][RENHE]] == [False]
    # The verdict has no line for it: it is this insurer's own rule.
    assert unmet["colour"] == "green"
    for case in (unknown, unmet):
        with pytest.raises(ConflictError, match=r"case\.person"):
            opened.cases().reserve(case["id"], is_unseen=True)
    assert opened.cases().reserve(unmet["id"])["status"] == "reserved"
