"""Issues in words."""

from __future__ import annotations

import pytest

from fhir_bridge.definitions.elements import type_definition, type_names
from fhir_bridge.document import parse, write
from fhir_bridge.validation.check import check
from fhir_bridge.validation.issue import Issue, Rule
from fhir_bridge.validation.wording import rows, say


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("expected", ["", "X"])
def test_every_rule_has_words_in_both_languages(rule, expected):
    issue = Issue(rule, "Patient", expected=expected)
    chinese, english = say(issue, "zh"), say(issue, "en")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)
    assert english.isascii()
    assert "{" not in chinese + english
    if expected and rule is not Rule.TYPE:
        assert expected in chinese
        assert expected in english


def test_the_words_of_hl7s_own_rule_are_given():
    (issue,) = check(parse(b'{"resourceType":"Patient","contact":[{"gender":"male"}]}'))
    assert "SHALL at least contain a contact's details" in say(issue, "en")


def test_every_rule_of_a_data_type_is_found():
    for name in type_names("complex-type"):
        root = type_definition(name).elements[0]
        for rule in root.invariants:
            if rule.key != "ele-1":
                assert rule.human in say(Issue(Rule.INVARIANT, "Patient.x", expected=rule.key), "en"), rule.key


def test_the_rows_are_those_of_an_operation_outcome():
    issues = check(parse(b'{"resourceType":"Patient","gender":"m","birthdate":"x"}'))
    outcome = {"resourceType": "OperationOutcome", "issue": rows(issues, "zh")}
    assert check(parse(write(outcome))) == []
    assert [row["code"] for row in outcome["issue"]] == ["code-invalid", "structure"]
    assert outcome["issue"][0]["expression"] == ["Patient.gender"]
