"""Searches over HTTP: of a type, of all, in a compartment, by GET and by POST.

Data flow: parse → gate (what must hold of all that takes part) → index → open → splice → answer. Keeps true: what the
gate does not show takes part in nothing; the address of a next page says nothing of what was searched for; a client
that wants to be told of unknown parameters gets an error, any other a warning. Trusts `SearchService`.
Source: FHIR R4 §3.1.1 (search), §3.1.1.6 (self link), §2.45 (compartments).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from fhir_bridge.definitions.elements import is_resource_type
from fhir_bridge.definitions.parameters import COMPARTMENTS, compartment
from fhir_bridge.document import Element, parse, write
from fhir_bridge.outcome import located, outcome_of
from fhir_bridge.provenance import TYPE as PROVENANCE
from fhir_bridge.rest import provenance
from fhir_bridge.rest.ask import FORMS, Ask, Pairs, Reply, parse_pairs
from fhir_bridge.rest.chained import into_contained
from fhir_bridge.rest.code_systems import own_systems
from fhir_bridge.rest.contained import Hit, with_contained
from fhir_bridge.rest.core import AUDIT_EVENT, Core
from fhir_bridge.rest.negotiate import media_type
from fhir_bridge.rest.pages import Link, bundle, content_of, found_entry, outcome_entry
from fhir_bridge.rest.provenance import Ahead, told_entry
from fhir_bridge.rest.shape import check_form
from fhir_bridge.rest.value_sets import pinned
from fhir_bridge.rest.words import say
from fhir_bridge.search.conditions import Context
from fhir_bridge.search.cursor import PARAMETER
from fhir_bridge.search.query import parse_query
from fhir_bridge.search.service import Found as Page
from fhir_bridge.search.tree import Condition, Contained, InCompartment, Problem, Query, Summary
from fhir_bridge.smart.scopes import Action
from fhir_bridge.subset import Summary as Part
from fhir_bridge.subset import summarised, with_elements
from fhir_bridge.validation.wording import CODE_SYSTEM
from medchain.crypto.keywrap import WrappingKey
from medchain.errors import InputError, NotFoundError

FORM: Final = "application/x-www-form-urlencoded"
"""Media type of a search by POST."""

_ALL: Final = "*"
_PASSED: Final = frozenset({PARAMETER})
_MAX_NAMED: Final = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search asks for beside its parameters.

    Attributes:
        place: address below the base.
        passed: names of parameters that `shape` understands.
        shape: adds what the address, and those parameters, ask for; gets the parameters of the page.
        said: chooses what the self link tells of the parameters that were used: what the address implies it does not.
    """

    place: str
    passed: frozenset[str]
    shape: Callable[[Query, Pairs, Context], None]
    said: Callable[[Pairs], Pairs] = list


def by_get(core: Core, ask: Ask) -> Reply:
    """Answer a search by GET."""
    return _search(core, ask, ask.pairs, ())


def by_post(core: Core, ask: Ask) -> Reply:
    """Answer a search by POST: parameters of the body count as those of the address (§3.1.1)."""
    return _search(core, ask, posted(ask), ())


def in_compartment(core: Core, ask: Ask) -> Reply:
    """Answer a search in the compartment of a resource; ``*`` is all types of it (§3.1.1.4.24)."""
    return _of_compartment(core, ask, ask.pairs)


def in_compartment_by_post(core: Core, ask: Ask) -> Reply:
    """Answer the same by POST, with a type in the address or for all of them (R5 §3.2.0.10)."""
    return _of_compartment(core, ask, posted(ask))


def _of_compartment(core: Core, ask: Ask, given: Pairs) -> Reply:
    """Answer a search in a compartment."""
    owner, kind = ask.type, ask.other or _ALL
    ask.type = kind
    if owner not in COMPARTMENTS or (kind != _ALL and not is_resource_type(kind)):
        raise NotFoundError("route.unknown")
    core.gate.require(ask.who, owner, Action.READ)
    implied: Pairs = []
    if kind == _ALL:
        ask.type = ""
        if not any(name == "_type" for name, _ in given):
            implied.append(("_type", ",".join(sorted({*compartment(owner), owner}))))
    place = f"{owner}/{ask.id}/{kind}"
    return _search(core, ask, [*given, *implied], (InCompartment(owner, ask.id),), place, implied)


