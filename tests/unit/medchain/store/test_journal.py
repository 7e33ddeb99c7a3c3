"""Journals: what was appended is there, in order, once; what was changed is found."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import threading
from pathlib import Path

import pytest

from medchain.crypto.frames import seal_frame
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.store import journal
from medchain.store.journal import MAX_CONTENT_BYTES, HeldJournals, Journal, Place, names, read, remove

KEY = bytes(range(32))
ALL = 10_000


def contents(folder, name, place=None):
    reading = read(folder, name, KEY, place or Place(), ALL)
    return [frame.content for frame in reading.frames]


def written(folder, *frames: bytes) -> str:
    """A journal that was ended in order."""
    made = Journal(folder, KEY)
    for frame in frames:
        made.append(frame)
    made.close()
    (name,) = names(folder)
    return name


def cut_off(folder, *frames: bytes) -> str:
    """A journal whose writer died: without its end."""
    name = written(folder, *frames)
    path = folder / name
    # The end frame: four bytes of length and a tag.
    os.truncate(path, path.stat().st_size - 20)
    return name


def test_frames_are_read_in_their_order_while_they_are_written(tmp_path):
    made = Journal(tmp_path, KEY)
    (name,) = names(tmp_path)
    assert read(tmp_path, name, KEY, Place(), ALL) == journal.Reading(name, (), is_ended=False, torn=0)
    made.append(b"a")
    first = read(tmp_path, name, KEY, Place(), ALL)
    assert [frame.content for frame in first.frames] == [b"a"]
    made.append(b"b")
    assert contents(tmp_path, name, first.frames[-1].place) == [b"b"]
    made.close()
    last = read(tmp_path, name, KEY, first.frames[-1].place, ALL)
    assert ([frame.content for frame in last.frames], last.is_ended) == ([b"b"], True)


def test_no_more_is_read_than_asked_for(tmp_path):
    name = written(tmp_path, b"a", b"b", b"c")
    page = read(tmp_path, name, KEY, Place(), 2)
    assert ([frame.content for frame in page.frames], page.is_ended) == ([b"a", b"b"], False)
    rest = read(tmp_path, name, KEY, page.frames[-1].place, 2)
    assert ([frame.content for frame in rest.frames], rest.is_ended) == ([b"c"], True)


def test_nothing_of_a_content_is_in_the_file(tmp_path):
    name = written(tmp_path, b"patient 310101199001011234 was read")
    assert b"310101199001011234" not in (tmp_path / name).read_bytes()


def test_a_full_file_is_ended_and_another_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MAX_FILE_BYTES", 100)
    made = Journal(tmp_path, KEY)
    for number in range(6):
        made.append(b"%d" % number * 40)
    made.close()
    assert len(names(tmp_path)) > 1
    found = [content for name in names(tmp_path) for content in contents(tmp_path, name)]
    assert sorted(found) == [b"%d" % number * 40 for number in range(6)]
    assert all(read(tmp_path, name, KEY, Place(), ALL).is_ended for name in names(tmp_path))


def _write_for_ever(folder, pipe):
    made = Journal(folder, KEY)
    number = 0
    while True:
        made.append(b"%d" % number)
        os.write(pipe, b".")
        number += 1


def test_what_was_appended_survives_the_death_of_its_process(tmp_path):
    reading, writing = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(tmp_path, writing))
    process.start()
    acknowledged = len(os.read(reading, 200))
    (name,) = names(tmp_path)
    assert not read(tmp_path, name, KEY, Place(), ALL).is_ended
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    found = read(tmp_path, name, KEY, Place(), 1_000_000)
    assert found.is_ended
    assert len(found.frames) >= acknowledged
    assert [frame.content for frame in found.frames] == [b"%d" % number for number in range(len(found.frames))]
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("cut", range(1, 22))
def test_a_frame_that_a_crash_cut_off_is_left_out_and_told(tmp_path, cut):
    name = cut_off(tmp_path, b"first", b"last")
    path = tmp_path / name
    whole = path.stat().st_size
    os.truncate(path, whole - cut)
    found = read(tmp_path, name, KEY, Place(), ALL)
    assert [frame.content for frame in found.frames] == [b"first"]
    assert (found.is_ended, found.torn) == (True, 4 + 4 + 16 - cut)


@pytest.mark.parametrize("size", [0, 3, 19])
def test_a_file_that_was_only_begun_holds_nothing(tmp_path, size):
    name = written(tmp_path, b"a")
    os.truncate(tmp_path / name, size)
    found = read(tmp_path, name, KEY, Place(), ALL)
    assert (found.frames, found.is_ended) == ((), True)


def test_every_changed_byte_is_found_or_cuts_the_end(tmp_path):
    name = written(tmp_path, b"first", b"second", b"third")
    path = tmp_path / name
    good = path.read_bytes()
    refused = 0
    for at in range(len(good)):
        changed = bytearray(good)
        changed[at] ^= 1
        path.write_bytes(changed)
        try:
            found = read(tmp_path, name, KEY, Place(), ALL)
        except VerificationError:
            refused += 1
        else:
            kept = [frame.content for frame in found.frames]
            assert kept == [b"first", b"second", b"third"][: len(kept)]
            assert found.torn > 0
    assert refused > len(b"first")


def test_frames_that_changed_places_are_found(tmp_path):
    name = written(tmp_path, b"1", b"2", b"3")
    path = tmp_path / name
    good = path.read_bytes()
    size = 4 + 1 + 16
    frames = [good[20 + size * number : 20 + size * (number + 1)] for number in range(3)]
    path.write_bytes(good[:20] + frames[1] + frames[0] + frames[2] + good[20 + 3 * size :])
    found = read(tmp_path, name, KEY, Place(), ALL)
    assert (found.frames, found.torn > 0) == ((), True)
    path.write_bytes(good[:20] + frames[0] + frames[0] + frames[2] + good[20 + 3 * size :])
    with pytest.raises(VerificationError):
        read(tmp_path, name, KEY, Place(), ALL)


def test_a_frame_of_another_file_is_none(tmp_path):
    (tmp_path / "other").mkdir()
    name, other = written(tmp_path, b"a"), written(tmp_path / "other", b"b")
    stolen = (tmp_path / "other" / other).read_bytes()[20:]
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:20] + stolen)
    assert read(tmp_path, name, KEY, Place(), ALL).frames == ()
    shutil.copy(tmp_path / "other" / other, path)
    with pytest.raises(VerificationError):
        read(tmp_path, name, KEY, Place(), ALL)


def test_another_key_opens_nothing(tmp_path):
    name = written(tmp_path, b"a")
    assert read(tmp_path, name, bytes(32), Place(), ALL).frames == ()


def test_a_full_disk_is_told_and_leaves_no_half_frame(tmp_path):
    made = Journal(tmp_path, KEY)
    made.append(b"a" * 1000)
    (first,) = names(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
        with pytest.raises(UnavailableError) as refused:
            made.append(b"b" * 1000)
        # EFBIG: a limit and no full disk.
        assert refused.value.code == "store.io"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, kept)
    made.append(b"c")
    made.sync()
    made.close()
    found = [read(tmp_path, name, KEY, Place(), ALL) for name in (first, *sorted(set(names(tmp_path)) - {first}))]
    assert sorted(frame.content[:1] for reading in found for frame in reading.frames) == [b"a", b"c"]
    assert {(reading.is_ended, reading.torn) for reading in found} == {(True, 0)}
    # One that took no more has no end frame: its reader asks what was left open in it.
    assert not found[0].is_closed


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "store.full"), (errno.EDQUOT, "store.full"), (errno.EIO, "store.io")]
)
@pytest.mark.parametrize("room", [0, 100])
def test_a_frame_that_finds_no_room_is_refused_with_the_true_reason(tmp_path, monkeypatch, number, code, room):
    """write(2): where there is room for a part, that part is written, and the next call fails."""
    made = Journal(tmp_path, KEY)
    (name,) = names(tmp_path)
    write, left = os.write, [room]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(number, "disk")
        written, left[0] = write(descriptor, data[: left[0]]), 0
        return written

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "write", full)
        with pytest.raises(UnavailableError, match=rf"{code} table=journal"):
            made.append(b"b" * 1000)
    made.append(b"c")
    made.close()
    # Where nothing of it was written, the file goes on.
    assert contents(tmp_path, names(tmp_path)[-1] if room == 0 else (set(names(tmp_path)) - {name}).pop()) == [b"c"]


def test_two_frames_are_never_sealed_under_one_nonce(tmp_path, monkeypatch):
    """Whoever copies the disk at each moment has the part of a frame that was taken back, and the one in its place."""
    sealed: dict[tuple[bytes, int], bytes] = {}

    def watched(key, number, context, content):
        assert sealed.setdefault((key, number), content) == content, "two contents under one nonce"
        return seal_frame(key, number, context, content)

    monkeypatch.setattr(journal, "seal_frame", watched)
    made = Journal(tmp_path, KEY)
    (name,) = names(tmp_path)
    begun = made.begin(b"begun")
    write, left = os.write, [100]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "disk")
        written, left[0] = write(descriptor, data[: left[0]]), 0
        return written

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "write", full)
        with pytest.raises(UnavailableError, match=r"store\.full"):
            made.append(b"a" * 1000)
    with pytest.raises(UnavailableError, match=r"store\.io"):
        made.append(b"done", begun)
    made.done(begun, told=False)
    made.append(b"b" * 1000)
    made.close()
    assert contents(tmp_path, name) == [b"begun"]
    assert [contents(tmp_path, other) for other in set(names(tmp_path)) - {name}] == [[b"b" * 1000]]


@pytest.mark.parametrize("room", [0, 10])
def test_a_journal_that_is_begun_on_a_full_disk_refuses_until_there_is_room(tmp_path, monkeypatch, room):
    """No process dies of it; and what is asked again and again leaves no file behind, nor has one open."""
    write, left = os.write, []

    def full(descriptor: int, data: bytes) -> int:
        if not left or not left[-1]:
            left.append(room)
            raise OSError(errno.ENOSPC, "disk")
        return write(descriptor, data[: left.pop()])

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "write", full)
        made = Journal(tmp_path, KEY)
        for attempt in (made.append, made.begin):
            with pytest.raises(UnavailableError, match=r"store\.full"):
                attempt(b"a")
        made.sync()
    assert names(tmp_path) == []
    assert [path for path in map(leads_to, Path("/proc/self/fd").iterdir()) if path.is_relative_to(tmp_path)] == []
    made.append(b"b")
    made.close()
    assert contents(tmp_path, *names(tmp_path)) == [b"b"]


def leads_to(descriptor: Path) -> Path:
    """Tell what a descriptor is of; other tests' may be closed just now."""
    try:
        return descriptor.readlink()
    except FileNotFoundError:
        return descriptor


