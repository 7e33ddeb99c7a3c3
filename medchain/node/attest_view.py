"""What this node holds of statements: told, with the steps that were taken, and proven in whole or in part.

Keeps true: nothing is told but what this node's own judgement lets pass, and of a proof nothing more is shown than what
was named. Trusts the shelf.
Source: `docs/spec/attest.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medchain.encoding import Json, as_number
from medchain.errors import InputError, NotFoundError
from medchain.ledger.kinds import attest as attests
from medchain.ledger.kinds.attest import request_of
from medchain.ledger.object import Body, StateRecord
from medchain.node.ledger_node import LedgerNode
from medchain.node.trace import body_opening, export_object

KIND: Final = "attest"
"""Name of the kind of statements."""


@dataclass(frozen=True, slots=True)
class AttestView:
    """Looks at statements. Threads may share it.

    Attributes:
        side: ledger and bodies of this node.
    """

    side: LedgerNode

    def head(self, key: bytes) -> tuple[StateRecord, Body] | None:
        """Return the head of a statement with its body; None unless both are here."""
        found = self.side.shelf.head(key)
        return found if found is not None and found[0].kind == KIND else None

    def versions(self, key: bytes) -> list[tuple[int, Body]]:
        """List the versions whose body is here, the oldest first."""
        history = reversed([*self.side.replica.store.history(key)])
        found = ((row.version, self.side.shelf.ordered(row)) for row in history)
        return [(version, body) for version, body in found if body is not None]

    def told(self, key: bytes) -> dict[str, Json] | None:
        """Tell one statement; None for one whose newest body is not here."""
        found = self.head(key)
        if found is None:
            return None
        record, held = found[0], attests.read(found[1].content)
        final = self.side.replica.store.final()
        return {
            "creator": record.creator,
            "final": final is not None and record.since < final.size,
            "key": key.hex(),
            "parties": [*held.parties],
            "since": record.since,
            "state": held.state,
            "statement": held.to_statement(),
            "status": record.status,
            "until": held.until,
            "version": record.version,
        }

    def listed(self) -> list[dict[str, Json]]:
        """Tell all statements whose newest body is here, the newest first."""
        found = [row for key in self.side.shelf.index.attests() if (row := self.told(key)) is not None]
        return sorted(found, key=lambda row: (-as_number(row["since"]), str(row["key"])))

    def steps(self, key: bytes) -> Iterator[Json]:
        """Tell the steps whose version is here, the oldest first."""
        for version, body in self.versions(key):
            taken = attests.read(body.content)
            yield {
                "asked": request_of(body) is not None,
                "by": taken.by,
                "state": taken.state,
                "step": taken.step,
                "time": taken.time,
                "version": version,
            }

    def proven(self, key: bytes, fields: Sequence[str] | None) -> Mapping[str, bytes]:
        """Prove the head of a statement.

        Args:
            key: its map key, 32 bytes.
            fields: names of what is shown of its body; None for all, with the signed request, which is left out where
                it shows a ticket: with that whoever is given the proof could ask for the next step.

        Returns:
            File name → content of the bundle.

        Raises:
            InputError: ``attest.fields`` for a field that it has not.
            NotFoundError: ``attest.unknown``.
            ConflictError: ``trace.not_final``.
        """
        found = self.head(key)
        if found is None:
            raise NotFoundError("attest.unknown")
        record, body = found
        if fields is not None and not set(fields) <= body.content.keys():
            raise InputError("attest.fields")
        if fields is None and (request := request_of(body)) is not None and request.request.ticket:
            fields = [*body.content]
        shown = body if fields is None else body.redact(fields)
        return export_object(self.side.replica, key, version=record.version, opening=body_opening(shown))
