"""Whose a resource is that names its patient by no reference of its own, and of whom alone a stored Bundle tells.

Keeps true: what is said is certain. A Bundle that may tell of somebody else, too, or of whom nobody can say, is no one
patient's: its keys go with nobody's erasure. Trusts the resolver for what the node holds.
Source: `docs/spec/keys.md` 10; FHIR R4 §2.36.4 (references in Bundles).
"""

from __future__ import annotations

from functools import cache
from typing import Final

from fhir_bridge.bundled import NOBODY, TYPE, Whom, lying_in, united
from fhir_bridge.document import Resource, member
from fhir_bridge.references import Own, Resolver, pointed
from medchain.encoding import objects_in

MAX_NAMES: Final = 200
"""Most ids and identifiers of patients in one Bundle that are looked up; one with more is nobody's."""

_ADDRESS: Final = ("http:", "https:")


def named_patient(type_name: str, resource: Resource, own: Own, resolver: Resolver) -> str:
    """Return the id of the patient whom a resource names without a reference, of a Bundle the one it tells of.

    Args:
        type_name: its type.
        resource: the resource.
        own: what its Bundle's own entries change.
        resolver: what the node holds.

    Returns:
        The id; empty where no patient, or more than one, is named so.

    Raises:
        UnavailableError: ``search.indexing`` while older records are being indexed.
    """
    return _told_of(resource, own, resolver) if type_name == TYPE else resolver.whose(type_name, resource, own)


def _told_of(bundle: Resource, own: Own, resolver: Resolver) -> str:
    """Return the id of the one patient whom all that names somebody in a Bundle means for certain; empty for none."""
    # What is elsewhere has ids of its own there, which may be those of others here.
    has_ids = not any(_is_elsewhere(one, resolver.bases) for one in objects_in(bundle))
    having = cache(lambda named: resolver.patients_with(named, own))
    is_here = cache(lambda record_id: resolver.is_patient(record_id, own))

    def meant(whom: Whom) -> frozenset[str]:
        by_id = [one for one in whom.tokens if has_ids and is_here(one)]
        return frozenset((*by_id, *(name for one in whom.identifiers if one.system for name in having(one))))

    about = {one.about for one in lying_in(bundle, str)} - {NOBODY}
    named = united(about)
    if len(named.tokens) + len(named.identifiers) > MAX_NAMES:
        return ""
    found = {meant(one) for one in about}
    alone = found.pop() if len(found) == 1 else frozenset()
    return next(iter(alone)) if len(alone) == 1 else ""


def _is_elsewhere(one: Resource, bases: frozenset[str]) -> bool:
    """Tell whether an object stands at, or refers to, an address that is not this node's."""
    addresses = (member(one, "fullUrl"), member(one, "reference"))
    return any(address.startswith(_ADDRESS) and pointed(address, bases) is None for address in addresses)
