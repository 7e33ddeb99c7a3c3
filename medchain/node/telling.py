"""What a record version tells whoever decides about it, of itself and of the record that it stands beside.

Keeps true: what is decided about a Binary is decided about the record of its security context as well, and about the
documents of the same patient that have it as their attachment, as those are now, for whoever asks, here or at another
organisation; of what is gone or cannot be opened nothing is told. Trusts the records file for whose records they are.
Source: FHIR R4 Binary.securityContext, Attachment.url; `docs/spec/consent.md` C4, `docs/spec/release.md` 7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

import orjson

from medchain.errors import NotFoundError, VerificationError
from medchain.ledger.kinds.content import Period
from medchain.node.event_time import event_span
from medchain.node.records import RecordService
from medchain.store.records import RecordStore, RecordVersion

BINARY: Final = "Binary"
"""The resource type whose content is no FHIR."""

_PATIENT: Final = "Patient"
_DOCUMENTS: Final = ("DiagnosticReport", "DocumentReference", "Media")
_PAGE: Final = 200
# Whatever the base: what a document means elsewhere keeps back one record too many here, never one too few.
_ATTACHED: Final = re.compile(r"(?:.*/)?Binary/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_LOCAL: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a record.

    Attributes:
        type: its FHIR type.
        content: FHIR JSON; None where nothing more is known of it.
        span: when what it tells of happened; None where nobody can tell.
    """

    type: str
    content: bytes | None
    span: Period | None


class Telling:
    """Tells of the records of a node, for one look at them: documents are as they were when a Binary first asked."""

    __slots__ = ("_attached", "_records", "_service")

    def __init__(self, records: RecordStore, service: RecordService) -> None:
        """Use a node's records.

        Args:
            records: the records file.
            service: opens them.
        """
        self._records = records
        self._service = service
        self._attached: dict[str, dict[str, list[RecordVersion]]] = {}

    def of(self, stored: RecordVersion, zone: tzinfo) -> tuple[Told, ...]:
        """Tell of a record version.

        Args:
            stored: as it is stored.
            zone: of dates that name none.

        Returns:
            What it says itself, then of the record that it stands beside, if there is one but the Patient, who says no
            more than whose it is, and of documents whose attachment it is. All of it has to pass. Nothing for a
            deletion.

        Raises:
            NotFoundError: ``record.erased`` and others of `RecordService.open`.
            VerificationError: it is damaged.
        """
        content = said(self._service, stored)
        if not content:
            # Beside a content that is no FHIR JSON nothing need be told; a deletion has no content at all.
            return () if stored.head is None else (Told(stored.type, None, None),)
        told = Told(stored.type, content, event_span(content, stored.created, zone))
        if stored.type != BINARY:
            return (told,)
        named = about_in(orjson.loads(content))
        beside = () if named is None or named[0] == _PATIENT else (self._beside(*named, zone),)
        documents = (one for row in self._documents(stored) for one in self.of(row, zone))
        return (told, *beside, *documents)

    def _beside(self, type_name: str, record_id: str, zone: tzinfo) -> Told:
        """Tell of a record as it is now."""
        newest = None if type_name == BINARY else self._records.get(type_name, record_id)
        try:
            told = () if newest is None else self.of(newest, zone)
        except (NotFoundError, VerificationError):
            told = ()
        return told[0] if told else Told(type_name, None, None)

    def _documents(self, binary: RecordVersion) -> list[RecordVersion]:
        """List the documents of a Binary's patient that have it as their attachment."""
        if binary.patient not in self._attached:
            self._attached[binary.patient] = self._attached_to(binary.patient)
        return self._attached[binary.patient].get(binary.id, [])

    def _attached_to(self, patient: str) -> dict[str, list[RecordVersion]]:
        """Find the documents of a patient (keyed token), by the ids of the Binaries that are their attachments."""
        found: dict[str, list[RecordVersion]] = {}
        after = 0
        while page := self._records.by_patient(patient, _DOCUMENTS, after=after, limit=_PAGE):
            after = page[-1].seq
            for row in page:
                try:
                    content = said(self._service, row)
                except NotFoundError:
                    continue
                for name in attached_in(orjson.loads(content)) if content else ():
                    found.setdefault(name, []).append(row)
        return found


def attached_in(document: object) -> set[str]:
    """List the ids of Binaries that are attachments of a document."""
    found: set[str] = set()
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            url = one.get("url")
            match = _ATTACHED.fullmatch(url) if isinstance(url, str) else None
            found.update(match.groups() if match is not None else ())
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return found


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
