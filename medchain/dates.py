"""Dates as ranges of time: what a partial date, an instant, a Period or a Timing covers.

A range is [low, high) in microseconds since 1970-01-01T00:00Z. Keeps true: a range is as wide as the text is precise
and never empty; what has no bound reaches to `BEGINNING` or `END`. Text without a zone is read in the zone of the
caller, the same for what is stored and what is asked, as that zone's clocks went on that day. Trusts nothing.
Source: FHIR R4 §3.1.1.4.7, §2.24.0.1 (date, dateTime, instant), §2.24.0.8 (Period), §2.24.0.10 (Timing); PEP 495.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
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
_MICROSECOND: Final = timedelta(microseconds=1)
_LONGEST: Final = len("2020-01-01T00:00:00.123456789012+00:00")
_DATE: Final = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,12}))?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)


class Span(NamedTuple):
    """A range of time, low included, high not; microseconds since 1970 in UTC."""

    low: int
    high: int


def span_of(text: str, zone: tzinfo = UTC) -> Span | None:
    """Read a date as the time that it covers.

    Args:
        text: a date, dateTime or instant of any precision that FHIR allows; minutes without seconds too, as in queries.
        zone: of text without one. A time that its clocks show twice is the first of the two.

    Returns:
        Its range; None for what is no date.
    """
    # What is longer is none, and would be remembered.
    return _span_of(text, zone) if len(text) <= _LONGEST else None


@lru_cache(maxsize=8192)
def _span_of(text: str, zone: tzinfo) -> Span | None:
    """Read a date of no more than its longest form."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, written = match.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1)).toordinal()
    except ValueError:
        return None
    if hour is not None:
        return _time(first, (int(hour), int(minute), second, fraction), written, zone)
    if day is not None:
        after = first + 1
    elif month is not None:
        after = date(int(year), int(month) + 1, 1).toordinal() if month != "12" else _year_after(int(year))
    else:
        after = _year_after(int(year))
    low, high = _midnight(first, zone), _midnight(after, zone)
    # Zones that changed sides of the date line left a day out; what says that day is not to cover nothing.
    return Span(low, high if low < high else low + _DAY)


def day_text(day: int) -> str:
    """Write a date, days since 1970-01-01, as ``YYYY-MM-DD``; raises `ValueError` beyond the calendar's years."""
    return date.fromordinal(_EPOCH + day).isoformat()


def _year_after(year: int) -> int:
    """Return the day that follows a year."""
    return _LAST_DAY + 1 if year == date.max.year else date(year + 1, 1, 1).toordinal()


def _midnight(day: int, zone: tzinfo) -> int:
    """Return when a day begins in a zone, microseconds since 1970 in UTC."""
    return (day - _EPOCH) * _DAY - _ahead_us(day, time(), zone)


def _ahead_us(day: int, clock: time, zone: tzinfo) -> int:
    """Return how far a zone's clocks are ahead of UTC when they show a time, in microseconds."""
    # The midnight after the last day that there is goes by that day's.
    shown = datetime.combine(date.fromordinal(min(day, _LAST_DAY)), clock, zone)
    return (shown.utcoffset() or timedelta()) // _MICROSECOND


def zone_name(at: datetime) -> str:
    """Name the clock that shows an instant by how far it is from UTC then: ``UTC+8``, ``UTC-3:30``, ``UTC``."""
    minutes = round((at.utcoffset() or timedelta()).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    ahead = f"{hours}:{rest:02}" if rest else f"{hours}"
    return f"UTC{'-' if minutes < 0 else '+'}{ahead}" if minutes else "UTC"


def _written_us(zone: str) -> int | None:
    """Read a zone as microseconds ahead of UTC; None for one that cannot be."""
    if zone == "Z":
        return 0
    found = int(zone[1:3]) * 3600 + int(zone[4:]) * 60
    if found > MAX_OFFSET_S or zone[4:] > "59":
        return None
    return (-found if zone[0] == "-" else found) * _SECOND


def _time(day: int, clock: tuple[int, int, str | None, str | None], written: str | None, zone: tzinfo) -> Span | None:
    """Make the range of a time of a day: a minute, a second, or a fraction as fine as it is written."""
    hour, minute, second, fraction = clock
    # A leap second is written as 60 and taken as the first of the next minute, as clocks do.
    seconds = int(second or 0)
    if hour > 23 or minute > 59 or seconds > 60:  # noqa: PLR2004  # what clocks show
        return None
    ahead = _ahead_us(day, time(hour, minute), zone) if written is None else _written_us(written)
    if ahead is None:
        return None
    low = (day - _EPOCH) * _DAY + ((hour * 60 + minute) * 60 + seconds) * _SECOND - ahead
    if second is None:
        return Span(low, low + 60 * _SECOND)
    if fraction is None:
        return Span(low, low + _SECOND)
    low += int(fraction[:6].ljust(6, "0"))
    return Span(low, low + 10 ** max(0, 6 - len(fraction)))


def majority_of(birth_date: str, years: int) -> date | None:
    """Tell when somebody is of age.

    Args:
        birth_date: as recorded, of any precision: the latest day that it may mean counts.
        years: at which age a person decides alone.

    Returns:
        The day, as UTC counts days; None for what is no date.
    """
    span = span_of(birth_date)
    if span is None:
        return None
    born = datetime.fromtimestamp(span.high // _SECOND - 1, UTC).date()
    year = born.year + years
    if year > date.max.year:
        return date.max
    # Whoever was born on the 29th of February is of age on the 1st of March.
    return date(year, born.month, born.day) if (born.month, born.day) != (2, 29) else date(year, 3, 1)


def may_be_minor(birth_date: str, years: int, now: int) -> bool:
    """Tell whether somebody may be under age at a moment, Unix seconds; arguments as of `majority_of`."""
    majority = majority_of(birth_date, years)
    return majority is not None and datetime.fromtimestamp(now, UTC).date() < majority


def span_of_period(value: object, zone: tzinfo = UTC) -> Span | None:
    """Read a Period; None where it has neither a start nor an end, or one that is no date."""
    if not isinstance(value, dict):
        return None
    start, end = value.get("start"), value.get("end")
    first = span_of(start, zone) if isinstance(start, str) else None
    last = span_of(end, zone) if isinstance(end, str) else None
    if first is None and last is None:
        return None
    low = BEGINNING if first is None else first.low
    high = END if last is None else last.high
    return Span(low, high) if low < high else None


def span_of_timing(value: object, zone: tzinfo = UTC) -> Span | None:
    """Read a Timing by its outer limits (FHIR R4 §3.1.1.4.7): its events and its bounds; None where it has neither."""
    if not isinstance(value, dict):
        return None
    events = value.get("event")
    repeat = value.get("repeat")
    texts = [one for one in events if isinstance(one, str)] if isinstance(events, list) else []
    spans = [span_of(one, zone) for one in texts]
    if isinstance(repeat, dict):
        spans.append(span_of_period(repeat.get("boundsPeriod"), zone))
    known = [span for span in spans if span is not None]
    return Span(min(span.low for span in known), max(span.high for span in known)) if known else None
