"""Records of other organisations over this node's own API: read, search and `$everything` with `_custodian`.

Data flow: gate (the caller's scopes) → which grants are about the patient, or which emergency at that custodian this
person has declared → for each, a signed request to the custodian, which decides, puts its entry first and seals → the
daemon opens and compares → what was not asked for is refused → gate again → answer. Keeps true: who may not see records
of a type here sees none of others; what is absent and what is forbidden look alike; nothing is stored; a custodian that
cannot be asked is an error, or with ``*`` a warning that names it, and never a shorter answer. Trusts
`medchain.node.exchange_client`.
Source: `docs/spec/rest.md` 15, `docs/spec/release.md`, `docs/spec/emergency-release.md`;
`docs/adr/0045-records-of-others-through-ones-own-api.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Final, NamedTuple
from urllib.parse import urlencode

from fhir_bridge.definitions.elements import is_resource_type
from fhir_bridge.definitions.parameters import ParameterType, compartment
from fhir_bridge.document import Element, Resource
from fhir_bridge.elsewhere import Expected, Foreign, base_of, entry, judged, provenance_entry
from fhir_bridge.outcome import outcome_of
from fhir_bridge.rest.ask import Ask, Pairs, Reply
from fhir_bridge.rest.core import AUDIT_EVENT, Core
from fhir_bridge.rest.everything import parameters_of
from fhir_bridge.rest.pages import bundle, outcome_entry
from fhir_bridge.rest.read import ANCHORED
from fhir_bridge.rest.searching import part_of, posted
from fhir_bridge.rest.shape import part
from fhir_bridge.rest.words import say
from fhir_bridge.search.conditions import Context
from fhir_bridge.search.cursor import PARAMETER as CURSOR
from fhir_bridge.search.cursor import Position
from fhir_bridge.search.query import parse_query
from fhir_bridge.search.tree import Criterion, Query, Summary
from fhir_bridge.smart.access import Access, Permit, permit
from fhir_bridge.smart.scopes import Action
from fhir_bridge.smart.scopes import Context as Scoped
from fhir_bridge.validation.wording import CODE_SYSTEM
from medchain.errors import AccessDeniedError, InputError, NotFoundError, UnavailableError, VerificationError
from medchain.ledger.emergency_request import BREAKING
from medchain.node.emergency import open_elsewhere
from medchain.node.exchange_client import Given, Narrowing, Place
from medchain.node.log import Log

PARAMETER: Final = "_custodian"
"""Name of the parameter that names the organisation whose records are asked for."""

ALL: Final = "*"
"""Its value for every organisation that lets this one read about a patient of this node."""

DEFAULT_COUNT: Final = 200
"""Records of a page, unless `_count` says otherwise."""

MAX_COUNT: Final = 1000
"""Most records of a page."""

MAX_PAGE_BYTES: Final = 48 << 20
"""So much of records begins no further release for the same page."""

_PATIENT: Final = "Patient"
_OURS: Final = "exchange"
_RETRY_S: Final = 5
_RECORD_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_REFERENCE: Final = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")
# The patient whom a mandate of the law is about, whom its recipient need not know.
_MANDATE: Final = re.compile(r"urn:medchain:mandate\|([0-9a-f]{64})")
# Parameters of HL7's that say whose a record is.
_WHOSE: Final = frozenset({"patient", "subject", "beneficiary"})
_SHAPING: Final = frozenset({"_count", "_elements", "_format", "_pretty", "_summary", "_total"})
_OF_READ: Final = frozenset({PARAMETER, "_elements", "_format", "_pretty", "_summary"})
_OF_EVERYTHING: Final = frozenset({PARAMETER, CURSOR, "_count", "_format", "_pretty", "_type"})
_LOG: Final = Log("fhir")

Handler = Callable[[Core, Ask], Reply]


@dataclass(slots=True)
class _Wanted:
    """What is asked for.

    Attributes:
        custodian: org_id, or `ALL`.
        patient: id of the patient, at the custodian or, with `ALL`, here; empty where a record alone is named.
        about: record of the custodian that leads to the grants, ``Type/id``.
        query: what goes to the custodian.
        permits: what the caller may see, by type: the types that are asked for.
        meets: tells whether a resource is what was searched for.
        shape: what shapes the answer.
        mandate: map key in hexadecimal of the mandate of the law by which it is asked for; empty for none.
    """

    custodian: str
    patient: str
    about: str
    query: str
    permits: dict[str, Permit]
    meets: Callable[[str, Resource], bool]
    shape: Query
    mandate: str = ""

    @property
    def count(self) -> int:
        """Most records of the page."""
        return min(self.shape.count or DEFAULT_COUNT, MAX_COUNT)

    def narrowing(self, access: Access, count: int) -> Narrowing:
        """Say it to the daemon."""
        types = tuple(sorted(self.permits))
        return Narrowing(access.purpose, types, self.query, count, access.user, self.patient)


class _Whose(NamedTuple):
    """Whose records a search asks for.

    Attributes:
        patient: id of the patient; empty where it is not known.
        about: record of the custodian that leads to the grants; empty for none.
        pair: the parameter that says so.
        mandate: as of `_Wanted`.
    """

    patient: str
    about: str
    pair: tuple[str, str]
    mandate: str = ""


@dataclass(frozen=True, slots=True)
class _Said:
    """The search of an answer, as its links say it.

    Attributes:
        place: address below the base.
        pairs: its parameters, but for the custodian and the cursor.
        cursor: by which this page was asked for; None for the first.
        places: where this page begins; None for the first.
    """

    place: str
    pairs: Pairs
    cursor: str | None = None
    places: Sequence[Place] | None = None


@dataclass(slots=True)
class _Page:
    """What was given.

    Attributes:
        rows: records, each once.
        given: the releases with what is shown of each.
        places: where the next page goes on.
        notes: warnings.
    """

    rows: list[Foreign] = field(default_factory=list)
    given: list[tuple[Given, list[Foreign]]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    notes: list[Element] = field(default_factory=list)


def is_named(ask: Ask) -> bool:
    """Tell whether the address of a request names a custodian."""
    may_be = PARAMETER in ask.query or "%" in ask.query
    return may_be and any(name == PARAMETER for name, _ in ask.pairs)


def check(ask: Ask, *, is_served: bool) -> None:
    """Refuse a custodian where none can be named; passed over, a request would be done here.

    Raises:
        InputError: ``exchange.interaction``, ``request.query``.
    """
    if not is_served and is_named(ask):
        raise InputError("exchange.interaction")


def or_read(here: Handler) -> Handler:
    """Read at another organisation where one is named."""
    return lambda core, ask: _read(core, ask) if is_named(ask) else here(core, ask)


def or_search(here: Handler) -> Handler:
    """Search at another organisation where one is named, with POST in the body too."""

    def handle(core: Core, ask: Ask) -> Reply:
        given = ask.pairs if ask.method in ("GET", "HEAD") else posted(ask)
        return _search(core, ask, given) if _names(given) else here(core, ask)

    return handle


def or_everything(here: Handler) -> Handler:
    """Answer all of a patient of another organisation where one is named, with POST in the Parameters too."""

    def handle(core: Core, ask: Ask) -> Reply:
        given = parameters_of(ask)
        return _everything(core, ask, given) if _names(given) else here(core, ask)

    return handle


def _names(given: Pairs) -> bool:
    """Tell whether parameters name a custodian."""
    return any(name == PARAMETER for name, _ in given)


def _read(core: Core, ask: Ask) -> Reply:
    """Answer the newest final version of a record of another organisation."""
    custodian = _custodian(ask.pairs)
    if custodian == ALL:
        # An id means one record at one custodian, and another one at the next.
        raise InputError("exchange.custodian")
    _check_names(ask.pairs, _OF_READ)
    allowed = _permit(ask.who, ask.type, Action.READ)
    if allowed is None or not _RECORD_ID.fullmatch(ask.id):
        raise NotFoundError("record.unknown")
    record_id = ask.id

    def is_it(_type: str, resource: Resource) -> bool:
        return resource.get("id") == record_id

    wanted = _Wanted(
        custodian=custodian,
        patient=record_id if ask.type == _PATIENT else "",
        about=f"{ask.type}/{record_id}",
        query=_narrowed(f"_id={record_id}", allowed),
        permits={ask.type: allowed},
        meets=is_it,
        shape=Query((ask.type,), count=1),
    )
    ask.trail.query = urlencode([(PARAMETER, custodian)])
    page = _page(core, ask, wanted)
    if not page.rows:
        raise NotFoundError("record.unknown")
    row, (given, _) = page.rows[0], page.given[0]
    headers = {
        "ETag": f'W/"{row.version}"',
        ANCHORED: f"final; position={row.position}",
        "Content-Location": row.version_url,
        "Medchain-Access": f"{given.access}/{given.access_version}",
    }
    return Reply(200, part(ask, row.content), headers)


def _search(core: Core, ask: Ask, given: Pairs) -> Reply:
    """Answer a search of one type."""
    allowed = _permit(ask.who, ask.type, Action.SEARCH)
    if allowed is None:
        raise AccessDeniedError("scope.denied")
    custodian = _custodian(given)
    said = _begun(core, ask, given, custodian, ask.type)
    # Passed over, a parameter would widen what is released.
    context = core.search.context(strict=True)
    query = parse_query(said.pairs, ask.type, context)
    _check_shape(query)
    asked = [pair for pair in query.used if pair[0] not in _SHAPING]
    whose = _whose(ask.type, asked, is_federated=custodian == ALL, is_emergency=bool(_opened(core, ask, custodian)))
    # With `*` the patient is named as here, where no custodian knows it: the grant says whose records they are.
    sent = [pair for pair in asked if custodian != ALL or pair is not whose.pair]
    wanted = _Wanted(
        custodian=custodian,
        patient=whose.patient,
        about=whose.about,
        query=_narrowed(urlencode(sent), allowed),
        permits={ask.type: allowed},
        meets=_meets(core, ask.type, sent, context),
        shape=query,
        mandate=whose.mandate,
    )
    ask.trail.query = urlencode([(PARAMETER, custodian), *query.used])
    page = _page(core, ask, wanted, said.places)
    return _bundle(core, ask, wanted, page, replace(said, pairs=query.used))


def _everything(core: Core, ask: Ask, given: Pairs) -> Reply:
    """Answer all that a custodian gives of a patient."""
    if ask.type != _PATIENT or not ask.id:
        raise InputError("exchange.interaction")
    _check_names(given, _OF_EVERYTHING)
    if not _RECORD_ID.fullmatch(ask.id) or _permit(ask.who, _PATIENT, Action.READ) is None:
        raise NotFoundError("record.unknown")
    custodian = _custodian(given)
    said = _begun(core, ask, given, custodian, f"{_PATIENT}/{ask.id}/$everything")
    pairs = [pair for pair in said.pairs if pair[0] in ("_count", "_type")]
    types = [one for name, value in pairs if name == "_type" for one in value.split(",") if one]
    if not all(map(is_resource_type, types)):
        raise InputError("search.type", parameter="_type")
    # Who has looked at a patient is the custodian's own account.
    inside = {*compartment(_PATIENT), _PATIENT} - {AUDIT_EVENT}
    chosen = inside.intersection(types) if types else inside
    permits = {name: found for name in chosen if (found := _permit(ask.who, name, Action.READ)) is not None}
    if not permits:
        raise NotFoundError("record.unknown")
    wanted = _Wanted(
        custodian=custodian,
        patient=ask.id,
        about=f"{_PATIENT}/{ask.id}",
        query="",
        permits=permits,
        meets=lambda _type, _resource: True,
        shape=parse_query(pairs, "", core.search.context(strict=True)),
    )
    _check_shape(wanted.shape)
    ask.trail.query = urlencode([(PARAMETER, custodian), *pairs])
    page = _page(core, ask, wanted, said.places)
    return _bundle(core, ask, wanted, page, replace(said, pairs=pairs))


def _custodian(given: Pairs) -> str:
    """Read whose records are asked for; raises `InputError` ``exchange.custodian`` where that is said twice."""
    found = {value for name, value in given if name == PARAMETER}
    if len(found) != 1:
        raise InputError("exchange.custodian")
    return found.pop()


def _check_names(given: Pairs, known: frozenset[str]) -> None:
    """Refuse parameters that mean nothing here."""
    unknown = next((name for name, _ in given if name not in known), None)
    if unknown is not None:
        raise InputError("exchange.parameter", expected=" ".join(sorted(known)))


def _check_shape(query: Query) -> None:
    """Refuse what only who holds the records could answer, or what tells of others' records."""
    wrong = {
        "_sort": query.sort,
        "_include": query.includes,
        "_contained": query.contained.value != "false",
        "_summary": query.summary is Summary.COUNT,
    }
    found = next((name for name, is_wrong in wrong.items() if is_wrong), None)
    if found is None and not all(isinstance(one, Criterion) for one in query.conditions):
        found = "_has"
    if found is not None:
        raise InputError("exchange.parameter", parameter=found)


