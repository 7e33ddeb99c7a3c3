"""Dates and times as the readers of pages write them. Pure.

Keeps true: what is shown is as precise as what is known, and no more; each hour names its zone, since what others show
beside it, and verdicts, may be of another. Text that is no date stays as it is.
Source: FHIR R4 §2.24.0.1 (date, dateTime, instant); `docs/spec/patient-pages.md` 24.
"""

from __future__ import annotations

import re
from datetime import date, datetime, tzinfo
from typing import Final

from medchain.dates import zone_name

CHINESE: Final = "zh"
"""Language of which the forms are not the English ones."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_YEAR: Final = re.compile(r"[0-9]{4}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.+")


def day(at: date, language: str) -> str:
    """Write a date."""
    return (
        f"{at.year}年{at.month}月{at.day}日" if language == CHINESE else f"{at.day} {_MONTHS[at.month - 1]} {at.year}"
    )


def moment(at: datetime, language: str) -> str:
    """Write a date and time, to the minute, with its zone."""
    return f"{day(at, language)}{' ' if language == CHINESE else ', '}{at:%H:%M} {zone_name(at)}"


def written(text: str, zone: tzinfo, language: str) -> str:
    """Write a date as FHIR has it.

    Args:
        text: a date, dateTime or instant of any precision.
        zone: in which hours are shown, and read where the text names none.
        language: of the reader.

    Returns:
        It in the reader's form; what is no date as it is.
    """
    at = _instant(text, zone)
    if at is not None:
        return moment(at, language)
    if _DATE.fullmatch(text):
        try:
            return day(date.fromisoformat(text), language)
        except ValueError:
            return text
    if language == CHINESE and _YEAR.fullmatch(text):
        return f"{text}年"
    month = _MONTH.fullmatch(text)
    if month is None:
        return text
    year, number = month[1], int(month[2])
    return f"{year}年{number}月" if language == CHINESE else f"{_MONTHS[number - 1]} {year}"


def day_of(text: str, zone: tzinfo) -> str:
    """Give the date on which something was, as FHIR writes dates.

    Args:
        text: a date, dateTime or instant of any precision.
        zone: in which days begin.

    Returns:
        The date of an instant; anything else as it is.
    """
    at = _instant(text, zone)
    return text if at is None else at.date().isoformat()


def _instant(text: str, zone: tzinfo) -> datetime | None:
    """Read a time in a zone; None for what is none, or a date alone."""
    if _TIME.fullmatch(text) is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(zone)
    except (OverflowError, ValueError):
        return None
