"""Jobs that work in rounds rest the longer the more often something is left, and no error of ours ends them."""

from __future__ import annotations

from medchain.errors import UnavailableError
from medchain.node.rounds import work_in_rounds


class Ending:
    """Is set at the end of a number of rests, which it notes."""

    def __init__(self, rests: int) -> None:
        """Note none yet."""
        self.left, self.rests = rests, []

    def wait(self, seconds: float) -> bool:
        self.rests.append(seconds)
        self.left -= 1
        return self.left < 0


def rests(*outcomes: int | None) -> tuple[list[float], list[str]]:
    """Work so many rounds, None for one that ends with an error; returns each rest, and what was told."""
    stop, told, rounds = Ending(len(outcomes)), [], iter(outcomes)

    def work() -> int:
        left = next(rounds)
        if left is None:
            raise UnavailableError("peer.unreachable")
        return left

    work_in_rounds(work, stop, period_s=2.0, longest_rest_s=60.0, delayed=told.append)
    return stop.rests, told


def test_each_round_that_leaves_something_or_fails_doubles_the_rest_up_to_the_longest():
    assert rests(1, 5, None, 1, 1, 1) == ([2, 4, 8, 16, 32, 60, 60], ["peer.unreachable"])


def test_a_round_that_leaves_nothing_begins_anew():
    assert rests(3, None, 0, 0, 1) == ([2, 4, 8, 2, 2, 4], ["peer.unreachable"])


def test_a_job_that_is_stopped_does_not_work_once_more():
    assert rests() == ([2], [])
