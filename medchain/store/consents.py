"""Rows of the records file without contents, as who enforces consents needs them: what came since, what is a patient's.

Keeps true: what is told comes in the order in which it was stored; nothing up to a number is left out. Trusts the rows.
Part of the records file.
Source: `docs/spec/store.md`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Integer, bindparam, func, literal_column, select

from medchain.store.engine import ONE, Database, Statement
from medchain.store.tables import record

AT_ONCE: Final = 1000
"""Most rows of one answer about what came since."""


class Fresh(NamedTuple):
    """A record version, without what it holds."""

    seq: int
    type: str
    id: str
    patient: str


class ConsentRows:
    """Reads them. Threads may share it."""

    __slots__ = ("_after", "_database", "_left", "_newest", "_of_kind", "_of_patient", "_of_record", "_of_type")

    def __init__(self, database: Database) -> None:
        """Compile what is asked all the time."""
        self._database = database
        dialect = database.engine.dialect
        chosen = select(record.c.seq, record.c.type, record.c.id, record.c.patient)
        self._newest = Statement(select(func.max(record.c.seq)), dialect)
        later = chosen.where(record.c.seq > bindparam("after")).order_by(record.c.seq)
        page = later.limit(literal_column(str(AT_ONCE), Integer)).offset(literal_column("0", Integer))
        self._after = Statement(page, dialect)
        of_type = chosen.where(record.c.type == bindparam("type"), record.c.seq <= bindparam("upto"))
        self._of_type = Statement(of_type.order_by(record.c.seq), dialect)
        of_kind = of_type.where(record.c.patient == bindparam("patient"))
        self._of_kind = Statement(of_kind.order_by(record.c.seq), dialect)
        of_record = chosen.where(record.c.type == bindparam("type"), record.c.id == bindparam("id"))
        self._of_record = Statement(of_record.order_by(record.c.seq), dialect)
        of_patient = chosen.where(record.c.patient == bindparam("patient"))
        self._of_patient = Statement(of_patient.order_by(record.c.seq), dialect)
        before = record.alias("before")
        follows = (before.c.type == record.c.type) & (before.c.id == record.c.id)
        follows &= (before.c.version == record.c.version - ONE) & (before.c.patient != record.c.patient)
        left = select(record.c.seq, record.c.type, record.c.id, before.c.patient)
        left = left.select_from(record.join(before, follows))
        between = (record.c.seq > bindparam("after")) & (record.c.seq <= bindparam("upto"))
        self._left = Statement(left.where(between, record.c.version > ONE).order_by(record.c.seq), dialect)

    def newest(self) -> int:
        """Return the number of the newest record version, 0 for none."""
        with self._database.look("record") as look:
            row = look.first(self._newest)
        return 0 if row is None or row[0] is None else int(row[0])

    def after(self, number: int) -> list[Fresh]:
        """Return the versions that follow one, at most `AT_ONCE`."""
        return self._listed(self._after, number)

    def of_type(self, type_name: str, upto: int) -> list[Fresh]:
        """Return all versions of records of a type, up to a number."""
        return self._listed(self._of_type, type_name, upto)

    def of_kind(self, type_name: str, upto: int, patient: str) -> list[Fresh]:
        """Return all versions of a patient's records of a type, up to a number."""
        return self._listed(self._of_kind, type_name, upto, patient)

    def of_record(self, type_name: str, record_id: str) -> list[Fresh]:
        """Return all versions of a record."""
        return self._listed(self._of_record, type_name, record_id)

    def of_patient(self, patient: str) -> list[Fresh]:
        """Return all versions of a patient's records, by the patient's token."""
        return self._listed(self._of_patient, patient)

    def left(self, after: int, upto: int) -> list[Fresh]:
        """Return the versions between two numbers that made a record another patient's, with whose it was before."""
        return self._listed(self._left, after, upto)

    def _listed(self, statement: Statement, *values: object) -> list[Fresh]:
        """Run a question."""
        with self._database.look("record") as look:
            return [Fresh(*row) for row in look.all(statement, *values)]
