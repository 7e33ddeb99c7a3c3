"""The node's files are made by a process that ends: the daemon does not keep what makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medchain.errors import VerificationError
from medchain.node.config import config_text, load_config
from medchain.node.keystore import Layout, create_keys, create_root_file, open_daemon_keys, open_web_keys, unlock
from medchain.node.migrating import migrate_apart
from medchain.store.engine import FileKind, is_current, open_database

# A program of its own: a process of tests has threads, and has migrated before.
PROGRAM = """
import sys
from pathlib import Path
from medchain.node.config import load_config
from medchain.node.keystore import open_root_file, unlock
from medchain.node.migrating import migrate_apart

folder = Path(sys.argv[1])
migrate_apart(load_config(folder / "node.toml", {}, {}), unlock(open_root_file(folder / "root.key", None)))
print("alembic" in sys.modules)
"""


class Home:
    """A folder with keys and a configuration, and none of the files yet."""

    def __init__(self, folder: Path) -> None:
        """Make them."""
        self.folder = folder
        self.halves = unlock(create_root_file(folder / "root.key", None))
        create_keys(folder, "renhe-hospital", self.halves)
        settings = {"organisation.id": "renhe-hospital", "peer.listen": "127.0.0.1:1", "web.listen": "127.0.0.1:2"}
        (folder / "node.toml").write_text(config_text(settings), encoding="utf-8")
        self.config = load_config(folder / "node.toml", {}, {})
        layout = Layout(folder)
        self.records = layout.records, open_web_keys(folder, self.halves).records_database, FileKind.RECORDS
        self.ledger = layout.ledger, open_daemon_keys(folder, self.halves).ledger_database, FileKind.LEDGER

    def are_current(self) -> list[bool]:
        return [is_current(*self.records), is_current(*self.ledger)]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def refuse(*_: object) -> int:
    raise OSError("no room for a process")


def test_both_files_are_made_and_what_made_them_is_not_kept(home):
    assert home.are_current() == [False, False]
    words = [sys.executable, "-c", PROGRAM, str(home.folder)]
    ran = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "False\n"
    assert home.are_current() == [True, True]


def test_a_file_that_is_there_is_kept_and_only_the_other_is_made(home):
    path, key, kind = home.records
    open_database(path, key, kind=kind).close()
    before = path.read_bytes()
    migrate_apart(home.config, home.halves)
    assert home.are_current() == [True, True]
    assert path.read_bytes() == before


def test_no_process_is_forked_where_there_is_nothing_to_do(home, monkeypatch):
    for path, key, kind in (home.records, home.ledger):
        open_database(path, key, kind=kind).close()
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    migrate_apart(home.config, home.halves)


def test_without_room_for_a_process_whoever_opens_the_files_makes_them(home, monkeypatch):
    monkeypatch.setattr(os, "fork", refuse)
    migrate_apart(home.config, home.halves)
    assert home.are_current() == [False, False]
    path, key, kind = home.records
    open_database(path, key, kind=kind).close()
    assert home.are_current() == [True, False]


def test_what_cannot_be_migrated_is_told_by_who_opens_it_and_not_before(home):
    path, key, kind = home.ledger
    path.write_bytes(os.urandom(8192))
    migrate_apart(home.config, home.halves)
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        open_database(path, key, kind=kind)


def test_a_folder_in_which_nothing_can_be_made_is_told_by_who_opens_it(home):
    """The process that migrates fails, says nothing, and takes nobody with it."""
    path, key, kind = home.records
    path.mkdir()
    migrate_apart(home.config, home.halves)
    with pytest.raises(Exception, match=r"store\.io"):
        open_database(path, key, kind=kind)
