"""Histories: of a record, of a type, of all.

Keeps true: a page goes on where the one before ended, whatever is written meanwhile: versions have numbers that only
rise; what the gate does not show is left out, and does not show by a short page: pages are filled with what the caller
may see, of at most `LOOKED` versions, and the last one has no next. Trusts `VersionReader`.
Source: FHIR R4 §3.1.0.12; §3.1.1.5.4 (`_count`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Final
from urllib.parse import urlencode

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.rest.ask import FORMS, Ask, Reply
from fhir_bridge.rest.core import AUDIT_EVENT, Core
from fhir_bridge.rest.pages import bundle, content_of, past_entry
from fhir_bridge.rest.shape import part
from fhir_bridge.search.cursor import PARAMETER, Position
from fhir_bridge.search.tree import Summary
from fhir_bridge.smart.scopes import Action
from medchain.crypto.keywrap import WrappingKey
from medchain.dates import span_of
from medchain.errors import InputError, NotFoundError
from medchain.node.records import EMPTY_BYTES
from medchain.store.records import RecordVersion
from medchain.store.versions import Found, Past

DEFAULT_COUNT: Final = 50
"""Versions of a page where the client says nothing."""

MAX_COUNT: Final = 1000
"""Most versions of a page."""

LOOKED: Final = 2_000
"""Most versions that are looked at for a page."""

COUNTED: Final = 10_000
"""Most versions that are looked at for a total."""

COUNTED_UNREAD: Final = 1_000_000
"""Most versions that are counted for a total where none needs to be looked at: some two seconds."""

_PARTS: Final = frozenset({"_elements", "_summary"})
_RANGE: Final = frozenset({"_at", "_count", "_since", "_sort"})
_KNOWN: Final = _RANGE | _PARTS | {PARAMETER, *FORMS}
_NEWEST_FIRST: Final = "-_lastUpdated"
_AT_ONCE: Final = 200
_MICROSECONDS: Final = 1_000_000
_MAX_DIGITS: Final = 9


def of_record(core: Core, ask: Ask) -> Reply:
    """Answer the history of a record."""
    newest = core.reader.find(ask.type, ask.id)
    if newest is None:
        raise NotFoundError("record.unknown")
    core.gate.require_shown(ask.who, newest.stored)
    return _page(core, ask, (ask.type,), ask.id)


def of_type(core: Core, ask: Ask) -> Reply:
    """Answer the history of a type."""
    core.gate.require(ask.who, ask.type, Action.SEARCH)
    if ask.type == AUDIT_EVENT:
        _place_events(core, ask)
    return _page(core, ask, (ask.type,), "")


def of_all(core: Core, ask: Ask) -> Reply:
    """Answer the history of all that the caller may see."""
    core.gate.require_any(ask.who, Action.SEARCH)
    _place_events(core, ask)
    return _page(core, ask, (), "")


def _place_events(core: Core, ask: Ask) -> None:
    """See that a history has all events; a page that goes on has older ones.

    An event has the time at which it was made: a client that asks for what is new since its last look (`_since`) would
    never get one that is placed after that look.
    """
    if ask.parameter(PARAMETER) is None:
        core.place_events(ask.who)


def _page(core: Core, ask: Ask, types: Sequence[str], record_id: str) -> Reply:
    """Answer one page."""
    _check_parameters(ask)
    asked, state = _asked(core, ask, types, record_id)
    if asked.since and not types:
        # By type and time there is an index.
        asked = replace(asked, types=type_names("resource"))
    kept, after = _filled(core, ask, asked)
    ask.trail.numbers.extend(one.stored.seq for one in kept)
    entries = _entries(core, ask, kept)
    place = "/".join(part for part in (core.base_url, ask.type, record_id, "_history") if part)
    # The parts and the form that the client chose are those of all pages.
    shape = [*(one for one in ask.pairs if one[0] in _PARTS), *ask.chosen_form]
    begun = [(PARAMETER, ask.parameter(PARAMETER) or "")] if state else [one for one in ask.pairs if one[0] in _RANGE]
    said = [*begun, *shape]
    links = [("self", f"{place}?{urlencode(said)}" if said else place)]
    if after is not None:
        goes_on = (after, asked.since, asked.limit, *(asked.period or ()))
        cursor = core.search.cursors.seal(Position((ask.path,), (), 0, core.clock(), goes_on, ask.who.client))
        links.append(("next", f"{place}?{urlencode([(PARAMETER, cursor), *shape])}"))
    total = len(entries) if after is None and not state else None
    if not asked.limit:
        total = _counted(core, ask, asked)
    return Reply(200, bundle("history", core.clock(), links, entries, total))


def _check_parameters(ask: Ask) -> None:
    """Refuse what would change what a history is, and for who wants to be told, every parameter that it has not.

    A history has no entry in which others could be told of: the self link has what was used.

    Raises:
        InputError: ``search.unsupported``, ``search.parameter``.
    """
    for name, value in ask.pairs:
        if (name == "_sort" and value != _NEWEST_FIRST) or name == "_list":
            raise InputError("search.unsupported", parameter=name)
        if name not in _KNOWN and ask.preference.is_strict:
            raise InputError("search.parameter")


def _filled(core: Core, ask: Ask, asked: Past) -> tuple[list[Found], int | None]:
    """Fill a page with what the caller may see.

    Returns:
        The versions, and the number after which the next page goes on, None for the last page.
    """
    kept: list[Found] = []
    if not asked.limit:
        return kept, None
    last = None
    for looked, (one, is_shown) in enumerate(_seen(core, ask, asked, asked.limit + 1)):
        if looked == LOOKED:
            return kept, last
        if is_shown and len(kept) == asked.limit:
            return kept, kept[-1].stored.seq
        if is_shown:
            kept.append(one)
        last = one.stored.seq
    return kept, None


def _counted(core: Core, ask: Ask, asked: Past) -> int | None:
    """Count what the caller may see; None where that is too much."""
    if not core.gate.within(ask.who, _action(asked)):
        # All of it: nothing needs to be looked at.
        count = core.reader.past_count(asked, COUNTED_UNREAD + 1)
        return None if count > COUNTED_UNREAD else count
    count = 0
    for looked, (_, is_shown) in enumerate(_seen(core, ask, asked, _AT_ONCE)):
        if looked == COUNTED:
            return None
        count += is_shown
    return count


def _seen(core: Core, ask: Ask, asked: Past, size: int) -> Iterator[tuple[Found, bool]]:
    """Give versions one after the other, so many of them read at first; tells of each whether the caller may see it."""
    before = asked.before
    while True:
        found = core.reader.past(replace(asked, before=before, limit=size))
        shown = core.gate.shown(ask.who, [one.stored for one in found], _action(asked))
        yield from zip(found, shown, strict=True)
        if len(found) < size:
            return
        before, size = found[-1].stored.seq, _AT_ONCE


def _action(asked: Past) -> Action:
    """Say which right a history needs."""
    return Action.READ if asked.id else Action.SEARCH


def _entries(core: Core, ask: Ask, kept: Sequence[Found]) -> list[bytes]:
    """Write the entries of versions, but of what was erased."""
    keys: dict[bytes, WrappingKey] = {}
    revived = _revived(core, kept, keys)
    entries = []
    for one in kept:
        content = content_of(core, one, keys)
        if content is not None:
            is_new = one.stored.version == 1 or _name(one.stored) in revived
            entries.append(past_entry(core.base_url, one, part(ask, content) if content else b"", is_new=is_new))
    return entries


def _revived(core: Core, kept: Sequence[Found], keys: dict[bytes, WrappingKey]) -> set[tuple[str, str, int]]:
    """Name the versions before which their record was deleted: each was created anew (§3.1.0.7)."""
    later = [one.stored.seq for one in kept if one.stored.version > 1]
    before = core.reader.preceding(later, EMPTY_BYTES) if later else []
    deleted = [one.stored for one in before if content_of(core, one, keys) == b""]
    return {(one.type, one.id, one.version + 1) for one in deleted}


def _name(stored: RecordVersion) -> tuple[str, str, int]:
    """Name a version."""
    return stored.type, stored.id, stored.version


def _asked(core: Core, ask: Ask, types: Sequence[str], record_id: str) -> tuple[Past, bool]:
    """Read what is asked for; tells whether it is a page that goes on."""
    cursor = ask.parameter(PARAMETER)
    if cursor is not None:
        position = core.search.cursors.open(cursor, ask.who.client)
        if position.types != (ask.path,):
            raise InputError("search.cursor")
        before, since, limit, *period = map(int, position.after)
        return Past(types, record_id, since, (period[0], period[1]) if period else None, before, limit), True
    since, period_at = _wanted(core, ask)
    return Past(types, record_id, since, period_at, limit=_count(ask)), False


def covers(core: Core, ask: Ask, time: int) -> bool:
    """Tell whether a history that is asked for has a version that is the newest one since a time, Unix seconds."""
    since, period = _wanted(core, ask)
    return since <= time and (period is None or time <= period[1])


def _wanted(core: Core, ask: Ask) -> tuple[int, tuple[int, int] | None]:
    """Read `_since` and `_at`."""
    since, at = ask.parameter("_since"), ask.parameter("_at")
    zone = core.search.index.setting.zone
    return _span(since, "_since", zone)[0] if since else 0, _span(at, "_at", zone) if at else None


def _count(ask: Ask) -> int:
    """Read `_count`; 0 asks for the number alone, as `_summary=count` does (§3.1.1.5.4)."""
    if ask.parameter("_summary") == Summary.COUNT:
        return 0
    text = ask.parameter("_count")
    if not text:
        return DEFAULT_COUNT
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InputError("search.value", parameter="_count")
    return min(int(text), MAX_COUNT)


def _span(text: str, name: str, zone: tzinfo) -> tuple[int, int]:
    """Read a date or an instant as the seconds that it covers; raises `InputError` ``search.value``."""
    # A plus sign that was not percent-encoded has become a blank.
    span = span_of(text.replace(" ", "+"), zone)
    if span is None:
        raise InputError("search.value", parameter=name)
    return span.low // _MICROSECONDS, (span.high - 1) // _MICROSECONDS
