"""Policy expressions and the draw."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.encoding import digest
from medchain.errors import InputError
from medchain.ledger.policy import default_policy, draw_order, drawable, parse_policy, satisfied
from medchain.ledger.transaction import Signer


@dataclass(frozen=True)
class Org:
    """An organisation, as a policy sees it."""

    org_id: str
    role: str
    control: str


A = Org("a", "hospital", "one")
B = Org("b", "hospital", "two")
C = Org("c", "insurer", "three")
D = Org("d", "insurer", "four")
E = Org("e", "regulator", "five")


@dataclass(frozen=True)
class Five:
    """Five active organisations; a key id is the organisation's id, perhaps with a number."""

    active: tuple[Org, ...] = (A, B, C, D, E)

    def signer(self, key_id):
        return next((org for org in self.active if org.org_id == key_id[0]), None)

    def drawable(self, creator):
        return drawable(self, creator)


def rule(expression):
    return parse_policy({"rules": {"policy/active": expression}, "type": "medchain/policy/v1"}).rules["policy/active"]


def holds(expression, *signers: str, electorate=None) -> bool:
    rows = [Signer(*row.split(":")) if ":" in row else Signer(row, "member") for row in signers]
    return satisfied(rule(expression), rows, electorate or Five(), "a")


@pytest.mark.parametrize(
    ("expression", "signers", "expected"),
    [
        ("creator", ["a:creator"], True),
        ("creator", ["a:member"], False),
        ("creator", ["b:creator"], False),
        ("independent", ["a:creator", "e:independent"], True),
        ("independent", ["a:creator", "e:member"], False),
        ("org:c", ["c"], True),
        ("org:c", ["d"], False),
        ("role:regulator", ["e:independent"], True),
        ("role:regulator", ["a:creator", "c"], False),
        ({"and": ["creator", "independent"]}, ["a:creator", "b:independent"], True),
        ({"and": ["creator", "independent"]}, ["a:creator"], False),
        ({"or": ["org:c", "org:d"]}, ["d"], True),
        ({"or": ["org:c", "org:d"]}, ["a"], False),
        ({"out_of": [2, ["org:a", "org:b", "org:c"]]}, ["a", "c"], True),
        ({"out_of": [2, ["org:a", "org:b", "org:c"]]}, ["c"], False),
        ({"majority": "member"}, ["a", "b", "c"], True),
        ({"majority": "member"}, ["a", "b"], False),
        ({"majority": "role:insurer"}, ["c", "d"], True),
        ({"majority": "role:insurer"}, ["c", "a", "b"], False),
        ({"majority": "role:authority"}, ["a", "b", "c", "d", "e"], False),
        ({"fraction": [2, 5, "member"]}, ["a", "e"], True),
        ({"fraction": [2, 5, "member"]}, ["a"], False),
        ({"fraction": [1, 2, "role:insurer"]}, ["d"], True),
        ({"fraction": [1, 2, "role:authority"]}, ["a"], False),
        ({"and": [{"majority": "member"}, "role:regulator"]}, ["a", "b", "c"], False),
        ({"and": [{"majority": "member"}, "role:regulator"]}, ["a", "b", "e"], True),
        ("creator", [], False),
    ],
)
def test_truth_table(expression, signers, expected):
    assert holds(expression, *signers) is expected


def test_an_organisation_with_two_keys_votes_once():
    assert not holds({"majority": "member"}, "a1", "a2", "b")


def test_a_key_of_nobody_or_of_a_suspended_one_does_not_count():
    assert not holds({"majority": "member"}, "a", "b", "z")
    four = Five((A, B, C, D))
    assert not holds("role:regulator", "e", electorate=four)


@given(st.sets(st.sampled_from("abcde")), st.integers(1, 5))
def test_out_of_counts_like_a_threshold(signers, needed):
    parts = [f"org:{name}" for name in "abcde"]
    assert holds({"out_of": [needed, parts]}, *sorted(signers)) == (len(signers) >= needed)


