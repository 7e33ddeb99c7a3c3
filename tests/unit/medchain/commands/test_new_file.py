"""Files that commands write for somebody, on disks without room and under kills."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from medchain.commands import records
from medchain.commands.new_file import new_file, write_new
from medchain.errors import ConflictError
from tests.unit.medchain.store.faults import kill, killed, room_for

LARGE = 1 << 20


def test_a_file_is_there_whole_and_its_owners_alone(tmp_path):
    write_new(tmp_path / "p", b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("p", b"whole")]
    assert (tmp_path / "p").stat().st_mode & 0o777 == 0o600


def test_nothing_that_is_there_is_replaced(tmp_path):
    (tmp_path / "p").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("p", "link"):
        with pytest.raises(ConflictError, match=r"file\.exists"):
            write_new(tmp_path / name, b"other")
    assert (tmp_path / "p").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_disk_without_room_leaves_nothing_and_another_call_the_file(tmp_path):
    with room_for(100), pytest.raises(OSError, match="too large"):
        write_new(tmp_path / "p", bytes(LARGE))
    assert [*tmp_path.iterdir()] == []
    write_new(tmp_path / "p", bytes(LARGE))
    assert (tmp_path / "p").stat().st_size == LARGE


def test_what_ends_badly_leaves_nothing(tmp_path):
    def write() -> None:
        with new_file(tmp_path / "p") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [*tmp_path.iterdir()] == []


def test_a_kill_leaves_no_half_file_under_the_name_and_the_next_call_takes_the_rest_away(tmp_path):
    def write() -> None:
        with new_file(tmp_path / "p") as file:
            file.write(bytes(LARGE))
            kill()

    assert killed(write)
    assert not (tmp_path / "p").exists()
    write_new(tmp_path / "p", b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("p", b"whole")]


def test_attack_of_two_that_write_one_file_the_second_is_told_and_the_first_has_it_whole(tmp_path):
    with new_file(tmp_path / "p") as file:
        file.write(b"first")
        with pytest.raises(ConflictError, match=r"file\.busy"):
            write_new(tmp_path / "p", b"second")
        file.write(b", whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("p", b"first, whole")]


def test_a_file_that_came_from_elsewhere_while_it_was_written_stays(tmp_path):
    def write() -> None:
        with new_file(tmp_path / "p"):
            (tmp_path / "p").write_bytes(b"mine")

    with pytest.raises(ConflictError, match=r"file\.exists"):
        write()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("p", b"mine")]


@pytest.mark.parametrize("ends_well", [True, False])
def test_who_opened_the_file_beside_just_before_it_was_given_up_has_no_name_that_is_not_its_own(
    tmp_path, monkeypatch, ends_well
):
    """The moment between opening and lock, in which the first is done."""
    lock, first = fcntl.flock, (tmp_path / ".p.part")

    def late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        first.rename(tmp_path / "p") if ends_well else first.unlink()
        lock(descriptor, how)

    first.write_bytes(b"first")
    monkeypatch.setattr(fcntl, "flock", late)
    if ends_well:
        with pytest.raises(ConflictError, match=r"file\.exists"):
            write_new(tmp_path / "p", b"second")
    else:
        write_new(tmp_path / "p", b"second")
    content = b"first" if ends_well else b"second"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("p", content)]


def test_attack_of_many_that_write_one_file_at_once_one_does_and_no_other_says_so(tmp_path):
    """Descriptors of one file are locked against each other in one process, too (flock(2))."""
    start = Barrier(8)

    def write(number: int) -> bytes | None:
        content = bytes([number]) * LARGE
        start.wait(60)
        try:
            write_new(tmp_path / "p", content)
        except ConflictError:
            return None
        return content

    with ThreadPoolExecutor(8) as pool:
        written = [content for content in pool.map(write, range(8)) if content is not None]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("p", content) for content in written]


@pytest.fixture
def prove(run, node, tmp_path, monkeypatch):
    """Prove a record with a bundle that is larger than the disk."""
    (tmp_path / "p.json").write_text('{"resourceType":"Patient","id":"p1"}')
    assert run("import", tmp_path / "p.json", "--config", node).code == 0
    monkeypatch.setattr(records, "record_proof", lambda *_given, **_named: {"content.bin": os.urandom(16 * LARGE)})
    out = tmp_path / "bundles"
    out.mkdir()
    return lambda *words: run("record", "prove", "Patient/p1", "--out", out / "p.zip", "--config", node, *words)


def test_a_proof_that_finds_no_room_says_so_leaves_no_half_bundle_and_is_written_when_there_is(prove, tmp_path):
    with room_for(8 * LARGE):
        ran = prove()
    assert (ran.code, "system.io" in ran.err) == (7, True)
    assert [*(tmp_path / "bundles").iterdir()] == []
    assert prove().code == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_in_both_languages(prove, monkeypatch, tmp_path, number):
    def full(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    for language, word in (("zh", "磁盘已满"), ("en", "The disk is full")):
        ran = prove("--lang", language)
        assert (ran.code, word in ran.err, "store.full" in ran.err) == (7, True, True)
    assert [*Path(tmp_path / "bundles").iterdir()] == []


def test_several_records_make_one_bundle_in_their_newest_versions(run, node, tmp_path, monkeypatch):
    for name in ("p1", "p2"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"resourceType": "Patient", "id": name}))
        assert run("import", tmp_path / f"{name}.json", "--config", node).code == 0
    asked = []

    def proven(_daemon, _org_id, shown, **_named: object):
        asked.append([stored.id for stored, _ in shown])
        return {"answer.json": b"{}"}

    monkeypatch.setattr(records, "records_proof", proven)
    out = tmp_path / "two.zip"
    assert run("record", "prove", "Patient/p2", "Patient/p1", "--out", out, "--config", node).code == 0
    assert (asked, out.is_file()) == ([["p2", "p1"]], True)
    for words, code in (
        (("Patient/p1", "Patient/p2", "--version", 1), "record.versions"),
        (("Patient/p1", "Patient/p9"), "record.unknown"),
        (("Patient/p1", "p2"), "record.name"),
        # Bytes that are no UTF-8, as Python gives them.
        (("Patient/p1", "--field", "/name\udcff"), "record.no_field"),
    ):
        ran = run("record", "prove", *words, "--out", tmp_path / "none.zip", "--config", node)
        assert (ran.code != 0, code in ran.err) == (True, True)
    assert not (tmp_path / "none.zip").exists()