def posted(ask: Ask) -> Pairs:
    """Read the parameters of a search by POST: those of the body count as those of the address, its form among them.

    Raises:
        InputError: ``http.415``, ``http.406``, ``request.query`` and those of bodies.
    """
    kind = media_type(ask.content_type)
    # Who has said all in the address need send nothing, and so nothing that has a type (§3.1.0.9).
    if kind != FORM and (kind or ask.body()):
        raise InputError("http.415")
    try:
        body = ask.body().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("request.query") from error
    form = parse_pairs(body)
    given = ask.take(form)
    if any(name in FORMS for name, _ in form):
        check_form(ask)
    return given


def _search(  # what a search is made of
    core: Core,
    ask: Ask,
    given: Pairs,
    more: tuple[Condition, ...],
    place: str = "",
    implied: Sequence[tuple[str, str]] = (),
) -> Reply:
    """Answer a search, with the conditions that the address itself states."""

    def shape(query: Query, _pairs: Pairs, _context: Context) -> None:
        query.conditions.extend(more)

    def said(used: Pairs) -> Pairs:
        return [pair for pair in used if pair not in implied]

    return answered(core, ask, given, Asked(place or ask.type, frozenset(), shape, said))


def answered(core: Core, ask: Ask, given: Pairs, asked: Asked) -> Reply:
    """Answer a search.

    Args:
        core: of the server.
        ask: the request.
        given: its parameters.
        asked: what is asked for beside them.
    """
    if ask.type:
        core.gate.require(ask.who, ask.type, Action.SEARCH)
    else:
        core.gate.require_any(ask.who, Action.SEARCH)
    return core.search.anew(lambda: _answered(core, ask, given, asked))


def _answered(core: Core, ask: Ask, given: Pairs, asked: Asked) -> Reply:
    """Answer a search, by what its parameters mean now."""
    cursor = next((value for name, value in given if name == PARAMETER), None)
    # The form of an answer is no part of what is searched for: another one may be asked for on each page.
    pairs = [pair for pair in given if pair[0] not in FORMS]
    if cursor is not None:
        pairs = core.search.pairs_of(cursor, ask.who.client)
    pairs, sets = pinned(core, ask.who, pairs)
    strict, passed = ask.preference.is_strict, _PASSED | asked.passed
    context = core.search.context(strict=strict, passed=passed, sets=sets, systems=own_systems(core, ask.who))
    query = parse_query(pairs, ask.type, context)
    query.used = [pair for pair in query.used if pair[0] != PARAMETER]
    ask.trail.query = urlencode(query.used)
    if cursor is None and _may_tell_of_audit(query, pairs):
        core.place_events(ask.who)
    # What the address asks for holds of the matches; what the caller may see, of all that takes part.
    asked.shape(query, pairs, context)
    hits: list[Hit] = []
    is_short = False
    if query.contained is Contained.FALSE:
        is_short = into_contained(core, ask, query, cursor)
        told = provenance.ahead(core, ask, query, cursor) if ask.type == PROVENANCE else None
        page = _page(core, ask, query, cursor, told)
    else:
        told = None
        page, hits = with_contained(core, ask, query, cursor, lambda one, at: _page(core, ask, one, at, None))
    entries = _entries(core, ask, query, page, told)
    for one in hits:
        content = part_of(query, one.content, is_match=True)
        entries.append(found_entry(core.base_url, one.found, content, "match", one.fragment))
    if query.problems:
        entries.insert(0, outcome_entry(outcome_of(_warnings(query.problems, ask.language))))
    notes = [code for code, is_so in (("search.cut", page.is_cut), ("search.contained", is_short)) if is_so]
    if notes:
        entries.insert(0, outcome_entry(outcome_of([_note(code, ask.language) for code in notes])))
    said = asked.said(query.used)
    written = ask.trail.query if said == query.used else urlencode(said)
    links = _links(core, asked.place, written if cursor is None else _at(cursor), page, urlencode(ask.chosen_form))
    return Reply(200, bundle("searchset", core.clock(), links, entries, page.total))


