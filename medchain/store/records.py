"""The records file: sealed record versions, their keys, the outbox, used tokens, accesses and erasures.

Keeps true: a record version and the intent to anchor it are kept together or not at all; a version is written once; a
token counts once over all processes; a key that was destroyed stays destroyed, also when an older copy of the file is
restored and the erasures are replayed. Trusts callers to give sealed envelopes, wrapped keys and tokens in place of
patients: in clear, under the file's key alone, are a record's type, its id, and the index rows by which it is found.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Select,
    String,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from medchain.errors import ConflictError, NotFoundError
from medchain.store.accounts import AccountStore
from medchain.store.asks import AskTable
from medchain.store.blobs import BlobStore
from medchain.store.concerns import ConcernTable
from medchain.store.custom import CustomTable
from medchain.store.engine import Database, Statement, insert_into, put_into, room, run
from medchain.store.exports import ExportTable
from medchain.store.faults import corrupt, translated
from medchain.store.finding import Known
from medchain.store.grouped import Grouped
from medchain.store.index_rows import IndexRows
from medchain.store.keeping import RetentionTable, StopTable, UnacceptedTable
from medchain.store.links import LinkTable
from medchain.store.looks import LookStep, LookTable, put_step, put_waiting
from medchain.store.missing import MissingTable
from medchain.store.notices import NoticeTable
from medchain.store.placing import MAX_APART, Placed, forget_rows, standing
from medchain.store.proposals import ProposalTable
from medchain.store.secret import KEPT_ENDED_S
from medchain.store.steps import Steps, in_thread
from medchain.store.tables import access, anchor, epoch, erasure, imported, outbox, record, segment, used_token
from medchain.store.watching import AlarmTable, DrawTable, RefusalTable

ANCHOR: Final = "anchor"
"""Kind of the outbox intents that `RecordStore.put_versions` writes."""

ASIDE: Final = "anchor-aside"
"""Kind of those intents among them that cannot be ordered as things stand (`RecordStore.put_aside`)."""

MAX_PAGE: Final = 1000
"""Most rows of one answer."""

FHIR_JSON: Final = "application/fhir+json"
"""Content type of records, unless they say another."""

SEGMENT: Final = "Segment"
"""Type of the records that hold others, their parts; no type of FHIR is named so."""

LOOKS: Final = "Looks"
"""Type of the record of the roots of looks (`docs/spec/looks.md`); no type of FHIR is named so."""

CONCERN: Final = "Concern"
"""Type of the records of what patients bring before this organisation (`docs/spec/concern.md`); none of FHIR either."""

NO_RESOURCES: Final = (SEGMENT, LOOKS, CONCERN)
"""Types of the records that are no resources: no FHIR interaction, history, export or release has them."""

BLOBS_NAME: Final = "blobs"
"""Name of the folder of large envelopes, beside the file."""

# As text: SQLAlchemy would bind a number of its own for the offset.
_ZERO: Final = literal_column("0", Integer)
_ONE: Final = literal_column("1", Integer)
_LATER: Final = IndexRows(None)
UNBOUND: Final = (OverflowError, TypeError, ValueError)
"""What is raised for values that the driver cannot bind."""

_ONES_FAULT: Final = (ConflictError, *UNBOUND)
_PRUNE_EVERY: Final = 1024
_OBJECTS_AT_ONCE: Final = 128
_COLUMNS: Final = (
    "type",
    "id",
    "version",
    "object_id",
    "patient",
    "epoch_id",
    "created",
    "commitment",
    "wrapped_dek",
    "envelope",
    "content_type",
    "head",
    "blob",
    "blob_size",
    "field_root",
    "segment",
)
_ACCESS_COLUMNS: Final = ("object_id", "patient", "direction", "time", "position", "detail")


# Made for each row that is read. Not frozen, for the reason that `medchain.ledger.transaction.Change` has.
@dataclass(slots=True, unsafe_hash=True)
class RecordVersion:
    """A version of a record, sealed.

    Attributes:
        type: FHIR resource type.
        id: FHIR id.
        version: from 1.
        object_id: id of its object on the ledger, 16 random bytes.
        patient: keyed token of the patient.
        epoch_id: which key wraps its data key.
        created: Unix seconds.
        commitment: what the ledger holds, 32 bytes.
        wrapped_dek: its data key, wrapped.
        envelope: the sealed record; of one in a blob, its header.
        seq: number in this file, 0 before it is stored.
        position: leaf index of its anchor, None while it is pending.
        content_type: media type of the content.
        head: what is told of a content that is no FHIR JSON, sealed; None for others.
        blob: name of the blob that holds the envelope, or None.
        blob_size: its size in bytes.
        field_root: that the commitment covers, 32 bytes; None where there is none, or it was not kept.
        segment: of a part of a segment, the number of the segment; object, key, commitment and position are the
            segment's then, and the envelope is the part's place in it, 4 bytes, big endian.
    """

    type: Final[str]
    id: Final[str]
    version: Final[int]
    object_id: Final[bytes]
    patient: Final[str]
    epoch_id: Final[bytes]
    created: Final[int]
    commitment: Final[bytes]
    wrapped_dek: Final[bytes]
    envelope: Final[bytes]
    seq: Final[int] = 0
    position: Final[int | None] = None
    content_type: Final[str] = FHIR_JSON
    head: Final[bytes | None] = None
    blob: Final[bytes | None] = None
    blob_size: Final[int | None] = None
    field_root: Final[bytes | None] = None
    segment: Final[int | None] = None

    @property
    def sealed_size(self) -> int:
        """Size of the envelope, wherever it is."""
        return len(self.envelope) if self.blob_size is None else self.blob_size


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A blob that a row names.

    Attributes:
        seq: number of the record version.
        name: of the blob.
        size: in bytes.
        is_alive: whether its key was not destroyed.
    """

    seq: int
    name: bytes
    size: int
    is_alive: bool


