"""Group commit: one transaction for many threads, and each is told how its own part went."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from medchain.errors import ConflictError, MedchainError, UnavailableError
from medchain.store.grouped import MAX_GROUP, MAX_SIZE, Grouped


class Slow:
    """Does items, the first group only when it is let."""

    def __init__(self) -> None:
        """Begin closed."""
        self.groups: list[list[int]] = []
        self.turn = threading.Event()
        self.turn.set()
        self.let = threading.Event()
        self.begun = threading.Event()
        self.raises: MedchainError | None = None

    def run(self, take: Callable[[], Sequence[int]]) -> list[MedchainError | None]:
        self.turn.wait(60)
        items = take()
        self.groups.append(list(items))
        self.begun.set()
        self.let.wait(60)
        if self.raises is not None:
            raise self.raises
        return [ConflictError("store.conflict", number=one) if one % 10 == 7 else None for one in items]


def gathered(slow: Slow, count: int, size: int = 1) -> dict[int, str]:
    """Have one item under way and others behind it; returns the codes of those that failed."""
    grouped, failed = Grouped(slow.run), {}

    def do(number: int) -> None:
        try:
            grouped.do(number, size)
        except MedchainError as error:
            failed[number] = error.code

    threads = [threading.Thread(target=do, args=(number,)) for number in range(count)]
    threads[0].start()
    slow.begun.wait(60)
    for thread in threads[1:]:
        thread.start()
    while len(grouped._waiting) < count - 1:  # noqa: SLF001  # all of them wait
        pass
    slow.let.set()
    for thread in threads:
        thread.join()
    return failed


def test_threads_that_wait_share_the_next_transaction():
    slow = Slow()
    assert gathered(slow, 10) == {7: "store.conflict"}
    assert slow.groups[0] == [0]
    assert sorted(slow.groups[1]) == list(range(1, 10))
    assert len(slow.groups) == 2


def test_what_comes_while_a_turn_is_waited_for_goes_with_it():
    slow = Slow()
    slow.turn.clear()
    slow.let.set()
    grouped = Grouped(slow.run)
    threads = [threading.Thread(target=grouped.do, args=(number, 1)) for number in range(5)]
    for thread in threads:
        thread.start()
    while len(grouped._waiting) < len(threads):  # noqa: SLF001  # all of them wait
        pass
    slow.turn.set()
    for thread in threads:
        thread.join()
    assert sorted(slow.groups[0]) == list(range(5))
    assert len(slow.groups) == 1


def test_who_is_done_waits_for_no_later_group():
    slow = Slow()
    grouped = Grouped(slow.run)
    first, second, third = (threading.Thread(target=grouped.do, args=(number, MAX_SIZE)) for number in range(3))
    first.start()
    slow.begun.wait(60)
    second.start()
    third.start()
    while len(grouped._waiting) < 2:  # noqa: SLF001  # both wait
        pass
    slow.turn.clear()
    slow.let.set()
    first.join(60)
    assert not first.is_alive()
    slow.turn.set()
    second.join()
    third.join()
    assert [len(group) for group in slow.groups] == [1, 1, 1]


def test_a_turn_that_does_not_come_fails_those_that_wait_and_nobody_after_them():
    slow = Slow()
    failing = [UnavailableError("store.busy")]

    def run(take: Callable[[], Sequence[int]]) -> list[MedchainError | None]:
        if failing:
            raise failing.pop()
        return slow.run(take)

    slow.let.set()
    grouped = Grouped(run)
    with pytest.raises(UnavailableError, match=r"store\.busy"):
        grouped.do(1, 1)
    grouped.do(2, 1)
    assert slow.groups == [[2]]


def test_groups_are_bounded():
    slow = Slow()
    gathered(slow, MAX_GROUP + 5)
    assert [len(group) for group in slow.groups] == [1, MAX_GROUP, 4]
    slow = Slow()
    gathered(slow, 4, MAX_SIZE)
    assert [len(group) for group in slow.groups] == [1, 1, 1, 1]


def test_what_fails_the_transaction_fails_all_of_it_with_errors_of_their_own():
    slow = Slow()
    slow.raises = UnavailableError("store.full")
    assert gathered(slow, 5) == dict.fromkeys(range(5), "store.full")


def test_a_thread_alone_is_told_its_own_error():
    slow = Slow()
    slow.let.set()
    with pytest.raises(ConflictError, match=r"store\.conflict number=7"):
        Grouped(slow.run).do(7, 1)