def test_a_journal_that_never_found_room_ends_as_any(tmp_path, monkeypatch):
    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "disk")

    monkeypatch.setattr(journal.os, "write", full)
    Journal(tmp_path, KEY).close()
    assert names(tmp_path) == []


def test_held_journals_are_copied_as_they_were_whatever_happens_to_them(tmp_path):
    (tmp_path / "live").mkdir()
    removed = written(tmp_path / "live", b"x" * 60_000, *[b"y" * 60_000] * 9)
    made = Journal(tmp_path / "live", KEY)
    (grows,) = set(names(tmp_path / "live")) - {removed}
    made.append(b"before")
    held = HeldJournals()
    held.hold(tmp_path / "live")
    made.append(b"after")
    remove(tmp_path / "live", removed)
    held.copy(tmp_path / "copy")
    held.close()
    assert names(tmp_path / "copy") == sorted([removed, grows])
    assert [len(content) for content in contents(tmp_path / "copy", removed)] == [60_000] * 8
    assert [len(one.content) for one in journal.read_all(tmp_path / "copy", removed, KEY)] == [60_000] * 10
    found = read(tmp_path / "copy", grows, KEY, Place(), ALL)
    # Its writer lives, and not that of the copy.
    assert ([one.content for one in found.frames], found.is_ended, found.torn) == ([b"before"], True, 0)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "copy", *(tmp_path / "copy").iterdir())} == {0}
    made.close()


