"""One case's records, as this node has them: found once, opened once, with the days of its own clocks.

Keeps true: a reference leads to a record of this node or nowhere; what is gone is not there. Trusts its caller for
which records may be told of.
Source: `docs/spec/claim-disclosure.md` 4, 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final
from urllib.parse import urlencode

import orjson

from fhir_bridge.claim_profile import ENTERED, OF_VISIT
from fhir_bridge.document import Element, Resource, member, object_of
from fhir_bridge.search.service import SearchService
from medchain.dates import span_of
from medchain.errors import NotFoundError
from medchain.ledger.evidence.disclosure import Edition
from medchain.ledger.kinds.content import Period
from medchain.node.event_time import event_span
from medchain.node.records import OpenedRecord, RecordService
from medchain.node.release_ports import CitedRecord, ClaimCase
from medchain.node.telling import local_record
from medchain.store.records import FHIR_JSON, RecordStore, RecordVersion

SECOND_US: Final = 1_000_000
"""Microseconds of a second, in which `medchain.dates` counts."""

MAX_COUNTED: Final = 2000
"""Most records of one type that are counted: each is judged by itself. Of more it is not said how many there are."""

# A day from either end of what `datetime` counts, so that no zone leads out of it: records may say 9999-12-31.
_FIRST_S: Final = int(datetime(1, 1, 2, tzinfo=UTC).timestamp())
_LAST_S: Final = int(datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC).timestamp())


@dataclass(slots=True)
class ToldRecord:
    """A record of a case, read.

    Attributes:
        record: as it was given.
        opened: each version as it was opened, None for one that has no FHIR JSON or cannot be.
        resources: each version's FHIR JSON, empty for none.
        staff: reference of who wrote the version shown; empty for nobody known here.
        editions: what is told of each version.
    """

    record: CitedRecord
    opened: list[OpenedRecord | None]
    resources: list[Resource]
    staff: str = ""
    editions: list[Edition] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """Its reference."""
        return self.record.reference

    @property
    def shown(self) -> Resource:
        """The version of which fields are opened."""
        return self.resources[self.record.shown.version - 1]

    @property
    def edition(self) -> Edition:
        """What is told of that version."""
        return self.editions[self.record.shown.version - 1]


@dataclass(frozen=True, slots=True)
class NodeRecords:
    """A node's records.

    Attributes:
        searches: finds them.
        records: the records file.
        service: opens them.
        zone: of dates that name none.
    """

    searches: SearchService
    records: RecordStore
    service: RecordService
    zone: tzinfo = UTC


class CaseReader:
    """Reads the records of one case.

    Attributes:
        case: what is asked, and what may be told of.
        node: the node's records.
    """

    __slots__ = ("_known", "case", "node")

    def __init__(self, node: NodeRecords, case: ClaimCase) -> None:
        """Begin; arguments as the attributes."""
        self.node = node
        self.case = case
        self._known: dict[tuple[str, str], tuple[RecordVersion, Resource] | None] = {}

    def read(self) -> list[ToldRecord]:
        """Open all versions of the case's records, each once; raises as `medchain.node.records.RecordService.open`."""
        told = [self._read(record) for record in self.case.records]
        for one in told:
            versions = enumerate(one.record.versions)
            newest = max(((at, row) for at, row in versions if row is not None), default=None, key=lambda pair: pair[0])
            if newest is not None:
                self._known[newest[1].type, newest[1].id] = newest[1], one.resources[newest[0]]
        return told

    def _read(self, record: CitedRecord) -> ToldRecord:
        """Open all versions of a record, each once."""
        opened = [None if row is None else self._opened(row) for row in record.versions]
        return ToldRecord(record, opened, [resource_of(one) for one in opened])

    def _opened(self, row: RecordVersion) -> OpenedRecord | None:
        """Open a version; None for what has no FHIR JSON, of which nothing is told but that it is there."""
        return self.node.service.open(row) if row.content_type == FHIR_JSON else None

    def find(self, reference: Element) -> tuple[RecordVersion, Resource] | None:
        """Read the newest version of a record of this node that a reference names; None for any other."""
        name = local_record(reference) if isinstance(reference, str) else None
        if name is None:
            return None
        if name not in self._known:
            self._known[name] = self._newest(*name)
        return self._known[name]

    def _newest(self, type_name: str, record_id: str) -> tuple[RecordVersion, Resource] | None:
        """Read a record; None for one that is not there, or is gone."""
        row = self.node.records.get(type_name, record_id)
        if row is None or row.content_type != FHIR_JSON:
            return None
        try:
            resource = resource_of(self.node.service.open(row))
        except NotFoundError:
            return None
        return (row, resource) if resource else None

    def content(self, row: RecordVersion) -> Resource:
        """Read a record's newest version, once."""
        found = self.find(f"{row.type}/{row.id}")
        return {} if found is None else found[1]

    def counted(self, type_name: str, query: dict[str, str]) -> list[RecordVersion] | None:
        """List the patient's records that a search finds and that may be counted; None where there are too many."""
        found = self.node.searches.rows(type_name, urlencode(query), MAX_COUNTED + 1)
        if len(found) > MAX_COUNTED:
            return None
        rows = [self.node.records.numbered(one.number) for one in found]
        return [row for row in rows if row is not None and row.patient == self.case.patient and self.case.counts(row)]

    def patient(self) -> Resource:
        """Read the Patient; empty where there is none, or more than one."""
        rows = self.node.records.by_patient(self.case.patient, {"Patient"}, limit=2)
        return self.content(rows[0]) if len(rows) == 1 else {}

    def counted_patient(self) -> Resource:
        """Read the Patient, where that record may be counted as well; else empty: then nothing is said of it."""
        rows = self.node.records.by_patient(self.case.patient, {"Patient"}, limit=2)
        return self.patient() if all(self.case.counts(row) for row in rows) else {}

    def day(self, seconds: int) -> date:
        """Tell the day of a moment, by the clocks here; of what no calendar reaches, the first or last that it does."""
        within = min(max(seconds, _FIRST_S), _LAST_S)
        # Not `fromtimestamp`, which not every system has for all years.
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=within)).astimezone(self.node.zone).date()

    def entered(self, resource: Resource) -> int | None:
        """Tell when a record says that it was written."""
        text = member(resource, ENTERED.get(member(resource, "resourceType"), ""))
        span = span_of(text, self.node.zone) if text else None
        return None if span is None or span.low < 0 else span.low // SECOND_US

    def event(self, resource: Resource, row: RecordVersion) -> Period | None:
        """Tell when what a record tells of happened.

        Of an illness, when the visit was at which it was written down, or when it began where that was later, but not
        after it was written down: what shows itself weeks after a visit can still be of it. Of what was before 1970
        no time is told, since the seconds that a verdict compares with what is opened begin there.
        """
        found = self._event(resource, row)
        return None if found is None or found.start == 0 else found

    def _event(self, resource: Resource, row: RecordVersion) -> Period | None:
        """Tell it, what was before 1970 as its first second."""
        own = event_span(orjson.dumps(resource), row.created, self.node.zone)
        if row.type not in OF_VISIT:
            return own
        entered, visit = self.entered(resource), self.find(object_of(resource.get("encounter")).get("reference"))
        if visit is not None and visit[0].patient == row.patient and self.case.counts(visit[0]):
            span = event_span(orjson.dumps(visit[1]), visit[0].created, self.node.zone)
            if span is not None:
                began = span.start if own is None else max(span.start, own.start)
                start = began if entered is None or began <= entered else span.start
                return Period(start, start)
        return None if entered is None else Period(entered, entered)


def resource_of(opened: OpenedRecord | None) -> Resource:
    """Read a version; empty for a deletion."""
    value: object = orjson.loads(opened.content) if opened is not None and opened.content else {}
    return value if isinstance(value, dict) else {}
