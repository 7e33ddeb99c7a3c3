"""Blobs: whole under their name or not at all, and nothing of what was given up stays."""

from __future__ import annotations

import errno
import os

import pytest

from medchain.errors import UnavailableError, VerificationError
from medchain.store import blobs
from medchain.store.blobs import BlobStore
from tests.unit.medchain.store.faults import kill, killed

CONTENT = bytes(range(256)) * 3000


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path / "blobs")


def files(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file())


def put(store, content=CONTENT):
    with store.writing() as blob:
        for start in range(0, len(content), 100_000):
            blob.write(content[start : start + 100_000])
        blob.finish()
    return blob


def test_what_was_written_in_pieces_comes_back(store, tmp_path):
    blob = put(store)
    assert (len(blob.name), blob.size) == (16, len(CONTENT))
    assert b"".join(store.pieces(blob.name, blob.size)) == CONTENT
    assert store.has(blob.name, blob.size)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == [0o600]


def test_a_blob_that_was_given_up_leaves_nothing(store, tmp_path):
    with pytest.raises(KeyError), store.writing() as blob:  # noqa: PT012  # it fails half way
        blob.write(b"half")
        raise KeyError
    assert files(tmp_path) == []


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: os.truncate(path, 100)])
def test_a_blob_that_is_gone_or_cut_is_told_as_damage_before_a_byte_is_given(store, tmp_path, damage):
    blob = put(store)
    damage(tmp_path / "blobs" / blob.name.hex()[:2] / blob.name.hex())
    with pytest.raises(VerificationError) as caught:
        next(store.pieces(blob.name, blob.size))
    assert (caught.value.code, caught.value.fields["table"]) == ("store.corrupt", "blob")
    assert not store.has(blob.name, blob.size)


def test_a_sweep_takes_what_no_row_names_and_leaves_the_rest(store, tmp_path):
    wanted, left = put(store), put(store)
    (tmp_path / "blobs" / "00").mkdir(exist_ok=True)
    (tmp_path / "blobs" / "00" / "notes.txt").write_bytes(b"not ours")
    (tmp_path / "blobs" / "00" / "abcd").write_bytes(b"not ours")
    assert store.sweep(lambda name: name == wanted.name) == 1
    assert files(tmp_path) == sorted([wanted.name.hex(), "notes.txt", "abcd"])
    assert not store.has(left.name, left.size)


def test_a_sweep_leaves_what_is_being_written_however_long_it_takes(store, tmp_path):
    with store.writing() as blob:
        blob.write(b"begun")
        assert store.sweep(lambda _name: False) == 0
        blob.finish()
        assert store.sweep(lambda _name: False) == 0
    assert files(tmp_path) == [blob.name.hex()]
    assert store.sweep(lambda _name: False) == 1


def test_a_sweep_of_a_folder_that_is_not_there_does_nothing(store):
    assert store.sweep(lambda _name: False) == 0


def test_a_writer_whose_new_file_a_sweep_took_makes_another(store, monkeypatch):
    taken = []
    real = blobs.fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if not taken:
            (path,) = store._folder.glob("*/*")  # noqa: SLF001  # where it lies
            path.unlink()
            taken.append(path)
        real(descriptor, operation)

    monkeypatch.setattr(blobs.fcntl, "flock", flock)
    blob = put(store)
    assert len(taken) == 1
    assert b"".join(store.pieces(blob.name, blob.size)) == CONTENT


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "store.full"), (errno.EIO, "store.io")])
@pytest.mark.parametrize("step", ["write", "fsync", "open"])
def test_a_disk_that_is_full_or_fails_is_told_and_leaves_nothing(store, tmp_path, monkeypatch, step, number, code):
    put(store)
    before = files(tmp_path)

    def fails(*_arguments: object) -> None:
        raise OSError(number, "test")

    with monkeypatch.context() as patched:
        patched.setattr(blobs.os, step, fails)
        with pytest.raises(UnavailableError) as caught:
            put(store)
    assert caught.value.code == code
    assert files(tmp_path) == before


@pytest.mark.parametrize("step", ["write", "fsync", "close"])
def test_a_process_killed_at_any_step_leaves_nothing_that_a_sweep_does_not_take(store, tmp_path, monkeypatch, step):
    def work() -> None:
        with store.writing() as blob:
            monkeypatch.setattr(blobs.os, step, lambda *_arguments: kill())
            blob.write(CONTENT)
            blob.finish()
        kill()

    assert killed(work)
    assert len(files(tmp_path)) == 1
    assert store.sweep(lambda _name: False) == 1
    assert files(tmp_path) == []


def test_a_copy_is_whole_and_of_the_same_name(store, tmp_path):
    blob = put(store)
    store.copy(blob.name, tmp_path / "copy")
    assert b"".join(BlobStore(tmp_path / "copy").pieces(blob.name, blob.size)) == CONTENT


def test_a_copy_of_what_is_not_there_is_damage(store, tmp_path):
    with pytest.raises(VerificationError, match=r"store\.corrupt"):
        store.copy(bytes(16), tmp_path / "copy")
