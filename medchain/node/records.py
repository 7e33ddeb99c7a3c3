"""Records of this node: sealed under a key of their own, committed to, and kept with the intent to anchor them.

Keeps true: each version has a fresh data key and salt; a version and its anchor intent are stored together or not at
all; all versions of a record share one random object id, which tells nothing of it; what is read was opened and its
commitment recomputed first. What is too large for a row is sealed as it streams by, into a blob, and read so: its last
piece is held back until the whole was compared with its commitment. Trusts the store for atomic writes, and callers for
having authorised the access.
Longer than most files: whole and streamed records share keys, epochs and the moment at which they are stored.
Source: `docs/spec/record-envelope.md`, `docs/spec/keys.md` 6.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

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
from medchain.crypto.commitment import (
    NO_FIELDS,
    SALT_BYTES,
    ContentHash,
    commitment_of,
    record_commitment,
    record_field_root,
    root_of_fields,
    whole_digest,
)
from medchain.crypto.fields import document_fields
from medchain.crypto.keywrap import Purpose, SecretBytes, WrappingKey, derive, random_key, wrap_aad
from medchain.crypto.xchacha import TAG_BYTES
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.kinds.record import DELETED
from medchain.ledger.object import ACTIVE
from medchain.ledger.transaction import ID_BYTES
from medchain.node.clock import Clock
from medchain.node.segments import MEDIA_TYPE, pack, parts_root, unpack
from medchain.store.epochs import Epoch
from medchain.store.finding import Known
from medchain.store.index_rows import IndexRows
from medchain.store.looks import LookStep
from medchain.store.records import FHIR_JSON, NO_RESOURCES, SEGMENT, RecordStore, RecordVersion, Waiting
from medchain.store.steps import Steps, finished, in_thread
from medchain.store.versions import Found

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

MAX_OPENED_BYTES: Final = 64 << 20
"""Largest envelope that is opened into memory; larger ones are read as streams."""

EMPTY_BYTES: Final = HEADER_BYTES + MIN_PADDED_BYTES + TAG_BYTES
"""Size of the envelope of an empty content, which is that of a deletion, and of short contents."""

PLACED_AT_ONCE: Final = 128
"""Most parts of a segment that get rows in one transaction: all who write wait for it."""

_EPOCH_ATTEMPTS: Final = 3
_PARTS_KEPT: Final = 4
_PLACE_BYTES: Final = 4
_PASSING: Final = ("epoch", "index_state")
_SIZE_BYTES: Final = 8
_HEAD_PURPOSE: Final = "record-head"


class Parsed:
    """A document that is at hand parsed, until it has been used: it is ten times as large as its text.

    Attributes:
        tree: the document, a number as something whose `text` is as it was written; None once it has been used.
    """

    __slots__ = ("tree",)

    def __init__(self, tree: Mapping[str, Any]) -> None:  # Any: whatever JSON has
        """Hold a document; the argument is the attribute."""
        self.tree: Mapping[str, Any] | None = tree  # Any: as above


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
        content_type: media type of the content.
        head: what is told of a content that is no FHIR JSON beside it; empty for FHIR JSON.
        token: the patient's keyed token where only that is known, as for a deletion; empty to make it of `patient`.
        parts: of a segment, what its content consists of: the commitment covers them one by one.
        document: the content of FHIR JSON where it is at hand parsed; it is not parsed again then, and let go of as
            soon as the version is sealed. None where it is not.
        object_id: of its object on the ledger, where it is not a random one; empty for that.
        goes_with: local id of the patient with whose keys it goes though it is not that patient's record, of a type
            in `medchain.store.placing.BESIDE`; empty where it goes with whose record it is.
    """

    type: str
    id: str
    content: bytes
    patient: str
    version: int = 1
    status: str = ACTIVE
    content_type: str = FHIR_JSON
    head: bytes = b""
    token: str = ""
    parts: Sequence[bytes] = ()
    document: Parsed | None = field(default=None, compare=False)
    object_id: bytes = b""
    goes_with: str = ""

    @property
    def tree(self) -> Mapping[str, Any] | None:  # Any: whatever JSON has
        """The content of FHIR JSON as it is at hand parsed, None where it is not any more."""
        return None if self.document is None else self.document.tree


