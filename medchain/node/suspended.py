"""What a suspended member may still have ordered: stops of its own.

What narrows waits for no quarrel among members: a patient's withdrawal that only this member heard of is its to bring.
Keeps true: nothing else of it is ordered, and so few at a time that it cannot keep the orderer busy. Trusts the router
for who calls, and the machine to judge each stop.
Source: `docs/spec/transaction.md` 9; `docs/spec/node-protocol.md`, "Suspended members".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

from medchain.errors import AccessDeniedError, UnavailableError
from medchain.ledger.transaction import Stop, parse_envelope

MAX_STOPS: Final = 256
"""Stops of one suspended member in `WINDOW_S`: what its outbox offers at once (`medchain.ordering.outbox`)."""

WINDOW_S: Final = 60
"""See `MAX_STOPS`."""


class SuspendedStops:
    """Judges what suspended members submit. Threads share it."""

    __slots__ = ("_lock", "_timer", "_used")

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing used; `timer` gives seconds that never go back."""
        self._lock = Lock()
        self._timer = timer
        self._used: dict[str, tuple[float, int]] = {}

    def check(self, org_id: str, leaves: Sequence[bytes]) -> None:
        """Refuse what is more than a suspended member may bring.

        Args:
            org_id: who submits.
            leaves: envelopes, as submitted.

        Raises:
            AccessDeniedError: ``ordering.stops_only`` unless all are stops that it has made itself.
            InputError: ``transaction.*`` for what is no envelope.
            UnavailableError: ``ordering.quota`` for too many in a minute.
        """
        if len(leaves) > MAX_STOPS:
            raise UnavailableError("ordering.quota", retry_after_s=WINDOW_S)
        for leaf in leaves:
            stop = parse_envelope(leaf).transaction
            if not isinstance(stop, Stop) or stop.creator != org_id:
                raise AccessDeniedError("ordering.stops_only")
        # What is refused for what it is uses nothing up, or a node's other transactions would hold up its stops.
        self._count(org_id, len(leaves))

    def _count(self, org_id: str, more: int) -> None:
        """Count what is let through, and refuse what is too much for this minute."""
        with self._lock:
            now = self._timer()
            began, count = self._used.get(org_id, (now, 0))
            if now >= began + WINDOW_S:
                began, count = now, 0
            if count + more > MAX_STOPS:
                raise UnavailableError("ordering.quota", retry_after_s=math.ceil(began + WINDOW_S - now))
            self._used[org_id] = began, count + more
