"""What one server holds at a time: connections by where they come from, requests by member, bytes that come and go.

Keeps true: who has not shown who he is holds at most `MAX_STRANGERS` connections, `MAX_STRANGERS_EACH` from one place,
whatever he sends; the rest are for callers who have, and for places from which one came before; one member has at most
`MAX_REQUESTS_EACH` requests under way and `MAX_KEPT_EACH` connections kept; bodies of at most `MAX_BUFFERED_BYTES` are
in memory, and of large answers that wait to be taken at most `MAX_ANSWERS_BYTES`, one member's `MAX_ANSWERS_EACH`,
beside `OWN_ANSWERS_BYTES` that no others take from a member.
Trusts the address of an accepted connection, which TCP makes hard to forge.
Source: `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address
from threading import Lock
from typing import Final

from medchain.errors import UnavailableError

MAX_CONNECTIONS: Final = 256
"""Connections at a time; one more is answered 503 and closed."""

MAX_STRANGERS: Final = 192
"""Connections at a time on which nobody is known yet, unless they come from where a known caller came from."""

MAX_STRANGERS_EACH: Final = 64
"""Connections at a time from one place on which nobody is known yet."""

MAX_BUFFERED_BYTES: Final = 128 << 20
"""Bodies held at a time; twice what one member can send at once."""

MAX_ANSWERS_BYTES: Final = 256 << 20
"""Large answers held at a time until they are taken; so much that no few members keep others from theirs."""

MAX_ANSWERS_EACH: Final = 64 << 20
"""Large answers of one member held at a time; more than the largest there is."""

OWN_ANSWERS_BYTES: Final = 8 << 20
"""Answers that a member is given however much others hold: more than blocks come in, which some could keep from all."""

SMALL_ANSWER_BYTES: Final = 1 << 16
"""Largest answer that is not counted: a connection has one, and whoever asks how the node is gets it always."""

MAX_REQUESTS_EACH: Final = 16
"""Requests of one member under way at a time, those that wait on purpose included."""

MAX_KEPT_EACH: Final = 16
"""Connections of one member that are kept for its next request; a further one is closed after its answer."""

_MAX_PLACES: Final = 1024
_IPV6_HOST_BITS: Final = 64


class Connections:
    """Counts connections. Threads share it."""

    __slots__ = ("_held", "_kept", "_known_places", "_lock", "_strangers")

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = Lock()
        self._held = 0
        self._strangers: Counter[str] = Counter()
        self._known_places: dict[str, None] = {}
        self._kept: Counter[str] = Counter()

    def keep(self, member: str) -> bool:
        """Keep a connection for a member, if it has not too many; give it back with `let_go`.

        Args:
            member: org_id of who was shown to call.

        Returns:
            Whether it may stay open.
        """
        with self._lock:
            if self._kept[member] >= MAX_KEPT_EACH:
                return False
            self._kept[member] += 1
            return True

    def let_go(self, member: str) -> None:
        """Count one kept connection of a member less."""
        with self._lock:
            self._kept[member] -= 1
            if not self._kept[member]:
                del self._kept[member]

    def take(self, place: str) -> bool:
        """Take a connection of a stranger, if there is room.

        Args:
            place: from `place_of`.

        Returns:
            Whether it may stay.
        """
        with self._lock:
            is_familiar = place in self._known_places
            if self._held >= MAX_CONNECTIONS or self._strangers[place] >= MAX_STRANGERS_EACH:
                return False
            if not is_familiar and self._strangers.total() >= MAX_STRANGERS:
                return False
            self._held += 1
            self._strangers[place] += 1
            return True

    def know(self, place: str) -> None:
        """Note that a stranger of that place has shown who he is; once for a connection."""
        with self._lock:
            self._forget_stranger(place)
            self._known_places.pop(place, None)
            self._known_places[place] = None
            if len(self._known_places) > _MAX_PLACES:
                del self._known_places[next(iter(self._known_places))]

    def give(self, place: str, *, is_known: bool) -> None:
        """Give a connection back.

        Args:
            place: as at `take`.
            is_known: whether `know` was called for it.
        """
        with self._lock:
            self._held -= 1
            if not is_known:
                self._forget_stranger(place)

    def _forget_stranger(self, place: str) -> None:
        """Count one stranger less."""
        self._strangers[place] -= 1
        # Places are named by whoever connects, so none stays.
        if not self._strangers[place]:
            del self._strangers[place]


class UnderWay:
    """Counts requests of members. Threads share it."""

    __slots__ = ("_count", "_lock")

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = Lock()
        self._count: Counter[str] = Counter()

    @contextmanager
    def one(self, org_id: str) -> Iterator[None]:
        """Have one request under way.

        Args:
            org_id: of the member, as its assertion has shown.

        Raises:
            UnavailableError: ``request.busy`` where it has too many.
        """
        with self._lock:
            if self._count[org_id] >= MAX_REQUESTS_EACH:
                raise UnavailableError("request.busy")
            self._count[org_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._count[org_id] -= 1
                if not self._count[org_id]:
                    del self._count[org_id]


class Answers:
    """Counts the bytes of large answers by member. Threads share it."""

    __slots__ = ("_held", "_lock")

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = Lock()
        self._held: Counter[str] = Counter()

    def check(self, org_id: str, size: int) -> None:
        """See that there is room for an answer now; arguments and errors as for `hold`."""
        with self.hold(org_id, size):
            """It is given back at once."""

    @contextmanager
    def hold(self, org_id: str, size: int) -> Iterator[None]:
        """Hold an answer until it is taken.

        Args:
            org_id: of the member that it is for.
            size: bytes.

        Raises:
            UnavailableError: ``request.busy`` where that would be too much.
        """
        if size <= SMALL_ANSWER_BYTES:
            yield
            return
        with self._lock:
            own, total = self._held.get(org_id, 0) + size, self._held.total() + size
            if own > MAX_ANSWERS_EACH or (own > OWN_ANSWERS_BYTES and total > MAX_ANSWERS_BYTES):
                raise UnavailableError("request.busy")
            self._held[org_id] = own
        try:
            yield
        finally:
            with self._lock:
                self._held[org_id] -= size
                if not self._held[org_id]:
                    del self._held[org_id]


class Buffered:
    """Counts the bytes of bodies. Threads share it."""

    __slots__ = ("_held", "_lock")

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = Lock()
        self._held = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold so many bytes.

        Args:
            size: of a body, before any of it is read.

        Raises:
            UnavailableError: ``request.busy`` where that would be too much.
        """
        with self._lock:
            if self._held + size > MAX_BUFFERED_BYTES:
                raise UnavailableError("request.busy")
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size


def place_of(host: str) -> str:
    """Name where a connection comes from: an IPv4 address, or the network of an IPv6 one, which is one customer's."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv4Address):
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else f"{int(address) >> _IPV6_HOST_BITS:x}"
