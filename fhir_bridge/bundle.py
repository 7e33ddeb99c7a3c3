"""Transaction Bundles: from entries to record versions, all together or none.

Keeps true: ids are given before references are replaced, so entries may point to one another in any order; every
resource is checked as it will be stored; what is not understood is refused, not skipped. In an import an entry that is
refused is reported with its reason and the others are stored. Trusts `RecordService.create_many` to store all or none.
Source: FHIR R4 §3.1.0.11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fhir_bridge import binary, resources
from fhir_bridge.document import Document, Element, Resource, member, write
from fhir_bridge.references import (
    Identifier,
    Resolver,
    identifiers,
    instant,
    parse_condition,
    patient_of,
    rewrite,
    with_identity,
)
from medchain.errors import ConflictError, InputError, MedchainError
from medchain.node.records import NewRecord

MAX_ENTRIES: Final = 20_000
"""Most entries of one Bundle."""

CREATED: Final = "201 Created"
"""Status of an entry that made a new record."""

PRESENT: Final = "200 OK"
"""Status of an entry whose record was there, or that made a new version."""


NOT_FOUND: Final = "reference.not_found"
"""Code of a conditional reference that nothing fulfils."""


class _Mode(NamedTuple):
    """How strictly a Bundle is taken."""

    is_loose: bool
    may_wait: bool


_STRICT: Final = _Mode(is_loose=False, may_wait=False)
_LOOSE: Final = _Mode(is_loose=True, may_wait=False)
_WAITING: Final = _Mode(is_loose=True, may_wait=True)


@dataclass(slots=True)
class Entry:
    """One entry on its way.

    Attributes:
        index: from 0, in the Bundle.
        full_url: how other entries call it, or empty.
        type: resource type.
        id: of the record.
        version: that it will make, or that is there.
        present: whether a conditional create found it: then nothing is stored.
    """

    index: int
    full_url: str
    type: str
    id: str
    version: int
    present: bool = False


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


def transaction(bundle: Document, resolver: Resolver, now: int) -> Plan:
    """Plan a transaction.

    Args:
        bundle: parsed.
        resolver: made for this request.
        now: Unix seconds.

    Returns:
        The plan; nothing is refused.

    Raises:
        InputError: ``bundle.*``, ``reference.*``, ``resource.*``, with the entry's number.
        ConflictError: ``bundle.version`` for an If-Match that does not hold.
    """
    check_transaction(bundle)
    plan = _plan(bundle.rows, resolver, now, _STRICT)
    if plan.refused:
        first = plan.refused[0]
        raise _at(first.error, first.index)
    return plan


def check_transaction(bundle: Document) -> None:
    """See that a document is a transaction; raises `InputError` ``bundle.type``."""
    if bundle.resource.get("resourceType") != "Bundle" or bundle.resource.get("type") != "transaction":
        raise InputError("bundle.type")


def collect(bundle: Document, resolver: Resolver, now: int, *, may_wait: bool = False) -> Plan:
    """Plan an import: a Bundle of any type with resources, or one resource; what cannot be stored is reported.

    Args:
        bundle: parsed.
        resolver: made for this import.
        now: Unix seconds.
        may_wait: whether to give up at the first reference that nothing fulfils yet.

    Returns:
        The plan.

    Raises:
        InputError: ``bundle.entries``; ``reference.not_found`` for a Bundle that must wait.
    """
    rows: Sequence[Element] = bundle.rows
    if bundle.resource.get("resourceType") != "Bundle":
        rows = [{"resource": bundle.resource}]
    return _plan(rows, resolver, now, _WAITING if may_wait else _LOOSE)


def types_of(bundle: Document) -> set[tuple[str, str]]:
    """List what a Bundle wants to do: (method, type) of each entry, to be authorised before anything is looked up."""
    wanted = set()
    for row in bundle.rows:
        request = row.get("request") if isinstance(row, dict) else None
        if not isinstance(request, dict):
            raise InputError("bundle.request")
        wanted.add((member(request, "method"), member(request, "url").partition("/")[0].partition("?")[0]))
    return wanted


def response(plan: Plan, time: int) -> bytes:
    """Write the transaction-response."""
    entries: list[Element] = []
    for entry in plan.entries:
        is_new = entry.version == 1 and not entry.present
        entries.append(
            {
                "response": {
                    "status": CREATED if is_new else PRESENT,
                    "location": f"{entry.type}/{entry.id}/_history/{entry.version}",
                    "etag": f'W/"{entry.version}"',
                    "lastModified": instant(time),
                }
            }
        )
    return write({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})


def _plan(rows: Sequence[Element], resolver: Resolver, now: int, mode: _Mode) -> Plan:
    """Give ids, replace references, check, and write every entry. Each is parsed twice, so that none must be kept."""
    if len(rows) > MAX_ENTRIES:
        raise InputError("bundle.entries", limit=MAX_ENTRIES)
    refused: list[Refused] = []
    entries: list[Entry] = []
    named = _Names()
    taken: set[tuple[str, str]] = set()
    for index in range(len(rows)):
        try:
            resource, entry = _entry(index, rows[index], resolver, taken, mode)
        except (InputError, ConflictError) as error:
            refused.append(Refused(index, error))
        else:
            entries.append(entry)
            taken.add((entry.type, entry.id))
            if not entry.present:
                named.add(entry, resource)
    places = {entry.full_url: f"{entry.type}/{entry.id}" for entry in entries if entry.full_url}
    records: list[NewRecord] = []
    kept: list[Entry] = []
    for entry in entries:
        try:
            record = _record(entry, rows[entry.index], places, named.found, resolver, now)
        except (InputError, ConflictError) as error:
            if mode.may_wait and error.code == NOT_FOUND:
                raise
            refused.append(Refused(entry.index, error))
            continue
        kept.append(entry)
        if record is not None:
            records.append(record)
    return Plan(tuple(kept), tuple(records), tuple(sorted(refused, key=lambda item: item.index)))


def _entry(
    index: int, row: Element, resolver: Resolver, taken: set[tuple[str, str]], mode: _Mode
) -> tuple[Resource, Entry]:
    """Understand one entry and give it an id; returns its resource, too."""
    if not isinstance(row, dict):
        raise InputError("bundle.entry")
    resource, request = row.get("resource"), row.get("request")
    if not isinstance(resource, dict):
        raise InputError("bundle.resource")
    type_name = member(resource, "resourceType")
    if not resources.is_storable(type_name):
        raise InputError("resource.type")
    if not isinstance(request, dict):
        if not mode.is_loose or request is not None:
            raise InputError("bundle.request")
        request = _implied(type_name, resource)
    method, url = member(request, "method"), member(request, "url")
    if method == "POST" and url == type_name:
        posted = Entry(index, member(row, "fullUrl"), type_name, "", 1)
        return resource, _posted(posted, resource, request, resolver, taken)
    if method == "PUT" and url.startswith(f"{type_name}/"):
        made = Entry(index, member(row, "fullUrl"), type_name, url.removeprefix(f"{type_name}/"), 1)
        if "id" in resource and resource["id"] != made.id:
            raise InputError("bundle.id")
        return resource, _put(made, request, resolver, taken)
    if method == "PUT" and url.startswith(f"{type_name}?"):
        found = _found_or_new(type_name, resource, url.removeprefix(f"{type_name}?"), resolver, taken)
        return resource, _put(Entry(index, member(row, "fullUrl"), type_name, found, 1), request, resolver, taken)
    raise InputError("bundle.method")


def _implied(type_name: str, resource: Resource) -> Resource:
    """Say what is meant by an entry that does not: keep its id, or have one given."""
    record_id = member(resource, "id")
    if record_id:
        return {"method": "PUT", "url": f"{type_name}/{record_id}"}
    return {"method": "POST", "url": type_name}


def _posted(
    entry: Entry, resource: Resource, request: Resource, resolver: Resolver, taken: set[tuple[str, str]]
) -> Entry:
    """Give a new record its id, or find the one that is there."""
    condition = member(request, "ifNoneExist")
    if condition:
        found = resolver.find(parse_condition(entry.type, condition.removeprefix(f"{entry.type}?")))
        if found is not None:
            entry.id, entry.version = found, resolver.version(entry.type, found)
            entry.present = True
            return entry
    entry.id = resolver.new_id(entry.type, resource, taken)
    return entry


def _found_or_new(
    type_name: str, resource: Resource, condition: str, resolver: Resolver, taken: set[tuple[str, str]]
) -> str:
    """Find the record that a conditional update is of, or give a new one its id (FHIR R4 §3.1.0.4.3)."""
    given = member(resource, "id")
    found = resolver.find(parse_condition(type_name, condition))
    if found is None:
        return given or resolver.new_id(type_name, resource, taken)
    if given and given != found:
        raise InputError("bundle.id")
    return found


def _put(entry: Entry, request: Resource, resolver: Resolver, taken: set[tuple[str, str]]) -> Entry:
    """Make the next version of a record, or its first."""
    if resources.ID_PATTERN.fullmatch(entry.id) is None or (entry.type, entry.id) in taken:
        raise InputError("bundle.id")
    newest = resolver.version(entry.type, entry.id)
    wanted = member(request, "ifMatch")
    if wanted and wanted != f'W/"{newest}"':
        raise ConflictError("bundle.version")
    entry.version = newest + 1
    return entry


class _Names:
    """The identifiers of a Bundle's own entries; one that two of them carry names neither."""

    __slots__ = ("_doubtful", "found")

    def __init__(self) -> None:
        """Begin with none."""
        self.found: dict[Identifier, str] = {}
        self._doubtful: set[Identifier] = set()

    def add(self, entry: Entry, resource: Resource) -> None:
        """Know an entry's identifiers."""
        for identifier in identifiers(entry.type, resource):
            if identifier not in self._doubtful and self.found.setdefault(identifier, entry.id) != entry.id:
                self._doubtful.add(identifier)
                del self.found[identifier]


