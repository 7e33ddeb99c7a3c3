"""What another process knows, remembered for a while."""

from __future__ import annotations

import threading
import time

from medchain.node.remembered import Ages, Remembered
from tests.waiting import eventually

LONG_S = 60.0
NEVER_S = 1e9


def test_an_answer_does_not_wait_for_a_value_that_was_known_a_moment_ago():
    """The other end may be busy, or gone: then nothing newer is known, and reads go on."""
    let, asked, numbers = threading.Event(), threading.Event(), iter([1, 2])

    def ask() -> int:
        number = next(numbers, 3)
        if number > 1:
            asked.set()
            assert let.wait(LONG_S)
        return number

    size = Remembered(ask, 0, Ages(0.0, LONG_S, LONG_S))
    assert size() == 1
    assert size() == 1
    assert asked.wait(LONG_S)
    assert size() == 1
    let.set()
    assert eventually(lambda: size() > 1)


def test_a_value_that_is_fresh_is_given_without_a_question():
    numbers = iter([1, 2])
    size = Remembered(lambda: next(numbers), 0, Ages(NEVER_S, NEVER_S, LONG_S))
    assert [size() for _ in range(9)] == [1] * 9
    assert next(numbers) == 2


def test_a_value_of_long_ago_is_waited_for():
    numbers = iter([1, 2, 3])
    size = Remembered(lambda: next(numbers), 0, Ages(0.0, 0.0, LONG_S))
    assert [size(), size(), size()] == [1, 2, 3]


def test_one_who_hangs_holds_nobody_for_longer_than_a_moment():
    let = threading.Event()
    size = Remembered(lambda: 1 if let.wait(LONG_S) else 0, 0, Ages(0.0, 0.0, 0.05))
    began = time.monotonic()
    assert [size() for _ in range(99)] == [0] * 99
    # Ninety-nine times a moment would be five seconds.
    assert time.monotonic() - began < 4
    let.set()
    assert eventually(lambda: size() == 1)


def test_where_the_question_fails_what_was_known_counts_on_and_it_is_not_asked_again_at_once():
    asked = []

    def ask() -> int:
        asked.append(1)
        raise OSError

    size = Remembered(ask, 7, Ages(NEVER_S, NEVER_S, LONG_S))
    assert [size() for _ in range(9)] == [7] * 9
    assert asked == [1]


def test_the_first_answer_can_be_waited_for():
    let = threading.Event()
    size = Remembered(lambda: 1 if let.wait(LONG_S) else 0, 0, Ages(0.0, 0.0, 0.0))
    assert size() == 0
    size.wait_for_first(0.01)
    assert size() == 0
    let.set()
    size.wait_for_first(LONG_S)
    assert size() == 1


def test_where_no_thread_can_be_had_what_was_known_counts_on(monkeypatch):
    """As `threading.Thread.start` has it; a read is answered all the same."""

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    size = Remembered(lambda: 1, 7, Ages(0.0, 0.0, LONG_S))
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        assert size() == 7
    assert size() == 1


def test_the_thread_of_a_question_ends_with_its_answer():
    """A command or an application would leave one behind otherwise."""
    threads: list[threading.Thread] = []
    size = Remembered(lambda: threads.append(threading.current_thread()) or 1, 0, Ages(NEVER_S, NEVER_S, LONG_S))
    assert size() == 1
    threads[0].join(LONG_S)
    assert not threads[0].is_alive()


def test_no_thread_asks_while_nobody_needs_the_value():
    """An application that nobody uses any more is quiet, whatever still holds it."""
    asked = []
    size = Remembered(lambda: len(asked.append(1) or asked), 0, Ages(0.0, 0.0, LONG_S))
    assert size() == 1
    time.sleep(0.05)
    assert asked == [1]
