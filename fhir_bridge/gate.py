"""The gate: the one place through which record data leaves the FHIR floor, and comes in.

Whatever path a record takes to a caller (read, history, search and its includes, Bundles, operations, exports, proofs,
matches of conditions), it is shown only if the gate says so, of the record as it is stored. Keeps true: what is not
allowed is left out, and looks as what is not there; any doubt is a refusal. Today the caller's scopes decide; consent,
and filters within a record, plug in here and nowhere else. Trusts `fhir_bridge.smart.access` for what scopes mean and
the index for what a record is found by.
Source: SMART App Launch 2.2 §3.0; FHIR R4 §6.1.2 (access denied), §2.45 (compartments).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import compartment
from fhir_bridge.document import Resource
from fhir_bridge.search.indexer import VARIANTS
from fhir_bridge.search.service import SearchService
from fhir_bridge.search.tree import ByType, Condition, Either, InCompartment
from fhir_bridge.smart.access import Access, Clause, Permit, permit
from fhir_bridge.smart.scopes import Action
from medchain.errors import AccessDeniedError, NotFoundError
from medchain.store.records import RecordVersion

_PATIENT: Final = "Patient"
_ITSELF: Final = "{def}"
_IDS_AT_ONCE: Final = 50
_REMEMBERED: Final = 256


class Gate:
    """Says what a caller may see and write. Threads share it."""

    __slots__ = ("_searches", "_within")

    def __init__(self, searches: SearchService) -> None:
        """Prepare; `searches` finds out which records a constraint admits."""
        self._searches = searches
        self._within = lru_cache(_REMEMBERED)(self._conditions)

    def shown(self, access: Access, rows: Sequence[RecordVersion], action: Action = Action.READ) -> list[bool]:
        """Tell for each record version whether a caller may see it.

        Args:
            access: who asks.
            rows: as they are stored.
            action: on which way it comes: READ for a record that was named, SEARCH for one that was found.

        Returns:
            One answer a row, in their order.
        """
        permits = {name: permit(access, name, action) for name in {row.type for row in rows}}
        limited = [row for row in rows if (found := permits[row.type]) is not None and not found.is_whole]
        admitted = self._admitted(access, limited, action) if limited else frozenset()
        return [
            (found := permits[row.type]) is not None and (found.is_whole or (row.type, row.id) in admitted)
            for row in rows
        ]

    def require_shown(self, access: Access, row: RecordVersion, action: Action = Action.READ) -> None:
        """See that a caller may see a record; raises `NotFoundError` ``record.unknown``, as for one that is absent."""
        if not self.shown(access, [row], action)[0]:
            raise NotFoundError("record.unknown")

    def require(self, access: Access, type_name: str, action: Action) -> Permit:
        """See that a caller may do something to at least some records of a type, before anything is looked up.

        Args:
            access: who calls.
            type_name: resource type as given, known or not.
            action: what it wants.

        Returns:
            What is allowed.

        Raises:
            NotFoundError: ``record.unknown`` for a read, as for a record that is not there.
            AccessDeniedError: ``scope.denied`` for anything else.
        """
        found = permit(access, type_name, action)
        if found is not None:
            return found
        if action is Action.READ:
            raise NotFoundError("record.unknown")
        raise AccessDeniedError("scope.denied")

    def require_any(self, access: Access, action: Action) -> None:
        """See that a caller may do something to records of some type; raises `AccessDeniedError` ``scope.denied``."""
        if not any(action in scope.actions for scope in access.scopes):
            raise AccessDeniedError("scope.denied")

    def require_written(
        self, access: Access, action: Action, before: RecordVersion | None, resource: Resource | None, type_name: str
    ) -> None:
        """See that a caller may replace a record as it is by a resource as it is to be; both must be admitted.

        Args:
            access: who calls.
            action: what it does.
            before: the newest version; None for a new record.
            resource: what is to be stored, with its id; None for a deletion.
            type_name: its type.

        Raises:
            NotFoundError: ``record.unknown`` where the record as it is is not admitted.
            AccessDeniedError: ``scope.denied`` where the resource is not.
        """
        allowed = self.require(access, type_name, action)
        if allowed.is_whole:
            return
        if before is not None and (type_name, before.id) not in self._admitted(access, [before], action):
            raise NotFoundError("record.unknown")
        if resource is not None and not any(self._admits(clause, type_name, resource) for clause in allowed.clauses):
            raise AccessDeniedError("scope.denied")

    def may_match(self, access: Access, type_name: str) -> bool:
        """Tell whether a caller may ask which records of a type fulfil a condition.

        Who could not see a match must not learn of it from what a conditional write does.
        """
        return any(permit(access, type_name, action) is not None for action in (Action.READ, Action.SEARCH))

    def within(self, access: Access, action: Action = Action.SEARCH) -> tuple[Condition, ...]:
        """Say what must hold of every record that takes part in a search; nothing where all is allowed."""
        return self._within(access, action)

    def _conditions(self, access: Access, action: Action) -> tuple[Condition, ...]:
        """Say it by type."""
        names = sorted(type_names("resource"))
        permits = {name: permit(access, name, action) for name in names}
        if all(found is not None and found.is_whole for found in permits.values()):
            return ()
        return (
            ByType(tuple((name, self._of_permit(name, found)) for name, found in permits.items() if found is not None)),
        )

    def _of_permit(self, type_name: str, allowed: Permit) -> tuple[Condition, ...]:
        """Say what one type's resources must fulfil."""
        if allowed.is_whole:
            return ()
        ways = [ByType(((type_name, self._of_clause(type_name, clause)),)) for clause in allowed.clauses]
        return (Either(tuple(ways)),)

    def _of_clause(self, type_name: str, clause: Clause) -> tuple[Condition, ...]:
        """Say what one clause asks for."""
        found: list[Condition] = [InCompartment(_PATIENT, clause.patient)] if clause.patient else []
        if clause.query:
            found += self._searches.condition(type_name, clause.query).conditions
        return tuple(found)

    def _admitted(self, access: Access, rows: Sequence[RecordVersion], action: Action) -> frozenset[tuple[str, str]]:
        """Find those of some records that the clauses admit, as they are now, by type and id."""
        found: set[tuple[str, str]] = set()
        within = self.within(access, action)
        for name in {row.type for row in rows}:
            ids = sorted({row.id for row in rows if row.type == name})
            for start in range(0, len(ids), _IDS_AT_ONCE):
                part = ids[start : start + _IDS_AT_ONCE]
                condition = f"_id={','.join(part)}"
                found.update((name, one) for one in self._searches.ids(name, condition, len(part), within=within))
        return frozenset(found)

    def _admits(self, clause: Clause, type_name: str, resource: Resource) -> bool:
        """Judge a resource that is not stored yet; what a constraint says of it cannot be known, and is denied."""
        if clause.query:
            return False
        if not clause.patient:
            return True
        if type_name == _PATIENT:
            return resource.get("id") == clause.patient
        index = self._searches.index
        codes = [code for code in compartment(_PATIENT).get(type_name, ()) if code != _ITSELF]
        numbers = {index.number(type_name, code) for code in codes}
        rows = index.rows(type_name, resource).rows or ()
        key = f"{_PATIENT}/{clause.patient}"
        return any(row[0] // VARIANTS in numbers and row[2] == key for row in rows)
