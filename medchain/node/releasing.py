"""What a node's exchange side is given by the floors above: what decides requests, and what keeps what became of them.

Keeps true: each port is small and named for what it gives; the roof passes them in.
Source: `docs/spec/release.md`, `docs/spec/audit.md` 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from medchain.node.opening import ReceivedRecord
from medchain.node.release_ports import (
    ClaimFacts,
    Disclosure,
    Emergencies,
    NoSelection,
    Refused,
    ReleaseDecision,
    Selection,
)


class Disclosures(Protocol):
    """Has the audit keep what goes from one organisation to another, before it does."""

    def released(self, disclosure: Disclosure, numbers: Sequence[int]) -> None:
        """Keep a release; see `medchain.node.release_ports.CustodianParts.released`."""
        ...

    def refused(self, refused: Refused) -> None:
        """Keep a refusal; see `medchain.node.release_ports.CustodianParts.refused`."""
        ...

    def received(self, disclosure: Disclosure, records: Sequence[ReceivedRecord]) -> None:
        """Keep what came; see `medchain.node.asker.AskerParts.received`."""
        ...

    def received_in_part(self, disclosure: Disclosure, records: Sequence[tuple[str, int]]) -> None:
        """Keep what came for a claim; see `medchain.node.asker.AskerParts.received_in_part`."""
        ...


class NoDisclosures:
    """Keeps nothing: for parts whose caller keeps it."""

    def released(self, _disclosure: Disclosure, _numbers: Sequence[int]) -> None:
        """Do nothing."""

    def refused(self, _refused: Refused) -> None:
        """Do nothing."""

    def received(self, _disclosure: Disclosure, _records: Sequence[ReceivedRecord]) -> None:
        """Do nothing."""

    def received_in_part(self, _disclosure: Disclosure, _records: Sequence[tuple[str, int]]) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Releasing:
    """What decides requests for records and keeps what became of them, from the floors above.

    Attributes:
        rules: the decision.
        selection: understands searches.
        disclosures: the audit.
        emergencies: what emergencies of other organisations open; None where this one answers none.
        claim_facts: what is told of records for claims; None where this organisation discloses none in part.
    """

    rules: ReleaseDecision
    selection: Selection = field(default_factory=NoSelection)
    disclosures: Disclosures = field(default_factory=NoDisclosures)
    emergencies: Emergencies | None = None
    claim_facts: ClaimFacts | None = None