def _permit(access: Access, type_name: str, action: Action) -> Permit | None:
    """Tell what a caller may see of other organisations' records of a type: what its scopes of no one patient say.

    A patient of a launch is one of this node, whose id may be anybody's at another one; another member's system asks
    the custodian itself, under its own grant.
    """
    if access.member or type_name == AUDIT_EVENT:
        return None
    scopes = tuple(one for one in access.scopes if one.context is not Scoped.PATIENT)
    return permit(replace(access, scopes=scopes, patient=""), type_name, action)


def _narrowed(query: str, allowed: Permit) -> str:
    """Put the constraint of the caller's scopes to the search, where there is one: what it may not see stays there."""
    if allowed.is_whole or len(allowed.clauses) != 1:
        return query
    return "&".join(one for one in (query, allowed.clauses[0].query) if one)


def _whose(type_name: str, pairs: Pairs, *, is_federated: bool, is_emergency: bool) -> _Whose:
    """Find by what a search names a patient.

    In an emergency the patient was named as it was declared; an identifier then leads to the id.

    Raises:
        InputError: ``exchange.patient`` for a search that names nobody: no custodian is asked about everybody.
    """
    for pair in pairs:
        code, _, modifier = pair[0].partition(":")
        is_whose = code in _WHOSE and modifier in ("", _PATIENT)
        found = _REFERENCE.fullmatch(pair[1]) if is_whose or (type_name, pair[0]) == (_PATIENT, "_id") else None
        if found is not None:
            return _Whose(found[1], f"{_PATIENT}/{found[1]}", pair)
        by_law = _MANDATE.fullmatch(pair[1]) if is_federated and code in _WHOSE and modifier == "identifier" else None
        if by_law is not None:
            return _Whose("", "", pair, by_law[1])
    for pair in pairs:
        if pair[0] == "_id" and not is_federated and _RECORD_ID.fullmatch(pair[1]):
            return _Whose("", f"{type_name}/{pair[1]}", pair)
    found_by = next((pair for pair in pairs if is_emergency and (type_name, pair[0]) == (_PATIENT, "identifier")), None)
    if found_by is not None:
        return _Whose("", "", found_by)
    raise InputError("exchange.patient")


