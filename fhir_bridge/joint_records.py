"""Records that are not one patient's alone, but tell of patients or their records: of which, and so what hides them.

They are Provenances of records of several patients, stored Bundles, Binaries that stand beside a record that is no
patient's, and whatever else names several patients, such as groups and lists. What is one patient's alone is judged
with all else of the patient; of these no consent would know. Keeps true: with a record that is kept back such a record
is, whatever else it is of, and what is of it in turn, or attached to what lies in it; of a version that cannot be read
nobody is shown anything; each version is opened once, and what is kept of it are names, not contents. Trusts its caller
for what is kept back, and for one thread.
Source: `docs/spec/consent.md` C4, C15, C16.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from functools import cache
from itertools import chain
from typing import Final, NamedTuple

import orjson

from consent.decision import Resource as Facts
from consent.facts import facts_told
from fhir_bridge.bundled import KEPT_BACK, NOBODY, Name, Whom, facts_in, lying_in, named_in, united, whom_of
from fhir_bridge.bundled import TYPE as BUNDLE
from fhir_bridge.definitions.elements import type_names
from fhir_bridge.definitions.parameters import parameters_of
from medchain.errors import NotFoundError, VerificationError
from medchain.node.event_time import event_span
from medchain.node.records import RecordService
from medchain.node.telling import BINARY, PROVENANCE, Telling, about_in, attached_in, said, targets_in
from medchain.store.consents import ConsentRows, Fresh
from medchain.store.records import RecordStore

LISTING: Final = frozenset({"Account", "Contract", "Group", "Linkage", "List"})
"""Types of records that may be one patient's and name others, who are no less in them."""

_PATIENT: Final = "Patient"
_BESIDE: Final = frozenset({BINARY, BUNDLE, PROVENANCE})
# An AuditEvent is told by rules of its own; a Consent rules records, and is not kept back.
_APART: Final = frozenset({"AuditEvent", "Consent", _PATIENT})
_NAMED: Final = BINARY.encode()


class _Of(NamedTuple):
    """What a version is of.

    Attributes:
        records: of this node.
        whom: patients whose records lie in it.
        attached: Binaries that what lies in it has as attachments.
    """

    records: frozenset[Name] = frozenset()
    whom: Whom = NOBODY
    attached: frozenset[Name] = frozenset()


