"""New databases of tests: migrated once for each kind and key, then copied, which takes a tenth of the time.

The first one of each kind and key in a process is made as a node makes it, and all are opened and looked at as a node
does. What they ask is put into SQL once for all of them, as in a node's process: one of tests has thousands of files
after each other. Programs that tests start make their own. Whoever tests how a file is made and opened turns this off:
`made_anew`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Engine

from medchain.store import engine
from medchain.store.engine import KEY_BYTES, Database, FileKind, open_database

MOST_KEPT = 64
_PREPARE = engine._prepare  # noqa: SLF001  # the one step between a file that is empty and one that is looked at
_ENGINE = engine._engine  # noqa: SLF001  # where SQLAlchemy's dialect is made, by which it remembers SQL


@contextmanager
def copied() -> Iterator[None]:
    """Copy new databases while this lasts."""
    kept: dict[tuple[str, bytes], bytes] = {}
    with TemporaryDirectory() as folder, closing(_first(Path(folder))) as first:
        known = first.engine

    def prepare(database: Database, *, migrate: bool, adopt: bool) -> None:
        is_new = migrate and database.path.stat().st_size == 0
        # Nobody else has the key that makes this mark.
        name = database.kind, database._mark(0)  # noqa: SLF001  # says which key it is without saying the key
        if is_new and name in kept:
            database.path.write_bytes(kept[name])
        _PREPARE(database, migrate=migrate, adopt=adopt)
        if is_new and name not in kept and len(kept) < MOST_KEPT:
            kept[name] = _content(database)

    def connected(path: Path, dial: Callable[[Path], Any], connections: int) -> Engine:
        made = _ENGINE(path, dial, connections)
        made.dialect, made._compiled_cache = known.dialect, known._compiled_cache  # noqa: SLF001  # of the engine's own
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_prepare", prepare)
        patch.setattr(engine, "_engine", connected)
        yield


@contextmanager
def made_anew() -> Iterator[None]:
    """Make and open each database as a node does while this lasts."""
    before = engine._prepare, engine._engine  # noqa: SLF001  # as above
    make_anew()
    try:
        yield
    finally:
        engine._prepare, engine._engine = before  # noqa: SLF001  # as above


def make_anew() -> None:
    """Make and open each database as a node does from now on."""
    engine._prepare, engine._engine = _PREPARE, _ENGINE  # noqa: SLF001  # as above


def _first(folder: Path) -> Database:
    """Open a database, from which SQLAlchemy learns of what version the library is."""
    return open_database(folder / "first.db", bytes(KEY_BYTES), kind=FileKind.LEDGER)


def _content(database: Database) -> bytes:
    """Read what a database holds now as one file, without its WAL."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        database.backup(copy)
        return copy.read_bytes()
