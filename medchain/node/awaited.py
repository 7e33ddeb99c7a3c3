"""What the newest blocks wait for to be final: how many cosignatures of which members, and which change of members.

Keeps true: a member counts as missing only where this node knows no lines of it beyond what is final; each set of
members whose quorum is needed is told by itself, since a change of members needs the quorum of before it as well.
Trusts the cosigner for lines, which has verified them.
Source: `docs/spec/ordering.md` 4, "What is final"; `docs/spec/node-protocol.md`, "Inside a node" 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from medchain.encoding import Json, as_number, as_object, as_objects
from medchain.ledger.members import Members
from medchain.ordering.cosign import Awaited

AWAITED_S: Final = 120
"""So long blocks may wait before somebody is to look: cosignatures take seconds where members are there."""


class Block(Protocol):
    """The end of a block."""

    @property
    def height(self) -> int:
        """From 1."""
        ...

    @property
    def time(self) -> int:
        """Unix seconds."""
        ...


class Covered(Protocol):
    """The newest final checkpoint."""

    @property
    def size(self) -> int:
        """Leaves that it covers."""
        ...


class Blocks(Protocol):
    """A node's ledger; `medchain.store.ledger.LedgerStore`, which who only reads a status does not load."""

    @property
    def head(self) -> Block:
        """The newest block."""
        ...

    @property
    def members(self) -> Members:
        """Those of the newest block."""
        ...

    def final(self) -> Covered | None:
        """Return the newest final checkpoint."""
        ...

    def block(self, height: int) -> Block:
        """Return a block."""
        ...

    def block_of_size(self, size: int) -> Block:
        """Return the block that ends at a size."""
        ...


class Awaits(Protocol):
    """Tells which lines are missing; `medchain.ordering.cosign.Cosigner`."""

    def awaited(self) -> list[Awaited]:
        """Tell of each set of members since the newest final block whose quorum is not there, how it lacks it."""
        ...


def awaited(store: Blocks, cosigner: Awaits) -> Json:
    """Tell what the newest blocks wait for.

    Args:
        store: this node's ledger.
        cosigner: knows the lines.

    Returns:
        None where nothing waits, else ``{"sets": [{"leaving": org_ids of this set whom a change that is not final
        suspends or removes, "missing": org_ids, "needed": how many of these}, …], "since": time of the first block that
        waits, Unix seconds}``.
    """
    sets = cosigner.awaited()
    final, head = store.final(), store.head
    height = 0 if final is None else store.block_of_size(final.size).height
    if not sets or height >= head.height:
        return None
    since = store.block(height + 1).time
    rows: list[Json] = [_row(item, store.members) for item in sets]
    return {"sets": rows, "since": since}


class Lacking(NamedTuple):
    """What one set of members lacks: how many of whom, and who of the set leaves by a change that waits for it."""

    needed: int
    missing: tuple[str, ...]
    leaving: tuple[str, ...]


def read_awaited(status: Json) -> tuple[int, list[Lacking]]:
    """Read what the status of a node says of it, for who words it.

    Args:
        status: answer of the local operation ``status``.

    Returns:
        Since when blocks wait, Unix seconds, and what each set of members lacks; 0 and none where nothing waits.
    """
    told = as_object(status).get("awaited")
    if not isinstance(told, dict):
        return 0, []
    found = as_objects(told.get("sets"))
    return as_number(told.get("since")), [_lacking(row) for row in found]


def _lacking(row: dict[str, Json]) -> Lacking:
    """Read what one set of members lacks."""
    count = as_number(row.get("needed"))
    return Lacking(count, _texts(row.get("missing")), _texts(row.get("leaving")))


def _texts(names: Json) -> tuple[str, ...]:
    """Read names."""
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _row(item: Awaited, newest: Members) -> Json:
    """Write what one set of members lacks."""
    staying = {member.org_id for member in newest.active}
    return {
        "leaving": _names(sorted(item.members - staying)),
        "missing": _names(sorted(item.missing)),
        "needed": item.needed,
    }


def _names(org_ids: Sequence[str]) -> Json:
    """Write names."""
    return [*org_ids]
