"""Dates as ranges, reckoned by the standard library's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.search.dates import BEGINNING, END, span_of, span_of_period, span_of_timing

SECOND = 1_000_000
CHINA = 8 * 3600


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
    zone = timezone(timedelta(hours=8))
    assert span_of("2020-02-29", CHINA) == (instant(2020, 2, 29, zone=zone), instant(2020, 3, 1, zone=zone))
    assert span_of("2020-02-29T08:30:00", CHINA).low == instant(2020, 2, 29, 0, 30)
    assert span_of("2020-02-29T08:30:00Z", CHINA).low == instant(2020, 2, 29, 8, 30)


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
