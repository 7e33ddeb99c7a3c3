"""What is wrong, for people: issues as rows of an OperationOutcome, in Chinese and English.

Keeps true: every rule has its words in both languages; what is said holds nothing that the sender wrote but an issue's
`name`. Trusts `fhir_bridge.definitions` for the words of HL7's own rules, which are English.
Source: FHIR R4 OperationOutcome; http://hl7.org/fhir/R4/valueset-issue-type.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final, NamedTuple

from fhir_bridge.definitions.codes import codes_in
from fhir_bridge.definitions.elements import type_definition
from fhir_bridge.document import Element, Resource
from fhir_bridge.validation.issue import Issue, Rule

CODE_SYSTEM: Final = "urn:medchain:code"
"""System of our stable codes in ``details``."""

CODE_PREFIX: Final = "resource."
"""How our stable codes of issues begin; the rule follows."""


MAX_CODES: Final = 12
"""Most codes of a value set that are listed to who sent another one."""


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
        "这里有 FHIR R4 没有的元素{name}。",
        "There is an element here that FHIR R4 does not have{name}.",
        "这里有 FHIR R4 没有的元素{name}；是否指 {expected}？",
        "There is an element here that FHIR R4 does not have{name}; did you mean {expected}?",
    ),
    Rule.SHAPE: _Words(
        "structure",
        "JSON 的形状不对。",
        "The JSON has another shape than FHIR wants.",
        "这里应当是 {expected}（array 为数组，object 为对象）。",
        "Expected here: {expected}.",
    ),
    Rule.SINGLE: _Words(
        "structure",
        "这里只能有一个值，不能有多个（数组）。",
        "There is room for one value here, not for several or an array.",
        "这里只能有一个 {expected}，不能有多个（数组）。",
        "There is room for one {expected} here, not for several or an array.",
    ),
    Rule.ORDER: _Words(
        "structure",
        "XML 中元素的次序与 FHIR R4 的不同。",
        "The XML has its elements in another order than FHIR R4.",
        "XML 中元素的次序与 FHIR R4 的不同：它应在 {expected} 之前。",
        "The XML has its elements in another order than FHIR R4: this one belongs before {expected}.",
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
    Rule.CONTENT: _Words(
        "value",
        "与附件的内容不符。",
        "This is not so of the attachment's content.",
        "与附件的内容不符；按内容应为 {expected}。",
        "This is not so of the attachment's content, of which it is {expected}.",
    ),
    Rule.TYPE: _Words(
        "structure",
        "resourceType 不是 FHIR R4 的资源类型。",
        "The resourceType is none of FHIR R4.",
        "resourceType 应为 {expected}，与地址一致。",
        "The resourceType is to be {expected}, as the address says.",
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
        "代码不在值集 {expected} 中{codes}。",
        "The code is not of the value set {expected}{codes}.",
    ),
    Rule.DUPLICATE: _Words(
        "structure",
        "所包含的资源中，前面已有一个用此 id；对它的引用所指不明。",
        "A contained resource before this one has the same id: a reference could mean either.",
        "所包含的资源中，前面已有一个用此 id，对它的引用所指不明；应为：{expected}。",
        "A contained resource before this one has the same id: a reference could mean either. It may be: {expected}.",
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
    Rule.LITERAL: _Words(
        "value",
        "引用不是有效的地址。",
        "The reference is no address.",
        "引用不是有效的地址，应为：{expected}。",
        "The reference is no address; it may be: {expected}.",
    ),
    Rule.ABSENT: _Words(
        "not-found",
        "本节点没有引用所指的资源。",
        "This node has no resource that the reference points to.",
        "本节点没有引用所指的资源（{expected}）。",
        "This node has no resource that the reference points to ({expected}).",
    ),
    Rule.EXPRESSION: _Words(
        "invalid",
        "表达式不是合法的 FHIRPath。",
        "The expression is no FHIRPath.",
        "表达式自第 {expected} 个字符起不是合法的 FHIRPath。",
        "The expression is no FHIRPath from its character {expected} on.",
    ),
    Rule.NOWHERE: _Words(
        "invalid",
        "表达式在所列资源类型中都取不到此类型的值。",
        "The expression leads to no value of this kind in any of the types.",
        "表达式在 {expected} 中取不到此类型的值。",
        "The expression leads to no value of this kind in {expected}.",
    ),
    Rule.UNUSED: _Words(
        "not-supported",
        "本节点的查询不支持此表达式，该参数不会被使用。",
        "Searches of this node do not use this expression; the parameter will find nothing.",
        "本节点的查询不支持此表达式（{expected}）。",
        "Searches of this node do not use this expression ({expected}).",
    ),
    Rule.CLAIM: _Words(
        "structure",
        "资源不符合所声明的 profile。",
        "The resource is not what a profile says that it claims.",
        "资源不符合所声明的 profile，应为：{expected}",
        "The resource is not what a profile says that it claims: {expected}",
    ),
    Rule.PROFILE: _Words(
        "not-supported",
        "本节点不认识所声明的 profile，未按其校验。",
        "This node does not know the profile that is claimed, and did not check it.",
        "本节点不认识 profile {expected}，未按其校验。",
        "This node does not know the profile {expected}, and did not check it.",
    ),
    Rule.PART: _Words(
        "business-rule",
        "内容自称只是资源的一部分，不能取代完整的资源；请先读取完整的资源再更改。",
        "This says that it is a part of the resource, which does not replace the whole; read all of it first.",
        "内容自称只是资源的一部分（{expected}），不能取代完整的资源；请先读取完整的资源再更改。",
        "This says that it is a part of the resource ({expected}), which does not replace the whole;"
        " read all of it first.",
    ),
    Rule.COSTLY: _Words(
        "too-costly",
        "校验此资源所需的计算量过大；请减少重复的元素，或拆成多个资源。",
        "To check this resource takes too much; repeat fewer elements, or send several resources.",
        "校验此资源所需的计算量过大（{expected}）；请减少重复的元素，或拆成多个资源。",
        "To check this resource takes too much ({expected}); repeat fewer elements, or send several resources.",
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
    is_zh = language == "zh"
    plain, telling = (words.zh, words.zh_expected) if is_zh else (words.en, words.en_expected)
    pattern = telling if issue.expected else plain
    name = ("：" if is_zh else ": ") + issue.name if issue.name else ""
    said = pattern.format(expected=issue.expected, human=_human(issue), name=name, codes=_codes(issue, is_zh=is_zh))
    return said.strip()


def _codes(issue: Issue, *, is_zh: bool) -> str:
    """List the codes of the set that was missed, where they are few."""
    listed = sorted(codes_in(issue.expected) or ()) if issue.rule is Rule.CODE else []
    if not 0 < len(listed) <= MAX_CODES:
        return ""
    return f"，其代码为：{'、'.join(listed)}" if is_zh else f", whose codes are: {', '.join(listed)}"


def _row(issue: Issue, language: str) -> Resource:
    """Write one issue."""
    return {
        "severity": issue.severity,
        "code": _WORDS[issue.rule].type,
        "details": {
            "coding": [{"system": CODE_SYSTEM, "code": code_of(issue)}],
            "text": say(issue, language),
        },
        "expression": [f"{issue.expression}.{issue.name}" if issue.name else issue.expression],
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
