"""When what a record tells of happened. Expected seconds are from `date -u -d … +%s`."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from medchain.ledger.kinds.content import Period
from medchain.node.event_time import event_span

STORED = 1_796_083_200


def span(body: str, zone: str = "UTC") -> Period | None:
    return event_span(body.encode(), STORED, ZoneInfo(zone))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-20T08:00:00Z", 1_795_161_600, 1_795_161_600),
        ("2026-11-20T08:00:00+08:00", 1_795_132_800, 1_795_132_800),
        ("2026-11-20T08:00:00.123-05:30", 1_795_181_400, 1_795_181_400),
        # As clocks that count no leap seconds: the first of the next minute.
        ("2016-12-31T23:59:60Z", 1_483_228_800, 1_483_228_800),
        ("2020-05-05", 1_588_636_800, 1_588_723_199),
        ("2020-02", 1_580_515_200, 1_583_020_799),
        ("2019", 1_546_300_800, 1_577_836_799),
        ("1950", 0, 0),
    ],
)
def test_a_date_is_the_whole_of_what_it_leaves_open(text, start, end):
    assert span(f'{{"resourceType":"Observation","effectiveDateTime":"{text}"}}') == Period(start, end)


@pytest.mark.parametrize(
    ("text", "zone", "start", "end"),
    [
        ("2020-05-05", "Asia/Shanghai", 1_588_608_000, 1_588_694_399),
        ("2020-02", "Asia/Shanghai", 1_580_486_400, 1_582_991_999),
        # Summer time ends on that day, which has 25 hours.
        ("2020-10-25", "Europe/Zurich", 1_603_576_800, 1_603_666_799),
        ("2020-05-05T10:00:00", "Asia/Shanghai", 1_588_644_000, 1_588_644_000),
        ("2020-05-05T10:00:00Z", "Asia/Shanghai", 1_588_672_800, 1_588_672_800),
    ],
)
def test_a_date_that_names_no_zone_is_one_of_the_nodes(text, zone, start, end):
    """A limit would let a day's first hours pass that are not in it, and deny the last ones."""
    assert span(f'{{"resourceType":"Observation","effectiveDateTime":"{text}"}}', zone) == Period(start, end)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-13",
        "2020-02-30",
        "20200505",
        "2020-05-05T10:00:00+99:00",
        "2020-05-05T25:00:00Z",
    ],
)
def test_what_is_no_date_is_none(text):
    assert span(f'{{"resourceType":"Observation","effectiveDateTime":"{text}"}}') is None


def test_a_period_reaches_from_its_start_to_its_end():
    body = '{"resourceType":"Encounter","period":{"start":"2020-05-05","end":"2020-05-06T00:00:01Z"}}'
    assert span(body) == Period(1_588_636_800, 1_588_723_201)


def test_a_period_without_an_end_lasts_until_the_record_was_stored():
    assert span('{"resourceType":"Encounter","period":{"start":"2020-05-05"}}') == Period(1_588_636_800, STORED)


@pytest.mark.parametrize("period", ['{"end":"2020"}', "{}", "7", '{"start":"never"}', '{"start":"2020","end":"never"}'])
def test_a_period_that_does_not_say_is_none(period):
    assert span(f'{{"resourceType":"Encounter","period":{period}}}') is None


def test_the_first_element_that_is_there_counts():
    body = '{"resourceType":"Condition","recordedDate":"2021","onsetDateTime":"2020-05-05"}'
    assert span(body) == Period(1_588_636_800, 1_588_723_199)
    assert span('{"resourceType":"Condition","recordedDate":"2019"}') == Period(1_546_300_800, 1_577_836_799)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"resourceType":"Observation"}',
        '{"resourceType":"Basic","created":"2020"}',
    ],
)
def test_a_record_that_says_no_date_has_none(body):
    assert span(body) is None
