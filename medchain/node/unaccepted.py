"""Bodies that members announced and the ledger has not accepted: counted for each member, and destroyed in time.

Keeps true: a member has at most `MAX_BODIES_EACH` such bodies here, of `MAX_BYTES_EACH`; a body goes only once the
ledger's own time is so far past its transaction's `until` that no block can accept it any more, never by this node's
clock alone, since a node that is behind must not lose what others have ordered. What was announced before this start
is not counted. Trusts the router for the member's name.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol

from medchain.errors import UnavailableError
from medchain.node.clock import Clock

MAX_BODIES_EACH: Final = 10_000
"""Bodies of one member that are not accepted."""

MAX_BYTES_EACH: Final = 256 << 20
"""Their bytes, sealed."""

MAX_AHEAD_S: Final = 180
"""How far ahead `until` counts: what endorsers allow, and a minute for clocks."""

GRACE_S: Final = 600
"""How long after `until` a body is kept."""

RETRY_S: Final = 60
"""When a member that has too many is to try again."""

MAX_LOOKS: Final = 64
"""Bodies looked up at once for a member that has too many."""

MAX_EXPIRED: Final = 16
"""Bodies destroyed at once: each destruction syncs the file."""


class Shelf(Protocol):
    """Where the bodies lie; `medchain.node.bodies.BodyShelf`."""

    def is_accepted(self, key: bytes, version: int) -> bool:
        """Tell whether the ledger has that version."""
        ...

    def destroy_unaccepted(self, key: bytes, version: int) -> None:
        """Destroy a body unless the ledger holds its hash."""
        ...


@dataclass(frozen=True, slots=True)
class Announced:
    """A body that came before the ledger had it.

    Attributes:
        key: map key of its object, 32 bytes.
        version: version of its object.
        until: of its transaction, Unix seconds, or None.
        size: bytes.
    """

    key: bytes
    version: int
    until: int | None
    size: int


class Unaccepted:
    """Counts them. Threads share it."""

    __slots__ = ("_clock", "_lock", "_rows", "_shelf")

    def __init__(self, shelf: Shelf, clock: Clock) -> None:
        """Begin with none.

        Args:
            shelf: where the bodies lie.
            clock: gives Unix seconds.
        """
        self._shelf = shelf
        self._clock = clock
        self._lock = Lock()
        # By member, then object and version: (size, ledger time after which it goes).
        self._rows: dict[str, dict[tuple[bytes, int], tuple[int, int]]] = {}

    def add(self, peer: str, announced: Sequence[Announced]) -> None:
        """Count bodies, before they are kept.

        Args:
            peer: org_id of the member that brings them.
            announced: all of one delivery.

        Raises:
            UnavailableError: ``body.quota`` where it would have too many; none is counted then.
        """
        latest = self._clock() + MAX_AHEAD_S
        with self._lock:
            rows = self._rows.setdefault(peer, {})
            if not _has_room(rows, announced):
                self._look_up(rows)
            if not _has_room(rows, announced):
                raise UnavailableError("body.quota", retry_after_s=RETRY_S)
            for item in announced:
                until = latest if item.until is None else min(item.until, latest)
                rows[item.key, item.version] = (item.size, until + GRACE_S)

    def expire(self, ledger_time: int) -> None:
        """Destroy what can be accepted no more; some of it, for the next call to go on.

        Args:
            ledger_time: of the newest block applied here, Unix seconds.
        """
        # Under the lock, so that nothing announced anew is destroyed for its earlier announcement.
        with self._lock:
            due = [
                (rows, place) for rows in self._rows.values() for place, (_, end) in rows.items() if end < ledger_time
            ]
            for rows, place in due[:MAX_EXPIRED]:
                self._shelf.destroy_unaccepted(*place)
                del rows[place]

    def _look_up(self, rows: dict[tuple[bytes, int], tuple[int, int]]) -> None:
        """Count those no more that were accepted meanwhile; others go to the back, so that each has its turn."""
        for place in list(rows)[:MAX_LOOKS]:
            row = rows.pop(place)
            if not self._shelf.is_accepted(*place):
                rows[place] = row


def _has_room(rows: dict[tuple[bytes, int], tuple[int, int]], announced: Sequence[Announced]) -> bool:
    """Tell whether bodies fit in besides others."""
    count = len(rows) + len(announced)
    size = sum(size for size, _ in rows.values()) + sum(item.size for item in announced)
    return count <= MAX_BODIES_EACH and size <= MAX_BYTES_EACH