class RowMaker(Protocol):
    """Makes what records are found by; the FHIR floor fills it."""

    def refresh(self) -> None:
        """Take over what another process has made of the index."""
        ...

    def rows(self, type_name: str, resource: Mapping[str, Any]) -> IndexRows:
        """Make the rows of a resource.

        Args:
            type_name: FHIR resource type.
            resource: parsed (`Parsed`).
        """
        ...

    def rows_of(self, type_name: str, document: bytes) -> IndexRows:
        """Make the rows of a resource from its FHIR JSON.

        Args:
            type_name: FHIR resource type.
            document: the resource, or what is told of it (`NewRecord.head`).
        """
        ...


@dataclass(frozen=True, slots=True)
class NewStream:
    """A record version whose content comes in pieces and is no FHIR JSON.

    Attributes:
        type: FHIR resource type.
        id: FHIR id.
        content_type: media type of the content, ASCII.
        head: what is told of the content beside it; never empty.
        patient: keyed token of the patient whose key seals it, `RecordService.patient_token`.
        version: 1, or that of the newest version + 1.
    """

    type: str
    id: str
    content_type: str
    head: bytes
    patient: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class Head:
    """What is told of a content that is no FHIR JSON.

    Attributes:
        size: of the content, in bytes.
        text: what was given with it.
    """

    size: int
    text: bytes


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A record version that is read as a stream.

    Attributes:
        stored: as it is stored.
        salt: of the commitment, 32 secret bytes.
        pieces: the content. What came before an error must not be acted upon; the last piece comes only once the
            whole was compared with its commitment.
    """

    stored: RecordVersion
    salt: bytes
    pieces: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a proof shows of a content that it does not hold.

    Attributes:
        salt: of the commitment, 32 secret bytes.
        size: of the content, in bytes.
        sha256: of the content.
        field_root: 32 bytes, zeros for types without.
    """

    salt: bytes
    size: int
    sha256: bytes
    field_root: bytes


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


@dataclass(frozen=True, slots=True)
class Parts:
    """A segment, opened and compared with its commitment.

    Attributes:
        stored: the segment as it is stored.
        salt: of its commitment, 32 secret bytes.
        root: over its parts, 32 bytes.
        whole: digest of its whole content, 32 bytes.
        contents: its parts in their order.
    """

    stored: RecordVersion
    salt: bytes
    root: bytes
    whole: bytes
    contents: tuple[bytes, ...]


class _Given(NamedTuple):
    """A record version that is to be sealed.

    Attributes:
        record: what it says.
        token: keyed token of the patient whose record it is.
        keeper: of the patient whose key seals it.
    """

    record: NewRecord
    token: str
    keeper: str


class _Current(NamedTuple):
    """A patient's key of this moment.

    Attributes:
        epoch: as it is stored, or will be.
        wrapping: the key, opened.
        is_new: whether it is to be stored.
    """

    epoch: Epoch
    wrapping: WrappingKey
    is_new: bool


