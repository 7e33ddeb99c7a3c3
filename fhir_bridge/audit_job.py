"""Makes AuditEvents of what the audit's journals hold: in the daemon, and before an answer that tells of them.

In two steps, since only the first must be soon: `take` puts the events of many frames under one seal and one anchor,
for a few microseconds each; `place` gives them the rows by which they are found, which costs several times as much and
waits for a quieter moment, for whoever asks for AuditEvents (`catch_up`), or until much has gathered.

Keeps true: each frame becomes one AuditEvent, once: how far a journal was read is stored together with the events made
of it, and an event's id is its frame's place; a journal is removed only when all of it is stored. One process works at
a time. It yields to those who serve: small transactions, and as much rest as work. Trusts `medchain.store.journal` to
find what is damaged, which is told and kept.
Source: `docs/spec/audit.md`, `docs/spec/journal.md`, `docs/spec/segment.md`.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple

import orjson

from fhir_bridge.audit import BEGUN, Happening, journal_key, journals, read_frame
from fhir_bridge.audit_events import Version, audit_event
from fhir_bridge.document import write
from fhir_bridge.references import with_identity
from medchain.errors import ConflictError, InputError, UnavailableError, VerificationError
from medchain.node.clock import Clock
from medchain.node.log import Log
from medchain.node.records import RecordService
from medchain.store.journal import SUFFIX, Frame, Place, names, read, read_all, remove
from medchain.store.records import RecordStore, RecordVersion
from medchain.store.versions import VersionReader

BATCH: Final = 500
"""Most frames of one segment."""

PERIOD_S: Final = 1.0
"""How often the events of new frames are sealed."""

QUIET: Final = 300
"""So many frames in a period leave time to place events."""

MAX_WAITING: Final = 500_000
"""Most events that wait to be placed, whatever else there is to do."""

PATIENCE_S: Final = 20.0
"""How long somebody who asks for AuditEvents waits for all of them to be placed."""

_TYPE: Final = "AuditEvent"
_OPEN: Final = "open"
_LOCK: Final = "drain.lock"
_NICE: Final = 10
_LAST_STEPS: Final = 20
_PATIENTS: Final = 4096
_TRIED: Final = 16
_LOG: Final = Log("audit")


class AuditDrain:
    """Moves frames from journals to records. Threads and processes may share a folder."""

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
        self._store = store
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
                self.round(end, began + PERIOD_S)
            except Exception as error:  # noqa: BLE001  # the audit of all processes goes on, whatever one frame holds
                _LOG.error("audit.waits", error)
            end.wait(max(0.0, began + PERIOD_S - time.monotonic()))
        # What was written until now is not left for the next start, as far as there is time.
        for _ in range(_LAST_STEPS):
            if not self.take():
                break

    def catch_up(self) -> None:
        """Place the events of all that happened until now.

        Raises:
            UnavailableError: ``audit.behind`` where that takes longer than `PATIENCE_S`; what was done is done, and
                another call goes on.
        """
        until = time.monotonic() + PATIENCE_S
        while self.step():
            if time.monotonic() > until:
                raise UnavailableError("audit.behind", retry_after_s=int(PATIENCE_S))

    def step(self) -> int:
        """Take one batch of each journal, and place one segment; returns how many frames or events it were."""
        return self.take() + self.place()

    def take(self) -> int:
        """Take at most one batch of each journal; returns how many frames were taken."""
        with self._alone():
            return sum(self._tried(name) for name in names(self._folder) if name not in self._damaged)

    def place(self) -> int:
        """Give the events of the oldest segment that has none the rows by which they are found; returns how many."""
        with self._alone():
            for segment in self._store.waiting_segments(_TRIED):
                try:
                    return self._place(segment)
                except ConflictError as error:
                    # One that must wait keeps no other waiting.
                    _LOG.error("audit.waits", error, segment=segment.seq)
        return 0

    def round(self, end: Event, until: float) -> None:
        """Seal what is new, and place events where there is time.

        Args:
            end: tells to stop.
            until: how long events are placed, as `time.monotonic` has it.
        """
        taken = 0
        while (some := self.take()) and not end.is_set():
            taken += some
        if taken > QUIET and self._store.waiting_parts() < MAX_WAITING:
            return
        while time.monotonic() < until and not end.is_set():
            began = time.monotonic()
            if not self.place():
                return
            end.wait(min(time.monotonic() - began, PERIOD_S))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and processes from taking the same."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _place(self, segment: RecordVersion) -> int:
        """Place the events of a segment."""
        contents = self._service.parts_of(segment).contents
        self._service.place_parts(segment, [(_TYPE, str(orjson.loads(one)["id"])) for one in contents])
        return len(contents)

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
        unit = self._reader.newest_unit(prefix)
        try:
            if unit is not None and unit.startswith(f"{prefix}{_OPEN}/"):
                return self._end(prefix, name, int(unit.rpartition("/")[2]))
            return self._go_on(prefix, name, _place(unit))
        except (InputError, VerificationError) as error:
            self._damaged.add(name)
            _LOG.error("audit.damaged", error, file=name)
            return 0

    def _go_on(self, prefix: str, name: str, place: Place) -> int:
        """Store the events of the next frames of a journal that tell of any; returns how many."""
        while (found := read(self._folder, name, self._key, place, BATCH)).frames:
            told = [one for one in map(_told, found.frames) if one.happening.status != BEGUN]
            place = found.frames[-1].place
            if told:
                return self._seal(told, f"{prefix}{place.offset:012d}/{place.number:012d}")
        if not found.is_ended:
            return 0
        if found.torn:
            _LOG.warning("audit.torn", file=name, bytes=found.torn)
        return self._finish(prefix, name) if found.is_closed else self._end(prefix, name, -1)

    def _end(self, prefix: str, name: str, after: int) -> int:
        """Store the events of what was begun in a journal and never ended, from a frame on; returns how many."""
        told = [one for one in self._left_open(name) if one.number > after][:BATCH]
        return self._seal(told, f"{prefix}{_OPEN}/{told[-1].number:012d}") if told else self._finish(prefix, name)

    def _left_open(self, name: str) -> list[_Told]:
        """List what was begun in a journal and never ended."""
        begun: dict[int, _Told] = {}
        for one in map(_told, read_all(self._folder, name, self._key)):
            if one.happening.status == BEGUN:
                begun[one.number] = one
            elif one.happening.begun is not None:
                begun.pop(one.happening.begun, None)
        return list(begun.values())

    def _seal(self, told: Sequence[_Told], unit: str) -> int:
        """Store some events as one segment, and how far they go; returns how many."""
        journal = unit.split("/")[1]
        known = self._versions(number for one in told for number in one.happening.numbers)
        ids = [f"{journal}.{one.number}" for one in told]
        events = [self._event(name, one.happening, known) for name, one in zip(ids, told, strict=True)]
        self._service.create_segment(ids[0], events, unit=unit)
        return len(told)

    def _event(self, record_id: str, happening: Happening, known: dict[int, Version]) -> bytes:
        """Make the event of one frame."""
        touched = [known[number] for number in happening.numbers if number in known]
        event = audit_event(happening, touched, self._organisation)
        return write(with_identity(event, record_id, 1, self._clock()))

    def _versions(self, numbers: Iterable[int]) -> dict[int, Version]:
        """Name record versions."""
        found: dict[int, Version] = {}
        for row in self._reader.named(sorted(set(numbers))):
            patient = "" if row.patient == self._nobody else self._patient(row.patient) or ""
            found[row.number] = Version(row.type, row.id, row.version, patient)
        return found

    def _finish(self, prefix: str, name: str) -> int:
        """Remove a journal of which all is stored; returns that nothing was left to store."""
        # First the file: forgotten before that, it would be taken again.
        remove(self._folder, name)
        self._reader.forget_units(prefix)
        return 0


class _Told(NamedTuple):
    """What a frame tells, and its number in its file."""

    number: int
    happening: Happening


def _told(frame: Frame) -> _Told:
    """Read a frame; raises as `read_frame`."""
    return _Told(frame.place.number - 1, read_frame(frame.content))


def _place(unit: str | None) -> Place:
    """Tell where a journal goes on."""
    if unit is None:
        return Place()
    _, _, offset, number = unit.split("/")
    return Place(int(offset), int(number))
