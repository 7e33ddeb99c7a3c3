"""What a record version tells whoever decides about it, of itself and of the records that it stands beside.

Keeps true: what is decided about a Binary is decided about the record of its security context as well, and about the
records of the same patient that have it as an attachment; what is decided about a Provenance, about the records that it
is of; as those are now, for whoever asks, here or at another organisation; of what is gone or cannot be opened nothing
is told. Trusts the records file for whose records they are.
Source: FHIR R4 Binary.securityContext, Attachment.url, Provenance.target; `docs/spec/consent.md` C4,
`docs/spec/release.md` 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Final, TypeAlias

import orjson

from medchain.encoding import objects_in
from medchain.errors import NotFoundError, VerificationError
from medchain.ledger.kinds.content import Period
from medchain.node.event_time import event_span
from medchain.node.followed import Followed
from medchain.node.identified import Identifiers
from medchain.node.naming import unquoted
from medchain.node.records import RecordService
from medchain.store.records import RecordStore, RecordVersion

BINARY: Final = "Binary"
"""The resource type whose content is no FHIR."""

PROVENANCE: Final = "Provenance"
"""The resource type that tells of other records that they are there, and whose work they are."""

DEPENDENT: Final = frozenset({BINARY, PROVENANCE})
"""Types of which a record is judged by others as well."""

_PATIENT: Final = "Patient"
_MAX_PATIENTS: Final = 4096
_NAMED: Final = b"Binary"
# Whatever the base, and whatever follows (a version, `?_format=`, `#page=`): what a record means elsewhere keeps back
# one record too many here, never one too few.
_ATTACHED: Final = re.compile(r"\bBinary/([A-Za-z0-9\-.]{1,64})(?![A-Za-z0-9\-.])")
_LOCAL: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a record.

    Attributes:
        type: its FHIR type.
        content: FHIR JSON; None where nothing more is known of it.
        span: when what it tells of happened; None where nobody can tell.
        meant: the records that it means by identifiers (`medchain.node.identified`).
    """

    type: str
    content: bytes | None
    span: Period | None
    meant: frozenset[str] = frozenset()


_Name: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class _Attached:
    """What a patient's records have as attachments.

    Attributes:
        binaries: a record's type and id → ids of the Binaries.
    """

    binaries: dict[_Name, set[str]] = field(default_factory=dict)

    def take(self, row: RecordVersion, content: bytes) -> None:
        """Take over a version of a record."""
        name = row.type, row.id
        self.binaries.pop(name, None)
        binaries = attached_in(orjson.loads(content)) if _NAMED in content else set()
        if binaries:
            self.binaries[name] = binaries


class Attachments:
    """Knows which records have a Binary as an attachment, wherever it stands in them. Threads may share it.

    An Attachment may stand in an extension or a contained resource of any type, so that all types are looked at: each
    version once, when a Binary of its patient is asked for.
    """

    __slots__ = ("_patients", "_records")

    def __init__(self, records: RecordStore, service: RecordService) -> None:
        """Use a node's records.

        Args:
            records: the records file.
            service: opens them.
        """

        def read(row: RecordVersion) -> bytes:
            return b"" if row.type == BINARY else said(service, row)

        self._patients = Followed(records, service, _Attached, read, _MAX_PATIENTS)
        self._records = records

    def holders(self, binary: RecordVersion) -> list[RecordVersion]:
        """List the records of a Binary's patient that have it as an attachment, as they are now.

        Raises:
            VerificationError: a record of the patient is damaged: what it has nobody knows.
        """
        with self._patients.of(binary.patient) as known:
            names = [name for name, binaries in known.binaries.items() if binary.id in binaries]
        rows = (self._records.get(*name) for name in names)
        return [row for row in rows if row is not None and row.patient == binary.patient]


