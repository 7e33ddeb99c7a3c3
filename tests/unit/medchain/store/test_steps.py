"""Work in steps: done whole by a thread, or begun by somebody else and ended by one."""

from __future__ import annotations

import asyncio

import pytest

from medchain.store.steps import ONLY_THREAD, Steps, finished, in_thread


class Told:
    """Something that is waited for; notes who waited, and how."""

    def __init__(self, told: list[str], name: str) -> None:
        """Note under a name."""
        self._told, self._name = told, name

    def now(self) -> None:
        self._told.append(f"{self._name} now")

    async def soon(self) -> bool:
        self._told.append(f"{self._name} soon")
        return True


def work(told: list[str], *, fails: bool = False) -> Steps[str]:
    yield Told(told, "first")
    told.append("between")
    yield Told(told, "second")
    if fails:
        raise ValueError(told)
    return "done"


def test_a_thread_waits_for_each_step_and_gets_what_comes_of_them():
    told: list[str] = []
    assert in_thread(work)(told) == "done"
    assert told == ["first now", "between", "second now"]
    with pytest.raises(ValueError, match="second now"):
        in_thread(work)([], fails=True)
    assert in_thread(work).__doc__ == work.__doc__


def test_a_thread_ends_what_was_begun_elsewhere():
    told: list[str] = []
    steps = work(told)
    assert asyncio.run(next(steps).soon())
    assert finished(steps) == "done"
    assert told == ["first soon", "between", "second now"]


def test_what_comes_next_may_be_for_a_thread_only():
    ONLY_THREAD.now()
    assert not asyncio.run(ONLY_THREAD.soon())
