"""Bodies that this node should have been given and was not: which, of whom, since when, and what came of asking.

Keeps true: what is missing is noted together with how far the ledger was looked through, so that none is passed over;
who makes many is kept apart from others. Trusts callers for codes without patient data. Part of the records file.
Source: `docs/spec/store.md`, `docs/spec/node-protocol.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, select, tuple_, update

from medchain.store.engine import Database
from medchain.store.tables import missing_body
from medchain.store.watching import note_height


class MissingBody(NamedTuple):
    """A body that is not here.

    Attributes:
        custodian: org_id of who made the object, and was to bring it.
        key: map key of the object, 32 bytes.
        version: of the object.
        since: when it was missed first, Unix seconds.
        answer: code of what came of asking for it last; empty where nobody was asked yet.
        silent: whether it could not be asked, 0 or 1: it did not answer, or cannot be called.
    """

    custodian: str
    key: bytes
    version: int
    since: int
    answer: str = ""
    silent: int = 0


class MissingTable:
    """Bodies that are missing."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        self._database = database

    def put_missing(self, name: str, height: int, rows: Sequence[MissingBody]) -> None:
        """Note what is missing, and up to which height a watcher has looked, together; what is noted already stays.

        Args:
            name: of the watcher.
            height: of the last block that was looked at.
            rows: what is missing.
        """
        with self._database.write("missing_body") as connection:
            for row in rows:
                if connection.execute(select(missing_body.c.since).where(_one(row))).first() is None:
                    connection.execute(insert(missing_body).values(row))
            note_height(connection, name, height)

    def missing_of(self, custodian: str, limit: int, *, after: tuple[bytes, int] = (b"", 0)) -> list[MissingBody]:
        """Return what is missing of one organisation, page by page.

        Args:
            custodian: org_id.
            limit: most rows.
            after: map key and version of the last one already seen.
        """
        place = tuple_(missing_body.c.object, missing_body.c.version)
        chosen = select(missing_body).where((missing_body.c.custodian == custodian) & (place > after))
        with self._database.read("missing_body") as connection:
            rows = connection.execute(chosen.order_by(missing_body.c.object, missing_body.c.version).limit(limit))
            return [MissingBody(*row) for row in rows]

    def missing_since(self, time: int, limit: int) -> tuple[int, list[MissingBody]]:
        """Tell how many have been missing since a time or longer, and some of them, those missed first at the top."""
        late = missing_body.c.since <= time
        chosen = select(missing_body).where(late).order_by(missing_body.c.since, missing_body.c.object)
        with self._database.read("missing_body") as connection:
            count = connection.execute(select(func.count()).select_from(missing_body).where(late)).scalar_one()
            return int(count), [MissingBody(*row) for row in connection.execute(chosen.limit(limit))]

    def note_answer(self, row: MissingBody, answer: str, *, silent: bool) -> None:
        """Keep what came of asking for one; the same again is not written."""
        if (row.answer, row.silent) != (answer, silent):
            with self._database.write("missing_body") as connection:
                connection.execute(update(missing_body).where(_one(row)).values(answer=answer, silent=int(silent)))

    def drop_missing(self, row: MissingBody) -> None:
        """Forget one: it is here, or need not be."""
        with self._database.write("missing_body") as connection:
            connection.execute(delete(missing_body).where(_one(row)))


def _one(row: MissingBody) -> ColumnElement[bool]:
    """Choose one row."""
    table = missing_body.c
    return (table.custodian == row.custodian) & (table.object == row.key) & (table.version == row.version)
