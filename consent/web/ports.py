"""What the patient's pages need from the floors around them.

Keeps true: pages below the FHIR floor know records as what is shown of them and as their own bytes, and nothing of how
they are searched. Trusts who fills these to show a patient nothing of another one.
Source: `docs/spec/patient-pages.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from consent.decision import Resource
from medchain.encoding import Json
from medchain.node.peers import Limits
from medchain.store.accesses import Access


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """One of the patient's records, in its newest version.

    Attributes:
        type: FHIR type.
        id: of the record.
        version: its number.
        when: date of what it tells of, as it says it.
        title: what it is about, in a line; may be empty.
        content: its FHIR JSON.
        anchored: how far it is on the ledger: ``pending``, ``ordered; position=N``, ``final; position=N``.
        meant: the patient's records that it means by identifiers (`medchain.node.identified`).
        is_birth: whether that date is a person's birth.
    """

    type: str
    id: str
    version: str
    when: str
    title: str
    content: bytes
    anchored: str
    meant: frozenset[str] = frozenset()
    is_birth: bool = False

    @property
    def reference(self) -> str:
        """As other records refer to it."""
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of the patient's records.

    Attributes:
        records: in their newest versions, the newest first.
        more: where the next ones begin, a word for `PatientRecords` alone; empty where there are none.
    """

    records: Sequence[PatientRecord]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A record, opened.

    Attributes:
        record: what it is.
        rows: (depth, name of the element, value, codes behind it) in its own order.
        versions: how many there are.
    """

    record: PatientRecord
    rows: Sequence[tuple[int, str, str, str]]
    versions: int


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody of this organisation looked at the patient's records.

    Attributes:
        time: when it was kept, as FHIR writes an instant.
        who: the person's name, or its reference where it has none here; empty for a system without a person.
        role: of that person, such as ``clinician``; empty for a system.
        client: the application that was used.
        action: FHIR interaction, such as ``read``.
        types: FHIR types of what was seen, sorted; empty where only a search is known.
        is_refused: whether it was refused.
        event: id of the AuditEvent that tells of it.
        purpose: purpose-of-use code; empty where it is not known.
        asker: org_id of the organisation that asked whether an invoice is here; empty for a look of this one's.
    """

    time: str
    who: str
    role: str
    client: str
    action: str
    types: tuple[str, ...]
    is_refused: bool
    event: str = ""
    purpose: str = ""
    asker: str = ""


