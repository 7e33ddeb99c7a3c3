"""What was opened a moment ago, so that a record that is asked for again and again is opened once.

Keeps true: a content is given for the very row and key that it was opened from, and that were just read: where one
byte of either has changed, or the key was destroyed, the record is opened anew, or found damaged or erased. Nothing is
kept for longer than twice `KEPT_S`, asked for or not, nor more than twice `KEPT_BYTES` in all; nothing of it leaves
memory. Who may see what, the gate decides before, at each request. Trusts who opens.
Source: `docs/adr/0033-opened-records-are-kept-for-a-moment.md`.
"""

from __future__ import annotations

import threading
from typing import Final

from medchain.store.versions import Found

KEPT_S: Final = 5.0
"""How long contents are gathered, in seconds, before those of the time before are forgotten."""

KEPT_BYTES: Final = 8 << 20
"""How much is gathered in that time, contents and sealed rows; more, and what was gathered before goes at once."""

KEPT_EACH_BYTES: Final = 1 << 16
"""Largest content that is kept: a larger one costs more to keep than to open."""

_ROW_BYTES: Final = 1024


class Kept:
    """Contents of record versions. Threads share it."""

    __slots__ = ("_before", "_lock", "_now", "_seconds", "_size", "_timer")

    def __init__(self, seconds: float = KEPT_S) -> None:
        """Keep nothing yet.

        Args:
            seconds: how long contents are gathered.
        """
        self._seconds = seconds
        self._lock = threading.Lock()
        self._now: dict[int, tuple[Found, bytes]] = {}
        self._before: dict[int, tuple[Found, bytes]] = {}
        self._size = 0
        self._timer: threading.Timer | None = None

    def find(self, found: Found) -> bytes | None:
        """Give the content that a version had when it was opened, None where it must be opened.

        Args:
            found: version and key as they were read just now.
        """
        number = found.stored.seq
        held = self._now.get(number) or self._before.get(number)
        return held[1] if held is not None and held[0] == found else None

    def keep(self, found: Found, content: bytes) -> None:
        """Keep the content of a version for a moment; arguments as `find` has and gives them."""
        stored = found.stored
        if stored.segment is not None or stored.blob is not None or len(content) > KEPT_EACH_BYTES:
            return
        size = len(content) + len(stored.envelope) + _ROW_BYTES
        with self._lock:
            if self._size + size > KEPT_BYTES:
                self._forget()
            self._now[stored.seq] = (found, content)
            self._size += size
            if self._timer is None:
                self._begin()

    def close(self) -> None:
        """Forget all at once."""
        with self._lock:
            self._before, self._now, self._size = {}, {}, 0
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _begin(self) -> None:
        """Have what is kept forgotten later, whether anybody asks for it or not."""
        timer = threading.Timer(self._seconds, self._end)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            # The system has no room for another thread: what nobody would forget is not kept.
            self._before, self._now, self._size = {}, {}, 0
        else:
            self._timer = timer

    def _end(self) -> None:
        """Forget what was gathered before; go on as long as there is anything."""
        with self._lock:
            self._forget()
            self._timer = None
            if self._before:
                self._begin()

    def _forget(self) -> None:
        """Forget what was gathered before, and begin to gather anew."""
        self._before, self._now, self._size = self._now, {}, 0
