"""Transaction Bundles: from entries to record versions, all together or none.

Keeps true: what is deleted is gone for the conditions of the others; ids are given before references are replaced, so
entries may point to one another in any order; every resource is checked as it will be stored; what is not understood is
refused, not skipped. In an import an entry that is refused is reported with its reason and the others are stored.
Reading entries are none of this module's: they are answered once the others are stored. Trusts
`RecordService.create_many` to store all or none.
Source: FHIR R4 §3.1.0.11.
"""

from __future__ import annotations

import copy
import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, NamedTuple, TypeAlias

from fhir_bridge import binary, resources
from fhir_bridge.change import patch_in_bundle
from fhir_bridge.document import Document, Element, Resource, Rows, member, parse, write
from fhir_bridge.etags import names
from fhir_bridge.labelling import Labeller
from fhir_bridge.references import (
    PROVENANCE,
    Identifier,
    Own,
    Resolver,
    Wanted,
    folded,
    identifiers,
    instant,
    parse_condition,
    patient_of,
    rewrite,
    subject_of,
    with_identity,
)
from fhir_bridge.subset import check_whole
from fhir_bridge.validation.check import Mode
from fhir_bridge.validation.issue import MAX_ISSUES
from fhir_bridge.validation.repeats import Repeats
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError
from medchain.ledger.kinds.record import DELETED
from medchain.node.records import NewRecord

MAX_ENTRIES: Final = 20_000
"""Most entries of one Bundle."""

CREATED: Final = "201 Created"
"""Status of an entry that made a new record."""

GONE: Final = "204 No Content"
"""Status of an entry that deleted a record, or whose record was not there."""

READING: Final = frozenset({"GET", "HEAD"})
"""Methods of entries that write nothing."""

PRESENT: Final = "200 OK"
"""Status of an entry whose record was there, or that made a new version."""


NOT_FOUND: Final = "reference.not_found"
"""Code of a conditional reference that nothing fulfils."""


_ABSOLUTE: Final = ("http:", "https:")
_RESOURCE_URL: Final = re.compile(rf"(https?:[^?#]+)/({resources.TYPE_PATTERN.pattern}/{resources.ID_PATTERN.pattern})")
_DELETE: Final = "DELETE"
_PATCH: Final = "PATCH"
_KINDS: Final = frozenset({"batch", "transaction"})
_RANKS: Final = {_DELETE: 0, "POST": 1, "PUT": 2, _PATCH: 2}


class Newest(NamedTuple):
    """The newest version of a record.

    Attributes:
        version: its number.
        token: keyed token of its patient.
        resource: parsed; None for a deletion.
    """

    version: int
    token: str
    resource: Resource | None


Current: TypeAlias = "Callable[[str, str], Newest | None]"
"""Opens the newest version of a record by type and id; None where there is none."""


class _Mode(NamedTuple):
    """How strictly a Bundle is taken, and who sets the labels of what it holds."""

    is_loose: bool
    may_wait: bool
    validation: Mode = Mode.STRICT
    labeller: Labeller | None = None