class Telling:
    """Tells of the records of a node."""

    __slots__ = ("_attachments", "_identifiers", "_records", "_service")

    def __init__(self, records: RecordStore, service: RecordService) -> None:
        """Use a node's records.

        Args:
            records: the records file.
            service: opens them.
        """
        self._records = records
        self._service = service
        self._attachments = Attachments(records, service)
        self._identifiers = Identifiers(records, service)

    def referring(self, patient: str) -> frozenset[_Name]:
        """List the records of a patient (keyed token) whose references what is stored of others may lead elsewhere.

        Raises:
            VerificationError: as `of`.
        """
        return self._identifiers.referring(patient)

    def meant(self, patient: str, content: bytes) -> frozenset[str]:
        """List what a record of a patient means by identifiers; as `Identifiers.meant`."""
        return self._identifiers.meant(patient, content)

    def meant_by(self, patient: str) -> dict[_Name, frozenset[str]]:
        """List what each record of a patient that names others by identifiers means; as `Identifiers.meant_by`."""
        return self._identifiers.meant_by(patient)

    def of(self, stored: RecordVersion, zone: tzinfo) -> tuple[Told, ...]:
        """Tell of a record version.

        Args:
            stored: as it is stored.
            zone: of dates that name none.

        Returns:
            What it says itself, then of a Binary the record that it stands beside, if there is one but the Patient, who
            says no more than whose it is, and the records whose attachment it is, and of a Provenance the records of
            this node that it is of. All of it has to pass. Nothing for a deletion.

        Raises:
            NotFoundError: ``record.erased`` and others of `RecordService.open`.
            VerificationError: it is damaged.
        """
        told = self._alone(stored, zone)
        if told is None or told.content is None:
            return () if told is None else (told,)
        if stored.type == BINARY:
            return (told, *self._around(stored, told.content, zone))
        if stored.type == PROVENANCE:
            targets = targets_in(orjson.loads(told.content))
            return (told, *(one for name in targets for one in self._target(*name, zone)))
        return (told,)

    def _alone(self, stored: RecordVersion, zone: tzinfo) -> Told | None:
        """Tell what a record version says itself; None for a deletion."""
        content = said(self._service, stored)
        if not content:
            # Beside a content that is no FHIR JSON nothing need be told; a deletion has no content at all.
            return None if stored.head is None else Told(stored.type, None, None)
        meant = self.meant(stored.patient, content)
        return Told(stored.type, content, event_span(content, stored.created, zone), meant)

    def _around(self, binary: RecordVersion, shell: bytes, zone: tzinfo) -> Iterator[Told]:
        """Tell of what a Binary depends on."""
        named = about_in(orjson.loads(shell))
        if named is not None and named[0] != _PATIENT:
            yield self._beside(*named, zone)
        for row in self._attachments.holders(binary):
            told = self._alone(row, zone)
            if told is not None:
                yield told

    def _target(self, type_name: str, record_id: str, zone: tzinfo) -> tuple[Told, ...]:
        """Tell of a record that a Provenance is of, as it is now; of a Binary with what that depends on itself."""
        if type_name != BINARY:
            return (self._beside(type_name, record_id, zone),)
        newest = self._records.get(type_name, record_id)
        try:
            told = () if newest is None else self.of(newest, zone)
        except (NotFoundError, VerificationError):
            told = ()
        return told or (Told(type_name, None, None),)

    def _beside(self, type_name: str, record_id: str, zone: tzinfo) -> Told:
        """Tell of a record as it is now; nothing of one that depends on others, or there might be no end."""
        newest = None if type_name in DEPENDENT else self._records.get(type_name, record_id)
        try:
            told = None if newest is None else self._alone(newest, zone)
        except (NotFoundError, VerificationError):
            told = None
        return told or Told(type_name, None, None)


def attached_in(document: object) -> set[str]:
    """List the ids of Binaries that a document names as an Attachment does, wherever in it."""
    urls = (one.get("url") for one in objects_in(document))
    return {name for url in urls if isinstance(url, str) for name in _ATTACHED.findall(unquoted(url))}


def targets_in(provenance: Mapping[str, object]) -> list[tuple[str, str]]:
    """List the records of this node that a Provenance is of, by type and id, each once."""
    targets = provenance.get("target")
    rows = [row.get("reference") for row in targets if isinstance(row, dict)] if isinstance(targets, list) else []
    found = [local_record(reference) for reference in rows if isinstance(reference, str)]
    return list(dict.fromkeys(name for name in found if name is not None))


def said(service: RecordService, stored: RecordVersion) -> bytes:
    """Open a version, of a Binary only what is told beside its data; nothing for a deletion. Errors as in `open`."""
    return service.open(stored).content if stored.head is None else service.head(stored).text


def context_of(shell: Mapping[str, object]) -> str:
    """Read the reference of a Binary's security context; empty for none."""
    context = shell.get("securityContext")
    reference = context.get("reference") if isinstance(context, dict) else None
    return reference if isinstance(reference, str) else ""


def local_record(reference: str) -> tuple[str, str] | None:
    """Name the record of this node that a reference names, by type and id; None for a reference of another form."""
    match = _LOCAL.fullmatch(reference)
    return None if match is None else (match[1], match[2])


def about_in(shell: Mapping[str, object]) -> tuple[str, str] | None:
    """Name the record of this node that a Binary's shell says it is about, by type and id; None for none."""
    return local_record(context_of(shell))
