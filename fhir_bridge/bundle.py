"""Transaction Bundles: from entries to record versions, all together or none.

Keeps true: ids are given (`fhir_bridge.bundle_entries`) before references are replaced, so entries may point to one
another in any order; every resource is checked as it will be stored; what is not understood is refused, not skipped. In
an import an entry that is refused is reported with its reason and the others are stored.
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
from typing import Final, NamedTuple

from fhir_bridge import binary, bundled, resources
from fhir_bridge.bundle_entries import DELETE, Current, Entry, EntryReader, Strictness, in_order, resource_of
from fhir_bridge.document import Document, Element, Resource, Rows, parse, write
from fhir_bridge.labelling import Labeller
from fhir_bridge.references import (
    PROVENANCE,
    Own,
    Resolver,
    instant,
    patient_of,
    rewrite,
    subject_of,
    with_identity,
)
from fhir_bridge.subset import check_whole
from fhir_bridge.validation.check import Mode
from fhir_bridge.validation.issue import MAX_ISSUES
from fhir_bridge.validation.repeats import Repeats
from fhir_bridge.whose import named_patient
from medchain.errors import ConflictError, InputError, MedchainError, NotFoundError
from medchain.ledger.kinds.record import DELETED
from medchain.node.records import NewRecord, Parsed

MAX_ENTRIES: Final = 20_000
"""Most entries of one Bundle."""

CREATED: Final = "201 Created"
"""Status of an entry that made a new record."""

GONE: Final = "204 No Content"
"""Status of an entry that deleted a record, or whose record was not there."""

PRESENT: Final = "200 OK"
"""Status of an entry whose record was there, or that made a new version."""

NOT_FOUND: Final = "reference.not_found"
"""Code of a conditional reference that nothing fulfils."""

_RESOURCE_URL: Final = re.compile(rf"(https?:[^?#]+)/({resources.TYPE_PATTERN.pattern}/{resources.ID_PATTERN.pattern})")
_KINDS: Final = frozenset({"batch", "transaction"})


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
    mode = Strictness(is_loose=False, may_wait=False, validation=validation, labeller=labeller)
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
    mode = Strictness(is_loose=True, may_wait=may_wait, validation=validation, labeller=labeller)
    return _plan(rows, resolver, now, mode)


def response(
    plan: Plan,
    time: int,
    others: Mapping[int, bytes],
    *,
    whole: bool = False,
    told: Callable[[Entry], Resource] | None = None,
) -> bytes:
    """Write the transaction-response.

    Args:
        plan: what was stored.
        time: when, Unix seconds.
        others: entries that are no part of the plan, by their places in the Bundle, written already.
        whole: whether what was stored is sent back.
        told: makes the OperationOutcome of an entry; None for none.
    """
    rows = dict(others)
    for entry in plan.entries:
        answer: dict[str, Element] = {"status": entry_status(entry)}
        if entry.id and entry.method != DELETE:
            answer["location"] = f"{entry.type}/{entry.id}/_history/{entry.version}"
        if entry.version:
            answer |= {"etag": f'W/"{entry.version}"', "lastModified": instant(time)}
        if told is not None:
            answer["outcome"] = told(entry)
        body = b'"resource":' + entry.content + b"," if whole and entry.content else b""
        rows[entry.index] = b"{" + body + b'"response":' + write(answer) + b"}"
    return response_of("transaction-response", [rows[index] for index in sorted(rows)])


def response_of(kind: str, rows: Sequence[bytes]) -> bytes:
    """Write the response to a Bundle from its entries; of none there is no array, which FHIR has empty nowhere."""
    entries = b',"entry":[' + b",".join(rows) + b"]" if rows else b""
    return b'{"resourceType":"Bundle","type":"' + kind.encode() + b'"' + entries + b"}"


def entry_status(entry: Entry) -> str:
    """Tell the status of an entry that was done."""
    if entry.method == DELETE:
        return GONE
    return CREATED if entry.is_new and not entry.present else PRESENT


def _plan(
    rows: Sequence[Element], resolver: Resolver, now: int, mode: Strictness, current: Current | None = None
) -> Plan:
    """Give ids, replace references, check, and write every entry. Each is parsed twice, so that none must be kept."""
    if len(rows) > MAX_ENTRIES:
        raise InputError("bundle.entries", limit=MAX_ENTRIES)
    refused: list[Refused] = []
    entries: list[Entry] = []
    reader = EntryReader(resolver, mode, current)
    for index in in_order(rows, mode):
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
    """Have each Provenance fall under the key of the patient whose records it is about, some of which come with it.

    Whose a record is that goes with it, the store tells.
    """
    written = {(one.type, one.id): one.patient for one in records if one.content}
    settled = list(records)
    for at, one in enumerate(records):
        if one.type == PROVENANCE and one.content:
            patient = resolver.target_patient(parse(one.content), written)
            settled[at] = replace(one, patient=patient or one.patient)
    return settled


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


def _context(
    entries: Sequence[Entry], rows: Sequence[Element], reader: EntryReader, now: int, mode: Strictness
) -> _Context:
    """Put together what all entries are made with."""

    def given(entry: Entry) -> Resource:
        return reader.patched.get(entry.index) or resource_of(rows[entry.index])

    written = [one for one in entries if one.writes]
    places, resolver = _Places(entries), reader.resolver

    def of_type(own: Own, type_name: str) -> Iterator[Resource]:
        return _rewritten([one for one in written if one.type == type_name], given, places, own, resolver)

    return _Context(
        given=given,
        places=places,
        own=Own(
            reader.named.found,
            frozenset((one.type, one.id) for one in written),
            frozenset(reader.deleted),
            of_type,
        ),
        resolver=resolver,
        now=now,
        validation=mode.validation,
        repeats=Repeats(),
        forgets=isinstance(rows, Rows),
        labeller=mode.labeller,
        births=reader.named.births,
    )


def _record(entry: Entry, resource: Resource, context: _Context) -> NewRecord | None:
    """Write one entry as it will be stored."""
    if entry.present:
        return None
    if entry.method == DELETE:
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
        whose=lambda: _whose(entry, resource, context),
    )
    if entry.type != binary.TYPE:
        entry.content = made.content
    return made


def _whose(entry: Entry, resource: Resource, context: _Context) -> str:
    """Find the patient whom an entry names without a reference, or tells of; of a Provenance `_beside_targets` does.

    A Provenance has hundreds of targets, most of which are not there yet.
    """
    return "" if entry.type == PROVENANCE else named_patient(entry.type, resource, context.own, context.resolver)


def _rewritten(
    entries: Iterable[Entry], given: Callable[[Entry], Resource], places: _Places, own: Own, resolver: Resolver
) -> Iterator[Resource]:
    """Give what entries write with its id, its references replaced; the entries themselves stay as they are."""
    for entry in entries:
        made = copy.deepcopy(given(entry))
        try:
            rewrite(made, places.seen_from(entry.full_url), own, resolver)
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
        whose: finds the patient whom it names without a reference, and asked where no reference does; of a Bundle the
            one of whom alone it tells.

    Returns:
        The record.

    Raises:
        InputError: ``resource.*``.
    """
    # Written once, whether to be judged or to be stored.
    content = cache(lambda: write(resource))
    parsed = None if forgets else Parsed(resource)
    resources.check(resource, type_name, mode, content=content, repeats=repeats)
    if type_name == bundled.TYPE:
        # No record of the patient's, and gone with it.
        return NewRecord(type_name, record_id, content(), "", version, document=parsed, goes_with=whose())
    # Who is named as the one that it is about, by whatever, goes before all to whom it refers.
    named = subject_of(type_name, record_id, resource) or whose()
    patient = named or patient_of(type_name, record_id, resource)
    if type_name == binary.TYPE:
        shell, data = binary.unpacked(resource)
        head = write(shell.resource)
        return NewRecord(type_name, record_id, data, patient, version, content_type=shell.content_type, head=head)
    return NewRecord(type_name, record_id, content(), patient, version, document=parsed)


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
