"""What a Provenance that a client stores is of: nobody learns by one whether there is a record that is kept from him.

An id of the form that the node gives is chosen by nobody else, so that what has none of that id now will have none:
to say of what is not there what is said of what is kept back costs nobody anything. Keeps true: both are answered
alike, whether scopes or consents keep it. Of ids that clients have chosen a record may come after its Provenance; of
these nothing is asked. Trusts the gate.
Source: FHIR R4 Provenance.target; `docs/spec/consent.md` C5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from fhir_bridge.bundled import Name
from fhir_bridge.document import Resource, member
from fhir_bridge.references import PROVENANCE, is_given, pointed
from fhir_bridge.rest.ask import Ask
from fhir_bridge.rest.core import Core
from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action
from medchain.errors import InputError
from medchain.store.records import RecordVersion

_SEEING: Final = (Action.READ, Action.SEARCH)


def check_targets(
    core: Core, ask: Ask, resource: Resource, before: Resource | None, beside: Collection[Name] = ()
) -> None:
    """See that the caller may know of the records of which a Provenance newly says to be.

    Args:
        core: of the server.
        ask: the request.
        resource: as it will be stored; of another type nothing is looked at.
        before: the version before it; None for none.
        beside: records that are stored together with it.

    Raises:
        InputError: ``provenance.target``.
    """
    if resource.get("resourceType") != PROVENANCE:
        return
    known = {*beside, *(_given(core, before) if before is not None else ())}
    for name in _given(core, resource):
        newest = None if name in known else core.store.get(*name)
        if name in known or (newest is not None and _may_know(core, ask.who, newest)):
            continue
        if newest is not None:
            # Of which record it was, the audit tells, and the answer does not.
            ask.trail.numbers.append(newest.seq)
        raise InputError("provenance.target")


def _given(core: Core, provenance: Resource) -> Iterator[Name]:
    """List the records with ids that this node gives of which a Provenance says to be."""
    targets = provenance.get("target")
    for one in targets if isinstance(targets, list) else ():
        place = pointed(member(one, "reference"), core.search.index.setting.bases) if isinstance(one, dict) else None
        if place is not None and is_given(place.id):
            yield place.type, place.id


def _may_know(core: Core, access: Access, newest: RecordVersion) -> bool:
    """Tell whether a caller may know that a record is there: whoever may see it, or put another version of it."""
    is_seen = any(core.gate.shown(access, [newest], action)[0] for action in _SEEING)
    return is_seen or core.gate.may_replace(access, Action.UPDATE, newest)
