"""The gate: the one place through which record data leaves the FHIR floor, and comes in.

Whatever path a record takes to a caller (read, history, search and its includes, Bundles, operations, exports, proofs,
matches of conditions), it is shown only if the gate says so, of the record as it is stored. Keeps true: what is not
allowed is left out, and looks as what is not there; any doubt is a refusal; what consents keep from a caller is not
there for it, on every way; a version from when a record was another patient's is that patient's; what this node's
audit has made, or is about to make, and in the name of what the ledger tells, no client writes. The caller's scopes
decide, then the consents. Trusts `fhir_bridge.smart.access` for what scopes mean, `fhir_bridge.enforcement` for what
consents keep back, and the index for what a record is found by.
Source: SMART App Launch 2.2 §3.0; FHIR R4 §6.1.2 (access denied), §2.45 (compartments); `docs/spec/consent.md`, C1 to
C8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import compartment
from fhir_bridge.document import Resource, parse
from fhir_bridge.enforcement import Enforcement, Sight
from fhir_bridge.provenance import TYPE as PROVENANCE
from fhir_bridge.provenance import named
from fhir_bridge.references import PATIENT_MEMBERS, subject_of
from fhir_bridge.search.indexer import VARIANTS
from fhir_bridge.search.judge import Judge
from fhir_bridge.search.service import SearchService
from fhir_bridge.search.tree import ByType, Condition, Either, InCompartment
from fhir_bridge.smart.access import BY_CONTEXT_TYPE, Access, Clause, Permit, permit
from fhir_bridge.smart.scopes import Action
from medchain.errors import AccessDeniedError, NotFoundError, VerificationError
from medchain.node.own_consents import RECORD_TYPE as CONSENT
from medchain.node.own_consents import is_kept
from medchain.node.records import RecordService
from medchain.node.telling import about_in, said
from medchain.store.records import RecordVersion

_PATIENT: Final = "Patient"
_ITSELF: Final = "{def}"
_IDS_AT_ONCE: Final = 50
_REMEMBERED: Final = 256
_EVENT: Final = "AuditEvent"
# How the audit names its events (`fhir_bridge.audit_job`), and in whose name they are.
_EVENT_ID: Final = re.compile(r"[0-9a-f]{32}\.[0-9]+")
_ORGANISATION: Final = "urn:medchain:organisation"
_EXPORTING: Final = (Action.SEARCH, Action.READ)


class HiddenError(NotFoundError):
    """A record that the caller may not see: answered as one that is absent, and told apart by the audit alone.

    Attributes:
        number: of the record version.
    """

    def __init__(self, number: int) -> None:
        """Keep which it was."""
        super().__init__("record.unknown")
        self.number = number


class Gate:
    """Says what a caller may see and write. Threads share it."""

    __slots__ = ("_enforcement", "_judge", "_searches", "_service", "_within")

    def __init__(self, searches: SearchService, service: RecordService, judge: Judge, enforcement: Enforcement) -> None:
        """Prepare.

        Args:
            searches: finds out which records a constraint admits.
            service: opens older versions.
            judge: tells what a constraint says of new content.
            enforcement: tells what consents keep back.
        """
        self._enforcement = enforcement
        self._judge = judge
        self._searches = searches
        self._service = service
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
        admitted = self._admitted(access, limited, action) if limited else {}
        sight = self._enforcement.sight(access) if rows else None
        return [
            (found := permits[row.type]) is not None
            and (found.is_whole or self._is_shown(found, row, admitted) or self._is_of_context(access, found, row))
            and not self._is_kept(sight, row)
            for row in rows
        ]

    def is_hidden(self, access: Access, row: RecordVersion) -> bool:
        """Tell whether consents keep a record version from a caller."""
        return self._is_kept(self._enforcement.sight(access), row)

    def receipt(self, access: Access) -> str:
        """Return the hash over the decisions about a caller, in hex; empty where no consent is in force here."""
        return self._enforcement.receipt(access).hex()

    def shown_of(
        self, access: Access, row: RecordVersion, type_name: str, action: Action, made: Callable[[], Resource]
    ) -> bool:
        """Tell whether a caller may see a resource that is made of a record version, such as its Provenance.

        It must be allowed to read the version; and what it may see of the made type, it may of those versions that are
        as its scopes say: of the same patient, where they are of one.

        Args:
            access: who asks.
            row: the version.
            type_name: type of what is made.
            action: on which way that comes.
            made: makes it, for the constraints of scopes.
        """
        moved = tuple(
            replace(scope, type=row.type, actions=frozenset({Action.READ}), query="")
            for scope in access.scopes
            if action in scope.actions
            and scope.type in ("*", type_name)
            and (not scope.query or self.meets(type_name, made(), scope.query))
        )
        return bool(moved) and all(self.shown(one, [row])[0] for one in (access, replace(access, scopes=moved)))

    def require_shown(self, access: Access, row: RecordVersion, action: Action = Action.READ) -> None:
        """See that a caller may see a record; raises `HiddenError` ``record.unknown``, as for one that is absent."""
        allowed = permit(access, row.type, action)
        is_whole = allowed is not None and allowed.is_whole
        if self.is_hidden(access, row) if is_whole else not self.shown(access, [row], action)[0]:
            raise HiddenError(row.seq)

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
            AccessDeniedError: ``scope.denied`` where the resource is not; ``audit.kept``; ``provenance.kept``;
                ``consent.kept``.
        """
        allowed = self.require(access, type_name, action)
        if type_name == _EVENT:
            _keep_audit(before, resource)
        if before is not None or resource is not None:
            self.require_free(type_name, before.id if before is not None else str((resource or {}).get("id")))
        if before is not None and self.is_hidden(access, before):
            raise HiddenError(before.seq)
        if allowed.is_whole:
            return
        if before is not None and not self.may_replace(access, action, before):
            raise NotFoundError("record.unknown")
        if resource is not None and not any(self._admits(clause, type_name, resource) for clause in allowed.clauses):
            raise AccessDeniedError("scope.denied")

    def require_free(self, type_name: str, record_id: str) -> None:
        """See that a name is none under which the ledger tells of records or consents, known to it or not.

        Raises:
            AccessDeniedError: ``provenance.kept``, ``consent.kept``.
        """
        if type_name == PROVENANCE and named(record_id) is not None:
            raise AccessDeniedError("provenance.kept")
        if is_kept(type_name, record_id):
            raise AccessDeniedError("consent.kept")

    def is_written_freely(self, access: Access, type_name: str, action: Action) -> bool:
        """Tell whether every record of a type may be written, so that none needs to be looked at."""
        is_whole = type_name not in (_EVENT, PROVENANCE, CONSENT) and self.require(access, type_name, action).is_whole
        return is_whole and self._enforcement.sight(access) is None

    def may_replace(self, access: Access, action: Action, before: RecordVersion) -> bool:
        """Tell whether a caller may put something in the place of the newest version of a record.

        One that is about another patient as well is not for the application of one patient to change.
        """
        allowed = permit(access, before.type, action)
        if allowed is None or self.is_hidden(access, before):
            return False
        if allowed.is_whole:
            return True
        if (before.type, before.id) not in self._admitted(access, [before], action):
            return False
        patients = {clause.patient for clause in allowed.clauses}
        return "" in patients or self._is_of_alone(patients, before.type, parse(self._service.open(before).content))

    def may_match(self, access: Access, type_name: str) -> bool:
        """Tell whether a caller may ask which records of a type fulfil a condition.

        Who could not see a match must not learn of it from what a conditional write does.
        """
        return any(permit(access, type_name, action) is not None for action in (Action.READ, Action.SEARCH))

    def may_export(self, access: Access, type_name: str) -> bool:
        """Tell whether a caller may have records of a type in bulk: it must be allowed to find and to read them."""
        return all(permit(access, type_name, action) is not None for action in _EXPORTING)

    def exports_all(self, access: Access, type_name: str) -> bool:
        """Tell whether a caller may have every record of a type in bulk."""
        permits = [permit(access, type_name, action) for action in _EXPORTING]
        is_whole = all(found is not None and found.is_whole for found in permits)
        return is_whole and self._enforcement.sight(access) is None

    def exported(self, access: Access) -> tuple[Condition, ...]:
        """Say what must hold of every record of a bulk export."""
        return tuple(dict.fromkeys(one for action in _EXPORTING for one in self.within(access, action)))

    def exported_rows(self, access: Access, rows: Sequence[RecordVersion]) -> list[bool]:
        """Tell for each record version whether a caller may have it in bulk, as `shown` does."""
        judged = [self.shown(access, rows, action) for action in _EXPORTING]
        return [all(answers) for answers in zip(*judged, strict=True)]

    def keep_up(self) -> None:
        """Follow what is written, now and then; raises as `shown`."""
        self._enforcement.keep_up()

    def within(self, access: Access, action: Action = Action.SEARCH) -> tuple[Condition, ...]:
        """Say what must hold of every record that takes part in a search; nothing where all is allowed."""
        found, sight = self._within(access, action), self._enforcement.sight(access)
        return found if sight is None else (*found, sight.condition)

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

    def _is_kept(self, sight: Sight | None, row: RecordVersion) -> bool:
        """Tell whether consents keep a record version from somebody."""
        if sight is None:
            return False
        return sight.hides(row) or (row.type == _EVENT and sight.is_of_events and self._tells(sight, row))

    def _tells(self, sight: Sight, row: RecordVersion) -> bool:
        """Tell whether an AuditEvent tells of what is kept back, in any version of it that a client has stored."""
        if row.seq > sight.upto:
            return True
        versions = [row] if _EVENT_ID.fullmatch(row.id) else self._service.history(_EVENT, row.id)
        try:
            contents = [said(self._service, one) for one in versions]
        except (NotFoundError, VerificationError):
            return True
        told = (parse(content) for content in contents if content)
        return not all(self._judge.fulfils(_EVENT, one, (sight.condition,)) for one in told)

    def _admitted(self, access: Access, rows: Sequence[RecordVersion], action: Action) -> Mapping[tuple[str, str], int]:
        """Find those of some records that the clauses admit as they are now: by type and id, the newest's number."""
        found: dict[tuple[str, str], int] = {}
        within = self.within(access, action)
        for name in {row.type for row in rows}:
            ids = sorted({row.id for row in rows if row.type == name})
            for start in range(0, len(ids), _IDS_AT_ONCE):
                part = ids[start : start + _IDS_AT_ONCE]
                condition = f"_id={','.join(part)}"
                rows_of = self._searches.rows(name, condition, len(part), within=within)
                found.update(((name, one.id), one.number) for one in rows_of)
        return found

    def _is_shown(self, allowed: Permit, row: RecordVersion, admitted: Mapping[tuple[str, str], int]) -> bool:
        """Judge a version of a record: an older one must have been the patient's, and as a constraint says, then, too.

        Or who may see no restricted records would see one as it was before somebody took its label off.
        """
        newest = admitted.get((row.type, row.id))
        if newest is None or newest == row.seq:
            return newest is not None
        try:
            content = said(self._service, row)
        except NotFoundError:
            # Erased, and so nobody's any more.
            return False
        if not content:
            patients = {clause.patient for clause in allowed.clauses}
            return "" in patients or row.patient in map(self._service.patient_token, patients)
        resource = parse(content)
        keys = self._keys(row.type, resource)
        return allowed.admits(
            lambda patient: f"{_PATIENT}/{patient}" in keys, lambda query: self.meets(row.type, resource, query)
        )

    def _is_of_context(self, access: Access, allowed: Permit, row: RecordVersion) -> bool:
        """Judge a version of a Binary under scopes of one patient, by what its security context names.

        As with any record, an older version needs the newest to be allowed as well.
        """
        clauses = [clause for clause in allowed.clauses if clause.patient]
        if row.type != BY_CONTEXT_TYPE or not clauses:
            return False
        newest = self._service.history(row.type, row.id)[0]
        versions = {one.seq: one for one in (newest, row)}.values()
        return all(any(self._context_admits(access, clause, one) for clause in clauses) for one in versions)

    def _context_admits(self, access: Access, clause: Clause, row: RecordVersion) -> bool:
        """Judge a Binary by the record that its security context names, as that is now (R4 Binary.securityContext).

        It must be of the clause's patient, as the Binary was when it was sealed; and where it is more than the Patient,
        which says no more than whose the Binary is, this caller must be allowed to read it.
        """
        if row.head is None or row.patient != self._service.patient_token(clause.patient):
            return False
        try:
            shell = parse(self._service.head(row).text)
        except NotFoundError:
            return False
        if (about := about_in(shell)) is None:
            return False
        of_patient = (InCompartment(_PATIENT, clause.patient),)
        if not self._searches.rows(about[0], f"_id={about[1]}", within=of_patient):
            return False
        if about[0] != _PATIENT and not self.shown(access, self._service.history(*about)[:1])[0]:
            return False
        return not clause.query or self.meets(row.type, shell, clause.query)

    def _admits(self, clause: Clause, type_name: str, resource: Resource) -> bool:
        """Judge a resource that is not stored yet: by whom it is about, and by what a constraint says of it."""
        if clause.patient and not self._is_of_alone({clause.patient}, type_name, resource):
            return False
        return not clause.query or self.meets(type_name, resource, clause.query)

    def meets(self, type_name: str, resource: Resource, query: str) -> bool:
        """Tell whether a resource that is not in the index meets the constraint of a scope."""
        return self._judge.fulfils(type_name, resource, self._searches.condition(type_name, query).conditions)

    def _is_of_alone(self, patients: Collection[str], type_name: str, resource: Resource) -> bool:
        """Tell whether a resource is about one of some patients, and about nobody else."""
        if type_name == _PATIENT:
            return resource.get("id") in patients
        subjects = [resource[name] for name in PATIENT_MEMBERS if name in resource]
        keys = self._keys(type_name, resource)
        return any(
            f"{_PATIENT}/{one}" in keys
            and not any(f"{_PATIENT}/" in key and key != f"{_PATIENT}/{one}" for key in keys)
            and (not subjects or subject_of(type_name, "", resource) == one)
            for one in patients
        )

    def _keys(self, type_name: str, resource: Resource) -> set[str]:
        """Name what a resource refers to where it says whose it is; a Patient is its own."""
        index = self._searches.index
        codes = [code for code in compartment(_PATIENT).get(type_name, ()) if code != _ITSELF]
        numbers = {index.number(type_name, code) for code in codes}
        rows = index.rows(type_name, resource).rows or ()
        found = {str(row[2]) for row in rows if row[0] // VARIANTS in numbers}
        return found | {f"{_PATIENT}/{resource.get('id')}"} if type_name == _PATIENT else found


def _keep_audit(before: RecordVersion | None, resource: Resource | None) -> None:
    """See that no client writes in the place or in the name of the audit; raises `AccessDeniedError` ``audit.kept``."""
    given = {} if resource is None else resource
    record_id = given.get("id") if before is None else before.id
    source = given.get("source")
    observer = source.get("observer") if isinstance(source, dict) else None
    identifier = observer.get("identifier") if isinstance(observer, dict) else None
    is_ours = isinstance(identifier, dict) and identifier.get("system") == _ORGANISATION
    if is_ours or (isinstance(record_id, str) and _EVENT_ID.fullmatch(record_id)):
        raise AccessDeniedError("audit.kept")
