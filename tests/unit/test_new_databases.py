"""Copies of new databases, which unit tests get in place of migrating each."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from medchain.store import engine
from medchain.store.engine import FileKind, open_database
from tests.new_databases import made_anew

KEY = bytes(range(100, 132))


@pytest.fixture
def migrated(monkeypatch) -> list[Path]:
    """Note which files are migrated."""
    found, real = [], engine._migrate  # noqa: SLF001  # what a copy spares

    def migrate(database) -> None:
        found.append(database.path)
        real(database)

    monkeypatch.setattr(engine, "_migrate", migrate)
    return found


def content(path: Path, kind: FileKind) -> list[tuple]:
    """Open a file; returns its tables and indexes as they were made, and the rows of all tables."""
    with closing(open_database(path, KEY, kind=kind)) as database:
        database.check()
        with database.read("file") as connection:
            made = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").all()
            tables = [row.name for row in made if row.type == "table" and not row.name.startswith("sqlite_")]
            rows = [connection.exec_driver_sql(f'SELECT "{name}".* FROM "{name}"').all() for name in tables]  # noqa: S608  # of ours
    return [*map(tuple, made), *((name, *map(tuple, found)) for name, found in zip(tables, rows, strict=True))]


@pytest.mark.parametrize("kind", list(FileKind))
def test_a_copy_holds_what_a_file_that_a_node_makes_holds(tmp_path, migrated, kind):
    first, copy, anew = (tmp_path / name for name in ("first.db", "copy.db", "anew.db"))
    content(first, kind)
    copied = content(copy, kind)
    with made_anew():
        assert content(anew, kind) == copied
    assert len(copied) > 10
    assert migrated == [first, anew]
