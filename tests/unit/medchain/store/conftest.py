"""One place where tests get their databases, so that another database can be put in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from sqlalchemy import text

from medchain.store.engine import SCHEMA, Database, FileKind, open_database

KEY = bytes(range(32))

Opener = Callable[..., Database]

_LATER = {
    22: "DROP TABLE patient_erasure",
    23: "ALTER TABLE consent_ask DROP COLUMN answered_by",
    24: "DROP TABLE unconfirmed",
    25: "DROP TABLE body_request",
    26: "DROP TABLE told_concern",
    27: "DROP TABLE missing_body",
    28: "DROP TABLE sent_ask",
    29: "DROP TABLE dispatch",
    30: "ALTER TABLE ticket DROP COLUMN made",
    31: "DROP TABLE notice_choice",
    32: "DROP TABLE claim_dispute",
    33: "DROP TABLE claim_case",
    34: "DROP TABLE received_proof",
    35: "DROP TABLE unrecorded_case",
    36: "DROP INDEX claim_dispute_by_claim;"
    "ALTER TABLE claim_dispute DROP COLUMN refusal; ALTER TABLE claim_dispute DROP COLUMN refused;"
    "ALTER TABLE received_proof DROP COLUMN claim",
    37: "ALTER TABLE claim_dispute DROP COLUMN refused_last",
}
"""What takes back a migration of the records file, by its number; a new one is added here."""


def set_back(database: Database, number: int) -> None:
    """Give a records file the schema of an earlier migration: who opens it has to make all that follow."""
    assert f"records_{max(_LATER):04}" == SCHEMA[FileKind.RECORDS], "the newest migration is not in _LATER"
    with database.write("alembic_version") as connection:
        for later in sorted(_LATER, reverse=True):
            if later > number:
                for statement in _LATER[later].split(";"):
                    connection.exec_driver_sql(statement)
        connection.execute(text("UPDATE alembic_version SET version_num = :name"), {"name": f"records_{number:04}"})


def _opener(folder: Path) -> Iterator[Opener]:
    """Open a node's files, as often as asked; what a test leaves open is closed in the end."""
    folder.mkdir()
    opened: list[Database] = []

    def open_file(kind: FileKind, *, adopt: bool = False) -> Database:
        opened.append(open_database(folder / f"{kind}.db", KEY, kind=kind, adopt=adopt))
        return opened[-1]

    yield open_file
    for database in opened:
        database.engine.dispose()


@pytest.fixture
def store_engine(tmp_path: Path) -> Iterator[Opener]:
    """Files of one node."""
    yield from _opener(tmp_path / "node")


@pytest.fixture
def other_engine(tmp_path: Path) -> Iterator[Opener]:
    """Files of another node."""
    yield from _opener(tmp_path / "other")


def plain(path: Path, key: bytes = KEY) -> bytes:
    """Decrypt a file's pages (zetetic.net/sqlcipher/design): AES-256-CBC, behind each its vector and its code."""
    pages, size, reserved = path.read_bytes(), 4096, 16 + 32
    made = []
    for start in range(0, len(pages), size):
        page, skipped = pages[start : start + size], 16 if start == 0 else 0
        vector = page[size - reserved : size - reserved + 16]
        engine = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
        made.append(engine.update(page[skipped : size - reserved]))
    return b"".join(made)
