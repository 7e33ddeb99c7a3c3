"""Makes AuditEvents of what the audit's journals hold: in the daemon, and before an answer that tells of them.

In two steps, since only the first must be soon: `take` puts the events of many frames under one seal and one anchor,
for a few microseconds each; `place` gives them the rows by which they are found, which costs several times as much and
waits for a quieter moment, for whoever asks for AuditEvents (`catch_up`), or until much has gathered. Who asks while
much waits is told to come again, and the daemon hurries.

Keeps true: each frame becomes one AuditEvent, once: how far a journal was read is stored together with the events made
of it, and an event's id is its frame's place; a journal is removed only when all of it is stored. One process works at
a time. It yields to those who serve: small transactions, and as much rest as work. Trusts `medchain.store.journal` to
find what is damaged, which is told and kept.
Source: `docs/spec/audit.md`, `docs/spec/journal.md`, `docs/spec/segment.md`.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple

import orjson

from fhir_bridge.audit import BEGUN, Happening, journal_key, journals, read_frame
from fhir_bridge.audit_events import Version, audit_event
from fhir_bridge.document import write
from fhir_bridge.looks import looks_of
from fhir_bridge.references import with_identity
from medchain.errors import ConflictError, InputError, UnavailableError, VerificationError
from medchain.node.clock import Clock
from medchain.node.crowding import Crowding
from medchain.node.log import Log
from medchain.node.looks import pack_looks
from medchain.node.records import RecordService
from medchain.store.journal import SUFFIX, Frame, Place, names, read, read_all, remove, sizes
from medchain.store.records import RecordStore
from medchain.store.versions import VersionReader

BATCH: Final = 500
"""Most frames of one segment."""

PERIOD_S: Final = 1.0
"""How often the events of new frames are sealed."""

QUIET: Final = 300
"""So many frames in a period leave time to place events, where processors are free."""

CALM: Final = 30
"""So few leave time whatever else the machine does."""

VERSIONS: Final = 25
"""So many versions that events tell of take about as long to place as one more event: a large transaction's tells of
hundreds."""

CROWDED: Final = 0.2
"""Share of its time that this thread waits for a processor where none is free."""

MAX_WAITING: Final = 500_000
"""Most events that wait to be placed, whatever else there is to do."""

MAX_AT_ONCE: Final = 4_000
"""Most events that are taken or placed for somebody who asks for them, before the answer: about a second's work."""

WANTED_S: Final = 180
"""So long after somebody asked for more than that, the daemon places events whatever else there is to do: a minute
longer than anybody is told to wait until he asks again."""

PLACED_A_SECOND: Final = 2_000
"""So many the daemon places in a second then, on a slow machine: who waits is told when to come again."""

