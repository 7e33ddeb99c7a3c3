"""Finds what an export consists of, part by part: which record versions, not what they hold.

An export is a list of numbers of record versions, found at a snapshot; it is opened when it is fetched. So nothing of
it is ever on disk but what the node keeps anyway, and it goes on after a restart where it was. Keeps true: all files
are of one snapshot; what the caller could not see when it asked is in none of them; orders and lists are sealed, so
that who changes the file cannot have other records exported. Trusts the gate for what must hold of each record.
Source: HL7 Bulk Data Access 2.0; `docs/spec/bulk-export.md`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, Protocol

import orjson

from fhir_bridge.bulk.deletions import Deletions
from fhir_bridge.bulk.request import Order, order_document, parse_order
from fhir_bridge.search.query import parse_query
from fhir_bridge.search.service import SearchService
from fhir_bridge.search.tree import ByType, Condition, Either, InCompartments, Query
from fhir_bridge.smart.access import Access
from medchain.crypto.frames import open_frame, seal_frame
from medchain.crypto.keywrap import derive
from medchain.dates import span_of
from medchain.errors import ConflictError, UnavailableError
from medchain.store.exports import DELETED, ExportRow, FileRow, Progress
from medchain.store.faults import corrupt
from medchain.store.placing import MICROSECONDS
from medchain.store.records import RecordVersion

FILE_RECORDS: Final = 10_000
"""Most records of one file."""

PART: Final = 5 * FILE_RECORDS
"""How many records are looked for at once."""

_PATIENT: Final = "Patient"
_PATIENTS_AT_ONCE: Final = 256
_CONTEXT: Final = b"medchain/export/v1"
_REQUEST: Final = 0


class Kept(Protocol):
    """Where exports are kept: `medchain.store.exports.ExportTable`."""

    def put_export(self, row: ExportRow) -> ExportRow:
        """Keep a new one."""
        ...

    def export(self, name: str, owner: str, now: int) -> ExportRow | None:
        """Return one."""
        ...

    def advance_export(self, row: ExportRow, progress: Progress, files: Sequence[FileRow]) -> None:
        """Note how far one has come."""
        ...

    def indexed_types(self) -> list[str]:
        """List the types of which there is anything."""
        ...


class Rights(NamedTuple):
    """What who asked for an export may have of it.

    Attributes:
        within: what must hold of each record.
        shown: tells of record versions which of them; for those that no search finds any more.
    """

    within: Sequence[Condition]
    shown: Callable[[Sequence[RecordVersion]], Sequence[bool]]


class Exports:
    """Begins exports and finds what they consist of. Threads share it."""

    __slots__ = ("_deletions", "_kept", "_key", "_search")

    def __init__(self, kept: Kept, search: SearchService, deletions: Deletions, records_key: bytes) -> None:
        """Prepare.

        Args:
            kept: where they are kept.
            search: finds records.
            deletions: finds what was deleted.
            records_key: the node's records key.
        """
        self._deletions = deletions
        self._kept = kept
        self._search = search
        self._key = derive(records_key, "bulk-export")

    def begin(self, owner: str, order: Order, now: int) -> ExportRow:
        """Keep an order as a new export; raises `UnavailableError` ``export.too_many``."""
        name = secrets.token_hex(16)
        sealed = seal_frame(self._key_of(name), _REQUEST, _CONTEXT, orjson.dumps(order_document(order)))
        return self._kept.put_export(ExportRow(name, owner, now, sealed, 0))

    def order(self, row: ExportRow) -> Order:
        """Open the order of an export; raises `VerificationError` ``store.corrupt``."""
        content = open_frame(self._key_of(row.id), _REQUEST, _CONTEXT, row.request)
        if content is None:
            raise corrupt("export_job", row.id)
        return parse_order(orjson.loads(content))

    def numbers(self, row: ExportRow, file: FileRow) -> list[int]:
        """Open the list of a file; raises `VerificationError` ``store.corrupt``."""
        content = open_frame(self._key_of(row.id), file.number, _CONTEXT, file.content)
        if content is None:
            raise corrupt("export_file", row.id)
        return list(accumulate(orjson.loads(zlib.decompress(content))))

    def advance(self, row: ExportRow, order: Order, rights: Rights, budget_s: float) -> ExportRow:
        """Find more of what an export consists of.

        Args:
            row: the export as it was read.
            order: its order.
            rights: of who asked.
            budget_s: for how long, in seconds; at least one part is found.

        Returns:
            The export as it is now. While records have no index rows yet it stays where it is.
        """
        deadline = time.monotonic() + budget_s
        progress, files = row.progress, list[FileRow]()
        were = self._deletions.types() if order.since else frozenset[str]()
        there = (frozenset(self._kept.indexed_types()), were)
        try:
            while progress.step < len(order.steps):
                progress = self._search.anew(partial(self._part, row, order, rights, progress, files, there))
                if time.monotonic() > deadline:
                    break
        except UnavailableError as error:
            if error.code != "search.indexing":
                raise
        if progress == row.progress:
            return row
        try:
            self._kept.advance_export(row, progress, files)
        except ConflictError:
            # Somebody else went on with it at the same time, and came as far at least.
            return self._kept.export(row.id, row.owner, row.created) or row
        return ExportRow(row.id, row.owner, row.created, row.request, row.snapshot, progress)

    def _part(  # what a part depends on
        self,
        row: ExportRow,
        order: Order,
        rights: Rights,
        progress: Progress,
        files: list[FileRow],
        there: tuple[frozenset[str], frozenset[str]],
    ) -> Progress:
        """Find one part, and add its files."""
        name, is_deleted = order.steps[progress.step]
        after: int | None = None
        if name not in there[is_deleted]:
            found = list[int]()
        elif is_deleted:
            found, after = self._deleted(row, order, rights, progress.after, name)
        elif order.patients is None:
            query = self._query(order, name, None)
            within = rights.within
            found = self._search.numbers(query, row.snapshot, progress.after, PART, within=within, now=row.created)
            after = found[-1] if len(found) == PART else None
        else:
            found = self._of_patients(row, order, rights.within, name)
        made = list(self._files(row, DELETED + name if is_deleted else name, found, progress.files))
        files += made
        reached = Progress(progress.step + 1) if after is None else Progress(progress.step, after)
        return reached._replace(files=progress.files + len(made))

    def _deleted(
        self, row: ExportRow, order: Order, rights: Rights, after: int, name: str
    ) -> tuple[list[int], int | None]:
        """Find what was deleted of a type; returns the numbers of the deletions, and where the next part begins."""
        span = span_of(order.since, self._search.index.setting.zone)
        since = 0 if span is None else span.low // MICROSECONDS
        looked, following = self._deletions.candidates(name, since, after, row.snapshot)
        if not looked:
            return [], following
        shown = [one for one, is_shown in zip(looked, rights.shown(looked), strict=True) if is_shown]
        ways = [self._query(order, name, part, is_since=False).conditions for part in _parts(order.patients)]
        found = [one.seq for one in self._deletions.of_export(name, shown, ways, rights.within)]
        return found, following

    def _of_patients(self, row: ExportRow, order: Order, within: Sequence[Condition], name: str) -> list[int]:
        """Find all records of a type that are in the compartments of some patients."""
        found: set[int] = set()
        for patients in _parts(order.patients):
            query = self._query(order, name, patients)
            after = 0
            while True:
                part = self._search.numbers(query, row.snapshot, after, PART, within=within, now=row.created)
                found.update(part)
                if len(part) < PART:
                    break
                after = part[-1]
        return sorted(found)

    def _query(self, order: Order, name: str, patients: tuple[str, ...] | None, *, is_since: bool = True) -> Query:
        """Say what is looked for of one type, whenever it was changed where that is not asked."""
        # Not before it, rather than after it: what was stored later in the same second must not be lost.
        since = [("_lastUpdated", f"ge{order.since}")] if order.since and is_since else []
        query = parse_query(since, name, self._search.context())
        if order.of_patients:
            query.conditions.append(InCompartments(_PATIENT, patients))
        filters = [self._search.condition(name, text) for of, text in order.filters if of == name]
        if filters:
            query.conditions.append(Either(tuple(ByType(((name, tuple(one.conditions)),)) for one in filters)))
        return query

    def _files(self, row: ExportRow, name: str, numbers: Sequence[int], before: int) -> Iterable[FileRow]:
        """Part numbers into files, and seal them."""
        key = self._key_of(row.id)
        parts = [numbers[start : start + FILE_RECORDS] for start in range(0, len(numbers), FILE_RECORDS)]
        for place, part in enumerate(parts, before + 1):
            steps = [part[0], *(later - earlier for earlier, later in pairwise(part))]
            content = seal_frame(key, place, _CONTEXT, zlib.compress(orjson.dumps(steps)))
            yield FileRow(place, name, len(part), content)

    def _key_of(self, name: str) -> bytes:
        """Derive the key of one export: then the number of a file is enough of a nonce."""
        return derive(self._key, f"export/{name}")


def _parts(patients: tuple[str, ...] | None) -> list[tuple[str, ...] | None]:
    """Part patients into as many as are looked for at once; None, for anybody's, is one part."""
    if patients is None:
        return [None]
    return [patients[start : start + _PATIENTS_AT_ONCE] for start in range(0, len(patients), _PATIENTS_AT_ONCE)]


def owner_of(access: Access) -> str:
    """Name who owns an export: the client, and the person and patient for whom it acts."""
    whole = orjson.dumps(["medchain/export-owner/v1", access.client, access.user, access.patient])
    return hashlib.sha256(whole).hexdigest()
