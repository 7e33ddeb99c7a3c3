"""Dates as ranges of time: what a partial date, an instant, a Period or a Timing covers.

A range is [low, high) in microseconds since 1970-01-01T00:00Z. Keeps true: a range is as wide as the text is precise
and never empty; what has no bound reaches to `BEGINNING` or `END`. Text without a zone is read in the zone of the
caller, the same for what is stored and what is asked. Trusts nothing.
Source: FHIR R4 §3.1.1.4.7, §2.24.0.1 (date, dateTime, instant), §2.24.0.8 (Period), §2.24.0.10 (Timing).
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

BEGINNING: Final = -(1 << 62)
"""Low end of what has no beginning."""

END: Final = 1 << 62
"""High end of what has no end."""

MAX_OFFSET_S: Final = 14 * 3600
"""Largest distance of a zone from UTC (FHIR R4 §2.24.0.1)."""

_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal()
_DATE: Final = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,12}))?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)


class Span(NamedTuple):
    """A range of time, low included, high not; microseconds since 1970 in UTC."""

    low: int
    high: int


@lru_cache(maxsize=8192)
def span_of(text: str, offset_s: int = 0) -> Span | None:
    """Read a date as the time that it covers.

    Args:
        text: a date, dateTime or instant of any precision that FHIR allows; minutes without seconds too, as in queries.
        offset_s: zone of text without one, in seconds east of UTC.

    Returns:
        Its range; None for what is no date.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1)).toordinal()
    except ValueError:
        return None
    if hour is not None:
        return _time(first, (int(hour), int(minute), second, fraction), _offset(zone, offset_s))
    if day is not None:
        after = first + 1
    elif month is not None:
        after = date(int(year), int(month) + 1, 1).toordinal() if month != "12" else _year_after(int(year))
    else:
        after = _year_after(int(year))
    shift = offset_s * _SECOND
    return Span((first - _EPOCH) * _DAY - shift, (after - _EPOCH) * _DAY - shift)


def _year_after(year: int) -> int:
    """Return the day that follows a year."""
    return _LAST_DAY + 1 if year == date.max.year else date(year + 1, 1, 1).toordinal()


def _offset(zone: str | None, offset_s: int) -> int | None:
    """Read a zone; None for one that cannot be."""
    if zone is None:
        return offset_s
    if zone == "Z":
        return 0
    found = int(zone[1:3]) * 3600 + int(zone[4:]) * 60
    if found > MAX_OFFSET_S or zone[4:] > "59":
        return None
    return -found if zone[0] == "-" else found


def _time(day: int, clock: tuple[int, int, str | None, str | None], offset_s: int | None) -> Span | None:
    """Make the range of a time of a day: a minute, a second, or a fraction as fine as it is written."""
    hour, minute, second, fraction = clock
    # A leap second is written as 60 and taken as the first of the next minute, as clocks do.
    seconds = int(second or 0)
    if offset_s is None or hour > 23 or minute > 59 or seconds > 60:  # noqa: PLR2004  # what clocks show
        return None
    low = (day - _EPOCH) * _DAY + ((hour * 60 + minute) * 60 + seconds - offset_s) * _SECOND
    if second is None:
        return Span(low, low + 60 * _SECOND)
    if fraction is None:
        return Span(low, low + _SECOND)
    low += int(fraction[:6].ljust(6, "0"))
    return Span(low, low + 10 ** max(0, 6 - len(fraction)))


def span_of_period(value: object, offset_s: int = 0) -> Span | None:
    """Read a Period; None where it has neither a start nor an end, or one that is no date."""
    if not isinstance(value, dict):
        return None
    start, end = value.get("start"), value.get("end")
    first = span_of(start, offset_s) if isinstance(start, str) else None
    last = span_of(end, offset_s) if isinstance(end, str) else None
    if first is None and last is None:
        return None
    low = BEGINNING if first is None else first.low
    high = END if last is None else last.high
    return Span(low, high) if low < high else None


def span_of_timing(value: object, offset_s: int = 0) -> Span | None:
    """Read a Timing by its outer limits (FHIR R4 §3.1.1.4.7): its events and its bounds; None where it has neither."""
    if not isinstance(value, dict):
        return None
    events = value.get("event")
    repeat = value.get("repeat")
    texts = [one for one in events if isinstance(one, str)] if isinstance(events, list) else []
    spans = [span_of(one, offset_s) for one in texts]
    if isinstance(repeat, dict):
        spans.append(span_of_period(repeat.get("boundsPeriod"), offset_s))
    known = [span for span in spans if span is not None]
    return Span(min(span.low for span in known), max(span.high for span in known)) if known else None
