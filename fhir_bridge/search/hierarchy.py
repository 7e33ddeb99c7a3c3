"""What lies above and below the codes of a code system that somebody has written as a CodeSystem.

Keeps true: a system counts whole or not at all: of a fragment, an example or a supplement nothing is said, nor of one
whose hierarchy says of no concept that it is a kind or part of another. Pure. Trusts nothing: concepts may name each
other in a ring.
Source: FHIR R4 CodeSystem (`content`, `hierarchyMeaning`, `concept.concept`; the properties `parent` and `child`,
http://hl7.org/fhir/concept-properties), §3.1.1.4.10 (`:above`, `:below`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fhir_bridge.definitions.subsumption import reached
from fhir_bridge.document import Resource, member, objects_of

_DEFINED: Final = "http://hl7.org/fhir/concept-properties#"
# Grouped by: nothing can be assumed of how the concepts belong together. Where nothing is said, they nest.
_GROUPED: Final = "grouped-by"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The hierarchy of a code system.

    Attributes:
        url: of the code system, as codes name it.
        address: of the version that says it, as a search names it on its further pages.
        parents: code → the codes right above it.
        children: code → the codes right below it.
    """

    url: str
    address: str
    parents: Mapping[str, list[str]]
    children: Mapping[str, list[str]]

    def above(self, code: str) -> frozenset[str]:
        """List a code and all that lies above it; of one that the system has not, nothing else."""
        return reached(code, self.parents)

    def below(self, code: str) -> frozenset[str]:
        """List a code and all that lies below it, likewise."""
        return reached(code, self.children)


def hierarchy_of(resource: Resource, address: str) -> Hierarchy | None:
    """Read a CodeSystem.

    Args:
        resource: of the right shape.
        address: of the version.

    Returns:
        Its hierarchy; None where it does not say all.
    """
    url = member(resource, "url")
    if not url or member(resource, "content") != "complete" or member(resource, "hierarchyMeaning") == _GROUPED:
        return None
    upward, downward = (_named(resource, name) for name in ("parent", "child"))
    parents: dict[str, list[str]] = {}
    children: dict[str, list[str]] = {}

    def place(above: str, below: str) -> None:
        parents.setdefault(below, []).append(above)
        children.setdefault(above, []).append(below)

    waiting = [("", one) for one in objects_of(resource.get("concept"))]
    while waiting:
        above, concept = waiting.pop()
        code = member(concept, "code")
        if above:
            place(above, code)
        for stated in objects_of(concept.get("property")):
            kind, value = member(stated, "code"), member(stated, "valueCode")
            if kind in upward:
                place(value, code)
            if kind in downward:
                place(code, value)
        waiting += [(code, one) for one in objects_of(concept.get("concept"))]
    return Hierarchy(url, address, parents, children)


def _named(resource: Resource, name: str) -> frozenset[str]:
    """List how a code system calls a property that R4 defines: as it says itself, and by its own name if it is free."""
    declared = {member(one, "code"): member(one, "uri") for one in objects_of(resource.get("property"))}
    own = {code for code, uri in declared.items() if uri == _DEFINED + name}
    return frozenset(own | ({name} if not declared.get(name) else set()))
