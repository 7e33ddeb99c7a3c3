"""Which codes of HL7's code systems, and of ICD-10, lie below others.

Keeps true: what is said of a code system is all that HL7 says; of a system that HL7 does not publish whole with R4
(SNOMED CT, LOINC) nothing is said, which is not the same as that nothing lies below its codes. ICD-10's say themselves
where they lie: a category has three characters, and what divides it begins with it; of its blocks and chapters, with
which nothing is coded, nothing is said, nor of what is longer than codes are. Trusts `r4.zip`.
Source: FHIR R4 §4.8.12 (CodeSystem, hierarchy; v3's `subsumedBy`), §3.1.1.4.10 (`:above`, `:below`); ICD-10 (WHO,
2019), volume 2, §2.4.3 to §2.4.5 (three-character categories, four-character subcategories, further subdivisions).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from fhir_bridge.definitions.archive import read

_ICD_10: Final = frozenset({"http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm"})
# National editions divide further (E11.900x001); each beginning of what is divided is written out.
_DIVIDED: Final = re.compile(r"([A-Z][0-9][0-9A-Z])(?:\.([0-9A-Z]{1,16}))?", re.IGNORECASE)


@cache
def _above() -> Mapping[str, Mapping[str, list[str]]]:
    """Read system → code → the codes right above it."""
    found: Mapping[str, Mapping[str, list[str]]] = read("hierarchies.json")
    return found


@cache
def _below(system: str) -> Mapping[str, list[str]]:
    """Turn the hierarchy of a system that is known over: code → the codes right below it."""
    found: dict[str, list[str]] = {}
    for code, parents in _above()[system].items():
        for parent in parents:
            found.setdefault(parent, []).append(code)
    return found


def codes_above(system: str, code: str) -> frozenset[str] | None:
    """List a code and all that lies above it; arguments and result as for `codes_below`."""
    if system in _ICD_10:
        return _beginnings(code)
    parents = _above().get(system)
    return None if parents is None else reached(code, parents)


def codes_below(system: str, code: str) -> frozenset[str] | None:
    """List a code and all that lies below it.

    Args:
        system: canonical URL of the code system, without version.
        code: as HL7 writes it; of one that the system has not, nothing else is listed.

    Returns:
        The codes; None for a system of which HL7 does not say. Those of ICD-10 are not listed, but `stem_below`.
    """
    return reached(code, _below(system)) if system in _above() else None


def stem_below(system: str, code: str) -> str | None:
    """Return what a code and all that lies below it begin with, and nothing else; None where codes do not say it."""
    return code if system in _ICD_10 and _DIVIDED.fullmatch(code) else None


def _beginnings(code: str) -> frozenset[str] | None:
    """List a code of ICD-10 and what it divides; None for what is no category, and divides none."""
    match = _DIVIDED.fullmatch(code)
    if match is None:
        return None
    category, rest = match[1], match[2] or ""
    return frozenset({category, *(f"{category}.{rest[:end]}" for end in range(1, len(rest) + 1))})


def reached(code: str, steps: Mapping[str, list[str]]) -> frozenset[str]:
    """Collect a code and whatever steps from one code to others lead to, in a ring or not."""
    found: set[str] = set()
    waiting = [code]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += steps.get(one, ())
    return frozenset(found)
