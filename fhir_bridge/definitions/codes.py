"""The code lists of value sets: those that R4 binds elements to for certain, and all others that HL7 lists with R4.

Keeps true: a value set is either listed whole or not at all. Open sets (media types, languages, currencies, units) are
not here: whoever checks them knows their grammar. Those that nothing is bound to for certain are read once a search
asks for one. Trusts `r4.zip`.
Source: FHIR R4 §4.1.5 (required bindings), §4.9.8 (expansion); HL7's value sets of 4.0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TypeAlias

from fhir_bridge.definitions.archive import read

CodeSet: TypeAlias = Mapping[str, frozenset[str]]
"""System → codes."""


_Tables: TypeAlias = Mapping[str, Mapping[str, list[str]]]


@cache
def _tables(name: str) -> _Tables:
    """Read a file of tables: those of required bindings, 48 kB of JSON, or all others."""
    tables: _Tables = read(name)
    return tables


@cache
def code_set(value_set: str) -> CodeSet | None:
    """Enumerate a value set.

    Args:
        value_set: canonical URL, with or without version.

    Returns:
        System → codes; None for a set that nothing is bound to for certain, or that cannot be enumerated.
    """
    return _enumerated("codes.json", value_set)


def listed_set(value_set: str) -> CodeSet | None:
    """Enumerate a value set, whatever is bound to it; arguments and result as for `code_set`."""
    found = code_set(value_set)
    return _enumerated("value_sets.json", value_set) if found is None else found


def _enumerated(name: str, value_set: str) -> CodeSet | None:
    """Enumerate a value set of a file of tables."""
    table = _tables(name).get(value_set.partition("|")[0])
    return None if table is None else MappingProxyType({system: frozenset(codes) for system, codes in table.items()})


@cache
def codes_in(value_set: str) -> frozenset[str] | None:
    """Enumerate the codes of a value set without their systems, for elements of type code; None as in `code_set`."""
    found = code_set(value_set)
    return None if found is None else frozenset(code for codes in found.values() for code in codes)
