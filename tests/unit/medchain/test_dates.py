"""Dates as ranges, reckoned by the standard library's clock."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medchain.dates import (
    BEGINNING,
    END,
    majority_of,
    may_be_minor,
    span_of,
    span_of_period,
    span_of_timing,
    zone_name,
)

SECOND = 1_000_000
CHINA = timezone(timedelta(hours=8))
HOUR = 3600 * SECOND


def instant(*parts: int, zone=UTC):
    """Microseconds since 1970 of a time."""
    return (datetime(*parts, tzinfo=zone) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2000", (2000, 1, 1), (2001, 1, 1)),
        ("2000-04", (2000, 4, 1), (2000, 5, 1)),
        ("1999-12", (1999, 12, 1), (2000, 1, 1)),
        ("2013-01-10", (2013, 1, 10), (2013, 1, 11)),
        ("2013-01-14T10:00", (2013, 1, 14, 10), (2013, 1, 14, 10, 1)),
        ("2013-01-14T10:00:05Z", (2013, 1, 14, 10, 0, 5), (2013, 1, 14, 10, 0, 6)),
        ("2013-01-14T10:00:00.250Z", (2013, 1, 14, 10, 0, 0, 250_000), (2013, 1, 14, 10, 0, 0, 251_000)),
        ("2013-01-14T23:00:00-05:00", (2013, 1, 15, 4), (2013, 1, 15, 4, 0, 1)),
        ("2016-12-31T23:59:60Z", (2017, 1, 1), (2017, 1, 1, 0, 0, 1)),
        ("1950-06-01", (1950, 6, 1), (1950, 6, 2)),
    ],
)
def test_a_date_covers_what_it_does_not_say(text, low, high):
    assert span_of(text) == (instant(*low), instant(*high))


def test_the_last_year_has_an_end():
    assert span_of("9999").high == span_of("9999-12").high == span_of("9999-12-31").high
    assert span_of("9999-12-31").high - span_of("9999-12-31").low == 86_400 * SECOND


def test_the_finest_fraction_is_a_microsecond():
    assert span_of("2020-01-01T00:00:00.1234567Z") == (
        instant(2020, 1, 1, 0, 0, 0, 123_456),
        instant(2020, 1, 1, 0, 0, 0, 123_457),
    )


def test_text_without_a_zone_is_read_in_the_given_one():
    assert span_of("2020-02-29", CHINA) == (instant(2020, 2, 29, zone=CHINA), instant(2020, 3, 1, zone=CHINA))
    assert span_of("2020-02-29T08:30:00", CHINA).low == instant(2020, 2, 29, 0, 30)
    assert span_of("2020-02-29T08:30:00Z", CHINA).low == instant(2020, 2, 29, 8, 30)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        # Central European Time is UTC+1, and UTC+2 from 29 March to 25 October 2020 (Directive 2000/84/EC).
        ("2020-03-28", (2020, 3, 27, 23), (2020, 3, 28, 23)),
        ("2020-03-29", (2020, 3, 28, 23), (2020, 3, 29, 22)),
        ("2020-07", (2020, 6, 30, 22), (2020, 7, 31, 22)),
        ("2020-10-25", (2020, 10, 24, 22), (2020, 10, 25, 23)),
        ("2020", (2019, 12, 31, 23), (2020, 12, 31, 23)),
        ("2020-07-01T12:00", (2020, 7, 1, 10), (2020, 7, 1, 10, 1)),
        ("2020-10-25T02:30", (2020, 10, 25, 0, 30), (2020, 10, 25, 0, 31)),
    ],
)
def test_a_zone_counts_as_its_clocks_went_on_that_day(text, low, high):
    assert span_of(text, ZoneInfo("Europe/Berlin")) == (instant(*low), instant(*high))


def test_a_day_without_a_midnight_begins_when_its_clocks_do():
    """São Paulo's clocks went from 23:59:59 to 01:00 as 4 November 2018 began, 03:00 in UTC."""
    zone = ZoneInfo("America/Sao_Paulo")
    assert span_of("2018-11-04", zone) == (instant(2018, 11, 4, 3), instant(2018, 11, 5, 2))
    assert span_of("2018-11-03", zone).high == instant(2018, 11, 4, 3)


def test_a_day_that_a_zone_left_out_covers_something():
    """Samoa had no 30 December 2011."""
    span = span_of("2011-12-30", ZoneInfo("Pacific/Apia"))
    assert (span.low, span.high - span.low) == (instant(2011, 12, 30, 10), 24 * HOUR)


