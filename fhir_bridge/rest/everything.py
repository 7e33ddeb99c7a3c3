"""All of a patient, of all patients or of an encounter: its compartment, and what that refers to ($everything).

Keeps true: `start` and `end` are about when care was given, `_since` about when a record was changed; a record that
says nothing of when care was given is in no such range, and types that cannot say it (a Patient, a Coverage) are in
every one; what is referred to comes with the page that refers to it, as an include; who has looked at a patient is no
part of its care, and grows with each look: AuditEvents come where `_type` names them. What an encounter's records
refer to comes whole, since much of what belongs to an encounter does not name it, such as its diagnoses. Trusts the
search.
Source: FHIR R4 OperationDefinition/Patient-everything, Encounter-everything; §2.45 (compartments).
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.capability import HAVE_EVERYTHING
from fhir_bridge.definitions.elements import is_resource_type, type_names
from fhir_bridge.definitions.parameters import compartment
from fhir_bridge.document import Number, member
from fhir_bridge.rest.ask import Ask, Pairs, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.pages import bundle
from fhir_bridge.rest.searching import Asked, answered
from fhir_bridge.search.budget import Budget
from fhir_bridge.search.conditions import Conditions, Context, nearest
from fhir_bridge.search.cursor import PARAMETER
from fhir_bridge.search.tree import ByType, Condition, Include, InCompartment, InCompartments, Query
from medchain.errors import InputError, NotFoundError

_PATIENT: Final = "Patient"
_TOLD_WHEN_NAMED: Final = frozenset({"AuditEvent"})
_RANGE: Final = {"start": "ge", "end": "le"}
_SAID: Final = frozenset({"_count", "_since", "_type", *_RANGE})
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
    """Answer all of a patient or an encounter, page by page."""
    if ask.type not in HAVE_EVERYTHING:
        raise NotFoundError("route.unknown")
    newest = core.reader.find(ask.type, ask.id)
    if newest is None:
        raise NotFoundError("record.unknown")
    core.gate.require_shown(ask.who, newest.stored)
    return _all_of(core, ask, InCompartment(ask.type, ask.id), f"{ask.type}/{ask.id}/$everything")


def of_patients(core: Core, ask: Ask) -> Reply:
    """Answer all of all patients whom the caller may see, page by page."""
    if ask.type != _PATIENT:
        raise NotFoundError("route.unknown")
    return _all_of(core, ask, InCompartments(_PATIENT, None), f"{_PATIENT}/$everything")


def _all_of(core: Core, ask: Ask, owner: InCompartment | InCompartments, place: str) -> Reply:
    """Answer what lies in compartments, and what that refers to."""
    is_patient, inside = ask.type == _PATIENT, _inside(ask.type)
    asked = parameters_of(ask)
    ranged = next((name for name, _ in asked if name in _RANGE), None)
    if ranged is not None and not is_patient:
        # The operation has no dates of care for an encounter.
        raise InputError("operation.parameter", parameter=ranged)
    types = [one for name, value in asked if name == "_type" for one in value.split(",") if one]
    ask.type = ""
    unknown = next((one for one in types if not is_resource_type(one)), None)
    if unknown is not None:
        raise InputError("search.type", parameter="_type", expected=nearest(unknown, sorted(type_names("resource"))))
    if types and not inside.intersection(types):
        return Reply(200, bundle("searchset", core.clock(), [("self", f"{core.base_url}/{place}")], [], 0))
    pairs: Pairs = [("_type", ",".join(types or sorted(inside - _TOLD_WHEN_NAMED)))]
    pairs += [(name, value) for name, value in asked if name in ("_count", PARAMETER, *_RANGE)]
    pairs += [("_lastUpdated", f"ge{value}") for name, value in asked if name == "_since" and value]

    def shape(query: Query, given: Pairs, context: Context) -> None:
        """Understand what is left of the request, or of the one that a cursor goes on with."""
        wanted = set(query.types)
        query.types = tuple(one for one in query.types if one in inside)
        query.conditions.append(owner)
        bounds = [(_RANGE[name], value) for name, value in given if name in _RANGE and value]
        if bounds:
            query.conditions.append(_given_in(query.types, bounds, context))
        outside = wanted - inside
        if outside or inside - _TOLD_WHEN_NAMED <= wanted:
            apart = inside if is_patient else frozenset[str]()
            if outside:
                apart = frozenset(type_names("resource")) - outside
            query.includes.append(Include("", "", "", reverse=False, iterate=False, apart=apart))

    said = [(name, value) for name, value in asked if name in _SAID]
    return answered(core, ask, pairs, Asked(place, frozenset(_RANGE), shape, lambda _used: said))


def parameters_of(ask: Ask) -> Pairs:
    """Read what is asked for: in the address, and with POST in Parameters (FHIR R4 §3.2.0.4).

    Raises:
        InputError: ``operation.parameter`` for another body, ``document.*``.
    """
    if ask.method != "POST" or not ask.has_body():
        return ask.pairs
    given = ask.parameters()
    rows = given.get("parameter", [])
    if given.get("resourceType") != "Parameters" or not isinstance(rows, list):
        raise InputError("operation.parameter", parameter="")
    found = list(ask.pairs)
    for row in rows:
        given = row if isinstance(row, dict) else {}
        value = next((value for key, value in given.items() if key.startswith("value")), None)
        if not isinstance(value, str | Number):
            raise InputError("operation.parameter", parameter="")
        found.append((member(given, "name"), value if isinstance(value, str) else value.text))
    return found


def _inside(owner: str) -> frozenset[str]:
    """List the types of which a compartment has some."""
    return frozenset({*compartment(owner), owner})


def _given_in(types: tuple[str, ...], bounds: list[tuple[str, str]], context: Context) -> ByType:
    """Say that care was given within dates."""
    found: list[tuple[str, tuple[Condition, ...]]] = []
    for one in types:
        code = next((code for code in _CARE if code in context.registry(one)), "")
        made = [Conditions(context, prefix + value, Budget()).read(code, (one,), 1) for prefix, value in bounds if code]
        found.append((one, tuple(made)))
    return ByType(tuple(found))
