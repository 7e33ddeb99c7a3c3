"""Code systems of the node's own, for searches by `:above` and `:below`.

Data flow: the system of a code → a CodeSystem that the caller may see → its hierarchy. Keeps true: a system counts
whole or not at all, one that its caller may not see looks unknown, and all pages of a search mean the version that the
first page meant, which their links name; what is looked up and read for one search is bounded before it is. Trusts the
gate.
Source: FHIR R4 §3.1.1.4.10 (`:above`, `:below`), CodeSystem.
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.rest.canonicals import ReadOnce, found_by
from fhir_bridge.rest.core import Core
from fhir_bridge.search.hierarchy import Hierarchy, hierarchy_of
from fhir_bridge.search.terms import Systems
from fhir_bridge.smart.access import Access
from medchain.errors import InputError

MAX_SYSTEMS: Final = 32
"""Most code systems of one search: each is looked up."""

MAX_BYTES: Final = 4 << 20
"""Most bytes of all code systems that are read for one search."""

_TYPE: Final = "CodeSystem"


def own_systems(core: Core, access: Access) -> Systems:
    """Give the code systems of the node's own for one search, each looked up and read once.

    Args:
        core: of the server.
        access: who searches.

    Returns:
        Finds one by its URL, ``URL|version``, address or address of a version; raises `InputError` ``search.too_many``
        for more than `MAX_SYSTEMS`, or more than `MAX_BYTES` of them.
    """
    known: dict[str, Hierarchy | None] = {}
    read = ReadOnce(core, MAX_BYTES, hierarchy_of)

    def named(text: str) -> Hierarchy | None:
        if text in known:
            return known[text]
        if len(known) == MAX_SYSTEMS:
            raise InputError("search.too_many", limit=MAX_SYSTEMS)
        known[text] = None
        row = found_by(core, access, _TYPE, text)
        if row is not None:
            known[text] = read.made[read.address_of(row)]
        return known[text]

    return named