@pytest.mark.parametrize("zone", [ZoneInfo("Asia/Shanghai"), ZoneInfo("Pacific/Honolulu")], ids=str)
def test_the_first_and_the_last_day_have_both_ends_in_any_zone(zone):
    assert span_of("0001", zone).high == span_of("0002", zone).low
    assert span_of("9999", zone).high - span_of("9999-12-31", zone).low == 24 * HOUR


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "20",
            "2015-13",
            "2015-00",
            "2015-02-30",
            "2015-02-29",
            "0000",
            "2015-1-1",
            "23 May 2009",
            "2015-02-07T13",
        ),
        *("2015-02-07T24:00:00Z", "2015-02-07T13:60Z", "2015-02-07T13:28:61Z", "2015-02-07T13:28:17+15:00"),
        *("2015-02-07T13:28:17+10:99", "2015-02-07T13:28:17.Z", "2015-02-07Z", "2015\n"),
        "２０１５",  # noqa: RUF001  # wide digits on purpose
    ],
)
def test_what_is_no_date_covers_nothing(text):
    assert span_of(text) is None


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001  # given a zone below
def test_any_instant_is_read_as_the_standard_library_reads_it(moment):
    text = moment.replace(tzinfo=UTC).isoformat(timespec="microseconds")
    span = span_of(text)
    assert span.low == (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert span.high == span.low + 1


def test_a_period_reaches_from_its_start_to_the_end_of_its_end():
    assert span_of_period({"start": "2013-01", "end": "2013-02"}) == (instant(2013, 1, 1), instant(2013, 3, 1))


def test_an_open_period_has_no_bound():
    assert span_of_period({"start": "2013"}) == (instant(2013, 1, 1), END)
    assert span_of_period({"end": "2013"}) == (BEGINNING, instant(2014, 1, 1))


@pytest.mark.parametrize("value", [{}, None, "2013", {"start": 5}, {"start": "2014", "end": "2013"}, {"start": "x"}])
def test_a_period_without_time_covers_nothing(value):
    assert span_of_period(value) is None


def test_a_timing_counts_by_its_outer_limits():
    """§3.1.1.4.7: every second day between 31-Jan and 24-Mar 2013 includes 1-Feb."""
    timing = {"repeat": {"boundsPeriod": {"start": "2013-01-31", "end": "2013-03-24"}, "period": 2, "periodUnit": "d"}}
    assert span_of_timing(timing) == (instant(2013, 1, 31), instant(2013, 3, 25))
    timing = {"event": ["2013-05-01", "2013-02-01", "2013-03-01"]}
    assert span_of_timing(timing) == (instant(2013, 2, 1), instant(2013, 5, 2))


@pytest.mark.parametrize("value", [None, {}, {"repeat": {"boundsDuration": {"value": 3}}}, {"event": [None, "x"]}])
def test_a_timing_without_time_covers_nothing(value):
    assert span_of_timing(value) is None


@pytest.mark.parametrize(
    ("born", "years", "day"),
    [
        ("2008-05-06", 18, date(2026, 5, 6)),
        ("2008-05", 18, date(2026, 5, 31)),
        ("2008", 18, date(2026, 12, 31)),
        ("2008-02-29", 18, date(2026, 3, 1)),
        ("2008-02", 18, date(2026, 3, 1)),
        ("9990-01-01", 100, date.max),
        ("not a date", 18, None),
        ("", 18, None),
    ],
)
def test_somebody_is_of_age_who_was_born_on_the_latest_day_that_the_record_may_mean(born, years, day):
    assert majority_of(born, years) == day
    if day is not None:
        first = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        assert [may_be_minor(born, years, first - second) for second in (1, 0)] == [True, False]
    else:
        assert not may_be_minor(born, years, 0)


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        # As the IANA time zone database has them in November.
        ("UTC", "UTC"),
        ("Asia/Shanghai", "UTC+8"),
        ("Asia/Kathmandu", "UTC+5:45"),
        ("America/St_Johns", "UTC-3:30"),
        ("Africa/Abidjan", "UTC"),
    ],
)
def test_a_clock_is_named_by_how_far_it_is_from_utc(zone, name):
    assert zone_name(datetime(2026, 11, 26, 9, 26, tzinfo=UTC).astimezone(ZoneInfo(zone))) == name


def test_a_clock_is_named_as_it_goes_on_that_day():
    summer = datetime(2026, 7, 1, tzinfo=UTC).astimezone(ZoneInfo("America/St_Johns"))
    assert zone_name(summer) == "UTC-2:30"


def test_the_longest_date_is_read_and_nothing_longer():
    """FHIR R4 §2.24.0.1; of a fraction at most twelve digits count."""
    assert span_of("2020-01-01T00:00:00.123456789012+14:00") is not None
    assert span_of("2020-01-01T00:00:00.123456789012+14:00 ") is None


def test_attack_long_texts_that_are_no_dates_fill_no_memory():
    tracemalloc.start()
    try:
        assert all(span_of("2" * (10_000 + number)) is None for number in range(200))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 16