@dataclass(slots=True)
class Entry:
    """One entry on its way.

    Attributes:
        index: from 0, in the Bundle.
        full_url: how other entries call it, or empty.
        type: resource type.
        id: of the record; empty for a deletion that nothing fulfils.
        version: that it will make, or that is there; 0 where there is nothing to delete.
        present: whether nothing is stored: a conditional create found it, or what is to be deleted is not there.
        method: of its request.
        token: keyed token of the patient of what is deleted.
        content: its bytes once they are made; empty for a deletion, and for what is present.
        is_new: whether there is nothing before it, or only what was deleted.
    """

    index: int
    full_url: str
    type: str
    id: str
    version: int
    present: bool = False
    method: str = "POST"
    token: str = ""
    content: bytes = b""
    is_new: bool = True

    @property
    def writes(self) -> bool:
        """Whether a resource is stored."""
        return not self.present and self.method != _DELETE


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that an import leaves out.

    Attributes:
        index: from 0.
        error: why.
    """

    index: int
    error: MedchainError


@dataclass(frozen=True, slots=True)
class Plan:
    """What a Bundle comes to.

    Attributes:
        entries: all that were understood, in the order of the Bundle.
        records: what is to be stored, together.
        refused: in an import, what is left out.
    """

    entries: tuple[Entry, ...]
    records: tuple[NewRecord, ...]
    refused: tuple[Refused, ...] = ()


def transaction(
    bundle: Document,
    resolver: Resolver,
    now: int,
    current: Current,
    validation: Mode = Mode.STRICT,
    *,
    labeller: Labeller | None = None,
) -> Plan:
    """Plan a transaction.

    Args:
        bundle: parsed.
        resolver: made for this request.
        now: Unix seconds.
        current: opens the newest version of a record, to be patched or deleted.
        validation: how strictly resources are checked.
        labeller: sets their labels; None where they come with all of them.

    Returns:
        The plan of all entries that write; nothing is refused.

    Raises:
        InputError: ``bundle.*``, ``reference.*``, ``resource.*``, ``patch.*``, with the entry's number.
        ConflictError: ``bundle.version`` for an If-Match that does not hold.
        NotFoundError: ``record.unknown`` for a patch of what is not there.
    """
    mode = _Mode(is_loose=False, may_wait=False, validation=validation, labeller=labeller)
    plan = _plan(bundle.rows, resolver, now, mode, current)
    if plan.refused:
        raise _all_of(plan.refused)
    return plan


def type_of(bundle: Document) -> str:
    """Return ``batch`` or ``transaction``; raises `InputError` ``bundle.type`` for anything else."""
    kind = bundle.resource.get("type")
    if bundle.resource.get("resourceType") != "Bundle" or not isinstance(kind, str) or kind not in _KINDS:
        raise InputError("bundle.type")
    return kind


def collect(
    bundle: Document,
    resolver: Resolver,
    now: int,
    *,
    may_wait: bool = False,
    validation: Mode = Mode.STRICT,
    labeller: Labeller | None = None,
) -> Plan:
    """Plan an import: a Bundle of any type with resources, or one resource; what cannot be stored is reported.

    Args:
        bundle: parsed.
        resolver: made for this import.
        now: Unix seconds.
        may_wait: whether to give up at the first reference that nothing fulfils yet.
        validation: how strictly resources are checked.
        labeller: as for `transaction`.

    Returns:
        The plan.

    Raises:
        InputError: ``bundle.entries``; ``reference.not_found`` for a Bundle that must wait.
    """
    rows: Sequence[Element] = bundle.rows
    if bundle.resource.get("resourceType") != "Bundle":
        rows = [{"resource": bundle.resource}]
    mode = _Mode(is_loose=True, may_wait=may_wait, validation=validation, labeller=labeller)
    return _plan(rows, resolver, now, mode)


def requests_of(bundle: Document, bases: frozenset[str]) -> list[tuple[str, str]]:
    """List what a Bundle wants: (method, url) of each entry, to be authorised before anything is looked up.

    Args:
        bundle: parsed.
        bases: base URLs of this node.

    Raises:
        InputError: ``bundle.request``, ``bundle.full_url`` with the entry's number.
    """
    wanted = []
    named = FullUrls()
    for index, row in enumerate(bundle.rows):
        request = row.get("request") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(request, dict):
            raise InputError("bundle.request", entry=index)
        named.check(row, entry=index, element="fullUrl")
        wanted.append((member(request, "method"), url_of(request, row.get("resource"), bases)))
    return wanted


def url_of(request: Resource, resource: Element, bases: frozenset[str]) -> str:
    """Return the address of an entry, relative to the base.

    Some clients write it with a slash at its beginning, or with the base before it (Bundle.entry.request.url: "relative
    to the root"; HAPI takes both). A create without one is of the resource's type: R4's own example (§3.1.0.11.3) and
    HAPI's client write none.
    """
    if "url" not in request and member(request, "method") == "POST" and isinstance(resource, dict):
        return member(resource, "resourceType")
    url = member(request, "url")
    base = next((one for one in bases if url.startswith(f"{one}/")), "") if url.startswith(_ABSOLUTE) else ""
    return url[len(base) :].removeprefix("/")


class FullUrls:
    """The names of a Bundle's entries: of two with one, a reference could mean both (bdl-7, bdl-8)."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Begin with none."""
        self._known: set[tuple[str, str]] = set()

    def check(self, row: Element, **place: int | str) -> None:
        """See that no entry before has the name of this one; raises `InputError` ``bundle.full_url`` with its place."""
        full_url = member(row, "fullUrl") if isinstance(row, dict) else ""
        if not full_url:
            return
        about = _resource_of(row).get("meta")
        name = full_url, member(about, "versionId") if isinstance(about, dict) else ""
        if name in self._known or "/_history/" in full_url:
            raise InputError("bundle.full_url", **place)
        self._known.add(name)


def response(plan: Plan, time: int, others: Mapping[int, bytes], *, whole: bool = False) -> bytes:
    """Write the transaction-response.

    Args:
        plan: what was stored.
        time: when, Unix seconds.
        others: entries that are no part of the plan, by their places in the Bundle, written already.
        whole: whether what was stored is sent back.
    """
    rows = dict(others)
    for entry in plan.entries:
        answer: dict[str, Element] = {"status": entry_status(entry)}
        if entry.id and entry.method != _DELETE:
            answer["location"] = f"{entry.type}/{entry.id}/_history/{entry.version}"
        if entry.version:
            answer |= {"etag": f'W/"{entry.version}"', "lastModified": instant(time)}
        body = b'"resource":' + entry.content + b"," if whole and entry.content else b""
        rows[entry.index] = b"{" + body + b'"response":' + write(answer) + b"}"
    return response_of("transaction-response", [rows[index] for index in sorted(rows)])


def response_of(kind: str, rows: Sequence[bytes]) -> bytes:
    """Write the response to a Bundle from its entries; of none there is no array, which FHIR has empty nowhere."""
    entries = b',"entry":[' + b",".join(rows) + b"]" if rows else b""
    return b'{"resourceType":"Bundle","type":"' + kind.encode() + b'"' + entries + b"}"


def entry_status(entry: Entry) -> str:
    """Tell the status of an entry that was done."""
    if entry.method == _DELETE:
        return GONE
    return CREATED if entry.is_new and not entry.present else PRESENT


def _plan(rows: Sequence[Element], resolver: Resolver, now: int, mode: _Mode, current: Current | None = None) -> Plan:
    """Give ids, replace references, check, and write every entry. Each is parsed twice, so that none must be kept."""
    if len(rows) > MAX_ENTRIES:
        raise InputError("bundle.entries", limit=MAX_ENTRIES)
    refused: list[Refused] = []
    entries: list[Entry] = []
    reader = _Reader(resolver, mode, current)
    for index in _in_order(rows, mode):
        try:
            entries.append(reader.read(index, rows[index]))
        except (InputError, ConflictError, NotFoundError) as error:
            refused.append(Refused(index, error))
    context = _context(entries, rows, reader, now, mode)
    records: list[NewRecord] = []
    kept: list[Entry] = []
    for entry in sorted(entries, key=lambda one: one.index):
        try:
            record = _record(entry, context.given(entry), context)
        except (InputError, ConflictError) as error:
            if mode.may_wait and error.code == NOT_FOUND:
                raise
            refused.append(Refused(entry.index, error))
            continue
        kept.append(entry)
        if record is not None:
            records.append(record)
    records = _beside_targets(records, resolver)
    return Plan(tuple(kept), tuple(records), tuple(sorted(refused, key=lambda item: item.index)))


def _beside_targets(records: Sequence[NewRecord], resolver: Resolver) -> list[NewRecord]:
    """Have each Provenance fall under the key of the patient whose records it is about, some of which come with it."""
    written = {(one.type, one.id): one.patient for one in records}
    settled = list(records)
    for at, one in enumerate(records):
        if one.type == PROVENANCE and one.content:
            patient = resolver.target_patient(parse(one.content), written)
            settled[at] = replace(one, patient=patient or one.patient)
    return settled


def _in_order(rows: Sequence[Element], mode: _Mode) -> list[int]:
    """Order the entries that write as R4 has them done: what is deleted first, then what is new, then changes."""
    if mode.is_loose:
        return list(range(len(rows)))
    ranked = []
    for index, row in enumerate(rows):
        request = row.get("request") if isinstance(row, dict) else None
        method = member(request, "method") if isinstance(request, dict) else ""
        if method not in READING:
            ranked.append((_RANKS.get(method, len(_RANKS)), index))
    return [index for _, index in sorted(ranked)]


class _Reader:
    """Understands entries and gives them ids.

    Attributes:
        deleted: types and ids of what is deleted.
        named: what is called how that is written.
        patched: resources that a patch has made, by the entry's place.
        resolver: what the node holds.
    """

    def __init__(self, resolver: Resolver, mode: _Mode, current: Current | None) -> None:
        """Begin with no entry."""
        self.resolver = resolver
        self._mode = mode
        self._current = current
        self.named = _Names()
        self._taken: set[tuple[str, str]] = set()
        self.deleted: set[tuple[str, str]] = set()
        self._made: dict[Wanted, str] = {}
        self.patched: dict[int, Resource] = {}

    def read(self, index: int, row: Element) -> Entry:
        """Understand one entry and give it an id."""
        resource, entry = self._understood(index, row)
        if entry.writes:
            self.named.add(entry, resource)
        return entry

    def _understood(self, index: int, row: Element) -> tuple[Resource, Entry]:
        """Understand one entry; returns its resource, too."""
        if not isinstance(row, dict):
            raise InputError("bundle.entry")
        resource, request = row.get("resource"), row.get("request")
        if isinstance(request, dict) and self._current is not None:
            if member(request, "method") == _DELETE:
                return {}, self._deletion(index, request)
            if member(request, "method") == _PATCH:
                return self._patch(index, resource, request)
        if not isinstance(resource, dict):
            raise InputError("bundle.resource")
        type_name = member(resource, "resourceType")
        if not resources.is_storable(type_name):
            raise InputError("resource.type")
        if not isinstance(request, dict):
            if not self._mode.is_loose or request is not None:
                raise InputError("bundle.request")
            request = _implied(type_name, resource)
        entry = self._written(Entry(index, member(row, "fullUrl"), type_name, "", 1), resource, request)
        self._taken.add((entry.type, entry.id))
        return resource, entry

    def _written(self, entry: Entry, resource: Resource, request: Resource) -> Entry:
        """Give an entry that has a resource its id."""
        method, url = member(request, "method"), url_of(request, resource, self.resolver.bases)
        if method == "POST" and url == entry.type:
            return self._posted(entry, resource, request)
        entry.method = method
        if method == "PUT" and url.startswith(f"{entry.type}/"):
            entry.id = url.removeprefix(f"{entry.type}/")
            if "id" in resource and resource["id"] != entry.id:
                raise InputError("bundle.id")
            return self._put(entry, request)
        if method == "PUT" and url.startswith(f"{entry.type}?"):
            entry.id = self._found_or_new(entry.type, resource, parse_condition(entry.type, url))
            return self._put(entry, request)
        raise InputError("bundle.method")

    def _put(self, entry: Entry, request: Resource) -> Entry:
        """Make the next version of a record, or its first."""
        if resources.ID_PATTERN.fullmatch(entry.id) is None or (entry.type, entry.id) in self._taken:
            raise InputError("bundle.id")
        newest = self.resolver.version(entry.type, entry.id)
        # Whether it is deleted costs opening it, and matters to few.
        is_there = newest > 0 and "ifNoneMatch" in request and self._is_present(entry.type, entry.id)
        _check_match(request, newest, is_there=is_there)
        entry.version = newest + 1
        return entry

    def _posted(self, entry: Entry, resource: Resource, request: Resource) -> Entry:
        """Give a new record its id, or find the one that is there, or that an entry before makes of the condition."""
        given = member(request, "ifNoneExist")
        wanted = parse_condition(entry.type, given)
        if given and wanted in self._made:
            entry.id, entry.present = self._made[wanted], True
            return entry
        found = self.resolver.find(wanted) if given else None
        if found is not None and (entry.type, found) not in self.deleted:
            entry.id, entry.version = found, self.resolver.version(entry.type, found)
            entry.present = True
            return entry
        entry.id = self.resolver.new_id(entry.type, resource, self._taken)
        if given and not self._mode.is_loose:
            # An import may leave this entry out, and then the next one of the condition must not count on it.
            self._made[wanted] = entry.id
        return entry

    def _found_or_new(self, type_name: str, resource: Resource, wanted: Wanted) -> str:
        """Find the record that a conditional update is of, or give a new one its id (FHIR R4 §3.1.0.4.3)."""
        given = member(resource, "id")
        if wanted in self._made:
            raise InputError("bundle.id")
        found = self.resolver.find(wanted)
        if found is None and given and self._is_present(type_name, given):
            # What another writer has stored since it was looked for may fulfil the condition by now.
            found = self.resolver.find(wanted)
            if found is None:
                raise ConflictError("record.taken")
        if found is None:
            self._made[wanted] = given or self.resolver.new_id(type_name, resource, self._taken)
            return self._made[wanted]
        if given and given != found:
            raise InputError("bundle.id")
        return found

    def _is_present(self, type_name: str, record_id: str) -> bool:
        """Tell whether there is a record, and it is not deleted."""
        newest = self._current(type_name, record_id) if self._current is not None else None
        return newest is not None and newest.resource is not None

    def _deletion(self, index: int, request: Resource) -> Entry:
        """Say what is deleted."""
        type_name, record_id = self._named(url_of(request, None, self.resolver.bases))
        entry = Entry(index, "", type_name, record_id, 0, present=True, method=_DELETE)
        if record_id:
            # Whether it is there or not: of what is written again, the client could mean either.
            self._take(entry)
        newest = self._current(type_name, record_id) if record_id and self._current is not None else None
        if newest is None:
            _check_match(request, 0)
            return entry
        entry.version = newest.version
        _check_match(request, newest.version, is_there=newest.resource is not None)
        if newest.resource is not None:
            entry.version, entry.present, entry.token = newest.version + 1, False, newest.token
            self.deleted.add((type_name, record_id))
        return entry

    def _patch(self, index: int, given: Element, request: Resource) -> tuple[Resource, Entry]:
        """Make what a patch makes of a record."""
        if not isinstance(given, dict):
            raise InputError("bundle.resource")
        type_name, record_id = self._named(url_of(request, None, self.resolver.bases))
        newest = self._current(type_name, record_id) if record_id and self._current is not None else None
        if newest is None or newest.resource is None:
            raise NotFoundError("record.unknown")
        entry = Entry(index, "", type_name, record_id, newest.version, method=_PATCH)
        _check_match(request, newest.version, is_there=True)
        entry.version += 1
        self._take(entry)
        self.patched[index] = patch_in_bundle(newest.resource, given)
        return self.patched[index], entry

    def _named(self, url: str) -> tuple[str, str]:
        """Read ``Type/id`` or ``Type?condition``; the id is empty where nothing fulfils the condition."""
        type_name, question, condition = url.partition("?")
        record_id: str | None
        if question:
            record_id = self.resolver.find(parse_condition(type_name, condition))
        else:
            type_name, _, record_id = url.partition("/")
        if not resources.is_storable(type_name) or (record_id and resources.ID_PATTERN.fullmatch(record_id) is None):
            raise InputError("bundle.method")
        if not question and not record_id:
            raise InputError("bundle.method")
        return type_name, record_id or ""

    def _take(self, entry: Entry) -> None:
        """Have a record written once: a transaction whose identities overlap fails (§3.1.0.11.2)."""
        if (entry.type, entry.id) in self._taken:
            raise InputError("bundle.id")
        self._taken.add((entry.type, entry.id))


def _implied(type_name: str, resource: Resource) -> Resource:
    """Say what is meant by an entry that does not: keep its id, or have one given."""
    record_id = member(resource, "id")
    if record_id:
        return {"method": "PUT", "url": f"{type_name}/{record_id}"}
    return {"method": "POST", "url": type_name}


def _check_match(request: Resource, newest: int, *, is_there: bool = False) -> None:
    """Compare ifMatch with the newest version, and ifNoneMatch with one that is there, as a request of its own has it.

    Raises:
        InputError: ``request.etag`` for what is no entity tag.
        ConflictError: ``bundle.version``.
    """
    wanted, unwanted = member(request, "ifMatch"), member(request, "ifNoneMatch")
    if wanted and not (names(wanted, newest) and newest):
        raise ConflictError("bundle.version")
    if unwanted and names(unwanted, newest) and is_there:
        raise ConflictError("bundle.version")


class _Names:
    """What a Bundle's own entries are called, and when its patients were born; what two are called is empty."""

    __slots__ = ("births", "found")

    def __init__(self) -> None:
        """Begin with none."""
        self.births: dict[str, str] = {}
        self.found: dict[Identifier, str] = {}

    def add(self, entry: Entry, resource: Resource) -> None:
        """Know an entry's identifiers, and when it was born."""
        if entry.type == "Patient":
            self.births[entry.id] = member(resource, "birthDate")
        for identifier in map(folded, identifiers(entry.type, resource)):
            if self.found.setdefault(identifier, entry.id) != entry.id:
                self.found[identifier] = ""


class _Places:
    """Where the entries of a Bundle will be, by what others call them.

    A relative reference is read at the base of the full URL of the entry that has it, if that is an address of a
    resource (FHIR R4 §2.36.4.1): ``Patient/7`` from below ``http://a.example/fhir`` is the entry of that base, which
    gets another id here, and not the Patient/7 of this node.
    """

    __slots__ = ("_by_url", "_moved")

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Take the entries, with their ids."""
        self._by_url = {entry.full_url: f"{entry.type}/{entry.id}" for entry in entries if entry.full_url}
        self._moved: dict[str, dict[str, str]] = {}
        for full_url, place in self._by_url.items():
            base, relative = _split(full_url)
            if base and relative != place:
                self._moved.setdefault(base, {})[relative] = place

    def seen_from(self, full_url: str) -> Mapping[str, str]:
        """Map what an entry may write to ``Type/id``: full URLs, and what is relative to its own base."""
        moved = self._moved.get(_split(full_url)[0])
        return ChainMap(self._by_url, moved) if moved else self._by_url


def _split(full_url: str) -> tuple[str, str]:
    """Part an address of a resource into its base and ``Type/id``; the base of anything else is empty."""
    match = _RESOURCE_URL.fullmatch(full_url)
    return ("", full_url) if match is None else (match[1], match[2])


class _Context(NamedTuple):
    """What all entries of a Bundle are made with.

    Attributes:
        given: gives what an entry was sent with, or what its patch has made.
        forgets: whether what is parsed each time that it is asked for is not kept by what is made of it either.
    """

    given: Callable[[Entry], Resource]
    places: _Places
    own: Own
    resolver: Resolver
    now: int
    validation: Mode
    repeats: Repeats
    forgets: bool
    labeller: Labeller | None
    births: dict[str, str]


def _context(entries: Sequence[Entry], rows: Sequence[Element], reader: _Reader, now: int, mode: _Mode) -> _Context:
    """Put together what all entries are made with."""

    def given(entry: Entry) -> Resource:
        return reader.patched.get(entry.index) or _resource_of(rows[entry.index])

    written = [one for one in entries if one.writes]
    own = Own(reader.named.found, frozenset((one.type, one.id) for one in written), frozenset(reader.deleted))
    context = _Context(
        given=given,
        places=_Places(entries),
        own=own,
        resolver=reader.resolver,
        now=now,
        validation=mode.validation,
        repeats=Repeats(),
        forgets=isinstance(rows, Rows),
        labeller=mode.labeller,
        births=reader.named.births,
    )
    own.of_type = lambda type_name: _resources_of([one for one in written if one.type == type_name], context)
    return context


def _resource_of(row: Element) -> Resource:
    """Return the resource of an entry; an empty one for one that has none."""
    resource = row.get("resource") if isinstance(row, dict) else None
    return resource if isinstance(resource, dict) else {}


def _record(entry: Entry, resource: Resource, context: _Context) -> NewRecord | None:
    """Write one entry as it will be stored."""
    if entry.present:
        return None
    if entry.method == _DELETE:
        return NewRecord(entry.type, entry.id, b"", "", entry.version, DELETED, token=entry.token)
    rewrite(resource, context.places.seen_from(entry.full_url), context.own, context.resolver)
    made = make_record(
        entry.type,
        entry.id,
        entry.version,
        _labelled(context, entry, with_identity(resource, entry.id, entry.version, context.now)),
        context.validation,
        repeats=context.repeats,
        forgets=context.forgets,
        whose=lambda: context.resolver.whose(entry.type, resource, context.own),
    )
    if entry.type != binary.TYPE:
        entry.content = made.content
    return made


def _resources_of(entries: Iterable[Entry], context: _Context) -> Iterator[Resource]:
    """Give what entries write with its id, its references replaced; the entries themselves stay as they are."""
    for entry in entries:
        made = copy.deepcopy(context.given(entry))
        try:
            rewrite(made, context.places.seen_from(entry.full_url), context.own, context.resolver)
        except (InputError, ConflictError) as error:
            # It is refused when its own turn comes, with its own place.
            if error.code == "store.conflict":
                raise
        else:
            yield {**made, "id": entry.id}


def _labelled(context: _Context, entry: Entry, resource: Resource) -> Resource:
    """Set the labels of an entry."""
    if context.labeller is None:
        entry.is_new = entry.version == 1
        return resource
    before = context.labeller.newest(entry.type, entry.id) if entry.version > 1 else None
    entry.is_new = before is None
    check_whole(resource, before)
    return context.labeller.labelled(resource, before, births=context.births)


def make_record(  # what a record is made of
    type_name: str,
    record_id: str,
    version: int,
    resource: Resource,
    mode: Mode = Mode.STRICT,
    *,
    repeats: Repeats | None = None,
    forgets: bool = False,
    whose: Callable[[], str] = str,
) -> NewRecord:
    """Check a resource and write it as it will be stored.

    Args:
        type_name: which type it must be.
        record_id: its id.
        version: its version.
        resource: with its references replaced, its identity and its labels.
        mode: how strictly it is checked.
        repeats: what is kept between the resources of one request.
        forgets: whether the record does not hold the resource as it is parsed, since there are too many.
        whose: finds the patient whom it names without a reference; asked where no reference does.

    Returns:
        The record.

    Raises:
        InputError: ``resource.*``.
    """
    # Written once, whether to be judged or to be stored.
    content = cache(lambda: write(resource))
    resources.check(resource, type_name, mode, content=content, repeats=repeats)
    # Who is named as the one that it is about, by whatever, goes before all to whom it refers.
    named = subject_of(type_name, record_id, resource) or whose()
    patient = named or patient_of(type_name, record_id, resource)
    if type_name == binary.TYPE:
        shell, data = binary.unpacked(resource)
        head = write(shell.resource)
        return NewRecord(type_name, record_id, data, patient, version, content_type=shell.content_type, head=head)
    return NewRecord(type_name, record_id, content(), patient, version, document=None if forgets else resource)


def _all_of(refused: Sequence[Refused]) -> MedchainError:
    """Tell why a transaction is refused: the first reason, and all that validation found if that is the reason."""
    first = refused[0]
    error = _at(first.error, first.index)
    if not isinstance(error, resources.InvalidResourceError):
        return error
    issues = list(error.issues)
    for one in refused[1:]:
        other = _at(one.error, one.index)
        if isinstance(other, resources.InvalidResourceError):
            issues += other.issues
    return resources.InvalidResourceError(issues[:MAX_ISSUES], entry=first.index)


def _at(error: MedchainError, index: int) -> MedchainError:
    """Say in which entry an error is."""
    if isinstance(error, resources.InvalidResourceError):
        return error.within(f"Bundle.entry[{index}].resource", index)
    return type(error)(error.code, **{**error.fields, "entry": index})
