"""Dates as readers of pages write them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from medchain.web.dates import day, day_of, moment, written

CHINA = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("given", "english", "chinese"),
    [
        ("2020", "2020", "2020年"),
        ("2020-01", "Jan 2020", "2020年1月"),
        ("2020-12-09", "9 Dec 2020", "2020年12月9日"),
        # Shanghai is eight hours ahead, without summer time since 1992 (IANA).
        ("2021-05-25T18:27:00Z", "26 May 2021, 02:27 UTC+8", "2021年5月26日 02:27 UTC+8"),
        ("2021-05-25T10:27:59.123456789+08:00", "25 May 2021, 10:27 UTC+8", "2021年5月25日 10:27 UTC+8"),
        ("2021-05-25T10:27:00", "25 May 2021, 10:27 UTC+8", "2021年5月25日 10:27 UTC+8"),
        # What is no date is text of whoever wrote it.
        ("", "", ""),
        ("2020-13", "2020-13", "2020-13"),
        ("2020-02-30", "2020-02-30", "2020-02-30"),
        ("2020-01-01T25:00:00Z", "2020-01-01T25:00:00Z", "2020-01-01T25:00:00Z"),
        ("9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59-12:00"),
        ("spring 2020", "spring 2020", "spring 2020"),
    ],
)
def test_a_date_is_as_precise_as_it_was_written(given, english, chinese):
    assert (written(given, CHINA, "en"), written(given, CHINA, "zh")) == (english, chinese)


def test_an_hour_names_its_zone():
    at = datetime(2026, 11, 26, 9, 26, tzinfo=UTC)
    assert (moment(at, "en"), moment(at, "zh")) == ("26 Nov 2026, 09:26 UTC", "2026年11月26日 09:26 UTC")
    assert moment(at.astimezone(CHINA), "en") == "26 Nov 2026, 17:26 UTC+8"
    assert day(at, "en") == "26 Nov 2026"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("2021-05-25T18:27:00Z", "2021-05-26"),
        ("2021-05-25T10:27:00+08:00", "2021-05-25"),
        ("2021-05-25", "2021-05-25"),
        ("2021-05", "2021-05"),
        ("2021-05-25Tnoon", "2021-05-25Tnoon"),
        ("", ""),
    ],
)
def test_an_instant_is_on_the_day_of_the_zone(given, found):
    assert day_of(given, CHINA) == found