def _meets(core: Core, type_name: str, sent: Pairs, context: Context) -> Callable[[str, Resource], bool]:
    """Say how to tell whether a record is what was searched for.

    Dates are left to the custodian: one without a zone means another time in another node's zone.
    """
    conditions = [
        one
        for one in parse_query(sent, type_name, context).conditions
        if not (isinstance(one, Criterion) and one.kind is ParameterType.DATE)
    ]
    return lambda name, resource: core.judge.fulfils(name, resource, conditions)


def _places(core: Core, ask: Ask, wanted: _Wanted) -> list[Place]:
    """Find the grants under which something can be asked for, or the emergencies in which it can."""
    opened = _opened(core, ask, wanted.custodian)
    if opened:
        return opened
    narrowing = wanted.narrowing(ask.who, wanted.count)
    if wanted.custodian != ALL:
        with _asking(wanted.custodian):
            return core.others.grants(wanted.custodian, wanted.about, narrowing)
    if wanted.mandate:
        return core.others.under_mandate(wanted.mandate, narrowing)
    return core.others.of_patient(wanted.patient, narrowing)


def _opened(core: Core, ask: Ask, custodian: str) -> list[Place]:
    """Find the emergencies at a custodian that this person has declared, if that is the purpose."""
    if ask.who.purpose != BREAKING or not ask.who.user or custodian == ALL:
        return []
    found = open_elsewhere(core.store, ask.who.user, core.clock())
    return [Place(custodian, "", emergency=one.object_id.hex()) for one in found if one.custodian == custodian]


