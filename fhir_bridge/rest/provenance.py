"""Provenance that the ledger tells: read by name, and searched for together with what clients wrote.

A search finds what the ledger tells of the records that it names (`target`, `patient`, a compartment, `_id`), the
newest version first, and after that what clients have stored. Keeps true: of a version that its reader may not see
nothing is told, and what was not shown to be allowed looks absent; a condition means for what is made here what it
means for what is stored. Trusts the gate, the judge and the tracer.
Source: FHIR R4 Provenance; `docs/spec/provenance.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from fhir_bridge.document import Resource, write
from fhir_bridge.etags import versions_in
from fhir_bridge.provenance import FINAL, PENDING, TYPE, Place, named, provenance, signed
from fhir_bridge.references import instant
from fhir_bridge.rest.ask import Ask, Reply
from fhir_bridge.rest.core import Core
from fhir_bridge.rest.history import covers
from fhir_bridge.rest.pages import bundle
from fhir_bridge.rest.read import http_date
from fhir_bridge.rest.shape import part
from fhir_bridge.search.cursor import Position
from fhir_bridge.search.service import DEFAULT_COUNT, MAX_COUNT
from fhir_bridge.search.terms import Modifier, ReferenceTerm, TokenTerm
from fhir_bridge.search.tree import Condition, Criterion, InCompartment, Query, Summary, Total
from fhir_bridge.smart.scopes import Action
from medchain.errors import ConflictError, InputError, NotFoundError
from medchain.node.proofs import Traced, zip_bundle
from medchain.store.finding import NEWEST
from medchain.store.records import NO_RESOURCES, RecordVersion

_MARK: Final = "ledger"
_NAMING: Final = frozenset({"target", "patient"})
_PATIENT: Final = "Patient"
# What a row of the records alone can answer.
_OF_ROWS: Final = frozenset({"_id", *_NAMING})

Named = tuple[str, str] | tuple[bytes, int]
"""A record by type and id, or one version by object id and version."""


@dataclass(slots=True)
class Ahead:
    """What the ledger tells on one page.

    Attributes:
        entries: full URL's name and content.
        targets: numbers of the newest versions of what they are about.
        next: where the page after this begins; None where what is stored follows.
        room: how many resources more the page takes.
        total: how many the ledger tells of on all pages; None where that was not asked.
    """

    entries: list[tuple[str, bytes]] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    next: str | None = None
    room: int = 0
    total: int | None = None


Handler = Callable[[Core, Ask], Reply]
"""Answers one kind of request."""


def or_read(general: Handler) -> Handler:
    """Read what the ledger tells where its name is asked for, a version of it too, and what is stored by any other."""
    return _or_told(general, _shown)


def or_past(general: Handler) -> Handler:
    """Answer the history of what the ledger tells: its current version, the only one that can be made (§3.1.0.12)."""
    return _or_told(general, _history)


def _or_told(general: Handler, special: Callable[[Core, Ask, _Told], Reply]) -> Handler:
    """Answer names of the ledger's in their own way; raises `NotFoundError` for what was not shown to be allowed."""

    def handle(core: Core, ask: Ask) -> Reply:
        place = named(ask.id) if ask.type == TYPE else None
        if place is None:
            return general(core, ask)
        stored = core.store.by_object(*place)
        told = None if stored is None else _Told.of(core, ask, stored, Action.READ)
        if told is None or ask.version not in ("", told.version):
            raise NotFoundError("record.unknown")
        ask.trail.numbers.append(told.stored.seq)
        return special(core, ask, told)

    return handle


def _shown(_core: Core, ask: Ask, told: _Told) -> Reply:
    """Answer one."""
    headers = {"ETag": f'W/"{told.version}"', "Last-Modified": http_date(told.time)}
    if int(told.version) in versions_in(ask.header("If-None-Match") or ""):
        return Reply(304, b"", headers, "")
    return Reply(200, part(ask, told.content()), headers)


