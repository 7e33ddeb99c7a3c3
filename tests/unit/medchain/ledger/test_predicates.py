"""Types of statements: how they stand in a policy, what is refused, and that what is registered stays (attest.md 2)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from medchain.commands.demo_predicates import CARBON_REPORT, PRESCRIPTION, TYPES
from medchain.encoding import canonical, parse_canonical
from medchain.errors import InputError
from medchain.ledger.policy import ROLES, default_policy, parse_policy
from medchain.ledger.predicates import MAX_FIELDS, MAX_STEPS, MAX_TYPES, check_kept, parse_predicates
from tests.unit.medchain.ledger.world import COMMISSION, RENHE, World


def copy():
    """Return the examples, to spoil."""
    return parse_canonical(canonical(TYPES), max_bytes=1 << 16)


def parsed(types=TYPES):
    return parse_predicates(types, ROLES)


def test_a_type_says_who_makes_it_what_it_says_and_which_step_leads_from_where():
    made = parsed()[PRESCRIPTION]
    assert (made.makers, made.state, made.is_named) == ({"hospital"}, "issued", False)
    assert made.fields == {"batch", "dosage", "medication", "quantity", "reason"}
    step = made.steps["dispense"]
    assert (step.by, step.states, step.state, step.sets) == (
        {"hospital", "owner"},
        {"issued"},
        "dispensed",
        {"batch"},
    )
    assert [made.is_last(state) for state in ("issued", "dispensed", "cancelled")] == [False, True, True]
    assert parsed()[CARBON_REPORT].is_named
    assert parse_predicates({}, ROLES) == {}


def spoil(change):
    types = copy()
    change(types[PRESCRIPTION])
    return types


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(by=[]),
        lambda one: one.update(by=["owner"]),
        lambda one: one.update(by=["pharmacy"]),
        lambda one: one.update(by=["regulator", "hospital"]),
        lambda one: one.update(fields=["a", "a"]),
        lambda one: one.update(fields=["Medication"]),
        lambda one: one.update(fields=[1]),
        lambda one: one.update(fields=[f"f{number:02}" for number in range(MAX_FIELDS)]),
        lambda one: one.update(state="no-name"),
        lambda one: one["steps"].update(make=one["steps"]["cancel"]),
        lambda one: one["steps"].update({"Take": one["steps"]["cancel"]}),
        lambda one: one["steps"].update({f"s{n}": one["steps"]["cancel"] for n in range(MAX_STEPS)}),
        lambda one: one["steps"]["cancel"].update({"from": ["isued"]}),
        lambda one: one["steps"]["cancel"].update({"from": []}),
        lambda one: one["steps"]["cancel"].update(by=["nobody"]),
        lambda one: one["steps"]["cancel"].update(sets=["reason", "batch"]),
    ],
)
def test_a_type_of_another_form_is_refused(change):
    with pytest.raises(InputError, match=r"predicate\.malformed"):
        parsed(spoil(change))


@pytest.mark.parametrize("change", [lambda one: one.pop("named"), lambda one: one["steps"]["cancel"].update(more=1)])
def test_members_that_no_type_has_are_refused(change):
    with pytest.raises(InputError, match=r"encoding\.members"):
        parsed(spoil(change))


@pytest.mark.parametrize(
    "types",
    [
        [],
        {"prescription": TYPES[PRESCRIPTION]},
        {"https://medchain.example/a b": TYPES[PRESCRIPTION]},
        {f"urn:type:{number}": TYPES[PRESCRIPTION] for number in range(MAX_TYPES + 1)},
    ],
)
def test_a_type_is_named_by_a_uri_and_there_are_not_too_many(types):
    with pytest.raises(InputError, match=r"predicate\.malformed"):
        parsed(types)


def test_what_is_registered_is_neither_altered_nor_dropped_and_more_may_come():
    both = parsed()
    one = parsed({PRESCRIPTION: TYPES[PRESCRIPTION]})
    check_kept({}, one)
    check_kept(one, both)
    altered = parsed(spoil(lambda changed: changed["steps"]["cancel"].update(by=["hospital", "owner"])))
    for after in (one, altered, {}):
        with pytest.raises(InputError, match=r"predicate\.changed"):
            check_kept(both, after)


def test_the_examples_of_the_specification_are_those_that_the_demo_registers():
    page = (Path(__file__).parents[4] / "docs" / "spec" / "attest.md").read_text(encoding="utf-8")
    (example,) = [text for text in re.findall(r"```\n(.*?)```", page, re.DOTALL) if text.startswith('{"https')]
    assert json.loads(example) == TYPES


# In the policy


def with_types(types=TYPES):
    return {**default_policy(), "predicates": types}


def test_a_policy_has_the_types_that_its_content_has():
    assert parse_policy(default_policy()).predicates == {}
    policy = parse_policy(with_types())
    assert policy.predicates == parsed()
    assert policy.content == with_types()


def changed(world: World, content):
    """Have the members agree on a policy; returns the refusal's code and reason."""
    payload = world.public(RENHE, ("policy", content), signers=[COMMISSION, "tongji-hospital"])
    outcome = world.execute(payload)
    code = getattr(outcome, "code", "")
    if not code:
        world.apply(payload)
        return ""
    return f"{code} {outcome.fields.get('reason', '')}".rstrip()


def test_the_ledger_takes_types_once_and_refuses_a_policy_without_them():
    world = World()
    assert changed(world, with_types()) == ""
    assert world.members.policy.predicates == parsed()
    assert changed(world, default_policy()) == "transaction.body predicate.changed"
    altered = spoil(lambda one: one["steps"]["dispense"].update(by=["owner"]))
    assert changed(world, with_types(altered)) == "transaction.body predicate.changed"
    assert changed(world, with_types(spoil(lambda one: one.update(by=[])))) == "transaction.body predicate.malformed"
    more = {**copy(), "urn:another": TYPES[PRESCRIPTION]}
    assert changed(world, with_types(more)) == ""