def test_a_journal_that_its_reader_removes_just_now_is_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "names", lambda _: ["gone.journal"])
    held = HeldJournals()
    held.hold(tmp_path)
    held.copy(tmp_path / "copy")
    held.close()
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_folder_that_is_gone_is_told(tmp_path):
    with pytest.raises(UnavailableError):
        Journal(tmp_path / "gone", KEY)
    with pytest.raises(UnavailableError):
        read(tmp_path, "gone.journal", KEY, Place(), ALL)


@pytest.mark.parametrize("content", [b"", b"x" * (MAX_CONTENT_BYTES + 1)])
def test_a_content_of_another_size_is_refused(tmp_path, content):
    made = Journal(tmp_path, KEY)
    with pytest.raises(InputError) as refused:
        made.append(content)
    assert refused.value.code == "journal.size"
    made.close()


def test_a_journal_that_was_taken_is_removed(tmp_path):
    name = written(tmp_path, b"a")
    remove(tmp_path, name)
    remove(tmp_path, name)
    assert names(tmp_path) == []


def test_what_was_begun_is_told_in_its_own_file_however_full(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MAX_FILE_BYTES", 100)
    made = Journal(tmp_path, KEY)
    (first,) = names(tmp_path)
    begun = [made.begin(b"begun" * 20), made.begin(b"x")]
    made.append(b"another")
    made.append(b"done", begun[0])
    made.done(begun[0], told=True)
    assert contents(tmp_path, first) == [b"begun" * 20, b"done"]
    assert begun[0].number == 0
    made.sync()
    # All that was begun in it is done: the file ends, though its process goes on.
    assert read(tmp_path, first, KEY, Place(), ALL).is_closed
    made.done(begun[1], told=True)
    made.close()
    assert all(read(tmp_path, name, KEY, Place(), ALL).is_closed for name in names(tmp_path))


@pytest.mark.parametrize("is_done", [True, False])
def test_a_file_in_which_something_is_left_open_gets_no_end_frame(tmp_path, is_done):
    made = Journal(tmp_path, KEY)
    begun = made.begin(b"begun")
    if is_done:
        made.done(begun, told=False)
    made.close()
    (name,) = names(tmp_path)
    found = read(tmp_path, name, KEY, Place(), ALL)
    assert (found.is_ended, found.is_closed, found.torn) == (True, False, 0)
    assert [frame.content for frame in journal.read_all(tmp_path, name, KEY)] == [b"begun"]


def test_a_beginning_without_content_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"journal\.size"):
        Journal(tmp_path, KEY).begin(b"")


