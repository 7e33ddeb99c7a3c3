"""Reads take turns, and a long one holds nobody up."""

from __future__ import annotations

import sys
import threading

import pytest

from fhir_bridge.rest.turns import PATIENCE_S, Turns


def test_one_comes_after_the_other():
    turns, order, begun = Turns(60.0), [], threading.Event()

    def second() -> None:
        begun.set()
        with turns.one() as is_ours:
            order.append(("second", is_ours))

    waiting = threading.Thread(target=second)
    with turns.one():
        waiting.start()
        assert begun.wait(60)
        waiting.join(0.05)
        assert waiting.is_alive()
        order.append(("first", True))
    waiting.join(60)
    assert order == [("first", True), ("second", True)]


def test_a_long_one_holds_nobody_up_and_nobody_ends_its_turn():
    turns = Turns(0.001)
    with turns.one() as first:
        with turns.one() as second, turns.one() as third:
            assert (first, second, third) == (True, False, False)
        with turns.one() as fourth:
            assert not fourth
    with turns.one() as fifth:
        assert fifth


def test_who_waits_for_what_others_need_not_wait_for_leaves_them_the_turn_and_then_has_it_again():
    turns, has = Turns(60.0), []

    def other() -> None:
        with turns.one() as is_ours:
            has.append(is_ours)

    with turns.one():
        with turns.aside():
            working = threading.Thread(target=other)
            working.start()
            working.join(60)
            assert has == [True]
        working = threading.Thread(target=other)
        working.start()
        working.join(0.05)
        assert working.is_alive()
    working.join(60)
    assert has == [True, True]


def test_who_answers_nothing_in_turn_takes_none_and_ends_none_by_standing_aside():
    turns = Turns(0.001)
    with turns.aside(), turns.one() as first:
        assert first
    with turns.one() as second:
        assert second
        standing = threading.Thread(target=lambda: turns.aside().__enter__())
        standing.start()
        standing.join(60)
        with turns.one() as third:
            assert not third


def test_one_that_fails_ends_its_turn():
    turns = Turns(0.001)
    with pytest.raises(ValueError, match="no"), turns.one():
        raise ValueError("no")
    with turns.one() as following:
        assert following


def test_the_patience_is_the_interpreters_own():
    assert sys.getswitchinterval() == PATIENCE_S
