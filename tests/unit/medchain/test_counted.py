"""A sentence chooses its words by a number."""

from __future__ import annotations

from medchain.counted import filled


def test_one_is_told_from_many():
    said = "{count} {count:record is|records are} shown."
    assert filled(said, {"count": 1}) == "1 record is shown."
    assert filled(said, {"count": 2}) == "2 records are shown."
    assert filled(said, {"count": 0}) == "0 records are shown."


def test_what_is_filled_in_is_never_taken_for_a_field():
    assert filled("{name}: {count}", {"count": 3, "name": "{count:a|b}"}) == "{count:a|b}: 3"


def test_numbers_are_written_as_always():
    assert filled("{seconds:.1f} s, {count:,} rows, {large:03}", {"count": 1234, "large": 7, "seconds": 0.25}) == (
        "0.2 s, 1,234 rows, 007"
    )