def _may_tell_of_audit(query: Query, pairs: Pairs) -> bool:
    """Tell whether AuditEvents may be among what is found or included, or decide what is found (`_has`)."""
    return (
        not query.types
        or any(one.reverse and not one.source for one in query.includes)
        or any(AUDIT_EVENT in text for pair in pairs for text in pair)
        or AUDIT_EVENT in query.types
    )


def _page(core: Core, ask: Ask, query: Query, cursor: str | None, told: Ahead | None) -> Page:
    """Find what is stored; where the ledger tells something first, on what is left of the page."""
    within, client = core.gate.within(ask.who), ask.who.client
    if told is None:
        return core.search.search(query, within=within, cursor=cursor, client=client)
    if told.next is not None and told.total is None:
        return Page([], [], None, told.next, 0)
    asked = replace(query, count=told.room or None)
    if told.next is not None:
        asked = replace(asked, summary=Summary.COUNT, includes=[])
    page = core.search.search(asked, within=within, client=client)
    included = [*page.included, *(one for one in told.targets if one not in page.included)]
    total = None if told.total is None or page.total is None else told.total + page.total
    return replace(page, included=included, total=total, next=page.next if told.next is None else told.next)


def _entries(core: Core, ask: Ask, query: Query, page: Page, told: Ahead | None) -> list[bytes]:
    """Write the entries of a page."""
    numbers = [*page.matches, *page.included]
    found = core.reader.numbered(numbers)
    ask.trail.numbers.extend(numbers)
    entries: list[bytes] = []
    for name, made in () if told is None else told.entries:
        entries.append(told_entry(core.base_url, name, part_of(query, made, is_match=True), "match"))
    keys: dict[bytes, WrappingKey] = {}
    for place, one in enumerate(found):
        if one is None:
            continue
        content = content_of(core, one, keys)
        if not content:
            continue
        mode = "match" if place < len(page.matches) else "include"
        entries.append(found_entry(core.base_url, one, part_of(query, content, is_match=mode == "match"), mode))
    if any(one.reverse and one.source == PROVENANCE and one.code in ("", "target") for one in query.includes):
        matches = [one.stored for one in found[: len(page.matches)] if one is not None]
        for name, made in provenance.of_shown(core, ask, matches):
            entries.append(told_entry(core.base_url, name, part_of(query, made, is_match=False), "include"))
    return entries


def part_of(query: Query, content: bytes, *, is_match: bool) -> bytes:
    """Choose the part that `_summary` or `_elements` wants; of what is included, `_elements` says nothing."""
    if query.elements and is_match:
        return write(with_elements(parse(content), frozenset(query.elements)))
    if query.summary in (Summary.TRUE, Summary.TEXT, Summary.DATA):
        return write(summarised(parse(content), Part(query.summary.value)))
    return content


def _links(core: Core, place: str, asked: str, page: Page, form: str) -> list[Link]:
    """Write the links: what this page is of, a cursor for the next, and the form that the client chose."""
    address = f"{core.base_url}/{place}" if place else core.base_url
    queries = [("self", asked), *((("next", _at(page.next)),) if page.next is not None else ())]
    said = [(relation, "&".join(part for part in (query, form) if part)) for relation, query in queries]
    return [(relation, f"{address}?{query}" if query else address) for relation, query in said]


def _at(cursor: str) -> str:
    """Write the query of a page that goes on."""
    return urlencode([(PARAMETER, cursor)])


def _warnings(problems: list[Problem], language: str) -> list[Element]:
    """Say which parameters were passed over (§3.1.1.4.2)."""
    return [
        {
            "severity": "warning",
            "code": "not-supported",
            "details": {
                "coding": [{"system": CODE_SYSTEM, "code": "search.parameter"}],
                "text": say("search.parameter", language),
            },
            "diagnostics": f"parameter={one.parameter}" + (f" expected={one.nearest}" if one.nearest else ""),
            **located(one.parameter),
        }
        for one in problems[:_MAX_NAMED]
    ]


def _note(code: str, language: str) -> Element:
    """Say that an answer lacks something that would have been too much."""
    return {
        "severity": "warning",
        "code": "too-costly",
        "details": {
            "coding": [{"system": CODE_SYSTEM, "code": code}],
            "text": say(code, language),
        },
    }
