"""Records of this node: sealed under a key of their own, committed to, and kept with the intent to anchor them.

Keeps true: each version has a fresh data key and salt; a version and its anchor intent are stored together or not at
all; all versions of a record share one random object id, which tells nothing of it; what is read was opened and its
commitment recomputed first. Trusts the store for atomic writes, and callers for having authorised the access.
Source: `docs/spec/record-envelope.md`, `docs/spec/keys.md` 6.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from medchain.crypto.aead import (
    HEADER_BYTES,
    MAX_WHOLE_BYTES,
    MIN_PADDED_BYTES,
    RecordContext,
    open_record,
    open_stream,
    seal_record,
    seal_stream,
)
from medchain.crypto.commitment import NO_FIELDS, SALT_BYTES, record_commitment, record_field_root
from medchain.crypto.keywrap import TAG_BYTES, Purpose, SecretBytes, WrappingKey, derive, random_key, wrap_aad
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.kinds.record import DELETED
from medchain.ledger.object import ACTIVE
from medchain.ledger.transaction import ID_BYTES
from medchain.node.clock import Clock
from medchain.store.records import Epoch, RecordStore, RecordVersion

FHIR_JSON: Final = "application/fhir+json"
"""Content type of records."""

FIELD_ROOT_TYPES: Final = frozenset(
    {
        "Claim",
        "Condition",
        "Coverage",
        "DiagnosticReport",
        "Encounter",
        "ExplanationOfBenefit",
        "Invoice",
        "MedicationRequest",
        "Procedure",
    }
)
"""Types whose commitment covers a field root: those that a claim may cite field by field."""

_EPOCH_ATTEMPTS: Final = 3
_EMPTY_BYTES: Final = HEADER_BYTES + MIN_PADDED_BYTES + TAG_BYTES


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record version to store.

    Attributes:
        type: FHIR resource type.
        id: FHIR id.
        content: its bytes, FHIR JSON as they are to be returned.
        patient: local id of the patient whose key seals it; empty for what concerns no patient.
        version: 1, or that of the newest version + 1.
        status: what the ledger shows of it: ``active`` or ``entered-in-error``.
    """

    type: str
    id: str
    content: bytes
    patient: str
    version: int = 1
    status: str = ACTIVE


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """A record version, opened and compared with its commitment.

    Attributes:
        stored: as it is stored.
        content: its bytes.
        salt: of the commitment, 32 secret bytes.
        field_root: 32 bytes, zeros for types without.
    """

    stored: RecordVersion
    content: bytes
    salt: bytes
    field_root: bytes


