"""The seeded stream: repeatable, unbiased at its bounds, independent of its siblings."""

import uuid
from decimal import Decimal

from sample_data.model.stream import Stream


def test_equal_paths_give_equal_choices():
    assert [Stream(7, "a").below(1000) for _ in range(3)] == [Stream(7, "a").below(1000)] * 3
    first, second = Stream(7, "a"), Stream(7, "a")
    assert [first.below(10**6) for _ in range(50)] == [second.below(10**6) for _ in range(50)]


def test_another_seed_or_label_gives_other_choices():
    draws = {
        tuple(Stream(*path).below(10**6) for _ in range(1)) for path in ((1,), (2,), (1, "a"), (1, "b"), (1, "a", "b"))
    }
    assert len(draws) == 5


def test_a_child_does_not_depend_on_what_its_parent_drew():
    parent = Stream(3)
    before = parent.child("x").below(10**6)
    for _ in range(20):
        parent.below(10)
    assert parent.child("x").below(10**6) == before


def test_draws_stay_inside_their_bounds_and_reach_both():
    stream = Stream(11)
    assert {stream.between(4, 6) for _ in range(200)} == {4, 5, 6}
    assert {stream.below(1) for _ in range(5)} == {0}
    assert {stream.choice("ab") for _ in range(100)} == {"a", "b"}


def test_a_chance_of_none_never_happens_and_of_all_always_does():
    stream = Stream(12)
    assert not any(stream.chance(0) for _ in range(100))
    assert all(stream.chance(100) for _ in range(100))


def test_small_numbers_are_as_likely_as_large_ones():
    stream = Stream(13)
    counts = [0] * 3
    for _ in range(3000):
        counts[stream.below(3)] += 1
    # Each of 3,000 draws has one chance in three: 1,000 with a standard deviation of 26; 130 is five of them.
    assert all(abs(count - 1000) < 130 for count in counts)


def test_a_decimal_keeps_the_places_of_its_bounds():
    stream = Stream(14)
    texts = {str(stream.decimal("5.55", "5.65")) for _ in range(400)}
    assert texts == {f"5.{cents}" for cents in range(55, 66)}
    assert "5.60" in texts


def test_a_decimal_with_an_exponent_keeps_it():
    stream = Stream(15)
    values = {stream.decimal("1.20E+4", "1.25E+4") for _ in range(200)}
    assert {str(value) for value in values} == {f"1.2{digit}E+4" for digit in range(6)}
    assert min(values) == Decimal(12000)


def test_uuids_follow_from_the_path_and_are_of_version_5():
    assert Stream(1, "a").uuid("Patient", 1) == Stream(1).child("a").uuid("Patient", 1)
    assert Stream(1, "a").uuid("Patient", 1) != Stream(1, "a").uuid("Patient", 2)
    assert uuid.UUID(Stream(1).uuid("x")).version == 5