def _require_patient(core: Core, ask: Ask, wanted: _Wanted) -> None:
    """See that a caller may see the patient of this node by whom all are asked; raises `NotFoundError` if not."""
    newest = core.reader.find(_PATIENT, wanted.patient)
    if newest is None:
        raise NotFoundError("record.unknown")
    core.gate.require_shown(ask.who, newest.stored)


def _page(core: Core, ask: Ask, wanted: _Wanted, places: Sequence[Place] | None = None) -> _Page:
    """Ask for records, from where the page before ended.

    Raises:
        NotFoundError: ``record.unknown`` with `ALL` for a patient whom the caller may not see here.
        UnavailableError: ``exchange.busy`` while half of the threads wait for others: custodians that answer slowly, or
            not at all, must not stop those who ask for this node's own records.
    """
    if wanted.custodian == ALL and not wanted.mandate:
        _require_patient(core, ask, wanted)
    if not core.waiting.acquire(blocking=False):
        raise UnavailableError("exchange.busy", retry_after_s=_RETRY_S)
    try:
        return _asked(core, ask, wanted, places)
    finally:
        core.waiting.release()


def _asked(core: Core, ask: Ask, wanted: _Wanted, places: Sequence[Place] | None) -> _Page:
    """Ask for records, grant by grant, until a page is full."""
    page, size = _Page(), 0
    waiting = list(_places(core, ask, wanted) if places is None else places)
    bases: dict[str, str] = {}
    shown: set[str] = set()
    failed: dict[str, UnavailableError] = {}
    while waiting and len(shown) < wanted.count and size < MAX_PAGE_BYTES:
        place = waiting.pop(0)
        if core.enforcement.is_closed(ask.who, place.patient):
            # What may not be shown here is not asked for.
            continue
        try:
            with _asking(place.custodian):
                if place.custodian not in bases:
                    bases[place.custodian] = base_of(place.custodian, core.others.origins(place.custodian))
                given = core.others.request(place, wanted.narrowing(ask.who, wanted.count - len(shown)))
        except NotFoundError as error:
            if error.code != "release.nothing":
                raise
            # Stopped meanwhile, or nothing of what is wanted under it: which of both is not told.
            continue
        except UnavailableError as error:
            if wanted.custodian != ALL:
                raise
            failed[place.custodian] = error
            waiting = [one for one in waiting if one.custodian != place.custodian]
            continue
        rows, notes = _judged(core, ask, wanted, given, bases[place.custodian])
        rows = [row for row in rows if not core.enforcement.keeps_back(ask.who, place.patient, row.content)]
        page.notes += notes
        fresh = [row for row in rows if row.url not in shown]
        shown.update(row.url for row in fresh)
        size += sum(len(row.content) for row in fresh)
        page.rows += fresh
        page.given += [(given, fresh)] if fresh else []
        if given.following is not None:
            waiting.insert(0, replace(place, after=given.following))
    if failed and not page.rows:
        raise next(iter(failed.values()))
    page.notes += [_note("exchange.unavailable", ask, one) for one in failed]
    page.places = waiting
    _keep(ask, wanted, page, bases)
    return page


