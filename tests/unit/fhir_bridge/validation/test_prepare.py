"""What judging needs is made ahead, type after type, where processes are forked that will judge."""

from __future__ import annotations

from fhir_bridge.document import parse
from fhir_bridge.validation import invariants, laws, structure
from fhir_bridge.validation.check import check, prepare
from tests.unit.fhir_bridge.examples import chosen


def test_all_that_judging_needs_is_made_before_a_resource_is_there():
    """In processes that are forked from the one that has prepared, nothing of it is made again."""
    for _ in prepare():
        """One type was made."""
    caches = (structure._shape, invariants._table, laws.laws_for)  # noqa: SLF001  # what is made
    before = [one.cache_info().misses for one in caches]
    for _, content in chosen(""):
        resource = parse(content)
        if "resourceType" in resource:
            check(resource)
    after = [one.cache_info().misses for one in caches]
    assert after[:2] == before[:2]
    # Rules of an element with those of its type are compiled with the table that names it.
    assert after == before
