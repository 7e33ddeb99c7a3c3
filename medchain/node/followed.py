"""What is known of all of a patient's records together, kept up record by record: each version is opened once.

Keeps true: what is told is of the records as they are now; nothing is looked at before somebody asks for that patient;
who asks for one patient waits for nobody who asks for another. Trusts the records file for whose records they are.
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
    """What is kept of a patient, the number of the last record version that was looked at, and who does that now."""

    known: Known
    upto: int = 0
    turn: Lock = field(default_factory=Lock)


class Followed(Generic[Known]):
    """Follows what is stored of patients. Threads may share it."""

    __slots__ = ("_lock", "_make", "_most", "_patients", "_read", "_records", "_service")

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
        self._service = service
        self._make = make
        self._read = read
        self._most = most
        self._patients: OrderedDict[str, _Following[Known]] = OrderedDict()
        self._lock = Lock()

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
        """Take over what was stored since the last look."""
        while page := self._records.by_patient(patient, after=following.upto, limit=_PAGE):
            for row in page:
                try:
                    content = self._read(row)
                except NotFoundError:
                    content = b""
                following.known.take(row, content)
                following.upto = row.seq