def _judged(core: Core, ask: Ask, wanted: _Wanted, given: Given, base: str) -> tuple[list[Foreign], list[Element]]:
    """See that what came was asked for, and leave out what the caller may not see; says what cannot be shown."""
    patient = "" if wanted.custodian == ALL else wanted.patient
    expected = Expected(frozenset(wanted.permits), patient, wanted.meets)
    try:
        found = [judged(record, base, expected) for record in given.records]
    except VerificationError as error:
        _LOG.warning("exchange.asked", code=error.code, peer=given.custodian)
        raise
    rows = [row for row in found if row is not None]
    missing = {"exchange.binary": len(found) - len(rows), "exchange.oversized": given.oversized}
    notes = [_note(code, ask, given.custodian, number) for code, number in missing.items() if number]
    return [row for row in rows if _may_see(core, wanted.permits[row.type], row)], notes


def _may_see(core: Core, allowed: Permit, row: Foreign) -> bool:
    """Tell whether the constraints of the caller's scopes admit a record."""
    return allowed.admits(lambda _: False, lambda query: core.gate.meets(row.type, row.resource, query))


def _keep(ask: Ask, wanted: _Wanted, page: _Page, bases: dict[str, str]) -> None:
    """Have the audit keep what is shown, and of whom."""
    if wanted.patient and wanted.custodian != ALL and page.rows:
        ask.trail.elsewhere.append(f"{bases[wanted.custodian]}/{_PATIENT}/{wanted.patient}")
    ask.trail.elsewhere += [row.version_url for row in page.rows]