def _history(core: Core, ask: Ask, told: _Told) -> Reply:
    """Answer the history of one."""
    name = f"{core.base_url}/{TYPE}/{told.id}"
    entries: list[bytes] = []
    if covers(core, ask, told.time):
        is_first = told.version == PENDING
        request: Resource = {"method": "PUT", "url": f"{TYPE}/{told.id}"}
        response: Resource = {
            "status": "201" if is_first else "200",
            "etag": f'W/"{told.version}"',
            "lastModified": instant(told.time),
        }
        row = write({"fullUrl": name, "request": request, "response": response})
        entries.append(row[:-1] + b',"resource":' + part(ask, told.content()) + b"}")
    links = [("self", f"{name}/_history" + (f"?{ask.query}" if ask.query else ""))]
    return Reply(200, bundle("history", core.clock(), links, entries, len(entries)))


def ahead(core: Core, ask: Ask, query: Query, cursor: str | None) -> Ahead | None:
    """Find what the ledger tells for a search of Provenance, on the page that a cursor names.

    Args:
        core: of the server.
        ask: the request.
        query: the search, with what its address states.
        cursor: where the page begins; None for the first.

    Returns:
        None where the search names no record, or goes on among what is stored.

    Raises:
        InputError: ``search.sort`` for an order, ``search.cursor``.
    """
    places = _places(query.conditions)
    position = None if cursor is None else core.search.cursors.open(cursor, ask.who.client)
    if places is None or (position is not None and position.after[:1] != (_MARK,)):
        return None
    if query.sort:
        raise InputError("search.sort", parameter="_sort", expected="")
    done = int(position.after[1]) if position is not None else 0
    size = 0 if query.summary is Summary.COUNT else min(query.count or DEFAULT_COUNT, MAX_COUNT)
    wants_total = size == 0 or query.total in (Total.ACCURATE, Total.ESTIMATE)
    found = Ahead(room=size)
    count = 0
    newest: dict[tuple[str, str], int] = {}
    for told in _matching(core, ask, query.conditions, places):
        count += 1
        if count <= done:
            continue
        if found.room:
            found.room -= 1
            found.entries.append((told.id, told.content()))
            ask.trail.numbers.append(told.stored.seq)
            newest[told.stored.type, told.stored.id] = told.newest
        elif not wants_total:
            break
    if any(not one.reverse and one.code in ("", "target") for one in query.includes):
        found.targets = list(newest.values())
    found.total = count if wants_total or (found.room and not done) else None
    if size and not found.room:
        after = (_MARK, done + len(found.entries))
        pairs = tuple(query.used)
        found.next = core.search.cursors.seal(Position(query.types, pairs, NEWEST, core.clock(), after, ask.who.client))
    return found


def told_entry(base_url: str, name: str, content: bytes, mode: str) -> bytes:
    """Write an entry of a search; mode is ``match`` or ``include``."""
    url = f"{base_url}/{TYPE}/{name}".encode()
    return b'{"fullUrl":"' + url + b'","resource":' + content + b',"search":{"mode":"' + mode.encode() + b'"}}'


def of_shown(core: Core, ask: Ask, rows: Iterable[RecordVersion]) -> list[tuple[str, bytes]]:
    """Tell what the ledger says of versions that an answer shows (``_revinclude=Provenance:target``)."""
    made = [told for row in rows if (told := _Told.of(core, ask, row, Action.SEARCH)) is not None]
    return [(told.id, told.content()) for told in made]


def _places(conditions: Sequence[Condition]) -> list[Named] | None:
    """List the records that a search names; None where it names none."""
    for one in conditions:
        if isinstance(one, InCompartment) and one.code == _PATIENT:
            return [(_PATIENT, one.id)]
        if isinstance(one, Criterion) and one.code in _NAMING and one.modifier in (Modifier.NONE, Modifier.TYPE):
            keys = [key for term in one.terms if isinstance(term, ReferenceTerm) for key in term.keys]
            return [
                (key.partition("/")[0], key.partition("/")[2]) for key in dict.fromkeys(keys) if key.count("/") == 1
            ]
        if isinstance(one, Criterion) and one.code == "_id" and one.modifier is Modifier.NONE:
            codes = [term.code or "" for term in one.terms if isinstance(term, TokenTerm)]
            return [place for code in codes if (place := named(code)) is not None]
    return None


