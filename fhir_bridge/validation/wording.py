"""What is wrong, for people: issues as rows of an OperationOutcome, in Chinese and English.

Keeps true: every rule has its words in both languages; what is said holds nothing that the sender wrote. Trusts
`fhir_bridge.definitions` for the words of HL7's own rules, which are English.
Source: FHIR R4 OperationOutcome; http://hl7.org/fhir/R4/valueset-issue-type.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final, NamedTuple

from fhir_bridge.definitions.elements import type_definition
from fhir_bridge.document import Element, Resource
from fhir_bridge.validation.issue import Issue, Rule

CODE_SYSTEM: Final = "urn:medchain:code"
"""System of our stable codes in ``details``."""

CODE_PREFIX: Final = "resource."
"""How our stable codes of issues begin; the rule follows."""


class _Words(NamedTuple):
    """Type of an issue in FHIR, and what is said, without and with what would be right."""

    type: str
    zh: str
    en: str
    zh_expected: str
    en_expected: str


_WORDS: Final[Mapping[Rule, _Words]] = {
    Rule.UNKNOWN_ELEMENT: _Words(
        "structure",
        "这里有 FHIR R4 没有的元素。",
        "There is an element here that FHIR R4 does not have.",
        "这里有 FHIR R4 没有的元素；是否指 {expected}？",
        "There is an element here that FHIR R4 does not have; did you mean {expected}?",
    ),
    Rule.SHAPE: _Words(
        "structure",
        "JSON 的形状不对。",
        "The JSON has another shape than FHIR wants.",
        "这里应当是 {expected}（array 为数组，object 为对象）。",
        "Expected here: {expected}.",
    ),
    Rule.EMPTY: _Words(
        "structure",
        "元素是空的；没有值就应省略。",
        "The element is empty; leave it out if it has no value.",
        "元素是空的；应为 {expected}，没有值就应省略。",
        "The element is empty; give a value of type {expected} or leave it out.",
    ),
    Rule.CHOICE: _Words(
        "structure",
        "同一选择元素给出了多个值。",
        "More than one value of a choice is given.",
        "{expected} 只能给出一种类型的值。",
        "Give {expected} with one type only.",
    ),
    Rule.VALUE: _Words(
        "value",
        "值的格式不对。",
        "The value has another format than FHIR wants.",
        "值不是合法的 {expected}。",
        "The value is no valid {expected}.",
    ),
    Rule.TYPE: _Words(
        "structure",
        "resourceType 不是 FHIR R4 的资源类型。",
        "The resourceType is none of FHIR R4.",
        "resourceType 不是 FHIR R4 的资源类型。",
        "The resourceType is none of FHIR R4.",
    ),
    Rule.REQUIRED: _Words(
        "required",
        "缺少必需的元素。",
        "An element that must be there is missing.",
        "缺少必需的元素（{expected}）。",
        "An element that must be there is missing ({expected}).",
    ),
    Rule.CARDINALITY: _Words(
        "structure",
        "值的个数过多。",
        "There are too many values.",
        "值的个数超出 {expected}。",
        "There are more values than {expected}.",
    ),
    Rule.CODE: _Words(
        "code-invalid",
        "代码不在所绑定的值集中。",
        "The code is not of the value set that is bound.",
        "代码不在值集 {expected} 中。",
        "The code is not of the value set {expected}.",
    ),
    Rule.INVARIANT: _Words(
        "invariant",
        "违反了 FHIR R4 的规则。",
        "A rule of FHIR R4 is broken.",
        "违反了 FHIR R4 的规则 {expected}。{human}",
        "A rule of FHIR R4 is broken: {expected}. {human}",
    ),
    Rule.NARRATIVE: _Words(
        "invariant",
        "叙述文本含有不允许的内容，或是空的。",
        "The narrative holds what is not allowed, or says nothing.",
        "叙述文本含有不允许的内容，或是空的（{expected}）。",
        "The narrative holds what is not allowed, or says nothing ({expected}).",
    ),
    Rule.REFERENCE: _Words(
        "value",
        "引用所指的资源类型不允许。",
        "The reference points to a type that is not allowed here.",
        "引用只能指向：{expected}。",
        "A reference here may point to: {expected}.",
    ),
    Rule.PROFILE: _Words(
        "informational",
        "本节点不认识所声明的 profile，未按其校验。",
        "This node does not know the profile that is claimed, and did not check it.",
        "本节点不认识 profile {expected}，未按其校验。",
        "This node does not know the profile {expected}, and did not check it.",
    ),
    Rule.OPINION: _Words(
        "informational",
        "另一个校验库（fhir.resources，按 R4B）对此有异议；本节点不以它为准。",
        "Another validator (fhir.resources, by R4B) objects here; this node does not go by it.",
        "另一个校验库（fhir.resources，按 R4B）对此有异议：{expected}。",
        "Another validator (fhir.resources, by R4B) objects here: {expected}.",
    ),
}


def code_of(issue: Issue) -> str:
    """Return our stable code of an issue, such as ``resource.required``."""
    return f"{CODE_PREFIX}{issue.rule.value}"


def rows(issues: Iterable[Issue], language: str) -> list[Element]:
    """Write issues as rows of an OperationOutcome.

    Args:
        issues: what is wrong.
        language: ``zh`` or ``en``.

    Returns:
        Its ``issue``.
    """
    return [_row(issue, language) for issue in issues]


def say(issue: Issue, language: str) -> str:
    """Word an issue in a language, ``zh`` or ``en``."""
    words = _WORDS[issue.rule]
    if not issue.expected:
        return words.zh if language == "zh" else words.en
    pattern = words.zh_expected if language == "zh" else words.en_expected
    return pattern.format(expected=issue.expected, human=_human(issue)).strip()


def _row(issue: Issue, language: str) -> Resource:
    """Write one issue."""
    return {
        "severity": issue.severity,
        "code": _WORDS[issue.rule].type,
        "details": {
            "coding": [{"system": CODE_SYSTEM, "code": code_of(issue)}],
            "text": say(issue, language),
        },
        "expression": [issue.expression],
    }


@cache
def _rules_of(name: str) -> Mapping[str, str]:
    """List what the rules of a type say."""
    return {rule.key: rule.human for element in type_definition(name).elements for rule in element.invariants}


def _human(issue: Issue) -> str:
    """Find what a rule says: its key names the type only by habit, so the types on the way are asked."""
    if issue.rule is not Rule.INVARIANT:
        return ""
    top = issue.expression.partition(".")[0]
    for name in (top, *_DATA_TYPES):
        found = _rules_of(name).get(issue.expected)
        if found:
            return found
    return ""


_DATA_TYPES: Final = (
    "Attachment",
    "ContactPoint",
    "DataRequirement",
    "Duration",
    "ElementDefinition",
    "Expression",
    "Extension",
    "Period",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "Timing",
    "TriggerDefinition",
    "Age",
    "Count",
    "Distance",
)
"""Data types that have rules of their own."""
