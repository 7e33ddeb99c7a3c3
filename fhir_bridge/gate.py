"""The gate: the one place through which record data leaves the FHIR floor.

Whatever path a record takes to a caller (read, history, search and its includes, Bundles, operations, exports, proofs,
matches of conditions), it is shown only if the gate says so, of the record as it is stored. Keeps true: what is not
allowed is left out, and looks as what is not there; any doubt is a refusal. Today scopes decide; consent, and filters
within a record, plug in here and nowhere else. Trusts `fhir_bridge.smart` for who asks.
Source: SMART App Launch 2.2 §3.0.2; FHIR R4 §6.1.2 (access denied).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhir_bridge.smart.access import Access
from fhir_bridge.smart.scopes import Action, permits
from medchain.errors import NotFoundError
from medchain.store.records import RecordVersion

_SEEING: Final = (Action.READ, Action.SEARCH)


class Gate:
    """Says what a caller may see. Threads share it."""

    __slots__ = ()

    def shown(self, access: Access, rows: Sequence[RecordVersion], action: Action = Action.READ) -> list[bool]:
        """Tell for each record version whether a caller may see it.

        Args:
            access: who asks.
            rows: as they are stored.
            action: on which way it comes: READ for a record that was named, SEARCH for one that was found.

        Returns:
            One answer a row, in their order.
        """
        return [permits(access.scopes, row.type, action) for row in rows]

    def require_shown(self, access: Access, row: RecordVersion, action: Action = Action.READ) -> None:
        """See that a caller may see a record; raises `NotFoundError` ``record.unknown``, as for one that is absent."""
        if not self.shown(access, [row], action)[0]:
            raise NotFoundError("record.unknown")

    def may_match(self, access: Access, type_name: str) -> bool:
        """Tell whether a caller may ask which records of a type fulfil a condition.

        Who could not see a match must not learn of it from what a conditional write does.
        """
        return any(permits(access.scopes, type_name, action) for action in _SEEING)
