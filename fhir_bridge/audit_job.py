"""Makes AuditEvents of what the audit's journals hold, in the daemon.

Keeps true: each frame becomes one AuditEvent, once: how far a journal was read is stored together with the events made
of it, and an event's id is its frame's place; a journal is removed only when all of it is stored. It yields to those
who serve: small transactions, and as much rest as work. Trusts `medchain.store.journal` to find what is damaged, which
is told and kept.
Source: `docs/spec/audit.md`, `docs/spec/journal.md`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Event
from typing import Final

from fhir_bridge.audit import Happening, journal_key, journals, read_frame
from fhir_bridge.audit_events import Version, audit_event
from fhir_bridge.document import write
from fhir_bridge.references import with_identity
from medchain.errors import ConflictError, InputError, UnavailableError, VerificationError
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.records import NewRecord, RecordService
from medchain.store.journal import SUFFIX, Frame, Place, Reading, names, read, remove
from medchain.store.records import RecordStore
from medchain.store.versions import VersionReader

BATCH: Final = 100
"""Most frames of one transaction."""

POLL_S: Final = 0.5
"""How often journals are looked at when there is nothing to do."""

_TYPE: Final = "AuditEvent"
_NICE: Final = 10
_LAST_STEPS: Final = 20
_PATIENTS: Final = 4096
_LOG: Final = Log("audit")


class AuditDrain:
    """Moves frames from journals to records. One process at a time."""

    def __init__(
        self,
        folder: Path,
        records_key: bytes,
        store: RecordStore,
        service: RecordService,
        clock: Clock,
        organisation: str,
    ) -> None:
        """Prepare.

        Args:
            folder: the node's folder.
            records_key: the node's records key.
            store: the records file.
            service: stores records.
            clock: gives Unix seconds.
            organisation: id of this node's organisation.
        """
        self._folder = journals(folder)
        self._key = journal_key(records_key)
        self._service = service
        self._reader = VersionReader(store)
        self._clock = clock
        self._organisation = organisation
        self._nobody = service.patient_token("")
        self._patient = lru_cache(_PATIENTS)(self._reader.patient_id)
        self._damaged: set[str] = set()

    def run(self, end: Event) -> None:
        """Work until told to stop, behind those who serve."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not end.is_set():
            began = time.monotonic()
            try:
                count = self.step()
            except Exception as error:  # noqa: BLE001  # the audit of all processes goes on, whatever one frame holds
                _LOG.error("audit.waits", error)
                count = 0
            rest = time.monotonic() - began if count else POLL_S
            end.wait(min(rest, POLL_S))
        # What was written until now is not left for the next start, as far as there is time.
        for _ in range(_LAST_STEPS):
            if not self.step():
                break

    def step(self) -> int:
        """Take at most one batch of each journal; returns how many frames were taken."""
        return sum(self._tried(name) for name in names(self._folder) if name not in self._damaged)

    def _tried(self, name: str) -> int:
        """Take a batch of one journal; one that must wait keeps no other waiting."""
        try:
            return self._take(name)
        except (ConflictError, UnavailableError) as error:
            _LOG.error("audit.waits", error, file=name)
            return 0

    def _take(self, name: str) -> int:
        """Take a batch of one journal."""
        prefix = f"audit/{name.removesuffix(SUFFIX)}/"
        place = _place(self._reader.newest_unit(prefix))
        try:
            found = read(self._folder, name, self._key, place, BATCH)
            if found.frames:
                self._store(prefix, found.frames)
            elif found.is_ended:
                self._finish(prefix, found)
        except (InputError, VerificationError) as error:
            self._damaged.add(name)
            _LOG.error("audit.damaged", error, file=name)
            return 0
        return len(found.frames)

    def _store(self, prefix: str, frames: Sequence[Frame]) -> None:
        """Store the events of some frames, and how far they go."""
        journal = prefix.split("/")[1]
        happenings = [read_frame(frame.content) for frame in frames]
        known = self._versions(number for one in happenings for number in one.numbers)
        records = [
            self._record(f"{journal}.{frame.place.number - 1}", happening, known)
            for frame, happening in zip(frames, happenings, strict=True)
        ]
        last = frames[-1].place
        self._service.create_many(records, unit=f"{prefix}{last.offset:012d}/{last.number:012d}")

    def _record(self, record_id: str, happening: Happening, known: dict[int, Version]) -> NewRecord:
        """Make the record of one frame."""
        touched = [known[number] for number in happening.numbers if number in known]
        event = audit_event(happening, touched, self._organisation)
        content = write(with_identity(event, record_id, 1, self._clock()))
        return NewRecord(_TYPE, record_id, content, "")

    def _versions(self, numbers: Iterable[int]) -> dict[int, Version]:
        """Name record versions."""
        found: dict[int, Version] = {}
        for row in self._reader.named(sorted(set(numbers))):
            patient = "" if row.patient == self._nobody else self._patient(row.patient) or ""
            found[row.number] = Version(row.type, row.id, row.version, patient)
        return found

    def _finish(self, prefix: str, found: Reading) -> None:
        """Remove a journal of which all is stored."""
        if found.torn:
            _LOG.warning("audit.torn", file=found.name, bytes=found.torn)
        # First the file: forgotten before that, it would be taken again.
        remove(self._folder, found.name)
        self._reader.forget_units(prefix)


def _place(unit: str | None) -> Place:
    """Tell where a journal goes on."""
    if unit is None:
        return Place()
    _, _, offset, number = unit.split("/")
    return Place(int(offset), int(number))