class RecordService:
    """Stores and opens records. Threads and processes may share the store.

    Attributes:
        notice_key: under which notices lie sealed, 32 secret bytes (`docs/spec/notice.md` 5).
    """

    __slots__ = (
        "_clock",
        "_field_root_types",
        "_index",
        "_key",
        "_ledger",
        "_opening",
        "_parts",
        "_store",
        "_token_key",
        "notice_key",
    )

    def __init__(
        self,
        store: RecordStore,
        ledger: bytes,
        key: bytes,
        clock: Clock,
        *,
        field_root_types: Collection[str] = FIELD_ROOT_TYPES,
        index: RowMaker | None = None,
    ) -> None:
        """Prepare.

        Args:
            store: the records file.
            ledger: ledger id, 32 bytes.
            key: the node's records key, 32 bytes; wraps epoch keys.
            clock: gives Unix seconds.
            field_root_types: types whose commitment covers a field root.
            index: makes what records are found by; None leaves that to the job that indexes what is not indexed yet.
        """
        self._index = index
        self._store = store
        self._ledger = ledger
        self._key = WrappingKey(key)
        self._token_key = derive(key, "patient-token")
        self.notice_key = derive(key, "notices")
        self._clock = clock
        self._field_root_types = frozenset(field_root_types)
        self._opening = threading.Lock()
        self._parts: dict[int, Parts] = {}

    def patient_token(self, patient: str) -> str:
        """Return the keyed token by which the store knows a patient; equal for equal ids, telling nothing of them."""
        return hmac.digest(self._token_key, patient.encode("utf-8", "surrogatepass"), "sha256").hex()

    def create(self, record: NewRecord) -> RecordVersion:
        """Store a record; arguments and errors as in `create_many`."""
        return self.create_many([record])[0]

    def creating_many(
        self,
        records: Sequence[NewRecord],
        *,
        deadline: int | None = None,
        unit: str | None = None,
        refused: bytes = b"",
        known: Sequence[Known] = (),
        looks: bytes | LookStep | None = None,
    ) -> Steps[list[RecordVersion]]:
        """Store records, first or later versions, all together; in steps, `create_many` does them all.

        Args:
            records: each the first version of its record or the next one.
            deadline: when they should be anchored, Unix seconds.
            unit: name of the import unit that is done with them; there may be no records in it.
            refused: what is noted with that name, of what was refused of the unit; `RecordStore.imported_unit`.
            known: what was found before and must be found still at the moment at which they are stored.
            looks: what of them is to be entered later, or the step to the root that they are (`docs/spec/looks.md`).

        Returns:
            As they are stored; not anchored yet.

        Raises:
            InputError: ``fields.*`` for a type with a field root whose content is no FHIR JSON; ``record.content`` for
                an empty one.
            ConflictError: ``store.conflict`` if a version is there already or its predecessor is not, or what is
                known is so no more; nothing is stored then.
            UnavailableError: see `RecordStore.put_versions`.
        """
        # Most of what is stored together is one patient's.
        tokens = {one: self.patient_token(one) for one in {record.patient for record in records}}
        return self._storing(
            [self._given(record, record.token or tokens[record.patient]) for record in records],
            deadline,
            None if unit is None else (unit, self._clock(), refused),
            known,
            looks,
        )

    create_many = in_thread(creating_many)

    def create_segment(self, record_id: str, parts: Sequence[bytes], *, unit: str, looks: bytes = b"") -> RecordVersion:
        """Store many small resources under one seal and one anchor.

        They are found and read once `place_parts` has given them rows.

        Args:
            record_id: id of the segment among segments.
            parts: FHIR JSON of first versions that concern no patient's key, see `medchain.node.segments.pack`.
            unit: name of the import unit that is done with them.
            looks: what they tell of who looked, to be entered later; empty for nothing.

        Returns:
            The segment as it is stored; not anchored yet.

        Raises:
            InputError: ``segment.parts``.
            ConflictError: as in `create_many`.
        """
        segment = NewRecord(SEGMENT, record_id, pack(parts), "", content_type=MEDIA_TYPE, parts=parts)
        return self.create_many([segment], unit=unit, looks=looks)[0]

    def parts_of(self, segment: RecordVersion) -> Parts:
        """Open a segment; errors as in `read`, and `VerificationError` ``segment.content``."""
        with self._opening:
            known = self._parts.get(segment.seq)
        if known is None:
            opened = self.open(segment)
            whole = whole_digest(opened.salt, opened.content)
            known = Parts(segment, opened.salt, opened.field_root, whole, unpack(opened.content))
            with self._opening:
                while len(self._parts) >= _PARTS_KEPT:
                    self._parts.pop(next(iter(self._parts)))
                self._parts[segment.seq] = known
        return known

    def place_parts(self, segment: RecordVersion, name_of: Callable[[bytes], tuple[str, str]]) -> int:
        """Give the next parts of a segment rows by which they are found and read, as many as nobody waits long for.

        Args:
            segment: as it is stored.
            name_of: tells type and id of a part.

        Returns:
            How many it were.

        Raises:
            ConflictError: ``store.conflict``, also where all have rows already.
        """
        contents = self.parts_of(segment).contents
        first = max(0, len(contents) - self._store.waiting_of(segment.seq))
        parts = contents[first : first + PLACED_AT_ONCE]
        named = [(place, *name_of(content)) for place, content in enumerate(parts, first)]
        rows = [
            RecordVersion(
                type=type_name,
                id=record_id,
                version=1,
                object_id=segment.object_id,
                patient=segment.patient,
                epoch_id=segment.epoch_id,
                created=segment.created,
                commitment=segment.commitment,
                wrapped_dek=b"",
                envelope=place.to_bytes(_PLACE_BYTES, "big"),
                segment=segment.seq,
            )
            for place, type_name, record_id in named
        ]
        for attempt in range(_EPOCH_ATTEMPTS):
            try:
                self._store.put_versions(
                    rows,
                    index=[
                        IndexRows(None) if self._index is None else self._index.rows_of(row.type, content)
                        for row, content in zip(rows, parts, strict=True)
                    ],
                    waiting=Waiting(segment.seq, len(contents) - first),
                )
            except ConflictError as error:
                self._pass(error, attempt)
            else:
                break
        return len(rows)

    def part_of(self, stored: RecordVersion) -> tuple[Parts, int]:
        """Open the segment of a part, and tell which of its parts it is; errors as in `parts_of`."""
        segment = None if stored.segment is None else self._store.numbered(stored.segment)
        if segment is None:
            raise NotFoundError("record.unknown")
        parts, place = self.parts_of(segment), int.from_bytes(stored.envelope, "big")
        if place >= len(parts.contents):
            raise _named(VerificationError("segment.content"), stored)
        return parts, place

    def create_stream(
        self, record: NewStream, pieces: Iterable[bytes], *, known: Sequence[Known] = ()
    ) -> RecordVersion:
        """Store a record of any size in constant memory.

        Args:
            record: the first version of a record or the next one.
            pieces: its content; what they raise is raised here, and nothing is stored.
            known: what was found before and must be found still at the moment at which it is stored.

        Returns:
            As it is stored; not anchored yet.

        Raises:
            InputError: ``record.content`` for an empty one.
            ConflictError: ``store.conflict`` as in `create_many`.
            UnavailableError: ``store.full`` and others.
        """
        beginning, rest = _beginning(iter(pieces))
        if not beginning:
            raise InputError("record.content")
        data_key, salt = random_key(), secrets.token_bytes(SALT_BYTES)
        object_id = self._object_id(record.type, record.id, record.version, {})
        context = RecordContext(self._ledger, object_id, record.version, record.content_type)
        counted = ContentHash()
        with ExitStack() as writing:
            if rest is None:
                counted.update(beginning)
                envelope, blob, size = seal_record(data_key, context, beginning, salt), None, None
            else:
                sealed = seal_stream(data_key, context, _counting(chain([beginning], rest), counted), salt)
                envelope, blob, size = self._write_blob(sealed, writing)
            row = RecordVersion(
                type=record.type,
                id=record.id,
                version=record.version,
                object_id=object_id,
                patient=record.patient,
                epoch_id=b"",
                created=self._clock(),
                commitment=commitment_of(counted.whole(salt), NO_FIELDS),
                wrapped_dek=b"",
                envelope=envelope,
                content_type=record.content_type,
                head=_sealed_head(data_key, context, Head(counted.size, record.head)),
                blob=blob,
                blob_size=size,
            )
            return self._put_stream(row, data_key, record.head, known)

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
        following = replace(record, version=newest.version + 1)
        return finished(self._following(newest, following, self.patient_token(record.patient)))

    def deleting(
        self, type_name: str, record_id: str, *, expected: int | None = None, known: Sequence[Known] = ()
    ) -> Steps[RecordVersion]:
        """Store an empty next version, which the ledger shows as deleted; earlier versions stay.

        In steps; `delete` does them all.

        Args:
            type_name: FHIR resource type.
            record_id: FHIR id.
            expected: version that must be the newest; None for whichever is.
            known: as in `create_many`.

        Returns:
            As it is stored; where the newest version is deleted already, that one.

        Raises:
            NotFoundError: ``record.unknown``.
            ConflictError: ``record.version``, also where what is known is so no more.
        """
        newest = self._newest(type_name, record_id, expected)
        if self.is_deleted(newest):
            return newest
        following = NewRecord(type_name, record_id, b"", "", newest.version + 1, DELETED)
        return (yield from self._following(newest, following, newest.patient, known))

    delete = in_thread(deleting)

    def is_deleted(self, stored: RecordVersion) -> bool:
        """Tell whether a version is a deletion; errors as in `read`."""
        # The envelope of an empty content has one size, which only short contents share.
        return len(stored.envelope) == EMPTY_BYTES and not self.open(stored).content

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

    def head(self, stored: RecordVersion) -> Head:
        """Open what is told of a content that is no FHIR JSON.

        Raises:
            NotFoundError: ``record.head`` for FHIR JSON; else as in `read`.
            VerificationError: ``envelope.*``, ``keys.unwrap``.
        """
        if stored.head is None:
            raise NotFoundError("record.head")
        context = RecordContext(self._ledger, stored.object_id, stored.version, stored.content_type)
        text = open_record(derive(self.data_key(stored), _HEAD_PURPOSE), context, stored.head)[1]
        return Head(int.from_bytes(text[:_SIZE_BYTES], "big"), text[_SIZE_BYTES:])

    def stream(self, stored: RecordVersion) -> OpenedStream:
        """Open a stored version of any size in constant memory.

        Args:
            stored: the version.

        Returns:
            Its content; reading it raises `VerificationError` ``record.commitment`` or ``envelope.*`` for what is
            damaged, and ``store.corrupt`` for a blob that is absent.

        Raises:
            NotFoundError: ``record.deleted``; ``record.erased`` once its key was destroyed.
            VerificationError: as said, for what already the beginning shows.
        """
        if stored.blob is None or stored.content_type == FHIR_JSON:
            opened = self.open(stored)
            if not opened.content:
                raise NotFoundError("record.deleted", version=stored.version)
            return OpenedStream(stored, opened.salt, iter([opened.content]))
        context = RecordContext(self._ledger, stored.object_id, stored.version, stored.content_type)
        salt, pieces = open_stream(self.data_key(stored), context, self._sealed_pieces(stored))
        return OpenedStream(stored, salt, _compared(pieces, salt, stored))

    def measure(self, stored: RecordVersion) -> Measured:
        """Read a stored version through and hash it; errors as in `stream`."""
        counted = ContentHash()
        opened = self.stream(stored)
        for piece in opened.pieces:
            counted.update(piece)
        root = NO_FIELDS if stored.content_type != FHIR_JSON else self.open(stored).field_root
        return Measured(opened.salt, counted.size, counted.sha256, root)

    def envelope(self, stored: RecordVersion) -> bytes:
        """Read an envelope as it is kept, wherever it is.

        Raises:
            InputError: ``record.too_large`` for one above `MAX_OPENED_BYTES`.
            VerificationError: ``store.corrupt`` for a blob that is absent.
        """
        if stored.sealed_size > MAX_OPENED_BYTES:
            raise InputError("record.too_large", size=stored.sealed_size)
        return b"".join(self._sealed_pieces(stored))

    def open(self, stored: RecordVersion) -> OpenedRecord:
        """Open a stored version, a deletion too, and compare it with its commitment; errors as in `read`."""
        if stored.segment is not None:
            parts, place = self.part_of(stored)
            return OpenedRecord(stored, parts.contents[place], parts.salt, parts.root)
        return self.open_with(stored, self.data_key(stored))

    def open_found(self, found: Found, known: dict[bytes, WrappingKey] | None = None) -> OpenedRecord:
        """Open a version that was read together with its key; errors as in `read`, a deletion is opened too.

        Args:
            found: version and key.
            known: keys of the same answer, used and added to: most of a page is of one patient.
        """
        stored, epoch = found
        if stored.segment is not None:
            return self.open(stored)
        if epoch.wrapped_key is None:
            raise NotFoundError("record.erased")
        aad = _data_aad(stored.object_id, stored.version)
        try:
            wrapping = None if known is None else known.get(epoch.id)
            if wrapping is None:
                wrapping = self._wrapping(epoch)
                if known is not None:
                    known[epoch.id] = wrapping
            data_key = wrapping.unwrap(stored.wrapped_dek, aad)
        except VerificationError as error:
            raise _named(error, stored) from error
        return self.open_with(stored, data_key)

    def open_with(self, stored: RecordVersion, data_key: bytes) -> OpenedRecord:
        """Open a version with its data key, such as one that another organisation released.

        Raises:
            VerificationError: ``record.commitment`` if salt and content are not what the commitment says,
                ``envelope.*``.
            InputError: ``record.too_large``, as in `envelope`.
        """
        context = RecordContext(self._ledger, stored.object_id, stored.version, stored.content_type)
        try:
            salt, content = _opened(data_key, context, self.envelope(stored))
        except VerificationError as error:
            raise _named(error, stored) from error
        # Kept beside it: to compute it takes longer than all else, and a wrong one fits no commitment.
        root = stored.field_root
        if root is None:
            root = self._field_root(stored.type, salt, content) if stored.content_type == FHIR_JSON else NO_FIELDS
        if not hmac.compare_digest(record_commitment(salt, content, root), stored.commitment):
            raise _named(VerificationError("record.commitment"), stored)
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
        found = []
        for row in stored:
            try:
                found.append(wrapping[row.epoch_id].unwrap(row.wrapped_dek, _data_aad(row.object_id, row.version)))
            except VerificationError as error:
                raise _named(error, row) from error
        return found

    def _newest(self, type_name: str, record_id: str, expected: int | None) -> RecordVersion:
        """Return the newest version of a record, which must be the one expected."""
        newest = self._store.get(type_name, record_id)
        if newest is None:
            raise NotFoundError("record.unknown")
        if expected is not None and newest.version != expected:
            raise ConflictError("record.version", expected=expected, newest=newest.version)
        return newest

    def _following(
        self, newest: RecordVersion, record: NewRecord, token: str, known: Sequence[Known] = ()
    ) -> Steps[RecordVersion]:
        """Store the version after the newest."""
        try:
            return (yield from self._storing([self._given(record, token)], known=known))[0]
        except ConflictError as error:
            if error.fields.get("table") in _PASSING:
                raise
            raise ConflictError("record.version", expected=newest.version) from error

    def _given(self, record: NewRecord, token: str) -> _Given:
        """Say whose key seals a record of a patient (keyed token)."""
        return _Given(record, token, self.patient_token(record.goes_with) if record.goes_with else token)

    def _storing(
        self,
        records: Sequence[_Given],
        deadline: int | None = None,
        unit: tuple[str, int, bytes] | None = None,
        known: Sequence[Known] = (),
        looks: bytes | LookStep | None = None,
    ) -> Steps[list[RecordVersion]]:
        """Seal and store records."""
        if any(bool(one.record.content) == (one.record.status == DELETED) for one in records):
            # An empty content is how a deletion is told from a record.
            raise InputError("record.content")
        payloads = [b"" if one.record.status == ACTIVE else one.record.status.encode("ascii") for one in records]
        for attempt in range(_EPOCH_ATTEMPTS):
            with ExitStack() as writing:
                if not attempt and _begins_patient(records):
                    # Nobody has the key of a patient who comes just now; where one is there, the store refuses another.
                    current = {one.keeper: self._drawn(one.keeper, 1) for one in records}
                else:
                    current = {keeper: self._current(keeper) for keeper in {one.keeper for one in records}}
                rows, found = self._sealed(records, current, writing)
                try:
                    numbers = yield from self._store.putting_versions(
                        rows,
                        deadline=deadline,
                        payloads=payloads,
                        index=found,
                        unit=unit,
                        epochs=[one.epoch for one in current.values() if one.is_new],
                        known=known,
                        parts=sum(len(one.record.parts) for one in records),
                        looks=looks,
                    )
                except ConflictError as error:
                    # A key may have been destroyed since it was looked up, or the index have become another: again.
                    self._pass(error, attempt)
                else:
                    return [row.numbered(number) for row, number in zip(rows, numbers, strict=True)]
        raise ConflictError("store.conflict", table="epoch")

    def _pass(self, error: ConflictError, attempt: int) -> None:
        """Prepare another attempt after a conflict that passes; raises any other, and the last one."""
        if error.fields.get("table") not in _PASSING or attempt == _EPOCH_ATTEMPTS - 1:
            raise error
        if self._index is not None:
            self._index.refresh()

    def _rows_of(self, record: NewRecord) -> IndexRows | None:
        """Say what a record is found by; what is no resource by nothing, and of a segment its parts."""
        if record.status == DELETED or record.type in NO_RESOURCES:
            return None
        if self._index is None:
            return IndexRows(None)
        if record.tree is not None:
            return self._index.rows(record.type, record.tree)
        document = record.content if record.content_type == FHIR_JSON else record.head
        return self._index.rows_of(record.type, document)

    def _put_stream(self, row: RecordVersion, data_key: bytes, head: bytes, known: Sequence[Known]) -> RecordVersion:
        """Store a version that is sealed already, its data key wrapped under the patient's key of this moment."""
        for attempt in range(_EPOCH_ATTEMPTS):
            current = self._current(row.patient)
            wrapped = current.wrapping.wrap(data_key, _data_aad(row.object_id, row.version))
            made = replace(row, epoch_id=current.epoch.id, wrapped_dek=wrapped)
            try:
                found = IndexRows(None) if self._index is None else self._index.rows_of(row.type, head)
                new = [current.epoch] if current.is_new else []
                (number,) = self._store.put_versions([made], index=[found], epochs=new, known=known)
            except ConflictError as error:
                self._pass(error, attempt)
            else:
                return made.numbered(number)
        raise ConflictError("store.conflict", table="epoch")

    def _write_blob(self, sealed: Iterable[bytes], writing: ExitStack) -> tuple[bytes, bytes, int]:
        """Write an envelope into a blob, which stays locked until its row is stored; returns header, name and size."""
        blob = writing.enter_context(self._store.blobs.writing())
        header = b""
        for piece in sealed:
            header = header or piece
            blob.write(piece)
        blob.finish()
        return header, blob.name, blob.size

    def _sealed_pieces(self, stored: RecordVersion) -> Iterator[bytes]:
        """Read an envelope piece by piece."""
        if stored.blob is None or stored.blob_size is None:
            return iter([stored.envelope])
        return self._store.blobs.pieces(stored.blob, stored.blob_size)

    def _sealed(
        self, records: Sequence[_Given], current: Mapping[str, _Current], writing: ExitStack
    ) -> tuple[list[RecordVersion], list[IndexRows | None]]:
        """Seal records under their keepers' keys, and say what each is found by; what was parsed goes with each."""
        now = self._clock()
        objects: dict[tuple[str, str], bytes] = {}
        rows, found = list[RecordVersion](), list[IndexRows | None]()
        for given in records:
            record = given.record
            object_id = record.object_id or self._object_id(record.type, record.id, record.version, objects)
            rows.append(self._seal(given, object_id, current[given.keeper], now, writing))
            found.append(self._rows_of(record))
            if record.document is not None:
                record.document.tree = None
        return rows, found

    def _seal(  # what one version is made of
        self,
        given: _Given,
        object_id: bytes,
        current: _Current,
        now: int,
        writing: ExitStack,
    ) -> RecordVersion:
        """Seal one version."""
        record = given.record
        data_key, salt = random_key(), secrets.token_bytes(SALT_BYTES)
        is_json = record.content_type == FHIR_JSON
        root = self._root_of(record, salt)
        context = RecordContext(self._ledger, object_id, record.version, record.content_type)
        head = None if is_json else _sealed_head(data_key, context, Head(len(record.content), record.head))
        blob, size = None, None
        if len(record.content) <= MAX_WHOLE_BYTES:
            envelope = seal_record(data_key, context, record.content, salt)
        else:
            envelope, blob, size = self._write_blob(seal_stream(data_key, context, [record.content], salt), writing)
        return RecordVersion(
            type=record.type,
            id=record.id,
            version=record.version,
            object_id=object_id,
            patient=given.token,
            epoch_id=current.epoch.id,
            created=now,
            commitment=record_commitment(salt, record.content, root),
            wrapped_dek=current.wrapping.wrap(data_key, _data_aad(object_id, record.version)),
            envelope=envelope,
            content_type=record.content_type,
            head=head,
            blob=blob,
            blob_size=size,
            field_root=None if root == NO_FIELDS else root,
        )

    def _root_of(self, record: NewRecord, salt: bytes) -> bytes:
        """Compute what the commitment covers one by one: fields, or the parts of a segment."""
        if record.parts:
            return parts_root(salt, record.parts)
        if record.content_type != FHIR_JSON:
            return NO_FIELDS
        if record.tree is None:
            return self._field_root(record.type, salt, record.content)
        has_fields = record.type in self._field_root_types
        return root_of_fields(salt, document_fields(record.tree, _spelled)) if has_fields else NO_FIELDS

    def _object_id(self, type_name: str, record_id: str, version: int, given: dict[tuple[str, str], bytes]) -> bytes:
        """Return the object id that all versions of a record share, a random one for a new record."""
        name = (type_name, record_id)
        if name not in given:
            before = None if version == 1 else self._store.get(type_name, record_id)
            given[name] = secrets.token_bytes(ID_BYTES) if before is None else before.object_id
        return given[name]

    def _field_root(self, type_name: str, salt: bytes, content: bytes) -> bytes:
        """Compute the field root, where the type has one; a deletion has no fields."""
        has_fields = content and type_name in self._field_root_types
        return record_field_root(salt, content) if has_fields else NO_FIELDS

    def _current(self, token: str) -> _Current:
        """Return a patient's current key, or draw one, to be stored with what it wraps."""
        newest = self._store.newest_epoch(token)
        if newest is not None and newest.wrapped_key is not None:
            return _Current(newest, self._wrapping(newest), is_new=False)
        return self._drawn(token, 1 if newest is None else newest.number + 1)

    def _drawn(self, token: str, number: int) -> _Current:
        """Draw a patient's key, to be stored with what it wraps."""
        key = random_key()
        wrapped = self._key.wrap(key, _epoch_aad(token, number))
        epoch = Epoch(secrets.token_bytes(ID_BYTES), token, number, self._clock(), wrapped)
        return _Current(epoch, WrappingKey(key), is_new=True)

    def _wrapping(self, epoch: Epoch) -> WrappingKey:
        """Open an epoch key."""
        wrapped = b"" if epoch.wrapped_key is None else epoch.wrapped_key
        return WrappingKey(self._key.unwrap(wrapped, _epoch_aad(epoch.patient, epoch.number)))


