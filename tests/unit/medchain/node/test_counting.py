"""Where a node's processes count together."""

from __future__ import annotations

import os
import shutil

import pytest

from medchain.node import counting
from medchain.node.counting import MEMORY, counting_folder


def test_the_folder_is_in_memory_its_owners_alone_and_gone_at_the_end(tmp_path):
    with counting_folder(tmp_path) as folder:
        assert folder.parent == MEMORY
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.glob("*.db")) == []
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_node_has_left_goes_at_its_next_start(tmp_path):
    left = counting_folder(tmp_path)
    before = left.__enter__()  # never left, as by who is killed
    (before / "counter_1.db").write_bytes(b"x")
    with counting_folder(tmp_path) as folder:
        assert folder != before
        assert not before.exists()


@pytest.mark.parametrize("name", ["medchain-x", "other"])
def test_what_is_not_ours_is_left_alone(tmp_path, name):
    target = tmp_path / "elsewhere" / name
    target.mkdir(parents=True)
    (tmp_path / "metrics").symlink_to(target)
    with counting_folder(tmp_path):
        assert target.exists()


def test_without_such_memory_the_folder_is_the_nodes_own(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "MEMORY", tmp_path / "absent")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "old.db").write_bytes(b"x")
    with counting_folder(tmp_path) as folder:
        assert folder == tmp_path / "metrics"
        assert list(folder.iterdir()) == []
    assert not folder.exists()


def test_what_another_user_has_put_beside_ours_is_neither_opened_nor_removed(tmp_path, monkeypatch):
    """A pipe in the place of a lock would hold up the start of every node of the machine."""
    theirs = MEMORY / f"medchain-{tmp_path.name}"
    theirs.mkdir()
    try:
        os.mkfifo(theirs / "lock")
        ours = os.getuid()
        monkeypatch.setattr(counting.os, "getuid", lambda: ours + 1)
        with counting_folder(tmp_path):
            assert theirs.exists()
        assert theirs.exists()
    finally:
        shutil.rmtree(theirs)
