"""What the decision asks of all of a patient's records, kept up record by record: for replays over all of them.

Keeps true: what is told of a record is what a release tells the decision; each version is opened once, and what is
known of a patient is forgotten for those who came later; what consents keep from who asks is left out. Trusts the
enforcement for that, and for what records mean by identifiers.
Source: `docs/spec/patient-pages.md` 5, 18; `docs/spec/consent.md` D13.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Final, TypeAlias

from consent.decision import Resource
from consent.facts import facts_told
from fhir_bridge.enforcement import Enforcement
from fhir_bridge.smart.access import Access
from medchain.node.event_time import event_span
from medchain.node.followed import Followed
from medchain.node.own_consents import is_kept
from medchain.node.records import RecordService
from medchain.store.records import RecordStore, RecordVersion

_MAX_PATIENTS: Final = 8

_Name: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class _Known:
    """What is known of a patient's records.

    Attributes:
        zone: of dates without one.
        facts: record → number of its newest version, and what that says itself.
        same: sets that many records have, each once.
    """

    zone: tzinfo
    facts: dict[_Name, tuple[int, Resource]] = field(default_factory=dict)
    same: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)

    def take(self, row: RecordVersion, content: bytes) -> None:
        """Take over a version of a record."""
        self.facts.pop((row.type, row.id), None)
        if content and not is_kept(row.type, row.id):
            told = facts_told(row.type, event_span(content, row.created, self.zone), content)
            self.facts[row.type, row.id] = row.seq, self._shared(told)

    def _shared(self, told: Resource) -> Resource:
        """Hold sets that other records have, too, once."""

        def shared(one: frozenset[str] | None) -> frozenset[str] | None:
            return None if one is None else self.same.setdefault(one, one)

        return replace(told, codes=shared(told.codes), labels=shared(told.labels), authors=shared(told.authors))


class PatientFacts:
    """Knows them at one node. Threads may share it."""

    __slots__ = ("_enforcement", "_patients", "_service")

    def __init__(
        self,
        records: RecordStore,
        service: RecordService,
        enforcement: Enforcement,
        types: Collection[str],
        zone: tzinfo,
    ) -> None:
        """Use a node's records; none is read yet.

        Args:
            records: the records file.
            service: opens them.
            enforcement: tells what consents keep back, and what records mean by identifiers.
            types: FHIR types of which a patient's pages show records.
            zone: of dates without one.
        """

        def read(row: RecordVersion) -> bytes:
            return service.open(row).content if row.type in types else b""

        self._enforcement = enforcement
        self._patients = Followed(records, service, lambda: _Known(zone), read, _MAX_PATIENTS)
        self._service = service

    def of(self, access: Access, patient: str) -> list[Resource]:
        """List what the decision asks of each of a patient's records, of what was last first.

        Args:
            access: who asks.
            patient: id of the Patient.

        Raises:
            VerificationError: a record of the patient is damaged: what is true of all of them nobody knows.
            UnavailableError: the records file cannot be read.
        """
        token = self._service.patient_token(patient)
        sight, meant = self._enforcement.sight(access), self._enforcement.meant_by(token)
        with self._patients.of(token) as known:
            there = [(name, *found) for name, found in known.facts.items()]
        shown = [
            replace(facts, related=facts.related | meant[name]) if name in meant else facts
            for name, number, facts in there
            if sight is None or not sight.keeps(number, name[0], token)
        ]
        return sorted(shown, key=lambda one: 0 if one.span is None else one.span.low, reverse=True)
