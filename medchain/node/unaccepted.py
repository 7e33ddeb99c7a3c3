"""Bodies that members announced and the ledger has not accepted: counted for each member, and destroyed in time.

Keeps true: a member has at most `MAX_BODIES_EACH` such bodies here, of `MAX_BYTES_EACH`, over restarts too: a body is
counted on disk before it is kept; a body goes only once the ledger's own time is so far past its transaction's `until`
that no block can accept it any more, never by this node's clock alone, since a node that is behind must not lose what
others have ordered. Trusts the router for the member's name.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, NamedTuple, Protocol

from medchain.errors import UnavailableError
from medchain.node.clock import Clock
from medchain.store.keeping import UnacceptedRow
from medchain.store.records import RecordStore

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

_MAX_DUE: Final = 512


class Shelf(Protocol):
    """Where the bodies lie; `medchain.node.bodies.BodyShelf`."""

    def is_accepted(self, key: bytes, version: int) -> bool:
        """Tell whether the ledger has that version."""
        ...

    def is_awaited(self, key: bytes, version: int) -> bool:
        """Tell whether what lies there waits for the block of a stop that was heard."""
        ...

    def destroy_unaccepted(self, key: bytes, version: int) -> None:
        """Destroy a body unless the ledger holds its hash."""
        ...


class _Counted(NamedTuple):
    """What a member has here: the most that it may be, since what was announced before may have been counted twice."""

    bodies: int
    size: int
    is_exact: bool


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

    __slots__ = ("_clock", "_counted", "_lock", "_looked", "_records", "_shelf")

    def __init__(self, shelf: Shelf, records: RecordStore, clock: Clock) -> None:
        """Go on with what was counted before.

        Args:
            shelf: where the bodies lie.
            records: keeps the count.
            clock: gives Unix seconds.
        """
        self._shelf = shelf
        self._records = records
        self._clock = clock
        self._lock = Lock()
        self._looked: dict[str, UnacceptedRow] = {}
        # Of members: who has many bodies here has them summed once, not at each delivery.
        self._counted: dict[str, _Counted] = {}

    def add(self, peer: str, announced: Sequence[Announced]) -> None:
        """Count bodies, before they are kept; durable when it returns.

        Args:
            peer: org_id of the member that brings them.
            announced: all of one delivery.

        Raises:
            UnavailableError: ``body.quota`` where it would have too many; none is counted then.
        """
        if not announced:
            return
        latest = self._clock() + MAX_AHEAD_S
        with self._lock:
            if not self._has_room(peer, announced):
                self._look_up(peer)
                if not self._has_room(peer, announced):
                    raise UnavailableError("body.quota", retry_after_s=RETRY_S)
            dues = [(latest if item.until is None else min(item.until, latest)) + GRACE_S for item in announced]
            # One that fails may have been kept: it is summed again then.
            count, size, _ = self._counted.pop(peer)
            self._records.put_unaccepted(
                [
                    UnacceptedRow(item.key, item.version, peer, item.size, due)
                    for item, due in zip(announced, dues, strict=True)
                ]
            )
            more = sum(item.size for item in announced)
            self._counted[peer] = _Counted(count + len(announced), size + more, is_exact=False)

    def expire(self, ledger_time: int) -> None:
        """Destroy what can be accepted no more; some of it, for the next call to go on.

        Args:
            ledger_time: of the newest block applied here, Unix seconds.
        """
        # Under the lock, so that nothing announced anew is destroyed for its earlier announcement.
        with self._lock:
            gone: list[tuple[bytes, int]] = []
            destroyed = 0
            for row in self._records.due_unaccepted(ledger_time, _MAX_DUE):
                if self._shelf.is_awaited(row.key, row.version):
                    # Whoever announced another body there before must not have the signature destroyed with it.
                    continue
                if not self._shelf.is_accepted(row.key, row.version):
                    if destroyed == MAX_EXPIRED:
                        continue
                    destroyed += 1
                # Whatever lies at that version is another body than the ledger's, or the ledger's and stays.
                self._shelf.destroy_unaccepted(row.key, row.version)
                gone.append((row.key, row.version))
            if gone:
                self._counted.clear()
                self._records.drop_unaccepted(gone)

    def _look_up(self, peer: str) -> None:
        """Count those no more that were accepted meanwhile; each call goes on where the one before stopped."""
        rows = self._records.oldest_unaccepted(peer, MAX_LOOKS, after=self._looked.pop(peer, None))
        if len(rows) == MAX_LOOKS:
            self._looked[peer] = rows[-1]
        accepted = [(row.key, row.version) for row in rows if self._shelf.is_accepted(row.key, row.version)]
        if accepted:
            self._counted.pop(peer, None)
            self._records.drop_unaccepted(accepted)

    def _has_room(self, peer: str, announced: Sequence[Announced]) -> bool:
        """Tell whether bodies fit in besides others."""
        counted = self._counted.get(peer)
        if counted is None or not (counted.is_exact or _fits(counted, announced)):
            counted = self._counted[peer] = _Counted(*self._records.unaccepted_of(peer), is_exact=True)
        return _fits(counted, announced)


def _fits(counted: _Counted, announced: Sequence[Announced]) -> bool:
    """Tell whether bodies fit in beside so many."""
    size = counted.size + sum(item.size for item in announced)
    return counted.bodies + len(announced) <= MAX_BODIES_EACH and size <= MAX_BYTES_EACH