class RecordService:
    """Stores and opens records. Threads and processes may share the store."""

    __slots__ = ("_clock", "_field_root_types", "_key", "_ledger", "_store", "_token_key")

    def __init__(
        self,
        store: RecordStore,
        ledger: bytes,
        key: bytes,
        clock: Clock,
        *,
        field_root_types: Collection[str] = FIELD_ROOT_TYPES,
    ) -> None:
        """Prepare.

        Args:
            store: the records file.
            ledger: ledger id, 32 bytes.
            key: the node's records key, 32 bytes; wraps epoch keys.
            clock: gives Unix seconds.
            field_root_types: types whose commitment covers a field root.
        """
        self._store = store
        self._ledger = ledger
        self._key = WrappingKey(key)
        self._token_key = derive(key, "patient-token")
        self._clock = clock
        self._field_root_types = frozenset(field_root_types)

    def patient_token(self, patient: str) -> str:
        """Return the keyed token by which the store knows a patient; equal for equal ids, telling nothing of them."""
        return hmac.digest(self._token_key, patient.encode("utf-8", "surrogatepass"), "sha256").hex()

    def create(self, record: NewRecord) -> RecordVersion:
        """Store a record; arguments and errors as in `create_many`."""
        return self.create_many([record])[0]

    def create_many(self, records: Sequence[NewRecord], *, deadline: int | None = None) -> list[RecordVersion]:
        """Store records, first or later versions, all together.

        Args:
            records: each the first version of its record or the next one.
            deadline: when they should be anchored, Unix seconds.

        Returns:
            As they are stored; not anchored yet.

        Raises:
            InputError: ``fields.*`` for a type with a field root whose content is no FHIR JSON; ``record.content`` for
                an empty one.
            ConflictError: ``store.conflict`` if a version is there already or its predecessor is not; nothing is
                stored then.
            UnavailableError: see `RecordStore.put_versions`.
        """
        return self._store_all([(record, self.patient_token(record.patient)) for record in records], deadline)

    def update(self, record: NewRecord, *, expected: int | None = None) -> RecordVersion:
        """Store the next version of a record.

        Args:
            record: its ``version`` is not looked at.
            expected: version that must be the newest (If-Match); None for whichever is.

        Returns:
            As it is stored.

        Raises:
            NotFoundError: ``record.unknown``.
            ConflictError: ``record.version`` if another version is the newest.
        """
        newest = self._newest(record.type, record.id, expected)
        return self._follow(newest, replace(record, version=newest.version + 1), self.patient_token(record.patient))

    def delete(self, type_name: str, record_id: str, *, expected: int | None = None) -> RecordVersion:
        """Store an empty next version, which the ledger shows as deleted; earlier versions stay.

        Args:
            type_name: FHIR resource type.
            record_id: FHIR id.
            expected: version that must be the newest; None for whichever is.

        Returns:
            As it is stored; where the newest version is deleted already, that one.

        Raises:
            NotFoundError: ``record.unknown``.
            ConflictError: ``record.version``.
        """
        newest = self._newest(type_name, record_id, expected)
        if self.is_deleted(newest):
            return newest
        following = NewRecord(type_name, record_id, b"", "", newest.version + 1, DELETED)
        return self._follow(newest, following, newest.patient)

    def is_deleted(self, stored: RecordVersion) -> bool:
        """Tell whether a version is a deletion; errors as in `read`."""
        # The envelope of an empty content has one size, which only short contents share.
        return len(stored.envelope) == _EMPTY_BYTES and not self.open(stored).content

    def read(self, type_name: str, record_id: str, version: int | None = None) -> OpenedRecord:
        """Open a version of a record, the newest if none is named.

        Raises:
            NotFoundError: ``record.unknown``; ``record.deleted``; ``record.erased`` once its key was destroyed.
            VerificationError: ``record.commitment``, ``envelope.*``, ``keys.unwrap``.
        """
        stored = self._store.get(type_name, record_id, version)
        if stored is None:
            raise NotFoundError("record.unknown")
        opened = self.open(stored)
        if not opened.content:
            raise NotFoundError("record.deleted", version=stored.version)
        return opened

    def history(self, type_name: str, record_id: str) -> list[RecordVersion]:
        """Return all versions of a record, sealed, the newest first."""
        return self._store.history(type_name, record_id)

    def open(self, stored: RecordVersion) -> OpenedRecord:
        """Open a stored version, a deletion too, and compare it with its commitment; errors as in `read`."""
        return self.open_with(stored, self.data_key(stored))

    def open_with(self, stored: RecordVersion, data_key: bytes) -> OpenedRecord:
        """Open a version with its data key, such as one that another organisation released.

        Raises:
            VerificationError: ``record.commitment`` if salt and content are not what the commitment says,
                ``envelope.*``.
        """
        context = RecordContext(self._ledger, stored.object_id, stored.version, FHIR_JSON)
        salt, content = _opened(data_key, context, stored.envelope)
        root = self._field_root(stored.type, salt, content)
        if not hmac.compare_digest(record_commitment(salt, content, root), stored.commitment):
            raise VerificationError("record.commitment", version=stored.version)
        return OpenedRecord(stored, content, salt, root)

    def data_key(self, stored: RecordVersion) -> SecretBytes:
        """Unwrap the data key of a stored version, to open or to release it; errors as in `read`."""
        return self.data_keys([stored])[0]

    def data_keys(self, stored: Sequence[RecordVersion]) -> list[SecretBytes]:
        """Unwrap the data keys of many versions, each epoch key once; errors as in `read`."""
        wrapping: dict[bytes, WrappingKey] = {}
        for epoch_id in {row.epoch_id for row in stored}:
            epoch = self._store.epoch(epoch_id)
            if epoch is None or epoch.wrapped_key is None:
                raise NotFoundError("record.erased")
            wrapping[epoch_id] = self._wrapping(epoch)
        return [wrapping[row.epoch_id].unwrap(row.wrapped_dek, _data_aad(row.object_id, row.version)) for row in stored]

    def _newest(self, type_name: str, record_id: str, expected: int | None) -> RecordVersion:
        """Return the newest version of a record, which must be the one expected."""
        newest = self._store.get(type_name, record_id)
        if newest is None:
            raise NotFoundError("record.unknown")
        if expected is not None and newest.version != expected:
            raise ConflictError("record.version", expected=expected, newest=newest.version)
        return newest

    def _follow(self, newest: RecordVersion, record: NewRecord, token: str) -> RecordVersion:
        """Store the version after the newest."""
        try:
            return self._store_all([(record, token)], None)[0]
        except ConflictError as error:
            if error.fields.get("table") == "epoch":
                raise
            raise ConflictError("record.version", expected=newest.version) from error

    def _store_all(self, records: Sequence[tuple[NewRecord, str]], deadline: int | None) -> list[RecordVersion]:
        """Seal and store records, each with its patient's token."""
        if any(bool(record.content) == (record.status == DELETED) for record, _ in records):
            # An empty content is how a deletion is told from a record.
            raise InputError("record.content")
        payloads = [b"" if record.status == ACTIVE else record.status.encode("ascii") for record, _ in records]
        for attempt in range(_EPOCH_ATTEMPTS):
            rows = self._sealed(records, {token: self._epoch(token) for token in {token for _, token in records}})
            try:
                self._store.put_versions(rows, deadline=deadline, payloads=payloads)
            except ConflictError as error:
                # A key may have been destroyed since it was looked up: draw another.
                if error.fields.get("table") != "epoch" or attempt == _EPOCH_ATTEMPTS - 1:
                    raise
            else:
                return rows
        raise ConflictError("store.conflict", table="epoch")

    def _sealed(self, records: Sequence[tuple[NewRecord, str]], epochs: Mapping[str, Epoch]) -> list[RecordVersion]:
        """Seal records under their patients' keys."""
        now = self._clock()
        objects: dict[tuple[str, str], bytes] = {}
        wrapping = {token: self._wrapping(epoch) for token, epoch in epochs.items()}
        return [
            self._seal(record, self._object_id(record, objects), epochs[token], wrapping[token], now)
            for record, token in records
        ]

    def _seal(
        self, record: NewRecord, object_id: bytes, epoch: Epoch, wrapping: WrappingKey, now: int
    ) -> RecordVersion:
        """Seal one version."""
        data_key, salt = random_key(), secrets.token_bytes(SALT_BYTES)
        root = self._field_root(record.type, salt, record.content)
        context = RecordContext(self._ledger, object_id, record.version, FHIR_JSON)
        return RecordVersion(
            type=record.type,
            id=record.id,
            version=record.version,
            object_id=object_id,
            patient=epoch.patient,
            epoch_id=epoch.id,
            created=now,
            commitment=record_commitment(salt, record.content, root),
            wrapped_dek=wrapping.wrap(data_key, _data_aad(object_id, record.version)),
            envelope=_envelope(data_key, context, record.content, salt),
        )

    def _object_id(self, record: NewRecord, given: dict[tuple[str, str], bytes]) -> bytes:
        """Return the object id that all versions of a record share, a random one for a new record."""
        name = (record.type, record.id)
        if name not in given:
            before = None if record.version == 1 else self._store.get(record.type, record.id)
            given[name] = secrets.token_bytes(ID_BYTES) if before is None else before.object_id
        return given[name]

    def _field_root(self, type_name: str, salt: bytes, content: bytes) -> bytes:
        """Compute the field root, where the type has one; a deletion has no fields."""
        has_fields = content and type_name in self._field_root_types
        return record_field_root(salt, content) if has_fields else NO_FIELDS

    def _epoch(self, token: str) -> Epoch:
        """Return a patient's current key, or draw one."""
        for _ in range(_EPOCH_ATTEMPTS):
            newest = self._store.newest_epoch(token)
            if newest is not None and newest.wrapped_key is not None:
                return newest
            number = 1 if newest is None else newest.number + 1
            made = Epoch(
                secrets.token_bytes(ID_BYTES),
                token,
                number,
                self._clock(),
                self._key.wrap(random_key(), _epoch_aad(token, number)),
            )
            try:
                self._store.put_epoch(made)
            except ConflictError:
                # Another process drew it at the same moment: use that one.
                continue
            return made
        raise ConflictError("store.conflict", table="epoch")

    def _wrapping(self, epoch: Epoch) -> WrappingKey:
        """Open an epoch key."""
        wrapped = b"" if epoch.wrapped_key is None else epoch.wrapped_key
        return WrappingKey(self._key.unwrap(wrapped, _epoch_aad(epoch.patient, epoch.number)))


def _envelope(data_key: bytes, context: RecordContext, content: bytes, salt: bytes) -> bytes:
    """Seal a content, large ones as a stream."""
    if len(content) <= MAX_WHOLE_BYTES:
        return seal_record(data_key, context, content, salt)
    return b"".join(seal_stream(data_key, context, [content], salt))


def _opened(data_key: bytes, context: RecordContext, envelope: bytes) -> tuple[bytes, bytes]:
    """Open an envelope of either form; returns salt and content."""
    if envelope[4:5] == b"\1":
        salt, pieces = open_stream(data_key, context, [envelope])
        return salt, b"".join(pieces)
    return open_record(data_key, context, envelope)


def _epoch_aad(token: str, number: int) -> bytes:
    """Bind an epoch key to its patient and number."""
    return wrap_aad(Purpose.EPOCH, token.encode("ascii"), number.to_bytes(8, "big"))


def _data_aad(object_id: bytes, version: int) -> bytes:
    """Bind a data key to its record version."""
    return wrap_aad(Purpose.DATA, object_id, version.to_bytes(8, "big"))