# Not frozen, for the same reason.
@dataclass(slots=True, unsafe_hash=True)
class Epoch:
    """A key that wraps data keys of one patient.

    Attributes:
        id: 16 bytes.
        patient: keyed token of the patient.
        number: from 1 for each patient.
        created: Unix seconds.
        wrapped_key: the key under the node's root key; None once it is destroyed.
        destroyed: Unix seconds, or None.
    """

    id: Final[bytes]
    patient: Final[str]
    number: Final[int]
    created: Final[int]
    wrapped_key: Final[bytes | None]
    destroyed: Final[int | None] = None


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that must come to the ledger.

    Attributes:
        id: number in the outbox; rising, never given twice.
        kind: `ANCHOR` or what the node calls it.
        payload: what is needed to make the transaction; for `ANCHOR` the status, empty for active.
        created: Unix seconds.
        deadline: Unix seconds by which it should be ordered, or None.
        record: number of the record version to anchor, or None.
        object_id: of that record version, or None.
        version: of that record version, or None.
        commitment: of that record version, or None.
    """

    id: int
    kind: str
    payload: bytes
    created: int
    deadline: int | None
    record: int | None = None
    object_id: bytes | None = None
    version: int | None = None
    commitment: bytes | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """One access to a patient's records, as this node saw it.

    Attributes:
        object_id: id of its object on the ledger, 16 bytes; unique.
        patient: keyed token of the patient.
        direction: ``given`` or ``received``, or what the node calls it.
        time: Unix seconds.
        detail: canonical JSON.
        position: leaf index of its entry, None while it is pending.
    """

    object_id: bytes
    patient: str
    direction: str
    time: int
    detail: bytes
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Erasure:
    """That a key was destroyed.

    Attributes:
        epoch_id: which.
        time: Unix seconds.
        position: leaf index of its entry, None while it is pending.
    """

    epoch_id: bytes
    time: int
    position: int | None


class Waiting(NamedTuple):
    """Parts of a segment that have no rows yet, the last of it.

    Attributes:
        segment: its number.
        parts: how many.
    """

    segment: int
    parts: int


@dataclass(slots=True)
class Write:
    """What `RecordStore.put_versions` is asked for, and what comes of it.

    Attributes:
        apart: what is kept of each row's index until it is merged; None to write that to the index at once.
        in_doubt: whether somebody may have stored it already.
        numbers: of the rows, once they are stored.
        details: that got a number with it.
        rows: as the rest, what `RecordStore.put_versions` says.
    """

    rows: Sequence[RecordVersion]
    deadline: int | None
    payloads: Sequence[bytes]
    index: Sequence[IndexRows | None]
    unit: tuple[str, int, bytes] | None
    epochs: Sequence[Epoch] = ()
    known: Sequence[Known] = ()
    parts: int = 0
    waiting: Waiting | None = None
    looks: bytes | LookStep | None = None
    apart: Sequence[bytes] | None = None
    in_doubt: bool = False
    numbers: list[int] = field(default_factory=list)
    details: dict[str, int] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether it is nothing but record versions whose rows are merged later."""
        more = self.deadline is not None or self.unit is not None or self.known or self.parts or self.looks
        return not more and not self.in_doubt and self.waiting is None and self.apart is not None


class Writer(Protocol):
    """Another process that stores plain writes, those of many processes together; `medchain.store.handing` fills it."""

    def put(self, write: Write) -> bool:
        """Have a plain write stored, and note its numbers; `medchain.store.handing.WriterDoor.put` tells of it."""
        ...

    async def put_soon(self, write: Write) -> bool:
        """Do as `put`, waiting on the event loop."""
        ...

    def close(self) -> None:
        """Hand nothing over any more."""
        ...