def _matching(core: Core, ask: Ask, conditions: Sequence[Condition], places: Iterable[Named]) -> Iterator[_Told]:
    """List what fulfils a search and may be shown."""
    plain = [one for one in conditions if isinstance(one, InCompartment) or getattr(one, "code", "") in _OF_ROWS]
    others = [one for one in conditions if one not in plain]
    within = core.gate.within(ask.who)
    for stored in _versions(core, places):
        told = _Told.of(core, ask, stored, Action.SEARCH)
        if told is None or not core.judge.fulfils(TYPE, told.plain(), plain, within=within):
            continue
        if not others or core.judge.fulfils(TYPE, told.resource(), others, within=within):
            yield told


def _versions(core: Core, places: Iterable[Named]) -> Iterator[RecordVersion]:
    """List versions, those of one record from the newest."""
    for first, second in places:
        if isinstance(first, bytes):
            one = core.store.by_object(first, int(second))
            yield from () if one is None else (one,)
        else:
            yield from core.store.history(first, str(second))


class _Told:
    """One Provenance, made as far as it is looked at."""

    __slots__ = ("_anchored", "_core", "_gone", "_is_asked", "_language", "_traced", "stored")

    def __init__(self, core: Core, ask: Ask, stored: RecordVersion) -> None:
        """Keep what it is made of; raises `NotFoundError` for what was erased."""
        self._core = core
        self._language = ask.language
        # Asked once: by the next question it may be final, and one answer would say so without the signature.
        self._anchored = core.anchored(stored.position)
        self._is_asked = False
        self._traced: Traced | None = None
        self._gone = stored.blob is None and core.service.is_deleted(stored)
        self.stored = stored

    @classmethod
    def of(cls, core: Core, ask: Ask, stored: RecordVersion, action: Action) -> _Told | None:
        """Make that of a version; None where it may not be shown, or was erased.

        An event of the audit has none: it shares the object of its segment, and its own proof is ``$proof``.
        """
        if stored.type in NO_RESOURCES or stored.segment is not None:
            return None
        try:
            told = cls(core, ask, stored)
        except NotFoundError:
            return None
        is_shown = core.gate.shown_of(ask.who, stored, TYPE, action, told.resource)
        return told if is_shown else None

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.plain()["id"])

    @property
    def newest(self) -> int:
        """Number of the newest version of what it is about."""
        found = self._core.store.get(self.stored.type, self.stored.id)
        return self.stored.seq if found is None else found.seq

    @property
    def version(self) -> str:
        """Its own version."""
        return PENDING if self._trace() is None else FINAL

    @property
    def time(self) -> int:
        """Since when it is so, Unix seconds."""
        traced = self._trace()
        return self.stored.created if traced is None else traced.time

    def plain(self) -> Resource:
        """Make it of the row alone."""
        return self._made(None)

    def resource(self) -> Resource:
        """Make it with what the ledger says, without the proof."""
        return self._made(self._trace())

    def content(self) -> bytes:
        """Make it whole."""
        traced = self._trace()
        made = self._made(traced)
        return write(made if traced is None else signed(made, zip_bundle(traced.files)))

    def _trace(self) -> Traced | None:
        """Ask where it stands, once; None while it is not final."""
        if not self._is_asked and self._anchored.startswith("final"):
            with suppress(ConflictError):
                self._traced = self._core.tracer.trace(self.stored)
        self._is_asked = True
        return self._traced

    def _made(self, traced: Traced | None) -> Resource:
        """Make it."""
        tracer = self._core.tracer
        kept = Place(tracer.org_id, tracer.ledger, self._anchored, traced)
        return provenance(self.stored, kept, self._language, gone=self._gone)
