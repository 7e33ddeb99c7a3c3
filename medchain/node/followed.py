"""What is known of all of a patient's records together, kept up record by record: each version is opened once.

Keeps true: what is told is of the records as they are now, and of none that has become another patient's; nothing is
looked at before somebody asks for that patient; who asks for one patient waits for nobody who asks for another. Trusts
the records file for whose records they are.
Source: `docs/spec/consent.md` C4, D13.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

from medchain.errors import NotFoundError
from medchain.node.records import RecordService
from medchain.store.consents import ConsentRows
from medchain.store.records import RecordStore, RecordVersion

_PAGE: Final = 200


class Kept(Protocol):
    """What is kept of a patient's records."""

    def take(self, row: RecordVersion, content: bytes) -> None:
        """Take over a version of a record: its FHIR JSON, which is empty where there is none any more."""
        ...


Known = TypeVar("Known", bound=Kept)


@dataclass(slots=True)
class _Following(Generic[Known]):
    """What is kept of a patient.

    Attributes:
        known: it.
        upto: number of the last of the patient's record versions that was looked at.
        seen: number of the last version of anybody's when it was looked at last.
        left: records that were the patient's, and became another's since.
        turn: who looks now.
    """

    known: Known
    upto: int = 0
    seen: int = -1
    left: set[tuple[str, str]] = field(default_factory=set)
    turn: Lock = field(default_factory=Lock)


class Followed(Generic[Known]):
    """Follows what is stored of patients. Threads may share it."""

    __slots__ = ("_lock", "_make", "_most", "_patients", "_read", "_records", "_rows", "_service", "_upto")

    def __init__(
        self,
        records: RecordStore,
        service: RecordService,
        make: Callable[[], Known],
        read: Callable[[RecordVersion], bytes],
        most: int,
    ) -> None:
        """Use a node's records.

        Args:
            records: the records file.
            service: knows whose records are nobody's.
            make: makes what is kept of a patient of whom nothing is known yet.
            read: opens a version; nothing for a deletion.
            most: patients that are remembered.
        """
        self._records = records
        self._rows = ConsentRows(records.database)
        self._service = service
        self._make = make
        self._read = read
        self._most = most
        self._patients: OrderedDict[str, _Following[Known]] = OrderedDict()
        self._lock = Lock()
        self._upto = -1

    @contextmanager
    def of(self, patient: str) -> Iterator[Known]:
        """Tell what is kept of a patient (keyed token), for as long as nobody changes it; nothing of nobody.

        Within it nobody may ask for the same patient again.

        Raises:
            VerificationError: a record of the patient is damaged: what it says nobody knows.
        """
        following = self._following(patient)
        with following.turn:
            if patient != self._service.patient_token(""):
                self._catch_up(patient, following)
            yield following.known

    def _following(self, patient: str) -> _Following[Known]:
        """Find what is kept of a patient, or begin; who is forgotten for it is read anew when somebody asks."""
        with self._lock:
            following = self._patients.setdefault(patient, _Following(self._make()))
            self._patients.move_to_end(patient)
            if len(self._patients) > self._most:
                self._patients.popitem(last=False)
        return following

    def _catch_up(self, patient: str, following: _Following[Known]) -> None:
        """Take over what was stored since the last look, if anything was."""
        newest = self._rows.newest()
        if newest == following.seen:
            return
        self._note_left(newest)
        self._drop_left(patient, following)
        while page := self._records.by_patient(patient, after=following.upto, limit=_PAGE):
            for row in page:
                try:
                    content = self._read(row)
                except NotFoundError:
                    content = b""
                following.known.take(row, content)
                following.upto = row.seq
        following.seen = newest

    def _note_left(self, newest: int) -> None:
        """Note, up to a number, which records have become another patient's since the last look at all of them."""
        with self._lock:
            # Before the first look nothing is known of anybody.
            for row in self._rows.left(self._upto, newest) if self._upto >= 0 else ():
                if row.patient in self._patients:
                    self._patients[row.patient].left.add((row.type, row.id))
            self._upto = max(self._upto, newest)

    def _drop_left(self, patient: str, following: _Following[Known]) -> None:
        """Forget the records that are not the patient's any more."""
        with self._lock:
            left, following.left = following.left, set()
        for name in left:
            newest = self._records.get(*name)
            # It may have come back.
            if newest is not None and newest.patient != patient:
                following.known.take(newest, b"")