def _record(  # what one entry is made of
    entry: Entry,
    row: Element,
    places: dict[str, str],
    named: dict[Identifier, str],
    resolver: Resolver,
    now: int,
) -> NewRecord | None:
    """Write one entry as it will be stored."""
    resource = row.get("resource") if isinstance(row, dict) else None
    if entry.present or not isinstance(resource, dict):
        return None
    rewrite(resource, places, named, resolver)
    return make_record(entry.type, entry.id, entry.version, resource, now)


def make_record(type_name: str, record_id: str, version: int, resource: Resource, now: int) -> NewRecord:
    """Check a resource and write it as it will be stored.

    Args:
        type_name: which type it must be.
        record_id: its id.
        version: its version.
        resource: with its references replaced.
        now: Unix seconds.

    Returns:
        The record.

    Raises:
        InputError: ``resource.*``.
    """
    identified = with_identity(resource, record_id, version, now)
    resources.check(identified, type_name)
    patient = patient_of(type_name, record_id, identified)
    if type_name == binary.TYPE:
        shell, data = binary.unpacked(identified)
        head = write(shell.resource)
        return NewRecord(type_name, record_id, data, patient, version, content_type=shell.content_type, head=head)
    found = tuple({(item.system, item.value): None for item in identifiers(type_name, identified)})
    return NewRecord(type_name, record_id, write(identified), patient, version, identifiers=found)


def _at(error: MedchainError, index: int) -> MedchainError:
    """Say in which entry an error is."""
    return type(error)(error.code, **{**error.fields, "entry": index})
