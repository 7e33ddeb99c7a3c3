"""Bulk exports: who asked for what, how far the finding of it has come, and which record versions each file has.

Keeps true: one owner has a bounded number of exports; how far one has come and the files that were found until there
are kept together, and of two who go on with one export at once one wins; what is deleted or too old is gone with its
files. Trusts callers to give sealed requests and contents. Part of the records file.
Source: HL7 Bulk Data Access 2.0; `docs/spec/bulk-export.md`, `docs/spec/store.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from medchain.errors import ConflictError, UnavailableError
from medchain.store.engine import Database
from medchain.store.tables import export_file, export_job, record

MAX_EACH: Final = 32
"""Most exports of one owner at a time."""

KEPT_S: Final = 86_400
"""How long an export is kept, in seconds."""

DELETED: Final = "-"
"""Stands before the type of a file that lists what was deleted."""


class Progress(NamedTuple):
    """How far the finding has come.

    Attributes:
        step: which of its steps is being done, from 0.
        after: number of the last record version that was looked at in it.
        files: how many files there are.
    """

    step: int = 0
    after: int = 0
    files: int = 0


class FileRow(NamedTuple):
    """A file of an export.

    Attributes:
        number: in its export, from 1.
        type: resource type of what it has, behind `DELETED` where that are deletions.
        size: how many record versions it has.
        content: their numbers, sealed; empty where that was not asked for.
    """

    number: int
    type: str
    size: int
    content: bytes = b""

    @property
    def has_deletions(self) -> bool:
        """Whether it lists what was deleted."""
        return self.type.startswith(DELETED)

    @property
    def of_type(self) -> str:
        """Resource type of what it has, or of what was deleted."""
        return self.type.removeprefix(DELETED)


_BEGINNING: Final = Progress()


@dataclass(frozen=True, slots=True)
class ExportRow:
    """An export.

    Attributes:
        id: random, 32 hex digits.
        owner: who asked for it, as a token.
        created: Unix seconds.
        request: what was asked for, sealed.
        snapshot: number of the last record version that counts.
        progress: how far it has come.
    """

    id: str
    owner: str
    created: int
    request: bytes
    snapshot: int
    progress: Progress = _BEGINNING


class ExportTable:
    """Exports and their files."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_export(self, row: ExportRow) -> ExportRow:
        """Keep a new export, as of the newest record version; those that are too old go.

        Returns:
            It, with its snapshot.

        Raises:
            UnavailableError: ``export.too_many`` where its owner has too many.
        """
        with self._database.write("export_job") as connection:
            old = select(export_job.c.id).where(export_job.c.created < row.created - KEPT_S)
            _drop(connection, list(connection.execute(old).scalars()))
            mine = select(func.count()).select_from(export_job).where(export_job.c.owner == row.owner)
            if connection.execute(mine).scalar_one() >= MAX_EACH:
                raise UnavailableError("export.too_many", retry_after_s=60)
            newest = connection.execute(select(func.max(record.c.seq))).scalar_one() or 0
            values = {"id": row.id, "owner": row.owner, "created": row.created, "request": row.request}
            connection.execute(insert(export_job).values(**values, snapshot=newest, **row.progress._asdict()))
        return ExportRow(row.id, row.owner, row.created, row.request, newest, row.progress)

    def export(self, name: str, owner: str, now: int) -> ExportRow | None:
        """Return an export of an owner by its id; None where there is none, or not any more."""
        wanted = (export_job.c.id == name, export_job.c.owner == owner, export_job.c.created >= now - KEPT_S)
        with self._database.read("export_job") as connection:
            row = connection.execute(select(export_job).where(*wanted)).first()
        if row is None:
            return None
        progress = Progress(row.step, row.after, row.files)
        return ExportRow(row.id, row.owner, row.created, row.request, row.snapshot, progress)

    def advance_export(self, row: ExportRow, progress: Progress, files: Sequence[FileRow]) -> None:
        """Note that an export has come further, with the files that were found.

        Raises:
            ConflictError: ``store.conflict`` where it is not any more where it was when it was read.
        """
        with self._database.write("export_job") as connection:
            before = row.progress
            same = (export_job.c.step == before.step, export_job.c.after == before.after)
            moved = update(export_job).where(export_job.c.id == row.id, *same, export_job.c.files == before.files)
            if connection.execute(moved.values(**progress._asdict())).rowcount != 1:
                raise ConflictError("store.conflict", table="export_job")
            if files:
                connection.execute(insert(export_file), [{"job": row.id, **one._asdict()} for one in files])

    def export_files(self, name: str) -> list[FileRow]:
        """List the files of an export, without their contents."""
        columns = (export_file.c.number, export_file.c.type, export_file.c.size)
        chosen = select(*columns).where(export_file.c.job == name).order_by(export_file.c.number)
        with self._database.read("export_file") as connection:
            return [FileRow(*row) for row in connection.execute(chosen)]

    def export_file(self, name: str, number: int) -> FileRow | None:
        """Return a file of an export; None where there is none."""
        columns = (export_file.c.number, export_file.c.type, export_file.c.size, export_file.c.content)
        chosen = select(*columns).where(export_file.c.job == name, export_file.c.number == number)
        with self._database.read("export_file") as connection:
            row = connection.execute(chosen).first()
        return None if row is None else FileRow(*row)

    def drop_export(self, name: str) -> None:
        """Forget an export and its files."""
        with self._database.write("export_job") as connection:
            _drop(connection, [name])


def _drop(connection: Connection, names: Sequence[str]) -> None:
    """Remove exports and their files."""
    connection.execute(delete(export_file).where(export_file.c.job.in_(names)))
    connection.execute(delete(export_job).where(export_job.c.id.in_(names)))
