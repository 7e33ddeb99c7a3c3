"""Codes of elements that are bound for certain: is a code of its value set?

Keeps true: a set that can be listed is judged by its list, one that is defined by a grammar (media types, languages,
currencies, units) by that grammar; where neither is known nothing is refused. Trusts HL7's value sets.
Source: FHIR R4 §4.1.5; RFC 6838 §4.2 (media types); BCP 47; ISO 4217.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from fhir_bridge.definitions.codes import CodeSet, code_set, codes_in
from fhir_bridge.definitions.elements import Binding
from fhir_bridge.document import Element

_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE: Final = re.compile(rf"{_WORD}/{_WORD}(?:\s*;\s*{_WORD}=(?:{_WORD}|\"[^\"\\]*\"))*")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*|x(?:-[A-Za-z0-9]{1,8})+")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_GRAMMARS: Final = {
    # Endpoint.payloadMimeType and CapabilityStatement.format name formats by short words as well (§3.1.0.1.9).
    "http://hl7.org/fhir/ValueSet/mimetypes": re.compile(rf"{_MEDIA_TYPE.pattern}|xml|json|ttl"),
    "http://www.rfc-editor.org/bcp/bcp13.txt": _MEDIA_TYPE,
    "http://hl7.org/fhir/ValueSet/all-languages": _LANGUAGE,
    "http://hl7.org/fhir/ValueSet/currencies": _CURRENCY,
}
_PLAIN: Final = frozenset({"code", "string", "uri", "canonical"})


@dataclass(frozen=True, slots=True)
class CodeJudge:
    """Judges the codes of an element.

    Attributes:
        value_set: canonical URL.
        judge: tells whether a value of the right shape is of the set.
    """

    value_set: str
    judge: Callable[[Element], bool]


@cache
def code_judge(binding: Binding | None, type_name: str) -> CodeJudge | None:
    """Make the judge of an element.

    Args:
        binding: of the element.
        type_name: of its value.

    Returns:
        The judge; None where nothing is bound for certain or nobody knows the set.
    """
    if binding is None:
        return None
    value_set = binding.value_set if binding.strength == "required" else binding.max_value_set
    judge = _plain(value_set) if type_name in _PLAIN else _coded(value_set, type_name)
    return None if judge is None else CodeJudge(value_set, judge)


def _coded(value_set: str, type_name: str) -> Callable[[Element], bool] | None:
    """Make the judge of a code with a system."""
    listed = code_set(value_set)
    if listed is None:
        return None
    if type_name == "Coding":
        return lambda value: _is_in(value, listed)
    return (lambda value: _any_in(value, listed)) if type_name == "CodeableConcept" else None


def _plain(value_set: str) -> Callable[[Element], bool] | None:
    """Make the judge of a code without a system."""
    grammar = _GRAMMARS.get(value_set)
    if grammar is not None:
        return lambda value: isinstance(value, str) and grammar.fullmatch(value) is not None
    codes = codes_in(value_set)
    return None if codes is None else codes.__contains__


def _is_in(value: Element, listed: CodeSet) -> bool:
    """Judge a Coding; one without a code says nothing that could be outside the set."""
    if not isinstance(value, dict):
        return False
    system, code = value.get("system"), value.get("code")
    if code is None:
        return True
    return isinstance(system, str) and isinstance(code, str) and code in listed.get(system, ())


def _any_in(value: Element, listed: CodeSet) -> bool:
    """Judge a CodeableConcept: one of its codings must be of the set (§4.1.5.1)."""
    codings = value.get("coding") if isinstance(value, dict) else None
    if not isinstance(codings, list):
        # Text alone, or only an extension that says why there is no code.
        return isinstance(value, dict) and "extension" in value
    return any(isinstance(coding, dict) and "code" in coding and _is_in(coding, listed) for coding in codings)
