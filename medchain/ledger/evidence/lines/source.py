"""Line 1, source: is every record that the claim cites registered by a member in good standing, by whom, and when?

Pure. Source: `docs/spec/claim-verdict.md`, rows ``source``, and 2, 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from medchain.dates import span_of
from medchain.ledger.events import ELEMENTS
from medchain.ledger.evidence.checked import Checked, Given, ShownRecord
from medchain.ledger.evidence.claim_reading import text_of
from medchain.ledger.evidence.disclosure import Edition
from medchain.ledger.evidence.verdict import Finding
from medchain.ledger.kinds.content import DAY_S
from medchain.ledger.members import ACTIVE

LATE_S: Final = 30 * DAY_S
"""So long after the event a record may be registered."""

_OF_VISIT: Final = frozenset({"AllergyIntolerance", "Condition"})
_ZONED: Final = re.compile(r".*T.*(?:Z|[+-][0-9]{2}:[0-9]{2})")
_SECOND_US: Final = 1_000_000


def source(case: Checked) -> Iterator[Finding]:
    """Find where the records come from."""
    yield from _cited(case)
    for given in case.given:
        yield from _of_hospital(given)


def _cited(case: Checked) -> Iterator[Finding]:
    """Find whose the records are that the claim cites."""
    told = {(one.hospital, one.row.reference): one for one in case.records}
    taken: dict[str, list[ShownRecord]] = {}
    for cited in case.claim.cited:
        hospital = case.hospital_of(cited)
        if hospital is not None and (hospital, cited.reference) in told:
            continue
        # Who bills need not be who keeps the records: without an address the name alone says whose they are.
        found = [] if cited.base else [one for (_, reference), one in told.items() if reference == cited.reference]
        for one in found:
            taken.setdefault(one.hospital, []).append(one)
        if not found and hospital is None:
            yield Finding("source.outside", {"reference": cited.reference})
        elif not found:
            yield Finding("source.missing", {"hospital": hospital or "", "reference": cited.reference})
    for name, records in taken.items():
        yield Finding("source.taken", {"count": len(records), "hospital": name}, _items(records))


def _of_hospital(given: Given) -> Iterator[Finding]:
    """Find it for the records of one hospital."""
    hospital = given.hospital
    if given.member.now.status != ACTIVE:
        yield Finding("source.standing", {"hospital": hospital})
    registered: list[ShownRecord] = []
    before: list[ShownRecord] = []
    for record in given.records:
        yield from _of_record(record, given.member.joined or 0)
        if record.registered is not None:
            (before if _is_before(record.edition, given.member.joined or 0) else registered).append(record)
    times = [one.registered for one in registered if one.registered is not None]
    if times:
        span: dict[str, str | int] = {
            "count": len(times),
            "first": min(times),
            "hospital": hospital,
            "last": max(times),
        }
        yield Finding("source.registered", span, _items(registered))
    if before:
        yield Finding("source.before_joining", {"count": len(before), "hospital": hospital}, _items(before))


def _of_record(record: ShownRecord, joined: int) -> Iterator[Finding]:
    """Find it for one record."""
    head, edition = record.head, record.edition
    if head is None:
        yield Finding("source.missing", record.name, record.items)
        return
    if edition is None or len(record.row.versions) > head.version or _is_contradicted(record, edition):
        yield Finding("source.contradicted", record.name, record.items)
        return
    if edition.author is None and edition.system is None:
        yield Finding("source.unsigned", record.name, record.items)
    if record.registered is None:
        yield Finding("source.undated", record.name, record.items)
        return
    entered = edition.entered if _is_before(edition, joined) else record.registered
    if edition.event is None or entered is None:
        return
    ended = edition.event.start if edition.event.end is None else edition.event.end
    if entered - ended > LATE_S:
        late: dict[str, str | int] = {"days": (entered - ended) // DAY_S, "entered": entered, "event": ended}
        yield Finding("source.late", record.name | late, record.items)


def _is_before(edition: Edition | None, joined: int) -> bool:
    """Tell whether a record tells of what was before its hospital joined: the ledger cannot say how late it came."""
    if edition is None or edition.event is None:
        return False
    return (edition.event.start if edition.event.end is None else edition.event.end) < joined


def _is_contradicted(record: ShownRecord, edition: Edition) -> bool:
    """Tell whether what is opened of a record says otherwise than its hospital."""
    told = record.fields
    if told and f"{text_of(told, '/resourceType')}/{text_of(told, '/id')}" != record.row.reference:
        return True
    if record.row.type in _OF_VISIT:
        return False
    start, end = _dates(told, record.row.type)
    if start is None:
        return False
    if edition.event is None:
        # Who names no event can't be late; of what was before 1970 none is named.
        span = span_of(start)
        return span is not None and span.low // _SECOND_US >= 2 * DAY_S
    if not _covers(start, edition.event.start):
        return True
    said = edition.event.end
    return end is not None and said is not None and said != edition.event.start and not _covers(end, said)


def _dates(told: Mapping[str, str], kind: str) -> tuple[str | None, str | None]:
    """Return what is opened of when it happened: from when, and to when; of a date both are it."""
    for name in ELEMENTS.get(kind, ()):
        moment, start, end = (text_of(told, f"/{name}{part}") for part in ("", "/start", "/end"))
        if (moment, start, end) != (None, None, None):
            return (start, end) if moment is None else (moment, moment)
    return None, None


def _covers(text: str, instant: int) -> bool:
    """Tell whether a date that is opened can be an instant: to the second, or to the day where it names no zone."""
    span = span_of(text)
    if span is None:
        return False
    slack = 0 if _ZONED.fullmatch(text) else DAY_S
    return span.low // _SECOND_US - slack <= instant <= (span.high - 1) // _SECOND_US + slack


def _items(records: list[ShownRecord]) -> tuple[int, ...]:
    """Number the items of records."""
    return tuple(sorted(number for one in records for number in one.items))
