"""A socket whose every operation ends by one deadline.

A socket's own timeout starts anew with every byte, so that a peer that trickles would never end. Keeps true: reading
and writing raise TimeoutError once the deadline is past, however busy the other side. Trusts the monotonic clock.
"""

from __future__ import annotations

import io
import socket
import time
from dataclasses import dataclass, field
from typing import Final

_BUFFER_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class TimedSocket:
    """A connected socket, plain or TLS, with what `http.client` and `http.server` ask of one.

    Attributes:
        sock: the socket.
        deadline: on the monotonic clock; moved by whoever begins something new.
    """

    sock: socket.socket
    deadline: float
    _readers: int = field(default=0, init=False)
    _is_closed: bool = field(default=False, init=False)

    def allow(self, seconds: float) -> None:
        """Set the deadline so far from now."""
        self.deadline = time.monotonic() + seconds

    def remaining(self) -> float:
        """Tell how long is left, in seconds; raises TimeoutError where nothing is."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def sendall(self, data: bytes) -> None:
        """Send all; the socket's timeout covers the whole of it."""
        self.sock.settimeout(self.remaining())
        self.sock.sendall(data)

    def makefile(self, _mode: str = "rb") -> io.BufferedReader:
        """Give a buffered reader; closing it leaves the socket open, and the socket closes after its readers."""
        self._readers += 1
        return io.BufferedReader(_Reader(self), _BUFFER_BYTES)

    def close(self) -> None:
        """Close the socket, once nothing reads from it any more."""
        self._is_closed = True
        if self._readers == 0:
            self.sock.close()

    def reader_closed(self) -> None:
        """Note that a reader has gone."""
        self._readers -= 1
        if self._is_closed:
            self.close()


class _Reader(io.RawIOBase):
    """The reading side."""

    def __init__(self, timed: TimedSocket) -> None:
        """Read from a socket."""
        self._timed = timed

    def close(self) -> None:
        """Close this reader."""
        if not self.closed:
            super().close()
            self._timed.reader_closed()

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io hands us a memoryview
        """Receive what is there, by the deadline."""
        self._timed.sock.settimeout(self._timed.remaining())
        return self._timed.sock.recv_into(buffer)