_TYPE: Final = "AuditEvent"
_OPEN: Final = "open"
_LOCK: Final = "drain.lock"
_WANTED: Final = "wanted"
_MAX_RETRY_S: Final = 120
_WHOLE: Final = sys.maxsize
_LAST_STEPS: Final = 20
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
        self._damaged: set[str] = set()

    def run(self, end: Event) -> None:
        """Work until told to stop.

        With the priority of those who serve: one that has the turn at writing has them wait for it.
        """
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
        """Place the events of all that happened until now; what happens meanwhile is waited for no longer.

        Raises:
            UnavailableError: ``audit.behind`` where more than `MAX_AT_ONCE` wait; the daemon is told to hurry.
        """
        _, is_all = self._take_present(lambda took: took.events >= MAX_AT_ONCE)
        waiting = self._store.waiting_parts()
        if not is_all or waiting > MAX_AT_ONCE:
            self._want()
            raise UnavailableError("audit.behind", retry_after_s=min(1 + waiting // PLACED_A_SECOND, _MAX_RETRY_S))
        while waiting > 0 and (placed := self.place()):
            waiting -= placed

    def take(self) -> int:
        """Take at most one batch of each journal; returns how many events were made."""
        return sum(one.events for one in self._take_of(None).values())

    def _take_present(self, is_enough: Callable[[_Took], bool]) -> tuple[_Took, bool]:
        """Take what was written until now, batch after batch.

        What is written meanwhile waits for another call: to seal a few costs a transaction and an anchor, as many do.

        Args:
            is_enough: tells, by what was taken so far, whether to leave the rest.

        Returns:
            What was taken of all journals, and whether that was all.
        """
        taken, aims = _Took(), sizes(self._folder)
        while aims and not is_enough(taken):
            took = self._take_of(aims)
            events = taken.events + sum(one.events for one in took.values())
            taken = _Took(events, versions=taken.versions + sum(one.versions for one in took.values()))
            aims = {name: aims[name] for name, one in took.items() if one.until < aims[name]}
        return taken, not aims

    def _take_of(self, chosen: Collection[str] | None) -> dict[str, _Took]:
        """Take at most one batch of some journals, or of each; one that is not there any more was taken whole."""
        with self._alone():
            there = [one for one in names(self._folder) if chosen is None or one in chosen]
            return {one: self._tried(one) for one in there if one not in self._damaged}

    def place(self) -> int:
        """Give some events of the oldest segment that waits the rows by which they are found; returns how many."""
        with self._alone():
            for segment in self._store.waiting_segments(_TRIED):
                try:
                    return self._service.place_parts(segment, _name)
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
        crowding = Crowding()
        taken, _ = self._take_present(lambda _: end.is_set())
        hurries = self._is_wanted()
        frames = taken.events + taken.versions // VERSIONS
        while time.monotonic() < until and not end.is_set():
            began = time.monotonic()
            if not (hurries or _has_time(frames, crowding) or self._store.waiting_parts() >= MAX_WAITING):
                return
            if not self.place():
                return
            if not hurries:
                end.wait(min(time.monotonic() - began, PERIOD_S))

    def _want(self) -> None:
        """Tell the daemon that somebody waits for events."""
        (self._folder / _WANTED).touch(mode=0o600)
        os.utime(self._folder / _WANTED, (self._clock(), self._clock()))

    def _is_wanted(self) -> bool:
        """Tell whether somebody has waited for events a short while ago."""
        try:
            return self._clock() - (self._folder / _WANTED).stat().st_mtime < WANTED_S
        except FileNotFoundError:
            return False

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and processes from taking the same."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _tried(self, name: str) -> _Took:
        """Take a batch of one journal; one that must wait keeps no other waiting."""
        try:
            return self._take(name)
        except (ConflictError, UnavailableError) as error:
            _LOG.error("audit.waits", error, file=name)
            return _Took()

    def _take(self, name: str) -> _Took:
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
            return _Took()

    def _go_on(self, prefix: str, name: str, place: Place) -> _Took:
        """Store the events of the next frames of a journal that tell of any."""
        while (found := read(self._folder, name, self._key, place, BATCH)).frames:
            told = [one for one in map(_told, found.frames) if one.happening.status != BEGUN]
            place = found.frames[-1].place
            if told:
                return self._seal(told, f"{prefix}{place.offset:012d}/{place.number:012d}", place.offset)
        if not found.is_ended:
            return _Took()
        if found.torn:
            _LOG.warning("audit.torn", file=name, bytes=found.torn)
        return self._finish(prefix, name) if found.is_closed else self._end(prefix, name, -1)

    def _end(self, prefix: str, name: str, after: int) -> _Took:
        """Store the events of what was begun in a journal and never ended, from a frame on."""
        told = [one for one in self._left_open(name) if one.number > after][:BATCH]
        if not told:
            return self._finish(prefix, name)
        return self._seal(told, f"{prefix}{_OPEN}/{told[-1].number:012d}", 0)

    def _left_open(self, name: str) -> list[_Told]:
        """List what was begun in a journal and never ended."""
        begun: dict[int, _Told] = {}
        for one in map(_told, read_all(self._folder, name, self._key)):
            if one.happening.status == BEGUN:
                begun[one.number] = one
            elif one.happening.begun is not None:
                begun.pop(one.happening.begun, None)
        return list(begun.values())

    def _seal(self, told: Sequence[_Told], unit: str, until: int) -> _Took:
        """Store some events as one segment, and how far they go."""
        journal = unit.split("/")[1]
        known = self._versions(number for one in told for number in one.happening.numbers)
        ids = [f"{journal}.{one.number}" for one in told]
        named = list(zip(ids, (one.happening for one in told), strict=True))
        touched = [[known[number] for number in one.numbers if number in known] for _, one in named]
        events = [self._event(name, one, of) for (name, one), of in zip(named, touched, strict=True)]
        looks = [look for (name, one), of in zip(named, touched, strict=True) for look in looks_of(name, one, of)]
        self._service.create_segment(ids[0], events, unit=unit, looks=pack_looks(looks))
        return _Took(len(told), until, sum(map(len, touched)))

    def _event(self, record_id: str, happening: Happening, touched: Sequence[Version]) -> bytes:
        """Make the event of one frame."""
        event = audit_event(happening, touched, self._organisation)
        return write(with_identity(event, record_id, 1, self._clock()))

    def _versions(self, numbers: Iterable[int]) -> dict[int, Version]:
        """Name record versions."""
        named = self._reader.named(sorted(set(numbers)))
        return {row.number: Version(row.type, row.id, row.version, row.patient or "") for row in named}

    def _finish(self, prefix: str, name: str) -> _Took:
        """Remove a journal of which all is stored: nothing was left to store."""
        # First the file: forgotten before that, it would be taken again.
        remove(self._folder, name)
        self._reader.forget_units(prefix)
        return _Took()


class _Took(NamedTuple):
    """What was taken of a journal.

    Attributes:
        events: how many were made.
        until: offset up to which the journal is taken; beyond every file where nothing more can be taken of it now.
        versions: of how many record versions the events tell, each event by itself.
    """

    events: int = 0
    until: int = _WHOLE
    versions: int = 0


class _Told(NamedTuple):
    """What a frame tells, and its number in its file."""

    number: int
    happening: Happening


def _has_time(taken: int, crowding: Crowding) -> bool:
    """Tell whether events may be placed after so many frames in a period, as the last moments were."""
    # Of how many come alone it does not show: a slow machine has no time for more, and gets slower by placing theirs.
    return taken <= QUIET and (taken <= CALM or crowding.share() <= CROWDED)


def _name(event: bytes) -> tuple[str, str]:
    """Tell type and id of an event."""
    return _TYPE, str(orjson.loads(event)["id"])


def _told(frame: Frame) -> _Told:
    """Read a frame; raises as `read_frame`."""
    return _Told(frame.place.number - 1, read_frame(frame.content))


def _place(unit: str | None) -> Place:
    """Tell where a journal goes on."""
    if unit is None:
        return Place()
    _, _, offset, number = unit.split("/")
    return Place(int(offset), int(number))
