"""What custodians tell this organisation, a regulator, of concerns of their patients.

Keeps true: what was told first of a version stays; what is told of an older one changes nothing; one custodian keeps a
bounded number. Trusts callers for who tells and for the clock. Part of the records file.
Source: `docs/spec/concern.md` 8, 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select, update

from medchain.errors import UnavailableError
from medchain.ledger.kinds.content import DAY_S
from medchain.store.engine import Database
from medchain.store.tables import told_concern

MAX_OF_CUSTODIAN: Final = 10_000
"""Most concerns of one custodian that are kept."""

KEPT_S: Final = 365 * DAY_S
"""So long one stays for which no answer is due any more, since it was last told of."""


@dataclass(frozen=True, slots=True)
class ToldRow:
    """A concern, as its custodian tells it.

    Attributes:
        custodian: org_id of who tells.
        id: of its object on the ledger, 16 bytes.
        version: of its record.
        due: by when an answer is due, Unix seconds; None where none is.
        heard: when this version was told, Unix seconds.
        document: canonical JSON (`docs/spec/concern.md`); empty once the patient was erased.
    """

    custodian: str
    id: bytes
    version: int
    due: int | None
    heard: int
    document: bytes


class ConcernTable:
    """Concerns by custodian."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_told(self, custodian: str, rows: Sequence[ToldRow], erased: Iterable[bytes], now: int) -> None:
        """Keep what a custodian tells.

        Args:
            custodian: org_id of who tells, of all rows.
            rows: what is told; of what is known in this version or a later one, or was erased, nothing changes.
            erased: ids of those of which only that they were there is kept.
            now: Unix seconds.

        Raises:
            UnavailableError: ``concern.quota`` where too many would be kept; nothing is kept then.
        """
        table = told_concern.c
        mine = table.custodian == custodian
        with self._database.write("told_concern") as connection:
            connection.execute(delete(told_concern).where(table.due.is_(None), table.heard <= now - KEPT_S))
            for one in erased:
                gone = {"due": None, "document": b"", "heard": now}
                connection.execute(update(told_concern).where(mine, table.id == one).values(gone))
            for row in rows:
                this, values = mine & (table.id == row.id), {name: getattr(row, name) for name in ToldRow.__slots__}
                known = connection.execute(select(table.version, table.document).where(this)).first()
                if known is None:
                    connection.execute(insert(told_concern).values(values))
                elif known.version < row.version and known.document:
                    connection.execute(update(told_concern).where(this).values(values))
            counted = connection.execute(select(func.count()).select_from(told_concern).where(mine)).scalar_one()
            if counted > MAX_OF_CUSTODIAN:
                raise UnavailableError("concern.quota")

    def told(self) -> list[ToldRow]:
        """Return all that was told, what is due first at the top, and what is not due any more at the end."""
        table = told_concern.c
        chosen = select(told_concern).order_by(table.due.is_(None), table.due, table.custodian, table.id)
        with self._database.read("told_concern") as connection:
            return [
                ToldRow(row.custodian, bytes(row.id), row.version, row.due, row.heard, bytes(row.document))
                for row in connection.execute(chosen)
            ]
