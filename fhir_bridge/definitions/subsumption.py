"""Which codes of HL7's code systems lie below others.

Keeps true: what is said of a code system is all that HL7 says; of a system that HL7 does not publish whole with R4
(SNOMED CT, LOINC, ICD) nothing is said, which is not the same as that nothing lies below its codes. Trusts `r4.zip`.
Source: FHIR R4 §4.8.12 (CodeSystem, hierarchy; v3's `subsumedBy`), §3.1.1.4.10 (`:above`, `:below`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from fhir_bridge.definitions.archive import read


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
    parents = _above().get(system)
    return None if parents is None else _reached(code, parents)


def codes_below(system: str, code: str) -> frozenset[str] | None:
    """List a code and all that lies below it.

    Args:
        system: canonical URL of the code system, without version.
        code: as HL7 writes it; of one that the system has not, nothing else is listed.

    Returns:
        The codes; None for a system of which HL7 does not say.
    """
    return _reached(code, _below(system)) if system in _above() else None


def _reached(code: str, steps: Mapping[str, list[str]]) -> frozenset[str]:
    """Collect a code and whatever the steps lead to."""
    found: set[str] = set()
    waiting = [code]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += steps.get(one, ())
    return frozenset(found)
