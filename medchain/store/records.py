"""The records file: sealed record versions, and beside them what the modules of its other tables keep.

Keeps true: a record version and the intent to anchor it are kept together or not at all; a version is written once.
Trusts callers to give sealed envelopes, wrapped keys and tokens in place of patients: in clear, under the file's key
alone, are a record's type, its id, and the index rows by which it is found.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    String,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from medchain.errors import ConflictError
from medchain.store.accesses import AccessTable
from medchain.store.accounts import AccountStore
from medchain.store.asks import AskTable
from medchain.store.blobs import BlobStore
from medchain.store.cases import CaseTable
from medchain.store.concerns import ConcernTable
from medchain.store.custom import CustomTable
from medchain.store.disputes import DisputeTable
from medchain.store.engine import ONE, ZERO, Database, Statement, room, run
from medchain.store.epochs import Epoch, EpochTable
from medchain.store.exports import ExportTable
from medchain.store.faults import translated
from medchain.store.finding import Known
from medchain.store.grouped import Grouped
from medchain.store.index_rows import IndexRows
from medchain.store.keeping import RetentionTable, StopTable, UnacceptedTable
from medchain.store.links import LinkTable
from medchain.store.looks import LookStep, LookTable, put_step, put_waiting
from medchain.store.missing import MissingTable
from medchain.store.notices import NoticeTable
from medchain.store.outbox import ANCHOR
from medchain.store.placing import MAX_APART, Placed, standing
from medchain.store.proposals import ProposalTable
from medchain.store.received import ReceivedTable
from medchain.store.steps import Steps, in_thread
from medchain.store.tables import anchor, epoch, imported, record, segment
from medchain.store.watching import AlarmTable, DrawTable, RefusalTable

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

_LATER: Final = IndexRows(None)
UNBOUND: Final = (OverflowError, TypeError, ValueError)
"""What is raised for values that the driver cannot bind."""

_ONES_FAULT: Final = (ConflictError, *UNBOUND)
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

    def numbered(self, seq: int) -> RecordVersion:
        """Return it as it is once it is stored; `dataclasses.replace` takes three times as long."""
        members = list(_MEMBERS(self))
        members[_SEQ] = seq
        return RecordVersion(*members)

    @property
    def sealed_size(self) -> int:
        """Size of the envelope, wherever it is."""
        return len(self.envelope) if self.blob_size is None else self.blob_size


_NAMES: Final = tuple(one.name for one in fields(RecordVersion))
_MEMBERS: Final = attrgetter(*_NAMES)
_SEQ: Final = _NAMES.index("seq")


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
    AccessTable,
    AskTable,
    CaseTable,
    ConcernTable,
    DisputeTable,
    NoticeTable,
    CustomTable,
    EpochTable,
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
    ReceivedTable,
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
        AccessTable.__init__(self, database)
        CustomTable.__init__(self, database)
        EpochTable.__init__(self, database)
        LinkTable.__init__(self, database)
        UnacceptedTable.__init__(self, database)
        dialect = database.engine.dialect
        self._database = database
        self.database = database
        self.blobs = BlobStore(database.path.parent / BLOBS_NAME)
        self.accounts = AccountStore(database)
        self._insert_record = Statement(insert(record).values(seq=bindparam("seq"), **_bound(_COLUMNS)), dialect)
        waiting = select(segment.c.record).order_by(segment.c.record).limit(room("limit")).offset(ZERO)
        self._waiting_segments = Statement(waiting, dialect)
        self._read_waiting = Statement(select(segment.c.parts).where(segment.c.record == bindparam("number")), dialect)
        of_record = (record.c.type == bindparam("type"), record.c.id == bindparam("id"))
        self._newest = Statement(select(func.max(record.c.version)).where(*of_record), dialect)
        # Each write asks these: to put them together anew cost more than to answer them.
        by_version = record.c.version == bindparam("version")
        newest = _versions().where(*of_record).order_by(record.c.version.desc())
        self._get_newest = Statement(newest.limit(ONE).offset(ZERO), dialect)
        self._get_version = Statement(_versions().where(*of_record, by_version), dialect)
        self._find_version = Statement(select(record.c.seq).where(*of_record, by_version), dialect)
        # One text for any number of objects, and one for each number of types.
        objects = record.c.object_id.in_([bindparam(f"id{at}", type_=LargeBinary) for at in range(_OBJECTS_AT_ONCE)])
        self._of_objects = Statement(_versions().where(objects, record.c.segment.is_(None)), dialect)
        newest_seq = select(record.c.object_id, func.max(record.c.version), func.max(record.c.seq)).where(objects)
        self._newest_of = Statement(newest_seq.group_by(record.c.object_id), dialect)
        self._of_patient: dict[tuple[int | None, bool], Statement] = {}
        self._grouped = Grouped(self.put_group)
        self._writer = writer
        self._aside = aside

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
        self._put_epochs(connection, write.epochs)
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

    def newest_of(self, object_ids: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return the newest version of records and its number, by the ids of their objects."""
        return {row[0]: (row[1], row[2]) for row in self._by_ids(self._newest_of, object_ids)}

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
        self._database.close()

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
    return chosen.order_by(record.c.seq).limit(room("limit")).offset(ZERO)


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


def _columns(row: RecordVersion) -> tuple[object, ...]:
    """Return a version's columns in the order of the table."""
    names = (row.type, row.id, row.version, row.object_id, row.patient, row.epoch_id)
    kept = (row.created, row.commitment, row.wrapped_dek, row.envelope)
    return (*names, *kept, row.content_type, row.head, row.blob, row.blob_size, row.field_root, row.segment)