def test_nobody_who_appends_waits_for_the_disk(tmp_path, monkeypatch):
    """A sync takes as long as the disk does, five times a second: each read of a node would wait for it."""
    made, syncing, let, sync = Journal(tmp_path, KEY), threading.Event(), threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        syncing.set()
        assert let.wait(60)
        sync(descriptor)

    made.append(b"a")
    monkeypatch.setattr(os, "fdatasync", slow)
    thread = threading.Thread(target=made.sync)
    thread.start()
    assert syncing.wait(60)
    made.append(b"b")
    assert thread.is_alive()
    let.set()
    thread.join()
    made.close()
    assert contents(tmp_path, names(tmp_path)[0]) == [b"a", b"b"]


def test_a_file_that_ends_while_it_is_synced_is_synced_whole(tmp_path, monkeypatch):
    made, sync, ended = Journal(tmp_path, KEY), os.fdatasync, []

    def closing(descriptor: int) -> None:
        if not ended:
            ended.append(True)
            made.close()
        sync(descriptor)

    made.append(b"a")
    monkeypatch.setattr(os, "fdatasync", closing)
    made.sync()
    reading = read(tmp_path, names(tmp_path)[0], KEY, Place(), ALL)
    assert ([frame.content for frame in reading.frames], reading.is_ended) == ([b"a"], True)


@pytest.mark.parametrize("is_ended", [False, True])
def test_what_could_not_be_synced_is_told_and_tried_again_while_it_is_open(tmp_path, monkeypatch, is_ended):
    made, sync, calls = Journal(tmp_path, KEY), os.fdatasync, []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            if is_ended:
                made.close()
            raise OSError(errno.EIO, "")
        sync(descriptor)

    made.append(b"a")
    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(UnavailableError, match=r"store\.io"):
        made.sync()
    before = len(calls)
    made.sync()
    assert len(calls) - before == (0 if is_ended else 1)
    if not is_ended:
        made.close()