def _begins_patient(records: Sequence[_Given]) -> bool:
    """Tell whether all that is stored is a patient who was none before; of more, a wrong guess would seal all again."""
    return len(records) == 1 and (records[0].record.type, records[0].record.version) == ("Patient", 1)


def _spelled(number: Any) -> str:  # noqa: ANN401  # `Parsed` says what there is
    """Return a number as it was written."""
    return str(number.text)


def _beginning(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes] | None]:
    """Read what fits into a row, and one piece more to see whether there is more; None for the rest if not."""
    kept = bytearray()
    for piece in pieces:
        kept += piece
        if len(kept) > MAX_WHOLE_BYTES:
            return bytes(kept), pieces
    return bytes(kept), None


def _counting(pieces: Iterable[bytes], counted: ContentHash) -> Iterator[bytes]:
    """Hash what passes by."""
    for piece in pieces:
        counted.update(piece)
        yield piece


def _compared(pieces: Iterator[bytes], salt: bytes, stored: RecordVersion) -> Iterator[bytes]:
    """Pass on a content, its last piece only once the whole is what the commitment says."""
    counted, held = ContentHash(), b""
    for piece in pieces:
        counted.update(piece)
        if held:
            yield held
        held = piece
    if not hmac.compare_digest(commitment_of(counted.whole(salt), NO_FIELDS), stored.commitment):
        raise VerificationError("record.commitment", version=stored.version)
    yield held


def _sealed_head(data_key: bytes, context: RecordContext, head: Head) -> bytes:
    """Seal what is told of a content, under a key of its own from the same data key."""
    text = head.size.to_bytes(_SIZE_BYTES, "big") + head.text
    return seal_record(derive(data_key, _HEAD_PURPOSE), context, text, secrets.token_bytes(SALT_BYTES))


def _named(error: VerificationError, stored: RecordVersion) -> VerificationError:
    """Say of which record it is: whoever looks after the disk must find it."""
    return VerificationError(error.code, **error.fields, object=stored.object_id.hex(), record_version=stored.version)


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
