"""Folds made small, so that a test sees each of their steps."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from medchain.store import index
from medchain.store.engine import Database


def fold_by(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every block write some of the rows that wait."""
    monkeypatch.setattr(index, "WAITING_LIMIT_BYTES", -1)
    monkeypatch.setattr(index.StateIndex, "share", lambda _self, _records: rows)


def pages_in(database: Database) -> dict[bytes, bytes]:
    """Return the map's pages as they are in the file."""
    with database.read("map_page") as connection:
        return {row[0]: row[1] for row in connection.execute(text("SELECT key, data FROM map_page"))}


def bases_in(database: Database) -> dict[int, int]:
    """Return the heights of the state that is in the file (1) and of the one on its way there (2)."""
    with database.read("map_base") as connection:
        return {row[0]: row[1] for row in connection.execute(text("SELECT id, height FROM map_base"))}
