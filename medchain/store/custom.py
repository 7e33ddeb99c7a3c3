"""Search parameters that a node's own SearchParameter resources define, and how far older records are indexed by them.

Keeps true: what is indexed by a parameter, how far that goes, and since when versions are stored with its rows are
noted in one transaction; a parameter is used only once every version has its rows. Trusts who reads the definitions.
Part of the records file.
Source: `docs/spec/search-index.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, literal_column, select, update

from medchain.store.engine import Database, Statement
from medchain.store.finding import NEVER
from medchain.store.indexing import SearchTable
from medchain.store.placing import Placed
from medchain.store.tables import custom_parameter, entry, index_state, parameter, record, resource

VARIANTS: Final = 8
"""How many numbers of rows a parameter has."""


@dataclass(frozen=True, slots=True)
class CustomRow:
    """A parameter of the node's own.

    Attributes:
        url: its canonical URL.
        definition: the SearchParameter, canonical text.
        is_active: whether every version has its rows, so that it may be used.
        position: number of the last version that was looked at.
        target: number of the last version that was stored without its rows.
    """

    url: str
    definition: str
    is_active: bool = False
    position: int = 0
    target: int = 0


class CustomTable(SearchTable):
    """The parameters of the node's own."""

    def __init__(self, database: Database) -> None:
        """Use the records file."""
        super().__init__(database)
        last = select(func.max(record.c.seq)).where(record.c.type == bindparam("type"))
        self._last_of_type = Statement(last, database.engine.dialect)

    def custom_parameters(self) -> list[CustomRow]:
        """List them by URL."""
        with self._database.read("custom_parameter") as connection:
            rows = connection.execute(select(custom_parameter).order_by(custom_parameter.c.url)).all()
        return [CustomRow(row.url, row.definition, bool(row.active), row.position, row.target) for row in rows]

    def put_custom(self, url: str, definition: str, names: Sequence[tuple[str, str]]) -> None:
        """Take a parameter in, new or changed: from now on versions are stored with its rows, older ones get them.

        Args:
            url: its canonical URL.
            definition: the SearchParameter.
            names: type and code of each parameter that it comes to.
        """
        with self._database.write("custom_parameter") as connection:
            # Rows that wait are of the index as it was.
            given = self._merge_all(connection)
            self._drop(connection, url, names)
            first = 1 + (connection.execute(select(func.max(parameter.c.number))).scalar_one() or 0)
            known = {(row.type, row.code) for row in connection.execute(select(parameter))}
            fresh = [name for name in names if name not in known]
            for place, (type_name, code) in enumerate(fresh):
                connection.execute(insert(parameter).values(number=first + place, type=type_name, code=code))
            target = connection.execute(select(func.max(record.c.seq))).scalar_one() or 0
            values = {"url": url, "definition": definition, "active": 0, "position": 0, "target": target}
            connection.execute(insert(custom_parameter).values(**values))
            _next_generation(connection)
        self._keep_details(given)

    def drop_custom(self, url: str, names: Sequence[tuple[str, str]]) -> None:
        """Take a parameter out, with its rows; arguments as in `put_custom`."""
        with self._database.write("custom_parameter") as connection:
            given = self._merge_all(connection)
            self._drop(connection, url, names)
            _next_generation(connection)
        self._keep_details(given)

    def without_custom(self, types: Sequence[str], row: CustomRow, limit: int) -> list[int]:
        """List versions that may have no rows of a parameter yet, by number.

        Args:
            types: its resource types.
            row: the parameter.
            limit: most versions.
        """
        chosen = select(resource.c.number).where(
            resource.c.type.in_(types),
            resource.c.number > row.position,
            resource.c.number <= row.target,
        )
        with self._database.read("resource") as connection:
            return list(connection.execute(chosen.order_by(resource.c.number).limit(limit)).scalars())

    def put_custom_rows(self, url: str, numbers: Sequence[int], made: Sequence[Placed], position: int) -> None:
        """Give versions a parameter's rows in place of those that they have; those that are gone get none.

        Args:
            url: the parameter.
            numbers: those that it has.
            made: versions with the rows of this parameter alone.
            position: number of the last version that was looked at.
        """
        with self._database.write("entry") as connection:
            wanted = [one.number for one in made]
            there = set(connection.execute(select(resource.c.number).where(resource.c.number.in_(wanted))).scalars())
            for number in numbers:
                own = entry.c.number.between(number * VARIANTS, number * VARIANTS + VARIANTS - 1)
                connection.execute(delete(entry).where(entry.c.resource.in_(wanted), own))
            given = self._put_entries(connection, self._entries(one for one in made if one.number in there))
            moved = update(custom_parameter).where(custom_parameter.c.url == url)
            connection.execute(moved.values(position=position))
        self._keep_details(given)

    def activate_custom(self, url: str) -> None:
        """Have a parameter used: every version has its rows."""
        with self._database.write("custom_parameter") as connection:
            connection.execute(update(custom_parameter).where(custom_parameter.c.url == url).values(active=1))
            _next_generation(connection)

    def newest_of_type(self, type_name: str) -> list[int]:
        """List the numbers of the newest versions of all resources of a type."""
        chosen = select(resource.c.number).where(
            resource.c.type == type_name, resource.c.replaced == literal_column(str(NEVER))
        )
        return [row[0] for row in self._told(chosen.order_by(resource.c.number))]

    def last_of_type(self, type_name: str) -> int:
        """Return the number of the last version that was stored of a type, 0 for none: nothing is merged for it."""
        with self._database.look("record") as look:
            row = look.first(self._last_of_type, type_name)
        return 0 if row is None or row[0] is None else int(row[0])

    def _drop(self, connection: Connection, url: str, names: Sequence[tuple[str, str]]) -> None:
        """Take out what is there of a parameter."""
        connection.execute(delete(custom_parameter).where(custom_parameter.c.url == url))
        for type_name, code in names:
            chosen = select(parameter.c.number).where(parameter.c.type == type_name, parameter.c.code == code)
            number = connection.execute(chosen).scalar_one_or_none()
            if number is not None:
                own = entry.c.number.between(number * VARIANTS, number * VARIANTS + VARIANTS - 1)
                connection.execute(delete(entry).where(own))


def _next_generation(connection: Connection) -> None:
    """Say that the index is another one now."""
    connection.execute(update(index_state).values(generation=index_state.c.generation + literal_column("1")))