class RecordStore(
    AskTable,
    ConcernTable,
    NoticeTable,
    CustomTable,
    LinkTable,
    LookTable,
    MissingTable,
    RetentionTable,
    StopTable,
    UnacceptedTable,
    AlarmTable,
    RefusalTable,
    DrawTable,
    ProposalTable,
    ExportTable,
):
    """The records file and its blobs. Processes and threads may share it.

    Attributes:
        blobs: envelopes that are too large for a row.
        accounts: people and applications.
        database: the file, for what else of this floor reads it.
    """

    def __init__(
        self,
        database: Database,
        writer: Writer | None = None,
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Use an opened records file.

        Args:
            database: the file.
            writer: who stores plain writes; None for this process, as it stores all others.
            aside: within it a thread waits until its versions are stored.
        """
        CustomTable.__init__(self, database)
        LinkTable.__init__(self, database)
        UnacceptedTable.__init__(self, database)
        dialect = database.engine.dialect
        self._database = database
        self.database = database
        self.blobs = BlobStore(database.path.parent / BLOBS_NAME)
        self.accounts = AccountStore(database)
        self._insert_record = Statement(insert(record).values(seq=bindparam("seq"), **_bound(_COLUMNS)), dialect)
        intent = _bound(("kind", "record", "payload", "created", "deadline"))
        self._insert_intent = Statement(insert(outbox).values(**intent), dialect)
        # Jobs ask for these all the time, mostly in vain: compiled once, a question costs a twentieth.
        self._read_pending = Statement(_pending(), dialect)
        self._read_pending_kind = Statement(_pending().where(outbox.c.kind == bindparam("kind")), dialect)
        between = outbox.c.id.between(bindparam("first"), bindparam("last"))
        self._read_between = Statement(select(outbox.c.id, outbox.c.record).where(between), dialect)
        self._drop_intent = Statement(delete(outbox).where(outbox.c.id == bindparam("number")), dialect)
        self._count_pending = Statement(select(func.count()).select_from(outbox), dialect)
        waiting = select(segment.c.record).order_by(segment.c.record).limit(room("limit")).offset(_ZERO)
        self._waiting_segments = Statement(waiting, dialect)
        self._read_waiting = Statement(select(segment.c.parts).where(segment.c.record == bindparam("number")), dialect)
        self._put_anchor = put_into(anchor, dialect)
        self._put_erasure = put_into(erasure, dialect)
        of_record = (record.c.type == bindparam("type"), record.c.id == bindparam("id"))
        self._newest = Statement(select(func.max(record.c.version)).where(*of_record), dialect)
        # Each write asks these: to put them together anew cost more than to answer them.
        by_version = record.c.version == bindparam("version")
        newest = _versions().where(*of_record).order_by(record.c.version.desc())
        self._get_newest = Statement(newest.limit(_ONE).offset(_ZERO), dialect)
        self._get_version = Statement(_versions().where(*of_record, by_version), dialect)
        self._find_version = Statement(select(record.c.seq).where(*of_record, by_version), dialect)
        alive = (epoch.c.id == bindparam("id")) & epoch.c.destroyed.is_(None)
        self._find_alive = Statement(select(epoch.c.number).where(alive), dialect)
        of_patient = _epochs().where(epoch.c.patient == bindparam("patient")).order_by(epoch.c.number.desc())
        self._newest_epoch = Statement(of_patient.limit(_ONE).offset(_ZERO), dialect)
        self._read_epoch = Statement(_epochs().where(epoch.c.id == bindparam("id")), dialect)
        self._insert_epoch = insert_into(epoch, dialect)
        self._insert_token = insert_into(used_token, dialect)
        self._insert_access = Statement(insert(access).values(**_bound(_ACCESS_COLUMNS)), dialect)
        self._add_intent = Statement(insert(outbox).values(**intent).returning(outbox.c.id), dialect)
        # One text for any number of objects, and one for each number of types.
        objects = record.c.object_id.in_([bindparam(f"id{at}", type_=LargeBinary) for at in range(_OBJECTS_AT_ONCE)])
        self._of_objects = Statement(_versions().where(objects, record.c.segment.is_(None)), dialect)
        newest_seq = select(record.c.object_id, func.max(record.c.version), func.max(record.c.seq)).where(objects)
        self._newest_of = Statement(newest_seq.group_by(record.c.object_id), dialect)
        self._of_patient: dict[tuple[int | None, bool], Statement] = {}
        chosen = select(used_token.c.until).where(used_token.c.jti == bindparam("jti"))
        self._read_token = Statement(chosen, dialect)
        self._grouped = Grouped(self.put_group)
        self._writer = writer
        self._aside = aside
        self._tokens_used = 0

    def putting_versions(  # noqa: PLR0913  # all that must be written together
        self,
        rows: Sequence[RecordVersion],
        *,
        deadline: int | None = None,
        payloads: Sequence[bytes] | None = None,
        index: Sequence[IndexRows | None] | None = None,
        unit: tuple[str, int, bytes] | None = None,
        epochs: Sequence[Epoch] = (),
        known: Sequence[Known] = (),
        parts: int = 0,
        waiting: Waiting | None = None,
        looks: bytes | LookStep | None = None,
    ) -> Steps[list[int]]:
        """Store record versions, and the intents to anchor them, together; parts have no intents of their own.

        In steps; `put_versions` does them all.

        Args:
            rows: each the first version of its record or the next one.
            deadline: when they should be ordered, Unix seconds.
            payloads: of the intents, one a row; None for empty ones.
            index: what each row is found by, None for nothing; without, all are to be indexed later.
            unit: name and time of the import unit that is done with them, and what is noted of what was refused of it.
            epochs: keys that were drawn for them.
            known: what searches found that they must find at this moment.
            parts: how many parts the one row has that is a segment.
            waiting: parts of a segment that wait, the first of which the rows are.
            looks: what of them is to be entered later, or the step to the root that they are.

        Returns:
            Their numbers, in order.

        Raises:
            ConflictError: ``store.conflict`` if a version is there already, or its predecessor is not; table ``epoch``
                if its key is unknown or destroyed, or the patient has got another; table ``segment`` if other
                parts of the segment wait; nothing is stored then.
            UnavailableError: ``store.full`` and others; nothing is stored unless the commit itself failed.
        """
        given = [b""] * len(rows) if payloads is None else payloads
        found = [_LATER] * len(rows) if index is None else index
        # Here, not in the turn at writing: others wait for that.
        apart = [self._encoded(one) for one in found] if len(rows) <= MAX_APART else None
        write = Write(rows, deadline, given, found, unit, epochs, known, parts, waiting, looks, apart)
        storing = _Storing(self, write)
        yield storing
        return storing.numbers()

    put_versions = in_thread(putting_versions)

    def store(self, write: Write) -> None:
        """Have a write stored by whom it falls to, and wait for it; raises why it was refused."""
        with self._aside():
            if self._writer is not None and write.is_plain:
                if self._writer.put(write):
                    return
                write.in_doubt = True
            self._grouped.do(write, len(write.rows))

    async def store_soon(self, write: Write) -> bool:
        """Have a write stored by the writer, and wait for it on the event loop; raises why it was refused.

        Returns:
            Whether it is stored; if not, it is for `store` to do, as it is where this is broken off.
        """
        if self._writer is None or not write.is_plain:
            return False
        # Until it is told: who has it stored may be asked no more.
        write.in_doubt = True
        write.in_doubt = not await self._writer.put_soon(write)
        return not write.in_doubt

    def put_group(self, take: Callable[[], Sequence[Write]]) -> list[Exception | None]:
        """Do writes in one transaction, each whole or not at all.

        Args:
            take: gives them once they can be done.

        Returns:
            Why each failed, or None.

        Raises:
            MedchainError: what fails all of them, taken or not; as in `put_versions`.

        All at once, as they can mostly be done: between two statements other threads get the interpreter, and all who
        write wait for it meanwhile; and a savepoint has SQLite encrypt once more, as it was, each page that changes.
        Where one is refused, each by itself.
        """
        writes: Sequence[Write] = ()
        errors: list[Exception | None]
        try:
            with self._database.write("record") as connection:
                writes = take()
                errors = self._put_at_once(connection, writes)
        except _ONES_FAULT:
            if len(writes) < 2:  # noqa: PLR2004  # nobody else has it from here
                raise
            with self._database.write("record") as connection:
                errors = [self._put_apart(connection, write) for write in writes]
        for write, error in zip(writes, errors, strict=True):
            if error is None:
                self._keep_details(write.details)
        return errors

    def _put_at_once(self, connection: Connection, writes: Sequence[Write]) -> list[Exception | None]:
        """Do writes as one where they are plain, else each by itself; raises where one of them cannot be done so."""
        if len(writes) > 1 and not all(write.is_plain for write in writes):
            return [self._put_apart(connection, write) for write in writes]
        if not writes:
            return []
        one = _together(writes) if len(writes) > 1 else writes[0]
        self._put(connection, one)
        if one is not writes[0]:
            numbers = iter(one.numbers)
            for write in writes:
                write.numbers = list(islice(numbers, len(write.rows)))
                write.details = one.details
        return [None] * len(writes)

    def _put_apart(self, connection: Connection, write: Write) -> Exception | None:
        """Do one of several writes of a transaction; what is refused is taken back, what fails ends all of them.

        A value that the driver cannot bind is one write's own fault, and fails none of those beside it.
        """
        run(connection, "SAVEPOINT one_of_several")
        try:
            with translated("record"):
                self._put(connection, write)
        except _ONES_FAULT as error:
            run(connection, "ROLLBACK TO SAVEPOINT one_of_several")
            return error
        finally:
            run(connection, "RELEASE SAVEPOINT one_of_several")
        return None

    def _put(self, connection: Connection, write: Write) -> None:
        """Do one write, unless it was done already."""
        rows = write.rows
        if write.in_doubt and (there := self._stored_already(connection, rows)):
            write.numbers = there
            return
        if write.epochs:
            with translated("epoch"):
                self._insert_epoch.many(connection, [_epoch_columns(one) for one in write.epochs])
        given = self._check_known(connection, write.known)
        self._check_epochs(connection, {row.epoch_id for row in rows} - {one.id for one in write.epochs})
        self._check_versions(connection, rows)
        state = standing(self._read_state.first(connection))
        write.numbers = list(range(state.last + 1, state.last + 1 + len(rows)))
        numbered = list(zip(write.numbers, rows, strict=True))
        self._insert_record.many(connection, [(seq, *_columns(row)) for seq, row in numbered])
        intents = [
            (ANCHOR, seq, payload, row.created, write.deadline)
            for (seq, row), payload in zip(numbered, write.payloads, strict=True)
            if row.segment is None
        ]
        self._insert_intent.many(connection, intents)
        placed = [
            Placed(seq, row.type, row.id, row.version, row.created, found)
            for (seq, row), found in zip(numbered, write.index, strict=True)
        ]
        write.details = given | self._put_index(connection, state, placed, write.apart)
        if write.unit is not None:
            name, time, refused = write.unit
            connection.execute(insert(imported).values(unit=name, time=time, refused=refused or None))
        self._put_segment(connection, write)
        if isinstance(write.looks, LookStep):
            put_step(connection, write.looks)
        elif write.looks:
            put_waiting(connection, write.looks)

    def _stored_already(self, connection: Connection, rows: Sequence[RecordVersion]) -> list[int]:
        """Return the numbers of rows that are there, all of them; nothing where they are not, or others are."""
        numbers = []
        for row in rows:
            found = self._get_version.first(connection, row.type, row.id, row.version)
            there = None if found is None else RecordVersion(*found)
            # No other was sealed to the same bytes.
            if there is None or (there.object_id, there.envelope) != (row.object_id, row.envelope):
                return []
            numbers.append(there.seq)
        return numbers

    def _put_segment(self, connection: Connection, write: Write) -> None:
        """Note that the parts of a segment wait for their rows, or that some have them now."""
        if write.parts:
            connection.execute(insert(segment).values(record=write.numbers[0], parts=write.parts))
        if write.waiting is not None:
            left = write.waiting.parts - len(write.rows)
            change = update(segment).values(parts=left) if left else delete(segment)
            those = (segment.c.record == write.waiting.segment, segment.c.parts == write.waiting.parts)
            if connection.execute(change.where(*those)).rowcount != 1:
                raise ConflictError("store.conflict", table="segment")

    def waiting_segments(self, limit: int = 1) -> Iterator[RecordVersion]:
        """Give segments with parts that have no rows yet, the oldest first; each is large, and read when it is due."""
        with self._database.look("segment") as look:
            rows = look.all(self._waiting_segments, limit)
        for row in rows:
            yield from self._read(_versions().where(record.c.seq == row[0]))

    def waiting_parts(self) -> int:
        """Count the parts that have no rows yet."""
        with self._database.read("segment") as connection:
            return int(connection.execute(select(func.coalesce(func.sum(segment.c.parts), 0))).scalar_one())

    def waiting_of(self, number: int) -> int:
        """Count the parts of a segment that have no rows yet."""
        with self._database.look("segment") as look:
            row = look.first(self._read_waiting, number)
        return 0 if row is None else int(row[0])

    def numbered(self, number: int) -> RecordVersion | None:
        """Return a version by its number; None if there is none."""
        found = self._read(_versions().where(record.c.seq == number))
        return found[0] if found else None

    def newest_version(self, type_name: str, record_id: str) -> int:
        """Return the number of a record's newest version, 0 where there is none."""
        with self._database.look("record") as look:
            row = look.first(self._newest, type_name, record_id)
        return 0 if row is None or row[0] is None else int(row[0])

    def imported_unit(self, unit: str) -> bytes | None:
        """Return what was noted of what was refused of an import unit, empty for nothing; None if it is not done."""
        with self._database.read("imported") as connection:
            row = connection.execute(select(imported.c.refused).where(imported.c.unit == unit)).first()
        return None if row is None else bytes(row[0] or b"")

    def anchored(self, first: int, last: int) -> tuple[int, int]:
        """Count the anchored record versions among numbers, both ends included; also the last position, -1 for none."""
        chosen = select(func.count(), func.max(anchor.c.position)).where(anchor.c.record.between(first, last))
        with self._database.read("anchor") as connection:
            count, position = connection.execute(chosen).one()
        return int(count), -1 if position is None else int(position)

    def blob_rows(self, *, after: int = 0, limit: int = MAX_PAGE) -> list[BlobRow]:
        """Return the blobs that rows name, page by page, by number of the record version."""
        chosen = (
            select(record.c.seq, record.c.blob, record.c.blob_size, epoch.c.destroyed)
            .join(epoch, epoch.c.id == record.c.epoch_id)
            .where(record.c.blob.is_not(None), record.c.seq > after)
            .order_by(record.c.seq)
            .limit(limit)
        )
        with self._database.read("record") as connection:
            return [BlobRow(row[0], row[1], row[2], row[3] is None) for row in connection.execute(chosen)]

    def by_blob(self, blob: bytes) -> RecordVersion | None:
        """Return the record version whose envelope a blob holds."""
        found = self._read(_versions().where(record.c.blob == blob))
        return found[0] if found else None

    def sweep_blobs(self) -> int:
        """Remove blobs that no row names, and those whose key was destroyed; errors as `BlobStore.sweep`."""
        return self.blobs.sweep(self.is_blob_alive)

    def is_blob_alive(self, blob: bytes) -> bool:
        """Tell whether a row names a blob, and its key was not destroyed."""
        chosen = select(record.c.seq).join(epoch, epoch.c.id == record.c.epoch_id)
        with self._database.read("record") as connection:
            alive = (record.c.blob == blob) & epoch.c.destroyed.is_(None)
            return connection.execute(chosen.where(alive)).first() is not None

    def get(self, type_name: str, record_id: str, version: int | None = None) -> RecordVersion | None:
        """Return a version of a record, the newest if none is named; None if there is none."""
        with self._database.look("record") as look:
            if version is None:
                row = look.first(self._get_newest, type_name, record_id)
            else:
                row = look.first(self._get_version, type_name, record_id, version)
        return None if row is None else RecordVersion(*row)

    def history(self, type_name: str, record_id: str) -> list[RecordVersion]:
        """Return all versions of a record, the newest first."""
        chosen = _versions().where(record.c.type == type_name, record.c.id == record_id)
        return self._read(chosen.order_by(record.c.version.desc()))

    def newest_records(self, type_name: str) -> list[RecordVersion]:
        """Return the newest versions of all records of a type, in the order in which they were stored."""
        later = record.alias("later")
        superseded = select(later.c.seq).where(
            later.c.type == record.c.type, later.c.id == record.c.id, later.c.version > record.c.version
        )
        chosen = _versions().where(record.c.type == type_name, ~superseded.exists())
        return self._read(chosen.order_by(record.c.seq))

    def by_object(self, object_id: bytes, version: int | None = None) -> RecordVersion | None:
        """Return a record by the id of its object on the ledger."""
        chosen = _versions().where(record.c.object_id == object_id, record.c.segment.is_(None))
        if version is not None:
            chosen = chosen.where(record.c.version == version)
        found = self._read(chosen.order_by(record.c.version.desc()).limit(1))
        return found[0] if found else None

    def by_objects(self, versions: Sequence[tuple[bytes, int]]) -> list[RecordVersion | None]:
        """Return many record versions.

        Args:
            versions: (id of the record's object on the ledger, version).

        Returns:
            In that order; None for one that is not there.
        """
        rows = self._by_ids(self._of_objects, [object_id for object_id, _ in versions])
        found = {(row.object_id, row.version): row for row in [RecordVersion(*row) for row in rows]}
        return [found.get(version) for version in versions]

    def _by_ids(self, chosen: Statement, object_ids: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        """Ask for the rows of objects, so many at once; Any because columns differ."""
        ids = [*dict.fromkeys(object_ids)]
        with self._database.look("record") as look:
            for start in range(0, len(ids), _OBJECTS_AT_ONCE):
                part = ids[start : start + _OBJECTS_AT_ONCE]
                yield from look.all(chosen, *part, *part[:1] * (_OBJECTS_AT_ONCE - len(part)))

    def by_patient(
        self,
        patient: str,
        types: Collection[str] | None = None,
        period: tuple[int, int] | None = None,
        *,
        after: int = 0,
        limit: int = MAX_PAGE,
    ) -> list[RecordVersion]:
        """Return the newest versions of a patient's records.

        Args:
            patient: keyed token.
            types: which types; None for all.
            period: first and last second in which a version was stored; None for all.
            after: number of the last row of the page before.
            limit: most rows.

        Returns:
            In the order in which they were stored.
        """
        form = None if types is None else len(types), period is not None
        asked = self._of_patient.get(form)
        if asked is None:
            asked = self._of_patient[form] = Statement(_of_patient(*form), self._database.engine.dialect)
        values = (patient, after, *sorted(types or ()), *(period or ()), min(limit, MAX_PAGE))
        with self._database.look("record") as look:
            return [RecordVersion(*row) for row in look.all(asked, *values)]

    def count(self, type_name: str = "") -> int:
        """Return how many record versions there are, of a type where one is named."""
        chosen = select(func.count()).select_from(record)
        with self._database.read("record") as connection:
            return int(
                connection.execute(chosen.where(record.c.type == type_name) if type_name else chosen).scalar_one()
            )

    def epoch(self, epoch_id: bytes) -> Epoch | None:
        """Return a key by its id, destroyed ones included."""
        with self._database.look("epoch") as look:
            row = look.first(self._read_epoch, epoch_id)
        return None if row is None else Epoch(*row)

    def newest_epoch(self, patient: str) -> Epoch | None:
        """Return a patient's newest key, destroyed or not; None if the patient has none."""
        with self._database.look("epoch") as look:
            row = look.first(self._newest_epoch, patient)
        return None if row is None else Epoch(*row)

    def rewrap_epochs(self, keys: Iterable[tuple[bytes, bytes]]) -> None:
        """Replace wrapped keys after a change of the root key, all together.

        Args:
            keys: (id, key wrapped anew).

        Raises:
            NotFoundError: ``store.epoch`` for an unknown or destroyed key; nothing is replaced then.
        """
        with self._database.erase("epoch") as connection:
            for epoch_id, wrapped in keys:
                alive = (epoch.c.id == epoch_id) & epoch.c.destroyed.is_(None)
                if connection.execute(update(epoch).where(alive).values(wrapped_key=wrapped)).rowcount != 1:
                    raise NotFoundError("store.epoch", epoch=epoch_id.hex())

    def epochs(self, *, after: bytes = b"", limit: int = MAX_PAGE) -> list[Epoch]:
        """Return keys that are not destroyed, by id, page by page."""
        chosen = select(epoch).where(epoch.c.id > after, epoch.c.destroyed.is_(None)).order_by(epoch.c.id).limit(limit)
        with self._database.read("epoch") as connection:
            return [_epoch(row) for row in connection.execute(chosen)]

    def erase(self, epoch_id: bytes, time: int) -> None:
        """Destroy one key for ever, and note the erasure; a second time changes nothing.

        A patient's keys are destroyed by `erase_patient`, which has the ledger told.

        Args:
            epoch_id: which key.
            time: Unix seconds.

        Raises:
            NotFoundError: ``store.epoch``.
        """
        with self._database.erase("epoch", epoch_id.hex()) as connection:
            known = connection.execute(select(epoch.c.destroyed).where(epoch.c.id == epoch_id)).first()
            if known is None:
                raise NotFoundError("store.epoch", epoch=epoch_id.hex())
            if known.destroyed is None:
                _destroy(connection, epoch_id, time)
                self._put_erasure.many(connection, [(epoch_id, time, None)])

    def erasures(self) -> list[Erasure]:
        """Return all erasures, the oldest first; a backup is given them again before it serves."""
        with self._database.read("erasure") as connection:
            rows = connection.execute(select(erasure).order_by(erasure.c.time, erasure.c.epoch_id)).all()
        return [Erasure(row.epoch_id, row.time, row.position) for row in rows]

    def replay_erasures(self, known: Iterable[Erasure]) -> int:
        """Destroy again what was destroyed after a backup was made.

        Args:
            known: erasures from elsewhere; keys that this file never had are noted as well.

        Returns:
            How many keys were destroyed by it.
        """
        destroyed = 0
        with self._database.erase("erasure") as connection:
            for item in known:
                destroyed += _destroy(connection, item.epoch_id, item.time)
                self._put_erasure.many(connection, [(item.epoch_id, item.time, item.position)])
        return destroyed

    def put_intent(
        self,
        kind: str,
        payload: bytes,
        time: int,
        *,
        deadline: int | None = None,
        using: Sequence[tuple[str, int]] = (),
    ) -> int:
        """Put an intent into the outbox and return its number.

        Args:
            kind: of the intent.
            payload: what is to be done.
            time: Unix seconds.
            deadline: by when, Unix seconds.
            using: tokens that are used with it, in the same write: see `use_once`.

        Raises:
            ConflictError: ``store.conflict`` if one of them was used before; nothing is kept then.
        """
        tokens = [(_token_hash(jti), until) for jti, until in using]
        with self._database.write("outbox") as connection:
            if tokens:
                self._insert_token.many(connection, tokens)
                self._forget_tokens(connection, time)
            row = self._add_intent.first(connection, kind, None, payload, time, deadline)
        if row is None:
            raise corrupt("outbox")
        return int(row[0])

    def pending(self, limit: int, *, after: int = 0, kind: str | None = None) -> list[Intent]:
        """Return what waits in the outbox, the oldest first.

        Args:
            limit: most intents.
            after: number of the last one already seen.
            kind: only this kind.
        """
        chosen, values = (self._read_pending, ()) if kind is None else (self._read_pending_kind, (kind,))
        with self._database.look("outbox") as look:
            return [Intent(*row) for row in look.all(chosen, after, *values, limit)]

    def newest_of(self, object_ids: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return the newest version of records and its number, by the ids of their objects."""
        return {row[0]: (row[1], row[2]) for row in self._by_ids(self._newest_of, object_ids)}

    def waiting_status(self, seq: int) -> str | None:
        """Return the status that a record version is to get on the ledger, None if it waits no more.

        Args:
            seq: number of the record version.

        Returns:
            The status; empty for active.
        """
        with self._database.read("outbox") as connection:
            chosen = select(outbox.c.payload).where(outbox.c.kind == ANCHOR, outbox.c.record == seq)
            payload: bytes | None = connection.execute(chosen).scalar_one_or_none()
        return None if payload is None else payload.decode("ascii")

    def pending_count(self) -> int:
        """Return how much waits in the outbox."""
        with self._database.look("outbox") as look:
            row = look.first(self._count_pending)
        return 0 if row is None else int(row[0])

    def mark_ordered(self, ids: Sequence[int], position: int) -> None:
        """Take intents out of the outbox once a block holds their transaction; again changes nothing.

        Args:
            ids: their numbers.
            position: leaf index of the transaction.
        """
        if not ids:
            return
        with self._database.write("outbox") as connection:
            # Hundreds of ids, each time as many others: to compile a list of them took longer than all else.
            wanted = set(ids)
            waiting = self._read_between.all(connection, min(ids), max(ids))
            anchored = [seq for number, seq in waiting if number in wanted and seq is not None]
            self._put_anchor.many(connection, [(seq, position) for seq in anchored])
            self._drop_intent.many(connection, [(number,) for number in ids])

    def put_aside(self, ids: Sequence[int]) -> None:
        """Have intents to anchor wait apart from the others, which they would hold up."""
        if ids:
            self._rename_intents(ASIDE, (outbox.c.id.in_(ids)) & (outbox.c.kind == ANCHOR))

    def take_back(self) -> None:
        """Have the intents that were put aside wait with the others again: what held them up may be over."""
        self._rename_intents(ANCHOR, outbox.c.kind == ASIDE)

    def _rename_intents(self, kind: str, chosen: ColumnElement[bool]) -> None:
        """Give intents another kind."""
        with self._database.write("outbox") as connection:
            connection.execute(update(outbox).where(chosen).values(kind=kind))

    def drop_intents(self, ids: Sequence[int]) -> None:
        """Take intents out of the outbox that can never be ordered; the caller has told whoever must know."""
        with self._database.write("outbox") as connection:
            connection.execute(delete(outbox).where(outbox.c.id.in_(ids)))

    def use_once(self, jti: str, until: int, *, now: int | None = None) -> bool:
        """Use a token.

        Args:
            jti: what makes it unique, its issuer included.
            until: when it is refused for its age anyway, Unix seconds.
            now: Unix seconds; from time to time, tokens that ended `KEPT_ENDED_S` before are forgotten.

        Returns:
            True the first time over all processes, False after that.

        Raises:
            UnavailableError: the token must be refused then.
        """
        try:
            with self._database.write("used_token") as connection:
                connection.execute(insert(used_token).values(jti=_token_hash(jti), until=until))
                if now is not None:
                    self._forget_tokens(connection, now)
        except ConflictError:
            return False
        return True

    def is_used(self, jti: str) -> bool:
        """Tell whether a token was used, and is not forgotten yet."""
        with self._database.look("used_token") as look:
            return look.first(self._read_token, _token_hash(jti)) is not None

    def _forget_tokens(self, connection: Connection, now: int) -> None:
        """Forget, from time to time, tokens that are refused for their age, however fast the clock may be."""
        if self._tokens_used % _PRUNE_EVERY == 0:
            connection.execute(delete(used_token).where(used_token.c.until < now - KEPT_ENDED_S))
        self._tokens_used += 1

    def put_accesses(
        self, rows: Sequence[Access], *, intents: Sequence[tuple[str, bytes]] = (), done: Sequence[int] = ()
    ) -> None:
        """Note accesses, and with them what it does to the outbox.

        Args:
            rows: with unique object ids.
            intents: kind and payload of what is left to do.
            done: intents that are done with it, and leave the outbox.

        Raises:
            ConflictError: ``store.conflict`` if one is noted already; none is noted then.
        """
        with self._database.write("access") as connection:
            values = [(row.object_id, row.patient, row.direction, row.time, row.position, row.detail) for row in rows]
            self._insert_access.many(connection, values)
            if intents:
                waiting = [(kind, None, payload, rows[0].time, None) for kind, payload in intents]
                self._insert_intent.many(connection, waiting)
            if done:
                self._drop_intent.many(connection, [(number,) for number in done])

    def mark_access(self, object_id: bytes, position: int) -> None:
        """Note at which leaf an access stands."""
        with self._database.write("access", object_id.hex()) as connection:
            connection.execute(update(access).where(access.c.object_id == object_id).values(position=position))

    def accesses(
        self, patient: str, *, after: int = 0, limit: int = MAX_PAGE, direction: str | None = None
    ) -> list[Access]:
        """Return a patient's accesses from a time on, the oldest first; of one direction where one is given."""
        chosen = select(access).where(access.c.patient == patient, access.c.time >= after)
        if direction is not None:
            chosen = chosen.where(access.c.direction == direction)
        with self._database.read("access") as connection:
            rows = connection.execute(chosen.order_by(access.c.time, access.c.seq).limit(min(limit, MAX_PAGE))).all()
        return [Access(row.object_id, row.patient, row.direction, row.time, row.detail, row.position) for row in rows]

    def emergencies(self, after: int, *, limit: int = MAX_PAGE) -> list[Access]:
        """Return what was noted of emergencies from a time on (Unix seconds), of all patients, the newest first."""
        # Written out, not bound: only so the index of these few rows is used.
        chosen = select(access).where(access.c.direction == literal_column("'emergency'"), access.c.time >= after)
        with self._database.read("access") as connection:
            newest = chosen.order_by(access.c.time.desc(), access.c.seq.desc()).limit(limit)
            rows = connection.execute(newest).all()
        return [Access(row.object_id, row.patient, row.direction, row.time, row.detail, row.position) for row in rows]

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
        self._database.close()

    def _check_epochs(self, connection: Connection, ids: Collection[bytes]) -> None:
        """Refuse keys that are not there or destroyed: what they wrap could not be opened, or not be erased."""
        if any(self._find_alive.first(connection, one) is None for one in ids):
            raise ConflictError("store.conflict", table="epoch")

    def _check_versions(self, connection: Connection, rows: Sequence[RecordVersion]) -> None:
        """Refuse a version without its predecessor; the table itself refuses one that is there."""
        given = {(row.type, row.id, row.version) for row in rows}
        for row in rows:
            before = (row.type, row.id, row.version - 1)
            if row.type == LOOKS:
                # After a restore it goes on after versions that this file does not know (`docs/spec/looks.md` 5).
                continue
            if row.version > 1 and before not in given and self._find_version.first(connection, *before) is None:
                raise ConflictError("store.conflict", table="record")

    def _read(self, chosen: Select[Any]) -> list[RecordVersion]:
        """Run a query for record versions."""
        with self._database.read("record") as connection:
            return [RecordVersion(*row) for row in connection.execute(chosen)]

    def _epoch(self, chosen: Select[Any]) -> Epoch | None:
        """Run a query for one key."""
        with self._database.read("epoch") as connection:
            row = connection.execute(chosen).first()
        return None if row is None else _epoch(row)


def _bound(names: Iterable[str]) -> dict[str, Any]:
    """Name a parameter for each column, in this order; Any as SQLAlchemy types values."""
    return {name: bindparam(name) for name in names}


def _of_patient(types: int | None, is_of_period: bool) -> Select[Any]:  # noqa: FBT001  # asked with one form
    """Select the newest versions of a patient's records, of so many types; its parameters are in the text's order."""
    later = record.alias("later")
    superseded = select(later.c.seq).where(
        later.c.type == record.c.type, later.c.id == record.c.id, later.c.version > record.c.version
    )
    of_patient = (record.c.patient == bindparam("patient"), record.c.seq > bindparam("after"))
    chosen = _versions().where(*of_patient, ~superseded.exists())
    if types is not None:
        chosen = chosen.where(record.c.type.in_([bindparam(f"type{at}", type_=String) for at in range(types)]))
    if is_of_period:
        chosen = chosen.where(record.c.created.between(bindparam("first"), bindparam("last")))
    return chosen.order_by(record.c.seq).limit(room("limit")).offset(_ZERO)


def _pending() -> Select[Any]:
    """Select what waits with the columns in the order of `Intent`; its parameters are in the order of the text."""
    of_intent = (outbox.c[name] for name in ("id", "kind", "payload", "created", "deadline", "record"))
    of_record = (record.c.object_id, record.c.version, record.c.commitment)
    chosen = select(*of_intent, *of_record).outerjoin(record, record.c.seq == outbox.c.record)
    chosen = chosen.where(outbox.c.id > bindparam("after")).order_by(outbox.c.id)
    return chosen.limit(room("limit")).offset(_ZERO)


def version_columns() -> tuple[Column[Any], ...]:
    """List the columns of record and anchor in the order of `RecordVersion`."""
    names = ("type", "id", "version", "object_id", "patient", "epoch_id", "created", "commitment", "wrapped_dek")
    more = (record.c[name] for name in _COLUMNS[-6:])
    return (*(record.c[name] for name in names), record.c.envelope, record.c.seq, anchor.c.position, *more)


def _versions() -> Select[Any]:
    """Select record versions with the columns in the order of `RecordVersion`."""
    return select(*version_columns()).outerjoin(anchor, anchor.c.record == anchored_as())


def anchored_as() -> ColumnElement[int]:
    """Say under which number a version is anchored: a part under that of its segment."""
    return func.coalesce(record.c.segment, record.c.seq)


class _Storing:
    """A write that is waited for."""

    __slots__ = ("_error", "_store", "_write")

    def __init__(self, store: RecordStore, write: Write) -> None:
        """Prepare."""
        self._store = store
        self._write = write
        self._error: Exception | None = None

    def now(self) -> None:
        """Have it stored, in this thread."""
        try:
            self._store.store(self._write)
        except Exception as error:  # noqa: BLE001  # raised where its numbers are asked for
            self._error = error

    async def soon(self) -> bool:
        """Have it stored by the writer."""
        try:
            return await self._store.store_soon(self._write)
        except Exception as error:  # noqa: BLE001  # likewise
            self._error = error
            return True

    def numbers(self) -> list[int]:
        """Return the numbers of its rows; raises why it was refused."""
        if self._error is not None:
            raise self._error
        return self._write.numbers


def _together(writes: Sequence[Write]) -> Write:
    """Make one of several plain writes, in their order."""
    return Write(
        rows=[row for write in writes for row in write.rows],
        deadline=None,
        payloads=[payload for write in writes for payload in write.payloads],
        index=[index for write in writes for index in write.index],
        unit=None,
        epochs=[epoch for write in writes for epoch in write.epochs],
        apart=[content for write in writes for content in write.apart or ()],
    )


def _token_hash(jti: str) -> bytes:
    """Return what a token is known by: its own text may say whose it is."""
    return hashlib.sha256(jti.encode("utf-8", "surrogatepass")).digest()


def _columns(row: RecordVersion) -> tuple[object, ...]:
    """Return a version's columns in the order of the table."""
    names = (row.type, row.id, row.version, row.object_id, row.patient, row.epoch_id)
    kept = (row.created, row.commitment, row.wrapped_dek, row.envelope)
    return (*names, *kept, row.content_type, row.head, row.blob, row.blob_size, row.field_root, row.segment)


def _epochs() -> Select[Any]:
    """Select keys with the columns in the order of `Epoch`."""
    return select(epoch.c.id, epoch.c.patient, epoch.c.number, epoch.c.created, epoch.c.wrapped_key, epoch.c.destroyed)


def _epoch_columns(row: Epoch) -> tuple[object, ...]:
    """Return a key's columns in the order of the table."""
    return row.id, row.patient, row.number, row.created, row.destroyed, row.wrapped_key


def _destroy(connection: Connection, epoch_id: bytes, time: int) -> int:
    """Remove a wrapped key, and return whether there was one."""
    alive = (epoch.c.id == epoch_id) & epoch.c.destroyed.is_(None)
    destroyed = int(connection.execute(update(epoch).where(alive).values(wrapped_key=None, destroyed=time)).rowcount)
    if destroyed:
        forget_rows(connection, [epoch_id])
    return destroyed


def _epoch(row: Any) -> Epoch:  # noqa: ANN401  # SQLAlchemy's row
    """Turn a row into a key."""
    return Epoch(row.id, row.patient, row.number, row.created, row.wrapped_key, row.destroyed)
