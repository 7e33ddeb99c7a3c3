"""What one server holds at a time, against clients that take all they get."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from medchain.errors import UnavailableError
from medchain.node.release import MAX_ANSWER_BYTES
from medchain.ordering.block import MAX_ANSWER_BYTES as MAX_BLOCKS_BYTES
from medchain.web import limits
from medchain.web.limits import OWN_ANSWERS_BYTES, Answers, Buffered, Connections, UnderWay, place_of

MIB = 1 << 20


def taken(connections: Connections, place: str, wanted: int) -> int:
    return sum(connections.take(place) for _ in range(wanted))


def test_one_address_that_floods_leaves_room_for_others():
    connections = Connections()
    assert taken(connections, "192.0.2.1", 256) == 64
    assert connections.take("192.0.2.2")


def test_a_flood_from_many_addresses_leaves_room_for_where_members_came_from():
    connections = Connections()
    assert connections.take("198.51.100.1")
    connections.know("198.51.100.1")
    assert sum(taken(connections, f"192.0.2.{number}", 256) for number in range(200)) == 192
    assert not connections.take("203.0.113.1")
    assert taken(connections, "198.51.100.1", 256) == 256 - 192 - 1


def test_connections_given_back_can_be_taken_again_whether_known_or_not():
    connections = Connections()
    for _ in range(1000):
        assert taken(connections, "192.0.2.1", 2) == 2
        connections.know("192.0.2.1")
        connections.give("192.0.2.1", is_known=True)
        connections.give("192.0.2.1", is_known=False)
    assert taken(connections, "192.0.2.1", 100) == 64


def test_places_do_not_gather():
    connections = Connections()
    for number in range(3000):
        place = str(number)
        assert connections.take(place)
        connections.know(place)
        connections.give(place, is_known=True)
        connections.take(f"x{place}")
        connections.give(f"x{place}", is_known=False)
    assert len(connections._known_places) == 1024  # noqa: SLF001  # that it does not grow is the point
    assert not connections._strangers  # noqa: SLF001  # likewise


def test_one_network_of_ipv6_is_one_place():
    assert place_of("2001:db8:1:2::1") == place_of("2001:db8:1:2:ffff::9")
    assert place_of("2001:db8:1:2::1") != place_of("2001:db8:1:3::1")
    assert place_of("fe80::1%eth0") == place_of("fe80::2")
    assert place_of("::ffff:192.0.2.1") == place_of("192.0.2.1") != place_of("192.0.2.2")


def test_one_member_has_sixteen_requests_under_way_and_others_have_theirs():
    under_way = UnderWay()
    for _ in range(2):
        with ExitStack() as held:
            for _ in range(16):
                held.enter_context(under_way.one("insurer"))
            with pytest.raises(UnavailableError) as caught:
                held.enter_context(under_way.one("insurer"))
            assert caught.value.code == "request.busy"
            held.enter_context(under_way.one("hospital"))
    assert not under_way._count  # noqa: SLF001  # that it does not grow is the point


def test_one_member_has_sixteen_connections_kept_and_others_have_theirs():
    connections = Connections()
    assert [connections.keep("insurer") for _ in range(18)] == [True] * 16 + [False] * 2
    assert connections.keep("hospital")
    connections.let_go("insurer")
    assert connections.keep("insurer")
    for _ in range(16):
        connections.let_go("insurer")
    connections.let_go("hospital")
    assert not connections._kept  # noqa: SLF001  # that it does not grow is the point


def test_large_answers_are_held_up_to_a_bound_for_each_member_and_one_for_all_and_small_ones_always():
    assert limits.MAX_ANSWERS_EACH > MAX_ANSWER_BYTES, "the largest answer there is"
    answers = Answers()
    with ExitStack() as held:
        for member in ("insurer", "hospital", "court", "office"):
            held.enter_context(answers.hold(member, 60 * MIB))
            held.enter_context(answers.hold(member, 4 * MIB))
            for size in (65_536, 1):
                held.enter_context(answers.hold(member, size))
        # One more of a member that has as much as it may, and of one that has nothing more than blocks come in.
        for member, size in (("insurer", 65_537), ("fifth", 8 * MIB + 1)):
            with pytest.raises(UnavailableError) as caught, answers.hold(member, size):
                pass
            assert caught.value.code == "request.busy"
    with answers.hold("insurer", 64 * MIB), pytest.raises(UnavailableError), answers.hold("insurer", 65_537):
        pass
    assert not answers._held  # noqa: SLF001  # that it does not grow is the point


def test_attack_members_that_take_nothing_keep_no_other_from_its_blocks():
    """Of thirteen members four may lie, which is as many as fill what is held for all."""
    assert OWN_ANSWERS_BYTES >= 2 * MAX_BLOCKS_BYTES, "blocks, with the note of a round"
    answers = Answers()
    with ExitStack() as held:
        for number in range(4):
            held.enter_context(answers.hold(f"liar-{number}", 64 * MIB))
        for number in range(9):
            held.enter_context(answers.hold(f"member-{number}", 8 * MIB))
            with pytest.raises(UnavailableError), answers.hold(f"member-{number}", 65_537):
                pass
    assert not answers._held  # noqa: SLF001  # that it does not grow is the point


def test_bodies_are_held_up_to_the_bound_and_no_further():
    buffered = Buffered()
    with buffered.hold(124 * MIB), buffered.hold(4 * MIB):
        with pytest.raises(UnavailableError) as caught, buffered.hold(1):
            pass
        assert caught.value.code == "request.busy"
    with buffered.hold(128 * MIB):
        """All was given back, also by who was refused."""
