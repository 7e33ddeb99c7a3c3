"""Histories: of a record, of a type, of all.

Keeps true: a page goes on where the one before ended, whatever is written meanwhile: versions have numbers that only
rise; what the gate does not show is left out. Trusts `VersionReader`.
Source: FHIR R4 §3.1.0.12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.pages import bundle, content_of, past_entry
from fhir_bridge.rest.shape import part
from fhir_bridge.search.cursor import PARAMETER, Position
from fhir_bridge.search.dates import span_of
from fhir_bridge.smart.scopes import Action
from medchain.crypto.keywrap import WrappingKey
from medchain.errors import InputError, NotFoundError
from medchain.store.versions import Found, Past

DEFAULT_COUNT: Final = 50
"""Versions of a page where the client says nothing."""

MAX_COUNT: Final = 1000
"""Most versions of a page."""

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
    return _page(core, ask, (ask.type,), "")


def of_all(core: Core, ask: Ask) -> Reply:
    """Answer the history of all that the caller may see."""
    core.gate.require_any(ask.who, Action.SEARCH)
    return _page(core, ask, (), "")


def _page(core: Core, ask: Ask, types: Sequence[str], record_id: str) -> Reply:
    """Answer one page."""
    asked, state = _asked(core, ask, types, record_id)
    if asked.since and not types:
        # By type and time there is an index.
        asked = replace(asked, types=type_names("resource"))
    found = core.reader.past(asked)
    has_more = len(found) >= asked.limit
    found = found[: asked.limit - 1]
    action = Action.READ if record_id else Action.SEARCH
    shown = core.gate.shown(ask.who, [one.stored for one in found], action)
    kept = [one for one, is_shown in zip(found, shown, strict=True) if is_shown]
    ask.trail.numbers.extend(one.stored.seq for one in kept)
    keys: dict[bytes, WrappingKey] = {}
    entries = [entry for one in kept if (entry := _entry(core, ask, one, keys))]
    place = "/".join(part for part in (core.base_url, ask.type, record_id, "_history") if part)
    links = [("self", place if not state else f"{place}?{PARAMETER}={ask.parameter(PARAMETER)}")]
    if has_more:
        after = (found[-1].stored.seq, asked.since, asked.limit, *(asked.period or ()))
        cursor = core.search.cursors.seal(Position((ask.path,), (), 0, core.clock(), after, ask.who.client))
        links.append(("next", f"{place}?{PARAMETER}={cursor}"))
    total = len(entries) if not has_more and not state else None
    return Reply(200, bundle("history", core.clock(), links, entries, total))


def _entry(core: Core, ask: Ask, found: Found, keys: dict[bytes, WrappingKey]) -> bytes:
    """Write one entry; empty for what was erased."""
    content = content_of(core, found, keys)
    return b"" if content is None else past_entry(core.base_url, found, part(ask, content) if content else b"")


def _asked(core: Core, ask: Ask, types: Sequence[str], record_id: str) -> tuple[Past, bool]:
    """Read what is asked for; tells whether it is a page that goes on."""
    cursor = ask.parameter(PARAMETER)
    if cursor is not None:
        position = core.search.cursors.open(cursor, ask.who.client)
        if position.types != (ask.path,):
            raise InputError("search.cursor")
        before, since, limit, *period = map(int, position.after)
        return Past(types, record_id, since, (period[0], period[1]) if period else None, before, limit), True
    since_text, at = ask.parameter("_since"), ask.parameter("_at")
    since = 0 if not since_text else _span(since_text, "_since")[0]
    period_at = None if not at else _span(at, "_at")
    return Past(types, record_id, since, period_at, limit=_count(ask) + 1), False


def _count(ask: Ask) -> int:
    """Read `_count`."""
    text = ask.parameter("_count")
    if not text:
        return DEFAULT_COUNT
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS) or int(text) == 0:
        raise InputError("search.value", parameter="_count")
    return min(int(text), MAX_COUNT)


def _span(text: str, name: str) -> tuple[int, int]:
    """Read a date or an instant as the seconds that it covers; raises `InputError` ``search.value``."""
    # A plus sign that was not percent-encoded has become a blank.
    span = span_of(text.replace(" ", "+"), 0)
    if span is None:
        raise InputError("search.value", parameter=name)
    return span.low // _MICROSECONDS, (span.high - 1) // _MICROSECONDS
