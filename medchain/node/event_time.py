"""When what a record tells of happened, for limits on dates: a small table over FHIR R4's own elements. Pure.

Keeps true: a record has a span only if it says one; of a date without time the whole day (month, year) counts, in the
node's zone, as searches read it; what does not say, or says it in another way, has none, so that a limit on dates
denies it. Trusts nothing.
Source: FHIR R4 §2.24.0.1 (date, dateTime, instant), Period, and each type's own page.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Final

import orjson

from medchain.dates import span_of
from medchain.ledger.events import ELEMENTS
from medchain.ledger.kinds.content import Period

_SECOND_US: Final = 1_000_000


def event_span(content: bytes, stored: int, zone: tzinfo) -> Period | None:
    """Tell when what a record tells of happened.

    Args:
        content: the record, FHIR JSON.
        stored: Unix seconds when it was stored: what has no end yet is known up to then.
        zone: of dates that name none.

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
            return _span(record[name], stored, zone)
    return None


def _span(value: object, stored: int, zone: tzinfo) -> Period | None:
    """Read a date, a dateTime, an instant or a Period."""
    if isinstance(value, str):
        return _moment(value, zone)
    if not isinstance(value, dict) or not isinstance(value.get("start"), str):
        return None
    start = _moment(value["start"], zone)
    end = _moment(value["end"], zone) if isinstance(value.get("end"), str) else Period(stored, stored)
    if start is None or end is None or end.end is None:
        return None
    return Period(start.start, max(start.start, end.end))


def _moment(text: str, zone: tzinfo) -> Period | None:
    """Read one date, as seconds; the part that it leaves open counts whole, and what was before 1970 as its first."""
    span = span_of(text, zone)
    if span is None:
        return None
    return Period(max(span.low // _SECOND_US, 0), max((span.high - 1) // _SECOND_US, 0))
