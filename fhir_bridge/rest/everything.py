"""All of a patient: what is in its compartment, and what that refers to outside it (operation Patient/$everything).

Keeps true: `start` and `end` are about when care was given, `_since` about when a record was changed; a record that
says nothing of when care was given is in no such range, and types that cannot say it (a Patient, a Coverage) are in
every one; what is referred to comes with the page that refers to it, as an include; who has looked at a patient is no
part of its care, and grows with each look: AuditEvents come where `_type` names them. Trusts the search.
Source: FHIR R4 OperationDefinition/Patient-everything; §2.45 (compartments).
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import compartment
from fhir_bridge.rest.ask import Ask, Pairs, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.pages import bundle
from fhir_bridge.rest.searching import Asked, answered
from fhir_bridge.search.conditions import Branches, Conditions, Context
from fhir_bridge.search.cursor import PARAMETER
from fhir_bridge.search.tree import ByType, Condition, Include, InCompartment, Query
from medchain.errors import NotFoundError

_PATIENT: Final = "Patient"
_TOLD_WHEN_NAMED: Final = frozenset({"AuditEvent"})
_RANGE: Final = {"start": "ge", "end": "le"}
_CARE: Final = (
    "date",
    "period",
    "effective",
    "effective-time",
    "occurrence",
    "started",
    "collected",
    "onset-date",
    "event-date",
    "whenhandedover",
    "start-date",
    "sent",
    "identified",
    "datewritten",
    "datetime",
    "created",
    "authored",
    "recorded",
)
"""Parameters that say when care was given, the first that a type has."""


def everything(core: Core, ask: Ask) -> Reply:
    """Answer all of a patient, page by page."""
    if ask.type != _PATIENT:
        raise NotFoundError("route.unknown")
    newest = core.reader.find(ask.type, ask.id)
    if newest is None:
        raise NotFoundError("record.unknown")
    core.gate.require_shown(ask.who, newest.stored)
    place, patient = f"{_PATIENT}/{ask.id}/$everything", ask.id
    inside = _inside()
    types = [one for name, value in ask.pairs if name == "_type" for one in value.split(",") if one]
    ask.type = ""
    if types and not inside.intersection(types):
        return Reply(200, bundle("searchset", core.clock(), [("self", f"{core.base_url}/{place}")], [], 0))
    pairs: Pairs = [("_type", ",".join(types or sorted(inside - _TOLD_WHEN_NAMED)))]
    pairs += [(name, value) for name, value in ask.pairs if name in ("_count", PARAMETER, *_RANGE)]
    pairs += [("_lastUpdated", f"ge{value}") for name, value in ask.pairs if name == "_since" and value]

    def shape(query: Query, given: Pairs, context: Context) -> None:
        """Understand what is left of the request, or of the one that a cursor goes on with."""
        wanted = set(query.types)
        query.types = tuple(one for one in query.types if one in inside)
        query.conditions.append(InCompartment(_PATIENT, patient))
        bounds = [(_RANGE[name], value) for name, value in given if name in _RANGE and value]
        if bounds:
            query.conditions.append(_given_in(query.types, bounds, context))
        outside = wanted - inside
        if outside or inside - _TOLD_WHEN_NAMED <= wanted:
            apart = inside if not outside else frozenset(type_names("resource")) - outside
            query.includes.append(Include("", "", "", reverse=False, iterate=False, apart=apart))

    return answered(core, ask, pairs, Asked(place, frozenset(_RANGE), shape))


def _inside() -> frozenset[str]:
    """List the types of which a patient's compartment has some."""
    return frozenset({*compartment(_PATIENT), _PATIENT})


def _given_in(types: tuple[str, ...], bounds: list[tuple[str, str]], context: Context) -> ByType:
    """Say that care was given within dates."""
    found: list[tuple[str, tuple[Condition, ...]]] = []
    for one in types:
        code = next((code for code in _CARE if code in context.registry(one)), "")
        made = [
            Conditions(context, prefix + value, Branches()).read(code, (one,), 1) for prefix, value in bounds if code
        ]
        found.append((one, tuple(made)))
    return ByType(tuple(found))
