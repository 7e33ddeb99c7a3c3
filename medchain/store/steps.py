"""Work in steps: what has to wait in between says for what, and who does the work chooses how it waits.

A thread that waits costs four changes of threads, there and back; an event loop that does other things meanwhile costs
none. Keeps true: what is done, and in which order, is the same either way; what was begun on an event loop can be ended
by a thread, so that nothing is left half done. Trusts who waits to hold no lock, connection or turn at that moment.
Source: PEP 380; `docs/adr/0062-single-writes-wait-on-the-event-loop.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Final, ParamSpec, Protocol, TypeAlias, TypeVar


class Wait(Protocol):
    """Something that is waited for. How it went it tells who goes on, not who waits."""

    def now(self) -> None:
        """Wait in this thread."""
        ...

    async def soon(self) -> bool:
        """Wait on the event loop; tells whether it is over: where it is not, a thread has to wait for it."""
        ...


_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

Steps: TypeAlias = Generator[Wait, None, _Result]
"""Work that gives what it waits for, goes on once that is over, and returns what comes of it."""


class _OnlyThread:
    """Nothing to wait for, but what comes next is not for an event loop."""

    def now(self) -> None:
        """Go on."""

    async def soon(self) -> bool:
        """Leave it to a thread."""
        return False


ONLY_THREAD: Final[Wait] = _OnlyThread()
"""Given before something that takes a thread."""


def finished(steps: Steps[_Result]) -> _Result:
    """Do all steps, or those that are left, in this thread; returns what comes of them."""
    while True:
        try:
            wait = next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
        wait.now()


def in_thread(work: Callable[_Given, Steps[_Result]]) -> Callable[_Given, _Result]:
    """Make of work in steps what does all of them in the thread that calls it."""

    @wraps(work)
    def whole(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        return finished(work(*args, **kwargs))

    return whole
