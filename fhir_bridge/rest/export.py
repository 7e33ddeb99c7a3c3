"""Bulk export over HTTP: `$export` of the system, of all patients and of a group; its status, its files, its end.

Data flow: kick-off → rights and parameters → the order kept → found, part by part, at the kick-off and at each look at
the status → a manifest with links → a file: its list opened, each record through the gate, opened, sent. Keeps true: a
link opens nothing without a token of whom it was made for, and only for a while; a file holds no more than its caller
may see when it fetches it, whatever it could see at the kick-off; a fetch is kept by the audit, record by record,
before it begins. Trusts `fhir_bridge.bulk.finding`.
Source: HL7 Bulk Data Access 2.0 (export); FHIR R4 §3.1.6 (async); `docs/spec/bulk-export.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final
from urllib.parse import urlencode

import orjson

from fhir_bridge.bulk.finding import Rights, owner_of
from fhir_bridge.bulk.request import MAX_PATIENTS, NDJSON, Asked, Order, Reader, pairs_of, refused
from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import compartment
from fhir_bridge.document import Element, Resource, parse, write
from fhir_bridge.outcome import outcome_of
from fhir_bridge.references import instant
from fhir_bridge.resources import is_storable
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import AUDIT_EVENT, Core
from fhir_bridge.rest.export_lines import EACH, deletions, lines, packed, permitted
from fhir_bridge.rest.negotiate import takes_gzip
from fhir_bridge.rest.read import found, http_date
from fhir_bridge.rest.words import say
from fhir_bridge.search.budget import check_lengths
from fhir_bridge.search.cursor import LIFE_S, PARAMETER, Position
from fhir_bridge.smart.access import Access, access_document, parse_access
from fhir_bridge.smart.scopes import Action
from fhir_bridge.validation.wording import CODE_SYSTEM
from medchain.errors import AccessDeniedError, InputError, NotFoundError
from medchain.store.exports import ExportRow, FileRow

STATUS: Final = "$export-status"
"""Where the state of an export is asked."""

FILE: Final = "$export-file"
"""Where its files lie."""

LINK_S: Final = LIFE_S
"""How long a link to a file can be used, in seconds; the status gives new ones."""

KICK_OFF_S: Final = 1.0
"""How long a kick-off goes on with finding, in seconds: enough for what is small to be ready at the first look."""

LOOK_S: Final = 2.0
"""How long a look at the status does."""

STALE_S: Final = 3_600
"""How long the finding may take; the index keeps what was replaced since the snapshot so long, and no longer."""

_OUTCOMES: Final = 0
_BUNDLE: Final = "Bundle"
_PATIENT: Final = "Patient"
_GROUP: Final = "Group"
# What shapes an answer and finds nothing (FHIR R4 §3.1.1.5).
_RESULTS: Final = frozenset(
    {
        "_contained",
        "_containedType",
        "_count",
        "_elements",
        "_include",
        "_revinclude",
        "_sort",
        "_summary",
        "_total",
        "_type",
    }
)
_AT_ONCE: Final = 200


def of_system(core: Core, ask: Ask) -> Reply:
    """Begin an export of all that the caller may see."""
    asked = _asked(core, ask)
    if asked.patients is not None:
        raise refused("patient")
    return _begin(core, ask, asked, None)


def of_patients(core: Core, ask: Ask) -> Reply:
    """Begin an export of what is in the compartment of any patient, or of those that are named."""
    if ask.type != _PATIENT:
        raise NotFoundError("route.unknown")
    asked = _asked(core, ask)
    patients = None
    if asked.patients is not None:
        patients = _known(core, ask, asked.patients)
        asked = _passing(asked, "patient", len(patients) < len(asked.patients))
    return _begin(core, ask, asked, patients, of_patients=True)


def of_group(core: Core, ask: Ask) -> Reply:
    """Begin an export of what is in the compartments of the members of a Group."""
    if ask.type != _GROUP:
        raise NotFoundError("route.unknown")
    it = found(core, ask, None)
    content = core.content(it)
    if not content:
        raise NotFoundError("record.deleted", version=it.stored.version)
    asked = _asked(core, ask)
    ask.trail.numbers.append(it.stored.seq)
    members = _members(core, parse(content))
    if asked.patients is not None:
        chosen = set(asked.patients)
        are_others = not chosen <= set(members)
        if are_others and not ask.preference.is_lenient:
            raise InputError("export.patient")
        asked = _passing(asked, "patient", are_others)
        members = [one for one in members if one in chosen]
    return _begin(core, ask, asked, tuple(members), of_patients=True)


def status(core: Core, ask: Ask) -> Reply:
    """Go on with an export for a while, and tell how far it is; at its end the manifest."""
    row, order = _begun(core, ask)
    now = core.clock()
    if row.progress.step < len(order.steps):
        if now > row.created + STALE_S:
            raise NotFoundError("export.expired")
        row = core.exports.advance(row, order, _rights(core, parse_access(order.access)), LOOK_S)
    done, whole = row.progress.step, len(order.steps)
    if done < whole:
        headers = {"X-Progress": f"{100 * done // whole}% of the types searched", "Retry-After": "1"}
        return Reply(202, b"", headers, "")
    files = [one for one in core.store.export_files(row.id) if core.gate.may_export(ask.who, one.of_type)]
    manifest: dict[str, object] = {
        "transactionTime": instant(row.created),
        "request": order.url,
        "requiresAccessToken": True,
        "output": [_item(core, ask, row, one) for one in files if not one.has_deletions],
        "error": [_outcomes_item(core, ask, row, order)] if order.passed else [],
    }
    if order.since:
        manifest["deleted"] = [_item(core, ask, row, one) for one in files if one.has_deletions]
    return Reply(200, orjson.dumps(manifest), {"Expires": http_date(now + LINK_S)}, "application/json")


def cancel(core: Core, ask: Ask) -> Reply:
    """End an export, found or not: its links lead nowhere from now on."""
    row, _ = _begun(core, ask)
    core.store.drop_export(row.id)
    return Reply(202, b"", {}, "")


def fetch(core: Core, ask: Ask) -> Reply:
    """Send a file: records as they are stored, one a line, or Bundles of what was deleted."""
    row, order = _begun(core, ask)
    number = _file_of(core, ask)
    if number == _OUTCOMES:
        return Reply(200, _outcomes(order, ask.language), {}, NDJSON)
    file = core.store.export_file(row.id, number)
    if file is None:
        raise NotFoundError("export.link")
    if not core.gate.may_export(ask.who, file.of_type):
        raise AccessDeniedError("scope.denied")
    numbers = core.exports.numbers(row, file)
    if not core.gate.exports_all(ask.who, file.of_type):
        numbers = permitted(core, ask.who, numbers)
    ask.trail.numbers.extend(numbers)
    if file.has_deletions:
        pieces = deletions(core, ask.who, numbers)
    else:
        pieces = lines(core, ask.who, numbers, frozenset(order.elements))
    headers = {"Vary": "Accept-Encoding"}
    if takes_gzip(ask.header("Accept-Encoding") or ""):
        headers["Content-Encoding"] = "gzip"
        pieces = packed(pieces)
    return Reply(200, pieces, headers, NDJSON)


def _asked(core: Core, ask: Ask) -> Asked:
    """Read what is asked for, and see that its filters can be searched for."""
    if ask.method == "HEAD":
        # It would begin an export that nobody is told of.
        raise InputError("http.405")
    preference = ask.preference
    if not preference.is_async:
        raise InputError("export.prefer")
    by_post = ask.method == "POST"
    pairs = [*ask.pairs, *(pairs_of(ask.resource()) if by_post and ask.has_body() else [])]
    # Patients are bounded by their number; of all else so many are no list of types or elements, nor a search.
    check_lengths(pair for pair in pairs if pair[0] != "patient")
    ask.trail.query = urlencode(pairs)
    asked = Reader(by_post=by_post, lenient=preference.is_lenient).read(pairs)
    for name, text in asked.filters:
        query = core.search.condition(name, text)
        if any(parameter.partition(":")[0] in _RESULTS for parameter, _ in query.used):
            raise refused("_typeFilter")
    return asked


def _passing(asked: Asked, name: str, is_passed: bool) -> Asked:  # noqa: FBT001  # what is told of
    """Note that a parameter was passed over, if it was."""
    return replace(asked, passed=tuple(dict.fromkeys((*asked.passed, name)))) if is_passed else asked


def _begin(core: Core, ask: Ask, asked: Asked, patients: tuple[str, ...] | None, *, of_patients: bool = False) -> Reply:
    """Keep an order, and find as much of it as there is time for."""
    url = f"{core.base_url}/{ask.path}" + (f"?{ask.query}" if ask.query else "")
    types = _types(core, ask, asked, of_patients=of_patients)
    asked = _passing(asked, "_type", asked.types is not None and len(types) < len(asked.types))
    if AUDIT_EVENT in types:
        # One that is placed after the kick-off has an earlier time: no export since then would have it either.
        core.place_events(ask.who)
    order = Order(
        url,
        access_document(ask.who),
        types,
        asked.since,
        asked.filters,
        asked.elements,
        of_patients,
        patients,
        asked.passed,
    )
    row = core.exports.begin(owner_of(ask.who), order, core.clock())
    core.exports.advance(row, order, _rights(core, ask.who), KICK_OFF_S)
    return Reply(202, b"", {"Content-Location": f"{core.base_url}/{STATUS}/{row.id}"}, "")


def _rights(core: Core, access: Access) -> Rights:
    """Say what a caller may have of an export."""
    return Rights(core.gate.exported(access), partial(core.gate.exported_rows, access))


def _types(core: Core, ask: Ask, asked: Asked, *, of_patients: bool) -> tuple[str, ...]:
    """Say which types are exported: what is asked for, as far as it belongs there and the caller may have it."""
    whole = {_PATIENT, *compartment(_PATIENT)} if of_patients else type_names("resource")
    able = sorted(one for one in whole if is_storable(one))
    if asked.types is not None:
        lenient = ask.preference.is_lenient
        if not lenient and not set(asked.types) <= set(able):
            raise refused("_type")
        able = [one for one in asked.types if one in able]
        if not lenient and not all(core.gate.may_export(ask.who, one) for one in able):
            raise AccessDeniedError("scope.denied")
    allowed = tuple(one for one in able if core.gate.may_export(ask.who, one))
    if not allowed and (able or asked.types is None):
        raise AccessDeniedError("scope.denied")
    return allowed


def _known(core: Core, ask: Ask, patients: Sequence[str]) -> tuple[str, ...]:
    """See that patients are here, and that the caller may see them; those that are not are refused or passed over."""
    core.gate.require(ask.who, _PATIENT, Action.SEARCH)
    within, known = core.gate.exported(ask.who), list[str]()
    for start in range(0, len(patients), _AT_ONCE):
        part = patients[start : start + _AT_ONCE]
        known += core.search.ids(_PATIENT, f"_id={','.join(part)}", len(part), within=within)
    if len(known) < len(patients) and not ask.preference.is_lenient:
        raise InputError("export.patient")
    return tuple(sorted(known))


def _members(core: Core, group: Resource) -> list[str]:
    """List the patients that are members of a Group now."""
    rows = group.get("member")
    found_ids: dict[str, None] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict) or row.get("inactive") is True:
            continue
        entity = row.get("entity")
        reference = entity.get("reference") if isinstance(entity, dict) else None
        if isinstance(reference, str):
            kind, _, name = reference.removeprefix(f"{core.base_url}/").partition("/_history/")[0].partition("/")
            if kind == _PATIENT and name and "/" not in name:
                found_ids[name] = None
    if len(found_ids) > MAX_PATIENTS:
        raise InputError("export.patients", limit=MAX_PATIENTS)
    return sorted(found_ids)


def _begun(core: Core, ask: Ask) -> tuple[ExportRow, Order]:
    """Look an export of the caller up, and open its order; that of another client looks as absent.

    A later token of the client may be of less: it hears of the export only what it could have asked for.

    Raises:
        NotFoundError: ``export.unknown``.
        AccessDeniedError: ``scope.denied`` for a token that may export none of its types.
    """
    row = core.store.export(ask.id, owner_of(ask.who), core.clock())
    if row is None:
        raise NotFoundError("export.unknown")
    order = core.exports.order(row)
    if order.types and not any(core.gate.may_export(ask.who, one) for one in order.types):
        raise AccessDeniedError("scope.denied")
    return row, order


def _link(core: Core, ask: Ask, row: ExportRow, number: int) -> str:
    """Make a link to a file: what it leads to is sealed for the caller, with when it ends."""
    path, now = f"{FILE}/{row.id}", core.clock()
    sealed = core.search.cursors.seal(Position((path,), (), 0, now, (number,), owner_of(ask.who)))
    return f"{core.base_url}/{path}?{PARAMETER}={sealed}"


def _item(core: Core, ask: Ask, row: ExportRow, file: FileRow) -> dict[str, object]:
    """Name a file of records, or of Bundles that list what was deleted."""
    name, count = (_BUNDLE, -(-file.size // EACH)) if file.has_deletions else (file.type, file.size)
    return {"type": name, "url": _link(core, ask, row, file.number), "count": count}


def _outcomes_item(core: Core, ask: Ask, row: ExportRow, order: Order) -> dict[str, object]:
    """Name the file that says what was passed over."""
    return {"type": "OperationOutcome", "url": _link(core, ask, row, _OUTCOMES), "count": len(order.passed)}


def _outcomes(order: Order, language: str) -> bytes:
    """Say which parameters were passed over, one a line; a name that only the client knows is not repeated."""
    rows = []
    for name in order.passed:
        coding: Element = {"system": CODE_SYSTEM, "code": "export.parameter"}
        issue: Resource = {
            "severity": "warning",
            "code": "not-supported",
            "details": {"coding": [coding], "text": say("export.parameter", language)},
        }
        if name:
            issue["diagnostics"] = f"parameter={name}"
        rows.append(write(outcome_of([issue])) + b"\n")
    return b"".join(rows)


def _file_of(core: Core, ask: Ask) -> int:
    """Open a link; raises `NotFoundError` ``export.link``, whatever is wrong with it."""
    try:
        position = core.search.cursors.open(ask.parameter(PARAMETER) or "", owner_of(ask.who))
    except (InputError, NotFoundError) as error:
        raise NotFoundError("export.link") from error
    if position.types != (f"{FILE}/{ask.id}",):
        raise NotFoundError("export.link")
    return int(position.after[0])