class PatientRecords(Protocol):
    """The patient's own records at this organisation; every question is audited as the patient's, or the reader's."""

    def read_by(self, reader: str) -> PatientRecords:
        """Give the same, read by another patient, who acts for the first one and is on the audit for it."""
        ...

    def patient_of(self, token: str) -> str:
        """Give the id of the patient whom the records file knows by a keyed token; empty for one without a record."""
        ...

    def name(self, patient: str, language: str) -> str:
        """Give the patient's name; empty where the record has none."""
        ...

    def facts(self, patient: str, language: str) -> Sequence[Resource]:
        """Give what the decision asks of each of the patient's records, of what was last first."""
        ...

    def some(self, patient: str, references: Collection[str], language: str) -> Mapping[str, PatientRecord]:
        """Give some of the patient's records by their references (``TYPE/ID``), as far as they are there."""
        ...

    def visits(self, patient: str, begin: str, language: str) -> Listing:
        """Give some of the patient's visits (Encounters), the newest first.

        Args:
            patient: whose they are.
            begin: `Listing.more` of those before; empty for the first ones.
            language: of names in it.

        Raises:
            NotFoundError: ``page.unknown`` for another `begin`, and one that is too old.
        """
        ...

    def in_visit(self, patient: str, visit: str, begin: str, language: str) -> Listing:
        """Give some of the records that belong to a visit (id of the Encounter), itself left out; else as `visits`."""
        ...

    def outside_visits(self, patient: str, begin: str, language: str) -> Listing:
        """Give some of the records that belong to no visit that is here, as `visits`; there may be none among many.

        What is recorded of the person is none of them.
        """
        ...

    def of_types(self, patient: str, types: Collection[str], begin: str, language: str) -> Listing:
        """Give some of the records of some FHIR types, else as `visits`."""
        ...

    def count(self, patient: str, types: Collection[str], language: str) -> int:
        """Count the patient's records of some FHIR types."""
        ...

    def types(self) -> Collection[str]:
        """List the FHIR types of which a patient may have records."""
        ...

    def one(self, patient: str, type_name: str, record_id: str, language: str) -> Opened:
        """Give a record; raises `NotFoundError` ``page.unknown`` for one that is not the patient's."""
        ...

    def proof(self, patient: str, type_name: str, record_id: str, language: str) -> bytes:
        """Give a record's proof bundle (zip); raises as `one`."""
        ...

    def references(self, patient: str, language: str, visit: str = "") -> Sequence[str]:
        """List all that a patient has now, by type and id, what was registered later first.

        Args:
            patient: whose records.
            language: of refusals.
            visit: id of the Encounter whose records alone are listed, itself left out; empty for all.
        """
        ...

    def bundle(self, patient: str, references: Iterable[str], language: str) -> Iterator[bytes]:
        """Give records as a FHIR Bundle, each with what the ledger says of its versions, the proof in it.

        However long it takes, nothing is kept open meanwhile: each record is read when it is written.

        Args:
            patient: whose they are.
            references: of the records, ``TYPE/ID``.
            language: of what is said in it.

        Returns:
            The Bundle piece by piece, the first with the first record; one that breaks off is no JSON. A later record
            that is there no more when its turn comes is an OperationOutcome that says so.

        Raises:
            NotFoundError: ``page.unknown`` for a first one that is not the patient's.
            UnavailableError: ``page.broken_off`` for one that cannot be read or proven.
        """
        ...

    def looks(self, patient: str, since: int, language: str) -> Sequence[Look]:
        """Give who of this organisation looked since a time (Unix seconds), the newest first."""
        ...

    def staff(self, patient: str, reference: str, language: str) -> str:
        """Name one of this organisation's staff to a patient; as it is referred to where it has no name here."""
        ...

    def entered(self, patient: str) -> Collection[str]:
        """Give the ids of events and refusals that are entered in the patient's list under a final root."""
        ...

    def looks_proof(self, patient: str, language: str) -> bytes:
        """Give the proof of the patient's list of looks (zip); raises as `medchain.node.looks.looks_proof`."""
        ...

    def concerning(self, patient: str, interaction: str) -> AbstractContextManager[list[int]]:
        """Keep on the audit that the patient's concerns are seen, or one is made or changed.

        Args:
            patient: id of the Patient.
            interaction: ``search``, ``create`` or ``update``.

        Returns:
            A list for the numbers of the versions that were seen or made. It raises `UnavailableError` where nothing
            can be kept, and then nothing may be changed or shown.
        """
        ...

    def concern_proof(self, record_id: str) -> bytes:
        """Give the proof of the newest version of a concern (zip); whose it is was looked at before.

        Raises:
            NotFoundError: ``concern.unknown``.
            MedchainError: as `medchain.node.proofs.record_proof`; ``trace.not_final`` while it has no entry.
        """
        ...


class Local(Protocol):
    """Calls the daemon; `medchain.node.local.LocalClient`."""

    def call(self, operation: str, document: Json, limits: Limits | None = None) -> Json:
        """Have the daemon do something."""
        ...


class Links(Protocol):
    """What the records file knows of a patient; `medchain.store.records.RecordStore`."""

    def subjects_of(self, patient: str) -> list[bytes]:
        """Return the map keys of a patient's subject objects."""
        ...

    def patient_of(self, subject: bytes) -> str | None:
        """Return the keyed token of a subject's patient, None if the subject is not known here."""
        ...

    def accesses(self, patient: str) -> list[Access]:
        """Return what is noted of releases and refusals."""
        ...
