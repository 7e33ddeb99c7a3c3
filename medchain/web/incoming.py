"""Bodies of requests as they come: the event loop waits for them, against a deadline.

Keeps true: a small body is whole before a thread hears of its request, so that who sends slowly holds none; a larger
one is asked for piece by piece by the thread that judged its request's head, and must come at `SLOWEST_BYTES` a second
and never stand still for `STALL_S`; nothing of it is read before it is asked for. Trusts the server before it to end a
body where its length says.
Source: ASGI 3.0 (HTTP, Request); PEP 3333 (``wsgi.input``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from medchain.errors import InputError, MedchainError

SMALL_BYTES: Final = 1 << 16
"""Largest body that is read before a thread is asked, and before it is known who sends it."""

SMALL_S: Final = 10.0
"""Time for such a body, in seconds."""

STALL_S: Final = 10.0
"""How long a larger body may stand still, in seconds."""

GRACE_S: Final = 20.0
"""How long a larger body may be slower than it must, in seconds."""

SLOWEST_BYTES: Final = 1 << 14
"""So many bytes a second must come of a larger body."""

_PIECE_BYTES: Final = 1 << 18

Receive: TypeAlias = "Callable[[], Awaitable[dict[str, Any]]]"
"""ASGI's receive; Any because its messages have members of many types."""


async def read_small(receive: Receive) -> bytes:
    """Read a body of at most `SMALL_BYTES` whole.

    Args:
        receive: of the request.

    Raises:
        InputError: ``request.slow``; ``request.too_large``; ``request.length`` for one that broke off.
    """
    pieces, size = [], 0
    try:
        async with asyncio.timeout(SMALL_S):
            is_over = False
            while not is_over:
                piece, is_over = await _piece(receive)
                pieces.append(piece)
                size += len(piece)
                if size > SMALL_BYTES:
                    raise InputError("request.too_large", limit=SMALL_BYTES)
    except TimeoutError as error:
        raise InputError("request.slow") from error
    return b"".join(pieces)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """Receive a piece, and whether it is the last; raises `InputError` ``request.length`` where the client is gone."""
    message = await receive()
    if message["type"] != "http.request":
        raise InputError("request.length")
    return message.get("body", b""), not message.get("more_body", False)


class Refused:
    """The body of a request that is answered without it."""

    __slots__ = ("_error",)
    is_over: Final = False
    """Whether all of it has come."""

    def __init__(self, error: MedchainError) -> None:
        """Say why."""
        self._error = error

    def read(self, _size: int = -1, /) -> bytes:
        """Raise what was said."""
        raise self._error


class Incoming:
    """A body that comes while a thread reads it."""

    __slots__ = ("_began", "_is_over", "_loop", "_receive", "_rest", "_size")

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive) -> None:
        """Read nothing yet.

        Args:
            loop: waits for the body.
            receive: of the request.
        """
        self._loop = loop
        self._receive = receive
        self._rest = memoryview(b"")
        self._is_over = False
        self._size = 0
        self._began: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether all of it has come."""
        return self._is_over

    def read(self, size: int = -1, /) -> bytes:
        """Read in a thread that is not the loop's.

        Args:
            size: most bytes; less than 0 for all.

        Returns:
            At least one byte, but at the end.

        Raises:
            InputError: ``request.slow``; ``request.length`` for a body that broke off.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE_BYTES), b""))
        if not self._rest and not self._is_over:
            self._rest = memoryview(asyncio.run_coroutine_threadsafe(self._more(), self._loop).result())
        piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return piece

    async def _more(self) -> bytes:
        """Gather some pieces, so that the thread and the loop seldom change."""
        if self._began is None:
            self._began = self._loop.time()
        pieces, size = [], 0
        try:
            while size < _PIECE_BYTES and not self._is_over:
                async with asyncio.timeout(STALL_S):
                    piece, self._is_over = await _piece(self._receive)
                pieces.append(piece)
                size += len(piece)
                self._size += len(piece)
                if self._loop.time() - self._began > GRACE_S + self._size / SLOWEST_BYTES:
                    raise InputError("request.slow")
        except TimeoutError as error:
            raise InputError("request.slow") from error
        return b"".join(pieces)
