"""Who endorsed how much of whose lately, added up from what the watch over draws has counted.

Keeps true: only final blocks count, and only whom the draw names; every node gives the same. Trusts the records file.
Source: `docs/spec/endorsement.md` 5, `docs/spec/node-protocol.md` 8.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from medchain.encoding import Json
from medchain.ledger.kinds.content import DAY_S
from medchain.node.clock import Clock
from medchain.store.watching import DrawTable

DAYS: Final = 30
"""So many days are added up, today included."""

ENDORSED: Final = "endorsements.counted"
"""Name of the local operation: ``{}`` → `endorsed`."""


def endorsed(draws: DrawTable, clock: Clock) -> Json:
    """Tell how many transactions each member endorsed, having been drawn, for each creator and of each kind.

    Args:
        draws: what was counted.
        clock: gives Unix seconds.

    Returns:
        ``{"days": DAYS, "rows": [{"count", "creator", "endorser", "kind"}, …]}``, sorted by endorser, then creator,
        then kind; the endorser is empty where its key was nobody's any more as it was counted.
    """
    counted: Counter[tuple[str, str, str]] = Counter()
    for place, count in draws.endorsements(since_day=clock() // DAY_S - DAYS + 1).items():
        counted[place.endorser, place.creator, place.kind] += count
    rows: list[Json] = [
        {"count": count, "creator": creator, "endorser": endorser, "kind": kind}
        for (endorser, creator, kind), count in sorted(counted.items())
    ]
    return {"days": DAYS, "rows": rows}
