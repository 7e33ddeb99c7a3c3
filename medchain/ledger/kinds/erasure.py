"""Kind erasure: an organisation destroyed keys of its own, so that what they sealed is gone.

Keeps true: only the owner erases, once an object; a restored backup replays the list before it serves. The epochs are
named by hash, so nobody else learns whose they were. Trusts the owner to have destroyed the keys: a hash cannot prove
that something is gone.
Source: `docs/spec/consent.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, unhex
from medchain.ledger.kind import ONCE, CheckContext, Kind, refuse
from medchain.ledger.kinds.content import check_event_time, check_parties, count, fields, names, short_text
from medchain.ledger.object import Body
from medchain.ledger.transaction import HASH_BYTES

_FIELDS: Final = ("epochs", "organisation", "reason", "time")


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure's content.

    Attributes:
        organisation: org_id whose keys they were.
        epochs: hashes of the epoch ids, 32 bytes each, sorted.
        reason: why.
        time: Unix seconds.
    """

    organisation: str
    epochs: tuple[bytes, ...]
    reason: str
    time: int

    def to_content(self) -> dict[str, Json]:
        """Write the content."""
        return {
            "epochs": [epoch.hex() for epoch in self.epochs],
            "organisation": self.organisation,
            "reason": self.reason,
            "time": self.time,
        }


def read(content: Mapping[str, Json]) -> Erasure:
    """Read a whole content strictly; raises `InputError`."""
    fields(content, _FIELDS)
    return Erasure(
        organisation=short_text(content["organisation"]),
        epochs=tuple(unhex(epoch, HASH_BYTES) for epoch in names(content["epochs"])),
        reason=short_text(content["reason"]),
        time=count(content["time"]),
    )


def check(body: Body, context: CheckContext) -> None:
    """Judge an erasure's body.

    Raises:
        InputError: for a malformed content.
        VerificationError: ``erasure.organisation``, ``.party``, ``.role``, ``.owner``, ``.time``.
    """
    erasure = read(body.content)
    check_parties(context, (erasure.organisation,), "erasure")
    if erasure.organisation != context.creator:
        refuse("erasure.owner", org_id=erasure.organisation)
    check_event_time(context, erasure.time, "erasure.time")


KIND: Final = Kind(name="erasure", number=10, transitions=ONCE, check=check)
"""Once; it cannot be taken back."""
