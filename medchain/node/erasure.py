"""Erasure: a patient's keys are destroyed, for ever, and the ledger is to be told of it.

Keeps true: all keys of a patient, what waits to be done about the patient, the note that they are gone and the intent
to tell the ledger change together or not at all, never under a legal lock. The rest is the daemon's
(`medchain.node.erasure_job`). Trusts the operator for who the patient is.
Source: `docs/spec/keys.md` 10, `docs/spec/consent.md` 12.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from medchain.encoding import as_list, canonical, digest, members, parse_canonical, unhex
from medchain.errors import InputError, NotFoundError
from medchain.ledger.kinds.erasure import Erasure, read
from medchain.ledger.object import MAX_BODY_BYTES, Body, build_body
from medchain.ledger.transaction import HASH_BYTES, ID_BYTES
from medchain.node.clock import Clock
from medchain.node.records import RecordService
from medchain.store.keeping import Lock
from medchain.store.records import RecordStore

MAX_KEYS: Final = 256
"""Most keys of one erasure: what its content lists."""

_MAX_INTENT_BYTES: Final = 2 * MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class Extent:
    """What an erasure would destroy.

    Attributes:
        records: how many records.
        versions: how many versions of them.
        keys: how many keys.
        lock: that keeps it from being done, None without one in force.
    """

    records: int
    versions: int
    keys: int
    lock: Lock | None


@dataclass(frozen=True, slots=True)
class Erased:
    """What was destroyed.

    Attributes:
        extent: how much.
        object_id: of the erasure's object on the ledger, 16 bytes.
        intent: its number in the outbox; it leaves once the entry is final.
        keys: ids of the keys.
    """

    extent: Extent
    object_id: bytes
    intent: int
    keys: tuple[bytes, ...]


def epoch_hash(epoch_id: bytes) -> bytes:
    """Name a key in an erasure's content so that nobody else learns anything of it: 32 bytes."""
    return digest("medchain/erased-epoch/v1", epoch_id)


class Eraser:
    """Destroys the keys of patients of one organisation. Any process that opens the records file may."""

    __slots__ = ("_clock", "_org_id", "_random", "_records", "_service")

    def __init__(
        self, org_id: str, records: RecordStore, service: RecordService, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        """Prepare.

        Args:
            org_id: this organisation.
            records: the records file.
            service: knows the patients' tokens.
            clock: gives Unix seconds.
            random: gives as many unpredictable bytes as it is asked for.
        """
        self._org_id = org_id
        self._records = records
        self._service = service
        self._clock = clock
        self._random = random

    def extent(self, patient: str) -> Extent:
        """Tell what an erasure would destroy.

        Args:
            patient: local id of the patient.

        Raises:
            NotFoundError: ``erasure.nothing`` where nothing is sealed under a key of that patient.
        """
        token = self._service.patient_token(patient)
        keys = self._records.living_epochs(token)
        if not patient or not keys:
            raise NotFoundError("erasure.nothing")
        lock = self._records.lock(token)
        is_locked = lock is not None and lock.is_in_force(self._clock())
        return Extent(*self._records.count_of(token), len(keys), lock if is_locked else None)

    def erase(self, patient: str, reason: str) -> Erased:
        """Destroy all keys of a patient; nothing can open what they sealed once this returns.

        Args:
            patient: local id of the patient.
            reason: why, 1–200 characters; it names nobody.

        Returns:
            What was destroyed. The ledger's entry is the daemon's to make.

        Raises:
            InputError: ``content.*`` for a reason of another length; ``erasure.too_many`` keys.
            NotFoundError: ``erasure.nothing``.
            ConflictError: ``erasure.locked``; ``erasure.moved_on`` if a key was drawn meanwhile: ask again.
        """
        extent, token, now = self.extent(patient), self._service.patient_token(patient), self._clock()
        keys = self._records.living_epochs(token)
        if len(keys) > MAX_KEYS:
            raise InputError("erasure.too_many", keys=len(keys))
        content = Erasure(self._org_id, tuple(sorted(map(epoch_hash, keys))), reason, now)
        read(content.to_content())
        object_id = self._random(ID_BYTES)
        body = build_body("erasure", content.to_content(), None, self._random)
        # Who is enrolled anew later is not meant.
        subjects = tuple(self._records.subjects_of(token))
        intent = ErasureIntent(object_id, body, token, tuple(keys), subjects)
        names = (patient, f"Patient/{patient}", *(subject.hex() for subject in subjects))
        number = self._records.erase_patient(token, keys, now, intent.encode(), names)
        return Erased(extent, object_id, number, intent.keys)


@dataclass(frozen=True, slots=True)
class ErasureIntent:
    """An erasure that the ledger is to be told of.

    Attributes:
        object_id: of its object, 16 bytes.
        body: whole; its salts are drawn once, so that the entry can be made once only.
        patient: keyed token.
        keys: ids of the keys that were destroyed.
        subjects: map keys of the patient's subject objects.
    """

    object_id: bytes
    body: Body
    patient: str
    keys: tuple[bytes, ...]
    subjects: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Write it for the outbox."""
        return canonical(
            {
                "body": self.body.to_json(),
                "id": self.object_id.hex(),
                "keys": [key.hex() for key in self.keys],
                "patient": self.patient,
                "subjects": [key.hex() for key in self.subjects],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> ErasureIntent:
        """Read what `encode` wrote; raises `InputError`."""
        shape = {"body": dict, "id": str, "keys": list, "patient": str, "subjects": list}
        top = members(parse_canonical(data, max_bytes=_MAX_INTENT_BYTES), shape)
        return cls(
            unhex(top["id"], ID_BYTES),
            Body.from_json(top["body"]),
            str(top["patient"]),
            tuple(unhex(key, ID_BYTES) for key in as_list(top["keys"])),
            tuple(unhex(key, HASH_BYTES) for key in as_list(top["subjects"])),
        )


def forget_told(records: RecordStore, erasure: ErasureIntent) -> None:
    """Destroy what an erased patient was told and asked for, and what was said of claims; again changes nothing."""
    records.drop_notices(erasure.subjects, (erasure.patient,))
    records.drop_asks(erasure.patient)
    records.drop_disputes(erasure.patient)
    records.drop_cases(erasure.patient)
