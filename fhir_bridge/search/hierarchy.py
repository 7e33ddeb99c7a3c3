"""What lies above and below the codes of a code system that somebody has written as a CodeSystem.

Keeps true: a system counts whole or not at all: of a fragment, an example or a supplement nothing is said, nor of one
whose hierarchy says of no concept that it is a kind or part of another. Pure. Trusts nothing: concepts may name each
other in a ring.
Source: FHIR R4 CodeSystem (`content`, `hierarchyMeaning`, `concept.concept`; the properties `parent` and `child`,
http://hl7.org/fhir/concept-properties), §3.1.1.4.10 (`:above`, `:below`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fhir_bridge.definitions.subsumption import reached
from fhir_bridge.document import Resource, member, objects_of

_DEFINED: Final = "http://hl7.org/fhir/concept-properties#"
# Grouped by: nothing can be assumed of how the concepts belong together. Where nothing is said, they nest.
_GROUPED: Final = "grouped-by"


class Hierarchy:
    """The hierarchy of a code system.

    Attributes:
        url: of the code system, as codes name it.
        address: of the version that says it, as a search names it on its further pages.
    """

    __slots__ = ("_above", "_below", "_children", "_parents", "address", "url")

    def __init__(self, url: str, address: str, above: Sequence[str], below: Sequence[str]) -> None:
        """Keep the steps: each is from a code of the one to the code at the same place of the other, right below it."""
        self.url = url
        self.address = address
        self._above = above
        self._below = below
        # A search goes up or down, seldom both: neither is made before it is asked for.
        self._parents: Mapping[str, list[str]] | None = None
        self._children: Mapping[str, list[str]] | None = None

    def above(self, code: str) -> frozenset[str]:
        """List a code and all that lies above it; of one that the system has not, nothing else."""
        if self._parents is None:
            self._parents = _grouped(self._below, self._above)
        return reached(code, self._parents)

    def below(self, code: str) -> frozenset[str]:
        """List a code and all that lies below it, likewise."""
        if self._children is None:
            self._children = _grouped(self._above, self._below)
        return reached(code, self._children)


def _grouped(keys: Sequence[str], values: Sequence[str]) -> Mapping[str, list[str]]:
    """List the values of each key."""
    found: dict[str, list[str]] = {}
    for key, value in zip(keys, values, strict=True):
        found.setdefault(key, []).append(value)
    return found


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
    above: list[str] = []
    below: list[str] = []
    waiting = [("", objects_of(resource.get("concept")))]
    while waiting:
        parent, concepts = waiting.pop()
        for concept in concepts:
            code = member(concept, "code")
            if parent:
                above.append(parent)
                below.append(code)
            # Most have neither.
            if "property" in concept:
                for stated in objects_of(concept["property"]):
                    kind, value = member(stated, "code"), member(stated, "valueCode")
                    above += [value] * (kind in upward) + [code] * (kind in downward)
                    below += [code] * (kind in upward) + [value] * (kind in downward)
            if "concept" in concept:
                waiting.append((code, objects_of(concept["concept"])))
    return Hierarchy(url, address, above, below)


def _named(resource: Resource, name: str) -> frozenset[str]:
    """List how a code system calls a property that R4 defines: as it says itself, and by its own name if it is free."""
    declared = {member(one, "code"): member(one, "uri") for one in objects_of(resource.get("property"))}
    own = {code for code, uri in declared.items() if uri == _DEFINED + name}
    return frozenset(own | ({name} if not declared.get(name) else set()))