class JointRecords:
    """Knows them, once it has been told of those that are there."""

    __slots__ = (
        "_about",
        "_attached",
        "_holders",
        "_nobody",
        "_records",
        "_rows",
        "_service",
        "_telling",
        "_whoms",
        "is_begun",
    )

    def __init__(self, records: RecordStore, service: RecordService, rows: ConsentRows, telling: Telling) -> None:
        """Use a node's records; none is read yet.

        Args:
            records: the records file.
            service: opens them.
            rows: the same records without what they hold.
            telling: tells which records a reference means.
        """
        self._records = records
        self._service = service
        self._rows = rows
        self._telling = telling
        self._attached: dict[Name, set[Name]] = {}
        self._holders: dict[Name, list[tuple[int, Name]]] = {}
        self._about: dict[str, list[Fresh]] = {}
        self._nobody = service.patient_token("")
        self._whoms: dict[str, Whom] = {}
        self.is_begun = False

    def begin(self, upto: int) -> None:
        """Take over what is there, up to a number."""
        self.is_begun = True
        for name in LISTING:
            self.take(self._rows.of_type(name, upto))
        for name in _nobodys() - LISTING:
            self.take(self._rows.of_kind(name, upto, self._nobody))

    def take(self, rows: Sequence[Fresh]) -> frozenset[str] | None:
        """Take over what was stored since; nothing before the beginning.

        Returns:
            What `is_named` asks for, of the patients of whom it tells; None where none of it is of these records.
        """
        if not self.is_begun:
            return None
        for row in rows:
            if row.type == _PATIENT:
                self._whoms.pop(row.patient, None)
        keys = [self._taken(row) for row in rows if self._is_joint(row)]
        return frozenset(chain.from_iterable(keys)) if keys else None

    def among(self, names: Iterable[Name]) -> list[Name]:
        """List those of some records with which others may be kept back."""
        return [name for name in names if name in self._holders or name in self._attached]

    def is_named(self, patient: str, came: frozenset[str] | None) -> bool:
        """Tell whether what came, as `take` tells of it, may be about a patient (keyed token)."""
        return bool(came) and not self._whom(patient).keys.isdisjoint(came or ())

    def about(self, patient: str) -> list[Fresh]:
        """List the versions that may be about a patient, or in which such records lie, in the order of their coming."""
        rows = {row.seq: row for key in self._whom(patient).keys for row in self._about.get(key, ())}
        return [rows[number] for number in sorted(rows)]

    def facts(self, patient: str, kept: Collection[Name], zone: tzinfo, number: int) -> list[Facts] | None:
        """Read what a decision about a patient asks of a version that may be about that one.

        Args:
            patient: keyed token.
            kept: records of the patient of which any version is kept back: so is what is one of them, or tells of it.
            zone: of dates that name none.
            number: of the version.

        Returns:
            Of itself; of a Bundle of the records in it that may be the patient's, and of the Bundle; of nothing where
            nothing is. None for a deletion.
        """
        stored = self._records.numbered(number)
        if stored is None:
            return [KEPT_BACK]

        def told(record: bytes) -> Facts:
            span = event_span(record, stored.created, zone)
            return facts_told(None, span, record, self._telling.meant(patient, record))

        try:
            content = self._service.open(stored).content
            return self._asked(stored.type, content, patient, kept, told) if content else None
        except (NotFoundError, VerificationError):
            return [KEPT_BACK]

    def _asked(
        self, type_name: str, content: bytes, patient: str, kept: Collection[Name], told: Callable[[bytes], Facts]
    ) -> list[Facts]:
        """Read what a decision asks of a content, with what reads a resource."""
        record, whom, token = orjson.loads(content), self._whom(patient), self._service.patient_token
        if type_name != BUNDLE:
            return [told(content)] if named_in(record, token).may_be(whom) else []
        mine = [one for one in lying_in(record, token) if one.about == NOBODY or one.about.may_be(whom)]
        if all(one.about == NOBODY for one in mine):
            return []
        if any(name in kept for one in mine for name in one.names):
            return [KEPT_BACK]
        return facts_in(record, [one.record for one in mine if one.record], told)

    def kept_back(self, names: Iterable[Name], upto: int) -> Mapping[Name, tuple[int, ...]]:
        """Number the versions, up to a number, that are kept back with some records; one of these may be one of them.

        All with the newest, and a deletion is as what it deletes.
        """
        kept, found = set(names), dict[Name, set[int]]()
        waiting = list(kept)
        while waiting:
            for name, numbers in self._with(waiting.pop(), upto):
                versions = self._versions(name, upto)
                is_whole = versions[-1] in numbers
                found.setdefault(name, set()).update(versions if is_whole else numbers)
                if is_whole and name not in kept:
                    kept.add(name)
                    waiting.append(name)
        return {name: tuple(sorted(numbers)) for name, numbers in found.items()}

    def _with(self, name: Name, upto: int) -> Iterator[tuple[Name, Collection[int]]]:
        """List the records, and their versions, that are kept back with one whose newest version is."""
        holders: dict[Name, set[int]] = {}
        for number, holder in self._holders.get(name, ()):
            if number <= upto:
                holders.setdefault(holder, set()).add(number)
        yield from holders.items()
        for binary in self._attached.get(name, ()):
            if versions := self._versions(binary, upto):
                yield binary, versions

    def _versions(self, name: Name, upto: int) -> list[int]:
        """Number all versions of a record, up to a number."""
        return [row.seq for row in self._rows.of_record(*name) if row.seq <= upto]

    def _whom(self, patient: str) -> Whom:
        """Tell how records name a patient."""
        known = self._whoms.get(patient)
        if known is None:
            rows = self._records.by_patient(patient, (_PATIENT,), limit=1)
            try:
                content = self._service.open(rows[0]).content if rows else b""
            except (NotFoundError, VerificationError):
                content = b""
            known = self._whoms[patient] = whom_of(patient, orjson.loads(content) if content else {})
        return known

    def _is_joint(self, row: Fresh) -> bool:
        """Tell whether a version is of these records: of several patients, or of none."""
        return row.type in LISTING or (row.patient == self._nobody and row.type in _nobodys())

    def _taken(self, row: Fresh) -> frozenset[str]:
        """Take over a version; returns how the patients are named whose records lie in it."""
        told, name = self._told(row), (row.type, row.id)
        for one in told.records:
            self._holders.setdefault(one, []).append((row.seq, name))
        for key in told.whom.keys:
            self._about.setdefault(key, []).append(row)
        if told.attached:
            self._attached.setdefault(name, set()).update(told.attached)
        return told.whom.keys

    def _told(self, row: Fresh) -> _Of:
        """Tell of what a version is; of none where it cannot be read: nobody is shown it either."""
        try:
            content = self._content(row)
        except (NotFoundError, VerificationError):
            return _Of()
        record = orjson.loads(content) if content else {}
        if row.type == PROVENANCE:
            return _Of(frozenset(targets_in(record)))
        if row.type == BINARY:
            about = about_in(record)
            return _Of() if about is None else _Of(frozenset({about}))
        if row.type != BUNDLE:
            whom = named_in(record, self._service.patient_token)
            # What is judged with all else of its patient is judged for the others whom it names as well.
            return _Of(whom=replace(whom, tokens=whom.tokens - {row.patient}))
        lying = lying_in(record, self._service.patient_token)
        # What is about a patient of whom consents speak is looked at with the patient's records.
        unnamed = frozenset(name for one in lying if one.about == NOBODY for name in one.names)
        binaries = attached_in(record) if _NAMED in content else ()
        attached = frozenset((BINARY, one) for one in binaries)
        return _Of(unnamed, united(one.about for one in lying), attached)

    def _content(self, row: Fresh) -> bytes:
        """Open what a version says, of a deletion what it deletes."""
        stored = self._records.numbered(row.seq)
        content = b"" if stored is None else said(self._service, stored)
        if stored is None or content or stored.version == 1:
            return content
        before = self._records.get(row.type, row.id, stored.version - 1)
        return b"" if before is None else said(self._service, before)


@cache
def _nobodys() -> frozenset[str]:
    """List the types of these records that are nobody's: those that may name patients, by HL7's search parameters."""
    types = type_names("resource") - _APART
    return _BESIDE | {name for name in types if any(_PATIENT in one.target for one in parameters_of(name).values())}
