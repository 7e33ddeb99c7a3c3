"""What comes piece by piece and is kept until it is whole: little of it in memory, and none in clear on the disk."""

from __future__ import annotations

import errno
import io
import os
from contextlib import suppress
from pathlib import Path

import pytest

from medchain.errors import UnavailableError, VerificationError
from medchain.node import spool
from medchain.node.spool import MEMORY_BYTES, whole

PIECE = b"diagnosis " * 6554
COUNT = MEMORY_BYTES // len(PIECE) + 4


def files_in(folder: Path) -> list[Path]:
    """List the files of a folder that this process has open, with a name or without."""
    found = []
    for held in Path("/proc/self/fd").iterdir():
        # One of another thread may be gone by now.
        with suppress(OSError):
            if held.readlink().is_relative_to(folder):
                found.append(held)
    return found


@pytest.mark.parametrize("count", [0, 1, COUNT, 3 * COUNT])
def test_what_comes_out_is_what_came_in(tmp_path, count):
    given = [bytes([number % 256]) + PIECE for number in range(count)]
    with whole(iter(given), tmp_path) as pieces:
        assert b"".join(pieces) == b"".join(given)


def test_nothing_is_used_before_all_of_it_has_come(tmp_path):
    seen = []

    def coming():
        for number in range(3):
            seen.append(number)
            yield PIECE

    with whole(coming(), tmp_path) as pieces:
        assert seen == [0, 1, 2]
        assert b"".join(pieces) == PIECE * 3


def test_a_small_content_makes_no_file(tmp_path):
    with whole([PIECE], tmp_path):
        assert files_in(tmp_path) == []


def test_a_large_content_lies_sealed_in_a_file_without_a_name_that_ends_with_its_use(tmp_path):
    with whole([PIECE] * COUNT, tmp_path) as pieces:
        assert list(tmp_path.iterdir()) == []
        (held,) = files_in(tmp_path)
        kept = held.read_bytes()
        # What is beyond the memory's share is there, and nothing of it can be read.
        assert len(kept) > COUNT * len(PIECE) - MEMORY_BYTES
        assert b"diagnosis" not in kept
        assert b"".join(pieces) == PIECE * COUNT
    assert files_in(tmp_path) == []


def test_no_two_contents_have_the_same_key(tmp_path):
    with whole([PIECE] * COUNT, tmp_path), whole([PIECE] * COUNT, tmp_path):
        first, second = (one.read_bytes() for one in files_in(tmp_path))
    assert first != second


def test_attack_the_file_is_changed_while_it_waits(tmp_path):
    with whole([PIECE] * COUNT, tmp_path) as pieces:
        (held,) = files_in(tmp_path)
        with held.open("r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        with pytest.raises(VerificationError, match=r"store\.corrupt"):
            b"".join(pieces)


def test_a_file_that_was_cut_is_no_shorter_content(tmp_path):
    with whole([PIECE] * COUNT, tmp_path) as pieces:
        os.truncate(files_in(tmp_path)[0], 100)
        with pytest.raises(VerificationError, match=r"store\.corrupt"):
            b"".join(pieces)


def test_what_the_pieces_raise_is_raised_and_leaves_nothing(tmp_path):
    class GoneError(Exception):
        """As where a client goes in the middle of its body."""

    def coming():
        yield from [PIECE] * COUNT
        raise GoneError

    with pytest.raises(GoneError), whole(coming(), tmp_path):
        pytest.fail("it was not whole")
    assert files_in(tmp_path) == []


def test_a_full_disk_is_told_before_anything_is_used(tmp_path, monkeypatch):
    class Full(io.RawIOBase):
        """A file on a disk that has no room."""

        def write(self, _piece):
            raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", lambda **_options: Full())
    with pytest.raises(UnavailableError, match=r"store\.full"), whole([PIECE] * COUNT, tmp_path):
        pytest.fail("it was not whole")


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(UnavailableError, match=r"store\.io"), whole([PIECE] * COUNT, tmp_path / "none"):
        pytest.fail("it was not whole")
