"""When what a record tells of happened, for limits on dates: a small table over FHIR R4's own elements. Pure.

Keeps true: a record has a span only if it says one; of a date without time the whole day (month, year) counts, in UTC;
what does not say, or says it in another way, has none, so that a limit on dates denies it. Trusts nothing.
Source: FHIR R4 §2.24.0.1 (date, dateTime, instant), Period, and each type's own page.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import orjson

from medchain.ledger.kinds.content import DAY_S, Period

ELEMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "AllergyIntolerance": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "CarePlan": ("period", "created"),
    "Claim": ("billablePeriod", "created"),
    "ClaimResponse": ("created",),
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Coverage": ("period",),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
    "DocumentReference": ("date",),
    "Encounter": ("period",),
    "EpisodeOfCare": ("period",),
    "ExplanationOfBenefit": ("billablePeriod", "created"),
    "ImagingStudy": ("started",),
    "Immunization": ("occurrenceDateTime",),
    "Invoice": ("date",),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
    "MedicationDispense": ("whenHandedOver", "whenPrepared"),
    "MedicationRequest": ("authoredOn",),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod", "dateAsserted"),
    "Observation": ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "QuestionnaireResponse": ("authored",),
    "ServiceRequest": ("occurrenceDateTime", "occurrencePeriod", "authoredOn"),
}
"""Type → elements that say when it happened; the first that is there counts."""

_DATE_TIME: Final = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}):(\d{2}):([0-5]\d|60)(?:\.\d{1,9})?(Z|[+-]\d{2}:\d{2}))?)?)?\Z", re.ASCII
)


def event_span(content: bytes, stored: int) -> Period | None:
    """Tell when what a record tells of happened.

    Args:
        content: the record, FHIR JSON.
        stored: Unix seconds when it was stored: what has no end yet is known up to then.

    Returns:
        From the first to the last second, or None where the record does not say.
    """
    try:
        record = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(record, dict):
        return None
    for name in ELEMENTS.get(str(record.get("resourceType")), ()):
        if name in record:
            return _span(record[name], stored)
    return None


def _span(value: object, stored: int) -> Period | None:
    """Read a date, a dateTime, an instant or a Period."""
    if isinstance(value, str):
        return _moment(value)
    if not isinstance(value, dict) or not isinstance(value.get("start"), str):
        return None
    start = _moment(value["start"])
    end = _moment(value["end"]) if isinstance(value.get("end"), str) else Period(stored, stored)
    if start is None or end is None or end.end is None:
        return None
    return Period(start.start, max(start.start, end.end))


def _moment(text: str) -> Period | None:
    """Read one date; the part that it leaves open counts whole."""
    found = _DATE_TIME.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    try:
        if zone is not None:
            # A leap second counts as the second before it, which datetime can tell.
            moment = datetime(
                int(year), int(month), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=_zone(zone)
            )
            return _period(moment, moment)
        first = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
        last_month = int(month or 12)
        last_day = int(day or monthrange(int(year), last_month)[1])
        last = datetime(int(year), last_month, last_day, tzinfo=UTC)
    except ValueError:
        return None
    return _period(first, last, DAY_S - 1)


def _zone(text: str) -> timezone:
    """Read an offset from UTC."""
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:]))
    return timezone(-offset if text[0] == "-" else offset)


def _period(first: datetime, last: datetime, more_s: int = 0) -> Period | None:
    """Make a period of Unix seconds; dates before 1970 count as its first second."""
    start, end = int(first.timestamp()), int(last.timestamp()) + more_s
    return Period(max(start, 0), max(end, 0))