def _bundle(core: Core, ask: Ask, wanted: _Wanted, page: _Page, said: _Said) -> Reply:
    """Write a page."""
    entries = [outcome_entry(outcome_of(page.notes))] if page.notes else []
    entries += [entry(row, part_of(wanted.shape, row.content, is_match=True)) for row in page.rows]
    now, purpose = core.clock(), ask.who.purpose
    entries += [provenance_entry(one, rows, core.tracer.org_id, purpose, now) for one, rows in page.given]
    address, named = f"{core.base_url}/{said.place}", (PARAMETER, wanted.custodian)
    asked = list(said.pairs) if said.cursor is None else [(CURSOR, said.cursor), *ask.chosen_form]
    links = [("self", f"{address}?{urlencode([named, *asked])}")]
    if page.places:
        after = tuple(part for one in page.places for part in astuple(one))
        position = Position((_OURS, wanted.custodian, said.place), tuple(said.pairs), 0, now, after, ask.who.client)
        cursor = core.search.cursors.seal(position)
        links.append(("next", f"{address}?{urlencode([named, (CURSOR, cursor), *ask.chosen_form])}"))
    return Reply(200, bundle("searchset", now, links, entries, None))


def _begun(core: Core, ask: Ask, given: Pairs, custodian: str, place: str) -> _Said:
    """Read the search, and where it goes on if it has begun; raises as `Cursors.open`."""
    cursor = next((value for name, value in given if name == CURSOR), None)
    if cursor is None:
        return _Said(place, [pair for pair in given if pair[0] != PARAMETER])
    begun = core.search.cursors.open(cursor, ask.who.client)
    if begun.types != (_OURS, custodian, place):
        raise InputError("search.cursor")
    if len(begun.after) % len(fields(Place)):
        # Of before there were emergencies.
        raise InputError("search.cursor")
    parts = iter(begun.after)
    rows = zip(*[parts] * len(fields(Place)), strict=True)
    places = [Place(str(org), str(grant), int(after), str(whom), str(case)) for org, grant, after, whom, case in rows]
    return _Said(place, list(begun.pairs), cursor, places)


@contextmanager
def _asking(custodian: str) -> Iterator[None]:
    """Say of a custodian that cannot be asked now that it is so, and when to try again."""
    try:
        yield
    except UnavailableError as error:
        _LOG.info("exchange.unavailable", code=error.code, peer=custodian)
        delay = max(_RETRY_S, error.retry_after_s)
        raise UnavailableError("exchange.unavailable", retry_after_s=delay, custodian=custodian) from error


def _note(code: str, ask: Ask, custodian: str, number: int = 0) -> Element:
    """Say that an answer lacks something of a custodian's."""
    return {
        "severity": "warning",
        "code": "transient" if code == "exchange.unavailable" else "not-supported",
        "details": {"coding": [{"system": CODE_SYSTEM, "code": code}], "text": say(code, ask.language)},
        "diagnostics": f"custodian={custodian}" + (f" records={number}" if number else ""),
    }
