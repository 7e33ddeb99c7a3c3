"""The roll call: which checkpoint each member cosigned last, and when, read off the checkpoints that this node has.

Keeps true: a line counts only under a key that the ledger names now, and a member has cosigned only what it cosigned
with both of its keys; a time is what the member's own clock said. Trusts who keeps a checkpoint to have verified it.
Source: C2SP tlog-cosignature; `docs/spec/node-protocol.md` 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from medchain.encoding import Json
from medchain.ledger.genesis import line_key
from medchain.ledger.members import COSIGN_USES, Organisation
from medchain.node.clock import Clock
from medchain.store.ledger import LedgerStore
from medchain.tlog.checkpoint import claimed_time, parse_checkpoint
from medchain.tlog.note import parse_note

LATE_S: Final = 600
"""A member that has cosigned nothing for so long is late: twenty times `medchain.ordering.cosign.IDLE_S`."""

ROLL_CALL: Final = "members.cosigned"
"""Name of the local operation: ``{}`` → `roll_call`."""


_Name = tuple[str, bytes]


class Cosigned(NamedTuple):
    """What a key cosigned last: Unix seconds by the member's own clock, and size of the tree."""

    time: int
    size: int


def roll_call(store: LedgerStore, newest: Callable[[], str | None], origin: str, clock: Clock) -> Json:
    """Tell of each active member what it cosigned last.

    Args:
        store: has the checkpoints of the last block ends that were made final.
        newest: gives the newest note with the lines known, which may not be final; None before the first.
        origin: origin line of the ledger's checkpoints.
        clock: gives Unix seconds.

    Returns:
        ``{"final": size of the newest final checkpoint, "members": [{"late", "name", "org_id", "role", "size",
        "time"}, …], "time": now}``, those that are late first; name by language; size and time are None for a member
        of which no line is here.
    """
    now, final = clock(), store.final()
    notes = [stored.note for stored in store.kept_checkpoints()]
    last = _last_lines([note for note in (newest(), *notes) if note is not None])
    # Before the first block nobody has anything to cosign.
    floor = now - LATE_S if final is not None else 0
    rows = [_row(item, _cosigned(item, origin, last), floor) for item in store.members.active]
    rows.sort(key=lambda row: (not row["late"], row["org_id"]))
    return {"final": 0 if final is None else final.size, "members": [*rows], "time": now}


def _last_lines(notes: Iterable[str]) -> dict[_Name, Cosigned]:
    """Find the newest line of each key."""
    last: dict[_Name, Cosigned] = {}
    for text in notes:
        note = parse_note(text.encode())
        size = parse_checkpoint(note.text).size
        for line in note.signatures:
            name = line.name, line.key_id
            found = Cosigned(claimed_time(line), size)
            last[name] = max(found, last.get(name, found))
    return last


def _cosigned(member: Organisation, origin: str, last: Mapping[_Name, Cosigned]) -> Cosigned | None:
    """Tell what a member cosigned last with both keys: the older of the two."""
    keys = [line_key(member, origin, use) for use in COSIGN_USES]
    found = [last.get((key.name, key.key_id)) for key in keys]
    known = [item for item in found if item is not None]
    return min(known) if len(known) == len(found) else None


def _row(member: Organisation, cosigned: Cosigned | None, floor: int) -> dict[str, Json]:
    """Write a member's row; late is who has cosigned nothing since a time, the floor."""
    size, time = (None, None) if cosigned is None else (cosigned.size, cosigned.time)
    late = (time or 0) < floor
    return {
        "late": late,
        "name": {**member.name},
        "org_id": member.org_id,
        "role": member.role,
        "size": size,
        "time": time,
    }