def nested(depth):
    return "creator" if depth == 1 else {"or": [nested(depth - 1)]}


def test_expressions_may_be_eight_deep_and_have_64_nodes():
    assert holds(nested(8), "a:creator")
    assert holds({"or": [f"org:o{at}" for at in range(62)] + ["creator"]}, "a:creator")


@pytest.mark.parametrize(
    "expression",
    [
        nested(9),
        {"or": [f"org:o{at}" for at in range(64)]},
        "anybody",
        "org:",
        "role:patient",
        "role:",
        7,
        None,
        {},
        [],
        {"and": ["creator"], "or": ["creator"]},
        {"and": []},
        {"or": "creator"},
        {"not": ["creator"]},
        {"out_of": [0, ["creator"]]},
        {"out_of": [2, ["creator"]]},
        {"out_of": ["1", ["creator"]]},
        {"out_of": [1, "creator"]},
        {"out_of": [1]},
        {"out_of": [2, ["role:hospital", "role:hospital"]]},
        {"majority": "role:patient"},
        {"majority": 5},
        {"fraction": [0, 5, "member"]},
        {"fraction": [6, 5, "member"]},
        {"fraction": ["1", 5, "member"]},
        {"fraction": [1, "5", "member"]},
        {"fraction": [1, 2, "all"]},
        {"fraction": [1, 2]},
    ],
)
def test_an_expression_of_another_form_is_refused(expression):
    with pytest.raises(InputError, match=r"policy\.malformed"):
        rule(expression)


@pytest.mark.parametrize(
    "content",
    [
        {"rules": {}, "type": "medchain/policy/v1"},
        {"rules": {"policy/active": "creator"}, "type": "other"},
        {"rules": {"policy": "creator", "policy/active": "creator"}, "type": "medchain/policy/v1"},
        {"rules": {"record/active": "creator"}, "type": "medchain/policy/v1"},
        {"rules": {f"k{at}/active": "creator" for at in range(65)}, "type": "medchain/policy/v1"},
        {"rules": [], "type": "medchain/policy/v1"},
        *(
            {"rules": {"policy/active": "creator"}, "terms": terms, "type": "medchain/policy/v1"}
            for terms in ([], {"a": 0}, {"a": 101}, {"a": True}, {"a": "7"}, dict.fromkeys(map(str, range(65)), 1))
        ),
        {},
    ],
)
def test_a_policy_of_another_form_is_refused(content):
    with pytest.raises(InputError):
        parse_policy(content)


def test_the_default_policy_is_one_and_keeps_its_content():
    policy = parse_policy(default_policy())
    assert policy.content == default_policy()
    assert policy.rules["consent/active"] == rule({"and": ["creator", "independent"]})
    assert policy.rules["record/active"] == rule("creator")
    assert policy.terms == {"majority_years": 18, "recovery_days": 7}


def test_a_policy_without_terms_has_none():
    assert parse_policy({"rules": {"policy/active": "creator"}, "type": "medchain/policy/v1"}).terms == {}


def test_drawn_are_all_of_a_public_role_under_other_control():
    sister = Org("s", "hospital", "one")
    order = draw_order(Five((A, B, C, D, E, sister)), "a", 1, bytes(32))
    assert sorted(order) == ["b", "e"]


def test_the_drawn_order_follows_the_specification():
    seed = bytes(range(32))
    for number in range(1, 20):
        key = {org: digest("medchain/draw/v1", b"a", number.to_bytes(8, "big"), seed, org.encode()) for org in "be"}
        assert draw_order(Five(), "a", number, seed) == sorted("be", key=key.__getitem__)


def test_each_candidate_is_drawn_about_as_often():
    first = [draw_order(Five(), "a", number, bytes(32))[0] for number in range(400)]
    assert 150 < first.count("b") < 250
