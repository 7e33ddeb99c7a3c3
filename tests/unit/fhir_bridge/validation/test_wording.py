"""Issues in words."""

from __future__ import annotations

import pytest

from fhir_bridge.definitions.elements import type_definition, type_names
from fhir_bridge.document import parse, write
from fhir_bridge.resources import InvalidResourceError
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


def test_an_element_that_r4_does_not_know_is_named_with_its_path():
    """Of DSTU2 is `fhir_comments`, which R4 has no more, and nothing that looks like it."""
    issues = check(parse(b'{"resourceType":"Patient","name":[{"family":"x","fhir_comments":["y"]}],"birthdate":"x"}'))
    assert [row["expression"] for row in rows(issues, "en")] == [
        ["Patient.name[0].fhir_comments"],
        ["Patient.birthdate"],
    ]
    assert [say(issue, "en") for issue in issues] == [
        "There is an element here that FHIR R4 does not have: fhir_comments.",
        "There is an element here that FHIR R4 does not have: birthdate; did you mean birthDate?",
    ]
    assert say(issues[0], "zh") == "这里有 FHIR R4 没有的元素：fhir_comments。"
    (moved, _) = InvalidResourceError(issues).within("Bundle.entry[1].resource", 1).issues
    assert rows([moved], "en")[0]["expression"] == ["Bundle.entry[1].resource.name[0].fhir_comments"]


@pytest.mark.parametrize("name", ["WangFang", "王芳", "id110101199003071234", "wang fang", "a" * 65])
def test_a_name_that_is_not_written_as_fhir_writes_them_is_not_told(name):
    issues = check(parse(f'{{"resourceType":"Patient","{name}":1}}'.encode()))
    assert name not in repr(rows(issues, "en"))
    assert rows(issues, "en")[0]["expression"] == ["Patient"]


def test_a_name_that_was_sent_is_in_the_answer_and_in_nothing_that_is_logged():
    issues = check(parse(b'{"resourceType":"Patient","wangfang":1}'))
    error = InvalidResourceError(issues)
    assert "wangfang" not in repr(issues) + repr(error) + str(error) + repr(error.fields)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        # http://hl7.org/fhir/R4/valueset-administrative-gender.html
        ('"gender":"m"', "administrative-gender, whose codes are: female, male, other, unknown."),
        # http://hl7.org/fhir/R4/valueset-mimetypes.html is a grammar and no list.
        ('"photo":[{"contentType":"x"}]', "ValueSet/mimetypes."),
    ],
)
def test_the_codes_of_a_small_set_are_told(more, said):
    (issue,) = check(parse(f'{{"resourceType":"Patient",{more}}}'.encode()))
    assert said in say(issue, "en")


def test_the_codes_of_a_large_set_are_not_told():
    """http://hl7.org/fhir/R4/valueset-all-types.html has far more than anybody reads."""
    url = "http://hl7.org/fhir/ValueSet/all-types"
    assert say(Issue(Rule.CODE, "X.type", expected=url), "en") == f"The code is not of the value set {url}."
    small = Issue(Rule.CODE, "Patient.gender", expected="http://hl7.org/fhir/ValueSet/administrative-gender")
    assert say(small, "zh").endswith("其代码为：female、male、other、unknown。")


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
